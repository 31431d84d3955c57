"""Field of view of a module whose operations are not all known, from the gradients of an averaging copy.

Gradients see nothing of what is written past them (``x.data``, ``detach``): the answer to an impulse must
agree. Where a module looks must not depend on the place: what sorts or adds up along an axis has no lattice.
A probe ends after ``SECONDS``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from truevox.errors import GraphError
from truevox.networks.copying import copied
from truevox.networks.lattice import LatticeMap
from truevox.progress import spinner

__all__ = ["REMEDY", "MeanPools", "Probed", "averaging_copy", "probe"]

SECONDS = 20.0
"""Bound of a probe's time, after which at most one pass of the network on a short strip is under way."""
REMEDY = (
    "declare it: tv.Network(module, lattice=[tv.field_of_view(module, ndim, offset=...).map]), where offset "
    "is the input index of output voxel 0's centre; or lattice=[tv.networks.LatticeMap.from_rule(...)]"
)
_MAX_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEAN_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_WANTED = 96
_TOLERANCE = 0.01
_PEAK = 4
"""Largest over mean square of the weights, above which they have a place of their own."""
_NOTHING = 1e-13
"""Weights below this share of the largest are rounding, as of a Fourier transform."""


@dataclass(frozen=True)
class Probed:
    """Extent (None: whole input) and offset per axis, with notes."""

    size: tuple[int | None, ...]
    offset: tuple[Fraction, ...]
    notes: tuple[str, ...]
    whole: bool


def averaging_copy(module: nn.Module, kind: torch.dtype = torch.float64) -> tuple[nn.Module, bool]:
    """Copy whose layers average: positive weights, max pooling made mean, norms made identity.

    Returns the copy, and whether a norm with statistics over the input was taken out.

    Examples
    --------
    >>> mean, statistics = averaging_copy(nn.Sequential(nn.Conv1d(2, 4, 2), nn.InstanceNorm1d(4)))
    >>> mean(torch.ones(1, 2, 5, dtype=torch.float64))[0, 0].tolist(), statistics
    ([1.0, 1.0, 1.0, 1.0], True)
    """
    twin = copied(module).to(kind)
    statistics = False
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _MAX_POOL):
                mean: Any = _MEAN_POOL[_MAX_POOL.index(type(child))]
                setattr(parent, name, mean(child.kernel_size, child.stride, child.padding, child.ceil_mode))
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

    Where the offset is declared and no extent is found, the extent is that of the whole input.

    Raises
    ------
    GraphError
        If the support is not symmetric about evenly spaced points and the offset is not declared.
    """
    until = time.monotonic() + SECONDS
    try:
        with spinner(f"Finding out where {type(module).__name__} looks (at most {SECONDS:g} s)"):
            return _probe(module, channels, lattice, output, declared, until)
    except Exception as error:  # whatever the module's own code raises
        if declared:
            none = (None,) * lattice.ndim
            return Probed(none, (Fraction(0),) * lattice.ndim, ("what it sees was not found",), True)
        if isinstance(error, GraphError):
            raise
        raise GraphError(
            "Where the network looks can't be found: it has operations without arithmetic here, and a run on "
            "numbers failed.",
            got=f"{type(module).__name__}: {error}",
            remedy=REMEDY,
        ) from error


def _probe(
    module: nn.Module, channels: int, lattice: LatticeMap, output: int, declared: bool, until: float
) -> Probed:
    twin, statistics = averaging_copy(module)
    sizes: list[int | None] = []
    offsets: list[Fraction] = []
    for axis in range(lattice.ndim):
        shortest = list(lattice.nearest_valid((1,) * lattice.ndim)[1])
        long = lattice.nearest_valid([max(_WANTED, n) for n in shortest])
        shape = [(long[1][a] or long[0][a]) if a == axis else n for a, n in enumerate(shortest)]
        with MeanPools():
            x, result = _run(twin, channels, shape, output)
            weights = _gradients(x, result, axis, lattice, until)
            size, offset = _along(weights, lattice, axis, declared)
            if size is not None and not declared:
                _respond(twin, x, result.detach(), output, axis, lattice, size, offset)
        sizes.append(size)
        offsets.append(offset)
    whole = None in sizes or statistics
    notes = ("whole input (statistics)",) if statistics else ()
    return Probed(tuple(sizes), tuple(offsets), notes, whole)


class MeanPools(TorchFunctionMode):
    """Maxima over windows that functions take become means, as those of layers do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = getattr(func, "__name__", ""), kwargs or {}
        mean = getattr(functional, name.replace("max", "avg"), None)
        if name in ("max_pool1d", "max_pool2d", "max_pool3d") and mean is not None:
            names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
            asked = {**dict(zip(names, args, strict=False)), **given}
            if not asked.get("return_indices") and asked.get("dilation", 1) == 1:
                kept = {n: asked[n] for n in ("kernel_size", "stride", "padding", "ceil_mode") if n in asked}
                kept["stride"] = kept.get("stride") or None
                return mean(asked["input"], **kept)
        return func(*args, **given)


def _run(twin: nn.Module, channels: int, shape: list[int], output: int) -> tuple[Tensor, Tensor]:
    """An input, nearly the same everywhere so that what sorts has something to sort, and the output."""
    noise = np.random.default_rng(0).random((1, channels, *shape))
    x = torch.from_numpy(1 + 1e-4 * noise).requires_grad_()
    return x, _output(twin, x, output)


def _output(twin: nn.Module, x: Tensor, output: int) -> Tensor:
    try:
        result = twin(x)
    except RuntimeError:  # it makes constants of its own, in the type that it is used with
        result = twin.float()(x.float())
        twin.double()
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)][output]


def _gradients(
    x: Tensor, result: Tensor, axis: int, lattice: LatticeMap, until: float
) -> dict[int, NDArray[np.float64]]:
    """Weights along the input's axis, of output positions: a period in its middle, and one elsewhere."""
    count, length = max(1, int(lattice.period[axis] / lattice.stride[axis])), result.shape[2 + axis]
    middle = max(0, (length - count) // 2)
    aside = middle - count * max(1, middle // (2 * count))
    weights = {}
    for position in [*range(middle, min(middle + count, length)), *([aside] if aside >= 0 else [])]:
        if time.monotonic() > until:
            raise GraphError(
                "Probing where the network looks takes too long.",
                got=f"more than {SECONDS:g} s",
                remedy=REMEDY,
            )
        total = result.select(2 + axis, position).sum()
        if not total.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)
        if gradient is not None:
            others = [dim for dim in range(gradient.dim()) if dim != 2 + axis]
            weight = gradient.abs().sum(others).double().numpy()
            weights[position] = np.where(weight > _NOTHING * weight.max(initial=0), weight, 0)
    return weights


def _along(
    weights: dict[int, NDArray[np.float64]], lattice: LatticeMap, axis: int, declared: bool
) -> tuple[int | None, Fraction]:
    seen_by: Seen = {}
    for position, weight in weights.items():
        seen = np.flatnonzero(weight)
        if len(seen):
            seen_by[position] = (int(seen[0]), int(seen[-1]), weight)
    size = max((len(weight) for weight in weights.values()), default=0)
    whole = not seen_by or max(last - first + 1 for first, last, _ in seen_by.values()) >= size
    if whole and seen_by:
        offset, clear = _of_box(seen_by, lattice, axis, size)
        found = offset
    else:
        offset, found, clear = _of_support(seen_by, lattice, axis, size)
    if not (clear or declared):
        raise GraphError(
            f"What an output voxel sees has no clear middle, the same everywhere (axis {axis}), so the "
            "output's place is not known.",
            got=f"by what it sees {offset:g}, by the weights of what it sees {found:g}",
            remedy=REMEDY,
        )
    known = Fraction(offset).limit_denominator(4096) if np.isfinite(offset) else Fraction(0)
    longest = max((last - first + 1 for first, last, _ in seen_by.values()), default=0)
    return None if whole else longest, known


Seen = dict[int, tuple[int, int, NDArray[np.float64]]]


def _of_support(seen_by: Seen, lattice: LatticeMap, axis: int, size: int) -> tuple[float, float, bool]:
    """Offset by the middle of the support and by the centre of its weights; whether they are one and stay."""
    if not seen_by:
        return np.nan, np.nan, False
    stride, count = float(lattice.stride[axis]), max(1, int(lattice.period[axis] / lattice.stride[axis]))
    middles = {p: (first + last) / 2 - stride * p for p, (first, last, _) in seen_by.items()}
    period = sorted(middles)[-count:]
    offset = float(np.mean([middles[p] for p in period]))
    places = [
        float((w * np.arange(size)).sum() / w.sum()) - stride * p
        for p, (_, _, w) in seen_by.items()
        if p in period
    ]
    found = float(np.mean(places))
    # One position of the period was looked at elsewhere too: it must see as far, unless the border is near.
    cut = {p: first == 0 or last == size - 1 for p, (first, last, _) in seen_by.items()}
    aside = [p for p in middles if p not in period and not cut[p]]
    twins = [(p, q) for p in aside for q in period if (q - p) % count == 0]
    stays = all(abs(middles[p] - middles[q]) < _TOLERANCE for p, q in twins)
    return offset, found, stays and not any(cut[p] for p in period) and abs(offset - found) < _TOLERANCE


def _of_box(seen_by: Seen, lattice: LatticeMap, axis: int, size: int) -> tuple[float, bool]:
    """Offset where all is seen: the output's box laid upon the input's; whether large weights agree."""
    stride, shape = float(lattice.stride[axis]), 0
    if lattice.is_valid([size] * lattice.ndim):
        shape = lattice.output_shape([size] * lattice.ndim)[axis]
    if not shape:
        return np.nan, False
    offset, period = (size - 1 - stride * (shape - 1)) / 2, sorted(seen_by)
    count = max(1, int(lattice.period[axis] / lattice.stride[axis]))
    squares = [(p, seen_by[p][2] ** 2) for p in period[-count:]]
    if max(w.max() / w.mean() for _, w in squares) < _PEAK:
        return offset, True
    peak = float(np.mean([(w * np.arange(size)).sum() / w.sum() - stride * p for p, w in squares]))
    return offset, abs(peak - offset) < 1


def _respond(
    twin: nn.Module,
    x: Tensor,
    before: Tensor,
    output: int,
    axis: int,
    lattice: LatticeMap,
    size: int,
    offset: Fraction,
) -> None:
    """Refuse a module that answers to an impulse elsewhere than its gradients say."""
    place = x.shape[2 + axis] // 2
    moved = x.detach().clone()
    moved.select(2 + axis, place).add_(0.5)
    with torch.no_grad():
        after = _output(twin, moved, output)
    changed = (after - before).abs().amax([d for d in range(after.dim()) if d != 2 + axis])
    answers = np.flatnonzero((changed > 1e-9 * changed.max()).numpy())
    # One voxel answers alike for all voxels of a period only on average.
    slack = max(1.0, float(lattice.stride[axis]), lattice.period[axis]) / 2
    away = [float(offset) + float(lattice.stride[axis]) * int(p) - place for p in answers]
    reach, middle = (size - 1) / 2 + slack, abs(away[0] + away[-1]) / 2 if away else np.nan
    if not (middle <= slack and max(map(abs, away)) <= reach):
        raise GraphError(
            f"The output does not answer where its gradients say (axis {axis}): they miss something.",
            got=f"a change at {place} shows at {[round(place + a, 2) for a in away[:1] + away[-1:]]}",
            expected=f"about {place}, and {(size - 1) / 2:g} to both sides",
            remedy=REMEDY,
        )
