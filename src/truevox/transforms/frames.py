"""Frames that are known before the run, or follow from a mask: crops and pads, exact to the voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, Signature, node
from truevox.pipeline.kinds import Spatial
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid
from truevox.transforms.crops import full_size, placed
from truevox.transforms.ranges import check_image, check_size, per_axis
from truevox.transforms.spatial import Edges, wide_axes

__all__ = ["CentreCrop", "Crop", "CropToMask", "Pad"]


def _holding(grid: Grid, points: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel per axis of the smallest box of voxels that holds world points."""
    index = grid.to_index(points)
    # Voxels end at half-integers; what touches an end by rounding alone stays outside.
    return (
        np.floor(index.min(0) + 0.5 + 1e-4).astype(int),
        np.ceil(index.max(0) - 0.5 - 1e-4).astype(int),
    )


@node
class Crop(Spatial):
    """A box of the first input, given in voxels or in the patient; all outputs share its one grid.

    Parameters
    ----------
    start : int or sequence of int
        First voxel per axis. A single number skips axes of one voxel.
    size : int or sequence of int, optional
        Voxels per axis; up to the end if left out.
    box_mm : two corners, optional
        World millimetres ((x, y, z), (x, y, z)) instead: the smallest box of voxels that holds it.

    Notes
    -----
    A box may reach outside: there lies ``fill``.

    Examples
    --------
    >>> x = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8), np.diag([2, 2, 2, 1])))
    >>> Crop(start=2, size=4)(x).grid.to_world((0, 0, 0)).tolist()
    [4.0, 4.0, 4.0]
    >>> Crop(box_mm=((3, 3, 3), (7, 9, 11)))(x).shape
    (1, 2, 3, 4)
    """

    start: int | Sequence[int] = 0
    size: int | Sequence[int] | None = None
    box_mm: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        if self.box_mm is None:
            check_size(self.start, "Crop: start", None)
            if self.size is not None:
                check_size(self.size, "Crop: size")
            return
        if self.size is not None or np.any(self.start):
            raise GraphError(
                "Crop takes a box in voxels or in mm, not both.", remedy="leave out box_mm, or start and size"
            )
        corners = np.array([per_axis(corner, "Crop: a corner of box_mm") for corner in self.box_mm])
        if corners.shape != (2, 3) or not np.isfinite(corners).all() or (corners[0] == corners[1]).any():
            raise GraphError(
                "Crop: box_mm is two corners of three numbers that differ.",
                got=self.box_mm,
                remedy="write box_mm=((x0, y0, z0), (x1, y1, z1)), with a length along every axis",
            )

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        if self.box_mm is not None:
            sides = np.asarray(self.box_mm, dtype=np.float64)
            corners = np.stack(np.meshgrid(*sides.T, indexing="ij"), -1).reshape(8, 3)
            first, last = _holding(grid, corners)
            return grid.crop(first.tolist(), (last - first + 1).tolist())
        start = _whole(self.start, grid, "Crop: start")
        if self.size is None:
            size = np.array(grid.shape) - start
            if size.min() < 1:
                raise GraphError(
                    "Crop starts beyond the end.",
                    got=start.tolist(),
                    expected=grid.shape,
                    remedy="start inside the image, or Pad it first",
                )
        else:
            size = full_size(self.size, grid, "Crop")
        return grid.crop(start.tolist(), size.tolist())


def _whole(value: int | Sequence[int], grid: Grid, what: str) -> np.ndarray:
    """A whole number per axis; a single one leaves axes of one voxel at 0, as do those that are not named."""
    given, wide = np.atleast_1d(np.asarray(value)), wide_axes(grid)
    if given.dtype.kind not in "iu" or given.size not in (1, 3, len(wide)):
        raise GraphError(
            f"{what} is one whole number, or one per axis.", got=value, remedy="write 8, or (8, 8, 4)"
        )
    out = np.zeros(3, int)
    if given.size == 3:
        out[:] = given
    elif wide:
        out[wide] = given
    return out


@node
class CentreCrop(Spatial):
    """The middle of the first input, ``size`` voxels; padded evenly where it is smaller.

    Examples
    --------
    >>> x = Image(torch.arange(5.0).reshape(1, 5, 1, 1), Grid((5,)))
    >>> CentreCrop(3)(x).data.flatten().tolist()
    [1.0, 2.0, 3.0]
    """

    size: int | Sequence[int] = 64

    def __post_init__(self) -> None:
        check_size(self.size, "CentreCrop: size")

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        size, shape = full_size(self.size, grid, "CentreCrop"), np.array(grid.shape)
        return grid.crop(placed((shape - size) // 2, size, shape).tolist(), size.tolist())


@node
class Pad(Spatial):
    """A larger frame: by a margin, up to a size, or up to a multiple of a number of voxels.

    Parameters
    ----------
    margin : int or sequence of int, optional
        Voxels added on either side of each axis.
    size : int or sequence of int, optional
        Voxels per axis that there are at least.
    multiple_of : int or sequence of int, optional
        Whole number of voxels of which the size per axis becomes a multiple.

    Notes
    -----
    Exactly one of the three. An odd number of voxels puts the larger half behind. Axes of one voxel stay,
    unless three numbers are given. Outside lies ``fill``.

    Examples
    --------
    >>> x = Image(torch.rand(1, 30, 17, 1), Grid((30, 17)))
    >>> Pad(multiple_of=16)(x).shape, Pad(margin=(2, 0))(x).shape, Pad(size=20)(x).shape
    ((1, 32, 32, 1), (1, 34, 17, 1), (1, 30, 20, 1))
    """

    margin: int | Sequence[int] | None = None
    size: int | Sequence[int] | None = None
    multiple_of: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.margin, self.size, self.multiple_of) if v is not None]
        if len(given) != 1:
            raise GraphError(
                "Pad takes one of margin, size and multiple_of.",
                got=len(given),
                remedy="leave the others out",
            )
        check_size(given[0], "Pad", None)
        if np.min(given[0]) < (self.margin is None):
            raise GraphError(
                "Pad adds voxels and takes none away.",
                got=given[0],
                remedy="take Crop or CentreCrop to take voxels away",
            )

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        shape = np.array(grid.shape)
        if self.margin is not None:
            return grid.pad(_whole(self.margin, grid, "Pad: margin").tolist())
        if self.size is not None:
            size = np.maximum(shape, full_size(self.size, grid, "Pad"))
        else:
            unit = full_size(self.multiple_of or 1, grid, "Pad")
            size = -(-shape // unit) * unit
        return grid.crop((-((size - shape) // 2)).tolist(), size.tolist())


@node
class Bounds(Spatial):
    """First and last voxel of what is not 0, per axis: six numbers, or none. Made by :class:`CropToMask`."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return (Signature("value", 6),)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        return (_Bounds(inputs[0]),)


class _Bounds(Lazy):
    """The bounding box of a mask, found when first asked for."""

    def __init__(self, mask: Lazy) -> None:
        self.grid = self.extent = mask.grid
        self.kind, self.labels, self._mask = "value", None, mask

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        where = (self._mask.image().data != 0).any(0).numpy()
        spans = [np.flatnonzero(where.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
        ends = [int(s[e]) for e in (0, -1) for s in spans if s.size]
        table = torch.tensor(ends, dtype=torch.int32).reshape(6, -1, 1, 1)
        return Image(table, self.grid, "value")


@node
class CropToMask(Spatial):
    """The smallest box of the first input that holds a mask; all outputs share its one grid.

    Parameters
    ----------
    mask : node or Image, optional
        The box holds everything that is not 0 there; in the first input itself if left out.
    margin_mm : float or three floats
        Millimetres around it, along each axis of the mask.

    Notes
    -----
    The box does not reach beyond the first input. An empty mask leaves everything as it is, counted in
    the remarks of a run. The box is found once per case and kept in the cache.

    Examples
    --------
    >>> data = torch.zeros(1, 9, 9, 9)
    >>> data[0, 3:6, 4, 2:] = 1
    >>> x = Image(data, Grid((9, 9, 9)))
    >>> CropToMask()(x).shape, CropToMask(margin_mm=1)(x).shape
    ((1, 3, 1, 7), (1, 5, 3, 8))
    """

    mask: Node | Image | None = None
    margin_mm: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        margin = per_axis(self.margin_mm, "CropToMask: margin_mm")
        if margin.min() < 0:
            raise GraphError(
                "CropToMask: margin_mm is not negative.",
                got=self.margin_mm,
                remedy="write 0 or more; to shrink the box, crop behind it",
            )
        if self.mask is not None:
            check_image(self.mask, "CropToMask's mask")
        if isinstance(self.mask, Node) and self.mask.signature.kind != "value":
            # A hidden node, so that the box is cached with the prefix.
            object.__setattr__(self, "mask", Bounds()(self.mask))

    def _symbolic(self, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        if self.mask is None:
            return CropToMask(inputs[0], self.margin_mm, name=self.name)._symbolic(inputs)
        return super()._symbolic(inputs)

    def run(self, inputs: Sequence[Lazy], edges: Edges, rng: Rng) -> tuple[Lazy, ...]:
        return super().run(inputs, edges if "mask" in edges else {"mask": inputs[0]}, rng)

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        ends = _ends(edges["mask"])
        if not ends.size:
            return grid
        mask = edges["mask"].grid
        reach = 0.5 + per_axis(self.margin_mm, "margin_mm") / mask.spacing
        sides = np.stack([ends[:3] - reach, ends[3:] + reach])
        corners = np.stack(np.meshgrid(*sides.T, indexing="ij"), -1).reshape(8, 3)
        first, last = _holding(grid, mask.to_world(corners))
        first, last = np.maximum(first, 0), np.minimum(last, np.array(grid.shape) - 1)
        if (last < first).any():
            return grid
        return grid.crop(first.tolist(), (last - first + 1).tolist())

    def remarks(self, inputs: Sequence[Lazy], edges: Edges) -> list[str]:
        return [] if _ends(edges.get("mask", inputs[0])).size else ["empty mask, nothing cropped"]


def _ends(edge: Lazy) -> np.ndarray:
    """(6,) first and last voxels, or nothing."""
    lazy = edge if edge.kind == "value" else _Bounds(edge)
    return lazy.image().numpy().ravel()
