"""JPEG Lossless, the usual compression of clinical archives: what SimpleITK packed is what we read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from truevox import io
from truevox.errors import FileError


def compressed(file: Path, pixels: np.ndarray) -> Path:
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(file))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.Execute(SimpleITK.GetImageFromArray(pixels, isVector=pixels.shape[-1] == 3 and pixels.ndim == 4))
    return file


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16"])
def test_files_that_gdcm_compressed(tmp_path: Path, kind: str) -> None:
    limits = np.iinfo(kind)
    pixels = (
        np.random.default_rng(0).integers(limits.min, limits.max, (1, 40, 50), endpoint=True).astype(kind)
    )
    pixels[0, 5:20] = 7
    file = compressed(tmp_path / "a.dcm", pixels)
    assert b"1.2.840.10008.1.2.4.70" in file.read_bytes()
    np.testing.assert_array_equal(io.read(file)[0][0, :, :, 0].T, pixels[0])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))), pixels)


def test_colours_that_gdcm_compressed(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 3)).astype(np.uint8)
    array, _ = io.read(compressed(tmp_path / "a.dcm", pixels))
    np.testing.assert_array_equal(array[:, :, :, 0], pixels[0].transpose(2, 1, 0))


def noise(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 4000, (1, 40, 50)).astype(np.uint16)
    return compressed(tmp_path / "a.dcm", pixels)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    file = noise(tmp_path)
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(FileError, match=r"a\.dcm"):
        io.read(file)


def test_a_frame_that_declares_more_than_the_header_is_refused(tmp_path: Path) -> None:
    file = noise(tmp_path)
    content = bytearray(file.read_bytes())
    start = content.index(b"\xff\xc3")
    assert content[start + 5 : start + 9] == (40).to_bytes(2) + (50).to_bytes(2)
    content[start + 5 : start + 9] = (60000).to_bytes(2) * 2
    file.write_bytes(content)
    with pytest.raises(FileError, match=r"a\.dcm"):
        io.read(file)
