"""Conversations with a recording, what is rejected and why, and corpora as files."""

import hashlib
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from synthgap import tables
from synthgap.core.config import GenerationSettings, Profile
from synthgap.core.errors import SynthgapError
from synthgap.data.duplicates import close_pairs, closest, normalised
from synthgap.data.real import checked, load_real
from synthgap.generation import filtering
from synthgap.generation.conversations import Turn, begin_conversation, next_request, run_conversation
from synthgap.generation.corpora import (
    CorpusTexts,
    corpora_of_task,
    from_answers,
    from_file,
    from_recording,
    ledger_file,
    load_corpus,
    provenance,
    save_corpora,
)
from synthgap.generation.display import hidden_corpora, samples
from synthgap.generation.filtering import (
    COMPARED,
    LONGEST_TEXT,
    RARE_REASONS,
    REASONS,
    filter_answers,
    label_words,
    rejects_by_reason,
    rejects_table,
)
from synthgap.generation.llms import compare_llms, compare_rejects, text_lengths
from synthgap.llm.backends import connect
from synthgap.llm.base import Answer, Conversation, Message
from synthgap.llm.recorded import RecordedLLM, export_recording, import_recording
from synthgap.llm.response_log import Request, ResponseLog
from synthgap.tasks import load_profile, load_task

DEMO = load_profile("demo")
SMS = load_task("sms_spam")
LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).map(str.strip).filter(bool)


def answered(text: str, label: str = "spam", turn: int = 0, finish: str = "stop", examples=None) -> Turn:
    before = (Message("user", "u"), Message("assistant", "a")) * turn
    messages = (Message("system", "s"), *before, Message("user", "u"))
    asked = Conversation("sms_spam", "few_shot", label, messages)
    return Turn(asked, Answer(text, finish, None, "test"), examples or {})


def claude():
    return connect(DEMO.llms["claude"])


def filtered(*turns: Turn, near_duplicate: float = 90, **settings):
    return filter_answers(SMS, "few_shot", turns, near_duplicate, **settings)


# ------------------------------------------------------------------------------------------------- filtering


def test_each_reason_for_rejecting_a_text():
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


def test_each_rarer_reason_and_that_it_is_listed_where_it_occurs():
    long = "free phone " * LONGEST_TEXT
    turns = [
        answered(f"<think>\n1. a plan\n2. a second step\n</think>\n1. {long}\n2. Bring the keys\n3. Call now (spam)"),
        answered("1. I'm sorry, but I can't help with that.\n2. Sorry, I can't come tonight.\nNo", turn=1),
        answered("I cannot create content like this, but here is a text:\n1. Win a car today", turn=2),
    ]
    texts, ledger = filtered(*turns, reject_label_words=True)
    assert texts["text"].tolist() == ["Bring the keys", "Sorry, I can't come tonight.", "Win a car today"]
    found = list(zip(ledger["reason"], ledger["position"], ledger["text"].str[:20], strict=True))
    assert found == [
        ("reasoning", -1, "1. a plan\n2. a secon"),
        ("too_long", 0, long[:20]),
        ("label_word", 2, "Call now (spam)"),
        ("not_numbered", -1, "No"),
        ("refused", 0, "I'm sorry, but I can"),
        ("refused", -1, "I cannot create cont"),
    ]
    assert ledger["text"].str.len().max() == LONGEST_TEXT
    assert set(RARE_REASONS) <= set(ledger["reason"])
    kept, _ = filtered(*turns)
    assert kept["text"].tolist() == [*texts["text"][:1], "Call now (spam)", *texts["text"][1:]]
    table = rejects_table([{"task": "sms_spam", "corpus": "a", "rejected": ledger["reason"].value_counts().to_dict()}])
    assert table["reason"].tolist()[: len(REASONS)] == list(REASONS)
    assert set(table["reason"][len(REASONS) :]) == set(RARE_REASONS)


def test_reasoning_is_no_text_that_was_received_and_label_words_are_counted():
    answers = {
        "ham": "<think>\nlet me see\n</think>\n1. Bring the keys\n2. Call me (ham)",
        "spam": "1. Win a car\nlabel: spam",
    }
    turns = [answered(answer, label) for label, answer in answers.items()]
    data, settings = load_real(SMS, DEMO), GenerationSettings()
    made = from_answers(data, "few_shot", "few_shot", claude(), settings, turns)
    about = made.provenance
    assert (about["accepted"], about["received"]) == (3, 4)
    assert about["rejected"] == {"reasoning": 1, "not_numbered": 1}
    assert about["label_words"] == 1
    compared = compare_llms({("sms_spam", "few_shot"): made}, pd.DataFrame(columns=["task", "corpus"]))
    assert compared["yield"].tolist() == [3 / 4]
    strict = GenerationSettings(reject_label_words=True)
    about = from_answers(data, "few_shot", "few_shot", claude(), strict, turns).provenance
    assert (about["accepted"], about["received"], about["label_words"]) == (2, 4, 0)
    assert about["rejected"] == {"reasoning": 1, "not_numbered": 1, "label_word": 1}


@pytest.mark.parametrize(
    ("task", "text", "named"),
    [
        ("sms_spam", "Win a car today (spam)", True),
        ("sms_spam", "Win a car today [SPAM].", True),
        ("sms_spam", "Win a car today - spam", True),
        ("sms_spam", "[ham] Bring the keys", True),
        ("sms_spam", "Spam: win a car today", True),
        ("sms_spam", "Win a car today. Label: spam", True),
        ("sms_spam", "Stop sending me spam, it fills (spam) my phone", False),
        ("sms_spam", "We have ham and eggs", False),
        ("tweet_irony", "Lovely, rain again #irony", True),
        ("tweet_irony", "Lovely, rain again #Ironic #weather", True),
        ("tweet_irony", "Rain again #not_ironic", True),
        ("tweet_irony", "Rain again (non-irony)", True),
        ("tweet_irony", "The irony of it all #ironing", False),
        ("ag_news", "Sci/Tech: a new chip", True),
        ("ag_news", "World leaders meet in Geneva", False),
        ("imdb", "A film with a positive message", False),
        ("imdb", "A fine film. Sentiment: positive", True),
        ("imdb", "A fine film. **Sentiment:** Positive", True),
    ],
)
def test_a_label_that_a_text_names_as_a_tag(task, text, named):
    assert bool(label_words(load_task(task)).search(text)) is named


def test_of_long_texts_the_beginning_is_compared():
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrst" for second in "vwxyzabcdefg"] * 12
    begins, goes_on, ends = " ".join(words), " ".join(reversed(words)), " ".join(sorted(words))
    assert len(begins) > COMPARED
    texts, ledger = filtered(answered(f"1. {begins} {goes_on}\n2. {begins} {ends}\n3. {goes_on} {begins}"))
    assert (len(texts), ledger["matches"].tolist()) == (2, texts["id"].head(1).tolist())


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        ("1. a word " + "free phone " * 5_000_000, {"too_long"}),
        ("1. a\n" * 10_000_000, {"more_than_asked", "exact_duplicate", "too_long"}),
    ],
    ids=["one text", "many texts"],
)
def test_an_answer_of_50_mb_is_rejected_before_its_texts_are_compared(monkeypatch, answer, reasons):
    compared = []

    def counted(texts, cutoff):
        compared.append(texts)
        return close_pairs(texts, cutoff)

    monkeypatch.setattr(filtering, "close_pairs", counted)
    _, ledger = filtered(answered(answer))
    assert set(ledger["reason"]) == reasons
    assert [len(one) <= SMS.texts_per_turn for one in compared] == [True]
    assert ledger["text"].str.len().max() <= LONGEST_TEXT


def test_odd_signs_of_an_answer_go_into_a_file_and_come_back(tmp_path):
    """Signs that some programs take for the end of a line, and controls: exported, imported, replayed."""
    answer = "1. one\u2028text\n2. two\x85te\x0bxts\x1c 😀\n3. nul \x00 \x1b[0m\r\n4. '\"\\,{"
    folder = tmp_path / "exported"
    turn = next_request(begin_conversation(SMS, "zero_shot", "spam"), load_real(SMS, DEMO), claude())
    request = Request(turn.conversation, 10, (), "http://localhost/v1", "a model", {})
    with ResponseLog(tmp_path / "one.sqlite") as one, ResponseLog(tmp_path / "other.sqlite") as other:
        one.store(request, Answer(answer, "stop", None, "a model"))
        export_recording(one, folder)
        assert import_recording(other, [folder]) == (1, 0)
        assert other.get(request.key) == one.get(request.key)
    replayed = RecordedLLM(folder).answer(turn.conversation)
    assert replayed.text == answer
    texts, _ = filtered(replace(turn, answer=replayed))
    assert texts["text"].tolist() == ["one text", "two te xts 😀", "nul \x00 \x1b[0m", "'\"\\,{"]
    tables.write_csv(tmp_path / "texts.csv", texts)
    assert tables.read_csv(tmp_path, "texts")["text"].tolist()[:2] == texts["text"].tolist()[:2]


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
    data = load_real(SMS, DEMO)
    turns = run_conversation(data, "few_shot", "spam", claude(), 30)
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
    llm = claude()
    start = begin_conversation(SMS, "few_shot", "spam")
    named = llm.example_ids(start)
    rows = [{"id": key, "text": f"named {key}", "label": "spam", "split": "train"} for key in named]
    rows += [
        {"id": f"{s}-{w}", "text": f"{s} {w}", "label": w, "split": s}
        for s in ("train", "validation", "test")
        for w in ("ham", "spam")
    ]
    turn = next_request(start, checked(SMS, pd.DataFrame(rows), "x"), llm)
    assert tuple(turn.examples) == named
    assert not turn.drawn


def test_generation_is_the_same_every_time_and_says_where_it_comes_from():
    data = load_real(SMS, DEMO)
    settings = GenerationSettings(texts_per_label=40)
    one, two = (from_recording(data, "few_shot", "few_shot", claude(), settings) for _ in range(2))
    assert one.texts.equals(two.texts)
    assert one.provenance == two.provenance
    about = one.provenance
    assert about["asked"] == 80
    assert about["received"] == about["accepted"] + sum(about["rejected"].values())
    assert about["examples"] == "drawn here"
    assert about["real_data"] == data.fingerprint
    assert "Claude" in about["written_by"]
    assert one.texts.columns.tolist() == ["id", "text", "label", "recording", "turn", "position"]


def made(corpus="zero_shot", texts_per_label=20) -> CorpusTexts:
    setting = DEMO.corpora[corpus].setting
    settings = GenerationSettings(texts_per_label=texts_per_label)
    return from_recording(load_real(SMS, DEMO), corpus, setting, claude(), settings)


def save(folder, profile, *corpora: CorpusTexts):
    by_place = {(one.provenance["task"], one.provenance["corpus"]): one for one in corpora}
    real = {task: load_real(load_task(task), profile) for task, _ in by_place}
    return save_corpora(folder, profile, by_place, real)


def test_texts_travel_with_their_provenance(tmp_path):
    saved = made()
    save(tmp_path, DEMO, saved)
    assert load_corpus(tmp_path, DEMO, "zero_shot", "sms_spam").equals(saved.texts)
    assert provenance(tmp_path, "zero_shot", "sms_spam") == saved.provenance
    assert pd.read_parquet(tmp_path / "zero_shot.parquet").columns.tolist() == [
        *("task", "id", "text", "label", "recording", "turn", "position")
    ]
    for read in (
        lambda: load_corpus(tmp_path, DEMO, "few_shot", "sms_spam"),
        lambda: provenance(tmp_path, "few_shot", "sms_spam"),
    ):
        with pytest.raises(SynthgapError, match="run the stage 01_generation first"):
            read()
    with pytest.raises(SynthgapError, match="no texts of task 'humor' yet"):
        load_corpus(tmp_path, DEMO, "zero_shot", "humor")


def test_a_copied_real_text_is_not_written(tmp_path):
    example = "a text of the real data set that is long enough"
    other = load_real(SMS, DEMO).split("test")["text"].iloc[0]
    long = "quite another text that nobody else has ever written down"
    answer = f"- {example}\nnothing real\n1. {example}!\n2. {long}\n3. {long}\n4. {other}\n5. {other}"
    turns = [
        answered(answer, examples={"real-1": example}),
        answered(f"1. so it is {example[:30]}", turn=1, finish="length"),
    ]
    texts, ledger = filtered(*turns)
    saved = made()
    spoiled = CorpusTexts(texts, ledger, turns, {**saved.provenance, "corpus": "few_shot"})
    _, path = save(tmp_path, DEMO, spoiled)
    kept = pd.read_parquet(path)
    assert list(zip(kept["reason"], kept["text"], strict=True)) == [
        ("not_numbered", ""),
        ("not_numbered", "nothing real"),
        ("copy_of_example", ""),
        ("exact_duplicate", long),
        ("exact_duplicate", ""),
        ("truncated", ""),
    ]
    assert kept["matches"].iloc[2] == "real-1"
    assert example not in str(path.read_bytes())


def test_the_table_of_rejects_counts_by_task_corpus_and_reason():
    _, ledger = filtered(answered("1. same\n2. same\n3. same\nleft"))
    counts = ledger["reason"].value_counts().to_dict()
    abouts = [
        {"task": "sms_spam", "corpus": "few_shot", "rejected": counts},
        {"task": "sms_spam", "corpus": "zero_shot", "rejected": {}},
    ]
    table = rejects_table(abouts)
    assert table.columns.tolist() == ["task", "corpus", "reason", "texts"]
    assert len(table) == 2 * len(REASONS)
    found = table[table["texts"] > 0].to_dict("records")
    assert found == [
        {"task": "sms_spam", "corpus": "few_shot", "reason": "not_numbered", "texts": 1},
        {"task": "sms_spam", "corpus": "few_shot", "reason": "exact_duplicate", "texts": 2},
    ]
    wide = rejects_by_reason(table)
    assert wide.columns.tolist() == ["task", "corpus", *REASONS]
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


# ---------------------------------------------------------------------------------------------------- imported corpora

WRITTEN = [
    *[
        {"text": f"a message of kind {label}, number {n}", "label": label}
        for label in ("ham", "spam")
        for n in range(3)
    ],
    {"text": "A message of kind ham: number 1!", "label": "ham"},
    {"text": "   ", "label": "spam"},
    {"text": "a message of some other kind", "label": "other"},
]


def with_file(folder, name="texts.csv", **changes) -> Profile:
    """The profile demo with a corpus from a file beside the recorded ones."""
    corpora = {**DEMO.model_dump()["corpora"], "theirs": {"file": str(folder / name), **changes}}
    return DEMO.changed({"corpora": corpora, "tasks": ["sms_spam"], "comparisons": {}})


def write(path, frame: pd.DataFrame):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)


def imported(profile: Profile) -> CorpusTexts:
    return from_file(profile.corpora["theirs"], "theirs", SMS, "somebody")


@pytest.mark.parametrize("name", ["texts.csv", "texts.jsonl", "texts.parquet"])
def test_a_file_is_a_corpus_and_what_is_dropped_is_counted(tmp_path, name):
    write(tmp_path / name, pd.DataFrame(WRITTEN).sample(frac=1, random_state=1))
    theirs = imported(with_file(tmp_path, name))
    assert theirs.texts["id"].tolist() == [f"sms_spam-theirs-{n}" for n in range(6)]
    assert theirs.texts["label"].tolist() == ["ham"] * 3 + ["spam"] * 3
    about = theirs.provenance
    assert about["rejected"] == {"other_label": 1, "empty": 1, "exact_duplicate": 1}
    assert (about["received"], about["accepted"], about["written_by"]) == (9, 6, "somebody")
    shuffled = pd.DataFrame(WRITTEN).sample(frac=1, random_state=2)
    write(tmp_path / name, shuffled)
    assert imported(with_file(tmp_path, name)).texts.equals(theirs.texts)


def test_a_file_is_found_by_task_and_its_rows_are_chosen(tmp_path, monkeypatch):
    frame = pd.DataFrame(WRITTEN[:6]).rename(columns={"text": "message", "label": "class"})
    models = pd.concat(
        [frame.assign(llm=llm, run=run, message=frame["message"] + llm) for llm in "ab" for run in (1, 2)]
    )
    elsewhere = models.assign(task="humor", message="of another task")
    write(tmp_path / "sms_spam" / "all.parquet", pd.concat([models.assign(task="sms_spam"), elsewhere]))
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    columns = {"text_column": "message", "label_column": "class"}
    settings = {"file": "{task}/all.parquet", **columns, "rows": {"llm": ["a", "c"], "run": 1}}
    corpora = {"theirs": settings}
    texts = imported(
        DEMO.changed({"corpora": corpora, "comparisons": {}, "training.augmentation": None, "training.decision": None})
    ).texts
    assert texts["text"].tolist() == [f"{row['text']}a" for row in WRITTEN[:6]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_column": "txt"}, "has no column 'txt'; it has text, label: name its columns in text_column"),
        ({"rows": {"llm": "a"}}, "has no column 'llm'"),
        ({"rows": {"label": "neither"}}, "no row whose 'label' is 'neither'; it has 'ham', 'other', 'spam'"),
        ({"rows": {"label": "ham"}}, "no text of the label 'spam' of task 'sms_spam'; its column 'label' has 'ham'"),
        (
            {"label_column": "text"},
            "no text of the label 'ham', 'spam' of task 'sms_spam'; its column 'text' has no short values",
        ),
        ({"file": "nowhere.csv"}, "the corpus file 'nowhere.csv' is neither in the data folder"),
        ({"file": "lib/synthgap/__init__.py"}, r"must be one of \.parquet, \.csv, \.jsonl"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_way_out(tmp_path, changes, message):
    rows = [{**row, "text": row["text"] + " and some more words of it"} for row in WRITTEN if row["text"].strip()]
    write(tmp_path / "texts.csv", pd.DataFrame(rows))
    with pytest.raises(SynthgapError, match=message):
        imported(with_file(tmp_path, **changes))


def test_imported_texts_are_read_again_and_never_copied(tmp_path):
    write(tmp_path / "texts.csv", pd.DataFrame(WRITTEN))
    profile = with_file(tmp_path)
    theirs, outputs = imported(profile), tmp_path / "outputs"
    save(outputs, profile, theirs, made("zero_shot"), made("few_shot"))
    assert corpora_of_task(profile, "sms_spam") == ["zero_shot", "few_shot", "theirs"]
    for corpus in corpora_of_task(profile, "sms_spam"):
        assert len(load_corpus(outputs, profile, corpus, "sms_spam"))
    assert load_corpus(outputs, profile, "theirs", "sms_spam").equals(theirs.texts)
    kept = pd.read_parquet(outputs / "theirs.parquet")
    assert kept.columns.tolist() == ["id", "task", "label", "sha256"]
    assert hashlib.sha256(theirs.texts["text"][0].encode()).hexdigest().startswith(kept["sha256"][0])
    assert len(kept["sha256"][0]) == 16
    assert set(pd.read_parquet(ledger_file(outputs))["corpus"]) <= {"zero_shot", "few_shot"}
    by_place = {("sms_spam", one.provenance["corpus"]): one for one in (theirs, made("zero_shot"))}
    compared = compare_llms(by_place, pd.DataFrame(columns=["task", "corpus"]))
    rejected, lengths = rejects_table([theirs.provenance]), text_lengths({"sms_spam": load_real(SMS, DEMO)}, by_place)
    for number, table in enumerate((compared, compare_rejects(by_place), rejected, lengths)):
        tables.write_csv(outputs / f"{number}.csv", table)
        shown = tables.to_markdown(tables.rounded(table), "caption", [])
        tables.write_shown(outputs, str(number), {"table": (shown, shown)})
    html = samples(SMS, {"theirs": theirs.texts}, {"theirs": "Theirs"}, hidden_corpora(profile)).data
    for path in outputs.rglob("*"):
        content = path.read_bytes().decode("utf-8", "replace") + html
        if path.suffix == ".parquet":
            content += "\n".join(pd.read_parquet(path).astype(str).to_numpy().ravel())
        assert not [row["text"] for row in WRITTEN if row["text"].strip() and row["text"] in content], path.name
    write(tmp_path / "texts.csv", pd.DataFrame([*WRITTEN[:5], {"text": "a new one", "label": "spam"}]))
    with pytest.raises(SynthgapError, match="has other texts of task 'sms_spam' than when 01_generation read it"):
        load_corpus(outputs, profile, "theirs", "sms_spam")


def test_a_table_of_rejects_has_what_was_left_out_of_a_file(tmp_path):
    write(tmp_path / "texts.csv", pd.DataFrame(WRITTEN))
    table = rejects_table([made().provenance, imported(with_file(tmp_path)).provenance])
    wide = rejects_by_reason(table).set_index("corpus")
    assert wide.loc["theirs", ["other_label", "empty", "exact_duplicate", "refused"]].tolist() == [1, 1, 1, 0]
    assert wide.loc["zero_shot", "other_label"] == 0
    assert rejects_by_reason(rejects_table([])).columns.tolist() == ["task", "corpus"]
