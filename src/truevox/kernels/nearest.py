"""Distance from points of a lattice to the nearest of others, exactly.

Points are sorted along a Morton curve (Morton 1966), so that neighbours in the list are neighbours in
space. Runs of them are the leaves of a binary tree of boxes; a search starts from what its predecessor on
the curve found, and looks only into boxes that are nearer than the best so far. Sixteen queries search
together. Where boxes tell little (points on a sphere, asked from its centre), the search stops, and a
distance transform, whose time depends on the volume alone, gives the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.transform import squares, transform

__all__ = ["nearest", "nearest_numpy"]

Array = NDArray[Any]
F, W = np.float32, np.uint64
LEAF, LANES = 32, 16
"""Points in a leaf; queries that search together."""
LARGEST = 2**21 - 1
"""Coordinate in a Morton code."""
VOXELS_PER_LEAF = 16
"""Voxels of a distance transform that take as long as a visit of a leaf."""
DENSE = 1 / 8
"""Share of points among voxels from which on a distance transform of the whole is faster."""
FAST = {"reassoc", "contract", "nsz", "nnan"}


@njit(inline="always")
def _spread(x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Two zero bits before each bit of a number of 21 bits."""
    x = W(x)
    x = (x | x << W(32)) & W(0x1F00000000FFFF)
    x = (x | x << W(16)) & W(0x1F0000FF0000FF)
    x = (x | x << W(8)) & W(0x100F00F00F00F00F)
    x = (x | x << W(4)) & W(0x10C30C30C30C30C3)
    return (x | x << W(2)) & W(0x1249249249249249)


@njit(cache=True, nogil=True)
def _codes(places, rows, length, stretch):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Morton codes of places in a flat array."""
    out = np.empty(places.size, W)
    for n in range(places.size):
        row, k = divmod(places[n], length)
        i, j = divmod(row, rows)
        a, b, c = np.int64(i * stretch[0]), np.int64(j * stretch[1]), np.int64(k * stretch[2])
        out[n] = _spread(a) << W(2) | _spread(b) << W(1) | _spread(c)
    return out


@njit(cache=True, nogil=True)
def _points(places, order, rows, length):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Coordinates in voxels, in that order (N, 3)."""
    out = np.empty((order.size, 3), F)
    for n in range(order.size):
        row, k = divmod(places[order[n]], length)
        i, j = divmod(row, rows)
        out[n, 0], out[n, 1], out[n, 2] = i, j, k
    return out


@njit(cache=True, nogil=True)
def _tree(points):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Boxes (nodes, 6) of a complete binary tree; node 1 is the root, 2 n and 2 n + 1 are below n."""
    leaves = 1
    while leaves * LEAF < points.shape[0]:
        leaves *= 2
    boxes = np.empty((2 * leaves, 6), F)
    boxes[:, :3], boxes[:, 3:] = np.inf, -np.inf
    for n in range(points.shape[0]):
        box = boxes[leaves + n // LEAF]
        for a in range(3):
            box[a], box[a + 3] = min(box[a], points[n, a]), max(box[a + 3], points[n, a])
    for node in range(leaves - 1, 0, -1):
        for a in range(3):
            boxes[node, a] = min(boxes[2 * node, a], boxes[2 * node + 1, a])
            boxes[node, a + 3] = max(boxes[2 * node, a + 3], boxes[2 * node + 1, a + 3])
    return boxes


@njit(inline="always", fastmath=FAST)
def _apart(boxes, node, own, wx, wy, wz):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Square of the distance between two boxes; infinite if one holds nothing."""
    a = max(max(boxes[node, 0] - own[3], own[0] - boxes[node, 3]), F(0))
    b = max(max(boxes[node, 1] - own[4], own[1] - boxes[node, 4]), F(0))
    c = max(max(boxes[node, 2] - own[5], own[2] - boxes[node, 5]), F(0))
    return a * a * wx + b * b * wy + c * c * wz


@njit(inline="always", fastmath=FAST)
def _compare(work, begin, end, points, wx, wy, wz):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Points of a leaf against all queries of a group; the largest of their best squares."""
    for k in range(begin, end):
        x, y, z = points[k, 0], points[k, 1], points[k, 2]
        for lane in range(LANES):
            a, b, c = work[lane] - x, work[LANES + lane] - y, work[2 * LANES + lane] - z
            square = a * a * wx + b * b * wy + c * c * wz
            work[3 * LANES + lane] = min(square, work[3 * LANES + lane])
    most = F(0)
    for lane in range(LANES):
        most = max(most, work[3 * LANES + lane])
    return most


@njit(inline="always")
def _gather(queries, first, work, own):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Queries of a group, the last one again where there are no more, and their box."""
    for a in range(3):
        own[a], own[a + 3] = np.inf, -np.inf
        for lane in range(LANES):
            value = queries[min(first + lane, queries.shape[0] - 1), a]
            work[a * LANES + lane] = value
            own[a], own[a + 3] = min(own[a], value), max(own[a + 3], value)
    for lane in range(LANES):
        work[3 * LANES + lane] = np.inf


@njit(cache=True, nogil=True, fastmath=FAST)
def _search(queries, points, boxes, weights, budget, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Squares of distances; how many searches were finished within the budget of leaves."""
    leaves, count = boxes.shape[0] // 2, points.shape[0]
    nodes, bounds = np.empty(64, np.int64), np.empty(64, F)
    work, own = np.empty(4 * LANES, F), np.empty(6, F)
    wx, wy, wz = weights[0], weights[1], weights[2]
    visits, begin = 0, 0
    for first in range(0, queries.shape[0], LANES):
        _gather(queries, first, work, own)
        start = begin
        most = _compare(work, start, min(start + LEAF, count), points, wx, wy, wz)
        depth, nodes[0], bounds[0] = 1, 1, F(0)
        while depth:
            depth -= 1
            node = nodes[depth]
            nearer = bounds[depth] < most
            while nearer and node < leaves:
                left = _apart(boxes, 2 * node, own, wx, wy, wz)
                right = _apart(boxes, 2 * node + 1, own, wx, wy, wz)
                swap = np.int64(right < left)
                if max(left, right) < most:
                    nodes[depth], bounds[depth] = 2 * node + 1 - swap, max(left, right)
                    depth += 1
                node = 2 * node + swap
                nearer = min(left, right) < most
            if nearer and (node - leaves) * LEAF != start:
                leaf, before = (node - leaves) * LEAF, most
                most = _compare(work, leaf, min(leaf + LEAF, count), points, wx, wy, wz)
                begin = leaf if most < before else begin
                visits += 1
        end = min(first + LANES, queries.shape[0])
        found[first:end] = work[3 * LANES : 3 * LANES + end - first]
        if visits > budget:
            return end
    return queries.shape[0]


def _sorted(places: Array, shape: tuple[int, ...], stretch: Array) -> tuple[Array, Array]:
    """Order of places along the curve, and their coordinates in that order."""
    order = np.argsort(_codes(places, shape[1], shape[2], stretch))
    return order, _points(places, order, shape[1], shape[2])


def _by_transform(queries: Array, targets: Array, shape: tuple[int, ...], weights: Array) -> Array:
    """Squares of the distances, by way of those of all voxels."""
    field = np.full(shape, np.inf, F)
    flat = field.reshape(-1)
    flat[targets] = 0
    transform(field, weights)
    return flat[queries]


def nearest(
    queries: Array,
    targets: Array,
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    *,
    budget: int | None = None,
) -> Array:
    """Distance in mm from each query to the nearest target.

    Parameters
    ----------
    queries, targets : (N,), (M,) int64 arrays, M > 0
        Places in a flat array of that shape.
    shape : (int, int, int)
    spacing : (float, float, float)
    budget : int, optional
        Visits of leaves after which a distance transform takes over; by default as many as take its time.

    Returns
    -------
    (N,) float64 array
        In the order of the queries, exact to 1e-7 of itself.
    """
    if not queries.size:
        return np.zeros(0)
    unit = min(spacing)
    ratio = np.array(spacing) / unit
    weights = (ratio**2).astype(F)
    if queries.size + targets.size > DENSE * np.prod(shape):
        return np.sqrt(_by_transform(queries, targets, shape, weights).astype(np.float64)) * unit
    stretch = ratio * min(1.0, LARGEST / float((ratio * shape).max()))
    order, asked = _sorted(queries, shape, stretch)
    _, points = _sorted(targets, shape, stretch)
    boxes = _tree(points)
    low = np.minimum(asked.min(0), boxes[1, :3]).astype(np.int64)
    size = np.maximum(asked.max(0), boxes[1, 3:]).astype(np.int64) + 1 - low
    if budget is None:
        budget = 1024 + int(size.prod()) // VOXELS_PER_LEAF
    found = np.empty(queries.size, F)
    done = _search(asked, points, boxes, weights, budget, found)
    if done < queries.size:
        field = squares(points.astype(np.int64) - low, tuple(size.tolist()), weights)
        i, j, k = (asked[done:].astype(np.int64) - low).T
        found[done:] = field[i, j, k]
    out = np.empty(queries.size)
    out[order] = np.sqrt(found.astype(np.float64)) * unit
    return out


def nearest_numpy(
    queries: Array, targets: Array, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> Array:
    """Plain twin of :func:`nearest`: every query against every target."""
    a, b = (np.stack(np.unravel_index(one, shape), 1) * np.array(spacing) for one in (queries, targets))
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(2).min(1)) if queries.size else np.zeros(0)
