"""Signed ranks of differences: the sums that Wilcoxon's test, its effect size and its bootstrap share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SignedRanks", "paired_differences", "signed_ranks", "tie_tolerance", "wilcoxon_greater"]

_TOLERANCE = 1e-12


@dataclass(frozen=True)
class SignedRanks:
    """Sums of midranks of the absolute differences, one per sample.

    Parameters
    ----------
    plus, minus : (B,)
        Sum over the positive and over the negative differences. Zeros have no rank.
    variance : (B,)
        Of either sum if signs were tosses of a coin, with the correction for ties.
    n : (B,)
        Differences that are not zero.
    """

    plus: NDArray[np.float64]
    minus: NDArray[np.float64]
    variance: NDArray[np.float64]
    n: NDArray[np.float64]


def tie_tolerance(values: ArrayLike) -> float:
    """Difference below which two numbers are the same: 1e-12, or 1e-12 of the largest if that is above 1.

    Examples
    --------
    >>> tie_tolerance([0.3, 0.9]), tie_tolerance([200.0, 0.1])
    (1e-12, 2e-10)
    """
    finite = np.abs(np.asarray(values, dtype=np.float64))
    finite = finite[np.isfinite(finite)]
    return _TOLERANCE * max(1.0, float(finite.max(initial=0.0)))


def paired_differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """``a - b``, rounded to :func:`tie_tolerance`.

    Without rounding float noise parts what is tied (0.80 - 0.78 and 0.57 - 0.55), and ranks differ.

    Parameters
    ----------
    a, b : (N,)

    Returns
    -------
    (N,) float64

    Examples
    --------
    >>> 0.80 - 0.78 == 0.57 - 0.55
    False
    >>> x, y = paired_differences([0.80, 0.57], [0.78, 0.55])
    >>> bool(x == y)
    True
    """
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    largest = max(1.0, float(np.abs(np.concatenate([one.ravel(), two.ravel()])).max(initial=0.0)))
    return np.round(one - two, 12 - math.ceil(math.log10(largest)))


def signed_ranks(differences: ArrayLike, weights: ArrayLike | None = None) -> SignedRanks:
    """Wilcoxon's sums, with midranks for ties.

    Parameters
    ----------
    differences : (N,)
        Rounded already (:func:`paired_differences`): ties are what is equal.
    weights : (B, N), optional
        How often each difference is in each of B samples (a bootstrap); once each by default (B = 1).

    Returns
    -------
    SignedRanks
        Arrays (B,).

    References
    ----------
    Wilcoxon (1945), Individual comparisons by ranking methods; Lehmann (1975), Nonparametrics, chapter 3.

    Examples
    --------
    >>> found = signed_ranks([1.0, -2.0, 2.0, 0.0])
    >>> float(found.plus[0]), float(found.minus[0]), float(found.n[0])
    (3.5, 2.5, 3.0)
    """
    d = np.asarray(differences, dtype=np.float64)
    w = np.ones((1, len(d))) if weights is None else np.asarray(weights, dtype=np.float64)
    kept = np.flatnonzero(d)
    order = kept[np.argsort(np.abs(d[kept]), kind="stable")]
    if not len(order):
        nothing = np.zeros(len(w))
        return SignedRanks(nothing, nothing, nothing, nothing)
    size = np.abs(d[order])
    starts = np.flatnonzero(np.concatenate([[True], size[1:] > size[:-1]]))
    sorted_weights = w[:, order]
    group = np.add.reduceat(sorted_weights, starts, axis=1)
    positive = np.add.reduceat(sorted_weights * (d[order] > 0), starts, axis=1)
    below = np.cumsum(group, axis=1) - group
    midrank = below + (group + 1) / 2
    plus, total = (positive * midrank).sum(1), (group * midrank).sum(1)
    n = group.sum(1)
    variance = n * (n + 1) * (2 * n + 1) / 24 - (group**3 - group).sum(1) / 48
    return SignedRanks(plus, total - plus, np.maximum(variance, 0.0), n)


def wilcoxon_greater(ranks: SignedRanks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One-sided p-values, normal approximation with corrections for ties and continuity.

    Returns
    -------
    greater, less : (B,)
        p that the differences lie above 0, below 0. 1 where no difference is left.

    Examples
    --------
    >>> greater, less = wilcoxon_greater(signed_ranks([0.8, 0.8, 0.8, 0.8]))
    >>> round(float(greater[0]), 4)
    0.0359
    """
    from scipy.stats import norm

    mean = ranks.n * (ranks.n + 1) / 4
    sd = np.sqrt(ranks.variance)
    safe = np.where(sd > 0, sd, 1.0)
    return tuple(
        np.where(sd > 0, norm.sf((side - mean - 0.5) / safe), 1.0) for side in (ranks.plus, ranks.minus)
    )  # type: ignore[return-value]
