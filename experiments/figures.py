"""How the figures of the experiments look; colours of Okabe and Ito (2008), which colour-blind readers tell apart."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from truevox.files import atomic_path

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "SKY", "VERMILION", "tidy", "write"]

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "0.45"


def tidy(axis: Axes, along: str = "both") -> None:
    """No frame at top and right, and a faint grid behind the data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92", linewidth=0.8, axis=along)
    axis.set_axisbelow(True)


def write(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{name}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
