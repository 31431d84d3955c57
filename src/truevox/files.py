"""Files that are either whole or not there: atomic writing, tables and JSON."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from truevox.errors import FileError

__all__ = [
    "atomic_path",
    "expect_folder",
    "read_json",
    "read_text",
    "software",
    "unreadable",
    "write_csv",
    "write_json",
]

_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk"),
    errno.EFBIG: (
        "the file is larger than this disk or process allows",
        "write to another disk, or raise the limit",
    ),
    errno.EACCES: ("permission denied", "choose a folder that you may write to"),
    errno.EPERM: ("permission denied", "choose a folder that you may write to"),
    errno.EROFS: ("the disk is read-only", "choose a folder that you may write to"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder"),
    errno.EEXIST: ("a part of the path is a file, not a folder", "choose another folder"),
    errno.EISDIR: ("this is a folder", "give the name of a file"),
}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there becomes ``path`` when the block ends well.

    The temporary file is flushed to the disk before it takes the final name, so that a reader (or a
    machine that loses power) sees the old file or the new one, never half of one. If the block
    fails, the temporary file is removed. Missing folders are made. A folder may be written in its place;
    it replaces an older one whole.

    Parameters
    ----------
    path : path
        The final name. The temporary name ends the same way, so suffixes keep their meaning.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    FileError
        If the folder can't be written or the disk is full; names the file and a remedy.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    target = Path(path)
    temporary = target.parent / f".{uuid.uuid4().hex[:8]}.{target.name}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        _replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        if not _concerns(error, temporary, target):
            raise
        raise _unwritable(error, target) from error
    finally:
        _remove(temporary)


def _replace(temporary: Path, target: Path) -> None:
    if not (temporary.is_dir() and target.is_dir()):
        os.replace(temporary, target)
        return
    # No system replaces a folder that holds something in one step: for a moment there is none.
    aside = temporary.with_name(f".{uuid.uuid4().hex[:8]}.{target.name}")
    os.replace(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        os.replace(aside, target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            _flush(inner)
        _flush_folder(path)
        return
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    # The new name lives in the folder. Some systems refuse to sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _concerns(error: OSError, temporary: Path, target: Path) -> bool:
    """Whether an error is about the file being written, not about one read inside the block."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    return named in (temporary, target) or named == target.parent or named in target.parents


def _unwritable(error: OSError, target: Path) -> FileError:
    why, remedy = _REMEDIES.get(
        error.errno or 0, (error.strerror or str(error), "choose another place to write to")
    )
    return FileError(f"The file can't be written: {why}.", file=target, remedy=remedy)


def unreadable(error: OSError, path: str | Path, what: str = "file") -> FileError:
    """The error for what the system does not let us read: missing, not allowed, or a broken disk.

    Examples
    --------
    >>> print(unreadable(FileNotFoundError(2, "No such file or directory"), "a.csv"))
    The file can't be read: No such file or directory.
      file      a.csv
      Remedy: correct the path: there is nothing at this place
    """
    remedy = {
        errno.ENOENT: "correct the path: there is nothing at this place",
        errno.EISDIR: "name a file of this folder",
        errno.ENOTDIR: "correct the path: a part of it is a file",
        errno.EACCES: "allow your user to read it, or copy it to a place that you may read",
    }.get(error.errno or 0, "copy it from its source again, and read the copy")
    return FileError(f"The {what} can't be read: {error.strerror}.", file=path, remedy=remedy)


def expect_folder(path: str | Path) -> None:
    """Refuse what is no folder.

    Raises
    ------
    FileError
        If it is missing, or a file.

    Examples
    --------
    >>> import tempfile
    >>> expect_folder(tempfile.mkdtemp())
    """
    place = Path(path)
    if place.is_dir():
        return
    if place.exists():
        raise FileError("This is a file, and a folder is needed.", file=place, remedy="give the folder")
    raise FileError("There is no such folder.", file=place, remedy="check the path")


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a table as CSV (UTF-8), atomically, with the columns in the given order.

    Floats are written so that they read back as the same number; a value that is not a number is
    ``nan``; None is an empty cell.

    Parameters
    ----------
    path : path
        File to write.
    rows : iterable of mappings
        A row lacks no column and has no other.
    columns : sequence of str
        Header, and order of the cells.

    Raises
    ------
    FileError
        If the file can't be written.
    ValueError
        If a row's keys are not the columns.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "volumes.csv"
    >>> write_csv(file, [{"case": "p07", "volume_ml": 0.1 + 0.2}], ["case", "volume_ml"])
    >>> file.read_text().splitlines()
    ['case,volume_ml', 'p07,0.30000000000000004']
    """
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(columns)
        for row in rows:
            if set(row) != set(columns):
                raise ValueError(f"columns {sorted(set(row) ^ set(columns))} are missing or not declared")
            table.writerow([_cell(row[name]) for name in columns])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def write_json(path: str | Path, data: Any) -> None:
    """Write plain data as indented JSON (UTF-8), atomically.

    JSON has no NaN and no infinity: they become ``null``. Paths become strings.

    Raises
    ------
    FileError
        If the file can't be written.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "summary.json"
    >>> write_json(file, {"mean": float("nan"), "n": 3})
    >>> read_json(file)
    {'mean': None, 'n': 3}
    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return float(data) if math.isfinite(data) else None
    return str(data) if isinstance(data, Path) else data


def read_text(path: str | Path) -> str:
    """Text in UTF-8, or in UTF-16 where the file begins as such: so do some spreadsheets and shells write it.

    The mark that a file may begin with is no part of the text.

    Raises
    ------
    OSError
        If it can't be read.
    UnicodeDecodeError
        If it is no such text.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = file.write_text("case", encoding="utf-8-sig")
    >>> read_text(file)
    'case'
    """
    content = Path(path).read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileError
        If the file is missing, can't be read, is not JSON, or has two entries of one name.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=_once)
    except OSError as error:
        raise unreadable(error, path) from error
    except ValueError as error:
        raise FileError(f"The file is not JSON: {error}.", file=path, remedy="write it again") from error
    except RecursionError as error:
        raise FileError("The file is nested too deeply.", file=path, remedy="write it again") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON; of two entries of one name, one would be lost without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' is there twice")
    return found


def software() -> str:
    """Name and version of this package, as written into every table.

    Examples
    --------
    >>> software().split()[0]
    'truevox'
    """
    try:
        return f"truevox {metadata.version('truevox')}"
    except metadata.PackageNotFoundError:
        return "truevox (not installed)"
