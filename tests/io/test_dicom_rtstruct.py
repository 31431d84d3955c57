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
from truevox.io.dicom.contours import draw, fill, tidy

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


# ---- several contours in one plane ------------------------------------------------------------------


def square(low: float, high: float) -> np.ndarray:
    """Of (high - low) squared voxels, its edges between voxel centres."""
    return np.array([[low, low], [high, low], [high, high], [low, high]]) - 0.5


def area(*polygons: np.ndarray, exclusive: bool = False) -> int:
    drawing = draw([tidy(p) for p in polygons], exclusive=exclusive)
    mask = drawing.mask((24, 24), np.zeros(2))
    # A box of it is the same as a part of the whole.
    np.testing.assert_array_equal(drawing.mask((9, 7), np.array([5, 3])), mask[5:14, 3:10])
    return int(mask.sum())


@pytest.mark.parametrize(
    "other",
    [
        lambda p: p,
        lambda p: p[::-1],
        lambda p: np.roll(p, 3, axis=0),
        lambda p: np.vstack([p, p[:1]]),
        lambda p: np.repeat(p, 2, axis=0),
        lambda p: np.vstack([p, (p + np.roll(p, -1, axis=0)) / 2])[[0, 4, 1, 5, 2, 6, 3, 7]],
        lambda p: p + 0.1,
        lambda p: p + np.array([[0.05, 0.1], [-0.1, 0], [0.02, 0.1], [0.1, -0.1]]),
        lambda p: p * 1.004,
    ],
)
def test_a_contour_that_is_there_twice_counts_once(other) -> None:
    polygon = square(3, 17)
    assert area(polygon, other(polygon)) == area(other(polygon), polygon, other(polygon)) == 14**2
    assert draw([polygon, other(tidy(polygon))]).doubled == 1


@pytest.mark.parametrize(("spacing", "off", "same"), [
    ((1.0, 1.0), 0.28, True), ((1.0, 1.0), 0.4, False), ((0.3, 0.3), 0.4, True), ((0.3, 0.3), 0.6, False),
    ((4.0, 4.0), 0.07, True), ((4.0, 4.0), 0.25, False), ((1.0, 0.3), 0.28, True), ((0.2, 1.0), 0.4, False),
])  # fmt: skip
def test_how_close_a_second_contour_is_the_same(spacing, off: float, same: bool) -> None:
    """Closer than 0.3 mm and than half a voxel; ``off`` is in voxels of the second axis."""
    inner = np.array([[3.0, 3], [17, 3], [17, 17], [3, 17]])
    outer = inner + np.array([[0, -off], [0, -off], [0, off], [0, off]])
    assert draw([inner, outer], spacing=spacing).doubled == int(same)


@pytest.mark.parametrize("rounds", [2, 3, 6])
def test_a_contour_that_goes_round_several_times_counts_once(rounds: int) -> None:
    assert area(np.tile(square(3, 17), (rounds, 1))) == 14**2


def test_contours_that_cross_are_united() -> None:
    one, other = square(2, 12), square(8, 20)
    assert area(one, other) == area(other, one) == 10**2 + 12**2 - 4**2
    assert draw([one, other]).crossing == 2
    assert area(one, other, exclusive=True) == 10**2 + 12**2 - 2 * 4**2
    # A hole of one of them does not empty the other, nor do two holes that cross fill each other.
    hole, second = square(6, 10), square(3, 8)
    assert area(one, other, hole) == 10**2 + 12**2 - 4**2 - (4**2 - 2**2)
    assert area(one, other, square(9, 11)) == 10**2 + 12**2 - 4**2 - 2**2
    assert area(square(2, 22), hole, second) == 20**2 - 4**2 - 5**2 + 2**2


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_contours_inside_each_other_are_holes_and_islands(order) -> None:
    nested = [square(1, 21), square(3, 18), square(5, 14), square(6, 9)]
    wanted = 20**2 - 15**2 + 9**2 - 3**2
    assert area(*(nested[n] for n in order)) == wanted
    assert area(*(nested[n] for n in order), exclusive=True) == wanted
    assert draw(nested).nested == 3
    # A ring may be thin: 0.4 mm is no contour that is there twice.
    assert draw([circle((10, 10), 9), circle((10, 10), 8.6)]).doubled == 0


def test_contours_that_touch() -> None:
    beside, corner = square(2, 8) + np.array([6, 0]), square(8, 12)
    assert area(square(2, 8), beside, corner) == 36 + 36 + 16
    assert draw([square(2, 8), beside, corner]).crossing == 0
    # A hole that shares an edge with its outline, or reaches over it by a rounding, stays a hole.
    for offset in (0, -0.004, 0.004):
        assert area(square(2, 12), square(2, 5) + np.array([0, 3 + offset])) == 10**2 - 3**2


def test_a_figure_of_eight_is_both_its_loops() -> None:
    eight = np.array([[2, 2], [14, 14], [2, 14], [14, 2]]) - 0.5
    left = [(u, v) for u, v in np.ndindex(24, 24) if 2 <= u < 14 and 2 <= v < 14 and (u < v) == (u + v < 15)]
    assert abs(area(eight) - len(left)) <= 12  # centres on its diagonals go to one side or the other
    assert draw([eight]).looped == (True,)
    keyhole = np.concatenate([square(2, 20), square(2, 20)[:1], square(8, 12)[:1], square(8, 12)[::-1]])
    for simple in (square(2, 20), square(2, 20)[::-1], circle((3, 4), 2), tidy(keyhole)):
        assert draw([simple]).looped == (False,)
    assert area(keyhole) == 18**2 - 4**2


def test_a_contour_that_overlaps_itself_has_no_hole() -> None:
    # Drawn by hand: all the way round once more.
    twice = np.vstack([circle((11, 11), 8), circle((11, 11), 8.3) + 0.1])
    rng = np.random.default_rng(0)
    for _ in range(5):
        jittered = twice + rng.normal(0, 0.02, twice.shape)
        assert area(jittered) == pytest.approx(np.pi * 8.25**2, rel=0.03)
    points = np.array([[10 + 9 * np.cos(t), 10 + 9 * np.sin(t)] for t in 4 * np.pi / 5 * np.arange(5)])
    assert area(points) > area(points, exclusive=True) > 0  # the middle of a pentagram


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_the_order_of_contours_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = [circle(rng.uniform(6, 18, 2), rng.uniform(1, 9), 24) for _ in range(5)]
    inside = np.array([draw([p]).mask((24, 24), np.zeros(2)) for p in polygons])
    mask = draw(polygons).mask((24, 24), np.zeros(2))
    again = [np.roll(polygons[n][::-1], 5, axis=0) for n in rng.permutation(5)]
    np.testing.assert_array_equal(draw([*again, polygons[2]]).mask((24, 24), np.zeros(2)), mask)
    # Nothing outside of all; what a single one holds is in, but for the rim of a hole that reaches over it.
    assert not mask[~inside.any(axis=0)].any()
    assert (~mask & (inside.sum(axis=0) == 1)).sum() <= 0.02 * inside.sum()


# ---- files ------------------------------------------------------------------------------------------


def structure_set(
    folder: Path,
    grid: tv.Grid,
    contours: dict[str, list[np.ndarray]],
    *,
    kind: str = "CLOSED_PLANAR",
    series: str = "1",
    numbers: Sequence[int] | None = None,
) -> Path:
    """Contours (n, 3) in indices of a grid, written as patient positions.

    ``numbers`` of the structures; one that comes again is the same structure in another item.
    """
    numbers = numbers or range(1, 1 + len(contours))
    data = dicoms.dataset(np.zeros((1, 1), np.int16), series="9", Modality="RTSTRUCT")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(data, name)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    uid = dicoms.dataset(np.zeros((1, 1), np.int16), series=series).SeriesInstanceUID
    study = item(RTReferencedSeriesSequence=Items([item(SeriesInstanceUID=uid)]))
    data.ReferencedFrameOfReferenceSequence = Items([item(RTReferencedStudySequence=Items([study]))])
    data.StructureSetROISequence = Items(
        [
            item(ROINumber=number, ROIName=name)
            for number, name in dict(zip(numbers, contours, strict=True)).items()
        ]
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
            for number, rings in zip(numbers, contours.values(), strict=True)
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


def test_contours_need_an_image_with_a_spacing(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(tmp_path / "rt", grid, {"ball": [ring(2)]})
    tv.save(tv.Image(np.zeros((1, 9, 9, 9), np.uint8), tv.Grid((9, 9, 9), unit="px")), tmp_path / "a.nii.gz")
    with pytest.raises(GeometryError, match="how large its pixels are"):
        tv.load(f"{file}?like=../a.nii.gz", kind="label")


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


def test_contours_half_way_between_slices_all_go_to_the_same_side(tmp_path: Path, grid: tv.Grid) -> None:
    heights = (0.5 - 1e-5, 1.5 + 1e-5, 2.5 - 1e-5, 3.5)
    image = tv.load(structure_set(tmp_path, grid, {"a": [ring(k) for k in heights]}), kind="label")
    one = fill(grid.shape[:2], [circle((20.2, 17.1), 9.1)]).sum()
    np.testing.assert_array_equal((image.numpy()[0] > 0).sum((0, 1)), [0, one, one, one, one])


def test_a_structure_in_several_items_is_whole(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(tmp_path, grid, {"a": [ring(1)], "again": [ring(2)]}, numbers=[4, 4])
    image = tv.load(file, kind="label")
    one = fill(grid.shape[:2], [circle((20.2, 17.1), 9.1)]).sum()
    np.testing.assert_array_equal((image.numpy()[0] == 4).sum((0, 1)), [0, one, one, 0, 0])


def test_structure_number_0_gets_another_value(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(tmp_path, grid, {"a": [ring(1)], "b": [ring(3)]}, numbers=[0, 4])
    image = tv.load(file, kind="label")
    assert image.labels == dicom.read_labels(file) == tv.Labels({"b": 4, "a": 5})
    assert np.unique(image.numpy()[0, ..., 1]).tolist() == [0, 5]
    assert any("a: number 0 is the background's, so its value is 5" in n for n in image.header.notes)


def test_what_contours_were_taken_for_is_noted(tmp_path: Path, grid: tv.Grid) -> None:
    rings = [ring(1), ring(1)[::-1], ring(2), ring(2, radius=4), ring(3), ring(3, (28.2, 17.1))]
    file = structure_set(tmp_path, grid, {"a": [*rings, ring(4), ring(4, (5.5, 5.5), 0.3)]})
    notes = io.read_header(file).notes
    assert "a: 1 contours are there twice or more, and count once" in notes
    assert "a: 1 contours lie inside of others: they are holes, or filled where they lie in a hole" in notes
    assert "a: 2 contours cross others of their slice: what either holds counts" in notes
    assert "a: 1 contours hold the centre of no voxel" in notes
    # By CLOSEDPLANAR_XOR, the same contour twice is nothing: the standard says so.
    file = structure_set(tmp_path, grid, {"a": rings}, kind="CLOSEDPLANAR_XOR")
    mask = tv.load(file, kind="label").numpy()[0] > 0
    both = fill(grid.shape[:2], [circle((20.2, 17.1), 9.1), circle((28.2, 17.1), 9.1)]).sum()
    assert (mask[..., 1].sum(), mask[..., 3].sum()) == (0, both)


def test_points_are_left_out_with_a_note(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(tmp_path, grid, {"seed": [np.array([[3.0, 3, 3]])]}, kind="POINT")
    image = tv.load(file, kind="label")
    assert not image.numpy().any()
    assert "seed: 1 points or open contours were left out" in image.header.notes
    assert "seed: no closed contour" in image.header.notes


def test_contours_that_were_cut_off_say_so(tmp_path: Path, grid: tv.Grid) -> None:
    file = structure_set(tmp_path, grid, {"a": [ring(1), ring(2)]})
    content = file.read_bytes()
    assert content.count(b"IS\x04\x00200 ") == 2
    file.write_bytes(content.replace(b"IS\x04\x00200 ", b"IS\x04\x00300 ", 1))
    assert "a: 1 contours have another number of points than they say" in io.read_header(file).notes


@pytest.mark.parametrize("damage", [b"nan", b"1e999", b"x", b"", b"1 1"])
def test_damaged_points_are_named(tmp_path: Path, grid: tv.Grid, damage: bytes) -> None:
    file = structure_set(tmp_path, grid, {"a": [ring(2)]})
    content = file.read_bytes()
    start = content.index(b"\\", content.index(b"CLOSED_PLANAR") + 60) + 1
    end = content.index(b"\\", start)
    file.write_bytes(content[:start] + damage.ljust(end - start) + content[end:])
    with pytest.raises(FileError, match=r"points of a contour can't be read(.|\n)*rt\.dcm"):
        tv.load(file, kind="label")
