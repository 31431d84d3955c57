"""An error map as a picture in three planes."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from truevox.figures import BLUE, ORANGE
from truevox.report.error_maps import FN, FP, TP, ErrorMap
from truevox.space import Grid

__all__ = ["PLANES", "planes", "png"]

PLANES = ("axial", "coronal", "sagittal")
# For each plane: the axis cut, what runs to the right and what runs up, and the letters at the picture's
# left, right, top and bottom. As in radiology, the patient's left is at the picture's right.
_CUTS = {
    "axial": (2, (0, -1), (1, 1), "RLAP"),
    "coronal": (1, (0, -1), (2, 1), "RLSI"),
    "sagittal": (0, (1, -1), (2, 1), "APSI"),
    "picture": (2, (0, -1), (1, 1), ""),
}
_COLOURS = {TP: ("#969696", 0.55), FP: (ORANGE, 0.85), FN: (BLUE, 0.85)}
_PANEL = 224
_PIXEL_BARS = tuple(base * 10**power for power in range(10) for base in (1, 2, 5))
_GAP = 4
_GREYS = 40


def planes(grid: Grid) -> tuple[str, ...]:
    """The planes that can be cut: one only for a single slice, and for a picture, whose axes have no names.

    Examples
    --------
    >>> planes(Grid((8, 8, 1))), len(planes(Grid((8, 8, 8)))), planes(Grid((8, 8), unit="px"))
    (('axial',), 3, ('picture',))
    """
    if grid.unit != "mm":
        return ("picture",)
    flat = [name for name in PLANES if grid.shape[_CUTS[name][0]] == 1]
    return (flat[0],) if flat else PLANES


def png(found: ErrorMap) -> bytes:
    """Slices through the largest error, and below them through the largest missed piece if it is elsewhere.

    Grey is right, orange a false positive, blue a false negative; thin lines mark the place, letters the
    patient's sides, a bar the length of 10 mm. A picture without a spacing has no letters, and its bar is in
    pixels.

    Returns
    -------
    bytes
        A PNG file with a small palette.
    """
    rows = [found.focus]
    if found.missed is not None and _apart(found, found.missed):
        rows.append(found.missed)
    names = planes(found.grid)
    size = (len(names) * (_PANEL + _GAP) - _GAP, len(rows) * (_PANEL + _GAP) - _GAP)
    sheet = Image.new("RGB", size, "black")
    for row, place in enumerate(rows):
        for column, name in enumerate(names):
            sheet.paste(_panel(found, name, place), (column * (_PANEL + _GAP), row * (_PANEL + _GAP)))
    stream = io.BytesIO()
    _indexed(sheet).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _tinted(grey: NDArray[Any], code: int) -> NDArray[np.uint8]:
    """Colours (n, 3) of grey values where the masks have this code."""
    found = np.repeat(np.asarray(grey, np.float64)[:, None], 3, axis=1)
    if code in _COLOURS:
        colour, share = _COLOURS[code]
        found += share * (np.array(ImageColor.getrgb(colour)) - found)
    return np.rint(found).astype(np.uint8)


@cache
def _palette() -> NDArray[np.uint8]:
    """All colours of pictures: every code over every grey, and those of lines and letters."""
    levels = np.linspace(0, 255, _GREYS)
    return np.concatenate([*(_tinted(levels, code) for code in (0, *_COLOURS)), [(255,) * 3, (112,) * 3]])


def _indexed(sheet: Image.Image) -> Image.Image:
    """A sheet with the palette of all pictures: an error of a few pixels keeps its colour.

    A palette made for the sheet would mix colours of small areas with those of large ones.
    """
    palette = _palette().astype(np.int64)
    pixels = np.asarray(sheet, np.int64).reshape(-1, 3)
    codes, places = np.unique(pixels @ [65536, 256, 1], return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)
    # Only the edges of letters are in between.
    nearest = ((colours[:, None] - palette) ** 2).sum(2).argmin(1).astype(np.uint8)
    found = Image.fromarray(nearest[places].reshape(sheet.height, sheet.width))
    found.putpalette(palette.astype(np.uint8).tobytes())
    return found


def _apart(found: ErrorMap, other: tuple[int, int, int]) -> bool:
    """Whether two places share no slice in view."""
    steps = np.abs(np.subtract(found.focus, other)) * found.grid.spacing
    return bool(steps.max() > 2 * found.grid.spacing.max())


def _panel(found: ErrorMap, name: str, place: tuple[int, int, int]) -> Image.Image:
    cut, (across, right), (upward, up), letters = _CUTS[name]
    codes = _slice(found.codes, cut, place[cut], across, right, upward, up)
    grey = np.full(codes.shape, 24, np.uint8)
    if found.image is not None:
        grey = _slice(found.image, cut, place[cut], across, right, upward, up)
    spacing = found.grid.spacing
    width, height = codes.shape[1] * spacing[across], codes.shape[0] * spacing[upward]
    scale = _PANEL / max(width, height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    smooth = np.array(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC), np.float64)
    smooth = np.rint(smooth / 255 * (_GREYS - 1)) * 255 / (_GREYS - 1)
    blocks = np.array(Image.fromarray(codes).resize(size, Image.Resampling.NEAREST))
    drawn = np.zeros((*blocks.shape, 3), np.uint8)
    for code in (0, *_COLOURS):
        drawn[blocks == code] = _tinted(smooth[blocks == code], code)
    panel = Image.new("RGB", (_PANEL, _PANEL), "black")
    corner = ((_PANEL - size[0]) // 2, (_PANEL - size[1]) // 2)
    panel.paste(Image.fromarray(drawn), corner)
    at = (
        corner[0] + _position(place[across], codes.shape[1], right) * size[0],
        corner[1] + _position(place[upward], codes.shape[0], -up) * size[1],
    )
    _marks(panel, at, letters, scale, found.grid.unit)
    return panel


def _slice(
    array: NDArray[np.uint8], cut: int, at: int, across: int, right: int, upward: int, up: int
) -> NDArray[np.uint8]:
    """Rows from top to bottom, columns from left to right."""
    plane = np.moveaxis(array, cut, 0)[at]
    if across < upward:
        plane = plane.T
    return np.ascontiguousarray(plane[::-up, ::right])


def _position(index: int, count: int, direction: int) -> float:
    """Centre of a voxel as a share of the panel."""
    share = (index + 0.5) / count
    return share if direction > 0 else 1 - share


def _marks(panel: Image.Image, at: tuple[float, float], letters: str, scale: float, unit: str) -> None:
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(17)
    x, y = at
    last = _PANEL - 1
    # Crosshairs stop short of the place itself, so that they hide nothing of it.
    for line in ((0, y, x - 14, y), (x + 14, y, last, y), (x, 0, x, y - 14), (x, y + 14, x, last)):
        if line[0] <= line[2] and line[1] <= line[3]:
            draw.line(line, fill="#707070")
    middle = _PANEL / 2
    spots = ((4, middle, "lm"), (last - 4, middle, "rm"), (middle, 3, "mt"), (middle, last - 3, "mb"))
    for letter, (left, top, anchor) in zip(letters, spots, strict=False):
        draw.text((left, top), letter, "white", font, anchor, stroke_width=1, stroke_fill="black")
    length = 10 if unit == "mm" else next(n for n in _PIXEL_BARS if n * scale > _PANEL / 10)
    bar = length * scale
    if bar < _PANEL / 2:
        draw.line((8, last - 8, 8 + bar, last - 8), fill="white", width=2)
        draw.text(
            (8, last - 13), f"{length} {unit}", "white", font, "lb", stroke_width=1, stroke_fill="black"
        )
