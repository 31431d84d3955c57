"""MetaImage: voxels behind a header (.mha), or header and voxels apart (.mhd, read only)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, GeometryError
from truevox.io.guard import damaged, foreign
from truevox.io.header import Header
from truevox.io.registry import Voxels, reader, writer
from truevox.io.streams import Block
from truevox.io.text import FROM_LPS, at_the_end, complete, data_file, numbers, sizes, text_before, voxels_of
from truevox.io.units import millimetres
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["read_metaimage", "write_metaimage"]

_TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
# Of four bytes by MetaIO, whatever the system's long is.
_OLD_TYPES = {"MET_LONG": "int32", "MET_ULONG": "uint32"}
_END = re.compile(rb"(?m)^ElementDataFile[ \t]*=[^\n]*\n")
_PLACES = ("Offset", "Position", "Origin")
_SPACINGS = ("ElementSpacing", "ElementSize")
_OPPOSITE = str.maketrans("RLAPIS", "LRPASI")
_DIRECTIONS = ("TransformMatrix", "Rotation", "Orientation")


@reader(".mha", ".mhd")
def read_metaimage(path: Path) -> tuple[Header, Voxels]:
    """Open a MetaImage, raw or packed: its header, and its voxels (C, I, J, K) on demand.

    The matrix and the offset are LPS, as ITK has them; an ``AnatomicalOrientation`` that differs is noted.
    Components of a voxel, or a fourth axis, are channels.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, no MetaImage or written for people.
    GeometryError
        If the affine is singular or not finite.
    CaseError
        If there is more than one axis beyond the third.
    """
    fields, end = _parse(path)
    axes = sizes(fields.get("NDims", ""), path, 1)[0]
    counts = sizes(fields.get("DimSize", ""), path, axes)
    components = sizes(fields.get("ElementNumberOfChannels", "1"), path, 1)[0]
    beyond = [n for n in (components, *counts[3:]) if n > 1]
    if len(beyond) > 1:
        raise CaseError(
            f"The image has {len(beyond)} axes beyond the third; one is understood (time or components).",
            file=path,
            got=f"{'x'.join(map(str, counts))}, {components} components",
            remedy="split it into several files",
        )
    wide = counts[:3]
    shape = (*wide, *[1] * (3 - len(wide)), beyond[0] if beyond else 1)
    kind = fields.get("ElementType", "")
    if kind not in {**_TYPES, **_OLD_TYPES}:
        raise FileError(
            f"Voxels of type '{kind}' can't be used as numbers.",
            file=path,
            expected="integers or floats of up to 64 bits",
            remedy="convert it to one of these types",
        )
    dtype = np.dtype({**_TYPES, **_OLD_TYPES}[kind])
    grid = _grid(fields, shape[:3], axes, path)
    block = _block(fields, path, end, shape, dtype, interleaved=components > 1)
    return Header(path, grid, shape[3], dtype.name, None, _notes(fields, grid)), voxels_of(block)


@writer(".mha")
def write_metaimage(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write voxels (C, I, J, K) as a packed MetaImage, several channels as components of a voxel.

    The affine keeps all its digits up to the last. The format has no place for times.
    """
    affine = FROM_LPS @ image.grid.affine
    spacing = image.grid.spacing
    block = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    content = np.ascontiguousarray(block.transpose(3, 2, 1, 0)).data
    packed = zlib.compress(content, 6) if image.kind == "label" else isal_zlib.compress(content, 2)
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": len(packed),
        "TransformMatrix": _words((affine[:3, :3] / spacing).T.ravel()),
        "Offset": _words(affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _words(spacing),
        "DimSize": " ".join(map(str, image.grid.shape)),
        "ElementNumberOfChannels": len(voxels),
        "ElementType": _NAMES[voxels.dtype.name],
        "ElementDataFile": "LOCAL",
    }
    if image.grid.unit == "px":
        lines = {"ObjectType": "Image", "DistanceUnits": "px", **lines}
    with open(path, "wb") as stream:
        stream.write("".join(f"{name} = {value}\n" for name, value in lines.items()).encode("ascii"))
        stream.write(packed)


def _words(values: NDArray) -> str:
    return " ".join(repr(float(v) + 0.0) for v in values)


def _parse(path: Path) -> tuple[dict[str, str], int]:
    content, end = text_before(path, _END)
    pairs = [line.partition("=") for line in content.splitlines() if "=" in line]
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    if "NDims" not in fields or fields.get("ObjectType", "Image") != "Image":
        raise foreign(path, content.encode(), "a MetaImage") or FileError(
            "The file is not a MetaImage.", file=path, remedy="convert it again from its source"
        )
    return fields, end


def _first(fields: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((fields[name] for name in names if name in fields), None)


def _grid(fields: Mapping[str, str], shape: tuple[int, ...], axes: int, path: Path) -> Grid:
    """The grid in RAS; a fourth axis has no part in it."""
    wide = min(axes, 3)
    given = _first(fields, _SPACINGS)
    spacing = numbers(given or "1 " * axes, path, axes)
    # MetaIO's own words; ITK reads over them.
    word = fields.get("DistanceUnits", "?")
    length = 1.0 if word in ("?", "") else millimetres(word, path)
    matrix, origin = np.eye(axes), np.zeros(axes)
    if (text := _first(fields, _DIRECTIONS)) is not None:
        # Row by row the directions of the axes.
        matrix = np.array(numbers(text, path, axes * axes)).reshape(axes, axes)
    if (text := _first(fields, _PLACES)) is not None:
        origin = np.array(numbers(text, path, axes))
    rows = np.zeros((wide, 3))
    rows[:, :wide] = matrix[:wide, :wide] * np.array(spacing[:wide])[:, None]
    affine = np.eye(4)
    affine[:3, :3] = complete(rows).T
    affine[:wide, 3] = origin[:wide]
    affine[:3] *= length or 1.0
    try:
        return Grid(shape, FROM_LPS @ affine, "px" if given is None or length is None else "mm")
    except GeometryError as error:
        error.file = str(path)
        raise


def _block(
    fields: Mapping[str, str],
    path: Path,
    end: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    *,
    interleaved: bool,
) -> Block:
    big = _first(fields, ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")) or "False"
    skip = numbers(fields.get("HeaderSize", "0"), path, 1)[0]
    packed = fields.get("CompressedData", "False").lower() == "true"
    if skip != int(skip) or not -1 <= skip < 2**62 or (packed and skip):
        raise damaged(path, f"HeaderSize = {skip:g}", "0, the bytes before the voxels, or -1")
    name = fields.get("ElementDataFile", "")
    local = name.upper() == "LOCAL"
    block = Block(
        path if local else data_file(path, name),
        (shape[0], shape[1], shape[2], shape[3]),
        dtype.newbyteorder(">" if big.lower() == "true" else "<"),
        offset=0,
        start=end if local else max(int(skip), 0),
        packing="words" if fields.get("BinaryData", "True").lower() != "true" else "zlib" if packed else None,
        interleaved=interleaved,
    )
    return replace(block, start=at_the_end(block)) if skip == -1 else block


def _notes(fields: Mapping[str, str], grid: Grid) -> tuple[str, ...]:
    notes = []
    if _first(fields, _SPACINGS) is None:
        notes.append("no ElementSpacing: lengths are in pixels (px)")
    if _first(fields, _DIRECTIONS) is None:
        notes.append("no TransformMatrix: spacing only, orientation is a guess")
    # Programs write where an axis begins (ITK), or where it ends.
    ends = grid.orientation
    word = fields.get("AnatomicalOrientation", "").upper()
    if re.fullmatch("[RLAPIS]{3}", word) and word not in (ends, ends.translate(_OPPOSITE)):
        notes.append(f"an AnatomicalOrientation of {word} where its matrix says {ends.translate(_OPPOSITE)}")
    for name, plain in (("ElementToIntensityFunctionSlope", "1"), ("ElementToIntensityFunctionOffset", "0")):
        if fields.get(name, plain) != plain:
            notes.append(f"an {name} of {fields[name]}, which is not applied (as in ITK)")
    return tuple(notes)
