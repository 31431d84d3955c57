"""Averages over voxels coarser than those of the volume: by weights along an axis, or over tilted boxes.

A box is the voxel of the coarser grid: it is cut evenly along its edges into parts of one voxel of the volume
at most, and the mean of samples at their middles is taken. Amounts (``shares``) and intensities differ:

* of *shares* (probabilities, one-hot labels) nothing may be lost: outside of the volume lies ``fill``. What a
  part shares with the voxels around its middle weighs them, so that where an edge of a box runs along an axis
  of the volume, the mean is exactly the part of the box that each voxel fills.
* of *intensities* ``fill`` is no measurement: a box that would leave the volume shrinks evenly about its
  centre, and samples are linear, straight on through the outer half voxel: a ramp stays a ramp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.sample import EDGE, as_map, positions
from truevox.kernels.warp import displaced_plane, displacement_numpy, padded_points

__all__ = ["average_boxes", "average_boxes_numpy", "weigh", "weigh_numpy"]

Array = NDArray[Any]
F = np.float32
FEW = 8
"""Voxels in a row below which it is not worth a loop of its own."""
MOST_PARTS = 256
"""Along an edge of a box."""


@njit(cache=True, nogil=True)
def _weigh(data: Array, first: Array, weights: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Each plane of ``out`` (A, m, B) from a few neighbouring ones of ``data`` (A, n, B)."""
    count, width = weights.shape
    for a in range(data.shape[0]):
        for o in range(count):
            if data.shape[2] < FEW:
                for b in range(data.shape[2]):
                    total = F(0)
                    for q in range(width):
                        # A weight of 0 leaves out, rather than multiplies, what may be NaN.
                        if weights[o, q] != 0:
                            total += weights[o, q] * data[a, first[o] + q, b]
                    out[a, o, b] = total
                continue
            out[a, o] = 0
            for q in range(width):
                w = weights[o, q]
                if w != 0:
                    row, made = data[a, first[o] + q], out[a, o]
                    for b in range(row.size):
                        made[b] += w * row[b]


def weigh(data: Array, weights: Array, axis: int) -> Array:
    """Weights (m, n) applied along axis 0, 1 or 2 of n voxels: (C, I, J, K) to float32.

    Fast where the weights of each sample lie beside each other. A voxel that is NaN shows where its weight is
    not 0.
    """
    used = weights != 0
    low = np.where(used.any(1), used.argmax(1), 0)
    high = np.where(used.any(1), weights.shape[1] - used[:, ::-1].argmax(1), 1)
    width = int((high - low).max())
    low = np.minimum(low, weights.shape[1] - width)
    band = np.take_along_axis(weights, low[:, None] + np.arange(width), 1).astype(F)
    shape = list(data.shape)
    before, after = int(np.prod(shape[: axis + 1])), int(np.prod(shape[axis + 2 :]))
    shape[axis + 1] = len(weights)
    flat = np.ascontiguousarray(data, F).reshape(before, -1, after)
    out = np.empty((before, len(weights), after), F)
    _weigh(flat, low.astype(np.int64), band, out)
    return out.reshape(shape)


def weigh_numpy(data: Array, weights: Array, axis: int) -> Array:
    """Plain twin of :func:`weigh`, in float64, for voxels that are finite."""
    return np.moveaxis(np.tensordot(weights, data.astype(np.float64), (1, axis + 1)), 0, axis + 1)


@njit(inline="always")
def _of_eight(channel, a, b, d, a1, b1, d1, u, v, w):  # type: ignore[no-untyped-def]  # pragma: no cover
    p00 = channel[a, b, d] + w * (channel[a, b, d1] - channel[a, b, d])
    p01 = channel[a, b1, d] + w * (channel[a, b1, d1] - channel[a, b1, d])
    p10 = channel[a1, b, d] + w * (channel[a1, b, d1] - channel[a1, b, d])
    p11 = channel[a1, b1, d] + w * (channel[a1, b1, d1] - channel[a1, b1, d])
    p00 += v * (p01 - p00)
    p10 += v * (p11 - p10)
    return p00 + u * (p10 - p00)


@njit(inline="always")
def _within(x, size, part):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """How much of a part about a place lies within the volume, along an axis."""
    return min(max((min(x, size - 1.0 - x) + 0.5) / part + 0.5, 0.0), 1.0)


@njit(inline="always")
def _shared(x, size, part):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Voxel below a place, the next one, and the weight of that, for parts of a width."""
    x = min(max(x, 0.0), size - 1.0)
    a = int(x)
    return a, min(a + 1, size - 1), min(max((x - a - 0.5) / part + 0.5, 0.0), 1.0)


@njit(inline="always")
def _straight(x, size):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Voxel below a place, the next one, and the weight of that, straight on beyond the outer ones."""
    if size == 1:
        return 0, 0, 0.0
    a = min(max(int(np.floor(x)), 0), size - 2)
    return a, a + 1, x - a


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _shares_at(
    volume: Array,
    x: float,
    y: float,
    z: float,
    steps: Array,
    counts: Array,
    part: Array,
    fill: Array,
    sums: Array,
) -> None:  # pragma: no cover - compiled
    """Mean over one box of shares: (C,) into ``sums``."""
    channels, size_i, size_j, size_k = volume.shape
    sums[:] = 0
    for i in range(counts[0]):
        for j in range(counts[1]):
            for k in range(counts[2]):
                f = (i + 0.5) / counts[0] - 0.5
                g = (j + 0.5) / counts[1] - 0.5
                h = (k + 0.5) / counts[2] - 0.5
                px = x + steps[0, 0] * f + steps[0, 1] * g + steps[0, 2] * h
                py = y + steps[1, 0] * f + steps[1, 1] * g + steps[1, 2] * h
                pz = z + steps[2, 0] * f + steps[2, 1] * g + steps[2, 2] * h
                within = (
                    _within(px, size_i, part[0]) * _within(py, size_j, part[1]) * _within(pz, size_k, part[2])
                )
                if within < 1.0:
                    for c in range(channels):
                        sums[c] += (1.0 - within) * fill[c]
                if within == 0.0:
                    continue
                a, a1, u = _shared(px, size_i, part[0])
                b, b1, v = _shared(py, size_j, part[1])
                d, d1, w = _shared(pz, size_k, part[2])
                for c in range(channels):
                    sums[c] += within * _of_eight(volume[c], a, b, d, a1, b1, d1, F(u), F(v), F(w))
    for c in range(channels):
        sums[c] /= counts[0] * counts[1] * counts[2]


@njit(cache=True, nogil=True)
def _shrunk(x: float, size: int, reach: float) -> tuple[float, float]:  # pragma: no cover - compiled
    """A place within the outer centres, and how much of a box about it stays within the volume."""
    x = min(max(x, 0.0), size - 1.0)
    room = min(x, size - 1.0 - x) + 0.5
    return x, room / reach if reach > room else 1.0


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _mean_at(
    volume: Array,
    x: float,
    y: float,
    z: float,
    steps: Array,
    counts: Array,
    reach: Array,
    fill: Array,
    sums: Array,
) -> None:  # pragma: no cover - compiled
    """Mean over one box of intensities: (C,) into ``sums``."""
    channels, size_i, size_j, size_k = volume.shape
    inside = -EDGE <= x < size_i - 1 + EDGE and -EDGE <= y < size_j - 1 + EDGE
    if not (inside and -EDGE <= z < size_k - 1 + EDGE):
        for c in range(channels):
            sums[c] = fill[c]
        return
    x, left_i = _shrunk(x, size_i, reach[0])
    y, left_j = _shrunk(y, size_j, reach[1])
    z, left_k = _shrunk(z, size_k, reach[2])
    left = min(left_i, left_j, left_k)
    sums[:] = 0
    for i in range(counts[0]):
        for j in range(counts[1]):
            for k in range(counts[2]):
                f = left * ((i + 0.5) / counts[0] - 0.5)
                g = left * ((j + 0.5) / counts[1] - 0.5)
                h = left * ((k + 0.5) / counts[2] - 0.5)
                px = x + steps[0, 0] * f + steps[0, 1] * g + steps[0, 2] * h
                py = y + steps[1, 0] * f + steps[1, 1] * g + steps[1, 2] * h
                pz = z + steps[2, 0] * f + steps[2, 1] * g + steps[2, 2] * h
                a, a1, u = _straight(px, size_i)
                b, b1, v = _straight(py, size_j)
                d, d1, w = _straight(pz, size_k)
                for c in range(channels):
                    sums[c] += _of_eight(volume[c], a, b, d, a1, b1, d1, F(u), F(v), F(w))
    for c in range(channels):
        sums[c] /= counts[0] * counts[1] * counts[2]


@njit(cache=True, nogil=True)
def _boxes(
    volume: Array,
    matrix: Array,
    points: Array,
    lattice: Array,
    straight: bool,
    fill: Array,
    steps: Array,
    counts: Array,
    part: Array,
    shares: bool,
    out: Array,
) -> None:  # pragma: no cover - compiled
    channels, planes, rows, n = out.shape
    where, sums, reach = np.empty((3, rows, n)), np.empty(channels), np.zeros(3)
    for a in range(3):
        for t in range(3):
            reach[a] += abs(steps[a, t]) * (0.5 - 0.5 / counts[t])
    for i in range(planes):
        displaced_plane(i, matrix, points, lattice, straight, where)
        for j in range(rows):
            for k in range(n):
                x, y, z = where[0, j, k], where[1, j, k], where[2, j, k]
                if shares:
                    _shares_at(volume, x, y, z, steps, counts, part, fill, sums)
                else:
                    _mean_at(volume, x, y, z, steps, counts, reach, fill, sums)
                for c in range(channels):
                    out[c, i, j, k] = sums[c]


def _cut(matrix: Array, size: Array, averaged: Array) -> tuple[Array, Array, Array]:
    """Edges (3, 3) of a box as columns, in how many parts each is cut, and width of a part per axis (3,)."""
    steps = np.array(matrix[:3, :3], np.float64, order="C")
    steps[size == 1] = 0  # there is nothing to average along an axis of one voxel
    length = np.sqrt((steps**2).sum(0))
    counts = np.where(averaged, np.clip(np.ceil(length - 1e-6), 1, MOST_PARTS), 1).astype(np.int64)
    longest = np.where(length > 0, np.maximum(length, 1.0) / np.where(length > 0, length, 1.0), 1.0)
    part = np.sqrt(((steps * longest / counts) ** 2).sum(1))
    return steps * averaged, counts, np.clip(part, 1e-3, 1.0)


def average_boxes(
    volume: Array,
    matrix: Array,
    shape: tuple[int, int, int],
    fill: Array,
    averaged: Array,
    *,
    shares: bool,
    field: tuple[Array, Array] | None = None,
) -> Array:
    """Means over the boxes of a grid in any orientation: (C, I, J, K) to (C, *shape) float32.

    Parameters
    ----------
    matrix : (3, 4) array
        Takes output indices to input indices; its columns are the edges of a box.
    averaged : (3,) bool
        Output axes along which boxes extend; along the others their thickness is 0.
    shares : bool
        Amounts of which nothing may be lost, not intensities.
    field : (points, lattice), optional
        Displacement of the centres of the boxes, as in :mod:`truevox.kernels.warp`.
    """
    points, lattice = field if field is not None else (np.zeros((3, 1, 1, 1)), np.eye(3, 4))
    steps, counts, part = _cut(matrix, np.array(volume.shape[1:]), averaged)
    out = np.empty((volume.shape[0], *shape), F)
    volume = np.ascontiguousarray(volume, F)
    where = as_map(matrix), *padded_points(points, lattice)
    _boxes(volume, *where, np.array(fill, np.float64), steps, counts, part, shares, out)
    return out


def average_boxes_numpy(
    volume: Array,
    matrix: Array,
    shape: tuple[int, int, int],
    fill: Array,
    averaged: Array,
    *,
    shares: bool,
    field: tuple[Array, Array] | None = None,
) -> Array:
    """Plain twin of :func:`average_boxes`, in float64."""
    size = np.array(volume.shape[1:])[:, None]
    steps, counts, part = _cut(matrix, size[:, 0], averaged)
    where = positions(np.asarray(matrix, np.float64)[:3], shape)[0]
    if field is not None:
        where = where + displacement_numpy(field[0], positions(field[1], shape)[0])
    offsets = (np.stack(list(np.ndindex(*counts))) + 0.5) / counts - 0.5
    inside = ((where >= -EDGE) & (where < size - 1 + EDGE)).all(0)
    if not shares:
        reach = np.abs(offsets @ steps.T).max(0)[:, None]
        where = np.clip(where, 0, size - 1)
        room = np.minimum(where, size - 1 - where) + 0.5
        left = np.where(reach > room, room / np.where(reach > 0, reach, 1), 1).min(0)
    total = np.zeros((volume.shape[0], where.shape[1]))
    for offset in offsets @ steps.T:
        if shares:
            place = where + offset[:, None]
            low = np.floor(np.clip(place, 0, size - 1))
            rest = (np.clip(place, 0, size - 1) - low - 0.5) / part[:, None] + 0.5
            ends = [np.clip(place + part[:, None] * h, -0.5, size - 0.5) for h in (-0.5, 0.5)]
            within = ((ends[1] - ends[0]) / part[:, None]).prod(0)
            total += within * _line_at(volume, low + np.clip(rest, 0, 1))
            total += (1 - within) * np.reshape(fill, (-1, 1))
        else:
            total += _line_at(volume, where + left * offset[:, None])
    total /= len(offsets)
    return (total if shares else np.where(inside, total, np.reshape(fill, (-1, 1)))).reshape(-1, *shape)


def _line_at(volume: Array, where: Array) -> Array:
    """Linear samples that go straight on beyond the outer centres."""
    size = np.array(volume.shape[1:])[:, None]
    low = np.clip(np.floor(where).astype(int), 0, np.maximum(size - 2, 0))
    part = np.where(size > 1, where - low, 0)
    total = np.zeros((volume.shape[0], where.shape[1]))
    for corner in np.ndindex(2, 2, 2):
        at = [np.minimum(low[a] + corner[a], size[a] - 1) for a in range(3)]
        weight = np.prod([part[a] if corner[a] else 1 - part[a] for a in range(3)], axis=0)
        total += weight * volume[:, at[0], at[1], at[2]]
    return total
