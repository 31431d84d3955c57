"""The probability at which an uncertain block is included as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import root_scalar
from scipy.stats import binom

from truevox.errors import SettingsError
from truevox.theory.criteria import Dice
from truevox.theory.independent import IndependentLaw
from truevox.theory.risk import values

__all__ = ["flip_probability"]

_LISTED = 100_000


def flip_probability(size_ratio: float, n_regions: float = 1, *, empty_value: float = 0.0) -> float:
    """Probability above which soft Dice includes an uncertain block beside a certain foreground.

    Parameters
    ----------
    size_ratio : float
        Size of the uncertain block over that of the certain foreground; ``inf`` where nothing is certain.
    n_regions : int or inf
        Equal parts of the block, foreground independently of each other with the same probability. 1: the
        block is foreground as a whole.
    empty_value : float
        Dice of an empty prediction of an empty label; matters only where nothing is certain.

    Returns
    -------
    float
        1/2 for one region, whatever the sizes; less for more regions: then soft Dice makes volumes too large
        in the mean.

    Raises
    ------
    SettingsError
        If the ratio is not above 0, or the number no whole number above 0.

    Notes
    -----
    For infinitely many regions ``(sqrt(1 + r) - 1) / r``. Without certain foreground and with
    ``empty_value=0`` the block is included at any probability: 0.

    Examples
    --------
    >>> [round(flip_probability(1, n), 6) for n in (1, 2, 8, float("inf"))]
    [0.5, 0.457453, 0.424977, 0.414214]
    >>> round(flip_probability(float("inf"), 4, empty_value=1), 6)
    0.237562
    """
    if not size_ratio > 0:
        raise SettingsError(
            "The ratio of sizes is above 0.",
            got=size_ratio,
            remedy="divide the size of one region by that of the other",
        )
    if not (n_regions >= 1 and (n_regions == math.inf or n_regions == int(n_regions))):
        raise SettingsError(
            "The number of regions is a whole number above 0, or inf.",
            got=n_regions,
            remedy="write such as 3, or math.inf",
        )
    if not 0 <= empty_value <= 1:
        raise SettingsError(
            "The value of 0/0 lies in [0, 1].",
            got=empty_value,
            remedy="write 1 if an image that is rightly empty counts as right, 0 if as wrong",
        )
    if size_ratio == math.inf:
        return _without_certain(n_regions, empty_value)
    r = size_ratio
    if n_regions == 1:
        return 0.5
    if n_regions == math.inf:
        # The form that does not cancel where r is small.
        return 1 / (math.sqrt(1 + r) + 1)
    count = int(n_regions)

    def gain(p: float) -> float:
        if count > _LISTED:
            law = IndependentLaw([1.0, r], [1.0, p], [1, count])
            return float(-np.diff(values(np.array([[1.0, 0.0], [1.0, 1.0]]), law, Dice()))[0])
        held = r * np.arange(count + 1) / count
        return float(
            binom.pmf(np.arange(count + 1), count, p) @ (2 * (1 + held) / (2 + r + held) - 2 / (2 + held))
        )

    return _root(gain, 1e-12, 1 - 1e-12)


def _without_certain(n_regions: float, empty_value: float) -> float:
    if empty_value == 0 or n_regions == math.inf:
        return 0.0
    count = int(n_regions)
    held = np.arange(count + 1) / count

    def gain(p: float) -> float:
        return (
            float(binom.pmf(np.arange(count + 1), count, p) @ (2 * held / (1 + held)))
            - empty_value * (1 - p) ** count
        )

    return _root(gain, 0.0, 1.0)


def _root(gain: Callable[[float], float], low: float, high: float) -> float:
    return float(root_scalar(gain, bracket=(low, high), method="brentq", xtol=1e-15).root)
