"""What all classifiers share: texts with numbered labels, what a training gives, and how much memory it took."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True)
class Texts:
    """Texts with the numbers of their labels (places in the task's list of labels)."""

    texts: Sequence[str]
    labels: Sequence[int]


NO_TEXTS = Texts((), ())


@dataclass
class Fitted:
    """Test predictions of one trained classifier and what it took.

    Attributes:
        probabilities: shape (test texts, labels), float32, rows sum to 1.
        train_seconds, predict_seconds: wall-clock; embeddings that were cached cost next to nothing.
        trained_texts: texts seen in training, every epoch counted.
        details: further figures that belong into what a run says of itself.
    """

    probabilities: np.ndarray
    train_seconds: float
    predict_seconds: float
    trained_texts: int
    details: dict[str, Any] = field(default_factory=dict)


def numbered(frame: pd.DataFrame, labels: Sequence[str]) -> Texts:
    """The texts of a frame with the numbers of their labels."""
    return Texts(frame["text"].tolist(), [labels.index(label) for label in frame["label"]])


def logistic_regression(inverse_regularisation: float) -> LogisticRegression:
    """The logistic regression of `tfidf`, of `probe` and of a head that starts as a probe."""
    return LogisticRegression(C=inverse_regularisation, max_iter=2000, class_weight="balanced")


def reset_peak_memory() -> None:
    """Start measuring anew, where the system can."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MiB: since the last reset on Linux, since its start elsewhere."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    import resource  # there is none on Windows

    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
