"""RTSTRUCT as labels: the contours of each structure, filled on the grid of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import FileError, GeometryError
from truevox.io.dicom.contours import fill
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
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True)
class _Structure:
    """Polygons by slice: slice ``k`` along ``axis`` holds ``polygons[k]``, in indices of the other axes."""

    axis: int
    polygons: dict[int, list[NDArray[np.float64]]]


def open_rtstruct(path: Path, dataset: Any, like: Grid, choice: dict[str, str]) -> tuple[Header, Voxels]:
    """Open a structure set on the grid of an image.

    Closed contours are filled by the even-odd rule on voxel centres, all contours of a plane together;
    each slice takes the plane of contours nearest to it, within half a slice. Nothing is made up for
    slices without contours. Points and open contours are left out, with a note.

    Raises
    ------
    FileError
        If contours are damaged.
    GeometryError
        If contours do not lie in slices of the image.
    LabelError
        If a chosen structure does not exist, or (reading voxels) structures overlap.
    """
    names = chosen(structure_names(dataset), choice.pop("labels", None), path)
    several = choice.pop("overlap", None) == "channels"
    notes: list[str] = []
    structures = {}
    for key, contours in _contours(dataset, names, path, notes):
        structures[key] = _structure(contours, like, names[key], path, notes)
    if structures and not any(structure.polygons for structure in structures.values()):
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
    """Number to name of each structure."""
    rois = dataset.get("StructureSetROISequence") or ()
    return unique_names((int(roi.ROINumber), str(roi.get("ROIName") or "")) for roi in rois)


def referenced_series(dataset: Any) -> set[str]:
    """UIDs of the series that the contours were drawn on, as far as the file says."""
    found = set()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                found.add(str(series.get("SeriesInstanceUID")))
    return found


def _contours(
    dataset: Any, names: dict[int, str], path: Path, notes: list[str]
) -> Iterator[tuple[int, list[NDArray[np.float64]]]]:
    """Corners (n, 3), LPS mm, of the closed contours of each structure that has any."""
    for roi in dataset.get("ROIContourSequence") or ():
        key = int(roi.get("ReferencedROINumber") or 0)
        if key not in names:
            continue
        closed, others = [], 0
        for contour in roi.get("ContourSequence") or ():
            points = _points(contour, path)
            if contour.get("ContourGeometricType") in _CLOSED and len(points) > 2:
                closed.append(points)
            else:
                others += 1
        if others:
            notes.append(f"{names[key]}: {others} points or open contours were left out")
        if closed:
            yield key, closed


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
        raise FileError("The points of a contour can't be read.", file=path, got=str(error)) from error
    return points.reshape(-1, 3)


def _structure(
    contours: Sequence[NDArray[np.float64]], grid: Grid, name: str, path: Path, notes: list[str]
) -> _Structure:
    corners = [grid.to_index(points @ LPS_TO_RAS) for points in contours]
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
    nearest = np.rint(heights).astype(int)
    outside = (nearest < 0) | (nearest >= grid.shape[axis])
    polygons: dict[int, list[NDArray[np.float64]]] = {}
    doubled = 0
    for k in np.unique(nearest[~outside]).tolist():
        here = np.flatnonzero(nearest == k)
        closest = heights[here][np.abs(heights[here] - k).argmin()]
        kept = here[np.abs(heights[here] - closest) <= _FLAT]
        doubled += len(here) - len(kept)
        polygons[k] = [np.delete(corners[c], axis, axis=1) for c in kept]
    if outside.any():
        notes.append(f"{name}: {int(outside.sum())} contours lie outside of the image")
    if doubled:
        notes.append(f"{name}: {doubled} contours left out, as another plane lies nearer to their slice")
    off = np.abs(heights - nearest)[~outside]
    between = int((off > _FLAT).sum())
    if between:
        notes.append(f"{name}: {between} contours lie between slices (by up to {off.max():.2f} of the step)")
    empty = set(range(min(polygons), max(polygons) + 1)) - set(polygons) if polygons else set()
    if empty:
        notes.append(f"{name}: {len(empty)} slices between its contours have none, and stay empty")
    return _Structure(axis, polygons)


def _masks(structures: dict[int, _Structure], grid: Grid, box: Box) -> Iterator[Mask]:
    for key, structure in structures.items():
        axis = structure.axis
        rest = [a for a in range(3) if a != axis]
        start = np.array([box[a].start for a in rest])
        size = (box[rest[0]].stop - box[rest[0]].start, box[rest[1]].stop - box[rest[1]].start)
        for k, polygons in structure.polygons.items():
            if box[axis].start <= k < box[axis].stop:
                at: list[slice | int] = [slice(None)] * 3
                at[axis] = k - box[axis].start
                yield key, tuple(at), fill(size, [points - start for points in polygons])
