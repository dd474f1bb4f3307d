"""How near fine-tuning comes to this device's matrix peak with weights of BERT's size, and whether compiling pays.

    SYNTHGAP_DATA=... python benchmarks/finetune_peak.py [--compile]

The peak is measured: square products in the precision that training uses. The texts are as many of each task's, with
their real lengths, in batches of 16, on a GPU also of 64 (as in the profile paper) and 256; real tokens alone count.
Weights are random: speed does not depend on them. Forwards, a token costs two floating-point operations a weight of the
layers, and in each layer four times the width times the length of its text for attention; backwards twice that (Kaplan
et al. 2020, arXiv 2001.08361, section 2.1). Compiled are the layers, one by one: the model as a whole takes minutes.
Rows go to benchmarks/finetune_peak.csv; what was measured before on such a device is kept.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from common import read_rows, train_texts, write_rows
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback

from synthgap.core.config import FinetuneSettings
from synthgap.tasks import load_profile
from synthgap.training.accelerations import bfloat16, device_name, only_used_tokens, tokenised
from synthgap.training.finetuning import load_classifier, load_tokenizer, new_trainer, predict, training_arguments

CSV = Path(__file__).with_suffix(".csv")
COLUMNS = (
    *("device", "way", "batch_size", "texts", "peak_tflops", "train_tokens_per_second", "train_share"),
    *("predict_tokens_per_second", "predict_share"),
)
TITLES = (
    *("device", "way", "texts a batch", "peak, TFLOP/s", "tokens/s, training", "of the peak"),
    *("tokens/s, predicting", "share of the peak"),
)
ON_GPU = torch.cuda.is_available()
TEXTS_PER_TASK = 512 if ON_GPU else 16
BATCH_SIZES = (16, 64, 256) if ON_GPU else (16,)
MOST_BATCHES = 40  # of an epoch
SIDE, PRODUCTS = (8192, 50) if ON_GPU else (2048, 5)


def settings_of_berts_size(folder: str) -> FinetuneSettings:
    """The paper's settings with random weights in BERT base's shape, with MiniLM's tokens, which are BERT's."""
    load_tokenizer("minilm").save_pretrained(folder)
    BertForSequenceClassification(BertConfig()).save_pretrained(folder)
    return load_profile("paper").training.classifiers["bert"].model_copy(update={"encoder": folder})


def device() -> str:
    threads = "" if ON_GPU else f", {torch.get_num_threads()} threads"
    return f"{device_name()}{threads}, {'bfloat16' if bfloat16() else 'float32'}"


class Clock(TrainerCallback):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def time_training(settings: FinetuneSettings, model: Any, rows: list[list[int]], pad: int) -> tuple[float, float]:
    """Seconds of the second epoch, and of the second prediction."""
    clock = Clock()
    with only_used_tokens(model, rows, pad) as renumbered:
        items = [{"input_ids": renumbered(row), "labels": place % 2} for place, row in enumerate(rows)]
        arguments = training_arguments(settings.model_copy(update={"epochs": 2}), 0)
        new_trainer(model, arguments, items, pad, clock).train()
    predict(model, rows, pad)
    again = time.perf_counter()
    predict(model, rows, pad)
    return clock.ends[1] - clock.ends[0], time.perf_counter() - again


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


def operations(config: Any, tokens: int) -> float:
    """Of one pass forwards over a text."""
    width, layers = config.hidden_size, config.num_hidden_layers
    weights = layers * (4 * width**2 + 2 * width * config.intermediate_size)
    return 2 * weights * tokens + 4 * layers * width * tokens**2


def measured(way: str, batch_size: int, settings: Any, rows: list[list[int]], peak: float) -> dict[str, object]:
    tokenizer, model = load_classifier(settings.encoder, 2)
    if way == "compiled":
        for layer in model.base_model.encoder.layer:
            layer.compile(dynamic=True)
    some = rows[:: max(1, len(rows) // (MOST_BATCHES * batch_size))]
    one = settings.model_copy(update={"batch_size": batch_size})
    train, predicted = time_training(one, model, some, int(tokenizer.pad_token_id))
    tokens, passes = sum(map(len, some)), sum(operations(model.config, len(row)) for row in some)
    figures = (f"{peak / 1e12:.2f}", f"{tokens / train:.0f}", f"{3 * passes / train / peak:.3f}")
    values = (
        device(),
        way,
        batch_size,
        len(some),
        *figures,
        f"{tokens / predicted:.0f}",
        f"{passes / predicted / peak:.3f}",
    )
    return dict(zip(COLUMNS, values, strict=True))


def main(ways: list[str]) -> None:
    texts = train_texts(TEXTS_PER_TASK)
    rows = {(row["device"], row["way"], int(row["batch_size"])): row for row in read_rows(CSV)}
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of_berts_size(folder)
        tokens = tokenised(load_tokenizer(settings.encoder), settings.encoder, texts, settings.max_tokens)
        peak = matrix_peak()
        for way in ways:
            for size in BATCH_SIZES:
                if (key := (device(), way, size)) not in rows:
                    rows[key] = measured(way, size, settings, tokens, peak)
                    print(*rows[key].values(), file=sys.stderr, flush=True)
                    write_rows(CSV, [rows[one] for one in sorted(rows)])
    found = table()[["device", "way", "texts a batch", "of the peak"]].itertuples(index=False, name=None)
    print("of the peak, training: " + "; ".join(map("{}, {}, {} a batch {}".format, *zip(*found, strict=True))))


def table() -> pd.DataFrame:
    rows = pd.read_csv(CSV).drop(columns="texts")
    shares = {name: [f"{share:.1%}" for share in rows[name]] for name in ("train_share", "predict_share")}
    return rows.assign(**shares).set_axis(TITLES, axis=1)


if __name__ == "__main__":
    main(["plain", "compiled"] if "--compile" in sys.argv else ["plain"])
