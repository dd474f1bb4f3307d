"""Maps of texts: 500 iterations from their principal components, as 05 draws them, against 1,000 from a random start.

How well a map shows which texts are neighbours is scikit-learn's trustworthiness (0.5 is chance, 1 all of them).
"""

import functools

import numpy as np
from common import in_turns, recorded_texts
from sklearn.manifold import TSNE, trustworthiness

from synthgap.tasks import paper_tasks
from synthgap.training.embeddings import embed

TASKS, TEXTS = 5, 600  # texts of a map, as 05 draws for three corpora
WAYS = {"ours": {"init": "pca", "max_iter": 500}, "random": {"init": "random", "max_iter": 1000}}


def main() -> None:
    vectors, maps = [], {way: [] for way in WAYS}
    for task in paper_tasks()[:TASKS]:
        texts = [text for setting in ("zero_shot", "few_shot") for text, _ in recorded_texts((task,), setting)]
        vectors.append(embed(texts[:: max(1, len(texts) // TEXTS)][:TEXTS]))

    def draw(way: str, task: int) -> None:
        model = TSNE(metric="cosine", perplexity=30, random_state=0, n_jobs=1, **WAYS[way])
        maps[way].append(model.fit_transform(vectors[task]))

    ours, slow = in_turns({way: functools.partial(draw, way) for way in WAYS}, TASKS).values()
    neighbours = functools.partial(trustworthiness, n_neighbors=10, metric="cosine")
    kept = {way: np.mean([*map(neighbours, vectors, places)]) for way, places in maps.items()}
    print(
        f"a map of {TEXTS} texts: ours {ours:.1f} s of processor time, 1,000 iterations from a random start "
        f"{slow:.1f} s, ratio {slow / ours:.1f} (medians of {TASKS} tasks); trustworthiness {kept['ours']:.3f} and "
        f"{kept['random']:.3f}"
    )


if __name__ == "__main__":
    main()
