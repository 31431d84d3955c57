"""Gaussian noise, added in one pass: xoshiro128++ in sixteen streams, and the transform of Box and Muller.

The numbers are a function of the seed and of the place in the array alone. The state of the streams lies
beside each other, so that a processor draws several numbers with one instruction.

References
----------
G. E. P. Box and M. E. Muller, A note on the generation of random normal deviates, Ann. Math. Stat. 29 (1958).
D. Blackman and S. Vigna, Scrambled linear pseudorandom number generators, ACM Trans. Math. Softw. 47 (2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.power import log_rest

__all__ = ["add_normal", "add_normal_numpy"]

Array = NDArray[Any]
STREAMS = 16
BLOCK = 4096
"""Numbers made at a time: they stay in the processor's first cache."""
U, F, I = np.uint32, np.float32, np.int32  # noqa: E741 - compiled code is full of them
ROOT_HALF = I(0x3F3504F3)
"""Bits of the float sqrt(1/2): a mantissa from there on lies in [sqrt(1/2), sqrt(2))."""
LN2, STEP = F(np.log(2)), F(np.pi / 4 / 2**31)
_FAST = {"contract", "nsz", "arcp"}


def _states(seed: int) -> Array:
    """Sixteen states of four words each, by SplitMix64 of the seed: (4, 16) uint32."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, 2 * STREAMS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z.astype("<u8").view("<u4").astype(np.uint32).reshape(4, STREAMS)


@njit(cache=True, nogil=True)
def _draw(state: Array, out: Array) -> None:  # pragma: no cover - compiled
    """The next whole numbers of every stream: (rows, streams)."""
    w0, w1, w2, w3 = state[0], state[1], state[2], state[3]
    for row in range(out.shape[0]):
        line = out[row]
        for s in range(STREAMS):
            a, b, c, d = w0[s], w1[s], w2[s], w3[s]
            total = U(a + d)
            line[s] = U(((total << U(7)) | (total >> U(25))) + a)
            shifted = U(b << U(9))
            c, d = U(c ^ a), U(d ^ b)
            b, a = U(b ^ c), U(a ^ d)
            c, d = U(c ^ shifted), U((d << U(11)) | (d >> U(21)))
            w0[s], w1[s], w2[s], w3[s] = a, b, c, d


@njit(cache=True, nogil=True, fastmath=_FAST)
def _box_muller(first: Array, second: Array, cosines: Array, sines: Array) -> None:  # pragma: no cover
    """Two normal numbers from two whole ones. The polynomials are good to a float's last bits."""
    for k in range(first.size):
        # Radius sqrt(-2 log u), u = (whole + 1/2) / 2^31; log by exponent and mantissa.
        u = F(I(first[k] >> U(1))) + F(0.5)
        bits = F(u).view(I)
        power = (bits - ROOT_HALF) >> I(23)
        f = I(bits - (power << I(23))).view(F) - F(1)
        p = log_rest(f)
        log = f * f * f * p - F(0.5) * f * f + f + F(power - I(31)) * LN2
        radius = np.sqrt(F(-2) * min(log, F(0)))
        # Angle: the upper two bits choose the quadrant, the others lie in [-pi/4, pi/4).
        word = second[k]
        t = F(I(word << U(2))) * STEP
        t2 = t * t
        sine = ((F(-1.9515295891e-4) * t2 + F(8.3321608736e-3)) * t2 - F(1.6666654611e-1)) * t2 * t + t
        cosine = (F(2.4433157118e-5) * t2 - F(1.3887316255e-3)) * t2 + F(4.1666645683e-2)
        cosine = cosine * t2 * t2 - F(0.5) * t2 + F(1)
        radius *= F(1) - F(I((word >> U(30)) & U(2)))
        turned = (word >> U(30)) & U(1)
        cosines[k] = radius * (sine if turned else cosine)
        sines[k] = radius * (cosine if turned else sine)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _add(x: Array, std: np.float32, state: Array, out: Array) -> None:  # pragma: no cover - compiled
    whole = np.empty((BLOCK // STREAMS, STREAMS), np.uint32)
    flat = whole.reshape(BLOCK)
    normal, half = np.empty(BLOCK, np.float32), BLOCK // 2
    for start in range(0, x.size, BLOCK):
        _draw(state, whole)
        _box_muller(flat[:half], flat[half:], normal[:half], normal[half:])
        part, made = x[start : start + BLOCK], out[start : start + BLOCK]
        for k in range(part.size):
            made[k] = part[k] + std * normal[k]


def add_normal(x: Array, std: float, seed: int) -> Array:
    """``x`` plus independent numbers of N(0, std²): float32 of any shape, a new array.

    Parameters
    ----------
    seed : int
        Below 2**64. The same seed gives the same numbers, on any machine up to rounding.
    """
    x = np.ascontiguousarray(x, np.float32)
    out = np.empty_like(x)
    _add(x.reshape(-1), F(std), _states(seed), out.reshape(-1))
    return out


def add_normal_numpy(x: Array, std: float, seed: int) -> Array:
    """Plain twin of :func:`add_normal`, in float64."""
    state, blocks = _states(seed), -(-x.size // BLOCK)
    whole = np.empty((blocks * BLOCK // STREAMS, STREAMS), np.uint32)
    a, b, c, d = state
    for row in whole:
        total = a + d
        row[:] = (total << 7 | total >> 25) + a
        shifted = b << 9
        c, d = c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        c, d = c ^ shifted, d << 11 | d >> 21
    first, second = np.moveaxis(whole.reshape(blocks, 2, BLOCK // 2), 1, 0)
    radius = np.sqrt(-2 * np.log(((first >> 1) + 0.5) / 2**31))
    # The word as a signed fraction of the quadrant around 0, 90, 180 or 270 degrees.
    within = ((second.astype(np.int64) << 2 & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
    angle, quadrant = within * (np.pi / 4 / 2**31), second >> 30
    turned, sign = quadrant & 1 == 1, 1.0 - (quadrant & 2)
    sine, cosine = np.sin(angle), np.cos(angle)
    parts = [np.where(turned, sine, cosine), np.where(turned, cosine, sine)]
    normal = np.stack([sign * radius * p for p in parts], 1).reshape(-1)[: x.size]
    return x + std * normal.reshape(x.shape)
