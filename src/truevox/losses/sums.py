"""Sums over voxels, which most losses are functions of: one pass for all, and next to no memory.

Nothing of the size of the image is stored: the gradient computes probabilities anew, for a part of the
voxels at a time. On a CPU the common sums are compiled (:mod:`truevox.kernels.voxel_sums`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from truevox.kernels.focal_sums import focal_sums, focal_sums_gradient
from truevox.kernels.voxel_sums import SUMS, voxel_sums, voxel_sums_gradient
from truevox.losses.targets import Scene, check_finite, wide

__all__ = ["Quantity", "elementwise", "sums_of"]

PART = {"cpu": 2**15, "other": 2**19}
"""Values that exist at once beside the logits: a cache's worth, or enough to fill a GPU."""
FOCAL = ("focal", "focal_against")
SPAN = 2**18
"""Voxels that one thread sums; fixed, so that sums do not depend on the number of threads."""


@dataclass(frozen=True)
class Quantity:
    """What is summed over voxels, per image and channel.

    Parameters
    ----------
    name : str
        One of ``kernels.voxel_sums.SUMS``, or of "distance" (|p - y|), "focal" (-y (1 - p)^g log p),
        "focal_against" (the same of 1 - y and 1 - p), "missed" ((y (1 - p))^g), "false" (((1 - y) p)^g).
    exponent : float
        g, where there is one.
    """

    name: str
    exponent: float = 1.0

    def of(self, p: Tensor, y: Tensor, log: Tensor | None, against: Tensor | None) -> Tensor:
        """Of each voxel, not yet weighted; ``log`` and ``against`` are log p and log(1 - p)."""
        return _FORMULAS[self.name](p, y, log, against, self.exponent)

    @property
    def needs_logs(self) -> bool:
        """Whether the formula takes logarithms."""
        return self.name.startswith(("cross_entropy", "focal"))


def _power(base: Tensor, exponent: float) -> Tensor:
    if exponent == 1:
        return base
    # Below one, the slope at 0 is infinite; from a little above it is large and finite.
    return base.clamp(min=1e-7 if exponent < 1 else 0).pow(exponent)


def _focal(y: Tensor, log: Any, against: Any, exponent: float) -> Tensor:
    # (1 - p)^g by its logarithm, which logits give without rounding 1 - p.
    return -y * torch.exp(exponent * against) * log


_FORMULAS: Mapping[str, Callable[[Tensor, Tensor, Any, Any, float], Tensor]] = {
    "overlap": lambda p, y, log, against, g: p * y,
    "predicted": lambda p, y, log, against, g: p,
    "predicted_squared": lambda p, y, log, against, g: p * p,
    "truth": lambda p, y, log, against, g: y,
    "truth_squared": lambda p, y, log, against, g: y * y,
    "voxels": lambda p, y, log, against, g: torch.ones_like(y),
    "cross_entropy": lambda p, y, log, against, g: -y * log,
    "cross_entropy_against": lambda p, y, log, against, g: -(1 - y) * against,
    "distance": lambda p, y, log, against, g: (p - y).abs(),
    "focal": lambda p, y, log, against, g: _focal(y, log, against, g),
    "focal_against": lambda p, y, log, against, g: _focal(1 - y, against, log, g),
    "missed": lambda p, y, log, against, g: _power(y * (1 - p), g),
    "false": lambda p, y, log, against, g: _power((1 - y) * p, g),
}


def elementwise(scene: Scene, quantities: Iterable[Quantity]) -> dict[Quantity, Tensor]:
    """Each quantity of each voxel (B, C, N), weighted; differentiable in the plain way."""
    values, y, w = scene.merged(), scene.shares(), scene.weights()
    p = scene.link.probabilities(values)
    wanted = list(quantities)
    log = against = None
    if any(q.needs_logs for q in wanted):
        log, against = scene.link.logs(values)
    result = {}
    for quantity in wanted:
        found = quantity.of(p, y, log, against)
        result[quantity] = found if w is None else found * w
    return result


def sums_of(scene: Scene, quantities: Iterable[Quantity]) -> dict[Quantity, Tensor]:
    """Each quantity summed over the voxels of each image and channel (B, C), in float64.

    Raises
    ------
    GraphError
        If the predictions hold NaN or infinity, or the truth a label of no class.
    """
    result: dict[Quantity, Tensor] = {}
    for function, group in _grouped(scene, quantities):
        result.update(zip(group, function.apply(scene.values, scene, group), strict=True))
    check_finite(result.values(), scene)
    return result


class _PartialSums(torch.autograd.Function):
    """Sums by the plain formulas, a part of the voxels at a time: any device and type."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scene: Scene, quantities: tuple[Quantity, ...]) -> Tensor:
        ctx.save_for_backward(values)
        ctx.scene, ctx.quantities = scene, quantities
        scene = scene.with_values(values.detach())
        sums = torch.zeros(len(quantities), *values.shape[:2], dtype=wide(values), device=values.device)
        for _, piece in _parts(scene):
            sums += _summed(piece, quantities, wide(values))
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (values,) = ctx.saved_tensors
        gradient = torch.empty_like(values)
        for cut, piece in _parts(ctx.scene.with_values(values.detach())):
            with torch.enable_grad():
                inside = piece.values.detach().requires_grad_(True)
                sums = _summed(piece.with_values(inside), ctx.quantities)
                total = (sums * slopes[0].to(sums.dtype)).sum()
                (slope,) = torch.autograd.grad(total, inside)
            gradient[..., cut] = slope.to(gradient.dtype)
        return gradient, None, None


def _parts(scene: Scene) -> Iterator[tuple[slice, Scene]]:
    batch, channels, voxels = scene.values.shape
    most = PART["cpu" if scene.values.device.type == "cpu" else "other"]
    step = max(most // max(batch * channels, 1), 1024)
    for start in range(0, voxels, step):
        stop = min(start + step, voxels)
        yield slice(start, stop), scene.part(start, stop)


def _summed(piece: Scene, quantities: tuple[Quantity, ...], kind: torch.dtype | None = None) -> Tensor:
    """Sums of a part, added in that type; a gradient does not depend on it."""
    found = elementwise(piece, quantities)
    return torch.stack([found[q].sum(-1, dtype=kind) for q in quantities])


class _CompiledSums(torch.autograd.Function):
    """Sums by compiled loops: logits on a CPU."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scene: Scene, quantities: tuple[Quantity, ...]) -> Tensor:
        ctx.save_for_backward(values)
        ctx.scene, ctx.quantities = scene, quantities
        scene, loops = scene.with_values(values.detach()), _loops(quantities)
        sums = np.zeros((*values.shape[:2], len(loops.names)))
        for image in range(values.shape[0]):
            work = partial(loops.sums, *_arrays(scene, image), *loops.exponent, **_settings(scene))
            for found in _over_threads(work, values.shape[2]):
                sums[image] += found
        columns = [loops.names.index(q.name) for q in quantities]
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(sums[..., columns], -1, 0)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (values,) = ctx.saved_tensors
        scene, loops = ctx.scene.with_values(values.detach()), _loops(ctx.quantities)
        slope = np.zeros((*values.shape[:2], len(loops.names)))
        slope[..., [loops.names.index(q.name) for q in ctx.quantities]] = slopes[0].movedim(0, -1).numpy()
        gradient = torch.empty(values.shape, dtype=values.dtype)
        direct = values.dtype == torch.float32
        for image in range(values.shape[0]):
            out = gradient[image].numpy() if direct else np.empty(values.shape[1:], np.float32)
            given = (*_arrays(scene, image), *loops.exponent, slope[image], out)
            _over_threads(partial(loops.gradient, *given, **_settings(scene)), values.shape[2])
            if not direct:
                gradient[image] = torch.from_numpy(out)
        return gradient, None, None


@dataclass(frozen=True)
class _Loops:
    """Compiled loops for a group of quantities."""

    names: tuple[str, ...]
    sums: Callable[..., Any]
    gradient: Callable[..., Any]
    exponent: tuple[float, ...] = ()


def _loops(quantities: Sequence[Quantity]) -> _Loops:
    if quantities[0].name in SUMS:
        return _Loops(SUMS, voxel_sums, voxel_sums_gradient)
    return _Loops(FOCAL, focal_sums, focal_sums_gradient, (quantities[0].exponent,))


def _grouped(scene: Scene, quantities: Iterable[Quantity]) -> Iterator[tuple[Any, tuple[Quantity, ...]]]:
    """Quantities that are summed in one pass, and by what."""
    rest = sorted(set(quantities), key=lambda q: (q.name, q.exponent))
    if _compiles(scene):
        if not scene.hard:
            scene.check_labels()  # the loops find them where there is one per voxel
        groups = [[q for q in rest if q.name in SUMS]]
        exponents = sorted({q.exponent for q in rest if q.name in FOCAL})
        groups += [[q for q in rest if q.name in FOCAL and q.exponent == e] for e in exponents]
        yield from ((_CompiledSums, tuple(group)) for group in groups if group)
        rest = [q for q in rest if q.name not in (*SUMS, *FOCAL)]
    if rest:
        scene.check_labels()
        yield _PartialSums, tuple(rest)


def _compiles(scene: Scene) -> bool:
    values, truth = scene.values, scene.truth
    plain = values.device.type == "cpu" and truth.device.type == "cpu" and values.dtype != torch.float64
    if not (plain and scene.link.logits and scene.present is None):
        return False
    # Of several labels per voxel, each may be ignored by itself.
    ints = not scene.hard and not truth.is_floating_point()
    return not (ints and scene.ignore is not None and bool((truth == scene.ignore).any()))


def _settings(scene: Scene) -> dict[str, Any]:
    # Labels are not negative, so that -1 ignores nothing.
    return {"softmax": scene.link.exclusive, "ignore": -1 if scene.ignore is None else scene.ignore}


def _arrays(scene: Scene, image: int) -> tuple[Any, Any, Any]:
    """Logits (C, N), truth and weights of one image for the loops; copies only what has another type."""
    values = scene.values[image].float().contiguous().numpy()
    truth = scene.truth[image]
    truth = truth if scene.hard else truth.float()
    weight = None if scene.weight is None else scene.weight[image, 0].float().contiguous().numpy()
    return values, truth.contiguous().numpy(), weight


def _over_threads(work: Callable[..., Any], voxels: int) -> list[Any]:
    """``work`` of each span of voxels, in their order; the loops release the interpreter's lock."""
    spans = [(start, min(start + SPAN, voxels)) for start in range(0, voxels, SPAN)]
    threads = min(torch.get_num_threads(), len(spans))
    if threads < 2:
        return [work(span=span) for span in spans]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda span: work(span=span), spans))
