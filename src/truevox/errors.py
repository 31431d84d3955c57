"""What TrueVox raises: one base class, whose text says what was wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "CaseError",
    "FileError",
    "GeometryError",
    "GraphError",
    "LabelError",
    "SettingsError",
    "TrueVoxError",
    "did_you_mean",
]


class TrueVoxError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    case, file, node : optional
        Where: the case of the cohort, the file, the node of the graph.
    got, expected : optional
        What was found and what would have been right.
    remedy : str, optional
        What the user can do.

    Examples
    --------
    >>> print(GeometryError("shapes differ", case="p07", remedy="resample one of them"))
    shapes differ
      case      p07
      Remedy: resample one of them
    """

    def __init__(
        self,
        message: str,
        *,
        case: str | None = None,
        file: str | Path | None = None,
        node: str | None = None,
        got: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.case = case
        self.file = None if file is None else str(file)
        self.node = node
        self.got = got
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.message]
        for name in ("case", "file", "node", "got", "expected"):
            value = getattr(self, name)
            if value is not None:
                lines.append(f"  {name:<9} {value}")
        if self.remedy is not None:
            lines.append(f"  Remedy: {self.remedy}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive pickling by themselves.
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(cls: type[TrueVoxError], message: str, fields: dict[str, object]) -> TrueVoxError:
    error = cls(message)
    error.__dict__.update(fields)
    return error


class GeometryError(TrueVoxError):
    """Grids that do not fit each other, or an affine that is no place in the patient."""


class LabelError(TrueVoxError):
    """Label values that the label table does not declare, or a table that contradicts itself."""


class CaseError(TrueVoxError):
    """A case that lacks something, holds bad data, or is used where it must not be."""


class GraphError(TrueVoxError):
    """A pipeline graph that can't run: refused when it is built, before any voxel is read."""


class FileError(TrueVoxError):
    """A file that can't be read or written."""


class SettingsError(TrueVoxError):
    """A setting (recipe key, command-line option, device) with a value that can't be used."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A remedy for a word that is not known, if one that is known is much like it.

    Examples
    --------
    >>> did_you_mean("tumor", ["liver", "tumour"]), did_you_mean("spleen", ["liver", "tumour"])
    ("did you mean 'tumour'?", None)
    """
    from difflib import get_close_matches

    plain = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), plain, 1, 0.6)
    return f"did you mean '{plain[near[0]]}'?" if near else None
