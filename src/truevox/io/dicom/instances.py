"""Instances: what a series needs to know of each of its files, without the file's other tags."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truevox.errors import FileError
from truevox.io.dicom.datasets import (
    DEFLATED,
    DIRECTORY,
    extent,
    is_dicom,
    no_dicom,
    number,
    parsing,
    read_tags,
)
from truevox.io.dicom.planes import SPACINGS, Plane, planes_of
from truevox.io.guard import READABLE

__all__ = [
    "LABEL_OBJECTS",
    "Instance",
    "Stored",
    "describe",
    "dicom_files",
    "expect_whole",
    "read_instance",
    "stored_of",
]

LABEL_OBJECTS = ("SEG", "RTSTRUCT")
"""Modalities that are labels: read by modules of their own."""
_SUFFIXES = (".dcm", ".dicom", ".ima")
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
# Compressed frames of more than 1000:1 (but for the first 256 MiB) are taken for damage or a bomb.
_DENSEST = 1000
_SPARE = 2**28
_ITEM = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """How an instance's voxels are stored."""

    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    syntax: str
    floating: bool

    def bounds(self) -> tuple[int, int]:
        """Smallest and largest integer that can be stored."""
        return (
            (-(1 << self.stored - 1), (1 << self.stored - 1) - 1)
            if self.signed
            else (0, (1 << self.stored) - 1)
        )


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM object. Without planes it is no image (a report, a structure set, ...).

    ``expected`` is how many images its series has, as far as the file says (PET); else 0.
    """

    path: Path
    uid: str
    series: str
    number: int | None
    description: str
    modality: str
    frame_of_reference: str
    stored: Stored | None = None
    planes: tuple[Plane, ...] = ()
    notes: tuple[str, ...] = ()
    expected: int = 0


def dicom_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """All DICOM files below a folder, and all other files, each in order of name.

    Raises
    ------
    FileError
        If a file can't be read, or one that is named like a DICOM file is none: a slice of the series.
    """
    found: list[Path] = []
    others: list[Path] = []
    try:
        for base, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    file = Path(base, name)
                    (found if is_dicom(file) else others).append(file)
    except OSError as error:
        raise FileError(
            f"The folder can't be read: {error.strerror}.", file=error.filename or folder, remedy=READABLE
        ) from error
    bare = any(not file.suffix for file in found)
    for file in others if found else ():
        if file.suffix.lower() in _SUFFIXES or (bare and not file.suffix and not file.stat().st_size):
            raise no_dicom(file)
    return found, others


def read_instance(path: Path) -> Instance | None:
    """What a file says about itself; None for a DICOMDIR.

    Raises
    ------
    FileError
        If it is no DICOM, damaged, or truncated.
    GeometryError
        If it holds positions or spacings that are not finite.
    """
    dataset, rest = read_tags(path)
    with parsing(path):
        return describe(path, dataset, rest)


def describe(path: Path, dataset: Any, rest: int) -> Instance | None:
    """As :func:`read_instance`, for tags that are read already; ``rest`` bytes follow them."""
    if dataset.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
        return None
    modality = str(dataset.get("Modality") or "")
    series_number = number(dataset, "SeriesNumber", path)
    common = (
        path,
        str(dataset.get("SOPInstanceUID") or ""),
        str(dataset.get("SeriesInstanceUID")),
        None if series_number is None else int(series_number),
        str(dataset.get("SeriesDescription") or ""),
        modality,
        str(dataset.get("FrameOfReferenceUID") or ""),
    )
    if dataset.get("Rows") is None or modality in LABEL_OBJECTS:
        return Instance(*common)
    stored = stored_of(dataset, path)
    expect_whole(dataset, stored, path, rest)
    planes = planes_of(dataset, path)
    return Instance(*common, stored, planes, _notes(dataset, path), _expected(dataset, modality, path))


def stored_of(dataset: Any, path: Path) -> Stored:
    """How a dataset's voxels are stored.

    Raises
    ------
    FileError
        If there can be no such voxels.
    """

    def whole(keyword: str, default: int) -> int:
        found = number(dataset, keyword, path)
        return default if found is None else int(found)

    allocated = whole("BitsAllocated", 16)
    kept = whole("BitsStored", allocated)
    stored = Stored(
        samples=whole("SamplesPerPixel", 1),
        allocated=allocated,
        stored=kept,
        signed=bool(whole("PixelRepresentation", 0)),
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
        syntax=str(dataset.file_meta.get("TransferSyntaxUID") or _NATIVE[0]),
        # Float pixel data is the only kind that does not say how many of its bits are used.
        floating=allocated in (32, 64) and dataset.get("BitsStored") is None,
    )
    fits = 0 < kept <= allocated and whole("HighBit", kept - 1) == kept - 1
    if stored.samples not in (1, 3) or stored.allocated not in (1, 8, 16, 32, 64) or not fits:
        raise FileError(
            "The header describes voxels that can't be.",
            file=path,
            got=f"{stored.samples} of {allocated} bits, {kept} used up to bit {whole('HighBit', kept - 1)}",
            expected="1 or 3 samples of 1, 8, 16, 32 or 64 bits",
            remedy="export it again from its source",
        )
    return stored


def expect_whole(dataset: Any, stored: Stored, path: Path, rest: int) -> None:
    """Refuse a file that can't hold the voxels that its header declares, before memory is taken for them.

    Raises
    ------
    FileError
        If the ``rest`` of the file is too small.
    """
    frames, rows, columns = extent(dataset, path)
    declared = -(-frames * rows * columns * stored.samples * stored.allocated // 8)
    if stored.syntax in (*_NATIVE, DEFLATED):
        # Tag and length come first, and but for the implicit syntax the type.
        start = 8 if stored.syntax == _NATIVE[0] else 12
        least = start + (declared * 2 // 3 if stored.photometric.endswith("422") else declared)
    else:
        least = max((declared - _SPARE) // _DENSEST, frames * _ITEM)
    if rest < least:
        raise FileError(
            "The DICOM file is truncated or damaged: it is too small for the voxels that it declares.",
            file=path,
            got=f"{rest} bytes",
            expected=f"{declared} bytes for {frames} frame{'s' * (frames > 1)} of {columns}x{rows}",
            remedy="copy or export it again from its source",
        )


def _expected(dataset: Any, modality: str, path: Path) -> int:
    """How many images a PET series has: its slices, times its time slices or gates."""
    if modality != "PT":
        return 0
    names = ("NumberOfSlices", "NumberOfTimeSlices", "NumberOfRRIntervals", "NumberOfTimeSlots")
    counts = [number(dataset, name, path) for name in names]
    return int(math.prod(count or 1 for count in counts)) if counts[0] else 0


def _notes(dataset: Any, path: Path) -> tuple[str, ...]:
    notes = []
    padding = number(dataset, "PixelPaddingValue", path)
    if padding is not None:
        notes.append(
            f"voxels outside of the scan are marked by the stored value {padding:g} (PixelPaddingValue)"
        )
    spacings = [name for name in SPACINGS if dataset.get(name) is not None]
    if spacings and "PixelSpacing" not in spacings:
        notes.append("the spacing is that of the detector, not of the patient")
    return tuple(notes)
