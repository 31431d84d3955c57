"""Leaks across splits in any form, and files unlike the rest of their column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import grids

from truevox.cohort import Case, Cohort, Problem, check
from truevox.cohort.checks.voxels import digest, look_of
from truevox.labels import Labels
from truevox.space import Grid

SHAPE = (8, 7, 6)
CODES = ("LAS", "RPI", "SAL", "IPR", "ASR", "PIL")


def noise(seed: int, level: float = 100.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, 0.1 * level, SHAPE).astype(np.float32)


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def column(folder: Path, odd: Callable[[int], tuple[np.ndarray, np.ndarray] | None], n: int = 12) -> Cohort:
    """Cases of noise on the unit grid, but for those that ``odd`` makes."""
    cases = []
    for k in range(n):
        array, affine = odd(k) or (noise(k), np.eye(4))
        cases.append(Case(f"p{k}", {"ct": write(folder / f"{k}.nii", array, affine)}))
    return Cohort(cases)


def found(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(p.case, p.kind) for p in problems]


def reordered(image: Any, codes: str) -> Any:
    """The same image, stored in another order by nibabel."""
    now = nib.orientations.io_orientation(image.affine)
    return image.as_reoriented(nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(codes)))


# ---- leaks ----------------------------------------------------------------------------------------


@given(grid=grids(), codes=st.sampled_from(CODES), seed=st.integers(0, 99))
def test_a_digest_is_the_same_in_any_order_and_type(grid: Grid, codes: str, seed: int) -> None:
    array = np.random.default_rng(seed).integers(-1000, 1000, (2, *grid.shape)).astype(np.int16)
    other = reordered(nib.Nifti1Image(np.moveaxis(array, 0, -1), grid.affine), codes)
    voxels = np.moveaxis(np.asanyarray(other.dataobj), -1, 0).astype(np.float64)
    other_grid = Grid(voxels.shape[1:], other.affine)
    assert digest(voxels, other_grid) == digest(array, grid)
    changed = array.copy()
    changed[1, 0, 0, 0] += 1
    assert digest(changed, grid) != digest(array, grid)


@pytest.mark.parametrize("codes", CODES)
def test_a_scan_stored_otherwise_is_found_in_another_split(codes: str, tmp_path: Path) -> None:
    scan = nib.Nifti1Image(noise(0), np.diag([-1.0, -1, 3, 1]))
    copy = reordered(scan, codes)
    nib.save(scan, tmp_path / "a.nii")
    write(tmp_path / "b.nii.gz", np.asanyarray(copy.dataobj).astype(np.float64), copy.affine)
    cases = [
        Case("p1", {"t1": tmp_path / "a.nii"}, split="train"),
        Case("p2", {"t1": tmp_path / "b.nii.gz"}, split="val"),
        Case("p3", {"t1": write(tmp_path / "c.nii", noise(1))}, split="val"),
    ]
    assert found(check(Cohort(cases), voxels=True)) == [("p1; p2", "leak")]
    same_split = [Case(c.id, c.values, split="train") for c in cases]
    assert found(check(Cohort(same_split), voxels=True)) == [("p1; p2", "duplicate")]


def test_equal_masks_of_different_scans_are_a_warning(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 2, 2:4] = 1
    cases = [
        Case(
            f"p{k}",
            {"t1": write(tmp_path / f"{k}.nii", noise(k)), "m": write(tmp_path / f"{k}m.nii", mask)},
            split=split,
        )
        for k, split in enumerate(("train", "test"))
    ]
    problems = check(Cohort(cases), voxels=True)
    assert [(p.case, p.column, p.kind, p.severity) for p in problems] == [
        ("p0; p1", "m", "duplicate", "warning")
    ]


def test_a_patient_in_two_splits(tmp_path: Path) -> None:
    cases = [
        Case(f"s{k}", {"t1": write(tmp_path / f"{k}.nii", noise(k)), "who": who}, split=split)
        for k, (who, split) in enumerate(
            [("A", "train"), ("A", "val"), ("B", "val"), (None, "train"), ("NA", "train"), ("NA", "val")]
        )
    ]
    assert found(check(Cohort(cases), patient="who")) == [("s0; s1", "leak")]
    assert check(Cohort(cases)) == []


# ---- outliers -------------------------------------------------------------------------------------


def test_spacing_and_shape_unlike_the_rest(tmp_path: Path) -> None:
    thick = np.diag([1.0, 1, 5, 1])
    problems = check(column(tmp_path, lambda k: {3: (noise(3), thick), 5: (noise(5)[:4], np.eye(4))}.get(k)))
    assert found(problems) == [("p3", "spacing"), ("p5", "shape")]
    assert "5 mm; the median of 12 files is 1 mm" in problems[0].message
    assert "feet to head" in problems[0].message
    assert "from left to right is 4; the median of 12 files is 8" in problems[1].message
    assert {p.severity for p in problems} == {"warning"}


def test_a_robust_z_score_is_that_of_iglewicz_and_hoaglin(tmp_path: Path) -> None:
    spacing = [1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8, 1.0, 1.1, 0.9, 1.15, 4.0]
    cohort = column(tmp_path, lambda k: (noise(k), np.diag([1.0, 1.0, spacing[k], 1.0])))
    (problem,) = check(cohort)
    logs = np.log(spacing)
    # Their 0.6745 is 1 / 1.4826.
    z = 0.6745 * (logs[-1] - np.median(logs)) / np.median(np.abs(logs - np.median(logs)))
    told = float(problem.message.rsplit("robust z ")[-1].rstrip(")."))
    assert told == pytest.approx(z, abs=0.06)


def test_few_files_and_a_spread_that_is_usual_are_no_outliers(tmp_path: Path) -> None:
    thick = np.diag([1.0, 1, 5, 1])
    assert check(column(tmp_path, lambda k: (noise(3), thick) if k == 3 else None, n=7)) == []
    spread = np.random.default_rng(0).uniform(0.7, 1.4, 40)
    cohort = column(tmp_path, lambda k: (noise(k), np.diag([1, 1, spread[k], 1])), n=40)
    assert check(cohort) == []


def test_a_mixture_of_two_scanners_is_told_once(tmp_path: Path) -> None:
    thick = np.diag([1.0, 1, 5, 1])
    problems = check(column(tmp_path, lambda k: (noise(k), thick) if k < 4 else None))
    assert [(p.case, p.column, p.kind) for p in problems] == [("", "ct", "spacing")]
    assert "in 4 of 12 files" in problems[0].message


def test_axes_unlike_the_majority(tmp_path: Path) -> None:
    problems = check(column(tmp_path, lambda k: (noise(k), np.diag([-1.0, 1, 1, 1])) if k == 2 else None))
    assert found(problems) == [("p2", "axes")]
    assert "stored as LAS, where 11 of 12 files of the column are RAS" in problems[0].message


def test_intensities_unlike_the_rest(tmp_path: Path) -> None:
    problems = check(
        column(tmp_path, lambda k: (noise(k, 1000.0), np.eye(4)) if k == 4 else None), voxels=True
    )
    assert found(problems) == [("p4", "intensity")]
    scan = noise(4, 1000.0)
    median = np.median(scan[scan > scan.min()])
    assert f"median of the foreground is {median:.4g}" in problems[0].message


def test_ct_without_its_rescale_intercept(tmp_path: Path) -> None:
    def ct(k: int) -> tuple[np.ndarray, np.ndarray]:
        body = np.random.default_rng(k).normal(40, 20, SHAPE)
        body[:2] = -1024
        return (body + 1024 * (k == 9)).round().astype(np.int16), np.eye(4)

    (problem,) = check(column(tmp_path, ct), voxels=True)
    assert (problem.case, problem.kind) == ("p9", "intensity")
    assert "Hounsfield" in problem.remedy


def test_an_image_among_labels_and_labels_among_images(tmp_path: Path) -> None:
    def files(k: int) -> dict[str, Path]:
        mask = np.zeros(SHAPE, np.uint8)
        mask[k % 5, 1:4, 2] = 1 + k % 3
        pair = (mask, noise(k)) if k == 2 else (noise(k), mask)
        return {c: write(tmp_path / f"{k}{c}.nii", a) for c, a in zip(("t1", "m"), pair, strict=True)}

    cohort = Cohort(Case(f"p{k}", files(k)) for k in range(6))
    guessed = [(p.case, p.column, p.kind) for p in check(cohort, voxels=True)]
    assert guessed == [("p2", "t1", "swapped"), ("p2", "m", "swapped")]
    told = check(cohort, labels={"m": Labels({"a": 1, "b": 2, "c": 3})}, voxels=True)
    assert [(p.case, p.column, p.kind) for p in told] == [("p2", "m", "swapped"), ("p2", "t1", "swapped")]


def test_a_column_of_masks_is_known_by_its_look(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    cases = []
    for k in range(5):
        one = mask.copy()
        one[k, :2, 1] = 1
        cases.append(Case(f"p{k}", {"m": write(tmp_path / f"{k}.nii", one if k else mask)}))
    assert found(check(Cohort(cases), voxels=True)) == [("p0", "empty")]


def test_what_looks_like_labels() -> None:
    rng = np.random.default_rng(0)
    atlas = np.repeat(np.repeat(np.arange(200).reshape(1, 20, 10, 1), 6, 1), 6, 2).repeat(4, 3)
    assert look_of(atlas) == "either"  # many labels, in regions
    assert look_of(rng.integers(0, 200, (1, 20, 10, 4))) == "image"
    assert look_of(rng.integers(0, 4, (1, 20, 10, 4)).astype(np.float32)) == "labels"
    assert look_of(rng.integers(0, 4, (1, 20, 10, 4)) / 2) == "either"


def test_progress_and_processes(tmp_path: Path) -> None:
    cohort = column(tmp_path, lambda k: (noise(k, 1000.0), np.eye(4)) if k == 4 else None)
    told: list[tuple[float, str, float]] = []
    one = check(cohort, voxels=True, advance=lambda done, text, whole: told.append((done, text, whole)))
    assert told == [(k + 1, f"{k}.nii", 12) for k in range(12)]
    assert check(cohort, voxels=True, n_jobs=2) == one


@pytest.mark.parametrize(
    ("count", "silent", "told"), [(2, 2, 1), (7, 7, 1), (7, 6, 6), (9, 9, 1), (9, 8, 1), (1, 1, 1)]
)
def test_what_many_headers_say_is_said_once(count: int, silent: int, told: int, tmp_path: Path) -> None:
    for k in range(count):
        nib.Nifti1Image(noise(k), None if k < silent else np.eye(4)).to_filename(tmp_path / f"{k}.nii")
    cohort = Cohort(Case(f"p{k}", {"t1": tmp_path / f"{k}.nii"}) for k in range(count))
    problems = check(cohort)
    assert [p.kind for p in problems if p.kind != "axes"] == ["orientation"] * told
    assert problems[0].message.startswith(f"{silent} files. ") == (told < silent)
