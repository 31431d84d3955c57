"""What a loss does to an area: three losses and one network, on slices with four raters.

    python experiments/volume_bias.py                   phantoms with a known chance of every pixel
    python experiments/volume_bias.py --data DIR        lung nodules of lidc_idri_4raters

Every step of training shows the network the mask of one rater, drawn at random; patients are predicted by a
network that did not see them. Beside the areas that come out stands what theory expects of soft Dice, from
the raters' masks alone and from the maps of cross-entropy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from common import Batch, Check, Plan, accept, in_turn, options, plan_of, predict, report, train, turned
from evidence import Estimate, ratio
from images import Nodules, lidc, margins
from numpy.typing import NDArray
from volume_bias_figure import draw_figure

from truevox.losses import CrossEntropy, Loss, SoftDice
from truevox.theory import NestedLaw, from_maps, marginal_threshold, optimum

FOLDS = 2
CE, BOTH, DICE = "cross-entropy", "cross-entropy + soft Dice", "soft Dice"
LOSSES: dict[str, Loss] = {CE: CrossEntropy(), BOTH: CrossEntropy() + SoftDice(), DICE: SoftDice()}
RATERS, KNOWN = "theory, from the raters", "theory, from the known chance"
MAPS = "theory, from the cross-entropy maps"
THEORY = {False: (RATERS, "soft Dice, these raters"), True: (KNOWN, "soft Dice, independent pixels")}
"""What the figure shows beside the networks, for the raters' masks and for a known chance."""
Areas = dict[tuple[str, str], NDArray[np.float64]]
"""Area of every slice in pixels, by source and kind."""


def main(argv: Sequence[str] | None = None) -> int:
    given = options(__doc__, 1000, "folder with lidc_idri_4raters; without it, phantoms").parse_args(argv)
    started = time.perf_counter()
    data = lidc(given.data, given.cases) if given.data else margins(given.cases or 600, given.seed)
    # No normalisation layers: how bright a pixel is says how likely it is marked.
    plan = plan_of(given, batch=16, rate=0.004, norm=None)
    fold = folds(data.patient, plan.seed)
    maps = cross_fitted(data, fold, plan, given.jobs)
    areas = measured(maps) | from_raters(data) | from_probabilities(maps[CE], MAPS)
    if data.known:
        areas |= from_probabilities(data.expected, KNOWN)
    found = table(data, fold, areas, maps)
    checks = directions(found, data.known)
    name = f"volume_bias_{data.name}"
    report(given.out, name, found, checks, plan, started)
    draw_figure(given.out, name, data, found, maps, THEORY[data.known])
    return accept(checks)


def folds(patient: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Fold of every slice; a patient is in one."""
    people = np.unique(patient)
    place = np.random.default_rng(seed).permutation(len(people)) % FOLDS
    return place[np.searchsorted(people, patient)]


def cross_fitted(
    data: Nodules, fold: NDArray[np.int64], plan: Plan, jobs: int
) -> dict[str, NDArray[np.float32]]:
    """Probabilities of every slice, from the network that did not see its patient."""
    calls = [(data, fold == k, loss, plan, k) for loss in LOSSES.values() for k in range(FOLDS)]
    results = iter(in_turn(jobs, held_out, calls))
    maps = {name: np.empty(data.images.shape, np.float32) for name in LOSSES}
    for name in LOSSES:
        for k in range(FOLDS):
            maps[name][fold == k] = next(results)
    return maps


def held_out(data: Nodules, test: NDArray[np.bool_], loss: Loss, plan: Plan, seed: int) -> NDArray:
    """Train on the other slices, predict these."""
    rows = np.flatnonzero(~test)

    def draw(rng: np.random.Generator, size: int) -> Batch:
        index = rng.choice(rows, size)
        rater = rng.integers(data.masks.shape[1], size=size)
        image, mask = turned(rng, data.images[index], data.masks[index, rater])
        return Batch(torch.from_numpy(image)[:, None], torch.from_numpy(mask).long())

    net = train(loss, draw, 2, plan, seed)
    return predict(net, torch.from_numpy(data.images[test])[:, None])


def measured(maps: Mapping[str, NDArray[np.float32]]) -> Areas:
    """Expected area (sum of the probabilities) and area of the mask (above 0.5)."""
    found: Areas = {}
    for name, p in maps.items():
        found[name, "expected"] = p.sum((1, 2), dtype=np.float64)
        found[name, "mask"] = (p > 0.5).sum((1, 2)).astype(np.float64)
    return found


def from_raters(data: Nodules) -> Areas:
    """The majority, and what soft Dice asks for under three laws with the raters' probabilities."""
    laws = {"soft Dice, these raters": [], "soft Dice, nested": [], "soft Dice, independent pixels": []}
    for masks in data.masks:
        maps = from_maps(masks)
        for law, areas in zip((maps.law, maps.nested(), maps.independent()), laws.values(), strict=True):
            areas.append(optimum(law=law).volume if masks.any() else 0.0)
    majority = (data.masks.mean(1) > 0.5).sum((1, 2)).astype(np.float64)
    return {(RATERS, "majority"): majority} | {(RATERS, law): np.array(areas) for law, areas in laws.items()}


def from_probabilities(maps: NDArray[np.float32], source: str) -> Areas:
    """What soft Dice asks for if these probabilities are right, under the two extreme laws."""
    nested, many = [], []
    for p in maps.astype(np.float64):
        many.append(marginal_threshold(p).volume)
        levels, sizes = np.unique(np.round(p[p > 0.005], 2), return_counts=True)
        nested.append(optimum(law=NestedLaw(sizes, levels)).volume if len(levels) else 0.0)
    return {
        (source, "soft Dice, nested"): np.array(nested),
        (source, "soft Dice, independent pixels"): np.array(many),
    }


def table(
    data: Nodules, fold: NDArray[np.int64], areas: Areas, maps: Mapping[str, NDArray[np.float32]]
) -> list[dict[str, Any]]:
    """A row per source, kind and group of nodules."""
    reference = data.expected.sum((1, 2), dtype=np.float64)
    nodules = np.arange(len(data.uncertainty))
    rank = np.argsort(np.argsort(data.uncertainty))
    quarter = (4 * rank // len(nodules))[data.nodule]
    groups = {"all": np.ones(len(fold), bool)}
    groups |= {f"quarter {k + 1}": quarter == k for k in range(4)}
    groups |= {f"fold {k + 1}": fold == k for k in range(FOLDS)}
    scores = {name: rater_dice(data, p > 0.5) for name, p in maps.items()}
    person = data.patient[np.unique(data.nodule, return_index=True)[1]]
    rows = []
    for (source, kind), area in areas.items():
        for group, chosen in groups.items():
            bias = ratio((area - reference)[chosen], reference[chosen], data.patient[chosen])
            cases = np.unique(data.nodule[chosen])
            row = {"source": source, "kind": kind, "group": group}
            row |= {"patients": len(np.unique(person[cases])), "nodules": len(cases)}
            row |= percent(bias)
            row |= {"bias_per_nodule": (area - reference)[chosen].sum() * data.pixel / len(cases)}
            row |= {"reference_per_nodule": reference[chosen].sum() * data.pixel / len(cases)}
            row |= {"unit": data.unit}
            masks = kind == "mask"
            rows.append(row | dice_columns(scores[source][cases] if masks else None, person[cases]))
    return rows


def percent(bias: Estimate) -> dict[str, float]:
    return dict(zip(("bias_percent", "ci_low", "ci_high"), (100 * x for x in bias), strict=True))


def rater_dice(data: Nodules, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dice of every nodule's stack of slices against every rater (nodules, R); NaN if he marked nothing."""
    count, raters = len(data.uncertainty), data.masks.shape[1]
    found = np.full((count, raters), np.nan)
    predicted = np.bincount(data.nodule, mask.sum((1, 2)), count)
    for r in range(raters):
        marked = np.bincount(data.nodule, data.masks[:, r].sum((1, 2)), count)
        both = np.bincount(data.nodule, (data.masks[:, r] & mask).sum((1, 2)), count)
        found[:, r] = np.where(marked > 0, 2 * both / np.maximum(predicted + marked, 1), np.nan)
    return found


def dice_columns(scores: NDArray[np.float64] | None, person: NDArray[np.int64]) -> dict[str, Any]:
    """Mean Dice over nodules and the raters who marked them, with its interval; and against each rater."""
    if scores is None:
        return dict.fromkeys(("dice", "dice_low", "dice_high", *(f"dice_rater{r}" for r in range(1, 5))))
    who = np.repeat(person, scores.shape[1])
    over = ratio(scores, np.ones(scores.shape), who.reshape(scores.shape))
    columns = dict(zip(("dice", "dice_low", "dice_high"), over, strict=True))
    marked = [scores[np.isfinite(scores[:, r]), r] for r in range(scores.shape[1])]
    return columns | {f"dice_rater{r}": float(s.mean()) if len(s) else None for r, s in enumerate(marked, 1)}


def directions(rows: Sequence[Mapping[str, Any]], known: bool) -> list[Check]:
    """What theory says of the signs."""

    def of(source: str, kind: str, group: str = "all") -> Mapping[str, Any]:
        return next(r for r in rows if (r["source"], r["kind"], r["group"]) == (source, kind, group))

    exact, dice = of(CE, "expected"), of(DICE, "expected")
    checks = [
        Check("expected area of cross-entropy: bias within 10 %", abs(exact["bias_percent"]) < 10),
        Check("mask of cross-entropy: too small", of(CE, "mask")["ci_high"] < 0),
        Check(
            "soft Dice: sum of probabilities and mask say the same within 5 %",
            abs(dice["bias_percent"] - of(DICE, "mask")["bias_percent"]) < 5,
        ),
        Check(
            "Dice of the masks: soft Dice above cross-entropy",
            of(DICE, "mask")["dice"] > of(CE, "mask")["dice"],
        ),
    ]
    if not known:
        return [*checks, Check("soft Dice: too large", dice["ci_low"] > 0)]
    low, high = of(DICE, "expected", "quarter 1"), of(DICE, "expected", "quarter 4")
    return [
        *checks,
        Check("soft Dice, unlikely margins: too small", low["ci_high"] < 0),
        Check("soft Dice, likely margins: too large", high["ci_low"] > 0),
    ]


if __name__ == "__main__":
    # Under its own name, so that other processes find what they are to run.
    sys.exit(import_module("volume_bias").main())
