"""Where each value of a label map lies, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["label_boxes", "label_boxes_numpy"]

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def _boxes(labels, values, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Widens the boxes (values, 3, 2) of sorted values by where they are in a map of three axes."""
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            row = labels[i, j]
            k = 0
            while k < row.size:
                value, start = row[k], k
                while k < row.size and row[k] == value:
                    k += 1
                if value == 0:
                    continue
                n = np.searchsorted(values, value)
                if n == values.size or values[n] != value:
                    continue
                box = out[n]
                box[0, 0], box[0, 1] = min(box[0, 0], i), max(box[0, 1], i + 1)
                box[1, 0], box[1, 1] = min(box[1, 0], j), max(box[1, 1], j + 1)
                box[2, 0], box[2, 1] = min(box[2, 0], start), max(box[2, 1], k)


def label_boxes(labels: Array, values: Array) -> Array:
    """First and behind the last index of each value, along each axis.

    Parameters
    ----------
    labels : (I, J, K) integer array
        0 is background.
    values : (N,) sorted array of the same type

    Returns
    -------
    (N, 3, 2) int64 array
        Of values that are nowhere, the first index is behind the last one.
    """
    out = np.empty((values.size, 3, 2), np.int64)
    out[..., 0], out[..., 1] = np.array(labels.shape), 0
    _boxes(labels, values, out)
    return out


def label_boxes_numpy(labels: Array, values: Array) -> Array:
    """Plain twin of :func:`label_boxes`."""
    out = np.empty((values.size, 3, 2), np.int64)
    out[..., 0], out[..., 1] = np.array(labels.shape), 0
    for n, value in enumerate(values):
        where = np.argwhere((labels == value) & (labels != 0))
        if where.size:
            out[n] = np.stack([where.min(0), where.max(0) + 1], 1)
    return out
