"""Running an evaluation: settings, label tables, resuming, processes and clusters."""

from __future__ import annotations

import json
import math
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from truevox import io
from truevox.errors import CaseError, FileError, LabelError, SettingsError
from truevox.evaluation import EvaluationSettings, running, scoring
from truevox.evaluation.cluster import workers
from truevox.evaluation.folders import match_folders
from truevox.evaluation.jobs import Job, Result
from truevox.evaluation.label_tables import beside, choose_labels
from truevox.evaluation.resume import Kept, fingerprint
from truevox.evaluation.running import score_all
from truevox.evaluation.tables import write_evaluation
from truevox.image import Image
from truevox.space import Grid

DICE = EvaluationSettings(metrics=("dice", "jaccard"))


class Killed(BaseException):
    """Nothing in the library catches it."""


def make(folder: Path, count: int) -> list[Job]:
    """Cases whose prediction has k + 1 voxels of the reference's two."""
    grid = Grid((4, 4, 4))
    for k in range(count):
        for side, voxels in (("mine", k + 1), ("theirs", 2)):
            data = np.zeros(64, np.uint8)
            data[:voxels] = 1
            image = Image(torch.from_numpy(data.reshape(1, 4, 4, 4)), grid, "label")
            io.save(image, folder / side / f"c{k}.nii.gz")
    return match_folders(folder / "mine", folder / "theirs").jobs


# ---- settings --------------------------------------------------------------------------------


def test_settings_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "evaluate.yaml"
    file.write_text(
        "metrics: [dice, 'jaccard:tumour']\nlabels: {tumour: 1, whole: [1, 2]}\n"
        "lesions: {rule: any, min_ml: 0.01}\nempty: {both: perfect}\nmissing: worst\ntolerance_mm: 0.5\n"
    )
    found = EvaluationSettings.from_file(file, resample=True)
    assert [one.id for one in found.definitions("tumour")] == ["dice/voxel", "jaccard/voxel"]
    assert [one.id for one in found.definitions("whole")] == ["dice/voxel"]
    assert found.empty.policy().both == "perfect"
    assert (found.missing, found.tolerance_mm, found.resample) == ("worst", 0.5, True)
    assert found.lesion_rule is not None
    assert (found.lesion_rule.rule, found.lesion_rule.min_ml) == ("any", 0.01)
    # What is written reads back as the same.
    assert EvaluationSettings.make(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metric: [dice]", "metric: there is no such key"),
        ("missing: maybe", "missing: input should be 'failed' or 'worst', got 'maybe'"),
        ("metrics: []", "at least one metric"),
        ("lesions: {rules: any}", "lesions.rules: there is no such key"),
        ("tolerance_mm: -1", "tolerance_mm: input should be greater than 0"),
        ("- dice", "no mapping"),
        ("metrics: [", "no YAML"),
    ],
)
def test_mistakes_in_settings(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "evaluate.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match="settings") as error:
        EvaluationSettings.from_file(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_a_metric_that_does_not_exist_is_refused_before_a_file_is_read() -> None:
    job = Job("a", Path("nowhere.nii.gz"), Path("nowhere.nii.gz"))
    for names in (("dice", "dise"), ("dice", "dise:tumour")):
        with pytest.raises(SettingsError, match="no metric 'dise'"):
            score_all([job], EvaluationSettings(metrics=names))
    with pytest.raises(FileError, match="can't be read"):
        EvaluationSettings.from_file("nowhere.yaml")


def test_lesions_are_listed_when_a_metric_of_lesions_is_asked_for() -> None:
    assert EvaluationSettings(metrics=("dice",)).lesion_rule is None
    found = EvaluationSettings(metrics=("dice", "lesion_f1")).lesion_rule
    assert found is not None
    assert found.rule == "iou@0.5/optimal"


# ---- label tables ----------------------------------------------------------------------------


def test_label_tables_of_all_kinds(tmp_path: Path) -> None:
    assert choose_labels(None).labels is None
    words = choose_labels("core=1+3, edema=2, whole=core+edema, ignore=255")
    assert words.labels is not None
    assert words.labels.names == {"core": (1, 3), "edema": 2, "whole": (1, 3, 2)}
    assert words.labels.ignore == 255
    assert choose_labels({"lesion": "nonzero"}).binary
    assert choose_labels({"background": 0, "a": 2}).labels == choose_labels("a=2").labels
    nnunet = tmp_path / "dataset.json"
    nnunet.write_text(
        json.dumps({"labels": {"background": 0, "a": 1, "b": [1, 2]}, "channel_names": {"0": "CT"}})
    )
    snap = tmp_path / "snap.txt"
    snap.write_text('# ITK-SNAP\n0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "liver"\n')
    assert choose_labels(str(nnunet)).labels == choose_labels("a=1,b=1+2").labels
    assert choose_labels(str(snap)).labels == choose_labels("liver=1").labels
    (tmp_path / "labels.json").write_text(json.dumps({"out": {"names": {"x": 4}, "reference": "mask"}}))
    assert choose_labels(str(tmp_path / "labels.json")).labels == choose_labels("x=4").labels
    # Beside the files: TrueVox first, then nnU-Net.
    assert beside(tmp_path, tmp_path).labels == choose_labels("x=4").labels
    (tmp_path / "labels.json").unlink()
    assert beside(tmp_path, tmp_path / "elsewhere").source == str(nnunet)
    assert beside(tmp_path / "preds", tmp_path / "labelsTr").labels == choose_labels("a=1,b=1+2").labels
    assert beside(tmp_path / "preds", tmp_path / "truth").labels is None


@pytest.mark.parametrize("text", ["tumour", "tumour=", "=1", "a=1,a=2", "a=nonzero,b=2"])
def test_labels_that_can_not_be_understood(text: str) -> None:
    with pytest.raises(SettingsError):
        choose_labels(text)


def test_labels_that_are_no_table() -> None:
    with pytest.raises(LabelError, match="lacks"):
        choose_labels("whole=core+edema")


# ---- resuming --------------------------------------------------------------------------------


def test_a_killed_run_goes_on_and_gives_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make(tmp_path, 5)
    write_evaluation(tmp_path / "whole", score_all(jobs, DICE))
    scored: list[str] = []
    real = scoring.score

    def dies(job: Job, settings: EvaluationSettings) -> Result:
        if job.case == "c3" and not scored.count("c3"):
            scored.append("c3")
            raise Killed
        scored.append(job.case)
        return real(job, settings)

    monkeypatch.setattr(running, "score", dies)
    file = tmp_path / "resume.jsonl"
    with pytest.raises(Killed):
        score_all(jobs, DICE, kept=Kept(file))
    with file.open("a") as stream:
        stream.write('{"key": "cut o')  # a line that the kill cut off
    scored.clear()
    scored.append("c3")
    found = score_all(jobs, DICE, kept=Kept(file))
    assert scored == ["c3", "c3", "c4"]
    write_evaluation(tmp_path / "again", found)
    for name in ("metrics.csv", "cases.csv", "summary.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # The third time nothing is left to do, and the file holds a line for each case.
    scored.clear()
    score_all(jobs, DICE, kept=Kept(file))
    assert scored == []
    assert len(file.read_text().splitlines()) == 5
    scored.append("c3")
    score_all(jobs, DICE, kept=Kept(file, fresh=True))
    assert scored == ["c3", "c0", "c1", "c2", "c3", "c4"]


def test_what_changed_is_scored_again(tmp_path: Path) -> None:
    [job, *_] = make(tmp_path, 1)
    assert job.prediction is not None
    before = fingerprint(job, DICE)
    assert fingerprint(job, EvaluationSettings(metrics=("dice",))) != before
    os.utime(job.prediction, ns=(1, 1))
    assert fingerprint(job, DICE) != before


def test_failures_are_tried_again(tmp_path: Path) -> None:
    jobs = make(tmp_path, 2)
    good = (tmp_path / "mine" / "c1.nii.gz").read_bytes()
    (tmp_path / "mine" / "c1.nii.gz").write_bytes(b"no image")
    file = tmp_path / "resume.jsonl"
    assert [one.case for one in score_all(jobs, DICE, kept=Kept(file)).failures] == ["c1"]
    (tmp_path / "mine" / "c1.nii.gz").write_bytes(good)
    assert score_all(jobs, DICE, kept=Kept(file)).failures == []


def test_not_a_number_is_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "resume.jsonl")
    kept.add("k", Result({"a": [["dice", math.nan, "1", "undefined", "dice/voxel"]]}))
    found = Kept(kept.path).get("k")
    assert found is not None
    assert math.isnan(found.values["a"][0][1])


# ---- processes and clusters -------------------------------------------------------------------


def test_processes_give_the_same_rows(tmp_path: Path) -> None:
    jobs = make(tmp_path, 3)
    seen: list[int] = []
    alone = score_all(jobs, DICE, advance=lambda done, text, whole=None: seen.append(done))
    assert seen == [1, 2, 3]
    assert score_all(jobs, DICE, n_jobs=2).rows == alone.rows
    assert [row["value"] for row in alone.rows if row["metric"] == "dice"] == [2 / 3, 1.0, 0.8]


def test_a_local_dask_cluster_gives_the_same_rows(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra 'dask'")
    jobs = make(tmp_path, 3)
    alone = score_all(jobs, DICE).rows
    assert score_all(jobs, DICE, n_jobs=1, cluster="local").rows == alone
    # One that runs already, by its address.
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as made:
        assert score_all(jobs, DICE, cluster=made.scheduler_address).rows == alone
        assert made.workers  # it goes on after us


def test_a_backend_that_gives_nothing_back_before_all_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make(tmp_path, 3)
    monkeypatch.setattr(running, "_streams", lambda: False)
    monkeypatch.setattr(running, "_CHUNK", 2)
    assert score_all(jobs, DICE).rows == score_all(jobs, DICE).rows
    assert len(score_all(jobs, DICE).rows) == 6


def test_clusters_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    if find_spec("distributed") is not None:
        with pytest.raises(SettingsError, match="does not answer"), workers("nonsense://", 1):
            pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    for name, extra in (("tcp://nowhere:8786", "Dask"), ("ray", "Ray")):
        with pytest.raises(SettingsError, match=f"{extra} is not installed") as error, workers(name, 1):
            pass
        assert f"truevox[{extra.lower()}]" in str(error.value)


def test_a_process_that_was_killed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def dies(job: Job, settings: EvaluationSettings) -> Result:
        raise TerminatedWorkerError("SIGKILL")

    monkeypatch.setattr(running, "score", dies)
    with pytest.raises(CaseError, match="was killed") as error:
        score_all(make(tmp_path, 1), DICE)
    assert "fewer --jobs" in str(error.value)
