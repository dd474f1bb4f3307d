import tempfile

import numpy as np
import pytest
import torch
from scipy.special import softmax
from small_encoder import BAD, FINETUNE, GOOD, TEST, TRAIN, save_tiny_roberta
from transformers import masking_utils

from synthgap.core.errors import SynthgapError
from synthgap.training import accelerations, finetuning
from synthgap.training.accelerations import batches, only_used_tokens, padded, tokenised
from synthgap.training.base import NO_TEXTS
from synthgap.training.classifiers import classifier_identity, fit_predict
from synthgap.training.embeddings import cache_folder
from synthgap.training.finetuning import (
    KeepBest,
    load_classifier,
    load_tokenizer,
    new_trainer,
    predict,
    training_arguments,
)


@pytest.fixture(params=["bert", "roberta"])
def encoder(request, tiny_bert, tmp_path) -> str:
    return tiny_bert if request.param == "bert" else save_tiny_roberta(tmp_path)


def test_finetuning_learns_and_repeats_itself(tiny_bert):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 30, "patience": 30, "learning_rate": 5e-3})
    one = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=3)
    assert one.probabilities.argmax(axis=1).tolist() == [1, 0]
    assert one.details["validation_macro_f1"][one.details["best_epoch"] - 1] == max(one.details["validation_macro_f1"])
    assert one.trained_texts == 10 * one.details["epochs_run"]
    brief = settings.model_copy(update={"epochs": 5})
    again, same, other = (fit_predict(brief, TRAIN, TRAIN, TEST, 2, seed).probabilities for seed in (3, 3, 4))
    np.testing.assert_array_equal(again, same)
    assert not np.array_equal(again, other)


def test_an_ensemble_is_the_mean_of_its_members_and_shares_none_with_another_seed(tiny_bert):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert})
    alone = [fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=seed) for seed in (2, 3)]
    both = fit_predict(settings.model_copy(update={"members": 2}), TRAIN, TRAIN, TEST, 2, seed=1)
    np.testing.assert_allclose(both.probabilities, (alone[0].probabilities + alone[1].probabilities) / 2, rtol=1e-6)
    assert not np.array_equal(alone[0].probabilities, alone[1].probabilities)
    assert both.trained_texts == alone[0].trained_texts + alone[1].trained_texts
    assert both.details["members"] == [one.details for one in alone]
    for name in ("epochs_run", "train_tokens", "predict_tokens"):
        assert both.details[name] == alone[0].details[name] + alone[1].details[name] > 0


def test_only_an_ensemble_changes_the_names_of_runs(tiny_bert):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert})
    one, two = (classifier_identity(settings.model_copy(update={"members": number})) for number in (1, 2))
    assert one == classifier_identity(settings) == {name: value for name, value in two.items() if name != "members"}
    assert two["members"] == 2


def test_finetuning_stops_early_and_keeps_the_best_weights(tiny_bert, monkeypatch):
    validation_scores = iter([0.2, 0.9, 0.5, 0.5, 0.95])
    monkeypatch.setattr(finetuning, "macro_f1", lambda *given: next(validation_scores))
    kept = {}

    class Watched(KeepBest):
        def restore(self, model):
            moved = {name: value.clone() for name, value in model.state_dict().items()}
            super().restore(model)
            kept["moved"] = any(not moved[name].equal(value) for name, value in model.state_dict().items())

    monkeypatch.setattr(finetuning, "KeepBest", Watched)
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 10, "patience": 2})
    fitted = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=0)
    assert fitted.details["validation_macro_f1"] == [0.2, 0.9, 0.5, 0.5]
    assert (fitted.details["best_epoch"], fitted.details["epochs_run"]) == (2, 4)
    assert kept["moved"], "the last epoch's weights were used"


def test_without_validation_texts_all_epochs_are_trained_and_the_last_is_kept(tiny_bert, monkeypatch):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 4, "patience": 1})
    alone = fit_predict(settings, TRAIN, NO_TEXTS, TEST, 2, seed=0)
    assert (alone.details["epochs_run"], alone.details["best_epoch"]) == (4, 4)
    assert alone.details["validation_macro_f1"] == []
    assert alone.trained_texts == 4 * len(TRAIN.texts)
    monkeypatch.setattr(finetuning, "macro_f1", lambda *given: 0.5)  # of equal epochs, the last is the best
    watched = fit_predict(settings.model_copy(update={"patience": 4}), TRAIN, TRAIN, TEST, 2, seed=0)
    np.testing.assert_array_equal(alone.probabilities, watched.probabilities)


def test_the_loss_and_the_score_of_watched_texts_are_noted_and_decide_nothing(tiny_bert):
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 3})
    alone = fit_predict(settings, TRAIN, NO_TEXTS, TEST, 2, seed=0)
    watched = fit_predict(settings, TRAIN, NO_TEXTS, TEST, 2, seed=0, watched=TRAIN)
    np.testing.assert_allclose(alone.probabilities, watched.probabilities, atol=1e-6)
    assert alone.details["watched_macro_f1"] == []
    assert len(watched.details["watched_macro_f1"]) == len(watched.details["train_loss"]) == 3
    assert watched.details["train_loss"][2] < watched.details["train_loss"][0]


def test_an_equal_score_ends_no_waiting_but_its_later_weights_are_kept():
    best = KeepBest(patience=2, score=lambda model: 1 / 3)

    class Model:
        def state_dict(self):
            return {}

    class Control:
        should_training_stop = False

    control = Control()
    for _ in range(3):
        best.on_epoch_end(None, None, control, model=Model())
        assert control.should_training_stop == (len(best.history) == 3)
    assert best.epoch == 3


def test_minilm_can_be_finetuned_without_a_hub():
    settings = FINETUNE.model_copy(update={"epochs": 1})
    fitted = fit_predict(settings, TRAIN, TRAIN, TEST, 2, seed=0)
    np.testing.assert_allclose(fitted.probabilities.sum(axis=1), 1, atol=1e-5)


def test_predictions_keep_the_order_of_the_texts(tiny_bert, monkeypatch):
    trained = {}

    def remember(model, rows, pad):
        trained["model"] = model
        return predict(model, rows, pad)

    monkeypatch.setattr(finetuning, "predict", remember)
    settings = FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 30, "patience": 30, "learning_rate": 5e-3})
    texts = [" ".join([text] * (n % 7 + 1)) for n in range(40) for text in (GOOD if n % 3 else BAD)]
    together = fit_predict(settings, TRAIN, TRAIN, texts, 2, seed=0).probabilities
    rows = tokenised(load_tokenizer(tiny_bert), tiny_bert, texts[:60:18], 32)
    alone = [softmax(predict(trained["model"], [row], 0)[0]) for row in rows]
    np.testing.assert_allclose(together[:60:18], alone, atol=2e-2)
    assert together.argmax(axis=1).tolist() == [int(n % 3 > 0) for n in range(40) for _ in range(5)]


def test_predictions_are_those_of_each_text_alone(encoder):
    tokenizer, model = load_classifier(encoder, 3)
    rows = tokenised(tokenizer, encoder, [*TEST, *GOOD, "a " * 30], 32)
    found = predict(model, rows, tokenizer.pad_token_id)
    assert found.shape == (8, 3)
    with torch.inference_mode():
        alone = [model(input_ids=torch.tensor([row])).logits[0].numpy() for row in rows]
    np.testing.assert_allclose(found, alone, atol=2e-2)


def plain_training(encoder: str, items, pad: int, narrow: bool, dropout: float = 0.0):
    """Weights after three epochs, with all tokens or with those that occur."""
    torch.manual_seed(0)
    _, model = load_classifier(encoder, 2, dropout)
    model.config.hidden_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = FINETUNE.model_copy(update={"weight_decay": 0.5, "learning_rate": 1e-2})
    arguments = training_arguments(settings, 0)
    never = KeepBest(99, lambda model: 0.0)
    if narrow:
        with only_used_tokens(model, [item["input_ids"] for item in items], pad) as renumbered:
            assert model.get_input_embeddings().num_embeddings < model.config.vocab_size
            new_items = [item | {"input_ids": renumbered(item["input_ids"])} for item in items]
            new_trainer(model, arguments, new_items, pad, never).train()
    else:
        new_trainer(model, arguments, items, pad, never).train()
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def items(encoder):
    tokenizer, _ = load_classifier(encoder, 2)
    rows = tokenised(tokenizer, encoder, GOOD[:3] + BAD[:3], 32)
    return [{"input_ids": row, "labels": n // 3} for n, row in enumerate(rows)], tokenizer.pad_token_id


def test_training_makes_no_temporary_folder_that_a_kill_would_leave_behind(tiny_bert, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary folder")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    fit_predict(FINETUNE.model_copy(update={"encoder": tiny_bert, "epochs": 1}), TRAIN, NO_TEXTS, TEST, 2, seed=0)
    assert list((cache_folder() / "trainer").iterdir()) == []


def test_tokens_that_do_not_occur_end_as_if_they_had_been_trained(encoder, items, monkeypatch):
    monkeypatch.setattr(accelerations, "bfloat16", lambda: False)
    whole = plain_training(encoder, *items, narrow=False)
    narrow = plain_training(encoder, *items, narrow=True)
    _, before = load_classifier(encoder, 2)
    (name,) = [name for name in whole if name.endswith("word_embeddings.weight")]
    occurring = {token for item in items[0] for token in item["input_ids"]}
    absent = sorted(set(range(items[1] + 1, len(whole[name]))) - occurring)
    assert absent
    start = before.state_dict()[name]
    assert (whole[name][absent] - start[absent]).abs().max() > 1e-4, "weight decay moved them"
    for key, value in whole.items():
        torch.testing.assert_close(narrow[key], value, atol=1e-5, rtol=1e-4)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(encoder, items, monkeypatch):
    monkeypatch.setattr(accelerations, "bfloat16", lambda: False)
    whole = plain_training(encoder, *items, narrow=False)
    monkeypatch.setattr(accelerations, "AT_ONCE_ON_CPU", 20)
    parts = plain_training(encoder, *items, narrow=False)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, atol=1e-4, rtol=1e-3)


def test_an_error_in_training_leaves_the_model_whole(tiny_bert):
    _, model = load_classifier(tiny_bert, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), only_used_tokens(model, [[7, 8]], 0):
        raise ZeroDivisionError
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(after[name].equal(value) for name, value in before.items())


def test_texts_are_cut_and_not_padded_and_each_is_tokenised_once(tiny_bert, monkeypatch):
    tokenizer, _ = load_classifier(tiny_bert, 2)
    texts = ["a film", "a " * 100, "a film", "a hated film"]
    rows = tokenised(tokenizer, tiny_bert, texts, 16)
    assert [len(row) for row in rows] == [4, 16, 4, 5]
    assert rows == [tokenizer(text, truncation=True, max_length=16)["input_ids"] for text in texts]

    def no_tokenizer(*given, **named):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(type(tokenizer), "__call__", no_tokenizer)
    assert tokenised(tokenizer, tiny_bert, texts, 16) == rows
    with pytest.raises(AssertionError, match="tokenised again"):
        tokenised(tokenizer, tiny_bert, texts, 8)


def test_a_row_is_padded_to_the_longest_and_masked():
    found = padded([[5, 6, 7], [8]], 1)
    assert found["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("lengths", [[], [9], [300, 300, 20, 20, 20, 1], [5] * 50])
def test_batches_hold_every_text_once_and_no_more_tokens_than_asked(lengths):
    found = list(batches(lengths, 100))
    assert [place for batch in found for place in batch] == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= 100


def test_attention_on_a_gpu_never_asks_what_is_padded_and_computes_the_same(encoder, monkeypatch):
    rows = [[2, 7, 8, 9, 3], [2, 7, 3]]
    torch.manual_seed(0)
    _, plain = load_classifier(encoder, 2)
    monkeypatch.setattr(accelerations, "on_gpu", lambda: True)
    torch.manual_seed(0)
    _, model = load_classifier(encoder, 2)
    monkeypatch.undo()
    assert model.config._attn_implementation == "sdpa_masked"
    lots = (rows, rows[:1])
    expected = [predict(plain, some, 1) for some in lots]
    asked = []
    monkeypatch.setattr(masking_utils, "_ignore_bidirectional_mask_sdpa", lambda *given: asked.append(1))
    for some, logits in zip(lots, expected, strict=True):
        np.testing.assert_allclose(predict(model, some, 1), logits, atol=2e-2)
    assert not asked
    np.testing.assert_allclose(predict(model, rows, 1)[1:], predict(model, rows[1:], 1), atol=2e-2)


def test_attention_dropout_is_as_asked(tiny_bert):
    dropouts = {rate: load_classifier(tiny_bert, 2, rate)[1].config.attention_probs_dropout_prob for rate in (0.0, 0.3)}
    assert dropouts == {0.0: 0.0, 0.3: 0.3}
    assert load_classifier(tiny_bert, 2)[1].config.attention_probs_dropout_prob == 0.1


def test_an_encoder_that_cannot_be_had_is_named():
    with pytest.raises(SynthgapError, match="encoder 'no/such-encoder' cannot be loaded"):
        load_classifier("no/such-encoder", 2)
