"""BIDS folders, raw and derivative, by the names of their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from truevox.cohort.bids_people import read_people
from truevox.cohort.case import Case, Value
from truevox.cohort.found import Found, expect_names, file_names, without_suffix
from truevox.errors import CaseError, FileError, LabelError
from truevox.labels import Labels

__all__ = ["read_bids"]

_MASKS = ("mask", "roi", "lesion", "label", "msk")


@dataclass(frozen=True)
class _Image:
    """A file: whose, and what its name says."""

    path: Path
    subject: str
    entities: Mapping[str, str]
    parts: tuple[str, ...]
    suffix: str

    def record(self, names: Sequence[str]) -> str | None:
        """``ses-1``, from the entities that tell records apart; None without them."""
        return "_".join(f"{n}-{self.entities[n]}" for n in names if n in self.entities) or None

    def column(self, records: Sequence[str]) -> str:
        """``desc-lesion_mask``: what is left of the name without subject and record."""
        kept = [part for part in self.parts if part.partition("-")[0] not in records]
        return "_".join([*kept, self.suffix])


def read_bids(folder: Path, derivatives: list[str] | None, records: tuple[str, ...]) -> Found:
    """Subjects and sessions of a folder; see :meth:`truevox.Cohort.from_bids`."""
    roots = [folder, *_derivatives(folder, derivatives)]
    images = [image for root in roots for image in _images(root)]
    if not images:
        raise FileError(
            "No subject of the BIDS folder has an image.",
            file=folder,
            expected="sub-01/anat/sub-01_T1w.nii.gz",
            remedy="check the folder, and the names of the files",
        )
    columns = {image.path: image.column(records) for image in images}
    rows = _rows(images, columns, records)
    names = list(dict.fromkeys(columns.values()))
    people = read_people(folder, {subject for subject, _ in rows}, names)
    cases = []
    for subject, record in sorted(rows, key=lambda key: (key[0], key[1] or "")):
        files = rows[subject, record]
        values: dict[str, Value] = {name: files.get(name) for name in names}
        values |= people.values(subject, record)
        cases.append(Case(subject, values, record, people.split(subject)))
    expect_names(cases, folder)
    labels = _label_columns(images, columns, _tables(roots))
    shown = {columns[image.path]: image.suffix for image in images if columns[image.path] not in labels}
    return Found(cases, labels, shown, people.notes)


def _label_columns(
    images: Sequence[_Image], columns: Mapping[Path, str], tables: _Tables
) -> dict[str, Labels]:
    """The table of every label column; two that differ are refused."""
    found: dict[str, Labels] = {}
    for image in images:
        column, table = columns[image.path], _labels(image, tables)
        if table is not None and found.setdefault(column, table) != table:
            raise LabelError(
                f"The label tables of '{column}' differ between subjects.",
                case=image.subject,
                file=image.path,
                got=table.to_dict()["names"],
                expected=found[column].to_dict()["names"],
                remedy="give all subjects one table: dseg.tsv beside dataset_description.json",
            )
    return found


def _derivatives(folder: Path, wanted: list[str] | None) -> list[Path]:
    there = [n for n in file_names(folder / "derivatives") if (folder / "derivatives" / n).is_dir()]
    if unknown := [name for name in wanted or [] if name not in there]:
        raise FileError(
            f"There is no derivative '{unknown[0]}'.",
            file=folder / "derivatives",
            expected=", ".join(there) or "no derivatives",
            remedy="name a folder below derivatives/, or move this one there",
        )
    # A folder of derivatives may hold a data set itself, without a folder for the program.
    lone = [folder / "derivatives"] if wanted is None and any(n.startswith("sub-") for n in there) else []
    names = there if wanted is None else wanted
    named = [folder / "derivatives" / name for name in names if not name.startswith("sub-")]
    return [*lone, *(root for one in named for root in _data_sets(one))]


def _data_sets(folder: Path) -> list[Path]:
    """The folder of a program, or those in it that hold subjects where it has none itself."""
    inside = list(file_names(folder))
    if any(name.startswith("sub-") for name in inside):
        return [folder]
    within = [folder / name for name in inside if (folder / name).is_dir()]
    return [one for one in within if any(name.startswith("sub-") for name in file_names(one))] or [folder]


def _images(root: Path) -> Iterator[_Image]:
    for subject in file_names(root):
        if subject.startswith("sub-"):
            for place, folders, names in os.walk(root / subject):
                folders.sort()
                for name in sorted(names):
                    image = _parsed(Path(place, name))
                    if image is not None and image.subject == subject:
                        yield image


def _parsed(path: Path) -> _Image | None:
    """The parts of a name; None if the file is no image, or its name none of BIDS."""
    stem = without_suffix(path.name)
    if stem == path.name or stem.startswith("."):
        return None
    first, *parts, suffix = stem.split("_") if "_" in stem else ("", "")
    if not first.startswith("sub-"):
        return None
    # A part without a key is the suffix of the scan that a mask was drawn on: sub-01_FLAIR_roi.
    entities = dict(part.split("-", 1) for part in parts if "-" in part)
    return _Image(path, first, entities, tuple(parts), suffix)


def _rows(
    images: Sequence[_Image], columns: Mapping[Path, str], records: Sequence[str]
) -> dict[tuple[str, str | None], dict[str, Path]]:
    """Files of every subject and record. A file without a record is one of all records of its subject."""
    rows: dict[tuple[str, str | None], dict[str, Path]] = {}
    for image in images:
        row = rows.setdefault((image.subject, image.record(records)), {})
        column = columns[image.path]
        if column in row:
            raise CaseError(
                f"Two files are '{column}' of one subject.",
                case=image.subject,
                got=f"{row[column]} and {image.path}",
                remedy="from_bids(folder, derivatives=[...]) chooses whose results to read",
            )
        row[column] = image.path
    recorded = {subject for subject, record in rows if record is not None}
    shared = {subject: rows.pop((subject, None)) for subject in recorded if (subject, None) in rows}
    return {(subject, record): {**shared.get(subject, {}), **row} for (subject, record), row in rows.items()}


_Tables = Mapping[Path, tuple[dict[str, str], Labels]]


def _tables(roots: Sequence[Path]) -> _Tables:
    """Label tables beside the images and above them: the entities of their names, and what they hold."""
    found = {}
    for root in roots:
        for file in sorted([*root.glob("*dseg.tsv"), *root.glob("sub-*/**/*_dseg.tsv")]):
            pairs = file.name.removesuffix(".tsv").split("_")[:-1]
            found[file] = (dict(pair.split("-", 1) for pair in pairs if "-" in pair), Labels.from_file(file))
    return found


def _labels(image: _Image, tables: _Tables) -> Labels | None:
    """What the values of a label image mean; None for a scan.

    A table applies to images in its folder and below whose names hold the parts of its own; the one with
    the most parts, and the deepest, counts.
    """
    if image.suffix in _MASKS:
        name = image.entities.get("label") or image.entities.get("desc") or image.suffix
        return Labels({name: 1})
    if image.suffix != "dseg":
        return None
    named = {"sub": image.subject.removeprefix("sub-"), **image.entities}
    fitting = [
        (len(parts), len(file.parts), table)
        for file, (parts, table) in tables.items()
        if file.parent in image.path.parents and parts.items() <= named.items()
    ]
    return max(fitting, key=lambda one: one[:2])[2] if fitting else Labels({"foreground": 1})
