"""NIfTI files: nibabel is the independent reader and writer that ours is held against."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox import io
from truevox.errors import CaseError, FileError, GeometryError, LabelError
from truevox.image import Image
from truevox.io.access import label_counts
from truevox.labels import Labels
from truevox.space import Grid


def nibabel_load(path: Path) -> Any:
    """What nibabel reads; its type does not say that it is NIfTI."""
    return nib.load(path)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """Rotation matrix about x, y and z."""
    out = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        one = np.eye(3)
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        one[i, i] = one[j, j] = c
        one[i, j], one[j, i] = -s, s
        out = one @ out
    return out


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any orientation, oblique, anisotropic."""
    order = draw(st.permutations([0, 1, 2]))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    turn = rotation(draw(st.tuples(*[st.floats(-0.6, 0.6)] * 3)))
    spacing = draw(st.tuples(*[st.floats(0.2, 6.0)] * 3))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ (np.eye(3)[:, order] * signs) @ np.diag(spacing)
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    return matrix


DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "float32", "float64", ">i2", ">f4")


@given(affine=affines(), dtype=st.sampled_from(DTYPES), suffix=st.sampled_from([".nii", ".nii.gz"]))
@settings(max_examples=60)
def test_what_nibabel_writes_is_read_alike(
    affine: np.ndarray, dtype: str, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("nib") / f"a{suffix}"
    array = (np.arange(4 * 5 * 6).reshape(4, 5, 6) - (0 if "u" in dtype else 50)).astype(dtype)
    image = nib.Nifti1Image(array, affine, dtype=np.dtype(dtype))
    image.to_filename(path)
    loaded = nibabel_load(path)
    found, header = io.read(path)
    assert np.array_equal(found[0], array)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert header.dtype == found.dtype.name
    assert np.array_equal(header.grid.affine, loaded.affine)
    assert io.read_header(path).grid == header.grid


@given(affine=affines(), kind=st.sampled_from(["scalar", "label", "probability"]), channels=st.integers(1, 3))
@settings(max_examples=60)
def test_what_is_saved_is_read_alike_by_nibabel(
    affine: np.ndarray, kind: str, channels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("own") / "a.nii.gz"
    data = torch.rand(channels, 3, 4, 5) if kind != "label" else torch.randint(0, 300, (channels, 3, 4, 5))
    grid = Grid((3, 4, 5), affine)
    io.save(Image(data, grid, kind=kind), path)  # type: ignore[arg-type]
    other = nibabel_load(path)
    array = np.asanyarray(other.dataobj)
    assert array.shape == ((3, 4, 5) if channels == 1 else (3, 4, 5, channels))
    assert np.array_equal(array.reshape(3, 4, 5, channels), np.moveaxis(data.numpy(), 0, -1))
    again = io.load(path, kind=kind)  # type: ignore[arg-type]
    assert torch.equal(again.data.to(data.dtype), data)
    # A new grid goes through float32: 2**-24 relative of at most some hundred mm.
    assert grid.displacement(again.grid) < 1e-4
    assert np.abs(other.affine - grid.affine).max() < 2e-5


@given(
    affine=affines(), codes=st.sampled_from([(1, 0), (0, 1), (2, 1), (0, 0)]), version=st.sampled_from([1, 2])
)
@settings(max_examples=60)
def test_an_image_on_its_files_grid_is_written_on_exactly_that_grid(
    affine: np.ndarray, codes: tuple[int, int], version: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("keep")
    cls = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = cls(np.zeros((3, 4, 5), np.int16), affine)
    image.set_sform(image.affine, codes[0])
    image.set_qform(image.affine, codes[1])
    image.to_filename(folder / "a.nii")
    scan = io.load(folder / "a.nii")
    mask = Image(torch.ones(1, 3, 4, 5), scan.grid, "label", header=scan.header)
    io.save(mask, folder / "b.nii.gz")
    assert io.read_header(folder / "b.nii.gz").grid == scan.grid
    old, new = nibabel_load(folder / "a.nii").header, nibabel_load(folder / "b.nii.gz").header
    for name in (
        "sform_code",
        "qform_code",
        "srow_x",
        "srow_y",
        "srow_z",
        "quatern_b",
        "qoffset_x",
        "pixdim",
    ):
        assert np.array_equal(old[name], new[name]), name


def test_a_moved_image_forgets_the_header_geometry(tmp_path: Path) -> None:
    io.save(Image(torch.zeros(1, 4, 5, 6), Grid((4, 5, 6), np.diag([2.0, 2, 2, 1]))), tmp_path / "a.nii")
    scan = io.load(tmp_path / "a.nii")
    moved = Image(scan.data, scan.grid.flip(0), header=scan.header)
    io.save(moved, tmp_path / "b.nii")
    assert nibabel_load(tmp_path / "b.nii").affine[0].tolist() == [-2.0, 0.0, 0.0, 6.0]


def test_sheared_grids_are_written_without_a_qform(tmp_path: Path) -> None:
    affine = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    io.save(Image(torch.zeros(1, 40, 50, 60), Grid((40, 50, 60), affine)), tmp_path / "a.nii.gz")
    header = nibabel_load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert np.array_equal(io.read_header(tmp_path / "a.nii.gz").grid.affine, affine)


def test_scaling_is_applied_and_agrees_with_nibabel(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -3.0)
    image.to_filename(tmp_path / "a.nii")
    # nibabel stores the numbers so that they mean 0..23 after scaling with its own slope: write the bytes.
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[352:] = np.arange(24, dtype="<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    found, header = io.read(tmp_path / "a.nii")
    assert found.dtype == np.float32
    assert header.dtype == "float32"
    assert np.array_equal(found[0].ravel("F"), np.arange(24) * 0.5 - 3.0)
    assert np.array_equal(found[0], nibabel_load(tmp_path / "a.nii").get_fdata())


@pytest.mark.parametrize(
    ("stored", "shape", "channels"),
    [
        ((7,), (7, 1, 1), 1),
        ((4, 5), (4, 5, 1), 1),
        ((4, 5, 6, 1), (4, 5, 6), 1),
        ((4, 5, 6, 3), (4, 5, 6), 3),
        ((4, 5, 6, 1, 3), (4, 5, 6), 3),
    ],
)
def test_axes_become_grid_and_channels(
    stored: tuple[int, ...], shape: tuple[int, ...], channels: int, tmp_path: Path
) -> None:
    array = np.arange(np.prod(stored), dtype=np.float32).reshape(stored)
    nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    found, header = io.read(tmp_path / "a.nii.gz")
    assert (header.grid.shape, header.channels) == (shape, channels)
    assert np.array_equal(found, np.moveaxis(array.reshape(*shape, channels), -1, 0))


def test_two_axes_beyond_the_third_are_refused(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((2, 2, 2, 3, 4), np.uint8), np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(CaseError, match="2 axes beyond the third"):
        io.read_header(tmp_path / "a.nii")


# ---- geometry that is no place ----------------------------------------------------------------------


def write_geometry(path: Path, sform: np.ndarray | None, qform: np.ndarray | None) -> None:
    """A file with these two affines (None: code 0)."""
    image = nib.Nifti1Image(np.zeros((10, 10, 10), np.uint8), np.eye(4))
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    image.to_filename(path)


def test_contradicting_sform_and_qform(tmp_path: Path) -> None:
    moved = np.eye(4)
    moved[:3, 3] = (0, 0, 3)
    write_geometry(tmp_path / "a.nii", np.eye(4), moved)
    with pytest.raises(GeometryError) as caught:
        io.read_header(tmp_path / "a.nii")
    text = str(caught.value)
    assert "sform  code 1" in text
    assert "qform  code 1" in text
    assert "largest corner displacement 3.00 mm (tolerance 0.10 mm)" in text
    assert str(tmp_path / "a.nii") in text


def test_a_small_disagreement_follows_the_sform(tmp_path: Path) -> None:
    moved = np.eye(4)
    moved[:3, 3] = (0, 0, 0.05)
    write_geometry(tmp_path / "a.nii", np.eye(4), moved)
    assert np.array_equal(io.read_header(tmp_path / "a.nii").grid.affine, np.eye(4))


def test_a_quaternion_that_lost_its_scalar_part_is_no_contradiction(tmp_path: Path) -> None:
    # Turned by 180 degrees less 0.06: float32 b, c, d say 180, as in ITK's files of oblique scans.
    angle = np.pi - 1e-3
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:2, :2] = [[c, -s], [s, c]]
    image = nib.Nifti1Image(np.zeros((300, 300, 10), np.uint8), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header["quatern_d"] = 1.0
    image.to_filename(tmp_path / "a.nii")
    grid = io.read_header(tmp_path / "a.nii").grid
    assert grid.displacement(Grid((300, 300, 10), nibabel_load(tmp_path / "a.nii").get_qform())) > 0.1
    assert np.allclose(grid.affine, affine, atol=1e-7)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_singular_and_infinite_affines_name_the_file(value: float, tmp_path: Path) -> None:
    write_geometry(tmp_path / "a.nii", np.eye(4), None)
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[280:292] = np.array([value] * 3, "<f4").tobytes()  # srow_x without its offset
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(GeometryError, match=r"singular|not finite") as caught:
        io.read_header(tmp_path / "a.nii")
    assert caught.value.file == str(tmp_path / "a.nii")


def test_spacing_alone_is_followed_as_nibabel_does_and_noted(tmp_path: Path) -> None:
    write_geometry(tmp_path / "a.nii", None, None)
    header = io.read_header(tmp_path / "a.nii")
    assert np.array_equal(header.grid.affine, nibabel_load(tmp_path / "a.nii").affine)
    assert "lengths are in pixels" in header.notes[0]
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[88:92] = np.float32(2).tobytes()  # pixdim[3]
    (tmp_path / "b.nii").write_bytes(raw)
    header = io.read_header(tmp_path / "b.nii")
    assert (header.grid.unit, header.grid.spacing[2]) == ("mm", 2)
    assert "spacing only" in header.notes[0]


# ---- files that can't be read ----------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist") as caught:
        io.read(tmp_path / "no.nii.gz")
    assert caught.value.file == str(tmp_path / "no.nii.gz")
    assert caught.value.remedy


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_gzip(keep: float, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    raw = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(FileError, match="truncated or damaged"):
        io.read(tmp_path / "a.nii.gz")


def test_damaged_gzip(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    raw = bytearray((tmp_path / "a.nii.gz").read_bytes())
    raw[-6] ^= 0xFF  # the checksum
    (tmp_path / "a.nii.gz").write_bytes(raw)
    with pytest.raises(FileError):
        io.read(tmp_path / "a.nii.gz")


def test_truncated_plain_file(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(raw[:-2])
    with pytest.raises(FileError, match="truncated") as caught:
        io.read(tmp_path / "a.nii")
    assert (caught.value.got, caught.value.expected) == ("1808 bytes", "1810 bytes")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"abc", "not a NIfTI image"),
        (bytes(1000), "not a NIfTI image"),
        (b"subject,age\n1,20\n", "is text"),
        ("größe in µm".encode() * 60, "is text"),
        (b"<!DOCTYPE html>\n<title>404", "is a web page"),
        (b"  <HTML><body>Log in", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"../../.git/annex/objects/3k/9q/MD5E-s7.nii.gz", "is a pointer of git-annex"),
        (b"PK\x03\x04" + bytes(400), "is a zip archive"),
        (bytes(128) + b"DICM" + bytes(400), "is a DICOM file"),
        (b"NRRD0005\ntype: float", "is an NRRD image"),
    ],
)
def test_not_a_nifti(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(FileError, match=text) as caught:
            io.read_header(tmp_path / name)
        assert caught.value.remedy
    # Under the name of a packed file, nothing of this is NIfTI that only needs another name.
    (tmp_path / "c.nii.gz").write_bytes(content)
    with pytest.raises(FileError, match=text if text.startswith("is") else "not compressed") as caught:
        io.read_header(tmp_path / "c.nii.gz")
    assert caught.value.file == str(tmp_path / "c.nii.gz")
    assert (caught.value.remedy == "rename it to .nii") == (len(content) == 1000)


def test_a_name_that_lies_about_compression(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content)
    with pytest.raises(FileError, match="not compressed") as caught:
        io.read(tmp_path / "b.nii.gz")
    assert caught.value.remedy == "rename it to .nii"
    (tmp_path / "c.nii").write_bytes(gzip.compress(content))
    with pytest.raises(FileError) as caught:
        io.read(tmp_path / "c.nii")
    assert caught.value.remedy == "rename it to .nii.gz"


def test_permission_denied_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(FileError, match="can't be read"):
        io.read(tmp_path / "folder.nii")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The superuser may read everything, so that file modes prove nothing there.
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(FileError, match="permission denied"):
        io.read_header(tmp_path / "a.nii")


def test_unknown_suffixes_name_the_known(tmp_path: Path) -> None:
    (tmp_path / "a.abc").touch()
    with pytest.raises(FileError) as caught:
        io.read(tmp_path / "a.abc")
    assert ".nii, .nii.gz" in str(caught.value.expected)
    with pytest.raises(FileError):
        io.save(Image(torch.zeros(1, 2, 2, 2), Grid((2, 2, 2))), tmp_path / "a.abc")


def test_colour_images_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.Nifti1Image(rgb, np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(FileError, match="can't be used as numbers"):
        io.read_header(tmp_path / "a.nii")


# ---- voxels ----------------------------------------------------------------------


def test_labels_stay_the_smallest_integers(tmp_path: Path) -> None:
    grid = Grid((2, 1, 1))
    for values, dtype in [((0, 255), "uint8"), ((-1, 3), "int8"), ((0, 256), "uint16"), ((-300, 9), "int16")]:
        data = torch.tensor(values, dtype=torch.float32).reshape(1, 2, 1, 1)
        io.save(Image(data, grid, "label"), tmp_path / "a.nii.gz")
        assert nibabel_load(tmp_path / "a.nii.gz").get_data_dtype() == dtype
        assert io.load(tmp_path / "a.nii.gz", "label").data.flatten().tolist() == list(values)


def test_label_values_between_integers_are_refused(tmp_path: Path) -> None:
    data = torch.tensor([0.0, 1.0, 0.5, float("nan")]).reshape(1, 4, 1, 1)
    io.save(Image(data, Grid((4, 1, 1))), tmp_path / "a.nii")
    with pytest.raises(LabelError, match="not integers") as caught:
        io.load(tmp_path / "a.nii", "label")
    assert caught.value.got == "2 voxels, e.g. 0.5"
    with pytest.raises(LabelError):
        io.save(Image(data, Grid((4, 1, 1)), "label"), tmp_path / "b.nii")
    assert not (tmp_path / "b.nii").exists()


def test_undeclared_label_values_name_the_file(tmp_path: Path) -> None:
    io.save(Image(torch.tensor([0, 1, 4]).reshape(1, 3, 1, 1), Grid((3, 1, 1)), "label"), tmp_path / "a.nii")
    with pytest.raises(LabelError) as caught:
        io.load(tmp_path / "a.nii", "label", Labels({"tumour": 1}))
    assert (caught.value.got, caught.value.file) == ([4], str(tmp_path / "a.nii"))


@pytest.mark.parametrize(("value", "count"), [("nan", 2), ("inf", 2)])
def test_voxels_that_are_not_finite(value: str, count: int, tmp_path: Path) -> None:
    data = torch.zeros(1, 4, 4, 4)
    data[0, 1, :count, 0] = float(value)
    nib.Nifti1Image(data[0].numpy(), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    with pytest.raises(CaseError, match="not finite") as caught:
        io.load(tmp_path / "a.nii.gz")
    assert caught.value.got == f"{count} of 64 voxels"
    assert caught.value.file == str(tmp_path / "a.nii.gz")


def test_large_values_are_not_taken_for_infinite(tmp_path: Path) -> None:
    data = np.full((4, 4, 4), 3e38, np.float32)  # their float32 sum is infinite
    nib.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    assert io.load(tmp_path / "a.nii.gz").data.max().item() == np.float32(3e38)


def test_probabilities_keep_uncovered_voxels_and_refuse_logits(tmp_path: Path) -> None:
    data = torch.tensor([0.0, 1.0, float("nan")]).reshape(1, 3, 1, 1)
    io.save(Image(data, Grid((3, 1, 1)), "probability"), tmp_path / "a.nii")
    assert io.load(tmp_path / "a.nii", "probability").data.isnan().sum() == 1
    io.save(Image(data * 3, Grid((3, 1, 1))), tmp_path / "b.nii")
    with pytest.raises(LabelError, match=r"leaves \[0, 1\]"):
        io.load(tmp_path / "b.nii", "probability")


def test_loaded_voxels_are_contiguous_and_writable(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "a.nii")
    image = io.load(tmp_path / "a.nii")
    assert image.data.is_contiguous()
    assert np.array_equal(image.data[0].numpy(), array)
    image.data.add_(1)
    assert np.array_equal(io.load(tmp_path / "a.nii").data[0].numpy(), array)


def test_the_same_image_makes_the_same_bytes(tmp_path: Path) -> None:
    image = Image(torch.rand(1, 5, 5, 5), Grid((5, 5, 5)))
    for name in ("a.nii.gz", "b.nii.gz"):
        io.save(image, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_headers_are_read_without_torch(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    code = (
        "import sys; from truevox.io import read, read_header; from truevox.cohort import Cohort, check;"
        "import truevox.metrics, truevox.measures, truevox.evaluation;"
        f"path = {str(tmp_path / 'a.nii.gz')!r}; read_header(path); read(path); print('torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert out.stdout.strip() == "False"


@pytest.mark.data
def test_real_files_agree_with_nibabel(data_dir: Path) -> None:
    paths = [
        p
        for folder in ("isles22_case0009", "open_ms_mni", "spine_samples", "picai_prostate_masks/wg_Bosma22b")
        for p in sorted((data_dir / folder).rglob("*.nii.gz"))[:4]
    ]
    assert paths
    for path in paths:
        found, header = io.read(path)
        other = nibabel_load(path)
        assert np.array_equal(header.grid.affine, other.affine)
        assert np.allclose(found[0], np.asanyarray(other.dataobj), rtol=1e-6, atol=0)


@given(
    data=st.data(), dtype=st.sampled_from(["uint8", "int8", "int16", "int32", "int64"]), wide=st.booleans()
)
def test_label_counts_are_those_of_numpy(data: st.DataObject, dtype: str, wide: bool) -> None:
    info = np.iinfo(dtype)
    low, high = (max(int(info.min), -(2**40)), min(int(info.max), 2**40)) if wide else (0, 5)
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=30))
    array = np.array(values, dtype)
    found, counts = np.unique(array, return_counts=True)
    assert label_counts(array[None, :, None]) == dict(zip(found.tolist(), counts.tolist(), strict=True))
