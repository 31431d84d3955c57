"""Metrics: arrays and voxel sizes only, no torch."""

from truevox.metrics import overlap as _overlap  # registers its metrics
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, definition, families, register
from truevox.metrics.scoring import evaluate
from truevox.metrics.value import Empty, Status, Value, Values

__all__ = [
    "Definition", "Empty", "Family", "Pair", "Status", "Value", "Values", "definition", "evaluate", "families",
    "register",
]  # fmt: skip

# Lesions
from truevox.metrics.lesions import LesionMatch, LesionPair, match_lesions

__all__ += ["LesionMatch", "LesionPair", "match_lesions"]
