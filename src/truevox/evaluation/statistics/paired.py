"""Tests of paired differences: does one method differ from another on the same patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.statistics.by_patient import of_patients, standard_error
from truevox.evaluation.statistics.flips import (
    DRAWS,
    EXACT_SIGNS,
    PairedTest,
    checked_differences,
    draws_for,
    permutation,
    permutations,
)
from truevox.evaluation.statistics.signed_ranks import paired_differences, signed_ranks, wilcoxon_greater

__all__ = [
    "CORRECTIONS", "DRAWS", "EXACT_SIGNS", "TESTS", "PairedTest", "adjusted", "draws_for", "friedman",
    "mcnemar", "paired_t", "paired_test", "permutation", "permutations", "sign_test", "wilcoxon",
]  # fmt: skip

Correction = Literal["holm", "fdr", "none"]
CORRECTIONS = ("holm", "fdr", "none")
"""Corrections for several tests."""

_EXACT_RANKS = 25


def wilcoxon(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Wilcoxon's signed-rank test, zeros dropped.

    Up to 25 differences the distribution is exact, with midranks where they tie; beyond, normal with
    corrections for ties and continuity.

    Parameters
    ----------
    a, b : (n,)

    Returns
    -------
    PairedTest

    References
    ----------
    Wilcoxon (1945); Pratt and Gibbons (1981), Concepts of nonparametric theory, chapter 3.

    Examples
    --------
    >>> wilcoxon([3, 4, 5, 7], [1, 1, 1, 8]).p
    0.25
    """
    d = checked_differences(a, b)
    found = signed_ranks(d)
    n = int(found.n[0])
    smaller = float(min(found.plus[0], found.minus[0]))
    if n == 0:
        return PairedTest("wilcoxon", 0.0, 1.0, 0, len(d), "exact")
    if n <= _EXACT_RANKS:
        counts = _rank_sum_counts(d)
        tail = counts[: round(2 * smaller) + 1].sum() / counts.sum()
        return PairedTest("wilcoxon", smaller, min(1.0, float(2 * tail)), n, len(d) - n, "exact")
    greater, less = wilcoxon_greater(found)
    return PairedTest(
        "wilcoxon", smaller, min(1.0, 2 * float(min(greater[0], less[0]))), n, len(d) - n, "normal"
    )


def _rank_sum_counts(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of all 2^n signs, how many give each value of twice the rank sum (midranks are halves)."""
    from scipy.stats import rankdata

    doubled = np.rint(2 * rankdata(np.abs(differences[differences != 0]))).astype(int)
    counts = np.zeros(doubled.sum() + 1)
    counts[0] = 1
    for rank in doubled:
        counts[rank:] += counts[:-rank].copy()
    return counts


def paired_t(a: ArrayLike, b: ArrayLike, *, patients: ArrayLike | Sequence[str] | None = None) -> PairedTest:
    """Student's t-test of the mean difference, with the standard error by patient.

    NaN for fewer than two patients, and where all differ by the same: nothing tells the error then.

    Examples
    --------
    >>> round(paired_t([3, 4, 6], [1, 1, 1]).statistic, 4)
    3.7796
    """
    from scipy.stats import t

    d = checked_differences(a, b)
    found = standard_error(d, patients)
    zeros, nan = int((d == 0).sum()), float("nan")
    if not d.any():
        return PairedTest("t", 0.0, 1.0, found.patients, zeros, "t")
    if not found.error > 0:
        return PairedTest("t", nan, nan, found.patients, zeros, "t")
    statistic = found.mean / found.error
    p = float(2 * t.sf(abs(statistic), found.degrees))
    return PairedTest("t", statistic, p, found.patients, zeros, "t")


def sign_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Exact test that positive and negative differences are as frequent, zeros dropped.

    Examples
    --------
    >>> sign_test([3, 4, 5], [1, 1, 1]).p
    0.25
    """
    from scipy.stats import binomtest

    d = checked_differences(a, b)
    above, n = int((d > 0).sum()), int((d != 0).sum())
    p = float(binomtest(above, n).pvalue) if n else 1.0
    return PairedTest("sign", float(above), p, n, len(d) - n, "exact")


def mcnemar(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """McNemar's exact test of two proportions on the same patients.

    Parameters
    ----------
    a, b : (n,) of 0 and 1

    Raises
    ------
    SettingsError
        If a value is neither.

    References
    ----------
    McNemar (1947), Note on the sampling error of the difference between correlated proportions.

    Examples
    --------
    >>> mcnemar([1, 1, 1, 1, 0], [0, 0, 0, 1, 0]).p
    0.25
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not np.isin(np.concatenate([one, two]), (0, 1)).all():
        raise SettingsError(
            "McNemar's test is for outcomes that are 0 or 1, one per patient.",
            remedy="choose the permutation test or Wilcoxon's",
        )
    table = np.array([[(one * two).sum(), (one * (1 - two)).sum()], [((1 - one) * two).sum(), 0]])
    differ = int(table[0, 1] + table[1, 0])
    p = float(test(table, exact=True).pvalue) if differ else 1.0  # type: ignore[attr-defined]
    return PairedTest("mcnemar", float(table[0, 1]), min(1.0, p), differ, len(one) - differ, "exact")


TESTS = {
    "permutation": permutation,
    "wilcoxon": wilcoxon,
    "t": paired_t,
    "sign": sign_test,
    "mcnemar": mcnemar,
}
"""Tests by name."""


def paired_test(
    name: str,
    a: ArrayLike,
    b: ArrayLike,
    *,
    patients: ArrayLike | Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedTest:
    """A test by its name.

    Parameters
    ----------
    name : str
        One of :data:`TESTS`.
    a, b : (n,)
        Scores of two methods on the same scans.
    patients : sequence of n names or numbers, optional
        ``permutation`` and ``t`` ask for the mean over scans, by patient; the others for the mean of each
        patient's scans.
    draws, seed : int
        Of the permutation test.

    Raises
    ------
    SettingsError
        If there is no such test.

    Examples
    --------
    >>> paired_test("sign", [3, 4], [1, 1]).p
    0.5
    """
    if name == "permutation":
        return permutation(a, b, patients=patients, draws=draws, seed=seed)
    if name == "t":
        return paired_t(a, b, patients=patients)
    if name not in TESTS:
        raise SettingsError(
            "There is no such test.",
            got=name,
            expected=", ".join(TESTS),
            remedy="choose one of these, or leave test= out",
        )
    return TESTS[name](of_patients(a, patients), of_patients(b, patients))


def friedman(values: ArrayLike) -> tuple[float, float]:
    """Friedman's test that none of several methods differs.

    Parameters
    ----------
    values : (M, n)
        Scores of three methods or more on the same patients.

    Returns
    -------
    statistic, p : float
        Chi-squared with M - 1 degrees of freedom; (0, 1) if all are tied, NaN for fewer than 3 methods or
        2 patients.

    References
    ----------
    Friedman (1937), The use of ranks to avoid the assumption of normality.

    Examples
    --------
    >>> statistic, p = friedman([[1, 1, 1], [2, 2, 2], [3, 3, 3]])
    >>> round(statistic, 6), round(p, 4)
    (6.0, 0.0498)
    """
    from scipy.stats import friedmanchisquare

    x = paired_differences(values, np.zeros(np.shape(values)))
    if x.shape[0] < 3 or x.shape[1] < 2:
        return float("nan"), float("nan")
    if (x == x[0]).all():
        return 0.0, 1.0
    found = friedmanchisquare(*x)
    return float(found.statistic), float(found.pvalue)


def adjusted(p_values: Sequence[float], correction: Correction = "holm") -> NDArray[np.float64]:
    """p-values corrected for their number; NaN is no test and stays NaN.

    Parameters
    ----------
    p_values : sequence of float
    correction : {"holm", "fdr", "none"}
        Holm (no false finding at all), Benjamini and Hochberg (share of false findings), or none.

    Raises
    ------
    SettingsError
        If there is no such correction.

    References
    ----------
    Holm (1979); Benjamini and Hochberg (1995).

    Examples
    --------
    >>> adjusted([0.01, 0.04, 0.03]).round(9).tolist()
    [0.03, 0.06, 0.06]
    """
    if correction not in CORRECTIONS:
        raise SettingsError(
            "There is no such correction.",
            got=correction,
            expected=" or ".join(CORRECTIONS),
            remedy='correction="holm" is usual; choose one of these',
        )
    p = np.array(p_values, dtype=np.float64)
    kept = ~np.isnan(p)
    if correction != "none" and kept.any():
        from statsmodels.stats.multitest import multipletests

        p[kept] = multipletests(p[kept], method={"holm": "holm", "fdr": "fdr_bh"}[correction])[1]
    return p
