"""What the scores of a cohort say: means with intervals, and how many cases they leave out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SUMMARY_COLUMNS", "Summary", "bootstrap_interval", "summary"]

_DRAWN = 2**20


@dataclass(frozen=True)
class Summary:
    """One metric of one label over the cases of a cohort.

    Parameters
    ----------
    output, label, metric, unit, definition : str
    mean, median, sd : float
        Over the values that are defined; ``sd`` with n - 1, NaN for one value.
    ci_low, ci_high : float
        95 % bootstrap interval of the mean over cases; NaN for fewer than two cases.
    n : int
        Values that are defined.
    n_undefined, n_missed, n_spurious, n_failed : int
        Both masks empty (left out of the mean); only the prediction empty, only the reference empty
        (both inside the mean); no score at all (left out).
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
    n_undefined: int
    n_missed: int
    n_spurious: int
    n_failed: int

    def as_row(self) -> dict[str, Any]:
        """A row for :func:`truevox.files.write_csv` with ``SUMMARY_COLUMNS``."""
        return asdict(self)


SUMMARY_COLUMNS = tuple(field.name for field in fields(Summary))
"""Order of the columns of a table of summaries."""


def summary(rows: Iterable[Mapping[str, Any]], *, resamples: int = 2000, seed: int = 0) -> list[Summary]:
    """Mean, spread and interval of every metric and label.

    Values that are undefined or failed are left out of the mean, and counted.

    Parameters
    ----------
    rows : iterable of rows with ``METRIC_COLUMNS``
    resamples : int
        Of the bootstrap.
    seed : int
        Of the bootstrap: the same rows give the same interval.

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
    return [_summarise(key, group, resamples, seed) for key, group in groups.items()]


def _summarise(
    key: tuple[str, str, str], rows: list[Mapping[str, Any]], resamples: int, seed: int
) -> Summary:
    counted = {
        name: sum(row["status"] == name for row in rows)
        for name in ("undefined", "missed", "spurious", "failed")
    }
    kept = [row for row in rows if not math.isnan(row["value"])]
    values = np.array([row["value"] for row in kept], dtype=np.float64)
    nan = float("nan")
    # Records of one case are not independent: cases are drawn, not records.
    low, high = bootstrap_interval(values, [str(row["case"]).split("/")[0] for row in kept], resamples, seed)
    return Summary(
        *key,
        unit=rows[0]["unit"],
        definition=rows[0]["definition"],
        mean=float(values.mean()) if len(values) else nan,
        median=float(np.median(values)) if len(values) else nan,
        sd=float(values.std(ddof=1)) if len(values) > 1 else nan,
        ci_low=low,
        ci_high=high,
        n=len(values),
        n_undefined=counted["undefined"],
        n_missed=counted["missed"],
        n_spurious=counted["spurious"],
        n_failed=counted["failed"],
    )


def bootstrap_interval(
    values: NDArray[np.float64], cases: list[str], resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, drawing whole cases.

    Parameters
    ----------
    values : (n,)
    cases : list of n str
        Values of one case are drawn together.

    Returns
    -------
    low, high : float
        NaN for fewer than two cases.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    >>> bootstrap_interval(np.array([2.0, 2.0, 2.0]), ["a", "b", "c"])
    (2.0, 2.0)
    """
    names, group = np.unique(np.array(cases, dtype=str), return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums, counts = np.bincount(group, values), np.bincount(group)
    rng = np.random.default_rng(seed)
    # Many at once, as far as memory goes: a table has hundreds of rows.
    most = max(_DRAWN // len(names), 1)
    parts = []
    for first in range(0, resamples, most):
        drawn = rng.integers(0, len(names), (min(most, resamples - first), len(names)))
        parts.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
