"""Splits and folds: patients stay together, strata are spread evenly; raters as records; tables written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.cohort import Case, Cohort
from truevox.errors import CaseError, SettingsError
from truevox.labels import Labels


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    """Patients of a few sites and ages, some with several records, some without a site."""
    count = draw(st.integers(8, 60))
    sites = draw(st.lists(st.sampled_from(["A", "B", "C", None]), min_size=count, max_size=count))
    ages = draw(st.lists(st.floats(0, 99), min_size=count, max_size=count))
    records = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    if all(site is None for site in sites):
        sites[0] = "A"
    return Cohort(
        Case(f"p{k}", {"site": sites[k], "age": ages[k]}, f"r{r}" if records[k] > 1 else None)
        for k in range(count)
        for r in range(records[k])
    )


def patients(cohort: Cohort, column: str) -> dict[str, Any]:
    return {case.id: case.values[column] for case in cohort}


@settings(max_examples=60)
@given(cohort=cohorts(), folds=st.integers(2, 6), seed=st.integers(0, 9))
def test_folds_are_even_in_size_and_in_strata(cohort: Cohort, folds: int, seed: int) -> None:
    dealt = cohort.with_folds(folds, by=["site"], seed=seed)
    assert [case.key for case in dealt] == [case.key for case in cohort]
    fold = patients(dealt, "fold")
    # Each record of a patient is in the patient's fold.
    assert all(case.values["fold"] == fold[case.id] for case in dealt)
    sizes = Counter(fold.values())
    assert set(sizes) == set(map(float, range(folds)))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    for site in set(patients(cohort, "site").values()):
        counts = [
            sum(fold[p] == f and s == site for p, s in patients(cohort, "site").items()) for f in range(folds)
        ]
        assert max(counts) - min(counts) <= 1


@settings(max_examples=60)
@given(cohort=cohorts(), seed=st.integers(0, 9))
def test_shares_are_kept_overall_and_in_every_stratum(cohort: Cohort, seed: int) -> None:
    shares = {"train": 0.6, "val": 0.15, "test": 0.25}
    dealt = cohort.with_splits(shares, by=["site"], seed=seed)
    split = {case.id: case.split for case in dealt}
    assert all(case.split == split[case.id] for case in dealt)
    site = patients(cohort, "site")
    for name, share in shares.items():
        assert abs(sum(s == name for s in split.values()) - share * len(split)) <= 1
        for place in set(site.values()):
            members = [p for p, s in site.items() if s == place]
            assert abs(sum(split[p] == name for p in members) - share * len(members)) <= 2


def test_numbers_are_balanced_in_quantiles() -> None:
    cohort = Cohort(Case(f"p{k}", {"age": float(k)}) for k in range(40))
    for seed in range(5):
        dealt = cohort.with_folds(5, by=["age"], seed=seed)
        for f in range(5):
            ages = [c.value("age") for c in dealt if c.value("fold") == f]
            quarters = Counter(int(a) // 10 for a in ages if isinstance(a, float))
            assert quarters == {0: 2, 1: 2, 2: 2, 3: 2}


def test_two_columns_are_balanced_together() -> None:
    cohort = Cohort(Case(f"p{k}", {"site": "AB"[k % 2], "sex": "mf"[k // 2 % 2]}) for k in range(80))
    dealt = cohort.with_splits({"train": 3, "val": 1}, by=["site", "sex"])
    counts = Counter((c.value("site"), c.value("sex")) for c in dealt.split("val"))
    assert set(counts.values()) == {5}


def test_the_seed_decides_and_the_order_of_the_table_does_not() -> None:
    cases = [Case(f"p{k}", {"site": "AB"[k % 2]}) for k in range(30)]
    one = patients(Cohort(cases).with_folds(3, by=["site"]), "fold")
    assert one == patients(Cohort(reversed(cases)).with_folds(3, by=["site"]), "fold")
    assert one != patients(Cohort(cases).with_folds(3, by=["site"], seed=1), "fold")


def test_patients_of_a_column_stay_together() -> None:
    cohort = Cohort(Case(f"scan{k}", {"who": f"p{k // 3}"}) for k in range(30))
    dealt = cohort.with_folds(5, patient="who")
    assert all(len({c.value("fold") for c in dealt if c.value("who") == f"p{p}"}) == 1 for p in range(10))
    assert Counter(c.value("fold") for c in dealt) == dict.fromkeys(map(float, range(5)), 6)


def test_scans_of_nobody_knows_whom_are_not_dealt_out() -> None:
    cohort = Cohort(Case(f"scan{k}", {"who": "NA" if k == 3 else f"p{k}"}) for k in range(9))
    with pytest.raises(CaseError, match="names no patient") as error:
        cohort.with_folds(2, patient="who")
    assert (error.value.case, error.value.got) == ("scan3", "NA")


def test_foreground_is_balanced_by_volume(tmp_path: Path) -> None:
    sizes = {}
    for k in range(12):
        mask = np.zeros((4, 5, 6), np.uint8)
        mask.reshape(-1)[: 10 * k] = 1 + k % 2
        mask[3, 4, 5] = 9
        nibabel.save(nibabel.Nifti1Image(mask, np.diag([2.0, 1, 1, 1])), tmp_path / f"{k}.nii.gz")
        sizes[f"p{k}"] = 10 * k
    cases = [Case(f"p{k}", {"mask": tmp_path / f"{k}.nii.gz"}) for k in range(12)]
    cohort = Cohort(cases, {"mask": Labels({"a": 1, "b": 2}, ignore=9)})
    for seed in range(4):
        dealt = cohort.with_folds(3, foreground="mask", seed=seed)
        for f in range(3):
            # One patient of every quarter.
            quarters = sorted(sizes[c.id] // 30 for c in dealt if c.value("fold") == f)
            assert quarters == [0, 1, 2, 3]


def test_splits_of_another_name_stay() -> None:
    cases = [Case(f"p{k}", {}, split="test" if k < 4 else None) for k in range(14)]
    dealt = Cohort(cases).with_splits({"train": 0.8, "val": 0.2})
    assert dealt.split("test").ids == ("p0", "p1", "p2", "p3")
    assert (len(dealt.split("train")), len(dealt.split("val"))) == (8, 2)
    folds = Cohort(cases).with_folds(5)
    assert [c.split for c in folds.fold(2)][:4] == ["test"] * 4
    assert len(folds.fold(2).split("val")) == 2
    again = dealt.with_splits({"train": 1, "test": 1})
    assert len(again.split("val")) == 2
    assert len(again.split("test")) == 6


def test_no_split_is_empty_while_there_are_patients() -> None:
    few = Cohort(Case(f"p{k}", {}) for k in range(3))
    assert len(few.with_splits({"train": 0.98, "val": 0.01, "test": 0.01}).splits) == 3


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [
        (lambda c: c.with_splits({}), SettingsError, "positive"),
        (lambda c: c.with_splits({"train": 1, "val": 0}), SettingsError, "positive"),
        (lambda c: c.with_folds(1), SettingsError, "at least two"),
        (lambda c: c.with_folds(9), CaseError, "fewer patients"),
        (lambda c: c.with_folds(2, by=["site"]), SettingsError, "no case has a value"),
        (lambda c: c.with_folds(2, by=["mask"]), SettingsError, "holds files"),
        (lambda c: c.fold(0), CaseError, "No case is in fold 0"),
        (lambda c: c.by_rater("m", {"r": "none"}), CaseError, "no column 'none'"),
    ],
)
def test_what_cannot_be_dealt(action: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        action(Cohort(Case(f"p{k}", {"mask": Path("m.nii")}) for k in range(3)))


# ---- raters -----------------------------------------------------------------------------------


def test_raters_in_columns_become_records(tmp_path: Path) -> None:
    text = "case,split,t1,mask_r1,mask_r2\np1,train,1.nii,1a.nii,1b.nii\np2,test,2.nii,2a.nii,\n"
    (tmp_path / "t.csv").write_text(text)
    cohort = Cohort.from_csv(tmp_path / "t.csv").by_rater("mask", {"r1": "mask_r1", "r2": "mask_r2"})
    seen = [(c.key, c.split, {n: p.name for n, p in c.files.items()}) for c in cohort]
    assert seen == [
        ("p1/r1", "train", {"t1": "1.nii", "mask": "1a.nii"}),
        ("p1/r2", "train", {"t1": "1.nii", "mask": "1b.nii"}),
        ("p2/r1", "test", {"t1": "2.nii", "mask": "2a.nii"}),
    ]
    with pytest.raises(CaseError, match="record already"):
        cohort.by_rater("x", {"a": "mask"})


def test_raters_in_names_of_files_share_the_scan(tmp_path: Path) -> None:
    for name in ("p1_t1.nii", "p2_t1.nii", "p1_mask_a.nii", "p1_mask_b.nii"):
        (tmp_path / name).touch()
    cohort = Cohort.from_glob(
        {"t1": tmp_path / "{case}_t1.nii", "mask": tmp_path / "{case}_mask_{record}.nii"}
    )
    seen = [(c.key, {n: p.name for n, p in c.files.items()}) for c in cohort]
    assert seen == [
        ("p1/a", {"t1": "p1_t1.nii", "mask": "p1_mask_a.nii"}),
        ("p1/b", {"t1": "p1_t1.nii", "mask": "p1_mask_b.nii"}),
        ("p2", {"t1": "p2_t1.nii"}),
    ]


# ---- tables -----------------------------------------------------------------------------------


def test_a_table_written_elsewhere_means_the_same(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    text = 'case,record,split,t1,site,age\np1,a,train,s/1.nii,"A, B",61\np1,b,train,s/2.nii,,\n'
    text += "p2,,test,,C,0.1\np3,,train,,C,2\n"
    (tmp_path / "data" / "t.csv").write_text(text)
    cohort = Cohort.from_csv(tmp_path / "data" / "t.csv").with_folds(2)
    cohort.to_csv(tmp_path / "run" / "out.csv")
    again = Cohort.from_csv(tmp_path / "run" / "out.csv")
    assert [(c.key, c.split) for c in again] == [(c.key, c.split) for c in cohort]
    for one, two in zip(again, cohort, strict=True):
        for name, value in two.values.items():
            found = one.values[name]
            assert (found.resolve() if isinstance(found, Path) else found) == (
                value.resolve() if isinstance(value, Path) else value
            )
    assert "../data/s/1.nii" in (tmp_path / "run" / "out.csv").read_text()


def test_a_large_table_opens_without_looking_at_files_or_making_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    count = 20_000
    names = ("flair", "t1", "t2", "mask")
    with (tmp_path / "t.csv").open("w") as stream:
        stream.write(f"case,split,site,age,{','.join(names)}\n")
        for k in range(count):
            files = ",".join(f"data/sub-{k:06d}/anat/{name}.nii.gz" for name in names)
            stream.write(f"sub-{k:06d},{'train' if k % 5 else 'val'},S{k % 7},{k % 60},{files}\n")
    looked: list[str] = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **o: looked.append(str(self)) or stat(self, **o))
    tracemalloc.start()
    cohort = Cohort.from_csv(tmp_path / "t.csv")
    val = cohort.split("val")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(cohort), len(val)) == (count, count // 5)
    assert cohort["sub-000007"].path("t2") == tmp_path / "data/sub-000007/anat/t2.nii.gz"
    # 100,000 such rows: 71 MB kept, 88 MB while they are read.
    assert kept < count * 1000
    assert peak < count * 1500
    # One look at the column of words, whether they name folders, and one for what labels mean.
    assert sorted(looked) == [str(tmp_path / "S0"), str(tmp_path / "t.columns.json")]
