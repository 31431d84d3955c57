"""Sums of focal costs over voxels and their gradient: see :mod:`truevox.kernels.voxel_sums`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from truevox.kernels.voxel_sums import (
    BLOCK,
    F,
    below,
    exp,
    exponentials,
    load,
    log,
    log1p,
    sigmoids,
    typed,
)

__all__ = ["focal_sums", "focal_sums_gradient", "focal_sums_numpy"]

Array = NDArray[Any]
LEAST_REST = F(1e-7)
"""What is left of one beside a probability, at least: its logarithm is wanted."""
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _softmax_focal(z, hard, soft, weight, ignore, start, stop, gamma, sums):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    e, y = np.empty((classes, BLOCK), F), np.empty((classes, BLOCK), F)
    w, top, total = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    rest, cost = np.empty(BLOCK, F), np.empty(BLOCK, F)
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
            for k in range(count):
                rest[k] = gamma * log(max(F(1) - share[k] * total[k], LEAST_REST))
            for k in range(count):
                cost[k] = exp(rest[k])
            found = 0.0
            for k in range(count):
                found += w[k] * true[k] * cost[k] * (logs[k] + apart[k])
            sums[c, 0] += found
    return check


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _softmax_focal_gradient(z, hard, soft, weight, ignore, start, stop, gamma, slope, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    e, y = np.empty((classes, BLOCK), F), np.empty((classes, BLOCK), F)
    w, top, total = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    rest, cost = np.empty(BLOCK, F), np.empty(BLOCK, F)
    dot, logs, apart = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        exponentials(z, begin, count, e, top, total)
        for k in range(count):
            logs[k] = log(total[k])
            total[k] = F(1) / total[k]
            dot[k] = F(0)
        # Of -(1 - p)^g log p, p times the slope is g p (1 - p)^(g - 1) log p - (1 - p)^g.
        for c in range(classes):
            share, true = e[c], y[c]
            below(z[c, begin : begin + count], top, apart)
            for k in range(count):
                p = share[k] * total[k]
                share[k] = p
                rest[k] = gamma * log(max(F(1) - p, LEAST_REST))
            for k in range(count):
                cost[k] = exp(rest[k])
            for k in range(count):
                p = share[k]
                left = max(F(1) - p, LEAST_REST)
                log_p = -(logs[k] + apart[k])
                by_p = slope[c, 0] * true[k] * cost[k] * (gamma * p * log_p / left - F(1))
                true[k] = by_p
                dot[k] += by_p
        for c in range(classes):
            share, by, to = e[c], y[c], out[c, begin : begin + count]
            for k in range(count):
                to[k] = w[k] * (by[k] - share[k] * dot[k])


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _sigmoid_focal(z, hard, soft, weight, ignore, start, stop, gamma, sums):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    y, w, x = np.empty((classes, BLOCK), F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    e, inverse, rest = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    check = 0.0
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        for c in range(classes):
            check += sigmoids(z, c, begin, count, x, e, inverse)
            for k in range(count):
                e[k] = log1p(e[k])
            true = y[c]
            yes = no = 0.0
            for k in range(count):
                rest[k] = exp(-gamma * (e[k] + max(x[k], F(0))))
                inverse[k] = exp(-gamma * (e[k] + max(-x[k], F(0))))
            for k in range(count):
                u = w[k] * true[k]
                yes += u * rest[k] * (e[k] + max(-x[k], F(0)))
                no += (w[k] - u) * inverse[k] * (e[k] + max(x[k], F(0)))
            sums[c, 0] += yes
            sums[c, 1] += no
    return check


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _sigmoid_focal_gradient(z, hard, soft, weight, ignore, start, stop, gamma, slope, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    classes = z.shape[0]
    y, w, x = np.empty((classes, BLOCK), F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    e, inverse, rest, less = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        load(hard, soft, weight, ignore, begin, count, y, w)
        for c in range(classes):
            sigmoids(z, c, begin, count, x, e, inverse)
            true, to = y[c], out[c, begin : begin + count]
            for k in range(count):
                rest[k] = log1p(e[k])
            for k in range(count):
                less[k] = exp(-gamma * (rest[k] + max(x[k], F(0))))
            # What is there: (1 - p)^g (g p log p - (1 - p)); and what is not, with p and 1 - p changed over.
            for k in range(count):
                small = e[k] * inverse[k]
                p = inverse[k] if x[k] >= F(0) else small
                q = small if x[k] >= F(0) else inverse[k]
                to[k] = slope[c, 0] * true[k] * less[k] * (-gamma * p * (rest[k] + max(-x[k], F(0))) - q)
            for k in range(count):
                less[k] = exp(-gamma * (rest[k] + max(-x[k], F(0))))
            for k in range(count):
                small = e[k] * inverse[k]
                p = inverse[k] if x[k] >= F(0) else small
                q = small if x[k] >= F(0) else inverse[k]
                by = slope[c, 1] * (F(1) - true[k]) * less[k] * (gamma * q * (rest[k] + max(x[k], F(0))) + p)
                to[k] = w[k] * (to[k] + by)


def focal_sums(
    z: Array,
    truth: Array,
    weight: Array | None,
    gamma: float,
    *,
    softmax: bool,
    ignore: int,
    span: tuple[int, int],
) -> Array:
    """Sums (C, 2), float64, of ``-y (1 - p)^g log p`` and (yes or no) ``-(1 - y) p^g log(1 - p)``, weighted.

    Parameters and error are those of :func:`truevox.kernels.voxel_sums.voxel_sums`, and the exponent.
    """
    sums = np.zeros((len(z), 2))
    loop = _softmax_focal if softmax else _sigmoid_focal
    check = loop(z, *typed(truth, weight), ignore, *span, F(gamma), sums)
    return sums if check == 0 else np.full_like(sums, np.nan)


def focal_sums_gradient(
    z: Array,
    truth: Array,
    weight: Array | None,
    gamma: float,
    slope: Array,
    out: Array,
    *,
    softmax: bool,
    ignore: int,
    span: tuple[int, int],
) -> None:
    """Gradient of ``(slope * focal_sums(...)).sum()`` by the logits, written into ``out`` (C, N)."""
    loop = _softmax_focal_gradient if softmax else _sigmoid_focal_gradient
    loop(z, *typed(truth, weight), ignore, *span, F(gamma), np.ascontiguousarray(slope, F), out)


def focal_sums_numpy(z: Array, truth: Array, weight: Array | None, gamma: float, *, softmax: bool) -> Array:
    """Plain twin of :func:`focal_sums` over all voxels, of shares (C, N), in float64."""
    z, y = np.asarray(z, np.float64), np.asarray(truth, np.float64)
    w = np.ones(z.shape[1]) if weight is None else weight.astype(np.float64)
    if softmax:
        log = z - np.logaddexp.reduce(z, 0)
        costs = [-y * (1 - np.exp(log)) ** gamma * log, np.zeros_like(z)]
    else:
        yes, no = -np.logaddexp(0, -z), -np.logaddexp(0, z)
        costs = [-y * np.exp(gamma * no) * yes, -(1 - y) * np.exp(gamma * yes) * no]
    return np.stack([(w * cost).sum(1) for cost in costs], 1)
