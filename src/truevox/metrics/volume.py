"""Volumes of two masks, and their differences; of a mask that was decided, or expected from probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from truevox.errors import LabelError
from truevox.metrics.overlap import nothing, ratio
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Better, Definition, Family, no_parameter, register, words

__all__ = ["EXPECTED"]

EXPECTED = "expected voxels"
"""Key of :attr:`Pair.cache`: an expected volume in voxels, measured where the probabilities were at hand."""
_SLACK = 1e-3
Size = Callable[[Pair], float]


# Sizes are in voxels, so that differences of masks are exact.
def _decided(pair: Pair) -> float:
    tp, fp, _, _ = pair.counts
    return tp + fp


def _reference(pair: Pair) -> float:
    tp, _, fn, _ = pair.counts
    return tp + fn


def _expected(pair: Pair) -> float:
    """The sum of the probabilities; NaN without them."""
    if pair.score is not None and EXPECTED not in pair.cache:
        score = pair.score if pair.field is None else pair.score[pair.field]
        low, high = (float(of.reduce(score, axis=None, initial=0.0)) for of in (np.fmin, np.fmax))
        if low < -_SLACK or high > 1 + _SLACK:
            raise LabelError(
                "Probabilities lie between 0 and 1.",
                got=f"{low:g} to {high:g}",
                remedy="logits need a sigmoid or softmax first, percentages a division by 100",
            )
        pair.cache[EXPECTED] = float(score.sum(dtype=np.float64))
    return pair.cache.get(EXPECTED, math.nan)


def _no_probabilities(pair: Pair) -> str:
    known = pair.score is not None or EXPECTED in pair.cache
    return (
        ""
        if known and not math.isnan(_expected(pair))
        else ("probabilities are not known everywhere" if known else "there are no probabilities")
    )


def _in_ml(size: Size) -> Size:
    return lambda pair: size(pair) * pair.voxel_ml


def _difference(size: Size) -> Size:
    return lambda pair: (size(pair) - _reference(pair)) * pair.voxel_ml


def _absolute(size: Size) -> Size:
    return lambda pair: abs(size(pair) - _reference(pair)) * pair.voxel_ml


def _relative(size: Size) -> Size:
    return lambda pair: ratio(size(pair) - _reference(pair), _reference(pair))


def _volume(
    name: str, short: str, unit: str, low: float, better: Better, make: Callable[[Size], Size], summary: str
) -> None:
    # A volume, or a difference, is what it is when one mask, or both, are empty.
    def of(way: str, called: str, size: Size) -> Definition:
        formula = summary.replace("V_P", "E[V_P]") if way == "expected" else summary
        return Definition(
            f"{name}/{way}", called, unit, low, math.inf, better, make(size), 0, nothing, nothing, False,
            formula, lacking=_no_probabilities if way == "expected" else None,
        )  # fmt: skip

    threshold = of("threshold", short, _decided)
    expected = of("expected", _called_expected(short), _expected)

    def found(parameter: str | None, variants: tuple[str, ...]) -> Definition:
        no_parameter(name, parameter)
        ways = ("threshold", "expected") if "V_P" in summary else ("threshold",)
        return expected if words(name, variants, ways) == ("expected",) else threshold

    def found_expected(parameter: str | None, variants: tuple[str, ...]) -> Definition:
        no_parameter(expected.name, parameter)
        words(expected.name, variants, ("expected",))
        return expected

    title = name.replace("_", " ").capitalize()
    for known in dict.fromkeys((name, short)):
        register(Family(known, found, short, title))
    if "V_P" in summary:
        title = _called_expected(name).replace("_", " ").capitalize()
        for known in dict.fromkeys(map(_called_expected, (name, short))):
            register(Family(known, found_expected, expected.name, title))


def _called_expected(name: str) -> str:
    """``absolute_volume_difference`` is ``absolute_expected_volume_difference``."""
    return name.replace("volume", "expected_volume", 1)


_volume("volume", "volume_ml", "ml", 0, "none", _in_ml, "V_P")
_volume("reference_volume", "reference_volume_ml", "ml", 0, "none", lambda _: _in_ml(_reference), "V_R")
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
