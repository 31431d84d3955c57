"""Evaluate: any metrics of a pair of masks, in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, definition
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
    metrics: Sequence[str] = ("dice",),
    *,
    score: ArrayLike | None = None,
    field: ArrayLike | None = None,
    empty: Empty = Empty(),  # noqa: B008 - frozen
) -> Values:
    """Metrics of a prediction against a reference; borders, distances and lesions are computed once for all.

    Parameters
    ----------
    prediction, reference : arrays of one shape, 1 to 3 axes
        Booleans, or integers where all that is not 0 is foreground.
    spacing : sequence of float
        Size of a voxel in mm, in the order of the axes.
    metrics : sequence of str
        Short names (``"hd95"``) or ids (``"hd95/voxel/max"``).
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
        If an array is no mask.
    SettingsError
        If there is no such metric, or it needs a score that is not given.

    Examples
    --------
    >>> found = evaluate([[1, 1, 0, 0]], [[0, 1, 1, 0]], (1, 1), ["dice", "jaccard"])
    >>> found["dice"]
    Value(value=0.5, status='ok', unit='1', reason='')
    """
    wanted = [definition(name) for name in metrics]
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
