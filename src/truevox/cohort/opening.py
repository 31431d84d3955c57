"""What kind of cohort a path is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from truevox.cohort.found import read_description
from truevox.cohort.rows import TABLES
from truevox.errors import FileError
from truevox.io.registry import has_reader

__all__ = ["Kind", "recognise"]

Kind = Literal["table", "nnunet", "msd", "bids"]

_KNOWN = (
    "a table (.csv, .tsv, .parquet), an nnU-Net folder (dataset.json with channel_names, imagesTr/), "
    "a task of the Medical Segmentation Decathlon (dataset.json with training), or a BIDS folder "
    "(dataset_description.json, sub-*/)"
)

_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")


def recognise(path: Path) -> Kind:
    """The kind of cohort that a path holds.

    Raises
    ------
    FileError
        If it holds none; says what was looked for.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        # A table that is not there says so itself, in the words of the system.
        if path.suffix.lower() in TABLES:
            return "table"
        raise FileError(
            "There is no such table or folder.", file=path, expected=_KNOWN, remedy="check the path"
        )
    if path.suffix.lower() == ".json":
        raise FileError(
            "This file describes a data set; give the folder that holds it.",
            file=path,
            remedy=str(path.parent),
        )
    if path.suffix.lower() in _SPREADSHEETS:
        raise FileError("Spreadsheets are not read.", file=path, remedy="save the sheet as CSV UTF-8")
    if path.suffix.lower() not in TABLES and has_reader(path.name):
        raise FileError(
            "This is an image, and a cohort is needed.",
            file=path,
            expected=_KNOWN,
            remedy="write a table whose rows name the images of each case",
        )
    return "table"


def _folder(path: Path) -> Kind:
    if (path / "dataset.json").exists():
        data = read_description(path)
        if "channel_names" in data or "dataset" in data:
            return "nnunet"
        return "msd" if _lists_its_files(data, path) else "nnunet"
    names = {entry.name for entry in path.iterdir()}
    subjects = any(name.startswith("sub-") and (path / name).is_dir() for name in names)
    if subjects or "dataset_description.json" in names:
        return "bids"
    remedy = None
    if inside := sorted(name for name in names if (path / name / "dataset.json").exists()):
        remedy = f"it holds data sets, give one of them: {', '.join(inside[:5])}"
    elif "imagesTr" in names:
        remedy = "imagesTr/ is there, but dataset.json, which names channels and labels, is missing"
    elif tables := sorted(name for name in names if name.lower().endswith(TABLES)):
        remedy = f"it holds tables, give one of them: {', '.join(tables[:5])}"
    raise FileError(
        "The folder is no cohort.",
        file=path,
        got=", ".join(sorted(names)[:8]) or "an empty folder",
        expected=_KNOWN,
        remedy=remedy or "write a table with a row per case, or use truevox.Cohort.from_glob",
    )


def _lists_its_files(data: Mapping[str, object], folder: Path) -> bool:
    """Whether 'training' names files as they are; nnU-Net 1 names them without their channel."""
    training = data.get("training")
    first = training[0] if isinstance(training, list) and training else None
    image = first.get("image") if isinstance(first, Mapping) else None
    if not isinstance(image, str):
        return not (folder / "imagesTr").is_dir()
    name = Path(image).name
    split = name.find(".")
    channel = f"{name[:split]}_0000{name[split:]}" if split > 0 else name
    return (folder / image).exists() or not (folder / "imagesTr" / channel).exists()
