"""Metrics of counts and volumes: tables worked by hand and by other tools, laws, and empty masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_cases import CASES, spaced

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.kernels.borders import survey, survey_numpy
from truevox.metrics import Empty, Pair, Values, definition, evaluate, families

NAN = math.nan
shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)
pairs = shapes.flatmap(lambda s: st.tuples(hnp.arrays(bool, s), hnp.arrays(bool, s)))
RATIOS = ["dice", "jaccard", "sensitivity", "precision", "specificity", "fbeta@2", "fbeta@0.5"]
VOLUMES = ["absolute_volume_difference_ml", "relative_volume_difference", "volumetric_similarity"]

# fmt: off
TABLE = {
    "A": ((25, 8, 0, 88), .862069, .757576, 1, .757576, .916667, .939850, .796178, 8, .32, .862069),
    "B1": ((4, 0, 12, 180), .4, .25, .25, 1, 1, .294118, .625, 12, -.75, .4),
    "B2": ((16, 20, 0, 160), .615385, .444444, 1, .444444, .888889, .8, .5, 20, 1.25, .615385),
    "C": ((9, 0, 1, 186), .947368, .9, .9, 1, 1, .918367, .978261, 1, -.1, .947368),
    "D": ((80, 20, 20, 280), .8, .666667, .8, .8, .933333, .8, .8, 0, 0, 1),
    "E": ((800, 200, 200, 25800), .8, .666667, .8, .8, .992308, .8, .8, 0, 0, 1),
    "F": ((124, 0, 1, 604), .995984, .992, .992, 1, 1, .993590, .998390, 1, -.008, .995984),
    "G": ((20, 0, 5, 75), .888889, .8, .8, 1, 1, .833333, .952381, 5, -.2, .888889),
    "H": ((4169, 2984, 0, 61768), .736442, .582832, 1, .582832, .953916, .874774, .635887, 2984, .715759,
          .736442),
}
# fmt: on


def numbers(found: Values) -> list[float]:
    return [one.value for one in found.values()]


@pytest.mark.parametrize("case", TABLE)
def test_counts_and_ratios_are_those_of_the_published_cases(case: str) -> None:
    counts, *expected = TABLE[case]
    reference, prediction = CASES[case]
    spacing = spaced(case)
    found = evaluate(prediction, reference, spacing, [*RATIOS, *VOLUMES])
    assert Pair(prediction, reference, spacing).counts == counts
    expected[7] *= math.prod(spacing) / 1000
    assert numbers(found) == pytest.approx(expected, abs=6e-7)


def test_chance_corrected_agreement_of_case_d() -> None:
    reference, prediction = CASES["D"]
    found = evaluate(prediction, reference, (1, 1), ["mcc", "kappa", "balanced_accuracy"])
    assert numbers(found) == pytest.approx([0.733333, 0.733333, 0.866667], abs=6e-7)


@given(pairs)
def test_overlap_is_that_of_sets(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, r = pair
    a, b = set(map(tuple, np.argwhere(p))), set(map(tuple, np.argwhere(r)))
    found = evaluate(p, r, (1,) * p.ndim, ["dice", "jaccard"], empty=Empty(both="undefined"))
    dice = 2 * len(a & b) / (len(a) + len(b)) if a or b else NAN
    jaccard = len(a & b) / len(a | b) if a or b else NAN
    assert numbers(found) == pytest.approx([dice, jaccard], nan_ok=True)
    assert math.isnan(dice) or found["jaccard"].value <= found["dice"].value <= 1
    assert numbers(evaluate(r, p, (1,) * p.ndim, ["dice", "jaccard"])) == pytest.approx(
        [dice, jaccard], nan_ok=True
    )


@given(pairs, st.data())
def test_counts_do_not_depend_on_axes_layout_or_padding(
    pair: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(pair[0].ndim)))
    pad = data.draw(st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * pair[0].ndim))
    p, r = (np.pad(one.transpose(order), pad) for one in pair)
    spacing = np.arange(1, p.ndim + 1)
    names = ["dice", "precision", "volume_difference_ml", "relative_volume_difference"]
    expected = evaluate(*pair, spacing, names)
    assert repr(evaluate(p, r, spacing[list(order)], names)) == repr(expected)
    as_fortran = evaluate(np.asfortranarray(p), np.asfortranarray(r), spacing[list(order)], names)
    assert repr(as_fortran) == repr(expected)


@given(hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), st.data())
def test_the_compiled_pass_equals_its_twin(shape: tuple[int, int], data: st.DataObject) -> None:
    p, r = (data.draw(hnp.arrays(bool, shape)).view(np.uint8).ravel() for _ in range(2))
    ours, twin = survey(p, r, shape[1]), survey_numpy(p, r, shape[1])
    assert ours[:3] == twin[:3]
    np.testing.assert_array_equal(ours[3], twin[3])


@given(pairs, st.booleans())
def test_the_box_holds_the_union_with_a_margin(pair: tuple[np.ndarray, np.ndarray], fortran: bool) -> None:
    p, r = (np.asfortranarray(one) for one in pair) if fortran else pair
    box = Pair(p, r, (1,) * p.ndim).box
    union = p | r
    if not union.any():
        assert box is None
        return
    where = np.argwhere(union)
    low, high = np.maximum(where.min(0) - 1, 0), np.minimum(where.max(0) + 2, p.shape)
    assert box == tuple(map(slice, low.tolist(), high.tolist()))


@given(pairs, st.floats(1e-3, 10))
def test_volumes_are_counts_of_voxels(pair: tuple[np.ndarray, np.ndarray], size: float) -> None:
    p, r = pair
    names = ["volume_difference_ml", "absolute_volume_difference_ml"]
    there, back = (evaluate(*two, (size,) * p.ndim, names) for two in ((p, r), (r, p)))
    expected = (int(p.sum()) - int(r.sum())) * size**p.ndim / 1000
    assert numbers(there) == pytest.approx([expected, abs(expected)])
    assert numbers(back) == pytest.approx([-expected, abs(expected)])


def test_normalised_dice_is_dice_at_the_load_of_the_case() -> None:
    reference, prediction = CASES["D"]  # load 100 / 400
    found = evaluate(prediction, reference, (1, 1), ["dice", "ndice@0.25", "ndice"])
    assert found["ndice@0.25"].value == pytest.approx(found["dice"].value)
    scale = 0.999 / 0.001 * 100 / 300  # false positives at a load of 0.001 and the same rate
    assert found["ndice"].value == pytest.approx(160 / (160 + scale * 20 + 20))


def test_counts_are_those_of_the_field() -> None:
    reference, prediction = CASES["D"]
    field = np.zeros((20, 20), bool)
    field[5:15] = True
    found = evaluate(prediction, reference, (1, 1), ["specificity", "dice"], field=field)
    assert numbers(found) == pytest.approx([80 / 100, 0.8])


def test_a_cut_pair_knows_its_whole() -> None:
    reference, prediction = CASES["D"]
    box = (slice(4, 16), slice(3, 18))
    cut = Pair(prediction[box], reference[box], (1, 1), whole=(20, 20))
    assert cut.counts == Pair(prediction, reference, (1, 1)).counts
    assert cut.diagonal_mm == pytest.approx(math.hypot(20, 20))


# fmt: off
EMPTIES = {  # both empty (perfect), prediction empty, reference empty, of 9 voxels among 64
    "dice": (1, 0, 0), "jaccard": (1, 0, 0), "fbeta@2": (1, 0, 0), "ndice": (1, 0, 0),
    "volumetric_similarity": (1, 0, 0), "sensitivity": (NAN, 0, NAN), "precision": (NAN, NAN, 0),
    "specificity": (1, 1, 55 / 64), "balanced_accuracy": (NAN, 0.5, NAN),
    "mcc": (1, 0, 0), "kappa": (1, 0, 0),
    "volume_difference_ml": (0, -.009, .009), "absolute_volume_difference_ml": (0, .009, .009),
    "relative_volume_difference": (NAN, -1, NAN),
}
# fmt: on


@pytest.mark.parametrize("name", EMPTIES)
def test_the_table_of_empty_masks(name: str) -> None:
    cases = [CASES[case] for case in ("K1", "K2", "K3")]
    perfect, missed, spurious = EMPTIES[name]
    found = [evaluate(p, r, (1, 1), [name], empty=Empty(both="perfect"))[name] for r, p in cases]
    assert [one.value for one in found] == pytest.approx([perfect, missed, spurious], nan_ok=True)
    plain = [evaluate(p, r, (1, 1), [name])[name] for r, p in cases]
    always = not definition(name).empties
    assert plain[0].value == pytest.approx(perfect if always else NAN, nan_ok=True)
    if not always:
        assert [one.status for one in plain] == ["undefined", "missed", "spurious"]
        strict = Empty(missed="undefined", spurious="undefined")
        kept = [evaluate(p, r, (1, 1), [name], empty=strict)[name] for r, p in cases]
        assert all(math.isnan(one.value) for one in kept)
    assert all(one.status == "ok" or one.reason for one in plain)


def test_specificity_of_a_reference_that_fills_the_image_is_undefined() -> None:
    found = evaluate(np.ones((3, 3), bool), np.ones((3, 3), bool), (1, 1), ["specificity"])["specificity"]
    assert math.isnan(found.value)
    assert (found.status, found.reason) == ("undefined", "not defined here")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dise", "dice"),
        ("dice@3", "has no parameter"),
        ("dice/pixel", "no variant 'pixel'"),
        ("fbeta", "fbeta@2"),
        ("fbeta@-1", "positive number"),
        ("fbeta@nan", "positive number"),
        ("ndice@1", "less than 1"),
    ],
)
def test_names_that_do_not_exist_say_what_does(name: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        definition(name)


def test_bad_input_is_refused() -> None:
    ones = np.ones((2, 3), bool)
    with pytest.raises(GeometryError, match="different shapes"):
        evaluate(ones, ones.T, (1, 1))
    with pytest.raises(LabelError, match="prediction is not a mask"):
        evaluate([0.2, 0.7], [0, 1], (1,))
    with pytest.raises(GeometryError, match="score and the masks"):
        evaluate(ones, ones, (1, 1), score=np.ones(3))
    with pytest.raises(GeometryError, match="1 to 3 axes"):
        evaluate(np.ones((1, 1, 1, 1), bool), np.ones((1, 1, 1, 1), bool), (1, 1, 1, 1))
    for spacing in [(1,), (1, 0), (1, -1), (1, NAN), (1, math.inf)]:
        with pytest.raises(GeometryError, match="spacing"):
            evaluate(ones, ones, spacing)


def test_values_are_plain_floats_and_short_names_find_them() -> None:
    found = evaluate(np.array([1, 0], np.uint8), np.array([1, 1]), (np.float32(0.5),), ["dice"])
    assert type(found["dice"].value) is float
    assert found["dice"] is found["dice/voxel"]
    assert "hd" not in found


def test_every_definition_is_found_by_its_id_and_its_name() -> None:
    examples = {"fbeta": "fbeta@2", "nsd": "nsd@1mm", "boundary_iou": "boundary_iou@2mm"}
    for family in families():
        made = definition(examples.get(family.name, family.name))
        assert definition(made.id).id == made.id == definition(made.name).id
        assert made.low <= made.best <= made.high
        assert made.summary


def test_volumes_are_voxels_times_their_size() -> None:
    prediction, reference = np.zeros((2, 10, 10, 10), bool)
    prediction[:4, :5, :5], reference[2:8, :5, :5] = True, True
    found = evaluate(prediction, reference, (1, 2, 5), ["volume_ml", "reference_volume_ml"])
    assert (found["volume_ml"].value, found["reference_volume_ml"].value) == (1.0, 1.5)
    nothing = evaluate(prediction & False, reference, (1, 2, 5), ["volume_ml"])["volume_ml"]
    assert (nothing.value, nothing.status, nothing.unit) == (0.0, "ok", "ml")
