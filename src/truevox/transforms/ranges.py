"""What a random transform draws from: a number that stands for a range, or the range itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from truevox.errors import GraphError

__all__ = ["Range", "check_probability", "plus_minus", "up_to"]

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
    low, high = _pair((least, value) if isinstance(value, (int, float)) else value, value, what)
    if low < least or high > most:
        raise GraphError(f"{what} is a range within {least:g} and {most:g}.", got=value)
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
    pair = (middle - value, middle + value) if isinstance(value, (int, float)) else value
    return _pair(pair, value, what)


def _pair(pair: Sequence[float], given: Range, what: str) -> tuple[float, float]:
    ends = np.asarray(pair, dtype=np.float64)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise GraphError(f"{what} is a number, or a range (low, high) with low up to high.", got=given)
    return float(ends[0]), float(ends[1])


def check_probability(value: float, what: str) -> None:
    """Refuse what is no probability.

    Raises
    ------
    GraphError
    """
    if not 0 <= value <= 1:
        raise GraphError(f"{what}: probability lies in [0, 1].", got=value)
