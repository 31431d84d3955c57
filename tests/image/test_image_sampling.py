# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Image.on: the world ramp, exact slicing, and independent interpolators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import FILL, core_and_outside, ramp, reads_itself, seen_from, voxels, world
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from strategies import any_grid, chains, grids

from truevox import GeometryError, Grid, Image, Labels, kernels, sampling


@given(any_grid(), chains())
@settings(max_examples=300)
def test_world_ramp_after_any_chain(source: Grid, chain):
    target = source
    for step in chain:
        target = step(target)
    seen = ramp(source).on(target, antialias=False)
    assert seen.grid == target
    reads_itself(seen, source)


@given(any_grid(4, 12), chains(most=2), st.lists(st.floats(1.0, 3.5), min_size=3, max_size=3))
@settings(max_examples=150)
def test_world_ramp_through_antialiased_coarsening(source: Grid, chain, factor):
    target = source
    for step in chain:
        target = step(target)
    stride = np.where(np.array(target.shape) > 1, factor, 1.0)
    target = target.lattice(0.3 * (np.array(target.shape) > 1), stride, target.shape)
    reads_itself(ramp(source).on(target), source)


@given(grids(2, 6, 12), st.floats(1.6, 3.0))
def test_coarse_ramp_up_to_the_border(source: Grid, factor: float):
    """Axis-aligned averaging boxes shrink evenly, so that the ramp holds to the last voxel."""
    target = source.with_spacing(
        [s * factor if n > 1 else s for s, n in zip(source.spacing, source.shape, strict=True)]
    )
    seen = ramp(source).on(target).numpy()
    inside = np.clip(seen_from(source, target), 0, np.array(source.shape) - 1)
    np.testing.assert_allclose(seen, np.moveaxis(source.to_world(inside), -1, 0), atol=1e-2)


@given(any_grid(), chains(smooth=False), st.data())
@settings(max_examples=150)
def test_slicing_is_exact_and_fills_outside(source: Grid, chain, data):
    target = source
    for step in chain:
        target = step(target)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind, dtype = data.draw(
        st.sampled_from([("scalar", np.float32), ("label", np.uint8), ("scalar", np.int16)])
    )
    values = rng.integers(0, 200, (2, *source.shape)).astype(dtype)
    fill = 7.0
    seen = Image(values, source, kind, fill).on(target)
    index = np.rint(seen_from(source, target)).astype(int)
    inside = ((index >= 0) & (index < source.shape)).all(-1)
    i, j, k = np.moveaxis(np.clip(index, 0, np.array(source.shape) - 1), -1, 0)
    wanted = np.where(inside, values[:, i, j, k], dtype(fill))
    assert seen.data.numpy().dtype == dtype
    assert np.array_equal(seen.numpy(), wanted)


def test_slicing_calls_no_interpolation(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("interpolated")

    for name in ("sample_linear", "sample_nearest"):
        monkeypatch.setattr(kernels, name, refuse)
    monkeypatch.setattr(sampling, "_separable", refuse)
    image = ramp(Grid((6, 7, 8)))
    grid = image.grid.flip((0, 1)).permute((2, 0, 1)).crop((-2, 1, 3), (5, 9, 4))
    assert image.on(grid).grid == grid
    # A header's rounding is no reason to interpolate.
    nearly = grid.transformed(_shift((5e-6, 5e-6, 5e-6)))
    assert torch.equal(image.on(nearly).data, image.on(grid).data)
    with pytest.raises(AssertionError, match="interpolated"):
        image.on(grid.transformed(_shift((5e-4, 0, 0))))


def test_a_crop_is_a_view():
    image = Image(torch.zeros(1, 6, 6, 6), Grid((6, 6, 6)))
    part = image.on(image.grid[2:5])
    image.data[:, 2] = 1
    assert float(part.data[:, 0].mean()) == 1.0


@given(grids(3, 3, 8), chains(most=3))
@settings(max_examples=60)
def test_linear_agrees_with_scipy(source: Grid, chain):
    """scipy's mode 'nearest' clamps: voxels within the box are compared, the shell included."""
    target = source
    for step in chain:
        target = step(target)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, *source.shape)).astype(np.float32)
    seen = Image(values, source).on(target, antialias=False).numpy()
    index = np.moveaxis(seen_from(source, target), -1, 0)
    box = np.moveaxis(((index.T > -0.499) & (np.array(source.shape) - 0.501 > index.T)).all(-1).T, 0, 0)
    for c in range(2):
        theirs = ndimage.map_coordinates(values[c].astype(np.float64), index, order=1, mode="nearest")
        np.testing.assert_allclose(seen[c][box], theirs[box], atol=2e-4)


def test_linear_agrees_with_scipy_affine_transform():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(9, 8, 7)).astype(np.float32)
    matrix = np.array([[0.8, 0.1, 0.05], [-0.1, 0.9, 0.1], [0.02, -0.1, 0.7]])
    offset = np.array([0.7, 0.9, 0.6])
    theirs = ndimage.affine_transform(
        values.astype(np.float64), matrix, offset, (8, 6, 7), order=1, mode="nearest"
    )
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, offset
    ours = Image(values[None], Grid(values.shape)).on(Grid((8, 6, 7), affine), antialias=False)
    core, _ = core_and_outside(Grid(values.shape), ours.grid)
    assert core.sum() > 150
    np.testing.assert_allclose(ours.numpy()[0][core], theirs[core], atol=1e-5)


@given(grids(3, 2, 7), grids(3, 2, 7))
def test_nearest_is_floor_of_a_half(source: Grid, target: Grid):
    values = np.arange(np.prod(source.shape), dtype=np.int32).reshape(1, *source.shape) + 1
    target = target.transformed(_shift(source.centre - target.centre))
    seen = Image(values, source, "label").on(target, antialias=False).numpy()[0]
    exact = seen_from(source, target)
    certain = (np.abs(exact + 0.5 - np.rint(exact + 0.5)) > 2e-4).all(-1)
    index = np.floor(exact + 0.5).astype(int)
    inside = ((index >= 0) & (index < source.shape)).all(-1)
    i, j, k = np.moveaxis(np.clip(index, 0, np.array(source.shape) - 1), -1, 0)
    wanted = np.where(inside, values[0, i, j, k], 0)
    assert np.array_equal(seen[certain], wanted[certain])


def _shift(by) -> np.ndarray:
    out = np.eye(4)
    out[:3, 3] = by
    return out


def test_nearest_at_ties_goes_up():
    values = np.array([1, 2, 3, 4], np.int16).reshape(1, 4, 1, 1)
    half = Grid((4, 1, 1), _shift((0.5, 0, 0)))  # reads 0.5, 1.5, 2.5, 3.5: the last is outside
    assert Image(values, Grid((4,)), "label", fill=9).on(half).numpy().ravel().tolist() == [2, 3, 4, 9]


def test_outer_half_voxel_is_clamped_and_then_comes_the_fill():
    values = np.array([10.0, 20.0]).reshape(1, 2, 1, 1)
    fine = Grid((9, 1, 1), np.diag([0.25, 1, 1, 1])).transformed(_shift((-0.6, 0, 0)))
    got = Image(values, Grid((2,)), fill=-1).on(fine).numpy().ravel()
    positions = -0.6 + 0.25 * np.arange(9)
    wanted = np.where(
        positions < -0.5, -1, np.where(positions >= 1.5, -1, 10 + 10 * np.clip(positions, 0, 1))
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["linear", "nearest"])
def test_kernels_agree_with_their_twins(name: str, dtype):
    rng = np.random.default_rng(2)
    volume = rng.integers(0, 100, (2, 6, 5, 4)).astype(dtype)
    fill = np.array([3.0, 4.0])
    for seed in range(6):
        draw = np.random.default_rng(seed)
        matrix = draw.normal(size=(3, 4)) * [[1, 1, 1, 3]]
        if seed == 5:
            matrix = np.array([[-1, 0, 0, 5], [0, 0, 1, 0], [0, 1, 0, 0.5]])  # ties and the edges
        compiled = getattr(kernels, f"sample_{name}")(volume, matrix, (5, 6, 7), fill)
        plain = getattr(kernels, f"sample_{name}_numpy")(volume, matrix, (5, 6, 7), fill)
        np.testing.assert_allclose(compiled, plain, rtol=1e-5, atol=1e-4)
        assert compiled.dtype == (np.float32 if name == "linear" else dtype)


@given(
    st.integers(2, 12),
    st.floats(-3, 10),
    st.floats(0.2, 4) | st.floats(-4, -0.2),
    st.sampled_from(["linear", "box"]),
)
def test_axis_weights_sum_to_one(size: int, start: float, step: float, mode: str):
    weights, inside = sampling.axis_weights(size, start, step, 6, mode)
    position = start + step * np.arange(6)
    assert np.array_equal(inside, (position >= -0.5 - 1e-6) & (position < size - 0.5 + 1e-6))
    np.testing.assert_allclose(weights[inside].sum(1), 1, atol=1e-9)
    # The ramp:
    np.testing.assert_allclose(
        weights[inside] @ np.arange(size), np.clip(position[inside], 0, size - 1), atol=1e-9
    )


def test_box_average_is_the_integral_of_the_interpolant():
    """Against a fine Riemann sum of the linear interpolant."""
    values = np.random.default_rng(3).normal(size=9)
    weights, _ = sampling.axis_weights(9, 2.3, 2.0, 2, "box")
    for o, centre in enumerate((2.3, 4.3)):
        fine = centre - 1 + (np.arange(20000) + 0.5) / 10000
        assert weights[o] @ values == pytest.approx(np.interp(fine, np.arange(9), values).mean(), abs=1e-6)


@given(st.integers(2, 4), st.integers(0, 99))
def test_coarsened_labels_keep_their_volume(factor: int, seed: int):
    rng = np.random.default_rng(seed)
    grid = Grid([factor * n for n in (4, 3, 5)])
    mask = (rng.random((1, *grid.shape)) < 0.15).astype(np.uint8) * rng.integers(
        1, 3, (1, *grid.shape), dtype=np.uint8
    )
    image = Image(mask, grid, "label", labels=Labels({"a": 1, "b": 2}))
    coarse = image.on(grid.lattice((factor - 1) / 2, factor, (4, 3, 5)))
    assert (coarse.kind, coarse.channels) == ("probability", 3)
    for value in (1, 2):
        volume = float(coarse.data[value].sum()) * coarse.grid.voxel_volume
        assert volume == pytest.approx(float((mask == value).sum()), rel=1e-5)
    assert np.allclose(coarse.data.sum(0), 1, atol=1e-5)
    # Each new voxel is the share of the old ones in its block.
    blocks = (mask[0] == 1).reshape(4, factor, 3, factor, 5, factor).mean((1, 3, 5))
    np.testing.assert_allclose(coarse.numpy()[1], blocks, atol=1e-6)


def test_coarsened_labels_without_table_or_antialias_stay_nearest():
    mask = (np.random.default_rng(0).random((1, 8, 8, 8)) < 0.5).astype(np.uint8)
    coarse = Grid((8, 8, 8)).lattice(1.2, 2, (3, 3, 3))
    assert Image(mask, Grid((8, 8, 8)), "label").on(coarse).kind == "label"
    with_table = Image(mask, Grid((8, 8, 8)), "label", labels=Labels({"a": 1}))
    assert with_table.on(coarse, antialias=False).kind == "label"
    assert with_table.on(coarse).kind == "probability"


def test_on_its_own_grid_is_itself_and_a_value_fits_any_grid():
    image = ramp(Grid((3, 3, 3)))
    assert image.on(Grid((3, 3, 3))) is image
    age = Image(torch.tensor([61.0]).view(1, 1, 1, 1), Grid((1,)), "value")
    assert age.on(image.grid).grid == image.grid
    assert float(age.on(image.grid).data) == 61.0


@given(any_grid(3, 7), st.data())
def test_slicing_an_image_moves_its_grid(grid: Grid, data):
    image = ramp(grid)
    keys = [slice(None)]
    for n in grid.shape:
        start = data.draw(st.integers(0, n - 1))
        step = data.draw(st.sampled_from((1, 2, -1, -2)))
        keys.append(slice(start, None, step))
    part = image[tuple(keys)]
    assert np.array_equal(part.numpy(), image.numpy()[tuple(keys)])
    np.testing.assert_allclose(part.numpy(), world(part.grid), atol=1e-6)


def test_slices_of_channels_keep_fills_and_drop_labels():
    labels = Labels({"a": 1, "b": 2})
    image = Image(torch.rand(3, 2, 2, 2), Grid((2, 2, 2)), "probability", (1.0, 0.0, 0.5), labels)
    assert image[1:].fill == (0.0, 0.5)
    assert image[1:].labels is None
    assert image[:, 1:].labels is labels
    assert image[::-1].labels is None  # channels in another order are other classes
    for key, text in [((0,), "slices"), ((slice(3, 4),), "no channel"), ((slice(None), 1), "slices")]:
        with pytest.raises(GeometryError, match=text):
            image[key]


def test_arithmetic_demands_equal_grids():
    a = ramp(Grid((3, 4, 5)), fill=2.0)
    shifted = Image(a.data, Grid((3, 4, 5), _shift((0.01, 0, 0))))
    for operation in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y):
        with pytest.raises(GeometryError, match="different grids"):
            operation(a, shifted)
    total = (2 * a + a - 1) / 4
    assert torch.allclose(total.data, (3 * a.data - 1) / 4)
    assert total.fill == pytest.approx((3 * 2.0 - 1) / 4)
    assert torch.allclose((1 - a).data, 1 - a.data)
    assert isinstance(a.data, torch.Tensor)
    with pytest.raises(TypeError):
        a + "text"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Image(np.zeros((3, 3, 3)), Grid((3, 3, 3))), r"\(C, I, J, K\)"),
        (lambda: Image(np.zeros((1, 3, 3, 4)), Grid((3, 3, 3))), "grid's shape"),
        (lambda: Image(np.zeros((1, 3, 3, 3)), Grid((3, 3, 3)), "mask"), "kind"),  # type: ignore[arg-type]
    ],
)
def test_refuses_what_is_no_image(make, text):
    with pytest.raises(GeometryError, match=text):
        make()


def test_infinite_maps_are_refused():
    # Finite affines whose product overflows.
    huge = Grid((2, 2, 2), np.diag([1e154, 1e154, 1e154, 1]))
    tiny = Grid((2, 2, 2), np.diag([1e-155, 1e-155, 1e-155, 1]))
    with pytest.raises(GeometryError, match="not finite"), np.errstate(all="ignore"):
        ramp(tiny).on(huge)


def test_half_and_bool_are_sampled():
    grid = Grid((4, 4, 4))
    other = Grid((3, 3, 3), _shift((0.5, 0.5, 0.5)))
    assert Image(torch.ones(1, 4, 4, 4, dtype=torch.float16), grid).on(other).data.unique().tolist() == [1.0]
    assert Image(torch.ones(1, 4, 4, 4, dtype=torch.bool), grid).on(other).data.unique().tolist() == [1.0]


def test_fill_per_channel():
    image = Image(torch.zeros(2, 3, 3, 3), Grid((3, 3, 3)), fill=(1.0, 2.0))
    outside = image.on(Grid((2, 2, 2), _shift((50.0, 0, 0))))
    assert outside.data[:, 0, 0, 0].tolist() == [1.0, 2.0]
    turned = image.on(Grid((2, 2, 2), _shift((50.3, 0.2, 0))))
    assert turned.data[:, 1, 1, 1].tolist() == [1.0, 2.0]


def test_voxels_outside_are_fill_exactly():
    image = ramp(Grid((4, 4, 4)))
    far = image.on(Grid((4, 4, 4), _shift((100, 0, 0))))
    assert (far.data == FILL).all()
    assert voxels(far.grid).shape == (4, 4, 4, 3)


@given(grids(3, 3, 6), st.tuples(*[st.integers(-2, 8)] * 3), st.permutations(range(3)), st.integers(0, 7))
@settings(max_examples=60)
def test_halfway_goes_up_in_any_orientation(source: Grid, doubled, order, flips: int):
    """Half a voxel off along every axis; the rounding of an oblique affine must not choose the voxel."""
    values = np.arange(np.prod(source.shape), dtype=np.int32).reshape(1, *source.shape) + 1
    target = source.lattice(np.array(doubled) / 2, (0.5, 1.5, 1), (5, 4, 3))
    target = target.permute(order).flip([a for a in range(3) if flips >> a & 1])
    index = np.rint(2 * seen_from(source, target)).astype(int)
    up = (index + 1) // 2  # of doubled indices, in whole numbers
    inside = ((up >= 0) & (up < source.shape)).all(-1)
    i, j, k = np.moveaxis(np.clip(up, 0, np.array(source.shape) - 1), -1, 0)
    wanted = np.where(inside, values[0, i, j, k], 0)
    assert np.array_equal(Image(values, source, "label").on(target).numpy()[0], wanted)
    # Through a field that moves nothing it is the same.
    still = sampling.Field(source, np.zeros((3, 2, 2, 2)))
    assert np.array_equal(Image(values, source, "label").on(target, field=still).numpy()[0], wanted)
