"""Sparse planes on an even lattice: frames of a segmentation, of which many may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import GeometryError
from truevox.io.dicom.planes import Plane
from truevox.io.dicom.stack import LPS_TO_RAS, directions, grid_of, same_planes
from truevox.space import Grid

__all__ = ["Lattice", "lattice"]

_MOST_SLICES = 10_000
# A plane may lie off its slice by this part of the step.
_OFF = 0.02


@dataclass(frozen=True)
class Lattice:
    """A grid that holds all planes, and the slice of each."""

    grid: Grid
    slices: NDArray[np.intp]
    notes: tuple[str, ...] = ()


def lattice(planes: Sequence[Plane], source: Path, like: Grid | None = None) -> Lattice:
    """The grid of planes that need not fill it, from the first plane to the last along the normal.

    The step is that of ``like`` if given, else SpacingBetweenSlices if all planes fit it, else the
    smallest gap.

    Raises
    ------
    GeometryError
        If shapes, spacings or directions differ, or the planes fit no even step.
    """
    same_planes(planes, source)
    first = planes[0]
    rows, columns = first.shape
    if first.position is None or first.orientation is None:
        if like is not None and like.shape == (columns, rows, 1):
            return Lattice(like, np.zeros(len(planes), np.intp))
        notes = (*first.notes, "no position in the patient: orientation and position are guesses")
        affine = np.diag([-first.spacing[1], -first.spacing[0], 1.0, 1.0])
        grid = Grid((columns, rows, 1), affine, first.unit)
        return Lattice(grid, np.zeros(len(planes), np.intp), notes)
    normal = np.cross(*directions(first))
    positions = np.array([p.position for p in planes])
    along = positions @ normal
    start, end = positions[along.argmin()], positions[along.argmax()]
    steps = _candidates(along, normal, first, like, 1e-2 * min(first.spacing))
    for step in steps:
        index = np.rint((positions - start) @ normal / (step @ normal)).astype(np.intp)
        if index.max() > 0 and like is None:
            step = (end - start) / index[along.argmax()]
        off = np.linalg.norm(positions - start - index[:, None] * step, axis=1).max()
        if off <= max(_OFF * np.linalg.norm(step), 0.01) and index.max() < _MOST_SLICES:
            return Lattice(grid_of(first, step, start, int(index.max()) + 1), index, first.notes)
    gaps = np.unique(np.round(np.diff(np.sort(along)), 3))
    raise GeometryError(
        "The frames of this segmentation do not lie on evenly spaced slices.",
        file=source,
        got=", ".join(f"{gap:g}" for gap in gaps[gaps > 0][:8]) + " mm apart",
        remedy=f'name the image that they were drawn on: "{source.name}?like=../ct"',
    )


def _candidates(
    along: NDArray[np.float64], normal: NDArray[np.float64], plane: Plane, like: Grid | None, tolerance: float
) -> list[NDArray[np.float64]]:
    """Steps to try, along the normal (of ``like``: as it is, tilted or not)."""
    if like is not None:
        ways = LPS_TO_RAS @ like.affine[:3, :3]
        way = ways[:, np.abs(normal @ (ways / like.spacing)).argmax()]
        return [way * np.sign(way @ normal)]
    gaps = np.diff(np.sort(along))
    gaps = gaps[gaps > tolerance]
    lengths = [plane.between, gaps.min() if len(gaps) else None, plane.thickness, 1.0]
    return [normal * length for length in lengths if length]
