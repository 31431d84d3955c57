"""What probabilities are worth: calibration, Brier score, likelihood, soft Dice, ranking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.metrics.components import lies_reversed
from truevox.metrics.masks import as_array, as_mask, as_masks

__all__ = [
    "Calibration", "auroc", "average_precision", "band", "brier", "calibration", "classwise_ece", "nll",
    "pool", "soft_dice",
]  # fmt: skip

Array = NDArray[Any]
CLIP = 1e-7
"""Probabilities are at least so far from 0 and 1 in logarithms."""
BLOCK = 1 << 20
"""Voxels that are turned into doubles at once."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probabilities against truths, by bins of probability.

    Parameters
    ----------
    edges : array (B + 1,)
        Bins are ``(edge, next edge]``; the first holds 0 too.
    voxels, sum_p, sum_y : arrays (B,)
        Voxels per bin, sums of their probabilities and of their truths.
    """

    edges: Array
    voxels: Array
    sum_p: Array
    sum_y: Array

    @property
    def mean_p(self) -> Array:
        """Mean probability per bin; NaN where it is empty."""
        return np.divide(
            self.sum_p, self.voxels, out=np.full(len(self.voxels), np.nan), where=self.voxels > 0
        )

    @property
    def mean_y(self) -> Array:
        """Part of the foreground per bin; NaN where it is empty."""
        return np.divide(
            self.sum_y, self.voxels, out=np.full(len(self.voxels), np.nan), where=self.voxels > 0
        )

    @property
    def gaps(self) -> Array:
        """Distance of the two per bin that is not empty."""
        some = self.voxels > 0
        return np.abs(self.sum_p - self.sum_y)[some] / self.voxels[some]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap, weighted by voxels; NaN without voxels."""
        total = self.voxels.sum()
        return float(np.abs(self.sum_p - self.sum_y).sum() / total) if total else np.nan

    @property
    def mce(self) -> float:
        """Largest gap."""
        return float(self.gaps.max()) if len(self.gaps) else np.nan

    @property
    def ace(self) -> float:
        """Mean gap of the bins that are not empty, each counted once."""
        return float(self.gaps.mean()) if len(self.gaps) else np.nan


def calibration(
    probability: ArrayLike,
    reference: ArrayLike,
    *,
    bins: int = 15,
    field: ArrayLike | None = None,
    top_label: bool = False,
) -> Calibration:
    """Calibration of probabilities of foreground.

    Parameters
    ----------
    probability : array
        From 0 to 1.
    reference : array of that shape
        Mask.
    bins : int
        How many bins of equal width.
    field : array of bool of that shape, optional
        Which voxels count. Over a whole scan nearly all voxels are background with a probability near 0,
        and the error is small whatever the model does at the lesion: see :func:`band`.
    top_label : bool
        Confidence in the decision (at 0.5) against its being right.

    Raises
    ------
    GeometryError
        If shapes differ.
    LabelError
        If probabilities are not in 0 to 1, or the reference is no mask.
    SettingsError
        If there are no bins.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015); Guo et al. (2017) for the top label.

    Examples
    --------
    >>> round(calibration([0.9, 0.9, 0.1, 0.1], [1, 1, 0, 1], bins=10).ece, 3)
    0.25
    """
    if bins < 1:
        raise SettingsError(
            "Calibration needs bins.", got=bins, expected="1 or more", remedy="bins=15 is usual"
        )
    p, y = _flat(probability, reference, field)
    if top_label:
        positive = p >= 0.5
        p, y = np.where(positive, p, 1 - p), y == positive
    from truevox.kernels.calibration import bin_sums

    edges = np.arange(bins + 1) / bins
    sums, right = bin_sums(p, y, edges.astype(p.dtype))
    if not right:
        raise _no_probability(p)
    return Calibration(edges, sums[:, 0], sums[:, 1], sums[:, 2])


def pool(images: Iterable[Calibration]) -> Calibration:
    """Calibration of the voxels of all images together.

    Opposite errors of two images cancel in it: the mean of each image's ``ece`` does not hide them.

    Raises
    ------
    SettingsError
        If there is no image, or bins differ.

    Examples
    --------
    >>> sure = [calibration(np.full(10, 0.9), np.arange(10) < n) for n in (10, 8)]
    >>> [round(one.ece, 3) for one in (*sure, pool(sure))]
    [0.1, 0.1, 0.0]
    """
    found = list(images)
    if not found or any(len(one.edges) != len(found[0].edges) for one in found):
        raise SettingsError(
            "Pooling needs images with the same bins.",
            got=[len(one.edges) - 1 for one in found],
            remedy="compute every image with the same bins=, and pass at least one",
        )
    sums = [np.sum([getattr(one, name) for one in found], axis=0) for name in ("voxels", "sum_p", "sum_y")]
    return Calibration(found[0].edges, *sums)


def classwise_ece(
    probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15, field: ArrayLike | None = None
) -> NDArray[np.float64]:
    """ECE (C,) of each class of a distribution (C, ...), against a map of class numbers.

    Its mean is the figure that is usually reported.

    Raises
    ------
    GeometryError
        If shapes differ.
    LabelError
        If probabilities are not in 0 to 1.

    Examples
    --------
    >>> classwise_ece([[0.9, 0.1], [0.1, 0.9]], [0, 1], bins=10).round(3).tolist()
    [0.1, 0.1]
    """
    p, truth = as_array(probabilities, "probabilities"), as_array(labels, "labels")
    if odd := set(np.unique(truth).tolist()) - set(range(len(p))):
        raise LabelError(
            "The labels name classes that have no probabilities.",
            got=sorted(odd)[:8],
            expected=f"0 to {len(p) - 1}",
            remedy="leave these voxels out by a field, or number the classes as the channels are",
        )
    return np.array([calibration(p[c], truth == c, bins=bins, field=field).ece for c in range(len(p))])


def brier(probability: ArrayLike, reference: ArrayLike, *, field: ArrayLike | None = None) -> float:
    """Mean squared difference of probability and truth (Brier, 1950), from 0 to 1; NaN without voxels.

    Over the two classes the sum, which some report, is twice this.

    Examples
    --------
    >>> brier([0.5, 1.0], [1, 1])
    0.125
    """
    p, y = _checked(probability, reference, field)
    total = sum(float(np.square(q - t).sum()) for q, t in _blocks(p, y))
    return total / len(p) if len(p) else np.nan


def nll(probability: ArrayLike, reference: ArrayLike, *, field: ArrayLike | None = None) -> float:
    """Mean negative log likelihood in nats; probabilities are held 1e-7 away from 0 and 1.

    Examples
    --------
    >>> round(nll([0.5, 0.5], [1, 0]), 6)
    0.693147
    """
    p, y = _checked(probability, reference, field)
    total = 0.0
    for q, t in _blocks(p, y):
        total -= float(np.log(np.clip(np.where(t > 0, q, 1 - q), CLIP, 1 - CLIP)).sum())
    return total / len(p) if len(p) else np.nan


def soft_dice(probability: ArrayLike, reference: ArrayLike, *, field: ArrayLike | None = None) -> float:
    """2 sum(p y) / (sum p + sum y); NaN if both are 0.

    Examples
    --------
    >>> soft_dice([0.5, 0.5], [1, 0])
    0.5
    """
    p, y = _checked(probability, reference, field)
    both, whole = float(p[y].sum(dtype=np.float64)), float(p.sum(dtype=np.float64)) + int(np.count_nonzero(y))
    return 2 * both / whole if whole else np.nan


def auroc(score: ArrayLike, reference: ArrayLike, *, field: ArrayLike | None = None) -> float:
    """How often a foreground voxel has a higher score than a background voxel, ties half; NaN without either.

    Exact (the Mann-Whitney statistic), by one sort.

    Raises
    ------
    GeometryError
        If shapes differ.
    LabelError
        If the reference is no mask, or a score is NaN.

    References
    ----------
    Hanley and McNeil (1982).

    Examples
    --------
    >>> auroc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    0.875
    """
    positive, negative = _sides(score, reference, field)
    if not len(positive) or not len(negative):
        return np.nan
    below = np.searchsorted(negative, positive, "left").sum(dtype=np.float64)
    not_above = np.searchsorted(negative, positive, "right").sum(dtype=np.float64)
    return float((below + not_above) / 2 / len(positive) / len(negative))


def average_precision(score: ArrayLike, reference: ArrayLike, *, field: ArrayLike | None = None) -> float:
    """Sum over thresholds of the gain of sensitivity times the precision there; NaN without foreground.

    Exact, equal scores as one threshold, without interpolation.

    Raises
    ------
    GeometryError
        If shapes differ.
    LabelError
        If the reference is no mask, or a score is NaN.

    Examples
    --------
    >>> average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8333333333333333
    """
    positive, negative = _sides(score, reference, field)
    if not len(positive):
        return np.nan
    begin = np.flatnonzero(np.concatenate([[True], positive[1:] != positive[:-1]]))
    tp = len(positive) - begin
    fp = len(negative) - np.searchsorted(negative, positive[begin], "left")
    gain = np.diff(np.append(begin, len(positive)))
    return float((gain * (tp / (tp + fp))).sum() / len(positive))


def band(
    prediction: ArrayLike, reference: ArrayLike, spacing: ArrayLike, within_mm: float
) -> NDArray[np.bool_]:
    """Voxels of either mask, or within so many mm of one.

    Examples
    --------
    >>> band([0, 0, 0, 1, 0, 0, 0], [0] * 7, [2], within_mm=4).astype(int).tolist()
    [0, 1, 1, 1, 1, 1, 0]
    """
    one, other = as_masks((prediction, reference), ("prediction", "reference"))
    union = one | other
    size = np.asarray(spacing, np.float64)
    near = np.zeros(union.shape, bool)
    if not union.any():
        return near
    from scipy.ndimage import distance_transform_edt

    box = []
    for axis in range(union.ndim):
        others = tuple(a for a in range(union.ndim) if a != axis)
        places = np.flatnonzero(union.any(axis=others))
        margin = int(within_mm / size[axis]) + 1
        box.append(slice(max(int(places[0]) - margin, 0), int(places[-1]) + margin + 1))
    near[tuple(box)] = distance_transform_edt(~union[tuple(box)], size) <= within_mm  # type: ignore[operator]
    return near


def _flat(score: ArrayLike, reference: ArrayLike, field: ArrayLike | None) -> tuple[Array, Array]:
    """Scores (N,) and truths (N,) of the voxels that count, in the order of memory."""
    p, y = as_array(score, "score"), as_mask(reference, "reference")
    if p.shape != y.shape or (field is not None and np.shape(field) != y.shape):
        raise GeometryError(
            "Scores, reference and field have different shapes.",
            got=p.shape,
            expected=y.shape,
            remedy="bring all to one grid, and leave channel axes out: score[0]",
        )
    if p.dtype.kind != "f" or p.dtype.itemsize < 4:
        p = p.astype(np.float32 if p.dtype == np.float16 else np.float64)
    reverse = lies_reversed(p)
    if field is not None:
        inside = as_mask(field, "field")
        if reverse:
            p, y, inside = p.T, y.T, inside.T
        return p[inside], y[inside]
    if reverse:
        p, y = p.T, y.T
    return np.ascontiguousarray(p).reshape(-1), np.ascontiguousarray(y).reshape(-1)


def _checked(score: ArrayLike, reference: ArrayLike, field: ArrayLike | None) -> tuple[Array, Array]:
    p, y = _flat(score, reference, field)
    if len(p) and not (p.min() >= 0 and p.max() <= 1):
        raise _no_probability(p)
    return p, y


def _no_probability(p: Array) -> LabelError:
    return LabelError(
        "Probabilities lie from 0 to 1.",
        got=f"{np.nanmin(p):g} to {np.nanmax(p):g}, {np.count_nonzero(np.isnan(p))} NaN",
        remedy="give probabilities, not logits",
    )


def _blocks(p: Array, y: Array) -> Iterable[tuple[Array, Array]]:
    for begin in range(0, len(p), BLOCK):
        yield p[begin : begin + BLOCK].astype(np.float64), y[begin : begin + BLOCK].astype(np.float64)


def _sides(score: ArrayLike, reference: ArrayLike, field: ArrayLike | None) -> tuple[Array, Array]:
    """Sorted scores of foreground and of background."""
    p, y = _flat(score, reference, field)
    if len(p) and np.isnan(p.min()):
        raise LabelError(
            "A score is NaN.",
            got=f"{np.count_nonzero(np.isnan(p))} of {len(p)}",
            remedy="put 0 where nothing was predicted, or leave these voxels out by field=",
        )
    return np.sort(p[y]), np.sort(p[~y])
