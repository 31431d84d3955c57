"""Evaluate: any metrics of a pair of masks, in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from truevox.metrics.masks import of_label
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, named
from truevox.metrics.value import Empty, Value, Values

__all__ = ["evaluate", "value_of"]

REASONS = {
    "undefined": "both masks are empty",
    "missed": "the prediction is empty",
    "spurious": "the reference is empty",
}


def evaluate(
    prediction: ArrayLike,
    reference: ArrayLike,
    spacing: ArrayLike,
    metrics: Sequence[str] | str = ("dice",),
    *,
    label: int | Sequence[int] | None = None,
    score: ArrayLike | None = None,
    field: ArrayLike | None = None,
    empty: Empty = Empty(),  # noqa: B008 - frozen
) -> Values:
    """Metrics of a prediction against a reference; borders, distances and lesions are computed once for all.

    Parameters
    ----------
    prediction, reference : arrays of one shape, 1 to 3 axes
        Booleans, or integers with one value beside 0; with ``label``, label maps.
    spacing : sequence of float
        Size of a voxel in mm, in the order of the axes.
    metrics : sequence of str, or names with commas
        Short names (``"hd95"``) or ids (``"hd95/voxel/max"``).
    label : int, or sequence of int, optional
        The value of the label in label maps, or the values of a region.
    score : array of that shape, optional
        Probabilities of the foreground, for metrics that need them.
    field : array of bool of that shape, optional
        Where voxels count, e.g. the brain.
    empty : Empty
        What happens when a mask is empty.

    Returns
    -------
    Values
        Mapping of id to :class:`Value`, in the order asked for; a short name finds its value too.

    Raises
    ------
    GeometryError
        If shapes or spacing do not fit.
    LabelError
        If an array is no mask: it holds several labels (see :func:`evaluate_labels`), or floats; or the two
        are masks of different labels.
    SettingsError
        If there is no such metric, or it needs a score that is not given.

    Examples
    --------
    >>> found = evaluate([[1, 1, 0, 0]], [[0, 1, 1, 0]], (1, 1), ["dice", "jaccard"])
    >>> found["dice"]
    Value(value=0.5, status='ok', unit='1', reason='')
    """
    wanted = named(metrics)
    if label is not None:
        prediction, reference = (
            of_label(one, label, name) for one, name in ((prediction, "prediction"), (reference, "reference"))
        )
    pair = Pair(prediction, reference, spacing, score, field)
    return Values({one.id: value_of(one, pair, empty) for one in wanted})


def value_of(metric: Definition, pair: Pair, empty: Empty = Empty()) -> Value:  # noqa: B008 - frozen
    """One metric of a pair."""
    situation = pair.situation
    if situation == "ok" or not metric.empties:
        number = float(metric.compute(pair))
        if math.isnan(number):
            lacking = "" if metric.lacking is None else metric.lacking(pair)
            reason = lacking or REASONS.get(situation, "not defined here")
            return Value(number, "undefined", metric.unit, reason)
        return Value(number, "ok", metric.unit)
    if situation == "undefined":
        number = metric.best if empty.both == "perfect" and metric.perfect else np.nan
        return Value(float(number), "undefined", metric.unit, REASONS[situation])
    if situation == "missed":
        number = metric.missed(pair) if empty.missed == "worst" else np.nan
        return Value(float(number), "missed", metric.unit, REASONS[situation])
    number = metric.spurious(pair) if empty.spurious == "worst" else np.nan
    return Value(float(number), "spurious", metric.unit, REASONS[situation])
