"""Repairs put files on the reference's grid, in a new folder, and leave everything else alone."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from truevox import io
from truevox.cohort import Case, Cohort, check
from truevox.cohort.checks.repair import Repair, repair
from truevox.errors import FileError

SHAPE = (20, 18, 12)


def affine(
    spacing: tuple[float, float, float] = (1, 1, 2), origin: tuple[float, ...] = (0, 0, 0)
) -> np.ndarray:
    turn = np.radians(12)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    ) @ np.diag([-1.0, 1, 2])
    matrix[:3, 3] = origin
    return matrix


def write(path: Path, array: np.ndarray, matrix: np.ndarray) -> Path:
    nib.Nifti1Image(array, matrix).to_filename(path)
    return path


def opened(path: str | Path) -> Any:
    """What nibabel reads."""
    return nib.load(path)


def voxels(path: str | Path) -> np.ndarray:
    return np.asanyarray(opened(path).dataobj)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """A scan, and beside it: a shifted mask, a finer mask, a shifted scan; and a sound case."""
    rng = np.random.default_rng(0)
    scan = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1).astype(np.float32)
    mask = (ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) > 0.02).astype(np.uint8)
    fine = np.kron(mask * 3, np.ones((2, 2, 2), np.uint8))
    half = affine() @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
    data = tmp_path / "data"
    data.mkdir()
    other = {"t1": write(data / "ot1.nii", scan + 1, affine()), "m": write(data / "om.nii", mask, affine())}
    shift, down = affine(origin=(2, 1, 4)), affine(origin=(0, 0, 1))
    files = {
        "shifted": {"t1": (scan, affine()), "m": (mask, shift)},
        "fine": {"t1": (scan * 2, affine()), "m": (fine, half)},
        "scan": {"t1": (scan * 3, affine()), "t2": (scan, down)},
    }
    cases = [
        Case(case, {c: write(data / f"{case}_{c}.nii", *what) for c, what in columns.items()})
        for case, columns in files.items()
    ]
    cases.append(Case("good", {**other, "age": 61.0}, split="val"))
    return Cohort(cases)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures: they take most of the time."""
    monkeypatch.setattr("truevox.cohort.checks.repair.draw_rows", lambda *_: None)


def run(cohort: Cohort, how: str, folder: Path) -> list[Repair]:
    problems = check(cohort, labels=["m"])
    return repair(cohort, problems, how, folder, {"m": None})  # type: ignore[arg-type]


def test_resampling_makes_a_cohort_without_grid_problems(cohort: Cohort, tmp_path: Path) -> None:
    before = {p: hashlib.sha256(p.read_bytes()).digest() for p in (tmp_path / "data").iterdir()}
    rows = run(cohort, "resample", tmp_path / "new")
    assert [(r.case, r.column, r.status) for r in rows] == [
        ("shifted", "m", "repaired"), ("fine", "m", "repaired"), ("scan", "t2", "repaired")
    ]  # fmt: skip
    assert [r.displacement_before_mm for r in rows] == [pytest.approx(np.sqrt(21)), None, pytest.approx(1)]
    assert [r.displacement_after_mm for r in rows] == [0, 0, 0]
    fixed = Cohort.from_csv(tmp_path / "new" / "cohort.csv")
    assert [p for p in check(fixed, voxels=True) if p.severity == "error"] == []
    assert fixed["good"].value("age") == 61
    assert fixed["good"].split == "val"
    assert fixed["good"].path("t1").resolve() == cohort["good"].path("t1").resolve()
    with open(tmp_path / "new" / "fixes.csv", newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["shifted", "fine", "scan"]
    assert all(Path(r.picture).read_bytes()[:4] == b"\x89PNG" for r in rows)
    assert {p: hashlib.sha256(p.read_bytes()).digest() for p in (tmp_path / "data").iterdir()} == before


@pytest.mark.usefixtures("unseen")
def test_resampled_voxels_are_those_of_scipy(cohort: Cohort, tmp_path: Path) -> None:
    rows = {r.case: r for r in run(cohort, "resample", tmp_path / "new")}
    for case, column, order in (("shifted", "m", 0), ("scan", "t2", 1)):
        source = opened(cohort[case].path(column))
        grid = io.read_header(cohort[case].path("t1")).grid
        index = np.linalg.inv(source.affine) @ grid.affine
        data = np.asanyarray(source.dataobj)
        wanted = ndimage.affine_transform(
            data.astype(float), index[:3, :3], index[:3, 3], order=order, mode="nearest"
        )
        places = np.moveaxis(np.indices(grid.shape), 0, -1) @ index[:3, :3].T + index[:3, 3]
        inside = ((places > 0) & (places < np.array(data.shape) - 1)).all(-1)
        # Away from ties of nearest neighbours.
        clear = (np.abs(places - np.floor(places) - 0.5) > 1e-3).all(-1) if order == 0 else inside
        np.testing.assert_allclose(voxels(rows[case].file)[inside & clear], wanted[inside & clear], atol=2e-5)
    # Eight voxels of the finer mask are one of the scan's.
    blocks = voxels(cohort["fine"].path("m")).reshape(20, 2, 18, 2, 12, 2)
    assert np.array_equal(voxels(rows["fine"].file), blocks.max((1, 3, 5)))
    assert rows["fine"].what.startswith("resampled, the label with the largest share")


@pytest.mark.usefixtures("unseen")
def test_a_copied_header_keeps_every_voxel(cohort: Cohort, tmp_path: Path) -> None:
    rows = {r.case: r for r in run(cohort, "copy-header", tmp_path / "new")}
    for case, column in (("shifted", "m"), ("scan", "t2")):
        made = opened(rows[case].file)
        reference = opened(cohort[case].path("t1"))
        assert np.array_equal(voxels(rows[case].file), voxels(cohort[case].path(column)))
        assert np.array_equal(made.affine, reference.affine)
    refused = rows["fine"]
    assert refused.status == "refused"
    assert "the shapes differ" in refused.what
    assert refused.file == ""
    fixed = Cohort.from_csv(tmp_path / "new" / "cohort.csv")
    assert fixed["fine"].path("m").resolve() == cohort["fine"].path("m").resolve()
    assert [(p.case, p.kind) for p in check(fixed)] == [("fine", "grid")]


@pytest.mark.usefixtures("unseen")
def test_a_second_run_does_what_is_missing_or_changed(cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    first = {r.case: r for r in run(cohort, "resample", folder)}
    stamps = {case: os.stat(r.file).st_mtime_ns for case, r in first.items()}
    Path(first["fine"].file).unlink()
    source = cohort["scan"].path("t2")
    write(source, voxels(source) + 5, affine(origin=(0, 0, 1)))
    second = {r.case: r for r in run(cohort, "resample", folder)}
    assert os.stat(second["shifted"].file).st_mtime_ns == stamps["shifted"]
    assert Path(second["fine"].file).is_file()
    assert os.stat(second["scan"].file).st_mtime_ns > stamps["scan"]
    assert voxels(second["scan"].file).max() > 4
    # Another way of repair is no continuation.
    assert {r.status for r in run(cohort, "copy-header", folder)} == {"repaired", "refused"}


def test_originals_are_never_written(cohort: Cohort, tmp_path: Path) -> None:
    names = sorted(str(p) for p in tmp_path.rglob("*"))
    for folder in (tmp_path, tmp_path / "data", tmp_path / "x" / ".." / "data"):
        with pytest.raises(FileError, match="new folder"):
            run(cohort, "resample", folder)
    assert sorted(str(p) for p in tmp_path.rglob("*")) == names


@pytest.mark.usefixtures("unseen")
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[0, 0, 0] = np.nan
    t1 = write(tmp_path / "a.nii", array * 0 + 1, affine())
    t2 = write(tmp_path / "b.nii", array, affine(origin=(0, 0, 1)))
    cohort = Cohort([Case("p", {"t1": t1, "t2": t2})])
    (row,) = run(cohort, "resample", tmp_path / "new")
    assert row.status == "refused"
    assert "not finite" in row.what
