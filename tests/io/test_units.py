"""Units of length: what files say of them, in whatever words, and lengths that nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import zarr
from PIL import Image as Pillow

from truevox import io
from truevox.errors import FileError, GeometryError
from truevox.image import Image
from truevox.space import Grid

PLACE = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npz", ".zarr"])
def test_pixels_stay_pixels_in_every_format(suffix: str, tmp_path: Path) -> None:
    Pillow.fromarray(np.eye(5, dtype=np.uint8)).save(tmp_path / "mask.png")
    mask = io.load(tmp_path / "mask.png", "label")
    assert mask.grid == Grid((5, 5, 1), PLACE, unit="px")
    io.save(mask, tmp_path / f"mask{suffix}")
    again = io.load(tmp_path / f"mask{suffix}", "label")
    assert again.grid == mask.grid
    io.save(Image(mask.data, Grid((5, 5, 1), PLACE), "label"), tmp_path / f"known{suffix}")
    assert io.read_header(tmp_path / f"known{suffix}").grid.unit == "mm"
    if suffix != ".npz" and suffix != ".zarr":  # other programs read on
        assert SimpleITK.ReadImage(tmp_path / f"mask{suffix}").GetSpacing() == (1, 1, 1)


def test_files_that_do_not_say_how_large_a_voxel_is(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 4), np.uint8)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", data=array)
    nibabel.Nifti1Image(array, None).to_filename(tmp_path / "a.nii")  # type: ignore[arg-type]
    head = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"\n" + array.tobytes())
    head = "NDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + array.tobytes())
    for name in ("a.npy", "a.npz", "a.nii", "a.nrrd", "a.mha"):
        header = io.read_header(tmp_path / name)
        assert header.grid.unit == "px", name
        assert np.allclose(header.grid.spacing, 1)
        assert any("(px)" in note for note in header.notes), name


def nrrd(path: Path, *lines: str, axes: int = 3) -> Path:
    sizes = "2 3 4 1"[: 2 * axes]
    head = ["NRRD0005", "type: uchar", f"dimension: {axes}", f"sizes: {sizes}", "encoding: raw", *lines]
    path.write_bytes("\n".join(head).encode() + b"\n\n" + bytes(24))
    return path


DIRECTIONS = "space directions: (1,0,0) (0,2,0) (0,0,3)"


@pytest.mark.parametrize(
    ("word", "factor"),
    [
        ("mm", 1),
        ("millimeters", 1),
        ("", 1),
        ("???", 1),
        ("microns", 1e-3),
        ("micron", 1e-3),
        ("um", 1e-3),
        ("\u00b5m", 1e-3),
        ("\u03bcm", 1e-3),
        ("micrometre", 1e-3),
        ("cm", 10),
        ("m", 1e3),
        ("meters", 1e3),
        ("in", 25.4),
        ("inches", 25.4),
        ("nm", 1e-6),
    ],
)
def test_units_of_nrrd_in_whatever_words(word: str, factor: float, tmp_path: Path) -> None:
    """As the format's definition has it: of the space, or of each axis that has a spacing."""
    words = " ".join([f'"{word}"'] * 3)
    for k, lines in enumerate(
        [
            ("space: LPS", DIRECTIONS, f"space units: {words}"),
            ("space: LPS", DIRECTIONS, f"units: {words}"),
            ("spacings: 1 2 3", f"units: {words}"),
        ]
    ):
        grid = io.read_header(nrrd(tmp_path / f"{k}.nrrd", *lines)).grid
        assert np.allclose(grid.spacing, np.array([1, 2, 3]) * factor)
        assert grid.unit == "mm"


def test_units_of_nrrd_that_differ_or_are_no_units(tmp_path: Path) -> None:
    grid = io.read_header(nrrd(tmp_path / "a.nrrd", "spacings: 1 2 3", 'units: "mm" "um" "cm"')).grid
    assert np.allclose(grid.spacing, [1, 2e-3, 30])
    grid = io.read_header(nrrd(tmp_path / "a.nrrd", "space: RAS", DIRECTIONS, "space units: um")).grid
    assert np.allclose(grid.spacing, [1e-3, 2e-3, 3e-3])
    grid = io.read_header(
        nrrd(tmp_path / "a.nrrd", "space: RAS", DIRECTIONS, 'space units: "px" "px" "px"')
    ).grid
    assert (grid.unit, grid.spacing.tolist()) == ("px", [1, 2, 3])
    for lines in (
        ("space: RAS", DIRECTIONS, 'space units: "furlong" "furlong" "furlong"'),
        ("space: RAS", DIRECTIONS, 'units: "mm" "um" "mm"'),
        ("spacings: 1 2 3", 'units: "lightyear" "mm" "mm"'),
    ):
        with pytest.raises(GeometryError, match=r"not understood|units of their own") as caught:
            io.read_header(nrrd(tmp_path / "a.nrrd", *lines))
        assert caught.value.remedy
        assert caught.value.file == str(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("space", "orientation"),
    [
        ("RAS", "RAS"),
        ("RAST", "RAS"),
        ("right-anterior-superior-time", "RAS"),
        ("LAST", "LAS"),
        ("LPST", "LPS"),
        ("left-posterior-superior-time", "LPS"),
    ],
)
def test_spaces_of_nrrd_with_and_without_time(space: str, orientation: str, tmp_path: Path) -> None:
    time = len(space) == 4 or space.endswith("time")
    vectors = "(1,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,5)" if time else "(1,0,0) (0,2,0) (0,0,3)"
    units = 'space units: "um" "um" "um" "s"' if time else 'space units: "um" "um" "um"'
    file = nrrd(
        tmp_path / "a.nrrd", f"space: {space}", f"space directions: {vectors}", units, axes=4 if time else 3
    )
    header = io.read_header(file)
    assert header.grid.orientation == orientation
    assert np.allclose(header.grid.spacing, [1e-3, 2e-3, 3e-3])
    assert header.notes == ()


def test_spaces_of_nrrd_that_say_nothing_of_the_patient(tmp_path: Path) -> None:
    for line in ("space: scanner-xyz", "space: 3D-left-handed", "space dimension: 3"):
        header = io.read_header(nrrd(tmp_path / "a.nrrd", line, DIRECTIONS))
        assert any("orientation" in note for note in header.notes)
    with pytest.raises(GeometryError, match="'right-anterior-superiour' is none"):
        io.read_header(nrrd(tmp_path / "a.nrrd", "space: right-anterior-superiour", DIRECTIONS))


def test_units_of_metaimage(tmp_path: Path) -> None:
    head = "NDims = 3\nDimSize = 2 3 4\n{}ElementSpacing = 1 2 3\nOffset = 10 20 30\n"
    head += "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    for word, factor in (("um", 1e-3), ("cm", 10), ("mm", 1), ("?", 1), (None, 1)):
        line = "" if word is None else f"DistanceUnits = {word}\n"
        (tmp_path / "a.mha").write_bytes(head.format(line).encode() + bytes(24))
        grid = io.read_header(tmp_path / "a.mha").grid
        assert np.allclose(grid.spacing, np.array([1, 2, 3]) * factor)
        assert np.allclose(grid.affine[:3, 3], np.array([-10, -20, 30]) * factor)


def test_orientation_words_of_metaimage_that_contradict_its_matrix(tmp_path: Path) -> None:
    """ITK writes where an axis begins (RAI of the identity), others where it ends (LPS)."""
    head = "NDims = 3\nDimSize = 2 3 4\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n{}ElementSpacing = 1 2 3\n"
    head += "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    for word, noted in (("RAI", False), ("LPS", False), ("???", False), ("LPI", True), ("RAS", True)):
        line = f"AnatomicalOrientation = {word}\n"
        (tmp_path / "a.mha").write_bytes(head.format(line).encode() + bytes(24))
        header = io.read_header(tmp_path / "a.mha")
        assert header.grid.orientation == "LPS"
        assert any(word in note for note in header.notes) == noted, word


def test_units_of_nifti_that_are_none(tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([1, 2, 3, 1])).to_filename(tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    for code, factor, noted in ((0, 1, False), (1, 1e3, True), (2, 1, False), (3, 1e-3, True), (5, 1, True)):
        raw[123] = code
        (tmp_path / "b.nii").write_bytes(raw)
        header = io.read_header(tmp_path / "b.nii")
        assert np.allclose(header.grid.spacing, np.array([1, 2, 3]) * factor)
        assert bool(header.notes) == noted


def ngff(folder: Path, axes: list[Any], steps: list[Any], all_levels: list[Any] | None = None) -> Path:
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    image |= {} if all_levels is None else {"coordinateTransformations": all_levels}
    group = zarr.create_group(folder, attributes={"ome": {"multiscales": [image]}}, overwrite=True)
    group.create_array("0", data=np.zeros((4, 3, 2), np.uint8))  # z, y, x
    return folder


def space(unit: str | None, **more: Any) -> list[Any]:
    one = {} if unit is None else {"unit": unit}
    return [{"name": n, "type": "space", **one, **{k: v[n] for k, v in more.items()}} for n in "zyx"]


SCALE = {"type": "scale", "scale": [3, 2, 1]}


def test_units_of_ome_ngff(tmp_path: Path) -> None:
    for word, factor in (("micrometer", 1e-3), ("\u00b5m", 1e-3), ("millimeter", 1), ("inch", 25.4)):
        grid = io.read_header(ngff(tmp_path / "a.zarr", space(word), [SCALE])).grid
        assert grid.unit == "mm"
        assert np.allclose(grid.spacing, np.array([1, 2, 3]) * factor)
    for axes, steps in ((space(None), [SCALE]), (space("pixel"), [SCALE]), (space("millimeter"), [])):
        header = io.read_header(ngff(tmp_path / "a.zarr", axes, steps))
        assert header.grid.unit == "px"
        assert any("(px)" in note for note in header.notes)
    with pytest.raises(GeometryError, match="furlong"):
        io.read_header(ngff(tmp_path / "a.zarr", space("furlong"), [SCALE]))


def test_units_of_a_plain_zarr(tmp_path: Path) -> None:
    for word, unit, factor in (("mm", "mm", 1), ("micrometer", "mm", 1e-3), ("px", "px", 1)):
        attributes = {"affine": np.diag([1, 2, 3, 1]).tolist(), "unit": word}
        array = np.zeros((2, 3, 4), np.uint8)
        zarr.create_array(tmp_path / "a.zarr", data=array, attributes=attributes, overwrite=True)  # type: ignore[arg-type]
        grid = io.read_header(tmp_path / "a.zarr").grid
        assert (grid.unit, grid.spacing.tolist()) == (unit, pytest.approx([factor, 2 * factor, 3 * factor]))


def test_transformations_of_ome_ngff(tmp_path: Path) -> None:
    """Scale and shift of the level, then those of all levels: x -> 10 * (1 * x + 7) + 5."""
    shift = {"type": "translation", "translation": [9, 8, 7]}
    after = [
        {"type": "scale", "scale": [10, 10, 10]},
        {"type": "identity"},
        {"type": "translation", "translation": [5, 5, 5]},
    ]
    file = ngff(tmp_path / "a.zarr", space("millimeter"), [SCALE, shift], after)
    grid = io.read_header(file).grid
    assert np.allclose(grid.to_world((1, 1, 1)), (-85, -105, 125))
    for odd in (
        {"type": "affine", "affine": np.eye(4)[:3].tolist()},
        {"type": "scale", "path": "scales"},
        {"type": "scale", "scale": [1, 2]},
        {"type": "rotation"},
    ):
        with pytest.raises(GeometryError, match="not understood") as caught:
            io.read_header(ngff(tmp_path / "a.zarr", space("millimeter"), [SCALE, odd]))
        assert caught.value.remedy
    with pytest.raises(FileError, match="'lon'"):
        io.read_header(
            ngff(tmp_path / "a.zarr", [*space("mm")[:2], {"name": "lon", "type": "space"}], [SCALE])
        )


def test_orientation_of_ome_ngff(tmp_path: Path) -> None:
    words = {"x": "left-to-right", "y": "anterior-to-posterior", "z": "inferior-to-superior"}
    axes = space("millimeter", orientation={n: {"type": "anatomical", "value": w} for n, w in words.items()})
    header = io.read_header(ngff(tmp_path / "a.zarr", axes, [SCALE]))
    assert (header.grid.orientation, header.notes) == ("RPS", ())
    assert np.allclose(header.grid.to_world((1, 1, 1)), (1, -2, 3))


def test_spacings_that_are_not_known_are_refused(tmp_path: Path) -> None:
    lines = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 2 2 2", "encoding: raw", "spacings: 1 1 nan"]
    (tmp_path / "a.nrrd").write_bytes(("\n".join(lines) + "\n\n").encode() + bytes(8))
    with pytest.raises(GeometryError, match="spacings are not finite") as error:
        io.read_header(tmp_path / "a.nrrd")
    assert "in pixels" in (error.value.remedy or "")
