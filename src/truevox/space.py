"""Grid: where in the patient every voxel lies, and the algebra of such places. NumPy only.

A grid is a place to look from: a shape and an affine that takes voxel indices to patient
millimetres (RAS+). Nothing here touches a voxel value; whoever moves voxels takes a new grid and
samples on it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError
from truevox.lattices import check_affine, slices_to_lattice

__all__ = ["Grid", "Unit"]

Unit = Literal["mm", "px"]
"""Of the lengths on a grid: millimetres, or pixels where the file does not say how large one is."""
Affine = NDArray[np.float64]
_CODES = (("L", "R"), ("P", "A"), ("I", "S"))
_AXES = np.arange(3)
_UNITS = ("mm", "px")


class Grid:
    """A shape and an affine: which points of the patient a lattice of voxels looks at.

    Parameters
    ----------
    shape : sequence of 1 to 3 ints
        Voxels per axis (I, J, K). A missing dimension has size 1.
    affine : (4, 4) array, optional
        Takes voxel indices to world millimetres, RAS+ (nibabel's convention). Identity if left out.
    unit : {"mm", "px"}
        ``"px"``: nobody knows how many millimetres a unit of the affine is, as in a photograph. Lengths and
        volumes are then in pixels, and the axes have no anatomical names. It stays with every grid that is
        made of this one.

    Raises
    ------
    GeometryError
        If the shape is not positive, the affine is singular, not finite or not an affine, or the unit none.

    Notes
    -----
    A voxel is a box: voxel 0 of an axis covers indices -0.5 to 0.5. Grids are immutable values;
    ``==`` is exact equality, :meth:`same_as` compares in millimetres.

    Examples
    --------
    >>> grid = Grid((240, 240, 155))
    >>> grid
    Grid(240x240x155  1.00x1.00x1.00 mm  RAS)
    >>> half = grid[::2, 10:20]
    >>> half.shape, half.spacing.tolist(), half.to_world((0, 0, 0)).tolist()
    ((120, 10, 155), [2.0, 1.0, 1.0], [0.0, 10.0, 0.0])
    """

    __slots__ = ("affine", "shape", "unit")
    shape: tuple[int, int, int]
    affine: Affine
    unit: Unit

    def __init__(self, shape: Sequence[int], affine: ArrayLike | None = None, unit: Unit = "mm") -> None:
        sizes = [int(n) for n in shape]
        if not 1 <= len(sizes) <= 3 or min(sizes) < 1 or sizes != list(shape):
            raise GeometryError(
                "A grid has 1 to 3 axes of at least one voxel.",
                got=tuple(shape),
                expected="e.g. (240, 240, 155)",
                remedy="give whole numbers, without the channel",
            )
        matrix = np.eye(4) if affine is None else np.array(affine, dtype=np.float64)
        check_affine(matrix)
        if unit not in _UNITS:
            raise GeometryError("Lengths on a grid are in mm or px.", got=unit, remedy='Grid(..., unit="px")')
        matrix.setflags(write=False)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "shape", tuple(sizes + [1] * (3 - len(sizes))))
        object.__setattr__(self, "affine", matrix)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("grids are immutable: make a new one")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Grid, (self.shape, np.array(self.affine), self.unit))

    # ---- what it is -------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        same = self.shape == other.shape and self.unit == other.unit
        return same and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes(), self.unit))

    def __repr__(self) -> str:
        return f"Grid({self.describe()})"

    def describe(self) -> str:
        """Shape, spacing and orientation in one line, for messages and tables; pixels have no orientation."""
        spacing = "x".join(f"{s:.2f}" if s >= 0.1 else f"{s:.3g}" for s in self.spacing)
        known = f"  {self.orientation}" if self.unit == "mm" else ""
        return f"{'x'.join(map(str, self.shape))}  {spacing} {self.unit}{known}"

    @property
    def ndim(self) -> int:
        """Number of axes with more than one voxel."""
        return sum(n > 1 for n in self.shape)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance between neighbouring voxels per axis, in mm (or in :attr:`unit`): (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3, or px3 (the determinant: right for sheared grids too)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres.

        Raises
        ------
        GeometryError
            If lengths are in pixels.
        """
        if self.unit != "mm":
            raise GeometryError(
                "Nobody knows how large a voxel is: there are no millilitres.",
                got=self.describe(),
                remedy="write the spacing into the file (.nii.gz, .nrrd, a TIFF with a resolution)",
            )
        return self.voxel_volume / 1000.0

    @property
    def voxel_measure(self) -> tuple[float, str]:
        """Size of one voxel and its unit: ml; in pixels px² where the grid is one slice, else px³.

        Examples
        --------
        >>> Grid((4, 4, 4)).voxel_measure, Grid((4, 4), unit="px").voxel_measure
        ((0.001, 'ml'), (1.0, 'px²'))
        """
        if self.unit == "mm":
            return self.voxel_volume_ml, "ml"
        return self.voxel_volume, "px³" if self.ndim == 3 else "px²"

    @property
    def handedness(self) -> int:
        """+1 or -1: the sign of the determinant; it flips when a grid looks into a mirror."""
        return 1 if np.linalg.det(self.affine[:3, :3]) > 0 else -1

    @property
    def centre(self) -> NDArray[np.float64]:
        """World position of the middle of the box: (3,) mm."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    @property
    def corners(self) -> NDArray[np.float64]:
        """World positions of the eight outer corners of the box of voxels: (8, 3) mm."""
        return self.to_world(self._corner_indices())

    @property
    def orientation(self) -> str:
        """Closest anatomical direction in which each axis grows, e.g. ``"RAS"``."""
        return "".join(_CODES[world][sign > 0] for world, sign in self._closest_axes())

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """World position (mm) of voxel indices: (..., 3) to (..., 3)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel index of world positions (mm): (..., 3) to (..., 3)."""
        points = np.asarray(world, dtype=np.float64) - self.affine[:3, 3]
        index = np.linalg.solve(self.affine[:3, :3], points.reshape(-1, 3).T).T
        return np.asarray(index.reshape(points.shape), dtype=np.float64)

    def index_map(self, other: Grid) -> Affine:
        """(4, 4) matrix that takes indices of ``other`` to indices of this grid.

        Raises
        ------
        GeometryError
            If the affines are so far apart in size that it is not finite.
        """
        return _index_map(self, other)

    # ---- reindexing: the same world, other voxels --------------------------------------------

    def lattice(self, offset: ArrayLike, stride: ArrayLike, shape: Sequence[int]) -> Grid:
        """Grid whose voxel ``o`` lies on this grid's index ``offset + stride * o``.

        The one operation under crops, flips, decimation and the output lattice of a network.
        Offsets and strides may be fractions; strides may be negative.
        """
        step = np.eye(4)
        step[_AXES, _AXES] = stride
        step[:3, 3] = offset
        return Grid(shape, self.affine @ step, self.unit)

    def __getitem__(self, key: Any) -> Grid:
        """Slice like an array: ``grid[10:20, ::-1]``. Axes stay: integers are refused."""
        return self.lattice(*slices_to_lattice(key, self.shape))

    def crop(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """Box of ``shape`` voxels from index ``start``; it may reach outside this grid."""
        return self.lattice(start, 1, shape)

    def pad(self, before: Sequence[int] | int, after: Sequence[int] | int | None = None) -> Grid:
        """Grid with voxels added before and after each axis (as many after as before by default)."""
        lower = np.broadcast_to(np.asarray(before), 3)
        upper = lower if after is None else np.broadcast_to(np.asarray(after), 3)
        return self.lattice(-lower, 1, (np.array(self.shape) + lower + upper).tolist())

    def flip(self, axes: Sequence[int] | int) -> Grid:
        """The same voxels in reverse order along ``axes`` (0, 1, 2)."""
        if not np.isin(axes, (0, 1, 2)).all():
            raise GeometryError(
                "Axes to flip are 0, 1 or 2.", got=axes, remedy="count axes from 0, without the channel"
            )
        flipped = np.isin(np.arange(3), axes)
        offset = np.where(flipped, np.array(self.shape) - 1, 0)
        return self.lattice(offset, np.where(flipped, -1, 1), self.shape)

    def permute(self, order: Sequence[int]) -> Grid:
        """The same voxels with the axes in another order: new axis ``a`` is old axis ``order[a]``."""
        if sorted(order) != [0, 1, 2]:
            raise GeometryError(
                "An axis order is a permutation of 0, 1, 2.", got=tuple(order), remedy="name each axis once"
            )
        affine = self.affine.copy()
        affine[:, :3] = self.affine[:, list(order)]
        return Grid([self.shape[a] for a in order], affine, self.unit)

    def reorient(self, codes: str = "RAS") -> Grid:
        """The same voxels, axes permuted and flipped so that they grow closest to ``codes``.

        Raises
        ------
        GeometryError
            If ``codes`` is not one of L/R, P/A and I/S each.
        """
        wanted = [next((w for w in range(3) if c in _CODES[w]), -1) for c in codes.upper()]
        if sorted(wanted) != [0, 1, 2]:
            raise GeometryError(
                "An orientation names L or R, P or A, and I or S.",
                got=codes,
                expected="e.g. RAS",
                remedy="give three letters, one for each of these pairs",
            )
        mine = [world for world, _ in self._closest_axes()]
        grid = self.permute([mine.index(w) for w in wanted])
        return grid.flip([a for a in range(3) if grid.orientation[a] != codes.upper()[a]])

    def with_spacing(self, spacing: float | Sequence[float]) -> Grid:
        """Grid of another spacing (mm) over the same box, about the same centre.

        The shape is rounded up to whole voxels, so the box may grow by up to half a new voxel on either
        side, and never shrinks (by more than 1 % of a voxel): what lies at the border stays in the
        picture. A single number leaves axes of one voxel as they are.
        """
        new = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3).copy()
        if not np.isfinite(new).all() or new.min() <= 0:
            raise GeometryError(
                "A spacing is positive, in mm.", got=spacing, remedy="give numbers above 0, such as 1.5"
            )
        if np.ndim(spacing) == 0:
            new = np.where(np.array(self.shape) == 1, self.spacing, new)
        stride = new / self.spacing
        shape = np.maximum(np.ceil(np.array(self.shape) / stride - 0.01), 1).astype(int)
        offset = (np.array(self.shape) - 1) / 2 - stride * (shape - 1) / 2
        return self.lattice(offset, stride, shape.tolist())

    def bounding_box(self, mask: ArrayLike) -> Grid:
        """Smallest crop that holds every nonzero voxel of ``mask`` (array of this grid's shape).

        Raises
        ------
        GeometryError
            If the mask has another shape, or no foreground.
        """
        array = np.asarray(mask).reshape(np.asarray(mask).shape[-3:]) != 0
        if array.shape != self.shape:
            raise GeometryError(
                "The mask is not on this grid.",
                got=array.shape,
                expected=self.shape,
                remedy="take the grid of the mask's own image",
            )
        if not array.any():
            raise GeometryError(
                "A mask without foreground has no bounding box.",
                remedy="keep the whole grid where mask.any() is False",
            )
        spans = [np.flatnonzero(array.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
        return self.crop([int(s[0]) for s in spans], [int(s[-1] - s[0] + 1) for s in spans])

    def covering(self, other: Grid, margin: int = 0) -> Grid:
        """Crop of this (endless) lattice that covers the voxel centres of ``other`` plus a margin."""
        indices = (
            other._corner_indices(half=0.0) @ self.index_map(other)[:3, :3].T + self.index_map(other)[:3, 3]
        )
        low = np.floor(indices.min(0) + 1e-6).astype(int) - margin
        high = np.ceil(indices.max(0) - 1e-6).astype(int) + margin
        return self.crop(low.tolist(), (high - low + 1).tolist())

    # ---- looking from elsewhere ----------------------------------------------------------------

    def transformed(self, matrix: ArrayLike) -> Grid:
        """The grid moved by a (4, 4) world transform: the camera moves, the patient stays."""
        return Grid(self.shape, np.asarray(matrix, dtype=np.float64) @ self.affine, self.unit)

    def about_centre(self, matrix: ArrayLike) -> Affine:
        """(4, 4) world transform that applies a (3, 3) ``matrix`` about this grid's centre."""
        world = np.eye(4)
        world[:3, :3] = matrix
        world[:3, 3] = self.centre - world[:3, :3] @ self.centre
        return world

    # ---- comparison ------------------------------------------------------------------------------

    def displacement(self, other: Grid) -> float:
        """Largest distance in mm between corresponding corners; infinite if the shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners - other.corners, axis=1).max())

    def same_as(self, other: Grid, tol_mm: float = 1e-3) -> bool:
        """Whether no corner is displaced by more than ``tol_mm``."""
        return self.displacement(other) <= tol_mm

    # ---- inside ------------------------------------------------------------------------------------

    def _corner_indices(self, half: float = 0.5) -> NDArray[np.float64]:
        ends = [(-half, n - 1 + half) for n in self.shape]
        return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(8, 3)

    def _closest_axes(self) -> list[tuple[int, float]]:
        """For each axis, (world axis, sign): the assignment with the largest total cosine."""
        from itertools import permutations

        cosines = self.affine[:3, :3] / self.spacing
        best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[p[a], a]) for a in range(3)))
        return [(world, float(np.sign(cosines[world, axis]))) for axis, world in enumerate(best)]


@functools.lru_cache(maxsize=256)
def _index_map(grid: Grid, other: Grid) -> Affine:
    """Kept, because a chain of decisions about two grids asks for it each time."""
    matrix = np.asarray(np.linalg.solve(grid.affine, other.affine), dtype=np.float64)
    if not np.isfinite(matrix).all():
        raise GeometryError(
            "The map between two grids is not finite.",
            got=matrix.tolist(),
            remedy="give both grids affines in mm; one has voxels that are far too small or too large",
        )
    matrix.setflags(write=False)
    return matrix
