"""Tiny DICOM files, made with pydicom: what the tests of the DICOM readers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from truevox import io

STUDY, FRAME = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame of reference"])
AXIAL = (1, 0, 0, 0, 1, 0)
# All of one length, so that files are too: tests cut them.
_NUMBERS = count(10**9)


def oblique(angle: float = 0.3, turn: float = 0.2) -> tuple[float, ...]:
    """Row and column directions of no simple angle."""
    a, b = np.cos(angle), np.sin(angle)
    c, d = np.cos(turn), np.sin(turn)
    both = np.array([[a, b, 0], [-b * c, a * c, d]])
    return tuple(np.round(both, 12).ravel().tolist())


def dataset(pixels: np.ndarray, *, series: str = "1", uid: str | None = None, **tags: Any) -> FileDataset:
    """One image of a CT series; ``tags`` are added, or replace those here (None removes)."""
    out = FileDataset("", {}, preamble=bytes(128))
    out.file_meta = FileMetaDataset()
    out.SOPClassUID = tags.pop("SOPClassUID", CTImageStorage)
    out.SOPInstanceUID = UID(uid or f"1.2.826.0.1.3680043.8.498.{next(_NUMBERS)}")
    out.SeriesInstanceUID = generate_uid(entropy_srcs=["series", series])
    out.StudyInstanceUID, out.FrameOfReferenceUID = STUDY, FRAME
    out.file_meta.MediaStorageSOPClassUID = out.SOPClassUID
    out.file_meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out.Modality, out.SeriesNumber, out.PatientID, out.PatientName = "CT", series, "p07", "p07^"
    out.SeriesDescription = f"series {series}"
    out.StudyDate, out.StudyTime, out.AccessionNumber, out.StudyID = "20260101", "120000", "", "1"
    out.PatientBirthDate, out.PatientSex, out.ReferringPhysicianName = "", "", ""
    out.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    out.Rows, out.Columns = (
        pixels.shape[-3:-1] if pixels.shape[-1] == 3 and pixels.ndim > 2 else pixels.shape[-2:]
    )
    out.SamplesPerPixel = 3 if pixels.ndim > 2 and pixels.shape[-1] == 3 else 1
    out.PhotometricInterpretation = "RGB" if out.SamplesPerPixel == 3 else "MONOCHROME2"
    if out.SamplesPerPixel == 3:
        out.PlanarConfiguration = 0
    out.BitsAllocated = out.BitsStored = pixels.dtype.itemsize * 8
    out.HighBit = out.BitsStored - 1
    out.PixelRepresentation = int(pixels.dtype.kind == "i")
    out.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        if value is None:
            delattr(out, name) if name in out else None
        else:
            setattr(out, name, value)
    return out


def save(folder: Path, name: str, data: Dataset) -> Path:
    """Write one file."""
    folder.mkdir(parents=True, exist_ok=True)
    data.save_as(folder / name, enforce_file_format=True)
    return folder / name


def series(
    folder: Path,
    volume: np.ndarray,
    *,
    name: str = "1",
    origin: Sequence[float] = (-20.0, 30.0, -50.0),
    directions: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.5, 0.75),
    step: Sequence[float] | float = 2.5,
    at: Sequence[float] | None = None,
    change: Callable[[int, FileDataset], None] | None = None,
    **tags: Any,
) -> np.ndarray:
    """Write a volume (K, rows, columns) as slices whose names run against their order; the RAS affine.

    ``step`` is a length along the normal or a vector (LPS); ``at`` places slice k at ``at[k]`` steps.
    """
    x, y = np.array(directions, float).reshape(2, 3)
    way = np.cross(x, y) * step if np.ndim(step) == 0 else np.array(step, float)
    for k, pixels in enumerate(volume):
        place = np.array(origin, float) + way * (k if at is None else at[k])
        data = dataset(
            pixels,
            series=name,
            ImagePositionPatient=[f"{v:.9g}" for v in place],
            ImageOrientationPatient=[f"{v:.9g}" for v in directions],
            PixelSpacing=[f"{v:.10g}" for v in spacing],
            SliceThickness="2.5",
            InstanceNumber=(k * 7) % len(volume) + 1,
            **tags,
        )
        if change is not None:
            change(k, data)
        save(folder, f"{len(volume) - k:03d}-{name}.dcm", data)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([x * spacing[1], y * spacing[0], way], axis=1)
    affine[:3, 3] = origin
    return np.diag([-1, -1, 1, 1]) @ affine


def item(**tags: Any) -> Dataset:
    """One item of a sequence."""
    out = Dataset()
    for name, value in tags.items():
        setattr(out, name, value)
    return out


def multiframe(
    volume: np.ndarray,
    positions: Sequence[Sequence[float]],
    *,
    directions: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.5, 0.75),
    groups: Sequence[dict[str, Any]] | None = None,
    **tags: Any,
) -> FileDataset:
    """An enhanced MR image: frames (N, rows, columns) at positions; ``groups`` are added per frame."""
    data = dataset(volume, SOPClassUID=EnhancedMRImageStorage, Modality="MR", **tags)
    data.NumberOfFrames = len(volume)
    data.SharedFunctionalGroupsSequence = Items(
        [
            item(
                PlaneOrientationSequence=Items([item(ImageOrientationPatient=list(directions))]),
                PixelMeasuresSequence=Items([item(PixelSpacing=list(spacing), SliceThickness="2.5")]),
            )
        ]
    )
    frames = []
    for k, position in enumerate(positions):
        extra = {} if groups is None else groups[k]
        place = Items([item(ImagePositionPatient=list(position))])
        frames.append(item(PlanePositionSequence=place, **extra))
    data.PerFrameFunctionalGroupsSequence = Items(frames)
    return data


def frames(values: list[int]) -> np.ndarray:
    """Frames of 2 rows and 4 columns, each of one value."""
    return np.repeat(np.array(values, np.uint16), 8).reshape(-1, 2, 4)


def shown(file: Path) -> list[list[int]]:
    """The value of each slice of each channel, of an image whose slices are of one value."""
    array = io.read(file)[0]
    assert (array == array[:, :1, :1]).all()
    return array[:, 0, 0].tolist()
