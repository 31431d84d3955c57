"""NRRD and MetaImage: SimpleITK is the independent reader and writer that ours is held against."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grids, rotation

from truevox import io
from truevox.errors import CaseError, FileError, GeometryError
from truevox.image import Image
from truevox.space import Grid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def affine_of(image: SimpleITK.Image) -> np.ndarray:
    """The RAS affine of an image by SimpleITK; a missing third axis is across the others."""
    n = min(image.GetDimension(), 3)
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:n, :n]
    affine = np.eye(4)
    affine[:n, :n] = direction * np.array(image.GetSpacing())[:n]
    affine[:n, 3] = image.GetOrigin()[:n]
    if n == 2:
        affine[2, 2] = np.sign(np.linalg.det(direction))
    return LPS @ affine


def voxels_of(image: SimpleITK.Image) -> np.ndarray:
    """(C, I, J, K) of an image by SimpleITK."""
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    elif image.GetDimension() < 4:
        array = array[None]
    return array.reshape(len(array), *[1] * (4 - array.ndim), *array.shape[1:]).transpose(0, 3, 2, 1)


def image_by_itk(array: np.ndarray, angles: tuple[float, float, float]) -> SimpleITK.Image:
    """An oblique, anisotropic image from (C, I, J, K); several channels are components."""
    vector = len(array) > 1
    block = array.transpose(3, 2, 1, 0) if vector else array[0].T
    image = SimpleITK.GetImageFromArray(block, isVector=vector)
    image.SetDirection(rotation(angles).ravel().tolist())
    image.SetSpacing((0.7, 1.3, 5.1))
    image.SetOrigin((-31.5, 17.25, 1 / 3))
    return image


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    dtype=st.sampled_from(DTYPES),
    channels=st.integers(1, 3),
    suffix=st.sampled_from([".nrrd", ".nhdr", ".mha", ".mhd"]),
    packed=st.booleans(),
    starts=st.tuples(*[st.integers(0, 2)] * 3),
    counts=st.tuples(*[st.integers(1, 4)] * 3),
)
@settings(max_examples=80)
def test_what_itk_writes_is_read_alike(
    angles: tuple[float, float, float],
    dtype: str,
    channels: int,
    suffix: str,
    packed: bool,
    starts: tuple[int, ...],
    counts: tuple[int, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("itk") / f"a{suffix}"
    array = np.arange(channels * 60).reshape(channels, 3, 4, 5).astype(dtype)
    SimpleITK.WriteImage(image_by_itk(array, angles), path, useCompression=packed)
    found, header = io.read(path)
    assert np.array_equal(found, array)
    assert (found.dtype, header.dtype, header.channels) == (np.dtype(dtype), dtype, channels)
    assert np.abs(header.grid.affine - affine_of(SimpleITK.ReadImage(path))).max() < 1e-12
    region = tuple(slice(a, a + n) for a, n in zip(starts, counts, strict=True))
    part, small = io.read(path, region)
    assert np.array_equal(part, array[:, *region])
    assert small.grid == header.grid[region]


@given(
    grid=grids(),
    dtype=st.sampled_from(("float32", "int16", "label")),
    channels=st.integers(1, 3),
    suffix=st.sampled_from([".nrrd", ".mha"]),
)
@settings(max_examples=60)
def test_what_is_saved_is_read_alike_by_itk(
    grid: Grid, dtype: str, channels: int, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("own") / f"a{suffix}"
    data = np.random.default_rng(0).integers(0, 300, (channels, *grid.shape))
    kind = "label" if dtype == "label" else "scalar"
    array = data.astype("int32" if dtype == "label" else dtype)
    io.save(Image(torch.from_numpy(array), grid, kind), path)
    other = SimpleITK.ReadImage(path)
    assert np.array_equal(voxels_of(other), array)
    assert np.abs(affine_of(other) - grid.affine).max() < 1e-12 * (1 + np.abs(grid.affine).max())
    found, header = io.read(path)
    assert np.array_equal(found, array)
    assert header.grid.displacement(grid) < 1e-11
    if suffix == ".nrrd":
        assert header.grid == grid  # every digit


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_four_axes_by_itk_are_channels(suffix: str, tmp_path: Path) -> None:
    array = np.arange(120, dtype=np.int16).reshape(2, 5, 4, 3)
    image = SimpleITK.GetImageFromArray(array, isVector=False)
    image.SetSpacing((1, 2, 3, 4))
    SimpleITK.WriteImage(image, tmp_path / f"a{suffix}")
    found, header = io.read(tmp_path / f"a{suffix}")
    assert np.array_equal(found, array.transpose(0, 3, 2, 1))
    assert header.grid.spacing.tolist() == [1, 2, 3]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_two_axes_by_itk_lie_in_the_plane(suffix: str, tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(12, dtype=np.uint8).reshape(4, 3))
    image.SetSpacing((2, 3))
    image.SetOrigin((5, 6))
    image.SetDirection((0, 1, 1, 0))
    SimpleITK.WriteImage(image, tmp_path / f"a{suffix}")
    found, header = io.read(tmp_path / f"a{suffix}")
    assert np.array_equal(found, voxels_of(image))
    assert np.allclose(header.grid.affine, affine_of(image))


def sheared() -> Grid:
    """A grid whose axes are not at right angles."""
    return Grid((3, 4, 5), [[2, 0.5, 0, 1], [0, 3, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_sheared_grids_survive_and_itk_agrees(suffix: str, tmp_path: Path) -> None:
    io.save(Image(torch.zeros(1, 3, 4, 5), sheared()), tmp_path / f"a{suffix}")
    assert io.read_header(tmp_path / f"a{suffix}").grid.displacement(sheared()) < 1e-12
    assert np.allclose(affine_of(SimpleITK.ReadImage(tmp_path / f"a{suffix}")), sheared().affine)


# ---- NRRD by hand ---------------------------------------------------------------------------------


def nrrd(path: Path, *lines: str, sizes: str = "2 3 4", dimension: int = 3, tail: bytes = b"") -> Path:
    """An NRRD of int16 that counts, with these fields."""
    count = int(np.prod([int(n) for n in sizes.split()]))
    head = ["NRRD0005", "# by hand", "type: short", f"dimension: {dimension}", *lines, f"sizes: {sizes}"]
    if not any("encoding" in line for line in lines):
        head.append("encoding: raw")
    text = "\n".join([*head, "endian: little"]) + "\n\n"
    path.write_bytes(text.encode() + np.arange(count, dtype="<i2").tobytes() + tail)
    return path


PLACE = ("space directions: (2,0.1,0) (0,3,0) (0,0,4)", "space origin: (10,20,30)")


@pytest.mark.parametrize(
    ("lines", "noted"),
    [
        (("space: right-anterior-superior", *PLACE), False),
        (("space: RAS", *PLACE), False),
        (("space: left-posterior-superior", *PLACE), False),
        (("space: left-anterior-superior", *PLACE), False),
        (("space: scanner-xyz", *PLACE), True),
        (("space dimension: 3", *PLACE), True),
        (("spacings: 2 3 4",), True),
        ((), True),
    ],
)
def test_spaces_as_in_itk(lines: tuple[str, ...], noted: bool, tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", *lines)
    found, header = io.read(path)
    other = SimpleITK.ReadImage(path)
    assert np.array_equal(found, voxels_of(other))
    assert np.allclose(header.grid.affine, affine_of(other), atol=1e-12)
    assert bool(header.notes) == noted


@pytest.mark.parametrize(
    ("sizes", "directions", "kinds"),
    [
        ("2 3 4 2", "(2,0,0) (0,3,0) (0,0,4) none", "domain domain domain list"),
        ("2 2 3 4", "none (2,0,0) (0,3,0) (0,0,4)", "vector domain domain domain"),
        ("2 2 3 4", "none (2,0,0) (0,3,0) (0,0,4)", "list domain domain domain"),
    ],
)
def test_lists_as_in_itk(sizes: str, directions: str, kinds: str, tmp_path: Path) -> None:
    lines = ("space: left-posterior-superior", f"space directions: {directions}", f"kinds: {kinds}")
    path = nrrd(tmp_path / "a.nrrd", *lines, sizes=sizes, dimension=4)
    assert np.array_equal(io.read(path)[0], voxels_of(SimpleITK.ReadImage(path)))
    assert np.array_equal(
        io.read(path, (slice(1, 2), slice(0, 2)))[0], voxels_of(SimpleITK.ReadImage(path))[:, 1:2, 0:2]
    )


def test_an_axis_between_those_of_space_is_refused(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", "kinds: domain list domain domain", sizes="2 2 3 4", dimension=4)
    with pytest.raises(CaseError, match="before or after"):
        io.read_header(path)


@pytest.mark.parametrize(
    ("lines", "times"),
    [
        (
            ("MultiVolume.FrameLabels:=0,5100,9000", "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms"),
            (0, 5.1, 9),
        ),
        (("spacings: nan nan nan 2.5", "axis mins: nan nan nan 1", 'units: "mm" "mm" "mm" "s"'), (1, 3.5, 6)),
        (("spacings: nan nan nan 2.5",), None),
        (("MultiVolume.FrameLabels:=0,5100,9000",), None),
        (("MultiVolume.FrameLabels:=0,9000", "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms"), None),
    ],
)
def test_times_of_an_nrrd(lines: tuple[str, ...], times: tuple[float, ...] | None, tmp_path: Path) -> None:
    place = (
        "space: RAS",
        "space directions: (1,0,0) (0,1,0) (0,0,1) none",
        "kinds: domain domain domain list",
    )
    found = io.read_header(nrrd(tmp_path / "a.nrrd", *place, *lines, sizes="2 3 4 3", dimension=4)).times
    assert found is None if times is None else np.allclose(found, times)  # type: ignore[arg-type]


def test_times_and_segments_come_back(tmp_path: Path) -> None:
    lines = ("space: RAS", *PLACE, "Segment0_Name:=kidney", "Segment0_LabelValue:=3", "Segment0_Layer:=0")
    mask = nrrd(tmp_path / "a.seg.nrrd", *lines, "Segment1_Name:=liver", "Segment1_LabelValue:=7")
    labels = io.read_header(mask).labels
    assert labels is not None
    assert dict(labels.names) == {"kidney": 3, "liver": 7}
    place = (
        "space: RAS",
        "space directions: (1,0,0) (0,1,0) (0,0,1) none",
        "kinds: domain domain domain list",
    )
    times = ("MultiVolume.FrameLabels:=0,5100", "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms")
    scan = io.load(nrrd(tmp_path / "b.nrrd", *place, *times, sizes="2 3 4 2", dimension=4))
    for name in ("c.nrrd", "c.nii.gz"):
        io.save(scan, tmp_path / name)
        assert np.allclose(io.read_header(tmp_path / name).times, (0, 5.1))  # type: ignore[arg-type]


def test_voxels_at_the_end_and_beside_the_header(tmp_path: Path) -> None:
    plain = np.arange(24, dtype="<i2")
    (tmp_path / "data.raw").write_bytes(b"something else" + plain.tobytes())
    (tmp_path / "a.nhdr").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\nencoding: raw\n"
        "byte skip: -1\ndata file: data.raw\n"
    )
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\nHeaderSize = -1\n"
        "ElementDataFile = data.raw\n"
    )
    for name in ("a.nhdr", "a.mhd"):
        assert np.array_equal(io.read(tmp_path / name)[0][0].ravel("F"), plain)
        assert np.array_equal(voxels_of(SimpleITK.ReadImage(tmp_path / name)).ravel("F"), plain)
    (tmp_path / "data.raw").unlink()
    with pytest.raises(FileError, match="does not exist"):
        io.read_header(tmp_path / "a.mhd")


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
@pytest.mark.parametrize("place", ["../secret.raw", "deep/../../secret.raw", "absolute"])
def test_a_header_reaches_no_file_outside_of_its_folder(suffix: str, place: str, tmp_path: Path) -> None:
    def header(name: str | Path) -> Path:
        path = tmp_path / "sent" / f"a{suffix}"
        nhdr = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\ndata file: "
        mhd = "NDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = "
        path.write_text(f"{nhdr if suffix == '.nhdr' else mhd}{name}\n")
        return path

    (tmp_path / "sent" / "deep").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(bytes(range(24)))
    with pytest.raises(FileError, match="outside of its own folder") as caught:
        io.read_header(header(tmp_path / "secret.raw" if place == "absolute" else place))
    assert "beside the header" in (caught.value.remedy or "")
    # A link is a file beside the header: data under version control are links.
    (tmp_path / "sent" / "deep" / "link.raw").symlink_to(tmp_path / "secret.raw")
    assert io.read(header("deep/link.raw"))[0].ravel("K").tolist() == list(range(24))
    assert io.read_header(header(tmp_path / "sent/deep/link.raw")).grid.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("encoding: ascii", FileError),
        ("line skip: 2", FileError),
        ("data file: LIST", FileError),
        ("data file: slice%03d.raw 1 9 1", FileError),
        ("sizes: 2 3 400000000", FileError),
        ("sizes: 2 3 -4", FileError),
        ("sizes: 2 3", FileError),
        ("type: block", FileError),
        ("dimension: 1e18", FileError),
        ("endian: middle", FileError),
        ("space directions: (1,0,0) (0,nan,0) (0,0,1)", GeometryError),
        ("space directions: (1,0,0) (2,0,0) (0,0,1)", GeometryError),
        ("space directions: (1,0,0) (0,1) (0,0,1)", FileError),
        ("space directions: (1,0,0) (0,x,0) (0,0,1)", FileError),
    ],
)
def test_bad_nrrd_headers_name_the_file(line: str, error: type[Exception], tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", "space: RAS", *PLACE)
    name = line.partition(":")[0]
    lines = [
        one for one in path.read_bytes().split(b"\n\n")[0].decode().split("\n") if not one.startswith(name)
    ]
    path.write_bytes("\n".join([*lines, line]).encode() + b"\n\n" + bytes(48))
    with pytest.raises(error) as caught:
        io.read(path)
    assert caught.value.file == str(path)  # type: ignore[attr-defined]


def test_damaged_streams(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (1, 20, 20, 20)).astype(np.int16)
    for suffix in (".nrrd", ".mha"):
        path = tmp_path / f"a{suffix}"
        SimpleITK.WriteImage(image_by_itk(array, (0, 0, 0)), path, useCompression=True)
        content = path.read_bytes()
        for changed in (content[:-3], content[:-200], content[:-6] + b"\0\0" + content[-4:]):
            path.write_bytes(changed)
            with pytest.raises(FileError, match="truncated or damaged"):
                io.read(path)


def test_a_packed_metaimage_that_holds_too_much(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(2**23))
    text = (
        "ObjectType = Image\nNDims = 3\nDimSize = 64 64 8\nElementType = MET_UCHAR\nCompressedData = True\n"
    )
    (tmp_path / "a.mha").write_bytes((text + "ElementDataFile = LOCAL\n").encode() + packed)
    with pytest.raises(FileError, match="holds more than its header says"):
        io.read(tmp_path / "a.mha")
    assert not io.read(tmp_path / "a.mha", (slice(0, 1), slice(0, 1), slice(7, 8)))[0].any()


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("content", [b"", b"NRRD", b"x" * 5000, bytes(2**21), b"NDims = 3\n"])
def test_not_of_the_format(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError) as caught:
        io.read_header(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


@pytest.mark.data
def test_real_perfusion_agrees_with_itk(data_dir: Path) -> None:
    for path in sorted((data_dir / "perfusion" / "pkmodeling").glob("*.nrrd")):
        found, header = io.read(path)
        other = SimpleITK.ReadImage(path)
        assert np.array_equal(found, voxels_of(other))
        assert np.abs(header.grid.affine - affine_of(other)).max() < 1e-9
        assert header.times is not None
        assert len(header.times) == len(found)
