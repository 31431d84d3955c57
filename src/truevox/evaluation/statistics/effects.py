"""How much better one method is than another: effect sizes of paired differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.evaluation.statistics.intervals import Statistic, mean_of
from truevox.evaluation.statistics.signed_ranks import signed_ranks

__all__ = ["probability_of_superiority", "rank_biserial"]


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
