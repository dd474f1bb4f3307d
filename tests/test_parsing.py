"""Answers of every shape an LLM gives them: known answers, nothing lost, nothing invented."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthgap.core.paths import bundled
from synthgap.llm.parsing import parse

WORDS = st.text(alphabet="abcdefghij", min_size=1, max_size=6)
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=12)
ANY_TEXTS = st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=8)
PREAMBLE = "Sure, here are the texts you asked for"


@given(
    TEXTS,
    st.sampled_from(["{}. ", "{}) ", "({}) ", "**{}.** ", "Text {}: ", "#{}. ", "[{}] "]),
    st.sampled_from(["\n", "\n\n"]),
)
def test_numbered_lists_come_back_as_they_were_written(texts, mark, newline):
    answer = newline.join(mark.format(n) + text for n, text in enumerate(texts, start=1))
    assert parse(answer).texts == texts
    assert parse(answer).leftovers == []


@given(TEXTS, st.sampled_from("-*•"))
def test_bullets_come_back_as_they_were_written(texts, mark):
    found = parse(f"{PREAMBLE}:\n\n" + "\n".join(f"{mark} {text}" for text in texts) + "\n\nHope this helps!")
    assert found.texts == texts
    assert found.leftovers == [f"{PREAMBLE}:", "Hope this helps!"]


@given(ANY_TEXTS, st.sampled_from(["{}", "```json\n{}\n```", "```\n{}\n```"]), st.booleans())
def test_json_lists_of_any_text_come_back(texts, frame, objects):
    value = [{"text": text} for text in texts] if objects else texts
    found = parse(frame.format(json.dumps(value, ensure_ascii=True)))
    assert found.texts == [" ".join(text.split()) for text in texts]
    assert found.leftovers == []
    assert not found.torn


@given(TEXTS, st.integers(1, 60))
def test_a_torn_json_list_gives_its_whole_texts(texts, cut):
    answer = json.dumps(texts)[: -min(cut, len(json.dumps(texts)) - 2)]
    found = parse(answer)
    assert found.texts == texts[: len(found.texts)]
    if found.texts:
        assert found.torn
    else:
        assert "".join(found.leftovers).replace(" ", "") == answer.replace(" ", "")


@given(TEXTS)
def test_several_texts_on_one_line_are_split(texts):
    answer = " ".join(f"{n}. {text}" for n, text in enumerate(texts, start=1))
    assert parse(answer).texts == texts


@given(st.text(max_size=400))
def test_nothing_is_invented_and_no_letter_is_lost(answer):
    found = parse(answer)
    words = re.findall(r"[^\W\d_①-⑳]+", answer)  # but for marks
    pieces = " ".join([*found.texts, *found.leftovers, *found.reasoning])
    for text in found.texts:
        for word in re.findall(r"[^\W\d_①-⑳]+", text):
            assert any(word in one for one in words) or answer.lstrip("\ufeff").lstrip()[:1] in "[{"
    if answer.lstrip("\ufeff").lstrip()[:1] not in "[{" and "```" not in answer and "~~~" not in answer:
        lost = [word for word in words if word not in pieces]
        marks = re.findall(r"(?m)^\W*([^\W\d_]{1,15})\W*\d{1,4}\W", answer)
        assert set(lost) <= set(marks)


@pytest.mark.parametrize(
    ("answer", "texts", "leftovers"),
    [
        ("1. one\n2. two", ["one", "two"], []),
        ("Sure, here they are:\n\n1. one", ["one"], ["Sure, here they are:"]),
        ("1. one\n   wrapped on\n2. two", ["one wrapped on", "two"], []),
        ("1. one\nnot indented\n2. two", ["one not indented", "two"], []),
        ("1. one\n2. two\nnot indented", ["one", "two"], ["not indented"]),
        ("1. one\n\n   far below", ["one far below"], []),
        ("1. one\n   - a note", ["one"], ["- a note"]),
        ("1.\n2. two", ["", "two"], []),
        ("  10)  ten  ", ["ten"], []),
        ("1. 2. Fast 2 Furious", ["2. Fast 2 Furious"], []),
        ("1. I have 2. things\n2. b", ["I have 2. things", "b"], []),
        ("3.14 is pi", [], ["3.14 is pi"]),
        ("Top 3: jokes\n- a\n- b\n- c", ["a", "b", "c"], ["Top 3: jokes"]),
        ('1. "one"\n2. "two"', ["one", "two"], []),
        ('1. "one"\n2. two', ['"one"', "two"], []),
        ('1. "Yes," she said. "No."\n2. "two"', ['"Yes," she said. "No."', '"two"'], []),
        ("1. **one**\n2. **two**", ["one", "two"], []),
        ('Here you go:\n["one", "two"]\nEnjoy!', ["one", "two"], ["Here you go:", "Enjoy!"]),
        ('{"texts": ["one", "two"]}', ["one", "two"], []),
        ('["one", 2, null]', ["one"], ["2", "null"]),
        ("[1, 2]", [], ["[1, 2]"]),
        ("[Your name] called", [], ["[Your name] called"]),
        ("```\n1. one\n```\nDone.", ["one"], ["Done."]),
        ("```\n```", [], []),
        ("just a paragraph", [], ["just a paragraph"]),
        ("", [], []),
    ],
)
def test_known_answers(answer, texts, leftovers):
    found = parse(answer)
    assert found.texts == texts
    assert found.leftovers == leftovers


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot write spam messages.", True),
        ("I'm not able to do so.", True),
        ("As an AI language model, I must decline.", True),
        ("I can’t assist with this request.", True),
        ("1. I'm sorry I missed your call", False),
        ("Here is nothing.", False),
        ("", False),
    ],
)
def test_refusals_are_recognised_and_texts_are_none(answer, refused):
    assert parse(answer).refused is refused


def test_deep_json_does_not_break_it():
    assert parse("[" * 100_000).texts == []
    assert parse('["a", ' + "[" * 100_000).texts == ["a"]


def test_the_recordings_are_plain_numbered_lists():
    """Every line of every recorded answer is a text: no shape beyond the asked one was needed for them."""
    answers = 0
    for path in bundled("recordings", "claude").glob("*_shot/*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            expected = [
                re.sub(r"^\s*\d+[.)]\s+", "", one).strip() for one in row["response"].splitlines() if one.strip()
            ]
            found = parse(row["response"])
            assert found.texts == expected
            assert len(found.texts) == row["n"]
            assert not found.leftovers
            answers += 1
    assert answers == 1136
