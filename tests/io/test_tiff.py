"""TIFF: values as stored, axes and sizes as ImageJ and OME have them. Files by tifffile, libtiff and hand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import tifffile
import torch
from PIL import Image as Pillow

from truevox import io
from truevox.errors import CaseError, FileError, GeometryError, LabelError
from truevox.image import Image
from truevox.space import Grid

RNG = np.random.default_rng(0)
PLACE = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path) -> np.ndarray:
    """(channels, slices, rows, columns)."""
    return io.read(path)[0].transpose(0, 3, 2, 1)


@pytest.mark.parametrize(
    "dtype",
    [
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_every_type_are_those_stored(dtype: str, order: Any, tmp_path: Path) -> None:
    if dtype.startswith("float"):
        values = RNG.normal(size=(5, 7)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        values = RNG.integers(info.min, info.max, (5, 7), dtype, endpoint=True)
        values[0, 0], values[-1, -1] = info.min, info.max
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "white": {"photometric": "miniswhite"} if values.dtype.kind in "iu" else {},
        "packed": {"compression": "zlib", "rowsperstrip": 2},
        "tiles": {"tile": (16, 16), "compression": "zlib"},
        "big": {"bigtiff": True},
    }
    for name, options in ways.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values, byteorder=order, **options)
        found = read(tmp_path / f"{name}.tif")[0, 0]
        assert found.dtype == values.dtype, name
        assert np.array_equal(found, values), name


@pytest.mark.parametrize(
    "mode", ["tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "zstd", "lzma"]
)
@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "colour"])
def test_what_libtiff_packs_is_unpacked(mode: str, predictor: int, dtype: str, tmp_path: Path) -> None:
    if predictor == 3 and dtype != "float32":
        return  # differences of floats alone
    rows = RNG.normal(size=(37, 53)) if dtype == "float32" else RNG.integers(0, 255, (37, 53))
    rows = rows.astype("uint8" if dtype == "colour" else dtype)
    rows = np.dstack([rows, rows[::-1], rows[:, ::-1]]) if dtype == "colour" else rows
    tags = {317: predictor} if predictor > 1 else {}
    Pillow.fromarray(rows).save(tmp_path / "a.tif", compression=mode, tiffinfo=tags)
    found = read(tmp_path / "a.tif")[:, 0].transpose(1, 2, 0)
    assert np.array_equal(found, rows.reshape(37, 53, -1))


@pytest.mark.parametrize("mode", ["raw", "tiff_lzw", "group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_one_bit_as_stored(mode: str, photometric: int, tmp_path: Path) -> None:
    """libtiff stores the bits that it is given; whether 0 is white changes how they are shown, not them."""
    shown = RNG.integers(0, 2, (19, 29)).astype(bool)
    Pillow.fromarray(shown).save(tmp_path / "a.tif", compression=mode, tiffinfo={262: photometric})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored = shown if file.pages[0].photometric == 1 else ~shown  # type: ignore[union-attr]
    with Pillow.open(tmp_path / "a.tif") as picture:
        shown_again = np.asarray(picture)
    stored = shown_again if photometric == 1 else ~shown_again
    assert np.array_equal(read(tmp_path / "a.tif")[0, 0], stored)
    noted = any("WhiteIsZero" in note for note in io.read_header(tmp_path / "a.tif").notes)
    assert noted == (photometric == 0)


def by_hand(path: Path, content: bytes, shape: tuple[int, int], *tags: tuple[int, int, int, int]) -> Path:
    """A TIFF of one strip."""
    plain = {256: (3, 1, shape[1]), 257: (3, 1, shape[0]), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    plain |= {273: (4, 1, 8), 278: (3, 1, shape[0]), 279: (4, 1, len(content))}
    plain |= {tag: rest for tag, *rest in tags}  # type: ignore[misc]
    entries = b"".join(struct.pack("<HHII", tag, *plain[tag]) for tag in sorted(plain))
    at = 8 + len(content) + len(content) % 2
    path.write_bytes(
        struct.pack("<4sI", b"II*\0", at)
        + content
        + bytes(len(content) % 2)
        + struct.pack("<H", len(plain))
        + entries
        + bytes(4)
    )
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 12])
def test_few_bits_per_number(bits: int, tmp_path: Path) -> None:
    """Packed with the highest bit first, rows begin on whole bytes (TIFF 6.0)."""
    rows = RNG.integers(0, 2**bits, (4, 7))
    content = b""
    for row in rows:
        line = "".join(format(int(v), f"0{bits}b") for v in row)
        line += "0" * (-len(line) % 8)
        content += int(line, 2).to_bytes(len(line) // 8, "big")
    by_hand(tmp_path / "a.tif", content, rows.shape, (258, 3, 1, bits))
    assert np.array_equal(read(tmp_path / "a.tif")[0, 0], rows)
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content)
    by_hand(tmp_path / "b.tif", turned, rows.shape, (258, 3, 1, bits), (266, 3, 1, 2))
    assert np.array_equal(read(tmp_path / "b.tif")[0, 0], rows)


def test_colours_planes_alpha_and_palettes(tmp_path: Path) -> None:
    rgb = RNG.integers(0, 255, (8, 10, 3)).astype(np.uint8)
    deep = RNG.integers(0, 65535, (8, 10, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(
        tmp_path / "c.tif", rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate",
        compression="zlib", tile=(16, 16),
    )  # fmt: skip
    for name in "abc":
        assert np.array_equal(read(tmp_path / f"{name}.tif")[:, 0], rgb.transpose(2, 0, 1)), name
    tifffile.imwrite(tmp_path / "d.tif", deep, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read(tmp_path / "d.tif")[:, 0], deep.transpose(2, 0, 1))
    table = np.arange(768, dtype=np.uint16).reshape(3, 256)
    tifffile.imwrite(tmp_path / "e.tif", rgb[..., 0], photometric="palette", colormap=table)
    assert np.array_equal(read(tmp_path / "e.tif")[0, 0], rgb[..., 0])
    assert any("indices" in note for note in io.read_header(tmp_path / "e.tif").notes)
    Pillow.new("CMYK", (3, 2)).save(tmp_path / "ink.tif")
    with pytest.raises(FileError, match="SEPARATED"):
        io.read_header(tmp_path / "ink.tif")


def test_a_grey_mask_in_colours_is_its_grey(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2], [2, 0, 0]], np.uint8)
    full = np.full_like(mask, 255)
    kinds: tuple[tuple[str, list[np.ndarray], dict[str, Any]], ...] = (
        ("rgb", [mask] * 3, {"photometric": "rgb"}),
        ("rgba", [*[mask] * 3, full], {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        ("la", [mask, full], {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    )
    for name, planes, tags in kinds:
        tifffile.imwrite(tmp_path / f"{name}.tif", np.dstack(planes), planarconfig="contig", **tags)
        found = io.load(tmp_path / f"{name}.tif", "label").numpy()
        np.testing.assert_array_equal(found[0, :, :, 0].T, mask)
    tifffile.imwrite(tmp_path / "red.tif", np.dstack([mask, 0 * mask, 0 * mask]), photometric="rgb")
    with pytest.raises(LabelError, match="colours"):
        io.load(tmp_path / "red.tif", "label")


def test_jpeg_inside_is_what_libjpeg_makes_of_it(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(40)).astype(np.uint8)
    for rows in (smooth, np.dstack([smooth, smooth[::-1], 255 - smooth])):
        Pillow.fromarray(rows).save(tmp_path / "a.tif", compression="jpeg")
        found = read(tmp_path / "a.tif")[:, 0].transpose(1, 2, 0)
        with Pillow.open(tmp_path / "a.tif") as picture:
            assert np.array_equal(found, np.asarray(picture).reshape(found.shape))


AXES = {"C": 2, "Z": 3, "T": 4}


@pytest.mark.parametrize(
    ("axes", "channels", "slices"),
    [
        ("ZCYX", 2, 3),
        ("CYX", 2, 1),
        ("ZYX", 1, 3),
        ("TZYX", 4, 3),
        ("ZYXS", 3, 3),
        ("YXS", 3, 1),
    ],
)
@pytest.mark.parametrize("program", ["imagej", "ome"])
def test_axes_of_imagej_and_ome(axes: str, channels: int, slices: int, program: str, tmp_path: Path) -> None:
    sizes = {**AXES, "Y": 5, "X": 7, "S": 3}
    array = RNG.integers(0, 255, [sizes[a] for a in axes]).astype(np.uint8)
    if program == "imagej":
        said = {"axes": axes, "spacing": 5.0, "unit": "um", "finterval": 2.5}
        options: dict[str, Any] = {"imagej": True, "resolution": (2.0, 4.0)}
    else:
        said = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 5.0}
        said |= {"TimeIncrement": 2500, "TimeIncrementUnit": "ms"}
        options = {"ome": True}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=said, **options)
    header = io.read_header(tmp_path / "a.tif")
    assert (header.channels, header.grid.shape) == (channels, (7, 5, slices))
    assert (header.grid.unit, header.grid.spacing[:2].tolist()) == ("mm", pytest.approx([5e-4, 2.5e-4]))
    if slices > 1:
        assert header.grid.spacing[2] == pytest.approx(5e-3)
    found = read(tmp_path / "a.tif")
    beyond = next((a for a in axes if a in "CTS"), "")
    order = beyond + ("Z" if "Z" in axes else "") + "YX"
    want = array.transpose([axes.index(a) for a in order]).reshape(channels, slices, 5, 7)
    assert np.array_equal(found, want)
    assert header.times == ((0.0, 2.5, 5.0, 7.5) if "T" in axes else None)
    part, _ = io.read(tmp_path / "a.tif", (slice(2, 6), slice(1, 3), slice(slices - 1, slices)))
    assert np.array_equal(part.transpose(0, 3, 2, 1), want[:, -1:, 1:3, 2:6])


def test_two_axes_beyond_space_are_refused(tmp_path: Path) -> None:
    array = np.zeros((4, 2, 6, 5, 7), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "b.tif", array, ome=True, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "c.tif", array[0])
    for name in "abc":
        with pytest.raises(CaseError, match="beyond those of space") as caught:
            io.read_header(tmp_path / f"{name}.tif")
        assert caught.value.remedy


def test_stacks_that_nobody_named(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (6, 5, 7)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array)
    tifffile.imwrite(tmp_path / "b.tif", array, imagej=True)  # tifffile calls them channels
    tifffile.imwrite(tmp_path / "c.tif", array, metadata=None)
    tifffile.imwrite(tmp_path / "d.tif", array, truncate=True)
    tifffile.imwrite(tmp_path / "e.tif", array, imagej=True, metadata={"axes": "TYX"})
    for name in "abcde":
        assert np.array_equal(read(tmp_path / f"{name}.tif")[0], array), name
        assert io.read_header(tmp_path / f"{name}.tif").grid == Grid((7, 5, 6), PLACE, "px")
    assert any("many grey channels" in note for note in io.read_header(tmp_path / "b.tif").notes)
    assert any("frames" in note for note in io.read_header(tmp_path / "e.tif").notes)
    tifffile.imwrite(tmp_path / "f.tif", array, imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    assert np.array_equal(read(tmp_path / "f.tif")[:, 0], array)


def test_the_finest_level_of_a_pyramid(tmp_path: Path) -> None:
    whole = RNG.integers(0, 255, (64, 48)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(whole, tile=(16, 16), subifds=1)
        file.write(whole[::2, ::2], tile=(16, 16), subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(whole, tile=(16, 16), metadata=None)
        file.write(whole[::2, ::2], tile=(16, 16), subfiletype=1, metadata=None)
    for name in "ab":
        assert np.array_equal(read(tmp_path / f"{name}.tif")[0, 0], whole)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"resolution": (20, 4), "resolutionunit": 3}, (0.5, 2.5)),
        ({"resolution": (254, 127), "resolutionunit": 2}, (0.1, 0.2)),
        ({"resolution": (508, 508), "resolutionunit": 2}, (0.05, 0.05)),
        ({"resolution": (72, 72), "resolutionunit": 2}, None),
        ({"resolution": (300, 300), "resolutionunit": 2}, None),
        ({"resolution": (20, 4), "resolutionunit": 1}, None),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "\\u00B5m"}}, (5e-4, 5e-4)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "micron"}}, (5e-4, 5e-4)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "cm"}}, (5, 5)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "inch"}}, (12.7, 12.7)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}}, None),
        ({"imagej": True, "resolution": (2, 2)}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3, "PhysicalSizeY": 2}}, (3e-3, 2e-3)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3, "PhysicalSizeXUnit": "mm", "PhysicalSizeY": 2,
          "PhysicalSizeYUnit": "cm"}}, (3, 20)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3, "PhysicalSizeXUnit": "pixel"}}, None),
        ({"ome": True}, None),
    ],
)  # fmt: skip
def test_sizes_of_pixels(tags: dict[str, Any], spacing: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 7), np.uint8), **tags)
    header = io.read_header(tmp_path / "a.tif")
    assert header.grid.unit == ("px" if spacing is None else "mm")
    assert header.grid.spacing.tolist() == pytest.approx([*(spacing or (1, 1)), 1])
    assert len(header.notes) == 1


def test_pages_whose_distance_is_unknown_have_no_volume(tmp_path: Path) -> None:
    stack = np.zeros((6, 5, 7), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, resolution=(20, 4), resolutionunit=3)
    grid = io.read_header(tmp_path / "a.tif").grid
    assert grid == Grid((7, 5, 6), PLACE, "px")
    tifffile.imwrite(tmp_path / "b.tif", stack, imagej=True, metadata={"unit": "furlong", "axes": "ZYX"})
    with pytest.raises(GeometryError, match="furlong") as caught:
        io.read_header(tmp_path / "b.tif")
    assert caught.value.file == str(tmp_path / "b.tif")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"])
def test_what_is_written_is_read_and_other_programs_agree(dtype: str, tmp_path: Path) -> None:
    values = RNG.normal(size=(1, 7, 5, 3)) if dtype == "float32" else RNG.integers(0, 100, (1, 7, 5, 3))
    grid = Grid((7, 5, 3), PLACE @ np.diag([0.31, 0.7, 2.5, 1]))
    image = Image(torch.from_numpy(values.astype(dtype)), grid)
    io.save(image, tmp_path / "a.tif")
    again = io.load(tmp_path / "a.tif")
    assert np.array_equal(again.numpy(), values.astype(dtype))
    assert again.grid.displacement(grid) < 1e-4
    other = SimpleITK.ReadImage(tmp_path / "a.tif")
    assert np.array_equal(SimpleITK.GetArrayFromImage(other), image.numpy()[0].T)
    assert np.allclose(other.GetSpacing()[:2], (0.31, 0.7))
    io.save(Image(image.data, Grid((7, 5, 3), PLACE, "px")), tmp_path / "b.tif")
    assert io.read_header(tmp_path / "b.tif").grid.unit == "px"
    with pytest.raises(GeometryError, match="can't say"):
        io.save(
            Image(image.data, Grid((7, 5, 3), 2 * PLACE + np.diag([0, 0, 0, -1]), "px")), tmp_path / "c.tif"
        )


def test_damaged_and_unreadable(tmp_path: Path) -> None:
    rows = RNG.integers(0, 255, (64, 64)).astype(np.uint8)
    for name in ("plain", "packed"):
        tifffile.imwrite(tmp_path / f"{name}.tif", rows, compression="zlib" if name == "packed" else None)
        content = (tmp_path / f"{name}.tif").read_bytes()
        (tmp_path / f"{name}.tif").write_bytes(content[: len(content) - 500])
    Pillow.fromarray(rows).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "lzw.tif").read_bytes())
    content[8:3000] = bytes(2992)
    (tmp_path / "lzw.tif").write_bytes(content)
    (tmp_path / "none.tif").write_bytes(b"no picture")
    by_hand(tmp_path / "jp2.tif", bytes(64), (8, 8), (258, 3, 1, 8), (259, 3, 1, 34712))
    tifffile.imwrite(tmp_path / "complex.tif", rows.astype(np.complex64))
    by_hand(tmp_path / "huge.tif", bytes(64), (60000, 60000), (258, 3, 1, 8), (259, 3, 1, 8))
    for name in ("plain", "packed", "lzw", "none", "jp2", "complex", "huge", "absent"):
        with pytest.raises(FileError) as caught:
            io.read(tmp_path / f"{name}.tif")
        assert caught.value.file == str(tmp_path / f"{name}.tif")
        assert name != "jp2" or "imagecodecs" in str(caught.value)


def test_a_small_file_unpacks_to_no_more_than_it_says(tmp_path: Path) -> None:
    import tracemalloc
    import zlib

    bomb = zlib.compress(bytes(2**26), 9)
    by_hand(tmp_path / "a.tif", bomb, (8, 8), (258, 3, 1, 8), (259, 3, 1, 8))
    tracemalloc.start()
    io.read(tmp_path / "a.tif")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
