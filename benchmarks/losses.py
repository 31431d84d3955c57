"""Losses forward and backward beside their peers: CPU time and memory, in one run, results compared.

    python benchmarks/losses.py [--classes 2 4] [--size 96] [--repeats 7] [--works dice_ce lovasz]

The work: logits of a fixed seed (batch 2, `--size` cubed), hard labels, one thread. Both sides take turns
and the best of `--repeats` counts. Memory is the peak above what the process holds before the call, in a
process of its own. `agree` is the difference of the values, `gradient` the largest of the gradients' over
the largest gradient (of the Lovász loss, voxels of equal error share theirs here, where a sort gives them in
any order). MONAI's losses are MONAI's; "formula" is a published formula in plain PyTorch, written here:
nnU-Net's Dice and cross-entropy, the Jaccard metric loss, the Lovász loss by sorting.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from common import forget_peak, memory_mib
from torch import Tensor
from torch.nn import functional

from truevox import losses

Loss = Callable[[Tensor, Tensor], Tensor]


def nnunet_formula(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy less the mean foreground Dice, smoothed by 1e-5."""
    p = torch.softmax(logits, 1)
    y = torch.zeros_like(p).scatter_(1, target, 1)
    axes = tuple(range(2, logits.dim()))
    both, total = (p * y).sum(axes)[:, 1:], p.sum(axes)[:, 1:] + y.sum(axes)[:, 1:]
    dice = (2 * both + 1e-5) / (total + 1e-5).clamp(min=1e-8)
    return functional.cross_entropy(logits, target[:, 0]) - dice.mean()


def jaccard_metric_formula(logits: Tensor, target: Tensor) -> Tensor:
    """One minus (|t| + |y| - |t - y|) / (|t| + |y| + |t - y|), per image and foreground class."""
    p = torch.softmax(logits, 1)
    y = torch.zeros_like(p).scatter_(1, target, 1)
    p, y = p.flatten(2)[:, 1:], y.flatten(2)[:, 1:]
    apart, total = (p - y).abs().sum(2), p.sum(2) + y.sum(2)
    return 1 - ((total - apart) / (total + apart)).mean()


def lovasz_formula(logits: Tensor, target: Tensor) -> Tensor:
    """Errors in descending order times the increments of the Jaccard loss (Berman et al. 2018)."""
    p, images = torch.softmax(logits, 1), []
    for k in range(len(p)):
        classes = []
        for c in range(1, p.shape[1]):
            y = (target[k] == c).flatten().float()
            errors, order = (y - p[k, c].flatten()).abs().sort(descending=True)
            y = y[order]
            intersection, union = y.sum() - y.cumsum(0), y.sum() + (1 - y).cumsum(0)
            jaccard = 1 - intersection / union
            jaccard = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
            classes.append((errors * jaccard).sum())
        images.append(torch.stack(classes).mean())
    return torch.stack(images).mean()


@dataclass(frozen=True)
class Work:
    """Ours, the peer that it stands beside, and what is to be added to the peer's value."""

    peer: str
    ours: Callable[[], Loss]
    theirs: Callable[[], Loss]
    offset: float = 0.0


def monai(name: str, **settings: object) -> Callable[[], Loss]:
    """A loss of MONAI's, imported when it is made."""

    def make() -> Loss:
        import monai.losses

        return getattr(monai.losses, name)(to_onehot_y=True, **settings)

    return make


SMOOTH = {"smooth_nr": 1e-5, "smooth_dr": 1e-5}
WORKS = {
    "dice_ce": Work(
        "monai",
        lambda: losses.CrossEntropy() + losses.SoftDice(background=True, **SMOOTH),
        monai("DiceCELoss", softmax=True),
    ),
    "dice": Work(
        "monai", lambda: losses.SoftDice(background=True, **SMOOTH), monai("DiceLoss", softmax=True)
    ),
    "dice_ce_foreground": Work(
        "nnU-Net formula",
        lambda: losses.CrossEntropy() + losses.SoftDice(**SMOOTH),
        lambda: nnunet_formula,
        offset=1.0,
    ),
    "squared_dice": Work(
        "monai",
        lambda: losses.SquaredDice(background=True, **SMOOTH),
        monai("DiceLoss", softmax=True, squared_pred=True),
    ),
    "jaccard": Work(
        "monai",
        lambda: losses.SoftJaccard(background=True, **SMOOTH),
        monai("DiceLoss", softmax=True, jaccard=True),
    ),
    "tversky": Work(
        "monai",
        lambda: losses.Tversky(alpha=0.3, beta=0.7, background=True, **SMOOTH),
        monai("TverskyLoss", softmax=True, alpha=0.3, beta=0.7),
    ),
    "focal": Work("monai", lambda: losses.Focal(activation="sigmoid"), monai("FocalLoss", gamma=2.0)),
    "generalised_dice": Work(
        "monai",
        lambda: losses.GeneralisedDice(smooth_dr=1e-30),
        monai("GeneralizedDiceLoss", softmax=True, smooth_nr=0.0, smooth_dr=1e-30),
    ),
    "jaccard_metric": Work(
        "formula", lambda: losses.JaccardMetric(smooth_dr=1e-30), lambda: jaccard_metric_formula
    ),
    "lovasz": Work("formula", lambda: losses.Lovasz(), lambda: lovasz_formula),
}


def problem(classes: int, size: int) -> tuple[Tensor, Tensor]:
    """Logits (2, C, size, size, size) that want a gradient, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, classes, size, size, size, generator=generator)
    return logits.requires_grad_(True), torch.randint(0, classes, (2, 1, *[size] * 3), generator=generator)


def once(loss: Loss, logits: Tensor, target: Tensor) -> tuple[float, float]:
    """Value and CPU seconds of a step; the gradient stays with the logits."""
    logits.grad = None
    start = time.process_time()
    value = loss(logits, target)
    value.backward()
    return float(value.detach()), time.process_time() - start


def turns(work: Work, classes: int, size: int, repeats: int) -> dict[str, float]:
    """Best times in milliseconds, and how far apart values and gradients are."""
    ours, theirs = work.ours(), work.theirs()
    logits, target = problem(classes, size)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    values, gradients = {}, {}
    for repeat in range(repeats + 1):
        for name, loss in (("ours", ours), ("theirs", theirs)):
            values[name], spent = once(loss, logits, target)
            if repeat:  # the first compiles, links, fills caches
                seconds[name].append(spent)
            else:
                gradients[name] = logits.grad
    apart = (gradients["ours"] - gradients["theirs"]).abs().max() / gradients["theirs"].abs().max()
    return {
        "ours": round(1e3 * min(seconds["ours"]), 2),
        "theirs": round(1e3 * min(seconds["theirs"]), 2),
        "agree": abs(values["ours"] - values["theirs"] - work.offset),
        "gradient": float(apart),
    }


def peak(work: str, side: str, classes: int, size: int) -> float:
    """MiB above what the process holds before the second call (the first loads and links code)."""
    command = [sys.executable, __file__, "--peak", work, side, "--classes", str(classes), "--size", str(size)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def measure_peak(work: Work, side: str, classes: int, size: int) -> float:
    """The peak, in this process."""
    loss = work.ours() if side == "ours" else work.theirs()
    once(loss, *problem(classes, 16))
    logits, target = problem(classes, size)
    forget_peak()
    held = memory_mib("VmRSS")
    once(loss, logits, target)
    return memory_mib("VmHWM") - held


def main() -> None:
    """Print one line of JSON per work and number of classes."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--classes", type=int, nargs="+", default=[2, 4])
    made.add_argument("--size", type=int, default=96)
    made.add_argument("--repeats", type=int, default=7)
    made.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS, metavar="WORK")
    made.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = made.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        name, side = given.peak
        print(measure_peak(WORKS[name], side, given.classes[0], given.size))
        return
    for name in given.works:
        for classes in given.classes:
            line = {"work": f"{name}/{classes}", "peer": WORKS[name].peer, "unit": "ms"}
            try:
                found = turns(WORKS[name], classes, given.size, given.repeats)
            except ImportError as error:
                print(json.dumps({**line, "error": str(error)}), flush=True)
                continue
            mib = {
                f"{side}_mib": round(peak(name, side, classes, given.size), 1) for side in ("ours", "theirs")
            }
            ratio = round(found["theirs"] / found["ours"], 2)
            print(json.dumps({**line, **found, "ratio": ratio, **mib}), flush=True)


if __name__ == "__main__":
    main()
