"""Metrics of lesions: F1, sensitivity, precision, quality, each with its rule of matching in its id."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np

from truevox.errors import SettingsError
from truevox.metrics.components import Components, checked_connectivity, components, lies_reversed
from truevox.metrics.lesions import LesionMatch, match_components
from truevox.metrics.matching import USAGE, Rule, parse_rule
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, register

__all__: list[str] = []

DEFAULT = "iou@0.5/optimal"
LEAST = re.compile(r"min@(\d*\.?\d+)ml")
SIZES = re.compile(r"size@(\d*\.?\d+)-(\d*\.?\d+|inf)ml")
Measure = Callable[[LesionMatch], float]


def lesions_of(pair: Pair, rule: Rule, min_ml: float) -> LesionMatch:
    """The lesions of a pair matched by a rule; what several metrics share is computed once."""
    key = ("lesions", rule, min_ml)
    if key not in pair.cache:
        pair.cache[key] = match_components(
            _components(pair, "prediction", rule.connectivity),
            _components(pair, "reference", rule.connectivity),
            pair.spacing,
            rule,
            min_ml=min_ml,
            score=pair.score if rule.way == "score" else None,
        )
    return pair.cache[key]  # type: ignore[return-value]


def _components(pair: Pair, side: str, connectivity: int | None) -> Components:
    neighbours = checked_connectivity(connectivity, pair.reference.ndim)
    key = ("components", side, neighbours)
    if key not in pair.cache:
        reverse = lies_reversed(pair.reference)
        pair.cache[key] = components(getattr(pair, side), neighbours, reverse=reverse)
    return pair.cache[key]  # type: ignore[return-value]


def _sensitivity(match: LesionMatch, low: float, high: float) -> float:
    here = (match.reference_ml >= low) & (match.reference_ml < high)
    return float(match.matching.found[here].mean()) if here.any() else np.nan


def _precision(match: LesionMatch, low: float, high: float) -> float:
    here = (match.prediction_ml >= low) & (match.prediction_ml < high)
    return float(match.matching.right[here].mean()) if here.any() else np.nan


def _make(
    name: str, measure: Measure, summary: str, parameter: str | None, variants: tuple[str, ...]
) -> Definition:
    if parameter is not None:
        raise SettingsError(
            f"'{name}' takes no @{parameter}.",
            expected=f"{name}[/{USAGE}]",
            remedy=f"leave @{parameter} out; the rule of matching comes behind a slash",
        )
    least, sizes, words = 0.0, "", []
    for word in variants:
        if found := LEAST.fullmatch(word):
            least = float(found[1])
        elif found := SIZES.fullmatch(word):
            measure, sizes = _by_size(name, float(found[1]), float(found[2])), word
        else:
            words.append(word)
    if not words or words[0].isdigit() or words == ["strict"]:
        words = [DEFAULT, *words]
    rule = parse_rule("/".join(words))
    if not rule.one_to_one and name in ("lesion_sq", "panoptic_quality"):
        raise SettingsError(
            f"'{name}' needs a rule that matches one to one.",
            got=str(rule),
            expected=DEFAULT,
            remedy=f"write {name}, or {name}/{DEFAULT}",
        )
    extra = [*([f"min@{least:g}ml"] if least else []), *([sizes] if sizes else [])]
    short = "pq" if name == "panoptic_quality" else name
    own = extra if str(rule) == DEFAULT else [str(rule), *extra]

    def compute(pair: Pair) -> float:
        return measure(lesions_of(pair, rule, least))

    # The formulas know empty masks: a sensitivity to nothing is NaN, a missed lesion counts 0.
    return Definition(
        "/".join([name, str(rule), *extra]), "/".join([short, *own]), "1", 0, 1, "higher", compute, 1.0,
        compute, compute, summary=summary,
    )  # fmt: skip


def _by_size(name: str, low: float, high: float) -> Measure:
    if low >= high:
        raise SettingsError(
            "A range of sizes begins below its end.",
            got=f"{low:g}-{high:g}ml",
            remedy="write the smaller size first: 0.1-1ml",
        )
    if name == "lesion_sensitivity":
        return partial(_sensitivity, low=low, high=high)
    if name == "lesion_precision":
        return partial(_precision, low=low, high=high)
    raise SettingsError(
        f"'{name}' has no value by size.", remedy="ask for lesion_sensitivity and lesion_precision by size"
    )


def _family(name: str, title: str, measure: Measure, summary: str, alias: str = "") -> None:
    usage = f"{alias or name}[/<rule>][/min@<volume>ml]"
    if name in ("lesion_sensitivity", "lesion_precision"):
        usage += "[/size@<low>-<high>ml]"
    register(Family(alias or name, partial(_make, name, measure, summary), usage, title))


_family("lesion_f1", "Lesion-wise F1", lambda m: m.f1, "2 TP / (2 TP + FP + FN), of lesions")
_family(
    "lesion_sensitivity",
    "Lesion-wise sensitivity",
    lambda m: m.sensitivity,
    "reference lesions that were found / all of them",
)
_family(
    "lesion_precision",
    "Lesion-wise precision",
    lambda m: m.precision,
    "predicted lesions that are right / all",
)
_family(
    "lesion_sq", "Segmentation quality", lambda m: m.sq, "mean IoU of matched lesions, 0 if there are none"
)
_PQ = ("panoptic_quality", "Panoptic quality", lambda m: m.pq, "lesion_f1 times lesion_sq")
_family(*_PQ)
_family(*_PQ, alias="pq")
