"""Bands, centre lines, topology, and labels by their boxes."""

from __future__ import annotations

import builtins
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_cases import CASES, spaced

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.kernels.label_boxes import label_boxes, label_boxes_numpy
from truevox.metrics import Empty, evaluate, evaluate_labels
from truevox.metrics.bands import depth_squares
from truevox.metrics.topology import components, euler, holes

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6))


def value(p: np.ndarray, r: np.ndarray, name: str, spacing: Any = None) -> float:
    return evaluate(p, r, (1,) * p.ndim if spacing is None else spacing, [name])[name].value


# ---- boundary IoU --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("A", (0.5, 0.625, 0.7273)),
        ("B1", (0, 0.25, 0.25)),
        ("B2", (0, 0.3333, 0.4444)),
        ("D", (0.2857, 0.3333, 0.5)),
        ("H", (0, 0, 0.1877)),
    ],
)
def test_boundary_iou_of_the_published_cases(case: str, expected: tuple[float, ...]) -> None:
    r, p = CASES[case]
    found = [value(p, r, f"boundary_iou@{d}mm", spaced(case)) for d in (1, 2, 3)]
    assert found == pytest.approx(expected, abs=6e-5)


def test_boundary_iou_of_a_square_with_a_line_missing() -> None:
    r, p = np.zeros((22, 22), bool), np.zeros((22, 22), bool)
    r[2:21, 2:21], p[3:21, 2:21] = True, True
    found = [value(p, r, f"boundary_iou@{d}mm") for d in (1, 2, 3)]
    assert found == pytest.approx([0.5955, 0.7748, 0.8439], abs=6e-5)
    assert value(p, r, "boundary_iou@100mm") == pytest.approx(value(p, r, "jaccard"))


@given(masks, st.sampled_from([0.5, 1.0, 3.0]))
@settings(deadline=None)
def test_depth_is_the_distance_to_the_nearest_background(mask: np.ndarray, first: float) -> None:
    spacing = np.array([first, 1.0, 0.7][: mask.ndim])
    found, unit = depth_squares(mask, spacing)
    background = np.argwhere(~np.pad(mask, 1)) - 1
    for index in np.argwhere(mask):
        least = np.sqrt((((background - index) * spacing) ** 2).sum(1).min())
        assert math.sqrt(found[tuple(index)]) * unit == pytest.approx(least, rel=1e-6)


def test_a_band_thinner_than_a_voxel_is_undefined() -> None:
    r, p = CASES["D"]
    found = evaluate(p, r, (1, 1), ["boundary_iou@0.5mm"])["boundary_iou@0.5mm"]
    assert math.isnan(found.value)
    assert found.status == "undefined"


# ---- clDice --------------------------------------------------------------------------------------------


def tube(width: int, gap: bool = False) -> np.ndarray:
    mask = np.zeros((9, 9, 29), bool)
    half = width // 2
    mask[4 - half : 5 + half, 4 - half : 5 + half, 2:27] = True
    if gap:
        mask[..., 13:16] = False
    return mask


@pytest.mark.parametrize(
    ("prediction", "dice", "cldice"),
    [(tube(3, gap=True), 0.936170, 0.930233), (tube(5), 0.529412, 1), (tube(1), 0.2, 1)],
)
def test_cldice_of_tubes(prediction: np.ndarray, dice: float, cldice: float) -> None:
    pytest.importorskip("skimage")
    found = evaluate(prediction, tube(3), (1, 1, 1), ["dice", "cldice"])
    assert [one.value for one in found.values()] == pytest.approx([dice, cldice], abs=1e-6)


def test_a_body_without_centre_line_has_its_deepest_voxels() -> None:
    pytest.importorskip("skimage")
    cube = np.zeros((14, 14, 14), bool)
    cube[2:12, 2:12, 2:12] = True
    assert value(cube, cube, "cldice") == 1
    apart = np.roll(cube, 1, 0)
    assert 0 < value(apart, cube, "cldice") <= 1
    outside = np.zeros((14, 14, 14), bool)
    outside[0, 0, :5] = True
    assert value(outside, cube, "cldice") == 0


def test_cldice_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match="scikit-image"):
        value(tube(3), tube(3), "cldice")
    with pytest.raises(GeometryError, match="no centre line"):
        value(np.ones(3, bool), np.ones(3, bool), "cldice")


@pytest.mark.parametrize("name", ["cldice", "boundary_iou@1mm"])
def test_empty_masks(name: str) -> None:
    found = [evaluate(CASES[k][1], CASES[k][0], (1, 1), [name])[name] for k in ("K1", "K2", "K3")]
    assert [one.value for one in found] == pytest.approx([math.nan, 0, 0], nan_ok=True)
    assert [one.status for one in found] == ["undefined", "missed", "spurious"]
    perfect = evaluate(CASES["K1"][1], CASES["K1"][0], (1, 1), [name], empty=Empty(both="perfect"))
    assert perfect[name].value == 1


# ---- topology ------------------------------------------------------------------------------------------


def pieces(mask: np.ndarray, corners: bool) -> int:
    """By walking from voxel to neighbour."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), 0
    steps = [
        s
        for s in itertools.product((-1, 0, 1), repeat=mask.ndim)
        if any(s) and (corners or sum(map(abs, s)) == 1)
    ]
    while left:
        queue, found = [left.pop()], found + 1
        while queue:
            at = queue.pop()
            for step in steps:
                other = tuple(a + b for a, b in zip(at, step, strict=True))
                if other in left:
                    left.remove(other)
                    queue.append(other)
    return found


@given(masks, st.booleans())
@settings(deadline=None)
def test_topology_is_that_of_walks(mask: np.ndarray, corners: bool) -> None:
    assert components(mask, corners) == pieces(mask, corners)
    inside = pieces(~np.pad(mask, 1), not corners) - 1
    assert holes(mask, corners) == inside
    if mask.ndim == 2:  # Euler's formula
        assert euler(mask, corners) == pieces(mask, corners) - inside
    if mask.ndim == 1:
        assert euler(mask, corners) == pieces(mask, corners)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.ones((3, 3, 3), bool), (1, 0, 1)),
        (CASES["F"][1], (1, 1, 2)),  # a cavity
        (np.ones((3, 3, 3), bool) & ~np.pad(np.ones((1, 1, 3), bool), ((1, 1), (1, 1), (0, 0))), (1, 0, 0)),
        (np.eye(3, dtype=bool)[:, :, None] & np.ones((1, 1, 3), bool), (1, 0, 1)),
    ],
)
def test_bodies_with_cavities_and_tunnels(mask: np.ndarray, expected: tuple[int, int, int]) -> None:
    assert (components(mask), holes(mask), euler(mask)) == expected


@given(hnp.arrays(bool, (4, 4, 4)))
@settings(deadline=None, max_examples=40)
def test_euler_number_is_that_of_scikit_image(mask: np.ndarray) -> None:
    measure = pytest.importorskip("skimage.measure")
    assert euler(mask) == measure.euler_number(mask, connectivity=3)
    assert euler(mask, all_neighbours=False) == measure.euler_number(mask, connectivity=1)


def test_differences_are_prediction_less_reference() -> None:
    solid, hollow = CASES["F"]
    names = ["components", "holes", "euler", "components/6"]
    found = evaluate(hollow, solid, (1, 1, 1), names)
    assert [one.value for one in found.values()] == [0, 1, 1, 0]
    assert [one.value for one in evaluate(solid, hollow, (1, 1, 1), names).values()] == [0, -1, -1, 0]
    none = np.zeros_like(solid)
    assert [one.value for one in evaluate(none, hollow, (1, 1, 1), names).values()] == [-1, -1, -2, -1]
    assert [one.value for one in evaluate(none, none, (1, 1, 1), names).values()] == [0, 0, 0, 0]
    assert {one.status for one in evaluate(none, hollow, (1, 1, 1), names).values()} == {"ok"}


# ---- the published pitfalls ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "dice"), [(2, 0.8571), (3, 0.9412), (5, 0.9796), (10, 0.9950), (30, 0.9994)])
def test_one_missed_pixel_matters_by_size(n: int, dice: float) -> None:
    r = np.zeros((32, 32), bool)
    r[1 : n + 1, 1 : n + 1] = True
    p = r.copy()
    p[1, 1] = False
    assert value(p, r, "dice") == pytest.approx(dice, abs=6e-5)


def test_one_large_lesion_hides_a_missed_small_one() -> None:
    r = np.zeros((40, 40), bool)
    r[2:22, 2:22] = True
    p = r.copy()
    r[30:33, 30:33] = True
    assert value(p, r, "sensitivity") == pytest.approx(0.977995, abs=6e-7)
    assert value(p, r, "dice") == pytest.approx(0.988875, abs=5e-6)


def test_specificity_says_nothing_in_a_large_background() -> None:
    r, p = np.zeros((1000, 1001), bool), np.zeros((1000, 1001), bool)
    p[500, :100] = True
    r[:, 0], p[:, 0] = True, True
    assert value(p, r, "specificity") == pytest.approx(1 - 99 / 10**6)


def test_a_hole_costs_little_but_topology_sees_it() -> None:
    r, p = CASES["F"]
    assert value(p, r, "dice") > 0.99
    assert value(p, r, "hd95") < 1
    assert value(p, r, "holes") == 1


# ---- labels --------------------------------------------------------------------------------------------

NAMES = ["dice", "hd95", "specificity", "volume_difference_ml", "nsd@1mm", "assd/surfel"]


@given(
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=6),
    st.sampled_from([np.uint8, np.int16, np.int64]),
    st.booleans(),
    st.data(),
)
@settings(deadline=None, max_examples=60)
def test_labels_in_their_boxes_equal_whole_masks(
    shape: tuple[int, ...], dtype: type, fortran: bool, data: st.DataObject
) -> None:
    p, r = (
        np.asarray(data.draw(hnp.arrays(dtype, shape, elements=st.sampled_from([0, 0, 0, 1, 2, 5]))),
                   order="F" if fortran else "C")
        for _ in range(2)
    )  # fmt: skip
    spacing = np.array([2.0, 1.0, 0.5][: len(shape)])
    field = data.draw(st.one_of(st.none(), hnp.arrays(bool, shape)))
    regions = {"one": 1, "all": (1, 2, 5), "five": (5,), "absent": 9}
    found = evaluate_labels(p, r, spacing, regions, NAMES, field=field)
    for name, members in regions.items():
        held = np.atleast_1d(members)
        whole = evaluate(np.isin(p, held), np.isin(r, held), spacing, NAMES, field=field)
        for metric in NAMES:
            assert found[name][metric].status == whole[metric].status
            assert found[name][metric].value == pytest.approx(whole[metric].value, nan_ok=True, rel=1e-6)


@given(hnp.arrays(np.int16, (3, 5, 7), elements=st.sampled_from([0, 0, 3, -2, 40])))
def test_boxes_equal_their_twin(labels: np.ndarray) -> None:
    values = np.array([-2, 3, 40, 41], np.int16)
    np.testing.assert_array_equal(label_boxes(labels, values), label_boxes_numpy(labels, values))


def test_labels_that_are_not_named_have_their_numbers() -> None:
    p, r = np.array([[0, 1, 1, 7]]), np.array([[0, 1, 2, 7]])
    found = evaluate_labels(p, r, (1, 1))
    assert {name: one["dice"].status for name, one in found.items()} == {"1": "ok", "2": "missed", "7": "ok"}


def test_masks_that_overlap() -> None:
    p, r = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    p[0, :2], p[1, 1:3] = True, True
    r[0, :2], r[1, 2:4] = True, True
    found = evaluate_labels(p, r, (1, 1), {"a": 0, "b": 1, "either": (0, 1)})
    assert [one["dice"].value for one in found.values()] == pytest.approx([1, 0.5, 6 / 7])
    assert list(evaluate_labels(p, r, (1, 1))) == ["0", "1"]
    with pytest.raises(LabelError, match="channels from 0 to 1"):
        evaluate_labels(p, r, (1, 1), {"c": 2})


def test_what_is_no_label_map_is_refused() -> None:
    with pytest.raises(LabelError, match="no label map"):
        evaluate_labels(np.zeros((2, 2)), np.zeros((2, 2)), (1, 1))
    with pytest.raises(LabelError, match="other than 0"):
        evaluate_labels(np.zeros((2, 2), int), np.zeros((2, 2), int), (1, 1), {"background": 0})
    with pytest.raises(GeometryError, match="different shapes"):
        evaluate_labels(np.zeros((2, 2), int), np.zeros((2, 3), int), (1, 1))
    with pytest.raises(GeometryError, match="field and the labels"):
        evaluate_labels(np.zeros((2, 2), int), np.zeros((2, 2), int), (1, 1), field=np.ones(2, bool))
