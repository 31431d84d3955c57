"""How an array on one grid is read on another: slicing where voxels coincide, else one interpolation.

Pure NumPy on arrays (C, I, J, K); :meth:`truevox.Image.on` is its only caller outside of tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.kernels.sample import EDGE
from truevox.space import Grid

__all__ = [
    "Box",
    "Field",
    "Touched",
    "axis_weights",
    "box_around",
    "clipped",
    "coarsening",
    "coincidence",
    "resample",
    "take",
    "touched_boxes",
]

Array = NDArray[Any]
Box = tuple[Array, Array]
Touched = Callable[[Array, Array], Array]
COINCIDE = 1e-4
"""Voxels closer than this (in voxels) are the same voxel."""
COARSE = 1.5
"""Steps longer than this (in voxels) are antialiased."""
COMPILED = ("uint8", "uint16", "int16", "int32", "float32", "float64")
"""Types for which interpolation is compiled; each takes seconds, once."""


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement of what is seen: a smooth function of the world, by cubic B-splines.

    Seen through a field, a place shows what lies at the place plus its displacement.

    Attributes
    ----------
    grid : Grid
        Where the control points lie. The displacement goes to zero within two of them outside.
    points : (3, A, B, C) array
        World millimetres (R, A, S) per control point.
    """

    grid: Grid
    points: Array

    def reach(self, grid: Grid) -> Array:
        """Bound of the displacement in voxels of a grid, per axis: (3,) whole numbers."""
        return np.ceil(np.abs(self._in_voxels(grid)).reshape(3, -1).max(1) - 1e-6).astype(int)

    def between(self, source: Grid, target: Grid) -> tuple[Array, Array]:
        """Control points in voxels of the source, and where they lie in indices of the target."""
        return self._in_voxels(source), self.grid.index_map(target)[:3]

    def _in_voxels(self, grid: Grid) -> Array:
        return np.tensordot(np.linalg.inv(grid.affine[:3, :3]), self.points, 1)


def coincidence(source: Grid, target: Grid) -> tuple[list[int], list[int], list[int]] | None:
    """Whether the voxels of ``target`` are voxels of the endless lattice of ``source``.

    Returns
    -------
    (axes, signs, starts) or None
        Target axis ``t`` runs along source axis ``axes[t]``, by ``signs[t]``, and target voxel 0 is
        source index ``starts[a]`` on source axis ``a``.
    """
    matrix = source.index_map(target)
    if _oblique(matrix, target.shape):
        return None
    rounded = np.rint(matrix)
    linear = np.abs(rounded[:3, :3])
    if not ((linear.sum(0) == 1).all() and (linear.sum(1) == 1).all() and linear.max() == 1):
        return None
    reach = np.maximum(np.array(target.shape) - 1, 1)
    error = np.abs(matrix - rounded)[:3]
    if (error[:, :3] @ reach + error[:, 3]).max() > COINCIDE:
        return None
    axes = linear.argmax(0)
    return (
        axes.tolist(),
        [int(rounded[a, t]) for t, a in enumerate(axes)],
        rounded[:3, 3].astype(int).tolist(),
    )


def _oblique(matrix: Array, shape: tuple[int, ...]) -> bool:
    """Whether some step is far from a whole number: the usual case, seen without NumPy's overhead."""
    return any(
        abs(step - round(step)) * max(n - 1, 1) > COINCIDE
        for row in matrix[:3].tolist()
        for step, n in zip(row, shape, strict=False)
    )


def take(
    data: Array, found: tuple[list[int], list[int], list[int]], shape: tuple[int, ...], fill: Array
) -> Array:
    """Exact samples where voxels coincide: a view where it can be, ``fill`` outside."""
    axes, signs, starts = found
    view = np.transpose(data, [0, *(1 + a for a in axes)])
    inner: list[slice] = []
    outer: list[slice] = []
    for t, a in enumerate(axes):
        size, start, count = view.shape[1 + t], starts[a], shape[t]
        first = start if signs[t] > 0 else start - count + 1
        low, high = max(first, 0), min(first + count, size)
        if high <= low:
            return np.broadcast_to(fill.reshape(-1, 1, 1, 1).astype(data.dtype), (len(data), *shape)).copy()
        before = low - first
        if signs[t] > 0:
            inner.append(slice(low, high))
            outer.append(slice(before, before + high - low))
        else:
            inner.append(slice(high - 1, low - 1 if low else None, -1))
            after = first + count - high
            outer.append(slice(after, after + high - low))
    part = view[(slice(None), *inner)]
    if part.shape[1:] == shape:
        return part
    out = np.empty((len(data), *shape), data.dtype)
    out[:] = fill.reshape(-1, 1, 1, 1)
    out[(slice(None), *outer)] = part
    return out


def coarsening(source: Grid, target: Grid) -> NDArray[np.float64]:
    """Length of a step along each axis of the target, in voxels of the source: (3,).

    Along an axis of one voxel nothing is coarser or finer.
    """
    return np.sqrt((_wide_part(source, target) ** 2).sum(0))


def margin(source: Grid, target: Grid, averaged: bool) -> list[int]:
    """Voxels of the source, per axis, that a sample may read beyond the one below its place: (3,)."""
    half = np.abs(_wide_part(source, target)).sum(1) / 2
    return (1 + np.ceil(half - 1e-6).astype(int) * averaged).tolist()


def _wide_part(source: Grid, target: Grid) -> Array:
    """Steps of the target as columns, in voxels of the source's axes of more than one voxel."""
    return source.index_map(target)[:3, :3] * (np.array(source.shape) > 1)[:, None]


def clipped(window: Grid, extent: Grid) -> Grid:
    """The part of ``window`` (a crop of the lattice of ``extent``) inside ``extent``; one voxel at least."""
    start = np.rint(extent.to_index(window.to_world((0, 0, 0)))).astype(int)
    low = np.clip(start, 0, np.array(extent.shape) - 1)
    high = np.clip(start + window.shape, low + 1, extent.shape)
    return extent.crop(low.tolist(), (high - low).tolist())


def box_around(source: Grid, target: Grid, margin: int | Sequence[int]) -> Box:
    """First and last index (exclusive) of the voxels of ``source`` around those of ``target``; never none."""
    matrix, last = source.index_map(target), np.array(target.shape) - 1
    centre = matrix[:3, :3] @ (last / 2) + matrix[:3, 3]
    half = np.abs(matrix[:3, :3]) @ (last / 2)
    shape = np.array(source.shape)
    low = np.clip(np.floor(centre - half + 1e-6).astype(int) - np.asarray(margin), 0, shape - 1)
    return low, np.clip(np.ceil(centre + half - 1e-6).astype(int) + np.asarray(margin) + 1, low + 1, shape)


def touched_boxes(source: Grid, target: Grid) -> Touched:
    """Which boxes of voxels an interpolation on ``target`` may read.

    Returns
    -------
    callable
        Takes the first indices (N, 3) of boxes of the source and their sides (3,); gives (N,) bool, True at
        least where a voxel of the box, or one beside it, is read.
    """
    matrix = target.index_map(source)
    turn, last = matrix[:3, :3], np.array(target.shape) - 1

    def touched(first: Array, sides: Array) -> Array:
        # A voxel counts in samples less than one voxel away; the box around the turned box is enough.
        centre = (first + (sides - 1) / 2) @ turn.T + matrix[:3, 3]
        half = np.abs(turn) @ ((sides + 1) / 2) + 1e-3
        return np.all((centre - half <= last) & (centre + half >= 0), axis=1)

    return touched


def axis_weights(size: int, start: float, step: float, count: int, mode: str) -> tuple[Array, Array]:
    """Weights of ``size`` voxels for ``count`` samples at ``start + step * o`` of one axis.

    ``"linear"`` interpolates between the two neighbours; ``"box"`` averages the linear interpolant
    over the sample's own box (the step), shrunk evenly where it would leave the volume, so that a ramp
    stays the same ramp up to the border; ``"area"`` is for what must not get lost (shares): the part of the
    sample's box that each voxel fills. Its weights sum to the part of the box inside of the volume; where the
    step is no longer than a voxel, it is the linear weights times that part.

    Returns
    -------
    weights (count, size) float64, inside (count,) bool
    """
    position = start + step * np.arange(count, dtype=np.float64)
    inside = (position >= -EDGE) & (position < size - 1 + EDGE)
    voxel = np.arange(size, dtype=np.float64)
    reach = abs(step) / 2
    low, high = np.clip(position - reach, -0.5, size - 0.5), np.clip(position + reach, -0.5, size - 0.5)
    if mode == "area" and size > 1 and abs(step) > 1:
        shared = np.minimum(high[:, None], voxel + 0.5) - np.maximum(low[:, None], voxel - 0.5)
        return np.clip(shared, 0, None) / abs(step), inside
    position = np.clip(position, 0, size - 1)[:, None]
    if mode != "box" or size == 1:
        weights = np.clip(1 - np.abs(position - voxel), 0, None)
        if mode == "area":
            weights *= ((high - low) / abs(step) if size > 1 else inside)[:, None]
        return weights, inside
    half = np.minimum(reach, np.minimum(position + 0.5, size - 0.5 - position))
    low, high = position - half, position + half
    weights = _hat_integral(np.minimum(high, size - 1) - voxel) - _hat_integral(np.maximum(low, 0) - voxel)
    # Within the outer half voxel the interpolant goes on straight.
    under, over = np.maximum(-low, 0)[:, 0], np.maximum(high - (size - 1), 0)[:, 0]
    weights[:, 0] += under + under**2 / 2
    weights[:, 1] -= under**2 / 2
    weights[:, -1] += over + over**2 / 2
    weights[:, -2] -= over**2 / 2
    return weights / (2 * half), inside


def _hat_integral(u: Array) -> Array:
    """Integral of the linear interpolation kernel from minus infinity to ``u``."""
    rising = np.clip(u + 1, 0, 1)
    falling = np.clip(1 - u, 0, 1)
    return np.where(u < 0, rising**2 / 2, 1 - falling**2 / 2)


def resample(
    data: Array,
    source: Grid,
    target: Grid,
    fill: Array,
    *,
    mode: str = "linear",
    antialias: bool = True,
    field: Field | None = None,
) -> Array:
    """Samples of ``data`` (C, I, J, K) on ``target``: one interpolation.

    Parameters
    ----------
    mode : {"linear", "nearest", "area"}
        ``"area"`` is for shares (probabilities, one-hot labels), of which nothing may be lost: where the axes
        of both grids run along each other, a voxel of the target that reaches out of the source is ``fill``
        there, and a step longer than a voxel averages by overlap.
    antialias : bool
        Average over the target's voxel along its axes whose step exceeds 1.5 source voxels.
    field : Field, optional
        Displacement through which the source is seen.
    """
    if mode == "nearest":
        return _sampled(True, _plain(data, nearest=True), source, target, fill, field)
    steps = coarsening(source, target)
    coarse, shares = antialias & (steps > COARSE), antialias and mode == "area"
    axes = parallel(source, target) if field is None and (shares or coarse.any()) else None
    if axes is not None:
        return _separable(data, source.index_map(target), axes, target.shape, fill, coarse, shares)
    if not coarse.any():
        return _sampled(False, _plain(data), source, target, fill, field)
    from truevox.kernels import average_boxes

    matrix, between = source.index_map(target)[:3], field and field.between(source, target)
    averaged = steps > 1 + COINCIDE if shares else coarse
    return average_boxes(data, matrix, target.shape, fill, averaged, shares=shares, field=between)


def parallel(source: Grid, target: Grid) -> Array | None:
    """Source axis that each axis of the target runs along: (3,); None if they are oblique to each other."""
    size = np.abs(source.index_map(target)[:3, :3])
    axes = size.argmax(0)
    aside = size.copy()
    aside[axes, np.arange(3)] = 0
    straight = sorted(axes) == [0, 1, 2] and aside.max() * max(target.shape) <= COINCIDE
    return axes if straight else None


def _sampled(
    nearest: bool, data: Array, source: Grid, target: Grid, fill: Array, field: Field | None
) -> Array:
    from truevox import kernels

    matrix = source.index_map(target)[:3]
    if field is None:
        sample = kernels.sample_nearest if nearest else kernels.sample_linear
        return sample(data, matrix, target.shape, fill)
    warp = kernels.warp_nearest if nearest else kernels.warp_linear
    return warp(data, matrix, *field.between(source, target), target.shape, fill)


def _separable(
    data: Array, matrix: Array, axes: Array, shape: tuple[int, ...], fill: Array, coarse: Array, shares: bool
) -> Array:
    from truevox.kernels import weigh

    out = np.transpose(data, [0, *(1 + axes)])
    inside: dict[int, Array] = {}
    # The axis that shrinks most goes first: the least work for the others.
    for t in np.argsort([shape[t] / data.shape[1 + axes[t]] for t in range(3)]).tolist():
        a, mode = axes[t], "area" if shares else "box" if coarse[t] else "linear"
        weights, within = axis_weights(
            out.shape[1 + t], float(matrix[a, 3]), float(matrix[a, t]), shape[t], mode
        )
        inside[t] = weights.sum(1) if shares else within
        out = weigh(out, weights, t)
    part = inside[0][:, None, None] * inside[1][None, :, None] * inside[2][None, None, :]
    fill = np.reshape(fill, (-1, 1, 1, 1)).astype(np.float32)
    if not shares:
        return np.where(part, out, fill)
    # What rounding leaves of a fill that is not there must not show, as it may be NaN.
    rest = np.where(part > 1 - 1e-6, 0, 1 - part).astype(np.float32)
    return out + np.where(rest > 0, rest * fill, np.float32(0))


def _plain(data: Array, nearest: bool = False) -> Array:
    """Contiguous, of a dtype that the compiled loops know."""
    if data.dtype == np.bool_:
        data = data.view(np.uint8)
    elif data.dtype == np.float16 or not (nearest or data.dtype.name in COMPILED):
        data = data.astype(np.float32)
    return np.ascontiguousarray(data)
