"""Training patches per second of CPU: ours against other packages and against a floor, side by side.

    python benchmarks/sampling.py --data shared/data/brats2018 [--sizes 64 128] [--peers floor nnunet]

The work: two channels and a label, half of the crops centred on the tumour, rotation of up to 10 degrees,
scale 0.9 to 1.1, flips, gamma, noise; one process, one thread. `agree` says that patches of both sides
were reproduced by scipy.ndimage.affine_transform. One JSON line per peer, and a table at the end.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import (
    OURS,
    Case,
    Contender,
    Work,
    compare,
    find_cases,
    forget_peak,
    memory_mib,
    parser,
    return_memory,
    serve,
)
from contenders import CONTENDERS, FACTS, samples

PEERS = [name for name in CONTENDERS if name != OURS]
TARGETS = {
    "torchio_queue": {64: 15.0, 128: 2.3},
    "monai_cache": {64: 3.0, 128: 2.8},
    "monai_tuned": {64: 1.9, 128: 2.8},
    "nnunet": {64: 1.8, 128: 2.4},
    "floor": {64: 0.9, 128: 0.9},
}
"""Times as fast as the peer that ours has to be."""
MOST_MIB = 400
STEP = 96


# ---- in the process of a contender ----------------------------------------------------------------------


def check(name: str, cases: Sequence[Case], size: int) -> tuple[Work, dict[str, Any]]:
    """Compares a contender with SciPy; in a process of its own, because of the memory that it takes."""
    from same_work import same_work, with_indices

    with tempfile.TemporaryDirectory() as folder:
        case = with_indices(cases[0], Path(folder))
        facts = same_work(CONTENDERS[name]([case], ["flair", "t1", *"ijk"], size, False), case, 6)
    return (lambda: 1), facts


def prepare(name: str, cases: Sequence[Case], size: int) -> tuple[Work, dict[str, Any]]:
    """A contender's work. What it does before its first patch is its first epoch's extra."""
    import torch

    torch.set_num_threads(1)
    warm = CONTENDERS[name](cases[:1], ["flair", "t1"], 16, True)
    for _ in range(8):
        next(warm)  # imports, compilers
    warm.close()  # type: ignore[attr-defined]
    return_memory()
    forget_peak()
    start = time.process_time()
    stream = CONTENDERS[name](cases, ["flair", "t1"], size, True)
    next(stream)
    first = (time.process_time() - start) / len(cases)
    facts = {"first_s": round(first, 3), "first_peak_mib": round(memory_mib("VmHWM"))}
    return (lambda: len(next(stream))), facts | {k: round(v, 1) for k, v in FACTS.items()}


def loader(cases: Sequence[Case], size: int, workers: int, seconds: float) -> dict[str, float]:
    """Patches per second on the clock, and of CPU in all processes, from worker processes."""
    import psutil

    from truevox.pipeline.data import Steps, batches

    def cpu() -> float:
        me = psutil.Process()
        return sum(sum(p.cpu_times()[:2]) for p in (me, *me.children(recursive=True)))

    with tempfile.TemporaryDirectory() as folder:
        stream = iter(
            batches(samples(cases, ["flair", "t1"], size, True, folder), Steps(0, 10**9, 2), workers)
        )
        for _ in range(10):
            next(stream)
        n, start, used = 0, time.perf_counter(), cpu()
        while time.perf_counter() - start < seconds:
            n += len(next(stream)["number"])
        wall, used = time.perf_counter() - start, cpu() - used
        stream.close()  # type: ignore[attr-defined] - the workers end before their folder does
    return {"per_s": n / wall, "per_cpu_s": n / used}


def training_step(cases: Sequence[Case], steps: int) -> dict[str, float]:
    """CPU seconds that a step spends on its data, in-process, and on the network: 2 patches of 96^3."""
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    from truevox.pipeline.data import Steps, batches

    torch.set_num_threads(1)
    net = UNet(3, 2, 1, (16, 32, 64, 128), (2, 2, 2), num_res_units=2)
    loss, optimizer = DiceCELoss(sigmoid=True), torch.optim.Adam(net.parameters(), 1e-3)
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        stream = iter(batches(samples(cases, ["flair", "t1"], STEP, True, folder), Steps(0, 10**9, 2)))
        for _ in range(steps + 1):
            times = [time.process_time()]
            batch = next(stream)
            times.append(time.process_time())
            value = loss(net(batch["nodes"][0]["data"]), batch["targets"][0].float())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            times.append(time.process_time())
            spent.append((times[1] - times[0], times[2] - times[1]))
    data, network = (sum(part) / steps for part in zip(*spent[1:], strict=True))
    return {"data_s": data, "network_s": network, "share": data / (data + network)}


# ---- in the main process ----------------------------------------------------------------------------------


def speed(args: Any, size: int) -> list[dict[str, Any]]:
    """Ours against every peer, at one size."""
    args.extra = ["--size", str(size)]
    agree: dict[str, dict[str, Any]] = {}

    def checked(name: str) -> dict[str, Any]:
        if name not in agree:
            other = Contender(name, args.limit, [*args.extra, "--check"])
            other.close()
            agree[name] = other.facts
        return agree[name]

    def describe(ours: Contender, theirs: Contender, line: dict[str, Any]) -> None:
        target = TARGETS[theirs.name].get(size)
        line |= {"target": target, "met": target is None or line["ratio"] >= target}
        line["agree"] = checked(OURS)["agree"] and checked(theirs.name)["agree"]
        line["missing"] = checked(theirs.name)["missing"]
        both = (ours, theirs)
        line["peak_mib"] = [max(c.last["peak_mib"], c.facts["first_peak_mib"]) for c in both]
        line["later_mib"] = [c.last["peak_mib"] for c in both]
        line["first_s"] = [c.facts["first_s"] for c in both]
        line |= {k: v for k, v in ours.facts.items() if k in ("cache_mib", "files_mib")}

    return compare(f"patches {size}^3", args, "patches/s", lambda c: c.units / c.cpu, describe)


def alone(work: str, args: Any, *extra: str) -> dict[str, Any]:
    """One line of what only ours is measured for."""
    line: dict[str, Any] = {"work": work, "load": round(os.getloadavg()[0], 1)}
    try:
        other = Contender(OURS, args.limit, extra)
        other.close()
        line |= {k: round(v, 3) for k, v in other.facts.items()}
    except Exception as error:
        line["error"] = str(error)
    return line


def scaling(args: Any) -> dict[str, Any]:
    """Two workers against one: on the clock, which means something on an idle machine only."""
    one, two = (alone("", args, "--size", "64", "--workers", str(n)) for n in (1, 2))
    line: dict[str, Any] = {"work": "2 workers against 1, 64^3", "target": 1.7, "load": two["load"]}
    if "error" in one or "error" in two:
        return line | {"error": one.get("error") or two.get("error")}
    line |= {"ratio": round(two["per_s"] / one["per_s"], 2), "per_s": [one["per_s"], two["per_s"]]}
    return line | {"per_cpu_s": [one["per_cpu_s"], two["per_cpu_s"]]}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The lines of all peers and sizes, to be read."""
    rows = [("patches", "against", "ours/s", "theirs/s", "ratio", "target", "agree", "MiB", "first s/case")]
    for line in lines:
        size = line["work"].removeprefix("patches ")
        if "error" in line:
            rows.append((size, line["peer"], "", "", "", "", line["error"][:40], "", ""))
            continue
        peaks, first = ("{} / {}".format(*line[key]) for key in ("peak_mib", "first_s"))
        ratio = f"{line['ratio']:.2f}{'' if line['met'] else ' !'}"
        numbers = (f"{line['ours']:.1f}", f"{line['theirs']:.1f}", ratio, f">= {line['target']}")
        rows.append((size, line["peer"], *numbers, "yes" if line["agree"] else "NO", peaks, first))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, PEERS, seconds=12)
    options.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="voxels per axis of a patch")
    options.add_argument("--no-extras", action="store_true", help="leave out workers and the training step")
    for hidden in ("--size", "--workers", "--steps"):
        options.add_argument(hidden, type=int, default=0, help="for the program itself")
    options.add_argument("--check", action="store_true", help="for the program itself")
    args = options.parse_args(argv)
    cases = find_cases(args.data)
    if args.contender:
        make: Callable[[], tuple[Work, dict[str, Any]]]
        if args.workers:
            make = lambda: (lambda: 1, loader(cases, args.size, args.workers, args.seconds))  # noqa: E731
        elif args.steps:
            make = lambda: (lambda: 1, training_step(cases, args.steps))  # noqa: E731
        else:
            make = lambda: (check if args.check else prepare)(args.contender, cases, args.size)  # noqa: E731
        return serve(make)

    lines = [line for size in args.sizes for line in speed(args, size)]
    extras = []
    if not args.no_extras:
        extras.append(scaling(args))
        step = alone("data in a training step of 2x96^3", args, "--steps", "4")
        extras.append(step | {"target": 0.07})
        for line in extras:
            print(json.dumps(line), flush=True)
    print(table(lines), file=sys.stderr)
    peaks = [line["peak_mib"][0] for line in lines if "peak_mib" in line]
    sizes = [(line["cache_mib"], line["files_mib"]) for line in lines if "cache_mib" in line]
    if peaks:
        later = max(line["later_mib"][0] for line in lines if "later_mib" in line)
        said = f"peak of our process: {max(peaks)} MiB, after the first epoch {later} (aim: {MOST_MIB})"
        print(said, file=sys.stderr)
        print("cache: {} MiB for {} MiB of .nii.gz".format(*sizes[0]), file=sys.stderr)
    for line in extras:
        print(json.dumps(line), file=sys.stderr)
    return None


if __name__ == "__main__":
    main()
