"""A causal language model in transformers as a live LLM: this machine answers, a batch of conversations at a time.

Every conversation draws its tokens from random numbers of its own, so that an answer depends on the request and not on
what else is in the batch (but for rounding), and a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import LocalSettings
from synthgap.encoders import encoder_fingerprint, encoder_revision, encoder_source
from synthgap.errors import SynthgapError
from synthgap.live import LiveLLM, RequestFailed
from synthgap.llm import Answer, Conversation, Usage
from synthgap.responses import Request

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass
class LocalLLM(LiveLLM):
    """A local model; requests that wait while it writes are answered together afterwards."""

    settings: LocalSettings
    _waiting: list[tuple[Request, asyncio.Future[Answer]]] = field(default_factory=list)
    _worker: asyncio.Task[None] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.at_once = self.settings.batch_size

    @property
    def model(self) -> str:
        return Path(self.settings.model).name if Path(self.settings.model).is_dir() else self.settings.model

    @functools.cached_property
    def endpoint(self) -> str:
        return f"transformers {encoder_fingerprint(self.settings.model)}"

    @functools.cached_property
    def _loaded(self) -> tuple[PreTrainedModel, Any]:
        return load(self.settings)

    @property
    def context_window(self) -> int | None:
        window = getattr(self._loaded[0].config.get_text_config(), "max_position_embeddings", None)
        return int(window) if window else None

    @property
    def sampling(self) -> dict[str, Any]:
        chosen = self.settings
        top_p = {} if chosen.top_p is None else {"top_p": chosen.top_p}
        return {"temperature": chosen.temperature, **top_p, "max_tokens": chosen.max_tokens}

    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        return len(self._prompt(conversation))

    def _prompt(self, conversation: Conversation) -> list[int]:
        messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
        found = self._loaded[1].apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(found["input_ids"])

    async def _try(self, request: Request, attempt: int) -> str:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return self.log.put(request, await answer)

    async def _work(self) -> None:
        """Answer batch after batch until nobody waits."""
        while self._waiting:
            await asyncio.sleep(0)  # let the other conversations come to their requests
            batch, self._waiting = self._waiting[: self.at_once], self._waiting[self.at_once :]
            self.asked += len(batch)
            try:
                answers = await asyncio.to_thread(self._write, [request for request, _ in batch])
            except Exception as error:
                self._not_answered(batch, error)
                continue
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)

    def _not_answered(self, batch: list[tuple[Request, asyncio.Future[Answer]]], error: Exception) -> None:
        """Try half as many at once where the memory did not do; else these requests have failed."""
        import torch

        if isinstance(error, torch.OutOfMemoryError) and len(batch) > 1:
            self.at_once = len(batch) // 2
            self._waiting = batch + self._waiting
            return
        for _, waiting in batch:
            if not waiting.done():
                waiting.set_exception(RequestFailed(f"the model failed: {first_line(error)}"))

    def _write(self, requests: list[Request]) -> list[Answer]:
        """One answer for each request, all of them written at once."""
        import torch

        model, tokenizer = self._loaded
        prompts = [self._prompt(request.conversation) for request in requests]
        padded = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
        seeds = [f"{request.key} {self.log.tries(request.key)}" for request in requests]
        started = time.monotonic()
        with torch.inference_mode():
            written = model.generate(  # type: ignore[operator]
                **padded,
                max_new_tokens=self.settings.max_tokens,
                do_sample=False,
                logits_processor=drawing(self.settings, seeds),
                stopping_criteria=[lambda tokens, scores: torch.full((len(tokens),), self._stop.is_set())],
                pad_token_id=tokenizer.pad_token_id,
            )[:, padded["input_ids"].shape[1] :]
        seconds = time.monotonic() - started
        return [self._answer(prompt, row, seconds) for prompt, row in zip(prompts, written.tolist(), strict=True)]

    def _answer(self, prompt: list[int], written: list[int], seconds: float) -> Answer:
        model, tokenizer = self._loaded
        ends = _as_list(model.generation_config.eos_token_id)
        end = next((place for place, token in enumerate(written) if token in ends), None)
        text = tokenizer.decode(written[:end], skip_special_tokens=True)
        used = len(written) if end is None else end + 1
        return Answer(text, "length" if end is None else "stop", Usage(len(prompt), used), self.model, seconds)

    async def close(self) -> None:
        self._stop.set()
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None


def drawing(settings: LocalSettings, seeds: list[str]) -> Any:
    """A logits processor under which the most probable token is a draw from the model's distribution.

    Adding Gumbel noise to log-probabilities and taking the largest draws from the distribution (Gumbel 1954; Maddison
    et al. 2014). Each row has noise of its own, from its seed.
    """
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    class Draw(LogitsProcessor):
        def __init__(self) -> None:
            self.sources: list[torch.Generator] = []

        def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
            if not self.sources:
                self.sources = [torch.Generator(scores.device).manual_seed(_number(seed)) for seed in seeds]
            noise = torch.empty(scores.shape, dtype=torch.float64, device=scores.device)
            for row, source in zip(noise, self.sources, strict=True):
                row.uniform_(generator=source)
            gumbel = -torch.log(-torch.log(noise.clamp(1e-300, 1 - 1e-16)))
            return (scores.double() + gumbel).float()  # type: ignore[return-value]

    if not settings.temperature:
        return LogitsProcessorList()
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(float(settings.temperature))]
    if settings.top_p is not None:
        steps.append(TopPLogitsWarper(settings.top_p))
    return LogitsProcessorList([*steps, Draw()])


def _number(seed: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) >> 1


def _as_list(tokens: int | list[int] | None) -> list[int]:
    return [tokens] if isinstance(tokens, int) else list(tokens or [])


@functools.lru_cache(maxsize=1)
def load(settings: LocalSettings) -> tuple[PreTrainedModel, Any]:
    """The model and its tokenizer, on their device; no code from the hub is run.

    Raises:
        SynthgapError: it cannot be had, or has no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = check_model(settings)
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    source, revision = encoder_source(settings.model), encoder_revision(settings.model)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=settings.dtype)
        model = model.to(device)
    except (OSError, ValueError, RuntimeError) as error:
        raise SynthgapError(f"llm.model '{settings.model}' cannot be loaded: {first_line(error)}") from error
    return model.eval(), tokenizer


def check_model(settings: LocalSettings) -> Any:
    """The model's tokenizer, which has a chat template.

    Raises:
        SynthgapError: there is none, or no template in it.
    """
    from transformers import AutoTokenizer

    source, revision = encoder_source(settings.model), encoder_revision(settings.model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        raise SynthgapError(f"llm.model '{settings.model}' cannot be loaded: {first_line(error)}") from error
    if not tokenizer.chat_template:
        raise SynthgapError(
            f"llm.model '{settings.model}' has no chat template, so it cannot hold a conversation; take the model's "
            "instruction-tuned version"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
