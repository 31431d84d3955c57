"""Mistakes of a new user, one by one: what is said names the thing and a remedy, before any work is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from truevox.cli import app
from truevox.cli.running import guarded
from truevox.cli.scoring import origin_notes
from truevox.evaluation import summary
from truevox.origin import Origin, VolumeBias

MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 2:5] = 1


def run(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(map(str, words)))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stderr


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        Image.fromarray(MASK).save(tmp_path / folder / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no table\n", encoding="utf-8")
    (tmp_path / "scan.nii.gz").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "message", "remedy"),
    [
        ("evaluate nowhere theirs", 3, "There is no such folder", "check the path"),
        ("evaluate file theirs", 3, "This is a file, and a folder is needed", "give the folder"),
        ("evaluate mine nowhere", 3, "no such folder or table of references", "check the path"),
        ("evaluate mine file", 3, "References are a folder", "case,prediction,reference"),
        ("evaluate mine", 2, "nothing to compare the predictions with", "PREDICTIONS REFERENCES"),
        ("evaluate mine empty", 3, "holds no image", "check the path"),
        ("evaluate mine theirs --out mine", 2, "the folder that they are of", "mine/evaluation"),
        ("evaluate mine theirs --report empty", 2, "a file is needed", "empty/report.html"),
        ("evaluate mine theirs --labels tumour=1 --metrics dice:tumor", 2, "no label 'tumor'", "'tumour'?"),
        ("evaluate mine theirs --lesions any@3", 2, "threshold of an IoU", "iou@<threshold>"),
        ("evaluate mine theirs --missing wrost", 2, "should be 'failed' or 'worst'", "wrost"),
        ("evaluate mine theirs --metric dice", 2, "No such option", "--metrics"),
        ("evalute mine theirs", 2, "No such command", "evaluate"),
        ("volumes nowhere", 3, "There is no such folder", "check the path"),
        ("volumes file", 3, "This is a file", "give the folder"),
        ("volumes mine", 3, "no labels.json", "truevox predict"),
        ("check nowhere", 3, "no such table or folder", "check the path"),
        ("check scan.nii.gz", 3, "This is an image, and a cohort is needed", "write a table"),
        ("compare mine theirs", 3, "is no evaluation", "truevox evaluate"),
        ("compare a=mine b=theirs --report empty", 2, "a file is needed", "report.html"),
    ],
)
def test_a_mistake_is_named_with_a_remedy(
    place: Path, words: str, code: int, message: str, remedy: str
) -> None:
    before = sorted(place.rglob("*"))
    found, said = run(*words.split())
    assert found == code
    assert message in said
    assert remedy in said
    assert "mistake in TrueVox" not in said
    assert "Traceback" not in said
    # Nothing was written but the record of a comparison that failed.
    assert [path for path in sorted(place.rglob("*")) if "comparison" not in path.parts] == before


def test_a_settings_key_that_is_not_known(place: Path) -> None:
    (place / "settings.yaml").write_text("metrics: [dice]\nlesion: {rule: any}\n", encoding="utf-8")
    code, said = run("evaluate", "mine", "theirs", "--settings", "settings.yaml")
    assert code == 2
    assert "lesion: there is no such key" in said
    assert "did you mean 'lesions'?" in said


def test_an_interrupted_command_says_so_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        guarded(command)()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_scores_of_volumes_say_where_the_volumes_come_from() -> None:
    bias = {"tumour": {"expected": VolumeBias(1.81, 108.4, 4)}}
    origins = {"out": Origin("CrossEntropy", True, 200, validated_at=200, bias=bias)}
    base = {"case": "p", "output": "out", "label": "tumour", "metric": "m", "unit": "ml", "value": 1.0}
    base |= {"status": "ok", "patient": "p"}
    rows = [
        base | {"metric": way, "definition": way}
        for way in ("volume_difference/expected", "dice/voxel", "reference_volume/threshold")
    ]
    assert origin_notes(summary(rows), origins) == [
        "Expected volumes of tumour are of CrossEntropy, 200 steps, not calibrated; "
        "in validation +1.81 ml (+108 %) on 4 cases."
    ]
    assert origin_notes(summary(rows), {}) == []
