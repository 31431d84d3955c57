"""Fingerprints: what they derive, what is asked, and what a bad answer says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from truevox.errors import FileError, SettingsError
from truevox.evaluation.recommend import QUESTIONS, Fingerprint, open_questions, read_answers, with_answer


@pytest.mark.parametrize(
    ("structure", "spacing", "voxels"),
    [
        (6, (1, 1, 1), 36 * math.pi),
        (2, (1, 1), math.pi),
        (3, (0.5, 0.5, 3), 4.5 * math.pi / 0.75),
    ],
)
def test_voxels_of_a_structure(structure, spacing, voxels):
    found = Fingerprint(category="semantic", structure_mm=structure, spacing=spacing)
    assert found.voxels() == pytest.approx(voxels)


# A ball of 10 voxels of 1 mm3 has a diameter of 2.673 mm.
@pytest.mark.parametrize(("structure", "small"), [(2.67, "yes"), (2.68, "no")])
def test_small_follows_from_sizes(structure, small):
    assert Fingerprint(category="semantic", structure_mm=structure, spacing=1).facts()["small"] == small  # pyright: ignore[reportArgumentType]


def test_small_that_was_answered_stands_and_a_contradiction_is_said():
    from truevox.evaluation.recommend import recommend

    found = Fingerprint(category="semantic", structure_mm=1, spacing=(1, 1, 1), small=False, boundary=True)
    assert found.facts()["small"] == "no"
    assert any("fewer than ten" in text for text in recommend(found).warnings)


@pytest.mark.parametrize(("spacing", "said"), [((1, 1, 2), "no"), ((1, 1, 2.1), "yes"), (None, "unknown")])
def test_anisotropic_from_more_than_two(spacing, said):
    assert Fingerprint(category="semantic", spacing=spacing).facts()["anisotropic"] == said


@pytest.mark.parametrize("word", ["yes", "YES", True, "true"])
def test_yes_in_several_ways(word):
    assert Fingerprint.from_dict({"category": "SemS", "boundary": word}).boundary is True


@pytest.mark.parametrize("word", ["unknown", None, ""])
def test_unknown_in_several_ways(word):
    assert Fingerprint.from_dict({"category": "SemS", "boundary": word, "tolerance_mm": word}) == Fingerprint(
        category="semantic"
    )


@pytest.mark.parametrize("sizes", ["1x1x3", "1, 1, 3", [1, 1, 3]])
def test_spacing_in_several_ways(sizes):
    assert Fingerprint.from_dict({"category": "semantic", "spacing": sizes}).spacing == (1, 1, 3)


@pytest.mark.parametrize("sizes", [2, [2], "2"])
def test_one_size_is_a_cube(sizes):
    assert Fingerprint.from_dict({"category": "semantic", "spacing": sizes}).spacing == (2, 2, 2)


@pytest.mark.parametrize(
    ("short", "category"),
    [("ImLC", "classification"), ("ObD", "detection"), ("SemS", "semantic"), ("InS", "instance")],
)
def test_categories_by_the_names_of_the_guideline(short, category):
    assert Fingerprint.from_dict({"category": short}).category == category


@pytest.mark.parametrize(
    ("answers", "parts"),
    [
        ({}, ("'category' is needed", "classification, detection, semantic or instance")),
        ({"category": "voxels"}, ("'category' can't be used", "'voxels'", "semantic or instance")),
        ({"category": "semantic", "boundry": True}, ("no question 'boundry'", "did you mean 'boundary'?")),
        ({"category": "semantic", "boundary": "maybe"}, ("'boundary'", "'maybe'", "yes, no or unknown")),
        ({"category": "semantic", "boundary": 1}, ("'boundary'", "yes, no or unknown")),
        ({"category": "semantic", "error_cost": "yes"}, ("'error_cost'", "equal, fp, fn or unknown")),
        ({"category": "semantic", "ref_noise": True}, ("'ref_noise'", "none, imprecision, outliers")),
        (
            {"category": "semantic", "spacing": [1, -1, 1]},
            ("'spacing'", "one to three numbers of mm above 0"),
        ),
        ({"category": "semantic", "spacing": "1x1x1x1"}, ("'spacing'", "one to three numbers")),
        ({"category": "semantic", "structure_mm": 0}, ("'structure_mm'", "a number of mm above 0")),
        (
            {"category": "semantic", "structure_mm": float("nan")},
            ("'structure_mm'", "a number of mm above 0"),
        ),
        ({"category": "detection", "target": "auc@1"}, ("'target'", "sensitivity@0.9")),
        ({"category": "detection", "target": "sensitivity@90"}, ("'target'", "sensitivity@0.9")),
    ],
)
def test_bad_answers_say_key_value_and_what_is_allowed(answers, parts):
    with pytest.raises(SettingsError) as error:
        Fingerprint.from_dict(answers)
    for part in parts:
        assert part in str(error.value)


def test_several_bad_answers_are_all_named():
    with pytest.raises(SettingsError, match="2 answers can't be used") as error:
        Fingerprint.from_dict({"category": "semantic", "boundary": 3, "volume": "perhaps"})
    assert "'boundary'" in str(error.value)
    assert "'volume'" in str(error.value)


def test_every_answer_has_one_question():
    assert sorted(one.key for one in QUESTIONS) == sorted(Fingerprint.model_fields)


@pytest.mark.parametrize("category", ["classification", "detection", "semantic", "instance"])
@pytest.mark.parametrize("word", ["yes", "no", "unknown"])
def test_about_twelve_questions_are_asked(category, word):
    sizes = {"structure_mm": 9, "spacing": 1, "tolerance_mm": 1}
    answers = {"category": category}
    while one := next(open_questions(Fingerprint.from_dict(answers).facts(), answers), None):
        given = word if "yes" in one.choices else sizes.get(one.key) if word != "unknown" else None
        answers[one.key] = given if one.choices == () or "yes" in one.choices else "unknown"
    assert 8 <= len(answers) <= 16
    assert all(category[0] in one.categories for one in QUESTIONS if one.key in answers)


def test_outlines_are_not_asked_about_where_structures_are_small():
    facts = Fingerprint(category="semantic", boundary=True, small=True).facts()
    assert "ref_noise" not in {one.key for one in open_questions(facts, {})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("category: semantic\ncategory: instance\n", "'category' is there twice"),
        ("- semantic\n", "no mapping"),
        ("", "an empty file"),
        ("category: [semantic\n", "no YAML in line"),
    ],
)
def test_files_that_hold_no_answers(tmp_path, text, message):
    file = tmp_path / "answers.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        read_answers(file)
    assert str(file) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileError, match="can't be read"):
        read_answers(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["boundary", "=yes", ""])
def test_an_assignment_needs_key_and_value(text):
    with pytest.raises(SettingsError, match="key=value"):
        with_answer({}, text)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("structure_mm", "4mm", 4.0),
        ("structure_mm", " 0.4 CM ", 4.0),
        ("structure_mm", "1,5", 1.5),
        ("structure_mm", "1e-3", 1e-3),
        ("structure_mm", "unknown", None),
        ("spacing", "1x1x3 mm", (1.0, 1.0, 3.0)),
        ("spacing", "0.8 x 0.8 x 2,5mm", (0.8, 0.8, 2.5)),
        ("spacing", "0.5 0.5 3", (0.5, 0.5, 3.0)),
        ("spacing", "[1, 1, 3]", (1.0, 1.0, 3.0)),
        ("spacing", "500 um", (0.5, 0.5, 0.5)),
        ("boundary", "Y", True),
        ("boundary", "n", False),
        ("ref_noise", "no", "none"),
        ("target", "Sensitivity @ 90 %", "sensitivity@0.9"),
    ],
)
def test_answers_as_people_write_them(key, text, value):
    given = {"category": "detection" if key == "target" else "semantic"}
    assert getattr(Fingerprint.from_dict(with_answer(given, f"{key}={text}")), key) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("structure_mm", "11 voxels"),
        ("structure_mm", "4 parsec"),
        ("structure_mm", True),  # YAML's yes
        ("structure_mm", "12:30"),  # YAML's 750
        ("structure_mm", "-4mm"),
        ("spacing", "1x1x1x1"),
        ("spacing", "1xx3"),
        ("spacing", [True, 1, 1]),
        ("target", "sensitivity@90"),
    ],
)
def test_answers_that_mean_nothing_are_refused(key, value):
    with pytest.raises(SettingsError, match=f"'{key}' can't be used"):
        Fingerprint.from_dict({"category": "semantic", key: value})


# Counted voxel by voxel: a ball of radius 20 voxels, and the same a tenth of its diameter aside.
def test_iou_of_a_shifted_ball_as_counted():
    x, y, z = np.ogrid[-25:26, -25:26, -25:30]
    ball, moved = (x**2 + y**2 + (z - dz) ** 2 <= 400 for dz in (0, 4))
    counted = (ball & moved).sum() / (ball | moved).sum()
    found = Fingerprint(category="instance", structure_mm=40, spacing=(1, 1, 4)).shifted_iou()
    assert found == pytest.approx(counted, abs=0.01)
    disc, aside = ball[:, :, 25], (x**2 + (y - 4) ** 2 <= 400)[:, :, 0]
    counted = (disc & aside).sum() / (disc | aside).sum()
    found = Fingerprint(category="instance", structure_mm=40, spacing=(1, 4)).shifted_iou()
    assert found == pytest.approx(counted, abs=0.01)
