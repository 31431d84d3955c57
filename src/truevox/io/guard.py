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

__all__ = ["allocate", "checked_type", "damaged", "decoding", "reading"]


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
        raise FileError(f"The file can't be read: {error.strerror or error}.", file=path) from error
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
            raise damaged(path, str(error) or type(error).__name__) from error


def damaged(path: Path, got: object, expected: object = None) -> FileError:
    """The error for a file that is not all there."""
    return FileError(
        "The file is truncated or damaged.",
        file=path,
        got=got,
        expected=expected,
        remedy="copy or convert it again from its source",
    )


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
