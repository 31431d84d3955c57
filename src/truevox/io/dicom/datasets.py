"""DICOM files to pydicom datasets: what is no DICOM, damaged or missing is said in one place."""

from __future__ import annotations

import io
import math
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from truevox.errors import FileError, GeometryError, TrueVoxError
from truevox.io.guard import READABLE, foreign

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "AGAIN",
    "DEFLATED",
    "DIRECTORY",
    "extent",
    "has_preamble",
    "is_dicom",
    "need",
    "no_dicom",
    "number",
    "numbers",
    "parsing",
    "quiet",
    "read_dataset",
    "read_tags",
]

AGAIN = "export it again from its source"
"""What to do about a header that says nothing sensible."""
DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR."""
DEFLATED = "1.2.840.10008.1.2.1.99"
"""Transfer syntax of a file that is packed as a whole."""
_MOST = 2**28
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_HEAD = 132
# Without a preamble a file begins with its first tag: of group 2 or 8, then its type or length.
_BARE = re.compile(
    rb"(?:\x02\0[\0\x01\x02\x10]\0|\x08\0[\0\x01\x05\x06\x08\x12\x14\x16\x18]\0)"
    rb"(?:[A-Z]{2}|.[\0-\x03]\0\0)",
    re.DOTALL,
)


def need(module: str) -> Any:
    """A module of the extra ``dicom``.

    Raises
    ------
    FileError
        If it is not installed; says how to install it.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise FileError(
            f"DICOM needs a package that is not installed: {error.name}.",
            remedy="pip install 'truevox[dicom]'",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings on values that break the standard: what matters here is checked here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom|highdicom")
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM: DICM after 128 bytes, or a first tag at once."""
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
    return head[128:] == b"DICM" or _BARE.match(head) is not None


def has_preamble(path: Path) -> bool:
    """Whether a DICOM file is of the form that the standard asks for; old and bare exports are not."""
    with open(path, "rb") as stream:
        return stream.read(_HEAD)[128:] == b"DICM"


def read_tags(path: Path) -> tuple[Dataset, int]:
    """A DICOM file's tags before the pixel data, and how many bytes follow them.

    Raises
    ------
    FileError
        If the file is missing, no DICOM, truncated or damaged.
    """
    return _read(path, pixels=False)


def read_dataset(path: Path) -> Dataset:
    """All of a DICOM file's tags, as :func:`read_tags`."""
    return _read(path, pixels=True)[0]


def _read(path: Path, pixels: bool) -> tuple[Dataset, int]:
    pydicom = need("pydicom")
    with parsing(path), open(path, "rb") as stream:
        head = stream.read(_HEAD)
        bare = head[128:] != b"DICM"
        if bare and not _BARE.match(head):
            raise no_dicom(path)
        meta: Any = {} if bare else pydicom.filereader.read_file_meta_info(path)
        stream.seek(0)
        if meta.get("TransferSyntaxUID") == DEFLATED:
            # What is inside is a file without a preamble.
            source, bare = (
                _unpacked(stream, _HEAD + 12 + int(meta.FileMetaInformationGroupLength), path),
                True,
            )
        else:
            source = stream
        dataset = pydicom.dcmread(source, stop_before_pixels=not pixels, force=True)
        if meta.get("TransferSyntaxUID") == DEFLATED:
            dataset.file_meta = meta
        elif bare and not dataset.file_meta.get("TransferSyntaxUID"):
            implicit, little = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = _NATIVE[0 if implicit else 1 if little else 2]
        here = source.tell()
        rest = source.seek(0, os.SEEK_END) - here
        kind = dataset.get("SOPClassUID")
        series = dataset.get("SeriesInstanceUID")
        image = kind is not None and "Image" in kind.name
        whole = kind is not None and series is not None and not (image and dataset.get("Rows") is None)
        if not whole and meta.get("MediaStorageSOPClassUID") != DIRECTORY:
            raise _damaged(path, "it ends before it says what it is")
    return dataset, rest


def _unpacked(stream: BinaryIO, start: int, path: Path) -> BinaryIO:
    """What is packed as a whole, within bounds: deflate makes up to a thousand times as much of it."""
    stream.seek(start)
    content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), _MOST + 1)
    if len(content) > _MOST:
        raise FileError(
            "The file is packed as a whole (Deflated Explicit VR), and unpacks to more than is safe.",
            file=path,
            got=f"over {_MOST >> 20} MiB",
            remedy="export it again uncompressed (Explicit VR Little Endian)",
        )
    return io.BytesIO(content)


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Say that a file is damaged where pydicom stumbles: it decodes values on first use.

    Raises
    ------
    FileError
        Naming the file.
    """
    try:
        with quiet():
            yield
    except (TrueVoxError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise FileError(
            "The file does not exist.", file=path, remedy="check the path, and its case"
        ) from error
    except Exception as error:
        # Where a file ends in the middle of a tag, pydicom raises OSError without a number, elsewhere
        # errors of many kinds.
        if isinstance(error, OSError) and error.errno is not None:
            raise FileError(
                f"The file can't be read: {error.strerror}.", file=path, remedy=READABLE
            ) from error
        raise _damaged(path, str(error)) from error


def extent(dataset: Any, path: Path) -> tuple[int, int, int]:
    """Frames, rows and columns, each at least 1.

    Raises
    ------
    FileError
        If there are none.
    """
    frames = 1 if dataset.get("NumberOfFrames") is None else _count(dataset, "NumberOfFrames", path)
    return frames, _count(dataset, "Rows", path), _count(dataset, "Columns", path)


def number(dataset: Any, keyword: str, path: Path) -> float | None:
    """One finite number of a header; None where it is missing or empty."""
    found = numbers(dataset, keyword, 1, path)
    return None if found is None else found[0]


def numbers(dataset: Any, keyword: str, count: int, path: Path) -> tuple[float, ...] | None:
    """``count`` finite numbers of a header; None where they are missing or empty.

    Raises
    ------
    FileError
        If the tag holds no numbers, or another count.
    GeometryError
        If they are not finite.
    """
    try:
        raw = dataset.get(keyword)
        if raw is None or raw == "":
            return None
        values = (
            [float(v) for v in raw] if hasattr(raw, "__iter__") and not isinstance(raw, str) else [float(raw)]
        )
    except (ValueError, TypeError, OverflowError, NotImplementedError, AttributeError) as error:
        raise FileError(
            f"The header's {keyword} can't be read.", file=path, got=str(error), remedy=AGAIN
        ) from error
    if not values:
        return None
    if len(values) != count:
        raise FileError(
            f"The header's {keyword} has {len(values)} values, not {count}.", file=path, remedy=AGAIN
        )
    if not all(map(math.isfinite, values)):
        raise GeometryError(f"The header's {keyword} is not finite.", file=path, got=values, remedy=AGAIN)
    return tuple(values)


def _count(dataset: Any, keyword: str, path: Path) -> int:
    size = number(dataset, keyword, path)
    if size is None or size < 1 or size != int(size):
        raise FileError(f"The header's {keyword} makes no image.", file=path, got=size, remedy=AGAIN)
    return int(size)


def no_dicom(path: Path) -> FileError:
    """The error for a file that is something else under the name of a DICOM file; says what it is."""
    with open(path, "rb") as stream:
        content = stream.read(1024)
    return foreign(path, content, "a DICOM file") or FileError(
        "The file is no DICOM: DICM is missing after its first 128 bytes.",
        file=path,
        remedy="is it another format under this name? remove it, or export it again",
    )


def _damaged(path: Path, why: str) -> FileError:
    return FileError(
        "The DICOM file is truncated or damaged.",
        file=path,
        got=why,
        remedy="copy or export it again from its source",
    )
