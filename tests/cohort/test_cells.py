"""Cells of tables: numbers in whatever way they are written, and what is no number."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truevox.cohort import Cohort, check
from truevox.cohort.cells import typed
from truevox.errors import CaseError, FileError, SettingsError


@pytest.mark.parametrize(
    "word", ["NA", "N/A", "n/a", "NaN", "nan", "null", "None", "-", ".", "#N/A", "<NA>", ""]
)
def test_a_word_for_nothing_leaves_a_column_of_numbers_numbers(word: str) -> None:
    found = typed(["1.5", word, "-2e3", ".5", "7."])
    assert (found.kind, found.values) == ("numbers", [1.5, None, -2000.0, 0.5, 7.0])
    assert bool(found.note) == (word not in ("", "nan", "NaN"))


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.sampled_from([repr, str, "{:.17g}".format]))
def test_numbers_of_programs_are_read_as_they_are(values: list[float], written: object) -> None:
    cells = [written(v) for v in values]  # type: ignore[operator]
    if not any(len(cell.lstrip("-").split(".")[0].split("e")[0]) > 15 for cell in cells):
        assert typed(cells).values == values


@pytest.mark.parametrize(
    ("cells", "semicolons", "values"),
    [
        (["1,5", "20", "0,25"], True, [1.5, 20, 0.25]),
        (["1,5", "20", "0,25"], False, [1.5, 20, 0.25]),
        (["1,234"], True, [1.234]),
        (["1.234,5", "2,75"], True, [1234.5, 2.75]),
        (["1.234.567", "12,5"], True, [1234567, 12.5]),
        (["1,234.5", "12"], False, [1234.5, 12]),
        (["1,234,567", "1,5".replace(",", ".")], False, [1234567, 1.5]),
        (["1\u202f234,5", "2"], False, [1234.5, 2]),
        (["1'234.5", "2"], False, [1234.5, 2]),
        (["45%", "7.5 %"], False, [45, 7.5]),
        (["1e3", "1E-2", "+4"], False, [1000, 0.01, 4]),
    ],
)
def test_commas_groups_and_percents(cells: list[str], semicolons: bool, values: list[float]) -> None:
    found = typed([*cells, "NA"], semicolons=semicolons)
    assert found.values == pytest.approx([*values, None]) or found.values == [*values, None]
    assert found.note


@pytest.mark.parametrize("cells", [["1,234", "5"], ["12,345", "1,200"]])
def test_commas_that_may_be_either_are_refused(cells: list[str]) -> None:
    with pytest.raises(CaseError, match="two ways") as caught:
        typed(cells)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "cells",
    [
        ["007", "12"],
        ["0123"],
        ["12345678901234567", "1"],  # two ids that one float would stand for
        ["1_000", "2"],  # Python's own way of writing 1000
        ["2024-01-05", "2024-02-01"],
        ["12:30"],
        ["1.234", "12,5"],  # 1234 or 1.234: nobody knows
        ["A", "B"],
        ["True", "False"],
        ["3+", "1"],
        ["1,2,3"],
    ],
)
def test_what_is_no_number_stays_as_it_is(cells: list[str]) -> None:
    found = typed([*cells, ""], semicolons=True)
    assert (found.kind, found.values) == ("words", [*cells, None])


def test_na_may_be_the_name_of_a_site() -> None:
    assert typed(["EU", "NA", ""]).values == ["EU", "NA", None]


def test_a_word_among_numbers_is_told_and_not_balanced_by(tmp_path: Path) -> None:
    rows = [f"p{k:02d},{'12 ml' if k == 7 else k / 4}" for k in range(40)]
    (tmp_path / "t.csv").write_text("case,ml\n" + "\n".join(rows) + "\n")
    cohort = Cohort.from_csv(tmp_path / "t.csv")
    assert "39 cells are numbers and 1 are not ('12 ml')" in cohort.notes["ml"]
    found = [(p.kind, p.column, p.severity) for p in check(cohort)]
    assert found == [("table", "ml", "warning")]
    with pytest.raises(SettingsError, match="words among them") as caught:
        cohort.with_folds(5, by=["ml"])
    assert "'12 ml'" in str(caught.value.got)
    # Few numbers and words are names of classes, such as grades.
    (tmp_path / "g.csv").write_text(
        "case,grade\n" + "".join(f"p{k},{['1', '2', '3', '3+'][k % 4]}\n" for k in range(20))
    )
    graded = Cohort.from_csv(tmp_path / "g.csv").with_folds(5, by=["grade"])
    assert {sum(c.values["fold"] == f and c.values["grade"] == "3+" for c in graded) for f in range(5)} == {1}


@pytest.mark.parametrize("word", ["", "NA", "n/a", "."])
def test_one_empty_cell_does_not_unbalance_folds(word: str, tmp_path: Path) -> None:
    """The smallest quarter of 60 values is 15: 3 for each of five folds, give or take the lost one."""
    rows = [f"p{k:02d},{word if k == 30 else 1.5 * k}" for k in range(60)]
    (tmp_path / "t.csv").write_text("case,ml\n" + "\n".join(rows) + "\n")
    dealt = Cohort.from_csv(tmp_path / "t.csv").with_folds(5, by=["ml"])
    small = [
        sum(c.values["fold"] == f and (c.values["ml"] or 99) < 1.5 * 15 for c in dealt) for f in range(5)
    ]
    assert max(small) - min(small) <= 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("said", [False, True])
def test_tables_of_spreadsheets_in_any_coding(encoding: str, mark: str, said: bool, tmp_path: Path) -> None:
    text = "\r\n".join([*([f"sep={mark}"] if said else []), f"case{mark}ort", f"p~1{mark}K\u00f6ln", ""])
    start = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "t.csv").write_bytes((start + text).encode(encoding))
    cohort = Cohort.from_csv(tmp_path / "t.csv")
    assert [(c.id, c.values["ort"]) for c in cohort] == [("p~1", "K\u00f6ln")]


def test_paths_of_windows(tmp_path: Path) -> None:
    text = "case,scan,mask\np1,scans\\p1.nii.gz,NA\np2,D:\\data\\p2.nii.gz,m\\p2.nii\n"
    (tmp_path / "t.csv").write_text(text)
    cohort = Cohort.from_csv(tmp_path / "t.csv")
    assert cohort["p1"].path("scan") == tmp_path / "scans" / "p1.nii.gz"
    assert (cohort["p1"].has("mask"), cohort["p2"].path("mask")) == (False, tmp_path / "m" / "p2.nii")
    assert "1 of 2 cells are taken for empty" in cohort.notes["mask"]
    with pytest.raises(FileError, match="does not exist") as caught:
        cohort["p2"].header("scan")
    assert "path of Windows" in str(caught.value.remedy)


def test_numbers_of_a_table_are_written_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,patient,code,ml\np1,1001,007,1.5\np2,1002,012,NA\n")
    Cohort.from_csv(tmp_path / "t.csv").to_csv(tmp_path / "u.csv")
    assert (tmp_path / "u.csv").read_text().splitlines() == [
        "case,patient,code,ml",
        "p1,1001,007,1.5",
        "p2,1002,012,",
    ]
