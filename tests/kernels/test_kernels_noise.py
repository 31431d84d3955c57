"""Noise and gamma: against NumPy in float64, and noise against the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from truevox.kernels.noise import add_normal, add_normal_numpy
from truevox.kernels.power import power_on_range, power_on_range_numpy

SEEDS = 40
SHAPE = (1, 8, 64, 256)
DRAWN = np.stack([add_normal(np.zeros(SHAPE, np.float32), 1.0, 7919 * s).astype(float) for s in range(SEEDS)])
PLAIN = DRAWN.reshape(SEEDS, -1)


@given(
    st.integers(0, 2**63),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 90)),
    st.tuples(*[st.integers(-200, 200)] * 3),
    st.floats(0.1, 50),
)
@settings(max_examples=30, deadline=None)
def test_noise_is_that_of_its_twin(seed: int, shape, place, std: float):
    x = np.linspace(-3, 5, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    made = add_normal(x, std, seed, place)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, add_normal_numpy(x, std, seed, place), rtol=0, atol=1e-5 * std + 1e-6)


@given(st.tuples(*[st.integers(0, 6)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.integers(-300, 300))
@settings(max_examples=30, deadline=None)
def test_a_window_sees_what_the_whole_shows(start, size, origin: int):
    whole = add_normal(np.zeros((2, 15, 15, 15), np.float32), 1.0, 5, (origin, origin, origin))
    window = (slice(None), *(slice(a, a + n) for a, n in zip(start, size, strict=True)))
    part = add_normal(np.zeros((2, *size), np.float32), 1.0, 5, [origin + a for a in start])
    assert np.array_equal(whole[window], part)


def _uniform(pvalues) -> bool:
    return float(stats.kstest(pvalues, "uniform").pvalue) > 1e-3


def test_noise_is_normal():
    n = PLAIN.shape[1]
    assert _uniform([stats.kstest(z, "norm").pvalue for z in PLAIN])
    # Mean, variance and kurtosis of n normal numbers have known errors of their own.
    assert _uniform(stats.norm.sf(PLAIN.mean(1) * np.sqrt(n)))
    assert _uniform(stats.chi2.sf(n * (PLAIN**2).mean(1), n))
    assert _uniform(stats.norm.sf(stats.kurtosis(PLAIN, axis=1) * np.sqrt(n / 24)))
    for tail in (3.0, 4.0, 4.5):
        for side in (1, -1):
            beyond, expected = (side * PLAIN > tail).sum(), PLAIN.size * stats.norm.sf(tail)
            assert abs(beyond - expected) < 4 * np.sqrt(expected)


STEPS = [(0, 0, 1), (0, 0, 2), (0, 0, 16), (0, 1, 0), (0, 2, 0), (1, 0, 0), (2, 0, 0), (1, 1, 1), (0, 1, -1)]


@pytest.mark.parametrize("step", STEPS)
def test_neighbours_are_independent(step):
    """Also of the rows that share a radius (an even one and the next), and of their squares."""
    near = (
        slice(None),
        slice(None),
        *(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(step, SHAPE[1:], strict=True)),
    )
    far = (
        slice(None),
        slice(None),
        *(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step, SHAPE[1:], strict=True)),
    )
    a, b = DRAWN[near].reshape(SEEDS, -1), DRAWN[far].reshape(SEEDS, -1)
    n = a.shape[1]
    assert _uniform(stats.norm.sf((a * b).mean(1) * np.sqrt(n)))
    squares = ((a**2 - 1) * (b**2 - 1)).mean(1) * np.sqrt(n) / 2
    assert _uniform(stats.norm.sf(squares))


def test_rows_have_no_spectrum():
    """The power of every frequency is exponentially distributed: no period, no stripe."""
    power = np.abs(np.fft.rfftn(DRAWN[:, 0], axes=(1, 2, 3))[:, 1:, 1:, 1:-1]) ** 2 / np.prod(SHAPE)
    assert _uniform([stats.kstest(p.ravel(), "expon").pvalue for p in power])


def test_seeds_and_channels_are_independent():
    n = PLAIN.shape[1]
    assert _uniform(stats.norm.sf((PLAIN[1:] * PLAIN[:-1]).mean(1) * np.sqrt(n)))
    channels = add_normal(np.zeros((30, 8, 64, 32), np.float32), 1.0, 1).reshape(30, -1).astype(float)
    assert _uniform(stats.norm.sf((channels[1:] * channels[:-1]).mean(1) * np.sqrt(channels.shape[1])))


@given(st.floats(0.05, 8), st.integers(-2000, 2000), st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_power_is_that_of_its_twin(gamma: float, low: int, span: int):
    """Whole numbers, as differences of floats would be rounded differently on both sides."""
    x = np.arange(low - 5, low + span + 6, dtype=np.float32)
    x = np.stack([x, np.full(x.size, 7.0, np.float32)])
    ranges = np.array([low, 7]), np.array([span, 0])
    made = power_on_range(x, *ranges, gamma)
    wanted = power_on_range_numpy(x, *ranges, gamma)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-6 * span + 1e-6 * abs(low))
    np.testing.assert_array_equal(made[1], x[1])


@given(st.floats(0.05, 8))
@settings(max_examples=60, deadline=None)
def test_power_of_the_unit_range(gamma: float):
    x = np.concatenate([[0, 1], 10.0 ** -np.linspace(0, 12, 300), np.linspace(0, 1, 501)])
    x = x.astype(np.float32)[None]
    made = power_on_range(x, np.zeros(1), np.ones(1), gamma)
    np.testing.assert_allclose(made, x.astype(float) ** gamma, rtol=0, atol=1e-6)
