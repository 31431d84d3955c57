# pyright: reportArgumentType=false
"""What every intensity node keeps to, whatever it does."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers import evaluate, ramp
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_grid

import truevox as tv
from truevox import GraphError, Grid, Image
from truevox.pipeline import Draw, Frame, Node, Plan, Run, Transform, serial
from truevox.pipeline.cases import as_case
from truevox.pipeline.lazy import Lazy

RANDOM = [
    tv.RandomGamma(0.3),
    tv.RandomBrightness(0.5),
    tv.RandomBrightness(0.5, per_channel=True),
    tv.RandomContrast(0.5),
    tv.RandomContrast(0.5, keep_range=True, per_channel=True),
    tv.RandomNoise(0.1),
    tv.RandomRicianNoise((0.1, 0.2)),
    tv.RandomBlur((0.5, 2.0)),
    tv.RandomBlur(2.0, per_axis=True),
    tv.RandomSharpen((0.2, 1.0)),
    tv.RandomLowResolution((2, 4)),
    tv.RandomBiasField((0.2, 0.5), wavelength=(10, 40)),
    tv.RandomSpike((0.1, 0.3), spikes=2),
    tv.RandomGhosting((0.2, 0.5)),
    tv.RandomGibbs((0.4, 0.8)),
    tv.RandomMotion(rotation=20, translation=2, movements=3),
]
FIXED = [
    tv.ZScore(),
    tv.ZScore(mask="nonzero", percentiles=(5, 95)),
    tv.Clip(-0.5, 0.5),
    tv.Clip(2, 98, unit="percentile"),
    tv.Rescale(-1, 1, percentiles=(1, 99)),
    tv.Rescale(clip=False),
    tv.Window.preset("brain"),
    tv.HistogramMatch(((0.0, 1.0, 5.0),), (0, 50, 100)),
    tv.NyulLandmarks(((0.0, 30.0, 100.0),), (1, 50, 99)),
]
NOISE = (tv.RandomNoise, tv.RandomRicianNoise)
PATCHWISE = (tv.RandomGhosting, tv.RandomGibbs, tv.RandomMotion, tv.RandomSpike)


def named(op: Transform) -> str:
    return type(op).__name__


def noise(grid: Grid, seed: int = 0, channels: int = 1, fill: float = 0.0) -> Image:
    data = np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)
    return Image(torch.from_numpy(data), grid, fill=fill)


@pytest.mark.parametrize("op", [*RANDOM, *FIXED], ids=named)
@settings(max_examples=6)
@given(grid=any_grid(least=2, most=7), seed=st.integers(0, 2**32))
def test_any_dimension_stays_finite_and_in_place(op: Transform, grid: Grid, seed: int):
    image = noise(grid, seed)
    made = op(image, rng=np.random.default_rng(seed))
    assert made.grid == grid
    assert made.data.shape == image.data.shape
    assert made.data.dtype == torch.float32
    assert bool(made.data.isfinite().all())


@pytest.mark.parametrize("op", RANDOM, ids=named)
def test_one_draw_for_all_inputs_and_calls(op: Transform):
    image = noise(Grid((9, 8, 7)))
    first, second = op(image, image, rng=np.random.default_rng(3))
    again = op(image, rng=np.random.default_rng(3))
    other = op(image, rng=np.random.default_rng(4))
    # Noise has the same strength in all, but is of its own for each.
    assert torch.equal(first.data, second.data) != isinstance(op, NOISE)
    assert torch.equal(first.data, again.data)
    assert not torch.equal(first.data, other.data)
    assert not torch.equal(first.data, image.data)


@pytest.mark.parametrize("op", RANDOM, ids=named)
def test_probability_zero_leaves_all_as_it_is(op: Transform):
    image = noise(Grid((9, 8, 7)))
    assert torch.equal(dataclasses.replace(op, probability=0.0)(image).data, image.data)


@pytest.mark.parametrize("op", [*RANDOM, *FIXED], ids=named)
@pytest.mark.parametrize("value", [0.0, -7.5])
def test_constant_images_stay_finite(op: Transform, value: float):
    image = Image(torch.full((1, 6, 5, 4), value), Grid((6, 5, 4)), fill=value)
    assert bool(op(image, rng=np.random.default_rng(0)).data.isfinite().all())


MIXING = [op for op in RANDOM if isinstance(op, (*PATCHWISE, tv.RandomBlur, tv.RandomSharpen))]


@pytest.mark.parametrize("op", [*MIXING, tv.RandomLowResolution((2, 4))], ids=named)
def test_weights_of_linear_effects_sum_to_one(op: Transform):
    image = Image(torch.full((2, 8, 7, 6), 3.25), Grid((8, 7, 6)), fill=3.25)
    made = op(image, rng=np.random.default_rng(1))
    np.testing.assert_allclose(made.numpy(), 3.25, rtol=1e-5)


@pytest.mark.parametrize("op", [*RANDOM, *FIXED], ids=named)
def test_whole_numbers_are_taken(op: Transform):
    data = torch.randint(-900, 1200, (1, 8, 7, 6), generator=torch.Generator().manual_seed(0))
    image = Image(data.to(torch.int16), Grid((8, 7, 6)))
    made = op(image, rng=np.random.default_rng(0))
    exact = op(image.replace(data=data.double()), rng=np.random.default_rng(0))
    np.testing.assert_allclose(made.numpy(), exact.numpy(), rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("op", [*RANDOM, *FIXED], ids=named)
def test_labels_are_refused(op: Transform):
    label = Image(torch.ones(1, 4, 4, 4, dtype=torch.uint8), Grid((4, 4, 4)), "label")
    with pytest.raises(GraphError, match="label"):
        op(label)
    with pytest.raises(GraphError, match="label"):
        op(tv.Input("mask", kind="label"))


@pytest.mark.parametrize("op", [*RANDOM, *FIXED], ids=named)
def test_saved_and_read_it_does_the_same(op: Transform):
    graph = op(tv.Input("x"))
    keys = Plan([graph]).keys
    written = json.loads(json.dumps(serial.dump([graph], keys, lambda _: None)))
    (back,), read = serial.load(written, lambda _: None)
    image = noise(Grid((6, 5, 4)))
    assert torch.equal(evaluate([graph], {"x": image})[0].data, evaluate([back], {"x": image})[0].data)
    assert sorted(read.values()) == sorted(keys.values())


LOCAL = [
    tv.RandomBlur((1.5, 1.5)),
    tv.RandomBlur((0.3, 2.0), per_axis=True),
    tv.RandomSharpen((1, 1), sigma=(1, 1)),
]


@pytest.mark.parametrize("op", LOCAL, ids=named)
def test_a_crop_leaves_no_mark_on_what_looks_around(op: Transform):
    grid = Grid((20, 18, 16), np.diag([1.0, 0.7, 2.0, 1]))
    image = noise(grid)
    scan = tv.Input("x")
    crop = tv.RandomCrop(8)
    before = evaluate([op(crop(scan))], {"x": image})[0]
    after = evaluate([crop(op(scan))], {"x": image})[0]
    assert before.grid == after.grid
    np.testing.assert_allclose(before.numpy(), after.numpy(), atol=1e-6)


@pytest.mark.parametrize("op", [*LOCAL, tv.RandomBiasField((0.5, 0.5), wavelength=(9, 20))], ids=named)
def test_a_rotation_afterwards_interpolates_once_and_sees_beyond_the_crop(op: Transform):
    # Effects that commute with interpolation up to its smoothing: compare with the effect on the whole scan.
    grid = Grid((24, 24, 24))
    i, j, k = np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij")
    image = Image(torch.from_numpy(3 + np.sin(i / 6) + np.cos(j / 5) * (k / 24)).float()[None], grid)
    scan = tv.Input("x")
    crop, look = tv.RandomCrop(12), tv.RandomAffine(rotation=25)
    made, whole, framed = evaluate([look(op(crop(scan))), look(crop(op(scan))), crop(scan)], {"x": image})
    assert made.grid == whole.grid
    if isinstance(op, tv.RandomBiasField):
        # The field of the crop and that of the scan differ by the mean over their frames: a factor.
        seen = whole.numpy() != 0
        ratio = made.numpy()[seen] / whole.numpy()[seen]
        assert seen.mean() > 0.5
        np.testing.assert_allclose(ratio, np.median(ratio), rtol=2e-3)
    else:
        np.testing.assert_allclose(made.numpy(), whole.numpy(), atol=1e-5)
    assert framed.shape == made.shape


@pytest.mark.parametrize("op", [op for op in RANDOM if isinstance(op, PATCHWISE[:3])], ids=named)
def test_beyond_a_frame_made_in_k_space_voxels_are_as_they_were(op: Transform):
    image = noise(Grid((16, 14, 12)))
    scan = tv.Input("x")
    patch = tv.RandomCrop(8)(scan)
    made, frame = evaluate([op(patch), patch], {"x": image})
    assert not torch.equal(made.data, frame.data)
    flipped = evaluate([tv.RandomFlip(axes=(0, 1, 2), probability=1)(op(patch))], {"x": image})[0]
    np.testing.assert_array_equal(flipped.numpy(), made.numpy()[:, ::-1, ::-1, ::-1])
    lazy = _lazy_of(op(patch), image)
    around = lazy.pull(frame.grid.pad(2))
    inside = (slice(None), *[slice(2, -2)] * 3)
    np.testing.assert_array_equal(around.numpy()[inside], made.numpy())
    expected = image.on(around.grid).numpy().copy()
    expected[inside] = made.numpy()
    np.testing.assert_array_equal(around.numpy(), expected)


def _lazy_of(graph: Node, image: Image) -> Lazy:
    run = Run(Plan([graph]))
    return run.values(graph, Frame([as_case({"x": image})], [Draw(0, 0)]))[0]


MAPPED = (tv.RandomBrightness, tv.RandomContrast, tv.RandomGamma)


@pytest.mark.parametrize("op", [op for op in RANDOM if not isinstance(op, MAPPED)], ids=named)
def test_what_lies_outside_stays(op: Transform):
    image = noise(Grid((6, 5, 4)), fill=-3.5)
    made = op(image, rng=np.random.default_rng(0))
    assert made.fill == -3.5
    padded = made.on(made.grid.pad(1))
    assert float(padded.data[0, 0, 0, 0]) == -3.5


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: tv.RandomBlur(-1), "low up to high"),
        (lambda: tv.RandomBlur((2, 1)), "low up to high"),
        (lambda: tv.RandomBlur((1, 2, 3)), "low up to high"),
        (lambda: tv.RandomBlur(float("nan")), "low up to high"),
        (lambda: tv.RandomBlur((-1, 1)), "within 0"),
        (lambda: tv.RandomBlur(1, probability=1.5), "probability"),
        (lambda: tv.RandomGibbs((0.5, 1.5)), "within 0 and 1"),
        (lambda: tv.RandomGhosting(axes=3), "axes"),
        (lambda: tv.RandomGhosting(copies=1), "copies"),
        (lambda: tv.RandomMotion(movements=0), "movement"),
        (lambda: tv.RandomSpike(spikes=0), "spike"),
        (lambda: tv.RandomBiasField(waves=0), "wave"),
        (lambda: tv.RandomBiasField(wavelength=(0, 100)), "above 0 mm"),
        (lambda: tv.RandomContrast((-1, 1)), "negative"),
        (lambda: tv.Rescale(1, 0), "low below high"),
        (lambda: tv.Rescale(percentiles=(50, 50)), "percentiles"),
        (lambda: tv.Window(40, 0), "width"),
        (lambda: tv.Window.preset("moon"), "liver"),
        (lambda: tv.ZScore(mask="brain"), "mask"),
        (lambda: tv.NyulLandmarks(((1, 2),), (0, 50, 100)), "one landmark per percentile"),
        (lambda: tv.NyulLandmarks(((2, 1),), (0, 100)), "do not fall"),
        (lambda: tv.NyulLandmarks(((1, float("nan")),), (0, 100)), "do not fall"),
        (lambda: tv.NyulLandmarks(((1, 2),), (100, 0)), "rise"),
        (lambda: tv.NyulLandmarks.fit([]), "one image or more"),
        (lambda: tv.HistogramMatch.fit([object()]), "column"),
    ],
)
def test_refused_when_built(build, text: str):
    with pytest.raises(GraphError, match=text):
        build()


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize(
    "op", [tv.RandomBlur((1.5, 1.5)), tv.RandomSharpen((1, 1)), tv.RandomGhosting((0, 0))], ids=named
)
def test_a_ramp_goes_through_unchanged_wherever_the_effect_stands_before_a_look(op: Transform, place: int):
    # Far from the border of the scan, symmetric kernels leave world coordinates as they are.
    grid = Grid((44, 44, 44), np.diag([1.0, 1.2, 0.8, 1.0]))
    chain = [tv.CentreCrop(10), tv.RandomAffine(rotation=15), tv.RandomElastic(displacement=1, spacing=9)]
    node = plain = tv.Input("x", channels=3)
    for k, look in enumerate(chain):
        node, plain = look(op(node) if k == place else node), look(plain)
    made, expected = evaluate([node, plain], {"x": ramp(grid)})
    np.testing.assert_allclose(made.numpy(), expected.numpy(), atol=2e-3)
