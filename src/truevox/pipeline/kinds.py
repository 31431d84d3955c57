"""The kinds of transform: what a new node subclasses.

=================  ==========================================================
:class:`Source`     reads from the case
:class:`Pointwise`  changes values, leaves voxels where they are
:class:`Spatial`    changes grids, touches no voxel
:class:`Combine`    makes one image of several, voxel by voxel
:class:`FanOut`     makes many of one
:class:`FanIn`      folds many into one
:class:`Batched`    runs on batches: networks
=================  ==========================================================
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from truevox.alignment import aligned
from truevox.errors import GeometryError, GraphError
from truevox.image import Image
from truevox.pipeline.graph import Call, Node, Rng, Signature, Transform, intensities
from truevox.pipeline.lazy import Held, Lazy, Mapped, Moved
from truevox.pipeline.volumes import Volumes
from truevox.space import Grid

__all__ = ["Batched", "Combine", "FanIn", "FanOut", "Pointwise", "Source", "Spatial", "demand_one_grid"]


def demand_one_grid(inputs: Sequence[Lazy], what: str) -> None:
    """Refuse inputs on different grids.

    A label of the same voxels whose header a tool rounded, by less than half a voxel, is on the grid.

    Raises
    ------
    GeometryError
    """
    first = inputs[0].grid
    for other in inputs[1:]:
        if not first.same_as(other.grid):
            found = aligned(other.grid, first) if other.kind == "label" else None
            if found is not None and found.same_voxels:
                continue
            raise GeometryError(
                f"{what} was given images that are not on the same grid.",
                got=f"{first.describe()} and {other.grid.describe()}, "
                f"largest corner displacement {first.displacement(other.grid):.2f} mm (tolerance 0.001 mm)",
                remedy="put the second on the first's grid: tv.Like(first)(second)",
            )


class Source(Transform):
    """Base of transforms that read from the case."""

    reads_case = True

    def columns(self) -> tuple[str, ...]:
        """Columns of the cohort that it reads; the cache depends on their files."""
        raise NotImplementedError

    def read(self, case: Any) -> tuple[Lazy, ...]:
        """Deferred outputs for one case."""
        raise NotImplementedError


class Pointwise(Transform):
    """Base of transforms that change values and leave every voxel where it is.

    A subclass says what happens to the values, given the frame (for statistics) and the draw. The
    outside (``fill``) goes through the same function unless ``map_fill`` is False.
    """

    map_fill = True

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        """The function to apply to voxels (C, I, J, K) of one input.

        Parameters
        ----------
        frame : callable
            Gives the input on its own frame, for statistics. Voxels are pulled only if it is called.
        rng : numpy.random.Generator
            Make the draw here, once, not inside the returned function.
        """
        raise NotImplementedError

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return intensities(self, inputs)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        # The same draw for every input.
        draws = [rng, *(copy.deepcopy(rng) for _ in inputs[1:])]
        return tuple(self._mapped(lazy, draw) for lazy, draw in zip(inputs, draws, strict=True))

    def _mapped(self, lazy: Lazy, rng: Rng) -> Lazy:
        @functools.cache
        def values() -> Callable[[list[Tensor]], Tensor]:
            function = self.values(lazy.image, rng)
            return lambda data: function(data[0])

        signature = self.signatures([Signature(lazy.kind, labels=lazy.labels)])[0]
        return Mapped([lazy], values, signature.kind, signature.labels, self.map_fill)


class Spatial(Transform):
    """Base of transforms that look from elsewhere: they change grids and touch no voxel.

    A subclass overrides :meth:`look` (a world map, applied to every input's grid) or :meth:`frame`
    (a new grid, shared by all outputs). Both are computed from the first input's grid.
    """

    antialias = False
    """Whether voxels are averaged where the new grid is coarser."""

    def look(self, grid: Grid, edges: Mapping[str, Lazy], rng: Rng) -> np.ndarray | None:
        """(4, 4) world map, or None for a subclass that gives a frame."""
        return None

    def frame(self, grid: Grid, edges: Mapping[str, Lazy], rng: Rng) -> Grid:
        """The new grid."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        first = inputs[0].grid
        matrix = self.look(first, edges, rng)
        if matrix is not None:
            return tuple(Moved(i, i.grid.transformed(matrix), self.antialias) for i in inputs)
        frame = self.frame(first, edges, rng)
        return tuple(Moved(i, frame, self.antialias) for i in inputs)


class Combine(Transform):
    """Base of transforms that make one image of several on the same grid, voxel by voxel."""

    def combine(self, data: list[Tensor]) -> Tensor:
        """Voxels of the output from the voxels (C, I, J, K) of every input."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        demand_one_grid(inputs, type(self).__name__)
        signature = self.signatures([Signature(i.kind, labels=i.labels) for i in inputs])[0]
        return (Mapped(inputs, lambda: self.combine, signature.kind, signature.labels),)


class FanOut(Transform):
    """Base of transforms that make many of one: patches, views. At once, an image gives a list of images."""

    def output_axes(self, axes: tuple[Call, ...], call: Call) -> tuple[Call, ...]:
        return (*axes, call)

    def _at_once(self, inputs: tuple[Image, ...], rng: Rng) -> tuple[Any, ...]:
        elements = list(self.expand([Held(i) for i in inputs], lambda grid: grid, []))
        return tuple([element[k].image() for element in elements] for k in range(len(inputs)))

    def expand(
        self, inputs: Sequence[Lazy], reach: Callable[[Grid], Grid], cover: Sequence[Grid]
    ) -> Iterable[tuple[Lazy, ...]]:
        """The elements, one after the other.

        Parameters
        ----------
        reach : callable
            Grid on which an element arrives where it is put back, given its own grid.
        cover : grids
            What the elements have to cover together.
        """
        raise NotImplementedError


class FanIn(Transform):
    """Base of transforms that make one of many, as a streaming fold over the innermost axis.

    At once, it takes any iterable of images, e.g. a generator.
    """

    def __call__(self, *inputs: Any, rng: Rng | None = None) -> Any:
        """Fold an iterable of images at once, or add a call to the graph."""
        if inputs and isinstance(inputs[0], Node):
            return super().__call__(*inputs)
        images = inputs[0] if len(inputs) == 1 and not isinstance(inputs[0], Image) else inputs
        edges = self.image_edges()
        state = self.start(edges)
        for image in images:
            self.signatures([Signature(image.kind, image.channels, labels=image.labels)])
            self.step(state, image)
        return self.end(state)

    def output_axes(self, axes: tuple[Call, ...], call: Call) -> tuple[Call, ...]:
        if not axes:
            raise GraphError(
                f"{type(self).__name__} folds a fan-out, and its input has none.",
                remedy="put it behind GridCrop, or leave it out",
            )
        return axes[:-1]

    def start(self, edges: Mapping[str, Lazy]) -> Any:
        """A fresh accumulator."""
        raise NotImplementedError

    def begin(self, edges: Mapping[str, Lazy], volumes: Volumes, extent: Grid) -> Any:
        """A fresh accumulator; :meth:`start` if left out.

        Parameters
        ----------
        volumes : Volumes
            Makes whole volumes.
        extent : Grid
            What lies outside of it, in an element, is padding.
        """
        return self.start(edges)

    def step(self, state: Any, image: Image) -> None:
        """Take in one element."""
        raise NotImplementedError

    def end(self, state: Any) -> Image:
        """The result."""
        raise NotImplementedError

    def covers(self, edges: Mapping[str, Lazy]) -> Grid | None:
        """The grid that the elements should cover, if any."""
        return None


class Batched(Transform):
    """Base of transforms that run on a batch of voxels at a time: networks."""

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        images = [i.image() for i in inputs]
        made = self.signatures([Signature(i.kind, i.channels, labels=i.labels) for i in images])
        grids = [i.grid for i in images]
        tensors = self.forward([i.data[None] for i in images], grids)
        return tuple(
            Held(Image(t[0], g, s.kind, 0.0, s.labels))
            for t, g, s in zip(tensors, self.grids(grids), made, strict=True)
        )

    def grids(self, grids: Sequence[Grid]) -> tuple[Grid, ...]:
        """Grids of the outputs from those of the inputs, known before any run."""
        raise NotImplementedError

    def forward(self, batch: Sequence[Tensor], grids: Sequence[Grid]) -> tuple[Tensor, ...]:
        """Outputs (B, C, I, J, K) from inputs (B, C, I, J, K), all of one shape."""
        raise NotImplementedError
