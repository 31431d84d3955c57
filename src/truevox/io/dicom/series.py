"""DICOM series: what lies in a folder, which series is meant, and its voxels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, TrueVoxError
from truevox.io.dicom.instances import Instance, dicom_files, read_instance
from truevox.io.dicom.pixels import frames, rescaled, result_type
from truevox.io.dicom.planes import Plane
from truevox.io.dicom.stack import Stack, stack
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels

if TYPE_CHECKING:
    from truevox.space import Grid

__all__ = ["Series", "list_series", "open_series", "pick", "scan"]

# Modalities whose values are a measure by themselves, in a unit of their own.
_MEASURES = ("PT", "RTDOSE")


@dataclass(frozen=True)
class Series:
    """One series of images, from its headers alone.

    Parameters
    ----------
    uid, number, description, modality
        As the files say. Each of the first three chooses it: ``"folder?series=..."``.
    files : tuple of Path
        In order of name.
    frames : int
        Slices times time points.
    grid : Grid, optional
        Where it lies; None if it makes no volume.
    channels : int
        Time points, b-values or echoes; colours.
    problem : str, optional
        Why it makes no volume.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    files: tuple[Path, ...]
    frames: int
    grid: Grid | None
    channels: int
    problem: str | None = None

    def __str__(self) -> str:
        what = self.grid.describe() if self.grid else f"{self.frames} images: {self.problem}"
        many = f"  {self.channels} channels" if self.channels > 1 else ""
        number = "" if self.number is None else f" {self.number}"
        return f"{self.modality}{number} '{self.description}'  {what}{many}  {self.uid}"


def list_series(folder: str | Path) -> list[Series]:
    """The image series below a folder, from headers alone, in order of their numbers.

    Parameters
    ----------
    folder : path
        Searched with all its folders. Files that are no DICOM, reports, segmentations and structure
        sets are left out.

    Returns
    -------
    list of Series
        A series that makes no volume says why in ``problem``.

    Raises
    ------
    FileError
        If the folder holds no DICOM file, or one of them is damaged.

    Examples
    --------
    >>> import tempfile
    >>> list_series(tempfile.mkdtemp())
    Traceback (most recent call last):
    truevox.errors.FileError: The folder holds no DICOM file.
    ...
    """
    instances, _ = scan(Path(folder))
    return [_summary(group) for group in _groups(instances)]


def scan(folder: Path) -> tuple[list[Instance], tuple[str, ...]]:
    """All DICOM objects below a folder, and a note on what was left out.

    Raises
    ------
    FileError
        As :func:`list_series`.
    """
    if not folder.is_dir():
        raise FileError("The folder does not exist.", file=folder, remedy="check the path, and its case")
    paths, others = dicom_files(folder)
    if not paths:
        raise FileError(
            "The folder holds no DICOM file.",
            file=folder,
            got=f"{len(others)} other files" if others else "nothing",
            remedy="name the folder that holds the series; a DICOM file has DICM after 128 bytes",
        )
    found = [instance for path in paths if (instance := read_instance(path)) is not None]
    notes = [f"{len(others)} files that are no DICOM were left out, e.g. {others[0].name}"] if others else []
    return found, tuple(notes)


def _groups(instances: Iterable[Instance]) -> list[list[Instance]]:
    """Images by series, in order of series number."""
    found: dict[str, list[Instance]] = {}
    for instance in instances:
        if instance.planes:
            found.setdefault(instance.series, []).append(instance)
    return sorted(found.values(), key=lambda g: (g[0].number is None, g[0].number or 0, g[0].series))


def _summary(group: Sequence[Instance]) -> Series:
    first = group[0]
    grid, channels, problem = None, 1, None
    try:
        header = open_series(group, first.path.parent)[0]
        grid, channels = header.grid, header.channels
    except TrueVoxError as error:
        problem = error.message
    files = tuple(instance.path for instance in group)
    count = sum(len(instance.planes) for instance in group)
    return Series(
        first.series, first.number, first.description, first.modality, files, count, grid, channels, problem
    )


def pick(instances: Sequence[Instance], source: Path, wanted: str | None = None) -> list[Instance]:
    """The images of the one series that is meant.

    Raises
    ------
    CaseError
        If there is none, or there are several; lists them and says how to choose.
    """
    groups = _groups(instances)
    if not groups:
        kinds = sorted({instance.modality for instance in instances})
        raise CaseError(
            "There is no image series here.",
            file=source,
            got=", ".join(kinds) or "nothing but a DICOMDIR",
            remedy="a segmentation or structure set is loaded by the path of its file",
        )
    if wanted is None:
        chosen = groups
    else:
        chosen = [group for group in groups if group[0].series == wanted] or [
            group for group in groups if wanted in (str(group[0].number), group[0].description)
        ]
    if len(chosen) == 1:
        return chosen[0]
    shown = "\n            ".join(str(_summary(group)) for group in groups[:20])
    example = groups[-1][0].number or groups[-1][0].series
    raise CaseError(
        f"{len(groups)} series lie here, and it is not clear which is meant."
        if wanted is None
        else f"{len(chosen) or 'No'} series here {'are' if chosen else 'is'} called '{wanted}'.",
        file=source,
        got=shown + ("\n            ..." if len(groups) > 20 else ""),
        remedy=f'choose one by number, description or UID: "{source}?series={example}"',
    )


def open_series(
    instances: Sequence[Instance], source: Path, notes: tuple[str, ...] = ()
) -> tuple[Header, Voxels]:
    """Header of one series, and its voxels (C, I, J, K) on demand: only the files of a box are read.

    Raises
    ------
    CaseError, FileError, GeometryError
        If the images make no volume; says why.
    """
    _refuse_copies(instances, source)
    _expect_one_frame(instances, source)
    storage = {instance.path: instance.stored for instance in instances if instance.stored is not None}
    kinds = set(storage.values())
    if len({(kind.samples, kind.photometric, kind.floating) for kind in kinds}) > 1:
        raise CaseError(
            "The images of this series are not of one kind.",
            file=source,
            got=", ".join(sorted({f"{kind.samples} x {kind.photometric}" for kind in kinds})),
            remedy="name the files of one kind",
        )
    planes = [plane for instance in instances for plane in instance.planes]
    if any("MOSAIC" in plane.marks.get("ImageType", ()) for plane in planes):
        raise CaseError(
            "These images are mosaics: each shows many slices side by side, as one picture.",
            file=source,
            remedy="export them as single slices or as enhanced multi-frame images",
        )
    found = stack(planes, source)
    first = next(iter(kinds))
    if first.photometric == "PALETTE COLOR" or (first.samples > 1 and len(found.order) > 1):
        raise CaseError(
            "Colours of a palette, or colours in time, can't be used as numbers.",
            file=source,
            got=first.photometric,
            remedy="export the images as grey values or RGB, or load one frame",
        )
    kind = np.result_type(*(result_type(kind, planes) for kind in kinds))
    channels = len(found.order) * first.samples
    measured = any(plane.scaling != (1.0, 0.0) or plane.table is not None for plane in planes)
    told = dict.fromkeys(
        (*notes, *found.notes, *_series_notes(instances, planes, len(found.order), measured))
    )
    times = found.moments.times if found.moments else None
    header = Header(source, found.grid, channels, kind.name, None, tuple(told), times)

    def voxels(box: Box) -> NDArray:
        return _read(planes, found, storage, box, kind, first.samples, measured)

    return header, voxels


def _series_notes(
    instances: Sequence[Instance], planes: Sequence[Plane], channels: int, measured: bool
) -> Iterator[str]:
    """What the files say about their values and number, each once.

    Raises
    ------
    CaseError
        If values of one volume are in several units.
    """
    units = sorted({plane.units for plane in planes} - {""})
    if len(units) > 1 and (channels == 1 or instances[0].modality in _MEASURES):
        raise CaseError(
            "The values of this series are in several units.",
            file=planes[0].path.parent,
            got=", ".join(f"{sum(p.units == unit for p in planes)} images in {unit}" for unit in units),
            remedy="name the files of one unit",
        )
    if units and instances[0].modality in _MEASURES:
        yield f"values in {', '.join(units)}"
    expected = max(instance.expected for instance in instances)
    if len(planes) < expected:
        yield f"{len(planes)} of the {expected} images that the header of the series speaks of"
    if any(i.stored is not None and i.stored.photometric == "MONOCHROME1" for i in instances):
        done = "left as they are, a measure" if measured else "turned over, so that bright is high"
        yield f"MONOCHROME1 (low stored values look bright): values were {done}"
    for plane in planes:
        yield from plane.notes
    for instance in instances:
        yield from instance.notes


def _refuse_copies(instances: Sequence[Instance], source: Path) -> None:
    seen: dict[str, Path] = {}
    for instance in instances:
        other = seen.setdefault(instance.uid, instance.path)
        if instance.uid and other != instance.path:
            raise CaseError(
                "The same image lies here twice.",
                file=source,
                got=f"{other.name} and {instance.path.name}",
                remedy="remove the copies",
            )


def _expect_one_frame(instances: Sequence[Instance], source: Path) -> None:
    """Refuse positions that are counted from several origins."""
    frames = Counter(instance.frame_of_reference for instance in instances if instance.frame_of_reference)
    if len(frames) > 1:
        raise CaseError(
            "The images of this series are placed in several frames of reference (the patient was moved).",
            file=source,
            got=", ".join(f"{count} images in {uid}" for uid, count in frames.most_common(4)),
            remedy="name the files of one",
        )


def _read(
    planes: Sequence[Plane],
    found: Stack,
    storage: dict,
    box: Box,
    kind: np.dtype,
    samples: int,
    measured: bool,
) -> NDArray:
    columns, rows, along = box
    order = found.order[:, along]
    shape = (len(order), order.shape[1], rows.stop - rows.start, columns.stop - columns.start, samples)
    out = np.empty(shape, kind)
    wanted: dict[Path, list[tuple[int, int, int]]] = {}
    for c, row in enumerate(order):
        for k, index in enumerate(row):
            wanted.setdefault(planes[index].path, []).append((planes[index].frame, c, k))
    of_frame = {(plane.path, plane.frame): plane for plane in planes}
    for path, places in wanted.items():
        places.sort()
        decoded = frames(path, [frame for frame, _, _ in places], storage[path], planes[0].shape)
        for (frame, c, k), values in zip(places, decoded, strict=True):
            part = values.reshape(*values.shape[:2], samples)[rows, columns]
            out[c, k] = rescaled(part, of_frame[path, frame], storage[path], kind, measured=measured)
    # (C, K, J, I, S) as stored, to channels and columns first by a view.
    return np.moveaxis(out, 4, 1).reshape(-1, *out.shape[1:4]).transpose(0, 3, 2, 1)
