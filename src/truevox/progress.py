"""Progress bars: on standard error, and on a terminal only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["Advance", "progress", "spinner"]

Advance = Callable[..., None]
"""Takes how much is done, a word about it, and (if it is known by then) how much is all of it."""


@contextlib.contextmanager
def progress(what: str, total: float | None) -> Iterator[Advance]:
    """A bar that the yielded function moves; nothing off a terminal.

    Parameters
    ----------
    what : str
        What is being done.
    total : float, optional
        When it is done; None if it is not known at first.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, text, whole=None: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, text="")
        yield lambda done, text, whole=total: bar.update(task, completed=done, total=whole, text=text)


@contextlib.contextmanager
def spinner(what: str) -> Iterator[None]:
    """A sign of life for work of unknown length; nothing off a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
