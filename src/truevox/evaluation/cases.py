"""Scores of predictions against references: of a cohort, of two folders, of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from truevox.cohort import Case, Cohort
from truevox.errors import SettingsError, TrueVoxError
from truevox.evaluation.folders import Matched, match_folders, read_pairs
from truevox.evaluation.jobs import (
    CASE_COLUMNS,
    FAILURE_COLUMNS,
    LESION_COLUMNS,
    METRIC_COLUMNS,
    Evaluation,
    Failure,
    Job,
    failure_of,
)
from truevox.evaluation.label_tables import Choice, choose_labels
from truevox.evaluation.running import score_all
from truevox.evaluation.settings import EvaluationSettings
from truevox.measures.outputs import Output, find_output, read_outputs

__all__ = [
    "CASE_COLUMNS",
    "FAILURE_COLUMNS",
    "LESION_COLUMNS",
    "METRIC_COLUMNS",
    "Evaluation",
    "Failure",
    "cohort_jobs",
    "evaluate",
    "evaluate_folders",
    "labelled",
]

_PATIENT_COLUMNS = ("patient", "subject", "participant_id")
"""Columns of a cohort that say whose a case is."""


def evaluate(
    predictions: str | Path,
    cohort: Cohort,
    outputs: Mapping[str, Output] | None = None,
    *,
    tol_mm: float | None = None,
    n_jobs: int = 1,
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Scores of every case, output and label of a cohort: predictions as ``truevox predict`` writes them.

    Scores are computed on the grid of the reference file as it is stored, and whatever the prediction holds
    beyond it. Every file is read once. A case
    whose prediction or reference is missing, can't be read or lies on another grid is listed as failed,
    and the others go on.

    Parameters
    ----------
    predictions : path
        Folder with ``<case>/<output>.nii.gz`` (``<case>/<record>/...`` for records).
    cohort : Cohort
        The cases to evaluate.
    outputs : mapping of output to Output, optional
        Label table and reference column of every output; from the folder's ``labels.json`` by default.
    tol_mm : float, optional
        Largest displacement of a corner between prediction and reference, in mm; None: less than half a
        voxel (:func:`truevox.alignment.aligned`).
    n_jobs : int
        Processes (joblib).
    settings : EvaluationSettings, optional
        Metrics and policies; by default Dice, volume difference and absolute volume difference.

    Returns
    -------
    Evaluation

    Raises
    ------
    FileError
        If ``labels.json`` is missing or damaged.
    SettingsError
        If no output names a reference, the cohort lacks the column of one, or a metric does not exist.

    Notes
    -----
    Voxels that the reference marks as ``ignore`` count for neither mask.

    Examples
    --------
    >>> import numpy as np, tempfile, truevox as tv
    >>> from truevox.labels import Labels
    >>> folder = Path(tempfile.mkdtemp())
    >>> mask = tv.Image(np.ones((1, 10, 10, 10), np.uint8), tv.Grid((10, 10, 10)), kind="label")
    >>> tv.save(mask, folder / "truth.nii.gz")
    >>> tv.save(mask, folder / "preds" / "p07" / "tumour.nii.gz")
    >>> cohort = Cohort([Case("p07", {"mask": folder / "truth.nii.gz"})])
    >>> found = evaluate(folder / "preds", cohort, {"tumour": Output(Labels({"tumour": 1}), "mask")})
    >>> [(row["metric"], row["value"]) for row in found.rows]
    [('dice', 1.0), ('volume_difference_ml', 0.0), ('absolute_volume_difference_ml', 0.0)]
    """
    chosen = EvaluationSettings() if settings is None else settings
    if tol_mm is not None and chosen.tolerance_mm is None:
        chosen = chosen.model_copy(update={"tolerance_mm": tol_mm})
    return score_all(cohort_jobs(predictions, cohort, outputs), chosen, n_jobs=n_jobs)


def evaluate_folders(
    predictions: str | Path,
    references: str | Path | None = None,
    settings: EvaluationSettings | None = None,
    *,
    pattern: str | None = None,
    n_jobs: int = 1,
) -> Evaluation:
    """Scores of the files of one folder against those of another, matched by name; or of a table.

    Parameters
    ----------
    predictions : path
        Folder of label files of any tool; or, without ``references``, a table with the columns
        ``case,prediction,reference``.
    references : path, optional
        Folder of label files.
    settings : EvaluationSettings, optional
    pattern : str, optional
        Regular expression whose first group is the case.
    n_jobs : int
        Processes (joblib).

    Returns
    -------
    Evaluation

    Raises
    ------
    FileError, CaseError
        If a folder or table can't be used.
    SettingsError
        If nothing matches, or a setting can't be used.

    Examples
    --------
    >>> import numpy as np, tempfile, truevox as tv
    >>> folder = Path(tempfile.mkdtemp())
    >>> mask = tv.Image(np.ones((1, 9, 9, 9), np.uint8), tv.Grid((9, 9, 9)), kind="label")
    >>> for name in ("theirs/p1.nii.gz", "theirs/p2.nii.gz", "mine/p1_seg.nii.gz"):
    ...     tv.save(mask, folder / name)
    >>> found = evaluate_folders(folder / "mine", folder / "theirs", EvaluationSettings(metrics=["dice"]))
    >>> [(row["case"], row["label"], row["value"], row["status"]) for row in found.rows]
    [('p1', 'foreground', 1.0, 'ok'), ('p2', 'foreground', nan, 'failed')]
    """
    chosen = EvaluationSettings() if settings is None else settings
    if references is None:
        matched = read_pairs(Path(predictions))
    else:
        matched = match_folders(Path(predictions), Path(references), pattern=pattern)
    matched = labelled(matched, choose_labels(chosen.labels))
    found = score_all(matched.jobs, chosen, n_jobs=n_jobs)
    return replace(found, failures=[*found.failures, *matched.failures])


def labelled(matched: Matched, choice: Choice) -> Matched:
    """Jobs with the label table that was chosen."""
    jobs = [replace(job, labels=choice.labels, binary=choice.binary) for job in matched.jobs]
    return replace(matched, jobs=jobs)


def cohort_jobs(
    predictions: str | Path, cohort: Cohort, outputs: Mapping[str, Output] | None = None
) -> list[Job]:
    """What is to be scored of a cohort.

    Raises
    ------
    FileError, SettingsError
        As :func:`evaluate`.
    """
    folder = Path(predictions)
    chosen = read_outputs(folder) if outputs is None else dict(outputs)
    wanted = {name: output for name, output in chosen.items() if output.reference is not None}
    if not wanted:
        raise SettingsError(
            "No output names the column of its reference.",
            expected="reference in labels.json",
            remedy='write the column of the masks into labels.json: "reference": "mask"',
        )
    for name, output in wanted.items():
        if output.reference not in cohort.columns:
            raise SettingsError(
                f"The cohort has no column '{output.reference}', the reference of output '{name}'.",
                expected=", ".join(cohort.columns),
                remedy="evaluate with the table that holds the references, or correct labels.json",
            )
    return [_job(folder, case, name, output) for case in cohort for name, output in wanted.items()]


def _patient(case: Case) -> str:
    """What a column of the cohort calls the patient; empty where there is none: then it is the case."""
    return next(filter(None, map(case.owner, _PATIENT_COLUMNS)), "")


def _job(folder: Path, case: Case, name: str, output: Output) -> Job:
    place = folder.joinpath(*case.key.split("/"))
    path = find_output(place, name) or place / f"{name}.nii.gz"
    column, problem, reference = str(output.reference), None, None
    try:
        reference = case.path(column)
    except TrueVoxError as error:
        problem = failure_of(case.key, name, error)
    return Job(
        case.key, path, reference, labels=output.labels, output=name, patient=_patient(case), strict=True,
        problem=problem,
        score=find_output(place, f"{name}_probabilities"), called=(f"prediction {name}", column),
    )  # fmt: skip
