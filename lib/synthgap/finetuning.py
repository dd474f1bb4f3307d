"""Fine-tune an encoder with a classification head: transformers' Trainer, given only what has to be computed.

Batches hold texts of like length and are padded to their own longest; matrix products are in bfloat16 where the machine
is faster with it; texts are tokenised once; the embeddings of tokens that do not occur are not trained.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import FinetuneSettings
from synthgap.encoders import VectorCache, encoder_revision, encoder_source, text_key, tokenizer_fingerprint
from synthgap.errors import SynthgapError
from synthgap.files import digest

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerBase

    from synthgap.classifiers import Fitted, Texts

Row = list[int]  # the tokens of one text
AT_ONCE_ON_CPU = 2048  # tokens that a pass takes, padding included: what fits into the caches of a processor
AT_ONCE_ON_GPU = 65536
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")  # what encoders call it


def finetune(
    settings: FinetuneSettings, train: Texts, validation: Texts, test: Sequence[str], n_labels: int, seed: int
) -> Fitted:
    """Fine-tune every member of the ensemble, by default one, and average the probabilities that they give `test`.

    Source: Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles, NeurIPS 2017. No two seeds share a member.
    """
    first = seed * settings.members
    members = [
        _finetune_one(settings, train, validation, test, n_labels, first + place) for place in range(settings.members)
    ]
    return members[0] if settings.members == 1 else averaged(members)


def averaged(members: Sequence[Fitted]) -> Fitted:
    """The mean probabilities of members, and what all of them took; the details of each are kept under "members"."""
    import numpy as np

    from synthgap.classifiers import Fitted

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


def _finetune_one(
    settings: FinetuneSettings, train: Texts, validation: Texts, test: Sequence[str], n_labels: int, seed: int
) -> Fitted:
    """Train, keep the epoch with the best macro-F1 on `validation` (the last, where that is empty), predict `test`."""
    import numpy as np
    from scipy.special import softmax
    from transformers import set_seed

    from synthgap.classifiers import Fitted

    started = time.perf_counter()
    set_seed(seed)
    tokenizer, model = load_classifier(settings.encoder, n_labels, settings.attention_dropout, settings.head)
    parts = (train.texts, validation.texts, test)
    rows = iter(tokenised(tokenizer, settings.encoder, [text for part in parts for text in part], settings.max_tokens))
    train_rows, validation_rows, test_rows = (list(itertools.islice(rows, len(part))) for part in parts)
    pad = int(tokenizer.pad_token_id)
    if settings.head == "probe":
        model.to("cuda" if _on_gpu() else "cpu")
        model.start_as_probe(in_batches(model, train_rows, pad, lambda inputs: model.embed(**inputs)), train.labels)
    with only_used_tokens(model, [*train_rows, *validation_rows], pad) as renumbered:
        score = scorer(list(map(renumbered, validation_rows)), validation.labels, pad) if validation_rows else None
        best = keep_best(settings.patience, score)
        items = [
            {"input_ids": renumbered(row), "labels": label} for row, label in zip(train_rows, train.labels, strict=True)
        ]
        with tempfile.TemporaryDirectory() as scratch:
            trainer = new_trainer(model, training_arguments(settings, seed, scratch), items, pad, best)
            trainer.train()
        best.restore(model)
    trained = time.perf_counter()
    probabilities = softmax(predict(model, test_rows, pad).astype(np.float64), axis=1).astype(np.float32)
    epochs = best.epochs_run
    details = {
        "epochs_run": epochs,
        "best_epoch": best.epoch,
        "validation_macro_f1": [round(score, 6) for score in best.history],
        "bfloat16": bfloat16(),
        "train_tokens": epochs * sum(map(len, train_rows)),
        "predict_tokens": sum(map(len, test_rows)),
        "device": device_name(),
    }
    return Fitted(probabilities, trained - started, time.perf_counter() - trained, epochs * len(train.texts), details)


# ------------------------------------------------------------------------------------------------- model and tokens


def load_classifier(  # type: ignore[no-untyped-def]
    encoder: str, n_labels: int, attention_dropout: float | None = None, head: str | None = None
):
    """The encoder's tokenizer, and its model with a new classification head. No code from the hub is run.

    Args:
        attention_dropout, head: None for the encoder's own.

    Raises:
        SynthgapError: the encoder cannot be had.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

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
            ignore_mismatched_sizes=True,  # the head of an encoder that was fine-tuned for other labels
            attn_implementation=None if _on_gpu() else "eager",
        )
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(_attention_without_waiting())
    if head == "probe":
        from synthgap.probe_head import ProbeHead

        return tokenizer, ProbeHead(model, n_labels)
    return tokenizer, model


def load_tokenizer(encoder: str) -> PreTrainedTokenizerBase:
    """The encoder's tokenizer.

    Raises:
        SynthgapError: it cannot be had.
    """
    from transformers import AutoTokenizer

    with _loading(encoder):
        return AutoTokenizer.from_pretrained(encoder_source(encoder), revision=encoder_revision(encoder))


def _attention_without_waiting() -> str:
    """The name of transformers' "sdpa" with a mask in any case.

    Without one it would leave the mask out of batches with no padding, and for that every step asks the GPU, and waits.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def mask(*given: Any, **named: Any) -> Any:
        return sdpa_mask(*given, **named | {"allow_is_bidirectional_skip": False})

    AttentionInterface.register("sdpa_masked", sdpa_attention_forward)
    AttentionMaskInterface.register("sdpa_masked", mask)
    return "sdpa_masked"


@contextlib.contextmanager
def _loading(encoder: str) -> Iterator[None]:
    """Quietly, and an encoder that cannot be loaded is one sentence."""
    from transformers.utils import logging

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


def tokenised(tokenizer: PreTrainedTokenizerBase, encoder: str, texts: Sequence[str], max_tokens: int) -> list[Row]:
    """Tokens of every text, cut to `max_tokens` and not padded; a text that was tokenised before is in the cache."""
    import numpy as np

    limit = min(max_tokens, tokenizer.model_max_length)
    keys = [text_key(text) for text in texts]
    with VectorCache("tokens", digest([tokenizer_fingerprint(encoder), limit]), "<i4") as cache:
        known = cache.get(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = tokenizer(list(missing.values()), truncation=True, max_length=limit)["input_ids"]
            found = dict(zip(missing, map(np.array, rows), strict=True))
            cache.put(list(found), list(found.values()))
            known |= found
    return [known[key].tolist() for key in keys]


@contextlib.contextmanager
def only_used_tokens(model: Any, rows: Sequence[Row], pad: int) -> Iterator[Callable[[Row], Row]]:
    """Train the embeddings of the tokens in `rows` alone; afterwards the others are what training would have made them.

    Only weight decay moves the embedding of a token that does not occur, by the same factor as a row of ones that is
    trained along and never occurs either. Gives a function that numbers the tokens of a row as the model then does.
    """
    import torch

    whole = model.get_input_embeddings()
    used = sorted({token for row in rows for token in row} | set(range(pad + 1)))  # padding keeps its number
    weights = whole.weight.data
    narrow = torch.nn.Embedding(len(used) + 1, weights.shape[1], padding_idx=whole.padding_idx)
    narrow.weight.data = torch.cat([weights[used], torch.ones_like(weights[:1])])
    model.set_input_embeddings(narrow)
    place = {token: number for number, token in enumerate(used)}
    try:
        yield lambda row: [place[token] for token in row]
    finally:
        whole.to(narrow.weight.device)
        whole.weight.data *= narrow.weight.data[-1]
        whole.weight.data[used] = narrow.weight.data[:-1]
        model.set_input_embeddings(whole)


def padded(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """Token ids and attention mask, shape (rows, tokens of the longest)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    tokens = [torch.tensor(row) for row in rows]
    masks = [torch.ones_like(row) for row in tokens]
    return {
        "input_ids": pad_sequence(tokens, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence(masks, batch_first=True),
    }


# --------------------------------------------------------------------------------------------------------- training


def new_trainer(model: Any, arguments: Any, items: list[dict[str, Any]], pad: int, *callbacks: Any):  # type: ignore[no-untyped-def]
    """A Trainer that takes a batch of many tokens in parts; the gradient is that of the whole batch.

    Args:
        items: "input_ids" and "labels" of every training text.
    """
    import torch
    from transformers import Trainer
    from transformers.trainer_callback import PrinterCallback

    class InParts(Trainer):
        share = 1.0

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            rows, width = inputs["input_ids"].shape
            size = max(1, tokens_at_once() // width)
            loss = torch.zeros((), device=self.args.device)
            for start in range(0, rows, size):
                part = {name: values[start : start + size] for name, values in inputs.items()}
                self.share = len(part["labels"]) / rows
                loss += super().training_step(model, part, num_items_in_batch)
            return loss

        def compute_loss(self, *given: Any, **named: Any) -> Any:
            loss: Any = super().compute_loss(*given, **named)
            return loss * self.share

    def collated(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        labels = torch.tensor([item["labels"] for item in batch])
        return padded([item["input_ids"] for item in batch], pad) | {"labels": labels}

    trainer = InParts(
        model=model, args=arguments, train_dataset=items, data_collator=collated, callbacks=list(callbacks)
    )
    trainer.pop_callback(PrinterCallback)
    return trainer


def training_arguments(settings: FinetuneSettings, seed: int, folder: str | Path):  # type: ignore[no-untyped-def]
    """How the Trainer trains: batches of like length, bfloat16 where it pays, and no waiting for figures to log."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        train_sampling_strategy="group_by_length",
        bf16=bfloat16(),
        use_cpu=not _on_gpu(),
        dataloader_pin_memory=_on_gpu(),
        accelerator_config={"non_blocking": _on_gpu()},
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it would wait for the loss of every step
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )


def keep_best(patience: int, score: Callable[[Any], float] | None):  # type: ignore[no-untyped-def]
    """A callback that keeps the best epoch's weights in memory, and stops when `patience` epochs brought no better one.

    Of epochs that are as good, the last is kept: few validation texts often cannot tell an early epoch from a later
    one, which was trained longer and at a lower learning rate.

    Args:
        score: of a model after an epoch; more is better. None: the last epoch is kept.
    """
    from transformers import TrainerCallback

    class KeepBest(TrainerCallback):
        def __init__(self) -> None:
            self.history: list[float] = []
            self.epochs_run = self.epoch = 0
            self.weights: dict[str, Any] = {}

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.epochs_run += 1
            if score is None:
                self.epoch = self.epochs_run
                return
            found = score(kwargs["model"])
            if found >= max(self.history, default=found):
                self.weights = {name: value.detach().clone() for name, value in kwargs["model"].state_dict().items()}
                self.epoch = self.epochs_run
            self.history.append(found)
            first = self.history.index(max(self.history)) + 1
            control.should_training_stop |= len(self.history) - first >= patience

        def restore(self, model: Any) -> None:
            if self.weights:
                model.load_state_dict(self.weights)

    return KeepBest()


def scorer(rows: Sequence[Row], labels: Sequence[int], pad: int) -> Callable[[Any], float]:
    """A function that gives a model's macro-F1 (0 to 1) on these texts."""
    from sklearn.metrics import f1_score

    def score(model: Any) -> float:
        predicted = predict(model, rows, pad).argmax(axis=1)
        return float(f1_score(labels, predicted, average="macro", zero_division=0))

    return score


# ------------------------------------------------------------------------------------------------------- prediction


def predict(model: Any, rows: Sequence[Row], pad: int) -> np.ndarray:
    """Logits, shape (rows, labels), float32."""
    return in_batches(model, rows, pad, lambda inputs: model(**inputs).logits)


def in_batches(
    model: Any, rows: Sequence[Row], pad: int, compute: Callable[[dict[str, torch.Tensor]], torch.Tensor]
) -> np.ndarray:
    """What a model gives each row, float32; batches are of like length and of `tokens_at_once` at the most.

    Args:
        compute: of the tokens of a batch (see `padded`), a tensor with a row for each of them.
    """
    import numpy as np
    import torch

    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
    found = []
    model.eval()
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16()):
        for batch in batches([len(rows[place]) for place in order], tokens_at_once()):
            inputs = padded([rows[order[place]] for place in batch], pad)
            moved = {name: values.to(model.device, non_blocking=True) for name, values in inputs.items()}
            found.append(compute(moved).float())
    computed = torch.cat(found).cpu().numpy()
    restored = np.empty_like(computed)
    restored[order] = computed
    return restored


def batches(lengths: Sequence[int], tokens: int) -> Iterator[range]:
    """Places of texts, longest first, in batches of at most so many tokens with padding; one text at the least."""
    start = 0
    while start < len(lengths):
        stop = min(len(lengths), start + max(1, tokens // lengths[start]))
        yield range(start, stop)
        start = stop


# ---------------------------------------------------------------------------------------------------------- machine


def tokens_at_once() -> int:
    return AT_ONCE_ON_GPU if _on_gpu() else AT_ONCE_ON_CPU


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def device_name() -> str:
    """The GPU's name, or "cpu"."""
    import torch

    return torch.cuda.get_device_name() if _on_gpu() else "cpu"


def bfloat16() -> bool:
    """Whether this machine computes faster in bfloat16: a GPU that has it, or a CPU with AVX-512 BF16 or AMX."""
    import torch

    if _on_gpu():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
