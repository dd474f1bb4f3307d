"""What a training step takes on a GPU: the Trainer's, recorded as a CUDA graph, and compiled; alone and side by side.

    python benchmarks/gpu_steps.py [SECTION ...]

Weights are random in BERT base's shape, in batches of 64, as in the paper; texts are random tokens, as long as the real
texts of its ten tasks (benchmarks/token_lengths.json): speed depends on neither. Real tokens alone count, as operations
that finetune_peak.py explains, beside square products in bfloat16. Scores are MiniLM's, on the bundled recorded texts.
Each section is a process with a limit of time, and one that fails leaves the others alone. Rows go to
benchmarks/gpu_steps.csv; those of other devices are kept. Neither data nor network are needed. GPU_STEPS_SMALL=1 tries
all of it with a tiny model, also without a GPU.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from common import read_rows, recorded_texts, write_rows
from scipy import stats
from sklearn.metrics import f1_score
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback

from synthgap.core.config import FinetuneSettings
from synthgap.training import accelerations, graphed
from synthgap.training.base import NO_TEXTS, Texts
from synthgap.training.finetuning import finetune_once, load_tokenizer, new_trainer, training_arguments

CSV = Path(__file__).with_suffix(".csv")
COLUMNS = ("device", "way", "runs_at_once", "ms_per_step", "tokens_per_second", "share_of_peak", "note")
LIMITS = {  # seconds that each section may take
    **{"recorded": 60, "trainer": 60, "profile": 60, "streams": 60, "processes": 120, "compiled": 150},
    **{"sound": 60, "scores": 120, "runs": 280},
}
SMALL, ON_GPU = "GPU_STEPS_SMALL" in os.environ, torch.cuda.is_available()
SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128} if SMALL else {}
BATCH, TEXTS_PER_TASK, WORDS, LONGEST = (8, 4, 8000, 24) if SMALL else (64, 384, 8000, 256)
IN_STREAMS, IN_PROCESSES = ((1, 2), (1, 2)) if SMALL else ((1, 2, 4), (1, 4, 8))
EPOCHS_OF_RUNS = int(os.environ.get("GPU_STEPS_EPOCHS", "4"))
TASKS = json.loads((CSV.parent / "token_lengths.json").read_text())


def say(way: str, runs: int = 1, ms: float = 0, speed: float = 0, share: float = 0, note: str = "") -> None:
    """Print a row of results, where `main` finds it."""
    print("ROW", json.dumps([way, runs, *([f"{ms:.2f}", f"{speed:.0f}", f"{share:.3f}"] if ms else [""] * 3), note]))


def say_speed(way: str, seconds: float, texts: list[list[int]], runs: int = 1, note: str = "") -> None:
    """Of runs that trained so many texts each, all of them in that time."""
    tokens, steps = runs * sum(map(len, texts)), runs * -(-len(texts) // BATCH)
    say(way, runs, 1000 * seconds / steps, tokens / seconds, runs * operations(texts) / seconds / peak(), note)


def operations(texts: list[list[int]]) -> float:
    """Of a pass forwards and one backwards through weights in BERT base's shape."""
    return sum(3 * (2 * 12 * 12 * 768**2 * len(row) + 4 * 12 * 768 * len(row) ** 2) for row in texts)


def peak() -> float:
    """Operations a second of square products, measured once."""
    if "GPU_STEPS_PEAK" not in os.environ:
        side = 512 if SMALL else 8192
        left, right = (torch.randn(side, side, device="cuda" if ON_GPU else "cpu").to(torch.bfloat16) for _ in range(2))
        os.environ["GPU_STEPS_PEAK"] = str(2 * side**3 / min(timed(lambda: left @ right) for _ in range(40)))
    return float(os.environ["GPU_STEPS_PEAK"])


def timed(work: Callable[[], Any]) -> float:
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


# ------------------------------------------------------------------------------------------- what is trained


def lengths_of(task: str) -> list[int]:
    of_length = TASKS[task]["texts_of_length"].items()
    return [min(int(length), LONGEST) for length, number in of_length for _ in range(number)]


def random_rows(share: int = 1) -> list[list[int]]:
    draw = random.Random(0)
    lengths = [draw.choice(of) for of in map(lengths_of, TASKS) for _ in range(TEXTS_PER_TASK // share)]
    return [[draw.randrange(1000, 1000 + WORDS) for _ in range(length)] for length in lengths]


def settings(epochs: int, **changes: Any) -> FinetuneSettings:
    return FinetuneSettings(kind="finetune", epochs=epochs, **{"batch_size": BATCH} | changes)


def trainer_of(texts: list[list[int]], epochs: int, *callbacks: Any, model: Any = None, rate: float = 5e-5) -> Any:
    """A Trainer whose model knows the tokens that occur, as in any fine-tuning."""
    model = model or new_model()
    items = [{"input_ids": [token - 999 for token in row], "labels": place % 2} for place, row in enumerate(texts)]
    return new_trainer(model, training_arguments(settings(epochs, learning_rate=rate), 0), items, 0, *callbacks)


def new_model() -> Any:
    config = BertConfig(vocab_size=WORDS + 2, **SHAPE)
    config._attn_implementation = "sdpa" if ON_GPU else "eager"
    model = BertForSequenceClassification(config)
    if ON_GPU:
        model.set_attn_implementation(accelerations.attention_without_waiting())
    return model


def own_stream() -> Any:
    return torch.cuda.stream(torch.cuda.Stream()) if ON_GPU else contextlib.nullcontext()


def recorded_steps(texts: list[list[int]], epochs: int) -> Any:
    """Steps whose every length is recorded; that takes some of the first epochs' steps."""
    steps = graphed.RecordedSteps(trainer_of(texts, epochs + 2), 0)
    for length in 2 * sorted(set(itertools.chain(*steps.lengths))):
        steps.take(length)
    wait()
    return steps


class Clock(TrainerCallback):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, *given: Any, **named: Any) -> None:
        wait()
        self.ends.append(time.perf_counter())


# -------------------------------------------------------------------------------------------------- sections


def trainer() -> None:
    clock = Clock()
    trainer_of(random_rows(), 2, clock).train()
    say_speed("Trainer", clock.ends[1] - clock.ends[0], random_rows())


def recorded() -> None:
    clock, texts = Clock(), random_rows()
    whole = timed(lambda: graphed.train(trainer_of(texts, 6, clock), 0))
    seconds = [after - before for before, after in itertools.pairwise(clock.ends)]
    first = whole - sum(seconds)
    gigabytes = torch.cuda.max_memory_reserved() / 2**30 if ON_GPU else 0
    say_speed("recorded", min(seconds), texts, note=f"first epoch, which records, {first:.1f} s; {gigabytes:.1f} GiB")


def profile() -> None:
    """Which kernels recorded steps run, and how much of the time none runs."""
    with own_stream():
        steps = recorded_steps(random_rows(), 1)
        some = steps.lengths[0][:16]
        with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as found:
            timed(lambda: [steps.take(length) for length in some])
    events = [one for one in found.profiler.kineto_results.events() if "CUDA" in str(one.device_type())]
    kernels = sorted((one.start_ns(), one.start_ns() + one.duration_ns(), one.name()) for one in events)
    if not kernels:
        return
    busy, end, took, number = 0, 0, Counter[str](), Counter[str]()
    for start, stop, name in kernels:
        busy += max(0, stop - max(start, end))
        end = max(end, stop)
        took[name[:150]] += stop - start
        number[name[:150]] += 1
    wall = end - kernels[0][0]
    note = f"{len(kernels) / len(some):.0f} kernels a step, none runs {1 - busy / wall:.1%} of the time"
    say("recorded, profiled", ms=wall / 1e6 / len(some), note=note)
    for name, nanoseconds in took.most_common(45):
        print(f"{nanoseconds / 1e6 / len(some):7.3f} ms {number[name] / len(some):6.1f} x {name}")


def streams() -> None:
    """Several trainings in one process, each on a stream of its own."""
    texts, all_steps = random_rows(2), []
    for _ in range(max(IN_STREAMS)):
        stream = own_stream()
        with stream:
            all_steps.append((stream, recorded_steps(texts, 1 + len(IN_STREAMS))))

    def epoch(number: int, runs: int) -> None:
        for place in range(len(all_steps[0][1].lengths[number])):
            for stream, steps in all_steps[:runs]:
                with stream:
                    steps.take(steps.lengths[number][place])

    for number, runs in enumerate(IN_STREAMS):
        say_speed("recorded, streams of one process", timed(lambda n=number, r=runs: epoch(n, r)), texts, runs)


def processes() -> None:
    """Several trainings, each in a process of its own."""
    texts = random_rows(2)
    with mps() as served:
        context = multiprocessing.get_context("spawn")
        barrier, results = context.Barrier(max(IN_PROCESSES)), context.Queue()
        workers = [context.Process(target=worker, args=(n, barrier, results)) for n in range(max(IN_PROCESSES))]
        for process in workers:
            process.start()
        for runs in IN_PROCESSES:
            say_speed(f"recorded, processes {served}", results.get(timeout=100), texts, runs)
        for process in workers:
            process.join()


def worker(place: int, barrier: Any, results: Any) -> None:
    """Train two epochs whenever at least place + 1 processes are asked for."""
    with own_stream():
        steps = recorded_steps(random_rows(2), 2 * len(IN_PROCESSES))
        for number, runs in enumerate(IN_PROCESSES):
            lengths = [*steps.lengths[2 * number], *steps.lengths[2 * number + 1]] if place < runs else []
            barrier.wait(90)
            start = time.perf_counter()
            timed(lambda lengths=lengths: [steps.take(length) for length in lengths])
            barrier.wait(90)
            if place == 0:
                results.put((time.perf_counter() - start) / 2)


@contextlib.contextmanager
def mps() -> Iterator[str]:
    """With NVIDIA's Multi-Process Service where it is installed: kernels of several processes then run at once."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        yield "without MPS"
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        subprocess.run([control, "-d"], timeout=20, check=True)
        try:
            yield "under MPS"
        finally:
            subprocess.run([control], input="quit\n", text=True, timeout=20, check=False)


def compiled() -> None:
    """torch.compile at one length of 40: whole with graphs of its own, or layer by layer in ours."""
    texts = [(row * 5)[:40] for row in random_rows() if len(row) > 9][: 20 * BATCH]
    epochs = 12

    def twenty(step: Callable[[], Any]) -> float:
        return timed(lambda: [step() for _ in range(20)]) * len(texts) / BATCH / 20

    with own_stream():
        for way in ("kernel by kernel", "recorded", "recorded, layers compiled"):
            steps = graphed.RecordedSteps(trainer_of(texts, epochs), 0)
            start = time.perf_counter()
            if "compiled" in way:
                for layer in steps.copy.base_model.encoder.layer:
                    layer.compile(dynamic=False)
                steps.compute(40)
                steps.seen.add(40)
            steps.records = "recorded" in way
            steps.take(40)
            steps.take(40)
            wait()
            note = f"first steps took {time.perf_counter() - start:.0f} s"
            say_speed(f"{way}, length 40", twenty(lambda steps=steps: steps.take(40)), texts, note=note)
    model = new_model().to("cuda" if ON_GPU else "cpu").train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    tokens = torch.tensor(texts[:BATCH], device=model.device) - 999
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens[:, 0] % 2}

    def step() -> None:
        with torch.autocast(model.device.type, torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for way in ("a bare loop", "a bare loop, compiled with reduce-overhead"):
        start = time.perf_counter()
        if "compiled" in way:
            model.compile(mode="reduce-overhead", dynamic=False)
        for _ in range(4):
            step()
        wait()
        note = f"first steps took {time.perf_counter() - start:.0f} s"
        say_speed(f"{way}, length 40", twenty(step), texts, note=note)


def sound() -> None:
    """That replaying changes nothing, and dropout is drawn anew at each replay."""
    texts = [row[:32] for row in random_rows(10 if ON_GPU else 1)]

    def trained(records: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = new_model()
        model.config.hidden_dropout_prob = 0.0
        for module in model.modules():
            for name in ("p", "dropout_prob"):
                if hasattr(module, name):
                    setattr(module, name, 0.0)
        steps = graphed.RecordedSteps(trainer_of(texts, 4, model=model), 0)
        steps.records = records
        for length in itertools.chain(*steps.lengths):
            steps.take(length)
        return model.state_dict()

    with own_stream():
        one, two = trained(True), trained(False)
        wait()
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    again = trainer_of(texts[:BATCH], 6, rate=1e-30)
    graphed.train(again, 0)
    losses = [round(entry["loss"], 4) for entry in again.state.log_history if "loss" in entry]
    say("sound", note=f"weights replayed and computed differ by {apart:.1e}; losses of one batch by dropout {losses}")


def scores() -> None:
    """Macro-F1 of MiniLM on recorded texts, of the Trainer and of recorded steps, with the same seeds."""
    for task, labels in (("tweet_irony", 2), ("financial_phrasebank", 3)):
        pairs = recorded_texts((task,))
        train, test = pairs[::2][: 32 if SMALL else None], pairs[1::2]
        given = Texts([text for text, _ in train], [label for _, label in train])
        found: dict[bool, list[float]] = {True: [], False: []}
        for seed, way in itertools.product(range(2 if SMALL else 5), found):
            graphed.worthwhile = lambda trainer, way=way: way
            chosen = settings(5, batch_size=16)
            fitted = finetune_once(chosen, given, NO_TEXTS, [text for text, _ in test], labels, seed)
            predicted = fitted.probabilities.argmax(axis=1)
            found[way].append(100 * f1_score([label for _, label in test], predicted, average="macro"))
        differences = [ours - theirs for ours, theirs in zip(found[True], found[False], strict=True)]
        mean, half = statistics.mean(differences), stats.sem(differences) * stats.t.ppf(0.975, len(differences) - 1)
        each = [f"{statistics.mean(one):.2f} (deviation {statistics.stdev(one):.2f})" for one in found.values()]
        note = f"{task}, {len(differences)} seeds: {' and '.join(each)}, difference {mean:+.2f} [{mean - half:+.2f}, "
        say("scores, recorded and Trainer", note=note + f"{mean + half:+.2f}]")


def runs() -> None:
    """Every task's run twice, a ninth of the paper's 180 runs, side by side, with loading and all predictions."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, mps() as served:
        os.environ |= {"SYNTHGAP_CACHE": folder, "OMP_NUM_THREADS": "1"}
        load_tokenizer("minilm").save_pretrained(folder)
        BertForSequenceClassification(BertConfig(**SHAPE)).save_pretrained(folder)
        tasks = sorted(TASKS, key=lambda one: -TASKS[one]["labels"] * sum(lengths_of(one)))
        with ProcessPoolExecutor(max(IN_PROCESSES), multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(whole_run, task, seed, folder) for task in tasks for seed in (0, 1)]
            tokens, steps = (sum(of) for of in zip(*(job.result() for job in as_completed(jobs)), strict=True))
    took = time.perf_counter() - start
    note = (
        f"{len(jobs)} runs of {EPOCHS_OF_RUNS} epochs {served}, {took:.0f} s; 180: {took * 3 / len(jobs):.0f} minutes"
    )
    say("whole runs", max(IN_PROCESSES), 1000 * took / steps, tokens / took, note=note)


def whole_run(task: str, seed: int, folder: str) -> tuple[int, float]:
    """Train and predict at the paper's scale, with random words; the tokens and the steps that it took."""
    draw, lengths, n_labels = random.Random(task), lengths_of(task), TASKS[task]["labels"]
    words = sorted(word for word in load_tokenizer(folder).get_vocab() if word.isalpha() and len(word) > 2)[:WORDS]

    def texts(number: int) -> Texts:
        made = [" ".join(draw.choices(words, k=max(1, draw.choice(lengths) - 2))) for _ in range(number)]
        return Texts(made, [place % n_labels for place in range(number)])

    scale = 0.01 if SMALL else 1
    train, validation, test = (texts(int(scale * n)) for n in (3000 * n_labels, 2000, TASKS[task]["test_texts"]))
    chosen = settings(EPOCHS_OF_RUNS, patience=EPOCHS_OF_RUNS, encoder=folder)
    fitted = finetune_once(chosen, train, validation, test.texts, n_labels, seed)
    return fitted.details["train_tokens"], fitted.trained_texts / BATCH


# ------------------------------------------------------------------------------------------------------ main


def main(names: list[str]) -> None:
    device = accelerations.device_name()
    found = [[device, "square products", 1, "", "", "1.000", f"{peak() / 1e12:.0f} TFLOP/s, torch {torch.__version__}"]]
    for name in names:
        command = [sys.executable, __file__, "--section", name]
        section = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output = section.communicate(timeout=LIMITS[name])[0].decode()
        except subprocess.TimeoutExpired:
            os.killpg(section.pid, 9)
            output = section.communicate()[0].decode() + "\nstopped: it took too long"
        print(f"---- {name}, exit {section.returncode}\n{output}", file=sys.stderr, flush=True)
        found += [[device, *json.loads(line[4:])] for line in output.splitlines() if line.startswith("ROW ")]
    rows = [dict(zip(COLUMNS, map(str, row), strict=True)) for row in found]
    measured = {(row["device"], row["way"]) for row in rows}
    write_rows(CSV, [*(row for row in read_rows(CSV) if (row["device"], row["way"]) not in measured), *rows])
    print("; ".join(", ".join(filter(None, list(row.values())[1:])) for row in rows))


def table() -> pd.DataFrame:
    """The rows with a time."""
    rows = pd.read_csv(CSV).dropna(subset="ms_per_step")
    rows["share_of_peak"] = [f"{share:.1%}" if share == share else "" for share in rows["share_of_peak"]]
    titles = ["device", "way", "runs at once", "ms a step", "real tokens/s", "of the peak", "note"]
    return rows.fillna("").set_axis(titles, axis=1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--section"]:
        globals()[sys.argv[2]]()
    else:
        main(sys.argv[1:] or list(LIMITS))
