"""The registry of file formats: a reader or a writer is one small function that names its suffixes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from numpy.typing import NDArray

from truevox.errors import FileError
from truevox.io.header import Header
from truevox.space import Grid

__all__ = [
    "Reader",
    "Writer",
    "find_reader",
    "find_writer",
    "has_reader",
    "reader",
    "reading_suffixes",
    "writer",
]

# Modules that register the formats of this package; imported when the first file is met.
_BUILT_IN = ("truevox.io.nifti",)


class Reader(Protocol):
    """Reads a file's header and, if asked, its voxels (C, I, J, K) in native byte order."""

    def __call__(self, path: Path, voxels: bool) -> tuple[Header, NDArray | None]:
        """Header, and voxels if asked."""
        ...


class Writer(Protocol):
    """Writes voxels (C, I, J, K); ``raw`` is the header's geometry where it is still true, else None."""

    def __call__(self, path: Path, voxels: NDArray, grid: Grid, kind: str, raw: bytes | None) -> None:
        """Write to exactly this path."""
        ...


_READERS: dict[str, Reader] = {}
_WRITERS: dict[str, Writer] = {}


def reader(*suffixes: str) -> Callable[[Reader], Reader]:
    """Register a function that reads files with these suffixes (lower case, with the dot).

    Examples
    --------
    >>> import numpy as np
    >>> @reader(".npy")
    ... def read_npy(path, voxels):
    ...     array = np.load(path)[None]
    ...     return Header(path, Grid(array.shape[1:]), 1, array.dtype.name), array
    >>> has_reader("p07.npy")
    True
    >>> _ = _READERS.pop(".npy")
    """

    def register(function: Reader) -> Reader:
        _READERS.update(dict.fromkeys(suffixes, function))
        return function

    return register


def writer(*suffixes: str) -> Callable[[Writer], Writer]:
    """Register a function that writes files with these suffixes (lower case, with the dot).

    It gets the path of a temporary file of the same suffix; :func:`truevox.io.save` gives it its name.
    """

    def register(function: Writer) -> Writer:
        _WRITERS.update(dict.fromkeys(suffixes, function))
        return function

    return register


def reading_suffixes() -> tuple[str, ...]:
    """Suffixes that can be read, longest first.

    Examples
    --------
    >>> ".nii.gz" in reading_suffixes()
    True
    """
    _load_built_in()
    return tuple(sorted(_READERS, key=lambda s: (-len(s), s)))


def has_reader(path: str | Path) -> bool:
    """Whether a file of this name could be read, judged by its suffix.

    Examples
    --------
    >>> has_reader("scans/p07.NII.GZ"), has_reader("42.5")
    (True, False)
    """
    return str(path).lower().endswith(reading_suffixes())


def find_reader(path: Path) -> Reader:
    """The reader for a file's suffix.

    Raises
    ------
    FileError
        Naming the suffixes that can be read.
    """
    _load_built_in()
    return _READERS[_suffix(path, tuple(_READERS), "read")]


def find_writer(path: Path) -> Writer:
    """The writer for a file's suffix.

    Raises
    ------
    FileError
        Naming the suffixes that can be written.
    """
    _load_built_in()
    return _WRITERS[_suffix(path, tuple(_WRITERS), "written")]


def _suffix(path: Path, known: tuple[str, ...], verb: str) -> str:
    matches = [s for s in known if path.name.lower().endswith(s)]
    if not matches:
        raise FileError(
            f"Files with this suffix can't be {verb}.",
            file=path,
            got="".join(path.suffixes[-2:]) or "no suffix",
            expected=", ".join(sorted(known)),
            remedy="convert the file, or register a function with @truevox.io.reader / @truevox.io.writer",
        )
    return max(matches, key=len)


def _load_built_in() -> None:
    for name in _BUILT_IN:
        importlib.import_module(name)


def native(array: NDArray) -> NDArray:
    """The array in this machine's byte order (no copy where it is already)."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="), copy=False)
