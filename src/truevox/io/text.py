"""What NRRD and MetaImage share: a header in words, LPS, and voxels in the same file or beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import FileError
from truevox.io.guard import damaged
from truevox.io.registry import Box, Voxels, native
from truevox.io.streams import Block, first_bytes

__all__ = ["FROM_LPS", "at_the_end", "complete", "data_file", "numbers", "sizes", "text_before", "voxels_of"]

FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between the patient axes of DICOM and ITK (left, posterior, superior) and ours; its own inverse."""

_LONGEST = 2**20


def text_before(path: Path, end: re.Pattern[bytes]) -> tuple[str, int]:
    """The header's text up to what ends it, and where the voxels begin; the whole file if nothing ends it.

    Raises
    ------
    FileError
        If the file can't be read, or there is no end within its first megabyte.
    """
    count = 4096
    while True:
        content = first_bytes(path, count)
        found = end.search(content)
        if found:
            return content[: found.end()].decode("utf-8", "replace"), found.end()
        if len(content) < count:
            return content.decode("utf-8", "replace"), len(content)
        if count >= _LONGEST:
            raise damaged(path, f"no end of the header in {count} bytes")
        count *= 4


def numbers(text: str, path: Path, count: int | None = None) -> list[float]:
    """The numbers of a field.

    Raises
    ------
    FileError
        If something else stands there, or another number of them.
    """
    try:
        found = [float(word) for word in text.split()]
    except ValueError:
        found = []
    if not found or (count is not None and len(found) != count):
        raise damaged(path, f"'{text[:80]}' in the header", f"{count or 'some'} numbers")
    return found


def sizes(text: str, path: Path, count: int) -> list[int]:
    """The voxels per axis: whole, positive.

    Raises
    ------
    FileError
        If they are not.
    """
    found = numbers(text, path, count)
    if not all(1 <= n < 2**62 and n == int(n) for n in found):
        raise damaged(path, f"'{text[:80]}' in the header", "sizes of at least 1")
    return [int(n) for n in found]


def complete(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) axes from the (n, 3) that a file of n axes has: the missing are of 1 mm, across the others."""
    if len(directions) == 2:
        across = np.cross(*directions)
        length = np.linalg.norm(across)
        return np.vstack([directions, across / (length if length > 0 else 1.0)])
    if len(directions) == 1:
        return np.vstack([directions, np.linalg.qr(directions.T, mode="complete")[0][:, 1:].T])
    return directions


def data_file(path: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises
    ------
    FileError
        If it names several, or one that is not beside the header: a header that somebody sent must not say
        which files of this machine are read.
    """
    if not name or re.match(r"LIST\b", name) or re.search(r"%\d*d", name):
        raise FileError(
            "The voxels are spread over several files.",
            file=path,
            got=name or "no file",
            remedy="convert it to one file",
        )
    if "\0" in name:
        raise damaged(path, f"{name!r} in the header", "the name of a file")
    # By name, not by where links lead: data under version control are links into its store.
    if not Path(os.path.abspath(path.parent / name)).is_relative_to(os.path.abspath(path.parent)):
        raise FileError(
            "The header names a file of voxels outside of its own folder, which is not read.",
            file=path,
            got=name,
            expected="a file beside the header",
            remedy="put the file of voxels beside the header, and write its name alone into the header",
        )
    return path.parent / name


def voxels_of(block: Block) -> Voxels:
    """Reads a block, in native byte order."""

    def voxels(box: Box) -> NDArray:
        return native(block.read(box))

    block.check()
    return voxels


def at_the_end(block: Block) -> int:
    """Where voxels begin that the file ends with."""
    try:
        return max(block.path.stat().st_size - block.size, 0)
    except OSError:
        return 0
