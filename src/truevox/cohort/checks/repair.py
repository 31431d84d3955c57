"""Repairs of files on another grid: into a new folder, never in place."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from joblib import Parallel, delayed

from truevox import io
from truevox.cohort.case import Case
from truevox.cohort.checks.pictures import mismatch_rows, open_shown
from truevox.cohort.checks.planes import draw_rows, plain_name
from truevox.cohort.checks.problem import Problem, told
from truevox.cohort.checks.voxels import look_of
from truevox.cohort.table import Cohort
from truevox.errors import FileError, GeometryError, TrueVoxError
from truevox.files import read_json, write_csv, write_json
from truevox.io.access import image_of, label_counts
from truevox.labels import Labels
from truevox.progress import Advance

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["Repair", "repair"]

How = Literal["resample", "copy-header"]
# More labels than this are resampled nearest: the average of each takes an image in memory.
_MOST_LABELS = 32


@dataclass(frozen=True)
class Repair:
    """What was done about one file.

    Parameters
    ----------
    case, column : str
    status : {"repaired", "refused"}
    what : str
        How, or why not.
    source, file : str
        The original, and the repaired file (empty if refused).
    displacement_before_mm, displacement_after_mm : float or None
        Largest displacement of a corner from the reference's grid; None where shapes differ.
    picture : str
        Before and after.
    """

    case: str
    column: str
    status: Literal["repaired", "refused"]
    what: str
    source: str
    file: str
    displacement_before_mm: float | None
    displacement_after_mm: float | None
    picture: str


def repair(
    cohort: Cohort,
    problems: Sequence[Problem],
    how: How,
    folder: Path,
    labels: Mapping[str, Labels | None],
    *,
    n_jobs: int = 1,
    advance: Advance | None = None,
) -> list[Repair]:
    """Put the files of all ``grid`` problems on the grid of their case's first file.

    Writes ``images/`` with the repaired files, ``pictures/`` with before and after, ``fixes.csv``, and
    ``cohort.csv``: the cohort with the repaired files in place of the others, which stay where they are.
    What a former, broken run into the same folder finished is not done again.

    Parameters
    ----------
    cohort : Cohort
    problems : sequence of Problem
        As :func:`truevox.cohort.check` gives them; those of other kinds are left alone.
    how : {"resample", "copy-header"}
        Voxels sampled anew at the places of the reference's (scalars linear; labels nearest, or by largest
        share of the voxel where it is coarser); or the same voxels with the reference's header, where shapes
        agree.
    folder : Path
        No folder of the cohort's own files.
    labels : mapping of column to Labels or None
        The columns that hold labels; any other file of a few integers is taken for labels too.
    n_jobs : int
        Processes (joblib).
    advance : callable, optional
        Told how many are done, the last one's name, and how many there are.

    Raises
    ------
    FileError
        If files of the cohort are inside ``folder``, or it can't be written.
    """
    folder = folder.absolute()
    _refuse_originals(cohort, folder)
    cases = {case.key: case for case in cohort}
    jobs = [
        (cases[p.where[0][0]], p.where[0][1], p.where[1][1], how, folder, labels)
        for p in problems
        if p.kind == "grid"
    ]
    made: Iterable[Repair] = Parallel(n_jobs=n_jobs, return_as="generator")(  # type: ignore[assignment]
        delayed(_repair)(*job) for job in jobs
    )
    rows = []
    for row in made:
        rows.append(row)
        if advance is not None:
            advance(len(rows), f"{row.case} {row.column}", len(jobs))
    write_csv(folder / "fixes.csv", [asdict(row) for row in rows], [f.name for f in fields(Repair)])
    _repaired(cohort, rows).to_csv(folder / "cohort.csv")
    return rows


def _repaired(cohort: Cohort, rows: Iterable[Repair]) -> Cohort:
    """The cohort with the repaired files in place of the others."""
    files: dict[str, dict[str, Path]] = {}
    for row in rows:
        if row.file:
            files.setdefault(row.case, {})[row.column] = Path(row.file)
    cases = (replace(case, values={**case.values, **files.get(case.key, {})}) for case in cohort)
    return Cohort(cases, cohort.labels, cohort.modalities, cohort.notes)


def _refuse_originals(cohort: Cohort, folder: Path) -> None:
    new = folder.resolve()
    for case in cohort:
        for path in case.files.values():
            if new in path.resolve().parents:
                raise FileError(
                    "Repairs go into a new folder, and this one holds files of the cohort.",
                    case=case.key,
                    file=path,
                    got=folder,
                    remedy="name a folder that does not exist yet",
                )


def _repair(
    case: Case, reference: str, column: str, how: How, folder: Path, labels: Mapping[str, Labels | None]
) -> Repair:
    # Keys that differ only in characters that a file name can't hold stay apart.
    mark = hashlib.blake2b(f"{case.key}\n{column}".encode(), digest_size=4).hexdigest()
    name = f"{plain_name(case.key, column)}-{mark}"
    target, note = folder / "images" / f"{name}.nii.gz", folder / "records" / f"{name}.json"
    source, base = case.path(column).absolute(), case.path(reference)
    identity = [how, *(str(part) for path in (source, base) for part in _identity(path))]
    if (done := _done(note, target, identity)) is not None:
        return done
    before = after = None
    try:
        array, header = io.read(source)
        like = io.read_header(base)
        before = _displacement(header, like)
        is_label = column in labels or look_of(array) == "labels"
        image = image_of(array, header, "label" if is_label else "scalar")
        image, what = _resampled(image, like) if how == "resample" else _with_header(image, like, base)
        io.save(image, target)
        after = _displacement(io.read_header(target), like)
    except TrueVoxError as error:
        return Repair(case.key, column, "refused", told(error), str(source), "", before, None, "")
    picture = folder / "pictures" / f"{name}.png"
    _draw(picture, case, reference, column, target, labels, what)
    row = Repair(case.key, column, "repaired", what, str(source), str(target), before, after, str(picture))
    write_json(note, {"identity": identity, "row": asdict(row)})
    return row


def _resampled(image: Image, like: io.Header) -> tuple[Image, str]:
    if image.kind != "label":
        seen = image.on(like.grid)
        return seen.replace(grid=like.grid, header=like), "resampled, linear"
    values = [v for v in label_counts(image.numpy()) if v != 0]
    if 0 < len(values) <= _MOST_LABELS:
        image = image.replace(labels=Labels({str(v): v for v in values}))
    seen = image.on(like.grid)
    if seen.kind == "label" or seen.labels is None:
        return seen.replace(labels=None, header=like), "resampled, nearest"
    import torch

    decoded = torch.from_numpy(seen.labels.decode(seen.numpy()))
    how = "resampled, the label with the largest share of each voxel"
    return seen.replace(data=decoded, kind="label", labels=None, fill=0.0, header=like), how


def _with_header(image: Image, like: io.Header, base: Path) -> tuple[Image, str]:
    if image.grid.shape != like.grid.shape:
        raise GeometryError(
            "The header can't be copied: the shapes differ.",
            got=image.grid.describe(),
            expected=like.grid.describe(),
            remedy="take the file out of the repair, and make it again on the grid of its image",
        )
    return image.replace(grid=like.grid, header=like), f"header of {base.name}"


def _displacement(header: io.Header, like: io.Header) -> float | None:
    found = header.grid.displacement(like.grid)
    return found if math.isfinite(found) else None


def _draw(
    path: Path,
    case: Case,
    reference: str,
    column: str,
    target: Path,
    labels: Mapping[str, Labels | None],
    what: str,
) -> None:
    fixed = replace(case, values={**case.values, column: target})
    first = open_shown(case, reference, labels)
    old, new = open_shown(case, column, labels), open_shown(fixed, column, labels)
    if first is not None and old is not None and new is not None:
        rows = [*mismatch_rows(first, old, "before: "), *mismatch_rows(first, new, "after: ")]
        draw_rows(path, f"{case.key}: {column}", what, rows)


def _identity(path: Path) -> tuple[object, ...]:
    state = path.stat()
    return path.absolute(), state.st_size, state.st_mtime_ns


def _done(note: Path, target: Path, identity: list[str]) -> Repair | None:
    """What a former run did, if the files are still those."""
    if not note.is_file() or not target.is_file():
        return None
    record: dict[str, Any] = read_json(note)
    return Repair(**record["row"]) if record["identity"] == identity else None
