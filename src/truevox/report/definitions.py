"""What the metrics in a report mean, from the registry of metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from truevox.errors import SettingsError
from truevox.metrics.registry import definition, families
from truevox.report.folder import Folder
from truevox.report.words import number

__all__ = ["Meaning", "meanings"]

_DIRECTIONS = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "best at 0",
    "none": "no score",
}


@dataclass(frozen=True)
class Meaning:
    """One metric in words; ``summary`` is empty if this version does not know it."""

    name: str
    id: str
    title: str
    unit: str
    range: str
    direction: str
    summary: str


def meanings(folders: Iterable[Folder]) -> list[Meaning]:
    """Every metric of the tables once, in order of appearance."""
    found: dict[str, Meaning] = {}
    for folder in folders:
        for one in folder.scores:
            if one.definition not in found:
                found[one.definition] = _meaning(one.metric, one.definition, one.unit)
    return list(found.values())


def _meaning(name: str, identifier: str, unit: str) -> Meaning:
    shown = {"1": "ratio", "": "ratio"}.get(unit, unit)
    try:
        known = definition(identifier)
    except SettingsError:
        return Meaning(name, identifier, "–", shown, "", "", "")
    stem = known.id.split("/")[0].split("@")[0]
    title = next((family.title for family in families() if family.name == stem), name)
    bounds = f"{_bound(known.low)} to {_bound(known.high)}"
    return Meaning(name, identifier, title, shown, bounds, _DIRECTIONS[known.better], known.summary)


def _bound(value: float) -> str:
    return number(value) if math.isinf(value) or value != int(value) else str(int(value)).replace("-", "−")
