"""Losses on logits or probabilities: arrays in, one number out; they know nothing of the pipeline."""

from truevox.losses.base import Loss, LossSum, Scheduled, SumLoss, terms_of
from truevox.losses.compound import GeneralisedDice, UnifiedFocal
from truevox.losses.lovasz import Lovasz
from truevox.losses.overlap import DicePlusPlus, FocalTversky, SoftDice, SoftJaccard, SquaredDice, Tversky
from truevox.losses.partial import LeafDice, MarginalDice
from truevox.losses.pixel import Brier, CrossEntropy, Focal
from truevox.losses.reductions import expected_volumes
from truevox.losses.semimetric import DiceSemimetric, JaccardMetric
from truevox.losses.shape import Boundary, SoftClDice

__all__ = [
    "Boundary",
    "Brier",
    "CrossEntropy",
    "DicePlusPlus",
    "DiceSemimetric",
    "Focal",
    "FocalTversky",
    "GeneralisedDice",
    "JaccardMetric",
    "LeafDice",
    "Loss",
    "LossSum",
    "Lovasz",
    "MarginalDice",
    "Scheduled",
    "SoftClDice",
    "SoftDice",
    "SoftJaccard",
    "SquaredDice",
    "SumLoss",
    "Tversky",
    "UnifiedFocal",
    "expected_volumes",
    "terms_of",
]
