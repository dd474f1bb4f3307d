import numpy as np
import pytest
from conftest import needs_real_data
from small_encoder import FINETUNE, GOOD, TEST, TRAIN

from synthgap.core.config import FinetuneSettings, ProbeSettings, TfidfSettings
from synthgap.core.errors import SynthgapError
from synthgap.data.draws import draw_equal
from synthgap.data.real import load_real
from synthgap.tasks import load_profile, load_task
from synthgap.training.base import NO_TEXTS, Texts, peak_memory_mb, reset_peak_memory
from synthgap.training.classifiers import WHERE_TRAINED, classifier_identity, fit_predict
from synthgap.training.runs import RUN_FORMAT, scores


@pytest.mark.parametrize("settings", [TfidfSettings(kind="tfidf"), ProbeSettings(kind="probe")], ids=lambda s: s.kind)
def test_logistic_regression_learns_and_gives_probabilities(settings):
    fitted = fit_predict(settings, TRAIN, NO_TEXTS, TEST, 2, seed=0)
    assert fitted.probabilities.shape == (2, 2)
    assert fitted.probabilities.dtype == np.float32
    np.testing.assert_allclose(fitted.probabilities.sum(axis=1), 1, atol=1e-5)
    assert fitted.probabilities.argmax(axis=1).tolist() == [1, 0]
    assert fitted.trained_texts == 10
    assert fitted.train_seconds > 0


def test_a_label_without_training_texts_gets_probability_zero():
    fitted = fit_predict(TfidfSettings(kind="tfidf"), TRAIN, NO_TEXTS, TEST, 3, seed=0)
    assert fitted.probabilities[:, 2].tolist() == [0, 0]


def test_one_label_is_not_enough():
    with pytest.raises(SynthgapError, match="at least two labels"):
        fit_predict(TfidfSettings(kind="tfidf"), Texts(GOOD, [1] * 5), NO_TEXTS, TEST, 2, seed=0)


def test_the_identity_names_the_weights_but_not_the_seeds(tiny_bert):
    minilm = classifier_identity(FINETUNE)
    assert minilm["weights"].startswith("53aa5117")
    assert "seeds" not in minilm
    assert classifier_identity(FINETUNE.model_copy(update={"encoder": tiny_bert}))["weights"] != minilm["weights"]
    assert classifier_identity(FINETUNE.model_copy(update={"seeds": (5,)})) == minilm
    assert "weights" not in classifier_identity(TfidfSettings(kind="tfidf"))


def test_whoever_changes_a_default_raises_the_format_of_runs():
    """Values that equal their defaults are not in the names of runs, so a new default needs new names."""
    defaults = {
        "tfidf": {"inverse_regularisation": 10.0},
        "probe": {"encoder": "minilm", "inverse_regularisation": 3.0},
        "finetune": {
            **{"encoder": "minilm", "learning_rate": 5e-5, "batch_size": 64, "epochs": 10, "patience": 2},
            **{"max_tokens": 256, "warmup": 0.1, "weight_decay": 0.01, "attention_dropout": None},
            **{"validation_texts": 500, "head": None, "members": 1},
        },
    }
    kinds = (TfidfSettings(kind="tfidf"), ProbeSettings(kind="probe"), FinetuneSettings(kind="finetune"))
    assert {one.kind: one.model_dump(exclude={"kind", *WHERE_TRAINED}) for one in kinds} == defaults
    assert RUN_FORMAT == 2
    assert [set(classifier_identity(one)) - {"weights"} for one in kinds] == [{"kind"}] * 3


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
        macro_f1 = scores(test["label"].tolist(), [labels[place] for place in found], labels)["macro_f1"]
        assert macro_f1 > 65, settings.kind
