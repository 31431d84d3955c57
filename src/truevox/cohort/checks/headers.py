"""What headers tell: notes of readers, channels, grids that differ within a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from truevox import io
from truevox.alignment import aligned
from truevox.cohort.case import Case
from truevox.cohort.checks.problem import Finding, Problem

__all__ = ["channel_problems", "describe_mismatch", "grid_problems", "header_findings", "merged_notes"]

_NOTES = ("orientation", "header note")
_MANY = 8


def header_findings(header: io.Header) -> Iterable[Finding]:
    """What a header says that somebody should know."""
    for note in header.notes:
        message = f"The header: {note}."
        if "orientation" in note:
            yield Finding("orientation", message, "convert it again from its source with orientation")
        else:
            yield Finding("header note", message, "see that this is what you expect")


def merged_notes(problems: Sequence[Problem], files: Mapping[str, int]) -> Iterable[Problem]:
    """What many files of a column say, or all of them, said once; ``files`` counts those of a column."""
    times = Counter((p.column, p.message) for p in problems if p.kind in _NOTES)
    said = set()
    for problem in problems:
        place = problem.column, problem.message
        if problem.kind not in _NOTES or times[place] < min(_MANY, max(files[problem.column], 2)):
            yield problem
        elif place not in said:
            said.add(place)
            message = f"{times[place]} files. {problem.message}"
            yield replace(problem, case="", file="", message=message)


def channel_problems(
    files: Mapping[str, Mapping[Path, tuple[str, int]]],
    declared: Mapping[str, int] | None,
    label_columns: Collection[str],
) -> Iterable[Problem]:
    """Files with another number of channels than their column.

    Parameters
    ----------
    files : mapping of column to mapping of file to (key of its case, channels)
    declared : mapping of column to int, optional
        What is expected, 1 of columns that are not named. None expects what most files of a column have.
    label_columns : collection of str
        They have one.
    """
    for column, found in files.items():
        label = column in label_columns
        usual = Counter(channels for _, channels in found.values()).most_common(1)[0][0]
        expected = 1 if label else usual if declared is None else declared.get(column, 1)
        odd = {path: one for path, one in found.items() if one[1] != expected}
        for path, (key, channels) in odd.items():
            where = f"{expected} {'is' if expected == 1 else 'are'} expected"
            message = f"The file has {channels} channels (volumes, components or colours), where {where}."
            declare = f", or declare `channels: {{{column}: {channels}}}` in the recipe"
            remedy = f"extract what is meant{'' if label else declare}"
            yield Problem(key, column, str(path), "4D", message, remedy, ((key, column),))
        if declared is None and expected > 1:
            message = f"{len(found) - len(odd)} of {len(found)} files have {expected} channels each."
            remedy = (
                f"`channels: {{{column}: {expected}}}` in a recipe; `truevox train` without one plans it so"
            )
            yield Problem("", column, "", "channels", message, remedy)


def grid_problems(
    case: Case, headers: Mapping[str, io.Header], tol_mm: float, label_columns: Collection[str] = ()
) -> Iterable[Problem]:
    """Every column against the first.

    Grids are compared as the pipeline sees them, in the closest canonical orientation: how a file orders its
    voxels does not matter. A label of the same voxels whose header was rounded, by less than half a voxel, is
    a warning.
    """
    names = list(headers)
    for name in names[1:]:
        first, other = headers[names[0]], headers[name]
        if first.grid == other.grid or first.grid.same_as(other.grid, tol_mm):
            continue
        if first.grid.reorient().same_as(other.grid.reorient(), tol_mm):
            continue
        where = ((case.key, names[0]), (case.key, name))
        found = aligned(other.grid, first.grid) if name in label_columns else None
        if found is not None and found.same_voxels:
            message = (
                f"The headers of '{name}' and '{names[0]}' differ by {found.mm:.2g} mm ({found.voxels:.2g} "
                "voxels) at the farthest corner: voxels are taken for the same."
            )
            remedy = "right if a tool rounded the header; else find out which of the two is right"
            yield Problem(
                case.key, name, f"{first.path}; {other.path}", "header note", message, remedy, where
            )
            continue
        yield Problem(
            case.key,
            name,
            f"{first.path}; {other.path}",
            "grid",
            describe_mismatch(case.key, {names[0]: first, name: other}, tol_mm),
            f"tv.Like({names[0]})({name}) in the pipeline, or `truevox check COHORT --fix resample`"
            if first.grid.unit == other.grid.unit
            else "write the spacing into the file that has none; or, if voxels are in one order, "
            "`truevox check COHORT --fix copy-header`",
            where,
        )


def describe_mismatch(case: str, headers: Mapping[str, io.Header], tol_mm: float | None) -> str:
    """The text of two grids that should be one: both, and the largest displacement of a corner."""
    (one, first), (two, second) = headers.items()
    width = max(len(one), len(two))
    displacement = first.grid.displacement(second.grid)
    limit = "less than half a voxel" if tol_mm is None else f"{tol_mm:g} mm"
    how_far = f"{displacement:.3g} mm" if np.isfinite(displacement) else "not defined: the shapes differ"
    if first.grid.unit != second.grid.unit:
        how_far = "not known: one of the two says no spacing (px)"
    return (
        f"'{two}' and '{one}' of case {case} are not on the same grid.\n"
        f"  {one:<{width}}  {first.grid.describe()}  {first.path}\n"
        f"  {two:<{width}}  {second.grid.describe()}  {second.path}\n"
        f"  largest corner displacement {how_far} (tolerance {limit})"
    )
