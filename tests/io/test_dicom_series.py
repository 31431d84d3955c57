# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""DICOM series against closed-form affines, and against SimpleITK (GDCM)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import dicoms
import numpy as np
import pytest
from helpers import world
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian
from strategies import grids

import truevox as tv
from truevox import io
from truevox.errors import CaseError, FileError, GeometryError, SettingsError
from truevox.io import dicom
from truevox.io.dicom.pixels import frames

VOLUME = np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6) - 50


def corners_like_itk(image: tv.Image, itk) -> None:
    """The same voxels at the same places as SimpleITK's image."""
    import SimpleITK

    array = SimpleITK.GetArrayFromImage(itk)
    np.testing.assert_array_equal(image.numpy()[0], array.transpose(2, 1, 0))
    for index in np.ndindex(2, 2, 2):
        at = [int(n - 1) * bool(e) for n, e in zip(image.grid.shape, index, strict=True)]
        point = np.array(itk.TransformIndexToPhysicalPoint(at)) * (-1, -1, 1)
        np.testing.assert_allclose(image.grid.to_world(at), point, atol=1e-3)


def by_itk(folder: Path):
    import SimpleITK

    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return SimpleITK.ReadImage(names) if len(names) > 1 else SimpleITK.ReadImage(names[0])


@pytest.mark.parametrize("directions", [dicoms.AXIAL, (0, 1, 0, 0, 0, -1), dicoms.oblique()])
@pytest.mark.parametrize("step", [2.5, 0.8])
def test_series_has_its_affine_whatever_the_names(tmp_path: Path, directions, step: float) -> None:
    affine = dicoms.series(tmp_path, VOLUME, directions=directions, step=step)
    image = tv.load(tmp_path)
    np.testing.assert_allclose(image.grid.affine, affine, atol=1e-8)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME.transpose(2, 1, 0))
    assert image.data.dtype.is_signed
    corners_like_itk(image, by_itk(tmp_path))


def test_slices_against_the_normal_are_turned(tmp_path: Path) -> None:
    affine = dicoms.series(tmp_path, VOLUME, step=-2.5)
    image = tv.load(tmp_path)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME[::-1].transpose(2, 1, 0))
    turned = tv.Grid((6, 4, 5), affine).flip(2)
    assert image.grid.same_as(turned, 1e-6)
    corners_like_itk(image, by_itk(tmp_path))


@settings(max_examples=25)
@given(grids(3, 2, 6), st.floats(-0.4, 0.4))
def test_any_grid_is_read_back(grid: tv.Grid, tilt: float) -> None:
    """Oblique, anisotropic, mirrored, tilted: the same voxels at the same places."""
    i, j, k = (grid.affine[:3, :3] * np.array([[-1], [-1], [1]])).T
    k = k + tilt * np.linalg.norm(k) * j / np.linalg.norm(j)
    spacing = np.linalg.norm(j), np.linalg.norm(i)
    directions = np.concatenate([i / spacing[1], j / spacing[0]])
    volume = np.random.default_rng(0).integers(0, 1000, grid.shape[::-1]).astype(np.int16)
    with TemporaryDirectory() as name:
        origin = grid.affine[:3, 3] * (-1, -1, 1)
        affine = dicoms.series(
            Path(name), volume, origin=origin, directions=directions, spacing=spacing, step=k
        )
        image = tv.load(name)
    same = image.on(tv.Grid(grid.shape, affine))
    np.testing.assert_array_equal(same.numpy()[0], volume.transpose(2, 1, 0))
    np.testing.assert_allclose(np.sort(image.grid.corners, 0), np.sort(same.grid.corners, 0), atol=1e-5)


def test_gantry_tilt_is_a_sheared_grid(tmp_path: Path) -> None:
    step = (0.0, -0.6, 2.5)
    affine = dicoms.series(tmp_path, VOLUME, step=step)
    image = tv.load(tmp_path)
    np.testing.assert_allclose(image.grid.affine, affine, atol=1e-8)
    assert any("gantry tilt of 13.50 degrees" in note for note in image.header.notes)
    np.testing.assert_allclose(image.grid.voxel_volume, 0.5 * 0.75 * 2.5)


def test_region_reads_only_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicoms.series(tmp_path, VOLUME)
    whole = tv.load(tmp_path)
    opened = []

    def watched(path: Path, *rest):
        opened.append(path.name)
        return frames(path, *rest)

    monkeypatch.setattr("truevox.io.dicom.series.frames", watched)
    part = tv.load(tmp_path, region=(slice(1, 4), slice(0, 2), slice(2, 4)))
    assert sorted(opened) == ["002-1.dcm", "003-1.dcm"]
    np.testing.assert_array_equal(part.numpy(), whole.numpy()[:, 1:4, 0:2, 2:4])
    np.testing.assert_allclose(world(part.grid), world(whole.grid)[:, 1:4, 0:2, 2:4])


def test_header_of_many_slices_decodes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicoms.series(tmp_path, np.zeros((60, 2, 2), np.int16), step=0.5)
    monkeypatch.setattr("truevox.io.dicom.series.frames", None)
    header = io.read_header(tmp_path)
    assert (header.grid.shape, header.channels, header.dtype) == ((2, 2, 60), 1, "int16")


# ---- what is refused, and how it says so ---------------------------------------------------------


def refusal(error: type[Exception], path, **settings) -> str:
    with pytest.raises(error) as caught:
        tv.load(path, **settings)
    return str(caught.value)


def test_missing_slices_are_named(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME, at=(0, 1, 2, 5, 6))
    said = refusal(GeometryError, tmp_path)
    assert "2 at 1 places" in said
    assert "2 between 003-1.dcm and 002-1.dcm (7.5 mm)" in said
    assert "a slice every 2.5 mm" in said


@pytest.mark.parametrize(
    ("at", "text"),
    [((0, 1, 2, 3.1, 4.1), "2.5 mm (3 x), 2.75 mm (1 x)"), ((0, 1, 2.3, 4, 6.2), "varies")],
)
def test_varying_spacing_lists_the_gaps(tmp_path: Path, at, text: str) -> None:
    dicoms.series(tmp_path, VOLUME, at=at)
    said = refusal(GeometryError, tmp_path)
    assert "distance between slices varies" in said
    assert text in said


def test_rounded_positions_are_even_with_a_note(tmp_path: Path) -> None:
    places = np.round(np.arange(5) * 1.25, 1)
    dicoms.series(tmp_path, VOLUME, step=1.0, at=places, origin=(0, 0, 0))
    header = io.read_header(tmp_path)
    np.testing.assert_allclose(header.grid.spacing[2], 5.0 / 4)
    assert any("off an even spacing" in note for note in header.notes)


def test_drift_across_the_normal_is_refused(tmp_path: Path) -> None:
    def shift(k: int, data) -> None:
        data.ImagePositionPatient = [data.ImagePositionPatient[0] + (k == 2), *data.ImagePositionPatient[1:]]

    dicoms.series(tmp_path, VOLUME, change=shift)
    assert "one behind the other" in refusal(GeometryError, tmp_path)


def test_a_copy_of_a_slice_is_refused(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "003-1.dcm").read_bytes())
    assert "003-1.dcm and copy.dcm" in refusal(CaseError, tmp_path)


def test_two_slices_at_one_place_are_refused(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME, at=(0, 1, 1, 2, 3))
    said = refusal(GeometryError, tmp_path)
    assert "1 of 4 positions do not hold 1 slice" in said
    assert "2 at" in said


def test_doubled_series_without_a_difference_is_refused(tmp_path: Path) -> None:
    dicoms.series(tmp_path / "a", VOLUME)
    dicoms.series(tmp_path / "b", VOLUME)
    assert "nothing tells them apart" in refusal(CaseError, tmp_path)


def test_mixed_series_are_listed_and_chosen(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME, name="1")
    dicoms.series(tmp_path, VOLUME[:3] + 100, name="2", Modality="MR")
    dicoms.series(tmp_path, VOLUME[:1], name="3", SeriesDescription="scout", directions=(0, 1, 0, 0, 0, -1))
    (tmp_path / "notes.txt").write_text("read me")
    said = refusal(CaseError, tmp_path)
    assert "3 series lie here" in said
    assert "MR 2 'series 2'  6x4x3  0.75x0.50x2.50 mm  LPS" in said
    found = dicom.list_series(tmp_path)
    assert [(s.number, s.frames, s.modality) for s in found] == [(1, 5, "CT"), (2, 3, "MR"), (3, 1, "CT")]
    assert len(found[1].files) == 3
    for choice in ("2", "series 2", found[1].uid):
        image = tv.load(f"{tmp_path}?series={choice}")
        np.testing.assert_array_equal(image.numpy()[0], (VOLUME[:3] + 100).transpose(2, 1, 0))
        assert any("1 files that are no DICOM" in note for note in image.header.notes)
    assert "called '7'" in refusal(CaseError, f"{tmp_path}?series=7")
    assert "'slice' chooses nothing" in refusal(SettingsError, f"{tmp_path}?series=2&slice=1")
    np.testing.assert_array_equal(
        dicom.load_series(found[0].files[::-1]).numpy()[0], VOLUME.transpose(2, 1, 0)
    )


def test_localiser_inside_a_series_is_refused(tmp_path: Path) -> None:
    dicoms.series(tmp_path / "a", VOLUME)
    dicoms.series(tmp_path / "b", VOLUME[:2], directions=(0, 1, 0, 0, 0, -1))
    said = refusal(GeometryError, tmp_path)
    assert "5 x 6x4, 0.75x0.5 mm, 1 0 0 0 1 0" in said
    assert "2 x 6x4, 0.75x0.5 mm, 0 1 0 0 0 -1" in said


def test_slices_of_another_shape_are_refused(tmp_path: Path) -> None:
    dicoms.series(tmp_path / "a", VOLUME[:3])
    dicoms.series(tmp_path / "b", VOLUME[3:, :3], origin=(-20, 30, -42.5))
    assert "2 x 6x3" in refusal(GeometryError, tmp_path)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("tags", "error", "text"),
    [
        ({"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]}, GeometryError, "two orthogonal directions"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.87, 0]}, GeometryError, "two orthogonal directions"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, GeometryError, "two orthogonal directions"),
        ({"ImagePositionPatient": ["nan", 0, 0]}, GeometryError, "ImagePositionPatient is not finite"),
        ({"ImagePositionPatient": [0, 0]}, FileError, "has 2 values, not 3"),
        ({"PixelSpacing": [0, 1]}, GeometryError, "not positive"),
        ({"Rows": 60000, "Columns": 60000}, FileError, "too small for the voxels"),
        ({"NumberOfFrames": 2_000_000_000}, FileError, "too small for the voxels"),
        ({"Rows": 0}, FileError, "Rows makes no image"),
        ({"BitsStored": 17}, FileError, "describes voxels that can't be"),
        ({"BitsStored": 8, "HighBit": 11}, FileError, "describes voxels that can't be"),
        ({"SamplesPerPixel": 7}, FileError, "describes voxels that can't be"),
    ],
)
def test_absurd_headers_are_refused(tmp_path: Path, tags, error, text: str) -> None:
    place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": list(dicoms.AXIAL)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pydicom.config.settings._writing_validation_mode", 0)
        file = dicoms.save(
            tmp_path, "a.dcm", dicoms.dataset(VOLUME[0], **place | {"PixelSpacing": [1, 1]} | tags)
        )
    assert text in refusal(error, file)
    with pytest.raises(error, match=r"a\.dcm"):
        io.read_header(tmp_path)


@pytest.mark.parametrize("length", [0, 100, 131, 132, 140, 200, 400, 700, 850, -60, -40, -10])
def test_a_truncated_slice_is_named(tmp_path: Path, length: int) -> None:
    dicoms.series(tmp_path, VOLUME)
    file = tmp_path / "003-1.dcm"
    content = file.read_bytes()
    file.write_bytes(content[:length])
    # The last 48 bytes are voxels; below 132 bytes it is a DICOM file by its name alone.
    assert "003-1.dcm" in refusal(FileError, tmp_path)
    assert "003-1.dcm" in refusal(FileError, file)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "The file is empty"), (b"<!DOCTYPE html><p>404", "a web page"), (b"hello", "The file is text")],
)
def test_a_slice_that_is_something_else_is_not_left_out(tmp_path: Path, content: bytes, text: str) -> None:
    """The last slice: nothing else would tell that it is missing."""
    dicoms.series(tmp_path, VOLUME)
    (tmp_path / "001-1.dcm").write_bytes(content)
    said = refusal(FileError, tmp_path)
    assert text in said
    assert "001-1.dcm" in said


def test_an_empty_file_among_files_without_suffix_is_not_left_out(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME)
    for file in sorted(tmp_path.iterdir()):
        file.rename(file.with_suffix(""))
    (tmp_path / "README").write_text("left out")
    assert tv.load(tmp_path).grid.shape == (6, 4, 5)
    (tmp_path / "001-1").write_bytes(b"")
    assert "The file is empty" in refusal(FileError, tmp_path)


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_a_preamble_are_slices_too(tmp_path: Path, meta: bool, implicit: bool) -> None:
    import pydicom

    affine = dicoms.series(tmp_path, VOLUME, RescaleSlope=1, RescaleIntercept=-7)
    for file in sorted(tmp_path.iterdir())[:3]:
        data = pydicom.dcmread(file)
        data.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
        data.preamble = None
        if not meta:
            del data.file_meta
        data.save_as(file, enforce_file_format=False, implicit_vr=implicit, little_endian=True)
        assert file.read_bytes()[128:132] != b"DICM"
    image = tv.load(tmp_path)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME.transpose(2, 1, 0) - 7)
    np.testing.assert_allclose(image.grid.affine, affine, atol=1e-8)


def test_what_is_no_dicom_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("not an image")
    assert "The file is text" in refusal(FileError, tmp_path / "a.dcm")
    (tmp_path / "d.dcm").write_bytes(bytes(200))
    assert "DICM is missing" in refusal(FileError, tmp_path / "d.dcm")
    (tmp_path / "d.dcm").unlink()
    assert "holds no DICOM file" in refusal(FileError, tmp_path)
    assert "does not exist" in refusal(FileError, tmp_path / "b.dcm")
    assert "does not exist" in refusal(FileError, tmp_path / "b?series=2")
    junk = bytes(128) + b"DICM" + np.random.default_rng(0).bytes(3000)
    (tmp_path / "c.dcm").write_bytes(junk)
    assert "a.dcm" in refusal(FileError, tmp_path)
    (tmp_path / "a.dcm").unlink()
    assert "c.dcm" in refusal(FileError, tmp_path)


def test_other_objects_and_a_dicomdir_are_left_out(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME)
    report = dicoms.dataset(VOLUME[0], series="8", Modality="SR", Rows=None, Columns=None, PixelData=None)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    dicoms.save(tmp_path, "report.dcm", report)
    index = dicoms.dataset(VOLUME[0], series="9")
    index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    for name in ("SOPClassUID", "SeriesInstanceUID", "Rows", "Columns", "PixelData"):
        delattr(index, name)
    dicoms.save(tmp_path, "DICOMDIR", index)
    image = tv.load(tmp_path)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME.transpose(2, 1, 0))
    assert "objects that are no images were left out: SR" in image.header.notes
    assert "This is a DICOMDIR" in refusal(FileError, tmp_path / "DICOMDIR")
    assert "object of another kind (SR)" in refusal(CaseError, tmp_path / "report.dcm")
    with pytest.raises(CaseError, match="holds no labels"):
        dicom.read_labels(tmp_path / "005-1.dcm")


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("seed", range(60))
def test_random_damage_is_an_error_or_an_image(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = [[0, 0, 2.0 * k] for k in range(5)]
    dicoms.save(tmp_path, "a.dcm", dicoms.multiframe(VOLUME, positions))
    content = bytearray((tmp_path / "a.dcm").read_bytes())
    for place in rng.integers(132, len(content) - 300, rng.integers(1, 6)):
        content[place : place + rng.integers(1, 5)] = rng.bytes(rng.integers(0, 5))
    (tmp_path / "a.dcm").write_bytes(content)
    try:
        found = tv.load(tmp_path / "a.dcm").data.numel()
    except tv.TrueVoxError as error:
        found = str(error).count("a.dcm")
    # Never another exception, never more voxels than the file has bytes for; an error names the file.
    assert 0 < found <= 4 * VOLUME.size
