"""Losses in sums, by schedule, at a coarser scale; losses of a user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from losscases import EVERY, MASKS_ONLY, SUMS, T, Y, problem
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses import (
    Brier,
    CrossEntropy,
    Focal,
    Loss,
    LossSum,
    Lovasz,
    Scheduled,
    SoftDice,
    Tversky,
    terms_of,
)


@dataclass(frozen=True)
class Mean(Loss):
    """A loss of a user's own: the weighted mean of the logits."""

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        w = torch.ones_like(logits) if weight is None else weight.expand_as(logits)
        return (w * logits).sum() / w.sum()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "soft"), [(1, False), (3, False), (3, True)])
def test_a_sum_of_every_loss_is_the_sum_of_its_terms(kind: torch.dtype, channels: int, soft: bool):
    one = problem(0, channels, soft=soft, weighted=True, ignored=not soft)
    names = [name for name in EVERY if not (soft and name in MASKS_ONLY)]
    factors = [0.25 * (k + 1) for k in range(len(names))]
    total = LossSum(tuple((f, EVERY[name]) for f, name in zip(factors, names, strict=True)))
    value, slope = one.of(total, kind)
    each = [one.of(EVERY[name], kind) for name in names]
    within = 1e-6 if kind == torch.float32 else 1e-11
    torch.testing.assert_close(
        value, sum(f * v for f, (v, _) in zip(factors, each, strict=True)), rtol=within, atol=within
    )
    torch.testing.assert_close(
        slope, sum(f * s for f, (_, s) in zip(factors, each, strict=True)), rtol=within, atol=within
    )
    parts = total.parts(one.logits.to(kind), one.truth, weight=one.weight)
    torch.testing.assert_close(
        torch.stack(parts).double(), torch.stack([v for v, _ in each]), rtol=within, atol=within
    )


def test_a_sum_of_probabilities_and_missing_labels():
    one, present = problem(1), torch.tensor([[True, True, False], [True, True, True]])
    total = 0.5 * Lovasz() + 2.0 * SoftDice(over="BI") + CrossEntropy()
    p = one.logits.softmax(1)
    value = total.on_probabilities(p, one.truth, label_present=present)
    wanted = sum(
        factor * loss.on_probabilities(p, one.truth, label_present=present) for factor, loss in total.terms
    )
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(total(one.logits, one.truth, label_present=present), wanted)


def test_terms_with_unlike_activations_each_see_their_own():
    z = torch.tensor([[[0.0, 1.0], [2.0, -1.0]]], dtype=torch.float64)
    y = torch.tensor([[1, 0]])
    total = Focal(gamma=0.0) + Brier(activation="softmax") + CrossEntropy(ignore_index=None)
    softmax = -(math.log(1 / (1 + math.exp(-2))) + math.log(1 / (1 + math.exp(-2)))) / 2
    # Both voxels give the true class 1 / (1 + e^-2); the Brier score sums two equal squares.
    brier = 2 * (1 - 1 / (1 + math.exp(-2))) ** 2
    assert float(total(z, y)) == pytest.approx(2 * softmax + brier, abs=1e-12)
    shares = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    mixed = CrossEntropy() + CrossEntropy(activation="sigmoid")
    # -log of: 1 - s(0), s(2), s(1), 1 - s(-1), over four yes or no.
    binary = (math.log(2) + math.log1p(math.exp(-2)) + 2 * math.log1p(math.exp(-1))) / 4
    assert float(mixed(z, shares)) == pytest.approx(softmax + binary, abs=1e-12)


def test_a_loss_of_a_users_own_in_sums_and_schedules():
    one = problem(2, 1, weighted=True)
    weight = one.weight
    assert weight is not None
    mean = float((one.logits * weight).sum() / weight.sum())
    total = CrossEntropy() + 3.0 * Mean() + SoftDice()
    known = CrossEntropy()(one.logits, one.truth, weight=weight) + SoftDice()(
        one.logits, one.truth, weight=weight
    )
    value, slope = one.of(total)
    assert float(value) == pytest.approx(float(known) + 3 * mean, abs=1e-12)
    by_mean = 3 * weight / weight.sum()
    torch.testing.assert_close(slope, one.of(CrossEntropy() + SoftDice())[1] + by_mean)
    late = Scheduled(Mean(), ((0, 0.0), (10, 1.0)))
    assert float(late(one.logits, one.truth, weight=weight)) == pytest.approx(mean, abs=1e-12)
    half = (CrossEntropy() + late).at_step(5)
    assert [factor for factor, _ in half.terms] == [1.0, 0.5]


def test_a_schedule_moves_in_straight_lines():
    loss = 2.0 * Scheduled(CrossEntropy() + 0.5 * SoftDice(), ((10, 1.0), (20, 3.0), (40, 0.0)))
    for step, factor in ((0, 1.0), (10, 1.0), (15, 2.0), (20, 3.0), (25, 2.25), (40, 0.0), (99, 0.0)):
        assert [f for f, _ in loss.at_step(step).terms] == [2 * factor, factor]
        assert [type(term) for _, term in loss.at_step(step).terms] == [CrossEntropy, SoftDice]
    plain = CrossEntropy()
    assert plain.at_step(7) is plain


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_schedule_called_by_itself_is_what_it_ends_as(activation: str | None):
    """Also of losses with an activation or a value to ignore of their own."""
    inner = SoftDice(activation=activation, ignore_index=9) + CrossEntropy(activation=activation)
    late = Scheduled(inner, ((0, 0.0), (5, 0.25)))
    one = problem(3, 2)
    truth = torch.nn.functional.one_hot(one.truth, 2).movedim(-1, 1)
    truth = truth if activation == "sigmoid" else one.truth
    p = one.logits.sigmoid() if activation == "sigmoid" else one.logits.softmax(1)
    wanted = 0.25 * inner(one.logits, truth)
    torch.testing.assert_close(late(one.logits, truth), wanted)
    torch.testing.assert_close((1.0 * late)(one.logits, truth), wanted)
    torch.testing.assert_close(late.on_probabilities(p, truth), wanted)


def test_schedules_within_schedules_multiply():
    inner = Scheduled(SoftDice(), ((0, 0.0), (10, 1.0)))
    outer = Scheduled(inner, ((0, 4.0), (20, 0.0)))
    assert outer.at_step(5).terms == ((1.5, SoftDice()),)


def test_smoothing_shrinks_with_the_output_and_nothing_else_does():
    loss = CrossEntropy() + Scheduled(SoftDice(smooth_nr=80.0, smooth_dr=80.0), ((0, 1.0), (9, 0.5)))
    coarse = loss.at_scale(1 / 8)
    assert coarse.at_step(9).terms == ((1.0, CrossEntropy()), (0.5, SoftDice(smooth_nr=10.0, smooth_dr=10.0)))
    several = Tversky(alpha=1.0, smooth_nr=(8.0, 16.0), smooth_dr=(8.0, 4.0)).at_scale(0.25)
    assert (several.smooth_nr, several.smooth_dr, several.alpha) == ((2.0, 4.0), (2.0, 1.0), 1.0)


@pytest.mark.parametrize("name", SUMS)
def test_factors_scale_value_and_gradient(name: str):
    one = problem(4, ignored=True)
    value, slope = one.of(SUMS[name])
    twice, double = one.of(SUMS[name] * 2)
    torch.testing.assert_close(twice, 2 * value)
    torch.testing.assert_close(double, 2 * slope)
    assert terms_of(SUMS[name]) == ((1.0, SUMS[name]),)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Scheduled(SoftDice(), ()), "points of a schedule"),
        (lambda: Scheduled(SoftDice(), ((5, 0.0), (5, 1.0))), "points of a schedule"),
        (lambda: Scheduled(SoftDice(), ((5, 0.0), (2, 1.0))), "points of a schedule"),
        (lambda: Scheduled(SoftDice(), ((5, math.inf),)), "points of a schedule"),
        (lambda: LossSum(((math.inf, SoftDice()),)), "finite factors"),
    ],
)
def test_what_does_not_fit_is_refused(make, says: str):
    with pytest.raises(GraphError, match=says):
        make()


def test_only_losses_and_numbers_combine():
    with pytest.raises(TypeError):
        _ = CrossEntropy() + 1  # pyright: ignore[reportOperatorIssue]
    with pytest.raises(TypeError):
        _ = CrossEntropy() * "2"  # pyright: ignore[reportOperatorIssue]
    assert float((SoftDice() * 2).on_probabilities(T, Y)) == pytest.approx(2 * 1.95 / 5.55, abs=1e-5)
