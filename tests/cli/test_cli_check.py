"""``truevox check`` as a user calls it: severities, leaks, pictures, repairs."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def shifted(path: Path, mm: float) -> None:
    """The file, its header moved to the right."""
    image = nibabel.load(path)
    affine = image.affine.copy()  # pyright: ignore[reportAttributeAccessIssue]
    affine[0, 3] += mm
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), affine), path)  # pyright: ignore


def test_warnings_end_with_0_unless_strict(truevox, study):
    mask = study.file("p1", "tumour")
    empty = nibabel.load(mask)
    nibabel.save(nibabel.Nifti1Image(np.zeros(empty.shape, np.uint8), empty.affine), mask)  # pyright: ignore
    outcome = truevox("check", study.table, "--recipe", study.recipe)
    assert outcome.code == 0
    assert outcome.err == "5 cases, 15 files, 0 errors, 1 warning.\n"
    assert ",warning,empty,The mask has no foreground.," in outcome.out
    assert truevox("check", study.table, "--recipe", study.recipe, "--strict").code == 1
    assert truevox("check", study.table, "--recipe", study.recipe, "--headers", "--strict").code == 0


def test_a_scan_of_train_in_test_is_an_error(truevox, study):
    study.file("p5", "flair").write_bytes(study.file("p1", "flair").read_bytes())
    outcome = truevox("check", study.table, "--out", study.folder / "problems.csv")
    assert outcome.code == 1
    (row,) = rows_of(study.folder / "problems.csv")
    assert (row["case"], row["severity"], row["kind"]) == ("p1; p5", "error", "leak")


def test_a_patient_column_must_exist(truevox, study):
    outcome = truevox("check", study.table, "--patient", "who")
    assert outcome.code == 2
    assert "no column 'who'" in outcome.err


def test_pictures_are_named_in_the_table(truevox, study):
    shifted(study.file("p2", "tumour"), 6)
    study.file("p1", "t1").unlink()
    folder = study.folder / "offenders"
    out = study.folder / "problems.csv"
    outcome = truevox("check", study.table, "--headers", "--pictures", folder, "--out", out)
    assert outcome.code == 1
    rows = {row["kind"]: row["picture"] for row in rows_of(out)}
    assert rows == {"file": "", "grid": str(folder / "0002_p2_tumour_grid.png")}
    assert [p.name for p in folder.iterdir()] == ["0002_p2_tumour_grid.png"]


@pytest.mark.parametrize("how", ["resample", "copy-header"])
def test_fix_makes_a_cohort_that_passes(truevox, study, how):
    shifted(study.file("p2", "tumour"), 6)
    before = study.file("p2", "tumour").read_bytes()
    folder = study.folder / "new"
    outcome = truevox("check", study.table, "--recipe", study.recipe, "--fix", how, "--out", folder)
    # All errors are repaired.
    assert outcome.code == 0, outcome.err
    assert "1 repaired, 0 refused" in outcome.err
    assert study.file("p2", "tumour").read_bytes() == before
    again = truevox("check", folder / "cohort.csv", "--recipe", study.recipe, "--strict")
    assert again.code == 0, again.out
    (row,) = rows_of(folder / "fixes.csv")
    assert float(row["displacement_before_mm"]) == pytest.approx(6, abs=1e-4)
    assert float(row["displacement_after_mm"]) == 0


def test_fix_needs_a_new_folder(truevox, study):
    shifted(study.file("p2", "tumour"), 6)
    listing = sorted(str(p) for p in study.folder.rglob("*"))
    arguments = ("check", study.table, "--recipe", study.recipe, "--headers", "--fix", "resample")
    assert truevox(*arguments).code == 2
    assert truevox(*arguments, "--out", study.folder).code == 2
    assert truevox(*arguments, "--out", study.folder / "problems.csv").code == 2
    inside = truevox(*arguments, "--out", study.folder / "scans")
    assert inside.code == 3
    assert "new folder" in inside.err
    assert sorted(str(p) for p in study.folder.rglob("*")) == listing
