"""What the tests of losses share: the toy of the specification, random problems, every loss there is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from truevox import losses as tvl
from truevox.losses import Loss

Y = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
T = torch.tensor([0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.0], dtype=torch.float64).view(1, 1, 8)
"""Mask and probabilities of eight voxels: TP 1.8, FP 0.75, FN 1.2."""
SIDES = ("I", "CI", "BI", "BCI")

SUMS: dict[str, Loss] = {
    "cross-entropy": tvl.CrossEntropy(),
    "brier": tvl.Brier(),
    "focal": tvl.Focal(),
    "focal 0": tvl.Focal(gamma=0.0),
    "focal 1/2": tvl.Focal(gamma=0.5),
    "dice I": tvl.SoftDice(over="I", smooth_nr=0.5, smooth_dr=1.5),
    "dice CI": tvl.SoftDice(over="CI"),
    "dice BI": tvl.SoftDice(over="BI", background=True),
    "dice BCI": tvl.SoftDice(over="BCI"),
    "jaccard": tvl.SoftJaccard(),
    "tversky": tvl.Tversky(alpha=0.3, beta=0.7),
    "focal tversky": tvl.FocalTversky(),
    "squared dice": tvl.SquaredDice(),
    "dice++ 2": tvl.DicePlusPlus(),
    "dice++ 3": tvl.DicePlusPlus(gamma=3.0),
    "generalised dice": tvl.GeneralisedDice(),
    "unified focal": tvl.UnifiedFocal(),
    "unified focal, symmetric": tvl.UnifiedFocal(symmetric=True, share=0.3),
    "dice semimetric": tvl.DiceSemimetric(),
    "jaccard metric": tvl.JaccardMetric(),
    "leaf dice": tvl.LeafDice(),
    "marginal dice": tvl.MarginalDice(),
}
"""Losses that are functions of sums over voxels, which have compiled loops."""
OTHERS: dict[str, Loss] = {
    "leaf dice, inferred": tvl.LeafDice(infer_missing=True),
    "dice per voxel": tvl.SoftDice(over="C", background=True, smooth_dr=0.1),
    "lovasz": tvl.Lovasz(),
    "boundary": tvl.Boundary(),
    "cldice": tvl.SoftClDice(iterations=1),
}
EVERY = SUMS | OTHERS
MASKS_ONLY = {"lovasz"}
"""Losses that take no share between 0 and 1 as truth."""


@dataclass(frozen=True)
class Problem:
    """Logits (B, C, *shape) in float64, a truth that fits them, and weights of voxels."""

    logits: Tensor
    truth: Tensor
    weight: Tensor | None = None

    def of(self, loss: Loss, kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Value and gradient by the logits, both in float64, of logits in some type."""
        z = self.logits.to(kind, copy=True).requires_grad_()
        value = loss(z, self.truth, weight=self.weight)
        (slope,) = torch.autograd.grad(value, z)
        return value.detach().double(), slope.double()


def problem(
    seed: int,
    channels: int = 3,
    shape: tuple[int, ...] = (6, 5),
    batch: int = 2,
    *,
    soft: bool = False,
    ignored: bool = False,
    weighted: bool = False,
) -> Problem:
    """A random one; one image in the batch lacks the last class."""
    made = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn((batch, channels, *shape), generator=made, dtype=torch.float64)
    if soft:
        truth = torch.rand(z.shape, generator=made, dtype=torch.float64)
        truth = truth / truth.sum(1, keepdim=True) if channels > 1 else truth
        # Shares that are the same in float32, where the compiled loops read them.
        truth = truth.float().double()
    else:
        truth = torch.randint(0, max(channels, 2), (batch, *shape), generator=made)
        if channels > 2:
            truth[0][truth[0] == channels - 1] = 0
        if ignored:
            truth[torch.rand(truth.shape, generator=made) < 0.2] = 255
    weight = torch.rand((batch, 1, *shape), generator=made).double() if weighted else None
    return Problem(z.float().double(), truth, weight)
