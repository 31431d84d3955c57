"""The registry of file formats: a reader or a writer is one small function that names its suffixes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from numpy.typing import NDArray

from truevox.errors import FileError
from truevox.io.beside import beside
from truevox.io.header import Header

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = [
    "DICOM",
    "FOLDER",
    "Box",
    "Reader",
    "Voxels",
    "Writer",
    "bare",
    "find_reader",
    "find_writer",
    "has_reader",
    "reader",
    "reading_suffixes",
    "sources",
    "writer",
]

FOLDER = "<folder>"
"""Registered like a suffix: a folder whose name says nothing of its format."""
DICOM = "<DICM>"
"""Registered like a suffix: a file of any name whose bytes 128 to 132 say DICM."""

Box = tuple[slice, ...]
"""Part of the stored axes I, J, K: slices with start and stop inside the image, and step 1."""
Voxels = Callable[[Box], NDArray]
"""Reads the voxels (C, i, j, k) of a box, in native byte order, and as little else as the format allows."""


class Reader(Protocol):
    """Opens a file: reads its header, and gives a function that reads voxels when it is called."""

    def __call__(self, path: Path) -> tuple[Header, Voxels]:
        """Header, and the voxels of any box on demand."""
        ...


class Writer(Protocol):
    """Writes voxels (C, I, J, K) of the type that belongs into the file.

    ``image`` says where they lie and what they mean; ``header`` is that of the file whose grid the
    image still has, None if it has another.
    """

    def __call__(self, path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
        """Write to exactly this path."""
        ...


_NIFTI = ("truevox.io.nifti", "")
_NRRD = ("truevox.io.nrrd", "")
_META = ("truevox.io.metaimage", "")
_NUMPY = ("truevox.io.arrays", "")
_PICTURE = ("truevox.io.pictures", "")
_TIFF = ("truevox.io.tiff", "")
_ZARR = ("truevox.io.zarrs", "formats")
_DICOM = ("truevox.io.dicom", "dicom")
# Where the formats of this package live, and the extra that brings what their module needs. A module is
# imported when the first file of its format is met: reading NIfTI loads nothing for the others.
_MODULES: Mapping[str, tuple[str, str]] = {
    ".nii": _NIFTI,
    ".nii.gz": _NIFTI,
    ".hdr": _NIFTI,
    ".hdr.gz": _NIFTI,
    ".img": _NIFTI,
    ".img.gz": _NIFTI,
    ".nrrd": _NRRD,
    ".nhdr": _NRRD,
    ".mha": _META,
    ".mhd": _META,
    ".npy": _NUMPY,
    ".npz": _NUMPY,
    ".png": _PICTURE,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _PICTURE,
    ".jpeg": _PICTURE,
    ".zarr": _ZARR,
    ".dcm": _DICOM,
    ".dicom": _DICOM,
    ".ima": _DICOM,
    FOLDER: _DICOM,
    DICOM: _DICOM,
}
_WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz", ".png", ".tif", ".tiff", ".zarr", ".dcm")

_READERS: dict[str, Reader] = {}
_WRITERS: dict[str, Writer] = {}


def reader(*suffixes: str) -> Callable[[Reader], Reader]:
    """Register a function that opens files with these suffixes (lower case, with the dot).

    Examples
    --------
    >>> import numpy as np
    >>> from truevox.space import Grid
    >>> @reader(".raw")
    ... def read_raw(path):
    ...     array = np.memmap(path, np.uint8, "r", shape=(1, 64, 64, 32))
    ...     header = Header(path, Grid(array.shape[1:]), channels=1, dtype="uint8")
    ...     return header, lambda box: array[:, *box]
    >>> has_reader("p07.raw")
    True
    >>> _ = _READERS.pop(".raw")
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
    known = {name for name in (*_MODULES, *_READERS) if name.startswith(".")}
    return tuple(sorted(known, key=lambda s: (-len(s), s)))


def has_reader(path: str | Path) -> bool:
    """Whether a file of this name could be read, judged by its suffix alone.

    Examples
    --------
    >>> has_reader("scans/p07.NII.GZ"), has_reader("42.5")
    (True, False)
    """
    name = str(path)
    return any(_suffix(part, _MODULES, _READERS) is not None for part in (name, name.partition("?")[0]))


def bare(path: str | Path) -> Path:
    """The file or folder of a path, without what follows ``?``: a choice that its reader understands.

    Examples
    --------
    >>> str(bare("study?series=3"))
    'study'
    """
    whole = Path(path)
    name, mark, _ = str(path).partition("?")
    return Path(name) if mark and not whole.exists() else whole


def sources(path: str | Path) -> list[Path]:
    """The files and folders that reading a path depends on: itself, the other file of a format of two, and
    the image that ``like=`` names.

    Examples
    --------
    >>> [p.as_posix() for p in sources("seg/mask.dcm?labels=liver&like=../ct")]
    ['seg/mask.dcm', 'seg/../ct']
    """
    file = bare(path)
    words = str(path)[len(str(file)) + 1 :].split("&")
    likes = [word.removeprefix("like=") for word in words if word.startswith("like=")]
    return [file, *beside(file), *(found for like in likes for found in sources(file.parent / like))]


def find_reader(path: Path) -> Reader:
    """The reader for a file or folder: by its suffix; else a folder is a series; else by its content.

    Raises
    ------
    FileError
        If the file is of no known format (names the suffixes that can be read), is missing, or needs a
        package that is not installed.
    """
    path = bare(path)
    name = _suffix(path.name, _MODULES, _READERS)
    if name is None and path.is_dir():
        name = FOLDER
    if name is None and _is_dicom(path):
        name = DICOM
    if name is None:
        raise _unknown(path, "read", reading_suffixes())
    return _find(_READERS, name, path)


def find_writer(path: Path) -> Writer:
    """The writer for a file's suffix.

    Raises
    ------
    FileError
        Naming the suffixes that can be written.
    """
    known = {*_WRITTEN, *_WRITERS}
    name = _suffix(path.name, known)
    if name is None:
        raise _unknown(path, "written", known)
    return _find(_WRITERS, name, path)


def _suffix(name: str, *known: Collection[str]) -> str | None:
    """The longest suffix of a name that is known. Tables of words ask for each of their cells."""
    name = name.lower()
    at = name.find(".")
    while at >= 0:
        if any(name[at:] in some for some in known):
            return name[at:]
        at = name.find(".", at + 1)
    return None


Function = TypeVar("Function", Reader, Writer)


def _find(registered: dict[str, Function], name: str, path: Path) -> Function:
    """The function registered under a name, after importing the module that registers it."""
    if name not in registered:
        module, extra = _MODULES[name]
        own = dict(_READERS), dict(_WRITERS)
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise FileError(
                f"Files of this format need a package that is not installed: {error.name}.",
                file=path,
                remedy=f"pip install 'truevox[{extra}]'",
            ) from error
        # What a user registered for another suffix of the same module stays.
        _READERS.update(own[0])
        _WRITERS.update(own[1])
    if name not in registered:
        raise _unknown(
            path, "read" if registered is _READERS else "written", [s for s in registered if s[0] == "."]
        )
    return registered[name]


def _is_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except FileNotFoundError as error:
        raise FileError(
            "The file does not exist.", file=path, remedy="check the path, and its case"
        ) from error
    except OSError:
        return False


def _unknown(path: Path, verb: str, known: Collection[str]) -> FileError:
    return FileError(
        f"Files with this suffix can't be {verb}.",
        file=path,
        got="".join(path.suffixes[-2:]) or "no suffix",
        expected=", ".join(sorted(known)),
        remedy="convert the file, or register a function with @truevox.io.reader / @truevox.io.writer",
    )


def native(array: NDArray) -> NDArray:
    """The array in this machine's byte order (no copy where it is already)."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="), copy=False)
