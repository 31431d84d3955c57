"""Rows of a table of lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from truevox.metrics.components import Components
    from truevox.metrics.lesions import LesionMatch

__all__ = ["COLUMNS", "rows"]

COLUMNS = (
    "rule", "kind", "reference_lesion", "prediction_lesion", "reference_ml", "prediction_ml", "overlap_ml",
    "iou", "dice", "assd_mm", "x_mm", "y_mm", "z_mm", "score", "touches",
)  # fmt: skip
"""Columns of :meth:`truevox.metrics.LesionMatch.table`."""
Array = NDArray[Any]


def rows(match: LesionMatch) -> list[dict[str, Any]]:
    """One row per matched pair, missed lesion and predicted lesion that is not right."""
    overlap, pairs = match.overlap, match.matching.pairs
    touching_r = _neighbours(overlap.reference, overlap.prediction, match.prediction.ids)
    touching_p = _neighbours(overlap.prediction, overlap.reference, match.reference.ids)
    where_r, where_p = _places(match, match.reference), _places(match, match.prediction)
    ml_r, ml_p = match.reference_ml.tolist(), match.prediction_ml.tolist()
    scores = [None] * len(match.prediction) if match.scores is None else match.scores.tolist()

    def row(kind: str, r: int | None, p: int | None, measures: tuple[float | None, ...]) -> dict[str, Any]:
        own_r = None if r is None else int(match.reference.ids[r])
        own_p = None if p is None else int(match.prediction.ids[p])
        others = [f"P{one}" for one in touching_r.get(r, ()) if one != own_p]
        others += [f"R{one}" for one in touching_p.get(p, ()) if one != own_r]
        place = where_p[p] if r is None else where_r[r]  # type: ignore[index]
        values = (
            match.rule, kind, own_r, own_p, None if r is None else ml_r[r], None if p is None else ml_p[p],
            *measures, *place, None if p is None else scores[p], " ".join(others),
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))

    nothing = (None, None, None, None)
    made = [
        row("matched", r, p, one[2:])
        for r, p, one in zip(
            overlap.reference[pairs].tolist(), overlap.prediction[pairs].tolist(), match.pairs, strict=True
        )
    ]
    made += [row("missed", r, None, nothing) for r in np.flatnonzero(~match.matching.found).tolist()]
    made += [row("spurious", None, p, nothing) for p in np.flatnonzero(~match.matching.right).tolist()]
    return made


def _neighbours(own: Array, other: Array, names: Array) -> dict[int | None, list[int]]:
    """Ids of those that touch, by place."""
    if not len(own):
        return {}
    order = np.argsort(own, kind="stable")
    sorted_own = own[order]
    cuts = np.flatnonzero(np.diff(sorted_own)) + 1
    begins = np.concatenate([[0], cuts])
    lists = np.split(names[other[order]], cuts)
    return {int(sorted_own[b]): found.tolist() for b, found in zip(begins, lists, strict=True)}


def _places(match: LesionMatch, lesions: Components) -> list[tuple[float | None, ...]]:
    """Centroids in mm: of the patient if there is an affine, else from the first voxel."""
    axes = lesions.centres.shape[1]
    if match.affine is None:
        mm = (lesions.centres * match.spacing).tolist()
        return [(*one, *[None] * (3 - axes)) for one in mm]
    index = np.concatenate([lesions.centres, np.zeros((len(lesions), 3 - axes))], 1)
    return [tuple(one) for one in (index @ match.affine[:3, :3].T + match.affine[:3, 3]).tolist()]
