"""What each command writes, and how it ends when all is well or some cases fail."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from truevox import __version__
from truevox.cli.record import recorded


def opened(path: Path) -> Any:
    """A NIfTI file."""
    return nibabel.load(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def voxels(path: Path) -> np.ndarray:
    return np.asarray(opened(path).dataobj)


def settings(*assignments: str) -> list[str]:
    return [word for one in assignments for word in ("--set", one)]


def copy_of(predictions: Path, folder: Path) -> Path:
    return Path(shutil.copytree(predictions, folder / "preds"))


# ---- the program itself ----------------------------------------------------------------------


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['truevox', '--help']\n"
        "from truevox.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = [m for m in ('torch', 'numpy', 'pydantic', 'nibabel', 'lightning') if m in sys.modules]\n"
        "print(code, heavy, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "0 []"
    assert "Exit codes" in run.stdout


@pytest.mark.parametrize(
    "name", ["check", "split", "train", "predict", "volumes", "evaluate", "theory", "describe", "demo"]
)
def test_every_command_has_help(truevox, name):
    assert truevox(name, "--help").code == 0


def test_the_version_is_the_installed_one(truevox):
    assert truevox("--version").out == f"truevox {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["train"], ["predict", "run", "--data", "c.csv"], ["check", "c.csv", "--jobs", "0"]],
)
def test_wrong_usage_ends_with_2(truevox, arguments):
    assert truevox(*arguments).code == 2


# ---- check ----------------------------------------------------------------------


def test_check_is_content_with_a_sound_cohort(truevox, trained):
    study, _ = trained
    outcome = truevox("check", study.table, "--recipe", study.recipe, "--voxels")
    assert outcome.code == 0
    assert outcome.out == "case,column,file,severity,kind,message,remedy\n"
    assert outcome.err == "5 cases, 15 files, 0 errors, 0 warnings.\n"


def test_check_lists_all_offenders_once(truevox, study):
    study.file("p1", "t1").unlink()
    bad = voxels(study.file("p2", "tumour")).copy()
    bad[0, 0, 0] = 7
    nibabel.save(nibabel.Nifti1Image(bad, np.eye(4)), study.file("p2", "tumour"))
    out = study.folder / "problems.csv"
    outcome = truevox("check", study.table, "--recipe", study.recipe, "--out", out)
    assert outcome.code == 1
    found = {(row["case"], row["column"], row["kind"]) for row in rows_of(out)}
    assert found == {("p1", "t1", "file"), ("p2", "tumour", "grid"), ("p2", "tumour", "label")}
    assert len(rows_of(out)) == 3


# ---- train ----------------------------------------------------------------------


def test_train_writes_the_run(trained):
    study, run = trained
    assert {p.name for p in run.iterdir()} >= {
        "model",
        "recipe.yaml",
        "checkpoint.pt",
        "history.csv",
        "run.json",
    }
    resolved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert resolved["train"]["max_steps"] == 4
    assert resolved["labels"]["names"] == {"tumour": 1}
    found = record(run)
    assert found["status"] == "finished"
    assert found["settings"]["recipe"] == resolved
    assert found["cases"] == {"train": ["p1", "p2"], "val": ["p3"]}
    assert found["versions"]["truevox"] == __version__
    assert {"python", "torch", "numpy", "lightning"} <= set(found["versions"])
    assert found["threads"]["torch"] == 1
    assert found["seed"] == 0
    assert found["seconds"] > 0
    digest = hashlib.sha256(study.table.read_bytes()).hexdigest()
    assert found["inputs"]["cohort"] == {"path": str(study.table), "sha256": digest}
    assert found["last"]["step"] == 4
    assert 0 <= found["last"]["val/tumour/tumour/dice"] <= 1


def test_the_history_ends_with_the_last_step(trained):
    last, found = rows_of(trained[1] / "history.csv")[-1], record(trained[1])["last"]
    assert float(last["step"]) == 4
    assert float(last["val/tumour/tumour/dice"]) == pytest.approx(found["val/tumour/tumour/dice"])


def test_training_again_resumes_and_changes_nothing(truevox, study):
    run = study.folder / "run"
    arguments = ["train", study.recipe, "--data", study.table, "--out", run, "--device", "cpu"]
    assert truevox(*arguments).code == 0
    weights = (run / "model" / "weights.safetensors").read_bytes()
    (run / "model" / "weights.safetensors").unlink()
    again = truevox(*arguments, "--workers", "1")
    assert again.code == 0, again.err
    assert "Resuming" in again.err
    assert record(run)["resumed"]
    assert (run / "model" / "weights.safetensors").read_bytes() == weights
    longer = truevox(*arguments, "--set", "train.max_steps=5")
    assert longer.code == 0, longer.err
    assert "planned for 4 steps" in longer.err
    assert record(run)["last"]["step"] == 5
    weights = (run / "model" / "weights.safetensors").read_bytes()
    shorter = truevox(*arguments, "--set", "train.max_steps=3")
    assert shorter.code == 2
    assert "max_steps: 5 then, 3 now" in shorter.err
    other = truevox(
        *arguments,
        "--set",
        "train.max_steps=5",
        "--set",
        "train.learning_rate=0.5",
        "--set",
        "augment.noise=0",
    )
    assert other.code == 2
    assert "another recipe" in other.err
    assert "augment.noise: 0.0, not 0.1; train.learning_rate: 0.5, not 0.01" in other.err
    assert (run / "model" / "weights.safetensors").read_bytes() == weights


def test_a_start_that_fails_does_not_block_its_folder(truevox, study):
    run = study.folder / "run"
    arguments = ["train", study.recipe, "--data", study.table, "--out", run, "--device", "cpu"]
    wrong = truevox(*arguments, "--set", "patch.size=7")
    assert wrong.code == 2
    assert "can't produce" in wrong.err
    assert not run.exists()
    # One that fails later, before its first checkpoint, leaves its record and blocks nothing.
    run.mkdir()
    (run / "recipe.yaml").write_text(study.recipe.read_text().replace("size: 8", "size: 7"))
    assert truevox(*arguments, "--set", "train.max_steps=1").code == 0


def test_a_resume_that_is_refused_leaves_the_finished_run_as_it_is(truevox, trained, tmp_path):
    study, finished = trained
    run = copy_of(finished, tmp_path)
    files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    table = tmp_path / "fewer.csv"
    lines = study.table.read_text().replace("scans/", f"{study.folder}/scans/").splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("p2")) + "\n")
    outcome = truevox("train", study.recipe, "--data", table, "--out", run, "--device", "cpu")
    assert outcome.code == 2
    assert "p2: " in outcome.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == files


def _ended_by(number: int, folder: Path) -> None:
    """Work that is recorded, and that somebody ends."""
    with recorded(folder / "run.json", "x", {}, {}):
        assert record(folder)["status"] == "running"
        os.kill(os.getpid(), number)
        time.sleep(5)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_run_that_is_ended_from_outside_says_so(tmp_path, name):
    number = getattr(signal, name)
    # Under nohup it would be ignored, and stay so.
    found_so = signal.signal(number, signal.SIG_DFL if name != "SIGINT" else signal.default_int_handler)
    before = signal.getsignal(number)
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
            _ended_by(number, tmp_path)
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, found_so)
    found = record(tmp_path)
    assert found["status"] == "interrupted"
    assert found["process"]["pid"] == os.getpid()
    if name != "SIGINT":
        assert getattr(caught.value, "code", None) == 128 + number
        assert f"ended by {name}" in found["error"]


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with recorded(tmp_path / "run.json", "x", {}, {}):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert record(tmp_path)["status"] == "finished"


def test_a_recipe_for_slices_trains_and_predicts(truevox, study):
    for case in ("p1", "p2", "p3", "p4", "p5"):
        for column in ("flair", "t1", "tumour"):
            image = opened(study.file(case, column))
            nibabel.save(image.slicer[:, :, 4:5], study.file(case, column))
    options = settings("network.ndim=2", "train.max_steps=2", "train.val_every=0")
    run, preds = study.folder / "run", study.folder / "preds"
    trained = truevox("train", study.recipe, "--data", study.table, "--out", run, "--device", "cpu", *options)
    assert trained.code == 0, trained.err
    parts = {"loss/cross_entropy", "loss/soft_dice"}
    assert set(record(run)["last"]) == {"step", "loss", "learning_rate", *parts}
    predicted = truevox(
        "predict", run, "--data", study.table, "--out", preds, "--device", "cpu", "--split", "test"
    )
    assert predicted.code == 0, predicted.err
    assert opened(preds / "p4" / "tumour.nii.gz").shape == (10, 12, 1)


@pytest.mark.parametrize(
    "sets", [["align=true"], ["align=true", "spacing=3.5"]], ids=["as stored", "resampled"]
)
def test_images_and_labels_on_other_grids_are_aligned_when_asked(truevox, study, sets):
    for case in ("p1", "p2", "p3", "p4"):
        for column in ("t1", "tumour"):
            image = opened(study.file(case, column))
            nibabel.save(image.slicer[1:, ::2, :], study.file(case, column))
    run, preds = study.folder / "run", study.folder / "preds"
    options = settings(*sets, "train.max_steps=2", "labels={tumour: 1, other: 2}")
    trained = truevox("train", study.recipe, "--data", study.table, "--out", run, "--device", "cpu", *options)
    assert trained.code == 0, trained.err
    predicted = truevox(
        "predict", run, "--data", study.table, "--out", preds, "--device", "cpu", "--split", "test"
    )
    assert predicted.code == 0, predicted.err
    scan, made = opened(study.file("p4", "flair")), opened(preds / "p4" / "tumour.nii.gz")
    assert made.shape == scan.shape
    assert np.array_equal(made.affine, scan.affine)


# ---- predict ----------------------------------------------------------------------


def test_predictions_lie_on_the_scans_own_grid_and_say_what_they_mean(predicted):
    study, _, preds = predicted
    for case in ("p4", "p5"):
        scan = opened(study.file(case, "flair"))
        mask = opened(preds / case / "tumour.nii.gz")
        probability = opened(preds / case / "tumour_probabilities.nii.gz")
        for made in (mask, probability):
            assert made.shape == scan.shape
            assert np.array_equal(made.header.get_sform(), scan.header.get_sform())
            assert made.header["sform_code"] == scan.header["sform_code"]
        assert np.array_equal(voxels(preds / case / "tumour.nii.gz"), probability.get_fdata() > 0.5)
    assert json.loads((preds / "labels.json").read_text())["tumour"]["reference"] == "tumour"
    assert not (preds / "p1").exists()
    assert record(preds)["cases"] == ["p4", "p5"]


def test_memory_is_stated_before_the_run(truevox, predicted, tmp_path):
    study, run, _ = predicted
    outcome = truevox(
        "predict", run, "--data", study.table, "--out", tmp_path, "--split", "val", "--device", "cpu"
    )
    assert outcome.out == ""
    assert outcome.err.startswith("Memory for the largest of 1 scans (p3): about ")
    assert sorted(p.name for p in (tmp_path / "p3").iterdir()) == ["tumour.nii.gz", "volumes.json"]


def test_a_killed_prediction_goes_on_where_it_stopped(truevox, predicted, tmp_path):
    study, run, finished = predicted
    preds = copy_of(finished, tmp_path)
    # As after a kill in the middle of p5: its last file is not there.
    (preds / "p5" / "volumes.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in preds.rglob("*.nii.gz")}
    arguments = ["predict", run, "--data", study.table, "--out", preds, "--split", "test", "--device", "cpu"]
    assert truevox(*arguments).code == 0
    changed = {p.parent.name for p, then in before.items() if p.stat().st_mtime_ns != then}
    assert changed == {"p5"}
    assert (
        voxels(preds / "p5" / "tumour.nii.gz").tobytes()
        == voxels(finished / "p5" / "tumour.nii.gz").tobytes()
    )
    before = {p: p.stat().st_mtime_ns for p in preds.rglob("*.nii.gz")}
    assert truevox(*arguments, "--overwrite", "--probabilities").code == 0
    assert all(p.stat().st_mtime_ns != then for p, then in before.items())


def test_predictions_of_another_model_are_not_mixed(truevox, predicted, tmp_path):
    study, run, finished = predicted
    preds = copy_of(finished, tmp_path)
    described = json.loads((preds / "p4" / "volumes.json").read_text())
    (preds / "p4" / "volumes.json").write_text(json.dumps(described | {"model_sha256": "another"}))
    arguments = ["predict", run, "--data", study.table, "--out", preds, "--split", "test", "--device", "cpu"]
    refused = truevox(*arguments)
    assert refused.code == 2
    assert "predictions of another model" in refused.err
    assert truevox(*arguments, "--overwrite").code == 0


def test_cases_that_fail_are_listed_and_the_others_go_on(truevox, predicted, study, tmp_path):
    _, run, _ = predicted
    whole = study.file("p4", "t1").read_bytes()
    study.file("p4", "t1").write_bytes(whole[: len(whole) // 2])
    preds = tmp_path / "preds"
    arguments = ["predict", run, "--data", study.table, "--out", preds, "--split", "test", "--device", "cpu"]
    outcome = truevox(*arguments)
    assert outcome.code == 1
    assert "1 of 2 cases predicted" in outcome.err
    [row] = rows_of(preds / "failures.csv")
    assert row["case"] == "p4"
    assert row["file"] == str(study.file("p4", "t1"))
    assert row["message"].startswith("The file is truncated or damaged.")
    assert row["remedy"]
    assert (preds / "p5" / "tumour.nii.gz").exists()
    assert not (preds / "p4").exists()
    assert record(preds)["failed"] == ["p4"]
    study.file("p4", "t1").write_bytes(whole)
    assert truevox(*arguments).code == 0
    assert not (preds / "failures.csv").exists()


def test_records_of_a_case_go_to_folders_of_their_own(truevox, predicted, tmp_path):
    study, run, _ = predicted
    table = study.folder / "records.csv"
    scans = [f"scans/{case}_flair.nii.gz,scans/{case}_t1.nii.gz" for case in ("p4", "p5")]
    table.write_text(f"case,record,flair,t1\np4,before,{scans[0]}\np4,after,{scans[1]}\n")
    assert truevox("predict", run, "--data", table, "--out", tmp_path, "--device", "cpu").code == 0
    assert (tmp_path / "p4" / "before" / "tumour.nii.gz").exists()
    assert (tmp_path / "p4" / "after" / "tumour.nii.gz").exists()
    out = truevox("volumes", tmp_path).out.splitlines()
    assert [line.split(",")[0] for line in out[1:]] == ["p4/after"] * 2 + ["p4/before"] * 2


# ---- volumes ----------------------------------------------------------------------


def expected_volumes(study, preds: Path, case: str) -> dict[str, float]:
    """From the files alone: |det| of the affine is the volume of a voxel in mm3."""
    size = abs(np.linalg.det(opened(study.file(case, "flair")).affine[:3, :3])) / 1000
    probability = opened(preds / case / "tumour_probabilities.nii.gz").get_fdata()
    return {"expected": probability.sum() * size, "threshold": (probability > 0.5).sum() * size}


@pytest.mark.parametrize("kept", [True, False], ids=["with probabilities", "without"])
def test_volumes_are_those_of_the_files(truevox, predicted, tmp_path, kept):
    study, _, finished = predicted
    preds = copy_of(finished, tmp_path)
    for path in preds.rglob("*_probabilities.nii.gz"):
        if not kept:
            path.unlink()
    out = tmp_path / "tables" / "volumes.csv"
    assert truevox("volumes", preds, "--out", out).code == 0
    rows = rows_of(out)
    assert {(r["case"], r["method"], r["status"]) for r in rows} == {
        (case, method, "ok") for case in ("p4", "p5") for method in ("expected", "threshold")
    }
    for row in rows:
        truth = expected_volumes(study, finished, row["case"])[row["method"]]
        assert float(row["volume_ml"]) == pytest.approx(truth, rel=1e-5)
        # One case validated, at the last of four steps; patches were centred on the label half of the time.
        wanted = {"loss": "CrossEntropy + SoftDice", "loss_unbiased": "no", "calibrated": "no"}
        wanted |= {"training_steps": "4", "validation_cases": "1"}
        assert {name: row[name] for name in wanted} == wanted
        assert "patches centred on the label; in validation" in row["note"]
        assert f"{float(row['validation_bias_ml']):+.3g} ml" in row["note"]
    assert record(out.parent)["command"] == "volumes"
    printed = list(csv.DictReader(truevox("volumes", preds).out.splitlines()))
    assert printed == rows


def test_volumes_beside_the_predictions_leave_their_record_alone(truevox, predicted, tmp_path):
    preds = copy_of(predicted[2], tmp_path)
    before = (preds / "run.json").read_bytes()
    assert truevox("volumes", preds, "--out", preds / "volumes.csv").code == 0
    assert (preds / "run.json").read_bytes() == before
    assert json.loads((preds / "volumes.run.json").read_text())["command"] == "volumes"


def test_a_changed_label_map_has_no_expected_volume(truevox, predicted, tmp_path):
    """volumes.json was written with another label map: its expected volume is not this one's."""
    preds = copy_of(predicted[2], tmp_path)
    (preds / "p4" / "tumour_probabilities.nii.gz").unlink()
    image = opened(preds / "p4" / "tumour.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image(1 - voxels(preds / "p4" / "tumour.nii.gz"), image.affine),
        preds / "p4" / "tumour.nii.gz",
    )
    outcome = truevox("volumes", preds, "--out", tmp_path / "volumes.csv")
    assert outcome.code == 1
    [failed] = rows_of(tmp_path / "failures.csv")
    assert (failed["case"], failed["method"]) == ("p4", "expected")
    assert "not the one that was predicted" in failed["message"]


# ---- evaluate ----------------------------------------------------------------------


def test_evaluate_scores_the_cases_that_were_predicted(truevox, predicted, tmp_path):
    study, _, preds = predicted
    outcome = truevox("evaluate", preds, "--data", study.table, "--out", tmp_path)
    assert outcome.code == 0
    assert "2 of the 5 cases" in outcome.err
    assert "dice" in outcome.out
    rows = {(r["case"], r["metric"]): r for r in rows_of(tmp_path / "metrics.csv")}
    assert {case for case, _ in rows} == {"p4", "p5"}
    for case in ("p4", "p5"):
        p, r = voxels(preds / case / "tumour.nii.gz") > 0, voxels(study.file(case, "tumour")) > 0
        assert float(rows[case, "dice"]["value"]) == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))
        difference = (p.sum() - float(r.sum())) * 1.0 * 1.5 * 2.0 / 1000
        assert float(rows[case, "volume_difference_ml"]["value"]) == pytest.approx(difference, rel=1e-5)
    totals = {m["metric"]: m for m in json.loads((tmp_path / "summary.json").read_text())["metrics"]}
    mean = np.mean([float(rows[case, "dice"]["value"]) for case in ("p4", "p5")])
    assert totals["dice"]["mean"] == pytest.approx(mean)
    assert totals["dice"]["n"] == 2
    assert record(tmp_path)["cases"] == ["p4", "p5"]


def test_evaluate_lists_what_is_missing(truevox, predicted, tmp_path):
    study, _, preds = predicted
    outcome = truevox("evaluate", preds, "--data", study.table, "--out", tmp_path, "--split", "val")
    assert outcome.code == 1
    assert [row["case"] for row in rows_of(tmp_path / "failures.csv")] == ["p3"]
    assert {row["status"] for row in rows_of(tmp_path / "metrics.csv")} == {"failed"}


# ---- describe, demo ----------------------------------------------------------------------


def test_describe_prints_the_graph_of_a_recipe_and_of_a_run(truevox, trained):
    study, run = trained
    recipe = truevox("describe", study.recipe)
    assert recipe.code == 0
    assert "per case" in recipe.out
    for name in ("RandomCrop", "GridCrop", "Put", "field of view"):
        assert name in recipe.out
    described = truevox("describe", run, "--data", study.table, "--case", "p4")
    assert described.code == 0
    assert "10x12x9  1.00x1.50x2.00 mm" in described.out
    assert "Memory of a prediction (batches of 8)" in described.out
    changed = truevox("describe", study.recipe, "--set", "predict.size=12")
    assert "size=12" in changed.out
    assert truevox("describe", run, "--set", "predict.size=12").code == 2


def test_demo_hands_on_its_options(truevox, tmp_path, monkeypatch):
    import_module("truevox.demo")

    seen: list[object] = []
    monkeypatch.setattr(
        sys.modules["truevox.demo"],
        "run_demo",
        lambda out, **options: seen.append((out, options)),
        raising=False,
    )
    assert truevox("demo", "--out", tmp_path / "demo", "--steps", "3").code == 0
    assert truevox("demo", "--out", tmp_path / "demo").code == 0
    assert truevox("demo", "--out", tmp_path / "demo", "--quick").code == 0
    assert seen == [
        (tmp_path / "demo", {"steps": steps, "quick": quick})
        for steps, quick in ((3, False), (None, False), (None, True))
    ]
    assert record(tmp_path / "demo")["status"] == "finished"
