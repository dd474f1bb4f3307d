import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from synthgap.config import GenerationSettings, LLMSettings, load_profile
from synthgap.data import checked, load_real
from synthgap.errors import SynthgapError
from synthgap.generation import (
    REASONS,
    Turn,
    close_pairs,
    closest,
    converse,
    filter_answers,
    generate,
    load_synthetic,
    normalised,
    provenance,
    rejects_by_reason,
    rejects_table,
    save_generated,
)
from synthgap.llm import Answer, Conversation, Message, connect
from synthgap.tasks import load_task

SMS = load_task("sms_spam")
LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).map(str.strip).filter(bool)


def answered(text: str, label: str = "spam", turn: int = 0, finish: str = "stop", examples=None) -> Turn:
    before = (Message("user", "u"), Message("assistant", "a")) * turn
    messages = (Message("system", "s"), *before, Message("user", "u"))
    talk = Conversation("sms_spam", "few_shot", label, messages)
    return Turn(talk, Answer(text, finish, None, "test"), examples or {})


def filtered(*turns: Turn, near_duplicate: float = 90):
    return filter_answers(SMS, list(turns), near_duplicate)


# ------------------------------------------------------------------------------------------------- filtering


def test_each_reason_for_turning_a_text_down():
    shown = {"sms-7": "Win a free phone today, reply YES to claim it now"}
    turns = [
        answered(
            "Here:\n1. Call me when you are home\n2.\n3. win a free phone today reply yes to claim it now!",
            examples=shown,
        ),
        answered(
            "1. CALL ME, when you are home.\n2. Call me when you are at home\n3. Something else entir", finish="length"
        ),
        answered("\n".join(f"{n}. text {w} {w * 3}" for n, w in enumerate("abcdefghijkl", 1)), label="ham"),
        answered("I'm sorry, but I can't help with that."),
        answered('["Bring the keys", "and the', finish="length"),
    ]
    texts, ledger = filtered(*turns)
    assert sorted(ledger["reason"]) == sorted(
        [
            "not_numbered",
            "empty",
            "copy_of_example",
            "exact_duplicate",
            "near_duplicate",
            *["truncated"] * 2,
            *["more_than_asked"] * 2,
            "refused",
        ]
    )
    assert set(ledger["reason"]) == set(REASONS)
    by_reason = ledger.set_index("reason")
    assert by_reason.loc["copy_of_example", "matches"] == "sms-7"
    assert by_reason.loc["exact_duplicate", "similarity"] == 100
    assert by_reason.loc["near_duplicate", "matches"] == texts.loc[0, "id"]
    assert 90 <= by_reason.loc["near_duplicate", "similarity"] < 100
    assert len(texts) == 12


@given(
    st.lists(
        st.lists(st.sampled_from(["one text", "One text!", "", "another", "yet another one", "😊", "!!"])), max_size=5
    )
)
def test_accepted_and_ledger_are_everything_that_came(answers):
    turns = [
        answered("\n".join(f"{n}. {text}" for n, text in enumerate(answer, 1)), turn=t)
        for t, answer in enumerate(answers)
    ]
    texts, ledger = filtered(*turns)
    assert len(texts) + len(ledger) == sum(map(len, answers))
    assert texts["id"].is_unique
    assert texts["text"].map(normalised).is_unique


def test_an_example_counts_as_shown_from_its_turn_on_and_for_its_label():
    shown = {"x": "the very same words as in the example"}
    text = "1. the very same words as in the example"
    for label, turn, reason in (("spam", 0, "copy_of_example"), ("ham", 0, None)):
        texts, ledger = filtered(answered("1. a", examples=shown), answered(text, label, turn + 1))
        assert ledger["reason"].tolist() == ([reason] if reason else [])
        assert len(texts) == (1 if reason else 2)


def test_duplicates_are_found_across_labels():
    texts, ledger = filtered(answered("1. the same text", "ham"), answered("1. The same text.", "spam"))
    assert texts["label"].tolist() == ["ham"]
    assert ledger["reason"].tolist() == ["exact_duplicate"]


def test_the_closest_of_several_is_named():
    others = {"a": "a rather long text about cats", "b": "a rather long text about rats"}
    assert closest("a rather long text about rats!", others, 50) == ("b", 98.3)
    assert closest("nothing alike 12345", others, 90) is None


# -------------------------------------------------------------------------------------------- conversations


def test_the_conversation_is_the_papers():
    data = load_real(SMS, load_profile("demo"))
    llm = connect(LLMSettings())
    turns = list(converse(SMS, "few_shot", "spam", data, llm, 30))
    assert len(turns) == 3
    last = turns[-1].conversation
    assert [message.role for message in last.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert last.messages[0].content == SMS.prompts.context
    for number, turn in enumerate(turns):
        request = turn.conversation.messages[-1].content
        assert request == SMS.request("spam", number, list(turn.examples.values()))
        assert len(turn.examples) == 10
        assert turn.drawn
    assert last.messages[2].content == turns[0].answer.text
    train = data.split("train")
    assert set(turns[0].examples) <= set(train.loc[train["label"] == "spam", "id"])
    assert len({tuple(turn.examples) for turn in turns}) == 3


def test_examples_that_the_recording_names_are_taken_where_the_data_have_them():
    llm = connect(LLMSettings())
    start = Conversation("sms_spam", "few_shot", "spam", (Message("system", "s"),))
    named = llm.example_ids(start)
    rows = [{"id": key, "text": f"named {key}", "label": "spam", "split": "train"} for key in named]
    rows += [
        {"id": f"{s}-{w}", "text": f"{s} {w}", "label": w, "split": s}
        for s in ("train", "validation", "test")
        for w in ("ham", "spam")
    ]
    turn = next(converse(SMS, "few_shot", "spam", checked(SMS, pd.DataFrame(rows), "x"), llm, 10))
    assert tuple(turn.examples) == named
    assert not turn.drawn


def test_generation_is_the_same_every_time_and_says_where_it_comes_from():
    data = load_real(SMS, load_profile("demo"))
    settings = GenerationSettings(texts_per_label=40)
    one, two = (generate(SMS, "few_shot", data, connect(LLMSettings()), settings) for _ in range(2))
    assert one.texts.equals(two.texts)
    assert one.provenance == two.provenance
    about = one.provenance
    assert about["asked"] == 80
    assert about["received"] == about["accepted"] + sum(about["rejected"].values())
    assert about["examples"] == "drawn here"
    assert about["real_data"] == data.fingerprint
    assert "Claude" in about["written_by"]
    assert one.texts.columns.tolist() == ["id", "text", "label", "turn", "position"]


def test_texts_travel_with_their_provenance(tmp_path):
    data = load_real(SMS, load_profile("demo"))
    made = generate(SMS, "zero_shot", data, connect(LLMSettings()), GenerationSettings(texts_per_label=20))
    save_generated(tmp_path, made, keep_copies=True)
    assert load_synthetic(tmp_path, "sms_spam", "zero_shot").equals(made.texts)
    assert provenance(tmp_path, "sms_spam", "zero_shot") == made.provenance
    with pytest.raises(SynthgapError, match="run the stage 01_generation first"):
        load_synthetic(tmp_path, "sms_spam", "few_shot")


def test_a_copied_real_text_is_not_written_where_it_may_not_be_shown(tmp_path):
    shown = {"real-1": "a text of the real data set that is long enough"}
    texts, ledger = filtered(answered("1. a text of the real data set that is long enough", examples=shown))
    data = load_real(SMS, load_profile("demo"))
    made = generate(SMS, "zero_shot", data, connect(LLMSettings()), GenerationSettings(texts_per_label=10))
    spoiled = type(made)(texts, ledger, made.turns, made.provenance)
    for keep, expected in ((True, shown["real-1"]), (False, "")):
        _, path = save_generated(tmp_path / str(keep), spoiled, keep_copies=keep)
        saved = pd.read_parquet(path)
        assert saved["text"].tolist() == [expected]
        assert saved["matches"].tolist() == ["real-1"]


def test_the_table_of_rejects_counts_by_task_setting_and_reason():
    _, ledger = filtered(answered("1. same\n2. same\n3. same\nleft"))
    counts = ledger["reason"].value_counts().to_dict()
    abouts = [
        {"task": "sms_spam", "setting": "few_shot", "rejected": counts},
        {"task": "sms_spam", "setting": "zero_shot", "rejected": {}},
    ]
    table = rejects_table(abouts)
    assert table.columns.tolist() == ["task", "setting", "reason", "texts"]
    assert len(table) == 2 * len(REASONS)
    found = table[table["texts"] > 0].to_dict("records")
    assert found == [
        {"task": "sms_spam", "setting": "few_shot", "reason": "not_numbered", "texts": 1},
        {"task": "sms_spam", "setting": "few_shot", "reason": "exact_duplicate", "texts": 2},
    ]
    wide = rejects_by_reason(table)
    assert wide.columns.tolist() == ["task", "setting", *REASONS]
    assert wide["exact_duplicate"].tolist() == [2, 0]


WORDS = st.sampled_from(["a", "eee" * 20, "bee", "bees", "sea", "seas", "été", "12", "x!"])
TEXTS = st.lists(st.lists(WORDS, min_size=0, max_size=12).map(" ".join), max_size=60)


@given(texts=TEXTS, cutoff=st.sampled_from([50.0, 80.0, 90.0, 99.0, 100.0]))
def test_no_pair_that_is_similar_enough_is_passed_over(texts, cutoff):
    found = list(close_pairs(texts, cutoff))
    assert len(found) == len(texts)
    for place, text in enumerate(texts):
        similar = {one for one in range(place) if fuzz.ratio(text, texts[one]) >= cutoff}
        assert similar <= set(found[place])
        assert all(one < place for one in found[place])
