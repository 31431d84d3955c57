"""Two masks in one pass: what they have in common, where in each row there is anything, and their borders.

Masks are flat arrays of bytes that are 0 or 1, in rows along the last axis. Rows without foreground are read
by words of eight bytes and then left alone by all that follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["borders", "borders_numpy", "survey", "survey_numpy"]

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


@njit(inline="always")
def _rim(mask, at, m, step, plane):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """A stretch of a row, and its six neighbouring stretches."""
    return (
        mask[at : at + m],
        mask[at - 1 : at - 1 + m],
        mask[at + 1 : at + 1 + m],
        mask[at - step : at - step + m],
        mask[at + step : at + step + m],
        mask[at - plane : at - plane + m],
        mask[at + plane : at + plane + m],
    )


@njit(cache=True, nogil=True)
def _code_row(p, r, at, first, last, length, step, plane, edge, code):  # type: ignore[no-untyped-def]  # pragma: no cover
    """1 where a row's voxel is on the border of p, plus 2 where it is on that of r."""
    code[:] = 0
    if edge:
        for k in range(first, last):
            code[k] = p[at + k] | (r[at + k] << U(1))
        return
    for k in (0, length - 1):  # ends of the row
        if first <= k < last:
            code[k] = p[at + k] | (r[at + k] << U(1))
    low, high = max(first, 1), min(last, length - 1)
    if high <= low:
        return
    m = high - low
    p0, p1, p2, p3, p4, p5, p6 = _rim(p, at + low, m, step, plane)
    r0, r1, r2, r3, r4, r5, r6 = _rim(r, at + low, m, step, plane)
    out = code[low:high]
    for k in range(m):
        inner_p = p1[k] & p2[k] & p3[k] & p4[k] & p5[k] & p6[k]
        inner_r = r1[k] & r2[k] & r3[k] & r4[k] & r5[k] & r6[k]
        out[k] = (p0[k] & (inner_p ^ U(1))) | ((r0[k] & (inner_r ^ U(1))) << U(1))


@njit(inline="always")
def _room(places, count, more):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The same places, in an array with room for more."""
    if count + more <= places.size:
        return places
    larger = np.empty(2 * places.size + more, np.int64)
    larger[:count] = places[:count]
    return larger


@njit(cache=True, nogil=True)
def _borders(p, r, shape, spans, ndim):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Places on the border of p alone, of r alone, of both."""
    rows, length = shape[1], shape[2]
    plane, step = rows * length if ndim > 2 else 0, length if ndim > 1 else 0
    code = np.zeros((length + 7) // 8 * 8, U)
    words = code.view(np.uint64)
    only_p, only_r, both = np.empty(4096, np.int64), np.empty(4096, np.int64), np.empty(4096, np.int64)
    n_p = n_r = n_both = 0
    for row in range(spans.shape[0]):
        first, last = spans[row, 0], spans[row, 1]
        if first == last:
            continue
        i, j = row // rows, row % rows
        edge = (ndim > 2 and (i == 0 or i == shape[0] - 1)) or (ndim > 1 and (j == 0 or j == rows - 1))
        _code_row(p, r, row * length, first, last, length, step, plane, edge, code)
        only_p, only_r = _room(only_p, n_p, length), _room(only_r, n_r, length)
        both = _room(both, n_both, length)
        for w in range(first >> 3, (last + 7) >> 3):
            if words[w] == np.uint64(0):
                continue
            for k in range(8 * w, 8 * w + 8):
                if code[k] == U(1):
                    only_p[n_p] = row * length + k
                    n_p += 1
                elif code[k] == U(2):
                    only_r[n_r] = row * length + k
                    n_r += 1
                elif code[k] == U(3):
                    both[n_both] = row * length + k
                    n_both += 1
    return only_p[:n_p], only_r[:n_r], both[:n_both]


def borders(
    p: Array, r: Array, shape: tuple[int, ...], spans: Array, ndim: int
) -> tuple[Array, Array, Array]:
    """Foreground voxels with a face on the background or on the edge of the image.

    Parameters
    ----------
    p, r : (N,) contiguous uint8 arrays of 0 and 1
    shape : (int, int, int)
        Axes that the masks do not have come first.
    spans : (rows, 2) array
        Of the union, as from :func:`survey`.
    ndim : int
        How many axes, counted from the last, the masks have.

    Returns
    -------
    (only_p, only_r, both)
        Places in the flat masks, in order: on the border of p alone, of r alone, of both.
    """
    return _borders(p, r, shape, spans, ndim)


def borders_numpy(
    p: Array, r: Array, shape: tuple[int, ...], spans: Array, ndim: int
) -> tuple[Array, Array, Array]:
    """Plain twin of :func:`borders`."""
    found = []
    for mask in (p, r):
        solid = mask.reshape(shape[3 - ndim :]) > 0
        inner = solid.copy()
        for axis in range(ndim):
            padded = np.pad(solid, [(int(a == axis),) * 2 for a in range(ndim)])
            n = solid.shape[axis]
            inner &= padded.take(range(n), axis) & padded.take(range(2, n + 2), axis)
        found.append((solid & ~inner).ravel())
    on_p, on_r = found
    return np.flatnonzero(on_p & ~on_r), np.flatnonzero(on_r & ~on_p), np.flatnonzero(on_p & on_r)
