# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""The label table: channels, values, mirrors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from truevox import Grid, Image, LabelError, Labels
from truevox.labels import IGNORE_INDEX

BRAIN = Labels({"left": 3, "right": 7, "mid": 5}, swap=[("left", "right")])


@pytest.mark.parametrize(
    ("names", "channels", "activation", "exclusive"),
    [
        ({"a": 1}, 1, "sigmoid", True),
        ({"a": 1, "b": 4}, 3, "softmax", True),
        ({"a": [1, 2], "b": [3]}, 3, "softmax", True),
        ({"whole": [1, 2, 4], "core": [1, 4]}, 2, "sigmoid", False),
        ({"whole": [1, 2]}, 1, "sigmoid", True),
    ],
)
def test_table_decides_channels(names, channels, activation, exclusive):
    labels = Labels(names)
    assert (labels.channels, labels.activation, labels.exclusive) == (channels, activation, exclusive)
    assert Labels.from_dict(labels.to_dict()) == labels


@given(st.integers(0, 999))
def test_encode_and_decode_exclusive(seed: int):
    values = np.random.default_rng(seed).choice([0, 3, 5, 7], (1, 3, 4, 5)).astype(np.int16)
    code = BRAIN.encode(values)
    assert code.dtype == np.uint8
    assert np.array_equal(code, np.select([values == 3, values == 7, values == 5], [1, 2, 3]))
    assert np.array_equal(BRAIN.decode(BRAIN.one_hot(values)), values)


def test_encode_regions_of_values():
    labels = Labels({"whole": [1, 2, 4], "core": [1, 4]})
    values = np.array([0, 1, 2, 4]).reshape(1, 4, 1, 1)
    assert labels.encode(values)[:, :, 0, 0].tolist() == [[0, 1, 1, 1], [0, 1, 0, 1]]
    one = Labels({"whole": [1, 2, 4]})
    assert one.encode(values).ravel().tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("ignore", [-1, 9, 255])
def test_ignored_values_get_the_index_that_losses_skip(ignore: int):
    labels = Labels({"a": 1, "b": 2}, ignore=ignore)
    values = np.array([0, 1, 2, ignore], np.int16).reshape(1, 4, 1, 1)
    assert labels.encode(values).ravel().tolist() == [0, 1, 2, IGNORE_INDEX]
    # A negative value to ignore must not reach into the table from its end.
    assert labels.encode(values[:, :3]).ravel().tolist() == [0, 1, 2]
    assert labels.one_hot(values)[:, 3, 0, 0].tolist() == [1, 0, 0]


def test_decode_thresholds_strictly():
    labels = Labels({"a": 6})
    p = np.array([0.5, 0.5000001, 0.2], np.float32).reshape(1, 3, 1, 1)
    assert labels.decode(p).ravel().tolist() == [0, 6, 0]
    assert labels.decode(p, threshold=0.1).ravel().tolist() == [6, 6, 6]
    with pytest.raises(LabelError, match="Channels"):
        labels.decode(np.zeros((2, 1, 1, 1)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Labels({}), "at least one"),
        (lambda: Labels({"a": 0}), "background"),
        (lambda: Labels({"a": 1}, ignore=1), "also a class"),
        (lambda: Labels({"a": 1}, swap=[("a", "b")]), "lacks"),
        (lambda: Labels({"a": [1, 2], "b": 3}, swap=[("a", "b")]), "as many values"),
        (lambda: Labels({"a": 1, "b": 2, "c": 3}, swap=[("a", "b"), ("b", "c")]), "one partner"),
        (lambda: Labels({"a": 1, "b": 2}, swap=[("a", "a")]), "one partner"),
        (lambda: Labels({"a": 1}).check(np.array([0, 1, 4])), "does not declare"),
        (lambda: Labels({"a": 1}).check(np.array([0, 0.5])), "between the integers"),
        (lambda: Labels({"a": 1}).check(np.array([0, np.nan])), "integers|declare"),
    ],
)
def test_refusals_name_what_is_wrong(make, text):
    with pytest.raises(LabelError, match=text):
        make()


def test_the_error_of_an_undeclared_value_names_both():
    with pytest.raises(LabelError) as caught:
        BRAIN.check(np.array([0, 3, 11, 12]))
    assert caught.value.got == [11, 12]
    assert "3, 5, 7" in str(caught.value)


# ---- mirrors ----------------------------------------------------------------------


def labelled() -> Image:
    values = np.zeros((1, 4, 2, 1), np.uint8)
    values[0, 0], values[0, 3], values[0, 1] = 3, 7, 5
    return Image(values, Grid((4, 2, 1)), "label", labels=BRAIN)


def test_a_flipped_grid_is_a_mirror():
    image = labelled()
    mirrored = image.on(image.grid.flip(0))
    # Index 0 of the mirror looks at what was last: value 7, which in a mirror is the left one.
    assert mirrored.data[0, :, 0, 0].tolist() == [3, 0, 5, 7]
    assert torch.equal(mirrored.on(image.grid).data, image.data)
    assert image.on(image.grid.flip(0), mirror=False).data[0, :, 0, 0].tolist() == [7, 0, 5, 3]
    assert torch.equal(image.on(image.grid.flip((0, 1))).data, image.data.flip((1, 2)))


def test_slicing_backwards_is_the_same_mirror():
    image = labelled()
    assert torch.equal(image[:, ::-1].data, image.on(image.grid[::-1]).data)
    assert torch.equal(image[:, ::-1].on(image.grid).data, image.data)
    assert torch.equal(image[:, ::-1, ::-1].on(image.grid).data, image.data)


def test_channels_of_probabilities_change_places_too():
    p = torch.rand(4, 4, 2, 1)
    image = Image(p, Grid((4, 2, 1)), "probability", (1.0, 0.0, 0.0, 0.0), BRAIN)
    assert torch.equal(image.on(image.grid.flip(0)).data, p.flip(1)[[0, 2, 1, 3]])
    turned = np.eye(4)
    turned[:3, :3] = [[-1, 0.02, 0], [0, 1, 0], [0, 0, 1]]  # a mirror that interpolates
    there = image.on(image.grid.transformed(image.grid.about_centre(turned[:3, :3])))
    inside = there.data[:, 1:3, 0, 0]
    torch.testing.assert_close(inside, p.flip(1)[[0, 2, 1, 3]][:, 1:3, 0, 0], atol=0.1, rtol=0)


def test_a_pair_written_both_ways_is_one_pair():
    """Twice the same exchange of channels is none, while values would change places all the same."""
    table = Labels({"left": 1, "right": 2}, swap=[("left", "right"), ("right", "left"), ("left", "right")])
    assert len(table.swap) == 1
    assert table.channel_swap == (0, 2, 1)
    assert table.mirrored(np.array([0, 1, 2])).tolist() == [0, 2, 1]


def test_labels_without_pairs_have_no_mirror():
    image = Image(torch.ones(1, 3, 1, 1, dtype=torch.uint8), Grid((3,)), "label", labels=Labels({"a": 1}))
    assert image.mirrored() is image


def test_mirrored_coarsening_swaps_channels():
    image = labelled()
    coarse = image.grid.lattice((0.5, 0, 0), (2, 1, 1), (2, 2, 1))
    straight, mirror = image.on(coarse), image.on(coarse.flip(0))
    assert torch.equal(mirror.data, straight.data.flip(1)[[0, 2, 1, 3]])


def test_what_becomes_labels_has_background_outside() -> None:
    shares = Image(torch.full((1, 2, 2, 2), 0.25), Grid((2, 2, 2)), "probability", 0.5)
    decided = shares.replace(data=torch.ones(1, 2, 2, 2, dtype=torch.uint8), kind="label")
    assert (decided.fill, shares.replace(data=shares.data * 2).fill) == (0.0, 0.5)
    assert decided.replace(fill=255).fill == 255
