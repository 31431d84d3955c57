"""Missing or empty? What soft Dice makes of a label that half of the images do not have.

    python experiments/phi_epsilon.py

Phantoms of a heart in two phases. The muscle is there in both and of the same area, but has a label in one
phase only. Training data can't say which of two things that means: nobody drew it (missing), or it must not
be found (empty). The axes of the sums (Phi) and the smoothing (epsilon) of the loss decide. Every network is
therefore judged twice: as if the label were missing (Dice of the muscle where it had no label), and as if it
were empty (how well the predicted area tells the phases apart).

A network that just starts can't tell the phases. `truevox.theory` says what the loss makes of the muscle
then: how much the expected Dice gains if the muscle is predicted in all images, against nearly none. Where
that is nothing, a run may lose the muscle before it learns where it belongs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from common import Batch, Check, Plan, accept, in_turn, options, plan_of, predict, report, train, turned
from evidence import auc
from images import Hearts, hearts
from numpy.typing import NDArray
from phi_epsilon_figure import draw_figure

from truevox.losses import SoftDice, expected_volumes
from truevox.theory import Dice, IndependentLaw, expected_score

MUSCLE, CLASSES, TINY = 2, 4, 1e-7
FACTORS = (0.1, 0.3, 1.0)
REDUCTIONS = ("I", "CI", "BI", "BCI")
BELOW, SMOOTHED, FLAGGED = "I, ε = V below only", "BI, ε = V", ("I, flagged", "BI, flagged")
MOSTLY = "I, ε = V, 3 of 4 labelled"


@dataclass(frozen=True)
class Setting:
    """A loss, whether it is told which labels were drawn, and which share of its images has the label."""

    loss: SoftDice
    told: bool = False
    labelled: float = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    given = options(__doc__, 1000, "not used: this experiment has phantoms only")
    given.add_argument("--repeats", type=int, default=2, help="networks per setting (2)")
    given = given.parse_args(argv)
    started = time.perf_counter()
    plan = plan_of(given, batch=4, rate=0.004)
    learnt, unseen = hearts(given.cases or 200, plan.seed), hearts(100, plan.seed + 1)
    volumes = expected_volumes(counts(learnt).tolist())
    chosen = settings(volumes, plan.batch)
    calls = [(learnt, unseen, one, plan, k) for one in chosen.values() for k in range(given.repeats)]
    results = iter(in_turn(given.jobs, judged, calls))
    found, maps = [], {}
    for name in chosen:
        for k in range(given.repeats):
            scores, shown = next(results)
            gain = gain_of(chosen[name], counts(learnt), plan.batch)
            found.append({"setting": name, "repeat": k} | scores | {"theory_gain": gain})
            maps.setdefault(name, shown)
    checks = directions(found)
    report(given.out, "phi_epsilon", found, checks, plan, started)
    draw_figure(given.out, "phi_epsilon", unseen, found, maps)
    return accept(checks)


def counts(data: Hearts) -> NDArray[np.int64]:
    """Pixels of every foreground class in every training label."""
    labels = drawn(data)
    return np.stack([(labels == c).sum((1, 2)) for c in range(1, CLASSES)], 1)


def drawn(data: Hearts) -> NDArray[np.int64]:
    """The labels for training: no muscle in contracted hearts."""
    undrawn = data.contracted[:, None, None] & (data.labels == MUSCLE)
    return np.where(undrawn, 0, data.labels)


def settings(volumes: Sequence[float], batch: int) -> dict[str, Setting]:
    """The four reductions; epsilon of the order of the expected area; and the label's absence told."""

    def smoothed(over: str, factor: float) -> SoftDice:
        size = tuple(factor * volume for volume in volumes)
        return SoftDice(over=over, smooth_nr=size, smooth_dr=size)

    found = {over: Setting(SoftDice(over=over, smooth_nr=TINY, smooth_dr=TINY))
             for over in REDUCTIONS}  # fmt: skip
    found |= {f"I, ε = {factor:g} V": Setting(smoothed("I", factor)) for factor in FACTORS}
    found[MOSTLY] = Setting(smoothed("I", 1.0), labelled=0.75)
    found[BELOW] = Setting(SoftDice(over="I", smooth_nr=0.0, smooth_dr=tuple(volumes)))
    found[SMOOTHED] = Setting(smoothed("BI", batch))
    for name in FLAGGED:
        found[name] = Setting(found[name.split(",")[0]].loss, told=True)
    return found


def gain_of(setting: Setting, areas: NDArray[np.int64], batch: int) -> float:
    """What expected Dice gains by the muscle in every image, against nearly none, if phases can't be told.

    Nearly none is a probability of 0.01: a softmax does not reach 0.

    Parameters
    ----------
    setting : Setting
    areas : array of int (N, 3)
        Of the structures in the training labels, as :func:`counts` gives them.
    batch : int

    Returns
    -------
    float
        Of the set that the muscle is in. The other structures are taken as certain.
    """
    loss, muscle = setting.loss, areas[:, MUSCLE - 1]
    images = batch if "B" in loss.over else 1
    if setting.told:  # what is not told counts nowhere
        return 1 - (1 - setting.labelled) ** images
    sizes, chances = [float(muscle[muscle > 0].mean())] * images, [setting.labelled] * images
    certain = int("C" in loss.over)
    if certain:
        others = float(areas.sum(1).mean() - muscle.mean())
        sizes, chances = [images * others, *sizes], [1.0, *chances]
    smooth = (loss.smooth_nr, loss.smooth_dr)
    above, below = (float(np.broadcast_to(e, CLASSES - 1)[MUSCLE - 1]) for e in smooth)
    law, score = IndependentLaw(sizes, chances), Dice(smooth_nr=above, smooth_dr=below)
    few, every = ([1.0] * certain + [t] * images for t in (0.01, 1.0))
    return expected_score(every, law, score) - expected_score(few, law, score)


def judged(
    learnt: Hearts, unseen: Hearts, setting: Setting, plan: Plan, seed: int
) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Train, and score on unseen hearts; with the muscle's maps of the first two of these."""
    labels = drawn(learnt)
    chance = np.where(learnt.contracted, 1 - setting.labelled, setting.labelled)

    def draw(rng: np.random.Generator, size: int) -> Batch:
        index = rng.choice(len(labels), size, p=chance / chance.sum())
        image, label = turned(rng, learnt.images[index], labels[index])
        present = torch.ones(size, CLASSES, dtype=torch.bool)
        present[:, MUSCLE] = torch.from_numpy(~learnt.contracted[index])
        told = present if setting.told else None
        return Batch(torch.from_numpy(image)[:, None], torch.from_numpy(label), told)

    net = train(setting.loss, draw, CLASSES, plan, seed)
    p = predict(net, torch.from_numpy(unseen.images)[:, None])
    return scores_of(p, unseen), p[:2, MUSCLE]


def scores_of(p: NDArray[np.float32], data: Hearts) -> dict[str, float]:
    """Of the muscle: presence from its predicted area, Dice with and without label, area without."""
    area = p[:, MUSCLE].sum((1, 2), dtype=np.float64)
    mask, truth = p.argmax(1) == MUSCLE, data.labels == MUSCLE
    dice = 2 * (mask & truth).sum((1, 2)) / (mask.sum((1, 2)) + truth.sum((1, 2)))
    whole = data.pixel_mm2 * truth.sum((1, 2))
    other = [(p.argmax(1) == c, data.labels == c) for c in (1, 3)]
    return {
        "auc_presence": auc(area, ~data.contracted),
        "dice_labelled": float(dice[~data.contracted].mean()),
        "dice_unlabelled": float(dice[data.contracted].mean()),
        "area_labelled_mm2": data.pixel_mm2 * float(area[~data.contracted].mean()),
        "area_unlabelled_mm2": data.pixel_mm2 * float(area[data.contracted].mean()),
        "area_true_mm2": float(whole.mean()),
        "dice_other_classes": float(np.mean([2 * (m & t).sum() / (m.sum() + t.sum()) for m, t in other])),
    }


def directions(rows: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Image-wise sums leave an absent label alone; batch, class and a large epsilon push it down.

    Whether others are found is asserted only where theory sees a gain from the start.
    """

    def mean(setting: str, score: str) -> float:
        return float(np.mean([row[score] for row in rows if row["setting"] == setting]))

    alone = ("I", BELOW, *FLAGGED)
    pushed = ("CI", "BI", "BCI", "I, ε = 1 V", SMOOTHED, MOSTLY)
    sure = ("BI", SMOOTHED, MOSTLY)
    return [
        *(Check(f"{s}: missing labels are filled in (Dice > 0.6)", mean(s, "dice_unlabelled") > 0.6)
          for s in alone),
        *(Check(f"{s}: the area does not tell what had a label (at least 80 % where it had none)",
                mean(s, "area_unlabelled_mm2") > 0.8 * mean(s, "area_labelled_mm2")) for s in alone),
        *(Check(f"{s}: missing labels are lost (Dice < 0.4)", mean(s, "dice_unlabelled") < 0.4)
          for s in pushed),
        *(Check(f"{s}: empty labels stay empty, others are found (AUC > 0.85, Dice > 0.6)",
                mean(s, "auc_presence") > 0.85 and mean(s, "dice_labelled") > 0.6) for s in sure),
    ]  # fmt: skip


if __name__ == "__main__":
    # Under its own name, so that other processes find what they are to run.
    sys.exit(import_module("phi_epsilon").main())
