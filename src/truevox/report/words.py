"""Numbers and words as the page shows them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["number", "plain", "seconds", "unit_suffix"]


def number(value: Any) -> str:
    """A number with as many digits as a reader needs; a dash for none.

    Examples
    --------
    >>> number(0.84216), number(-3.14159), number(123.4), number(None), number(0.0000123)
    ('0.842', '−3.14', '123', '–', '1.23e−05')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size != 0 and size < 0.0005:
        text = f"{value:.3g}"
    else:
        text = f"{value:.{3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0}f}"
    return text.replace("-", "−")


def unit_suffix(unit: str) -> str:
    """What stands behind a name: nothing for ratios and counts.

    Examples
    --------
    >>> unit_suffix("mm"), unit_suffix("1")
    (' (mm)', '')
    """
    return "" if unit in ("", "1", "count") else f" ({unit})"


def seconds(value: Any) -> str:
    """A duration in words.

    Examples
    --------
    >>> seconds(8.21), seconds(754.0)
    ('8.2 s', '12 min 34 s')
    """
    if not isinstance(value, (int, float)):
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain(value: float | None) -> float | None:
    """A number with six digits for the page's data; None for what is not finite.

    Examples
    --------
    >>> plain(0.123456789), plain(float("nan"))
    (0.123457, None)
    """
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
