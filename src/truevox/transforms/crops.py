"""Patches to learn from: crops at random places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, Signature, node
from truevox.pipeline.kinds import Spatial, demand_one_grid
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid
from truevox.transforms.spatial import Edges

__all__ = ["Foreground", "RandomCrop", "full_size"]

MOST_VOXELS = 100_000
"""Foreground voxels kept per class; more make no better choice of a centre."""


@node
class Foreground(Spatial):
    """Voxel indices of every class of a label: rows (class value, i, j, k). Made by :class:`RandomCrop`."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return (Signature("value", 4),)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        return (_Index(inputs[0]),)


class _Index(Lazy):
    """The index of a label's foreground, found when first asked for."""

    def __init__(self, label: Lazy) -> None:
        self.grid = self.extent = label.grid
        self.kind, self.labels, self._label = "value", None, label

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        data = _classes(self._label.image())
        where = data != 0
        if self._label.labels is not None and self._label.labels.ignore is not None:
            where &= data != self._label.labels.ignore
        index = np.argwhere(where)
        value = data[where].astype(np.int32)
        kept = [_thin(np.flatnonzero(value == v)) for v in np.unique(value)]
        rows = np.concatenate(kept) if kept else np.zeros(0, int)
        table = np.column_stack([value[rows], index[rows]]).astype(np.int32)
        return Image(torch.from_numpy(table.T.reshape(4, -1, 1, 1).copy()), self.grid, "value")


def _classes(label: Image) -> np.ndarray:
    """(I, J, K) class of every voxel; of a label that was averaged, the largest share of the foreground."""
    data = label.numpy()
    if label.kind == "label":
        return data[0]
    first = int(label.labels is not None and label.labels.activation == "softmax")
    share = data[first:]
    return np.where(share.max(0) > 0, share.argmax(0) + 1, 0)


def _thin(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= MOST_VOXELS:
        return rows
    return np.sort(np.random.Generator(np.random.Philox(key=0)).choice(rows, MOST_VOXELS, replace=False))


def full_size(size: int | Sequence[int], grid: Grid, what: str) -> np.ndarray:
    """Voxels per axis. A single number skips axes of one voxel.

    Raises
    ------
    GraphError
        If it is not one positive whole number, or one per axis of more than one voxel, or three.
    """
    wide = np.array(grid.shape) > 1
    given = np.atleast_1d(np.asarray(size))
    if given.dtype.kind not in "iu" or given.min() < 1 or given.size not in (1, 3, int(wide.sum())):
        raise GraphError(f"{what}: a size is one whole number of voxels, or one per axis.", got=size)
    out = np.ones(3, int)
    if given.size == 3:
        out[:] = given
    elif wide.any():
        out[wide] = given
    return out


def padded_remark(size: int | Sequence[int], grid: Grid, what: str) -> list[str]:
    """A remark if a patch is larger than the image."""
    if (full_size(size, grid, what) > np.array(grid.shape)).any():
        return [f"patch larger than the image ({'x'.join(map(str, grid.shape))}), padded"]
    return []


def placed(start: np.ndarray, size: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Start of a box moved inside where it fits; centred on the axes where it is larger than the image."""
    inside = np.clip(start, 0, np.maximum(shape - size, 0))
    return np.where(size > shape, -((size - shape) // 2), inside)


@node
class RandomCrop(Spatial):
    """A box of ``size`` voxels at a random place; all outputs share its one grid.

    Parameters
    ----------
    size : int or sequence of int
        Voxels of the first input's lattice. A single number skips axes of one voxel.
    centre_on : label, optional
        Centre the box on a voxel of this label (its classes equally often) with probability
        ``foreground``. A label without foreground gives a uniform crop.
    foreground : float
    spacing : float or sequence of float, optional
        Spacing of the crop in mm, where it is to differ from the first input's: one interpolation in all.

    Notes
    -----
    The box lies inside the image where it fits; where it does not, the image is padded evenly (the
    outside is each image's ``fill``). A crop is a frame: a rotation after it sees what lies around.

    Examples
    --------
    >>> x = Image(torch.rand(1, 32, 32, 32), Grid((32, 32, 32)))
    >>> RandomCrop(16)(x, rng=np.random.default_rng(0)).shape
    (1, 16, 16, 16)
    """

    size: int | Sequence[int] = 64
    centre_on: Node | Image | None = None
    foreground: float = 0.5
    spacing: float | Sequence[float] | None = None

    random = True
    antialias = True

    def __post_init__(self) -> None:
        if not 0 <= self.foreground <= 1:
            raise GraphError("RandomCrop: foreground is a probability.", got=self.foreground)
        if isinstance(self.centre_on, Node):
            if self.centre_on.signature.kind not in ("label", "value"):
                raise GraphError("RandomCrop: centre_on is a label.", got=self.centre_on.signature.kind)
            if self.centre_on.signature.kind == "label":
                # A hidden node, so that the index is cached with the prefix.
                object.__setattr__(self, "centre_on", Foreground()(self.centre_on))

    def run(self, inputs: Sequence[Lazy], edges: Edges, rng: Rng) -> tuple[Lazy, ...]:
        demand_one_grid(inputs, "RandomCrop")
        return super().run(inputs, edges, rng)

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        lattice = grid if self.spacing is None else grid.with_spacing(self.spacing)
        size = full_size(self.size, lattice, "RandomCrop")
        shape = np.array(lattice.shape)
        start = np.floor(rng.random(3) * (np.maximum(shape - size, 0) + 1)).astype(int)
        if "centre_on" in edges:
            centre_on = rng.random() < self.foreground
            table = self._table(edges["centre_on"]) if centre_on else np.zeros((0, 4))
            if len(table):
                # Rows are sorted by class: a class is a stretch of them.
                ends = np.append(np.flatnonzero(np.diff(table[:, 0])) + 1, len(table))
                chosen = rng.integers(len(ends))
                first = ends[chosen - 1] if chosen else 0
                point = edges["centre_on"].grid.to_world(table[rng.integers(first, ends[chosen]), 1:])
                start = np.floor(lattice.to_index(point) - (size - 1) / 2 + 0.5).astype(int)
        return lattice.crop(placed(start, size, shape).tolist(), size.tolist())

    def remarks(self, inputs: Sequence[Lazy], edges: Edges) -> list[str]:
        lattice = inputs[0].grid if self.spacing is None else inputs[0].grid.with_spacing(self.spacing)
        said = padded_remark(self.size, lattice, "RandomCrop")
        if "centre_on" in edges and not len(self._table(edges["centre_on"])):
            said.append("no foreground to centre on, uniform crop instead")
        return said

    @staticmethod
    def _table(edge: Lazy) -> np.ndarray:
        lazy = edge if edge.kind == "value" else _Index(edge)
        return lazy.image().numpy().reshape(4, -1).T
