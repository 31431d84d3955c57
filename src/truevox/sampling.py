"""How an array on one grid is read on another: slicing where voxels coincide, else one interpolation.

Pure NumPy on arrays (C, I, J, K); :meth:`truevox.Image.on` is its only caller outside of tests.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """Source voxels that one target voxel spans along each source axis: (3,)."""
    return np.abs(source.index_map(target)[:3, :3]).max(axis=1)


def clipped(window: Grid, extent: Grid) -> Grid:
    """The part of ``window`` (a crop of the lattice of ``extent``) inside ``extent``; one voxel at least."""
    start = np.rint(extent.to_index(window.to_world((0, 0, 0)))).astype(int)
    low = np.clip(start, 0, np.array(extent.shape) - 1)
    high = np.clip(start + window.shape, low + 1, extent.shape)
    return extent.crop(low.tolist(), (high - low).tolist())


def box_around(source: Grid, target: Grid, margin: int) -> Box:
    """First and last index (exclusive) of the voxels of ``source`` around those of ``target``; never none."""
    matrix, last = source.index_map(target), np.array(target.shape) - 1
    centre = matrix[:3, :3] @ (last / 2) + matrix[:3, 3]
    half = np.abs(matrix[:3, :3]) @ (last / 2)
    shape = np.array(source.shape)
    low = np.clip(np.floor(centre - half + 1e-6).astype(int) - margin, 0, shape - 1)
    return low, np.clip(np.ceil(centre + half - 1e-6).astype(int) + margin + 1, low + 1, shape)


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


def axis_weights(
    size: int, start: float, step: float, count: int, mode: str, width: float | None = None
) -> tuple[Array, Array]:
    """Weights of ``size`` voxels for ``count`` samples at ``start + step * o`` of one axis.

    ``"linear"`` interpolates between the two neighbours; ``"box"`` averages the linear interpolant
    over the sample's own box (``width``, else the step), shrunk evenly where it would leave the volume,
    so that a ramp stays the same ramp up to the border; ``"area"`` averages voxels by overlap (for
    one-hot labels: keeps volume).

    Returns
    -------
    weights (count, size) float64, inside (count,) bool
    """
    position = start + step * np.arange(count, dtype=np.float64)
    inside = (position >= -EDGE) & (position < size - 1 + EDGE)
    voxel = np.arange(size, dtype=np.float64)
    reach = abs(step if width is None else width) / 2
    if mode == "area":
        low, high = np.clip(position - reach, -0.5, size - 0.5), np.clip(position + reach, -0.5, size - 0.5)
        shared = np.minimum(high[:, None], voxel + 0.5) - np.maximum(low[:, None], voxel - 0.5)
        weights = np.clip(shared, 0, None)
        total = weights.sum(1, keepdims=True)
        return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0), inside
    position = np.clip(position, 0, size - 1)[:, None]
    if mode == "linear" or size == 1:
        return np.clip(1 - np.abs(position - voxel), 0, None), inside
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
        ``"area"`` is ``"linear"`` whose coarse axes are averaged by overlap.
    antialias : bool
        Average over the target voxel along axes whose step exceeds 1.5 source voxels.
    field : Field, optional
        Displacement through which the source is seen.
    """
    matrix = source.index_map(target)
    if mode == "nearest":
        return _sampled(True, _plain(data), source, target, fill, field)
    coarse = (coarsening(source, target) > COARSE) & (np.array(source.shape) > 1)
    if not antialias or not coarse.any():
        return _sampled(False, _plain(data), source, target, fill, field)
    average = "area" if mode == "area" else "box"
    axes = np.abs(matrix[:3, :3]).argmax(0)
    straight = np.abs(matrix[:3, :3]).copy()
    straight[axes, np.arange(3)] = 0
    if field is None and sorted(axes) == [0, 1, 2] and straight.max() * max(target.shape) <= COINCIDE:
        return _separable(data, matrix, axes, target.shape, fill, coarse, average)
    blurred = np.asarray(data, np.float32)
    for axis in np.flatnonzero(coarse).tolist():
        width = float(coarsening(source, target)[axis])
        size = source.shape[axis]
        blurred = _along(blurred, axis_weights(size, 0, 1, size, average, width)[0], axis)
    return _sampled(False, np.ascontiguousarray(blurred), source, target, fill, field)


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
    data: Array, matrix: Array, axes: Array, shape: tuple[int, ...], fill: Array, coarse: Array, average: str
) -> Array:
    out = np.transpose(data, [0, *(1 + axes)])
    inside = []
    # The axis that shrinks most goes first: the least work for the others.
    order = np.argsort([shape[t] / data.shape[1 + axes[t]] for t in range(3)])
    marks: dict[int, Array] = {}
    for t in order:
        a = axes[t]
        mode = average if coarse[a] else "linear"
        weights, marks[int(t)] = axis_weights(
            out.shape[1 + t], float(matrix[a, 3]), float(matrix[a, t]), shape[t], mode
        )
        out = _along(np.asarray(out, np.float32), weights, int(t))
    inside = [marks[t] for t in range(3)]
    mask = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
    return np.where(mask, out, fill.reshape(-1, 1, 1, 1)).astype(np.float32)


def _along(data: Array, weights: Array, axis: int) -> Array:
    moved = np.tensordot(weights.astype(np.float32), data, axes=(1, 1 + axis))
    return np.moveaxis(moved, 0, 1 + axis)


def _plain(data: Array) -> Array:
    """Contiguous, of a dtype that the compiled loops know."""
    if data.dtype in (np.bool_, np.float16):
        data = data.astype(np.uint8 if data.dtype == np.bool_ else np.float32)
    return np.ascontiguousarray(data)
