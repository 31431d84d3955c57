"""Intensities on one scale: z-scores, ranges, CT windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, node
from truevox.pipeline.kinds import Pointwise
from truevox.pipeline.lazy import Lazy
from truevox.transforms.intensity import demand_finite, per_channel
from truevox.transforms.ranges import number, up_to

__all__ = ["WINDOWS", "Clip", "Rescale", "Window", "ZScore"]

WINDOWS: Mapping[str, tuple[float, float]] = {
    "brain": (40, 80),
    "subdural": (75, 215),
    "stroke": (40, 40),
    "temporal bone": (600, 2800),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "abdomen": (50, 400),
    "liver": (30, 150),
    "spine": (50, 250),
    "bone": (400, 1800),
}
"""Level and width in HU of the windows in common use; centres differ a little in their habits."""


@node
class ZScore(Pointwise):
    """Zero mean and unit standard deviation per channel, over the frame.

    Parameters
    ----------
    mask : {None, "nonzero"}, label or probability
        Where the statistics are taken. ``"nonzero"``: where the image is not 0, and 0 stays 0: air stays air.
        Another image: where it is above 0 (of a probability, from 0.5).
    percentiles : (low, high), optional
        Only values between these percentiles (0 to 100) of those in the mask count.

    Raises
    ------
    GraphError
        While running, if the mask is another image and empty.

    Notes
    -----
    Statistics are float64, taken in one thread, so they do not depend on the machine's thread count. A
    constant image becomes 0. ``fill`` is mapped like any voxel.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1), Grid((2,)))
    >>> ZScore()(x).data.flatten().tolist()
    [-1.0, 1.0]
    """

    mask: Literal["nonzero"] | Node | Image | None = None
    percentiles: Sequence[float] | None = None

    looks_at = ("mask",)

    def __post_init__(self) -> None:
        if not (self.mask in (None, "nonzero") or isinstance(self.mask, (Node, Image, Lazy))):
            raise GraphError(
                "ZScore's mask is None, 'nonzero', a label or a probability.",
                got=repr(self.mask),
                remedy='write mask="nonzero", or pass the label\'s node',
            )
        if self.percentiles is not None:
            _check_percentiles(self.percentiles, "ZScore")

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        if "mask" not in edges:
            return super().run(inputs, edges, rng)
        # The same node, with the case's mask in place of the graph's.
        seeing = dataclasses.replace(self, mask=edges["mask"])  # type: ignore[arg-type]
        return super(ZScore, seeing).run(inputs, edges, rng)

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        image = frame()
        stats = [_moments(v, self.percentiles) for v in self._counted(image)]
        demand_finite(stats, "ZScore")
        mean = per_channel([m for m, _ in stats])
        scale = per_channel([1 / s if s > 0 else 0.0 for _, s in stats])

        def apply(x: Tensor) -> Tensor:
            out = (x.float() - mean).mul_(scale)
            return out.masked_fill_(x == 0, 0.0) if self.mask == "nonzero" else out

        return apply

    def _counted(self, image: Image) -> list[np.ndarray]:
        """The values of each channel that count."""
        if isinstance(self.mask, Lazy):
            seen = self.mask.pull(image.grid)
            most = seen.numpy().max(0)
            where = most >= 0.5 if seen.kind == "probability" else most > 0
            if not where.any():
                raise GraphError(
                    "ZScore's mask is empty: there is nothing to take a mean of.",
                    remedy="repair the mask, or take the statistics of all voxels (mask=None)",
                )
            return [channel[where] for channel in image.numpy()]
        if self.mask == "nonzero":
            return [channel[channel != 0] for channel in image.numpy()]
        return [channel.ravel() for channel in image.numpy()]


def _moments(values: np.ndarray, percentiles: Sequence[float] | None) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 0.0
    if percentiles is not None:
        low, high = np.percentile(values, percentiles)
        within = values[(values >= low) & (values <= high)]
        values = within if within.size else values
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def _check_percentiles(pair: Sequence[float], what: str) -> None:
    low, high = up_to(pair, f"{what}: percentiles", most=100)
    if np.ndim(pair) != 1 or low == high:
        raise GraphError(
            f"{what}: percentiles are two numbers from 0 to 100, the lower first.",
            got=pair,
            remedy="write percentiles=(0.5, 99.5)",
        )


@node
class Clip(Pointwise):
    """Values limited to [low, high], given as values or as percentiles of each channel over the frame.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([-5.0, 0.5, 9.0]).reshape(1, 3, 1, 1), Grid((3,)))
    >>> Clip(0, 1)(x).data.flatten().tolist()
    [0.0, 0.5, 1.0]
    """

    low: float | None = None
    high: float | None = None
    unit: Literal["value", "percentile"] = "value"

    version = 2

    def __post_init__(self) -> None:
        if self.unit not in ("value", "percentile"):
            raise GraphError(
                "Clip's unit is 'value' or 'percentile'.",
                got=self.unit,
                remedy='write unit="percentile" for 0 to 100, unit="value" for intensities',
            )
        for end in (self.low, self.high):
            if end is not None:
                number(end, "Clip: an end", *((0, 100) if self.unit == "percentile" else ()))
        if (self.low is None and self.high is None) or (
            self.low is not None and self.high is not None and self.low > self.high
        ):
            raise GraphError(
                "Clip needs low, high, or both with low below high.",
                got=(self.low, self.high),
                remedy="give one of both at least, and the smaller number as low",
            )

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        if self.unit == "value":
            return lambda x: x.float().clamp(self.low, self.high)
        channels = frame().numpy()
        ends = [[] if p is None else [np.percentile(c, p) for c in channels] for p in (self.low, self.high)]
        demand_finite([*ends[0], *ends[1]], "Clip")
        low, high = (per_channel(end) if end else None for end in ends)
        return lambda x: x.float().clamp(low, high)


@node
class Rescale(Pointwise):
    """Each channel linearly onto [low, high].

    Parameters
    ----------
    low, high : float
        What the lower and the upper percentile become.
    percentiles : (low, high)
        Of the frame; (0, 100) are its least and largest value.
    clip : bool
        Whether values beyond the percentiles stop at ``low`` and ``high``.

    Notes
    -----
    A constant channel becomes ``low``.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1), Grid((3,)))
    >>> Rescale(-1, 1)(x).data.flatten().tolist()
    [-1.0, 0.0, 1.0]
    """

    low: float = 0.0
    high: float = 1.0
    percentiles: Sequence[float] = (0.0, 100.0)
    clip: bool = True

    def __post_init__(self) -> None:
        if number(self.low, "Rescale: low") >= number(self.high, "Rescale: high"):
            raise GraphError(
                "Rescale needs low below high.", got=(self.low, self.high), remedy="write low=0, high=1"
            )
        _check_percentiles(self.percentiles, "Rescale")

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        image = frame()
        channels = image.numpy().astype(np.float32, copy=False)
        ends = np.array([np.percentile(channel, self.percentiles) for channel in channels], np.float64)
        demand_finite(ends, "Rescale")
        span = ends[:, 1] - ends[:, 0]
        # In float64: with a large offset, float32 would lose the lower end.
        scale = np.divide(self.high - self.low, span, out=np.zeros_like(span), where=span > 0)
        start, slope = per_channel(ends[:, 0]), per_channel(scale)

        def apply(x: Tensor) -> Tensor:
            out = (x.float() - start).mul_(slope).add_(self.low)
            return out.clamp_(self.low, self.high) if self.clip else out

        return apply


@node
class Window(Pointwise):
    """A window of CT: values from ``level - width / 2`` to ``level + width / 2`` (HU) onto [0, 1].

    Below the window lies 0, above it 1. Windows in common use go by name: :meth:`preset`.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([-1000.0, 0, 40, 80]).reshape(1, 4, 1, 1), Grid((4,)), fill=-1000)
    >>> seen = Window.preset("brain")(x)
    >>> seen.data.flatten().tolist(), seen.fill
    ([0.0, 0.0, 0.5, 1.0], 0.0)
    """

    level: float
    width: float

    def __post_init__(self) -> None:
        number(self.level, "Window: level")
        number(self.width, "Window: width", 0, above=True)

    @classmethod
    def preset(cls, name: str) -> Window:
        """The window that goes by this name: brain, subdural, stroke, temporal bone, lung, mediastinum, ...

        Raises
        ------
        GraphError
            Naming those that are known.
        """
        if name not in WINDOWS:
            raise GraphError(
                "No window goes by this name.",
                got=name,
                expected=", ".join(WINDOWS),
                remedy="choose one of these, or write Window(level, width)",
            )
        return cls(*WINDOWS[name])

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        return lambda x: x.float().sub(self.level).div_(self.width).add_(0.5).clamp_(0, 1)
