"""The table at the top: means with intervals, and how many cases stand behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truevox.report.folder import Folder
from truevox.report.words import metric_title, number, unit_suffix
from truevox.report.worst import better

__all__ = ["Block", "Cell", "headline"]

_COUNTS = {"n_missed": "missed", "n_spurious": "spurious", "n_undefined": "undefined", "n_failed": "failed"}


@dataclass(frozen=True)
class Cell:
    """One metric of one method: texts for the page."""

    mean: str
    interval: str
    counts: tuple[str, ...]
    detail: str
    best: bool


@dataclass(frozen=True)
class Block:
    """One structure: metrics across, methods down.

    Parameters
    ----------
    structure : str
    metrics : list of (title, unit suffix, arrow, definition)
    rows : list of (method index, cells)
        A cell is None where a method has no such metric.
    """

    structure: str
    metrics: list[tuple[str, str, str, str]]
    rows: list[tuple[int, list[Cell | None]]]


def headline(folders: Sequence[Folder]) -> list[Block]:
    """A block for each structure, in order of appearance.

    The best mean of two methods or more is marked. Whether it is better by more than chance is for the
    comparison to say.
    """
    found: dict[str, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for position, folder in enumerate(folders):
        for row in folder.summary:
            name = folder.structure(str(row.get("output", "")), str(row.get("label", "")))
            found.setdefault(name, {}).setdefault(str(row.get("metric", "")), {})[position] = row
    return [_block(name, metrics, len(folders)) for name, metrics in found.items()]


def _block(name: str, metrics: Mapping[str, Mapping[int, Mapping[str, Any]]], methods: int) -> Block:
    columns: list[tuple[str, str, str, str]] = []
    cells: dict[int, list[Cell | None]] = {position: [] for position in range(methods)}
    for metric, rows in metrics.items():
        first = next(iter(rows.values()))
        direction = better(metric, str(first.get("definition", "")))
        arrow = {"higher": "↑", "lower": "↓", "zero": "→ 0"}.get(direction, "")
        columns.append(
            (
                metric_title(metric),
                unit_suffix(str(first.get("unit", ""))),
                arrow,
                str(first.get("definition", "")),
            )
        )
        best = _best({position: row.get("mean") for position, row in rows.items()}, direction)
        for position, row_cells in cells.items():
            row = rows.get(position)
            row_cells.append(None if row is None else _cell(row, position in best))
    kept = [(position, row) for position, row in cells.items() if any(one is not None for one in row)]
    return Block(name, columns, kept)


def _best(means: Mapping[int, Any], direction: str) -> set[int]:
    known = {position: mean for position, mean in means.items() if isinstance(mean, (int, float))}
    if len(known) < 2 or direction == "none":
        return set()
    badness = {
        position: -mean if direction == "higher" else abs(mean) if direction == "zero" else mean
        for position, mean in known.items()
    }
    least = min(badness.values())
    best = {position for position, bad in badness.items() if bad == least}
    return best if len(best) < len(known) else set()


def _cell(row: Mapping[str, Any], best: bool) -> Cell:
    low, high = row.get("ci_low"), row.get("ci_high")
    counts = tuple(f"{row[key]} {word}" for key, word in _COUNTS.items() if row.get(key))
    detail = (
        f"median {number(row.get('median'))}, standard deviation {number(row.get('sd'))}, n = {row.get('n')}"
    )
    interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
    return Cell(number(row.get("mean")), interval, counts, detail, best)
