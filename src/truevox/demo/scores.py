"""What the demo measures: volumes and scores per case, and what they say of a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import truevox as tv
from truevox.demo.plots import VolumePoint
from truevox.demo.study import LABELS, OUTPUT
from truevox.evaluation import METRIC_COLUMNS, SUMMARY_COLUMNS, Summary, evaluate, summary
from truevox.files import software
from truevox.measures import VOLUME_COLUMNS, Volume, volumes_table
from truevox.origin import Origin

__all__ = [
    "DEMO_METRIC_COLUMNS",
    "DEMO_SUMMARY_COLUMNS",
    "DEMO_VOLUME_COLUMNS",
    "MethodResult",
    "metric_rows",
    "results",
    "volume_points",
    "volume_rows",
]

Row = dict[str, Any]

DEMO_VOLUME_COLUMNS = (*VOLUME_COLUMNS, "source")
"""Columns of ``volumes.csv``; ``source`` is a loss, ``known`` or a rater."""
DEMO_METRIC_COLUMNS = (*METRIC_COLUMNS, "source", "reference")
"""Columns of ``metrics.csv``; ``source`` is a loss, ``reference`` is ``known`` or a rater."""
DEMO_SUMMARY_COLUMNS = ("source", "reference", *SUMMARY_COLUMNS)

KNOWN = "known"
EXPECTED = "expected_volume_difference_ml"
MASK = "volume_difference_ml"


@dataclass(frozen=True)
class MethodResult:
    """What the table says of one method.

    Parameters
    ----------
    source : str
        Key of the loss.
    dice : Summary
        Of the mask, against every rater.
    expected, mask : Summary
        Error in ml of the expected volume, and of the mask's volume, against the known expected volume.
    known_ml : float
        Mean known expected volume.
    """

    source: str
    dice: Summary
    expected: Summary
    mask: Summary
    known_ml: float

    @property
    def covers_zero(self) -> bool:
        """Whether the interval of the mean error of the expected volume covers zero."""
        return self.expected.ci_low <= 0 <= self.expected.ci_high


def volume_rows(cohort: tv.Cohort, predictions: Mapping[str, Path]) -> list[Row]:
    """Volumes of every prediction, of the known probability maps and of the raters' masks."""
    rows = [
        row | {"source": source} for source, folder in predictions.items() for row in volumes_table(folder)
    ]
    for case in cohort:
        if case.record == cohort.cases[0].record:
            known = case.load("probability", "probability", LABELS)
            rows.append(_volume_row(case, "probability", tv.volume(known), known.grid, KNOWN))
        mask = case.load("label", "label", LABELS)
        rows.append(_volume_row(case, "label", tv.volume(mask, "threshold"), mask.grid, str(case.record)))
    return rows


def _volume_row(
    case: tv.Case, column: str, found: Volume | dict[str, Volume], grid: tv.Grid, source: str
) -> Row:
    one = next(iter(found.values())) if isinstance(found, dict) else found
    return {
        "case": case.id,
        "output": OUTPUT,
        "label": one.label,
        "method": one.method,
        "volume_ml": one.ml,
        "status": one.status,
        "voxel_volume_ml": grid.voxel_volume_ml,
        "definition": one.id,
        "file": case.path(column).name,
        "software": software(),
        "message": "",
        "volume_px": one.px,
        "unit": one.unit,
        **Origin.unknown_row(one.method),
        "note": "known" if source == KNOWN else "",
        "source": source,
    }


def metric_rows(cohort: tv.Cohort, predictions: Mapping[str, Path], volumes: Sequence[Row]) -> list[Row]:
    """Scores against every rater, and errors of both kinds of volume against the known map."""
    rows: list[Row] = []
    for source, folder in predictions.items():
        for record in dict.fromkeys(case.record for case in cohort):
            # One prediction serves all raters of a case: each rater in turn is the reference.
            of_rater = tv.Cohort(replace(c, record=None) for c in cohort if c.record == record)
            found = evaluate(folder, of_rater).rows
            rows += [row | {"source": source, "reference": str(record)} for row in found]
    return rows + _known_errors(volumes, tuple(predictions))


def _known_errors(volumes: Sequence[Row], sources: Sequence[str]) -> list[Row]:
    known = {row["case"]: row["volume_ml"] for row in volumes if row["source"] == KNOWN}
    names = {"expected": EXPECTED, "threshold": MASK}
    return [
        {
            "case": row["case"],
            "label": row["label"],
            "metric": names[row["method"]],
            "value": row["volume_ml"] - known[row["case"]],
            "unit": "ml",
            "status": row["status"],
            "definition": f"volume_difference/{row['method']}",
            "output": row["output"],
            "patient": row["case"].partition("/")[0],
            "when_empty": None,
            "software": row["software"],
            "source": row["source"],
            "reference": KNOWN,
        }
        for row in volumes
        if row["source"] in sources
    ]


def results(
    metrics: Sequence[Row], volumes: Sequence[Row], sources: Sequence[str]
) -> tuple[list[MethodResult], list[Row]]:
    """One result per method, and the rows of ``summary.csv``."""
    known = [row["volume_ml"] for row in volumes if row["source"] == KNOWN]
    found, table = [], []
    for source in sources:
        mine = [row for row in metrics if row["source"] == source]
        against_raters = {s.metric: s for s in summary(r for r in mine if r["reference"] != KNOWN)}
        against_known = {s.metric: s for s in summary(r for r in mine if r["reference"] == KNOWN)}
        for reference, group in (("raters", against_raters), (KNOWN, against_known)):
            table += [{"source": source, "reference": reference, **s.as_row()} for s in group.values()]
        mean = sum(known) / len(known)
        result = MethodResult(
            source, against_raters["dice"], against_known[EXPECTED], against_known[MASK], mean
        )
        found.append(result)
    return found, table


def volume_points(volumes: Sequence[Row], sources: Sequence[str]) -> list[VolumePoint]:
    """Volumes by case, for the figure."""
    by_case: dict[str, dict[tuple[str, str], float]] = {}
    for row in volumes:
        by_case.setdefault(row["case"], {})[row["source"], row["method"]] = row["volume_ml"]
    return [
        VolumePoint(
            one[KNOWN, "expected"],
            [v for (source, _), v in one.items() if source not in (*sources, KNOWN)],
            {source: one[source, "expected"] for source in sources},
        )
        for one in by_case.values()
    ]
