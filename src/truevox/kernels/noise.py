"""Gaussian noise, added in one pass: numbers by hashes of their places, and the transform of Box and Muller.

A number is a function of the seed and of the voxel's place on a lattice alone, so that a window sees what the
whole shows there. A row has a key of its own (SplitMix64 of seed, channel and place); within it, places are
mixed with the key by two rounds of multiplications of 32 bits, several with one instruction. Two normal
numbers are made together, for an even row and the odd one after it.

References
----------
G. E. P. Box and M. E. Muller, A note on the generation of random normal deviates, Ann. Math. Stat. 29 (1958).
G. L. Steele, D. Lea and C. H. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
C. Wellons, Prospecting for hash functions (2018): the multipliers of 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.power import log_rest

__all__ = ["add_normal", "add_normal_numpy"]

Array = NDArray[Any]
TOGETHER = 2048
"""Pairs made at a time: they stay in the processor's first cache."""
U, F, I, W = np.uint32, np.float32, np.int32, np.uint64  # noqa: E741 - compiled code is full of them
GOLDEN, STRIDE = W(0x9E3779B97F4A7C15), U(0x9E3779B9)
FIRST, SECOND, THIRD = U(0x21F0AAAD), U(0x735A2D97), U(0x31848BAB)
ROOT_HALF = I(0x3F3504F3)
"""Bits of the float sqrt(1/2): a mantissa from there on lies in [sqrt(1/2), sqrt(2))."""
LN2, STEP = F(np.log(2)), F(np.pi / 4 / 2**31)
_FAST = {"contract", "nsz", "arcp"}


@njit(inline="always")
def _mixed(z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """SplitMix64's function of 64 bits."""
    z = (z ^ (z >> W(30))) * W(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> W(27))) * W(0x94D049BB133111EB)
    return z ^ (z >> W(31))


@njit(cache=True, nogil=True)
def _words(first: int, key: np.uint64, start: Array, angle: Array) -> None:  # pragma: no cover - compiled
    """Two whole numbers for each place of a row, from ``first`` on."""
    low, high = U(key & W(0xFFFFFFFF)), U(key >> W(32))
    begin = U(np.uint64(np.int64(first)) & W(0xFFFFFFFF))
    other = U(key >> W(16))
    for k in range(start.size):
        x = U(U(begin + U(k)) * STRIDE + low)
        x = U((x ^ (x >> U(16))) * FIRST)
        x ^= x >> U(15)
        y = U((x ^ other) * THIRD)
        x = U(U(x + high) * SECOND)
        start[k], angle[k] = U(x ^ (x >> U(15))), U(y ^ (y >> U(16)))


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
def _add(
    x: Array, std: np.float32, seed: np.uint64, place: Array, out: Array
) -> None:  # pragma: no cover - compiled
    channels, planes, rows, n = x.shape
    begin, end = place[1] // 2, (place[1] + rows + 1) // 2
    together = max(1, min(end - begin, TOGETHER // n))
    words, normal = np.empty((2, together * n), np.uint32), np.empty((2, together * n), np.float32)
    for c in range(channels):
        of_channel = _mixed(_mixed(seed + GOLDEN) + W(c) * GOLDEN)
        for i in range(planes):
            of_plane = _mixed(of_channel + W(np.int64(place[0] + i)) * GOLDEN)
            for first in range(begin, end, together):
                count = min(together, end - first)
                for r in range(count):
                    key = _mixed(of_plane + W(np.int64(first + r)) * GOLDEN)
                    row = slice(r * n, (r + 1) * n)
                    _words(place[2], key, words[0, row], words[1, row])
                used = slice(0, count * n)
                _box_muller(words[0, used], words[1, used], normal[0, used], normal[1, used])
                for r in range(2 * count):
                    j = 2 * first + r - place[1]
                    if 0 <= j < rows:
                        source, made = x[c, i, j], out[c, i, j]
                        line = normal[r % 2, (r // 2) * n : (r // 2 + 1) * n]
                        for k in range(n):
                            made[k] = source[k] + std * line[k]


def add_normal(x: Array, std: float, seed: int, place: Sequence[int] = (0, 0, 0)) -> Array:
    """``x`` plus independent numbers of N(0, std²): (C, I, J, K) float32, a new array.

    Parameters
    ----------
    seed : int
        Below 2**64. The same seed gives the same numbers, on any machine up to rounding.
    place : (3,) ints
        Of the first voxel on the lattice that numbers belong to.
    """
    x = np.ascontiguousarray(x, np.float32)
    out = np.empty_like(x)
    _add(x, F(std), W(seed), np.array(place, np.int64), out)
    return out


def add_normal_numpy(x: Array, std: float, seed: int, place: Sequence[int] = (0, 0, 0)) -> Array:
    """Plain twin of :func:`add_normal`, in float64, voxel by voxel."""
    c, i, j, k = (at.astype(np.int64) for at in np.indices(x.shape))
    with np.errstate(over="ignore"):
        key = _mixed.py_func(np.full(x.shape, seed, np.uint64) + GOLDEN) + c.astype(W) * GOLDEN
        pair, odd = np.divmod(j + place[1], 2)
        for at in (i + place[0], pair):
            key = _mixed.py_func(key) + at.astype(W) * GOLDEN
        first, second = _words_numpy(np.asarray(k + place[2]).astype(U), _mixed.py_func(key))
    radius = np.sqrt(-2 * np.log(((first >> 1) + 0.5) / 2**31))
    # The word as a signed fraction of the quadrant around 0, 90, 180 or 270 degrees.
    signed = ((second.astype(np.int64) << 2 & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
    angle, quadrant = signed * (np.pi / 4 / 2**31), second >> 30
    turned, sign = quadrant & 1 == 1, 1.0 - (quadrant & 2)
    sine, cosine = np.sin(angle), np.cos(angle)
    return x + std * sign * radius * np.where(turned == (odd == 1), cosine, sine)


def _words_numpy(counter: Array, key: Array) -> tuple[Array, Array]:
    x = counter * STRIDE + key.astype(U)
    x = (x ^ (x >> U(16))) * FIRST
    x ^= x >> U(15)
    y = (x ^ (key >> W(16)).astype(U)) * THIRD
    x = (x + (key >> W(32)).astype(U)) * SECOND
    return x ^ (x >> U(15)), y ^ (y >> U(16))
