"""Files that are unlike the others of their column: spacing, shape, axes, intensities, kind.

How far a number lies from the median, in units of 1.4826 times the median absolute deviation: the
modified z-score (Iglewicz and Hoaglin 1993). Where nearly all files agree the deviation is zero; it is taken
as 3 % (of lengths and counts) or a tenth of the interquartile range (of intensities) at least.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.cohort.case import Case
from truevox.cohort.checks.files import Facts, Key, Layout
from truevox.cohort.checks.problem import Problem
from truevox.cohort.table import Cohort

__all__ = ["guessed_labels", "outliers"]

FEWEST = 8
"""Files of a column that are needed to say what is usual."""
FAR = 5.0
"""Robust z-score beyond which a file is an outlier."""
RARE = 0.2
"""Share of a column beyond which files are no outliers: the column is a mixture."""
_FLOOR_LOG, _FLOOR_IQR = 0.03, 0.1
_TINY = 1e-12
_REMEDIES = {
    "spacing": "see whether it belongs here; the recipe's spacing or tv.Resample makes it like the others",
    "shape": "see whether it belongs here, or was cropped or padded",
    "intensity": "see whether its units and its scaling are those of the others",
    "axes": "harmless for training, which reads all as RAS; see that left and right are right",
}


@dataclass(frozen=True)
class _Row:
    case: Case
    path: Path
    facts: Facts


@dataclass(frozen=True)
class _Measure:
    """A number of a file; lengths and counts are compared by their ratio (``log``)."""

    kind: str
    name: str
    unit: str
    of: Callable[[Facts], float]
    log: bool = True


def _lengths() -> Iterable[_Measure]:
    for axis, direction in enumerate(("left to right", "back to front", "feet to head")):
        yield _Measure("spacing", f"spacing from {direction}", " mm", lambda f, a=axis: _layout(f).spacing[a])
        yield _Measure(
            "shape", f"number of voxels from {direction}", "", lambda f, a=axis: _layout(f).size[a]
        )


def _layout(facts: Facts) -> Layout:
    assert facts.layout is not None
    return facts.layout


def _of(name: str) -> Callable[[Facts], float]:
    return lambda facts: float(getattr(facts.voxels.intensity, name))


_LENGTHS = tuple(_lengths())
_INTENSITIES = (
    _Measure("intensity", "median of the foreground", "", _of("median"), log=False),
    _Measure("intensity", "99th percentile of the foreground", "", _of("p99"), log=False),
    _Measure("intensity", "interquartile range of the foreground", "", _of("iqr")),
)


def guessed_labels(cohort: Cohort, facts: Mapping[Key, Facts]) -> set[str]:
    """Columns of which most files look like labels (a few integers)."""
    looks: dict[str, Counter[str]] = defaultdict(Counter)
    for column, rows in _columns(cohort, facts).items():
        looks[column].update(
            row.facts.voxels.look for row in rows if row.facts.voxels.low == row.facts.voxels.low
        )
    return {column for column, found in looks.items() if 2 * found["labels"] > found.total()}


def outliers(
    cohort: Cohort, facts: Mapping[Key, Facts], declared: Collection[str], label_columns: Collection[str]
) -> Iterable[Problem]:
    """Files that are unlike the others of their column.

    Parameters
    ----------
    declared : collection of str
        Columns whose kind is known: a wrong file is told by its own voxels.
    label_columns : collection of str
        Columns without intensities.
    """
    for column, rows in _columns(cohort, facts).items():
        if column not in declared:
            yield from _kinds(column, rows, column in label_columns)
        rows = [row for row in rows if row.facts.grid is not None]
        if len(rows) < FEWEST:
            continue
        yield from _axes(column, rows)
        yield from _far(column, rows, _LENGTHS)
        seen = [r for r in rows if r.facts.voxels.intensity is not None and r.facts.voxels.look != "labels"]
        if column not in label_columns and len(seen) >= FEWEST:
            yield from _far(column, seen, _INTENSITIES)


def _columns(cohort: Cohort, facts: Mapping[Key, Facts]) -> dict[str, list[_Row]]:
    """Rows by column; a file that several rows share counts once."""
    rows: dict[str, dict[Path, _Row]] = defaultdict(dict)
    for case in cohort:
        for column, path in case.files.items():
            rows[column].setdefault(path, _Row(case, path, facts[column, path]))
    return {column: list(found.values()) for column, found in rows.items()}


def _kinds(column: str, rows: Sequence[_Row], labels: bool) -> Iterable[Problem]:
    usual, other = ("labels", "image") if labels else ("image", "labels")
    like = sum(row.facts.voxels.look == usual for row in rows)
    for row in rows:
        if row.facts.voxels.look == other and 2 * like > len(rows):
            what = "an image" if other == "image" else "labels (a few integers)"
            message = f"The file looks like {what}, where {like} of {len(rows)} files of the column do not."
            remedy = "exchange the files of the two columns, or correct the path"
            yield _problem(row, column, "swapped", message, remedy)


def _axes(column: str, rows: Sequence[_Row]) -> Iterable[Problem]:
    found = [_layout(row.facts).axes for row in rows]
    (usual, count), *_ = Counter(found).most_common(1)
    odd = [(row, own) for row, own in zip(rows, found, strict=True) if own != usual]
    if len(odd) > RARE * len(rows):
        yield _mixture(column, "axes", f"Its files are stored in {len(set(found))} orders of axes")
        return
    for row, own in odd:
        message = (
            f"The voxels are stored as {own}, where {count} of {len(rows)} files of the column are {usual}."
        )
        yield _problem(row, column, "axes", message, _REMEDIES["axes"])


def _far(column: str, rows: Sequence[_Row], measures: Sequence[_Measure]) -> Iterable[Problem]:
    """One problem per file and kind, with all its numbers that are far from the median."""
    told: dict[tuple[str, int], list[str]] = defaultdict(list)
    for measure in measures:
        values = np.array([measure.of(row.facts) for row in rows])
        z = _robust_z(values, measure, rows)
        far = np.flatnonzero(np.abs(z) > FAR)
        median = float(np.median(values))
        if len(far) > RARE * len(rows):
            text = f"The {measure.name} differs much from the median ({median:.4g}{measure.unit})"
            yield _mixture(column, measure.kind, f"{text} in {len(far)} of {len(rows)} files")
            continue
        for k in far:
            told[measure.kind, int(k)].append(
                f"The {measure.name} is {values[k]:.4g}{measure.unit}; the median of {len(rows)} files "
                f"is {median:.4g}{measure.unit} (robust z {z[k]:+.1f})."
            )
    for (kind, k), texts in sorted(told.items(), key=lambda item: item[0][1]):
        remedy = _hounsfield(rows[k], rows) if kind == "intensity" else None
        yield _problem(rows[k], column, kind, " ".join(texts), remedy or _REMEDIES[kind])


def _robust_z(values: NDArray, measure: _Measure, rows: Sequence[_Row]) -> NDArray[np.float64]:
    if measure.log:
        values, floor = np.log(np.maximum(values, _TINY)), _FLOOR_LOG
    else:
        ranges = [row.facts.voxels.intensity.iqr for row in rows if row.facts.voxels.intensity is not None]
        floor = max(_FLOOR_IQR * float(np.median(ranges)), _TINY)
    away = values - np.median(values)
    return away / max(1.4826 * float(np.median(np.abs(away))), floor)


def _hounsfield(row: _Row, rows: Sequence[_Row]) -> str | None:
    """Whether the others are CT in Hounsfield units, and this one is not."""
    lows = [r.facts.voxels.intensity.low for r in rows if r.facts.voxels.intensity is not None]
    own = row.facts.voxels.intensity
    if own is None or float(np.median(lows)) > -900 or own.low < 0:
        return None
    return "the others look like CT in Hounsfield units: apply the rescale slope and intercept to this one"


def _problem(row: _Row, column: str, kind: str, message: str, remedy: str) -> Problem:
    return Problem(row.case.key, column, str(row.path), kind, message, remedy, ((row.case.key, column),))


def _mixture(column: str, kind: str, message: str) -> Problem:
    return Problem(
        "", column, "", kind, f"{message}: the column is a mixture.", "see that all splits have of each"
    )
