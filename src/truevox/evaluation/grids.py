"""Prediction and reference on one grid, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truevox import sampling
from truevox.alignment import Placed, aligned, in_lengths_of, shared_grid
from truevox.cohort.check import describe_mismatch
from truevox.errors import GeometryError
from truevox.io import Header
from truevox.space import Grid

__all__ = ["Together", "on_grid", "together"]


@dataclass(frozen=True)
class Together:
    """Two label images on one grid.

    Parameters
    ----------
    prediction, reference : (C, I, J, K)
    grid : Grid
        The reference's, with what the prediction has beyond it.
    notes : list of str
        What was done.
    displacement_mm : float or None
        How far corners that are taken for one are apart; None where the prediction was resampled.
    """

    prediction: NDArray
    reference: NDArray
    grid: Grid
    notes: list[str]
    displacement_mm: float | None


def together(
    prediction: NDArray,
    mine: Header,
    reference: NDArray,
    theirs: Header,
    *,
    case: str,
    called: tuple[str, str] = ("prediction", "reference"),
    tol_mm: float | None = None,
    resample: bool = False,
) -> Together:
    """Two label images on the grid that holds all voxels of both; what a file does not store is background.

    Voxels in another order of axes, and files that store a part of the image only, are put in place without
    interpolation (:func:`truevox.alignment.aligned`). Another grid is refused, or sampled: the nearest voxel,
    on the grid of the reference and wherever the prediction has foreground beyond it. If one of the two says
    no spacing, voxels of the same shape and order are taken for the same.

    Parameters
    ----------
    prediction, reference : (C, I, J, K) integers
    mine, theirs : Header
    case : str
    called : (str, str)
        What messages call the two.
    tol_mm : float, optional
        As for :func:`truevox.alignment.aligned`.
    resample : bool

    Raises
    ------
    GeometryError
        With both grids, if they differ and ``resample`` is False; if lengths are in pixels, also with it.
    """
    lent = in_lengths_of(mine.grid, theirs.grid)
    notes = [] if lent is mine.grid else ["one of the two files says no spacing: compared voxel by voxel"]
    mine = replace(mine, grid=lent)
    shared = shared_grid([theirs.grid, mine.grid], tol_mm, parts=mine.part or theirs.part)
    if shared is not None:
        grid, (place, put) = shared
        notes += _notes(put, place)
        return Together(put(prediction), place(reference), grid, notes, put.alignment.mm)
    if mine.grid.unit != theirs.grid.unit or (mine.grid.unit == "px" and _like(mine.grid, theirs.grid)):
        raise _nowhere(mine, theirs, case, called)
    if not resample:
        raise GeometryError(
            describe_mismatch(case, {called[0]: mine, called[1]: theirs}, tol_mm),
            file=mine.path,
            remedy="predict again on the grid of the reference, or let --resample read the prediction there",
        )
    return _resampled(prediction, mine, reference, theirs)


def on_grid(
    array: NDArray, header: Header, grid: Grid, *, case: str, called: str, tol_mm: float | None = None
) -> tuple[NDArray, str]:
    """Probabilities (C, I, J, K) on a grid that others share, and a note if some of it lies outside: 0 there.

    Raises
    ------
    GeometryError
        If their voxels are other ones.
    """
    found = aligned(in_lengths_of(header.grid, grid), grid, tol_mm)
    if found is None:
        other = Header(header.path, grid, 1, header.dtype)
        if header.grid.unit != grid.unit:
            raise _nowhere(header, other, case, (called, "masks"))
        raise GeometryError(
            describe_mismatch(case, {called: header, "masks": other}, tol_mm),
            file=header.path,
            remedy="write the probabilities on the grid of the reference",
        )
    low, high = found.span
    lacking = bool((low > 0).any() or (high < grid.shape).any())
    note = f"the {called} do not reach over the whole image: 0 outside" if lacking else ""
    return found.take(array, (0, 0, 0), grid.shape), note


def _like(own: Grid, other: Grid) -> bool:
    return np.allclose(np.sort(own.spacing), np.sort(other.spacing), rtol=1e-3)


def _nowhere(mine: Header, theirs: Header, case: str, called: tuple[str, str]) -> GeometryError:
    """The error for pixels of which nobody knows where they lie on another grid."""
    return GeometryError(
        f"'{called[1]}' and '{called[0]}' of case {case} are of different size or order of axes, and without "
        "a spacing (px) nobody knows where the pixels of one lie in the other.",
        file=mine.path,
        got=f"{called[0]} {mine.grid.describe()}",
        expected=f"{called[1]} {theirs.grid.describe()}",
        remedy="write the prediction pixel for pixel as the reference; or write spacing and place into both "
        "files (.nii.gz, .nrrd)",
    )


def _notes(prediction: Placed, reference: Placed) -> list[str]:
    """What was done to bring two together."""
    found, notes = prediction.alignment, []
    own, other = found.own.orientation, found.other.orientation
    if found.axes != (0, 1, 2) or found.signs != (1, 1, 1):
        notes.append(f"another order of axes: {own} read as {other}")
    if found.noted:
        notes.append(
            f"headers differ by {found.mm:.2g} mm ({found.voxels:.2g} voxels) at the farthest corner: "
            "compared voxel by voxel"
        )
    small = [name for name, one in (("prediction", prediction), ("reference", reference)) if one.grown]
    if small:
        what = " and the ".join(small) + (" store" if len(small) > 1 else " stores")
        notes.append(f"the {what} a part of the image only: background outside of it")
    return notes


def _resampled(prediction: NDArray, mine: Header, reference: NDArray, theirs: Header) -> Together:
    low, high = np.zeros(3, int), np.array(theirs.grid.shape)
    marked = (prediction != 0).any(0)
    if marked.any():
        held = theirs.grid.covering(mine.grid.bounding_box(marked), 1)
        first = np.rint(theirs.grid.to_index(held.to_world((0, 0, 0)))).astype(int)
        low, high = np.minimum(low, first), np.maximum(high, first + held.shape)
    grid = theirs.grid.crop(low.tolist(), (high - low).tolist())
    out = sampling.resample(prediction, mine.grid, grid, np.zeros(len(prediction)), mode="nearest")
    inside = tuple(slice(-a, n - a) for a, n in zip(low.tolist(), theirs.grid.shape, strict=True))
    beyond = int(np.count_nonzero((out != 0).any(0))) - int(np.count_nonzero((out[:, *inside] != 0).any(0)))
    notes = [f"resampled: from {mine.grid.describe()} to {theirs.grid.describe()}"]
    for what, header in (("prediction", mine), ("reference", theirs)):
        notes += [f"the {what} has {note}" for note in header.notes if "guess" in note]
    if not beyond:
        return Together(out[:, *inside], reference, theirs.grid, notes, None)
    ml = beyond * grid.voxel_volume_ml
    notes.append(
        f"{beyond} voxels ({ml:.3g} ml) of the prediction lie outside of the reference's grid, and count"
    )
    whole = np.zeros((len(reference), *grid.shape), reference.dtype)
    whole[:, *inside] = reference
    return Together(out, whole, grid, notes, None)
