"""The permutation test: signs of paired differences flipped, all of a patient's together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.statistics.by_patient import group_by_patient
from truevox.evaluation.statistics.signed_ranks import paired_differences

__all__ = [
    "DRAWS", "EXACT_SIGNS", "PairedTest", "checked_differences", "draws_for", "permutation", "permutations",
]  # fmt: skip

EXACT_SIGNS = 15
"""Most pairs for which the permutation test tries all flips of signs."""
DRAWS = 10_000
"""Least flips that it draws beyond."""
_MOST_DRAWS = 1_000_000
_TENTH, _BATCH = 10, 1000


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
    """Random flips that leave room for a correction of so many tests: :data:`DRAWS` to 10^6.

    No p-value of B flips is below 1 / (B + 1). Holm multiplies the smallest one by the number of tests: it
    can still come out at a tenth of ``alpha``.

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
    d = checked_differences(a, b)
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
        raise SettingsError(
            "A permutation test draws flips.",
            got=draws,
            expected="1 or more",
            remedy="draws=10000, or leave it out",
        )
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


def checked_differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Rounded differences of two methods on the same scans.

    Raises
    ------
    SettingsError
        If they are not of the same scans, or a value is NaN.
    """
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise SettingsError(
            "A paired test needs the same patients for both methods.",
            got=f"{one.shape} and {two.shape}",
            expected="two arrays of one length, at least 1",
            remedy="remove the patients that one method lacks, or give them a value",
        )
    if np.isnan(one).any() or np.isnan(two).any():
        raise SettingsError(
            "A paired test takes no NaN.", remedy="decide first: the worst value, or drop the pair"
        )
    return paired_differences(one, two)
