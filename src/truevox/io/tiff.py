"""TIFF as tifffile understands it, with the axes and sizes of ImageJ and OME; other pages are axis K."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError
from truevox.io.arrays import array_grid
from truevox.io.guard import allocate, checked_type, damaged, decoding
from truevox.io.header import Header
from truevox.io.pictures import expect_picture, misfit
from truevox.io.registry import Box, Voxels, reader, writer
from truevox.io.text import FROM_LPS
from truevox.io.tiff_segments import read_page
from truevox.io.tiff_sizes import Sizes, sizes_of
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["read_tiff", "write_tiff"]

# Of what tifffile finds odd, what matters is said by errors and notes here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_STACKS = "ZIQ"
"""Letters of tifffile for slices, a sequence, and pages that nothing is said of."""
_UNNAMED = "IQ"
_FEW = 4
_MOST_PACKED = 1032  # deflate can't make more of a byte
_PHOTOMETRIC = 262
_ORIENTATION = 274
_WHITE_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_ALPHA = (1, 2)  # of the extra samples, those that are opacity
_COLOURS = (_WHITE_IS_ZERO, 1, _RGB, _PALETTE, 4)
_JPEG = 7
# Formats whose other pictures are a label of the glass, an overview and the like.
_SLIDES = ("svs", "scn", "ndpi", "bif", "philips", "avs", "qpi")
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")


@reader(".tif", ".tiff")
def read_tiff(path: Path) -> tuple[Header, Voxels]:
    """Open a TIFF: its finest level, values as stored. Colours, or one axis beside space, are channels.

    A picture has no place in a patient. As in ITK its columns run to the left (L) and its rows to the
    back (P). Lengths are in pixels unless ImageJ, OME or the resolution say how large one is.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, of pages that differ, or packed in a way
        that needs a package that is not installed.
    CaseError
        If there is more than one axis beyond those of space.
    GeometryError
        If its unit of length is not understood.
    """
    with _opened(path) as file:
        series = _series(file, path)
        stack = _stack(file, series, path)
        key = series.keyframe
        sizes = sizes_of(file, key, path, stack.slices, stack.slices_are)
        notes = [*_notes(key), *sizes.notes]
        alpha = any(int(extra) in _ALPHA for extra in key.extrasamples)
        colour = stack.samples > 1 and (alpha or int(key.photometric) == _RGB)
    affine = FROM_LPS @ np.diag([*sizes.spacing, 1.0])
    grid = array_grid((stack.channels, *stack.shape), affine, path, sizes.unit)

    def voxels(box: Box) -> NDArray:
        i, j, _ = box
        ranges = [range(n)[part] for n, part in zip(stack.shape, box, strict=True)]
        out = allocate((stack.channels, *map(len, ranges)), stack.dtype, path)
        with _opened(path) as file:
            planes = _Planes(file, _series(file, path), stack, path)
            for z, number in enumerate(ranges[2]):
                for c in range(stack.channels if stack.channel_axis is not None else 1):
                    plane = planes.read(c, number)[:, j, i].transpose(0, 2, 1)
                    out[c : c + len(plane), ..., z] = plane
        return out

    times = _times(sizes, stack)
    header = Header(path, grid, stack.channels, stack.dtype.name, None, tuple(notes), times, colour=colour)
    return header, voxels


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    with decoding(path), tifffile.TiffFile(path) as file:
        yield file


@dataclass(frozen=True)
class _Stack:
    """Which axes of a series are what: those before a page's own, and of them slices and channels."""

    before: tuple[int, ...]
    samples: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    slice_axis: int | None
    channel_axis: int | None
    letters: str

    @property
    def slices_are(self) -> str:
        """The letter of tifffile for slices."""
        return "Z" if self.slice_axis is None else self.letters[self.slice_axis]

    @property
    def slices(self) -> int:
        return self.shape[2]

    @property
    def channels(self) -> int:
        return self.samples if self.channel_axis is None else self.before[self.channel_axis]


def _series(file: tifffile.TiffFile, path: Path) -> Any:
    """The finest level of the picture of a file."""
    found: list[Any] = [one for one in file.series if one.keyframe is not None]
    if not found or min(found[0].shape) < 1 or not len(found[0].pages[0].dataoffsets):
        raise damaged(path, "no picture")
    # Coarser levels say so. A page that is only smaller may be anything.
    others = [
        one
        for one in (*found[0].levels[1:], *found[1:])
        if not (one.keyframe.is_reduced or one.keyframe.is_subifd)
    ]
    if others and found[0].kind.lower() not in _SLIDES:
        raise FileError(
            "The pages of the file are pictures of different size or kind.",
            file=path,
            got="; ".join(f"{'x'.join(map(str, one.shape))} {one.dtype}" for one in (found[0], *others[:3])),
            remedy="write the page that is meant to a file of its own",
        )
    return found[0]


def _stack(file: tifffile.TiffFile, series: Any, path: Path) -> _Stack:
    """Which axes are slices and channels: a stack has names for them, or one axis without a name."""
    key = series.keyframe
    # The axes before those of a page; a page of one column may have lost an axis.
    pages = math.prod(series.shape) // math.prod(key.shape)
    many = next(n for n in range(len(series.shape) + 1) if math.prod(series.shape[:n]) == pages)
    before, letters = tuple(series.shape[:many]), series.axes[:many]
    longer = [at for at, n in enumerate(before) if n > 1]
    stacks = sorted((_STACKS.index(letters[at]), at) for at in longer if letters[at] in _STACKS)
    slice_axis = stacks[0][1] if stacks else _misnamed(file, series, longer)
    beyond = [at for at in longer if at != slice_axis]
    colours = key.samplesperpixel > 1
    if len(beyond) + colours > 1 or any(letters[at] in _UNNAMED for at in beyond):
        raise CaseError(
            f"The image has {len(beyond) + colours} axes beyond those of space; "
            "one is understood, if it has a name (channels, colours or time).",
            file=path,
            got=", ".join(f"{a}: {n}" for a, n in zip(series.axes, series.shape, strict=True)),
            remedy="split it into several files; or, where an axis has no name (Q), save it with names: "
            'tifffile.imwrite(path, array, imagej=True, metadata={"axes": "ZCYX"})',
        )
    return _Stack(
        before,
        key.samplesperpixel,
        (key.imagewidth, key.imagelength, 1 if slice_axis is None else before[slice_axis]),
        _type(key, path),
        slice_axis,
        beyond[0] if beyond else None,
        letters,
    )


def _misnamed(file: tifffile.TiffFile, series: Any, longer: list[int]) -> int | None:
    """Where the lone axis of ImageJ is a stack all the same.

    tifffile, and who writes with it, calls a stack channels or frames where nobody says otherwise. Frames of
    a film have times, and channels that are shown together are few.
    """
    said = file.imagej_metadata or {}
    if series.kind.lower() != "imagej" or len(longer) != 1:
        return None
    letter, count = series.axes[longer[0]], series.shape[longer[0]]
    many = letter == "C" and count > _FEW and said.get("mode", "grayscale") == "grayscale"
    return longer[0] if many or (letter == "T" and not said.get("finterval")) else None


def _type(key: Any, path: Path) -> np.dtype:
    """The type of the numbers in memory.

    Raises
    ------
    FileError
        If they are no plain numbers, or colours that are neither grey nor red, green and blue.
    """
    colour = key.photometric if _PHOTOMETRIC in key.tags else 1
    if colour not in _COLOURS and not (colour == _YCBCR and key.compression == _JPEG):
        raise FileError(
            f"Pictures of this kind are not read: {getattr(colour, 'name', colour)}.",
            file=path,
            expected="grey, a palette, or red, green and blue",
            remedy="convert it, e.g. to one grey TIFF per channel",
        )
    if key.imagedepth > 1:
        raise FileError("Tiles with a depth are not read.", file=path, remedy="save it again as pages")
    if key.dtype is None:
        raise FileError(
            f"Numbers of {key.bitspersample} bit are not read.",
            file=path,
            expected="integers or floats of up to 64 bit",
            remedy="save it again with 8, 16, 32 or 64 bit",
        )
    bits = int(np.max(key.bitspersample)) * math.prod(key.shape)
    most = path.stat().st_size * (1 if key.compression == 1 else _MOST_PACKED)
    if bits // 8 > most and all(key.dataoffsets):
        raise damaged(path, f"{bits // 8} bytes of a page", f"at most {most} in so small a file")
    return np.dtype(np.uint8) if key.dtype.kind == "b" else checked_type(key.dtype, path).newbyteorder("=")


class _Planes:
    """Pages of a series by their channel and slice. Where all lie in a row, only what is used is read."""

    def __init__(self, file: tifffile.TiffFile, series: Any, stack: _Stack, path: Path) -> None:
        key = series.keyframe
        self.pages, self.stack, self.path = series.pages, stack, path
        self.rows: NDArray | None = None
        if series.dataoffset is None or key.bitspersample != 8 * key.dtype.itemsize:
            count = math.prod(stack.before)
            if len(series.pages) < count:
                raise damaged(path, f"{len(series.pages)} pages", f"{count} pages")
            return
        need = series.dataoffset + math.prod(series.shape) * key.dtype.itemsize
        if need > (have := path.stat().st_size):
            raise damaged(path, f"{have} bytes", f"{need} bytes")
        apart = stack.samples > 1 and key.planarconfig == 2
        wide = (stack.samples,) if apart else ()
        shape = (
            math.prod(stack.before),
            *wide,
            key.imagelength,
            key.imagewidth,
            *(() if apart else (stack.samples,)),
        )
        rows = np.memmap(path, key.dtype.newbyteorder(file.byteorder), "r", series.dataoffset, shape)
        self.rows = rows if apart else rows.transpose(0, 3, 1, 2)

    def read(self, channel: int, number: int) -> NDArray:
        """(samples, rows, columns) of a slice."""
        at = [0] * len(self.stack.before)
        for axis, index in ((self.stack.channel_axis, channel), (self.stack.slice_axis, number)):
            if axis is not None:
                at[axis] = index
        place = int(np.ravel_multi_index(at, self.stack.before)) if at else 0
        if self.rows is not None:
            return self.rows[place]
        page = self.pages[place]
        if page is None:
            raise damaged(self.path, f"no page for channel {channel}, slice {number}")
        return read_page(page, self.path)


def _notes(key: Any) -> list[str]:
    notes = []
    colour = key.photometric if _PHOTOMETRIC in key.tags else None
    if colour == _PALETTE:
        notes.append("a palette: values are its indices")
    if colour == _WHITE_IS_ZERO:
        notes.append("a display in which 0 is white (WhiteIsZero): values are as stored")
    turned = key.tags.valueof(_ORIENTATION, default=1)
    if turned != 1:
        notes.append("a rotation for display (Orientation), which is not applied")
    return notes


def _times(sizes: Sizes, stack: _Stack) -> tuple[float, ...] | None:
    timed = stack.channel_axis is not None and stack.letters[stack.channel_axis] == "T"
    if not timed or sizes.interval_s is None:
        return None
    return tuple((sizes.interval_s * np.arange(stack.channels)).tolist())


@writer(".tif", ".tiff")
def write_tiff(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write pages of integers up to 32 bit, or float32, without loss; the spacing is kept.

    Raises
    ------
    GeometryError
        If the image has a place of its own.
    FileError
        If its numbers don't fit.
    """
    grid, channels = image.grid, len(voxels)
    known = grid.unit == "mm"
    spacing = grid.spacing if known else np.ones(3)
    if grid.shape[2] == 1:
        spacing = np.array([*spacing[:2], 1.0])
    expect_picture(grid, Grid(grid.shape, FROM_LPS @ np.diag([*spacing, 1.0]), grid.unit), "TIFF")
    if voxels.dtype.name not in _TYPES or channels not in (1, 3, 4):
        raise misfit(path, voxels, f"{', '.join(_TYPES)}; 1, 3 or 4 channels")
    tags: dict[str, Any] = {}
    if known:
        tags = {"resolution": (10 / spacing[0], 10 / spacing[1]), "resolutionunit": "CENTIMETER"}
    if known and grid.shape[2] > 1:
        # In ImageJ's words, the only ones for the distance of pages that other programs know.
        slices, depth = grid.shape[2], float(spacing[2] / 10)
        tags["description"] = f"ImageJ=1.54f\nimages={slices}\nslices={slices}\nunit=cm\nspacing={depth!r}\n"
    pages = np.ascontiguousarray(voxels.transpose(3, 2, 1, 0))
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            file.write(
                page if channels > 1 else page[..., 0],
                photometric="rgb" if channels > 1 else "minisblack",
                extrasamples=["unassalpha"] if channels == 4 else None,
                compression="zlib",
                contiguous=False,
                metadata=None,
                **tags,
            )
            tags.pop("description", None)
