"""Two masks in one pass: what they have in common, and where in each row there is anything at all.

Masks are flat arrays of bytes that are 0 or 1, in rows along the last axis. Rows without foreground are read
by words of eight bytes and then left alone by all that follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["survey", "survey_numpy"]

Array = NDArray[Any]
Survey = tuple[int, int, int, Array]
U = np.uint8


@njit(inline="always")
def _anything(p, r, words_p, words_r, start, stop):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether the words that hold a row, and perhaps ends of its neighbours, hold any foreground."""
    found = np.uint64(0)
    end = min((stop + 7) >> 3, words_p.size)
    for k in range(start >> 3, end):
        found |= words_p[k] | words_r[k]
    for k in range(max(start, words_p.size << 3), stop):
        found |= np.uint64(p[k] | r[k])
    return found != np.uint64(0)


@njit(cache=True, nogil=True)
def _survey(p, r, words_p, words_r, length, spans):  # type: ignore[no-untyped-def]  # pragma: no cover
    """True positives, foreground of each mask; spans of the union in each row."""
    both = in_p = in_r = 0
    for row in range(spans.shape[0]):
        start, stop = row * length, (row + 1) * length
        spans[row, 0] = spans[row, 1] = 0
        if not _anything(p, r, words_p, words_r, start, stop):
            continue
        first, last = start, stop
        while first < stop and not (p[first] | r[first]):
            first += 1
        if first == stop:
            continue  # what was found belongs to a neighbour
        while last > first and not (p[last - 1] | r[last - 1]):
            last -= 1
        for k in range(first, last):
            both += p[k] & r[k]
            in_p += p[k]
            in_r += r[k]
        spans[row, 0], spans[row, 1] = first - start, last - start
    return both, in_p, in_r


def words_of(mask: Array) -> Array:
    """Whole words of a flat mask; what is left at its end is not among them."""
    return mask[: mask.size // 8 * 8].view(np.uint64)


def survey(p: Array, r: Array, length: int) -> Survey:
    """Counts of two masks and the spans of their union.

    Parameters
    ----------
    p, r : (N,) contiguous uint8 arrays of 0 and 1
    length : int
        Voxels in a row; N is a multiple of it.

    Returns
    -------
    (both, in_p, in_r, spans)
        Voxels of both masks and of each; ``spans`` (rows, 2) int32 holds where the foreground of either
        begins and ends in each row (0, 0 where there is none).
    """
    spans = np.empty((p.size // length if length else 0, 2), np.int32)
    both, in_p, in_r = _survey(p, r, words_of(p), words_of(r), length, spans)
    return int(both), int(in_p), int(in_r), spans


def survey_numpy(p: Array, r: Array, length: int) -> Survey:
    """Plain twin of :func:`survey`."""
    union = ((p | r) > 0).reshape(-1, length) if length else np.zeros((0, 0), bool)
    spans = np.zeros((len(union), 2), np.int32)
    held = union.any(1)
    spans[held, 0] = union[held].argmax(1)
    spans[held, 1] = length - union[held, ::-1].argmax(1)
    return int((p & r).sum()), int(p.sum()), int(r.sum()), spans
