"""Voxels out of a plain or gzipped file: a box of them, without the rest in memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from isal import igzip, igzip_lib, isal_zlib
from numpy.typing import NDArray

from truevox.errors import FileError
from truevox.io.guard import allocate, damaged, reading
from truevox.io.registry import Box

__all__ = ["check_size", "first_bytes", "is_packed", "read_box"]

# Deflate can't make more of a byte (zlib's documentation: 1032:1).
_MOST_PACKED = 1032
# Pieces that stay in the processor's cache are unpacked a quarter faster than the whole at once.
_PIECE = 2**20
_DAMAGED = (gzip.BadGzipFile, EOFError, cast("type[Exception]", igzip_lib.error))


def is_packed(path: Path) -> bool:
    """Whether the name says that the file is compressed with gzip."""
    return path.name.lower().endswith(".gz")


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of the (unpacked) file; fewer if it is shorter.

    Raises
    ------
    FileError
        If the file can't be read or is not compressed as its name says.
    """
    with _stored(path) as stream:
        if not is_packed(path):
            return stream.read(count)
        # Three times as fast as a stream of its own, for a header.
        unpacker, found = isal_zlib.decompressobj(31), b""
        while len(found) < count and not unpacker.eof and (piece := stream.read(4096)):
            found += unpacker.decompress(piece, count - len(found))
        return found


def check_size(path: Path, size: int) -> None:
    """Refuse a file that can't hold so many (unpacked) bytes.

    Raises
    ------
    FileError
        Naming both sizes.
    """
    with reading(path):
        found = path.stat().st_size
    if is_packed(path):
        if size > found * _MOST_PACKED:
            raise damaged(path, f"{found} bytes, packed", f"{size} bytes, unpacked")
    elif size > found:
        raise damaged(path, f"{found} bytes", f"{size} bytes")


def read_box(path: Path, offset: int, shape: tuple[int, ...], stored: np.dtype, box: Box) -> NDArray:
    """Voxels (C, i, j, k) of a box of a file that stores I fastest, then J, K and C.

    A gzipped file is unpacked only as far as the last slice of the box; if that is its end, its checksum
    is compared.

    Parameters
    ----------
    path : Path
    offset : int
        Of the first voxel in the (unpacked) file.
    shape : (I, J, K, C)
        All that is stored.
    stored : dtype
        On disk.
    box : three slices

    Raises
    ------
    FileError
        If the file is truncated or damaged, or holds more than it should.
    """
    (size_i, size_j, size_k, channels), (i, j, k) = shape, box
    row = size_i * stored.itemsize
    plane = row * size_j
    # The order of the file, reversed: each piece read is a piece of memory.
    whole_planes = (i.stop - i.start, j.stop - j.start) == (size_i, size_j)
    out = allocate((channels, k.stop - k.start, j.stop - j.start, i.stop - i.start), stored, path)
    rows = None if whole_planes else allocate((j.stop - j.start, size_i), stored, path)
    with _opened(path) as stream:
        for c in range(channels):
            start = offset + (c * size_k + k.start) * plane
            if rows is None:
                _fill(stream, path, start, out[c])
                continue
            for z in range(len(out[c])):
                _fill(stream, path, start + z * plane + j.start * row, rows)
                out[c, z] = rows[:, i]
        if is_packed(path) and (k.stop, j.stop) == (size_k, size_j):
            _expect_end(stream, path)
    return out.transpose(0, 3, 2, 1)


def _fill(stream: BinaryIO, path: Path, start: int, array: NDArray) -> None:
    """Read an array's bytes from a position of the stream."""
    view = array.reshape(-1).view(np.uint8).data
    piece = _PIECE if is_packed(path) else len(view)
    done = stream.seek(start) - start
    while 0 <= done < len(view):
        count = stream.readinto(view[done : done + piece])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    if done < len(view):
        raise damaged(path, f"{start + done} bytes", f"{start + len(view)} bytes or more")


def _expect_end(stream: BinaryIO, path: Path) -> None:
    """Read on to the checksum. What follows the voxels is small, or it is not what the header says."""
    if len(stream.read(_PIECE)) == _PIECE:
        raise FileError(
            "The file holds more than its header says.",
            file=path,
            got=f"over {_PIECE} bytes after the last voxel",
            remedy="copy or convert it again from its source",
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, unpacked on the way."""
    with _stored(path) as stream:
        if not is_packed(path):
            yield stream
            return
        with igzip.IGzipFile(fileobj=stream, mode="rb") as unpacked:
            yield cast(BinaryIO, unpacked)


@contextmanager
def _stored(path: Path) -> Iterator[BinaryIO]:
    """The file as it is, if it is packed as its name says."""
    with reading(path), open(path, "rb") as stream:
        if is_packed(path) and stream.peek(2)[:2] != b"\x1f\x8b":
            raise FileError(
                "The file is not compressed with gzip, as its name says.",
                file=path,
                remedy=f"rename it to {path.suffixes[-2] if len(path.suffixes) > 1 else 'its true suffix'}",
            )
        try:
            yield stream
        except _DAMAGED as error:
            raise damaged(path, str(error), "a whole gzip file") from error
