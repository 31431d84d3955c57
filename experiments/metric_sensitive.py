"""Which loss for which score? Seven losses on three small tasks, judged by Dice and Jaccard of unseen cases.

    python experiments/metric_sensitive.py              three tasks of phantoms
    python experiments/metric_sensitive.py --data DIR   small lesions (phantoms), hippocampus and lung nodules
                                                        (msd_hippocampus and lidc_idri_4raters)

Networks of one run start alike and see the same batches, whatever the loss. A case's score is the mean over
the runs and over the structures that it has. Losses are compared on the same cases: Wilcoxon's signed-rank
test, corrected over all pairs of a task and score (Holm).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    Batch,
    Check,
    Plan,
    accept,
    in_turn,
    options,
    plan_of,
    predict,
    report,
    train,
    turned,
    write_rows,
)
from evidence import Pair, interval_of_mean, paired_tests, ratio
from images import Labelled, consensus, heart_parts, hippocampus, lidc, margins, specks
from metric_sensitive_figure import draw_figure
from numpy.typing import NDArray

from truevox.losses import CrossEntropy, Loss, Lovasz, SoftDice, SoftJaccard, Tversky

CE, WEIGHTED, DICE, JACCARD = "cross-entropy", "weighted cross-entropy", "soft Dice", "soft Jaccard"
LOVASZ, BOTH, TVERSKY = "Lovász", "cross-entropy + Lovász", "Tversky (0.3, 0.7)"
SENSITIVE = (DICE, JACCARD, LOVASZ)
"""Losses that stand for Dice and Jaccard within known bounds; no weighted cross-entropy does."""
SAME = 0.02
"""Differences in score below this are none for a user."""
Scores = dict[str, dict[str, dict[str, NDArray[np.float64]]]]
"""Runs by cases (R, N), by task, quantity and loss."""


def main(argv: Sequence[str] | None = None) -> int:
    given = options(__doc__, 600, "folder with msd_hippocampus and lidc_idri_4raters; without it, phantoms")
    given.add_argument("--repeats", type=int, default=2, help="networks per task and loss (2)")
    given = given.parse_args(argv)
    started = time.perf_counter()
    plan = plan_of(given, batch=8, rate=0.004)
    name = f"metric_sensitive_{'patients' if given.data else 'phantoms'}"
    scores = judged(tasks(given), plan, given.repeats, given.jobs)
    found, pairs = table(scores), comparisons(scores)
    checks = directions(found, pairs)
    report(given.out, name, found, checks, plan, started)
    write_rows(given.out / f"{name}_pairs.csv", pairs)
    draw_figure(given.out, name, found, pairs, CE, SAME)
    return accept(checks)


def tasks(given: argparse.Namespace) -> list[Labelled]:
    """Small lesions; and organ and nodules of patients, or the heart and the lesions of phantoms."""
    first = specks(given.cases or 600, given.seed)
    if given.data is None:
        nodules = margins(given.cases or 600, given.seed)
        return [first, heart_parts(given.cases or 450, given.seed), consensus(nodules, "uncertain lesions")]
    folder: Path = given.data
    return [first, hippocampus(folder, given.cases), consensus(lidc(folder, given.cases), "lung nodules")]


def losses(data: Labelled) -> dict[str, Loss]:
    """Every loss of the comparison.

    Overlaps are over the batch, as slices without the structure are truly empty. Among several classes
    background counts as one: left out, soft Dice lost it to a class in one of two runs. Weights are the
    inverse of a class's share.
    """
    several = data.classes > 2
    count = np.bincount(data.labels[~data.test].ravel(), minlength=data.classes)
    weight = tuple(float(w) for w in count.sum() / (data.classes * np.maximum(count, 1)))
    return {
        CE: CrossEntropy(),
        WEIGHTED: CrossEntropy(weight=weight),
        DICE: SoftDice(over="BI", background=several),
        JACCARD: SoftJaccard(over="BI", background=several),
        LOVASZ: Lovasz(over="BI", background=several),
        BOTH: CrossEntropy() + Lovasz(over="BI", background=several),
        TVERSKY: Tversky(over="BI", alpha=0.3, beta=0.7, background=several),
    }


def judged(chosen: Sequence[Labelled], plan: Plan, repeats: int, jobs: int) -> Scores:
    """Train every loss on every task, ``repeats`` times."""
    every = [(data, loss) for data in chosen for loss in losses(data).values()]
    calls = [(data, loss, plan, k) for data, loss in every for k in range(repeats)]
    results = iter(in_turn(jobs, held_out, calls))
    scores: Scores = {}
    for data in chosen:
        for name in losses(data):
            runs = [next(results) for _ in range(repeats)]
            for quantity in runs[0]:
                of_task = scores.setdefault(data.name, {}).setdefault(quantity, {})
                of_task[name] = np.stack([run[quantity] for run in runs])
    return scores


def held_out(data: Labelled, loss: Loss, plan: Plan, seed: int) -> dict[str, NDArray[np.float64]]:
    """Train, and score the cases for testing."""
    rows = np.flatnonzero(~data.test)

    def draw(rng: np.random.Generator, size: int) -> Batch:
        index = rng.choice(rows, size)
        image, label = data.images[index], data.labels[index]
        if data.turns:
            image, label = turned(rng, image, label)
        return Batch(torch.from_numpy(image)[:, None], torch.from_numpy(label))

    net = train(loss, draw, data.classes, plan, seed)
    p = predict(net, torch.from_numpy(data.images[data.test])[:, None])
    mask = (p > 0.5).astype(np.int64) if data.classes == 2 else p.argmax(1)
    return scores_of(mask, data.labels[data.test], data.case[data.test], data.classes)


def scores_of(
    mask: NDArray[np.int64], truth: NDArray[np.int64], case: NDArray[np.int64], classes: int
) -> dict[str, NDArray[np.float64]]:
    """Of every case: mean Dice and Jaccard of the structures that it has, and its areas.

    Parameters
    ----------
    mask, truth : arrays (N, H, W)
        Labels of the slices, predicted and true.
    case : array (N,)
        Slices of one case are one stack.
    """
    who = np.unique(case, return_inverse=True)[1]

    def pixels(of: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(who, of.sum((1, 2))).astype(np.float64)

    dice, jaccard = [], []
    for c in range(1, classes):
        both = pixels((mask == c) & (truth == c))
        total = pixels(mask == c) + pixels(truth == c)
        present = np.where(pixels(truth == c) > 0, total, np.nan)
        dice.append(2 * both / present)
        jaccard.append(both / (present - both))
    return {
        "dice": np.nanmean(dice, 0),
        "jaccard": np.nanmean(jaccard, 0),
        "predicted": pixels(mask > 0),
        "truth": pixels(truth > 0),
    }


def table(scores: Scores) -> list[dict[str, Any]]:
    """A row per task and loss: scores over cases, the worst and best run, and the area against the truth."""
    rows = []
    for task, found in scores.items():
        for loss in found["dice"]:
            row: dict[str, Any] = {"task": task, "loss": loss, "cases": found["dice"][loss].shape[1]}
            for score in ("dice", "jaccard"):
                runs = found[score][loss]
                row |= _columns(score, interval_of_mean(runs.mean(0)))
                row |= {f"{score}_worst_run": float(runs.mean(1).min())}
                row |= {f"{score}_best_run": float(runs.mean(1).max())}
            predicted, truth = found["predicted"][loss].mean(0), found["truth"][loss].mean(0)
            bias = ratio(predicted - truth, truth, np.arange(len(truth)))
            rows.append(row | _columns("area_percent", tuple(100 * x for x in bias)))
    return rows


def _columns(name: str, estimate: tuple[float, ...]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))


def comparisons(scores: Scores) -> list[dict[str, Any]]:
    """A row per task, score and pair of losses."""
    return [
        {"task": task, "score": score} | _pair(pair)
        for task, found in scores.items()
        for score in ("dice", "jaccard")
        for pair in paired_tests({loss: runs.mean(0) for loss, runs in found[score].items()})
    ]


def _pair(pair: Pair) -> dict[str, Any]:
    named = {"first": pair.first, "second": pair.second} | _columns("difference", pair.difference)
    return named | _columns("first_better", pair.first_better) | {"p": pair.p, "p_holm": pair.p_holm}


def directions(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Losses that stand for the score beat cross-entropy, and are alike; weights enlarge."""
    chosen = list(dict.fromkeys(row["task"] for row in rows))
    row = {(r["task"], r["loss"]): r for r in rows}
    pair = {(p["task"], p["score"], p["first"], p["second"]): p for p in pairs}
    checks = []
    for score in ("dice", "jaccard"):
        for loss in SENSITIVE:
            against = [pair[task, score, CE, loss] for task in chosen]
            above = sum(p["p_holm"] < 0.05 and p["difference"] < 0 for p in against) * 2 > len(chosen)
            claim = f"{loss}: {score} above cross-entropy's on most tasks, below by {SAME} on none"
            checks.append(Check(claim, above and all(p["difference"] < SAME for p in against)))
        alike = [abs(pair[task, score, DICE, JACCARD]["difference"]) < SAME for task in chosen]
        claim = f"soft Dice and soft Jaccard: {score} alike within {SAME} on all tasks"
        checks.append(Check(claim, all(alike)))

    def larger(one: str, other: str) -> bool:
        return all(row[task, one]["area_percent"] > row[task, other]["area_percent"] for task in chosen)

    return [
        *checks,
        Check("weighted cross-entropy: larger masks than cross-entropy, on all tasks", larger(WEIGHTED, CE)),
        Check("Tversky (0.3, 0.7): larger masks than soft Dice, on all tasks", larger(TVERSKY, DICE)),
    ]


if __name__ == "__main__":
    # Under its own name, so that other processes find what they are to run.
    sys.exit(import_module("metric_sensitive").main())
