"""Expected volumes against the reference's: from probabilities, or from what predict measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import truevox as tv
from truevox.cohort import Case, Cohort
from truevox.errors import LabelError
from truevox.evaluation import EvaluationSettings, evaluate
from truevox.evaluation.cases import cohort_jobs
from truevox.evaluation.resume import fingerprint
from truevox.measures import Output
from truevox.metrics import evaluate as measure

GRID = tv.Grid((10, 10, 10), np.diag([1, 2, 5, 1.0]))  # 0.01 ml a voxel
LABELS = tv.Labels({"tumour": 1})
NAMES = ("expected_volume_difference_ml", "volume_difference_ml", "relative_expected_volume_difference")


def image(array: np.ndarray, kind: str) -> tv.Image:
    return tv.Image(torch.from_numpy(array[None].copy()), GRID, kind)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """100 reference voxels; 50 were decided, 120 are expected."""
    truth, mask = np.zeros((2, 10, 10, 10), np.uint8)
    p = np.zeros((10, 10, 10), np.float32)
    truth[0], mask[0, :5], p[0], p[1] = 1, 1, 0.75, 0.45
    tv.save(image(truth, "label"), tmp_path / "truth.nii.gz")
    tv.save(image(mask, "label"), tmp_path / "preds" / "p1" / "tumour.nii.gz")
    tv.save(image(p, "probability"), tmp_path / "preds" / "p1" / "tumour_probabilities.nii.gz")
    return tmp_path


def scored(folder: Path, **settings) -> dict[str, tuple[float, str]]:
    cohort = Cohort([Case("p1", {"mask": folder / "truth.nii.gz"})])
    found = evaluate(
        folder / "preds", cohort, {"tumour": Output(LABELS, "mask")},
        settings=EvaluationSettings(metrics=NAMES, **settings),
    )  # fmt: skip
    folder.joinpath("notes").write_text(found.cases[0]["notes"])
    expected = next(row for row in found.rows if row["metric"] == "expected_volume_difference_ml")
    # What an empty prediction would get, for comparisons: all of the reference is missed.
    assert expected["when_empty"] in (None, pytest.approx(-1.0)) or math.isnan(expected["value"])
    return {row["metric"]: (row["value"], row["status"]) for row in found.rows}


def measured(folder: Path, expected: float, threshold: float) -> None:
    ways = {"expected": expected, "threshold": threshold}
    found = {way: {"tumour": {"volume_ml": ml, "status": "ok"}} for way, ml in ways.items()}
    data = {"outputs": {"tumour": {"voxel_volume_ml": 0.01, **found}}}
    (folder / "preds" / "p1" / "volumes.json").write_text(json.dumps(data), encoding="utf-8")


def test_from_probabilities(folder: Path) -> None:
    found = scored(folder)
    assert found["expected_volume_difference_ml"] == (pytest.approx(0.2, abs=1e-6), "ok")
    assert found["relative_expected_volume_difference"] == (pytest.approx(0.2, abs=1e-6), "ok")
    assert found["volume_difference_ml"] == (pytest.approx(-0.5), "ok")


def test_from_what_predict_measured(folder: Path) -> None:
    (folder / "preds" / "p1" / "tumour_probabilities.nii.gz").unlink()
    measured(folder, 1.2, 0.5)
    found = scored(folder)
    assert found["expected_volume_difference_ml"] == (pytest.approx(0.2), "ok")
    # Not of this label map.
    measured(folder, 1.2, 0.6)
    value, status = scored(folder)["expected_volume_difference_ml"]
    assert (math.isnan(value), status) == (True, "undefined")
    assert "volumes.json is of another label map" in (folder / "notes").read_text()


def test_masks_alone_are_undefined_with_the_reason(folder: Path) -> None:
    (folder / "preds" / "p1" / "tumour_probabilities.nii.gz").unlink()
    value, status = scored(folder)["expected_volume_difference_ml"]
    assert (math.isnan(value), status) == (True, "undefined")
    assert "no probabilities: expected volumes are undefined" in (folder / "notes").read_text()


def test_a_missing_prediction_at_its_worst_expects_nothing(folder: Path) -> None:
    for file in (folder / "preds" / "p1").iterdir():
        file.unlink()
    value, status = scored(folder, missing="worst")["expected_volume_difference_ml"]
    assert (value, status) == (pytest.approx(-1.0), "ok")


def test_a_case_is_scored_again_if_its_volumes_changed(folder: Path) -> None:
    cohort = Cohort([Case("p1", {"mask": folder / "truth.nii.gz"})])
    [job] = cohort_jobs(folder / "preds", cohort, {"tumour": Output(LABELS, "mask")})
    settings = EvaluationSettings(metrics=NAMES)
    before = fingerprint(job, settings)
    measured(folder, 1.2, 0.5)
    assert fingerprint(job, settings) != before


def test_of_arrays() -> None:
    mask = np.array([[1, 1, 0, 0]])
    p = np.array([[0.9, 0.6, 0.4, 0.1]])
    found = measure(mask, mask, (10, 10), ["expected_volume_ml", "volume_difference/expected"], score=p)
    assert [one.value for one in found.values()] == pytest.approx([0.2, 0.0])
    [lacking] = measure(mask, mask, (10, 10), ["expected_volume_difference_ml"]).values()
    assert (lacking.status, lacking.reason) == ("undefined", "there are no probabilities")
    p[0, 0] = np.nan
    holes = measure(mask, mask, (10, 10), ["expected_volume_ml"], score=p)["expected_volume_ml"]
    assert (holes.status, holes.reason) == ("undefined", "probabilities are not known everywhere")
    with pytest.raises(LabelError, match="between 0 and 1"):
        measure(mask, mask, (10, 10), ["expected_volume_ml"], score=255 * mask)
