"""NumPy's own files: .npy, and .npz with ``data`` and ``affine``."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, GeometryError
from truevox.io.guard import allocate, checked_type, damaged, decoding
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels, native, reader, writer
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["NO_AFFINE", "array_grid", "array_shape", "read_npy", "read_npz", "write_npy", "write_npz"]

NO_AFFINE = "no affine and no spacing: lengths are in pixels (px), orientation and position are guesses"
_NO_AFFINE_SPACING = "no affine: spacing only, orientation and position are guesses"
# What an .npz may hold beside its voxels is small.
_MOST_EXTRA = 2**16
_MOST_PACKED = 1032
_EXTRAS = ("affine", "spacing", "times", "pixels")


def array_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int, int]:
    """(C, I, J, K) of an array (I,), (I, J), (I, J, K) or (C, I, J, K).

    Raises
    ------
    CaseError
        If it has more axes.
    FileError
        If it has none, or one without length.
    """
    if len(shape) > 4:
        raise CaseError(
            f"An array of {len(shape)} axes is no image.",
            file=path,
            got="x".join(map(str, shape)),
            expected="(I, J), (I, J, K) or (C, I, J, K)",
            remedy="split it into several files",
        )
    if not shape or min(shape) < 1:
        raise FileError(
            "The array holds no voxels.",
            file=path,
            got=shape,
            remedy="save the array again with at least one voxel along each axis",
        )
    c, i, j, k = shape if len(shape) == 4 else (1, *shape, *[1] * (3 - len(shape)))
    return (c, i, j, k)


def array_grid(shape: tuple[int, ...], affine: object, path: Path, unit: object = "mm") -> Grid:
    """The grid of a (C, I, J, K) array: in pixels if there is no affine.

    Raises
    ------
    GeometryError
        If the affine is none; names the file.
    """
    try:
        if affine is None:
            return Grid(shape[1:], unit="px")
        return Grid(shape[1:], np.asarray(affine, dtype=np.float64), unit)  # type: ignore[arg-type]
    except GeometryError as error:
        error.file = str(path)
        raise
    except (TypeError, ValueError) as error:
        raise GeometryError(
            "An affine is 4x4 numbers.",
            file=path,
            got=str(affine)[:80],
            remedy="save four rows of four numbers, or leave the affine out for voxels of 1 mm",
        ) from error


@reader(".npy")
def read_npy(path: Path) -> tuple[Header, Voxels]:
    """Open an array (I, J), (I, J, K) or (C, I, J, K); its place is a guess. Objects are refused.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged, no .npy or holds no numbers.
    CaseError
        If it has more than four axes.
    """
    with decoding(path):
        array = np.lib.format.open_memmap(path, mode="r")
    dtype = _plain(checked_type(array.dtype, path))
    shape = array_shape(array.shape, path)

    def voxels(box: Box) -> NDArray:
        part = array.reshape(shape)[:, *box]
        out = allocate(part.shape, dtype, path)
        out[...] = part
        return out

    return Header(path, array_grid(shape, None, path), shape[0], dtype.name, None, (NO_AFFINE,)), voxels


@reader(".npz")
def read_npz(path: Path) -> tuple[Header, Voxels]:
    """Open arrays saved together: ``data``, and ``affine`` (4, 4) or ``spacing`` (3,), ``times`` (C,).

    Raises
    ------
    FileError, CaseError
        As :func:`read_npy`, and if there is no ``data``.
    GeometryError
        If the affine is singular or not finite.
    """
    with decoding(path), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "data" not in members:
            raise FileError(
                "The file has no array 'data'.",
                file=path,
                got=", ".join(list(members)[:8]) or "no arrays",
                remedy="np.savez_compressed(path, data=array, affine=affine)",
            )
        info = members["data"]
        with archive.open(info) as stream:
            stored_shape, fortran, stored, start = _header(stream)
        # The archive's own word for its size is not trusted either.
        if info.file_size > info.compress_size * _MOST_PACKED:
            raise damaged(path, f"{info.compress_size} bytes, packed", f"{info.file_size} bytes, unpacked")
        extra = {name: _extra(archive, members[name], path) for name in _EXTRAS if name in members}
    shape = array_shape(stored_shape, path)
    dtype = _plain(checked_type(stored, path))
    if start + np.prod(shape, dtype=object) * stored.itemsize != info.file_size:
        raise damaged(path, f"{info.file_size} bytes", f"an array of {shape}")
    affine, notes = extra.get("affine"), ()
    if affine is None and "spacing" in extra:
        affine, notes = np.diag([*_spacing(extra["spacing"], path), 1.0]), (_NO_AFFINE_SPACING,)
    elif affine is None:
        notes = (NO_AFFINE,)
    times = extra.get("times")
    seconds = None if times is None or times.shape != shape[:1] else tuple(times.astype(float).tolist())

    def voxels(box: Box) -> NDArray:
        out = allocate(stored_shape[::-1] if fortran else stored_shape, stored, path)
        with decoding(path), zipfile.ZipFile(path) as archive, archive.open(info) as stream:
            stream.read(start)
            view, done = out.reshape(-1).view(np.uint8).data, 0
            while piece := stream.read(2**20):
                view[done : done + len(piece)] = piece
                done += len(piece)
            if done != len(view):
                raise damaged(path, f"{done} bytes", f"{len(view)} bytes")
        array = out.T if fortran else out
        return native(array.reshape(shape)[:, *box]).astype(dtype, copy=False)

    grid = array_grid(shape, affine, path, "px" if "pixels" in extra else "mm")
    return Header(path, grid, shape[0], dtype.name, None, notes, seconds), voxels


@writer(".npy")
def write_npy(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write the array (I, J, K) or (C, I, J, K) alone.

    Raises
    ------
    GeometryError
        If the image has a place or a spacing in mm, which the file could not tell.
    """
    if not image.grid.same_as(Grid(image.grid.shape)):
        raise GeometryError(
            "An .npy file can't say where its voxels lie.",
            got=image.grid.describe(),
            remedy="write .npz, which keeps the affine",
        )
    np.save(path, voxels[0] if len(voxels) == 1 else voxels, allow_pickle=False)


@writer(".npz")
def write_npz(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write ``data``, ``affine``, known ``times``, and ``pixels`` if lengths are in px; compressed."""
    arrays = {"data": voxels[0] if len(voxels) == 1 else voxels, "affine": image.grid.affine}
    times = header.times if header is not None else None
    if times is not None and len(times) == len(voxels):
        arrays["times"] = np.array(times)
    if image.grid.unit == "px":
        arrays["pixels"] = np.array(True)
    np.savez_compressed(path, **arrays)


def _spacing(given: NDArray, path: Path) -> NDArray:
    """A spacing per axis of space, from one for all, or from one for each of the first."""
    found = np.ones(3) * given if given.size == 1 else np.append(given, np.ones(max(3 - given.size, 0)))
    if not 1 <= given.size <= 3 or not (np.isfinite(found) & (found > 0)).all():
        raise GeometryError(
            "A spacing is one to three positive numbers, in mm.",
            file=path,
            got=str(given.tolist())[:80],
            remedy="np.savez_compressed(path, data=array, spacing=[1.0, 1.0, 3.0])",
        )
    return found


def _plain(dtype: np.dtype) -> np.dtype:
    """The type in memory: this machine's byte order; truth values are numbers."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether the first axis is fastest, type, and where the numbers begin."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype, stream.tell()


def _extra(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray:
    with archive.open(info) as stream:
        content = stream.read(_MOST_EXTRA + 1)
    if len(content) > _MOST_EXTRA:
        raise damaged(path, f"more than {_MOST_EXTRA} bytes of '{info.filename}'")
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False).astype(np.float64)
