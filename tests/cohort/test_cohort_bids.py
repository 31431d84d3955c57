"""BIDS folders: subjects, sessions, derivatives, label tables, participants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from truevox.cohort import Cohort
from truevox.errors import CaseError, FileError, LabelError
from truevox.labels import Labels

RAW = (
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_acq-highres_FLAIR.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.json",
    "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
    "sub-02/anat/sub-02_T1w.nii.gz",
    "sub-02/dwi/sub-02_dwi.nii.gz",
    "sub-02/dwi/sub-02_dwi.bval",
)
MANUAL = (
    "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_desc-lesion_mask.nii.gz",
    "derivatives/manual/sub-02/anat/sub-02_desc-lesion_mask.nii.gz",
)


def folder(place: Path, *names: str, text: dict[str, str] | None = None) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    for name, content in (text or {}).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    return place


def names(cohort: Cohort, key: str) -> dict[str, Any]:
    values = cohort[key].values
    return {n: v.name if isinstance(v, Path) else v for n, v in values.items() if v is not None}


def test_subjects_are_cases_and_sessions_are_records(tmp_path: Path) -> None:
    cohort = Cohort.open(folder(tmp_path, *RAW, *MANUAL, "dataset_description.json", "code/run.py"))
    assert [case.key for case in cohort] == ["sub-01/ses-1", "sub-01/ses-2", "sub-02"]
    assert names(cohort, "sub-01/ses-1") == {
        "T1w": "sub-01_ses-1_T1w.nii.gz",
        "acq-highres_FLAIR": "sub-01_ses-1_acq-highres_FLAIR.nii.gz",
        "desc-lesion_mask": "sub-01_ses-1_desc-lesion_mask.nii.gz",
    }
    assert names(cohort, "sub-02") == {
        "T1w": "sub-02_T1w.nii.gz",
        "dwi": "sub-02_dwi.nii.gz",
        "desc-lesion_mask": "sub-02_desc-lesion_mask.nii.gz",
    }
    assert cohort.labels == {"desc-lesion_mask": Labels({"lesion": 1})}
    assert cohort.modalities == {"T1w": "T1w", "acq-highres_FLAIR": "FLAIR", "dwi": "dwi"}


def test_participants_are_joined(tmp_path: Path) -> None:
    table = "participant_id\tage\tsite\tsplit\nsub-02\t61\tA\ttest\nsub-01\tn/a\tn/a\ttrain\n"
    cohort = Cohort.open(folder(tmp_path, *RAW, text={"participants.tsv": table}))
    assert (cohort["sub-02"].value("age"), cohort["sub-02"].value("site")) == (61.0, "A")
    assert not cohort["sub-01/ses-2"].has("age")
    assert [case.split for case in cohort] == ["train", "train", "test"]
    assert "split" not in cohort.columns


def test_a_file_of_the_subject_belongs_to_all_sessions(tmp_path: Path) -> None:
    cohort = Cohort.open(folder(tmp_path, *RAW, "sub-01/anat/sub-01_label-brain_mask.nii.gz"))
    for key in ("sub-01/ses-1", "sub-01/ses-2"):
        assert names(cohort, key)["label-brain_mask"] == "sub-01_label-brain_mask.nii.gz"
    assert cohort.labels == {"label-brain_mask": Labels({"brain": 1})}


def test_runs_as_columns_or_as_records(tmp_path: Path) -> None:
    folder(tmp_path, *(f"sub-01/anat/sub-01_run-{k}_T1w.nii.gz" for k in (1, 2)))
    assert Cohort.from_bids(tmp_path).columns == ("run-1_T1w", "run-2_T1w")
    runs = Cohort.from_bids(tmp_path, records=("ses", "run"))
    assert [(c.key, list(c.files)) for c in runs] == [("sub-01/run-1", ["T1w"]), ("sub-01/run-2", ["T1w"])]


def test_label_tables_apply_to_what_lies_below_them(tmp_path: Path) -> None:
    dseg = [f"derivatives/fs/sub-0{k}/anat/sub-0{k}_desc-{d}_dseg.nii.gz" for k in (1, 2) for d in ("a", "b")]
    text = {
        "dseg.tsv": "index\tname\n0\tbackground\n1\tgrey\n2\twhite\n",
        "derivatives/fs/desc-b_dseg.tsv": "index\tname\tcolor\n11\tleft\tred\n12\tright\tblue\n",
    }
    cohort = Cohort.open(folder(tmp_path, *RAW, *dseg, text=text))
    assert cohort.labels == {
        "desc-a_dseg": Labels({"grey": 1, "white": 2}),
        "desc-b_dseg": Labels({"left": 11, "right": 12}),
    }


def test_tables_that_differ_between_subjects_are_refused(tmp_path: Path) -> None:
    dseg = [f"sub-0{k}/anat/sub-0{k}_dseg.nii.gz" for k in (1, 2)]
    text = {f"sub-0{k}/anat/sub-0{k}_dseg.tsv": f"index\tname\n{k}\tgrey\n" for k in (1, 2)}
    with pytest.raises(LabelError, match="differ between subjects") as caught:
        Cohort.open(folder(tmp_path, *dseg, text=text))
    assert caught.value.case == "sub-02"


def test_a_derivative_by_itself_and_by_name(tmp_path: Path) -> None:
    other = "derivatives/net/sub-02/anat/sub-02_desc-lesion_mask.nii.gz"
    folder(tmp_path, *RAW, *MANUAL, other)
    with pytest.raises(CaseError, match="Two files are 'desc-lesion_mask'") as caught:
        Cohort.from_bids(tmp_path)
    assert "derivatives=" in str(caught.value.remedy)
    chosen = Cohort.from_bids(tmp_path, derivatives=["net"])
    assert chosen["sub-02"].path("desc-lesion_mask") == tmp_path / other
    assert "desc-lesion_mask" not in Cohort.from_bids(tmp_path, derivatives=[]).columns
    assert Cohort.open(tmp_path / "derivatives/manual").columns == ("desc-lesion_mask",)
    with pytest.raises(FileError, match="no derivative 'nets'") as missing:
        Cohort.from_bids(tmp_path, derivatives=["nets"])
    assert missing.value.expected == "manual, net"


@pytest.mark.parametrize(
    ("there", "text"),
    [
        (["dataset_description.json"], "No subject"),
        (["sub-01/anat/scan.nii.gz"], "No subject"),
        (["sub-01/anat/sub-02_T1w.nii.gz"], "No subject"),
    ],
)
def test_folders_without_images(tmp_path: Path, there: list[str], text: str) -> None:
    with pytest.raises(FileError, match=text) as caught:
        Cohort.open(folder(tmp_path, *there))
    assert caught.value.file == str(tmp_path)


def test_participants_without_ids(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="participant_id"):
        Cohort.open(folder(tmp_path, *RAW, text={"participants.tsv": "name\tage\nx\t1\n"}))


def test_masks_by_the_names_that_data_sets_give_them(tmp_path: Path) -> None:
    masks = {
        "sub-01/anat/sub-01_label-lesion_roi.nii.gz": ("label-lesion_roi", {"lesion": 1}),
        "sub-01/anat/sub-01_T1w_label-lesion_roi.nii.gz": ("T1w_label-lesion_roi", {"lesion": 1}),
        "sub-01/anat/sub-01_acq-T2sel_FLAIR_roi.nii.gz": ("acq-T2sel_FLAIR_roi", {"roi": 1}),
        "derivatives/sub-01/dwi/sub-01_space-orig_msk.nii.gz": ("space-orig_msk", {"msk": 1}),
        "derivatives/hand/masks/sub-01/anat/sub-01_desc-tumour_mask.nii.gz": (
            "desc-tumour_mask",
            {"tumour": 1},
        ),
        "derivatives/atlas/sub-01/anat/sub-01_desc-x_dseg.nii.gz": ("desc-x_dseg", {"foreground": 1}),
    }
    maps = "derivatives/atlas/sub-01/anat/sub-01_label-GM_probseg.nii.gz"
    cohort = Cohort.from_bids(folder(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", *masks, maps))
    assert {name: table.names for name, table in cohort.labels.items()} == dict(masks.values())
    for file, (column, _) in masks.items():
        assert cohort["sub-01"].path(column) == tmp_path / file
    assert cohort["sub-01"].has("label-GM_probseg")


def test_a_column_of_participants_never_takes_the_place_of_an_image(tmp_path: Path) -> None:
    table = "\ufeffparticipant_id\tT1w\tcase\tage\n01\tyes\t7\tn/a\n03\tno\t8\t60\n"
    cohort = Cohort.open(folder(tmp_path, *RAW, text={"participants.tsv": table}))
    case = cohort["sub-01/ses-1"]
    assert case.path("T1w").name == "sub-01_ses-1_T1w.nii.gz"
    assert (case.value("participants_T1w"), case.value("participants_case")) == ("yes", 7.0)
    assert "T1w" in cohort.notes["participants_T1w"]
    assert "1 of 2 subjects have no row there (sub-02)" in cohort.notes["participants.tsv"]
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t1\n01\t2\n")
    with pytest.raises(CaseError, match=r"two rows of 'sub-01'"):
        Cohort.open(tmp_path)


def test_sessions_of_a_subject_are_joined(tmp_path: Path) -> None:
    text = {
        "participants.tsv": "participant_id\tage\tsex\nsub-01\t50\tF\nsub-02\t40\tM\n",
        "sub-01/sub-01_sessions.tsv": "session_id\tage\tedss\nses-1\t50\t2,5\n2\t51\tn/a\n",
    }
    cohort = Cohort.open(folder(tmp_path, *RAW, text=text))
    found = [(c.values["age"], c.values["sex"], c.values["edss"]) for c in cohort]
    assert found == [(50.0, "F", 2.5), (51.0, "F", None), (40.0, "M", None)]
