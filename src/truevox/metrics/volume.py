"""Volumes of two masks, and their differences."""

from __future__ import annotations

import math
from collections.abc import Callable

from truevox.metrics.overlap import nothing, ratio
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Better, Definition, Family, no_parameter, register, words

__all__: list[str] = []


def _of_prediction(pair: Pair) -> float:
    tp, fp, _, _ = pair.counts
    return (tp + fp) * pair.voxel_ml


def _of_reference(pair: Pair) -> float:
    tp, _, fn, _ = pair.counts
    return (tp + fn) * pair.voxel_ml


def _difference(pair: Pair) -> float:
    _, fp, fn, _ = pair.counts
    return (fp - fn) * pair.voxel_ml


def _absolute(pair: Pair) -> float:
    return abs(_difference(pair))


def _relative(pair: Pair) -> float:
    tp, fp, fn, _ = pair.counts
    return ratio(fp - fn, tp + fn)


def _volume(
    name: str, short: str, unit: str, low: float, better: Better, of: Callable[[Pair], float], summary: str
) -> None:
    # A volume, or a difference, is what it is when one mask, or both, are empty.
    made = Definition(
        f"{name}/threshold", short, unit, low, math.inf, better, of, 0, nothing, nothing, False, summary
    )

    def make(parameter: str | None, variants: tuple[str, ...]) -> Definition:
        no_parameter(name, parameter)
        words(name, variants, ("threshold",))
        return made

    title = name.replace("_", " ").capitalize()
    for known in dict.fromkeys((name, short)):
        register(Family(known, make, short, title))


_volume("volume", "volume_ml", "ml", 0, "none", _of_prediction, "V_P")
_volume("reference_volume", "reference_volume_ml", "ml", 0, "none", _of_reference, "V_R")
_volume("volume_difference", "volume_difference_ml", "ml", -math.inf, "zero", _difference, "V_P - V_R")
_volume(
    "absolute_volume_difference",
    "absolute_volume_difference_ml",
    "ml",
    0,
    "lower",
    _absolute,
    "|V_P - V_R|",
)
_volume(
    "relative_volume_difference",
    "relative_volume_difference",
    "1",
    -1,
    "zero",
    _relative,
    "(V_P - V_R) / V_R",
)
