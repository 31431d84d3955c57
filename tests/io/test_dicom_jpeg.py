# pyright: reportArgumentType=false
"""JPEG Lossless: files that GDCM compressed, and images of an encoder of the test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox import io
from truevox.errors import FileError
from truevox.io.dicom.jpeg_lossless import decode

# Lengths of codes per value 0 to 16: any complete-enough code will do.
LENGTHS = [3, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 8, 9]


def codes() -> tuple[bytes, dict[int, str]]:
    """The body of a table segment, and the code of each value (annex C of the standard)."""
    order = sorted(range(17), key=lambda value: (LENGTHS[value], value))
    table, code, last = {}, 0, LENGTHS[order[0]]
    for value in order:
        code <<= LENGTHS[value] - last
        last = LENGTHS[value]
        table[value] = f"{code:0{last}b}"
        code += 1
    counts = bytes(LENGTHS.count(length) for length in range(1, 17))
    return b"\0" + counts + bytes(order), table


def encode(image: np.ndarray, bits: int, predictor: int, transform: int = 0, restart: int = 0) -> bytes:
    """(rows, columns, samples) as JPEG Lossless, sample by sample as the standard's annex H tells."""
    rows, columns, samples = image.shape
    body, table = codes()
    stream, lines = b"", restart or rows
    value = image.astype(int) >> transform
    for first in range(0, rows, lines):
        text = ""
        for r, c, k in np.ndindex(min(lines, rows - first), columns, samples):
            at = first + r
            a = value[at, c - 1, k]
            b, d = (value[at - 1, c, k], value[at - 1, c - 1, k]) if r else (0, 0)
            inner = [0, a, b, d, a + b - d, a + ((b - d) >> 1), b + ((a - d) >> 1), (a + b) >> 1][predictor]
            guess = inner if r and c else a if c else b if r else 1 << bits - transform - 1
            difference = (value[at, c, k] - guess + 32768) % 65536 - 32768
            width = 16 if difference == -32768 else int(abs(difference)).bit_length()
            text += table[width]
            if 0 < width < 16:
                text += f"{difference if difference > 0 else difference + (1 << width) - 1:0{width}b}"
        text += "1" * (-len(text) % 8)
        packed = bytes(int(text[k : k + 8], 2) for k in range(0, len(text), 8))
        stream += packed.replace(b"\xff", b"\xff\0")
        if first + lines < rows:
            stream += bytes((0xFF, 0xD0 + first // lines % 8))

    def segment(marker: int, content: bytes) -> bytes:
        return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content

    names = range(1, samples + 1)
    frame = bytes((bits,)) + rows.to_bytes(2) + columns.to_bytes(2) + bytes((samples,))
    frame += b"".join(bytes((name, 0x11, 0)) for name in names)
    scan = bytes((samples,)) + b"".join(bytes((name, 0)) for name in names) + bytes((predictor, 0, transform))
    interval = segment(0xDD, (restart * columns).to_bytes(2)) if restart else b""
    head = b"\xff\xd8" + segment(0xE0, b"any") + segment(0xC4, body) + segment(0xC3, frame)
    return head + interval + segment(0xDA, scan) + stream + b"\xff\xd9"


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(2, 16), st.sampled_from((1, 3)), st.booleans())
def test_every_predictor_precision_and_restart(
    seed: int, predictor: int, bits: int, samples: int, smooth: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 8)), int(rng.integers(1, 8)), samples)
    image = rng.integers(0, 1 << bits, shape)
    if smooth:
        image = np.sort(image, axis=1)
    transform, restart = int(rng.integers(0, min(3, bits))), int(rng.integers(0, shape[0] + 1))
    found = decode(encode(image, bits, predictor, transform, restart), shape)
    np.testing.assert_array_equal(found, image >> transform << transform)
    assert found.dtype == ("u1" if bits <= 8 else "<u2")


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


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_an_error_or_an_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (6, 7, 1)
    content = bytearray(encode(rng.integers(0, 4096, shape), 12, 1, restart=2))
    for place in rng.integers(2, len(content), 3):
        content[place] = rng.integers(256)
    try:
        found = decode(bytes(content[: rng.integers(20, len(content) + 40)]), shape)
    except (ValueError, KeyError, IndexError):
        return
    assert found.shape == shape


def test_truncated_and_absurd_images_are_refused(tmp_path: Path) -> None:
    shape = (6, 7, 1)
    content = encode(np.random.default_rng(0).integers(0, 4096, shape), 12, 1)
    with pytest.raises(ValueError, match="truncated"):
        decode(content[:-20], shape)
    with pytest.raises(ValueError, match="7x6x1 of 12 bits"):
        decode(content, (60000, 60000, 1))
    pixels = np.random.default_rng(0).integers(0, 4000, (1, 40, 50)).astype(np.uint16)
    file = compressed(tmp_path / "a.dcm", pixels)
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(FileError, match=r"a\.dcm"):
        io.read(file)
