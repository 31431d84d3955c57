"""Sampling a volume at the images of a lattice under an affine index map.

``matrix`` (3, 4) takes output indices to input indices. A voxel is a box: positions in
[-0.5, n - 0.5) are inside; the outer half voxel is clamped; outside is ``fill``. Nearest is
floor(x + 0.5), so that crops and flips agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["sample_linear", "sample_linear_numpy", "sample_nearest", "sample_nearest_numpy"]

Array = NDArray[Any]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _linear(volume: Array, matrix: Array, fill: Array, out: Array) -> None:  # pragma: no cover - compiled
    channels, size_i, size_j, size_k = volume.shape
    top_i, top_j, top_k = size_i - 1.0, size_j - 1.0, size_k - 1.0
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            base_x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            base_y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            base_z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            for k in range(out.shape[3]):
                x = base_x + matrix[0, 2] * k
                y = base_y + matrix[1, 2] * k
                z = base_z + matrix[2, 2] * k
                if not (
                    x >= -0.5
                    and y >= -0.5
                    and z >= -0.5
                    and x < size_i - 0.5
                    and y < size_j - 0.5
                    and z < size_k - 0.5
                ):
                    for c in range(channels):
                        out[c, i, j, k] = fill[c]
                    continue
                x = min(max(x, 0.0), top_i)
                y = min(max(y, 0.0), top_j)
                z = min(max(z, 0.0), top_k)
                a, b, d = int(x), int(y), int(z)
                u, v, w = np.float32(x - a), np.float32(y - b), np.float32(z - d)
                a1, b1, d1 = min(a + 1, size_i - 1), min(b + 1, size_j - 1), min(d + 1, size_k - 1)
                for c in range(channels):
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
                    out[c, i, j, k] = p00 + u * (p10 - p00)


@njit(cache=True, nogil=True)
def _nearest(volume: Array, matrix: Array, fill: Array, out: Array) -> None:  # pragma: no cover - compiled
    channels, size_i, size_j, size_k = volume.shape
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            base_x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3] + 0.5
            base_y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3] + 0.5
            base_z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3] + 0.5
            for k in range(out.shape[3]):
                x = base_x + matrix[0, 2] * k
                y = base_y + matrix[1, 2] * k
                z = base_z + matrix[2, 2] * k
                inside = x >= 0 and y >= 0 and z >= 0 and x < size_i and y < size_j and z < size_k
                for c in range(channels):
                    out[c, i, j, k] = volume[c, int(x), int(y), int(z)] if inside else fill[c]


def sample_linear(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Trilinear samples: (C, I, J, K) of any real dtype to (C, *shape) float32."""
    out = np.empty((volume.shape[0], *shape), np.float32)
    _linear(volume, np.ascontiguousarray(matrix, np.float64), np.asarray(fill, np.float32), out)
    return out


def sample_nearest(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Nearest samples: (C, I, J, K) to (C, *shape) of the same dtype."""
    out = np.empty((volume.shape[0], *shape), volume.dtype)
    _nearest(volume, np.ascontiguousarray(matrix, np.float64), np.asarray(fill).astype(volume.dtype), out)
    return out


def _positions(matrix: Array, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).reshape(3, -1)
    return matrix[:, :3] @ index + matrix[:, 3:], index


def sample_linear_numpy(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Plain twin of :func:`sample_linear`, in float64."""
    where, _ = _positions(np.asarray(matrix, np.float64), shape)
    size = np.array(volume.shape[1:])[:, None]
    inside = ((where >= -0.5) & (where < size - 0.5)).all(0)
    where = np.clip(where, 0, size - 1)
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, size - 1)
    part = where - low
    total = np.zeros((volume.shape[0], where.shape[1]))
    for corner in np.ndindex(2, 2, 2):
        at = [high[a] if corner[a] else low[a] for a in range(3)]
        weight = np.prod([part[a] if corner[a] else 1 - part[a] for a in range(3)], axis=0)
        total += weight * volume[:, at[0], at[1], at[2]]
    out = np.where(inside, total, np.asarray(fill, np.float64)[:, None])
    return out.reshape(volume.shape[0], *shape)


def sample_nearest_numpy(volume: Array, matrix: Array, shape: tuple[int, int, int], fill: Array) -> Array:
    """Plain twin of :func:`sample_nearest`."""
    where, _ = _positions(np.asarray(matrix, np.float64), shape)
    where = np.floor(where + 0.5).astype(int)
    size = np.array(volume.shape[1:])[:, None]
    inside = ((where >= 0) & (where < size)).all(0)
    i, j, k = np.clip(where, 0, size - 1)
    out = np.where(inside, volume[:, i, j, k], np.asarray(fill).astype(volume.dtype)[:, None])
    return out.reshape(volume.shape[0], *shape)
