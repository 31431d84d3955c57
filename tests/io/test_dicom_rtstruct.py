# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""RTSTRUCT: filled contours against matplotlib's polygons and areas from closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dicoms
import numpy as np
import pytest
from dicoms import Items, item
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

import truevox as tv
from truevox import io
from truevox.errors import CaseError, FileError, GeometryError, LabelError
from truevox.io import dicom
from truevox.io.dicom.contours import fill

LPS = np.array([-1.0, -1, 1])
SHAPE = (5, 40, 48)


def circle(centre: Sequence[float], radius: float, corners: int = 200) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(t), centre[1] + radius * np.sin(t)], axis=1)


def star(seed: int, corners: int) -> np.ndarray:
    """Corners in no order: edges cross each other."""
    return np.random.default_rng(seed).uniform(-3, 23, (corners, 2))


# ---- filling ----------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(3, 12))
def test_simple_polygons_are_filled_as_by_matplotlib(seed: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(2, 12, corners)
    polygon = np.stack([10 + radii * np.cos(angles), 9 + radii * np.sin(angles)], axis=1)
    centres = np.stack(np.meshgrid(np.arange(20), np.arange(24), indexing="ij"), axis=-1).reshape(-1, 2)
    wanted = Outline(np.vstack([polygon, polygon[:1]]), closed=True).contains_points(centres)
    # A star around its centre is simple only if no gap between neighbouring angles exceeds 180 degrees.
    if np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() < np.pi:
        np.testing.assert_array_equal(fill((20, 24), [polygon]).ravel(), wanted)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(3, 9))
def test_crossing_edges_follow_the_even_odd_rule(seed: int, corners: int) -> None:
    polygon = star(seed, corners)
    wanted = np.zeros((20, 20), bool)
    for u, v in np.ndindex(wanted.shape):
        for (a, b), (c, d) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if (a <= u < c or c <= u < a) and b + (u - a) / (c - a) * (d - b) <= v:
                wanted[u, v] ^= True
    np.testing.assert_array_equal(fill((20, 20), [polygon]), wanted)
    # The order of corners and the direction do not matter; twice the same is nothing.
    np.testing.assert_array_equal(fill((20, 20), [np.roll(polygon, 1, axis=0)[::-1]]), wanted)
    assert not fill((20, 20), [polygon, polygon]).any()


def test_shapes_that_share_an_edge_share_no_voxel_and_lose_none() -> None:
    left = np.array([[0.0, 0], [5, 0], [5, 5], [0, 5]])
    parts = [fill((10, 10), [left + offset]) for offset in ([0, 0], [5, 0], [0, 5], [5, 5])]
    assert (np.sum(parts, axis=0) == 1).all()


def test_rings_and_keyholes_are_holes() -> None:
    outer, inner = circle((10, 10), 8.3), circle((10, 10), 4.1)
    ring = fill((21, 21), [outer, inner])
    np.testing.assert_array_equal(ring, fill((21, 21), [outer]) & ~fill((21, 21), [inner]))
    keyhole = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    np.testing.assert_array_equal(fill((21, 21), [keyhole]), ring)


def test_area_of_a_circle() -> None:
    assert fill((400, 400), [circle((200.3, 199.8), 150, 2000)]).sum() == pytest.approx(
        np.pi * 150**2, rel=1e-3
    )


def test_degenerate_polygons_are_nothing() -> None:
    point, line = np.zeros((1, 2)), np.array([[0.0, 0], [4, 4]])
    assert not fill((5, 5), [point, line]).any()
    assert not fill((5, 5), []).any()
    assert not fill((5, 5), [np.array([[2.0, 0], [2, 4], [2, 2]])]).any()


# ---- files ------------------------------------------------------------------------------------------


def structure_set(
    folder: Path,
    grid: tv.Grid,
    contours: dict[str, list[np.ndarray]],
    *,
    kind: str = "CLOSED_PLANAR",
    series: str = "1",
) -> Path:
    """Contours (n, 3) in indices of a grid, written as patient positions."""
    data = dicoms.dataset(np.zeros((1, 1), np.int16), series="9", Modality="RTSTRUCT")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(data, name)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    uid = dicoms.dataset(np.zeros((1, 1), np.int16), series=series).SeriesInstanceUID
    study = item(RTReferencedSeriesSequence=Items([item(SeriesInstanceUID=uid)]))
    data.ReferencedFrameOfReferenceSequence = Items([item(RTReferencedStudySequence=Items([study]))])
    data.StructureSetROISequence = Items(
        [item(ROINumber=number, ROIName=name) for number, name in enumerate(contours, start=1)]
    )
    data.ROIContourSequence = Items(
        [
            item(
                ReferencedROINumber=number,
                ContourSequence=Items(
                    [
                        item(
                            ContourGeometricType=kind,
                            NumberOfContourPoints=len(points),
                            ContourData=[f"{v:.6f}" for v in (grid.to_world(points) * LPS).ravel()],
                        )
                        for points in rings
                    ]
                ),
            )
            for number, rings in enumerate(contours.values(), start=1)
        ]
    )
    return dicoms.save(folder, "rt.dcm", data)


def ring(k: float, centre=(20.2, 17.1), radius: float = 9.1, axis: int = 2) -> np.ndarray:
    return np.insert(circle(centre, radius), axis, k, axis=1)


@pytest.fixture
def grid(tmp_path: Path) -> tv.Grid:
    """An oblique series of five slices in the folder of the structure set."""
    dicoms.series(tmp_path, np.zeros(SHAPE, np.int16), directions=dicoms.oblique())
    return io.read_header(tmp_path).grid


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_contours_on_the_slices_of_an_oblique_image(tmp_path: Path, grid: tv.Grid, axis: int) -> None:
    centre, radius = ((20.2, 17.1), 9.1) if axis == 2 else ((18.0, 2.0), 1.7)
    file = structure_set(tmp_path, grid, {"ball": [ring(k, centre, radius, axis) for k in (1, 2, 4)]})
    image = tv.load(file, kind="label")
    assert image.grid == grid
    assert image.labels == tv.Labels({"ball": 1}) == dicom.read_labels(file)
    rest = [a for a in range(3) if a != axis]
    index = np.indices(grid.shape)
    inside = (index[rest[0]] - centre[0]) ** 2 + (index[rest[1]] - centre[1]) ** 2 < (radius - 0.01) ** 2
    wanted = inside & np.isin(index[axis], (1, 2, 4))
    np.testing.assert_array_equal(image.numpy()[0], wanted)
    assert any("1 slices between its contours have none" in note for note in image.header.notes)
    box = (slice(10, 30), slice(5, 22), slice(2, 5))
    np.testing.assert_array_equal(tv.load(file, kind="label", region=box).numpy()[0], wanted[box])


def test_holes_and_the_volume_of_a_tube(tmp_path: Path, grid: tv.Grid) -> None:
    rings = [r for k in range(5) for r in (ring(k), ring(k, radius=5.0))]
    image = tv.load(structure_set(tmp_path, grid, {"tube": rings}), kind="label")
    wanted = np.pi * (9.1**2 - 25) * 5 * grid.voxel_volume
    assert image.numpy().sum() * grid.voxel_volume == pytest.approx(wanted, rel=0.03)


def test_contours_between_slices_go_to_the_nearest(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(
        tmp_path, grid, {"a": [ring(1.3), ring(1.95, radius=5.0), ring(2.2), ring(-3), ring(3.4)]}
    )
    image = tv.load(file, kind="label")
    per_slice = (image.numpy()[0] > 0).sum((0, 1))
    small, large = (fill(grid.shape[:2], [circle((20.2, 17.1), r)]).sum() for r in (5.0, 9.1))
    np.testing.assert_array_equal(per_slice, [0, large, small, large, 0])
    notes = " | ".join(image.header.notes)
    assert "1 contours lie outside" in notes
    assert "1 contours left out, as another plane lies nearer" in notes
    assert "3 contours lie between slices (by up to 0.40" in notes


def test_structures_that_overlap_need_a_choice(tmp_path: Path, grid: tv.Grid) -> None:
    contours = {
        "body": [ring(2, radius=14)],
        "heart, left": [ring(2, radius=4)],
        "lung": [ring(2, (33, 17), 2)],
    }
    file = structure_set(tmp_path, grid, contours)
    with pytest.raises(LabelError, match="body and heart, left share"):
        tv.load(file, kind="label")
    image = tv.load(f"{file}?labels=2,lung", kind="label")
    assert set(np.unique(image.numpy())) == {0, 2, 3}
    every = tv.load(f"{file}?overlap=channels", kind="label")
    assert every.shape == (3, *grid.shape)
    np.testing.assert_array_equal(every.numpy()[1], image.numpy()[0] == 2)


def test_another_image_is_named_by_like(tmp_path: Path, grid: tv.Grid) -> None:
    dicoms.series(tmp_path / "far", np.zeros((5, 60, 60), np.int16), name="2", directions=dicoms.oblique())
    file = structure_set(tmp_path / "rt", grid, {"a": [ring(2)]})
    with pytest.raises(CaseError, match=r"rt.dcm\?like=../ct"):
        tv.load(file, kind="label")
    image = tv.load(f"{file}?like=../far", kind="label")
    assert image.grid.shape == (60, 60, 5)
    assert image.numpy().sum() == fill((60, 60), [circle((20.2, 17.1), 9.1)]).sum()
    tv.save(tv.Image(np.zeros((1, 60, 60, 5), np.int16), image.grid), tmp_path / "image.nii")
    same = tv.load(f"{file}?like=../image.nii", kind="label")
    np.testing.assert_array_equal(same.numpy(), image.numpy())


def test_contours_across_slices_are_refused(tmp_path: Path, grid: tv.Grid) -> None:
    tilted = ring(2)
    tilted[:, 2] += 0.05 * (tilted[:, 0] - 20.2)
    with pytest.raises(GeometryError, match="do not lie in slices"):
        io.read_header(structure_set(tmp_path, grid, {"a": [tilted]}))


def test_contours_all_outside_are_refused(tmp_path: Path, grid: tv.Grid) -> None:
    with pytest.raises(GeometryError, match="None of the contours lies in the image"):
        io.read_header(structure_set(tmp_path, grid, {"a": [ring(9)], "b": [ring(-5)]}))


def test_points_are_left_out_with_a_note(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(tmp_path, grid, {"seed": [np.array([[3.0, 3, 3]])]}, kind="POINT")
    image = tv.load(file, kind="label")
    assert not image.numpy().any()
    assert "seed: 1 points or open contours were left out" in image.header.notes
    assert "seed: no closed contour" in image.header.notes


@pytest.mark.parametrize("damage", [b"nan", b"1e999", b"x", b"", b"1 1"])
def test_damaged_points_are_named(tmp_path: Path, grid: tv.Grid, damage: bytes) -> None:
    file = structure_set(tmp_path, grid, {"a": [ring(2)]})
    content = file.read_bytes()
    start = content.index(b"\\", content.index(b"CLOSED_PLANAR") + 60) + 1
    end = content.index(b"\\", start)
    file.write_bytes(content[:start] + damage.ljust(end - start) + content[end:])
    with pytest.raises(FileError, match=r"points of a contour can't be read(.|\n)*rt\.dcm"):
        tv.load(file, kind="label")
