"""Dice and Jaccard for soft labels: their optimum is the label itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from truevox.losses.overlap import BOTH, PREDICTED, TRUTH, Overlap, Sums
from truevox.losses.sums import Quantity
from truevox.losses.targets import Scene

__all__ = ["DiceSemimetric", "JaccardMetric"]

DISTANCE = Quantity("distance")


@dataclass(frozen=True)
class DiceSemimetric(Overlap):
    """Dice semimetric loss: soft Dice with ``(sum t + sum y - sum |t - y|) / 2`` as true positives.

    For masks it is soft Dice. For soft labels (a mean of raters, a label resampled) its optimum is t = y,
    where soft Dice's is a mask: on the raters' mean the expected volume is then unbiased. Given one rater
    at random per step, it is soft Dice again, with its bias. Parameters are those of :class:`SoftDice`.

    Notes
    -----
    Wang et al.: Dice semimetric losses: optimizing the Dice score with soft labels (2023).

    Examples
    --------
    >>> import torch
    >>> label = torch.tensor([[[1.0, 0.7, 0.5, 0.3, 0.0, 0.0, 0.0, 0.0]]])
    >>> round(float(DiceSemimetric().on_probabilities(label, label)), 4)
    0.0
    """

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (BOTH if scene.hard else DISTANCE, PREDICTED, TRUTH)

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        return (2 * _overlap(sums) + nr) / (sums[PREDICTED] + sums[TRUTH] + dr)


@dataclass(frozen=True)
class JaccardMetric(DiceSemimetric):
    """Jaccard metric loss: soft Jaccard with the true positives of :class:`DiceSemimetric`; a metric.

    Notes
    -----
    Wang, Ning and Blaschko: Jaccard metric losses: optimizing the Jaccard index with soft labels (2023).

    Examples
    --------
    >>> import torch
    >>> label = torch.tensor([[[1.0, 0.7, 0.5, 0.3, 0.0, 0.0, 0.0, 0.0]]])
    >>> mask = (label >= 0.5).float()
    >>> round(float(JaccardMetric().on_probabilities(mask, label)), 4)
    0.3333
    """

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        both = _overlap(sums)
        return (both + nr) / (sums[PREDICTED] + sums[TRUTH] - both + dr)


def _overlap(sums: Sums) -> Tensor:
    """True positives: of masks, the usual ones."""
    return sums[BOTH] if BOTH in sums else (sums[PREDICTED] + sums[TRUTH] - sums[DISTANCE]) / 2
