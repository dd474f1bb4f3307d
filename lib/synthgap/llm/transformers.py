"""A causal language model in transformers: this machine answers, a batch of conversations at a time.

Every conversation draws its tokens from random numbers of its own, so that an answer depends on the request and not on
what else is in the batch (but for rounding), and a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from jinja2 import TemplateError

from synthgap.core.config import LocalSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, file_digest, local_weights
from synthgap.llm.base import Answer, Conversation, Usage
from synthgap.llm.logged import LoggedLLM, RequestFailed
from synthgap.llm.response_log import Request, ResponseLog


class LocalLLM(LoggedLLM):
    """A local model; requests that wait while it writes are answered together afterwards."""

    settings: LocalSettings

    def __init__(self, settings: LocalSettings, response_log: ResponseLog | None = None) -> None:
        super().__init__(settings, response_log)
        self.at_once = settings.batch_size
        self._waiting: list[tuple[Request, asyncio.Future[Answer]]] = []
        self._writing = asyncio.Lock()
        self._stop = threading.Event()

    @property
    def model(self) -> str:
        return Path(self.settings.model).name if Path(self.settings.model).is_dir() else self.settings.model

    @functools.cached_property
    def endpoint(self) -> str:  # type: ignore[override]
        """The weights: a digest of local ones, else the model's name on the hub."""
        weights = [file_digest(path) for path in local_weights(self.settings.model)]
        return f"transformers {digest(weights) if weights else self.settings.model}"

    @functools.cached_property
    def context_window(self) -> int | None:  # type: ignore[override]
        return getattr(self._loaded[0].config.get_text_config(), "max_position_embeddings", None)

    def check(self) -> None:
        """Refuse a model that cannot be had, is a pickle, or has no chat template."""
        local_weights(self.settings.model)
        _load_tokenizer(self.settings.model)

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its tokenizer, on their device."""
        device = self.settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        options = {"dtype": self.settings.dtype, "device_map": device, "use_safetensors": True}
        model = _pretrained(transformers.AutoModelForCausalLM, self.settings.model, **options)
        return model, _load_tokenizer(self.settings.model)

    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        return len(self._prompt(conversation))

    def _prompt(self, conversation: Conversation) -> list[int]:
        """The tokens of a request; a template that refuses the system's role gets its text in the first request."""
        template = functools.partial(self._loaded[1].apply_chat_template, add_generation_prompt=True, return_dict=True)
        try:
            templated = template(conversation.as_messages())
        except TemplateError:
            templated = template(conversation.as_messages(system_role=False))
        return list(templated["input_ids"])

    async def _ask_once(self, request: Request) -> tuple[Answer, str]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        async with self._writing:
            await asyncio.sleep(0)  # let the other conversations come to their requests
            while not answer.done():
                await self._answer_batch()
        return await answer, await self._write_when_possible(self.log.store, request, await answer)

    async def _answer_batch(self) -> None:
        """Answer those who wait longest; half as many at once from the time on when memory does not do."""
        batch = self._waiting[: self.at_once]
        self.asked += len(batch)
        try:
            answers = await asyncio.to_thread(self._write, [request for request, _ in batch])
        except Exception as error:
            if isinstance(error, torch.OutOfMemoryError) and len(batch) > 1:
                self.at_once = len(batch) // 2
                return
            for _, waiting in batch:
                waiting.set_exception(RequestFailed(f"the model failed: {_first_line(error)}"))
        else:
            for (_, waiting), answer in zip(batch, answers, strict=True):
                waiting.set_result(answer)
        self._waiting = self._waiting[len(batch) :]

    def _write(self, requests: list[Request]) -> list[Answer]:
        """One answer for each request, all of them written at once."""
        model, tokenizer = self._loaded
        prompts = [self._prompt(request.conversation) for request in requests]
        padded = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
        seeds = [f"{request.key} {self.log.tries(request.key)}" for request in requests]
        started = time.monotonic()
        with torch.inference_mode():
            written = model.generate(
                **padded,
                max_new_tokens=self.settings.max_tokens,
                do_sample=False,
                logits_processor=drawing(self.settings, seeds, model.device),
                stopping_criteria=[lambda tokens, scores: torch.full((len(tokens),), self._stop.is_set())],
                pad_token_id=tokenizer.pad_token_id,
            )[:, padded["input_ids"].shape[1] :]
        seconds = time.monotonic() - started
        return [self._answer(prompt, row, seconds) for prompt, row in zip(prompts, written.tolist(), strict=True)]

    def _answer(self, prompt: list[int], written: list[int], seconds: float) -> Answer:
        model, tokenizer = self._loaded
        ends = model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else ends or []
        end = next((place for place, token in enumerate(written) if token in ends), None)
        text = tokenizer.decode(written[:end], skip_special_tokens=True)
        used = len(written) if end is None else end + 1
        return Answer(text, "length" if end is None else "stop", Usage(len(prompt), used), self.model, seconds)

    async def close(self) -> None:
        self._stop.set()


def drawing(settings: LocalSettings, seeds: list[str], device: str = "cpu") -> transformers.LogitsProcessorList:
    """What makes the most probable token a draw from the model's distribution; nothing at temperature 0."""
    processors = transformers.LogitsProcessorList()
    if settings.temperature:
        processors.append(transformers.TemperatureLogitsWarper(settings.temperature))
        if settings.top_p is not None:
            processors.append(transformers.TopPLogitsWarper(settings.top_p))
        processors.append(_Draw(seeds, device))
    return processors


class _Draw(transformers.LogitsProcessor):
    """Under which the most probable token is a draw from the distribution, each row by random numbers of its own seed.

    Adding Gumbel noise to log-probabilities and taking the largest draws from the distribution (Gumbel 1954; Maddison
    et al. 2014).
    """

    def __init__(self, seeds: list[str], device: str) -> None:
        numbers = [int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) >> 1 for seed in seeds]
        self.sources = [torch.Generator(device).manual_seed(number) for number in numbers]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        noise = torch.empty(scores.shape, dtype=torch.float64, device=scores.device)
        for row, source in zip(noise, self.sources, strict=True):
            row.uniform_(generator=source)
        gumbel = -torch.log(-torch.log(noise.clamp(1e-300, 1 - 1e-16)))
        return (scores.double() + gumbel).float()  # type: ignore[return-value]


def _load_tokenizer(model: str) -> Any:
    """The tokenizer of a model, which has a chat template and pads."""
    tokenizer = _pretrained(transformers.AutoTokenizer, model)
    if not tokenizer.chat_template:
        raise SynthgapError(
            f"the LLM '{model}' has no chat template, so it cannot hold a conversation; take the model's "
            "instruction-tuned version"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@functools.lru_cache(maxsize=2)
def _pretrained(kind: Any, model: str, **options: Any) -> Any:
    """What transformers loads for a model (name@revision pins one of the hub); kept for the next stage."""
    name, _, revision = model.partition("@")
    try:
        return kind.from_pretrained(name, revision=revision or None, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise SynthgapError(f"the LLM '{model}' cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
