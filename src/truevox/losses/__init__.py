"""Losses on logits: arrays in, one number out; they know nothing of the pipeline."""

from truevox.losses.base import Loss, LossSum
from truevox.losses.overlap import SoftDice
from truevox.losses.pixel import CrossEntropy

__all__ = ["CrossEntropy", "Loss", "LossSum", "SoftDice"]
