"""Parameters of transforms, checked when a transform is made: numbers, ranges, sizes, weights, images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node

__all__ = [
    "Range",
    "check_image",
    "check_probability",
    "check_size",
    "is_number",
    "number",
    "per_axis",
    "plus_minus",
    "shares",
    "up_to",
    "whole",
]

Range = float | Sequence[float]
"""A number, or (low, high)."""


def up_to(value: Range, what: str, least: float = 0.0, most: float = math.inf) -> tuple[float, float]:
    """(low, high) as given, or (``least``, value) for a number.

    Raises
    ------
    GraphError
        If it is no range, or not within [``least``, ``most``].

    Examples
    --------
    >>> up_to(3, "sigma"), up_to((1, 2), "sigma")
    ((0.0, 3.0), (1.0, 2.0))
    """
    low, high = _pair((least, value) if is_number(value) else value, value, what)
    if low < least or high > most:
        raise GraphError(
            f"{what} is a range within {least:g} and {most:g}.",
            got=value,
            remedy="write one number, or (low, high), within these limits",
        )
    return low, high


def plus_minus(value: Range, what: str, middle: float = 0.0) -> tuple[float, float]:
    """(low, high) as given, or ``middle`` plus and minus a number.

    Raises
    ------
    GraphError
        If it is no range.

    Examples
    --------
    >>> plus_minus(0.25, "factor", middle=1), plus_minus((0.5, 2), "factor")
    ((0.75, 1.25), (0.5, 2.0))
    """
    pair = (middle - value, middle + value) if is_number(value) else value
    return _pair(pair, value, what)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a single number, of Python's or NumPy's types."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _pair(pair: object, given: object, what: str) -> tuple[float, float]:
    ends = _numbers(pair)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise GraphError(
            f"{what} is a number, or a range (low, high) with low up to high.",
            got=given,
            remedy="write one number, or the smaller of two first",
        )
    return float(ends[0]), float(ends[1])


def check_probability(value: float, what: str) -> None:
    """Refuse what is no probability.

    Raises
    ------
    GraphError
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise GraphError(
            f"{what}: probability lies in [0, 1].",
            got=value,
            remedy="write such as 0.5 for every second image",
        )


def _numbers(value: object) -> np.ndarray:
    """As an array of floats; NaN for what is none."""
    try:
        given = np.asarray(value)
        return given.astype(np.float64) if given.dtype.kind in "iuf" else np.full(given.shape or 1, np.nan)
    except ValueError:  # a list of lists of several lengths
        return np.full(1, np.nan)


def number(
    value: object, what: str, least: float = -math.inf, most: float = math.inf, *, above: bool = False
) -> float:
    """A finite number from ``least`` (``above``: not ``least`` itself) to ``most``.

    Raises
    ------
    GraphError

    Examples
    --------
    >>> number(2, "RemoveSmall: least_ml", 0)
    2.0
    """
    if not is_number(value) or not math.isfinite(value) or not least <= value <= most:
        fits = False
    else:
        fits = not (above and value == least)
    if not fits:
        ends = [f"{'above' if above else 'from'} {least:g}"] * math.isfinite(least)
        ends += [f"up to {most:g}"] * math.isfinite(most)
        raise GraphError(
            f"{what} is a finite number{' ' * bool(ends)}{' '.join(ends)}.",
            got=repr(value),
            remedy="write a number within these limits, without quotes",
        )
    return float(value)  # type: ignore[arg-type] - seen to be a number


def whole(value: object, what: str, least: int = 1) -> int:
    """A whole number from ``least``.

    Raises
    ------
    GraphError
    """
    if not is_number(value) or not math.isfinite(value) or int(value) != value or value < least:
        raise GraphError(
            f"{what} is a whole number from {least}.",
            got=repr(value),
            remedy="write it without a point or quotes",
        )
    return int(value)


def check_size(value: object, what: str, least: int | None = 1) -> None:
    """Refuse what is no whole number (of at least ``least``), nor one for each of up to three axes.

    Raises
    ------
    GraphError
    """
    given = np.atleast_1d(_numbers(value))
    fits = given.ndim == 1 and given.size in (1, 2, 3) and np.isfinite(given).all()
    if not fits or (given != np.rint(given)).any() or np.asarray(value).dtype.kind == "f":
        raise GraphError(
            f"{what} is one whole number of voxels, or one per axis.",
            got=repr(value),
            remedy="write 32, or (32, 32, 16), without a point or quotes",
        )
    if least is not None and given.min() < least:
        raise GraphError(
            f"{what} is at least {least} voxel{'s' * (least != 1)}.",
            got=repr(value),
            remedy=f"write {least} or more for each axis",
        )


def per_axis(value: object, what: str) -> np.ndarray:
    """One finite number per axis: (3,).

    Raises
    ------
    GraphError
        If it is not one number, or three.
    """
    given = _numbers(value)
    if given.shape not in ((), (3,)) or not np.isfinite(given).all():
        raise GraphError(
            f"{what} is one finite number, or one per axis.",
            got=repr(value),
            remedy="write 2.0, or (2.0, 2.0, 3.0)",
        )
    return np.broadcast_to(given, 3)


def check_image(value: object, what: str, *others: type) -> None:
    """Refuse what is neither an image nor a node of a graph.

    Raises
    ------
    GraphError
    """
    if not isinstance(value, (Node, Image, *others)):
        raise GraphError(
            f"{what} is an image, or a node of a graph.",
            got=repr(value)[:80],
            remedy='e.g. tv.Input("flair") in a graph, or the image itself',
        )


def shares(weights: Sequence[float] | None, count: int, what: str, of: str) -> np.ndarray:
    """Weights, or equal ones, with sum 1.

    Raises
    ------
    GraphError
        If there is not one for each, or they are no weights.
    """
    given = np.ones(count) if weights is None else _numbers(weights)
    if given.shape != (count,) or not np.isfinite(given).all() or given.min() < 0 or given.sum() <= 0:
        raise GraphError(
            f"{what}: weights are one number per {of}, none below 0, not all 0.",
            got=repr(weights),
            expected=f"{count} numbers",
            remedy=f"give each {of} a number, or leave weights out to pick all equally often",
        )
    return given / given.sum()
