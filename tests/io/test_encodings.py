"""NRRD and MetaImage whose voxels are packed with bzip2 or written as words, and directions of nan."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest

from truevox import io
from truevox.errors import FileError, GeometryError

VOLUME = np.arange(-60, 60).reshape(2, 3, 4, 5)  # (C, I, J, K)
PLACE = "space: LPS\nspace directions: (2,0,0) (0,3,0) (0,0,4)"
NAN = "(nan,nan,nan)"


def nrrd(path: Path, kind: str, encoding: str, content: bytes, *, first: bool, lines: str = "") -> Path:
    """Four axes: the channels are the first or the last."""
    none = PLACE.replace("directions:", "directions: none") if first else f"{PLACE} none"
    sizes = "2 3 4 5" if first else "3 4 5 2"
    head = f"NRRD0005\ntype: {kind}\ndimension: 4\nsizes: {sizes}\n{lines or none}\nendian: little\n"
    path.write_bytes(f"{head}encoding: {encoding}\n\n".encode() + content)
    return path


def in_file_order(volume: np.ndarray, *, first: bool) -> np.ndarray:
    """Fastest axis last, as bytes lie."""
    return np.ascontiguousarray(volume.transpose(3, 2, 1, 0) if first else volume.transpose(0, 3, 2, 1))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("encoding", ["bzip2", "bz2"])
def test_bzip2(tmp_path: Path, encoding: str, first: bool) -> None:
    content = bz2.compress(in_file_order(VOLUME.astype("<i2"), first=first).tobytes())
    path = nrrd(tmp_path / "a.nrrd", "short", encoding, content, first=first)
    np.testing.assert_array_equal(io.read(path)[0], VOLUME)
    part = io.read(path, (slice(1, 3), slice(0, 4), slice(2, 4)))[0]
    np.testing.assert_array_equal(part, VOLUME[:, 1:3, :, 2:4])
    for damage in (content[:-20], content[:30] + b"\0" * 9 + content[39:]):
        with pytest.raises(FileError, match="truncated or damaged"):
            io.read(nrrd(path, "short", encoding, damage, first=first))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("encoding", ["ascii", "text", "txt"])
@pytest.mark.parametrize(("kind", "dtype"), [("short", "int16"), ("float", "float32"), ("int64", "int64")])
def test_words(tmp_path: Path, encoding: str, kind: str, dtype: str, first: bool) -> None:
    volume = VOLUME.astype(dtype) * (0.5 if dtype == "float32" else 1)
    if dtype == "int64":
        volume = volume + 2**60 + 1
    content = "\n".join(map(str, in_file_order(volume, first=first).ravel().tolist())).encode()
    path = nrrd(tmp_path / "a.nrrd", kind, encoding, content, first=first)
    array, header = io.read(path)
    assert header.dtype == array.dtype.name == dtype
    np.testing.assert_array_equal(array, volume)
    np.testing.assert_array_equal(io.read(path, (slice(1, 2),))[0], volume[:, 1:2])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"1 2 3", "truncated"),
        (b"1 " * 119, "truncated"),
        (b"1 " * 121, "121 numbers"),
        (b"1 " * 119 + b"x", "invalid literal"),
        (b"1 " * 119 + b"1.5", "invalid literal"),
        (b"1 " * 119 + b"40000", "beyond their type"),
    ],
)
def test_words_that_are_not_the_voxels(tmp_path: Path, content: bytes, text: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", "short", "ascii", content, first=False)
    with pytest.raises(FileError, match=text) as caught:
        io.read(path)
    assert caught.value.remedy


def test_words_of_a_metaimage(tmp_path: Path) -> None:
    words = " ".join(map(str, range(24)))
    head = "ObjectType = Image\nNDims = 3\nBinaryData = False\nDimSize = 2 3 4\nElementType = MET_SHORT\n"
    (tmp_path / "a.mha").write_text(f"{head}ElementSpacing = 1 2 3\nElementDataFile = LOCAL\n{words}\n")
    array, header = io.read(tmp_path / "a.mha")
    np.testing.assert_array_equal(array[0], np.arange(24).reshape(4, 3, 2).transpose(2, 1, 0))
    assert header.grid.spacing.tolist() == [1, 2, 3]


@pytest.mark.parametrize("first", [True, False])
def test_directions_of_nan_are_none(tmp_path: Path, first: bool) -> None:
    vectors = ["(2,0,0)", "(0,3,0)", "(0,0,4)"]
    vectors.insert(0 if first else 3, NAN)
    lines = f"space: LPS\nspace directions: {' '.join(vectors)}\nspace origin: (1,2,3)"
    content = in_file_order(VOLUME.astype("<i2"), first=first).tobytes()
    array, header = io.read(nrrd(tmp_path / "a.nrrd", "short", "raw", content, first=first, lines=lines))
    np.testing.assert_array_equal(array, VOLUME)
    wanted = np.diag([-2.0, -3, 4, 1])
    wanted[:3, 3] = (-1, -2, 3)
    np.testing.assert_array_equal(header.grid.affine, wanted)
    nowhere = lines.replace("(1,2,3)", NAN)
    header = io.read_header(nrrd(tmp_path / "c.nrrd", "short", "raw", content, first=first, lines=nowhere))
    assert header.grid.affine[:3, 3].tolist() == [0, 0, 0]
    assert header.notes == ("a space origin of nan: position is a guess",)
    odd = lines.replace("(2,0,0)", "(2,nan,0)")
    path = nrrd(tmp_path / "b.nrrd", "short", "raw", content, first=first, lines=odd)
    with pytest.raises(GeometryError, match="space directions are not finite"):
        io.read(path)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.nrrd", "an NRRD image"),
        ("a.mha", "a MetaImage"),
        ("a.npy", "a .npy file"),
        ("a.npz", "a .npz file"),
    ],
)
def test_what_is_something_else_says_so(tmp_path: Path, name: str, what: str) -> None:
    for content, text in (
        (b"", "is empty"),
        (b"<html><body>404", "is a web page"),
        (b"hello\n\n", "is text"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError, match=text) as caught:
            io.read_header(tmp_path / name)
        assert caught.value.expected == what
