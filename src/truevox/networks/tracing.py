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

__all__ = ["Axis", "Tracer", "Track", "UnknownOperationError", "aligned", "merge", "window"]

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

    def like(self, other: Axis) -> bool:
        """Whether positions see the same input, wherever the axis lies in the tensor."""
        names = ("low", "high", "centre")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

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

    def like(self, other: Track) -> bool:
        """Whether positions see the same input, by the same axes of the tensor."""
        pairs = list(zip(self.axes, other.axes, strict=True))
        same = all(one.dim == two.dim and one.like(two) for one, two in pairs)
        return same and (self.notes, self.whole) == (other.notes, other.whole)

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
        extents = [(axis.high - axis.low).max() for axis in full]
        ruling = [axis for axis, extent in zip(full, extents, strict=True) if extent == min(extents)]
        finest, centres = ruling[0], np.array([axis.centre for axis in ruling])
        centre = (centres.min(0) + centres.max(0)) / 2  # of several that are as fine: between them
        apart = max(float(np.abs(axis.centre - centre).max()) for axis in full)
        if apart > 1e-6:
            notes.append(f"paths that meet disagree by {apart:g} voxel")
        low = np.min(np.broadcast_arrays(*(axis.low for axis in group)), axis=0)
        high = np.max(np.broadcast_arrays(*(axis.high for axis in group)), axis=0)
        offset = offsets.pop()
        dim = None if offset is None else rank - offset
        axes.append(Axis(dim, low, high, centre, finest.step))
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

    After the run, ``unknown`` holds the names of the operations whose arithmetic is not known; what comes
    from them is not known either. Tensors may share memory: what is written through one of them makes the
    tracks of the others out of date, unless both run along the same voxels and differ in channels only.
    """

    def __init__(self, rules: dict[str, Callable[[Call], Track]]) -> None:
        super().__init__()
        self.rules = rules
        self.unknown: list[str] = []
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._memories: dict[int, _Memory] = {}

    def start(self, x: Tensor) -> None:
        """Begin with ``x`` (B, C, *spatial)."""
        self._set(x, Track(tuple(Axis.start(axis, x.shape[axis]) for axis in range(2, x.dim()))))

    def of(self, x: Tensor) -> Track | None:
        """Track of a tensor, None if it has none, or one that is not known."""
        memory, known = self._memories.get(_place(x)), self._known.get(x)
        if memory is None or known is None or known.memory is not memory:
            return None
        return known.track if known.version == memory.version else None

    def _depends(self, x: Tensor) -> bool:
        """Whether a tensor holds, or shares memory with, anything that comes from the input."""
        return _place(x) in self._memories

    def _set(self, x: Tensor, track: Track | None) -> None:
        memory = self._memories.setdefault(_place(x), _Memory(x.untyped_storage()))
        self._known[x] = _Known(track, memory, memory.version)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        written, filled = _written(func, args, kwargs or {})
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        tensors = [tensor for tensor in tensors if not any(tensor is one for one in filled)]
        tracked = {id(tensor): self.of(tensor) for tensor in tensors if self._depends(tensor)}
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        outputs = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        if not tracked or name in _VALUE_FREE:
            return result
        if name in _CONSTANTS and all(any(t is w for w in written) for t in tensors if id(t) in tracked):
            return result  # what constants are written over saw what the tracks say, and now sees nothing
        found = self._tracks(func, name, args, tensors, tracked, outputs)
        for out, track in zip(outputs, found, strict=True):
            if not any(out is one for one in written):
                self._set(out, track)
        for tensor in written:
            at = next((k for k, out in enumerate(outputs) if out is tensor), None)
            self._write(tensor, None if at is None else found[at])
        return result

    def _tracks(
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        tensors: list[Tensor],
        tracked: dict[int, Track | None],
        outputs: list[Tensor],
    ) -> list[Track | None]:
        """Track of each result, None where it is not known."""
        known = {key: track for key, track in tracked.items() if track is not None}
        if len(known) < len(tracked):
            return [None] * len(outputs)
        if torch.Tag.inplace_view in func.tags:
            self.unknown.append(name)
            return [None] * len(outputs)
        several, result = name in _SPLITS, []
        for position, out in enumerate(outputs):
            if position and not several and name not in _PAIRS:
                result.append(None)  # statistics, indices: from many voxels, or in an order of their own
                continue
            call = Call(name, (*args, position) if several else args, known, out, tensors)
            try:
                track = self._track(func, call)
                if not track.fits(out.shape):
                    raise UnknownOperationError(name)
                result.append(track)
            except UnknownOperationError:
                self.unknown.append(name)
                result.append(None)  # depends on the input in an unknown way, and so does all that follows
        return result

    def _track(self, func: Any, call: Call) -> Track:
        name = call.name.rstrip("_")
        rule = self.rules.get(name)
        if rule is not None:
            if len(call.tracks) > 1 and name not in _OF_MANY:
                raise UnknownOperationError(call.name)  # weights, say, that were made of the input
            return rule(call)
        if torch.Tag.pointwise in func.tags:
            return pointwise(call)
        raise UnknownOperationError(call.name)

    def _write(self, tensor: Tensor, track: Track | None) -> None:
        """New voxels in a tensor, and in what shares its memory."""
        before = self.of(tensor)
        if before is not None and track is not None and before.like(track):
            return self._set(tensor, track)
        memory = self._memories.setdefault(_place(tensor), _Memory(tensor.untyped_storage()))
        others = [
            (other, known.track)
            for other, known in self._known.items()
            if other is not tensor and known.memory is memory and known.version == memory.version
        ]
        memory.version += 1
        self._set(tensor, track)
        for other, old in others:
            if old is None or track is None or before is None or not _same_places(other, old, tensor, before):
                continue
            axes = [replace(new, dim=own.dim) for new, own in zip(track.axes, old.axes, strict=True)]
            self._set(other, merge([old, replace(track, axes=tuple(axes))], other.dim()))
        return None


@dataclass(eq=False)
class _Memory:
    """What tensors that are views of each other share; how often something else was written into it.

    It holds the storage, so that no other one gets its place in ``Tracer._memories``.
    """

    storage: Any
    version: int = 0


@dataclass(frozen=True)
class _Known:
    """What is known of a tensor, as long as its memory has that version."""

    track: Track | None
    memory: _Memory
    version: int


_SPLITS = ("split", "split_with_sizes", "unbind", "chunk")
_PAIRS = ("max", "min")
"""Of values along an axis that is gone, and of where they were: both see the same voxels."""
_OF_MANY = ("cat", "addmm", "mm", "linear", "matmul", "copy", "fill", "masked_fill")
"""Rules that know what to do with several tensors that come from the input."""
_CONSTANTS = ("fill_", "zero_", "masked_fill_", "copy_")
_VALUE_FREE = (
    *(f"{kind}_like" for kind in ("zeros", "ones", "full", "empty", "rand", "randn", "randint")),
    *(f"new_{kind}" for kind in ("zeros", "ones", "full", "empty", "empty_strided")),
)
"""Operations that take a shape and no values."""


def _place(x: Tensor) -> int:
    return x.untyped_storage()._cdata


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Tensors that an operation writes into; of these, those whose old values it does not read (``out=``)."""
    if not func._schema.is_mutable or _statistics_stay(func, args):
        return [], []
    written, filled = [], []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        found = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
        written += found
        filled += found if argument.is_out else []
    return written, filled


def _statistics_stay(func: Any, args: Sequence[Any]) -> bool:
    """Whether this is a batch norm that reads its running statistics and leaves them alone."""
    name = func.overloadpacket.__name__
    return "batch_norm" in name and not any(value is True for value in args[3:6])


def _same_places(other: Tensor, old: Track, tensor: Tensor, before: Track) -> bool:
    """Whether both run along the same voxels, so that they differ in channels at most."""
    if len(old.axes) != len(before.axes):
        return False
    for one, two in zip(old.axes, before.axes, strict=True):
        if one.dim is None or two.dim is None or not one.like(two):
            return False
        if len(one) > 1 and other.stride(one.dim) != tensor.stride(two.dim):
            return False
    return True


def pointwise(call: Call) -> Track:
    """Each position of the result sees the same position of every tracked input (with broadcasting)."""
    return aligned(call, call.tensors)


def aligned(call: Call, tensors: Sequence[Tensor]) -> Track:
    """The same of some of the inputs."""
    rank = call.out.dim()
    tracks = []
    for tensor in tensors:
        if id(tensor) in call.tracks:
            track, shift = call.tracks[id(tensor)], rank - tensor.dim()
            moved = (replace(axis, dim=None if axis.dim is None else axis.dim + shift) for axis in track.axes)
            tracks.append(replace(track, axes=tuple(moved)))
    return merge(tracks, rank)
