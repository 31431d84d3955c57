"""Where a worker process is, written where the main process can read it when the worker is dead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import get_worker_info

from truevox.pipeline.graph import Call

__all__ = ["Watch"]

SAMPLE, CASE, NODE, MEMORY = range(4)


class Watch:
    """What every worker is at. Does nothing in the main process.

    Parameters
    ----------
    calls : sequence of Call
        The graph, in the same order in every process.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._places = {call: k for k, call in enumerate(calls, start=1)}
        self.lines = torch.zeros((0, 4), dtype=torch.int64)
        self._line: np.ndarray | None = None

    def share(self, workers: int) -> None:
        """Lines for this number of workers, before they start."""
        self.lines = torch.zeros((workers, 4), dtype=torch.int64).share_memory_()

    def begin(self, number: int, case: int) -> None:
        """A sample begins."""
        info = get_worker_info()
        if self._line is None and info is not None and info.id < len(self.lines):
            self._line = self.lines[info.id].numpy()
        if self._line is not None:
            self._line[:] = number + 1, case, 0, _peak_kib()

    def end(self) -> None:
        """No sample is being made."""
        if self._line is not None:
            self._line[SAMPLE] = 0

    def enter(self, call: Call) -> int:
        """A node begins; gives what :meth:`leave` takes."""
        if self._line is None:
            return 0
        before = int(self._line[NODE])
        self._line[NODE], self._line[MEMORY] = self._places.get(call, 0), _peak_kib()
        return before

    def leave(self, before: int) -> None:
        """A node ends, and the one that asked it goes on."""
        if self._line is not None:
            self._line[NODE] = before

    def last(self, worker: int) -> tuple[int | None, int, Call | None, float]:
        """Sample, case, node and memory in MiB of a worker's last sign of life."""
        sample, case, place, memory = self.lines[worker].tolist()
        call = next((c for c, k in self._places.items() if k == place), None)
        return (sample - 1 if sample else None), case, call, memory / 1024


def _peak_kib() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
