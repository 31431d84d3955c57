"""Metrics of every label of a label map, or of every channel: each in its own box, found in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, LabelError
from truevox.metrics.masks import as_array, as_mask
from truevox.metrics.pair import Pair, check_spacing
from truevox.metrics.registry import named
from truevox.metrics.scoring import value_of
from truevox.metrics.value import Empty, Values

__all__ = ["evaluate_labels"]

Members = int | tuple[int, ...]
Box = tuple[slice, ...]


def evaluate_labels(
    prediction: ArrayLike,
    reference: ArrayLike,
    spacing: ArrayLike,
    labels: Mapping[str, Members] | Sequence[int] | None = None,
    metrics: Sequence[str] | str = ("dice",),
    *,
    score: Mapping[str, ArrayLike] | None = None,
    field: ArrayLike | None = None,
    empty: Empty = Empty(),  # noqa: B008 - frozen
) -> dict[str, Values]:
    """Metrics of each label; a region of several values is the union of its parts.

    Parameters
    ----------
    prediction, reference : integer arrays of one shape
        Label maps of 1 to 3 axes where 0 is background; or, with one axis more than the spacing has
        numbers, masks that may overlap (C, ...).
    spacing : sequence of float
        Size of a voxel in mm, in the order of the axes.
    labels : mapping of name to value, or to a tuple of values; or sequence of values; optional
        What to measure; without names, numbers are the names. For masks that may overlap, values are
        channels. Default: each value that either array holds but 0 (each channel), under its number.
    metrics : sequence of str, or names with commas
        Short names or ids.
    score : mapping of name to array, optional
        Probabilities of labels, for metrics that need them.
    field : array of bool, optional
        Where voxels count.
    empty : Empty
        What happens when a mask is empty.

    Returns
    -------
    dict of str to Values
        By name of the label.

    Raises
    ------
    GeometryError
        If shapes or spacing do not fit.
    LabelError
        If an array holds no labels, or a channel is asked for that there is not.
    SettingsError
        If there is no such metric.

    Examples
    --------
    >>> p, r = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 0]])
    >>> found = evaluate_labels(p, r, (1, 1), {"core": 1, "whole": (1, 2)})
    >>> round(found["core"]["dice"].value, 4), found["whole"]["dice"].value
    (0.6667, 1.0)
    """
    p, r = as_array(prediction, "prediction"), as_array(reference, "reference")
    if p.shape != r.shape:
        raise GeometryError(
            "Prediction and reference have different shapes.",
            got=p.shape,
            expected=r.shape,
            remedy="bring the prediction to the grid of the reference first",
        )
    wanted = named(metrics)
    channels = p.ndim == np.size(np.asarray(spacing)) + 1
    shape = p.shape[1:] if channels else p.shape
    size = check_spacing(spacing, len(shape))
    inside = None if field is None else as_mask(field, "field")
    if inside is not None and inside.shape != shape:
        raise GeometryError(
            "The field and the labels have different shapes.",
            got=inside.shape,
            expected=shape,
            remedy="pass a field of the shape of the labels, without a channel axis",
        )
    if labels is not None and not isinstance(labels, Mapping):
        labels = {str(int(value)): int(value) for value in _values(labels)}
    voxels = int(np.prod(shape) if inside is None else np.count_nonzero(inside))
    parts = _of_channels(p, r, labels) if channels else _of_map(p, r, labels)
    scores = score or {}
    found = {}
    for name, (box, one, other) in parts.items():
        if name in scores:  # probabilities count wherever they are
            one, other = (_whole(mask, box, shape) for mask in (one, other))
            pair = Pair(one, other, size, scores[name], inside)
        else:
            cut = None if inside is None else inside[box]
            pair = Pair(one, other, size, field=cut, whole=shape, voxels=voxels)
        found[name] = Values({metric.id: value_of(metric, pair, empty) for metric in wanted})
    return found


def _whole(mask: NDArray[np.bool_], box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask that was cut to a box, in its image."""
    image = np.zeros(shape, np.bool_)
    image[box] = mask
    return image


Parts = dict[str, tuple[Box, NDArray[np.bool_], NDArray[np.bool_]]]


def _values(labels: object) -> NDArray:
    values = np.atleast_1d(np.asarray(labels))
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise LabelError(
            "The labels to measure can't be understood.",
            got=labels,
            expected='{"tumour": 1, "whole": (1, 2)}, or values: [1, 2]',
            remedy="give each label a name and its whole number, or a list of numbers",
        )
    return values


def _tuple(members: Members) -> tuple[int, ...]:
    return (int(members),) if isinstance(members, int | np.integer) else tuple(map(int, members))


def _of_channels(p: NDArray, r: NDArray, labels: Mapping[str, Members] | None) -> Parts:
    chosen = {str(c): c for c in range(len(p))} if labels is None else labels
    parts: Parts = {}
    for name, members in chosen.items():
        one, other = (_union(array, _tuple(members), name) for array in (p, r))
        parts[name] = ((slice(None),) * one.ndim, one, other)
    return parts


def _union(array: NDArray, channels: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    if not all(0 <= c < len(array) for c in channels) or not channels:
        raise LabelError(
            f"'{name}' is in no channel.",
            got=channels,
            expected=f"channels from 0 to {len(array) - 1}",
            remedy=f"give '{name}' the number of its channel",
        )
    union = as_mask(array[channels[0]], "mask")
    for c in channels[1:]:
        union = union | as_mask(array[c], "mask")
    return union


def _of_map(p: NDArray, r: NDArray, labels: Mapping[str, Members] | None) -> Parts:
    for array, what in ((p, "prediction"), (r, "reference")):
        if array.dtype.kind not in "biu":
            raise LabelError(
                f"The {what} is no label map.",
                got=str(array.dtype),
                expected="integers",
                remedy="convert it by .astype(int) if its values are whole, or threshold probabilities first",
            )
    if labels is None:
        held = np.union1d(np.unique(p), np.unique(r))
        labels = {str(int(value)): int(value) for value in held if value}
    members = {name: _tuple(one) for name, one in labels.items()}
    if any(value == 0 for one in members.values() for value in one) or not all(members.values()):
        raise LabelError(
            "A label has values other than 0, which is background.",
            got=members,
            remedy="remove the label of value 0 or without a value",
        )
    values = sorted({value for one in members.values() for value in one})
    found = [value_boxes(array, values) for array in (p, r)]
    parts: Parts = {}
    for name, own in members.items():
        cut = around([one[value] for one in found for value in own if value in one], p.shape)
        one, other = (_is_one_of(array[cut], own) for array in (p, r))
        parts[name] = (cut, one, other)
    return parts


def _is_one_of(array: NDArray, values: tuple[int, ...]) -> NDArray[np.bool_]:
    found = array == values[0]
    for value in values[1:]:
        found |= array == value
    return found


def around(boxes: Sequence[NDArray[np.int64]], shape: tuple[int, ...]) -> Box:
    """A box around boxes (axes, 2) in an image, with a voxel more; the first voxel if there are none.

    Examples
    --------
    >>> around([np.array([[2, 3], [0, 1]])], (5, 5))
    (slice(1, 4, None), slice(0, 2, None))
    """
    if not boxes:
        return (slice(0, 1),) * len(shape)
    together = np.array(boxes)
    low = np.maximum(together[..., 0].min(0) - 1, 0)
    high = np.minimum(together[..., 1].max(0) + 1, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def value_boxes(array: NDArray, values: Sequence[int]) -> dict[int, NDArray[np.int64]]:
    """Boxes (axes, 2) of those values, in ascending order, that the array holds.

    Examples
    --------
    >>> value_boxes(np.array([[0, 0, -3]]), [-3, 1])[-3].tolist()
    [[0, 1], [2, 3]]
    """
    from truevox.kernels.label_boxes import label_boxes

    turned = array.flags.f_contiguous and not array.flags.c_contiguous
    plain = array.view(np.uint8) if array.dtype == bool else array
    flat = np.ascontiguousarray(plain.T if turned else plain)
    span = np.iinfo(flat.dtype)
    able = np.array([v for v in values if span.min <= v <= span.max and v != 0], flat.dtype)
    found = label_boxes(flat.reshape((1,) * (3 - flat.ndim) + flat.shape), able)[:, 3 - flat.ndim :]
    found = found[:, ::-1] if turned else found
    return {int(v): box for v, box in zip(able, found, strict=True) if (box[:, 0] < box[:, 1]).all()}
