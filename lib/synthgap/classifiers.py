"""Train a classifier on texts and labels, and predict: tf-idf, a probe on embeddings, or fine-tuning."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import ClassifierSettings, FinetuneSettings, ProbeSettings, TfidfSettings
from synthgap.encoders import embed, encoder_fingerprint, encoder_revision, encoder_source
from synthgap.errors import SynthgapError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Texts:
    """Texts with the numbers of their labels (places in the task's list of labels)."""

    texts: Sequence[str]
    labels: Sequence[int]


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
        validation: used by fine-tuning alone, to choose the epoch.
        seed: fixes initialisation and order of batches; logistic regression has no randomness of its own.

    Raises:
        SynthgapError: fewer than two labels to train on, or an encoder that cannot be had.
    """
    if len(set(train.labels)) < 2:
        raise SynthgapError("a classifier needs training texts of at least two labels")
    if isinstance(settings, FinetuneSettings):
        return _finetune(settings, train, validation, test, n_labels, seed)
    return _logistic(settings, train, test, n_labels)


def classifier_identity(settings: ClassifierSettings) -> dict[str, Any]:
    """What of a classifier's settings determines its results; goes into the names of its runs."""
    identity = settings.model_dump(mode="json", exclude={"seeds"})
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


# ------------------------------------------------------------------------------------------------------- fine-tuning


def _finetune(
    settings: FinetuneSettings, train: Texts, validation: Texts, test: Sequence[str], n_labels: int, seed: int
) -> Fitted:
    import numpy as np
    from scipy.special import softmax
    from transformers import DataCollatorWithPadding, Trainer, set_seed

    set_seed(seed)
    tokenizer, model = load_classifier(settings.encoder, n_labels)
    best = keep_best(settings.patience)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=training_arguments(settings, seed, scratch),
            train_dataset=tokenised(tokenizer, train.texts, settings.max_tokens, train.labels),
            eval_dataset=tokenised(tokenizer, validation.texts, settings.max_tokens, validation.labels),
            data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if _on_gpu() else None),
            compute_metrics=_macro_f1,
            callbacks=[best],
        )
        trainer.pop_callback(_printer())
        started = time.perf_counter()
        trainer.train()
        best.restore(model)
        trained = time.perf_counter()
        features = tokenised(tokenizer, test, settings.max_tokens)
        order = sorted(range(len(test)), key=lambda index: -len(features[index]["input_ids"]))
        ordered: Any = [features[index] for index in order]
        trainer.args.train_sampling_strategy = "sequential"  # grouping by length would shuffle the predictions too
        logits = np.asarray(trainer.predict(ordered).predictions, dtype=np.float64)
    probabilities = np.empty((len(test), n_labels), dtype=np.float32)
    probabilities[order] = softmax(logits, axis=1)
    epochs = round(trainer.state.epoch or 0)
    details = {
        "epochs_run": epochs,
        "best_epoch": best.epoch,
        "validation_macro_f1": [round(score, 6) for score in best.history],
        "bfloat16": bfloat16(),
    }
    return Fitted(probabilities, trained - started, time.perf_counter() - trained, epochs * len(train.texts), details)


def training_arguments(settings: FinetuneSettings, seed: int, folder: str | Path):  # type: ignore[no-untyped-def]
    """How the Trainer trains: batches of like length, padded each to its own longest text, bfloat16 where it pays."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        train_sampling_strategy="group_by_length",
        bf16=bfloat16(),
        use_cpu=not _on_gpu(),
        dataloader_pin_memory=_on_gpu(),
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )


def load_classifier(encoder: str, n_labels: int):  # type: ignore[no-untyped-def]
    """The encoder's tokenizer, and its model with a new classification head. No code from the hub is run."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    source, revision = encoder_source(encoder), encoder_revision(encoder)
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        model = AutoModelForSequenceClassification.from_pretrained(source, revision=revision, num_labels=n_labels)
    except (OSError, ValueError) as error:
        raise SynthgapError(
            f"encoder '{encoder}' cannot be loaded ({str(error).splitlines()[0]}); "
            "check the name and the network, or use 'minilm', which needs none"
        ) from error
    finally:
        logging.set_verbosity(before)
    return tokenizer, model


def tokenised(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, labels: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Tokens of every text, cut to `max_tokens` and not padded; with its label where given."""
    limit = min(max_tokens, tokenizer.model_max_length)
    rows = tokenizer(list(texts), truncation=True, max_length=limit)
    items = [{name: values[index] for name, values in rows.items()} for index in range(len(texts))]
    if labels is not None:
        for item, label in zip(items, labels, strict=True):
            item["labels"] = label
    return items


def keep_best(patience: int):  # type: ignore[no-untyped-def]
    """A callback that keeps the weights of the best epoch in memory and stops after `patience` worse ones."""
    from transformers import TrainerCallback

    class KeepBest(TrainerCallback):
        def __init__(self) -> None:
            self.history: list[float] = []
            self.epoch = 0
            self.weights: dict[str, Any] = {}

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            score = kwargs["metrics"].get("eval_macro_f1")
            if score is None:
                return
            if not self.history or score > max(self.history):
                self.weights = {name: value.detach().clone() for name, value in kwargs["model"].state_dict().items()}
                self.epoch = len(self.history) + 1
            self.history.append(float(score))
            control.should_training_stop |= len(self.history) - self.epoch >= patience

        def restore(self, model: Any) -> None:
            model.load_state_dict(self.weights)

    return KeepBest()


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _macro_f1(evaluated: Any) -> dict[str, float]:
    from sklearn.metrics import f1_score

    predicted = evaluated.predictions.argmax(axis=1)
    return {"macro_f1": float(f1_score(evaluated.label_ids, predicted, average="macro", zero_division=0))}


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def bfloat16() -> bool:
    """Whether this machine computes faster in bfloat16: a GPU that has it, or a CPU with AVX-512 BF16 or AMX."""
    import torch

    if _on_gpu():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


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
