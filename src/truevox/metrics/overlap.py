"""Overlap of two masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from truevox.metrics.score import Score, masks

__all__ = ["dice"]


def dice(prediction: ArrayLike, reference: ArrayLike) -> Score:
    """Dice coefficient: ``2 |P and R| / (|P| + |R|)``, in voxels.

    Parameters
    ----------
    prediction, reference : arrays of one shape (any number of axes)
        Booleans, or integers where all that is not 0 is foreground.

    Returns
    -------
    Score
        In [0, 1], unit ``"1"``, id ``"dice/voxel"``.

    Raises
    ------
    GeometryError
        If the shapes differ.
    LabelError
        If an array is neither boolean nor integer.

    Notes
    -----
    Both empty: NaN, ``undefined``. Only the prediction empty: 0, ``missed``. Only the reference empty:
    0, ``spurious``.

    References
    ----------
    Dice (1945), Measures of the amount of ecologic association between species.
    Sorensen (1948), A method of establishing groups of equal amplitude in plant sociology.

    Examples
    --------
    >>> dice([[1, 1, 0, 0]], [[0, 1, 1, 0]])
    Score(value=0.5, status='ok', unit='1', id='dice/voxel')
    >>> dice([0, 0], [0, 0])
    Score(value=nan, status='undefined', unit='1', id='dice/voxel')
    """
    p, r = masks(prediction, reference)
    sizes = int(np.count_nonzero(p)), int(np.count_nonzero(r))
    if sizes == (0, 0):
        return Score(float("nan"), "undefined", "1", "dice/voxel")
    if 0 in sizes:
        return Score(0.0, "missed" if sizes[0] == 0 else "spurious", "1", "dice/voxel")
    both = int(np.count_nonzero(p & r))
    return Score(2.0 * both / (sizes[0] + sizes[1]), "ok", "1", "dice/voxel")
