"""How sure a ranking is: bootstrap of the patients, and one patient left out at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.evaluation.comparison.ranking import SCHEMES, Field, Ranking, ranks_of
from truevox.evaluation.statistics.intervals import Resamples

__all__ = ["Stability", "kendall_tau", "ranked", "stability"]


@dataclass(frozen=True)
class Stability:
    """A ranking and what becomes of it on other patients.

    Parameters
    ----------
    ranking : Ranking
        Of all cases.
    draws : (B, M) int
        Ranks in each bootstrap sample.
    left_out : (P, M) int
        Ranks with one patient left out.
    tau : (B,)
        Kendall's tau-b between each sample's ranking and that of all cases; NaN if either ties all methods.

    Examples
    --------
    >>> found = stability(Field(np.array([[0.9, 0.8, 0.9], [0.1, 0.2, 0.3]])), count=100)
    >>> found.winner_frequency.tolist(), float(found.tau.mean())
    ([1.0, 0.0], 1.0)
    """

    ranking: Ranking
    draws: NDArray[np.int64]
    left_out: NDArray[np.int64]
    tau: NDArray[np.float64]

    @property
    def winner_frequency(self) -> NDArray[np.float64]:
        """(M,) share of the samples where a method is first; ties count for each."""
        return (self.draws == 1).mean(0)

    @property
    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two (M,): between which ranks 95 % of the samples lie."""
        low, high = np.quantile(self.draws, [0.025, 0.975], axis=0, method="closest_observation")
        return low, high

    @property
    def distribution(self) -> NDArray[np.float64]:
        """(M, M) share of the samples where a method (row) has a rank (column)."""
        count = self.draws.shape[1]
        return np.stack([(self.draws == rank + 1).mean(0) for rank in range(count)], axis=1)

    @property
    def tau_quantiles(self) -> tuple[float, float, float, float]:
        """Mean, quartile, median and quartile of Kendall's tau; NaN where it is undefined."""
        kept = self.tau[~np.isnan(self.tau)]
        if not len(kept):
            return (float("nan"),) * 4  # type: ignore[return-value]
        low, middle, high = np.quantile(kept, [0.25, 0.5, 0.75])
        return float(kept.mean()), float(low), float(middle), float(high)


def ranked(field: Field, scheme: str) -> Ranking:
    """The ranking of a field by a scheme's name.

    Raises
    ------
    SettingsError
        If there is no such scheme.

    Examples
    --------
    >>> ranked(Field(np.array([[0.9, 0.8], [0.1, 0.2]])), "rank_then_mean").ranks.tolist()
    [1, 2]
    """
    if scheme not in SCHEMES:
        raise SettingsError(
            "There is no such way to rank.",
            got=scheme,
            expected=", ".join(SCHEMES),
            remedy="choose one of these for scheme= (--rank)",
        )
    rule = SCHEMES[scheme]
    scores = rule.scores(field, np.ones((1, field.patients)))[0]
    return Ranking(scheme, scores, ranks_of(scores, rule.better(field)))


def stability(field: Field, scheme: str = "mean_then_rank", *, count: int = 1000, seed: int = 0) -> Stability:
    """Rank again on bootstrap samples of the patients, and without each of them.

    A patient that is drawn brings all its cases, for all methods.

    Parameters
    ----------
    field : Field
    scheme : str
        One of :data:`truevox.evaluation.comparison.ranking.SCHEMES`.
    count : int
        Samples.
    seed : int

    Returns
    -------
    Stability

    References
    ----------
    Wiesenfarth et al. (2021), Methods and open-source toolkit for analyzing and visualizing challenge
    results.

    Examples
    --------
    >>> stability(Field(np.array([[0.9, 0.1], [0.8, 0.2]])), count=50).left_out.tolist()
    [[2, 1], [1, 2]]
    """
    ranking = ranked(field, scheme)
    rule, better = SCHEMES[scheme], SCHEMES[scheme].better(field)
    resamples = Resamples(field.patient_of, count, seed)
    draws = np.concatenate(
        [ranks_of(rule.scores(field, weights), better) for weights in resamples.patient_batches()]
    )
    singles = Resamples(np.arange(field.patients), 1)
    left_out = (
        np.concatenate([ranks_of(rule.scores(field, w), better) for w in singles.left_out()])
        if field.patients > 1
        else ranking.ranks[None]
    )
    return Stability(ranking, draws, left_out, kendall_tau(draws, ranking.ranks))


def kendall_tau(rankings: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Kendall's tau-b of each of several rankings with one.

    Parameters
    ----------
    rankings : (B, M)
    reference : (M,)

    Returns
    -------
    (B,)
        NaN where a ranking ties all methods: there is no order to keep.

    References
    ----------
    Kendall (1945), The treatment of ties in ranking problems.

    Examples
    --------
    >>> kendall_tau([[1, 2, 3], [3, 2, 1], [1, 1, 1]], [1, 2, 3]).tolist()
    [1.0, -1.0, nan]
    """
    x, y = np.asarray(rankings), np.asarray(reference)
    one, two = np.triu_indices(len(y), 1)
    signs, kept = np.sign(x[:, one] - x[:, two]), np.sign(y[one] - y[two])
    norm = np.sqrt((signs**2).sum(1) * float((kept**2).sum()))
    return np.where(norm > 0, (signs * kept).sum(1) / np.where(norm > 0, norm, 1.0), np.nan)
