"""What notebooks show of tasks, prompts and texts: HTML in which every text is escaped, real ones only if allowed."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthgap.generation import Turn
from synthgap.tables import REGIME_TITLES
from synthgap.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML

    from synthgap.data import RealData

BORDER = "1px solid var(--jp-border-color1, #bbb)"
BOX = f"border:{BORDER};border-radius:6px;padding:8px 12px;margin:6px 0;max-width:60em"
QUIET = "opacity:0.7;font-size:90%"
WORDS_SHOWN = 60


def _html(text: str) -> HTML:
    from IPython.display import HTML

    return HTML(text)


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def task_cards(tasks: Sequence[Task]) -> HTML:
    """One card a task: its labels and the phrases that stand for them, and what annotators are asked."""
    cards = []
    for task in tasks:
        labels = "".join(
            f"<li><code>{html.escape(name)}</code>"
            + (f" <span style='{QUIET}'>{html.escape(phrase)}</span>" if phrase != name else "")
            + "</li>"
            for name, phrase in task.labels.items()
        )
        cards.append(
            f"<div style='{BOX};margin:0'><b>{html.escape(task.title)}</b> <code>{task.name}</code><br>"
            f"<i>{html.escape(task.question)}</i><ul style='margin:4px 0'>{labels}</ul>"
            f"<span style='{QUIET}'>{task.texts_per_label} {html.escape(task.kind)} a label, "
            f"{task.texts_per_turn} a turn</span></div>"
        )
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(20em,1fr));gap:8px"
    return _html(f"<div style='{grid}'>{''.join(cards)}</div>")


def shown_text(key: str, text: str, allowed: bool) -> str:
    """The text, or its id and length where it may not be shown."""
    return text if allowed else f"[{key}: {len(text.split())} words, not shown]"


def conversation(task: Task, turn: Turn, show_real_texts: bool, answer_lines: int = 3) -> HTML:
    """A turn as it is sent: context, the last request and the first lines of its answer.

    Few-shot examples are real texts; where these may not be shown, their ids and lengths stand in their place.
    """
    talk = turn.conversation
    request = talk.messages[-1].content
    if turn.examples and not show_real_texts:
        hidden = [shown_text(key, text, allowed=False) for key, text in turn.examples.items()]
        request = task.request(talk.label, talk.turn, hidden)
    answer = turn.answer.text.split("\n")
    more = f"\n… {len(answer) - answer_lines} more lines" if len(answer) > answer_lines else ""
    parts = [
        ("system", talk.messages[0].content),
        (f"user, turn {talk.turn + 1}", request),
        (f"assistant ({turn.answer.model})", "\n".join(answer[:answer_lines]) + more),
    ]
    rows = "".join(f"<div style='{BOX}'><b>{html.escape(role)}</b><br>{_lines(text)}</div>" for role, text in parts)
    title = f"{task.title} · {REGIME_TITLES[talk.setting]} · {talk.label}"
    return _html(f"<div><b>{html.escape(title)}</b>{rows}</div>")


def side_by_side(task: Task, columns: dict[str, pd.DataFrame], show_real_texts: bool, rows: int = 2) -> HTML:
    """Texts of each regime beside each other, `rows` for each label.

    Args:
        columns: {regime: texts with columns id, text, label}; those of `real` are hidden where they must be.
    """
    width = f"width:{100 / len(columns):.0f}%;text-align:left;vertical-align:top;white-space:normal"
    head = "".join(f"<th style='{width}'>{html.escape(REGIME_TITLES[regime])}</th>" for regime in columns)
    body = []
    for label in task.labels:
        samples = {regime: texts[texts["label"] == label].head(rows) for regime, texts in columns.items()}
        body.append(
            f"<tr><th colspan='{len(columns)}' style='text-align:left;border-top:{BORDER}'>"
            f"{html.escape(label)}</th></tr>"
        )
        for number in range(rows):
            cells = [_sample(texts, number, regime != "real" or show_real_texts) for regime, texts in samples.items()]
            body.append("<tr>" + "".join(f"<td style='{width}'>{cell}</td>" for cell in cells) + "</tr>")
    title = f"<div style='margin-top:12px'><b>{html.escape(task.title)}</b></div>"
    return _html(f"{title}<table style='table-layout:fixed;width:100%'><tr>{head}</tr>{''.join(body)}</table>")


def _sample(texts: pd.DataFrame, number: int, allowed: bool) -> str:
    if number >= len(texts):
        return ""
    row = texts.iloc[number]
    return html.escape(first_words(shown_text(str(row["id"]), str(row["text"]), allowed), WORDS_SHOWN))


def first_words(text: str, most: int) -> str:
    """At most so many words of a text, on one line; "…" where there are more."""
    words = text.split()
    return " ".join([*words[:most], *["…"] * (len(words) > most)])


def near_duplicates(
    pairs: pd.DataFrame,
    real: Mapping[str, RealData],
    synthetic: Mapping[str, Mapping[str, pd.DataFrame]],
    show_real_texts: bool,
    most: int = 20,
) -> HTML:
    """Synthetic texts beside the test texts that they (nearly) repeat; the most alike in letters first.

    Args:
        pairs: as `similarity.near_duplicates` gives them.
        synthetic: {task: {regime: texts}}.
    """
    rows = []
    for pair in pairs.sort_values("letters", ascending=False).head(most).itertuples():
        made = synthetic[pair.task][pair.regime].set_index("id")["text"]
        test = real[pair.task].split("test").set_index("id")["text"]
        texts = (made[pair.synthetic_id], shown_text(pair.test_id, test[pair.test_id], show_real_texts))
        cells = [f"<td style='text-align:left;white-space:normal'>{html.escape(text)}</td>" for text in texts]
        about = f"{pair.task}, {pair.regime}<br>letters {pair.letters:.0f} %, cosine {pair.cosine:.2f}"
        rows.append(f"<tr><td style='text-align:left'>{about}</td>{''.join(cells)}</tr>")
    head = "<tr><th></th><th style='text-align:left'>synthetic</th><th style='text-align:left'>test</th></tr>"
    more = f"<p>… {len(pairs) - most} more pairs in tables/contamination_pairs.csv</p>" if len(pairs) > most else ""
    return _html(f"<table>{head}{''.join(rows)}</table>{more}" if rows else "<p>No such pair was found.</p>")


def facts(title: str, values: dict[str, Any]) -> str:
    """A small two-column table as HTML text."""
    rows = "".join(
        f"<tr><td style='text-align:left;{QUIET}'>{html.escape(str(name))}</td>"
        f"<td style='text-align:left;white-space:normal'>{html.escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<div><b>{html.escape(title)}</b><table>{rows}</table></div>"


def notice(text: str) -> HTML:
    """A sentence that must not be missed, such as what the data are."""
    return _html(f"<div style='{BOX};border-left:4px solid #d55e00'>{html.escape(text)}</div>")
