"""Train a classifier on texts and labels, and predict: tf-idf, a probe on embeddings, or fine-tuning."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import ClassifierSettings, FinetuneSettings, ProbeSettings, TfidfSettings
from synthgap.encoders import embed, encoder_fingerprint
from synthgap.errors import SynthgapError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Texts:
    """Texts with the numbers of their labels (places in the task's list of labels)."""

    texts: Sequence[str]
    labels: Sequence[int]


def numbered(frame: pd.DataFrame, labels: Sequence[str]) -> Texts:
    """The texts of a frame with the numbers of their labels."""
    return Texts(frame["text"].tolist(), [labels.index(label) for label in frame["label"]])


@dataclass
class Fitted:
    """Test predictions of one trained classifier and what it took.

    Attributes:
        probabilities: shape (test texts, labels), float32, rows sum to 1.
        train_seconds, predict_seconds: wall-clock; embeddings that were cached cost next to nothing.
        trained_texts: texts seen in training, every epoch counted.
        details: further figures that belong into the run's file.
    """

    probabilities: np.ndarray
    train_seconds: float
    predict_seconds: float
    trained_texts: int
    details: dict[str, Any] = field(default_factory=dict)


def fit_predict(
    settings: ClassifierSettings, train: Texts, validation: Texts, test: Sequence[str], n_labels: int, seed: int
) -> Fitted:
    """Train on `train` and give the probability of every label for every text of `test`.

    Args:
        validation: used by fine-tuning alone, to choose the epoch; where it is empty, the last is kept.
        seed: fixes initialisation and order of batches; logistic regression has no randomness of its own.

    Raises:
        SynthgapError: fewer than two labels to train on, or an encoder that cannot be had.
    """
    if len(set(train.labels)) < 2:
        raise SynthgapError("a classifier needs training texts of at least two labels")
    if isinstance(settings, FinetuneSettings):
        from synthgap.finetuning import finetune

        return finetune(settings, train, validation, test, n_labels, seed)
    return _logistic(settings, train, test, n_labels)


def classifier_identity(settings: ClassifierSettings) -> dict[str, Any]:
    """What of a classifier's settings determines its results; goes into the names of its runs."""
    identity = settings.model_dump(mode="json", exclude={"seeds"}, exclude_none=True)
    if identity.get("members") == 1:
        del identity["members"]  # as the runs are named that were trained before there were ensembles
    if isinstance(settings, ProbeSettings | FinetuneSettings):
        identity["weights"] = encoder_fingerprint(settings.encoder)
    return identity


# ----------------------------------------------------------------------------------------------- logistic regression


def _logistic(settings: TfidfSettings | ProbeSettings, train: Texts, test: Sequence[str], n_labels: int) -> Fitted:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    started = time.perf_counter()
    if isinstance(settings, ProbeSettings):
        train_features = embed(train.texts, settings.encoder)
    else:
        vectoriser = _vectoriser()
        train_features = vectoriser.fit_transform(train.texts)
    model = LogisticRegression(C=settings.inverse_regularisation, max_iter=2000, class_weight="balanced")
    model.fit(train_features, train.labels)
    trained = time.perf_counter()
    test_features = embed(test, settings.encoder) if isinstance(settings, ProbeSettings) else vectoriser.transform(test)
    probabilities = np.zeros((len(test), n_labels), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(test_features)
    return Fitted(probabilities, trained - started, time.perf_counter() - trained, len(train.texts))


def _vectoriser():  # type: ignore[no-untyped-def]
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), strip_accents="unicode", token_pattern=r"(?u)\b\w+\b")  # noqa: S106


# ------------------------------------------------------------------------------------------------------------ memory


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
    import resource

    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
