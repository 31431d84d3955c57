"""Layer arithmetic of operations that move dimensions and leave voxels where they are: views and the like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from truevox.networks.rules import rule
from truevox.networks.tracing import Call, Track, UnknownOperationError

__all__: list[str] = []


@rule("select")
def _select(call: Call) -> Track:
    before = call.args[0].dim()
    dim = call.args[1] % before
    if any(axis.dim == dim for axis in call.track().axes):
        raise UnknownOperationError(call.name)
    return _renumber(call.track(), {old: old - (old > dim) for old in range(before)})


@rule("repeat")
def _repeat(call: Call) -> Track:
    """Copies along channels; copies of a spatial axis have no middle."""
    times, shift = call.args[1], call.out.dim() - call.args[0].dim()
    if any(axis.dim is not None and times[axis.dim + shift] != 1 for axis in call.track().axes):
        raise UnknownOperationError(call.name)
    return _renumber(call.track(), {dim: dim + shift for dim in range(call.args[0].dim())})


@rule("permute")
def _permute(call: Call) -> Track:
    rank = call.out.dim()
    order = [dim % rank for dim in call.args[1]]
    return _renumber(call.track(), {old: new for new, old in enumerate(order)})


@rule("transpose", "t", "swapaxes")
def _transpose(call: Call) -> Track:
    rank = call.out.dim()
    first, second = (dim % rank for dim in (call.argument(1, 0), call.argument(2, 1)))
    order = {dim: dim for dim in range(rank)} | {first: second, second: first}
    return _renumber(call.track(), order)


@rule("unsqueeze")
def _unsqueeze(call: Call) -> Track:
    dim = call.args[1] % call.out.dim()
    return _renumber(call.track(), {old: old + (old >= dim) for old in range(call.out.dim())})


@rule("squeeze")
def _squeeze(call: Call) -> Track:
    before = call.args[0].shape
    dims = call.argument(1, list(range(len(before))))
    listed = {dim % len(before) for dim in ([dims] if isinstance(dims, int) else dims)}
    gone = [dim for dim in listed if before[dim] == 1]
    kept = [dim for dim in range(len(before)) if dim not in gone]
    return _renumber(call.track(), {old: new for new, old in enumerate(kept)})


def _renumber(track: Track, order: dict[int, int]) -> Track:
    axes = tuple(replace(axis, dim=None if axis.dim is None else order.get(axis.dim)) for axis in track.axes)
    return replace(track, axes=axes)


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "expand")
def _view(call: Call) -> Track:
    """A dimension survives a view if one of the same size has as many elements behind it."""
    before, after = call.args[0].shape, call.out.shape
    if call.name == "expand":
        shift = len(after) - len(before)
        return _renumber(call.track(), {dim: dim + shift for dim in range(len(before))})
    places = {(size, prod(after[dim + 1 :])): dim for dim, size in reversed(list(enumerate(after)))}
    axes = []
    for axis in call.track().axes:
        if axis.dim is None:
            axes.append(axis)
            continue
        dim = places.get((len(axis), prod(before[axis.dim + 1 :])))
        axes.append(axis.collapse(keep=False) if dim is None else replace(axis, dim=dim))
    return _unique(replace(call.track(), axes=tuple(axes)), after)


def _unique(track: Track, shape: Sequence[int]) -> Track:
    """Axes of size 1 may share their place with others: give each one of its own, counted from the end."""
    taken = [axis.dim for axis in track.axes if axis.dim is not None]
    if len(taken) == len(set(taken)):
        return track
    if len(shape) < len(track.axes):
        return replace(track, axes=tuple(axis.collapse(keep=False) for axis in track.axes))
    last = [len(shape) - len(track.axes) + position for position in range(len(track.axes))]
    if any(shape[dim] != len(axis) for dim, axis in zip(last, track.axes, strict=True)):
        raise UnknownOperationError("view")
    return replace(track, axes=tuple(replace(a, dim=d) for a, d in zip(track.axes, last, strict=True)))
