"""Whole-volume inference in CPU seconds: ours against MONAI and against the network alone, side by side.

    python benchmarks/inference.py --data shared/data/brats2018 [--peers forward_2 monai_4]

The work: one BraTS scan (two channels, 240x240x155), MONAI's U-Net of 16-32-64-128 channels with two residual
units, weights of a fixed seed, windows of 96^3 that overlap by half, Gaussian importance, one thread. Both
sides use 48 windows. `agree` compares the probabilities of a part of the scan where both place the same
windows. `forward_N` is the network alone in batches of N, whose time no tiling can beat. A table of all
peers follows the lines of JSON.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from common import OURS, Contender, Work, compare, find_cases, parser, serve
from torch import Tensor, nn

import truevox as tv

WINDOW, OVERLAP = 96, 0.5
PART = 144  # of each axis: windows at 0 and 48 for everybody; along 155 voxels placements differ
CHANNELS = (16, 32, 64, 128)

Predict = Callable[[Tensor, bool], Tensor]
"""From a scan (C, I, J, K), and whether every window counts the same, to probabilities (1, I, J, K)."""


def network(channels: Sequence[int] = CHANNELS) -> nn.Module:
    """The same weights for everybody."""
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    return UNet(3, 2, 1, tuple(channels), (2,) * (len(channels) - 1), num_res_units=2, norm="INSTANCE").eval()


def truevox(module: nn.Module, window: int = WINDOW, batch: int | None = None) -> Predict:
    """The public graph and ``Model.predict``."""
    models = {}
    for uniform in (False, True):
        scan = tv.Input("scan", channels=2)
        patches = tv.GridCrop(window, overlap=OVERLAP)(scan)
        probability = tv.Sigmoid()(tv.Network(module)(patches))
        whole = tv.Put(like=scan, weights="uniform" if uniform else "gaussian")(probability)
        models[uniform] = tv.Model(train=None, predict={"tumour": whole})

    def predict(scan: Tensor, uniform: bool) -> Tensor:
        image = tv.Image(scan, tv.Grid(tuple(scan.shape[1:])))
        return models[uniform].predict({"scan": image}, batch_size=batch)["tumour"].data

    return predict


def _monai(module: nn.Module, batch: int) -> Predict:
    from monai.inferers import sliding_window_inference

    def predict(scan: Tensor, uniform: bool) -> Tensor:
        with torch.inference_mode():
            return sliding_window_inference(
                scan[None], (WINDOW,) * 3, batch, lambda x: torch.sigmoid(module(x)), overlap=OVERLAP,
                mode="constant" if uniform else "gaussian",
            )[0]  # fmt: skip

    return predict


def _forward(module: nn.Module, size: int) -> Predict:
    """The network alone, as often as there are windows; a plain sum of windows where results are compared."""

    @torch.inference_mode()
    def predict(scan: Tensor, uniform: bool) -> Tensor:
        starts = list(product(*(_starts(n) for n in scan.shape[1:])))
        if not uniform:
            batch = torch.stack([scan[:, :WINDOW, :WINDOW, :WINDOW]] * size)
            for _ in range(0, len(starts), size):
                module(batch)
            return scan[:1]
        total, count = torch.zeros_like(scan[:1]), torch.zeros_like(scan[:1])
        for start in starts:
            box = (slice(None), *(slice(a, a + WINDOW) for a in start))
            total[box] += torch.sigmoid(module(scan[box][None].repeat(2, 1, 1, 1, 1))[0])
            count[box] += 1
        return total / count

    return predict


def _starts(size: int) -> list[int]:
    step = int(WINDOW * (1 - OVERLAP))
    return sorted({min(s, size - WINDOW) for s in range(0, size - WINDOW + step, step)})


CONTENDERS: dict[str, Callable[[nn.Module], Predict]] = {"truevox": truevox}
CONTENDERS |= {f"forward_{n}": partial(_forward, size=n) for n in (2, 4)}
CONTENDERS |= {f"monai_{n}": partial(_monai, batch=n) for n in (1, 2, 4)}
PEERS = [name for name in CONTENDERS if name != OURS]


def read_scan(case: dict[str, Path]) -> Tensor:
    """Both channels (2, I, J, K), each with mean 0 and standard deviation 1."""
    channels = [np.asarray(nib.load(case[c]).dataobj, dtype=np.float32) for c in ("flair", "t1")]
    return torch.from_numpy(np.stack([(c - c.mean()) / c.std() for c in channels]))


def prepare(name: str, case: dict[str, Path], folder: Path) -> tuple[Work, dict[str, Any]]:
    """A contender's work, and a file of what it makes of a part of the scan."""
    torch.set_num_threads(1)
    scan = read_scan(case)
    predict = CONTENDERS[name](network())
    file = folder / f"{name}.npy"
    np.save(file, predict(scan[:, :PART, :PART, :PART].contiguous(), True).numpy())

    def work() -> int:
        predict(scan, False)
        return 1

    return work, {"file": str(file)}


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Same probabilities, up to the rounding of convolutions in batches of another size."""
    return a.shape == b.shape and float(np.abs(a - b).max()) < 1e-4


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, PEERS, seconds=2)
    options.add_argument("--folder", type=Path, help="where contenders leave what they made")
    args = options.parse_args(argv)
    case = find_cases(args.data)[0]
    if args.contender:
        return serve(lambda: prepare(args.contender, case, args.folder))

    table = ["peer       time, x  ours MiB theirs MiB  memory, x  agree"]

    def describe(ours: Contender, theirs: Contender, line: dict[str, Any]) -> None:
        line["agree"] = equal(np.load(ours.facts["file"]), np.load(theirs.facts["file"]))
        line["extra_mib"] = [ours.last["extra_mib"], theirs.last["extra_mib"]]
        table.append(
            f"{line['peer']:<10} {1 / line['ratio']:8.2f} {line['extra_mib'][0]:9} {line['extra_mib'][1]:9} "
            f"{line['extra_mib'][0] / max(line['extra_mib'][1], 1):8.2f} {line['agree']!s:>6}"
        )

    with tempfile.TemporaryDirectory() as folder:
        args.extra = ["--folder", folder]
        compare("inference 240x240x155", args, "s of CPU", lambda c: c.cpu / c.units, describe, rounds=2)
    print("\n".join(table))
    return None


if __name__ == "__main__":
    main()
