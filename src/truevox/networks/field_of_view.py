"""Field of view of any module: what it does to the grid of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from torch import nn

from truevox.errors import GraphError
from truevox.networks.copying import as_written
from truevox.networks.lattice import LatticeMap, find_period
from truevox.networks.probing import REMEDY, probe
from truevox.networks.runner import Runner
from truevox.networks.tracing import Track

__all__ = ["FieldOfView", "field_of_view"]

_ANCHORS = (128, 96, 64, 160, 192, 256, 48, 32, 100, 140, 188, 224, 28, 16, 8, 4, 2, 1)
_TABLES = (64, 128, 256, 512)
_SPOTS = (1, 2, 5, 16, 31, 48, 50, 56, 63, 64)
_MORE_SPOTS = (*range(1, 9), 12, 20, 24, 28, 32, 33, 36, 40, 44, 52, 60)
_LARGEST_TRACE = 1024
_BASELINES = (6720, 960, 240)  # differences of size that the usual strides divide: 2 to 8, 10, 12, 16, 32, 64


@dataclass(frozen=True)
class FieldOfView:
    """What a module does to the grid of its input.

    Parameters
    ----------
    size : tuple of int or None
        Per axis the extent, in input voxels, of what one output voxel sees, statistics of normalisation and
        gates aside; None where it is the whole input, whatever its size.
    map : LatticeMap
        Offset, stride and sizes of the output lattice.
    notes : tuple of str
        What is not exact, or not local: disagreeing paths, statistics over the whole input.
    whole_input : bool
        Every output voxel depends on the whole input in some way (statistics, global pooling).
    others : tuple of FieldOfView
        Those of the second, third, ... output of a module with several.
    """

    size: tuple[int | None, ...]
    map: LatticeMap
    notes: tuple[str, ...] = ()
    whole_input: bool = False
    others: tuple[FieldOfView, ...] = ()

    @property
    def stride(self) -> tuple[Fraction, ...]:
        """Input voxels between neighbouring output voxels, per axis."""
        return self.map.stride

    @property
    def offset(self) -> tuple[Fraction, ...]:
        """Input index of the centre of output voxel 0, per axis."""
        return self.map.offset

    @property
    def outputs(self) -> tuple[FieldOfView, ...]:
        """One field of view per output: this one first."""
        return (self, *self.others)

    def in_mm(self, spacing: Sequence[float]) -> tuple[float, ...]:
        """Field of view in mm for an input of ``spacing`` mm; infinite where it is the whole input."""
        pairs = zip(self.size, spacing, strict=True)
        return tuple(float("inf") if size is None else size * float(step) for size, step in pairs)

    def valid_sizes(self, near: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Per axis the nearest input sizes that work: not above ``near`` (0 if none), and not below it."""
        return self.map.nearest_valid(near)


def field_of_view(
    module: nn.Module,
    ndim: int,
    *,
    in_channels: int | None = None,
    size: Sequence[int] | int | None = None,
    offset: Sequence[float] | float | None = None,
) -> FieldOfView:
    """Find out where each output voxel of a module looks, without running it on data.

    The module runs on the meta device, where tensors have shapes but no values; the offset and the extent
    follow by layer arithmetic from the operations that it calls, whatever its Python code looks like.
    Where paths meet, the finest one (smallest field of view) rules, and a disagreement is noted. Operations
    that are not known make way for probing: gradients of a float64 copy with positive, averaging weights.

    Parameters
    ----------
    module : torch.nn.Module
        Takes (B, C, *spatial) and returns a tensor, or a tuple of tensors. It is copied, not changed, and
        looked at as in evaluation mode.
    ndim : int
        Number of spatial axes, 1 to 3.
    in_channels : int, optional
        Channels of the input; left out, those of the module's first layer that has ``in_channels``, else 1.
    size : int or sequence of int, optional
        An input size that the module can take, where none of the usual ones works.
    offset : float or sequence of float, optional
        Declares the input index of the centre of output voxel 0 (of the first output), where it can't be
        found.

    Raises
    ------
    GraphError
        If no usual input size works, or if the offset can be neither derived nor probed.

    Notes
    -----
    Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks (2019), for the
    arithmetic of single layers.

    Examples
    --------
    >>> pool = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.AvgPool3d(2))
    >>> view = field_of_view(pool, ndim=3)
    >>> view.size, [float(o) for o in view.offset], view.in_mm((1.0, 1.0, 5.0))
    ((4, 4, 4), [0.5, 0.5, 0.5], (4.0, 4.0, 20.0))
    >>> view.valid_sizes((51, 50, 1))
    ((51, 50, 0), (51, 50, 2))
    """
    runner = Runner(module, ndim, _channels(module) if in_channels is None else in_channels)
    views = []
    with as_written():
        anchor = _anchor(runner, size)
        for output in range(len(runner.shapes(anchor) or ())):
            declared = None if offset is None or output else _declared(offset, ndim)
            views.append(_view(runner, anchor, output, declared))
    first, *others = views
    return FieldOfView(first.size, first.map, first.notes, first.whole_input, tuple(others))


def _channels(module: nn.Module) -> int:
    found = (getattr(part, "in_channels", None) for part in module.modules())
    return next((value for value in found if isinstance(value, int)), 1)


def _declared(offset: Sequence[float] | float, ndim: int) -> tuple[Fraction, ...]:
    values = offset if isinstance(offset, Sequence) else (offset,) * ndim
    return tuple(Fraction(float(value)).limit_denominator(4096) for value in values)


def _anchor(runner: Runner, size: Sequence[int] | int | None) -> tuple[int, ...]:
    """An input shape that works."""
    wanted = _ANCHORS if size is None else (size,)
    for entry in wanted:
        shape = (entry,) * runner.ndim if isinstance(entry, int) else tuple(entry)
        if runner.shapes(shape):
            return shape
    raise GraphError(
        "The network took none of the input sizes that were tried.",
        got=f"{type(runner.original).__name__}, {runner.channels} channels, {runner.ndim}D: {runner.error}",
        remedy="name what it takes: tv.field_of_view(module, ndim, in_channels=..., size=...); if values "
        "decide what it does, declare tv.Network(module, lattice=[tv.networks.LatticeMap.from_rule(...)])",
    ) from runner.error


def _view(
    runner: Runner, anchor: tuple[int, ...], output: int, declared: tuple[Fraction, ...] | None
) -> FieldOfView:
    tracks, unknown = runner.trace(anchor)
    track = tracks[output]
    if track is not None and all(len(axis) == 1 for axis in track.axes):
        lattice = _one_voxel(runner, anchor, output)
        if lattice is not None:
            return FieldOfView((None,) * runner.ndim, lattice, track.notes, True)
    lattice = _of_one_size(runner, anchor, output) or _of_sizes(runner, anchor, output)
    strides, fixed = lattice.stride, _takes_no_other(runner, anchor)
    larger = anchor if fixed else lattice.nearest_valid([max(2 * n, 256) for n in anchor])[1]
    if track is None:
        found = probe(runner.original, runner.channels, lattice, output, declared is not None)
        note = f"probed: no arithmetic for {', '.join(unknown) or 'its last view'}"
        offset = declared or found.offset
        return FieldOfView(found.size, _with_offset(lattice, offset), (note, *found.notes), found.whole)
    offset = declared or _offset(runner, (anchor, larger), output, strides)
    extent, track = _extent(runner, lattice, larger, output, _LARGEST_TRACE if not fixed else 0)
    return FieldOfView(extent, _with_offset(lattice, offset), track.notes, track.whole or None in extent)


def _of_sizes(runner: Runner, anchor: tuple[int, ...], output: int) -> LatticeMap:
    strides = tuple(_stride(runner, anchor, output, axis) for axis in range(runner.ndim))
    sizes, periods = _tables(runner, anchor, output, strides)
    return LatticeMap(strides, (Fraction(0),) * runner.ndim, sizes, periods)


def _takes_no_other(runner: Runner, anchor: tuple[int, ...]) -> bool:
    """Whether no other size than this one is taken, as with a table of positions or a dense layer inside."""
    more = (-1, max(anchor), *_BASELINES)
    others = (
        tuple(n + m * (a == axis) for a, n in enumerate(anchor)) for axis in range(len(anchor)) for m in more
    )
    return not any(runner.shapes(shape) for shape in others)


def _of_one_size(runner: Runner, anchor: tuple[int, ...], output: int) -> LatticeMap | None:
    """Map of a network that takes one size alone: the output's box is the input's."""
    if not _takes_no_other(runner, anchor):
        return None
    found = [_size(runner, anchor, output, axis, n) for axis, n in enumerate(anchor)]
    track = runner.trace(anchor)[0][output]
    strides = [Fraction(n, m) for n, m in zip(anchor, found, strict=True)]
    if track is not None:
        strides = [_stride(runner, anchor, output, axis) for axis in range(runner.ndim)]
    elif any(stride.denominator > 1 and stride.numerator > 1 for stride in strides):
        return None
    tables = tuple((*(0,) * (n - 1), m, 0) for n, m in zip(anchor, found, strict=True))
    return LatticeMap(tuple(strides), (Fraction(0),) * runner.ndim, tables, (1,) * runner.ndim)


def _with_offset(lattice: LatticeMap, offset: tuple[Fraction, ...]) -> LatticeMap:
    return LatticeMap(lattice.stride, offset, lattice.sizes, lattice.period)


def _one_voxel(runner: Runner, anchor: tuple[int, ...], output: int) -> LatticeMap | None:
    """Map onto one voxel, if a larger input gives one voxel too (or is refused, as by a dense layer)."""
    larger = runner.shapes([n + _BASELINES[1] for n in anchor])
    if larger is not None and max(larger[output]) > 1:
        return None
    tables: list[tuple[int, ...]] = []
    for axis, size in enumerate(anchor):
        if axis and _like_first(runner, anchor, output, axis, tables[0]):
            tables.append(tables[0])
            continue
        table = [_size(runner, anchor, output, axis, n) for n in range(1, max(64, size) + 1)]
        tables.append(tuple(table if larger is not None else [*table, 0]))
    one = (Fraction(1),) * runner.ndim
    return LatticeMap(one, (Fraction(0),) * runner.ndim, tuple(tables), (1,) * runner.ndim, whole=True)


def _size(runner: Runner, anchor: tuple[int, ...], output: int, axis: int, size: int) -> int:
    shapes = runner.shapes([size if a == axis else n for a, n in enumerate(anchor)])
    return 0 if shapes is None else shapes[output][axis]


def _stride(runner: Runner, anchor: tuple[int, ...], output: int, axis: int) -> Fraction:
    track = runner.trace(anchor)[0][output]
    centre = [] if track is None else track.axes[axis].centre
    if len(centre) > 1:
        step = float(centre[1] - centre[0])
        stride = Fraction(step).limit_denominator(64)
        if stride > 0 and abs(stride - step) < 1e-9:
            return stride
    near = _size(runner, anchor, output, axis, anchor[axis])
    for further in _BASELINES:
        far = _size(runner, anchor, output, axis, anchor[axis] + further)
        if far > near:
            return Fraction(further, far - near)
    raise GraphError(
        "The network's output does not grow with its input, so that its stride is not known.",
        got=f"axis {axis}: {anchor[axis]} voxels give {near}; with {_BASELINES} more it grows not, or fails",
        remedy="use a network whose output size follows its input size, or that ends on one voxel; or "
        "declare where it looks: tv.Network(module, lattice=[tv.networks.LatticeMap.from_rule(...)])",
    )


def _tables(
    runner: Runner, anchor: tuple[int, ...], output: int, strides: tuple[Fraction, ...]
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    tables: list[tuple[int, ...]] = []
    periods: list[int] = []
    for axis in range(runner.ndim):
        if axis and _like_first(runner, anchor, output, axis, tables[0]):
            tables.append(tables[0])
            periods.append(periods[0])
            continue
        for largest in _TABLES:
            table = tuple(_size(runner, anchor, output, axis, n) for n in range(1, largest + 1))
            try:
                periods.append(find_period(table, strides[axis]))
            except GraphError:
                if largest == _TABLES[-1]:
                    raise
                continue
            tables.append(table)
            break
    return tuple(tables), tuple(periods)


def _like_first(
    runner: Runner, anchor: tuple[int, ...], output: int, axis: int, table: tuple[int, ...]
) -> bool:
    """Whether an axis behaves as the first one: same arithmetic, and same sizes where they are tried."""
    track, spots = runner.trace(anchor)[0][output], _SPOTS
    if anchor[axis] != anchor[0]:
        return False
    if track is None:
        spots = (*_SPOTS, *_MORE_SPOTS)
    else:
        ours, first = track.axes[axis], track.axes[0]
        for name in ("low", "high", "centre"):
            if not np.array_equal(getattr(ours, name), getattr(first, name)):
                return False
    return all(_size(runner, anchor, output, axis, n) == table[n - 1] for n in spots)


def _offset(
    runner: Runner,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    output: int,
    strides: tuple[Fraction, ...],
) -> tuple[Fraction, ...]:
    """Offset from the centres of the finest path, if they are evenly spaced and do not move with the size."""
    offset = []
    for axis, stride in enumerate(strides):
        starts = []
        for shape in shapes:
            track = runner.trace(shape)[0][output]
            centre = track.axes[axis].centre if track is not None else np.array([np.nan])
            start = centre[0]
            line = start + float(stride) * np.arange(len(centre))
            starts.append(start if np.abs(centre - line).max() < 1e-6 * max(shape) else np.nan)
        if not abs(starts[0] - starts[1]) < 1e-6:
            raise GraphError(
                f"The output voxels are not evenly spaced in the input, or move with its size (axis {axis}).",
                expected="e.g. interpolation with align_corners=False",
                remedy=REMEDY,
            )
        offset.append(Fraction(float(starts[0])).limit_denominator(4096))
    return tuple(offset)


def _extent(
    runner: Runner, lattice: LatticeMap, shape: tuple[int, ...], output: int, largest: int
) -> tuple[tuple[int | None, ...], Track]:
    """Largest extent that an output voxel sees, on an input large enough that none sees all of it."""
    while True:
        track = runner.trace(shape)[0][output]
        if track is None:
            raise GraphError("The network takes another path for a larger input.", got=shape, remedy=REMEDY)
        spans = [int((axis.high - axis.low).max()) + 1 for axis in track.axes]
        full = [span >= size for span, size in zip(spans, shape, strict=True)]
        if not any(full) or max(shape) >= largest:
            return tuple(None if all_ else span for span, all_ in zip(spans, full, strict=True)), track
        shape = lattice.nearest_valid([2 * size for size in shape])[1]
