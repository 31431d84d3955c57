"""What all figures share: colours, plain axes, and writing them whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from truevox.errors import FileError
from truevox.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "SKY", "VERMILION", "tidy", "write_figure"]

# Okabe and Ito (2008): they stay apart for colour-blind readers.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "0.45"
_DPI = 110


def tidy(axis: Axes) -> None:
    """No frame at top and right, and a faint grid behind the data.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> tidy(Figure().subplots())
    """
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92", linewidth=0.8)
    axis.set_axisbelow(True)


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises
    ------
    FileError
        If it can't be written.

    Examples
    --------
    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> file = Path(tempfile.mkdtemp()) / "empty.png"
    >>> write_figure(Figure(), file)
    >>> file.exists()
    True
    """
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary, format="png", dpi=_DPI)
        except OSError as error:
            raise FileError(
                f"The figure can't be written: {error.strerror}.",
                file=path,
                remedy="free space on the disk, or write to a folder that this user may write to",
            ) from error
