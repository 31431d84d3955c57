"""Planes to a volume: order along the normal, the grid, and which planes share a place.

LPS becomes RAS here and nowhere else. Pure NumPy: no file is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, GeometryError
from truevox.io.dicom.moments import Moments, split
from truevox.io.dicom.planes import Plane
from truevox.space import Grid

__all__ = ["LPS_TO_RAS", "Stack", "directions", "even_step", "grid_of", "same_planes", "stack"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
# Directions differ where they move the corner of a slice; writers round them to six digits or so.
_SAME_DIRECTION = 1e-4
_ORTHOGONAL = 1e-3
_UNIT = 1e-2
# Planes closer than this part of a pixel are at the same place.
_SAME_PLACE = 1e-2


@dataclass(frozen=True)
class Stack:
    """Where planes lie as a volume.

    ``order`` (C, K): which plane is slice k of channel c. ``moments`` says what tells channels apart.
    """

    grid: Grid
    order: NDArray[np.intp]
    moments: Moments | None = None
    notes: tuple[str, ...] = ()


def stack(planes: Sequence[Plane], source: Path) -> Stack:
    """Order planes by their position along the normal, and find their grid.

    Axes of the grid: columns (I), rows (J), slices (K, growing along the cross product of the row and
    column directions). The step between slices comes from the first and the last position, so a
    gantry tilt gives a sheared grid. Where nobody knows how large a pixel is, lengths are in pixels.

    Raises
    ------
    GeometryError
        If directions are no directions; shapes, spacings or directions differ; slices are missing,
        doubled or unevenly spaced.
    CaseError
        If several images have no position, or several slices share a place and nothing tells them apart.
    """
    same_planes(planes, source)
    if planes[0].position is None or planes[0].orientation is None:
        return _placeless(planes, source)
    x, y = directions(planes[0])
    normal = np.cross(x, y)
    positions = np.array([p.position for p in planes])
    along = positions @ normal
    spacing, known, notes = planes[0].spacing, planes[0].unit == "mm", ()
    places = _places(along, _SAME_PLACE * min(spacing))
    order, moments = split(planes, places, source)
    centres = positions[order[0]]
    step = even_step(centres, normal, source, [planes[k].path for k in order[0]])
    if step is None:
        thickness = planes[0].between or planes[0].thickness
        step = normal * (thickness or 1.0)
        notes += ("one slice without thickness: 1 mm is a guess",) if known and not thickness else ()
    else:
        _aligned(positions, order, step, source, min(spacing))
        notes += _step_notes(step, normal, planes[0], centres)
    if moments is not None:
        notes += (moments.note(),)
    return Stack(grid_of(planes[0], step, centres[0], len(centres)), order, moments, notes)


def grid_of(plane: Plane, step: NDArray[np.float64], start: NDArray[np.float64], slices: int) -> Grid:
    """The grid of slices like this one, from a place by equal steps (LPS, mm).

    In pixels it has no place: a slice is one pixel behind the other, and the first is at the origin.
    """
    x, y = directions(plane)
    if plane.unit == "px":
        step, start = np.cross(x, y), np.zeros(3)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.stack([x * plane.spacing[1], y * plane.spacing[0], step], axis=1)
    affine[:3, 3] = LPS_TO_RAS @ start
    return Grid((plane.shape[1], plane.shape[0], slices), affine, plane.unit)


def same_planes(planes: Sequence[Plane], source: Path) -> None:
    """Refuse planes of different shapes, spacings or directions; lists how many there are of each."""
    first = planes[0]
    if not any(_differs(first, p) for p in planes):
        return
    kinds: Counter[str] = Counter(_describe(p) for p in planes)
    raise GeometryError(
        "The images of this series do not make one volume: shapes, spacings or directions differ.",
        file=source,
        got="\n            ".join(f"{count} x {kind}" for kind, count in kinds.most_common(12)),
        remedy="name the files of one volume, or move the others (localisers, reformats) away"
        if len({p.path for p in planes}) > 1
        else "export the stacks of this file one by one",
    )


def _differs(a: Plane, b: Plane) -> bool:
    if (a.shape, a.unit) != (b.shape, b.unit):
        return True
    for one, two, tolerance in (
        (a.spacing, b.spacing, 1e-4 * min(a.spacing)),
        (a.orientation, b.orientation, _SAME_DIRECTION),
    ):
        if (one is None) != (two is None):
            return True
        if (
            one is not None
            and two is not None
            and max(abs(u - v) for u, v in zip(one, two, strict=True)) > tolerance
        ):
            return True
    return (a.position is None) != (b.position is None)


def _describe(plane: Plane) -> str:
    rows, columns = plane.shape
    spacing = "x".join(f"{s:.4g}" for s in plane.spacing[::-1]) + f" {plane.unit}"
    towards = (
        "no directions" if plane.orientation is None else " ".join(f"{v:.4g}" for v in plane.orientation)
    )
    return f"{columns}x{rows}, {spacing}, {towards}" + ("" if plane.position else ", no position")


def directions(plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (LPS) in which columns and rows grow.

    Raises
    ------
    GeometryError
        If they are not of length 1 within 1 %, or not orthogonal within 0.001.
    """
    both = np.array(plane.orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(both, axis=1)
    if np.abs(lengths - 1).max() > _UNIT or abs(both[0] @ both[1]) > _ORTHOGONAL:
        raise GeometryError(
            "The header's ImageOrientationPatient are no two orthogonal directions.",
            file=plane.path,
            got=" ".join(f"{v:g}" for v in both.flat),
            expected="e.g. 1 0 0 0 1 0",
            remedy="export the series again from its source",
        )
    return both[0] / lengths[0], both[1] / lengths[1]


def _placeless(planes: Sequence[Plane], source: Path) -> Stack:
    """Secondary captures, X-rays, ultrasound: one 2D image, or frames in time, put at the origin."""
    if len({p.path for p in planes}) > 1:
        raise CaseError(
            f"These {len(planes)} images have no position in the patient, so they make no volume.",
            file=source,
            remedy="load each file by itself",
        )
    (rows, columns), spacing, unit = planes[0].shape, planes[0].spacing, planes[0].unit
    thickness = (planes[0].thickness or 1.0) if unit == "mm" else 1.0
    affine = np.diag([-spacing[1], -spacing[0], thickness, 1.0])
    notes: tuple[str, ...] = ("no position in the patient: orientation and position are guesses",)
    order, found = split(planes, [np.arange(len(planes))], source)
    notes += () if found is None else (found.note(),)
    return Stack(Grid((columns, rows, 1), affine, unit), order, found, notes)


def _places(along: NDArray[np.float64], tolerance: float) -> list[NDArray[np.intp]]:
    """Planes at the same place, place by place along the normal."""
    order = np.argsort(along, kind="stable")
    breaks = np.flatnonzero(np.diff(along[order]) > tolerance) + 1
    return np.split(order, breaks)


def even_step(
    centres: NDArray[np.float64], normal: NDArray[np.float64], source: Path, files: Sequence[Path]
) -> NDArray[np.float64] | None:
    """The vector between neighbouring slices, from the first and the last; None for one slice.

    Raises
    ------
    GeometryError
        If a slice lies off its even place by more than 1 % of the step (0.01 mm at least; 0.05 mm,
        but no more than 5 %, are taken as positions written with one decimal).
    """
    count = len(centres)
    if count == 1:
        return None
    step = (centres[-1] - centres[0]) / (count - 1)
    off = np.linalg.norm(centres - (centres[0] + np.arange(count)[:, None] * step), axis=1).max()
    length = float(step @ normal)
    if off > max(0.01 * length, 0.01, min(0.05 * length, 0.051)):
        _refuse_uneven(centres, normal, source, files)
    return step


def _refuse_uneven(
    centres: NDArray[np.float64], normal: NDArray[np.float64], source: Path, files: Sequence[Path]
) -> NoReturn:
    gaps = np.diff(centres @ normal)
    parts = gaps / gaps.min()
    found = ", ".join(f"{gap:g} mm ({n} x)" for gap, n in Counter(np.round(gaps, 3).tolist()).most_common(8))
    sideways = np.diff(centres, axis=0)
    if np.abs(parts - 1).max() <= 0.05:
        raise GeometryError(
            "The slices do not lie one behind the other: their positions drift unevenly across the normal.",
            file=source,
            got=f"sideways steps of {np.linalg.norm(sideways - gaps[:, None] * normal, axis=1).min():.3g} to "
            f"{np.linalg.norm(sideways - gaps[:, None] * normal, axis=1).max():.3g} mm",
            remedy="several scans may be mixed in this series: name the files of one",
        )
    if np.abs(parts - np.rint(parts)).max() <= 0.1:
        holes = np.flatnonzero(np.rint(parts) > 1)
        where = "; ".join(
            f"{int(np.rint(parts[k])) - 1} between {files[k].name} and {files[k + 1].name} ({gaps[k]:.4g} mm)"
            for k in holes[:5]
        )
        raise GeometryError(
            f"Slices are missing: {int(np.rint(parts).sum()) - len(gaps)} at {len(holes)} places.",
            file=source,
            got=where,
            expected=f"a slice every {gaps.min():.4g} mm",
            remedy="export the series again; nothing is made up in between",
        )
    raise GeometryError(
        "The distance between slices varies.",
        file=source,
        got=found,
        expected="one distance, within 1 % or 0.01 mm",
        remedy="name the files of one evenly spaced part, or resample the series with a program for that",
    )


def _aligned(
    positions: NDArray[np.float64],
    order: NDArray[np.intp],
    step: NDArray[np.float64],
    source: Path,
    pixel: float,
) -> None:
    """Refuse planes that share a place along the normal, but lie beside each other."""
    aside = np.linalg.norm(positions[order] - positions[order[0]], axis=2).max()
    if aside > 2 * _SAME_PLACE * pixel:
        raise GeometryError(
            "Slices at the same height lie beside each other: this series holds several volumes.",
            file=source,
            got=f"up to {aside:.4g} mm apart",
            remedy="name the files of one volume",
        )


def _step_notes(
    step: NDArray[np.float64], normal: NDArray[np.float64], plane: Plane, centres: NDArray[np.float64]
) -> tuple[str, ...]:
    notes = []
    length = float(step @ normal)
    aside = float(np.linalg.norm(step - length * normal))
    if aside > 1e-3 * length:
        notes.append(
            f"gantry tilt of {np.degrees(np.arctan2(aside, length)):.2f} degrees: "
            f"slices shift by {aside:.4g} mm each, so the grid is sheared"
        )
    off = np.linalg.norm(centres - (centres[0] + np.arange(len(centres))[:, None] * step), axis=1).max()
    if off > max(0.01 * length, 0.01):
        notes.append(f"slices lie up to {off:.3f} mm off an even spacing")
    if plane.between and abs(plane.between - length) > 0.05 * length:
        notes.append(
            f"slices are {length:.4g} mm apart by their positions, {plane.between:.4g} mm by the header"
        )
    elif plane.thickness and length > 1.5 * plane.thickness:
        notes.append(
            f"slices are {length:.4g} mm apart and {plane.thickness:.4g} mm thick: gaps between them"
        )
    return tuple(notes)
