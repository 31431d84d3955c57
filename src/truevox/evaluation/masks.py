"""Label volumes as pairs of masks: of a label table, or of whatever occurs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from truevox.errors import LabelError
from truevox.io.access import label_counts
from truevox.labels import Labels

__all__ = ["MaskPair", "Masks", "check_table", "declared", "found_in", "order"]

Mask = NDArray[np.bool_]


class MaskPair(NamedTuple):
    """Masks (i, j, k) of one label: the part of the image that holds all of it.

    ``known`` says where voxels count at all (None: everywhere); ``start`` is the index of the part's first
    voxel, ``whole`` the shape of the image.
    """

    prediction: Mask
    reference: Mask
    known: Mask | None
    start: tuple[int, ...]
    whole: tuple[int, ...]


@dataclass(frozen=True)
class Masks:
    """Prediction and reference of one case, label by label: one pair of masks at a time is in memory.

    Parameters
    ----------
    prediction, reference : (C, I, J, K) integers
        One volume of values, or one mask per label.
    values : mapping of label to (values in the prediction, values in the reference)
        Also names the channels, where there are several.
    known : (I, J, K) bool, optional
        False where nobody annotated.
    """

    prediction: NDArray
    reference: NDArray
    values: Mapping[str, tuple[Sequence[int], Sequence[int]]]
    known: Mask | None = None

    def __iter__(self) -> Iterator[tuple[str, MaskPair]]:
        whole = self.reference.shape[1:]
        cut = len(self.values) > 1 and self.known is None and len(self.prediction) == len(self.reference) == 1
        # Many labels: each is looked at where it is, not in the whole image.
        boxes = (_boxes(self.prediction[0]), _boxes(self.reference[0])) if cut else None
        for k, (name, (mine, theirs)) in enumerate(self.values.items()):
            box = (
                tuple(slice(0, n) for n in whole) if boxes is None else _around(boxes, (mine, theirs), whole)
            )
            pair = _mask(self.prediction, k, mine, box), _mask(self.reference, k, theirs, box)
            yield name, MaskPair(*pair, self.known, tuple(one.start for one in box), whole)


Box = tuple[slice, ...]


def _mask(array: NDArray, channel: int, values: Sequence[int], box: Box) -> Mask:
    if len(array) > 1:
        return array[channel][box] != 0
    return array[0][box] == values[0] if len(values) == 1 else np.isin(array[0][box], values)


def _boxes(array: NDArray) -> Mapping[int, Box]:
    """Where each positive value lies."""
    found = find_objects(array.T) if array.flags.f_contiguous else find_objects(array)
    turn = -1 if array.flags.f_contiguous else 1
    return {value: box[::turn] for value, box in enumerate(found, start=1) if box is not None}


def _around(
    boxes: tuple[Mapping[int, Box], ...], values: tuple[Sequence[int], ...], whole: tuple[int, ...]
) -> Box:
    """A box around values of both sides, with a voxel more; one voxel if there are none."""
    some = zip(boxes, values, strict=True)
    held = [side[value] for side, wanted in some for value in wanted if value in side]
    if not held:
        return (slice(0, 1),) * 3
    return tuple(
        slice(
            max(min(box[a].start for box in held) - 1, 0), min(max(box[a].stop for box in held) + 1, whole[a])
        )
        for a in range(3)
    )


def declared(prediction: NDArray, reference: NDArray, labels: Labels) -> Masks:
    """The labels of a table."""
    known = None
    if labels.ignore is not None and len(reference) == 1 and (reference == labels.ignore).any():
        known = reference[0] != labels.ignore
    values = {name: (labels.values_of(name), labels.values_of(name)) for name in labels.names}
    return Masks(prediction, reference, values, known)


def found_in(
    prediction: NDArray, reference: NDArray, mine: Labels | None = None, theirs: Labels | None = None
) -> Masks:
    """Every value that occurs, by the name that its file gives it, else by its number.

    Parameters
    ----------
    prediction, reference : (1, I, J, K) integers
    mine, theirs : Labels, optional
        What the files themselves say of their values (segments, structures).

    Raises
    ------
    LabelError
        If a file has several channels.

    Examples
    --------
    >>> one, two = np.array([[[[0, 1, 3]]]]), np.array([[[[0, 1, 1]]]])
    >>> [(name, int(m.prediction.sum()), int(m.reference.sum())) for name, m in found_in(one, two)]
    [('1', 1, 2), ('3', 1, 0)]
    """
    for array in (prediction, reference):
        if len(array) != 1:
            raise LabelError(
                "The file has several channels, and no label table says what they are.",
                got=len(array),
                expected=1,
                remedy="--labels names one label for each channel",
            )
    sides = ((prediction, mine or theirs), (reference, theirs or mine))
    named: dict[str, tuple[list[int], list[int]]] = {}
    for side, (array, table) in enumerate(sides):
        for value in label_counts(array):
            if value and not (table is not None and value == table.ignore):
                named.setdefault(_name(value, table), ([], []))[side].append(value)
    return Masks(prediction, reference, {name: named[name] for name in sorted(named, key=order)})


def check_table(array: NDArray, file: Path, labels: Labels, strict: bool, what: str) -> str:
    """One volume of values, or one mask per label; a note on values that the table does not declare.

    Raises
    ------
    LabelError
        If channels and table do not fit; if ``strict``, also if values are not declared.
    """
    if len(array) == len(labels.names) > 1:
        return ""
    if len(array) != 1:
        raise LabelError("Volumes and label table differ.", file=file, got=len(array), expected=1)
    found = list(label_counts(array))
    if strict:
        try:
            labels.check(np.array(found))
        except LabelError as error:
            error.file = str(file)
            raise
        return ""
    unknown = sorted(set(found) - {0, labels.ignore, *labels.values})
    if not unknown:
        return ""
    shown = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
    return f"values that the label table lacks, in the {what}: {shown}"


def _name(value: int, table: Labels | None) -> str:
    names = [] if table is None else [name for name in table.names if value in table.values_of(name)]
    return names[0] if names else str(value)


def order(name: str) -> tuple[bool, int, str]:
    """Numbers by size, before words."""
    number = name.lstrip("-").isdigit()
    return (not number, int(name) if number else 0, name)
