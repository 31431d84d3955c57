"""Compiled loops on the CPU against the plain formulas in float64, which any device and type takes."""

from __future__ import annotations

import pytest
import torch
from losscases import EVERY, MASKS_ONLY, OTHERS, SUMS, Problem, problem
from torch import Tensor

from truevox.kernels.voxel_sums import BLOCK
from truevox.losses import CrossEntropy, Focal, Lovasz, SoftDice, UnifiedFocal
from truevox.losses.sums import SPAN

SINGLE = torch.float32
COMMON = CrossEntropy() + SoftDice() + Focal() + UnifiedFocal()
"""What the loops have: all sums, and focal costs of two exponents."""


def same(one: Problem, loss, value: float = 2e-6, slope: float = 2e-5) -> None:
    """Float32 on the CPU against float64: values, and gradients relative to the largest."""
    (a, by_a), (b, by_b) = one.of(loss, SINGLE), one.of(loss)
    torch.testing.assert_close(a, b, rtol=value, atol=value)
    torch.testing.assert_close(by_a, by_b, rtol=slope, atol=slope * float(by_b.abs().max()))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_every_loss(name: str, channels: int):
    for soft in (False, True):
        if soft and name in MASKS_ONLY:
            continue
        for weighted in (False, True):
            same(problem(6, channels, soft=soft, weighted=weighted, ignored=not soft), EVERY[name])


@pytest.mark.parametrize("name", SUMS)
def test_overlapping_labels(name: str):
    """Several channels that are each a yes or no: masks of ints, with ignored ones, and shares."""
    loss = type(SUMS[name])(activation="sigmoid")  # pyright: ignore[reportCallIssue]
    shares = problem(7, 3, soft=True, weighted=True)
    masks = (shares.truth > 0.3).long()
    some = masks.masked_fill(shares.truth > 0.6, 255)
    for truth in (shares.truth, masks, some):
        same(Problem(shares.logits, truth, shares.weight), loss)


@pytest.mark.parametrize("name", EVERY)
def test_missing_labels(name: str):
    one, loss = problem(8, 3, weighted=True), EVERY[name]
    present = torch.tensor([[True, True, False], [True, False, True]])
    found = []
    for kind in (SINGLE, torch.float64):
        z = one.logits.to(kind, copy=True).requires_grad_()
        value = loss(z, one.truth, weight=one.weight, label_present=present)
        found.append((value.detach().double(), torch.autograd.grad(value, z)[0].double()))
    (a, by_a), (b, by_b) = found
    torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(by_a, by_b, rtol=2e-5, atol=2e-5 * float(by_b.abs().max()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_borders_of_blocks(size: int, channels: int):
    for soft in (False, True):
        same(problem(9, channels, (size,), soft=soft, weighted=True, ignored=not soft), COMMON)


@pytest.mark.parametrize("size", [SPAN - 1, SPAN, SPAN + 1, 2 * SPAN + 5])
def test_borders_of_spans(size: int):
    """Every voxel counts once: ramps of logits, whose sums are compared with float64."""
    z = torch.linspace(-4, 4, size).view(1, 1, size)
    truth = (torch.arange(size) % 3 == 0).long().view(1, size)
    same(Problem(z.double(), truth), CrossEntropy() + SoftDice() + Focal())


@pytest.mark.parametrize("loss", [CrossEntropy() + SoftDice(), Focal(), Lovasz(over="BI")])
@pytest.mark.parametrize("channels", [1, 2])
def test_two_threads_give_the_same_bits(loss, channels: int):
    one = problem(10, channels, (2 * SPAN // 64 + 5, 64), batch=1, weighted=True)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append(one.of(loss, SINGLE))
        finally:
            torch.set_num_threads(1)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", EVERY)
def test_any_layout_in_memory(name: str):
    one, loss = problem(11, 3, (4, 5, 3), weighted=True), EVERY[name]
    z = one.logits.float()
    wide = torch.empty(2, 3, 8, 10, 3)
    wide[:, :, ::2, ::2] = z
    layouts: list[Tensor] = [
        z.contiguous(memory_format=torch.channels_last_3d),
        z.transpose(2, 4).contiguous().transpose(2, 4),
        wide[:, :, ::2, ::2],
    ]
    truth = one.truth.transpose(1, 3).contiguous().transpose(1, 3)
    value, slope = one.of(loss, SINGLE)
    for layout in layouts:
        made = layout.detach().requires_grad_()
        found = loss(made, truth, weight=one.weight)
        (by_logits,) = torch.autograd.grad(found, made)
        torch.testing.assert_close(found.detach().double(), value, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(by_logits.double(), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool])
@pytest.mark.parametrize("loss", [COMMON, Lovasz()])
def test_any_type_of_label(kind: torch.dtype, loss):
    one = problem(12, 1)
    for z in (one.logits, one.logits.float()):
        wanted, found = loss(z, one.truth), loss(z, one.truth.to(kind))
        assert torch.equal(wanted, found)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_of_the_same_numbers(name: str, kind: torch.dtype):
    """Only the logits and their gradient are rounded."""
    one = problem(13, 3, weighted=True)
    present = torch.tensor([[True, True, False], [True, True, True]])
    half, loss = one.logits.to(kind), EVERY[name]
    for known in ({}, {"label_present": present}):
        found = []
        for values in (half, half.float()):
            z = values.requires_grad_()
            value = loss(z, one.truth, weight=one.weight, **known)
            assert value.dtype == SINGLE
            found.append((value.detach(), torch.autograd.grad(value, z)[0].float()))
        torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[0][1], found[1][1].to(kind).float(), rtol=1e-2, atol=1e-6)


def test_all_losses_are_here():
    """A new loss has to be added to the lists that the tests run over."""
    import truevox.losses as tvl

    classes = {
        kind
        for kind in (getattr(tvl, name) for name in tvl.__all__)
        if isinstance(kind, type) and issubclass(kind, tvl.Loss)
    }
    tools = {tvl.Loss, tvl.SumLoss, tvl.LossSum, tvl.Scheduled}
    assert {type(loss) for loss in (SUMS | OTHERS).values()} == classes - tools
