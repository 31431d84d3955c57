"""Losses that are means over voxels."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional

from truevox.errors import GraphError
from truevox.losses.base import Loss
from truevox.losses.targets import check_activation, exact, is_binary, log_probabilities, shares, voxel_weight

__all__ = ["CrossEntropy"]


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy: the loss whose optimum is the probability itself, so that volumes are unbiased.

    With one channel a sigmoid and -(y ln p + (1 - y) ln(1 - p)), with several a softmax and -sum y ln p. The
    value is the mean over voxels, weighted by voxel and class weights (0 where all weights are 0).

    Parameters
    ----------
    weight : tuple of float, optional
        Weight of each class, background first: (background, foreground) for one channel. Weights other than
        1 bias the probabilities, and with them the volumes.
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
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.weight is not None:
            object.__setattr__(self, "weight", tuple(float(value) for value in self.weight))
            if any(value < 0 or not isfinite(value) for value in self.weight):
                raise GraphError("Class weights are finite and not negative.", got=self.weight)

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Weighted mean over voxels."""
        logits = exact(logits)
        binary = is_binary(logits, self.activation)
        truth = shares(target, logits, binary, self.ignore_index)
        voxels = voxel_weight(target, logits, weight, self.ignore_index)
        if binary:
            loss, share = self._binary(logits, truth)
        else:
            loss, share = self._exclusive(logits, truth)
        if voxels is None:
            return loss.mean() if share is None else loss.sum() / _positive(share.sum())
        total = voxels if share is None else voxels * share
        return (voxels * loss).sum() / _positive(total.expand_as(loss).sum())

    def _binary(self, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor | None]:
        share = None
        if self.weight is not None:
            background, foreground = self._class_weights(logits, 2)
            share = background + (foreground - background) * truth
            # -w1 y ln p - w0 (1 - y) ln(1 - p), by softplus so that extreme logits stay finite.
            positive = foreground * truth * functional.softplus(-logits)
            return positive + background * (1 - truth) * functional.softplus(logits), share
        return functional.binary_cross_entropy_with_logits(logits, truth, reduction="none"), share

    def _exclusive(self, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor | None]:
        share = None
        if self.weight is not None:
            shape = (1, -1, *([1] * (logits.dim() - 2)))
            truth = truth * self._class_weights(logits, logits.shape[1]).view(shape)
            share = truth.sum(1, keepdim=True)
        return -(truth * log_probabilities(logits)).sum(1, keepdim=True), share

    def _class_weights(self, logits: Tensor, count: int) -> Tensor:
        weights = torch.tensor(self.weight, dtype=logits.dtype, device=logits.device)
        if len(weights) != count:
            raise GraphError("One weight per class is needed.", got=self.weight, expected=f"{count} weights")
        return weights


def _positive(total: Tensor) -> Tensor:
    """``total``, or 1 where it is 0: with all weights 0 the loss is 0, not NaN."""
    return torch.where(total > 0, total, torch.ones_like(total))
