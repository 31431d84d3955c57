"""``run.json``: what was run, on what, with which versions, and how it ended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

from truevox.errors import FileError, TrueVoxError
from truevox.files import write_json

__all__ = ["recorded", "sha256", "versions"]

_PACKAGES = (
    "truevox",
    "torch",
    "lightning",
    "numpy",
    "numba",
    "nibabel",
    "pydantic",
    "safetensors",
    "joblib",
    "scipy",
    "statsmodels",
)


@contextlib.contextmanager
def recorded(
    path: Path, command: str, settings: Mapping[str, Any], inputs: Mapping[str, Path]
) -> Iterator[dict[str, Any]]:
    """Write ``run.json`` when the work starts and again when it ends, well or not.

    Its status is ``running``, then ``finished``, ``failed`` or ``interrupted`` (Ctrl-C, SIGTERM, SIGHUP). A
    process that is killed outright (SIGKILL, no memory) leaves ``running``; ``process`` says which it was.

    Parameters
    ----------
    path : Path
        File to write. If it can't be written, the work does not start.
    command : str
        Name of the command.
    settings : mapping
        Its options, with all defaults filled in.
    inputs : mapping of name to file
        Their SHA-256 is written.

    Yields
    ------
    dict
        What else to write, for the work to fill.

    Raises
    ------
    FileError
        If the folder can't be written, or an input can't be read.
    """
    begun = time.perf_counter()
    more: dict[str, Any] = {}
    entry: dict[str, Any] = {
        "command": command,
        "arguments": sys.argv[1:],
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "inputs": {name: {"path": str(p), "sha256": sha256(p)} for name, p in inputs.items()},
        "versions": versions(),
        "process": {"host": platform.node(), "pid": os.getpid()},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
    }
    write_json(path, entry)

    def close(status: str) -> None:
        entry.update(status=status, ended=datetime.now(UTC).isoformat(timespec="seconds"))
        entry.update(seconds=round(time.perf_counter() - begun, 3), threads=_threads(), **more)
        write_json(path, entry)

    try:
        with _signals():
            yield more
    except BaseException as error:
        more["error"] = f"{type(error).__name__}: {error}"
        # The error that ended the work is the one to tell, not that its record could not be written.
        with contextlib.suppress(TrueVoxError, OSError):
            close("interrupted" if isinstance(error, (KeyboardInterrupt, EndedError)) else "failed")
        raise
    close("finished")


class EndedError(SystemExit):
    """The system asked the process to end; the exit code says by which signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.number).name}"


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Signals that ask the process to end raise, so that what is at work is recorded and cleaned up.

    Signals that somebody handles already, or ignores (``nohup``), are left alone.
    """
    names = ("SIGTERM", "SIGHUP", "SIGBREAK")
    wanted = [number for name in names if (number := getattr(signal, name, None)) is not None]
    main = threading.current_thread() is threading.main_thread()
    ours = [n for n in wanted if main and signal.getsignal(n) is signal.SIG_DFL]
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker that inherited this: as if it had not
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other in ours:  # one is enough; a second must not cut the cleaning short
            signal.signal(other, signal.SIG_IGN)
        raise EndedError(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises
    ------
    FileError
        If it can't be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileError(
            f"The file can't be read: {error.strerror}.", file=path, remedy="check the path"
        ) from error


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _threads() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {
        "torch": torch.get_num_threads() if torch is not None else None,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }
