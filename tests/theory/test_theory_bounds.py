# pyright: reportArgumentType=false
"""Flip probabilities, bounds between scores, gradient fields, label maps, and losses of networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from truevox.errors import SettingsError
from truevox.theory import (
    Dice,
    IndependentLaw,
    NestedLaw,
    calibrated_surrogate,
    dice_field,
    dice_to_jaccard,
    empty_push,
    flip_probability,
    from_maps,
    hamming_gap,
    jaccard_to_dice,
    local_optimum,
    optimum,
    risk,
    similarity_bounds,
    volume_bounds,
)

# ---- flips ----------------------------------------------------------------------

COUNTS = (1, 2, 4, 8, 16, 32, math.inf)
FLIPS = {
    0.25: (0.5, 0.486079, 0.479106, 0.475620, 0.473878, 0.473007, 0.472136),
    0.5: (0.5, 0.474812, 0.462143, 0.455811, 0.452649, 0.451069, 0.449490),
    1: (0.5, 0.457453, 0.435795, 0.424977, 0.419586, 0.416897, 0.414214),
    2: (0.5, 0.434478, 0.400128, 0.382954, 0.374448, 0.370225, 0.366025),
    4: (0.5, 0.409333, 0.359044, 0.333602, 0.321145, 0.315035, 0.309017),
    9: (0.5, 0.383805, 0.313225, 0.275546, 0.257260, 0.248566, 0.240253),
}


@pytest.mark.parametrize("ratio", FLIPS)
def test_flip_probabilities(ratio):
    assert [flip_probability(ratio, n) for n in COUNTS] == pytest.approx(FLIPS[ratio], abs=1e-6)


def test_flips_of_infinitely_many_regions():
    ratios = (0.01, 0.1, 24, 99)
    got = [flip_probability(r, math.inf) for r in ratios]
    assert got == pytest.approx((0.498756, 0.488088, 0.166667, 0.090909), abs=1e-6)
    assert flip_probability(1, 200_000) == pytest.approx(math.sqrt(2) - 1, abs=1e-5)


def test_flips_without_certain_foreground():
    got = [flip_probability(math.inf, n, empty_value=1) for n in (1, 2, 4, 8, 16)]
    assert got == pytest.approx((0.5, 0.348612, 0.237562, 0.158080, 0.102418), abs=1e-6)
    assert flip_probability(math.inf, 4) == 0


@pytest.mark.parametrize("n", [1, 4, 32])
def test_the_optimum_flips_there(n):
    p = flip_probability(2, n)
    for q, volume in ((p - 1e-4, 1), (p + 1e-4, 3)):
        assert optimum(law=IndependentLaw([1, 2], [1, q], [1, n])).volume == volume
    assert optimum(law=IndependentLaw([1, 2], [1, p - 1e-4], [1, n])).bias == pytest.approx(-2 * p, abs=1e-3)


@pytest.mark.parametrize("arguments", [(0,), (1, 0), (1, 1.5)])
def test_flips_of_what_there_is_not(arguments):
    with pytest.raises(SettingsError):
        flip_probability(*arguments)
    with pytest.raises(SettingsError):
        flip_probability(1, empty_value=2)


# ---- bounds ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "relative", "absolute"),
    [
        ((0.5, 0.5), 0, 0),
        ((0.4, 0.6), 0.25, 0.055728),
        ((0.3, 0.7), 0.666667, 0.127017),
        ((0.2, 0.8), 1.5, 0.225148),
        ((0.1, 0.9), 4, 0.381966),
        ((1, 1), 1, 0.171573),
    ],
)
def test_tversky_against_dice(weights, relative, absolute):
    found = similarity_bounds(*weights)
    assert (found.relative, found.absolute) == pytest.approx((relative, absolute), abs=1e-6)
    # All counts of three kinds up to 60: the bounds hold, and are nearly met.
    tp, fp, fn = np.meshgrid(np.arange(1, 61), np.arange(61), np.arange(61), indexing="ij")
    dice, other = 2 * tp / (2 * tp + fp + fn), tp / (tp + weights[0] * fp + weights[1] * fn)
    assert np.abs(dice - other).max() <= absolute + 1e-6
    assert np.abs(dice - other).max() >= absolute - 2e-3
    assert max((dice / other).max(), (other / dice).max()) <= 1 + relative + 1e-6


def test_dice_and_jaccard():
    d = np.linspace(0, 1, 1_000_001)
    gap = d - dice_to_jaccard(d)
    assert gap.max() == pytest.approx(3 - 2 * math.sqrt(2), abs=1e-7)
    assert d[gap.argmax()] == pytest.approx(2 - math.sqrt(2), abs=1e-6)
    assert np.abs(jaccard_to_dice(dice_to_jaccard(d)) - d).max() < 1e-12
    assert ((1 - d <= 1 - dice_to_jaccard(d)) & (1 - dice_to_jaccard(d) <= 2 * (1 - d) + 1e-12)).all()


@pytest.mark.parametrize(
    ("weight", "gaps"), [(0.5, (0.8091, 0.9801, 0.9980)), (0.1, (0.7485, 0.9733, 0.9973))]
)
def test_weighted_hamming_stands_for_no_dice(weight, gaps):
    found = [hamming_gap(n, weight) for n in (10**2, 10**4, 10**6)]
    assert [g.oversized for g in found] == pytest.approx(gaps, abs=5.1e-5)
    largest = [g.largest for g in found]
    assert largest == sorted(largest)
    assert largest[-1] > 0.99


@pytest.mark.parametrize("n", [2, 3, 17, 40])
@pytest.mark.parametrize("weight", [0, 0.1, 0.5, 0.8, 1])
def test_the_hamming_gap_is_that_of_all_masks(n, weight):
    size, lost, false = np.meshgrid(np.arange(1, n), np.arange(n), np.arange(n), indexing="ij")
    real = (lost <= size) & (false <= n - size)
    size, lost, false = size[real], lost[real], false[real]
    dice = 2 * (size - lost) / (2 * size - lost + false)
    gap = 1 - weight * lost / size - (1 - weight) * false / (n - size) - dice
    found = hamming_gap(n, weight)
    assert max(found.oversized, found.missed) == pytest.approx(gap.max(), abs=1e-12)
    assert found.oversized == pytest.approx(gap[lost == 0].max(), abs=1e-12)
    assert found.below == pytest.approx(-gap.min(), abs=1e-12)


def test_bounds_of_what_there_is_not():
    for call in (
        lambda: similarity_bounds(0, 1),
        lambda: hamming_gap(1),
        lambda: volume_bounds(2),
        lambda: volume_bounds(0.5, "other"),
        lambda: calibrated_surrogate([1.0], [0]),
    ):
        with pytest.raises(SettingsError):
            call()


def test_bounds_of_volumes_are_met():
    v = 0.4
    sharp = optimum([v**2, 1 - v**2], [1, v / (1 + v)], "many")
    assert sharp.expected_volume == pytest.approx(v)
    assert sharp.smallest_volume == pytest.approx(volume_bounds(v).low)
    assert optimum([1], [v], "many").volume == volume_bounds(v).high


def test_the_surrogate_is_below_dice():
    rng = np.random.default_rng(0)
    for _ in range(500):
        n = rng.integers(1, 30)
        margins, labels = rng.normal(0, 3, n), rng.random(n) < 0.5
        labels[0] = True
        mask = margins > 0
        dice = 2 * (mask & labels).sum() / (mask.sum() + labels.sum())
        assert calibrated_surrogate(margins, labels) <= dice + 1e-12


# ---- fields ----------------------------------------------------------------------

Y, T = [1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0]


@pytest.mark.parametrize(
    ("nr", "dr", "loss", "foreground", "background"),
    [
        (0, 0, 0.351351, -0.243487, 0.116874),
        (1, 1, 0.297710, -0.198124, 0.107220),
        (0, 1, 0.450382, -0.221432, 0.083911),
        (3, 3, 0.228070, -0.143634, 0.090284),
    ],
)
def test_two_levels(nr, dr, loss, foreground, background):
    found = dice_field([[Y]], [[T]], "I", nr, dr)
    assert found.loss == pytest.approx(loss, abs=1e-6)
    assert found.foreground[0, 0] == pytest.approx(foreground, abs=1e-6)
    assert found.background[0, 0] == pytest.approx(background, abs=1e-6)
    assert set(found.gradient.ravel()) == {found.foreground[0, 0], found.background[0, 0]}


BATCH = np.array([[[1, 1, 0, 0], [0, 0, 1, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]])


@pytest.mark.parametrize(
    ("nr", "dr", "losses", "empty"),
    [
        (1e-7, 1e-7, (0.791667, 0.766667, 0.766667, 0.75), (2.5e-8, 0.027778, 0.027778, 0.03125)),
        (1, 1, (0.5, 0.604167, 0.604167, 0.666667), (0.0625, None, None, None)),
        (0, 1, (0.854167, 0.8125, 0.8125, 0.777778), (0, None, None, None)),
    ],
)
def test_sets_of_voxels(nr, dr, losses, empty):
    for over, loss, push in zip(("I", "CI", "BI", "BCI"), losses, empty, strict=True):
        found = dice_field(BATCH, np.full(BATCH.shape, 0.25), over, nr, dr)
        assert found.loss == pytest.approx(loss, abs=1e-6)
        if push is not None:
            assert found.gradient[1, 1] == pytest.approx(push, abs=1e-6)


@pytest.mark.parametrize("over", ["I", "CI", "BI", "BCI"])
def test_the_field_is_the_gradient_of_the_loss(over):
    from truevox.losses import SoftDice

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (2, 3, 4, 5))
    logits = torch.tensor(rng.normal(size=truth.shape), requires_grad=True)
    loss = SoftDice(over, 0.3, 0.7, activation="sigmoid")(logits, torch.tensor(truth, dtype=torch.float64))
    loss.backward()
    t = torch.sigmoid(logits).detach().numpy()
    found = dice_field(truth, t, over, 0.3, 0.7)
    assert found.loss == pytest.approx(float(loss.detach()), abs=1e-12)
    assert logits.grad is not None
    assert found.on_logits(t) == pytest.approx(logits.grad.numpy(), abs=1e-14)


@pytest.mark.parametrize(
    ("over", "first", "eps", "loss", "push"),
    [
        ("I", 1, 1e-7, 0.75, (-0.002315, 0.004630, -0.002315)),
        ("I", 0, 1e-7, 0.703704, (-0.011145, 0.007888, 0.003258)),
        ("CI", 1, 1e-7, 0.722222, (-0.004115, 0.002058, 0.002058)),
        ("BI", 1, 1e-7, 0.722222, (-0.004372, 0.002572, 0.001800)),
        ("BCI", 1, 1e-7, 0.714286, (-0.004535, 0.002268, 0.002268)),
        ("I", 1, 2, 0.458333, (-0.006044, 0.001672, 0.004372)),
    ],
)
def test_a_missing_label_under_a_softmax(over, first, eps, loss, push):
    index = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 2, 2, 0, 0]])
    truth = np.moveaxis(np.eye(3)[index], -1, 1)
    t = np.full(truth.shape, 1 / 3)
    found = dice_field(truth, t, over, eps, eps, first_channel=first)
    assert found.loss == pytest.approx(loss, abs=1e-6)
    assert found.on_logits(t, "softmax")[0, :, 2] == pytest.approx(push, abs=1e-6)


def test_the_push_on_an_empty_image():
    assert empty_push(100, [1e-7, 1, 100, 1000]) == pytest.approx(
        (1e-11, 9.803e-5, 2.5e-3, 8.264e-4), abs=1e-7
    )
    empty, full = np.zeros((1, 1, 1000)), np.zeros((1, 1, 1000))
    full[..., :100] = 1
    t = np.full(full.shape, 0.1)
    for eps in (1e-7, 1.0, 100.0):
        assert dice_field(empty, t, "I", eps, eps).background[0, 0] == pytest.approx(
            float(empty_push(100, eps))
        )
    for eps, back, fore in ((1e-7, 5e-4, -9.5e-3), (100, 1.3333e-3, -5.3333e-3)):
        found = dice_field(full, t, "I", eps, eps)
        assert (found.background[0, 0], found.foreground[0, 0]) == pytest.approx((back, fore), abs=1e-7)
    assert dice_field(empty, 0 * t).gradient.any() == np.False_


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dice_field([[1, 0]], [[1, 0]]), "are \\(B, C"),
        (lambda: dice_field([[[0.5]]], [[[1.0]]]), "is 0 or 1"),
        (lambda: dice_field([[[1]]], [[[1.0]]], "X"), "`over` does not fit"),
        (lambda: dice_field([[[1]]], [[[1.0]]], first_channel=1), "a channel has to remain"),
        (lambda: dice_field([[[1]]], [[[1.0]]]).on_logits([[[1.0]]], "x"), "Unknown activation"),
    ],
)
def test_fields_of_what_does_not_fit(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


# ---- label maps ----------------------------------------------------------------------


def test_raters_are_merged_to_regions():
    rng = np.random.default_rng(0)
    masks = rng.random((3, 5, 6, 4)) < 0.4
    maps = from_maps(masks, voxel_size=0.5)
    assert len(maps.voxels) == 7
    assert maps.voxels.sum() == masks.any(0).sum()
    assert maps.paint(maps.law.probabilities) == pytest.approx(masks.mean(0))
    assert maps.law.expected_volume == pytest.approx(masks.mean(0).sum() * 0.5)
    t = rng.random(7)
    painted = maps.paint(t)
    dice = [2 * (painted * m).sum() / (painted.sum() + m.sum()) for m in masks]
    assert 1 - risk(t, maps.law) == pytest.approx(np.mean(dice), abs=1e-12)
    for law in (maps.independent(), maps.nested(), maps.averaged()):
        assert law.expected_volume == pytest.approx(maps.law.expected_volume)
    assert maps.independent().counts.sum() == masks.any(0).sum()


def test_independent_voxels_of_raters_are_those_of_ranking():
    from truevox.theory import rank_dice

    masks = np.random.default_rng(1).random((4, 12, 12)) < np.linspace(0.1, 0.9, 12)
    found = optimum(law=from_maps(masks).independent())
    exact = rank_dice(masks.mean(0))
    assert (found.volume, found.expected_score) == pytest.approx(
        (exact.selected, exact.expected_dice), abs=1e-9
    )


def test_weights_and_empty_maps():
    maps = from_maps([[1, 1, 0], [1, 0, 0]], weights=[3, 1])
    assert sorted(maps.law.probabilities) == pytest.approx([0.75, 1])
    empty = from_maps(np.zeros((3, 4, 4), dtype=bool))
    assert optimum(law=empty.law).volume == 0
    assert optimum(law=empty.independent()).volume == 0
    assert empty.paint([0.0]).tolist() == np.zeros((4, 4)).tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_maps([1, 0]), "Label maps are"),
        (lambda: from_maps([[0, 2]]), "hold zeros and ones"),
        (lambda: from_maps([[0, 1]], voxel_size=0), "size of a voxel"),
        (lambda: from_maps([[0, 1]]).paint([1, 1]), "A value per region"),
    ],
)
def test_label_maps_that_do_not_fit(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


# ---- losses of networks ----------------------------------------------------------------------


@dataclass(frozen=True)
class WeightedDice:
    """A loss with the entry point of :mod:`truevox.losses`, written here."""

    def on_probabilities(self, probabilities: Tensor, target: Tensor, *, weight: Any = None) -> Tensor:
        both = (probabilities * target * weight).sum()
        return 1 - 2 * both / ((probabilities + target) * weight).sum().clamp(min=1e-12)


@pytest.mark.parametrize("law", ["independent", "nested"])
def test_a_trained_loss_is_asked_as_it_is(law):
    sizes, p = (10, 5, 5), (1, 0.48, 0.48)
    wanted, found = optimum(sizes, p, law), optimum(sizes, p, law, WeightedDice())
    assert found.map.tolist() == wanted.map.tolist()
    assert found.expected_score == pytest.approx(wanted.expected_score, abs=1e-9)
    assert local_optimum(sizes, p, law, WeightedDice()).volume == local_optimum(sizes, p, law).volume
    t = [0.9, 0.3, 0.6]
    for one in (IndependentLaw(sizes, p), NestedLaw(sizes, p)):
        assert risk(t, one, WeightedDice()) == pytest.approx(risk(t, one, Dice()), abs=1e-12)
