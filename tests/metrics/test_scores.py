"""Dice and volume differences: closed forms, laws, and the table of empties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from truevox.errors import GeometryError, LabelError
from truevox.metrics import absolute_volume_difference_ml, dice, volume_difference_ml

shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)
pairs = shapes.flatmap(lambda s: st.tuples(hnp.arrays(bool, s), hnp.arrays(bool, s)))


def by_sets(p: np.ndarray, r: np.ndarray) -> float:
    """Dice as written in 1945, on sets of indices."""
    a, b = set(map(tuple, np.argwhere(p))), set(map(tuple, np.argwhere(r)))
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else math.nan


@given(pairs)
def test_dice_is_that_of_sets_symmetric_and_in_range(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, r = pair
    score = dice(p, r)
    assert score.value == pytest.approx(by_sets(p, r), nan_ok=True, abs=0)
    assert dice(r, p).value == pytest.approx(score.value, nan_ok=True, abs=0)
    assert math.isnan(score.value) or 0 <= score.value <= 1
    assert dice(p, p).value == (1.0 if p.any() else pytest.approx(math.nan, nan_ok=True))


@given(pairs, st.data())
def test_scores_do_not_depend_on_axes_or_padding(
    pair: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(pair[0].ndim)))
    pad = data.draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * pair[0].ndim))
    p, r = (np.pad(one.transpose(order), pad) for one in pair)
    assert str(dice(p, r)) == str(dice(*pair))
    assert volume_difference_ml(p, r, 0.3) == volume_difference_ml(*pair, 0.3)


@given(pairs, st.floats(1e-6, 10))
def test_volume_differences(pair: tuple[np.ndarray, np.ndarray], size: float) -> None:
    p, r = pair
    difference = volume_difference_ml(p, r, size)
    assert difference.value == pytest.approx(p.sum() * size - r.sum() * size, abs=1e-9)
    assert volume_difference_ml(r, p, size).value == -difference.value
    assert absolute_volume_difference_ml(p, r, size).value == abs(difference.value)
    assert difference.status == "ok"


@pytest.mark.parametrize(
    ("prediction", "reference", "value", "status"),
    [
        ([0, 0], [0, 0], math.nan, "undefined"),
        ([0, 0], [0, 1], 0.0, "missed"),
        ([1, 0], [0, 0], 0.0, "spurious"),
        ([1, 0], [0, 1], 0.0, "ok"),
        ([1, 0], [1, 1], 2 / 3, "ok"),
    ],
)
def test_the_table_of_empties(prediction: list[int], reference: list[int], value: float, status: str) -> None:
    score = dice(prediction, reference)
    assert score.value == pytest.approx(value, nan_ok=True)
    assert (score.status, score.unit, score.id) == (status, "1", "dice/voxel")


def test_overlapping_boxes_in_closed_form() -> None:
    p, r = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), np.uint8)
    p[2:12, 2:12, 2:12] = True
    r[7:17, 2:12, 2:12] = 255
    assert dice(p, r).value == 0.5
    assert volume_difference_ml(p, r, 0.001).value == 0.0


def test_bad_input() -> None:
    with pytest.raises(GeometryError, match="different shapes"):
        dice(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
    with pytest.raises(LabelError, match="prediction is not a mask"):
        dice(np.array([0.2, 0.7]), np.array([0, 1]))
    for size in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(GeometryError, match="positive"):
            volume_difference_ml([1], [1], size)


def test_types_are_plain() -> None:
    assert type(dice([1, 0], [1, 1]).value) is float
    assert type(volume_difference_ml([1, 0], [1, 1], np.float32(0.5)).value) is float  # type: ignore[arg-type]
