"""Fine-tunings side by side on one GPU (without one: on the cores): real tokens a second of all processes together.

    SYNTHGAP_DATA=... python benchmarks/gpu_sharing.py [PROCESSES ...]

Encoders of BERT's size in batches of 64 (as in the profile paper) and of MiniLM's size in batches of 16 (as in
`recorded`), random weights, texts of ten tasks with their real lengths. All processes are started and warm before any
is timed; between two numbers of processes they wait for each other. Rows go to benchmarks/gpu_sharing.csv; those of
other devices are kept.
"""

import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from common import read_rows, train_texts, write_rows

from synthgap.core.config import FinetuneSettings
from synthgap.training.accelerations import device_name, tokenised
from synthgap.training.finetuning import load_tokenizer, new_trainer, training_arguments

CSV = Path(__file__).with_suffix(".csv")
ON_GPU = torch.cuda.is_available()
COLUMNS = ("device", "encoder", "processes", "tokens_per_second", "times")
TEXTS_PER_TASK = 192 if ON_GPU else 8
SHAPES = {
    "BERT's size, batches of 64": (64, {}),
    "MiniLM's size, batches of 16": (16, {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}),
}
PATIENCE = 120  # seconds


def rows() -> tuple[list[list[int]], int]:
    tokenizer = load_tokenizer("minilm")
    return tokenised(tokenizer, "minilm", train_texts(TEXTS_PER_TASK), 256), int(tokenizer.pad_token_id)


def worker(place: int, batch_size: int, shape: dict[str, int], numbers: list[int], barrier: Any, results: Any) -> None:
    """Train whenever at least place + 1 processes are asked for."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.set_num_threads(1)
    texts, pad = rows()
    items = [{"input_ids": row, "labels": number % 2} for number, row in enumerate(texts)]
    config = BertConfig(**shape)
    config._attn_implementation = "sdpa" if ON_GPU else "eager"
    model = BertForSequenceClassification(config)
    settings = FinetuneSettings(kind="finetune", batch_size=batch_size, epochs=1)

    def train(some: list[dict[str, Any]]) -> None:
        new_trainer(model, training_arguments(settings, 0), some, pad).train()
        if ON_GPU:
            torch.cuda.synchronize()

    train(items[:: max(1, len(items) // (5 * batch_size))])
    for number in numbers:
        barrier.wait(PATIENCE)
        start = time.perf_counter()
        if place < number:
            train(items)
        barrier.wait(PATIENCE)
        if place == 0:
            results.put(number * sum(map(len, texts)) / (time.perf_counter() - start))


def speeds(batch_size: int, shape: dict[str, int], numbers: list[int]) -> list[float]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(max(numbers)), context.Queue()
    workers = [
        context.Process(target=worker, args=(place, batch_size, shape, numbers, barrier, results), daemon=True)
        for place in range(max(numbers))
    ]
    for process in workers:
        process.start()
    found = [results.get(timeout=2 * PATIENCE) for _ in numbers]
    for process in workers:
        process.join()
    return found


def main(numbers: list[int]) -> None:
    rows()  # so that the workers find their tokens
    measured = [row for row in read_rows(CSV) if row["device"] != device_name()]
    for name, (batch_size, shape) in SHAPES.items():
        found = speeds(batch_size, shape, numbers)
        for number, speed in zip(numbers, found, strict=True):
            values = (device_name(), name, str(number), f"{speed:.0f}", f"{speed / found[0]:.1f}")
            measured.append(dict(zip(COLUMNS, values, strict=True)))
            print(*values, file=sys.stderr, flush=True)
        write_rows(CSV, measured)
    found = (f"{row['device']}, {row['encoder']}, {row['processes']} at once {row['times']}" for row in measured)
    print("times the tokens/s of one: " + "; ".join(found))


def table() -> pd.DataFrame:
    titles = ["device", "encoder", "processes", "tokens/s of all", "times one alone"]
    return pd.read_csv(CSV).set_axis(titles, axis=1)


if __name__ == "__main__":
    main(sorted(map(int, sys.argv[1:])) or [1, 2])
