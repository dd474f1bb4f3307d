import numpy as np
import pytest
from conftest import needs_real_data
from small_encoder import FINETUNE, GOOD, TEST, TRAIN

from synthgap.classifiers import (
    Texts,
    classifier_identity,
    fit_predict,
    peak_memory_mb,
    reset_peak_memory,
)
from synthgap.config import ProbeSettings, TfidfSettings
from synthgap.errors import SynthgapError


@pytest.mark.parametrize("settings", [TfidfSettings(kind="tfidf"), ProbeSettings(kind="probe")], ids=lambda s: s.kind)
def test_logistic_regression_learns_and_gives_probabilities(settings):
    fitted = fit_predict(settings, TRAIN, Texts([], []), TEST, 2, seed=0)
    assert fitted.probabilities.shape == (2, 2)
    assert fitted.probabilities.dtype == np.float32
    np.testing.assert_allclose(fitted.probabilities.sum(axis=1), 1, atol=1e-5)
    assert fitted.probabilities.argmax(axis=1).tolist() == [1, 0]
    assert fitted.trained_texts == 10
    assert fitted.train_seconds > 0


def test_a_label_without_training_texts_gets_probability_zero():
    fitted = fit_predict(TfidfSettings(kind="tfidf"), TRAIN, Texts([], []), TEST, 3, seed=0)
    assert fitted.probabilities[:, 2].tolist() == [0, 0]


def test_one_label_is_not_enough():
    with pytest.raises(SynthgapError, match="at least two labels"):
        fit_predict(TfidfSettings(kind="tfidf"), Texts(GOOD, [1] * 5), Texts([], []), TEST, 2, seed=0)


def test_the_identity_names_the_weights_but_not_the_seeds(tiny_bert):
    minilm = classifier_identity(FINETUNE)
    assert minilm["weights"].startswith("53aa5117")
    assert "seeds" not in minilm
    assert classifier_identity(FINETUNE.model_copy(update={"encoder": tiny_bert}))["weights"] != minilm["weights"]
    assert classifier_identity(FINETUNE.model_copy(update={"seeds": (5,)})) == minilm
    assert "weights" not in classifier_identity(TfidfSettings(kind="tfidf"))


def test_peak_memory_sees_an_allocation():
    reset_peak_memory()
    before = peak_memory_mb()
    block = np.ones(30_000_000)
    assert peak_memory_mb() - before > 150
    assert block[0] == 1


@pytest.mark.slow
@needs_real_data
def test_all_three_classifiers_beat_chance_on_real_headlines(monkeypatch):
    from conftest import REAL_DATA

    from synthgap.config import load_profile
    from synthgap.data import draw_equal, load_real
    from synthgap.runs import scores
    from synthgap.tasks import load_task

    monkeypatch.setenv("SYNTHGAP_DATA", str(REAL_DATA))
    task = load_task("humor")
    data = load_real(task, load_profile("recorded", {"data.test_texts_per_label": 60}))
    labels = list(task.labels)
    frame = draw_equal(data.split("train"), dict.fromkeys(labels, 100), 0)
    train = Texts(frame["text"].tolist(), [labels.index(label) for label in frame["label"]])
    test = data.split("test")
    quick = FINETUNE.model_copy(update={"epochs": 5, "batch_size": 16, "learning_rate": 2e-4})
    for settings in (TfidfSettings(kind="tfidf"), ProbeSettings(kind="probe"), quick):
        found = fit_predict(settings, train, train, test["text"].tolist(), 2, 0).probabilities.argmax(axis=1)
        macro_f1 = scores(test["label"], [labels[place] for place in found], labels)["macro_f1"]
        assert macro_f1 > 65, settings.kind
