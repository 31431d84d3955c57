"""Lovász loss: the values of the specification, corners, thresholds, ties, and the published formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.lovasz import Lovasz

torch.set_num_threads(1)
Y = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
T = torch.tensor([0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0]).view(1, 1, 8)
Z = torch.tensor([2, 0.5, -1, -0.5, -1.5, -2, -3, -4]).view(1, 1, 8)


def published(errors: Tensor, truth: Tensor) -> Tensor:
    """Berman et al., algorithm 1: errors in descending order times the increments of the Jaccard loss."""
    order = torch.argsort(errors, descending=True)
    y = truth[order].to(errors.dtype)
    size = y.sum()
    jaccard = 1 - (size - y.cumsum(0)) / (size + (1 - y).cumsum(0))
    return (errors[order] * torch.diff(jaccard, prepend=jaccard.new_zeros(1))).sum()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_values_of_the_specification(kind: torch.dtype):
    t = T.to(kind)
    assert float(Lovasz().on_probabilities(t, Y)) == pytest.approx(0.43, abs=1e-6)
    both = Lovasz(background=True).on_probabilities(torch.cat([1 - t, t], 1), Y)
    assert float(both) == pytest.approx(0.352054, abs=1e-6)
    assert float(Lovasz(hinge=True)(Z.to(kind), Y)) == pytest.approx(0.875, abs=1e-6)
    assert float(Lovasz().on_probabilities(t, 0 * Y)) == pytest.approx(0.9, abs=1e-6)
    assert float(Lovasz(classes="present").on_probabilities(t, 0 * Y)) == 0


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_corners_are_the_jaccard_loss(kind: torch.dtype):
    maps = np.array(list(itertools.product([0, 1], repeat=6)))
    for y in maps[1:]:
        union, both = np.maximum(maps, y).sum(1), (maps * y).sum(1)
        truth = torch.from_numpy(np.broadcast_to(y, maps.shape).copy())
        losses = Lovasz().on_probabilities(torch.from_numpy(maps).to(kind).unsqueeze(1), truth)
        assert float(losses) == pytest.approx((1 - both / union).mean(), abs=1e-7)
    for y, p in itertools.product(maps[1::7], maps):
        value = Lovasz().on_probabilities(torch.tensor(p).to(kind).view(1, 1, 6), torch.tensor(y).view(1, 6))
        assert float(value) == pytest.approx(1 - (p * y).sum() / np.maximum(p, y).sum(), abs=1e-7)


def _draw(seed: int, size: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    made = np.random.default_rng(seed)
    return made.integers(0, levels + 1, size) / levels, made.random(size) < 0.4


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([2, 8, 1024]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_is_the_integral_over_thresholds(seed: int, size: int, levels: int, exact: bool):
    """Ties, no truth and nothing but truth included: levels are exact in both types."""
    p, y = _draw(seed, size, levels)
    errors, expected = np.where(y, 1 - p, p), 0.0
    for low in np.arange(levels) / levels:
        wrong = errors > low
        union = (y | wrong).sum()
        expected += wrong.sum() / union / levels if union else 0
    kind = torch.float64 if exact else torch.float32
    made = Lovasz(classes="all").on_probabilities(
        torch.tensor(p, dtype=kind).view(1, 1, -1), torch.tensor(y, dtype=torch.long).view(1, -1)
    )
    assert float(made) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10**6), st.integers(2, 40), st.booleans())
@settings(max_examples=30, deadline=None)
def test_order_of_voxels_is_nothing(seed: int, size: int, hinge: bool):
    p, y = _draw(seed, size, 4)
    order = np.random.default_rng(seed).permutation(size)
    found = []
    for picked in (np.arange(size), order):
        x = torch.tensor(4 * p[picked] - 2, dtype=torch.float32).view(1, 1, -1).requires_grad_()
        value = Lovasz(hinge=hinge)(x, torch.tensor(y[picked], dtype=torch.long).view(1, -1))
        value.backward()
        found.append((float(value.detach()), x.grad.flatten()))  # type: ignore[union-attr]
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    torch.testing.assert_close(found[0][1][torch.from_numpy(order)], found[1][1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("over", ["I", "BI"])
@pytest.mark.parametrize("hinge", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_gradient_of_the_published_formula(over: str, hinge: bool, kind: torch.dtype):
    torch.manual_seed(1)
    channels = 1 if hinge else 3
    z = torch.randn(2, channels, 6, 7, dtype=torch.float64)
    y = torch.randint(0, max(channels, 2), (2, 6, 7))
    plain = z.clone().requires_grad_()
    p = plain if hinge else plain.softmax(1)
    losses = []
    for rows in [[0], [1]] if over == "I" else [[0, 1]]:
        for c in range(channels):
            truth = (y[rows] == (1 if hinge else c)).flatten()
            x = p[rows, c].flatten()
            errors = torch.where(truth, 1 - x, 1 + x if hinge else x)
            losses.append(published(errors.clamp(min=0), truth))
    wanted = torch.stack(losses).mean()
    wanted.backward()
    ours = z.to(kind).requires_grad_()
    value = Lovasz(over=over, background=True, hinge=hinge)(ours, y)
    value.backward()
    assert float(value.detach()) == pytest.approx(float(wanted.detach()), abs=1e-6)
    torch.testing.assert_close(ours.grad.double(), plain.grad, rtol=0, atol=1e-6)  # type: ignore[union-attr]


def test_gradcheck():
    torch.manual_seed(2)
    z, y = torch.randn(2, 3, 9, dtype=torch.float64, requires_grad=True), torch.randint(0, 3, (2, 9))
    assert torch.autograd.gradcheck(lambda x: Lovasz()(x, y), (z,))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("hinge", [False, True])
def test_weight_is_how_often(kind: torch.dtype, hinge: bool):
    torch.manual_seed(3)
    z, y = torch.randn(1, 1, 30, dtype=kind), torch.randint(0, 2, (1, 30))
    times = torch.randint(0, 4, (30,))
    weighted, repeated = z.clone().requires_grad_(), z.clone().requires_grad_()
    a = Lovasz(hinge=hinge)(weighted, y, weight=times.view(1, 1, 30).float())
    b = Lovasz(hinge=hinge)(repeated.repeat_interleave(times, 2), y.repeat_interleave(times, 1))
    a.backward()
    b.backward()
    assert float(a) == pytest.approx(float(b), abs=1e-6)
    torch.testing.assert_close(weighted.grad, repeated.grad, rtol=0, atol=1e-6)


def test_ignored_voxels_and_missing_labels_are_left_out():
    torch.manual_seed(4)
    z, y = torch.randn(2, 3, 20), torch.randint(0, 3, (2, 20))
    ignored = y.clone()
    ignored[:, 15:] = 255
    assert float(Lovasz()(z, ignored)) == pytest.approx(float(Lovasz()(z[..., :15], y[:, :15])), abs=1e-6)
    present = torch.tensor([[True, True, False], [True, True, True]])
    without = torch.stack([torch.logsumexp(z[0, [0, 2]], 0), z[0, 1]])[None]
    first = Lovasz()(without, (y[:1] == 1).long())
    second = Lovasz()(z[1:], y[1:])
    made = Lovasz()(z, y, label_present=present)
    assert float(made) == pytest.approx(float(first + second) / 2, abs=1e-6)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_are_finite(kind: torch.dtype):
    z = torch.tensor([-3e4, 3e4, 0, -3e4, 3e4, 0], dtype=kind).view(1, 1, 6).requires_grad_()
    for y in (torch.zeros(1, 6), torch.ones(1, 6), torch.tensor([[1, 1, 1, 0, 0, 0]])):
        for hinge in (False, True):
            value = Lovasz(hinge=hinge)(z, y.long())
            (slope,) = torch.autograd.grad(value, z)
            assert bool(torch.isfinite(value))
            assert bool(torch.isfinite(slope).all())
            assert (value.dtype, slope.dtype) == (torch.float32, kind)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Lovasz(over="C"), "`over` of a Lovász loss"),
        (lambda: Lovasz(classes="some"), "`classes` of a Lovász loss"),
        (lambda: Lovasz(hinge=True)(Z.repeat(1, 2, 1), Y), "Lovász hinge is for logits"),
        (lambda: Lovasz(hinge=True).on_probabilities(T, Y), "Lovász hinge is for logits"),
        (lambda: Lovasz()(Z, T), "is 0 or 1"),
        (lambda: Lovasz()(Z * torch.nan, Y), "NaN or infinity"),
    ],
)
def test_bad_input(make, says: str):
    with pytest.raises(GraphError, match=says):
        make()
