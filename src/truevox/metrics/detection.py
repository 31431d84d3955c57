"""Detection over many images: by size of lesions, and over all thresholds of a score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.metrics.lesions import LesionMatch

__all__ = ["Detections", "Froc", "SizeBin", "by_size", "detections", "froc", "lesion_average_precision"]

Array = NDArray[Any]


@dataclass(frozen=True)
class SizeBin:
    """Detection of lesions of some size.

    Parameters
    ----------
    low_ml, high_ml : float
        From, and below, this volume.
    references, found : int
        Reference lesions of this size, and those of them that were found.
    predictions, right : int
        Predicted lesions of this size, and those of them that are right.
    """

    low_ml: float
    high_ml: float
    references: int
    found: int
    predictions: int
    right: int

    @property
    def sensitivity(self) -> float:
        """Part of the reference lesions that was found; NaN if there is none."""
        return self.found / self.references if self.references else np.nan

    @property
    def precision(self) -> float:
        """Part of the predicted lesions that is right; NaN if there is none."""
        return self.right / self.predictions if self.predictions else np.nan


def by_size(
    tables: Iterable[LesionMatch | Sequence[dict[str, Any]]], edges_ml: Sequence[float]
) -> list[SizeBin]:
    """Sensitivity and precision by size of lesions, over all images.

    A reference lesion is counted by its own volume, a predicted one by its own: sensitivity and precision of
    one row are not about the same lesions.

    Parameters
    ----------
    tables : iterable of LesionMatch or of its tables
        One per image.
    edges_ml : sequence of float
        Rising volumes between the bins; below the first and from the last on are bins too.

    Raises
    ------
    SettingsError
        If the edges do not rise.

    Examples
    --------
    >>> rows = [
    ...     {"kind": "matched", "reference_lesion": 1, "prediction_lesion": 1, "reference_ml": 2.0,
    ...      "prediction_ml": 1.5},
    ...     {"kind": "missed", "reference_lesion": 2, "prediction_lesion": None, "reference_ml": 0.2,
    ...      "prediction_ml": None},
    ... ]
    >>> [(one.high_ml, one.sensitivity) for one in by_size([rows], [1.0])]
    [(1.0, 0.0), (inf, 1.0)]
    """
    edges = np.asarray(edges_ml, np.float64)
    if edges.ndim != 1 or not len(edges) or not (np.diff(edges) > 0).all() or not (edges > 0).all():
        raise SettingsError(
            "The edges of the sizes rise from above 0.",
            got=list(edges_ml),
            remedy="list the edges in ml from small to large, e.g. (0.1, 1.0)",
        )
    counts = np.zeros((len(edges) + 1, 4), np.int64)
    for table in tables:
        volumes, found, predicted, right = _volumes(table)
        for column, of in ((0, volumes), (1, volumes[found]), (2, predicted), (3, predicted[right])):
            counts[:, column] += np.bincount(np.searchsorted(edges, of, "right"), minlength=len(edges) + 1)
    bounds = [0.0, *edges.tolist(), np.inf]
    return [
        SizeBin(low, high, *row) for low, high, row in zip(bounds, bounds[1:], counts.tolist(), strict=False)
    ]


def _volumes(table: LesionMatch | Sequence[dict[str, Any]]) -> tuple[Array, Array, Array, Array]:
    """Volumes of the reference lesions, which were found; volumes of the predicted, which are right."""
    if isinstance(table, LesionMatch):
        return table.reference_ml, table.matching.found, table.prediction_ml, table.matching.right
    references: dict[Any, tuple[float, bool]] = {}
    predictions: dict[Any, tuple[float, bool]] = {}
    for row in table:
        kind = row["kind"]
        if kind != "spurious":
            references[row["reference_lesion"]] = (float(row["reference_ml"]), kind == "matched")
        if kind == "spurious" or (kind == "matched" and row["prediction_lesion"] not in predictions):
            # A prediction that is not enough of a lesion has a row of both kinds: it is not right.
            predictions[row["prediction_lesion"]] = (float(row["prediction_ml"]), kind == "matched")
    columns = []
    for found in (references, predictions):
        columns += [
            np.array([v for v, _ in found.values()], float),
            np.array([f for _, f in found.values()], bool),
        ]
    return columns[0], columns[1], columns[2], columns[3]


@dataclass(frozen=True, eq=False)
class Detections:
    """Scored detections of many images.

    Parameters
    ----------
    scores : array (N,)
        One per predicted lesion.
    hits : array (N,) of bool
        Whether it is right.
    references : int
        Reference lesions of all images.
    images : int
        How many images.
    """

    scores: Array
    hits: Array
    references: int
    images: int

    def __post_init__(self) -> None:
        scores, hits = np.asarray(self.scores, np.float64), np.asarray(self.hits, bool)
        if scores.shape != hits.shape or scores.ndim != 1 or np.isnan(scores).any():
            raise SettingsError(
                "Detections have one score and one hit each.",
                got=(scores.shape, hits.shape),
                expected="(N,) and (N,)",
                remedy="give each detection its score and whether it hit, and remove scores of NaN",
            )
        if self.images < 1:
            raise SettingsError(
                "Detections need at least one image.",
                got=f"{self.images} images",
                remedy="hand over one match_lesions(...) for each image, also for those without lesions",
            )
        if self.references < hits.sum():
            raise SettingsError(
                "There are more hits than reference lesions.",
                got=f"{int(hits.sum())} hits, {self.references} references, {self.images} images",
                remedy="match one to one: a lesion is hit once",
            )
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "hits", hits)

    def sweep(self) -> tuple[Array, Array, Array]:
        """Thresholds (T,) from the highest score down, and true and false positives at and above each."""
        order = np.argsort(-self.scores, kind="stable")
        scores = self.scores[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], [True] * bool(len(scores))))
        tp = np.cumsum(self.hits[order])[last]
        return scores[last], tp, last + 1 - tp


def detections(matches: Iterable[LesionMatch]) -> Detections:
    """Detections of images that were matched with scores.

    Match by ``iou@<threshold>/score``: what has a high score takes its lesion first, so that leaving out
    detections below a threshold changes no match above it.

    Raises
    ------
    SettingsError
        If a match has no scores, or is not one to one.
    """
    scores, hits, references, images = [], [], 0, 0
    for one in matches:
        if one.scores is None or not one.one_to_one:
            raise SettingsError(
                "A sweep over scores needs lesions with scores, matched one to one.",
                got=one.rule,
                remedy='match_lesions(..., rule="iou@0.1/score", score=probabilities)',
            )
        scores.append(one.scores)
        hits.append(one.matching.right)
        references += len(one.reference)
        images += 1
    return Detections(
        np.concatenate([[], *scores]), np.concatenate([np.zeros(0, bool), *hits]), references, images
    )


@dataclass(frozen=True, eq=False)
class Froc:
    """Free-response curve.

    Parameters
    ----------
    thresholds, false_positives, sensitivity : arrays (T,)
        Score from which detections count, false positives per image there, and the part of lesions found.
        The first point is that of no detection.
    """

    thresholds: Array
    false_positives: Array
    sensitivity: Array

    def at(self, false_positives: ArrayLike) -> Array:
        """Sensitivity at so many false positives per image, linear between the points of the curve."""
        return np.interp(np.asarray(false_positives, float), self.false_positives, self.sensitivity)

    def mean(self, false_positives: Sequence[float] = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)) -> float:
        """Mean sensitivity at several numbers of false positives per image (the FROC score)."""
        return float(self.at(false_positives).mean())


def froc(found: Detections) -> Froc:
    """Free-response receiver operating characteristic.

    References
    ----------
    Bunch et al. (1978); van Ginneken et al. (2010) for the mean over 1/8 to 8 false positives per image.

    Examples
    --------
    >>> curve = froc(Detections([0.9, 0.8, 0.3], [True, False, True], references=2, images=1))
    >>> curve.sensitivity.tolist(), curve.false_positives.tolist()
    ([0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0])
    """
    thresholds, tp, fp = found.sweep()
    part = tp / found.references if found.references else np.full(len(tp), np.nan)
    start = 0.0 if found.references else np.nan
    return Froc(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0.0], fp / found.images]),
        np.concatenate([[start], part]),
    )


def lesion_average_precision(found: Detections, *, envelope: bool = True) -> float:
    """Area under precision over sensitivity of all thresholds; NaN without reference lesions.

    Parameters
    ----------
    found : Detections
        Of all images.
    envelope : bool
        The precision at a sensitivity is the best at this or any higher one (all-point interpolation);
        without, the precision at each threshold counts as it is.

    References
    ----------
    Everingham et al. (2010), The PASCAL visual object classes challenge.

    Examples
    --------
    >>> lesion_average_precision(Detections([0.9, 0.8, 0.3], [True, False, True], references=2, images=1))
    0.8333333333333333
    """
    if not found.references:
        return np.nan
    _, tp, fp = found.sweep()
    precision = tp / np.maximum(tp + fp, 1)
    if envelope:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(tp, prepend=0) * precision).sum() / found.references)
