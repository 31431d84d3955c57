"""What importers of folders share: what they found, names of cases, label tables in JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truevox.cohort.case import Case
from truevox.errors import CaseError, FileError, LabelError
from truevox.files import read_json, unreadable
from truevox.io import reading_suffixes
from truevox.label_files import described
from truevox.labels import Labels

__all__ = [
    "Found",
    "expect_names",
    "file_names",
    "labels_in",
    "path_of",
    "read_description",
    "without_suffix",
]

_NOT_IN_NAMES = frozenset('/\\:*?"<>|')


@dataclass(frozen=True)
class Found:
    """Cases, and what the source says of their columns.

    Parameters
    ----------
    cases : list of Case
    labels : dict of column to Labels
        Label columns, and what their values mean.
    modalities : dict of column to str
        What images show, in the words of the source: ``"CT"``, ``"T1w"``.
    notes : dict of column to str
        What is odd about how a column was read.
    """

    cases: list[Case]
    labels: dict[str, Labels] = field(default_factory=dict)
    modalities: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def expect_names(cases: Iterable[Case], source: Path) -> None:
    """Refuse cases and records whose names can't be those of folders.

    Raises
    ------
    CaseError
        Naming the source.
    """
    for case in cases:
        for what, text in (("case", case.id), ("record", case.record)):
            if text is not None and (not text or text[0] == "." or not _NOT_IN_NAMES.isdisjoint(text)):
                raise CaseError(
                    f"'{text}' can't be the name of a {what}: predictions go to a folder of that name.",
                    file=source,
                    remedy="use letters, digits, '-', '_' and '.'",
                )


def path_of(folder: Path, cell: str) -> Path:
    r"""The file that a cell of a table in a folder names, also in the way of Windows.

    Examples
    --------
    >>> path_of(Path("study"), r"scans\p07.nii.gz").as_posix()
    'study/scans/p07.nii.gz'
    """
    return folder / (cell.replace("\\", "/") if os.sep == "/" else cell)


def file_names(folder: Path) -> Iterator[str]:
    """Names in a folder in order, without hidden ones; nothing if there is no such folder.

    Only the folder is read, so that a hundred thousand files cost one look and not one each.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(error, folder, "folder") from error
    yield from sorted(name for name in names if not name.startswith("."))


def without_suffix(name: str) -> str:
    """The name of a file without the suffix that says how to read it.

    Examples
    --------
    >>> without_suffix("la_003.nii.gz"), without_suffix("notes.v2")
    ('la_003', 'notes.v2')
    """
    suffix = next((s for s in reading_suffixes() if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def read_description(folder: Path, name: str = "dataset.json") -> dict[str, Any]:
    """The mapping that the description of a data set holds.

    Raises
    ------
    FileError
        If it is missing, or no mapping in JSON.
    """
    data = read_json(folder / name)
    if not isinstance(data, dict):
        raise FileError(
            f"{name} holds no mapping.",
            file=folder / name,
            got=type(data).__name__,
            expected='{"labels": ...}',
            remedy=f"put the entries of {name} between braces, or export the data set again",
        )
    return data


def labels_in(data: Mapping[str, Any], file: Path) -> Labels | None:
    """The label table of a dataset.json, in either way of writing it; None if it has none.

    ``{"background": 0, "core": 1, "whole": [1, 2], "ignore": 3}`` or ``{"0": "background", "1": "core"}``.

    Raises
    ------
    LabelError
        If it makes no label table; names the file.
    """
    table = data.get("labels")
    if table is None:
        return None
    try:
        if not isinstance(table, Mapping):
            raise LabelError(
                "'labels' is a mapping.",
                got=type(table).__name__,
                remedy='write names with their values: "labels": {"background": 0, "tumour": 1}',
            )
        return Labels.from_dict(described(table))
    except LabelError as error:
        error.file = error.file or str(file)
        raise
