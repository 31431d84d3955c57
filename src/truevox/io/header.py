"""Header: what a file says about its voxels before any is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from truevox.labels import Labels
from truevox.space import Grid

__all__ = ["Header"]


@dataclass(frozen=True)
class Header:
    """What a file says about its voxels.

    Parameters
    ----------
    path : Path
        The file.
    grid : Grid
        As stored: no axis is permuted or flipped.
    channels : int
        Volumes per voxel (time points, vector components): 1 for a plain 3D image.
    dtype : str
        NumPy name of the type that :func:`truevox.io.read` returns, e.g. ``"int16"``.
    raw : bytes, optional
        The format's own geometry, so that it can be written back unchanged.
    notes : tuple of str
        What ``truevox check`` should tell, after the words "The file has", e.g. "no orientation".
    times : tuple of float, optional
        Where the channels are time points: when, in seconds.
    labels : Labels, optional
        Where the file names its labels itself (segments, structures): their table, with the channel of each
        where there are several.
    colour : bool
        Whether the channels are colours or opacity: red, green, blue, and alpha behind them or behind grey.
    step : float
        How far the values that the file can hold are apart, where it scales integers (NIfTI's slope);
        0 where they are what is stored.
    part : bool
        Whether files of this kind store what is not empty, and so may be a part of an image.

    Examples
    --------
    >>> Header(Path("p07.nii.gz"), Grid((240, 240, 155)), 1, "int16").grid.describe()
    '240x240x155  1.00x1.00x1.00 mm  RAS'
    """

    path: Path
    grid: Grid
    channels: int
    dtype: str
    raw: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    times: tuple[float, ...] | None = None
    labels: Labels | None = None
    colour: bool = False
    step: float = 0.0
    part: bool = False
