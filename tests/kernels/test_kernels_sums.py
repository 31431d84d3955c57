"""Compiled sums over voxels, and their gradients, against their plain twins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from truevox.kernels.focal_sums import focal_sums, focal_sums_gradient, focal_sums_numpy
from truevox.kernels.voxel_sums import (
    BLOCK,
    SUMS,
    exp,
    log,
    log1p,
    voxel_sums,
    voxel_sums_gradient,
    voxel_sums_numpy,
)

Array = NDArray[np.float64]
F = np.float32
SIZES = [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]


def draw(seed: int, channels: int, size: int, soft: bool, softmax: bool) -> tuple[NDArray, NDArray, NDArray]:
    """Logits (C, N), labels (N,) of which some are 9, or shares (C, N), and weights (N,)."""
    made = np.random.default_rng(seed)
    z = (4 * made.normal(size=(channels, size))).astype(F)
    w = made.choice([0, 0.5, 1, 3], size).astype(F)
    if not soft:
        return z, made.choice([*range(max(channels, 2)), 9], size), w
    shares = made.random((channels, size))
    return z, (shares / shares.sum(0) if softmax else shares).astype(F), w


def one_hot(truth: NDArray, channels: int) -> Array:
    first = int(channels == 1)
    return np.stack([truth == c + first for c in range(channels)]).astype(float)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 5]),
    st.sampled_from(SIZES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_sums_are_those_of_the_twin(
    seed: int, channels: int, size: int, soft: bool, softmax: bool, weighted: bool
):
    z, truth, w = draw(seed, channels, size, soft, softmax)
    weight = w if weighted else None
    given = {"softmax": softmax, "ignore": 9}
    made = voxel_sums(z, truth, weight, **given, span=(0, size))
    wanted = voxel_sums_numpy(z, truth, weight, **given)
    assert made.shape == (channels, len(SUMS))
    within = {"rtol": 1e-6, "atol": 1e-6 * (w.sum() if weighted else size)}
    np.testing.assert_allclose(made, wanted, **within)
    parts = [voxel_sums(z, truth, weight, **given, span=s) for s in ((0, size // 3), (size // 3, size))]
    np.testing.assert_allclose(sum(parts), wanted, **within)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 5]),
    st.sampled_from(SIZES),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.5]),
)
def test_focal_sums_are_those_of_the_twin(seed: int, channels: int, size: int, softmax: bool, gamma: float):
    z, truth, w = draw(seed, channels, size, True, softmax)
    made = focal_sums(z, truth, w, gamma, softmax=softmax, ignore=9, span=(0, size))
    np.testing.assert_allclose(
        made, focal_sums_numpy(z, truth, w, gamma, softmax=softmax), rtol=1e-6, atol=1e-6 * w.sum()
    )
    labels = draw(seed, channels, size, False, softmax)[1]
    kept = np.where(labels == 9, 0, w).astype(F)
    hard = focal_sums(z, labels, w, gamma, softmax=softmax, ignore=9, span=(0, size))
    wanted = focal_sums_numpy(z, one_hot(labels, channels), kept, gamma, softmax=softmax)
    np.testing.assert_allclose(hard, wanted, rtol=1e-6, atol=1e-6 * w.sum())


def slope_of(twin: Callable[[NDArray, int], Array], z: NDArray, slope: Array) -> Array:
    """Gradient of (slope * twin).sum() by the logits: voxel by voxel, by differences of fourth order."""
    step, made = 1e-3, np.zeros(z.shape)
    for k in range(z.shape[1]):
        for c in range(len(z)):
            found = []
            for times in (-2, -1, 1, 2):
                moved = z[:, k : k + 1].astype(float)
                moved[c] += times * step
                found.append((slope * twin(moved, k)).sum())
            made[c, k] = (found[0] - 8 * found[1] + 8 * found[2] - found[3]) / (12 * step)
    return made


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_is_the_slope_of_the_twin(softmax: bool, soft: bool, channels: int):
    """Eleven voxels, over and over: across blocks, and in the middle of a span."""
    z, truth, w = draw(0, channels, 11, soft, softmax)
    slope = np.random.default_rng(1).normal(size=(channels, len(SUMS)))
    slope[:, 7] *= not softmax  # there is no such sum among exclusive classes
    given = {"softmax": softmax, "ignore": 9}

    def twin(moved: NDArray, k: int) -> Array:
        return voxel_sums_numpy(moved, truth[..., k : k + 1], w[k : k + 1], **given)

    wanted = slope_of(twin, z, slope)
    times = 3 * BLOCK // 11
    many = np.tile(z, times), np.tile(truth, times), np.tile(w, times)
    out = np.full((channels, 11 * times), 77, F)
    first = 5 * 11
    voxel_sums_gradient(*many, slope, out, **given, span=(first, 11 * times))
    np.testing.assert_allclose(out[:, first:], np.tile(wanted, times - 5), rtol=1e-4, atol=1e-5)
    assert (out[:, :first] == 77).all()


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.3])
def test_focal_gradient_is_the_slope_of_the_twin(softmax: bool, soft: bool, gamma: float):
    z, truth, w = draw(2, 3, 11, soft, softmax)
    slope = np.random.default_rng(3).normal(size=(3, 2))
    slope[:, 1] *= not softmax
    shares = truth if soft else one_hot(truth, 3)
    kept = w if soft else np.where(truth == 9, 0, w)

    def twin(moved: NDArray, k: int) -> Array:
        return focal_sums_numpy(moved, shares[:, k : k + 1], kept[k : k + 1], gamma, softmax=softmax)

    wanted = slope_of(twin, z, slope)
    times = 2 * BLOCK // 11
    many = np.tile(z, times), np.tile(truth, times), np.tile(w, times)
    out = np.empty((3, 11 * times), F)
    focal_sums_gradient(*many, gamma, slope, out, softmax=softmax, ignore=9, span=(0, 11 * times))
    np.testing.assert_allclose(out, np.tile(wanted, times), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_makes_all_sums_no_number(softmax: bool, bad: float):
    z, truth, w = draw(4, 3, 2 * BLOCK, False, softmax)
    z[1, BLOCK + 3] = bad
    given = {"softmax": softmax, "ignore": 9, "span": (0, 2 * BLOCK)}
    assert np.isnan(voxel_sums(z, truth, w, **given)).all()
    assert np.isnan(focal_sums(z, truth, w, 2.0, **given)).all()
    given["span"] = (0, BLOCK)
    assert np.isfinite(voxel_sums(z, truth, w, **given)).all()


@pytest.mark.parametrize("softmax", [False, True])
def test_a_label_of_no_class_makes_its_sums_no_number(softmax: bool):
    z, truth, _ = draw(5, 3, 50, False, softmax)
    for label in (-1, 3):
        truth[7] = label
        made = voxel_sums(z, truth, None, softmax=softmax, ignore=9, span=(0, 50))
        assert np.isnan(made[:, SUMS.index("voxels")]).all()


@pytest.mark.parametrize("softmax", [False, True])
def test_minus_infinity_is_a_probability_of_none(softmax: bool):
    z = np.array([[0.0, 3.0], [-np.inf, -np.inf], [0.0, 3.0]], F)
    truth = np.array([0, 2])
    made = voxel_sums(z, truth, None, softmax=softmax, ignore=9, span=(0, 2))
    assert np.isfinite(made).all()
    # The first voxel's classes are even; so are the second's.
    p = [0.5, 0.5] if softmax else [0.5, 1 / (1 + np.exp(-3))]
    assert made[:, SUMS.index("predicted")] == pytest.approx([sum(p), 0, sum(p)], rel=1e-6)
    assert made[:, SUMS.index("cross_entropy")] == pytest.approx([-np.log(p[0]), 0, -np.log(p[1])], rel=1e-6)
    focal = focal_sums(z, truth, None, 2.0, softmax=softmax, ignore=9, span=(0, 2))
    by_hand = [-((1 - q) ** 2) * np.log(q) for q in p]
    assert focal[:, 0] == pytest.approx([by_hand[0], 0, by_hand[1]], rel=1e-5)


@pytest.mark.parametrize("softmax", [False, True])
def test_the_error_does_not_grow_with_the_volume(softmax: bool):
    """Up to 512³ voxels of one level, whose roundings never cancel; zeros take no memory until written."""
    channels = 1 + softmax
    given = {"softmax": softmax, "ignore": 9}
    means = []
    for size in (1000, 2**17 + 1, 512**3):
        z, truth = np.zeros((channels, size), F), np.zeros(size, np.int64)
        made = voxel_sums(z, truth, None, **given, span=(0, size))
        cost = made[0, SUMS.index("cross_entropy" if softmax else "cross_entropy_against")]
        assert cost / size == pytest.approx(np.log(2), rel=1.2e-7)  # one rounding of a float
        assert made[:, SUMS.index("predicted")] == pytest.approx(size / 2, rel=1.2e-7)
        assert made[:, SUMS.index("voxels")].tolist() == [size] * channels
        focal = focal_sums(z, truth, None, 2.0, **given, span=(0, size))[0, 1 - softmax]
        assert focal / size == pytest.approx(np.log(2) / 4, rel=5e-7)
        means.append((cost / size, focal / size))
    np.testing.assert_allclose(means[1:], [means[0]] * 2, rtol=1e-12)


@pytest.mark.parametrize("softmax", [False, True])
def test_large_logits_keep_the_digits_of_their_differences(softmax: bool):
    """Logits of eighths near 8192 are exact in float32, and so are their differences."""
    z = (np.random.default_rng(6).integers(-24, 24, (3, 500)) / 8).astype(F)
    truth = np.arange(500) % 3
    given = {"softmax": softmax, "ignore": 9}
    far = z + F(8192)
    made = voxel_sums(far, truth, None, **given, span=(0, 500))
    np.testing.assert_allclose(made, voxel_sums_numpy(far, truth, None, **given), rtol=1e-6)
    made = focal_sums(far, truth, None, 2.0, **given, span=(0, 500))
    wanted = focal_sums_numpy(far, one_hot(truth, 3), None, 2.0, softmax=softmax)
    np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6 * 500)


def test_exponential_and_logarithms():
    """To a few units in the last place of a float (1.2e-7); what is below e^-50 is 0."""
    x = -np.concatenate([np.linspace(0, 1, 1001), np.linspace(1, 49.8, 1501)]).astype(F)
    made, wanted = np.array([exp(v) for v in x], float), np.exp(x.astype(float))
    assert (np.abs(made / wanted - 1) <= 1.2e-7 * (2 - 0.6 * x)).all()
    assert [exp(F(v)) for v in (-50.1, -1e4, -1e30)] == [0, 0, 0]
    large = np.geomspace(1, 1e6, 1001).astype(F)
    found = np.array([log(v) for v in large], float)
    np.testing.assert_allclose(found, np.log(large.astype(float)), rtol=3e-7, atol=1e-7)
    unit = np.concatenate([np.linspace(0, 1, 801), np.geomspace(1e-30, 1, 300)]).astype(F)
    found = np.array([log1p(v) for v in unit], float)
    np.testing.assert_allclose(found, np.log1p(unit.astype(float)), rtol=3e-7)
