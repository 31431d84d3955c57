# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""The graph: checks before the run, draws, lazy pulls, streaming, failures."""

from __future__ import annotations

import pickle
import weakref

import numpy as np
import pytest
import torch
from helpers import FILL, Broken, Identity, Same, core_and_outside, evaluate, ramp, reads_itself, world
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_grid, grids

import truevox as tv
from truevox import (
    GraphError,
    Grid,
    GridCrop,
    Image,
    Input,
    Labels,
    Mean,
    Network,
    Put,
    TrueVoxError,
    kernels,
    sampling,
)
from truevox.pipeline import Draw, NodeError, Plan, Pointwise, Transform, node
from truevox.pipeline.data import Failure
from truevox.pipeline.draws import case_of_sample

SCAN = Grid((12, 11, 10), np.diag([1.0, 1.2, 1.5, 1.0]))


def noise(grid: Grid = SCAN, channels: int = 1, seed: int = 0) -> Image:
    data = np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)
    return Image(data, grid, fill=-1.0)


def mask(grid: Grid = SCAN, table: Labels | None = None) -> Image:
    data = np.zeros((1, *grid.shape), np.uint8)
    data[:, 3:7, 4:8, 2:6] = 1
    return Image(data, grid, "label", labels=table or Labels({"mask": 1}))


# ---- one interpolation ----------------------------------------------------------------------


@pytest.fixture
def interpolations(monkeypatch):
    """Names of the interpolating kernels, as they are called."""
    calls: list[str] = []
    for name in ("sample_linear", "sample_nearest", "average_boxes"):
        real = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, lambda *a, _r=real, _n=name, **k: (calls.append(_n), _r(*a, **k))[1]
        )
    real = sampling._separable
    monkeypatch.setattr(sampling, "_separable", lambda *a, **k: (calls.append("separable"), real(*a, **k))[1])
    return calls


def test_identity_between_crop_and_affine_changes_nothing(interpolations):
    """A crop is a frame, not a mask; and the intensity node costs no second interpolation."""
    x = Input("x")
    crop, turn = tv.RandomCrop(6, name="crop"), tv.RandomAffine(rotation=20, scaling=0.1, name="turn")
    (plain,) = evaluate([turn(crop(x))], {"x": noise()})
    assert interpolations == ["sample_linear"]
    for between in (Same(), tv.RandomGamma(log_gamma=0.0), tv.Clip(-100, 100)):
        interpolations.clear()
        (same,) = evaluate([turn(between(crop(x)))], {"x": noise()})
        assert interpolations == ["sample_linear"]
        torch.testing.assert_close(same.data, plain.data, atol=2e-5, rtol=0)
        assert same.grid == plain.grid


def test_a_long_random_chain_interpolates_once(interpolations):
    x, y = Input("x"), Input("y", kind="label")
    a, b = tv.RandomFlip(axes=(0, 1, 2))(*tv.RandomAffine(rotation=10)(*tv.RandomCrop(6)(x, y)))
    a = tv.RandomNoise(0.1)(tv.Clip(-9, 9)(a))
    a, b = tv.RandomAffine(scaling=0.2, translation=1)(a, b)
    evaluate([a, b], {"x": noise(), "y": mask()})
    assert sorted(interpolations) == ["sample_linear", "sample_nearest"]


def test_crops_and_flips_interpolate_never(interpolations):
    x = Input("x")
    evaluate(
        [tv.RandomFlip(probability=1)(tv.RandomCrop(5)(tv.ZScore()(x)))], {"x": noise(SCAN.reorient("LSP"))}
    )
    assert interpolations == []


def test_each_stage_interpolates_at_most_once(interpolations):
    x = Input("x")
    fine = tv.ZScore()(tv.Resample((0.8, 0.9, 1.0))(x))
    turned = tv.RandomAffine(rotation=10, name="t")(fine)
    full = Put(like=x)(Network(Identity(), kind="scalar")(GridCrop(40)(turned)))  # one tile
    evaluate([full], {"x": noise()})
    # Prefix, random chain, Put (the patch and its weights; both again without the padding of a tile that is
    # larger than the scan, to replace voxels beside the border).
    assert len(interpolations) == 6


@given(grids(3, 6, 11), st.integers(0, 50))
@settings(max_examples=25)
def test_world_ramp_through_lazy_pulls(grid: Grid, seed: int):
    x = Input("x", channels=3)
    crop = tv.RandomCrop(4, name="crop")(x)
    turned = tv.RandomAffine(rotation=30, scaling=0.2, translation=1, name="turn")(Same()(crop))
    flipped = tv.RandomFlip(axes=(0, 1, 2), name="flip")(tv.RandomGamma(0.0)(turned))
    small = tv.Resample(tuple((grid.reorient("RAS").spacing * 0.8).tolist()))(Same()(flipped))
    for out in evaluate([crop, turned, flipped, small], {"x": ramp(grid)}, seed=seed):
        core, _ = core_and_outside(grid, out.grid)
        error = np.abs(out.numpy() - world(out.grid))[:, core]
        assert error.max(initial=0) < 1e-2 * grid.spacing.max() + 1e-3


@given(any_grid(4, 9), st.integers(0, 50))
@settings(max_examples=25)
def test_random_spatial_nodes_at_once_keep_the_ramp(grid: Grid, seed: int):
    rng = np.random.default_rng(seed)
    x = ramp(grid)
    for transform in (
        tv.RandomAffine(rotation=40, scaling=0.3, translation=2),
        tv.RandomFlip(axes=(0, 1, 2), probability=0.5),
        tv.RandomCrop(5),
    ):
        out = transform(x, rng=rng)
        assert out.grid.ndim <= 3
        reads_itself(out, grid)
        # A missing dimension stays: nothing turns out of the plane.
        narrow = [a for a in range(3) if grid.shape[a] == 1]
        assert all(
            np.allclose(np.cross(out.grid.affine[:3, a], grid.affine[:3, a]), 0, atol=1e-6) for a in narrow
        )


# ---- draws ----------------------------------------------------------------------


def test_a_draw_depends_on_seed_sample_node_and_path_only():
    base = Draw(3, 11).rng("RandomGamma.1").random(4)
    assert np.array_equal(base, Draw(3, 11).rng("RandomGamma.1").random(4))
    others = [
        Draw(4, 11).rng("RandomGamma.1"),
        Draw(3, 12).rng("RandomGamma.1"),
        Draw(3, 11).rng("RandomGamma.2"),
        Draw(3, 11).at("GridCrop.1", 0).rng("RandomGamma.1"),
        Draw(3, 11).at("GridCrop.1", 1).rng("RandomGamma.1"),
    ]
    values = {tuple(o.random(4)) for o in others}
    assert len(values) == len(others)
    assert tuple(base) not in values


@given(st.integers(0, 9), st.integers(1, 12), st.integers(0, 5))
def test_every_case_comes_once_per_lap(seed: int, cases: int, lap: int):
    assert sorted(case_of_sample(seed, lap * cases + k, cases) for k in range(cases)) == list(range(cases))


def test_laps_are_shuffled_differently():
    laps = [tuple(case_of_sample(0, lap * 20 + k, 20) for k in range(20)) for lap in range(3)]
    assert len(set(laps)) == 3


def test_one_object_draws_once_for_all_inputs_and_calls():
    x, y = Input("x"), Input("y")
    gamma = tv.RandomGamma(1.0)
    image = noise()
    together = evaluate(list(gamma(x, y)), {"x": image, "y": image})
    apart = evaluate([gamma(x), gamma(y)], {"x": image, "y": image})
    assert torch.equal(together[0].data, together[1].data)
    assert torch.equal(apart[0].data, together[0].data)
    assert not torch.equal(together[0].data, image.data)
    other = evaluate([gamma(x), tv.RandomGamma(1.0)(y)], {"x": image, "y": image})
    assert not torch.equal(other[0].data, other[1].data)


def test_unrelated_nodes_do_not_move_the_draws():
    x = Input("x")
    wanted = tv.RandomGamma(1.0)(tv.RandomCrop(5)(x))
    (alone,) = evaluate([wanted], {"x": noise()})
    more = tv.RandomNoise(1.0)(tv.RandomAffine(rotation=5)(x))
    (first, _) = evaluate([wanted, more], {"x": noise()})
    assert torch.equal(alone.data, first.data)
    # A name holds the draw even against nodes of the same class.
    named = tv.RandomGamma(1.0, name="mine")(x)
    (a,) = evaluate([named], {"x": noise()})
    (_, b) = evaluate([tv.RandomGamma(1.0)(x), named], {"x": noise()})
    assert torch.equal(a.data, b.data)


def test_samples_and_seeds_differ():
    x = tv.RandomGamma(1.0)(Input("x"))
    draws = [evaluate([x], {"x": noise()}, seed=s, sample=n)[0].data for s, n in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_tiles_draw_apart():
    x = Input("x")
    tiles = tv.RandomGamma(1.0)(GridCrop(6, 0.0)(x))
    image = Image(torch.linspace(0, 1, 6).view(1, 6, 1, 1).repeat(1, 2, 6, 6), Grid((12, 6, 6)))
    (out,) = evaluate([Put(like=x, weights="uniform")(tiles)], {"x": image})
    assert not torch.equal(out.data[:, :6], out.data[:, 6:])


def test_two_nodes_of_one_name_are_refused():
    x = Input("x")
    with pytest.raises(GraphError, match="same name"):
        Plan([tv.RandomGamma(name="a")(x), tv.RandomNoise(name="a")(x)])


def test_keys_are_kept_when_given():
    x = Input("x")
    gamma = tv.RandomGamma(1.0)
    out = gamma(x)
    keys = {call.op: "other" if call.op is gamma else "Read.1" for call in Plan([out]).calls}
    assert Plan([out], keys).name(out.call) == "other"


# ---- graph equals eager ----------------------------------------------------------------------


TURN = tv.RandomAffine(rotation=15, scaling=0.1, translation=2)
NODES: list[tuple[str, Transform, tuple[str, ...]]] = [
    ("zscore", tv.ZScore(), ("x",)),
    ("zscore nonzero", tv.ZScore(mask="nonzero"), ("x",)),
    ("clip", tv.Clip(-0.5, 0.5), ("x",)),
    ("clip percentile", tv.Clip(5, 95, "percentile"), ("x",)),
    ("gamma", tv.RandomGamma(0.7), ("x",)),
    ("noise", tv.RandomNoise(0.5), ("x",)),
    ("resample", tv.Resample((2.0, 1.0, 1.1)), ("x",)),
    ("affine", TURN, ("x", "y")),
    ("flip", tv.RandomFlip(axes=(0, 1, 2)), ("x", "y")),
    ("elastic", tv.RandomElastic(2, 6), ("x", "y")),
    ("reorient", tv.Reorient("PSL"), ("x", "y")),
    ("thick slices", tv.RandomAnisotropy((3, 4)), ("x",)),
    ("cutout", tv.RandomCutout(2, (0.3, 0.6)), ("x",)),
    ("one of", tv.OneOf([tv.RandomAffine(20), tv.RandomElastic(2, 6)]), ("x", "y")),
    ("some of", tv.SomeOf([tv.RandomGamma(0.5), tv.RandomNoise(1.0), tv.RandomFlip()], 2), ("x", "z")),
    ("crop", tv.RandomCrop(5), ("x", "y")),
    ("crop spacing", tv.RandomCrop(5, spacing=1.4), ("x", "y")),
    ("stack", tv.Stack(), ("x", "z")),
    ("mean", Mean(), ("x", "z")),
    ("sigmoid", tv.Sigmoid(), ("x",)),
    ("softmax", tv.Softmax(), ("both",)),
    ("network", Network(torch.nn.Conv3d(2, 3, 3)), ("both",)),
]


@pytest.mark.parametrize(("op", "names"), [n[1:] for n in NODES], ids=[n[0] for n in NODES])
def test_graph_equals_eager(monkeypatch, op: Transform, names: tuple[str, ...]):
    images = {"x": noise(), "y": mask(), "z": noise(seed=1), "both": noise(channels=2, seed=2)}
    inputs = {
        "x": Input("x"),
        "y": Input("y", kind="label", labels=Labels({"mask": 1})),
        "z": Input("z"),
        "both": Input("both", channels=2),
    }
    made = op(*(inputs[n] for n in names))
    nodes = list(made) if isinstance(made, tuple) else [made]
    graph = evaluate(nodes, images)
    # At once, a node draws from a child of the generator it is given: hand it the graph's own stream.
    key = Plan(nodes).name(nodes[0].call)
    monkeypatch.setattr(np.random, "default_rng", lambda seed=None: Draw(0, 0).rng(key))
    given_images = [images[n] for n in names]
    eager = op(*given_images, rng=np.random.Generator(np.random.Philox(1)))
    for a, b in zip(graph, eager if isinstance(eager, tuple) else (eager,), strict=True):
        assert a.grid == b.grid
        assert a.kind == b.kind
        assert np.allclose(a.fills(), b.fills())
        assert torch.equal(a.data, b.data)
    for a, n in zip(graph, nodes, strict=True):
        assert n.signature.kind == a.kind or a.kind == "probability"
        assert n.signature.channels in (None, a.channels)


def test_graph_equals_eager_with_a_reference():
    other = noise(Grid((7, 8, 9), np.diag([1.5, 1.4, 1.3, 1])))
    x, ref, y = Input("x"), Input("ref"), Input("y", kind="label")
    (like,) = evaluate([tv.Like(ref)(x)], {"x": noise(), "ref": other})
    assert torch.equal(like.data, tv.Like(other)(noise()).data)
    crop = tv.RandomCrop(4, centre_on=y, foreground=1.0)
    (a,) = evaluate([crop(x)], {"x": noise(), "y": mask()})
    b = tv.RandomCrop(4, centre_on=mask(), foreground=1.0)(noise(), rng=np.random.default_rng(0))
    assert a.shape == b.shape == (1, 4, 4, 4)
    tiles = GridCrop(5, 0.3)
    (full,) = evaluate([Put(like=x)(tiles(x))], {"x": noise()})
    assert torch.equal(full.data, Put(like=noise())(tiles(noise())).data)


def test_images_and_nodes_do_not_mix():
    with pytest.raises(GraphError, match="mixture"):
        tv.Stack()(Input("x"), noise())
    with pytest.raises(GraphError, match="node of a graph"):
        tv.Like(Input("x"))(noise())
    with pytest.raises(GraphError, match="is an image"):
        tv.Like(noise())(Input("x"))
    with pytest.raises(TypeError, match="unpacked"):
        iter(tv.ZScore()(Input("x")))


# ---- errors before the run ----------------------------------------------------------------------


def test_unequal_axes_are_refused():
    x = Input("x")
    a, b = GridCrop(4)(x), GridCrop(4)(x)
    with pytest.raises(GraphError, match="fanned out differently"):
        tv.Stack()(a, b)
    tv.Stack()(a, x)  # what is not fanned out is shared


def test_a_patch_size_that_can_not_be_produced_names_the_nearest():
    x = Input("x")
    net = Network(tv.networks.UNet(1, 1, channels=(2, 4, 8)))
    with pytest.raises(GraphError, match="can't produce") as caught:
        evaluate([net(tv.RandomCrop(10)(x))], {"x": noise(Grid((16, 16, 16)))})
    assert "8" in str(caught.value.expected)
    assert "12" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda x, y: tv.RandomCrop(4, centre_on=Network(Identity())(x)), "was given logits"),
        (lambda x, y: tv.RandomCrop(4, foreground=1.5), "probability"),
        (lambda x, y: tv.ZScore()(y), "given a label"),
        (lambda x, y: tv.Stack()(x, y), "given a label"),
        (lambda x, y: Mean()(y, y), "Mean takes"),
        (lambda x, y: Mean()(Network(Identity())(x)), "Mean takes"),
        (lambda x, y: tv.Sigmoid()(y), "probabilities of logits"),
        (lambda x, y: tv.Sigmoid()(tv.Sigmoid()(x)), "probabilities of logits"),
        (lambda x, y: tv.RandomFlip(axes=(3,))(x), "Flip axes"),
        (lambda x, y: tv.ZScore(mask="brain")(x), "nonzero"),  # type: ignore[arg-type]
        (lambda x, y: tv.Clip()(x), "Clip needs"),
        (lambda x, y: tv.Clip(1, 0)(x), "Clip needs"),
        (lambda x, y: Put(like=x, weights="hann"), "weights"),  # type: ignore[arg-type]
        (lambda x, y: Network(tv.networks.UNet(2, 1, channels=(2, 4)))(x), "number of channels"),
        (lambda x, y: Network(tv.networks.UNet(1, 2, channels=(2, 4)), labels=Labels({"a": 1})), ""),
        (lambda x, y: Network(Identity(), ndim=4), "1, 2 or 3"),
    ],
)
def test_refused_when_built(build, text):
    x, y = Input("x"), Input("y", kind="label")
    if not text:
        with pytest.raises(GraphError, match="label table"):
            build(x, y)(x)
        return
    with pytest.raises(GraphError, match=text):
        build(x, y)


def test_a_4d_image_is_refused_where_3d_is_expected():
    with pytest.raises(TrueVoxError, match="4D with 2 volumes") as caught:
        evaluate([Input("x")], {"x": noise(channels=2)})
    assert caught.value.case == "images in memory"
    assert evaluate([Input("x", channels=None)], {"x": noise(channels=2)})[0].channels == 2


def test_undeclared_labels_are_refused():
    bad = mask().replace(data=mask().data * 7)
    with pytest.raises(tv.LabelError, match="does not declare") as caught:
        evaluate([Input("y", kind="label")], {"y": bad})
    assert caught.value.got == [7]


def test_stack_on_different_grids_says_by_how_much():
    x, z = Input("x"), Input("z")
    moved = noise(Grid(SCAN.shape, SCAN.affine + np.array([[0, 0, 0, 0.5], *[[0] * 4] * 3])))
    with pytest.raises(tv.GeometryError, match="not on the same grid") as caught:
        evaluate([tv.Stack()(x, z)], {"x": noise(), "z": moved})
    assert "0.50 mm" in str(caught.value)
    assert "Like" in str(caught.value)
    assert evaluate([tv.Stack()(x, tv.Like(x)(z))], {"x": noise(), "z": moved})[0].channels == 2


# ---- failures ----------------------------------------------------------------------


def test_a_failing_node_names_case_node_and_grids():
    out = Broken(name="my node")(Input("x"))
    with pytest.raises(NodeError) as caught:
        evaluate([out], {"x": noise()})
    text = str(caught.value)
    for part in ("ValueError", "it broke", "images in memory", "my node", "12x11x10", "1.00x1.20x1.50 mm"):
        assert part in text
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__.args == ("it broke", 42)


def test_errors_survive_pickling_and_failures_keep_their_class():
    error = tv.LabelError("bad", case="p1", file="f.nii", node="n", got=[1], expected=2, remedy="do")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is tv.LabelError
    assert str(again) == str(error)
    assert again.got == [1]
    assert str(error).splitlines()[-1] == "  Remedy: do"
    failure = Failure("bad", {"case": "p1", "got": "[1]"}, "Traceback: here", tv.LabelError)
    made = pickle.loads(pickle.dumps(failure)).error()
    assert type(made) is tv.LabelError
    assert "Traceback: here" in made.__notes__[0]


# ---- streaming ----------------------------------------------------------------------


def test_prediction_does_not_hold_all_tiles():
    alive: weakref.WeakSet = weakref.WeakSet()
    most = []

    class Watch(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = x * 1.0
            alive.add(out)
            most.append((len(alive), len(x)))
            return out

    x = Input("x")
    net = Network(Watch(), kind="scalar", lattice=(tv.networks.LatticeMap.identity(3),))
    out = Put(like=x)(net(GridCrop(4, 0.5)(x)))
    evaluate([out], {"x": noise()}, batch_size=3)
    assert len(most) > 20
    assert max(n for n, _ in most) <= 2  # this batch, and at most the one before
    assert max(b for _, b in most) == 3


def test_several_outputs_share_one_pass():
    calls = []

    class Count(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return x * 1.0

    x = Input("x")
    net = Network(Count(), kind="scalar", lattice=(tv.networks.LatticeMap.identity(3),))
    tiles = net(GridCrop(6, 0.0)(x))
    a, b = Put(like=x)(tiles), Put(like=x, weights="uniform")(tiles)
    first, second = evaluate([a, b], {"x": noise()}, batch_size=1)
    assert torch.equal(first.data, second.data)
    assert len(calls) == 2 * 2 * 2


def test_a_cascade_uses_the_first_result():
    """The second stage sees the first one's full output; planning leaves no unrun network behind."""
    x = Input("x")
    first = Put(like=x)(Network(Identity(), kind="scalar")(GridCrop(6)(x)))
    whole = Network(Identity(), kind="scalar", name="whole")(x)
    tiles = GridCrop(5)(tv.Stack()(x, first))
    mixed = Mean()(Network(Identity(), kind="scalar", name="b")(tiles))
    pair = tv.Stack()(mixed, tv.Like(mixed)(whole))
    (out,) = evaluate([Put(like=x)(pair)], {"x": noise()})
    assert out.channels == 3
    torch.testing.assert_close(out.data, noise().data.repeat(3, 1, 1, 1))


def test_a_user_node_in_ten_lines():
    @node
    class Square(Pointwise):
        power: float = 2.0

        def values(self, frame, rng):
            return lambda x: x.abs() ** self.power

    image = noise()
    assert torch.equal(Square()(image).data, image.data**2)
    assert Square()(image).fill == 1.0  # the outside goes through the same function
    assert torch.equal(evaluate([Square(3.0)(Input("x"))], {"x": image})[0].data, image.data.abs() ** 3)


# ---- crops and intensities ----------------------------------------------------------------------


@given(grids(3, 4, 9), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=50)
def test_crops_lie_inside_or_around(grid: Grid, size: int, seed: int):
    crop = tv.RandomCrop(size)(ramp(grid), rng=np.random.default_rng(seed))
    start = np.rint(grid.to_index(crop.grid.to_world((0, 0, 0)))).astype(int)
    for a in range(3):
        if size <= grid.shape[a]:
            assert 0 <= start[a] <= grid.shape[a] - size
        else:  # padded evenly
            assert start[a] == -((size - grid.shape[a]) // 2)
    assert (crop.data == FILL).any() == (size > min(grid.shape))


def test_crops_reach_every_place_equally_often():
    image = noise(Grid((5, 1, 1)))
    starts = [
        int(tv.RandomCrop(3)(image, rng=np.random.default_rng(s)).grid.affine[0, 3]) for s in range(600)
    ]
    counts = np.bincount(starts, minlength=3)
    assert len(counts) == 3
    assert counts.min() > 150  # expected 200, standard deviation 11.5


def test_centred_crops_hold_the_class_and_classes_are_equally_frequent():
    labels = Labels({"a": 1, "b": 2})
    data = np.zeros((1, 20, 20, 20), np.uint8)
    data[:, 4:14, 4:14, 4:14], data[:, 17, 17, 17] = 1, 2
    y = Image(data, Grid((20, 20, 20)), "label", labels=labels)
    crop = tv.RandomCrop(3, centre_on=y, foreground=1.0)
    centres = [int(crop(y, rng=np.random.default_rng(s)).data[0, 1, 1, 1]) for s in range(100)]
    assert set(centres) == {1, 2}
    assert 30 < centres.count(2) < 70
    plain = tv.RandomCrop(3, centre_on=y, foreground=0.0)
    assert 0 in {int(plain(y, rng=np.random.default_rng(s)).data[0, 1, 1, 1]) for s in range(50)}


def test_centre_on_a_coarsened_label():
    labels = Labels({"a": 1, "b": 2})
    data = np.zeros((1, 16, 16, 16), np.uint8)
    data[:, 2:5, 2:5, 2:5] = 2
    y = Input("y", kind="label", labels=labels)
    coarse = tv.Resample(2.0)(y)
    crop = tv.RandomCrop(1, centre_on=coarse, foreground=1.0)(coarse)
    case = {"y": Image(data, Grid((16, 16, 16)), "label", labels=labels)}
    for sample in range(10):
        (out,) = evaluate([crop], case, sample=sample)
        assert float(out.data[2].max()) > 0


def test_no_foreground_falls_back_and_says_so():
    from truevox.pipeline import Frame, Run
    from truevox.pipeline.cases import as_case

    y = Input("y", kind="label")
    out = tv.RandomCrop(40, centre_on=y, foreground=1.0)(y)
    run = Run(Plan([out]))
    empty = mask().replace(data=torch.zeros_like(mask().data))
    lazy = run.values(out, Frame([as_case({"y": empty})], [Draw(0, 0)]))[0]
    assert lazy.image().shape == (1, 40, 40, 40)
    assert sorted(run.remarks) == [
        "RandomCrop.1: no foreground to centre on, uniform crop instead",
        "RandomCrop.1: patch larger than the image (12x11x10), padded",
    ]


def test_zscore_by_numpy_and_its_fill():
    image = noise(channels=2).replace(fill=(0.0, 3.0))
    out = tv.ZScore()(image)
    values = image.numpy().astype(np.float64)
    mean, std = values.mean((1, 2, 3)), values.std((1, 2, 3))
    np.testing.assert_allclose(
        out.numpy(), (values - mean[:, None, None, None]) / std[:, None, None, None], atol=1e-5
    )
    np.testing.assert_allclose(out.fills(), (np.array([0, 3]) - mean) / std, rtol=1e-5)


def test_zscore_of_the_nonzero_leaves_air_alone():
    data = noise().data.clone() + 5
    data[:, :4] = 0
    out = tv.ZScore(mask="nonzero")(noise().replace(data=data, fill=0.0))
    assert (out.data[:, :4] == 0).all()
    assert out.fill == 0.0
    inside = out.data[:, 4:]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("transform", [tv.ZScore(), tv.ZScore(mask="nonzero"), tv.RandomGamma(0.5)])
@pytest.mark.parametrize("value", [0.0, 4.0, -4.0])
def test_constant_images_stay_finite(transform, value: float):
    image = Image(torch.full((1, 3, 3, 3), value), Grid((3, 3, 3)))
    out = transform(image, rng=np.random.default_rng(0))
    assert torch.isfinite(out.data).all()
    if isinstance(transform, tv.RandomGamma):
        assert torch.equal(out.data, image.data)


def test_gamma_by_the_formula():
    image = noise()
    out = tv.RandomGamma(0.7)(image, rng=np.random.default_rng(3)).numpy()
    low, high = image.numpy().min(), image.numpy().max()
    unit, got = (image.numpy() - low) / (high - low), (out - low) / (high - low)
    middle = (unit > 0.2) & (unit < 0.9)
    gamma = np.log(got[middle]) / np.log(unit[middle])
    assert gamma.std() < 1e-3
    assert abs(np.log(gamma.mean())) < 0.7
    assert gamma.mean() != pytest.approx(1.0, abs=1e-3)


def test_noise_has_the_spread_that_was_drawn():
    image = Image(torch.zeros(1, 24, 24, 24), Grid((24, 24, 24)))
    spreads = [float(tv.RandomNoise(2.0)(image, rng=np.random.default_rng(s)).data.std()) for s in range(40)]
    assert max(spreads) < 2.1
    assert 0.7 < np.mean(spreads) < 1.3  # uniform in [0, 2]
    assert torch.equal(tv.RandomNoise(2.0, probability=0.0)(image).data, image.data)


def test_softmax_and_sigmoid_by_the_formula():
    x = noise(channels=3)
    soft, sig = tv.Softmax()(x), tv.Sigmoid()(x)
    e = np.exp(x.numpy())
    np.testing.assert_allclose(soft.numpy(), e / e.sum(0), rtol=1e-5)
    np.testing.assert_allclose(sig.numpy(), 1 / (1 + 1 / e), rtol=1e-5)
    assert soft.kind == sig.kind == "probability"
    assert sum(soft.fills()) == pytest.approx(1)


def test_affine_is_what_it_says():
    grid = Grid((9, 9, 9), np.diag([1.0, 2.0, 3.0, 1.0]))
    image = ramp(grid)
    for seed in range(20):
        turned = tv.RandomAffine(rotation=(0, 0, 30), scaling=0.0)(
            image, rng=np.random.default_rng(seed)
        ).grid
        linear = turned.affine[:3, :3] @ np.linalg.inv(grid.affine[:3, :3])
        angle = np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))
        assert abs(angle) <= 30
        np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(turned.centre, grid.centre, atol=1e-9)
        zoomed = tv.RandomAffine(scaling=0.2, isotropic=True)(image, rng=np.random.default_rng(seed)).grid
        ratio = zoomed.spacing / grid.spacing
        np.testing.assert_allclose(ratio, ratio[0])
        assert 1 / 1.2 <= ratio[0] <= 1 / 0.8
        moved = tv.RandomAffine(translation=5)(image, rng=np.random.default_rng(seed)).grid
        assert (np.abs(moved.centre - grid.centre) <= 5 + 1e-9).all()
        assert moved.displacement(grid) > 0
    with pytest.raises(GraphError, match="each of the three"):
        tv.RandomAffine(rotation=(1, 2, 3, 4))
