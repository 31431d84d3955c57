"""Label volumes as pairs of masks: of a label table, or of whatever occurs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError
from truevox.io.segments import Places, Segments, same_name
from truevox.label_masks import mask_at
from truevox.labels import Labels
from truevox.metrics.multilabel import around, value_boxes

__all__ = ["MaskPair", "Masks", "check_table", "declared", "found_in", "order", "scores_of"]

Mask = NDArray[np.bool_]
_SUM_SLACK = 0.05


class MaskPair(NamedTuple):
    """Masks (i, j, k) of one label: the part of the image that holds all of it.

    ``known`` says where voxels count at all (None: everywhere); ``start`` is the index of the part's first
    voxel, ``whole`` the shape of the image. ``score`` holds the label's probabilities.
    """

    prediction: Mask
    reference: Mask
    known: Mask | None
    start: tuple[int, ...]
    whole: tuple[int, ...]
    score: NDArray | None = None


@dataclass(frozen=True)
class Masks:
    """Prediction and reference of one case, label by label: one pair of masks at a time is in memory.

    Parameters
    ----------
    prediction, reference : (C, I, J, K) integers
        Label images on one grid.
    places : mapping of label to (places in the prediction, places in the reference)
        Channels and values.
    known : (I, J, K) bool, optional
        False where nobody annotated.
    scores : mapping of label to (I, J, K), optional
        Probabilities.
    """

    prediction: NDArray
    reference: NDArray
    places: Mapping[str, tuple[Places, Places]]
    known: Mask | None = None
    scores: Mapping[str, NDArray] | None = None

    def __iter__(self) -> Iterator[tuple[str, MaskPair]]:
        whole = self.reference.shape[1:]
        single = len(self.prediction) == len(self.reference) == 1
        cut = single and len(self.places) > 1 and self.known is None and self.scores is None
        # Many labels: each is looked at where it is, not in the whole image.
        boxes = self._boxes() if cut else {}
        for name, (mine, theirs) in self.places.items():
            box = boxes.get(name, tuple(slice(0, n) for n in whole))
            pair = mask_at(self.prediction, mine, box), mask_at(self.reference, theirs, box)
            score = None if self.scores is None else self.scores[name]
            yield name, MaskPair(*pair, self.known, tuple(one.start for one in box), whole, score)

    def values_of(self, name: str) -> tuple[int, ...]:
        """The voxel values of a label, in the prediction, else in the reference; 1 for a mask of 255."""
        mine, theirs = self.places[name]
        found = {value for _, value in mine or theirs if value is not None}
        return tuple(sorted(found)) if found and found != {255} else (1,)

    def _boxes(self) -> dict[str, tuple[slice, ...]]:
        """Around each label in both images, with a voxel more; one voxel if there is none."""
        sides = [[v for _, v in both[k] if v is not None] for both in self.places.values() for k in (0, 1)]
        values = sorted({v for some in sides for v in some})
        found = [value_boxes(array[0], values) for array in (self.prediction, self.reference)]
        shape = self.reference.shape[1:]
        return {
            name: around([found[k][v] for k in (0, 1) for _, v in both[k] if v in found[k]], shape)
            for name, both in self.places.items()
        }


def declared(prediction: Segments, reference: Segments, labels: Labels, *, by_value: bool = False) -> Masks:
    """The labels of a table, found in both files.

    Raises
    ------
    LabelError
        As :meth:`truevox.io.segments.Segments.asked`.
    """
    mine, theirs = (side.asked(labels, by_value=by_value) for side in (prediction, reference))
    known = reference.ignored(labels)
    places = {name: (mine[name], theirs[name]) for name in labels.names}
    return Masks(prediction.array, reference.array, places, None if known is None else ~known)


def found_in(prediction: Segments, reference: Segments) -> Masks:
    """Every label that a file names or holds, by the name that its file gives it, else by its number.

    The names of one file serve both, if the other one has none; names that differ in case and separators
    only are one, called as in the reference.

    Raises
    ------
    LabelError
        If a file has several channels, and says nothing of them.

    Examples
    --------
    >>> from pathlib import Path
    >>> one, two = (Segments(np.array([[[row]]]), Path()) for row in ([0, 1, 3], [0, 1, 1]))
    >>> [(name, int(m.prediction.sum()), int(m.reference.sum())) for name, m in found_in(one, two)]
    [('1', 1, 2), ('3', 1, 0)]
    """
    mine, theirs = prediction.named(reference), reference.named(prediction)
    shown = {name: name for name in theirs} | {name: _called(name, mine, theirs) for name in mine}
    named: dict[str, tuple[Places, Places]] = {}
    for side, found in enumerate((mine, theirs)):
        for name, places in found.items():
            both = list(named.get(shown[name], ((), ())))
            both[side] = (*both[side], *places)
            named[shown[name]] = (both[0], both[1])
    known = reference.ignored(None)
    places = {name: named[name] for name in sorted(named, key=order)}
    return Masks(prediction.array, reference.array, places, None if known is None else ~known)


def _called(name: str, mine: Collection[str], theirs: Collection[str]) -> str:
    """What a name of a prediction is in the reference, if one and only one is like it; else itself."""
    alike = [n for n in theirs if same_name(n) == same_name(name) and n not in mine]
    twins = [n for n in mine if same_name(n) == same_name(name) and n not in theirs]
    return alike[0] if name not in theirs and len(alike) == len(twins) == 1 else name


def check_table(side: Segments, labels: Labels, strict: bool, what: str) -> str:
    """A note on values that the table does not declare.

    Raises
    ------
    LabelError
        If ``strict``, where there are such values; names the file.
    """
    if len(side.array) > 1:
        return ""
    if strict:
        try:
            labels.check(np.array([0, *side.values]))
        except LabelError as error:
            error.file = str(side.path)
            raise
        return ""
    unknown = sorted(set(side.values) - {labels.ignore, *labels.values})
    if not unknown or side.is_mask_of(labels):
        return ""
    shown = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
    return f"values that the label table lacks, in the {what}: {shown}"


def scores_of(
    scores: NDArray, table: Labels | None, values: Mapping[str, Collection[int]], *, declared: bool
) -> dict[str, NDArray]:
    """Probabilities (C, I, J, K) by label: by the names of their file, else by the values of the labels.

    Labels of the values 1 to n are channels in the order of these values, in whatever order they were named.
    Others, such as regions, are channels in the order of the table that declares them.

    Parameters
    ----------
    scores : (C, I, J, K)
    table : Labels, optional
        What their file says of its channels.
    values : mapping of label to voxel values
    declared : bool
        Whether a label table says that these are all labels.

    Raises
    ------
    LabelError
        If they are not as many as labels, or one more with the background first.
    """
    if table is not None and table.layers is not None and set(values) <= set(table.layers):
        return {name: scores[table.layers[name]] for name in values}
    more = len(scores) - len(values)
    if more not in (0, 1):
        raise LabelError(
            "Probabilities and labels differ in number.",
            got=f"{len(scores)} channels",
            expected=f"{len(values)}, or {len(values) + 1} with the background first",
            remedy="--labels names one label for each channel",
        )
    if more:
        _expect_background(scores)
    held = sorted(value for some in values.values() for value in some)
    if held == list(range(1, len(values) + 1)):
        return {name: scores[next(iter(some)) - 1 + more] for name, some in values.items()}
    if not declared and len(values) > 1:
        raise LabelError(
            "Nothing says which channel of the probabilities is which label.",
            got=f"{len(scores)} channels; labels of the values {', '.join(map(str, held))}",
            remedy="--labels names one label for each channel, in their order",
        )
    return {name: scores[k + more] for k, name in enumerate(values)}


def _expect_background(scores: NDArray) -> None:
    """Refuse a first channel that is no background: with it, probabilities sum to 1."""
    total = scores.sum(0, dtype=np.float64)
    # 0 is where they do not reach; numbers beyond 1 are no probabilities, which metrics say.
    odd = total[(np.abs(total - 1) > _SUM_SLACK) & (total != 0)]
    if odd.size and scores.max() <= 1 + _SUM_SLACK:
        raise LabelError(
            "There is a channel more than labels, and it is no background: probabilities do not sum to 1.",
            got=f"sums of {odd.min():.3g} to {odd.max():.3g}",
            remedy="--labels names one label for each channel",
        )


def order(name: str) -> tuple[bool, int, str]:
    """Numbers by size, before words."""
    number = name.lstrip("-").isdigit()
    return (not number, int(name) if number else 0, name)
