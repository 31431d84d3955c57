"""What ``truevox compare`` wrote, as it goes into the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truevox.errors import FileError
from truevox.files import read_json, unreadable
from truevox.report.folder import read_table

__all__ = ["ComparisonPart", "Figure", "Table", "data_uri", "read_comparison"]

LARGEST = 2000
"""Most rows of a table in the page."""
_TABLES = {
    "ranking.csv": "Ranking",
    "comparison.csv": "Differences between methods",
    "agreement.csv": "Agreement of volumes",
}
_ELSEWHERE = ("software", "definition", "better")
_NOTHING = ("", "0", "nan")


@dataclass(frozen=True)
class Table:
    """A table with its title; ``left_out`` rows are in the file only."""

    title: str
    file: str
    columns: list[str]
    rows: list[list[str]]
    left_out: int


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, and its caption."""

    caption: str
    uri: str


@dataclass(frozen=True)
class ComparisonPart:
    """Tables, figures and settings of a comparison, and what its reader should know first."""

    tables: list[Table]
    figures: list[Figure]
    settings: list[tuple[str, str]]
    missing: str = "worst"
    patients: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_comparison(path: str | Path) -> ComparisonPart:
    """Read a folder of ``truevox compare``: whatever of its tables and figures is there.

    Raises
    ------
    FileError
        If the folder does not exist, or holds neither table nor figure.
    """
    folder = Path(path)
    tables = [_table(folder / name, title) for name, title in _TABLES.items() if (folder / name).is_file()]
    figures = [Figure(_caption(file.stem), data_uri(_bytes(file))) for file in sorted(folder.glob("*.png"))]
    if not tables and not figures:
        raise FileError(
            "The folder holds no comparison.",
            file=folder,
            expected=", ".join(_TABLES),
            remedy="name the folder that `truevox compare ... --out` wrote",
        )
    summary = read_json(folder / "comparison.json") if (folder / "comparison.json").is_file() else {}
    settings = _settings(summary)
    owners = summary.get("patients") if isinstance(summary, dict) else None
    patients = {str(k): str(v) for k, v in owners.items()} if isinstance(owners, dict) else {}
    said = summary.get("warnings") if isinstance(summary, dict) else None
    warnings = [str(text) for text in said] if isinstance(said, list) else []
    return ComparisonPart(
        tables, figures, settings, dict(settings).get("missing", "worst"), patients, warnings
    )


def _caption(stem: str) -> str:
    """What a figure shows, from the name of its file."""
    kind, _, rest = stem.partition("_")
    if stem.startswith("bland_altman_"):
        return f"Bland-Altman: {stem.removeprefix('bland_altman_')}"
    return (
        f"{kind.capitalize()}: {rest}"
        if kind in ("scores", "ranking")
        else stem.replace("_", " ").capitalize()
    )


def _table(path: Path, title: str) -> Table:
    """A table without the columns that say nothing here, or that the definitions of the page say."""
    rows = read_table(path)
    if any(row.get("bias") for row in rows):  # means and deviations stand in the ranking already
        rows = [row for row in rows if row["bias"]]
    names = [name for name in (rows[0] if rows else {}) if name not in _ELSEWHERE]
    columns = [name for name in names if any(row[name] not in _NOTHING for row in rows)]
    cells = [[_short(row[name]) for name in columns] for row in rows[:LARGEST]]
    return Table(title, path.name, columns, cells, max(len(rows) - LARGEST, 0))


def _short(text: str) -> str:
    """A number with four digits, a dash for none; any other text as it is."""
    if text.lower() == "nan":
        return "–"
    try:
        return text if text.lstrip("-").isdecimal() else f"{float(text):.4g}"
    except ValueError:
        return text


def _settings(summary: Any) -> list[tuple[str, str]]:
    """The plain entries, and those of ``settings``."""
    if not isinstance(summary, dict):
        return []
    inner = summary.get("settings")
    entries = {**summary, **(inner if isinstance(inner, dict) else {})}
    return [(str(k), str(v)) for k, v in entries.items() if isinstance(v, (str, int, float))]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(error, path) from error


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Bytes as a ``data:`` address.

    Examples
    --------
    >>> data_uri(b"abc", "text/plain")
    'data:text/plain;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
