# pyright: reportArgumentType=false
"""Real DICOM files: the same voxels at the same places as SimpleITK, dcmqi and highdicom give."""

from __future__ import annotations

import zipfile
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
import torch
from matplotlib.path import Path as Outline
from PIL import Image as Picture

import truevox as tv
from truevox import io
from truevox.errors import GeometryError, LabelError
from truevox.io import dicom

pytestmark = pytest.mark.data
LPS = np.array([-1.0, -1, 1])


@pytest.fixture(scope="module")
def samples(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All archives, unpacked side by side."""
    folder = tmp_path_factory.mktemp("dicom")
    for name in ("chaos_liver_ct", "dicom_brain_mr_study", "dicom_seg_rtstruct"):
        archives = sorted((data_dir / name).glob("*.zip"))
        if not archives:
            pytest.skip(f"no archives in {name}")
        for archive in archives:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder / archive.stem)
    return folder


def same_as_itk(image: tv.Image, itk: SimpleITK.Image, tolerance: float = 1e-4) -> None:
    np.testing.assert_array_equal(image.numpy()[0], SimpleITK.GetArrayFromImage(itk).transpose(2, 1, 0))
    for index in np.ndindex(2, 2, 2):
        at = [int(n - 1) * bool(e) for n, e in zip(image.grid.shape, index, strict=True)]
        point = np.array(itk.TransformIndexToPhysicalPoint(at)) * LPS
        np.testing.assert_allclose(image.grid.to_world(at), point, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "dicom_16slices/DICOM",
        "hippocampus_crop_series_study1-3/Study1/13_HCropVolume",
        "hippocampus_crop_series_study1-3/Study2/14_HCropVolume",
        "hippocampus_crop_series_study1-3/Study3/11_HCropVolume",
        "study3_T1post_FLAIR/Study3/11-T1post-18670",
        "study3_T1post_FLAIR/Study3/36468-FLAIRreg-58706",
        "dcmqi/ct-3slice",
        "dcmqi/23x38x3/image",
        "dcmqi/24x38x3/image",
        "rt-utils/ct_1.dcm",
        "highdicom/ct_image.dcm",
        "dcmqi/23x38x3/multiframe/mf.dcm",
        "dcmqi/24x38x3/multiframe/mf.dcm",
    ],
)
def test_series_as_simpleitk_reads_them(samples: Path, name: str) -> None:
    folder = samples / name
    files = (
        SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)) if folder.is_dir() else str(folder)
    )
    # The two corners of a single slice's thickness are a convention; all series here agree on it.
    same_as_itk(tv.load(folder), SimpleITK.ReadImage(files))


def test_a_study_is_chosen_from(samples: Path) -> None:
    found = dicom.list_series(samples / "study3_T1post_FLAIR")
    assert [(s.number, s.description, s.frames) for s in found] == [
        (11, "T1post", 22),
        (36468, "FLAIR_reg", 22),
    ]
    image = tv.load(f"{samples}/study3_T1post_FLAIR?series=T1post")
    direct = tv.load(samples / "study3_T1post_FLAIR/Study3/11-T1post-18670")
    assert image.grid == direct.grid
    assert torch.equal(image.data, direct.data)


def test_liver_truth_lies_on_the_liver(samples: Path) -> None:
    """The PNG of a slice has its InstanceNumber less one: the reverse of the order along the normal."""
    import pydicom

    image = tv.load(samples / "dicom_16slices/DICOM")
    heights = image.grid.to_world([[0, 0, k] for k in range(image.grid.shape[2])])[:, 2]
    truth = np.zeros(image.shape[1:], bool)
    for file in (samples / "dicom_16slices/DICOM").iterdir():
        data = pydicom.dcmread(file, stop_before_pixels=True)
        k = int(np.abs(heights - float(data.ImagePositionPatient[2])).argmin())
        picture = samples / f"dicom_16slices/Ground/liver_GT_{data.InstanceNumber - 1:03d}.png"
        truth[:, :, k] = np.asarray(Picture.open(picture)).T > 0
    inside = image.numpy()[0][truth]
    # Contrast-enhanced liver; one slice off, or turned over, the mask would take in fat and air.
    assert 100 < np.median(inside) < 250
    assert (inside > 0).mean() > 0.98


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dcmqi/liver.dcm", "dcmqi/liver_seg.nrrd"),
        ("dcmqi/23x38x3/seg/label.seg", "dcmqi/23x38x3/nrrd/label.nrrd"),
        ("dcmqi/24x38x3/seg/label.seg", "dcmqi/24x38x3/nrrd/label.nrrd"),
        ("dcmqi/sparse-labelmap-ppv5.dcm", "dcmqi/sparse_labelmap_ppv5_seg.nrrd"),
        ("dcmqi/sparse-labelmap-noppv.dcm", "dcmqi/sparse_labelmap_noppv_seg.nrrd"),
        ("dcmqi/partial_overlaps.dcm?labels=1,4,5", "dcmqi/partial_overlaps-1.nrrd"),
        ("dcmqi/partial_overlaps.dcm?labels=ORANGE&like=ct-3slice", "dcmqi/partial_overlaps-2.nrrd"),
        ("dcmqi/partial_overlaps.dcm?labels=PURPLE&like=ct-3slice", "dcmqi/partial_overlaps-3.nrrd"),
    ],
)
def test_segmentations_as_dcmqi_reads_them(samples: Path, name: str, expected: str) -> None:
    same_as_itk(tv.load(f"{samples}/{name}", kind="label"), SimpleITK.ReadImage(str(samples / expected)))


def test_overlapping_segments_are_told(samples: Path) -> None:
    with pytest.raises(LabelError, match="GREEN and ORANGE share 3017 voxels"):
        tv.load(samples / "dcmqi/partial_overlaps.dcm", kind="label")


@pytest.mark.parametrize(
    "name",
    [
        "seg_image_ct_binary",
        "seg_image_ct_binary_overlap",
        "seg_image_ct_binary_single_frame",
        "seg_image_ct_binary_fractional",
        "seg_image_ct_true_fractional",
    ],
)
def test_segmentations_as_highdicom_reads_them(samples: Path, name: str) -> None:
    file = samples / f"highdicom/{name}.dcm"
    kind = "probability" if "fractional" in name else "label"
    image = tv.load(f"{file}?overlap=channels", kind=kind)
    volume = hd.seg.segread(file).get_volume(combine_segments=False)
    grid = tv.Grid(volume.spatial_shape, np.diag([-1.0, -1, 1, 1]) @ volume.affine)
    oracle = tv.Image(torch.from_numpy(np.moveaxis(volume.array, -1, 0).astype(np.float32)), grid)
    assert sorted(grid.shape) == sorted(image.grid.shape)
    np.testing.assert_allclose(image.numpy(), oracle.on(image.grid).numpy(), atol=1e-6)
    assert image.numpy().any()


def test_a_segmentation_of_an_x_ray_has_no_place(samples: Path) -> None:
    file = samples / "highdicom/seg_image_cr_binary.dcm"
    image = tv.load(file, kind="label")
    assert image.grid.shape == (16, 16, 1)
    np.testing.assert_array_equal(
        image.numpy()[0, :, :, 0].T, hd.seg.segread(file).pixel_array.reshape(16, 16)
    )
    assert any("no position in the patient" in note for note in image.header.notes)


def test_a_structure_set_in_the_folder_of_its_series(samples: Path) -> None:
    import pydicom

    image = tv.load(samples / "rt-utils/rt.dcm", kind="label")
    assert image.grid == io.read_header(samples / "rt-utils").grid
    assert image.labels == tv.Labels({"ROI-1": 1})
    wanted = np.zeros(image.grid.shape, bool)
    centres = np.stack(np.meshgrid(*(np.arange(n) for n in image.grid.shape[:2]), indexing="ij"), axis=-1)
    for contour in pydicom.dcmread(samples / "rt-utils/rt.dcm").ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3) * LPS
        index = image.grid.to_index(points)
        # Nudged off the centres: which side an edge belongs to is a convention.
        inside = Outline(index[:, :2] - 1e-4).contains_points(centres.reshape(-1, 2))
        wanted[:, :, round(index[0, 2])] ^= inside.reshape(wanted.shape[:2])
    assert (image.numpy()[0] != wanted).mean() < 1e-3
    assert image.numpy().sum() > 1000


def test_structures_far_from_the_slice_are_refused(samples: Path) -> None:
    table = dicom.read_labels(samples / "dicompyler/rtss.dcm")
    assert (len(table.names), table.names["Lt Lung"]) == (10, 6)
    with pytest.raises(GeometryError, match="None of the contours"):
        tv.load(f"{samples}/dicompyler/rtss.dcm?labels=Heart,Lt Lung", kind="label")
    body = tv.load(f"{samples}/dicompyler/rtss.dcm?labels=BODY", kind="label")
    ct = tv.load(samples / "dicompyler/ct.0.dcm")
    # Skin and what is under it, not the air around.
    assert -200 < np.median(ct.numpy()[body.numpy() > 0]) < 100
    assert np.median(ct.numpy()[body.numpy() == 0]) < -900


@pytest.mark.parametrize("name", ["dicom_16slices/DICOM", "study3_T1post_FLAIR/Study3/11-T1post-18670"])
def test_segmentations_written_for_real_series(samples: Path, tmp_path: Path, name: str) -> None:
    image = tv.load(samples / name)
    middle = float(image.data.float().median())
    labels = tv.Labels({"bright": 1})
    mask = tv.Image((image.data > middle).to(torch.uint8), image.grid, "label", labels=labels)
    dicom.save_seg(mask, tmp_path / "mask.dcm", samples / name)
    back = tv.load(f"{tmp_path}/mask.dcm?like={samples / name}", kind="label")
    assert back.grid == image.grid
    assert torch.equal(back.data, mask.data)
    volume = hd.seg.segread(tmp_path / "mask.dcm").get_volume(combine_segments=True)
    assert int((volume.array > 0).sum()) == int(mask.data.sum())
