"""Differences between the volumes of two masks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from truevox.errors import GeometryError
from truevox.metrics.score import Score, masks

__all__ = ["absolute_volume_difference_ml", "volume_difference_ml"]


def volume_difference_ml(prediction: ArrayLike, reference: ArrayLike, voxel_volume_ml: float) -> Score:
    """Volume of the prediction minus volume of the reference, in ml: positive is too large.

    Parameters
    ----------
    prediction, reference : arrays of one shape (any number of axes)
        Booleans, or integers where all that is not 0 is foreground.
    voxel_volume_ml : float
        Volume of one voxel in ml (:attr:`truevox.Grid.voxel_volume_ml`).

    Returns
    -------
    Score
        Unit ``"ml"``, id ``"volume_difference/threshold"``: of decided masks, not of probabilities.

    Raises
    ------
    GeometryError
        If the shapes differ, or the voxel volume is not positive.
    LabelError
        If an array is neither boolean nor integer.

    Notes
    -----
    Always defined (status ``ok``): an empty mask has volume 0.

    Examples
    --------
    >>> volume_difference_ml([1, 1, 0, 0], [1, 0, 0, 0], voxel_volume_ml=0.5)
    Score(value=0.5, status='ok', unit='ml', id='volume_difference/threshold')
    """
    return Score(
        _difference(prediction, reference, voxel_volume_ml), "ok", "ml", "volume_difference/threshold"
    )


def absolute_volume_difference_ml(
    prediction: ArrayLike, reference: ArrayLike, voxel_volume_ml: float
) -> Score:
    """Size of the difference between the volumes of two masks, in ml.

    See :func:`volume_difference_ml` for the parameters, errors and notes. The id is
    ``"absolute_volume_difference/threshold"``.

    Examples
    --------
    >>> absolute_volume_difference_ml([1, 0, 0, 0], [1, 1, 1, 0], voxel_volume_ml=0.5).value
    1.0
    """
    size = abs(_difference(prediction, reference, voxel_volume_ml))
    return Score(size, "ok", "ml", "absolute_volume_difference/threshold")


def _difference(prediction: ArrayLike, reference: ArrayLike, voxel_volume_ml: float) -> float:
    p, r = masks(prediction, reference)
    if not (math.isfinite(voxel_volume_ml) and voxel_volume_ml > 0):
        raise GeometryError("The volume of a voxel is positive, in ml.", got=voxel_volume_ml)
    return float((int(np.count_nonzero(p)) - int(np.count_nonzero(r))) * voxel_volume_ml)
