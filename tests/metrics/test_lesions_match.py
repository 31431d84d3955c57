"""match_lesions: distances, tables, places, sizes; and the metrics by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.metrics import definition, evaluate, lesion_distances, match_lesions

ALL = ("lesion_f1", "lesion_sensitivity", "lesion_precision", "lesion_sq", "pq")


def box(shape: tuple[int, ...], *bounds: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape, bool)
    out[tuple(slice(*one) for one in bounds)] = True
    return out


def cross() -> tuple[np.ndarray, np.ndarray]:
    r = box((11, 11), (3, 8), (3, 8))
    return r | box((11, 11), (5, 6), (1, 10)) | box((11, 11), (1, 10), (5, 6)), r


def ball(radius: float) -> np.ndarray:
    i, j, k = np.ogrid[:41, :41, :41]
    return (i - 20) ** 2 + (j - 20) ** 2 + (k - 20) ** 2 <= radius**2


HOLE = box((9, 9, 9), (2, 7), (2, 7), (2, 7)) & ~box((9, 9, 9), (4, 5), (4, 5), (4, 5))
SHIFTED = box((30, 30, 30), (10, 20), (8, 18), (8, 18)), box((30, 30, 30), (8, 18), (8, 18), (8, 18))
SIDE = box((20, 20), (5, 15), (6, 16)), box((20, 20), (5, 15), (4, 14))


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "assd"),
    [
        (*cross(), (1, 1), 0.4444),
        (box((14, 14), (6, 8), (6, 8)), box((14, 14), (5, 9), (5, 9)), (1, 1), 1.1036),
        (box((14, 14), (4, 10), (4, 10)), box((14, 14), (5, 9), (5, 9)), (1, 1), 1.0518),
        (*SIDE, (1, 1), 1),
        (*SIDE, (1, 2), 1.7778),
        (*SHIFTED, (1, 1, 1), 0.6885),
        (*SHIFTED, (3, 1, 1), 1.6967),
        (HOLE, box((9, 9, 9), (2, 7), (2, 7), (2, 7)), (1, 1, 1), 0.0297),
        (box((10, 10), (0, 4), (0, 5)), box((10, 10), (0, 5), (0, 5)), (1, 1), 0.2667),
        (ball(12), ball(10), (1, 1, 1), 1.8909),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("way", ["all distances", "a search"])
def test_surface_distances_are_the_published(
    prediction, reference, spacing, assd, order: Any, way, monkeypatch
):
    # MONAI 1.6.1 and MetricsReloaded agree on these figures
    if way == "a search":
        monkeypatch.setattr(lesion_distances, "MOST_PRODUCTS", 0)
    p, r = np.array(prediction, order=order), np.array(reference, order=order)
    (pair,) = match_lesions(p, r, spacing, rule="any").pairs
    assert pair.assd_mm == pytest.approx(assd, abs=5e-5)


@given(st.integers(0, 10**6), st.sampled_from(["C", "F"]))
@settings(max_examples=30, deadline=None)
def test_each_pair_is_what_its_two_masks_are(seed: int, order: Any):
    made = np.random.default_rng(seed)
    r, p = (np.array(made.random((9, 8, 7)) < 0.12, order=order) for _ in range(2))
    spacing = (1, 2.5, 0.7)
    found = match_lesions(p, r, spacing, rule="iou@0.1/greedy", connectivity=18)
    labels_r, labels_p = found.reference.labels(), found.prediction.labels()
    faces = ndimage.generate_binary_structure(3, 1)
    for one in found.pairs:
        a, b = labels_r == one.reference, labels_p == one.prediction
        assert one.overlap_ml == pytest.approx((a & b).sum() * 1.75 / 1000)
        assert one.iou == pytest.approx((a & b).sum() / (a | b).sum())
        assert one.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        x, y = (np.argwhere(m & np.logical_not(ndimage.binary_erosion(m, faces))) * spacing for m in (a, b))
        apart = np.linalg.norm(x[:, None] - y[None], axis=-1)
        assert one.assd_mm == pytest.approx((apart.min(0).sum() + apart.min(1).sum()) / sum(apart.shape))


def test_the_table_holds_every_lesion_and_every_touch():
    reference = box((1, 20, 20), (0, 1), (2, 8), (2, 8)) | box((1, 20, 20), (0, 1), (12, 15), (12, 15))
    prediction = box((1, 20, 20), (0, 1), (2, 8), (2, 6)) | box((1, 20, 20), (0, 1), (2, 8), (7, 9))
    prediction |= box((1, 20, 20), (0, 1), (18, 20), (0, 1))
    affine = np.array([[-2, 0, 0, 100], [0, 1, 0, -5], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    score = np.where(prediction, 0.7, 0.1)
    score[0, 3, 3] = 0.95
    matched, missed, *spurious = match_lesions(
        prediction, reference, (2, 1, 3), affine=affine, score=score
    ).table()
    assert (matched["kind"], matched["reference_lesion"], matched["prediction_lesion"]) == ("matched", 1, 1)
    assert matched["rule"] == "iou@0.5/optimal/26"
    assert (matched["reference_ml"], matched["prediction_ml"]) == pytest.approx((36 * 0.006, 24 * 0.006))
    assert (matched["overlap_ml"], matched["iou"], matched["dice"]) == pytest.approx((24 * 0.006, 2 / 3, 0.8))
    assert (matched["x_mm"], matched["y_mm"], matched["z_mm"]) == (100, 4.5 - 5, 4.5 * 3 + 7)
    assert matched["score"] == 0.95
    assert matched["touches"] == "P2"
    assert (missed["kind"], missed["reference_lesion"], missed["prediction_lesion"]) == ("missed", 2, None)
    assert [missed[name] for name in ("prediction_ml", "overlap_ml", "iou", "assd_mm", "score")] == [None] * 5
    assert [(one["kind"], one["prediction_lesion"], one["touches"]) for one in spurious] == [
        ("spurious", 2, "R1"), ("spurious", 3, "")
    ]  # fmt: skip
    assert (spurious[1]["x_mm"], spurious[1]["y_mm"], spurious[1]["z_mm"]) == (100, 18.5 - 5, 7)


def test_without_an_affine_places_are_mm_from_the_first_voxel():
    (row,) = match_lesions([[0, 0, 1, 1]], [[0, 0, 1, 1]], (4, 0.5)).table()
    assert (row["x_mm"], row["y_mm"], row["z_mm"]) == (0, 1.25, None)


def test_what_is_smaller_than_asked_does_not_exist():
    reference = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0], bool)
    prediction = np.array([1, 1, 1, 0, 0, 1, 0, 0, 1], bool)
    found = match_lesions(prediction, reference, (1000,), min_ml=3)
    assert (found.tp, found.fp, found.fn) == (1, 0, 0)
    assert found.rule == "iou@0.5/optimal/2/min@3ml"
    assert (found.reference.ids.tolist(), found.prediction.ids.tolist()) == ([1], [1])


def test_a_lesion_in_much_noise_is_measured_once():
    reference = np.ones((1, 41), bool)
    prediction = np.zeros((1, 41), bool)
    prediction[0, ::2] = True
    prediction[0, 1] = True
    found = match_lesions(prediction, reference, (1, 1), rule="any")
    assert found.tp == 20
    assert [not np.isnan(one.assd_mm) for one in found.pairs] == [True] + [False] * 19


def test_neither_order_of_memory_nor_of_axes_matters():
    made = np.random.default_rng(1)
    r, p = made.random((2, 15, 12, 9)) < 0.1
    score = made.random(r.shape)

    def rows(a, b, spacing, s):
        return match_lesions(a, b, spacing, rule="iou@0.2/greedy", score=s).table()

    plain = rows(p, r, (1, 2, 3), score)
    far = np.asfortranarray
    for other in (rows(far(p), far(r), (1, 2, 3), score), rows(p, far(r), (1, 2, 3), far(score))):
        assert len(other) == len(plain)
        for one, wanted in zip(other, plain, strict=True):
            assert one == pytest.approx(wanted)
    turned = match_lesions(p.T, r.T, (3, 2, 1), rule="iou@0.2/greedy")
    assert sorted(one.iou for one in turned.pairs) == sorted(row["iou"] for row in plain if row["iou"])


def test_what_does_not_fit_is_said():
    mask = np.ones((2, 3), bool)
    with pytest.raises(GeometryError, match="different shapes"):
        match_lesions(mask, mask.T, (1, 1))
    with pytest.raises(GeometryError, match="spacing does not fit"):
        match_lesions(mask, mask, (1, 1, 1))
    with pytest.raises(GeometryError, match="scores fit neither"):
        match_lesions(mask, mask, (1, 1), score=[0.5, 0.5])
    with pytest.raises(GeometryError, match="affine is no"):
        match_lesions(mask, mask, (1, 1), affine=np.eye(3))
    with pytest.raises(LabelError, match="not a mask"):
        match_lesions(mask * 0.5, mask, (1, 1))
    with pytest.raises(SettingsError, match="different neighbours"):
        match_lesions(mask, mask, (1, 1), rule="any/8", connectivity=4)


def test_metrics_by_name_are_those_of_the_match():
    made = np.random.default_rng(2)
    r, p = made.random((2, 14, 14, 8)) < 0.12
    names = [
        "lesion_f1",
        "lesion_sensitivity/any",
        "lesion_precision/iou@0.1/greedy/6",
        "panoptic_quality",
        "pq",
    ]
    found = evaluate(p, r, (1, 1, 1), [*names, "lesion_sq/6", "lesion_f1/iou_adj@0.25/18/min@0.003ml"])
    assert found["lesion_f1"].value == match_lesions(p, r, (1, 1, 1)).f1
    assert found["lesion_sensitivity/any"].value == match_lesions(p, r, (1, 1, 1), rule="any").sensitivity
    greedy = match_lesions(p, r, (1, 1, 1), rule="iou@0.1/greedy", connectivity=6)
    assert found["lesion_precision/iou@0.1/greedy/6"].value == greedy.precision
    assert found["pq"] == found["panoptic_quality/iou@0.5/optimal"]
    assert found["lesion_sq/6"].value == match_lesions(p, r, (1, 1, 1), connectivity=6).sq
    small = match_lesions(p, r, (1, 1, 1), rule="iou_adj@0.25", connectivity=18, min_ml=0.003)
    assert found["lesion_f1/iou_adj@0.25/18/min@0.003ml"].value == small.f1


def test_ids_say_the_rule_and_names_only_what_is_not_usual():
    for text, name, full in (
        ("lesion_f1", "lesion_f1", "lesion_f1/iou@0.5/optimal"),
        ("lesion_f1/iou@.5/optimal", "lesion_f1", "lesion_f1/iou@0.5/optimal"),
        ("lesion_f1/any", "lesion_f1/any", "lesion_f1/any"),
        ("lesion_f1/6", "lesion_f1/iou@0.5/optimal/6", "lesion_f1/iou@0.5/optimal/6"),
        ("pq", "pq", "panoptic_quality/iou@0.5/optimal"),
        ("lesion_precision/size@0-1ml", "lesion_precision/size@0-1ml",
         "lesion_precision/iou@0.5/optimal/size@0-1ml"),
    ):  # fmt: skip
        made = definition(text)
        assert (made.name, made.id) == (name, full)
        assert definition(made.id).id == made.id


def test_empty_masks():
    none, some = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    both, missed, spurious = (
        evaluate(a, b, (1, 1), ALL) for a, b in ((none, none), (none, some), (some, none))
    )
    assert all(np.isnan(value.value) and value.status == "undefined" for value in both.values())
    assert [missed[name].value for name in ALL] == pytest.approx([0, 0, np.nan, 0, 0], nan_ok=True)
    assert [spurious[name].value for name in ALL] == pytest.approx([0, np.nan, 0, 0, 0], nan_ok=True)
    assert {value.status for value in missed.values()} == {"missed"}
    nothing = match_lesions(none, none, (1, 1))
    assert nothing.table() == []
    assert np.isnan([nothing.f1, nothing.sensitivity, nothing.precision, nothing.sq, nothing.pq]).all()


def test_by_size_a_missed_lesion_counts_in_its_own_bin():
    reference = box((30, 30), (2, 22), (2, 22)) | box((30, 30), (25, 28), (25, 28))
    prediction = box((30, 30), (2, 22), (2, 22))
    found = evaluate(
        prediction, reference, (1, 1),
        ["lesion_sensitivity", "lesion_sensitivity/size@0-0.1ml", "lesion_sensitivity/size@0.1-infml",
         "lesion_precision/size@0-0.1ml"],
    )  # fmt: skip
    assert [one.value for one in found.values()] == pytest.approx([0.5, 0, 1, np.nan], nan_ok=True)
    assert found["lesion_precision/size@0-0.1ml"].status == "undefined"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lesion_f1@0.5", "takes no @0.5"),
        ("pq/any", "one to one"),
        ("lesion_sq/iou_adj@0.25", "one to one"),
        ("lesion_f1/size@0-1ml", "no value by size"),
        ("lesion_sensitivity/size@2-1ml", "begins below its end"),
        ("lesion_f1/best", "no such rule"),
    ],
)
def test_a_wrong_name_is_said(name: str, text: str):
    with pytest.raises(SettingsError, match=text):
        definition(name)
