"""Model: a graph with a loss: fit, predict, save, describe."""

from truevox.model.model import Model

__all__ = ["Model"]
