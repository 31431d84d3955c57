# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""DICOM SEG: what highdicom writes is read, and what is written highdicom reads."""

from __future__ import annotations

from pathlib import Path

import dicoms
import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch

import truevox as tv
from truevox import io
from truevox.errors import CaseError, FileError, GeometryError, LabelError, SettingsError
from truevox.io import dicom

SHAPE = (5, 4, 6)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """An oblique series of five slices."""
    folder = tmp_path / "ct"
    dicoms.series(folder, np.zeros(SHAPE, np.int16), directions=dicoms.oblique())
    return folder


def blobs(*values: int, seed: int = 0) -> np.ndarray:
    """Voxels (K, rows, columns) of each value, with an empty second and last slice."""
    array = np.random.default_rng(seed).choice([0, *values], SHAPE).astype(np.uint8)
    array[[1, 4]] = 0
    return array


def written_by_highdicom(
    folder: Path, frames: np.ndarray, kind: str, names: dict[int, str], **settings
) -> Path:
    """A segmentation by highdicom itself; frames (K, rows, columns) or (K, rows, columns, S)."""
    source = sorted((pydicom.dcmread(f) for f in folder.glob("*.dcm")), key=place_along)
    code = hd.sr.CodedConcept("85756007", "SCT", "Tissue")
    described = [hd.seg.SegmentDescription(key, name, code, code, "MANUAL") for key, name in names.items()]
    uid = hd.UID
    data = hd.seg.Segmentation(
        source, frames, kind, described, uid(), 1, uid(), 1, "maker", "model", "1", "1", **settings
    )
    file = folder.parent / "seg.dcm"
    data.save_as(file)
    return file


def place_along(data: pydicom.Dataset) -> float:
    x, y = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
    return float(np.array(data.ImagePositionPatient, float) @ np.cross(x, y))


def by_highdicom(file: Path) -> tv.Image:
    """Segment numbers (or fractions) as highdicom reads them, on the grid that it gives."""
    seg = hd.seg.segread(file)
    fractional = seg.segmentation_type == hd.seg.SegmentationTypeValues.FRACTIONAL
    volume = seg.get_volume(combine_segments=not fractional)
    array = volume.array if volume.array.ndim == 4 else volume.array[..., None]
    affine = np.diag([-1.0, -1, 1, 1]) @ volume.affine
    grid = tv.Grid(array.shape[:3], affine)
    kind = "probability" if fractional else "label"
    return tv.Image(torch.from_numpy(np.moveaxis(array, -1, 0).copy()), grid, kind)


# ---- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("whole", [False, True])
def test_segments_are_read_as_highdicom_wrote_them(ct: Path, kind: str, whole: bool) -> None:
    array = blobs(1, 2)
    file = written_by_highdicom(ct, array, kind, {1: "liver", 2: "tumour"}, omit_empty_frames=not whole)
    image = tv.load(file, kind="label")
    assert image.labels == tv.Labels({"liver": 1, "tumour": 2}) == dicom.read_labels(file)
    assert image.grid.shape == (6, 4, 5 if whole else 4)
    np.testing.assert_array_equal(image.numpy()[0], array[: image.grid.shape[2]].transpose(2, 1, 0))
    assert image.grid.same_as(tv.load(ct).grid[:, :, : image.grid.shape[2]])
    oracle = by_highdicom(file)
    np.testing.assert_array_equal(oracle.on(image.grid).numpy(), image.numpy())
    placed = tv.load(f"{file}?like=ct", kind="label")
    assert placed.grid == tv.load(ct).grid
    np.testing.assert_array_equal(placed.numpy()[0], array.transpose(2, 1, 0))


def test_a_region_and_a_choice_of_labels(ct: Path) -> None:
    array = blobs(1, 2)
    file = written_by_highdicom(ct, array, "BINARY", {1: "liver", 2: "tumour"})
    box = (slice(1, 5), slice(2, 4), slice(2, 4))
    part = tv.load(file, kind="label", region=box)
    np.testing.assert_array_equal(part.numpy()[0], array.transpose(2, 1, 0)[box])
    placed = tv.load(f"{file}?like=ct", kind="label", region=box)
    np.testing.assert_array_equal(placed.numpy(), part.numpy())
    for choice in ("tumour", "2"):
        only = tv.load(f"{file}?labels={choice}", kind="label")
        np.testing.assert_array_equal(only.numpy()[0, :, :, 0], np.where(array[0] == 2, 2, 0).T)
        assert only.labels == tv.Labels({"tumour": 2})
    with pytest.raises(LabelError, match=r"called 'spleen'(.|\n)*liver \(1\), tumour \(2\)"):
        tv.load(f"{file}?labels=spleen", kind="label")
    with pytest.raises(SettingsError, match="'segment' chooses nothing"):
        tv.load(f"{file}?segment=1", kind="label")


def test_overlap_is_refused_or_channels(ct: Path) -> None:
    masks = np.stack([blobs(1), blobs(1, seed=1), blobs(1, seed=2)], axis=-1)
    file = written_by_highdicom(ct, masks, "BINARY", {1: "a", 2: "b", 3: "a"})
    shared = int((masks[..., 0] & masks[..., 1]).sum())
    with pytest.raises(LabelError, match=rf"a \(1\) and b share {shared} voxels") as caught:
        tv.load(file, kind="label")
    assert "seg.dcm?overlap=channels" in str(caught.value)
    image = tv.load(f"{file}?overlap=channels", kind="label")
    np.testing.assert_array_equal(image.numpy(), masks[:4].transpose(3, 2, 1, 0))
    # Names are made unique, so that each can be chosen.
    assert dicom.read_labels(file).names == {"a (1)": 1, "b": 2, "a (3)": 3}
    two = tv.load(f"{file}?overlap=channels&labels=b,3", kind="label")
    np.testing.assert_array_equal(two.numpy(), masks[:4, ..., 1:].transpose(3, 2, 1, 0))


def test_fractions_are_probabilities(ct: Path) -> None:
    fractions = np.random.default_rng(0).integers(0, 101, (*SHAPE, 2)) / 100
    file = written_by_highdicom(ct, fractions, "FRACTIONAL", {1: "a", 2: "b"}, max_fractional_value=100)
    image = tv.load(file, kind="probability")
    np.testing.assert_allclose(image.numpy(), fractions.transpose(3, 2, 1, 0), atol=1e-6)
    np.testing.assert_allclose(by_highdicom(file).on(image.grid).numpy(), image.numpy(), atol=1e-6)
    with pytest.raises(LabelError, match="declare the column as such"):
        tv.load(file, kind="label")


def test_padding_of_a_label_map_is_ignored(ct: Path) -> None:
    array = blobs(1)
    file = written_by_highdicom(ct, array, "LABELMAP", {1: "liver"})
    data = pydicom.dcmread(file)
    data.PixelPaddingValue = 9
    data.save_as(file)
    image = tv.load(f"{file}?like=ct", kind="label")
    wanted = array.copy()
    wanted[[1, 4]] = 9
    np.testing.assert_array_equal(image.numpy()[0], wanted.transpose(2, 1, 0))
    assert image.labels == tv.Labels({"liver": 1}, ignore=9)


def test_frames_off_every_even_slice_need_like(ct: Path) -> None:
    file = written_by_highdicom(ct, blobs(1), "BINARY", {1: "liver"})
    data = pydicom.dcmread(file)
    x, y = np.array(dicoms.oblique()).reshape(2, 3)
    normal = np.cross(x, y)
    for group, height in zip(data.PerFrameFunctionalGroupsSequence, (0, 2.5, 8.7), strict=True):
        place = np.array((-20.0, 30.0, -50.0)) + height * normal
        group.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.10g}" for v in place]
    data.save_as(file)
    with pytest.raises(GeometryError, match="evenly spaced"):
        io.read_header(file)
    with pytest.raises(GeometryError, match="evenly spaced"):
        io.read_header(f"{file}?like=ct")


def test_a_segmentation_of_another_image_is_refused(ct: Path, tmp_path: Path) -> None:
    file = written_by_highdicom(ct, blobs(1), "BINARY", {1: "liver"})
    dicoms.series(tmp_path / "other", np.zeros(SHAPE, np.int16), origin=(-20.2, 30, -50))
    with pytest.raises(GeometryError, match=r"not on|not voxels|evenly spaced"):
        io.read_header(f"{file}?like=other")


@pytest.mark.parametrize("length", [600, 2000, 3000, 5000])
def test_a_truncated_segmentation_is_named(ct: Path, length: int) -> None:
    file = written_by_highdicom(ct, blobs(1), "BINARY", {1: "liver"})
    content = file.read_bytes()
    file.write_bytes(content[: min(length, len(content) - 8)])
    with pytest.raises(FileError, match=r"seg\.dcm"):
        tv.load(file, kind="label")


# ---- writing --------------------------------------------------------------------------------------


def orders(grid: tv.Grid) -> list[tv.Grid]:
    """Storage orders of the same voxels."""
    return [grid, grid.flip(2), grid.permute((2, 0, 1)), grid.permute((1, 2, 0)).flip([0, 2])]


@pytest.mark.parametrize("order", range(4))
def test_labels_come_back_voxel_for_voxel(ct: Path, tmp_path: Path, order: int) -> None:
    source = tv.load(ct)
    array = blobs(1, 2).transpose(2, 1, 0)[None]
    labels = tv.Labels({"liver": 1, "tumour": 2})
    image = tv.Image(torch.from_numpy(array.copy()), source.grid, "label", labels=labels)
    image = image.on(orders(source.grid)[order])
    file = tmp_path / "out" / "mask.dcm"
    assert dicom.save_seg(image, file, ct) == labels
    back = tv.load(f"{file}?like=../ct", kind="label")
    assert back.grid == source.grid
    np.testing.assert_array_equal(back.numpy(), array)
    assert back.labels == labels
    np.testing.assert_array_equal(by_highdicom(file).on(back.grid).numpy(), array)


def test_frames_refer_to_their_slices(ct: Path, tmp_path: Path) -> None:
    grid = tv.load(ct).grid
    image = tv.Image(torch.from_numpy(blobs(1).transpose(2, 1, 0)[None].copy()), grid, "label")
    dicom.save_seg(image, tmp_path / "mask.dcm", sorted(ct.glob("*.dcm")))
    data = pydicom.dcmread(tmp_path / "mask.dcm")
    slices = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, ct.glob("*.dcm"))}
    referred = data.ReferencedSeriesSequence[0]
    first = next(iter(slices.values()))
    assert referred.SeriesInstanceUID == first.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in referred.ReferencedInstanceSequence} == set(slices)
    assert data.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert len(data.PerFrameFunctionalGroupsSequence) == 3
    for group in data.PerFrameFunctionalGroupsSequence:
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(place, np.array(slices[uid].ImagePositionPatient, float), atol=1e-6)


def test_probabilities_come_back_within_half_a_step(ct: Path, tmp_path: Path) -> None:
    source = tv.load(ct)
    p = torch.rand(3, *source.grid.shape, generator=torch.Generator().manual_seed(0))
    p /= p.sum(0)
    labels = tv.Labels({"liver": 1, "tumour": 2})
    # The background of a softmax is no segment.
    table = dicom.save_seg(tv.Image(p, source.grid, "probability", labels=labels), tmp_path / "p.dcm", ct)
    assert table == labels
    back = tv.load(tmp_path / "p.dcm", kind="probability")
    assert back.grid.same_as(source.grid)
    np.testing.assert_allclose(back.numpy(), p[1:].numpy(), atol=0.5 / 255 + 1e-6)


def test_values_are_numbered_from_one_and_regions_overlap(ct: Path, tmp_path: Path) -> None:
    source = tv.load(ct)
    array = blobs(3, 7).transpose(2, 1, 0)[None]
    image = tv.Image(torch.from_numpy(array.copy()), source.grid, "label")
    table = dicom.save_seg(image, tmp_path / "a.dcm", ct, labels=tv.Labels({"b": 7, "a": 3}))
    assert table.names == {"b": 1, "a": 2}
    back = tv.load(f"{tmp_path}/a.dcm?like=ct", kind="label").numpy()
    np.testing.assert_array_equal(back, np.select([array == 7, array == 3], [1, 2]))
    regions = tv.Labels({"whole": (3, 7), "core": 7})
    dicom.save_seg(image, tmp_path / "b.dcm", ct, labels=regions)
    back = tv.load(f"{tmp_path}/b.dcm?like=ct&overlap=channels", kind="label").numpy()
    np.testing.assert_array_equal(back, np.concatenate([array > 0, array == 7]))


def test_codes_and_algorithm_are_written(ct: Path, tmp_path: Path) -> None:
    source = tv.load(ct)
    mask = torch.ones(1, *source.grid.shape, dtype=torch.uint8)
    image = tv.Image(mask, source.grid, "label", labels=tv.Labels({"liver": 1}))
    organ, liver = ("123037004", "SCT", "Anatomical Structure"), ("10200004", "SCT", "Liver")
    dicom.save_seg(image, tmp_path / "a.dcm", ct, codes={"liver": (organ, liver)}, algorithm="net 3")
    segment = pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "net 3")
    dicom.save_seg(image, tmp_path / "b.dcm", ct, algorithm_type="MANUAL")
    segment = pydicom.dcmread(tmp_path / "b.dcm").SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert "SegmentAlgorithmName" not in segment


def test_an_empty_mask_is_written(ct: Path, tmp_path: Path) -> None:
    source = tv.load(ct)
    image = tv.Image(torch.zeros(1, *source.grid.shape, dtype=torch.uint8), source.grid, "label")
    dicom.save_seg(image, tmp_path / "a.dcm", ct)
    back = tv.load(tmp_path / "a.dcm", kind="label")
    assert back.grid.same_as(source.grid)
    assert not back.numpy().any()


def test_multiframe_and_tilted_sources(tmp_path: Path) -> None:
    order = [3, 0, 4, 1, 2]
    data = dicoms.multiframe(np.zeros(SHAPE, np.int16), [[0, 0, 2.5 * k] for k in order])
    dicoms.save(tmp_path, "mf.dcm", data)
    dicoms.series(tmp_path / "tilt", np.zeros(SHAPE, np.int16), step=(0, -0.6, 2.5))
    array = blobs(1).transpose(2, 1, 0)[None]
    for source in ("mf.dcm", "tilt"):
        grid = io.read_header(tmp_path / source).grid
        image = tv.Image(torch.from_numpy(array.copy()), grid, "label")
        dicom.save_seg(image, tmp_path / "a.dcm", tmp_path / source)
        back = tv.load(f"{tmp_path}/a.dcm?like={source}", kind="label")
        np.testing.assert_array_equal(back.numpy(), array)
        assert tv.load(tmp_path / "a.dcm", kind="label").grid.same_as(grid[:, :, :4])


def test_masks_of_several_channels_overlap(ct: Path, tmp_path: Path) -> None:
    grid = tv.load(ct).grid
    masks = np.stack([blobs(1), blobs(1, seed=1)]).transpose(0, 3, 2, 1)
    image = tv.Image(torch.from_numpy(masks.copy()), grid, "label")
    assert dicom.save_seg(image, tmp_path / "a.dcm", ct).names == {"segment 1": 1, "segment 2": 2}
    back = tv.load(f"{tmp_path}/a.dcm?overlap=channels&like=ct", kind="label")
    np.testing.assert_array_equal(back.numpy(), masks)
    with pytest.raises(LabelError, match="masks of 0 and 1"):
        dicom.save_seg(image.replace(data=image.data * 2), tmp_path / "b.dcm", ct)


def test_a_source_that_lacks_what_the_standard_wants(tmp_path: Path) -> None:
    lacking = {"PatientID": None, "StudyID": None, "AccessionNumber": None, "FrameOfReferenceUID": None}
    dicoms.series(tmp_path / "ct", np.zeros(SHAPE, np.int16), **lacking)
    grid = tv.load(tmp_path / "ct").grid
    image = tv.Image(torch.from_numpy(blobs(1).transpose(2, 1, 0)[None].copy()), grid, "label")
    dicom.save_seg(image, tmp_path / "a.dcm", tmp_path / "ct")
    back = tv.load(f"{tmp_path}/a.dcm?like=ct", kind="label")
    np.testing.assert_array_equal(back.numpy(), image.numpy())


def test_sources_without_one_place_are_refused(tmp_path: Path) -> None:
    ray = dicoms.save(tmp_path, "ray.dcm", dicoms.dataset(np.zeros((4, 6), np.int16), Modality="CR"))
    image = tv.Image(torch.ones(1, 6, 4, 1), tv.load(ray).grid, "label")
    with pytest.raises(GeometryError, match="no position"):
        dicom.save_seg(image, tmp_path / "a.dcm", ray)
    for k in range(2):
        frames = dicoms.multiframe(np.zeros((2, 4, 6), np.int16), [[0, 0, 4.0 * k], [0, 0, 4.0 * k + 2]])
        dicoms.save(tmp_path / "two", f"{k}.dcm", frames)
    grid = tv.load(tmp_path / "two").grid
    assert grid.shape == (6, 4, 4)
    with pytest.raises(CaseError, match="several multi-frame objects"):
        dicom.save_seg(tv.Image(torch.ones(1, 6, 4, 4), grid, "label"), tmp_path / "a.dcm", tmp_path / "two")


def test_saving_a_prediction_by_its_header(ct: Path, tmp_path: Path) -> None:
    source = tv.load(ct)
    mask = tv.Image(source.data * 0 + 1, source.grid, "label", header=source.header)
    tv.save(mask, tmp_path / "mask.dcm")
    assert tv.load(tmp_path / "mask.dcm", kind="label").numpy().all()
    with pytest.raises(FileError, match="save_seg"):
        tv.save(mask.replace(header=None), tmp_path / "other.dcm")
    assert not (tmp_path / "other.dcm").exists()


def test_what_can_not_be_written_is_refused(ct: Path, tmp_path: Path) -> None:
    grid = tv.load(ct).grid
    ones = torch.ones(1, *grid.shape, dtype=torch.uint8)

    def refused(error, match: str, image: tv.Image, source=ct, **settings) -> None:
        with pytest.raises(error, match=match):
            dicom.save_seg(image, tmp_path / "no.dcm", source, **settings)
        assert not (tmp_path / "no.dcm").exists()

    refused(LabelError, "labels or probabilities", tv.Image(ones, grid))
    shifted = np.array(grid.affine)
    shifted[0, 3] += 0.2
    refused(GeometryError, "not on the grid", tv.Image(ones, tv.Grid(grid.shape, shifted), "label"))
    refused(GeometryError, "not on the grid", tv.Image(ones[:, 1:], grid[1:], "label"))
    refused(LabelError, "between 0 and 1", tv.Image(ones * 1.5, grid, "probability"))
    refused(LabelError, "between 0 and 1", tv.Image(ones * float("nan"), grid, "probability"))
    refused(LabelError, "does not declare", tv.Image(ones, grid, "label"), labels=tv.Labels({"a": 2}))
    ignoring = tv.Labels({"a": 2}, ignore=1)
    refused(LabelError, "which voxels to ignore", tv.Image(ones, grid, "label"), labels=ignoring)
    dicoms.series(ct, np.zeros(SHAPE, np.int16), name="2")
    refused(CaseError, "2 series lie here", tv.Image(ones, grid, "label"))


def test_a_source_that_no_segmentation_can_refer_to_is_told(
    ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by highdicom, of frames of nuclear medicine without a frame of reference."""

    def refuse(**settings: object) -> None:
        raise ValueError("the source image has no Frame of Reference UID")

    monkeypatch.setattr(hd.seg, "Segmentation", refuse)
    grid = io.read_header(ct).grid
    mask = tv.Image(torch.ones(1, *grid.shape, dtype=torch.uint8), grid, "label", labels=tv.Labels({"a": 1}))
    with pytest.raises(FileError, match="can't refer to this source: the source image has no") as error:
        dicom.save_seg(mask, tmp_path / "a.dcm", source=ct)
    assert "name a series" in (error.value.remedy or "")
    assert not (tmp_path / "a.dcm").exists()
