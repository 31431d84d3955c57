"""Agreement of measurements: Bland-Altman, intraclass correlation. Kappas: :mod:`truevox.metrics.raters`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.statistics.by_patient import (
    FEWEST,
    Interval,
    group_by_patient,
    mean_interval,
    no_interval,
)

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
        Of the differences between and within patients; NaN for one pair.
    bias, lower, upper : Interval
        Mean difference; mean -+ 1.96 sd; each with its 95 % interval by patient.

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
    a: ArrayLike, b: ArrayLike, *, patients: ArrayLike | Sequence[str] | None = None, level: float = 0.95
) -> BlandAltman:
    """Bias of ``a - b`` and the limits between which 95 % of the differences lie.

    Parameters
    ----------
    a, b : (n,)
        The same quantity, measured twice.
    patients : sequence of n names or numbers, optional
        By default each pair is of a patient of its own.
    level : float
        Of the intervals.

    Returns
    -------
    BlandAltman
        The bias is that of :func:`truevox.evaluation.statistics.by_patient.mean_interval`; no limit has an
        interval where the bias has none.

    Raises
    ------
    SettingsError
        If there is no pair, or a value is NaN.

    Notes
    -----
    Where patients have several pairs, the variance is the sum of that between and that within patients
    (analysis of variance); the plain one is too small, because scans of a patient are alike. Intervals of the
    limits put together those of the bias and of the standard deviation (MOVER).

    References
    ----------
    Bland and Altman (1999), Measuring agreement in method comparison studies; (2007), Agreement between
    methods of measurement with multiple observations per individual; Zou (2013), Confidence interval
    estimation for the Bland-Altman limits of agreement with multiple observations per individual.

    Examples
    --------
    >>> found = bland_altman([10, 20, 5, 15, 30], [11, 22, 6, 15, 28])
    >>> print(f"{found.bias.value:.1f} [{found.lower.value:.6f}, {found.upper.value:.6f}]")
    -0.4 [-3.372487, 2.572487]
    """
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not len(d):
        raise SettingsError("Agreement needs a pair of measurements.", remedy="give a value of each method")
    groups = group_by_patient(patients, len(d))
    bias = mean_interval(d, groups, level=level)
    variance, low, high = _variance(d, groups, level)
    sd = np.sqrt(variance)
    below, above = _REACH * (sd - np.sqrt(low)), _REACH * (np.sqrt(high) - sd)
    down, up = bias.value - bias.low, bias.high - bias.value

    def limit(side: int) -> Interval:
        value = float(bias.value + side * _REACH * sd)
        if bias.reason:
            return no_interval(value, bias.n, bias.patients, bias.reason)
        inner, outer = (below, above) if side > 0 else (above, below)
        return Interval(
            value,
            value - float(np.hypot(down, inner)),
            value + float(np.hypot(up, outer)),
            bias.n,
            bias.patients,
        )

    return BlandAltman(len(d), bias.patients, float(sd), bias, limit(-1), limit(1))


def _variance(d: NDArray[np.float64], groups: NDArray[np.intp], level: float) -> tuple[float, float, float]:
    """Variance of a new difference of a new patient, and its interval."""
    from scipy.stats import chi2

    n, counts = len(d), np.bincount(groups)
    patients = len(counts)
    if n < 2:
        return float("nan"), float("nan"), float("nan")
    total = float(((d - d.mean()) ** 2).sum())
    means = np.bincount(groups, d) / counts
    between = float((counts * (means - d.mean()) ** 2).sum())
    within = max(total - between, 0.0) / (n - patients) if n > patients else 0.0
    parts = [(total / (n - 1), n - 1)]
    if 1 < patients < n:
        size = (n - (counts.astype(float) ** 2).sum() / n) / (patients - 1)
        among = between / (patients - 1)
        if among > within:  # else patients differ no more than their scans do: all are alike
            parts = [(among / size, patients - 1), (within * (1 - 1 / size), n - patients)]
    tail = (1 - level) / 2
    down = [part * (1 - k / chi2.isf(tail, k)) for part, k in parts]
    up = [part * (k / chi2.ppf(tail, k) - 1) for part, k in parts]
    variance = sum(part for part, _ in parts)
    return variance, max(0.0, variance - float(np.hypot.reduce(down))), variance + float(np.hypot.reduce(up))


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
        NaN for fewer than two patients or raters, or where nothing varies; without intervals for fewer than
        3 patients, and where the agreement is perfect.

    Raises
    ------
    SettingsError
        If a value is NaN.

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
    if np.isnan(x).any():
        raise SettingsError("A correlation takes no NaN.", remedy="leave the patient out, and say so")
    nothing = no_interval(float("nan"), n, n, "nothing varies, or there is one patient or rater")
    if raters < 2 or n < 2 or np.ptp(x) <= 1e-12 * max(1.0, float(np.abs(x).max())):
        return Correlations(n, raters, nothing, nothing, nothing)
    total = ((x - x.mean()) ** 2).sum()
    between = raters * ((x.mean(0) - x.mean()) ** 2).sum()
    columns = n * ((x.mean(1) - x.mean()) ** 2).sum()
    patients = between / (n - 1)
    rater = columns / (raters - 1)
    within = max(total - between, 0.0) / (n * (raters - 1))
    error = max(total - between - columns, 0.0) / ((n - 1) * (raters - 1))
    return Correlations(
        n,
        raters,
        _one_way(patients, within, n, raters, n * (raters - 1), level),
        _agreement(patients, rater, error, n, raters, level),
        _one_way(patients, error, n, raters, (n - 1) * (raters - 1), level),
    )


def _rounded(value: float) -> float:
    """What float noise makes of 0 is 0."""
    return float(np.round(value, 12)) + 0.0


def _without(value: float, n: int, patients: float, rest: float) -> Interval | None:
    """Of few patients, of patients that do not vary, or of a perfect agreement: F says nothing then."""
    if n < FEWEST:
        return no_interval(value, n, n, f"fewer than {FEWEST} patients")
    if patients <= 1e-12 * rest:
        return no_interval(value, n, n, "patients do not vary")
    return no_interval(value, n, n, "the agreement is perfect") if value >= 1 - 1e-12 else None


def _one_way(patients: float, rest: float, n: int, k: int, degrees: int, level: float) -> Interval:
    """(MSB - MSW) / (MSB + (k - 1) MSW), and the same with the error of two ways."""
    from scipy.stats import f

    value = _rounded((patients - rest) / (patients + (k - 1) * rest)) if patients + rest > 0 else float("nan")
    if (without := _without(value, n, patients, rest)) is not None or np.isnan(value):
        return without or no_interval(value, n, n, "neither patients nor measurements vary")
    ratio, tail = patients / rest, (1 + level) / 2
    low = ratio / f.ppf(tail, n - 1, degrees)
    high = ratio * f.ppf(tail, degrees, n - 1)
    return Interval(value, float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1)), n, n)


def _agreement(patients: float, rater: float, error: float, n: int, k: int, level: float) -> Interval:
    from scipy.stats import f

    whole = patients + (k - 1) * error + k * (rater - error) / n
    value = _rounded((patients - error) / whole) if whole > 0 else float("nan")
    if (without := _without(value, n, patients, rater + error)) is not None or np.isnan(value):
        return without or no_interval(value, n, n, "neither patients nor measurements vary")
    # A negative estimate stands for none: the approximation is made of variances.
    kept = max(value, 0.0)
    a = k * kept / (n * (1 - kept))
    b = 1 + k * kept * (n - 1) / (n * (1 - kept))
    # Satterthwaite's degrees of freedom of a MSC + b MSE.
    mixed = a * rater + b * error
    if mixed <= 0:
        return no_interval(value, n, n, "raters do not differ at random")
    degrees = mixed**2 / ((a * rater) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    tail = (1 + level) / 2
    above, below = f.ppf(tail, n - 1, degrees), f.ppf(tail, degrees, n - 1)
    rest = k * rater + (k * n - k - n) * error
    low = n * (patients - above * error) / (above * rest + n * patients)
    high = n * (below * patients - error) / (rest + n * below * patients)
    return Interval(value, float(low), float(high), n, n)
