# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Elastic deformation: against SciPy's splines, on the world ramp, one interpolation, never folded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import Same, cohort_on_disk, evaluate, ramp, seen_from, small_net, world
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates
from strategies import any_grid, chains, grids

import truevox as tv
from truevox import GraphError, Grid, Image, Input, Labels, kernels
from truevox.pipeline import Plan
from truevox.pipeline.data import Samples, Steps, batches
from truevox.pipeline.serial import dump, load
from truevox.sampling import Field
from truevox.transforms.elastic import FOLDS

SCAN = Grid((14, 12, 13), np.diag([1.0, 1.2, 1.5, 1.0]))


def noise(grid: Grid = SCAN, channels: int = 1, seed: int = 0) -> Image:
    data = np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)
    return Image(data, grid, fill=-7.0)


def drawn(grid: Grid, seed: int = 0, spacing: float = 3.0) -> Field:
    """A field with control points ``spacing`` voxels apart, nearly as strong as it may be."""
    apart = (grid.spacing * spacing).tolist()
    most = (grid.spacing * spacing / FOLDS * 0.99).tolist()
    return tv.RandomElastic(most, apart).field(grid, np.random.default_rng(seed))


def displacement(field: Field, grid: Grid) -> np.ndarray:
    """(3, I, J, K) mm at a grid's voxels, by SciPy's basis functions."""
    where = seen_from(field.grid, grid)
    hat = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    basis = [np.nan_to_num(hat(where[..., a, None] - np.arange(field.grid.shape[a]))) for a in range(3)]
    return np.einsum("xabc,ijka,ijkb,ijkc->xijk", field.points, *basis, optimize=True)


def positions(field: Field, source: Grid, target: Grid) -> np.ndarray:
    """(3, I, J, K) indices of the source that the target's voxels show."""
    at = np.moveaxis(world(target) + displacement(field, target), 0, -1) - source.affine[:3, 3]
    return np.moveaxis(at @ np.linalg.inv(source.affine[:3, :3]).T, -1, 0)


def inside(index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    size = np.array(shape).reshape(3, 1, 1, 1)
    return np.all((index >= -1e-3) & (index <= size - 1 + 1e-3), axis=0)


# ---- the sampler ----------------------------------------------------------------------


@given(grids(3, 3, 9), chains(most=2), st.integers(0, 99), st.sampled_from((np.float32, np.uint8)))
@settings(max_examples=25)
def test_kernels_agree_with_their_twins(source: Grid, chain, seed: int, dtype):
    target = source
    for step in chain:
        target = step(target)
    rng = np.random.default_rng(seed)
    volume, fill = rng.integers(0, 100, (2, *source.shape)).astype(dtype), np.array([-3.0, 200.0])
    fill = fill if dtype == np.float32 else np.abs(fill)
    field = drawn(source, seed, spacing=rng.uniform(1.5, 6))
    arguments = (volume, source.index_map(target)[:3], *field.between(source, target), target.shape, fill)
    got, wanted = kernels.warp_linear(*arguments), kernels.warp_linear_numpy(*arguments)
    index = positions(field, source, target)
    away = (np.abs(index + 0.5 - np.rint(index + 0.5)) > 1e-6).all(
        0
    )  # from where nearest, or the box, decides
    np.testing.assert_allclose(got[:, away], wanted[:, away], atol=2e-3)
    nearest = kernels.warp_nearest(*arguments)
    assert nearest.dtype == dtype
    assert (nearest == kernels.warp_nearest_numpy(*arguments))[:, away].all()


@given(grids(3, 5, 9), chains(most=2), st.integers(0, 99))
@settings(max_examples=25)
def test_agrees_with_scipy(source: Grid, chain, seed: int):
    target = source
    for step in chain:
        target = step(target)
    field, image = drawn(source, seed), noise(source)
    index = positions(field, source, target)
    seen = image.on(target, antialias=False, field=field).numpy()[0]
    core = inside(index, source.shape)
    wanted = map_coordinates(image.numpy()[0].astype(np.float64), index, order=1, mode="nearest")
    np.testing.assert_allclose(seen[core], wanted[core], atol=1e-3)
    outside = ((index < -0.501) | (index > np.array(source.shape).reshape(3, 1, 1, 1) - 0.499)).any(0)
    assert (seen[outside] == -7.0).all()
    classes = np.random.default_rng(seed).integers(0, 4, (1, *source.shape)).astype(np.uint8)
    labels = Image(classes, source, "label")
    seen = labels.on(target, antialias=False, field=field).numpy()[0]
    at = np.floor(index + 0.5).astype(int)
    clear = core & (np.abs(index + 0.5 - np.rint(index + 0.5)) > 1e-5).all(0)
    at = np.clip(at, 0, np.array(source.shape).reshape(3, 1, 1, 1) - 1)
    assert (seen == labels.numpy()[0][tuple(at)])[clear].all()


def test_agrees_with_simpleitk():
    """The same control points as a BSplineTransform, and its resampling."""
    sitk = pytest.importorskip("SimpleITK")
    grid = Grid((16, 18, 20), np.array([[1.5, 0, 0, -7], [0, 1, 0, 3], [0, 0, 2, 11], [0, 0, 0, 1.0]]))
    image, field = noise(grid), drawn(grid, seed=4, spacing=6.0)
    cells = np.array(field.grid.shape) - 3
    apart = field.grid.spacing
    transform = sitk.BSplineTransform(3, 3)
    transform.SetTransformDomainOrigin(field.grid.to_world((1, 1, 1)).tolist())
    transform.SetTransformDomainPhysicalDimensions((apart * cells).tolist())
    transform.SetTransformDomainMeshSize(cells.tolist())
    transform.SetParameters(np.moveaxis(field.points, 1, 3).swapaxes(1, 2).ravel().tolist())
    scan = sitk.GetImageFromArray(image.numpy()[0].T.astype(np.float64))
    scan.SetSpacing(grid.spacing.tolist())
    scan.SetOrigin(grid.affine[:3, 3].tolist())
    wanted = sitk.GetArrayFromImage(sitk.Resample(scan, scan, transform, sitk.sitkLinear)).T
    core = inside(positions(field, grid, grid), grid.shape)
    assert core.mean() > 0.6
    np.testing.assert_allclose(image.on(grid, field=field).numpy()[0][core], wanted[core], atol=1e-4)


@given(any_grid(4, 9), st.integers(0, 99))
@settings(max_examples=40)
def test_the_ramp_reads_world_plus_displacement(grid: Grid, seed: int):
    """In 1, 2 and 3 dimensions; what lies across a missing one does not move."""
    field = drawn(grid, seed)
    narrow = [a for a in range(3) if grid.shape[a] == 1]
    moved = displacement(field, grid)
    along = np.linalg.inv(grid.affine[:3, :3] / grid.spacing) @ moved.reshape(3, -1)
    assert np.abs(along[narrow]).max(initial=0) < 1e-6
    assert np.abs(along).max() <= 3 / FOLDS * grid.spacing.max()
    out = ramp(grid).on(grid, field=field).numpy()
    core = inside(positions(field, grid, grid), grid.shape)
    scale = 1e-5 * (1 + np.abs(grid.corners).max())
    np.testing.assert_allclose(
        out[:, core], (world(grid) + moved)[:, core], atol=2e-3 * grid.spacing.max() + scale
    )


def test_the_strength_is_drawn_from_its_range():
    """The largest of 3 x 5 x 5 x 5 displacements is next to the strength of the sample."""
    grid = Grid((20, 20, 20))
    ranged = tv.RandomElastic((1.0, 4.0), 10)
    largest = [np.abs(ranged.field(grid, np.random.default_rng(s)).points).max() for s in range(100)]
    assert 0.95 < min(largest) < 1.5
    assert 3.5 < max(largest) <= 4
    assert np.mean(largest) == pytest.approx(2.5, abs=0.3)


def test_equal_control_points_are_a_shift():
    """Closed form: B-splines sum to one, so the whole image moves by the one displacement."""
    grid = Grid((12, 12, 12))
    field = Field(
        grid.lattice(-8, 4, (8, 8, 8)), np.broadcast_to([[[[2.0]]], [[[0.5]]], [[[-1.0]]]], (3, 8, 8, 8))
    )
    x = ramp(grid)
    out = x.on(grid, field=field).data[:, 2:9, 2:9, 2:9]
    wanted = x.data[:, 2:9, 2:9, 2:9] + torch.tensor([2.0, 0.5, -1.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(out, wanted.float(), atol=1e-5, rtol=0)


@given(grids(3, 6, 10), st.integers(0, 99))
@settings(max_examples=15)
def test_it_never_folds(grid: Grid, seed: int):
    """At the largest displacement, all control points at their limits: the Jacobian stays positive."""
    field = drawn(grid, seed)
    linear = field.grid.affine[:3, :3]
    drawn_in = np.tensordot(np.linalg.inv(linear), field.points, 1)
    field = Field(field.grid, np.tensordot(linear, np.sign(drawn_in) / FOLDS, 1))
    fine = grid.with_spacing((grid.spacing / 3).tolist())
    place = world(fine) + displacement(field, fine)
    steps = np.stack([np.gradient(place, axis=1 + a) for a in range(3)], -1)
    volume = np.linalg.det(np.moveaxis(steps, 0, -2)) / np.linalg.det(fine.affine[:3, :3])
    assert volume.min() > 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tv.RandomElastic(13, 32), "at most 12.9 mm"),
        (lambda: tv.RandomElastic((1, 1, 9), (8, 8, 20)), "could fold"),
        (lambda: tv.RandomElastic(1, 0), "spacings positive"),
        (lambda: tv.RandomElastic((1, 2, 3, 4)), "one per axis"),
        (lambda: tv.RandomElastic((2, 1)), "not negative"),
        (lambda: tv.RandomElastic((2, 13)), "at most 12.9 mm"),
        (lambda: tv.RandomElastic(probability=2), "lies in"),
    ],
)
def test_refused_when_made(make, text):
    with pytest.raises(GraphError, match=text):
        make()


# ---- in a chain ----------------------------------------------------------------------


@pytest.fixture
def interpolations(monkeypatch):
    """Names of the interpolating kernels, as they are called."""
    calls: list[str] = []
    for name in ("sample_linear", "sample_nearest", "warp_linear", "warp_nearest"):
        real = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *a, _r=real, _n=name: (calls.append(_n), _r(*a))[1])
    return calls


def test_a_chain_with_a_field_interpolates_once(interpolations):
    """Crop, affine, intensity, field, affine, flip: each voxel is interpolated once, and right."""
    source = SCAN
    x, y = Input("x", channels=3), Input("y", kind="label")
    a, b = tv.RandomAffine(rotation=20, scaling=0.1, name="t1")(*tv.RandomCrop(10, name="c")(x, y))
    elastic = tv.RandomElastic(1.5, 4.0, name="e")
    warped, label = elastic(Same()(a), b)
    out, lab = tv.RandomFlip(axes=(0, 1), probability=1)(*tv.RandomAffine(10, name="t2")(warped, label))
    mask = Image(np.ones((1, *source.shape), np.uint8), source, "label", labels=Labels({"mask": 1}))
    frame, seen, seen_label = evaluate([a, out, lab], {"x": ramp(source), "y": mask})
    assert sorted(interpolations) == ["sample_linear", "warp_linear", "warp_nearest"]  # the first: frame
    from truevox.pipeline import Draw

    rng = Draw(0, 0).rng("e")
    rng.random()
    field = elastic.field(frame.grid, rng)
    index = positions(field, source, seen.grid)
    core = inside(index, source.shape)
    assert core.sum() > 300
    wanted = world(seen.grid) + displacement(field, seen.grid)
    np.testing.assert_allclose(seen.numpy()[:, core], wanted[:, core], atol=2e-3)
    assert (seen_label.numpy()[0][core] == 1).all()
    assert seen_label.grid == seen.grid


def test_coarser_frames_are_averaged_through_the_field():
    """Stripes of one voxel vanish in a crop of twice the spacing; and its ramp is the same ramp."""
    grid = Grid((40, 6, 6))
    stripes = torch.ones(1, 40, 6, 6)
    stripes[:, ::2] = -1
    x, r = Input("x"), Input("r", channels=3)
    crop, elastic = tv.RandomCrop((8, 6, 6), spacing=(2, 1, 1), name="c"), tv.RandomElastic(1, 6, name="e")
    a, b = elastic(*crop(x, r))
    seen, coordinates, frame = evaluate([a, b, crop(r)], {"x": Image(stripes, grid), "r": ramp(grid)})
    assert float(seen.data[:, 1:-1].abs().max()) < 0.3
    rng = np.random.default_rng(0)
    still = tv.RandomElastic(0.0, 6)(Image(stripes, grid), rng=rng)
    torch.testing.assert_close(still.data, stripes)
    assert float((coordinates.data - frame.data)[:, 2:6, 2:4, 2:4].abs().max()) <= np.sqrt(3)


def test_one_draw_for_image_label_and_probability():
    data = np.zeros((1, *SCAN.shape), np.float32)
    data[:, 4:10, 3:9, 4:9] = 1
    table = Labels({"mask": 1})
    inputs = [
        Image(data, SCAN),
        Image(data.astype(np.uint8), SCAN, "label", labels=table),
        Image(data, SCAN, "probability", labels=table),
    ]
    x, y, p = tv.RandomElastic(2, 6)(*inputs, rng=np.random.default_rng(3))
    assert torch.equal(x.data, p.data)
    assert (y.kind, p.kind, y.data.dtype) == ("label", "probability", torch.uint8)
    # Where all eight neighbours agree, nearest and linear agree.
    sure = (x.data < 1e-6) | (x.data > 1 - 1e-6)
    assert torch.equal(y.data[sure].float(), x.data[sure].round())
    assert 0 < int(sure.sum()) < sure.numel()


def test_sides_change_in_a_mirror_whatever_the_field():
    table = Labels({"left": 1, "right": 2}, swap=[("left", "right")])
    data = np.where(np.arange(14).reshape(1, 14, 1, 1) < 7, 1, 2) * np.ones((1, 14, 12, 13))
    y = Image(data.astype(np.uint8), SCAN, "label", labels=table)
    field = drawn(SCAN)
    plain, mirrored = y.on(SCAN, field=field), y.on(SCAN.flip(0), field=field)
    swapped = np.array([0, 2, 1])[plain.numpy()[:, ::-1]]
    assert np.array_equal(mirrored.numpy(), swapped)


def test_sides_change_once_in_a_chain_of_mirrors():
    """Mirrored before and after a field of no strength: the label is that of the mirrors alone."""
    table = Labels({"left": 1, "right": 2}, swap=[("left", "right")])
    data = np.random.default_rng(0).integers(0, 3, (1, *SCAN.shape)).astype(np.uint8)
    y = Input("y", kind="label", labels=table)
    still = tv.RandomElastic(0.0, 6)
    chains = [still(tv.Flip(0)(y)), tv.Flip(0)(still(y)), tv.Flip(0)(still(tv.Flip(1)(y))), tv.Flip(0)(y)]
    case = {"y": Image(data, SCAN, "label", labels=table)}
    before, after, both, plain = evaluate(chains, case)
    assert torch.equal(before.data, plain.data)
    assert torch.equal(after.data, plain.data)
    assert np.array_equal(both.numpy(), data[:, ::-1, ::-1])  # two mirrors are none


def test_probability_and_draws():
    x = noise()
    assert torch.equal(tv.RandomElastic(2, 6, 0.0)(x).data, x.data)
    one, two = (tv.RandomElastic(2, 6)(x, rng=np.random.default_rng(s)) for s in (0, 1))
    assert not torch.equal(one.data, two.data)


def test_put_refuses_what_is_displaced():
    x = Input("x")
    tiles = tv.GridCrop(8)(x)
    with pytest.raises(GraphError, match="can't be put back"):
        tv.Put(like=x)(tv.RandomElastic(2, 8)(tiles))
    with pytest.raises(GraphError, match="RandomElastic"):
        tv.Put(like=x)(tv.GridCrop(8)(tv.RandomElastic(2, 8)(x)))


def test_saved_and_loaded_it_draws_the_same():
    x = Input("x")
    out = tv.RandomElastic((2, 2, 1), 8, 0.9)(tv.RandomCrop(8)(x))
    keys = Plan([out]).keys
    again, loaded = load(dump([out], keys, lambda v: None), lambda v: v)
    first, second = (evaluate([o], {"x": noise()})[0] for o in (out, again[0]))
    assert torch.equal(first.data, second.data)
    assert sorted(loaded.values()) == sorted(keys.values())


def test_the_number_of_workers_changes_nothing(tmp_path):
    cohort = cohort_on_disk(tmp_path, cases=2)
    x, y = Input("image"), Input("mask", kind="label")
    a, b = tv.RandomElastic(2, 6)(*tv.RandomCrop(6)(x, y))
    plan = Plan([tv.Network(small_net())(a), b])
    runs = []
    for workers in (0, 1, 2):
        samples = Samples(plan, list(cohort), [(plan.outputs[0], b)], 3, None)
        runs.append(list(batches(samples, Steps(0, 2, 2), workers)))
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            assert torch.equal(one["nodes"][0]["data"], two["nodes"][0]["data"])
            assert torch.equal(one["targets"][0], two["targets"][0])
