"""Words for units, as people and programs write them."""

from __future__ import annotations

from pathlib import Path

from truevox.errors import GeometryError

__all__ = ["PIXELS", "millimetres", "seconds"]

PIXELS = frozenset({"px", "pixel", "pixels", "voxel", "voxels"})
"""Words that say that a length is counted, not measured."""

_LENGTHS = {
    "km": 1e6,
    "m": 1e3,
    "dm": 100.0,
    "cm": 10.0,
    "mm": 1.0,
    "um": 1e-3,
    "nm": 1e-6,
    "pm": 1e-9,
    "å": 1e-7,
    "in": 25.4,
    "ft": 304.8,
}
_TIMES = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_PREFIXES = {
    "": "",
    "kilo": "k",
    "deci": "d",
    "centi": "c",
    "milli": "m",
    "micro": "u",
    "nano": "n",
    "pico": "p",
}
_LONG = {
    **{f"{long}met{er}": f"{short}m" for long, short in _PREFIXES.items() for er in ("er", "re")},
    **{f"{long}second": f"{short}s" for long, short in _PREFIXES.items()},
    **{f"{long}sec": f"{short}s" for long, short in _PREFIXES.items()},
    **{"micron": "um", "angstrom": "å", "inch": "in", "inches": "in", '"': "in", "foot": "ft", "feet": "ft"},
    **{"msec": "ms", "usec": "us", "minute": "min", "hour": "h", "hr": "h"},
}


def millimetres(word: str, path: Path) -> float | None:
    """How many millimetres a unit of length is; None for pixels.

    Raises
    ------
    GeometryError
        If the word is none; names the file.

    Examples
    --------
    >>> [millimetres(word, Path("a.nrrd")) for word in ("mm", "microns", "µm", "Centimetre", "pixels")]
    [1.0, 0.001, 0.001, 10.0, None]
    """
    if word.strip().lower() in PIXELS:
        return None
    found = _LENGTHS.get(_short(word))
    if found is None:
        raise GeometryError(
            f"The unit of length '{word}' is not understood.",
            file=path,
            expected="mm, cm, m, um, nm, in, or px",
            remedy="write one of these into the file's header, or convert the file",
        )
    return found


def seconds(word: str) -> float | None:
    """How many seconds a unit of time is; None if the word is none.

    Examples
    --------
    >>> seconds("ms"), seconds("minutes"), seconds("Hz")
    (0.001, 60.0, None)
    """
    return _TIMES.get(_short(word))


def _short(word: str) -> str:
    """The symbol of a unit. Both characters for micro are written, and ImageJ's way to write one in ASCII."""
    word = word.strip().lower().replace("\\u00b5", "u").replace("\u00b5", "u").replace("\u03bc", "u")
    word = word.replace("\u00e5ngstr\u00f6m", "angstrom").replace("\u212b", "\u00e5")
    return next((_LONG[w] for w in (word, word.removesuffix("s")) if w in _LONG), word)
