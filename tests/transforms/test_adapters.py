# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportPrivateImportUsage=false
"""Transforms of MONAI and TorchIO, and functions, as nodes: the voxels that they make, on the right grid."""

from __future__ import annotations

import pickle
import random as python_random

import numpy as np
import pytest
import torch
from helpers import Identity, affine_of, cohort_on_disk, evaluate, ramp, reads_itself

import truevox as tv
from truevox.errors import GraphError
from truevox.image import Image
from truevox.labels import Labels
from truevox.pipeline import Cache, Plan
from truevox.pipeline.data import Samples, Steps, batches
from truevox.space import Grid
from truevox.transforms.adapters import seed_of, seeded

monai = pytest.importorskip("monai.transforms")
tio = pytest.importorskip("torchio")

SHAPE = (12, 10, 8)
SEED = 7


def grid(shape: tuple[int, ...] = SHAPE) -> Grid:
    """Oblique, anisotropic, its first axis to the left."""
    turn = np.radians(20)
    affine = affine_of("LAS", (1, 1.5, 2), (5, -7, 11))
    affine[:3, :3] = (
        np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        @ affine[:3, :3]
    )
    return Grid(shape, affine)


def scan(shape: tuple[int, ...] = SHAPE, channels: int = 1) -> Image:
    rng = np.random.default_rng(0)
    return Image(torch.tensor(rng.normal(100, 20, (channels, *shape)), dtype=torch.float32), grid(shape))


def label(shape: tuple[int, ...] = SHAPE) -> Image:
    values = np.random.default_rng(1).integers(0, 3, (1, *shape)) * 2
    table = Labels({"a": 2, "b": 4})
    return Image(torch.tensor(values, dtype=torch.uint8), grid(shape), "label", labels=table)


def at_once_seed(seed: int = SEED) -> int:
    """The seed that a node acting at once with ``default_rng(seed)`` hands over."""
    return seed_of(np.random.default_rng(np.random.default_rng(seed).integers(2**63)))


def meta(image: Image):
    from monai.data import MetaTensor

    return MetaTensor(image.data.clone(), affine=torch.tensor(image.grid.affine))


# ---- MONAI ----------------------------------------------------------------------------------------


def monai_chain():
    keys = ["image", "label"]
    return monai.Compose([
        monai.RandAffined(keys, prob=1.0, rotate_range=(0.3, 0.2, 0.1), scale_range=0.1, translate_range=1.0,
                          mode=["bilinear", "nearest"], padding_mode="zeros"),
        monai.RandFlipd(keys, prob=0.5, spatial_axis=0),
        monai.RandGaussianNoised(["image"], prob=1.0, std=5.0),
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_a_dictionary_chain_of_monai_gives_what_monai_gives(seed: int) -> None:
    image, mask = scan(), label()
    ours = tv.FromMONAI(monai_chain())(image, mask, rng=np.random.default_rng(seed))
    direct = monai_chain()
    direct.set_random_state(at_once_seed(seed))
    theirs = direct({"image": meta(image), "label": meta(mask)})
    for mine, key in zip(ours, ("image", "label"), strict=True):
        assert torch.equal(mine.data.float(), theirs[key].as_tensor())
        np.testing.assert_allclose(mine.grid.affine, theirs[key].affine.numpy(), atol=1e-6)
    assert (ours[1].kind, ours[1].data.dtype, ours[1].labels) == ("label", torch.uint8, mask.labels)
    assert not torch.equal(ours[0].data, image.data)


def test_an_array_transform_of_monai_draws_the_same_for_all_inputs() -> None:
    image, mask = scan(), label()
    node = tv.FromMONAI(monai.RandAffine(prob=1.0, rotate_range=(0.4, 0.2, 0.1), padding_mode="zeros"))
    mine, other, moved = node(image, image, mask, rng=np.random.default_rng(SEED))
    assert torch.equal(mine.data, other.data)
    direct = monai.RandAffine(prob=1.0, rotate_range=(0.4, 0.2, 0.1), padding_mode="zeros")
    direct.set_random_state(at_once_seed())
    assert torch.equal(mine.data, direct(meta(image)).as_tensor())
    assert set(moved.data.unique().tolist()) <= {0, 2, 4}
    np.testing.assert_array_equal(moved.grid.affine, mine.grid.affine)


@pytest.mark.parametrize(
    "transform",
    [
        monai.RandAffine(prob=1.0, rotate_range=(0.3, 0.2, 0.4), scale_range=0.1, padding_mode="border"),
        monai.Flip(spatial_axis=(0, 2)),
        monai.Spacing(pixdim=(1.3, 1.3, 1.3), padding_mode="border", dtype=torch.float64),
        monai.Orientation("PIR"),
        monai.SpatialPad((20, 20, 20), mode="edge"),
        monai.CenterSpatialCrop((5, 6, 3)),
        monai.Compose([monai.RandFlip(prob=1, spatial_axis=1), monai.RandRotate90(prob=1)]),
    ],
    ids=lambda t: type(t).__name__,
)
def test_the_world_stays_where_monai_says_it_is(transform: object) -> None:
    source = grid((14, 13, 12))
    seen = tv.FromMONAI(transform)(ramp(source), rng=np.random.default_rng(3))
    points = seen.grid.to_world(np.moveaxis(np.indices(seen.grid.shape), 0, -1))
    index = source.to_index(points)
    inside = ((index > 0.5) & (index < np.array(source.shape) - 1.5)).all(-1)
    assert inside.sum() > 30
    got = np.moveaxis(seen.numpy(), 0, -1)
    np.testing.assert_allclose(got[inside], points[inside], atol=2e-3)


def test_one_slice_is_two_dimensional_for_monai() -> None:
    flat = Image(scan((12, 10, 1)).data, grid((12, 10, 1)))
    node = tv.FromMONAI(monai.RandRotate(range_x=0.5, prob=1.0, keep_size=True))
    turned = node(flat, rng=np.random.default_rng(SEED))
    direct = monai.RandRotate(range_x=0.5, prob=1.0, keep_size=True)
    direct.set_random_state(at_once_seed())
    assert torch.equal(turned.data[..., 0], torch.as_tensor(direct(flat.data[..., 0])).as_tensor())
    assert turned.grid.shape == (12, 10, 1)
    flipped = tv.FromMONAI(monai.Flip(spatial_axis=1), random=False)(ramp(flat.grid))
    assert reads_itself(flipped, flat.grid) == 120
    padded = tv.FromMONAI(monai.SpatialPad((14, 14), mode="edge"), random=False)(ramp(flat.grid))
    assert padded.grid.shape == (14, 14, 1)
    places = padded.grid.to_world(np.moveaxis(np.indices(padded.grid.shape), 0, -1))[1:-1, 2:-2]
    np.testing.assert_allclose(np.moveaxis(padded.numpy(), 0, -1)[1:-1, 2:-2], places, atol=1e-4)


def test_what_monai_can_not_be_asked_for_is_refused() -> None:
    image, mask = scan(), label()
    with pytest.raises(GraphError, match="an input for each key"):
        tv.FromMONAI(monai_chain())(tv.Input("image"))
    with pytest.raises(GraphError, match="several samples"):
        tv.FromMONAI(monai.RandSpatialCropSamples((4, 4, 4), num_samples=3, random_size=False))(image)
    with pytest.raises(GraphError, match="values between its own"):
        tv.FromMONAI(monai.RandAffined(["a", "b"], prob=1, rotate_range=0.5))(image, mask)
    with pytest.raises(GraphError, match="other channels"):
        tv.FromMONAI(monai.AsDiscrete(to_onehot=5))(mask)
    with pytest.raises(GraphError, match="in another shape"):
        tv.FromMONAI(lambda x: torch.zeros(1, 2, 3, 4))(image)
    with pytest.raises(GraphError, match="can be called"):
        tv.FromMONAI(monai.RandFlip)
    with pytest.raises(GraphError, match="can be called"):
        tv.FromTorchIO("RandomFlip")


def test_keys_name_those_that_are_given() -> None:
    node = tv.FromMONAI(monai.RandFlipd(["x", "y"], prob=1, spatial_axis=0), keys=("y", "x"))
    a, b = node(scan(), label(), rng=np.random.default_rng(0))
    assert torch.equal(a.data, scan().data.flip(1))
    assert torch.equal(b.data, label().data.flip(1))


# ---- TorchIO --------------------------------------------------------------------------------------


def tio_chain():
    return tio.Compose([tio.RandomAffine(degrees=15), tio.RandomFlip(axes=(0, 1)), tio.RandomNoise(std=5)])


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_of_torchio_gives_what_torchio_gives(seed: int) -> None:
    image, mask = scan(), label()
    mine, moved = tv.FromTorchIO(tio_chain())(image, mask, rng=np.random.default_rng(seed))
    with seeded(at_once_seed(seed)):
        subject = tio_chain()(
            tio.Subject(
                input0=tio.ScalarImage(tensor=image.data, affine=image.grid.affine),
                input1=tio.LabelMap(tensor=mask.data, affine=mask.grid.affine),
            )
        )
    assert torch.equal(mine.data, subject["input0"].data)
    assert torch.equal(moved.data, subject["input1"].data.to(torch.uint8))
    # TorchIO moves the voxels, and not the affine.
    assert mine.grid == image.grid
    assert not torch.equal(mine.data, image.data)


@pytest.mark.parametrize(
    "transform",
    [
        tio.Resample((1.3, 1.2, 2.5)),
        tio.ToCanonical(),
        tio.CropOrPad((9, 14, 6)),
        tio.Pad(2, padding_mode="edge"),
    ],
    ids=lambda t: type(t).__name__,
)
def test_the_world_stays_where_torchio_says_it_is(transform: object) -> None:
    source = grid((14, 13, 12))
    seen = tv.FromTorchIO(transform, random=False)(ramp(source))
    points = seen.grid.to_world(np.moveaxis(np.indices(seen.grid.shape), 0, -1))
    index = source.to_index(points)
    inside = ((index > 0.5) & (index < np.array(source.shape) - 1.5)).all(-1)
    assert inside.sum() > 30
    np.testing.assert_allclose(np.moveaxis(seen.numpy(), 0, -1)[inside], points[inside], atol=2e-3)


def test_what_shows_the_world_displaced_can_not_be_put_back() -> None:
    x = tv.Input("x")
    tiles = tv.GridCrop(8)(x)
    for displaced in (
        tv.FromTorchIO(tio.RandomAffine()),
        tv.FromTorchIO(tio_chain()),
        tv.FromMONAI(monai.Rand3DElastic((3, 4), (1, 2))),
    ):
        with pytest.raises(GraphError, match="can't be put back"):
            tv.Put(like=x)(displaced(tiles))
    tv.Put(like=x)(tv.FromTorchIO(tio.RandomNoise())(tiles))
    tv.Put(like=x)(tv.FromMONAI(monai.RandFlip(0.5))(tiles))


# ---- functions ------------------------------------------------------------------------------------


def noisy(x: torch.Tensor) -> torch.Tensor:
    """Draws from every generator there is."""
    return x + torch.rand(x.shape) + float(np.random.rand()) + python_random.random()


def test_a_function_draws_from_seeded_generators_and_leaves_them_alone() -> None:
    image = scan()
    before = python_random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    a, b = tv.Function(noisy)(image, image, rng=np.random.default_rng(SEED))
    after = python_random.getstate(), np.random.get_state()[1], torch.get_rng_state()
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
    assert torch.equal(before[2], after[2])
    with seeded(at_once_seed()):
        assert torch.equal(a.data, noisy(image.data))
    assert torch.equal(a.data, b.data)
    assert not torch.equal(a.data, tv.Function(noisy)(image, rng=np.random.default_rng(SEED + 1)).data)


def test_a_pointwise_function_leaves_no_mark_of_a_crop() -> None:
    image = scan()
    look = tv.Affine(rotation=(0, 0, 20))
    inner = image.grid[3:8, 3:8, 2:6]
    x = tv.Input("x")
    whole = tv.Function(torch.square, random=False, pointwise=True)(x)
    seen = evaluate([look(tv.Crop((3, 3, 2), (5, 5, 4))(whole))], {"x": image})[0]
    squared = image.replace(data=image.data**2)
    np.testing.assert_allclose(seen.numpy(), squared.on(seen.grid).numpy(), rtol=1e-5)
    assert seen.grid.shape == inner.shape


def test_a_function_sees_the_frame_and_labels_stay_labels() -> None:
    centred = tv.Function(lambda x: x - x.mean(), random=False)(scan())
    assert abs(float(centred.data.mean())) < 1e-4
    shifted = tv.Function(lambda x: x.roll(1, 1), random=False)(label())
    assert shifted.kind == "label"
    assert torch.equal(shifted.data, label().data.roll(1, 1))


@pytest.mark.parametrize("pointwise", [False, True])
def test_a_function_that_moves_voxels_is_refused(pointwise: bool) -> None:
    with pytest.raises(GraphError, match="as many voxels as it takes"):
        tv.Function(lambda x: x[:, 1:], pointwise=pointwise)(scan())
    with pytest.raises(GraphError, match="as many voxels as it takes"):
        tv.Function(lambda x: None, pointwise=pointwise)(scan())


# ---- in a graph -----------------------------------------------------------------------------------

NODES = {
    "FromMONAI": tv.FromMONAI(monai_chain()),
    "FromTorchIO": tv.FromTorchIO(tio_chain()),
    "Function": tv.Function(noisy),
}


@pytest.mark.parametrize("name", NODES)
def test_a_draw_depends_on_the_sample_alone(name: str) -> None:
    inputs = tv.Input("x"), tv.Input("y", kind="label", labels={"a": 2, "b": 4})
    case = {"x": scan(), "y": label()}
    if name == "Function":  # noise would leave no label
        inputs, case = (tv.Input("x"), tv.Input("y")), {"x": scan(), "y": scan()}
    first = [evaluate(NODES[name](*inputs), case, sample=n)[0].data for n in (3, 4, 3)]
    again = pickle.loads(pickle.dumps(NODES[name]))
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert torch.equal(evaluate(again(*inputs), case, sample=3)[0].data, first[0])


@pytest.mark.parametrize("name", ["FromMONAI", "FromTorchIO"])
def test_the_number_of_workers_changes_nothing(name: str, tmp_path) -> None:
    cohort = cohort_on_disk(tmp_path, cases=2)
    x, y = tv.Input("image"), tv.Input("mask", kind="label")
    a, b = NODES[name](*tv.RandomCrop(6)(x, y))
    plan = Plan([tv.Network(Identity())(a), b])
    runs = []
    for workers in (0, 2):
        samples = Samples(plan, list(cohort), [(plan.outputs[0], b)], 3, None)
        runs.append(list(batches(samples, Steps(0, 2, 2), workers)))
    for one, two in zip(*runs, strict=True):
        assert torch.equal(one["nodes"][0]["data"], two["nodes"][0]["data"])
        assert torch.equal(one["targets"][0], two["targets"][0])


@pytest.mark.parametrize("name", NODES)
def test_a_saved_model_asks_for_what_no_file_can_hold(name: str, tmp_path) -> None:
    x, y = tv.Input("image"), tv.Input("mask", kind="label")
    a, b = NODES[name](x, y)
    net = tv.Network(tv.networks.UNet(1, 1, channels=(2, 4)))
    full = tv.Put(like=x)(tv.Sigmoid()(net(tv.GridCrop(8)(x))))
    model = tv.Model(train=(net(a), b), predict={"mask": full}, loss=tv.losses.CrossEntropy())
    model.save(tmp_path / "model")
    key = f"{name}.1"
    with pytest.raises(GraphError, match=f"what no file can hold: {name} '{key}'") as caught:
        tv.Model.load(tmp_path / "model")
    assert f'nodes=[{name}(..., name="{key}")]' in str(caught.value)
    field = NODES[name].handed[0]
    handed = type(NODES[name])(getattr(NODES[name], field), name=key)
    loaded = tv.Model.load(tmp_path / "model", nodes=[handed])
    assert sorted(loaded.plan.keys.values()) == sorted(model.plan.keys.values())
    with pytest.raises(GraphError, match="what no file can hold"):
        tv.Model.load(tmp_path / "model", nodes=[type(NODES[name])(getattr(NODES[name], field))])


def test_one_of_several_holds_adapters_too() -> None:
    node = tv.OneOf([tv.FromMONAI(monai.RandFlip(1.0, 0)), tv.Function(torch.sqrt)], weights=[1, 0])
    assert torch.equal(node(scan(), rng=np.random.default_rng(0)).data, scan().data.flip(1))


def test_what_can_not_be_told_from_a_changed_one_is_not_cached(tmp_path) -> None:
    cohort = cohort_on_disk(tmp_path / "data", cases=1)
    crop = tv.RandomCrop(4)(tv.Function(torch.sqrt, random=False)(tv.Input("image")))
    with pytest.warns(UserWarning, match="Function is not cached"):
        evaluate([crop], next(iter(cohort)), cache=Cache(tmp_path / "cache"))
    assert list((tmp_path / "cache").rglob("*.tvc")) == []
