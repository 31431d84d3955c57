"""Metrics and lesions of the labels of one case, in the units that its grid has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, SettingsError
from truevox.evaluation.expected import Measured
from truevox.evaluation.jobs import Job
from truevox.evaluation.masks import MaskPair
from truevox.evaluation.settings import EvaluationSettings
from truevox.metrics import Definition, Pair
from truevox.metrics.pixels import SUFFIX, in_pixels
from truevox.metrics.scoring import value_of
from truevox.metrics.volume import EXPECTED
from truevox.space import Grid

__all__ = ["Hollow", "Scorer"]

_VOLUMES = ("reference_ml", "prediction_ml", "overlap_ml")
_PLACES = ("assd_mm", "x_mm", "y_mm", "z_mm")
_COUNTS = ("reference_px", "prediction_px")
_PX_PER_ML = 1000.0


class Hollow:
    """What an empty prediction would get, so that a comparison can hold failing against it.

    Examples
    --------
    >>> from truevox.metrics import definition
    >>> hollow, pair = Hollow(), Pair([[1, 1, 0, 0]], [[0, 1, 1, 1]], (10, 10), whole=(30, 40))
    >>> hollow.value(definition("hd95"), pair)
    500.0
    >>> hollow.value(definition("dice"), pair) is None
    True
    """

    def __init__(self) -> None:
        self._pairs: dict[int, Pair] = {}

    def value(self, metric: Definition, pair: Pair) -> float | None:
        """None for metrics whose range has an end, or that have no direction: nothing has to be known."""
        end = metric.low if metric.better == "higher" else metric.high
        if metric.better == "none" or (metric.better != "zero" and math.isfinite(end)):
            return None
        if metric.empties:
            return float((metric.missed if pair.situation in ("ok", "missed") else metric.spurious)(pair))
        if id(pair) not in self._pairs:
            nothing = np.zeros_like(pair.reference, dtype=bool)
            score = None if pair.score is None else np.zeros_like(pair.score)
            self._pairs[id(pair)] = Pair(nothing, pair.reference, pair.spacing, score, whole=pair.whole)
            if EXPECTED in pair.cache:
                self._pairs[id(pair)].cache[EXPECTED] = 0.0
        found = float(metric.compute(self._pairs[id(pair)]))
        return None if math.isnan(found) else found


class Scorer:
    """Metrics of the labels of one case, on the grid of its reference.

    Parameters
    ----------
    grid : Grid
        Of the reference.
    settings : EvaluationSettings
    missing : bool
        There is no prediction: an empty one is scored at its worst.
    measured : mapping of label to Measured
        Expected volumes, where the probabilities were not kept.
    own : Grid
        Of the prediction, whose voxels these were counted in.

    Attributes
    ----------
    notes : list of str
        What is odd about the case.
    refused : dict of metric to SettingsError
        Metrics that need millimetres, where nobody knows them; or pixels, where they have a size.
    unit : {"ml", "px²", "px³"}
        Of volumes.
    """

    def __init__(
        self,
        grid: Grid,
        settings: EvaluationSettings,
        missing: bool,
        measured: Mapping[str, Measured],
        own: Grid,
    ) -> None:
        self.grid, self.settings, self.missing, self.measured, self.own = (
            grid,
            settings,
            missing,
            measured,
            own,
        )
        self.empty = settings.empty.policy()
        self.unscored = set(settings.of_probabilities)
        self.refused: dict[str, SettingsError] = {}
        self.unit = grid.voxel_measure[1]
        self.notes = [] if self.unit == "ml" else [f"no spacing: distances are in px, volumes in {self.unit}"]
        # Axes of one voxel are none: a picture has no surface above and below it.
        self.axes = [k for k, n in enumerate(grid.shape) if n > 1] or [0]
        # Sheared voxels hold less than their sides say.
        self.volume_spacing = grid.spacing * [1, 1, grid.voxel_volume / float(np.prod(grid.spacing))]

    def rows(self, label: str, masks: MaskPair) -> list[list[Any]]:
        """Metric, value, unit, status, definition and value of an empty mask, metric by metric."""
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
            solid = Pair(*masks[:2], self.volume_spacing, masks.score, masks.known, whole=masks.whole)
        if self.settings.of_expected_volumes:
            self._expect(label, masks, solid)
        hollow = Hollow()
        return [self._row(one, solid if _is_volume(one) else flat, hollow) for one in wanted]

    def absent(self) -> dict[str, list[list[Any]]]:
        """The same for labels that are in neither mask."""
        nothing = np.zeros((1, 1, 1), bool)
        masks = MaskPair(nothing, nothing, None, (0, 0, 0), self.grid.shape)
        said = list(self.notes)
        found = {name: self.rows(name, masks) for name in ("", *self.settings.named_labels)}
        self.notes = said
        return found

    def lesions(self, job: Job, label: str, masks: MaskPair) -> list[dict[str, Any]]:
        """Rows of ``lesions.csv``."""
        rule = self.settings.lesion_rule
        if rule is None or (rule.labels and label not in rule.labels):
            return []
        if rule.min_ml and self.unit != "ml":
            self.refused["min_ml"] = SettingsError(
                "'min_ml' needs to know how large a pixel is.", remedy="leave it out of the settings"
            )
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
        rows = [
            {k: v * thick if k in _VOLUMES and v is not None else v for k, v in row.items()} for row in rows
        ]
        return [_counted(row) if self.unit != "ml" else row | dict.fromkeys(_COUNTS) for row in rows]

    def refusal(self, job: Job) -> CaseError:
        """Why metrics of the case have no value."""
        name, first = next(iter(self.refused.items()))
        more = f", nor have {', '.join(list(self.refused)[1:])}" if len(self.refused) > 1 else ""
        why = "The file says no spacing" if self.unit != "ml" else "The file says how large its voxels are"
        return CaseError(f"{why}: {name} has no value{more}.", file=job.reference, remedy=first.remedy)

    def _expect(self, label: str, masks: MaskPair, solid: Pair) -> None:
        """Give a pair the expected volume of its label, as far as it is known; say if it is not."""
        if self.missing:
            solid.cache[EXPECTED] = 0.0  # nothing was predicted: at the worst nothing is expected
            return
        if masks.score is not None:
            return
        found = self.measured.get(label)
        size, _ = self.own.voxel_measure
        if found is None:
            self._note("no probabilities: expected volumes are undefined")
        elif masks.known is not None or not found.belongs_to(np.count_nonzero(masks.prediction) * size):
            self._note("volumes.json is of another label map: expected volumes are undefined")
        else:
            same = self.own.unit == self.grid.unit
            solid.cache[EXPECTED] = found.expected / (self.grid if same else self.own).voxel_measure[0]

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _row(self, asked: Definition, pair: Pair, hollow: Hollow) -> list[Any]:
        metric = self._in_unit(asked)
        if metric is None:
            return [asked.name, math.nan, asked.unit, "failed", asked.id, None]
        if pair.score is None and asked.name in self.unscored and not (self.missing and metric.empties):
            return [metric.name, math.nan, metric.unit, "failed", metric.id, None]
        empty = hollow.value(metric, pair)
        if self.missing and metric.empties:
            # Nothing was predicted at all: the worst, even where there was nothing to find.
            return [metric.name, float(metric.missed(pair)), metric.unit, "missed", metric.id, empty]
        value = value_of(metric, pair, self.empty)
        return [metric.name, float(value.value), value.unit, value.status, metric.id, empty]

    def _in_unit(self, metric: Definition) -> Definition | None:
        """The metric in the units of the grid; None if there it has none."""
        counted = metric.id.endswith(SUFFIX)
        try:
            if self.unit == "ml":
                if counted:
                    remedy = f"ask for {metric.name.removesuffix(SUFFIX).replace('px', 'mm')}"
                    raise SettingsError("Voxels have a size.", remedy=remedy)
                return metric
            found = metric if counted else in_pixels(metric)
        except SettingsError as error:
            self.refused[metric.name] = error
            return None
        return replace(found, unit=self.unit) if found.unit == "px³" else found

    def _flat(self, mask: NDArray) -> NDArray:
        return mask.reshape([mask.shape[k] for k in self.axes])


def _is_volume(metric: Definition) -> bool:
    return metric.unit in ("ml", "px³") or "/expected" in metric.id


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    """A lesion by its pixels: there are no millilitres, and no place in the patient."""
    sizes = [row[name] for name in _VOLUMES[:2]]
    counts = [None if size is None else round(size * _PX_PER_ML, 6) for size in sizes]
    return row | dict.fromkeys((*_VOLUMES, *_PLACES)) | dict(zip(_COUNTS, counts, strict=True))
