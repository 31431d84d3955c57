"""Compiled loops, each with its plain NumPy twin, which is the oracle of its test."""

from truevox.kernels.sample import sample_linear, sample_linear_numpy, sample_nearest, sample_nearest_numpy

__all__ = ["sample_linear", "sample_linear_numpy", "sample_nearest", "sample_nearest_numpy"]
