"""The Lovász extension of the Jaccard loss: one sort of 64-bit words per set of voxels.

A word holds a voxel's error (the bits of a float that is not negative are ordered as the float is), whether
it is foreground, and where it is, so that sorting words is sorting voxels. Negatives whose error is below
that of every positive have neither value nor gradient, and are not sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["MOST_VALUES", "lovasz", "lovasz_numpy"]

Array = NDArray[Any]
F, U, W = np.float32, np.uint32, np.uint64
MOST_VALUES = 2**31
"""Values whose places fit a word."""
NONE, INFINITE = U(0xFFFFFFFF), U(0x7F800000)
"""Bits of no error at all, and of an infinite one, above which there is no number."""
BLOCK = 256
"""Voxels that are packed at once."""
POSITIVE, PLACE = W(1 << 31), W((1 << 31) - 1)


@njit(inline="always")
def _error(value: F, positive: bool, margin: F) -> U:  # pragma: no cover - compiled
    """Bits of a voxel's error: 1 less the value of a positive, the margin more than that of a negative."""
    error = F(1) - value if positive else margin + value
    return U(F(F(0) if error <= F(0) else error).view(U))


@njit(inline="always")
def _counts(weight, b, k):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    return weight[b, k] > F(0) if weight.size else True


@njit(cache=True, nogil=True)
def _survey(values, channel, first, truth, weight, margin):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bits of the positives' smallest error and of the largest; the weight of the positives."""
    least, most, size = NONE, U(0), 0.0
    for b in range(truth.shape[0]):
        line, true = values[first + b, channel], truth[b]
        for k in range(true.size):
            counts = _counts(weight, b, k)
            bits = _error(line[k], true[k], margin) if counts else U(0)
            most = max(most, bits)
            least = min(least, bits if true[k] & counts else NONE)
        if weight.size:
            for k in range(true.size):
                size += weight[b, k] if true[k] else F(0)
        else:
            size += np.count_nonzero(true)
    return least, most, size


@njit(cache=True, nogil=True)
def _pack(values, channel, first, truth, weight, margin, least, words):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Words of the voxels that count, unsorted; how many."""
    count, voxels = 0, truth.shape[1]
    block, keep = np.empty(BLOCK, W), np.empty(BLOCK, np.bool_)
    plain = margin == F(0)
    for b in range(truth.shape[0]):
        for begin in range(0, voxels, BLOCK):
            true = truth[b, begin : begin + BLOCK]
            line = values[first + b, channel, begin : begin + BLOCK]
            place = W(((first + b) * values.shape[1] + channel) * voxels + begin)
            for k in range(true.size):
                bits = _error(line[k], true[k], margin)
                block[k] = W(bits) << W(32) | W(true[k]) << W(31) | (place + W(k))
                kept = (true[k] | (bits >= least)) & _counts(weight, b, begin + k)
                keep[k] = kept & ((bits > 0) | plain)  # beyond its margin, a hinge is flat
            # Where they go depends on those before: a loop of its own, as the one above needs no order.
            for k in range(true.size):
                words[count] = block[k]
                count += np.int64(keep[k])
    return count


@njit(inline="always")
def _weight_at(place, weight, first, channels):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Weight of the value at a place in (B, C, N)."""
    if not weight.size:
        return 1.0
    voxels = weight.shape[1]
    return float(weight[place // (channels * voxels) - first, place % voxels])


@njit(cache=True, nogil=True)
def _walk(words, size, weight, first, channels, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Down the sorted words: the loss; slopes are written to their places."""
    loss, union, missed = 0.0, size, size  # truth and false positives; truth not yet met
    inverse, at = 1 / size, words.size
    while at > 0:
        word = words[at - 1]
        if at == 1 or (words[at - 2] ^ word) >> W(32):  # no other voxel has this error
            place = np.int64(word & PLACE)
            w = _weight_at(place, weight, first, channels)
            # Truth is as good as random here: products, as a branch would be guessed wrongly half the time.
            positive = float((word >> W(31)) & W(1))
            negative = 1 - positive
            union += negative * w
            before, inverse = inverse, 1 / union
            slope = w * before * (positive + negative * missed * inverse)
            out[place] = F(slope * (negative - positive))
            loss += float(U(word >> W(32)).view(F)) * slope
            missed -= positive * w
            at -= 1
            continue
        bits, stop = words[at - 1] >> W(32), at - 1
        while stop > 0 and words[stop - 1] >> W(32) == bits:
            stop -= 1
        positives = negatives = 0.0
        for k in range(stop, at):
            w = _weight_at(np.int64(words[k] & PLACE), weight, first, channels)
            if words[k] & POSITIVE:
                positives += w
            else:
                negatives += w
        left = max(missed - positives, 0.0)
        rise = missed / union - left / (union + negatives)
        by_positive = (
            np.log1p(negatives / union) / negatives if negatives > 0 and positives > 0 else 1 / union
        )
        by_negative = 0.0
        if positives == 0:
            by_negative = missed / (union * (union + negatives))
        elif negatives > 0:
            by_negative = max(rise - positives * by_positive, 0.0) / negatives
        for k in range(stop, at):
            place = np.int64(words[k] & PLACE)
            w = _weight_at(place, weight, first, channels)
            out[place] = F(-w * by_positive if words[k] & POSITIVE else w * by_negative)
        loss += float(U(bits).view(F)) * (positives * by_positive + negatives * by_negative)
        union, missed, at = union + negatives, left, stop
        inverse = 1 / union
    return loss


@njit(cache=True, nogil=True)
def _largest(values, channel, first, truth, weight, margin, most, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Without a positive the loss is the largest error; the voxels that have it share the slope."""
    total = 0.0
    for b in range(truth.shape[0]):
        line, slope = values[first + b, channel], out[first + b, channel]
        for k in range(line.size):
            w = weight[b, k] if weight.size else F(1)
            largest = _error(line[k], False, margin) == most and most > 0
            slope[k] = w if largest else F(0)
            total += slope[k]
    if total > 0:
        for b in range(truth.shape[0]):
            slope = out[first + b, channel]
            for k in range(slope.size):
                slope[k] = F(slope[k] / total)
    return float(U(most).view(F))


_NO_WEIGHT = np.zeros((0, 0), F)


def lovasz(
    values: Array,
    channel: int,
    first: int,
    truth: Array,
    weight: Array | None,
    out: Array,
    *,
    hinge: bool = False,
) -> tuple[float, float]:
    """Loss of one channel in one image, or in several together, and weight of its positives.

    Parameters
    ----------
    values : (B, C, N) contiguous float32 array
        Probabilities, whose errors are ``|truth - p|``; or logits, whose errors are
        ``max(0, 1 - z (2 truth - 1))``.
    channel, first : int
        Which channel, and the first of the images.
    truth : (images, N) array of bool
    weight : (images, N) float32 array, optional
        A weight of two is the voxel twice.
    out : (B, C, N) contiguous float32 array
        Gets the gradient by the values, in that channel of those images. Voxels of equal error share the
        gradient of entering together, so that it does not depend on the order of voxels.
    hinge : bool
        Whether values are logits.

    Returns
    -------
    (float, float)
        NaN and the weight if a value is NaN or infinite.
    """
    weight, margin = _NO_WEIGHT if weight is None else weight, F(hinge)
    least, most, size = _survey(values, channel, first, truth, weight, margin)
    size = float(size)
    if most >= INFINITE:
        return float("nan"), size
    if size == 0:
        return _largest(values, channel, first, truth, weight, margin, most, out), 0.0
    words = np.empty(truth.size + 1, W)
    words = words[: _pack(values, channel, first, truth, weight, margin, least, words)]
    out[first : first + len(truth), channel] = 0
    words.sort()
    return _walk(words, size, weight, first, values.shape[1], out.reshape(-1)), size


def lovasz_numpy(errors: Array, truth: Array, weight: Array) -> tuple[float, Array]:
    """Plain twin of :func:`lovasz` on errors (N,), in float64: the loss and its gradient by the errors."""
    order = np.argsort(-errors, kind="stable")
    heights, run = np.unique(-errors[order], return_inverse=True)
    w = weight[order].astype(float)
    positives = np.bincount(run, w * truth[order], len(heights))
    negatives = np.bincount(run, w * ~truth[order], len(heights))
    size = positives.sum()
    union = np.concatenate([[size], size + np.cumsum(negatives)])
    missed = np.concatenate([[size], size - np.cumsum(positives)])
    with np.errstate(divide="ignore", invalid="ignore"):
        jaccard = np.where(union > 0, 1 - missed / union, 0)
        rise = np.diff(jaccard)
        together = np.log1p(negatives / union[:-1]) / negatives
        by_positive = np.where(negatives > 0, together, 1 / union[:-1])
        by_negative = (rise - np.where(positives > 0, positives * by_positive, 0)) / negatives
    slope = np.empty(len(errors))
    slope[order] = w * np.where(truth[order], by_positive[run], by_negative[run])
    return float(-(heights * rise).sum()), slope
