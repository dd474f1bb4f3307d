"""What strategies cost in money and time: until the classifier is there, and for a million predictions.

Tokens are estimated from the length of texts and prompts; where a live LLM was asked, its log tells them, and the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.core.config import GeneratedCorpus, LabelledCorpus, Profile
from synthgap.core.settings import TfidfSettings
from synthgap.decision.winners import TITLES
from synthgap.evaluation import llm_as_classifier
from synthgap.evaluation.learning_curves import at_one_size
from synthgap.evaluation.scores import METRIC
from synthgap.generation.labelling import CONTEXT, REQUEST
from synthgap.llm.response_log import LABELLING, ResponseLog
from synthgap.tables import bounded, matching
from synthgap.tasks import Task
from synthgap.training.base import NO_TEXTS, Texts
from synthgap.training.classifiers import fit_predict
from synthgap.training.runs import TaskTexts
from synthgap.training.store import packed_lines
from synthgap.training.strategies import ALONE, FEW_SHOT, JOIN, LABELS, ZERO_SHOT

LETTERS = 4  # of a token: about as many as English text has
ANSWERED = 3  # tokens of a label
WORDS = TfidfSettings(kind="tfidf")
MILLION = 1_000_000
LLM = "the LLM itself"
TOKENS = ["task", "corpus", "part", "classes", "prompt_tokens", "completion_tokens"]
COSTS = ["classifier", "real_labels", "strategy", "tasks", METRIC, "people", "llm", "machine", "cost", "million"]
SPEEDS = ["classifier", "device", "runs", "train_texts_per_second", "predict_texts_per_second", "million_hours"]
BREAK_EVEN = ["task", "classifier", "corpus", "texts_per_label", "text_price", "worth", "least", "most", "low", "high"]


@dataclass(frozen=True)
class Prices:
    """In one currency; any of them may be 0.

    Attributes:
        human_label: of one text that people label, whatever it takes to agree.
        prompt_tokens, completion_tokens: of a million of the LLM's.
        machine_hour: of the machine that trains and predicts.
    """

    human_label: float
    prompt_tokens: float
    completion_tokens: float
    machine_hour: float

    def of_llm(self, tokens: pd.DataFrame) -> pd.Series:
        """What the tokens of each row cost."""
        paid = tokens["prompt_tokens"] * self.prompt_tokens + tokens["completion_tokens"] * self.completion_tokens
        return paid / MILLION


# -------------------------------------------------------------------------------------------------------------- tokens


def tokens_per_text(profile: Profile, texts: Mapping[str, TaskTexts]) -> pd.DataFrame:
    """Tokens that one text takes which the LLM writes or labels, estimated from letters: TOKENS.

    `part` is what the corpus is in a strategy. Written texts come from conversations whose every prompt holds what was
    said before; a labelled text is a request of its own.
    """
    rows = []
    for task in profile.tasks:
        own, classes = texts[task], len(texts[task].real.task.labels)
        real = own.real.split("train")["text"].str.len().mean()
        for corpus, frame in own.corpora.items():
            settings, made = profile.corpora[corpus], frame["text"].str.len().mean()
            if isinstance(settings, GeneratedCorpus):
                part = ZERO_SHOT if settings.setting == "zero_shot" else FEW_SHOT
                turns = int(frame.get("turn", pd.Series(0)).max()) + 1
                found = writing_tokens(own.real.task, made, real if part == FEW_SHOT else None, turns)
            elif isinstance(settings, LabelledCorpus):
                part, found = LABELS, labelling_tokens(own.real.task, real)
            else:
                continue  # nobody knows how they were written
            rows.append((task, corpus, part, classes, *found))
    return pd.DataFrame(rows, columns=TOKENS)


def writing_tokens(task: Task, letters: float, shown: float | None, turns: int) -> tuple[float, float]:
    """Tokens of prompts and of answers for one text of a conversation.

    Args:
        letters: of a written text.
        shown: letters of an example; None: no examples are shown.
    """
    label, each = next(iter(task.labels)), task.texts_per_turn
    examples = None if shown is None else ["x" * round(shown)] * task.few_shot.examples_per_turn
    request, answer = len(task.request(label, 1, examples)), each * letters
    asked = turns * (len(task.context) + request) + (request + answer) * turns * (turns - 1) / 2
    return asked / turns / each / LETTERS, letters / LETTERS


def labelling_tokens(task: Task, letters: float) -> tuple[float, float]:
    """Tokens of the prompt and of the answer of one request for a label."""
    listed = "\n".join(f"- {name}: {meaning}" for name, meaning in task.labels.items())
    names = ", ".join(task.labels)
    asked = CONTEXT + REQUEST.format(question=task.question, labels=listed, text="", names=names)
    return (len(asked) + letters) / LETTERS, float(ANSWERED)


def from_log(path: Path) -> pd.DataFrame:
    """What a live LLM's answers took by its log: columns model, part, texts, and of one text tokens and seconds.

    Without rows where there is no log, or nobody counted.
    """
    columns = ["model", "part", "texts", "prompt_tokens", "completion_tokens", "seconds"]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    with ResponseLog(path) as log:
        rows = pd.DataFrame(log.rows())
    if rows.empty:
        return pd.DataFrame(columns=columns)
    parts = {"zero_shot": ZERO_SHOT, "few_shot": FEW_SHOT, LABELLING: LABELS}
    known = rows.assign(part=rows["setting"].map(parts)).dropna(subset=["part", "prompt_tokens", "completion_tokens"])
    sums = known.groupby(["model", "part"])[["n", *columns[3:]]].sum(min_count=1).reset_index()
    each = sums[columns[3:]].astype(float).div(sums["n"].astype(float), axis=0)
    return sums[["model", "part"]].assign(texts=sums["n"], **each)[columns]


def as_logged(tokens: pd.DataFrame, logged: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """`tokens_per_text` with what `from_log` counted in place of the estimates, of corpora whose LLM is in the log."""
    written = {name: one for name, one in profile.corpora.items() if isinstance(one, GeneratedCorpus)}
    models = {name: getattr(profile.llms[one.llm], "model", None) for name, one in written.items()}
    asked = tokens.assign(model=tokens["corpus"].map(models).astype(object))  # also where there is no corpus
    rows = asked[["model", "part"]].merge(logged, "left", ["model", "part"])
    counted = {name: rows[name].set_axis(tokens.index).astype(float) for name in TOKENS[-2:]}
    return tokens.assign(**{name: known.fillna(tokens[name]) for name, known in counted.items()})


# -------------------------------------------------------------------------------------------------------------- speeds


def speeds(runs: Path) -> pd.DataFrame:
    """How fast classifiers of all packed runs train and predict, by device: SPEEDS.

    Training is the median; predicting is the slowest run of a task, median over tasks, since quicker ones remembered
    embeddings.
    """
    abouts = [
        {**about, "device": about.get("details", {}).get("device", "cpu").partition(":")[0]}
        for about in packed_lines(runs).values()
    ]
    table, rows = pd.DataFrame(abouts), []
    for (classifier, device), own in table.groupby(["classifier", "device"]) if abouts else ():
        slowest = float(own.groupby("task")["predict_texts_per_second"].min().median())
        rows.append(
            (classifier, device, len(own), own["train_texts_per_second"].median(), slowest, MILLION / slowest / 3600)
        )
    return pd.DataFrame(rows, columns=SPEEDS)


def speed_of_words(texts: Mapping[str, TaskTexts], texts_per_label: int | None) -> pd.DataFrame:
    """How fast tf-idf learns from real texts and labels the test split, medians over tasks: one row of SPEEDS."""
    paces = []
    for one in texts.values():
        labels = list(one.real.task.labels)
        train, test = (one.real.split(split) for split in ("train", "test"))
        train = train.groupby("label").head(texts_per_label or len(train))
        known = Texts(train["text"].tolist(), train["label"].map(labels.index).tolist())
        fitted = fit_predict(WORDS, known, NO_TEXTS, test["text"].tolist(), len(labels), seed=0)
        paces.append((len(train) / fitted.train_seconds, len(test) / fitted.predict_seconds))
    trains, predicts = np.median(paces, axis=0)
    row = (WORDS.kind, "cpu", len(paces), trains, predicts, MILLION / predicts / 3600)
    return pd.DataFrame([row], columns=SPEEDS)


# --------------------------------------------------------------------------------------------------------------- costs


def costs_table(
    by_task: pd.DataFrame, index: pd.DataFrame, tokens: pd.DataFrame, fast: pd.DataFrame, prices: Prices
) -> pd.DataFrame:
    """Score and cost of each strategy, means over the tasks that have all of them with so many labels: COSTS.

    `people`, `llm` and `machine` make up `cost`, until the classifier is there; `million` is what a million predictions
    then cost, on the slowest device that a classifier ran on. Texts of unlike length cost unlike amounts; the mean over
    tasks stands for a task like these.

    Args:
        by_task: as `winners.strategy_tables` gives it.
        index: of the runs, with the number of training texts.
        tokens: as `tokens_per_text` gives it.
        fast: as `speeds` gives it.
    """
    texts = index.groupby(["task", "classifier", "corpus"])["n_train"].mean()
    each = tokens.assign(price=prices.of_llm(tokens)).groupby(["task", "part"])["price"].first()
    classes = tokens.groupby("task")["classes"].first()
    pace = fast.sort_values("predict_texts_per_second").drop_duplicates("classifier").set_index("classifier")
    rows = []
    costly = by_task["strategy"].str.contains(f"{ALONE}|{FEW_SHOT}") == (by_task["real_labels"] > 0)
    by_task = by_task[costly]  # what needs no label stands at 0 alone
    for row in by_task.itertuples():
        parts, spent, own = row.strategy.split(JOIN), row.real_labels, texts[row.task, row.classifier]
        n_texts = own[f"{row.strategy} {spent}"]
        names = {ZERO_SHOT: f"{ZERO_SHOT} 0", FEW_SHOT: f"{FEW_SHOT} {spent}", LABELS: f"{LABELS} 0"}
        llm = sum(own[names[part]] * each[row.task, part] for part in parts if part != ALONE)
        people = spent * classes[row.task] * prices.human_label
        machine = n_texts / pace["train_texts_per_second"][row.classifier] / 3600 * prices.machine_hour
        million = pace["million_hours"][row.classifier] * prices.machine_hour
        rows.append((people, llm, machine, people + llm + machine, million))
    money = ["people", "llm", "machine", "cost", "million"]
    found = by_task.assign(**dict(zip(money, np.array(rows, dtype=float).reshape(-1, 5).T, strict=True)))
    by = ["classifier", "real_labels"]
    every = found.groupby(by)["strategy"].transform("nunique")
    whole = found[found.groupby([*by, "task"])["strategy"].transform("nunique") == every]
    means = whole.groupby([*by, "strategy"], sort=False)
    return means[[METRIC, *money]].mean().assign(tasks=means.size()).reset_index().reindex(columns=COSTS)


def llm_itself(scored: pd.DataFrame, tokens: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """The LLM as the classifier, which costs nothing beforehand: one row of COSTS or none, of `llm_as_classifier`."""
    own = scored[scored["corpus"] == llm_as_classifier.LLM].drop_duplicates("task").set_index("task")[METRIC]
    labels = matching(tokens, {"part": LABELS}).set_index("task")
    tasks = own.index.intersection(labels.index)
    if not len(tasks):
        return pd.DataFrame(columns=COSTS)
    million = MILLION * prices.of_llm(labels.loc[tasks]).mean()
    row = (LLM, 0, LLM, len(tasks), own[tasks].mean(), 0.0, 0.0, 0.0, 0.0, million)
    return pd.DataFrame([row], columns=COSTS)


def break_even(worth: pd.DataFrame, tokens: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """From which price of a human label on a corpus's texts are the cheaper way to a score: BREAK_EVEN.

    It is the price of a synthetic text over what one is worth. Where the real curve bounds the worth alone, the price
    lies from `least` to `most`; `low` and `high` carry the worth's interval (for new recordings where there are
    several) through. A worth of 0 makes it infinite: no price of a label is too high.
    """
    found = at_one_size(worth).merge(tokens[["task", "corpus"]].assign(text_price=prices.of_llm(tokens)))
    found = found.astype(dict.fromkeys(["worth", "least", "most"], float))  # no rows: no types
    low = found["new_low"].where(found["new_low"].notna(), found["low"])
    high = found["new_high"].where(found["new_high"].notna(), found["high"])
    worths = {
        "least": found["worth"].where(found["worth"] > 0, found["least"]),
        "most": found["worth"].where(np.isfinite(found["worth"]), found["most"]),
        "low": high,
        "high": low,
    }
    ends = {name: (found["text_price"] / one).where(one > 0, np.inf) for name, one in worths.items()}
    return found.assign(**ends).reindex(columns=BREAK_EVEN)


def break_even_in_words(table: pd.DataFrame, digits: int = 5) -> pd.DataFrame:
    """`break_even` for people: "0.00120 [0.00080, 0.00310]", "> 0.00120" where the worth is only known to be small."""
    cells = []
    for row in table.itertuples():
        ends = ["no end" if np.isinf(end) else f"{end:.{digits}f}" for end in (row.low, row.high)]
        cells.append(f"{bounded(row.least, row.most, digits)} [{', '.join(ends)}]")
    return table[BREAK_EVEN[:4]].assign(**{"break-even price of a label": cells})


def cost_in_words(costs: pd.DataFrame, n: int, classifier: str, currency: str) -> str:
    """What the cheapest and the best way with n real labels cost, in a sentence."""
    rows = costs[costs["real_labels"].isin([0, n]) & (costs["classifier"] == classifier)]
    if n not in set(rows["real_labels"]):
        return f"Not known for {n} real labels a class."
    best = rows.loc[rows[METRIC].idxmax()]
    return (
        f"With {n} real labels a class ({classifier}, mean over {best.tasks} tasks) {TITLES[best.strategy]} costs "
        f"{best.cost:.2f} {currency} until the classifier is there and {best.million:.2f} {currency} a million "
        f"predictions, at example prices; {best.people:.2f} people, {best.llm:.2f} the LLM, {best.machine:.2f} the "
        "machine."
    )


def llm_in_words(costs: pd.DataFrame, currency: str) -> str:
    """What the LLM as the classifier costs, in a sentence; "" where nobody knows."""
    rows = costs[costs["strategy"] == LLM]
    return "".join(
        f"Asked itself, the LLM scores {row.macro_f1:.1f} on the test texts that it labelled ({row.tasks} tasks) and "
        f"costs {row.million:.0f} {currency} a million predictions."
        for row in rows.itertuples()
    )
