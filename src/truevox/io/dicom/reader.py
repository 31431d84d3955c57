"""The registered reader: a folder or a file, with a choice such as ``?series=3`` behind it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from truevox.errors import CaseError, FileError, SettingsError
from truevox.io.access import image_of
from truevox.io.dicom.datasets import read_tags
from truevox.io.dicom.instances import describe, read_instance
from truevox.io.dicom.series import open_series, pick, scan
from truevox.io.header import Header
from truevox.io.registry import DICOM, FOLDER, Voxels, bare, reader

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["load_series", "read_dicom"]


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
        chosen = pick(instances, target, choice.pop("series", None))
        _expect_used(choice, path, "series")
        left = sorted({i.modality for i in instances if not i.planes})
        notes += (f"objects that are no images were left out: {', '.join(left)}",) if left else ()
        return open_series(chosen, path, notes)
    dataset, rest = read_tags(target)
    instance = describe(target, dataset, rest)
    if instance is None:
        raise FileError(
            "This is a DICOMDIR: a list of files, no image.",
            file=path,
            remedy="name the folder that it lies in",
        )
    if not instance.planes:
        raise CaseError(
            f"The file holds no image but an object of another kind ({instance.modality or 'no modality'}).",
            file=path,
            remedy="name an image, a segmentation or a structure set",
        )
    _expect_used(choice, path)
    return open_series([instance], path)


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
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise CaseError("A series has at least one file.")
    source = Path(os.path.commonpath([path.absolute() for path in paths]))
    instances = [instance for path in paths if (instance := read_instance(path)) is not None]
    header, voxels = open_series(pick(instances, source), source)
    return image_of(voxels(tuple(slice(0, n) for n in header.grid.shape)), header)


def _choice(path: Path) -> tuple[Path, dict[str, str]]:
    target = bare(path)
    text = "" if target == path else str(path).partition("?")[2]
    return target, dict(parse_qsl(text, keep_blank_values=True))


def _expect_used(choice: dict[str, str], path: Path, *known: str) -> None:
    if choice:
        raise SettingsError(
            f"'{next(iter(choice))}' chooses nothing here.",
            file=path,
            expected=" or ".join(known) or "no choice",
        )
