"""Distance transform: squares of distances from every voxel of a box to the nearest of some points, exactly.

Separable, by lower envelopes of parabolas (Felzenszwalb and Huttenlocher 2012), one axis after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["squares", "squares_numpy", "transform"]

Array = NDArray[Any]
F = np.float32


@njit(cache=True, nogil=True)
def _line(line, n, weight, out, at, until):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Least of line[v] + weight (q - v)² over v, for each q; infinite values make no parabola."""
    top = -1
    for q in range(n):
        if line[q] == np.inf:
            continue
        cut = -np.inf
        while top >= 0:
            v = at[top]
            cut = (np.float64(line[q]) - line[v] + weight * (q * q - v * v)) / (2 * weight * (q - v))
            if cut > until[top]:
                break
            top -= 1
        top += 1
        at[top], until[top] = q, cut if top else -np.inf
    if top < 0:
        return False
    until[top + 1] = np.inf
    k = 0
    for q in range(n):
        while until[k + 1] < q:
            k += 1
        out[q] = line[at[k]] + weight * F((q - at[k]) * (q - at[k]))
    return True


@njit(cache=True, nogil=True)
def _sweep(field, weight):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The last axis: 0 at points, infinite elsewhere, becomes squares."""
    n = field.shape[2]
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            row = field[i, j]
            steps = F(np.inf)
            for k in range(n):
                steps = F(0) if row[k] == F(0) else steps + F(1)
                row[k] = steps
            steps = F(np.inf)
            for k in range(n - 1, -1, -1):
                steps = F(0) if row[k] == F(0) else steps + F(1)
                nearer = min(row[k], steps)
                row[k] = weight * nearer * nearer


@njit(cache=True, nogil=True)
def _envelopes(field, weight, block):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The middle axis of (outer, n, inner), ``block`` neighbouring lines at a time."""
    outer, n, inner = field.shape
    lines, out = np.empty((block, n), F), np.empty(n, F)
    at, until = np.empty(n, np.int64), np.empty(n + 1, np.float64)
    for i in range(outer):
        for start in range(0, inner, block):
            m = min(block, inner - start)
            for q in range(n):
                for k in range(m):
                    lines[k, q] = field[i, q, start + k]
            for k in range(m):
                if _line(lines[k], n, weight, out, at, until):
                    lines[k] = out
            for q in range(n):
                for k in range(m):
                    field[i, q, start + k] = lines[k, q]


def transform(field: Array, weights: Array) -> None:
    """Zeros and infinities of a (I, J, K) float32 array become squares of the distances to the nearest zero.

    ``weights`` are the squares of the spacing, (3,) float32. Without a zero, all stays infinite.
    """
    i, j, k = field.shape
    _sweep(field, F(weights[2]))
    _envelopes(field, F(weights[1]), 16)
    _envelopes(field.reshape(1, i, j * k), F(weights[0]), 16)


def squares(points: Array, shape: tuple[int, int, int], weights: Array) -> Array:
    """Squares of the distances to the nearest point.

    Parameters
    ----------
    points : (N, 3) int64 array
        Indices in the box.
    shape : (int, int, int)
        Of the box.
    weights : (3,) float32 array
        Square of the spacing along each axis.

    Returns
    -------
    float32 array of that shape
    """
    field = np.full(shape, np.inf, F)
    field[tuple(points.T)] = 0
    transform(field, weights)
    return field


def squares_numpy(points: Array, shape: tuple[int, int, int], weights: Array) -> Array:
    """Plain twin of :func:`squares`: every voxel against every point, in float64."""
    grid = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 1, 3)
    return ((grid - points[None]) ** 2 * weights.astype(float)).sum(2).min(1).reshape(shape)
