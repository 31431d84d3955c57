"""Areas of surface elements: how much surface lies around a corner of voxels, by what the eight voxels are.

The surface is that of marching cubes (Lorensen and Cline 1987): its corners halve the edges between
foreground and background; where a face leaves two choices, the fewer of the eight voxels stay apart. A
polygon that is not flat is divided so that its area, in voxels, is the greatest. The areas are those of the
reference implementation of Nikolov et al. (2021), Clinically applicable segmentation of head and neck
anatomy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["areas"]

Point = tuple[float, float, float]
Triangle = tuple[Point, Point, Point]


@lru_cache(maxsize=64)
def areas(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Area (length in 2D, 1 in 1D) of the surface in the cell around a corner, by code (256,).

    Parameters
    ----------
    spacing : tuple of 1 to 3 floats
        In mm. Codes are those of :func:`truevox.kernels.surfels.surfels`.

    Examples
    --------
    >>> round(float(areas((1, 1, 1))[1]), 4), round(float(areas((1, 1))[5]), 4)
    (0.2165, 0.7071)
    """
    if len(spacing) == 3:
        a, b, c = spacing
        scaled = _normals() * np.array([b * c, a * c, a * b])
        return np.linalg.norm(scaled, axis=2).sum(1)
    found = np.zeros(256)
    for voxels in itertools.product((0, 1), repeat=2 ** len(spacing)):
        found[_flat_code(voxels)] = _length(voxels, spacing) if len(spacing) == 2 else len(set(voxels)) - 1
    return found


def _flat_code(voxels: Sequence[int]) -> int:
    """Code of two voxels, or two by two, repeated along the axes that are not there."""
    ndim = len(voxels).bit_length() - 1
    full = np.broadcast_to(np.array(voxels).reshape((2,) * ndim), (2, 2, 2))
    return sum(int(full[i, j, k]) << (4 * k + 2 * i + j) for i, j, k in np.ndindex(2, 2, 2))


def _length(voxels: Sequence[int], spacing: tuple[float, ...]) -> float:
    """Of the contour through a square of four voxels (0, 0), (0, 1), (1, 0), (1, 1)."""
    inside, corner = sum(voxels), math.hypot(*spacing) / 2
    if inside in (1, 3):
        return corner
    if inside == 2:
        if voxels[0] == voxels[3]:
            return 2 * corner
        return spacing[1] if voxels[0] == voxels[1] else spacing[0]
    return 0.0


@lru_cache(maxsize=1)
def _normals() -> NDArray[np.float64]:
    """Normals of the triangles by code (256, 4 or more, 3), as long as their areas, in voxels."""
    found = [[_normal(t) for loop in _loops(code) for t in _largest(loop)] for code in range(256)]
    most = max(map(len, found))
    return np.array([one + [(0.0, 0.0, 0.0)] * (most - len(one)) for one in found])


def _loops(code: int) -> list[list[Point]]:
    """Closed polygons between foreground and background of a cell."""
    if code.bit_count() > 4:
        code = 255 - code  # the same surface, seen from the other side
    joined: dict[Point, list[Point]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        for a, b in _segments(code, axis, side):
            joined.setdefault(a, []).append(b)
            joined.setdefault(b, []).append(a)
    loops = []
    while joined:
        loop = [min(joined)]
        following = joined.pop(loop[0])[0]
        while following != loop[0]:
            loop.append(following)
            first, second = joined.pop(following)
            following = second if first == loop[-2] else first
        loops.append(loop)
    return loops


def _segments(code: int, axis: int, side: int) -> list[tuple[Point, Point]]:
    """Where the surface cuts a face of the cell."""
    ring = []
    for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
        corner = [u, v]
        corner.insert(axis, side)
        ring.append(tuple(corner))
    inside = [code >> (4 * k + 2 * i + j) & 1 for i, j, k in ring]
    middles = [tuple((a + b) / 2 for a, b in zip(ring[n], ring[(n + 1) % 4], strict=True)) for n in range(4)]
    cut = [n for n in range(4) if inside[n] != inside[(n + 1) % 4]]
    if len(cut) == 2:
        return [(middles[cut[0]], middles[cut[1]])]  # type: ignore[list-item]
    # Four cuts: each of the two foreground corners is cut off.
    return [(middles[n - 1], middles[n]) for n in range(4) if inside[n] and cut]  # type: ignore[misc]


def _largest(loop: Sequence[Point]) -> list[Triangle]:
    """The division into triangles that has the greatest area."""
    return max(
        _divisions(loop), key=lambda triangles: round(sum(math.hypot(*_normal(t)) for t in triangles), 9)
    )


def _divisions(loop: Sequence[Point]) -> list[list[Triangle]]:
    if len(loop) < 3:
        return [[]]
    return [
        [*before, (loop[0], loop[k], loop[-1]), *after]
        for k in range(1, len(loop) - 1)
        for before in _divisions(loop[: k + 1])
        for after in _divisions(loop[k:])
    ]


def _normal(triangle: Triangle) -> Point:
    a, b, c = triangle
    u, v = [q - p for p, q in zip(a, b, strict=True)], [q - p for p, q in zip(a, c, strict=True)]
    return (
        (u[1] * v[2] - u[2] * v[1]) / 2,
        (u[2] * v[0] - u[0] * v[2]) / 2,
        (u[0] * v[1] - u[1] * v[0]) / 2,
    )
