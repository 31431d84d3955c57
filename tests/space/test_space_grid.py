# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Grid: the algebra of places, against nibabel and closed forms."""

from __future__ import annotations

import pickle

import nibabel as nib
import numpy as np
import pytest
from helpers import affine_of, voxels, world
from hypothesis import assume, given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes, axcodes2ornt, io_orientation, ornt_transform
from strategies import any_grid, chains, grids, rotation

from truevox import GeometryError, Grid


@given(grids())
def test_spacing_and_volume_and_corners(grid: Grid):
    assert np.allclose(grid.spacing, nib.affines.voxel_sizes(grid.affine))
    # The volume of the box from its corners, as a triple product of edges.
    corner = grid.corners.reshape(2, 2, 2, 3)
    edges = [
        corner[1, 0, 0] - corner[0, 0, 0],
        corner[0, 1, 0] - corner[0, 0, 0],
        corner[0, 0, 1] - corner[0, 0, 0],
    ]
    volume = abs(np.dot(np.cross(edges[0], edges[1]), edges[2]))
    assert np.isclose(grid.voxel_volume * np.prod(grid.shape), volume, rtol=1e-6)
    assert grid.voxel_volume_ml * 1000 == pytest.approx(grid.voxel_volume)
    assert np.allclose(grid.centre, grid.corners.mean(0), atol=1e-6)


def test_volume_of_a_sheared_voxel_is_the_determinant():
    affine = np.eye(4)
    affine[0, 1] = 1.0  # the second axis leans: its length is sqrt(2), the volume stays 1
    grid = Grid((2, 2, 2), affine)
    assert grid.spacing.tolist() == [1.0, np.sqrt(2), 1.0]
    assert grid.voxel_volume == pytest.approx(1.0)


@given(any_grid())
def test_world_and_index_are_inverse(grid: Grid):
    index = voxels(grid).astype(float) + 0.25
    assert np.allclose(grid.to_index(grid.to_world(index)), index, atol=1e-8)
    assert np.allclose(np.moveaxis(grid.to_world(voxels(grid)), -1, 0), world(grid))
    assert np.allclose(grid.to_world((0, 0, 0)), grid.affine[:3, 3])


@given(any_grid(), any_grid())
def test_index_map_takes_indices_to_the_same_point(one: Grid, other: Grid):
    index = np.array([1.5, -2.0, 3.0])
    moved = one.index_map(other) @ [*index, 1]
    assert np.allclose(one.to_world(moved[:3]), other.to_world(index), atol=1e-6)


@given(grids())
def test_orientation_agrees_with_nibabel(grid: Grid):
    theirs = "".join(aff2axcodes(grid.affine))
    cosines = np.abs(grid.affine[:3, :3] / grid.spacing)
    assume(np.sort(cosines, axis=0)[-1].min() > 0.72)  # else two answers are right
    assert grid.orientation == theirs


@pytest.mark.parametrize("stored", ["RAS", "LAS", "LPS", "PSR", "IRA", "SPL"])
@pytest.mark.parametrize("wanted", ["RAS", "LPI", "ASR"])
def test_reorient_agrees_with_nibabel(stored: str, wanted: str):
    affine = affine_of(stored, (1, 2, 3), (10, -5, 7))
    affine[:3, :3] = rotation((0.1, -0.15, 0.05)) @ affine[:3, :3]
    data = np.arange(24.0).reshape(2, 3, 4)
    image = nib.Nifti1Image(data, affine)
    change = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(wanted)))
    theirs = image.as_reoriented(change)
    ours = Grid(data.shape, affine).reorient(wanted)
    assert ours.shape == theirs.shape
    assert np.allclose(ours.affine, theirs.affine, atol=1e-9)
    assert ours.orientation == wanted


@given(any_grid(), chains(smooth=False))
def test_exact_operations_stay_on_the_lattice(grid: Grid, chain):
    out = grid
    for step in chain:
        out = step(out)
    index = grid.to_index(out.to_world(voxels(out)))
    assert np.allclose(index, np.rint(index), atol=1e-6)
    # Flips, permutations, crops and unit steps keep the size of a voxel.
    assert np.isclose(out.voxel_volume, grid.voxel_volume, rtol=1e-9)


@given(any_grid())
def test_flip_and_permute_undo_themselves(grid: Grid):
    assert grid.flip((0, 2)).flip((0, 2)).same_as(grid, 1e-6)
    assert grid.permute((2, 0, 1)).permute((1, 2, 0)) == grid
    assert grid.flip(1).handedness == -grid.handedness
    assert grid.permute((1, 0, 2)).handedness == -grid.handedness
    assert grid.permute((1, 2, 0)).handedness == grid.handedness


@given(any_grid(), st.tuples(*[st.integers(0, 4)] * 6))
def test_pad_and_crop_undo_each_other(grid: Grid, by):
    padded = grid.pad(by[:3], by[3:])
    assert padded.shape == tuple(n + a + b for n, a, b in zip(grid.shape, by[:3], by[3:], strict=True))
    assert padded.crop(by[:3], grid.shape).same_as(grid, 1e-6)


@given(grids(most=30), st.floats(0.3, 5))
def test_with_spacing_keeps_the_centre_and_the_box(grid: Grid, spacing: float):
    new = grid.with_spacing([spacing] * 3)
    assert np.allclose(new.spacing, spacing)
    assert np.allclose(new.centre, grid.centre, atol=1e-6)
    assert np.allclose(np.cross(new.affine[:3, 0], grid.affine[:3, 0]), 0, atol=1e-9)
    size, old = np.array(new.shape) * new.spacing, np.array(grid.shape) * grid.spacing
    assert (size >= old - 0.0101 * spacing).all()  # nothing at the border gets lost
    assert (size <= old + spacing).all()
    # All its voxel centres lie inside the old box: there is something to read.
    index = grid.to_index(new.to_world(voxels(new)))
    assert ((index >= -0.5 - 1e-6) & (index <= np.array(grid.shape) - 0.5 + 1e-6)).all()


def test_with_spacing_forgives_the_noise_of_float32_headers():
    affine = np.diag([0.9375, 0.9375, 1.2000000476837158, 1])
    assert Grid((256, 256, 180), affine).with_spacing((0.93749994, 0.93750006, 1.2)).shape == (256, 256, 180)
    assert Grid((256, 256, 1)).with_spacing(0.5).shape == (512, 512, 1)


def test_about_centre_leaves_the_centre():
    grid = Grid((5, 6, 7), affine_of("LPS", (1, 2, 3), (3, 4, 5)))
    turned = grid.transformed(grid.about_centre(rotation((0.3, 0.2, 0.1))))
    assert np.allclose(turned.centre, grid.centre)
    assert np.allclose(turned.spacing, grid.spacing)
    # The distance between two corners is what a rotation keeps.
    assert np.linalg.norm(turned.corners[0] - turned.corners[7]) == pytest.approx(
        np.linalg.norm([5, 12, 21]), abs=1e-9
    )


def test_slices_like_arrays():
    grid = Grid((10, 11, 12), affine_of("RAS", (1, 2, 3)))
    index = np.moveaxis(voxels(grid), -1, 0)
    for key in [
        np.s_[2:7],
        np.s_[:, ::3],
        np.s_[..., ::-2],
        np.s_[-4:, 5:6, 10:2:-3],
        np.s_[...],
        np.s_[::-1, ..., 1:],
    ]:
        keys = key if isinstance(key, tuple) else (key,)
        wanted = (
            index[(slice(None), *(k for k in keys))] if Ellipsis not in keys else index[(slice(None), *keys)]
        )
        part = grid[key]
        assert part.shape == wanted.shape[1:]
        assert np.allclose(part.to_world(voxels(part)), grid.to_world(np.moveaxis(wanted, 0, -1)))


def test_bounding_box():
    mask = np.zeros((6, 7, 8))
    mask[2, 3, 4] = mask[4, 3, 6] = 1
    box = Grid((6, 7, 8)).bounding_box(mask)
    assert box.shape == (3, 1, 3)
    assert box.to_world((0, 0, 0)).tolist() == [2, 3, 4]


@given(any_grid(), st.floats(0.01, 5))
def test_displacement_of_a_shift_is_its_length(grid: Grid, length: float):
    world_map = np.eye(4)
    world_map[:3, 3] = length * np.array([0.6, 0.0, -0.8])
    moved = grid.transformed(world_map)
    assert grid.displacement(moved) == pytest.approx(length, abs=1e-6)
    assert grid.same_as(moved, length + 1e-3)
    assert not grid.same_as(moved, length - 1e-3)


def test_displacement_between_shapes_is_infinite():
    assert Grid((2, 2, 2)).displacement(Grid((2, 2, 3))) == np.inf


def test_values_are_immutable_and_travel():
    grid = Grid((3, 4, 5), affine_of("PIR", (1, 2, 3)))
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert hash(pickle.loads(pickle.dumps(grid))) == hash(grid)
    with pytest.raises(AttributeError):
        grid.shape = (1, 2, 3)  # type: ignore[misc]
    with pytest.raises(ValueError):
        grid.affine[0, 0] = 2


@pytest.mark.parametrize(
    ("shape", "affine", "text"),
    [
        ((0, 2, 2), None, "at least one voxel"),
        ((2, 2, 2, 2), None, "1 to 3 axes"),
        ((2.5, 2, 2), None, "at least one voxel"),
        ((2, 2, 2), np.zeros((4, 4)), "last row"),
        ((2, 2, 2), np.diag([1, 1, 0, 1]), "singular"),
        ((2, 2, 2), np.diag([1, np.nan, 1, 1]), "not finite"),
        ((2, 2, 2), np.diag([1, np.inf, 1, 1]), "not finite"),
        ((2, 2, 2), np.ones((3, 4)), "4x4"),
    ],
)
def test_refuses_what_is_no_grid(shape, affine, text):
    with pytest.raises(GeometryError, match=text):
        Grid(shape, affine)


def test_refuses_parallel_axes():
    affine = np.eye(4)
    affine[:3, 1] = [1, 1e-9, 0]
    with pytest.raises(GeometryError, match="singular"):
        Grid((2, 2, 2), affine)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda g: g[3], "slices only"),
        (lambda g: g[5:5], "no voxel"),
        (lambda g: g[:, :, :, :], "slices only"),
        (lambda g: g.permute((0, 1, 1)), "permutation"),
        (lambda g: g.flip(-1), "0, 1 or 2"),
        (lambda g: g.reorient("RAR"), "orientation"),
        (lambda g: g.reorient("RA"), "orientation"),
        (lambda g: g.with_spacing(0), "positive"),
        (lambda g: g.with_spacing((1, np.nan, 1)), "positive"),
        (lambda g: g.bounding_box(np.zeros(g.shape)), "without foreground"),
        (lambda g: g.bounding_box(np.ones((2, 2, 2))), "not on this grid"),
        (lambda g: g.pad(-3), "at least one voxel"),
        (lambda g: g.transformed(np.full((4, 4), np.nan)), "last row|not finite"),
    ],
)
def test_refuses_what_can_not_be_done(call, text):
    with pytest.raises(GeometryError, match=text):
        call(Grid((5, 5, 5)))


def test_a_unit_stays_with_every_grid_made_of_it():
    grid = Grid((4, 5, 6), np.diag([-1, -1, 1, 1]), unit="px")
    made = [
        grid[1:3],
        grid.pad(2),
        grid.flip(0),
        grid.permute((2, 0, 1)),
        grid.reorient(),
        grid.with_spacing(2),
    ]
    made += [grid.transformed(np.eye(4)), pickle.loads(pickle.dumps(grid)), grid.covering(Grid((2, 2, 2)))]
    assert {one.unit for one in made} == {"px"}
    assert grid != Grid(grid.shape, grid.affine)
    assert grid.same_as(Grid(grid.shape, grid.affine))
    assert repr(grid) == "Grid(4x5x6  1.00x1.00x1.00 px)"
    with pytest.raises(GeometryError, match="mm or px"):
        Grid((4, 5, 6), unit="cm")
