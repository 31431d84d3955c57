"""Metrics: arrays and voxel sizes only, no torch."""

from truevox.metrics.overlap import dice
from truevox.metrics.score import Score, Status
from truevox.metrics.volume import absolute_volume_difference_ml, volume_difference_ml

__all__ = ["Score", "Status", "absolute_volume_difference_ml", "dice", "volume_difference_ml"]
