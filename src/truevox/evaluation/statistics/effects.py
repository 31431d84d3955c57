"""How much better one method is than another: effect sizes of paired differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.evaluation.statistics.intervals import Statistic, mean_of
from truevox.evaluation.statistics.signed_ranks import signed_ranks

__all__ = ["probability_of_superiority", "rank_biserial", "rank_biserial_left_out"]


def rank_biserial(differences: ArrayLike) -> Statistic:
    """Matched-pairs rank-biserial correlation: (W+ - W-) / (W+ + W-).

    1 if all differences are positive, 0 if large ones go both ways, -1 if all are negative. Zeros have no
    rank; NaN if there are only zeros.

    Parameters
    ----------
    differences : (N,)
        Rounded (:func:`truevox.evaluation.statistics.signed_ranks.paired_differences`).

    Returns
    -------
    function of weights (B, N) to (B,)

    References
    ----------
    Kerby (2014), The simple difference formula.

    Examples
    --------
    >>> rank_biserial([1.0, -2.0, 3.0])(np.ones((1, 3))).round(3).tolist()
    [0.333]
    """
    d = np.asarray(differences, dtype=np.float64)

    def compute(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = signed_ranks(d, weights)
        total = found.plus + found.minus
        return np.where(total > 0, (found.plus - found.minus) / np.where(total > 0, total, 1.0), np.nan)

    return compute


def rank_biserial_left_out(differences: ArrayLike) -> NDArray[np.float64]:
    """The rank-biserial correlation without each difference in turn, from one sort.

    Parameters
    ----------
    differences : (N,)
        Rounded.

    Returns
    -------
    (N,)
        NaN where only zeros are left.

    Examples
    --------
    >>> rank_biserial_left_out([1.0, -2.0, 3.0]).round(3).tolist()
    [0.333, 1.0, -0.333]
    """
    from scipy.stats import rankdata

    d = np.asarray(differences, dtype=np.float64)
    found, size, positive = signed_ranks(d), np.abs(d), np.sort(d[d > 0])
    ranks = np.zeros(len(d))
    ranks[d != 0] = rankdata(size[d != 0])
    # Ranks above the one that is left out come down by 1, those that tie with it by 1/2.
    above = len(positive) - np.searchsorted(positive, size, "right")
    ties = len(positive) - np.searchsorted(positive, size, "left") - above - (d > 0)
    plus = found.plus - np.where(d > 0, ranks, 0.0) - above - ties / 2
    rest = (found.n - 1) * found.n / 2
    plus, total = np.where(d != 0, plus, found.plus), np.where(d != 0, rest, found.plus + found.minus)
    return np.where(total > 0, 2 * plus / np.where(total > 0, total, 1.0) - 1, np.nan)


def probability_of_superiority(differences: ArrayLike) -> Statistic:
    """Share of the cases where the difference is positive; a tie counts one half.

    Parameters
    ----------
    differences : (N,)
        Rounded.

    Returns
    -------
    function of weights (B, N) to (B,)

    References
    ----------
    Grissom and Kim (2012), Effect sizes for research, chapter 5.

    Examples
    --------
    >>> probability_of_superiority([0.1, 0.2, 0.0, -0.3])(np.ones((1, 4))).tolist()
    [0.625]
    """
    d = np.asarray(differences, dtype=np.float64)
    return mean_of((np.sign(d) + 1) / 2)
