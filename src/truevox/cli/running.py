"""How a command ends: its exit code, and what it says on standard error."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec

import typer

from truevox.errors import SettingsError, TrueVoxError

__all__ = [
    "BUG", "DEBUG", "INVALID", "SOME_FAILED", "USAGE", "expect_file_to_write", "guarded", "say",
    "say_remarks", "write_page",
]  # fmt: skip

SOME_FAILED, USAGE, INVALID, BUG = 1, 2, 3, 70
"""Exit codes. The last is that of a mistake in TrueVox itself."""
INTERRUPTED = 130
"""As shells say it of a command that was ended by Ctrl-C."""

DEBUG: ContextVar[bool] = ContextVar("debug", default=False)
"""Whether errors show their traceback."""

P = ParamSpec("P")
_SIZE = re.compile(r" \(\d+x\d+x\d+\)")


def say(text: str) -> None:
    """A line for the reader, on standard error."""
    typer.echo(text, err=True)


def expect_file_to_write(path: Path | None) -> None:
    """Refuse a folder where a file is to be written, before the work that it is of."""
    if path is not None and path.is_dir():
        raise SettingsError(
            "This is a folder, and a file is needed.", got=str(path), remedy=f"e.g. {path / 'report.html'}"
        )


def write_page(path: Path, evaluations: Mapping[str, Path], comparison: Path | None = None) -> None:
    """Write the report of evaluations, given by their folders or by their tables, and say where it is."""
    from truevox.report import write_report

    folders = {name: place if place.is_dir() else place.parent for name, place in evaluations.items()}
    write_report(path, folders, comparison=comparison)
    say(f"The report is {path}.")


def say_remarks(remarks: Mapping[str, int]) -> None:
    """What a model remarked of its cases, a line for each kind; ``run.json`` has them all."""
    kinds: dict[str, list[tuple[str, int]]] = {}
    for text, count in remarks.items():
        kinds.setdefault(_SIZE.sub("", text), []).append((text, count))
    for kind, entries in kinds.items():
        times = sum(count for _, count in entries)
        text = entries[0][0] if len(entries) == 1 else f"{kind}; {len(entries)} sizes"
        say(f"Note: {text} ({times} time{'s' * (times > 1)})")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors become a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TrueVoxError as error:
            _show(error)
            say(f"{type(error).__name__}: {error}")
            raise typer.Exit(USAGE if isinstance(error, SettingsError) else INVALID) from error
        except BrokenPipeError:
            raise
        except KeyboardInterrupt as error:
            _show(error)
            say("\nInterrupted.")
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            _show(error)
            what = "The disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            say(f"{type(error).__name__}: {what}.{f'  {error.filename}' if error.filename else ''}")
            raise typer.Exit(INVALID) from error
        except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
            if isinstance(error, typer.Exit | typer.Abort):
                raise
            _show(error)
            if _out_of_memory(error):
                say("Out of memory. Remedy: smaller patches (patch.size, predict.size) or smaller batches.")
                raise typer.Exit(INVALID) from error
            say(f"Internal error: {type(error).__name__}: {error}")
            say("This is a mistake in TrueVox. `truevox --debug COMMAND ...` shows where; please report it.")
            raise typer.Exit(BUG) from error

    return run


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python, in PyTorch on the CPU, or on an accelerator."""
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory")
    )


def _show(error: BaseException) -> None:
    if DEBUG.get():
        import traceback

        say("".join(traceback.format_exception(error)))
