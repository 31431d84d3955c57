"""Compiled Lovász loss against its plain twin."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.kernels.lovasz import lovasz, lovasz_numpy


@given(st.integers(0, 10**6), st.integers(1, 700), st.sampled_from([3, 50, 10**6]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_is_that_of_its_twin(seed: int, size: int, levels: int, weighted: bool):
    made = np.random.default_rng(seed)
    p = (made.integers(0, levels + 1, (2, 3, size)) / levels).astype(np.float32)
    y = made.random((1, size)) < made.choice([0, 0.1, 0.5, 1])
    w = made.integers(0, 3, (1, size)).astype(np.float32)
    out = np.full_like(p, 7)
    loss, positives = lovasz(p, 1, 1, y, w if weighted else None, out)
    used = w[0] if weighted else np.ones(size)
    errors = np.where(y[0], np.float32(1) - p[1, 1], p[1, 1])
    wanted, slope = lovasz_numpy(errors[used > 0], y[0][used > 0], used[used > 0])
    assert positives == (used * y[0]).sum()
    np.testing.assert_allclose(loss, wanted, rtol=0, atol=1e-6)
    by_value = np.where(y[0][used > 0], -slope, slope)
    kept = errors[used > 0] > 0  # at no error, any slope between none and this one is right
    np.testing.assert_allclose(out[1, 1][used > 0][kept], by_value[kept], rtol=1e-5, atol=1e-6)
    assert not out[1, 1][used == 0].any()
    assert (out[0] == 7).all()
    assert (out[1, [0, 2]] == 7).all()
