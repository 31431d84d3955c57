"""The masks whose values other tools gave and tests compare with: (reference, prediction)."""

from __future__ import annotations

import numpy as np

Mask = np.ndarray


def _box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def _ball(radius: float) -> Mask:
    grid = np.indices((41, 41, 41)) - 20
    return (grid**2).sum(0) <= radius**2


def _cases() -> dict[str, tuple[Mask, Mask]]:
    flat, wide, cube = (14, 14), (20, 20), (30, 30, 30)
    cross = _box((11, 11), (3, 8), (3, 8)) | _box((11, 11), (5, 6), (1, 10)) | _box((11, 11), (1, 10), (5, 6))
    spot = _box(flat, (1, 2), (1, 2))
    block = _box(flat, (9, 12), (9, 12))
    shifted = _box(wide, (5, 15), (4, 14)), _box(wide, (5, 15), (6, 16))
    cubes = _box(cube, (8, 18), (8, 18), (8, 18)), _box(cube, (10, 20), (8, 18), (8, 18))
    solid = _box((9, 9, 9), (2, 7), (2, 7), (2, 7))
    small, none = _box((8, 8), (2, 5), (2, 5)), np.zeros((8, 8), bool)
    return {
        "A": (_box((11, 11), (3, 8), (3, 8)), cross),
        "B1": (_box(flat, (5, 9), (5, 9)), _box(flat, (6, 8), (6, 8))),
        "B2": (_box(flat, (5, 9), (5, 9)), _box(flat, (4, 10), (4, 10))),
        "C": (block | spot, block),
        "D": shifted,
        "D'": shifted,
        "E": cubes,
        "E'": cubes,
        "F": (solid, solid & ~_box((9, 9, 9), (4, 5), (4, 5), (4, 5))),
        "G": (_box((10, 10), (0, 5), (0, 5)), _box((10, 10), (0, 4), (0, 5))),
        "H": (_ball(10), _ball(12)),
        "J": (
            _box((10, 10, 10), (2, 3), (2, 3), (2, 3)),
            _box((10, 10, 10), (5, 6), (6, 7), (2, 3)),
        ),
        "K1": (none, none),
        "K2": (small, none),
        "K3": (none, small),
    }


CASES = _cases()


def spaced(case: str) -> tuple[float, ...]:
    """Spacing of a case in mm."""
    own = {"D'": (1.0, 2.0), "E'": (3.0, 1.0, 1.0), "J": (2.0, 1.0, 1.0)}
    return own.get(case, (1.0,) * CASES[case][0].ndim)
