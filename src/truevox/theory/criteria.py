"""Losses as the theory sees them: ratios of sums over regions, with a certain or an uncertain label."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from truevox.errors import SettingsError

__all__ = [
    "Criterion",
    "Dice",
    "DicePlusPlus",
    "DiceSemimetric",
    "Jaccard",
    "JaccardMetric",
    "Ratio",
    "SquaredDice",
    "Terms",
    "Tversky",
]

Floats = NDArray[np.float64]


class Criterion:
    """A loss of a prediction in [0, 1] per region against a label; see the classes of this module."""


class Terms(NamedTuple):
    """What a region adds to a ratio, per unit of its size: ``y n`` above, ``a + y b`` below, y its label."""

    n: Floats
    a: Floats
    b: Floats


@dataclass(frozen=True)
class Ratio(Criterion):
    """One minus ``(sum s y n(t) + smooth_nr) / (sum s a(t) + sum s y b(t) + smooth_dr)``.

    Parameters
    ----------
    smooth_nr, smooth_dr : float
        Added to numerator and denominator, in units of the sizes.
    empty_value : float
        Score of 0/0: an empty prediction of an empty label.

    Raises
    ------
    SettingsError
        If smoothing is negative or only above, or the value of 0/0 is not in [0, 1].
    """

    smooth_nr: float = 0.0
    smooth_dr: float = 0.0
    empty_value: float = 0.0

    linear: ClassVar[bool] = True
    """Whether n, a and b are linear in t, so that a ratio of expectations has a hard optimum."""

    def __post_init__(self) -> None:
        good = self.smooth_nr >= 0 and self.smooth_dr >= 0 and 0 <= self.empty_value <= 1
        if not (good and (self.smooth_dr > 0 or self.smooth_nr == 0)):
            raise SettingsError(
                "Smoothing, or the value of 0/0, does not fit.",
                got=(self.smooth_nr, self.smooth_dr, self.empty_value),
                expected="both at least 0, smooth_dr above 0 if smooth_nr is; empty_value in [0, 1]",
                remedy="leave these out for the usual ones, or choose within these limits",
            )

    def terms(self, t: Floats) -> Terms:
        """n, a and b at predictions of any shape."""
        raise NotImplementedError

    def slopes(self, t: Floats) -> Terms:
        """Derivatives of n, a and b."""
        raise NotImplementedError

    def soft_terms(self, t: Floats, y: Floats) -> tuple[Floats, Floats]:
        """What a region with the soft label y in [0, 1] adds above and below."""
        n, a, b = self.terms(t)
        return y * n, a + y * b

    @property
    def fill(self) -> tuple[float, float, float] | None:
        """``(n, a, b)`` if the terms are ``n t``, ``a t`` and the constant ``b``, a and b above 0."""
        return None


@dataclass(frozen=True)
class Dice(Ratio):
    """Soft Dice, ``2 sum s t y / (sum s t + sum s y)``.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1, 1], [1, 0.4], loss=Dice(empty_value=1)).volume
    1.0
    """

    def terms(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        return Terms(2 * t, t, np.ones_like(t))

    def slopes(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        one = np.ones_like(t)
        return Terms(2 * one, one, 0 * one)

    @property
    def fill(self) -> tuple[float, float, float] | None:
        """See :class:`Ratio`."""
        return 2.0, 1.0, 1.0


@dataclass(frozen=True)
class Tversky(Ratio):
    """Tversky index, ``TP / (TP + alpha FP + beta FN)``: alpha on false positives, beta on false negatives.

    Parameters
    ----------
    alpha, beta : float
        At least 0. (1/2, 1/2) is Dice, (1, 1) is Jaccard.

    References
    ----------
    Salehi et al. (2017), Tversky loss function for image segmentation using 3D fully convolutional deep
    networks.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1, 1], [1, 0.4], loss=Tversky(alpha=0.3, beta=0.7)).volume
    2.0
    """

    alpha: float = 0.5
    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.alpha < float("inf") and 0 <= self.beta < float("inf")):
            raise SettingsError(
                "Weights of a Tversky index are at least 0.",
                got=(self.alpha, self.beta),
                remedy="write e.g. alpha=0.5 and beta=0.5, which is Dice",
            )

    def terms(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        return Terms(t, self.alpha * t, self.beta + (1 - self.alpha - self.beta) * t)

    def slopes(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        one = np.ones_like(t)
        return Terms(one, self.alpha * one, (1 - self.alpha - self.beta) * one)

    @property
    def fill(self) -> tuple[float, float, float] | None:
        """See :class:`Ratio`."""
        if abs(self.alpha + self.beta - 1) < 1e-12 and min(self.alpha, self.beta) > 0:
            return 1.0, self.alpha, self.beta
        return None


@dataclass(frozen=True)
class Jaccard(Ratio):
    """Soft Jaccard, ``sum s t y / (sum s t + sum s y - sum s t y)``.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1, 1], [1, 0.4], loss="jaccard").volume
    1.0
    """

    def terms(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        return Terms(t, t, 1 - t)

    def slopes(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        one = np.ones_like(t)
        return Terms(one, one, -one)


@dataclass(frozen=True)
class SquaredDice(Ratio):
    """Dice with squares below, ``2 sum s t y / (sum s t^2 + sum s y^2)``: its optimum is not hard.

    References
    ----------
    Milletari et al. (2016), V-Net: fully convolutional neural networks for volumetric medical image
    segmentation.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1, 1], [1, 0.1], loss="squared_dice").map.round(5).tolist()
    [1.0, 0.07058]
    """

    linear: ClassVar[bool] = False

    def terms(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        return Terms(2 * t, t**2, np.ones_like(t))

    def slopes(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        one = np.ones_like(t)
        return Terms(2 * one, 2 * t, 0 * one)

    def soft_terms(self, t: Floats, y: Floats) -> tuple[Floats, Floats]:
        """See :class:`Ratio`: the label is squared too."""
        return 2 * t * y, t**2 + y**2


@dataclass(frozen=True)
class DicePlusPlus(Ratio):
    """Dice++, ``2 TP / (2 TP + sum s (y (1 - t))^gamma + sum s ((1 - y) t)^gamma)``.

    Gamma 1 is soft Dice and 2 is Dice with squares below; the larger gamma, the nearer is the optimum to 1/2.

    Parameters
    ----------
    gamma : float
        At least 1.

    References
    ----------
    Yeung et al. (2021), Calibrating the Dice loss to handle neural network overconfidence for biomedical
    image segmentation.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1, 1], [1, 0.1], loss=DicePlusPlus(gamma=3)).map.round(4).tolist()
    [1.0, 0.2185]
    """

    gamma: float = 2.0

    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.gamma >= 1 and isfinite(self.gamma)):
            raise SettingsError(
                "The power of Dice++ is at least 1.",
                got=self.gamma,
                remedy="write gamma=1 for Dice, gamma=2 for Dice++",
            )

    def terms(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        false = t**self.gamma
        return Terms(2 * t, false, 2 * t + (1 - t) ** self.gamma - false)

    def slopes(self, t: Floats) -> Terms:
        """See :class:`Ratio`."""
        g = self.gamma
        false = g * t ** (g - 1)
        return Terms(2 * np.ones_like(t), false, 2 - g * (1 - t) ** (g - 1) - false)

    def soft_terms(self, t: Floats, y: Floats) -> tuple[Floats, Floats]:
        """See :class:`Ratio`: the power is that of the products."""
        both = 2 * t * y
        return both, both + (y * (1 - t)) ** self.gamma + ((1 - y) * t) ** self.gamma


@dataclass(frozen=True)
class DiceSemimetric(Dice):
    """Dice of which the overlap is ``sum s min(t, y)``: Dice for hard labels, least at ``t = y`` for soft ones.

    References
    ----------
    Wang et al. (2023), Dice semimetric losses: optimizing the Dice score with soft labels.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1.0], [0.3], law="averaged", loss="dml").map.tolist(), optimum([1.0], [0.3], law="averaged").map.tolist()
    ([0.3], [1.0])
    """  # noqa: E501 - one line is the point

    linear: ClassVar[bool] = False

    def soft_terms(self, t: Floats, y: Floats) -> tuple[Floats, Floats]:
        """See :class:`Ratio`."""
        return 2 * np.minimum(t, y), t + y


@dataclass(frozen=True)
class JaccardMetric(Jaccard):
    """Jaccard of which the overlap is ``sum s min(t, y)``: Jaccard for hard labels, least at ``t = y`` for soft ones.

    References
    ----------
    Wang and Blaschko (2023), Jaccard metric losses: optimizing the Jaccard index with soft labels.

    Examples
    --------
    >>> from truevox.theory import optimum
    >>> optimum([1.0], [0.3], law="averaged", loss="jml").map.tolist()
    [0.3]
    """  # noqa: E501 - as above

    linear: ClassVar[bool] = False

    def soft_terms(self, t: Floats, y: Floats) -> tuple[Floats, Floats]:
        """See :class:`Ratio`."""
        return np.minimum(t, y), np.maximum(t, y)
