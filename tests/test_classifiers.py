import numpy as np
import pytest
from conftest import needs_real_data

from synthgap import classifiers
from synthgap.classifiers import (
    Texts,
    classifier_identity,
    fit_predict,
    keep_best,
    load_classifier,
    peak_memory_mb,
    reset_peak_memory,
    tokenised,
    training_arguments,
)
from synthgap.config import FinetuneSettings, ProbeSettings, TfidfSettings
from synthgap.errors import SynthgapError

GOOD = ["a wonderful film", "great acting, loved it", "what a delight", "superb and moving", "I enjoyed every minute"]
BAD = ["a dreadful film", "awful acting, hated it", "what a bore", "clumsy and dull", "I regret every minute"]
TRAIN = Texts(GOOD + BAD, [1] * 5 + [0] * 5)
TEST = ["wonderful and great, a delight", "dreadful, awful, a bore"]
FINETUNE = FinetuneSettings(kind="finetune", learning_rate=5e-4, batch_size=4, epochs=3, patience=3, max_tokens=32)


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory) -> str:
    """A BERT of two small layers with random weights and a vocabulary of the texts above."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_bert")
    words = sorted({word.strip(",.") for text in GOOD + BAD + TEST for word in text.lower().split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", *words]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words) + 6, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


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


def test_finetuning_learns_and_repeats_itself(tiny_bert):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 30, "patience": 30, "learning_rate": 5e-3})
    one, two = (fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=3) for _ in range(2))
    assert one.probabilities.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert one.details["validation_macro_f1"][one.details["best_epoch"] - 1] == max(one.details["validation_macro_f1"])
    assert one.trained_texts == 10 * one.details["epochs_run"]
    other = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=4)
    assert not np.array_equal(one.probabilities, other.probabilities)


def test_finetuning_stops_early_and_keeps_the_best_weights(tiny_bert, monkeypatch):
    validation_scores = iter([0.2, 0.9, 0.5, 0.5, 0.95])
    monkeypatch.setattr(classifiers, "_macro_f1", lambda evaluated: {"macro_f1": next(validation_scores)})
    kept = {}
    original = classifiers.keep_best

    def watched(patience):
        best = original(patience)
        restore = best.restore

        def check(model):
            moved = {name: value.clone() for name, value in model.state_dict().items()}
            restore(model)
            kept["moved"] = any(not moved[name].equal(value) for name, value in model.state_dict().items())

        best.restore = check
        return best

    monkeypatch.setattr(classifiers, "keep_best", watched)
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 10, "patience": 2})
    fitted = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=0)
    assert fitted.details["validation_macro_f1"] == [0.2, 0.9, 0.5, 0.5]
    assert (fitted.details["best_epoch"], fitted.details["epochs_run"]) == (2, 4)
    assert kept["moved"], "the last epoch's weights were used"


def test_an_equal_score_is_no_better_one():
    best = keep_best(patience=2)

    class Model:
        def state_dict(self):
            return {}

    class Control:
        should_training_stop = False

    control = Control()
    for score in (1 / 3, 1 / 3, 1 / 3):
        best.on_evaluate(None, None, control, metrics={"eval_macro_f1": score}, model=Model())
    assert best.epoch == 1
    assert control.should_training_stop


def test_minilm_can_be_finetuned_without_a_hub():
    settings = FINETUNE.model_copy(update={"epochs": 1})
    fitted = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=0)
    np.testing.assert_allclose(fitted.probabilities.sum(axis=1), 1, atol=1e-5)


def test_predictions_keep_the_order_of_the_texts(tiny_bert):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 30, "patience": 30, "learning_rate": 5e-3})
    texts = [" ".join([text] * (n % 7 + 1)) for n in range(40) for text in (GOOD if n % 3 else BAD)]
    together = fit_predict(settings, TRAIN, TRAIN, texts, 2, seed=0).probabilities
    alone = [fit_predict(settings, TRAIN, TRAIN, [text], 2, seed=0).probabilities[0] for text in texts[:60:6]]
    np.testing.assert_allclose(together[:60:6], alone, atol=2e-2)
    assert together.argmax(axis=1).tolist() == [int(n % 3 > 0) for n in range(40) for _ in range(5)]


def test_batches_pad_to_their_own_longest_text(tiny_bert, tmp_path):
    tokenizer, _ = load_classifier(tiny_bert, 2)
    items = tokenised(tokenizer, ["a film", "a " * 100], 16, [0, 1])
    assert [len(item["input_ids"]) for item in items] == [4, 16]
    assert [item["labels"] for item in items] == [0, 1]
    assert training_arguments(FINETUNE, 0, tmp_path).train_sampling_strategy == "group_by_length"


def test_an_encoder_that_cannot_be_had_is_named():
    with pytest.raises(SynthgapError, match="encoder 'no/such-encoder' cannot be loaded"):
        load_classifier("no/such-encoder", 2)


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
