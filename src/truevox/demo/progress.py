"""What the demo says while it works: bars on a terminal, else a line now and then, on standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from truevox.progress import progress

__all__ = ["stage"]

_QUIET_S = 20.0
"""Least time between two lines about the same stage, off a terminal."""


@contextlib.contextmanager
def stage(what: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A stage of the demo; the yielded function takes ``{"step", "max_steps", "loss"}``."""
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    if console.is_terminal:
        with progress(what, None) as advance:
            yield lambda row: advance(row["step"], _loss(row), row["max_steps"])
    else:
        yield _lines(what, console)
    console.print(f"{what}: done in {time.monotonic() - started:.0f} s", markup=False)


def _loss(row: dict[str, Any]) -> str:
    return f"loss {row['loss']:.4f}" if "loss" in row else ""


def _lines(what: str, console: Console) -> Callable[[dict[str, Any]], None]:
    last = time.monotonic()

    def report(row: dict[str, Any]) -> None:
        nonlocal last
        if "loss" in row and time.monotonic() - last >= _QUIET_S:
            last = time.monotonic()
            console.print(f"{what}: step {row['step']:.0f} of {row['max_steps']}, {_loss(row)}", markup=False)

    return report
