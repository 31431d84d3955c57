"""Frames without groups of their own: nuclear medicine, doses, cine. Vectors say what each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from truevox.errors import FileError, GeometryError
from truevox.io.dicom.datasets import number, numbers

if TYPE_CHECKING:
    from truevox.io.dicom.planes import Plane

__all__ = ["frames_of"]

# What tells volumes (or projections) apart, PS3.3 C.8.4.8: none of them is ever an axis of slices.
_VOLUMES = (
    *("EnergyWindowVector", "DetectorVector", "PhaseVector", "RotationVector", "RRIntervalVector"),
    *("TimeSlotVector", "AngularViewVector", "TimeSliceVector"),
)
_SLICES = "SliceVector"
_RECONSTRUCTED = ("RECON TOMO", "RECON GATED TOMO")
_PLANAR = ("STATIC", "WHOLE BODY", "DYNAMIC", "GATED", "TOMO", "GATED TOMO")
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def frames_of(dataset: Any, first: Plane, count: int) -> Iterator[Plane]:
    """The frames of an image object: one, slices of a dose or tomogram, or what is at one place in turn.

    Raises
    ------
    FileError
        If a vector is missing to which the header points.
    GeometryError
        If the header does not say how far slices are apart, or where.
    """
    vectors = {
        name: np.array(found)
        for name in (*_VOLUMES, _SLICES)
        if (found := numbers(dataset, name, count, first.path)) is not None
    }
    if dataset.get("Modality") == "NM" or vectors:
        yield from _nuclear(dataset, first, count, vectors)
        return
    if count == 1:
        yield first
        return
    offsets = numbers(dataset, "GridFrameOffsetVector", count, first.path)
    if offsets is not None or dataset.get("Modality") == "RTDOSE":
        yield from _at(_guessed(first), _dose_planes(first, offsets))
        return
    times = _frame_times(dataset, first, count)
    if times is None and dataset.get("Modality") in ("CT", "PT"):
        yield from _in_file_order(dataset, first, count)
        return
    for k in range(count):
        marks = {"Frame": k} if times is None else {"FrameTime": times[k]}
        yield replace(first, frame=k, marks=marks)


def _in_file_order(dataset: Any, first: Plane, count: int) -> Iterator[Plane]:
    """Slices of which the file says no more than how far they are apart; PET also how many a volume has.

    That is no standard form, but written by some scanners and programs, and others read it like this, too.
    """
    slices = int(number(dataset, "NumberOfSlices", first.path) or count)
    if count % slices:
        raise GeometryError(
            "The frames are no whole number of volumes.",
            file=first.path,
            got=f"{count} frames, {slices} slices",
            remedy="export it again from its source",
        )
    step, first = _step(first, first.between)
    note = "frames are taken for slices in the order of the file, which does not say where they lie"
    first = _noted(_guessed(first), note)
    for k, plane in enumerate(_at(first, [k % slices * step for k in range(count)])):
        yield replace(plane, marks={**first.marks, "ImageIndex": k // slices + 1})


def _at(first: Plane, along: Sequence[float]) -> Iterator[Plane]:
    """Frames at distances along the normal from the first plane's position."""
    normal = _normal(first)
    for k, distance in enumerate(along):
        position = tuple((np.array(first.position) + distance * normal).tolist())
        yield replace(first, frame=k, position=position)


def _normal(plane: Plane) -> np.ndarray:
    x, y = np.reshape(plane.orientation or _AXIAL, (2, 3))
    return np.cross(x, y)


def _dose_planes(first: Plane, offsets: Sequence[float] | None) -> list[float]:
    """Distances along the normal, of offsets that are relative or coordinates (PS3.3 C.8.8.3.2)."""
    if offsets is None:
        raise GeometryError(
            "The header does not say how far the frames of the dose are apart.",
            file=first.path,
            got="no GridFrameOffsetVector",
            remedy="export the dose again from its source",
        )
    relative = [offset - offsets[0] for offset in offsets]
    if offsets[0] == 0:
        return relative
    normal = _normal(first)
    if first.position is None or abs(offsets[0] - first.position[2]) > 0.01 or abs(normal[2]) < 1 - 1e-3:
        raise GeometryError(
            "The header's GridFrameOffsetVector contradicts its ImagePositionPatient.",
            file=first.path,
            got=f"{offsets[0]:g} for the first frame, which lies at {first.position}",
            expected="0, or for axial frames their third coordinate",
            remedy="export the dose again from its source",
        )
    return [offset * float(np.sign(normal[2])) for offset in relative]


def _frame_times(dataset: Any, first: Plane, count: int) -> list[float] | None:
    """Seconds of each frame of a cine loop."""
    steps = numbers(dataset, "FrameTimeVector", count, first.path)
    if steps is not None:
        return (np.cumsum((0.0, *steps[1:])) / 1000).tolist()
    step = number(dataset, "FrameTime", first.path)
    return None if not step else [k * step / 1000 for k in range(count)]


def _nuclear(dataset: Any, first: Plane, count: int, vectors: dict[str, np.ndarray]) -> Iterator[Plane]:
    """Nuclear medicine: slices of tomograms lie behind each other, all else is at one place."""
    vectors |= _only_vector(dataset, first, count, vectors)
    told = [name for name in _VOLUMES if name in vectors and np.ptp(vectors[name]) > 0]
    kind = (list(dataset.get("ImageType") or ()) + [""] * 3)[2]
    between = number(dataset, "SpacingBetweenSlices", first.path)
    sliced = _SLICES in vectors or kind in _RECONSTRUCTED
    sliced = sliced or bool(between and not told and kind not in _PLANAR)
    first = _placed(dataset, first, vectors, told, sliced)
    # Also of vectors that are the same here: other files of the series may have other values.
    known = [name for name in _VOLUMES if name in vectors]
    values = [tuple(int(vectors[name][k]) for name in known) for k in range(count)]
    along = [0.0] * count
    if sliced and count > 1:
        slices = vectors.get(_SLICES, _in_order(values))
        step, first = _step(first, between)
        along = [(int(n) - 1) * step for n in slices]
    names = [name.removesuffix("Vector") for name in known]
    for k, plane in enumerate(_at(first, along) if any(along) else [first] * count):
        marks = dict(zip(names, values[k], strict=True))
        alone = not (told or sliced) and count > 1
        yield replace(plane, frame=k, marks={"Frame": k} if alone else {**first.marks, **marks})


def _in_order(values: Sequence[tuple[int, ...]]) -> list[int]:
    """Numbers of slices that follow each other in each volume, where no vector says more."""
    seen: dict[tuple[int, ...], int] = {}
    slices = []
    for value in values:
        seen[value] = seen.get(value, 0) + 1
        slices.append(seen[value])
    return slices


def _only_vector(dataset: Any, first: Plane, count: int, vectors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The vector that a header points to and lacks: if it is the only one, frames are in its order.

    Raises
    ------
    FileError
        If it is one of several.
    """
    from pydicom.datadict import keyword_for_tag

    pointers = dataset.get("FrameIncrementPointer") or ()
    names = [keyword_for_tag(tag) for tag in ([pointers] if isinstance(pointers, int) else pointers)]
    missing = [name for name in names if name in _VOLUMES and name not in vectors]
    if not missing or count == 1:
        return {}
    if len(names) > 1:
        raise FileError(
            f"The header says that {', '.join(names)} tell frames apart, and lacks {', '.join(missing)}.",
            file=first.path,
            remedy="export it again from its source",
        )
    return {missing[0]: np.arange(1, count + 1)}


def _step(first: Plane, between: float | None) -> tuple[float, Plane]:
    """From slice to slice along the normal, and the plane with a note where that is a guess."""
    if between:
        # The sign says on which side of the first slice the others lie (PS3.3 C.8.4.15).
        return between, first
    if first.thickness is None:
        raise GeometryError(
            "The header does not say how far slices are apart.",
            file=first.path,
            got="no SpacingBetweenSlices and no SliceThickness",
            remedy="export it again from its source",
        )
    return first.thickness, _noted(first, "no SpacingBetweenSlices: slices are taken to touch")


def _placed(
    dataset: Any, first: Plane, vectors: Mapping[str, Any], told: Sequence[str], sliced: bool
) -> Plane:
    """The first plane where its detector says that it lies, if it says so."""
    detectors = dataset.get("DetectorInformationSequence") or ()
    if first.position is None and detectors:
        at = int(vectors["DetectorVector"][0]) - 1 if "DetectorVector" in vectors else 0
        detector = detectors[at if 0 <= at < len(detectors) else 0]
        first = replace(
            first,
            position=numbers(detector, "ImagePositionPatient", 3, first.path),
            orientation=numbers(detector, "ImageOrientationPatient", 6, first.path),
        )
    if sliced:
        return _guessed(first)
    if {"DetectorVector", "AngularViewVector", "RotationVector"} & set(told):
        seen = "projections from several sides: each is a channel, and none has a place"
        return _noted(replace(first, position=None, orientation=None), seen)
    return first


def _guessed(first: Plane) -> Plane:
    """A plane of a volume, axial where its header does not say how it lies."""
    if first.position is not None and first.orientation is not None:
        return first
    placed = replace(
        first, position=first.position or (0.0, 0.0, 0.0), orientation=first.orientation or _AXIAL
    )
    return _noted(placed, "no position in the patient: orientation and position are guesses")


def _noted(plane: Plane, note: str) -> Plane:
    return replace(plane, notes=(*plane.notes, note))
