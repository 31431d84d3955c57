"""Sets of voxels that one score is made of (Phi), and smoothing of scores (epsilon)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.targets import Scene, wide

__all__ = [
    "Smoothing",
    "axes_of",
    "expected_volumes",
    "in_sets",
    "mean_of_sets",
    "scaled",
    "smoothing",
    "smoothings",
]

Smoothing = float | tuple[float, ...]
AXES = "BCI"


def axes_of(over: object, name: str) -> tuple[str, ...]:
    """The axes that a sum runs over, in their order.

    Raises
    ------
    GraphError
        If they are not one or more of B, C, I.
    """
    try:
        given = list(over)  # type: ignore[call-overload]
    except TypeError:
        given = []
    if not given or len(set(given)) != len(given) or not set(given) <= set(AXES):
        raise GraphError(
            f"`over` of {name} does not fit.",
            got=over,
            expected="I, CI, BI, BCI, or another set of batch (B), class (C) and image (I)",
            remedy='over="I" is per image, "CI" joins its classes, "BCI" the whole batch',
        )
    return tuple(axis for axis in AXES if axis in given)


def smoothing(value: Smoothing, name: str, least: float | None, over: str) -> Smoothing:
    """A smoothing, checked: one number, or one per class for sets of one class.

    Raises
    ------
    GraphError
        If a number is below ``least`` (not above 0 if that is None), or there are several for sets of
        several classes.
    """
    several = not isinstance(value, (int, float))
    numbers = tuple(float(v) for v in value) if several else (float(value),)  # type: ignore[union-attr,arg-type]
    fits = all(isfinite(v) and (v > 0 if least is None else v >= least) for v in numbers)
    if not numbers or not fits:
        raise GraphError(
            f"`{name}` does not fit.",
            got=value,
            expected="smooth_nr at least 0, smooth_dr above 0 (0/0 has no value)",
            remedy="leave it out, or give a small number such as 1e-5",
        )
    if several and "C" in over:
        raise GraphError(
            f"`{name}` has one number per class, but one set holds several classes.",
            got=f"over={over!r}",
            expected='over="I" or "BI", or a single number',
            remedy='give a single number, or count each class for itself with over="I"',
        )
    return numbers if several else numbers[0]


def scaled(value: Smoothing, factor: float) -> Smoothing:
    """A smoothing times a factor."""
    return tuple(factor * v for v in value) if isinstance(value, tuple) else factor * value


def smoothings(nr: Smoothing, dr: Smoothing, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Both smoothings, for sums (B, C, M) in sets.

    Raises
    ------
    GraphError
        If there is another number of them than of classes.
    """
    return _per_class(nr, sums), _per_class(dr, sums)


def _per_class(value: Smoothing, sums: Tensor) -> Tensor:
    numbers = torch.tensor(value, dtype=sums.dtype, device=sums.device)
    if numbers.dim() and len(numbers) != sums.shape[1]:
        raise GraphError(
            "Smoothing has one number for each class that counts.",
            got=value,
            expected=f"{sums.shape[1]} numbers (background only with background=True)",
            remedy="give one number per class that counts, or a single one for all",
        )
    return numbers.view(1, -1, 1) if numbers.dim() else numbers


def in_sets(scene: Scene, sums: Tensor, over: str, background: bool) -> Tensor:
    """Sums (B, C) or of voxels (B, C, N) added up over sets, as (B, C, M) with size 1 where they were added.

    Images where a label was not annotated add nothing to its sets.
    """
    if sums.dim() == 2:
        sums = sums.unsqueeze(-1)
    if scene.present is not None:
        sums = sums * scene.present.unsqueeze(-1).to(sums.dtype)
    sums = _foreground(scene, sums, background)
    for axis, name in enumerate(AXES):
        if name in over and sums.shape[axis] != 1:
            sums = sums.sum(axis, keepdim=True)
    return sums


def mean_of_sets(scene: Scene, cost: Tensor, over: str, background: bool) -> Tensor:
    """Mean cost (B, C, M) of the sets in which something was annotated; 0 if there is none."""
    if scene.present is None:
        return cost.mean(dtype=wide(cost))
    count = in_sets(scene, torch.ones_like(scene.present, dtype=cost.dtype), over, background)
    kept = (count > 0).to(cost.dtype).expand_as(cost)
    return (cost * kept).sum(dtype=wide(cost)) / kept.sum(dtype=wide(cost)).clamp(min=1)


def _foreground(scene: Scene, sums: Tensor, background: bool) -> Tensor:
    """Channels that count."""
    return sums[:, 1:] if scene.link.exclusive and not background else sums


def expected_volumes(counts: Sequence[Sequence[float]], include_empty: bool = True) -> tuple[float, ...]:
    """Mean number of voxels of each class, the size that smoothing takes after.

    Parameters
    ----------
    counts : sequence (images) of sequence (classes) of float
        Voxels of each class in each training image, at the spacing and size that the loss sees.
    include_empty : bool
        Whether images without the class count, as zeros.

    Returns
    -------
    tuple of float
        One per class; 0 for a class that no image has.

    Raises
    ------
    GraphError
        If there is no image, images have unlike numbers of classes, or a count is negative.

    Notes
    -----
    Tilborghs et al. (2022). Counts scale with the spacing: from 1 to 2 mm they fall to an eighth.

    Examples
    --------
    >>> expected_volumes([[120], [80], [0], [200], [0]])
    (80.0,)
    >>> round(expected_volumes([[120], [80], [0], [200], [0]], include_empty=False)[0], 3)
    133.333
    """
    rows = [tuple(float(n) for n in row) for row in counts]
    if not rows or len({len(row) for row in rows}) != 1 or any(not n >= 0 for row in rows for n in row):
        raise GraphError(
            "Counts of voxels do not fit.",
            got=rows[:3],
            expected="a row per image, a number of 0 or more per class",
            remedy="pass one row per image, with the number of voxels of each class",
        )
    columns = [[n for n in column if include_empty or n > 0] for column in zip(*rows, strict=True)]
    return tuple(sum(column) / len(column) if column else 0.0 for column in columns)
