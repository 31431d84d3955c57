"""Which predicted lesion is which: the rules that match lesions of two masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from truevox.errors import SettingsError

__all__ = ["Matching", "Overlap", "Rule", "match", "parse_rule"]

Array = NDArray[Any]
Way = Literal["optimal", "greedy", "score", "each", "any", "adjusted"]
MOST_ROUNDS = 20
LARGEST_BLOCK = 1_000_000
"""Cells of a table of IoUs that is solved as a whole; larger blocks are solved sparsely."""
USAGE = (
    "any, iou@<threshold>[/optimal|/greedy|/score|/each][/strict], iou_adj@<threshold>[/strict], "
    "and /<neighbours> after it"
)


@dataclass(frozen=True)
class Rule:
    """When a predicted lesion counts as a reference lesion.

    Parameters
    ----------
    way : {"optimal", "greedy", "score", "each", "any", "adjusted"}
        One to one, by the largest sum of IoUs, by the largest IoU first, or by the highest score first;
        each prediction for itself by its best IoU; any overlap; each prediction for itself by its adjusted
        IoU.
    threshold : float
        Of the IoU; 0 for any overlap.
    strict : bool
        The IoU must be above the threshold, not at it.
    connectivity : int, optional
        Neighbours of a voxel, if the rule says.
    """

    way: Way
    threshold: float = 0.0
    strict: bool = False
    connectivity: int | None = None

    @property
    def one_to_one(self) -> bool:
        """Whether a lesion has at most one partner."""
        return self.way in ("optimal", "greedy", "score")

    def __str__(self) -> str:
        if self.way == "any":
            words = ["any"]
        elif self.way == "adjusted":
            words = [f"iou_adj@{self.threshold:g}"]
        else:
            words = [f"iou@{self.threshold:g}", self.way]
        words += ["strict"] * self.strict
        return "/".join([*words, *([] if self.connectivity is None else [str(self.connectivity)])])


@lru_cache(maxsize=256)
def parse_rule(text: str) -> Rule:
    """The rule that a text names.

    Raises
    ------
    SettingsError
        If it names none.

    Examples
    --------
    >>> str(parse_rule("iou@0.5")), str(parse_rule("any/26"))
    ('iou@0.5/optimal', 'any/26')
    """
    head, *words = text.strip().split("/")
    name, _, number = head.partition("@")
    wrong = SettingsError(
        "There is no such rule of matching.",
        got=text,
        expected=USAGE,
        remedy="write it as here, such as iou@0.5/optimal or any",
    )
    connectivity = None
    if words and words[-1].isdigit():
        connectivity = int(words.pop())
    strict = bool(words) and words[-1] == "strict"
    if strict:
        words.pop()
    if name == "any" and not number and not words and not strict:
        return Rule("any", connectivity=connectivity)
    try:
        threshold = float(number)
    except ValueError:
        raise wrong from None
    if not 0 <= threshold <= 1:
        raise SettingsError(
            "The threshold of an IoU is a number from 0 to 1.",
            got=text,
            expected=USAGE,
            remedy="write the threshold behind @, such as iou@0.5",
        )
    if name == "iou_adj" and not words:
        return Rule("adjusted", threshold, strict, connectivity)
    if name != "iou" or len(words) > 1 or (words and words[0] not in ("optimal", "greedy", "score", "each")):
        raise wrong
    return Rule(words[0] if words else "optimal", threshold, strict, connectivity)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Overlap:
    """What matching needs to know: sizes, and the pairs that share voxels.

    Parameters
    ----------
    reference_voxels, prediction_voxels : arrays (n,), (m,)
        Sizes of the lesions.
    reference, prediction, voxels : arrays (P,)
        Places of the lesions that touch, and the voxels that they share.
    """

    reference_voxels: Array
    prediction_voxels: Array
    reference: Array
    prediction: Array
    voxels: Array

    @property
    def iou(self) -> Array:
        """IoU (P,) of each pair that touches."""
        union = self.reference_voxels[self.reference] + self.prediction_voxels[self.prediction] - self.voxels
        return self.voxels / union

    @property
    def adjusted(self) -> Array:
        """Adjusted IoU (m,) of each prediction with all reference lesions that it touches.

        What other predictions cover of these lesions is not held against it.
        """
        n, m = len(self.reference_voxels), len(self.prediction_voxels)
        covered = np.bincount(self.reference, self.voxels, n)
        left = (self.reference_voxels - covered)[self.reference]
        shared = np.bincount(self.prediction, self.voxels, m)
        return shared / np.maximum(self.prediction_voxels + np.bincount(self.prediction, left, m), 1)


@dataclass(frozen=True, eq=False)
class Matching:
    """Result of a rule: places of lesions, from 0.

    Parameters
    ----------
    pairs : array (P,) of int64
        Which pairs of the :class:`Overlap` are matched.
    right, under, wrong : arrays of bool (m,)
        Each prediction is one of: right, touching a lesion without being enough of it (only where a rule
        judges each for itself), wrong.
    found : array of bool (n,)
        Whether a reference lesion was found.
    """

    pairs: Array
    right: Array
    under: Array
    wrong: Array
    found: Array


def match(overlap: Overlap, rule: Rule, scores: Array | None = None) -> Matching:
    """Match lesions by a rule.

    Parameters
    ----------
    overlap : Overlap
        Sizes and pairs that touch.
    rule : Rule
        How.
    scores : array (m,), optional
        Of the predictions; needed by the rule ``score``.

    Raises
    ------
    SettingsError
        If scores are needed and missing.

    Notes
    -----
    One to one, a prediction is right if it has a partner, and a reference lesion is found if it has one.
    Where each prediction is judged for itself, a reference lesion is missed only if nothing touches it.
    Equal IoUs are taken in the order of reference, then prediction.

    References
    ----------
    Kuhn (1955) for the optimal assignment; Kirillov et al. (2019), Panoptic segmentation; La Rosa et al.
    (2020) and Raina et al. (2023) for lesions judged by any overlap and by the adjusted IoU.
    """
    n, m = len(overlap.reference_voxels), len(overlap.prediction_voxels)
    if not rule.one_to_one:
        return _each(overlap, rule, n, m)
    iou = overlap.iou
    edges = np.flatnonzero(_passes(iou, rule))
    if rule.way == "score":
        if scores is None:
            raise SettingsError(
                "Matching by score needs scores.", remedy="give score=, one per predicted lesion or a map"
            )
        pairs = _greedy(overlap, edges, (-iou[edges], -np.asarray(scores)[overlap.prediction[edges]]))
    elif rule.way == "greedy":
        pairs = _greedy(overlap, edges, (-iou[edges],))
    else:
        pairs = _optimal(overlap, edges, iou)
    right, found = np.zeros(m, bool), np.zeros(n, bool)
    right[overlap.prediction[pairs]] = True
    found[overlap.reference[pairs]] = True
    return Matching(pairs, right, np.zeros(m, bool), ~right, found)


def _passes(values: Array, rule: Rule) -> Array:
    return values > rule.threshold if rule.strict else values >= rule.threshold


def _each(overlap: Overlap, rule: Rule, n: int, m: int) -> Matching:
    touching, found = np.zeros(m, bool), np.zeros(n, bool)
    touching[overlap.prediction] = True
    found[overlap.reference] = True
    right = touching
    if rule.way == "each":
        right = np.zeros(m, bool)
        right[overlap.prediction[_passes(overlap.iou, rule)]] = True
    elif rule.way == "adjusted":
        right = touching & _passes(overlap.adjusted, rule)
    # A lesion that only insufficient predictions touch is found all the same: it keeps its pairs.
    of_right = np.zeros(n, bool)
    of_right[overlap.reference[right[overlap.prediction]]] = True
    pairs = np.flatnonzero(right[overlap.prediction] | ~of_right[overlap.reference])
    return Matching(pairs, right, touching & ~right, ~touching, found)


def _alone(overlap: Overlap, edges: Array) -> Array:
    """Of each of these pairs, whether neither side has another: nothing is to be decided."""
    r, p = overlap.reference[edges], overlap.prediction[edges]
    return (np.bincount(r, minlength=1)[r] == 1) & (np.bincount(p, minlength=1)[p] == 1)


def _greedy(overlap: Overlap, edges: Array, keys: tuple[Array, ...]) -> Array:
    if not len(edges):
        return edges
    order = edges[np.lexsort(keys)]
    alone = _alone(overlap, order)
    used_r: set[int] = set()
    used_p: set[int] = set()
    kept = order[alone].tolist()
    rest = order[~alone]
    for edge, r, p in zip(
        rest.tolist(), overlap.reference[rest].tolist(), overlap.prediction[rest].tolist(), strict=True
    ):
        if r not in used_r and p not in used_p:
            used_r.add(r)
            used_p.add(p)
            kept.append(edge)
    return np.sort(np.array(kept, np.int64))


def _optimal(overlap: Overlap, edges: Array, iou: Array) -> Array:
    kept, rest = _evident(overlap, edges, iou)
    if len(rest):
        kept += [_assign(overlap, block, iou) for block in _blocks(overlap, rest)]
    return np.sort(np.concatenate([edges[:0], *kept]))


def _evident(overlap: Overlap, edges: Array, iou: Array) -> tuple[list[Array], Array]:
    """Pairs that every best assignment has: worth more than all that their two lesions could do otherwise.

    Returns them, and the pairs that are left to choose from.
    """
    kept: list[Array] = []
    for _ in range(MOST_ROUNDS):
        value = iou[edges]
        otherwise = _second(overlap.reference[edges], value) + _second(overlap.prediction[edges], value)
        sure = edges[value > otherwise]
        if not len(sure):
            break
        kept.append(sure)
        used_r = np.zeros(len(overlap.reference_voxels), bool)
        used_p = np.zeros(len(overlap.prediction_voxels), bool)
        used_r[overlap.reference[sure]] = used_p[overlap.prediction[sure]] = True
        edges = edges[~(used_r[overlap.reference[edges]] | used_p[overlap.prediction[edges]])]
    return kept, edges


def _second(lesion: Array, value: Array) -> Array:
    """For each pair, the largest value among the other pairs of its lesion; 0 if it has none."""
    if not len(lesion):
        return value
    order = np.lexsort((-value, lesion))
    own, best = lesion[order], value[order]
    begin = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    size = np.diff(np.append(begin, len(own)))
    second = np.where(size > 1, best[np.minimum(begin + 1, len(best) - 1)], 0.0)
    others = np.repeat(best[begin], size)
    others[begin] = second
    out = np.empty_like(value)
    out[order] = others
    return out


def _blocks(overlap: Overlap, edges: Array) -> list[Array]:
    """Pairs by connected group of lesions: no choice in one touches another."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    r, p = overlap.reference[edges], overlap.prediction[edges]
    n, m = len(overlap.reference_voxels), len(overlap.prediction_voxels)
    graph = coo_array((np.ones(len(edges), bool), (r, n + p)), shape=(n + m, n + m))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[r], kind="stable")
    cuts = np.flatnonzero(np.diff(group[r][order])) + 1
    return np.split(edges[order], cuts)


def _assign(overlap: Overlap, block: Array, iou: Array) -> Array:
    """Pairs of a block with the largest sum of IoUs."""
    rows, r = np.unique(overlap.reference[block], return_inverse=True)
    columns, p = np.unique(overlap.prediction[block], return_inverse=True)
    if len(rows) * len(columns) > LARGEST_BLOCK:
        chosen_r, chosen_p = _sparse_assignment(r, p, iou[block], len(rows), len(columns))
    else:
        from scipy.optimize import linear_sum_assignment

        table = np.zeros((len(rows), len(columns)))
        table[r, p] = iou[block]
        chosen_r, chosen_p = linear_sum_assignment(table, maximize=True)
    partner = np.full(len(rows), -1)
    partner[chosen_r] = chosen_p
    return block[partner[r] == p]


def _sparse_assignment(r: Array, p: Array, iou: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """The same without a full table: each row may also stay alone, in a column of its own."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    own = np.arange(rows)
    costs = np.concatenate([2 - iou, np.full(rows, 2.0)])
    where = (np.concatenate([r, own]), np.concatenate([p, columns + own]))
    graph = coo_array((costs, where), shape=(rows, columns + rows)).tocsr()
    chosen_r, chosen_p = min_weight_full_bipartite_matching(graph)
    real = chosen_p < columns
    return chosen_r[real], chosen_p[real]
