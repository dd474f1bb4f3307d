"""What makes fine-tuning fast. Each function saves time or memory by itself, and none changes what is learned.

How much all of them together save: benchmarks/finetune_ways.py and finetune_peak.py.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedTokenizerBase, Trainer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from synthgap.core.files import digest
from synthgap.training.embeddings import VectorCache, tokenizer_fingerprint

Row = list[int]  # the tokens of one text
AT_ONCE_ON_CPU = 2048  # tokens that a pass takes, padding included: what fits into the caches of a processor
AT_ONCE_ON_GPU = 65536


def on_gpu() -> bool:
    return torch.cuda.is_available()


def device_name() -> str:
    """The GPU's name, or "cpu"."""
    return torch.cuda.get_device_name() if on_gpu() else "cpu"


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if not on_gpu():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def gpu_memory() -> int:
    """Bytes of the smallest GPU."""
    gpus = (torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count()))
    return min((gpu.total_memory for gpu in gpus), default=0)


def bfloat16() -> bool:
    """Matrix products in 16 bits: half the time, where a GPU or a CPU (AVX-512 BF16, AMX) is made for them."""
    if on_gpu():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def tokenised(tokenizer: PreTrainedTokenizerBase, encoder: str, texts: Sequence[str], max_tokens: int) -> list[Row]:
    """Tokens of every text, cut to `max_tokens` and not padded; saves tokenising a text again for each of its runs."""
    limit = min(max_tokens, tokenizer.model_max_length)

    def tokens(some: list[str]) -> list[np.ndarray]:
        return [np.array(row) for row in tokenizer(some, truncation=True, max_length=limit)["input_ids"]]

    with VectorCache("tokens", digest([tokenizer_fingerprint(encoder), limit]), "<i4") as cache:
        return [row.tolist() for row in cache.get_or_compute(texts, tokens)]


@contextlib.contextmanager
def only_used_tokens(model: Any, rows: Sequence[Row], pad: int) -> Iterator[Callable[[Row], Row]]:
    """Train the embeddings of the tokens in `rows` alone; saves the optimiser half of MiniLM's weights at every step.

    Afterwards the others are what training would have made them: only weight decay moves the embedding of a token that
    does not occur, by the same factor as a row of ones that is trained along and never occurs either. Gives a function
    that numbers the tokens of a row as the model then does.
    """
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


def batches_of_like_length() -> dict[str, Any]:
    """How the Trainer draws its batches: texts of like length together, which saves computing padding."""
    return {"train_sampling_strategy": "group_by_length"}


def padded(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """Token ids and attention mask, shape (rows, tokens of the longest): no batch is padded beyond its own longest."""
    tokens = [torch.tensor(row) for row in rows]
    masks = [torch.ones_like(row) for row in tokens]
    return {
        "input_ids": pad_sequence(tokens, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence(masks, batch_first=True),
    }


def in_batches(
    model: Any, rows: Sequence[Row], pad: int, compute: Callable[[dict[str, torch.Tensor]], torch.Tensor]
) -> np.ndarray:
    """What a model gives each row, float32; batches are of like length and of `tokens_at_once` at the most.

    Args:
        compute: of the tokens of a batch (see `padded`), a tensor with a row for each of them.
    """
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
    parts = []
    model.eval()
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16()):
        for batch in batches([len(rows[place]) for place in order], tokens_at_once()):
            inputs = padded([rows[order[place]] for place in batch], pad)
            moved = {name: values.to(model.device, non_blocking=True) for name, values in inputs.items()}
            parts.append(compute(moved).float())
    computed = torch.cat(parts).cpu().numpy()
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


def tokens_at_once() -> int:
    """The most tokens of one pass: what a processor's caches hold, or more than any batch on a GPU."""
    return AT_ONCE_ON_GPU if on_gpu() else AT_ONCE_ON_CPU


class TrainerInParts(Trainer):
    """Takes a large batch in parts, whose gradients add up to that of the whole; saves memory, and time on CPUs.

    Attributes:
        share: of the batch's texts, those in the part that is computed now.
    """

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


def no_waiting() -> dict[str, Any]:
    """How the Trainer keeps a GPU busy: texts are moved while it computes, and no step asks it for its loss."""
    return {
        "dataloader_pin_memory": on_gpu(),
        "accelerator_config": {"non_blocking": on_gpu()},
        "logging_nan_inf_filter": False,  # it would wait for the loss of every step
    }


def attention_without_waiting() -> str:
    """The name of transformers' "sdpa" with a mask in any case.

    Without one it would leave the mask out of batches with no padding, and for that every step asks the GPU, and waits.
    """
    AttentionInterface.register("sdpa_masked", sdpa_attention_forward)
    AttentionMaskInterface.register("sdpa_masked", _mask_in_any_case)
    return "sdpa_masked"


def _mask_in_any_case(*given: Any, **named: Any) -> Any:
    return sdpa_mask(*given, **named | {"allow_is_bidirectional_skip": False})
