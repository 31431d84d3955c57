"""Rules of matching: published figures, an example where greedy is not best, and all matchings by force."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import SettingsError
from truevox.metrics import match_lesions, matching
from truevox.metrics.matching import Overlap, Rule, match, parse_rule

REFERENCE = [(2, 8, 2, 12), (2, 8, 16, 22), (12, 16, 2, 6), (12, 18, 20, 30), (2, 5, 32, 36)]
PREDICTION = [
    (2, 8, 2, 7), (2, 8, 8, 12), (3, 8, 14, 30), (13, 17, 3, 7), (12, 18, 20, 25), (12, 17, 25, 31),
    (17, 19, 34, 38),
]  # fmt: skip
SCORES = [0.6, 0.9, 0.7, 0.8, 0.55, 0.95, 0.5]
BEST = [(1, 1), (2, 3), (3, 4), (4, 5)]


def boxes(places: list[tuple[int, int, int, int]]) -> np.ndarray:
    out = np.zeros((20, 40), np.int32)
    for n, (a, b, c, d) in enumerate(places, 1):
        out[a:b, c:d] = n
    return out


def case_i(rule: str):
    return match_lesions(boxes(PREDICTION), boxes(REFERENCE), (1, 1), rule=rule, score=SCORES, instances=True)


@pytest.mark.parametrize(
    ("rule", "counts", "f1", "sq", "pq", "pairs"),
    [
        ("iou@0.1/greedy", (4, 3, 1), 0.666667, 0.435035, 0.290024, BEST),
        ("iou@0.3/greedy", (4, 3, 1), 0.666667, 0.435035, 0.290024, BEST),
        ("iou@0.1/optimal", (4, 3, 1), 0.666667, 0.435035, 0.290024, BEST),
        ("iou@0.3", (4, 3, 1), 0.666667, 0.435035, 0.290024, BEST),
        ("iou@0.1/score", (4, 3, 1), 0.666667, 0.381189, 0.254126, [(1, 2), (2, 3), (3, 4), (4, 6)]),
        ("iou@0.35/greedy", (3, 4, 2), 0.5, 0.463768, 0.231884, [(1, 1), (3, 4), (4, 5)]),
        ("iou@0.35/optimal", (3, 4, 2), 0.5, 0.463768, 0.231884, [(1, 1), (3, 4), (4, 5)]),
        ("iou@0.5/greedy", (2, 5, 3), 0.333333, 0.5, 0.166667, [(1, 1), (4, 5)]),
        ("iou@0.5/optimal", (2, 5, 3), 0.333333, 0.5, 0.166667, [(1, 1), (4, 5)]),
        ("iou@0.5/optimal/strict", (0, 7, 5), 0, 0, 0, []),
        ("iou@0.5/greedy/strict", (0, 7, 5), 0, 0, 0, []),
    ],
)
def test_published_figures_one_to_one(rule, counts, f1, sq, pq, pairs):
    # panoptica 2.1.7 (naive and bipartite, >=) gives the same at 0.1, 0.35 and 0.5; MONAI's is strict
    found = case_i(rule)
    assert (found.tp, found.fp, found.fn) == counts
    assert (found.f1, found.sq, found.pq) == pytest.approx((f1, sq, pq), abs=1e-6)
    assert [one[:2] for one in found.pairs] == pairs
    assert found.f1_of_rates == pytest.approx(found.f1)


@pytest.mark.parametrize(
    ("rule", "counts", "f1", "precision", "recall"),
    [
        ("any", (6, 0, 1, 1), 0.857143, 0.857143, 0.857143),
        ("iou_adj@0.1", (6, 0, 1, 1), 0.857143, 0.857143, 0.857143),
        ("iou_adj@0.25", (6, 0, 1, 1), 0.857143, 0.857143, 0.857143),
        ("iou_adj@0.5", (4, 2, 1, 1), 0.666667, 0.571429, 0.8),
        ("iou@0.5/each", (2, 4, 1, 1), 0.4, 0.285714, 0.666667),
    ],
)
def test_published_figures_each_for_itself(rule, counts, f1, precision, recall):
    found = case_i(rule)
    assert (found.tp, found.under, found.fp, found.fn) == counts
    assert (found.f1, found.precision, found.recall) == pytest.approx((f1, precision, recall), abs=1e-6)
    assert found.sensitivity == 0.8
    assert np.isnan(found.sq)


def test_of_any_overlap_splits_do_not_raise_the_rates():
    assert case_i("any").f1_of_rates == pytest.approx(0.827586, abs=1e-6)


def test_adjusted_ious_are_the_published():
    found = case_i("any").overlap
    np.testing.assert_allclose(found.adjusted, [0.8333, 0.8, 0.3488, 0.3913, 0.8571, 0.7143, 0], atol=5e-5)
    best = np.zeros(7)
    np.maximum.at(best, found.prediction, found.iou)
    np.testing.assert_allclose(best, [0.5, 0.4, 0.3488, 0.3913, 0.5, 0.3846, 0], atol=5e-5)


def overlap_of(iou: list[list[float]]) -> Overlap:
    """Lesions of 10000 voxels with (nearly) these IoUs."""
    table = np.round(np.array(iou) * 20000 / (1 + np.array(iou))).astype(np.int64)
    r, p = np.nonzero(table)
    size = np.full(table.shape[0], 10000), np.full(table.shape[1], 10000)
    return Overlap(size[0], size[1], r, p, table[r, p])


def test_greedy_takes_the_best_pair_and_optimal_the_best_sum():
    made = overlap_of([[0.45, 0.40], [0.42, 0]])
    for way, count, total in (("greedy", 1, 0.45), ("optimal", 2, 0.82)):
        found = match(made, Rule(way, 0.3))  # type: ignore[arg-type]
        assert len(found.pairs) == count
        assert made.iou[found.pairs].sum() == pytest.approx(total, abs=1e-3)


def best_sum(made: Overlap, threshold: float) -> float:
    """Largest sum of IoUs of any one-to-one matching, by trying all."""
    table = np.zeros((len(made.reference_voxels), len(made.prediction_voxels)))
    table[made.reference, made.prediction] = np.where(made.iou >= threshold, made.iou, 0)
    if table.shape[0] > table.shape[1]:
        table = table.T
    n, m = table.shape
    return max(
        (
            sum(table[i, j] for i, j in zip(range(n), chosen, strict=True))
            for chosen in permutations(range(m), n)
        ),
        default=0.0,
    )


def greedy_by_hand(made: Overlap, threshold: float) -> set[tuple[int, int]]:
    left = {
        (-v, r, p)
        for v, r, p in zip(made.iou, made.reference, made.prediction, strict=True)
        if v >= threshold
    }
    taken = set()
    while left:
        _, r, p = min(left)
        taken.add((r, p))
        left = {one for one in left if one[1] != r and one[2] != p}
    return taken


@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 0.2, 0.5]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_all_matchings_by_force(seed: int, threshold: float, sparse: bool):
    made = np.random.default_rng(seed)
    shape = made.integers(2, 7, 2)
    r, p = (made.integers(0, made.integers(2, 6), shape) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        if sparse:
            patch.setattr(matching, "LARGEST_BLOCK", 0)
        if seed % 2:
            patch.setattr(matching, "MOST_ROUNDS", 0)
        found = match_lesions(p, r, (1, 1), rule=f"iou@{threshold}", instances=True, distances=False)
    total = sum(one.iou for one in found.pairs)
    assert total == pytest.approx(best_sum(found.overlap, threshold))
    assert all(one.iou >= threshold for one in found.pairs)
    for side in (0, 1):
        partners = [one[side] for one in found.pairs]
        assert len(set(partners)) == len(partners)
    greedy = match_lesions(p, r, (1, 1), rule=f"iou@{threshold}/greedy", instances=True, distances=False)
    o, k = greedy.overlap, greedy.matching.pairs
    assert set(zip(o.reference[k], o.prediction[k], strict=True)) == greedy_by_hand(o, threshold)
    assert sum(one.iou for one in greedy.pairs) <= total + 1e-12
    if found.tp + found.fp + found.fn:
        assert 0 <= found.pq <= found.f1 <= 1
        assert found.tp + found.fp == len(found.prediction)
        assert found.tp + found.fn == len(found.reference)
    if threshold == 0.5:
        assert found.f1 >= greedy.f1


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_adjusted_iou_is_that_of_the_sets(seed: int, threshold: float):
    made = np.random.default_rng(seed)
    r, p = (made.integers(0, made.integers(2, 6), (5, 6)) for _ in range(2))
    found = match_lesions(p, r, (1, 1), rule=f"iou_adj@{threshold}", instances=True, distances=False)
    for name, value, right in zip(
        found.prediction.ids, found.overlap.adjusted, found.matching.right, strict=True
    ):
        one = p == name
        touched = [k for k in np.unique(r[one]) if k]
        all_of_them, others = np.isin(r, touched), (p > 0) & ~one
        wanted = (one & all_of_them).sum() / (one | (all_of_them & ~others)).sum()
        assert value == pytest.approx(wanted)
        assert right == bool(touched and wanted >= threshold)


def test_a_higher_score_takes_its_lesion_first():
    reference, prediction = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 1, 2]])
    for scores, partner in (([0.2, 0.9], 2), ([0.9, 0.2], 1)):
        found = match_lesions(
            prediction, reference, (1, 1), rule="iou@0.1/score", score=scores, instances=True
        )
        assert [one.prediction for one in found.pairs] == [partner]


def test_swapping_the_masks_swaps_sensitivity_and_precision():
    made = np.random.default_rng(5)
    a, b = made.random((2, 12, 12, 6)) < 0.15
    one, two = match_lesions(a, b, (1, 1, 2)), match_lesions(b, a, (1, 1, 2))
    assert (one.f1, one.sensitivity, one.precision) == (two.f1, two.precision, two.sensitivity)
    assert one.pq == pytest.approx(two.pq)


@pytest.mark.parametrize(
    "text",
    ["iou", "iou@x", "iou@2", "iou@0.5/best", "any@0.1", "any/strict", "dice@0.5", "iou@0.5/greedy/optimal"],
)
def test_a_wrong_rule_is_said(text: str):
    with pytest.raises(SettingsError, match=r"no such rule|from 0 to 1"):
        parse_rule(text)


def test_rules_are_written_as_they_are_read():
    ways = ("optimal", "greedy", "score", "each")
    texts = [f"iou@0.25/{way}{end}" for way in ways for end in ("", "/strict", "/18", "/strict/6")]
    for text in [*texts, "any", "any/26", "iou_adj@0.25", "iou_adj@0.5/strict/26"]:
        assert str(parse_rule(text)) == text


def test_scores_are_asked_for():
    with pytest.raises(SettingsError, match="needs scores"):
        match_lesions([[1]], [[1]], (1, 1), rule="iou@0.1/score")


def test_of_many_small_blocks_every_pair_is_looked_at_once():
    # two by two lesions, a thousand times: blocks without an evident pair
    rows = [overlap_of([[0.45, 0.40], [0.42, 0.41]])] * 1000
    made = Overlap(
        np.concatenate([one.reference_voxels for one in rows]),
        np.concatenate([one.prediction_voxels for one in rows]),
        np.concatenate([one.reference + 2 * n for n, one in enumerate(rows)]),
        np.concatenate([one.prediction + 2 * n for n, one in enumerate(rows)]),
        np.concatenate([one.voxels for one in rows]),
    )
    found = match(made, Rule("optimal", 0.3))
    assert len(found.pairs) == 2000
    pairs = {(int(made.reference[k]), int(made.prediction[k])) for k in found.pairs}
    assert all(r // 2 == p // 2 for r, p in pairs)
    assert made.iou[found.pairs].sum() == pytest.approx(1000 * max(0.45 + 0.41, 0.40 + 0.42), rel=1e-3)


def test_the_best_sum_by_force_is_what_it_says():
    made = overlap_of([[0.45, 0.40], [0.42, 0]])
    assert best_sum(made, 0.3) == pytest.approx(0.82, abs=1e-3)
    assert len(list(combinations(greedy_by_hand(made, 0.3), 1))) == 1
