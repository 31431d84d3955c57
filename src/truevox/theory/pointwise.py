"""Losses that are sums over regions: their optimum is a function of each region's probability alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from truevox.errors import SettingsError
from truevox.theory.criteria import Criterion

__all__ = ["Brier", "CrossEntropy", "Focal", "Pointwise"]

Floats = NDArray[np.float64]
_TINY = 1e-300
_STEPS = 100


@dataclass(frozen=True)
class Pointwise(Criterion):
    """Mean over the size of all regions of a loss ``y l1(t) + (1 - y) l0(t)``."""

    def losses(self, t: Floats) -> tuple[Floats, Floats]:
        """l1 and l0."""
        raise NotImplementedError

    def slopes(self, t: Floats) -> tuple[Floats, Floats]:
        """Their derivatives."""
        raise NotImplementedError

    def minimiser(self, p: Floats) -> Floats:
        """The best prediction of a region with probability p."""
        low, high = np.zeros_like(p), np.ones_like(p)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            one, zero = self.slopes(middle)
            rising = p * one + (1 - p) * zero > 0
            low, high = np.where(rising, low, middle), np.where(rising, middle, high)
        # A limit at 0 or 1 is met exactly.
        return np.where(p <= 0, 0.0, np.where(p >= 1, 1.0, (low + high) / 2))


@dataclass(frozen=True)
class CrossEntropy(Pointwise):
    """Cross-entropy, ``-(weight y ln t + (1 - y) ln(1 - t))``.

    Parameters
    ----------
    weight : float
        Of the foreground. 1 makes ``t = p`` the optimum; any other biases volumes.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1.0], [0.2], loss=CrossEntropy(weight=5)).map.round(4).tolist()
    [0.5556]
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (self.weight > 0 and isfinite(self.weight)):
            raise SettingsError(
                "The weight of the foreground is above 0.",
                got=self.weight,
                remedy="write weight=1 for plain cross-entropy",
            )

    def losses(self, t: Floats) -> tuple[Floats, Floats]:
        """See :class:`Pointwise`."""
        return -self.weight * np.log(np.maximum(t, _TINY)), -np.log(np.maximum(1 - t, _TINY))

    def slopes(self, t: Floats) -> tuple[Floats, Floats]:
        """See :class:`Pointwise`."""
        return -self.weight / np.maximum(t, _TINY), 1 / np.maximum(1 - t, _TINY)

    def minimiser(self, p: Floats) -> Floats:
        """``w p / (w p + 1 - p)``."""
        return self.weight * p / (self.weight * p + 1 - p)


@dataclass(frozen=True)
class Brier(Pointwise):
    """Squared error, ``(t - y)^2``: its optimum is p.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1.0], [0.2], loss="brier").map.tolist()
    [0.2]
    """

    def losses(self, t: Floats) -> tuple[Floats, Floats]:
        """See :class:`Pointwise`."""
        return (1 - t) ** 2, t**2

    def slopes(self, t: Floats) -> tuple[Floats, Floats]:
        """See :class:`Pointwise`."""
        return -2 * (1 - t), 2 * t

    def minimiser(self, p: Floats) -> Floats:
        """The probability itself."""
        return p.copy()


@dataclass(frozen=True)
class Focal(Pointwise):
    """Focal loss, ``-(alpha y (1 - t)^gamma ln t + (1 - alpha) (1 - y) t^gamma ln(1 - t))``.

    Parameters
    ----------
    gamma : float
        At least 0; 0 is cross-entropy. Above it predictions are drawn towards 1/2.
    alpha : float, optional
        Weight of the foreground in (0, 1); without it both classes have weight 1.

    References
    ----------
    Lin et al. (2017), Focal loss for dense object detection.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1.0, 1.0], [0.1, 0.8], loss=Focal(gamma=2)).map.round(4).tolist()
    [0.3058, 0.6266]
    """

    gamma: float = 2.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and isfinite(self.gamma)):
            raise SettingsError(
                "The power of a focal loss is at least 0.",
                got=self.gamma,
                remedy="write gamma=2, or gamma=0 for cross-entropy",
            )
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise SettingsError(
                "The weight alpha of a focal loss lies between 0 and 1.",
                got=self.alpha,
                remedy="write alpha=0.25, or leave alpha out",
            )

    def losses(self, t: Floats) -> tuple[Floats, Floats]:
        """See :class:`Pointwise`."""
        one, zero = self._weights
        return one * self._loss(t), zero * self._loss(1 - t)

    def slopes(self, t: Floats) -> tuple[Floats, Floats]:
        """See :class:`Pointwise`."""
        one, zero = self._weights
        return one * self._slope(t), -zero * self._slope(1 - t)

    @property
    def _weights(self) -> tuple[float, float]:
        return (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)

    def _loss(self, t: Floats) -> Floats:
        return -((1 - t) ** self.gamma) * np.log(np.maximum(t, _TINY))

    def _slope(self, t: Floats) -> Floats:
        t = np.maximum(t, _TINY)
        rest = np.maximum(1 - t, _TINY)
        return self.gamma * rest ** (self.gamma - 1) * np.log(t) - rest**self.gamma / t
