"""Average distance between the surfaces of matched lesions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.metrics.components import Components

__all__ = ["surface_distances"]

Array = NDArray[Any]
MOST_PRODUCTS = 250_000
"""Up to so many products of border voxels, all distances are faster than a tree."""
DENSE = 8
"""Where a box holds fewer voxels than this per border voxel, a distance map is faster than a tree."""


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
    from truevox.kernels.nearest import nearest_sums

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
    low = np.minimum(a.min(0), b.min(0))
    a, b = a - low, b - low
    box = np.maximum(a.max(0), b.max(0)) + 1
    if np.prod(box, dtype=np.float64) < DENSE * (len(a) + len(b)):
        return _by_map(a, b, box, size), _by_map(b, a, box, size)
    place_a, place_b = np.ravel_multi_index(a.T, tuple(box)), np.ravel_multi_index(b.T, tuple(box))
    only_a = a[~np.isin(place_a, place_b, assume_unique=True)]  # those of both are 0 apart
    only_b = b[~np.isin(place_b, place_a, assume_unique=True)]
    return _by_tree(only_a * size, b * size), _by_tree(only_b * size, a * size)


def _by_tree(points: Array, others: Array) -> float:
    from scipy.spatial import KDTree

    if not len(points):
        return 0.0
    return float(KDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0].sum())


def _by_map(points: Array, others: Array, box: Array, size: Array) -> float:
    from scipy.ndimage import distance_transform_edt

    away = np.ones(box, bool)
    away[tuple(others.T)] = False
    return float(distance_transform_edt(away, size)[tuple(points.T)].sum())  # type: ignore[index]
