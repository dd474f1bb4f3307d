import gzip
import io
import json
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REAL_DATA, needs_real_data
from hypothesis import given
from hypothesis import strategies as st

from synthgap.core.config import ImportedCorpus
from synthgap.core.errors import SynthgapError
from synthgap.data.draws import draw, draw_equal, equal_sizes, fingerprint
from synthgap.data.imported import read_imported
from synthgap.data.real import SUFFIXES, checked, data_file, load_real, read_file
from synthgap.generation.corpora import load_corpus, pooled, save_corpora
from synthgap.generation.live_generation import generate_all
from synthgap.tasks import load_profile, load_task, paper_tasks

SMS = load_task("sms_spam")


def save(frame: pd.DataFrame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


def parquet(texts: pa.Array, names: Sequence[str] = ("id", "text", "label", "split")) -> bytes:
    """A file as tools other than pandas write it: the texts under each name."""
    pq.write_table(pa.table([texts for _ in names], list(names)), target := io.BytesIO())
    return target.getvalue()


def from_folder(folder, task=SMS, monkeypatch=None):
    profile = load_profile("demo", {"data.source": "folder"})
    monkeypatch.setenv("SYNTHGAP_DATA", str(folder))
    return load_real(task, profile)


# ------------------------------------------------------------------------------------------------- sources


def test_the_bundled_stand_in_has_every_task_as_its_readme_says():
    for name in paper_tasks():
        data = load_real(load_task(name), load_profile("demo"))
        counts = data.frame.groupby(["split", "label"]).size()
        assert set(counts["train"]) == {36}
        assert set(counts["validation"]) == {4}
        assert set(counts["test"]) == {20}
        assert data.dropped == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_formats_of_a_folder_give_the_same_data(tmp_path, texts, suffix, monkeypatch):
    texts.loc[0, "text"] = "NA"
    texts.loc[1, "text"] = 'a "quoted", comma\nand a new line 😊'
    save(texts, tmp_path / f"sms_spam{suffix}")
    data = from_folder(tmp_path, monkeypatch=monkeypatch)
    assert data.fingerprint == fingerprint(texts)
    assert data.frame[["id", "text", "label", "split"]].equals(texts)


@needs_real_data
def test_the_real_folder_loads_whole(monkeypatch):
    for name in paper_tasks():
        data = from_folder(REAL_DATA, load_task(name), monkeypatch)
        assert len(data.frame) == len(pd.read_parquet(REAL_DATA / f"{name}.parquet"))
        assert data.dropped == {}


def test_a_cap_on_the_test_split_leaves_the_rest_alone(texts):
    data = checked(SMS, texts, "texts", test_texts_per_label=3)
    assert data.split("test")["label"].value_counts().to_dict() == {"ham": 3, "spam": 3}
    assert len(data.split("train")) == 24


# ------------------------------------------------------------------------------------------------ bad input


def test_a_missing_folder_or_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(SynthgapError, match=r"data folder '.*nowhere' does not exist; name another with --data"):
        from_folder(tmp_path / "nowhere", monkeypatch=monkeypatch)
    with pytest.raises(SynthgapError, match=r"task 'sms_spam': no data file .* needs one of sms_spam\.parquet"):
        from_folder(tmp_path, monkeypatch=monkeypatch)


def test_two_files_for_one_task_are_refused(tmp_path, texts):
    for suffix in (".csv", ".parquet"):
        save(texts, tmp_path / f"sms_spam{suffix}")
    with pytest.raises(SynthgapError, match=r"sms_spam\.parquet and sms_spam\.csv both hold"):
        data_file(SMS, tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_an_unreadable_file_is_named(tmp_path, suffix):
    path = tmp_path / f"sms_spam{suffix}"
    path.write_bytes(b'{"id": "torn')
    with pytest.raises(SynthgapError, match=f"data file 'sms_spam{suffix}' cannot be read"):
        read_file(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="label"), "column 'label' is missing; it has id, text, split"),
        (lambda t: t.assign(text=["", *t["text"][1:]]), "empty texts; remove them"),
        (lambda t: t.assign(text=[None, *t["text"][1:]]), "empty texts; remove them"),
        (lambda t: t.assign(text=[" \n", *t["text"][1:]]), "empty texts"),
        (lambda t: t.assign(label=["eggs", *t["label"][1:]]), "label 'eggs' is unknown to the task; known: ham, spam"),
        (lambda t: t.assign(split=["dev", *t["split"][1:]]), "unknown split; known: train, validation, test"),
        (
            lambda t: t.assign(text=[t["text"][0], 7, b"x", *t["text"][3:]]),
            "no text but bytes, int; write them as text",
        ),
        (
            lambda t: t.assign(text=range(len(t))),
            "no text but int; write them as text (first: row 1, id 'train-ham-0'",
        ),
        (lambda t: t.assign(id=["x", "x", *t["id"][2:]]), "repeated or empty ids (first: row 2, id 'x'; 1 in all)"),
        (lambda t: t.assign(id=[" ", "", *t["id"][2:]]), "repeated or empty ids (first: row 1, id ''; 2 in all)"),
        (
            lambda t: t.assign(id=[*t["id"][:2], [1], *t["id"][3:]]),
            "every row needs an id of its own, a word or a number",
        ),
        (lambda t: t.assign(id=[*t["id"][:2], {"a": 1}, *t["id"][3:]]), "(first: row 3, id ''; 1 in all)"),
        (lambda t: t.assign(id=[float("nan"), *t["id"][1:]]), "(first: row 1, id ''; 1 in all)"),
        (lambda t: t.assign(id=["1", 1, *t["id"][2:]]), "(first: row 2, id '1'; 1 in all)"),
        (lambda t: t.assign(id=["1", 1.0, *t["id"][2:]]), "(first: row 2, id '1'; 1 in all)"),
        (lambda t: t.assign(label=[["ham"], *t["label"][1:]]), "label '' (an empty cell, or a list) is unknown"),
        (
            lambda t: t.assign(label=[1.0, True, *t["label"][2:]]),
            "label '1', 'True' is unknown to the task; known: ham",
        ),
        (lambda t: t.assign(label=["Ham", *t["label"][1:]]), "label 'Ham' is unknown to the task; known: ham, spam"),
        (lambda t: t.assign(split=[["train"], *t["split"][1:]]), "'' (an empty cell, or a list) is an unknown split"),
        (
            lambda t: t[(t["split"] != "validation") | (t["label"] != "spam")],
            "'spam' has no row in the split 'validation'",
        ),
        (lambda t: t.iloc[:0], "has no row in the split 'train'"),
    ],
)
def test_bad_data_is_refused_with_its_place_and_the_way_out(texts, spoil, message):
    with pytest.raises(SynthgapError) as error:
        checked(SMS, spoil(texts), "sms.csv")
    assert message in str(error.value)
    assert "sms_spam" in str(error.value)
    assert "sms.csv" in str(error.value)


ROWS = "id{0}text{0}label{0}split\n007{0}ä text{0}ham{0}test\n"
LINE = '{"id": 7, "text": "ä text", "label": "ham", "split": "test"}\n'


@pytest.mark.fault(
    "Data of your own", "byte order marks, UTF-16, ; or tabs between columns, Windows line ends", "they are recognised"
)
@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("a.csv", ROWS.format(",").encode(), "007"),
        ("a.csv", ROWS.format(",").encode("utf-8-sig"), "007"),
        ("a.csv", ROWS.format(",").encode("utf-16"), "007"),
        ("a.csv", ROWS.format(";").encode(), "007"),
        ("a.csv", ROWS.format("\t").encode("utf-8-sig"), "007"),
        ("a.csv", ROWS.format("|").encode(), "007"),
        ("a.csv", ROWS.format(",").replace("\n", "\r\n").encode(), "007"),
        ("a.csv", ROWS.format(",").replace("\n", "\r").encode(), "007"),
        ("a.csv", ROWS.format(",").encode("utf-32"), "007"),
        ("a.csv", ROWS.format("\t").encode("utf-16"), "007"),
        ("a.csv", ("sep=;\r\n" + ROWS.format(";")).encode("utf-8-sig"), "007"),
        ("a.csv", ("\r\n\n" + ROWS.format(",") + ",,,\n\n").encode(), "007"),
        ("a.csv", ROWS.format(",").replace(",", ", ").replace(", ä", ",ä").encode(), "007"),
        ("a.jsonl", LINE.encode(), "7"),
        ("a.jsonl", LINE.encode("utf-8-sig"), "7"),
        ("a.jsonl", LINE.encode("utf-16"), "7"),
        ("a.jsonl", LINE.replace("7", "7.0").encode(), "7"),
        ("a.jsonl", LINE.replace("7", '" 7"').encode(), "7"),
        ("a.jsonl", (LINE + LINE.replace("ä", "\\ud83d")).replace("\n", "\r\n").encode(), "7"),
    ],
)
def test_what_tools_write_is_read_as_it_is(tmp_path, name, content, key):
    path = tmp_path / name
    path.write_bytes(content)
    assert read_file(path).to_dict("records") == [{"id": key, "text": "ä text", "label": "ham", "split": "test"}]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('id;"text";"a, b";c, d\n1;"x; y";1;2\n', ["x; y"]),
        ('id,text,"a;b;c;d;e"\n1,x,2\n', ["x"]),
        ('id,text\n1,it is 5" long\n', ['it is 5" long']),
        ('id,text\n1,"he said ""hi"""\n', ['he said "hi"']),
        ('id,text\n1,"ends in a backslash\\"\n2,y\n', ["ends in a backslash\\", "y"]),
        ('id,text\r\n1,"two\r\nlines"\r\n', ["two\r\nlines"]),
        (",id,text\n0,1,x\n", ["x"]),
        (f"id,text\n1,{'long ' * 200_000}\n2,NA\n", ["long " * 200_000, "NA"]),
    ],
)
def test_cells_of_a_csv_are_read_as_they_are(tmp_path, content, texts):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    assert read_file(path)["text"].tolist() == texts


@pytest.mark.fault(
    "Data of your own",
    "other encodings, files that are no text, damaged bytes, archives, stray quotes, rows of other lengths, torn lines",
    "refused with that word and the way out",
)
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            ROWS.format(",").encode("cp1252"),
            r"no UTF-8 text: line 2 reads '007,ä text.*' in cp1252, .*save it",
        ),
        ("a.jsonl", LINE.encode("cp1252"), r"no UTF-8 text: line 1 reads '.*ä text.*' in cp1252, .*save it as UTF-8"),
        ("a.csv", ROWS.format(",").encode("utf-16-le"), r"UTF-16 without its mark.*save it as UTF-8"),
        ("a.csv", ROWS.format(",").encode("utf-16-be"), r"UTF-16 without its mark.*iconv -f UTF-16BE -t UTF-8"),
        ("a.csv", ROWS.format(",").encode("utf-32-le"), r"UTF-32 without its mark.*iconv -f UTF-32LE -t UTF-8"),
        ("a.csv", ROWS.format(",").encode("utf-16")[:-1], r"no UTF-16 text"),
        (
            "a.csv",
            ROWS.format(",").replace("ä", "\ud83d").encode("utf-16", "surrogatepass"),
            r"no UTF-16 text throughout: line 2 holds half a character.*iconv -f UTF-16 -c",
        ),
        (
            "a.csv",
            ROWS.format(",").replace("ä", "\ud83d").encode("utf-8", "surrogatepass"),
            "no UTF-8 text throughout: line 2 holds half a character",
        ),
        (
            "a.csv",
            (ROWS.format(",") * 20_000).encode() + "é".encode("cp1252"),
            r"no UTF-8 text throughout: line 40001 is damaged \(unexpected end of data\).*iconv -f UTF-8 -c",
        ),
        ("a.csv", ROWS.format(",").replace("ä", '"he said \\"hi\\" there"').encode(), "line 2 has .* separator"),
        ("a.csv", ROWS.format(",").replace("ä text", '"\\"hi\\" there"').encode(), "line 2 has a quote out of place"),
        ("a.csv", ROWS.format(",").replace("ä text", '"not closed').encode() + b"8,x,ham,test\n", "line 2 has a quote"),
        ("a.csv", ROWS.format(",").replace("ä", "ä,").encode(), "line 2 has 5 cells and the header 4"),
        ("a.csv", ROWS.format(",").replace("ä text,", "").encode(), "line 2 has 3 cells and the header 4"),
        ("a.csv", ROWS.format(",").replace("007", "007,7").encode(), "line 2 has 5 cells and the header 4"),
        ("a.csv", ROWS.format(",").replace("id", "text").encode(), "the column 'text' more than once"),
        ("a.csv", b"\n \n", "it is empty"),
        ("a.csv", gzip.compress(ROWS.encode(), mtime=0), "no text but compressed with gzip; unpack it"),
        ("a.jsonl", b"PK\3\4xl", r"no text but a spreadsheet \(\.xlsx\)"),
        ("a.csv", b"%PDF-1.7\n", "no text but a PDF; export its table as UTF-8"),
        ("a.csv", b"\x89PNG\r\n", "no text but an image; export"),
        ("a.csv", b"SQLite format 3\0\x10\0", "no text but a SQLite database; export"),
        ("a.csv", bytes(range(256)) * 9, "no text file .*; export its table as UTF-8"),
        ("a.csv", b"\x93NUMPY\1\0v\0{'descr': '<f4'}\n" + bytes(400), "no text file .*; export its table as UTF-8"),
        ("a.csv", bytes(range(1, 256)) * 9, "no text file .*; export its table as UTF-8"),
        ("a.csv", b"PAR1", r"Parquet; let its name end in \.parquet"),
        ("a.jsonl", f"[{LINE}]".encode(), "an array is written as one object a line"),
        ("a.jsonl", f"[\n{LINE}]".encode(), "an array is written as one object a line"),
        ("a.jsonl", LINE.replace("label", "text").encode(), "line 1 is no JSON .a name stands twice"),
        ("a.csv", ROWS.format(",").encode() + b"a" * 2000 + b"\0,a,ham,test\n", "holds a zero byte in line 3"),
        ("a.jsonl", b"[" * 100_000, "cannot be read: maximum recursion depth"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object; a line holds one row"),
        ("a.jsonl", LINE.encode() + b"\n{\n", "line 3 is no JSON"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.parquet", parquet(pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())), "Invalid UTF8"),
        ("a.parquet", parquet(pa.array(["x"]), ["text", "text"]), "cannot be read: .*text"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_out(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SynthgapError, match=message):
        read_file(path)


@pytest.mark.parametrize(
    ("column", "outcome"),
    [
        (pa.array(["1"]), "1"),
        (pa.array(["1"]).dictionary_encode(), "1"),
        (pa.array(["1"], pa.large_string()), "1"),
        (pa.array(["1"], pa.string_view()), "1"),
        (pa.array([b"1"]), "no text but bytes"),
        (pa.array([1.0]), "no text but float"),
        (pa.array([["1"]]), "no text but ndarray"),
        (pa.array([{"a": "1"}]), "no text but dict"),
        (pa.array([None], pa.string()), "empty texts"),
        (pa.nulls(1), "empty texts"),
    ],
)
def test_columns_of_parquet_are_texts_or_refused(tmp_path, column, outcome):
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(column))
    frame = read_file(path)
    if outcome == "1":
        assert frame.to_dict("records") == [dict.fromkeys(("id", "text", "label", "split"), "1")]
    else:
        with pytest.raises(SynthgapError, match=outcome):
            checked(SMS, frame, "x")


def test_ids_are_text_in_every_format(tmp_path, texts):
    for suffix in SUFFIXES:
        path = save(texts.assign(id=range(len(texts)), annotator=1), tmp_path / f"a{suffix}")
        frame = read_file(path)
        assert frame["id"].tolist() == [str(n) for n in range(len(texts))]
        assert set(frame["annotator"]) == {"1"}
    missing = save(texts.assign(id=[None, *texts["id"][1:]]), tmp_path / "missing.parquet")
    with pytest.raises(SynthgapError, match="every row needs an id of its own"):
        checked(SMS, read_file(missing), "x")


@pytest.mark.fault("Data of your own", "a categorical column in Parquet", "it is read as its values")
@pytest.mark.parametrize("column", ["split", "label", "text", "id"])
def test_a_column_of_categories_is_read_as_its_values(tmp_path, texts, column):
    texts.loc[texts["id"] == "train-ham-0", "text"] = "test text 0 of ham"
    plain = checked(SMS, texts, "x")
    path = save(
        texts.assign(**{column: pd.Categorical(texts[column], sorted(set(texts[column])))}), tmp_path / "a.parquet"
    )
    data = checked(SMS, read_file(path), "x")
    assert data.fingerprint == plain.fingerprint
    assert "test-ham-0" in set(data.frame["id"])
    assert "train-ham-0" not in set(data.frame["id"])
    assert dict(data.dropped) == {"stands in another split": 1}


@pytest.mark.fault(
    "Data of your own", "texts with half a surrogate pair", "they are left out and counted", lost="such texts"
)
def test_texts_with_half_a_character_are_left_out_and_counted(tmp_path, texts, monkeypatch):
    lines = [json.dumps(row) for row in texts.to_dict("records")]
    lines += [lines[0].replace("train-ham-0", f"more-{n}").replace("text 0", f"\\udc00 {n}") for n in range(3)]
    (tmp_path / "sms_spam.jsonl").write_text("\n".join(lines))
    data = from_folder(tmp_path, monkeypatch=monkeypatch)
    assert data.fingerprint == checked(SMS, texts, "x").fingerprint
    assert dict(data.dropped) == {"holds half a character (a lone surrogate)": 3}
    corpus = ImportedCorpus(file=str(tmp_path / "sms_spam.jsonl"))
    _, dropped = read_imported(corpus, SMS, "theirs")
    assert dropped["half_character"] == 3


@pytest.mark.fault(
    "Data of your own", "an imported corpus with lists, numbers, nothing in its cells", "counted, by reason"
)
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "x"}, "other_label"),
        ({"text": "x", "label": ["ham"]}, "other_label"),
        ({"text": "x", "label": "Ham"}, "other_label"),
        ({"label": "ham"}, "empty"),
        ({"text": 7, "label": "ham"}, "empty"),
        ({"text": ["x"], "label": "ham"}, "empty"),
        ({"text": " ", "label": "ham"}, "empty"),
        ({"text": "x", "label": " ham "}, None),
    ],
)
def test_rows_of_an_imported_corpus_that_are_no_texts_are_counted(tmp_path, texts, row, reason):
    path = save(texts.assign(year=2020.0), tmp_path / "theirs.jsonl")
    with path.open("a") as handle:
        handle.write("\n" + json.dumps({**row, "year": 2020}) + "\n" + json.dumps({**row, "year": [2020]}) + "\n")
    kept, dropped = read_imported(ImportedCorpus(file=str(path), rows={"year": 2020}), SMS, "theirs")
    assert {name: count for name, count in dropped.items() if count} == ({reason: 1} if reason else {})
    assert len(kept) == len(texts) + (reason is None)


@pytest.mark.parametrize(
    ("column", "message"),
    [("label", "has '', 'a', and the task's labels"), ("year", r"no row whose 'year' is 2020; it has '', 'b'")],
)
def test_a_corpus_without_fitting_rows_is_refused_though_cells_are_empty_or_lists(tmp_path, column, message):
    lines = [{"text": "x", "label": "a", "year": "b"}, {"text": "x"}, {"text": "x", "label": ["a"], "year": ["b"]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    corpus = ImportedCorpus(file=str(tmp_path / "a.jsonl"), rows={"year": 2020} if column == "year" else {})
    with pytest.raises(SynthgapError, match=message):
        read_imported(corpus, SMS, "theirs")


def test_what_lies_there_in_place_of_a_file_of_data_is_named(tmp_path):
    (tmp_path / "sms_spam.csv").symlink_to("nowhere")
    (tmp_path / "sms_spam.csv.gz").touch()
    (tmp_path / "sms_spam.jsonl").mkdir()
    with pytest.raises(
        SynthgapError, match=r"'sms_spam.csv' and 'sms_spam.csv.gz' and 'sms_spam.jsonl' is no such file"
    ):
        data_file(SMS, tmp_path)


def test_too_few_texts_for_the_few_shot_pool(texts):
    few = texts[(texts["split"] != "train") | (texts["label"] != "spam") | texts["id"].str.endswith(("0", "1"))]
    data = checked(SMS, few, "few.csv")
    assert len(data.few_shot_pool("ham")) == 10
    with pytest.raises(SynthgapError, match="label 'spam' has 4 train texts, too few for the 10 few-shot examples"):
        data.few_shot_pool("spam")


def test_repeats_are_dropped_counted_and_kept_in_the_test_split(texts):
    texts.loc[texts["id"] == "train-ham-0", "text"] = "test text 0 of ham"
    texts.loc[texts["id"] == "train-ham-1", "text"] = "  train text 2 of ham "
    data = checked(SMS, texts, "x")
    assert dict(data.dropped) == {"repeats a text of its split": 1, "stands in another split": 1}
    assert "test-ham-0" in set(data.frame["id"])
    assert not {"train-ham-0", "train-ham-2"} & set(data.frame["id"])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("so funny #irony", "so funny"),
        ("#Sarcasm so funny", "so funny"),
        ("so ||#not funny |#IRONIC !", "so funny !"),
        ("#nothing  is #irony_free, not even #notes", "#nothing  is #irony_free, not even #notes"),
        ("two  spaces stay", "two  spaces stay"),
        ("#sarcastic #not", None),
    ],
)
def test_what_gives_a_label_away_is_removed_from_every_real_text(texts, text, read):
    task = SMS.model_copy(update={"remove": load_task("tweet_irony").remove})
    texts.loc[texts["id"] == "test-ham-0", "text"] = text
    data = checked(task, texts, "x")
    found = data.frame.set_index("id")["text"]
    assert found.get("test-ham-0") == read
    assert data.dropped.get("holds nothing but what the task removes", 0) == (read is None)


@needs_real_data
def test_no_tweet_of_the_irony_task_names_its_label(monkeypatch):
    monkeypatch.setenv("SYNTHGAP_DATA", str(REAL_DATA))
    data = load_real(load_task("tweet_irony"), load_profile("recorded"))
    assert not data.frame["text"].str.contains(r"(?i)#(?:irony|ironic|sarcasm|sarcastic|not)\b").any()


# -------------------------------------------------------------------------------------- draws, fingerprints

counts = st.dictionaries(
    st.sampled_from(["real", "zero_shot", "few_shot"]),
    st.fixed_dictionaries({"a": st.integers(1, 30), "b": st.integers(1, 30)}),
    min_size=1,
)


@given(counts, st.one_of(st.none(), st.integers(1, 40)), st.integers(0, 1000))
def test_every_corpus_trains_on_the_same_number_of_each_label(counts, cap, seed):
    sizes = equal_sizes(counts, cap)
    for corpus, have in counts.items():
        frame = pd.DataFrame(
            [{"id": f"{corpus}-{label}-{n}", "label": label} for label, total in have.items() for n in range(total)]
        )
        drawn = draw_equal(frame, sizes, seed)
        assert drawn["label"].value_counts().to_dict() == sizes
        assert drawn["id"].is_unique
        assert set(drawn["id"]) <= set(frame["id"])
    assert all(size <= min(have[label] for have in counts.values()) for label, size in sizes.items())
    assert cap is None or max(sizes.values()) <= cap


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 99), st.randoms())
def test_a_draw_ignores_row_order_and_contains_the_smaller_draw(small, more, seed, random):
    frame = pd.DataFrame({"id": [f"i{n}" for n in range(100)]})
    mixed = frame.sample(frac=1, random_state=random.randrange(2**31))
    larger = draw(frame, small + more, seed, "purpose")["id"].tolist()
    assert draw(mixed, small + more, seed, "purpose")["id"].tolist() == larger
    assert draw(mixed, small, seed, "purpose")["id"].tolist() == larger[:small]


def test_seeds_draw_differently_and_evenly():
    frame = pd.DataFrame({"id": [f"i{n}" for n in range(50)]})
    drawn = [frozenset(draw(frame, 25, seed, "p")["id"]) for seed in range(200)]
    assert len(set(drawn)) == 200
    share = pd.Series([key for one in drawn for key in one]).value_counts() / 200
    assert share.between(0.35, 0.65).all()


def test_the_fingerprint_sees_every_change_but_not_the_order(texts):
    original = fingerprint(texts)
    assert fingerprint(texts.sample(frac=1, random_state=0)) == original
    for column in ("id", "text", "label", "split"):
        changed = texts.copy()
        changed.loc[3, column] = changed.loc[3, column] + "x"
        assert fingerprint(changed) != original
    assert fingerprint(texts.iloc[1:]) != original


@pytest.mark.parametrize(("n", "each"), [(7, {2, 3}), (9, {3}), (12, {3, 4, 5})])
def test_a_draw_of_a_pool_takes_as_many_of_each_corpus_as_it_has(n, each):
    sizes = {"a": 20, "b": 3, "c": 10}
    members = {name: pd.DataFrame({"id": [f"{name}{k}" for k in range(size)]}) for name, size in sizes.items()}
    pool = pooled({name: frame.assign(text=frame["id"], label="ham") for name, frame in members.items()})
    found = draw_equal(pool, {"ham": n}, 1)
    assert len(found) == n
    assert set(found["member"].value_counts()) <= each
    smaller = draw_equal(pool, {"ham": n - 1}, 1)
    assert smaller["id"].tolist() == found["id"].tolist()[:-1]


def test_a_pool_has_the_texts_of_its_corpora_without_repeats(tmp_path):
    profile = load_profile("smoke", {"corpora.both": {"pool": ["zero_shot", "few_shot"]}, "tasks": ["humor"]})
    real = {"humor": load_real(load_task("humor"), profile)}
    made = generate_all(profile, real, tmp_path / "log.sqlite")
    save_corpora(tmp_path, profile, made, real)
    both = load_corpus(tmp_path, profile, "both", "humor")
    assert both["member"].value_counts().to_dict() == {"zero_shot": 40, "few_shot": 40}
    assert "text" not in pd.read_parquet(tmp_path / "both.parquet"), "its corpora have the texts"
    assert made["humor", "both"].provenance["written_by"] == "as many each of zero_shot, few_shot"
