"""Rankings of methods, as challenges make them: which order of aggregating and ranking, and what ties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.statistics.intervals import mean_of, quantile_of
from truevox.evaluation.statistics.paired import Correction, adjusted
from truevox.evaluation.statistics.signed_ranks import paired_differences, signed_ranks, wilcoxon_greater

__all__ = [
    "SCHEMES", "Field", "Ranking", "aggregate_then_rank", "case_ranks", "consensus", "rank_by_tests",
    "rank_then_aggregate", "ranks_of", "significance",
]  # fmt: skip

Better = Literal["higher", "lower"]
Ties = Literal["min", "max"]


@dataclass(frozen=True)
class Ranking:
    """Methods in order.

    Parameters
    ----------
    scheme : str
    scores : (M,)
        What was ranked: an aggregated value, an aggregated rank, or the share of methods beaten.
    ranks : (M,) int
        1 is best.

    Examples
    --------
    >>> aggregate_then_rank([[0.8, 0.9], [0.7, 0.6]]).ranks.tolist()
    [1, 2]
    """

    scheme: str
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """Scores of several methods on the same cases.

    Parameters
    ----------
    values : (M, N)
        No NaN: see :mod:`truevox.evaluation.comparison.missing`.
    better : {"higher", "lower"}
    clusters : (N,) int, optional
        Number of the patient of each case; by default each case is a patient. Tests use the mean of the
        cases of a patient.

    Raises
    ------
    SettingsError
        If a value is NaN.

    Examples
    --------
    >>> Field(np.array([[0.8, 0.9], [0.7, 0.6]])).patients
    2
    """

    values: NDArray[np.float64]
    better: Better = "higher"
    clusters: NDArray[np.intp] | None = None

    def __post_init__(self) -> None:
        if np.isnan(self.values).any():
            raise SettingsError(
                "A ranking takes no NaN.",
                got=f"{int(np.isnan(self.values).sum())} NaN",
                remedy="decide first: the worst value, or leave the case out",
            )

    @cached_property
    def patient_of(self) -> NDArray[np.intp]:
        """(N,) the patient of each case."""
        return np.arange(self.values.shape[1]) if self.clusters is None else self.clusters

    @property
    def patients(self) -> int:
        """How many there are."""
        return int(self.patient_of.max(initial=-1)) + 1

    @cached_property
    def by_patient(self) -> NDArray[np.float64]:
        """(M, P) mean of the cases of each patient."""
        count = np.bincount(self.patient_of)
        return np.stack([np.bincount(self.patient_of, row) / count for row in self.values])

    @cached_property
    def case_ranks(self) -> NDArray[np.float64]:
        """(M, N) rank of each method on each case."""
        return case_ranks(self.values, self.better)


def ranks_of(scores: ArrayLike, better: Better = "higher", ties: Ties = "min") -> NDArray[np.int64]:
    """Ranks along the last axis; what differs by float noise only is tied.

    Parameters
    ----------
    scores : (..., M)
        NaN comes last.
    better : {"higher", "lower"}
    ties : {"min", "max"}
        Both of two first are 1, or both are 2.

    Returns
    -------
    (..., M) int
        1 is best.

    Examples
    --------
    >>> ranks_of([0.3, 0.1 + 0.2, 0.5]).tolist()
    [2, 2, 1]
    """
    x = np.asarray(scores, dtype=np.float64)
    goodness = np.where(np.isnan(x), -np.inf, x if better == "higher" else -x)
    order = np.argsort(-goodness, axis=-1, kind="stable")
    ordered = np.take_along_axis(goodness, order, -1)
    largest = np.where(np.isfinite(ordered), np.abs(ordered), 0.0).max(-1, initial=1.0, keepdims=True)
    with np.errstate(invalid="ignore"):
        apart = ordered[..., :-1] - ordered[..., 1:] > 1e-12 * largest
    place = np.arange(x.shape[-1])
    if ties == "min":
        starts = np.concatenate([np.ones_like(apart[..., :1], shape=(*x.shape[:-1], 1)), apart], -1)
        group = np.maximum.accumulate(np.where(starts, place, 0), -1) + 1
    else:
        ends = np.concatenate([apart, np.ones_like(apart[..., :1], shape=(*x.shape[:-1], 1))], -1)
        last = np.where(ends, place, x.shape[-1])[..., ::-1]
        group = np.minimum.accumulate(last, -1)[..., ::-1] + 1
    ranks = np.empty(x.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, group, -1)
    return ranks


def case_ranks(values: ArrayLike, better: Better = "higher") -> NDArray[np.float64]:
    """Rank of each method on each case, ties "min"; NaN comes after the last.

    Parameters
    ----------
    values : (M, N)

    Returns
    -------
    (M, N)

    Examples
    --------
    >>> case_ranks([[0.8, 0.5], [0.7, 0.5], [float("nan"), 0.9]]).tolist()
    [[1.0, 2.0], [2.0, 2.0], [3.0, 1.0]]
    """
    x = np.asarray(values, dtype=np.float64)
    return ranks_of(x.T, better).T.astype(np.float64)


def aggregate_then_rank(
    values: ArrayLike,
    how: Literal["mean", "median"] | float = "mean",
    *,
    better: Better = "higher",
    ties: Ties = "min",
) -> Ranking:
    """Rank the mean, the median or a quantile of the cases.

    Parameters
    ----------
    values : (M, N)
    how : "mean", "median" or a quantile between 0 and 1
    better : {"higher", "lower"}
    ties : {"min", "max"}

    References
    ----------
    Maier-Hein et al. (2018), Why rankings of biomedical image analysis competitions should be interpreted
    with care.

    Examples
    --------
    >>> aggregate_then_rank([[0.6], [0.8]], better="lower").ranks.tolist()
    [1, 2]
    """
    field = Field(np.asarray(values, dtype=np.float64), better)
    scores = _aggregated(field.values, how, np.ones((1, field.values.shape[1])))[0]
    name = how if isinstance(how, str) else f"quantile {how:g}"
    return Ranking(f"{name}_then_rank", scores, ranks_of(scores, better, ties))


def rank_then_aggregate(
    values: ArrayLike, how: Literal["mean", "median"] | float = "mean", *, better: Better = "higher"
) -> Ranking:
    """Rank the methods on each case, aggregate the ranks, rank those.

    Examples
    --------
    >>> rank_then_aggregate([[0.9, 0.9, 0.0], [0.8, 0.8, 0.8]]).ranks.tolist()
    [1, 2]
    """
    field = Field(np.asarray(values, dtype=np.float64), better)
    scores = _aggregated(field.case_ranks, how, np.ones((1, field.values.shape[1])))[0]
    name = how if isinstance(how, str) else f"quantile {how:g}"
    return Ranking(f"rank_then_{name}", scores, ranks_of(scores, "lower"))


def rank_by_tests(
    values: ArrayLike, *, better: Better = "higher", alpha: float = 0.05, correction: Correction = "none"
) -> Ranking:
    """Rank by the share of the other methods that a method is significantly better than.

    Parameters
    ----------
    values : (M, N)
        One column per patient.
    better : {"higher", "lower"}
    alpha : float
    correction : {"none", "holm", "fdr"}
        Over all ordered pairs.

    Notes
    -----
    One-sided Wilcoxon tests, normal approximation with corrections for ties and continuity, as challengeR
    has them (Wiesenfarth et al. 2021). One case alone shows nothing: all are first.

    Examples
    --------
    >>> found = rank_by_tests([[0.2, 0.2, 0.2, 0.2], [1, 1, 1, 1]], better="lower")
    >>> found.scores.tolist(), found.ranks.tolist()
    ([1.0, 0.0], [1, 2])
    """
    field = Field(np.asarray(values, dtype=np.float64), better)
    p = significance(field, correction)
    scores = _beaten(p[None], alpha)[0]
    return Ranking("test_then_rank", scores, ranks_of(scores))


def significance(field: Field, correction: Correction = "holm") -> NDArray[np.float64]:
    """p-values that the method of the row is better than that of the column, one-sided.

    Parameters
    ----------
    field : Field
    correction : {"holm", "fdr", "none"}
        Over all ordered pairs.

    Returns
    -------
    (M, M)
        NaN on the diagonal.

    Examples
    --------
    >>> p = significance(Field(np.array([[0.9, 0.8, 0.9, 0.7], [0.1, 0.2, 0.3, 0.2]])), "none")
    >>> bool(p[0, 1] < 0.06 < 0.9 < p[1, 0])
    True
    """
    p = _one_sided(field, np.ones((1, field.patients)))[0]
    others = ~np.eye(len(p), dtype=bool)
    p[others] = adjusted(p[others].tolist(), correction)
    return p


def consensus(ranks: Mapping[str, Sequence[int]] | ArrayLike) -> Ranking:
    """One order from the ranks of several tasks: that of the mean ranks (Euclidean consensus).

    Parameters
    ----------
    ranks : (T, M), or mapping of task to M ranks

    Examples
    --------
    >>> consensus([[1, 2, 3], [2, 1, 3]]).ranks.tolist()
    [1, 1, 3]
    """
    table = list(ranks.values()) if isinstance(ranks, Mapping) else ranks
    mean = np.asarray(table, dtype=np.float64).mean(0)
    return Ranking("consensus", mean, ranks_of(mean, "lower"))


def _aggregated(
    values: NDArray[np.float64], how: str | float, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(B, M) aggregates of weighted cases (B, N)."""
    if how == "mean":
        return np.stack([mean_of(row)(weights) for row in values], axis=1)
    q = 0.5 if how == "median" else how
    if isinstance(q, str) or not 0 <= q <= 1:
        raise SettingsError(
            "Scores can't be aggregated so.",
            got=how,
            expected="mean, median, or 0 to 1",
            remedy='write "mean", "median", or a quantile such as 0.25',
        )
    return np.stack([quantile_of(row, q)(weights) for row in values], axis=1)


def _one_sided(field: Field, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, M, M) p-values of weighted patients (B, P)."""
    values = field.by_patient if field.better == "higher" else -field.by_patient
    count = len(values)
    p = np.full((len(weights), count, count), np.nan)
    for i in range(count):
        for j in range(i + 1, count):
            ranks = signed_ranks(paired_differences(values[i], values[j]), weights)
            p[:, i, j], p[:, j, i] = wilcoxon_greater(ranks)
    return p


def _beaten(p: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """(B, M) share of the other methods that each beats."""
    with np.errstate(invalid="ignore"):
        return (p <= alpha).sum(-1) / max(1, p.shape[-1] - 1)


def _values(how: str, field: Field, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return _aggregated(field.values, how, weights[:, field.patient_of])


def _case_ranks(how: str, field: Field, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return _aggregated(field.case_ranks, how, weights[:, field.patient_of])


def _tests(field: Field, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return _beaten(_one_sided(field, weights), 0.05)


@dataclass(frozen=True)
class Scheme:
    """Scores (B, M) of a field under weights (B, P) of its patients, and which of them is best.

    Examples
    --------
    >>> SCHEMES["rank_then_mean"].better(Field(np.ones((2, 3))))
    'lower'
    """

    scores: Callable[[Field, NDArray[np.float64]], NDArray[np.float64]]
    of_values: bool = False
    lower: bool = False

    def better(self, field: Field) -> Better:
        """Which scores are best: as the values, if it ranks values."""
        if self.of_values:
            return field.better
        return "lower" if self.lower else "higher"


SCHEMES = {
    "mean_then_rank": Scheme(partial(_values, "mean"), of_values=True),
    "median_then_rank": Scheme(partial(_values, "median"), of_values=True),
    "rank_then_mean": Scheme(partial(_case_ranks, "mean"), lower=True),
    "rank_then_median": Scheme(partial(_case_ranks, "median"), lower=True),
    "test_then_rank": Scheme(_tests),
}
"""Ways to rank, by name."""
