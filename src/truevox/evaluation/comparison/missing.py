"""Scores of several methods on the same cases, and what stands in for those that are missing.

The one rule of :func:`resolve` holds for scores, ranks, tests and every table of a report that shows several
methods: failing to give a result never beats trying.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from truevox.errors import SettingsError
from truevox.evaluation.comparison.ranking import Field
from truevox.evaluation.statistics.by_patient import Interval, group_by_patient, mean_interval

__all__ = ["COUNTS", "RULES", "Missing", "Resolved", "Scores", "resolve"]

Missing = Literal["worst", "drop"]
COUNTS = ("undefined", "missed", "spurious", "failed", "absent")
"""Statuses that are counted, beside ``ok``."""
RULES = {
    "worst": "Missing, failed, and undefined for one method only: the worst value (the end of the metric's "
    "range; where it has none, what an empty mask would get, or the worst value of any method if that is "
    "worse). Missed and spurious: as they were scored, at the worst. Undefined for all: left out. An empty "
    "reference that a method rightly left empty, and another did not: the best value.",
    "drop": "A case that lacks the value of any method is left out for all methods.",
}
"""What stands in for missing values, in words, for who reads the numbers."""


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
    when_empty : (N,), optional
        What an empty prediction of the case would get, where that is known; NaN elsewhere.
    known_empty : bool
        Whether ``undefined`` says that both masks are empty; a table of another tool does not.

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
    when_empty: NDArray[np.float64] | None = None
    known_empty: bool = True

    @property
    def compared(self) -> str:
        """What is compared: the metric, or its absolute value, which its mean must not be taken for."""
        return f"|{self.metric}|" if self.better == "zero" else self.metric


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
    worst : (low, high)
        Between which values that stand in for missing ones lie; NaN if none had to.
    worst_from : str
        Where they come from.
    worst_at, best_at : (M, K) bool
        Where the worst value stands in, and where the best does: a method that rightly found nothing.
    """

    scores: Scores
    kept: NDArray[np.bool_]
    values: NDArray[np.float64]
    worst: tuple[float, float]
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

    @cached_property
    def field(self) -> Field:
        """For rankings."""
        clusters = group_by_patient(self.patients, len(self.patients))
        alone = clusters.max(initial=-1) + 1 == len(clusters)
        better = "higher" if self.scores.better == "higher" else "lower"
        return Field(self.values, better, None if alone else clusters)

    def mean(self, method: int, level: float = 0.95) -> Interval:
        """Of all scans of a method, with its interval by patient."""
        low, high = self.scores.low, self.scores.high
        if self.scores.better == "zero":
            low, high = 0.0, max(abs(low), abs(high))
        return mean_interval(self.values[method], self.patients, level=level, low=low, high=high)

    def counts(self, method: int) -> dict[str, int]:
        """Cases of a method by status (:data:`COUNTS`), of all that were read."""
        return {name: int((self.scores.status[method] == name).sum()) for name in COUNTS}


def resolve(scores: Scores, missing: Missing = "worst") -> Resolved:
    """Fill the gaps of scores by one rule.

    1. A case that is undefined for all methods says nothing: it is left out.
    2. ``undefined`` where the others are ``spurious``, failed or have no row: the reference is empty, and
       this method rightly found nothing. It gets the metric's best value.
    3. Any other gap (the case failed, has no row, or the value is undefined for this method only) gets the
       worst value: the end of the metric's range; or, where that is infinite, what an empty mask would get on
       this case, or the worst value of any method on any case if that is worse.
    4. A metric that has no value at all, of any method on any case, is not compared.

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
            "There is no such rule for missing values.",
            got=missing,
            expected="worst or drop",
            remedy='missing="worst" counts it as a failure, missing="drop" leaves the case out',
        )
    values = np.abs(scores.values) if scores.better == "zero" else scores.values.copy()
    gap = np.isnan(values)
    undefined = gap & (scores.status == "undefined")
    kept = ~undefined.all(0)
    if missing == "drop":
        kept &= ~gap.any(0)
    worst, source = _worst(scores, values)
    kept &= ~(np.isnan(worst) & gap.any(0))
    # Whoever has a value, or missed it, saw that there is something to find.
    nothing = scores.known_empty & np.isin(scores.status, ("undefined", "spurious", "failed", "absent")).all(
        0
    )
    rightly_empty = undefined & nothing & ~undefined.all(0)
    replaced = gap & ~rightly_empty
    values[rightly_empty] = abs(scores.best) if scores.better == "zero" else scores.best
    values = np.where(replaced, worst, values)
    if replaced[:, kept].all():  # no method has a value on any case: all would tie by what stands in
        kept[:] = False
    used = np.broadcast_to(worst, gap.shape)[replaced & kept]
    return Resolved(
        scores,
        kept,
        values[:, kept],
        (float(used.min()), float(used.max())) if len(used) else (float("nan"), float("nan")),
        source if len(used) else "",
        replaced[:, kept],
        rightly_empty[:, kept],
    )


def _worst(scores: Scores, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """(N,) what stands in on each case, NaN if nothing is known; and where it comes from."""
    count = values.shape[1]
    end = scores.low if scores.better == "higher" else scores.high
    if scores.better != "zero" and math.isfinite(end):
        return np.full(count, float(end)), "end of the metric's range"
    of_case = np.full(count, np.nan) if scores.when_empty is None else scores.when_empty
    of_case = np.abs(of_case) if scores.better == "zero" else of_case
    if np.isnan(values).all() and np.isnan(of_case).all():
        return of_case, ""
    worse, worst = (np.fmin, np.nanmin) if scores.better == "higher" else (np.fmax, np.nanmax)
    if np.isnan(values).all():
        return worse(of_case, worst(of_case)), "that of an empty mask"
    observed = worst(values)
    source = "worst value of any method"
    if not np.isnan(of_case).all():
        source = "that of an empty mask, or the worst of any method"
    return worse(of_case, observed), source


def patients_of(cases: Sequence[str]) -> list[str]:
    """The patient of each case: what stands before the first ``/``.

    Examples
    --------
    >>> patients_of(["p1/t0", "p1/t1", "p2"])
    ['p1', 'p1', 'p2']
    """
    return [case.split("/")[0] for case in cases]
