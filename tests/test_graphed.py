import warnings

import numpy as np
import pytest
import torch
from small_encoder import BAD, FINETUNE, GOOD, save_tiny_roberta

from synthgap.training import accelerations, graphed
from synthgap.training.accelerations import only_used_tokens, tokenised
from synthgap.training.finetuning import load_classifier, new_trainer, training_arguments

TEXTS = [" ".join([text] * (n % 5 + 1)) for n in range(11) for text in (GOOD[n % 5], BAD[n % 5])]
LABELS = [1, 0] * 11


class Graph:
    """Stands in for a CUDA graph: it computes again what it was made of."""

    def __init__(self, compute, pool):
        self.compute, self.replays = compute, 0

    def replay(self):
        self.replays += 1
        self.compute()

    def pool(self):
        return None


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that were made; training behaves as on a GPU."""
    made = []

    def recorded(compute, pool):
        made.append(Graph(compute, pool))
        return made[-1]

    monkeypatch.setattr(graphed, "recorded", recorded)
    monkeypatch.setattr(graphed, "worthwhile", lambda trainer: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return made


def trained(encoder, train, head=None, texts=TEXTS, labels=LABELS):
    """Weights and the loss of each of six epochs without dropout, in batches of 4."""
    changes = {"encoder": encoder, "epochs": 6, "batch_size": 4, "head": head, "learning_rate": 5e-3}
    settings = FINETUNE.model_copy(update=changes)
    torch.manual_seed(0)
    tokenizer, model = load_classifier(encoder, 2, head=head)
    for module in model.modules():
        for name in ("p", "dropout_prob"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    pad = int(tokenizer.pad_token_id)
    rows = tokenised(tokenizer, encoder, texts, 32)
    with only_used_tokens(model, rows, pad) as renumbered:
        items = [{"input_ids": renumbered(row), "labels": label} for row, label in zip(rows, labels, strict=True)]
        trainer = new_trainer(model, training_arguments(settings, 0), items, pad)
        train(trainer, pad)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {name: value.numpy() for name, value in model.state_dict().items()}, losses


def plainly(trainer, pad):
    trainer.train()


def same(one, other, **tolerance):
    np.testing.assert_allclose(one[1], other[1], **tolerance)
    for name, values in one[0].items():
        np.testing.assert_allclose(values, other[0][name], err_msg=name, **tolerance)


@pytest.mark.parametrize(("kind", "head"), [("bert", None), ("bert", "probe"), ("roberta", None)])
def test_recorded_steps_teach_what_the_trainers_do(tiny_bert, tmp_path, monkeypatch, graphs, kind, head):
    encoder = tiny_bert if kind == "bert" else save_tiny_roberta(tmp_path)
    monkeypatch.setattr(accelerations, "bfloat16", lambda: False)
    plain = trained(encoder, plainly, head)
    assert plain[1][-1] < 0.9 * plain[1][0], "nothing was learned that could differ"
    same(trained(encoder, graphed.train, head), plain, rtol=1e-3, atol=1e-4)
    assert graphs, "no step was recorded"
    assert sum(graph.replays for graph in graphs) > len(graphs), "no recording was used again"


def test_in_bfloat16_the_weights_that_are_kept_are_not_rounded(tiny_bert, monkeypatch, graphs):
    plain, fine = trained(tiny_bert, plainly), {}
    for low in (False, True):
        monkeypatch.setattr(accelerations, "bfloat16", lambda low=low: low)
        fine[low] = trained(tiny_bert, graphed.train)
    same(fine[True], plain, rtol=0.1, atol=0.05)
    for weights in fine[True][0].values():
        assert weights.dtype == np.float32 or not np.issubdtype(weights.dtype, np.floating)
    weights = torch.tensor(fine[True][0]["classifier.weight"])
    assert not weights.equal(weights.to(torch.bfloat16).float())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory. Tried 2 MiB."), AttributeError("no graphs")])
def test_what_cannot_be_recorded_is_computed_and_said_once(tiny_bert, monkeypatch, graphs, error):
    monkeypatch.setattr(accelerations, "bfloat16", lambda: False)
    recorded = trained(tiny_bert, graphed.train)
    number, original = len(graphs), graphed.recorded

    def no_room_for_a_second(compute, pool):
        if len(graphs) > number:
            raise error
        return original(compute, pool)

    monkeypatch.setattr(graphed, "recorded", no_room_for_a_second)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        computed = trained(tiny_bert, graphed.train)
    same(computed, recorded, rtol=1e-6)
    sentences = [str(one.message) for one in said if "cannot be recorded" in str(one.message)]
    assert len(sentences) == 1
    assert sentences[0].endswith(str(error).partition(".")[0])


def test_batches_are_padded_to_few_lengths_and_never_beyond_the_longest_text():
    lengths = graphed.padded_lengths([[3, 5], [9], [64, 2], [65], [90, 12]])
    assert lengths == [8, 16, 64, 80, 90]
    assert graphed.padded_lengths([[600], [5], [513]]) == [600, 8, 600]


def test_without_a_gpu_or_in_parts_the_trainer_trains(tiny_bert, monkeypatch):
    tokenizer, model = load_classifier(tiny_bert, 2)
    items = [{"input_ids": [2, 6, 3], "labels": 0}, {"input_ids": [2, 7, 8, 3], "labels": 1}]
    trainer = new_trainer(model, training_arguments(FINETUNE, 0), items, int(tokenizer.pad_token_id))
    for gpu, at_once, expected in [(False, 1000, False), (True, 1000, True), (True, 15, False)]:
        monkeypatch.setattr(accelerations, "on_gpu", lambda gpu=gpu: gpu)
        monkeypatch.setattr(accelerations, "tokens_at_once", lambda at_once=at_once: at_once)
        assert graphed.worthwhile(trainer) == expected
