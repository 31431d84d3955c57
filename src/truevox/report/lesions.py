"""Lesion tables: what was found, by size, and the lesions themselves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from truevox.evaluation.statistics.by_patient import Interval, proportion_interval
from truevox.report.folder import Folder

__all__ = ["LESION_COLUMNS", "Detection", "detections", "lesion_rows"]

LARGEST = 4000
"""Most lesions listed in a page."""
_EDGES_ML = (0.1, 0.3, 1.0, 3.0, 10.0, math.inf)
LESION_COLUMNS = ("method", "case", "structure", "rule", "kind", "reference_ml", "prediction_ml", "iou")
LESION_COLUMNS += (
    "dice",
    "assd_mm",
    "x_mm",
    "y_mm",
    "z_mm",
    "score",
    "touches",
    "reference_px",
    "prediction_px",
)
"""Order of the cells of :func:`lesion_rows`."""
_TEXT = ("rule", "kind", "touches")


@dataclass(frozen=True)
class Detection:
    """Counts of one method, structure and matching rule over all cases.

    Parameters
    ----------
    method : int
    structure, rule : str
    matched, missed, spurious : int
    sensitivity_interval, precision_interval, f1_interval : Interval
        Of all lesions pooled, by patient: lesions of a patient are no independent sample.
    sizes : tuple of (str, int, int)
        For each size of reference lesions: its name, how many were found, how many there are. Sizes
        without lesions are left out.
    """

    method: int
    structure: str
    rule: str
    matched: int
    missed: int
    spurious: int
    sensitivity_interval: Interval
    precision_interval: Interval
    f1_interval: Interval
    sizes: tuple[tuple[str, int, int], ...]

    @property
    def sensitivity(self) -> float:
        """Found of all reference lesions; NaN if there are none."""
        return self.sensitivity_interval.value

    @property
    def precision(self) -> float:
        """True positives of all predicted lesions; NaN if there are none."""
        return self.precision_interval.value

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision over all lesions pooled; NaN if there are none."""
        return self.f1_interval.value


def detections(folders: Sequence[Folder]) -> list[Detection]:
    """Counts of every method, structure and rule, in order of appearance."""
    known = _reference_lesions(folders)
    found = []
    for number, folder in enumerate(folders):
        scored = {
            (folder.structure(o.output, o.label), o.case) for o in folder.scores if o.status != "failed"
        }
        groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for row in folder.lesions:
            groups[folder.structure(row["output"], row["label"]), row.get("rule", "")].append(row)
        for (name, rule), own in groups.items():
            # Failing to predict a case misses its lesions, as an empty mask would.
            there = {row["case"] for row in own}
            failed = [case for case in known[name, rule] if case not in there and (name, case) not in scored]
            rows = [*own, *(row for case in failed for row in known[name, rule][case])]
            patients = [folder.patient(row["case"]) for row in rows]
            matched, missed, spurious = (
                np.array([row["kind"] == kind for row in rows], dtype=float)
                for kind in ("matched", "missed", "spurious")
            )
            sensitivity = proportion_interval(matched, matched + missed, patients)
            precision = proportion_interval(matched, matched + spurious, patients)
            f1 = proportion_interval(2 * matched, 2 * matched + missed + spurious, patients)
            counts = tuple(int(kind.sum()) for kind in (matched, missed, spurious))
            sizes = _sizes(rows)
            found.append(
                Detection(
                    number, name, rule, counts[0], counts[1], counts[2], sensitivity, precision, f1, sizes
                )
            )
    return found


def _reference_lesions(folders: Sequence[Folder]) -> dict[tuple[str, str], dict[str, list[dict[str, str]]]]:
    """Of each structure and rule, the lesions of the reference of each case as if all were missed."""
    found: dict[tuple[str, str], dict[str, list[dict[str, str]]]] = defaultdict(dict)
    for folder in folders:
        own: dict[tuple[str, str], dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
        for row in folder.lesions:
            if row["kind"] in ("matched", "missed"):
                key = folder.structure(row["output"], row["label"]), row.get("rule", "")
                own[key][row["case"]].append(row | {"kind": "missed"})
        for key, cases in own.items():
            found[key] = {**cases, **found[key]}
    return found


def _sizes(rows: Sequence[dict[str, str]]) -> tuple[tuple[str, int, int], ...]:
    found, total = [0] * len(_EDGES_ML), [0] * len(_EDGES_ML)
    for row in rows:
        volume = _number(row["reference_ml"])
        if row["kind"] in ("matched", "missed") and volume is not None:
            place = next(k for k, edge in enumerate(_EDGES_ML) if volume < edge)
            total[place] += 1
            found[place] += row["kind"] == "matched"
    lows = (0.0, *_EDGES_ML[:-1])
    names = [
        f"< {high:g} ml"
        if low == 0
        else f"{low:g} to {high:g} ml"
        if math.isfinite(high)
        else f"≥ {low:g} ml"
        for low, high in zip(lows, _EDGES_ML, strict=True)
    ]
    return tuple(one for one in zip(names, found, total, strict=True) if one[2])


def lesion_rows(folders: Sequence[Folder]) -> tuple[list[list[Any]], int]:
    """Lesions as cells in the order of ``LESION_COLUMNS``, those to look at first on top.

    Largest missed and largest spurious lesions first, then matched ones from the lowest IoU.

    Returns
    -------
    rows : list of at most ``LARGEST`` rows
    left_out : int
    """
    rows = [
        [number, row["case"], folder.structure(row["output"], row["label"]), *_cells(row)]
        for number, folder in enumerate(folders)
        for row in folder.lesions
    ]
    kind, iou = LESION_COLUMNS.index("kind"), LESION_COLUMNS.index("iou")
    sizes = [
        LESION_COLUMNS.index(f"{side}_{unit}")
        for unit in ("ml", "px")
        for side in ("reference", "prediction")
    ]

    def order(row: list[Any]) -> tuple[int, float]:
        if row[kind] == "matched":
            return 1, row[iou] or 0.0
        return 0, -next((row[size] for size in sizes if row[size] is not None), 0.0)

    rows.sort(key=order)
    return rows[:LARGEST], max(len(rows) - LARGEST, 0)


def _cells(row: dict[str, str]) -> list[Any]:
    return [row.get(name, "") if name in _TEXT else _number(row.get(name, "")) for name in LESION_COLUMNS[3:]]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return float(f"{value:.5g}") if math.isfinite(value) else None
