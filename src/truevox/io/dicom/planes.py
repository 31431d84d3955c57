"""Planes: where each frame of a DICOM object lies, and what could tell frames at one place apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from truevox.errors import FileError, GeometryError
from truevox.io.dicom.datasets import AGAIN, extent, number, numbers
from truevox.io.dicom.vectors import frames_of
from truevox.space import Unit

__all__ = ["SPACINGS", "Plane", "number", "planes_of"]

# What may differ between frames at one place. Classic objects hold it at the top under this name,
# enhanced ones in a functional group.
_MARKS = {
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
}
_FRAME_TYPES = (
    *("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"),
    *("MRSpectroscopyFrameTypeSequence", "XRay3DFrameTypeSequence", "USImageDescriptionSequence"),
)
# Dimensions of a multi-frame object that say where a frame lies: all others tell volumes apart.
_PLACES = (
    *("ImagePositionPatient", "ImagePositionVolume", "InStackPositionNumber", "SliceLocation"),
    *("ReferencedSegmentNumber", "PlanePositionSequence", "ImageOrientationPatient", "FrameNumber"),
)
# Of ultrasound's regions: an image of tissue, lengths in centimetres.
_TISSUE, _CENTIMETRES = 1, 3
NO_SPACING = "no pixel spacing: lengths are in pixels (px)"
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "ImagePlanePixelSpacing")
"""Tags of the spacing in a plane: of the patient, else of the detector."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame: its file, its place in the patient (LPS+, mm, as DICOM has it) and its scaling.

    ``spacing`` is between rows, then between columns, and a ratio where ``unit`` is px; ``between`` is
    SpacingBetweenSlices. ``marks`` are
    what may tell it from other frames at its place, ``units`` what its values are measured in, where the
    file says so, ``table`` the first stored value of a modality look-up table and its values.
    """

    path: Path
    frame: int
    shape: tuple[int, int]
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] = (1.0, 1.0)
    thickness: float | None = None
    between: float | None = None
    scaling: tuple[float, float] = (1.0, 0.0)
    marks: Mapping[str, Any] = field(default_factory=dict)
    units: str = ""
    table: tuple[int, tuple[int, ...]] | None = None
    notes: tuple[str, ...] = ()
    unit: Unit = "mm"


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
        return tuple(frames_of(dataset, _classic(dataset, shape, path), frames))
    if len(groups) != frames:
        raise FileError(
            "The file describes another number of frames than it has.",
            file=path,
            got=f"{len(groups)} functional groups",
            expected=f"{frames} frames",
            remedy=AGAIN,
        )
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    dimensions = _dimensions(dataset)
    clocks = _clocks(dataset)
    return tuple(
        _enhanced(group, shared[0], dataset, k, shape, path, dimensions, clocks)
        for k, group in enumerate(groups)
    )


def _positive(dataset: Any, keyword: str, path: Path) -> float | None:
    """A length; 0, which some programs write for unknown, counts as missing, and the sign is dropped."""
    return abs(number(dataset, keyword, path) or 0.0) or None


def _spacing(dataset: Any, path: Path) -> tuple[float, ...] | None:
    for keyword in SPACINGS:
        found = numbers(dataset, keyword, 2, path)
        if found is not None:
            if min(found) <= 0:
                raise GeometryError(
                    f"The header's {keyword} is not positive.", file=path, got=found, remedy=AGAIN
                )
            return found
    return None


def _other_spacing(dataset: Any, path: Path) -> tuple[tuple[float, ...], Unit, tuple[str, ...]]:
    """The spacing of an image that has none as such: ultrasound's regions, or the shape of its pixels."""
    steps = {
        (number(region, "PhysicalDeltaY", path), number(region, "PhysicalDeltaX", path))
        for region in dataset.get("SequenceOfUltrasoundRegions") or ()
        if region.get("RegionSpatialFormat") == _TISSUE
        and {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")} == {_CENTIMETRES}
    }
    if len(steps) == 1 and all(step := next(iter(steps))):
        # They point right and down, or left and up: lengths alone count.
        found = tuple(abs(s or 0.0) * 10 for s in step)
        return found, "mm", ("the spacing is that of its ultrasound region",)
    aspect = numbers(dataset, "PixelAspectRatio", 2, path)
    if aspect is not None and min(aspect) > 0 and aspect[0] != aspect[1]:
        tall = aspect[0] / aspect[1]
        return (tall, 1.0), "px", (f"{NO_SPACING}; they are {tall:g} times as high as wide",)
    return (1.0, 1.0), "px", (NO_SPACING,)


def _known_spacing(
    measures: Any, dataset: Any, path: Path
) -> tuple[tuple[float, ...], Unit, tuple[str, ...]]:
    found = _spacing(measures, path)
    return _other_spacing(dataset, path) if found is None else (found, "mm", ())


def _scaling(dataset: Any, path: Path) -> tuple[float, float]:
    dose = number(dataset, "DoseGridScaling", path)
    if dose:
        return dose, 0.0
    slope = number(dataset, "RescaleSlope", path)
    # A slope of 0 would erase the image; it is what some programs write for "none".
    return (slope or 1.0, number(dataset, "RescaleIntercept", path) or 0.0)


def _table(dataset: Any, path: Path) -> tuple[int, tuple[int, ...]] | None:
    """The modality look-up table, PS3.3 C.11.1.1."""
    found = dataset.get("ModalityLUTSequence")
    if not found:
        return None
    descriptor = numbers(found[0], "LUTDescriptor", 3, path)
    data = found[0].get("LUTData")
    if descriptor is None or data is None:
        raise FileError("The header's modality look-up table is not whole.", file=path, remedy=AGAIN)
    count, first, bits = (int(n) for n in descriptor)
    # A count of 0 stands for 65536, which does not fit into its 16 bits.
    count = count or 65536
    # 8 bits may be packed by two into a word.
    kind = np.uint8 if isinstance(data, bytes) and bits <= 8 and len(data) < 2 * count else np.dtype("<u2")
    values = np.frombuffer(data, kind) if isinstance(data, bytes) else np.array(data, np.uint16)
    if len(values) < count:
        raise FileError(
            "The header's modality look-up table is not whole.",
            file=path,
            got=f"{len(values)} values",
            expected=count,
            remedy="export it again from its source",
        )
    return first, tuple(values[:count].tolist())


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


def _clocks(dataset: Any) -> dict[str, float | None]:
    """Seconds by the clocks of a file, on from its dates where it has them: scans run over midnight."""
    found = {"AcquisitionDateTime": _seconds(dataset.get("AcquisitionDateTime"))}
    for name in ("Acquisition", "Content"):
        date, time = (str(dataset.get(f"{name}{what}") or "") for what in ("Date", "Time"))
        whole = time.partition(".")[0]
        if len(whole) in (2, 4):
            time = time.replace(whole, whole.ljust(6, "0"), 1)
        dated = _seconds(date + time) if len(date) == 8 else None
        found[f"{name}Time"] = _seconds(time) if dated is None else dated
    return found


def _kept(marks: dict[str, Any]) -> dict[str, Any]:
    """The marks that there are. A direction belongs to a b-value: without weighting there is none."""
    if marks.get("DiffusionBValue") == 0:
        marks["DiffusionGradientOrientation"] = (0.0, 0.0, 0.0)
    elif marks.get("DiffusionBValue") is not None and marks.get("DiffusionGradientOrientation") is None:
        # Averages of all directions; the empty direction can be compared with others.
        return _kept(marks | {"DiffusionGradientOrientation": ()})
    return {name: mark for name, mark in marks.items() if mark is not None}


def _units(dataset: Any) -> str:
    return next(
        (str(found) for name in ("Units", "DoseUnits", "RescaleType") if (found := dataset.get(name))), ""
    )


def _pet_volume(dataset: Any, path: Path) -> int | None:
    """Which volume of a PET series an image is part of: ImageIndex counts slice by slice through all."""
    slices, index = number(dataset, "NumberOfSlices", path), number(dataset, "ImageIndex", path)
    return None if not slices or not index else int((index - 1) // slices) + 1


def _classic(dataset: Any, shape: tuple[int, int], path: Path) -> Plane:
    marks: dict[str, Any] = {name: number(dataset, name, path) for name in _MARKS}
    marks["DiffusionGradientOrientation"] = numbers(dataset, "DiffusionGradientOrientation", 3, path)
    marks["ImageType"] = tuple(dataset.get("ImageType") or ()) or None
    if dataset.get("Modality") == "PT":
        marks["FrameReferenceTime"] = number(dataset, "FrameReferenceTime", path)
        marks["ImageIndex"] = _pet_volume(dataset, path)
    marks |= _clocks(dataset)
    spacing, unit, notes = _known_spacing(dataset, dataset, path)
    return Plane(
        path,
        0,
        shape,
        numbers(dataset, "ImagePositionPatient", 3, path),
        numbers(dataset, "ImageOrientationPatient", 6, path),
        spacing,
        _positive(dataset, "SliceThickness", path),
        _positive(dataset, "SpacingBetweenSlices", path),
        _scaling(dataset, path),
        _kept(marks),
        _units(dataset),
        _table(dataset, path),
        notes,
        unit,
    )


def _dimensions(dataset: Any) -> list[str | None]:
    """Names of the dimensions by which a multi-frame object is indexed; None for those of place."""
    from pydicom.datadict import keyword_for_tag

    names: list[str | None] = []
    for k, dimension in enumerate(dataset.get("DimensionIndexSequence") or (), start=1):
        pointer = dimension.get("DimensionIndexPointer")
        keyword = "" if pointer is None else keyword_for_tag(pointer)
        label = keyword or str(dimension.get("DimensionDescriptionLabel") or f"dimension {k}")
        names.append(None if keyword in _PLACES else f"{label} (index)")
    return names


def _enhanced(
    group: Any,
    shared: Any,
    top: Any,
    k: int,
    shape: tuple[int, int],
    path: Path,
    dimensions: Sequence[str | None],
    clocks: Mapping[str, Any],
) -> Plane:
    def within(sequence: str) -> Any:
        # Some programs leave what is the same for all frames at the top, as in classic objects.
        found = group.get(sequence) or shared.get(sequence)
        return found[0] if found else top

    measures, content = within("PixelMeasuresSequence"), within("FrameContentSequence")
    marks: dict[str, Any] = dict(clocks)
    marks |= {name: number(within(sequence), keyword, path) for name, (sequence, keyword) in _MARKS.items()}
    for direction in (within("MRDiffusionSequence").get("DiffusionGradientDirectionSequence") or ())[:1]:
        marks["DiffusionGradientOrientation"] = numbers(direction, "DiffusionGradientOrientation", 3, path)
    marks["TemporalPositionTimeOffset"] = number(
        within("TemporalPositionSequence"), "TemporalPositionTimeOffset", path
    )
    kinds = (within(sequence).get("FrameType") for sequence in _FRAME_TYPES)
    marks["ImageType"] = next((tuple(kind) for kind in kinds if kind), None)
    if (clock := _seconds(content.get("FrameAcquisitionDateTime"))) is not None:
        marks["AcquisitionDateTime"] = clock
    index = content.get("DimensionIndexValues")
    index = [index] if isinstance(index, int) else list(index or ())
    if len(index) == len(dimensions):
        marks |= {name: int(n) for name, n in zip(dimensions, index, strict=True) if name is not None}
    scaling = within("PixelValueTransformationSequence")
    # Of 3D ultrasound: in the frame of the volume itself, not of the patient.
    own = numbers(within("PlanePositionVolumeSequence"), "ImagePositionVolume", 3, path)
    guess = () if own is None else ("positions in the ultrasound volume's own frame: orientation is a guess",)
    spacing, unit, notes = _known_spacing(measures, top, path)
    return Plane(
        path,
        k,
        shape,
        own or numbers(within("PlanePositionSequence"), "ImagePositionPatient", 3, path),
        numbers(within("PlaneOrientationVolumeSequence"), "ImageOrientationVolume", 6, path)
        or numbers(within("PlaneOrientationSequence"), "ImageOrientationPatient", 6, path),
        spacing,
        _positive(measures, "SliceThickness", path),
        _positive(measures, "SpacingBetweenSlices", path),
        _scaling(scaling, path),
        _kept(marks),
        _units(scaling),
        None,
        (*guess, *notes),
        unit,
    )
