"""Metrics of probabilities, with the region they look at in their id."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import SettingsError
from truevox.metrics.pair import Pair
from truevox.metrics.probability import (
    Calibration,
    auroc,
    average_precision,
    band,
    brier,
    calibration,
    nll,
    soft_dice,
)
from truevox.metrics.registry import Better, Definition, Family, register

__all__: list[str] = []

BINS = 15
BAND = re.compile(r"band@(\d*\.?\d+)mm")
Measure = Callable[..., float]


def _score(pair: Pair, name: str) -> NDArray[Any]:
    if pair.score is None:
        raise SettingsError(f"'{name}' needs probabilities.", remedy="give score=")
    if getattr(pair, "whole", pair.score.shape) != pair.score.shape:
        # A part that was cut out around the masks lacks the background that these metrics count.
        raise SettingsError(
            f"'{name}' needs the probabilities of the whole image.",
            got=pair.score.shape,
            remedy="pass whole images and masks, not parts cut out around the masks",
        )
    return pair.score


def _region(pair: Pair, within_mm: float | None) -> NDArray[np.bool_] | None:
    """The voxels that count: all of the field, or those near a mask."""
    if within_mm is None:
        return pair.field
    key = ("band", within_mm)
    if key not in pair.cache:
        near = band(pair.prediction, pair.reference, pair.spacing, within_mm)
        pair.cache[key] = near if pair.field is None else near & pair.field
    return pair.cache[key]  # type: ignore[return-value]


def _calibration(pair: Pair, name: str, bins: int, within_mm: float | None, top: bool) -> Calibration:
    key = ("calibration", bins, within_mm, top)
    if key not in pair.cache:
        pair.cache[key] = calibration(
            _score(pair, name), pair.reference, bins=bins, field=_region(pair, within_mm), top_label=top
        )
    return pair.cache[key]  # type: ignore[return-value]


def _where(name: str, variants: tuple[str, ...]) -> float | None:
    """Width of the band in mm; None for all voxels."""
    if variants in ((), ("voxel",)):
        return None
    found = BAND.fullmatch(variants[0]) if len(variants) == 1 else None
    if found is None:
        raise SettingsError(
            f"'{name}' does not know '{'/'.join(variants)}'.",
            expected="voxel or band@<distance>mm",
            remedy=f"write {name} alone, or {name}/band@5mm for the voxels near a border",
        )
    return float(found[1])


def _definition(
    name: str,
    suffix: list[str],
    within_mm: float | None,
    compute: Callable[[Pair], float],
    better: Better,
    high: float,
    summary: str,
    short: str,
) -> Definition:
    region = "voxel" if within_mm is None else f"band@{within_mm:g}mm"
    own = [region, *suffix] if within_mm is not None else suffix
    best = 1.0 if better == "higher" else 0.0
    return Definition(
        "/".join([name, region, *suffix]), "/".join([short, *own]), "1", 0, high, better, compute, best,
        compute, compute, empties=False, summary=summary,
    )  # fmt: skip


def _calibrated(name: str, summary: str, parameter: str | None, variants: tuple[str, ...]) -> Definition:
    if parameter is not None and (not parameter.isdigit() or int(parameter) < 1):
        raise SettingsError(
            f"'{name}@' is followed by a number of bins.",
            got=parameter,
            expected=f"{name}@15",
            remedy="write a whole number from 1 behind @",
        )
    bins = int(parameter or BINS)
    top = bool(variants) and variants[-1] == "top"
    within_mm = _where(name, variants[: len(variants) - top])

    def compute(pair: Pair) -> float:
        return getattr(_calibration(pair, name, bins, within_mm, top), name)

    short = name if bins == BINS else f"{name}@{bins}"
    return _definition(f"{name}@{bins}", ["top"] * top, within_mm, compute, "lower", 1, summary, short)


def _plain(
    name: str,
    measure: Measure,
    better: Better,
    high: float,
    summary: str,
    parameter: str | None,
    variants: tuple[str, ...],
) -> Definition:
    if parameter is not None:
        raise SettingsError(
            f"'{name}' takes no @{parameter}.",
            expected=f"{name}[/band@<distance>mm]",
            remedy=f"leave @{parameter} out",
        )
    within_mm = _where(name, variants)

    def compute(pair: Pair) -> float:
        return measure(_score(pair, name), pair.reference, field=_region(pair, within_mm))

    return _definition(name, [], within_mm, compute, better, high, summary, name)


for _name, _title, _summary in (
    ("ece", "Expected calibration error", "gap of mean probability and part of foreground by bins, weighted"),
    ("mce", "Maximum calibration error", "largest gap of mean probability and part of foreground by bins"),
    ("ace", "Average calibration error", "mean gap of the bins that are not empty"),
):
    _usage = f"{_name}[@<bins>][/voxel|/band@<distance>mm][/top]"
    register(Family(_name, partial(_calibrated, _name, _summary), _usage, _title))
for _name, _title, _measure, _better, _high, _summary in (
    ("brier", "Brier score", brier, "lower", 1, "mean of (p - y)²"),
    (
        "nll",
        "Negative log likelihood",
        nll,
        "lower",
        -np.log(1e-7),
        "mean of -log p of what is true, in nats",
    ),
    ("soft_dice", "Soft Dice", soft_dice, "higher", 1, "2 sum(p y) / (sum p + sum y)"),
    ("auroc", "Area under the ROC curve", auroc, "higher", 1, "P(score of foreground > of background)"),
    ("average_precision", "Average precision", average_precision, "higher", 1, "precision over sensitivity"),
):
    _usage = f"{_name}[/voxel|/band@<distance>mm]"
    register(Family(_name, partial(_plain, _name, _measure, _better, _high, _summary), _usage, _title))  # type: ignore[arg-type]
