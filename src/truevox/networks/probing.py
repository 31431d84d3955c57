"""Field of view of a module whose operations are not all known, from the gradients of an averaging copy."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from truevox.errors import GraphError
from truevox.networks.lattice import LatticeMap

__all__ = ["Probed", "averaging_copy", "probe"]

_REMEDY = "declare it: field_of_view(module, ndim, offset=...), the input index of output voxel 0's centre"
_MAX_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEAN_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_WANTED = 96
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Probed:
    """Extent (None: whole input) and offset per axis, with notes."""

    size: tuple[int | None, ...]
    offset: tuple[Fraction, ...]
    notes: tuple[str, ...]
    whole: bool


def averaging_copy(module: nn.Module) -> tuple[nn.Module, bool]:
    """Float64 copy whose layers average: positive weights, max pooling made mean, norms made identity.

    Returns the copy, and whether a norm with statistics over the input was taken out.

    Examples
    --------
    >>> mean, statistics = averaging_copy(nn.Sequential(nn.Conv1d(2, 4, 2), nn.InstanceNorm1d(4)))
    >>> mean(torch.ones(1, 2, 5, dtype=torch.float64))[0, 0].tolist(), statistics
    ([1.0, 1.0, 1.0, 1.0], True)
    """
    twin = copy.deepcopy(module).double().eval()
    statistics = False
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _MAX_POOL):
                kind: Any = _MEAN_POOL[_MAX_POOL.index(type(child))]
                setattr(parent, name, kind(child.kernel_size, child.stride, child.padding, child.ceil_mode))
            elif isinstance(child, _NORMS) or type(child).__name__ == "InstanceNorm":
                statistics |= not isinstance(child, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm))
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for part in twin.modules():
            for name, weight in part.named_parameters(recurse=False):
                weight.fill_(0.0 if name.endswith("bias") else 1.0 / _contributions(part, weight))
    return twin, statistics


def _contributions(part: nn.Module, weight: Tensor) -> float:
    """How many values a layer adds up for one value of its result."""
    if isinstance(part, _TRANSPOSED):
        return weight.shape[0] / part.groups * math.prod(part.kernel_size) / math.prod(part.stride)
    return weight[0].numel() if weight.dim() > 1 else 1


def probe(module: nn.Module, channels: int, lattice: LatticeMap, output: int, declared: bool) -> Probed:
    """Support of the gradient along each axis, the other axes being as short as the module allows.

    Raises
    ------
    GraphError
        If the support is not symmetric about evenly spaced points and the offset is not declared.
    """
    twin, statistics = averaging_copy(module)
    sizes: list[int | None] = []
    offsets: list[Fraction] = []
    for axis in range(lattice.ndim):
        shortest = list(lattice.nearest_valid((1,) * lattice.ndim)[1])
        shape = [
            lattice.nearest_valid([max(_WANTED, n)] * lattice.ndim)[1][axis] if a == axis else n
            for a, n in enumerate(shortest)
        ]
        weights = _gradients(twin, channels, shape, output, axis, lattice)
        size, offset = _along(weights, lattice, axis, declared)
        sizes.append(size)
        offsets.append(offset)
    whole = None in sizes or statistics
    notes = ("whole input (statistics)",) if statistics else ()
    return Probed(tuple(sizes), tuple(offsets), notes, whole)


def _gradients(
    twin: nn.Module, channels: int, shape: list[int], output: int, axis: int, lattice: LatticeMap
) -> dict[int, NDArray[np.float64]]:
    """Per output position in the middle of ``axis``, over one period: its weights along the input's axis."""
    x = torch.ones((1, channels, *shape), dtype=torch.float64, requires_grad=True)
    result = [leaf for leaf in pytree.tree_leaves(twin(x)) if isinstance(leaf, Tensor)][output]
    count = max(1, int(lattice.period[axis] / lattice.stride[axis]))
    middle = max(0, (result.shape[2 + axis] - count) // 2)
    weights = {}
    for position in range(middle, min(middle + count, result.shape[2 + axis])):
        total = result.select(2 + axis, position).sum()
        (gradient,) = torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)
        if gradient is not None:
            others = [dim for dim in range(gradient.dim()) if dim != 2 + axis]
            weights[position] = gradient.abs().sum(others).numpy()
    return weights


def _along(
    weights: dict[int, NDArray[np.float64]], lattice: LatticeMap, axis: int, declared: bool
) -> tuple[int | None, Fraction]:
    stride = float(lattice.stride[axis])
    middles, centroids, spans, size = [], [], [], 0
    for position, weight in weights.items():
        seen = np.flatnonzero(weight)
        if len(seen):
            size = len(weight)
            spans.append(int(seen[-1] - seen[0]) + 1)
            middles.append((seen[0] + seen[-1]) / 2 - stride * position)
            centroids.append(float((weight * np.arange(size)).sum() / weight.sum()) - stride * position)
    whole = not spans or max(spans) >= size
    offset = float(np.mean(middles)) if middles else np.nan
    if whole and spans:
        # The support is the whole input, symmetric only about its box: lay the output's box upon it.
        shape = (
            lattice.output_shape([size] * lattice.ndim)[axis]
            if lattice.is_valid([size] * lattice.ndim)
            else 0
        )
        offset = (size - 1 - stride * (shape - 1)) / 2 if shape else np.nan
        symmetric = bool(np.isfinite(offset))
    else:
        symmetric = bool(spans) and abs(offset - np.mean(centroids)) < _TOLERANCE
    if not (symmetric or declared):
        raise GraphError(
            f"What an output voxel sees has no clear middle (axis {axis}), so its offset is not known.",
            got=f"middle of the support {offset:g}, centre of its weights {np.mean(centroids or [np.nan]):g}",
            remedy=_REMEDY,
        )
    known = Fraction(offset).limit_denominator(4096) if np.isfinite(offset) else Fraction(0)
    return None if whole else max(spans), known
