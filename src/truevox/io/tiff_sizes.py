"""How large the pixels of a TIFF are: in the words of OME, of ImageJ, or by its resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from truevox.errors import GeometryError
from truevox.io.pictures import NO_SPACING
from truevox.io.units import millimetres, seconds
from truevox.space import Unit

__all__ = ["Sizes", "sizes_of"]

_INCH, _CENTIMETRE = 2, 3
# Dots per inch that programs write without being asked: of screens, figures and printers.
_HABITS = (72, 96, 100, 150, 200, 300, 600, 1200)
_OTHERS = {"C": "many grey channels", "T": "frames without times"}


@dataclass(frozen=True)
class Sizes:
    """Spacing of columns, rows and slices, its unit, seconds between time points, and what is to say."""

    spacing: tuple[float, float, float]
    unit: Unit
    notes: tuple[str, ...]
    interval_s: float | None = None


def sizes_of(file: Any, key: Any, path: Path, slices: int, letter: str) -> Sizes:
    """What a file says of the size of its pixels; ``letter``: what tifffile calls its slices.

    Raises
    ------
    GeometryError
        If it says so in a unit that is not understood.
    """
    if file.ome_metadata:
        found, interval = _of_ome(file.ome_metadata, path)
        where = "OME"
    elif file.imagej_metadata:
        found, interval = _of_imagej(file.imagej_metadata, key, path, slices)
        where = "ImageJ"
    else:
        found, interval, where = _of_resolution(key), None, "TIFF"
    if letter in _OTHERS:
        note = f"{_OTHERS[letter]}, taken for slices of unknown distance: lengths are in pixels (px)"
        return Sizes((1.0, 1.0, 1.0), "px", (note,))
    x, y, z = found
    if x is None or y is None:
        habit = _habit(key) if where == "TIFF" else None
        notes = [NO_SPACING]
        if habit is not None:
            notes = [
                f"a resolution of {habit} per inch, as programs write it unasked: lengths are in pixels (px)"
            ]
        return Sizes((1.0, 1.0, 1.0), "px", tuple(notes), interval)
    if z is None and slices > 1:
        note = f"a spacing in the plane ({x:g} x {y:g} mm), and none of its pages: lengths are in pixels (px)"
        return Sizes((1.0, 1.0, 1.0), "px", (note,), interval)
    words = "the resolution of the TIFF" if where == "TIFF" else f"that of {where}"
    return Sizes((x, y, 1.0 if z is None else z), "mm", (f"a spacing that is {words}",), interval)


_Found = tuple[float | None, float | None, float | None]


def _of_ome(text: str, path: Path) -> tuple[_Found, float | None]:
    """PhysicalSizeX, Y, Z of the first image; micrometres where no unit is given (OME's schema)."""
    pixels = next((e for e in ElementTree.fromstring(text).iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return (None, None, None), None
    lengths = [
        _length(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "um"), path) for a in "XYZ"
    ]
    step = _number(pixels.get("TimeIncrement"))
    second = seconds(pixels.get("TimeIncrementUnit", "s"))
    return (lengths[0], lengths[1], lengths[2]), None if step is None or second is None else step * second


def _of_imagej(said: dict[str, Any], key: Any, path: Path, slices: int) -> tuple[_Found, float | None]:
    """Pixels per unit are in the tags of resolution; the distance of slices is 1 unit if it is not given."""
    unit = str(said.get("unit", "pixel")) or "pixel"
    x, y = _per_unit(key)
    depth = said.get("spacing", 1.0 if slices > 1 else None)
    lengths = (
        _length(None if x is None else 1 / x, unit, path),
        _length(None if y is None else 1 / y, str(said.get("yunit", unit)), path),
        _length(depth, str(said.get("zunit", unit)), path),
    )
    step = _number(said.get("finterval"))
    second = seconds(str(said.get("tunit", "s")))
    return lengths, None if step is None or second is None else step * second


def _of_resolution(key: Any) -> _Found:
    x, y = _per_unit(key)
    length = {_INCH: 25.4, _CENTIMETRE: 10.0}.get(int(key.tags.valueof(296, default=0) or 0))
    if x is None or y is None or length is None or _habit(key) is not None:
        return None, None, None
    return length / x, length / y, None


def _habit(key: Any) -> int | None:
    """Dots per inch, if they are among those that say nothing of what is in the picture."""
    x, y = _per_unit(key)
    inch = int(key.tags.valueof(296, default=0) or 0) == _INCH
    return int(x) if inch and x is not None and x == y and x in _HABITS else None


def _per_unit(key: Any) -> tuple[float | None, float | None]:
    """Pixels per unit of columns and rows, where the tags are there and make sense."""
    found = []
    for tag in (282, 283):
        value = key.tags.valueof(tag)
        ratio = value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else 0.0
        found.append(ratio if math.isfinite(ratio) and ratio > 0 else None)
    return found[0], found[1]


def _length(value: Any, unit: str, path: Path) -> float | None:
    """A length in mm; None where there is none, or it is counted in pixels."""
    number = _number(value)
    if number is None:
        return None
    length = None if unit.strip().lower() == "reference frame" else millimetres(unit, path)
    if length is not None and number <= 0:
        raise GeometryError(
            "A spacing is positive.",
            file=path,
            got=f"{value} {unit}",
            remedy="write a positive spacing into the file (in ImageJ: Image > Properties)",
        )
    return None if length is None else number * length


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
