# pyright: reportArgumentType=false
"""Values and gradients of MONAI's losses, where definitions agree."""

from __future__ import annotations

import pytest
import torch
from losscases import Problem, problem
from torch import Tensor

from truevox import losses as tvl
from truevox.losses import Loss

monai = pytest.importorskip("monai.losses", reason="MONAI's losses are what ours are compared with")


def mask_of(one: Problem) -> Tensor:
    """Truth as MONAI takes it: labels or shares (B, 1 or C, *spatial), floats."""
    return one.truth.double() if one.truth.shape == one.logits.shape else one.truth.unsqueeze(1).double()


def agree(ours: Loss, theirs, one: Problem, factor: float = 1.0, within: float = 1e-9) -> None:
    value, slope = one.of(ours)
    z = one.logits.clone().requires_grad_()
    wanted = theirs(z, mask_of(one)) * factor
    (by_logits,) = torch.autograd.grad(wanted, z)
    assert float(value) == pytest.approx(float(wanted.detach()), abs=within)
    torch.testing.assert_close(slope, by_logits, rtol=within, atol=within)


ONE = problem(0, 1, (4, 5, 3))
THREE = problem(1, 3, (4, 5, 3), batch=3)
SOFT = problem(2, 1, (4, 5, 3), soft=True)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("nr", "dr"), [(0.0, 1e-5), (3.0, 3.0), (0.5, 2.0)])
@pytest.mark.parametrize("kind", ["dice", "jaccard", "squared"])
def test_dice(batch: bool, nr: float, dr: float, kind: str):
    over = "BI" if batch else "I"
    # MONAI's Jaccard has everything twice, smoothing alone once; it squares labels in float32.
    half = 0.5 if kind == "jaccard" else 1.0
    make = {"dice": tvl.SoftDice, "jaccard": tvl.SoftJaccard, "squared": tvl.SquaredDice}[kind]
    names = {"jaccard": kind == "jaccard", "squared_pred": kind == "squared"}
    given = {"smooth_nr": nr, "smooth_dr": dr, "batch": batch, **names}
    ours = {"over": over, "smooth_nr": half * nr, "smooth_dr": half * dr}
    within = 1e-7 if kind == "squared" else 1e-9
    agree(make(**ours), monai.DiceLoss(sigmoid=True, **given), ONE, within=within)
    several = monai.DiceLoss(softmax=True, to_onehot_y=True, include_background=False, **given)
    agree(make(**ours), several, THREE, within=within)
    every = monai.DiceLoss(softmax=True, to_onehot_y=True, **given)
    agree(make(**ours, background=True), every, THREE, within=within)


@pytest.mark.parametrize(
    ("ours", "names"),
    [
        (tvl.SoftDice(), {}),
        (tvl.DiceSemimetric(), {"soft_label": True}),
        (tvl.JaccardMetric(smooth_dr=5e-6), {"soft_label": True, "jaccard": True}),
    ],
)
def test_dice_of_soft_labels(ours: Loss, names: dict[str, bool]):
    agree(ours, monai.DiceLoss(sigmoid=True, smooth_nr=0, smooth_dr=1e-5, **names), SOFT)


def test_ignored_voxels():
    one = problem(3, 1, (4, 5, 3), ignored=True)
    theirs = monai.DiceLoss(sigmoid=True, smooth_nr=0, smooth_dr=1e-5, ignore_index=255)
    agree(tvl.SoftDice(), theirs, one)


@pytest.mark.parametrize("batch", [False, True])
def test_dice_and_cross_entropy(batch: bool):
    over = "BI" if batch else "I"
    given = {"smooth_nr": 1.0, "smooth_dr": 1.0, "batch": batch, "lambda_dice": 0.4, "lambda_ce": 0.6}
    ours = 0.4 * tvl.SoftDice(over=over, smooth_nr=1.0, smooth_dr=1.0) + 0.6 * tvl.CrossEntropy()
    agree(ours, monai.DiceCELoss(sigmoid=True, **given), ONE)
    three = monai.DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, **given)
    agree(ours, three, THREE)
    weights = (1.0, 2.0, 5.0)
    weighted = monai.DiceCELoss(
        softmax=True, to_onehot_y=True, weight=torch.tensor(weights).double(), lambda_dice=0.0
    )
    agree(tvl.CrossEntropy(weight=weights), weighted, THREE)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.5])
def test_focal(gamma: float):
    """MONAI's works in float32, and takes the mean over the channels of a softmax too."""
    plain = monai.FocalLoss(gamma=gamma)
    agree(tvl.Focal(gamma=gamma), plain, ONE, within=1e-6)
    agree(tvl.Focal(gamma=gamma, weight=(0.75, 0.25)), monai.FocalLoss(gamma=gamma, alpha=0.25), ONE, 1, 1e-6)
    several = monai.FocalLoss(gamma=gamma, use_softmax=True, to_onehot_y=True)
    agree(tvl.Focal(gamma=gamma), several, THREE, factor=3, within=1e-6)
    weighted = monai.FocalLoss(gamma=gamma, use_softmax=True, to_onehot_y=True, weight=(1.0, 2.0, 5.0))
    agree(tvl.Focal(gamma=gamma, weight=(1, 2, 5)), weighted, THREE, factor=3, within=1e-6)
    overlapping = Problem(THREE.logits, (problem(4, 3, (4, 5, 3), batch=3).logits > 0).long())
    agree(tvl.Focal(gamma=gamma, activation="sigmoid"), plain, overlapping, within=1e-6)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7), (1.0, 1.0), (0.0, 2.0)])
def test_tversky(batch: bool, alpha: float, beta: float):
    over = "BI" if batch else "I"
    given = {"alpha": alpha, "beta": beta, "smooth_nr": 0.7, "smooth_dr": 1.3}
    agree(tvl.Tversky(over, **given), monai.TverskyLoss(sigmoid=True, batch=batch, **given), ONE)
    theirs = monai.TverskyLoss(softmax=True, to_onehot_y=True, include_background=False, batch=batch, **given)
    agree(tvl.Tversky(over, **given), theirs, THREE)
    agree(tvl.Tversky(over, **given), monai.TverskyLoss(sigmoid=True, batch=batch, **given), SOFT)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("power", "weights"), [(2.0, "square"), (1.0, "simple"), (0.0, "uniform")])
def test_generalised_dice(batch: bool, power: float, weights: str):
    """With next to no smoothing; an image that lacks a class included (not for equal weights)."""
    given = {"smooth_nr": 0.0, "smooth_dr": 1e-15, "w_type": weights, "batch": batch}
    over = "BCI" if batch else "CI"
    ours = tvl.GeneralisedDice(over, power=power, smooth_dr=1e-12)
    agree(ours, monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, **given), THREE, 1, 1e-6)
    without = monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, include_background=False, **given)
    ours = tvl.GeneralisedDice(over, power=power, smooth_dr=1e-12, background=False)
    agree(ours, without, THREE, 1, 1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_unified_focal_has_the_other_share_halved(share: float):
    """MONAI's weight w is w focal / 2 + (1 - w) Tversky, with other defaults."""
    one = problem(5, 2, (4, 5, 3))
    theirs = monai.AsymmetricUnifiedFocalLoss(to_onehot_y=True, weight=share, gamma=0.4, delta=0.6)
    overlap = tvl.UnifiedFocal(share=1.0, gamma=0.4)
    entropy = tvl.UnifiedFocal(share=0.0, gamma=0.4)
    agree(
        (1 - share) * overlap + 0.5 * share * entropy,
        lambda z, y: theirs(z.softmax(1), y),
        one,
        within=1e-6,
    )
