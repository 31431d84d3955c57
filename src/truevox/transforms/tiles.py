"""Patches to predict with: tiles over a scan, and their way back onto a reference grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image, Kind
from truevox.labels import Labels
from truevox.pipeline.graph import Call, Node, Signature, ancestors, node
from truevox.pipeline.kinds import FanIn, FanOut
from truevox.pipeline.lazy import Lazy, Moved
from truevox.pipeline.volumes import Volumes, blocks, release
from truevox.sampling import coincidence
from truevox.space import Grid
from truevox.transforms.crops import full_size, padded_remark
from truevox.transforms.ranges import check_image, check_size, number

__all__ = ["GridCrop", "Put", "tile_starts", "touched"]


def tile_starts(low: float, high: float, size: float, overlap: float, stride: float = 1.0) -> list[int]:
    """Positions of tiles of ``size`` that cover [low, high] and overlap by at least a fraction.

    Whole positions relative to ``low``, evenly spread, the first at 0 and the last such that its end
    reaches ``high``; one centred tile where it covers everything. With ``stride`` above 1, tiles of a
    strided output, neighbours share at least one output voxel, if a tile has more than one.

    Examples
    --------
    >>> tile_starts(0, 100, 40, 0.5)
    [0, 20, 40, 60]
    >>> tile_starts(0, 30, 40, 0.5)
    [-5]
    """
    length = high - low
    if size >= length - 1e-6:
        return [-math.floor(max(size - length, 0) / 2 + 1e-6)]
    step = min(size * (1 - overlap), size - stride if 1 < stride < size else size)
    last = math.ceil(length - size - 1e-6)
    count = math.ceil(last / max(math.floor(step + 1e-6), 1)) + 1
    return [math.floor(last * k / (count - 1) + 0.5) for k in range(count)]


@node
class GridCrop(FanOut):
    """Tiles of ``size`` voxels that, put back, cover the reference.

    Parameters
    ----------
    size : int or sequence of int
        Voxels per tile at the input of the network. A single number skips axes of one voxel.
    overlap : float
        Least fraction of a tile's output that its neighbour covers too, in [0, 1).

    Notes
    -----
    Tiling refers to the lattice on which the network's output arrives: a network with valid
    convolutions gets overlapping inputs, padded with ``fill`` at the border, whose outputs cover the
    reference; without a network, tiles cover the image itself. An image smaller than a tile is padded.
    """

    size: int | Sequence[int] = 96
    overlap: float = 0.5

    def __post_init__(self) -> None:
        check_size(self.size, "GridCrop: size")
        if number(self.overlap, "GridCrop: overlap", 0) >= 1:
            raise GraphError(
                "GridCrop: overlap is a fraction below 1.",
                got=self.overlap,
                remedy="write overlap=0.5 for tiles that share half",
            )

    def expand(
        self, inputs: Sequence[Lazy], reach: Callable[[Grid], Grid], cover: Sequence[Grid]
    ) -> Iterator[tuple[Lazy, ...]]:
        for grid in self.grids(inputs[0].grid, reach, cover):
            yield tuple(Moved(i, grid, False) for i in inputs)

    def remarks(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy]) -> list[str]:
        return padded_remark(self.size, inputs[0].grid, "GridCrop")

    def grids(self, scan: Grid, reach: Callable[[Grid], Grid], cover: Iterable[Grid]) -> list[Grid]:
        """Grids of all tiles, slowest axis first."""
        size = full_size(self.size, scan, "GridCrop")
        probe = scan.crop((0, 0, 0), size.tolist())
        out = reach(probe)
        matrix = probe.index_map(out)
        stride, offset = np.diag(matrix)[:3], matrix[:3, 3]
        if np.abs(matrix[:3, :3] - np.diag(stride)).max() > 1e-6 or stride.min() <= 0:
            raise GraphError(
                "GridCrop: between the tiles and Put, nothing may turn or flip the tiles.",
                remedy="put Flip, Reorient and Affine before GridCrop, or behind Put",
            )
        span = stride * out.shape
        before = offset - stride / 2  # where the output's box starts, from the tile's first voxel
        low, high = _box(scan, list(cover) or [scan])
        first = np.floor(low - before + 1e-6).astype(int)  # at or before where the box to cover starts
        starts = []
        for a in range(3):
            if span[a] <= 1 and scan.shape[a] == 1:
                starts.append([0])
                continue
            steps = tile_starts(first[a] + before[a], high[a], span[a], self.overlap, stride[a])
            starts.append([int(first[a]) + s for s in steps])
        return [scan.crop(start, size.tolist()) for start in product(*starts)]


def _box(scan: Grid, cover: Sequence[Grid]) -> tuple[np.ndarray, np.ndarray]:
    """Box that holds all voxels to cover, in index coordinates of the scan (voxel 0 starts at -0.5)."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for grid in cover:
        corners = scan.to_index(grid.corners)
        low, high = np.minimum(low, corners.min(0)), np.maximum(high, corners.max(0))
    # Corners of a grid that coincides are half-integers up to rounding; a sliver is no voxel.
    return np.round(low, 4), np.round(high, 4)


class _Accumulator:
    """Weighted mean per voxel of the reference, updated in place.

    A running mean instead of sum and division: where all patches agree, the result is their value, bit
    for bit, whatever the weights.
    """

    def __init__(self, reference: Grid, volumes: Volumes, extent: Grid | None = None) -> None:
        self.reference, self.volumes, self.extent = reference, volumes, extent
        self.total = volumes.zeros((1, *reference.shape))
        self.mean: Tensor | None = None
        self.meaning: tuple[Kind, float | tuple[float, ...], Labels | None] = ("scalar", 0.0, None)
        self.weights: dict[tuple[int, ...], Tensor] = {}

    def add(self, image: Image, weights: Tensor) -> None:
        window = touched(self.reference, image.grid)
        if window is None:
            return
        start, shape = window
        box = self.reference.crop(start, shape)
        # The border of a patch is no border of what it shows: nothing is mixed with what lies outside of it.
        value = image.replace(kind="scalar").on(box).data.detach().to("cpu", torch.float32)
        weight = Image(weights, image.grid).on(box, antialias=False).data
        if coincidence(image.grid, box) is None:
            # In the outer half voxel of a patch its values are clamped: a neighbour that sees the place from
            # inside decides; without one, the clamped value stays.
            weight = weight * torch.where(_within(image.grid, box, 0), 1.0, 1e-6)
            if self.extent is not None:
                value = _without_padding(image, box, self.extent, value)
        if self.mean is None:
            self.mean = self.volumes.zeros((value.shape[0], *self.reference.shape))
            self.meaning = image.kind, image.fill, image.labels
        region = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
        total = self.total[0][region]
        total += weight[0]
        share = weight[0] / total.clamp(min=torch.finfo(torch.float32).tiny)
        release(self.total)
        # One channel after the other: a volume in a file has no more than that of it in memory.
        for channel in range(len(value)):
            self.mean[channel][region].lerp_(value[channel], share)
            release(self.mean)


def _without_padding(image: Image, box: Grid, extent: Grid, value: Tensor) -> Tensor:
    """What a patch shows on ``box``, where ``value`` mixes what was predicted for the scan and for padding.

    Voxels of the patch outside of the scan's extent have no weight in the interpolation within it.
    """
    real = _within(extent, image.grid, 0.5)
    if bool(real.all()):
        return value
    share = Image(real.float(), image.grid).on(box).data
    data = torch.where(real, image.data.detach().to("cpu", torch.float32), 0.0)
    alone = Image(data, image.grid, labels=image.labels).on(box).data
    known = _within(extent, box, 0.5) & (share > 1e-4)
    return torch.where(known, alone / share.clamp(min=1e-4), value)


def _within(grid: Grid, seen: Grid, margin: float) -> Tensor:
    """Which voxels (1, I, J, K) of ``seen`` lie between the outer centres of ``grid``, or beyond."""
    matrix = grid.index_map(seen)
    index = np.meshgrid(*(np.arange(n) for n in seen.shape), indexing="ij", sparse=True)
    inside = np.ones(seen.shape, bool)
    for axis, size in enumerate(grid.shape):
        if size > 1:
            position = (
                sum(step * i for step, i in zip(matrix[axis, :3], index, strict=True)) + matrix[axis, 3]
            )
            inside &= (position > -margin - 1e-4) & (position < size - 1 + margin + 1e-4)
    return torch.from_numpy(inside)[None]


def touched(reference: Grid, patch: Grid) -> tuple[list[int], list[int]] | None:
    """Start and shape of the part of the reference that a patch's box touches."""
    corners = reference.to_index(patch.corners)
    low = np.clip(np.floor(corners.min(0) + 0.5 + 1e-4), 0, reference.shape).astype(int)
    high = np.clip(np.ceil(corners.max(0) + 0.5 - 1e-4), 0, reference.shape).astype(int)
    if (high <= low).any():
        return None
    return low.tolist(), (high - low).tolist()


@node
class Put(FanIn):
    """Patches back onto the grid of a reference, wherever they come from.

    Each patch is sampled on its bounding box in the reference and enters a weighted mean per voxel. It is
    geometry, not history: crops, flips and rotations in between need no inverse.

    Parameters
    ----------
    like : node or Image
        The reference; only its grid is used.
    weights : {"gaussian", "uniform"}
        Gaussian: standard deviation an eighth of the patch, centred; uniform: every voxel counts once.
    uncovered : float or sequence of float, optional
        Value of voxels that no patch reached, or one per channel. They are NaN and an error in prediction if
        left out.

    Raises
    ------
    GraphError
        For labels (put back one-hot votes) and if no patch came.

    Notes
    -----
    Memory: (channels + 1) float32 volumes of the reference, or files of that size, and one patch.

    Examples
    --------
    >>> from truevox import Image
    >>> x = Image(torch.rand(1, 9, 8, 7), Grid((9, 8, 7)))
    >>> patches = GridCrop(4)(x)
    >>> len(patches), torch.equal(Put(like=x)(patches).data, x.data)
    (36, True)
    """

    like: Node | Image
    weights: Literal["gaussian", "uniform"] = "gaussian"
    uncovered: float | Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.weights not in ("gaussian", "uniform"):
            raise GraphError(
                "Put: weights are 'gaussian' or 'uniform'.",
                got=self.weights,
                remedy="choose one of both; 'gaussian' weighs the middle of a tile more",
            )
        check_image(self.like, "Put: like")
        if self.uncovered is not None:
            for value in np.atleast_1d(np.asarray(self.uncovered, dtype=object)).tolist():
                number(value, "Put: uncovered")

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        if len(inputs) != 1 or inputs[0].kind == "label":
            raise GraphError(
                "Put takes one image of patches, and no labels: a mean of labels has no meaning.",
                got=[s.kind for s in inputs],
                remedy="put back probabilities",
            )
        return tuple(inputs)

    def output_axes(self, axes: tuple[Call, ...], call: Call) -> tuple[Call, ...]:
        if displaced := [type(c.op).__name__ for c in ancestors(call.inputs) if c.op.deforms]:
            raise GraphError(
                "Put: what is seen through a displacement can't be put back.",
                got=", ".join(displaced),
                remedy="leave it out of the prediction: it serves training",
            )
        return super().output_axes(axes, call)

    def covers(self, edges: Mapping[str, Lazy]) -> Grid | None:
        return edges["like"].grid

    def start(self, edges: Mapping[str, Lazy]) -> _Accumulator:
        return _Accumulator(edges["like"].grid, Volumes())

    def begin(self, edges: Mapping[str, Lazy], volumes: Volumes, extent: Grid) -> _Accumulator:
        return _Accumulator(edges["like"].grid, volumes, extent)

    def step(self, state: _Accumulator, image: Image) -> None:
        shape = image.grid.shape
        if shape not in state.weights:
            state.weights[shape] = _gaussian(shape) if self.weights == "gaussian" else torch.ones(1, *shape)
        state.add(image, state.weights[shape])

    def end(self, state: _Accumulator) -> Image:
        if state.mean is None:
            raise GraphError(
                "Put: no patch reached the reference.", remedy="do the scan and the reference overlap?"
            )
        fill = torch.tensor(math.nan if self.uncovered is None else self.uncovered).view(-1, 1, 1, 1)
        for where, total in blocks(state.total):
            missing = total == 0
            if bool(missing.any()):
                part = state.mean[:, where[0], where[1]]
                part.copy_(torch.where(missing, fill, part))
                release(state.mean)
        return Image(state.mean, state.reference, *state.meaning)


def _gaussian(shape: Sequence[int]) -> Tensor:
    """Separable weights, 1 at the centre; their floor keeps the corners in play."""
    axes = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in shape]
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return weights.clamp(min=1e-3)[None]
