"""Recommendations: the published examples, legality for any fingerprint, and each branch of the rules."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from truevox.evaluation.recommend import PUBLISHED, Fingerprint, recommend
from truevox.evaluation.recommend.catalogue import entry, legal, stem
from truevox.evaluation.recommend.conditions import holds, terms
from truevox.evaluation.recommend.notes import AGGREGATION, PITFALLS, WARNINGS
from truevox.evaluation.recommend.rules import ASSIGNMENT, INSTEAD, LOCALISATION, METRICS
from truevox.metrics import definition

SIZE = st.floats(1e-9, 1e4)
KEYS_YES_NO = (
    *("small", "tubular", "boundary", "volume", "centre", "multi_instance", "touching", "size_variability"),
    *("far_errors", "empty_ref", "empty_pred", "scores", "calibration", "prevalence_ok", "class_imbalance"),
    "non_independence",
)
FINGERPRINTS = st.builds(
    Fingerprint,
    category=st.sampled_from(["classification", "detection", "semantic", "instance"]),
    structure_mm=st.none() | SIZE,
    spacing=st.none() | st.tuples(SIZE, SIZE) | st.tuples(SIZE, SIZE, SIZE),
    error_cost=st.sampled_from(["equal", "fp", "fn", "unknown"]),
    ref_noise=st.sampled_from(["none", "imprecision", "outliers", "unknown"]),
    tolerance_mm=st.none() | SIZE,
    class_weighting=st.sampled_from(["equal", "frequency", "ordinal", "unknown"]),
    target=st.sampled_from([None, "sensitivity@0.9", "precision@0.8", "specificity@.95", "fppi@1"]),
    **dict.fromkeys(KEYS_YES_NO, st.sampled_from([True, False, None])),
)


def keys(found):
    """The metrics by the guideline's keys: parameters and matching rules left out."""
    return {entry(name).key for name in found.names}


def ask(category, **answers):
    return recommend(Fingerprint(category=category, **answers))


# What figure 5 of the guideline shows.
@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("embryo", {"dsc", "nsd"}),
        ("liver", {"dsc", "nsd", "avd"}),
        ("neuron", {"fbeta", "ap", "cldice", "nsd"}),
        ("instrument", {"fbeta", "ap", "cldice", "nsd"}),
    ],
)
def test_published_examples(name, metrics):
    found = recommend(PUBLISHED[name])
    assert keys(found) == metrics
    assert len(found.metrics) == len(metrics)
    assert found.instead is None


@pytest.mark.parametrize(
    ("category", "answers", "metrics"),
    [
        ("semantic", {"boundary": True}, {"dsc", "nsd"}),
        ("semantic", {"boundary": True, "volume": True}, {"dsc", "nsd", "avd"}),
        ("instance", {"tubular": True, "scores": True}, {"fbeta", "ap", "cldice", "nsd"}),
        ("instance", {"tubular": True}, {"fbeta", "ap", "cldice", "nsd"}),
    ],
)
def test_published_examples_from_the_fewest_answers(category, answers, metrics):
    assert keys(ask(category, **answers)) == metrics


@pytest.mark.parametrize(("name", "criterion"), [("neuron", "mask IoU"), ("instrument", "boundary IoU")])
def test_published_objects_are_found_by_score(name, criterion):
    found = recommend(PUBLISHED[name])
    assert found.localisation.startswith(criterion)
    assert found.assignment.startswith("greedy by score")
    assert found.double_detections == "false positives"


def test_lesions_asked_as_voxels_are_sent_to_detection():
    found = ask("semantic", small=True, multi_instance=True)
    assert any("consider object detection" in text for text in found.warnings)
    assert any("consider instance segmentation or detection" in text for text in found.warnings)
    assert found.instead is not None
    assert found.instead.fingerprint.category == "detection"
    assert keys(found.instead) == {"fbeta", "ap"}
    assert keys(found) == {"dsc"}
    settings = found.settings()
    assert settings["metrics"] == ["dice", "lesion_f1/iou@0.1/optimal"]
    assert settings["lesions"] == {"rule": "iou@0.1/optimal"}


@pytest.mark.parametrize("also", ["boundary", "volume"])
def test_lesions_whose_outline_or_volume_matters_are_sent_to_instances(also):
    found = ask("semantic", small=True, multi_instance=True, **{also: True})
    assert found.instead is not None
    assert found.instead.fingerprint.category == "instance"
    assert not keys(found.instead) & {"nsd", "masd", "hd"}


def test_the_page_of_the_better_category_repeats_nothing():
    found = ask("semantic", small=True, multi_instance=True)
    lines = [line for line in found.explain(1000).splitlines() if line.startswith("  * ")]
    assert "Better: object detection" in found.explain(1000)
    assert any("lesion_f1" in line for line in lines)
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("answer", ["small", "multi_instance", "size_variability"])
def test_what_one_overlap_hides_is_warned_of(answer):
    assert any("consider" in text for text in ask("semantic", **{answer: True}).warnings)
    assert not any("consider" in text for text in ask("semantic", **{answer: False}).warnings)


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ({}, ("dice",)),
        ({"error_cost": "fn"}, ("fbeta@2",)),
        ({"error_cost": "fp"}, ("fbeta@0.5",)),
        ({"tubular": True}, ("cldice", "dice", "nsd@1mm")),
        ({"tubular": True, "error_cost": "fn", "ref_noise": "none"}, ("cldice", "dice", "masd")),
        ({"boundary": True, "small": True}, ("dice",)),
        ({"boundary": True, "ref_noise": "none"}, ("dice", "masd")),
        ({"boundary": True, "ref_noise": "none", "far_errors": True}, ("dice", "hd")),
        ({"boundary": True, "ref_noise": "imprecision", "tolerance_mm": 2.5}, ("dice", "nsd@2.5mm")),
        ({"boundary": True, "ref_noise": "outliers", "far_errors": True}, ("dice", "nsd@1mm", "hd95")),
        ({"boundary": True, "spacing": (0.5, 0.5, 3)}, ("dice", "nsd@3mm/surfel")),
        ({"boundary": True, "spacing": (1.5, 1.5, 3)}, ("dice", "nsd@3mm")),
        ({"volume": True}, ("dice", "absolute_volume_difference_ml")),
        ({"calibration": True}, ("dice", "ece@15", "brier")),
        ({"calibration": True, "scores": False}, ("dice",)),
    ],
)
def test_semantic(answers, names):
    assert ask("semantic", **answers).names == names


@pytest.mark.parametrize(
    ("answers", "names", "rule"),
    [
        ({"boundary": True}, ("lesion_f1", "lesion_average_precision"), "iou@0.5/optimal"),
        ({"boundary": True, "scores": False}, ("lesion_f1",), "iou@0.5/optimal"),
        (
            {"small": True, "scores": True},
            ("lesion_f1/iou@0.1/score", "lesion_average_precision/iou@0.1/score"),
            "iou@0.1/score",
        ),
        ({"centre": True, "scores": False}, ("lesion_f1/any",), "any"),
        ({"boundary": True, "error_cost": "fn", "scores": False}, ("lesion_fbeta@2",), "iou@0.5/optimal"),
        (
            {"boundary": True, "target": "fppi@1"},
            ("lesion_f1", "lesion_froc@fppi=1"),
            "iou@0.5/optimal",
        ),
        (
            {"boundary": True, "target": "sensitivity@0.9"},
            ("lesion_precision_at@sensitivity=0.9", "lesion_average_precision"),
            "iou@0.5/optimal",
        ),
        (
            {"boundary": True, "target": "precision@0.8"},
            ("lesion_sensitivity_at@precision=0.8", "lesion_average_precision"),
            "iou@0.5/optimal",
        ),
    ],
)
def test_detection(answers, names, rule):
    found = ask("detection", **answers)
    assert (found.names, found.rule) == (names, rule)
    assert found.settings()["lesions"] == {"rule": rule}


# A ball of 1 mm voxels: 5 voxels are small; one voxel aside, 11 have an IoU of 0.32, and 60 of 0.53.
@pytest.mark.parametrize(
    ("diameter", "threshold"), [(2.1, 0.1), (2.76, 0.3), (4.2, 0.3), (4.86, 0.5), (30, 0.5)]
)
@pytest.mark.parametrize("category", ["detection", "instance"])
def test_objects_of_few_voxels_are_found_by_a_lower_iou(category, diameter, threshold):
    found = recommend(Fingerprint(category=category, structure_mm=diameter, spacing=(1.0,), boundary=True))
    assert found.rule.startswith(f"iou@{threshold}/")
    assert str(threshold) in found.localisation


def test_touching_objects_get_the_best_pairs_where_there_are_no_scores():
    found = ask("detection", touching=True, scores=False)
    assert found.assignment.startswith("the best one-to-one pairs")
    assert any("label maps" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ({}, ("image_mcc", "image_fbeta@1", "image_auroc")),
        ({"error_cost": "fn", "scores": False}, ("image_expected_cost", "image_fbeta@2")),
        ({"prevalence_ok": False, "scores": False}, ("image_balanced_accuracy", "image_likelihood_ratio")),
        ({"class_weighting": "ordinal", "scores": False}, ("image_weighted_kappa", "image_fbeta@1")),
        (
            {"class_imbalance": False, "error_cost": "equal", "scores": False},
            ("image_accuracy", "image_fbeta@1"),
        ),
        (
            {"class_imbalance": True, "target": "specificity@0.95"},
            (
                "image_mcc",
                "image_sensitivity_at@specificity=0.95",
                "image_auroc",
                "image_average_precision",
            ),
        ),
        (
            {"calibration": True},
            ("image_mcc", "image_fbeta@1", "image_auroc", "image_brier", "image_ece@15"),
        ),
    ],
)  # fmt: skip
def test_classification_is_named_and_said_to_be_elsewhere(answers, names):
    found = ask("classification", **answers)
    assert found.names == names
    assert set(found.elsewhere()) == set(names)
    assert found.settings()["metrics"] == []


@given(FINGERPRINTS)
def test_any_fingerprint_gets_a_legal_recommendation_that_can_be_run(fingerprint):
    found = recommend(fingerprint)
    for one in filter(None, (found, found.instead)):
        category = one.fingerprint.category
        assert one.metrics
        assert all(legal(name, category) for name in one.names)
        assert len(set(one.names)) == len(one.names)
        assert all(why for _, why in one.metrics)
        assert all(one.elsewhere().values())
    settings = found.settings()
    assert (settings["metrics"] == []) == (fingerprint.category == "classification")
    for name in settings["metrics"]:
        assert exists(name), name
    assert yaml.safe_load(found.settings_text()) == settings
    assert all(name in found.explain() for name in found.names)


@given(FINGERPRINTS)
def test_answers_are_read_back(fingerprint):
    assert Fingerprint.from_dict(fingerprint.answers()) == fingerprint
    assert Fingerprint.from_dict(yaml.safe_load(yaml.safe_dump(fingerprint.answers()))) == fingerprint


def exists(name):
    """Whether the registry has it."""
    return definition(name).id.startswith(stem(name).removesuffix("_ml"))


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("dice", "detection"),
        ("nsd@1mm", "classification"),
        ("lesion_froc", "semantic"),
        ("brier", "instance"),
    ],
)
def test_what_is_not_legal(name, category):
    assert not legal(name, category)


def test_every_condition_names_facts_and_values_that_exist():
    facts = Fingerprint(category="semantic").facts()
    words = {"category": {"classification", "detection", "semantic", "instance"}}
    words |= {
        "error_cost": {"equal", "fp", "fn", "unknown"},
        "ref_noise": {"none", "imprecision", "outliers", "unknown"},
        "class_weighting": {"equal", "frequency", "ordinal", "unknown"},
        "target": {"none", "sensitivity", "precision", "specificity", "fppi"},
    }
    choices = [one for slot in (*METRICS, LOCALISATION, ASSIGNMENT, INSTEAD) for one in slot.choices]
    conditions = [one.when for one in (*choices, *WARNINGS, *PITFALLS, *AGGREGATION) if one.when]
    assert len(conditions) > 50
    for condition in conditions:
        for key, value, _ in terms(condition):
            assert key in facts, condition
            assert value in words.get(key, {"yes", "no", "unknown"}), condition


def test_every_slot_ends_with_a_choice_that_always_holds():
    assert all(slot.choices[-1].when == "" for slot in (*METRICS, LOCALISATION, ASSIGNMENT, INSTEAD))


@pytest.mark.parametrize(
    ("condition", "true"),
    [
        ("", True),
        ("a", True),
        ("!a", False),
        ("!c", True),
        ("c=unknown", True),
        ("a & b", False),
        ("a & b | a", True),
        ("b | c", False),
        ("a!=no", True),
    ],
)
def test_conditions(condition, true):
    assert holds(condition, {"a": "yes", "b": "no", "c": "unknown"}) is true


def test_a_condition_on_an_unknown_fact_is_a_mistake_of_the_table():
    with pytest.raises(KeyError):
        holds("d", {"a": "yes"})
