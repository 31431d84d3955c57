"""Pixel data to numbers: decoding, inverting, rescaling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import FileError
from truevox.io.dicom.datasets import DEFLATED, has_preamble, need, quiet, read_dataset
from truevox.io.dicom.instances import Stored
from truevox.io.dicom.planes import Plane

__all__ = ["frames", "rescaled", "result_type"]

# What decodes what is not decoded here; all with licences that ask for nothing.
_GDCM = "pip install python-gdcm, or "
_OPENJPEG = "pip install pylibjpeg pylibjpeg-openjpeg, or "
_REMEDIES = {
    "1.2.840.10008.1.2.4.50": "pip install pillow, or ",
    "1.2.840.10008.1.2.4.51": "pip install pillow, or ",
    "1.2.840.10008.1.2.4.57": _GDCM,
    "1.2.840.10008.1.2.4.70": _GDCM,
    "1.2.840.10008.1.2.4.80": "pip install pyjpegls, or ",
    "1.2.840.10008.1.2.4.81": "pip install pyjpegls, or ",
    "1.2.840.10008.1.2.4.90": "pip install pillow, or ",
    "1.2.840.10008.1.2.4.91": "pip install pillow, or ",
    "1.2.840.10008.1.2.4.201": _OPENJPEG,
    "1.2.840.10008.1.2.4.202": _OPENJPEG,
    "1.2.840.10008.1.2.4.203": _OPENJPEG,
}
# Where a compressed image says its own size: JPEG, JPEG-LS, JPEG 2000.
_SIZES = {
    rb"\xff[\xc0-\xc3]\x00.[\x02-\x10](?P<rows>..)(?P<columns>..)": (
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",
    ),
    rb"\xff\xf7\x00.[\x02-\x10](?P<rows>..)(?P<columns>..)": (
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.81",
    ),
    rb"\xff\x4f\xff\x51....(?P<columns>....)(?P<rows>....)": (
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.91",
    ),
}
_UNCOMPRESSED = "export it again uncompressed (Explicit VR Little Endian)"


def frames(path: Path, wanted: Sequence[int], stored: Stored, shape: tuple[int, int]) -> Iterator[NDArray]:
    """Stored values of some frames of a file, one by one: ``shape`` (rows, columns), then samples if several.

    Raises
    ------
    FileError
        If the transfer syntax can't be decoded here (says what to install), or the data is damaged.
    """
    pydicom = need("pydicom.pixels")
    _expect_decoder(path, stored)
    _expect_size(path, stored, shape)
    # pydicom reads frames of a file one by one only where the file is as the standard's part 10 says.
    whole = stored.syntax != DEFLATED and has_preamble(path)
    decoded = pydicom.iter_pixels(path if whole else read_dataset(path), indices=list(wanted))
    for number in wanted:
        try:
            with quiet():
                frame = next(decoded, None)
        except MemoryError:
            raise
        except Exception as error:
            # Decoders raise what they like: ValueError, RuntimeError, OSError, errors of their own.
            raise _undecodable(path, number, str(error)) from error
        if frame is None or frame.shape[:2] != shape:
            raise _undecodable(path, number, "it is missing, or of another size than declared")
        yield frame


def _undecodable(path: Path, frame: int, why: str) -> FileError:
    return FileError(
        "The pixel data can't be decoded.",
        file=path,
        got=f"frame {frame + 1}: {why}",
        remedy="copy or export it again from its source, uncompressed if it can be",
    )


def _expect_decoder(path: Path, stored: Stored) -> None:
    from pydicom.uid import UID

    uid = UID(stored.syntax)
    try:
        decoder = need("pydicom.pixels").get_decoder(uid)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise FileError(
            f"Nothing that is installed decodes the transfer syntax of this file: {uid.name}.",
            file=path,
            remedy=_REMEDIES.get(stored.syntax, "") + _UNCOMPRESSED,
        )


def _expect_size(path: Path, stored: Stored, shape: tuple[int, int]) -> None:
    """Refuse frames that unpack to more than the header says: decoders take the memory before they look."""
    pattern = next((p for p, syntaxes in _SIZES.items() if stored.syntax in syntaxes), None)
    if pattern is None:
        return
    for found in re.finditer(pattern, path.read_bytes(), re.DOTALL):
        rows, columns = (int.from_bytes(found[name]) for name in ("rows", "columns"))
        if rows * columns > 2 * shape[0] * shape[1]:
            raise _undecodable(path, 0, f"it unpacks to {columns}x{rows}, not {shape[1]}x{shape[0]}")


def result_type(stored: Stored, planes: Sequence[Plane]) -> np.dtype:
    """The type of rescaled voxels: the smallest integer that holds all that could be stored, else float32."""
    if stored.floating:
        return np.dtype(f"f{stored.allocated // 8}")
    tables = {plane.table for plane in planes if plane.table is not None}
    if tables:
        # Of at most 16 bits, and not rescaled (PS3.3 C.11.1: a table or a slope, not both).
        return np.dtype(np.int32)
    scalings = {plane.scaling for plane in planes}
    if all(slope.is_integer() and intercept.is_integer() for slope, intercept in scalings):
        ends = [slope * end + intercept for slope, intercept in scalings for end in stored.bounds()]
        for name in ("uint8", "int16", "int32", "int64"):
            if np.iinfo(name).min <= min(ends) and max(ends) <= np.iinfo(name).max:
                return np.dtype(name)
    return np.dtype(np.float32)


def rescaled(frame: NDArray, plane: Plane, stored: Stored, kind: np.dtype, *, measured: bool) -> NDArray:
    """A frame's values after its own slope and intercept.

    MONOCHROME1 without them says that low values are bright: these are turned over, so that bright is
    high in every X-ray (as SimpleITK does). If any frame of the series has them, values are ``measured``,
    and stay what they are.
    """
    if plane.table is not None:
        first, values = plane.table
        return np.array(values, kind)[np.clip(frame.astype(np.int64) - first, 0, len(values) - 1)]
    slope, intercept = plane.scaling
    if (slope, intercept) == (1.0, 0.0):
        values = frame.astype(kind, copy=False)
        turned = stored.photometric == "MONOCHROME1" and not measured
        return sum(stored.bounds()) - values if turned else values
    if kind.kind in "iu":
        return frame.astype(np.int64) * int(slope) + int(intercept)
    return frame.astype(np.float64) * slope + intercept
