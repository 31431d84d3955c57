"""Tests of paired differences: does one method differ from another on the same patients?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.statistics.by_patient import group_by_patient, of_patients, standard_error
from truevox.evaluation.statistics.signed_ranks import paired_differences, signed_ranks, wilcoxon_greater

__all__ = [
    "CORRECTIONS", "DRAWS", "EXACT_SIGNS", "TESTS", "PairedTest", "adjusted", "draws_for", "friedman", "mcnemar",
    "paired_t", "paired_test", "permutation", "permutations", "sign_test", "wilcoxon",
]  # fmt: skip

Correction = Literal["holm", "fdr", "none"]
CORRECTIONS = ("holm", "fdr", "none")
"""Corrections for several tests."""

EXACT_SIGNS = 15
"""Most pairs for which the permutation test tries all flips of signs."""
DRAWS = 10_000
"""Least flips that it draws beyond."""
_MOST_DRAWS = 1_000_000
_TENTH, _BATCH = 10, 1000
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


def draws_for(tests: int, alpha: float = 0.05) -> int:
    """Random flips that leave room below a correction for so many tests: at least :data:`DRAWS`, at most 10^6.

    No p-value of B flips is below 1 / (B + 1). Holm multiplies the smallest one by the number of tests: it can
    still come out at a tenth of ``alpha``.

    Examples
    --------
    >>> draws_for(1), draws_for(1305), draws_for(10**6)
    (10000, 261000, 1000000)
    """
    return min(_MOST_DRAWS, max(DRAWS, math.ceil(_TENTH * tests / alpha)))


def permutation(
    a: ArrayLike,
    b: ArrayLike,
    *,
    patients: ArrayLike | Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedTest:
    """Sign-flip permutation test of the mean difference.

    All 2^n flips up to 15 patients; beyond, ``draws`` random ones, of which the data count as one more. All
    scans of a patient flip together.

    Parameters
    ----------
    a, b : (n,)
        Scores of two methods on the same scans.
    patients : sequence of n names or numbers, optional
        By default each scan is of a patient of its own.
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
    return permutations(d[None], patients=patients, draws=draws, seed=seed)[0]


def permutations(
    differences: ArrayLike,
    *,
    patients: ArrayLike | Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[PairedTest]:
    """The same of several pairs of methods, by the same flips: what is drawn once serves all of them.

    Parameters
    ----------
    differences : (T, n)
        Rounded (:func:`truevox.evaluation.statistics.signed_ranks.paired_differences`).
    patients, draws, seed
        As for :func:`permutation`.

    Examples
    --------
    >>> [one.p for one in permutations([[2, 3, 4], [2, -3, 4]])]
    [0.25, 0.75]
    """
    scans = np.asarray(differences, dtype=np.float64)
    if draws < 1:
        raise SettingsError("A permutation test draws flips.", got=draws, expected="1 or more")
    groups = group_by_patient(patients, scans.shape[1])
    d = np.stack([np.bincount(groups, row) for row in scans])
    n = d.shape[1]
    total = d.sum(1)
    least = np.abs(total) - 1e-12 * np.maximum(1.0, np.abs(d).sum(1))
    exact = n <= EXACT_SIGNS
    hits = np.zeros(len(d), dtype=np.int64)
    for flips in _all_flips(n) if exact else _drawn_flips(n, draws, seed):
        hits += (np.abs(total - 2 * (flips @ d.T)) >= least).sum(0)
    p = hits / 2**n if exact else (hits + 1) / (draws + 1)
    zeros = (np.abs(d) <= 1e-12).sum(1)
    way = "exact" if exact else "monte carlo"
    means = scans.mean(1)
    return [
        PairedTest("permutation", float(means[k]), float(p[k]), n, int(zeros[k]), way) for k in range(len(d))
    ]


def _all_flips(n: int) -> Iterator[NDArray[np.float64]]:
    """All subsets of n, (b, n) of 0 and 1 at a time."""
    for start in range(0, 2**n, _BATCH):
        which = np.arange(start, min(start + _BATCH, 2**n))
        yield ((which[:, None] >> np.arange(n)) & 1).astype(np.float64)


def _drawn_flips(n: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _BATCH):
        yield rng.integers(0, 2, (min(_BATCH, draws - start), n), dtype=np.int8).astype(np.float64)


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


def paired_t(
    a: ArrayLike, b: ArrayLike, *, patients: ArrayLike | Sequence[str] | None = None
) -> PairedTest:
    """Student's t-test of the mean difference, with the standard error by patient.

    NaN for fewer than two patients, and where all differ by the same: nothing tells the error then.

    Examples
    --------
    >>> round(paired_t([3, 4, 6], [1, 1, 1]).statistic, 4)
    3.7796
    """
    from scipy.stats import t

    d = _differences(a, b)
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
        raise SettingsError("There is no such test.", got=name, expected=", ".join(TESTS))
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
