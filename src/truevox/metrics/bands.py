"""Boundary IoU: overlap of the parts of two masks that lie near their own borders.

References
----------
Cheng et al. (2021), Boundary IoU: improving object-centric image segmentation evaluation.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from truevox.metrics.overlap import ratio, worst
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, number, register, words
from truevox.metrics.surface import SLACK

__all__ = ["depth_squares"]


def depth_squares(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Square of each voxel's distance to the nearest background voxel; the image ends in background.

    Returns
    -------
    (array of the mask's shape, unit)
        In squares of ``unit`` mm, the least of the spacing.
    """
    from truevox.kernels.transform import transform

    missing = 3 - mask.ndim
    unit = float(spacing.min())
    field = np.where(np.pad(mask, 1), np.float32(np.inf), np.float32(0))
    weights = np.array([1.0] * missing + list((spacing / unit) ** 2), np.float32)
    transform(field.reshape((1,) * missing + field.shape), weights)
    return field[(slice(1, -1),) * mask.ndim], unit


def _boundary_iou(pair: Pair, width: float) -> float:
    bands = []
    for mask in pair.cut:
        squares, unit = depth_squares(mask, pair.spacing)
        bands.append(mask & (squares <= (width / unit * SLACK) ** 2))
    a, b = bands
    return ratio(int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b)))


def _of(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    width = number("boundary_iou", parameter, "boundary_iou@2mm", unit="mm")
    words("boundary_iou", variants, ("band",))
    name = f"boundary_iou@{width:.12g}mm"
    summary = "Jaccard index of the voxels of each mask that are at most so far from its own background"
    return Definition(
        f"{name}/band", name, "1", 0, 1, "higher", partial(_boundary_iou, width=width), 1, worst, worst,
        summary=summary,
    )  # fmt: skip


register(Family("boundary_iou", _of, "boundary_iou@<width>mm", "Boundary IoU"))
