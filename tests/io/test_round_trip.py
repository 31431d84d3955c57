"""The round-trip matrix: format x orientation x obliquity x anisotropy x type x channels.

What we write is read to the same voxels and the same world coordinates by us and by the programs that
own the formats: nibabel, SimpleITK, NumPy, zarr.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
import zarr
from helpers import affine_of, world
from strategies import rotation

from truevox import io
from truevox.image import Image
from truevox.space import Grid

CODES = [
    "".join(codes)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*order)
]
SHAPE = (3, 4, 5)
FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha", ".npz", ".zarr")
TYPES = ("uint8", "int8", "int16", "int32", "float32", "label")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (C, I, J, K) and RAS affine."""
    image: Any = nib.load(path)
    array = np.asanyarray(image.dataobj)
    return np.moveaxis(array.reshape(*SHAPE, -1), -1, 0), image.affine


def by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (C, I, J, K) and RAS affine."""
    image = SimpleITK.ReadImage(path)
    vector = image.GetNumberOfComponentsPerPixel() > 1
    array = SimpleITK.GetArrayFromImage(image)
    array = np.moveaxis(array, -1, 0) if vector else array.reshape(-1, *SHAPE[::-1])
    n = image.GetDimension()
    affine = np.eye(4)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(n, n) * image.GetSpacing())[:3, :3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return array.transpose(0, 3, 2, 1), LPS @ affine


def by_numpy(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (C, I, J, K) and RAS affine."""
    found = np.load(path)
    return found["data"].reshape(-1, *SHAPE), found["affine"]


def by_zarr(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (C, I, J, K) and RAS affine."""
    found: Any = zarr.open(path, mode="r")
    return np.asarray(found), np.array(found.attrs["affine"])


OTHERS: dict[str, tuple[Any, ...]] = {
    ".nii": (by_nibabel, by_itk),
    ".nii.gz": (by_nibabel, by_itk),
    ".nrrd": (by_itk,),
    ".mha": (by_itk,),
    ".npz": (by_numpy,),
    ".zarr": (by_zarr,),
}


def grid_of(codes: str, oblique: bool, spacing: tuple[float, ...]) -> Grid:
    """A grid whose axes grow towards ``codes``, turned by up to 20 degrees if oblique."""
    affine = affine_of(codes, spacing, (-31.7, 12.3, 1 / 3))
    if oblique:
        affine[:3, :3] = rotation((0.2, -0.3, 0.1)) @ affine[:3, :3]
    return Grid(SHAPE, affine)


def voxels_of(dtype: str, channels: int) -> torch.Tensor:
    """Numbers at the ends of the type's range and between."""
    kind = np.dtype("uint8" if dtype == "label" else dtype)
    rng = np.random.default_rng(0)
    if kind.kind == "f":
        return torch.from_numpy(rng.normal(size=(channels, *SHAPE)).astype(kind))
    info = np.iinfo(kind)
    array = rng.integers(info.min, info.max, (channels, *SHAPE), endpoint=True).astype(kind)
    array.flat[:2] = info.min, info.max
    return torch.from_numpy(array)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("codes", CODES)
def test_voxels_and_places_survive(suffix: str, codes: str, tmp_path: Path) -> None:
    # Every orientation, oblique and not; types, spacings and channels take turns.
    k = CODES.index(codes) + FORMATS.index(suffix)
    for turn, oblique in enumerate((False, True)):
        dtype, channels = TYPES[(k + turn) % len(TYPES)], 1 + 2 * ((k // len(TYPES) + turn) % 2)
        grid = grid_of(codes, oblique, ((1, 1, 1), (0.45, 0.8, 6.0))[(k // 2 + turn) % 2])
        data = voxels_of(dtype, channels)
        path = tmp_path / f"{turn}{suffix}"
        io.save(Image(data, grid, "label" if dtype == "label" else "scalar"), path)
        # NIfTI keeps float32; the others every digit (MetaImage but for the last).
        tolerance = 1e-4 if "nii" in suffix else 1e-9
        found, header = io.read(path)
        assert header.grid.displacement(grid) < tolerance
        assert header.grid.orientation == codes
        for array, affine in [(found, header.grid.affine), *(other(path) for other in OTHERS[suffix])]:
            assert np.array_equal(array, data.numpy())
            # ITK makes NIfTI's directions orthonormal in float32, through a quaternion.
            itk = tolerance * (1 + 30 * ("nii" in suffix))
            assert np.abs(world(Grid(SHAPE, affine)) - world(grid)).max() < itk
        assert found.dtype == data.numpy().dtype


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_from_one_format_to_another(first: str, second: str, tmp_path: Path) -> None:
    # A ramp: every voxel says where it is, whatever the file.
    grid = grid_of("LIP", True, (0.45, 0.8, 6.0))
    ramp = Image(torch.from_numpy(world(grid)).float(), grid)
    io.save(ramp, tmp_path / f"a{first}")
    io.save(io.load(tmp_path / f"a{first}"), tmp_path / f"b{second}")
    again = io.load(tmp_path / f"b{second}")
    assert np.abs(again.numpy() - world(again.grid)).max() < 1e-4
    part = io.load(tmp_path / f"b{second}", region=(slice(1, 3), slice(2, 4), slice(0, 2)))
    assert np.abs(part.numpy() - world(part.grid)).max() < 1e-4
    assert part.shape == (3, 2, 2, 2)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_failed_write_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_of("RAS", False, (1, 1, 1))
    path = tmp_path / f"a{suffix}"
    io.save(Image(torch.ones(1, *SHAPE), grid), path)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(Exception, match="disk is full"):
        io.save(Image(torch.zeros(1, *SHAPE), grid), path)
    monkeypatch.undo()
    assert io.load(path).data.all()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
