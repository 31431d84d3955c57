"""The demo's methods: one network, one training, two losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import truevox as tv
from truevox.demo.phantom import largest_shape
from truevox.demo.plots import Style
from truevox.losses import Loss
from truevox.measures import Output, write_outputs
from truevox.pipeline.cache import Cache

__all__ = [
    "LABELS",
    "METHODS",
    "OUTPUT",
    "QUICK_STEPS",
    "QUICK_VOXEL_MM",
    "STEPS",
    "Method",
    "lesion_model",
    "one_per_case",
    "predict_all",
    "train",
]

Report = Callable[[dict[str, Any]], None]

LABELS = tv.Labels({"lesion": 1})
OUTPUT = "lesion"
STEPS = 600
QUICK_STEPS = 300
QUICK_VOXEL_MM = (2.0, 2.0, 4.0)


@dataclass(frozen=True)
class Method:
    """A loss, and how it is shown."""

    loss: Loss
    style: Style


METHODS = {
    "cross_entropy": Method(tv.losses.CrossEntropy(), Style("Cross-entropy", "#0072B2", "o")),
    "soft_dice": Method(tv.losses.SoftDice(), Style("Soft Dice", "#D55E00", "s")),
}


def lesion_model(loss: Loss, seed: int = 0, patch: Sequence[int] | None = None) -> tv.Model:
    """The graph: from the scan to the probability of a lesion, on the scan's own grid.

    Two choices keep the probabilities right. Patches are whole scans: patches centred on a rater's mask
    would tell the network what this rater marked. And the network has no normalisation layers: here the
    brightness itself says how likely a voxel is marked, and instance normalisation would lose it.
    """
    patch = patch or largest_shape()
    scan = tv.Input("image")
    lesion = tv.Input("label", kind="label", labels=LABELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = tv.networks.UNet(1, 1, channels=(8, 16, 32), convs=1, norm=None)
    net = tv.Network(unet, labels=LABELS)

    x, y = tv.RandomFlip(axes=(0, 1, 2))(*tv.RandomCrop(patch)(scan, lesion))
    patches = tv.GridCrop(patch, overlap=0.0)(scan)
    full = tv.Put(like=scan)(tv.Sigmoid()(net(patches)))
    return tv.Model(train=(net(x), y), predict={OUTPUT: full}, loss=loss)


def train(
    model: tv.Model, cohort: tv.Cohort, steps: int, seed: int, cache: Cache, report: Report
) -> list[dict[str, float]]:
    """Train on the cohort's splits ``train`` and ``val``; the history comes back.

    The high learning rate and the missing weight decay are what volumes need: a background of 50 000 voxels
    at 1 % each would add up to a third of a lesion.
    """
    return model.fit(
        cohort.split("train"),
        one_per_case(cohort.split("val")),
        max_steps=steps,
        batch_size=2,
        learning_rate=0.01,
        weight_decay=0.0,
        schedule="onecycle",
        seed=seed,
        val_every=max(steps // 6, 1),
        cache=cache,
        device="cpu",
        report=report,
    )


def one_per_case(cohort: tv.Cohort) -> tv.Cohort:
    """The first record of every case: raters share the scan, so one prediction is enough."""
    first = {case.id: case for case in reversed(list(cohort))}
    return tv.Cohort(first[name] for name in cohort.ids)


def predict_all(model: tv.Model, cohort: tv.Cohort, folder: Path, report: Report) -> None:
    """Write ``<case>/lesion_probabilities.nii.gz`` and ``<case>/lesion.nii.gz`` (probability above 0.5)."""
    cases = one_per_case(cohort)
    write_outputs(folder, {OUTPUT: Output(LABELS, model.targets[OUTPUT], model.origins.get(OUTPUT))})
    for number, case in enumerate(cases, start=1):
        probability = model.predict(case)[OUTPUT]
        mask = probability.replace(data=torch.from_numpy(LABELS.decode(probability.numpy())), kind="label")
        tv.save(probability, folder / case.id / f"{OUTPUT}_probabilities.nii.gz")
        tv.save(mask, folder / case.id / f"{OUTPUT}.nii.gz")
        report({"step": number, "max_steps": len(cases)})
