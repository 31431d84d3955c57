"""What keeps every reader from harm: errors that name the file, and memory that is there."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from truevox.errors import FileError, TrueVoxError

__all__ = ["READABLE", "allocate", "checked_type", "damaged", "decoding", "foreign", "reading"]

READABLE = "check that it is a file, and that its disk or share can be read"
"""What to do where the system refuses to read."""
_AGAIN = "copy or download it again from its source"
_SOME = 1024
# How files begin that lie under the name of an image, what they are, and what to do.
_TEXTS: tuple[tuple[str, str, str], ...] = (
    (
        r"\s*(<!doctype html|<html|<\?xml|<head|<body)",
        "a web page",
        f"{_AGAIN}; the page may say why it came",
    ),
    (r"version https://git-lfs", "a pointer of Git LFS, not the file itself", "fetch it: git lfs pull"),
    (r"\S*/annex/objects/", "a pointer of git-annex, not the file itself", "fetch it: datalad get"),
)
_FORMATS: tuple[tuple[str, str, str], ...] = (
    (r"PK\x03\x04", "a zip archive", "unpack it"),
    (r"BZh[1-9]", "packed with bzip2", "unpack it, or pack it with gzip"),
    (r"\xfd7zXZ\0", "packed with xz", "unpack it, or pack it with gzip"),
    (r"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it, or pack it with gzip"),
    (r"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (r"NRRD000", "an NRRD image", "rename it to .nrrd"),
    (r"(?s).{128}DICM", "a DICOM file", "rename it to .dcm"),
    (r"\x89PNG", "a PNG picture", "rename it to .png"),
    (r"\x89HDF", "an HDF5 (or MINC) file", "convert it to NIfTI"),
)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """What the system says while a file is read becomes an error that names the file.

    Raises
    ------
    FileError
        If the file is missing or can't be read, or memory runs out.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileError("The file does not exist.", file=path, remedy=_where(path)) from error
    except PermissionError as error:
        raise FileError(
            "The file can't be read: permission denied.",
            file=path,
            remedy="ask its owner for the right to read it",
        ) from error
    except OSError as error:
        raise FileError(
            f"The file can't be read: {error.strerror or error}.", file=path, remedy=READABLE
        ) from error
    except MemoryError as error:
        raise FileError(
            "The image is larger than the memory that is free.", file=path, remedy="read a region of it"
        ) from error


def _where(path: Path) -> str:
    if re.search(r"(^|/)[A-Za-z]:[\\/]", str(path)) and os.sep == "/":
        return "this is a path of Windows, which this machine does not have: write it relative to the table"
    return "check the path, and its case"


@contextlib.contextmanager
def decoding(path: Path) -> Iterator[None]:
    """As :func:`reading`, around libraries that raise anything when a file is damaged."""
    with reading(path):
        try:
            yield
        except (TrueVoxError, MemoryError, FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            other = None
            if path.is_file():
                # Formats have signatures of their own: only what is no format at all is named.
                with open(path, "rb") as stream:
                    other = foreign(path, stream.read(_SOME), f"a {path.suffix} file", formats=False)
            raise other or damaged(path, str(error) or type(error).__name__) from error


def damaged(path: Path, got: object, expected: object = None) -> FileError:
    """The error for a file that is not all there."""
    return FileError(
        "The file is truncated or damaged.",
        file=path,
        got=got,
        expected=expected,
        remedy="copy or convert it again from its source",
    )


def foreign(path: Path, content: bytes, what: str, *, formats: bool = True) -> FileError | None:
    """The error for a file that is empty, or something else than its name says; None if it may be ``what``.

    ``content`` are its first bytes, some hundred or more if it has them; ``formats`` are other formats of
    images and archives.
    """
    if not content:
        return FileError("The file is empty.", file=path, expected=what, remedy=_AGAIN)
    text = content.decode("latin-1")
    for start, found, remedy in (*_TEXTS, *(_FORMATS if formats else ())):
        if re.match(start, text, re.IGNORECASE):
            return FileError(f"The file is {found}.", file=path, expected=what, remedy=remedy)
    if len(content) > 3 and _is_text(content):
        shown = " ".join(text[:60].split())
        return FileError("The file is text.", file=path, got=f"'{shown}'", expected=what, remedy=_AGAIN)
    return None


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        # The first bytes may end within a letter.
        if error.start < len(content) - 3:
            return False
        text = content[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)


def checked_type(dtype: np.dtype, path: Path) -> np.dtype:
    """The type itself, if its values are plain numbers.

    Raises
    ------
    FileError
        For complex numbers, colours as one number, words, objects, and floats of more than 64 bits.
    """
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return dtype
    raise FileError(
        f"Voxels of type {dtype} can't be used as numbers.",
        file=path,
        expected="integers or floats of up to 64 bits",
        remedy="convert the image; a colour or complex image is several channels",
    )


def allocate(shape: Sequence[int], dtype: DTypeLike, path: Path) -> NDArray:
    """An array for voxels, refused where the machine has less memory than that.

    Raises
    ------
    FileError
        Naming both sizes.
    """
    need = math.prod(shape) * np.dtype(dtype).itemsize
    # The system may grant what it does not have, and kill the process when it is used.
    if need > (have := _memory()):
        raise FileError(
            "The image is larger than this machine's memory.",
            file=path,
            got=f"{need / 2**30:.3g} GiB",
            expected=f"at most {have / 2**30:.3g} GiB",
            remedy="read a region of it; or, if the image is not that large, the header is damaged",
        )
    with reading(path):
        return np.empty(shape, dtype)


def _memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf
