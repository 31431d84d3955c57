"""Cohorts from tables and patterns: what they hold, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from truevox import io
from truevox.cohort import Case, Cohort
from truevox.errors import CaseError, FileError, GeometryError
from truevox.image import Image
from truevox.labels import Labels
from truevox.space import Grid


def table(folder: Path, text: str) -> Path:
    """A table in a file."""
    (folder / "cohort.csv").write_text(text, encoding="utf-8")
    return folder / "cohort.csv"


def test_columns_have_types_and_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    text = "\ufeffcase,split,flair,age,site,mask\np7,train,scans/p7.nii.gz,61,A,\n\n"
    text += "p8, test ,/abs/p8.nii,,7b,m/p8.NII\n"
    cohort = Cohort.from_csv(table(tmp_path, text))
    one, two = cohort
    assert one.values == {"flair": tmp_path / "scans/p7.nii.gz", "age": 61.0, "site": "A", "mask": None}
    assert two.values == {
        "flair": Path("/abs/p8.nii"),
        "age": None,
        "site": "7b",
        "mask": tmp_path / "m/p8.NII",
    }
    assert (cohort.splits, cohort.columns) == (("train", "test"), ("flair", "age", "site", "mask"))
    assert two.files == {"flair": Path("/abs/p8.nii"), "mask": tmp_path / "m/p8.NII"}
    assert repr(cohort) == "Cohort(2 cases (train: 1, test: 1); flair, age, site, mask)"


@pytest.mark.parametrize(
    ("mark", "name", "encoding"),
    [
        (";", "a.csv", "utf-8-sig"),
        ("\t", "a.csv", "utf-8"),
        ("\t", "a.tsv", "utf-8-sig"),
        (",", "a.csv", "utf-8"),
    ],
)
def test_tables_of_spreadsheets(mark: str, name: str, encoding: str, tmp_path: Path) -> None:
    lines = [("case", "scan", "age"), ("p1", "a,b.nii", "61"), ('"p;2"', "c.nii", "7")]
    lines = [
        tuple(f'"{cell}"' if mark in cell and cell[0] != '"' else cell for cell in line) for line in lines
    ]
    text = "\r\n".join(mark.join(line) for line in lines) + "\r\n"
    (tmp_path / name).write_bytes(text.encode(encoding))
    one, two = Cohort.open(tmp_path / name)
    assert (one.id, one.path("scan").name, one.value("age")) == ("p1", "a,b.nii", 61.0)
    assert two.id == "p;2"


def test_records_and_selection(tmp_path: Path) -> None:
    text = "case,record,split,mask\np1,r1,a,1.nii\np1,r2,a,2.nii\np2,r1,b,3.nii\n"
    cohort = Cohort.from_csv(table(tmp_path, text))
    assert [case.key for case in cohort] == ["p1/r1", "p1/r2", "p2/r1"]
    assert cohort.ids == ("p1", "p2")
    assert cohort["p1/r2"].path("mask").name == "2.nii"
    assert cohort["p2"].record == "r1"
    assert [case.key for case in cohort.select(["p2/r1", "p1"])] == ["p1/r1", "p1/r2", "p2/r1"]
    assert [case.key for case in cohort.split("a")] == ["p1/r1", "p1/r2"]
    with pytest.raises(CaseError, match="several records"):
        cohort["p1"]
    with pytest.raises(CaseError, match="no such case") as caught:
        cohort["p9"]
    assert caught.value.expected == "p1/r1, p1/r2, p2/r1"
    with pytest.raises(CaseError, match="no such cases"):
        cohort.select(["p1", "p9"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'case'"),
        ("id,flair\np1,a.nii\n", "no column 'case'"),
        ("case|flair\np1|a.nii\n", "no column 'case'"),
        ("case,flair\n", "no rows"),
        ("case,flair\np1,a.nii,b\n", "Line 2"),
        ("case,a,a\np1,x,y\n", "names of their own"),
        ("case,flair\np1,a.nii\np1,b.nii\n", "appears twice"),
        ("case,split,flair\np1,train,a.nii\np1,test,b.nii\n", "appears twice"),
        ("case,record,split,flair\np1,a,train,a.nii\np1,b,test,b.nii\n", "in two splits: 'train' and 'test'"),
        ("case,record,split,flair\np1,a,train,a.nii\np1,b,,b.nii\n", "in two splits"),
        ("case,flair\n../p1,a.nii\n", "can't be the name of a case"),
        ("case,flair\n,a.nii\n", "can't be the name of a case"),
    ],
)
def test_tables_that_are_refused_name_the_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=message) as caught:
        Cohort.from_csv(table(tmp_path, text))
    assert caught.value.file == str(tmp_path / "cohort.csv")


def test_tables_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="can't be read"):
        Cohort.from_csv(tmp_path / "no.csv")
    (tmp_path / "a.csv").write_bytes(b"case,flair\np\xff1,a.nii\n")
    with pytest.raises(FileError, match="UTF-8"):
        Cohort.from_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"case,flair\np1,a\0.nii\n")
    with pytest.raises(FileError, match="zero byte in line 2"):
        Cohort.from_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text('case,flair\np1,"a.nii\np2,b.nii\n')
    with pytest.raises(FileError, match="quote is not closed"):  # p2 would be lost
        Cohort.from_csv(tmp_path / "a.csv")
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(FileError, match="Spreadsheets are not read"):
        Cohort.open(tmp_path / "a.xlsx")


def test_empty_splits_name_those_that_exist() -> None:
    cohort = Cohort([Case("p1", {}, split="train"), Case("p2", {}, split="test")])
    with pytest.raises(CaseError, match="No case is in split 'val'") as caught:
        cohort.split("val")
    assert caught.value.expected == "train, test"
    with pytest.raises(CaseError, match="no cases"):
        Cohort([])


def test_a_case_reads_its_images_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    io.save(Image(torch.zeros(1, 3, 3, 3), Grid((3, 3, 3))), path)
    case = Case("p7", {"flair": path, "age": 61.0, "mask": None, "site": "A"})
    assert case["flair"].data.sum() == 0
    io.save(Image(torch.ones(1, 3, 3, 3), Grid((3, 3, 3))), path)
    assert case["flair"].data.sum() == 27
    assert case.load("flair", "label").kind == "label"
    assert case.header("flair").grid.shape == (3, 3, 3)
    assert (case.value("age"), case.has("mask"), case.has("nothing")) == (61.0, False, False)
    for column, message in (("mask", "is empty"), ("t1", "no column 't1'"), ("age", "no image file")):
        with pytest.raises(CaseError, match=message) as caught:
            case[column]
        assert caught.value.case == "p7"


def test_errors_of_files_name_the_case(tmp_path: Path) -> None:
    case = Case("p7", {"flair": tmp_path / "no.nii"}, record="r1")
    for read in (case.header, case.load):
        with pytest.raises(FileError) as caught:
            read("flair")
        assert (caught.value.case, caught.value.file) == ("p7/r1", str(tmp_path / "no.nii"))


# ---- patterns ----------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_patterns(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "p1/p1_flair.nii.gz",
        "p2/p2_flair.nii.gz",
        "p2/p3_flair.nii.gz",
        "m/p1.nii.gz",
        "m/p9.nii.gz",
    )
    images = {"flair": tmp_path / "{case}" / "{case}_flair.nii.gz", "mask": tmp_path / "m" / "{case}.nii.gz"}
    cohort = Cohort.from_glob(images, split={"p1": "train", "p9": "test"})
    assert [(c.id, c.split, sorted(c.files)) for c in cohort] == [
        ("p1", "train", ["flair", "mask"]),
        ("p2", None, ["flair"]),
        ("p9", "test", ["mask"]),
    ]


def test_patterns_with_records_and_wildcards(tmp_path: Path) -> None:
    touch(tmp_path, "a/x/p1_r1.nii", "a/p1_r2.nii", "b/y/p2_r1.nii")
    cohort = Cohort.from_glob({"mask": f"{tmp_path}/?/**/{{case}}_{{record}}.nii"}, split="train")
    assert [case.key for case in cohort] == ["p1/r1", "p1/r2", "p2/r1"]
    assert cohort.splits == ("train",)


def test_patterns_that_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "p1_a.nii", "p1_b.nii")
    with pytest.raises(CaseError, match="Two files match"):
        Cohort.from_glob({"flair": tmp_path / "{case}_*.nii"})
    with pytest.raises(CaseError, match="No file matches"):
        Cohort.from_glob({"flair": tmp_path / "{case}.mha"})
    with pytest.raises(CaseError, match="where the case's name is"):
        Cohort.from_glob({"flair": tmp_path / "*.nii"})


@given(names=st.lists(st.text("ab[]{}!^.-", min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
def test_names_with_special_characters(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    # A name that starts with a dot is hidden from patterns, as in the shell.
    names = [name for name in names if not name.startswith(".")]
    folder = tmp_path_factory.mktemp("[odd] {x}")
    touch(folder, *[f"{name}_t1.nii" for name in names])
    if names:
        cohort = Cohort.from_glob({"t1": folder / "{case}_t1.nii"})
        assert sorted(case.id for case in cohort) == sorted(names)


def test_geometry_errors_keep_their_case(tmp_path: Path) -> None:
    io.save(Image(torch.zeros(1, 3, 3, 3), Grid((3, 3, 3))), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[280:296] = bytes(16)
    raw[252:254] = bytes(2)
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(GeometryError, match="singular") as caught:
        Case("p7", {"flair": tmp_path / "a.nii"})["flair"]
    assert caught.value.case == "p7"


def test_what_labels_mean_survives_a_table(tmp_path: Path) -> None:
    labels = {"mask": Labels({"whole": [1, 2], "core": 2}, ignore=3), "other": Labels({"x": 1})}
    files = {"scan": tmp_path / "a.nii", "mask": tmp_path / "m.nii"}
    cohort = Cohort([Case("p1", files)], labels, {"scan": "CT"})
    cohort.to_csv(tmp_path / "folds.csv")
    back = Cohort.open(tmp_path / "folds.csv")
    assert (dict(back.labels), dict(back.modalities)) == ({"mask": labels["mask"]}, {"scan": "CT"})
    Cohort([Case("p1", files)]).to_csv(tmp_path / "folds.csv")
    assert Cohort.open(tmp_path / "folds.csv").labels == {}
    for text in ("[]", '{"labels": {"mask": {"names": {"a": "b"}}}, "modalities": {}}'):
        (tmp_path / "folds.columns.json").write_text(text)
        with pytest.raises(FileError, match="can't be used") as caught:
            Cohort.open(tmp_path / "folds.csv")
        assert caught.value.file == str(tmp_path / "folds.columns.json")
