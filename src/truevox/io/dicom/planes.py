"""Planes: where each frame of a DICOM object lies, and what could tell frames at one place apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from truevox.errors import FileError, GeometryError

__all__ = ["Plane", "extent", "number", "numbers", "planes_of"]

# What may differ between frames at one place. Classic objects hold it at the top under this name,
# enhanced ones in a functional group.
_MARKS = {
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
}
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame: its file, its place in the patient (LPS+, mm, as DICOM has it) and its scaling.

    ``spacing`` is between rows, then between columns; ``between`` is SpacingBetweenSlices.
    """

    path: Path
    frame: int
    shape: tuple[int, int]
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    thickness: float | None = None
    between: float | None = None
    scaling: tuple[float, float] = (1.0, 0.0)
    marks: Mapping[str, Any] = field(default_factory=dict)


def planes_of(dataset: Any, path: Path) -> tuple[Plane, ...]:
    """The frames of an image object (a pydicom dataset), in the order of its pixel data.

    Raises
    ------
    FileError
        If the header's numbers can't be read, or contradict each other.
    GeometryError
        If a position or spacing is not finite, or a spacing not positive.
    """
    frames, rows, columns = extent(dataset, path)
    shape = (rows, columns)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        first = _classic(dataset, shape, path)
        return (first,) if frames == 1 else tuple(_frames(dataset, first, frames))
    if len(groups) != frames:
        raise FileError(
            "The file describes another number of frames than it has.",
            file=path,
            got=f"{len(groups)} functional groups",
            expected=f"{frames} frames",
        )
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    return tuple(_enhanced(group, shared[0], k, shape, path) for k, group in enumerate(groups))


def extent(dataset: Any, path: Path) -> tuple[int, int, int]:
    """Frames, rows and columns, each at least 1.

    Raises
    ------
    FileError
        If there are none.
    """
    frames = 1 if dataset.get("NumberOfFrames") is None else _count(dataset, "NumberOfFrames", path)
    return frames, _count(dataset, "Rows", path), _count(dataset, "Columns", path)


def number(dataset: Any, keyword: str, path: Path) -> float | None:
    """One finite number of a header; None where it is missing or empty."""
    found = numbers(dataset, keyword, 1, path)
    return None if found is None else found[0]


def numbers(dataset: Any, keyword: str, count: int, path: Path) -> tuple[float, ...] | None:
    """``count`` finite numbers of a header; None where they are missing or empty.

    Raises
    ------
    FileError
        If the tag holds no numbers, or another count.
    GeometryError
        If they are not finite.
    """
    try:
        raw = dataset.get(keyword)
        if raw is None or raw == "":
            return None
        values = (
            [float(v) for v in raw] if hasattr(raw, "__iter__") and not isinstance(raw, str) else [float(raw)]
        )
    except (ValueError, TypeError, OverflowError, NotImplementedError, AttributeError) as error:
        raise FileError(f"The header's {keyword} can't be read.", file=path, got=str(error)) from error
    if not values:
        return None
    if len(values) != count:
        raise FileError(f"The header's {keyword} has {len(values)} values, not {count}.", file=path)
    if not all(map(math.isfinite, values)):
        raise GeometryError(f"The header's {keyword} is not finite.", file=path, got=values)
    return tuple(values)


def _count(dataset: Any, keyword: str, path: Path) -> int:
    size = number(dataset, keyword, path)
    if size is None or size < 1 or size != int(size):
        raise FileError(f"The header's {keyword} makes no image.", file=path, got=size)
    return int(size)


def _positive(dataset: Any, keyword: str, path: Path) -> float | None:
    """A length; 0, which some programs write for unknown, counts as missing, and the sign is dropped."""
    return abs(number(dataset, keyword, path) or 0.0) or None


def _spacing(dataset: Any, path: Path) -> tuple[float, ...] | None:
    for keyword in _SPACINGS:
        found = numbers(dataset, keyword, 2, path)
        if found is not None:
            if min(found) <= 0:
                raise GeometryError(f"The header's {keyword} is not positive.", file=path, got=found)
            return found
    return None


def _scaling(dataset: Any, path: Path) -> tuple[float, float]:
    slope = number(dataset, "RescaleSlope", path)
    # A slope of 0 would erase the image; it is what some programs write for "none".
    return (slope or 1.0, number(dataset, "RescaleIntercept", path) or 0.0)


def _seconds(clock: Any) -> float | None:
    """A DICOM time (HHMMSS.FFFFFF) or date and time as seconds; None where it is none."""
    whole, _, fraction = str(clock or "").partition(".")
    try:
        if len(whole) == 14:
            start = datetime.strptime(whole, "%Y%m%d%H%M%S")
            seconds = start.toordinal() * 86400.0 + start.hour * 3600 + start.minute * 60 + start.second
        else:
            start = datetime.strptime(whole, "%H%M%S")
            seconds = start.hour * 3600.0 + start.minute * 60 + start.second
    except ValueError:
        return None
    # A date and time may end on its offset from UTC.
    digits = fraction.replace("+", "-").partition("-")[0]
    return seconds + (float(f"0.{digits}") if digits.isdigit() else 0.0)


def _kept(marks: dict[str, Any]) -> dict[str, Any]:
    return {name: mark for name, mark in marks.items() if mark not in (None, ())}


def _classic(dataset: Any, shape: tuple[int, int], path: Path) -> Plane:
    marks: dict[str, Any] = {name: number(dataset, name, path) for name in _MARKS}
    marks["DiffusionGradientOrientation"] = numbers(dataset, "DiffusionGradientOrientation", 3, path)
    marks["ImageType"] = tuple(dataset.get("ImageType") or ())
    for name in ("AcquisitionDateTime", "AcquisitionTime", "ContentTime"):
        marks[name] = _seconds(dataset.get(name))
    return Plane(
        path,
        0,
        shape,
        numbers(dataset, "ImagePositionPatient", 3, path),
        numbers(dataset, "ImageOrientationPatient", 6, path),
        _spacing(dataset, path),
        _positive(dataset, "SliceThickness", path),
        _positive(dataset, "SpacingBetweenSlices", path),
        _scaling(dataset, path),
        _kept(marks),
    )


def _enhanced(group: Any, shared: Any, k: int, shape: tuple[int, int], path: Path) -> Plane:
    def within(sequence: str) -> Any:
        found = group.get(sequence) or shared.get(sequence)
        return found[0] if found else {}

    measures, content = within("PixelMeasuresSequence"), within("FrameContentSequence")
    marks: dict[str, Any] = {
        name: number(within(sequence), keyword, path) for name, (sequence, keyword) in _MARKS.items()
    }
    for direction in (within("MRDiffusionSequence").get("DiffusionGradientDirectionSequence") or ())[:1]:
        marks["DiffusionGradientOrientation"] = numbers(direction, "DiffusionGradientOrientation", 3, path)
    marks["TemporalPositionTimeOffset"] = number(
        within("TemporalPositionSequence"), "TemporalPositionTimeOffset", path
    )
    marks["AcquisitionDateTime"] = _seconds(content.get("FrameAcquisitionDateTime"))
    return Plane(
        path,
        k,
        shape,
        numbers(within("PlanePositionSequence"), "ImagePositionPatient", 3, path),
        numbers(within("PlaneOrientationSequence"), "ImageOrientationPatient", 6, path),
        _spacing(measures, path),
        _positive(measures, "SliceThickness", path),
        _positive(measures, "SpacingBetweenSlices", path),
        _scaling(within("PixelValueTransformationSequence"), path),
        _kept(marks),
    )


def _frames(dataset: Any, first: Plane, count: int) -> Iterator[Plane]:
    """Frames without groups of their own: planes of a dose or of a tomogram, else points in time."""
    offsets = numbers(dataset, "GridFrameOffsetVector", count, first.path)
    dose = number(dataset, "DoseGridScaling", first.path)
    if offsets is None and first.between and first.orientation and dataset.get("Modality") == "NM":
        offsets = tuple(k * first.between for k in range(count))
    times = number(dataset, "FrameTime", first.path)
    for k in range(count):
        plane = replace(first, frame=k, scaling=(dose, 0.0) if dose else first.scaling)
        if offsets is not None and first.position and first.orientation:
            x, y = first.orientation[:3], first.orientation[3:]
            normal = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
            # Offsets are relative, or, where the first is not 0, coordinates of the planes themselves.
            along = offsets[k] - offsets[0]
            position = tuple(p + along * n for p, n in zip(first.position, normal, strict=True))
            yield replace(plane, position=position)
        else:
            yield replace(plane, marks={"Frame": k} if times is None else {"FrameTime": k * times / 1000})
