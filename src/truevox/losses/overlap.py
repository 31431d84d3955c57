"""Losses that are ratios of sums over sets of voxels: Dice, Jaccard, Tversky and their kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Self

from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.base import SumLoss
from truevox.losses.reductions import Smoothing, axes_of, in_sets, mean_of_sets, scaled, smoothing, smoothings
from truevox.losses.sums import Quantity, elementwise
from truevox.losses.targets import Scene, check_activation, check_finite

__all__ = ["DicePlusPlus", "FocalTversky", "SoftDice", "SoftJaccard", "SquaredDice", "Tversky"]

Sums = Mapping[Quantity, Tensor]
BOTH, PREDICTED, TRUTH = Quantity("overlap"), Quantity("predicted"), Quantity("truth")
SQUARED, TRUTH_SQUARED = Quantity("predicted_squared"), Quantity("truth_squared")


@dataclass(frozen=True)
class Overlap(SumLoss):
    """One minus the mean of a score over sets of voxels (Phi). Base of the losses here.

    Parameters
    ----------
    over : str
        The axes that one sum runs over, any of "I" (image: the spatial axes), "C" (class) and "B" (batch).
        "I" makes a score per image and class, "CI" one per image, "BI" one per class, "BCI" a single one;
        the loss averages them. With "I" and tiny smoothing a class that is absent from an image is left
        alone (good for missing labels); with batch or class in the sum it is pushed down (good for empty
        ones). "B" is the batch that the loss sees: per device, and not over accumulated gradients. Sets
        without "I" are of single voxels.
    smooth_nr, smooth_dr : float, or a tuple of one per class
        Added to the numerator and denominator, in voxels of the tensor that the loss sees. With
        ``smooth_nr=0`` a set with neither truth nor prediction scores 0 and has no gradient; with both of
        the size of the structure, predictions in an empty image are pushed down. One per class needs sets
        of one class.
    background : bool
        With a softmax, channel 0 (background) counts as a class like the others. By default it does not.
    activation : "sigmoid", "softmax" or None
        As for :class:`CrossEntropy`. With a sigmoid every channel is foreground.
    ignore_index : int or None
        Voxels of an integer target with this value do not count.

    Raises
    ------
    GraphError
        If a setting is not known, smoothing is negative (or 0 in the denominator), or target and logits do
        not fit.
    """

    over: str = "I"
    smooth_nr: Smoothing = 0.0
    smooth_dr: Smoothing = 1e-5
    background: bool = False
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        object.__setattr__(self, "over", "".join(axes_of(self.over, type(self).__name__)))
        for name, least in (("smooth_nr", 0.0), ("smooth_dr", None)):
            value = smoothing(getattr(self, name), name, least, self.over)
            object.__setattr__(self, name, value)

    @classmethod
    def image_wise(cls) -> Self:
        """A score for each image and class ("I"): leaves missing labels alone."""
        return cls(over="I")

    @classmethod
    def class_wise(cls) -> Self:
        """A score for each image, over its classes ("CI")."""
        return cls(over="CI")

    @classmethod
    def batch_wise(cls) -> Self:
        """A score for each class, over the batch ("BI"): pushes empty labels down."""
        return cls(over="BI")

    @classmethod
    def all_wise(cls) -> Self:
        """One score of everything ("BCI")."""
        return cls(over="BCI")

    def for_volumes(self, volumes: Sequence[float], fraction: float = 1.0) -> Self:
        """The loss smoothed by a share of the volume that each class is expected to have.

        Parameters
        ----------
        volumes : sequence of float
            Voxels of each class that counts, in the tensor that the loss sees
            (:func:`truevox.losses.expected_volumes`).
        fraction : float
            1 is the heuristic of Tilborghs et al. (2022): in an image without the structure, the push
            against predictions of that size is then the strongest that smoothing can make.

        Examples
        --------
        >>> SoftDice(over="I").for_volumes((80.0, 120.0)).smooth_nr
        (80.0, 120.0)
        """
        smooth = tuple(fraction * float(volume) for volume in volumes)
        value: Smoothing = smooth if "C" not in self.over else sum(smooth) / max(len(smooth), 1)
        return replace(self, smooth_nr=value, smooth_dr=value)

    def at_scale(self, voxels: float) -> Self:
        """The loss for an output with this share of the voxels: smoothing shrinks with them."""
        return replace(
            self, smooth_nr=scaled(self.smooth_nr, voxels), smooth_dr=scaled(self.smooth_dr, voxels)
        )

    @property
    def shares_sums(self) -> bool:
        """Whether its sums are over voxels; sets without I are of single ones."""
        return "I" in self.over

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (BOTH, PREDICTED, TRUTH)

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments."""
        if self.shares_sums:
            return super().of(scene)
        scene.check_labels()
        scene = scene.in_float32()
        found = elementwise(scene, self.quantities(scene))
        check_finite(found.values(), scene)
        return self.typed(scene, found)

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """Mean over sets of one minus the score."""
        grouped = {q: in_sets(scene, sums[q], self.over, self.background) for q in self.quantities(scene)}
        nr, dr = smoothings(self.smooth_nr, self.smooth_dr, next(iter(grouped.values())))
        cost = self._cost(grouped, nr, dr)
        return mean_of_sets(scene, cost, self.over, self.background)

    def _cost(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        return 1 - self._score(sums, nr, dr)

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class SoftDice(Overlap):
    """Soft Dice: one minus the mean, over sets of voxels, of ``(2 sum y t + nr) / (sum y + sum t + dr)``.

    It rewards overlap, not probability: its optimum pushes probabilities to 0 or 1, and moves the volume
    where the truth is uncertain. Parameters are those of :class:`Overlap`.

    Raises
    ------
    GraphError
        If a setting is not known, smoothing is negative (or 0 in the denominator), or target and logits do
        not fit.

    Notes
    -----
    Tilborghs et al.: The Dice loss in the context of missing or empty labels: introducing phi and epsilon
    (2022); Bertels et al. (2021) for the volume.

    Examples
    --------
    >>> import torch
    >>> logits = torch.full((1, 1, 4, 4), -20.0)
    >>> logits[..., :2] = 20.0
    >>> mask = torch.zeros(1, 4, 4, dtype=torch.long)
    >>> mask[:, :2] = 1
    >>> round(float(SoftDice()(logits, mask)), 6)
    0.5
    """

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        return (2 * sums[BOTH] + nr) / (sums[PREDICTED] + sums[TRUTH] + dr)


@dataclass(frozen=True)
class SoftJaccard(Overlap):
    """Soft Jaccard: one minus the mean of ``(sum y t + nr) / (sum y + sum t - sum y t + dr)``.

    Its optimal set is soft Dice's, and so is its effect on the volume. Parameters are those of
    :class:`Overlap`.

    Notes
    -----
    Bertels et al.: Optimizing the Dice score and Jaccard index for medical image segmentation: theory and
    practice (2019).

    Examples
    --------
    >>> import torch
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(SoftJaccard().on_probabilities(probabilities, mask)), 4)
    0.52
    """

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        both = sums[BOTH]
        return (both + nr) / (sums[PREDICTED] + sums[TRUTH] - both + dr)


@dataclass(frozen=True)
class Tversky(Overlap):
    """Tversky: one minus the mean of ``(TP + nr) / (TP + alpha FP + beta FN + dr)``.

    The further alpha and beta are from 1/2, the worse it stands for Dice, and the more it moves the volume:
    a beta above 1/2 includes what is less likely. Parameters are those of :class:`Overlap`, and:

    Parameters
    ----------
    alpha, beta : float
        Of false positives and of false negatives (some authors have it the other way round). 1/2 and 1/2
        make soft Dice, 1 and 1 soft Jaccard.

    Raises
    ------
    GraphError
        If alpha or beta is negative, or both are 0.

    Notes
    -----
    Salehi et al.: Tversky loss function for image segmentation using 3D fully convolutional deep networks
    (2017).

    Examples
    --------
    >>> import torch
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(Tversky(alpha=0.3, beta=0.7).on_probabilities(probabilities, mask)), 4)
    0.3717
    """

    alpha: float = 0.5
    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = (self.alpha, self.beta)
        if not all(isfinite(w) and w >= 0 for w in weights) or not any(weights):
            raise GraphError(
                "`alpha` and `beta` of a Tversky loss do not fit.",
                got=weights,
                expected="0 or more, and not both 0",
                remedy="alpha=0.3, beta=0.7 weighs missed voxels more; both 0.5 is Dice",
            )

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        both = sums[BOTH]
        false, missed = sums[PREDICTED] - both, sums[TRUTH] - both
        return (both + nr) / (both + self.alpha * false + self.beta * missed + dr)


@dataclass(frozen=True)
class FocalTversky(Tversky):
    """Focal Tversky: the mean of ``(1 - Tversky) ** (1 / gamma)``, which presses on sets that score badly.

    Parameters are those of :class:`Tversky`, and:

    Parameters
    ----------
    gamma : float
        4/3 in the paper, which has alpha 0.3 and beta 0.7 as ours are named; 1 is the Tversky loss.

    Raises
    ------
    GraphError
        If gamma is not positive.

    Notes
    -----
    Abraham and Khan: A novel focal Tversky loss function with improved attention U-Net for lesion
    segmentation (2019).

    Examples
    --------
    >>> import torch
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(FocalTversky().on_probabilities(probabilities, mask)), 4)
    0.4761
    """

    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 4 / 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.gamma) and self.gamma > 0):
            raise GraphError(
                "`gamma` of a focal Tversky loss does not fit.",
                got=self.gamma,
                expected="above 0",
                remedy="gamma=4/3 is published; gamma=1 is the Tversky loss",
            )

    def _cost(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        # At a perfect score the slope of a root is infinite.
        return (1 - self._score(sums, nr, dr)).clamp(min=1e-7) ** (1 / self.gamma)


@dataclass(frozen=True)
class SquaredDice(Overlap):
    """Dice with squares below: one minus the mean of ``(2 sum y t + nr) / (sum y² + sum t² + dr)``.

    Its optimum is not a mask: uncertain voxels keep a probability, pulled up. The volume is less biased than
    with soft Dice, and still is. Parameters are those of :class:`Overlap`.

    Notes
    -----
    Milletari et al.: V-Net: fully convolutional neural networks for volumetric medical image segmentation
    (2016).

    Examples
    --------
    >>> import torch
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(SquaredDice().on_probabilities(probabilities, mask)), 4)
    0.1951
    """

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (BOTH, SQUARED, TRUTH_SQUARED)

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        return (2 * sums[BOTH] + nr) / (sums[SQUARED] + sums[TRUTH_SQUARED] + dr)


@dataclass(frozen=True)
class DicePlusPlus(Overlap):
    """Dice++: ``2 TP / (2 TP + sum (y (1 - t))^gamma + sum ((1 - y) t)^gamma)``, one minus its mean.

    gamma turns over-confidence down: 1 is soft Dice, 2 (for masks) is :class:`SquaredDice`, more pulls the
    optimum towards 1/2. It is a knob of calibration, and no calibrator. Parameters are those of
    :class:`Overlap`, and:

    Parameters
    ----------
    gamma : float
        1 or more.

    Raises
    ------
    GraphError
        If gamma is below 1, where the slope at a perfect voxel would be infinite.

    Notes
    -----
    Yeung et al.: Calibrating the Dice loss to handle neural network overconfidence for biomedical image
    segmentation (2021).

    Examples
    --------
    >>> import torch
    >>> probabilities = torch.tensor([[[0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0]]])
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(DicePlusPlus(gamma=3.0).on_probabilities(probabilities, mask)), 4)
    0.1179
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.gamma) and self.gamma >= 1):
            raise GraphError(
                "`gamma` of Dice++ does not fit.",
                got=self.gamma,
                expected="1 or more",
                remedy="gamma=2 is usual; gamma=1 is Dice",
            )

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        if self.gamma == 2 and scene.hard:
            return (BOTH, SQUARED, TRUTH)
        return (BOTH, Quantity("missed", self.gamma), Quantity("false", self.gamma))

    def _score(self, sums: Sums, nr: Tensor, dr: Tensor) -> Tensor:
        both = 2 * sums[BOTH]
        if SQUARED in sums:
            # Of masks, y (1 - t)² + (1 - y) t² is y - 2 y t + t².
            return (both + nr) / (sums[SQUARED] + sums[TRUTH] + dr)
        missed, false = sums[Quantity("missed", self.gamma)], sums[Quantity("false", self.gamma)]
        return (both + nr) / (both + missed + false + dr)
