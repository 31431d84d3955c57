"""Average distance between the surfaces of matched lesions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.metrics.components import Components

__all__ = ["surface_distances"]

Array = NDArray[Any]
MOST_PRODUCTS = 250_000
"""Up to so many products of border voxels, all distances are faster than a search."""


def surface_distances(
    reference: Components, prediction: Components, pairs: Array, spacing: Array
) -> NDArray[np.float64]:
    """ASSD in mm of pairs of lesions: mean over the border voxels of both of the distance to the other's.

    Parameters
    ----------
    reference, prediction : Components
        Of one image.
    pairs : array (P, 2) of int64
        Places of lesions.
    spacing : array (axes,)
        Millimetres per voxel.

    Returns
    -------
    array (P,)

    Notes
    -----
    The border of a lesion is what a face neighbour outside of it touches; outside of the image is outside.
    """
    if not len(pairs):
        return np.zeros(0)
    from truevox.kernels.nearest_sums import nearest_sums

    size = np.asarray(spacing, np.float64)
    size = np.concatenate([np.ones(3 - len(size)), size[::-1] if reference.reverse else size])
    (a, begin_a), (b, begin_b) = reference.border, prediction.border
    sums = nearest_sums(
        a, begin_a, b, begin_b, np.ascontiguousarray(pairs, np.int64), size.astype(np.float32), MOST_PRODUCTS
    )
    for k in np.flatnonzero(np.isnan(sums[:, 0])):
        r, p = pairs[k]
        sums[k] = _large(a[begin_a[r] : begin_a[r + 1]], b[begin_b[p] : begin_b[p + 1]], size)
    points = np.diff(begin_a)[pairs[:, 0]] + np.diff(begin_b)[pairs[:, 1]]
    return sums.sum(1) / points


def _large(a: Array, b: Array, size: Array) -> tuple[float, float]:
    """Sums of distances of points to the nearest of the other side."""
    from truevox.kernels.nearest import nearest

    low = np.minimum(a.min(0), b.min(0))
    shape = np.maximum(a.max(0), b.max(0)) + 1 - low
    box, spacing = tuple(shape.tolist()), tuple(size.tolist())
    one, two = (np.ravel_multi_index((side - low).T, box) for side in (a, b))
    only_one = np.setdiff1d(one, two, assume_unique=True)  # those of both are 0 apart
    only_two = np.setdiff1d(two, one, assume_unique=True)
    return float(nearest(only_one, two, box, spacing).sum()), float(
        nearest(only_two, one, box, spacing).sum()
    )
