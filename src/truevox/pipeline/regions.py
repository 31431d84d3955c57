"""Kinds of transform whose new values need more than the voxel's value.

==================  ===================================================================================
:class:`Local`       what lies around a voxel, or where it lies: blur, bias field
:class:`Framewise`   the whole frame: what happens in k-space
:class:`Casewise`    every voxel behind the frame: connected components, distances
:class:`Labelwise`   what a label's values mean: merged classes, one-hot channels
==================  ===================================================================================
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from truevox import sampling
from truevox.image import Image
from truevox.pipeline.graph import Rng, Signature, Transform, intensities
from truevox.pipeline.lazy import Lazy, needed
from truevox.space import Grid

__all__ = ["Casewise", "Effect", "Framewise", "Labelwise", "Local"]


@dataclass(frozen=True)
class Effect:
    """What a :class:`Local` transform does.

    Attributes
    ----------
    function : callable
        Voxels (C, I, J, K) from an image, on the same lattice, whatever part of it is given.
    reach_mm : float
        How far a voxel looks. A margin of that width is read around what is wanted.
    """

    function: Callable[[Image], Tensor]
    reach_mm: float = 0.0


class _Intensities(Transform):
    """Changes intensities: no labels, one draw for every input, the outside stays."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return intensities(self, inputs)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        self.signatures([Signature(i.kind) for i in inputs])
        draws = [rng, *(copy.deepcopy(rng) for _ in inputs[1:])]
        return tuple(self._changed(lazy, draw) for lazy, draw in zip(inputs, draws, strict=True))

    def _changed(self, lazy: Lazy, rng: Rng) -> Lazy:
        raise NotImplementedError


class Local(_Intensities):
    """Base of transforms whose new value depends on where a voxel lies, or on what lies around it.

    A crop leaves no mark: what the effect reaches is read from beyond the frame. At the border of the scan
    the effect sees what is there and no further; what lies outside (``fill``) stays as it is.
    """

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        """What to do to the voxels of one input; None leaves them as they are.

        Parameters
        ----------
        frame : callable
            Gives the input on its own frame, for statistics. Voxels are pulled only if it is called.
        grid : Grid
            The frame. The function gets images on its lattice, or on another if the image is turned later.
        rng : numpy.random.Generator
            Make the draw here, once.
        """
        raise NotImplementedError

    def _changed(self, lazy: Lazy, rng: Rng) -> Lazy:
        return self.filtered(lazy, lambda: self.effect(lazy.image, lazy.grid, rng))

    @staticmethod
    def filtered(lazy: Lazy, effect: Callable[[], Effect | None]) -> Lazy:
        """An input with an effect on it, which is made when voxels are first pulled."""
        return _Filtered(lazy, functools.cache(effect))


class Framewise(_Intensities):
    """Base of transforms that make the voxels of a frame anew from all of them.

    Beyond the frame, where a rotation that follows may look, voxels are as they were: put spatial
    transforms first.
    """

    def remade(self, see: Callable[[Grid], Image], grid: Grid, rng: Rng) -> Tensor | None:
        """New voxels (C, I, J, K) of the frame; None leaves them as they are.

        Parameters
        ----------
        see : callable
            The input on any grid: ``see(grid)`` is the frame.
        grid : Grid
            The frame.
        """
        raise NotImplementedError

    def _changed(self, lazy: Lazy, rng: Rng) -> Lazy:
        def see(grid: Grid) -> Image:
            return lazy.image() if grid == lazy.grid else lazy.pull(grid)

        return _Remade(lazy, functools.cache(lambda: self.remade(see, lazy.grid, rng)))


class Casewise(Transform):
    """Base of transforms that need every voxel behind the frame: the largest component is that of the scan.

    Made once for the whole scan, then seen from the frame. In front of the random nodes this belongs to the
    cached prefix; behind a random crop the whole scan is worked on for every patch.
    """

    def whole(self, image: Image) -> Image:
        """The result from the whole image, on the same grid."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        made = self.signatures([Signature(i.kind, labels=i.labels) for i in inputs])
        return tuple(_Whole(i, s, self.whole) for i, s in zip(inputs, made, strict=True))


class Labelwise(Transform):
    """Base of transforms that give other values to a label, voxel by voxel, by its label table."""

    def relabelled(self, image: Image) -> Image:
        """The result from some voxels of the label, on the same grid."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        made = self.signatures([Signature(i.kind, labels=i.labels) for i in inputs])
        return tuple(_Relabelled(i, s, self.relabelled) for i, s in zip(inputs, made, strict=True))


class _Filtered(Lazy):
    """An effect on just the voxels that are wanted and those that it reaches from there."""

    def __init__(self, parent: Lazy, effect: Callable[[], Effect | None]) -> None:
        self.grid, self.extent, self.stored = parent.grid, parent.extent, parent.stored
        self.kind, self.labels, self.averages = parent.kind, parent.labels, parent.averages
        self._parent, self._effect = parent, effect

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        effect = self._effect()
        if effect is None:
            return self._parent.seen(grid, antialias)
        if sampling.coincidence(self.grid, grid) is not None:
            region, average = grid, antialias
        else:
            # As for pointwise nodes: act where the voxels exist, then interpolate once.
            antialias = antialias or self.averages
            region, average = needed(self.extent, grid, antialias), False
        margin = np.ceil(effect.reach_mm / region.spacing - 1e-6).astype(int)
        window = _shared(region.pad(margin.tolist()), self.extent)
        if window is None:
            return self._parent.seen(grid, antialias)
        image = self._parent.seen(window, average)
        return image.replace(data=effect.function(image)).on(grid, antialias=antialias)


class _Remade(Lazy):
    """A frame whose voxels are made from all of it, in what it is cut from."""

    def __init__(self, parent: Lazy, make: Callable[[], Tensor | None]) -> None:
        self.grid, self.stored = parent.grid, parent.stored
        on_lattice = sampling.coincidence(parent.extent, parent.grid) is not None
        # What follows is interpolated from the frame's lattice, also beyond the frame.
        self.extent = parent.extent if on_lattice else parent.grid.covering(parent.extent)
        self.averages = parent.averages and on_lattice
        self.kind, self.labels = parent.kind, parent.labels
        self._parent, self._make = parent, make

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        made = self._make()
        if made is None:
            return self._parent.seen(grid, antialias)
        frame = self._parent.image().replace(data=made)
        near = sampling.coincidence(self.grid, grid) is not None
        antialias = antialias or (self.averages and not near)
        region = grid if near else needed(self.extent, grid, antialias)
        shared = _shared(region, self.grid)
        if shared is None:
            return self._parent.seen(grid, antialias)
        if shared.shape == region.shape:
            return frame.on(grid, antialias=antialias)
        around = self._parent.pull(region)
        data = around.data.to(made.dtype, copy=True)
        start = np.rint(region.to_index(shared.to_world((0, 0, 0)))).astype(int).tolist()
        where = (slice(None), *(slice(a, a + n) for a, n in zip(start, shared.shape, strict=True)))
        data[where] = frame.on(shared).data
        return around.replace(data=data).on(grid, antialias=antialias)


class _Whole(Lazy):
    """The result for the whole scan, made when first asked for and seen from any frame."""

    def __init__(self, parent: Lazy, signature: Signature, make: Callable[[Image], Image]) -> None:
        self.grid, self.extent, self.stored = parent.grid, parent.extent, parent.stored
        self.kind, self.labels, self.averages = signature.kind, signature.labels, parent.averages
        self._parent, self._make, self._made = parent, make, None

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        if self._made is None:
            self._made = self._make(self._parent.pull(self.extent))
        return self._made.on(grid, antialias=antialias or self.averages)

    def forget(self) -> None:
        super().forget()
        self._made = None


class _Relabelled(Lazy):
    """Other values for the voxels that are wanted, found before these are averaged or turned."""

    def __init__(self, parent: Lazy, signature: Signature, make: Callable[[Image], Image]) -> None:
        self.grid, self.extent, self.stored = parent.grid, parent.extent, parent.stored
        self.kind, self.labels, self.averages = signature.kind, signature.labels, parent.averages
        self._parent, self._make = parent, make

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        if sampling.coincidence(self.grid, grid) is not None:
            image = self._parent.seen(grid, antialias)
            if image.kind in ("label", self.kind):
                return self._make(image)
        # Turned, or averaged on the way here: begin again where the label's voxels exist.
        antialias = antialias or self.averages
        part = self._parent.pull(needed(self.extent, grid, antialias))
        return self._make(part).on(grid, antialias=antialias)


def _shared(window: Grid, other: Grid) -> Grid | None:
    """The part of a window that lies in another grid, if their voxels coincide; None if there is none.

    A window of another lattice is returned as it is.
    """
    if sampling.coincidence(other, window) is None:
        return window
    ends = np.rint(window.to_index(other.to_world(np.array([(0, 0, 0), other.shape]) - [[0], [1]])))
    low = np.clip(ends.min(0), 0, window.shape).astype(int)
    high = np.clip(ends.max(0) + 1, 0, window.shape).astype(int)
    return window.crop(low.tolist(), (high - low).tolist()) if (high > low).all() else None
