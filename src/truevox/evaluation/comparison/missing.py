"""Scores of several methods on the same cases, and what stands in for those that are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from truevox.errors import SettingsError
from truevox.evaluation.comparison.ranking import Field

__all__ = ["COUNTS", "Missing", "Resolved", "Scores", "resolve"]

Missing = Literal["worst", "drop"]
COUNTS = ("undefined", "missed", "spurious", "failed", "absent")
"""Statuses that are counted, beside ``ok``."""


@dataclass(frozen=True)
class Scores:
    """One metric of one label: methods by cases.

    Parameters
    ----------
    label, metric, unit, definition : str
    better : {"higher", "lower", "zero"}
        ``zero``: compared by the absolute value.
    low, high : float
        Range of the metric; infinite where it has no end.
    best : float
    methods, cases, patients : tuple of str
        M methods, N cases and the patient of each case.
    values : (M, N)
        NaN where there is none.
    status : (M, N) of str
        As in ``metrics.csv``; ``"absent"`` where a method has no row for the case.

    Examples
    --------
    >>> Scores("liver", "dice", "1", "dice/voxel", "higher", 0, 1, 1, ("a",), ("p1",), ("p1",),
    ...        np.array([[0.8]]), np.array([["ok"]])).values.shape
    (1, 1)
    """

    label: str
    metric: str
    unit: str
    definition: str
    better: Literal["higher", "lower", "zero"]
    low: float
    high: float
    best: float
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    values: NDArray[np.float64]
    status: NDArray[np.str_]


@dataclass(frozen=True)
class Resolved:
    """Scores without a gap.

    Parameters
    ----------
    scores : Scores
        As they were read.
    kept : (N,) bool
        The cases that are compared.
    values : (M, K)
        Of those cases; absolute where the best value is 0.
    worst : float
        What stands in for a missing value; NaN if nothing had to.
    worst_from : str
        Where that number comes from.
    worst_at, best_at : (M, K) bool
        Where the worst value stands in, and where the best does: a method that rightly found nothing.
    """

    scores: Scores
    kept: NDArray[np.bool_]
    values: NDArray[np.float64]
    worst: float
    worst_from: str
    worst_at: NDArray[np.bool_]
    best_at: NDArray[np.bool_]

    @property
    def patients(self) -> list[str]:
        """Of the cases that are compared."""
        return [p for p, kept in zip(self.scores.patients, self.kept, strict=True) if kept]

    @property
    def cases(self) -> list[str]:
        """Those that are compared."""
        return [c for c, kept in zip(self.scores.cases, self.kept, strict=True) if kept]

    @property
    def dropped(self) -> int:
        """How many cases are left out."""
        return int((~self.kept).sum())

    @property
    def field(self) -> Field:
        """For rankings."""
        clusters = np.unique(np.asarray(self.patients, dtype=str), return_inverse=True)[1]
        alone = clusters.max(initial=-1) + 1 == len(clusters)
        better = "higher" if self.scores.better == "higher" else "lower"
        return Field(self.values, better, None if alone else clusters)

    def counts(self, method: int) -> dict[str, int]:
        """Cases of a method by status (:data:`COUNTS`), of all that were read."""
        return {name: int((self.scores.status[method] == name).sum()) for name in COUNTS}


def resolve(scores: Scores, missing: Missing = "worst") -> Resolved:
    """Fill the gaps of scores by one rule.

    1. A case where no method has a value and one is undefined (both masks empty) says nothing: it is
       left out.
    2. ``undefined`` where another method is ``spurious``: the reference is empty, and this method rightly
       found nothing. It gets the metric's best value.
    3. Any other gap (the case failed, has no row, or the value is undefined for this method only) gets the
       worst value: the end of the metric's range, or, where that is infinite, the worst value that any
       method has.

    With ``missing="drop"`` a case that is not complete is left out for all methods instead of 2 and 3.

    Parameters
    ----------
    scores : Scores
    missing : {"worst", "drop"}

    Returns
    -------
    Resolved

    Raises
    ------
    SettingsError
        If the rule is neither.

    Examples
    --------
    >>> values = np.array([[0.8, np.nan, np.nan], [0.7, 0.0, np.nan]])
    >>> status = np.array([["ok", "undefined", "failed"], ["ok", "spurious", "failed"]])
    >>> found = resolve(Scores("liver", "dice", "1", "dice/voxel", "higher", 0, 1, 1, ("a", "b"),
    ...                        ("p1", "p2", "p3"), ("p1", "p2", "p3"), values, status))
    >>> found.values.tolist()
    [[0.8, 1.0, 0.0], [0.7, 0.0, 0.0]]
    """
    if missing not in ("worst", "drop"):
        raise SettingsError(
            "There is no such rule for missing values.", got=missing, expected="worst or drop"
        )
    values = np.abs(scores.values) if scores.better == "zero" else scores.values.copy()
    gap = np.isnan(values)
    undefined = gap & (scores.status == "undefined")
    kept = ~(gap.all(0) & undefined.any(0))
    if missing == "drop":
        kept &= ~gap.any(0)
    worst, source = _worst(scores, values)
    if math.isnan(worst):
        kept &= ~gap.any(0)
    rightly_empty = undefined & (scores.status == "spurious").any(0)
    replaced = gap & ~rightly_empty
    values[rightly_empty] = abs(scores.best) if scores.better == "zero" else scores.best
    values[replaced] = worst
    used = bool(replaced[:, kept].any())
    return Resolved(
        scores,
        kept,
        values[:, kept],
        worst if used else float("nan"),
        source if used else "",
        replaced[:, kept],
        rightly_empty[:, kept],
    )


def _worst(scores: Scores, values: NDArray[np.float64]) -> tuple[float, str]:
    end = scores.low if scores.better == "higher" else scores.high
    if scores.better != "zero" and math.isfinite(end):
        return float(end), "end of the metric's range"
    if np.isnan(values).all():
        return float("nan"), ""
    observed = np.nanmin(values) if scores.better == "higher" else np.nanmax(values)
    return float(observed), "worst value of any method"


def patients_of(cases: Sequence[str]) -> list[str]:
    """The patient of each case: what stands before the first ``/``.

    Examples
    --------
    >>> patients_of(["p1/t0", "p1/t1", "p2"])
    ['p1', 'p1', 'p2']
    """
    return [case.split("/")[0] for case in cases]
