"""Results of finished cases, kept so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from truevox.errors import FileError
from truevox.evaluation.expected import volumes_file
from truevox.evaluation.jobs import Job, Result
from truevox.evaluation.settings import EvaluationSettings
from truevox.files import atomic_path, software
from truevox.io.registry import sources

__all__ = ["Kept", "fingerprint"]


def fingerprint(job: Job, settings: EvaluationSettings) -> str:
    """What tells a job from one on other files, with other settings or of another version.

    Files count by path, size and time of their last change; those of a folder each.
    """
    paths = [path for path in (job.prediction, job.reference, job.image, job.score) if path is not None]
    if settings.of_expected_volumes and (measured := volumes_file(job.prediction)) is not None:
        paths.append(measured)
    facts = [
        software(),
        job.case,
        job.output,
        job.patient,
        [_state(path) for path in paths],
        [path is None for path in (job.prediction, job.reference, job.image, job.score)],
        None if job.labels is None else job.labels.to_dict(),
        [job.binary, job.strict],
        settings.model_dump(mode="json"),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _state(path: Path) -> list[Any]:
    found: list[Any] = [str(path)]
    for source in sources(path):
        inside = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        for file in inside:
            try:
                state = os.stat(file)
            except OSError:
                found.append([str(file), None])
                continue
            found.append([str(file), state.st_size, state.st_mtime_ns])
    return found


class Kept:
    """Finished cases in a file, a line each. A line that was cut off by a kill is no line.

    Parameters
    ----------
    path : path
        Made when the first result comes.
    fresh : bool
        Forget what is there.

    Examples
    --------
    >>> import tempfile
    >>> kept = Kept(Path(tempfile.mkdtemp()) / "resume.jsonl")
    >>> kept.add("key", Result(notes=["resampled"]))
    >>> Kept(kept.path).get("key").notes
    ['resampled']
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._whole, self._damaged = True, False
        if fresh:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._load()

    def _load(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        self._whole = text.endswith("\n") or not text
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["result"]
            except (ValueError, KeyError, TypeError):
                self._damaged = True

    def get(self, key: str) -> Result | None:
        """The result of a finished case; None if it is not there."""
        found = self._known.get(key)
        return None if found is None else Result.from_dict(found)

    def add(self, key: str, result: Result) -> None:
        """Keep a result.

        Raises
        ------
        FileError
            If it can't be written.
        """
        line = json.dumps({"key": key, "result": result.to_dict()})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(("" if self._whole else "\n") + line + "\n")
        except OSError as error:
            raise FileError(
                f"Finished cases can't be kept: {error.strerror}.", file=self.path, remedy="write elsewhere"
            ) from error
        self._whole = True
        self._known[key] = json.loads(line)["result"]

    def tidy(self, keys: Iterable[str]) -> None:
        """Drop what no case of this run needs, such as results of former settings."""
        wanted = [key for key in keys if key in self._known]
        if (len(wanted) == len(self._known) and not self._damaged) or not self.path.is_file():
            return
        with atomic_path(self.path) as temporary:
            lines = (json.dumps({"key": key, "result": self._known[key]}) + "\n" for key in wanted)
            temporary.write_text("".join(lines), encoding="utf-8")
        self._known, self._damaged = {key: self._known[key] for key in wanted}, False
