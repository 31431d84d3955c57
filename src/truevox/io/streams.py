"""Voxels out of a plain or packed file: a box of them, without the rest in memory."""

from __future__ import annotations

import bz2
import gzip
import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from isal import igzip, igzip_lib, isal_zlib
from numpy.typing import NDArray

from truevox.errors import FileError
from truevox.io.guard import allocate, damaged, foreign, reading
from truevox.io.registry import Box

__all__ = ["Block", "first_bytes", "write_gzip"]

# Deflate can't make more of a byte (zlib's documentation: 1032:1); bzip2 makes 45 MB of 37 bytes.
_MOST_PACKED = {"gzip": 1032, "zlib": 1032, "bzip2": 2_000_000}
# The shortest image: a header of NIfTI.
_HEAD = 348
# Pieces that stay in the processor's cache are unpacked a quarter faster than the whole at once.
_PIECE = 2**20
_DAMAGED = (gzip.BadGzipFile, EOFError, cast("type[Exception]", igzip_lib.error))


@dataclass(frozen=True)
class Block:
    """Where a file keeps its voxels, I fastest, then J, K.

    Parameters
    ----------
    path : Path
        The file.
    shape : (I, J, K, C)
        All that is stored.
    dtype : dtype
        On disk.
    offset : int
        Bytes before the first voxel, unpacked.
    start : int
        Bytes of the file before that.
    packing : {"gzip", "zlib", "bzip2", "words"}, optional
        How the file is packed from ``start`` on; words are numbers with spaces between them.
    interleaved : bool
        Whether the channels lie beside each other; else one volume follows the other.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype
    offset: int = 0
    start: int = 0
    packing: Literal["gzip", "zlib", "bzip2", "words"] | None = None
    interleaved: bool = False

    @property
    def size(self) -> int:
        """Bytes of the voxels, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Refuse a file that can't hold so many bytes.

        Raises
        ------
        FileError
            Naming both sizes.
        """
        with reading(self.path):
            found = self.path.stat().st_size
        need = self.offset + self.size
        if self.packing == "words":
            # A digit each, and a space between them.
            need = self.offset + 2 * math.prod(self.shape) - 1
        if self.packing in (None, "words"):
            if self.start + need > found:
                raise damaged(self.path, f"{found} bytes", f"{self.start + need} bytes")
        elif need > max(found - self.start, 0) * _MOST_PACKED[self.packing]:
            raise damaged(self.path, f"{found} bytes, packed", f"{need} bytes, unpacked")

    def read(self, box: Box) -> NDArray:
        """Voxels (C, i, j, k) of a box.

        A packed file is unpacked only as far as the last row of the box; if that is its end, its
        checksum is compared.

        Raises
        ------
        FileError
            If the file is truncated or damaged, or holds more than it should.
        """
        sizes, (i, j, k) = self.shape, box
        if self.packing == "words":
            return self._parsed()[:, i, j, k]
        if not self.interleaved:
            return self._rows(sizes, i, j, k).transpose(0, 3, 2, 1)
        many = sizes[3]
        wide = slice(i.start * many, i.stop * many)
        rows = self._rows((sizes[0] * many, sizes[1], sizes[2], 1), wide, j, k)[0]
        return rows.reshape(*rows.shape[:2], -1, many).transpose(3, 2, 1, 0)

    def _rows(self, sizes: tuple[int, ...], i: slice, j: slice, k: slice) -> NDArray:
        """(C, k, j, i): the order of the file, so that each piece read is a piece of memory."""
        size_i, size_j, size_k, channels = sizes
        row = size_i * self.dtype.itemsize
        plane = row * size_j
        shape = (channels, k.stop - k.start, j.stop - j.start, i.stop - i.start)
        out = allocate(shape, self.dtype, self.path)
        rows = None if shape[2:] == (size_j, size_i) else allocate((shape[2], size_i), self.dtype, self.path)
        with _opened(self.path, self.start, self.packing) as stream:
            for c in range(channels):
                first = self.start * (self.packing is None) + self.offset + (c * size_k + k.start) * plane
                if rows is None:
                    self._fill(stream, first, out[c])
                    continue
                for z in range(shape[1]):
                    self._fill(stream, first + z * plane + j.start * row, rows)
                    out[c, z] = rows[:, i]
            if self.packing is not None and (k.stop, j.stop) == (size_k, size_j):
                self._expect_end(stream)
        return out

    def _parsed(self) -> NDArray:
        """All voxels (C, I, J, K), of words."""
        with _stored(self.path, self.start + self.offset, None) as stream:
            words = stream.read().split()
        if len(words) != math.prod(self.shape):
            raise damaged(self.path, f"{len(words)} numbers", f"{math.prod(self.shape)} numbers")
        try:
            # Integers by way of integers: those above 2**53 are none of float64.
            wide = np.dtype({"f": "f8", "u": "u8"}.get(self.dtype.kind, "i8"))
            values = np.array(words).astype(wide)
        except (ValueError, OverflowError) as error:
            raise damaged(self.path, str(error), f"numbers of type {self.dtype.name}") from error
        kind = self.dtype.newbyteorder("=")
        if kind.kind != "f" and (values.astype(kind) != values).any():
            raise damaged(self.path, "numbers beyond their type", f"numbers of type {kind.name}")
        size_i, size_j, size_k, channels = self.shape
        if self.interleaved:
            return values.astype(kind).reshape(size_k, size_j, size_i, channels).transpose(3, 2, 1, 0)
        return values.astype(kind).reshape(channels, size_k, size_j, size_i).transpose(0, 3, 2, 1)

    def _fill(self, stream: io.BufferedIOBase, start: int, array: NDArray) -> None:
        """Read an array's bytes from a position of the stream."""
        view = array.reshape(-1).view(np.uint8).data
        piece = len(view) if self.packing is None else _PIECE
        done = stream.seek(start) - start
        while 0 <= done < len(view):
            count = stream.readinto(view[done : done + piece])
            if not count:
                break
            done += count
        if done < len(view):
            raise damaged(self.path, f"{start + done} bytes", f"{start + len(view)} bytes or more")

    def _expect_end(self, stream: io.BufferedIOBase) -> None:
        """Read on to the checksum. What follows the voxels is small, or not what the header says."""
        more = 0
        while more < _PIECE and (piece := stream.read(_PIECE)):
            more += len(piece)
        if more >= _PIECE:
            raise FileError(
                "The file holds more than its header says.",
                file=self.path,
                got=f"over {_PIECE} bytes after the last voxel",
                remedy="copy or convert it again from its source",
            )


def first_bytes(path: Path, count: int, *, packed: bool = False) -> bytes:
    """The first bytes of the (unpacked) file; fewer if it is shorter.

    Raises
    ------
    FileError
        If the file can't be read or is not compressed as its name says.
    """
    with _stored(path, 0, "gzip" if packed else None) as stream:
        if not packed:
            return stream.read(count)
        # Three times as fast as a stream of its own, for a header.
        unpacker, found = isal_zlib.decompressobj(31), b""
        while len(found) < count and not unpacker.eof and (piece := stream.read(4096)):
            found += unpacker.decompress(piece, count - len(found))
    if len(found) == count:
        return found
    if not unpacker.eof:
        raise damaged(path, f"{len(found)} bytes when unpacked, then its end", "a whole gzip stream")
    # Short, or in several members.
    with _opened(path, 0, "gzip") as stream:
        return stream.read(count)


def write_gzip(stream: BinaryIO, content: Iterable[bytes], kind: str) -> None:
    """Pack voxels of an image of this kind. The same bytes make the same file: no time, no name."""
    # isal packs numbers as small as zlib does, in a tenth of the time; masks it leaves twice as large.
    pack, level = (gzip.GzipFile, 6) if kind == "label" else (igzip.IGzipFile, 2)
    with pack("", "wb", level, stream, mtime=0) as packed:
        packed.writelines(content)


class _Zlib(io.RawIOBase):
    """A zlib stream, unpacked on the way. It goes forward only."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._at = stream, 0
        self._unpacker = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._unpacker.eof:
            piece = self._stream.read(2**17) if self._unpacker.needs_input else b""
            if not piece and self._unpacker.needs_input:
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            found = self._unpacker.decompress(piece, len(buffer))
            if found:
                buffer[: len(found)] = found
                self._at += len(found)
                return len(found)
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        while self._at < offset and self.read(min(offset - self._at, _PIECE)):
            pass
        return self._at


@contextmanager
def _opened(path: Path, start: int, packing: str | None) -> Iterator[io.BufferedIOBase]:
    """The file, unpacked on the way."""
    with _stored(path, start, packing) as stream:
        if packing is None:
            yield cast(io.BufferedIOBase, stream)
        elif packing == "zlib":
            yield cast(io.BufferedIOBase, _Zlib(stream))
        elif packing == "bzip2":
            with bz2.BZ2File(stream) as unpacked:
                yield unpacked
        else:
            with igzip.IGzipFile(fileobj=stream, mode="rb") as unpacked:
                yield unpacked


@contextmanager
def _stored(path: Path, start: int, packing: str | None) -> Iterator[BinaryIO]:
    """The file as it is, at its start, if it is packed as its name says."""
    with reading(path), open(path, "rb") as stream:
        stream.seek(start)
        if packing == "gzip" and stream.peek(2)[:2] != b"\x1f\x8b":
            if start:
                raise damaged(path, "voxels that are not compressed with gzip", "as the header says")
            content = stream.read(_HEAD)
            plain = path.suffixes[-2] if len(path.suffixes) > 1 else "its true suffix"
            raise foreign(path, content, "a file packed with gzip") or FileError(
                "The file is not compressed with gzip, as its name says.",
                file=path,
                remedy=f"rename it to {plain}" if len(content) == _HEAD else "copy it again from its source",
            )
        try:
            yield stream
        except _DAMAGED as error:
            raise damaged(path, str(error), f"a whole {packing} stream") from error
        except OSError as error:
            # What bzip2 says of damage has no number.
            if error.errno is not None:
                raise
            raise damaged(path, str(error), f"a whole {packing} stream") from error
