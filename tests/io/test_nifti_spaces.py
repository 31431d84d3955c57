"""NIfTI files with two places, odd headers, or scaled labels: what the standard allows is read.

Places are closed forms or nibabel's; labels are what was put in before nibabel scaled them.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import truevox as tv
from truevox import io
from truevox.errors import FileError, GeometryError, LabelError

SHAPE = (10, 12, 8)
SFORM = np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
MOVED = SFORM + np.array([[0, 0, 0, 4.0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
SHEARED = SFORM @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def write(path: Path, sform: Any, qform: Any, codes: tuple[int, int] = (1, 1), **fields: Any) -> Path:
    """A file with these two affines and codes, and other fields of the header as they are given."""
    image = nib.Nifti1Image(np.arange(960, dtype=np.int16).reshape(SHAPE), np.eye(4))
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    header = image.header.copy()
    for name, value in fields.items():
        header[name] = value
    image.to_filename(path)
    path.write_bytes(header.binaryblock[:108] + path.read_bytes()[108:112] + header.binaryblock[112:]
                     + path.read_bytes()[348:])  # fmt: skip
    return path


# ---- two places -------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [(2, 1), (4, 1), (1, 2), (3, 4)])
def test_different_codes_are_two_spaces_and_the_sform_is_used(tmp_path: Path, codes) -> None:
    path = write(tmp_path / "a.nii", SFORM, MOVED, codes)
    header = io.read_header(path)
    loaded: Any = nib.load(path)
    np.testing.assert_array_equal(header.grid.affine, loaded.affine)
    np.testing.assert_array_equal(header.grid.affine, SFORM)
    (note,) = header.notes
    assert f"sform (code {codes[0]}, " in note
    assert f"qform (code {codes[1]}, " in note
    assert "differ by up to 4.00 mm; the sform is used" in note
    with pytest.raises(GeometryError, match="contradicts itself"):
        io.read_header(write(tmp_path / "b.nii", SFORM, MOVED, (codes[0], codes[0])))


def test_a_space_of_another_scale_says_so(tmp_path: Path) -> None:
    larger = SFORM @ np.diag([1.1, 1.1, 1.1, 1])
    header = io.read_header(write(tmp_path / "a.nii", larger, SFORM, (4, 1)))
    assert "a voxel has 1.331 times the volume" in header.notes[0]


def test_an_image_of_two_spaces_is_written_back_with_both(tmp_path: Path) -> None:
    scan = tv.load(write(tmp_path / "a.nii", SFORM, MOVED, (2, 1)))
    tv.save(scan, tmp_path / "b.nii.gz")
    again: Any = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(again.get_sform(), SFORM)
    np.testing.assert_allclose(again.get_qform(), MOVED, atol=1e-6)
    assert io.read_header(tmp_path / "b.nii.gz").grid == scan.grid


@pytest.mark.parametrize("code", [1, 2])
def test_a_qform_without_the_shear_of_its_sform(tmp_path: Path, code: int) -> None:
    # nibabel's own set_qform strips the shear.
    header = io.read_header(write(tmp_path / "a.nii", SHEARED, SHEARED, (code, code)))
    np.testing.assert_allclose(header.grid.affine, SHEARED, atol=1e-6)
    assert header.notes == ("a qform without the shear of its sform, which is used",)
    moved = SHEARED.copy()
    moved[0, 3] += 3
    with pytest.raises(GeometryError, match="contradicts itself"):
        io.read_header(write(tmp_path / "b.nii", SHEARED, moved, (code, code)))


@pytest.mark.parametrize(
    "pixdim",
    [
        [1, -2, 2, 3, 0, 0, 0, 0],
        [-1, 2, 2, -3, 0, 0, 0, 0],
        [1, 0, 2, 3, 0, 0, 0, 0],
        [1, np.nan, 2, 3, 0, 0, 0, 0],
    ],
)
def test_spacings_that_make_no_qform_beside_a_valid_sform(tmp_path: Path, pixdim) -> None:
    header = io.read_header(write(tmp_path / "a.nii", SFORM, SFORM, pixdim=pixdim))
    np.testing.assert_array_equal(header.grid.affine, SFORM)
    assert header.notes == ("a qform that can't be used, beside its sform",)
    # The qform alone: nobody knows what a negative spacing was to mean.
    with pytest.raises(GeometryError) as caught:
        io.read_header(write(tmp_path / "b.nii", SFORM, SFORM, (0, 1), pixdim=pixdim))
    assert caught.value.file == str(tmp_path / "b.nii")
    # Without a code it is not looked at.
    assert io.read_header(write(tmp_path / "c.nii", SFORM, SFORM, (1, 0), pixdim=pixdim)).notes == ()


def test_an_sform_that_is_none_beside_a_valid_qform(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", SFORM, SFORM, srow_x=0, srow_y=0, srow_z=0)
    header = io.read_header(path)
    np.testing.assert_allclose(header.grid.affine, SFORM, atol=1e-6)
    assert header.notes == ("a sform that can't be used, beside its qform",)
    with pytest.raises(GeometryError, match="singular"):
        io.read_header(write(tmp_path / "b.nii", SFORM, SFORM, (1, 0), srow_x=0, srow_y=0, srow_z=0))


@pytest.mark.parametrize(("factor", "sign"), [(0, 1), (2, 1), (0.5, 1), (-1, -1), (-3, -1)])
def test_odd_handedness_is_read_as_by_the_standards_library(tmp_path: Path, factor: float, sign: int) -> None:
    # nifti1_io: qfac is -1 for negative numbers, else 1.
    right = np.diag([2.0, 2, 3, 1])
    path = write(tmp_path / "a.nii", right, right, (0, 1), pixdim=[factor, 2, 2, 3, 0, 0, 0, 0])
    grid = io.read_header(path).grid
    np.testing.assert_allclose(grid.affine, np.diag([2.0, 2, 3 * sign, 1]), atol=1e-6)
    # And beside its sform it contradicts nothing.
    sform = grid.affine
    write(path, sform, np.abs(sform), (1, 1), pixdim=[factor, 2, 2, 3, 0, 0, 0, 0])
    assert io.read_header(path).notes == ()


def test_an_unknown_unit_is_noted(tmp_path: Path) -> None:
    header = io.read_header(write(tmp_path / "a.nii", SFORM, SFORM, xyzt_units=5))
    assert header.notes == ("an unknown unit of length (5), taken for mm",)


# ---- labels that were scaled ------------------------------------------------------------------------

LABELS = np.zeros((8, 8, 8))
LABELS[1:3], LABELS[3:5], LABELS[5:7] = 1, 12, 103


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("top", [103, 200])
def test_labels_that_nibabel_scaled_are_what_they_were(tmp_path: Path, dtype, top: int) -> None:
    labels = np.where(LABELS == 103, top, LABELS)
    image = nib.Nifti1Image(labels, np.eye(4))
    image.header.set_data_dtype(dtype)
    image.to_filename(tmp_path / "a.nii.gz")
    found = tv.load(tmp_path / "a.nii.gz", "label")
    np.testing.assert_array_equal(found.numpy()[0], labels)
    part = tv.load(tmp_path / "a.nii.gz", "label", region=(slice(1, 3),))
    assert np.unique(part.numpy()).tolist() == [1]
    # As a scan, the values are nibabel's, to the last digit that a float32 has.
    loaded: Any = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(io.read(tmp_path / "a.nii.gz")[0][0], loaded.get_fdata(), rtol=1e-6, atol=1e-5)


@given(
    st.lists(st.integers(0, 2000), min_size=2, max_size=6, unique=True), st.sampled_from(["u1", "i2", "i4"])
)
@settings(max_examples=25, deadline=None)
def test_scaled_labels_are_right_or_refused(tmp_path_factory: pytest.TempPathFactory, values, dtype) -> None:
    """Where steps are larger than 1, labels are lost: never another label instead."""
    path = tmp_path_factory.mktemp("scaled") / "a.nii"
    array = np.resize(np.array(values, float), (4, 4, 4))
    image = nib.Nifti1Image(array, np.eye(4))
    image.header.set_data_dtype(np.dtype(dtype))
    image.to_filename(path)
    try:
        found = tv.load(path, "label").numpy()[0]
    except LabelError:
        assert io.read_header(path).step >= 1
        return
    np.testing.assert_array_equal(found, array)


def test_values_between_labels_stay_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.to_filename(tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([1 / 3, 0], "<f4").tobytes()
    raw[352:356] = np.array([3, 4], "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(LabelError, match="not integers") as caught:
        tv.load(tmp_path / "a.nii", "label")
    assert caught.value.got == "1 voxels, e.g. 1.333333373"


@pytest.mark.parametrize(("off", "accepted"), [(1e-7, True), (-1e-6, True), (5e-6, True), (1e-4, False)])
def test_labels_that_went_through_float_arithmetic(tmp_path: Path, off: float, accepted: bool) -> None:
    values = np.array([0, 1, 4, 30], np.float32).reshape(4, 1, 1)
    array = np.where(values == 1, np.float32(1 + off), values).astype(np.float32)
    nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "a.nii")
    if accepted:
        np.testing.assert_array_equal(tv.load(tmp_path / "a.nii", "label").numpy()[0], values)
        return
    with pytest.raises(LabelError, match=r"1 voxels, e.g. 1.0001"):
        tv.load(tmp_path / "a.nii", "label")


# ---- gzip as others write it ------------------------------------------------------------------------


def test_several_members_and_padding(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.nii", SFORM, SFORM).read_bytes()
    for name, content in (
        ("members", gzip.compress(plain[:500]) + gzip.compress(plain[500:])),
        ("tiny", gzip.compress(plain[:100]) + gzip.compress(plain[100:])),
        ("padding", gzip.compress(plain) + bytes(512)),
    ):
        path = tmp_path / f"{name}.nii.gz"
        path.write_bytes(content)
        np.testing.assert_array_equal(io.read(path)[0][0], np.arange(960).reshape(SHAPE))


@pytest.mark.parametrize("at", [0.02, 0.5, 0.99])
def test_truncated_files_say_so(tmp_path: Path, at: float) -> None:
    packed = gzip.compress(write(tmp_path / "a.nii", SFORM, SFORM).read_bytes())
    (tmp_path / "b.nii.gz").write_bytes(packed[: max(int(at * len(packed)), 12)])
    with pytest.raises(FileError, match="truncated or damaged") as caught:
        io.read(tmp_path / "b.nii.gz")
    assert caught.value.remedy
