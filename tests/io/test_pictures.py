"""Pictures: Pillow and SimpleITK are held against our reader and writers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image as Pillow
from PIL import JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from truevox import io
from truevox.errors import FileError, GeometryError
from truevox.image import Image
from truevox.space import Grid

RNG = np.random.default_rng(0)
PLACE = np.diag([-1.0, -1.0, 1.0, 1.0])


def rows_of(dtype: str, *shape: int) -> np.ndarray:
    """Numbers over the whole range of a type: (rows, columns, ...)."""
    if dtype.startswith("float"):
        return RNG.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("a.png", rows_of("uint8", 5, 7)),
        ("a.png", rows_of("uint16", 5, 7)),
        ("a.png", rows_of("uint8", 5, 7, 3)),
        ("a.png", rows_of("uint8", 5, 7, 4)),
        ("a.png", rows_of("uint8", 5, 7, 2)),
        ("a.tif", rows_of("uint8", 5, 7)),
        ("a.tif", rows_of("uint16", 5, 7)),
        ("a.tif", rows_of("int32", 5, 7)),
        ("a.tiff", rows_of("float32", 5, 7)),
        ("a.tif", rows_of("uint8", 5, 7, 3)),
    ],
)
def test_columns_are_i_and_rows_are_j(name: str, rows: np.ndarray, tmp_path: Path) -> None:
    Pillow.fromarray(rows).save(tmp_path / name)
    found, header = io.read(tmp_path / name)
    assert header.grid.shape == (7, 5, 1)
    assert np.array_equal(header.grid.affine, PLACE)
    assert (header.channels, header.dtype) == (len(found), found.dtype.name)
    assert found.dtype == rows.dtype
    for c, j, i in ((0, 0, 6), (len(found) - 1, 4, 0)):
        assert found[c, i, j, 0] == rows.reshape(5, 7, -1)[j, i, c]
    assert np.array_equal(found[..., 0].transpose(2, 1, 0), rows.reshape(5, 7, -1))
    part, small = io.read(tmp_path / name, (slice(2, 6), slice(1, 3)))
    assert np.array_equal(part, found[:, 2:6, 1:3])
    assert small.grid == header.grid[2:6, 1:3]
    assert any("spacing" in note for note in header.notes)


def test_the_place_is_that_of_itk(tmp_path: Path) -> None:
    Pillow.fromarray(rows_of("uint8", 5, 7)).save(tmp_path / "a.png")
    Pillow.fromarray(rows_of("uint8", 5, 7)).save(
        tmp_path / "b.tif", resolution_unit=3, x_resolution=20, y_resolution=4
    )
    for name, spacing in (("a.png", (1, 1)), ("b.tif", (0.5, 2.5))):
        other = SimpleITK.ReadImage(tmp_path / name)
        grid = io.read_header(tmp_path / name).grid
        assert np.allclose(other.GetSpacing(), spacing)
        assert np.allclose(grid.spacing, (*spacing, 1))
        point = other.TransformIndexToPhysicalPoint((6, 4))
        assert np.allclose(grid.to_world((6, 4, 0)), (-point[0], -point[1], 0))


def test_one_bit_and_palettes(tmp_path: Path) -> None:
    mask = RNG.integers(0, 2, (5, 7)).astype(bool)
    Pillow.fromarray(mask).save(tmp_path / "a.png")
    found, header = io.read(tmp_path / "a.png")
    assert found.dtype == np.uint8
    assert np.array_equal(found[0, :, :, 0].T, mask)
    picture = Pillow.fromarray(RNG.integers(0, 4, (5, 7)).astype(np.uint8), "L")
    indices = np.asarray(picture)
    coloured = picture.convert("P")
    coloured.putdata(indices.ravel().tolist())
    coloured.save(tmp_path / "b.png")
    found, header = io.read(tmp_path / "b.png")
    assert np.array_equal(found[0, :, :, 0].T, indices)
    assert any("indices" in note for note in header.notes)


def test_pages_of_a_tiff_are_k(tmp_path: Path) -> None:
    stack = rows_of("uint16", 4, 5, 7)
    pages = [Pillow.fromarray(page) for page in stack]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found, header = io.read(tmp_path / "a.tif")
    assert header.grid.shape == (7, 5, 4)
    assert np.array_equal(found[0], stack.transpose(2, 1, 0))
    part, _ = io.read(tmp_path / "a.tif", (slice(None), slice(None), slice(2, 3)))
    assert np.array_equal(part[0], stack.transpose(2, 1, 0)[..., 2:3])
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[pages[1].resize((3, 2))])
    with pytest.raises(FileError, match="different size"):
        io.read(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "kind"),
    [
        ("a.png", "uint8", 1, "label"),
        ("a.png", "int32", 1, "label"),
        ("a.png", "uint8", 3, "scalar"),
        ("a.tif", "int32", 1, "label"),
        ("a.tif", "float32", 1, "probability"),
        ("a.tif", "int32", 1, "scalar"),
        ("a.tiff", "uint8", 4, "scalar"),
    ],
)
def test_what_is_saved_is_read_alike(name: str, dtype: str, channels: int, kind: Any, tmp_path: Path) -> None:
    depth = 1 if "png" in name else 3
    values = RNG.random((channels, 7, 5, depth)) * (1 if kind == "probability" else 200)
    if dtype == "int32":
        values[0, 0, 0, 0] = 60000
    data = torch.from_numpy(values.astype(dtype))
    spacing = (1, 1) if depth == 1 else (0.31, 0.7)
    grid = Grid((7, 5, depth), PLACE @ np.diag([*spacing, 1, 1]))
    io.save(Image(data, grid, kind), tmp_path / name)
    again = io.load(tmp_path / name, kind)
    assert np.array_equal(again.numpy(), data.numpy())
    assert again.grid.displacement(grid) < 1e-4
    with Pillow.open(tmp_path / name) as picture:
        for k in range(depth):
            picture.seek(k)
            assert np.array_equal(
                np.asarray(picture).reshape(5, 7, -1), data.numpy()[..., k].transpose(2, 1, 0)
            )


def test_what_a_picture_cannot_hold_is_refused(tmp_path: Path) -> None:
    plane, data = Grid((4, 3, 1), PLACE), torch.zeros(1, 4, 3, 1)
    for image, error in (
        (Image(data, plane), FileError),  # floats as PNG
        (Image(data.byte(), Grid((4, 3, 1))), GeometryError),  # another place
        (Image(data.byte(), Grid((4, 3, 1), PLACE @ np.diag([2, 2, 1, 1]))), GeometryError),
        (Image(torch.zeros(1, 4, 3, 2).byte(), Grid((4, 3, 2), PLACE)), GeometryError),
        (Image(data.expand(2, 4, 3, 1).byte(), plane), FileError),
        (Image(data - 1, plane, "label"), FileError),
    ):
        with pytest.raises(error):
            io.save(image, tmp_path / "a.png")
    with pytest.raises(FileError, match="can't be written"):
        io.save(Image(data.byte(), plane, "label"), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def png(width: int, height: int, depth: int = 8, colour: int = 0, pixels: bytes = b"") -> bytes:
    """A PNG by hand."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + end


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("colour", [0, 3])
def test_png_of_any_depth_as_stored(depth: int, colour: int, tmp_path: Path) -> None:
    """Grey of 2 and 4 bit is spread for display: a mask's 1 is not 85 or 17."""
    if colour == 3 and depth == 16:
        return  # a palette has at most 8 bit
    rows = np.array([[0, 1, 2, 3, 1], [3, 2, 1, 0, 2 ** min(depth, 9) - 1]]) % 2**depth
    packed = b""
    for row in rows:
        line = "".join(format(int(v), f"0{depth}b") for v in row)
        line += "0" * (-len(line) % 8)
        packed += b"\0" + int(line, 2).to_bytes(len(line) // 8, "big")
    content = png(5, 2, depth, colour, packed)
    if colour == 3:
        table = struct.pack(">I4s", 3 * 2**depth, b"PLTE") + bytes(k % 251 for k in range(3 * 2**depth))
        content = content[:33] + table + struct.pack(">I", zlib.crc32(table[4:])) + content[33:]
    (tmp_path / "a.png").write_bytes(content)
    found, header = io.read(tmp_path / "a.png")
    assert np.array_equal(found[0, :, :, 0].T, rows)
    assert header.grid == Grid((5, 2, 1), PLACE, "px")


def test_pictures_that_would_be_read_wrong_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, bytes(13)))
    with pytest.raises(FileError, match="16 bit, RGB"):
        io.read_header(tmp_path / "deep.png")
    Pillow.new("CMYK", (3, 2)).save(tmp_path / "ink.jpg")
    with pytest.raises(FileError, match="CMYK"):
        io.read_header(tmp_path / "ink.jpg")
    (tmp_path / "bomb.png").write_bytes(png(60000, 60000, pixels=bytes(10**6)))
    with pytest.raises(FileError, match="truncated or damaged") as caught:
        io.read_header(tmp_path / "bomb.png")
    assert "decompression bomb" in str(caught.value.got)
    (tmp_path / "empty.png").write_bytes(png(12000, 12000))
    with pytest.raises(FileError, match="truncated or damaged") as caught:
        io.read_header(tmp_path / "empty.png")
    assert "144000000 bytes" in str(caught.value.expected)
    (tmp_path / "cut.png").write_bytes(png(200, 200, pixels=bytes(1000))[:70])
    (tmp_path / "none.png").write_bytes(b"no picture")
    for name in ("cut.png", "none.png", "absent.png"):
        with pytest.raises(FileError) as caught:
            io.read(tmp_path / name)
        assert caught.value.file == str(tmp_path / name)


def test_headers_decode_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "a.jpg", "a.tif"):
        Pillow.fromarray(rows_of("uint8", 50, 70)).save(tmp_path / name)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    for module in (PngImagePlugin.PngImageFile, JpegImagePlugin.JpegImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(module, "load", refuse)
    for name in ("a.png", "a.jpg", "a.tif"):
        assert io.read_header(tmp_path / name).grid.shape == (70, 50, 1)


def test_turned_by_exif_is_noted(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.new("L", (3, 2)).save(tmp_path / "a.jpg", exif=exif)
    header = io.read_header(tmp_path / "a.jpg")
    assert header.grid.shape == (3, 2, 1)
    assert any("EXIF" in note for note in header.notes)


@pytest.mark.data
def test_real_retina(data_dir: Path) -> None:
    folder = data_dir / "retina_vessels_2raters" / "CHASEDB1"
    scan, mask = io.load(folder / "Image_01L.jpg"), io.load(folder / "Image_01L_1stHO.png", "label")
    assert (scan.shape, mask.shape) == ((3, 999, 960, 1), (1, 999, 960, 1))
    assert scan.grid == mask.grid
    assert set(np.unique(mask.numpy())) == {0, 1}
    assert np.array_equal(scan.numpy()[..., 0].T, np.asarray(Pillow.open(folder / "Image_01L.jpg")))
