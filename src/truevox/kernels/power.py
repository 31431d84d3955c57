"""A power on a range, in one pass: what a gamma curve is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["power_on_range", "power_on_range_numpy"]

Array = NDArray[Any]
F, I = np.float32, np.int32  # noqa: E741 - compiled code is full of them
ROOT_HALF = I(0x3F3504F3)
"""Bits of the float sqrt(1/2): a mantissa from there on lies in [sqrt(1/2), sqrt(2))."""
LOG2E, LN2 = F(1 / np.log(2)), F(np.log(2))
NOUGHT = F(2.0**-60)


@njit(inline="always")
def log_rest(f: np.float32) -> np.float32:  # pragma: no cover - compiled
    """What f³ is multiplied by in log(1 + f) = f - f²/2 + f³ p(f), to a float's last bits.

    For 1 + f in [sqrt(1/2), sqrt(2)). Source of the coefficients: S. Moshier, Cephes (1989).
    """
    p = f * F(7.0376836292e-2) - F(1.1514610310e-1)
    p = p * f + F(1.1676998740e-1)
    p = p * f - F(1.2420140846e-1)
    p = p * f + F(1.4249322787e-1)
    p = p * f - F(1.6668057665e-1)
    p = p * f + F(2.0000714765e-1)
    p = p * f - F(2.4999993993e-1)
    return p * f + F(3.3333331174e-1)


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _power(x: Array, low: F, span: F, gamma: F, out: Array) -> None:  # pragma: no cover - compiled
    """Low + span * clip((x - low) / span, 0, 1) ** gamma, by 2 ** (gamma * log2)."""
    scale = F(1) / span
    for k in range(x.size):
        t = min(max((x[k] - low) * scale, NOUGHT), F(1))
        bits = F(t).view(I)
        power = (bits - ROOT_HALF) >> I(23)
        f = I(bits - (power << I(23))).view(F) - F(1)
        p = log_rest(f)
        log = f * f * f * p - F(0.5) * f * f + f
        exponent = max(gamma * (F(power) + log * LOG2E), F(-126))
        whole = I(exponent - F(0.5))  # exponents are at most 0, and this truncates: the nearest
        r = (exponent - F(whole)) * LN2
        e = r * F(1.3888889e-3) + F(8.3333333e-3)
        e = e * r + F(4.1666667e-2)
        e = e * r + F(1.6666667e-1)
        e = e * r + F(0.5)
        e = e * r * r + r + F(1)
        e *= I((whole + I(127)) << I(23)).view(F)
        out[k] = low + span * (e if t > NOUGHT else F(0))


def power_on_range(x: Array, low: Array, span: Array, gamma: float) -> Array:
    """Every channel's range [low, low + span] mapped to itself by a power; values outside are clipped.

    Parameters
    ----------
    x : (C, ...) array
    low, span : (C,) arrays
        Where the span is 0, the channel stays as it is.
    gamma : float
        Positive.

    Returns
    -------
    (C, ...) float32 array
        Good to a few rounding errors of the span.
    """
    x = np.ascontiguousarray(x, np.float32)
    out = np.empty_like(x)
    for channel in range(len(x)):
        if span[channel] > 0:
            flat = x[channel].reshape(-1), F(low[channel]), F(span[channel]), F(gamma)
            _power(*flat, out[channel].reshape(-1))
        else:
            out[channel] = x[channel]
    return out


def power_on_range_numpy(x: Array, low: Array, span: Array, gamma: float) -> Array:
    """Plain twin of :func:`power_on_range`, in float64."""
    to = (-1, *(1,) * (x.ndim - 1))
    low, span = np.asarray(low, np.float64).reshape(to), np.asarray(span, np.float64).reshape(to)
    unit = np.clip((x - low) / np.where(span > 0, span, 1), 0, 1)
    return np.where(span > 0, low + span * unit**gamma, x)
