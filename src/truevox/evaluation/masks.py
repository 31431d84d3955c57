"""Label volumes as pairs of masks: of a label table, or of whatever occurs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError
from truevox.io.access import label_counts
from truevox.labels import Labels

__all__ = ["MaskPair", "Masks", "check_table", "declared", "found_in", "order"]

Mask = NDArray[np.bool_]


class MaskPair(NamedTuple):
    """Masks (I, J, K) of one label, and where voxels count at all (None: everywhere)."""

    prediction: Mask
    reference: Mask
    known: Mask | None = None


@dataclass(frozen=True)
class Masks:
    """Prediction and reference of one case, label by label: one pair of masks at a time is in memory.

    Parameters
    ----------
    prediction, reference : (C, I, J, K) integers
        One volume of values, or one mask per label.
    values : dict of label to (values in the prediction, values in the reference)
        Also names the channels, where there are several.
    known : (I, J, K) bool, optional
        False where nobody annotated.
    """

    prediction: NDArray
    reference: NDArray
    values: dict[str, tuple[Sequence[int], Sequence[int]]]
    known: Mask | None = None

    def __iter__(self) -> Iterator[tuple[str, MaskPair]]:
        for k, (name, (mine, theirs)) in enumerate(self.values.items()):
            pair = _mask(self.prediction, k, mine), _mask(self.reference, k, theirs)
            yield name, MaskPair(*pair, self.known)


def _mask(array: NDArray, channel: int, values: Sequence[int]) -> Mask:
    if len(array) > 1:
        return array[channel] != 0
    return array[0] == values[0] if len(values) == 1 else np.isin(array[0], values)


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
    >>> [(name, int(p.sum()), int(r.sum())) for name, (p, r, _) in found_in(one, two)]
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
