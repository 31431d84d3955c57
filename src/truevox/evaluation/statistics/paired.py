"""Tests of paired differences: does one method differ from another on the same patients?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.statistics.signed_ranks import paired_differences, signed_ranks, wilcoxon_greater

__all__ = [
    "CORRECTIONS", "DRAWS", "EXACT_SIGNS", "TESTS", "PairedTest", "adjusted", "friedman", "mcnemar",
    "paired_t", "paired_test", "permutation", "sign_test", "wilcoxon",
]  # fmt: skip

Correction = Literal["holm", "fdr", "none"]
CORRECTIONS = ("holm", "fdr", "none")
"""Corrections for several tests."""

EXACT_SIGNS = 15
"""Most pairs for which the permutation test tries all flips of signs."""
DRAWS = 10_000
"""Flips that it draws beyond."""
_EXACT_RANKS = 25


@dataclass(frozen=True)
class PairedTest:
    """A two-sided test.

    Parameters
    ----------
    name : str
    statistic : float
        Mean difference, sum of the ranks of the rarer sign, t, or count of positive differences.
    p : float
        1 where all differences are zero: there is nothing to see.
    n : int
        Pairs that the test used.
    zeros : int
        Pairs without a difference.
    way : str
        ``"exact"``, ``"monte carlo"``, ``"normal"`` or ``"t"``: how p was computed.

    Examples
    --------
    >>> PairedTest("sign", 3.0, 0.25, 3, 0, "exact").p
    0.25
    """

    name: str
    statistic: float
    p: float
    n: int
    zeros: int
    way: str


def permutation(a: ArrayLike, b: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> PairedTest:
    """Sign-flip permutation test of the mean difference.

    All 2^n flips up to 15 pairs; beyond, ``draws`` random ones, of which the data count as one more.

    Parameters
    ----------
    a, b : (n,)
        Scores of two methods on the same patients.
    draws : int
    seed : int

    Returns
    -------
    PairedTest

    References
    ----------
    Fisher (1935), The design of experiments; Phipson and Smyth (2010), Permutation P-values should never
    be zero.

    Examples
    --------
    >>> permutation([3, 4, 5], [1, 1, 1]).p
    0.25
    """
    d = _differences(a, b)
    n = len(d)
    observed = abs(d.sum())
    least = observed - 1e-12 * max(1.0, np.abs(d).sum())
    zeros = int((d == 0).sum())
    if n <= EXACT_SIGNS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        p = float((np.abs(signs @ d) >= least).mean())
        return PairedTest("permutation", float(d.mean()), p, n, zeros, "exact")
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, draws, 1000):
        flips = rng.integers(0, 2, (min(1000, draws - start), n), dtype=np.int8)
        hits += int((np.abs(d.sum() - 2 * (flips @ d)) >= least).sum())
    return PairedTest("permutation", float(d.mean()), (hits + 1) / (draws + 1), n, zeros, "monte carlo")


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
    d = _differences(a, b)
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


def paired_t(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Student's t-test of the mean difference; NaN for fewer than two pairs.

    Examples
    --------
    >>> round(paired_t([3, 4, 6], [1, 1, 1]).statistic, 4)
    3.7796
    """
    from scipy.stats import t

    d = _differences(a, b)
    zeros = int((d == 0).sum())
    if len(d) < 2:
        return PairedTest("t", float("nan"), float("nan"), len(d), zeros, "t")
    error = d.std(ddof=1) / np.sqrt(len(d))
    if error <= 1e-12 * max(1.0, abs(d.mean())):
        p = 1.0 if d.mean() == 0 else 0.0
        return PairedTest("t", float(np.sign(d.mean()) * np.inf) if p == 0 else 0.0, p, len(d), zeros, "t")
    statistic = float(d.mean() / error)
    return PairedTest("t", statistic, float(2 * t.sf(abs(statistic), len(d) - 1)), len(d), zeros, "t")


def sign_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Exact test that positive and negative differences are as frequent, zeros dropped.

    Examples
    --------
    >>> sign_test([3, 4, 5], [1, 1, 1]).p
    0.25
    """
    from scipy.stats import binomtest

    d = _differences(a, b)
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


def paired_test(name: str, a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> PairedTest:
    """A test by its name; the seed is that of the permutation test.

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
        return permutation(a, b, seed=seed)
    if name not in TESTS:
        raise SettingsError("There is no such test.", got=name, expected=", ".join(TESTS))
    return TESTS[name](a, b)


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
        raise SettingsError("There is no such correction.", got=correction, expected=" or ".join(CORRECTIONS))
    p = np.array(p_values, dtype=np.float64)
    kept = ~np.isnan(p)
    if correction != "none" and kept.any():
        from statsmodels.stats.multitest import multipletests

        p[kept] = multipletests(p[kept], method={"holm": "holm", "fdr": "fdr_bh"}[correction])[1]
    return p


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise SettingsError(
            "A paired test needs the same patients for both methods.",
            got=f"{one.shape} and {two.shape}",
            expected="two arrays of one length, at least 1",
        )
    if np.isnan(one).any() or np.isnan(two).any():
        raise SettingsError(
            "A paired test takes no NaN.", remedy="decide first: the worst value, or drop the pair"
        )
    return paired_differences(one, two)
