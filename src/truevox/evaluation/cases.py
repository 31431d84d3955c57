"""Scores of a folder of predictions against the references of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from truevox import io
from truevox.cohort import Case, Cohort
from truevox.cohort.check import describe_mismatch
from truevox.errors import CaseError, GeometryError, LabelError, SettingsError, TrueVoxError
from truevox.files import software
from truevox.io.access import as_labels, label_counts
from truevox.labels import Labels
from truevox.measures.outputs import Output, find_output, read_outputs
from truevox.metrics import Score, absolute_volume_difference_ml, dice, volume_difference_ml

__all__ = ["FAILURE_COLUMNS", "METRIC_COLUMNS", "Evaluation", "Failure", "evaluate"]

METRIC_COLUMNS = ("case", "label", "metric", "value", "unit", "status", "definition", "output", "software")
"""Order of the columns of ``metrics.csv``."""
FAILURE_COLUMNS = ("case", "output", "file", "message", "remedy")
"""Order of the columns of ``failures.csv``."""

# Name in the tables, unit and definition: what a failed case is listed with too.
_METRICS = (
    ("dice", "1", "dice/voxel"),
    ("volume_difference_ml", "ml", "volume_difference/threshold"),
    ("absolute_volume_difference_ml", "ml", "absolute_volume_difference/threshold"),
)


@dataclass(frozen=True)
class Failure:
    """A case without scores, and why.

    Examples
    --------
    >>> Failure("p07", "tumour", "preds/p07", "The prediction is missing.", "predict it").case
    'p07'
    """

    case: str
    output: str
    file: str
    message: str
    remedy: str

    def as_row(self) -> dict[str, str]:
        """A row for :func:`truevox.files.write_csv` with ``FAILURE_COLUMNS``."""
        return {name: " ".join(text.split()) for name, text in asdict(self).items()}


@dataclass(frozen=True)
class Evaluation:
    """All scores of a cohort.

    Parameters
    ----------
    rows : list of dict
        With ``METRIC_COLUMNS``. A case that failed has rows too: value NaN, status ``"failed"``.
    failures : list of Failure
        Why they failed.
    """

    rows: list[dict[str, Any]]
    failures: list[Failure]


def evaluate(
    predictions: str | Path,
    cohort: Cohort,
    outputs: Mapping[str, Output] | None = None,
    *,
    tol_mm: float = 1e-3,
    n_jobs: int = 1,
) -> Evaluation:
    """Dice, volume difference and absolute volume difference of every case, output and label.

    Scores are computed on the grid of the reference file as it is stored: nothing is resampled. Every
    file is read once. A case whose prediction or reference is missing, can't be read or lies on
    another grid is listed as failed, and the others go on.

    Parameters
    ----------
    predictions : path
        Folder with ``<case>/<output>.nii.gz`` (``<case>/<record>/...`` for records).
    cohort : Cohort
        The cases to evaluate.
    outputs : mapping of output to Output, optional
        Label table and reference column of every output; from the folder's ``labels.json`` by default.
    tol_mm : float
        Largest displacement of a corner between prediction and reference, in mm.
    n_jobs : int
        Processes (joblib).

    Returns
    -------
    Evaluation

    Raises
    ------
    FileError
        If ``labels.json`` is missing or damaged.
    SettingsError
        If no output names a reference, or the cohort lacks the column of one.

    Notes
    -----
    Voxels that the reference marks as ``ignore`` count for neither mask.

    Examples
    --------
    >>> import tempfile, truevox as tv
    >>> folder = Path(tempfile.mkdtemp())
    >>> mask = tv.Image(np.ones((1, 10, 10, 10), np.uint8), tv.Grid((10, 10, 10)), kind="label")
    >>> tv.save(mask, folder / "truth.nii.gz")
    >>> tv.save(mask, folder / "preds" / "p07" / "tumour.nii.gz")
    >>> cohort = Cohort([Case("p07", {"mask": folder / "truth.nii.gz"})])
    >>> found = evaluate(folder / "preds", cohort, {"tumour": Output(Labels({"tumour": 1}), "mask")})
    >>> [(row["metric"], row["value"]) for row in found.rows]
    [('dice', 1.0), ('volume_difference_ml', 0.0), ('absolute_volume_difference_ml', 0.0)]
    """
    folder = Path(predictions)
    chosen = read_outputs(folder) if outputs is None else dict(outputs)
    wanted = {name: output for name, output in chosen.items() if output.reference is not None}
    if not wanted:
        raise SettingsError(
            "No output names the column of its reference.", expected="reference in labels.json"
        )
    for name, output in wanted.items():
        if output.reference not in cohort.columns:
            raise SettingsError(
                f"The cohort has no column '{output.reference}', the reference of output '{name}'.",
                expected=", ".join(cohort.columns),
                remedy="evaluate with the table that holds the references, or correct labels.json",
            )
    work = (
        delayed(_evaluate_one)(folder, case, name, output, tol_mm)
        for case in cohort
        for name, output in wanted.items()
    )
    parts: list[tuple[list[dict[str, Any]], Failure | None]] = Parallel(n_jobs=n_jobs)(work)  # type: ignore[assignment]
    rows = [row for part, _ in parts for row in part]
    return Evaluation(rows, [failure for _, failure in parts if failure is not None])


def _evaluate_one(
    folder: Path, case: Case, name: str, output: Output, tol_mm: float
) -> tuple[list[dict[str, Any]], Failure | None]:
    try:
        predicted, reference, size = _pair(folder, case, name, output, tol_mm)
        scores = _scores(predicted, reference, size, output.labels)
    except TrueVoxError as error:
        details = [
            f"{k}: {v}" for k, v in (("got", error.got), ("expected", error.expected)) if v is not None
        ]
        message = error.message + (f" ({'; '.join(details)})" if details else "")
        failure = Failure(case.key, name, error.file or "", message, error.remedy or "")
        lost = [(m, Score(float("nan"), "undefined", unit, ident)) for m, unit, ident in _METRICS]
        rows = [
            _row(case, name, label, m, score, "failed") for label in output.labels.names for m, score in lost
        ]
        return rows, failure
    return [_row(case, name, label, metric, score, score.status) for label, metric, score in scores], None


def _pair(
    folder: Path, case: Case, name: str, output: Output, tol_mm: float
) -> tuple[NDArray, NDArray, float]:
    """Prediction and reference (C, I, J, K) on one grid, and the voxel's volume in ml."""
    place = folder.joinpath(*case.key.split("/"))
    path = find_output(place, name)
    if path is None:
        raise CaseError(
            "The prediction is missing.",
            file=place / f"{name}.nii.gz",
            remedy="predict this case, or evaluate only the split that was predicted",
        )
    truth = case.path(str(output.reference))
    predicted, one = io.read(path)
    reference, two = io.read(truth)
    if not one.grid.same_as(two.grid, tol_mm):
        names = {f"prediction {name}": one, str(output.reference): two}
        raise GeometryError(
            describe_mismatch(case.key, names, tol_mm),
            file=path,
            remedy="predict again with the reference's scan as `like=`; labels are never resampled",
        )
    predicted, reference = as_labels(predicted, path, None), as_labels(reference, truth, None)
    for array, file in ((predicted, path), (reference, truth)):
        _check_table(array, file, output.labels)
    return predicted, reference, two.grid.voxel_volume_ml


def _check_table(array: NDArray, file: Path, labels: Labels) -> None:
    """One volume with declared values, or one mask per overlapping region."""
    if len(array) == len(labels.names) > 1:
        return
    if len(array) != 1:
        raise LabelError("Volumes and label table differ.", file=file, got=len(array), expected=1)
    try:
        labels.check(np.array(list(label_counts(array))))
    except LabelError as error:
        error.file = str(file)
        raise


def _scores(
    predicted: NDArray, reference: NDArray, size: float, labels: Labels
) -> Sequence[tuple[str, str, Score]]:
    known = None
    if labels.ignore is not None and len(reference) == 1 and (reference == labels.ignore).any():
        known = reference[0] != labels.ignore
    found = []
    for k, label in enumerate(labels.names):
        wanted = labels.values_of(label)
        p, r = _mask(predicted, k, wanted, known), _mask(reference, k, wanted, known)
        scores = (
            dice(p, r),
            volume_difference_ml(p, r, size),
            absolute_volume_difference_ml(p, r, size),
        )
        found += [(label, metric, score) for (metric, _, _), score in zip(_METRICS, scores, strict=True)]
    return found


def _mask(array: NDArray, channel: int, values: Sequence[int], known: NDArray | None) -> NDArray[np.bool_]:
    if len(array) > 1:
        mask = array[channel] != 0
    else:
        mask = array[0] == values[0] if len(values) == 1 else np.isin(array[0], values)
    return mask if known is None else mask & known


def _row(case: Case, output: str, label: str, metric: str, score: Score, status: str) -> dict[str, Any]:
    return {
        "case": case.key,
        "label": label,
        "metric": metric,
        "value": score.value,
        "unit": score.unit,
        "status": status,
        "definition": score.id,
        "output": output,
        "software": software(),
    }
