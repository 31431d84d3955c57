"""A prediction on the grid of its reference, or the reason why not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from truevox import sampling
from truevox.cohort.check import describe_mismatch
from truevox.errors import GeometryError
from truevox.io import Header
from truevox.space import Grid

__all__ = ["on_reference", "tolerance"]

VOXEL_SHARE = 0.1
"""Grids may differ by this share of the smallest voxel side, unless a tolerance in mm is given."""
NOTED_SHARE = 0.01
"""A difference beyond this share is noted: headers that were rounded on the way from tool to tool."""


def tolerance(grid: Grid, tol_mm: float | None) -> float:
    """Largest displacement of a corner, in mm.

    Examples
    --------
    >>> tolerance(Grid((4, 4, 4), np.diag([0.5, 0.5, 3, 1])), None)
    0.05
    """
    return VOXEL_SHARE * float(grid.spacing.min()) if tol_mm is None else tol_mm


def on_reference(
    array: NDArray,
    mine: Header,
    reference: Header,
    *,
    case: str,
    called: tuple[str, str] = ("prediction", "reference"),
    tol_mm: float | None = None,
    resample: bool = False,
) -> tuple[NDArray, str]:
    """Labels as they lie on the grid of their reference.

    The same voxels in another order of axes are put in order, without interpolation. Another grid is refused,
    or sampled (the nearest voxel; 0 outside of the prediction).

    Parameters
    ----------
    array : (C, I, J, K) integers
        The prediction.
    mine, reference : Header
    case : str
    called : (str, str)
        What messages call the two.
    tol_mm : float, optional
        As for :func:`tolerance`.
    resample : bool

    Returns
    -------
    array : (C, I, J, K) on the grid of the reference
    note : str
        What was done; ``""`` if nothing.

    Raises
    ------
    GeometryError
        With both grids, if they differ and ``resample`` is False.
    """
    limit = tolerance(reference.grid, tol_mm)
    if mine.grid == reference.grid or mine.grid.same_as(reference.grid, limit):
        moved = mine.grid.displacement(reference.grid)
        odd = moved > NOTED_SHARE * reference.grid.spacing.min()
        return array, f"grids not quite the same: corners {moved:.2g} mm apart" if odd else ""
    turned = mine.grid.reorient(reference.grid.orientation)
    if turned.same_as(reference.grid, limit):
        found = sampling.coincidence(mine.grid, turned)
        if found is not None:
            said = f"another order of axes: {mine.grid.orientation} read as {reference.grid.orientation}"
            return sampling.take(array, found, turned.shape, np.zeros(len(array))), said
    if not resample:
        raise GeometryError(
            describe_mismatch(case, {called[0]: mine, called[1]: reference}, limit),
            file=mine.path,
            remedy="predict again on the grid of the reference, or let --resample read the prediction there",
        )
    out = sampling.resample(array, mine.grid, reference.grid, np.zeros(len(array)), mode="nearest")
    return out, f"resampled: from {mine.grid.describe()} to {reference.grid.describe()}"
