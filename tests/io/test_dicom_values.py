# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Values of DICOM images: rescaling, bits, colours, time points, multi-frame objects, compression."""

from __future__ import annotations

from pathlib import Path

import dicoms
import numpy as np
import pytest
from dicoms import Items, item
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, JPEGLSLossless, ParametricMapStorage, RLELossless

import truevox as tv
from truevox import io
from truevox.errors import CaseError, FileError
from truevox.io.dicom.datasets import DEFLATED

VOLUME = np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6) - 50
PLACE = {
    "ImagePositionPatient": [0, 0, 0],
    "ImageOrientationPatient": list(dicoms.AXIAL),
    "PixelSpacing": [1, 1],
    "SliceThickness": 2,
}


def by_itk(file: Path) -> np.ndarray:
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"),
    [(1, 0, "int16"), (1, -1024, "int32"), (2, -5, "int32"), (0.5, 0, "float32"), (1, 0.25, "float32")],
)
def test_rescaling_keeps_integers_where_it_can(tmp_path: Path, slope, intercept, kind: str) -> None:
    dicoms.series(tmp_path, VOLUME, RescaleSlope=slope, RescaleIntercept=intercept)
    array, header = io.read(tmp_path)
    assert header.dtype == array.dtype.name == kind
    np.testing.assert_array_equal(array[0], VOLUME.transpose(2, 1, 0) * slope + intercept)
    np.testing.assert_array_equal(by_itk(tmp_path / "005-1.dcm")[0], array[0, :, :, 0].T)


def test_ct_of_twelve_bits_is_int16(tmp_path: Path) -> None:
    ct = np.arange(120, dtype=np.uint16).reshape(5, 4, 6)
    dicoms.series(tmp_path, ct, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024)
    array, header = io.read(tmp_path)
    assert (header.dtype, int(array.min()), int(array.max())) == ("int16", -1024, -905)


def test_each_slice_has_its_own_slope(tmp_path: Path) -> None:
    def pet(k: int, data) -> None:
        data.RescaleSlope, data.RescaleIntercept = f"{0.1 * (k + 1):.3f}", "0"

    dicoms.series(tmp_path, VOLUME, Modality="PT", change=pet)
    array, header = io.read(tmp_path)
    slopes = 0.1 * np.arange(1, 6)
    np.testing.assert_allclose(array[0], (VOLUME * slopes[:, None, None]).transpose(2, 1, 0), rtol=1e-6)
    assert header.dtype == "float32"


@pytest.mark.parametrize("signed", [False, True])
def test_bits_that_are_not_used_are_left_out(tmp_path: Path, signed: bool) -> None:
    values = np.array([[-2048, -1, 0], [1, 1000, 2047]] if signed else [[0, 1, 7], [2000, 4094, 4095]])
    junk = np.array([[1, 2, 3], [4, 5, 6]]) << 12
    raw = ((values & 0xFFF) | junk).astype(np.uint16)
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    file = dicoms.save(tmp_path, "a.dcm", dicoms.dataset(raw, **PLACE, **tags))
    array = io.read(file)[0]
    np.testing.assert_array_equal(array[0, :, :, 0].T, values)
    np.testing.assert_array_equal(by_itk(file)[0], values)


@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_is_turned_over_as_itk_does(tmp_path: Path, signed: bool) -> None:
    raw = VOLUME[0] if signed else (VOLUME[0] + 50).astype(np.uint16)
    tags: dict = {"PhotometricInterpretation": "MONOCHROME1"}
    file = dicoms.save(tmp_path, "a.dcm", dicoms.dataset(raw, **PLACE, **tags))
    image = tv.load(file)
    np.testing.assert_array_equal(image.numpy()[0, :, :, 0].T, (-1 if signed else 65535) - raw.astype(int))
    np.testing.assert_array_equal(by_itk(file)[0], image.numpy()[0, :, :, 0].T)
    assert any("turned over" in note for note in image.header.notes)
    tags["RescaleSlope"], tags["RescaleIntercept"] = 1, -1024
    image = tv.load(dicoms.save(tmp_path, "b.dcm", dicoms.dataset(raw, **PLACE, **tags)))
    np.testing.assert_array_equal(image.numpy()[0, :, :, 0].T, raw.astype(int) - 1024)


def test_padding_is_told(tmp_path: Path) -> None:
    data = dicoms.dataset(VOLUME[0], **PLACE, PixelPaddingValue=-50)
    header = io.read_header(dicoms.save(tmp_path, "a.dcm", data))
    assert any("stored value -50 (PixelPaddingValue)" in note for note in header.notes)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_are_three_channels(tmp_path: Path, planar: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).astype(np.uint8)
    data = dicoms.dataset(rgb, Modality="OT", PlanarConfiguration=planar)
    if planar:
        data.PixelData = rgb.transpose(2, 0, 1).tobytes()
    file = dicoms.save(tmp_path, "a.dcm", data)
    image = tv.load(file)
    assert image.shape == (3, 6, 4, 1)
    np.testing.assert_array_equal(image.numpy()[:, :, :, 0], rgb.transpose(2, 1, 0))
    np.testing.assert_array_equal(by_itk(file), rgb[None])


def test_an_image_without_place_is_2d_at_the_origin(tmp_path: Path) -> None:
    data = dicoms.dataset(VOLUME[0], Modality="CR", ImagerPixelSpacing=["0.2", "0.3"])
    image = tv.load(dicoms.save(tmp_path, "a.dcm", data))
    np.testing.assert_allclose(image.grid.affine, np.diag([-0.3, -0.2, 1, 1]))
    assert any("no position in the patient" in note for note in image.header.notes)
    assert any("detector" in note for note in image.header.notes)
    dicoms.save(
        tmp_path, "b.dcm", dicoms.dataset(VOLUME[1], Modality="CR", ImagerPixelSpacing=["0.2", "0.3"])
    )
    with pytest.raises(CaseError, match="have no position"):
        tv.load(tmp_path)


def test_mosaics_and_palettes_are_refused(tmp_path: Path) -> None:
    mosaic = dicoms.dataset(VOLUME[0], **PLACE, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.raises(CaseError, match="many slices side by side"):
        tv.load(dicoms.save(tmp_path, "a.dcm", mosaic))
    palette = dicoms.dataset(VOLUME[0].astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(CaseError, match="Colours of a palette"):
        io.read_header(dicoms.save(tmp_path, "b.dcm", palette))


def test_float_pixels(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    data = dicoms.dataset(VOLUME[0], **PLACE, SOPClassUID=ParametricMapStorage)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(data, name)
    data.BitsAllocated, data.FloatPixelData = 32, values.tobytes()
    array, header = io.read(dicoms.save(tmp_path, "a.dcm", data))
    assert header.dtype == "float32"
    np.testing.assert_array_equal(array[0, :, :, 0].T, values)


# ---- several volumes at one place -------------------------------------------------------------------


def four_d(folder: Path, tags_of, times: int = 3) -> None:
    for t in range(times):
        dicoms.series(folder / f"t{t}", VOLUME + 1000 * t, change=lambda k, data, t=t: tags_of(data, k, t))


@pytest.mark.parametrize(
    ("tags_of", "name", "times"),
    [
        (lambda d, k, t: setattr(d, "TemporalPositionIdentifier", t + 1), "TemporalPositionIdentifier", None),
        (lambda d, k, t: setattr(d, "AcquisitionTime", f"1159{50 + 5 * t:02d}.5")
         if t < 2 else setattr(d, "AcquisitionTime", "120000.5"), "AcquisitionTime", (0, 5, 10)),
        (lambda d, k, t: setattr(d, "AcquisitionTime", f"0000{9 * t + k:02d}"), "AcquisitionTime", (0, 9, 18))
        ,
        (lambda d, k, t: setattr(d, "TriggerTime", 40.0 * t), "TriggerTime", (0, 0.04, 0.08)),
        (lambda d, k, t: setattr(d, "DiffusionBValue", 500.0 * t), "DiffusionBValue", None),
        (lambda d, k, t: setattr(d, "EchoTime", 4.6 * (t + 1)), "EchoTime", None),
    ],
)  # fmt: skip
def test_what_shares_a_place_becomes_channels(tmp_path: Path, tags_of, name: str, times) -> None:
    four_d(tmp_path, tags_of)
    image = tv.load(tmp_path)
    assert image.shape == (3, 6, 4, 5)
    for t in range(3):
        np.testing.assert_array_equal(image.numpy()[t], (VOLUME + 1000 * t).transpose(2, 1, 0))
    assert any(f"3 volumes told apart by {name}" in note for note in image.header.notes)
    if times is None:
        assert image.header.times is None
    else:
        np.testing.assert_allclose(image.header.times, times)


def test_gradient_directions_tell_volumes_apart(tmp_path: Path) -> None:
    ways = [None, [1.0, 0, 0], [0, 1.0, 0]]

    def weigh(data, k: int, t: int) -> None:
        data.DiffusionBValue = 1000.0 if t else 0.0
        if t:
            data.DiffusionGradientOrientation = ways[t]

    four_d(tmp_path, weigh)
    image = tv.load(tmp_path)
    # In order of b-value, then of direction.
    for channel, t in enumerate((0, 2, 1)):
        np.testing.assert_array_equal(image.numpy()[channel], (VOLUME + 1000 * t).transpose(2, 1, 0))


# ---- multi-frame ------------------------------------------------------------------------------------


def test_enhanced_frames_in_any_order(tmp_path: Path) -> None:
    order = [3, 0, 4, 1, 2]
    directions = dicoms.oblique()
    x, y = np.array(directions).reshape(2, 3)
    normal = np.cross(x, y)
    places = [np.array([1.0, 2, 3]) + 2.5 * k * normal for k in order]
    scale = [
        {"PixelValueTransformationSequence": Items([item(RescaleSlope=k + 1, RescaleIntercept=-k)])}
        for k in order
    ]
    data = dicoms.multiframe(VOLUME[order], [p.tolist() for p in places], directions=directions, groups=scale)
    file = dicoms.save(tmp_path, "a.dcm", data)
    array, header = io.read(file)
    slopes = np.arange(1, 6)[:, None, None]
    np.testing.assert_array_equal(array[0], (VOLUME * slopes - slopes + 1).transpose(2, 1, 0))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([x * 0.75, y * 0.5, 2.5 * normal], axis=1)
    affine[:3, 3] = (1, 2, 3)
    np.testing.assert_allclose(header.grid.affine, np.diag([-1, -1, 1, 1]) @ affine, atol=1e-9)
    part, _ = io.read(file, (slice(0, 6), slice(1, 3), slice(3, 5)))
    np.testing.assert_array_equal(part, array[:, :, 1:3, 3:5])


@pytest.mark.parametrize("clock", [False, True])
def test_enhanced_time_points(tmp_path: Path, clock: bool) -> None:
    volume = np.concatenate([VOLUME[:2], VOLUME[:2] + 500])
    groups = [
        {"TemporalPositionSequence": Items([item(TemporalPositionTimeOffset=1.5 * (k // 2))])}
        if clock
        else {"FrameContentSequence": Items([item(TemporalPositionIndex=k // 2 + 1)])}
        for k in range(4)
    ]
    data = dicoms.multiframe(volume, [[0, 0, 3.0 * (k % 2)] for k in range(4)], groups=groups)
    image = tv.load(dicoms.save(tmp_path, "a.dcm", data))
    assert image.shape == (2, 6, 4, 2)
    np.testing.assert_array_equal(image.numpy()[1], (VOLUME[:2] + 500).transpose(2, 1, 0))
    assert image.header.times == ((0.0, 1.5) if clock else None)


def test_cine_frames_are_times(tmp_path: Path) -> None:
    data = dicoms.dataset(VOLUME, Modality="US", NumberOfFrames=5, FrameTime=40)
    image = tv.load(dicoms.save(tmp_path, "a.dcm", data))
    assert image.shape == (5, 6, 4, 1)
    np.testing.assert_allclose(image.header.times, [0, 0.04, 0.08, 0.12, 0.16])
    np.testing.assert_array_equal(image.numpy()[:, :, :, 0], VOLUME.transpose(0, 2, 1))


def test_dose_frames_lie_at_their_offsets(tmp_path: Path) -> None:
    dose = VOLUME.astype(np.uint32) % 100
    tags = {"Modality": "RTDOSE", "NumberOfFrames": 5, "DoseGridScaling": 0.01}
    data = dicoms.dataset(dose, **PLACE | {"ImagePositionPatient": [1, 2, 3]}, **tags)
    data.GridFrameOffsetVector = [0, 3, 6, 9, 12]
    file = dicoms.save(tmp_path, "a.dcm", data)
    array, header = io.read(file)
    np.testing.assert_allclose(array[0], dose.transpose(2, 1, 0) * 0.01, rtol=1e-6)
    np.testing.assert_allclose(
        header.grid.affine, [[-1, 0, 0, -1], [0, -1, 0, -2], [0, 0, 3, 3], [0, 0, 0, 1]]
    )


# ---- compression ------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_lossless_syntaxes_by_pydicom(tmp_path: Path, syntax) -> None:
    data = dicoms.dataset(VOLUME[0].astype(np.uint16), **PLACE)
    data.compress(syntax)
    file = dicoms.save(tmp_path, "a.dcm", data)
    np.testing.assert_array_equal(io.read(file)[0][0, :, :, 0].T, VOLUME[0].astype(np.uint16))
    content = file.read_bytes()
    file.write_bytes(content[:-30])
    with pytest.raises(FileError, match=r"a\.dcm"):
        io.read(file)


def test_jpeg_2000_by_itk(tmp_path: Path) -> None:
    import SimpleITK

    pixels = np.random.default_rng(0).integers(0, 4000, (1, 16, 20)).astype(np.uint16)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG2000")
    writer.Execute(SimpleITK.GetImageFromArray(pixels))
    np.testing.assert_array_equal(io.read(tmp_path / "a.dcm")[0][0, :, :, 0].T, pixels[0])


@pytest.mark.parametrize("kind", ["JPEG-LS", "JPEG 2000"])
def test_a_frame_that_unpacks_to_more_than_declared(tmp_path: Path, kind: str) -> None:
    data = dicoms.dataset(np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16), **PLACE)
    data.compress(JPEGLSLossless)
    file = dicoms.save(tmp_path, "a.dcm", data)
    content = bytearray(file.read_bytes())
    if kind == "JPEG-LS":
        at = content.index(b"\xff\xf7") + 5
        content[at : at + 4] = (30000).to_bytes(2) * 2
    else:
        at = content.index(b"\xff\xf7")
        content[at : at + 16] = b"\xff\x4f\xff\x51\0\x29\0\0" + (30000).to_bytes(4) * 2
        content = content.replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.90")
    file.write_bytes(content)
    with pytest.raises(FileError, match="unpacks to 30000x30000, not 64x64"):
        tv.load(file)


def test_a_syntax_that_nothing_decodes_is_named(tmp_path: Path) -> None:
    data = dicoms.dataset(VOLUME[0].astype(np.uint16), **PLACE)
    data.compress(RLELossless)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.203"
    file = dicoms.save(tmp_path, "a.dcm", data)
    with pytest.raises(FileError, match=r"High-Throughput JPEG 2000(.|\n)*a.dcm(.|\n)*pip install pylibjpeg"):
        tv.load(file)
    assert io.read_header(file).grid.shape == (6, 4, 1)


def test_a_deflated_file_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicoms.series(tmp_path, VOLUME, change=lambda k, d: setattr(d.file_meta, "TransferSyntaxUID", DEFLATED))
    np.testing.assert_array_equal(io.read(tmp_path)[0][0], VOLUME.transpose(2, 1, 0))
    file = dicoms.save(tmp_path / "large", "a.dcm", dicoms.dataset(np.zeros((512, 512), np.int16), **PLACE))
    content = file.read_bytes()
    data = dicoms.dataset(np.zeros((512, 512), np.int16), **PLACE)
    data.file_meta.TransferSyntaxUID = DEFLATED
    file = dicoms.save(tmp_path / "large", "a.dcm", data)
    assert 20 * file.stat().st_size < len(content)
    assert io.read_header(file).grid.shape == (512, 512, 1)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(FileError, match="truncated or damaged"):
        io.read(file)
    file = dicoms.save(tmp_path / "large", "a.dcm", data)
    monkeypatch.setattr("truevox.io.dicom.datasets._MOST", 2**18)
    with pytest.raises(FileError, match="unpacks to more than is safe") as caught:
        tv.load(file)
    assert caught.value.remedy


def test_masks_of_one_bit_per_pixel(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (8, 16)).astype(np.uint8)
    data = dicoms.dataset(bits, **PLACE, BitsAllocated=1, BitsStored=1, HighBit=0)
    data.PixelData = np.packbits(bits, bitorder="little").tobytes()
    np.testing.assert_array_equal(io.read(dicoms.save(tmp_path, "a.dcm", data))[0][0, :, :, 0].T, bits)


def test_a_compressed_bomb_takes_no_memory(tmp_path: Path) -> None:
    data = dicoms.dataset(VOLUME[0].astype(np.uint16), **PLACE)
    data.compress(RLELossless)
    for tags in ({"Rows": 60000, "Columns": 60000}, {"Rows": 4, "Columns": 6, "NumberOfFrames": 2**30}):
        for name, value in tags.items():
            setattr(data, name, value)
        file = dicoms.save(tmp_path, "a.dcm", data)
        with pytest.raises(FileError, match="too small for the voxels"):
            tv.load(file)


# ---- tables, spacings -------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "bits"), [(0, 16), (2, 16), (-3, 16), (0, 8)])
def test_a_modality_table_is_applied(tmp_path: Path, first: int, bits: int) -> None:
    stored = np.array([[-4, -3, 0, 1], [2, 3, 4, 9]], np.int16)
    values = [10, 200, 30, 40]
    packed = np.array(values, np.uint8 if bits == 8 else "<u2").tobytes()
    lut = item(ModalityLUTType="HU", LUTData=packed)
    lut.add_new("LUTDescriptor", "SS", [4, first, bits])
    data = dicoms.dataset(stored, **PLACE, ModalityLUTSequence=Items([lut]))
    array, header = io.read(dicoms.save(tmp_path, "a.dcm", data))
    wanted = [values[min(max(int(v) - first, 0), 3)] for v in stored.ravel()]
    assert array[0, :, :, 0].T.ravel().tolist() == wanted
    assert header.dtype == array.dtype.name == "int32"


def test_a_modality_table_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    lut = item(ModalityLUTType="HU", LUTData=bytes(6))
    lut.add_new("LUTDescriptor", "SS", [4, 0, 16])
    data = dicoms.dataset(VOLUME[0], **PLACE, ModalityLUTSequence=Items([lut]))
    with pytest.raises(FileError, match="look-up table is not whole"):
        io.read_header(dicoms.save(tmp_path, "a.dcm", data))


def test_pixels_that_are_higher_than_wide(tmp_path: Path) -> None:
    data = dicoms.dataset(VOLUME[0], Modality="OT", PixelAspectRatio=[3, 2])
    header = io.read_header(dicoms.save(tmp_path, "a.dcm", data))
    np.testing.assert_allclose(header.grid.spacing, (1, 1.5, 1))
    assert header.grid.unit == "px"
    assert any(n.endswith("in pixels (px); they are 1.5 times as high as wide") for n in header.notes)


@pytest.mark.parametrize(("units", "spacing"), [(3, (0.2, 0.3)), (4, (1, 1))])
def test_regions_of_ultrasound_give_the_spacing(tmp_path: Path, units: int, spacing) -> None:
    region = item(RegionSpatialFormat=1, PhysicalUnitsXDirection=units, PhysicalUnitsYDirection=units)
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, -0.03
    data = dicoms.dataset(VOLUME[0], Modality="US", SequenceOfUltrasoundRegions=Items([region]))
    header = io.read_header(dicoms.save(tmp_path, "a.dcm", data))
    np.testing.assert_allclose(header.grid.spacing[:2], spacing)
    assert ("the spacing is that of its ultrasound region" in header.notes) == (units == 3)


def test_monochrome1_of_which_some_slices_are_rescaled_is_a_measure(tmp_path: Path) -> None:
    def slope(k: int, data) -> None:
        data.RescaleSlope, data.RescaleIntercept = (1, 0) if k == 2 else (2, 0)

    dicoms.series(tmp_path, VOLUME, PhotometricInterpretation="MONOCHROME1", change=slope)
    array, header = io.read(tmp_path)
    slopes = np.array([2, 2, 1, 2, 2])
    np.testing.assert_array_equal(array[0], (VOLUME * slopes[:, None, None]).transpose(2, 1, 0))
    assert any("left as they are, a measure" in note for note in header.notes)


def test_several_frames_of_reference_are_refused(tmp_path: Path) -> None:
    def move(k: int, data) -> None:
        data.FrameOfReferenceUID = f"1.2.{k // 3}"

    dicoms.series(tmp_path, VOLUME, change=move)
    with pytest.raises(CaseError, match=r"several frames of reference(.|\n)*3 images in 1.2.0"):
        io.read_header(tmp_path)


def test_big_endian(tmp_path: Path) -> None:
    whole = dicoms.dataset(VOLUME[0].astype(">i2"), **PLACE)
    data = Dataset(whole)
    data.file_meta = whole.file_meta
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file = dicoms.save(tmp_path, "a.dcm", data)
    np.testing.assert_array_equal(io.read(file)[0][0, :, :, 0].T, VOLUME[0])


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("thickness", [None, "5"])
def test_pixels_without_a_spacing_are_counted(tmp_path: Path, placed: bool, thickness: str | None) -> None:
    place = PLACE if placed else dict.fromkeys(PLACE)
    data = dicoms.dataset(
        VOLUME[0], Modality="OT", **place | {"PixelSpacing": None, "SliceThickness": thickness}
    )
    header = io.read_header(dicoms.save(tmp_path, "a.dcm", data))
    assert header.grid.voxel_measure == (1.0, "px²")
    np.testing.assert_array_equal(header.grid.affine, np.diag([-1, -1, 1, 1]))
    assert "no pixel spacing: lengths are in pixels (px)" in header.notes
    assert not any("mm" in note for note in header.notes)


def test_slices_of_pixels_without_a_spacing_are_in_order(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME, change=lambda k, data: data.__delattr__("PixelSpacing"))
    array, header = io.read(tmp_path)
    np.testing.assert_array_equal(array[0], VOLUME.transpose(2, 1, 0))
    assert header.grid.voxel_measure == (1.0, "px³")
