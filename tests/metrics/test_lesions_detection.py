"""Detection over images: published toy, sizes, sweeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import SettingsError
from truevox.metrics import Detections, by_size, detections, froc, lesion_average_precision, match_lesions


def scored(scores: list[float], hits: list[bool], references: int, images: int = 1) -> Detections:
    return Detections(np.array(scores), np.array(hits, bool), references, images)


TOY = scored([0.95, 0.8, 0.5, 0.9, 0.6, 0.3], [True, True, True, False, False, False], 4, 2)


def test_published_toy():
    # sensitivities and false positives per image as MONAI gives them, without its last point
    curve = froc(TOY)
    assert curve.sensitivity[::-1].tolist() == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0]
    assert curve.false_positives[::-1].tolist() == [1.5, 1, 1, 0.5, 0.5, 0, 0]
    assert curve.mean([0.25, 0.5, 1, 2]) == 0.5625
    assert lesion_average_precision(TOY) == pytest.approx(0.566667, abs=1e-6)
    _, tp, fp = TOY.sweep()
    np.testing.assert_allclose(tp / (tp + fp), [1, 0.5, 2 / 3, 0.5, 0.6, 0.5])


def test_equal_scores_are_one_threshold():
    found = scored([0.5, 0.5, 0.5, 0.2], [True, False, True, False], 2, 1)
    curve = froc(found)
    assert (curve.sensitivity.tolist(), curve.false_positives.tolist()) == ([0, 1, 1], [0, 1, 2])
    assert lesion_average_precision(found) == pytest.approx(2 / 3)


def test_the_envelope_is_the_best_precision_from_there_on():
    found = scored([0.9, 0.8, 0.7], [False, True, True], 2, 1)
    assert lesion_average_precision(found) == pytest.approx(2 / 3)
    assert lesion_average_precision(found, envelope=False) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_nothing_found_and_nothing_to_find():
    nothing = scored([], [], 3, 2)
    assert (froc(nothing).mean(), lesion_average_precision(nothing)) == (0, 0)
    healthy = scored([0.4], [False], 0, 1)
    assert np.isnan([froc(healthy).mean(), lesion_average_precision(healthy)]).all()


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_sweep_is_a_match_at_every_threshold(seed: int):
    made = np.random.default_rng(seed)
    images = [(made.random((8, 9)) < 0.25, made.random((8, 9)) < 0.25) for _ in range(3)]
    matches = []
    for p, r in images:
        count = len(match_lesions(p, r, (1, 1)).prediction)
        score = made.integers(1, 6, count) / 10 + made.random(count) / 100
        matches.append(match_lesions(p, r, (1, 1), rule="iou@0.1/score", score=score))
    found = detections(matches)
    assert (found.references, found.images) == (sum(len(m.reference) for m in matches), 3)
    thresholds, tp, fp = found.sweep()
    for threshold, right, wrong in zip(thresholds, tp, fp, strict=True):
        again = []
        for (_, r), one in zip(images, matches, strict=True):
            labels = one.prediction.labels()
            kept = np.isin(labels, one.prediction.ids[one.scores >= threshold])
            scores = one.scores[one.scores >= threshold]
            again.append(match_lesions(kept, r, (1, 1), rule="iou@0.1/score", score=scores))
        assert (sum(m.tp for m in again), sum(m.fp for m in again)) == (right, wrong)


def test_detection_by_size_from_matches_and_from_their_tables():
    made = np.random.default_rng(4)
    pairs = [(made.random((20, 20)) < 0.2, made.random((20, 20)) < 0.2) for _ in range(3)]
    for rule in ("iou@0.2/greedy", "any", "iou_adj@0.5", "iou@0.5/each"):
        matches = [match_lesions(p, r, (1, 1), rule=rule) for p, r in pairs]
        bins = by_size(matches, [0.002, 0.005])
        assert by_size([m.table() for m in matches], [0.002, 0.005]) == bins
        assert [(one.low_ml, one.high_ml) for one in bins] == [(0, 0.002), (0.002, 0.005), (0.005, np.inf)]
        assert sum(one.references for one in bins) == sum(len(m.reference) for m in matches)
        assert sum(one.found for one in bins) == sum(len(m.reference) - m.fn for m in matches)
        assert sum(one.predictions for one in bins) == sum(len(m.prediction) for m in matches)
        assert sum(one.right for one in bins) == sum(m.tp for m in matches)
    small = sum(int((m.reference.voxels < 2).sum()) for m in matches)
    assert bins[0].references == small


def test_a_bin_without_lesions_has_no_rate():
    bins = by_size([match_lesions([[1, 1]], [[1, 1]], (1, 1))], [0.001])
    assert np.isnan([bins[0].sensitivity, bins[0].precision]).all()
    assert (bins[1].sensitivity, bins[1].precision) == (1, 1)


def test_what_can_not_be_swept_is_said():
    with pytest.raises(SettingsError, match="edges of the sizes rise"):
        by_size([], [1, 1])
    with pytest.raises(SettingsError, match="needs lesions with scores, matched one to one"):
        detections([match_lesions([[1]], [[1]], (1, 1))])
    with pytest.raises(SettingsError, match="more hits than reference lesions"):
        scored([0.5], [True], 0, 1)
    with pytest.raises(SettingsError, match="one score and one hit"):
        scored([0.5, np.nan], [True, True], 3, 1)
