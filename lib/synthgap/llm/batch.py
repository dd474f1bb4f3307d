"""Answers that are written together, a token of each at a time; one that ends makes room for the next request.

The batch is a plain one: keys and values of its rows stand in one tensor a layer, with padding on the left.
"""

import hashlib
import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

from synthgap.core.config import LocalSettings
from synthgap.llm.base import Answer, Usage
from synthgap.llm.response_log import Request

PLAIN_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}  # whose memory is keys and values


@dataclass(eq=False)
class Row:
    """An answer that is being written.

    Attributes:
        prompt, written: tokens.
        source: the random numbers that its tokens are drawn with.
    """

    request: Request
    prompt: list[int]
    source: torch.Generator
    written: list[int] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)


class Batch:
    """The rows that a model writes at present, with its memory of them."""

    def __init__(self, model: Any, tokenizer: Any, settings: LocalSettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.rows: list[Row] = []
        self._cache: Any = None
        self._mask = self._scores = torch.empty(0)
        self._taken = inspect.signature(model.forward).parameters
        ends = model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else {*(ends or [])}
        self._draw = Draw()
        self._processors = drawing(settings, self._draw)

    def add(self, rows: Sequence[Row]) -> None:
        """Read the prompts of further rows."""
        prompts = [torch.tensor(row.prompt, device=self.model.device) for row in rows]
        parts = (prompts, [torch.ones_like(prompt) for prompt in prompts])
        tokens, mask = (pad_sequence(part, batch_first=True, padding_side="left") for part in parts)
        cache: Any = transformers.DynamicCache()
        scores = self._read(tokens, mask, cache)
        if self.rows:
            self._mask, mask = _same_length(self._mask, mask, -1)
            for old, new in zip(_layers(self._cache), _layers(cache), strict=True):
                old.keys, old.values = (
                    torch.cat(_same_length(*pair, -2)) for pair in ((old.keys, new.keys), (old.values, new.values))
                )
            self._mask, self._scores = torch.cat([self._mask, mask]), torch.cat([self._scores, scores])
        else:
            self._cache, self._mask, self._scores = cache, mask, scores
        self.rows = [*self.rows, *rows]

    def step(self) -> list[Row]:
        """Write a token in each row; those that end with it leave the batch and are returned."""
        self._draw.sources = [row.source for row in self.rows]
        tokens = self._processors(self._mask, self._scores).argmax(dim=-1)
        for row, token in zip(self.rows, tokens.tolist(), strict=True):
            row.written.append(token)
        finished = [row for row in self.rows if self._end(row) or len(row.written) == self.settings.max_tokens]
        if finished:
            places = torch.tensor([place for place, row in enumerate(self.rows) if row not in finished]).long()
            self._keep(places.to(tokens.device))
            tokens = tokens[places]
        if self.rows:
            self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
            self._scores = self._read(tokens[:, None], self._mask, self._cache)
        return finished

    def answer(self, row: Row, model: str) -> Answer:
        """What a row that is finished says, without the token or mark that ends it."""
        asked = row.request.conversation
        written = row.written[: -1 if row.written[-1] in self._ends else None]
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        places = [place for place in map(text.find, asked.ends) if place >= 0]
        usage, seconds = Usage(len(row.prompt), len(row.written)), time.monotonic() - row.started
        ended = "stop" if self._end(row) else "length"
        return Answer(text[: min(places, default=None)], ended, usage, model, seconds, asked.protocol)

    def _end(self, row: Row) -> bool:
        """Whether the last token ends the answer; a completion ends with any token of a chat template, too."""
        asked, token = row.request.conversation, row.written[-1]
        if token in self._ends or asked.protocol == "conversation":
            return token in self._ends
        return token in self.tokenizer.all_special_ids or any(map(self.tokenizer.decode([token]).count, asked.ends))

    def _read(self, tokens: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """The scores of each row's next token, after the model has read these tokens."""
        places = (mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        given = {"input_ids": tokens, "attention_mask": mask, "position_ids": places, "past_key_values": cache}
        given |= {"use_cache": True, "logits_to_keep": 1}
        read = self.model(**{name: value for name, value in given.items() if name in self._taken})
        return read.logits[:, -1].float()

    def _keep(self, places: torch.Tensor) -> None:
        """Let go of the other rows, and of padding that none of those left needs."""
        self.rows = [self.rows[place] for place in places.tolist()]
        if self.rows:
            mask = self._mask[places]
            start = int(mask.any(dim=0).int().argmax())
            self._mask = mask[:, start:]
            for layer in _layers(self._cache):
                layer.keys, layer.values = layer.keys[places, :, start:], layer.values[places, :, start:]


def _layers(cache: Any) -> list[Any]:
    """Those that hold keys and values; some models' layers use those of others."""
    return [layer for layer in cache.layers if layer.get_seq_length()]


def _same_length(one: torch.Tensor, other: torch.Tensor, dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both tensors, the shorter one with zeros before it."""
    length = max(one.shape[dimension], other.shape[dimension])
    behind = (0, 0) * (-1 - dimension)  # dimensions after this one stay as they are
    padded = [torch.nn.functional.pad(part, (*behind, length - part.shape[dimension], 0)) for part in (one, other)]
    return padded[0], padded[1]


def random_numbers(seed: str, device: Any = "cpu") -> torch.Generator:
    """The source of random numbers that belongs to a seed."""
    return torch.Generator(device).manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) >> 1)


def drawing(settings: LocalSettings, draw: "Draw") -> transformers.LogitsProcessorList:
    """What makes the most probable token a draw from the model's distribution; nothing at temperature 0."""
    processors = transformers.LogitsProcessorList()
    if settings.temperature:
        processors.append(transformers.TemperatureLogitsWarper(settings.temperature))
        if settings.top_p is not None:
            processors.append(TopP(settings.top_p))
        processors.append(draw)
    return processors


class TopP(transformers.LogitsProcessor):
    """Leaves the most probable tokens that together have a probability, as transformers' TopPLogitsWarper does.

    It sorts few tokens of a large vocabulary: a token is cut off at once if a whole vocabulary of tokens as improbable
    as it would fit into what is cut off.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        all_probabilities = scores.softmax(dim=-1)
        possible = (all_probabilities > (1 - self.probability) / scores.shape[-1]).sum(dim=-1)
        likely, places = all_probabilities.topk(max(1, int(possible.max())))
        gone = torch.ones_like(scores, dtype=torch.bool)
        gone = gone.scatter(-1, places, likely.cumsum(dim=-1) - likely >= self.probability)
        return scores.masked_fill(gone, -torch.inf)  # type: ignore[return-value]


class Draw(transformers.LogitsProcessor):
    """Under which the most probable token is a draw from the distribution, each row by random numbers of its own.

    Adding Gumbel noise to log-probabilities and taking the largest draws from the distribution (Gumbel 1954; Maddison
    et al. 2014).
    """

    def __init__(self, sources: Sequence[torch.Generator] = ()) -> None:
        self.sources = sources

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        noise = torch.empty(scores.shape, dtype=torch.float64, device=scores.device)
        for row, source in zip(noise, self.sources, strict=True):
            row.uniform_(generator=source)
        less_gumbel = noise.clamp_(1e-300, 1 - 1e-16).log_().neg_().log_()
        return (scores - less_gumbel).float()  # type: ignore[return-value]
