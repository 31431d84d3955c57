"""Floats as codes: images that come from whole numbers hold few different values, whatever was done to them.

Values are told apart by their bits, so that coding loses nothing, not even the sign of a zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["MOST_VALUES", "Palette", "find_palette", "unpack"]

Array = NDArray[Any]
MOST_VALUES = 2**16
BITS = 18
"""The hash table is four times as large as the values in it."""


@njit(cache=True, nogil=True, inline="always")
def _slot(bits: int, keys: Array, taken: Array) -> np.uint32:  # pragma: no cover - compiled
    """Where these bits are in the table, or where they go."""
    at = np.uint32(np.uint32(bits) * np.uint32(2654435769)) >> np.uint32(32 - BITS)
    while taken[at] >= 0 and keys[at] != bits:
        at = (at + np.uint32(1)) & np.uint32(2**BITS - 1)
    return at


@njit(cache=True, nogil=True)
def _find(flat: Array, keys: Array, codes: Array) -> int:  # pragma: no cover - compiled
    """Fill the table; the number of values, or -1 if they are too many."""
    count, last = 0, ~flat[0]
    for bits in flat:
        if bits == last:
            continue
        last = bits
        at = _slot(bits, keys, codes)
        if codes[at] < 0:
            if count == MOST_VALUES:
                return -1
            keys[at], codes[at] = bits, count
            count += 1
    return count


@njit(cache=True, nogil=True)
def _encode(flat: Array, keys: Array, codes: Array, out: Array) -> None:  # pragma: no cover - compiled
    last, code = ~flat[0], 0
    for k in range(flat.size):
        if flat[k] != last:
            last = flat[k]
            code = codes[_slot(last, keys, codes)]
        out[k] = code


@njit(cache=True, nogil=True)
def _unpack(codes: Array, values: Array, out: Array) -> None:  # pragma: no cover - compiled
    for c in range(out.shape[0]):
        table = values[c]
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                line, made = codes[c, i, j], out[c, i, j]
                for k in range(line.size):
                    made[k] = table[line[k]]


class Palette:
    """The different values of one channel, ascending, and the code of each: at most 65536."""

    def __init__(self, values: Array, keys: Array, codes: Array) -> None:
        self.values, self._keys, self._codes = values, keys, codes

    def encode(self, channel: Array) -> Array:
        """Codes of voxels that hold nothing else, as uint16."""
        flat = np.ascontiguousarray(channel).reshape(-1).view(np.uint32)
        out = np.empty(channel.shape, np.uint16)
        _encode(flat, self._keys, self._codes, out.reshape(-1))
        return out


def find_palette(channel: Array) -> Palette | None:
    """The palette of a channel of float32; None if it holds more than 65536 different values."""
    flat = np.ascontiguousarray(channel, np.float32).reshape(-1).view(np.uint32)
    keys, codes = np.zeros(2**BITS, np.uint32), np.full(2**BITS, -1, np.int32)
    if not flat.size or _find(flat, keys, codes) < 0:
        return None
    used = np.flatnonzero(codes >= 0)
    values = keys[used].view(np.float32)
    order = np.argsort(values, kind="stable")
    codes[used[order]] = np.arange(len(used), dtype=np.int32)
    return Palette(values[order], keys, codes)


def unpack(codes: Array, values: Array, out: Array) -> None:
    """Write what codes stand for.

    Parameters
    ----------
    codes : (C, I, J, K) array of uint16
    values : (C, N) float32 array
        What each code of each channel stands for.
    out : (C, I, J, K) float32 array
    """
    _unpack(codes, values, out)
