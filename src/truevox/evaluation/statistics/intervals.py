"""The bootstrap by patient: samples for the stability of rankings; percentile and BCa intervals.

Its intervals are too short for few patients (docs/intervals.md): what is shown comes from
:mod:`truevox.evaluation.statistics.by_patient`, unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.evaluation.statistics.by_patient import (
    FEWEST,
    Interval,
    group_by_patient,
    no_interval,
)

__all__ = [
    "Interval", "Resamples", "Statistic", "bootstrap", "mean_of", "quantile_of", "ratio_of",
]  # fmt: skip

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights (B, N), how often each row is in each of B samples, to the statistic of each sample (B,)."""

_CELLS = 4_000_000


@dataclass(frozen=True)
class Resamples:
    """Bootstrap samples of rows that belong to patients: a patient that is drawn brings all its rows.

    Parameters
    ----------
    clusters : (N,) int
        Number of the patient of each row, 0 to P - 1.
    count : int
        Samples.
    seed : int
        The same seed draws the same samples.

    Examples
    --------
    >>> draws = Resamples(np.array([0, 0, 1]), count=3, seed=0)
    >>> weights = np.concatenate(list(draws.batches()))
    >>> weights.shape, bool((weights[:, 0] == weights[:, 1]).all())
    ((3, 3), True)
    """

    clusters: NDArray[np.intp]
    count: int = 10_000
    seed: int = 0

    @classmethod
    def of(cls, patients: Sequence[str], count: int = 10_000, seed: int = 0) -> Resamples:
        """Samples of rows by the name of their patient.

        Examples
        --------
        >>> Resamples.of(["p2", "p1", "p2"]).clusters.tolist()
        [1, 0, 1]
        """
        return cls(group_by_patient(list(map(str, patients)), len(patients)), count, seed)

    @property
    def patients(self) -> int:
        """How many there are."""
        return int(self.clusters.max(initial=-1)) + 1

    def patient_batches(self) -> Iterator[NDArray[np.float64]]:
        """How often each patient is drawn, (b, P) at a time, so that memory stays bounded."""
        count = self.patients
        rng = np.random.default_rng(self.seed)
        step = max(1, _CELLS // max(1, len(self.clusters)))
        for start in range(0, self.count, step):
            size = min(step, self.count - start)
            drawn = rng.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
            yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)

    def batches(self) -> Iterator[NDArray[np.float64]]:
        """How often each row is drawn, (b, N) at a time."""
        for weights in self.patient_batches():
            yield weights[:, self.clusters]

    def left_out(self) -> Iterator[NDArray[np.float64]]:
        """Weights (b, N) of the samples that leave out one patient each, in their order."""
        step = max(1, _CELLS // max(1, len(self.clusters)))
        for start in range(0, self.patients, step):
            which = np.arange(start, min(start + step, self.patients))
            yield (self.clusters[None] != which[:, None]).astype(np.float64)


def mean_of(values: ArrayLike) -> Statistic:
    """The mean of rows.

    Examples
    --------
    >>> mean_of([1.0, 4.0])(np.array([[1.0, 1.0], [2.0, 0.0]])).tolist()
    [2.5, 1.0]
    """
    return ratio_of(values, np.ones(len(np.asarray(values))))


def ratio_of(numerator: ArrayLike, denominator: ArrayLike) -> Statistic:
    """Sum of one column over the sum of another, e.g. a precision from counts; NaN for 0 / 0.

    Examples
    --------
    >>> ratio_of([40, 2], [42, 22])(np.ones((1, 2))).tolist()
    [0.65625]
    """
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)

    def compute(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights @ below
        return np.where(total != 0, weights @ above / np.where(total != 0, total, 1.0), np.nan)

    return compute


def quantile_of(values: ArrayLike, q: float = 0.5) -> Statistic:
    """A quantile of rows, with linear interpolation as in :func:`numpy.quantile`.

    Examples
    --------
    >>> quantile_of([3.0, 1.0, 2.0])(np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 0.0]])).tolist()
    [2.0, 2.0]
    """
    x = np.asarray(values, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    ordered = x[order]

    def compute(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        cumulative = np.cumsum(weights[:, order], axis=1)
        place = (cumulative[:, -1] - 1) * q
        lower = np.floor(place + 1e-9)
        low, high = (
            ordered[np.minimum((cumulative < k[:, None]).sum(1), len(x) - 1)] for k in (lower + 1, lower + 2)
        )
        share = np.maximum(place - lower, 0.0)
        return np.where(share > 0, low + share * (high - low), low)

    return compute


def bootstrap(
    statistics: Sequence[Statistic],
    resamples: Resamples,
    *,
    method: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
) -> list[Interval]:
    """Intervals of several statistics, from the same samples.

    Parameters
    ----------
    statistics : sequence of functions of weights (B, N) to (B,)
    resamples : Resamples
        Draws patients.
    method : {"percentile", "bca"}
        Quantiles of the samples; or corrected for bias and skewness, with one patient left out at a time.
    level : float
        Coverage.

    Returns
    -------
    list of Interval
        Without limits for fewer than 3 patients, and where all samples have one value.

    References
    ----------
    Efron (1987), Better bootstrap confidence intervals; Field and Welsh (2007), Bootstrapping clustered data.

    Examples
    --------
    Six patients, true and false positives of each. Drawn as single lesions, they would seem far surer.

    >>> tp, fp = np.array([40, 35, 2, 30, 1, 25]), np.array([2, 3, 20, 5, 15, 1])
    >>> [precision] = bootstrap([ratio_of(tp, tp + fp)], Resamples(np.arange(6)))
    >>> print(f"{precision.value:.3f} [{precision.low:.2f}, {precision.high:.2f}]")
    0.743 [0.44, 0.93]
    """
    n, patients = len(resamples.clusters), resamples.patients
    values = [float(one(np.ones((1, n)))[0]) for one in statistics]
    if patients < FEWEST or not statistics:
        return [no_interval(value, n, patients, f"fewer than {FEWEST} patients") for value in values]
    drawn = np.concatenate(
        [np.stack([one(weights) for one in statistics]) for weights in resamples.batches()], axis=1
    )
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    at = [tails] * len(values)
    if method == "bca":
        left = np.concatenate(
            [np.stack([one(weights) for one in statistics]) for weights in resamples.left_out()], axis=1
        )
        at = [_bca_tails(*one, tails) for one in zip(values, drawn, left, strict=True)]
    return [
        _interval(value, row, where, n, patients) for value, row, where in zip(values, drawn, at, strict=True)
    ]


def _interval(
    value: float, sample: NDArray[np.float64], at: NDArray[np.float64], n: int, patients: int
) -> Interval:
    kept = sample[~np.isnan(sample)]
    if not len(kept):
        return no_interval(value, n, patients, "no sample has a value")
    if np.ptp(kept) <= 1e-12 * max(1.0, abs(value)):
        return no_interval(value, n, patients, "all samples have one value")
    low, high = np.quantile(kept, at)
    return Interval(value, float(low), float(high), n, patients)


def _bca_tails(
    value: float, sample: NDArray[np.float64], left_out: NDArray[np.float64], tails: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The quantiles to read instead of ``tails``."""
    from scipy.special import ndtr, ndtri

    kept = sample[~np.isnan(sample)]
    if not len(kept):
        return tails
    tolerance = 1e-12 * max(1.0, abs(value))
    ties = np.abs(kept - value) <= tolerance
    below = ((kept < value) & ~ties).mean() + ties.mean() / 2
    # All samples on one side say no more than that the tail is thinner than one sample.
    bias = ndtri(np.clip(below, 0.5 / len(kept), 1 - 0.5 / len(kept)))
    pull = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = (pull**2).sum()
    skew = (pull**3).sum() / (6 * spread**1.5) if spread > tolerance**2 else 0.0
    z = bias + ndtri(tails)
    # Where the correction has a pole, the tail is at the end of the samples.
    rest = 1 - skew * z
    return ndtr(np.where(rest > 0, bias + z / np.where(rest > 0, rest, 1.0), np.sign(z) * np.inf))
