"""Losses that are means over voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.base import SumLoss
from truevox.losses.sums import Quantity
from truevox.losses.targets import Scene, check_activation

__all__ = ["Brier", "CrossEntropy", "Focal"]

Sums = Mapping[Quantity, Tensor]
VOXELS, TRUTH = Quantity("voxels"), Quantity("truth")
YES, NO = Quantity("cross_entropy"), Quantity("cross_entropy_against")
BOTH, SQUARED, TRUTH_SQUARED = Quantity("overlap"), Quantity("predicted_squared"), Quantity("truth_squared")


@dataclass(frozen=True)
class CrossEntropy(SumLoss):
    """Cross-entropy: the loss whose optimum is the probability itself, so that volumes are unbiased.

    With one channel a sigmoid and -(y ln p + (1 - y) ln(1 - p)), with several a softmax and -sum y ln p. The
    value is the mean over voxels, weighted by voxel and class weights (0 where all weights are 0).

    Parameters
    ----------
    weight : tuple of float, optional
        Weight of each class, background first: (background, foreground) for one channel. Weights other than
        1 bias the probabilities, and with them the volumes: a foreground weight w makes w p / (w p + 1 - p)
        of p. No weights make it follow Dice (Bertels et al. 2019).
    normalise : bool
        Divide by the sum of the class weights of the voxels, as torch's cross-entropy does; otherwise by the
        number of voxels, as torch's binary one with ``pos_weight``. The optimum is the same.
    activation : "sigmoid", "softmax" or None
        "sigmoid" for several channels that may overlap; the value is then the mean over channels too. None:
        a sigmoid for one channel, a softmax for several.
    ignore_index : int or None
        Voxels of an integer target with this value do not count.

    Raises
    ------
    GraphError
        If weights are negative, or their number does not fit the logits; if target and logits do not fit.

    Notes
    -----
    Bertels et al.: Theoretical analysis and experimental validation of volume bias of soft Dice optimized
    segmentation maps in the context of inherent uncertainty (2021).

    Examples
    --------
    >>> logits = torch.zeros(1, 4, 8, 8)
    >>> round(float(CrossEntropy()(logits, torch.ones(1, 8, 8, dtype=torch.long))), 6)
    1.386294
    """

    weight: tuple[float, ...] | None = None
    normalise: bool = True
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        object.__setattr__(self, "weight", _checked(self.weight))

    @property
    def unbiased(self) -> bool:
        """If all classes weigh the same."""
        return self.weight is None or len(set(self.weight)) == 1

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (YES, VOXELS, TRUTH) if scene.link.exclusive else (YES, NO, VOXELS, TRUTH)

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """Weighted mean over voxels."""
        return _mean_cost(scene, sums, sums[YES], sums.get(NO), self.weight, self.normalise)


@dataclass(frozen=True)
class Focal(SumLoss):
    """Focal loss: cross-entropy times (1 - p of what is true) ** gamma, which quietens easy voxels.

    Its optimum is not the probability: p is pulled towards 1/2 (with gamma 2, 0.1 becomes 0.306), so that
    small, uncertain structures come out with too large an expected volume.

    Parameters
    ----------
    gamma : float
        0 is cross-entropy.
    weight : tuple of float, optional
        Weight of each class, background first. Here it scales the cost, and the mean stays one over voxels
        (alpha = 0.25 of the paper is ``weight=(0.75, 0.25)`` with one channel).
    activation, ignore_index
        As for :class:`CrossEntropy`.

    Raises
    ------
    GraphError
        If gamma or a weight is negative; if target and logits do not fit.

    Notes
    -----
    Lin et al.: Focal loss for dense object detection (2017).

    Examples
    --------
    >>> logits = torch.zeros(1, 1, 8, 8)
    >>> round(float(Focal()(logits, torch.ones(1, 8, 8, dtype=torch.long))), 6)
    0.173287
    """

    gamma: float = 2.0
    weight: tuple[float, ...] | None = None
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        object.__setattr__(self, "weight", _checked(self.weight))
        if not (isfinite(self.gamma) and self.gamma >= 0):
            raise GraphError(
                "`gamma` of a focal loss does not fit.",
                got=self.gamma,
                expected="0 or more",
                remedy="gamma=2 is usual; gamma=0 is cross-entropy",
            )

    @property
    def unbiased(self) -> bool:
        """Only where it is cross-entropy."""
        return self.gamma == 0 and (self.weight is None or len(set(self.weight)) == 1)

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        there, elsewhere = Quantity("focal", self.gamma), Quantity("focal_against", self.gamma)
        return (there, VOXELS, TRUTH) if scene.link.exclusive else (there, elsewhere, VOXELS, TRUTH)

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """Mean over voxels of the weighted cost."""
        there, elsewhere = Quantity("focal", self.gamma), Quantity("focal_against", self.gamma)
        return _mean_cost(scene, sums, sums[there], sums.get(elsewhere), self.weight, normalise=False)


@dataclass(frozen=True)
class Brier(SumLoss):
    """Brier score: the mean squared difference (p - y)², whose optimum, too, is the probability itself.

    Unlike cross-entropy it is bounded, so that a voxel that is surely wrong (a mislabelled one) costs little.

    Parameters
    ----------
    activation, ignore_index
        As for :class:`CrossEntropy`. With a softmax the squares are summed over the classes; with a sigmoid
        the value is the mean over channels.

    Raises
    ------
    GraphError
        If target and logits do not fit.

    Notes
    -----
    Brier: Verification of forecasts expressed in terms of probability (1950).

    Examples
    --------
    >>> round(float(Brier()(torch.zeros(1, 1, 8), torch.ones(1, 8, dtype=torch.long))), 6)
    0.25
    """

    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)

    @property
    def unbiased(self) -> bool:
        """Yes: a proper score."""
        return True

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (BOTH, SQUARED, TRUTH_SQUARED, VOXELS)

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """Mean over voxels of the squared difference."""
        cost = sums[SQUARED] - 2 * sums[BOTH] + sums[TRUTH_SQUARED]
        if scene.link.exclusive:
            return _ratio(scene, cost, sums[VOXELS][:, :1])
        return _ratio(scene, cost, sums[VOXELS])


def _mean_cost(
    scene: Scene,
    sums: Sums,
    there: Tensor,
    elsewhere: Tensor | None,
    weight: tuple[float, ...] | None,
    normalise: bool,
) -> Tensor:
    """Mean over voxels of what is ``there`` and ``elsewhere`` (B, C) times its class's weight."""
    voxels, truth = sums[VOXELS], sums[TRUTH]
    if elsewhere is None:
        classes = _class_weights(weight, there, there.shape[1])
        if classes is None:
            return _ratio(scene, there, voxels[:, :1])
        # Shares of a voxel add up to one: it counts once, or as much as its class weighs.
        return _ratio(scene, there * classes, truth * classes if normalise else voxels[:, :1])
    pair = _class_weights(weight, there, 2)
    background, foreground = (1.0, 1.0) if pair is None else pair
    count = foreground * truth + background * (voxels - truth) if normalise else voxels
    return _ratio(scene, foreground * there + background * elsewhere, count)


def _ratio(scene: Scene, cost: Tensor, count: Tensor) -> Tensor:
    """Sum of costs over sum of counts; 0 where nothing counts."""
    if scene.present is not None and not scene.link.exclusive:
        cost, count = cost * scene.present, count * scene.present
    total = count.sum()
    return cost.sum() / torch.where(total > 0, total, torch.ones_like(total))


def _checked(weight: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if weight is None:
        return None
    weight = tuple(float(value) for value in weight)
    if any(value < 0 or not isfinite(value) for value in weight):
        raise GraphError(
            "Class weights are finite and not negative.",
            got=weight,
            remedy="give each class a weight of 0 or more; 0 leaves the class out",
        )
    return weight


def _class_weights(weight: tuple[float, ...] | None, like: Tensor, count: int) -> Tensor | None:
    if weight is None:
        return None
    if len(weight) != count:
        raise GraphError(
            "One weight per class is needed.",
            got=weight,
            expected=f"{count} weights",
            remedy="give as many weights as the logits have channels, or weight=None",
        )
    return torch.tensor(weight, dtype=like.dtype, device=like.device)
