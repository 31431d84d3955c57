"""Sampling a volume under an affine index map plus a displacement, a cubic B-spline on control points.

``matrix`` (3, 4) takes output indices to input indices, ``lattice`` (3, 4) takes them to indices of the
control points, whose displacements ``points`` (3, A, B, C) are in input voxels. Beyond the control points
the displacement goes to zero. Positions, borders and ``fill`` are as in :mod:`truevox.kernels.sample`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.sample import EDGE, UP, as_map, linear_at_numpy, nearest_at_numpy, positions

__all__ = [
    "displaced_plane",
    "padded_points",
    "warp_linear",
    "warp_linear_numpy",
    "warp_nearest",
    "warp_nearest_numpy",
]

Array = NDArray[Any]
AROUND = 4
"""Control points of no displacement on either side: a sample far outside meets only such."""


@njit(cache=True, nogil=True)
def _support(u: float, size: int, weights: Array) -> int:  # pragma: no cover - compiled
    """First of the four control points (of ``size`` with those around) at ``u``, and their weights."""
    low = np.floor(u)
    t = u - low
    s = 1.0 - t
    weights[0] = s * s * s / 6
    weights[1] = (3 * t * t * t - 6 * t * t + 4) / 6
    weights[2] = (3 * s * s * s - 6 * s * s + 4) / 6
    weights[3] = t * t * t / 6
    return int(min(max(low + AROUND - 1, 0.0), size - 4.0))


@njit(cache=True, nogil=True)
def _straight_row(
    plane: Array, y: float, ks: Array, wk: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """Displacements (3, n) of a row that runs along the control points."""
    wj, row = np.empty(4), np.zeros((3, plane.shape[2]))
    b = _support(y, plane.shape[1], wj)
    for axis in range(3):
        for q in range(4):
            for c in range(plane.shape[2]):
                row[axis, c] += wj[q] * plane[axis, b + q, c]
        for k in range(out.shape[1]):
            c = ks[k]
            out[axis, k] = (
                wk[k, 0] * row[axis, c]
                + wk[k, 1] * row[axis, c + 1]
                + wk[k, 2] * row[axis, c + 2]
                + wk[k, 3] * row[axis, c + 3]
            )


@njit(cache=True, nogil=True)
def _oblique_row(points: Array, start: Array, step: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Displacements (3, n) of a row that runs across the control points (A, B, C, 3)."""
    flat = points.reshape(points.shape[0], points.shape[1], points.shape[2] * 3)
    wi, wj, wk, column = np.empty(4), np.empty(4), np.empty(4), np.empty(12)
    for k in range(out.shape[1]):
        a = _support(start[0] + step[0] * k, points.shape[0], wi)
        b = _support(start[1] + step[1] * k, points.shape[1], wj)
        c = 3 * _support(start[2] + step[2] * k, points.shape[2], wk)
        for r in range(12):
            column[r] = 0.0
        for p in range(4):
            for q in range(4):
                w = wi[p] * wj[q]
                near = flat[a + p, b + q]
                for r in range(12):
                    column[r] += w * near[c + r]
        for axis in range(3):
            out[axis, k] = (
                wk[0] * column[axis]
                + wk[1] * column[axis + 3]
                + wk[2] * column[axis + 6]
                + wk[3] * column[axis + 9]
            )


@njit(cache=True, nogil=True)
def _linear_line(volume: Array, where: Array, fill: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Trilinear samples (C, n) at positions (3, n)."""
    channels, size_i, size_j, size_k = volume.shape
    flat = volume.reshape(channels, size_i * size_j * size_k)
    n = where.shape[1]
    at, next_i, next_j, next_k = np.empty((4, n), np.uint64)
    part = np.empty((3, n), np.float32)
    inside = np.empty(n, np.bool_)
    for k in range(n):
        x, y, z = where[0, k], where[1, k], where[2, k]
        inside[k] = (
            -EDGE <= x < size_i - 1 + EDGE
            and -EDGE <= y < size_j - 1 + EDGE
            and -EDGE <= z < size_k - 1 + EDGE
        )
        x, y, z = (
            min(max(x, 0.0), size_i - 1.0),
            min(max(y, 0.0), size_j - 1.0),
            min(max(z, 0.0), size_k - 1.0),
        )
        a, b, d = int(x), int(y), int(z)
        part[0, k], part[1, k], part[2, k] = x - a, y - b, z - d
        at[k] = np.uint64((a * size_j + b) * size_k + d)
        next_i[k] = np.uint64(size_j * size_k if a + 1 < size_i else 0)
        next_j[k] = np.uint64(size_k if b + 1 < size_j else 0)
        next_k[k] = np.uint64(1 if d + 1 < size_k else 0)
    for c in range(channels):
        channel = flat[c]
        for k in range(n):
            if not inside[k]:
                out[c, k] = fill[c]
                continue
            u, v, w = part[0, k], part[1, k], part[2, k]
            j, e = next_j[k], next_k[k]
            p = at[k]
            q = p + next_i[k]
            p00 = np.float32(channel[p])
            p00 += w * (np.float32(channel[p + e]) - p00)
            p01 = np.float32(channel[p + j])
            p01 += w * (np.float32(channel[p + j + e]) - p01)
            p10 = np.float32(channel[q])
            p10 += w * (np.float32(channel[q + e]) - p10)
            p11 = np.float32(channel[q + j])
            p11 += w * (np.float32(channel[q + j + e]) - p11)
            p00 += v * (p01 - p00)
            p10 += v * (p11 - p10)
            out[c, k] = p00 + u * (p10 - p00)


@njit(cache=True, nogil=True)
def _nearest_line(
    volume: Array, where: Array, fill: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """Nearest samples (C, n) at positions (3, n)."""
    channels, size_i, size_j, size_k = volume.shape
    flat = volume.reshape(channels, size_i * size_j * size_k)
    for k in range(where.shape[1]):
        x, y, z = where[0, k] + UP, where[1, k] + UP, where[2, k] + UP
        inside = x >= 0 and y >= 0 and z >= 0 and x < size_i and y < size_j and z < size_k
        at = np.uint64((int(x) * size_j + int(y)) * size_k + int(z)) if inside else np.uint64(0)
        for c in range(channels):
            out[c, k] = flat[c, at] if inside else fill[c]


@njit(cache=True, nogil=True)
def displaced_plane(
    i: int, matrix: Array, points: Array, lattice: Array, straight: bool, where: Array
) -> None:  # pragma: no cover - compiled
    """Displaced positions (3, J, K) of one plane of the output."""
    n = where.shape[2]
    plane = np.zeros((3, points.shape[1], points.shape[2]))
    ks, wi, wk, start = np.empty(n, np.int64), np.empty(4), np.empty((n, 4)), np.empty(3)
    if straight:
        # Control points fold into a plane and then into a row: four terms per voxel are left.
        for k in range(n):
            ks[k] = _support(lattice[2, 2] * k + lattice[2, 3], points.shape[2], wk[k])
        a = _support(lattice[0, 0] * i + lattice[0, 3], points.shape[0], wi)
        for axis in range(3):
            for b in range(points.shape[1]):
                for c in range(points.shape[2]):
                    for p in range(4):
                        plane[axis, b, c] += wi[p] * points[a + p, b, c, axis]
    for j in range(where.shape[1]):
        if straight:
            _straight_row(plane, lattice[1, 1] * j + lattice[1, 3], ks, wk, where[:, j])
        else:
            for axis in range(3):
                start[axis] = lattice[axis, 0] * i + lattice[axis, 1] * j + lattice[axis, 3]
            _oblique_row(points, start, lattice[:, 2], where[:, j])
        for axis in range(3):
            base = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 3]
            for k in range(n):
                where[axis, j, k] += base + matrix[axis, 2] * k


@njit(cache=True, nogil=True)
def _linear(
    volume: Array, matrix: Array, points: Array, lattice: Array, straight: bool, fill: Array, out: Array
) -> None:  # pragma: no cover - compiled
    channels, planes, rows, n = out.shape
    where = np.empty((3, rows, n))
    line, lines = where.reshape(3, rows * n), out.reshape(channels, planes, rows * n)
    for i in range(planes):
        displaced_plane(i, matrix, points, lattice, straight, where)
        _linear_line(volume, line, fill, lines[:, i])


@njit(cache=True, nogil=True)
def _nearest(
    volume: Array, matrix: Array, points: Array, lattice: Array, straight: bool, fill: Array, out: Array
) -> None:  # pragma: no cover - compiled
    channels, planes, rows, n = out.shape
    where = np.empty((3, rows, n))
    line, lines = where.reshape(3, rows * n), out.reshape(channels, planes, rows * n)
    for i in range(planes):
        displaced_plane(i, matrix, points, lattice, straight, where)
        _nearest_line(volume, line, fill, lines[:, i])


def padded_points(points: Array, lattice: Array) -> tuple[Array, Array, bool]:
    """Control points (A, B, C, 3) with zeros around, their map, and whether rows run along them.

    Control axes in another order than the output's are put in its order.
    """
    lattice = np.asarray(lattice, np.float64)
    size = np.abs(lattice[:, :3])
    order = size.argmax(0)
    points = np.moveaxis(np.asarray(points, np.float64), 0, -1)
    straight = sorted(order) == [0, 1, 2]
    if straight:
        points, lattice = points.transpose(*order, 3), lattice[order]
        aside = np.abs(lattice[:, :3] - np.diag(np.diag(lattice[:, :3])))
        straight = bool(aside.max() <= 1e-9 * size.max())
    padded = np.pad(points, [(AROUND, AROUND)] * 3 + [(0, 0)])
    return np.ascontiguousarray(padded), as_map(lattice), straight


def warp_linear(
    volume: Array, matrix: Array, points: Array, lattice: Array, shape: tuple[int, int, int], fill: Array
) -> Array:
    """Trilinear samples at displaced positions: (C, I, J, K) of any real dtype to (C, *shape) float32."""
    out = np.empty((volume.shape[0], *shape), np.float32)
    _linear(volume, as_map(matrix), *padded_points(points, lattice), np.asarray(fill, np.float32), out)
    return out


def warp_nearest(
    volume: Array, matrix: Array, points: Array, lattice: Array, shape: tuple[int, int, int], fill: Array
) -> Array:
    """Nearest samples at displaced positions: (C, I, J, K) to (C, *shape) of the same dtype."""
    out = np.empty((volume.shape[0], *shape), volume.dtype)
    _nearest(
        volume, as_map(matrix), *padded_points(points, lattice), np.asarray(fill).astype(volume.dtype), out
    )
    return out


def displacement_numpy(points: Array, where: Array) -> Array:
    """Displacements (3, N) of a cubic B-spline at control indices (3, N), point by point."""
    total = np.zeros((3, where.shape[1]))
    for index in np.ndindex(*points.shape[1:]):
        u = np.abs(where - np.array(index)[:, None])
        inner, outer = (4 - 6 * u**2 + 3 * u**3) / 6, np.clip(2 - u, 0, None) ** 3 / 6
        total += np.outer(points[:, *index], np.where(u < 1, inner, outer).prod(0))
    return total


def warp_linear_numpy(
    volume: Array, matrix: Array, points: Array, lattice: Array, shape: tuple[int, int, int], fill: Array
) -> Array:
    """Plain twin of :func:`warp_linear`, in float64."""
    where = positions(matrix, shape)[0] + displacement_numpy(points, positions(lattice, shape)[0])
    return linear_at_numpy(volume, where, fill).reshape(volume.shape[0], *shape)


def warp_nearest_numpy(
    volume: Array, matrix: Array, points: Array, lattice: Array, shape: tuple[int, int, int], fill: Array
) -> Array:
    """Plain twin of :func:`warp_nearest`."""
    where = positions(matrix, shape)[0] + displacement_numpy(points, positions(lattice, shape)[0])
    return nearest_at_numpy(volume, where, fill).reshape(volume.shape[0], *shape)
