"""Compiled loops, each with its plain NumPy twin, which is the oracle of its test."""

import numpy as np

from truevox.kernels.average import average_boxes, average_boxes_numpy, weigh, weigh_numpy
from truevox.kernels.sample import sample_linear, sample_linear_numpy, sample_nearest, sample_nearest_numpy
from truevox.kernels.warp import warp_linear, warp_linear_numpy, warp_nearest, warp_nearest_numpy

__all__ = [
    "average_boxes",
    "average_boxes_numpy",
    "link",
    "sample_linear",
    "sample_linear_numpy",
    "sample_nearest",
    "sample_nearest_numpy",
    "warp_linear",
    "warp_linear_numpy",
    "warp_nearest",
    "warp_nearest_numpy",
    "weigh",
    "weigh_numpy",
]


def link() -> None:
    """Load compiled code, and what numba needs for it, now: 60 MiB that processes forked later share.

    Examples
    --------
    >>> link()
    """
    one = np.zeros((1, 1, 1, 1), np.float32)
    sample_linear(one, np.eye(3, 4), (1, 1, 1), one[0, 0, 0])
