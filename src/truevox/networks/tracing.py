"""Follows, through any torch code, which input voxels each output voxel comes from.

Every tensor on the way from the input carries, per spatial axis, short arrays: the lowest and the highest
input index that each position depends on, and the input index of its centre. An operation of torch's
dispatcher changes these arrays by layer arithmetic; no voxel value is looked at, so it runs on the meta
device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["Axis", "Tracer", "Track", "UnknownOperationError", "window"]

Floats = NDArray[Any]


class UnknownOperationError(Exception):
    """An operation whose arithmetic is not known here."""


@dataclass(frozen=True)
class Axis:
    """Where the positions along one axis lie: tensor dimension (None once it is gone) and bounds."""

    dim: int | None
    low: Floats
    high: Floats
    centre: Floats
    step: float

    @classmethod
    def start(cls, dim: int, size: int) -> Axis:
        """Axis of the input itself."""
        index = np.arange(size, dtype=np.float64)
        return cls(dim, index, index, index, 1.0)

    def __len__(self) -> int:
        return len(self.low)

    def pick(self, first: NDArray[Any], last: NDArray[Any], centre: Floats, scale: float) -> Axis:
        """Positions that see positions ``first`` to ``last`` of this axis, centred on ``centre``.

        Centres may lie between positions or outside; they are read off the straight line through the axis.
        """
        size = len(self)
        lower = np.clip(np.floor(first), 0, size - 1).astype(int)
        upper = np.clip(np.ceil(last), 0, size - 1).astype(int)
        low, high = self.low[lower], self.high[upper]
        for tap in range(int((upper - lower).max(initial=0)) + 1):
            seen = np.minimum(lower + tap, upper)
            low, high = np.minimum(low, self.low[seen]), np.maximum(high, self.high[seen])
        near = np.clip(np.floor(centre), 0, max(size - 2, 0)).astype(int)
        slope = self.centre[near + 1] - self.centre[near] if size > 1 else self.step
        return replace(
            self,
            low=low,
            high=high,
            centre=self.centre[near] + (centre - near) * slope,
            step=self.step * scale,
        )

    def collapse(self, keep: bool) -> Axis:
        """One position that sees all."""
        size = len(self)
        return Axis(
            self.dim if keep else None,
            self.low.min(keepdims=True),
            self.high.max(keepdims=True),
            self.centre.mean(keepdims=True),
            self.step * size,
        )


@dataclass(frozen=True)
class Track:
    """What is known of one tensor."""

    axes: tuple[Axis, ...]
    notes: tuple[str, ...] = ()
    whole: bool = False

    def note(self, *notes: str, whole: bool = False) -> Track:
        """The same track, with notes that it does not have yet."""
        new = tuple(note for note in dict.fromkeys(notes) if note not in self.notes)
        return replace(self, notes=self.notes + new, whole=self.whole or whole)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of ``shape`` can carry this track."""
        return all(axis.dim is None or shape[axis.dim] == len(axis) for axis in self.axes)


def window(axis: Axis, size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> Axis:
    """``size`` positions that each see a window: convolution and pooling."""
    first = np.arange(size) * stride - padding
    reach = dilation * (kernel - 1)
    return axis.pick(first, first + reach, first + reach / 2, stride)


def merge(tracks: Sequence[Track], rank: int) -> Track:
    """Track of a tensor to which several contribute at equal positions: the finest one's centres rule."""
    axes, notes = [], []
    for group in zip(*(track.axes for track in tracks), strict=True):
        size = max(len(axis) for axis in group)
        offsets = {rank - axis.dim if axis.dim is not None else None for axis in group if len(axis) == size}
        if len(offsets) > 1 or any(len(axis) not in (1, size) for axis in group):
            raise UnknownOperationError("merge of unlike axes")
        full = [axis for axis in group if len(axis) == size]
        finest = min(full, key=lambda axis: (axis.high - axis.low).max())
        apart = max(float(np.abs(axis.centre - finest.centre).max()) for axis in full)
        if apart > 1e-6:
            notes.append(f"paths that meet disagree by {apart:g} voxel")
        low = np.min(np.broadcast_arrays(*(axis.low for axis in group)), axis=0)
        high = np.max(np.broadcast_arrays(*(axis.high for axis in group)), axis=0)
        offset = offsets.pop()
        dim = None if offset is None else rank - offset
        axes.append(Axis(dim, low, high, finest.centre, finest.step))
    merged = Track(tuple(axes), (), any(track.whole for track in tracks))
    return merged.note(*(note for track in tracks for note in track.notes), *notes)


Rule = Callable[[Any, "Call"], Track]


@dataclass
class Call:
    """One operation on tracked tensors."""

    name: str
    args: tuple[Any, ...]
    tracks: dict[int, Track]
    out: Tensor
    tensors: list[Tensor] = field(default_factory=list)

    def track(self, position: int = 0) -> Track:
        """Track of the positional argument that carries the voxels."""
        value = self.args[position]
        if not isinstance(value, Tensor) or id(value) not in self.tracks:
            raise UnknownOperationError(self.name)
        return self.tracks[id(value)]

    def argument(self, position: int, default: Any = None) -> Any:
        """Positional argument, or its default."""
        return self.args[position] if len(self.args) > position else default


class Tracer(TorchDispatchMode):
    """Context in which operations on tracked tensors give tracked tensors.

    After the run, ``unknown`` holds the names of the operations whose arithmetic is not known; tensors that
    come from them carry no track.
    """

    def __init__(self, rules: dict[str, Callable[[Call], Track]]) -> None:
        super().__init__()
        self.rules = rules
        self.tracks: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.unknown: list[str] = []

    def start(self, x: Tensor) -> None:
        """Begin with ``x`` (B, C, *spatial)."""
        self.tracks[x] = Track(tuple(Axis.start(axis, x.shape[axis]) for axis in range(2, x.dim())))

    def of(self, x: Tensor) -> Track | None:
        """Track of a tensor, None if it has none, or one that is not known."""
        return self.tracks.get(x)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        tracked = {id(tensor): self.tracks[tensor] for tensor in tensors if tensor in self.tracks}
        if None in tracked.values():
            self._lose(result)
        elif tracked:
            self._follow(func, args, tensors, tracked, result)
        return result

    def _follow(
        self, func: Any, args: tuple[Any, ...], tensors: list[Tensor], tracked: dict[int, Track], result: Any
    ) -> None:
        name = func.overloadpacket.__name__
        outputs = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        if not outputs:
            return
        several = isinstance(result, (list, tuple)) and name in _SPLITS
        for position, out in enumerate(outputs if several else outputs[:1]):
            call = Call(name, (*args, position) if several else args, tracked, out, tensors)
            try:
                track = self._track(func, call)
                if not track.fits(out.shape):
                    raise UnknownOperationError(name)
                self.tracks[out] = track
            except UnknownOperationError:
                self.unknown.append(name)
                self.tracks[out] = (
                    None  # depends on the input in an unknown way, and so does all that follows
                )

    def _lose(self, result: Any) -> None:
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.tracks[leaf] = None

    def _track(self, func: Any, call: Call) -> Track:
        rule = self.rules.get(call.name.rstrip("_"))
        if rule is not None:
            return rule(call)
        if torch.Tag.pointwise in func.tags:
            return pointwise(call)
        raise UnknownOperationError(call.name)


_SPLITS = ("split", "split_with_sizes", "unbind", "chunk")


def pointwise(call: Call) -> Track:
    """Each position of the result sees the same position of every tracked input (with broadcasting)."""
    rank = call.out.dim()
    tracks = []
    for tensor in call.tensors:
        if id(tensor) in call.tracks:
            track, shift = call.tracks[id(tensor)], rank - tensor.dim()
            moved = (replace(axis, dim=None if axis.dim is None else axis.dim + shift) for axis in track.axes)
            tracks.append(replace(track, axes=tuple(moved)))
    return merge(tracks, rank)
