"""Hypothesis strategies for grids and chains of looks from elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from truevox import Grid

Step = Callable[[Grid], Grid]


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """(3, 3) rotation by three angles in radians."""
    out = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        out = out @ turn
    return out


@st.composite
def grids(draw: st.DrawFn, ndim: int = 3, least: int = 2, most: int = 9) -> Grid:
    """Oblique, anisotropic, mirrored or not, anywhere in the world; singletons on any axis."""
    wide = draw(st.permutations(range(3)))[:ndim]
    shape = [draw(st.integers(least, most)) if a in wide else 1 for a in range(3)]
    angle = st.floats(-np.pi, np.pi)
    affine = np.eye(4)
    spacing = [draw(st.floats(0.4, 4.0)) * draw(st.sampled_from((-1, 1))) for _ in range(3)]
    affine[:3, :3] = rotation((draw(angle), draw(angle), draw(angle))) @ np.diag(spacing)
    affine[:3, 3] = [draw(st.floats(-100, 100)) for _ in range(3)]
    return Grid(shape, affine)


def any_grid(least: int = 2, most: int = 9) -> st.SearchStrategy[Grid]:
    """A grid of 1, 2 or 3 dimensions."""
    return st.integers(1, 3).flatmap(lambda n: grids(n, least, most))


def _turned(angles: tuple[float, float, float], zoom: tuple[float, float, float], shift: float) -> Step:
    """A world map in the span of the wide axes, about the centre."""

    def step(grid: Grid) -> Grid:
        wide = [a for a in range(3) if grid.shape[a] > 1]
        frame = grid.affine[:3, :3] / grid.spacing
        matrix = np.eye(3)
        if len(wide) == 3:
            matrix = rotation(angles) @ np.diag(zoom)
        elif wide:
            for a in wide:
                matrix[a, a] = zoom[a]
            if len(wide) == 2:
                a, b = wide
                turn = np.eye(3)
                turn[a, a] = turn[b, b] = np.cos(angles[0])
                turn[a, b], turn[b, a] = -np.sin(angles[0]), np.sin(angles[0])
                matrix = turn @ matrix
        world = grid.about_centre(frame @ matrix @ np.linalg.inv(frame))
        for a in wide:
            world[:3, 3] += shift * frame[:, a]
        return grid.transformed(world)

    return step


def _sliced(start: int, stop: int, stride: int, axis: int) -> Step:
    def step(grid: Grid) -> Grid:
        n = grid.shape[axis]
        keys = [slice(None)] * 3
        keys[axis] = slice(min(start, n - 1), max(stop, min(start, n - 1) + 1), stride)
        if stride < 0:
            keys[axis] = slice(None, None, stride)
        return grid[tuple(keys)]

    return step


def _cropped(starts: tuple[int, int, int], sizes: tuple[int, int, int]) -> Step:
    def step(grid: Grid) -> Grid:
        wide = np.array(grid.shape) > 1
        return grid.crop(np.where(wide, starts, 0).tolist(), np.where(wide, sizes, 1).tolist())

    return step


def _padded(before: int, after: int) -> Step:
    def step(grid: Grid) -> Grid:
        wide = (np.array(grid.shape) > 1).astype(int)
        return grid.pad((before * wide).tolist(), (after * wide).tolist())

    return step


def steps(smooth: bool = True) -> st.SearchStrategy[Step]:
    """One operation; ``smooth=False`` leaves those out that need interpolation."""
    small, size = st.integers(-2, 4), st.integers(1, 8)
    angle, zoom = st.floats(-1.5, 1.5), st.floats(0.75, 1.4)
    exact = [
        st.tuples(st.tuples(small, small, small), st.tuples(size, size, size)).map(lambda t: _cropped(*t)),
        st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda t: _padded(*t)),
        st.sets(st.integers(0, 2)).map(lambda axes: lambda g: g.flip(sorted(axes))),
        st.permutations(range(3)).map(lambda order: lambda g: g.permute(order)),
        st.tuples(
            st.permutations(("RL", "AP", "SI")), st.lists(st.integers(0, 1), min_size=3, max_size=3)
        ).map(lambda t: lambda g: g.reorient("".join(c[k] for c, k in zip(t[0], t[1], strict=True)))),
        st.tuples(st.integers(0, 5), st.integers(2, 9), st.sampled_from((1, -1)), st.integers(0, 2)).map(
            lambda t: _sliced(*t)
        ),
    ]
    moving = [
        st.tuples(st.tuples(angle, angle, angle), st.tuples(zoom, zoom, zoom), st.floats(-2, 2)).map(
            lambda t: _turned(*t)
        ),
        st.floats(0.5, 1.4).map(lambda f: lambda g: g.with_spacing((g.spacing * f).tolist())),
        st.tuples(st.integers(0, 5), st.integers(2, 9), st.integers(1, 3), st.integers(0, 2)).map(
            lambda t: _sliced(*t)
        ),
    ]
    return st.one_of(*exact, *(moving if smooth else []))


def chains(smooth: bool = True, most: int = 5) -> st.SearchStrategy[list[Step]]:
    """Several operations, one after the other."""
    return st.lists(steps(smooth), min_size=1, max_size=most)
