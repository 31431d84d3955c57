"""PNG, TIFF and JPEG as 2D images: i runs along the columns to the right, j along the rows downwards."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from truevox.errors import FileError, GeometryError
from truevox.io.guard import allocate, decoding
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels, reader, writer
from truevox.io.streams import Block
from truevox.io.text import FROM_LPS
from truevox.space import Grid, Unit

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["read_picture", "write_png", "write_tiff"]

# Pillow's modes: type and channels.
_MODES = {
    "1": ("uint8", 1),
    "L": ("uint8", 1),
    "P": ("uint8", 1),
    "I;16": ("uint16", 1),
    "I;16L": ("uint16", 1),
    "I;16B": ("uint16", 1),
    "I": ("int32", 1),
    "F": ("float32", 1),
    "LA": ("uint8", 2),
    "RGB": ("uint8", 3),
    "RGBA": ("uint8", 4),
}
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 274, 282, 283, 296
_UNIT_MM = {2: 25.4, 3: 10.0}


@reader(".png", ".tif", ".tiff", ".jpg", ".jpeg")
def read_picture(path: Path) -> tuple[Header, Voxels]:
    """Open a picture: grey is 1 channel, colour 3, alpha one more; pages of a TIFF are axis K.

    A picture has no place in a patient. As in ITK its columns run to the left (L) and its rows to the
    back (P), as on a radiologist's screen; lengths are in pixels unless a TIFF tells a resolution in cm or
    inch. Values of a palette are its indices.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, far too large or of another kind.
    """
    with _opened(path) as picture:
        dtype, channels = _mode(picture, path)
        pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
        spacing, unit, notes = _spacing(picture)
        if picture.mode == "P":
            notes.append("a palette: values are its indices")
        # Pillow would read the whole PNG to look for one.
        if ("exif" in picture.info or picture.format != "PNG") and picture.getexif().get(
            _ORIENTATION, 1
        ) != 1:
            notes.append("a rotation for display (EXIF), which is not applied")
        size = picture.size
        if picture.format == "PNG":
            need = math.prod(size) * len(picture.getbands()) * _png_depth(path) // 8
            Block(path, (need, 1, 1, 1), np.dtype(np.uint8), packing="zlib").check()
    grid = Grid((*size, pages), FROM_LPS @ np.diag([*spacing, 1.0, 1.0]), unit)

    def voxels(box: Box) -> NDArray:
        i, j, k = box
        shape = (channels, i.stop - i.start, j.stop - j.start, k.stop - k.start)
        allocate((*size, channels), dtype, path)
        out = allocate(shape, dtype, path)
        with _opened(path) as picture:
            for page in range(k.start, k.stop):
                if pages > 1:
                    picture.seek(page)
                if picture.size != size or _mode(picture, path) != (dtype, channels):
                    raise FileError(
                        "The pages of the file are pictures of different size or kind.",
                        file=path,
                        got=f"page {page}: {picture.size}, {picture.mode}",
                        expected=f"{size}",
                        remedy="write the page that is meant to a file of its own",
                    )
                rows = np.asarray(picture)[j, i]
                out[..., page - k.start] = rows.reshape(*rows.shape[:2], channels).transpose(2, 1, 0)
        return out

    colour = channels > 1
    return Header(path, grid, channels, np.dtype(dtype).name, None, tuple(notes), colour=colour), voxels


@writer(".png")
def write_png(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write one slice of 8 or 16 bit, or of 8 bit with 3 or 4 channels, without loss.

    Raises
    ------
    GeometryError
        If the image is no picture: of several slices, or with a place or spacing of its own.
    FileError
        If its numbers don't fit.
    """
    _expect_picture(image.grid, Grid((*image.grid.shape[:2], 1), FROM_LPS), "PNG")
    _picture(voxels[..., 0], path, ("uint8", "uint16")).save(path, "PNG")


@writer(".tif", ".tiff")
def write_tiff(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write pages of 8 or 16 bit, int32 or float32, without loss; the spacing in the plane is kept.

    Raises
    ------
    GeometryError
        If the image has a place of its own.
    FileError
        If its numbers don't fit.
    """
    spacing = image.grid.spacing
    _expect_picture(image.grid, Grid(image.grid.shape, FROM_LPS @ np.diag([*spacing[:2], 1.0, 1.0])), "TIFF")
    types = ("uint8", "uint16", "int32", "float32")
    pages = [_picture(voxels[..., k], path, types) for k in range(voxels.shape[3])]
    tags: dict[int, Any] = {}
    if not np.array_equal(spacing[:2], (1, 1)):
        tags = {_X_RESOLUTION: 10 / spacing[0], _Y_RESOLUTION: 10 / spacing[1], _UNIT: 3}
    pages[0].save(
        path, "TIFF", save_all=True, append_images=pages[1:], tiffinfo=tags, compression="tiff_adobe_deflate"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    with warnings.catch_warnings(), decoding(path):
        # Pillow warns of much less than what a machine can hold, and of every oddity of a TIFF.
        warnings.simplefilter("ignore")
        with Pillow.open(path, formats=("PNG", "TIFF", "JPEG", "MPO")) as picture:
            yield picture


def _mode(picture: Pillow.Image, path: Path) -> tuple[str, int]:
    """Type and channels. Pillow would halve the digits of colours of 16 bit without a word."""
    deep = picture.format == "PNG" and _png_depth(path) == 16 and picture.mode not in ("I;16", "I;16B", "I")
    if deep or picture.mode not in _MODES:
        raise FileError(
            f"Pictures of this kind are not read: {'16 bit, ' if deep else ''}{picture.mode}.",
            file=path,
            expected="grey of 1, 8, 16 or 32 bit, colour of 8 bit",
            remedy="convert it, e.g. to one grey TIFF per channel",
        )
    return _MODES[picture.mode]


def _png_depth(path: Path) -> int:
    with open(path, "rb") as stream:
        return (stream.read(25) + bytes(25))[24]


def _spacing(picture: Pillow.Image) -> tuple[tuple[float, float], Unit, list[str]]:
    """Spacing of columns and rows, its unit, and what is to say about it."""
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        unit = _UNIT_MM.get(tags.get(_UNIT, 0))
        found = [float(tags.get(tag, 0)) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
        if unit is not None and all(math.isfinite(f) and f > 0 for f in found):
            return (unit / found[0], unit / found[1]), "mm", ["a spacing that is the resolution of the TIFF"]
    return (1.0, 1.0), "px", ["no spacing: lengths are in pixels (px)"]


def _expect_picture(grid: Grid, wanted: Grid, name: str) -> None:
    if not grid.same_as(wanted):
        raise GeometryError(
            f"A {name} can't say where its pixels lie.",
            got=grid.describe(),
            expected=f"{wanted.describe()}, at the origin",
            remedy="write .nii.gz or .nrrd; or, if the place may be lost, put the array on the grid of a "
            "picture: tv.Image(image.data, tv.Grid(image.grid.shape, np.diag([-1, -1, 1, 1])))",
        )


def _picture(page: NDArray, path: Path, types: tuple[str, ...]) -> Pillow.Image:
    """A page (C, I, J) as Pillow's picture."""
    name, channels = page.dtype.name, len(page)
    if name not in types or channels not in (1, 3, 4) or (channels > 1 and name != "uint8"):
        raise FileError(
            "The file's format can't hold these numbers.",
            file=path,
            got=f"{name}, {channels} channels",
            expected=f"{', '.join(types)}; several channels (3 or 4) as uint8",
            remedy="write .nii.gz or .nrrd; or scale the values and round them",
        )
    rows = np.ascontiguousarray(page.transpose(2, 1, 0))
    return Pillow.fromarray(rows[..., 0] if channels == 1 else rows)
