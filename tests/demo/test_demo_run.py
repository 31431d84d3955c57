"""The demo from end to end: what it writes, and what the two losses do to volumes."""

from __future__ import annotations

import csv
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import truevox as tv
from truevox.demo import MethodResult, run_demo
from truevox.demo.run import explanation
from truevox.demo.scores import results, volume_points
from truevox.demo.study import LABELS, lesion_model, one_per_case
from truevox.errors import SettingsError

SPLITS = {"train": 2, "val": 1, "test": 3}
CASES = ("p04", "p05", "p06")
SOURCES = ("cross_entropy", "soft_dice")


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("demo") / "out"
    run_demo(out, steps=3, splits=SPLITS)
    yield out
    torch.set_num_threads(threads)


def test_volumes_are_those_of_the_files(made: Path) -> None:
    rows = read_csv(made / "volumes.csv")
    assert list(rows[0])[:5] == ["case", "output", "label", "method", "volume_ml"]
    assert {"case", "label", "method", "volume_ml", "status"} <= set(rows[0])
    found = {(r["source"], r["case"], r["method"]): float(r["volume_ml"]) for r in rows}
    predicted = {(s, c, m) for s in SOURCES for c in CASES for m in ("expected", "threshold")}
    raters = {(f"rater{k}", c, "threshold") for k in (1, 2, 3) for c in CASES}
    assert set(found) == predicted | raters | {("known", c, "expected") for c in CASES}
    assert all(r["status"] == "ok" and r["label"] == "lesion" for r in rows)
    for source in SOURCES:
        image = tv.load(made / source / "preds" / "p05" / "lesion_probabilities.nii.gz", "probability")
        size = abs(np.linalg.det(image.grid.affine[:3, :3])) / 1000
        summed = float(image.numpy().astype(np.float64).sum()) * size
        counted = float((image.numpy() > 0.5).sum()) * size
        assert found[source, "p05", "expected"] == pytest.approx(summed, rel=1e-6)
        assert found[source, "p05", "threshold"] == pytest.approx(counted, rel=1e-6)


def test_metrics_compare_with_every_rater_and_with_the_known_map(made: Path) -> None:
    rows = read_csv(made / "metrics.csv")
    assert list(rows[0])[:6] == ["case", "label", "metric", "value", "unit", "status"]
    kinds = {(r["reference"], r["metric"]) for r in rows}
    assert {m for ref, m in kinds if ref == "known"} == {
        "expected_volume_difference_ml",
        "volume_difference_ml",
    }
    for k in (1, 2, 3):
        assert (f"rater{k}", "dice") in kinds
    volumes = {
        (r["source"], r["case"], r["method"]): float(r["volume_ml"]) for r in read_csv(made / "volumes.csv")
    }
    for row in rows:
        if row["reference"] == "known":
            method = row["definition"].split("/")[1]
            error = volumes[row["source"], row["case"], method] - volumes["known", row["case"], "expected"]
            assert float(row["value"]) == pytest.approx(error, abs=1e-9)
        elif row["metric"] == "volume_difference_ml":
            error = (
                volumes[row["source"], row["case"], "threshold"]
                - volumes[row["reference"], row["case"], "threshold"]
            )
            assert float(row["value"]) == pytest.approx(error, abs=1e-6)


def test_predictions_lie_on_the_scans_grid(made: Path) -> None:
    cohort = tv.Cohort.from_csv(made / "cohort" / "cohort.csv").split("test")
    for case in one_per_case(cohort):
        for source in SOURCES:
            mask = tv.load(made / source / "preds" / case.id / "lesion.nii.gz", "label")
            assert mask.grid == case.header("image").grid


def test_figures_are_pictures(made: Path) -> None:
    names = {p.name for p in made.glob("*.png")}
    assert names == {"training_curve.png", "volumes.png", "overlay_p04.png", "overlay_p05.png"}
    for name in names:
        data = (made / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert width > 600
        assert height > 300


def test_a_saved_model_predicts_the_same(made: Path) -> None:
    case = tv.Cohort.from_csv(made / "cohort" / "cohort.csv")["p06/rater1"]
    again = tv.Model.load(made / "soft_dice" / "model").predict(case)["lesion"]
    saved = tv.load(made / "soft_dice" / "preds" / "p06" / "lesion_probabilities.nii.gz", "probability")
    assert torch.allclose(again.data, saved.data, atol=1e-6)


def test_the_table_goes_to_stdout_and_progress_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_demo(tmp_path / "out", steps=1, splits={"train": 1, "val": 1, "test": 2})
    said = capsys.readouterr()
    assert "Cross-entropy" in said.out
    assert "95 % interval" in said.out
    assert "Training with Soft Dice: done" in said.err
    assert "\x1b" not in said.err


def test_both_losses_start_from_the_same_network() -> None:
    state = torch.random.get_rng_state()
    one, two = (lesion_model(tv.losses.CrossEntropy(), seed=3) for _ in range(2))
    other = lesion_model(tv.losses.CrossEntropy(), seed=4)
    first, second, third = (
        torch.cat([p.flatten() for p in m.module_dict.parameters()]) for m in (one, two, other)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(state, torch.random.get_rng_state())


def test_steps_are_positive(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least one step"):
        run_demo(tmp_path, steps=0)


def table_of(errors: list[float]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Metric and volume rows of one method with these errors of the expected volume, 4 ml known."""
    base = {
        "label": "lesion",
        "unit": "ml",
        "status": "ok",
        "output": "lesion",
        "software": "",
        "source": "a",
    }
    metrics: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    for k, error in enumerate(errors):
        case = f"p{k}"
        for metric, value in (("expected_volume_difference_ml", error), ("volume_difference_ml", -1.0)):
            row = base | {
                "case": case,
                "metric": metric,
                "value": value,
                "definition": "",
                "reference": "known",
            }
            metrics.append(row)
        for rater in ("r1", "r2"):
            row = base | {"case": case, "metric": "dice", "value": 0.5, "definition": "", "reference": rater}
            metrics.append(row)
            volumes.append({"case": case, "source": rater, "method": "threshold", "volume_ml": 4.5})
        volumes.append({"case": case, "source": "known", "method": "expected", "volume_ml": 4.0})
        volumes.append({"case": case, "source": "a", "method": "expected", "volume_ml": 4.0 + error})
    return metrics, volumes


@pytest.mark.parametrize(
    ("errors", "covers"),
    [([-0.3, -0.1, 0.1, 0.3] * 4, True), ([0.5, 0.7, 0.9, 1.1] * 4, False), ([-0.9, -0.7, -0.5] * 5, False)],
)
def test_it_says_what_was_measured(errors: list[float], covers: bool) -> None:
    metrics, volumes = table_of(errors)
    [found], _ = results(metrics, volumes, ["a"])
    assert found.expected.mean == pytest.approx(sum(errors) / len(errors))
    assert found.known_ml == 4.0
    assert found.dice.mean == 0.5
    assert found.covers_zero is covers
    named = MethodResult("soft_dice", found.dice, found.expected, found.mask, found.known_ml)
    assert ("does not cover zero" in explanation([named])[0]) is not covers


def test_points_of_the_figure() -> None:
    _, volumes = table_of([0.25])
    [point] = volume_points(volumes, ["a"])
    assert (point.known, list(point.raters), dict(point.predicted)) == (4.0, [4.5, 4.5], {"a": 4.25})


@pytest.mark.slow
def test_cross_entropy_keeps_the_volume_and_soft_dice_does_not(tmp_path: Path) -> None:
    """Bertels et al. (2021): the direction, on a cohort whose truth is known."""
    cross_entropy, soft_dice = run_demo(tmp_path / "out", quick=True)
    known = cross_entropy.known_ml
    assert cross_entropy.covers_zero
    assert abs(cross_entropy.expected.mean) < 0.08 * known
    assert not soft_dice.covers_zero
    assert soft_dice.expected.mean > 0.15 * known
    # The overlap that it was trained for is what it wins.
    assert soft_dice.dice.mean > cross_entropy.dice.mean
    assert math.isfinite(cross_entropy.mask.mean)
    assert cross_entropy.mask.mean < 0
    assert LABELS.names == {"lesion": 1}
