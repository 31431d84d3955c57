"""What the scores of a cohort say: means with intervals, and how many cases they leave out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from truevox.errors import SettingsError
from truevox.evaluation.statistics.by_patient import counted, mean_interval

__all__ = ["SUMMARY_COLUMNS", "Summary", "metric_range", "summary"]


@dataclass(frozen=True)
class Summary:
    """One metric of one label over the cases of a cohort.

    Parameters
    ----------
    output, label, metric, unit, definition : str
    mean, median, sd : float
        Over the values that are defined; ``sd`` with n - 1, NaN for one value.
    ci_low, ci_high : float
        95 % interval of the mean, by patient
        (:func:`truevox.evaluation.statistics.by_patient.mean_interval`); NaN where there is none.
    n, patients : int
        Values that are defined, and patients that they come from.
    n_undefined, n_missed, n_spurious, n_failed : int
        Both masks empty, or not defined for another reason (left out of the mean); only the prediction empty,
        only the reference empty (both inside the mean, at the worst value, unless settings say otherwise); no
        score at all (left out).
    n_left_out : int
        Values that the mean leaves out.
    no_interval : str
        Why there is no interval; empty where there is one.
    """

    output: str
    label: str
    metric: str
    unit: str
    definition: str
    mean: float
    median: float
    sd: float
    ci_low: float
    ci_high: float
    n: int
    patients: int
    n_undefined: int
    n_missed: int
    n_spurious: int
    n_failed: int
    n_left_out: int
    no_interval: str

    @property
    def counted(self) -> str:
        """``40 scans of 4 patients``, or ``12 patients``."""
        return counted(self.n, self.patients)

    def as_row(self) -> dict[str, Any]:
        """A row for :func:`truevox.files.write_csv` with ``SUMMARY_COLUMNS``."""
        return asdict(self)


SUMMARY_COLUMNS = tuple(field.name for field in fields(Summary))
"""Order of the columns of a table of summaries."""


def summary(rows: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """Mean, spread and interval of every metric and label.

    Every scan counts once in the mean; the interval is by patient. Values that are undefined or failed are
    left out of the mean, and counted.

    Parameters
    ----------
    rows : iterable of rows with ``METRIC_COLUMNS``
        Without ``patient``, it is what stands before the first ``/`` of the case.

    Returns
    -------
    list of Summary
        In order of first appearance.

    Examples
    --------
    >>> base = {"output": "tumour", "label": "tumour", "metric": "dice"}
    >>> base |= {"unit": "1", "definition": "dice/voxel"}
    >>> rows = [base | {"case": "p07", "value": 0.8, "status": "ok"}]
    >>> rows += [base | {"case": "p08", "value": 0.0, "status": "missed"}]
    >>> rows += [base | {"case": "p09", "value": float("nan"), "status": "undefined"}]
    >>> [one] = summary(rows)
    >>> one.mean, one.n, one.n_missed, one.n_undefined
    (0.4, 2, 1, 1)
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["output"], row["label"], row["metric"]].append(row)
    return [_summarise(key, group) for key, group in groups.items()]


def metric_range(definition_id: str) -> tuple[float, float]:
    """Low and high end of a metric's values; infinite for one that this version does not know.

    Examples
    --------
    >>> metric_range("dice/voxel"), metric_range("my_score")
    ((0.0, 1.0), (-inf, inf))
    """
    from truevox.metrics import definition

    try:
        known = definition(definition_id)
    except SettingsError:
        return -math.inf, math.inf
    return float(known.low), float(known.high)


def _summarise(key: tuple[str, str, str], rows: list[Mapping[str, Any]]) -> Summary:
    kept = [row for row in rows if not math.isnan(row["value"])]
    # A number that is missing without a reason is undefined: nothing is dropped uncounted.
    states = [
        "undefined" if row["status"] == "ok" and math.isnan(row["value"]) else row["status"] for row in rows
    ]
    values = np.array([row["value"] for row in kept], dtype=np.float64)
    owners = [str(row.get("patient") or str(row["case"]).partition("/")[0]) for row in kept]
    nan = float("nan")
    low, high = metric_range(rows[0]["definition"])
    found = mean_interval(values, owners, low=low, high=high)
    finite = bool(np.isfinite(values).all())
    return Summary(
        *key,
        unit=rows[0]["unit"],
        definition=rows[0]["definition"],
        mean=found.value,
        median=float(np.median(values)) if len(values) else nan,
        sd=float(values.std(ddof=1)) if len(values) > 1 and finite else nan,
        ci_low=found.low,
        ci_high=found.high,
        n=found.n,
        patients=found.patients,
        n_undefined=states.count("undefined"),
        n_missed=states.count("missed"),
        n_spurious=states.count("spurious"),
        n_failed=states.count("failed"),
        n_left_out=len(rows) - len(kept),
        no_interval=found.reason,
    )
