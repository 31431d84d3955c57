"""PNG and JPEG as 2D images: i runs along the columns to the right, j along the rows downwards."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from truevox.errors import FileError, GeometryError
from truevox.io.guard import allocate, decoding
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels, reader, writer
from truevox.io.streams import Block
from truevox.io.text import FROM_LPS
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["NO_SPACING", "expect_picture", "misfit", "read_picture", "write_png"]

NO_SPACING = "no spacing: lengths are in pixels (px)"

# Pillow's modes: type and channels.
_MODES = {
    "1": ("uint8", 1),
    "L": ("uint8", 1),
    "P": ("uint8", 1),
    "I;16": ("uint16", 1),
    "I;16B": ("uint16", 1),
    "I": ("uint16", 1),  # the same, by Pillow before 11
    "LA": ("uint8", 2),
    "RGB": ("uint8", 3),
    "RGBA": ("uint8", 4),
}
_ORIENTATION = 274


@reader(".png", ".jpg", ".jpeg")
def read_picture(path: Path) -> tuple[Header, Voxels]:
    """Open a picture: grey is 1 channel, colour 3, alpha one more. Values are those that the file stores.

    A picture has no place in a patient. As in ITK its columns run to the left (L) and its rows to the
    back (P), as on a radiologist's screen; lengths are in pixels. Values of a palette are its indices.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, far too large or of another kind.
    """
    with _opened(path) as picture:
        dtype, channels = _mode(picture, path)
        notes = [NO_SPACING]
        if picture.mode == "P":
            notes.append("a palette: values are its indices")
        # Pillow would read the whole PNG to look for one.
        if ("exif" in picture.info or picture.format != "PNG") and picture.getexif().get(
            _ORIENTATION, 1
        ) != 1:
            notes.append("a rotation for display (EXIF), which is not applied")
        size, steps = picture.size, 1
        if picture.format == "PNG":
            need = math.prod(size) * len(picture.getbands()) * _png_depth(path) // 8
            Block(path, (need, 1, 1, 1), np.dtype(np.uint8), packing="zlib").check()
            if picture.mode == "L":
                # Grey of 2 and 4 bit is spread over 0 to 255; a mask's 1 would be read as 85 or 17.
                steps = 255 // (2 ** min(_png_depth(path), 8) - 1)
    grid = Grid((*size, 1), FROM_LPS, unit="px")

    def voxels(box: Box) -> NDArray:
        i, j, k = box
        shape = (channels, i.stop - i.start, j.stop - j.start, k.stop - k.start)
        allocate((*size, channels), dtype, path)
        out = allocate(shape, dtype, path)
        with _opened(path) as picture:
            rows = np.asarray(picture)[j, i]
        out[..., 0] = rows.reshape(*rows.shape[:2], channels).transpose(2, 1, 0)
        if steps > 1:
            out //= steps
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
    expect_picture(image.grid, Grid((*image.grid.shape[:2], 1), FROM_LPS), "PNG")
    name, channels = voxels.dtype.name, len(voxels)
    if name not in ("uint8", "uint16") or channels not in (1, 3, 4) or (channels > 1 and name != "uint8"):
        raise misfit(path, voxels, "uint8, uint16; several channels (3 or 4) as uint8")
    rows = np.ascontiguousarray(voxels[..., 0].transpose(2, 1, 0))
    Pillow.fromarray(rows[..., 0] if channels == 1 else rows).save(path, "PNG")


def expect_picture(grid: Grid, wanted: Grid, name: str) -> None:
    """Refuse an image whose place or spacing a picture could not tell.

    Raises
    ------
    GeometryError
        Naming both grids.
    """
    if not grid.same_as(wanted):
        raise GeometryError(
            f"A {name} can't say where its pixels lie.",
            got=grid.describe(),
            expected=f"{wanted.describe()}, at the origin",
            remedy="write .nii.gz or .nrrd; or, if the place may be lost, put the array on the grid of a "
            'picture: tv.Image(image.data, tv.Grid(image.grid.shape, np.diag([-1, -1, 1, 1]), unit="px"))',
        )


def misfit(path: Path, voxels: NDArray, expected: str) -> FileError:
    """The error for numbers that a picture can't hold."""
    return FileError(
        "The file's format can't hold these numbers.",
        file=path,
        got=f"{voxels.dtype.name}, {len(voxels)} channels",
        expected=expected,
        remedy="write .nii.gz or .nrrd; or scale the values and round them",
    )


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    with warnings.catch_warnings(), decoding(path):
        # Pillow warns of much less than what a machine can hold.
        warnings.simplefilter("ignore")
        with Pillow.open(path, formats=("PNG", "TIFF", "JPEG", "MPO")) as picture:
            if picture.format == "TIFF":
                raise FileError(
                    "The file is a TIFF, not what its name says.", file=path, remedy="rename it to .tif"
                )
            yield picture


def _mode(picture: Pillow.Image, path: Path) -> tuple[str, int]:
    """Type and channels. Pillow would halve the digits of colours of 16 bit without a word."""
    deep = picture.format == "PNG" and _png_depth(path) == 16 and picture.mode not in ("I;16", "I;16B", "I")
    if deep or picture.mode not in _MODES:
        raise FileError(
            f"Pictures of this kind are not read: {'16 bit, ' if deep else ''}{picture.mode}.",
            file=path,
            expected="grey of 1 to 16 bit, colour of 8 bit",
            remedy="convert it, e.g. to one grey TIFF per channel",
        )
    return _MODES[picture.mode]


def _png_depth(path: Path) -> int:
    with open(path, "rb") as stream:
        return (stream.read(25) + bytes(25))[24]
