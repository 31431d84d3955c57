"""How large patches are, and how a U-Net is built for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Budget", "Shapes", "plan_shapes"]

_LEAST = 4
"""Voxels that the deepest level keeps along an axis."""
_COARSE = 2.0
"""An axis whose voxels are so many times longer than the shortest ones is not convolved, nor pooled."""


@dataclass(frozen=True)
class Budget:
    """What a device can bear.

    Parameters
    ----------
    voxels : int
        Of a patch.
    batch : int
        Voxels of all patches of a step.
    features : int
        Of the finest level; they double with each coarser one.
    most_features, levels : int
    """

    voxels: int
    batch: int
    features: int
    most_features: int
    levels: int


@dataclass(frozen=True)
class Shapes:
    """Patch and network.

    Parameters
    ----------
    size : tuple of int
        Voxels of a patch per axis of more than one voxel.
    strides, kernels : tuple of tuples
        Per step between levels and per level, as :class:`truevox.networks.UNet` takes them.
    channels : tuple of int
        Features per level.
    batch_size : int
    """

    size: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    channels: tuple[int, ...]
    batch_size: int


def plan_shapes(shape: Sequence[float], spacing: Sequence[float], budget: Budget) -> Shapes:
    """Patches as large as the budget allows, as long in mm along all axes as the scans let them be.

    Axes with long voxels are neither convolved nor pooled before pooling has made the others as long. The
    idea of deriving patch, pooling and kernels from shape and spacing is that of nnU-Net.

    Parameters
    ----------
    shape, spacing : sequence of float
        Of a typical scan in voxels and mm, along its axes of more than one voxel.
    budget : Budget

    References
    ----------
    Isensee et al.: nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation,
    Nature Methods 18 (2021).

    Examples
    --------
    >>> small = Budget(voxels=64**3, batch=2 * 64**3, features=16, most_features=128, levels=5)
    >>> plan_shapes((35, 50, 35), (1, 1, 1), small).size
    (40, 56, 40)
    >>> plan_shapes((256, 256, 20), (0.8, 0.8, 5), small).size
    (128, 128, 20)
    """
    extent, length = np.asarray(shape, float), np.asarray(spacing, float)
    size = _longest(extent, length, budget.voxels)
    strides: list[tuple[int, ...]] = []
    kernels = [_kernel(length)]
    while len(strides) < budget.levels - 1:
        pooled = (length < _COARSE * length.min()) & (size >= 2 * _LEAST)
        if not pooled.any():
            break
        stride = np.where(pooled, 2, 1)
        size, length = size / stride, length * stride
        strides.append(tuple(stride.tolist()))
        kernels.append(_kernel(length))
    total = np.prod(strides, axis=0) if strides else np.ones(len(extent))
    # Whole voxels at the deepest level; up, so that a patch that could hold a scan does.
    voxels = np.ceil(size - 1e-6) * total
    features = tuple(min(budget.features * 2**k, budget.most_features) for k in range(len(kernels)))
    batch = int(np.clip(budget.batch // voxels.prod(), 2, 16))
    return Shapes(tuple(int(n) for n in voxels), tuple(strides), tuple(kernels), features, batch)


def _kernel(length: NDArray) -> tuple[int, ...]:
    return tuple(np.where(length < _COARSE * length.min(), 3, 1).tolist())


def _longest(extent: NDArray, spacing: NDArray, voxels: int) -> NDArray:
    """A box of at most so many voxels inside the extent, of one length in mm where the extent is longer."""
    if extent.prod() <= voxels:
        return extent
    low, high = 0.0, float((extent * spacing).max())
    for _ in range(60):
        middle = (low + high) / 2
        if np.minimum(middle / spacing, extent).prod() > voxels:
            high = middle
        else:
            low = middle
    return np.maximum(np.minimum(low / spacing, extent), 1)
