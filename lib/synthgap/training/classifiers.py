"""Train a classifier on texts and labels, and predict: tf-idf, a probe on embeddings, or fine-tuning."""

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import ThreadpoolController

from synthgap.core.errors import SynthgapError
from synthgap.core.settings import Classifier, ClassifierSettings, FinetuneSettings, ProbeSettings, TfidfSettings
from synthgap.training.base import NO_TEXTS, Fitted, Texts, logistic_regression
from synthgap.training.embeddings import embed, encoder_fingerprint

WHERE_TRAINED = set(Classifier.model_fields)  # settings that say where a classifier is trained, and not what it is


def fit_predict(
    settings: ClassifierSettings,
    train: Texts,
    validation: Texts,
    test: Sequence[str],
    n_labels: int,
    seed: int,
    watched: Texts = NO_TEXTS,
) -> Fitted:
    """Train on `train` and give the probability of every label for every text of `test`.

    Args:
        validation: used by fine-tuning alone, to choose the epoch; where it is empty, the last is kept.
        watched: texts that fine-tuning scores after every epoch, and that decide nothing.
        seed: fixes initialisation and order of batches; logistic regression has no randomness of its own.

    Raises:
        SynthgapError: fewer than two labels to train on, or an encoder that cannot be had.
    """
    if len(set(train.labels)) < 2:
        raise SynthgapError("a classifier needs training texts of at least two labels")
    if isinstance(settings, FinetuneSettings):
        from synthgap.training.finetuning import finetune  # which loads torch

        return finetune(settings, train, validation, test, n_labels, seed, watched)
    return _fit_logistic(settings, train, test, n_labels)


def classifier_identity(settings: ClassifierSettings) -> dict[str, Any]:
    """What of a classifier's settings determines its results; goes into the names of its runs.

    A value that equals its default is left out, so that a new setting, off by default, renames no run. Whoever changes
    a default raises `runs.RUN_FORMAT`.
    """
    identity = settings.model_dump(mode="json", exclude=WHERE_TRAINED, exclude_defaults=True)
    if isinstance(settings, ProbeSettings | FinetuneSettings):
        identity["weights"] = encoder_fingerprint(settings.encoder)
    return identity


def _fit_logistic(settings: TfidfSettings | ProbeSettings, train: Texts, test: Sequence[str], n_labels: int) -> Fitted:
    started = time.perf_counter()
    if isinstance(settings, ProbeSettings):
        features = FunctionTransformer(embed, kw_args={"encoder": settings.encoder})
    else:
        words = r"(?u)\b\w+\b"
        features = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), strip_accents="unicode", token_pattern=words)
    model, known = logistic_regression(settings.inverse_regularisation), features.fit_transform(train.texts)
    with _linear_algebra().limit(limits=1):  # the products are small: threads would only wait
        model.fit(known, train.labels)
    trained = time.perf_counter()
    probabilities, asked = np.zeros((len(test), n_labels), dtype=np.float32), features.transform(test)
    with _linear_algebra().limit(limits=1):
        probabilities[:, model.classes_] = model.predict_proba(asked)
    return Fitted(probabilities, trained - started, time.perf_counter() - trained, len(train.texts))


@functools.cache
def _linear_algebra() -> ThreadpoolController:
    """The libraries that multiply matrices; to look for them takes as long as many a fit."""
    return ThreadpoolController().select(user_api="blas")
