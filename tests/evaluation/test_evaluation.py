"""Evaluation of a cohort: every case is in the tables, with its score or with its failure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from truevox import io
from truevox.cohort import Case, Cohort
from truevox.errors import FileError, SettingsError
from truevox.evaluation import METRIC_COLUMNS, SUMMARY_COLUMNS, evaluate, summary
from truevox.files import write_csv
from truevox.image import Image
from truevox.labels import Labels
from truevox.measures import Output, write_outputs
from truevox.space import Grid

GRID = Grid((4, 4, 1), np.diag([-2.0, 2.0, 5.0, 1]))  # a voxel is 0.02 ml


def mask(*values: int, grid: Grid = GRID) -> Image:
    """A label image whose first voxels have these values."""
    data = np.zeros(math.prod(grid.shape), np.uint8)
    data[: len(values)] = values
    return Image(torch.from_numpy(data.reshape(1, *grid.shape)), grid, "label")


def build(folder: Path, cases: Mapping[str, tuple[Image | None, Image | None]], labels: Labels) -> Cohort:
    """Predictions and references of a cohort on disk; None is a file that is missing."""
    write_outputs(folder / "preds", {"out": Output(labels, "mask")})
    made = []
    for name, (predicted, reference) in cases.items():
        if predicted is not None:
            io.save(predicted, folder / "preds" / name / "out.nii.gz")
        if reference is not None:
            io.save(reference, folder / f"{name.replace('/', '_')}.nii.gz")
        case, _, record = name.partition("/")
        made.append(Case(case, {"mask": folder / f"{name.replace('/', '_')}.nii.gz"}, record or None))
    return Cohort(made)


def test_scores_of_two_labels(tmp_path: Path) -> None:
    labels = Labels({"a": 1, "b": [2, 5]})
    cohort = build(tmp_path, {"p1": (mask(1, 1, 2, 2, 0), mask(1, 0, 2, 5, 5))}, labels)
    found = evaluate(tmp_path / "preds", cohort)
    assert found.failures == []
    values = {(row["label"], row["metric"]): row["value"] for row in found.rows}
    assert values == pytest.approx(
        {
            ("a", "dice"): 2 / 3,
            ("a", "volume_difference_ml"): 0.02,
            ("a", "absolute_volume_difference_ml"): 0.02,
            ("b", "dice"): 4 / 5,
            ("b", "volume_difference_ml"): -0.02,
            ("b", "absolute_volume_difference_ml"): 0.02,
        }
    )
    assert {row["definition"] for row in found.rows if row["metric"] == "dice"} == {"dice/voxel"}
    write_csv(tmp_path / "metrics.csv", found.rows, METRIC_COLUMNS)
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header.startswith("case,label,metric,value,unit,status")


def test_every_case_is_listed(tmp_path: Path) -> None:
    shifted = Grid(GRID.shape, GRID.affine + np.array([[0, 0, 0, 1.5], [0] * 4, [0] * 4, [0] * 4]))
    cohort = build(
        tmp_path,
        {
            "both_empty": (mask(), mask()),
            "missed": (mask(), mask(1)),
            "spurious": (mask(1), mask()),
            "good": (mask(1, 1), mask(1, 1)),
            "no_prediction": (None, mask(1)),
            "no_reference": (mask(1), None),
            "moved": (mask(1, grid=shifted), mask(1)),
            "other_shape": (mask(1, grid=GRID.with_spacing(7)), mask(1)),
            "undeclared": (mask(1), mask(1, 7)),
        },
        Labels({"tumour": 1}),
    )
    found = evaluate(tmp_path / "preds", cohort)
    status = {row["case"]: row["status"] for row in found.rows if row["metric"] == "dice"}
    assert status == {
        "both_empty": "undefined",
        "missed": "missed",
        "spurious": "spurious",
        "good": "ok",
        **dict.fromkeys(["no_prediction", "no_reference", "moved", "other_shape", "undeclared"], "failed"),
    }
    messages = {f.case: f.message for f in found.failures}
    assert messages["no_prediction"] == "The prediction is missing."
    assert messages["no_reference"] == "The file does not exist."
    assert "largest corner displacement 1.5 mm (tolerance less than half a voxel)" in messages["moved"]
    assert "not on the same grid" in messages["other_shape"]
    assert "does not declare" in messages["undeclared"]
    assert "\n" not in found.failures[2].as_row()["message"]

    one = next(s for s in summary(found.rows) if s.metric == "dice")
    assert (one.n, one.n_undefined, one.n_missed, one.n_spurious, one.n_failed) == (3, 1, 1, 1, 5)
    assert one.mean == pytest.approx(1 / 3)
    assert one.median == 0.0
    assert one.sd == pytest.approx(math.sqrt(1 / 3))
    difference = next(s for s in summary(found.rows) if s.metric == "volume_difference_ml")
    assert (difference.n, difference.n_undefined, difference.n_failed) == (4, 0, 5)
    assert set(difference.as_row()) == set(SUMMARY_COLUMNS)


def test_processes_give_the_same_rows(tmp_path: Path) -> None:
    cohort = build(tmp_path, {f"p{k}": (mask(*[1] * k), mask(1, 1)) for k in range(4)}, Labels({"a": 1}))
    alone, together = evaluate(tmp_path / "preds", cohort), evaluate(tmp_path / "preds", cohort, n_jobs=2)
    assert str(alone.rows) == str(together.rows)


def test_ignored_voxels_count_for_neither(tmp_path: Path) -> None:
    labels = Labels({"a": 1}, ignore=9)
    cohort = build(tmp_path, {"p1": (mask(1, 1, 1, 1), mask(1, 9, 9, 0))}, labels)
    values = {row["metric"]: row["value"] for row in evaluate(tmp_path / "preds", cohort).rows}
    assert values["dice"] == pytest.approx(2 / 3)
    assert values["volume_difference_ml"] == pytest.approx(0.02)


def test_overlapping_regions_are_masks_of_their_own(tmp_path: Path) -> None:
    labels = Labels({"whole": [1, 2], "core": [2]})
    data = np.zeros((2, 4, 4, 1), np.uint8)
    data[0, 0, :3] = data[1, 0, :1] = 1
    cohort = build(tmp_path, {"p1": (Image(torch.from_numpy(data), GRID, "label"), mask(2, 1, 1, 1))}, labels)
    found = evaluate(tmp_path / "preds", cohort)
    assert found.failures == []
    values = {row["label"]: row["value"] for row in found.rows if row["metric"] == "dice"}
    assert values == pytest.approx({"whole": 6 / 7, "core": 1.0})


def test_records_are_folders_inside_the_case(tmp_path: Path) -> None:
    cases = {"p1/r1": (mask(1), mask(1)), "p1/r2": (mask(1), mask(1, 1)), "p2/r1": (mask(1), mask(0, 1))}
    found = evaluate(tmp_path / "preds", build(tmp_path, cases, Labels({"a": 1})))
    assert [row["case"] for row in found.rows if row["metric"] == "dice"] == list(cases)
    assert found.failures == []


def test_settings_that_can_not_be_evaluated(tmp_path: Path) -> None:
    cohort = build(tmp_path, {"p1": (mask(1), mask(1))}, Labels({"a": 1}))
    with pytest.raises(SettingsError, match="no column 'truth'"):
        evaluate(tmp_path / "preds", cohort, {"out": Output(Labels({"a": 1}), "truth")})
    with pytest.raises(SettingsError, match="No output"):
        evaluate(tmp_path / "preds", cohort, {"out": Output(Labels({"a": 1}))})
    with pytest.raises(FileError, match=r"no such folder"):
        evaluate(tmp_path / "nowhere", cohort)
