"""Closed contours to voxels: the even-odd rule on voxel centres, one slice at a time. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill"]

Points = NDArray[np.float64]


def fill(shape: tuple[int, int], polygons: Sequence[Points]) -> NDArray[np.bool_]:
    """Voxel centres that lie inside an odd number of polygons.

    A ring inside a ring is a hole, and so is a keyhole whose bridge is walked in both directions. A
    centre exactly on an edge belongs to the side of growing indices, so that shapes that share an edge
    share no voxel.

    Parameters
    ----------
    shape : (U, V)
    polygons : sequence of (n, 2) arrays
        Corners in index coordinates (u, v); the last is joined to the first.

    Returns
    -------
    (U, V) bool

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])
    >>> fill((4, 4), [square]).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = shape
    starts = np.concatenate([p for p in polygons if len(p) > 2] or [np.empty((0, 2))])
    ends = np.concatenate([np.roll(p, -1, axis=0) for p in polygons if len(p) > 2] or [np.empty((0, 2))])
    # Rows whose centres an edge passes, its lower end included, its upper end not.
    low = np.ceil(np.minimum(starts[:, 0], ends[:, 0])).clip(0, height).astype(np.intp)
    high = np.ceil(np.maximum(starts[:, 0], ends[:, 0])).clip(0, height).astype(np.intp)
    counts = high - low
    edge = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + low[edge]
    (u, v), (du, dv) = starts[edge].T, (ends - starts)[edge].T
    columns = np.ceil(v + (rows - u) * (dv / du)).clip(0, width).astype(np.intp)
    # An edge turns everything beyond it over: count the turns, then sum them up along the row.
    turns = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1))
    return np.cumsum(turns.reshape(height, width + 1)[:, :-1], axis=1) % 2 == 1
