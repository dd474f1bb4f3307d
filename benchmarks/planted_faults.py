"""How many planted faults are named, and how many sound files raise an alarm: 100 files of each.

Files are drawn from the recorded texts and, with --data, from real ones; without, bundled stand-ins are the real side.
Even and odd seeds draw from other recordings and other real texts, and plant other tokens, templates and languages.
The limits of the checks were chosen on seeds 0 to 4, whose texts later seeds draw anew; report later ones.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import on_all_cores
from scipy.special import softmax
from scipy.stats import norm

from synthgap.core.config import GenerationSettings, Profile
from synthgap.data.draws import at_most, draw_equal
from synthgap.data.real import load_real
from synthgap.generation.corpora import from_recording
from synthgap.llm.backends import connect
from synthgap.tables import to_markdown
from synthgap.tasks import load_profile, load_task, paper_tasks
from synthgap.your_task.checks import LEVEL, SHARPNESS, changed_likelihood, find_faults, left_out_scores

FILES = 100
ALONE = 4  # of so many files one has no real texts beside it, where the fault can be seen without
TOKENS = (["lol", "→", "#ad", "[1]", "furthermore"], ["tbh", "🔥", "#sponsored", "(c)", "notably"])
MARKS = (["!!", ";", "..."], ["?!", "—", "*"])
TEMPLATES = (
    ["Honestly the {} made me think about {} and nothing else all day .", "Today I read about {} , then about {} ."],
    ["When it comes to {} , there is no way around {} these days .", "Who knew that {} could have to do with {} ?"],
)
SENTENCES = (  # openings and endings in the languages of even and of odd seeds
    {
        "German": (
            "Die Nachbarn haben gestern mit der Katze|Der Zug ist von dem Bahnhof|Meine Schwester hat für das Fest",
            "gespielt und das Haus verlassen|abgefahren und nicht angekommen|gekauft und der Mutter gezeigt",
        ),
        "Polish": (
            "Moja siostra nie jest w domu i się|Pociąg do Krakowa jest dla mnie od rana|Po pracy nie idę do sklepu i",
            "śmieje|bardzo ważne|się nie spieszy|pada deszcz",
        ),
    },
    {
        "Spanish": (
            "Mi hermana compró el libro en la tienda y los|El tren de la mañana no llega a la ciudad con|Las flores",
            "vecinos del barrio están contentos|mucha gente de la oficina|para la abuela que vive en el pueblo",
        ),
        "French": (
            "Le train de la ville est en retard pour les|Une amie de ma mère est dans le jardin avec|Les enfants sont",
            "voyageurs fatigués|les fleurs de la voisine|sur la place du village et personne ne sait pourquoi",
        ),
    },
)


class File:
    """A file that is being made: its texts, the real and the test texts beside it, and what is drawn at random."""

    def __init__(self, task: str, source: str, seed: int, number: int) -> None:
        self.random = np.random.default_rng([seed, number])
        self.half = seed % 2
        per_label = int(np.exp(self.random.uniform(np.log(50), np.log(500))))
        self.texts = self._draw(made_texts(task, source, self.half), per_label)
        self.real: pd.DataFrame | None = self._draw(real_texts(task, "beside", self.half), per_label)
        self.test: pd.DataFrame | None = at_most(real_texts(task, "test", self.half), 150)
        if self.half_is_small(self.real):  # the real texts of some sets are all in lower case
            self.texts["text"] = self.texts["text"].str.lower()
        elif self.half_is_small(self.texts):
            self.real["text"], self.test["text"] = self.real["text"].str.lower(), self.test["text"].str.lower()

    def _draw(self, frame: pd.DataFrame, per_label: int) -> pd.DataFrame:
        size = min(per_label, int(frame["label"].value_counts().min()))
        sizes = dict.fromkeys(sorted(set(frame["label"])), size)
        return draw_equal(frame, sizes, int(self.random.integers(2**31)))[["text", "label"]]

    @staticmethod
    def half_is_small(frame: pd.DataFrame) -> bool:
        return bool((frame["text"] == frame["text"].str.lower()).mean() > 0.5)

    def some(self, share: float, label: str | None = None) -> pd.Index:
        """Rows of the file, or of a label, drawn at random."""
        rows = self.texts.index if label is None else self.texts.index[self.texts["label"] == label]
        return pd.Index(self.random.choice(rows, max(1, round(share * len(rows))), replace=False))

    def change(self, rows: pd.Index, to: Callable[[str], str]) -> None:
        self.texts.loc[rows, "text"] = [to(text) for text in self.texts.loc[rows, "text"]]

    @property
    def label(self) -> str:
        """One of the labels."""
        labels = sorted(set(self.texts["label"]))
        return labels[self.random.integers(len(labels))]

    def one_of(self, choices: Any) -> Any:
        return choices[self.random.integers(len(choices))]


@functools.cache
def profile() -> Profile:
    return load_profile("recorded" if os.environ.get("SYNTHGAP_DATA") else "demo")


@functools.cache
def real_frame(task: str) -> pd.DataFrame:
    return load_real(load_task(task), profile()).frame


@functools.cache
def real_texts(task: str, part: str, half: int) -> pd.DataFrame:
    """Real texts that are the file itself, beside it, or its test; the test is the same for all seeds."""
    frame = real_frame(task)
    if part == "test":
        return frame[frame["split"] == "test"]
    train = frame[frame["split"] == "train"]
    order = train.groupby("label").cumcount()
    if profile().data.source == "bundled":  # too few to be halved
        return train if part == "beside" else train.iloc[:0]
    return train[order % 4 == 2 * half + (part == "beside")]


@functools.cache
def made_texts(task: str, source: str, half: int) -> pd.DataFrame:
    if source == "real":
        return real_texts(task, "file", half)
    demo = load_profile("demo")
    data, numbers = load_real(load_task(task), demo), ((2, 3), (1,))[half]
    return from_recording(data, source, source, connect(demo.llms["claude"]), GenerationSettings(), numbers).texts


# ---------------------------------------------------------------------------------------------------------- faults


def flip(file: File, rate: float) -> None:
    labels = sorted(set(file.texts["label"]))
    for row in file.some(rate):
        file.texts.loc[row, "label"] = file.one_of([one for one in labels if one != file.texts.loc[row, "label"]])


def token(file: File, rate: float, pool: Any = TOKENS) -> None:
    sign, place = file.one_of(pool[file.half]), file.one_of(["first", "last", "anywhere"])

    def put(text: str) -> str:
        words = text.split()
        at = {"first": 0, "last": len(words)}.get(place, int(file.random.integers(len(words) + 1)))
        return " ".join([*words[:at], sign, *words[at:]])

    file.change(file.some(rate, file.label), put)


def mark(file: File, rate: float) -> None:
    sign = file.one_of(MARKS[file.half])
    file.change(file.some(rate, file.label), lambda text: text.rstrip(".!? ") + sign)


def letter_case(file: File, rate: float) -> None:
    small = file.half_is_small(file.texts)
    ways = [str.upper, str.title] if small else [str.upper, str.title, str.lower]
    file.change(file.some(rate, file.label), file.one_of(ways))


def copies(file: File, rate: float) -> None:
    rows, near = file.some(rate), file.random.random() < 0.5
    chosen = file.random.choice(len(file.test), len(rows), replace=len(rows) > len(file.test))
    file.texts.loc[rows, ["text", "label"]] = file.test[["text", "label"]].to_numpy()[chosen]
    if near:
        file.change(rows, lambda text: " ".join(text.split()[:-1]) + " indeed" if len(text.split()) > 8 else text)


def shares(file: File, rate: float) -> None:
    """A label keeps this share of its texts."""
    label = file.label
    gone = file.some(1 - rate, label)
    file.texts = file.texts.drop(gone).reset_index(drop=True)


def language(file: File, rate: float) -> None:
    openings, endings = (part.split("|") for part in file.one_of(list(SENTENCES[file.half].values())))

    def foreign(_: str) -> str:
        sentences = [f"{file.one_of(openings)} {file.one_of(endings)}." for _ in range(int(file.random.integers(1, 4)))]
        return " ".join(sentences)

    file.change(file.some(rate), foreign)


def template(file: File, rate: float) -> None:
    pattern = file.one_of(TEMPLATES[file.half])
    words = [word for text in file.texts["text"] for word in text.split() if len(word) > 4]
    file.change(file.some(rate), lambda _: pattern.format(file.one_of(words), file.one_of(words)))


def truncate(file: File, rate: float) -> None:
    way = file.one_of(["words", "letters", "limit"])
    limit = int(file.texts["text"].str.len().quantile(0.3))

    def cut(text: str) -> str:
        share = file.random.uniform(0.4, 0.9)
        words = text.split()
        return {
            "words": " ".join(words[: max(1, int(share * len(words)))]),
            "letters": text[: max(5, int(share * len(text)))],
            "limit": text[:limit],
        }[way]

    file.change(file.some(rate), cut)


def label_words(file: File, rate: float) -> None:
    way = file.one_of(["{0}: {1}", "[{0}] {1}", "{1} #{0}", "{1} ({0})"])
    for row in file.some(rate):
        file.texts.loc[row, "text"] = way.format(file.texts.loc[row, "label"], file.texts.loc[row, "text"])


def lower_case(file: File, rate: float) -> None:
    """One side in lower case and the other not; of sets that are in lower case the file is not."""
    if file.half_is_small(file.real):
        file.change(file.texts.index, str.capitalize)
    elif file.random.random() < 0.5:
        file.change(file.texts.index, str.lower)
    else:
        file.real["text"] = file.real["text"].str.lower()


FAULTS: dict[str, tuple[Callable[[File, float], None], tuple[float, ...], int]] = {  # {name: (how, rates, files)}
    "flipped labels": (flip, (0.05, 0.1, 0.2), 15),
    "token": (token, (0.6, 0.8, 1.0), 10),
    "mark": (mark, (0.8, 1.0), 5),
    "letter case": (letter_case, (0.8, 1.0), 9),
    "test copies": (copies, (0.03, 0.1, 0.3), 9),
    "class shares": (shares, (0.2, 0.35, 0.5), 9),
    "language": (language, (0.1, 0.3, 0.9), 9),
    "template": (template, (0.15, 0.3, 0.6), 9),
    "truncated": (truncate, (0.5, 1.0), 9),
    "label words": (label_words, (0.05, 0.2, 0.5), 8),
    "lower case": (lower_case, (1.0,), 8),
}
NAMED_AS = {"mark": "token"}
NEED_REAL = {"test copies", "class shares", "lower case"}


def judge(number: int, kind: str, rate: float, task: str, source: str, seed: int) -> dict[str, Any]:
    """What is found in one file; kind "" is a sound one."""
    file = File(task, source, seed, number)
    if kind:
        FAULTS[kind][0](file, rate)
    alone = number % ALONE == 0 and kind not in NEED_REAL and rate < 0.9
    start = time.perf_counter()
    found = find_faults(file.texts, real=None if alone else file.real, test=None if alone else file.test)
    return {
        **{"kind": kind, "rate": rate, "task": task, "source": source, "texts": len(file.texts), "alone": alone},
        **{"faults": found["fault"].tolist(), "sentences": found["sentence"].tolist()},
        "seconds": time.perf_counter() - start,
    }


def power(number: int, task: str, source: str, seed: int) -> list[float]:
    """The chance, for each rate, that labels changed in a file are found by whoever knows how sure the classifier is.

    Of the likelihood ratio of all labels (Neyman and Pearson), which is nearly normal, at the level of the check.
    """
    file = File(task, source, seed, number)
    places, scores = left_out_scores(pd.concat([file.texts, file.real], ignore_index=True))
    sharpness = SHARPNESS[changed_likelihood(places, scores)[:, 0].argmax()]
    sound, found = softmax(sharpness * scores[: len(file.texts)], axis=1), []
    for rate in FAULTS["flipped labels"][1]:
        changed = (1 - rate) * sound + rate * (1 - sound) / (sound.shape[1] - 1)
        ratio = np.log(changed / sound)
        means, spreads = zip(*(_moments(chances, ratio) for chances in (sound, changed)), strict=True)
        found.append(float(norm.sf((means[0] + norm.isf(LEVEL) * spreads[0] - means[1]) / spreads[1])))
    return found


def _moments(chances: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a sum over texts, each of which has one of the values by its chances."""
    means = (chances * values).sum(axis=1)
    return float(means.sum()), float(((chances * values**2).sum() - (means**2).sum()) ** 0.5)


def planned(seed: int) -> list[tuple[int, str, float, str, str, int]]:
    """The files: tasks and sources take turns, so that each kind of fault is planted in most tasks."""
    sources = ["zero_shot", "few_shot", *(["real"] if profile().data.source != "bundled" else [])]
    kinds = [(kind, rates[at % len(rates)]) for kind, (_, rates, files) in FAULTS.items() for at in range(files)]
    tasks, rows = paper_tasks(), []
    for number, (kind, rate) in enumerate(kinds + [("", 0.0)] * FILES):
        place = number + seed
        task, source = tasks[place * 7 % len(tasks)], sources[(place // len(tasks) + place) % len(sources)]
        rows.append((number, kind, rate, task, source, seed))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of the real data sets")
    parser.add_argument("--seed", type=int, default=1, help="from 5 on to report, 0 to 4 to choose limits (default: 1)")
    parser.add_argument("--power", action="store_true", help="tell how many changed labels can be found at all")
    parser.add_argument("--show", action="store_true", help="print what was missed, and false alarms")
    given = parser.parse_args()
    if given.data:
        os.environ["SYNTHGAP_DATA"] = str(Path(given.data).resolve())
    if given.power:
        files = [(number, task, source, given.seed) for number, *_, task, source, _ in planned(given.seed)[-FILES:]]
        chances = pd.DataFrame(on_all_cores(power, files[:30]), columns=list(FAULTS["flipped labels"][1]))
        print(chances.mean().round(2).to_dict())
        return
    found = pd.DataFrame(on_all_cores(judge, planned(given.seed)))
    wanted = found["kind"].replace(NAMED_AS)
    found["named"] = [want in faults for want, faults in zip(wanted, found["faults"], strict=True)]
    faulty, sound = found[found["kind"] != ""], found[found["kind"] == ""]
    by_kind = faulty.groupby(["kind", "rate"], sort=False)["named"].agg(["size", "sum"]).reset_index()
    by_kind.columns = ["planted", "rate", "files", "named"]
    print(to_markdown(by_kind.astype(str), "Planted faults", [f"Seed {given.seed}."]))
    alarms = sound[sound["faults"].map(len) > 0]
    if given.show:
        for row in pd.concat([faulty[~faulty["named"]], alarms]).itertuples():
            print(row.kind or "sound", row.rate, row.task, row.source, row.texts, row.alone, row.sentences)
    print(
        f"of {len(faulty)} faulty files {faulty['named'].sum()} had their fault named, of {len(sound)} sound ones "
        f"{len(alarms)} raised an alarm (seed {given.seed}, {profile().data.source} texts; "
        f"{found['seconds'].median():.1f} s a file)"
    )


if __name__ == "__main__":
    main()
