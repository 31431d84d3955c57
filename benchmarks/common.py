"""What the benchmarks share: the cases, one process per contender, and turns taken fairly.

A contender lives in a process of its own and works when it is told to. Ours and a peer take turns, so
that whatever else the machine does meets both; what counts is CPU time of the process, on one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
THREADS |= {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "GOMP_SPINCOUNT": "0"}
OURS = "truevox"

Case = dict[str, Path]
Work = Callable[[], int]
"""Does a whole piece of work (e.g. all patches of one volume) and says how many units it was."""


def find_cases(folder: Path) -> list[Case]:
    """Files of every case in a folder of BraTS cases, or in its subfolder ``brats2018``."""
    inside = folder / "brats2018"
    found = sorted((inside if inside.is_dir() else folder).glob("case_*/FLAIR.nii.gz"))
    if not found:
        raise SystemExit(f"No case_*/FLAIR.nii.gz in {folder}.")
    return [{"flair": f, "t1": f.with_name("T1.nii.gz"), "mask": f.with_name("GT_W.nii.gz")} for f in found]


def parser(description: str | None, peers: Sequence[str], seconds: float) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", type=Path, required=True, help="folder of case_*/FLAIR, T1, GT_W .nii.gz")
    made.add_argument("--peers", nargs="+", default=list(peers), choices=peers, metavar="PEER")
    made.add_argument("--seconds", type=float, default=seconds, help="CPU seconds per contender and peer")
    made.add_argument("--limit", type=float, default=600, help="seconds after which a contender is given up")
    made.add_argument("--contender", help=argparse.SUPPRESS)
    return made


# ---- in the process of a contender --------------------------------------------------------------------


def memory_mib(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` (the peak) of this process; NaN where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), float("nan"))


def forget_peak() -> None:
    """Let the peak start again from what is in use."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def return_memory() -> None:
    """Give what is no longer used back to the system, so that what is used can be seen."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def serve(make: Callable[[], tuple[Work, dict[str, Any]]]) -> None:
    """Prepare, then work as long as each line of the standard input says, until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a package prints is no answer

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        work, facts = make()
        work()  # compilers, first touches
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}"[:300])
        return
    answer(**facts)
    return_memory()
    base = memory_mib("VmRSS")
    forget_peak()
    for line in sys.stdin:
        budget, units, start = float(line), 0, time.process_time()
        while not units or time.process_time() - start < budget:
            units += work()
        cpu = time.process_time() - start
        peak = memory_mib("VmHWM")
        answer(units=units, cpu=cpu, peak_mib=round(peak), extra_mib=round(peak - base))


# ---- in the main process --------------------------------------------------------------------------------


class ContenderError(Exception):
    """A contender could not be prepared, or died."""


class Contender:
    """A process that is ready to work."""

    def __init__(self, name: str, limit: float, extra: Sequence[str] = ()) -> None:
        command = [sys.executable, *sys.argv, *extra, "--contender", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **THREADS}
        )
        self.name, self.limit = name, limit
        self.units = self.cpu = 0.0
        self.last: dict[str, Any] = {}
        self.facts = self._answer()

    def turn(self, seconds: float) -> None:
        """Work for a while."""
        asked: TextIO = self.process.stdin  # type: ignore[assignment]
        asked.write(f"{seconds}\n")
        asked.flush()
        self.last = self._answer()
        self.units += self.last["units"]
        self.cpu += self.last["cpu"]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        timer = threading.Timer(self.limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        timer.cancel()
        answer = json.loads(line) if line else {"error": f"no answer within {self.limit:g} s, or killed"}
        if "error" in answer:
            self.close()
            raise ContenderError(answer["error"])
        return answer


def compare(
    work: str,
    args: argparse.Namespace,
    unit: str,
    value: Callable[[Contender], float],
    describe: Callable[[Contender, Contender, dict[str, Any]], None],
    rounds: int = 3,
) -> list[dict[str, Any]]:
    """Ours against every peer, in turns; one JSON line per peer on the standard output, and returned.

    ``value`` is what a contender reached; the ratio says how many times better ours is, more being
    better for rates (a unit with ``/``) and worse for times. ``describe`` adds what was found equal.
    """
    extra, lines = getattr(args, "extra", ()), []
    ours = Contender(OURS, args.limit, extra)
    for name in args.peers:
        line: dict[str, Any] = {"work": work, "peer": name}
        try:
            theirs = Contender(name, args.limit, extra)
            ours.units = ours.cpu = 0.0
            for _ in range(rounds):
                for contender in (ours, theirs):
                    contender.turn(args.seconds / rounds)
            a, b = value(ours), value(theirs)
            ratio = a / b if "/" in unit else b / a
            line |= {"ours": round(a, 2), "theirs": round(b, 2), "unit": unit, "ratio": round(ratio, 2)}
            describe(ours, theirs, line)
            theirs.close()
        except ContenderError as error:
            line["error"] = str(error)
        lines.append(line)
        print(json.dumps(line), flush=True)
    ours.close()
    return lines
