"""Versions of what computes."""

import platform
from functools import cache
from importlib import metadata

PACKAGES = ("synthgap", "torch", "transformers", "sentence-transformers", "scikit-learn", "numpy")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
