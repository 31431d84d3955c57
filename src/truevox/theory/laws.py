"""Laws of an uncertain label: which label maps there are, and how probable each is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.theory.criteria import Ratio

__all__ = ["LAWS", "AverageLaw", "Law", "LawName", "ListedLaw", "NestedLaw", "exclusive"]

Floats = NDArray[np.float64]
LawName = Literal["independent", "nested", "exclusive", "many", "averaged"]
LAWS: tuple[LawName, ...] = ("independent", "nested", "exclusive", "many", "averaged")
_CELLS = 2**22  # numbers held at once
_MANY = "independent regions beyond 14, or many voxels"


class Law:
    """Regions with sizes, and the law of their labels.

    Parameters
    ----------
    sizes : array (K,)
        Positive, in any unit: voxels, ml. Volumes come out in the same.
    probabilities : array (K,)
        That the region is foreground.

    Raises
    ------
    SettingsError
        If there is no region, numbers of the two differ, or a value is out of its range.
    """

    def __init__(self, sizes: ArrayLike, probabilities: ArrayLike) -> None:
        self.sizes = np.atleast_1d(np.asarray(sizes, dtype=np.float64))
        self.probabilities = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
        if self.sizes.ndim != 1 or self.sizes.shape != self.probabilities.shape or not self.sizes.size:
            raise SettingsError(
                "Regions need a size and a probability each.",
                got=f"{self.sizes.shape} and {self.probabilities.shape}",
                expected="two lists of one length",
                remedy="give one probability for each size",
            )
        if not (np.isfinite(self.sizes).all() and (self.sizes > 0).all()):
            raise SettingsError(
                "Sizes of regions are positive.",
                got=self.sizes[~(self.sizes > 0)][:5],
                remedy="remove regions without a voxel",
            )
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():
            raise SettingsError(
                "Probabilities lie in [0, 1].",
                got=f"{self.probabilities.min()} to {self.probabilities.max()}",
                remedy="divide percent by 100, or normalise the probabilities",
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.sizes)} regions, expected volume {self.expected_volume:g})"

    @property
    def total(self) -> float:
        """Size of all regions."""
        return float(self.sizes.sum())

    @property
    def expected_volume(self) -> float:
        """``sum s p``."""
        return float(self.sizes @ self.probabilities)

    def ratio(self, t: Floats, criterion: Ratio) -> Floats:
        """Expected score of predictions (N, K): (N,)."""
        raise NotImplementedError

    def ratio_slope(self, t: Floats, criterion: Ratio) -> Floats:
        """Derivative of the expected score at one prediction (K,): (K,)."""
        raise NotImplementedError

    def inverse(self, x: Floats) -> tuple[Floats, Floats]:
        """``E[1 / (x + V)]`` (N,) and ``E[y / (x + V)]`` (N, K) of every region, V the volume, x > 0 (N,)."""
        raise NotImplementedError

    def listed(self) -> tuple[Floats, Floats]:
        """All label maps (M, K) and their weights (M,).

        Raises
        ------
        SettingsError
            If there are too many to list.
        """
        raise SettingsError(
            "The label maps of this law can't be listed.",
            got=_MANY,
            expected="fewer regions",
            remedy='join regions of one probability, or take law="averaged"',
        )


class _Sum(Law):
    """A law with a weight for every map; subclasses say how to sum over the regions of a map and back."""

    weights: Floats

    def _totals(self, x: Floats) -> Floats:
        """Sum over the foreground of every map: (N, K) to (N, M)."""
        raise NotImplementedError

    def _spread(self, c: Floats) -> Floats:
        """Sum over the maps that hold a region: (N, M) to (N, K)."""
        raise NotImplementedError

    def ratio(self, t: Floats, criterion: Ratio) -> Floats:
        """See :class:`Law`."""
        return np.concatenate([self._ratio(part, criterion) for part in _chunks(t, len(self.weights))])

    def _ratio(self, t: Floats, criterion: Ratio) -> Floats:
        above, below = self._parts(t, criterion)
        empty = below <= 0
        score = np.where(empty, criterion.empty_value, above / np.where(empty, 1.0, below))
        return score @ self.weights

    def _parts(self, t: Floats, criterion: Ratio) -> tuple[Floats, Floats]:
        n, a, b = criterion.terms(t)
        above = self._totals(self.sizes * n) + criterion.smooth_nr
        own = (a @ self.sizes)[:, None] + criterion.smooth_dr
        return above, own + self._totals(self.sizes * b)

    def ratio_slope(self, t: Floats, criterion: Ratio) -> Floats:
        """See :class:`Law`."""
        above, below = self._parts(t[None], criterion)
        inverse = np.divide(1.0, below, out=np.zeros_like(below), where=below > 0) * self.weights
        second = above * np.divide(1.0, below, out=np.zeros_like(below), where=below > 0) * inverse
        n, a, b = criterion.slopes(t)
        return self.sizes * (n * self._spread(inverse)[0] - a * second.sum() - b * self._spread(second)[0])

    def inverse(self, x: Floats) -> tuple[Floats, Floats]:
        """See :class:`Law`."""
        volumes = self._totals(self.sizes[None])
        parts = [
            ((w := self.weights / (part + volumes)).sum(1), self._spread(w))
            for part in _chunks(x[:, None], len(self.weights) + len(self.sizes))
        ]
        return np.concatenate([one for one, _ in parts]), np.concatenate([two for _, two in parts])


class ListedLaw(_Sum):
    """A list of label maps with weights: raters, posterior samples, or all there are.

    Parameters
    ----------
    sizes : array (K,)
    maps : array (M, K)
        Labels in {0, 1}.
    weights : array (M,), optional
        Equal by default; scaled to sum 1.

    Raises
    ------
    SettingsError
        If the shapes do not fit, labels are not 0 and 1, or weights are negative.
    """

    def __init__(self, sizes: ArrayLike, maps: ArrayLike, weights: ArrayLike | None = None) -> None:
        self.maps = np.asarray(maps, dtype=np.float64)
        if self.maps.ndim != 2 or not ((self.maps == 0) | (self.maps == 1)).all():
            raise SettingsError(
                "Label maps are rows of zeros and ones, one per rater or sample.",
                got=self.maps.shape,
                remedy="threshold the masks, and flatten each to one row",
            )
        given = np.ones(len(self.maps)) if weights is None else np.asarray(weights, dtype=np.float64)
        if given.shape != self.maps.shape[:1] or not (given >= 0).all() or not 0 < given.sum() < np.inf:
            raise SettingsError(
                "Every label map needs a weight, none below 0 and not all 0.",
                got=given,
                remedy="give one number of 0 or more per label map, or leave the weights out",
            )
        self.weights = given / given.sum()
        super().__init__(sizes, np.clip(self.weights @ self.maps, 0, 1))

    def _totals(self, x: Floats) -> Floats:
        return x @ self.maps.T

    def _spread(self, c: Floats) -> Floats:
        return c @ self.maps

    def listed(self) -> tuple[Floats, Floats]:
        """See :class:`Law`."""
        return self.maps, self.weights


class NestedLaw(_Sum):
    """Perfect dependence: the foreground is ``{p > U}`` for one uniform U, so label maps are nested."""

    def __init__(self, sizes: ArrayLike, probabilities: ArrayLike) -> None:
        super().__init__(sizes, probabilities)
        self._order = np.argsort(-self.probabilities, kind="stable")
        falling = np.concatenate([[1.0], self.probabilities[self._order], [0.0]])
        self.weights = -np.diff(falling)

    def _totals(self, x: Floats) -> Floats:
        sums = np.cumsum(x[:, self._order], axis=1)
        return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)

    def _spread(self, c: Floats) -> Floats:
        out = np.empty((len(c), len(self.sizes)))
        out[:, self._order] = np.cumsum(c[:, :0:-1], axis=1)[:, ::-1]
        return out

    def listed(self) -> tuple[Floats, Floats]:
        """See :class:`Law`."""
        held = self.weights > 0
        maps = np.zeros((len(self.weights), len(self.sizes)))
        maps[:, self._order] = np.tri(len(self.weights), len(self.sizes), -1)
        return maps[held], self.weights[held]


class AverageLaw(Law):
    """The ratio of expectations: many independent voxels, or a label that is the mean over raters.

    Parameters
    ----------
    sizes, probabilities : arrays (K,)
    soft : bool
        Whether the label is the probability itself. False: labels are 0 or 1, and there are so many voxels
        that their sums do not vary.
    """

    def __init__(self, sizes: ArrayLike, probabilities: ArrayLike, soft: bool = False) -> None:
        super().__init__(sizes, probabilities)
        self.soft = soft

    def parts(self, t: Floats, criterion: Ratio) -> tuple[Floats, Floats]:
        """What every region adds above and below, per unit of its size."""
        if self.soft:
            return criterion.soft_terms(t, np.broadcast_to(self.probabilities, t.shape))
        n, a, b = criterion.terms(t)
        return self.probabilities * n, a + self.probabilities * b

    def ratio(self, t: Floats, criterion: Ratio) -> Floats:
        """See :class:`Law`."""
        above, below = (x @ self.sizes for x in self.parts(t, criterion))
        above, below = above + criterion.smooth_nr, below + criterion.smooth_dr
        empty = below <= 0
        return np.where(empty, criterion.empty_value, above / np.where(empty, 1.0, below))

    def ratio_slope(self, t: Floats, criterion: Ratio) -> Floats:
        """See :class:`Law`. By differences where the label is soft, whose terms have kinks."""
        above, below = self.parts(t, criterion)
        if self.soft:
            step = 1e-6
            low, high = np.maximum(t - step, 0), np.minimum(t + step, 1)
            one, two = self.parts(low, criterion), self.parts(high, criterion)
            n, d = ((second - first) / (high - low) for first, second in zip(one, two, strict=True))
        else:
            slopes = criterion.slopes(t)
            n, d = self.probabilities * slopes.n, slopes.a + self.probabilities * slopes.b
        total = float(below @ self.sizes) + criterion.smooth_dr
        score = (float(above @ self.sizes) + criterion.smooth_nr) / total if total > 0 else 0.0
        return self.sizes * (n - score * d) / total if total > 0 else 0 * t

    def listed(self) -> tuple[Floats, Floats]:
        """See :class:`Law`."""
        if not self.soft:
            return super().listed()
        return self.probabilities[None], np.ones(1)


def exclusive(sizes: ArrayLike, probabilities: ArrayLike) -> ListedLaw:
    """At most one region is foreground.

    Raises
    ------
    SettingsError
        If the probabilities sum to more than 1.
    """
    law = Law(sizes, probabilities)
    left = 1 - float(law.probabilities.sum())
    if left < -1e-9:
        raise SettingsError(
            "Probabilities of exclusive regions sum to at most 1.",
            got=1 - left,
            remedy="divide them by their sum; what is left over is the chance that there is none",
        )
    maps = np.vstack([np.eye(len(law.sizes)), np.zeros(len(law.sizes))])
    return ListedLaw(law.sizes, maps, np.append(law.probabilities, max(left, 0.0)))


def _chunks(t: Floats, width: int) -> Iterator[Floats]:
    step = max(1, _CELLS // max(width, 1))
    for start in range(0, len(t), step):
        yield t[start : start + step]
