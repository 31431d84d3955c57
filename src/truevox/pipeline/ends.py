"""The end of the deterministic prefix: where voxels are made once per case."""

from __future__ import annotations

from collections.abc import Callable

from truevox import sampling
from truevox.image import Image
from truevox.pipeline.cache import Cache, part_of
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid

__all__ = ["Materialised"]


class Materialised(Lazy):
    """Voxels from the cache where there is one, else held.

    An exact edit (crop, flip) stays a frame on all the voxels behind it; an interpolation ends here. Only
    the part that is asked for is read. It is cut out in the same way without a cache, so that both give
    the same bits.

    Parameters
    ----------
    lazy : Lazy
    cache : Cache or None
    key : str or None
        None for what can't be identified, and is held in memory.
    again : callable
        Makes ``lazy`` again, which is dropped once its voxels are in the cache: a cache entry may be
        lost while it is in use.
    most_bytes : int or None
        See :meth:`Cache.image`.
    valid : callable, optional
        Whether the key still names the files; see :meth:`Cache.image`.
    """

    def __init__(
        self,
        lazy: Lazy,
        cache: Cache | None,
        key: str | None,
        again: Callable[[], Lazy],
        most_bytes: int | None = None,
        valid: Callable[[], bool] | None = None,
    ) -> None:
        self.grid = lazy.grid
        exact = sampling.coincidence(lazy.extent, lazy.grid) is not None
        self.extent = lazy.extent if exact else lazy.grid
        self.kind, self.labels, self.stored = lazy.kind, lazy.labels, lazy.stored
        self._cache = cache if key is not None else None
        self._key, self._again, self._most_bytes, self._valid = key or "", again, most_bytes, valid
        self._lazy: Lazy | None = lazy
        self._held: Image | None = None

    @property
    def cached(self) -> bool:
        """Whether the voxels come from the disk, so that keeping this costs no memory."""
        return self._cache is not None

    def image(self) -> Image:
        return self.pull(self.grid)

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        if self.kind == "value":
            return self._part(None).on(grid)
        if sampling.coincidence(self.extent, grid) is not None:
            box, touched = sampling.box_around(self.extent, grid, 0), None
        else:
            averaged = antialias and bool((sampling.coarsening(self.extent, grid) > sampling.COARSE).any())
            box = sampling.box_around(self.extent, grid, sampling.margin(self.extent, grid, averaged))
            # Shares are averaged from the first step on that is longer than a voxel.
            some = not averaged and not (antialias and self.kind == "probability")
            touched = sampling.touched_boxes(self.extent, grid) if some else None
        return self._part(box, touched).on(grid, antialias=antialias)

    def _part(self, box: sampling.Box | None, touched: sampling.Touched | None = None) -> Image:
        if self._cache is not None:
            part = self._cache.image(self._key, self._whole, box, touched, self._most_bytes, self._valid)
            self._lazy = None  # what the voxels were made of need not stay in memory
            return part
        if self._held is None:
            self._held = self._whole()
        return part_of(self._held, box)

    def _whole(self) -> Image:
        return (self._lazy or self._again()).pull(self.extent)
