"""Maps of texts: those of like meaning lie near each other."""

import html
from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML
from sklearn.manifold import TSNE

from synthgap.core.config import REAL
from synthgap.data.draws import draw_places
from synthgap.diversity.texts import EmbeddedTexts, TaskTexts, on_all_cores
from synthgap.figures import Look
from synthgap.generation.display import first_words, shown_text

COLUMNS = ["task", "corpus", "id", "label", "x", "y"]
FEWEST = 4  # points of a map
HOVER_WORDS, SIDE = 40, 640  # of a map in a notebook; its side in pixels


def map_tasks(texts: Sequence[TaskTexts], most: int, seed: int) -> pd.DataFrame:
    """The maps of all tasks; see `map_texts`."""
    embedded = [task.compared for task in texts]
    return pd.concat(on_all_cores(lambda one: map_texts(one, most, seed), embedded, "maps"), ignore_index=True)


def map_texts(texts: Sequence[EmbeddedTexts], most: int, seed: int = 0) -> pd.DataFrame:
    """A t-SNE map (van der Maaten and Hinton 2008) of one task's texts, at most `most` of each corpus.

    Columns task, corpus, id, label, x, y; no rows where there are fewer than 4 texts. Neighbours on the map are
    neighbours in meaning; the size of gaps and clusters says little.
    """
    chosen = [one.take(draw_places(list(one.texts["id"]), min(most, len(one.texts)), seed, "map")) for one in texts]
    embeddings = np.concatenate([one.embeddings for one in chosen])
    if (n := len(embeddings)) < FEWEST:
        return pd.DataFrame(columns=COLUMNS)
    start = "pca" if np.ptp(embeddings, axis=0).any() else "random"  # components of equal points are undefined
    settings = {"metric": "cosine", "init": start, "max_iter": 500, "random_state": seed, "n_jobs": 1}
    model = TSNE(perplexity=min(30, (n - 1) / 3), **settings)
    x, y = model.fit_transform(embeddings).T
    parts = [one.texts.assign(task=one.task, corpus=one.corpus) for one in chosen]
    return pd.concat(parts, ignore_index=True).assign(x=x, y=y)[COLUMNS]


def with_texts(points: pd.DataFrame, texts: Sequence[EmbeddedTexts]) -> pd.DataFrame:
    """The points with the column text."""
    known = pd.concat([one.texts[["id", "text"]].assign(corpus=one.corpus) for one in texts])
    return points.merge(known, on=["corpus", "id"], how="left")


def hover_map(points: pd.DataFrame, look: Look, show_real_texts: bool) -> HTML:
    """The map of one task for a notebook: pointing at a dot shows its text (real ones: the id unless allowed).

    Args:
        points: `map_texts`'s table with the column text; where that is missing, the id is shown.
    """
    places = points[["x", "y"]]
    places = 10 + (SIDE - 20) * (places - places.min()) / (places.max() - places.min()).replace(0, 1)
    dots = []
    for row, (x, y) in zip(points.itertuples(), places.to_numpy(), strict=True):
        series = look.corpora[row.corpus]
        text = shown_text(row.id, row.text, row.corpus != REAL or show_real_texts) if "text" in points else row.id
        title = html.escape(f"{series.title}, {row.label}: {first_words(text, HOVER_WORDS)}")
        dots.append(
            f"<circle cx='{x:.0f}' cy='{SIDE - y:.0f}' r='4' fill='{series.colour}' fill-opacity='0.65'>"
            f"<title>{title}</title></circle>"
        )
    legend = " ".join(
        f"<span style='color:{series.colour}'>●</span> {html.escape(series.title)}"
        for _, series in look.by_corpus(points)
    )
    picture = (
        f"<svg viewBox='0 0 {SIDE} {SIDE}' width='{SIDE}' style='max-width:100%;border:1px solid #bbb' role='img' "
        f"aria-label='Map of texts; pointing at a dot shows its text'>{''.join(dots)}</svg>"
    )
    return HTML(f"<div>{legend}<br>{picture}</div>")
