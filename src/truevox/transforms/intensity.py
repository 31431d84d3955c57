"""Intensity transforms: values change, voxels stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.kinds import Pointwise

__all__ = ["Clip", "RandomGamma", "RandomNoise", "ZScore"]


@node
class ZScore(Pointwise):
    """Zero mean and unit standard deviation per channel, over the frame.

    Parameters
    ----------
    mask : {None, "nonzero"}
        ``"nonzero"`` takes the statistics where the image is not 0 and leaves 0 at 0: air stays air.

    Notes
    -----
    Statistics are float64, taken in one thread, so they do not depend on the machine's thread count. A
    constant image becomes 0. ``fill`` is mapped like any voxel.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1), Grid((2,)))
    >>> ZScore()(x).data.flatten().tolist()
    [-1.0, 1.0]
    """

    mask: Literal["nonzero"] | None = None

    def __post_init__(self) -> None:
        if self.mask not in (None, "nonzero"):
            raise GraphError("ZScore's mask is None or 'nonzero'.", got=self.mask)

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        stats = [_moments(channel, self.mask) for channel in frame().numpy()]
        mean = torch.tensor([m for m, _ in stats], dtype=torch.float32).view(-1, 1, 1, 1)
        scale = torch.tensor([1 / s if s > 0 else 0.0 for _, s in stats], dtype=torch.float32).view(
            -1, 1, 1, 1
        )

        def apply(x: Tensor) -> Tensor:
            out = (x.float() - mean).mul_(scale)
            return out.masked_fill_(x == 0, 0.0) if self.mask else out

        return apply


def _moments(channel: np.ndarray, mask: str | None) -> tuple[float, float]:
    values = channel[channel != 0] if mask else channel.ravel()
    if values.size == 0:
        return 0.0, 0.0
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


@node
class Clip(Pointwise):
    """Values limited to [low, high], given as values or as percentiles of the frame.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([-5.0, 0.5, 9.0]).reshape(1, 3, 1, 1), Grid((3,)))
    >>> Clip(0, 1)(x).data.flatten().tolist()
    [0.0, 0.5, 1.0]
    """

    low: float | None = None
    high: float | None = None
    unit: Literal["value", "percentile"] = "value"

    def __post_init__(self) -> None:
        if self.unit not in ("value", "percentile"):
            raise GraphError("Clip's unit is 'value' or 'percentile'.", got=self.unit)
        if (self.low is None and self.high is None) or (
            self.low is not None and self.high is not None and self.low > self.high
        ):
            raise GraphError("Clip needs low, high, or both with low below high.", got=(self.low, self.high))

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        low, high = self.low, self.high
        if self.unit == "percentile":
            data = frame().numpy()
            low, high = (None if p is None else float(np.percentile(data, p)) for p in (low, high))
        return lambda x: x.float().clamp(low, high)


@node
class RandomGamma(Pointwise):
    """x ** gamma on the frame's range, log gamma uniform in [-log_gamma, log_gamma]; one for all channels.

    Values are rescaled to [0, 1] by the range of each channel and back. A constant patch stays as it is.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.linspace(-1, 1, 8).reshape(1, 2, 2, 2), Grid((2, 2, 2)))
    >>> y = RandomGamma(0.5)(x, rng=np.random.default_rng(0))
    >>> float(y.data.min()), float(y.data.max())
    (-1.0, 1.0)
    """

    log_gamma: float = 0.3
    probability: float = 1.0

    random = True

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        applied = rng.random() < self.probability
        gamma = math.exp(rng.uniform(-self.log_gamma, self.log_gamma))
        if not applied or gamma == 1.0:
            return lambda x: x
        data = frame().data
        low = data.amin(dim=(1, 2, 3), keepdim=True).float()
        span = data.amax(dim=(1, 2, 3), keepdim=True).float() - low
        scale = torch.where(span > 0, 1 / span.clamp(min=torch.finfo(torch.float32).tiny), 0.0)

        def apply(x: Tensor) -> Tensor:
            unit = (x - low).mul_(scale).clamp_(0, 1).pow_(gamma)
            return torch.where(span > 0, unit.mul_(span).add_(low), x)

        return apply


@node
class RandomNoise(Pointwise):
    """Gaussian noise, its standard deviation uniform in [0, std], in the image's units.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.zeros(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> y = RandomNoise(0.1)(x, rng=np.random.default_rng(0))
    >>> 0 < float(y.data.std()) < 0.1
    True
    """

    std: float = 0.1
    probability: float = 1.0

    random = True
    map_fill = False

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        applied = rng.random() < self.probability
        std = rng.uniform(0, self.std)
        seed = int(rng.integers(2**63))
        if not applied or std == 0:
            return lambda x: x

        def apply(x: Tensor) -> Tensor:
            # Torch draws normal numbers twice as fast as NumPy.
            generator = torch.Generator().manual_seed(seed)
            return torch.empty(x.shape).normal_(0.0, std, generator=generator).add_(x)

        return apply
