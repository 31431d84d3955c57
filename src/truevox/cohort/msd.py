"""Tasks of the Medical Segmentation Decathlon: what their dataset.json lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from truevox.cohort.case import Case
from truevox.cohort.found import Found, expect_names, labels_in, path_of, read_description, without_suffix
from truevox.errors import FileError

__all__ = ["read_msd"]

IMAGE, LABEL = "image", "label"


def read_msd(folder: Path) -> Found:
    """Cases that dataset.json lists; see :meth:`truevox.Cohort.from_msd`."""
    file = folder / "dataset.json"
    data = read_description(folder)
    labels = labels_in(data, file)
    cases = [_case(entry, folder, None) for entry in _entries(data, "training", file)]
    cases += [_case(entry, folder, "test") for entry in _entries(data, "test", file)]
    if not cases:
        raise FileError(
            "dataset.json lists no cases.",
            file=file,
            expected='"training": [{"image": ...}]',
            remedy="list the cases in dataset.json, or unpack the task's archive again",
        )
    expect_names(cases, file)
    said = data.get("modality")
    shown = {}
    if isinstance(said, Mapping) and said:
        shown = {IMAGE: ", ".join(str(said[key]) for key in sorted(said, key=str))}
    return Found(cases, {LABEL: labels} if labels is not None else {}, shown)


def _entries(data: Mapping[str, Any], name: str, file: Path) -> list[Any]:
    entries = data.get(name) or []
    if not isinstance(entries, list):
        raise FileError(
            f"'{name}' of dataset.json is no list.",
            file=file,
            got=type(entries).__name__,
            remedy=f'write "{name}": [...] with square brackets, one entry per case',
        )
    return entries


def _case(entry: Any, folder: Path, split: str | None) -> Case:
    """A case of the list: an image and a label, or an image alone."""
    listed = {IMAGE: entry} if isinstance(entry, str) else entry
    image = listed.get(IMAGE) if isinstance(listed, Mapping) else None
    if not isinstance(image, str):
        raise FileError(
            "dataset.json lists a case without an image.",
            file=folder / "dataset.json",
            got=entry,
            expected='{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}',
            remedy="write the image's path into this entry of dataset.json, or remove the entry",
        )
    label = listed.get(LABEL)
    path = path_of(folder, image)
    values = {IMAGE: path, LABEL: path_of(folder, label) if isinstance(label, str) else None}
    return Case(without_suffix(path.name), values, split=split)
