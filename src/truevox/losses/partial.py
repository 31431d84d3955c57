"""Dice losses for images in which not every label was annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.base import SumLoss
from truevox.losses.overlap import BOTH, PREDICTED, TRUTH, Sums
from truevox.losses.sums import Quantity, sums_of
from truevox.losses.targets import Scene, check_activation

__all__ = ["LeafDice", "MarginalDice"]


@dataclass(frozen=True)
class LeafDice(SumLoss):
    """Leaf Dice: in each image, the mean soft Dice loss of the labels that were annotated in it.

    What was not annotated is left alone: its channel moves only as the others' softmax does. An image in
    which nothing was annotated costs 0. Every image weighs the same, however many labels it has;
    :class:`SoftDice` with ``label_present`` weighs every annotated label the same instead.

    Parameters
    ----------
    smooth_dr : float
        Added to the denominator, in voxels.
    infer_missing : bool
        Take a label that no voxel of the image has as not annotated, as the papers do. By default it is
        absent, and only ``label_present`` says what was not annotated: the two are different states.
    activation, ignore_index
        As for :class:`CrossEntropy`.

    Raises
    ------
    GraphError
        If smoothing is not positive; if target and logits do not fit.

    Notes
    -----
    Tilborghs et al. (2022); Fidon et al.: Label-set loss functions for partial supervision (2021).

    Examples
    --------
    Class 2 was not annotated:

    >>> logits, target = torch.zeros(1, 3, 6), torch.tensor([[1, 1, 0, 0, 0, 0]])
    >>> present = torch.tensor([[True, True, False]])
    >>> round(float(LeafDice()(logits, target, label_present=present)), 4)
    0.6667
    """

    smooth_dr: float = 1e-5
    infer_missing: bool = False
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if not self.smooth_dr > 0:
            raise GraphError(
                "`smooth_dr` does not fit.",
                got=self.smooth_dr,
                expected="above 0",
                remedy="give smooth_dr a small number such as 1e-5",
            )

    @property
    def shares_sums(self) -> bool:
        """Whether its labels that count are those of the scene as it is given."""
        return not self.infer_missing

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        return (BOTH, PREDICTED, TRUTH)

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments."""
        scene = self._known(scene)
        return self.typed(scene, sums_of(scene, self.quantities(scene)))

    def value(self, scene: Scene, sums: Sums) -> Tensor:
        """Mean over images of the mean over labels that were annotated."""
        dice = 2 * sums[BOTH] / (sums[PREDICTED] + sums[TRUTH] + self.smooth_dr)
        counts = torch.ones_like(dice) if scene.present is None else scene.present.to(dice.dtype)
        counts = self._counted(counts, scene)
        return (((1 - dice) * counts).sum(1) / counts.sum(1).clamp(min=1)).mean()

    def _counted(self, counts: Tensor, scene: Scene) -> Tensor:
        """Which sets count (B, C): not background."""
        if scene.link.exclusive:
            counts = counts.clone()
            counts[:, 0] = 0
        return counts

    def _known(self, scene: Scene) -> Scene:
        """The scene, with labels that no voxel has taken as not annotated if that is wanted."""
        if not self.infer_missing:
            return scene
        truth = sums_of(scene.with_values(scene.values.detach()), (TRUTH,))[TRUTH]
        found = truth > 0
        if scene.link.exclusive:
            found[:, 0] = True
        return replace(scene, present=found if scene.present is None else found & scene.present)


@dataclass(frozen=True)
class MarginalDice(LeafDice):
    """Marginal Dice: what was not annotated counts as background, which is a class like the others here.

    Parameters are those of :class:`LeafDice`.

    Notes
    -----
    Shi et al.: Marginal loss and exclusion loss for partially supervised multi-organ segmentation (2021).

    Examples
    --------
    >>> logits, target = torch.zeros(1, 3, 6), torch.tensor([[1, 1, 0, 0, 0, 0]])
    >>> present = torch.tensor([[True, True, False]])
    >>> round(float(MarginalDice()(logits, target, label_present=present)), 4)
    0.5
    """

    def _counted(self, counts: Tensor, scene: Scene) -> Tensor:
        return counts
