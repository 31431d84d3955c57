# pyright: reportArgumentType=false, reportIndexIssue=false
"""Coarser grids: volumes stay, border included, whatever the orientation; decided by the length of a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import ramp, reads_itself
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grids, rotation

import truevox as tv
from truevox import Grid, Image, Labels, kernels, sampling


def volume_of(image: Image) -> np.ndarray:
    """Per channel, in mm³: shares times voxels."""
    return image.numpy().sum((1, 2, 3), dtype=np.float64) * image.grid.voxel_volume


def turned(grid: Grid, step: float, angles, shift=0.0) -> Grid:
    """Cubes of ``step`` mm in any orientation that hold a grid."""
    size = int(np.ceil(np.linalg.norm(grid.corners[7] - grid.corners[0]) / step)) + 2
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) * step
    affine[:3, 3] = grid.centre - affine[:3, :3] @ (np.full(3, (size - 1) / 2) + shift)
    return Grid((size, size, size), affine)


@given(grids(3, 2, 9), st.tuples(*[st.floats(0.3, 5)] * 3), st.permutations(range(3)), st.integers(0, 7))
@settings(max_examples=60)
def test_shares_keep_their_volume_up_to_the_border(source: Grid, factor, order, flips: int):
    data = np.random.default_rng(flips).random((2, *source.shape), np.float32)
    if min(factor) < 1:  # finer samples are no averages: between voxels that differ a little is lost or won
        data[:] = data[:, :1, :1, :1]
    # A margin, as with_spacing may leave out 1 % of a voxel.
    target = source.with_spacing((source.spacing * factor).tolist()).pad(1)
    target = target.permute(order).flip([a for a in range(3) if flips >> a & 1])
    seen = Image(data, source, "probability").on(target)
    np.testing.assert_allclose(volume_of(seen), volume_of(Image(data, source)), rtol=1e-5)
    assert seen.data.min() >= 0
    assert seen.data.max() <= 1 + 1e-6


@given(grids(3, 3, 8), st.tuples(*[st.floats(1.51, 4)] * 3))
@settings(max_examples=30)
def test_labels_keep_their_volume_up_to_the_border(source: Grid, factor):
    data = np.random.default_rng(0).integers(0, 3, (1, *source.shape)).astype(np.uint8)
    label = Image(data, source, "label", labels=Labels({"a": 1, "b": 2}))
    seen = label.on(source.with_spacing((source.spacing * factor).tolist()).pad(1))
    for value, name in ((1, "a"), (2, "b")):
        wanted = (data == value).sum() * source.voxel_volume_ml
        assert float(tv.volume(seen)[name]) == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(seen.numpy().sum(0), 1, atol=1e-5)


def test_a_bar_at_the_border_stays_as_long_as_it_is():
    bar = Image(np.ones((1, 10, 1, 1), np.uint8), Grid((10,)), "label", labels=Labels({"bar": 1}))
    coarse = bar.on(bar.grid.with_spacing((4, 1, 1)))  # three voxels of 4 mm: the outer two reach out by 1 mm
    assert coarse.data.flatten().tolist() == [0.75, 1.0, 0.75]
    shares = Image(torch.ones(1, 10, 1, 1), bar.grid, "probability")
    assert shares.on(shares.grid.with_spacing((0.75, 1, 1))).data.sum() * 0.75 == pytest.approx(10, abs=1e-5)
    # Intensities: what was not measured does not count.
    assert bool((Image(shares.data, bar.grid).on(coarse.grid).data == 1).all())


def test_what_lies_outside_takes_part_with_its_own_values():
    label = Image(
        np.ones((1, 4, 1, 1), np.uint8), Grid((4,)), "label", fill=2, labels=Labels({"a": 1, "b": 2})
    )
    coarse = label.on(Grid((2,), np.diag([3.0, 1, 1, 1])))  # from -1.5 to 1.5 and on to 4.5
    np.testing.assert_allclose(
        coarse.numpy()[:, :, 0, 0], [[0, 0], [2 / 3, 2 / 3], [1 / 3, 1 / 3]], atol=1e-6
    )
    nan = Image(torch.ones(1, 4, 1, 1), Grid((4,)), "probability", fill=float("nan"))
    assert nan.on(Grid((2,), np.diag([3.0, 1, 1, 1]))).data.isnan().flatten().tolist() == [True, True]
    assert nan.on(Grid((2,)).transformed(np.eye(4)).crop((1, 0, 0), (2, 1, 1))).data.tolist() == [
        [[[1]], [[1]]]
    ]


@pytest.mark.parametrize("step", [1.6, 2.0, 2.1, 2.7])
@pytest.mark.parametrize("angles", [(0, 0, np.pi / 4), (0.3, 1.0, 0.2)])
def test_a_thin_plate_keeps_its_volume_in_any_orientation(step: float, angles):
    grid = Grid((24, 24, 6), np.diag([1.0, 1.0, 1.0, 1.0]))
    i, j, _ = np.indices(grid.shape)
    plate = ((i == j) & (i > 3) & (i < 20)).astype(np.uint8)[None]
    label = Image(plate, grid, "label", labels=Labels({"plate": 1}))
    ratios = []
    for shift in np.arange(6) / 6:
        seen = label.on(turned(grid, step, angles, shift))
        assert seen.kind == "probability"
        ratios.append(float(volume_of(seen)[0] / plate.sum()))
    # One voxel thick: between the parts of a box, and over their shifts, a few per cent remain.
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)
    assert min(ratios) > 0.94
    assert max(ratios) < 1.06


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.floats(1.6, 4), st.integers(0, 9))
@settings(max_examples=15)
def test_blocks_at_the_border_keep_their_volume_in_any_orientation(angles, step: float, seed: int):
    grid = Grid((10, 9, 8), np.diag([1.0, 1.5, 0.8, 1]))
    shares = Image(
        np.random.default_rng(seed).random((1, 1, 1, 1)) * np.ones((1, 10, 9, 8)), grid, "probability"
    )
    seen = shares.on(turned(grid, step, angles))
    assert volume_of(seen)[0] == pytest.approx(volume_of(shares)[0], rel=0.02)


@pytest.mark.parametrize(
    ("spacing", "axis", "step", "coarse"),
    [
        ((1, 1, 1), (1, 1, 0), 1.45, False),
        ((1, 1, 1), (1, 1, 0), 1.55, True),  # no entry of the matrix is above 1.1
        ((1, 1, 1), (1, 1, 1), 1.55, True),
        ((1, 1, 5), (0, 0, 1), 2.0, False),  # 2 mm are less than half of a thick slice
        ((1, 1, 5), (1, 0, 1), 2.1, False),  # (1.48, 0, 0.3) voxels: as long as 1.51
        ((1, 1, 5), (1, 0, 1), 2.0, False),  # (1.41, 0, 0.28) voxels: as long as 1.44
        ((1, 1, 5), (1, 0, 1), 2.2, True),
    ],
)
def test_the_length_of_a_step_decides(spacing, axis, step: float, coarse: bool):
    grid = Grid((8, 8, 8), np.diag([*spacing, 1.0]))
    first = np.array(axis) / np.linalg.norm(axis)
    second = np.linalg.svd(first[None])[2][1:]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([first * step, *second * 0.5], 1)
    affine[:3, 3] = grid.centre
    target = Grid((2, 2, 2), affine)
    length = np.linalg.norm(first * step / spacing)
    assert sampling.coarsening(grid, target)[0] == pytest.approx(length)
    assert (length > 1.5) == (coarse or (step, spacing[2]) == (2.1, 5))
    label = Image(np.ones((1, 8, 8, 8), np.uint8), grid, "label", labels=Labels({"a": 1}))
    assert label.on(target).kind == ("probability" if length > 1.5 else "label")


def test_the_same_zoom_averages_whatever_the_angle():
    label = Image(np.ones((1, 16, 16, 4), np.uint8), Grid((16, 16, 4)), "label", labels=Labels({"a": 1}))
    for angle in (0, 20, 45, 90):
        assert tv.Affine(rotation=(0, 0, angle), scaling=(0.48, 0.48, 1))(label).kind == "probability"


def test_an_oblique_average_is_the_straight_one_in_the_limit():
    """A grid turned by very little gives what weights per axis give."""
    grid = Grid((12, 11, 10))
    data = np.random.default_rng(0).random((2, *grid.shape), np.float32)
    target = grid.lattice((0.7, 1.1, 0.4), (2.0, 3.0, 1.8), (5, 3, 5))
    little = target.transformed(grid.about_centre(rotation((3e-4, -3e-4, 2e-4))))
    for kind in ("probability", "scalar"):
        image = Image(data, grid, kind)
        inner = (slice(None), *[slice(1, -1)] * 3)
        straight, oblique = image.on(target).numpy()[inner], image.on(little).numpy()[inner]
        np.testing.assert_allclose(oblique, straight, atol=4e-3 if kind == "probability" else 0.08)
        assert not np.array_equal(oblique, straight)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_averages_agree_with_their_twins(shares: bool, seed: int):
    draw = np.random.default_rng(seed)
    volume = draw.random((2, 6, 5, 4 if seed else 1)).astype(np.float32)
    matrix = draw.normal(size=(3, 4)) * [[1.5, 1.5, 1.5, 3]]
    averaged = np.linalg.norm(matrix[:, :3], axis=0) > 1.5
    averaged[seed % 3] = True
    field = (draw.normal(size=(3, 3, 4, 3)), draw.normal(size=(3, 4))) if seed == 3 else None
    for name, weights in (("average_boxes", None), ("weigh", draw.normal(size=(7, 5)))):
        if weights is not None:
            weights[draw.random(weights.shape) < 0.4] = 0
            pair = [getattr(kernels, n)(volume, weights, 1) for n in (name, name + "_numpy")]
        else:
            arguments = (volume, matrix, (5, 4, 6), np.array([0.5, -1.0]), averaged)
            pair = [
                getattr(kernels, n)(*arguments, shares=shares, field=field) for n in (name, name + "_numpy")
            ]
        np.testing.assert_allclose(*pair, atol=2e-5)


@given(grids(2, 4, 9) | grids(1, 4, 9), st.floats(1.6, 4), st.floats(-2, 2))
@settings(max_examples=25)
def test_axes_of_one_voxel_stay_as_they_are(source: Grid, step: float, angle: float):
    """A plane or a line that is looked at from its own plane: thickness is no coarser step."""
    wide = [a for a in range(3) if source.shape[a] > 1]
    factor = np.where(np.array(source.shape) > 1, step, 3.0)
    target = source.with_spacing((source.spacing * factor).tolist())
    if len(wide) == 2:
        turn = np.zeros(3)
        turn[next(a for a in range(3) if a not in wide)] = angle
        frame = source.affine[:3, :3] / source.spacing
        target = target.transformed(source.about_centre(frame @ rotation(turn) @ np.linalg.inv(frame)))
    ones = Image(torch.ones(1, *source.shape), source)
    reads_itself(ramp(source).on(target), source)
    seen = ones.on(target).numpy()
    assert set(np.unique(np.round(seen, 5)).tolist()) <= {0.0, 1.0}


def test_what_is_not_finite_shows_only_where_it_is_read():
    data = torch.rand(1, 12, 12, 12)
    data[0, 5, 5, 5] = torch.nan
    data[0, 0, 0, 0] = torch.inf
    for kind in ("scalar", "probability"):
        seen = Image(data, Grid((12, 12, 12)), kind).on(Grid((12, 12, 12)).with_spacing(2.0)).data[0]
        assert 1 <= int(seen.isnan().sum()) <= 8
        assert bool(seen[4:].isfinite().all())


def test_huge_steps_end_in_time():
    image = Image(torch.ones(1, 6, 6, 6), Grid((6, 6, 6)), "probability")
    seen = image.on(turned(image.grid, 4000.0, (0.1, 0.2, 0.3)).crop((1, 1, 1), (1, 1, 1)))
    assert 0 <= float(seen.data.max()) < 1e-3


@pytest.mark.parametrize("names", [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "both": [1, 2]}])
def test_what_is_not_annotated_has_no_share(names):
    table = Labels(names, ignore=9)
    line = np.array([1, 1, 9, 1, 9, 9, 0, 1, 9, 9, 9, 0], np.uint8).reshape(1, 12, 1, 1)
    coarse = Image(line, Grid((12,)), "label", fill=9, labels=table).on(
        Grid((12,)).lattice((0.5, 0, 0), (2, 1, 1), (6, 1, 1))
    )
    a = coarse.numpy()[table.channel_names["a"], :, 0, 0]
    np.testing.assert_array_equal(a, [1, 1, np.nan, 0.5, np.nan, 0])
    if table.activation == "softmax":
        np.testing.assert_array_equal(coarse.numpy().sum(0).ravel(), [1, 1, np.nan, 1, np.nan, 1])
    # Outside of the scan nothing is annotated either: a voxel that reaches out is what its part inside is.
    wide = Image(line[:, :2], Grid((2,)), "label", fill=9, labels=table).on(
        Grid((2,)).lattice((0.5, 0, 0), (3, 1, 1), (2, 1, 1))
    )
    np.testing.assert_allclose(wide.numpy()[table.channel_names["a"], :, 0, 0], [1, np.nan])
