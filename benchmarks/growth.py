"""How fine-tuning grows with the number of texts, what the pilot's model predicts, and the paper's scale by it.

    SYNTHGAP_DATA=... python benchmarks/growth.py

Measured: MiniLM, one epoch, at most 500 test texts; texts repeat where a task has fewer than asked (time depends on
their number and length alone). The grid is the profile recorded's at that size, by the model. The paper's scale is by
the model with an encoder of BERT's size and random weights: real sets' lengths, 3,000 texts a label, ten epochs, no run
stopping early. Rows go to benchmarks/growth.csv, those of the paper's scale, one for each kind of device, to
benchmarks/growth_paper.csv.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import read_rows, write_rows
from finetune_ways import settings_of

from synthgap.classifiers import Texts, fit_predict, peak_memory_mb, reset_peak_memory
from synthgap.config import FinetuneSettings, load_profile
from synthgap.data import RealData, load_real
from synthgap.finetuning import bfloat16, device_name
from synthgap.growth import Pace, TokenCounter, Work, measure_pace, pilot_texts
from synthgap.tables import hours_shown
from synthgap.tasks import load_task

CSV = Path(__file__).with_suffix(".csv")
PAPER_CSV = CSV.with_stem("growth_paper")
TASKS = ("sms_spam", "humor", "financial_phrasebank")
SIZES = (100, 200, 400, 800)
EPOCHS, TEST_TEXTS, SAMPLE = 1, 500, 100
SETTINGS = settings_of(EPOCHS)
COLUMNS = ("task", "texts_per_label", "train_texts", "seconds", "predicted_seconds", "peak_memory_mb")


def train_texts(data: RealData, per_label: int) -> Texts:
    frame, labels = data.split("train"), list(data.task.labels)
    chosen = Texts([], [])
    for number, label in enumerate(labels):
        texts = frame.loc[frame["label"] == label, "text"].tolist()
        repeated = (texts * -(-per_label // len(texts)))[:per_label]
        chosen = Texts([*chosen.texts, *repeated], [*chosen.labels, *[number] * per_label])
    return chosen


def work_of(count: TokenCounter, train: Texts, test: list[str]) -> Work:
    return Work(
        len(train.texts), count.tokens(train.texts), 2, count.tokens(train.texts[:2]), len(test), count.tokens(test)
    )


def grid_work(count: TokenCounter, data: RealData, per_label: int, validation: int) -> Work:
    """A run of a task by the mean tokens of a sample of its texts."""
    numbers = {"train": per_label * len(data.task.labels), "validation": validation, "test": len(data.split("test"))}
    sizes = []
    for split, number in numbers.items():
        sample = data.split(split)["text"].head(SAMPLE)
        sizes += [number, round(number * count.tokens(sample) / len(sample))]
    return Work(*sizes)


def pace_of(settings: FinetuneSettings, real: dict[str, RealData]) -> Pace:
    return measure_pace(settings, pilot_texts({name: data.split("train")["text"] for name, data in real.items()}))


def settings_of_berts_size(folder: str) -> FinetuneSettings:
    """The paper's settings with random weights in BERT base's shape, with MiniLM's tokens, which are BERT's."""
    from transformers import BertConfig, BertForSequenceClassification

    from synthgap.finetuning import load_tokenizer

    load_tokenizer("minilm").save_pretrained(folder)
    BertForSequenceClassification(BertConfig()).save_pretrained(folder)
    return load_profile("paper").training.classifiers["bert"].model_copy(update={"encoder": folder})


def paper_grid(settings: FinetuneSettings, real: dict[str, RealData]) -> tuple[int, list[Work]]:
    """The runs of each task, of two encoders and three regimes, and a run's work for every task."""
    chosen, count = load_profile("paper").training, TokenCounter(settings)
    works = [grid_work(count, data, chosen.texts_per_label, settings.validation_texts) for data in real.values()]
    return 2 * 3 * len(chosen.seeds), works


def main() -> None:
    profile = load_profile("recorded")
    real = {name: load_real(load_task(name), profile) for name in profile.tasks}
    count, pace = TokenCounter(SETTINGS), pace_of(SETTINGS, real)
    rows = []
    for name in TASKS:
        test = real[name].split("test")["text"].head(TEST_TEXTS).tolist()
        for size in SIZES:
            train = train_texts(real[name], size)
            validation = Texts(train.texts[:2], train.labels[:2])
            reset_peak_memory()
            start = time.perf_counter()
            fit_predict(SETTINGS, train, validation, test, len(real[name].task.labels), 0)
            seconds = time.perf_counter() - start
            predicted = pace.seconds(work_of(count, train, test), EPOCHS)
            values = (name, size, len(train.texts), f"{seconds:.1f}", f"{predicted:.1f}", f"{peak_memory_mb():.0f}")
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_rows(CSV, rows)
    errors = [float(row["predicted_seconds"]) / float(row["seconds"]) for row in rows]
    memory = [int(row["peak_memory_mb"]) for row in rows]
    grids = []
    for size in SIZES:
        works = [grid_work(count, data, size, 300) for data in real.values()]
        grids.append(f"{size}: {hours_shown(9 * sum(pace.seconds(work, 6) for work in works) / 3600)}")
    print(
        f"MiniLM, {len(rows)} runs of 100 to 800 texts a label: predicted by the pilot {statistics.median(errors):.2f} "
        f"times the seconds measured ({min(errors):.2f} to {max(errors):.2f}), {min(memory)} to {max(memory)} MiB; the "
        f"grid of 90 runs by the model, six epochs: {', '.join(grids)}; {paper(real)}"
    )


def paper(real: dict[str, RealData]) -> str:
    """The paper's scale on each kind of device in the file; this one is measured anew."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of_berts_size(folder)
        pace = pace_of(settings, real)
        runs, works = paper_grid(settings, real)
    hours = runs * sum(pace.seconds(work, settings.epochs) for work in works) / 3600
    rows = {row["device"]: row for row in read_rows(PAPER_CSV)}
    rows[device()] = {"device": device(), "hours": f"{hours:.1f}", "memory_mb": f"{pace.memory_mb:.0f}"}
    write_rows(PAPER_CSV, [rows[name] for name in sorted(rows)])
    tokens = runs * sum(work.tokens(settings.epochs) for work in works)
    return (
        f"the paper's {runs * len(works)} runs with an encoder of BERT's size ({tokens / 1e9:.1f} billion tokens), one "
        f"after another: {paper_hours(read_rows(PAPER_CSV))}"
    )


def paper_hours(rows: list[dict[str, str]]) -> str:
    hours = {row["device"]: float(row["hours"]) for row in rows}
    return "; ".join(f"{hours_shown(all_)} on {name}, {hours_shown(all_ / 32)} on 32" for name, all_ in hours.items())


def device() -> str:
    threads = "" if torch.cuda.is_available() else f", {torch.get_num_threads()} threads"
    return f"{device_name()}{threads}, {'bfloat16' if bfloat16() else 'float32'}"


if __name__ == "__main__":
    main()
