"""RTSTRUCT as labels: the contours of each structure, filled on the grid of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import FileError, GeometryError
from truevox.io.dicom.contours import Drawing, draw, fill, tidy
from truevox.io.dicom.datasets import AGAIN
from truevox.io.dicom.masks import (
    Mask,
    as_channels,
    as_values,
    channel_table,
    chosen,
    label_table,
    unique_names,
)
from truevox.io.dicom.stack import LPS_TO_RAS
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels
from truevox.space import Grid

__all__ = ["open_rtstruct", "referenced_series", "structure_names"]

# Contours are planar, and two of them in one plane, within this part of a slice.
_FLAT = 0.1
_EXCLUSIVE = "CLOSEDPLANAR_XOR"
_CLOSED = ("CLOSED_PLANAR", _EXCLUSIVE)
# Contours half way between two slices all go to the upper one, whatever the last digit of each says.
_HALF = 0.5 + 1e-3
# A contour of fewer voxels across may hold none.
_SMALL = 2


@dataclass(frozen=True)
class _Structure:
    """Contours by slice: slice ``k`` along ``axis`` holds ``drawings[k]``, in indices of the other axes."""

    axis: int
    drawings: Mapping[int, Sequence[Drawing]]


def open_rtstruct(path: Path, dataset: Any, like: Grid, choice: dict[str, str]) -> tuple[Header, Voxels]:
    """Open a structure set on the grid of an image.

    Closed contours are filled on voxel centres, all contours of a plane together
    (:func:`~truevox.io.dicom.contours.draw`: one inside another is a hole, crossing ones are united,
    doubled ones count once; each with a note); each slice takes the plane of contours nearest to it,
    within half a slice. Nothing is made up for slices without contours. Points and open contours are left
    out, with a note.

    Raises
    ------
    FileError
        If contours are damaged.
    GeometryError
        If contours do not lie in slices of the image.
    LabelError
        If a chosen structure does not exist, or (reading voxels) structures overlap.
    """
    if like.unit != "mm":
        raise GeometryError(
            "Contours are in millimetres, and the image does not say how large its pixels are.",
            file=path,
            got=like.describe(),
            remedy="name the image that they were drawn on (?like=...)",
        )
    names = chosen(structure_names(dataset), choice.pop("labels", None), path)
    several = choice.pop("overlap", None) == "channels"
    zero = _values(dataset).get(0)
    notes: list[str] = []
    if zero in names and not several:
        notes.append(f"{names[zero]}: number 0 is the background's, so its value is {zero}")
    structures = {}
    for key, contours in _contours(dataset, names, path, notes).items():
        structures[key] = _structure(contours, like, names[key], path, notes)
    if structures and not any(structure.drawings for structure in structures.values()):
        raise GeometryError(
            "None of the contours lies in the image.",
            file=path,
            got="; ".join(notes[:4]),
            expected=like.describe(),
            remedy="name the image that they were drawn on (?like=...)",
        )
    for key in sorted(set(names) - set(structures)):
        notes.append(f"{names[key]}: no closed contour")
    if several:
        notes.insert(0, f"one channel per structure: {', '.join(names.values())}")
    kind = "uint8" if several or max(names) < 256 else "uint16"
    table = channel_table(names) if several else label_table(names)
    header = Header(path, like, len(names) if several else 1, kind, None, tuple(notes), None, table)

    def voxels(box: Box) -> NDArray:
        masks = _masks(structures, like, box)
        if several:
            return as_channels(masks, names, box, kind)
        return as_values(masks, names, box, kind, path)

    return header, voxels


def structure_names(dataset: Any) -> dict[int, str]:
    """Value to name of each structure: its number, but for a number of 0."""
    values = _values(dataset)
    rois = dataset.get("StructureSetROISequence") or ()
    return unique_names((values[int(roi.ROINumber)], str(roi.get("ROIName") or "")) for roi in rois)


def _values(dataset: Any) -> dict[int, int]:
    """Number to value of each structure. 0 is the background's: such a structure gets the next free value."""
    numbers = [int(roi.ROINumber) for roi in dataset.get("StructureSetROISequence") or ()]
    return {number: number or max(numbers) + 1 for number in numbers}


def referenced_series(dataset: Any) -> set[str]:
    """UIDs of the series that the contours were drawn on, as far as the file says."""
    found = set()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                found.add(str(series.get("SeriesInstanceUID")))
    return found


@dataclass(frozen=True)
class _Contour:
    """Corners (n, 3), LPS mm, of a closed contour."""

    points: NDArray[np.float64]
    exclusive: bool


def _contours(dataset: Any, names: dict[int, str], path: Path, notes: list[str]) -> dict[int, list[_Contour]]:
    """The closed contours of each structure that has any."""
    values = _values(dataset)
    closed: dict[int, list[_Contour]] = {}
    others: dict[int, int] = {}
    cut: dict[int, int] = {}
    for roi in dataset.get("ROIContourSequence") or ():
        key = values.get(int(roi.get("ReferencedROINumber") or 0))
        if key is None or key not in names:
            continue
        # Some programs write a structure as several items of one number.
        for contour in roi.get("ContourSequence") or ():
            points = _points(contour, path)
            kind = contour.get("ContourGeometricType")
            if int(contour.get("NumberOfContourPoints") or len(points)) != len(points):
                cut[key] = cut.get(key, 0) + 1
            if kind in _CLOSED and len(points) > 2:
                closed.setdefault(key, []).append(_Contour(points, kind == _EXCLUSIVE))
            else:
                others[key] = others.get(key, 0) + 1
    for key, count in others.items():
        notes.append(f"{names[key]}: {count} points or open contours were left out")
    for key, count in cut.items():
        notes.append(f"{names[key]}: {count} contours have another number of points than they say")
    return closed


def _points(contour: Any, path: Path) -> NDArray[np.float64]:
    # The text itself: pydicom would make an object of every number.
    raw = contour.get_item("ContourData")
    value = b"" if raw is None or raw.value is None else raw.value
    try:
        words = (value.split(b"\\") if value.strip() else []) if isinstance(value, bytes) else list(value)
        points = np.array([float(word) for word in words])
        if points.size % 3 or not np.isfinite(points).all():
            raise ValueError(f"{points.size} numbers, of which {np.isfinite(points).sum()} are finite")
    except (ValueError, TypeError) as error:
        raise FileError(
            "The points of a contour can't be read.", file=path, got=str(error), remedy=AGAIN
        ) from error
    return points.reshape(-1, 3)


def _structure(
    contours: Sequence[_Contour], grid: Grid, name: str, path: Path, notes: list[str]
) -> _Structure:
    corners = [grid.to_index(contour.points @ LPS_TO_RAS) for contour in contours]
    spread = np.max([np.ptp(points, axis=0) for points in corners], axis=0)
    axis = int(spread.argmin())
    if spread[axis] > _FLAT:
        raise GeometryError(
            f"The contours of '{name}' do not lie in slices of the image.",
            file=path,
            got=f"they reach over {spread[axis]:.2f} slices of {grid.describe()}",
            remedy="name the image that they were drawn on (?like=...), and sample the labels on the other",
        )
    heights = np.array([points[:, axis].mean() for points in corners])
    nearest = np.floor(heights + _HALF).astype(int)
    outside = (nearest < 0) | (nearest >= grid.shape[axis])
    u, v = np.delete(grid.spacing, axis).tolist()
    drawings: dict[int, list[Drawing]] = {}
    further = 0
    for k in np.unique(nearest[~outside]).tolist():
        here = np.flatnonzero(nearest == k)
        closest = heights[here][np.abs(heights[here] - k).argmin()]
        kept = here[np.abs(heights[here] - closest) <= _FLAT]
        further += len(here) - len(kept)
        drawings[k] = [
            draw(
                [tidy(np.delete(corners[c], axis, axis=1)) for c in some],
                exclusive=exclusive,
                spacing=(u, v),
            )
            for exclusive in (False, True)
            if len(some := [c for c in kept if contours[c].exclusive == exclusive])
        ]
    if outside.any():
        notes.append(f"{name}: {int(outside.sum())} contours lie outside of the image")
    if further:
        notes.append(f"{name}: {further} contours left out, as another plane lies nearer to their slice")
    off = np.abs(heights - nearest)[~outside]
    between = int((off > _FLAT).sum())
    if between:
        notes.append(f"{name}: {between} contours lie between slices (by up to {off.max():.2f} of the step)")
    empty = set(range(min(drawings), max(drawings) + 1)) - set(drawings) if drawings else set()
    if empty:
        notes.append(f"{name}: {len(empty)} slices between its contours have none, and stay empty")
    notes += [f"{name}: {count} contours {what}" for what, count in _kinds(drawings).items() if count]
    return _Structure(axis, drawings)


def _kinds(drawings: Mapping[int, Sequence[Drawing]]) -> dict[str, int]:
    """How many contours were taken for what, in words."""
    every = [drawing for plane in drawings.values() for drawing in plane]
    polygons = [points for drawing in every for points in drawing.polygons]
    return {
        "are there twice or more, and count once": sum(drawing.doubled for drawing in every),
        "lie inside of others: they are holes, or filled where they lie in a hole": sum(
            drawing.nested for drawing in every
        ),
        "cross others of their slice: what either holds counts": sum(drawing.crossing for drawing in every),
        "cross themselves: all that they go round counts": sum(sum(drawing.looped) for drawing in every),
        "hold the centre of no voxel": sum(map(_holds_none, polygons)),
    }


def _holds_none(points: NDArray[np.float64]) -> bool:
    if len(points) > 2 and np.ptp(points, axis=0).min() >= _SMALL:
        return False
    start = np.floor(points.min(axis=0)) if len(points) else np.zeros(2)
    height, width = (int(n) for n in np.ceil(np.ptp(points, axis=0)) + 2) if len(points) else (1, 1)
    return not fill((height, width), [points - start]).any()


def _masks(structures: dict[int, _Structure], grid: Grid, box: Box) -> Iterator[Mask]:
    for key, structure in structures.items():
        axis = structure.axis
        rest = [a for a in range(3) if a != axis]
        start = np.array([box[a].start for a in rest])
        size = (box[rest[0]].stop - box[rest[0]].start, box[rest[1]].stop - box[rest[1]].start)
        for k, drawings in structure.drawings.items():
            if box[axis].start <= k < box[axis].stop:
                at: list[slice | int] = [slice(None)] * 3
                at[axis] = k - box[axis].start
                parts = [drawing.mask(size, start) for drawing in drawings]
                yield key, tuple(at), np.logical_or.reduce(parts)
