"""The Lovász loss: the Jaccard loss itself, carried on to probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from truevox.errors import GraphError
from truevox.kernels.lovasz import MOST_VALUES, lovasz
from truevox.losses.base import Loss
from truevox.losses.targets import Link, Scene, check_activation, check_finite, wide

__all__ = ["Lovasz"]


@dataclass(frozen=True)
class Lovasz(Loss):
    """Lovász loss: on hard maps the Jaccard loss, between them its tightest convex extension.

    Voxels are ordered by their error; the loss is the sum of the errors, each times what its voxel adds to
    the Jaccard loss of those before it. That is also the Jaccard loss of the set of voxels whose error is
    above a threshold, integrated over all thresholds.

    Parameters
    ----------
    over : "I" or "BI"
        The axes that one set of voxels runs over: image, or batch and image. "I" makes a Jaccard per image
        and class, "BI" one per class.
    classes : "present", "all" or None
        Whether a set without truth counts: its loss is the largest probability in it. None, as published:
        "present" among exclusive classes, "all" where each channel is a yes or no of its own.
    background : bool
        With a softmax, channel 0 (background) counts as a class like the others, as published. By default
        it does not.
    hinge : bool
        Errors are ``max(0, 1 - z (2y - 1))`` of the logits z instead of ``|y - p|``: for channels that are
        each a yes or no.
    activation : "sigmoid", "softmax" or None
        None: a sigmoid for one channel, a softmax for several.
    ignore_index : int or None
        Voxels of an integer target with this value do not count.

    Raises
    ------
    GraphError
        If a setting is not known; if a target is neither 0 nor 1, or the hinge meets a softmax or
        probabilities.

    Notes
    -----
    The value is the mean over the classes that count, then over images. Voxels of equal error share the
    gradient of entering together, so that it does not depend on their order. A voxel of weight two is the
    voxel twice. Labels that were not annotated do not count.

    Berman, Rannen Triki, Blaschko: The Lovász-softmax loss (2018); Yu, Blaschko: The Lovász hinge (2018).

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([2, 0.5, -1, -0.5, -1.5, -2, -3, -4]).view(1, 1, 8)
    >>> mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    >>> round(float(Lovasz(hinge=True)(logits, mask)), 6)
    0.875
    """

    over: str = "I"
    classes: str | None = None
    background: bool = False
    hinge: bool = False
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.over not in ("I", "BI"):
            raise GraphError(
                "`over` of a Lovász loss does not fit.",
                got=self.over,
                expected="'I' or 'BI'",
                remedy='over="I" is per image, over="BI" over the whole batch',
            )
        if self.classes not in (None, "present", "all"):
            raise GraphError(
                "`classes` of a Lovász loss does not fit.",
                got=self.classes,
                expected="'present', 'all' or None",
                remedy='classes="present" leaves out what an image lacks, "all" counts it',
            )

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments, a scalar tensor."""
        link = scene.link
        if self.hinge and (link.exclusive or not link.logits):
            raise GraphError(
                "The Lovász hinge is for logits of channels that are each a yes or no.",
                got="a softmax" if link.exclusive else "probabilities",
                remedy="activation='sigmoid'" if link.exclusive else "call the loss on logits",
            )
        scene = scene.in_float32()
        if link.exclusive and link.logits and not self.background and scene.of_two:
            # The softmax of two is the sigmoid of their difference: half the work.
            scene = scene.with_values(_Difference.apply(scene.values), Link(False))
        values = scene.merged()
        values = values if self.hinge else scene.link.probabilities(values)
        first = int(scene.link.exclusive and not self.background)
        sets = _Sets(scene, first, self.over == "BI", self.hinge)
        if _compiles(values):
            losses, sizes = _Compiled.apply(values, sets)
        else:
            losses, sizes = _plain(values, sets)
        check_finite([losses], scene)
        everything = self.classes == "all" or (self.classes is None and not link.exclusive)
        counts = sets.annotated() & (everything | (sizes > 0))
        losses = losses.masked_fill(~counts, 0)
        return (losses.sum(1) / counts.sum(1).clamp(min=1)).mean().to(values.dtype)


class _Difference(torch.autograd.Function):
    """Second channel less the first, (B, 2, N) to (B, 1, N)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values[:, 1:] - values[:, :1]

    @staticmethod
    def backward(ctx: Any, by_difference: Tensor) -> Tensor:
        return torch.cat([-by_difference, by_difference], 1)


class _Sets:
    """The sets of voxels whose losses are averaged: (image, channel), or a channel in all images."""

    def __init__(self, scene: Scene, first: int, pooled: bool, hinge: bool) -> None:
        self.scene, self.hinge = scene, hinge
        self.images = scene.values.shape[0] if pooled else 1
        self.channels = range(first, scene.values.shape[1])
        self.weight = self._weight()
        plain = scene.hard and not (scene.link.exclusive and scene.present is not None)
        self.shares = None if plain else scene.shares()
        if self.shares is not None and not bool(((self.shares == 0) | (self.shares == 1)).all()):
            raise GraphError(
                "The target of a Lovász loss is 0 or 1.",
                got="shares in between",
                remedy="a soft Jaccard or a Jaccard metric loss takes shares",
            )

    @property
    def starts(self) -> range:
        """First image of each row of sets."""
        return range(0, self.scene.values.shape[0], self.images)

    def truth(self, start: int, channel: int) -> Tensor:
        """Where a set is foreground: (images, N) of bool."""
        rows = slice(start, start + self.images)
        if self.shares is not None:
            return self.shares[rows, channel] > 0
        return self.scene.truth[rows] == (channel if self.scene.values.shape[1] > 1 else 1)

    def weights(self, start: int, channel: int) -> Tensor | None:
        """Weights of a set (images, N); None if all are 1."""
        if self.weight is None:
            return None
        return self.weight[start : start + self.images, channel if self.weight.shape[1] > 1 else 0]

    def annotated(self) -> Tensor:
        """Which sets have an annotation and are asked for: (rows, C) of bool."""
        values, present = self.scene.values, self.scene.present
        if present is None:
            present = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        asked = torch.arange(values.shape[1], device=values.device) >= self.channels.start
        return present.unflatten(0, (-1, self.images)).any(1) & asked

    def _weight(self) -> Tensor | None:
        scene = self.scene
        weight = None if scene.weight is None and not scene.some_ignored else scene.weights()
        if scene.present is None:
            return weight
        present = scene.present.unsqueeze(-1).float()
        return present.expand(scene.values.shape) if weight is None else weight * present


def _compiles(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.float32 and values.numel() < MOST_VALUES


class _Compiled(torch.autograd.Function):
    """Loss of each set and weight of its foreground, (rows, C); the gradient is made on the way."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sets: _Sets) -> tuple[Tensor, Tensor]:
        values = values.detach().contiguous()
        slope = torch.empty_like(values)
        slope[:, : sets.channels.start] = 0
        found = torch.zeros(2, len(sets.starts), values.shape[1], dtype=torch.float64)
        for row, start in enumerate(sets.starts):
            for channel in sets.channels:
                weight = sets.weights(start, channel)
                found[:, row, channel] = torch.tensor(
                    lovasz(
                        values.numpy(),
                        channel,
                        start,
                        sets.truth(start, channel).numpy(),
                        None if weight is None else weight.contiguous().numpy(),
                        slope.numpy(),
                        hinge=sets.hinge,
                    ),
                    dtype=torch.float64,
                )
        ctx.save_for_backward(slope)
        losses, sizes = found
        ctx.mark_non_differentiable(sizes)
        return losses, sizes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        rows = by_loss.to(slope.dtype).repeat_interleave(len(slope) // len(by_loss), 0)
        return slope * rows.unsqueeze(-1), None


def _plain(values: Tensor, sets: _Sets) -> tuple[Tensor, Tensor]:
    """The same by the sort of torch: any device, and float64."""
    losses, sizes = [], []
    for start in sets.starts:
        for channel in range(values.shape[1]):
            if channel not in sets.channels:
                losses.append(values.new_zeros((), dtype=wide(values)))
                sizes.append(values.new_zeros((), dtype=wide(values)))
                continue
            x = values[start : start + sets.images, channel].reshape(-1)
            truth = sets.truth(start, channel).reshape(-1)
            weight = sets.weights(start, channel)
            weight = torch.ones_like(x) if weight is None else weight.reshape(-1).to(x.dtype)
            sign = 2 * truth.to(x.dtype) - 1
            errors = (1 - sign * x).clamp(min=0) if sets.hinge else (truth.to(x.dtype) - x).abs()
            slope = _slope(errors.detach(), truth, weight)
            losses.append((errors * slope).sum(dtype=wide(x)))
            sizes.append((weight * truth).sum(dtype=wide(x)))
    shape = (len(sets.starts), values.shape[1])
    return torch.stack(losses).view(shape), torch.stack(sizes).view(shape)


def _slope(errors: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """What each voxel adds to the Jaccard loss of those of larger error; equal errors enter together."""
    order = torch.argsort(errors, descending=True)
    kind = wide(errors)
    _, run = torch.unique_consecutive(errors[order], return_inverse=True)
    w, y = weight[order].to(kind), truth[order]
    zeros = torch.zeros(int(run[-1]) + 1 if len(run) else 0, dtype=kind, device=errors.device)
    positives, negatives = zeros.index_add(0, run, w * y), zeros.index_add(0, run, w * ~y)
    size = positives.sum()
    union = size + negatives.cumsum(0) - negatives
    missed = size - (positives.cumsum(0) - positives)
    after = (missed - positives).clamp(min=0)
    # Nothing is divided by nothing: what is not there gets a share of none.
    some = negatives.clamp(min=torch.finfo(kind).tiny)
    base = union.clamp(min=torch.finfo(kind).tiny)
    rise = torch.where(union > 0, missed / base - after / (union + some), (negatives > 0).to(kind))
    mixed = (positives > 0) & (negatives > 0)
    by_positive = torch.where(mixed, torch.log1p(negatives / base) / some, 1 / base)
    rest = torch.where(positives > 0, rise - positives * by_positive, rise).clamp(min=0)
    by_negative = torch.where(negatives > 0, rest / some, 0)
    made = w * torch.where(y, by_positive[run], by_negative[run])
    return torch.empty_like(made).scatter_(0, order, made).to(errors.dtype)
