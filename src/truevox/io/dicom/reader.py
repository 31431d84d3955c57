"""The registered reader: a folder or a file, with a choice such as ``?series=3`` behind it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truevox.errors import CaseError, FileError, SettingsError
from truevox.io.access import image_of, read_header
from truevox.io.dicom.datasets import parsing, read_tags
from truevox.io.dicom.instances import LABEL_OBJECTS, Instance, describe, read_instance
from truevox.io.dicom.masks import chosen, label_table
from truevox.io.dicom.rtstruct import open_rtstruct, referenced_series, structure_names
from truevox.io.dicom.seg import open_seg, segment_names
from truevox.io.dicom.series import open_series, pick, scan
from truevox.io.header import Header
from truevox.io.registry import DICOM, FOLDER, Voxels, bare, reader
from truevox.labels import Labels
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["load_series", "read_dicom", "read_labels", "series_named"]


@reader(".dcm", ".dicom", ".ima", DICOM, FOLDER)
def read_dicom(path: Path) -> tuple[Header, Voxels]:
    """Open a series (a folder), or one file: slice, multi-frame image, segmentation or structure set.

    Raises
    ------
    CaseError
        If it is not clear which series is meant, or the images make no volume.
    FileError
        If a file is no DICOM, truncated or damaged, or can't be decoded here.
    GeometryError
        If slices are missing, doubled, unevenly spaced, or of different directions.
    LabelError
        If segments overlap and were to become one label image.
    """
    target, choice = _choice(path)
    if target.is_dir():
        instances, notes = scan(target)
        series = pick(instances, target, choice.pop("series", None))
        _expect_used(choice, path, "series")
        left = sorted({i.modality for i in instances if not i.planes})
        notes += (f"objects that are no images were left out: {', '.join(left)}",) if left else ()
        return open_series(series, path, notes)
    dataset, rest = read_tags(target)
    with parsing(target):
        modality = str(dataset.get("Modality") or "")
        if modality in LABEL_OBJECTS:
            header, voxels = _open_labels(target, dataset, rest, choice)
            _expect_used(choice, path, "labels", "overlap=channels", "like")
            return replace(header, path=path), voxels
        instance = describe(target, dataset, rest)
    if instance is None:
        raise FileError(
            "This is a DICOMDIR: a list of files, no image.",
            file=path,
            remedy="name the folder that it lies in",
        )
    if not instance.planes:
        raise CaseError(
            f"The file holds no image but an object of another kind ({modality or 'no modality'}).",
            file=path,
            remedy="name an image, a segmentation or a structure set",
        )
    _expect_used(choice, path)
    return open_series([instance], path)


def _open_labels(target: Path, dataset: Any, rest: int, choice: dict[str, str]) -> tuple[Header, Voxels]:
    like = _reference(choice, target)
    if dataset.Modality == "SEG":
        return open_seg(target, dataset, rest, like, choice)
    return open_rtstruct(target, dataset, like or _own_grid(dataset, target), choice)


def load_series(files: Sequence[str | Path]) -> Image:
    """Read the files of one series, in any order.

    Raises
    ------
    CaseError, FileError, GeometryError
        As for a folder.

    Examples
    --------
    >>> load_series([])
    Traceback (most recent call last):
    truevox.errors.CaseError: A series has at least one file.
    ...
    """
    instances, source = series_named(files)
    header, voxels = open_series(instances, source)
    return image_of(voxels(tuple(slice(0, n) for n in header.grid.shape)), header)


def series_named(source: str | Path | Sequence[str | Path]) -> tuple[list[Instance], Path]:
    """The images of one series, by folder, file or list of files, and where they lie.

    Raises
    ------
    CaseError, FileError
        As for a folder.
    """
    if not isinstance(source, (str, Path)):
        paths = [Path(file) for file in source]
        if not paths:
            raise CaseError("A series has at least one file.", remedy="name the files of a series")
        where, wanted = Path(os.path.commonpath([path.absolute() for path in paths])), None
        instances = [instance for path in paths if (instance := read_instance(path)) is not None]
    else:
        where, choice = _choice(Path(source))
        wanted = choice.pop("series", None)
        _expect_used(choice, Path(source), "series")
        if where.is_dir():
            instances, _ = scan(where)
        else:
            instances = [instance for instance in [read_instance(where)] if instance is not None]
    return pick(instances, where, wanted), where


def read_labels(path: str | Path) -> Labels:
    """The label table of a segmentation or structure set: names and numbers, as the file has them.

    Raises
    ------
    CaseError
        If the file is of another kind.
    FileError
        If it is no DICOM, or damaged.
    LabelError
        If it names nothing.
    """
    file = Path(path)
    dataset, _ = read_tags(file)
    with parsing(file):
        if dataset.get("Modality") not in LABEL_OBJECTS:
            raise CaseError(
                "The file holds no labels.",
                file=file,
                got=str(dataset.get("Modality") or "no modality"),
                expected=" or ".join(LABEL_OBJECTS),
                remedy="name a segmentation or a structure set",
            )
        names = segment_names(dataset) if dataset.Modality == "SEG" else structure_names(dataset)
    return label_table(chosen(names, None, file))


def _choice(path: Path) -> tuple[Path, dict[str, str]]:
    target = bare(path)
    text = "" if target == path else str(path).partition("?")[2]
    pairs = [word.partition("=") for word in text.split("&") if word]
    return target, {name: value for name, _, value in pairs}


def _expect_used(choice: dict[str, str], path: Path, *known: str) -> None:
    if choice:
        raise SettingsError(
            f"'{next(iter(choice))}' chooses nothing here.",
            file=path,
            expected=" or ".join(known) or "no choice",
            remedy="remove it from the path",
        )


def _reference(choice: dict[str, str], target: Path) -> Grid | None:
    """The grid of the image that ``like=`` names, by a path from the folder of the file itself."""
    like = choice.pop("like", None)
    return None if like is None else read_header(target.parent / like).grid


def _own_grid(dataset: Any, target: Path) -> Grid:
    """The grid of the series that a structure set was drawn on, if that lies in the same folder."""
    wanted = referenced_series(dataset)
    instances = [instance for instance in scan(target.parent)[0] if instance.series in wanted]
    if not any(instance.planes for instance in instances):
        raise CaseError(
            "Contours need the image that they were drawn on, and it does not lie in this folder.",
            file=target,
            expected=f"series {', '.join(sorted(wanted)) or '(the file names none)'}",
            remedy=f'name it, by a path from this folder: "{target.name}?like=../ct"; '
            "or, for truevox evaluate, by --images FOLDER",
        )
    return open_series(pick(instances, target.parent), target.parent)[0].grid
