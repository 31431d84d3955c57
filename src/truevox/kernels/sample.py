"""Sampling a volume at the images of a lattice under an affine index map.

``matrix`` (3, 4) takes output indices to input indices. A voxel is a box: positions in
[-0.5, n - 0.5) are inside; the outer half voxel is clamped; outside is ``fill``. Nearest is
floor(x + 0.5), so that crops and flips agree; what is halfway up to rounding goes up too, as grids in any
orientation are never exact. Linear samples forgive rounding at both ends of the box: a
point where two tiles touch must not fall between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["sample_linear", "sample_linear_numpy", "sample_nearest", "sample_nearest_numpy"]

Array = NDArray[Any]
EDGE = 0.5 + 1e-6
UP = 0.5 + 1e-4
"""Nearest: what is no more than 1e-4 voxel, as far as voxels count as the same, below halfway is halfway."""


@njit(cache=True, nogil=True)
def _between(
    start: float, step: float, low: float, high: float, first: int, last: int
) -> tuple[int, int]:  # pragma: no cover - compiled
    """The part of ``first <= k < last`` where ``low < start + step * k < high``; may leave out an end."""
    if low >= high or step == 0.0:
        return (first, last) if low < start < high else (first, first)
    enter, leave = (low - start) / step, (high - start) / step
    if enter > leave:
        enter, leave = leave, enter
    first = int(min(max(np.ceil(enter), first), last))
    return first, int(max(min(np.floor(leave) + 1, last), first))


@njit(cache=True, nogil=True)
def _inner(
    x: float, y: float, z: float, matrix: Array, size: tuple[int, int, int], low: float, high: float, n: int
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Samples of a row, one span, that lie well within [low, size - high] on all axes."""
    near, far = low + 1e-6, high + 1e-6
    first, last = _between(x, matrix[0, 2], near, size[0] - far, 0, n)
    first, last = _between(y, matrix[1, 2], near, size[1] - far, first, last)
    return _between(z, matrix[2, 2], near, size[2] - far, first, last)


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _linear_at(
    volume: Array, x: float, y: float, z: float, fill: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """One sample anywhere: (C,) into ``out``."""
    _, size_i, size_j, size_k = volume.shape
    inside_x, inside_y = -EDGE <= x < size_i - 1 + EDGE, -EDGE <= y < size_j - 1 + EDGE
    if not (inside_x and inside_y and -EDGE <= z < size_k - 1 + EDGE):
        out[:] = fill
        return
    x, y, z = min(max(x, 0.0), size_i - 1.0), min(max(y, 0.0), size_j - 1.0), min(max(z, 0.0), size_k - 1.0)
    a, b, d = int(x), int(y), int(z)
    u, v, w = np.float32(x - a), np.float32(y - b), np.float32(z - d)
    a1, b1, d1 = min(a + 1, size_i - 1), min(b + 1, size_j - 1), min(d + 1, size_k - 1)
    for c in range(volume.shape[0]):
        p00 = np.float32(volume[c, a, b, d])
        p00 += w * (np.float32(volume[c, a, b, d1]) - p00)
        p01 = np.float32(volume[c, a, b1, d])
        p01 += w * (np.float32(volume[c, a, b1, d1]) - p01)
        p10 = np.float32(volume[c, a1, b, d])
        p10 += w * (np.float32(volume[c, a1, b, d1]) - p10)
        p11 = np.float32(volume[c, a1, b1, d])
        p11 += w * (np.float32(volume[c, a1, b1, d1]) - p11)
        p00 += v * (p01 - p00)
        p10 += v * (p11 - p10)
        out[c] = p00 + u * (p10 - p00)


@njit(cache=True, nogil=True)
def _places(
    x: float, y: float, z: float, matrix: Array, first: int, sides: tuple[int, int], at: Array, part: Array
) -> None:  # pragma: no cover - compiled
    """Voxels below the samples ``first``, ``first + 1``, ... of a row from x, y, z on, and the rests."""
    # Scalars of their own, and 32 bits: nothing may be read twice here, or the loop is not vectorised.
    step_x, step_y, step_z = matrix[0, 2], matrix[1, 2], matrix[2, 2]
    u, v, w = part[0], part[1], part[2]
    plane, row = np.int64(sides[0]), np.int64(sides[1])
    for k in range(at.size):
        n = np.int32(first + k)
        px, py, pz = x + step_x * n, y + step_y * n, z + step_z * n
        a, b, d = np.int32(px), np.int32(py), np.int32(pz)
        u[k], v[k], w[k] = px - a, py - b, pz - d
        at[k] = np.int64(a) * plane + np.int64(b) * row + np.int64(d)


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _linear(volume: Array, matrix: Array, fill: Array, out: Array) -> None:  # pragma: no cover - compiled
    channels, size_i, size_j, size_k = volume.shape
    voxels, n = size_i * size_j * size_k, out.shape[3]
    flat = volume.reshape(channels * voxels)
    # Unsigned, because Python's negative indices cost a test per read.
    one, row, plane = np.uint64(1), np.uint64(size_k), np.uint64(size_j * size_k)
    at = np.empty(n, np.int64)
    part = np.empty((3, n), np.float32)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            base_x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            base_y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            base_z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            first, last = _inner(base_x, base_y, base_z, matrix, (size_i, size_j, size_k), 0.0, 1.0, n)
            for end in range(2):
                for k in range(0 if end == 0 else last, first if end == 0 else n):
                    x = base_x + matrix[0, 2] * k
                    y = base_y + matrix[1, 2] * k
                    z = base_z + matrix[2, 2] * k
                    _linear_at(volume, x, y, z, fill, out[:, i, j, k])
            # Away from the border no sample asks where it is: these loops run at the speed of the reads.
            inner = last - first
            _places(base_x, base_y, base_z, matrix, first, (size_j * size_k, size_k), at[:inner], part)
            for c in range(channels):
                channel = flat[c * voxels : (c + 1) * voxels]
                for k in range(inner):
                    p, u, v, w = np.uint64(at[k]), part[0, k], part[1, k], part[2, k]
                    q = p + plane
                    p00 = np.float32(channel[p])
                    p00 += w * (np.float32(channel[p + one]) - p00)
                    p01 = np.float32(channel[p + row])
                    p01 += w * (np.float32(channel[p + row + one]) - p01)
                    p10 = np.float32(channel[q])
                    p10 += w * (np.float32(channel[q + one]) - p10)
                    p11 = np.float32(channel[q + row])
                    p11 += w * (np.float32(channel[q + row + one]) - p11)
                    p00 += v * (p01 - p00)
                    p10 += v * (p11 - p10)
                    out[c, i, j, first + k] = p00 + u * (p10 - p00)


@njit(cache=True, nogil=True)
def _nearest(volume: Array, matrix: Array, fill: Array, out: Array) -> None:  # pragma: no cover - compiled
    channels, size_i, size_j, size_k = volume.shape
    voxels, n = size_i * size_j * size_k, out.shape[3]
    flat = volume.reshape(channels * voxels)
    at = np.empty(n, np.int64)
    part = np.empty((3, n), np.float32)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            base_x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3] + UP
            base_y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3] + UP
            base_z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3] + UP
            first, last = _inner(base_x, base_y, base_z, matrix, (size_i, size_j, size_k), 0.0, 0.0, n)
            for end in range(2):
                for k in range(0 if end == 0 else last, first if end == 0 else n):
                    x = base_x + matrix[0, 2] * k
                    y = base_y + matrix[1, 2] * k
                    z = base_z + matrix[2, 2] * k
                    inside = x >= 0 and y >= 0 and z >= 0 and x < size_i and y < size_j and z < size_k
                    for c in range(channels):
                        out[c, i, j, k] = volume[c, int(x), int(y), int(z)] if inside else fill[c]
            inner = last - first
            _places(base_x, base_y, base_z, matrix, first, (size_j * size_k, size_k), at[:inner], part)
            for c in range(channels):
                channel = flat[c * voxels : (c + 1) * voxels]
                for k in range(inner):
                    out[c, i, j, first + k] = channel[np.uint64(at[k])]


def as_map(matrix: Array) -> Array:
    """A copy, which may be written to: for arrays that may not, all loops would be compiled once more."""
    return np.array(matrix, np.float64, order="C")


def sample_linear(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Trilinear samples: (C, I, J, K) of any real dtype to (C, *shape) float32."""
    out = np.empty((volume.shape[0], *shape), np.float32)
    _linear(volume, as_map(matrix), np.asarray(fill, np.float32), out)
    return out


def sample_nearest(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Nearest samples: (C, I, J, K) to (C, *shape) of the same dtype."""
    out = np.empty((volume.shape[0], *shape), volume.dtype)
    _nearest(volume, as_map(matrix), np.asarray(fill).astype(volume.dtype), out)
    return out


def positions(matrix: Array, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).reshape(3, -1)
    return matrix[:, :3] @ index + matrix[:, 3:], index


def sample_linear_numpy(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Plain twin of :func:`sample_linear`, in float64."""
    where, _ = positions(np.asarray(matrix, np.float64), shape)
    return linear_at_numpy(volume, where, fill).reshape(volume.shape[0], *shape)


def linear_at_numpy(volume: Array, where: Array, fill: Array) -> Array:
    """Trilinear samples at any positions: (C, I, J, K) at (3, N) indices to (C, N) float64."""
    size = np.array(volume.shape[1:])[:, None]
    inside = ((where >= -EDGE) & (where < size - 1 + EDGE)).all(0)
    where = np.clip(where, 0, size - 1)
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, size - 1)
    part = where - low
    total = np.zeros((volume.shape[0], where.shape[1]))
    for corner in np.ndindex(2, 2, 2):
        at = [high[a] if corner[a] else low[a] for a in range(3)]
        weight = np.prod([part[a] if corner[a] else 1 - part[a] for a in range(3)], axis=0)
        total += weight * volume[:, at[0], at[1], at[2]]
    return np.where(inside, total, np.asarray(fill, np.float64)[:, None])


def sample_nearest_numpy(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Plain twin of :func:`sample_nearest`."""
    where, _ = positions(np.asarray(matrix, np.float64), shape)
    return nearest_at_numpy(volume, where, fill).reshape(volume.shape[0], *shape)


def nearest_at_numpy(volume: Array, where: Array, fill: Array) -> Array:
    """Nearest samples at any positions: (C, I, J, K) at (3, N) indices to (C, N) of the same dtype."""
    where = np.floor(where + UP).astype(int)
    size = np.array(volume.shape[1:])[:, None]
    inside = ((where >= 0) & (where < size)).all(0)
    i, j, k = np.clip(where, 0, size - 1)
    return np.where(inside, volume[:, i, j, k], np.asarray(fill).astype(volume.dtype)[:, None])
