"""Several raters of one image: how much they differ, and a method among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, SettingsError
from truevox.metrics.consensus import stacked
from truevox.metrics.pair import Pair
from truevox.metrics.registry import definition, named
from truevox.metrics.scoring import value_of
from truevox.metrics.value import Empty

__all__ = ["RaterRow", "cohen_kappa", "energy_distance", "fleiss_kappa", "pairwise", "rater_table"]

Array = NDArray[Any]


def pairwise(
    masks: Sequence[ArrayLike] | Array,
    spacing: ArrayLike,
    metric: str = "dice",
    *,
    empty: Empty = Empty(both="perfect"),  # noqa: B008 - frozen
) -> NDArray[np.float64]:
    """A metric between all raters of an image.

    Parameters
    ----------
    masks : sequence of arrays of one shape, or array (R, ...)
        One per rater.
    spacing : sequence of float
        Size of a voxel in mm.
    metric : str
        Short name or id.
    empty : Empty
        What happens when a mask is empty; two raters that both found nothing agree, by default.

    Returns
    -------
    array (R, R)
        Row: taken as the prediction; column: as the reference. The diagonal is NaN: ``np.nanmean`` of it is
        the mean over pairs.

    Raises
    ------
    GeometryError
        If shapes or spacing do not fit.

    Examples
    --------
    >>> pairwise([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]], [1]).round(3).tolist()[0]
    [nan, 0.667, 0.5]
    """
    stack, wanted = stacked(masks, least=2), definition(metric)
    out = np.full((len(stack), len(stack)), np.nan)
    for a, b in combinations(range(len(stack)), 2):
        out[a, b] = value_of(wanted, Pair(stack[a], stack[b], spacing), empty).value
        out[b, a] = value_of(wanted, Pair(stack[b], stack[a], spacing), empty).value
    return out


def energy_distance(samples: Sequence[ArrayLike] | Array, raters: Sequence[ArrayLike] | Array) -> float:
    """Generalised energy distance of drawn segmentations to the raters', squared; 0 if the two are alike.

    2 E d(S, Y) - E d(S, S') - E d(Y, Y') with d = 1 - IoU, and no distance between two empty masks. A
    sample is held against itself too, as is usual.

    Parameters
    ----------
    samples, raters : sequences of arrays of one shape, or arrays (S, ...), (R, ...)
        Masks.

    Raises
    ------
    GeometryError
        If shapes differ.

    References
    ----------
    Székely and Rizzo (2013); Kohl et al. (2018) for segmentations.

    Examples
    --------
    >>> energy_distance([[1, 1, 0, 0]], [[1, 0, 0, 0]])
    1.0
    """
    drawn, truth = stacked(samples), stacked(raters)
    if drawn.shape[1:] != truth.shape[1:]:
        raise GeometryError(
            "Samples and raters have different shapes.",
            got=drawn.shape[1:],
            expected=truth.shape[1:],
            remedy="bring samples and raters to one grid",
        )
    s, y = drawn.reshape(len(drawn), -1).astype(np.float64), truth.reshape(len(truth), -1).astype(np.float64)
    return 2 * _distance(s, y) - _distance(s, s) - _distance(y, y)


def _distance(a: Array, b: Array) -> float:
    """Mean of 1 - IoU over all pairs of rows."""
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return float(1 - np.divide(both, either, out=np.ones_like(both), where=either > 0).mean())


@dataclass(frozen=True)
class RaterRow:
    """How two raters, or a method and a rater, agree over all cases.

    Parameters
    ----------
    first, second : str
        Names: the first taken as the prediction, the second as the reference.
    metric : str
        Short name.
    unit : str
        Of the metric.
    mean, sd : float
        Over the cases that have a value (sd with n - 1; NaN for one case).
    n : int
        Cases with a value.
    undefined : int
        Cases of both without one.
    """

    first: str
    second: str
    metric: str
    unit: str
    mean: float
    sd: float
    n: int
    undefined: int

    def __str__(self) -> str:
        rest = f", {self.undefined} undefined" if self.undefined else ""
        value = f"{self.mean:.3g} ± {self.sd:.2g}"
        return f"{self.first} - {self.second}  {self.metric} {value} (n = {self.n}{rest})"


def rater_table(
    raters: Mapping[str, Sequence[ArrayLike | None]],
    spacings: Sequence[ArrayLike],
    metrics: Sequence[str] | str = ("dice",),
    *,
    empty: Empty = Empty(both="perfect"),  # noqa: B008 - frozen
) -> list[RaterRow]:
    """Every rater against every other: "automated - rater 1", "rater 1 - rater 2", ...

    Parameters
    ----------
    raters : mapping of name to masks
        One mask per case, None where a rater has none. A method is a rater like any other.
    spacings : sequence
        Size of a voxel in mm, per case.
    metrics : sequence of str
        Short names or ids.
    empty : Empty
        What happens when a mask is empty.

    Returns
    -------
    list of RaterRow
        By pair, then by metric.

    Raises
    ------
    SettingsError
        If the raters have different numbers of cases.

    Examples
    --------
    >>> masks = {"automated": [[1, 1, 0]], "rater 1": [[1, 0, 0]], "rater 2": [[1, 1, 1]]}
    >>> [(row.first, row.second, round(row.mean, 3)) for row in rater_table(masks, [[1]])]
    [('automated', 'rater 1', 0.667), ('automated', 'rater 2', 0.8), ('rater 1', 'rater 2', 0.5)]
    """
    lengths = {name: len(masks) for name, masks in raters.items()}
    if set(lengths.values()) != {len(spacings)}:
        raise SettingsError(
            "Raters have different numbers of cases.",
            got=lengths,
            expected=len(spacings),
            remedy="give every rater a mask for each case, and leave cases out that one did not draw",
        )
    wanted = named(metrics)
    rows = []
    for first, second in combinations(raters, 2):
        pairs = [
            Pair(a, b, spacing)
            for a, b, spacing in zip(raters[first], raters[second], spacings, strict=True)
            if a is not None and b is not None
        ]
        for one in wanted:
            values = np.array([value_of(one, pair, empty).value for pair in pairs])
            known = values[~np.isnan(values)]
            mean = float(known.mean()) if len(known) else np.nan
            sd = float(known.std(ddof=1)) if len(known) > 1 else np.nan
            rows.append(
                RaterRow(first, second, one.name, one.unit, mean, sd, len(known), len(values) - len(known))
            )
    return rows


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Agreement of two raters beyond chance, over any labels; NaN if chance alone explains all.

    Raises
    ------
    GeometryError
        If shapes differ.

    References
    ----------
    Cohen (1960).

    Examples
    --------
    >>> round(cohen_kappa([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]), 6)
    0.666667
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape:
        raise GeometryError(
            "The two ratings have different shapes.",
            got=a.shape,
            expected=b.shape,
            remedy="pass both for the same items in the same order",
        )
    names, place = np.unique(np.concatenate([a.reshape(-1), b.reshape(-1)]), return_inverse=True)
    parts = [np.bincount(half, minlength=len(names)) / max(a.size, 1) for half in np.split(place, 2)]
    chance = float(parts[0] @ parts[1])
    return (float(np.mean(a == b)) - chance) / (1 - chance) if chance < 1 and a.size else np.nan


def fleiss_kappa(ratings: ArrayLike) -> float:
    """Agreement of several raters (R, ...) beyond chance, over any labels; NaN if chance explains all.

    Raises
    ------
    SettingsError
        If there are fewer than 2 raters.

    References
    ----------
    Fleiss (1971).

    Examples
    --------
    >>> fleiss_kappa([[0, 1, 2], [0, 1, 2]])
    1.0
    """
    table = np.asarray(ratings)
    raters = len(table)
    if raters < 2:
        raise SettingsError(
            "Agreement needs raters.",
            got=raters,
            expected="2 or more",
            remedy="pass one row per rater: ratings of shape (raters, items)",
        )
    flat = table.reshape(raters, -1)
    counts = np.stack([(flat == name).sum(0) for name in np.unique(flat)], 1).astype(np.float64)
    chance = float(np.square(counts.mean(0) / raters).sum())
    agreed = float(((np.square(counts).sum(1) - raters) / (raters * (raters - 1))).mean())
    return (agreed - chance) / (1 - chance) if chance < 1 else np.nan
