"""Embedding: ours (longest first, each batch padded to its own; with the cache) against the given order by 32."""

import os
import random
import tempfile

from common import in_turns, recorded_texts

from synthgap.training.embeddings import _sentence_encoder, embed

TEXTS = 1500


def main() -> None:
    texts = [text for text, _ in recorded_texts()]
    random.Random(0).shuffle(texts)
    texts = texts[:TEXTS]
    model = _sentence_encoder("minilm")
    model.encode(texts[:32])

    def ours(_: int) -> None:
        with tempfile.TemporaryDirectory() as folder:  # an empty cache: every text is embedded and stored
            os.environ["SYNTHGAP_CACHE"] = folder
            embed(texts, progress=False)

    def plain(_: int) -> None:
        for start in range(0, len(texts), 32):
            model.encode(texts[start : start + 32], batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    fast, slow = in_turns({"ours": ours, "plain": plain}).values()
    print(
        f"texts of all tasks embedded in a second of processor time: ours {TEXTS / fast:.0f}, in the given order in "
        f"batches of 32 {TEXTS / slow:.0f}, ratio {slow / fast:.2f} ({TEXTS} texts, medians of 3)"
    )


if __name__ == "__main__":
    main()
