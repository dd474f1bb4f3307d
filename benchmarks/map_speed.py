"""Maps of texts: 500 iterations from their principal components, as 05 draws them, against 1,000 from a random start.

How well a map shows which texts are neighbours is scikit-learn's trustworthiness (0.5 is chance, 1 all of them).
"""

import os
import statistics

import numpy as np
from common import recorded_texts
from sklearn.manifold import TSNE, trustworthiness
from threadpoolctl import threadpool_limits

from synthgap.tasks import paper_tasks
from synthgap.training.embeddings import embed

TEXTS = 600  # of a map, as 05 draws for three corpora
WAYS = {"ours": {"init": "pca", "max_iter": 500}, "random": {"init": "random", "max_iter": 1000}}


def main() -> None:
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    kept: dict[str, list[float]] = {way: [] for way in WAYS}
    for task in paper_tasks()[:5]:
        texts = [text for setting in ("zero_shot", "few_shot") for text, _ in recorded_texts((task,), setting)]
        vectors = embed(texts[:: max(1, len(texts) // TEXTS)][:TEXTS])
        for way, settings in WAYS.items():
            start = sum(os.times()[:2])
            with threadpool_limits(1):
                model = TSNE(metric="cosine", perplexity=30, random_state=0, n_jobs=1, **settings)
                places = model.fit_transform(vectors)
            spent[way].append(sum(os.times()[:2]) - start)
            kept[way].append(trustworthiness(vectors, places, n_neighbors=10, metric="cosine"))
    seconds = {way: statistics.median(values) for way, values in spent.items()}
    print(
        f"a map of {len(vectors)} texts: ours {seconds['ours']:.1f} s of processor time, 1,000 iterations from a "
        f"random start {seconds['random']:.1f} s, ratio {seconds['random'] / seconds['ours']:.1f} (medians of "
        f"{len(spent['ours'])} tasks); trustworthiness {np.mean(kept['ours']):.3f} and {np.mean(kept['random']):.3f}"
    )


if __name__ == "__main__":
    main()
