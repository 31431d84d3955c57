"""How far one score can be from another, and an optimal volume from the expected one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError

__all__ = [
    "HammingGap",
    "SimilarityBounds",
    "VolumeBounds",
    "calibrated_surrogate",
    "dice_to_jaccard",
    "hamming_gap",
    "jaccard_to_dice",
    "similarity_bounds",
    "volume_bounds",
]

Floats = NDArray[np.float64]


def dice_to_jaccard(dice: ArrayLike) -> Floats:
    """``D / (2 - D)``: the Jaccard of a Dice. It ranks images alike, but not means over images.

    Examples
    --------
    >>> float(dice_to_jaccard(0.8)).__round__(6)
    0.666667
    """
    d = np.asarray(dice, dtype=np.float64)
    return d / (2 - d)


def jaccard_to_dice(jaccard: ArrayLike) -> Floats:
    """``2 J / (1 + J)``: the Dice of a Jaccard.

    Examples
    --------
    >>> float(jaccard_to_dice(0.5)).__round__(6)
    0.666667
    """
    j = np.asarray(jaccard, dtype=np.float64)
    return 2 * j / (1 + j)


@dataclass(frozen=True)
class SimilarityBounds:
    """How well a Tversky index stands for Dice.

    Parameters
    ----------
    relative : float
        The least e with ``D / (1 + e) <= T <= (1 + e) D`` for all masks.
    absolute : float
        The largest ``|D - T|``.
    """

    relative: float
    absolute: float


def similarity_bounds(alpha: float, beta: float) -> SimilarityBounds:
    """Bounds between Dice and the Tversky index, alpha on false positives and beta on false negatives.

    Raises
    ------
    SettingsError
        If one of them is not above 0 (then no bound is finite).

    Notes
    -----
    With ``x = FP + FN`` over TP, Dice is ``2 / (2 + x)`` and the index lies between ``1 / (1 + alpha x)`` and
    ``1 / (1 + beta x)``; (1, 1) is Jaccard, whose distance is largest at Dice ``2 - sqrt(2)``.

    References
    ----------
    Eelbode et al. (2020), Optimization for medical image segmentation: theory and practice when evaluating
    with Dice score or Jaccard index.

    Examples
    --------
    >>> bounds = similarity_bounds(1, 1)
    >>> bounds.relative, round(bounds.absolute, 6)
    (1.0, 0.171573)
    """
    if not (0 < alpha < math.inf and 0 < beta < math.inf):
        raise SettingsError(
            "Weights of a Tversky index are above 0 here.",
            got=(alpha, beta),
            remedy="write e.g. 0.5 and 0.5, which is Dice",
        )
    low, high = min(1.0, 2 * alpha, 2 * beta), max(1.0, 2 * alpha, 2 * beta)
    gaps = (abs(math.sqrt(2 * c) - 1) / (math.sqrt(2 * c) + 1) for c in (alpha, beta))
    return SimilarityBounds(float(max(high, 1 / low) - 1), max(gaps))


@dataclass(frozen=True)
class HammingGap:
    """How far weighted Hamming similarity H can be from Dice D.

    Parameters
    ----------
    oversized : float
        The largest ``H - D`` of masks that hold all of the foreground, and more.
    missed : float
        The largest ``H - D`` of masks that miss foreground: one that misses all of it has D = 0.
    below : float
        The largest ``D - H``.
    """

    oversized: float
    missed: float
    below: float

    @property
    def largest(self) -> float:
        """The largest ``|D - H|`` of all."""
        return max(self.oversized, self.missed, self.below)


def hamming_gap(voxels: int, weight: float = 0.5) -> HammingGap:
    """The largest distances, over all masks and labels, between Dice and weighted Hamming similarity.

    ``H = 1 - weight FN / |y| - (1 - weight) FP / (N - |y|)`` is what cross-entropy with class weights stands
    for. The distance tends to 1 as images grow: no class weight makes cross-entropy a Dice.

    Parameters
    ----------
    voxels : int
        N, at least 2.
    weight : float
        Of the foreground, in [0, 1].

    Raises
    ------
    SettingsError
        If one of them does not fit.

    Notes
    -----
    D is convex in FP and concave in FN, so that ``H - D`` is largest where FN is 0 or all of the foreground
    (and then, for FN = 0, at one voxel of foreground), and ``D - H`` where FP is 0 or all of the background
    (and then at one voxel of background). What remains is one count, searched at the whole numbers next to
    where its derivative is 0.

    Examples
    --------
    >>> [round(hamming_gap(n).largest, 4) for n in (100, 10_000, 1_000_000)]
    [0.8091, 0.9801, 0.998]
    >>> round(hamming_gap(100, 0.1).oversized, 4)
    0.7485
    """
    if not (voxels >= 2 and voxels == int(voxels) and 0 <= weight <= 1):
        raise SettingsError(
            "Two voxels or more, and a weight in [0, 1], are needed.",
            got=(voxels, weight),
            remedy="write a whole number of voxels, and a weight such as 0.5",
        )
    n, g = int(voxels), float(weight)
    false = _near(math.sqrt(2 * (n - 1) / (1 - g)) - 2 if g < 1 else math.inf, 0, n - 1)
    oversized = 1 - (1 - g) * false / (n - 1) - 2 / (2 + false)
    found = _near(math.sqrt(2 * n * (n - 1) / g) - n if g > 0 else math.inf, 0, n - 1)
    flooded = 2 * found / (found + n) - g * found / (n - 1)
    sizes = np.arange(1, n, dtype=np.float64)
    lost = np.clip(sizes * (2 - math.sqrt(2 / g)) if g > 0 else 0 * sizes, 0, sizes)
    shares = np.stack([np.floor(lost), np.ceil(lost)]) / sizes
    eroded = shares * (g - 1 / (2 - shares))
    return HammingGap(float(oversized.max()), 1 - g, float(max(flooded.max(), eroded.max())))


def _near(x: float, low: int, high: int) -> Floats:
    """The whole numbers next to x, and the ends."""
    middle = min(max(x, low), high)
    return np.array([low, math.floor(middle), math.ceil(middle), high], dtype=np.float64)


@dataclass(frozen=True)
class VolumeBounds:
    """Between which an optimal volume lies, as shares of the image.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float


def volume_bounds(expected: float, loss: Literal["dice", "accuracy"] = "dice") -> VolumeBounds:
    """Least and largest optimal volume of many independent voxels with a given expected volume.

    Parameters
    ----------
    expected : float
        Share of the image, in [0, 1].
    loss : {"dice", "accuracy"}
        "accuracy": the voxels with probability above 1/2. The optimal volume of Dice is never below it.

    Raises
    ------
    SettingsError
        If they do not fit.

    Notes
    -----
    Dice: from ``v^2`` (probability 1 on that share and ``v / (1 + v)`` elsewhere, where all volumes up to 1
    tie) to 1 (the same probability everywhere), so the volume can be too large by any factor. Accuracy: from
    ``max(0, 2 v - 1)`` to ``min(1, 2 v)``.

    References
    ----------
    Nordstrom et al. (2022), On image segmentation with noisy labels: characterization and volume properties
    of the optimal solutions to accuracy and Dice.

    Examples
    --------
    >>> volume_bounds(0.5), volume_bounds(0.25, "accuracy")
    (VolumeBounds(low=0.25, high=1.0), VolumeBounds(low=0.0, high=0.5))
    """
    v = float(expected)
    if not 0 <= v <= 1:
        raise SettingsError(
            "An expected volume is a share of the image here.",
            got=expected,
            remedy="divide the volume by that of the image",
        )
    if loss == "dice":
        return VolumeBounds(v * v, 1.0 if v > 0 else 0.0)
    if loss == "accuracy":
        return VolumeBounds(max(0.0, 2 * v - 1), min(1.0, 2 * v))
    raise SettingsError(
        "Bounds of volumes are known of two losses.",
        got=loss,
        expected="dice, accuracy",
        remedy="choose one of these, or compute the optimum of your loss by optimum()",
    )


def calibrated_surrogate(margins: ArrayLike, labels: ArrayLike) -> float:
    """A lower bound of Dice that is smooth in the margins (logits).

    ``2 L / (sum y + L + U)`` with ``L = sum y (1 - phi(m))``, ``U = sum (1 - y) phi(-m)`` and
    ``phi(m) = log2(1 + exp(-m))``; where L is not above 0, ``2 L / sum y``.

    Parameters
    ----------
    margins, labels : arrays of one shape
        The mask is where the margin is above 0; labels are 0 or 1.

    Raises
    ------
    SettingsError
        If the shapes differ or no label is 1.

    References
    ----------
    Nordstrom et al. (2020), Calibrated surrogate maximization of Dice. Whether it is calibrated depends on
    a constant in phi that is not in this form: only the bound is claimed.

    Examples
    --------
    >>> round(calibrated_surrogate([3.0, 2.0, -3.0], [1, 1, 0]), 4)
    0.9153
    """
    m, y = np.asarray(margins, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if m.shape != y.shape or not y.sum() > 0:
        raise SettingsError(
            "Margins need labels of their shape, one of them 1.",
            got=(m.shape, y.shape),
            remedy="pass both of one shape, with at least one voxel of foreground",
        )
    low = float((y * (1 - np.logaddexp(0, -m) / math.log(2))).sum())
    high = float(((1 - y) * np.logaddexp(0, m) / math.log(2)).sum())
    return 2 * low / (float(y.sum()) + (low + high if low > 0 else 0.0))
