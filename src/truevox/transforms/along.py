"""Linear effects along one axis, each a matrix: blurs, coarse lattices, changes of k-space.

A matrix product runs at the speed of the machine, whatever the effect, and is exact in what it says.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from truevox.space import Grid

__all__ = ["along", "circulant", "coarse_and_back", "frequencies", "gaussian", "matching_axes"]

Matrix = NDArray[np.float64]
BLOCK = 64
"""Rows of a band matrix that are multiplied together, without the zeros beside them."""


def along(data: Tensor, matrix: Matrix, axis: int) -> Tensor:
    """Voxels (C, I, J, K) with a matrix (m, n) applied along axis 0, 1 or 2 of n voxels.

    Examples
    --------
    >>> x = torch.arange(3.0).reshape(1, 3, 1, 1)
    >>> along(x, np.eye(3)[::-1], 0).flatten().tolist()
    [2.0, 1.0, 0.0]
    """
    shape = list(data.shape)
    before, size, after = int(np.prod(shape[: axis + 1])), shape[axis + 1], int(np.prod(shape[axis + 2 :]))
    rows = len(matrix)
    shape[axis + 1] = rows
    weights = torch.from_numpy(np.ascontiguousarray(matrix, np.float32)).to(data.device)
    flat = data.float().reshape(before, size, after)
    if rows <= 2 * BLOCK:
        return _product(flat, weights).reshape(shape)
    out = flat.new_empty(before, rows, after)
    for start in range(0, rows, BLOCK):
        part = slice(start, start + BLOCK)
        used = np.flatnonzero(matrix[part].any(0))
        low, high = (used[0], used[-1] + 1) if used.size else (0, 1)
        out[:, part] = _product(flat[:, low:high], weights[part, low:high])
    return out.reshape(shape)


def _product(flat: Tensor, weights: Tensor) -> Tensor:
    if flat.shape[2] == 1:
        return (flat[:, :, 0] @ weights.T)[:, :, None]
    return weights @ flat


def gaussian(size: int, sigma: float, truncate: float = 3.0) -> Matrix:
    """Convolution with a Gaussian of ``sigma`` voxels, cut at ``truncate`` sigma; the last voxel goes on.

    Examples
    --------
    >>> bool(np.allclose(gaussian(5, 1.0).sum(1), 1))
    True
    """
    radius = int(truncate * sigma + 0.5)
    steps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2) if sigma > 0 else np.ones(1)
    weights /= weights.sum()
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for step, weight in zip(steps, weights, strict=True):
        np.add.at(matrix, (rows, np.clip(rows + step, 0, size - 1)), weight)
    return matrix


def frequencies(size: int) -> NDArray[np.int64]:
    """Lines of k-space of an axis, in the order of :func:`circulant`: 0, 1, ..., -2, -1."""
    return np.rint(np.fft.fftfreq(size) * size).astype(int)


def circulant(weights: NDArray[np.float64]) -> Matrix:
    """The lines of k-space weighted, and the real part of what the scanner then shows.

    Parameters
    ----------
    weights : (n,)
        In the order of :func:`frequencies`.

    Examples
    --------
    >>> bool(np.allclose(circulant(np.ones(4)), np.eye(4)))
    True
    """
    kernel = np.fft.ifft(weights).real
    index = np.arange(len(weights))
    return kernel[(index[:, None] - index[None]) % len(weights)]


def coarse_and_back(positions: NDArray[np.float64], step: float) -> Matrix:
    """Averages over boxes of ``step``, interpolated linearly at the same positions again.

    Parameters
    ----------
    positions : (n,)
        Of the voxels, in voxels of a lattice whose box starts at -0.5: the first coarse voxel starts there.
    step : float
        Size of a coarse voxel in voxels, at least 1.
    """
    width = 1.0 if len(positions) == 1 else abs(positions[1] - positions[0])
    first = np.floor((positions.min() - width / 2 + 0.5) / step + 1e-6)
    last = np.ceil((positions.max() + width / 2 + 0.5) / step - 1e-6)
    low = -0.5 + step * np.arange(first, last)[:, None]
    shared = np.minimum(low + step, positions + width / 2) - np.maximum(low, positions - width / 2)
    down = np.clip(shared, 0, None)
    down /= down.sum(1, keepdims=True)
    centres = (low + step / 2)[:, 0]
    inside = np.clip(positions, centres[0], centres[-1])
    up = np.clip(1 - np.abs(inside[:, None] - centres[None]) / step, 0, None)
    return up @ down


def matching_axes(frame: Grid, grid: Grid) -> tuple[int, int, int]:
    """For each axis of ``grid``, the axis of ``frame`` that runs closest to it.

    Examples
    --------
    >>> matching_axes(Grid((2, 3, 4)), Grid((2, 3, 4)).permute((2, 0, 1)))
    (2, 0, 1)
    """
    cosines = np.abs((frame.affine[:3, :3] / frame.spacing).T @ (grid.affine[:3, :3] / grid.spacing))
    best = max(permutations(range(3)), key=lambda p: float(sum(cosines[p[a], a] for a in range(3))))
    return best[0], best[1], best[2]
