"""NRRD: voxels behind a header (.nrrd), or header and voxels apart (.nhdr, read only)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, GeometryError
from truevox.io.guard import damaged, foreign
from truevox.io.header import Header
from truevox.io.registry import Voxels, reader, writer
from truevox.io.streams import Block, write_gzip
from truevox.io.text import FROM_LPS, at_the_end, complete, data_file, numbers, sizes, text_before, voxels_of
from truevox.io.units import millimetres, seconds
from truevox.labels import Labels
from truevox.space import Grid, Unit

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
# Other spaces that the format defines, none of which says how a patient lies in it.
_UNPLACED = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
# Kinds of axes that are no direction in space.
_CHANNELS = re.compile(
    r"list|vector|.*-vector|.*-color|point|covariant-vector|normal|complex|time|.*matrix.*"
)
_END = re.compile(rb"\r?\n\r?\n")
_ENCODINGS: Mapping[str, Literal["gzip", "bzip2", "words"] | None] = {
    **{"raw": None, "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"},
    **{"ascii": "words", "text": "words", "txt": "words"},
}


@dataclass(frozen=True)
class _Text:
    """The fields (lower case) and the keys of a header."""

    path: Path
    fields: Mapping[str, str]
    keys: Mapping[str, str]

    def words(self, name: str, count: int) -> list[str]:
        """What a field says of each axis; empty words if it is not there."""
        found = self.listed(name)
        return found if len(found) == count else [""] * count

    def listed(self, name: str) -> list[str]:
        """The words of a field, in quotes or not. ``???`` stands for one that is not known."""
        text = self.fields.get(name, "")
        found = re.findall(r'"([^"]*)"', text) if '"' in text else text.split()
        return ["" if word.strip() in ("???", "none") else word.strip() for word in found]

    def vectors(self, name: str) -> list[list[float] | None]:
        """Vectors in brackets; None for ``none``, and for one of nan alone, as some programs write it."""
        found = re.findall(r"none|\(([^()]*)\)", self.fields.get(name, ""))
        vectors = [numbers(v.replace(",", " "), self.path) if v else None for v in found]
        vectors = [None if vector is None or np.isnan(vector).all() else vector for vector in vectors]
        if not np.isfinite([value for vector in vectors for value in vector or ()]).all():
            raise GeometryError(
                f"The header's {name} are not finite.",
                file=self.path,
                got=self.fields[name],
                remedy="convert the file again from its source",
            )
        return vectors


@reader(".nrrd", ".nhdr")
def read_nrrd(path: Path) -> tuple[Header, Voxels]:
    """Open an NRRD file, raw, packed or in words: its header, and its voxels (C, I, J, K) on demand.

    Files without a space are taken for LPS (as ITK does), which is noted. Lists, vectors and time points
    are channels.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, no NRRD or in another encoding.
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
    if image.grid.unit == "px":
        lines.append('space units: "px" "px" "px"')
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
        raise foreign(path, content.encode(), "an NRRD image") or FileError(
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
            remedy="convert it to one of these types",
        )
    return np.dtype(_DTYPES[name.lower()])


def _block(text: _Text, end: int, shape: tuple[int, ...], dtype: np.dtype, interleaved: bool) -> Block:
    fields, path = text.fields, text.path
    encoding = fields.get("encoding", "").lower()
    if encoding not in _ENCODINGS:
        raise FileError(
            f"Voxels in the encoding '{encoding}' are not read.",
            file=path,
            expected=", ".join(_ENCODINGS),
            remedy="write it again in one of these",
        )
    order = fields.get("endian", "little").lower()
    if order not in ("little", "big"):
        raise damaged(path, f"endian: {order}", "little or big")
    name = fields.get("data file", fields.get("datafile"))
    skip = numbers(fields.get("byte skip", fields.get("byteskip", "0")), path, 1)[0]
    lines = numbers(fields.get("line skip", fields.get("lineskip", "0")), path, 1)[0]
    packing = _ENCODINGS[encoding]
    if lines != 0 or skip != int(skip) or skip < (-1 if packing is None else 0) or skip > 2**62:
        raise FileError(
            "The header skips parts of the data in a way that is not understood.",
            file=path,
            got=f"line skip {lines:g}, byte skip {skip:g}",
            remedy="convert it again from its source, without skips",
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
    name = _space(text)
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
        spacings = text.fields.get("spacings")
        known = "spacing only" if spacings is not None else "lengths are in pixels (px)"
        notes.append(f"no space directions: {known}, orientation and position are guesses")
        if spacings is not None:
            found = numbers(spacings, text.path, axes)
            if not np.isfinite([found[axis] for axis in space]).all():
                raise GeometryError(
                    "The header's spacings are not finite.",
                    file=text.path,
                    got=spacings,
                    remedy="write the spacing of each axis, or leave the field out for lengths in pixels",
                )
            for a, axis in enumerate(space):
                affine[a, a] = found[axis]
    origin = text.vectors("space origin")
    if origin == [None]:
        notes.append("a space origin of nan: position is a guess")
    if origin and origin[0] is not None:
        affine[: len(origin[0][:3]), 3] = origin[0][:3]
    lengths = _lengths(text, space, axes, turned=bool(rows))
    affine[:3] *= np.array([length or 1.0 for length in lengths])[:, None]
    unit: Unit = "mm" if None not in lengths and (rows or "spacings" in text.fields) else "px"
    try:
        return Grid(shape, _TO_RAS.get(name, FROM_LPS) @ affine, unit), tuple(notes)
    except GeometryError as error:
        error.file = str(text.path)
        raise


def _space(text: _Text) -> str:
    """The space of a header by its long name; with or without time, which is no direction."""
    given = text.fields.get("space", "")
    name = given.lower()
    name = _SPACES.get(name.removesuffix("t") if len(name) == 4 else name, name).removesuffix("-time")
    if name and name not in _TO_RAS and name not in _UNPLACED:
        raise GeometryError(
            f"The space '{given}' is none that NRRD defines.",
            file=text.path,
            expected=", ".join((*_TO_RAS, *_UNPLACED)),
            remedy="correct the word in the file's header, or convert the file again from its source",
        )
    return name


def _lengths(text: _Text, space: list[int], axes: int, *, turned: bool) -> list[float | None]:
    """Millimetres of a unit, per direction of the space: None for pixels.

    The space's own units count; else those of the axes, along which it lies unless it is turned.
    """
    words = text.listed("space units")[:3]
    if not any(words):
        words = [word for a, word in enumerate(text.words("units", axes)) if a in space]
        if turned and len({word for word in words if word}) > 1:
            raise GeometryError(
                "The axes have units of their own, in a space that has none.",
                file=text.path,
                got=text.fields["units"],
                remedy='write `space units: "mm" "mm" "mm"` into the header, and lengths in mm',
            )
        words = words[:1] if turned else words
    if len(words) == 1:
        words *= 3
    if len(words) < len(space):
        raise damaged(text.path, f"{len(words)} units of length in the header", f"{len(space)}")
    words += [""] * (3 - len(words))
    return [millimetres(word, text.path) if word else 1.0 for word in words]


def _times(text: _Text, axis: int, axes: int, count: int) -> tuple[float, ...] | None:
    """Seconds of the volumes: 3D Slicer's MultiVolume, or an axis whose unit is one of time."""
    labels = text.keys.get("MultiVolume.FrameLabels")
    second = seconds(text.keys.get("MultiVolume.FrameIdentifyingDICOMTagUnits", ""))
    if labels is not None and second is not None:
        try:
            times = [float(word) * second for word in labels.split(",")]
        except ValueError:
            return None
        return tuple(times) if len(times) == count and np.isfinite(times).all() else None
    second = seconds(text.words("units", axes)[axis])
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
