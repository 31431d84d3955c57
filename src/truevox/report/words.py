"""Numbers and words as the page shows them."""

from __future__ import annotations

import math
import re
from typing import Any

from truevox.evaluation.statistics.by_patient import Interval

__all__ = ["interval", "metric_title", "number", "plain", "seconds", "unit_suffix"]


_WRITTEN = {"iou": "IoU", "cldice": "clDice", "f1": "F1", "sq": "SQ", "pq": "PQ"}
_ACRONYMS = ("hd", "nsd", "assd", "masd", "ece", "nll", "auroc", "mcc")


def metric_title(name: str) -> str:
    """The short name of a metric as a heading; the unit stands beside it anyway.

    Examples
    --------
    >>> metric_title("volume_difference_ml"), metric_title("hd95"), metric_title("lesion_f1/any")
    ('Volume difference', 'HD95', 'Lesion F1/any')
    """
    stem, *rest = re.split(r"(?=[/@])", name.removesuffix("_ml"), maxsplit=1)
    words = []
    for word in stem.split("_"):
        plain_word = word.rstrip("0123456789")
        words.append(_WRITTEN.get(word, word.upper() if plain_word in _ACRONYMS else word))
    text = " ".join(words)
    return (text if words[0] in _WRITTEN.values() else text[:1].upper() + text[1:]) + "".join(rest)


def number(value: Any) -> str:
    """A number with as many digits as a reader needs; a dash for none.

    Examples
    --------
    >>> number(0.84216), number(-3.14159), number(123.4), number(None), number(0.0000123)
    ('0.842', '−3.14', '123', '–', '1.23e−05')

    Small numbers keep three digits, and only 1 looks like 1:

    >>> number(0.00149), number(0.9996), number(1.0)
    ('0.00149', '0.9996', '1.00')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size != 0 and size < 1e-4:
        return f"{value:.2e}".replace("-", "−")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    if 0 < size < 0.1:
        digits = 2 - math.floor(math.log10(size))
    while size < 1 - 1e-9 and float(f"{size:.{digits}f}") == 1:
        digits += 1
    return f"{value:.{digits}f}".replace("-", "−")


def interval(found: Interval) -> str:
    """Its limits; or that there is none, and why.

    Examples
    --------
    >>> interval(Interval(0.8, 0.7, 0.9)), interval(Interval(0.8, 0, 0, reason="fewer than 3 patients"))
    ('0.700 to 0.900', 'no interval: fewer than 3 patients')
    """
    return f"no interval: {found.reason}" if found.reason else f"{number(found.low)} to {number(found.high)}"


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

    What is not whole stays so: 0.9999999 is not perfect.

    Examples
    --------
    >>> plain(0.123456789), plain(float("nan")), plain(0.9999999)
    (0.123457, None, 0.9999999)
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return value if short.is_integer() and abs(value) < 1e5 else short
