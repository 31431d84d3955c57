"""Metrics of probabilities: published case, closed forms, scikit-learn, plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.kernels.calibration import bin_sums, bin_sums_numpy
from truevox.metrics import (
    Pair,
    auroc,
    average_precision,
    band,
    brier,
    calibration,
    classwise_ece,
    definition,
    evaluate,
    nll,
    pool,
    soft_dice,
)

P = np.array([0.22, 0.48, 0.49, 0.96, 0.55, 0.64, 0.78, 0.82, 0.34, 0.87])
Y = np.array([0, 1, 0, 0, 1, 1, 1, 1, 1, 0], bool)
FEW = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("bins", "ece", "mce", "ace"),
    [
        (2, 0.109, 0.1175, 0.110417),
        (5, 0.315, 0.55, 0.305),
        (10, 0.359, 0.96, 0.4037),
        (15, 0.395, 0.96, 0.4372),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_published_ten_samples(bins, ece, mce, ace, dtype):
    # MetricsReloaded and MONAI (right=True) agree on these
    found = calibration(P.astype(dtype), Y, bins=bins)
    assert (found.ece, found.mce, found.ace) == pytest.approx((ece, mce, ace), abs=6e-5)


def test_other_published_figures_of_the_ten():
    assert brier(P, Y) == pytest.approx(0.30859)
    assert nll(P, Y) == pytest.approx(0.948472, abs=1e-6)
    assert calibration(P, Y, bins=5, top_label=True).ece == pytest.approx(0.221)
    assert calibration(P, Y, bins=10, top_label=True).ece == pytest.approx(0.281)


def test_probabilities_of_exactly_zero_count():
    p, y = np.append(P, np.zeros(90)), np.append(Y, np.arange(90) < 2)
    assert calibration(p, y, bins=10).ece == pytest.approx(0.0559)


def test_bins_are_closed_at_their_upper_edge():
    for dtype in (np.float32, np.float64):
        edges = (np.arange(1, 11) / 10).astype(dtype)
        assert calibration(edges, np.ones(10, bool), bins=10).voxels.tolist() == [1] * 10
        above = np.nextafter(edges[:-1], dtype(1))
        assert calibration(above, np.ones(9, bool), bins=10).voxels.tolist() == [0] + [1] * 9


def test_pooling_hides_opposite_errors_and_their_mean_does_not():
    images = [calibration(np.full(10, 0.9), np.arange(10) < n, bins=15) for n in (10, 8)]
    assert [one.ece for one in images] == pytest.approx([0.1, 0.1])
    assert pool(images).ece == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 20), st.sampled_from([np.float32, np.float64]))
@FEW
def test_bins_are_those_of_the_twin(seed: int, bins: int, dtype: type):
    made = np.random.default_rng(seed)
    p = np.where(made.random(60) < 0.5, made.integers(0, 21, 60) / 20, made.random(60)).astype(dtype)
    y, edges = made.random(60) < p, (np.arange(bins + 1) / bins).astype(dtype)
    found, wanted = bin_sums(p, y, edges), bin_sums_numpy(p, y, edges)
    assert found[1] is wanted[1] is True
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 40))
@FEW
def test_ranking_is_that_of_all_pairs(seed: int, n: int):
    made = np.random.default_rng(seed)
    p, y = made.integers(0, 6, n) / 5, made.random(n) < 0.4
    if y.any() and not y.all():
        apart = np.sign(p[y][:, None] - p[~y][None])
        assert auroc(p, y) == pytest.approx((apart.mean() + 1) / 2)
    else:
        assert np.isnan(auroc(p, y))
    if not y.any():
        assert np.isnan(average_precision(p, y))
        return
    total, before = 0.0, 0
    for threshold in np.unique(p)[::-1]:
        tp = int((y & (p >= threshold)).sum())
        total += (tp - before) / y.sum() * tp / (p >= threshold).sum()
        before = tp
    assert average_precision(p, y) == pytest.approx(total)


def test_scikit_learn_agrees():
    sklearn = pytest.importorskip("sklearn.metrics")
    made = np.random.default_rng(0)
    p = np.round(made.random(5000), 2)
    y = made.random(5000) < p**2
    assert auroc(p, y) == pytest.approx(sklearn.roc_auc_score(y, p))
    assert average_precision(p, y) == pytest.approx(sklearn.average_precision_score(y, p))
    assert brier(p, y) == pytest.approx(sklearn.brier_score_loss(y, p))
    assert nll(p, y) == pytest.approx(sklearn.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)))


def test_certain_and_wrong_costs_what_the_clip_says():
    assert nll([0.0], [1]) == pytest.approx(-np.log(1e-7))
    assert nll(np.zeros(1, np.float32), [1]) == pytest.approx(-np.log(1e-7))


def test_soft_dice_of_a_mask_is_dice():
    made = np.random.default_rng(1)
    a, b = made.random((2, 50)) < 0.4
    assert soft_dice(a.astype(float), b) == pytest.approx(evaluate(a, b, (1,), ["dice"])["dice"].value)
    assert np.isnan(soft_dice([0.0], [0]))


def test_calibrated_probabilities_have_small_errors_and_overconfident_ones_do_not():
    made = np.random.default_rng(2)
    p = made.random(200_000)
    y = made.random(p.size) < p
    assert calibration(p, y).ece < 0.01
    sharp = np.where(p < 0.5, 0.0, 1.0)  # the mean gap is E[min(p, 1 - p)] = 1/4
    assert calibration(sharp, y).ece == pytest.approx(0.25, abs=0.01)
    assert brier(p, y) == pytest.approx(1 / 6, abs=0.005)


def test_the_field_and_the_order_of_memory():
    made = np.random.default_rng(3)
    p, y, field = made.random((5, 6, 7)), made.random((5, 6, 7)) < 0.5, made.random((5, 6, 7)) < 0.5
    for one in (brier, nll, soft_dice, auroc, average_precision):
        wanted = one(p[field], y[field])
        assert one(p, y, field=field) == pytest.approx(wanted)
        assert one(np.asfortranarray(p), y, field=np.asfortranarray(field)) == pytest.approx(wanted)
        assert one(np.asfortranarray(p), np.asfortranarray(y)) == pytest.approx(one(p, y))


def test_class_by_class():
    made = np.random.default_rng(4)
    p = made.dirichlet([1, 2, 3], 500).T
    labels = made.integers(0, 3, 500)
    wanted = [calibration(p[c], labels == c, bins=10).ece for c in range(3)]
    assert classwise_ece(p, labels, bins=10).tolist() == wanted


@given(st.integers(0, 10**6), st.sampled_from([0.5, 1, 2.5, 4]))
@FEW
def test_the_band_is_what_lies_within_the_distance(seed: int, within: float):
    made = np.random.default_rng(seed)
    shape, spacing = tuple(made.integers(1, 9, 3)), np.array([1, 2, 0.5])
    a, b = (made.random(shape) < made.choice([0, 0.02, 0.2]) for _ in range(2))
    points = np.argwhere(a | b) * spacing
    wanted = np.zeros(shape, bool)
    if len(points):
        places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * spacing
        wanted = np.linalg.norm(places[..., None, :] - points, axis=-1).min(-1) <= within
    np.testing.assert_array_equal(band(a, b, spacing, within), wanted)


def test_metrics_by_name():
    made = np.random.default_rng(5)
    p = made.random((8, 9, 6)) ** 2
    y = np.zeros(p.shape, bool)
    y[2:5, 2:5, 2:4] = True
    names = (
        "ece@10",
        "mce",
        "ace/top",
        "brier/band@1mm",
        "nll",
        "soft_dice",
        "auroc/voxel",
        "average_precision",
    )
    found = evaluate(p > 0.5, y, (1, 1, 2), [*names, "ece/band@1mm/top"], score=p)
    near = band(p > 0.5, y, (1, 1, 2), 1)
    assert found["ece@10"].value == calibration(p, y, bins=10).ece
    assert found["mce"].value == calibration(p, y).mce
    assert found["ace@15/voxel/top"].value == calibration(p, y, top_label=True).ace
    assert found["brier/band@1mm"].value == brier(p, y, field=near) != brier(p, y)
    assert found["ece@15/band@1mm/top"].value == calibration(p, y, field=near, top_label=True).ece
    assert found["auroc"].value == auroc(p, y)
    field = made.random(p.shape) < 0.5
    inside = evaluate(p > 0.5, y, (1, 1, 2), ["nll"], score=p, field=field)
    assert inside["nll"].value == nll(p, y, field=field)


def test_names_say_only_what_is_not_usual():
    for text, name, full in (
        ("ece", "ece", "ece@15/voxel"), ("ece@15", "ece", "ece@15/voxel"),
        ("mce@10", "mce@10", "mce@10/voxel"), ("ece/band@5mm", "ece/band@5mm", "ece@15/band@5mm"),
        ("ece/top", "ece/top", "ece@15/voxel/top"), ("brier/voxel", "brier", "brier/voxel"),
    ):  # fmt: skip
        made = definition(text)
        assert (made.name, made.id) == (name, full)
        assert definition(made.id) is not None


def test_empty_masks_have_calibration_but_no_ranking():
    none, p = np.zeros((4, 4), bool), np.full((4, 4), 0.25)
    found = evaluate(
        none, none, (1, 1), ["ece", "brier", "auroc", "average_precision", "ece/band@5mm"], score=p
    )
    assert [one.value for one in found.values()] == pytest.approx(
        [0.25, 0.0625, np.nan, np.nan, np.nan], nan_ok=True
    )
    assert [one.status for one in found.values()] == ["ok", "ok", "undefined", "undefined", "undefined"]


def test_what_is_no_probability_is_said():
    for one in (brier, nll, soft_dice, calibration):
        for wrong in ([1.5, 0.5], [np.nan, 0.5], [-0.1, 0.2]):
            with pytest.raises(LabelError, match="lie from 0 to 1"):
                one(wrong, [0, 1])
    for one in (auroc, average_precision):
        with pytest.raises(LabelError, match="NaN"):
            one([np.nan, 0.5], [0, 1])
        assert one([-3, 5.0], [0, 1]) == 1  # scores may be any numbers
    with pytest.raises(GeometryError, match="different shapes"):
        brier([0.5], [0, 1])
    with pytest.raises(SettingsError, match="needs bins"):
        calibration([0.5], [0], bins=0)
    with pytest.raises(SettingsError, match="same bins"):
        pool([])
    with pytest.raises(SettingsError, match="needs probabilities"):
        evaluate([[1]], [[1]], (1, 1), ["brier"])
    part = Pair([[1]], [[1]], (1, 1), [[0.5]])
    part.whole = (5, 5)  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="whole image"):
        definition("brier").compute(part)
    for name in ("ece@x", "ece@0", "brier@3", "ece/band", "nll/near@5mm", "auroc/voxel/top"):
        with pytest.raises(SettingsError):
            definition(name)
