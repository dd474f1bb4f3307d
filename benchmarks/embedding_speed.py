"""Embedding: ours (longest first, each batch padded to its own) against the given order in batches of 32."""

import random
import tempfile

from common import alternate, recorded_texts

from synthgap.training.embeddings import _sentence_encoder, embed

TEXTS = 1500


def main() -> None:
    import os

    texts = [text for text, _ in recorded_texts()]
    random.Random(0).shuffle(texts)
    texts = texts[:TEXTS]
    model = _sentence_encoder("minilm")
    model.encode(texts[:32])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:  # an empty cache: every text is embedded and stored
            os.environ["SYNTHGAP_CACHE"] = folder
            embed(texts, progress=False)

    def plain() -> None:
        for start in range(0, len(texts), 32):
            model.encode(texts[start : start + 32], batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    fast, slow = alternate(ours, plain)
    print(
        f"embedding {TEXTS} texts of all tasks: ours {TEXTS / fast:.0f} texts/s, given order in batches of 32 "
        f"{TEXTS / slow:.0f} texts/s, ratio {slow / fast:.2f} (medians of 3)"
    )


if __name__ == "__main__":
    main()
