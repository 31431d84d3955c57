"""Extreme logits, empty, full and missing labels, and a volume of 512³."""

from __future__ import annotations

import math

import pytest
import torch
from losscases import EVERY
from torch import Tensor

from truevox import losses as tvl
from truevox.errors import GraphError
from truevox.losses import Loss

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LARGE = 1e4


def scene(level: float, channels: int, label: str, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits of one level in a last channel that half the voxels have, and 0 elsewhere; a truth."""
    z = torch.zeros(2, channels, 4, 4, dtype=kind)
    z[:, -1, :2] = level
    y = torch.zeros(2, 4, 4, dtype=torch.long)
    last = max(channels - 1, 1)
    y[:, {"empty": slice(0, 0), "full": slice(0, 4), "some": slice(1, 3)}[label]] = last
    return z.requires_grad_(), y


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_finite(name: str, kind: torch.dtype):
    for level in (-LARGE, LARGE, -math.inf):
        for channels in (1, 3):
            for label in ("empty", "full", "some"):
                z, y = scene(level, channels, label, kind)
                value = EVERY[name](z, y)
                (slope,) = torch.autograd.grad(value, z)
                assert bool(torch.isfinite(value)), (level, channels, label)
                assert bool(torch.isfinite(slope).all()), (level, channels, label)


# Where the last channel has half the voxels at a level and 0 elsewhere, and the truth is two rows of four.
ROWS = {
    # a channel of its own: p is 0 or 1 in eight voxels, half elsewhere; truth is in four of each
    "cross-entropy": lambda sure: (4 * LARGE + 8 * math.log(2)) / 16,
    "brier": lambda sure: (4 * 1 + 8 / 4) / 16,
    "focal": lambda sure: (4 * LARGE + 8 * math.log(2) / 4) / 16,
    "focal 1/2": lambda sure: (4 * LARGE + 8 * math.log(2) / math.sqrt(2)) / 16,
    "tversky": lambda sure: 1 - (4 * sure + 2) / (4 * sure + 2 + 0.3 * (4 * sure + 2) + 0.7 * (6 - 4 * sure)),
    "jaccard": lambda sure: 1 - (4 * sure + 2) / (8 + 8 * sure + 4 - 4 * sure - 2),
    "dice++ 3": lambda sure: 1 - (8 * sure + 4) / (8 * sure + 4 + 4 * (1 - sure) + 4 * sure + 8 / 8),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sure", [0, 1])
def test_values_by_hand(name: str, kind: torch.dtype, sure: int):
    z, y = scene(LARGE if sure else -LARGE, 1, "some", kind)
    level = float(z.detach().abs().max())  # bfloat16 has no 10000
    wanted = ROWS[name](sure) * (level / LARGE if "entropy" in name or "focal" in name else 1)
    assert float(EVERY[name](z, y).detach()) == pytest.approx(wanted, rel=1e-3 if level != LARGE else 1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_minus_infinity_leaves_other_classes_alone(kind: torch.dtype, channels: int):
    """Such a class is out of the softmax; such a channel of its own costs nothing where it is false."""
    z, y = scene(-math.inf, channels, "empty", kind)
    # Half the voxels have the classes that are left, or no cost; the others have all.
    wanted = (math.log(3) + math.log(2)) / 2 if channels == 3 else math.log(2) / 2
    assert float(tvl.CrossEntropy()(z, y).detach()) == pytest.approx(wanted, rel=1e-6)
    (slope,) = torch.autograd.grad(tvl.CrossEntropy()(z, y), z)
    assert not slope[:, -1, :2].any()


@pytest.mark.parametrize("name", EVERY)
def test_what_is_no_number_is_refused(name: str):
    """A channel of its own may be infinite where only its probability, 1, is asked for."""
    for channels, bad in ((1, math.nan), (3, math.nan), (3, math.inf)):
        z, y = scene(0.0, channels, "some", torch.float32)
        with torch.no_grad():
            z[1, -1, 2, 2] = bad
        with pytest.raises(GraphError, match="`logits` of a loss hold NaN or infinity"):
            EVERY[name](z, y)


# ---- labels that are absent, everywhere, or not annotated -------------------------------------

SURE = 200.0


@pytest.mark.parametrize("over", ["I", "CI", "BI", "BCI"])
@pytest.mark.parametrize(
    "kind", [tvl.SoftDice, tvl.SoftJaccard, tvl.Tversky, tvl.SquaredDice, tvl.DicePlusPlus]
)
def test_right_masks_cost_nothing_and_wrong_ones_everything(over: str, kind):
    y = torch.zeros(2, 6, dtype=torch.long)
    y[:, :2], y[:, 2:3] = 1, 2
    right = SURE * torch.nn.functional.one_hot(y, 3).movedim(-1, 1).float()
    assert float(kind(over=over)(right, y)) == pytest.approx(0, abs=1e-5)
    wrong = right[:, [2, 0, 1]]  # 1 where truth is 2, and so on
    assert float(kind(over=over)(wrong, y)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_empty_and_full(label: int):
    """Of probabilities p: Dice of a full label is 2 p / (1 + p), of an empty one nr / (P + dr)."""
    p, n = 0.25, 12
    z = torch.full((1, 1, n), math.log(p / (1 - p)))
    y = torch.full((1, n), label)
    dice = tvl.SoftDice(smooth_nr=2.0, smooth_dr=2.0)(z, y)
    score = (2 * p * n * label + 2) / (p * n + n * label + 2)
    assert float(dice) == pytest.approx(1 - score, abs=1e-6)
    assert float(tvl.CrossEntropy()(z, y)) == pytest.approx(-math.log(p if label else 1 - p), abs=1e-6)
    assert float(tvl.GeneralisedDice()(z, y)) == pytest.approx(
        1 - (2 * p / (1 + p) if label else 0), abs=1e-5
    )


MERGED: list[Loss] = [
    tvl.CrossEntropy(),
    tvl.CrossEntropy(weight=(1, 2, 3)),
    tvl.Brier(),
    tvl.Focal(),
    tvl.SoftDice(),
    tvl.SoftDice(over="BI"),
    tvl.SoftDice(background=True),
    tvl.SquaredDice(),
    tvl.LeafDice(),
    tvl.MarginalDice(),
    tvl.GeneralisedDice(),
    tvl.UnifiedFocal(),
    tvl.JaccardMetric(),
    tvl.SoftClDice(iterations=1),
    tvl.Boundary(),
]


@pytest.mark.parametrize("loss", MERGED, ids=repr)
def test_a_label_that_was_not_annotated_is_part_of_background(loss: Loss):
    """Among exclusive classes: the loss is that of classes 0 (with 2) and 1, whatever 2 and the truth say."""
    made = torch.Generator().manual_seed(0)
    z = torch.randn((2, 3, 5, 4), generator=made, dtype=torch.float64)
    y = torch.randint(0, 3, (2, 5, 4), generator=made)
    present = torch.tensor([[True, True, False]] * 2)
    two = torch.stack([torch.logsumexp(z[:, [0, 2]], 1), z[:, 1]], 1)
    if isinstance(loss, tvl.CrossEntropy) and loss.weight is not None:
        alone: Loss = tvl.CrossEntropy(weight=(1, 2))
    else:
        alone = loss
    torch.testing.assert_close(loss(z, y, label_present=present), alone(two, (y == 1).long()))
    torch.testing.assert_close(
        loss.on_probabilities(z.softmax(1), y, label_present=present), alone(two, (y == 1).long())
    )


@pytest.mark.parametrize("name", EVERY)
def test_channels_that_were_not_annotated_are_as_if_they_were_not_there(name: str):
    """Where each channel is a yes or no, an image's missing channel has neither value nor gradient."""
    loss = type(EVERY[name])(activation="sigmoid")  # pyright: ignore[reportCallIssue]
    made = torch.Generator().manual_seed(1)
    z = torch.randn((1, 3, 5, 4), generator=made)
    y = torch.randint(0, 2, (1, 3, 5, 4), generator=made)
    z.requires_grad_()
    value = loss(z, y, label_present=torch.tensor([[True, False, True]]))
    (slope,) = torch.autograd.grad(value, z)
    assert not slope[:, 1].any()
    without = loss(z.detach()[:, [0, 2]], y[:, [0, 2]])
    torch.testing.assert_close(value.detach(), without, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [tvl.LeafDice(), tvl.LeafDice(infer_missing=True)])
def test_an_image_without_any_annotation_costs_nothing(loss: tvl.LeafDice):
    z = torch.randn(2, 3, 6, requires_grad=True)
    y = torch.zeros(2, 6, dtype=torch.long)
    y[1, :3] = torch.tensor([1, 2, 1])
    present = None if loss.infer_missing else torch.tensor([[True, False, False], [True, True, True]])
    value = loss(z, y, label_present=present)
    (slope,) = torch.autograd.grad(value, z)
    alone = tvl.SoftDice()(z.detach()[1:], y[1:])
    assert float(value.detach()) == pytest.approx(float(alone) / 2, abs=1e-6)
    assert not slope[0].any()


def test_no_voxel_and_no_weight_cost_nothing():
    """All ignored, or all weights 0: means over voxels are 0, and nothing has a gradient."""
    y = torch.randint(0, 2, (2, 5, 4))
    for name, loss in EVERY.items():
        z = torch.randn(2, 3, 5, 4, requires_grad=True)
        for value in (loss(z, y, weight=torch.zeros(2, 1, 5, 4)), loss(z, torch.full_like(y, 255))):
            (slope,) = torch.autograd.grad(value, z)
            assert not slope.any(), name
            assert bool(torch.isfinite(value))
            if name in ("cross-entropy", "brier", "focal"):
                assert float(value.detach()) == 0


# Of a million voxels with probability 0.3 and a share of 0.1: what is not summed by the compiled loops.
SAME = {
    "dice semimetric": (tvl.DiceSemimetric(), 1 - 2 * 0.1 / 0.4),
    "dice++": (tvl.DicePlusPlus(gamma=3.0), 1 - 0.06 / (0.06 + 0.07**3 + 0.27**3)),
    "dice per voxel": (tvl.SoftDice(over="C", smooth_nr=0.1, smooth_dr=0.1), 1 - (0.06 + 0.1) / 0.5),
    "brier": (tvl.Brier(), 0.04),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_voxel_a_million_times_costs_what_it_costs_once(name: str):
    loss, wanted = SAME[name]
    z = torch.full((1, 1, 2**20), math.log(0.3 / 0.7))
    value = loss(z, torch.full((1, 1, 2**20), 0.1))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(wanted, rel=3e-7)


@pytest.mark.parametrize("loss", [tvl.Boundary(), tvl.SoftClDice(iterations=1), tvl.Lovasz()], ids=repr)
def test_sums_in_float32_are_those_in_float64(loss: Loss):
    made = torch.Generator().manual_seed(7)
    z = torch.randn((1, 1, 600, 600), generator=made)
    y = (torch.rand((1, 600, 600), generator=made) < 0.1).long()
    assert float(loss(z, y)) == pytest.approx(float(loss(z.double(), y)), rel=5e-7)


@pytest.mark.slow
def test_a_volume_of_512_cubed():
    """Four quarters of sure and unsure, true and false: sums over 134 million voxels keep their digits."""
    n = 512
    z = torch.full((1, 1, n, n, n), -3.0)
    z[..., : n // 2, :] = 2.0
    z.requires_grad_()
    y = torch.zeros(1, n, n, n, dtype=torch.uint8)
    y[:, : n // 4] = 1
    high, low = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3))
    voxels = n**3
    true, predicted, both = voxels / 4, voxels * (high + low) / 2, voxels * (high + low) / 8
    dice = 2 * both / (predicted + true + 1e-5)
    entropy = -(math.log(high) / 8 + math.log(low) / 8)
    entropy -= 3 / 8 * (math.log1p(-high) + math.log1p(-low))
    value = (tvl.CrossEntropy() + tvl.SoftDice())(z, y)
    assert float(value.detach()) == pytest.approx(entropy + 1 - dice, rel=1e-6)
    value.backward()
    slope = z.grad
    assert slope is not None
    for truth, rows in ((1, slice(0, n // 4)), (0, slice(n // 4, n))):
        for p, columns in ((high, slice(0, n // 2)), (low, slice(n // 2, n))):
            by_p = -(2 * truth - dice) / (predicted + true)
            wanted = (p - truth) / voxels + by_p * p * (1 - p)
            least, most = torch.aminmax(slope[0, 0, rows, columns])
            assert [float(least), float(most)] == pytest.approx([wanted] * 2, rel=1e-4)
