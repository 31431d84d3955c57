# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""GridCrop and Put: patches come back where they were, whatever happened in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import (
    FILL,
    Identity,
    affine_of,
    averaging_convolution,
    core_and_outside,
    evaluate,
    ramp,
    seen_from,
    world,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import any_grid, grids
from torch import nn

import truevox as tv
from truevox import GraphError, Grid, GridCrop, Image, Input, Labels, Network, Put
from truevox.networks import LatticeMap
from truevox.sampling import coarsening
from truevox.transforms.tiles import tile_starts

WEIGHTS = st.sampled_from(["uniform", "gaussian"])


@given(
    any_grid(1, 11),
    st.lists(st.integers(1, 9), min_size=3, max_size=3),
    st.floats(0, 0.95),
    WEIGHTS,
    st.integers(0, 9),
)
@settings(max_examples=25)
def test_put_gives_back_what_was_cropped(grid: Grid, size, overlap: float, weights: str, seed: int):
    """Bit for bit, for both weights: a running mean of equal values is their value."""
    values = torch.from_numpy(
        np.random.default_rng(seed).normal(size=(2, *grid.shape)).astype(np.float32) * 1e3
    )
    x = Image(values, grid, fill=FILL)
    step = np.maximum(np.array(size) * (1 - overlap), 1)
    assume(np.prod(np.ceil(np.array(grid.shape) / step)) < 300)
    back = Put(like=x, weights=weights)(GridCrop(tuple(size), overlap)(x))
    assert back.grid == grid
    assert torch.equal(back.data, values)


@given(any_grid(2, 9), st.integers(1, 6), st.floats(0, 0.7), WEIGHTS)
@settings(max_examples=25)
def test_the_same_through_the_graph(grid: Grid, size: int, overlap: float, weights: str):
    """The stored grid may have any orientation; the graph works on the canonical one."""
    x = Image(torch.rand(1, *grid.shape), grid)
    scan = Input("scan")
    out = Put(like=scan, weights=weights)(GridCrop(size, overlap)(scan))
    (back,) = evaluate([out], {"scan": x}, batch_size=3)
    assert torch.equal(back.on(grid).data, x.data)


@given(
    st.floats(-3, 3),
    st.floats(0.5, 60),
    st.floats(1, 20),
    st.floats(0, 0.95),
    st.sampled_from((1.0, 2.0, 4.0)),
)
def test_tile_starts_cover_and_overlap(low: float, length: float, size: float, overlap: float, stride: float):
    starts = np.array(tile_starts(low, low + length, size, overlap, stride))
    assert starts[-1] + size >= length - 1e-5
    if size >= length - 1e-6:
        assert len(starts) == 1
        assert starts[0] <= 0
        return
    assert starts[0] == 0
    assert starts[-1] + size < length + 1
    gaps = np.diff(starts)
    assert gaps.min() >= 1
    # Neighbours overlap by the fraction asked for, and share an output voxel where the output is strided.
    assert gaps.max() <= max(size * (1 - overlap), 1) + 1e-5
    if stride > 1 and size > stride:
        assert gaps.max() <= max(size - stride, 1) + 1e-5


def test_an_image_smaller_than_the_tile_is_padded_and_said():
    x = Image(torch.rand(1, 3, 4, 5), Grid((3, 4, 5)), fill=-1.0)
    patches = GridCrop(8)(x)
    assert [p.shape for p in patches] == [(1, 8, 8, 8)]
    assert float(patches[0].data.min()) == -1.0
    assert torch.equal(Put(like=x)(patches).data, x.data)


def test_tiles_share_one_frame_of_several_inputs():
    x = Image(torch.rand(1, 6, 6, 6), Grid((6, 6, 6)))
    coarse = ramp(Grid((3, 3, 3), np.diag([2, 2, 2, 1.0]).copy() + _offset(0.5)))
    first, second = GridCrop(4)(x, coarse)
    assert [a.grid for a in first] == [b.grid for b in second]


def _offset(by: float) -> np.ndarray:
    out = np.zeros((4, 4))
    out[:3, 3] = by
    return out


# ---- the ramp through networks -------------------------------------------------------------------


# Made once: what a module does to a grid is found out once per Network.
NETWORKS = {
    "identity": Network(Identity(), kind="scalar"),
    "valid 2": Network(averaging_convolution(3, 2), kind="scalar"),
    "valid 3": Network(averaging_convolution(3, 3), kind="scalar"),
    "pooling": Network(nn.AvgPool3d(2), kind="scalar"),
}


def _ramp_through(net: Network, grid: Grid, size, overlap: float) -> tuple[Image, Image]:
    scan = Input("scan", channels=3)
    full = Put(like=scan)(net(GridCrop(size, overlap)(scan)))
    x = ramp(grid)
    return evaluate([full], {"scan": x}, batch_size=2)[0], x


@given(any_grid(2, 9), st.integers(2, 6), st.floats(0, 0.8))
@settings(max_examples=25)
def test_ramp_through_the_identity(grid: Grid, size: int, overlap: float):
    back, x = _ramp_through(NETWORKS["identity"], grid, size, overlap)
    assert torch.equal(back.on(grid).data, x.data.float())


@given(grids(3, 2, 11), st.integers(3, 7), st.floats(0, 0.6), st.integers(2, 3))
@settings(max_examples=25)
def test_ramp_through_a_valid_convolution(grid: Grid, size: int, overlap: float, kernel: int):
    """Its output is smaller than its input: the tiles reach outside, and the outputs cover the reference."""
    back, _ = _ramp_through(NETWORKS[f"valid {kernel}"], grid, size, overlap)
    assert bool(torch.isfinite(back.data).all())
    deep = _deeper(back.grid, kernel / 2)
    error = np.abs(back.numpy() - world(back.grid))[:, deep].max(initial=0)
    # An even kernel's output lies between the voxels: at a seam of tiles it is clamped by half a voxel.
    assert error <= (5e-3 if kernel == 3 else 0.5 * np.linalg.norm(back.grid.spacing) + 5e-3)


def _deeper(grid: Grid, margin: float) -> np.ndarray:
    """Voxels further than ``margin`` from the border, whose neighbourhoods hold no fill."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return ((index >= margin) & (index <= np.array(grid.shape) - 1 - margin)).all(-1)


@given(grids(3, 4, 12), st.sampled_from((4, 6, 8)), st.floats(0, 0.6))
@settings(max_examples=25)
def test_ramp_through_average_pooling(grid: Grid, size: int, overlap: float):
    """Output voxels of stride 2 lie on offset 0.5; odd sizes are covered too."""
    back, _ = _ramp_through(NETWORKS["pooling"], grid, size, overlap)
    assert bool(torch.isfinite(back.data).all())
    deep = _deeper(back.grid, 1.5)
    # In the outer half of a tile's output voxel (half a voxel of the scan) the sample is clamped.
    error = np.linalg.norm(back.numpy() - world(back.grid), axis=0)[deep]
    assert (error <= 0.5 * np.linalg.norm(back.grid.spacing) + 1e-2).all()


def test_ramp_through_pooling_is_exact_away_from_tile_borders():
    grid = Grid((13, 11, 9), affine_of("RAS", (1, 2, 3), (5, 6, 7)))
    back, _ = _ramp_through(NETWORKS["pooling"], grid, 16, 0.0)  # one tile
    deep = _deeper(grid, 1.5)
    np.testing.assert_allclose(back.numpy()[:, deep], world(grid)[:, deep], atol=1e-3)


def test_ramp_through_a_strided_valid_network_of_two_layers():
    """Offset and stride compose: convolution 3 (offset 1), pooling 2 (1.5), convolution 2 (2.5)."""
    module = nn.Sequential(averaging_convolution(3), nn.AvgPool3d(2), averaging_convolution(3, 2))
    grid = Grid((20, 18, 17), affine_of("LPI", (1, 1.5, 2), (-3, 8, 1)))
    back, _ = _ramp_through(Network(module, kind="scalar"), grid, 22, 0.3)
    assert bool(torch.isfinite(back.data).all())
    error = np.abs(back.numpy() - world(back.grid))[:, _deeper(back.grid, 5)]
    assert error.max() < 0.51 * 2  # clamped at most half a voxel, of 2 mm


def test_a_tile_classifier_is_one_voxel_as_large_as_its_tile():
    """A network that ends on one voxel: its number fills the tile, and tiles do not explode in number."""
    module = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    x = Image(torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 4, 4).clone(), Grid((8, 4, 4)))
    scan = Input("scan")
    tiles = GridCrop(4, 0.0)(scan)
    (back,) = evaluate([Put(like=scan, weights="uniform")(Network(module)(tiles))], {"scan": x})
    assert back.data[0, :, 0, 0].tolist() == [1.5] * 4 + [5.5] * 4


# ---- the reference's grid ----------------------------------------------------------------------


@given(grids(3, 4, 9), st.sampled_from((0.5, 0.7, 1.3, 2.0, 3.0)), st.integers(3, 6), st.floats(0, 0.7))
@settings(max_examples=25)
def test_ramp_comes_back_through_resampling(grid: Grid, factor: float, size: int, overlap: float):
    """Native grid -> other spacing -> tiles -> native grid; every voxel is covered, borders too."""
    scan = Input("scan", channels=3)
    coarse = tv.Resample(tuple(float(s) for s in grid.reorient("RAS").spacing * factor))(scan)
    (back,) = evaluate([Put(like=scan)(GridCrop(size, overlap)(coarse))], {"scan": ramp(grid)})
    assert back.grid == grid.reorient("RAS")
    assert bool(torch.isfinite(back.data).all())
    error = np.linalg.norm(back.numpy() - world(back.grid), axis=0)
    # Clamped by at most half a voxel of the coarser grid at borders and seams, whether a tile is larger than
    # the scan or not.
    assert error.max() <= 0.5 * max(1.0, factor) * np.linalg.norm(grid.spacing) + 1e-2


@given(grids(3, 4, 9), st.sampled_from((0.9, 1.2, 1.4)), st.integers(12, 16), WEIGHTS)
@settings(max_examples=25)
def test_a_tile_larger_than_the_scan_shows_no_padding(grid: Grid, factor: float, size: int, weights: str):
    """On a grid turned against the scan's, a tile that holds all of the scan reads as the scan does."""
    turn = np.eye(4)
    turn[:3, :3] = np.linalg.qr(np.random.default_rng(size).normal(size=(3, 3)))[0]
    centred = np.eye(4)
    centred[:3, 3] = grid.centre
    # Finer than 1.5 voxels on every axis: nothing is averaged.
    reference = grid.with_spacing([factor * float(grid.spacing.min())] * 3)
    reference = reference.transformed(centred @ turn @ np.linalg.inv(centred))
    scan, like = Input("scan", channels=3), Input("like")
    full = Put(like=like, weights=weights, uncovered=FILL)(GridCrop(size, 0.4)(scan))
    x, there = ramp(grid), Image(torch.zeros(1, *reference.shape), reference)
    (back,) = evaluate([full], {"scan": x, "like": there})
    wanted = x.on(back.grid).numpy()
    index = seen_from(grid, back.grid)
    held = ((index > -0.49) & (index < np.array(grid.shape) - 0.51)).all(-1)
    np.testing.assert_allclose(back.numpy()[:, held], wanted[:, held], rtol=0, atol=2e-2)


def test_touching_tiles_leave_no_gap_at_ties():
    """Voxels of the reference that lie exactly between two tiles belong to one of them, despite rounding."""
    rng = np.random.default_rng(0)
    for _ in range(8):
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
        affine[:3, 3] = rng.uniform(-200, 200, 3)
        native = Grid((6, 6, 6), affine)
        fine = Image(torch.ones(1, 12, 12, 12), native.lattice(-0.25, 0.5, (12, 12, 12)))
        shifted = fine.on(fine.grid.crop((-1, -1, -1), (14, 14, 14)))
        back = Put(like=Image(torch.zeros(1, 6, 6, 6), native), weights="uniform")(GridCrop(3, 0.0)(shifted))
        assert bool(torch.isfinite(back.data).all())


@given(grids(3, 4, 8), grids(3, 4, 8), st.integers(3, 6), WEIGHTS)
@settings(max_examples=25)
def test_any_reference_is_covered(grid: Grid, reference: Grid, size: int, weights: str):
    """A reference of another place and orientation: finite everywhere, and right where the scan was."""
    move = np.eye(4)
    move[:3, 3] = grid.centre - reference.centre
    reference = reference.transformed(move)
    scan, like = Input("scan", channels=3), Input("like")
    full = Put(like=like, weights=weights)(GridCrop(size, 0.4)(scan))
    case = {"scan": ramp(grid), "like": Image(torch.zeros(1, *reference.shape), reference)}
    extent = grid.to_index(reference.corners)
    assume((extent.max(0) - extent.min(0)).max() < 40)
    (back,) = evaluate([full], case)
    assert bool(torch.isfinite(back.data).all())
    index = seen_from(grid.reorient("RAS"), back.grid)
    margin = 1.01 + 2 * coarsening(grid.reorient("RAS"), reference)  # averages of a coarse reference see fill
    deep = ((index > margin) & (index < np.array(grid.reorient("RAS").shape) - 1 - margin)).all(-1)
    wanted = world(back.grid)[:, deep]
    limit = 0.5 * np.linalg.norm(grid.spacing) + 1e-2  # clamped at most in a tile's outer half voxel
    assert (np.linalg.norm(back.numpy()[:, deep] - wanted, axis=0) <= limit).all()


# ---- probabilities, refusals, order --------------------------------------------------------------


def test_uncovered_voxels_are_nan_or_what_was_asked_for():
    x = Image(torch.ones(1, 4, 4, 4), Grid((4, 4, 4)))
    part = x[:, :2]
    back = Put(like=x)([part])
    assert torch.isnan(back.data[0, 2:]).all()
    assert (back.data[0, :2] == 1).all()
    assert float(Put(like=x, uncovered=-5)([part]).data.min()) == -5
    far = x.replace(grid=x.grid.crop((100, 0, 0), (4, 4, 4)))
    with pytest.raises(GraphError, match="no patch"):
        Put(like=x)([far])


def test_weights_average_where_patches_disagree():
    x = Image(torch.zeros(1, 4, 1, 1), Grid((4,)))
    one = Image(torch.ones(1, 4, 1, 1), Grid((4,)))
    three = Image(torch.full((1, 4, 1, 1), 3.0), Grid((4,)))
    assert Put(like=x, weights="uniform")([one, three, three]).data.unique().tolist() == pytest.approx(
        [7 / 3]
    )
    # Gaussian by hand: a tile of 4 voxels at 0..3 and one at 2..5, sd 0.5.
    shifted = three.replace(grid=Grid((4,)).crop((2, 0, 0), (4, 1, 1)))
    got = Put(like=x, weights="gaussian")([one, shifted]).data[0, :, 0, 0]
    a = np.maximum(np.exp(-0.5 * ((np.arange(4) - 1.5) / 0.5) ** 2), 1e-3)
    b = np.array([0, 0, a[0], a[1]])
    np.testing.assert_allclose(got.numpy(), (a + 3 * b) / (a + b), rtol=1e-5)


def test_put_refuses_labels_at_once_and_in_a_graph():
    label = Image(torch.zeros(1, 4, 4, 4, dtype=torch.uint8), Grid((4, 4, 4)), "label")
    with pytest.raises(GraphError, match="no labels"):
        Put(like=label)([label])
    mask = Input("mask", kind="label")
    with pytest.raises(GraphError, match="no labels"):
        Put(like=mask)(GridCrop(4)(mask))
    with pytest.raises(GraphError, match="folds a fan-out"):
        Put(like=mask)(Input("scan"))


def test_tiles_that_turn_before_put_are_refused():
    scan = Input("scan")
    full = Put(like=scan)(tv.RandomFlip(probability=1)(GridCrop(4)(scan)))
    with pytest.raises(GraphError, match="turn or flip"):
        evaluate([full], {"scan": Image(torch.zeros(1, 6, 6, 6), Grid((6, 6, 6)))})


def test_tiles_come_along_the_slowest_axis():
    x = Image(torch.zeros(1, 8, 8, 8), Grid((8, 8, 8)))
    starts = [p.grid.affine[0, 3] for p in GridCrop(4, 0.0)(x)]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    "bad", [{"overlap": 1.0}, {"overlap": -0.1}, {"size": 0}, {"size": (4, 4)}, {"size": 2.5}]
)
def test_bad_tiles_are_refused(bad):
    with pytest.raises(GraphError, match="GridCrop"):
        GridCrop(**bad)(Image(torch.zeros(1, 8, 8, 8), Grid((8, 8, 8))))


def test_outside_of_the_core_is_fill_for_the_network():
    """What a valid network sees beyond the border is the image's fill."""
    scan = Input("scan", channels=3)

    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[torch.Tensor] = []  # its own: the check of the lattice runs a copy

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.append(x.clone())
            return x[..., 1:-1, 1:-1, 1:-1]

    look = Look()
    net = Network(look, kind="scalar", lattice=(LatticeMap.from_rule(1, 1, lambda n: n - 2, ndim=3),))
    evaluate([Put(like=scan)(net(GridCrop(6)(scan)))], {"scan": ramp(Grid((5, 5, 5)))})
    assert all((t[:, :, 0] == FILL).all() for t in look.seen[:1])


# ---- left and right ----------------------------------------------------------------------


BRAIN = Labels({"left": 1, "right": 2}, swap=[("left", "right")])


class Sides(nn.Module):
    """An ideal network: it names what is bright 'left' on the low side of axis 0, and 'right' on the other.

    Like a trained network, it knows patterns, not sides: it sees a mark (value 2) or none (value 1), and
    anatomy in a mirror looks like the other side's.
    """

    ndim = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near = torch.linspace(1, 0, x.shape[2], device=x.device).view(1, 1, -1, 1, 1)
        bright = (x > 0.5).float()
        left = bright * (near > 0.5)
        right = bright * (near < 0.5)
        return torch.cat([1 - bright, left, right], dim=1)


@pytest.mark.parametrize("stored", ["RAS", "LAS", "PSR", "LPI"])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_mirrored_oracle(stored: str, flip: float):
    """A flip, an ideal network and Put do not exchange sides, however the file is stored."""
    canonical = Grid((12, 6, 6), affine_of("RAS", (1, 2, 3), (-6, 0, 0)))
    values = np.zeros((1, 12, 6, 6), np.uint8)
    values[:, 1:4, 2:5, 1:4], values[:, 8:10, 1:4, 2:4] = 1, 2  # left: low x in RAS, and larger
    truth = Image(values, canonical, "label", labels=BRAIN)
    bright = Image((values > 0).astype(np.float32), canonical)
    grid = canonical.reorient(stored)
    case = {"scan": bright.on(grid), "truth": truth.on(grid, mirror=False)}
    scan, label = Input("scan"), Input("truth", kind="label", labels=BRAIN)
    seen = tv.RandomFlip(axes=(0,), probability=flip)(scan)
    net = Network(Sides(), labels=BRAIN, kind="scalar", lattice=(LatticeMap.identity(3),))
    full = Put(like=scan)(net(GridCrop((12, 6, 6))(seen)))
    model = tv.Model(train=None, predict={"sides": full})
    out = model.predict(case)["sides"]
    assert out.grid == grid
    assert np.array_equal(out.numpy().argmax(0), case["truth"].numpy()[0])
    # The label that training would see is the mirrored one, with its names changed.
    _, y = tv.RandomFlip(axes=(0,), probability=flip)(scan, label)
    (target,) = evaluate([y], case)
    wanted = values if flip == 0 else BRAIN.mirrored(values[:, ::-1])
    assert np.array_equal(target.numpy(), wanted)
    assert core_and_outside(canonical, target.grid)[0].all()
