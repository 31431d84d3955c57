"""Independent regions: exact expectations of ratios, by one integral instead of 2^K label maps.

``1 / D`` is the integral of ``exp(-D v)`` over v > 0, and the expectation of ``exp(-D v)`` is a product over
independent regions. With ``v = exp(u)`` the integrand dies away exponentially on both sides, so that the
trapezoidal rule is as exact as the floats are.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.theory.criteria import Ratio
from truevox.theory.laws import Law

__all__ = ["IndependentLaw", "nodes"]

Floats = NDArray[np.float64]
_STEP = 0.2
_LISTED = 14
_CELLS = 2**21


def nodes(least: float, most: float) -> tuple[Floats, Floats]:
    """Nodes and weights (Q,) of an integral of ``exp(-D v)`` over v > 0, D from ``least`` to ``most``.

    Examples
    --------
    >>> v, w = nodes(0.5, 30.0)
    >>> round(float(w @ np.exp(-2.0 * v)), 13)
    0.5
    """
    v = np.exp(np.arange(np.log(1e-17 / most), np.log(45.0 / least) + _STEP, _STEP))
    return v, v * _STEP


class IndependentLaw(Law):
    """Regions that are foreground independently of each other.

    Parameters
    ----------
    sizes, probabilities : arrays (K,)
    counts : array of int (K,), optional
        In how many equal parts a region is cut, independent of each other: its voxels, for example. The
        size is that of the whole region. A prediction is the same for all parts.

    Raises
    ------
    SettingsError
        If a count is not a whole number above 0.
    """

    def __init__(self, sizes: ArrayLike, probabilities: ArrayLike, counts: ArrayLike | None = None) -> None:
        super().__init__(sizes, probabilities)
        given = np.ones_like(self.sizes) if counts is None else np.asarray(counts, dtype=np.float64)
        if given.shape != self.sizes.shape or not ((given >= 1) & (given == np.round(given))).all():
            raise SettingsError(
                "Counts of independent parts are whole numbers above 0.",
                got=counts,
                remedy="give one whole number per region, or leave counts out for 1 each",
            )
        self.counts = given
        self.part = self.sizes / given
        with np.errstate(divide="ignore"):
            self._one, self._zero = np.log(self.probabilities), np.log1p(-self.probabilities)

    def _tilt(self, bv: Floats) -> tuple[Floats, Floats]:
        """For ``b v`` (..., K) of a part: log of ``E exp(-y b v)`` over all, and the tilted chance of y."""
        one = self._one - bv
        both = np.logaddexp(self._zero, one)
        return both @ self.counts, np.exp(one - both)

    def ratio(self, t: Floats, criterion: Ratio) -> Floats:
        """See :class:`Law`."""
        n, a, b = criterion.terms(t)
        own = a @ self.sizes + criterion.smooth_dr
        n, b = self.part * n, self.part * b
        likely = self.probabilities > 0
        score = np.empty(len(t))
        for k in range(len(t)):
            score[k] = self._mean(n[k], float(own[k]), b[k], criterion.smooth_nr)
            if own[k] <= 0:
                certain = likely & (b[k] > 0)
                none = np.exp(self._zero[certain] @ self.counts[certain]) if certain.any() else 1.0
                score[k] += criterion.empty_value * none
        return score

    def _mean(self, n: Floats, own: float, b: Floats, smooth: float) -> float:
        held = (n > 0) & (self.probabilities > 0)
        if not held.any() and smooth == 0:
            return 0.0
        reach = float(np.abs(b) @ self.counts)
        least = own if smooth > 0 else own + float(np.maximum(b[held], 0).min())
        v, w = nodes(max(least, 1e-12 * (own + reach)), own + reach)
        log, chance = self._tilt(np.outer(v, b))
        return float((w * np.exp(log - own * v)) @ (chance @ (self.counts * n) + smooth))

    def ratio_slope(self, t: Floats, criterion: Ratio) -> Floats:
        """See :class:`Law`."""
        n, a, b = criterion.terms(t)
        own = float(a @ self.sizes) + criterion.smooth_dr
        n, b = self.part * n, self.part * b
        reach = float(np.abs(b) @ self.counts)
        least = own if own > 0 else float(np.maximum(b, 0).min())
        v, w = nodes(max(least, 1e-12 * (own + reach)), own + reach)
        log, chance = self._tilt(np.outer(v, b))
        mass = w * np.exp(log - own * v)
        above = chance @ (self.counts * n) + criterion.smooth_nr
        slopes = criterion.slopes(t)
        of_label = mass @ chance
        second = float((mass * v) @ above)
        # A part that is known to be foreground adds n, where before it added n in the mean.
        joint = ((mass * v)[:, None] * chance * (above[:, None] + n * (1 - chance))).sum(0)
        return self.sizes * (slopes.n * of_label - slopes.a * second - slopes.b * joint)

    def inverse(self, x: Floats) -> tuple[Floats, Floats]:
        """See :class:`Law`."""
        v, w = nodes(float(x.min()), float(x.max()) + self.total)
        one, many = np.zeros(len(x)), np.zeros((len(x), len(self.sizes)))
        step = max(1, _CELLS // len(self.sizes))
        for start in range(0, len(v), step):
            here = slice(start, start + step)
            log, chance = self._tilt(np.outer(v[here], self.part))
            mass = np.exp(log - np.outer(x, v[here])) * w[here]
            one += mass.sum(1)
            many += mass @ chance
        return one, many

    def listed(self) -> tuple[Floats, Floats]:
        """See :class:`Law`."""
        if len(self.sizes) > _LISTED or (self.counts > 1).any():
            return super().listed()
        maps = np.array(list(itertools.product((0.0, 1.0), repeat=len(self.sizes))))
        return maps, np.where(maps == 1, self.probabilities, 1 - self.probabilities).prod(1)
