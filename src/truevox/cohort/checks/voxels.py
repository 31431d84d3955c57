"""What the voxels of one file tell, read once: damage, wrong labels, a digest, what they look like."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from truevox import io, sampling
from truevox.cohort.checks.problem import Finding, finding_of
from truevox.errors import TrueVoxError
from truevox.io.access import check_finite, label_counts
from truevox.io.segments import labelled
from truevox.labels import Labels
from truevox.space import Grid

__all__ = ["Intensity", "Look", "Voxels", "blank_finding", "digest", "look_at", "look_of"]

Look = Literal["labels", "image", "either"]
# More values than any label table of a few classes, fewer than the noise of any scan.
_FEW, _MANY = 16, 50
_SAMPLE = 2**18


@dataclass(frozen=True, slots=True)
class Intensity:
    """Percentiles of an image's foreground: the voxels above its lowest value."""

    low: float
    p1: float
    median: float
    p99: float
    iqr: float


@dataclass(frozen=True, slots=True)
class Voxels:
    """What remains of a file's voxels when it is closed; ``low`` and ``high`` are NaN if they are no good."""

    findings: tuple[Finding, ...] = ()
    low: float = math.nan
    high: float = math.nan
    digest: bytes | None = None
    look: Look = "either"
    intensity: Intensity | None = None


def look_at(
    array: NDArray, header: io.Header, is_label: bool, table: Labels | None, by_value: bool = False
) -> Voxels:
    """All that is looked for in the voxels (C, I, J, K) of one file.

    Parameters
    ----------
    array : (C, I, J, K)
    header : Header
    is_label : bool
        Whether the column is declared to hold labels.
    table : Labels, optional
        The values that it may hold.
    by_value : bool
        Whether names in the file do not count.
    """
    try:
        check_finite(array, header.path)
        look = look_of(array)
        if is_label and look == "image":
            return Voxels((_swapped(array),), look=look)
        if is_label:
            array, _ = labelled(array, header, table, by_value=by_value)
    except TrueVoxError as error:
        return Voxels((finding_of(error),))
    low, high = float(array.min()), float(array.max())
    if low == high:
        return Voxels((), low, high)
    intensity = None if is_label else _intensity(array, low)
    return Voxels((), low, high, digest(array, header.grid), look, intensity)


def _swapped(array: NDArray) -> Finding:
    message = (
        "The column holds labels, but this file looks like an image: "
        f"values from {array.min():g} to {array.max():g}, and most neighbouring voxels differ."
    )
    return Finding("swapped", message, "exchange the files of the two columns, or correct the path")


def blank_finding(voxels: Voxels, is_label: bool) -> Finding | None:
    """What is wrong with an image of one value, or a mask without foreground or background."""
    low, high = voxels.low, voxels.high
    if not is_label and low == high:
        return Finding("constant", f"Every voxel of the image is {low:g}.", "check how the file was made")
    if is_label and low == high == 0:
        remedy = "right for a healthy case; else mark it, or leave it out"
        return Finding("empty", "The mask has no foreground.", remedy)
    if is_label and voxels.look != "image" and (low > 0 or high < 0):
        message = "The mask has no background: every voxel is foreground."
        return Finding("full", message, "check how it was made")
    return None


def look_of(array: NDArray) -> Look:
    """Whether voxels look like labels (a few integers) or like an image (neighbours differ).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> look_of(rng.integers(0, 2, (1, 9, 9, 9))), look_of(rng.normal(size=(1, 9, 9, 9)))
    ('labels', 'image')
    """
    sample = np.unique(_sample(array))
    if len(sample) <= _FEW and _holds_few_integers(array):
        return "labels"
    if len(sample) <= _MANY:
        return "either"
    longest = 1 + int(np.argmax(array.shape[1:]))
    along = np.moveaxis(array, longest, 0)
    one, two = along[:-1], along[1:]
    some = (one != 0) | (two != 0)
    return "image" if 2 * np.count_nonzero(some & (one != two)) > np.count_nonzero(some) else "either"


def _holds_few_integers(array: NDArray) -> bool:
    if array.dtype.kind == "f":
        if not (np.abs(array).max() < 2**31 and (np.rint(array) == array).all()):
            return False
        array = array.astype(np.int32)
    return len(label_counts(array.view(np.uint8) if array.dtype == bool else array)) <= _FEW


def _intensity(array: NDArray, low: float) -> Intensity:
    """From at most a quarter of a million voxels, evenly taken."""
    flat = _sample(array)
    inside = flat[flat > low].astype(np.float64)
    inside = inside if len(inside) else flat.astype(np.float64)
    p1, p25, median, p75, p99 = np.percentile(inside, (1, 25, 50, 75, 99)).tolist()
    return Intensity(float(low), p1, median, p99, p75 - p25)


def _sample(array: NDArray) -> NDArray:
    flat = array.ravel(order="K")
    return flat[:: max(1, -(-flat.size // _SAMPLE))]


def _canonical(array: NDArray, grid: Grid) -> NDArray:
    """The voxels (C, I, J, K) in the closest canonical order, as a view."""
    seen = grid.reorient()
    found = sampling.coincidence(grid, seen)
    # Only coordinates beyond the precision of float64 hide that it is a permutation and flips.
    return array if found is None else sampling.take(array, found, seen.shape, np.zeros(len(array)))


def digest(array: NDArray, grid: Grid) -> bytes:
    """A digest of what the voxels show: the same for any storage order, type and compression."""
    view = _canonical(array, grid)
    made = hashlib.blake2b(repr(view.shape).encode(), digest_size=16)
    for channel in view:
        for k in range(channel.shape[2]):
            # Float32, as an image and its copy in another type differ by that rounding; and -0 is 0.
            plane = np.ascontiguousarray(channel[:, :, k].T, np.float32) + np.float32(0)
            made.update(plane.data)
    return made.digest()
