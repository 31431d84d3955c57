# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Looks from elsewhere and frames: closed forms, SciPy, nibabel, NumPy, and the world ramp."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import FILL, affine_of, core_and_outside, evaluate, ramp, reads_itself, voxels, world
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects
from scipy.spatial.transform import Rotation
from strategies import any_grid, grids

import truevox as tv
from truevox import GeometryError, GraphError, Grid, Image, Input, Labels, sampling
from truevox.pipeline import Cache, Frame, Plan, Run
from truevox.pipeline.cases import as_case
from truevox.pipeline.draws import Draw
from truevox.pipeline.serial import dump, load

SIDES = Labels({"left": 1, "right": 2}, swap=[("left", "right")])


def linear(image: Image, grid: Grid) -> np.ndarray:
    """(3, 3) world map that the look applied to a grid whose axes are those of the world."""
    return image.grid.affine[:3, :3] @ np.linalg.inv(grid.affine[:3, :3])


# ---- affines ----------------------------------------------------------------------


@given(*[st.floats(-170, 170)] * 3, st.floats(0.5, 2), st.floats(-60, 60))
@settings(max_examples=25)
def test_affine_is_what_it_says(a: float, b: float, c: float, zoom: float, lean: float):
    grid = Grid((5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0]))
    x = ramp(grid)
    turned = tv.Affine(rotation=(a, b, c))(x)
    wanted = Rotation.from_euler("XYZ", [a, b, c], degrees=True).as_matrix()
    np.testing.assert_allclose(linear(turned, grid), wanted, atol=1e-9)
    np.testing.assert_allclose(turned.grid.centre, grid.centre, atol=1e-9)
    zoomed = tv.Affine(scaling=(zoom, 1, 1), translation=(0, 3, 0))(x)
    np.testing.assert_allclose(linear(zoomed, grid), np.diag([1 / zoom, 1, 1]), atol=1e-12)
    np.testing.assert_allclose(zoomed.grid.centre - grid.centre, [0, 3, 0], atol=1e-9)
    leaning = linear(tv.Affine(shear=(0, 0, lean))(x), grid)
    np.testing.assert_allclose(leaning @ [0, 1, 0], [np.tan(np.radians(lean)), 1, 0], atol=1e-9)
    np.testing.assert_allclose(leaning[:, [0, 2]], np.eye(3)[:, [0, 2]], atol=1e-9)
    for out in (turned, zoomed):
        reads_itself(out, grid)


def test_affine_in_the_plane_and_on_the_line():
    plane = Grid((6, 1, 5), np.diag([1.0, 9.0, 2.0, 1.0]))
    out = tv.Affine(rotation=30, scaling=2, shear=20, translation=4)(ramp(plane))
    moved = linear(out, plane)
    np.testing.assert_allclose(moved[1], [0, 1, 0], atol=1e-12)  # nothing leaves the plane
    np.testing.assert_allclose(moved[:, 1], [0, 1, 0], atol=1e-12)
    assert out.grid.centre[1] == pytest.approx(0)
    # The middle axis turns right-handed; K leans towards I, which stays.
    turn = Rotation.from_euler("Y", 30, degrees=True)
    np.testing.assert_allclose(moved @ [2, 0, 0], turn.apply([1, 0, 0]), atol=1e-9)
    lean = np.tan(np.radians(20))
    np.testing.assert_allclose(moved @ [0, 0, 2], turn.apply([lean, 0, 1]), atol=1e-9)
    line = Grid((6,), np.diag([2.0, 1, 1, 1]))
    out = tv.Affine(rotation=30, scaling=2, shear=20, translation=4)(ramp(line))
    np.testing.assert_allclose(out.grid.affine[:3, :3], np.diag([1.0, 1, 1]))
    np.testing.assert_allclose(out.grid.centre - line.centre, [4, 0, 0])


def test_ranges_of_the_random_affine():
    grid = Grid((7, 7, 7), np.diag([1.0, 2.0, 3.0, 1.0]))
    x = ramp(grid)
    angles, leans, zooms = [], [], []
    for seed in range(40):
        rng = lambda: np.random.default_rng(seed)  # noqa: E731, B023
        turned = linear(tv.RandomAffine(rotation=(0, 0, (5, 10)))(x, rng=rng()), grid)
        angles.append(np.degrees(np.arctan2(turned[1, 0], turned[0, 0])))
        leaning = linear(tv.RandomAffine(shear=(0, 0, 15))(x, rng=rng()), grid)
        leans.append(np.degrees(np.arctan(leaning[0, 1])))
        zooms.append(1 / np.diag(linear(tv.RandomAffine(scaling=(1.5, 2.0))(x, rng=rng()), grid)))
        same = 1 / np.diag(linear(tv.RandomAffine(scaling=(1.5, 2.0), isotropic=True)(x, rng=rng()), grid))
        assert np.ptp(same) < 1e-12
        moved = tv.RandomAffine(translation=((2, 3), 0, 0))(x, rng=rng()).grid.centre - grid.centre
        assert 2 <= moved[0] <= 3
        assert np.abs(moved[1:]).max() < 1e-9
        everything = tv.RandomAffine(20, 0.2, 5, shear=10)
        assert np.linalg.det(linear(everything(x, rng=rng()), grid)) == pytest.approx(
            np.linalg.det(linear(tv.RandomAffine(20, 0.2, 5)(x, rng=rng()), grid))
        )  # a shear keeps volumes
    for values, (low, high) in ((angles, (5, 10)), (leans, (-15, 15)), (np.ravel(zooms), (1.5, 2.0))):
        assert low <= np.min(values) < low + 0.25 * (high - low)
        assert high - 0.25 * (high - low) < np.max(values) <= high


# ---- frames ----------------------------------------------------------------------

MOVES = [
    tv.Affine(rotation=(10, 20, 30), scaling=(0.9, 1.1, 1.2), shear=(5, 0, -10), translation=(1, 0, -2)),
    tv.RandomAffine(30, 0.2, 2, shear=15),
]
EXACT = [
    tv.Flip((0, 2)),
    tv.Reorient("PSL"),
    tv.Crop(1, 3),
    tv.Crop(-2),
    tv.CentreCrop(5),
    tv.Pad(margin=2),
    tv.Pad(size=7),
    tv.Pad(multiple_of=4),
]


@given(any_grid(4, 8), st.sampled_from([*MOVES, *EXACT]), st.sampled_from([*MOVES, *EXACT]))
@settings(max_examples=60)
def test_ramp_through_every_pair(grid: Grid, first, second):
    x = ramp(grid)
    one = first(x)
    reads_itself(one, grid)
    for op, out in ((first, one), (second, second(ramp(one.grid)))):
        if op in EXACT:
            assert sampling.coincidence(grid if op is first else one.grid, out.grid) is not None
    node = Input("x", channels=3)
    (both,) = evaluate([second(first(node))], {"x": x})
    # `Input` shows the closest RAS lattice: the same patient.
    core, _ = core_and_outside(grid, both.grid)
    if first in MOVES:
        # The prefix ends with its interpolation: between its voxels and those beyond the scan lies no ramp.
        step = float(sampling.coarsening(grid, one.grid).max())
        core = core_and_outside(grid, both.grid, eps=-step)[0] & core_and_outside(one.grid, both.grid)[0]
    error = np.abs(both.numpy() - world(both.grid))[:, core]
    assert error.max(initial=0) < 1e-2 * grid.spacing.max() + 1e-3


@given(grids(3, 2, 6), st.permutations(("RL", "AP", "SI")), st.integers(0, 7))
@settings(max_examples=25)
def test_reorient_agrees_with_nibabel(grid: Grid, pairs, flips: int):
    codes = "".join(pair[(flips >> k) & 1] for k, pair in enumerate(pairs))
    data = np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape)
    out = tv.Reorient(codes)(Image(data[None], grid))
    transform = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(grid.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    if nib.orientations.aff2axcodes(grid.affine) == tuple(grid.orientation):
        assert np.array_equal(out.numpy()[0], nib.orientations.apply_orientation(data, transform))
    assert out.grid.orientation == codes


def test_crops_and_pads_by_numpy():
    grid = Grid((6, 7, 1), np.diag([2.0, 1.0, 1.0, 1.0]))
    x = Image(torch.arange(42.0).reshape(1, 6, 7, 1), grid, fill=-1.0)
    data = x.numpy()
    assert np.array_equal(tv.Crop((1, 2), (3, 4))(x).numpy(), data[:, 1:4, 2:6])
    assert np.array_equal(tv.Crop(2)(x).numpy(), data[:, 2:, 2:])
    assert np.array_equal(tv.CentreCrop((4, 3))(x).numpy(), data[:, 1:5, 2:5])
    assert np.array_equal(tv.Flip((0, 1))(x).numpy(), data[:, ::-1, ::-1])
    odd = [(0, 0), (1, 2), (1, 1), (0, 0)]
    assert np.array_equal(tv.Pad(size=9)(x).numpy(), np.pad(data, odd, constant_values=-1))
    assert np.array_equal(tv.CentreCrop(9)(x).numpy(), np.pad(data, odd, constant_values=-1))
    multiple = [(0, 0), (1, 1), (0, 1), (0, 0)]
    assert np.array_equal(tv.Pad(multiple_of=8)(x).numpy(), np.pad(data, multiple, constant_values=-1))
    margin = [(0, 0), (2, 2), (1, 1), (0, 0)]
    assert np.array_equal(tv.Pad(margin=(2, 1))(x).numpy(), np.pad(data, margin, constant_values=-1))
    assert tv.Pad(size=3)(x).shape == x.shape


@given(any_grid(3, 8), st.lists(st.floats(0, 1), min_size=6, max_size=6))
@settings(max_examples=40)
def test_a_box_in_mm_is_the_smallest_that_holds_it(grid: Grid, where: list[float]):
    low, high = grid.corners.min(0), grid.corners.max(0)
    one, two = (low + (high - low) * np.array(w) for w in (where[:3], where[3:]))
    two = np.where(np.abs(two - one) < 0.01, one + 0.01, two)
    out = tv.Crop(box_mm=(one.tolist(), two.tolist()))(ramp(grid)).grid
    corners = np.array([[(one, two)[b[a]][a] for a in range(3)] for b in np.ndindex(2, 2, 2)])
    index = out.to_index(corners)
    assert index.min() >= -0.5 - 1e-3
    assert (index <= np.array(out.shape) - 0.5 + 1e-3).all()
    for axis in range(3):  # one voxel less on either side would not
        assert index[:, axis].min() <= 0.5 + 1e-3
        assert index[:, axis].max() >= out.shape[axis] - 1.5 - 1e-3
    assert sampling.coincidence(grid, out) is not None


# ---- crop to a mask ----------------------------------------------------------------------


@given(grids(3, 4, 9), st.integers(0, 99), st.floats(0, 6))
@settings(max_examples=40)
def test_crop_to_mask_agrees_with_scipy(grid: Grid, seed: int, margin: float):
    data = (np.random.default_rng(seed).random(grid.shape) > 0.97).astype(np.uint8)
    data[tuple(n // 2 for n in grid.shape)] = 1
    mask = Image(data[None], grid, "label")
    x = ramp(grid)
    out = tv.CropToMask(mask)(x)
    box = find_objects(data)[0]
    assert np.array_equal(out.numpy(), x[(slice(None), *box)].numpy())
    assert np.array_equal(tv.CropToMask()(mask).numpy(), mask[(slice(None), *box)].numpy())
    wide = tv.CropToMask(mask, margin)(x).grid
    for axis, span in enumerate(box):
        more = int(np.ceil(margin / grid.spacing[axis] - 1e-4))
        low, high = max(span.start - more, 0), min(span.stop + more, grid.shape[axis])
        assert wide.shape[axis] == high - low


def test_crop_to_a_mask_on_another_grid():
    grid = Grid((10, 10, 10))
    fine = Grid((20, 20, 20), affine_of("LPS", (0.5, 0.5, 0.5), (9.25, 9.25, -0.25)))
    data = np.zeros((1, 20, 20, 20), np.uint8)
    data[:, 4:8, 10:12, 1:19] = 1
    out = tv.CropToMask(Image(data, fine, "label"))(ramp(grid))
    # Index u of the fine grid lies at 9.25 - u / 2 along R and A, at u / 2 - 0.25 along S.
    assert np.allclose(out.grid.to_world((0, 0, 0)), [6, 4, 0])
    assert out.grid.shape == (2, 1, 10)


def test_the_box_is_found_once_and_kept(tmp_path):
    x, y = Input("x"), Input("y", kind="label")
    out = tv.CropToMask(y, margin_mm=1)(x)
    plan = Plan([tv.RandomFlip()(out)])
    names = {type(c.op).__name__ for c in plan.ends}
    assert "Bounds" in names
    data = np.zeros((1, 8, 8, 8), np.uint8)
    data[:, 3:5, 3:5, 3:5] = 1
    nib.save(nib.Nifti1Image(data[0], np.eye(4)), tmp_path / "y.nii")
    nib.save(nib.Nifti1Image(data[0].astype(np.float32), np.eye(4)), tmp_path / "x.nii")
    (tmp_path / "cohort.csv").write_text("case,x,y\na,x.nii,y.nii\n")
    case = next(iter(tv.Cohort.from_csv(tmp_path / "cohort.csv")))
    for _ in range(2):
        run = Run(plan, cache=Cache(tmp_path / "cache"))
        lazy = run.values(plan.outputs[0], Frame([case], [Draw(0, 0)]))[0]
        assert lazy.grid.shape == (4, 4, 4)
        assert float(lazy.image().data.sum()) == 8
        assert not run.remarks


def test_an_empty_mask_leaves_everything_and_says_so():
    x, y = Input("x"), Input("y", kind="label")
    out = tv.CropToMask(y)(x)
    grid = Grid((5, 5, 5))
    case = as_case({"x": ramp(grid)[:1], "y": Image(np.zeros((1, 5, 5, 5), np.uint8), grid, "label")})
    run = Run(Plan([out]))
    assert run.values(out, Frame([case], [Draw(0, 0)]))[0].grid.shape == (5, 5, 5)
    assert list(run.remarks) == ["CropToMask.1: empty mask, nothing cropped"]


# ---- mirrors, files, refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("op", [tv.Flip(0), tv.Reorient("LAS")])
def test_sides_change_places_in_a_mirror(op):
    grid = Grid((4, 3, 2))
    data = np.where(voxels(grid)[..., 0] < 2, 1, 2).astype(np.uint8)
    y = Image(data[None], grid, "label", labels=SIDES)
    # A body seen in a mirror: what is left in the picture is labelled left again.
    assert np.array_equal(op(y).numpy()[0], data)
    assert np.array_equal(tv.Reorient("LPS")(y).numpy()[0], data[::-1, ::-1])
    x, label = Input("x"), Input("y", kind="label", labels=SIDES)
    scan, seen = evaluate(list(op(x, label)), {"x": ramp(grid)[:1], "y": y})
    assert np.array_equal(seen.numpy()[0], data)
    assert np.array_equal(scan.numpy()[0], ramp(grid).numpy()[0, ::-1])


def test_saved_and_loaded_they_look_the_same():
    x, y = Input("x", channels=3), Input("y", kind="label")
    outputs = [
        op(x)
        for op in (
            *MOVES,
            *EXACT,
            tv.CropToMask(y, 1.5),
            tv.CropToMask(),
            tv.Crop(box_mm=((0, 0, 0), (3, 3, 3))),
        )
    ]
    keys = Plan(outputs).keys
    again, _ = load(dump(outputs, keys, lambda v: None), lambda v: v)
    grid = Grid((6, 6, 6))
    label = np.zeros((1, 6, 6, 6), np.uint8)
    label[:, 2:4, 3, 3] = 1
    case = {"x": ramp(grid), "y": Image(label, grid, "label")}
    for one, two in zip(evaluate(outputs, case), evaluate(again, case), strict=True):
        assert one.grid == two.grid
        assert torch.equal(one.data, two.data)
    assert FILL in evaluate(again, case)[5].numpy()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tv.Affine(scaling=0), "positive"),
        (lambda: tv.Affine(shear=95), "below 90"),
        (lambda: tv.Affine(rotation=(1, 2)), "one per axis"),
        (lambda: tv.RandomAffine(scaling=1.5), "positive"),
        (lambda: tv.RandomAffine(shear=(0, 90)), "below 90"),
        (lambda: tv.RandomAffine(rotation=(5, 1)), "low up to high"),
        (lambda: tv.Flip(3), "0, 1 or 2"),
        (lambda: tv.Crop(1, box_mm=((0, 0, 0), (1, 1, 1))), "not both"),
        (lambda: tv.Crop(box_mm=((0, 0, 0), (1, 1, 0))), "differ"),
        (lambda: tv.Pad(), "one of"),
        (lambda: tv.Pad(margin=1, size=2), "one of"),
        (lambda: tv.Pad(margin=-1), "takes none away"),
        (lambda: tv.CropToMask(margin_mm=-1), "not negative"),
        (lambda: tv.Crop(9)(ramp(Grid((5, 5, 5)))), "beyond the end"),
        (lambda: tv.Crop(0.5)(ramp(Grid((5, 5, 5)))), "whole number"),
    ],
)
def test_refused(make, text):
    with pytest.raises(GraphError, match=text):
        make()


def test_an_orientation_names_three_directions():
    with pytest.raises(GeometryError, match="L or R"):
        tv.Reorient("RAX")
