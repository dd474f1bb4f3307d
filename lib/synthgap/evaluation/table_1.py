"""Table 1 as people read it: corpora side by side, what is lost against the reference, and the paper's figures."""

import pandas as pd

from synthgap.core.config import REAL, Profile
from synthgap.core.paths import bundled
from synthgap.evaluation.gaps import gaps_to_reference
from synthgap.figures import Look
from synthgap.tables import label_caveats, matching, signed, signed_interval, told_interval
from synthgap.tasks import load_task, tasks_in_paper_order

SIGNIFICANT = (
    "Differences: * p < 0.05 for new recordings under the same conditions; ° p < 0.05 for these recordings alone, of "
    "which a corpus may have one. Holm's correction is over all gaps of the comparison."
)
UNVERIFIED = (
    "Published: Table 1 of arXiv 2310.07849 (RoBERTa), unverified: written down without the PDF at hand; the RoBERTa "
    "columns' mean drops agree with the averages in the paper's text, and one cell is empty."
)


def table_1(
    table: pd.DataFrame, gaps: pd.DataFrame, profile: Profile, classifier: str, metric: str = "macro_f1"
) -> pd.DataFrame:
    """Table 1 for people: a row for each task in the paper's order, corpora side by side with what is lost.

    Cells are "mean ± deviation over runs [95 % interval]"; marks behind differences are those of SIGNIFICANT.

    Args:
        table, gaps: as `evaluate` gives them.
    """
    look, table = Look.of(profile), matching(table, {"classifier": classifier})
    tasks = tasks_in_paper_order(table["task"].unique())
    shown = pd.DataFrame({"Task": [load_task(task).title for task in tasks]}, index=tasks)
    for corpus in look.present(table):
        key, title = {"classifier": classifier, "corpus": corpus}, look.title(corpus)
        shown[title] = matching(table, key).set_index("task").apply(_score, axis=1, metric=metric)
        losses = matching(gaps_to_reference(gaps, metric), key).set_index("task")
        if len(losses):
            baseline = name_in_sentence(look, losses["baseline"].iloc[0])
            shown[f"{title} − {baseline}"] = losses.apply(_gap, axis=1)
    published = _published(table, profile, metric)
    if not published.empty:
        shown["Published, unverified"] = published.agg(" / ".join, axis=1)
    return shown.reset_index(drop=True)


def table_1_notes(table: pd.DataFrame, profile: Profile) -> list[str]:
    """What a reader must know beside Table 1, which shows these rows."""
    least, most = table["n_train"].min(), table["n_train"].max()
    sizes = f"{least:,} to {most:,} training texts per task, the same for every corpus"
    seeds, recordings = (", ".join(map(str, sorted(table[name].unique()))) for name in ("seeds", "recordings"))
    notes = [
        f"Mean ± standard deviation over runs [95 % t interval over test items, draws and seeds, and over recordings "
        f"where a corpus has several], in percent; {sizes}; runs: {seeds}; recordings: {recordings}. A deviation of "
        "0.0 means that every run drew the same texts (all there were) and the classifier has no randomness itself; "
        f"of one run there is no deviation. {SIGNIFICANT}"
    ]
    published = _published(table, profile, "macro_f1")
    if not published.empty:
        notes.append(f"{UNVERIFIED} Order of its figures: {' / '.join(published.columns).replace('_', '-')}.")
    return [*notes, *label_caveats(profile, set(table["corpus"]))]


def gaps_by_classifier(gaps: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """The gaps in macro-F1 to the reference for people, a column for each classifier, on the tasks that all have.

    Cells are "gap [95 % interval]", for new recordings where a corpus has several; below each corpus is the mean.

    Args:
        gaps: as `evaluate` gives them.
    """
    losses, look = gaps_to_reference(gaps), Look.of(profile)
    names = look.classifiers_in(losses)
    losses = losses.groupby(["corpus", "task"]).filter(lambda rows: len(rows) == len(names))
    parts = [pd.DataFrame(columns=["Corpus", "Task", *names])]
    for corpus in look.present(losses):
        own = matching(losses, {"corpus": corpus})
        shown = [f"{signed(row.gap)} {signed_interval(*told_interval(row))}" for row in own.itertuples()]
        tasks = tasks_in_paper_order(own["task"].unique())
        cells = own.assign(cell=shown).pivot(index="task", columns="classifier", values="cell").reindex(tasks)
        cells = cells.assign(Task=[load_task(task).title for task in tasks])
        means = own.groupby("classifier")["gap"].mean().map(signed).to_dict()
        cells.loc["mean"] = means | {"Task": f"mean of {len(tasks)} tasks"}
        parts.append(cells.assign(Corpus=look.title(corpus)))
    return pd.concat(parts, ignore_index=True)


def name_in_sentence(look: Look, corpus: str) -> str:
    """How a corpus is called within a sentence."""
    return "real" if corpus == REAL else look.title(corpus)


def published_table() -> pd.DataFrame:
    """Table 1 of arXiv 2310.07849 as written down in the package; UNVERIFIED, see bundled/reference/README.md.

    Columns task, order, encoder, corpus, macro_f1, accuracy; one cell is empty.
    """
    return pd.read_csv(bundled("reference", "paper_table1.csv"))


def _published(table: pd.DataFrame, profile: Profile, metric: str) -> pd.DataFrame:
    """The paper's figures for a table's tasks (rows) and corpora (columns), as texts.

    Without columns where no corpus but `real` has any, and without rows where the paper has none of the tasks.
    """
    present = set(table["corpus"])
    names = dict.fromkeys(corpus.published for name, corpus in profile.corpora.items() if name in present)
    columns = [*sorted(present & {REAL}), *(name for name in names if name)]
    rows = matching(published_table(), {"encoder": "roberta"}).pivot(index="task", columns="corpus", values=metric)
    rows = rows.reindex(index=table["task"].unique(), columns=columns)
    if columns == [REAL] or rows.isna().all(axis=None):
        return pd.DataFrame()
    return rows.map(lambda score: "–" if pd.isna(score) else f"{score:.1f}")


def _score(row: pd.Series, metric: str) -> str:
    deviation = "" if pd.isna(row[f"{metric}_sd"]) else f" ± {row[f'{metric}_sd']:.1f}"
    low, high = told_interval(row, f"{metric}_")
    return f"{row[metric]:.1f}{deviation} [{low:.1f}, {high:.1f}]"


def _gap(row: pd.Series) -> str:
    points = signed(row["gap"])
    mark = "*" if row["new_p_holm"] < 0.05 else "°" if row["p_holm"] < 0.05 else ""
    return ("0.0" if points in {"+0.0", "−0.0"} else points) + mark
