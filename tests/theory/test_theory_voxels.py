# pyright: reportArgumentType=false
"""RankDice against brute force, the tables of the theory, and a published program (rankseg 0.0.8, PyPI)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import SettingsError
from truevox.theory import IndependentLaw, expected_score, marginal_threshold, rank_dice

MAPS = {
    "P1": [0.9, 0.8, 0.6, 0.45, 0.4, 0.3, 0.2, 0.1],
    "P2": [0.4] * 10,
    "P3": [0.2] * 5,
    "P4": [0.95, 0.9, 0.85, 0.3, 0.3, 0.3, 0.05, 0.05, 0.05, 0.05],
    "P5": [0.6, 0.1],
    "ramp200": [1 - (i + 0.5) / 200 for i in range(200)],
}
_RNG = np.random.default_rng(5)
MAPS["beta60"] = list(np.round(_RNG.beta(0.6, 1.2, 60), 3))
MAPS["logit120"] = list(np.round(1 / (1 + np.exp(-_RNG.normal(-1, 2, 120))), 3))

# Smoothing 0: voxels and score; smoothing 1: the same. From the specification: exact Poisson-binomial.
EXACT = {
    "P1": (5, 0.706712, 5, 0.738638),
    "P2": (10, 0.553579, 10, 0.584816),
    "P3": (5, 0.297971, 0, 0.614880),
    "P4": (3, 0.799630, 3, 0.825352),
    "P5": (1, 0.580000, 1, 0.778333),
}

# rankseg 0.0.8, metric "dice", float64: voxels by solver BA, TRNA, RMA with pruning_prob=0, smooth 0 and 1.
RANKSEG = {
    "P1": ((5, 5), (5, 5), (5, 5)),
    "P2": ((10, 10), (10, 10), (10, 10)),
    "P3": ((5, 0), (5, 0), (5, 0)),
    "P4": ((3, 3), (3, 3), (3, 3)),
    "P5": ((1, 1), (1, 1), (1, 1)),
    "ramp200": ((124, 124), (123, 123), (124, 124)),
    "beta60": ((29, 29), (29, 29), (29, 29)),
    "logit120": ((44, 44), (44, 44), (44, 44)),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name):
    selected, score, smooth_selected, smooth_score = EXACT[name]
    plain, smooth = rank_dice(MAPS[name]), rank_dice(MAPS[name], smooth=1)
    assert (plain.selected, smooth.selected) == (selected, smooth_selected)
    assert (plain.expected_dice, smooth.expected_dice) == pytest.approx((score, smooth_score), abs=1e-6)
    assert plain.mask.sum() == selected


def test_exact_on_a_ramp():
    found = rank_dice(MAPS["ramp200"])
    assert found.selected == 123
    assert found.expected_dice == pytest.approx(0.7635366, abs=1e-7)
    assert found.threshold == pytest.approx(1 - 122.5 / 200)


@pytest.mark.parametrize("name", RANKSEG)
def test_approximations_select_what_rankseg_does(name):
    for method, wanted in zip(("ba", "trna", "rma"), RANKSEG[name], strict=True):
        got = tuple(rank_dice(MAPS[name], smooth, method).selected for smooth in (0, 1))
        assert got == wanted, method


@pytest.mark.parametrize("name", ["P2", "P3"])
def test_pruning_as_in_rankseg_empties_faint_classes(name):
    assert rank_dice(MAPS[name], prune_below=0.5).selected == 0
    assert rank_dice(MAPS[name]).selected == len(MAPS[name])


def expected(p: np.ndarray, mask: np.ndarray, smooth: float) -> float:
    """Expected Dice over all labels."""
    total = 0.0
    for label in itertools.product((0, 1), repeat=len(p)):
        y = np.array(label)
        below = mask.sum() + y.sum() + smooth
        if below > 0:
            total += np.where(y, p, 1 - p).prod() * (2 * (mask * y).sum() + smooth) / below
    return total


@given(
    st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=1, max_size=6), st.sampled_from([0, 0.5, 1])
)
@settings(max_examples=40)
def test_exact_is_the_best_of_all_masks(p, smooth):
    p = np.array(p)
    found = rank_dice(p, smooth)
    best = max(expected(p, np.array(m), smooth) for m in itertools.product((0, 1), repeat=len(p)))
    assert found.expected_dice == pytest.approx(best, abs=1e-12)
    assert expected(p, found.mask, smooth) == pytest.approx(best, abs=1e-12)


def test_exact_by_convolution_on_many_voxels():
    """Leave-one-out sums by convolution, at some sizes of the mask."""
    p = np.sort(np.random.default_rng(1).beta(0.5, 1, 300))[::-1]
    found = rank_dice(p)
    for k in (1, 50, found.selected):
        score = 0.0
        for j in range(k):
            chance = np.ones(1)
            for q in np.delete(p, j):
                chance = np.convolve(chance, [1 - q, q])
            score += 2 * p[j] * (chance @ (1 / (k + 1 + np.arange(300))))
        assert found.scores[k] == pytest.approx(score, abs=1e-12)


def test_voxels_and_regions_agree():
    p = np.array(MAPS["P1"])
    found = rank_dice(p.reshape(2, 4))
    assert found.mask.shape == (2, 4)
    assert found.expected_dice == pytest.approx(
        expected_score(found.mask.ravel(), IndependentLaw(np.ones(8), p)), abs=1e-13
    )


def test_very_many_voxels_approach_the_marginal_threshold():
    p = 1 / (1 + np.exp(-np.random.default_rng(2).normal(-3, 2, 60_000)))
    exact, limit = rank_dice(p), marginal_threshold(p)
    assert exact.selected == pytest.approx(limit.volume, rel=1e-3)
    assert exact.expected_dice == pytest.approx(limit.dice, rel=1e-3)
    assert exact.threshold == pytest.approx(limit.threshold, abs=1e-3)
    assert rank_dice(p, method="ba").selected == pytest.approx(limit.volume, rel=1e-3)


def test_the_bias_of_the_decision():
    found = rank_dice(MAPS["P2"])
    assert (found.selected, sum(p > 0.5 for p in MAPS["P2"])) == (10, 0)
    assert sum(MAPS["P2"]) == pytest.approx(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.5],), "Probabilities lie in"),
        (([],), "Probabilities lie in"),
        (([0.5], -1), "Smoothing is at least 0"),
        (([0.5], 0, "other"), "Unknown method of ranking"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises(SettingsError, match=message):
        rank_dice(*arguments)
