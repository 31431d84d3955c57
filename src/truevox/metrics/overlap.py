"""Overlap of two masks: metrics of the four counts.

References
----------
Dice (1945); Jaccard (1912); van Rijsbergen (1979), F-beta; Matthews (1975); Cohen (1960), kappa; Raina et al.
(2023), Tackling bias in the Dice similarity coefficient: introducing nDSC.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from truevox.errors import SettingsError
from truevox.metrics.pair import Counts, Pair
from truevox.metrics.registry import Definition, Family, no_parameter, number, register, words

__all__: list[str] = []

LOAD = 0.001
"""Share of foreground that nDSC refers to by default: that of white matter lesions in a brain."""


def ratio(above: float, below: float) -> float:
    """A quotient that is NaN, not an error, when it is 0 / 0."""
    return above / below if below else math.nan


@dataclass(frozen=True)
class OfCounts:
    """A metric that needs the counts alone."""

    formula: Callable[[Counts], float]

    def __call__(self, pair: Pair) -> float:
        """Its value for two masks."""
        return self.formula(pair.counts)


def worst(_: Pair) -> float:
    """Of an overlap."""
    return 0.0


def nothing(_: Pair) -> float:
    """Where a metric has no meaning."""
    return math.nan


def _dice(c: Counts) -> float:
    return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def _jaccard(c: Counts) -> float:
    return ratio(c.tp, c.tp + c.fp + c.fn)


def _sensitivity(c: Counts) -> float:
    return ratio(c.tp, c.tp + c.fn)


def _precision(c: Counts) -> float:
    return ratio(c.tp, c.tp + c.fp)


def _specificity(c: Counts) -> float:
    return ratio(c.tn, c.tn + c.fp)


def _balanced_accuracy(c: Counts) -> float:
    return (_sensitivity(c) + _specificity(c)) / 2


def _mcc(c: Counts) -> float:
    margins = math.prod(map(math.sqrt, (c.tp + c.fp, c.tp + c.fn, c.tn + c.fp, c.tn + c.fn)))
    return ratio(c.tp * c.tn - c.fp * c.fn, margins)


def _kappa(c: Counts) -> float:
    chance = (c.tp + c.fp) * (c.tn + c.fp) + (c.tp + c.fn) * (c.tn + c.fn)
    return ratio(2 * (c.tp * c.tn - c.fp * c.fn), chance)


def _volumetric_similarity(c: Counts) -> float:
    return 1 - ratio(abs(c.fp - c.fn), 2 * c.tp + c.fp + c.fn)


def _fbeta(c: Counts, beta: float) -> float:
    square = beta**2
    return ratio((1 + square) * c.tp, (1 + square) * c.tp + square * c.fn + c.fp)


def _ndice(c: Counts, load: float) -> float:
    true, rest = c.tp + c.fn, c.tn + c.fp
    # Without a reference, or with nothing else, there is no rate of false positives to scale.
    scale = (1 - load) / load * true / rest if true and rest else 1.0
    return ratio(2 * c.tp, 2 * c.tp + scale * c.fp + c.fn)


def _definition(name: str, formula: Callable[[Counts], float], summary: str) -> Definition:
    """A ratio from 0 to 1 that is 0 when one mask is empty."""
    return Definition(
        f"{name}/voxel", name, "1", 0, 1, "higher", OfCounts(formula), 1, worst, worst, summary=summary
    )  # fmt: skip


def _plain(made: Definition, title: str) -> None:
    """A family of one."""

    def make(parameter: str | None, variants: tuple[str, ...]) -> Definition:
        no_parameter(made.name, parameter)
        words(made.name, variants, ("voxel",))
        return made

    register(Family(made.name, make, made.name, title))


def _fbeta_at(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    beta = number("fbeta", parameter, "fbeta@2")
    words("fbeta", variants, ("voxel",))
    summary = "(1 + b²) TP / ((1 + b²) TP + b² FN + FP)"
    return _definition(f"fbeta@{beta:.12g}", partial(_fbeta, beta=beta), summary)


def _ndice_at(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    load = number("ndice", parameter, "ndice@0.001", default=LOAD)
    words("ndice", variants, ("voxel",))
    if load >= 1:
        raise SettingsError(
            "ndice is given a share of foreground.",
            got=load,
            expected="less than 1: ndice@0.001",
            remedy="write the share of the image that lesions take, between 0 and 1",
        )
    summary = "2 TP / (2 TP + k FP + FN), k = (1 - r) / r · (TP + FN) / (TN + FP): Dice as it were at load r"
    made = _definition(f"ndice@{load:.12g}", partial(_ndice, load=load), summary)
    return replace(made, name="ndice") if load == LOAD else made


_plain(_definition("dice", _dice, "2 TP / (2 TP + FP + FN)"), "Dice coefficient")
_plain(_definition("jaccard", _jaccard, "TP / (TP + FP + FN)"), "Jaccard index")
_plain(
    replace(_definition("sensitivity", _sensitivity, "TP / (TP + FN)"), spurious=nothing, perfect=False),
    "Sensitivity",
)
_plain(
    replace(_definition("precision", _precision, "TP / (TP + FP)"), missed=nothing, perfect=False),
    "Precision (positive predictive value)",
)
_plain(replace(_definition("specificity", _specificity, "TN / (TN + FP)"), empties=False), "Specificity")
_plain(
    replace(
        _definition("balanced_accuracy", _balanced_accuracy, "(sensitivity + specificity) / 2"),
        missed=OfCounts(_balanced_accuracy),
        spurious=nothing,
        perfect=False,
    ),
    "Balanced accuracy",
)
_plain(
    replace(
        _definition(
            "mcc", _mcc, "(TP TN - FP FN) / √((TP + FP)(TP + FN)(TN + FP)(TN + FN)); 0 if one mask is empty"
        ),
        low=-1,
    ),
    "Matthews correlation coefficient",
)
_plain(
    replace(
        _definition(
            "kappa", _kappa, "2 (TP TN - FP FN) / ((TP + FP)(TN + FP) + (TP + FN)(TN + FN))"
        ),
        low=-1,
    ),
    "Cohen's kappa",
)  # fmt: skip
_plain(
    _definition("volumetric_similarity", _volumetric_similarity, "1 - |FP - FN| / (2 TP + FP + FN)"),
    "Volumetric similarity",
)
register(Family("fbeta", _fbeta_at, "fbeta@<b>", "F-beta score"))
register(Family("ndice", _ndice_at, "ndice[@<load>]", "Normalised Dice"))
