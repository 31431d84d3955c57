"""What the common losses need of an image, in one pass: sums over voxels, and their gradient.

The probabilities live for one block of voxels at a time and are computed anew for the gradient, so that
nothing of the size of the image is stored. Each loop has its plain NumPy twin.

A voxel's terms are float32, rounded a few times; they are added in float64. So the error of a sum is that of
its terms, for any number of voxels, and whatever the width of a register or the order of adding: at most 1e-6
times the weight of the voxels, and for costs (cross-entropy, focal) 1e-6 of the cost besides.

Blocks are slices: indices such as ``start + k`` are compiled to slower code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.power import log_rest

__all__ = ["SUMS", "voxel_sums", "voxel_sums_gradient", "voxel_sums_numpy"]

Array = NDArray[Any]
F, I = np.float32, np.int32  # noqa: E741 - compiled code is full of them
SUMS = (
    "overlap",
    "predicted",
    "predicted_squared",
    "truth",
    "truth_squared",
    "voxels",
    "cross_entropy",
    "cross_entropy_against",
)
"""Columns of the sums, each weighted: y p, p, p², y, y², 1, -y log p, and (yes or no) -(1 - y) log(1 - p)."""
BLOCK = 1024
"""Voxels whose probabilities exist at once: they stay in the nearest cache."""
LEAST = F(-1e30)
"""What minus infinity becomes, so that no truth times its logarithm is 0 and not NaN."""
NOTHING = F(-72)
"""Logarithm (to base 2) below which an exponential is 0."""
LOG2E, LN2 = F(1 / np.log(2)), F(np.log(2))
ROOT_HALF = I(0x3F3504F3)
"""Bits of the float sqrt(1/2): a mantissa from there on lies in [sqrt(1/2), sqrt(2))."""
# With NumPy's error model a division by zero, of infinite logits, is found as no number at the end.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(inline="always")
def exp(x: F) -> F:  # pragma: no cover - compiled
    """Exponential of x, not positive, to about 2 + |x| / 2 units in the last place; 0 below e^-50.

    So small a probability says nothing, but its gradient would: numbers below 1e-38, of which a surely right
    network has many, make convolutions ten times slower on usual processors.
    """
    exponent = max(x * LOG2E, F(-126))
    whole = I(exponent - F(0.5))  # this truncates: the nearest
    r = (exponent - F(whole)) * LN2
    e = r * F(1.3888889e-3) + F(8.3333333e-3)
    e = e * r + F(4.1666667e-2)
    e = e * r + F(1.6666667e-1)
    e = e * r + F(0.5)
    e = e * r * r + r + F(1)
    e *= I((whole + I(127)) << I(23)).view(F)
    return e if exponent > NOTHING else F(0)


@njit(inline="always")
def log(s: F) -> F:  # pragma: no cover - compiled
    """Logarithm of a number from 1 on."""
    bits = F(s).view(I)
    power = (bits - ROOT_HALF) >> I(23)
    f = I(bits - (power << I(23))).view(F) - F(1)
    return F(power) * LN2 + (f * f * f * log_rest(f) - F(0.5) * f * f + f)


@njit(inline="always")
def log1p(e: F) -> F:  # pragma: no cover - compiled
    """log(1 + e) for e from 0 to 1; small e keep all their digits."""
    large = e > F(0.41421356)
    f = (e - F(1)) * F(0.5) if large else e
    return f * f * f * log_rest(f) - F(0.5) * f * f + f + (LN2 if large else F(0))


@njit(cache=True, nogil=True)
def load(hard, soft, weight, ignore, start, count, y, w):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A block's truth (C, count) and weights (count)."""
    classes = y.shape[0]
    if weight.size:
        given = weight[start : start + count]
        for k in range(count):
            w[k] = given[k]
    else:
        for k in range(count):
            w[k] = F(1)
    if soft.size:
        for c in range(classes):
            shares, true = soft[c, start : start + count], y[c]
            for k in range(count):
                true[k] = shares[k]
        return
    first = I(classes == 1)  # one channel: the foreground's
    most = max(classes, 2)
    line, labels = hard[start : start + count], np.empty(count, I)
    for k in range(count):
        label = line[k]
        labels[k] = label
        w[k] = F(0) if label == ignore else (w[k] if (label >= 0) & (label < most) else F(np.nan))
    for c in range(classes):
        name, true = I(c) + first, y[c]
        for k in range(count):
            true[k] = F(1) if labels[k] == name else F(0)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def exponentials(z, start, count, e, top, total):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Exponentials of a block's logits less the largest (C, count), their sum; NaN if a logit is none."""
    classes = z.shape[0]
    check = F(0)
    for k in range(count):
        top[k] = LEAST
        total[k] = F(0)
    for c in range(classes):
        line, to = z[c, start : start + count], e[c]
        for k in range(count):
            x = line[k]
            x = LEAST if x < LEAST else x
            check += x * F(0)
            to[k] = x
            top[k] = max(top[k], x)
    for c in range(classes):
        to = e[c]
        for k in range(count):
            value = exp(to[k] - top[k])
            to[k] = value
            total[k] += value
    return check


@njit(cache=True, nogil=True)
def below(line, top, apart):  # type: ignore[no-untyped-def]  # pragma: no cover
    """How far logits are below the largest: in memory, as ``fastmath`` would add to the large ones first."""
    for k in range(line.size):
        x = line[k]
        apart[k] = top[k] - (LEAST if x < LEAST else x)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _softmax_sums(z, hard, soft, weight, ignore, start, stop, sums):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    e, y = np.empty((classes, BLOCK), F), np.empty((classes, BLOCK), F)
    w, top, total = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    logs, apart = np.empty(BLOCK, F), np.empty(BLOCK, F)
    check = 0.0
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        check += exponentials(z, begin, count, e, top, total)
        for k in range(count):
            logs[k] = log(total[k])
            total[k] = F(1) / total[k]
        for c in range(classes):
            share, true = e[c], y[c]
            below(z[c, begin : begin + count], top, apart)
            both = p1 = p2 = y1 = y2 = n = ce = 0.0
            for k in range(count):
                p, t, weighted = share[k] * total[k], true[k], w[k]
                q, u = weighted * p, weighted * t
                both += q * t
                p1 += q
                p2 += q * p
                y1 += u
                y2 += u * t
                n += weighted
                ce += u * (logs[k] + apart[k])
            sums[c, 0] += both
            sums[c, 1] += p1
            sums[c, 2] += p2
            sums[c, 3] += y1
            sums[c, 4] += y2
            sums[c, 5] += n
            sums[c, 6] += ce
    return check


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def sigmoids(z, c, start, count, x, e, inverse):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A channel's logits, exp(-|x|), and 1 / (1 + exp(-|x|)); NaN if a logit is no number."""
    check, line = F(0), z[c, start : start + count]
    for k in range(count):
        value = line[k]
        value = LEAST if value < LEAST else value
        check += value * F(0)
        x[k] = value
    for k in range(count):
        value = exp(min(x[k], -x[k]))
        e[k] = value
        inverse[k] = F(1) / (F(1) + value)
    return check


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _sigmoid_sums(z, hard, soft, weight, ignore, start, stop, sums):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    y, w, x = np.empty((classes, BLOCK), F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    e, inverse = np.empty(BLOCK, F), np.empty(BLOCK, F)
    check = 0.0
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        for c in range(classes):
            check += sigmoids(z, c, begin, count, x, e, inverse)
            true = y[c]
            both = p1 = p2 = y1 = y2 = n = 0.0
            for k in range(count):
                p = inverse[k] if x[k] >= F(0) else e[k] * inverse[k]
                t, weighted = true[k], w[k]
                q, u = weighted * p, weighted * t
                both += q * t
                p1 += q
                p2 += q * p
                y1 += u
                y2 += u * t
                n += weighted
            for k in range(count):
                e[k] = log1p(e[k])
            ce = against = 0.0
            for k in range(count):
                u = w[k] * true[k]
                ce += u * (e[k] + max(-x[k], F(0)))
                against += (w[k] - u) * (e[k] + max(x[k], F(0)))
            sums[c, 0] += both
            sums[c, 1] += p1
            sums[c, 2] += p2
            sums[c, 3] += y1
            sums[c, 4] += y2
            sums[c, 5] += n
            sums[c, 6] += ce
            sums[c, 7] += against
    return check


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _softmax_gradient(z, hard, soft, weight, ignore, start, stop, slope, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    e, y = np.empty((classes, BLOCK), F), np.empty((classes, BLOCK), F)
    w, top, total = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        exponentials(z, begin, count, e, top, total)
        for k in range(count):
            total[k] = F(1) / total[k]
            top[k] = F(0)
        # By a softmax, dz_c = p_c (a_c - sum_k p_k a_k), and of cross-entropy g_y p_c - g_c y_c.
        for c in range(classes):
            of_both, of_p, of_p2, of_ce = slope[c, 0], slope[c, 1], F(2) * slope[c, 2], slope[c, 6]
            share, true = e[c], y[c]
            for k in range(count):
                p, t = share[k] * total[k], true[k]
                share[k] = p
                top[k] += p * (of_both * t + of_p + of_p2 * p) - of_ce * t
        for c in range(classes):
            of_both, of_p, of_p2, of_ce = slope[c, 0], slope[c, 1], F(2) * slope[c, 2], slope[c, 6]
            share, true, to = e[c], y[c], out[c, begin : begin + count]
            for k in range(count):
                p, t = share[k], true[k]
                to[k] = w[k] * (p * (of_both * t + of_p + of_p2 * p - top[k]) - of_ce * t)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _sigmoid_gradient(z, hard, soft, weight, ignore, start, stop, slope, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    y, w, x = np.empty((classes, BLOCK), F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    e, inverse = np.empty(BLOCK, F), np.empty(BLOCK, F)
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        for c in range(classes):
            sigmoids(z, c, begin, count, x, e, inverse)
            of_both, of_p, of_p2 = slope[c, 0], slope[c, 1], F(2) * slope[c, 2]
            of_ce, of_against = slope[c, 6], slope[c, 7]
            true, to = y[c], out[c, begin : begin + count]
            for k in range(count):
                t, small = true[k], e[k] * inverse[k]
                p = inverse[k] if x[k] >= F(0) else small
                q = small if x[k] >= F(0) else inverse[k]
                by_p = of_both * t + of_p + of_p2 * p
                to[k] = w[k] * (p * q * by_p - of_ce * t * q + of_against * (F(1) - t) * p)


def voxel_sums(
    z: Array, truth: Array, weight: Array | None, *, softmax: bool, ignore: int, span: tuple[int, int]
) -> Array:
    """Sums over a span of voxels.

    Parameters
    ----------
    z : (C, N) contiguous float32 array
        Logits.
    truth : (N,) array of ints, or (C, N) float32 array
        Class of each voxel (with one channel, 1 is the foreground), or share of each class.
    weight : (N,) float32 array, optional
    softmax : bool
        Whether channels are exclusive; otherwise each is a yes or no of its own.
    ignore : int
        Voxels with this class count for nothing.
    span : (int, int)
        First voxel, and the one after the last.

    Returns
    -------
    (C, 8) float64 array
        One column per name in ``SUMS``, each within 1e-6 of the weight of the voxels (costs: and of
        themselves), however many there are.
        All NaN if a logit is NaN or plus infinity; NaN if a label names no class.
    """
    sums = np.zeros((len(z), len(SUMS)))
    loop = _softmax_sums if softmax else _sigmoid_sums
    check = loop(z, *typed(truth, weight), ignore, *span, sums)
    return sums if check == 0 else np.full_like(sums, np.nan)


def voxel_sums_gradient(
    z: Array,
    truth: Array,
    weight: Array | None,
    slope: Array,
    out: Array,
    *,
    softmax: bool,
    ignore: int,
    span: tuple[int, int],
) -> None:
    """Gradient of ``(slope * voxel_sums(...)).sum()`` by the logits, written into ``out`` (C, N)."""
    loop = _softmax_gradient if softmax else _sigmoid_gradient
    loop(z, *typed(truth, weight), ignore, *span, np.ascontiguousarray(slope, F), out)


_NO_LABELS, _NO_SHARES, _NO_WEIGHT = np.zeros(0, np.int64), np.zeros((0, 0), F), np.zeros(0, F)


def typed(truth: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """Labels, shares and weights as the loops take them: what is not there is empty."""
    weight = _NO_WEIGHT if weight is None else weight
    return (truth, _NO_SHARES, weight) if truth.ndim == 1 else (_NO_LABELS, truth, weight)


def voxel_sums_numpy(z: Array, truth: Array, weight: Array | None, *, softmax: bool, ignore: int) -> Array:
    """Plain twin of :func:`voxel_sums` over all voxels, in float64."""
    z = np.asarray(z, np.float64)
    w = np.ones(z.shape[1]) if weight is None else weight.astype(np.float64)
    if truth.ndim == 1:
        w = np.where(truth == ignore, 0, w)
        first = int(len(z) == 1)
        y = np.stack([truth == c + first for c in range(len(z))]).astype(np.float64)
    else:
        y = truth.astype(np.float64)
    yes = np.logaddexp(0, -z)
    no = np.logaddexp(0, z)
    if softmax:
        yes, no = np.logaddexp.reduce(z, 0) - z, np.zeros_like(z)
    p = np.exp(-yes)
    columns = (y * p, p, p * p, y, y * y, np.ones_like(p), y * yes, (1 - y) * no)
    return np.stack([(w * column).sum(1) for column in columns], 1)
