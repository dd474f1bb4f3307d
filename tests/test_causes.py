"""Why there is a gap: what is found where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from synthgap.causes import decisions, labels, texts
from synthgap.causes.draws import Draw, Sample
from synthgap.causes.figures import REMEDIES, remedies
from synthgap.causes.summary import all_sections, by_task, means_over_tasks, sentence, shown
from synthgap.data.duplicates import sharing_runs
from synthgap.tasks import load_profile

LABELS = ("no", "yes")


def sample(size: int, seed: int, words: int = 8, border: float = 0.0) -> Sample:
    """As many texts of each label, whose label is the side of a border on which the first dimension lies."""
    random = np.random.default_rng(seed)
    places = np.repeat([0, 1], size)
    vectors = random.normal(scale=0.3, size=(2 * size, 6))
    vectors[:, 0] = border + np.where(places, 1, -1) * random.uniform(0.1, 1, 2 * size)
    said = [" ".join(f"w{number}" for number in random.integers(50, size=words)) for _ in places]
    ids = [f"{seed}-{number}" for number in range(2 * size)]
    frame = pd.DataFrame({"id": ids, "text": said, "label": [LABELS[place] for place in places]})
    return Sample(frame, places, vectors)


def draw(real: Sample, made: Sample, others: Sample | None = None) -> Draw:
    return Draw("humor", "zero_shot", 1, 0, LABELS, real, made, others, sample(200, 99))


def flipped(one: Sample, share: float) -> tuple[Sample, np.ndarray]:
    """The sample with the labels of a share of its texts turned round, all of them "yes" before, and which ones."""
    wrong = (one.labels == 1) & (np.random.default_rng(5).random(len(one.labels)) < 2 * share)
    return one.labelled(np.where(wrong, 1 - one.labels, one.labels)), wrong


# -------------------------------------------------------------------------------------------------------- telling apart


def test_texts_that_differ_in_length_alone_are_told_by_it_and_by_nothing_else():
    found = texts.telling_apart(draw(sample(60, 1, words=8), sample(60, 2, words=14)))
    assert found["length"] == 1
    assert found["embedding"] == pytest.approx(0.5, abs=0.12)
    for view in ("length", "surface", "embedding"):
        assert found[f"{view}_zero"] == pytest.approx(0.5, abs=0.2)


def test_length_explains_nothing_where_another_border_makes_the_gap():
    real, made = sample(60, 1), sample(60, 2, border=0.6)
    sizes = np.random.default_rng(0).integers(4, 12, 120)
    made.texts["text"] = [" ".join(["word"] * size) for size in sizes]
    found = texts.length(draw(real, made))
    assert found["gap"] < -10
    assert 0 < found["kept"] < 100
    assert found["matched"] < -5
    assert found["left"] == pytest.approx(found["gap"] - found["explained"])


def test_texts_without_a_partner_of_like_length_leave_the_gap_of_matched_texts_open():
    found = texts.length(draw(sample(20, 1, words=5), sample(20, 2, words=50)))
    assert found["kept"] == 0
    assert "matched" not in found
    assert "explained" not in found


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ([4, 9, 30], [12, 5, 10], [(4, 5), (9, 10)]),
        ([100], [109], [(100, 109)]),
        ([100], [112], []),
        ([3, 7], [7, 3], [(3, 3), (7, 7)]),
        ([5, 5, 5], [5], [(5, 5)]),
    ],
)
def test_partners_are_of_like_length_and_each_has_one(first, second, pairs):
    ours, theirs = texts.partners(np.array(first, float), np.array(second, float))
    found = zip(np.array(first)[ours].tolist(), np.array(second)[theirs].tolist(), strict=True)
    assert sorted(found) == pairs


def test_a_capitalised_corpus_is_named_by_its_capitals():
    plain = pd.DataFrame({"text": ["local man waits for bus", "town opens a new bridge"]})
    assert texts.features(plain)["begins with a capital"].tolist() == [0, 0]
    titled = pd.DataFrame({"text": plain["text"].str.title()})
    assert texts.features(titled)["every long word has a capital"].tolist() == [1, 1]
    found = pd.DataFrame(
        [("humor", "zero_shot", "digits", 0.6), ("humor", "zero_shot", "capitals", 0.1)],
        columns=["task", "corpus", "feature", "auc"],
    )
    assert texts.most_telling(found, 1)["feature"].tolist() == ["capitals"]


@pytest.mark.parametrize(("first", "second", "expected"), [([1, 2, 3], [7, 8, 9], 1.0), ([1.0], [2.0], None)])
def test_an_auc_of_too_few_rows_is_unknown(first, second, expected):
    from sklearn.linear_model import LogisticRegression

    found = texts.auc(np.array(first)[:, None], np.array(second)[:, None], LogisticRegression())
    assert np.isnan(found) if expected is None else found == expected


# -------------------------------------------------------------------------------------------------------------- labels


def test_flipped_labels_are_found_to_cost_and_inputs_are_not():
    made, wrong = flipped(sample(150, 2), 0.35)
    found = labels.labels_of(draw(sample(150, 1), made))
    assert found["gap"] < -3
    assert found["inputs"] == pytest.approx(0, abs=2)
    assert found["labels"] == pytest.approx(found["gap"] - found["inputs"])
    assert found["labels_reverse"] == pytest.approx(found["gap"] - found["inputs_reverse"])
    assert found["doubted"] == pytest.approx(100 * wrong.mean(), abs=5)
    assert found["doubted_real"] < 5


def test_a_concept_with_another_border_is_a_matter_of_labels_both_ways():
    made = sample(150, 2)
    shifted = made.labelled((made.vectors[:, 0] > 0.5).astype(int))
    found = labels.labels_of(draw(sample(150, 1), shifted))
    assert found["gap"] < -10
    assert found["labels"] < found["inputs"] - 10
    assert found["labels_reverse"] < found["inputs_reverse"] - 10


def test_cleaning_with_a_teacher_helps_where_labels_are_wrong_and_leaving_out_at_random_does_not():
    made, wrong = flipped(sample(150, 2), 0.35)
    found = labels.cleaning(draw(sample(150, 1), made, others=sample(150, 3)))
    assert found["teacher"] > found["gap"] + 2
    assert found["recordings"] > found["gap"] + 2
    assert found["relabelled"] > found["gap"] + 2
    assert found["teacher"] > found["teacher_random"] + 2
    assert found["teacher_share"] == pytest.approx(100 * wrong.mean(), abs=8)
    assert set(found) == {name for way in labels.WAYS for name, _ in labels.with_controls(way, "")} | {"gap"}


def test_without_another_recording_none_cleans():
    assert "recordings" not in labels.cleaning(draw(sample(20, 1), sample(20, 2)))


def test_confident_learning_finds_the_labels_that_were_turned_round():
    one, wrong = flipped(sample(100, 1), 0.2)
    found = labels.issues(one.labels, one.fold_probabilities(2))
    assert (found & wrong).sum() > 0.8 * wrong.sum()
    assert (found & ~wrong).sum() < 0.1 * len(wrong)


def test_as_many_of_each_label_are_left_out_at_random():
    one = draw(sample(20, 1), sample(20, 2))
    left_out = np.arange(40) < 5
    assert np.bincount(one.at_random(left_out).labels).tolist() == [15, 20]


def test_what_has_one_label_alone_or_one_text_of_it_still_gives_an_answer():
    one = sample(10, 1)
    single = one.take(one.labels == 1)
    assert set(single.probe.predict(one.vectors)) == {1}
    lone = one.take(np.r_[0, 10:20])
    assert lone.fold_probabilities(2).argmax(axis=1).tolist() == lone.labels.tolist()
    assert not labels.doubted_by_both(lone, 2).any()


def test_doubts_are_ordered_and_the_llms_own_reading_is_set_beside_them(tmp_path, monkeypatch):
    profile = load_profile("demo", {"corpora.zero_shot.repeats": [1, 2, 3]})
    blind = labels.blind_labels(profile)
    assert set(blind["corpus"]) == {"zero_shot", "few_shot"}
    own = blind[(blind["task"] == "humor") & (blind["corpus"] == "zero_shot")]
    assert len(own) == 72
    corpus = own.assign(id=[f"t{number}" for number in range(72)], text="").drop(columns=["relabelled", "task"])
    monkeypatch.setattr(labels, "load_corpus", lambda *_: corpus)
    found = labels.confirmed(own, pd.DataFrame({"id": ["t3", "t5", "elsewhere"]}), profile, tmp_path)
    assert found.iloc[0][["texts", "confirmed", "doubted", "doubted_confirmed"]].tolist() == [72, 100, 2, 2]
    assert 90 < found["low"][0] < 100
    assert "Of the 2 that the teacher doubts it confirms 2" in labels.confirmed_in_words(found)
    assert "read none" in labels.confirmed_in_words(found.iloc[:0])


def test_imported_texts_are_never_shown(tmp_path):
    profile = load_profile("demo", {"corpora.theirs": {"file": "x.csv"}})
    found = pd.DataFrame([("humor", "theirs", "id", "a", "b", 0.9, 1)], columns=labels.DISAGREEMENTS)
    assert "No label of a generated text" in labels.show_disagreements(found, profile, tmp_path).data


# ----------------------------------------------------------------------------------------------------------- decisions


def test_known_shares_move_a_border_that_is_off():
    found = decisions.bias(draw(sample(150, 1), sample(150, 2, border=0.5)))
    assert found["off"] > 10
    assert found["off_real"] < 3
    assert found["gap"] < -10
    assert found["told"] > found["gap"] + 8


def test_shares_are_what_was_asked_for_and_the_order_stays():
    guessed = np.random.default_rng(0).dirichlet([2, 1, 1], 200)
    scaled = decisions.with_shares(guessed, np.array([0.2, 0.3, 0.5]))
    assert scaled.mean(axis=0) == pytest.approx([0.2, 0.3, 0.5], abs=1e-3)
    assert scaled.sum(axis=1) == pytest.approx(1)
    odds = [one[:, 0] / one[:, 1] for one in (guessed, scaled)]
    assert np.corrcoef(np.log(odds))[0, 1] > 0.99


def test_a_calibrated_classifier_has_no_calibration_error_and_a_boaster_has():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 50_000)
    right = random.random(50_000) < confidence
    assert decisions.calibration_error(confidence, right) < 1
    boasting = np.full(1000, 0.99)
    assert decisions.calibration_error(boasting, np.arange(1000) < 700) == pytest.approx(29)
    bins = decisions.reliability(np.array([0.92, 0.98, 1.0, 0.62]), np.array([1, 1, 0, 1]))
    assert bins["bin"].tolist() == [6, 9]
    assert bins["share"].tolist() == [0.25, 0.75]


# ----------------------------------------------------------------------------------------------------------- recitation


@pytest.mark.parametrize(
    ("text", "recites"),
    [
        ("He said: the CAT sat, on the mat!", True),
        ("the cat sat on the rug", False),
        ("cat sat on the mat", False),
        ("", False),
        ("mat the on sat cat the", False),
    ],
)
def test_a_text_recites_that_shares_six_words_in_a_row(text, recites):
    assert sharing_runs([text], ["Yesterday the cat sat on the mat."]).tolist() == [recites]


def test_shares_of_recited_texts_are_by_recording_and_split():
    found = pd.DataFrame({"task": "humor", "corpus": "few_shot", "recording": [1, 1, 2, 2], "id": list("abcd")})
    found = found.assign(train=[True, False, True, True], test=False)
    shares = texts.recited_shares(found).set_index(["measure", "recording"])["value"]
    assert shares["train"].to_dict() == {1: 50, 2: 100}
    assert shares["test"].to_dict() == {1: 0, 2: 0}


def test_recited_texts_are_left_out():
    one = draw(sample(20, 1), sample(20, 2))
    found = texts.without_recited(one, {"zero_shot": {"2-0", "2-1", "elsewhere"}})
    assert found["share"] == 5
    assert texts.without_recited(one, {})["without"] == pytest.approx(found["gap"])


# ------------------------------------------------------------------------------------------------------------- summary


def values(recordings: int, draws: int, tasks: int = 4) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        (f"task {task}", "few_shot", "gap", recording, number, -5 + task + random.normal())
        for task in range(tasks)
        for recording in range(1, recordings + 1)
        for number in range(draws)
    ]
    return pd.DataFrame(rows, columns=["task", "corpus", "measure", "recording", "draw", "value"])


@pytest.mark.parametrize(
    ("recordings", "draws", "these", "new"),
    [(1, 1, False, False), (1, 3, True, False), (3, 1, False, True), (3, 2, True, True)],
)
def test_intervals_are_of_what_there_is(recordings, draws, these, new):
    found, table = by_task(values(recordings, draws)), values(recordings, draws)
    assert found["value"].tolist() == pytest.approx(table.groupby("task")["value"].mean().tolist())
    for ends, known in ((["low", "high"], these), (["new_low", "new_high"], new)):
        assert found[ends].notna().all(axis=None) == known
    over = means_over_tasks(table)
    assert over["tasks"].tolist() == [4]
    assert over["low"][0] < over["value"][0] < over["high"][0]
    assert over["new_low"].notna().all() == (recordings > 1)
    target = "new recordings" if recordings > 1 else "this recording alone"
    assert target in sentence(over, {"gap": "gap"}, {"few_shot": "Few-shot"})


def test_one_task_has_no_mean_over_tasks_and_nothing_gives_empty_tables():
    over = means_over_tasks(values(1, 3, tasks=1))
    assert over.empty
    assert "two tasks at least" in sentence(over, {"gap": "gap"}, {})
    nothing = by_task(values(1, 1, tasks=0))
    assert shown(nothing, {"gap": "gap"}).empty
    assert remedies(all_sections({"length": over})).empty


def test_remedies_come_in_the_order_of_the_figure():
    over = means_over_tasks(values(3, 2))
    every = pd.concat([over.assign(section=section, measure=measure) for section, measure in reversed(REMEDIES)])
    assert remedies(every)["remedy"].tolist() == list(REMEDIES.values())
    means = {"cleaning": over.assign(measure="teacher"), "length": over.assign(measure="kept")}
    assert remedies(all_sections(means))["remedy"].tolist() == [REMEDIES["cleaning", "teacher"]]
