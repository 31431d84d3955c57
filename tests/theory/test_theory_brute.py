# pyright: reportArgumentType=false
"""Expected losses and optima against brute force over label maps and predictions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.theory import (
    AverageLaw,
    Dice,
    DicePlusPlus,
    IndependentLaw,
    Jaccard,
    Law,
    ListedLaw,
    NestedLaw,
    SquaredDice,
    Tversky,
    optimum,
    risk,
)
from truevox.theory.risk import criterion_of

FORMULAS = {
    "dice": lambda tp, fp, fn, t, y, s: 2 * tp / (2 * tp + fp + fn),
    "jaccard": lambda tp, fp, fn, t, y, s: tp / (tp + fp + fn),
    "tversky": lambda tp, fp, fn, t, y, s: tp / (tp + 0.2 * fp + 0.9 * fn),
    "squared_dice": lambda tp, fp, fn, t, y, s: 2 * tp / (s @ t**2 + s @ y),
    "dice++": lambda tp, fp, fn, t, y, s: 2 * tp / (2 * tp + s @ (y * (1 - t) ** 3 + (1 - y) * t**3)),
}
LOSSES = {"tversky": Tversky(alpha=0.2, beta=0.9), "dice++": DicePlusPlus(gamma=3)}


def plain(t, sizes, maps, weights, name: str) -> float:
    """Expected score by the textbook formula, map by map; 0/0 is 0."""
    s, total = np.asarray(sizes, float), 0.0
    for y, w in zip(maps, weights, strict=True):
        tp, fp, fn = s @ (t * y), s @ (t * (1 - y)), s @ ((1 - t) * y)
        total += w * FORMULAS[name](tp, fp, fn, t, y, s) if tp + fp + fn > 0 else 0.0
    return total


def all_maps(p) -> tuple[np.ndarray, np.ndarray]:
    maps = np.array(list(itertools.product((0.0, 1.0), repeat=len(p))))
    return maps, np.where(maps == 1, p, 1 - np.asarray(p)).prod(1)


shares = st.integers(0, 1000).map(lambda k: k / 1000)
problems = st.integers(1, 5).flatmap(
    lambda k: st.tuples(
        st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.7, 8.0]), min_size=k, max_size=k),
        st.lists(shares, min_size=k, max_size=k),
        st.lists(shares, min_size=k, max_size=k),
    )
)


@given(problems, st.sampled_from(sorted(FORMULAS)))
@settings(max_examples=80)
def test_risk_by_the_integral_is_that_over_all_maps(problem, name):
    sizes, p, t = problem
    law = IndependentLaw(sizes, p)
    got = 1 - risk(t, law, LOSSES.get(name, name))
    assert got == pytest.approx(plain(np.array(t), sizes, *all_maps(p), name), abs=1e-11)


@given(problems, st.sampled_from(sorted(FORMULAS)), st.sampled_from(["independent", "nested", "many"]))
@settings(max_examples=60)
def test_slopes_are_those_of_differences(problem, name, which):
    sizes, p, t = problem
    t = np.clip(t, 0.05, 0.95)
    law = {"independent": IndependentLaw, "nested": NestedLaw, "many": AverageLaw}[which](sizes, p)
    criterion = criterion_of(LOSSES.get(name, name))
    slope = law.ratio_slope(t, criterion)
    step = 1e-6 * np.eye(len(t))
    wanted = (law.ratio(t + step, criterion) - law.ratio(t - step, criterion)) / 2e-6
    assert slope == pytest.approx(wanted, abs=2e-6)


@given(problems, st.sampled_from(sorted(FORMULAS)), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_no_map_beats_the_optimum(problem, name, random):
    sizes, p, _ = problem
    maps, weights = all_maps(p)
    if len(p) > 1 and random.random() < 0.5:
        keep = random.sample(range(len(maps)), 3)
        maps, weights = maps[keep], np.array([0.5, 0.3, 0.2])
        law: Law = ListedLaw(sizes, maps, weights)
    else:
        law = IndependentLaw(sizes, p)
    found = optimum(law=law, loss=LOSSES.get(name, name))
    rivals = [np.array(c) for c in itertools.product((0.0, 0.5, 1.0), repeat=len(p))]
    best = max(plain(t, sizes, maps, weights, name) for t in rivals)
    assert found.expected_score >= best - 1e-9
    assert plain(found.map, sizes, maps, weights, name) == pytest.approx(found.expected_score, abs=1e-9)


@given(problems)
@settings(max_examples=40)
def test_nested_labels_have_hard_optima(problem):
    sizes, p, _ = problem
    assert optimum(sizes, p, "nested").is_hard


def test_parts_of_a_region_are_independent():
    one = IndependentLaw([1, 3], [1, 0.3], [1, 3])
    other = IndependentLaw([1, 1, 1, 1], [1, 0.3, 0.3, 0.3])
    for t in (0, 0.4, 1):
        for loss in (Dice(), Jaccard(), SquaredDice(), Tversky(alpha=0.3, beta=1), Dice(0.1, 0.2)):
            assert risk([0.7, t], one, loss) == pytest.approx(risk([0.7, t, t, t], other, loss), abs=1e-12)
            joint = one.ratio_slope(np.array([0.7, t]), loss)
            apart = other.ratio_slope(np.array([0.7, t, t, t]), loss)
            assert joint == pytest.approx([apart[0], apart[1:].sum()], abs=1e-12)


def test_twenty_regions_of_unequal_size_have_the_optimum_of_brute_force():
    """Beyond what is listed: every hard map of 16 regions, by Poisson-binomial sums on whole sizes."""
    rng = np.random.default_rng(3)
    sizes, p = rng.integers(1, 6, 16), rng.uniform(0, 1, 16)
    others = []
    for left_out in range(16):
        chance = np.ones(1)
        for k in range(16):
            if k != left_out:
                step = np.zeros(sizes[k] + 1)
                step[0], step[-1] = 1 - p[k], p[k]
                chance = np.convolve(chance, step)
        others.append(chance)
    maps = (np.arange(2**16)[:, None] >> np.arange(16)) & 1
    volumes = maps @ sizes
    gain = np.array(
        [
            [
                2 * sizes[i] * p[i] * (c @ (1 / (v + sizes[i] + np.arange(len(c))))) if v else 0.0
                for i, c in enumerate(others)
            ]
            for v in range(sizes.sum() + 1)
        ]
    )
    scores = (maps * gain[volumes]).sum(1)
    found = optimum(sizes, p)
    assert found.expected_score >= scores.max() - 1e-12
    if found.is_hard:
        assert found.map.tolist() == maps[scores.argmax()].tolist()
        assert found.expected_score == pytest.approx(scores.max(), abs=1e-12)


def test_many_regions_of_other_losses():
    """Jaccard of 30 equal independent regions: for hard maps the expectation factorises."""
    p = np.sort(np.random.default_rng(0).uniform(0, 1, 30))[::-1]
    best = 0.0
    for k in range(1, 31):
        chance = np.ones(1)
        for q in p[k:]:
            chance = np.convolve(chance, [1 - q, q])
        best = max(best, p[:k].sum() * (chance @ (1 / (k + np.arange(len(chance))))))
    assert optimum(np.ones(30), p, loss="jaccard").expected_score == pytest.approx(best, abs=1e-9)


def test_nothing_expected():
    for law in ("independent", "nested", "exclusive", "many", "averaged"):
        found = optimum([1, 2], [0, 0], law)
        assert (found.volume, found.bias) == (0, 0)
        assert np.isnan(found.relative_bias)
