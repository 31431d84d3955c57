# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""What tells frames and slices apart: nuclear medicine, PET, dose, cine, dimensions of enhanced images.

Voxel values say where a frame belongs (100 * volume + slice), places are closed forms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicoms
import numpy as np
import pytest
from dicoms import Items, item
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.uid import NuclearMedicineImageStorage

import truevox as tv
from truevox import io
from truevox.errors import CaseError, FileError, GeometryError

AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]
PLACE = {"ImagePositionPatient": [-10, 20, 30], "ImageOrientationPatient": AXIAL, "PixelSpacing": [2, 3]}


def frames(values: list[int]) -> np.ndarray:
    """Frames of 2 rows and 4 columns, each of one value."""
    return np.repeat(np.array(values, np.uint16), 8).reshape(-1, 2, 4)


def nuclear(
    folder: Path,
    values: list[int],
    kind: str,
    vectors: dict[str, list[int]],
    *,
    detector: list[dict[str, Any]] | None = None,
    points: list[str] | None = None,
    **tags: Any,
) -> Path:
    data = dicoms.dataset(
        frames(values), Modality="NM", SOPClassUID=NuclearMedicineImageStorage, NumberOfFrames=len(values)
    )
    data.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    data.PixelSpacing = [2, 3]
    data.FrameIncrementPointer = [tag_for_keyword(name) for name in points or vectors]
    if detector is None:
        detector = [{"ImagePositionPatient": [-10, 20, 30], "ImageOrientationPatient": AXIAL}]
    data.DetectorInformationSequence = Items([item(**tags) for tags in detector])
    for name, value in (vectors | tags).items():
        setattr(data, name, value)
    return dicoms.save(folder, "nm.dcm", data)


def shown(file: Path) -> list[list[int]]:
    """The value of each slice of each channel, of an image whose slices are of one value."""
    array = io.read(file)[0]
    assert (array == array[:, :1, :1]).all()
    return array[:, 0, 0].tolist()


# ---- nuclear medicine -------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [4.0, -4.0])
@pytest.mark.parametrize("directions", [AXIAL, CORONAL, dicoms.oblique()])
def test_slices_of_a_tomogram_are_stacked_by_the_sign_of_their_spacing(
    tmp_path: Path, between: float, directions
) -> None:
    detector = [{"ImagePositionPatient": [-10, 20, 30], "ImageOrientationPatient": list(directions)}]
    file = nuclear(
        tmp_path,
        [1, 2, 3],
        "RECON TOMO",
        {"SliceVector": [1, 2, 3]},
        detector=detector,
        SpacingBetweenSlices=between,
    )
    image = tv.load(file)
    normal = np.cross(directions[:3], directions[3:])
    for slice_number in (1, 2, 3):
        lps = np.array([-10, 20, 30]) + (slice_number - 1) * between * normal
        index = image.grid.to_index(lps * (-1, -1, 1))
        np.testing.assert_allclose(index, np.rint(index), atol=1e-6)
        assert image.numpy()[0][tuple(np.rint(index).astype(int))] == slice_number
    assert image.grid.shape == (4, 2, 3)
    np.testing.assert_allclose(image.grid.spacing, (3, 2, 4))


@given(
    counts=st.tuples(*[st.integers(1, 2)] * 4, st.integers(1, 3)),
    between=st.sampled_from([3.0, -3.0]),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=8, deadline=None)
def test_any_order_of_frames_is_the_same_image(
    tmp_path_factory: pytest.TempPathFactory, counts: tuple[int, ...], between: float, random
) -> None:
    """Energy windows, R-R intervals, time slots, rotations and slices: each frame's value is its indices."""
    names = ("EnergyWindowVector", "RotationVector", "RRIntervalVector", "TimeSlotVector", "SliceVector")
    every = list(np.ndindex(*counts))
    random.shuffle(every)
    file = nuclear(
        tmp_path_factory.mktemp("nm"),
        [int("".join(map(str, index))) for index in every],
        "RECON GATED TOMO",
        {name: [index[k] + 1 for index in every] for k, name in enumerate(names)},
        SpacingBetweenSlices=between,
    )
    image = tv.load(file)
    assert image.shape == (int(np.prod(counts[:4])), 4, 2, counts[4])
    for channel, index in enumerate(np.ndindex(*counts[:4])):
        for k in range(counts[4]):
            place = image.grid.to_index((10, -20, 30 + between * k))
            value = image.numpy()[channel][tuple(np.rint(place).astype(int))]
            assert value == int("".join(map(str, (*index, k))))


@pytest.mark.parametrize("between", [4.0, -4.0])
def test_tomograms_lie_where_gdcm_puts_them(tmp_path: Path, between: float) -> None:
    import SimpleITK

    vectors = {"SliceVector": [1, 2, 3]}
    file = nuclear(tmp_path, [1, 2, 3], "RECON TOMO", vectors, SpacingBetweenSlices=between)
    other, image = SimpleITK.ReadImage(str(file)), tv.load(file)
    array = SimpleITK.GetArrayFromImage(other)
    for k in range(3):
        place = np.array(other.TransformIndexToPhysicalPoint((3, 1, k))) * (-1, -1, 1)
        index = np.rint(image.grid.to_index(place)).astype(int)
        assert image.numpy()[0][tuple(index)] == array[k, 1, 3]


def test_the_vector_says_which_slice_a_frame_is(tmp_path: Path) -> None:
    file = nuclear(
        tmp_path, [3, 1, 2], "RECON TOMO", {"SliceVector": [3, 1, 2]}, SpacingBetweenSlices=4, Modality="PT"
    )
    assert shown(file) == [[1, 2, 3]]
    np.testing.assert_allclose(io.read_header(file).grid.affine[:3, 3], (10, -20, 30))


GATED = {
    "RRIntervalVector": [1] * 4 + [2] * 4,
    "TimeSlotVector": [1, 1, 2, 2] * 2,
    "SliceVector": [1, 2] * 4,
}


@pytest.mark.parametrize("between", [4, -4])
def test_gates_are_channels_and_never_slices(tmp_path: Path, between: int) -> None:
    values = [111, 112, 121, 122, 211, 212, 221, 222]
    file = nuclear(tmp_path, values, "RECON GATED TOMO", GATED, SpacingBetweenSlices=between)
    way = slice(None, None, np.sign(between))
    assert shown(file) == [[111, 112][way], [121, 122][way], [211, 212][way], [221, 222][way]]
    header = io.read_header(file)
    assert header.grid.shape == (4, 2, 2)
    assert any("4 volumes told apart by RRInterval+TimeSlot" in note for note in header.notes)


@pytest.mark.parametrize(
    "name", ["EnergyWindowVector", "DetectorVector", "RotationVector", "TimeSlotVector", "TimeSliceVector"]
)
def test_a_vector_that_tells_volumes_apart_is_no_axis_of_slices(tmp_path: Path, name: str) -> None:
    values = [101, 102, 103, 201, 202, 203]
    vectors = {name: [1, 1, 1, 2, 2, 2], "SliceVector": [1, 2, 3, 1, 2, 3]}
    file = nuclear(tmp_path, values, "RECON TOMO", vectors, SpacingBetweenSlices=4)
    assert shown(file) == [[101, 102, 103], [201, 202, 203]]
    # Without the vector of slices, those of a volume follow each other.
    file = nuclear(
        tmp_path, values, "RECON TOMO", {name: vectors[name]}, SpacingBetweenSlices=4, SliceVector=None
    )
    assert shown(file) == [[101, 102, 103], [201, 202, 203]]


@pytest.mark.parametrize(
    ("kind", "vectors", "by"),
    [
        ("STATIC", {"EnergyWindowVector": [1, 2]}, "EnergyWindow"),
        ("WHOLE BODY", {"DetectorVector": [1, 2]}, "Detector"),
        ("DYNAMIC", {"PhaseVector": [1, 1, 2, 2], "TimeSliceVector": [1, 2, 1, 2]}, "Phase+TimeSlice"),
        ("GATED", {"RRIntervalVector": [1, 1, 1], "TimeSlotVector": [1, 2, 3]}, "TimeSlot"),
        ("TOMO", {"DetectorVector": [1, 1, 2, 2], "AngularViewVector": [1, 2, 1, 2]}, "Detector+AngularView"),
        (
            "GATED TOMO",
            {"TimeSlotVector": [1, 1, 2, 2], "AngularViewVector": [1, 2, 1, 2]},
            "TimeSlot+AngularView",
        ),
    ],
)
def test_planar_images_are_channels(tmp_path: Path, kind: str, vectors, by: str) -> None:
    count = len(next(iter(vectors.values())))
    # A spacing between slices has no place here, and some programs write one.
    file = nuclear(tmp_path, list(range(count)), kind, vectors, SpacingBetweenSlices=4)
    assert shown(file) == [[k] for k in range(count)]
    header = io.read_header(file)
    assert any(f"told apart by {by}" in note for note in header.notes)
    sides = "projections from several sides: each is a channel, and none has a place"
    assert (sides in header.notes) == ("AngularView" in by or "Detector" in by)
    if sides not in header.notes:
        np.testing.assert_allclose(header.grid.affine[:3, 3], (10, -20, 30))


def test_the_first_frames_detector_gives_the_place(tmp_path: Path) -> None:
    detector = [
        {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": AXIAL},
        {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL},
    ]
    vectors = {"DetectorVector": [2, 2], "TimeSliceVector": [1, 2]}
    file = nuclear(tmp_path, [1, 2], "DYNAMIC", vectors, detector=detector)
    np.testing.assert_allclose(io.read_header(file).grid.affine[:3, 3], (-1, -2, 3))


def test_a_planar_image_without_vectors_is_no_volume(tmp_path: Path) -> None:
    assert shown(nuclear(tmp_path, [1, 2, 3], "DYNAMIC", {}, SpacingBetweenSlices=4)) == [[1], [2], [3]]


def test_a_gate_in_each_file(tmp_path: Path) -> None:
    for gate in (2, 1):
        vectors = {"TimeSlotVector": [gate] * 2, "SliceVector": [1, 2]}
        file = nuclear(
            tmp_path, [10 * gate + 1, 10 * gate + 2], "RECON GATED TOMO", vectors, SpacingBetweenSlices=4
        )
        file.rename(tmp_path / f"{3 - gate}.dcm")
    assert shown(tmp_path) == [[11, 12], [21, 22]]


def test_what_a_tomogram_leaves_out(tmp_path: Path) -> None:
    recon = ("RECON TOMO", {"SliceVector": [1, 2]})
    with pytest.raises(GeometryError, match="how far slices are apart"):
        io.read_header(nuclear(tmp_path, [1, 2], *recon))
    header = io.read_header(nuclear(tmp_path, [1, 2], *recon, SliceThickness=5))
    assert "no SpacingBetweenSlices: slices are taken to touch" in header.notes
    assert header.grid.spacing[2] == 5
    header = io.read_header(nuclear(tmp_path, [1, 2], *recon, SpacingBetweenSlices=5, detector=[]))
    assert "no position in the patient: orientation and position are guesses" in header.notes
    assert header.grid.shape == (4, 2, 2)
    # One vector that is only pointed to: frames in its order. One of several: nobody can know.
    file = nuclear(tmp_path, [1, 2, 3], "RECON TOMO", {}, points=["SliceVector"], SpacingBetweenSlices=-5)
    assert shown(file) == [[3, 2, 1]]
    assert shown(nuclear(tmp_path, [1, 2, 3], "DYNAMIC", {}, points=["TimeSliceVector"])) == [[1], [2], [3]]
    points = ["TimeSlotVector", "SliceVector"]
    file = nuclear(
        tmp_path, [1, 2], "RECON GATED TOMO", {"SliceVector": [1, 2]}, points=points, SpacingBetweenSlices=5
    )
    with pytest.raises(FileError, match="lacks TimeSlotVector"):
        io.read_header(file)
    file = nuclear(tmp_path, [1, 2], "RECON TOMO", {"SliceVector": [1, 2, 3]}, SpacingBetweenSlices=5)
    with pytest.raises(FileError, match="SliceVector has 3 values, not 2"):
        io.read_header(file)


def test_frames_that_no_vector_tells_apart_are_refused(tmp_path: Path) -> None:
    vectors = {"EnergyWindowVector": [1, 1], "SliceVector": [1, 1]}
    file = nuclear(tmp_path, [1, 2], "RECON TOMO", vectors, SpacingBetweenSlices=5)
    with pytest.raises(CaseError, match="nothing tells them apart"):
        io.read_header(file)


# ---- PET --------------------------------------------------------------------------------------------


def pet(folder: Path, volumes: int, slices: int, mark, *, reverse: bool = False, **tags: Any) -> None:
    """A PET series: slice s of volume v has value 100 * v + s; ``mark(data, v, s)`` tells volumes apart."""
    for v in range(1, volumes + 1):
        for s in range(1, slices + 1):
            place = PLACE | {"ImagePositionPatient": [-10, 20, 4.0 * s]}
            data = dicoms.dataset(frames([100 * v + s])[0], **{"Modality": "PT"} | place | tags)
            data.NumberOfSlices, data.InstanceNumber = slices, (v - 1) * slices + s
            data.RescaleSlope, data.RescaleIntercept = 1, 0
            mark(data, v, s)
            number = volumes * slices - data.InstanceNumber if reverse else data.InstanceNumber
            dicoms.save(folder, f"{number:03d}.dcm", data)


def index(data, v: int, s: int) -> None:
    data.ImageIndex = data.InstanceNumber


@pytest.mark.parametrize("reverse", [False, True])
def test_time_slices_of_pet_are_told_apart_by_their_index(tmp_path: Path, reverse: bool) -> None:
    pet(tmp_path, 2, 3, index, reverse=reverse, NumberOfTimeSlices=2)
    assert shown(tmp_path) == [[101, 102, 103], [201, 202, 203]]


def test_gates_and_r_r_intervals_of_pet(tmp_path: Path) -> None:
    def gate(data, v: int, s: int) -> None:
        index(data, v, s)
        data.TriggerTime = 100 * ((v - 1) % 2)  # the same in both intervals
        data.ContentTime = f"1200{(7 * v) % 10:02d}"  # in no order

    pet(tmp_path, 4, 2, gate, NumberOfRRIntervals=2, NumberOfTimeSlots=2)
    assert shown(tmp_path) == [[v * 100 + 1, v * 100 + 2] for v in (1, 2, 3, 4)]


def test_frame_reference_times_are_times(tmp_path: Path) -> None:
    pet(tmp_path, 3, 2, lambda data, v, s: setattr(data, "FrameReferenceTime", 30_000 * 2**v))
    assert shown(tmp_path) == [[101, 102], [201, 202], [301, 302]]
    assert io.read_header(tmp_path).times == (0, 60, 180)


def test_each_slice_of_each_time_has_its_own_slope(tmp_path: Path) -> None:
    def slope(data, v: int, s: int) -> None:
        data.FrameReferenceTime, data.RescaleSlope = 1000 * v, 2**v / s

    pet(tmp_path, 2, 2, slope, Units="BQML")
    array, header = io.read(tmp_path)
    np.testing.assert_allclose(array[:, 0, 0], [[2 * 101, 102], [4 * 201, 2 * 202]], rtol=1e-6)
    assert "values in BQML" in header.notes


def test_values_in_several_units_are_refused(tmp_path: Path) -> None:
    pet(tmp_path, 1, 3, lambda data, v, s: setattr(data, "Units", "BQML" if s < 3 else "CNTS"))
    with pytest.raises(CaseError, match="several units") as caught:
        io.read_header(tmp_path)
    assert caught.value.got == "2 images in BQML, 1 images in CNTS"


def test_a_pet_series_that_is_cut_short_says_so(tmp_path: Path) -> None:
    pet(tmp_path, 2, 3, index, NumberOfTimeSlices=2)
    assert not any("speaks of" in note for note in io.read_header(tmp_path).notes)
    for number in (3, 6):
        (tmp_path / f"{number:03d}.dcm").unlink()
    assert "4 of the 6 images that the header of the series speaks of" in io.read_header(tmp_path).notes


# ---- what tells volumes of a series apart -----------------------------------------------------------


def test_two_tags_together_tell_volumes_apart(tmp_path: Path) -> None:
    def both(data, v: int, s: int) -> None:
        data.EchoTime, data.TemporalPositionIdentifier = (5, 10)[(v - 1) // 2], (v - 1) % 2 + 1
        data.ContentTime = f"12{(13 * v * s) % 60:02d}00"  # in no order

    pet(tmp_path, 4, 3, both, Modality="MR")
    assert shown(tmp_path) == [[100 * v + s for s in (1, 2, 3)] for v in (1, 2, 3, 4)]
    assert any("EchoTime+TemporalPositionIdentifier" in note for note in io.read_header(tmp_path).notes)


def test_a_clock_that_mixes_echoes_is_no_order(tmp_path: Path) -> None:
    def clock(data, v: int, s: int) -> None:
        # The clock alone would put echoes of one volume into two channels; with the echo it tells nothing.
        data.EchoTime = (5, 10, 10)[v - 1]
        data.ContentTime = f"1200{(v if s == 2 else 4 - v):02d}"

    pet(tmp_path, 3, 2, clock, Modality="MR")
    with pytest.raises(CaseError, match="nothing tells them apart"):
        io.read_header(tmp_path)


def test_directions_and_averages_of_diffusion(tmp_path: Path) -> None:
    def weigh(data, v: int, s: int) -> None:
        data.DiffusionBValue = 0.0 if v == 1 else 1000.0
        if v > 2:
            data.DiffusionGradientOrientation = [1.0 * (v == 3), 1.0 * (v == 4), 0.0]

    pet(tmp_path, 4, 2, weigh, Modality="MR")
    # No weighting, the average, then the directions in order of their numbers.
    assert [row[0] // 100 for row in shown(tmp_path)] == [1, 2, 4, 3]


@pytest.mark.parametrize("dated", [True, False])
def test_a_scan_over_midnight(tmp_path: Path, dated: bool) -> None:
    def clock(data, v: int, s: int) -> None:
        data.AcquisitionTime = ("235958.5", "0000")[v - 1]
        if dated:
            data.AcquisitionDate = ("20251231", "20260101")[v - 1]

    pet(tmp_path, 2, 2, clock, Modality="MR")
    if dated:
        assert shown(tmp_path) == [[101, 102], [201, 202]]
        assert io.read_header(tmp_path).times == (0, 1.5)
    else:
        assert shown(tmp_path) == [[201, 202], [101, 102]]


# ---- enhanced images --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("NominalPercentageOfCardiacPhase", "NominalPercentageOfCardiacPhase (index)"),
        ("InversionTimes", "InversionTimes (index)"),
        ("StackID", "StackID (index)"),
        (None, "my phase (index)"),
    ],
)
def test_dimensions_tell_volumes_apart(tmp_path: Path, keyword: str | None, name: str) -> None:
    dimension = item(DimensionIndexPointer=tag_for_keyword(keyword) if keyword else 0x00191001)
    dimension.DimensionDescriptionLabel = "my phase"
    place = item(DimensionIndexPointer=tag_for_keyword("ImagePositionPatient"))
    order = [(1, 2), (2, 1), (1, 1), (2, 2)]  # phase, slice
    groups = [
        {"FrameContentSequence": Items([item(DimensionIndexValues=[v, s], InStackPositionNumber=s)])}
        for v, s in order
    ]
    data = dicoms.multiframe(
        frames([100 * v + s for v, s in order]), [[0, 0, 4.0 * s] for _, s in order], groups=groups
    )
    data.DimensionIndexSequence = Items([dimension, place])
    file = dicoms.save(tmp_path, "a.dcm", data)
    assert shown(file) == [[101, 102], [201, 202]]
    assert any(f"told apart by {name}: 1, 2" in note for note in io.read_header(file).notes)


def test_what_an_enhanced_image_says_once_for_all_its_frames(tmp_path: Path) -> None:
    data = dicoms.multiframe(frames([1, 2]), [[0, 0, z] for z in (0, 4)])
    data.SharedFunctionalGroupsSequence = Items([item()])
    data.RescaleSlope, data.RescaleIntercept = 2, -1000
    data.PixelSpacing, data.ImageOrientationPatient = [2, 3], AXIAL
    file = dicoms.save(tmp_path, "a.dcm", data)
    assert shown(file) == [[-998, -996]]
    np.testing.assert_allclose(io.read_header(file).grid.spacing, (3, 2, 4))


def test_stacks_of_several_directions_are_refused(tmp_path: Path) -> None:
    data = dicoms.multiframe(frames([1, 2]), [[0, 0, z] for z in (0, 4)])
    data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence = None
    for group, way in zip(data.PerFrameFunctionalGroupsSequence, (AXIAL, CORONAL), strict=True):
        group.PlaneOrientationSequence = Items([item(ImageOrientationPatient=way)])
    with pytest.raises(GeometryError, match="directions differ") as caught:
        io.read_header(dicoms.save(tmp_path, "a.dcm", data))
    assert caught.value.remedy == "export the stacks of this file one by one"


def test_magnitude_and_phase_of_an_enhanced_image(tmp_path: Path) -> None:
    groups = [
        {"MRImageFrameTypeSequence": Items([item(FrameType=["ORIGINAL", "PRIMARY", "X", kind])])}
        for kind in ("PHASE", "MAGNITUDE", "MAGNITUDE", "PHASE")
    ]
    data = dicoms.multiframe(frames([201, 101, 102, 202]), [[0, 0, z] for z in (0, 0, 4, 4)], groups=groups)
    assert shown(dicoms.save(tmp_path, "a.dcm", data)) == [[101, 102], [201, 202]]


def test_a_volume_of_ultrasound_has_its_own_frame(tmp_path: Path) -> None:
    data = dicoms.multiframe(frames([1, 2]), [[0, 0, 0], [0, 0, 0]])
    data.Modality = "US"
    data.SharedFunctionalGroupsSequence[0].PlaneOrientationVolumeSequence = Items(
        [item(ImageOrientationVolume=AXIAL)]
    )
    for k, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        group.PlanePositionVolumeSequence = Items([item(ImagePositionVolume=[0, 0, 0.5 * k])])
        del group.PlanePositionSequence
    file = dicoms.save(tmp_path, "a.dcm", data)
    assert shown(file) == [[1, 2]]
    header = io.read_header(file)
    assert header.grid.spacing[2] == 0.5
    assert any("ultrasound volume's own frame" in note for note in header.notes)


# ---- dose and cine ----------------------------------------------------------------------------------


def dose(folder: Path, offsets, *, position=(-10, 20, 30), directions=AXIAL, count: int = 3) -> Path:
    data = dicoms.dataset(frames(list(range(1, count + 1))), Modality="RTDOSE", NumberOfFrames=count)
    data.ImagePositionPatient, data.ImageOrientationPatient = list(position), list(directions)
    data.PixelSpacing, data.DoseGridScaling, data.DoseUnits = [2, 3], 0.5, "GY"
    if offsets is not None:
        data.GridFrameOffsetVector = list(offsets)
    return dicoms.save(folder, "dose.dcm", data)


@pytest.mark.parametrize(
    ("offsets", "directions", "heights"),
    [
        ((0, 4, 8), AXIAL, (30, 34, 38)),
        ((0, -4, -8), AXIAL, (30, 26, 22)),
        ((30, 34, 38), AXIAL, (30, 34, 38)),
        ((30, 26, 22), AXIAL, (30, 26, 22)),
        # Against the normal: distances go along it, coordinates do not care.
        ((0, 4, 8), (-1, 0, 0, 0, 1, 0), (30, 26, 22)),
        ((30, 34, 38), (-1, 0, 0, 0, 1, 0), (30, 34, 38)),
    ],
)
def test_offsets_of_dose_are_distances_or_coordinates(tmp_path: Path, offsets, directions, heights) -> None:
    image = tv.load(dose(tmp_path, offsets, directions=directions))
    for value, z in zip((0.5, 1.0, 1.5), heights, strict=True):
        index = np.rint(image.grid.to_index((10, -20, z))).astype(int)
        assert image.numpy()[0][tuple(index)] == value
    assert "values in GY" in image.header.notes


def test_doses_without_a_place_for_each_frame_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="no GridFrameOffsetVector"):
        io.read_header(dose(tmp_path, None))
    with pytest.raises(GeometryError, match="contradicts its ImagePositionPatient"):
        io.read_header(dose(tmp_path, (7, 11, 15)))
    with pytest.raises(GeometryError, match="contradicts its ImagePositionPatient"):
        io.read_header(dose(tmp_path, (30, 34, 38), directions=CORONAL))
    with pytest.raises(GeometryError, match="distance between slices varies"):
        io.read_header(dose(tmp_path, (0, 4, 9)))


def test_a_dose_of_one_frame_is_scaled(tmp_path: Path) -> None:
    data = dicoms.dataset(frames([4])[0], Modality="RTDOSE", DoseGridScaling=0.25, **PLACE)
    assert shown(dicoms.save(tmp_path, "a.dcm", data)) == [[1.0]]


def test_uneven_times_of_a_cine_loop(tmp_path: Path) -> None:
    data = dicoms.dataset(frames([1, 2, 3]), Modality="XA", NumberOfFrames=3, FrameTimeVector=[0, 40, 80])
    header = io.read_header(dicoms.save(tmp_path, "a.dcm", data))
    np.testing.assert_allclose(header.times or (), (0, 0.04, 0.12))


def test_frames_of_pet_without_vectors_are_slices_and_volumes(tmp_path: Path) -> None:
    tags = {"Modality": "PT", "NumberOfFrames": 4, "NumberOfSlices": 2, "SpacingBetweenSlices": 5} | PLACE
    file = dicoms.save(tmp_path, "a.dcm", dicoms.dataset(frames([11, 12, 21, 22]), **tags))
    assert shown(file) == [[11, 12], [21, 22]]
    assert any("does not say where they lie" in note for note in io.read_header(file).notes)
    file = dicoms.save(
        tmp_path, "a.dcm", dicoms.dataset(frames([1, 2, 3, 4]), **tags | {"NumberOfSlices": 3})
    )
    with pytest.raises(GeometryError, match="no whole number of volumes"):
        io.read_header(file)


def test_frames_of_ct_without_groups_are_slices(tmp_path: Path) -> None:
    data = dicoms.dataset(
        frames([1, 2, 3]), Modality="CT", NumberOfFrames=3, SpacingBetweenSlices=0.5, **PLACE
    )
    image = tv.load(dicoms.save(tmp_path, "a.dcm", data))
    assert image.numpy()[0, 0, 0].tolist() == [1, 2, 3]
    np.testing.assert_allclose(image.grid.spacing, (3, 2, 0.5))
    assert any("does not say where they lie" in note for note in image.header.notes)
