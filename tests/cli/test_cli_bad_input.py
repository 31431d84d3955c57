"""What the command line says of bad input: which case, which file, what would be right; never a traceback."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from truevox.cli.running import say_remarks
from truevox.cohort import Cohort


def opened(path: Path) -> Any:
    """A NIfTI file."""
    return nibabel.load(path)


def command(study, *sets: str) -> list[object]:
    options = [word for one in sets for word in ("--set", one)]
    out = study.folder / "run"
    return ["train", study.recipe, "--data", study.table, "--out", out, "--device", "cpu", *options]


def replace(path: Path, array: np.ndarray | None = None, affine: np.ndarray | None = None) -> None:
    """Write the file again with other voxels, or another affine."""
    image = opened(path)
    voxels = np.asarray(image.dataobj).copy() if array is None else array
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine if affine is None else affine), path)


def missing(study) -> Path:
    path = study.file("p2", "t1")
    path.unlink()
    return path


def truncated(study) -> Path:
    path = study.file("p2", "t1")
    path.write_bytes(path.read_bytes()[:-400])
    return path


def other_grid(study) -> Path:
    path = study.file("p2", "tumour")
    replace(path, np.asarray(opened(path).dataobj)[:, :, 1:].copy())
    return path


def not_a_number(study) -> Path:
    path = study.file("p2", "flair")
    voxels = np.asarray(opened(path).dataobj).copy()
    voxels[3, 4, 5:7] = np.nan
    replace(path, voxels)
    return path


def undeclared(study) -> Path:
    path = study.file("p2", "tumour")
    voxels = np.asarray(opened(path).dataobj).copy()
    voxels[0, 0, 0] = 3
    replace(path, voxels)
    return path


def singular(study) -> Path:
    path = study.file("p2", "t1")
    image = opened(path)
    image.header["srow_x"] = image.header["srow_y"] = 0
    image.header["sform_code"], image.header["qform_code"] = 1, 0
    raw = bytearray(image.header.binaryblock)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[: len(raw)] = raw
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def several_volumes(study) -> Path:
    path = study.file("p2", "t1")
    voxels = np.asarray(opened(path).dataobj)
    replace(path, np.stack([voxels, voxels], axis=-1))
    return path


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, ["The file does not exist", "Remedy: check the path"]),
        (truncated, ["The file is truncated or damaged", "copy or convert it again"]),
        (
            other_grid,
            ["'tumour' and 'flair' of case p2 are not on the same grid", "10x12x9", "10x12x8", "align: true"],
        ),
        (not_a_number, ["not finite (NaN or infinite)", "2 of 1080 voxels"]),
        (undeclared, ["values that the label table does not declare", "got       [3]", "expected  0 and 1"]),
        (singular, ["affine", "singular"]),
        (
            several_volumes,
            ["has 2 channels (volumes, components or colours), where 1 is expected", "channels: {t1: 2}"],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_training_refuses_a_bad_file(truevox, study, spoil, words):
    path = spoil(study)
    outcome = truevox(*command(study))
    assert outcome.code == 3
    assert outcome.out == ""
    text = outcome.err
    for word in [*words, "p2", str(path)]:
        assert word in text
    assert "Traceback" not in text
    assert not (study.folder / "run" / "model").exists()


@pytest.mark.parametrize("spoil", [missing, other_grid, singular, several_volumes])
def test_what_headers_tell_is_refused_before_anything_is_written(truevox, study, spoil):
    spoil(study)
    assert truevox(*command(study)).code == 3
    assert not (study.folder / "run").exists()


def test_a_run_that_failed_says_so(truevox, study):
    not_a_number(study)
    truevox(*command(study))
    found = json.loads((study.folder / "run" / "run.json").read_text())
    assert found["status"] == "failed"
    assert "not finite" in found["error"]


def test_the_first_problem_is_told_and_the_others_are_counted(truevox, study):
    study.file("p1", "t1").unlink()
    study.file("p2", "t1").unlink()
    outcome = truevox(*command(study))
    assert "p1" in outcome.err
    assert "1 more problem in the cohort: `truevox check` lists them all." in outcome.err


def test_a_patch_larger_than_the_image_is_padded_and_said(truevox, study):
    outcome = truevox(*command(study, "patch.size=16", "train.max_steps=2"))
    assert outcome.code == 0, outcome.err
    remark = "RandomCrop.1: patch larger than the image (10x12x9), padded"
    remarks = json.loads((study.folder / "run" / "run.json").read_text())["remarks"]
    assert remarks[remark] == 4  # two steps of two samples
    assert remark in outcome.err


def test_a_patch_size_that_the_network_cannot_produce(truevox, study):
    outcome = truevox(*command(study, "patch.size=9"))
    assert outcome.code == 2
    for word in ("key 'patch.size'", "9x9x9", "(8, 8, 8)", "(10, 10, 10)"):
        assert word in outcome.err


def test_an_empty_training_split(truevox, study):
    study.write_table({"p1": "val", "p2": "test"})
    outcome = truevox(*command(study))
    assert outcome.code == 3
    for word in ("No case is in split 'train'", "val, test", str(study.table)):
        assert word in outcome.err


def test_a_mask_without_foreground_is_cropped_anywhere_and_said(truevox, study):
    path = study.file("p2", "tumour")
    replace(path, np.zeros((10, 12, 9), np.uint8))
    outcome = truevox(*command(study, "patch.foreground=1", "train.max_steps=2"))
    assert outcome.code == 0, outcome.err
    remark = "RandomCrop.1: no foreground to centre on, uniform crop instead"
    remarks = json.loads((study.folder / "run" / "run.json").read_text())["remarks"]
    assert remarks[remark] == 2  # p2's share of four samples of two cases
    assert (
        truevox("check", study.table, "--recipe", study.recipe).out.count("The mask has no foreground.") == 1
    )


def test_an_output_folder_that_cannot_be_written(truevox, study, predicted):
    """Below a regular file: not even the superuser can make that folder."""
    run = predicted[1]
    blocked = study.folder / "recipe.yaml" / "out"
    commands = [
        ["train", study.recipe, "--data", study.table, "--out", blocked, "--device", "cpu"],
        ["predict", run, "--data", study.table, "--out", blocked, "--device", "cpu"],
        ["evaluate", predicted[2], "--data", study.table, "--out", blocked],
        ["volumes", predicted[2], "--out", blocked / "volumes.csv"],
    ]
    for arguments in commands:
        outcome = truevox(*arguments)
        assert outcome.code == 3, arguments
        assert "FileError: The file can't be written: a part of the path is a file" in outcome.err
        assert str(blocked) in outcome.err


def full_after(monkeypatch, allowed: int) -> None:
    """A disk that has room for some files more: flushing the next one fails, as it does on a full disk."""
    flush, count = os.fsync, [0]

    def limited(handle: int) -> None:
        count[0] += 1
        if count[0] > allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    monkeypatch.setattr(os, "fsync", limited)


@pytest.mark.parametrize("allowed", [0, 6, 8])
def test_a_disk_that_fills_up_leaves_no_half_file(truevox, predicted, tmp_path, monkeypatch, allowed):
    study, run, finished = predicted
    out = tmp_path / "preds"
    arguments = ["predict", run, "--data", study.table, "--out", out, "--split", "test", "--device", "cpu"]
    full_after(monkeypatch, allowed)
    outcome = truevox(*arguments)
    assert outcome.code == 3
    assert "The file can't be written: the disk is full." in outcome.err
    assert "Remedy: free some space" in outcome.err
    assert list(out.rglob(".*")) == []
    for path in out.rglob("*.nii.gz"):
        whole = finished / path.relative_to(out)
        assert np.array_equal(np.asarray(opened(path).dataobj), np.asarray(opened(whole).dataobj))
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "200")
    assert truevox(*arguments).code == 0
    assert {p.name for p in out.iterdir()} == {"p4", "p5", "labels.json", "run.json"}


def test_a_model_folder_with_a_changed_weight_file(truevox, predicted, tmp_path):
    study, run, _ = predicted
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    weights = copied / "model" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    outcome = truevox(
        "predict", copied, "--data", study.table, "--out", tmp_path / "preds", "--device", "cpu"
    )
    assert outcome.code == 3
    for word in ("The weights are not those that the model was saved with", str(weights), "SHA-256"):
        assert word in outcome.err
    assert not (tmp_path / "preds").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "CPU"])
def test_an_unknown_device(truevox, predicted, tmp_path, device):
    study, run, _ = predicted
    out = tmp_path / "out"
    for arguments in (["train", study.recipe], ["predict", run]):
        outcome = truevox(*arguments, "--data", study.table, "--out", out, "--device", device)
        assert outcome.code == 2
        assert f"There is no device '{device}' here." in outcome.err
        assert "auto | cpu" in outcome.err
    assert not out.exists()


@pytest.mark.parametrize("name", ["../p1", "a/b", "..", "a\\b"])
def test_a_case_that_cannot_name_a_folder(truevox, predicted, tmp_path, name):
    run = predicted[1]
    table = tmp_path / "cohort.csv"
    table.write_text(f"case,flair,t1\n{name},a.nii.gz,b.nii.gz\n")
    outcome = truevox("predict", run, "--data", table, "--out", tmp_path / "preds", "--device", "cpu")
    assert outcome.code == 3
    assert f"'{name}' can't be the name of a case" in outcome.err


def test_a_table_without_the_recipes_columns(truevox, study):
    outcome = truevox(*command(study, "images=[flair, dwi]"))
    assert outcome.code == 2
    assert "The cohort has no column 'dwi'." in outcome.err
    assert "flair, t1, tumour" in outcome.err


def test_a_recipe_with_an_unknown_key(truevox, study):
    study.recipe.write_text(study.recipe.read_text() + "optimiser: sgd\n")
    outcome = truevox(*command(study))
    assert outcome.code == 2
    assert "The recipe has no key 'optimiser'." in outcome.err
    assert str(study.recipe) in outcome.err


@pytest.mark.parametrize("name", ["recipe", "table"])
def test_a_recipe_or_table_that_is_not_there(truevox, study, name):
    getattr(study, name).unlink()
    outcome = truevox(*command(study))
    assert outcome.code == 3
    assert str(getattr(study, name)) in outcome.err


def test_a_folder_without_a_model(truevox, study):
    outcome = truevox("predict", study.folder, "--data", study.table, "--out", study.folder / "preds")
    assert outcome.code == 3
    assert "The folder holds no trained model." in outcome.err
    assert "model/graph.json" in outcome.err


def test_tracebacks_are_for_those_who_ask(truevox, study, monkeypatch):
    study.table.unlink()
    assert "Traceback" not in truevox(*command(study)).err
    assert "Traceback" in truevox("--debug", *command(study)).err
    monkeypatch.setenv("TRUEVOX_DEBUG", "1")
    assert "Traceback" in truevox(*command(study)).err


def test_a_mistake_of_ours_is_told_as_such(truevox, study, monkeypatch):
    monkeypatch.setattr(Cohort, "from_csv", lambda table: 1 / 0)
    outcome = truevox(*command(study))
    assert outcome.code == 70
    assert "Internal error: ZeroDivisionError" in outcome.err
    assert "--debug" in outcome.err


def test_remarks_of_one_kind_are_one_line(capsys):
    text = "RandomCrop.1: patch larger than the image ({}), padded"
    say_remarks({text.format("4x5x6"): 2, text.format("4x5x7"): 1, "another": 1})
    assert capsys.readouterr().err == (
        "Note: RandomCrop.1: patch larger than the image, padded; 2 sizes (3 times)\nNote: another (1 time)\n"
    )


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_is_no_mistake_of_ours(truevox, study, monkeypatch, error):
    def fail(table: Path) -> Cohort:
        raise error

    monkeypatch.setattr(Cohort, "from_csv", fail)
    outcome = truevox(*command(study))
    assert outcome.code == 3
    assert outcome.err.startswith("Out of memory.")
