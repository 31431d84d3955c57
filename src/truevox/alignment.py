"""How the voxels of several grids lie among each other: the same, of one lattice, or off by rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox import sampling
from truevox.space import Grid

__all__ = ["Alignment", "Placed", "aligned", "in_lengths_of", "shared_grid"]

HALF = 0.5
"""Grids of one shape may differ by less than this share of a voxel: the nearest voxel is the same one."""
MOST = 64
"""A grid that holds others has at most so many times their voxels (or a few millions)."""
LATTICE = 0.1
"""Grids of other shapes or origins may differ by this share of a voxel from one lattice."""
NOTED = 0.01
"""A difference beyond this share of a voxel is noted."""
SIDE = 0.99
"""Cosine from which on the axes of two grids point the same way."""


@dataclass(frozen=True)
class Alignment:
    """The voxels of a grid as voxels of the endless lattice of another one.

    Parameters
    ----------
    own, other : Grid
    axes, signs, starts : sequences of 3 ints
        Axis ``t`` of the other grid runs along axis ``axes[t]`` of the own one, by ``signs[t]``; its voxel 0
        is index ``starts[a]`` on axis ``a`` of the own one.
    voxels, mm : float
        How far the places are apart that are taken for one, at the farthest corner.
    """

    own: Grid
    other: Grid
    axes: tuple[int, ...]
    signs: tuple[int, ...]
    starts: tuple[int, ...]
    voxels: float
    mm: float

    @property
    def span(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and behind the last index of the own grid along the axes of the other one."""
        first = -np.array([self.starts[a] for a in self.axes]) * self.signs
        size = np.array([self.own.shape[a] for a in self.axes])
        low = np.where(np.array(self.signs) > 0, first, first - size + 1)
        return low, low + size

    @property
    def same_voxels(self) -> bool:
        """Whether both have the same voxels, in whichever order."""
        low, high = self.span
        return not low.any() and tuple(high.tolist()) == self.other.shape

    @property
    def noted(self) -> bool:
        """Whether the places differ by so much that it is to be said."""
        return self.voxels > NOTED

    def take(self, array: NDArray, start: Sequence[int], shape: Sequence[int], fill: float = 0) -> NDArray:
        """An array (C, I, J, K) of the own grid on a box of the other lattice; ``fill`` outside of it."""
        starts = list(self.starts)
        for t, a in enumerate(self.axes):
            starts[a] += self.signs[t] * int(start[t])
        found = (list(self.axes), list(self.signs), starts)
        return sampling.take(array, found, (shape[0], shape[1], shape[2]), np.full(len(array), fill))


def aligned(own: Grid, other: Grid, tol_mm: float | None = None, *, parts: bool = False) -> Alignment | None:
    """How a grid lies on the lattice of another one; None if its voxels are other ones.

    Axes may be in another order and run the other way. Grids of one shape may be off by less than half a
    voxel along each axis, at the farthest corner: headers that a tool rounded. If they are farther apart, one
    of the headers is wrong, however whole the number of voxels. Grids of other shapes are parts of one
    lattice where they are off by less than a tenth of a voxel. In pixels there is no place that would tell
    which part it is, nor have pixels a place among millimetres.

    Parameters
    ----------
    own, other : Grid
    tol_mm : float, optional
        The largest difference of a corner in mm instead.
    parts : bool
        Whether one of the files is of a kind that stores what is not empty: then grids of one shape may be
        parts of one lattice, too.

    Examples
    --------
    >>> grid = Grid((10, 10, 4))
    >>> part = aligned(grid.flip(0).crop((2, 0, 1), (5, 10, 2)), grid)
    >>> part.span[0].tolist(), part.span[1].tolist(), part.mm
    ([3, 0, 1], [8, 10, 3], 0.0)
    >>> moved = Grid((10, 10, 4), [[1, 0, 0, 0.3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> round(aligned(moved, grid).voxels, 3), aligned(grid.lattice(0.6, 1, grid.shape), grid)
    (0.3, None)
    """
    if own == other:
        return Alignment(own, other, (0, 1, 2), (1, 1, 1), (0, 0, 0), 0.0, 0.0)
    if own.unit != other.unit:
        return None
    matrix = own.index_map(other)
    turn = np.rint(matrix[:3, :3])
    if not ((np.abs(turn).sum(0) == 1).all() and (np.abs(turn).sum(1) == 1).all()):
        return None
    same_shape = (np.abs(turn) @ other.shape == own.shape).all()
    if same_shape:
        found = _at(own, other, turn, np.where(turn.sum(1) > 0, 0, np.array(own.shape) - 1))
        if found.mm <= tol_mm if tol_mm is not None else found.voxels < HALF:
            return found
    if not parts and (same_shape or own.unit == "px"):
        return None
    centre = (np.array(other.shape) - 1) / 2
    found = _at(own, other, turn, np.rint((matrix[:3, :3] - turn) @ centre + matrix[:3, 3]))
    return found if (found.mm <= tol_mm if tol_mm is not None else found.voxels < LATTICE) else None


def in_lengths_of(own: Grid, other: Grid) -> Grid:
    """The other grid, if one of the two says no lengths, and all else is the same; else the own.

    All else is their shape, and where their axes point.

    Examples
    --------
    >>> in_lengths_of(Grid((5, 4), unit="px"), Grid((5, 4), np.diag([2, 2, 1, 1]))).spacing
    array([2., 2., 1.])
    """
    if own.unit == other.unit or own.shape != other.shape:
        return own
    ways = [grid.affine[:3, :3] / grid.spacing for grid in (own, other)]
    return other if ((ways[0] * ways[1]).sum(0) > SIDE).all() else own


def _at(own: Grid, other: Grid, turn: NDArray[np.float64], start: NDArray[Any]) -> Alignment:
    """The alignment in which voxel 0 of the other grid is a voxel of the own one, and how far it is off."""
    matrix = own.index_map(other)
    axes = np.abs(turn).argmax(0)
    signs = turn[axes, range(3)].astype(int)
    # Corners of both, as indices of the other one.
    corners = np.concatenate([_corners(other), (_corners(own) - start) @ turn])
    apart = corners @ (matrix[:3, :3] - turn).T + matrix[:3, 3] - start
    voxels = float(np.abs(apart).max())
    mm = float(np.linalg.norm(apart @ own.affine[:3, :3].T, axis=1).max())
    places = tuple(start.astype(int).tolist())
    return Alignment(own, other, tuple(axes.tolist()), tuple(signs.tolist()), places, voxels, mm)


def shared_grid(
    grids: Sequence[Grid], tol_mm: float | None = None, *, parts: bool = False
) -> tuple[Grid, list[Placed]] | None:
    """The smallest grid, on the lattice of the first, that holds the voxels of all; None if there is none.

    It is taken for none, too, if it is so much larger than all grids together that a header must be wrong.
    Parameters are those of :func:`aligned`.

    Returns
    -------
    grid : Grid
    placed : list of Placed
        One for each grid: takes an array (C, I, J, K) of it, and perhaps what lies outside of it (0), and
        gives the array on the shared grid, without interpolation, and without a copy where nothing is added.

    Examples
    --------
    >>> whole, part = Grid((4, 1, 1)), Grid((3, 1, 1)).crop((2, 0, 0), (3, 1, 1))
    >>> grid, (on_whole, on_part) = shared_grid([whole, part])
    >>> grid.shape, on_part(np.array([[[[5]], [[6]], [[7]]]])).ravel().tolist()
    ((5, 1, 1), [0, 0, 5, 6, 7])
    """
    found = [aligned(grid, grids[0], tol_mm, parts=parts) for grid in grids]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    low = np.min([one.span[0] for one in known], axis=0)
    shape = (np.max([one.span[1] for one in known], axis=0) - low).tolist()
    start = low.tolist()
    if math.prod(shape) > max(MOST * sum(math.prod(grid.shape) for grid in grids), MOST**4):
        return None
    same = not low.any() and tuple(shape) == grids[0].shape
    grid = grids[0] if same else grids[0].crop(start, shape)
    return grid, [Placed(one, tuple(start), tuple(shape)) for one in known]


@dataclass(frozen=True)
class Placed:
    """Puts arrays of a grid on a grid that it shares with others."""

    alignment: Alignment
    start: tuple[int, ...]
    shape: tuple[int, ...]

    def __call__(self, array: NDArray, fill: float = 0) -> NDArray:
        """The array (C, I, J, K) on the shared grid."""
        return self.alignment.take(array, self.start, self.shape, fill)

    @property
    def grown(self) -> bool:
        """Whether the shared grid has voxels that the own one lacks."""
        low, high = self.alignment.span
        return tuple(low.tolist()) != self.start or tuple((high - low).tolist()) != self.shape


def _corners(grid: Grid) -> NDArray[np.float64]:
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(8, 3)
