"""Training on a GPU without launch overhead: every step is one CUDA graph, so that Python starts no kernel.

A step of the Trainer starts some thousand kernels one by one, which takes far longer than they do. Here the texts, the
order of the batches and the learning rates lie on the GPU. A whole step (forwards, backwards, clipping, AdamW) is
recorded once for each of a few lengths that batches are padded to, and then replayed. Order, optimiser and learning
rates are the Trainer's own, and what is learned is the same but for rounding.
"""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from synthgap.training import accelerations

FEW_LENGTHS = (*range(8, 64, 8), *range(64, 128, 16), *range(128, 513, 32))  # that batches are padded to
NO_LABEL = -100  # of a text that only fills up a batch: cross entropy leaves it out


def train(trainer: Any, pad: int) -> None:
    """Train as transformers' `trainer.train()` does, which is called where recording is not worthwhile."""
    if not worthwhile(trainer):
        trainer.train()
        return
    with own_stream():
        steps = RecordedSteps(trainer, pad)
        for number, lengths in enumerate(steps.lengths, 1):
            for length in lengths:
                steps.take(length)
            trainer.state.log_history.append({"loss": float(steps.loss) / len(lengths), "epoch": number})
            steps.loss.zero_()
            trainer.callback_handler.on_epoch_end(trainer.args, trainer.state, trainer.control)
            if trainer.control.should_training_stop:
                break


def worthwhile(trainer: Any) -> bool:
    """Whether there is a GPU, and no batch so large that it is taken in parts."""
    longest = max(len(item["input_ids"]) for item in trainer.train_dataset)
    return accelerations.on_gpu() and longest * trainer.args.train_batch_size <= accelerations.tokens_at_once()


class RecordedSteps:
    """The steps of a training, to be taken in order.

    The first batch of a length is computed kernel by kernel, which sets up what a recording needs; at the second the
    step is recorded. If either is not possible, all steps are computed kernel by kernel, which one sentence says. The
    model itself stays in float32; what is computed with is a copy in bfloat16, made anew at every step.

    Attributes:
        lengths: for each epoch, what each of its batches is padded to.
        graphs: {length: the step's recording}.
        records: whether steps are still recorded.
    """

    def __init__(self, trainer: Any, pad: int) -> None:
        items = trainer.train_dataset
        self.copy = copy_to_compute_with(trainer.model.to(trainer.args.device))
        pairs = zip(trainer.model.parameters(), self.copy.parameters(), strict=True)
        self.weights = [(weight, copied) for weight, copied in pairs if weight.requires_grad]
        self.clip = trainer.args.max_grad_norm
        self.graphs: dict[int, Any] = {}
        self.seen: set[int] = set()
        self.records = True

        rows = [item["input_ids"] for item in items] + [[pad]]  # the last fills up batches
        epochs = order_of_batches(trainer)
        self.lengths = [padded_lengths([[len(rows[place]) for place in batch] for batch in epoch]) for epoch in epochs]
        batches = [batch for epoch in epochs for batch in epoch]
        trainer.create_optimizer_and_scheduler(len(batches))
        share_of_rate = trainer.lr_scheduler.lr_lambdas[0]

        on_device = partial(torch.tensor, device=trainer.args.device)
        size, longest = trainer.args.train_batch_size, max(map(len, rows))
        self.batches = on_device([batch + [len(items)] * (size - len(batch)) for batch in batches])
        self.rates = on_device([trainer.args.learning_rate * share_of_rate(step) for step in range(len(batches))])
        self.tokens = on_device([row + [pad] * (longest - len(row)) for row in rows])
        self.sizes = on_device([len(row) for row in rows])
        self.labels = on_device([item["labels"] for item in items] + [NO_LABEL])
        self.positions = torch.arange(longest, device=trainer.args.device)
        self.rate, self.loss, self.step = on_device(0.0), on_device(0.0), on_device([0])

        self.optimizer = trainer.optimizer
        for group in self.optimizer.param_groups:
            group |= {"lr": self.rate, "capturable": self.rate.is_cuda}

    def take(self, length: int) -> None:
        """Take the next step, on a batch that is padded to `length`."""
        if length in self.graphs:
            self.graphs[length].replay()
        elif not self.records:
            self.compute(length)
        else:
            try:
                self._take_first_or_record(length)
            except (RuntimeError, AttributeError) as error:  # of memory as of what a graph cannot hold
                self._record_no_more(error)
                self.compute(length)

    def _take_first_or_record(self, length: int) -> None:
        if length not in self.seen:
            self.seen.add(length)
            with nothing_waits():
                self.compute(length)
        else:
            pool = next(iter(self.graphs.values())).pool() if self.graphs else None
            self.graphs[length] = recorded(partial(self.compute, length), pool)
            self.graphs[length].replay()

    def _record_no_more(self, error: Exception) -> None:
        self.records = False
        self.graphs.clear()
        self.copy.zero_grad()
        torch.cuda.empty_cache()
        reason = " ".join(str(error).partition(".")[0].split())
        warnings.warn(f"training steps cannot be recorded, so that they take longer: {reason}", stacklevel=2)

    def compute(self, length: int) -> None:
        """One step. All that changes from step to step lies on the device, and nothing of it is asked for."""
        places = self.batches.index_select(0, self.step).squeeze(0)
        mask = self.positions[:length] < self.sizes.index_select(0, places).unsqueeze(1)
        tokens = self.tokens[:, :length].index_select(0, places)
        with torch.no_grad():
            torch._foreach_copy_([copied for _, copied in self.weights], [weight for weight, _ in self.weights])
        logits = self.copy(input_ids=tokens, attention_mask=mask.long()).logits
        loss = cross_entropy(logits.float(), self.labels.index_select(0, places))
        loss.backward()
        with torch.no_grad():
            self.rate.copy_(self.rates.index_select(0, self.step).squeeze(0))
            self._update()
            self.loss += loss.detach()
            self.step += 1

    def _update(self) -> None:
        """Clip the gradients and have the optimiser use them; a weight without a gradient is left as it is."""
        taught = [(weight, copied) for weight, copied in self.weights if copied.grad is not None]
        for weight, _ in taught:
            weight.grad = torch.empty_like(weight) if weight.grad is None else weight.grad
        torch._foreach_copy_([weight.grad for weight, _ in taught], [copied.grad for _, copied in taught])
        self.copy.zero_grad()
        clip_grad_norm_([weight for weight, _ in taught], self.clip)
        self.optimizer.step()


def copy_to_compute_with(model: Any) -> Any:
    """A copy in the precision of matrix products; as with autocast, no weight's update is rounded to it."""
    copied = copy.deepcopy(model).train()
    for weight in copied.parameters():
        weight.data = weight.data.to(torch.bfloat16 if accelerations.bfloat16() else torch.float32)
    return copied


def order_of_batches(trainer: Any) -> list[list[list[int]]]:
    """For each epoch, the places of the texts in each of its batches, as the Trainer draws them."""
    drawing = copy.copy(trainer)
    drawing.train_dataset = [item | {"labels": place} for place, item in enumerate(drawing.train_dataset)]
    drawing.data_collator = lambda batch: {"labels": torch.tensor([item["labels"] for item in batch])}
    loader = drawing.get_train_dataloader()
    return [[batch["labels"].tolist() for batch in loader] for _ in range(int(trainer.args.num_train_epochs))]


def padded_lengths(batches: Sequence[Sequence[int]]) -> list[int]:
    """What each batch of texts of these lengths is padded to: one of few lengths, but at most the longest of all."""
    longest = max(map(max, batches))
    return [min([few for few in FEW_LENGTHS if max(batch) <= few < longest], default=longest) for batch in batches]


def recorded(compute: Callable[[], None], pool: Any) -> Any:
    """A CUDA graph of what a function computes; graphs that never run at the same time may share a pool of memory."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=torch.cuda.current_stream()):
        compute()
    return graph


@contextlib.contextmanager
def nothing_waits() -> Iterator[None]:
    """Makes it an error to wait for the GPU, as a recording that does so cannot be undone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode is called a prototype, and AdamW misses the recording
        if accelerations.on_gpu():
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            if accelerations.on_gpu():
                torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def own_stream() -> Iterator[None]:
    """A stream beside the default one, which cannot be recorded."""
    if not accelerations.on_gpu():
        yield
        return
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        yield
    torch.cuda.synchronize()
