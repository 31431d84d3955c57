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
DRAWN = np.stack([add_normal(np.zeros(2**17, np.float32), 1.0, 7919 * s).astype(float) for s in range(SEEDS)])


@given(st.integers(0, 2**64 - 1), st.integers(1, 9000), st.floats(0.1, 50))
@settings(max_examples=30, deadline=None)
def test_noise_is_that_of_its_twin(seed: int, size: int, std: float):
    x = np.linspace(-3, 5, size, dtype=np.float32).reshape(1, size)
    made = add_normal(x, std, seed)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, add_normal_numpy(x, std, seed), rtol=0, atol=1e-5 * std + 1e-6)


def test_whole_numbers_are_those_of_xoshiro():
    """The reference code of Blackman and Vigna, in Python integers, for one stream."""
    from truevox.kernels.noise import STREAMS, _draw, _states

    state = _states(12345)
    s = [int(w) for w in state[:, 3]]
    drawn = np.empty((50, STREAMS), np.uint32)
    _draw(state, drawn)

    def turn(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & 0xFFFFFFFF

    for value in drawn[:, 3]:
        assert int(value) == (turn((s[0] + s[3]) & 0xFFFFFFFF, 7) + s[0]) & 0xFFFFFFFF
        t = (s[1] << 9) & 0xFFFFFFFF
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = turn(s[3], 11)


def _uniform(pvalues) -> bool:
    return float(stats.kstest(pvalues, "uniform").pvalue) > 1e-3


def test_noise_is_normal():
    n = DRAWN.shape[1]
    assert _uniform([stats.kstest(z, "norm").pvalue for z in DRAWN])
    # Mean, variance and kurtosis of n normal numbers have known errors of their own.
    assert _uniform(stats.norm.sf(DRAWN.mean(1) * np.sqrt(n)))
    assert _uniform(stats.chi2.sf(n * (DRAWN**2).mean(1), n))
    assert _uniform(stats.norm.sf(stats.kurtosis(DRAWN, axis=1) * np.sqrt(n / 24)))
    for tail in (3.0, 4.0, 4.5):
        for side in (1, -1):
            beyond, expected = (side * DRAWN > tail).sum(), DRAWN.size * stats.norm.sf(tail)
            assert abs(beyond - expected) < 4 * np.sqrt(expected)


@pytest.mark.parametrize("lag", [1, 2, 16, 64, 2048, 4096])
def test_neighbours_are_independent(lag: int):
    """Also of the pairs that share a radius (2048 apart), and of their squares."""
    a, b = DRAWN[:, :-lag], DRAWN[:, lag:]
    n = a.shape[1]
    assert _uniform(stats.norm.sf((a * b).mean(1) * np.sqrt(n)))
    squares = ((a**2 - 1) * (b**2 - 1)).mean(1) * np.sqrt(n) / 2
    assert _uniform(stats.norm.sf(squares))


def test_seeds_are_independent():
    n = DRAWN.shape[1]
    assert _uniform(stats.norm.sf((DRAWN[1:] * DRAWN[:-1]).mean(1) * np.sqrt(n)))


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
