"""Spatial transforms: they look from elsewhere, and touch no voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, node
from truevox.pipeline.kinds import Spatial
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid

__all__ = ["Like", "RandomAffine", "RandomFlip", "Resample"]

Edges = Mapping[str, Lazy]


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

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        return edges["reference"].grid

    def run(self, inputs: Sequence[Lazy], edges: Edges, rng: Rng) -> tuple[Lazy, ...]:
        outputs = super().run(inputs, edges, rng)
        for output in outputs:
            output.stored = edges["reference"].stored
        return outputs


def wide_axes(grid: Grid) -> list[int]:
    """Axes with more than one voxel: random transforms act in their span."""
    return [a for a in range(3) if grid.shape[a] > 1]


def _axes_of(grid: Grid) -> np.ndarray:
    """Directions (columns) nearest to the grid's axes that are orthonormal."""
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / grid.spacing)
    return left @ right


@node
class RandomAffine(Spatial):
    """Rotation, scaling and translation about the centre of the first input.

    Parameters
    ----------
    rotation : float or three floats
        Degrees; about each axis uniform in [-rotation, rotation].
    scaling : float or three floats
        Zoom uniform in [1 - scaling, 1 + scaling] along each axis, or the same for all if ``isotropic``.
    translation : float or three floats
        Millimetres; along each axis uniform in [-translation, translation].
    isotropic : bool
    probability : float
        Of being applied at all.

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

    rotation: float | Sequence[float] = 0.0
    scaling: float | Sequence[float] = 0.0
    translation: float | Sequence[float] = 0.0
    isotropic: bool = False
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        for what in ("rotation", "scaling", "translation"):
            _three(getattr(self, what), what)

    def look(self, grid: Grid, edges: Edges, rng: Rng) -> np.ndarray:
        applied = rng.random() < self.probability
        angles = np.radians(rng.uniform(-1, 1, 3) * _three(self.rotation, "rotation"))
        zoom = 1 + rng.uniform(-1, 1, 3) * _three(self.scaling, "scaling")
        shift = rng.uniform(-1, 1, 3) * _three(self.translation, "translation")
        if not applied:
            return np.eye(4)
        wide = wide_axes(grid)
        matrix = np.eye(3)
        for axis in range(3):
            others = [b for b in wide if b != axis]
            if len(others) == 2:
                matrix = matrix @ _turn(others, angles[axis])
        if self.isotropic:
            zoom[:] = zoom[0]
        narrow = np.isin(range(3), wide, invert=True)
        zoom[narrow], shift[narrow] = 1.0, 0.0
        basis = _axes_of(grid)
        world = grid.about_centre(basis @ matrix @ np.diag(1 / zoom) @ basis.T)
        world[:3, 3] += basis @ shift
        return world


def _three(value: float | Sequence[float], what: str) -> np.ndarray:
    if np.shape(value) not in ((), (3,)):
        raise GraphError(f"RandomAffine: {what} is one number, or one per axis.", got=value)
    return np.broadcast_to(np.asarray(value, dtype=np.float64), 3)


def _turn(plane: Sequence[int], angle: float) -> np.ndarray:
    matrix = np.eye(3)
    a, b = plane
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


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

    def look(self, grid: Grid, edges: Edges, rng: Rng) -> np.ndarray:
        flips = [rng.random() < self.probability for _ in range(3)]
        matrix = np.eye(4)
        for axis in wide_axes(grid):
            if flips[axis] and np.isin(axis, self.axes):
                # Index i becomes n - 1 - i: exact on the lattice, whatever the shear.
                reverse = np.eye(4)
                reverse[axis, axis], reverse[axis, 3] = -1, grid.shape[axis] - 1
                matrix = matrix @ reverse
        return grid.affine @ matrix @ np.linalg.inv(grid.affine)

    def __post_init__(self) -> None:
        axes = (self.axes,) if isinstance(self.axes, int) else tuple(self.axes)
        if bad := [a for a in axes if a not in (0, 1, 2)]:
            raise GraphError("Flip axes are 0, 1 or 2.", got=bad)
        object.__setattr__(self, "axes", axes)
