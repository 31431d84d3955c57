"""Distances between the surfaces of two masks.

References
----------
Huttenlocher, Klanderman and Rucklidge (1993), Hausdorff distance; Gerig, Jomier and Chakos (2001), mean
surface distances; Nikolov et al. (2021), surface Dice at a tolerance, by area; Reinke et al. (2024),
Understanding metric-related pitfalls in image analysis validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.metrics.overlap import worst
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, definition, no_parameter, number, register, words

__all__ = ["Directed", "advice", "surfaces"]

BORDERS = ("voxel", "surfel")
SLACK = 1 + 1e-6
"""Distances this much above a tolerance are within it: the spacing of a header has seven digits."""
MOST_ANISOTROPY = 2
"""Ratio of voxel sizes above which border voxels no longer stand for equal areas."""


@dataclass(frozen=True)
class Directed:
    """Distances from the surface of one mask to that of the other.

    Parameters
    ----------
    distances : (N,) array
        In mm, ascending, of the elements that do not lie on the other surface.
    weights : (N,) array or None
        Their areas; None: each counts once.
    at_zero : float
        How much surface lies on the other one.
    """

    distances: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    at_zero: float

    @property
    def total(self) -> float:
        """All surface: area, or number of voxels."""
        return self.at_zero + (self.distances.size if self.weights is None else float(self.weights.sum()))

    @property
    def sum(self) -> float:
        """Sum of the distances, each times its weight."""
        return float(self.distances.sum() if self.weights is None else self.distances @ self.weights)

    def within(self, tolerance: float) -> float:
        """How much surface is that near, or nearer."""
        near = int(np.searchsorted(self.distances, tolerance * SLACK, side="right"))
        return self.at_zero + (near if self.weights is None else float(self.weights[:near].sum()))

    def percentile(self, percent: float) -> float:
        """Of voxels with linear interpolation; by area the first distance that reaches the share."""
        if not self.distances.size:
            return 0.0
        if percent == 100:
            return float(self.distances[-1])
        if self.weights is None:
            place = (self.total - 1) * percent / 100 - self.at_zero
            return float(np.interp(place, np.arange(-1, self.distances.size), [0.0, *self.distances]))
        # A share that is reached but for rounding is reached, in whatever order equal distances were added.
        wanted = percent / 100 * self.total * (1 - 1e-12)
        if self.at_zero >= wanted:
            return 0.0
        area = self.at_zero + np.cumsum(self.weights)
        return float(self.distances[min(int(np.searchsorted(area, wanted)), area.size - 1)])


def surfaces(pair: Pair, border: str) -> tuple[Directed, Directed]:
    """Distances from the reference's surface to the prediction's, and back.

    Parameters
    ----------
    pair : Pair
        Of masks that are not empty.
    border : {"voxel", "surfel"}
        Foreground voxels with a face on the background, or elements of the surface by their area.
    """
    if ("surfaces", border) not in pair.cache:
        found = _by_voxels(pair) if border == "voxel" else _by_surfels(pair)
        pair.cache["surfaces", border] = found
    return pair.cache["surfaces", border]


def _by_voxels(pair: Pair) -> tuple[Directed, Directed]:
    from truevox.kernels.borders import borders
    from truevox.kernels.nearest import nearest

    own = pair.layout
    only_p, only_r, both = borders(own.prediction, own.reference, own.shape, pair.spans, own.ndim)
    found = []
    for queries, others in ((only_r, only_p), (only_p, only_r)):
        distances = nearest(queries, np.concatenate([others, both]), own.shape, own.spacing)
        found.append(Directed(np.sort(distances), None, both.size))
    return found[0], found[1]


def _by_surfels(pair: Pair) -> tuple[Directed, Directed]:
    from truevox.kernels.nearest import nearest
    from truevox.kernels.surfels import surfels
    from truevox.metrics.surfels import areas

    own = pair.layout
    places, codes = surfels(own.prediction, own.reference, own.shape, pair.spans, own.ndim)
    area = areas(own.spacing[3 - own.ndim :])
    shape = tuple(n + (axis >= 3 - own.ndim) for axis, n in enumerate(own.shape))
    of_p, of_r = area[codes[:, 0]], area[codes[:, 1]]
    found = []
    for here, there in ((of_r, of_p), (of_p, of_r)):
        away = (here > 0) & (there == 0)
        distances = nearest(places[away], places[there > 0], shape, own.spacing)
        order = np.argsort(distances)
        weights = here[away][order]
        # By itself, not as what is left of all: rounding would make less than nothing of none.
        found.append(Directed(distances[order], weights, float(here[~away].sum())))
    return found[0], found[1]


def _pooled(both: tuple[Directed, Directed]) -> Directed:
    """Both directions as one."""
    a, b = both
    distances = np.concatenate([a.distances, b.distances])
    order = np.argsort(distances)
    weights = None
    if a.weights is not None and b.weights is not None:
        weights = np.concatenate([a.weights, b.weights])[order]
    return Directed(distances[order], weights, a.at_zero + b.at_zero)


def _hausdorff(pair: Pair, percent: float, border: str, way: str) -> float:
    both = surfaces(pair, border)
    if way == "pooled":
        return _pooled(both).percentile(percent)
    return max(one.percentile(percent) for one in both)


def _assd(pair: Pair, border: str) -> float:
    a, b = surfaces(pair, border)
    return (a.sum + b.sum) / (a.total + b.total)


def _masd(pair: Pair, border: str) -> float:
    a, b = surfaces(pair, border)
    return (a.sum / a.total + b.sum / b.total) / 2


def _nsd(pair: Pair, tolerance: float, border: str, way: str) -> float:
    a, b = surfaces(pair, border)
    near = a.within(tolerance), b.within(tolerance)
    if way == "mean":
        return (near[0] / a.total + near[1] / b.total) / 2
    return sum(near) / (a.total + b.total)


def _diagonal(pair: Pair) -> float:
    return pair.diagonal_mm


def _name(stem: str, said: Sequence[str], usual: Sequence[str]) -> str:
    """The short name: what is usual goes without saying."""
    return "/".join([stem, *(word for word, default in zip(said, usual, strict=True) if word != default)])


def _distance(
    stem: str, said: Sequence[str], name: str, of: Callable[[Pair], float], summary: str
) -> Definition:
    identity = "/".join([stem, *said])
    return Definition(
        identity, name, "mm", 0, math.inf, "lower", of, 0, _diagonal, _diagonal, summary=summary
    )  # fmt: skip


def _hd_of(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    percent = number("hd", parameter, "hd95", default=100)
    if percent > 100:
        raise SettingsError(
            "hd is the maximum, or a percentile up to 100.",
            got=f"hd{parameter}",
            expected="hd95",
            remedy="write hd for the maximum, hd95 for the percentile",
        )
    usual = ("voxel", "max")
    said = words("hd", variants, BORDERS, ("max", "pooled"))
    stem = "hd" if percent == 100 else f"hd{percent:.12g}"
    of = partial(_hausdorff, percent=percent, border=said[0], way=said[1])
    summary = (
        "max(max a, max b)" if percent == 100 else "max(perc(a), perc(b)); pooled: perc(a and b together)"
    )
    return _distance(stem, said, _name(stem, said, usual), of, summary)


def _assd_of(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    no_parameter("assd", parameter)
    said = words("assd", variants, BORDERS, ("pooled",))
    name = _name("assd", said, ("voxel", "pooled"))
    return _distance("assd", said, name, partial(_assd, border=said[0]), "(Σ a + Σ b) / (|a| + |b|)")


def _masd_of(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    no_parameter("masd", parameter)
    said = words("masd", variants, BORDERS, ("mean",))
    name = _name("masd", said, ("voxel", "mean"))
    return _distance("masd", said, name, partial(_masd, border=said[0]), "(mean a + mean b) / 2")


def _nsd_of(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    tolerance = number("nsd", parameter, "nsd@1mm", unit="mm")
    said = words("nsd", variants, BORDERS, ("pooled", "mean"))
    stem = f"nsd@{tolerance:.12g}mm"
    of = partial(_nsd, tolerance=tolerance, border=said[0], way=said[1])
    summary = "(#{a ≤ t} + #{b ≤ t}) / (|a| + |b|); mean: of the two shares"
    name = _name(stem, said, ("voxel", "pooled"))
    return Definition(
        "/".join([stem, *said]), name, "1", 0, 1, "higher", of, 1, worst, worst, summary=summary
    )  # fmt: skip


register(Family("hd", _hd_of, "hd[<percent>][/voxel|/surfel][/max|/pooled]", "Hausdorff distance"))
register(Family("assd", _assd_of, "assd[/voxel|/surfel]", "Average symmetric surface distance"))
register(Family("masd", _masd_of, "masd[/voxel|/surfel]", "Mean of the two average surface distances"))
register(
    Family("nsd", _nsd_of, "nsd@<tolerance>mm[/voxel|/surfel][/pooled|/mean]", "Normalised surface Dice")
)


def advice(spacing: ArrayLike, metrics: Sequence[str]) -> list[str]:
    """What to mind when these metrics are computed at that spacing; nothing, mostly.

    Examples
    --------
    >>> advice((1, 1, 3), ["dice", "hd95"])
    ['hd95/voxel/max counts border voxels, which over-represent the fine axes at 1 x 1 x 3 mm: hd95/surfel']
    """
    size = np.asarray(spacing, dtype=float)
    if size.max() <= MOST_ANISOTROPY * size.min():
        return []
    text = " x ".join(f"{s:.4g}" for s in size)
    said = []
    for name in metrics:
        found = definition(name)
        head, *rest = found.id.split("/")
        if "voxel" in rest and len(rest) == 2:
            other = definition("/".join([head, "surfel", rest[1]])).name
            said.append(
                f"{found.id} counts border voxels, which over-represent the fine axes at {text} mm: {other}"
            )
    return said
