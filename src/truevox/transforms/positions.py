"""Where patches may be centred: tables of positions, found once per case and kept in the cache.

Tables are images of kind ``value``: hidden nodes of the prefix, made by :class:`RandomCrop`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, Signature, node
from truevox.pipeline.kinds import Spatial
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid

__all__ = ["Density", "Forbidden", "Foreground", "centres", "forbidden", "has_room"]

MOST_VOXELS = 100_000
"""Positions kept per class; more make no better choice of a centre."""


class _Table(Lazy):
    """Numbers of a case, (columns, rows), found when first asked for."""

    def __init__(self, of: Lazy, make: Callable[[Lazy], np.ndarray]) -> None:
        self.grid = self.extent = of.grid
        self.kind, self.labels = "value", None
        self._of, self._make = of, make

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        table = np.ascontiguousarray(self._make(self._of).T)
        return Image(torch.from_numpy(table[:, :, None, None]), self.grid, "value")


class _Tabled(Spatial):
    """A node whose output is a table of its input."""

    columns = 4

    def rows(self, of: Lazy) -> np.ndarray:
        """The table, (rows, columns)."""
        raise NotImplementedError

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return (Signature("value", self.columns),)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        return (_Table(inputs[0], self.rows),)


@node
class Foreground(_Tabled):
    """Voxel indices of every class of a label: rows (class value, i, j, k), sorted by class."""

    version = 2

    def rows(self, of: Lazy) -> np.ndarray:
        data = _classes(of.image())
        ignore = 0 if of.labels is None or of.labels.ignore is None else of.labels.ignore
        count: Counter[int] = Counter()
        for _, values in _planes(data, ignore):
            count.update(dict(zip(*(v.tolist() for v in np.unique(values, return_counts=True)), strict=True)))
        kept = {value: _ordinals(n) for value, n in sorted(count.items())}
        found: dict[int, list[np.ndarray]] = {value: [np.zeros(0, int)] for value in kept}
        seen: Counter[int] = Counter()
        for places, values in _planes(data, ignore):
            for value in np.unique(values).tolist():
                mine, wanted = places[values == value], kept[value] - seen[value]
                low, high = np.searchsorted(wanted, [0, len(mine)])
                found[value].append(mine[wanted[low:high]])
                seen[value] += len(mine)
        tables = [
            np.column_stack([np.full(len(at), value), *np.unravel_index(at, data.shape)])
            for value, at in ((v, np.concatenate(parts)) for v, parts in found.items())
        ]
        return np.concatenate([np.zeros((0, 4)), *tables]).astype(np.int32)


def _planes(data: np.ndarray, ignore: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places in the volume and values of the foreground, plane by plane: a body fills more than memory."""
    for i, plane in enumerate(data):
        flat = plane.ravel()
        at = np.flatnonzero((flat != 0) & (flat != ignore))
        yield i * flat.size + at, flat[at].astype(np.int32)


def _ordinals(count: int) -> np.ndarray:
    """Which of so many voxels are kept, in order."""
    if count <= MOST_VOXELS:
        return np.arange(count)
    drawn = np.random.Generator(np.random.Philox(key=0)).choice(count, MOST_VOXELS, replace=False)
    return np.sort(drawn)


def _classes(label: Image) -> np.ndarray:
    """(I, J, K) class of every voxel; of a label that was averaged, the largest share of the foreground."""
    data = label.numpy()
    if label.kind == "label":
        return data[0]
    share, table = data[_background(label) :], label.labels
    values = np.arange(1, len(share) + 1)
    if table is not None and table.exclusive:
        values = np.array([table.values_of(name)[0] for name in table.names])
    return np.where(share.max(0) > 0, values[share.argmax(0)], 0)


def _background(image: Image) -> int:
    """Channels of background in front of those of the classes."""
    return int(image.labels is not None and image.labels.activation == "softmax")


@node
class Density(_Tabled):
    """Voxel indices as often as a map weighs them: rows (1, i, j, k), each to be drawn equally often."""

    def rows(self, of: Lazy) -> np.ndarray:
        image = of.image()
        data = image.numpy()[_background(image) :]
        planes = data.sum((0, 2, 3), dtype=np.float64)
        if not np.isfinite(planes).all() or data.min() < 0:
            raise GraphError(
                "RandomCrop: a map to centre on is a weight per voxel, finite and not negative.",
                got=f"values from {data.min():g} to {data.max():g}",
                remedy="replace NaN by 0, and clip the map at 0: Clip(low=0)",
            )
        ends = np.cumsum(planes)
        if ends[-1] == 0:
            return np.zeros((0, 4), np.int32)
        # Evenly spaced shares of the sum: the closest that so many rows come to the map.
        shares = (np.arange(MOST_VOXELS) + 0.5) / MOST_VOXELS * ends[-1]
        plane_of = np.searchsorted(ends, shares)
        index = np.empty(MOST_VOXELS, int)
        for plane in np.unique(plane_of):
            total = np.cumsum(data[:, plane].sum(0, dtype=np.float64))
            mine = plane_of == plane
            within = shares[mine] - (ends[plane] - planes[plane])
            # Rounding leads to no voxel without weight.
            index[mine] = np.searchsorted(total, np.clip(within, np.finfo(float).tiny, total[-1]))
            index[mine] += plane * total.size
        places = np.unravel_index(index, image.grid.shape)
        return np.column_stack([np.ones(MOST_VOXELS), *places]).astype(np.int32)


@node
class Forbidden(_Tabled):
    """The voxels of a mask that are not 0, eight in a byte."""

    columns = 1

    def rows(self, of: Lazy) -> np.ndarray:
        return np.packbits((of.image().data != 0).any(0).numpy().ravel())[:, None]


def centres(edge: Lazy) -> np.ndarray:
    """The table (rows, 4) of a label, a map, or the node made of either."""
    if edge.kind == "value":
        lazy = edge
    else:
        lazy = _Table(edge, Foreground().rows if edge.kind == "label" else Density().rows)
    return lazy.image().numpy().reshape(4, -1).T


def forbidden(edge: Lazy, index: np.ndarray) -> bool:
    """Whether a voxel (3,) of a mask, or of the node made of it, is not 0; outside of it nothing is."""
    if (index < 0).any() or (index >= edge.grid.shape).any():
        return False
    place = int(np.ravel_multi_index(index.tolist(), edge.grid.shape))
    return bool(_bytes(edge)[place >> 3] >> (7 - (place & 7)) & 1)


def has_room(edge: Lazy) -> bool:
    """Whether there is a voxel of a mask, or of the node made of it, that is 0."""
    voxels = int(np.prod(edge.grid.shape))
    full, rest = divmod(voxels, 8)
    bits = _bytes(edge)
    return bool((bits[:full] != 255).any()) or (rest > 0 and int(bits[full]) != 256 - (1 << (8 - rest)))


def _bytes(edge: Lazy) -> np.ndarray:
    lazy = edge if edge.kind == "value" else _Table(edge, Forbidden().rows)
    return lazy.image().numpy().ravel()
