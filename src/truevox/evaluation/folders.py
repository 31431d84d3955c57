"""What to score: two folders of files of any tool, or a table that names them."""

from __future__ import annotations

import fnmatch
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from truevox.cohort.cells import is_missing
from truevox.cohort.found import path_of, without_suffix
from truevox.cohort.rows import read_table
from truevox.errors import CaseError, FileError, SettingsError
from truevox.evaluation.jobs import OUTPUT, Failure, Job
from truevox.evaluation.naming import Match, match_names, pattern_way
from truevox.files import expect_folder
from truevox.io import has_reader

__all__ = ["Matched", "match_folders", "read_pairs"]

_ARRAYS = (".npz", ".npy")
"""Probabilities and features that tools write beside their masks: read only where there is nothing else."""
_SLICES = (".dcm", ".dicom", ".ima")
_MANY = 5


@dataclass(frozen=True)
class Matched:
    """Jobs, and how they were found.

    Parameters
    ----------
    jobs : list of Job
        One per reference, in the order of their names.
    failures : list of Failure
        Predictions without a reference.
    said : str
        How names were matched, for the reader.
    record : dict
        The same in numbers, for ``run.json``.
    """

    jobs: list[Job]
    failures: list[Failure] = field(default_factory=list)
    said: str = ""
    record: Mapping[str, object] = field(default_factory=dict)


def match_folders(
    predictions: Path,
    references: Path,
    *,
    images: Path | None = None,
    scores: Path | None = None,
    pattern: str | None = None,
    prediction_files: str = "*",
    reference_files: str = "*",
) -> Matched:
    """Match the files of two folders by name.

    Parameters
    ----------
    predictions, references : path
        Folders, looked through with all that is in them. A folder of nnU-Net's raw data stands for its
        ``labelsTr`` and ``labelsTs``.
    images : path, optional
        Folder of the images, matched in the same way.
    scores : path, optional
        Folder of probabilities, matched in the same way.
    pattern : str, optional
        Regular expression whose first group is the case, in the path inside of each folder.
    prediction_files, reference_files : str
        Only the files whose path inside of the folder is like this: ``*_seg.nii.gz``.

    Raises
    ------
    FileError
        If a folder is missing or holds no file that could be read.
    SettingsError
        If no reference matches a prediction; names some of both.
    """
    left, right = _files(predictions, prediction_files), _reference_files(references, reference_files)
    way = None if pattern is None else pattern_way(pattern)
    match = match_names(_stems(left, predictions), _stems(right, references), way)
    if not match.matched:
        raise SettingsError(
            "No prediction has the name of a reference.",
            got=f"{len(left)} predictions: {_some(left, predictions)}; "
            f"{len(right)} references: {_some(right, references)}",
            remedy="tell the case by --match 'REGEX', or give a table: case,prediction,reference",
        )
    shown = (
        {}
        if images is None
        else _others(_with_series(_files(images, "*")), images, match, right, references, pattern)
    )
    jobs = [_job(case, match, left, right, shown.get(case)) for case in match.references]
    if scores is not None:
        known = _others(_probabilities(scores), scores, match, right, references, pattern)
        jobs = [replace(job, score=known.get(job.case)) for job in jobs]
    jobs += [
        Job(_stems([right[k]], references)[0], None, right[k]) for k in _nameless(match.references, right)
    ]
    alone = [left[k] for case, ks in match.predictions.items() if case not in match.references for k in ks]
    alone = sorted([*alone, *(left[k] for k in _nameless(match.predictions, left))])
    failures = [_without_reference(path, predictions) for path in alone]
    return Matched(jobs, failures, _said(match, left, right, alone), _record(match, left, right, alone))


def read_pairs(table: Path) -> Matched:
    """Jobs of a table; paths are relative to it.

    Its columns are ``case``, ``prediction``, ``reference`` and, if it has them, ``image``, ``score``
    (probabilities), ``patient``, ``output``.

    Raises
    ------
    FileError
        If it can't be read.
    CaseError
        If columns are missing, or a case is there twice.
    """
    columns = read_table(table)
    if missing := [name for name in ("case", "prediction", "reference") if name not in columns]:
        raise CaseError(
            f"The table has no column {', '.join(map(repr, missing))}.",
            file=table,
            got=", ".join(columns) or "an empty table",
            expected="case,prediction,reference and, if wanted, image,score,patient,output",
            remedy="name the columns so in the first line of the table, with commas between them",
        )
    count = len(columns["case"])
    if not count:
        raise CaseError("The table has no rows.", file=table, remedy="add one row per case")
    cells = [{name: column[k] for name, column in columns.items()} for k in range(count)]
    _expect_patients(columns, table)
    jobs = [
        Job(
            row["case"] or f"row {k}",
            _cell(table, row["prediction"]),
            _cell(table, row["reference"]),
            _cell(table, row.get("image", "")),
            output=row.get("output") or OUTPUT,
            patient="" if is_missing(owner := row.get("patient", "").strip()) else owner,
            score=_cell(table, row.get("score", "")),
        )
        for k, row in enumerate(cells, start=1)
    ]
    keys = [(job.case, job.output) for job in jobs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise CaseError(
            "A case is in the table twice.",
            case=twice[0][0],
            file=table,
            got=f"{len(twice)} such",
            remedy="remove one of its rows, or give each its own 'output'",
        )
    return Matched(jobs, [], f"{len(jobs)} cases of {table}", {"table": str(table), "cases": len(jobs)})


def _expect_patients(columns: Mapping[str, Sequence[str]], table: Path) -> None:
    """A patient whose name is written in two ways would count as two."""
    named = [text.strip() for text in columns.get("patient", ()) if not is_missing(text.strip())]
    plain: dict[str, str] = {}
    for name in named:
        if (first := plain.setdefault(name.casefold(), name)) != name:
            raise CaseError(
                "One patient is spelled in two ways.", file=table, got=f"'{first}', '{name}'",
                remedy="write the patient alike in all rows",
            )  # fmt: skip


def _cell(table: Path, text: str) -> Path | None:
    return None if is_missing(text) else path_of(table.parent, text)


# ---- looking through folders -----------------------------------------------------------


def _reference_files(folder: Path, like: str) -> list[Path]:
    parts = [part for part in (folder / "labelsTr", folder / "labelsTs") if part.is_dir()]
    return [file for part in parts for file in _files(part, like)] if parts else _files(folder, like)


def _files(folder: Path, like: str) -> list[Path]:
    """Files of a folder that could be masks, by name."""
    expect_folder(folder)
    found = [p for p in _walk(folder) if fnmatch.fnmatch(p.relative_to(folder).as_posix(), like)]
    plain = [p for p in found if not p.name.lower().endswith(_ARRAYS)]
    # Probabilities lie beside the labels that were decided from them.
    names = {without_suffix(p.name) for p in plain}
    kept = [p for p in plain or found if not _is_probabilities(without_suffix(p.name), names)]
    if not kept:
        raise FileError(
            "The folder holds no image that could be read.",
            file=folder,
            got=None if like == "*" else f"nothing like {like}",
            expected="e.g. case.nii.gz, case.nrrd, case/seg.dcm",
            remedy="check the path" if like == "*" else "check the path and the pattern of files",
        )
    return kept


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        if "metrics.csv" in files and place != os.fspath(folder):
            folders.clear()  # the results of an evaluation, with their figures
            continue
        stores = sorted(name for name in folders if name.lower().endswith(".zarr"))
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n not in stores)
        names = sorted([*stores, *(n for n in files if not n.startswith("."))])
        yield from (
            Path(place, name) for name in names if has_reader(name) and not name.lower().endswith(".img")
        )


def _is_probabilities(name: str, names: set[str]) -> bool:
    return name.endswith("_probabilities") and name.removesuffix("_probabilities") in names


def _stems(files: Sequence[Path], folder: Path) -> list[str]:
    parts = [file.relative_to(folder) for file in files]
    names = [part.with_name(without_suffix(part.name) or part.name).as_posix() for part in parts]
    # macOS writes an accent as a character of its own.
    return [unicodedata.normalize("NFC", name) for name in names]


def _probabilities(folder: Path) -> list[Path]:
    """Files of probabilities: those that say so, if some do."""
    expect_folder(folder)
    files = list(_walk(folder))
    return [file for file in files if "prob" in file.name or "softmax" in file.name] or files


def _others(
    files: Sequence[Path],
    folder: Path,
    match: Match,
    right: Sequence[Path],
    references: Path,
    pattern: str | None,
) -> dict[str, Path]:
    """The file of each case, where one and only one matches."""
    way = None if pattern is None else pattern_way(pattern)
    found = match_names(_stems(files, folder), _stems(right, references), way)
    case_of = {ks[0]: case for case, ks in match.references.items() if len(ks) == 1}
    pairs = {found.references[key][0]: files[found.predictions[key][0]] for key in found.matched}
    return {case_of[k]: file for k, file in pairs.items() if k in case_of}


def _with_series(files: Sequence[Path]) -> list[Path]:
    """Folders of several DICOM files instead of the files: they are one image."""
    slices = Counter(file.parent for file in files if file.suffix.lower() in _SLICES)
    series = {folder for folder, count in slices.items() if count > 1}
    return [*(file for file in files if file.parent not in series), *sorted(series)]


# ---- what is said ------------------------------------------------------------------------


def _nameless(found: Mapping[str, Sequence[int]], files: Sequence[Path]) -> list[int]:
    """Files whose names say no case."""
    return sorted(set(range(len(files))) - {k for ks in found.values() for k in ks})


def _job(case: str, match: Match, left: Sequence[Path], right: Sequence[Path], image: Path | None) -> Job:
    mine, theirs = match.predictions.get(case, []), match.references[case]
    several = [("predictions", [left[k] for k in mine]), ("references", [right[k] for k in theirs])]
    for what, files in several:
        if len(files) > 1:
            names = ", ".join(str(file) for file in files[:_MANY])
            problem = Failure(
                case, OUTPUT, str(files[0]), f"{len(files)} {what} have the name of this case: {names}.",
                "tell them apart by --match, or say which count: --prediction-files, --reference-files",
            )  # fmt: skip
            return Job(case, None, None, image, problem=problem)
    return Job(case, left[mine[0]] if mine else None, right[theirs[0]], image)


def _without_reference(path: Path, folder: Path) -> Failure:
    name = without_suffix(path.relative_to(folder).as_posix())
    return Failure(
        name, OUTPUT, str(path), "The prediction has no reference.", "add it, or take the file out"
    )


def _some(files: Sequence[Path], folder: Path) -> str:
    names = [file.relative_to(folder).as_posix() for file in files[:3]]
    return ", ".join(names) + (", ..." if len(files) > 3 else "")


def _said(match: Match, left: Sequence[Path], right: Sequence[Path], alone: Sequence[Path]) -> str:
    one, two = match.ways
    how = f"the {one}" if one == two else f"the {one} of predictions, the {two} of references"
    n = len(match.matched)
    text = f"{n} of {len(right)} references have a prediction, matched by {how}"
    first = match.matched[0]
    example = f"{left[match.predictions[first][0]].name} to {right[match.references[first][0]].name}"
    rest = f"; {len(alone)} of {len(left)} predictions have no reference" if alone else ""
    return f"{text} (case {first}: {example}){rest}."


def _record(
    match: Match, left: Sequence[Path], right: Sequence[Path], alone: Sequence[Path]
) -> dict[str, object]:
    return {
        "by": list(match.ways),
        "predictions": len(left),
        "references": len(right),
        "matched": len(match.matched),
        "without_prediction": [case for case in match.references if case not in match.predictions],
        "without_reference": [str(path) for path in alone],
        "ambiguous": [
            case
            for case, found in match.references.items()
            if len(found) > 1 or len(match.predictions.get(case, ())) > 1
        ],
    }
