"""Metrics: arrays and voxel sizes only, no torch."""

# These register their metrics.
from truevox.metrics import bands as bands
from truevox.metrics import overlap as overlap
from truevox.metrics import skeletons as skeletons
from truevox.metrics import surface as surface
from truevox.metrics import topology as topology
from truevox.metrics import volume as volume
from truevox.metrics.multilabel import evaluate_labels
from truevox.metrics.pair import Counts, Pair
from truevox.metrics.registry import Definition, Family, definition, families, register
from truevox.metrics.scoring import evaluate
from truevox.metrics.surface import advice
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
    "advice",
    "definition",
    "evaluate",
    "evaluate_labels",
    "families",
    "register",
]
