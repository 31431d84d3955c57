"""Intervals by patient: the one place where an interval of a mean, a bias or a proportion is computed.

A scan says nothing new of a patient who was scanned before, nor a second lesion of him: what is left out, in
turn, is a patient with all that is his.
:mod:`truevox.evaluation.statistics.intervals` has the bootstrap, for what has no formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError

__all__ = [
    "FEWEST", "Interval", "StandardError", "counted", "group_by_patient", "mean_interval", "no_interval",
    "of_patients", "proportion_interval", "share_interval", "standard_error",
]  # fmt: skip

FEWEST = 3
"""Patients below which no interval is shown."""
_NOTHING = 1e-12
_LONGEST = 1.5


@dataclass(frozen=True)
class Interval:
    """Where a statistic lies.

    Parameters
    ----------
    value : float
        Of the sample itself.
    low, high : float
        NaN where there is no interval; ``reason`` says why.
    n, patients : int
        Values, and patients that they come from.
    reason : str
        Why there is no interval; empty where there is one.

    Examples
    --------
    >>> Interval(0.8, 0.7, 0.9).low
    0.7
    """

    value: float
    low: float
    high: float
    n: int = 0
    patients: int = 0
    reason: str = ""


def counted(n: int, patients: int) -> str:
    """How many values stand behind a number, in words.

    Examples
    --------
    >>> counted(40, 4), counted(12, 12), counted(1, 1)
    ('40 scans of 4 patients', '12 patients', '1 patient')
    """
    many = f"{patients} patient{'s' * (patients != 1)}"
    return many if n == patients else f"{n} scan{'s' * (n != 1)} of {many}"


def group_by_patient(patients: ArrayLike | Sequence[str] | None, n: int) -> NDArray[np.intp]:
    """(n,) number of the patient of each row, 0 to P - 1; None: each row is a patient.

    Raises
    ------
    SettingsError
        If there is not one patient for each row.

    Examples
    --------
    >>> group_by_patient(["p2", "p1", "p2"], 3).tolist()
    [1, 0, 1]
    """
    if patients is None:
        return np.arange(n)
    named = np.asarray(patients)
    if named.shape != (n,):
        raise SettingsError(
            "Each value needs a patient.",
            got=f"{named.shape} patients for {n} values",
            expected="as many",
            remedy="give a list of patients that is as long as the values",
        )
    return np.unique(named, return_inverse=True)[1].reshape(n)


def of_patients(values: ArrayLike, patients: ArrayLike | Sequence[str] | None = None) -> NDArray[np.float64]:
    """(P,) mean of the values of each patient, in the order of :func:`group_by_patient`.

    Examples
    --------
    >>> of_patients([0.2, 0.5, 0.4], ["a", "b", "a"]).round(9).tolist()
    [0.3, 0.5]
    """
    x = np.asarray(values, dtype=np.float64)
    groups = group_by_patient(patients, len(x))
    return np.bincount(groups, x) / np.bincount(groups)


def no_interval(value: float, n: int, patients: int, reason: str) -> Interval:
    """A value without an interval.

    Examples
    --------
    >>> no_interval(0.5, 1, 1, "fewer than 3 patients").low
    nan
    """
    return Interval(float(value), float("nan"), float("nan"), n, patients, reason)


@dataclass(frozen=True)
class StandardError:
    """Of the mean of all values, by patient.

    Parameters
    ----------
    mean : float
    error : float
        0 where all patients have one value; NaN for a single patient.
    degrees : float
        Of freedom: patients - 1, or fewer where some have more values than others.
    patients : int
    pulls : (P,)
        The mean minus that without each patient.
    """

    mean: float
    error: float
    degrees: float
    patients: int
    pulls: NDArray[np.float64]


def standard_error(values: ArrayLike, patients: ArrayLike | Sequence[str] | None = None) -> StandardError:
    """The jackknife's standard error of a mean: patients are left out in turn, each with all its values.

    Parameters
    ----------
    values : (n,)
        One or more, finite.
    patients : sequence of n names or numbers, optional

    Examples
    --------
    >>> found = standard_error([1.0, 1.0, 4.0, 4.0, 7.0, 7.0], ["a", "a", "b", "b", "c", "c"])
    >>> round(found.error, 6), found.degrees  # 3 / sqrt(3)
    (1.732051, 2.0)
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    groups = group_by_patient(patients, len(x))
    counts = np.bincount(groups)
    count, mean = len(counts), float(x.mean())
    pulls = _pulls(np.bincount(groups, x - mean), counts, 0.0)
    error = float(np.sqrt((count - 1) / count * (pulls**2).sum())) if count > 1 else float("nan")
    if error <= _NOTHING * max(1.0, float(np.abs(x).max())):
        error = 0.0
    return StandardError(mean, error, max(1.0, _effective(counts) - 1), count, pulls)


def mean_interval(
    values: ArrayLike,
    patients: ArrayLike | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    low: float = -np.inf,
    high: float = np.inf,
) -> Interval:
    """The mean of all values, and its interval by patient.

    Every value counts once, so a patient with more scans weighs more. How sure that mean is depends on the
    patients: they are left out in turn, each with all its values.

    Parameters
    ----------
    values : (n,)
    patients : sequence of n names or numbers, optional
        By default each value is of a patient of its own.
    level : float
    low, high : float
        Range of the values: an interval does not leave it.

    Returns
    -------
    Interval
        Without limits for fewer than :data:`FEWEST` patients, and where all patients have one value: nothing
        tells then how far others would lie.

    Raises
    ------
    SettingsError
        If a value is NaN: whoever leaves it out has to say so.

    Notes
    -----
    Student's t with the jackknife's standard error, and P - 1 degrees of freedom, where P is the number of
    patients, or (sum of scans)^2 / (sum of squared scans) where some have more scans than others. It is
    corrected for skewness (Hall) on the side to which values are skewed, by half of Student's reach at most;
    on the other side it is Student's. What it covers: docs/intervals.md.

    References
    ----------
    Hall (1992), On the removal of skewness by transformation; MacKinnon, Nielsen and Webb (2023), Fast and
    reliable jackknife and bootstrap methods for cluster-robust inference; Kish (1965), Survey sampling.

    Examples
    --------
    >>> found = mean_interval([0.9, 0.8, 0.85, 0.7], low=0, high=1)
    >>> print(f"{found.value:.4f} [{found.low:.3f}, {found.high:.3f}]")
    0.8125 [0.647, 0.948]
    >>> mean_interval([0.9, 0.9, 0.9], ["a", "a", "b"]).reason
    'fewer than 3 patients'
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    groups = group_by_patient(patients, len(x))
    if np.isnan(x).any():
        raise SettingsError(
            "A mean takes no NaN.", got=f"{int(np.isnan(x).sum())} of {len(x)} values",
            remedy="decide first what stands in for them, or leave them out and say how many",
        )  # fmt: skip
    if not len(x):
        return no_interval(float("nan"), 0, 0, "no value")
    if not np.isfinite(x).all():
        return no_interval(float(x.mean()), len(x), int(groups.max()) + 1, "a value is infinite")
    found = standard_error(x, groups)
    value, count, error = found.mean, found.patients, found.error
    if count < FEWEST:
        return no_interval(value, len(x), count, _few())
    if error == 0:
        return no_interval(value, len(x), count, "all patients have one value")
    q = _quantile(level, found.degrees)
    skewness = float(np.mean(((count - 1) * found.pulls) ** 3)) / (error * np.sqrt(count)) ** 3
    pull = skewness / np.sqrt(count)
    down = min(max(q, _unskewed(q, pull)), _LONGEST * q)
    up = min(max(q, -_unskewed(-q, pull)), _LONGEST * q)
    ends = value - error * down, value + error * up
    below, above = (float(np.clip(end, low, high)) for end in ends)
    return Interval(value, below, above, len(x), count)


def proportion_interval(
    part: ArrayLike,
    whole: ArrayLike | None = None,
    patients: ArrayLike | Sequence[str] | None = None,
    *,
    level: float = 0.95,
) -> Interval:
    """A proportion of all that was counted, such as a sensitivity to lesions, with its interval by patient.

    Parameters
    ----------
    part, whole : (n,)
        Of each row, how many had it and how many there were; ``whole`` is 1 by default.
    patients : sequence of n names or numbers, optional
        By default each row is of a patient of its own.
    level : float

    Returns
    -------
    Interval
        Wilson's, with the number of independent observations that the spread between patients leaves; where
        nobody differs, that is the number of patients. ``n`` is the sum of ``whole``; patients without
        any do not count.

    Raises
    ------
    SettingsError
        If a part is negative, NaN or more than its whole.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference; Dean and Pagano
    (2015), Evaluating confidence interval methods for binomial proportions in clustered surveys.

    Examples
    --------
    Six patients, true and false positives of each. Counted as single lesions, they would seem far surer.

    >>> tp, fp = np.array([40, 35, 2, 30, 1, 25]), np.array([2, 3, 20, 5, 15, 1])
    >>> found = proportion_interval(tp, tp + fp)
    >>> print(f"{found.value:.3f} [{found.low:.2f}, {found.high:.2f}] n = {found.n}")
    0.743 [0.36, 0.94] n = 179
    """
    above = np.asarray(part, dtype=np.float64).ravel()
    below = np.ones(len(above)) if whole is None else np.asarray(whole, dtype=np.float64).ravel()
    groups = group_by_patient(patients, len(above))
    if above.shape != below.shape or not ((above >= 0) & (above <= below)).all():
        raise SettingsError(
            "A proportion needs parts from 0 to their whole.",
            expected="0 <= part <= whole",
            remedy="give counts of successes and of all, in this order",
        )
    sums, counts = np.bincount(groups, above), np.bincount(groups, below)
    sums, counts = sums[counts > 0], counts[counts > 0]
    total = counts.sum()
    if not total:
        return no_interval(float("nan"), 0, 0, "nothing to count")
    value = float(sums.sum() / total)
    return share_interval(
        value, _pulls(sums, counts, value), round(float(total)), level=level, effective=_effective(counts),
    )  # fmt: skip


def share_interval(
    value: float, pulls: NDArray[np.float64], n: int, *, level: float = 0.95, effective: float | None = None
) -> Interval:
    """Wilson's interval of a share of 1, from what it becomes when each patient is left out in turn.

    Parameters
    ----------
    value : float
        From 0 to 1.
    pulls : (P,)
        ``value`` minus the share without that patient.
    n : int
        What was counted.
    effective : float, optional
        As many patients of one weight; P by default.

    Examples
    --------
    >>> found = share_interval(1.0, np.zeros(10), 10)
    >>> print(f"{found.low:.2f} {found.high:.2f}")
    0.66 1.00
    """
    patients = len(pulls)
    if patients < FEWEST:
        return no_interval(value, n, patients, _few())
    q = _quantile(level, patients - 1)
    spread = (patients - 1) / patients * float((pulls**2).sum())
    alone = float(patients if effective is None else effective)
    size = value * (1 - value) / spread if spread > _NOTHING**2 else alone
    size = float(np.clip(size, 1.0, max(n, 1)))
    middle = (value + q * q / (2 * size)) / (1 + q * q / size)
    reach = q / (1 + q * q / size) * np.sqrt(value * (1 - value) / size + q * q / (4 * size * size))
    # At 0 and 1 the algebra is exact, its floats are not.
    low = 0.0 if value <= 0 else max(0.0, middle - reach)
    high = 1.0 if value >= 1 else min(1.0, middle + reach)
    return Interval(value, float(low), float(high), n, patients)


# ---- what they share -------------------------------------------------------------------------------


def _few() -> str:
    return f"fewer than {FEWEST} patients"


def _pulls(sums: NDArray, counts: NDArray, value: float) -> NDArray[np.float64]:
    """(P,) ``value`` minus the ratio of sums without each patient; 0 for a single one."""
    rest = counts.sum() - counts
    return np.divide(sums - value * counts, rest, out=np.zeros(len(counts)), where=rest > 0)


def _effective(counts: NDArray) -> float:
    """As many patients of one weight: Kish's number."""
    return float(counts.sum() ** 2 / (counts.astype(np.float64) ** 2).sum())


def _quantile(level: float, degrees: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, degrees))


def _unskewed(z: float, a: float) -> float:
    """The t at which Hall's cubic t + a t^2 / 3 + a^2 t^3 / 27 + a / 6, which has one root, is z."""
    if abs(a) < 1e-9:
        return z
    return 3 / a * (float(np.cbrt(1 + a * (z - a / 6))) - 1)
