"""``truevox evaluate`` on folders and tables of any tool."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

TrueVox = Callable[..., Any]


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.5, 2.0, 1.0])), path)


def mask(*voxels: int, value: int = 1) -> np.ndarray:
    data = np.zeros((6, 6, 6), np.uint8)
    data.ravel()[list(voxels)] = value
    return data


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases; of the second there is no prediction."""
    write(tmp_path / "preds" / "p1.nii.gz", mask(0, 1))
    write(tmp_path / "truth" / "p1_seg.nii.gz", mask(1, 2))
    write(tmp_path / "truth" / "p2_seg.nii.gz", mask(1, 2))
    return tmp_path / "preds", tmp_path / "truth"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_folders(truevox: TrueVox, folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "eval"
    outcome = truevox("evaluate", *folders, "--out", out, "--metrics", "dice,jaccard", "--lesions", "any")
    assert outcome.code == 1
    assert "1 of 2 references have a prediction, matched by the file name" in outcome.err
    assert "1 x The prediction is missing. (p2)" in outcome.err
    assert "Labels: the values that occur" in outcome.err
    assert "1 failed" in outcome.out
    rows = rows_of(out / "metrics.csv")
    assert [(r["case"], r["label"], r["metric"], r["status"], r["definition"]) for r in rows] == [
        ("p1", "foreground", "dice", "ok", "dice/voxel"),
        ("p1", "foreground", "jaccard", "ok", "jaccard/voxel"),
        ("p2", "foreground", "dice", "failed", "dice/voxel"),
        ("p2", "foreground", "jaccard", "failed", "jaccard/voxel"),
    ]
    assert float(rows[0]["value"]) == 0.5
    assert [row["kind"] for row in rows_of(out / "lesions.csv")] == ["matched"]
    assert [row["case"] for row in rows_of(out / "failures.csv")] == ["p2"]
    cases = rows_of(out / "cases.csv")
    assert cases[0]["prediction"].endswith("p1.nii.gz")
    assert (cases[1]["prediction"], cases[1]["patient"]) == ("", "p2")
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["cases"], summary["failures"]) == (2, 1)
    assert summary["labels"] == {"segmentation": {"foreground": []}}  # all but 0: a mask may hold 255
    assert [m["n_failed"] for m in summary["metrics"]] == [1, 1]
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["failed"] == ["p2"]
    assert record["matching"]["without_prediction"] == ["p2"]
    assert record["settings"]["evaluation"]["metrics"] == ["dice", "jaccard"]


def test_what_was_fixed_is_scored_and_the_lists_go_away(
    truevox: TrueVox, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "eval"
    assert truevox("evaluate", *folders, "--out", out, "--metrics", "dice", "--lesions", "any").code == 1
    write(folders[0] / "p2.nii.gz", mask(1, 2))
    assert truevox("evaluate", *folders, "--out", out, "--metrics", "dice").code == 0
    assert not (out / "failures.csv").exists()
    assert not (out / "lesions.csv").exists()
    assert [row["value"] for row in rows_of(out / "metrics.csv")] == ["0.5", "1.0"]


def test_settings_and_labels(truevox: TrueVox, folders: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "evaluate.yaml"
    file.write_text("metrics: [jaccard]\nmissing: worst\nlabels: {tumour: 1}\n")
    outcome = truevox("evaluate", *folders, "--out", tmp_path / "a", "--settings", file)
    assert outcome.code == 1
    rows = rows_of(tmp_path / "a" / "metrics.csv")
    assert [(r["label"], r["metric"], r["status"]) for r in rows] == [
        ("tumour", "jaccard", "ok"),
        ("tumour", "jaccard", "missed"),
    ]
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["inputs"]["settings"]["path"] == str(file)
    options = ("--settings", file, "--metrics", "dice", "--labels", "x=nonzero", "--missing", "failed")
    truevox("evaluate", *folders, "--out", tmp_path / "b", *options)
    rows = rows_of(tmp_path / "b" / "metrics.csv")
    assert [(r["label"], r["metric"], r["status"]) for r in rows] == [
        ("x", "dice", "ok"),
        ("x", "dice", "failed"),
    ]


def test_a_table_of_files(truevox: TrueVox, folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("case,prediction,reference\np1,preds/p1.nii.gz,truth/p1_seg.nii.gz\n")
    outcome = truevox("evaluate", table, "--metrics", "dice")
    assert outcome.code == 0
    assert [row["case"] for row in rows_of(tmp_path / "evaluation" / "metrics.csv")] == ["p1"]


def test_a_table_beside_the_files_is_taken(
    truevox: TrueVox, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (folders[0] / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    outcome = truevox("evaluate", *folders, "--out", tmp_path / "eval")
    assert "dataset.json" in outcome.err
    assert {row["label"] for row in rows_of(tmp_path / "eval" / "metrics.csv")} == {"liver"}


def test_wrong_usage(truevox: TrueVox, folders: tuple[Path, Path], tmp_path: Path) -> None:
    for options, said in (
        (["--metrics", "dise"], "no metric 'dise'"),
        (["--missing", "maybe"], "missing: input should be"),
        (["--labels", "tumour"], "labels can't be understood"),
        (["--split", "val"], "no splits"),
        (["--match", "(nothing)"], "No prediction has the name of a reference"),
    ):
        outcome = truevox("evaluate", *folders, "--out", tmp_path / "eval", *options)
        assert outcome.code == 2
        assert said in outcome.err
    assert not (tmp_path / "eval").exists()
    assert truevox("evaluate", folders[0]).code == 2
    assert truevox("evaluate", folders[0], tmp_path / "nowhere").code == 3
