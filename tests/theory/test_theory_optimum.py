# pyright: reportArgumentType=false
"""Optima against the closed forms and tables of the theory, and against brute force over label maps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox import theory
from truevox.errors import SettingsError
from truevox.theory import (
    AverageLaw,
    Brier,
    CrossEntropy,
    Dice,
    DicePlusPlus,
    Focal,
    IndependentLaw,
    ListedLaw,
    NestedLaw,
    Tversky,
    local_optimum,
    optimum,
    risk,
)

ONE = (0.45, 0.45, 0.45, 0.45)
# Sizes, probabilities, law, optimal map, its expected Dice, volume, bias, volume of p > 1/2, and the volume
# that descent from 1/2 reaches (Adam on logits, rate 0.05, computed in PyTorch for the specification).
REGIONS = {
    "A": ((1, 1), (1, 0.4), "independent", (1, 0), 0.866667, 1, -0.4, 1, 1),
    "A nested": ((1, 1), (1, 0.4), "nested", (1, 0), 0.866667, 1, -0.4, 1, None),
    "B": ((1, 2), (1, 0.45), "independent", (1, 0), 0.775, 1, -0.9, 1, None),
    "B nested": ((1, 2), (1, 0.45), "nested", (1, 0), 0.775, 1, -0.9, 1, None),
    "C": ((1, 4), (1, 0.45), "independent", (1, 0), 0.7, 1, -1.8, 1, None),
    "D": ((10, 5, 5), (1, 0.48, 0.48), "independent", (1, 1, 1), 0.838552, 20, 5.2, 10, 20),
    "D nested": ((10, 5, 5), (1, 0.48, 0.48), "nested", (1, 0, 0), 0.84, 10, -4.8, 10, 20),
    "E": ((10, 5, 5), (1, 0.6, 0.3), "independent", (1, 1, 0), 0.878286, 15, 0.5, 15, 15),
    "E nested": ((10, 5, 5), (1, 0.6, 0.3), "nested", (1, 1, 0), 0.877143, 15, 0.5, 15, None),
    "F": ((1,) * 4, (0.4,) * 4, "independent", (1,) * 4, 0.525897, 4, 2.4, 0, 4),
    "F nested": ((1,) * 4, (0.4,) * 4, "nested", (1,) * 4, 0.4, 4, 2.4, 0, None),
    "G": ((4, 3, 2, 1), (0.9, 0.45, 0.42, 0.2), "independent", (1, 1, 1, 0), 0.744252, 9, 3.01, 4, 9),
    "G nested": ((4, 3, 2, 1), (0.9, 0.45, 0.42, 0.2), "nested", (1, 0, 0, 0), 0.721489, 4, -1.99, 4, 9),
    "H": ((1, 2, 3, 4), (0.9, 0.45, 0.42, 0.2), "independent", (1, 1, 1, 0), 0.584335, 6, 2.14, 1, 6),
    "H nested": ((1, 2, 3, 4), (0.9, 0.45, 0.42, 0.2), "nested", (1, 0, 0, 0), 0.564221, 1, -2.86, 1, 6),
    "I": ((2,) * 5, (0.35,) * 5, "independent", (1,) * 5, 0.48083, 10, 6.5, 0, None),
    "I nested": ((2,) * 5, (0.35,) * 5, "nested", (1,) * 5, 0.35, 10, 6.5, 0, None),
    "J": ((5, 20), (0.8, 0.1), "independent", (1, 0), 0.746667, 5, -1, 5, 5),
    "J nested": ((5, 20), (0.8, 0.1), "nested", (1, 0), 0.733333, 5, -1, 5, None),
    "K": ((8, 2, 2, 2, 2), (1, *ONE), "independent", (1,) * 5, 0.834518, 16, 4.4, 8, 16),
    "K nested": ((8, 2, 2, 2, 2), (1, *ONE), "nested", (1, 0, 0, 0, 0), 0.85, 8, -3.6, 8, 8),
    "L": ((3, 3), (0.6, 0.6), "independent", (1, 1), 0.68, 6, 2.4, 6, None),
    "L nested": ((3, 3), (0.6, 0.6), "nested", (1, 1), 0.6, 6, 2.4, 6, None),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions(name):
    sizes, p, law, best, score, volume, bias, half, reached = REGIONS[name]
    found = optimum(sizes, p, law)
    assert found.map.tolist() == list(best)
    assert found.expected_score == pytest.approx(score, abs=1e-6)
    assert found.risk == pytest.approx(1 - score, abs=1e-6)
    assert (found.volume, found.half_volume) == (volume, half)
    assert found.bias == pytest.approx(bias, abs=1e-9)
    assert found.relative_bias == pytest.approx(bias / (volume - bias))
    assert found.is_hard
    if reached is not None:
        assert local_optimum(sizes, p, law).volume == pytest.approx(reached, abs=1e-6)


@pytest.mark.parametrize(("name", "score"), [("F nested", 0.6), ("I nested", 0.65)])
def test_an_empty_mask_is_best_where_empty_counts_as_right(name, score):
    sizes, p, law, *_ = REGIONS[name]
    found = optimum(sizes, p, law, Dice(empty_value=1))
    assert found.volume == 0
    assert found.expected_score == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("ratio", [(1, 1), (1, 4), (4, 1), (0.01, 1)])
@pytest.mark.parametrize("law", ["independent", "nested", "exclusive"])
def test_one_block_flips_at_one_half(ratio, law):
    if law == "exclusive":
        # Beside nothing certain, where empty masks count as right.
        low, high = (optimum([ratio[1]], [p], law, Dice(empty_value=1)) for p in (0.499, 0.501))
        assert (low.volume, high.volume) == (0, ratio[1])
        return
    low, high = (optimum(ratio, [1, p], law) for p in (0.499, 0.501))
    assert low.map.tolist() == [1, 0]
    assert high.map.tolist() == [1, 1]
    assert low.bias == pytest.approx(-0.499 * ratio[1])
    assert high.bias == pytest.approx(0.499 * ratio[1])
    tie = optimum(ratio, [1, 0.5], law)
    assert (tie.smallest_volume, tie.largest_volume) == pytest.approx((ratio[0], sum(ratio)))
    assert tie.volume == ratio[0]


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9])
def test_a_block_without_certain_foreground_is_always_taken(p):
    assert optimum([3], [p]).bias == pytest.approx(3 * (1 - p))
    assert optimum([3], [p], loss=Dice(smooth_dr=1e-5)).volume == 3
    assert optimum([3], [p], loss=Dice(1e-7, 1e-7)).volume == (3 if p > 0.5 else 0)
    # The basin of the empty prediction is as narrow as the smoothing: descent does not find it.
    assert local_optimum([3], [p], loss=Dice(1e-7, 1e-7)).volume == 3


@pytest.mark.parametrize(
    ("p", "losses"),
    [
        (0.3, (0.1, 0.182857, 0.233333)),
        (0.45, (0.15, 0.174286, 0.183333)),
        (0.5, (0.166667, 0.171429, 0.166667)),
        (0.55, (0.183333, 0.168571, 0.15)),
        (0.7, (0.233333, 0.16, 0.1)),
    ],
)
def test_risk_of_one_block(p, losses):
    law = IndependentLaw([1, 1], [1, p])
    assert [risk([1, t], law) for t in (0, 0.5, 1)] == pytest.approx(losses, abs=1e-6)


def test_the_worst_prediction_of_an_even_block():
    assert risk([1, np.sqrt(2) - 1], IndependentLaw([1, 1], [1, 0.5])) == pytest.approx(0.171573, abs=1e-6)


@pytest.mark.parametrize(
    ("p", "first", "score", "hard"),
    [(0.28, 0.23303, 0.720727, 0.72), (0.285, 0.409968, 0.71706, 0.715), (0.29, 0.602701, 0.714058, 0.713)],
)
def test_an_optimum_inside(p, first, score, hard):
    found = optimum([0.5, 1], [p, 1 - p], "exclusive")
    assert found.map == pytest.approx([first, 1], abs=1e-5)
    assert found.expected_score == pytest.approx(score, abs=1e-6)
    assert not found.is_hard
    u = 0.5 * found.map[0]
    assert (u + 2) / (u + 1.5) == pytest.approx(np.sqrt((1 - p) / (1.5 * p)), abs=1e-6)
    law = theory.exclusive([0.5, 1], [p, 1 - p])
    corners = [1 - risk(c, law) for c in itertools.product((0, 1), repeat=2)]
    assert max(corners) == pytest.approx(hard, abs=1e-6)


def test_independent_regions_of_unequal_size_may_have_one_too():
    sizes, p = (3, 8, 1), (0.040322, 0.630838, 0.247734)
    found = optimum(sizes, p)
    assert found.map == pytest.approx([0, 1, 0.293892], abs=1e-4)
    hard = max(1 - risk(c, IndependentLaw(sizes, p)) for c in itertools.product((0, 1), repeat=3))
    assert found.expected_score - hard == pytest.approx(7.5e-5, abs=1e-6)


# ---- many voxels ----------------------------------------------------------------------


def ramp(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n, 1 / n), 1 - (np.arange(n) + 0.5) / n


@pytest.mark.parametrize(
    ("loss", "volume"),
    [
        ("dice", 0.618034),
        ("jaccard", 0.618034),
        (Tversky(alpha=0.5, beta=0.5), 0.618034),
        (Tversky(alpha=1, beta=1), 0.618034),
        (Tversky(alpha=0.3, beta=0.7), 0.755427),
        (Tversky(alpha=0.7, beta=0.3), 0.474546),
        (Tversky(alpha=0.1, beta=0.9), 0.908327),
        ("squared_dice", 0.593070),
    ],
)
def test_a_ramp_of_many_voxels(loss, volume):
    assert optimum(*ramp(20_000), "many", loss).volume == pytest.approx(volume, abs=5e-5)


def test_the_ramp_in_the_golden_ratio():
    found = optimum(*ramp(20_000), "many")
    assert found.expected_score == pytest.approx(0.763932, abs=1e-5)
    assert found.relative_bias == pytest.approx(0.236068, abs=1e-4)
    squared = optimum(*ramp(20_000), "many", "squared_dice")
    assert squared.expected_score == pytest.approx(0.813859, abs=1e-5)
    assert (squared.map == 1).mean() == pytest.approx(0.18614, abs=1e-4)


def test_a_nested_ramp():
    found = optimum(*ramp(4000), "nested")
    assert found.volume == pytest.approx(0.556185, abs=5e-4)
    assert found.expected_score == pytest.approx(0.714806, abs=1e-5)
    v = found.volume
    assert np.log((1 + v) / (4 * v)) + v / (1 + v) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("width", "expected", "volume", "half", "threshold"),
    [
        (1, 4602.21, 4712.33, 4188.95, 0.4013),
        (2, 5843.81, 6299.80, 4188.95, 0.3255),
        (4, 10934.2, 13031.6, 4188.6, 0.2406),
    ],
)
def test_a_blurred_ball(width, expected, volume, half, threshold):
    edges = np.linspace(0, 10 + 45 * width, 100_001)
    sizes = np.diff(4 / 3 * np.pi * edges**3)
    p = 1 / (1 + np.exp(((edges[1:] + edges[:-1]) / 2 - 10) / width))
    found, bound = optimum(sizes, p, "many"), theory.marginal_threshold(p, sizes)
    assert found.expected_volume == pytest.approx(expected, rel=1e-3)
    assert (found.volume, bound.volume) == pytest.approx((volume, volume), rel=1e-3)
    assert found.half_volume == pytest.approx(half, rel=1e-3)
    assert bound.threshold == pytest.approx(threshold, abs=1e-4)
    assert bound.dice == pytest.approx(found.expected_score)


def test_ties_are_told():
    found = optimum([0.25, 0.5, 0.25], [1, 1 / 3, 1 / 3], "many")
    assert found.expected_score == pytest.approx(2 / 3)
    assert (found.smallest_volume, found.largest_volume, found.volume) == pytest.approx((0.25, 1, 0.25))
    bound = theory.marginal_threshold([1, 1 / 3], [0.25, 0.75])
    assert (bound.threshold, bound.smallest_volume, bound.largest_volume) == pytest.approx((1 / 3, 0.25, 1))


def test_the_volume_may_be_twenty_times_too_large():
    found = theory.marginal_threshold(np.full(100, 0.05), np.full(100, 0.01))
    assert (found.volume, found.expected_volume) == pytest.approx((1, 0.05))
    assert found.dice == pytest.approx(0.0952381, abs=1e-7)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
@settings(max_examples=60)
def test_many_voxels_dice_and_jaccard_agree_and_bounds_hold(p):
    size = np.full(len(p), 1 / len(p))
    dice, jaccard = optimum(size, p, "many"), optimum(size, p, "many", "jaccard")
    assert dice.volume == pytest.approx(jaccard.volume)
    v = dice.expected_volume
    bounds, plain = theory.volume_bounds(v), theory.volume_bounds(v, "accuracy")
    assert bounds.low - 1e-9 <= dice.volume <= bounds.high + 1e-9
    assert plain.low - 1e-9 <= dice.half_volume <= plain.high + 1e-9
    assert dice.half_volume <= dice.largest_volume + 1e-9
    assert theory.marginal_threshold(p).threshold <= 0.5 + 1e-12


# ---- other losses ----------------------------------------------------------------------

P = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.8])


@pytest.mark.parametrize(
    ("loss", "t", "at"),
    [
        (CrossEntropy(2), (0.0952, 0.3333, 0.5714), (0, 2, 4)),
        (CrossEntropy(5), (0.2083, 0.5556, 0.7692), (0, 2, 4)),
        (CrossEntropy(10), (0.3448, 0.7143, 0.8696), (0, 2, 4)),
        (Focal(2), (0.2502, 0.3058, 0.3734, 0.4215, 0.4622, 0.5, 0.6266), range(7)),
        (Focal(1), (0.1616, 0.2256, 0.3142, 0.3828, 0.4430, 0.5, 0.6858), range(7)),
        (Focal(0), P, range(7)),
        (Brier(), P, range(7)),
        (CrossEntropy(), P, range(7)),
    ],
)
def test_pointwise_losses(loss, t, at):
    for law in ("independent", "nested", "many"):
        assert optimum(np.ones(7), P, law, loss).map[list(at)] == pytest.approx(t, abs=5.1e-5)


@pytest.mark.parametrize(
    ("loss", "p", "t"),
    [
        (
            "squared_dice",
            (0.1, 0.3, 0.45, 0.5, 0.7, 0.9),
            (0.07058, 0.23913, 0.39302, 0.4492, 0.68538, 0.90546),
        ),
        (DicePlusPlus(gamma=2), (0.1, 0.5, 0.9), (0.07058, 0.4492, 0.90546)),
        (DicePlusPlus(gamma=3), (0.1, 0.3, 0.5, 0.7, 0.9), (0.2185, 0.3605, 0.4663, 0.576, 0.7357)),
        (DicePlusPlus(gamma=1), (0.1, 0.49, 0.51, 0.9), (0, 0, 1, 1)),
    ],
)
def test_optima_that_are_not_hard(loss, p, t):
    for one, best in zip(p, t, strict=True):
        for law in ("independent", "nested"):
            assert optimum([1, 1], [1, one], law, loss).map == pytest.approx([1, best], abs=7e-5)


def test_cross_entropy_is_unbiased_and_descent_finds_it():
    for name in ("A", "D", "G", "J"):
        sizes, p, *_ = REGIONS[name]
        assert optimum(sizes, p, "nested", "cross_entropy").bias == pytest.approx(0, abs=1e-12)
        assert local_optimum(sizes, p, "nested", "cross_entropy").bias == pytest.approx(0, abs=1e-5)


def test_soft_labels():
    """Soft Dice of the mean of the raters is biased as for many voxels; the semimetric is not."""
    sizes, p = ramp(500)
    assert optimum(sizes, p, "averaged").volume == optimum(sizes, p, "many").volume
    for loss in ("dml", "jml"):
        found = optimum(sizes, p, "averaged", loss)
        assert found.map == pytest.approx(p, abs=1e-9)
        assert found.risk == pytest.approx(0, abs=1e-12)
        assert local_optimum(sizes, p, "averaged", loss).bias == pytest.approx(0, abs=1e-2)
    law = AverageLaw([1.0], [0.3], soft=True)
    assert risk([1.0], law) == pytest.approx(0.538462, abs=1e-6)
    y, t = [1, 0.7, 0.5, 0.3, 0, 0, 0, 0], [0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0]
    law = AverageLaw(np.ones(8), y, soft=True)
    hard = np.array(y) >= 0.5
    for prediction, values in (
        (y, (0.268, 0, 0)),
        (hard, (0.2, 0.2, 0.333333)),
        (t, (0.370297, 0.168317, 0.288136)),
    ):
        losses = [risk(prediction, law, loss) for loss in ("dice", "dml", "jml")]
        assert losses == pytest.approx(values, abs=1e-6)


# ---- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 1], [1]), "Regions need a size and a probability each"),
        (([], []), "Regions need a size and a probability each"),
        (([1, 0], [1, 1]), "Sizes of regions are positive"),
        (([1], [1.2]), "Probabilities lie in"),
        (([1], [float("nan")]), "Probabilities lie in"),
        (([1], [1], "other"), "The theory knows no such law"),
        (([1], [1], "nested", "tversky"), "The theory knows no such loss"),
        (([1, 1], [0.6, 0.6], "exclusive"), "sum to at most 1"),
        ((), "Sizes and probabilities of the regions are missing"),
        (([1], [1], NestedLaw([1], [1])), "A law has sizes and probabilities of its own"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises(SettingsError, match=message):
        optimum(*arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dice(smooth_nr=1), "Smoothing, or the value of 0/0"),
        (lambda: Dice(empty_value=2), "Smoothing, or the value of 0/0"),
        (lambda: Tversky(alpha=-1), "Weights of a Tversky index"),
        (lambda: DicePlusPlus(gamma=0.5), "The power of Dice"),
        (lambda: CrossEntropy(0), "The weight of the foreground"),
        (lambda: Focal(-1), "The power of a focal loss"),
        (lambda: Focal(2, alpha=1), "The weight alpha"),
        (lambda: ListedLaw([1], [[2]]), "rows of zeros and ones"),
        (lambda: ListedLaw([1], [[1]], [-1]), "Every label map needs a weight"),
        (lambda: IndependentLaw([1], [1], [0]), "Counts of independent parts"),
        (lambda: risk([0.5, 0.5], NestedLaw([1], [1])), "A prediction has a value"),
        (lambda: risk([1.5], NestedLaw([1], [1])), "A prediction has a value"),
        (lambda: local_optimum([1], [1], start=1), "Descent starts within"),
        (lambda: AverageLaw([1], [1]).listed(), "can't be listed"),
        (lambda: IndependentLaw(np.ones(20), np.ones(20)).listed(), "can't be listed"),
        (lambda: risk([1], NestedLaw([1], [1]), theory.Criterion()), "says nothing of expected losses"),
    ],
)
def test_settings_that_do_not_fit_are_said(make, message):
    with pytest.raises(SettingsError, match=message):
        make()
