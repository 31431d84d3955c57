"""Metrics: arrays and voxel sizes only, no torch."""

# These register their metrics.
from truevox.metrics import overlap as overlap
from truevox.metrics import volume as volume
from truevox.metrics.pair import Counts, Pair
from truevox.metrics.registry import Definition, Family, definition, families, register
from truevox.metrics.scoring import evaluate
from truevox.metrics.value import Empty, Status, Value, Values

__all__ = [
    "Counts",
    "Definition",
    "Empty",
    "Family",
    "Pair",
    "Status",
    "Value",
    "Values",
    "definition",
    "evaluate",
    "families",
    "register",
]

# Lesions, probabilities, raters
from truevox.metrics import lesion_scores as lesion_scores  # registers its metrics
from truevox.metrics import probability_scores as probability_scores
from truevox.metrics.components import Components
from truevox.metrics.consensus import Staple, majority, staple
from truevox.metrics.detection import (
    Detections,
    Froc,
    SizeBin,
    by_size,
    detections,
    froc,
    lesion_average_precision,
)
from truevox.metrics.lesions import LesionMatch, LesionPair, match_lesions
from truevox.metrics.probability import (
    Calibration,
    auroc,
    average_precision,
    band,
    brier,
    calibration,
    classwise_ece,
    nll,
    pool,
    soft_dice,
)
from truevox.metrics.raters import (
    RaterRow,
    cohen_kappa,
    energy_distance,
    fleiss_kappa,
    pairwise,
    rater_table,
)

__all__ += [
    "Calibration", "Components", "Detections", "Froc", "LesionMatch", "LesionPair", "RaterRow", "SizeBin",
    "Staple", "auroc", "average_precision", "band", "brier", "by_size", "calibration", "classwise_ece",
    "cohen_kappa", "detections", "energy_distance", "fleiss_kappa", "froc", "lesion_average_precision",
    "majority", "match_lesions", "nll", "pairwise", "pool", "rater_table", "soft_dice", "staple",
]  # fmt: skip
