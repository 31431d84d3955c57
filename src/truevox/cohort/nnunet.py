"""Raw data folders of nnU-Net, version 1 and 2, as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from truevox.cohort.case import Case
from truevox.cohort.found import (
    Found,
    expect_names,
    file_names,
    labels_in,
    path_of,
    read_description,
    without_suffix,
)
from truevox.errors import CaseError, FileError
from truevox.files import read_json

__all__ = ["read_nnunet", "read_splits"]

LABEL = "label"
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def read_nnunet(folder: Path, fold: int | None = None) -> Found:
    """Cases of imagesTr and imagesTs; see :meth:`truevox.Cohort.from_nnunet`."""
    file = folder / "dataset.json"
    data = read_description(folder)
    labels = labels_in(data, file)
    said = data.get("channel_names", data.get("modality"))
    said = {str(k): name for k, name in enumerate(said)} if isinstance(said, list) else said
    if not isinstance(said, Mapping) or not all(str(key).isdigit() for key in said) or not said:
        raise FileError(
            "dataset.json does not name its channels.",
            file=file,
            got=said,
            expected='"channel_names": {"0": "T1", "1": "FLAIR"}',
            remedy="give every channel its number and its name in dataset.json",
        )
    shown = [str(said[key]) for key in sorted(said, key=int)]
    ending = _ending(data, file)
    test = {case: (files, None) for case, files in _images(folder / "imagesTs", ending).items()}
    training = _listed(data["dataset"], folder) if "dataset" in data else _matched(folder, ending)
    if not training and not test:
        raise CaseError(
            "The folder holds no images.",
            file=folder,
            expected=f"imagesTr/<case>_0000{ending or '.nii.gz'}",
            remedy="check the folder, and file_ending in dataset.json",
        )
    known = _by_name(folder / "labelsTs", ending)
    test = {case: (files, known.get(case)) for case, (files, _) in test.items()}
    if twice := sorted(set(training) & set(test)):
        raise CaseError(
            "Cases are in imagesTr and in imagesTs; what was trained on can't test.",
            case=twice[0],
            file=folder,
            got=f"{len(twice)} cases",
            remedy="rename them in one of the folders, or take them out",
        )
    columns = _columns(shown)
    if len(shown) > 1 and all(len(files) == 1 for files, _ in [*training.values(), *test.values()]):
        # Colours in one picture: the channels are in the file.
        columns, shown = ["image"], [", ".join(shown)]
    split = _splits(folder, fold, training)
    cases = [
        Case(case, _values(case, files, label, columns, folder), split=split.get(case))
        for case, (files, label) in training.items()
    ]
    cases += [
        Case(case, _values(case, files, label, columns, folder), split="test")
        for case, (files, label) in test.items()
    ]
    expect_names(cases, file)
    found = {LABEL: labels} if labels is not None else {}
    return Found(cases, found, dict(zip(columns, shown, strict=True)))


def _ending(data: Mapping[str, Any], file: Path) -> str | None:
    """How the names of images end, in lower case and with the dot; None if dataset.json leaves it open."""
    said = data.get("file_ending")
    if not isinstance(said, str | None):
        raise FileError(
            "'file_ending' of dataset.json is no word.",
            file=file,
            got=said,
            expected='"file_ending": ".nii.gz"',
            remedy="write the ending as text between quotes, or remove the key",
        )
    return f".{said.strip().lower().lstrip('.')}" if said and said.strip() else None


Files = dict[str, tuple[list[Path], Path | None]]


def _matched(folder: Path, ending: str | None) -> Files:
    """Images and label of every case of imagesTr, by name."""
    images = _images(folder / "imagesTr", ending)
    labels = _by_name(folder / "labelsTr", ending)
    # A label alone: its images are looked for where they should be, and found missing by name.
    for case in [case for case in labels if case not in images] if images else []:
        images[case] = [folder / "imagesTr" / f"{case}_0000{labels[case].name[len(case) :]}"]
    return {case: (files, labels.get(case)) for case, files in images.items()}


def _listed(table: Any, folder: Path) -> Files:
    """Images and label of every case as dataset.json lists them, relative to its folder."""
    found: Files = {}
    for case, entry in table.items() if isinstance(table, Mapping) else [("", None)]:
        entry = entry if isinstance(entry, Mapping) else {}
        images = entry.get("images")
        if not isinstance(images, Sequence) or isinstance(images, str) or not images:
            raise FileError(
                "'dataset' of dataset.json does not list the images of a case.",
                file=folder / "dataset.json",
                got=f"{case}: {entry}",
                expected='{"case_1": {"images": ["a.nii.gz"], "label": "b.nii.gz"}}',
                remedy="write the images of this case as a list in dataset.json, or remove the case",
            )
        label = entry.get("label")
        found[str(case)] = (
            [path_of(folder, str(name)) for name in images],
            path_of(folder, str(label)) if label else None,
        )
    return found


def _images(folder: Path, ending: str | None) -> dict[str, list[Path]]:
    """Files of every case, in the order of their channels; a missing one has the name that it should have."""
    found: dict[str, dict[int, Path]] = {}
    for name in file_names(folder):
        stem = _stem(name, ending)
        match = _CHANNEL.fullmatch(stem) if stem is not None else None
        if match is not None:
            channels = found.setdefault(match[1], {})
            if int(match[2]) in channels:
                raise CaseError(
                    "Two files are the same channel of a case.",
                    case=match[1],
                    got=f"{channels[int(match[2])].name} and {name}",
                    file=folder,
                    remedy="keep one, or say in dataset.json which counts: file_ending",
                )
            channels[int(match[2])] = folder / name
    return {
        case: [
            channels.get(k) or _channel(case, k, next(iter(channels.values())))
            for k in range(max(channels) + 1)
        ]
        for case, channels in found.items()
    }


def _channel(case: str, number: int, other: Path) -> Path:
    """The file of a channel, beside that of another one."""
    return other.with_name(f"{case}_{number:04d}{other.name[len(case) + len('_0000') :]}")


def _by_name(folder: Path, ending: str | None) -> dict[str, Path]:
    stems = [(name, _stem(name, ending)) for name in file_names(folder)]
    return {stem: folder / name for name, stem in stems if stem is not None}


def _stem(name: str, ending: str | None) -> str | None:
    """The name without its ending; None if it has another one, or none that can be read."""
    if ending:
        return name[: -len(ending)] if name.lower().endswith(ending) else None
    stem = without_suffix(name)
    return stem if stem != name else None


def _values(
    case: str, files: list[Path], label: Path | None, columns: list[str], folder: Path
) -> dict[str, Path | None]:
    if len(files) < len(columns) and files[0].name.startswith(f"{case}_0000"):
        files = [*files, *(_channel(case, k, files[0]) for k in range(len(files), len(columns)))]
    if len(files) != len(columns):
        there = [file.name for file in files if file.exists()]
        raise CaseError(
            "A case has another number of images than dataset.json names channels.",
            case=case,
            file=folder,
            got=f"{len(there)}: {', '.join(there[:8])}",
            expected=f"{len(columns)}: {', '.join(columns)}, numbered from 0000",
            remedy="rename the files, or correct channel_names in dataset.json",
        )
    return {**dict(zip(columns, files, strict=True)), LABEL: label}


def _columns(shown: list[str]) -> list[str]:
    """A column for each channel: its name, numbered where another one has the same."""
    taken = {LABEL, "case", "record", "split"}
    columns = []
    for k, name in enumerate(shown):
        alone = shown.count(name) == 1 and name not in taken and name
        columns.append(name if alone else f"{name or 'image'}_{k}")
    return columns


def _splits(folder: Path, fold: int | None, training: Files) -> dict[str, str]:
    file = folder / "splits_final.json"
    if file.exists():
        return read_splits(file, fold or 0, training)
    if fold is not None:
        raise FileError(
            "The folder holds no folds.",
            file=file,
            remedy="copy nnU-Net's splits_final.json there, or `truevox split`",
        )
    return {}


def read_splits(file: Path, fold: int, known: Mapping[str, Any]) -> dict[str, str]:
    """Split of each case in one fold of a ``splits_final.json``.

    Raises
    ------
    FileError
        If the file is no list of folds, or has no such fold.
    CaseError
        If it names a case that is not there, or one for training and validation.
    """
    folds = read_json(file)
    good = isinstance(folds, list) and all(
        isinstance(one, Mapping) and all(isinstance(one.get(name), list) for name in ("train", "val"))
        for one in folds
    )
    if not good:
        raise FileError(
            "The file holds no folds.",
            file=file,
            expected='[{"train": ["a", "b"], "val": ["c"]}, ...]',
            remedy="copy splits_final.json of nnU-Net here again, or make folds with `truevox split`",
        )
    if not 0 <= fold < len(folds):
        raise FileError(
            f"The file has no fold {fold}.",
            file=file,
            expected=f"0 to {len(folds) - 1}",
            remedy="choose one of these folds",
        )
    chosen = {name: [str(case) for case in folds[fold][name]] for name in ("train", "val")}
    if both := sorted(set(chosen["train"]) & set(chosen["val"])):
        raise CaseError(
            f"The case trains and validates in fold {fold}.",
            case=both[0],
            file=file,
            remedy="remove the case from 'train' or from 'val' in this fold of the file",
        )
    if unknown := [case for cases in chosen.values() for case in cases if case not in known]:
        raise CaseError(
            "The folds name a case that is not there.",
            case=unknown[0],
            file=file,
            got=f"{len(unknown)} such",
            remedy="remove these names from the file, or put their images into imagesTr",
        )
    return {case: name for name, cases in chosen.items() for case in cases}
