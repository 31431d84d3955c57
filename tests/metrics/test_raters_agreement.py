"""Several raters: published figures, SimpleITK's STAPLE, closed forms."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import GeometryError, SettingsError
from truevox.metrics import (
    Empty,
    cohen_kappa,
    energy_distance,
    fleiss_kappa,
    majority,
    pairwise,
    rater_table,
    staple,
)

FOUR = np.array([[int(c) for c in row] for row in ("111100", "111000", "110000", "100001")])


def test_published_four_raters():
    found = pairwise(FOUR, [1])
    wanted = [0.8571, 0.6667, 0.3333, 0.8, 0.4, 0.5]
    np.testing.assert_allclose(found[np.triu_indices(4, 1)], wanted, atol=5e-5)
    np.testing.assert_array_equal(found, found.T)
    assert np.nanmean(found) == pytest.approx(0.592857, abs=1e-6)
    assert cohen_kappa(FOUR[0], FOUR[1]) == pytest.approx(0.666667, abs=1e-6)
    assert cohen_kappa(FOUR[0], FOUR[3]) == pytest.approx(-0.2)
    assert fleiss_kappa(FOUR) == pytest.approx(0.272727, abs=1e-6)


def test_majority_and_its_ties():
    assert majority(FOUR).astype(int).tolist() == [1, 1, 1, 0, 0, 0]
    assert majority(FOUR, ties=False).astype(int).tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_staple_is_that_of_simpleitk(seed: int):
    sitk = pytest.importorskip("SimpleITK")
    made = np.random.default_rng(seed)
    truth = np.zeros((9, 11, 8), bool)
    truth[2:7, 3:8, 2:6] = True
    masks = [truth ^ (made.random(truth.shape) < rate) for rate in (0.02, 0.05, 0.1, 0.2)]
    itk = sitk.STAPLEImageFilter()
    itk.SetForegroundValue(1)
    probability = itk.Execute([sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks])
    found = staple(masks)
    np.testing.assert_allclose(found.sensitivity, itk.GetSensitivity(), atol=2e-6)
    np.testing.assert_allclose(found.specificity, itk.GetSpecificity(), atol=2e-6)
    np.testing.assert_allclose(found.probability, sitk.GetArrayFromImage(probability), atol=1e-5)


def test_staple_finds_how_good_each_rater_is():
    made = np.random.default_rng(3)
    truth = np.arange(60_000) < 18_000
    rates = [(0.95, 0.99), (0.8, 0.95), (0.6, 0.9), (0.9, 0.8), (0.7, 0.97)]
    masks = [np.where(truth, made.random(truth.size) < p, made.random(truth.size) > q) for p, q in rates]
    found = staple(masks)
    np.testing.assert_allclose(found.sensitivity, [p for p, _ in rates], atol=0.02)
    np.testing.assert_allclose(found.specificity, [q for _, q in rates], atol=0.02)
    assert (found.mask == truth).mean() > (majority(masks) == truth).mean() > 0.95


def test_staple_of_raters_that_agree_is_what_they_drew():
    for mask in (np.zeros((3, 4), bool), np.ones((3, 4), bool), np.eye(3, dtype=bool)):
        found = staple([mask, mask, mask])
        np.testing.assert_array_equal(found.mask, mask)
        np.testing.assert_allclose(found.sensitivity, 1)


def test_staple_looks_at_the_field_only():
    masks = np.array([[1, 1, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]])
    field = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    inside, cut = staple(masks, field=field), staple(masks[:, :4])
    np.testing.assert_allclose(inside.probability[:4], cut.probability)
    assert not inside.probability[4:].any()


def test_energy_distance_by_closed_form():
    a, b = np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0])  # IoU 1/3
    assert energy_distance([a], [b]) == pytest.approx(2 * 2 / 3)
    # two of each: 2 * 1/3 - 1/3 - 1/3
    assert energy_distance([a, b], [a, b]) == pytest.approx(0)
    # 2 * mean(0, 2/3) - 0 - 1/3
    assert energy_distance([a], [a, b]) == pytest.approx(2 / 3 - 1 / 3)
    assert energy_distance([np.zeros(4, int)], [np.zeros(4, int)]) == 0


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_energy_distance_is_not_negative_and_needs_no_order(seed: int):
    made = np.random.default_rng(seed)
    s, y = made.random((3, 4, 5)) < 0.5, made.random((2, 4, 5)) < 0.5
    found = energy_distance(s, y)
    assert found >= -1e-12  # the Jaccard distance is of negative type
    assert found == pytest.approx(energy_distance(y[::-1], s[::-1]))


def test_kappas_agree_for_two_raters_with_equal_margins():
    # Scott's pi, to which Fleiss' kappa comes down, is Cohen's kappa where both use labels alike
    a, b = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 0, 2, 2])
    assert fleiss_kappa([a, b]) == pytest.approx(cohen_kappa(a, b))
    assert cohen_kappa(a, b) == pytest.approx((4 / 6 - 1 / 3) / (2 / 3))
    assert np.isnan(cohen_kappa([1, 1], [1, 1]))
    assert np.isnan(fleiss_kappa([[1, 1], [1, 1]]))


def test_other_programs_agree_on_kappa():
    sklearn = pytest.importorskip("sklearn.metrics")
    made = np.random.default_rng(0)
    a, b = made.integers(0, 4, (2, 200))
    assert cohen_kappa(a, b) == pytest.approx(sklearn.cohen_kappa_score(a, b))


def test_the_table_of_raters_is_the_mean_over_cases():
    made = np.random.default_rng(1)
    names = ("automated", "rater 1", "rater 2")
    masks = {name: [made.random((6, 6, 4)) < 0.4 for _ in range(5)] for name in names}
    masks["rater 2"][3] = None  # type: ignore[call-overload]
    spacings = [(1, 1, 2)] * 5
    rows = rater_table(masks, spacings, ["dice", "jaccard"])
    assert [(row.first, row.second) for row in rows[::2]] == list(combinations(names, 2))
    for row in rows[::2]:
        values = [
            2 * (a & b).sum() / (a.sum() + b.sum())
            for a, b in zip(masks[row.first], masks[row.second], strict=True)
            if a is not None and b is not None
        ]
        assert row.n == len(values) == (4 if row.second == "rater 2" else 5)
        assert (row.mean, row.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert str(rows[0]).startswith("automated - rater 1  dice 0.")
    assert str(rows[0]).endswith("(n = 5)")


def test_two_raters_that_found_nothing_agree_unless_told_otherwise():
    none = np.zeros(4, bool)
    assert pairwise([none, none], [1])[0, 1] == 1
    (row,) = rater_table({"a": [none], "b": [none]}, [[1]], empty=Empty())
    assert (row.n, row.undefined) == (0, 1)
    assert np.isnan(row.mean)
    assert str(row).endswith("1 undefined)")


def test_what_does_not_fit_is_said():
    with pytest.raises(GeometryError, match="different shapes"):
        majority([[1, 0], [1]])
    with pytest.raises(SettingsError, match="raters can't be compared"):
        staple([[1, 0]])
    with pytest.raises(SettingsError, match="between 0 and 1"):
        staple([[1, 0], [1, 1]], prior=1)
    with pytest.raises(GeometryError, match="field has another shape"):
        staple([[1, 0], [1, 1]], field=[1])
    with pytest.raises(GeometryError, match="Samples and raters"):
        energy_distance([[1, 0]], [[1]])
    with pytest.raises(GeometryError, match="ratings have different shapes"):
        cohen_kappa([1], [1, 0])
    with pytest.raises(SettingsError, match="needs raters"):
        fleiss_kappa([[1, 0]])
    with pytest.raises(SettingsError, match="different numbers of cases"):
        rater_table({"a": [[1]], "b": []}, [[1]])
