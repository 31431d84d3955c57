"""Compiled loops, each with its plain NumPy twin, which is the oracle of its test."""

from truevox.kernels.sample import sample_linear, sample_linear_numpy, sample_nearest, sample_nearest_numpy
from truevox.kernels.warp import warp_linear, warp_linear_numpy, warp_nearest, warp_nearest_numpy

__all__ = [
    "sample_linear",
    "sample_linear_numpy",
    "sample_nearest",
    "sample_nearest_numpy",
    "warp_linear",
    "warp_linear_numpy",
    "warp_nearest",
    "warp_nearest_numpy",
]
