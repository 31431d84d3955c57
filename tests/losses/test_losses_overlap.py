# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportArgumentType=false
"""Soft Dice against closed forms and the specification's tables."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import GraphError
from truevox.losses import SoftDice

torch.set_num_threads(1)
TINY = 1e-7


def plain(probability: torch.Tensor, truth: torch.Tensor, over: str, nr: float, dr: float) -> torch.Tensor:
    """The definition, one set of voxels at a time."""
    batch, channels = probability.shape[:2]
    sets = {
        "I": [(slice(b, b + 1), slice(c, c + 1)) for b in range(batch) for c in range(channels)],
        "CI": [(slice(b, b + 1), slice(None)) for b in range(batch)],
        "BI": [(slice(None), slice(c, c + 1)) for c in range(channels)],
        "BCI": [(slice(None), slice(None))],
    }[over]
    dice = [
        (2 * (probability[s] * truth[s]).sum() + nr) / (probability[s].sum() + truth[s].sum() + dr)
        for s in sets
    ]
    return 1 - sum(dice[1:], start=dice[0]) / len(dice)


@pytest.mark.parametrize(
    ("nr", "dr", "value", "foreground", "background"),
    [
        (0.0, 1e-12, 0.351351, -0.243487, 0.116874),
        (1.0, 1.0, 0.297710, -0.198124, 0.107220),
        (0.0, 1.0, 0.450382, -0.221432, 0.083911),
        (3.0, 3.0, 0.228070, -0.143634, 0.090284),
    ],
)
def test_value_and_two_levels_of_the_gradient(
    nr: float, dr: float, value: float, foreground: float, background: float
):
    t = torch.tensor([0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.001], dtype=torch.float64)
    t[-1] = 1e-12
    logits = torch.logit(t).view(1, 1, 8).requires_grad_(True)
    loss = SoftDice(smooth_nr=nr, smooth_dr=dr)(logits, torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]]))
    loss.backward()
    by_probability = (logits.grad.flatten() / (t * (1 - t)))[:7]
    assert float(loss.detach()) == pytest.approx(value, abs=1e-6)
    expected = torch.tensor([foreground] * 3 + [background] * 4, dtype=torch.float64)
    torch.testing.assert_close(by_probability, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("nr", "dr", "values"),
    [
        (TINY, TINY, (0.791667, 0.766667, 0.766667, 0.75)),
        (1.0, 1.0, (0.5, 0.604167, 0.604167, 0.666667)),
        (0.0, 1.0, (0.854167, 0.8125, 0.8125, 0.777778)),
    ],
)
def test_four_reductions_of_the_specification(nr: float, dr: float, values: tuple[float, ...]):
    truth = torch.tensor([[[1, 1, 0, 0], [0, 0, 1, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]])
    logits = torch.full(
        (2, 2, 4), float(torch.logit(torch.tensor(0.25, dtype=torch.float64))), dtype=torch.float64
    )
    for over, value in zip(("I", "CI", "BI", "BCI"), values, strict=True):
        loss = SoftDice(over=over, smooth_nr=nr, smooth_dr=dr, activation="sigmoid")
        assert float(loss(logits, truth)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("over", "eps", "background", "value", "gradient"),
    [
        ("I", TINY, False, 0.750000, (-0.002315, 0.004630, -0.002315)),
        ("I", TINY, True, 0.703704, (-0.011145, 0.007888, 0.003258)),
        ("CI", TINY, False, 0.722222, (-0.004115, 0.002058, 0.002058)),
        ("BI", TINY, False, 0.722222, (-0.004372, 0.002572, 0.001800)),
        ("BCI", TINY, False, 0.714286, (-0.004535, 0.002268, 0.002268)),
        ("I", 2.0, False, 0.458333, (-0.006044, 0.001672, 0.004372)),
    ],
)
def test_softmax_table_of_the_specification(over: str, eps: float, background: bool, value: float, gradient):
    logits = torch.zeros(2, 3, 6, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 2, 2, 0, 0]])
    loss = SoftDice(over=over, smooth_nr=eps, smooth_dr=eps, background=background)(logits, target)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(value, abs=1e-6)
    torch.testing.assert_close(
        logits.grad[0, :, 2], torch.tensor(gradient, dtype=torch.float64), rtol=0, atol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["I", "CI", "BI", "BCI"]), st.sampled_from([0.0, 0.7]))
def test_equals_the_definition_with_its_gradient(seed: int, over: str, nr: float):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, 3, 3, 4), generator=generator, dtype=torch.float64).requires_grad_(True)
    target = torch.randint(0, 3, (2, 3, 4), generator=generator)
    truth = torch.nn.functional.one_hot(target, 3).movedim(-1, 1).double()
    loss = SoftDice(over=over, smooth_nr=nr, smooth_dr=0.3)
    expected = plain(torch.softmax(logits, 1)[:, 1:], truth[:, 1:], over, nr, 0.3)
    value = loss(logits, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        torch.autograd.grad(value, logits)[0], torch.autograd.grad(expected, logits)[0], rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(loss(logits, truth), value)
    assert 0 <= value <= 1 if nr == 0 else value <= 1
    order = torch.randperm(12, generator=generator)
    torch.testing.assert_close(loss(logits.flatten(2)[:, :, order], target.flatten(1)[:, order]), value)


def test_gradcheck():
    logits = torch.randn((2, 3, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 1, 2, 255], [1, 1, 0, 0]])
    assert torch.autograd.gradcheck(lambda x: SoftDice()(x, target), logits.requires_grad_(True))


def test_perfect_and_disjoint_masks():
    target = torch.tensor([[0, 1, 1, 0]])
    right = 100.0 * (2 * target - 1).view(1, 1, 4)
    assert float(SoftDice()(right, target)) == pytest.approx(0, abs=1e-5)
    assert float(SoftDice()(-right, target)) == pytest.approx(1, abs=1e-5)


def test_ignored_voxels_count_for_nothing():
    logits = torch.randn((1, 3, 6), generator=torch.Generator().manual_seed(1))
    target = torch.tensor([[0, 1, 2, 255, 1, 255]])
    kept = [0, 1, 2, 4]
    torch.testing.assert_close(SoftDice()(logits, target), SoftDice()(logits[:, :, kept], target[:, kept]))


def test_a_voxel_weight_of_two_is_the_voxel_twice():
    logits = torch.randn((1, 2, 3), generator=torch.Generator().manual_seed(2))
    target = torch.tensor([[0, 1, 1]])
    weighted = SoftDice()(logits, target, weight=torch.tensor([[[1.0, 2.0, 1.0]]]))
    twice = [0, 1, 1, 2]
    torch.testing.assert_close(weighted, SoftDice()(logits[:, :, twice], target[:, twice]))


def test_an_absent_class_gets_no_gradient_without_smoothing_in_the_numerator():
    logits = torch.zeros(1, 1, 10, requires_grad=True)
    loss = SoftDice(over="I", smooth_nr=0, smooth_dr=1.0)(logits, torch.zeros(1, 10, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 1
    assert torch.equal(logits.grad, torch.zeros(1, 1, 10))


@pytest.mark.parametrize(
    "settings_",
    [
        {"over": "X"},
        {"over": ""},
        {"over": "II"},
        {"smooth_dr": 0.0},
        {"smooth_nr": -1.0},
        {"activation": "relu"},
    ],
)
def test_settings_that_do_not_exist_are_refused(settings_):
    with pytest.raises(GraphError):
        SoftDice(**settings_)
