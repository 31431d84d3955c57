"""Layer arithmetic of single operations, for :mod:`truevox.networks.tracing`.

A rule is a function of a ``Call`` that returns the ``Track`` of its result; ``rule("name", ...)`` registers
it for operations of torch's dispatcher (``torch.ops.aten``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from truevox.networks.tracing import Axis, Call, Track, UnknownOperationError, aligned, merge, window

__all__ = ["RULES", "STATISTICS", "rule"]

STATISTICS = "whole input (statistics)"
RULES: dict[str, Callable[[Call], Track]] = {}
Register = Callable[[Callable[[Call], Track]], Callable[[Call], Track]]


def rule(*names: str) -> Register:
    """Register a rule for operations of these names."""

    def register(function: Callable[[Call], Track]) -> Callable[[Call], Track]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def _spatial(value: Any, axis: Axis, rank: int, default: Any = None) -> Any:
    """Entry of a per-dimension setting that belongs to ``axis``: settings fit the last dimensions."""
    entries = [value] if isinstance(value, (int, bool, float)) else list(value) if value is not None else []
    if not entries:
        return default
    return entries[0] if len(entries) == 1 else entries[_dim(axis) - rank]


def _dim(axis: Axis) -> int:
    if axis.dim is None:
        raise UnknownOperationError("an operation on an axis that is gone")
    return axis.dim


def _each(call: Call, change: Callable[[Axis, int], Axis], position: int = 0) -> Track:
    """Change every axis by ``change(axis, size of the result)``."""
    track = call.track(position)
    return replace(track, axes=tuple(change(axis, call.out.shape[_dim(axis)]) for axis in track.axes))


@rule("convolution", "_convolution", "convolution_overrideable")
def _convolution(call: Call) -> Track:
    weight, rank = call.args[1], call.out.dim()
    stride, padding, dilation, transposed = call.args[3:7]

    def change(axis: Axis, size: int) -> Axis:
        kernel = weight.shape[_dim(axis)]
        step, pad, wide = (_spatial(value, axis, rank) for value in (stride, padding, dilation))
        if not transposed:
            return window(axis, size, kernel, step, pad, wide)
        # Output o takes from input i where o + pad = step * i + wide * tap.
        position = np.arange(size) + pad
        reach = wide * (kernel - 1)
        first, last = np.ceil((position - reach) / step), np.floor(position / step)
        return axis.pick(np.minimum(first, last), last, (position - reach / 2) / step, 1 / step)

    return _each(call, change)


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(call: Call) -> Track:
    return _pool(call, call.argument(4, 1))


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _mean_pool(call: Call) -> Track:
    return _pool(call, 1)


def _pool(call: Call, dilation: Any) -> Track:
    rank = call.out.dim()
    kernel, stride = call.args[1], call.argument(2) or call.args[1]

    def change(axis: Axis, size: int) -> Axis:
        values = (_spatial(value, axis, rank) for value in (kernel, stride, call.argument(3, 0), dilation))
        wide, step, pad, apart = values
        return window(axis, size, wide, step, pad, apart)

    return _each(call, change)


@rule(
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "adaptive_avg_pool1d",
)
def _adaptive(call: Call) -> Track:
    def change(axis: Axis, size: int) -> Axis:
        if size == 1:
            return axis.collapse(keep=True)
        if len(axis) % size:
            raise UnknownOperationError(call.name)
        return window(axis, size, len(axis) // size, len(axis) // size, 0)

    return _each(call, change).note("adaptive pooling: its windows change with the input's size", whole=True)


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def _nearest(call: Call) -> Track:
    return _nearest_from(call, 0.0)


@rule("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")
def _nearest_exact(call: Call) -> Track:
    return _nearest_from(call, 0.5)


def _nearest_from(call: Call, middle: float) -> Track:
    """Copies of voxel floor((i + middle) scale): on average over a period they lie on a straight line."""

    def change(axis: Axis, size: int) -> Axis:
        scale = _scale(call, axis, size, 2)
        source = np.floor((np.arange(size) + middle) * scale + 1e-9)
        place = np.arange(Fraction(scale).limit_denominator(64).denominator)
        offset = float(np.mean(np.floor((place + middle) * scale + 1e-9) - place * scale))
        return axis.pick(source, source, np.arange(size) * scale + offset, scale)

    return _each(call, change)


def _scale(call: Call, axis: Axis, size: int, first: int) -> float:
    """Input voxels per output voxel: by the factors that were given, from that argument on, else by sizes."""
    given = call.args[first:]
    factor = given[_dim(axis) - call.out.dim()] if len(given) >= call.out.dim() - 2 else None
    return 1 / factor if factor else len(axis) / size


@rule("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def _linear(call: Call) -> Track:
    corners = bool(call.args[2])

    def change(axis: Axis, size: int) -> Axis:
        if corners:
            scale = (len(axis) - 1) / max(size - 1, 1)
            source = np.arange(size) * scale
        else:
            scale = _scale(call, axis, size, 3)
            source = (np.arange(size) + 0.5) * scale - 0.5
        return axis.pick(np.floor(source), np.ceil(source), source, scale)

    return _each(call, change)


@rule("upsample_bicubic2d")
def _cubic(call: Call) -> Track:
    """As linear, with one more voxel on both sides."""
    corners = bool(call.args[2])

    def change(axis: Axis, size: int) -> Axis:
        scale = (len(axis) - 1) / max(size - 1, 1) if corners else _scale(call, axis, size, 3)
        source = np.arange(size) * scale if corners else (np.arange(size) + 0.5) * scale - 0.5
        return axis.pick(np.floor(source) - 1, np.floor(source) + 2, source, scale)

    return _each(call, change)


@rule("native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update", "cudnn_batch_norm")
def _batch_norm(call: Call) -> Track:
    # With running statistics (`training` false) each voxel is scaled by constants.
    # ("_native_batch_norm_legit.no_stats" has none, and `training` in their place.)
    training = any(value is True for value in call.args[3:6]) or call.args[3] is None
    return call.track().note(STATISTICS, whole=True) if training else call.track()


@rule("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
def _batch_norm_fixed(call: Call) -> Track:
    return call.track()


@rule("native_group_norm")
def _group_norm(call: Call) -> Track:
    return call.track().note(STATISTICS, whole=True)


@rule("native_layer_norm")
def _layer_norm(call: Call) -> Track:
    track, first = call.track(), call.out.dim() - len(call.args[1])
    over = any(axis.dim is not None and axis.dim >= first and len(axis) > 1 for axis in track.axes)
    return track.note(STATISTICS, whole=True) if over else track


@rule("_softmax", "_log_softmax", "cumsum")
def _along_one(call: Call) -> Track:
    dims = call.args[1] if isinstance(call.args[1], int) else None
    if dims is None or any(axis.dim == dims % call.out.dim() and len(axis) > 1 for axis in call.track().axes):
        raise UnknownOperationError(call.name)
    return call.track()


@rule("mean", "sum", "amax", "amin", "max", "min", "var", "std")
def _reduce(call: Call) -> Track:
    return _reduced(call, call.argument(1))


@rule("linalg_vector_norm")
def _vector_norm(call: Call) -> Track:
    return _reduced(call, call.argument(2))


def _reduced(call: Call, dims: Any) -> Track:
    track, rank = call.track(), call.args[0].dim()
    listed = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    over = {dim % rank for dim in listed}
    keep = call.out.dim() == rank
    touched = any(axis.dim in over and len(axis) > 1 for axis in track.axes)
    axes = []
    for axis in track.axes:
        if axis.dim in over:
            axes.append(axis.collapse(keep))
        else:
            gone = 0 if keep or axis.dim is None else sum(dim < axis.dim for dim in over)
            axes.append(replace(axis, dim=None if axis.dim is None else axis.dim - gone))
    result = replace(track, axes=tuple(axes))
    return result.note("whole input (global pooling)", whole=True) if touched else result


@rule("cat")
def _cat(call: Call) -> Track:
    rank, dim = call.out.dim(), call.argument(1, 0) % call.out.dim()
    tracks = [call.tracks[id(tensor)] for tensor in call.args[0] if id(tensor) in call.tracks]
    along = [[axis for axis in track.axes if axis.dim == dim] for track in tracks]
    if not any(along):
        return merge(tracks, rank)
    raise UnknownOperationError("cat along a spatial axis")


@rule("slice")
def _slice(call: Call) -> Track:
    dim = call.argument(1, 0) % call.out.dim()
    start, stop, step = call.argument(2), call.argument(3), call.argument(4, 1)
    return _take(call, dim, lambda axis: np.arange(len(axis))[start:stop:step], step)


@rule("copy")
def _copy(call: Call) -> Track:
    """What is written over is gone, unless it is constants that are written."""
    source = call.args[1]
    return aligned(call, [source if id(source) in call.tracks else call.args[0]])


@rule("fill", "zero", "masked_fill")
def _filled(call: Call) -> Track:
    """Constants say nothing of the input: what is left sees what it saw, and what the mask saw."""
    return aligned(call, call.tensors)


@rule("split", "split_with_sizes", "chunk")
def _split(call: Call) -> Track:
    # The position among the results comes last, after the operation's own arguments.
    own, position = list(call.args[:-1]), call.args[-1]
    sizes, dim = own[1], (own[2] if len(own) > 2 else 0) % call.out.dim()
    start = position * sizes if isinstance(sizes, int) else sum(sizes[:position])
    return _take(call, dim, lambda axis: np.arange(start, start + call.out.shape[dim]), 1)


@rule("flip")
def _flip(call: Call) -> Track:
    dims = {dim % call.out.dim() for dim in call.args[1]}

    def change(axis: Axis, size: int) -> Axis:
        if axis.dim not in dims:
            return axis
        index = np.arange(size)[::-1]
        return axis.pick(index, index, index.astype(float), -1)

    return _each(call, change)


def _take(call: Call, dim: int, positions: Callable[[Axis], Any], step: float) -> Track:
    axes = []
    for axis in call.track().axes:
        if axis.dim == dim:
            index = positions(axis)
            axis = axis.pick(index, index, index.astype(float), step)
        axes.append(axis)
    return replace(call.track(), axes=tuple(axes))


@rule("constant_pad_nd")
def _pad_constant(call: Call) -> Track:
    return _pad(call)


@rule(*(f"{kind}_pad{ndim}d" for kind in ("reflection", "replication") for ndim in (1, 2, 3)))
def _pad_repeat(call: Call) -> Track:
    # Beyond the border a position repeats voxels from inside; its place is still the one outside.
    return _pad(call)


def _pad(call: Call) -> Track:
    pads = call.args[1]

    def change(axis: Axis, size: int) -> Axis:
        entry = 2 * (call.out.dim() - 1 - _dim(axis))
        before = pads[entry] if entry < len(pads) else 0
        index = np.arange(size) - before
        return axis.pick(index, index, index.astype(float), 1)

    return _each(call, change)


@rule(
    "clone",
    "detach",
    "alias",
    "_to_copy",
    "contiguous",
    "native_dropout",
    "_prelu_kernel",
    "lift_fresh",
    "to",
    "dropout",
)
def _same(call: Call) -> Track:
    return call.track()


@rule("addmm", "mm", "linear", "matmul")
def _matrix(call: Call) -> Track:
    """A matrix product with weights mixes the last dimension only; if that was spatial, its axis is gone."""
    position = 1 if call.name == "addmm" else 0
    track, rank = call.track(position), call.args[position].dim()
    if len(call.tracks) > 1:
        raise UnknownOperationError(call.name)
    axes = tuple(axis.collapse(keep=False) if axis.dim == rank - 1 else axis for axis in track.axes)
    return replace(track, axes=axes)
