"""The numbers of a TIFF: strips and tiles unpacked, and put in their places. Headers are tifffile's."""

from __future__ import annotations

import io
import math
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image as Pillow

from truevox.errors import FileError
from truevox.io.guard import allocate, damaged, decoding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_page"]

_NONE, _DEFLATE = 1, (8, 32946)
# Streams of bytes that libtiff unpacks for Pillow: LZW, PackBits, LZMA, Zstandard.
_STREAMS = (5, 32773, 34925, 50000)
# libtiff takes differences in these alone, whatever the tag says.
_PREDICTED = (5, 34925, 50000, *_DEFLATE)
# Codes of pictures: CCITT and JPEG. Of these, only whole pages mean something.
_PICTURES = (2, 3, 4, 7)
_JPEG = 7
_DIFFERENCES = _WHOLE_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_WHITE_IS_ZERO = 0
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def read_page(page: Any, path: Path) -> NDArray:
    """The numbers of a page of tifffile as they are stored: (samples, rows, columns), in native byte order.

    Raises
    ------
    FileError
        If the page is truncated or damaged, or packed in a way that needs a package that is not installed.
    """
    key = page.keyframe
    if key.compression in _PICTURES and (found := _by_pillow(key, page, path)) is not None:
        return found
    known = key.compression in (_NONE, *_DEFLATE, *_STREAMS) and key.predictor in (1, *_DIFFERENCES)
    if not known or key.imagedepth > 1 or not isinstance(key.bitspersample, int):
        return _by_tifffile(page, path)
    shape = (key.samplesperpixel, key.imagelength, key.imagewidth)
    out = allocate(shape, key.dtype, path)
    many = key.samplesperpixel if key.planarconfig == 1 else 1
    stream = page.parent.filehandle
    places = list(_places(key))
    if len(page.dataoffsets) < len(places):
        raise damaged(path, f"{len(page.dataoffsets)} strips or tiles", len(places))
    for (sample, row, column, rows, columns), start, count in zip(
        places, page.dataoffsets, page.databytecounts, strict=False
    ):
        there = out[sample : sample + many, row : row + rows, column : column + columns]
        if start == 0 or count == 0:  # left out by the program that wrote it
            there[...] = key.nodata
            continue
        stream.seek(start)
        part = _unpacked(stream.read(count), key, (rows, columns, many), path)
        there[...] = part[: there.shape[1], : there.shape[2]].transpose(2, 0, 1)
    return out


def _places(key: Any) -> Iterator[tuple[int, int, int, int, int]]:
    """First sample, row and column of every strip or tile, and its rows and columns as stored."""
    planes = range(key.samplesperpixel if key.planarconfig == 2 else 1)
    if key.is_tiled:
        down, across = range(0, key.imagelength, key.tilelength), range(0, key.imagewidth, key.tilewidth)
        yield from ((s, y, x, key.tilelength, key.tilewidth) for s in planes for y in down for x in across)
        return
    step = min(key.rowsperstrip, key.imagelength)
    for s in planes:
        for y in range(0, key.imagelength, step):
            yield s, y, 0, min(step, key.imagelength - y), key.imagewidth


def _unpacked(content: bytes, key: Any, shape: tuple[int, int, int], path: Path) -> NDArray:
    """A strip or tile as (rows, columns, samples)."""
    rows, columns, many = shape
    row_bytes = math.ceil(columns * many * key.bitspersample / 8)
    if key.fillorder == 2:
        content = content.translate(_REVERSED)
    content = _decompressed(content, key.compression, rows, row_bytes, path)
    if len(content) < rows * row_bytes:
        raise damaged(path, f"{len(content)} bytes of a strip or tile", f"{rows * row_bytes} bytes")
    packed = np.frombuffer(content, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    if key.bitspersample % 8:
        return _few_bits(packed, key.bitspersample, key.dtype)[:, : columns * many].reshape(shape)
    if key.bitspersample != 8 * key.dtype.itemsize:
        raise FileError(
            f"Numbers of {key.bitspersample} bit are not read.",
            file=path,
            expected="8, 16, 32 or 64 bit",
            remedy="save the image again with 8, 16 or 32 bit",
        )
    predictor = key.predictor if key.compression in _PREDICTED else 1
    if predictor == _FLOAT_DIFFERENCES:
        return _float_sums(packed, shape, key.dtype)
    values = packed.reshape(-1).view(key.dtype.newbyteorder(key.parent.byteorder)).reshape(shape)
    if predictor == _WHOLE_DIFFERENCES:
        whole = values.astype(key.dtype).view(f"u{key.dtype.itemsize}")
        return np.cumsum(whole, axis=1, dtype=whole.dtype).view(key.dtype)
    return values


def _decompressed(content: bytes, code: int, rows: int, row_bytes: int, path: Path) -> bytes:
    """At most the bytes that belong there: a small file may unpack to more than any memory."""
    if code == _NONE:
        return content
    with decoding(path):
        if code in _DEFLATE:
            return isal_zlib.decompressobj().decompress(content, rows * row_bytes)
        # As a strip of bytes: libtiff unpacks it without looking at what the bytes mean.
        entries = [(256, row_bytes), (257, rows), (258, 8), (259, code), (262, 1), (273, 8 + 2 + 9 * 12 + 4)]
        entries += [(277, 1), (278, rows), (279, len(content))]
        head = struct.pack("<4sIH", b"II*\0", 8, len(entries))
        tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        with Pillow.open(io.BytesIO(head + tags + bytes(4) + content), formats=("TIFF",)) as strip:
            return strip.tobytes()


def _few_bits(packed: NDArray, bits: int, dtype: np.dtype) -> NDArray:
    """Numbers of some bits each, the highest bit first: (rows, numbers)."""
    single = np.unpackbits(packed, axis=1)
    count = single.shape[1] // bits
    single = single[:, : count * bits].reshape(len(packed), count, bits)
    out = np.zeros(single.shape[:2], np.uint8 if dtype.kind == "b" else dtype)
    for k in range(bits):
        out <<= 1
        out |= single[..., k]
    return out


def _float_sums(packed: NDArray, shape: tuple[int, int, int], dtype: np.dtype) -> NDArray:
    """Floats from differences of their bytes: all first bytes of a row, then the second (Adobe, 2005)."""
    rows, columns, many = shape
    summed = np.cumsum(packed.reshape(rows, -1, many), axis=1, dtype=np.uint8)
    apart = summed.reshape(rows, dtype.itemsize, columns * many).transpose(0, 2, 1)
    return np.ascontiguousarray(apart).view(dtype.newbyteorder(">")).reshape(shape)


def _by_pillow(key: Any, page: Any, path: Path) -> NDArray | None:
    """A page in a code for pictures; None if it holds what Pillow would change."""
    with warnings.catch_warnings(), decoding(path):
        warnings.simplefilter("ignore")
        with Pillow.open(path, formats=("TIFF",)) as picture:
            picture.seek(page.index)
            plain = picture.mode == "1" or (key.bitspersample == 8 and picture.mode in ("L", "RGB"))
            if not plain or picture.size != (key.imagewidth, key.imagelength):
                return None
            rows = np.asarray(picture).reshape(key.imagelength, key.imagewidth, -1)
    if key.photometric == _WHITE_IS_ZERO:
        # Pillow turns these around. Stored is what the file says.
        rows = ~rows if rows.dtype == bool else 255 - rows
    return rows.transpose(2, 0, 1).astype(np.uint8)


def _by_tifffile(page: Any, path: Path) -> NDArray:
    """What else there is, where the package is installed that tifffile asks for."""
    key = page.keyframe
    try:
        with decoding(path):
            array = page.asarray(squeeze=False)
    except FileError as error:
        if "imagecodecs" not in f"{error.got}":
            raise
        raise FileError(
            f"The file is packed with {key.compression.name}, which needs a package that is not installed: "
            "imagecodecs.",
            file=path,
            remedy="pip install imagecodecs, or save it again packed with deflate or LZW",
        ) from error
    if array.ndim != 5 or array.shape[1] != 1:
        raise FileError("Tiles with a depth are not read.", file=path, remedy="save it again in strips")
    separate, _, rows, columns, many = array.shape
    return array[:, 0].transpose(0, 3, 1, 2).reshape(separate * many, rows, columns)
