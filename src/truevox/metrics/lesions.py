"""Lesion by lesion: which were found, which were missed, which are not there, and how well each was drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, SettingsError
from truevox.metrics.components import (
    Components,
    checked_connectivity,
    components,
    contingency,
    lies_reversed,
)
from truevox.metrics.lesion_distances import surface_distances
from truevox.metrics.masks import as_array, as_masks
from truevox.metrics.matching import Matching, Overlap, Rule, match, parse_rule
from truevox.metrics.pair import Pair

__all__ = ["LesionMatch", "LesionPair", "match_lesions"]

Array = NDArray[Any]


class LesionPair(NamedTuple):
    """A reference lesion and the predicted lesion that was matched with it.

    Parameters
    ----------
    reference, prediction : int
        Ids.
    overlap_ml, iou, dice : float
        Of the two lesions alone.
    assd_mm : float
        Average symmetric surface distance; NaN if it was not asked for.
    """

    reference: int
    prediction: int
    overlap_ml: float
    iou: float
    dice: float
    assd_mm: float


@dataclass(frozen=True, eq=False)
class LesionMatch:
    """Lesions of a reference and of a prediction, matched by one rule.

    Parameters
    ----------
    rule : str
        Says what decided, e.g. ``"iou@0.5/optimal/26"``: the rule, and which voxels are neighbours.
    reference, prediction : Components
        The lesions.
    overlap : Overlap
        All pairs that share voxels.
    matching : Matching
        What the rule made of them.
    assd_mm : array
        Of each matched pair, in mm.
    scores : array or None
        Of each predicted lesion.
    spacing : array (axes,)
        Millimetres per voxel.
    affine : array (4, 4) or None
        Voxel indices to patient mm.
    one_to_one : bool
        Whether the rule gives a lesion at most one partner.
    """

    rule: str
    reference: Components
    prediction: Components
    overlap: Overlap
    matching: Matching
    assd_mm: Array
    scores: Array | None
    spacing: Array
    affine: Array | None
    one_to_one: bool

    @property
    def tp(self) -> int:
        """Predicted lesions that are right."""
        return int(self.matching.right.sum())

    @property
    def fp(self) -> int:
        """Predicted lesions that are wrong."""
        return int(self.matching.wrong.sum())

    @property
    def under(self) -> int:
        """Predicted lesions that touch a lesion and are not enough of it; 0 for one-to-one rules."""
        return int(self.matching.under.sum())

    @property
    def fn(self) -> int:
        """Reference lesions that were missed."""
        return int((~self.matching.found).sum())

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + under + FN), counted by predictions; NaN if there is no lesion at all.

        Where several predictions may find one lesion, each of them counts as TP (see ``f1_of_rates``).
        """
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.under + self.fn)

    @property
    def sensitivity(self) -> float:
        """Part of the reference lesions that were found; NaN if there is none."""
        return _ratio(len(self.reference) - self.fn, len(self.reference))

    @property
    def precision(self) -> float:
        """Part of the predicted lesions that are right; NaN if there is none."""
        return _ratio(self.tp, len(self.prediction))

    @property
    def recall(self) -> float:
        """TP / (TP + FN) with TP counted by predictions: splitting a lesion raises it. Published figures."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1_of_rates(self) -> float:
        """Harmonic mean of sensitivity and precision; equal to ``f1`` where matching is one to one."""
        if not len(self.reference) or not len(self.prediction):
            return self.f1
        return _ratio(2 * self.sensitivity * self.precision, self.sensitivity + self.precision, 0.0)

    @property
    def sq(self) -> float:
        """Mean IoU of matched pairs (0 if there is none); NaN where lesions may have several partners."""
        if not self.one_to_one or not (len(self.reference) or len(self.prediction)):
            return np.nan
        return float(self._iou.mean()) if len(self._iou) else 0.0

    @property
    def pq(self) -> float:
        """Panoptic quality: ``f1`` times ``sq``."""
        return self.f1 * self.sq

    @cached_property
    def pairs(self) -> tuple[LesionPair, ...]:
        """Matched lesions, in the order of the reference."""
        o, k = self.overlap, self.matching.pairs
        r, p, common = o.reference[k], o.prediction[k], o.voxels[k]
        dice = 2 * common / (o.reference_voxels[r] + o.prediction_voxels[p])
        columns = (
            self.reference.ids[r], self.prediction.ids[p], common * self._voxel_ml, self._iou, dice,
            self.assd_mm,
        )  # fmt: skip
        return tuple(LesionPair(*row) for row in zip(*(c.tolist() for c in columns), strict=True))

    @property
    def missed(self) -> tuple[int, ...]:
        """Ids of reference lesions that were not found."""
        return tuple(self.reference.ids[~self.matching.found].tolist())

    @property
    def spurious(self) -> tuple[int, ...]:
        """Ids of predicted lesions that are not right."""
        return tuple(self.prediction.ids[~self.matching.right].tolist())

    @property
    def reference_ml(self) -> Array:
        """Volumes of the reference lesions."""
        return self.reference.voxels * self._voxel_ml

    @property
    def prediction_ml(self) -> Array:
        """Volumes of the predicted lesions."""
        return self.prediction.voxels * self._voxel_ml

    @cached_property
    def _iou(self) -> Array:
        return self.overlap.iou[self.matching.pairs]

    @property
    def _voxel_ml(self) -> float:
        return float(np.prod(self.spacing)) / 1000

    def table(self) -> list[dict[str, Any]]:
        """One row per matched pair, then per missed lesion, then per predicted lesion that is not right.

        Columns: rule, kind (``matched``, ``missed``, ``spurious``), reference_lesion, prediction_lesion,
        reference_ml, prediction_ml, overlap_ml, iou, dice, assd_mm, x_mm, y_mm, z_mm (centroid of the
        reference lesion, of the predicted one where there is none), score, touches: other lesions that share
        voxels with the row's, as ``R`` or ``P`` with their id. What a row has not is None.
        """
        from truevox.metrics.lesion_table import rows

        return rows(self)


def _ratio(part: float, whole: float, nothing: float = np.nan) -> float:
    return part / whole if whole else nothing


def match_lesions(
    prediction: ArrayLike,
    reference: ArrayLike,
    spacing: ArrayLike,
    *,
    rule: str = "iou@0.5/optimal",
    connectivity: int | None = None,
    min_ml: float = 0.0,
    score: ArrayLike | None = None,
    affine: ArrayLike | None = None,
    distances: bool = True,
    instances: bool = False,
) -> LesionMatch:
    """Match the lesions of a prediction with those of a reference.

    Parameters
    ----------
    prediction, reference : arrays of one shape, 1 to 3 axes
        Masks, whose connected components are the lesions; with ``instances``, integers that name them.
    spacing : sequence of float
        Size of a voxel in mm, in the order of the axes.
    rule : str
        ``iou@0.5/optimal`` (one to one, largest sum of IoUs), ``iou@0.5/greedy`` (largest IoU first),
        ``iou@0.1/score`` (highest score first), ``iou@0.5/each`` (each prediction for itself), ``any`` (any
        overlap), ``iou_adj@0.25`` (each prediction with all lesions that it touches). ``/strict`` after it:
        above the threshold, not at it.
    connectivity : int, optional
        Neighbours of a voxel: 4 or 8 in 2D, 6, 18 or 26 in 3D. All by default.
    min_ml : float
        Lesions below this volume do not exist (of both sides, before anything is matched).
    score : array, optional
        A map of the masks' shape, of which a lesion gets its largest value, or one number per predicted
        lesion in the order of ids.
    affine : array (4, 4), optional
        Voxel indices to patient mm (RAS+), for centroids; without, these are mm from the first voxel.
    distances : bool
        Measure the surface distance of each matched pair.
    instances : bool
        The arrays hold the ids of lesions.

    Returns
    -------
    LesionMatch

    Raises
    ------
    GeometryError
        If shapes, spacing or affine do not fit.
    LabelError
        If an array is no mask, or no map of instances.
    SettingsError
        If there is no such rule, or it needs scores.

    Examples
    --------
    >>> reference, prediction = np.zeros((2, 20, 20), bool)
    >>> reference[2:8, 2:8] = reference[12:15, 12:15] = prediction[2:8, 2:7] = True
    >>> found = match_lesions(prediction, reference, (1, 1))
    >>> found.sensitivity, found.precision, found.pairs[0].iou, found.missed
    (0.5, 1.0, 0.8333333333333334, (2,))
    """
    names = ("prediction", "reference")
    p, r = (as_array(one, name) for one, name in zip((prediction, reference), names, strict=True))
    if not instances:
        p, r = as_masks((p, r), names)
    # Shapes and spacing are held against each other as for any metric, without a look at a voxel.
    size = Pair(np.broadcast_to(False, p.shape), np.broadcast_to(False, r.shape), spacing).spacing
    wanted = parse_rule(rule)
    if None not in (connectivity, wanted.connectivity) and connectivity != wanted.connectivity:
        raise SettingsError(
            "The rule and the connectivity name different neighbours.",
            got=f"{rule}, {connectivity}",
            remedy="leave connectivity out, or the number at the end of the rule",
        )
    neighbours = checked_connectivity(connectivity or wanted.connectivity, p.ndim)
    reverse = lies_reversed(r)
    ours, theirs = (components(m, neighbours, instances=instances, reverse=reverse) for m in (p, r))
    made = match_components(
        ours, theirs, size, wanted, min_ml=min_ml, score=score, affine=affine, distances=distances
    )
    name = Rule(wanted.way, wanted.threshold, wanted.strict)
    words = [str(name), "instances" if instances else str(neighbours)]
    return replace(made, rule="/".join([*words, *([f"min@{min_ml:g}ml"] if min_ml else [])]))


def match_components(
    prediction: Components,
    reference: Components,
    spacing: Array,
    rule: Rule,
    *,
    min_ml: float = 0.0,
    score: ArrayLike | None = None,
    affine: ArrayLike | None = None,
    distances: bool = False,
) -> LesionMatch:
    """:func:`match_lesions`, of components that were found already."""
    scores = None if score is None else _scores(score, prediction)
    if min_ml > 0:
        least = min_ml / (float(np.prod(spacing)) / 1000) - 1e-9
        if scores is not None:
            scores = scores[prediction.voxels >= least]
        prediction, reference = prediction.at_least(least), reference.at_least(least)
    shared = contingency(reference, prediction)
    overlap = Overlap(reference.voxels, prediction.voxels, shared.reference, shared.prediction, shared.voxels)
    matching = match(overlap, rule, scores)
    assd = np.full(len(matching.pairs), np.nan)
    if distances:
        measured = _partners(overlap, matching.pairs, rule)
        edges = matching.pairs[measured]
        pairs = np.stack([overlap.reference[edges], overlap.prediction[edges]], 1)
        assd[measured] = surface_distances(reference, prediction, pairs, spacing)
    return LesionMatch(
        str(rule), reference, prediction, overlap, matching, assd, scores, spacing, _affine(affine),
        rule.one_to_one,
    )  # fmt: skip


def _partners(overlap: Overlap, pairs: Array, rule: Rule) -> Array:
    """Which pairs get a distance: of many partners, only two that are each other's best.

    Else a large lesion in much noise would be measured once per speck.
    """
    if rule.one_to_one or not len(pairs):
        return np.arange(len(pairs))
    r, p = overlap.reference[pairs], overlap.prediction[pairs]
    order = np.argsort(overlap.iou[pairs], kind="stable")
    best_r, best_p = np.zeros(r.max() + 1, np.int64), np.zeros(p.max() + 1, np.int64)
    best_r[r[order]], best_p[p[order]] = order, order  # the last one written stays
    own = np.arange(len(pairs))
    return np.flatnonzero((best_r[r] == own) & (best_p[p] == own))


def _scores(score: ArrayLike, prediction: Components) -> Array:
    given = np.asarray(score, dtype=np.float64) if np.ndim(score) <= 1 else np.asarray(score)
    if given.shape == prediction.shape:
        return prediction.maxima(given)
    if given.shape == (len(prediction),):
        return given
    raise GeometryError(
        "The scores fit neither the image nor the predicted lesions.",
        got=given.shape,
        expected=f"{prediction.shape} or ({len(prediction)},)",
        remedy="pass the probabilities of the image, or one score per predicted lesion",
    )


def _affine(affine: ArrayLike | None) -> Array | None:
    if affine is None:
        return None
    made = np.asarray(affine, np.float64)
    if made.shape != (4, 4) or not np.isfinite(made).all():
        raise GeometryError(
            "The affine is no (4, 4) array of finite numbers.",
            got=made.shape,
            remedy="pass grid.affine of the image, or leave it out",
        )
    return made
