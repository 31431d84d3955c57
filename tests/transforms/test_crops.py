# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Patches: classes by weight, maps of weights, places to avoid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import affine_of, evaluate, ramp
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grids

import truevox as tv
from truevox import GraphError, Grid, Image, Input, Labels
from truevox.pipeline import Cache, Draw, Frame, Plan, Run
from truevox.pipeline.cases import as_case
from truevox.pipeline.serial import dump, load
from truevox.transforms import positions

GRID = Grid((12, 12, 12))
TABLE = Labels({"core": 2, "edge": 5, "far": 7})


def label() -> Image:
    data = np.zeros((1, 12, 12, 12), np.uint8)
    data[:, 2:9, 2:9, 2:9], data[:, 5, 5, 5:7], data[:, 10, 10, 10] = 5, 2, 7
    return Image(data, GRID, "label", labels=TABLE)


def centre_values(crop: tv.RandomCrop, image: Image, count: int) -> np.ndarray:
    """What lies under the centre of many crops of one voxel."""
    return np.array([float(crop(image, rng=np.random.default_rng(s)).data) for s in range(count)])


def test_classes_come_as_often_as_their_weights():
    y = label()
    crop = tv.RandomCrop(1, centre_on=y, foreground=1.0, class_weights={"core": 3, "far": 0})
    found = centre_values(crop, y, 300)
    assert set(found) == {2, 5}
    assert 0.65 < (found == 2).mean() < 0.85  # 0.75, standard deviation 0.025
    by_value = tv.RandomCrop(1, centre_on=y, foreground=1.0, class_weights={2: 3, "7": 0})
    assert np.array_equal(centre_values(by_value, y, 50), found[:50])


def test_class_weights_of_a_coarsened_label_and_of_a_saved_graph():
    y = Input("y", kind="label", labels=TABLE)
    coarse = tv.Resample(2.0)(y)
    crop = tv.RandomCrop(1, centre_on=coarse, foreground=1.0, class_weights={"core": 0, "edge": 0})
    out = crop(coarse)
    again, _ = load(dump([out], Plan([out]).keys, lambda v: None), lambda v: v)
    for sample in range(8):
        (one,) = evaluate([out], {"y": label()}, sample=sample)
        (two,) = evaluate(again, {"y": label()}, sample=sample)
        assert float(one.data[TABLE.channel_names["far"]]) > 0
        assert torch.equal(one.data, two.data)


def test_without_a_class_that_counts_the_crop_is_uniform():
    y = label()
    crop = tv.RandomCrop(1, centre_on=y, foreground=1.0, class_weights={"core": 0, "edge": 0, "far": 0})
    assert (centre_values(crop, y, 100) == 0).mean() > 0.5


def test_centres_follow_a_map():
    grid = Grid((4, 1, 1))
    shares = np.array([0.5, 0.0, 0.125, 0.375])
    weights = Image(shares.astype(np.float32).reshape(1, 4, 1, 1) * 8, grid, "probability")
    table = positions.Density().run([held(weights)], {}, np.random.default_rng(0))[0].image()
    crop = tv.RandomCrop((1, 1, 1), centre_on=table, foreground=1.0)
    found = centre_values(crop, ramp(grid)[:1], 800).astype(int)
    seen = np.bincount(found, minlength=4) / 800
    assert seen[1] == 0
    assert np.abs(seen - shares).max() < 0.07  # standard deviation 0.018 at most


@given(grids(3, 2, 6), st.integers(0, 99))
@settings(max_examples=20)
def test_the_table_of_a_map_is_the_map(grid: Grid, seed: int):
    """Every voxel has its share of the rows, to one row."""
    rng = np.random.default_rng(seed)
    data = rng.random(grid.shape) ** 4 * (rng.random(grid.shape) > 0.3)
    data[0, 0, 0] = 1
    x = Image(data[None].astype(np.float32), grid)
    rows = positions.centres(positions.Density().run([held(x)], {}, rng)[0])
    counts = np.zeros(grid.shape)
    np.add.at(counts, tuple(rows[:, 1:].T), 1)
    wanted = data.astype(np.float32) / data.astype(np.float32).sum(dtype=np.float64) * len(rows)
    assert np.abs(counts - wanted).max() <= 1 + 1e-6
    assert not counts[data == 0].any()


def held(image: Image):
    from truevox.pipeline.lazy import Held

    return Held(image)


def test_a_map_in_a_graph_is_cached_and_its_background_does_not_count(tmp_path):
    """A probability of classes: the channel of the background is no place to centre on."""
    table = Labels({"a": 1, "b": 2})
    data = np.zeros((3, 6, 6, 6), np.float32)
    data[0] = 1
    data[:, 4, 4, 4] = (0, 0.5, 0.5)
    x, p = Input("x"), Input("p", kind="probability", labels=table, channels=3)
    crop = tv.RandomCrop(1, centre_on=p, foreground=1.0)
    out = crop(x)
    nib.save(nib.Nifti1Image(np.moveaxis(data, 0, -1), np.eye(4)), tmp_path / "p.nii")
    nib.save(nib.Nifti1Image(data[1], np.eye(4)), tmp_path / "x.nii")
    (tmp_path / "cohort.csv").write_text("case,x,p\na,x.nii,p.nii\n")
    case = next(iter(tv.Cohort.from_csv(tmp_path / "cohort.csv")))
    plan = Plan([out])
    assert {"Read", "Density"} == {type(c.op).__name__ for c in plan.ends}
    for sample in range(5):
        run = Run(plan, cache=Cache(tmp_path / "cache"))
        seen = run.values(out, Frame([case], [Draw(0, sample)]))[0].image()
        assert seen.grid.to_world((0, 0, 0)).tolist() == [4, 4, 4]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_no_centre_lies_in_what_is_avoided(size: int):
    rng = np.random.default_rng(0)
    data = (rng.random((1, 12, 12, 12)) > 0.05).astype(np.uint8)  # nearly everything
    avoid = Image(data, GRID, "label")
    x = ramp(GRID)
    crop, uniform = tv.RandomCrop(size, avoid=avoid), tv.RandomCrop(size)
    centred = tv.RandomCrop(size, centre_on=label(), foreground=1.0, avoid=avoid)
    hits = 0
    for seed in range(30):
        for op in (crop, centred, uniform):
            out = op(x, rng=np.random.default_rng(seed))
            middle = np.rint(out.numpy()[(slice(None), *[(size - 1) // 2] * 3)]).astype(int)
            if op is uniform:
                hits += data[0][tuple(middle)]
            else:
                assert data[0][tuple(middle)] == 0
    assert hits > 20  # without it, nearly all do


def test_avoid_in_a_graph_on_another_grid_and_everywhere():
    fine = Grid((24, 24, 24), affine_of("LAS", (0.5, 0.5, 0.5), (11.25, -0.25, -0.25)))
    data = np.ones((1, 24, 24, 24), np.uint8)
    data[:, 2:4, :, :] = 0  # index u lies at 11.25 - u / 2: the plane at 10
    x, bad = Input("x", channels=3), Input("bad", kind="label")
    out = tv.RandomCrop(1, avoid=bad)(x)
    assert "Forbidden" in {type(c.op).__name__ for c in Plan([out]).ends}
    for sample in range(5):
        case = {"x": ramp(GRID), "bad": Image(data, fine, "label")}
        (seen,) = evaluate([out], case, sample=sample)
        assert float(seen.data[0]) == 10
    everywhere = Image(np.ones_like(data), fine, "label")
    assert evaluate([out], {"x": ramp(GRID), "bad": everywhere})[0].shape == (3, 1, 1, 1)
    run = Run(Plan([out]))
    run.values(out, Frame([as_case({"x": ramp(GRID), "bad": everywhere})], [Draw(0, 0)]))
    assert list(run.remarks) == ["RandomCrop.1: everything is to be avoided, crop at any place instead"]


def test_draws_are_those_of_before():
    """A crop that avoids nothing makes the draws of one that is not asked to."""
    nothing = Image(np.zeros((1, 12, 12, 12), np.uint8), GRID, "label")
    for seed in range(10):
        one, two = (
            tv.RandomCrop(5, centre_on=label(), avoid=avoid)(ramp(GRID), rng=np.random.default_rng(seed))
            for avoid in (None, nothing)
        )
        assert one.grid == two.grid


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tv.RandomCrop(4, centre_on=label(), class_weights={"tail": 1}), "class that is not there"),
        (lambda: tv.RandomCrop(4, centre_on=label(), class_weights={"core": -1}), "weight of class core"),
        (lambda: tv.RandomCrop(4, class_weights={"core": 1}), "label in centre_on"),
        (lambda: tv.RandomCrop(4, centre_on=Input("x"), class_weights={1: 1}), "label in centre_on"),
        (
            lambda: tv.RandomCrop(4, centre_on=negative(), foreground=1.0)(ramp(GRID)),
            "finite and not negative",
        ),
    ],
)
def test_refused(make, text):
    with pytest.raises(GraphError, match=text):
        make()


def negative() -> Image:
    return Image(-torch.ones(1, *GRID.shape), GRID)
