"""Deferred images: a grid now, voxels when somebody asks, and only those asked for.

A spatial node edits the grid of its :class:`Lazy` and touches no voxel; a pointwise node remembers
what to do to the values. Voxels are pulled once, on the grid where they are needed, with at most one
interpolation between the array that exists and the array that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from truevox import sampling
from truevox.errors import GeometryError
from truevox.image import Image, Kind
from truevox.labels import Labels
from truevox.space import Grid

if TYPE_CHECKING:
    Values = Callable[[list[Tensor]], Tensor]

__all__ = ["Awaited", "Deferred", "Held", "Lazy", "Mapped", "Moved", "Warped", "needed"]


class Lazy:
    """What a node makes of one case: a frame (``grid``) and voxels on demand (:meth:`pull`).

    Attributes
    ----------
    grid : Grid
        The frame.
    extent : Grid
        The finite grid on which the voxels behind it exist without interpolation.
    stored : (Grid, header) or None
        Grid in the storage order of the file that the frame comes from, and the file's header.
    averages : bool
        Whether a frame in front asks for averages where voxels are seen coarser.
    """

    grid: Grid
    extent: Grid
    kind: Kind
    labels: Labels | None
    stored: tuple[Grid, object] | None = None
    averages: bool = False
    _frame: Image | None = None

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        """The image on any grid. A crop is a frame, not a mask: there may be voxels outside of it."""
        raise NotImplementedError

    def image(self) -> Image:
        """The image on its own frame (kept, as whole-patch statistics ask for it again)."""
        if self._frame is None:
            self._frame = self.pull(self.grid)
        return self._frame

    def seen(self, grid: Grid, antialias: bool = False) -> Image:
        """As :meth:`pull`, without a second look at a frame that is kept."""
        if self._frame is not None and not antialias and self._frame.grid == grid:
            return self._frame
        return self.pull(grid, antialias)

    def forget(self) -> None:
        """Drop voxels that can be made again."""
        self._frame = None


class Held(Lazy):
    """An image that exists; ``batch`` says of which batch of tensors it is a slice, if any."""

    def __init__(self, image: Image) -> None:
        self.grid = self.extent = image.grid
        self.kind, self.labels, self.held = image.kind, image.labels, image
        self.batch: tuple[Tensor, int] | None = None

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        return self.held.on(grid, antialias=antialias)


class Deferred(Lazy):
    """An image that a function makes when first asked, e.g. from a file whose header is known."""

    def __init__(self, make: Callable[[], Image], grid: Grid, kind: Kind, labels: Labels | None) -> None:
        self.grid = self.extent = grid
        self.kind, self.labels = kind, labels
        self._make, self._held = make, None

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        if self._held is None:
            self._held = Held(self._make())
        return self._held.pull(grid, antialias)

    def forget(self) -> None:
        self._frame = self._held = None


class Awaited(Lazy):
    """The output of a network that has not run: its grid is known, its voxels are not."""

    def __init__(self, grid: Grid, kind: Kind, labels: Labels | None) -> None:
        self.grid = self.extent = grid
        self.kind, self.labels = kind, labels

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        raise GeometryError("The voxels of a network's output were asked for before the network ran.")


class Moved(Lazy):
    """Another frame on the same voxels."""

    def __init__(self, parent: Lazy, grid: Grid, antialias: bool) -> None:
        self.grid, self.extent = grid, parent.extent
        self.kind, self.labels = parent.kind, parent.labels
        self.averages = antialias or parent.averages
        self._parent, self._antialias = parent, antialias

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        return self._parent.pull(grid, antialias or self._antialias)


def needed(extent: Grid, grid: Grid, antialias: bool, margin: Sequence[int] | int = 0) -> Grid:
    """The part of the voxels that exist from which ``grid`` is interpolated, and a margin per axis."""
    reach = np.add(sampling.margin(extent, grid, antialias), margin).tolist()
    return sampling.clipped(extent.covering(grid).pad(reach), extent)


class Warped(Lazy):
    """The same frame, seen through a displacement: evaluated only where voxels are wanted.

    What lies behind is pulled where its voxels exist, on the region needed: looks before and after, and the
    displacement, are one interpolation.
    """

    def __init__(self, parent: Lazy, field: sampling.Field) -> None:
        self.grid, self.extent, self.averages = parent.grid, parent.extent, parent.averages
        self.kind, self.labels = parent.kind, parent.labels
        self._parent, self._field = parent, field

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        antialias = antialias or self.averages
        region = needed(self.extent, grid, antialias, self._field.reach(self.extent).tolist())
        return self._parent.pull(region).on(grid, antialias=antialias, field=self._field)


class Mapped(Lazy):
    """New values, voxel by voxel, from one or several inputs on the same grid.

    If the wanted voxels lie on the frame's lattice, the inputs are pulled there and mapped. If a
    spatial node downstream wants others, the map acts where the voxels exist, on the region needed,
    and the result is interpolated: so an intensity node between two spatial nodes costs no second
    interpolation and a crop leaves no mark.

    ``values`` gives the map. It is called when voxels are first pulled, before the inputs are, as it may
    take statistics of their frames.
    """

    def __init__(
        self,
        parents: Sequence[Lazy],
        values: Callable[[], Values],
        kind: Kind,
        labels: Labels | None,
        map_fill: bool = True,
    ) -> None:
        first = parents[0]
        self.grid, self.extent = first.grid, first.extent
        self.kind, self.labels, self.stored = kind, labels, first.stored
        self.averages = any(p.averages for p in parents)
        self._parents, self._values, self._map_fill = tuple(parents), values, map_fill

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        values = self._values()
        if grid == self.grid or sampling.coincidence(self.grid, grid) is not None:
            return self._apply(values, [p.seen(grid, antialias) for p in self._parents], grid)
        antialias = antialias or self.averages
        region = needed(self.extent, grid, antialias)
        made = self._apply(values, [p.seen(region) for p in self._parents], region)
        return made.on(grid, antialias=antialias)

    def _apply(self, values: Values, images: list[Image], grid: Grid) -> Image:
        data = values([i.data for i in images])
        fill = images[0].fill
        if self._map_fill:
            outside = [
                torch.as_tensor(i.fills().copy(), dtype=torch.float32).view(-1, 1, 1, 1) for i in images
            ]
            mapped = values(outside).flatten()
            same = bool((mapped == mapped[0]).all())
            fill = float(mapped[0]) if same else tuple(mapped.tolist())
        return Image(data, grid, self.kind, fill, self.labels)
