"""Lesions of a mask: connected components, or the instances of a label map, with their measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.metrics.masks import as_array, as_mask

if TYPE_CHECKING:
    from truevox.kernels.components import Runs

__all__ = ["Components", "Contingency", "components", "contingency", "full_connectivity"]

NEIGHBOURS = {1: (2,), 2: (4, 8), 3: (6, 18, 26)}
"""Numbers of neighbours by number of axes, the largest last."""
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Components:
    """Components of one mask.

    Parameters
    ----------
    ids : array (n,) of int64
        Their names: from 1 in the order of their first voxels, or the values of a map of instances.
    voxels : array (n,) of int64
        Sizes.
    low, high : arrays (n, axes) of int64
        Boxes: first index, and the one after the last.
    centres : array (n, axes) of float64
        Centroids in voxel indices.
    shape : tuple of int
        Of the image.
    reverse : bool
        Whether it is stored with its axes in reverse order.
    """

    ids: Array
    voxels: Array
    low: Array
    high: Array
    centres: Array
    shape: tuple[int, ...]
    _runs: Runs
    _label: Array
    reverse: bool

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def _stored(self) -> tuple[int, int, int]:
        shape = self.shape[::-1] if self.reverse else self.shape
        return (1,) * (3 - len(shape)) + tuple(shape)  # type: ignore[return-value]

    @cached_property
    def border(self) -> tuple[Array, Array]:
        """Border voxels, as in memory (:func:`truevox.kernels.components.borders`)."""
        from truevox.kernels.components import borders

        return borders(self._runs, self._label, len(self), self._stored, len(self.shape))

    def labels(self) -> Array:
        """The label map of the image's shape: 0 outside, else the id."""
        flat = np.zeros(int(np.prod(self._stored)), self.ids.dtype)
        rows = np.repeat(np.arange(len(self._runs.first) - 1), np.diff(self._runs.first))
        lengths = self._runs.stop - self._runs.start
        begin = rows * self._stored[2] + self._runs.start
        steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        names = np.concatenate([[0], self.ids])[self._label]
        flat[np.repeat(begin, lengths) + steps] = np.repeat(names, lengths)
        map_ = flat.reshape(self.shape[::-1] if self.reverse else self.shape)
        return map_.T if self.reverse else map_

    def maxima(self, values: ArrayLike) -> Array:
        """Largest value (n,) of a map within each component."""
        stored = np.asarray(values)
        stored = np.ascontiguousarray(stored.T if self.reverse else stored).reshape(-1)
        if not len(self) or not len(self._runs.start):
            return np.full(len(self), np.nan)
        rows = np.repeat(np.arange(len(self._runs.first) - 1), np.diff(self._runs.first))
        ends = np.stack(
            [rows * self._stored[2] + self._runs.start, rows * self._stored[2] + self._runs.stop], 1
        )
        padded = np.append(stored, stored[-1:])  # so that the last run may end at the end
        tops = np.maximum.reduceat(padded, ends.reshape(-1))[::2].astype(np.float64)
        out = np.full(len(self) + 1, -np.inf)
        np.maximum.at(out, self._label, tops)
        return out[1:]

    def at_least(self, voxels: float) -> Components:
        """Those of at least so many voxels; ids stay."""
        keep = self.voxels >= voxels
        if keep.all():
            return self
        new = np.zeros(len(self) + 1, np.int32)
        new[1:][keep] = np.arange(1, keep.sum() + 1)
        return Components(
            self.ids[keep], self.voxels[keep], self.low[keep], self.high[keep], self.centres[keep],
            self.shape, self._runs, new[self._label], self.reverse,
        )  # fmt: skip


def full_connectivity(axes: int) -> int:
    """All neighbours: 8 in 2D, 26 in 3D."""
    return NEIGHBOURS[axes][-1]


def checked_connectivity(connectivity: int | None, axes: int) -> int:
    """The number of neighbours, or all of them.

    Raises
    ------
    SettingsError
        If it is none of an image of so many axes.
    """
    if connectivity is None:
        return full_connectivity(axes)
    if connectivity not in NEIGHBOURS[axes]:
        allowed = " or ".join(map(str, NEIGHBOURS[axes]))
        raise SettingsError(
            f"Lesions of {axes} axes can't have {connectivity} neighbours.",
            got=connectivity,
            expected=allowed,
            remedy="the largest of these counts corners, the smallest only faces",
        )
    return connectivity


def components(
    mask: ArrayLike, connectivity: int | None = None, *, instances: bool = False, reverse: bool | None = None
) -> Components:
    """Connected components of a mask.

    Parameters
    ----------
    mask : array of 1 to 3 axes
        Booleans, or integers with one value beside 0, the foreground.
    connectivity : int, optional
        Neighbours of a voxel: 4 or 8 in 2D, 6, 18 or 26 in 3D. All by default.
    instances : bool
        The array holds integers that say which instance a voxel is of; they are taken as they are,
        connected or not.
    reverse : bool, optional
        Look at the axes in reverse order. By default where memory lies that way; two masks that are to be
        compared need the same.

    Raises
    ------
    GeometryError
        If it has no axis, or more than three.
    LabelError
        If it is no mask, or no map of instances.
    SettingsError
        If the connectivity is none of such an image.

    Notes
    -----
    Runs of foreground are united by a forest of disjoint sets (Rosenfeld and Pfaltz, 1966; He, Chao and
    Suzuki, 2008): the time is that of one look at the voxels, and grows with the number of runs.

    Examples
    --------
    >>> found = components([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
    >>> found.voxels.tolist(), len(components([[1, 0], [0, 1]], connectivity=4))
    ([3, 1], 2)
    """
    array = as_array(mask, "mask")
    if not 1 <= array.ndim <= 3:
        raise GeometryError(
            "Lesions need an image of 1 to 3 axes.",
            got=array.shape,
            remedy="leave the channel axis out: mask[0]",
        )
    neighbours = checked_connectivity(connectivity, array.ndim)
    if reverse is None:
        reverse = lies_reversed(array)
    stored = np.ascontiguousarray(array.T if reverse else array)
    stored = stored.reshape((1,) * (3 - stored.ndim) + stored.shape)
    if instances:
        return _instances(stored, array.shape, reverse)
    return _connected(as_mask(stored, "mask"), array.shape, reverse, neighbours)


def lies_reversed(array: Array) -> bool:
    """Whether the last axis is the slowest in memory."""
    return array.flags.f_contiguous and not array.flags.c_contiguous


def _connected(stored: Array, shape: tuple[int, ...], reverse: bool, neighbours: int) -> Components:
    from truevox.kernels.components import REACH, find_runs, unite

    runs = find_runs(stored)
    # One axis has no neighbouring rows, so that any reach does.
    label, count = unite(runs, stored.shape, neighbours if neighbours in REACH else 26)
    return _measured(runs, label, np.arange(1, count + 1), stored.shape, shape, reverse, renumber=reverse)


def _instances(stored: Array, shape: tuple[int, ...], reverse: bool) -> Components:
    if stored.dtype != bool and stored.dtype.kind not in "iu":
        raise LabelError(
            "A map of instances holds whole numbers.",
            got=str(stored.dtype),
            expected="integers, 0 outside",
            remedy="convert it by .astype(int), or threshold it to a mask",
        )
    from truevox.kernels.components import value_runs

    small = stored.dtype.itemsize <= 2 or stored.dtype == np.int32
    stored = stored.astype(np.int32 if small else np.int64, copy=False)
    runs, values = value_runs(stored)
    ids, place = np.unique(values, return_inverse=True)
    return _measured(runs, (place + 1).astype(np.int32), ids, stored.shape, shape, reverse, renumber=False)


def _measured(
    runs: Runs,
    label: Array,
    ids: Array,
    stored: tuple[int, ...],
    shape: tuple[int, ...],
    reverse: bool,
    *,
    renumber: bool,
) -> Components:
    from truevox.kernels.components import statistics

    voxels, low, high, sums, seen = statistics(runs, label, len(ids), stored)
    if renumber:  # ids do not depend on the order of memory
        order = np.argsort(seen, kind="stable")
        new = np.empty(len(ids) + 1, np.int32)
        new[0], new[1:][order] = 0, np.arange(1, len(ids) + 1)
        label = new[label]
        voxels, low, high, sums = voxels[order], low[order], high[order], sums[order]
    axes = len(shape)

    def own(values: Array) -> Array:
        kept = values[:, 3 - axes :]
        return np.ascontiguousarray(kept[:, ::-1] if reverse else kept)

    centres = own(sums) / voxels[:, None]
    return Components(
        ids.astype(np.int64), voxels, own(low), own(high), centres, tuple(shape), runs, label, reverse
    )


@dataclass(frozen=True, eq=False)
class Contingency:
    """Which components of two masks share voxels.

    Parameters
    ----------
    reference, prediction : arrays (P,) of int64
        Places (from 0) of the components that touch, sorted by reference, then prediction.
    voxels : array (P,) of int64
        How many voxels they share.
    """

    reference: Array
    prediction: Array
    voxels: Array

    def __len__(self) -> int:
        return len(self.voxels)


def contingency(reference: Components, prediction: Components) -> Contingency:
    """Overlaps of the components of two masks, in time that grows with the number of runs.

    Raises
    ------
    GeometryError
        If the images have different shapes.

    Examples
    --------
    >>> both = contingency(components([1, 1, 0, 1]), components([0, 1, 1, 1]))
    >>> both.reference.tolist(), both.prediction.tolist(), both.voxels.tolist()
    ([0, 1], [0, 0], [1, 1])
    """
    if reference.shape != prediction.shape or reference.reverse != prediction.reverse:
        raise GeometryError(
            "Prediction and reference have different shapes.",
            got=prediction.shape,
            expected=reference.shape,
            remedy="bring both masks to one grid before their lesions are found",
        )
    from truevox.kernels.components import overlaps

    one, two, voxels = overlaps(reference._runs, reference._label, prediction._runs, prediction._label)
    if not len(voxels):
        nothing = np.zeros(0, np.int64)
        return Contingency(nothing, nothing, nothing)
    key = (one.astype(np.int64) - 1) * len(prediction) + (two - 1)
    order = np.argsort(key)  # sums do not depend on the order within a pair
    key, voxels = key[order], voxels[order]
    begin = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    r, p = np.divmod(key[begin], len(prediction))
    return Contingency(r, p, np.add.reduceat(voxels, begin))
