"""Model: a graph with a loss: fit, predict, save, describe."""

from truevox.model.equivalence import Equivalence
from truevox.model.memory import MemoryPlan
from truevox.model.model import Model

__all__ = ["Equivalence", "MemoryPlan", "Model"]
