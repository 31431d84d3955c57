"""Sums of probabilities and truths by bins of probability, in one look at the voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["bin_sums", "bin_sums_numpy"]

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def bin_sums(p, y, edges):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Voxels, sum of probabilities and sum of truths by bins ``(edge, next edge]``, the first with its edge.

    Parameters
    ----------
    p : array (N,) of float
        Probabilities.
    y : array (N,) of bool
        Truths.
    edges : array (B + 1,) of p's type
        From 0 to 1.

    Returns
    -------
    sums : array (B, 3) of float64
    right : bool
        Whether all probabilities lie in 0 to 1.
    """
    bins = edges.size - 1
    sums = np.zeros((bins, 3))
    right = True
    for n in range(p.size):
        v = p[n]
        if not (v >= 0 and v <= 1):
            right = False
            break
        b = min(int(v * bins), bins - 1)
        while b > 0 and v <= edges[b]:
            b -= 1
        while b < bins - 1 and v > edges[b + 1]:
            b += 1
        sums[b, 0] += 1
        sums[b, 1] += v
        sums[b, 2] += y[n]
    return sums, right


def bin_sums_numpy(p: Array, y: Array, edges: Array) -> tuple[Array, bool]:
    """The same by NumPy."""
    right = bool(((p >= 0) & (p <= 1)).all())
    where = np.searchsorted(edges[1:-1], p, side="left")
    columns = [np.bincount(where, weights, len(edges) - 1) for weights in (np.ones(len(p)), p, y)]
    return np.stack(columns, 1), right
