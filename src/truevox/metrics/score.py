"""Score: a number with its unit, its definition and its status; and what all metrics ask of masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, LabelError

__all__ = ["Score", "Status", "masks"]

Status = Literal["ok", "undefined", "missed", "spurious"]


@dataclass(frozen=True)
class Score:
    """One number of one case.

    Parameters
    ----------
    value : float
        NaN where the status is ``"undefined"``.
    status : {"ok", "undefined", "missed", "spurious"}
        ``undefined``: both masks are empty; ``missed``: only the prediction is; ``spurious``: only the
        reference is.
    unit : str
        ``"1"`` for ratios, ``"ml"`` for volumes.
    id : str
        The definition, e.g. ``"dice/voxel"``.

    Examples
    --------
    >>> float(Score(0.5, "ok", "1", "dice/voxel"))
    0.5
    """

    value: float
    status: Status
    unit: str
    id: str

    def __float__(self) -> float:
        return self.value


def masks(prediction: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two masks of one shape as booleans, without a copy where they are already.

    Raises
    ------
    GeometryError
        If the shapes differ.
    LabelError
        If one holds floats: a probability is no mask until something was decided.
    """
    first, second = np.asarray(prediction), np.asarray(reference)
    if first.shape != second.shape:
        raise GeometryError(
            "Prediction and reference have different shapes.",
            got=first.shape,
            expected=second.shape,
            remedy="bring both to the grid of the reference",
        )
    return _mask(first, "prediction"), _mask(second, "reference")


def _mask(array: NDArray, name: str) -> NDArray[np.bool_]:
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
