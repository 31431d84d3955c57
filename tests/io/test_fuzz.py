"""Damaged files of every format: an error that names the file, in bounded time and memory, or an image."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from truevox import io
from truevox.errors import TrueVoxError
from truevox.image import Image
from truevox.space import Grid

SHAPE = (4, 5, 6)
# A mutation may well declare an image of this size that the file can hold; none can declare more.
MOST = 2**26


def original(folder: Path, suffix: str) -> Path:
    """A good file."""
    path = folder / f"good{suffix}"
    if suffix in (".png", ".tif"):
        data, grid = torch.arange(20).reshape(1, 4, 5, 1).byte(), Grid((4, 5, 1), np.diag([-1.0, -1, 1, 1]))
    else:
        data = torch.arange(240, dtype=torch.int16).reshape(2, *SHAPE)
        grid = Grid(SHAPE) if suffix == ".npy" else Grid(SHAPE, np.diag([-1.0, 2, 3, 1]))
    if suffix == ".jpg":
        from PIL import Image as Pillow

        Pillow.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    else:
        io.save(Image(data, grid), path)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good file per format."""
    folder = tmp_path_factory.mktemp("good")
    suffixes = (".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz", ".png", ".tif", ".jpg", ".zarr")
    return {suffix: original(folder, suffix) for suffix in suffixes}


def read_or_refuse(path: Path) -> None:
    """Whatever a file says, reading it gives an image of that size or an error of ours."""
    error = None
    try:
        header = io.read_header(path)
        if np.prod((header.channels, *header.grid.shape), dtype=object) * 8 > MOST:
            region = tuple(slice(n // 2, n // 2 + 1) for n in header.grid.shape)
            assert io.read(path, region)[0].shape == (header.channels, 1, 1, 1)
            return
        array, header = io.read(path)
    except TrueVoxError as caught:
        error = caught
    if error is not None:
        # The file, or one that its header names.
        assert error.file is not None
        assert str(path.parent) in error.file
        return
    assert array.shape == (header.channels, *header.grid.shape)
    assert array.dtype.name == header.dtype
    assert np.isfinite(header.grid.affine).all()


def mutated(draw: st.DataObject, content: bytes, head: int) -> bytes:
    """Some bytes changed (most of them in the header), and perhaps the end cut."""
    changed = bytearray(content)
    for _ in range(draw.draw(st.integers(0, 4))):
        at = draw.draw(
            st.one_of(st.integers(0, min(head, len(content)) - 1), st.integers(0, len(content) - 1))
        )
        changed[at] = draw.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 255, 127, 128])))
    cut = draw.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    return bytes(changed[:cut])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz", ".png", ".tif", ".jpg"]
)
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files(suffix: str, data: st.DataObject, good: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(mutated(data, good[suffix].read_bytes(), 400))
    read_or_refuse(path)


@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_headers_in_good_gzip(data: st.DataObject, good: dict[str, Path], tmp_path: Path) -> None:
    # Past the checksum of gzip: what is packed is damaged itself.
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(gzip.compress(mutated(data, good[".nii"].read_bytes(), 352), 1))
    read_or_refuse(path)


TEXTS = [
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "99999999999999999999",
    "1 2 3 4 5",
    "4 5 6",
    "65535 65535 65535",
    "(",
    "()",
]
TEXTS += [
    "(1,2,3) (1,2,3) (1,2,3)",
    "none none none",
    "raw",
    "gzip",
    "True",
    "False",
    "LOCAL",
    "..",
    "MET_CHAR",
    "char",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_of_words_with_other_words(
    suffix: str, data: st.DataObject, good: dict[str, Path], tmp_path: Path
) -> None:
    separator = b": " if suffix == ".nrrd" else b" = "
    lines = good[suffix].read_bytes().split(b"\n")
    fields = [k for k, line in enumerate(lines[:16]) if separator in line]
    for _ in range(data.draw(st.integers(1, 3))):
        k = data.draw(st.sampled_from(fields))
        word = data.draw(st.sampled_from(TEXTS) | st.text(max_size=8).filter(lambda t: "\n" not in t))
        lines[k] = lines[k].split(separator)[0] + separator + word.encode("utf-8", "ignore")
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"\n".join(lines))
    read_or_refuse(path)


@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_zarr(data: st.DataObject, good: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "bad.zarr"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good[".zarr"], folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    path = data.draw(st.sampled_from([folder / "zarr.json", *files]))
    if path.name == "zarr.json" and data.draw(st.booleans()):
        # JSON that is still JSON.
        text = path.read_text()
        digits = [k for k, c in enumerate(text) if c.isdigit()]
        at = data.draw(st.sampled_from(digits))
        path.write_text(
            text[:at]
            + data.draw(st.sampled_from(["9" * 15, "-1", "0", "1.5", "null", '"x"']))
            + text[at + 1 :]
        )
    else:
        path.write_bytes(mutated(data, path.read_bytes(), 2000))
    read_or_refuse(folder)
