"""Intervals by patient, paired tests, and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, wilcoxon

__all__ = ["Estimate", "Pair", "auc", "holm", "interval_of_mean", "paired_tests", "ratio"]

_DRAWS = 4000


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


class Pair(NamedTuple):
    """Two methods on the same cases: effects, and p before and after Holm's correction over all pairs.

    ``difference`` is the mean of first minus second, ``first_better`` the share of cases in which the first
    scores higher, ties counting half.
    """

    first: str
    second: str
    difference: Estimate
    first_better: Estimate
    p: float
    p_holm: float


def ratio(above: ArrayLike, below: ArrayLike, patients: ArrayLike, seed: int = 0) -> Estimate:
    """``sum above / sum below`` with its percentile bootstrap interval over patients.

    All rows of a patient are drawn together. NaN rows count neither above nor below.
    """
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    known = np.isfinite(a) & np.isfinite(b)
    _, who = np.unique(np.asarray(patients)[known], return_inverse=True)
    sums = np.stack([np.bincount(who, a[known]), np.bincount(who, b[known])])
    count = sums.shape[1]
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _DRAWS) @ sums.T
    low, high = np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])
    return Estimate(float(sums[0].sum() / sums[1].sum()), float(low), float(high))


def interval_of_mean(values: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of one value per case, with its bootstrap interval."""
    values = np.asarray(values, dtype=np.float64)
    return ratio(values, np.ones_like(values), np.arange(len(values)), seed)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p-values that keep the chance of any false finding (Holm, 1979)."""
    order = np.argsort(p)
    raised = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return adjusted


def paired_tests(scores: Mapping[str, NDArray]) -> list[Pair]:
    """Wilcoxon's signed-rank test of every two methods over cases, corrected over all pairs.

    Parameters
    ----------
    scores : mapping of method to array (cases,)
    """
    pairs = list(combinations(scores, 2))
    differences = [scores[one] - scores[two] for one, two in pairs]
    p = [_signed_rank(d) if d.any() else 1.0 for d in differences]
    return [
        Pair(one, two, interval_of_mean(d), interval_of_mean((np.sign(d) + 1) / 2), raw, float(adjusted))
        for (one, two), d, raw, adjusted in zip(pairs, differences, p, holm(p), strict=True)
    ]


def _signed_rank(differences: NDArray) -> float:
    found: Any = wilcoxon(differences, zero_method="pratt")
    return float(found.pvalue)


def auc(score: ArrayLike, positive: ArrayLike) -> float:
    """Chance that a positive case scores above a negative one, ties counting half."""
    score, positive = np.asarray(score), np.asarray(positive, dtype=bool)
    above = rankdata(score)[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(above / (positive.sum() * (~positive).sum()))
