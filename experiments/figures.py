"""How the figures of the experiments look; colours of Okabe and Ito (2008), which all readers tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from truevox.files import atomic_path

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "SKY", "VERMILION", "apart", "tidy", "write"]

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "0.45"


def apart(heights: Mapping[str, float], least: float, highest: float = np.inf) -> dict[str, float]:
    """Heights for labels, moved so that none is nearer to the next than ``least``, or above ``highest``."""
    found: dict[str, float] = {}
    for name in sorted(heights, key=lambda key: heights[key]):
        found[name] = max(heights[name], max(found.values(), default=-np.inf) + least)
    # Back down by half of what the crowding raised them, so that labels stay about their points.
    raised = float(np.mean([found[name] - heights[name] for name in heights]))
    excess = max(raised, max(found.values()) - highest)
    return {name: height - excess for name, height in found.items()}


def tidy(axis: Axes, along: Literal["both", "x", "y"] = "both") -> None:
    """No frame at top and right, and a faint grid behind the data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92", linewidth=0.8, axis=along)
    axis.set_axisbelow(True)


def write(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{name}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
