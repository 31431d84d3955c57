"""Spatial transforms: they look from elsewhere, and touch no voxel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, node
from truevox.pipeline.kinds import Spatial
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid
from truevox.transforms.ranges import Range, check_image, check_probability, per_axis, plus_minus

__all__ = [
    "Affine",
    "Flip",
    "Like",
    "RandomAffine",
    "RandomFlip",
    "Reorient",
    "Resample",
    "check_spacing",
    "some_axes",
    "wide_axes",
]

Edges = Mapping[str, Lazy]
PerAxis = Range | Sequence[Range]
"""A number, a range (low, high), or one of these for each of the three axes."""


@node
class Resample(Spatial):
    """Another spacing (mm) over the same box. Averages where it coarsens by more than 1.5.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> Resample(2.0)(x).grid
    Grid(4x4x4  2.00x2.00x2.00 mm  RAS)
    """

    spacing: float | Sequence[float] = 1.0

    antialias = True

    def __post_init__(self) -> None:
        check_spacing(self.spacing, "Resample")

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        return grid.with_spacing(self.spacing)


@node
class Like(Spatial):
    """The grid of another image; of that one, only the header is read.

    Examples
    --------
    >>> import torch
    >>> fine = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> Like(fine[:, ::2])(fine).grid.shape
    (4, 8, 8)
    """

    reference: Node | Image

    antialias = True

    def __post_init__(self) -> None:
        check_image(self.reference, "Like's reference")

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        return edges["reference"].grid

    def run(self, inputs: Sequence[Lazy], edges: Edges, rng: Rng) -> tuple[Lazy, ...]:
        outputs = super().run(inputs, edges, rng)
        for output in outputs:
            output.stored = edges["reference"].stored
        return outputs


@node
class Reorient(Spatial):
    """The same voxels in another order of axes, e.g. ``"LPS"``: exact, nothing is interpolated.

    An orientation of the other handedness (``"LAS"`` of a RAS scan) is a look into a mirror, in which
    classes that the label table pairs (``swap``) change places, as in :class:`Flip`.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.arange(6.0).reshape(1, 2, 3, 1), Grid((2, 3, 1)))
    >>> y = Reorient("LPS")(x)
    >>> y.grid.orientation, y.data.flatten().tolist()
    ('LPS', [5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    """

    codes: str = "RAS"

    def __post_init__(self) -> None:
        if not isinstance(self.codes, str):
            raise GraphError(
                "Reorient takes the codes of an orientation.",
                got=self.codes,
                expected="e.g. RAS",
                remedy="write the three letters in quotes",
            )
        Grid((1,)).reorient(self.codes)

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        return grid.reorient(self.codes)


def wide_axes(grid: Grid) -> list[int]:
    """Axes with more than one voxel: spatial nodes act in their span."""
    return [a for a in range(3) if grid.shape[a] > 1]


def check_spacing(value: object, what: str) -> None:
    """Refuse what is no spacing, or one for each axis.

    Raises
    ------
    GraphError
    """
    if per_axis(value, f"{what}: spacing").min() <= 0:
        raise GraphError(
            f"{what}: a spacing is above 0 mm.", got=value, remedy="write spacing=1.0, or (1.0, 1.0, 3.0)"
        )


def _ranges(value: PerAxis, what: str, middle: float = 0.0) -> np.ndarray:
    """(low, high) for each axis: (2, 3)."""
    given: list[Any] = list(value) if isinstance(value, (Sequence, np.ndarray)) else [value]
    if len(given) != 3 or isinstance(value, str):
        given = [value] * 3
    return np.array([plus_minus(v, f"{what}, for all axes or each of the three,", middle) for v in given]).T


def _axes_of(grid: Grid) -> np.ndarray:
    """Directions (columns) nearest to the grid's axes that are orthonormal."""
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / grid.spacing)
    return left @ right


def _turn(plane: tuple[int, int], angle: float) -> np.ndarray:
    matrix = np.eye(3)
    a, b = plane
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[b, a] = math.sin(angle)
    matrix[a, b] = -matrix[b, a]
    return matrix


def _moved(
    grid: Grid, rotation: np.ndarray, scaling: np.ndarray, shear: np.ndarray, translation: np.ndarray
) -> np.ndarray:
    """World map of a camera that turns, leans, zooms and moves about the centre of a grid."""
    wide = [n > 1 for n in grid.shape]
    turned, leaning = np.eye(3), np.eye(3)
    for axis in range(3):
        plane = (axis + 1) % 3, (axis + 2) % 3
        if wide[plane[0]] and wide[plane[1]]:
            if rotation[axis]:
                turned = turned @ _turn(plane, math.radians(rotation[axis]))
            # A triangle, so that volumes stay.
            leaning[min(plane), max(plane)] = math.tan(math.radians(shear[axis]))
    basis = _axes_of(grid)
    zoom, shift = np.where(wide, scaling, 1.0), np.where(wide, translation, 0.0)
    world = grid.about_centre(basis @ turned @ (leaning / zoom) @ basis.T)
    world[:3, 3] += basis @ shift
    return world


@node
class Affine(Spatial):
    """A look from elsewhere: the camera turns, leans, zooms and moves about the centre of the first input.

    Parameters
    ----------
    rotation : float or three floats
        Degrees about each axis (right-handed), about K first.
    scaling : float or three floats
        Zoom along each axis: 2 shows everything twice as large.
    shear : float or three floats
        Degrees. As for the rotation about that axis, in the plane of the other two: the later one leans
        towards the earlier.
    translation : float or three floats
        Millimetres along each axis.

    Notes
    -----
    Acts in the span of the axes with more than one voxel: in 2D, rotation and shear are those about the
    missing axis. What is seen moves the opposite way. Averages where it coarsens by more than 1.5.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.rand(1, 9, 9, 1), Grid((9, 9)))
    >>> quarter = Affine(rotation=90)(x)
    >>> torch.equal(quarter.data[0], x.data[0].rot90(-1, (0, 1)))
    True
    """

    rotation: float | Sequence[float] = 0.0
    scaling: float | Sequence[float] = 1.0
    shear: float | Sequence[float] = 0.0
    translation: float | Sequence[float] = 0.0

    antialias = True

    def __post_init__(self) -> None:
        self._numbers  # noqa: B018 - refuses what can't be used

    @cached_property
    def _numbers(self) -> list[np.ndarray]:
        names = ("rotation", "scaling", "shear", "translation")
        rotation, scaling, shear, translation = (per_axis(getattr(self, n), f"Affine: {n}") for n in names)
        _check(scaling, shear, "Affine")
        return [rotation, scaling, shear, translation]

    def look(self, grid: Grid, edges: Edges, rng: Rng) -> np.ndarray:
        return _moved(grid, *self._numbers)


def _check(scaling: np.ndarray, shear: np.ndarray, what: str) -> None:
    if scaling.min() <= 0 or not np.isfinite(scaling).all():
        raise GraphError(
            f"{what}: a zoom is positive.",
            got=scaling.tolist(),
            remedy="write a zoom above 0; 1 keeps the size, and Flip mirrors",
        )
    if np.abs(shear).max() >= 90:
        raise GraphError(
            f"{what}: shear lies below 90 degrees.", got=shear.tolist(), remedy="write a shear such as 10"
        )


@node
class RandomAffine(Spatial):
    """Rotation, scaling, translation and shear about the centre of the first input.

    Parameters
    ----------
    rotation : number, range or one per axis
        Degrees; about each axis uniform in [-rotation, rotation], or in the range (low, high).
    scaling : number, range or one per axis
        Zoom uniform in [1 - scaling, 1 + scaling] along each axis, or in the range; the same for all axes if
        ``isotropic``, drawn from the first axis' range.
    translation : number, range or one per axis
        Millimetres; along each axis uniform in [-translation, translation], or in the range.
    isotropic : bool
    probability : float
        Of being applied at all.
    shear : number, range or one per axis
        Degrees, in the planes of :class:`Affine`.

    Notes
    -----
    Acts in the span of the axes with more than one voxel: a 2D image turns in its plane. One world map
    for all inputs. No antialiasing.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> turned = RandomAffine(rotation=10)(x, rng=np.random.default_rng(0))
    >>> bool(np.allclose(turned.grid.centre, x.grid.centre)), turned.shape
    (True, (1, 8, 8, 8))
    """

    rotation: PerAxis = 0.0
    scaling: PerAxis = 0.0
    translation: PerAxis = 0.0
    isotropic: bool = False
    probability: float = 1.0
    shear: PerAxis = 0.0

    random = True

    def __post_init__(self) -> None:
        check_probability(self.probability, "RandomAffine")
        _, scaling, _, shear = self._numbers.swapaxes(0, 1)
        _check(scaling, shear, "RandomAffine")

    @cached_property
    def _numbers(self) -> np.ndarray:
        """(low and high, what, axis): (2, 4, 3)."""
        middles = {"rotation": 0.0, "scaling": 1.0, "translation": 0.0, "shear": 0.0}
        ranges = [_ranges(getattr(self, n), f"RandomAffine: {n}", m) for n, m in middles.items()]
        return np.stack(ranges, axis=1)

    def look(self, grid: Grid, edges: Edges, rng: Rng) -> np.ndarray:
        applied = rng.random() < self.probability
        low, high = self._numbers
        rotation, scaling, translation, shear = low + (high - low) * rng.random((4, 3))
        if not applied:
            return np.eye(4)
        return _moved(grid, rotation, scaling[:1] if self.isotropic else scaling, shear, translation)


@node
class Flip(Spatial):
    """A look into a mirror along each of ``axes``. See :class:`RandomFlip`.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3,)))
    >>> Flip(0)(x).data.flatten().tolist()
    [2.0, 1.0, 0.0]
    """

    axes: int | Sequence[int] = (0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", some_axes(self.axes))

    def look(self, grid: Grid, edges: Edges, rng: Rng) -> np.ndarray:
        return _mirrored(grid, [a in some_axes(self.axes) for a in range(3)])


@node
class RandomFlip(Spatial):
    """A look into a mirror, along each of ``axes`` with a probability.

    Axes are those of the canonical (RAS) grid: 0 is left-right. In a mirror, classes that the label
    table pairs (``swap``) change places, and change back when ``Put`` samples on the scan's own grid.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3,)))
    >>> RandomFlip(axes=(0,), probability=1)(x).data.flatten().tolist()
    [2.0, 1.0, 0.0]
    """

    axes: int | Sequence[int] = (0,)
    probability: float = 0.5

    random = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", some_axes(self.axes))
        check_probability(self.probability, "RandomFlip")

    def look(self, grid: Grid, edges: Edges, rng: Rng) -> np.ndarray:
        drawn = rng.random(3) < self.probability
        return _mirrored(grid, [bool(drawn[a]) and a in some_axes(self.axes) for a in range(3)])


def some_axes(axes: int | Sequence[int], what: str = "Flip axes") -> tuple[int, ...]:
    """One or several of the axes 0, 1, 2.

    Raises
    ------
    GraphError
        If it names another.
    """
    given = tuple(np.atleast_1d(np.asarray(axes, dtype=object)).tolist())
    if bad := [a for a in given if isinstance(a, (bool, float)) or a not in (0, 1, 2)]:
        raise GraphError(f"{what} are 0, 1 or 2.", got=bad, remedy="write axes=0, or axes=(0, 1)")
    return tuple(int(a) for a in given)


def _mirrored(grid: Grid, flipped: Sequence[bool]) -> np.ndarray:
    """World map after which index i is n - 1 - i: exact on the lattice, whatever the shear."""
    reverse = np.eye(4)
    for axis in wide_axes(grid):
        if flipped[axis]:
            reverse[axis, axis], reverse[axis, 3] = -1, grid.shape[axis] - 1
    return grid.affine @ reverse @ np.linalg.inv(grid.affine)
