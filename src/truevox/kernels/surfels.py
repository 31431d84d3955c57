"""Surface elements of two masks: what lies around every corner of voxels where a mask begins or ends.

The eight voxels at a corner make a code of eight bits; a corner is on the surface if they are not all alike.
Corners have a lattice of their own, one longer along every axis than that of the voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["surfels", "surfels_numpy"]

Array = NDArray[Any]
U = np.uint8


@njit(cache=True, nogil=True)
def _columns(mask, shape, i, j, ndim, first, last, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Four bits of the four rows at an edge along the last axis, from one place ahead; 0 outside."""
    out[:] = 0
    for di in range(2):
        for dj in range(2):
            # Along an axis that is not there, both neighbours are the voxel itself.
            a = i - 1 + di if ndim > 2 else 0
            b = j - 1 + dj if ndim > 1 else 0
            if not (0 <= a < shape[0] and 0 <= b < shape[1]):
                continue
            begin = (a * shape[1] + b) * shape[2]
            row, to = mask[begin + first : begin + last], out[first + 1 : last + 1]
            bit = U(2 * di + dj)
            for k in range(last - first):
                to[k] |= row[k] << bit


@njit(inline="always")
def _room(places, codes, count, more):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The same, in arrays with room for more."""
    if count + more <= places.size:
        return places, codes
    size = 2 * places.size + more
    larger, more_codes = np.empty(size, np.int64), np.empty((size, 2), U)
    larger[:count], more_codes[:count] = places[:count], codes[:count]
    return larger, more_codes


@njit(cache=True, nogil=True)
def _surfels(p, r, shape, spans, ndim):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Places of corners where either code is mixed, and both codes."""
    rows, length = shape[1], shape[2]
    high_i, high_j = (shape[0] + 1 if ndim > 2 else 1), (rows + 1 if ndim > 1 else 1)
    code_p, code_r = np.zeros(length + 2, U), np.zeros(length + 2, U)
    places, codes, count = np.empty(4096, np.int64), np.empty((4096, 2), U), 0
    for i in range(high_i):
        for j in range(high_j):
            first, last = np.int32(length), np.int32(0)
            for a in range(max(i - 1, 0), min(i, shape[0] - 1) + 1):
                for b in range(max(j - 1, 0), min(j, rows - 1) + 1):
                    if spans[a * rows + b, 1] > 0:
                        first = min(first, spans[a * rows + b, 0])
                        last = max(last, spans[a * rows + b, 1])
            if last == 0:
                continue
            _columns(p, shape, i, j, ndim, first, last, code_p)
            _columns(r, shape, i, j, ndim, first, last, code_r)
            places, codes = _room(places, codes, count, length + 1)
            begin = (i * high_j + j) * (length + 1)
            for k in range(first, last + 1):
                one, two = code_p[k] | code_p[k + 1] << U(4), code_r[k] | code_r[k + 1] << U(4)
                if U(one + U(1)) > U(1) or U(two + U(1)) > U(1):
                    places[count], codes[count, 0], codes[count, 1] = begin + k, one, two
                    count += 1
    return places[:count], codes[:count]


def surfels(p: Array, r: Array, shape: tuple[int, ...], spans: Array, ndim: int) -> tuple[Array, Array]:
    """Corners on the surface of either mask.

    Parameters
    ----------
    p, r : (N,) contiguous uint8 arrays of 0 and 1
    shape : (int, int, int)
        Axes that the masks do not have come first.
    spans : (rows, 2) array
        Of the union, as from :func:`truevox.kernels.borders.survey`.
    ndim : int
        How many axes, counted from the last, the masks have.

    Returns
    -------
    places : (M,) int64 array
        In a lattice with one more along every axis that is there.
    codes : (M, 2) uint8 array
        Of p and of r: bit ``4 dk + 2 di + dj`` is the voxel ``(di, dj, dk)`` of the two by two by two around
        the corner; along axes that are not there both are the same voxel. 0 and 255 are no surface.
    """
    return _surfels(p, r, shape, spans, ndim)


def surfels_numpy(p: Array, r: Array, shape: tuple[int, ...], spans: Array, ndim: int) -> tuple[Array, Array]:
    """Plain twin of :func:`surfels`."""
    codes = []
    for mask in (p, r):
        pad = [(1, 1) if axis >= 3 - ndim else (0, 0) for axis in range(3)]
        solid = np.pad(mask.reshape(shape), pad)
        for axis in range(3 - ndim):
            solid = np.repeat(solid, 2, axis)
        i, j, k = (n - 1 for n in solid.shape)
        code = np.zeros((i, j, k), np.uint8)
        for a, b, c in np.ndindex(2, 2, 2):
            code |= solid[a : a + i, b : b + j, c : c + k] << np.uint8(4 * c + 2 * a + b)
        codes.append(code.ravel())
    both = np.stack(codes, 1)
    places = np.flatnonzero(((both != 0) & (both != 255)).any(1))
    return places, both[places]
