# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Nuclear medicine: vectors say what a frame is; slices lie by the sign of their spacing.

Voxel values say where a frame belongs, places are closed forms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicoms
import numpy as np
import pytest
from dicoms import Items, frames, item, shown
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.uid import NuclearMedicineImageStorage

import truevox as tv
from truevox import io
from truevox.errors import CaseError, FileError, GeometryError

AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


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
