"""Where a prediction is wrong: the masks of a case compared voxel by voxel, in patient orientation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from truevox import io, sampling
from truevox.alignment import in_lengths_of, shared_grid
from truevox.errors import GeometryError, LabelError, TrueVoxError
from truevox.files import read_json
from truevox.io.segments import read_segments
from truevox.labels import Labels
from truevox.report.folder import CaseFiles, Folder
from truevox.space import Grid

__all__ = ["FN", "FP", "TP", "ErrorMap", "error_codes", "error_map", "label_values"]

TP, FP, FN = 1, 2, 3
_MARGIN_MM = 15.0
_PARENTS = 3
_OBLIQUE_DEGREES = 10.0
_PIECES = 5


@dataclass(frozen=True)
class ErrorMap:
    """True positives, false positives and false negatives around the masks of a case.

    Parameters
    ----------
    codes : (I, J, K) uint8
        0 background, 1 true positive, 2 false positive, 3 false negative; axes run to R, A, S.
    grid : Grid
        Of ``codes``: the box around both masks, and 15 mm (in pixels 15, or a tenth of the picture) more.
    image : (I, J, K) uint8, optional
        The scan, from its 1st to its 99th percentile.
    focus : (3,) int
        The voxel deepest inside the largest error.
    missed : (3,) int, optional
        The same of the largest part of the reference that the prediction does not touch.
    notes : tuple of str
        E.g. that the prediction was resampled, or that a mask touches the border of the scan.
    """

    codes: NDArray[np.uint8]
    grid: Grid
    image: NDArray[np.uint8] | None
    focus: tuple[int, int, int]
    missed: tuple[int, int, int] | None
    notes: tuple[str, ...]


def error_codes(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """1 where both masks are, 2 where only the prediction is, 3 where only the reference is.

    Examples
    --------
    >>> error_codes(np.array([1, 1, 0, 0]) > 0, np.array([1, 0, 1, 0]) > 0).tolist()
    [1, 2, 3, 0]
    """
    codes = np.zeros(reference.shape, np.uint8)
    codes[prediction & reference] = TP
    codes[prediction & ~reference] = FP
    codes[~prediction & reference] = FN
    return codes


def label_values(folder: Folder, output: str, label: str, file: Path) -> tuple[int, ...]:
    """Which voxel values a label of the tables means.

    From ``labels`` in ``run.json`` (``{label: value}`` or ``{output: {label: value}}``), from
    ``labels.json`` in a folder above the file of the prediction, from the file itself, from a label that is a
    number, or from an output that has one label only: all values but 0 then.

    Returns
    -------
    tuple of int
        Empty for "all but 0".

    Raises
    ------
    LabelError
        If none of these says it.
    """
    tables = [folder.run.get("labels"), _of(folder.run.get("settings"), "labels")]
    for parent in list(file.parents)[:_PARENTS]:
        if (parent / "labels.json").is_file():
            tables.append(read_json(parent / "labels.json"))
            break
    for table in tables:
        for names in (_of(_of(table, output), "names"), _of(table, output), _of(table, "names"), table):
            value = _of(names, label)
            if isinstance(value, int):
                return (value,)
            if isinstance(value, list) and all(isinstance(one, int) for one in value):
                return tuple(value)
    if label.isdecimal():
        return (int(label),)
    if (own := _own(file)) is not None and label in own.names:
        return own.values_of(label)
    if len({one.label for one in folder.scores if one.output == output}) == 1:
        return ()
    raise LabelError(
        f"No table says which voxel value '{label}' is.",
        expected=f'"labels": {{"{label}": 1, ...}} in run.json, or labels.json beside the predictions',
        remedy="evaluate again with --labels, which writes the values into run.json",
    )


def _own(file: Path) -> Labels | None:
    """The names that a file gives its labels; None if it gives none or can't be read."""
    try:
        return io.read_header(file).labels
    except TrueVoxError:
        return None


def _of(table: Any, name: str) -> Any:
    return table.get(name) if isinstance(table, Mapping) else None


def error_map(files: CaseFiles, values: tuple[int, ...], label: str = "") -> ErrorMap:
    """Read the masks (and the scan) of a case and compare them.

    Parameters
    ----------
    files : CaseFiles
    values : tuple of int
        Voxel values of the label; empty for all but 0.
    label : str
        Its name, by which it is found in files that name their labels.

    Raises
    ------
    FileError, GeometryError, LabelError
        If a file can't be read or is no label map, the grids don't meet, or both masks are empty.

    Notes
    -----
    Files that store parts of one lattice are put together; a prediction on another grid is read at the
    reference's voxels, nearest voxel first, and a note says so.
    """
    reference, grid = _mask(files.reference, values, label)
    prediction, own = np.zeros_like(reference), grid
    if files.prediction is not None:
        prediction, own = _mask(files.prediction, values, label)
    notes = list(files.notes)
    shared = shared_grid([grid, in_lengths_of(own, grid)], parts=True)
    if shared is not None:
        grid, (place, put) = shared
        reference, prediction = place(reference[None])[0], put(prediction[None])[0]
    else:
        notes.append("prediction read on the reference's grid")
        prediction = _on(prediction.astype(np.uint8), own, grid, "nearest") > 0
    codes = error_codes(prediction, reference)
    if not codes.any():
        raise GeometryError(
            "Both masks are empty: there is nothing to show.",
            file=files.reference,
            remedy="choose another case: this one was empty and found empty",
        )
    if _touches_border(codes):
        notes.append("touches the border of the scan")
    stored = grid.bounding_box(codes)
    margin = np.ceil(_MARGIN_MM / grid.spacing).astype(int)
    if grid.unit != "mm":
        margin = np.maximum(margin, np.array(grid.shape) // 10)
    box = sampling.clipped(stored.pad(margin.tolist()), grid).reorient("RAS")
    codes = np.ascontiguousarray(_on(codes, grid, box, "nearest"))
    _, many = _pieces((codes == TP) | (codes == FP))
    _, few = _pieces((codes == TP) | (codes == FN))
    if many > few + _PIECES:
        notes.append(f"in {many} pieces, the reference in {few}")
    if _is_oblique(box):
        notes.append("oblique slices: letters name the nearest directions")
    image, note = _scan(files.image, box)
    return ErrorMap(codes, box, image, _focus(codes, box), _missed(codes, box), (*notes, *note))


def _mask(path: Path, values: tuple[int, ...], label: str) -> tuple[NDArray[np.bool_], Grid]:
    found, header = read_segments(path)
    if (own := found.called(label)) is not None:
        return found.mask(own), header.grid
    if not values:
        return (found.array != 0).any(0), header.grid
    if len(found.array) != 1:
        raise LabelError(
            f"The file has several channels, and none of them is called '{label}'.",
            file=path,
            got=f"{len(found.array)} channels",
            remedy="evaluate again with the name that the file gives to its channel",
        )
    return np.isin(found.array[0], values), header.grid


def _on(array: NDArray[Any], own: Grid, grid: Grid, mode: str) -> NDArray[Any]:
    return sampling.resample(array[None], own, grid, np.zeros(1, array.dtype), mode=mode)[0]


def _is_oblique(grid: Grid) -> bool:
    """Whether an axis that is drawn lies more than a few degrees off the patient's."""
    if grid.unit != "mm":
        return False
    cosines = np.abs(grid.affine[:3, :3] / grid.spacing).max(0)
    return bool(np.degrees(np.arccos(np.minimum(cosines, 1))).max() > _OBLIQUE_DEGREES)


def _touches_border(codes: NDArray[np.uint8]) -> bool:
    """Whether a mask reaches the first or last slice of an axis (of more than one slice)."""
    return any(codes.take([0, -1], axis=axis).any() for axis in range(3) if codes.shape[axis] > 1)


def _scan(path: Path | None, box: Grid) -> tuple[NDArray[np.uint8] | None, tuple[str, ...]]:
    """The scan in the box as uint8. A scan that can't be read costs the picture its background only."""
    if path is None:
        return None, ()
    try:
        array, header = io.read(path)
        values = _on(np.ascontiguousarray(array[0], np.float32), header.grid, box, "linear")
    except TrueVoxError as error:
        return None, (f"the image can't be shown: {error.message}",)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, [1, 99])
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return np.rint(255 * scaled).astype(np.uint8), ()


def _focus(codes: NDArray[np.uint8], grid: Grid) -> tuple[int, int, int]:
    wrong = codes > TP
    return _deepest(wrong if wrong.any() else codes > 0, grid)


def _missed(codes: NDArray[np.uint8], grid: Grid) -> tuple[int, int, int] | None:
    """The deepest voxel of the largest piece of the reference without any true positive."""
    pieces, count = _pieces((codes == TP) | (codes == FN))
    if not count:
        return None
    touched = np.bincount(pieces[codes == TP], minlength=count + 1) > 0
    free = ~touched
    free[0] = False
    return _deepest(free[pieces], grid) if free.any() else None


def _pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Connected pieces by all neighbours: their numbers (0 outside), and how many."""
    pieces = np.empty(mask.shape, np.int32)
    count = ndimage.label(mask, np.ones((3, 3, 3)), output=pieces)
    return pieces, int(count)  # pyright: ignore[reportArgumentType] - a number where an output is given


def _deepest(mask: NDArray[np.bool_], grid: Grid) -> tuple[int, int, int]:
    """The voxel farthest from the outside of the largest piece of a mask, in mm."""
    pieces, _ = _pieces(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    piece = pieces == sizes.argmax()
    # Padded: the border of the box counts as outside.
    axes = [(1, 1) if n > 1 else (0, 0) for n in piece.shape]
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(piece, axes), sampling=grid.spacing))
    # Thick slices make many voxels as deep as each other: the one amid them.
    places = np.argwhere(depth >= depth.max() * (1 - 1e-6))
    away = ((places - places.mean(0)) * grid.spacing) ** 2
    i, j, k = places[away.sum(1).argmin()] - [before for before, _ in axes]
    return int(i), int(j), int(k)
