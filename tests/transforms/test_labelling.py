# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
"""Label nodes against SciPy, NumPy and closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers import evaluate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import truevox as tv
from truevox import GraphError, Grid, Image, LabelError, Labels
from truevox.pipeline import Plan, serial

TUMOUR = Labels({"necrosis": 1, "oedema": 2, "enhancing": 4})
SIDES = Labels({"left": 1, "right": 2, "stem": 3}, swap=[("left", "right")])


def blobs(table: Labels, shape: tuple[int, ...] = (14, 12, 10), seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(len(table.values) + 1, *shape)), (0, 1, 1, 1))
    data = np.array([0, *table.values], np.uint8)[smooth.argmax(0)]
    affine = np.diag([1.0, 0.8, 2.5, 1])
    return Image(torch.from_numpy(data[None]), Grid(shape, affine), "label", labels=table)


# ---- classes ------------------------------------------------------------------------------------------


def test_one_hot_by_comparison():
    label = blobs(TUMOUR)
    made = tv.OneHot()(label)
    expected = np.stack([label.numpy()[0] == v for v in (0, 1, 2, 4)])
    np.testing.assert_array_equal(made.numpy(), expected)
    assert made.kind == "probability"
    assert made.fill == (1.0, 0.0, 0.0, 0.0)


def test_one_hot_turned_is_shares_that_sum_to_one():
    label = tv.Input("mask", kind="label", labels=TUMOUR)
    graph = tv.RandomAffine(rotation=30)(tv.OneHot()(label))
    made = evaluate([graph], {"mask": blobs(TUMOUR)})[0].numpy()
    np.testing.assert_allclose(made.sum(0), 1, atol=1e-5)
    assert ((made > 0.01) & (made < 0.99)).mean() > 0.05


def test_one_hot_of_an_averaged_label_is_the_average():
    label = tv.Input("mask", kind="label", labels=TUMOUR)
    image = blobs(TUMOUR, (16, 16, 8))
    coarse = tv.Resample((4.0, 4.0, 5.0))
    made, averaged = evaluate([tv.OneHot()(coarse(label)), coarse(label)], {"mask": image})
    assert averaged.kind == made.kind == "probability"
    np.testing.assert_allclose(made.numpy(), averaged.numpy(), atol=1e-6)


def test_merged_classes_then_a_coarse_grid_are_averages_of_the_merged():
    label = tv.Input("mask", kind="label", labels=TUMOUR)
    image = blobs(TUMOUR, (16, 16, 8))
    merge, coarse = tv.MapLabels({"core": ["necrosis", "enhancing"]}), tv.Resample((4.0, 3.2, 5.0))
    first, last = evaluate([coarse(merge(label)), merge(coarse(label))], {"mask": image})
    core = np.isin(image.numpy()[0], (1, 4)).reshape(4, 4, 4, 4, 4, 2).mean((1, 3, 5))
    np.testing.assert_allclose(first.numpy()[0], core, atol=1e-5)
    np.testing.assert_allclose(last.numpy()[0], core, atol=1e-5)


def test_map_labels_renames_and_drops():
    label = blobs(TUMOUR)
    made = tv.MapLabels({"water": "oedema", "core": ["enhancing", "necrosis"]})(label)
    expected = np.array([0, 2, 1, 0, 2])[label.numpy()]
    np.testing.assert_array_equal(made.numpy(), expected)
    assert made.labels == Labels({"water": 1, "core": 2})


def test_map_labels_to_regions_is_their_masks():
    label = blobs(TUMOUR)
    regions = tv.MapLabels({"whole": ["necrosis", "oedema", "enhancing"], "core": ["necrosis", "enhancing"]})
    made = tv.OneHot()(regions(label)).numpy()
    np.testing.assert_array_equal(made[0], label.numpy()[0] > 0)
    np.testing.assert_array_equal(made[1], np.isin(label.numpy()[0], (1, 4)))


def test_map_labels_keeps_sides_and_what_is_ignored():
    table = Labels({"left": 1, "right": 2, "stem": 3}, swap=[("left", "right")], ignore=9)
    data = torch.tensor([0, 1, 2, 3, 9], dtype=torch.uint8).reshape(1, 5, 1, 1)
    label = Image(data, Grid((5,)), "label", 9, table)
    made = tv.MapLabels({"R": "right", "L": "left"})(label)
    assert made.data.flatten().tolist() == [0, 2, 1, 0, 9]
    assert made.labels == Labels({"R": 1, "L": 2}, swap=[("R", "L")], ignore=9)
    assert made.fill == 9
    both = tv.MapLabels({"both": ["left", "right"]})(label)
    assert list(both.labels.swap) == []
    with pytest.raises(LabelError, match="mirror"):
        tv.MapLabels({"L": ["left", "stem"], "R": ["right"]})(label)


def test_map_labels_moves_an_ignored_value_that_a_class_needs():
    label = Image(
        torch.tensor([0, 5, 1]).reshape(1, 3, 1, 1), Grid((3,)), "label", labels=Labels({"a": 5}, ignore=1)
    )
    made = tv.MapLabels({"b": "a"})(label)
    assert made.labels == Labels({"b": 1}, ignore=255)
    assert made.data.flatten().tolist() == [0, 1, 255]


def test_labels_of_a_saved_graph():
    label = tv.Input("mask", kind="label", labels=TUMOUR)
    graph = tv.OneHot()(tv.MapLabels({"core": ["necrosis", "enhancing"]})(label))
    assert graph.signature.labels == Labels({"core": 1})
    assert graph.signature.channels == 1
    written = json.loads(json.dumps(serial.dump([graph], Plan([graph]).keys, lambda _: None)))
    (back,), _ = serial.load(written, lambda _: None)
    image = {"mask": blobs(TUMOUR)}
    assert torch.equal(evaluate([graph], image)[0].data, evaluate([back], image)[0].data)


# ---- components and holes -----------------------------------------------------------------------------


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("table", [TUMOUR, SIDES], ids=["tumour", "sides"])
def test_keep_largest_by_scipy(connectivity: int, table: Labels):
    label = blobs(table)
    made = tv.KeepLargest(connectivity)(label).numpy()[0]
    assert (made != label.numpy()[0]).any()
    for value in table.values:
        mask = label.numpy()[0] == value
        found, count = ndimage.label(mask, ndimage.generate_binary_structure(3, connectivity))
        sizes = ndimage.sum_labels(mask, found, range(1, count + 1))
        np.testing.assert_array_equal(made == value, found == 1 + np.argmax(sizes))


def test_the_largest_is_that_of_the_scan_whatever_the_crop_shows():
    line = torch.tensor([1, 1, 1, 0, 1, 0, 0], dtype=torch.uint8).reshape(1, 7, 1, 1)
    label = Image(line, Grid((7,)), "label", labels=Labels({"x": 1}))
    scan = tv.Input("mask", kind="label", labels={"x": 1})
    graph = tv.KeepLargest()(tv.Like(tv.Input("part"))(scan))
    part = label.on(label.grid.crop((2, 0, 0), (5, 1, 1)))
    made = evaluate([graph], {"mask": label, "part": part})[0]
    assert made.data.flatten().tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("least", [0.004, 0.02, 0.1])
def test_remove_small_by_scipy(least: float):
    label = blobs(TUMOUR)
    made = tv.RemoveSmall(least, connectivity=1)(label).numpy()[0]
    for value in TUMOUR.values:
        found, count = ndimage.label(label.numpy()[0] == value)
        kept = [k for k in range(1, count + 1) if (found == k).sum() * 1.0 * 0.8 * 2.5 / 1000 >= least]
        np.testing.assert_array_equal(made == value, np.isin(found, kept))


def test_a_component_of_just_the_volume_stays():
    data = np.zeros((1, 9, 1, 1), np.uint8)
    data[0, 2:5] = 1
    label = Image(torch.from_numpy(data), Grid((9,), np.diag([0.1, 1, 1, 1])), "label", labels=TUMOUR)
    assert int(tv.RemoveSmall(3 * 0.1 / 1000)(label).data.sum()) == 3
    assert int(tv.RemoveSmall(3.01 * 0.1 / 1000)(label).data.sum()) == 0


def test_fill_holes_by_scipy_and_other_classes_stay():
    i, j, k = np.meshgrid(*[np.arange(15) - 7] * 3, indexing="ij")
    radius = np.sqrt(i**2 + j**2 + k**2)
    data = np.where((radius > 3) & (radius < 6), 1, 0)
    data[7, 7, 7] = 2
    label = Image(torch.from_numpy(data[None]), Grid((15, 15, 15)), "label", labels=Labels({"a": 1, "b": 2}))
    made = tv.FillHoles()(label).numpy()[0]
    filled = ndimage.binary_fill_holes(data == 1)
    np.testing.assert_array_equal(made == 1, filled & (data != 2))
    assert made[7, 7, 7] == 2
    open_shell = data.copy()
    open_shell[7:, 7, 7] = 0
    again = tv.FillHoles()(label.replace(data=torch.from_numpy(open_shell[None]))).numpy()[0]
    np.testing.assert_array_equal(again, open_shell)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_fill_holes_of_a_slice_wherever_its_plane_lies(axis: int):
    ring = np.ones((5, 5), np.uint8)
    ring[2, 2] = 0
    data = np.expand_dims(ring, axis)
    label = Image(torch.from_numpy(data[None].copy()), Grid(data.shape), "label", labels=Labels({"a": 1}))
    assert int(tv.FillHoles()(label).data.sum()) == 25


def test_a_ring_in_one_slice_of_a_volume_is_open():
    data = np.zeros((1, 6, 6, 5), np.uint8)
    data[0, 1:4, 1:4, 2] = 1
    data[0, 2, 2, 2] = 0
    label = Image(torch.from_numpy(data), Grid((6, 6, 5)), "label", labels=Labels({"a": 1}))
    assert int(tv.FillHoles()(label).data.sum()) == 8
    data[0, 2, 2, 1] = data[0, 2, 2, 3] = 1
    assert int(tv.FillHoles()(label).data.sum()) == 11


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), connectivity=st.integers(1, 3))
def test_cleaning_class_by_class_is_scipy_on_the_whole_array(seed: int, connectivity: int):
    # The oracle sees whole arrays, the transforms boxes. A class may have a negative value, or several.
    rng = np.random.default_rng(seed)
    table = Labels({"a": 1, "b": -2, "c": [7, 9]})
    data = rng.choice([0, 0, 0, 1, -2, 7, 9], size=rng.integers(1, 7, 3)).astype(np.int16)
    grid = Grid(data.shape)
    label = Image(torch.from_numpy(data[None]), grid, "label", labels=table)
    structure = ndimage.generate_binary_structure(3, connectivity)
    largest, large, filled = data.copy(), data.copy(), data.copy()
    flat = tuple(a for a, n in enumerate(data.shape) if n == 1)
    for values in ((1,), (-2,), (7, 9)):
        mask = np.isin(data, values)
        found, count = ndimage.label(mask, structure)
        sizes = [int((found == k).sum()) for k in range(1, count + 1)]
        if count:
            largest[mask & (found != 1 + int(np.argmax(sizes)))] = 0
            large[mask & np.isin(found, [k for k, n in enumerate(sizes, 1) if n < 3])] = 0
        if len(flat) < 3:
            whole = np.asarray(ndimage.binary_fill_holes(mask.squeeze(flat))).reshape(mask.shape)
            filled[whole & (filled == 0)] = values[0]
    np.testing.assert_array_equal(tv.KeepLargest(connectivity)(label).numpy()[0], largest)
    np.testing.assert_array_equal(tv.RemoveSmall(0.003, connectivity)(label).numpy()[0], large)
    np.testing.assert_array_equal(tv.FillHoles()(label).numpy()[0], filled)


@pytest.mark.parametrize("op", [tv.KeepLargest(), tv.FillHoles(), tv.RemoveSmall(0.1)])
@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full_labels_are_left_alone(op, value: int):
    data = torch.full((1, 6, 6, 6), value, dtype=torch.uint8)
    label = Image(data, Grid((6, 6, 6)), "label", labels=Labels({"a": 1}))
    assert torch.equal(op(label).data, data)


# ---- distances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.0, 2.0)])
def test_distance_to_a_ball(spacing: tuple[float, ...]):
    shape = np.array([41, 31, 19])
    place = np.moveaxis(np.indices(tuple(shape)), 0, -1) * spacing - (shape - 1) / 2 * spacing
    radius = np.linalg.norm(place, axis=-1)
    label = Image(
        torch.from_numpy((radius < 9).astype(np.uint8)[None]),
        Grid(shape.tolist(), np.diag([*spacing, 1.0])),
        "label",
        labels=Labels({"ball": 1}),
    )
    made = tv.DistanceMap()(label).numpy()[0]
    # Centres on either side of the surface are at most a voxel's diagonal from each other.
    assert np.abs(made - (radius - 9)).max() <= np.linalg.norm(spacing)
    assert ((made < 0) == (radius < 9)).all()


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_distances_by_brute_force(seed: int):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 3, (5, 4, 3)).astype(np.uint8)
    spacing = rng.uniform(0.5, 3, 3)
    label = Image(
        torch.from_numpy(data[None]),
        Grid((5, 4, 3), np.diag([*spacing, 1])),
        "label",
        labels=Labels({"a": 1, "b": 2}),
    )
    made = tv.DistanceMap(limit_mm=5)(label).numpy()
    place = np.moveaxis(np.indices(data.shape), 0, -1).reshape(-1, 3) * spacing
    apart = np.linalg.norm(place[:, None] - place[None], axis=-1)
    for channel, value in enumerate((1, 2)):
        inside = (data == value).ravel()
        if not inside.any() or inside.all():
            continue
        expected = np.where(inside, -apart[:, ~inside].min(1), apart[:, inside].min(1))
        np.testing.assert_allclose(made[channel].ravel(), np.clip(expected, -5, 5), rtol=1e-5)


def test_distance_where_a_class_is_absent_is_the_limit():
    label = Image(torch.zeros(1, 4, 4, 4, dtype=torch.uint8), Grid((4, 4, 4)), "label", labels=TUMOUR)
    made = tv.DistanceMap(limit_mm=30)(label)
    assert made.shape == (3, 4, 4, 4)
    assert made.data.unique().tolist() == [30.0]
    assert made.fill == 30.0


# ---- raters -------------------------------------------------------------------------------------------


def test_soft_label_is_the_share_of_the_raters():
    raters = [blobs(TUMOUR, seed=s) for s in range(3)]
    made = tv.SoftLabel()(*raters).numpy()
    for channel, value in enumerate((0, 1, 2, 4)):
        votes = np.mean([r.numpy()[0] == value for r in raters], axis=0)
        np.testing.assert_allclose(made[channel], votes, atol=1e-6)
    weighted = tv.SoftLabel(weights=(2, 1, 1))(*raters).numpy()
    votes = np.average([r.numpy()[0] == 2 for r in raters], axis=0, weights=(2, 1, 1))
    np.testing.assert_allclose(weighted[2], votes, atol=1e-6)


def test_raters_who_agree_are_certain_to_the_last_bit():
    label = blobs(TUMOUR)
    made = tv.SoftLabel(weights=(0.3, 0.1, 0.7))(label, label, label)
    assert sorted(made.data.unique().tolist()) == [0.0, 1.0]
    none = tv.SoftLabel(weights=(0, 0, 1))(blobs(TUMOUR, seed=1), blobs(TUMOUR, seed=2), label)
    assert torch.equal(none.data, tv.OneHot()(label).data)


def test_a_rater_is_picked_once_for_all_structures_and_by_weight():
    names = ("a", "b", "c")
    table = {"x": 1}
    first = [tv.Input(n, kind="label", labels=table) for n in names]
    second = [tv.Input(n + "2", kind="label", labels=table) for n in names]
    images = {}
    for k, n in enumerate(names):
        for suffix in ("", "2"):
            data = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
            data[0, k] = 1
            images[n + suffix] = Image(data, Grid((3,)), "label", labels=Labels(table))
    pick = tv.RandomRater(weights=(1, 1, 2))
    graphs = [pick(*first), pick(*second)]
    picks = np.zeros(3)
    for sample in range(200):
        one, two = evaluate(graphs, images, sample=sample)
        assert torch.equal(one.data, two.data)
        picks += one.numpy().ravel()
    assert (np.abs(picks - [50, 50, 100]) < 4 * np.sqrt([37.5, 37.5, 50])).all()


@pytest.mark.parametrize("op", [tv.SoftLabel(), tv.RandomRater()])
def test_raters_with_other_classes_or_grids_are_refused(op):
    with pytest.raises(GraphError, match="same classes"):
        op(blobs(TUMOUR), blobs(SIDES))
    with pytest.raises(GraphError, match="same classes"):
        op(tv.Input("a", kind="label"), tv.Input("b", kind="label"))
    with pytest.raises(tv.GeometryError, match="same grid"):
        op(blobs(TUMOUR), blobs(TUMOUR, (5, 5, 5)))
    with pytest.raises(GraphError, match="one number per rater"):
        type(op)(weights=(1, 1, 1))(blobs(TUMOUR), blobs(TUMOUR))


@pytest.mark.parametrize(
    "op",
    [
        tv.OneHot(),
        tv.MapLabels({"a": "b"}),
        tv.KeepLargest(),
        tv.FillHoles(),
        tv.RemoveSmall(1),
        tv.DistanceMap(),
        tv.SoftLabel(),
        tv.RandomRater(),
    ],
)
def test_what_is_no_label_or_has_no_table_is_refused(op):
    scalar = Image(torch.zeros(1, 2, 2, 2), Grid((2, 2, 2)))
    with pytest.raises(GraphError, match="works on labels"):
        op(scalar)
    with pytest.raises(GraphError, match="works on labels"):
        op(tv.Input("x"))
    with pytest.raises(GraphError, match="values mean"):
        op(Image(scalar.data.byte(), scalar.grid, "label"))


@pytest.mark.parametrize(
    "op", [tv.OneHot(), tv.MapLabels({"a": "core"}), tv.KeepLargest(), tv.DistanceMap(), tv.SoftLabel()]
)
def test_two_labels_in_one_are_refused(op):
    table = Labels({"core": 1})
    with pytest.raises(GraphError, match="one label at a time"):
        op(Image(torch.zeros(2, 2, 2, 2).byte(), Grid((2, 2, 2)), "label", labels=table))


def test_refused_when_built():
    for build in (
        lambda: tv.KeepLargest(4),
        lambda: tv.RemoveSmall(1, connectivity=0),
        lambda: tv.DistanceMap(0),
        lambda: tv.MapLabels({}),
    ):
        with pytest.raises(GraphError):
            build()
    with pytest.raises(LabelError, match="lacks"):
        tv.MapLabels({"a": "lesion"})(blobs(TUMOUR))
