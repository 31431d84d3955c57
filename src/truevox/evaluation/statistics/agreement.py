"""Agreement of measurements: Bland-Altman, intraclass correlation. Kappas: :mod:`truevox.metrics.raters`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.evaluation.statistics.intervals import Interval, Resamples, Statistic, bootstrap, mean_of

__all__ = ["BlandAltman", "Correlations", "bland_altman", "icc"]

_REACH = 1.96  # of the limits of agreement


@dataclass(frozen=True)
class BlandAltman:
    """Bias and limits of agreement.

    Parameters
    ----------
    n, patients : int
        Pairs, and patients that they come from.
    sd : float
        Of the differences, with n - 1.
    bias, lower, upper : Interval
        Mean difference; mean -+ 1.96 sd; each with its 95 % interval.

    Examples
    --------
    >>> bland_altman([10, 20, 5], [11, 22, 6]).bias.value
    -1.3333333333333333
    """

    n: int
    patients: int
    sd: float
    bias: Interval
    lower: Interval
    upper: Interval


def bland_altman(
    a: ArrayLike,
    b: ArrayLike,
    *,
    patients: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> BlandAltman:
    """Bias of ``a - b`` and the limits between which 95 % of the differences lie.

    Parameters
    ----------
    a, b : (n,)
        The same quantity, measured twice.
    patients : sequence of n str, optional
        Where a patient has several rows the intervals are bootstrapped over patients; else they are
        those of the normal distribution.
    level : float
        Of the intervals.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    BlandAltman

    References
    ----------
    Bland and Altman (1999), Measuring agreement in method comparison studies, section 3.

    Examples
    --------
    >>> found = bland_altman([10, 20, 5, 15, 30], [11, 22, 6, 15, 28])
    >>> print(f"{found.bias.value:.1f} [{found.lower.value:.6f}, {found.upper.value:.6f}]")
    -0.4 [-3.372487, 2.572487]
    """
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n, nan = len(d), float("nan")
    groups = n if patients is None else len(set(patients))
    bias, sd = float(d.mean()), float(d.std(ddof=1)) if n > 1 else nan
    if patients is not None and groups < n:
        statistics = [mean_of(d), _limit(d, -_REACH), _limit(d, _REACH)]
        found = bootstrap(statistics, Resamples.of(patients, resamples, seed), level=level)
        return BlandAltman(n, groups, sd, *found)
    reach = _t_quantile(level, n - 1) * sd / np.sqrt(n) if n > 1 else nan
    # Variance of a limit: sd^2 / n of the mean, and 1.96^2 sd^2 / (2 (n - 1)) of the standard deviation.
    wide = reach * np.sqrt(1 + _REACH**2 * n / (2 * (n - 1))) if n > 1 else nan
    return BlandAltman(
        n,
        groups,
        sd,
        _around(bias, reach),
        _around(bias - _REACH * sd, wide),
        _around(bias + _REACH * sd, wide),
    )


def _limit(differences: NDArray[np.float64], reach: float) -> Statistic:
    def compute(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        n = weights.sum(1)
        mean = weights @ differences / n
        squares = (weights * (differences[None] - mean[:, None]) ** 2).sum(1)
        return mean + reach * np.sqrt(squares / np.maximum(n - 1, 1))

    return compute


def _t_quantile(level: float, degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, degrees))


def _around(value: float, reach: float) -> Interval:
    return Interval(value, value - float(reach), value + float(reach))


@dataclass(frozen=True)
class Correlations:
    """Intraclass correlations, with 95 % intervals.

    Parameters
    ----------
    n, raters : int
    one_way : Interval
        ICC(1): every patient has raters of its own.
    agreement : Interval
        ICC(A,1): the same raters for all, and their bias counts.
    consistency : Interval
        ICC(C,1): the same raters for all, and their bias does not count.

    Examples
    --------
    >>> icc([[1, 2, 3], [1, 2, 3]]).agreement.value
    1.0
    """

    n: int
    raters: int
    one_way: Interval
    agreement: Interval
    consistency: Interval


def icc(measurements: ArrayLike, *, level: float = 0.95) -> Correlations:
    """How much of the variance is that of the patients: intraclass correlation of single measurements.

    Parameters
    ----------
    measurements : (R, n)
        One row per rater or method, one column per patient.
    level : float
        Of the intervals, from the F distribution: for one measurement per patient.

    Returns
    -------
    Correlations
        NaN for fewer than two patients or raters, or where nothing varies.

    References
    ----------
    Shrout and Fleiss (1979), Intraclass correlations; McGraw and Wong (1996), Forming inferences about some
    intraclass correlation coefficients.

    Examples
    --------
    >>> found = icc([(10, 20, 5, 15, 30), (11, 22, 6, 15, 28), (9, 21, 5, 17, 33)])
    >>> print(*(f"{x.value:.6f}" for x in (found.one_way, found.agreement, found.consistency)))
    0.979198 0.979185 0.977320
    """
    x = np.asarray(measurements, dtype=np.float64)
    raters, n = x.shape
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    if raters < 2 or n < 2 or np.ptp(x) <= 1e-12 * max(1.0, float(np.abs(x).max())):
        return Correlations(n, raters, nothing, nothing, nothing)
    total = ((x - x.mean()) ** 2).sum()
    between = raters * ((x.mean(0) - x.mean()) ** 2).sum()
    columns = n * ((x.mean(1) - x.mean()) ** 2).sum()
    patients = between / (n - 1)
    rater = columns / (raters - 1)
    within = (total - between) / (n * (raters - 1))
    error = max(total - between - columns, 0.0) / ((n - 1) * (raters - 1))
    return Correlations(
        n,
        raters,
        _one_way(patients, within, n, raters, n * (raters - 1), level),
        _agreement(patients, rater, error, n, raters, level),
        _one_way(patients, error, n, raters, (n - 1) * (raters - 1), level),
    )


def _one_way(patients: float, rest: float, n: int, k: int, degrees: int, level: float) -> Interval:
    """(MSB - MSW) / (MSB + (k - 1) MSW), and the same with the error of two ways."""
    from scipy.stats import f

    value = (patients - rest) / (patients + (k - 1) * rest)
    if rest == 0:
        return Interval(value, value, value)
    ratio, tail = patients / rest, (1 + level) / 2
    low = ratio / f.ppf(tail, n - 1, degrees)
    high = ratio * f.ppf(tail, degrees, n - 1)
    return Interval(float(value), float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1)))


def _agreement(patients: float, rater: float, error: float, n: int, k: int, level: float) -> Interval:
    from scipy.stats import f

    value = (patients - error) / (patients + (k - 1) * error + k * (rater - error) / n)
    a = k * value / (n * (1 - value)) if value < 1 else np.inf
    if not np.isfinite(a) or error + rater == 0:
        return Interval(float(value), float(value), float(value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    # Satterthwaite's degrees of freedom of a MSC + b MSE.
    mixed = a * rater + b * error
    degrees = mixed**2 / ((a * rater) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    tail = (1 + level) / 2
    above, below = f.ppf(tail, n - 1, degrees), f.ppf(tail, degrees, n - 1)
    rest = k * rater + (k * n - k - n) * error
    low = n * (patients - above * error) / (above * rest + n * patients)
    high = n * (below * patients - error) / (rest + n * below * patients)
    return Interval(float(value), float(low), float(high))
