"""NRRD: voxels behind a header (.nrrd), or header and voxels apart (.nhdr, read only)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, GeometryError
from truevox.io.guard import damaged
from truevox.io.header import Header
from truevox.io.registry import Voxels, reader, writer
from truevox.io.streams import Block, write_gzip
from truevox.io.text import FROM_LPS, at_the_end, complete, data_file, numbers, sizes, text_before, voxels_of
from truevox.labels import Labels
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["read_nrrd", "write_nrrd"]

_TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "uint64": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names}
_TO_RAS = {
    "right-anterior-superior": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "left-posterior-superior": FROM_LPS,
}
_SPACES = {
    "ras": "right-anterior-superior",
    "las": "left-anterior-superior",
    "lps": "left-posterior-superior",
}
_MILLIMETRES = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "um": 1e-3}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Kinds of axes that are no direction in space.
_CHANNELS = re.compile(
    r"list|vector|.*-vector|.*-color|point|covariant-vector|normal|complex|time|.*matrix.*"
)
_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class _Text:
    """The fields (lower case) and the keys of a header."""

    path: Path
    fields: Mapping[str, str]
    keys: Mapping[str, str]

    def words(self, name: str, count: int) -> list[str]:
        """What a field says of each axis; empty words if it is not there."""
        text = self.fields.get(name, "")
        found = re.findall(r'"([^"]*)"', text) if '"' in text else text.split()
        return found if len(found) == count else [""] * count

    def vectors(self, name: str) -> list[list[float] | None]:
        """Vectors in brackets; None for ``none``."""
        found = re.findall(r"none|\(([^()]*)\)", self.fields.get(name, ""))
        return [numbers(v.replace(",", " "), self.path) if v else None for v in found]


@reader(".nrrd", ".nhdr")
def read_nrrd(path: Path) -> tuple[Header, Voxels]:
    """Open an NRRD file, raw or gzipped: its header, and its voxels (C, I, J, K) on demand.

    Files without a space are taken for LPS (as ITK does), which is noted. Lists, vectors and time points
    are channels.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, no NRRD or in an encoding for people.
    GeometryError
        If the affine is singular or not finite.
    CaseError
        If there is more than one axis beyond the third.
    """
    text, end = _parse(path)
    dtype = _dtype(text)
    axes = int(sizes(text.fields.get("dimension", ""), path, 1)[0])
    counts = sizes(text.fields.get("sizes", ""), path, axes)
    space = [a for a, kind in enumerate(text.words("kinds", axes)) if not _CHANNELS.fullmatch(kind.lower())]
    directions = text.vectors("space directions")
    if len(directions) == axes:
        space = [a for a in space if directions[a] is not None]
    # The fourth axis of space is time.
    space = space[:3]
    beyond = [a for a in range(axes) if a not in space and counts[a] > 1]
    if len(beyond) > 1 or not space or (beyond and space[0] < beyond[0] < space[-1]):
        raise CaseError(
            "One axis beyond those of space is understood (time or components), before or after them.",
            file=path,
            got=f"{'x'.join(map(str, counts))}, {text.fields.get('kinds', 'no kinds')}",
            remedy="split it into several files, or move the axis to the front",
        )
    wide = [counts[a] for a in space]
    shape = (*wide, *[1] * (3 - len(wide)), counts[beyond[0]] if beyond else 1)
    interleaved = bool(beyond) and beyond[0] < space[0]
    grid, notes = _grid(text, shape[:3], space, directions, axes)
    block = _block(text, end, shape, dtype, interleaved)
    times = _times(text, beyond[0], axes, shape[3]) if beyond else None
    labels, more = _segments(text, shape[3])
    colour = bool(beyond) and "color" in text.words("kinds", axes)[beyond[0]].lower()
    header = Header(path, grid, shape[3], dtype.name, None, (*notes, *more), times, labels, colour)
    header = replace(header, part=labels is not None)
    return header, voxels_of(block)


@writer(".nrrd")
def write_nrrd(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write voxels (C, I, J, K) as NRRD with gzip, several channels as a list behind the axes of space.

    The affine keeps all its digits. Known times are written as 3D Slicer does (MultiVolume).
    """
    affine = FROM_LPS @ image.grid.affine
    channels = len(voxels)
    many = channels > 1
    lines = [
        "NRRD0005",
        f"type: {_TYPES[voxels.dtype.name][0]}",
        f"dimension: {3 + many}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, (*image.grid.shape, channels)[: 3 + many]))}",
        f"space directions: {' '.join(_vector(affine[:3, a]) for a in range(3))}{' none' * many}",
        f"kinds: domain domain domain{' list' * many}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(affine[:3, 3])}",
    ]
    times = header.times if header is not None else None
    if times is not None and len(times) == channels:
        lines += [
            "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms",
            f"MultiVolume.FrameLabels:={','.join(repr(t * 1000) for t in times)}",
            f"MultiVolume.NumberOfFrames:={channels}",
        ]
    block = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    with open(path, "wb") as stream:
        stream.write(("\n".join(lines) + "\n\n").encode("ascii"))
        write_gzip(stream, (volume.tobytes("F") for volume in block), image.kind)


def _vector(values: NDArray) -> str:
    return f"({','.join(repr(float(v) + 0.0) for v in values)})"


def _parse(path: Path) -> tuple[_Text, int]:
    content, end = text_before(path, _END)
    lines = content.splitlines()
    if not lines or not re.fullmatch(r"NRRD000[1-5]\s*", lines[0]):
        raise FileError(
            "The file is not an NRRD image.", file=path, remedy="convert it again from its source"
        )
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in lines[1:]:
        key, separator, value = re.match(r"([^:]*)(:=|:|)(.*)", line).groups()  # type: ignore[union-attr]
        if not line.startswith("#") and separator:
            (keys if separator == ":=" else fields)[
                key.strip() if separator == ":=" else key.strip().lower()
            ] = value.strip()
    return _Text(path, fields, keys), end


def _dtype(text: _Text) -> np.dtype:
    name = text.fields.get("type", "")
    if name.lower() not in _DTYPES:
        raise FileError(
            f"Voxels of type '{name}' can't be used as numbers.",
            file=text.path,
            expected="integers or floats of up to 64 bits",
        )
    return np.dtype(_DTYPES[name.lower()])


def _block(text: _Text, end: int, shape: tuple[int, ...], dtype: np.dtype, interleaved: bool) -> Block:
    fields, path = text.fields, text.path
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise FileError(
            f"Voxels in the encoding '{encoding}' are not read.",
            file=path,
            expected="raw or gzip",
            remedy="write it again in one of these",
        )
    order = fields.get("endian", "little").lower()
    if order not in ("little", "big"):
        raise damaged(path, f"endian: {order}", "little or big")
    name = fields.get("data file", fields.get("datafile"))
    skip = numbers(fields.get("byte skip", fields.get("byteskip", "0")), path, 1)[0]
    lines = numbers(fields.get("line skip", fields.get("lineskip", "0")), path, 1)[0]
    packing = None if encoding == "raw" else "gzip"
    if lines != 0 or skip != int(skip) or skip < (-1 if packing is None else 0) or skip > 2**62:
        raise FileError(
            "The header skips parts of the data in a way that is not understood.",
            file=path,
            got=f"line skip {lines:g}, byte skip {skip:g}",
        )
    block = Block(
        path if name is None else data_file(path, name),
        (shape[0], shape[1], shape[2], shape[3]),
        dtype.newbyteorder("<" if order == "little" else ">"),
        offset=max(int(skip), 0),
        start=end if name is None else 0,
        packing=packing,
        interleaved=interleaved,
    )
    return replace(block, start=at_the_end(block)) if skip == -1 else block


def _grid(
    text: _Text,
    shape: tuple[int, ...],
    space: list[int],
    directions: list[list[float] | None],
    axes: int,
) -> tuple[Grid, tuple[str, ...]]:
    """The grid in RAS, and what is odd about it."""
    name = text.fields.get("space", "").lower()
    name = _SPACES.get(name, name).removesuffix("-time")
    notes: list[str] = []
    if name not in _TO_RAS:
        what = f"a space '{name}'" if name else "no space"
        notes.append(f"{what}: its orientation is taken for left-posterior-superior")
    affine = np.eye(4)
    rows = [directions[a] for a in space] if len(directions) == axes else []
    if rows:
        if len({len(row or ()) for row in rows}) != 1:
            raise damaged(text.path, f"space directions: {text.fields['space directions'][:80]}")
        # Fewer components are a plane; a fourth is time.
        vectors = np.zeros((len(rows), 3))
        given = np.array(rows, dtype=np.float64)[:, :3]
        vectors[:, : given.shape[1]] = given
        affine[:3, :3] = complete(vectors).T
    else:
        notes.append("no space directions: spacing only, orientation and position are guesses")
        spacings = text.fields.get("spacings")
        if spacings is not None:
            found = numbers(spacings, text.path, axes)
            for a, axis in enumerate(space):
                affine[a, a] = found[axis]
    origin = text.vectors("space origin")
    if origin and origin[0] is not None:
        affine[: len(origin[0][:3]), 3] = origin[0][:3]
    for a, unit in enumerate(text.words("space units", 3)):
        affine[a] *= _MILLIMETRES.get(unit, 1.0)
    try:
        return Grid(shape, _TO_RAS.get(name, FROM_LPS) @ affine), tuple(notes)
    except GeometryError as error:
        error.file = str(text.path)
        raise


def _times(text: _Text, axis: int, axes: int, count: int) -> tuple[float, ...] | None:
    """Seconds of the volumes: 3D Slicer's MultiVolume, or an axis whose unit is one of time."""
    labels = text.keys.get("MultiVolume.FrameLabels")
    second = _SECONDS.get(text.keys.get("MultiVolume.FrameIdentifyingDICOMTagUnits", ""))
    if labels is not None and second is not None:
        try:
            times = [float(word) * second for word in labels.split(",")]
        except ValueError:
            return None
        return tuple(times) if len(times) == count and np.isfinite(times).all() else None
    second = _SECONDS.get(text.words("units", axes)[axis])
    if second is None or "spacings" not in text.fields:
        return None
    step = numbers(text.fields["spacings"], text.path, axes)[axis] * second
    least = numbers(text.fields.get("axis mins", " 0" * axes), text.path, axes)[axis] * second
    times = ((least if np.isfinite(least) else 0.0) + step * np.arange(count)).tolist()
    return tuple(times) if step > 0 and np.isfinite(times).all() else None


def _segments(text: _Text, channels: int) -> tuple[Labels | None, tuple[str, ...]]:
    """The label table of a segmentation by 3D Slicer (.seg.nrrd)."""
    keys = [re.match(r"Segment(\d+)_", key) for key in text.keys]
    numbers = sorted({int(key[1]) for key in keys if key is not None})
    found: list[tuple[str, int, int]] = []
    for k, number in enumerate(numbers):
        name = text.keys.get(f"Segment{number}_Name") or f"Segment{number}"
        # Before there were layers (3D Slicer 4.10), every segment had a volume of its own.
        value = text.keys.get(f"Segment{number}_LabelValue", "1")
        layer = text.keys.get(f"Segment{number}_Layer", str(k) if channels == len(numbers) else "0")
        if not re.fullmatch(r"[1-9]\d{0,8}", value) or not layer.isdecimal() or int(layer) >= channels:
            said = f"value {value}, layer {layer} of {channels}"
            return None, (f"a table of segments that is not used: '{name}' has {said}",)
        found.append((name, int(layer), int(value)))
    if not found:
        return None, ()
    if len({(layer, value) for _, layer, value in found}) < len(found):
        return None, ("a table of segments that is not used: two have the same layer and value",)
    times = Counter(name for name, _, _ in found)
    # A name that several have tells none of them.
    named = [
        (
            n if times[n] == 1 else f"{n} ({value})" if channels == 1 else f"{n} ({layer}, {value})",
            layer,
            value,
        )
        for n, layer, value in found
    ]
    values, layers = {n: value for n, _, value in named}, {n: layer for n, layer, _ in named}
    if channels == 1:
        return Labels(values), ()
    return Labels(values, layers=layers), ("segments that overlap: every layer is a channel",)
