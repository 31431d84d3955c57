"""Metrics beside their peers: CPU time, memory and values of the five-metric panel, in one run.

    python benchmarks/metrics.py [--data folder-with-brats2018] [--cases 0 1] [--order C F] [--repeats 5]
                                 [--works voxel surfel lesion_f1] [--peers surface_distance monai]

The panel is Dice, Hausdorff distance, its 95th percentile, average symmetric surface distance and surface
Dice at 1 mm. The pair: a tumour on 240 x 240 x 155 voxels against itself moved by (3, 2, 1) voxels, with
fifteen balls (radius 1 to 5) somewhere in the brain, so that distances are long and short. Without `--data`
the tumour is a phantom. Masks are boolean and ready in memory. Ours and a peer take turns on one thread,
and the best of `--repeats` counts, in CPU time; memory is the peak above what the process holds before the
call, in a process of its own. `apart` is the largest difference of values that have the same definition on
both sides; what a peer defines otherwise is in `theirs_values`. A peer that is not installed gives a line
with "error".
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import find_cases, forget_peak, memory_mib, return_memory

from truevox.metrics import evaluate

Mask = np.ndarray
Values = dict[str, float]
Panel = Callable[[Mask, Mask], Values]
SPACING = (1.0, 1.0, 1.0)
NAMES = ("dice", "hd", "hd95", "assd", "nsd@1mm")


# ---- ours ----------------------------------------------------------------------------------------------


def ours(border: str) -> Panel:
    wanted = {name: name if name == "dice" else f"{name}/{border}" for name in NAMES}

    def panel(p: Mask, r: Mask) -> Values:
        found = evaluate(p, r, SPACING, list(wanted.values()))
        return {name: found[said].value for name, said in wanted.items()}

    return panel


def our_lesions(p: Mask, r: Mask) -> Values:
    return {"f1": evaluate(p, r, SPACING, ["lesion_f1/iou@0.5"])["lesion_f1/iou@0.5"].value}


# ---- peers ---------------------------------------------------------------------------------------------


def surface_distance() -> Panel:
    import surface_distance as peer

    def panel(p: Mask, r: Mask) -> Values:
        found = peer.compute_surface_distances(r, p, SPACING)
        there, back = peer.compute_average_surface_distance(found)
        a, b = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
        return {
            "dice": peer.compute_dice_coefficient(r, p),
            "hd": peer.compute_robust_hausdorff(found, 100),
            "hd95": peer.compute_robust_hausdorff(found, 95),
            "assd": (there * a + back * b) / (a + b),
            "nsd@1mm": peer.compute_surface_dice_at_tolerance(found, 1.0),
        }

    return panel


def monai() -> Panel:
    import torch
    from monai import metrics as peer

    torch.set_num_threads(1)
    own: dict[str, Any] = {"include_background": True}

    def panel(p: Mask, r: Mask) -> Values:
        a, b = (torch.from_numpy(np.ascontiguousarray(one))[None, None] for one in (p, r))
        return {
            "dice": peer.compute_dice(a.float(), b.float(), **own).item(),
            "hd": peer.compute_hausdorff_distance(a, b, **own).item(),
            "hd95": peer.compute_hausdorff_distance(a, b, percentile=95, **own).item(),
            "assd": peer.compute_average_surface_distance(a, b, symmetric=True, **own).item(),
            "nsd@1mm": peer.compute_surface_dice(a, b, class_thresholds=[1.0], **own).item(),
        }

    return panel


def medpy() -> Panel:
    from medpy.metric import binary as peer

    def panel(p: Mask, r: Mask) -> Values:
        return {
            "dice": peer.dc(p, r),
            "hd": peer.hd(p, r),
            "hd95": peer.hd95(p, r),
            "assd": peer.assd(p, r),
        }

    return panel


def _panoptica(instance: list[str], whole: list[str]) -> Callable[[Mask, Mask], Any]:
    import panoptica as peer

    evaluator = peer.Panoptica_Evaluator(
        expected_input=peer.InputType.SEMANTIC,
        instance_approximator=peer.ConnectedComponentsInstanceApproximator(),
        instance_matcher=peer.NaiveThresholdMatching(matching_threshold=0.5),
        instance_metrics=[peer.Metric[name] for name in instance],
        global_metrics=[peer.Metric[name] for name in whole],
        verbose=False,
        log_times=False,
    )

    def run(p: Mask, r: Mask) -> Any:
        found = evaluator.evaluate(
            p.astype(np.uint8), r.astype(np.uint8), verbose=False, voxelspacing=SPACING
        )
        return next(iter(found.values())) if isinstance(found, dict) else found

    return run


def panoptica() -> Panel:
    run = _panoptica(["DSC"], ["DSC", "HD", "HD95", "ASSD", "NSD"])

    def panel(p: Mask, r: Mask) -> Values:
        found = run(p, r)
        return {
            name: float(getattr(found, "global_bin_" + name.split("@")[0].replace("dice", "dsc")))
            for name in NAMES
        }

    return panel


def panoptica_lesions() -> Panel:
    run = _panoptica(["DSC"], [])
    return lambda p, r: {"f1": float(run(p, r).rq)}


def metrics_reloaded() -> Panel:
    from MetricsReloaded.metrics.pairwise_measures import BinaryPairwiseMeasures

    def panel(p: Mask, r: Mask) -> Values:
        own = {"nsd": 1.0, "hd_perc": 95}
        found = BinaryPairwiseMeasures(
            p.astype(np.int32), r.astype(np.int32), pixdim=list(SPACING), dict_args=own
        )
        hd, assd, hd95, _ = found.measured_distance()
        nsd = found.normalised_surface_distance()
        return {"dice": found.dsc(), "hd": hd, "hd95": hd95, "assd": assd, "nsd@1mm": nsd}

    return panel


def kdtree() -> Panel:
    """What compiled borders and SciPy's trees make possible: counts in NumPy, trees over border voxels."""
    from scipy.spatial import cKDTree

    from truevox.kernels.borders import borders, survey

    def panel(p: Mask, r: Mask) -> Values:
        flat = [np.ascontiguousarray(one).view(np.uint8).ravel() for one in (p, r)]
        both, in_p, in_r, spans = survey(*flat, p.shape[2])
        only_p, only_r, shared = borders(*flat, p.shape, spans, 3)
        points = [
            np.stack(np.unravel_index(np.concatenate([one, shared]), p.shape), 1).astype(np.float32)
            for one in (only_p, only_r)
        ]
        trees = [cKDTree(one, balanced_tree=False, compact_nodes=False) for one in points]
        a = np.concatenate([trees[0].query(points[1][: only_r.size])[0], np.zeros(shared.size)])
        b = np.concatenate([trees[1].query(points[0][: only_p.size])[0], np.zeros(shared.size)])
        return {
            "dice": 2 * both / (in_p + in_r),
            "hd": max(a.max(), b.max()),
            "hd95": max(np.percentile(a, 95), np.percentile(b, 95)),
            "assd": (a.sum() + b.sum()) / (a.size + b.size),
            "nsd@1mm": ((a <= 1).sum() + (b <= 1).sum()) / (a.size + b.size),
        }

    return panel


@dataclass(frozen=True)
class Work:
    """Ours, its peers, and which of a peer's values are defined otherwise."""

    ours: Panel
    peers: dict[str, Callable[[], Panel]]
    otherwise: dict[str, tuple[str, ...]]


WORKS = {
    "voxel": Work(
        ours("voxel"),
        {
            "kdtree": kdtree,
            "monai": monai,
            "panoptica": panoptica,
            "metrics_reloaded": metrics_reloaded,
            "medpy": medpy,
        },
        {"medpy": ("hd95",), "panoptica": ("hd95", "assd", "nsd@1mm")},
    ),
    "surfel": Work(ours("surfel"), {"surface_distance": surface_distance}, {}),
    "lesion_f1": Work(our_lesions, {"panoptica": panoptica_lesions}, {}),
}
PEERS = sorted({name for work in WORKS.values() for name in work.peers})


# ---- the pair ------------------------------------------------------------------------------------------


def phantom(case: int) -> tuple[Mask, Mask]:
    """A lobed tumour in an ellipsoid, of the size of a BraTS scan."""
    rng, shape = np.random.default_rng(case), np.array((240, 240, 155))
    grid = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    brain = sum(((g - n / 2) / (0.38 * n)) ** 2 for g, n in zip(grid, shape, strict=True)) <= 1
    centre = shape * 0.5 + rng.uniform(-15, 15, 3)
    tumour = np.zeros(shape, bool)
    for _ in range(12):
        place, radius = centre + rng.normal(0, 9, 3), rng.uniform(6, 14)
        tumour |= sum((g - c) ** 2 for g, c in zip(grid, place, strict=True)) <= radius**2
    return tumour & brain, brain


def load(folder: Path, case: int) -> tuple[Mask, Mask]:
    """Tumour and brain of a BraTS case."""
    import nibabel

    files = find_cases(folder)[case]
    mask, flair = (np.asarray(nibabel.load(files[name]).dataobj) for name in ("mask", "flair"))
    return np.ascontiguousarray(mask > 0.5), flair > 0


def pair(folder: Path | None, case: int, order: str) -> tuple[Mask, Mask]:
    """Prediction and reference."""
    tumour, brain = phantom(case) if folder is None else load(folder, case)
    rng = np.random.default_rng(1000 + case)
    moved = np.zeros_like(tumour)
    moved[3:, 2:, 1:] = tumour[:-3, :-2, :-1]
    inside = np.argwhere(brain)
    for centre in inside[rng.integers(len(inside), size=15)]:
        radius = int(rng.integers(1, 6))
        box = tuple(
            slice(max(c - radius, 0), min(c + radius + 1, n))
            for c, n in zip(centre.tolist(), tumour.shape, strict=True)
        )
        grid = np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij")
        moved[box] |= sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return np.asarray(moved, order=order), np.asarray(tumour, order=order)  # type: ignore[call-overload]


# ---- measuring -----------------------------------------------------------------------------------------


def once(panel: Panel, p: Mask, r: Mask) -> tuple[Values, float]:
    start = time.process_time()
    found = panel(p, r)
    return found, time.process_time() - start


def turns(
    own: Panel, peer: Panel, masks: tuple[Mask, Mask], repeats: int
) -> tuple[list[Values], list[float]]:
    """Values of both, and best CPU times in milliseconds."""
    values: list[Values] = [{}, {}]
    best = [float("inf")] * 2
    for repeat in range(repeats + 1):
        for n, panel in enumerate((own, peer)):
            values[n], spent = once(panel, *masks)
            if repeat:  # the first loads and links code
                best[n] = min(best[n], 1e3 * spent)
    return values, [round(ms, 1) for ms in best]


def peak(arguments: list[str], work: str, side: str) -> float:
    """MiB above what a process of its own holds before its second call."""
    command = [sys.executable, __file__, *arguments, "--peak", work, side]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return float(done.stdout.split()[-1])


def measure_peak(work: str, side: str, masks: tuple[Mask, Mask]) -> float:
    panel = WORKS[work].ours if side == "ours" else WORKS[work].peers[side]()
    panel(*masks)
    return_memory()
    forget_peak()
    held = memory_mib("VmRSS")
    panel(*masks)
    return memory_mib("VmHWM") - held


def main() -> None:
    """Print one line of JSON per work, case, order of axes and peer."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--data", type=Path, help="folder of BraTS cases; default: a phantom")
    made.add_argument("--cases", type=int, nargs="+", default=[0, 1])
    made.add_argument("--order", nargs="+", default=["C"], choices=["C", "F"], help="layout of the masks")
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS, metavar="WORK")
    made.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS, metavar="PEER")
    made.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = made.parse_args()
    warnings.simplefilter("ignore")
    if given.peak:
        print(measure_peak(*given.peak, pair(given.data, given.cases[0], given.order[0])))
        return
    for case in given.cases:
        for order in given.order:
            masks = pair(given.data, case, order)
            for name in given.works:
                for peer in [one for one in WORKS[name].peers if one in given.peers]:
                    report(name, peer, masks, case, order, given)


def report(
    name: str, peer: str, masks: tuple[Mask, Mask], case: int, order: str, given: argparse.Namespace
) -> None:
    line: dict[str, Any] = {"work": name, "case": case, "order": order, "peer": peer, "unit": "CPU ms"}
    work = WORKS[name]
    try:
        (own, other), (mine, theirs) = turns(work.ours, work.peers[peer](), masks, given.repeats)
    except Exception as error:
        print(json.dumps({**line, "error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        return
    same = [key for key in other if key not in work.otherwise.get(peer, ())]
    where = ["--data", str(given.data)] if given.data else []
    where += ["--cases", str(case), "--order", order]
    line |= {"ours": mine, "theirs": theirs, "ratio": round(theirs / mine, 1)}
    line["apart"] = max(abs(own[key] - other[key]) for key in same)
    for side in ("ours", peer):
        line[f"{'ours' if side == 'ours' else 'theirs'}_mib"] = round(peak(where, name, side), 1)
    line["ours_values"] = {key: round(float(v), 4) for key, v in own.items()}
    line["theirs_values"] = {key: round(float(v), 4) for key, v in other.items()}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
