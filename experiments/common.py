"""What the experiments share: options, training, prediction, and what they write."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray
from torch import Tensor

import truevox as tv
from truevox.files import software, write_csv, write_json
from truevox.losses import Loss

__all__ = [
    "Batch",
    "Check",
    "Plan",
    "accept",
    "in_turn",
    "options",
    "plan_of",
    "predict",
    "report",
    "train",
    "turned",
    "unet",
    "write_rows",
]

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
Rng = np.random.Generator


@dataclass(frozen=True)
class Batch:
    """What one step of training sees."""

    images: Tensor
    target: Tensor
    label_present: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """How every network of an experiment is trained."""

    steps: int
    batch: int
    rate: float
    seed: int
    channels: tuple[int, ...] = (8, 16, 32, 64)
    norm: str | None = "instance"


@dataclass(frozen=True)
class Check:
    """A direction that theory demands, and whether it was seen."""

    claim: str
    seen: bool


def options(description: str | None, steps: int, data: str) -> argparse.ArgumentParser:
    """The options that all experiments have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", type=Path, help=data)
    made.add_argument("--out", type=Path, default=DOCS, help="folder of table and figure (docs/experiments)")
    made.add_argument("--steps", type=int, default=steps, help=f"training steps per network ({steps})")
    made.add_argument("--seed", type=int, default=0, help="of phantoms, networks and batches (0)")
    made.add_argument("--jobs", type=int, default=1, help="networks trained at once, one thread each (1)")
    made.add_argument("--cases", type=int, help="use so many cases only: a rough look")
    return made


def plan_of(given: argparse.Namespace, batch: int, rate: float, **more: Any) -> Plan:
    """Plan from the options."""
    return Plan(given.steps, batch, rate, given.seed, **more)


def unet(classes: int, plan: Plan, seed: int) -> tv.networks.UNet:
    """A small 2D U-Net whose first weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out = 1 if classes == 2 else classes
        return tv.networks.UNet(1, out, ndim=2, channels=plan.channels, convs=1, norm=plan.norm)


def train(
    loss: Loss, draw: Callable[[Rng, int], Batch], classes: int, plan: Plan, seed: int = 0
) -> tv.networks.UNet:
    """Adam with a one-cycle rate. Networks of one seed start alike and see the same batches."""
    torch.set_num_threads(1)
    net = unet(classes, plan, 1000 * plan.seed + seed)
    rng = np.random.default_rng([plan.seed, seed])
    optimiser = torch.optim.Adam(net.parameters(), lr=plan.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=max(plan.steps, 2))
    net.train()
    for _ in range(plan.steps):
        batch = draw(rng, plan.batch)
        optimiser.zero_grad()
        known = {} if batch.label_present is None else {"label_present": batch.label_present}
        loss(net(batch.images), batch.target, **known).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net.eval()


def predict(net: torch.nn.Module, images: Tensor, size: int = 64) -> NDArray[np.float32]:
    """Probabilities (N, H, W) of a binary network, (N, C, H, W) of several classes."""
    with torch.no_grad():
        logits = torch.cat([net(images[k : k + size]) for k in range(0, len(images), size)])
        if logits.shape[1] == 1:
            return torch.sigmoid(logits[:, 0]).numpy()
        return torch.softmax(logits, 1).numpy()


def turned(rng: Rng, *arrays: NDArray) -> list[NDArray]:
    """Arrays (..., H, W), all turned and mirrored alike: one of the eight ways of a square."""
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
    moved = [np.rot90(array, turns, (-2, -1)) for array in arrays]
    return [np.ascontiguousarray(array[..., ::-1] if mirror else array) for array in moved]


def in_turn(jobs: int, work: Callable[..., Any], calls: Iterable[Sequence[Any]]) -> list[Any]:
    """Results of the calls, in their order; each process has one thread."""
    found = list(Parallel(n_jobs=jobs)(delayed(work)(*call) for call in calls))
    if jobs > 1:
        get_reusable_executor().shutdown(wait=True)  # only then is their CPU time ours
    return found


def accept(checks: Sequence[Check]) -> int:
    """Print what was asserted; the exit status: 0 if all was seen."""
    for check in checks:
        print(f"{'seen    ' if check.seen else 'NOT SEEN'}  {check.claim}")
    return 0 if all(check.seen for check in checks) else 1


def report(
    folder: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    checks: Sequence[Check],
    plan: Plan,
    started: float,
) -> None:
    """Write ``name.csv`` with the numbers and ``name.json`` with how they came about."""
    write_rows(folder / f"{name}.csv", rows)
    run = {
        "plan": asdict(plan),
        "checks": {check.claim: check.seen for check in checks},
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "cpu_minutes": round(sum(os.times()[:4]) / 60, 1),
        "machine": _processor(),
        "software": f"{software()}, torch {torch.__version__}",
    }
    write_json(folder / f"{name}.json", run)
    print(f"{name}.csv, .json, .png in {folder} after {run['minutes']} minutes")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table with numbers of four digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = [{key: _rounded(value) for key, value in row.items()} for row in rows]
    write_csv(path, rounded, list(rows[0]))


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
