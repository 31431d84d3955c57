"""DICOM SEG from labels and probabilities, through highdicom: frames refer to the slices of their series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from truevox import sampling
from truevox.errors import CaseError, FileError, GeometryError, LabelError
from truevox.files import atomic_path, software
from truevox.io.access import as_labels
from truevox.io.dicom.datasets import need, quiet, read_tags
from truevox.io.dicom.reader import series_named
from truevox.io.dicom.stack import stack
from truevox.io.header import Header
from truevox.io.registry import bare, writer
from truevox.labels import Labels
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["Code", "save_seg", "write_seg"]

Code = tuple[str, str, str]
"""A coded concept: value, scheme, meaning; e.g. ``("10200004", "SCT", "Liver")``."""
Source = str | Path | Sequence[str | Path]

_TISSUE: Code = ("85756007", "SCT", "Tissue")
_AI: Code = ("123109", "DCM", "Artificial Intelligence")
# What the standard wants in every file, empty if unknown; many de-identified series lack some of it.
_REQUIRED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_SLACK = 1e-3


def save_seg(
    image: Image,
    path: str | Path,
    source: Source,
    *,
    labels: Labels | None = None,
    codes: Mapping[str, tuple[Code, Code]] | None = None,
    algorithm: str = "TrueVox",
    algorithm_type: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] = "AUTOMATIC",
    description: str = "Segmentation",
    series_number: int = 300,
) -> Labels:
    """Write labels or probabilities as DICOM SEG that refers to the series they belong to.

    Labels become a binary segmentation, one segment per class; probabilities a fractional one (in
    steps of 1/255). Frames without foreground are left out, as readers expect.

    Parameters
    ----------
    image : Image
        Of kind label or probability, on the grid of the source; the order of its axes does not matter.
    path : path
        File to write, atomically.
    source : path or sequence of paths
        The series: its folder (``"study?series=3"``), its files, or one multi-frame file.
    labels : Labels, optional
        Names of the segments; the image's own if left out.
    codes : mapping of name to (category, type), optional
        What each segment is, as coded concepts; "Tissue" if left out.
    algorithm, algorithm_type : str
        Who drew it.
    description : str
        SeriesDescription.
    series_number : int
        SeriesNumber of the new series.

    Returns
    -------
    Labels
        The table as written: the standard numbers segments from 1, in the order of the names.

    Raises
    ------
    GeometryError
        If the image is not on the grid of the source.
    LabelError
        If the image holds no labels or probabilities, or values that the table does not declare.
    CaseError, FileError
        If the source is no single series, or the file can't be written.

    Examples
    --------
    >>> import tempfile, torch, truevox as tv
    >>> save_seg(tv.Image(torch.zeros(1, 4, 5, 6), tv.Grid((4, 5, 6))), "mask.dcm", "ct")
    Traceback (most recent call last):
    truevox.errors.LabelError: A DICOM segmentation holds labels or probabilities.
      got       scalar
      Remedy: make it a label map or probabilities first, or write it as NIfTI (.nii.gz)
    """
    hd = need("highdicom")
    segments = _segments(image, labels, Path(path))
    place = _place(source)
    array = _frames(segments.array, image.grid, place, Path(path))
    described = [
        _description(number, name, (codes or {}).get(name, (_TISSUE, _TISSUE)), algorithm, algorithm_type)
        for number, name in enumerate(segments.names, start=1)
    ]
    with quiet():
        try:
            result = hd.seg.Segmentation(
                source_images=place.datasets,
                pixel_array=array,
                segmentation_type="FRACTIONAL" if image.kind == "probability" else "BINARY",
                segment_descriptions=described,
                series_instance_uid=hd.UID(),
                series_number=series_number,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer="TrueVox",
                manufacturer_model_name="truevox",
                software_versions=software(),
                device_serial_number="1",
                content_label="SEGMENTATION",
                series_description=description[:64],
                # highdicom can't leave out all frames.
                omit_empty_frames=bool(array.any()),
            )
        except (AttributeError, ValueError) as error:
            raise FileError(
                f"A segmentation can't refer to this source: {error}",
                file=str(getattr(place.datasets[0], "filename", path)),
                remedy="name a series whose header is whole, or write .nii.gz, .nrrd",
            ) from error
        with atomic_path(path) as temporary:
            result.save_as(temporary)
    return Labels({name: number for number, name in enumerate(segments.names, start=1)})


@writer(".dcm")
def write_seg(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write a prediction beside the DICOM series that its header comes from, as :func:`save_seg`.

    Raises
    ------
    FileError
        If the image does not come from a DICOM series.
    """
    if header is None or not _from_dicom(header.path):
        raise FileError(
            "A DICOM segmentation refers to the series that it was drawn on, and this image names none.",
            file=path,
            remedy="truevox.io.dicom.save_seg(image, path, source=folder)",
        )
    save_seg(image, path, header.path)


def _from_dicom(path: Path) -> bool:
    target = bare(path)
    return target.is_dir() or target.suffix.lower() in ("", ".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class _Segments:
    """Names, and (1, I, J, K) numbers from 1 or (S, I, J, K) masks or probabilities."""

    names: tuple[str, ...]
    array: NDArray


def _segments(image: Image, labels: Labels | None, path: Path) -> _Segments:
    array, table = image.numpy(), labels if labels is not None else image.labels
    if image.kind == "probability":
        return _probabilities(array, table, path)
    if image.kind != "label":
        raise LabelError(
            "A DICOM segmentation holds labels or probabilities.",
            got=image.kind,
            remedy="make it a label map or probabilities first, or write it as NIfTI (.nii.gz)",
        )
    array = as_labels(array, path, None)
    if len(array) > 1:
        names = tuple(table.names) if table is not None else ()
        if array.min() < 0 or array.max() > 1 or (names and len(names) != len(array)):
            raise LabelError(
                "Labels of several channels are masks of 0 and 1, one per name.",
                file=path,
                remedy="pass labels= with one name per channel, and 1 where the label is",
            )
        return _Segments(names or tuple(f"segment {c + 1}" for c in range(len(array))), array)
    if table is None:
        values = sorted(set(np.unique(array).tolist()) - {0}) or [1]
        table = Labels({f"label {value}": value for value in values})
    if table.ignore is not None and (array == table.ignore).any():
        raise LabelError(
            "A DICOM segmentation can't say which voxels to ignore.",
            file=path,
            got=f"{int((array == table.ignore).sum())} voxels of value {table.ignore}",
            remedy="give them a class of their own, or make them background",
        )
    names = tuple(table.names)
    if not table.exclusive:
        return _Segments(names, table.encode(array))
    table.check(array)
    numbers = np.zeros(array.shape, np.uint8 if len(names) < 256 else np.uint16)
    for number, name in enumerate(names, start=1):
        numbers[np.isin(array, table.names[name])] = number
    return _Segments(names, numbers)


def _probabilities(array: NDArray, table: Labels | None, path: Path) -> _Segments:
    if not np.isfinite(array).all() or array.min() < -_SLACK or array.max() > 1 + _SLACK:
        raise LabelError(
            "Probabilities to be written are between 0 and 1 everywhere.",
            file=path,
            got=f"{np.fmin.reduce(array, axis=None):g} to {np.fmax.reduce(array, axis=None):g}, "
            f"{int(np.isnan(array).sum())} not covered",
            remedy="put Sigmoid or Softmax behind logits, and 0 where nothing was predicted",
        )
    names = tuple(table.names) if table is not None else tuple(f"segment {c + 1}" for c in range(len(array)))
    if table is not None and table.activation == "softmax" and len(array) == table.channels:
        array = array[1:]
    if len(names) != len(array):
        raise LabelError(
            "Channels and label table differ.",
            file=path,
            got=len(array),
            expected=len(names),
            remedy="pass labels= with one name per channel",
        )
    return _Segments(names, array.clip(0, 1))


@dataclass(frozen=True)
class _Place:
    """The source series: its grid, its datasets without pixels, and which frame is which slice."""

    grid: Grid
    datasets: list[Any]
    slices: NDArray[np.intp]


def _place(source: Source) -> _Place:
    instances, where = series_named(source)
    planes = [plane for instance in instances for plane in instance.planes]
    found = stack(planes, where)
    order = found.order[0]
    several = any(len(instance.planes) > 1 for instance in instances)
    if several and (len(instances) > 1 or len(found.order) > 1):
        raise CaseError(
            "The source is several multi-frame objects, or one with several volumes.",
            file=where,
            remedy="name one multi-frame file of one volume, or a series of single slices",
        )
    if planes[0].position is None:
        raise GeometryError(
            "The source has no position in the patient.",
            file=where,
            remedy="a segmentation is written for a series with ImagePositionPatient",
        )
    if found.grid.unit != "mm":
        raise GeometryError(
            "The source does not say how large its pixels are.",
            file=where,
            remedy="a segmentation is written for a series with PixelSpacing; for others save .png or .tif",
        )
    if several:
        # Frames are given in the order of the source's own.
        return _Place(found.grid, [_completed(planes[0].path)], np.argsort(order))
    return _Place(found.grid, [_completed(planes[k].path) for k in order], np.arange(len(order)))


def _completed(path: Path) -> Any:
    from pydicom.uid import generate_uid

    dataset, _ = read_tags(path)
    for name in _REQUIRED:
        if name not in dataset:
            setattr(dataset, name, "")
    if not dataset.get("FrameOfReferenceUID"):
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(dataset.SeriesInstanceUID)])
    return dataset


def _frames(array: NDArray, grid: Grid, place: _Place, path: Path) -> NDArray:
    """Frames (K, rows, columns) or (K, rows, columns, S) in the order of the source's."""
    found = sampling.coincidence(grid, place.grid)
    if found is None or sorted(grid.shape) != sorted(place.grid.shape) or not _covers(grid, place.grid):
        raise GeometryError(
            "The image is not on the grid of the series that it is to refer to.",
            file=path,
            got=grid.describe(),
            expected=place.grid.describe(),
            remedy="sample it there first: image.on(truevox.load(source).grid)",
        )
    on_source = sampling.take(array, found, place.grid.shape, np.zeros(len(array)))
    frames = on_source.transpose(3, 2, 1, 0)[place.slices]
    return np.ascontiguousarray(frames[..., 0] if len(array) == 1 else frames)


def _covers(grid: Grid, source: Grid) -> bool:
    ends = grid.to_index(source.to_world(np.array([[0, 0, 0], source.shape]) - [[0], [1]]))
    return bool((ends > -0.5).all() and (ends < np.array(grid.shape) - 0.5).all())


def _description(
    number: int, name: str, codes: tuple[Code, Code], algorithm: str, algorithm_type: str
) -> Any:
    hd, sr = need("highdicom"), need("highdicom.sr")
    identification = None
    if algorithm_type != "MANUAL":
        identification = hd.AlgorithmIdentificationSequence(
            name=algorithm, version=software(), family=sr.CodedConcept(*_AI)
        )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=sr.CodedConcept(*codes[0]),
        segmented_property_type=sr.CodedConcept(*codes[1]),
        algorithm_type=algorithm_type,
        algorithm_identification=identification,
        tracking_uid=hd.UID(),
        tracking_id=name[:64],
    )
