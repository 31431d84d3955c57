"""``truevox predict`` within a limit of memory, and with options that change the prediction."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest


def _arguments(predicted, out, *more: object) -> list[object]:
    study, run, _ = predicted
    return ["predict", run, "--data", study.table, "--out", out, "--split", "test", "--device", "cpu", *more]


def test_a_limit_changes_no_label(truevox, predicted, tmp_path):
    _, _, finished = predicted
    assert truevox(*_arguments(predicted, tmp_path, "--max-memory", "8GiB")).code == 0
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["max_memory"] == "8GiB"
    for file in finished.glob("*/tumour.nii.gz"):
        mine = nib.load(tmp_path / file.relative_to(finished))
        np.testing.assert_array_equal(np.asarray(mine.dataobj), np.asarray(nib.load(file).dataobj))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("option", "text"),
    [(("--max-memory", "much"), "no size of memory"), (("--precision", "int4"), "Unknown precision")],
)
def test_settings_that_make_no_sense_are_usage_errors(truevox, predicted, tmp_path, option, text):
    refused = truevox(*_arguments(predicted, tmp_path, *option))
    assert refused.code == 2
    assert text in refused.err


def test_a_limit_below_the_least_lists_every_case(truevox, predicted, tmp_path):
    failed = truevox(*_arguments(predicted, tmp_path, "--max-memory", "64MiB"))
    assert failed.code == 1
    with (tmp_path / "failures.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["case"] for row in rows} == {"p4", "p5"}
    assert all("at least" in row["message"] for row in rows)


def test_an_option_is_reported_and_its_results_are_kept_apart(truevox, predicted, tmp_path):
    done = truevox(*_arguments(predicted, tmp_path, "--whole-volume", "--equivalence", "1"))
    assert done.code == 0, done.err
    assert "With whole_volume=True" in done.err
    with (tmp_path / "equivalence.csv").open() as handle:
        (row,) = csv.DictReader(handle)
    assert row["case"] == "p4"
    assert json.loads((tmp_path / "equivalence.json").read_text())["options"] == {"whole_volume": True}
    refused = truevox(*_arguments(predicted, tmp_path))
    assert refused.code == 2
    assert "another model" in refused.err
