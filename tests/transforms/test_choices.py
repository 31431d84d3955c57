# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Left to chance: one of several, some, now and then; boxes cut out; thick slices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import FILL, evaluate, ramp, small_net, voxels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects
from strategies import any_grid

import truevox as tv
from truevox import GraphError, Grid, Image, Input, Labels
from truevox.pipeline import Plan, Pointwise, node
from truevox.pipeline.serial import dump, load

GRID = Grid((6, 5, 4), np.diag([1.0, 2.0, 3.0, 1.0]))


@node
class Plus(Pointwise):
    """A number added: which parts acted, and in which order, can be read from the result."""

    number: float = 1.0

    def values(self, frame, rng):
        return lambda x: x + self.number


@node
class Times(Pointwise):
    factor: float = 10.0

    def values(self, frame, rng):
        return lambda x: x * self.factor


@node
class PlusDrawn(Pointwise):
    random = True

    def values(self, frame, rng):
        drawn = rng.random()
        return lambda x: x + drawn


def zero(grid: Grid = GRID) -> Image:
    return Image(torch.zeros(1, *grid.shape), grid)


def results(op: tv.transforms.OneOf, count: int = 400) -> np.ndarray:
    """The number that a choice adds to zero, for many samples."""
    out = op(Input("x"))
    case = {"x": zero(Grid((1,)))}
    return np.array([float(evaluate([out], case, sample=s)[0].data) for s in range(count)])


# ---- choices ----------------------------------------------------------------------


def test_one_of_picks_each_as_often_as_its_weight_says():
    drawn = results(tv.OneOf([Plus(1), Plus(2), Plus(3)], weights=[1, 3, 0]))
    assert set(drawn) == {1, 2}
    assert 0.17 < (drawn == 1).mean() < 0.33  # 0.25, standard deviation 0.022
    even = results(tv.OneOf([Plus(1), Plus(2)]))
    assert 0.41 < (even == 1).mean() < 0.59


def test_some_of_picks_without_repeating_in_the_order_given():
    parts = [Plus(1), Times(10), Plus(2), Plus(3)]
    assert set(results(tv.SomeOf(parts, 4), 20)) == {15.0}  # 1 * 10 + 2 + 3
    pairs = set(results(tv.SomeOf(parts, 2), 200))
    assert pairs == {10.0, 1 + 2, 1 + 3, 0 + 2, 0 + 3, 2 + 3}
    many = results(tv.SomeOf([Plus(1), Plus(1), Plus(1)], (0, 2)))
    assert set(many) == {0, 1, 2}
    assert np.bincount(many.astype(int)).min() > 100  # 133, standard deviation 9.4


def test_with_probability():
    drawn = results(tv.WithProbability(Plus(1), 0.3))
    assert 0.21 < drawn.mean() < 0.39
    assert results(tv.WithProbability(Plus(1), 0.0), 20).max() == 0
    assert results(tv.WithProbability(Plus(1), 1.0), 20).min() == 1


def test_all_inputs_meet_the_same():
    """The same part, with the same draw, whichever image is asked for first."""
    x, z = Input("x"), Input("z")
    op = tv.SomeOf([PlusDrawn(), tv.RandomFlip(0), tv.WithProbability(PlusDrawn()), Plus(1)], (1, 3))
    a, b = op(x, z)
    for sample in range(20):
        case = {"x": zero(), "z": zero()}
        one, two = evaluate([a, b], case, sample=sample)
        late, early = evaluate([b, a], case, sample=sample)
        assert one.grid == two.grid
        assert torch.equal(one.data, two.data)
        assert torch.equal(late.data, one.data)
        assert torch.equal(early.data, one.data)


def test_spatial_parts_keep_image_and_label_together():
    labels = Labels({"mask": 1})
    data = (np.random.default_rng(0).random((1, *GRID.shape)) > 0.5).astype(np.uint8)
    x, y = Input("x"), Input("y", kind="label", labels=labels)
    op = tv.OneOf([tv.RandomFlip((0, 1, 2), 1.0), tv.Crop(1, 3), tv.Reorient("PSR")])
    shapes = set()
    for sample in range(15):
        case = {"x": Image(data.astype(np.float32), GRID), "y": Image(data, GRID, "label", labels=labels)}
        image, label = evaluate(list(op(x, y)), case, sample=sample)
        assert image.grid == label.grid
        assert np.array_equal(image.numpy(), label.numpy())
        shapes.add(image.grid.shape)
    assert shapes == {(6, 5, 4), (3, 3, 3), (5, 4, 6)}


def test_a_choice_of_looks_interpolates_once(monkeypatch):
    from truevox import kernels

    calls: list[str] = []
    for name in ("sample_linear", "warp_linear"):
        real = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *a, _r=real, _n=name: (calls.append(_n), _r(*a))[1])
    affine, elastic = tv.RandomAffine(20, 0.1), tv.RandomElastic(1, 6)
    chain = tv.SomeOf([affine, tv.WithProbability(elastic, 1.0), tv.RandomFlip(0, 1.0)], 3)
    evaluate([chain(tv.RandomCrop(4)(Input("x")))], {"x": zero()})
    assert calls == ["warp_linear"]


def test_nested_and_saved_it_draws_the_same():
    x = Input("x")
    op = tv.OneOf(
        [tv.SomeOf([Plus(1), PlusDrawn(), Times(3)], (1, 2)), tv.WithProbability(Plus(5))], weights=(2, 1)
    )
    out = op(x)
    keys = Plan([out]).keys
    again, loaded = load(dump([out], keys, lambda v: None), lambda v: v, nodes=[Plus, PlusDrawn, Times])
    assert sorted(loaded.values()) == ["OneOf.1", "Read.1"]
    for sample in range(10):
        one, two = (evaluate([o], {"x": zero()}, sample=sample)[0] for o in (out, again[0]))
        assert torch.equal(one.data, two.data)
    with pytest.raises(GraphError, match="not part of TrueVox: Plus"):
        load(dump([out], keys, lambda v: None), lambda v: v)


def test_the_summary_shows_the_parts():
    x, y = Input("x"), Input("y", kind="label")
    a, b = tv.OneOf([tv.RandomAffine(10), tv.RandomElastic(4, 16)])(*tv.RandomCrop(8)(x, y))
    net = tv.Network(small_net(), labels=Labels({"y": 1}))
    model = tv.Model(train=(net(a), b), predict={"y": net(x)}, loss=tv.losses.CrossEntropy())
    text = model.summary()
    assert "OneOf.1" in text
    assert "RandomAffine(rotation=10)" in text
    assert "RandomElastic(displacement=4, spacing=16)" in text
    assert "random chain 1 at most" in text
    twice = tv.Model(
        train=(net(tv.RandomElastic(4, 16)(a)), b), predict={"y": net(x)}, loss=tv.losses.CrossEntropy()
    )
    assert "random chain 2 at most" in twice.summary()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tv.OneOf([]), "at least one"),
        (lambda: tv.OneOf([Plus(), "blur"]), "images of images"),
        (lambda: tv.OneOf([tv.GridCrop(8)]), "images of images"),
        (lambda: tv.WithProbability(tv.Like(Input("x"))), "nothing but their inputs"),
        (lambda: tv.OneOf([Plus(), Plus()], weights=[1]), "weights"),
        (lambda: tv.OneOf([Plus(), Plus()], weights=[0, 0]), "weights"),
        (lambda: tv.OneOf([Plus(), Plus()], weights=[1, -1]), "weights"),
        (lambda: tv.SomeOf([Plus(), Plus()], 3), "count"),
        (lambda: tv.SomeOf([Plus(), Plus()], 2, weights=[1, 0]), "count"),
        (lambda: tv.SomeOf([Plus(), Plus()], 0.5), "count"),
        (lambda: tv.WithProbability(Plus(), 1.5), "probability"),
        (lambda: tv.OneOf([Plus(), tv.Sigmoid()])(Input("x")), "one kind"),
        (lambda: tv.WithProbability(tv.Sigmoid())(Input("x")), "one kind"),
        (lambda: tv.OneOf([Plus(), tv.RandomFlip()])(Input("y", kind="label")), "given a label"),
        (lambda: tv.OneOf([Plus(), tv.RandomFlip()])(zero().replace(kind="label")), "given a label"),
        (
            lambda: tv.Put(like=Input("x"))(
                tv.WithProbability(tv.RandomElastic(1, 8), 0.1)(tv.GridCrop(8)(Input("x")))
            ),
            "can't be put back",
        ),
    ],
)
def test_refused(make, text):
    with pytest.raises(GraphError, match=text):
        make()


# ---- cutout ----------------------------------------------------------------------


@given(any_grid(8, 12), st.integers(0, 99))
@settings(max_examples=40)
def test_cutout_takes_boxes_of_the_size_it_says(grid: Grid, seed: int):
    x = Image(torch.ones(2, *grid.shape), grid, fill=(-1.0, -2.0))
    out = tv.RandomCutout(1, (0.25, 0.5))(x, rng=np.random.default_rng(seed)).numpy()
    gone = out[0] != 1
    assert np.array_equal(out, np.where(gone, np.array([-1, -2]).reshape(2, 1, 1, 1), 1))
    if gone.any():
        box = find_objects(gone.astype(int))[0]
        assert gone[box].all()  # one box, nothing else
        for axis, span in enumerate(box):
            n = grid.shape[axis]
            inside = span.start > 0 and span.stop < n
            assert span.stop - span.start <= 0.5 * n + 1
            assert n == 1 or not inside or span.stop - span.start >= 0.25 * n - 1
    edges = tv.RandomCutout(1, size_mm=(2.0, 4.0), value=7)(x, rng=np.random.default_rng(seed)).numpy()
    assert set(np.unique(edges)) <= {1, 7}
    for axis, span in enumerate(find_objects((edges[0] == 7).astype(int))[0] if (edges == 7).any() else ()):
        if grid.shape[axis] > 1:
            assert (span.stop - span.start - 1) * grid.spacing[axis] <= 4.0 + 1e-6


def test_a_cut_box_stays_where_it_is_in_the_patient():
    """A flip and a crop after it show the same box; several boxes are several."""
    x = Input("x")
    cut = tv.RandomCutout(3, (0.2, 0.4), name="c")(x)
    seen = [tv.Crop(2, 5)(cut), tv.Flip((0, 1))(cut)]
    grid = Grid((12, 12, 12))
    whole, part, mirrored = evaluate([cut, *seen], {"x": Image(torch.ones(1, *grid.shape), grid)})
    assert 0 < float((whole.data == 0).float().mean()) < 0.5
    assert torch.equal(part.data, whole.data[:, 2:7, 2:7, 2:7])
    assert torch.equal(mirrored.data, whole.data.flip(1, 2))
    turned = evaluate([tv.Affine(rotation=(0, 0, 90))(cut)], {"x": Image(torch.ones(1, *grid.shape), grid)})
    assert torch.equal(turned[0].data, whole.data.rot90(-1, (1, 2)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tv.RandomCutout(0), "count"),
        (lambda: tv.RandomCutout(1, 1.5), "size"),
        (lambda: tv.RandomCutout(1, size_mm=(3, 1)), "size_mm"),
        (lambda: tv.RandomCutout()(zero().replace(kind="label")), "given a label"),
        (lambda: tv.RandomAnisotropy(axes=3), "0, 1 or 2"),
        (lambda: tv.RandomAnisotropy(axes=()), "at least one"),
        (lambda: tv.RandomAnisotropy((3, 1)), "thickness"),
    ],
)
def test_cutout_and_thick_slices_refuse(make, text):
    with pytest.raises(GraphError, match=text):
        make()


# ---- thick slices ----------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_are_averages_over_slabs(axis: int):
    """Slabs of whole voxels by NumPy's mean, and its interpolation back."""
    grid = Grid((12, 12, 12), np.diag([1.0, 0.5, 2.0, 1.0]))
    x = Image(np.random.default_rng(0).normal(size=(1, 12, 12, 12)).astype(np.float32), grid)
    thick = 4 * grid.spacing[axis]
    out = tv.RandomAnisotropy((thick, thick), axes=axis)(x).numpy()[0]
    slabs = np.moveaxis(x.numpy()[0], axis, 0).reshape(3, 4, 12, 12).mean(1)
    where = 1.5 + 4 * np.arange(3)
    wanted = np.apply_along_axis(lambda column: np.interp(np.arange(12), where, column), 0, slabs)
    np.testing.assert_allclose(np.moveaxis(out, axis, 0), wanted, atol=1e-5)


def test_thick_slices_of_a_box_by_its_integral():
    """Slices of 2.5 voxels: each holds the share of the bright slab that it overlaps."""
    grid = Grid((20,), np.diag([2.0, 1, 1, 1]))
    data = np.zeros((1, 20, 1, 1), np.float32)
    data[:, 7:12] = 1  # from 6.5 to 11.5
    out = tv.RandomAnisotropy((5.0, 5.0))(Image(data, grid)).numpy().ravel()
    low = -0.5 + 2.5 * np.arange(8)
    share = np.clip(np.minimum(low + 2.5, 11.5) - np.maximum(low, 6.5), 0, None) / 2.5
    np.testing.assert_allclose(out, np.interp(np.arange(20), low + 1.25, share), atol=1e-6)
    assert out.sum() == pytest.approx(5, abs=0.3)


def test_thick_slices_of_a_ramp_and_of_thick_voxels():
    grid = Grid((12, 12, 12), np.diag([1.0, 1.0, 5.0, 1.0]))
    x = ramp(grid)
    axes = set()
    for seed in range(30):
        out = tv.RandomAnisotropy((2.0, 4.0))(x, rng=np.random.default_rng(seed))
        changed = [a for a in range(3) if not np.allclose(out.numpy()[a], x.numpy()[a])]
        axes.add(tuple(changed))
        inner = (slice(None), slice(3, 9), slice(3, 9))
        # Averages of a ramp are the ramp, away from the ends: within 1/8 of a voxel over the thickness, as a
        # voxel that is cut counts as constant.
        torch.testing.assert_close(out.data[inner], x.data[inner].float(), atol=1 / 16 + 1e-3, rtol=0)
        assert out.fill == FILL
    assert axes == {(0,), (1,), ()}  # slices of 5 mm can't be cut thinner
    assert voxels(grid).shape[:3] == out.shape[1:]


def test_saved_and_loaded_they_act_the_same():
    x = Input("x")
    outputs = [tv.RandomCutout(2, size_mm=(2, 4), value=3.0)(x), tv.RandomAnisotropy((3, 4), axes=(0, 2))(x)]
    keys = Plan(outputs).keys
    again, _ = load(dump(outputs, keys, lambda v: None), lambda v: v)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32))
    case = {"x": Image(noise, GRID)}
    for sample in range(3):
        one, two = (evaluate(o, case, sample=sample) for o in (outputs, again))
        assert all(torch.equal(a.data, b.data) for a, b in zip(one, two, strict=True))
        assert not any(torch.equal(a.data, noise) for a in one)
