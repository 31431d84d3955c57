"""Pair: prediction and reference of one label, and all that several metrics need of them, computed once."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, LabelError

__all__ = ["Counts", "Pair"]


class Counts(NamedTuple):
    """Voxels by what both masks say of them."""

    tp: int
    fp: int
    fn: int
    tn: int


class Pair:
    """Two masks on one grid.

    Parameters
    ----------
    prediction, reference : arrays of one shape, 1 to 3 axes
        Booleans, or integers where all that is not 0 is foreground.
    spacing : sequence of float
        Size of a voxel in mm, one number per axis, in the order of the axes.
    score : array of that shape, optional
        Probabilities, for metrics of probabilities and detections.
    field : array of bool of that shape, optional
        Where voxels count at all; elsewhere both masks are empty.

    Raises
    ------
    GeometryError
        If shapes differ, or the spacing does not fit.
    LabelError
        If an array is no mask.

    Notes
    -----
    What is derived (counts, boxes, distances, lesions) is computed on first use and kept. Arrays in Fortran
    order are looked at in reverse order of their axes, spacing too: no metric depends on it.
    """

    def __init__(
        self,
        prediction: ArrayLike,
        reference: ArrayLike,
        spacing: ArrayLike,
        score: ArrayLike | None = None,
        field: ArrayLike | None = None,
    ) -> None:
        p, r = np.asarray(prediction), np.asarray(reference)
        if p.shape != r.shape:
            raise GeometryError(
                "Prediction and reference have different shapes.",
                got=p.shape,
                expected=r.shape,
                remedy="bring both to the grid of the reference",
            )
        size = np.asarray(spacing, dtype=np.float64)
        if size.shape != (p.ndim,) or not (np.isfinite(size).all() and (size > 0).all()):
            raise GeometryError(
                "The spacing does not fit the masks.",
                got=size.tolist(),
                expected=f"{p.ndim} positive numbers in mm, in the order of the axes",
            )
        self.prediction = as_mask(p, "prediction")
        self.reference = as_mask(r, "reference")
        self.spacing = size
        self.score = None if score is None else np.asarray(score)
        self.cache: dict[object, object] = {}
        if field is not None:
            inside = as_mask(np.asarray(field), "field")
            self.prediction, self.reference = self.prediction & inside, self.reference & inside
            self.field: NDArray[np.bool_] | None = inside
        else:
            self.field = None

    @cached_property
    def counts(self) -> Counts:
        """True and false positives and negatives."""
        both = int(np.count_nonzero(self.prediction & self.reference))
        p, r = int(np.count_nonzero(self.prediction)), int(np.count_nonzero(self.reference))
        total = self.prediction.size if self.field is None else int(np.count_nonzero(self.field))
        return Counts(both, p - both, r - both, total - p - r + both)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml (area in 2D: as if 1 mm thick)."""
        return float(np.prod(self.spacing)) / 1000

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the image: the worst distance."""
        return float(np.linalg.norm(np.array(self.prediction.shape) * self.spacing))

    @property
    def situation(self) -> str:
        """``"ok"``, ``"undefined"`` (both empty), ``"missed"`` or ``"spurious"``."""
        tp, fp, fn, _ = self.counts
        p, r = tp + fp > 0, tp + fn > 0
        return {(True, True): "ok", (False, False): "undefined", (False, True): "missed"}.get(
            (p, r), "spurious"
        )


def as_mask(array: NDArray, name: str) -> NDArray[np.bool_]:
    """A mask as booleans, without a copy where it is already.

    Raises
    ------
    LabelError
        If it holds floats: a probability is no mask until something was decided.
    """
    if array.dtype == bool:
        return array
    if array.dtype.kind in "iu":
        return array != 0
    raise LabelError(
        f"The {name} is not a mask.",
        got=str(array.dtype),
        expected="booleans, or integers that are 0 outside",
        remedy="decide first, e.g. probability > 0.5",
    )
