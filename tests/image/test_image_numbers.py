# pyright: reportArgumentType=false, reportOperatorIssue=false
"""What the numbers of an image are: arithmetic that does not wrap, types, fills, and what is refused."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import truevox as tv
from truevox import GeometryError, GraphError, Grid, Image, LabelError, Labels
from truevox.pipeline import Draw
from truevox.pipeline.draws import case_of_sample

GRID = Grid((2, 2, 2))
WHOLE = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64"]
FLOATS = ["float16", "float32", "float64"]


def filled(value, dtype, channels: int = 1, **fields) -> Image:
    return Image(np.full((channels, 2, 2, 2), value, dtype), GRID, **fields)


@given(
    st.sampled_from(WHOLE),
    st.sampled_from(WHOLE),
    st.sampled_from(["add", "sub", "mul"]),
    st.integers(0, 2**16),
)
def test_arithmetic_of_whole_numbers_does_not_wrap(one: str, two: str, name: str, seed: int):
    rng, function = np.random.default_rng(seed), getattr(operator, name)
    low_high = [(0, 1) if t == "bool" else (np.iinfo(t).min, min(np.iinfo(t).max, 2**50)) for t in (one, two)]
    a, b = (int(rng.integers(max(low, -(2**50)), high, endpoint=True)) for low, high in low_high)
    exact = function(a, b)
    for made in (
        function(filled(a, one), filled(b, two)),
        function(filled(a, one), b),
        function(a, filled(b, two)),
    ):
        assert made.data.is_floating_point()
        assert float(made.data.flatten()[0]) == pytest.approx(exact, rel=1e-6, abs=1e-6)


def test_examples_of_what_wrapped():
    eight, sixteen = filled(200, np.uint8, fill=7), filled(30000, np.int16)
    assert (eight + 100).data.unique().tolist() == [300]
    assert (eight + eight).data.unique().tolist() == [400]
    assert (eight - (eight + 20)).data.unique().tolist() == [-20]
    assert (1 - eight).data.unique().tolist() == [-199]
    assert (sixteen * 2).data.unique().tolist() == [60000]
    assert (filled(2**31 - 1, np.int32) + 1).data.unique().tolist() == [2**31]
    assert (filled(60000, np.float16) * 2).data.unique().tolist() == [120000]
    assert (1 - eight).fill == -6
    assert (-eight).data.unique().tolist() == [-200]
    assert (eight**2).data.unique().tolist() == [40000]
    assert tv.Mean()(eight, filled(101, np.uint8)).data.unique().tolist() == [150.5]


@pytest.mark.parametrize(
    "number", [np.float32(1.5), np.int64(3), np.uint8(200), torch.tensor(2.5), np.array(4)]
)
def test_numbers_of_any_type_are_numbers(number):
    image = filled(100, np.uint8)
    for made in (image + number, number + image):
        assert isinstance(made, Image)
        assert made.data.unique().tolist() == [100 + float(number)]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: filled(1, float) + np.ones((1, 2, 2, 2)), "tv.Image"),
        (lambda: np.ones((1, 2, 2, 2)) * filled(1, float), "has no grid"),
        (lambda: filled(1, float) - torch.ones(1, 2, 2, 2), "has no grid"),
        (lambda: filled(1, float, 3) + filled(1, float, 2), "3 and 2 channels"),
        (lambda: filled(1, float) + float("nan"), "finite"),
        (lambda: filled(1, float) * np.float32("inf"), "finite"),
        (lambda: filled(1, float) / 0, "divided by 0"),
        (lambda: filled(1j, complex), "magnitude"),
        (lambda: Image(torch.ones(1, 2, 2, 2, dtype=torch.complex64), GRID), "real numbers"),
        (lambda: filled("a", object), "array of numbers"),
        (lambda: filled("a", str), "array of numbers"),
        (lambda: filled(1, float, fill=(1, 2)), "1 numbers"),
        (lambda: filled(1, float, fill="air"), "air"),
        (lambda: filled(1, float, fill=(None,)), "fill is a number"),
    ],
)
def test_what_is_no_arithmetic_and_no_image_is_refused(make, text: str):
    with pytest.raises(GeometryError, match=text):
        make()


def test_labels_are_whole_numbers():
    for value in (0.5, np.nan, np.inf):
        with pytest.raises(LabelError, match="not integers"):
            filled(value, np.float32, kind="label")
    with pytest.raises(LabelError, match="not integers"):
        filled(1, np.uint8, kind="label", fill=0.5)
    with pytest.raises(LabelError, match="too large"):
        filled(2**63, np.uint64, kind="label")
    assert filled(3.0, np.float32, kind="label").data.unique().tolist() == [3]


def test_numbers_beyond_63_bits_do_not_wrap():
    assert filled(2**64 - 1, np.uint64).data.unique().tolist() == [float(2**64)]  # the nearest double
    assert filled(2**62, np.uint64).data.dtype == torch.int64


@pytest.mark.parametrize(
    ("dtype", "fill", "wanted"),
    [
        (np.uint8, 255, "uint8"),
        (np.uint8, -1000, "int16"),
        (np.uint16, -1000, "int32"),
        (np.int16, 70000, "int32"),
        (np.int16, 0.5, "float32"),
        (np.int32, float("nan"), "float64"),
        (np.bool_, 7, "uint8"),
        (np.int64, 1e30, "float64"),
        (np.float32, -1000, "float32"),
    ],
)
def test_a_fill_that_the_type_can_not_hold_does_not_wrap(dtype, fill, wanted: str):
    image = filled(1, dtype, fill=fill)
    assert str(image.data.dtype) == f"torch.{wanted}"
    outside = image.on(GRID.crop((-1, 0, 0), (4, 2, 2))).data[0, 0, 0, 0]
    np.testing.assert_allclose(float(outside), fill, rtol=1e-6)


@pytest.mark.parametrize("dtype", [*WHOLE, *FLOATS, "bfloat16"])
def test_every_type_can_be_looked_at_and_changed(dtype: str):
    data = torch.arange(64).remainder(2).reshape(1, 4, 4, 4).to(getattr(torch, dtype))
    image, exact = Image(data, Grid((4, 4, 4))), Image(data.double(), Grid((4, 4, 4)))
    looks = [lambda i: i[:, 1:, ::-1], tv.Affine(rotation=30), tv.Resample(2.0), tv.Pad(margin=1), tv.Flip(0)]
    looks += [
        tv.ZScore(),
        tv.ZScore(mask="nonzero"),
        tv.Rescale(),
        tv.Clip(0, 1),
        tv.Window(0, 1),
        tv.Stack(),
    ]
    looks += [
        tv.RandomGamma(0.3),
        tv.RandomNoise(1.0),
        tv.RandomBlur(1.0),
        tv.RandomCutout(2),
        tv.RandomBiasField(0.3),
    ]
    looks += [
        tv.RandomContrast(),
        tv.RandomBrightness(),
        tv.RandomSpike(),
        tv.RandomGibbs(),
        tv.RandomMotion(),
        tv.Mean(),
    ]
    for look in looks:
        made, wanted = (_act(look, i) for i in (image, exact))
        np.testing.assert_allclose(made.numpy().astype(float), wanted.numpy(), atol=1e-5)


def _act(look, image: Image) -> Image:
    return look(image, rng=np.random.default_rng(1)) if hasattr(look, "run") else look(image)


def test_arrays_of_either_byte_order_and_of_any_stride():
    data = np.arange(8, dtype=">f4").reshape(1, 2, 2, 2)
    assert Image(data, GRID).data.flatten().tolist() == list(range(8))
    assert Image(data[:, ::-1], GRID).data.flatten().tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert Image(np.arange(8, dtype=np.longdouble).reshape(1, 2, 2, 2), GRID).data.dtype == torch.float64
    assert np.array_equal(np.asarray(Image(data, GRID)), data)


def test_a_gradient_goes_through_what_is_exact():
    data = torch.ones(1, 4, 4, 4, requires_grad=True)
    image = Image(data, Grid((4, 4, 4)))
    image.on(image.grid.flip(0).crop((1, 1, 1), (2, 2, 5))).data.sum().backward()
    assert data.grad is not None
    assert float(data.grad.sum()) == 2 * 2 * 3


def test_fills_change_sides_in_a_mirror():
    table = Labels({"left": 1, "right": 2}, swap=[("left", "right")])
    label = Image(np.ones((1, 2, 2, 2), np.uint8), GRID, "label", fill=2, labels=table)
    assert label.on(GRID.flip(0)).fill == 1
    shares = Image(torch.rand(3, 2, 2, 2), GRID, "probability", (0.0, 1.0, 0.0), table)
    assert shares.on(GRID.flip(0)).fill == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_seeds_of_any_type_draw_the_same(kind):
    assert Draw(kind(3), kind(7)).rng("a").random() == Draw(3, 7).rng("a").random()
    assert Draw(3, 7).at("x", kind(2)).rng("a").random() == Draw(3, 7).at("x", 2).rng("a").random()
    assert case_of_sample(kind(3), kind(8), 5) == case_of_sample(3, 8, 5)
    assert Draw(kind(3), 7).torch_seed("x") == Draw(3, 7).torch_seed("x")


@pytest.mark.parametrize("seed", [True, 3.0, np.float64(3), "3", None, np.True_])
def test_what_is_no_whole_number_is_no_seed(seed):
    with pytest.raises(GraphError, match="whole number"):
        Draw(seed, 0)
    with pytest.raises(GraphError, match="whole number"):
        case_of_sample(seed, 0, 5)
