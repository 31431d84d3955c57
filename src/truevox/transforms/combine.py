"""Several into one: channels, means, and the step from logits to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, Signature, node
from truevox.pipeline.kinds import Combine, Pointwise

__all__ = ["Mean", "Sigmoid", "Softmax", "Stack"]


@node
class Stack(Combine):
    """Images on one grid as the channels of one image.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> one = Image(torch.ones(1, 2, 2, 2), Grid((2, 2, 2)))
    >>> Stack()(one, one).shape
    (2, 2, 2, 2)
    """

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        if any(s.kind == "label" for s in inputs):
            raise GraphError(
                "Stack makes channels of intensities and was given a label.",
                remedy="turn the label into channels by OneHot first",
            )
        known = [s.channels for s in inputs if s.channels is not None]
        return (Signature(inputs[0].kind, sum(known) if len(known) == len(inputs) else None),)

    def combine(self, data: list[Tensor]) -> Tensor:
        # Each goes straight into its place: whole scans of whole numbers are not made floats beside it.
        shape = (sum(map(len, data)), *data[0].shape[1:])
        out, start = torch.empty(shape, dtype=torch.float32, device=data[0].device), 0
        for one in data:
            out[start : start + len(one)] = one
            start += len(one)
        return out


@node
class Mean(Combine):
    """Mean of several images on one grid, e.g. of the members of an ensemble.

    Means of probabilities are probabilities; labels and logits are refused (take the mean of the
    probabilities).

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> a = Image(torch.zeros(1, 2, 2, 2), Grid((2, 2, 2)), "probability")
    >>> float(Mean()(a, a.replace(data=a.data + 1)).data.max())
    0.5
    """

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        kinds = {s.kind for s in inputs}
        if len(kinds) > 1 or kinds & {"label", "logits"}:
            raise GraphError(
                "Mean takes images of one kind, scalars or probabilities.",
                got=sorted(kinds),
                remedy="tv.Sigmoid() or tv.Softmax() before the mean",
            )
        return (inputs[0],)

    def combine(self, data: list[Tensor]) -> Tensor:
        # A running mean gives n equal values back exactly; a sum divided by n may not.
        mean = data[0].float()
        for k, other in enumerate(data[1:], start=2):
            mean = mean + (other.float() - mean) / k
        return mean


class _Activation(Pointwise):
    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        if any(s.kind not in ("logits", "scalar") for s in inputs):
            raise GraphError(
                f"{type(self).__name__} makes probabilities of logits.",
                got=[s.kind for s in inputs],
                remedy="pass the network's output itself; probabilities need no second activation",
            )
        return tuple(Signature("probability", s.channels, labels=s.labels) for s in inputs)


@node
class Sigmoid(_Activation):
    """Probability of each channel by itself: one class, or overlapping regions."""

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        return lambda x: torch.sigmoid(x.float())


@node
class Softmax(_Activation):
    """Probabilities of exclusive classes, channel 0 the background."""

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        return lambda x: torch.softmax(x.float(), dim=0)
