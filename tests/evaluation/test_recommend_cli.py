"""``truevox recommend``: answers in, a page, JSON and files out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from truevox.cli import app
from truevox.evaluation.recommend import PUBLISHED, QUESTIONS, Fingerprint, recommend


def run(*arguments, given=None):
    result = CliRunner().invoke(app, ["recommend", *map(str, arguments)], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_page_with_the_settings():
    result = run("--set", "category=semantic", "--set", "boundary=yes", "--set", "volume=yes")
    assert result.exit_code == 0, result.stderr
    for part in (
        "Metrics for semantic segmentation",
        "dice (Dice coefficient)",
        "Pitfalls avoided",
        "Averages",
    ):
        assert part in result.stdout
    settings = yaml.safe_load(result.stdout.partition("writes them)")[2])
    assert settings["metrics"] == ["dice", "nsd@1mm", "absolute_volume_difference_ml"]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_examples_by_name_as_json(name):
    result = run("--example", name, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["name"] for one in found["metrics"]] == list(recommend(PUBLISHED[name]).names)
    assert Fingerprint.from_dict(found["fingerprint"]) == PUBLISHED[name]


def test_a_file_of_answers_with_changes_and_files_written(tmp_path):
    answers = tmp_path / "fingerprint.yaml"
    answers.write_text("category: semantic\nboundary: no\nref_noise: none\n")
    settings, saved = tmp_path / "new" / "settings.yaml", tmp_path / "saved.yaml"
    result = run("--answers", answers, "--set", "boundary=yes", "--out", settings, "--save", saved)
    assert result.exit_code == 0, result.stderr
    assert yaml.safe_load(settings.read_text())["metrics"] == ["dice", "masd"]
    assert "# masd: " in settings.read_text()
    again = run("--answers", saved, "--json")
    assert json.loads(again.stdout)["fingerprint"] == {
        "category": "semantic",
        "boundary": "yes",
        "ref_noise": "none",
    }
    assert [p.name for p in settings.parent.iterdir()] == ["settings.yaml"]


def test_the_interview_asks_what_matters_and_asks_again():
    # Category (once wrong), size (once wrong), spacing, several, tubular, boundary; the rest by default.
    words = ["voxels", "semantic", "-3", "30", "1x1x1", "no", "no", "yes", *[""] * 10]
    result = run("--ask", "--json", given="\n".join(words) + "\n")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("What comes out") == 2
    assert "'structure_mm' can't be used" in result.stderr
    assert "below ten voxels" not in result.stderr
    assert "How far apart are outlines of two raters" in result.stderr
    found = json.loads(result.stdout)
    assert found["fingerprint"] == {
        "category": "semantic",
        "structure_mm": 30.0,
        "spacing": [1.0, 1.0, 1.0],
        "multi_instance": "no",
        "tubular": "no",
        "boundary": "yes",
    }


def test_answers_that_are_given_are_not_asked():
    result = run("--ask", "--set", "category=detection", "--set", "boundary=yes", given="\n" * 20)
    assert result.exit_code == 0, result.stderr
    assert "What comes out" not in result.stderr
    assert "exact outline" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "There are no answers."),
        (("--set", "category"), "key=value"),
        (("--set", "category=semantic", "--set", "boundary=maybe"), "yes, no or unknown"),
        (("--example", "heart"), "embryo, liver, neuron, instrument"),
        (("--set", "boundary=yes"), "'category' is needed"),
    ],
)
def test_bad_answers_end_with_2(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Internal error" not in result.stderr


def test_images_get_their_advice_and_no_settings(tmp_path):
    out = tmp_path / "settings.yaml"
    result = run("--set", "category=classification", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "Metrics for image classification" in result.stdout
    assert f"No settings: {out} is not written" in result.stderr
    assert not out.exists()


def test_the_page_is_printed_before_a_file_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    result = run("--example", "liver", "--out", tmp_path / "file" / "settings.yaml")
    assert result.exit_code == 3
    assert "Metrics for semantic segmentation" in result.stdout


def test_the_interview_explains_goes_back_and_takes_short_answers():
    words = ["?", "back", "SEM", "4mm", "1 x 1 x 1 mm", "y", "b", "n", "?", "Y", "n", "", "fn", *[""] * 9]
    result = run("--ask", "--json", given="\n".join(words) + "\n")
    assert result.exit_code == 0, result.stderr
    assert "Instance segmentation gives each object its own voxels" in result.stderr
    assert "This is the first question." in result.stderr
    assert "Of tubes the centreline counts" in result.stderr
    assert "can't be used" not in result.stderr
    assert json.loads(result.stdout)["fingerprint"] == {
        "category": "semantic", "structure_mm": 4.0, "spacing": [1.0, 1.0, 1.0], "multi_instance": "no",
        "tubular": "yes", "boundary": "no", "error_cost": "fn",
    }  # fmt: skip


def test_answers_that_end_early_are_no_mistake_of_the_program():
    result = run("--ask", given="semantic\n4\n")
    assert result.exit_code == 2
    assert "The answers ended before the questions did." in result.stderr
    assert "Traceback" not in result.stderr


def test_every_question_is_explained():
    assert all(len(question.help) > 40 for question in QUESTIONS)


def test_the_file_with_a_bad_answer_is_named(tmp_path):
    file = tmp_path / "fingerprint.yaml"
    file.write_text("category: semantic\nvolumes: yes\n")
    result = run("--answers", file)
    assert result.exit_code == 2
    assert str(file) in result.stderr
    assert "did you mean 'volume'?" in result.stderr


def test_no_torch_is_loaded_to_recommend():
    code = (
        "import sys; from typer.testing import CliRunner; from truevox.cli import app; "
        "r = CliRunner().invoke(app, ['recommend', '--example', 'liver']); "
        "print(r.exit_code, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "False"]
