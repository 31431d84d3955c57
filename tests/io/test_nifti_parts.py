"""Regions, pairs, times and units of NIfTI files, and files that would ask for more than there is."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from truevox import io
from truevox.errors import FileError
from truevox.image import Image
from truevox.space import Grid

SHAPE = (5, 6, 7)
measures_memory = pytest.mark.skipif(sys.platform != "linux", reason="kilobytes and /proc are Linux's")


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **fields: Any) -> None:
    """A file by nibabel, with some header fields set after all else."""
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    image.to_filename(path)


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...] = SHAPE) -> tuple[slice, ...]:
    """Up to three slices; whole axes are frequent, as files are read otherwise there."""
    keys = []
    for n in shape[: draw(st.integers(1, 3))]:
        start = draw(st.integers(-n, n - 1))
        stop = draw(st.integers(start % n + 1, n))
        keys.append(draw(st.sampled_from([slice(None), slice(start, stop)])))
    return tuple(keys)


@given(region=regions(), channels=st.integers(1, 3), suffix=st.sampled_from([".nii", ".nii.gz", ".img.gz"]))
def test_a_region_is_that_part_of_the_whole(
    region: tuple[slice, ...], channels: int, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("part") / f"a{suffix}"
    array = np.arange(np.prod(SHAPE) * channels, dtype=">i2").reshape(*SHAPE, channels)
    cls = nib.Nifti1Pair if "img" in suffix else nib.Nifti1Image
    image = cls(array, np.array([[-2, 0, 0, 5], [0, 0, 3, 6], [0, 1, 0, 7], [0, 0, 0, 1.0]]))
    image.header.set_slope_inter(0.5, 3)
    image.to_filename(path)
    whole, header = io.read(path)
    part, small = io.read(path, region)
    assert np.array_equal(part, whole[:, *region])
    assert small.grid == header.grid[region]
    assert (small.channels, small.dtype) == (header.channels, part.dtype.name)


def test_the_end_of_a_damaged_file_does_not_matter_to_a_region_before_it(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (40, 40, 40)).astype(np.uint8)
    write(tmp_path / "a.nii.gz", array)
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: len(content) * 3 // 4])
    first = (slice(None), slice(None), slice(0, 20))
    assert np.array_equal(io.read(tmp_path / "a.nii.gz", first)[0][0], array[:, :, :20])
    with pytest.raises(FileError, match="truncated or damaged"):
        io.read(tmp_path / "a.nii.gz", (slice(None), slice(None), slice(30, 40)))


def test_checksums_are_compared(tmp_path: Path) -> None:
    write(tmp_path / "a.nii.gz", np.arange(8000, dtype=np.int16).reshape(20, 20, 20))
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 0x10
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(FileError, match="truncated or damaged") as caught:
        io.read(tmp_path / "a.nii.gz")
    assert "CRC" in str(caught.value.got)


@pytest.mark.parametrize("cut", [0, 10, 300, 1000, 10000])
def test_gzip_in_several_members(cut: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (30, 30, 30)).astype(np.uint8)
    write(tmp_path / "a.nii", array)
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]))
    assert np.array_equal(io.read(tmp_path / "a.nii.gz")[0][0], array)
    assert np.array_equal(io.read(tmp_path / "a.nii.gz", (slice(3, 4),))[0][0], array[3:4])


# ---- pairs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["", ".gz"])
@pytest.mark.parametrize("cls", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_a_pair_by_either_name(packing: str, cls: Any, tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([-2.0, 3, 4, 1])
    cls(array, affine).to_filename(tmp_path / f"a.img{packing}")
    for name in ("a.img", "a.hdr"):
        found, header = io.read(tmp_path / f"{name}{packing}")
        assert np.array_equal(found[0], array)
        assert np.array_equal(header.grid.affine, affine)
        assert header.path == tmp_path / f"a.hdr{packing}"


def test_a_pair_in_capitals_and_one_without_its_voxels(tmp_path: Path) -> None:
    nib.Nifti1Pair(np.ones((2, 3, 4), np.int16), np.eye(4)).to_filename(tmp_path / "a.img")
    (tmp_path / "a.img").rename(tmp_path / "A.IMG")
    (tmp_path / "a.hdr").rename(tmp_path / "A.HDR")
    assert io.read(tmp_path / "A.HDR")[0].sum() == 24
    (tmp_path / "A.IMG").unlink()
    with pytest.raises(FileError, match="does not exist") as caught:
        io.read(tmp_path / "A.HDR")
    assert caught.value.file == str(tmp_path / "A.IMG")


def test_analyze_is_refused_with_the_reason(tmp_path: Path) -> None:
    nib.AnalyzeImage(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_filename(tmp_path / "a.img")
    with pytest.raises(FileError, match=r"ANALYZE 7\.5.*where left and right are"):
        io.read_header(tmp_path / "a.img")


# ---- times and units ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "step", "start"), [("sec", 2.5, 1.0), ("msec", 2500.0, 1000.0)])
def test_times_are_seconds_and_are_kept(unit: str, step: float, start: float, tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 3, 4, 3), np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((1, 1, 1, step))
    image.header["toffset"] = start
    image.to_filename(tmp_path / "a.nii")
    scan = io.load(tmp_path / "a.nii")
    assert scan.header.times == (1.0, 3.5, 6.0)
    assert io.read_header(tmp_path / "a.nii").times == scan.header.times
    io.save(scan, tmp_path / "b.nii.gz")
    assert io.read_header(tmp_path / "b.nii.gz").times == scan.header.times
    # Half of the channels are not known to be those times.
    io.save(scan[:2], tmp_path / "c.nii.gz")
    assert io.read_header(tmp_path / "c.nii.gz").times is None
    assert io.read_header(tmp_path / "c.nii.gz").grid == scan.grid


@pytest.mark.parametrize(
    ("shape", "unit", "step"),
    [
        ((2, 3, 4, 3), "unknown", 2.0),
        ((2, 3, 4, 3), "sec", 0.0),
        ((2, 3, 4, 3), "sec", np.nan),
        ((2, 3, 4, 3), "hz", 2.0),
        ((2, 3, 4, 1, 3), "sec", 2.0),
        ((2, 3, 4), "sec", 1.0),
    ],
)
def test_times_that_a_file_does_not_tell(
    shape: tuple[int, ...], unit: str, step: float, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = step
    image.to_filename(tmp_path / "a.nii")
    assert io.read_header(tmp_path / "a.nii").times is None


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001)])
def test_lengths_in_other_units_become_millimetres_as_in_itk(
    unit: str, factor: float, tmp_path: Path
) -> None:
    import SimpleITK

    affine = np.diag([-2.0, -3.0, 4.0, 1.0])
    affine[:3, 3] = (10, 20, -30)
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.uint8), affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "a.nii")
    header = io.read_header(tmp_path / "a.nii")
    other = SimpleITK.ReadImage(tmp_path / "a.nii")
    assert np.allclose(header.grid.spacing, other.GetSpacing(), rtol=1e-6)
    assert np.allclose(header.grid.to_world((0, 0, 0)) * (-1, -1, 1), other.GetOrigin(), rtol=1e-6)
    assert np.allclose(header.grid.affine[:3], affine[:3] * factor)
    assert any("metres" in note for note in header.notes)


# ---- more than there is -------------------------------------------------------------------------------


def header_of(shape: tuple[int, ...], dtype: str = "float64") -> bytes:
    """A NIfTI header that declares this much, and no voxel."""
    header = nib.Nifti2Header(endianness="<")
    header.set_data_shape(shape)
    header.set_data_dtype(np.dtype(dtype))
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
    return header.binaryblock + bytes(4)


def test_terabytes_are_refused_from_the_header_alone(tmp_path: Path) -> None:
    for name, packed in (("a.nii", False), ("b.nii.gz", True)):
        content = header_of((10**5, 10**5, 10**5)) + bytes(10**5)
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
        with pytest.raises(FileError, match="truncated or damaged") as caught:
            io.read_header(tmp_path / name)
        assert str(8 * 10**15 + 544) in str(caught.value.expected)


def test_more_than_the_memory_of_the_machine(tmp_path: Path) -> None:
    from truevox.io import guard

    path = tmp_path / "a.nii"
    path.write_bytes(header_of((2**13, 2**13, 2**13)))
    with open(path, "r+b") as stream:  # a file of holes: it has that length, and needs no disk
        stream.truncate(544 + 8 * 2**39)
    assert guard._memory() < 8 * 2**39
    with pytest.raises(FileError, match="larger than this machine's memory") as caught:
        io.read(path)
    assert "region" in str(caught.value.remedy)
    part, _ = io.read(path, (slice(2**12, 2**12 + 2),) * 3)
    assert np.array_equal(part, np.zeros((1, 2, 2, 2)))


def bomb(path: Path, header: bytes, size: int) -> None:
    """A gzip file that unpacks to a header and so many zeros, written without ever holding them."""
    with open(path, "wb") as stream:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        stream.write(packer.compress(header))
        for _ in range(size // 2**20):
            stream.write(packer.compress(bytes(2**20)))
        stream.write(packer.flush())


@measures_memory
def test_a_bomb_stops_at_what_its_header_says(tmp_path: Path) -> None:
    bomb(tmp_path / "a.nii.gz", header_of((64, 64, 64), "uint8"), 2**28)
    code = f"""
import resource
from truevox import io
from truevox.errors import FileError
io.read_header({str(tmp_path / "a.nii.gz")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    io.read({str(tmp_path / "a.nii.gz")!r})
except FileError as error:
    print(error.message, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, _, grown = out.stdout.strip().rpartition(" ")
    assert message == "The file holds more than its header says."
    assert int(grown) < 32


@measures_memory
def test_a_region_of_a_packed_file_needs_little_memory(tmp_path: Path) -> None:
    # 256 MiB unpacked; the last slices of it.
    bomb(tmp_path / "a.nii.gz", header_of((512, 512, 1024), "uint8"), 2**28)
    code = f"""
import resource
from truevox import io
io.read_header({str(tmp_path / "a.nii.gz")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
io.read({str(tmp_path / "a.nii.gz")!r}, (slice(None), slice(None), slice(-4, None)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) < 32


@measures_memory
def test_memory_that_is_not_granted_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(header_of((1024, 1024, 512), "uint8"))
    with open(tmp_path / "a.nii", "r+b") as stream:
        stream.truncate(544 + 2**29)
    code = f"""
import resource
from truevox import io
from truevox.errors import FileError
io.read_header({str(tmp_path / "a.nii")!r})
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, now + 2**28))
try:
    io.read({str(tmp_path / "a.nii")!r})
except FileError as error:
    print(error.message)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "The image is larger than the memory that is free."


@pytest.mark.parametrize("offset", [np.nan, np.inf, -1000.0, 100.0, 1e30])
def test_voxels_that_begin_nowhere(offset: float, tmp_path: Path) -> None:
    write(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[108:112] = np.float32(offset).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(FileError, match="truncated or damaged") as caught:
        io.read_header(tmp_path / "a.nii")
    assert caught.value.file == str(tmp_path / "a.nii")


@pytest.mark.parametrize("kind", ["label", "probability"])
def test_files_are_as_small_as_by_zlib(kind: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    index = np.stack(np.meshgrid(*[np.arange(64)] * 3, indexing="ij")) - rng.uniform(20, 44, (3, 1, 1, 1))
    soft = 1 / (1 + np.exp(((index**2).sum(0) - 300) / 50))
    data = torch.from_numpy((soft > 0.5).astype(np.uint8) if kind == "label" else soft.astype(np.float32))
    io.save(Image(data[None], Grid((64, 64, 64)), kind), tmp_path / "a.nii.gz")
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert len(content) < 1.15 * len(zlib.compress(gzip.decompress(content), 6))
