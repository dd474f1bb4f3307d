"""Fine-tune an encoder with a classification head by transformers' Trainer.

What is taught is here; what makes it fast (`accelerations`) is called by its name.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.metrics import f1_score
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from synthgap.core.config import FinetuneSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import cache_folder
from synthgap.training import accelerations, graphed
from synthgap.training.accelerations import Row, in_batches, only_used_tokens, padded, tokenised
from synthgap.training.base import NO_TEXTS, Fitted, Texts
from synthgap.training.embeddings import encoder_revision, encoder_source
from synthgap.training.probe_head import ProbeHead

ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")  # what encoders call it


def finetune(
    settings: FinetuneSettings,
    train: Texts,
    validation: Texts,
    test: Sequence[str],
    n_labels: int,
    seed: int,
    watched: Texts = NO_TEXTS,
) -> Fitted:
    """Fine-tune every member of the ensemble, by default one, and average the probabilities that they give `test`.

    Source: Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles, NeurIPS 2017. No two seeds share a member.
    """
    seeds = range(seed * settings.members, (seed + 1) * settings.members)
    members = [finetune_once(settings, train, validation, test, n_labels, one, watched) for one in seeds]
    return members[0] if settings.members == 1 else averaged(members)


def finetune_once(
    settings: FinetuneSettings,
    train: Texts,
    validation: Texts,
    test: Sequence[str],
    n_labels: int,
    seed: int,
    watched: Texts = NO_TEXTS,
) -> Fitted:
    """Train, keep the epoch with the best macro-F1 on `validation` (the last, where that is empty), predict `test`."""
    started = time.perf_counter()
    set_seed(seed)
    tokenizer, model = load_classifier(settings.encoder, n_labels, settings.attention_dropout, settings.head)
    pad = int(tokenizer.pad_token_id)
    train_rows, validation_rows, watched_rows, test_rows = (
        tokenised(tokenizer, settings.encoder, texts, settings.max_tokens)
        for texts in (train.texts, validation.texts, watched.texts, test)
    )
    if settings.head == "probe":
        model.to("cuda" if accelerations.on_gpu() else "cpu")
        model.start_as_probe(in_batches(model, train_rows, pad, lambda inputs: model.embed(**inputs)), train.labels)
    with only_used_tokens(model, [*train_rows, *validation_rows, *watched_rows], pad) as renumbered:
        items = [{"input_ids": renumbered(row), "labels": n} for row, n in zip(train_rows, train.labels, strict=True)]
        score, watch = (
            functools.partial(macro_f1, list(map(renumbered, rows)), texts.labels, pad) if rows else None
            for rows, texts in ((validation_rows, validation), (watched_rows, watched))
        )
        best = KeepBest(settings.patience, score, watch)
        trainer = new_trainer(model, training_arguments(settings, seed), items, pad, best)
        graphed.train(trainer, pad)
        best.restore(model)
    trained = time.perf_counter()
    probabilities = softmax(predict(model, test_rows, pad).astype(np.float64), axis=1).astype(np.float32)
    details = {
        "epochs_run": best.epochs_run,
        "best_epoch": best.epoch,
        "validation_macro_f1": [round(score, 6) for score in best.history],
        "train_loss": [round(entry["loss"], 6) for entry in trainer.state.log_history if "loss" in entry],
        "watched_macro_f1": [round(score, 6) for score in best.watched],
        "bfloat16": accelerations.bfloat16(),
        "train_tokens": best.epochs_run * sum(map(len, train_rows)),
        "predict_tokens": sum(map(len, test_rows)),
        "device": accelerations.device_name(),
    }
    seconds = (trained - started, time.perf_counter() - trained)
    return Fitted(probabilities, *seconds, best.epochs_run * len(train.texts), details)


def averaged(members: Sequence[Fitted]) -> Fitted:
    """The mean probabilities of members, and what all of them took; the details of each are kept under "members"."""
    each = [member.details for member in members]
    totals = {name: sum(details[name] for details in each) for name in ("epochs_run", "train_tokens", "predict_tokens")}
    shared = {name: each[0][name] for name in ("bfloat16", "device")}
    return Fitted(
        np.mean([member.probabilities for member in members], axis=0),
        sum(member.train_seconds for member in members),
        sum(member.predict_seconds for member in members),
        sum(member.trained_texts for member in members),
        totals | shared | {"members": each},
    )


# --------------------------------------------------------------------------------------------------------- training


def training_arguments(settings: FinetuneSettings, seed: int) -> TrainingArguments:
    """How the Trainer trains; it neither evaluates nor saves by itself, so its folder stays empty."""
    return TrainingArguments(
        output_dir=str(cache_folder() / "trainer"),
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=seed,
        data_seed=seed,
        use_cpu=not accelerations.on_gpu(),
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        bf16=accelerations.bfloat16(),
        **accelerations.batches_of_like_length(),
        **accelerations.no_waiting(),
    )


def new_trainer(
    model: Any, arguments: TrainingArguments, items: list[dict[str, Any]], pad: int, *callbacks: TrainerCallback
) -> Trainer:
    """A Trainer of a model; `items` are "input_ids" and "labels" of every training text."""
    trainer = accelerations.TrainerInParts(
        model=model,
        args=arguments,
        train_dataset=items,
        data_collator=functools.partial(collated, pad),
        callbacks=list(callbacks),
    )
    trainer.pop_callback(PrinterCallback)
    return trainer


def collated(pad: int, batch: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch of training texts as the model takes it."""
    labels = torch.tensor([item["labels"] for item in batch])
    return padded([item["input_ids"] for item in batch], pad) | {"labels": labels}


class KeepBest(TrainerCallback):
    """Keeps the best epoch's weights in memory, and stops when `patience` epochs brought no better one.

    Of epochs that are as good, the last is kept: few validation texts often cannot tell an early epoch from a later
    one, which was trained longer and at a lower learning rate.

    Args:
        score: of a model after an epoch; more is better. None: the last epoch is kept.
        watch: another score, which is noted after every epoch and decides nothing.

    Attributes:
        epochs_run: so far.
        epoch: the one that is kept, from 1 on.
        history, watched: both scores of each epoch.
    """

    def __init__(
        self, patience: int, score: Callable[[Any], float] | None, watch: Callable[[Any], float] | None = None
    ) -> None:
        self.patience, self.score, self.watch = patience, score, watch
        self.epochs_run = self.epoch = 0
        self.history: list[float] = []
        self.watched: list[float] = []
        self.weights: dict[str, Any] = {}

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epochs_run += 1
        model = kwargs["model"]
        if self.watch:
            self.watched.append(self.watch(model))
        if self.score is None:
            self.epoch = self.epochs_run
            return
        self.history.append(self.score(model))
        if self.history[-1] == max(self.history):
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
            self.epoch = self.epochs_run
        first = self.history.index(max(self.history)) + 1
        control.should_training_stop |= self.epochs_run - first >= self.patience

    def restore(self, model: Any) -> None:
        """Give a model the weights of the epoch that is kept."""
        if self.weights:
            model.load_state_dict(self.weights)


def macro_f1(rows: Sequence[Row], labels: Sequence[int], pad: int, model: Any) -> float:
    """A model's macro-F1 (0 to 1) on texts."""
    predicted = predict(model, rows, pad).argmax(axis=1)
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def predict(model: Any, rows: Sequence[Row], pad: int) -> np.ndarray:
    """Logits, shape (rows, labels), float32."""
    return in_batches(model, rows, pad, lambda inputs: model(**inputs).logits)


# ---------------------------------------------------------------------------------------------------------- loading


def load_classifier(
    encoder: str, n_labels: int, attention_dropout: float | None = None, head: str | None = None
) -> tuple[PreTrainedTokenizerBase, Any]:
    """The encoder's tokenizer, and its model with a new classification head. No code from the hub is run.

    Args:
        attention_dropout, head: None for the encoder's own.

    Raises:
        SynthgapError: the encoder cannot be had.
    """
    source, revision = encoder_source(encoder), encoder_revision(encoder)
    tokenizer = load_tokenizer(encoder)
    with _loading(encoder):
        config = AutoConfig.from_pretrained(source, revision=revision, num_labels=n_labels)
        for name in ATTENTION_DROPOUT:
            if attention_dropout is not None and hasattr(config, name):
                setattr(config, name, attention_dropout)
        kind = AutoModel if head == "probe" else AutoModelForSequenceClassification
        model = kind.from_pretrained(
            source,
            revision=revision,
            config=config,
            use_safetensors=True,  # and no pickle
            ignore_mismatched_sizes=True,  # the head of an encoder that was fine-tuned for other labels
            attn_implementation=None if accelerations.on_gpu() else "eager",
        )
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(accelerations.attention_without_waiting())
    return tokenizer, ProbeHead(model, n_labels) if head == "probe" else model


def load_tokenizer(encoder: str) -> PreTrainedTokenizerBase:
    """The encoder's tokenizer; refused where it cannot be had."""
    with _loading(encoder):
        return AutoTokenizer.from_pretrained(encoder_source(encoder), revision=encoder_revision(encoder))


@contextlib.contextmanager
def _loading(encoder: str) -> Iterator[None]:
    """Load quietly; an encoder that cannot be loaded is one sentence."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError) as error:
        raise SynthgapError(
            f"encoder '{encoder}' cannot be loaded ({str(error).splitlines()[0]}); "
            "check the name and the network, or use 'minilm', which needs none"
        ) from error
    finally:
        logging.set_verbosity(before)
