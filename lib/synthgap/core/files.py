"""Files that are whole or absent, and digests of what determines a result."""

import base64
import contextlib
import errno
import functools
import hashlib
import json
import os
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from synthgap.core.errors import SynthgapError

OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
Read = TypeVar("Read")
PRIVATE = 0o600  # read and written by the owner alone


def digest(value: Any, length: int = 64) -> str:
    """SHA-256 (hex, cut to `length` characters) of a JSON value in canonical form.

    Keys are sorted and NaN is refused, so equal values have equal digests on every machine.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def remembered(most: int) -> Callable[[Callable[[Path], Read]], Callable[[Path], Read]]:
    """Let a function that reads a file remember what it read from so many files, as long as they stay as they are."""

    def remembering(read: Callable[[Path], Read]) -> Callable[[Path], Read]:
        @functools.lru_cache(most)
        def read_once(path: Path, *state: int) -> Read:
            return read(path)

        @functools.wraps(read)
        def reading(path: Path) -> Read:
            state = path.stat()
            return read_once(path, state.st_mtime_ns, state.st_size, state.st_ino)

        return reading

    return remembering


@contextlib.contextmanager
def atomic(path: Path, private: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it there, on failure leave nothing behind.

    Args:
        private: whether the file is for its owner alone, as texts of real data are; else as the umask says.

    Raises:
        SynthgapError: the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}{path.suffix}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(PRIVATE if private else 0o666, exist_ok=False)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class WriteFailed(SynthgapError):
    """A file that could not be written; what comes after it could not be written either."""

    status = 1


def write_error(path: Path, error: OSError) -> SynthgapError:
    """The one sentence for a file that could not be written."""
    reason = "the disk is full" if error.errno in OUT_OF_SPACE else (error.strerror or str(error))
    return WriteFailed(
        f"cannot write '{path}': {reason}; make room or choose another folder with --output, "
        "then run the same command again: what is finished is kept"
    )


def write_text(path: Path, text: str, private: bool = False) -> Path:
    with atomic(path, private) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any, private: bool = False) -> Path:
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", private)


def read_json(path: Path) -> Any | None:
    """The value in a JSON file, or None where the file is absent or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def local_weights(model: str) -> list[Path]:
    """The weights in a model's folder; none where the name is one of the hub's.

    Raises:
        SynthgapError: the folder has weights as pickles alone, which could run code and are not read.
    """
    folder = Path(model)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and (pickles := sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])):
        raise SynthgapError(
            f"the model's folder '{folder.name}' has its weights as a pickle ('{pickles[0].name}'), which could run "
            "code and is not read; save it with safetensors (save_pretrained of today's transformers does)"
        )
    return weights


def write_parquet(path: Path, frame: pd.DataFrame, about: Mapping[str, Any] | None = None) -> Path:
    """Write a table as Parquet (zstd) in as few bytes as readers need; `about` travels in it, see `parquet_about`.

    Categories are read again as texts: that they were some is not stored.
    """
    text = json.dumps(dict(about or {}), sort_keys=True, ensure_ascii=False)
    packed = base64.b85encode(zlib.compress(text.encode(), 9)).decode()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    with atomic(path) as temporary:
        small = [field.name for field in table.schema if field.type == pa.int16()]  # compressed by a third more
        words = [name for name in table.column_names if name not in small]
        split = dict.fromkeys(small, "BYTE_STREAM_SPLIT")
        options = {"compression": "zstd", "compression_level": 19, "store_schema": False, "write_statistics": False}
        options |= {"use_dictionary": words, "column_encoding": split or None}
        with pq.ParquetWriter(temporary, table.schema, **options) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({"synthgap": packed})
    return path


def parquet_about(path: Path) -> dict[str, Any]:
    """What `write_parquet` stored beside the table."""
    return json.loads(zlib.decompress(base64.b85decode(pq.read_metadata(path).metadata[b"synthgap"])))


def open_sqlite(path: Path, statements: Sequence[str], private: bool = False, **options: Any) -> sqlite3.Connection:
    """Open a database for several processes (write-ahead logging), after `statements` that make its tables.

    Args:
        private: whether a new one is for its owner alone.

    Raises:
        OSError, sqlite3.DatabaseError: it cannot be opened, or is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # a new file is empty at first, and the change to write-ahead logging does not wait for other processes by itself
    with FileLock(path.with_suffix(".lock"), timeout=120):
        if private:
            path.touch(PRIVATE)
        connection = sqlite3.connect(path, timeout=120, isolation_level=None, **options)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *statements):
            connection.execute(statement)
    return connection
