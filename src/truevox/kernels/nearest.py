"""Sums of nearest distances between many pairs of small sets of points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["nearest_sums", "nearest_sums_numpy"]

Array = NDArray[Any]


@njit(cache=True, nogil=True, fastmath={"reassoc", "nnan", "ninf", "nsz", "contract"})
def _directed(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    total = 0.0
    for n in range(a.shape[1]):
        x, y, z = a[0, n], a[1, n], a[2, n]
        best = np.float32(np.inf)
        for m in range(b.shape[1]):
            u, v, w = b[0, m] - x, b[1, m] - y, b[2, m] - z
            best = min(best, u * u + v * v + w * w)
        total += np.sqrt(best)
    return total


@njit(cache=True, nogil=True)
def nearest_sums(a, begin_a, b, begin_b, pairs, spacing, most):  # type: ignore[no-untyped-def]  # pragma: no cover
    """For every pair of sets, the sum of distances of each side's points to the other side's nearest.

    Parameters
    ----------
    a, b : arrays (N, 3), (M, 3) of int32
        Points (voxel indices), set by set.
    begin_a, begin_b : arrays of int64
        Set ``s`` is from ``begin[s]`` to ``begin[s + 1]``.
    pairs : array (P, 2) of int64
        Sets of ``a`` and of ``b``.
    spacing : array (3,) of float32
        Millimetres per voxel.
    most : int
        Pairs of sets with more products of sizes than this are left out: NaN.

    Returns
    -------
    array (P, 2) of float64
    """
    out = np.empty((len(pairs), 2))
    for p in range(len(pairs)):
        s, t = pairs[p, 0], pairs[p, 1]
        na, nb = begin_a[s + 1] - begin_a[s], begin_b[t + 1] - begin_b[t]
        if na * nb > most:
            out[p] = np.nan
            continue
        x, y = np.empty((3, na), np.float32), np.empty((3, nb), np.float32)
        for d in range(3):
            origin = a[begin_a[s], d]  # near by, so that floats keep their digits
            for n in range(na):
                x[d, n] = np.float32(a[begin_a[s] + n, d] - origin) * spacing[d]
            for n in range(nb):
                y[d, n] = np.float32(b[begin_b[t] + n, d] - origin) * spacing[d]
        out[p, 0], out[p, 1] = _directed(x, y), _directed(y, x)
    return out


def nearest_sums_numpy(a: Array, b: Array, spacing: Array) -> tuple[float, float]:
    """The same for one pair of sets, by all their distances."""
    apart = np.linalg.norm((a[:, None] - b[None]) * np.asarray(spacing, np.float64), axis=-1)
    return float(apart.min(1).sum()), float(apart.min(0).sum())
