"""The head that starts as a logistic regression on the encoder's embeddings."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_encoder import FINETUNE, GOOD, TEST, TRAIN, save_tiny_roberta

from synthgap.core.config import FinetuneSettings, ProbeSettings
from synthgap.training import accelerations
from synthgap.training.accelerations import in_batches, tokenised
from synthgap.training.base import NO_TEXTS
from synthgap.training.classifiers import classifier_identity, fit_predict
from synthgap.training.embeddings import embed
from synthgap.training.finetuning import load_classifier, predict

PROBED = FINETUNE.model_copy(update={"head": "probe", "epochs": 2})


def embeddings(model, rows, pad) -> np.ndarray:
    return in_batches(model, rows, pad, lambda inputs: model.embed(**inputs))


def test_untrained_it_predicts_what_the_probe_predicts(monkeypatch):
    """With all of MiniLM: its embeddings are those of sentence-transformers, its start is the classifier `probe`."""
    monkeypatch.setattr(accelerations, "bfloat16", lambda: False)
    tokenizer, model = load_classifier("minilm", 2, head="probe")
    train, test = (tokenised(tokenizer, "minilm", texts, 256) for texts in (TRAIN.texts, TEST))
    found = embeddings(model, train, tokenizer.pad_token_id)
    np.testing.assert_allclose(found, embed(TRAIN.texts, progress=False), atol=1e-5)
    model.start_as_probe(found, TRAIN.labels)
    logits = predict(model, test, tokenizer.pad_token_id)
    expected = fit_predict(ProbeSettings(kind="probe"), TRAIN, NO_TEXTS, TEST, 2, seed=0).probabilities
    np.testing.assert_allclose(torch.tensor(logits).softmax(1), expected, atol=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2] * 4, [0, 2] * 6], ids=["all", "one is absent"])
def test_it_starts_as_the_regression_on_its_own_embeddings(tiny_bert, labels, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    _, model = load_classifier(tiny_bert, 3, head="probe")
    vectors = np.random.default_rng(0).normal(size=(len(labels), 32)).astype(np.float32)
    model.start_as_probe(vectors, labels)
    regression = LogisticRegression(C=3.0, max_iter=2000, class_weight="balanced").fit(vectors, labels)
    present = sorted(set(labels))
    probabilities = model.layer(torch.tensor(vectors))[:, present].softmax(1).detach().numpy()
    np.testing.assert_allclose(probabilities, regression.predict_proba(vectors), atol=1e-5)


def test_padding_does_not_count(tiny_bert, tmp_path):
    for encoder, pad in ((tiny_bert, 0), (save_tiny_roberta(tmp_path), 1)):
        tokenizer, model = load_classifier(encoder, 2, head="probe")
        rows = tokenised(tokenizer, encoder, [GOOD[0], " ".join(GOOD)], 32)
        assert len(rows[0]) < len(rows[1])
        together, alone = embeddings(model, rows, pad), embeddings(model, rows[:1], pad)
        np.testing.assert_allclose(together[0], alone[0], atol=2e-2)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-3)


def test_it_is_trained_on_and_repeats_itself(tiny_bert):
    settings = PROBED.model_copy(update={"encoder": tiny_bert, "epochs": 30, "patience": 30, "learning_rate": 5e-3})
    short = settings.model_copy(update={"epochs": 5})
    again, same = (fit_predict(short, TRAIN, TRAIN, TEST, 2, seed=3).probabilities for _ in range(2))
    np.testing.assert_array_equal(again, same)
    one = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=3)
    assert one.probabilities.argmax(axis=1).tolist() == [1, 0]
    brief = settings.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    untrained = fit_predict(brief, TRAIN, NO_TEXTS, TEST, 2, seed=3).probabilities
    assert one.probabilities.max() > untrained.max() + 0.05


def test_members_of_an_ensemble_start_alike_and_end_apart(tiny_bert):
    settings = PROBED.model_copy(update={"encoder": tiny_bert})
    one, other = (fit_predict(settings, TRAIN, NO_TEXTS, TEST, 2, seed=seed).probabilities for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_only_a_probe_changes_the_names_of_runs(tiny_bert):
    plain = classifier_identity(FINETUNE.model_copy(update={"encoder": tiny_bert}))
    assert "head" not in plain
    probed = classifier_identity(FINETUNE.model_copy(update={"encoder": tiny_bert, "head": "probe"}))
    assert probed == plain | {"head": "probe"}


def test_another_head_is_refused():
    with pytest.raises(ValidationError, match="'probe'"):
        FinetuneSettings(kind="finetune", head="linear")
