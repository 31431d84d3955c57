"""Agreement of volumes: differences against means."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from truevox.errors import TrueVoxError
from truevox.io.segments import Segments, read_segments
from truevox.report.error_maps import label_values
from truevox.report.folder import Folder, Score

__all__ = ["Agreement", "agreements", "limits"]

_DIFFERENCE = "volume_difference_ml"


@dataclass(frozen=True)
class Agreement:
    """Volumes of one structure by one method against the reference.

    Parameters
    ----------
    method : int
    structure : str
    cases : list of str
    mean_ml, difference_ml : (n,) arrays
        Mean of prediction and reference; prediction minus reference.
    bias, low, high : float
        Mean difference and 95 % limits of agreement, ml.
    bias_low, bias_high : float
        95 % interval of the bias (Student's t); NaN for fewer than two cases.
    left_out : int
        Cases with a difference whose volume could not be found.
    """

    method: int
    structure: str
    cases: list[str]
    mean_ml: NDArray[np.float64]
    difference_ml: NDArray[np.float64]
    bias: float
    low: float
    high: float
    bias_low: float
    bias_high: float
    left_out: int


def limits(difference: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """Bias, its 95 % limits of agreement, and the 95 % interval of the bias.

    Parameters
    ----------
    difference : (n,)

    Returns
    -------
    bias, low, high, bias_low, bias_high : float
        All but the bias are NaN for one case.

    References
    ----------
    Bland and Altman (1986), Statistical methods for assessing agreement between two methods of clinical
    measurement.

    Examples
    --------
    >>> a, b = np.array([10.0, 20, 5, 15, 30]), np.array([11.0, 22, 6, 15, 28])
    >>> [round(x, 6) for x in limits(a - b)[:3]]
    [-0.4, -3.372487, 2.572487]
    """
    bias, count = float(difference.mean()), len(difference)
    if count < 2:
        return bias, math.nan, math.nan, math.nan, math.nan
    spread = float(difference.std(ddof=1))
    half = float(stats.t.ppf(0.975, count - 1)) * spread / math.sqrt(count)
    return bias, bias - 1.96 * spread, bias + 1.96 * spread, bias - half, bias + half


def agreements(folders: Sequence[Folder]) -> list[Agreement]:
    """One for each method and structure that has volume differences.

    A reference's volume follows from the tables where they hold the relative difference or the volumetric
    similarity. Elsewhere the reference's file is read once, and its voxels counted.
    """
    counted: dict[Path, tuple[Segments, float] | None] = {}
    found = []
    for number, folder in enumerate(folders):
        groups: dict[tuple[str, str], dict[str, dict[str, Score]]] = defaultdict(lambda: defaultdict(dict))
        for one in folder.scores:
            if one.status != "failed" and not math.isnan(one.value):
                groups[one.output, one.label][one.metric][one.case] = one
        for (output, label), metrics in groups.items():
            points, left_out = [], 0
            for case, score in metrics.get(_DIFFERENCE, {}).items():
                volume = _from_tables(case, score.value, metrics)
                if volume is None:
                    volume = _from_file(folder, case, output, label, counted)
                if volume is None:
                    left_out += 1
                else:
                    points.append((case, volume + score.value / 2, score.value))
            if points:
                cases, means, differences = zip(*points, strict=True)
                values = np.array(differences)
                structure = folder.structure(output, label)
                found.append(
                    Agreement(
                        number, structure, list(cases), np.array(means), values, *limits(values), left_out
                    )
                )
    return found


def _from_tables(case: str, difference: float, metrics: dict[str, dict[str, Score]]) -> float | None:
    """The reference's volume, in ml, from what else is known of a case."""
    relative = metrics.get("relative_volume_difference", {}).get(case)
    if relative is not None and relative.value != 0 and math.isfinite(relative.value):
        return difference / relative.value
    similarity = metrics.get("volumetric_similarity", {}).get(case)
    if similarity is not None and similarity.value < 1:
        return (abs(difference) / (1 - similarity.value) - difference) / 2
    return None


def _from_file(
    folder: Folder,
    case: str,
    output: str,
    label: str,
    counted: dict[Path, tuple[Segments, float] | None],
) -> float | None:
    files = folder.files(case, output)
    if files is None:
        return None
    if files.reference not in counted:
        counted[files.reference] = _count(files.reference)
    known = counted[files.reference]
    if known is None:
        return None
    found, voxel_ml = known
    if (own := found.called(label)) is not None:
        return voxel_ml * int(np.count_nonzero(found.mask(own)))
    if len(found.array) > 1:
        return None
    try:
        values = label_values(folder, output, label, files.prediction or files.reference)
    except TrueVoxError:
        return None
    counts = found.counts[0].items()
    return voxel_ml * sum(n for value, n in counts if (value in values if values else value != 0))


def _count(path: Path) -> tuple[Segments, float] | None:
    """The labels of a file, and the volume of a voxel in ml; None if it can't be read."""
    try:
        found, header = read_segments(path)
        return found, header.grid.voxel_volume_ml
    except TrueVoxError:
        return None
