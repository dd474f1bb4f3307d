"""How near fine-tuning comes to this device's matrix peak with weights of BERT's size, and whether compiling pays.

    SYNTHGAP_DATA=... python benchmarks/finetune_peak.py [--compile]

The peak is measured: square products in the precision that training uses. The texts are as many of each task's, with
their real lengths, in batches of 16; real tokens alone are counted. Weights are random: speed does not depend on them.
Forwards, a token costs two floating-point operations a weight of the layers, and in each layer four times the width
times the length of its text for attention; backwards twice that (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).

The time on one GPU is arithmetic, not measured: the paper's grid at the share of the peak that was aimed at, of what
the maker states.
"""

import statistics
import sys
import tempfile
import time
from typing import Any

import torch
from growth import paper_grid, settings_of_berts_size

from synthgap.config import load_profile
from synthgap.data import RealData, load_real
from synthgap.finetuning import bfloat16, device_name, load_classifier, load_tokenizer, tokenised
from synthgap.growth import time_training
from synthgap.tables import hours_shown
from synthgap.tasks import load_task

ON_GPU = torch.cuda.is_available()
TEXTS_PER_TASK, ROUNDS = (512, 3) if ON_GPU else (64, 1)
SIDE, PRODUCTS = (8192, 50) if ON_GPU else (2048, 5)
STATED_PEAK = 989e12  # H100 SXM in bfloat16 without sparsity, by NVIDIA's data sheet
SHARE_AIMED_AT = 0.4


def matrix_peak() -> float:
    """Floating-point operations a second, the best of some products."""
    device, precision = "cuda" if ON_GPU else "cpu", torch.bfloat16 if bfloat16() else torch.float32
    left, right = (torch.randn(SIDE, SIDE, device=device).to(precision) for _ in range(2))
    seconds = []
    for _ in range(PRODUCTS):
        wait()
        start = time.perf_counter()
        left @ right
        wait()
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)


def wait() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def operations(config: Any, tokens: int, texts: int = 1) -> float:
    """Of one pass forwards over texts of the same length."""
    width, layers = config.hidden_size, config.num_hidden_layers
    weights = layers * (4 * width**2 + 2 * width * config.intermediate_size)
    return 2 * weights * tokens + 4 * layers * width * tokens**2 / texts


def paper_operations(config: Any, settings: Any, real: dict[str, RealData]) -> float:
    """Of the paper's grid with two encoders of this size, all epochs; texts as long as the mean of their task."""
    runs, works = paper_grid(settings, real)
    total = 0.0
    for work in works:
        train = operations(config, work.train_tokens, work.train_texts)
        validation = operations(config, work.validation_tokens, work.validation_texts)
        total += settings.epochs * (3 * train + validation) + operations(config, work.test_tokens, work.test_texts)
    return runs * total


def main(ways: list[str]) -> None:
    profile = load_profile("recorded")
    real = {name: load_real(load_task(name), profile) for name in profile.tasks}
    texts = [text for data in real.values() for text in data.split("train")["text"].head(TEXTS_PER_TASK)]
    seconds: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of_berts_size(folder).model_copy(update={"batch_size": 16})
        tokenizer = load_tokenizer(settings.encoder)
        rows = tokenised(tokenizer, settings.encoder, texts, settings.max_tokens)
        for _ in range(ROUNDS):
            peaks.append(matrix_peak())
            for way, found in seconds.items():
                _, model = load_classifier(settings.encoder, 2)
                if way == "compiled":
                    model.compile(dynamic=True)
                found.append(time_training(settings, model, rows, int(tokenizer.pad_token_id)))
        needed = paper_operations(model.config, settings, real)
    median = {way: [statistics.median(values) for values in zip(*found, strict=True)] for way, found in seconds.items()}
    _, train, predict = median["plain"]
    compiled = ""
    if "compiled" in median:
        compiling, epoch, _ = median["compiled"]
        compiled = f"; torch.compile: an epoch at {train / epoch:.2f} times the speed, and {compiling:.0f} s to compile"
    tokens, passes, peak = sum(map(len, rows)), sum(operations(model.config, len(row)) for row in rows), max(peaks)
    print(
        f"BERT's size on {device_name()}, {torch.get_num_threads()} threads, "
        f"{'bfloat16' if bfloat16() else 'float32'}, {len(rows)} texts of ten tasks, {tokens / len(rows):.0f} tokens "
        f"each: training {tokens / train:,.0f} real tokens/s, {3 * passes / train / peak:.0%} of the measured matrix "
        f"peak of {peak / 1e12:.2f} TFLOP/s; prediction {tokens / predict:,.0f}, {passes / predict / peak:.0%} "
        f"(rounds: {ROUNDS}){compiled}; the paper's grid is {needed / 1e18:.2f} x 10^18 operations: "
        f"{hours_shown(needed / STATED_PEAK / SHARE_AIMED_AT / 3600)} on a GPU at {SHARE_AIMED_AT:.0%} of "
        f"{STATED_PEAK / 1e12:.0f} TFLOP/s (arithmetic from the maker's figure for an H100, not measured)"
    )


if __name__ == "__main__":
    main(["plain", "compiled"] if "--compile" in sys.argv else ["plain"])
