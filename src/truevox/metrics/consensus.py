"""Consensus of several raters of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import GeometryError, SettingsError
from truevox.metrics.masks import as_array, as_mask, as_masks

__all__ = ["Staple", "majority", "stacked", "staple"]

Array = NDArray[Any]

MOST_RATERS = 20


@dataclass(frozen=True, eq=False)
class Staple:
    """Consensus of raters, and what each is worth against it.

    Parameters
    ----------
    probability : array of the masks' shape
        Of each voxel to be foreground.
    sensitivity, specificity : arrays (R,)
        Of each rater.
    steps : int
        Steps that it took.
    """

    probability: Array
    sensitivity: Array
    specificity: Array
    steps: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the probability is at least 0.5."""
        return self.probability >= 0.5


def stacked(masks: Sequence[ArrayLike] | Array, least: int = 1) -> NDArray[np.bool_]:
    """Masks (R, ...) of raters.

    Raises
    ------
    GeometryError
        If their shapes differ.
    SettingsError
        If there are too few or too many.
    LabelError
        If one is no mask, or they are of different labels.
    """
    names = [f"mask of rater {n}" for n in range(1, len(masks) + 1)]
    arrays = [as_array(mask, name) for mask, name in zip(masks, names, strict=True)]
    if not least <= len(arrays) <= MOST_RATERS:
        raise SettingsError(
            "So many raters can't be compared.",
            got=len(arrays),
            expected=f"{least} to {MOST_RATERS}",
            remedy="pass a mask for each rater in one list, of one case",
        )
    shapes = {one.shape for one in arrays}
    if len(shapes) > 1:
        raise GeometryError(
            "The raters' masks have different shapes.",
            got=sorted(shapes),
            remedy="bring the masks to one grid first, by tv.transforms.Like",
        )
    return np.stack(as_masks(arrays, names))


def majority(masks: Sequence[ArrayLike] | Array, *, ties: bool = True) -> NDArray[np.bool_]:
    """What most raters drew.

    Parameters
    ----------
    masks : sequence of arrays of one shape, or array (R, ...)
        One per rater.
    ties : bool
        What a voxel is that half of them drew.

    Raises
    ------
    GeometryError
        If shapes differ.

    Examples
    --------
    >>> majority([[1, 1, 0], [1, 0, 0]]).tolist()
    [True, True, False]
    """
    stack = stacked(masks)
    twice = 2 * np.sum(stack, axis=0, dtype=np.int32)
    return np.asarray(twice >= len(stack) if ties else twice > len(stack))


def staple(
    masks: Sequence[ArrayLike] | Array,
    *,
    prior: float | None = None,
    most_steps: int = 200,
    tolerance: float = 1e-7,
    field: ArrayLike | None = None,
) -> Staple:
    """Simultaneous truth and performance level estimation.

    Parameters
    ----------
    masks : sequence of arrays of one shape, or array (R, ...)
        One per rater, at least 2.
    prior : float, optional
        Part of the voxels that is foreground; by default the mean over raters.
    most_steps : int
        Steps of expectation and maximisation at most.
    tolerance : float
        It stops when no rater's sensitivity or specificity moves more.
    field : array of bool of that shape, optional
        Which voxels count; elsewhere the probability is 0. The result depends on it: more background makes
        the prior smaller, so choose a box around the structure, and the same one for all.

    Raises
    ------
    GeometryError
        If shapes differ.
    SettingsError
        If there are fewer than 2 raters or more than 20, or the prior is not between 0 and 1.

    Notes
    -----
    Voxels that all raters call alike are one pattern, so that a step costs as many numbers as there are
    patterns, at most 2 to the number of raters. All masks empty (or full) is the consensus then.

    References
    ----------
    Warfield, Zou and Wells (2004).

    Examples
    --------
    >>> found = staple([[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 1]])
    >>> found.mask.astype(int).tolist()
    [1, 1, 1, 0, 0, 0]
    """
    stack = stacked(masks, least=2)
    inside = np.ones(stack.shape[1:], bool) if field is None else as_mask(field, "field")
    if inside.shape != stack.shape[1:]:
        raise GeometryError(
            "The field has another shape.",
            got=inside.shape,
            expected=stack.shape[1:],
            remedy="pass a field of the shape of the masks, without a channel axis",
        )
    code = np.zeros(stack.shape[1:], np.int32)
    for n, one in enumerate(stack):
        code |= one.astype(np.int32) << n
    counts = np.bincount(code[inside], minlength=1 << len(stack))
    patterns = np.flatnonzero(counts)
    voxels = counts[patterns]
    drawn = (patterns[:, None] >> np.arange(len(stack))) & 1
    truth, sensitivity, specificity, steps = _maximise(drawn, voxels, prior, most_steps, tolerance)
    of_pattern = np.zeros(len(counts))
    of_pattern[patterns] = truth
    return Staple(np.where(inside, of_pattern[code], 0.0), sensitivity, specificity, steps)


def _maximise(
    drawn: Array, voxels: Array, prior: float | None, most_steps: int, tolerance: float
) -> tuple[Array, Array, Array, int]:
    """Probability of each pattern, sensitivity and specificity of each rater, steps."""
    raters, total = drawn.shape[1], voxels.sum()
    own = float((drawn.mean(1) * voxels).sum() / total) if total else 0.0
    if prior is not None and not 0 < prior < 1:
        raise SettingsError(
            "A prior lies between 0 and 1.",
            got=prior,
            remedy="leave prior= out for the share that the raters drew",
        )
    if own in (0.0, 1.0):
        return np.full(len(voxels), own), np.ones(raters), np.ones(raters), 0
    part = own if prior is None else prior
    p = q = np.full(raters, 0.99999)
    truth, steps = np.zeros(len(voxels)), 0
    for _ in range(most_steps):
        steps += 1
        front = part * np.where(drawn, p, 1 - p).prod(1)
        back = (1 - part) * np.where(drawn, 1 - q, q).prod(1)
        truth = np.divide(front, front + back, out=np.full(len(front), part), where=front + back > 0)
        on, off = truth * voxels, (1 - truth) * voxels
        new_p = (on @ drawn) / on.sum() if on.sum() else p
        new_q = (off @ (1 - drawn)) / off.sum() if off.sum() else q
        moved = max(np.abs(new_p - p).max(), np.abs(new_q - q).max())
        p, q = new_p, new_q
        if moved < tolerance:
            break
    return truth, p, q, steps
