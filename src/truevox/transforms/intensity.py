"""Random intensities: gamma, contrast, brightness. Values change, voxels stay."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from truevox.errors import CaseError, GraphError
from truevox.image import Image
from truevox.kernels.power import power_on_range
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.kinds import Pointwise
from truevox.transforms.ranges import Range, check_probability, plus_minus

__all__ = [
    "RandomBrightness",
    "RandomContrast",
    "RandomGamma",
    "air_of",
    "demand_finite",
    "per_channel",
]


def per_channel(numbers: ArrayLike) -> Tensor:
    """Numbers, one per channel, as a tensor (C, 1, 1, 1)."""
    return torch.from_numpy(np.asarray(numbers, np.float32)).view(-1, 1, 1, 1)


def air_of(image: Image) -> Tensor:
    """Where no signal lies: ``fill``, which goes through every pointwise node as air does. (C, 1, 1, 1)."""
    return per_channel(image.fills())


def demand_finite(statistics: ArrayLike, what: str) -> None:
    """Refuse statistics of a frame that holds voxels that are not finite: all others would become NaN.

    Raises
    ------
    CaseError
    """
    if not np.isfinite(statistics).all():
        raise CaseError(
            f"{what} takes statistics of an image that holds voxels that are not finite (NaN or infinite).",
            remedy="find out where they come from; if they mark the outside, replace them by a number",
        )


def _compiled(x: Tensor, loop: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    return torch.from_numpy(loop(x.detach().cpu().float().numpy())).to(x.device)


@node
class RandomGamma(Pointwise):
    """x ** gamma on the frame's range, one gamma for all channels.

    Values are rescaled to [0, 1] by the range of each channel and back. A constant patch stays as it is.

    Parameters
    ----------
    log_gamma : float or (low, high)
        Natural logarithm of gamma; uniform in [-log_gamma, log_gamma] or in the range.
    probability : float

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.linspace(-1, 1, 8).reshape(1, 2, 2, 2), Grid((2, 2, 2)))
    >>> y = RandomGamma(0.5)(x, rng=np.random.default_rng(0))
    >>> float(y.data.min()), float(y.data.max())
    (-1.0, 1.0)
    """

    log_gamma: Range = 0.3
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        plus_minus(self.log_gamma, "RandomGamma: log_gamma")
        check_probability(self.probability, "RandomGamma")

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        applied = rng.random() < self.probability
        gamma = math.exp(rng.uniform(*plus_minus(self.log_gamma, "log_gamma")))
        if not applied or gamma == 1.0:
            return lambda x: x
        data = frame().numpy()
        data = data.reshape(len(data), -1)
        low, high = data.min(1), data.max(1)
        demand_finite([low, high], "RandomGamma")
        span = high.astype(np.float32) - low

        def apply(x: Tensor) -> Tensor:
            return _compiled(x, lambda voxels: power_on_range(voxels, low, span, gamma))

        return apply


@node
class RandomBrightness(Pointwise):
    """A number added to all values.

    Parameters
    ----------
    shift : float or (low, high)
        In the image's units; uniform in [-shift, shift] or in the range.
    per_channel : bool
        Draw one for each channel, instead of one for all.
    probability : float

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.zeros(1, 2, 2, 2), Grid((2, 2, 2)))
    >>> float(RandomBrightness((0.5, 0.5))(x).data.mean())
    0.5
    """

    shift: Range = 0.1
    per_channel: bool = False
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        plus_minus(self.shift, "RandomBrightness: shift")
        check_probability(self.probability, "RandomBrightness")

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        applied = rng.random() < self.probability
        if not applied:
            return lambda x: x
        channels = frame().channels if self.per_channel else 1
        shift = per_channel(rng.uniform(*plus_minus(self.shift, "shift"), channels))
        return lambda x: x.float() + shift


@node
class RandomContrast(Pointwise):
    """Values spread about the mean of the frame, or drawn towards it.

    Parameters
    ----------
    factor : float or (low, high)
        Distances from the mean are multiplied by it; uniform in [1 - factor, 1 + factor] or in the range.
    keep_range : bool
        Whether values stop at the frame's least and largest one; the mean then moves a little.
    per_channel : bool
        Draw one for each channel, instead of one for all.
    probability : float

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1), Grid((2,)))
    >>> RandomContrast((2, 2))(x).data.flatten().tolist()
    [0.0, 4.0]
    """

    factor: Range = 0.25
    keep_range: bool = False
    per_channel: bool = False
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        if plus_minus(self.factor, "RandomContrast: factor", middle=1)[0] < 0:
            raise GraphError(
                "RandomContrast: a factor below 0 makes a negative.",
                got=self.factor,
                remedy="write a factor of at most 1, or a range from 0, such as (0.75, 1.25)",
            )
        check_probability(self.probability, "RandomContrast")

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        applied = rng.random() < self.probability
        if not applied:
            return lambda x: x
        image = frame()
        channels = image.channels if self.per_channel else 1
        factor = per_channel(rng.uniform(*plus_minus(self.factor, "factor", middle=1), channels))
        # The mean is that of ZScore: it does not depend on the number of threads.
        means = [c.mean(dtype=np.float64) for c in image.numpy()]
        demand_finite(means, "RandomContrast")
        mean = per_channel(means)

        def apply(x: Tensor) -> Tensor:
            return (x.float() - mean).mul_(factor).add_(mean)

        if not self.keep_range:
            return apply
        data = image.data.flatten(1).float()
        low, high = (end.view(-1, 1, 1, 1) for end in (data.amin(1), data.amax(1)))
        return lambda x: apply(x).clamp_(low, high)
