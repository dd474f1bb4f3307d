"""A causal language model in transformers: this machine answers, a batch of requests at a time.

Every request draws its tokens from random numbers of its own, so that an answer depends on the request and not on
what else is in the batch (but for rounding), and a run that was stopped goes on as if it had not been.
"""

import asyncio
import functools
import shutil
import threading
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock
from jinja2 import TemplateError

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, file_digest, local_weights, write_error
from synthgap.core.settings import LocalSettings, ProtocolName
from synthgap.core.terminal import Progress
from synthgap.llm.base import Answer, Conversation, Usage
from synthgap.llm.batch import PLAIN_LAYERS, Batch, Row, random_numbers
from synthgap.llm.logged import LoggedLLM, RequestFailed
from synthgap.llm.packaged import Packaged, converted_folder, packaged
from synthgap.llm.response_log import Request, ResponseLog


class LocalLLM(LoggedLLM):
    """A local model; a request that waits takes the place of one that is answered."""

    settings: LocalSettings

    def __init__(self, settings: LocalSettings, response_log: ResponseLog | None = None) -> None:
        super().__init__(settings, response_log)
        self.at_once = settings.batch_size
        self._package = packaged(settings.model)
        self._waiting: list[Request] = []
        self._answers: dict[str, asyncio.Future[Answer]] = {}  # by the keys of requests that wait or are being answered
        self._writing = asyncio.Lock()
        self._stop = threading.Event()

    @property
    def model(self) -> str:
        if self._package:
            return self._package.title
        return Path(self.settings.model).name if Path(self.settings.model).is_dir() else self.settings.model

    @functools.cached_property
    def endpoint(self) -> str:  # type: ignore[override]
        """The weights: a digest of local ones, else the model's name on the hub."""
        if self._package:
            return f"transformers {self._package.sha256}"
        weights = [file_digest(path) for path in local_weights(self.settings.model)]
        return f"transformers {digest(weights) if weights else self.settings.model}"

    @functools.cached_property
    def context_window(self) -> int | None:  # type: ignore[override]
        return getattr(self._loaded[0].config.get_text_config(), "max_position_embeddings", None)

    @functools.cached_property
    def _source(self) -> str:
        """The folder or name that transformers loads."""
        return str(_converted(self._package)) if self._package else self.settings.model

    def check(self, protocol: ProtocolName = "conversation") -> None:
        """Refuse a model that cannot be had, is a pickle, or has no chat template for a conversation."""
        if self._package and not converted_folder(self._package).is_dir():
            self._package.check()
            return
        local_weights(self._source)
        if protocol == "conversation" and not _pretrained(transformers.AutoTokenizer, self._source).chat_template:
            raise SynthgapError(
                f"the LLM '{self.model}' has no chat template, so it cannot hold a conversation; take the model's "
                "instruction-tuned version, or write `protocol: completion` in the corpus"
            )

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its tokenizer, on their device."""
        device = self.settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        options = {"dtype": self.settings.dtype, "device_map": device, "use_safetensors": True}
        model = _pretrained(transformers.AutoModelForCausalLM, self._source, **options)
        layers = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - PLAIN_LAYERS
        if layers:
            raise SynthgapError(
                f"the LLM '{self.model}' keeps its memory in layers that cannot stand in a batch here "
                f"({', '.join(sorted(layers))}); serve it, and ask it with the backend openai, or take another model"
            )
        if model.device.type == "cpu" and model.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            _pack(model)
        return model, _pretrained(transformers.AutoTokenizer, self._source)

    @functools.cached_property
    def _batch(self) -> Batch:
        return Batch(*self._loaded, self.settings)

    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        return len(self._prompt(conversation))

    def _prompt(self, conversation: Conversation) -> list[int]:
        """The tokens of a request; a template that refuses the system's role gets its text in the first request."""
        tokenizer = self._loaded[1]
        if conversation.protocol == "completion":
            return list(tokenizer(conversation.as_messages()[-1]["content"])["input_ids"])
        self.check()
        template = functools.partial(tokenizer.apply_chat_template, add_generation_prompt=True, return_dict=True)
        try:
            templated = template(conversation.as_messages())
        except TemplateError:
            templated = template(conversation.as_messages(system_role=False))
        return list(templated["input_ids"])

    async def _ask_once(self, request: Request) -> tuple[Answer, str]:
        answer = self._answers[request.key] = asyncio.get_running_loop().create_future()
        self._waiting.append(request)
        async with self._writing:
            await asyncio.sleep(0)  # let the other conversations come to their requests
            while not answer.done():
                await self._answer_some()
        return await answer, await self._write_when_possible(self.log.store, request, await answer)

    async def _answer_some(self) -> None:
        """Go on until a request is answered, with new ones for those that were: half as many at once as memory took."""
        free = self.at_once - len(self._batch.rows)
        taken = self._waiting[:free] if free >= self.at_once // 4 else []
        self._waiting = self._waiting[len(taken) :]
        self.asked += len(taken)
        under_way = [*(row.request for row in self._batch.rows), *taken]
        try:
            answered = await asyncio.to_thread(self._write, taken)
        except Exception as error:
            del self._batch
            if isinstance(error, torch.OutOfMemoryError) and len(under_way) > 1:
                self.at_once = len(under_way) // 2
                self._waiting = [*under_way, *self._waiting]
                self.asked -= len(under_way)
                return
            for request in under_way:
                self._answers.pop(request.key).set_exception(RequestFailed(f"the model failed: {_first_line(error)}"))
        else:
            for request, answer in answered:
                self._answers.pop(request.key).set_result(answer)

    def _write(self, requests: list[Request]) -> list[tuple[Request, Answer]]:
        """Take these requests up, and write until one or more answers are finished."""
        with torch.inference_mode():
            if requests:
                self._batch.add([self._row(request) for request in requests])
            while not self._stop.is_set():
                if finished := self._batch.step():
                    return [(row.request, self._batch.answer(row, self.model)) for row in finished]
        raise RequestFailed("it was stopped")

    def _row(self, request: Request) -> Row:
        seed = f"{request.key} {self.log.tries(request.key)}"
        return Row(request, self._prompt(request.conversation), random_numbers(seed, self._loaded[0].device))

    async def close(self) -> None:
        self._stop.set()


def _converted(model: Packaged) -> Path:
    """The folder of a packaged model as transformers reads it quickly; converted once, which takes about a minute."""
    folder = converted_folder(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            model.check()
            Progress.write(f"{model.title}: converted once and kept in the cache, which takes about a minute")
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                partial.mkdir()
                _convert(model, partial)
                partial.rename(folder)
            except OSError as error:
                raise write_error(folder, error) from error
    return folder


def _convert(model: Packaged, folder: Path) -> None:
    """Save what a GGUF file holds as transformers does by itself: weights in float32, and the tokenizer."""
    file = folder / "model.gguf"
    model.assemble(file)
    options = {"gguf_file": file.name}
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    except ImportError as error:
        raise SynthgapError(f"to read {model.title}: pip install gguf ({_first_line(error)})") from error
    loaded.hf_quantizer, loaded.is_quantized = None, False  # or save_pretrained refuses
    del loaded.config.quantization_config
    loaded.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file.unlink()


@functools.lru_cache(maxsize=2)
def _pretrained(kind: Any, model: str, **options: Any) -> Any:
    """What transformers loads for a model (name@revision pins one of the hub); kept for the next stage."""
    name, _, revision = model.partition("@")
    try:
        return kind.from_pretrained(name, revision=revision or None, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise SynthgapError(f"the LLM '{model}' cannot be loaded: {_first_line(error)}") from error


class PackedLinear(torch.nn.Module):
    """A linear layer that keeps its weights in the order that oneDNN multiplies by, as torch's compiler does.

    For 16 rows, SmolLM2's plain layers took 1.7 times as long, and its packed ones were not slower for any number.
    """

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = layer.bias

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(features, self.weight, self.bias, "none", [], "")


def _pack(model: torch.nn.Module) -> None:
    plain = [name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear]
    for name in plain:  # one at a time, so that memory never holds all weights twice
        model.set_submodule(name, PackedLinear(model.get_submodule(name)))  # type: ignore[arg-type]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
