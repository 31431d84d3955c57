"""Losses that are ratios of sums over voxels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.base import Loss
from truevox.losses.targets import check_activation, exact, is_binary, probabilities, shares, voxel_weight

__all__ = ["SoftDice"]

REDUCTIONS = ("I", "CI", "BI", "BCI")


@dataclass(frozen=True)
class SoftDice(Loss):
    """Soft Dice: one minus the mean, over sets of voxels, of ``(2 sum y t + nr) / (sum y + sum t + dr)``.

    It rewards overlap, not probability: its optimum pushes probabilities to 0 or 1, and moves the volume
    where the truth is uncertain.

    Parameters
    ----------
    over : "I", "CI", "BI" or "BCI"
        The axes that one sum runs over: image (spatial axes), class, batch. "I" makes a Dice per image and
        class, "CI" one per image, "BI" one per class, "BCI" a single one; the loss averages them. With "I"
        and tiny smoothing a class that is absent from an image is left alone (good for missing labels);
        with batch or class in the sum it is pushed down (good for empty ones).
    smooth_nr, smooth_dr : float
        Added to the numerator and denominator, in voxels of the tensor that the loss sees. With
        ``smooth_nr=0`` a set with neither truth nor prediction has Dice 0 and no gradient.
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

    over: str = "I"
    smooth_nr: float = 0.0
    smooth_dr: float = 1e-5
    background: bool = False
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.over not in REDUCTIONS:
            raise GraphError(
                "`over` of a soft Dice does not fit.", got=self.over, expected=", ".join(REDUCTIONS)
            )
        if not (self.smooth_nr >= 0 and self.smooth_dr > 0):
            raise GraphError(
                "Smoothing of a soft Dice does not fit.",
                got=(self.smooth_nr, self.smooth_dr),
                expected="smooth_nr at least 0, smooth_dr above 0 (0/0 has no value)",
            )

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """One minus the mean soft Dice."""
        logits = exact(logits)
        binary = is_binary(logits, self.activation)
        truth = shares(target, logits, binary, self.ignore_index)
        voxels = voxel_weight(target, logits, weight, self.ignore_index)
        probability = probabilities(logits, binary)
        if not binary and not self.background:
            probability, truth = probability[:, 1:], truth[:, 1:]
        both, either = _sums(probability, truth, voxels)
        axes = [axis for axis, name in enumerate("BC") if name in self.over]
        if axes:
            both, either = both.sum(axes), either.sum(axes)
        dice = (2 * both + self.smooth_nr) / (either + self.smooth_dr)
        return 1 - dice.mean()


def _sums(probability: Tensor, truth: Tensor, voxels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Per image and class (B, C): sum of the product, and sum of the sum, over the spatial axes."""
    spatial = tuple(range(2, probability.dim()))
    if voxels is not None:
        truth = truth * voxels
        either = (probability * voxels).sum(spatial) + truth.sum(spatial)
    else:
        either = probability.sum(spatial) + truth.sum(spatial)
    return (probability * truth).sum(spatial), either
