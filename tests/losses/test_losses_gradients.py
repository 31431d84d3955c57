"""Gradients of every loss by differences; of logits and of probabilities; optima for an uncertain truth."""

from __future__ import annotations

import pytest
import torch
from losscases import EVERY, MASKS_ONLY, Problem, problem
from torch import Tensor

from truevox import losses as tvl
from truevox.losses import Loss

PRESENT = torch.tensor([[True, True, False], [True, True, True]])


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradcheck(name: str, channels: int):
    """Hard with ignored voxels, soft, and with labels that were not annotated."""
    loss = EVERY[name]
    hard = problem(20, channels, (3, 3), weighted=True, ignored=True)
    cases: list[tuple[Problem, Tensor | None]] = [(hard, None)]
    if name not in MASKS_ONLY:
        cases.append((problem(21, channels, (3, 3), soft=True), None))
    if channels == 3:
        cases.append((hard, PRESENT))
    for one, present in cases:

        def value(z: Tensor, one: Problem = one, present: Tensor | None = present) -> Tensor:
            return loss(z, one.truth, weight=one.weight, label_present=present)

        assert torch.autograd.gradcheck(value, one.logits.clone().requires_grad_())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("channels", "activation"), [(1, None), (3, None), (3, "sigmoid")])
def test_of_probabilities(name: str, channels: int, activation: str | None):
    """The value of logits is that of their probabilities, and so is its slope, by the chain rule."""
    loss = EVERY[name]
    one = problem(22, channels, weighted=True)
    truth, present = one.truth, PRESENT if channels == 3 else None
    if activation == "sigmoid":
        loss = type(loss)(activation="sigmoid")  # pyright: ignore[reportCallIssue]
        truth = (problem(23, channels).logits > 0).long()
    z, w = one.logits.clone().requires_grad_(), one.logits.clone().requires_grad_()
    p = w.softmax(1) if channels > 1 and activation is None else w.sigmoid()
    for known in (None, present):
        a = loss(z, truth, weight=one.weight, label_present=known)
        b = loss.on_probabilities(p, truth, weight=one.weight, label_present=known)
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        (by_a,), (by_b,) = (
            torch.autograd.grad(x, y, retain_graph=True, allow_unused=False) for x, y in ((a, z), (b, w))
        )
        torch.testing.assert_close(by_a, by_b, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [tvl.CrossEntropy(), tvl.SoftDice(), tvl.CrossEntropy() + tvl.SoftDice()])
def test_gradients_of_gradients_are_refused(loss: Loss, kind: torch.dtype):
    z = torch.randn(1, 1, 5, dtype=kind, requires_grad=True)
    value = loss(z, torch.tensor([[0, 1, 1, 0, 1]]))
    (slope,) = torch.autograd.grad(value, z, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        slope.sum().backward()


# ---- what a loss makes of probability p ------------------------------------------------------


def risk(loss: Loss, t: Tensor, p: float) -> Tensor:
    """Expected loss where the last voxel is foreground with probability p, and others certainly."""
    made = torch.ones(1, 1, len(t), dtype=torch.long)
    without = made.clone()
    without[..., -1] = 0
    given = t.view(1, 1, -1)
    return p * loss.on_probabilities(given, made[0]) + (1 - p) * loss.on_probabilities(given, without[0])


def optimum(loss: Loss, p: float, certain: int) -> float:
    """Where the risk is least: between the neighbours of the best of a grid, where its slope is 0."""
    ones = torch.ones(certain, dtype=torch.float64)

    def slope(t: float) -> float:
        x = torch.tensor([t], dtype=torch.float64, requires_grad=True)
        (by_t,) = torch.autograd.grad(risk(loss, torch.cat([ones, x]), p), x)
        return float(by_t)

    levels = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    values = torch.stack([risk(loss, torch.cat([ones, t.view(1)]), p) for t in levels])
    best = int(values.argmin())
    low, high = float(levels[max(best - 1, 0)]), float(levels[min(best + 1, 98)])
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return (low + high) / 2


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (tvl.CrossEntropy(), ((0.1, 0.1), (0.4, 0.4))),
        (tvl.CrossEntropy(weight=(1, 5), normalise=False), ((0.05, 0.2083), (0.2, 0.5556), (0.4, 0.7692))),
        (tvl.Brier(), ((0.1, 0.1), (0.7, 0.7))),
        (tvl.Focal(gamma=2.0), ((0.05, 0.2502), (0.1, 0.3058), (0.5, 0.5), (0.8, 0.6266))),
        (tvl.Focal(gamma=1.0), ((0.1, 0.2256), (0.4, 0.4430), (0.8, 0.6858))),
    ],
)
def test_optimum_of_one_voxel(loss: Loss, expected: tuple[tuple[float, float], ...]):
    for p, t in expected:
        assert optimum(loss, p, 0) == pytest.approx(t, abs=5e-5)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (tvl.SquaredDice(smooth_dr=1e-12), ((0.1, 0.07058), (0.45, 0.39302), (0.9, 0.90546))),
        (tvl.DicePlusPlus(gamma=2.0, smooth_dr=1e-12), ((0.1, 0.07058), (0.5, 0.44920), (0.9, 0.90546))),
        (tvl.DicePlusPlus(gamma=3.0, smooth_dr=1e-12), ((0.1, 0.2185), (0.5, 0.4663), (0.7, 0.5760))),
    ],
)
def test_optimum_beside_a_certain_voxel(loss: Loss, expected: tuple[tuple[float, float], ...]):
    for p, t in expected:
        assert optimum(loss, p, 1) == pytest.approx(t, abs=6e-5)


@pytest.mark.parametrize(
    ("p", "values"),
    [
        (0.3, (0.1, 0.182857, 0.233333)),
        (0.45, (0.15, 0.174286, 0.183333)),
        (0.5, (0.166667, 0.171429, 0.166667)),
        (0.55, (0.183333, 0.168571, 0.15)),
    ],
)
def test_soft_dice_and_its_flip_at_one_half(p: float, values: tuple[float, ...]):
    for loss in (tvl.SoftDice(smooth_dr=1e-12), tvl.DicePlusPlus(gamma=1.0, smooth_dr=1e-12)):
        found = [float(risk(loss, torch.tensor([1, t], dtype=torch.float64), p)) for t in (0, 0.5, 1)]
        assert found == pytest.approx(values, abs=1e-6)
