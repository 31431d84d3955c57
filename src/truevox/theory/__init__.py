"""What a loss's optimum does to a volume: plain arrays, no torch."""

from truevox.theory.bounds import (
    HammingGap,
    SimilarityBounds,
    VolumeBounds,
    calibrated_surrogate,
    dice_to_jaccard,
    hamming_gap,
    jaccard_to_dice,
    similarity_bounds,
    volume_bounds,
)
from truevox.theory.criteria import (
    Criterion,
    Dice,
    DicePlusPlus,
    DiceSemimetric,
    Jaccard,
    JaccardMetric,
    SquaredDice,
    Tversky,
)
from truevox.theory.fields import DiceField, dice_field, empty_push
from truevox.theory.flip import flip_probability
from truevox.theory.independent import IndependentLaw
from truevox.theory.laws import AverageLaw, Law, ListedLaw, NestedLaw, exclusive
from truevox.theory.maps import LabelMaps, from_maps
from truevox.theory.optimum import Optimum, local_optimum, optimum
from truevox.theory.pointwise import Brier, CrossEntropy, Focal
from truevox.theory.raters import RaterVolume, rater_volumes
from truevox.theory.risk import criterion_of, expected_score, risk
from truevox.theory.voxels import MarginalThreshold, RankDice, marginal_threshold, rank_dice

__all__ = [
    "AverageLaw",
    "Brier",
    "Criterion",
    "CrossEntropy",
    "Dice",
    "DiceField",
    "DicePlusPlus",
    "DiceSemimetric",
    "Focal",
    "HammingGap",
    "IndependentLaw",
    "Jaccard",
    "JaccardMetric",
    "LabelMaps",
    "Law",
    "ListedLaw",
    "MarginalThreshold",
    "NestedLaw",
    "Optimum",
    "RankDice",
    "RaterVolume",
    "SimilarityBounds",
    "SquaredDice",
    "Tversky",
    "VolumeBounds",
    "calibrated_surrogate",
    "criterion_of",
    "dice_field",
    "dice_to_jaccard",
    "empty_push",
    "exclusive",
    "expected_score",
    "flip_probability",
    "from_maps",
    "hamming_gap",
    "jaccard_to_dice",
    "local_optimum",
    "marginal_threshold",
    "optimum",
    "rank_dice",
    "rater_volumes",
    "risk",
    "similarity_bounds",
    "volume_bounds",
]
