"""What 01 shows of tasks, prompts and texts: HTML in which every text is escaped, real ones only where allowed."""

import html
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from synthgap.core.config import REAL, GeneratedCorpus, Profile
from synthgap.generation.conversations import Turn, request_text
from synthgap.generation.filtering import are_real
from synthgap.tables import BOX
from synthgap.tasks import Task

QUIET = "opacity:0.7;font-size:90%"
WORDS_SHOWN, LETTERS_SHOWN = 60, 5000
LINES_SHOWN = 3  # of an answer


def task_cards(tasks: Sequence[Task]) -> HTML:
    """A card for each task: its labels and the phrases that stand for them, and what annotators are asked."""
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
            f"<span style='{QUIET}'>{task.texts_per_label} {html.escape(task.kind)} per label, "
            f"{task.texts_per_turn} per turn</span></div>"
        )
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(20em,1fr));gap:8px"
    return HTML(f"<div style='{grid}'>{''.join(cards)}</div>")


def conversation(task: Task, turn: Turn, corpus: str, show_real_texts: bool) -> HTML:
    """A turn as it is sent: context, the last request and the first lines of its answer.

    Few-shot examples are real texts; where these may not be shown, their ids and lengths stand in their place.

    Args:
        corpus: its title.
    """
    asked = turn.conversation
    request = asked.messages[-1].content
    if turn.examples and not show_real_texts:
        hidden = [shown_text(key, text, allowed=False) for key, text in turn.examples.items()]
        request = request_text(task, asked, hidden)
    lines = turn.answer.text.split("\n")
    answer = [line[:LETTERS_SHOWN] + " …" * (len(line) > LETTERS_SHOWN) for line in lines[:LINES_SHOWN]]
    if not show_real_texts:
        copied = are_real(answer, turn.examples.values())
        answer = np.where(copied, "[repeats an example, not shown]", answer).tolist()
    more = f"\n… {len(lines) - LINES_SHOWN} more lines" if len(lines) > LINES_SHOWN else ""
    parts = [
        *(("system", one.content) for one in asked.messages[:1] if one.role == "system"),
        (f"user, turn {asked.turn + 1}" if asked.protocol == "conversation" else "to go on from", request),
        (f"assistant ({turn.answer.model})", "\n".join(answer) + more),
    ]
    rows = "".join(
        f"<div style='{BOX}'><b>{html.escape(role)}</b><br>{html.escape(text)}</div>".replace("\n", "<br>")
        for role, text in parts
    )
    title = f"{task.title} · {corpus} · {asked.label}"
    return HTML(f"<div><b>{html.escape(title)}</b>{rows}</div>")


def samples(
    task: Task,
    corpora: Mapping[str, pd.DataFrame],
    titles: Mapping[str, str],
    hidden: Collection[str] = (),
    rows: int = 2,
) -> HTML:
    """The first texts of each corpus beside each other, `rows` for each label.

    Args:
        corpora: {corpus: texts with columns id, text, label}.
        titles: {corpus: its title}.
        hidden: corpora whose texts may not be shown; their ids and lengths stand in their place.
    """
    parts = []
    for label in task.labels:
        columns = {}
        for corpus, texts in corpora.items():
            first = texts[texts["label"] == label].head(rows).itertuples()
            cells = [first_words(shown_text(row.id, row.text, corpus not in hidden), WORDS_SHOWN) for row in first]
            columns[titles[corpus]] = pd.Series(cells, dtype=object)
        part = pd.DataFrame(columns)
        parts.append(part.set_axis([label] * len(part)))
    with pd.option_context("display.max_colwidth", None):
        table = pd.concat(parts).to_html(escape=True, na_rep="", border=0)
    table = table.replace("<th>", "<th style='text-align:left'>")  # as JupyterLab sets all of them to the right
    table = table.replace("<td>", "<td style='text-align:left;vertical-align:top;white-space:normal'>")
    return HTML(f"<div style='margin-top:12px'><b>{html.escape(task.title)}</b></div>{table}")


def text_table(rows: Sequence[tuple[str, ...]], columns: Sequence[str], name: str) -> str:
    """A table of texts as HTML, in which they are escaped and wrapped; `name` is its id on the page."""
    table = pd.DataFrame(rows, columns=list(columns)).style.hide(axis="index").format(escape="html")
    table = table.set_table_styles([{"selector": "th, td", "props": "text-align: left; white-space: normal"}])
    return table.to_html(table_uuid=name)


def hidden_corpora(profile: Profile) -> list[str]:
    """Corpora whose texts may not stand in a notebook: those not made here, and `real` unless the profile allows it."""
    others = [name for name, corpus in profile.corpora.items() if not isinstance(corpus, GeneratedCorpus)]
    return others if profile.show_real_texts else [REAL, *others]


def shown_text(key: str, text: str, allowed: bool) -> str:
    """The text, or its id and length where it may not be shown."""
    return text if allowed else f"[{key}: {len(text.split())} words, not shown]"


def first_words(text: str, most: int) -> str:
    """At most so many words of a text, on one line; "…" where there are more."""
    words = text.split()
    return " ".join([*words[:most], *["…"] * (len(words) > most)])
