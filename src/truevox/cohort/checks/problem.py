"""One offender of a cohort, and how bad each kind of problem is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from truevox.errors import TrueVoxError

__all__ = ["PROBLEM_COLUMNS", "SEVERITIES", "Finding", "Problem", "Severity", "finding_of", "told"]

Severity = Literal["error", "warning"]

PROBLEM_COLUMNS = ("case", "column", "file", "severity", "kind", "message", "remedy")
"""Order of the columns where problems are written as a table."""

SEVERITIES: Mapping[str, Severity] = MappingProxyType(
    {
        "file": "error",
        "geometry": "error",
        "4D": "error",
        "grid": "error",
        "label": "error",
        "swapped": "error",
        "full": "error",
        "constant": "error",
        "voxels": "error",
        "leak": "error",
        "duplicate": "warning",
        "empty": "warning",
        "channels": "warning",
        "header note": "warning",
        "table": "warning",
        "orientation": "warning",
        "axes": "warning",
        "spacing": "warning",
        "shape": "warning",
        "intensity": "warning",
    }
)
"""An error stops a training or makes its scores worthless; a warning is for a person to look at."""

_KINDS = {"FileError": "file", "GeometryError": "geometry", "LabelError": "label"}
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one file, whichever cases use it."""

    kind: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Problem:
    """One offender.

    Parameters
    ----------
    case : str
        Key of the case; several are separated by ``"; "``.
    column, file : str
        Where; several files are separated by ``"; "``.
    kind : str
        One of :data:`SEVERITIES`.
    message, remedy : str
        What is wrong, and what to do.
    where : tuple of (str, str)
        Key and column of every file that it concerns; a grid's reference comes first.

    Examples
    --------
    >>> problem = Problem("p07", "mask", "p07.nii.gz", "empty", "No foreground.", "look at it")
    >>> problem.severity, problem.as_row()["kind"]
    ('warning', 'empty')
    """

    case: str
    column: str
    file: str
    kind: str
    message: str
    remedy: str
    where: tuple[tuple[str, str], ...] = ()

    @property
    def severity(self) -> Severity:
        """``"error"`` or ``"warning"``."""
        return SEVERITIES[self.kind]

    def as_row(self) -> dict[str, str]:
        """A row for :func:`truevox.files.write_csv` with ``PROBLEM_COLUMNS``."""
        return {name: getattr(self, name) for name in PROBLEM_COLUMNS}


def finding_of(error: TrueVoxError) -> Finding:
    """An error that a file raised, as a finding."""
    return Finding(_KINDS.get(type(error).__name__, "voxels"), told(error), error.remedy or "")


def told(error: TrueVoxError) -> str:
    """An error's message with what was found and expected; long lists are cut."""
    details = [
        f"{name} {_cut(str(value))}"
        for name, value in (("got", error.got), ("expected", error.expected))
        if value is not None
    ]
    return error.message + (f" ({'; '.join(details)})" if details else "")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
