"""Zarr: folders of chunks (.zarr), with an affine of ours or the coordinates of OME-NGFF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, GeometryError
from truevox.io.arrays import NO_AFFINE, array_grid, array_shape
from truevox.io.guard import allocate, checked_type, damaged, decoding
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels, reader, writer
from truevox.io.text import FROM_LPS
from truevox.io.units import millimetres, seconds

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["read_zarr", "write_zarr"]

_CHUNK = 64
_NO_ORIENTATION = "no orientation (OME-NGFF): x, y, z are taken for left, posterior, superior"
# Which way an axis runs, in the words of OME-NGFF's RFC 4: row of the affine (RAS) and sign.
_WAYS = {
    "left-to-right": (0, 1.0),
    "right-to-left": (0, -1.0),
    "posterior-to-anterior": (1, 1.0),
    "anterior-to-posterior": (1, -1.0),
    "inferior-to-superior": (2, 1.0),
    "superior-to-inferior": (2, -1.0),
}


@reader(".zarr")
def read_zarr(path: Path) -> tuple[Header, Voxels]:
    """Open an array (I, J), (I, J, K) or (C, I, J, K) with the attribute ``affine`` (4x4, RAS, mm), or the
    finest level of an OME-NGFF image (up to 0.5), whose axes x, y and z become I, J and K, taken for LPS
    where they have no orientation.

    Only the chunks that a region touches are read.

    Raises
    ------
    FileError
        If the folder is missing, damaged, no such image, or coded in a way that runs code (pickle).
    GeometryError
        If the affine is singular or not finite, or a unit or a transformation is not understood.
    CaseError
        If there is more than one axis beyond those of space.
    """
    if not path.exists():
        raise FileError("The folder does not exist.", file=path, remedy="check the path, and its case")
    with decoding(path):
        node = zarr.open(path, mode="r")
        found = _multiscale(node, path) if isinstance(node, zarr.Group) else _plain(node, path)
        array, dims, notes = found.array, found.dims, found.notes
        _refuse_code(array, path)
        dtype = checked_type(array.dtype, path).newbyteorder("=")
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    shape = tuple(1 if a is None else array.shape[a] for a in dims)
    if min(shape) < 1:
        raise FileError(
            "The array holds no voxels.",
            file=path,
            got=array.shape,
            remedy="write the array again with at least one voxel along each axis",
        )
    grid = array_grid(shape, found.affine, path, found.unit)
    times = found.times if found.times is not None and len(found.times) == shape[0] else None

    def voxels(box: Box) -> NDArray:
        keys = (slice(0, shape[0]), *box)
        index = [slice(0, 1)] * array.ndim
        for a, key in zip(dims, keys, strict=True):
            if a is not None:
                index[a] = key
        sizes = [key.stop - key.start for key in keys]
        out = allocate(sizes, dtype, path)
        allocate(array.chunks, dtype, path)
        used = [a for a in dims if a is not None]
        with decoding(path):
            part = np.asarray(array[tuple(index)])
            out[...] = part.transpose(*used, *(a for a in range(array.ndim) if a not in used)).reshape(sizes)
        return out

    return Header(path, grid, shape[0], dtype.name, None, notes, times), voxels


@writer(".zarr")
def write_zarr(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write (C, I, J, K) as a Zarr array of format 3, in chunks of 64 voxels per axis, with its affine."""
    attributes: dict[str, Any] = {"affine": image.grid.affine.tolist(), "kind": image.kind}
    if image.grid.unit != "mm":
        attributes["unit"] = image.grid.unit
    if header is not None and header.times is not None and len(header.times) == len(voxels):
        attributes["times"] = list(header.times)
    zarr.create_array(
        path,
        data=np.ascontiguousarray(voxels),
        chunks=(1, *(min(n, _CHUNK) for n in voxels.shape[1:])),
        attributes=attributes,
        dimension_names=("c", "i", "j", "k"),
        zarr_format=3,
    )


@dataclass(frozen=True)
class _Found:
    """An array, which of its axes are C, I, J, K (None: it has no such), and where it lies."""

    array: zarr.Array
    dims: tuple[int | None, int | None, int | None, int | None]
    affine: Any
    times: tuple[float, ...] | None
    notes: tuple[str, ...]
    unit: str = "mm"


def _plain(array: zarr.Array, path: Path) -> _Found:
    array_shape(array.shape, path)
    dims = (0, 1, 2, 3) if array.ndim == 4 else (None, *range(array.ndim), *[None] * (3 - array.ndim))
    affine, times = array.attrs.get("affine"), array.attrs.get("times")
    notes = (NO_AFFINE,) if affine is None else ()
    seconds = None if times is None else tuple(float(t) for t in times)  # type: ignore[union-attr]
    length = millimetres(str(array.attrs.get("unit", "mm")), path)
    if affine is not None and length not in (1.0, None):
        affine = np.diag([length, length, length, 1.0]) @ np.asarray(affine, np.float64)
    return _Found(array, dims, affine, seconds, notes, "px" if length is None else "mm")  # type: ignore[arg-type]


def _multiscale(group: zarr.Group, path: Path) -> _Found:
    """The finest level of the first image of OME-NGFF."""
    attributes: Any = dict(group.attrs)
    images = attributes.get("ome", attributes).get("multiscales")
    if not images:
        raise FileError(
            "The folder holds several arrays, and nothing says which is the image.",
            file=path,
            got=", ".join(sorted(group.keys())[:8]) or "nothing",
            remedy="name the array inside the folder",
        )
    level = images[0]["datasets"][0]
    array = group[level["path"]]
    if not isinstance(array, zarr.Array):
        raise damaged(path, f"no array at {level['path']}")
    # Before 0.3 the axes had no names, and were always these.
    given = images[0].get("axes", list("tczyx")[-array.ndim :])
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in given]
    names = [str(axis["name"]).lower() for axis in axes]
    if odd := [name for name, axis in zip(names, axes, strict=True) if _is_odd(name, axis)]:
        raise FileError(
            f"An axis of space is called '{odd[0]}'.",
            file=path,
            expected="x, y, z",
            remedy="rename the axes in the attributes of the folder",
        )
    steps = [*level.get("coordinateTransformations", []), *images[0].get("coordinateTransformations", [])]
    scale, shift = _steps(steps, len(axes), path)
    space = [names.index(name) if name in names else None for name in "xyz"]
    beyond = [a for a in range(len(axes)) if a not in space and array.shape[a] > 1]
    if len(beyond) > 1:
        raise CaseError(
            f"The image has {len(beyond)} axes beyond those of space; one is understood.",
            file=path,
            got=", ".join(f"{names[a]}: {array.shape[a]}" for a in range(len(axes))),
            remedy="split it into several files",
        )
    lengths = [None if a is None else axes[a].get("unit") for a in space]
    known = [None if word is None else millimetres(str(word), path) for word in lengths]
    here = [row for row, a in enumerate(space) if a is not None]
    measured = bool(steps) and all(known[row] is not None for row in here)
    affine = np.eye(4)
    for row in here:
        a, unit = space[row], known[row] or 1.0
        affine[row, row], affine[row, 3] = scale[a] * unit, shift[a] * unit
    times, time = None, beyond[0] if beyond and axes[beyond[0]].get("type") == "time" else None
    if time is not None and (second := seconds(str(axes[time].get("unit", "")))) is not None:
        times = tuple(((shift[time] + scale[time] * np.arange(array.shape[time])) * second).tolist())
    to_ras = _orientation(axes, space)
    notes = [] if to_ras is not None else [_NO_ORIENTATION]
    notes += [] if measured else ["no unit of length (OME-NGFF): lengths are in pixels (px)"]
    dims = (beyond[0] if beyond else None, space[0], space[1], space[2])
    affine = (FROM_LPS if to_ras is None else to_ras) @ affine
    return _Found(array, dims, affine, times, tuple(notes), "mm" if measured else "px")


def _is_odd(name: str, axis: dict[str, Any]) -> bool:
    return axis.get("type") == "space" and name not in "xyz"


def _steps(steps: list[Any], count: int, path: Path) -> tuple[NDArray, NDArray]:
    """Scale and shift per axis: the transformations of a level, then those of all levels, in their order."""
    scale, shift = np.ones(count), np.zeros(count)
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else step
        numbers = np.asarray(step.get(kind, ()) if isinstance(step, dict) else ())
        if kind in ("scale", "translation") and numbers.dtype.kind in "iuf" and numbers.shape == (count,):
            scale, shift = (scale * numbers, shift * numbers) if kind == "scale" else (scale, shift + numbers)
        elif kind != "identity":
            raise GeometryError(
                "A coordinate transformation of OME-NGFF is not understood.",
                file=path,
                got=str(step)[:80],
                expected=f"scale or translation, {count} numbers",
                remedy="write the level with scale and translation, or convert it to NIfTI or NRRD",
            )
    return scale, shift


def _orientation(axes: list[dict[str, Any]], space: list[int | None]) -> NDArray | None:
    """From x, y, z to RAS, where each axis says which way it runs (RFC 4)."""
    said = [None if a is None else axes[a].get("orientation") for a in space]
    ways = [_WAYS.get(str(one.get("value"))) if isinstance(one, dict) else None for one in said]
    found = [way for way in ways if way is not None]
    if len(found) < 3 or {row for row, _ in found} != {0, 1, 2}:
        return None
    turned = np.zeros((4, 4))
    turned[3, 3] = 1.0
    for axis, (row, sign) in enumerate(found):
        turned[row, axis] = sign
    return turned


def _refuse_code(array: zarr.Array, path: Path) -> None:
    """Objects that were pickled run code when they are read."""
    codecs = repr((array.filters, array.compressors, array.serializer))
    if "pickle" in codecs.lower():
        raise FileError(
            "The file is coded as pickled objects, which run code.",
            file=path,
            got=codecs,
            remedy="write it again by the program that made it, as numbers and without a pickle codec",
        )
