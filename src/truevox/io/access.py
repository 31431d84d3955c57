"""Files to images and back: what every format shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, GeometryError, LabelError
from truevox.files import atomic_path
from truevox.io.guard import reading
from truevox.io.header import Header
from truevox.io.registry import find_reader, find_writer
from truevox.labels import Labels
from truevox.lattices import slices_to_lattice

if TYPE_CHECKING:
    from truevox.image import Image, Kind

__all__ = ["as_labels", "check_finite", "label_counts", "load", "read", "read_header", "save"]

Region = tuple[slice, ...]
# Types that torch computes with; the others go to the next larger one.
_TORCH = {"uint16": "int32", "uint32": "int64", "uint64": "int64", "float16": "float32", "float64": "float32"}
# Probabilities written as scaled integers, or summed in float32, may leave [0, 1] by this much.
_PROBABILITY_SLACK = 1e-3
# Labels that went through float32 arithmetic: this part of their value.
_LABEL_SLACK = 1e-5


def read_header(path: str | Path) -> Header:
    """Read what a file says about its voxels, and no voxel. Loads no torch.

    Returns
    -------
    Header
        With the grid as stored.

    Raises
    ------
    FileError
        If the file is missing, can't be read, or is not of the format that its suffix says.
    GeometryError
        If the file's affine is singular or not finite, or its two affines contradict each other.

    Examples
    --------
    >>> import tempfile, torch, truevox as tv
    >>> file = Path(tempfile.mkdtemp()) / "p07.nii.gz"
    >>> save(tv.Image(torch.zeros(1, 4, 5, 6), tv.Grid((4, 5, 6))), file)
    >>> read_header(file).grid
    Grid(4x5x6  1.00x1.00x1.00 mm  RAS)
    """
    return find_reader(Path(path))(Path(path))[0]


def read(path: str | Path, region: Region | None = None) -> tuple[NDArray, Header]:
    """Read a file's voxels as stored, and its header. Loads no torch.

    Parameters
    ----------
    path : path
    region : up to three slices, optional
        Part of the stored axes I, J, K, in steps of 1. As far as the format allows, only this part is
        read, and never more than a part of the file at a time is in memory.

    Returns
    -------
    array : (C, I, J, K)
        The stored type in native byte order where the file has no scaling; else floats, scaled.
        The memory may be read-only, and ordered as in the file.
    header : Header
        With the grid of the region.

    Raises
    ------
    FileError
        As :func:`read_header`, and if the file is truncated or damaged.
    GeometryError
        As :func:`read_header`, and if the region holds no voxel or has another step than 1.

    Examples
    --------
    >>> import tempfile, torch, truevox as tv
    >>> file = Path(tempfile.mkdtemp()) / "p07.nii.gz"
    >>> save(tv.Image(torch.arange(24).reshape(1, 2, 3, 4), tv.Grid((2, 3, 4))), file)
    >>> array, header = read(file, (slice(1, 2), slice(0, 2), slice(3, 4)))
    >>> array.tolist(), header.grid.to_world((0, 0, 0)).tolist()
    ([[[[15], [19]]]], [1.0, 0.0, 3.0])
    """
    header, voxels = find_reader(Path(path))(Path(path))
    if region is None:
        with reading(header.path):
            return voxels(tuple(slice(0, n) for n in header.grid.shape)), header
    start, step, shape = slices_to_lattice(region, header.grid.shape)
    if step != [1, 1, 1]:
        raise GeometryError(
            "A region is read in steps of 1.",
            file=path,
            got=region,
            remedy="read the region in steps of 1, and slice the result",
        )
    with reading(header.path):
        array = voxels(tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True)))
    return array, replace(header, grid=header.grid.crop(start, shape), raw=None)


def load(
    path: str | Path,
    kind: Kind = "scalar",
    labels: Labels | None = None,
    *,
    region: Region | None = None,
    by_value: bool = False,
) -> Image:
    """Read a file as an image on the grid as stored: nothing is reoriented or resampled.

    Parameters
    ----------
    path : path
    kind : {"scalar", "label", "probability", "logits", "value"}
        What the numbers mean. Labels become the smallest integers that hold them.
    labels : Labels, optional
        Meaning of label values or of channels; label values that it does not declare are refused, and so is
        what contradicts the names that the file gives itself (segments, structures). Where the file has its
        classes in several layers, those that are asked for are found by name, and put together in one
        channel of their values; regions that may overlap in a mask each.
        If left out, what the file says itself, if it does.
    region : up to three slices, optional
        Part of the stored axes, as in :func:`read`.
    by_value : bool
        Labels are found by value alone; the names that the file gives its values do not count.

    Returns
    -------
    Image
        Integers stay integers; floats become float32. ``.header`` is the file's.

    Raises
    ------
    FileError, GeometryError
        As :func:`read`.
    LabelError
        If a label image holds values that are no integers or not declared, or probabilities leave [0, 1].
    CaseError
        If voxels are NaN or infinite (probabilities: infinite; NaN there means not covered).

    Examples
    --------
    >>> import tempfile, torch, truevox as tv
    >>> file = Path(tempfile.mkdtemp()) / "mask.nii.gz"
    >>> save(tv.Image(torch.ones(1, 4, 5, 6), tv.Grid((4, 5, 6)), kind="label"), file)
    >>> load(file, kind="label")
    Image(label, 1 channel, 4x5x6  1.00x1.00x1.00 mm  RAS)
    """
    return image_of(*read(path, region), kind, labels, by_value)


def image_of(
    array: NDArray,
    header: Header,
    kind: Kind = "scalar",
    labels: Labels | None = None,
    by_value: bool = False,
) -> Image:
    """What a reader gave, as an image: checked and copied as :func:`load` says.

    Raises
    ------
    LabelError, CaseError
        As :func:`load`.
    """
    import torch

    from truevox.image import Image

    if kind == "label":
        from truevox.io.segments import labelled

        array, labels = labelled(array, header, labels, by_value=by_value)
    else:
        labels = header.labels if labels is None else labels
        check_finite(array, header.path, allow_nan=kind == "probability")
    if kind == "probability":
        _check_probabilities(array, header.path)
    name = array.dtype.name
    if name == "uint64" and array.max() > np.iinfo(np.int64).max:
        raise _too_large(array, header.path)
    with reading(header.path):
        data = _in_order(array, np.dtype(_TORCH.get(name, name)))
    return Image(torch.from_numpy(data), header.grid, kind, labels=labels, header=header)


def save(image: Image, path: str | Path) -> None:
    """Write an image atomically: the file is whole, or as it was before.

    If the image is on exactly the grid of its header, the header's geometry (NIfTI: sform, qform and
    their codes) is written back byte for byte, so that the file reads back on exactly the same grid.
    Any other grid is written as float32, which moves a voxel by less than 1e-4 mm.

    Parameters
    ----------
    image : Image
        Labels become the smallest integers that hold them; scalars of integers stay integers;
        everything else is float32. Several channels make a 4D file with the channels last.
    path : path
        The suffix names the format. Missing folders are made.

    Raises
    ------
    FileError
        If no format has this suffix, the folder can't be written, or the disk is full.
    LabelError
        If a label image holds values between the integers.

    Examples
    --------
    >>> import tempfile, torch, truevox as tv
    >>> file = Path(tempfile.mkdtemp()) / "p07.nii.gz"
    >>> save(tv.Image(torch.rand(1, 4, 5, 6), tv.Grid((4, 5, 6)), kind="probability"), file)
    >>> load(file, kind="probability").shape
    (1, 4, 5, 6)
    """
    target = Path(path)
    write = find_writer(target)
    array = image.numpy()
    if tuple(array.shape[1:]) != image.grid.shape:
        array = np.broadcast_to(array, (len(array), *image.grid.shape))
    if image.kind == "label":
        array = as_labels(array, target, None)
    elif array.dtype.kind not in "iu" or image.kind != "scalar":
        array = array.astype(np.float32, copy=False)
    header = image.header
    same = isinstance(header, Header) and header.grid == image.grid
    with atomic_path(target) as temporary:
        write(temporary, array, image, header if same else None)


def as_labels(array: NDArray, path: Path, labels: Labels | None, step: float = 0.0) -> NDArray:
    """Voxels as the smallest integers that hold them, checked against a label table if there is one.

    Floats are taken for the nearest integer where they differ from it by no more than rounding does: of
    float32 arithmetic (1e-5), and in files of scaled integers by half of their ``step``, below 1.

    Parameters
    ----------
    array : array
    path : Path
        The file that it was read from, or is to be written to.
    labels : Labels, optional
    step : float
        Of scaled integers, as the header says (:class:`~truevox.io.header.Header`).

    Raises
    ------
    LabelError
        If voxels are not integers, or not declared; names the file.
    """
    found = _as_integers(array)
    if found is None:
        found = _nearest(array, step)
    if found is None:
        bad = ~np.isfinite(array)
        bad |= np.rint(array) != array
        if not bad.any():
            raise _too_large(array, path)
        example = float(array[bad].flat[0])
        raise LabelError(
            "A label image holds values that are not integers.",
            file=path,
            got=f"{int(np.count_nonzero(bad))} voxels, e.g. {example:.10g}",
            remedy="replace what is not finite by 0, or by a value to ignore"
            if not np.isfinite(example)
            else "if these are probabilities, declare the column as such; if they were interpolated, "
            "resample the mask again with nearest neighbours",
        )
    array = found
    if labels is not None:
        try:
            labels.check(np.array(list(label_counts(array))))
        except LabelError as error:
            error.file = str(path)
            raise
    return array


def _too_large(array: NDArray, path: Path) -> LabelError:
    """The error for numbers beyond 64 bits with a sign, in which torch computes."""
    return LabelError(
        "The image holds numbers that are too large.",
        file=path,
        got=str(array.max()),
        expected=f"at most {np.iinfo(np.int64).max}",
        remedy="if these are numbers of objects, number them anew from 1",
    )


def label_counts(array: NDArray) -> dict[int, int]:
    """How many voxels have each value, ascending, for an array of integers of any shape.

    Examples
    --------
    >>> label_counts(np.array([[0, 2], [2, 0], [0, 1]]))
    {0: 3, 1: 1, 2: 2}
    """
    low, high = int(array.min()), int(array.max())
    if high - low >= 2**16:
        values, counts = np.unique(array, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    # Counting is many times faster than sorting; piece by piece, as it needs eight bytes per voxel.
    flat = array.ravel(order="K")
    total = np.zeros(high - low + 1, np.int64)
    for start in range(0, flat.size, 2**18):
        piece = flat[start : start + 2**18]
        piece = piece - np.uint64(low) if piece.dtype == np.uint64 else piece.astype(np.int64) - low
        total += np.bincount(piece.astype(np.int64, copy=False), minlength=len(total))
    return {low + int(k): int(total[k]) for k in np.flatnonzero(total)}


def _as_integers(array: NDArray) -> NDArray | None:
    """Voxels in the smallest integer type that holds them; None if they are not all integers."""
    if array.dtype == bool:
        return array.view(np.uint8)
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            small = array.astype(name, copy=False)
            return small if array.dtype.kind in "iu" or np.array_equal(small, array) else None
    return None


def _nearest(array: NDArray, step: float) -> NDArray | None:
    """Floats as the nearest integers, in the smallest type; None if one is further off than by rounding."""
    if array.dtype.kind != "f" or not np.isfinite([array.min(), array.max()]).all():
        return None
    rounded = np.rint(array)
    # With steps of 1 or more, several labels may have become one value.
    slack = np.clip(_LABEL_SLACK * np.abs(rounded), _LABEL_SLACK, 1e-2) + (step / 2 if step < 1 else 0.0)
    return _as_integers(rounded) if (np.abs(array - rounded) <= slack).all() else None


def check_finite(array: NDArray, path: Path, *, allow_nan: bool = False) -> None:
    """Refuse voxels that are NaN or infinite.

    Raises
    ------
    CaseError
        Naming the file and how many there are.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        # One number tells for nearly every file, without a mask as large as the image.
        if np.isfinite(array.sum()):
            return
    bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count:
        raise CaseError(
            "The image holds voxels that are not finite (NaN or infinite).",
            file=path,
            got=f"{count} of {array.size} voxels",
            remedy="find out where they come from; if they mark the outside, replace them by a number",
        )


def _in_order(array: NDArray, kind: np.dtype) -> NDArray:
    """A writable C-ordered copy. Slab by slab the transposition stays in the processor's cache."""
    out = np.empty(array.shape, kind)
    for j in range(array.shape[2]):
        out[:, :, j] = array[:, :, j]
    return out


def _check_probabilities(array: NDArray, path: Path) -> None:
    # fmin and fmax skip NaN without a copy of the image; a comparison with NaN is False.
    low, high = float(np.fmin.reduce(array, axis=None)), float(np.fmax.reduce(array, axis=None))
    if low < -_PROBABILITY_SLACK or high > 1 + _PROBABILITY_SLACK:
        raise LabelError(
            "An image of probabilities leaves [0, 1].",
            file=path,
            got=f"{low:g} to {high:g}",
            remedy="logits need Sigmoid or Softmax first; percentages a division by 100",
        )
