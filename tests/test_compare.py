"""`synthgap compare`: files that people bring along, from bad input to the verdict."""

import json
import re
import subprocess
from argparse import Namespace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from synthgap.core.config import OwnFiles
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.tasks import load_profile
from synthgap.training.predictions import Predictions
from synthgap.training.store import lock
from synthgap.your_task import files
from synthgap.your_task.arguments import named_files, overrides_of
from synthgap.your_task.checks import own_faults
from synthgap.your_task.comparison import ADVICE_COLUMNS, Measured, advise, needed_test_texts
from synthgap.your_task.files import column_of, corpus_names, label_key, own_profile, read_own
from synthgap.your_task.verdict import ANOTHER_GENERATION, advised, in_words, verdict, warnings

WORDS = re.findall(r"\w+", "amber birch cedar delta ember fjord grove heath inlet jetty knoll ledge marsh north ocean")


def rows(start, n, labels=("good", "bad")):
    """n texts of each label, no two alike; other starts give other texts."""
    random = np.random.default_rng(start)
    texts = [" ".join(random.choice(WORDS, 9)) for _ in range(n * len(labels))]
    return pd.DataFrame({"text": texts, "label": list(labels) * n})


def csv(start, n, labels=("good", "bad"), **options):
    return rows(start, n, labels).to_csv(index=False, **options).encode()


REAL, MADE = csv(1, 20), csv(2, 20)
FILES = {"real.csv": REAL, "made.csv": MADE}
BAD_INPUT = {
    "no file": ({}, [], "there is no file", "check its name"),
    "a folder": ({"real.csv": None}, [], "there is no file", "check its name"),
    "another format": ({"real.docx": REAL}, ["--real", "real.docx"], "must be one of .parquet, .csv, .jsonl, .tsv"),
    "no such text column": (
        {"real.csv": REAL.replace(b"text,", b"tweet,")},
        [],
        "no column 'text'",
        "tweet, label",
        "--text-column",
    ),
    "no such label column": (
        {},
        ["--label-column", "class,kind"],
        "no column 'class,kind'",
        "text, label",
        "--label-column",
    ),
    "an empty file": ({"real.csv": b""}, [], "'real.csv' cannot be read: it is empty"),
    "a header alone": ({"real.csv": b"text,label\n"}, [], "'real.csv' holds no rows"),
    "an empty JSON Lines file": ({"real.jsonl": b"\n"}, ["--real", "real.jsonl"], "'real.jsonl' holds no rows"),
    "no text in its column": ({"real.csv": b"text,label\n,good\n!,\n"}, [], "no row with both a text", "--text-column"),
    "one label": ({"real.csv": csv(1, 20, ["good"])}, [], "the one label 'good'", "two at least"),
    "texts as labels": ({}, ["--label-column", "text"], "40 different values in 40 rows", "name the column that does"),
    "labels of the one are none of the other": (
        {"made.csv": csv(2, 20, ["0", "1"])},
        [],
        "no label is in every file",
        "'real.csv' has 'good', 'bad'",
        "'0', '1'",
        "write the labels alike",
    ),
    "one label in common": ({"made.csv": csv(2, 20, ["good", "awful"])}, [], "only the label 'good' is in every file"),
    "a label with few texts": (
        {"real.csv": REAL + csv(3, 4, ["fair"], header=False), "made.csv": MADE + csv(4, 9, ["fair"], header=False)},
        [],
        "'fair' has 4 different texts in 'real.csv' (44 in all)",
        "10 are needed",
        "add some",
    ),
    "few synthetic texts": ({"made.csv": csv(2, 3)}, [], "has 3 different texts in 'made.csv'", "5 are needed"),
    "few test texts": ({"test.csv": csv(3, 2)}, ["--test", "test.csv"], "has 2 different texts in 'test.csv'"),
    "ten texts in all": ({"real.csv": csv(1, 5)}, [], "has 5 different texts in 'real.csv' (10 in all)", "add some"),
    "the same text all over": (
        {"real.csv": b"text,label\n" + b"hello,good\nHello!,bad\n" * 30},
        [],
        "0 different texts in 'real.csv' (1 in all)",
    ),
    "the same file twice": ({}, ["--synthetic", "real.csv"], "'real.csv' and 'real.csv' are the same file, or copies"),
    "a copy of a file": (
        {"copy.csv": MADE},
        ["--synthetic", "copy.csv"],
        "'made.csv' and 'copy.csv' are the same file",
    ),
    "the real texts in another order": (
        {"made.csv": rows(1, 20)[::-1].to_csv(index=False).encode()},
        [],
        "holds 40 real texts",
        "take them out",
    ),
    "the test texts": (
        {"test.csv": csv(5, 20), "made.csv": MADE + csv(5, 10, header=False)},
        ["--test", "test.csv"],
        "20 of 40 test texts",
    ),
    "a binary file": ({"real.csv": bytes(range(256)) * 9}, [], "'real.csv'", "is no text file", 'call "CSV UTF-8"'),
    "a spreadsheet": ({"real.csv": b"PK\3\4" + REAL}, [], "a spreadsheet (.xlsx)", 'call "CSV UTF-8"'),
    "cp1252": (
        {"real.csv": "text,label\ncafé crème,good\n".encode("cp1252")},
        [],
        "line 2 reads 'café crème,good' in cp1252, 'café crčme,good' in cp1250; with the one that reads right",
        "iconv -f ENCODING",
    ),
    "UTF-16 without its mark": (
        {"real.csv": REAL.decode().encode("utf-16-le")},
        [],
        "UTF-16 without its mark",
        "iconv",
    ),
    "a quote out of place": ({"real.csv": REAL + b'a "b" "c,good\n"d\n'}, [], "a quote out of place"),
    "a test without real texts": ({}, ["--test", "real.csv", "--real", ""], "it is empty"),
    "a margin below 0": ({}, ["--margin", "-1"], "--margin -1", "points between 0 and 100"),
    "a margin that is no number": ({}, ["--margin", "nan"], "--margin nan", "points between 0 and 100"),
    "a name without a file": ({}, ["--synthetic", "gpt="], "--synthetic gpt= names no file", "write NAME=FILE"),
    "a profile's name": ({}, ["--name", "recorded"], "--name recorded is a profile's", "choose another"),
}


@pytest.fixture
def compare(command, tmp_path, monkeypatch):
    """`synthgap compare` in a folder with these files."""

    def run(named, *arguments):
        for name, content in named.items():
            (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
        monkeypatch.chdir(tmp_path)
        return command("compare", *arguments, "--output", str(tmp_path / "outputs"))

    return run


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_sentence_that_says_what_to_do(compare, case, tmp_path):
    named, arguments, *sentences = BAD_INPUT[case]
    given = {**FILES, **named} if case != "no file" else {}
    done = compare(given, "--real", "real.csv", "--synthetic", "made.csv", *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    for sentence in sentences:
        assert sentence in done.stderr
    assert not list(tmp_path.rglob("*.html"))


def test_two_at_once_do_not_write_into_one_folder(compare, tmp_path):
    with lock(tmp_path / "outputs" / "your_task", "compare"):
        done = compare(FILES, "--real", "real.csv", "--synthetic", "made.csv")
    assert done.returncode == 2
    assert "another compare writes into outputs/your_task; wait for its end, or choose another --name" in done.stderr


def own(tmp_path, real=REAL, made=MADE, **settings):
    for name, content in {"real.csv": real, "made.csv": made}.items():
        (tmp_path / name).write_bytes(content)
    return OwnFiles(real=str(tmp_path / "real.csv"), synthetic={"made": (str(tmp_path / "made.csv"),)}, **settings)


@pytest.mark.parametrize(
    "name", ["semicolons.csv", "tabs.tsv", "upper.CSV", "lines.jsonl", "table.parquet", "utf16.csv"]
)
def test_formats_and_separators_are_recognised(tmp_path, name):
    table, path = rows(1, 20), tmp_path / name
    if name == "table.parquet":
        table.to_parquet(path)
    elif name == "lines.jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        sign = {"semicolons.csv": ";", "tabs.tsv": "\t"}.get(name, ",")
        table.to_csv(path, index=False, sep=sign, encoding="utf-16" if "16" in name else "utf-8")
    texts = read_own(own(tmp_path).model_copy(update={"real": str(path)}))
    assert sorted(texts.real.frame["text"]) == sorted(table["text"])


def test_a_sign_that_gives_a_label_away_is_named_with_the_file_it_is_in(tmp_path):
    marked = rows(2, 40)
    marked.loc[marked["label"] == "good", "text"] += " zzz"
    texts = read_own(own(tmp_path, csv(1, 40), marked.to_csv(index=False).encode()))
    assert [said for said in own_faults(texts) if said.startswith("made: 'zzz' gives the label 'good' away")]
    assert not [said for said in own_faults(read_own(own(tmp_path, csv(1, 40), csv(2, 40)))) if "away" in said]


def test_labels_match_but_for_spaces_and_case_and_the_others_are_listed(tmp_path):
    made = pd.concat([rows(2, 20, [" GOOD ", "Bad"]), rows(3, 3, ["aweful", "1.0"])]).to_csv(index=False).encode()
    texts = read_own(own(tmp_path, made=made))
    assert list(texts.task.labels) == ["bad", "good"]
    left_out = texts.notes[texts.notes["what"].str.contains("left out: label")]
    assert {what.split("'")[1]: n for what, n in zip(left_out["what"], left_out["texts"], strict=True)} == {
        "aweful": 3,
        "1.0": 3,
    }
    assert sum("'aweful' is not in every file" in said for said in warnings(texts)) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("Spam", " spam "), ("1", "1.0"), ("not  so", "NOT SO"), ("caf\u00e9", "cafe\u0301")]
)
def test_labels_that_are_the_same(one, other):
    assert label_key(one) == label_key(other) != label_key("other")


@pytest.mark.parametrize(
    ("columns", "wanted", "found"),
    [
        (["Label", "label"], "label", "label"),
        (["label", "Label"], "Label", "Label"),
        (["LABEL"], "label", "LABEL"),
        (["class"], "label, class", "class"),
        (["label, old", "class"], "label, old", "label, old"),
    ],
)
def test_columns_are_found_by_their_names(columns, wanted, found):
    assert column_of(pd.DataFrame(columns=columns), wanted, "--label-column", "x.csv") == found


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder, content in {"people": csv(1, 20) + csv(3, 3, ["fair"], header=False), "gpt": MADE}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "texts.csv").write_bytes(content)
    files_of = {folder: str(tmp_path / folder / "texts.csv") for folder in ("people", "gpt")}
    texts = read_own(OwnFiles(real=files_of["people"], synthetic={"gpt": (files_of["gpt"],)}))
    assert list(texts.notes["file"].unique()) == ["people/texts.csv", "gpt/texts.csv"]
    assert "people/texts.csv: 3 rows left out: label 'fair' is not in every file." in warnings(texts)


def test_of_many_labels_that_are_left_out_five_are_told(tmp_path):
    many = csv(1, 12, [*"abcdefghij", "good", "bad"])
    (said,) = [said for said in warnings(read_own(own(tmp_path, real=many))) if "left out" in said]
    assert said.count("is not in every file") == 5
    assert said.endswith("and 5 more.")


def test_splits_are_stratified_and_depend_on_the_texts_alone(tmp_path):
    first = read_own(own(tmp_path)).real
    shuffled = rows(1, 20).sample(frac=1, random_state=5).to_csv(index=False).encode()
    again = read_own(own(tmp_path, real=shuffled)).real
    assert first.fingerprint == again.fingerprint
    assert first.frame.groupby(["split", "label"]).size().to_dict() == {
        (split, label): n for split, n in (("test", 8), ("validation", 2), ("train", 10)) for label in ("bad", "good")
    }


def test_texts_that_repeat_are_in_one_split_alone(tmp_path):
    twice = rows(1, 20)
    twice = pd.concat([twice, twice.assign(text=twice["text"].str.upper() + "!")]).to_csv(index=False).encode()
    (tmp_path / "test.csv").write_bytes(csv(7, 10) + csv(1, 20).split(b"\n", 1)[1][:300].rpartition(b"\n")[0] + b"\n")
    texts = read_own(own(tmp_path, real=twice, test=str(tmp_path / "test.csv")))
    assert texts.real.frame["plain"].is_unique
    assert texts.notes["what"].str.contains("stands in the test file").any()


def test_a_file_of_many_rows_is_drawn_from(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST", 100)
    table = pd.concat([rows(1, 500), rows(2, 10, ["rare"])]).sample(frac=1, random_state=0)
    made = pd.concat([rows(3, 20), rows(4, 20, ["rare"])]).to_csv(index=False).encode()
    texts = read_own(own(tmp_path, real=table.to_csv(index=False).encode(), made=made))
    counts = texts.real.frame["label"].value_counts()
    assert counts["rare"] == 10, "a label keeps what the splits need"
    assert counts["good"] == counts["bad"] == pytest.approx(50, abs=2)
    assert any("drawn from the rows" in said for said in warnings(texts))


@pytest.mark.slow
def test_a_million_rows(tmp_path):
    numbers = pd.Series(range(1_000_000)).astype(str)
    table = pd.DataFrame(
        {"text": "row " + numbers + " of the table", "label": np.where(numbers.index % 3, "good", "bad")}
    )
    texts = read_own(own(tmp_path, real=table.to_csv(index=False).encode()))
    assert len(texts.real.frame) == pytest.approx(files.MOST, abs=5)
    assert any("10,000 rows drawn" in said or "drawn from the rows" in said for said in warnings(texts))


def test_near_duplicates_of_an_llm_are_one_and_a_file_full_of_them_is_told(tmp_path, monkeypatch):
    made = rows(2, 20)
    more = [made.assign(text=made["text"] + sign) for sign in (" x", " y", " z")]
    asked = own(tmp_path, made=pd.concat([made, *more]).to_csv(index=False).encode())
    texts = read_own(asked)
    assert len(texts.corpora["made"]) == 40
    assert any("120 of 160 texts repeat" in said for said in warnings(texts))
    monkeypatch.setattr(files, "MOST", 80)
    drawn = [re.search(r"(\d+) of 80 texts repeat", said) for said in warnings(read_own(asked))]
    assert any(drawn), "of a file that is drawn from, the share of what was drawn counts"


def test_a_label_of_which_a_file_has_few_texts_is_named(tmp_path):
    texts = read_own(own(tmp_path, csv(1, 60), csv(2, 30) + csv(3, 7, ["good"], header=False)))
    assert not [said for said in warnings(texts) if "to train on" in said]
    few = csv(2, 30, ["good"]) + csv(3, 19, ["bad"], header=False)
    (said,) = [said for said in warnings(read_own(own(tmp_path, csv(1, 60), few))) if "to train on" in said]
    assert said == "made: few texts to train on: 19 of 'bad'."


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["a.csv"], {"a.csv": ["a.csv"]}),
        (["gpt=a.csv", "b.csv"], {"gpt": ["a.csv"], "b.csv": ["b.csv"]}),
        (["gpt=a.csv,b.csv", "gpt=c.csv"], {"gpt": ["a.csv", "b.csv", "c.csv"]}),
        (["x=1, y.csv"], {"x=1, y.csv": ["x=1, y.csv"]}),
        (["gpt/texts.csv", "other/texts.csv"], {name: [name] for name in ("gpt/texts.csv", "other/texts.csv")}),
    ],
)
def test_files_and_their_names(tmp_path, monkeypatch, arguments, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=1, y.csv").touch()
    assert named_files(arguments) == {title: [str(tmp_path / name) for name in names] for title, names in found.items()}


def test_a_corpus_gets_a_name_whatever_it_is_called():
    assert list(corpus_names(["GPT-4o", "gpt 4o", "real", "文"])) == ["gpt_4o", "gpt_4o_2", "real_3", "corpus_4"]


# ------------------------------------------------------------------------------------------------------------- verdict


@pytest.mark.parametrize(
    ("gap", "low", "high", "margin", "said"),
    [
        (-6.2, -8.5, -3.9, 2, "on gpt instead of as many real texts costs 6.2 points of macro-F1 [3.9, 8.5]"),
        (-1.0, -1.5, -0.5, 2, "costs 1.0 points of macro-F1 [0.5, 1.5], which is within 2 points"),
        (3.0, 1.0, 5.0, 2, "gains 3.0 points of macro-F1 [1.0, 5.0]"),
        (
            -0.4,
            -1.7,
            0.9,
            2,
            "as good as training on as many real texts, within 2 points: −0.4 points of macro-F1 [−1.7, +0.9]",
        ),
        (-0.4, -1.7, 0.9, 1, "is not told apart from training on as many real texts: −0.4"),
        (0.0, -3.0, 1.0, 2, "is not told apart from"),
        (0.0, 0.0, 0.0, 2, "is as good as"),
    ],
)
def test_words_follow_the_interval(gap, low, high, margin, said):
    assert said in in_words("gpt", gap, low, high, margin)


def measured(low, high, new=(np.nan, np.nan), added=(2.1, 0.4, 3.8), **others):
    gap = {"classifier": "probe", "corpus": "made", "gap": (low + high) / 2, "low": low, "high": high}
    gap |= {"new_low": new[0], "new_high": new[1], "recordings": 1 if np.isnan(new[0]) else 3}
    worth = {
        "classifier": "probe",
        "corpus": "made",
        "worth": 0.4,
        "low": 0.2,
        "high": np.inf,
        "least": 0.1,
        "most": 2.0,
    }
    gain = {"classifier": "probe", "mix": "real 50 + made", "real_texts": 50}
    gain |= dict(zip(("gain", "low", "high"), added, strict=True))
    needed = {"classifier": "probe", "corpus": "made", "n_test": 300, "apart": 3.0, "more": 117.2}
    tables = {"gaps": gap, "worth": worth, "gains": gain, "needed": needed}
    return Measured(points=pd.DataFrame(), **{name: pd.DataFrame([row | others]) for name, row in tables.items()})


@pytest.mark.parametrize(
    ("found", "has", "lacks"),
    [
        (
            measured(-8, -4),
            [
                "costs 6.0",
                "for this file; another generation may differ by about 3 points",
                "worth about 0.4 real ones [0.2, no end]",
                "on top of 50 real texts a label it adds 2.1 [0.4, 3.8];",
                "9 of 49 nearly repeat a test text",
            ],
            ["more labelled"],
        ),
        (
            measured(-8, 4),
            ["not told apart", "about 120 more labelled test texts would tell 3.0 points apart"],
            ["costs"],
        ),
        (measured(-8, 4, more=0.0), ["about 1 more labelled test text"], []),
        (measured(-8, 4, more=np.inf), ["no number of test texts alone would settle it"], ["more labelled"]),
        (measured(-1, 1), ["as good as"], ["more labelled"]),
        (
            measured(-8, -4, new=(-12, 0.5)),
            ["not told apart", "by the same recipe, of which these 3 files are a sample"],
            ["this file;"],
        ),
        (measured(-8, -4, worth=0.0), ["worth less than 0.1 real ones"], []),
        (measured(-8, -4, worth=np.inf), ["worth more than 2.0 real ones"], []),
        (measured(-8, -4, added=(-6.0, -8.0, -4.0)), ["a label it takes away 6.0 [4.0, 8.0];"], ["adds"]),
    ],
)
def test_the_verdict_is_made_of_the_numbers(tmp_path, found, has, lacks):
    said = verdict(read_own(own(tmp_path)), found, {"made": 9}, margin=2)["verdict"].item()
    assert said.startswith("Training on made")
    assert all(part in said for part in has), said
    assert not any(part in said for part in lacks), said


@pytest.mark.parametrize(
    ("row", "has"),
    [
        (
            (25, 70.0, 60.0, 80.0),
            ["train on real texts and made together", "80 for that", "lost 1.0 points on average"],
        ),
        (
            (12, 70.0, 75.0, 72.0),
            ["Advice for 12 real texts", "train on made alone", "lost 1.1 points", "3.5 at most"],
        ),
        ((2, 70.0, 70.0, 70.0), ["nobody knows how good"]),
    ],
)
def test_the_advice_takes_the_best_of_three_and_says_how_sure_it_is(tmp_path, row, has):
    texts = read_own(own(tmp_path))
    advice = pd.DataFrame([(next(iter(texts.corpora)), *row)], columns=ADVICE_COLUMNS)
    said = advised(texts, advice)["verdict"].item()
    assert all(part in said for part in has), said


def test_texts_whose_labels_are_turned_round_are_not_advised(tmp_path):
    """Of words alone a label follows: which of two sets of words a text has."""
    random = np.random.default_rng(0)

    def texts(turned):
        kinds = [WORDS[:6], WORDS[6:]]
        made = [(" ".join(random.choice(kinds[at % 2], 8)), ("good", "bad")[at % 2 ^ turned]) for at in range(80)]
        return pd.DataFrame(made, columns=["text", "label"]).drop_duplicates("text").to_csv(index=False).encode()

    asked = own(tmp_path, texts(0), texts(1))
    (row,) = advise(read_own(asked)).itertuples()
    assert 15 < row.real_labels <= 25
    assert row.alone < 10
    assert row.real > row.both
    assert advise(read_own(asked.model_copy(update={"real": None, "test": None}))).empty


def test_another_generation_differs_as_recordings_do():
    assert pytest.approx(np.sqrt(2) * np.hypot(1.6, 1.6)) == ANOTHER_GENERATION
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert "recordings differ by 1.6 points on all tasks alike, by about 1.6 on single tasks" in " ".join(page.split())


def test_so_many_more_test_texts_would_settle_it():
    """The same items over and over: with as many more as it asked for, nothing more is needed."""

    def needed(times):
        random = np.random.default_rng(1)
        truth, right = np.arange(200) % 2, {"real": random.random(200) < 0.8, "made": random.random(200) < 0.76}
        predicted = {name: np.tile(np.where(own, truth, 1 - truth), (5, times)) for name, own in right.items()}
        ids, n_train = np.arange(200 * times).astype(str), dict.fromkeys(right, 10)
        one = Predictions("t", "probe", ("a", "b"), ids, np.tile(truth, times), predicted, n_train)
        return needed_test_texts([one], 2.0, 2000, 0)["more"].item()

    more = needed(1)
    assert more > 200
    times = 1 + int(more // 200)
    assert needed(times) == pytest.approx(200 + more - 200 * times, abs=0.15 * more)
    assert needed(2 * times) == 0


# ------------------------------------------------------------------------------------------------------- the whole run


@pytest.fixture(scope="module")
def example(command, tmp_path_factory):
    """What `compare` printed and wrote of the bundled example, in two recordings and a second corpus."""
    from in_process import empty_files, execute

    folder = tmp_path_factory.mktemp("compare")
    made = pd.read_csv(bundled("your_task", "synthetic.csv"))
    parts = {name: made.iloc[at::3] for at, name in enumerate(("a.csv", "b.csv", "other.csv"))}
    for name, part in parts.items():
        part.to_csv(folder / name, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthgap.pipeline.notebooks.execute", execute)
        patch.setattr("synthgap.pipeline.stages.save_figure", empty_files)
        real = str(bundled("your_task", "real.csv"))
        synthetic = [
            "--synthetic",
            f"gpt={folder / 'a.csv'},{folder / 'b.csv'}",
            "--synthetic",
            str(folder / "other.csv"),
        ]
        done = command("compare", "--real", real, *synthetic, "--name", "My Data", "--output", str(folder / "outputs"))
        again = command("compare", "--real", real, *synthetic, "--name", "My Data", "--output", str(folder / "outputs"))
    assert done.returncode == again.returncode == 0, done.stderr
    return folder / "outputs" / "my_data", done, again


def test_it_prints_the_verdict_and_the_report_begins_with_it(example):
    folder, done, again = example
    told = " ".join(done.stdout.split())
    assert "Warning: Few test texts (72)" in told
    assert "Training on gpt" in told
    assert "of which these 2 files are a sample" in told
    assert "Training on other.csv" in told
    assert "for this file; another generation may differ" in told
    assert "done already" in again.stdout
    assert again.stdout.split("report.html")[1] == done.stdout.split("report.html")[1]
    page = (folder / "report.html").read_text(encoding="utf-8")
    body = page[page.index("<main>") :]
    assert body.index("Training on gpt") < body.index("<h2>")
    assert "evidence of nothing" not in page
    assert "missing or outdated" not in page


def test_tables_are_tidy(example):
    tables = {path.stem: pd.read_csv(path) for path in (example[0] / "tables").glob("*.csv")}
    assert set(tables["own_gaps"]["corpus"]) == {"gpt", "other_csv"}
    assert tables["own_gaps"].set_index(["corpus", "classifier"]).loc[("gpt", "probe"), "recordings"] == 2
    assert {"probe", "tfidf"} == set(tables["own_worth"]["classifier"]) == set(tables["own_gains"]["classifier"])
    assert not tables["own_gains"].duplicated(["classifier", "mix", "baseline"]).any()
    assert tables["own_agreement"]["agreement"].between(0, 100).all()


def test_no_text_of_the_user_leaves_the_folder_or_could_reach_git(example, tmp_path):
    """Git ignores all of it, even in a repository that ignores nothing; tables and runs hold no text at all."""
    folder, *_ = example
    repository = folder.parent
    subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        done = subprocess.run(["git", "check-ignore", "--quiet", str(path)], cwd=repository, check=False)
        assert done.returncode == 0, path
    ours = subprocess.run(["git", "check-ignore", "--quiet", "outputs/my_data/report.html"], cwd=ROOT, check=False)
    assert ours.returncode == 0 or not (ROOT / ".git").exists()
    long = [text for text in pd.read_csv(bundled("your_task", "real.csv"))["text"] if len(text) > 40]
    written = [*(folder / "tables").iterdir(), *(folder / "your_task").rglob("*"), folder / "report.html"]
    for path in filter(Path.is_file, written):
        content = path.read_bytes()
        assert not any(text.encode() in content for text in long), path
    assert (folder / "cache").is_dir(), "embeddings stay here, too"
    assert (folder / "notebooks" / "11_your_task.ipynb").stat().st_mode & 0o077 == 0


def test_the_executed_notebook_has_the_files_as_parameters(example):
    notebook = nbformat.read(example[0] / "notebooks" / "11_your_task.ipynb", as_version=4)
    said = json.dumps([cell.get("outputs") for cell in notebook.cells])
    assert "other.csv" in said
    assert not re.search(r'"output_type": "(error|stream)"', said)


def test_without_real_texts_it_says_what_can_be_said(compare, in_process, tmp_path):
    made = bundled("your_task", "synthetic.csv").read_bytes()
    lines = made.splitlines(keepends=True)
    named = {"a.csv": lines[0] + b"".join(lines[1::2]), "b.csv": lines[0] + b"".join(lines[2::2])}
    done = compare(named, "--synthetic", "one=a.csv", "--synthetic", "two=b.csv")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    for part in (
        "texts of one about",
        "are different in meaning (Vendi score)",
        "% of the texts of two",
        "other texts of their file: 0 of 75 in a.csv, 0 of 75 in b.csv",
        "Without real texts nobody can say",
        "--real",
    ):
        assert part in told
    assert "costs" not in told.replace("on these texts costs", "")


@pytest.mark.parametrize("endpoint", ["labels"], indirect=True)
def test_a_live_llm_labels_a_file_whose_texts_are_then_compared(compare, in_process, tmp_path, endpoint):
    real, pool = (pd.read_csv(bundled("your_task", f"{name}.csv")) for name in ("real", "synthetic"))
    with_real = pd.concat([pool[["text"]], real[["text"]]])
    named = {"real.csv": real.to_csv(index=False).encode(), "pool.csv": with_real.to_csv(index=False).encode()}
    llm = f"{{model: a model, base_url: '{endpoint.url}', max_tokens: 200}}"
    arguments = ["--real", "real.csv", "--unlabelled", "pool.csv", "--llm", llm]
    done = compare(named, *arguments)
    assert done.returncode == 0, done.stderr
    labelled = pd.read_csv(tmp_path / "outputs" / "your_task" / "labels" / "pool.csv")
    assert not set(labelled["text"]) & set(real["text"])
    assert set(labelled["label"]) == set(real["label"])
    assert set(labelled["text"]) <= set(pool["text"])
    told = " ".join(done.stdout.split())
    assert f"'pool.csv': {len(labelled)} of {pool['text'].nunique()} texts labelled" in told
    assert f"{real['text'].nunique()} texts stand in the other files and were not asked for" in told
    assert "another generation" not in told, "real texts under an LLM's labels are not generated anew"
    assert "on pool.csv with an LLM's labels instead of" in told
    requests = endpoint.counts()["requests"]
    assert compare({}, *arguments).returncode == 0
    assert endpoint.counts()["requests"] == requests, "what was answered is not asked for again"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to compare; name an LLM's texts with --synthetic FILE"),
        (["--unlabelled", "made.csv"], "--llm who does"),
        (["--synthetic", "made.csv", "--llm", "m"], "--unlabelled FILE names what is to be labelled"),
        (["--unlabelled", "made.csv", "--llm", "{model: m, size: 3}"], "size"),
        (["--unlabelled", "made.csv", "--llm", "{model"], "--llm"),
        (["--unlabelled", "made.csv", "--llm", "gpt-4o"], "input_price: 0.15, output_price: 0.60, budget: 1"),
        (
            ["--unlabelled", "real.csv", "--llm", "{model: m, base_url: 'http://localhost:1/v1'}"],
            "'real.csv' holds no texts to label but those of the other files",
        ),
        (["--unlabelled", "made.csv", "--llm", "{backend: recorded, recording: claude}"], "which labels nothing new"),
        (
            ["--unlabelled", "none.csv", "--llm", "{model: m, base_url: 'http://localhost:1/v1'}"],
            "there is no file 'none.csv'",
        ),
    ],
)
def test_what_is_to_be_labelled_and_who_does_are_checked_first(compare, arguments, said):
    done = compare(FILES, "--real", "real.csv", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_fine_tuning_is_as_in_recorded_with_three_seeds():
    given = Namespace(
        variant=None, real="r.csv", test=None, synthetic=["m.csv"], margin=2.0, finetune=True, unlabelled=None, llm=None
    )
    given.text_column = given.label_column = "text"
    profile = load_profile(str(bundled("your_task", "profile.yaml")), overrides_of(given))
    ours, theirs = (one.training.classifiers["finetune"] for one in (profile, load_profile("recorded")))
    assert ours.model_copy(update={"seeds": theirs.seeds}) == theirs
    assert ours.seeds == (0, 1, 2)
    assert profile.folder_name == "your_task"


def test_the_example_is_called_what_it_is():
    real = own_profile(load_profile("demo")).own_files
    assert real.paths == tuple(str(bundled("your_task", f"{name}.csv")) for name in ("real", "synthetic"))
    texts = read_own(real)
    assert list(texts.task.labels) == ["complaint", "praise", "question"]
    with pytest.raises(SynthgapError, match="'tasks' is empty"):
        load_profile("demo").changed({"tasks": []})
