"""Folders of nnU-Net and of the Decathlon as they are, and what a path is taken for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from truevox.cohort import Cohort, check
from truevox.errors import CaseError, FileError, LabelError, TrueVoxError
from truevox.labels import Labels

V2 = {
    "channel_names": {"0": "FLAIR", "1": "T1"},
    "labels": {"background": 0, "edema": 1, "core": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
FILES = (
    "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz",
    "imagesTr/b_1_0000.nii.gz", "imagesTr/b_1_0001.nii.gz", "labelsTr/b_1.nii.gz",
    "imagesTs/c_0000.nii.gz", "imagesTs/c_0001.nii.gz",
)  # fmt: skip


def folder(place: Path, data: Any = V2, files: Sequence[str] = FILES) -> Path:
    """A data set of empty files: importers open none."""
    place.mkdir(parents=True, exist_ok=True)
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    if data is not None:
        (place / "dataset.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return place


def seen(cohort: Cohort, place: Path) -> dict[str, tuple[str | None, dict[str, Any]]]:
    """Split and values by case, with paths from the folder."""
    return {
        case.key: (
            case.split,
            {
                n: v.relative_to(place).as_posix() if isinstance(v, Path) else v
                for n, v in case.values.items()
            },
        )
        for case in cohort
    }


# ---- nnU-Net ----------------------------------------------------------------------------------


def test_a_raw_folder_of_nnunet(tmp_path: Path) -> None:
    place = folder(
        tmp_path / "Dataset001_Tumour", files=[*FILES, "imagesTr/._a_0000.nii.gz", "imagesTr/notes.txt"]
    )
    cohort = Cohort.open(place)
    assert seen(cohort, place) == {
        "a": (None, {"FLAIR": FILES[0], "T1": FILES[1], "label": FILES[2]}),
        "b_1": (None, {"FLAIR": FILES[3], "T1": FILES[4], "label": FILES[5]}),
        "c": ("test", {"FLAIR": FILES[6], "T1": FILES[7], "label": None}),
    }
    assert cohort.labels == {"label": Labels({"edema": 1, "core": 2})}
    assert cohort.modalities == {"FLAIR": "FLAIR", "T1": "T1"}


def test_opening_looks_at_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path, files=[f"imagesTr/p{k}_000{c}.nii.gz" for k in range(50) for c in (0, 1)])
    looked: list[str] = []
    stat = Path.stat

    def counted(self: Path, **options: Any) -> Any:
        looked.append(self.name)
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", counted)
    assert len(Cohort.from_nnunet(place)) == 50
    assert not [name for name in looked if name.endswith(".nii.gz")]


def test_regions_and_what_was_not_annotated(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    place = folder(tmp_path, V2 | {"labels": labels, "regions_class_order": [1, 2, 3]})
    table = Cohort.from_nnunet(place).labels["label"]
    assert table == Labels({"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, ignore=4)
    assert (table.channels, table.activation) == (3, "sigmoid")


def test_version_1(tmp_path: Path) -> None:
    training = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in ("a", "b_1")]
    data = {
        "modality": {"0": "FLAIR", "1": "T1"},
        "labels": {"0": "background", "1": "edema", "2": "core"},
        "numTraining": 2,
        "training": training,
        "test": ["./imagesTs/c.nii.gz"],
    }
    old, new = folder(tmp_path / "Task001", data), folder(tmp_path / "Dataset001")
    assert seen(Cohort.open(old), old) == seen(Cohort.open(new), new)
    assert Cohort.open(old).labels == Cohort.open(new).labels


def test_files_that_dataset_json_lists(tmp_path: Path) -> None:
    files = ["../scans/x.nii.gz", "../scans/y.nii.gz", "../masks/x.nii.gz"]
    listed = {"x": {"images": files[:2], "label": files[2]}}
    place = folder(tmp_path / "Dataset002", V2 | {"dataset": listed})
    cohort = Cohort.open(place)
    assert cohort["x"].values == {
        "FLAIR": place / files[0],
        "T1": place / files[1],
        "label": place / files[2],
    }
    assert cohort.ids == ("x", "c")


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".png"])
def test_other_file_endings(tmp_path: Path, ending: str) -> None:
    files = [name.replace(".nii.gz", ending) for name in FILES]
    place = folder(tmp_path, V2 | {"file_ending": ending}, [*files, "imagesTr/a_0000.json"])
    assert Cohort.from_nnunet(place)["a"].path("T1") == place / files[1]


def test_colours_of_one_picture_are_channels_of_one_file(tmp_path: Path) -> None:
    data = V2 | {"channel_names": {"0": "R", "1": "G", "2": "B"}, "file_ending": ".png"}
    place = folder(tmp_path, data, ["imagesTr/a_0000.png", "labelsTr/a.png"])
    assert seen(Cohort.open(place), place)["a"][1] == {
        "image": "imagesTr/a_0000.png",
        "label": "labelsTr/a.png",
    }


def test_channels_of_one_name_get_numbers(tmp_path: Path) -> None:
    place = folder(tmp_path, V2 | {"channel_names": {"0": "MRI", "1": "MRI"}})
    assert Cohort.from_nnunet(place).columns == ("MRI_0", "MRI_1", "label")


def test_folds_of_nnunet(tmp_path: Path) -> None:
    place = folder(tmp_path)
    folds = [{"train": ["a"], "val": ["b_1"]}, {"train": ["b_1"], "val": ["a"]}]
    (place / "splits_final.json").write_text(json.dumps(folds))
    assert [c.split for c in Cohort.open(place)] == ["train", "val", "test"]
    assert [c.split for c in Cohort.open(place, fold=1)] == ["val", "train", "test"]
    with pytest.raises(FileError, match="no fold 2") as caught:
        Cohort.open(place, fold=2)
    assert caught.value.expected == "0 to 1"


@pytest.mark.parametrize(
    ("folds", "error", "text"),
    [
        ([{"train": ["a"], "val": ["a"]}], CaseError, "trains and validates"),
        ([{"train": ["a"], "val": ["zz"]}], CaseError, "not there"),
        ({"train": []}, FileError, "no folds"),
        ([{"train": ["a"]}], FileError, "no folds"),
    ],
)
def test_folds_that_are_refused(tmp_path: Path, folds: Any, error: type[TrueVoxError], text: str) -> None:
    (folder(tmp_path) / "splits_final.json").write_text(json.dumps(folds))
    with pytest.raises(error, match=text) as caught:
        Cohort.open(tmp_path)
    assert caught.value.file == str(tmp_path / "splits_final.json")


def test_a_fold_without_folds(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no folds"):
        Cohort.open(folder(tmp_path), fold=0)


def test_images_without_a_label_are_cases_without_one(tmp_path: Path) -> None:
    place = folder(tmp_path, files=[name for name in FILES if name != "labelsTr/b_1.nii.gz"])
    assert not Cohort.open(place)["b_1"].has("label")


def test_labels_of_test_cases(tmp_path: Path) -> None:
    place = folder(tmp_path, files=[*FILES, "labelsTs/c.nii.gz"])
    assert Cohort.open(place)["c"].path("label") == place / "labelsTs/c.nii.gz"


def without(*names: str) -> list[str]:
    return [name for name in FILES if name not in names]


@pytest.mark.parametrize(
    "missing",
    [
        ["imagesTr/a_0001.nii.gz"],
        ["imagesTr/b_1_0000.nii.gz"],
        ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"],
        ["imagesTr/a_0001.nii.gz", "imagesTr/b_1_0000.nii.gz", "imagesTs/c_0001.nii.gz"],
    ],
)
def test_a_file_that_is_missing_is_named_by_the_check_and_hides_no_other(
    tmp_path: Path, missing: list[str]
) -> None:
    cohort = Cohort.from_nnunet(folder(tmp_path, V2, without(*missing)))
    assert seen(cohort, tmp_path) == seen(Cohort.from_nnunet(folder(tmp_path / "whole")), tmp_path / "whole")
    absent = [Path(p.file) for p in check(cohort) if p.message == "The file does not exist."]
    assert absent == [tmp_path / name for name in missing]


BAD: list[tuple[Any, list[str], type[TrueVoxError], str, str | None]] = [
    (V2, [*FILES, "imagesTr/a_0002.nii.gz"], CaseError, "another number of images", "a"),
    (
        V2,
        [*FILES, "imagesTs/a_0000.nii.gz", "imagesTs/a_0001.nii.gz"],
        CaseError,
        "imagesTr and in imagesTs",
        "a",
    ),
    (V2, [], CaseError, "no images", None),
    (V2, ["labelsTr/a.nii.gz"], CaseError, "no images", None),
    (V2 | {"file_ending": ".mha"}, [*FILES], CaseError, "no images", None),
    (V2 | {"channel_names": {}}, [*FILES], FileError, "does not name its channels", None),
    (V2 | {"channel_names": "a"}, [*FILES], FileError, "does not name its channels", None),
    (V2 | {"labels": {"background": 0, "x": "three"}}, [*FILES], LabelError, "no value", None),
    (V2 | {"labels": {"background": 0}}, [*FILES], LabelError, "at least one", None),
    (V2 | {"labels": [1]}, [*FILES], LabelError, "mapping", None),
    (V2 | {"labels": {"a": 1, "ignore": [2]}}, [*FILES], LabelError, "one value", None),
    (V2 | {"dataset": {"x": {"label": "a"}}}, [*FILES], FileError, "does not list the images", None),
    ("{", [*FILES], FileError, "not JSON", None),
    ("[]", [*FILES], FileError, "no mapping", None),
]


@pytest.mark.parametrize(("data", "files", "error", "text", "case"), BAD)
def test_what_is_wrong_in_a_folder_is_named(
    tmp_path: Path, data: Any, files: list[str], error: type[TrueVoxError], text: str, case: str | None
) -> None:
    place = folder(tmp_path, data, files)
    with pytest.raises(error, match=text) as caught:
        Cohort.from_nnunet(place)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.case == case


# ---- the Decathlon ----------------------------------------------------------------------------

MSD: dict[str, Any] = {
    "modality": {"0": "FLAIR", "1": "T1w"},
    "labels": {"0": "background", "1": "edema", "2": "core"},
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    "test": ["./imagesTs/c.nii.gz"],
}
MSD_FILES = ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTs/c.nii.gz")


def test_a_task_of_the_decathlon(tmp_path: Path) -> None:
    place = folder(tmp_path, MSD, MSD_FILES)
    cohort = Cohort.open(place)
    assert seen(cohort, place) == {
        "a": (None, {"image": MSD_FILES[0], "label": MSD_FILES[1]}),
        "c": ("test", {"image": MSD_FILES[2], "label": None}),
    }
    assert cohort.labels == {"label": Labels({"edema": 1, "core": 2})}
    assert cohort.modalities == {"image": "FLAIR, T1w"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"training": []}, "lists no cases"),
        ({"training": {"image": "a"}}, "is no list"),
        ({"training": [{"label": "a"}]}, "without an image"),
        ({"training": [3]}, "without an image"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, data: Any, text: str) -> None:
    with pytest.raises(FileError, match=text) as caught:
        Cohort.from_msd(folder(tmp_path, data, MSD_FILES))
    assert caught.value.file == str(tmp_path / "dataset.json")


def test_a_case_that_is_listed_twice(tmp_path: Path) -> None:
    data = MSD | {"training": MSD["training"] * 2}
    with pytest.raises(CaseError, match="appears twice") as caught:
        Cohort.open(folder(tmp_path, data, MSD_FILES))
    assert (caught.value.case, caught.value.file) == ("a", str(tmp_path))


# ---- what a path is ---------------------------------------------------------------------------


def test_tables_are_opened_by_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,age\np1,61\n")
    (tmp_path / "t.tsv").write_text("case\tage\np1\t61\n")
    for name in ("t.csv", "t.tsv"):
        assert Cohort.open(tmp_path / name)["p1"].value("age") == 61.0


def test_a_folder_of_a_series_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "p1" / "series").mkdir(parents=True)
    (tmp_path / "t.csv").write_text("case,ct,site\np1,p1/series?series=2,here\n")
    case = Cohort.open(tmp_path / "t.csv")["p1"]
    assert case.values == {"ct": tmp_path / "p1/series?series=2", "site": "here"}


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (["Dataset001_A/dataset.json", "Dataset002_B/dataset.json"], "Dataset001_A, Dataset002_B"),
        (["imagesTr/a_0000.nii.gz"], "dataset.json, which names channels and labels, is missing"),
        (["cohort.csv"], "it holds tables, give one of them: cohort.csv"),
        (["scan.nii.gz"], "write a table"),
    ],
)
def test_a_folder_that_is_no_cohort_says_what_was_looked_for(
    tmp_path: Path, names: list[str], remedy: str
) -> None:
    folder(tmp_path, None, names)
    with pytest.raises(FileError, match="no cohort") as caught:
        Cohort.open(tmp_path)
    assert remedy in str(caught.value.remedy)
    for kind in ("table", "nnU-Net", "Decathlon", "BIDS"):
        assert kind in str(caught.value.expected)


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="can't be read"):
        Cohort.open(tmp_path / "cohort.csv")
    with pytest.raises(FileError, match="no such table or folder"):
        Cohort.open(tmp_path / "Dataset001")
    with pytest.raises(FileError, match="give the folder"):
        Cohort.open(folder(tmp_path) / "dataset.json")


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(FileError, match="pyarrow") as caught:
        Cohort.open(tmp_path / "cohort.parquet")
    assert "pip install 'truevox[parquet]'" in str(caught.value.remedy)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_dataset_json_in_the_coding_of_windows(encoding: str, tmp_path: Path) -> None:
    place = folder(tmp_path)
    (place / "dataset.json").write_bytes(json.dumps(V2).encode(encoding))
    assert Cohort.open(place).labels == {"label": Labels({"edema": 1, "core": 2})}


@pytest.mark.parametrize(
    "odd",
    [
        {"labels": {"background": 0.0, "edema": 1.0, "core": "2"}},
        {"labels": {"background": "0", "edema": "1.0", "core": 2}},
        {"channel_names": ["FLAIR", "T1"]},
        {"file_ending": "nii.gz"},
        {"file_ending": ".NII.GZ"},
    ],
)
def test_other_ways_to_write_a_dataset_json(odd: dict[str, Any], tmp_path: Path) -> None:
    usual, other = folder(tmp_path / "a"), folder(tmp_path / "b", V2 | odd)
    assert seen(Cohort.open(other), other) == seen(Cohort.open(usual), usual)
    assert Cohort.open(other).labels == Cohort.open(usual).labels


def test_a_dataset_json_that_says_two_things(tmp_path: Path) -> None:
    text = json.dumps(V2).replace('"core": 2', '"core": 2, "edema": 3')
    with pytest.raises(FileError, match="'edema' is there twice"):
        Cohort.open(folder(tmp_path / "a", text))
    with pytest.raises(FileError, match="nested too deeply"):
        Cohort.open(folder(tmp_path / "b", "[" * 10**5 + "]" * 10**5))
    with pytest.raises(FileError, match="'file_ending'"):
        Cohort.open(folder(tmp_path / "c", V2 | {"file_ending": 3}))


def test_images_are_counted_as_they_are(tmp_path: Path) -> None:
    """Of channels 0, 1 and 3 there are three, not the four up to the highest number."""
    files = [f"imagesTr/a_000{k}.nii.gz" for k in (0, 1, 3)]
    with pytest.raises(CaseError, match="another number of images") as caught:
        Cohort.open(folder(tmp_path, files=files))
    assert caught.value.got == "3: a_0000.nii.gz, a_0001.nii.gz, a_0003.nii.gz"
    assert caught.value.remedy


def test_paths_of_windows_in_a_list(tmp_path: Path) -> None:
    listed = [{"image": ".\\imagesTr\\a.nii.gz", "label": ".\\labelsTr\\a.nii.gz"}]
    data = {"training": listed, "test": [], "labels": {"0": "background", "1": "core"}}
    (case,) = Cohort.open(folder(tmp_path, data))
    assert case.id == "a"
    assert case.path("label") == tmp_path / "labelsTr" / "a.nii.gz"
