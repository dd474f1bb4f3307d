"""Runs on disk: packed and found again, never under another name, whole under kills, and read by one reader."""

import dataclasses
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workers import MAIN_ALONE, forked, grid_and_pack, lines_in, made_texts, small_grid, write_lines_in

from synthgap.core.errors import SynthgapError
from synthgap.tasks import load_profile
from synthgap.training import runs, store
from synthgap.training.grid import fan_out, run_grid
from synthgap.training.predictions import Predictions, load_predictions, read_index
from synthgap.training.runs import TaskTexts, plan_curves, plan_grid
from synthgap.training.store import LINES, find, finished_runs, loose_files, pack, packed_lines, related, run_name, save
from synthgap.training.workers import RunResult, Workers


@pytest.fixture(scope="module")
def planned():
    return small_grid()


@pytest.fixture(scope="module")
def loose(planned, tmp_path_factory):
    """A folder of runs that are not packed; not to be changed."""
    folder = tmp_path_factory.mktemp("loose") / "made" / "runs"
    run_grid(planned, folder)
    run_grid(planned[:1], folder, index="curve")
    run_grid([], folder, index="mixes")
    return folder


@pytest.fixture(scope="module")
def packed(loose, tmp_path_factory):
    """The same, packed; not to be changed."""
    folder = tmp_path_factory.mktemp("packed") / "made" / "runs"
    shutil.copytree(loose, folder)
    pack(folder)
    return folder


@pytest.fixture
def folder(packed, tmp_path):
    """A packed folder to be changed at will."""
    return shutil.copytree(packed, tmp_path / "made" / "runs")


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def edit(path, change) -> None:
    """Change a packed table, as somebody's program might."""
    frame = pd.read_parquet(path)
    change(frame)
    frame.to_parquet(path)


# ------------------------------------------------------------------------------------------------------------ packing


def test_packed_runs_are_the_loose_ones(planned, loose, packed):
    assert not list(packed.glob("loose/*"))
    tasks = ("humor", "sms_spam", "tweet_irony")
    files = {f"{task}{kind}.parquet" for task in tasks for kind in ("", ".probabilities")}
    assert set(contents(packed)) == files | {"grid.csv", "curve.csv", "mixes.csv", LINES}
    for run in planned:
        one, other = find(loose, run.name), find(packed, run.name)
        assert one.about == other.about
        kept = one.table()[["items", "id", "label", "predicted"]].astype(str)
        assert kept.equals(other.table().astype(str))
    assert finished_runs(packed) == finished_runs(loose) == sorted(run.name for run in planned)


def test_a_task_has_one_table_of_items_by_runs(planned, packed):
    table = pd.read_parquet(packed / "humor.parquet")
    humor = [run for run in planned if run.task == "humor"]
    assert set(table.columns) == {"items", "id", "label", *(run.name for run in humor)}
    assert table["id"].tolist() == humor[0].test["id"].tolist()
    texts = {text.encode() for run in planned for text in run.test["text"]}
    written = b"".join(contents(packed).values())
    assert not [text for text in texts if text in written]


def test_a_line_says_what_a_run_is_in_a_fixed_order(planned, packed, tmp_path):
    lines = [json.loads(line) for line in lines_in(packed).splitlines()]
    assert len(lines) == 27
    for key in ("settings", "identity", "scores", "seed", "train_seconds", "peak_memory_mb", "versions", "n_train"):
        assert all(key in line for line in lines)
    assert lines == sorted(lines, key=lambda line: (line["task"], line["classifier"], line["corpus"], line["seed"]))
    store.write_lines(tmp_path, reversed(lines))
    assert (tmp_path / LINES).read_bytes() == (packed / LINES).read_bytes()


def test_probabilities_are_kept_in_three_decimals_for_the_grid_alone(loose, tmp_path):
    folder = shutil.copytree(loose, tmp_path / "made" / "runs")
    index = pd.read_csv(folder / "grid.csv")
    others = index["run"][::2].tolist()
    index[1::2].to_csv(folder / "grid.csv", index=False)
    index[::2].to_csv(folder / "curve.csv", index=False)
    pack(folder)
    for name in index["run"]:
        exact, kept = find(loose, name).probabilities, find(folder, name, probabilities=True).probabilities
        if name in others:
            assert kept is None
        else:
            np.testing.assert_allclose(kept, exact, atol=0.00051)
            np.testing.assert_allclose(kept, kept.round(3), atol=1e-6)


def test_packed_runs_are_found_and_not_trained_again(planned, folder, monkeypatch):
    before = contents(folder)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("trained again"))
    assert not run_grid(planned, folder)["trained_now"].any()
    pack(folder)
    assert contents(folder) == before


def test_earlier_runs_are_kept_and_nothing_is_trained_twice(planned, folder, monkeypatch):
    run_grid(planned[:6], folder)
    files = pack(folder)
    assert {path.name for path in files} == set(contents(folder))
    assert finished_runs(folder) == sorted(run.name for run in planned)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("trained again"))
    run_grid(planned, folder)
    assert all(find(folder, run.name, probabilities=True).probabilities is not None for run in planned)


# -------------------------------------------------------------------------------------------- never under another name


def swap_columns(folder, one, other) -> None:
    def change(frame):
        frame[[one, other]] = frame[[other, one]].to_numpy()

    edit(folder / "sms_spam.parquet", change)


def swap_names(folder, one, other) -> None:
    lines = lines_in(folder)
    write_lines_in(folder, lines.replace(one, "?").replace(other, one).replace("?", other))


def swap_what_they_say(folder, one, other) -> None:
    lines = [json.loads(line) for line in lines_in(folder).splitlines()]
    first, second = (next(line for line in lines if line["run"] == name) for name in (one, other))
    for key in ("identity", "predictions_sha256", "probabilities_sha256", "scores"):
        first[key], second[key] = second[key], first[key]
    write_lines_in(folder, "".join(f"{json.dumps(line)}\n" for line in lines))


def change_a_label(folder, one, other) -> None:
    def change(frame):
        for name in (one, other):
            labels = frame[name].astype(str)
            labels[0] = {"ham": "spam", "spam": "ham"}[labels[0]]
            frame[name] = labels

    edit(folder / "sms_spam.parquet", change)


def change_an_id(folder, one, other) -> None:
    edit(folder / "sms_spam.parquet", lambda frame: frame.__setitem__("id", frame["id"] + "x"))


def cut(folder, one, other) -> None:
    path = folder / "sms_spam.parquet"
    path.write_bytes(path.read_bytes()[:500])


def remove(folder, one, other) -> None:
    (folder / "sms_spam.parquet").unlink()


@pytest.mark.fault(
    "Runs",
    "packed runs that were swapped, edited or torn",
    "they are noticed, not believed, and trained again",
    costs="those trainings",
)
@pytest.mark.parametrize(
    "damage", [swap_columns, swap_names, swap_what_they_say, change_a_label, change_an_id, cut, remove]
)
def test_a_packed_run_that_is_another_or_is_torn_is_noticed_and_trained_again(planned, packed, folder, damage, capsys):
    spam = [run for run in planned if run.task == "sms_spam"]
    tables = {run.name: find(packed, run.name).table() for run in spam}
    one = spam[0]
    other = next(run for run in spam if not tables[run.name]["predicted"].equals(tables[one.name]["predicted"]))
    damage(folder, one.name, other.name)
    torn = {run.name for run in planned if find(folder, run.name) is None}
    assert {one.name, other.name} <= torn <= {run.name for run in spam}
    with pytest.raises(SynthgapError, match="is missing or torn; run the stage 02_training again"):
        read_index(folder)
    index = run_grid(planned, folder)
    assert set(index["run"][index["trained_now"]]) == torn
    assert f"run {one.name} is torn and is trained again" in "".join(capsys.readouterr())
    pack(folder)
    for name, table in tables.items():
        assert find(folder, name).table().equals(table)


OTHER_SHAPES = [
    *([], "a", 1, None, {}),
    *({"identity": []}, {"identity": {"labels": "ab"}}, {"identity": None}, {"scores": [1]}, {"scores": {"f1": "x"}}),
    *({"seed": "0"}, {"n_train": None}, {"classifier": ["c"]}, {"corpus": {}}, {"task": "humor"}, {"run": ["x"]}),
]


@pytest.mark.parametrize("shape", OTHER_SHAPES, ids=str)
def test_a_run_that_says_something_of_another_shape_is_none(loose, planned, tmp_path, shape):
    run, folder = planned[0], tmp_path / "made" / "runs"
    predictions, about = loose_files(loose, run.name)
    (folder / "loose").mkdir(parents=True)
    said = json.loads(about.read_text()) | shape if isinstance(shape, dict) and shape else shape
    shutil.copy(predictions, folder / "loose")
    (folder / "loose" / about.name).write_text(json.dumps(said))
    write_lines_in(folder, json.dumps(said))
    shutil.copy(predictions, folder / f"{run.task}.parquet")
    assert find(folder, run.name) is None
    assert packed_lines(folder) == {}
    pack(folder)
    assert not list((folder / "loose").glob("*.json"))


def test_of_a_torn_file_of_lines_the_whole_lines_are_read(packed, tmp_path):
    """Random bytes make the file long enough that a part of it can be unpacked."""
    said = [line | {"more": os.urandom(30_000).hex()} for line in map(json.loads, lines_in(packed).splitlines())]
    store.write_lines(tmp_path, said)
    whole = (tmp_path / LINES).read_bytes()
    (tmp_path / LINES).write_bytes(whole[: len(whole) // 2])
    assert 0 < len(packed_lines(tmp_path)) < len(said)
    (tmp_path / LINES).write_bytes(b"no gzip")
    assert packed_lines(tmp_path) == {}


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\\x00"])
def test_what_is_no_json_is_no_run(loose, planned, tmp_path, text):
    folder = tmp_path / "made" / "runs"
    (folder / "loose").mkdir(parents=True)
    (folder / "loose" / f"{planned[0].name}.json").write_text(text)
    write_lines_in(folder, text)
    assert find(folder, planned[0].name) is None
    assert packed_lines(folder) == {}


def test_a_run_of_a_crafted_task_is_written_nowhere(loose, planned, tmp_path):
    folder, run = tmp_path / "made" / "runs", find(loose, planned[0].name)
    identity = run.about["identity"] | {"task": "../../../out"}
    name = run_name(identity)
    save(
        folder, dataclasses.replace(run, about=run.about | {"run": name, "task": "../../../out", "identity": identity})
    )
    assert find(folder, name) is None
    pack(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_a_worker_sends_is_written_under_the_runs_own_name(planned, tmp_path, monkeypatch):
    files = {"../../out": b"x", "/tmp/out": b"x", f"{planned[0].name}.json": b"{}", "other.json": b"x"}  # noqa: S108
    sent = RunResult(planned[0].name, True, files=files)
    monkeypatch.setattr("synthgap.training.grid.train_in_processes", lambda *_: [sent])
    assert list(fan_out(planned[:1], tmp_path / "a" / "runs", Workers(1))) == [sent]
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if ".locks" not in path] == [f"a/runs/loose/{planned[0].name}.json"]


def test_swapped_probabilities_are_not_believed(planned, folder):
    one, other = (run.name for run in planned[:2])
    path = folder / f"{planned[0].task}.probabilities.parquet"
    assert find(folder, one, probabilities=True)

    def change(frame):
        names = [f"{run} {label}" for run in (one, other) for label in ("ham", "spam")]
        frame[names] = frame[[*names[2:], *names[:2]]].to_numpy()

    edit(path, change)
    assert find(folder, one)
    assert find(folder, one, probabilities=True) is None


# ------------------------------------------------------------------------------------------------- kills and processes


def nothing_is_lost(planned, folder, ended) -> None:
    """Every run is there, and packing once more ends as an undisturbed packing does."""
    assert all(find(folder, run.name) for run in planned)
    assert not run_grid(planned, folder)["trained_now"].any()
    pack(folder)
    assert contents(folder) == ended
    assert not list(folder.glob("loose/*"))
    assert not list(folder.glob(".*.tmp"))


@pytest.fixture(scope="module")
def few(planned, tmp_path_factory):
    """A seed of each task and corpus: its runs, a folder of them that are not packed, and what packing leaves there."""
    whole, folder = (tmp_path_factory.mktemp("few") / "made" / "runs" for _ in range(2))
    run_grid(planned[::3], folder)
    pack(shutil.copytree(folder, whole))
    return planned[::3], folder, contents(whole)


@pytest.mark.fault("Runs", "a kill while runs are packed", "every run is found again")
def test_a_kill_at_a_random_moment_of_packing_loses_nothing(few, tmp_path):
    runs, loose, ended = few
    assert len({(run.task, run.corpus) for run in runs}) == len(runs) == 9
    chance = random.Random(0)
    started = time.perf_counter()
    pack(shutil.copytree(loose, tmp_path / "whole" / "runs"))
    seconds = time.perf_counter() - started
    for trial in range(4):
        folder = shutil.copytree(loose, tmp_path / f"made{trial}" / "runs")
        for _ in range(2):  # and once more on what the first kill left
            process = forked(pack, folder)
            time.sleep(chance.uniform(0, seconds))
            process.kill()
            process.join()
        nothing_is_lost(runs, folder, ended)


def killed_at(step: int, folder) -> None:
    """Pack, and end without any tidying up just before file number `step` is put into place or removed."""
    steps = iter(range(step))

    def counted(original):
        def act(*given, **named):
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        return act

    for name in ("replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    pack(folder)


@pytest.mark.parametrize("step", [0, 1, 3, 5, 11, 12, 13, 14, 15, 16, 22, 31])
def test_a_kill_between_any_two_files_loses_nothing(few, tmp_path, step):
    runs, loose, ended = few
    folder = shutil.copytree(loose, tmp_path / "made" / "runs")
    process = forked(killed_at, step, folder)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    nothing_is_lost(runs, folder, ended)


def test_what_a_kill_left_of_a_run_is_removed_unless_it_is_being_trained(planned, folder):
    left, busy = "a" * 20, "b" * 20
    (folder / "loose").mkdir(exist_ok=True)
    for name in (left, busy):
        (folder / "loose" / f"{name}.parquet").write_bytes(b"torn")
        (folder / "loose" / f".{name}.x.json.tmp").write_bytes(b"torn")
    with store.lock(folder, busy):
        pack(folder)
    assert sorted(path.name for path in folder.glob("loose/*")) == [f".{busy}.x.json.tmp", f"{busy}.parquet"]


def test_two_processes_train_and_pack_in_one_folder(planned, packed, tmp_path):
    folder = tmp_path / "made" / "runs"
    processes = [forked(grid_and_pack, folder) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert finished_runs(folder) == finished_runs(packed)
    assert not list(folder.glob("loose/*"))
    for run in planned:
        assert find(folder, run.name).table().equals(find(packed, run.name).table())


# ----------------------------------------------------------------------------------------------- other data and folders


def test_runs_on_other_data_lie_in_one_file(planned, folder):
    profile = load_profile("smoke", {"tasks": ["sms_spam"], "training.seeds": [0], "data.test_texts_per_label": 7})
    fewer = plan_grid(profile, made_texts(profile))
    before = {run.name: find(folder, run.name).table() for run in planned}
    index = run_grid(fewer, folder)
    assert index["trained_now"].all()
    pack(folder)
    table = pd.read_parquet(folder / "sms_spam.parquet")
    assert table["id"].tolist()[: len(fewer[0].test)] == fewer[0].test["id"].tolist(), "those of the grid come first"
    (found,) = load_predictions(folder)
    assert found.ids.tolist() == fewer[0].test["id"].tolist()
    for name, expected in before.items():
        again = find(folder, name).table().set_index("id").loc[expected["id"]].reset_index()
        assert again[expected.columns].equals(expected)


def test_a_variant_finds_the_runs_of_its_base_and_of_other_variants(planned, packed, tmp_path, monkeypatch):
    base = shutil.copytree(packed, tmp_path / "made" / "runs")
    variant, other = tmp_path / "made-one" / "runs", tmp_path / "made-two" / "runs"
    assert set(related(variant)) == {base} == set(related(variant.with_name("runs")))
    before = contents(base)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("trained again"))
    run_grid(planned[:20], variant)
    pack(variant)
    shutil.rmtree(base.parent)
    assert len(read_index(variant)) == 20, "the variant has runs of its own now"
    run_grid(planned[:20], other)
    assert before.keys() == contents(packed).keys()
    assert related(tmp_path / "made-one" / "elsewhere") == []
    with pytest.raises(pytest.fail.Exception):
        run_grid(planned[:1], tmp_path / "another" / "runs")


# ------------------------------------------------------------------------------------------------------------- reading


def test_predictions_are_those_of_the_runs(planned, packed):
    found = load_predictions(packed)
    assert [(one.task, one.classifier) for one in found] == [
        (task, "c") for task in ("sms_spam", "tweet_irony", "humor")
    ]
    for one in found:
        assert list(one.predicted) == ["real", "zero_shot", "few_shot"]
        test = next(run.test for run in planned if run.task == one.task)
        assert one.ids.tolist() == test["id"].tolist()
        assert [one.labels[place] for place in one.truth] == test["label"].tolist()
        for corpus, rows in one.predicted.items():
            same = [run for run in planned if (run.task, run.corpus) == (one.task, corpus)]
            assert one.n_train[corpus] == len(same[0].train)
            for run, places in zip(same, rows, strict=True):
                assert [one.labels[place] for place in places] == find(packed, run.name).table()["predicted"].tolist()


def test_loose_and_packed_runs_are_read_alike(loose, packed):
    for one, other in zip(load_predictions(loose), load_predictions(packed), strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert all((one.predicted[corpus] == other.predicted[corpus]).all() for corpus in one.predicted)


def test_some_items_can_be_left_out(packed):
    one = load_predictions(packed)[0]
    without = one.without([one.ids[0], "no such item"])
    assert without.ids.tolist() == one.ids[1:].tolist()
    assert (without.truth == one.truth[1:]).all()
    assert all((without.predicted[corpus] == one.predicted[corpus][:, 1:]).all() for corpus in one.predicted)


def test_annotated_texts_are_predicted_and_have_no_truth(tmp_path):
    profile = load_profile("smoke", {"tasks": ["sms_spam", "humor"], **MAIN_ALONE})
    texts = made_texts(profile)
    others = pd.DataFrame({"id": ["x-2", "x-1"], "text": ["win a free prize", "see you at noon"]})
    spam = texts["sms_spam"]
    texts["sms_spam"] = TaskTexts(spam.real, spam.corpora, SimpleNamespace(texts=others))
    folder = tmp_path / "made" / "runs"
    run_grid(plan_grid(profile, texts), folder)
    run_grid(plan_curves(profile, texts), folder, index="curve")
    pack(folder)
    for index, corpora in (
        ("grid", {"real", "zero_shot", "few_shot"}),
        ("curve", {"real 15", "zero_shot 15", "few_shot 15"}),
    ):
        (found,) = load_predictions(folder, index, items="annotated")
        assert (found.task, found.ids.tolist(), found.truth.tolist()) == ("sms_spam", ["x-2", "x-1"], [-1, -1])
        assert set(found.predicted) == set(found.n_train) == corpora
        assert found.predicted[min(corpora)].shape == (2, 2)
    tests = load_predictions(folder)
    assert [one.task for one in tests] == ["sms_spam", "humor"]
    assert not set(others["id"]) & set(tests[0].ids)
    points = load_predictions(folder, "curve")[0].predicted
    assert set(points) == {f"{corpus} {size}" for corpus in ("real", "zero_shot", "few_shot") for size in (5, 15)}


def test_each_comparison_is_read_by_its_name(tmp_path):
    comparisons = {"first": {"corpora": ["few_shot"]}, "second": {"corpora": ["real"], "reference": "zero_shot"}}
    profile = load_profile("smoke", {"tasks": ["humor"], "comparisons": comparisons, "training.curve": None})
    planned = plan_grid(profile, made_texts(profile))
    run_grid(planned, tmp_path)
    names = {
        one: [list(found.predicted) for found in load_predictions(tmp_path, comparison=one)] for one in comparisons
    }
    assert names == {"first": [["real", "few_shot"]], "second": [["zero_shot", "real"]]}
    assert list(load_predictions(tmp_path)[0].predicted) == ["real", "few_shot"]
    assert len({run.name for run in planned}) == len(planned) * 3 // 4, "the real runs are shared"


def test_runs_on_other_items_are_refused(planned, folder):
    profile = load_profile("smoke", {"tasks": ["sms_spam"], "training.seeds": [0], "data.test_texts_per_label": 7})
    fewer = plan_grid(profile, made_texts(profile))
    run_grid([*planned[:6], *fewer[1:]], folder)
    index = pd.read_csv(folder / "grid.csv").assign(classifier="c")
    index.to_csv(folder / "grid.csv", index=False)
    with pytest.raises(SynthgapError, match="predicted other items than the first run of task 'sms_spam'"):
        load_predictions(folder)


def test_an_index_without_runs_has_no_predictions(packed):
    assert load_predictions(packed, "mixes") == []
    assert isinstance(load_predictions(packed, "curve")[0], Predictions)
