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

# Lesions
from truevox.metrics.lesions import LesionMatch, LesionPair, match_lesions

__all__ += ["LesionMatch", "LesionPair", "match_lesions"]
