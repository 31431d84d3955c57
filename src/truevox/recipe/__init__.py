"""Recipe: a short YAML file that says what to learn, checked key by key, and the graph it stands for."""

from truevox.recipe.losses import Losses
from truevox.recipe.planning import plan
from truevox.recipe.recipe import Recipe
from truevox.recipe.sections import Augment, LabelTable, Network, Normalise, Patch, Predict, Train

__all__ = [
    "Augment",
    "LabelTable",
    "Losses",
    "Network",
    "Normalise",
    "Patch",
    "Predict",
    "Recipe",
    "Train",
    "plan",
]
