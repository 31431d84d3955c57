"""Rankings of every metric and label by every scheme, and how sure the chosen one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from truevox.evaluation.comparison.analysis import Analysis
from truevox.evaluation.comparison.missing import Resolved
from truevox.evaluation.comparison.rank_stability import Stability, ranked, stability
from truevox.evaluation.comparison.ranking import SCHEMES, Ranking, consensus
from truevox.evaluation.statistics.by_patient import FEWEST

__all__ = ["RANKING_COLUMNS", "Standing", "overall", "standings"]

RANKING_COLUMNS = (
    "label", "metric", "method", "n", "patients", "mean", "ci_low", "ci_high", "median", *SCHEMES, "rank",
    "rank_low", "rank_high", "wins",
)  # fmt: skip
"""Order of the columns of ``ranking.csv``."""


@dataclass(frozen=True)
class Standing:
    """The methods by one metric of one label.

    Parameters
    ----------
    table : Resolved
    rankings : mapping of scheme to Ranking
    stability : Stability
        Of the scheme that was chosen.
    """

    table: Resolved
    rankings: Mapping[str, Ranking]
    stability: Stability

    @property
    def order(self) -> list[int]:
        """Methods from best to worst; where ranks tie, in the order they were given."""
        return np.argsort(self.stability.ranking.ranks, kind="stable").tolist()

    @property
    def title(self) -> str:
        """Metric and label.

        Examples
        --------
        A challenge table without tasks has no label: then it is the metric alone.
        """
        scores = self.table.scores
        return f"{scores.compared}, {scores.label}" if scores.label else scores.compared

    def rows(self) -> list[dict[str, Any]]:
        """One per method, with ``RANKING_COLUMNS``."""
        low, high = self.stability.interval
        # Samples of one or two patients would say that nothing can change.
        few = self.table.field.patients < FEWEST
        values, scores = self.table.field.values, self.table.scores
        means = [self.table.mean(k) for k in range(len(values))]
        return [
            {
                "label": scores.label, "metric": scores.compared, "method": scores.methods[k],
                "n": values.shape[1], "patients": self.table.field.patients,
                "mean": means[k].value, "ci_low": means[k].low, "ci_high": means[k].high,
                "median": float(np.median(values[k])),
                **{name: int(one.ranks[k]) for name, one in self.rankings.items()},
                "rank": int(self.stability.ranking.ranks[k]),
                "rank_low": None if few else int(low[k]), "rank_high": None if few else int(high[k]),
                "wins": None if few else float(self.stability.winner_frequency[k]),
            }
            for k in self.order
        ]  # fmt: skip

    def tau_row(self) -> dict[str, Any]:
        """Kendall's tau of the bootstrap rankings with that of all cases."""
        mean, low, middle, high = self.stability.tau_quantiles
        scores = self.table.scores
        return {
            "label": scores.label, "metric": scores.compared, "mean": mean, "quartile_low": low,
            "median": middle, "quartile_high": high,
        }  # fmt: skip


def standings(tables: Sequence[Resolved], analysis: Analysis) -> list[Standing]:
    """Rank the methods of each table that has a case left.

    Examples
    --------
    >>> from truevox.evaluation.comparison.long_tables import read_long_table
    >>> from truevox.evaluation.comparison.missing import resolve
    >>> rows = [{"case": f"p{k}", "method": m, "value": v + k / 10}
    ...         for k in range(6) for m, v in (("a", 0.1), ("b", 0.2))]
    >>> [one] = standings([resolve(table) for table in read_long_table(rows)], Analysis())
    >>> [(row["method"], row["rank"], row["wins"]) for row in one.rows()]
    [('b', 1, 1.0), ('a', 2, 0.0)]
    """
    return [
        Standing(
            table,
            {name: ranked(table.field, name) for name in SCHEMES},
            stability(table.field, analysis.scheme, count=analysis.rank_resamples, seed=analysis.seed),
        )
        for table in tables
        if table.patients
    ]


def overall(found: Sequence[Standing], scheme: str) -> list[dict[str, Any]]:
    """One order over all labels and metrics: that of the mean ranks; nothing for a single one, or where
    the methods are not the same.

    Examples
    --------
    >>> overall([], "mean_then_rank")
    []
    """
    if len(found) < 2 or len({one.table.scores.methods for one in found}) > 1:
        return []
    ranking = consensus([one.rankings[scheme].ranks.tolist() for one in found])
    rows = [
        {"method": name, "mean_rank": float(ranking.scores[k]), "rank": int(ranking.ranks[k])}
        for k, name in enumerate(found[0].table.scores.methods)
    ]
    return sorted(rows, key=lambda row: row["rank"])
