"""Training on a CPU in batches of like length, as it is done, against packed batches, in which nothing is padded.

Texts as long as the ten tasks' (token_lengths.json), random tokens and weights, 16 a batch, forwards and backwards;
processor time of one thread, the ways in turns. Packed texts attend to themselves alone: all of a batch in one line,
attention computed text by text, or lines of 256 tokens with a mask that is block-diagonal.
"""

import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AttentionInterface, BertConfig, BertModel
from transformers.models.bert.modeling_bert import eager_attention_forward
from transformers.trainer_pt_utils import get_length_grouped_indices

from synthgap.training.accelerations import AT_ONCE_ON_CPU, bfloat16, padded

LENGTHS = json.loads((Path(__file__).parent / "token_lengths.json").read_text())
SHAPES = {
    "MiniLM": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "BERT base": {},
}
BATCH, LINE, ROUNDS = 16, 256, 3
BATCHES = {"MiniLM": 10, "BERT base": 2}  # of a turn
Rows = list[list[int]]
within: list[int] = []  # the lengths of the texts of the line that is computed


def text_by_text(module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> tuple[Any, None]:
    """Attention of a line of texts, each to itself."""
    parts = zip(*(one.split(within, dim=2) for one in (query, key, value)), strict=True)
    return torch.cat([eager_attention_forward(module, *part, None, **named)[0] for part in parts], dim=1), None


AttentionInterface.register("text_by_text", text_by_text)


def grouped(model: Any, rows: Rows) -> Iterable[tuple[torch.Tensor, list[int]]]:
    size = max(1, AT_ONCE_ON_CPU // max(map(len, rows)))
    for start in range(0, len(rows), size):
        part = padded(rows[start : start + size], 0)
        yield model(**part).last_hidden_state, list(range(0, part["input_ids"].numel(), part["input_ids"].shape[1]))


def lines_of(rows: Rows, most: int) -> list[Rows]:
    """Texts in lines of at most so many tokens: each, longest first, in the first line that has room."""
    lines: list[Rows] = []
    for row in sorted(rows, key=len, reverse=True):
        fitting = (line for line in lines if sum(map(len, line)) + len(row) <= most)
        if (line := next(fitting, None)) is None:
            lines.append(line := [])
        line.append(row)
    return lines


def starts(rows: Rows) -> list[int]:
    return [sum(map(len, rows[:place])) for place in range(len(rows))]


def places(rows: Rows) -> list[int]:
    return [place for row in rows for place in range(len(row))]


def in_one_line(model: Any, rows: Rows) -> Iterable[tuple[torch.Tensor, list[int]]]:
    for line in lines_of(rows, AT_ONCE_ON_CPU):
        within[:] = map(len, line)
        tokens, positions = torch.tensor([[*itertools.chain(*line)]]), torch.tensor([places(line)])
        yield model(tokens, position_ids=positions).last_hidden_state, starts(line)


def with_a_mask(model: Any, rows: Rows) -> Iterable[tuple[torch.Tensor, list[int]]]:
    lines = lines_of(rows, LINE)
    width = max(sum(map(len, line)) for line in lines)
    tokens, positions = torch.zeros((2, len(lines), width), dtype=torch.long)
    owner = -1 - torch.arange(width).repeat(len(lines), 1)  # padding attends to itself
    for number, line in enumerate(lines):
        together = [*itertools.chain(*line)]
        tokens[number, : len(together)] = torch.tensor(together)
        positions[number, : len(together)] = torch.tensor(places(line))
        owner[number, : len(together)] = torch.tensor([text for text, row in enumerate(line) for _ in row])
    seen = owner.unsqueeze(1) == owner.unsqueeze(2)
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min).unsqueeze(1)
    firsts = [number * width + start for number, line in enumerate(lines) for start in starts(line)]
    yield model(tokens, attention_mask=mask, position_ids=positions).last_hidden_state, firsts


WAYS: dict[str, tuple[Callable[..., Any], str]] = {
    "like length": (grouped, "eager"),
    "one line": (in_one_line, "text_by_text"),
    "lines with a mask": (with_a_mask, "eager"),
}


def step(model: Any, way: str, rows: Rows) -> torch.Tensor:
    """Forwards and backwards; gives the vectors of the texts' first tokens, the longest text's first."""
    function, attention = WAYS[way]
    model.set_attn_implementation(attention)
    found = []
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16()):
        for vectors, firsts in function(model, rows):
            first = vectors.flatten(0, 1)[firsts]
            first.float().square().mean().backward()
            found.append(first.detach().float())
    return torch.cat(found)


def batches(order: list[int], texts: Rows, number: int) -> list[Rows]:
    return [[texts[place] for place in order[start : start + BATCH]] for start in range(0, number * BATCH, BATCH)]


def main() -> None:
    torch.set_num_threads(1)
    rng = random.Random(0)
    torch.manual_seed(0)
    known = [task["texts_of_length"] for task in LENGTHS.values()]
    lengths = [int(n) for of_task in known for n in rng.choices(list(of_task), list(of_task.values()), k=200)]
    texts = [[rng.randrange(1000, 2000) for _ in range(min(length, LINE))] for length in lengths]
    shuffled = rng.sample(range(len(texts)), len(texts))
    found = []
    for name, shape in SHAPES.items():
        model = BertModel(BertConfig(**shape), add_pooling_layer=False).train()
        grouped_order = get_length_grouped_indices([len(text) for text in texts], BATCH)
        orders = {way: grouped_order if way == "like length" else shuffled for way in WAYS}
        sampled = {way: batches(order, texts, len(texts) // BATCH) for way, order in orders.items()}
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(ROUNDS):
            for way, some in sampled.items():
                chosen = some[turn :: len(some) // BATCHES[name]]
                start = time.process_time()
                for rows in chosen:
                    step(model, way, rows)
                tokens = sum(len(row) for rows in chosen for row in rows)
                seconds[way].append((time.process_time() - start) / tokens)
        speeds = {way: 1 / statistics.median(taken) for way, taken in seconds.items()}
        found.append(f"{name} " + ", ".join(f"{way} {speed:.0f}" for way, speed in speeds.items()))
    padding = 1 - sum(map(len, texts)) / sum(BATCH * max(map(len, rows)) for rows in sampled["like length"])
    print(
        f"real tokens a second of processor time, {'bfloat16' if bfloat16() else 'float32'}: {'; '.join(found)}; "
        f"batches of like length are {padding:.1%} padding (medians of {ROUNDS})"
    )


if __name__ == "__main__":
    main()
