"""What holds for any predictions and truth: range, symmetries, padding, monotony; sets of single voxels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losscases import EVERY, MASKS_ONLY, problem
from torch import Tensor

from truevox import losses as tvl
from truevox.losses import Loss

UNBOUNDED = {"cross-entropy", "focal", "focal 0", "focal 1/2", "unified focal", "unified focal, symmetric"}
SEEDS = st.integers(0, 10**6)
MAKES = {
    "dice": tvl.SoftDice,
    "jaccard": tvl.SoftJaccard,
    "squared": tvl.SquaredDice,
    "dice++": tvl.DicePlusPlus,
    "semimetric": tvl.DiceSemimetric,
    "metric": tvl.JaccardMetric,
    "tversky": tvl.Tversky,
}


def pair(seed: int, size: int = 9) -> tuple[Tensor, Tensor]:
    """Two maps of shares (1, 1, N), some of them 0 or 1."""
    made = torch.Generator().manual_seed(seed)
    both = (1.6 * torch.rand((2, 1, 1, size), generator=made, dtype=torch.float64) - 0.3).clamp(0, 1)
    return both[0], both[1]


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([1, 2, 4]), st.booleans(), st.sampled_from([0.1, 1.0, 30.0]))
def test_range(seed: int, channels: int, soft: bool, scale: float):
    """Scores between 0 and 1; Brier's of a softmax sums two errors; the others are not negative."""
    one = problem(seed, channels, (5, 4), soft=soft, weighted=True, ignored=not soft)
    for name, loss in EVERY.items():
        if (soft and name in MASKS_ONLY) or name == "boundary":
            continue
        for kind in (torch.float32, torch.float64):
            value = float(loss((scale * one.logits).to(kind), one.truth, weight=one.weight))
            most = float("inf") if name in UNBOUNDED else 2 if name == "brier" else 1
            assert -1e-6 <= value <= most + 1e-6, name


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_prediction_and_truth_change_over(seed: int):
    """Distances are symmetric; of Tversky's, alpha and beta change over too."""
    p, y = pair(seed)
    for name, kind in MAKES.items():
        if name == "tversky":
            a = tvl.Tversky(alpha=0.2, beta=0.9).on_probabilities(p, y)
            b = tvl.Tversky(alpha=0.9, beta=0.2).on_probabilities(y, p)
        else:
            a, b = kind().on_probabilities(p, y), kind().on_probabilities(y, p)
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(tvl.Brier().on_probabilities(p, y), tvl.Brier().on_probabilities(y, p))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_jaccard_is_a_metric(seed: int):
    a, b = pair(seed)
    c, _ = pair(seed + 1)

    def distance(x: Tensor, y: Tensor) -> float:
        return float(tvl.JaccardMetric(smooth_dr=1e-12).on_probabilities(x, y))

    assert distance(a, a) == pytest.approx(0, abs=1e-9)
    assert distance(a, b) <= distance(a, c) + distance(c, b) + 1e-9


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.permutations(range(4)))
def test_order_of_classes_is_nothing(seed: int, order: list[int]):
    """With background like the others: channels and labels renamed together."""
    one = problem(seed, 4, (5, 4))
    names = torch.empty(4, dtype=torch.long)
    names[torch.tensor(order)] = torch.arange(4)
    weights = (0.5, 1.0, 2.0, 4.0)
    losses: list[Loss] = [tvl.CrossEntropy(), tvl.Brier(), tvl.Focal(), tvl.MarginalDice()]
    losses += [tvl.GeneralisedDice(), tvl.UnifiedFocal(symmetric=True, delta=0.5)]
    losses += [make(background=True) for make in (*MAKES.values(), tvl.Lovasz, tvl.Boundary)]
    pairs = [(loss, loss) for loss in losses]
    pairs += [(tvl.CrossEntropy(weight=weights), tvl.CrossEntropy(weight=tuple(weights[k] for k in order)))]
    for before, after in pairs:
        torch.testing.assert_close(
            before(one.logits, one.truth), after(one.logits[:, order], names[one.truth]), rtol=1e-9, atol=1e-9
        )


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 40), st.booleans())
def test_padding_with_sure_background_changes_no_overlap(seed: int, pad: int, soft: bool):
    one = problem(seed, 1, (17,), soft=soft)
    z = torch.cat([one.logits, one.logits.new_full((2, 1, pad), -300.0)], 2)
    truth = torch.cat([one.truth, one.truth.new_zeros((*one.truth.shape[:-1], pad))], -1)
    losses = [make(over=over) for make in MAKES.values() for over in ("I", "BI")]
    losses += [tvl.LeafDice(), tvl.FocalTversky()]
    losses += [] if soft else [tvl.Lovasz(), tvl.Lovasz(over="BI")]
    for loss in losses:
        torch.testing.assert_close(loss(z, truth), loss(one.logits, one.truth), rtol=1e-12, atol=1e-12)
    # A mean over voxels has more of them: the same sum by another count.
    count = (17 + pad) / 17
    for loss in (tvl.CrossEntropy(), tvl.Brier(), tvl.Focal()):
        torch.testing.assert_close(count * loss(z, truth), loss(one.logits, one.truth))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.booleans())
def test_what_is_better_costs_less(seed: int, up: bool):
    """A voxel of the truth raised, or one beside it lowered: no loss rises, and most fall."""
    one = problem(seed, 1, (12,), batch=1)
    truth = one.truth.clone()
    truth[0, 0], truth[0, 1] = 1, 0
    better = one.logits.clone()
    better[0, 0, int(not up)] += 1.0 if up else -1.0
    for name, loss in EVERY.items():
        if name in ("boundary", "cldice"):
            continue
        before, after = float(loss(one.logits, truth)), float(loss(better, truth))
        assert after <= before + 1e-12, name
        if name not in ("lovasz", "dice per voxel"):
            assert after < before, name


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_voxels_may_be_repeated(seed: int, times: int):
    """A weight of a whole number is the voxel as often; ratios don't mind all voxels twice."""
    one = problem(seed, 3, (11,))
    counts = torch.randint(0, times + 1, (11,), generator=torch.Generator().manual_seed(seed))
    order = torch.repeat_interleave(torch.arange(11), counts)
    weight = counts.view(1, 1, 11).expand(2, 1, 11).double()
    z, truth = one.logits[..., order], one.truth[..., order]
    for name, loss in EVERY.items():
        if name in ("dice per voxel", "boundary", "cldice") or not len(order):
            continue
        torch.testing.assert_close(loss(one.logits, one.truth, weight=weight), loss(z, truth), msg=name)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_bounds_between_losses(seed: int):
    """J = D / (2 - D) of each set; Tversky grows with alpha and beta; Dice++ falls with gamma."""
    p, y = pair(seed)

    def of(loss: Loss) -> float:
        return float(loss.on_probabilities(p, y))

    dice, jaccard = of(tvl.SoftDice(smooth_dr=1e-12)), of(tvl.SoftJaccard(smooth_dr=1e-12))
    assert jaccard == pytest.approx(1 - (1 - dice) / (1 + dice), abs=1e-9)
    assert dice - 1e-12 <= jaccard <= 2 * dice + 1e-12
    grid = [of(tvl.Tversky(alpha=a, beta=b)) for a, b in ((0.2, 0.2), (0.5, 0.2), (0.5, 0.7), (1, 1))]
    assert grid == sorted(grid)
    pluses = [of(tvl.DicePlusPlus(gamma=g)) for g in (1.0, 1.5, 2.0, 3.0)]
    assert pluses == sorted(pluses, reverse=True)
    assert of(tvl.DiceSemimetric()) <= of(tvl.SoftDice()) + 1e-12


SETS: dict[str, Callable[[Tensor], Tensor]] = {
    "B": lambda x: x.sum(0, keepdim=True),
    "C": lambda x: x.sum(1, keepdim=True),
    "BC": lambda x: x.sum((0, 1), keepdim=True),
}


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(sorted(SETS)), st.booleans())
def test_sets_of_single_voxels(seed: int, over: str, background: bool):
    """Without I, a sum runs over batch or classes at one voxel."""
    one = problem(seed, 3, (4, 3), weighted=True)
    assert one.weight is not None
    first = 0 if background else 1
    p = one.logits.softmax(1)[:, first:]
    y = torch.nn.functional.one_hot(one.truth, 3).movedim(-1, 1).double()[:, first:]
    both, p, y = (SETS[over](one.weight * x) for x in (p * y, p, y))
    wanted = (1 - (2 * both + 0.5) / (p + y + 0.7)).mean()
    loss = tvl.SoftDice(over=over, smooth_nr=0.5, smooth_dr=0.7, background=background)
    value = loss(one.logits, one.truth, weight=one.weight)
    torch.testing.assert_close(value, wanted)
    summed = (tvl.CrossEntropy() + loss).parts(one.logits, one.truth, weight=one.weight)
    torch.testing.assert_close(summed[1], wanted)


def test_axes_in_any_order():
    assert tvl.SoftDice(over="IB") == tvl.SoftDice(over="BI") == tvl.SoftDice.batch_wise()
    assert tvl.SoftDice(over="ICB") == tvl.SoftDice.all_wise()
    assert tvl.SoftDice(over="IC") == tvl.SoftDice.class_wise()
    assert tvl.SoftDice() == tvl.SoftDice.image_wise()


@pytest.mark.parametrize("channels", [1, 3])
def test_shares_that_are_not_known_do_not_count(channels: int):
    """NaN in a soft target is the voxel left out: the loss of the others alone."""
    from truevox import losses

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 6, 5, 1, generator=generator, requires_grad=True)
    target = torch.rand(2, channels, 6, 5, 1, generator=generator)
    target = target / target.sum(1, keepdim=True) if channels > 1 else target
    holes = target.clone()
    holes[:, :, 4:] = torch.nan
    for loss in (losses.CrossEntropy(), losses.SoftDice(), losses.CrossEntropy() + losses.SoftDice()):
        got, wanted = loss(logits, holes), loss(logits[:, :, :4], target[:, :, :4])
        torch.testing.assert_close(got, wanted)
        (gradient,) = torch.autograd.grad(got, logits)
        assert bool((gradient[:, :, 4:] == 0).all())
