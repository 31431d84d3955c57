"""JPEG Lossless (process 14), the most common compression of clinical archives, as a decoder for pydicom.

After ITU-T T.81 (1992), annexes B, C, F and H: Huffman-coded differences to a prediction from the
neighbours to the left and above. Decoders of other projects ask for the GPL or are hard to install.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["DECODER_DEPENDENCIES", "SYNTAXES", "decode", "decode_frame", "is_available"]

SYNTAXES = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = dict.fromkeys(SYNTAXES, ())
"""What pydicom asks of the module of a decoder."""
_START, _SOF3, _DHT, _DRI, _SOS, _END = 0xD8, 0xC3, 0xC4, 0xDD, 0xDA, 0xD9
_OTHER_FRAMES = {*range(0xC0, 0xD0)} - {_SOF3, _DHT, 0xC8, 0xCC}


def is_available(uid: str) -> bool:
    """Whether a transfer syntax is decoded here: pydicom asks every decoder."""
    return uid in SYNTAXES


def decode_frame(source: bytes, runner: Any) -> bytearray:
    """Decode a frame for pydicom, and tell its runner how wide the result is."""
    frame = decode(source, (runner.rows, runner.columns, runner.samples_per_pixel))
    runner.set_option("bits_allocated", 8 * frame.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytearray(frame.tobytes())


@dataclass
class _Frame:
    """What the segments before the voxels say."""

    precision: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)
    components: list[int] = field(default_factory=list)
    tables: dict[int, NDArray[np.uint16]] = field(default_factory=dict)
    restart: int = 0


def decode(source: bytes, expected: tuple[int, int, int]) -> NDArray:
    """Decode one JPEG Lossless image.

    Parameters
    ----------
    source : bytes
    expected : (rows, columns, samples)
        Refused if the image says otherwise, before memory is taken.

    Returns
    -------
    (rows, columns, samples) uint8 or little-endian uint16

    Raises
    ------
    ValueError
        If the image is damaged, or of another process of JPEG.
    """
    frame, at = _Frame(), 2
    if source[:2] != bytes((0xFF, _START)):
        raise ValueError("no JPEG image")
    while True:
        while source[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 4 > len(source) or source[at] != 0xFF:
            raise ValueError("the JPEG image ends before its voxels")
        marker, length = source[at + 1], int.from_bytes(source[at + 2 : at + 4])
        body = source[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _SOF3:
            _read_frame(body, frame, expected)
        elif marker in _OTHER_FRAMES:
            raise ValueError(f"JPEG of another process (marker {marker:X})")
        elif marker == _DHT:
            _read_tables(body, frame.tables)
        elif marker == _DRI:
            frame.restart = int.from_bytes(body[:2])
        elif marker == _SOS:
            return _scan(body, source[at:], frame)


def _read_frame(body: bytes, frame: _Frame, expected: tuple[int, int, int]) -> None:
    frame.precision = body[0]
    rows, columns, count = int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[5]
    frame.shape = (rows, columns, count)
    frame.components = [body[6 + 3 * c] for c in range(count)]
    if frame.shape != expected or not 2 <= frame.precision <= 16:
        raise ValueError(f"the JPEG image is {columns}x{rows}x{count} of {frame.precision} bits")
    if any(body[7 + 3 * c] != 0x11 for c in range(count)):
        raise ValueError("JPEG with components of different size")


def _read_tables(body: bytes, tables: dict[int, NDArray[np.uint16]]) -> None:
    """Huffman tables: for every 16 bits that may come next, length of the code times 256, and its value."""
    while body:
        counts, total = body[1:17], sum(body[1:17])
        values, table = body[17 : 17 + total], np.zeros(1 << 16, np.uint16)
        first, k = 0, 0
        for length, count in enumerate(counts, start=1):
            for value in values[k : k + count]:
                last = first + (1 << 16 - length)
                table[first:last] = length << 8 | value
                first = last
            k += count
        if len(values) < total or first > 1 << 16 or max(values, default=0) > 16:
            raise ValueError("a Huffman table is damaged")
        tables[body[0]], body = table, body[17 + total :]


def _scan(body: bytes, coded: bytes, frame: _Frame) -> NDArray:
    count = body[0]
    if [body[1 + 2 * c] for c in range(count)] != frame.components or not frame.components:
        raise ValueError("JPEG with components in scans of their own")
    tables = np.stack([frame.tables[body[2 + 2 * c] >> 4] for c in range(count)])
    predictor, transform = body[1 + 2 * count], body[3 + 2 * count] & 15
    rows, columns, _ = frame.shape
    if not 1 <= predictor <= 7 or transform >= frame.precision or frame.restart % columns:
        raise ValueError("a scan of JPEG Lossless is damaged")
    out = np.zeros(frame.shape, np.int32)
    height = frame.restart // columns or rows
    intervals = _intervals(np.frombuffer(coded, np.uint8))
    if len(intervals) < -(-rows // height):
        raise ValueError("the JPEG image is truncated")
    for number, data in enumerate(intervals):
        part = out[number * height : (number + 1) * height]
        if not _decode_rows(data, tables, part, predictor, 1 << frame.precision - transform - 1):
            raise ValueError("the JPEG image is truncated or damaged")
    return (out << transform).astype("u1" if frame.precision <= 8 else "<u2")


def _intervals(coded: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Coded data up to the end, cut at restart markers, without the zeros stuffed in after 255."""
    after = np.flatnonzero(coded[:-1] == 0xFF) + 1
    marks = after[(coded[after] != 0) & (coded[after] != 0xFF)]
    restarts = (coded[marks] >= 0xD0) & (coded[marks] <= 0xD7)
    ends = np.flatnonzero(~restarts)
    stops = marks[: ends[0] + 1] if len(ends) else np.append(marks, len(coded) + 1)
    starts = np.append(0, stops[:-1] + 1)
    parts = [coded[a : b - 1] for a, b in zip(starts, stops, strict=True)]
    return [np.delete(p, np.flatnonzero((p[1:] == 0) & (p[:-1] == 0xFF)) + 1) for p in parts]


@njit(cache=True, nogil=True)
def _decode_rows(
    data: NDArray, tables: NDArray, out: NDArray, predictor: int, middle: int
) -> bool:  # pragma: no cover - compiled
    """Differences of one interval to samples (rows, columns, components); False if bits are missing."""
    rows, columns, components = out.shape
    bits, held, at, size = 0, 0, 0, len(data)
    for r in range(rows):
        for c in range(columns):
            for k in range(components):
                # A code and its bits are 32 at most; int64 throughout, as numba mixes signs to floats.
                while held <= 32:
                    bits = ((bits & 0xFFFFFFFF) << 8) | (np.int64(data[at]) if at < size else 0)
                    at += 1
                    held += 8
                entry = np.int64(tables[k, (bits >> (held - 16)) & 0xFFFF])
                held -= entry >> 8
                width = entry & 255
                if entry == 0 or held < 0:
                    return False
                difference = 0
                if width == 16:
                    difference = 32768
                elif width:
                    held -= width
                    difference = (bits >> held) & ((1 << width) - 1)
                    if difference < 1 << (width - 1):
                        difference -= (1 << width) - 1
                if r == 0:
                    guess = middle if c == 0 else out[r, c - 1, k]
                elif c == 0:
                    guess = out[r - 1, c, k]
                else:
                    left, above, corner = out[r, c - 1, k], out[r - 1, c, k], out[r - 1, c - 1, k]
                    if predictor == 1:
                        guess = left
                    elif predictor == 2:
                        guess = above
                    elif predictor == 3:
                        guess = corner
                    elif predictor == 4:
                        guess = left + above - corner
                    elif predictor == 5:
                        guess = left + ((above - corner) >> 1)
                    elif predictor == 6:
                        guess = above + ((left - corner) >> 1)
                    else:
                        guess = (left + above) >> 1
                out[r, c, k] = (guess + difference) & 0xFFFF
    return bool(at - held // 8 <= size)
