"""Reference values of the specification: the toy of eight voxels, reductions, partial labels."""

from __future__ import annotations

import pytest
import torch
from losscases import T, Y

from truevox import losses as tvl
from truevox.losses import Loss

TINY = 1e-7
VALUES: dict[str, tuple[Loss, float]] = {
    "soft dice": (tvl.SoftDice(smooth_dr=1e-12), 0.351351),
    "soft jaccard": (tvl.SoftJaccard(smooth_dr=1e-12), 0.520000),
    "squared dice": (tvl.SquaredDice(smooth_dr=1e-12), 0.195081),
    "tversky .3 .7": (tvl.Tversky(alpha=0.3, beta=0.7, smooth_dr=1e-12), 0.371728),
    "tversky .7 .3": (tvl.Tversky(alpha=0.7, beta=0.3, smooth_dr=1e-12), 0.329609),
    "cross-entropy": (tvl.CrossEntropy(), 0.338848),
    "cross-entropy, 2": (tvl.CrossEntropy(weight=(1, 2), normalise=False), 0.566368),
    "cross-entropy, 5/3": (tvl.CrossEntropy(weight=(1, 5 / 3), normalise=False), 0.490528),
    "focal": (tvl.Focal(), 0.0955715),
    "focal, alpha 1/4": (tvl.Focal(weight=(0.75, 0.25)), 0.0296329),
    "lovasz": (tvl.Lovasz(), 0.430000),
    "dice++ 1": (tvl.DicePlusPlus(gamma=1.0, smooth_dr=1e-12), 0.351351),
    "dice++ 2": (tvl.DicePlusPlus(gamma=2.0, smooth_dr=1e-12), 0.195081),
    "dice++ 3": (tvl.DicePlusPlus(gamma=3.0, smooth_dr=1e-12), 0.117890),
    "dice++ 4": (tvl.DicePlusPlus(gamma=4.0, smooth_dr=1e-12), 0.0752885),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize(("kind", "within"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_toy(name: str, kind: torch.dtype, within: float):
    """Of probabilities, of logits (minus infinity is a probability of 0), and of shares that are a mask."""
    loss, value = VALUES[name]
    t, z = T.to(kind), torch.logit(T).to(kind)
    assert z.min() == -torch.inf
    assert float(loss.on_probabilities(t, Y)) == pytest.approx(value, abs=within)
    assert float(loss(z, Y)) == pytest.approx(value, abs=within)
    assert float(loss(z, Y.unsqueeze(1).to(kind))) == pytest.approx(value, abs=within)


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (tvl.SoftDice(background=True, smooth_dr=1e-12), 0.268977),
        (tvl.SoftJaccard(background=True, smooth_dr=1e-12), 0.417258),
        (tvl.DiceSemimetric(background=True, smooth_dr=1e-12), 0.268977),
        (tvl.JaccardMetric(background=True, smooth_dr=1e-12), 0.417258),
        (tvl.Tversky(alpha=1.0, beta=1.0, background=True, smooth_dr=1e-12), 0.417258),
    ],
)
def test_mean_of_both_classes(loss: Loss, value: float):
    assert float(loss.on_probabilities(torch.cat([1 - T, T], 1), Y)) == pytest.approx(value, abs=1e-6)
    z = torch.logit(T.clamp(min=1e-7)).float()
    two = torch.cat([torch.zeros_like(z), z], 1)  # the softmax of 0 and z is the sigmoid of z
    assert float(loss(two, Y)) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    ("t", "dice", "semimetric", "metric"),
    [
        ([1, 0.7, 0.5, 0.3, 0, 0, 0, 0], 0.268, 0.0, 0.0),
        ([1, 1, 1, 0, 0, 0, 0, 0], 0.2, 0.2, 0.333333),
        (T.flatten().tolist(), 0.370297, 0.168317, 0.288136),
    ],
)
def test_soft_labels(t: list[float], dice: float, semimetric: float, metric: float):
    y = torch.tensor([[[1, 0.7, 0.5, 0.3, 0, 0, 0, 0]]], dtype=torch.float64)
    p = torch.tensor(t, dtype=torch.float64).view(1, 1, 8)
    for kind, value in ((tvl.SoftDice, dice), (tvl.DiceSemimetric, semimetric), (tvl.JaccardMetric, metric)):
        assert float(kind(smooth_dr=1e-12).on_probabilities(p, y)) == pytest.approx(value, abs=1e-6)


def test_optimum_of_a_soft_label_of_one_voxel():
    """Of soft Dice it is 1, with a loss of 0.538462; of the semimetric the label itself."""
    y = torch.full((1, 1, 1), 0.3, dtype=torch.float64)
    levels = torch.arange(0, 101, dtype=torch.float64) / 100
    for kind, where, value in ((tvl.SoftDice, 100, 0.538462), (tvl.DiceSemimetric, 30, 0.0)):
        loss = kind(smooth_dr=1e-12)
        found = torch.stack([loss.on_probabilities(t.view(1, 1, 1), y) for t in levels])
        assert int(found.argmin()) == where
        assert float(found.min()) == pytest.approx(value, abs=1e-6)


def test_dice_is_no_metric_and_jaccard_is():
    """A = {1}, B = {2}, C = {1, 2}: from A to B it is shorter by C, for Dice."""
    a, b, c = ([1, 0], [0, 1], [1, 1])

    def distance(kind: type[Loss], x: list[int], y: list[int]) -> float:
        t = torch.tensor(x, dtype=torch.float64).view(1, 1, 2)
        return float(kind().on_probabilities(t, torch.tensor([y])))

    dice = [distance(tvl.DiceSemimetric, *pair) for pair in ((a, b), (a, c), (c, b))]
    jaccard = [distance(tvl.JaccardMetric, *pair) for pair in ((a, b), (a, c), (c, b))]
    assert dice == pytest.approx([1, 1 / 3, 1 / 3], abs=1e-4)
    assert jaccard == pytest.approx([1, 1 / 2, 1 / 2], abs=1e-4)


# Probabilities of the unified focal loss's toy: the last is 0.01.
U = torch.tensor([0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0.01], dtype=torch.float64).view(1, 1, 8)


@pytest.mark.parametrize(
    ("symmetric", "values"), [(False, (0.159945, 0.275723, 0.391501)), (True, (0.125711, 0.319709, 0.513707))]
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_unified_focal(symmetric: bool, values: tuple[float, ...], kind: torch.dtype):
    within = 1e-6 if kind == torch.float64 else 1e-5
    z = torch.logit(U).to(kind)
    for share, value in zip((0.0, 0.5, 1.0), values, strict=True):
        loss = tvl.UnifiedFocal(share=share, symmetric=symmetric)
        assert float(loss.on_probabilities(U.to(kind), Y)) == pytest.approx(value, abs=within)
        assert float(loss(z, Y)) == pytest.approx(value, abs=within)
        assert float(loss(torch.cat([0 * z, z], 1), Y)) == pytest.approx(value, abs=within)


def test_unified_focal_by_its_two_indices():
    """Tversky of foreground .637394 and background .819165; gamma 0 leaves their plain mean."""
    loss = tvl.UnifiedFocal(share=1.0, gamma=0.0).on_probabilities(U, Y)
    assert float(loss) == pytest.approx(1 - (0.637394 + 0.819165) / 2, abs=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_unified_focal_of_a_perfect_prediction_is_finite(symmetric: bool, kind: torch.dtype):
    z = (200 * Y.view(1, 1, 8) - 100).to(kind).requires_grad_()
    value = tvl.UnifiedFocal(symmetric=symmetric)(z, Y)
    (slope,) = torch.autograd.grad(value, z)
    # The root of the foreground's cost is cut off at (1e-7)^(1/2).
    assert float(value.detach()) == pytest.approx(0, abs=4e-4)
    assert bool(torch.isfinite(slope).all())


@pytest.mark.parametrize(
    ("loss", "value", "slope"),
    [
        (tvl.LeafDice(smooth_dr=TINY), 0.666667, (-0.004630, 0.009259, -0.004630)),
        (tvl.MarginalDice(smooth_dr=TINY), 0.583333, (-0.006944, 0.013889, -0.006944)),
    ],
)
@pytest.mark.parametrize("inferred", [False, True])
def test_partial_labels(loss: tvl.LeafDice, value: float, slope: tuple[float, ...], inferred: bool):
    """Class 2 was not annotated in the first image: by what is said, or by what is found."""
    z = torch.zeros(2, 3, 6, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 2, 2, 0, 0]])
    made = type(loss)(smooth_dr=TINY, infer_missing=inferred)
    present = None if inferred else torch.tensor([[True, True, False], [True, True, True]])
    found = made(z, y, label_present=present)
    (by_logits,) = torch.autograd.grad(found, z)
    assert float(found.detach()) == pytest.approx(value, abs=1e-6)
    expected = torch.tensor(slope, dtype=torch.float64)
    torch.testing.assert_close(by_logits[0, :, 2], expected, rtol=0, atol=1e-6)


def test_leaf_dice_is_twice_image_wise_dice_where_half_the_labels_are_missing():
    z = torch.randn((2, 3, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 2, 2, 0, 0]])
    z.requires_grad_()
    (leaf,) = torch.autograd.grad(tvl.LeafDice(smooth_dr=1e-9, infer_missing=True)(z, y), z)
    (dice,) = torch.autograd.grad(tvl.SoftDice(smooth_dr=1e-9)(z, y), z)
    torch.testing.assert_close(leaf[0], 2 * dice[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(leaf[1], dice[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("nr", "dr", "slopes"),
    [
        (TINY, TINY, (0.0, 0.027778, 0.027778, 0.031250)),
        (1.0, 1.0, (0.0625, None, None, None)),
        (0.0, 1.0, (0.0, None, None, None)),
    ],
)
def test_push_on_an_empty_channel(nr: float, dr: float, slopes: tuple[float | None, ...]):
    y = torch.tensor([[[1, 1, 0, 0], [0, 0, 1, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]])
    for over, slope in zip(("I", "CI", "BI", "BCI"), slopes, strict=True):
        if slope is None:
            continue
        t = torch.full((2, 2, 4), 0.25, dtype=torch.float64, requires_grad=True)
        loss = tvl.SoftDice(over=over, smooth_nr=nr, smooth_dr=dr, activation="sigmoid")
        (by_t,) = torch.autograd.grad(loss.on_probabilities(t, y), t)
        assert by_t[1, 1].tolist() == pytest.approx([slope] * 4, abs=1e-6)
        if nr == 0:
            assert not by_t[1, 1].any()


@pytest.mark.parametrize(
    ("truth", "eps", "background", "foreground"),
    [
        (0, 1e-7, 1.0e-11, None),
        (0, 1.0, 9.803e-5, None),
        (0, 50.0, 2.2222e-3, None),
        (0, 100.0, 2.5e-3, None),
        (0, 200.0, 2.2222e-3, None),
        (0, 1000.0, 8.264e-4, None),
        (100, 1e-7, 5.000e-4, -9.500e-3),
        (100, 100.0, 1.3333e-3, -5.3333e-3),
    ],
)
def test_push_of_smoothing(truth: int, eps: float, background: float, foreground: float | None):
    """A thousand voxels at 0.1: in an empty image the push is strongest for eps of their sum."""
    t = torch.full((1, 1, 1000), 0.1, dtype=torch.float64, requires_grad=True)
    y = (torch.arange(1000) < truth).long().view(1, 1000)
    loss = tvl.SoftDice(smooth_nr=eps, smooth_dr=eps)
    (by_t,) = torch.autograd.grad(loss.on_probabilities(t, y), t)
    assert float(by_t[0, 0, -1]) == pytest.approx(background, rel=1e-4)
    if foreground is not None:
        assert float(by_t[0, 0, 0]) == pytest.approx(foreground, rel=1e-4)


def test_expected_volumes():
    assert tvl.expected_volumes([[120, 0], [80, 4], [0, 0], [200, 0], [0, 0]]) == pytest.approx((80.0, 0.8))
    positives = tvl.expected_volumes([[120, 0], [80, 0], [0, 0], [200, 0], [0, 0]], include_empty=False)
    assert positives == pytest.approx((133.333333, 0.0))
    smooth = tvl.SoftDice(over="BCI").for_volumes((80.0, 120.0), fraction=0.5)
    assert (smooth.smooth_nr, smooth.smooth_dr) == (50.0, 50.0)
