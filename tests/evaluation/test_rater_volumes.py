"""Volumes that a loss makes of raters' masks: closed forms on small masks, and what a cohort may lack."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.stats

from truevox import Cohort
from truevox.errors import CaseError, GeometryError, LabelError, SettingsError
from truevox.evaluation import RATER_VOLUME_COLUMNS, rater_volumes
from truevox.theory import rater_volumes as of_masks

AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])  # voxels of 0.01 ml


def mask_of(count: int, value: int = 1) -> np.ndarray:
    """The first voxels of 5 x 4 x 3."""
    mask = np.zeros(60, dtype=np.uint8)
    mask[:count] = value
    return mask.reshape(5, 4, 3)


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path.name


def table(folder: Path, counts: dict[str, tuple[int, ...]], header: str = "case,r1,r2,r3,r4,r5") -> Path:
    """A column per rater; counts of their voxels."""
    rows = [header]
    for case, sizes in counts.items():
        files = [write(folder / f"{case}_{r}.nii.gz", mask_of(n)) for r, n in enumerate(sizes)]
        rows.append(",".join([case, *files]))
    path = folder / "raters.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def cohort(folder: Path, counts: dict[str, tuple[int, ...]]) -> Cohort:
    return Cohort.open(table(folder, counts))


def by_rule(rows) -> dict[tuple[str, str], dict]:
    return {(row["loss"], row["law"] if row["search"] != "descent" else "descent"): row for row in rows}


def test_nested_raters_in_ml(tmp_path):
    """Core of 10 voxels, 20 more with p = 2/5: nested masks leave them out, independent voxels take them.

    Nested: E[D](10) = 0.6 + 0.4 * 20/40 = 0.8 > E[D](30) = 0.6 * 20/40 + 0.4. Independent: many parts, twice
    the core, flip at (sqrt(3) - 1) / 2 = 0.366.
    """
    found = rater_volumes(cohort(tmp_path, {"p1": (10, 10, 10, 30, 30)}))
    rules = by_rule(found.rows)
    assert all(tuple(row) == RATER_VOLUME_COLUMNS for row in found.rows)
    assert all(row["expected_volume_ml"] == pytest.approx(0.18) for row in found.rows)
    volumes = {rule: round(row["volume_ml"], 9) for rule, row in rules.items()}
    assert volumes == {
        ("cross_entropy", "raters"): 0.18,
        ("threshold", "raters"): 0.1,
        ("dice", "raters"): 0.1,
        ("dice", "descent"): 0.1,
        ("dice", "independent"): 0.3,
        ("dice", "nested"): 0.1,
        ("dice", "averaged"): 0.3,
    }
    assert rules["dice", "raters"]["expected_score"] == pytest.approx(0.8)
    assert rules["dice", "raters"]["relative_bias_percent"] == pytest.approx(-100 * 8 / 18)
    assert rules["dice", "averaged"]["expected_score"] == pytest.approx(2 * 18 / 48)
    assert found.failures == []


def test_the_cohort_by_patients(tmp_path):
    counts = {f"p{k}": (10, 10, 10, 30, 30) for k in range(3)} | {"p9": (20,) * 5, "q": (0,) * 5}
    found = rater_volumes(cohort(tmp_path, counts))
    [dice] = [s for s in found.summary if (s.loss, s.law, s.search) == ("dice", "raters", "global")]
    assert dice.cases == 4
    assert dice.bias_ml == pytest.approx(-0.06)
    assert dice.relative_bias_percent == pytest.approx(-100 * 24 / 74)
    # Three patients at -0.08 and one at 0: below Student's interval, above a longer one.
    reach = scipy.stats.t.ppf(0.975, 3) * 0.04 / 2
    assert dice.ci_low_ml == pytest.approx(-0.06 - reach)
    assert -0.06 + reach < dice.ci_high_ml <= -0.06 + 1.5 * reach + 1e-12
    empty = [row for row in found.rows if row["case"] == "q"]
    assert {row["status"] for row in empty} == {"undefined"}
    assert all(np.isnan(row["expected_score"]) and row["volume_ml"] == 0 for row in empty)


def test_a_row_per_rater(tmp_path):
    wide = rater_volumes(cohort(tmp_path, {"p1": (10, 10, 10, 30, 30)}))
    rows = ["case,record,mask"] + [f"p1,anna{r},p1_{r}.nii.gz" for r in range(5)]
    (tmp_path / "long.csv").write_text("\n".join(rows) + "\n")
    tall = rater_volumes(Cohort.open(tmp_path / "long.csv"))
    assert tall.rows == wide.rows


def test_a_patient_with_two_cases(tmp_path):
    path = table(tmp_path, {"a": (10, 10, 10, 30, 30), "b": (20,) * 5})
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0] + ",who", *(f"{row},w" for row in rows[1:])]) + "\n")
    found = rater_volumes(Cohort.open(path), patient="who")
    assert {row["patient"] for row in found.rows} == {"w"}
    assert np.isnan(found.summary[0].ci_low_ml)


def test_a_value_of_a_label_image(tmp_path):
    both = np.maximum(mask_of(30, 1), mask_of(10, 2))
    files = [write(tmp_path / f"{r}.nii.gz", both if r < 2 else mask_of(10, 2)) for r in range(5)]
    (tmp_path / "t.csv").write_text("case,a,b,c,d,e\np1," + ",".join(files) + "\n")
    cases = Cohort.open(tmp_path / "t.csv")
    with pytest.raises(LabelError, match="several values beside 0") as error:
        rater_volumes(cases)
    assert error.value.case == "p1"
    assert "--label" in str(error.value)
    found = rater_volumes(cases, label=2)
    assert found.rows[0]["expected_volume_ml"] == pytest.approx(0.1)
    with pytest.raises(CaseError, match="No rater of any case"):
        rater_volumes(cases, label=7)


def test_a_case_that_fails_is_listed(tmp_path):
    path = table(tmp_path, {"p1": (10, 10, 10, 30, 30), "p2": (20,) * 5, "p3": (20,) * 5})
    other = AFFINE.copy()
    other[0, 3] = 3.3
    write(tmp_path / "p2_3.nii.gz", mask_of(20), other)
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:3], "p3,p3_0.nii.gz,,,,"]) + "\n")
    found = rater_volumes(Cohort.open(path))
    assert {row["case"] for row in found.rows} == {"p1"}
    assert [f.case for f in found.failures] == ["p2", "p3"]
    assert "not on the same grid" in found.failures[0].message
    assert "one rater only" in found.failures[1].message
    with pytest.raises(GeometryError, match="'r4' and 'r1' of case p2"):
        rater_volumes(Cohort.open(path).select(["p2"]))


def test_what_a_cohort_may_lack(tmp_path):
    cases = cohort(tmp_path, {"p1": (10, 10, 10, 30, 30)})
    with pytest.raises(SettingsError, match="no column 'other'"):
        rater_volumes(cases, ["r1", "other"])
    with pytest.raises(CaseError, match="No case has masks of two raters"):
        rater_volumes(cases, ["r1"])
    with pytest.raises(SettingsError, match="One rater can't disagree"):
        of_masks([[1, 0]])
    (tmp_path / "words.csv").write_text("case,age\np1,61\n")
    with pytest.raises(CaseError, match="no column of mask files"):
        rater_volumes(Cohort.open(tmp_path / "words.csv"))
    soft = mask_of(10).astype(np.float32) / 2
    files = [write(tmp_path / f"s{r}.nii.gz", soft) for r in range(2)]
    (tmp_path / "soft.csv").write_text("case,a,b\np1," + ",".join(files) + "\n")
    with pytest.raises(LabelError, match="not integers"):
        rater_volumes(Cohort.open(tmp_path / "soft.csv"))


@pytest.mark.data
def test_lung_nodules_of_four_radiologists(data_dir):
    """Where radiologists miss nodules, soft Dice makes volumes too large, and a mask at 1/2 too small."""
    file = data_dir / "lidc_idri_4raters" / "lidc64_val.npz"
    if not file.exists():
        pytest.skip(f"{file} is missing")
    stored = np.load(file)
    masks = np.unpackbits(stored["mask"], axis=-1).astype(bool)
    names = stored["nodule"].astype(str)
    totals: dict[tuple[str, str], float] = {}
    for name in list(dict.fromkeys(names))[:40]:
        one = np.moveaxis(masks[names == name], 1, 0)
        for rule in of_masks(one):
            key = (rule.loss, rule.law if rule.search != "descent" else "descent")
            totals[key] = totals.get(key, 0) + rule.volume
        assert rule.expected_volume == pytest.approx(one.mean(0).sum())
    expected = totals["cross_entropy", "raters"]
    assert totals["threshold", "raters"] < 0.95 * expected
    assert totals["dice", "raters"] > 1.05 * expected
    assert totals["dice", "raters"] > totals["dice", "nested"]
