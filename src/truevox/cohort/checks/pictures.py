"""A picture of every offender: three planes through what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from truevox import io
from truevox.cohort.case import Case
from truevox.cohort.checks.planes import BAD, MASK, OTHER, REFERENCE, Layer, Row, draw_rows, plain_name
from truevox.cohort.checks.problem import Problem
from truevox.cohort.checks.voxels import look_of
from truevox.cohort.table import Cohort
from truevox.errors import TrueVoxError
from truevox.labels import Labels
from truevox.progress import Advance

__all__ = ["Shown", "draw_problems", "mismatch_rows", "open_shown"]

_MOST_ROWS = 3
_OF_MASKS = ("empty", "full")


@dataclass(frozen=True, eq=False)
class Shown:
    """A file as it is drawn."""

    column: str
    layer: Layer
    is_mask: bool
    table: Labels | None = None


def draw_problems(
    problems: Sequence[Problem],
    cohort: Cohort,
    folder: Path,
    labels: Mapping[str, Labels | None],
    *,
    n_jobs: int = 1,
    advance: Advance | None = None,
) -> dict[int, Path]:
    """Draw what can be drawn of a list of problems, in several processes.

    Parameters
    ----------
    problems : sequence of Problem
    cohort : Cohort
        Where they were found.
    folder : Path
        For the PNG files: number, case, column and kind of the problem.
    labels : mapping of column to Labels or None
        The columns that are known to hold labels.
    n_jobs : int
        Processes (joblib).
    advance : callable, optional
        Told how many are done, the last one's name, and how many there are.

    Returns
    -------
    dict of position in ``problems`` to Path
        Without the problems of files that can't be read.
    """
    cases = {case.key: case for case in cohort}
    jobs = {}
    for k, problem in enumerate(problems):
        if problem.where:
            name = plain_name(f"{k + 1:04}", problem.where[-1][0], problem.where[-1][1], problem.kind)
            uses = [(cases[key], column) for key, column in problem.where[:_MOST_ROWS]]
            jobs[k] = (folder / f"{name}.png", problem, uses, labels)
    drawn: dict[int, Path] = {}
    made: Iterable[bool] = Parallel(n_jobs=n_jobs, return_as="generator")(  # type: ignore[assignment]
        delayed(_draw)(*job) for job in jobs.values()
    )
    for done, ((k, job), there) in enumerate(zip(jobs.items(), made, strict=True), start=1):
        if there:
            drawn[k] = job[0]
        if advance is not None:
            advance(done, job[0].name, len(jobs))
    return drawn


def _draw(
    path: Path,
    problem: Problem,
    uses: Sequence[tuple[Case, str]],
    labels: Mapping[str, Labels | None],
) -> bool:
    rows = _rows(problem, uses, labels)
    if rows:
        title = f"{problem.severity}: {problem.kind}   {problem.case}   {problem.column}"
        draw_rows(path, title, problem.message, rows)
    return bool(rows)


def _rows(
    problem: Problem, uses: Sequence[tuple[Case, str]], labels: Mapping[str, Labels | None]
) -> list[Row]:
    if problem.kind in _OF_MASKS:
        # The column may have been taken for labels by its other files.
        labels = {problem.where[0][1]: None, **labels}
    shown = [(case, open_shown(case, column, labels)) for case, column in uses]
    if problem.kind == "grid":
        (_, first), (_, other) = shown
        return mismatch_rows(first, other) if first is not None and other is not None else []
    return [_row(case, one, labels) for case, one in shown if one is not None]


def open_shown(case: Case, column: str, labels: Mapping[str, Labels | None]) -> Shown | None:
    """The first volume of a file; None if it can't be read."""
    try:
        array, header = io.read(case.path(column))
    except TrueVoxError:
        return None
    one_value = array.min() == array.max()
    look = look_of(array)
    is_mask = look != "image" if column in labels else look == "labels" and not one_value
    return Shown(column, Layer(array[0], header.grid), is_mask, labels.get(column))


def mismatch_rows(first: Shown, other: Shown, when: str = "") -> list[Row]:
    """Two files of a case that should lie on one grid: contents and boxes of both, seen from the first."""
    boxes = (
        (first.layer.grid, REFERENCE, f"box of {first.column}"),
        (other.layer.grid, OTHER, f"box of {other.column}"),
    )
    if other.is_mask or first.is_mask:
        scan, mask, colour = (first, other, MASK) if other.is_mask else (other, first, REFERENCE)
        centre = mask.layer.middle(mask.layer.voxels != 0)
        masks = ((mask.layer, colour, mask.column),)
        return [Row(f"{when}{mask.column} on {scan.column}", scan.layer, centre, masks, boxes)]
    centre = first.layer.middle()
    return [
        Row(f"{when}{one.column}", Layer(one.layer.voxels, one.layer.grid), centre, (), boxes)
        for one in (first, other)
    ]


def _row(case: Case, one: Shown, labels: Mapping[str, Labels | None]) -> Row:
    bad = _bad(one)
    where = bad if bad.any() else (one.layer.voxels != 0 if one.is_mask else None)
    centre = one.layer.middle(where)
    caption = f"{case.key}: {one.column}"
    if not one.is_mask:
        return Row(caption, one.layer, centre)
    masks = [(one.layer, MASK, one.column)]
    if bad.any():
        masks.append((Layer(bad, one.layer.grid), BAD, "not declared, or no integer"))
    scan = _background(case, one.column, labels)
    if scan is None:
        return Row(caption, one.layer, centre, masks)
    return Row(f"{caption} on {scan.column}", scan.layer, centre, masks)


def _bad(one: Shown) -> NDArray[np.bool_]:
    """Voxels that are wrong in themselves: not finite, no label, a label that is not declared."""
    voxels = one.layer.voxels
    bad = ~np.isfinite(voxels)
    if one.is_mask:
        bad |= np.rint(voxels) != voxels
        if one.table is not None:
            known = [0, *one.table.values, *([one.table.ignore] if one.table.ignore is not None else [])]
            bad |= ~np.isin(voxels, known)
    return bad


def _background(case: Case, column: str, labels: Mapping[str, Labels | None]) -> Shown | None:
    """The first scan of the case."""
    for name in case.files:
        if name != column and name not in labels:
            found = open_shown(case, name, labels)
            if found is not None and not found.is_mask:
                return found
    return None
