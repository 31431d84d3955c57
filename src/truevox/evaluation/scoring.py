"""One case: its files read, brought together and scored, or the reason why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox import io
from truevox.errors import CaseError
from truevox.evaluation.expected import measured_volumes
from truevox.evaluation.grids import on_reference
from truevox.evaluation.jobs import Job, Result, failure_of
from truevox.evaluation.masks import Masks, check_table, declared, found_in
from truevox.evaluation.scorer import Scorer
from truevox.evaluation.settings import EvaluationSettings
from truevox.io import Header
from truevox.io.access import as_labels
from truevox.io.registry import bare

__all__ = ["score"]

_DICOM = (".dcm", ".dicom", "")


def score(job: Job, settings: EvaluationSettings) -> Result:
    """All metrics of one case; whatever goes wrong becomes its failure.

    Parameters
    ----------
    job : Job
    settings : EvaluationSettings

    Returns
    -------
    Result
    """
    if job.problem is not None:
        return Result(failure=job.problem)
    try:
        return _score(job, settings)
    except Exception as error:  # one case must not end the others
        return Result(failure=failure_of(job.case, job.output, error, job.prediction))


def _score(job: Job, settings: EvaluationSettings) -> Result:
    missing = None if job.prediction is not None and bare(job.prediction).exists() else _missing(job)
    if missing is not None and settings.missing == "failed":
        raise missing
    if job.reference is None:
        raise CaseError(
            "The reference is missing.", file=job.prediction, remedy="add it, or leave the case out"
        )
    truth, header = _read(job.reference, job)
    if missing is None and job.prediction is not None:
        predicted, mine = _read(job.prediction, job)
        predicted, note = on_reference(
            predicted, mine, header, case=job.case, called=job.called, tol_mm=settings.tolerance_mm,
            resample=settings.resample,
        )  # fmt: skip
    else:
        predicted, mine, note = np.zeros_like(truth), header, "no prediction: scored as an empty one"
    masks, notes = _masks(job, (predicted, mine), (truth, header))
    masks = replace(masks, scores=None if missing is not None else _scores(job, header, settings))
    measured = {}
    if settings.of_expected_volumes and masks.scores is None:
        measured = measured_volumes(job.prediction, job.output)
    scorer = Scorer(header.grid, settings, missing is not None, measured, mine.grid)
    values: dict[str, list[list[Any]]] = {}
    lesions: list[dict[str, Any]] = []
    for name, pair in masks:
        values[name] = scorer.rows(name, pair)
        lesions += scorer.lesions(job, name, pair)
    absent = scorer.absent() if job.labels is None else {}
    if missing is None and job.score is None and settings.of_probabilities:
        missing = _without_probabilities(job, settings)
    if missing is None and scorer.refused:
        missing = scorer.refusal(job)
    failure = None if missing is None else failure_of(job.case, job.output, missing)
    said = [text for text in (note, *notes, *scorer.notes) if text]
    return Result(values, absent, lesions, said, failure, scorer.unit)


def _missing(job: Job) -> CaseError:
    return CaseError(
        "The prediction is missing.",
        file=job.prediction or job.reference,
        remedy="predict this case, or evaluate only what was predicted; --missing worst scores it as empty",
    )


def _without_probabilities(job: Job, settings: EvaluationSettings) -> CaseError:
    return CaseError(
        f"The case has no probabilities, which {', '.join(settings.of_probabilities)} need.",
        file=job.prediction,
        remedy="--scores FOLDER, or the column score of a table",
    )


def _masks(job: Job, mine: tuple[NDArray, Header], theirs: tuple[NDArray, Header]) -> tuple[Masks, list[str]]:
    """Pairs of masks, and what is odd about their values."""
    (predicted, one), (truth, two) = mine, theirs
    if job.labels is None:
        return found_in(predicted, truth, one.labels, two.labels), []
    notes = [
        check_table(array, header.path, job.labels, job.strict, what)
        for array, header, what in ((predicted, one, "prediction"), (truth, two, "reference"))
    ]
    return declared(predicted, truth, job.labels), notes


def _read(path: Path, job: Job) -> tuple[NDArray, Header]:
    """Labels of a file as integers (C, I, J, K), and its header."""
    name = str(path)
    if job.image is not None and "like=" not in name and _is_contours(path):
        name += f"{'&' if '?' in name else '?'}like={job.image.resolve()}"
    array, header = io.read(name)
    array = as_labels(array, path, None)
    return (array != 0).view(np.uint8) if job.binary else array, header


def _scores(job: Job, reference: Header, settings: EvaluationSettings) -> NDArray | None:
    """Probabilities on the grid of the reference, where a metric needs them."""
    if job.score is None or not (settings.of_probabilities or settings.of_expected_volumes):
        return None
    array, header = io.read(job.score)
    called = ("probabilities", job.called[1])
    return on_reference(array, header, reference, case=job.case, called=called, tol_mm=settings.tolerance_mm)[
        0
    ]


def _is_contours(path: Path) -> bool:
    """Whether a file is an RTSTRUCT, whose contours become voxels only on an image."""
    if bare(path).suffix.lower() not in _DICOM or not bare(path).is_file():
        return False
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ModuleNotFoundError:  # its reader says so
        return False
    try:
        found = dcmread(bare(path), stop_before_pixels=True, specific_tags=["Modality"])
    except (OSError, ValueError, InvalidDicomError):  # its reader says what is wrong with it
        return False
    return str(found.get("Modality", "")) == "RTSTRUCT"
