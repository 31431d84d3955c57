"""Overlap losses of several parts: generalised Dice, unified focal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.base import SumLoss
from truevox.losses.overlap import BOTH, PREDICTED, TRUTH, Sums
from truevox.losses.reductions import in_sets
from truevox.losses.sums import Quantity
from truevox.losses.targets import Scene, check_activation

__all__ = ["GeneralisedDice", "UnifiedFocal"]

VOXELS = Quantity("voxels")


@dataclass(frozen=True)
class GeneralisedDice(SumLoss):
    """Generalised Dice: one ratio of all classes, each weighted by one over its squared volume.

    Small and large structures weigh alike. A class that is absent takes the largest weight of those that are
    there (its own would be infinite). Its volumes are biased as soft Dice's are.

    Parameters
    ----------
    over : "CI" or "BCI"
        A ratio per image, or one of the batch.
    power : float
        Of the volume in the weight: 2 in the paper, 1 for one over the volume, 0 for equal weights.
    smooth_nr, smooth_dr : float
        Added to the numerator and denominator, in voxels of the smallest structure. (MONAI 1.6.1 adds 1e-5 to
        weights of 1e-12, which then is most of the ratio.)
    background : bool
        With a softmax, whether background is one of the classes, as in the paper.
    activation, ignore_index
        As for :class:`CrossEntropy`.

    Raises
    ------
    GraphError
        If a setting is not known; if target and logits do not fit.

    Notes
    -----
    Sudre et al.: Generalised Dice overlap as a deep learning loss function for highly unbalanced
    segmentations (2017).

    Examples
    --------
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(GeneralisedDice().on_probabilities(probabilities, mask)), 4)
    0.3514
    """

    over: str = "CI"
    power: float = 2.0
    smooth_nr: float = 0.0
    smooth_dr: float = 1e-5
    background: bool = True
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.over not in ("CI", "BCI"):
            raise GraphError(
                "`over` of generalised Dice does not fit.",
                got=self.over,
                expected="CI or BCI",
                remedy='over="CI" is per image, over="BCI" over the whole batch',
            )
        if not (self.power >= 0 and self.smooth_nr >= 0 and self.smooth_dr > 0):
            raise GraphError(
                "A number of generalised Dice does not fit.",
                got={"power": self.power, "smooth_nr": self.smooth_nr, "smooth_dr": self.smooth_dr},
                expected="power and smooth_nr at least 0, smooth_dr above 0",
                remedy="leave these out for the usual ones, or choose within these limits",
            )

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (BOTH, PREDICTED, TRUTH)

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """Mean over images (or of the one batch) of one minus the weighted ratio."""
        over = self.over.replace("C", "")
        both, predicted, truth = (
            in_sets(scene, sums[q], over, self.background)[..., 0] for q in (BOTH, PREDICTED, TRUTH)
        )
        there = truth > 0
        weights = torch.where(there, truth.clamp(min=1e-12) ** -self.power, 0.0)
        most = weights.amax(1, keepdim=True)
        # No class at all: any weight will do, as only predictions are left in the ratio.
        weights = torch.where(there, weights, torch.where(most > 0, most, 1.0))
        # Relative to the largest, so that smoothing is in voxels and not next to numbers like 1e-12.
        weights = weights / weights.amax(1, keepdim=True)
        top = 2 * (weights * both).sum(1) + self.smooth_nr
        ratio = top / ((weights * (predicted + truth)).sum(1) + self.smooth_dr)
        return (1 - ratio).mean()


@dataclass(frozen=True)
class UnifiedFocal(SumLoss):
    """Unified focal loss: a focal Tversky loss and a focal cross-entropy, under three numbers.

    With the asymmetric form the overlap part presses on the foreground only, and the cross-entropy is
    quietened in the background only. Foreground is channel 1 on; with one channel, background is the rest.

    Parameters
    ----------
    share : float
        Of the overlap part (lambda of the paper), from 0 to 1. (MONAI 1.6.1 calls ``weight`` the share of the
        *other* part, and halves that part.)
    delta : float
        Weight of missed foreground against false foreground, and of the foreground in the cross-entropy.
    gamma : float
        Exponent, from 0 to below 1 in the overlap part.
    symmetric : bool
    smooth : float
        Added above and below in the Tversky index, in voxels.
    activation, ignore_index
        As for :class:`CrossEntropy`.

    Raises
    ------
    GraphError
        If a number is out of range; if target and logits do not fit.

    Notes
    -----
    Yeung et al.: Unified focal loss: generalising Dice and cross entropy-based losses to handle class
    imbalanced medical image segmentation (2022).

    Examples
    --------
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.01]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(UnifiedFocal().on_probabilities(probabilities, mask)), 4)
    0.2757
    """

    share: float = 0.5
    delta: float = 0.6
    gamma: float = 0.5
    symmetric: bool = False
    smooth: float = 0.0
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        numbers = (self.share, self.delta, self.gamma)
        if not (all(0 <= v <= 1 for v in numbers) and self.gamma < 1 and self.smooth >= 0):
            raise GraphError(
                "A number of the unified focal loss does not fit.",
                got={"share": self.share, "delta": self.delta, "gamma": self.gamma, "smooth": self.smooth},
                expected="share and delta from 0 to 1, gamma from 0 to below 1, smooth at least 0",
                remedy="leave these out for the usual ones, or choose within these limits",
            )

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        focal, plain = Quantity("focal", self.gamma), Quantity("cross_entropy")
        if scene.link.exclusive:
            return (BOTH, PREDICTED, TRUTH, VOXELS, focal, plain)
        against = Quantity("focal_against", self.gamma), Quantity("cross_entropy_against")
        return (BOTH, PREDICTED, TRUTH, VOXELS, focal, plain, *against)

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """The share of the overlap part plus that of the cross-entropy."""
        # Costs (B, classes), background first; with yes and no channels, a pair for each.
        names = ("cross_entropy", "focal")
        if scene.link.exclusive:
            plain, focal = (self._by_name(sums, name) for name in names)
            both, predicted, truth = sums[BOTH], sums[PREDICTED], sums[TRUTH]
            known = None if scene.present is None else scene.present.to(both.dtype)
        else:
            plain, focal = (
                torch.stack([self._by_name(sums, f"{name}_against"), self._by_name(sums, name)], -1)
                for name in names
            )
            voxels = sums[VOXELS]
            no = voxels - sums[PREDICTED] - sums[TRUTH] + sums[BOTH]
            both = torch.stack([no, sums[BOTH]], -1)
            predicted = torch.stack([voxels - sums[PREDICTED], sums[PREDICTED]], -1)
            truth = torch.stack([voxels - sums[TRUTH], sums[TRUTH]], -1)
            known = None if scene.present is None else scene.present.to(both.dtype)[..., None].expand_as(both)
        return self.share * self._overlap(both, predicted, truth, known) + (1 - self.share) * self._entropy(
            plain, focal, sums[VOXELS], known, scene.link.exclusive
        )

    def _by_name(self, sums: Sums, name: str) -> Tensor:
        return sums[Quantity(name, self.gamma if name.startswith("focal") else 1.0)]

    def _overlap(self, both: Tensor, predicted: Tensor, truth: Tensor, known: Tensor | None) -> Tensor:
        missed, false = truth - both, predicted - both
        index = both + self.smooth
        index = index / (index + self.delta * missed + (1 - self.delta) * false).clamp(min=1e-12)
        cost = 1 - index
        # At a perfect score the slope of a root is infinite.
        pressed = cost.clamp(min=1e-7) ** (1 - self.gamma)
        first = torch.arange(cost.shape[1 if cost.dim() == 2 else 2], device=cost.device) == 0
        cost = pressed if self.symmetric else torch.where(first, cost, pressed)
        if known is None:
            return cost.mean()
        return (cost * known).sum() / known.sum().clamp(min=1)

    def _entropy(
        self, plain: Tensor, focal: Tensor, voxels: Tensor, known: Tensor | None, exclusive: bool
    ) -> Tensor:
        first = torch.arange(plain.shape[-1], device=plain.device) == 0
        cost = torch.where(first, (1 - self.delta) * focal, self.delta * (focal if self.symmetric else plain))
        if known is not None and not exclusive:
            cost, voxels = cost * known, voxels * known[..., 0]
        count = voxels[:, :1].sum() if exclusive else voxels.sum()
        return cost.sum() / torch.where(count > 0, count, torch.ones_like(count))
