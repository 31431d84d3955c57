"""One case: its files read, brought together and scored, or the reason why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox import io
from truevox.errors import CaseError, LabelError
from truevox.evaluation.expected import measured_volumes
from truevox.evaluation.grids import Together, on_grid, together
from truevox.evaluation.jobs import Job, Result, failure_of
from truevox.evaluation.masks import Masks, check_table, declared, found_in, scores_of
from truevox.evaluation.scorer import Scorer
from truevox.evaluation.settings import EvaluationSettings
from truevox.io import Header
from truevox.io.registry import bare
from truevox.io.segments import Segments, generated, read_segments
from truevox.space import Grid

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
    theirs, header = _read(job.reference, job)
    if missing is None and job.prediction is not None:
        mine, own = _read(job.prediction, job)
        one = together(
            mine.array, own, theirs.array, header, case=job.case, called=job.called,
            tol_mm=settings.tolerance_mm, resample=settings.resample,
        )  # fmt: skip
    else:
        note = "no prediction: scored as an empty one"
        mine, own = replace(theirs, array=np.zeros_like(theirs.array), notes=[]), header
        one = Together(mine.array, theirs.array, header.grid, [note], None)
    mine, theirs = replace(mine, array=one.prediction), replace(theirs, array=one.reference)
    masks, notes = _masks(job, mine, theirs, settings)
    measured = {}
    if missing is None:
        scores, note = _scores(job, one.grid, masks, settings)
        masks, notes = replace(masks, scores=scores), [*notes, note]
        if settings.of_expected_volumes and scores is None:
            measured = measured_volumes(job.prediction, job.output)
    scorer = Scorer(one.grid, settings, missing is not None, measured, own.grid)
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
    said = [text for text in (*one.notes, *notes, *scorer.notes) if text]
    return Result(values, absent, lesions, said, failure, one.displacement_mm, scorer.unit)


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


def _masks(
    job: Job, mine: Segments, theirs: Segments, settings: EvaluationSettings
) -> tuple[Masks, list[str]]:
    """Pairs of masks, and what is odd about their values."""
    sides = (("prediction", mine), ("reference", theirs))
    if job.labels is None:
        masks = found_in(mine, theirs)
        return masks, [f"{what}: {note}" for what, side in sides for note in side.notes]
    notes = [check_table(side, job.labels, job.strict, what) for what, side in sides]
    by_value = settings.by_value or job.binary or generated(job.labels, job.called[1])
    masks = declared(mine, theirs, job.labels, by_value=by_value)
    return masks, [*notes, *(f"{what}: {note}" for what, side in sides for note in side.notes)]


def _read(path: Path, job: Job) -> tuple[Segments, Header]:
    """Labels of a file as it has them, and its header."""
    name = str(path)
    if job.image is not None and "like=" not in name and _is_contours(path):
        name += f"{'&' if '?' in name else '?'}like={job.image.resolve()}"
    found, header = read_segments(name)
    if not job.binary:
        return found, header
    if len(found.array) > 1 and found.table is None:
        raise LabelError(
            "The file has several channels, and nothing says that they are masks.",
            file=path,
            got=f"{len(found.array)} channels",
            expected="one channel, or segments with names",
            remedy="extract the channel that is meant; or --labels names one label for each channel",
        )
    return Segments((found.array != 0).any(0)[None].view(np.uint8), found.path), header


def _scores(
    job: Job, grid: Grid, masks: Masks, settings: EvaluationSettings
) -> tuple[dict[str, NDArray] | None, str]:
    """Probabilities by label on the grid that is scored, where a metric needs them; and a note."""
    if job.score is None or not (settings.of_probabilities or settings.of_expected_volumes):
        return None, ""
    array, header = io.read(job.score)
    array, note = on_grid(
        array, header, grid, case=job.case, called="probabilities", tol_mm=settings.tolerance_mm
    )
    table = job.labels
    values = {
        name: masks.values_of(name) if table is None else table.values_of(name) for name in masks.places
    }
    return scores_of(array, header.labels, values, declared=table is not None), note


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
