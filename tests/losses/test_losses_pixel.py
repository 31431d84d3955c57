# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportArgumentType=false
"""Cross-entropy against hand-computed numbers and a plain float64 formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import GraphError
from truevox.losses import CrossEntropy, Loss, LossSum, SoftDice

torch.set_num_threads(1)


def random_problem(seed: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((2, channels, 3, 4, 2), generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, max(channels, 2), (2, 3, 4, 2), generator=generator)


def test_binary_value_of_the_specification():
    # y = 11100000, t = .9 .6 .3 .4 .2 .1 .05 0 (the last is 1e-7): BCE .338848; weights (1, 2) by hand.
    t = torch.tensor([0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 1e-7], dtype=torch.float64)
    y = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0])
    logits = torch.logit(t).view(1, 1, 8)
    assert float(CrossEntropy()(logits, y.view(1, 8))) == pytest.approx(0.338848, abs=1e-6)
    positive = -(math.log(0.9) + math.log(0.6) + math.log(0.3))
    negative = 8 * 0.338848 - positive
    weighted = CrossEntropy(weight=(1, 2))(logits, y.view(1, 8))
    assert float(weighted) == pytest.approx((2 * positive + negative) / (2 * 3 + 5), abs=1e-6)


def test_exclusive_classes_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])).T.reshape(1, 3, 2)
    target = torch.tensor([[1, 2]])
    assert float(CrossEntropy()(logits, target)) == pytest.approx(
        -(math.log(0.25) + math.log(0.7)) / 2, abs=1e-6
    )
    weighted = CrossEntropy(weight=(1, 2, 3))(logits, target)
    assert float(weighted) == pytest.approx(-(2 * math.log(0.25) + 3 * math.log(0.7)) / 5, abs=1e-6)


def test_ignored_voxels_and_voxel_weights():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]])).T.reshape(1, 2, 3)
    ignored = CrossEntropy()(logits, torch.tensor([[1, 255, 0]]))
    assert float(ignored) == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2, abs=1e-6)
    weight = torch.tensor([[[1.0, 0.0, 3.0]]])
    weighted = CrossEntropy()(logits, torch.tensor([[1, 0, 0]]), weight=weight)
    assert float(weighted) == pytest.approx(-(math.log(0.5) + 3 * math.log(0.8)) / 4, abs=1e-6)


def test_nothing_left_to_learn_from_is_zero_with_zero_gradient():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    loss = CrossEntropy()(logits, torch.full((1, 4), 255))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros(1, 3, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_is_probability_minus_truth(channels: int):
    logits, target = random_problem(0, channels)
    logits.requires_grad_(True)
    CrossEntropy()(logits, target).backward()
    if channels == 1:
        expected = torch.sigmoid(logits) - target.unsqueeze(1)
    else:
        expected = torch.softmax(logits, 1) - torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    torch.testing.assert_close(logits.grad, (expected / target.numel()).detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), CrossEntropy(weight=(1, 2, 3)), CrossEntropy() + 0.5 * SoftDice()]
)
def test_gradcheck(loss: Loss):
    logits, target = random_problem(1)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(True))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_hard_and_soft_targets_agree_and_voxels_may_be_permuted(seed: int):
    logits, target = random_problem(seed)
    soft = torch.nn.functional.one_hot(target, 3).movedim(-1, 1).double()
    value = CrossEntropy()(logits, target)
    torch.testing.assert_close(CrossEntropy()(logits, soft), value)
    torch.testing.assert_close(CrossEntropy()(logits, target.unsqueeze(1)), value)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    moved = CrossEntropy()(logits.flatten(2)[:, :, order], target.flatten(1)[:, order])
    torch.testing.assert_close(moved, value)
    assert value >= 0


def test_overlapping_labels_are_means_of_binary_ones():
    logits, _ = random_problem(2, 2)
    target = torch.randint(0, 2, logits.shape, generator=torch.Generator().manual_seed(3))
    both = CrossEntropy(activation="sigmoid")(logits, target)
    each = [CrossEntropy()(logits[:, c : c + 1], target[:, c]) for c in range(2)]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_without_loss(dtype: torch.dtype):
    logits = torch.zeros(1, 2, 300, 300, dtype=dtype)
    value = CrossEntropy()(logits, torch.zeros(1, 300, 300, dtype=torch.long))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), SoftDice(), SoftDice(over="BCI"), CrossEntropy() + SoftDice()]
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("label", [0, 1])
def test_gradients_stay_finite_on_extreme_logits(loss: Loss, channels: int, level: float, label: int):
    logits = torch.full((2, channels, 4, 4), level)
    logits[:, -1] = -level
    logits.requires_grad_(True)
    value = loss(logits, torch.full((2, 4, 4), label))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_sums_are_values():
    loss = 2 * (CrossEntropy() + SoftDice()) + CrossEntropy() * 0.5
    assert isinstance(loss, LossSum)
    assert [factor for factor, _ in loss.terms] == [2, 2, 0.5]
    logits, target = random_problem(4)
    expected = 2.5 * CrossEntropy()(logits, target) + 2 * SoftDice()(logits, target)
    torch.testing.assert_close(loss(logits, target), expected)
    assert loss == LossSum(loss.terms)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CrossEntropy(weight=(-1.0, 1.0)),
        lambda: CrossEntropy(activation="tanh"),
        lambda: LossSum(()),
        lambda: CrossEntropy() * math.nan,
        lambda: CrossEntropy()(torch.zeros(1, 2, 4), torch.zeros(1, 5, dtype=torch.long)),
        lambda: CrossEntropy()(torch.zeros(1, 2, 4), torch.full((1, 4), 2)),
        lambda: CrossEntropy()(torch.zeros(1, 1, 4), torch.full((1, 1, 4), 2)),
        lambda: CrossEntropy()(torch.zeros(1, 2, 4), torch.zeros(1, 1, 4)),
        lambda: CrossEntropy(weight=(1.0,))(torch.zeros(1, 2, 4), torch.zeros(1, 4, dtype=torch.long)),
        lambda: CrossEntropy()(torch.zeros(1, 2, 4), torch.zeros(1, 4).long(), weight=torch.ones(1, 4)),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(GraphError):
        make()
