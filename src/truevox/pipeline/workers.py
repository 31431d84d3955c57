"""Worker processes that say where they were when they died.

A process that is killed says nothing more, and its number alone does not tell its user what to change. So
every worker keeps a line of shared memory up to date with what it is at.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from truevox.errors import TrueVoxError
from truevox.pipeline.run import case_name

__all__ = ["Loader", "WorkerError"]


class WorkerError(TrueVoxError):
    """A worker process died: names its last sample, case, node and memory."""


class Loader(DataLoader):
    """A DataLoader whose workers' deaths are told with what they were at."""

    dataset: Any

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        main = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
        handler = signal.getsignal(signal.SIGCHLD) if main else None
        batches: Any = super().__iter__()
        if main and handler is not None:
            # Torch's handler raises wherever the main process happens to be, and knows a number alone.
            signal.signal(signal.SIGCHLD, handler)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                died = self._died(batches)
                if died is None:
                    raise
                raise died from error
            yield batch

    def _died(self, batches: Any) -> WorkerError | None:
        processes = getattr(batches, "_workers", [])
        for worker, process in enumerate(processes):
            process.join(0)
            if process.exitcode not in (None, 0):
                return self._error(worker, len(processes), process.exitcode)
        return None

    def _error(self, worker: int, workers: int, code: int) -> WorkerError:
        sample, case, call, memory = self.dataset.watch.last(worker)
        why, remedy = f"ended with code {code}", "run with --workers 0 to see its own messages"
        if code < 0:
            why = f"was ended by {_signal_name(-code)}"
        if code == -getattr(signal, "SIGKILL", 9):
            why += ", as systems do that run out of memory"
            remedy = "use fewer workers, or --workers 0, or smaller patches"
        at = "between two samples" if sample is None else f"at sample {sample}"
        return WorkerError(
            f"Worker {worker + 1} of {workers} {why}, {at}.",
            case=None if sample is None else case_name(self.dataset.cases[case]),
            node=None if call is None or sample is None else self.dataset.plan.name(call),
            got=f"at most {memory:.0f} MiB of memory until then",
            remedy=remedy,
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
