"""Files that are whole or absent, and digests of what determines a result."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from synthgap.core.errors import SynthgapError

OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it there, on failure leave nothing behind.

    Raises:
        SynthgapError: the disk is full or the folder cannot be written to.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f"{path.suffix}.tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
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


def write_text(path: Path, text: str) -> Path:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any | None:
    """The value in a JSON file, or None where the file is absent or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def write_parquet(path: Path, frame: pd.DataFrame, about: Mapping[str, Any] | None = None) -> Path:
    """Write a table as Parquet (zstd); `about` travels in the file, see `parquet_about`."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(
        {"synthgap": json.dumps(dict(about or {}), sort_keys=True, ensure_ascii=False)}
    )
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return path


def parquet_about(path: Path) -> dict[str, Any]:
    """What `write_parquet` stored beside the table."""
    return json.loads(pq.read_schema(path).metadata[b"synthgap"])


def open_sqlite(path: Path, statements: Sequence[str], **options: Any) -> sqlite3.Connection:
    """Open a database for several processes (write-ahead logging), after `statements` that make its tables.

    Raises:
        OSError, sqlite3.DatabaseError: it cannot be opened, or is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=120, isolation_level=None, **options)
    # the change to write-ahead logging does not wait for other processes by itself
    with FileLock(path.with_suffix(".lock"), timeout=120):
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *statements):
            connection.execute(statement)
    return connection
