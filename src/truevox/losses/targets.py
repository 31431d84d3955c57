"""What a loss sees: predictions and truth that fit each other, checked; probabilities in float32 at least."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional

from truevox.errors import GraphError

__all__ = ["Link", "Scene", "check_activation", "check_finite", "exact", "scene", "wide"]

ACTIVATIONS = (None, "sigmoid", "softmax")
TINY = 1e-7
"""Probabilities that are given, not made, keep this far from 0 and 1 in logarithms."""
MISSING = -1e30
"""Logit of a class that was not annotated, once its probability counts as background's."""
LEAST = -1e30
"""Logarithm of a probability of 0: no truth times it is 0, and not NaN."""


def check_activation(activation: str | None) -> None:
    """Refuse the name of an activation that does not exist."""
    if activation not in ACTIVATIONS:
        raise GraphError(
            "`activation` of a loss does not fit.",
            got=activation,
            expected="'sigmoid', 'softmax' or None",
            remedy="leave it out: a sigmoid for one channel, a softmax for several",
        )


@dataclass(frozen=True)
class Link:
    """How channels become probabilities.

    Parameters
    ----------
    exclusive : bool
        Whether channels are classes of which one is true (softmax), or each a yes or no of its own.
    logits : bool
        Whether the activation is still to come; otherwise the values are probabilities.
    """

    exclusive: bool
    logits: bool = True

    def probabilities(self, values: Tensor) -> Tensor:
        """Probability of each channel, the shape of ``values``."""
        if not self.logits:
            return values
        return torch.softmax(values, dim=1) if self.exclusive else torch.sigmoid(values)

    def logs(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms log p and log (1 - p), finite wherever the values are finite or minus infinity."""
        if not self.logits:
            kept = values.clamp(TINY, 1 - TINY)
            return kept.log(), torch.log1p(-kept)
        if not self.exclusive:
            return functional.logsigmoid(values).clamp(min=LEAST), functional.logsigmoid(-values)
        log = functional.log_softmax(values, dim=1).clamp(min=LEAST)
        return log, torch.log1p(-log.exp().clamp(max=1 - TINY))

    def without(self, values: Tensor, present: Tensor) -> Tensor:
        """Values in which the probability of classes that are not present (B, C) is background's.

        Exclusive classes only: what was not annotated is part of what was called background.
        """
        gone = ~present.view(*present.shape, *([1] * (values.dim() - 2)))
        merged = gone.clone()
        merged[:, 0] = True
        if self.logits:
            background = values.masked_fill(~merged, -torch.inf).logsumexp(1, keepdim=True)
            rest = values.masked_fill(gone, MISSING)[:, 1:]
        else:
            background = values.masked_fill(~merged, 0).sum(1, keepdim=True)
            rest = values.masked_fill(gone, 0)[:, 1:]
        return torch.cat([background, rest], 1)


@dataclass(frozen=True)
class Scene:
    """Predictions and truth of a batch, with voxels in one row.

    Attributes
    ----------
    values : Tensor (B, C, N)
        Logits or probabilities, as they came.
    truth : Tensor
        Classes, ints (B, N), or shares of each channel (B, C, N).
    weight : Tensor (B, 1, N) or None
    present : Tensor (B, C) of bool, or None
        Which labels were annotated; None: all.
    link : Link
    ignore : int or None
        Voxels of an integer truth with this value do not count.
    shape : tuple of int
        Of the image.
    """

    values: Tensor
    truth: Tensor
    weight: Tensor | None
    present: Tensor | None
    link: Link
    ignore: int | None
    shape: tuple[int, ...]

    @property
    def hard(self) -> bool:
        """Whether the truth is one class per voxel."""
        return self.truth.dim() == 2

    def check_labels(self) -> None:
        """Refuse a truth with labels of no class.

        Raises
        ------
        GraphError
            Naming the labels that were found.
        """
        if self.truth.is_floating_point() or not self.truth.numel():
            return
        classes = max(self.values.shape[1], 2) if self.hard else 2
        low, high = self.extremes
        if low >= 0 and high < classes:
            return
        strange = (self.truth < 0) | (self.truth >= classes)
        if self.ignore is not None:
            strange &= self.truth != self.ignore
        if bool(strange.any()):
            raise GraphError(
                "The target holds a class that the logits do not have.",
                got=sorted(int(value) for value in self.truth.unique())[:20],
                expected=f"0 to {classes - 1}"
                + ("" if self.ignore is None else f", or {self.ignore} to ignore"),
                remedy="give the network as many outputs as the target has classes, or map the target's "
                "values",
            )

    @cached_property
    def extremes(self) -> tuple[int, int]:
        """Smallest and largest value of an integer truth that is not empty."""
        low, high = (int(value) for value in torch.aminmax(self.truth))
        return low, high

    @property
    def some_ignored(self) -> bool:
        """Whether there are voxels that do not count."""
        if self.ignore is None or self.truth.is_floating_point() or not self.truth.numel():
            return False
        low, high = self.extremes
        return low <= self.ignore <= high and bool((self.truth == self.ignore).any())

    @property
    def of_two(self) -> bool:
        """Whether the truth is one of two classes in each voxel, and annotated everywhere."""
        return self.hard and self.present is None and self.values.shape[1] == 2

    def part(self, start: int, stop: int) -> Scene:
        """The same with voxels ``start`` to ``stop`` of each image, predictions in float32 or better."""
        cut = slice(start, stop)
        weight = None if self.weight is None else self.weight[..., cut]
        return replace(self, values=exact(self.values[..., cut]), truth=self.truth[..., cut], weight=weight)

    def in_float32(self) -> Scene:
        """The same with predictions, and with them weights and shares, in float32 or better."""
        return self.with_values(exact(self.values))

    def with_values(self, values: Tensor, link: Link | None = None) -> Scene:
        """The same with other predictions, which may become probabilities in another way."""
        made = replace(self, values=values, link=link or self.link)
        if "extremes" in vars(self):
            vars(made)["extremes"] = self.extremes
        return made

    def merged(self) -> Tensor:
        """Values (B, C, N) in which classes that were not annotated count as background."""
        if self.present is None or not self.link.exclusive:
            return self.values
        return self.link.without(self.values, self.present)

    def shares(self) -> Tensor:
        """Truth as a share of each channel (B, C, N), in the type of the values."""
        truth = self._shares()
        if self.present is None or not self.link.exclusive:
            return truth
        return Link(True, logits=False).without(truth, self.present)

    def _shares(self) -> Tensor:
        kind = self.values.dtype
        if not self.hard:
            truth = self.truth.to(kind)
            if self.ignore is None or self.truth.is_floating_point():
                return truth
            return truth.masked_fill(self.truth == self.ignore, 0)
        channels = self.values.shape[1]
        index = self.truth.long()
        if self.ignore is not None:
            index = index.masked_fill(index == self.ignore, 0)
        if channels == 1:
            return index.unsqueeze(1).to(kind)
        return torch.zeros_like(self.values).scatter_(1, index.unsqueeze(1), 1)

    def weights(self) -> Tensor | None:
        """Weight of each voxel, (B, 1 or C, N); 0 where the truth is ignored; None if all are 1."""
        result = None if self.weight is None else self.weight.to(self.values.dtype)
        if self.ignore is None or self.truth.is_floating_point():
            return result
        kept = (self.truth != self.ignore).to(self.values.dtype)
        kept = kept.unsqueeze(1) if self.hard else kept
        return kept if result is None else result * kept


def check_finite(found: Iterable[Tensor], scene: Scene) -> None:
    """Refuse predictions of which something came out that is not finite.

    Raises
    ------
    GraphError
        Naming them, or the labels of no class that were the reason.
    """
    if all(bool(torch.isfinite(x).all()) for x in found):
        return
    scene.check_labels()
    raise GraphError(
        f"`{'logits' if scene.link.logits else 'probabilities'}` of a loss hold NaN or infinity.",
        expected="finite numbers",
        remedy="lower the learning rate, clip gradients, or look at the inputs of the network",
    )


def wide(x: Tensor) -> torch.dtype:
    """The type in which values of voxels are added: float64, where the device has it.

    In float32 the error would grow with the volume, and depend on how many lanes a register has.
    """
    return torch.float32 if x.device.type == "mps" else torch.float64


def exact(x: Tensor) -> Tensor:
    """``x`` in float32 at least: sums over many voxels are wrong in half precision."""
    return x if x.dtype == torch.float64 else x.float()


def link_of(values: Tensor, activation: str | None, logits: bool) -> Link:
    """A softmax for several channels and a sigmoid for one, unless ``activation`` says otherwise."""
    exclusive = values.shape[1] > 1 if activation is None else activation == "softmax"
    return Link(exclusive, logits)


def scene(
    values: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None,
    label_present: Tensor | None,
    activation: str | None,
    ignore_index: int | None,
    logits: bool = True,
) -> Scene:
    """What a loss was called on, checked but for its labels (:meth:`Scene.check_labels`).

    Raises
    ------
    GraphError
        If an argument's shape, type or range does not fit; the message names it.
    """
    name = "logits" if logits else "probabilities"
    if not isinstance(values, Tensor) or values.dim() < 3 or not values.is_floating_point():
        got = f"{tuple(values.shape)} {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise GraphError(
            f"`{name}` of a loss do not fit.",
            got=got,
            expected="floats (B, C, *spatial)",
            remedy="pass the network's output itself, with its batch and channel axes; .float() makes floats",
        )
    link = link_of(values, activation, logits)
    if not logits:
        _in_unit(values, "probabilities")
    if ignore_index is not None and target.is_floating_point():
        target, weight = _without_unknown(target, weight)
    truth = _truth(target, values, link)
    return Scene(
        values.flatten(2),
        truth,
        _weight(weight, values),
        _present(label_present, values, link),
        link,
        ignore_index,
        tuple(values.shape[2:]),
    )


def _truth(target: Tensor, values: Tensor, link: Link) -> Tensor:
    batch, channels = values.shape[:2]
    if target.is_floating_point():
        if target.shape != values.shape:
            raise _misfit(target, values)
        _in_unit(target, "target")
        return target.flatten(2)
    if target.shape == values.shape and channels > 1 and not link.exclusive:
        return target.flatten(2)
    index = target[:, 0] if target.dim() == values.dim() and target.shape[1] == 1 else target
    if index.shape != (batch, *values.shape[2:]):
        raise _misfit(target, values)
    index = index.to(torch.uint8) if index.dtype == torch.bool else index
    return index.flatten(1)


def _without_unknown(target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Shares of which every one is NaN are not known: such voxels have no weight."""
    if not target.numel() or not bool(target.detach().amin().isnan()):  # NaN is the least of all
        return target, weight
    unknown = target.isnan().all(1, keepdim=True)
    known = (~unknown).to(target.dtype)
    return target.masked_fill(unknown, 0), known if weight is None else weight * known


def _in_unit(x: Tensor, name: str) -> None:
    if not x.numel():
        return
    low, high = (float(v) for v in torch.aminmax(x.detach()))
    if not (low >= 0 and high <= 1 + 1e-5):
        raise GraphError(
            f"`{name}` of a loss are shares between 0 and 1.",
            got=f"{low:g} to {high:g}",
            expected="0 to 1",
            remedy="call the loss itself on logits, and scale masks of 0 and 255 to 1",
        )


def _weight(weight: Tensor | None, values: Tensor) -> Tensor | None:
    if weight is None:
        return None
    expected = (values.shape[0], 1, *values.shape[2:])
    fits = weight.dim() == values.dim() and all(
        a in (b, 1) for a, b in zip(weight.shape, expected, strict=True)
    )
    if not fits:
        raise GraphError(
            "A voxel weight has one channel.",
            got=tuple(weight.shape),
            expected=f"(B, 1, *spatial): {expected}",
            remedy="weight[:, None] adds the channel; a weight per class is an argument of the loss",
        )
    low, high = (float(v) for v in torch.aminmax(weight)) if weight.numel() else (0.0, 0.0)
    if not (low >= 0 and isfinite(high)):
        raise GraphError(
            "`weight` of a loss is finite and not negative.",
            got=f"{low:g} to {high:g}",
            expected="0 or more",
            remedy="clamp the weight at 0, and replace NaN and infinity",
        )
    return weight.expand(expected).flatten(2)


def _present(present: Tensor | None, values: Tensor, link: Link) -> Tensor | None:
    if present is None:
        return None
    expected = tuple(values.shape[:2])
    if present.dtype != torch.bool or tuple(present.shape) != expected:
        raise GraphError(
            "`label_present` does not fit.",
            got=f"{tuple(present.shape)} {present.dtype}",
            expected=f"bool (B, C): {expected}",
            remedy="pass a bool for each image and channel: torch.ones(B, C, dtype=torch.bool)",
        )
    if link.exclusive and not bool(present[:, 0].all()):
        raise GraphError(
            "Among exclusive classes, background can't be the one that was not annotated.",
            expected="label_present[:, 0] is True",
            remedy="ignore the voxels instead: set them to `ignore_index`",
        )
    return None if bool(present.all()) else present.to(values.device)


def _misfit(target: Tensor, values: Tensor) -> GraphError:
    return GraphError(
        "The target does not fit the logits.",
        got=f"target {tuple(target.shape)} {target.dtype}, logits {tuple(values.shape)}",
        expected="ints (B, *spatial) or (B, 1, *spatial), or floats of the logits' shape",
        remedy="pass class numbers by target.long(), or masks as floats with one channel per class",
    )
