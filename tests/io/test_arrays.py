"""NumPy files and Zarr folders, ours and those of others."""

from __future__ import annotations

import io as streams
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from truevox import io
from truevox.errors import CaseError, FileError, GeometryError, TrueVoxError
from truevox.image import Image
from truevox.space import Grid

AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".zarr"])
@pytest.mark.parametrize(
    ("shape", "full"),
    [((4, 5), (1, 4, 5, 1)), ((4, 5, 6), (1, 4, 5, 6)), ((2, 4, 5, 6), (2, 4, 5, 6)), ((4,), (1, 4, 1, 1))],
)
@pytest.mark.parametrize("dtype", ["int16", ">f4", "bool", "float16"])
def test_axes_of_arrays(
    suffix: str, shape: tuple[int, ...], full: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, np.asfortranarray(array))
    elif suffix == ".npz":
        np.savez_compressed(path, data=np.asfortranarray(array), other=array)
    else:
        zarr.create_array(path, data=array, chunks=(2,) * array.ndim)
    found, header = io.read(path)
    assert np.array_equal(found, array.reshape(full))
    assert found.dtype.name == header.dtype
    assert found.dtype == ("uint8" if dtype == "bool" else np.dtype(dtype).newbyteorder("="))
    assert header.grid == Grid(full[1:], unit="px")
    assert any("no affine" in note for note in header.notes)
    if full[1] > 2:
        part, small = io.read(path, (slice(1, 3),))
        assert np.array_equal(part, found[:, 1:3])
        assert small.grid == header.grid[1:3]
    assert io.load(path).shape == full


def test_place_and_times_of_an_npz(tmp_path: Path) -> None:
    array = np.arange(48.0).reshape(2, 2, 3, 4)
    np.savez(tmp_path / "a.npz", data=array, affine=AFFINE, times=[0.0, 2.5])
    header = io.read_header(tmp_path / "a.npz")
    assert np.array_equal(header.grid.affine, AFFINE)
    assert (header.times, header.notes) == ((0.0, 2.5), ())
    np.savez(tmp_path / "b.npz", data=array, spacing=[1, 2, 3])
    assert np.array_equal(io.read_header(tmp_path / "b.npz").grid.affine, np.diag([1.0, 2, 3, 1]))
    np.savez(tmp_path / "b.npz", data=array[0, 0], spacing=[2, 3])
    assert np.array_equal(io.read_header(tmp_path / "b.npz").grid.affine, np.diag([2.0, 3, 1, 1]))
    for odd in ([1, 2, 3, 4], [-1, 1, 1], [0, 1, 1], [np.nan, 1, 1], []):
        np.savez(tmp_path / "b.npz", data=array, spacing=odd)
        with pytest.raises(GeometryError, match="one to three positive") as caught:
            io.read_header(tmp_path / "b.npz")
        assert caught.value.file == str(tmp_path / "b.npz")
    io.save(io.load(tmp_path / "a.npz"), tmp_path / "c.zarr")
    assert io.read_header(tmp_path / "c.zarr").times == (0.0, 2.5)


def test_an_npy_keeps_no_place(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="can't say where"):
        io.save(Image(torch.zeros(1, 2, 3, 4), Grid((2, 3, 4), AFFINE)), tmp_path / "a.npy")
    io.save(Image(torch.ones(1, 2, 3, 4), Grid((2, 3, 4))), tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").shape == (2, 3, 4)


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_no_file_runs_code(tmp_path: Path) -> None:
    import numcodecs

    bad = np.array([Touch(tmp_path / "ran")], dtype=object)
    np.save(tmp_path / "a.npy", bad, allow_pickle=True)
    np.savez(tmp_path / "b.npz", data=bad)
    np.savez(tmp_path / "c.npz", data=np.zeros((2, 2)), affine=bad)
    old = zarr.create_array(
        tmp_path / "d.zarr",
        shape=(4,),
        chunks=(4,),
        dtype="int64",
        zarr_format=2,
        filters=[numcodecs.Pickle()],
    )
    (tmp_path / "d.zarr" / "0").write_bytes(numcodecs.Pickle().encode(bad))
    assert old.shape == (4,)
    for name in ("a.npy", "b.npz", "c.npz", "d.zarr"):
        with pytest.raises(FileError):
            io.read(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def member(archive: Path, shape: str, content: bytes) -> None:
    """An .npz whose array declares any shape."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content
        file.writestr("data.npy", data)


@pytest.mark.parametrize(
    "shape", ["(100000, 100000, 100000)", "(5, 5)", "(0, 4)", "(-1, 4)", "(1,1,1,1,2)", "4", "()"]
)
def test_arrays_that_declare_another_size(shape: str, tmp_path: Path) -> None:
    member(tmp_path / "a.npz", shape, bytes(16))
    stream = streams.BytesIO()
    np.lib.format.write_array(stream, np.zeros((4, 4), np.uint8))
    (tmp_path / "b.npy").write_bytes(stream.getvalue().replace(b"(4, 4)", shape.encode()))
    for name in ("a.npz", "b.npy"):
        with pytest.raises(TrueVoxError) as caught:
            io.read(tmp_path / name)
        assert caught.value.file == str(tmp_path / name)


def test_damaged_archives_and_other_files(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", data=np.arange(1000))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content[:-30])
    (tmp_path / "c.npz").write_bytes(content[:200] + b"\xff\xff\xff" + content[203:])
    np.savez(tmp_path / "d.npz", image=np.zeros((2, 2)))
    (tmp_path / "e.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "f.npy").write_bytes(b"")
    np.save(tmp_path / "g.npy", np.array(["word"]))
    np.save(tmp_path / "h.npy", np.array([1j]))
    np.savez(tmp_path / "i.npz", data=np.zeros((2, 2)), affine=np.zeros((4, 4)))
    for name in [
        "b.npz",
        "c.npz",
        "d.npz",
        "e.npy",
        "f.npy",
        "g.npy",
        "h.npy",
        "i.npz",
        "absent.npy",
        "absent.npz",
        "absent.zarr",
    ]:
        with pytest.raises((FileError, GeometryError)) as caught:
            io.read(tmp_path / name)
        assert caught.value.file == str(tmp_path / name)


# ---- Zarr -----------------------------------------------------------------------------------------


def test_a_region_reads_its_chunks_alone(tmp_path: Path) -> None:
    array = np.arange(8 * 8 * 8, dtype=np.int32).reshape(8, 8, 8)
    zarr.create_array(
        tmp_path / "a.zarr", data=array, chunks=(4, 4, 4), attributes={"affine": AFFINE.tolist()}
    )
    for chunk in (tmp_path / "a.zarr" / "c" / "1").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    part, header = io.read(tmp_path / "a.zarr", (slice(1, 4), slice(2, 8)))
    assert np.array_equal(part[0], array[1:4, 2:8])
    assert np.allclose(header.grid.to_world((0, 0, 0)), AFFINE[:3, :3] @ (1, 2, 0) + AFFINE[:3, 3])
    with pytest.raises(FileError, match="truncated or damaged"):
        io.read(tmp_path / "a.zarr", (slice(3, 5),))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_ngff(version: str, tmp_path: Path) -> None:
    stored = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 1, 3, 4, 5)  # t c z y x
    axes = [
        {"name": "t", "type": "time", "unit": "millisecond"},
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"),
    ]
    steps = [{"type": "scale", "scale": [500, 1, 3000, 2000, 1000]}]
    steps.append({"type": "translation", "translation": [1000, 0, 30, 20, 10]})  # type: ignore[dict-item]
    image = {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
        "version": version,
    }
    attributes: Any = (
        {"multiscales": [image]}
        if version == "0.4"
        else {"ome": {"version": version, "multiscales": [image]}}
    )
    group = zarr.create_group(
        tmp_path / "a.zarr", attributes=attributes, zarr_format=2 if version == "0.4" else 3
    )
    group.create_array("0", data=stored, chunks=(1, 1, 2, 2, 2))
    found, header = io.read(tmp_path / "a.zarr")
    assert np.array_equal(found, stored[:, 0].transpose(0, 3, 2, 1))
    # Index (1, 2, 1) lies at x, y, z of (1.01, 4.02, 3.03) mm: left, posterior, superior.
    assert np.allclose(header.grid.to_world((1, 2, 1)), (-1.01, -4.02, 3.03))
    assert header.times == (1.0, 1.5)
    part, small = io.read(tmp_path / "a.zarr", (slice(1, 4), slice(0, 2), slice(2, 3)))
    assert np.array_equal(part, found[:, 1:4, 0:2, 2:3])
    assert small.grid == header.grid[1:4, 0:2, 2:3]


def test_folders_that_are_no_image(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "group.zarr").create_array("a", data=np.zeros(3))
    zarr.create_array(tmp_path / "five.zarr", data=np.zeros((1, 1, 1, 2, 2)))
    zarr.create_array(tmp_path / "huge.zarr", shape=(10**6,) * 3, chunks=(64,) * 3, dtype="float64")
    zarr.create_array(tmp_path / "chunk.zarr", shape=(4, 4), chunks=(4, 4), dtype="uint8")
    path = tmp_path / "chunk.zarr" / "zarr.json"
    text = json.loads(path.read_text())
    text["chunk_grid"]["configuration"]["chunk_shape"] = [10**8, 10**8]
    path.write_text(json.dumps(text))
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "file.zarr").write_text("{}")
    for name, error in [
        ("group", FileError),
        ("five", CaseError),
        ("huge", FileError),
        ("chunk", FileError),
        ("empty", FileError),
        ("file", FileError),
    ]:
        with pytest.raises(error) as caught:
            io.read(tmp_path / f"{name}.zarr")
        assert caught.value.file == str(tmp_path / f"{name}.zarr")
    assert not io.read(tmp_path / "huge.zarr", (slice(5, 6),) * 3)[0].any()
