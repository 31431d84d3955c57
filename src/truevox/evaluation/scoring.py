"""One case: its files read, brought together and scored, or the reason why not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox import io
from truevox.errors import CaseError, LabelError
from truevox.evaluation.grids import Together, on_grid, together
from truevox.evaluation.jobs import Job, Result, failure_of
from truevox.evaluation.masks import MaskPair, Masks, check_table, declared, found_in, scores_of
from truevox.evaluation.settings import EvaluationSettings
from truevox.io import Header
from truevox.io.registry import bare
from truevox.io.segments import Segments, generated, read_segments
from truevox.metrics import Definition, Pair
from truevox.metrics.scoring import value_of
from truevox.space import Grid

__all__ = ["score"]

_VOLUMES = ("reference_ml", "prediction_ml", "overlap_ml")
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
        mine = replace(theirs, array=np.zeros_like(theirs.array), notes=[])
        one = Together(mine.array, theirs.array, header.grid, [note], None)
    mine, theirs = replace(mine, array=one.prediction), replace(theirs, array=one.reference)
    masks, notes = _masks(job, mine, theirs, settings)
    if missing is None:
        scores, note = _scores(job, one.grid, list(masks.places), settings)
        masks, notes = replace(masks, scores=scores), [*notes, note]
    scorer = _Scorer(one.grid, settings, missing is not None)
    values: dict[str, list[list[Any]]] = {}
    lesions: list[dict[str, Any]] = []
    for name, pair in masks:
        values[name] = scorer.rows(name, pair)
        lesions += scorer.lesions(job, name, pair)
    absent = scorer.absent() if job.labels is None else {}
    if missing is None and job.score is None and settings.of_probabilities:
        missing = _without_probabilities(job, settings)
    failure = None if missing is None else failure_of(job.case, job.output, missing)
    said = [text for text in (*one.notes, *notes) if text]
    return Result(values, absent, lesions, said, failure, one.displacement_mm)


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
    if job.labels is None:
        return found_in(mine, theirs), []
    sides = (("prediction", mine), ("reference", theirs))
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
    job: Job, grid: Grid, labels: list[str], settings: EvaluationSettings
) -> tuple[dict[str, NDArray] | None, str]:
    """Probabilities by label on the grid that is scored, where a metric needs them; and a note."""
    if job.score is None or not settings.of_probabilities:
        return None, ""
    array, header = io.read(job.score)
    array, note = on_grid(
        array, header, grid, case=job.case, called="probabilities", tol_mm=settings.tolerance_mm
    )
    return scores_of(array, header.labels, labels), note


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


class _Scorer:
    """Metrics of the labels of one case, on the grid of its reference."""

    def __init__(self, grid: Grid, settings: EvaluationSettings, missing: bool) -> None:
        self.grid, self.settings, self.missing = grid, settings, missing
        self.empty = settings.empty.policy()
        self.unscored = set(settings.of_probabilities)
        # Axes of one voxel are none: a picture has no surface above and below it.
        self.axes = [k for k, n in enumerate(grid.shape) if n > 1] or [0]
        # Sheared voxels hold less than their sides say.
        self.volume_spacing = grid.spacing * [1, 1, grid.voxel_volume / float(np.prod(grid.spacing))]

    def rows(self, label: str, masks: MaskPair) -> list[list[Any]]:
        """Metric, value, unit, status and definition of each metric of a label."""
        wanted = self.settings.definitions(label)
        whole = tuple(masks.whole[k] for k in self.axes)
        known = None if masks.known is None else self._flat(masks.known)
        spacing = self.grid.spacing[self.axes]
        flat = Pair(
            self._flat(masks.prediction), self._flat(masks.reference), spacing,
            None if masks.score is None else self._flat(masks.score), known, whole=whole,
        )  # fmt: skip
        solid = flat
        if len(self.axes) < 3 or not np.allclose(self.volume_spacing, self.grid.spacing, rtol=1e-12):
            solid = Pair(*masks[:2], self.volume_spacing, field=masks.known, whole=masks.whole)
        return [self._row(one, solid if one.unit == "ml" else flat) for one in wanted]

    def absent(self) -> dict[str, list[list[Any]]]:
        """The same for labels that are in neither mask."""
        nothing = np.zeros((1, 1, 1), bool)
        masks = MaskPair(nothing, nothing, None, (0, 0, 0), self.grid.shape)
        return {name: self.rows(name, masks) for name in ("", *self.settings.named_labels)}

    def lesions(self, job: Job, label: str, masks: MaskPair) -> list[dict[str, Any]]:
        """Rows of ``lesions.csv``."""
        rule = self.settings.lesion_rule
        if rule is None or (rule.labels and label not in rule.labels):
            return []
        from truevox.metrics import match_lesions

        known = True if masks.known is None else masks.known
        rest = [k for k in range(3) if k not in self.axes]
        # In a plane volumes are those of 1 mm; this is how thick it is.
        thick = float(np.prod(self.volume_spacing[rest])) if rest else 1.0
        found = match_lesions(
            self._flat(masks.prediction & known), self._flat(masks.reference & known),
            self.grid.spacing[self.axes] if rest else self.volume_spacing, rule=rule.rule,
            connectivity=rule.connectivity, min_ml=rule.min_ml / thick,
            score=None if masks.score is None else self._flat(masks.score),
            affine=self.grid.crop(masks.start, masks.prediction.shape).affine[:, [*self.axes, *rest, 3]],
        )  # fmt: skip
        rows = [{"case": job.case, "output": job.output, "label": label, **row} for row in found.table()]
        return [
            {k: v * thick if k in _VOLUMES and v is not None else v for k, v in row.items()} for row in rows
        ]

    def _row(self, metric: Definition, pair: Pair) -> list[Any]:
        if self.missing and metric.empties:
            # Nothing was predicted at all: the worst, even where there was nothing to find.
            return [metric.name, float(metric.missed(pair)), metric.unit, "missed", metric.id]
        if pair.score is None and metric.name in self.unscored:
            return [metric.name, math.nan, metric.unit, "failed", metric.id]
        value = value_of(metric, pair, self.empty)
        return [metric.name, float(value.value), value.unit, value.status, metric.id]

    def _flat(self, mask: NDArray) -> NDArray:
        return mask.reshape([mask.shape[k] for k in self.axes])
