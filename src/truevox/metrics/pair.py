"""Pair: prediction and reference of one label, and all that several metrics need of them, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError
from truevox.metrics.masks import as_array, as_mask, as_masks

__all__ = ["Counts", "Layout", "Pair"]


class Counts(NamedTuple):
    """Voxels by what both masks say of them."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True)
class Layout:
    """Masks as compiled code reads them: flat bytes, and three axes of which the last one lies together.

    Parameters
    ----------
    prediction, reference : (N,) uint8 arrays of 0 and 1
    shape : (int, int, int)
        In the order of memory; axes that the masks do not have come first, with length 1.
    spacing : (float, float, float)
        In mm, in that order; 1 for axes that are not there.
    ndim : int
        How many of the axes, counted from the last, the masks have.
    turned : bool
        Whether memory has the axes of the masks in reverse order (Fortran's).
    """

    prediction: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    ndim: int
    turned: bool


class Pair:
    """Two masks on one grid.

    Parameters
    ----------
    prediction, reference : arrays of one shape, 1 to 3 axes
        Booleans, or integers with one value beside 0, the foreground.
    spacing : sequence of float
        Size of a voxel in mm, one number per axis, in the order of the axes.
    score : array of that shape, optional
        Probabilities, for metrics of probabilities and detections.
    field : array of bool of that shape, optional
        Where voxels count at all; elsewhere both masks are empty.
    whole : sequence of int, optional
        Shape of the image that the arrays were cut from, if all foreground is in them; default: their own.
        The diagonal is that of the whole.
    voxels : int, optional
        How many voxels of the whole count; default: all, or those of the field.

    Attributes
    ----------
    cache : dict
        Where families of metrics keep what several of them need, under keys of their own.

    Raises
    ------
    GeometryError
        If shapes differ, or the spacing does not fit.
    LabelError
        If an array is no mask.

    Notes
    -----
    What is derived (counts, boxes, distances, lesions) is computed on first use and kept. Arrays in Fortran
    order are read in the order of memory: they take no longer than others.

    Examples
    --------
    >>> pair = Pair([[0, 1, 1, 0]], [[0, 0, 1, 1]], (1, 1))
    >>> pair.counts
    Counts(tp=1, fp=1, fn=1, tn=1)
    """

    def __init__(
        self,
        prediction: ArrayLike,
        reference: ArrayLike,
        spacing: ArrayLike,
        score: ArrayLike | None = None,
        field: ArrayLike | None = None,
        *,
        whole: tuple[int, ...] | None = None,
        voxels: int | None = None,
    ) -> None:
        p, r = as_array(prediction, "prediction"), as_array(reference, "reference")
        if p.shape != r.shape:
            raise GeometryError(
                "Prediction and reference have different shapes.",
                got=p.shape,
                expected=r.shape,
                remedy="bring both to the grid of the reference",
            )
        if not 1 <= p.ndim <= 3 or not p.size:
            raise GeometryError(
                "Masks have 1 to 3 axes, and at least one voxel.",
                got=p.shape,
                remedy="of an array with channels, hand over one: mask[0]",
            )
        self.prediction, self.reference = as_masks((p, r), ("prediction", "reference"))
        self.spacing = check_spacing(spacing, p.ndim)
        self.score = None if score is None else _same_shape(as_array(score, "score"), p.shape, "score")
        self.field: NDArray[np.bool_] | None = None
        if field is not None:
            self.field = as_mask(_same_shape(np.asarray(field), p.shape, "field"), "field")
            self.prediction, self.reference = self.prediction & self.field, self.reference & self.field
        self.whole: tuple[int, ...] = p.shape if whole is None else tuple(whole)
        self._voxels = voxels
        self.cache: dict[Any, Any] = {}

    @cached_property
    def layout(self) -> Layout:
        """The masks in the order of memory."""
        p, r = self.prediction, self.reference
        turned = p.flags.f_contiguous and not p.flags.c_contiguous
        size = self.spacing[::-1] if turned else self.spacing
        flat = [np.ascontiguousarray(one.T if turned else one).view(np.uint8) for one in (p, r)]
        missing = 3 - p.ndim
        return Layout(
            flat[0].ravel(),
            flat[1].ravel(),
            (1,) * missing + flat[0].shape,
            (1.0,) * missing + tuple(size.tolist()),
            p.ndim,
            turned,
        )

    @cached_property
    def _survey(self) -> tuple[int, int, int, NDArray[np.int32]]:
        from truevox.kernels.borders import survey

        return survey(self.layout.prediction, self.layout.reference, self.layout.shape[2])

    @property
    def spans(self) -> NDArray[np.int32]:
        """Where in each row of the layout the union begins and ends (rows, 2)."""
        return self._survey[3]

    @cached_property
    def counts(self) -> Counts:
        """True and false positives and negatives."""
        both, p, r, _ = self._survey
        return Counts(both, p - both, r - both, self.voxels - p - r + both)

    @cached_property
    def voxels(self) -> int:
        """How many voxels count."""
        if self._voxels is not None:
            return self._voxels
        return int(np.prod(self.whole) if self.field is None else np.count_nonzero(self.field))

    @cached_property
    def bounds(self) -> NDArray[np.int64] | None:
        """First and behind the last voxel of the union along the layout's axes (3, 2); None if empty."""
        rows = self.spans.reshape(*self.layout.shape[:2], 2)
        held = rows[..., 1] > 0
        if not held.any():
            return None
        first, second = np.flatnonzero(held.any(1)), np.flatnonzero(held.any(0))
        third = rows[held]
        return np.array(
            [[first[0], first[-1] + 1], [second[0], second[-1] + 1], [third[:, 0].min(), third[:, 1].max()]]
        )

    @cached_property
    def box(self) -> tuple[slice, ...] | None:
        """Slices of the arrays around the union and a voxel more, inside the image; None if it is empty."""
        if self.bounds is None:
            return None
        own = self.bounds[3 - self.layout.ndim :]
        own = own[::-1] if self.layout.turned else own
        return tuple(
            slice(max(int(low) - 1, 0), min(int(high) + 1, n))
            for (low, high), n in zip(own, self.prediction.shape, strict=True)
        )

    @cached_property
    def cut(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Both masks inside the box; one voxel without foreground if they are empty."""
        box = self.box or (slice(0, 1),) * self.prediction.ndim
        return self.prediction[box], self.reference[box]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml (in 2D as if 1 mm thick)."""
        return float(np.prod(self.spacing)) / 1000

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the image: the worst distance."""
        return float(np.linalg.norm(np.array(self.whole) * self.spacing))

    @property
    def situation(self) -> str:
        """``"ok"``, ``"undefined"`` (both empty), ``"missed"`` or ``"spurious"``."""
        tp, fp, fn, _ = self.counts
        p, r = tp + fp > 0, tp + fn > 0
        return {(True, True): "ok", (False, False): "undefined", (False, True): "missed"}.get(
            (p, r), "spurious"
        )


def check_spacing(spacing: ArrayLike, ndim: int) -> NDArray[np.float64]:
    """Voxel sizes as floats.

    Raises
    ------
    GeometryError
        If they are not as many positive numbers as there are axes.
    """
    size = np.asarray(spacing, dtype=np.float64)
    if size.shape != (ndim,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise GeometryError(
            "The spacing does not fit the masks.",
            got=size.tolist(),
            expected=f"{ndim} positive numbers in mm, in the order of the axes",
            remedy="pass grid.spacing of the image, with one number per axis of the masks",
        )
    return size


def _same_shape(array: NDArray, shape: tuple[int, ...], name: str) -> NDArray:
    if array.shape != shape:
        raise GeometryError(
            f"The {name} and the masks have different shapes.",
            got=array.shape,
            expected=shape,
            remedy=f"bring the {name} to the grid of the masks, and leave its channel axis out",
        )
    return array
