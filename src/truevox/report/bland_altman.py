"""Agreement of volumes: differences against means."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import TrueVoxError
from truevox.evaluation.statistics.agreement import BlandAltman, bland_altman
from truevox.evaluation.statistics.by_patient import counted
from truevox.io.segments import Segments, read_segments
from truevox.report.error_maps import label_values
from truevox.report.folder import Folder, Score

__all__ = ["Agreement", "agreements"]

_DIFFERENCE = "volume_difference_ml"


@dataclass(frozen=True)
class Agreement:
    """Volumes of one structure by one method against the reference.

    Parameters
    ----------
    method : int
    structure : str
    cases : list of str
        Those that are drawn.
    mean_ml, difference_ml : (n,) arrays
        Mean of prediction and reference; prediction minus reference.
    found : BlandAltman
        Bias and limits of agreement of all differences, ml, by patient.
    left_out : int
        Cases that are not drawn, because the volume of the reference could not be found: they count for bias
        and limits all the same.
    """

    method: int
    structure: str
    cases: list[str]
    mean_ml: NDArray[np.float64]
    difference_ml: NDArray[np.float64]
    found: BlandAltman
    left_out: int

    @property
    def counted(self) -> str:
        """How many differences, of how many patients."""
        return counted(self.found.n, self.found.patients)

    @property
    def lines(self) -> tuple[float, ...]:
        """Bias, lower and upper limit, and the interval of the bias."""
        found = self.found
        return found.bias.value, found.lower.value, found.upper.value, found.bias.low, found.bias.high


def agreements(folders: Sequence[Folder]) -> list[Agreement]:
    """One for each method and structure that has volume differences.

    A reference's volume follows from the tables where they hold the relative difference or the volumetric
    similarity. Elsewhere the reference's file is read once, and its voxels counted.
    """
    counted_files: dict[Path, tuple[Segments, float] | None] = {}
    found = []
    for number, folder in enumerate(folders):
        groups: dict[tuple[str, str], dict[str, dict[str, Score]]] = defaultdict(lambda: defaultdict(dict))
        for one in folder.scores:
            if one.status != "failed" and math.isfinite(one.value):
                groups[one.output, one.label][one.metric][one.case] = one
        for (output, label), metrics in groups.items():
            points: list[tuple[str, float, float]] = []
            differences = metrics.get(_DIFFERENCE, {})
            for case, score in differences.items():
                volume = _from_tables(case, score.value, metrics)
                if volume is None:
                    volume = _from_file(folder, case, output, label, counted_files)
                if volume is not None:
                    points.append((case, volume + score.value / 2, score.value))
            if differences:
                values = np.array([score.value for score in differences.values()])
                agreed = bland_altman(
                    values, 0 * values, patients=[folder.patient(case) for case in differences]
                )
                found.append(
                    Agreement(
                        number, folder.structure(output, label), [case for case, _, _ in points],
                        np.array([mean for _, mean, _ in points]), np.array([d for _, _, d in points]),
                        agreed, len(differences) - len(points),
                    )
                )  # fmt: skip
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
