"""A folder as others left it, trained, predicted and scored with a command each."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

SHAPE, SPACING = (24, 20, 6), (1.0, 1.0, 4.0)
LABELS = {"background": 0, "whole": [1, 2], "core": [2]}


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)
    return path


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two scans; a ball of value 1 with a core of value 2."""
    rng = np.random.default_rng(seed)
    centre = np.array(SHAPE) / 2 + rng.uniform(-1, 1, 3)
    steps = [(i - c) * s for i, c, s in zip(np.indices(SHAPE), centre, SPACING, strict=True)]
    distance = np.sqrt(sum(step**2 for step in steps))
    mask = (distance < 7).astype(np.uint8) + (distance < 4)
    one = 100 + 80 * (mask > 0) + rng.normal(0, 5, SHAPE)
    two = 300 - 90 * (mask > 1) + rng.normal(0, 5, SHAPE)
    return one.astype(np.float32), two.astype(np.float32), mask.astype(np.uint8)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cases and a test case: two channels, thick slices, overlapping regions."""
    folder = tmp_path_factory.mktemp("raw") / "Dataset007_Tumour"
    for k in range(6):
        one, two, mask = phantom(k)
        part = "Ts" if k == 5 else "Tr"
        write(folder / f"images{part}" / f"tumour_{k}_0000.nii.gz", one)
        write(folder / f"images{part}" / f"tumour_{k}_0001.nii.gz", two)
        if k < 5:
            write(folder / "labelsTr" / f"tumour_{k}.nii.gz", mask)
    data = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": LABELS,
        "regions_class_order": [1, 2],
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def run(nnunet: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    import torch

    from tests.cli.conftest import call

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run") / "model"
    outcome = call("train", nnunet, "--out", out, "--set", "train.max_steps=3", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    return out, outcome


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_recipe_is_planned_and_written(run):
    out, outcome = run
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert recipe["images"] == ["T1", "FLAIR"]
    assert recipe["labels"]["names"] == {"whole": [1, 2], "core": [2]}
    assert recipe["train"]["max_steps"] == 3
    assert recipe["network"]["kernels"][0] == [3, 3, 1]
    assert recipe["augment"]["rotation"] == [0.0, 0.0, 15.0]
    assert recipe["patch"]["size"] == list(SHAPE)
    for words in ("5 cases, 2 channels (T1, FLAIR), median 24x20x6 voxels of 1x1x4 mm", "4 train, 1 val"):
        assert words in outcome.err


def test_who_trained_is_written(run, nnunet):
    out, _ = run
    table = {row["case"]: row for row in rows(out / "cohort.csv")}
    assert sorted(row["split"] for row in table.values()) == ["test"] + ["train"] * 4 + ["val"]
    assert table["tumour_5"]["split"] == "test"
    assert (out / table["tumour_0"]["T1"]).resolve() == nnunet / "imagesTr" / "tumour_0_0000.nii.gz"
    record = json.loads((out / "run.json").read_text())
    assert record["inputs"]["cohort"]["path"] == str(nnunet / "dataset.json")
    assert (len(record["cases"]["train"]), len(record["cases"]["val"])) == (4, 1)


def test_regions_are_scored_while_training(run):
    out, _ = run
    scored = [row for row in rows(out / "history.csv") if row["val/label/whole/dice"]]
    assert scored
    for row in scored:
        for name in ("whole", "core"):
            assert 0 <= float(row[f"val/label/{name}/dice"]) <= 1


def test_the_plan_is_a_recipe_that_runs_again(truevox, run, tmp_path):
    out, _ = run
    again = tmp_path / "again"
    outcome = truevox("train", out / "recipe.yaml", out / "cohort.csv", "--out", again, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    one, two = ((folder / "model" / "weights.safetensors").read_bytes() for folder in (out, again))
    assert one == two


def test_the_same_command_resumes(truevox, run, nnunet):
    out, _ = run
    before = (out / "recipe.yaml").read_bytes()
    outcome = truevox("train", nnunet, "--out", out, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert "The recipe is that of the run" in outcome.err
    assert (out / "recipe.yaml").read_bytes() == before
    other = truevox("train", nnunet, "--out", out, "--set", "train.seed=4")
    assert (other.code, "train.seed: 4, not 0" in other.err) == (2, True)


def test_predict_and_evaluate_take_the_folder(truevox, run, nnunet, tmp_path):
    out, _ = run
    preds = tmp_path / "preds"
    outcome = truevox("predict", out, nnunet, "--out", preds, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert sorted(p.name for p in preds.glob("tumour_*")) == [f"tumour_{k}" for k in range(6)]
    stored: Any = nibabel.load(preds / "tumour_5" / "label.nii.gz")
    assert stored.shape == (*SHAPE, 2)  # a mask per region
    scored = truevox("evaluate", preds, nnunet)
    assert scored.code == 0, scored.err
    assert "1 of 6 cases have no reference" in scored.err
    assert "4 of these 5 cases trained the model" in scored.err
    found = rows(preds / "evaluation" / "metrics.csv")
    assert {row["label"] for row in found} == {"whole", "core"}
    assert len({row["case"] for row in found}) == 5
    held_out = truevox("evaluate", preds, nnunet, "--split", "val", "--out", tmp_path / "val")
    assert held_out.code == 0, held_out.err
    assert "trained the model" not in held_out.err
    assert len({row["case"] for row in rows(tmp_path / "val" / "metrics.csv")}) == 1


def test_predict_knows_the_splits_of_the_training(truevox, run, nnunet, tmp_path):
    out, _ = run
    outcome = truevox("predict", out, nnunet, "--out", tmp_path, "--split", "val", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    val = [row["case"] for row in rows(out / "cohort.csv") if row["split"] == "val"]
    assert [p.name for p in tmp_path.glob("tumour_*")] == val


def test_folds_of_nnunet_are_used(truevox, nnunet, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for entry in nnunet.iterdir():
        (folder / entry.name).symlink_to(entry)
    cases = [f"tumour_{k}" for k in range(5)]
    folds = [{"train": [c for c in cases if c != held], "val": [held]} for held in cases]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    steps = ("--set", "train.max_steps=1", "--set", "train.val_every=0", "--device", "cpu")
    outcome = truevox("train", folder, "--out", tmp_path / "run", "--fold", 3, *steps)
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["cases"]["val"] == ["tumour_3"]


def test_split_writes_folds_that_train_takes(truevox, nnunet, tmp_path):
    table = tmp_path / "folds.csv"
    outcome = truevox("split", nnunet, "--folds", 5, "--foreground", "label", "--out", table)
    assert outcome.code == 0, outcome.err
    found = rows(table)
    assert sorted(row["fold"] for row in found) == ["", "0", "1", "2", "3", "4"]
    parts = truevox("split", nnunet, "--shares", "train=3,val=2", "--out", tmp_path / "parts.csv")
    assert parts.code == 0, parts.err
    splits = sorted(row["split"] for row in rows(tmp_path / "parts.csv"))
    assert splits == ["test"] + ["train"] * 3 + ["val"] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--folds", "5", "--shares", "train=1"], "not both"),
        (["--shares", "train:3"], "train=0.8,val=0.2"),
        (["--shares", "train=x"], "train=0.8,val=0.2"),
        (["--folds", "9"], "fewer patients"),
        (["--folds", "2", "--by", "site"], "no case has a value"),
    ],
)
def test_splits_that_cannot_be(truevox, nnunet, tmp_path, arguments, words):
    outcome = truevox("split", nnunet, *arguments, "--out", tmp_path / "t.csv")
    assert outcome.code in (2, 3)
    assert words in outcome.err
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipe.yaml"], "Training takes a cohort"),
        (["recipe.yaml", "cohort.csv", "--data", "cohort.csv"], "Training takes a cohort"),
        (["nowhere"], "no such table or folder"),
    ],
)
def test_what_is_given_must_be_clear(truevox, tmp_path, arguments, words):
    outcome = truevox("train", *arguments, "--out", tmp_path / "run")
    assert outcome.code in (2, 3)
    assert words in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_cohort_given_twice_or_not_at_all(truevox, run, nnunet, tmp_path):
    out, _ = run
    for arguments in ([], [nnunet, "--data", nnunet]):
        outcome = truevox("predict", out, *arguments, "--out", tmp_path / "preds")
        assert outcome.code == 2
        assert "The cohort is" in outcome.err


def test_a_table_without_splits_is_dealt_out(truevox, nnunet, tmp_path):
    table = tmp_path / "table.csv"
    lines = ["case,scan,mask"]
    for k in range(5):
        files = (nnunet / "imagesTr" / f"tumour_{k}_0000.nii.gz", nnunet / "labelsTr" / f"tumour_{k}.nii.gz")
        lines.append(f"p{k},{files[0]},{files[1] if k else ''}")
    table.write_text("\n".join(lines) + "\n")
    steps = ("--set", "train.max_steps=1", "--set", "train.val_every=0", "--device", "cpu")
    outcome = truevox("train", table, "--out", tmp_path / "run", *steps)
    assert outcome.code == 0, outcome.err
    assert "1 of 5 cases lack an image or the label" in outcome.err
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (recipe["images"], recipe["label"]) == (["scan"], "mask")
    assert recipe["labels"]["names"] == {"mask1": 1, "mask2": 2}
    assert [row["case"] for row in rows(tmp_path / "run" / "cohort.csv")] == ["p1", "p2", "p3", "p4"]


def test_a_task_of_the_decathlon_with_volumes_in_a_file(truevox, tmp_path):
    folder = tmp_path / "Task01_Brain"
    listed = []
    for k in range(4):
        one, two, mask = phantom(k)
        write(folder / "imagesTr" / f"b_{k}.nii.gz", np.stack([one, two], axis=-1))
        write(folder / "labelsTr" / f"b_{k}.nii.gz", mask)
        listed.append({"image": f"./imagesTr/b_{k}.nii.gz", "label": f"./labelsTr/b_{k}.nii.gz"})
    data = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "core"},
        "training": listed,
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(data))
    steps = ("--set", "train.max_steps=1", "--set", "train.val_every=0", "--device", "cpu")
    outcome = truevox("train", folder, "--out", tmp_path / "run", *steps)
    assert outcome.code == 0, outcome.err
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (recipe["images"], recipe["channels"]) == (["image"], {"image": 2})
    # One percentile of two contrasts together would say nothing of either.
    assert recipe["normalise"]["clip"] is None
    options = ("--out", tmp_path / "preds", "--split", "val", "--device", "cpu")
    predicted = truevox("predict", tmp_path / "run", folder, *options)
    assert predicted.code == 0, predicted.err
    stored: Any = nibabel.load(next((tmp_path / "preds").glob("b_*")) / "label.nii.gz")
    assert stored.shape == SHAPE
