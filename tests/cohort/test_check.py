"""Check lists every offender of a cohort, and only them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from truevox.cohort import Case, Cohort, Problem, check
from truevox.cohort.check import PROBLEM_COLUMNS
from truevox.files import write_csv
from truevox.labels import Labels

SHAPE = (6, 5, 4)
RNG = np.random.default_rng(0)


def write(path: Path, array: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    """A file, of noise unless told."""
    data = RNG.normal(size=SHAPE).astype(np.float32) if array is None else array
    nib.Nifti1Image(data, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def mask(*values: int, size: int = 120) -> np.ndarray:
    """A mask whose first voxels have these values."""
    out = np.zeros(size, np.uint8)
    out[: len(values)] = values
    return out.reshape(SHAPE)


def kinds(problems: list[Problem]) -> list[tuple[str, str, str]]:
    """Where and what."""
    return [(p.case, p.column, p.kind) for p in problems]


def test_a_good_cohort_has_no_problems(tmp_path: Path) -> None:
    cases = [
        Case(
            f"p{k}",
            {"t1": write(tmp_path / f"{k}.nii.gz"), "m": write(tmp_path / f"{k}m.nii", mask(*[1] * (k + 1)))},
        )
        for k in range(3)
    ]
    assert check(Cohort(cases), labels={"m": Labels({"a": 1})}, voxels=True) == []


def test_grids_that_differ_are_told_with_both(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.nii"), write(tmp_path / "b.nii", np.zeros((6, 5, 3), np.uint8))
    moved = np.eye(4)
    moved[2, 3] = 1
    three = write(tmp_path / "c.nii", affine=moved)
    found = check(Cohort([Case("p07", {"flair": one, "tumour": two, "t1": three})]))
    assert kinds(found) == [("p07", "tumour", "grid"), ("p07", "t1", "grid")]
    assert found[0].message.splitlines() == [
        "'tumour' and 'flair' of case p07 are not on the same grid.",
        f"  flair   6x5x4  1.00x1.00x1.00 mm  RAS  {one}",
        f"  tumour  6x5x3  1.00x1.00x1.00 mm  RAS  {two}",
        "  largest corner displacement not defined: the shapes differ (tolerance 0.001 mm)",
    ]
    assert "largest corner displacement 1 mm (tolerance 0.001 mm)" in found[1].message
    assert "tv.Like(flair)(tumour)" in found[0].remedy
    assert kinds(check(Cohort([Case("p07", {"flair": one, "t1": three})]), tol_mm=1.5)) == []


def test_all_offenders_are_listed_from_headers(tmp_path: Path) -> None:
    singular = write(tmp_path / "singular.nii")
    raw = bytearray(singular.read_bytes())
    raw[280:296] = bytes(16)
    singular.write_bytes(raw)
    bare = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), None)
    bare.to_filename(tmp_path / "bare.nii")
    (tmp_path / "text.nii").write_text("no image")
    good = write(tmp_path / "good.nii")
    cases = [
        Case("p1", {"t1": tmp_path / "missing.nii"}),
        Case("p2", {"t1": tmp_path / "text.nii"}),
        Case("p3", {"t1": singular}),
        Case("p4", {"t1": tmp_path / "bare.nii"}),
        Case("p5", {"t1": write(tmp_path / "4d.nii", np.zeros((*SHAPE, 3), np.float32))}),
        Case("p6", {"t1": good, "age": 61.0}, split="train"),
        Case("p7", {"t1": good, "age": None}, split="test"),
    ]
    found = check(Cohort(cases))
    assert kinds(found) == [
        ("p1", "t1", "file"),
        ("p2", "t1", "file"),
        ("p3", "t1", "geometry"),
        ("p4", "t1", "orientation"),
        ("p5", "t1", "4D"),
        ("p6; p7", "t1", "leak"),
    ]
    assert "different splits" in found[-1].message
    assert all(p.message and p.remedy for p in found)
    write_csv(tmp_path / "problems.csv", [p.as_row() for p in found], PROBLEM_COLUMNS)


def test_records_of_a_case_may_share_a_scan(tmp_path: Path) -> None:
    scan = write(tmp_path / "a.nii")
    cases = [Case("p1", {"t1": scan, "m": write(tmp_path / f"{r}.nii", mask(1))}, r) for r in ("r1", "r2")]
    assert check(Cohort(cases), labels=["m"], voxels=True) == []


def test_what_only_voxels_tell(tmp_path: Path) -> None:
    bad = RNG.normal(size=SHAPE).astype(np.float32)
    bad[0, 0, :2] = np.nan
    truncated = write(tmp_path / "truncated.nii.gz")
    truncated.write_bytes(truncated.read_bytes()[:-40])
    soft = mask(1).astype(np.float32) * 0.5
    cases = [
        Case("empty", {"t1": write(tmp_path / "a.nii"), "m": write(tmp_path / "am.nii", mask())}),
        Case("full", {"t1": write(tmp_path / "b.nii"), "m": write(tmp_path / "bm.nii", mask(*[1] * 120))}),
        Case("undeclared", {"t1": write(tmp_path / "c.nii"), "m": write(tmp_path / "cm.nii", mask(1, 7))}),
        Case("soft", {"t1": write(tmp_path / "d.nii"), "m": write(tmp_path / "dm.nii", soft)}),
        Case("nan", {"t1": write(tmp_path / "e.nii", bad), "m": write(tmp_path / "em.nii", mask(1, 1))}),
        Case(
            "flat", {"t1": write(tmp_path / "f.nii", mask() + 4), "m": write(tmp_path / "fm.nii", mask(0, 1))}
        ),
        Case("cut", {"t1": truncated, "m": None}),
    ]
    cohort, table = Cohort(cases), {"m": Labels({"tumour": 1})}
    assert kinds(check(cohort, labels=table)) == [("cut", "m", "label")]
    expected = [
        ("empty", "m", "empty"),
        ("full", "m", "full"),
        ("undeclared", "m", "label"),
        ("soft", "m", "label"),
        ("nan", "t1", "voxels"),
        ("flat", "t1", "constant"),
        ("cut", "t1", "file"),
        ("cut", "m", "label"),
    ]
    found = check(cohort, labels=table, voxels=True)
    assert kinds(found) == expected
    assert "2 of 120 voxels" in found[4].message
    assert "[7]" in found[2].message
    assert kinds(check(cohort, labels=table, voxels=True, n_jobs=2)) == expected


def test_equal_voxels_in_train_and_test(tmp_path: Path) -> None:
    array = RNG.normal(size=SHAPE).astype(np.float32)
    cases = [
        Case(
            "p1",
            {"t1": write(tmp_path / "a.nii", array), "m": write(tmp_path / "am.nii", mask())},
            split="train",
        ),
        Case(
            "p2",
            {"t1": write(tmp_path / "b.nii.gz", array), "m": write(tmp_path / "bm.nii", mask())},
            split="test",
        ),
        Case("p3", {"t1": write(tmp_path / "c.nii"), "m": None}, split="test"),
    ]
    # Empty masks are equal too, and no sign of a patient in two cases.
    found = check(Cohort(cases), voxels=True, labels=None)
    assert [p for p in kinds(found) if p[2] in ("duplicate", "leak")] == [("p1; p2", "t1", "leak")]
    assert "p1 (train), p2 (test). They are in different splits." in found[-1].message
    assert check(Cohort(cases)) == []


def test_channels_that_a_whole_column_has_are_no_error(tmp_path: Path) -> None:
    def scan(name: str, channels: int) -> Path:
        return write(tmp_path / name, RNG.normal(size=(*SHAPE, channels)).astype(np.float32))

    cases = [Case(f"p{k}", {"t1": scan(f"{k}.nii", 3), "m": scan(f"{k}m.nii", 3)}) for k in range(3)]
    cases.append(Case("p3", {"t1": scan("3.nii", 2)}))
    found = check(Cohort(cases), labels=["m"])
    masks = [(f"p{k}", "m", "4D") for k in range(3)]
    assert kinds(found) == [("p3", "t1", "4D"), ("", "t1", "channels"), *masks]
    assert "has 2 channels (volumes, components or colours), where 3 are expected" in found[0].message
    assert found[1].severity == "warning"
    assert "3 of 4 files have 3 channels" in found[1].message
    declared = check(Cohort(cases), channels={"t1": 3, "m": 3})
    assert kinds(declared) == [("p3", "t1", "4D")]
    assert [p[0] for p in kinds(check(Cohort(cases[:2]), channels={"m": 3}))] == ["p0", "p1"]


@pytest.mark.parametrize("other", [None, "train"])
def test_a_case_without_a_split_may_train_unless_others_do(other: str | None, tmp_path: Path) -> None:
    scan = write(tmp_path / "a.nii")
    cases = [
        Case("p1", {"t1": scan}),
        Case("p2", {"t1": scan}, split="test"),
        Case("p3", {"t1": write(tmp_path / "b.nii")}, split=other),
    ]
    kind = "leak" if other is None else "duplicate"
    assert kinds(check(Cohort(cases))) == [("p1; p2", "t1", kind)]


@pytest.mark.parametrize("column", ["mask", "m"])
def test_label_columns_must_exist(column: str, tmp_path: Path) -> None:
    cohort = Cohort([Case("p1", {"m": write(tmp_path / "a.nii", mask(1))})])
    found = check(cohort, labels=[column], voxels=True)
    assert kinds(found) == ([("", "mask", "label")] if column == "mask" else [])


def test_a_test_split_may_have_no_labels_at_all(tmp_path: Path) -> None:
    def case(k: int, split: str, labelled: bool) -> Case:
        label = write(tmp_path / f"{k}m.nii", mask(*[1] * (k + 1))) if labelled else None
        return Case(f"p{k}", {"t1": write(tmp_path / f"{k}.nii"), "m": label}, split=split)

    train = [case(0, "train", True), case(1, "train", False)]
    test = [case(2, "test", False), case(3, "test", False)]
    assert kinds(check(Cohort(train + test), labels=["m"])) == [("p1", "m", "label")]
    half = [test[0], case(4, "test", True)]
    assert kinds(check(Cohort(train + half), labels=["m"])) == [("p1", "m", "label"), ("p2", "m", "label")]
