"""How methods are compared: which test, which correction, what stands in for gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral
from typing import Any, Literal

from truevox.errors import SettingsError
from truevox.evaluation.comparison.missing import Missing
from truevox.evaluation.comparison.ranking import SCHEMES
from truevox.evaluation.statistics.paired import CORRECTIONS, TESTS, Correction

__all__ = ["Analysis"]


@dataclass(frozen=True)
class Analysis:
    """What is done with the scores.

    Parameters
    ----------
    test : str
        ``permutation`` (of the mean), ``wilcoxon``, ``t``, ``sign`` or ``mcnemar``.
    correction : {"holm", "fdr", "none"}
        Over all pairs, metrics and labels of the comparison.
    missing : {"worst", "drop"}
        See :func:`truevox.evaluation.comparison.missing.resolve`.
    margins : mapping of metric to float
        Mean differences that do not matter: these metrics are tested for equivalence.
    scheme : str
        The ranking whose stability is shown: one of
        :data:`truevox.evaluation.comparison.ranking.SCHEMES`.
    interval : {"t", "percentile", "bca"}
        By patient: as all other intervals (``t``), or of the bootstrap, which is too short for few patients.
    human : str, optional
        The evaluation of one rater against another: the others are asked whether they are within its range.
    alpha : float
        Level of tests; intervals have ``1 - alpha``.
    resamples, rank_resamples : int
        Bootstrap samples of differences, and of rankings.
    draws : int, optional
        Random flips of the permutation test beyond 15 patients; by default as many as the number of tests
        asks for (:func:`truevox.evaluation.statistics.paired.draws_for`).
    seed : int
        The same seed gives the same numbers.

    Raises
    ------
    SettingsError
        If a value can't be used.

    Examples
    --------
    >>> Analysis(test="wilcoxon").correction
    'holm'
    """

    test: str = "permutation"
    correction: Correction = "holm"
    missing: Missing = "worst"
    margins: Mapping[str, float] = field(default_factory=dict)
    scheme: str = "mean_then_rank"
    interval: Literal["t", "percentile", "bca"] = "t"
    human: str | None = None
    alpha: float = 0.05
    resamples: int = 10_000
    rank_resamples: int = 1000
    draws: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "test": tuple(TESTS), "correction": CORRECTIONS, "missing": ("worst", "drop"),
            "scheme": tuple(SCHEMES), "interval": ("t", "percentile", "bca"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(
                    f"There is no such {name}.",
                    got=getattr(self, name),
                    expected=", ".join(allowed),
                    remedy="choose one of these",
                )
        for metric, margin in self.margins.items():
            if not (math.isfinite(margin) and margin > 0):
                raise SettingsError(
                    f"The margin of '{metric}' is no positive number in its unit.",
                    got=margin,
                    remedy=f"write how far apart two equal methods may be, e.g. {metric}=0.02",
                )
        if not 0 < self.alpha < 1:
            raise SettingsError(
                "alpha lies between 0 and 1.", got=self.alpha, remedy="write 0.05 for intervals of 95 %"
            )
        if not isinstance(self.seed, Integral) or self.seed < 0:
            raise SettingsError("A seed is a whole number, 0 or above.", got=self.seed, remedy="give another")
        for name in ("resamples", "rank_resamples", "draws"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise SettingsError(
                    f"{name} is at least 1.", got=getattr(self, name), remedy=f"{name}=1000, or leave it out"
                )

    def as_settings(self) -> dict[str, Any]:
        """For ``comparison.json`` and ``run.json``."""
        return {**asdict(self), "margins": dict(self.margins)}
