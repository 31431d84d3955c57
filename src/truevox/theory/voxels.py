"""The mask of highest expected Dice of a map of probabilities, for voxels independent of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from truevox.errors import SettingsError
from truevox.theory.criteria import Dice
from truevox.theory.independent import nodes
from truevox.theory.laws import AverageLaw
from truevox.theory.search import by_averages

__all__ = ["MarginalThreshold", "RankDice", "RankMethod", "marginal_threshold", "rank_dice"]

Floats = NDArray[np.float64]
RankMethod = Literal["exact", "ba", "trna", "rma"]
_CELLS = 2**21
_MOST_LISTED = 20_000


@dataclass(frozen=True, eq=False)
class RankDice:
    """The most probable voxels, as many as make the expected Dice highest.

    Parameters
    ----------
    mask : array of bool
        Of the shape of the probabilities.
    selected : int
        Voxels of the mask.
    threshold : float
        Least probability in the mask; NaN if it is empty.
    expected_dice : float
        As the method computes it, smoothing included.
    scores : array (d + 1,)
        Expected Dice of the 0 to d most probable voxels; NaN beyond where the optimum can lie.
    """

    mask: NDArray[np.bool_]
    selected: int
    threshold: float
    expected_dice: float
    scores: Floats


def rank_dice(
    probabilities: ArrayLike, smooth: float = 0.0, method: RankMethod = "exact", prune_below: float = 0.0
) -> RankDice:
    """The mask of highest expected Dice, if voxels are independent given the image.

    It is the decision that Dice asks for, and its volume is biased: compare it with the sum of the
    probabilities.

    Parameters
    ----------
    probabilities : array (any shape)
        In [0, 1]; the answer is as good as they are calibrated.
    smooth : float
        Added to numerator and denominator of Dice, in voxels. Without it, Dice of two empty masks is 0.
    method : {"exact", "ba", "trna", "rma"}
        "exact" for any number of voxels. Approximations: "ba" (blind) forgets that a voxel's own label is
        known, "trna" takes sums as refined-normal, "rma" takes the ratio of means.
    prune_below : float
        If no probability is above it, the mask is empty.

    Returns
    -------
    RankDice
        Of masks that tie, the smallest.

    Raises
    ------
    SettingsError
        If probabilities leave [0, 1], smoothing is negative, or the method is not known.

    Notes
    -----
    The expected Dice of the k most probable voxels is ``2 sum_j p_j E[1 / (k + 1 + smooth + S_j)]`` plus that
    of smoothing, S_j the number of the other foreground voxels. With ``1 / D`` as an integral of
    exponentials, the sums for all k come from one cumulative sum per node: linear in the number of voxels.

    References
    ----------
    Dai and Li (2023), RankSEG: a consistent ranking-based framework for segmentation.

    Examples
    --------
    >>> best = rank_dice([0.9, 0.8, 0.6, 0.45, 0.4, 0.3, 0.2, 0.1])
    >>> best.selected, round(best.expected_dice, 6), best.threshold
    (5, 0.706712, 0.4)
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if not p.size or not ((p >= 0) & (p <= 1)).all():
        raise SettingsError(
            "Probabilities lie in [0, 1].",
            got=f"{p.shape}",
            remedy="divide percent by 100, and pass at least one voxel",
        )
    if not (smooth >= 0 and np.isfinite(smooth)):
        raise SettingsError(
            "Smoothing is at least 0.", got=smooth, remedy="write smooth=0, or a small finite number"
        )
    rules = {"exact": _exact, "ba": _blind, "trna": _refined, "rma": _means}
    if method not in rules:
        raise SettingsError(
            "Unknown method of ranking.",
            got=method,
            expected=", ".join(rules),
            remedy="choose one of these for method=",
        )
    order = np.argsort(-p, axis=None, kind="stable")
    ranked = p.reshape(-1)[order]
    scores = np.full(len(ranked) + 1, np.nan)
    scores[0] = _empty(ranked, smooth, method)
    reach = _reach(ranked, smooth)
    if ranked[0] > prune_below:
        scores[1 : reach + 1] = rules[method](ranked, smooth, reach)
    selected = int(np.flatnonzero(scores >= np.nanmax(scores) - 1e-13)[0])
    mask = np.zeros(p.size, dtype=bool)
    mask[order[:selected]] = True
    threshold = float(ranked[selected - 1]) if selected else float("nan")
    return RankDice(mask.reshape(p.shape), selected, threshold, float(scores[selected]), scores)


def _reach(p: Floats, smooth: float) -> int:
    """Number of voxels beyond which the score can only fall (Dai and Li, lemma 3)."""
    d = len(p)
    if d > 1:
        k = np.arange(1, d)
        stop = np.flatnonzero(np.cumsum(p)[:-1] >= (k + smooth + d) * p[1:])
        if stop.size:
            return int(stop[0]) + 1
    return d


def _empty(p: Floats, smooth: float, method: RankMethod) -> float:
    if smooth == 0:
        return 0.0
    if method == "rma":
        return smooth / (smooth + float(p.sum()))
    v, w = nodes(smooth, smooth + len(p))
    return smooth * float(w @ np.exp(_log(p, v) - smooth * v))


def _log(p: Floats, v: Floats) -> Floats:
    """Log of ``E exp(-S v)`` (Q,), in parts that fit into memory."""
    fall = -np.expm1(-v)
    step = max(1, _CELLS // len(v))
    with np.errstate(divide="ignore"):
        return sum(
            (np.log1p(-np.outer(p[k : k + step], fall)).sum(0) for k in range(0, len(p), step)),
            start=np.zeros_like(v),
        )


def _exact(p: Floats, smooth: float, reach: int) -> Floats:
    certain = int(np.count_nonzero(p == 1))
    # A voxel that is certain adds 1 to every sum: its factor exp(-v) is taken out, for it has no logarithm at
    # large v.
    rest = p[certain:]
    v, w = nodes(1 + smooth, len(p) + reach + smooth + 1)
    mass = w * np.exp(_log(rest, v))
    fall = -np.expm1(-v)
    scores, carried = np.empty(reach), np.zeros_like(v)
    step = max(1, _CELLS // len(v))
    for start in range(0, reach, step):
        k = np.arange(start, min(start + step, reach))
        one = p[k]
        # Among the others of a certain voxel there is one certain voxel less.
        share = np.where(one == 1, 1.0, 0.0)[:, None] * np.exp(v) if certain else 0.0
        uncertain = np.where(one == 1, 0.0, one)
        tilted = share + uncertain[:, None] / (1 - np.outer(uncertain, fall))
        sums = carried + np.cumsum(tilted, axis=0)
        carried = sums[-1]
        decay = np.exp(-np.outer(k + 2 + smooth + certain, v))
        above = 2 * (decay * sums * mass).sum(1)
        decay *= np.exp(v)
        scores[k] = above + smooth * (decay * mass).sum(1)
    return scores


def _pmf(p: Floats) -> Floats:
    """Distribution of the number of foreground voxels, by convolution in halves."""
    parts = [np.array([1 - q, q]) for q in p]
    while len(parts) > 1:
        last = parts[-1:] if len(parts) % 2 else []
        parts = [np.convolve(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)] + last
    return parts[0]


def _blind(p: Floats, smooth: float, reach: int) -> Floats:
    if len(p) > _MOST_LISTED:
        v, w = nodes(1 + smooth, 2 * len(p) + smooth + 2)
        mass = w * np.exp(_log(p, v))
        k = np.arange(1, reach + 1)
        step = max(1, _CELLS // len(v))
        inverse = np.concatenate(
            [np.exp(-np.outer(k[s : s + step] + smooth, v)) @ np.stack([mass * np.exp(-v), mass], 1)
             for s in range(0, reach, step)]
        )  # fmt: skip
        return 2 * np.cumsum(p)[:reach] * inverse[:, 0] + smooth * inverse[:, 1]
    chance, held = _pmf(p), np.arange(len(p) + 1)
    k = np.arange(1, reach + 1)
    return np.array(
        [
            2 * total * (chance @ (1 / (n + smooth + 1 + held)))
            + smooth * (chance @ (1 / (n + smooth + held)))
            for n, total in zip(k, np.cumsum(p), strict=False)
        ]
    )


def _refined(p: Floats, smooth: float, reach: int) -> Floats:
    held = np.arange(len(p) + 1)
    mean, variance, third = _moments(p)
    full = _normal_pmf(held, mean.sum(), variance.sum(), third.sum())
    sums = np.zeros(len(p) + 1)
    scores = np.empty(reach)
    for k in range(reach):
        others = [float(x.sum() - x[k]) for x in (mean, variance, third)]
        sums += p[k] * _normal_pmf(held, *others)
        scores[k] = 2 * float((sums / (k + 2 + smooth + held)).sum())
        scores[k] += smooth * float((full / (k + 1 + smooth + held)).sum()) if smooth else 0.0
    return scores


def _moments(p: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, variance and third central moment of every voxel."""
    variance = p * (1 - p)
    return p, variance, variance * (1 - 2 * p)


def _normal_pmf(held: NDArray, mean: float, variance: float, third: float) -> Floats:
    """Refined-normal distribution of a sum: normal, corrected for skewness, on whole numbers, scaled to 1."""
    spread = np.sqrt(max(variance, 1e-12))
    edges = (np.append(held, held[-1] + 1) - 0.5 - mean) / spread
    density = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
    rising = np.clip(ndtr(edges) + third / spread**3 * (1 - edges**2) * density / 6, 0, 1)
    chance = np.clip(np.diff(rising), 0, None)
    return chance / chance.sum() if chance.sum() > 0 else np.where(held == round(mean), 1.0, 0.0)


def _means(p: Floats, smooth: float, reach: int) -> Floats:
    k, total = np.arange(1, reach + 1), float(p.sum())
    return 2 * np.cumsum(p)[:reach] / (k + total + smooth + 1) + smooth / (k + total + smooth)


@dataclass(frozen=True)
class MarginalThreshold:
    """What soft Dice over very many voxels keeps: those with a probability of half the Dice or more.

    Parameters
    ----------
    threshold : float
        Half the Dice.
    dice : float
        The ratio of expectations at the optimum.
    volume, smallest_volume, largest_volume : float
        Of the voxels above the threshold; voxels exactly at it may be kept or not.
    expected_volume : float
        Sum of the probabilities.
    """

    threshold: float
    dice: float
    volume: float
    smallest_volume: float
    largest_volume: float
    expected_volume: float

    @property
    def bias(self) -> float:
        """``volume - expected_volume``."""
        return self.volume - self.expected_volume


def marginal_threshold(probabilities: ArrayLike, sizes: ArrayLike | None = None) -> MarginalThreshold:
    """The threshold on calibrated probabilities that gives the mask soft Dice asks for.

    Parameters
    ----------
    probabilities : array (any shape)
        In [0, 1]; of one image, or of all images of a data set for a Dice over the data set.
    sizes : array of that shape, optional
        Of the voxels; 1 by default.

    Returns
    -------
    MarginalThreshold

    Raises
    ------
    SettingsError
        If probabilities leave [0, 1], or sizes do not fit.

    References
    ----------
    Nordstrom et al. (2023), Marginal thresholding in noisy image segmentation.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = 1 - (np.arange(2000) + 0.5) / 2000
    >>> found = marginal_threshold(ramp, np.full(2000, 1 / 2000))
    >>> round(found.volume, 3), round(found.threshold, 3), round(found.bias, 3)
    (0.618, 0.382, 0.118)
    """
    p = np.asarray(probabilities, dtype=np.float64).reshape(-1)
    size = np.ones_like(p) if sizes is None else np.asarray(sizes, dtype=np.float64).reshape(-1)
    law = AverageLaw(size, p)
    if law.expected_volume == 0:
        return MarginalThreshold(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    candidates = by_averages(law, Dice())
    score = float(law.ratio(candidates, Dice()).max())
    low, high = (float(size @ (p > score / 2 + e)) for e in (1e-12, -1e-12))
    return MarginalThreshold(score / 2, score, low, low, high, law.expected_volume)
