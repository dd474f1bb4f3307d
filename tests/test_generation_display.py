"""What 01 shows: every text is escaped, and real and imported ones are hidden unless they may be shown."""

import pandas as pd

from synthgap.generation import display
from synthgap.generation.conversations import Turn
from synthgap.llm.base import Answer, Conversation, Message
from synthgap.tasks import load_task

EVIL = "<script>alert('x')</script> | *b* _i_ $x^2$ & 50% #1 {a} \\ `c` [l](u) ~"
TITLES = {"real": "Real", "zero_shot": "Zero-shot", "few_shot": "Few-shot"}


def test_html_shows_texts_as_texts():
    task = load_task("sms_spam")
    evil = task.model_copy(update={"title": EVIL, "question": EVIL, "labels": {"ham": EVIL, "spam": "x"}})
    asked = Conversation("sms_spam", "few_shot", "ham", (Message("system", EVIL), Message("user", EVIL)))
    turn = Turn(asked, Answer(EVIL, "stop", None, EVIL), {"id-1": EVIL})
    frame = pd.DataFrame({"id": [EVIL], "text": [EVIL], "label": ["ham"]})
    for out in (
        display.task_cards([evil]),
        display.conversation(evil, turn, EVIL, show_real_texts=True),
        display.conversation(evil, turn, EVIL, show_real_texts=False),
        display.samples(evil, {"real": frame, "zero_shot": frame}, {"real": EVIL, "zero_shot": "x"}),
    ):
        assert "<script" not in out.data
        assert "&lt;script&gt;" in out.data


def test_real_texts_are_hidden_unless_allowed():
    task = load_task("sms_spam")
    hidden = "a text of the real set"
    request = task.request("ham", 0, [hidden])
    asked = Conversation("sms_spam", "few_shot", "ham", (Message("system", "s"), Message("user", request)))
    turn = Turn(asked, Answer("1. a synthetic text", "stop", None, "m"), {"real-7": hidden})
    real = pd.DataFrame({"id": ["real-7"], "text": [hidden], "label": ["ham"]})
    corpora = {"real": real, "few_shot": real.assign(id="s", text="a synthetic text")}
    for allowed in (True, False):
        samples = display.samples(task, corpora, TITLES, hidden=[] if allowed else ["real"])
        for out in (display.conversation(task, turn, "Few-shot", allowed), samples):
            assert (hidden in out.data) == allowed
            assert ("[real-7: 6 words, not shown]" in out.data) != allowed
            assert "a synthetic text" in out.data


def test_an_answer_that_repeats_its_examples_does_not_show_them():
    task, example = load_task("sms_spam"), "a text of the real set that is long enough"
    asked = Conversation("sms_spam", "few_shot", "ham", (Message("system", "s"), Message("user", "u")))
    turn = Turn(asked, Answer(f"Like these:\n- {example}\n1. a synthetic text", "stop", None, "m"), {"real-7": example})
    assert example in display.conversation(task, turn, "Few-shot", True).data
    shown = display.conversation(task, turn, "Few-shot", False).data
    assert example not in shown
    assert "a synthetic text" in shown


def test_samples_have_as_many_rows_as_the_corpora_have_texts():
    task = load_task("sms_spam")
    many = pd.DataFrame({"id": list("abcd"), "text": ["one", "two", "three", "four"], "label": ["ham"] * 3 + ["spam"]})
    out = display.samples(task, {"real": many, "zero_shot": many.head(1)}, TITLES, rows=2).data
    assert [word in out for word in ("one", "two", "three", "four")] == [True, True, False, True]
    assert "nan" not in out.lower()
    assert display.first_words("one two three", 2) == "one two …"


def test_of_an_endless_answer_the_beginning_is_shown():
    asked = Conversation("sms_spam", "zero_shot", "ham", (Message("system", "s"), Message("user", "u")))
    turn = Turn(asked, Answer("word " * 1_000_000 + "\n1. a text", "stop", None, "m"))
    shown = display.conversation(load_task("sms_spam"), turn, "Zero-shot", True).data
    assert len(shown) < 10_000
    assert "word  …<br>1. a text" in shown
