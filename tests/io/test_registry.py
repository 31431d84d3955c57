"""Which function reads a file, and what is loaded for it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from truevox import io
from truevox.errors import FileError, GeometryError
from truevox.io import registry
from truevox.io.header import Header
from truevox.space import Grid

GRID = Grid((2, 3, 4), np.diag([1.0, 2, 3, 1]))
ARRAY = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)


def opened(path: Path) -> tuple[Header, registry.Voxels]:
    """A reader that looks at no file."""
    return Header(path, GRID, 1, "uint8"), lambda box: ARRAY[:, *box]


@pytest.fixture
def clean() -> Iterator[None]:
    """Whatever a test registers is forgotten."""
    before = dict(registry._READERS)
    yield
    registry._READERS.clear()
    registry._READERS.update(before)


@pytest.mark.usefixtures("clean")
def test_suffix_then_folder_then_content(tmp_path: Path) -> None:
    names = (".abc", registry.FOLDER, registry.DICOM)
    found = {}
    for name in names:
        found[name] = io.reader(name)(lambda path: opened(path))
    (tmp_path / "series").mkdir()
    (tmp_path / "1.2.840").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "x.abc").write_bytes(bytes(128) + b"DICM")
    for file, name in zip(("x.abc", "series", "1.2.840"), names, strict=True):
        assert registry.find_reader(tmp_path / file) is found[name]
    assert set(io.reading_suffixes()) >= {".abc", ".nii.gz"}
    assert all(suffix.startswith(".") for suffix in io.reading_suffixes())
    with pytest.raises(FileError, match="does not exist"):
        registry.find_reader(tmp_path / "series2")


@pytest.mark.usefixtures("clean")
def test_what_a_user_registers_comes_before_our_own(tmp_path: Path) -> None:
    registry._READERS.clear()
    io.reader(".nii")(opened)
    nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    importlib.reload(importlib.import_module("truevox.io.nifti"))
    io.reader(".nii")(opened)
    sys.modules.pop("truevox.io.nifti")
    assert io.read_header(tmp_path / "a.nii.gz").grid.shape == (3, 3, 3)
    assert registry.find_reader(tmp_path / "a.nii") is opened


@pytest.mark.usefixtures("clean")
def test_a_region_has_its_own_place() -> None:
    io.reader(".abc")(opened)
    array, header = io.read("x.abc", (slice(1, None), slice(None), slice(-2, None)))
    assert np.array_equal(array, ARRAY[:, 1:, :, -2:])
    assert header.grid.shape == array.shape[1:]
    assert header.grid.to_world((0, 0, 0)).tolist() == [1.0, 0.0, 6.0]
    image = io.load("x.abc", region=(slice(1, 2),))
    assert (image.shape, image.grid) == ((1, 1, 3, 4), GRID[1:2])
    for region in ((slice(None, None, 2),), (slice(5, 9),), (slice(None),) * 4, (0,)):
        with pytest.raises(GeometryError):
            io.read("x.abc", region)  # type: ignore[arg-type]


def test_a_package_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MODULES", {".xyz": ("a_package_that_nobody_has", "dicom")})
    with pytest.raises(FileError, match="not installed: a_package_that_nobody_has") as caught:
        io.read_header(tmp_path / "a.xyz")
    assert caught.value.remedy == "pip install 'truevox[dicom]'"


def test_reading_nifti_loads_nothing_else(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    code = (
        f"import sys; from truevox import io; io.read({str(tmp_path / 'a.nii.gz')!r}); io.reading_suffixes();"
        "print(sorted({'SimpleITK', 'zarr', 'highdicom', 'truevox.io.dicom', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "text", "other"),
    [
        ("a.hdr", "", "a.img"),
        ("a.img.gz", "", "a.hdr.gz"),
        ("a.mhd", "NDims = 3\nElementDataFile = voxels.raw\n", "voxels.raw"),
        ("a.nhdr", "NRRD0004\ntype: short\r\ndata file: deep/voxels.raw\r\n", "deep/voxels.raw"),
    ],
)
def test_what_an_image_of_two_files_depends_on(name: str, text: str, other: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert registry.sources(tmp_path / name) == [tmp_path / name]
    (tmp_path / "deep").mkdir()
    (tmp_path / other).touch()
    assert registry.sources(tmp_path / name) == [tmp_path / name, tmp_path / other]
    (tmp_path / "b.mhd").write_text("NDims = 3\nElementDataFile = LOCAL\n")
    assert registry.sources(tmp_path / "b.mhd") == [tmp_path / "b.mhd"]
