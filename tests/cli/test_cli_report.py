"""From two folders of masks to one page, by the commands of the README."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

TrueVox = Callable[..., Any]
FAST = ("--resamples", "100", "--rank-resamples", "20", "--no-figures")


def save(folder: Path, case: str, corner: int) -> None:
    voxels = np.zeros((20, 20, 12), np.uint8)
    voxels[corner : corner + 8, 5:12, 3:9] = 1
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 2, 1])), folder / f"{case}.nii.gz")


def test_two_methods_on_one_page(truevox: TrueVox, tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / "truth", f"p{k}", 4)
        save(tmp_path / "ours", f"p{k}", 5)
        save(tmp_path / "theirs", f"p{k}", 6 + k % 2)
    save(tmp_path / "truth", "<script>alert(1)<", 4)
    for name in ("ours", "theirs"):
        save(tmp_path / name, "<script>alert(1)<", 5)
        done = truevox(
            "evaluate", tmp_path / name, tmp_path / "truth", "--metrics", "dice,hd95",
            "--out", tmp_path / "eval" / name, "--report", tmp_path / f"{name}.html",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert f"The report is {tmp_path / f'{name}.html'}." in done.err
    page = tmp_path / "report.html"
    evaluations = [tmp_path / "eval" / "ours", tmp_path / "eval" / "theirs"]
    done = truevox("compare", *evaluations, "--out", tmp_path / "compared", "--report", page, *FAST)
    assert done.code == 0, done.err
    text = page.read_text()
    assert "<script>alert" not in text
    assert "Dice" in text
    assert all(f">{name}<" in text or f'"{name}"' in text for name in ("ours", "theirs"))


def test_a_table_has_no_report(truevox: TrueVox, tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("case,method,value\np0,a,0.5\np0,b,0.6\n")
    done = truevox("compare", table, "--out", tmp_path / "out", "--report", tmp_path / "r.html", *FAST)
    assert done.code == 2
    assert "--report is for evaluations" in done.err


def test_predictions_are_evaluated_and_compared_at_once(truevox: TrueVox, tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / "truth", f"p{k}", 4)
        save(tmp_path / "ours", f"p{k}", 5)
        save(tmp_path / "theirs", f"p{k}", 6)
    out = tmp_path / "out"
    arguments = [
        "compare", tmp_path / "ours", f"old={tmp_path / 'theirs'}", "--references", tmp_path / "truth",
        "--labels", "lesion=1", "--metrics", "dice,volume_ml", "--out", out, *FAST,
    ]  # fmt: skip
    done = truevox(*arguments)
    assert done.code == 0, done.err
    with (out / "comparison.csv").open(newline="") as stream:
        [row] = list(csv.DictReader(stream))
    # Moved by one and by two of eight voxels: Dice 7/8 and 6/8.
    assert (row["label"], row["first"], row["second"]) == ("lesion", "ours", "old")
    assert float(row["mean_difference"]) == pytest.approx(1 / 8)
    assert (out / "evaluations" / "old" / "metrics.csv").is_file()
    (tmp_path / "theirs" / "p3.nii.gz").unlink()
    done = truevox(*arguments)
    assert done.code == 1
    assert "1 x The prediction is missing. (p3)" in done.err
