"""``truevox theory``: files it writes, what it prints, how it ends on bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

AFFINE = np.diag([-1.0, 1.5, 2.0, 1.0])


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path.name


def ball(radius: float) -> np.ndarray:
    index = np.indices((9, 9, 9)) - 4
    return (np.sqrt((index**2).sum(0)) <= radius).astype(np.uint8)


@pytest.fixture
def raters(tmp_path):
    """Two cases of three raters, on voxels of 3 mm3, and the table."""
    rows = ["case,scan,r1,r2,r3"]
    for case, radii in {"p1": (2, 2.5, 3.5), "p2": (1.5, 1.5, 3)}.items():
        names = [f"{case}_{r}.nii.gz" for r in range(3)]
        for name, radius in zip(names, radii, strict=True):
            write(tmp_path / name, ball(radius))
        rows.append(",".join([case, write(tmp_path / f"{case}.nii.gz", ball(2) * np.float32(1.5)), *names]))
    table = tmp_path / "raters.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def test_the_table_the_figure_and_the_record(truevox, raters):
    out = raters.parent / "out"
    outcome = truevox("theory", raters, "--raters", "r1,r2,r3", "--out", out)
    assert outcome.code == 0, outcome.err
    with (out / "theory.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 14
    counts = [sum(int(ball(r).sum()) for r in radii) / 3 for radii in ((2, 2.5, 3.5), (1.5, 1.5, 3))]
    for case, voxels in zip(("p1", "p2"), counts, strict=True):
        [row] = [r for r in rows if (r["case"], r["loss"]) == (case, "cross_entropy")]
        assert float(row["volume_ml"]) == pytest.approx(voxels * 0.003)
        assert float(row["bias_ml"]) == pytest.approx(0, abs=1e-12)
        [mask] = [r for r in rows if (r["case"], r["loss"]) == (case, "threshold")]
        middle = ball(2.5 if case == "p1" else 1.5).sum()
        assert float(mask["volume_ml"]) == pytest.approx(middle * 0.003)
    found = json.loads((out / "run.json").read_text())
    assert found["status"] == "finished"
    assert found["settings"]["raters"] == ["r1", "r2", "r3"]
    assert found["summary"][0]["loss"] == "cross_entropy"
    assert found["failed"] == []
    assert np.asarray(Picture.open(out / "theory.png")).std() > 10
    assert not (out / "failures.csv").exists()
    assert "soft Dice" in outcome.out
    assert "2 cases, expected volume" in outcome.out


def test_another_loss(truevox, raters):
    out = raters.parent / "out"
    assert truevox("theory", raters, "--raters", "r1,r2,r3", "--out", out, "--loss", "squared_dice").code == 0
    assert "squared_dice" in (out / "theory.csv").read_text()


def test_images_among_the_masks_are_named(truevox, raters):
    outcome = truevox("theory", raters, "--out", raters.parent / "out")
    assert outcome.code == 3
    assert "not integers" in outcome.err
    assert "p1" in outcome.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--raters", "r1"), 3, "No case has masks of two raters"),
        (("--raters", "r1,r9"), 2, "The cohort has no column 'r9'"),
        (("--raters", "r1,r2,r3", "--loss", "hausdorff"), 2, "The theory knows no such loss"),
        (("--raters", "r1,r2,r3", "--label", "4"), 3, "No rater of any case marks anything"),
        (("--raters", "r1,r2,r3", "--patient", "who"), 2, "The cohort has no column 'who'"),
    ],
)
def test_bad_input(truevox, raters, options, code, message):
    outcome = truevox("theory", raters, *options, "--out", raters.parent / "out")
    assert (outcome.code, message in outcome.err) == (code, True), outcome.err


def test_cases_that_fail_are_listed(truevox, raters):
    affine = np.eye(4)
    write(raters.parent / "p2_2.nii.gz", ball(2), affine)
    out = raters.parent / "out"
    outcome = truevox("theory", raters, "--raters", "r1,r2,r3", "--out", out)
    assert outcome.code == 1
    assert "1 case failed" in outcome.err
    assert "not on the same grid" in (out / "failures.csv").read_text()
