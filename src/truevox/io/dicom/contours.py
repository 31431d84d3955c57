"""Closed contours to voxels, one slice at a time: which are doubled, which are holes. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drawing", "draw", "fill", "tidy"]

Points = NDArray[np.float64]

# Outlines that lie this close to each other all along are one outline, written twice: in mm, as rounding and
# resampling by other programs are, and in voxels, below which a ring between them would hold few centres.
_SAME_MM = 0.3
_SAME = 0.5
# Less than this part of a contour's area beyond another, or within it, is a border that they share.
_SLIVER = 0.02
_FINE = 64


@dataclass(frozen=True)
class Drawing:
    """The contours of one plane.

    ``holes[n]`` are the contours that lie directly inside contour ``n``, ``outer`` those inside of none;
    ``looped[n]`` says whether its own edges cross. Where nothing crosses, this is the even-odd rule.
    ``doubled`` counts those left out as they were there already, ``crossing`` those that share a part of
    their area with another.
    """

    polygons: tuple[Points, ...]
    outer: tuple[int, ...]
    holes: tuple[tuple[int, ...], ...]
    looped: tuple[bool, ...]
    cross: bool = False
    doubled: int = 0
    crossing: int = 0

    @property
    def nested(self) -> int:
        """How many contours lie inside of others."""
        return len(self.polygons) - len(self.outer)

    def mask(self, shape: tuple[int, int], start: NDArray) -> NDArray[np.bool_]:
        """The area as voxels of a box that begins at index ``start``."""
        if not self.cross:
            return fill(shape, [points - start for points in self.polygons])
        return self._union(self.outer, shape, start)

    def _union(self, chosen: tuple[int, ...], shape: tuple[int, int], start: NDArray) -> NDArray[np.bool_]:
        out = np.zeros(shape, bool)
        for n in chosen:
            whole = fill(shape, [self.polygons[n] - start], around=self.looped[n])
            out |= whole & ~self._union(self.holes[n], shape, start)
        return out


def draw(
    polygons: Sequence[Points], *, exclusive: bool = False, spacing: tuple[float, float] = (1.0, 1.0)
) -> Drawing:
    """Arrange the contours of one structure in one plane.

    DICOM leaves open what contours of type CLOSED_PLANAR mean together (PS3.3 C.8.8.6.3 knows keyholes
    and, since 2017, CLOSEDPLANAR_XOR). As planning systems do: a contour inside another is a hole, one
    inside a hole is filled again; of contours that cross, whatever either of them holds counts; of one that
    crosses itself, all that it goes round; one that is there twice counts once.

    Parameters
    ----------
    polygons : sequence of (n, 2) arrays
        Corners in index coordinates.
    exclusive : bool
        Whether the contours are of type CLOSEDPLANAR_XOR: then the even-odd rule holds for all of them.
    spacing : (u, v)
        Of the voxels, in mm.

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [4.5, 0.5], [4.5, 4.5], [0.5, 4.5]])
    >>> for others in (square[::-1], square + 2, square / 2 + 0.75):
    ...     print(draw([square, others]).mask((8, 8), np.zeros(2)).sum())
    16
    28
    12
    """
    if exclusive:
        every = tuple(range(len(polygons)))
        return Drawing(tuple(polygons), every, ((),) * len(every), (False,) * len(every))
    # From large to small, so that only an earlier one can hold a later.
    ordered = sorted(polygons, key=lambda points: -abs(_area(points)))
    single: list[Points] = []
    scale = np.array(spacing)
    tolerance = min(_SAME_MM, _SAME * scale.min())
    for points in ordered:
        if not any(_same(points * scale, other * scale, tolerance) for other in single):
            single.append(points)
    looped = tuple(map(_crosses_itself, single))
    inside: list[set[int]] = [set() for _ in single]
    crossing: set[int] = set()
    cross = any(looped)
    for a, b in combinations(range(len(single)), 2):
        share = _share(single[a], single[b], looped[a], looped[b])
        cross |= 0 < share < 1
        if share >= 1 - _SLIVER:
            inside[b].add(a)
        elif share > _SLIVER:
            crossing |= {a, b}
    # Directly inside: with nothing in between.
    parents = [one - set().union(*(inside[a] for a in one)) for one in inside]
    holes = tuple(tuple(b for b, held in enumerate(parents) if a in held) for a in range(len(single)))
    outer = tuple(b for b, held in enumerate(parents) if not held)
    # In crossing contours a hole of one does not empty the other.
    return Drawing(tuple(single), outer, holes, looped, cross, len(polygons) - len(single), len(crossing))


def tidy(points: Points) -> Points:
    """Corners (n, 2) without repetitions: the first once more at the end, one twice, the round twice."""
    kept = points[np.abs(points - np.roll(points, 1, axis=0)).max(axis=1) > 0]
    again = np.flatnonzero((kept == kept[:1]).all(axis=1))[1:]
    for once in again[again > 2].tolist():
        if len(kept) % once == 0 and (kept == np.roll(kept, once, axis=0)).all():
            return kept[:once]
    return kept


def _crosses_itself(points: Points) -> bool:
    """Whether edges of a contour cross, as in a figure of eight. A keyhole's edges do not."""
    edges = np.roll(points, -1, axis=0) - points
    following = np.roll(edges, -1, axis=0)
    turns = np.arctan2(
        edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0], (edges * following).sum(axis=1)
    )
    # A simple contour turns once. Spikes that go back on themselves add or take a turn: look closely.
    if abs(abs(turns.sum()) - 2 * np.pi) < 1e-6:
        return False
    starts, ends = points, points + edges

    def side(of: Points) -> NDArray:
        along = of[None] - starts[:, None]
        return np.sign(edges[:, None, 0] * along[..., 1] - edges[:, None, 1] * along[..., 0])

    apart = side(starts) * side(ends) < 0
    return bool((apart & apart.T).any())


def _area(points: Points) -> float:
    """By the shoelace formula, with a sign."""
    u, v = (points - points.mean(axis=0)).T if len(points) else np.zeros((2, 0))
    return float((u * np.roll(v, -1) - v * np.roll(u, -1)).sum() / 2)


def _same(a: Points, b: Points, tolerance: float) -> bool:
    for end in (np.min, np.max):
        if np.abs(end(a, axis=0) - end(b, axis=0)).max() > tolerance:
            return False
    return max(_farthest(a, b), _farthest(b, a)) <= tolerance


def _farthest(a: Points, b: Points) -> float:
    """Largest distance of a corner of ``a`` from the outline ``b``."""
    edges = np.roll(b, -1, axis=0) - b
    length = np.maximum((edges**2).sum(axis=1), np.finfo(float).tiny)
    to = a[:, None] - b
    part = np.clip((to * edges).sum(axis=2) / length, 0, 1)
    return float(np.sqrt(((to - part[..., None] * edges) ** 2).sum(axis=2).min(axis=1)).max())


def _share(a: Points, b: Points, a_looped: bool, b_looped: bool) -> float:
    """Which part of ``b``'s area lies in ``a``: on points as fine as ``b`` needs, whatever the voxels are."""
    low, high = b.min(axis=0), b.max(axis=0)
    if (a.max(axis=0) <= low).any() or (a.min(axis=0) >= high).any() or (high == low).any():
        return 0.0
    scale = _FINE / (high - low)
    whole, other = (
        fill((_FINE, _FINE), [(points - low) * scale - 0.5], around=looped)
        for points, looped in ((b, b_looped), (a, a_looped))
    )
    return float((whole & other).sum() / max(whole.sum(), 1))


def fill(shape: tuple[int, int], polygons: Sequence[Points], *, around: bool = False) -> NDArray[np.bool_]:
    """Voxel centres that lie inside an odd number of polygons.

    A ring inside a ring is a hole, and so is a keyhole whose bridge is walked in both directions. A
    centre exactly on an edge belongs to the side of growing indices, so that shapes that share an edge
    share no voxel.

    Parameters
    ----------
    shape : (U, V)
    polygons : sequence of (n, 2) arrays
        Corners in index coordinates (u, v); the last is joined to the first.
    around : bool
        Instead, those that the edges go round, once or more often: a loop that overlaps itself has no hole.

    Returns
    -------
    (U, V) bool

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])
    >>> fill((4, 4), [square]).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = shape
    starts = np.concatenate([p for p in polygons if len(p) > 2] or [np.empty((0, 2))])
    ends = np.concatenate([np.roll(p, -1, axis=0) for p in polygons if len(p) > 2] or [np.empty((0, 2))])
    # Rows whose centres an edge passes, its lower end included, its upper end not.
    low = np.ceil(np.minimum(starts[:, 0], ends[:, 0])).clip(0, height).astype(np.intp)
    high = np.ceil(np.maximum(starts[:, 0], ends[:, 0])).clip(0, height).astype(np.intp)
    counts = high - low
    edge = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + low[edge]
    (u, v), (du, dv) = starts[edge].T, (ends - starts)[edge].T
    columns = np.ceil(v + (rows - u) * (dv / du)).clip(0, width).astype(np.intp)
    # An edge turns everything beyond it over: count the turns, then sum them up along the row.
    at, size = rows * (width + 1) + columns, height * (width + 1)
    turns = np.bincount(at, np.sign(du) if around else None, size).reshape(height, width + 1)
    within = np.cumsum(turns[:, :-1], axis=1)
    return within != 0 if around else within % 2 == 1
