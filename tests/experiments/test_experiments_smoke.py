"""Every experiment runs and writes what it says, on a few phantoms and steps; results are not judged."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
PNG = b"\x89PNG"
Load = Callable[[str], ModuleType]


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a module of experiments/ by name, and forgets all of them afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = [file.stem for file in FOLDER.glob("*.py")]
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def written(folder: Path, name: str) -> tuple[list[dict[str, str]], dict]:
    """Rows and settings that an experiment wrote, beside a figure."""
    assert (folder / f"{name}.png").read_bytes()[:4] == PNG
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def numbers(rows: list[dict[str, str]], *columns: str) -> np.ndarray:
    """Columns (rows, columns) as floats; fails where one is missing or empty."""
    return np.array([[float(row[column]) for column in columns] for row in rows])


def test_volume_bias(experiment: Load, tmp_path: Path) -> None:
    work = experiment("volume_bias")
    work.main(["--steps", "2", "--cases", "12", "--out", str(tmp_path)])
    rows, run = written(tmp_path, "volume_bias_phantom")
    assert {row["group"] for row in rows} >= {"all", "quarter 1", "quarter 4", "fold 2"}
    assert {row["source"] for row in rows} == {*work.LOSSES, work.RATERS, work.MAPS, work.KNOWN}
    found = numbers(rows, "bias_percent", "ci_low", "ci_high", "reference_per_nodule", "patients")
    assert np.isfinite(found).all()
    masks = [row for row in rows if row["kind"] == "mask"]
    dice = numbers(masks, "dice", "dice_low", "dice_high", *(f"dice_rater{r}" for r in range(1, 5)))
    assert ((dice >= 0) & (dice <= 1)).all()
    assert run["plan"]["steps"] == 2
    assert all(isinstance(seen, bool) for seen in run["checks"].values())
    # What theory says does not hang on the training: soft Dice of many independent pixels, seed by seed.
    whole = {row["kind"]: float(row["bias_percent"]) for row in rows
             if row["source"] == work.KNOWN and row["group"] == "all"}  # fmt: skip
    assert whole["soft Dice, nested"] < whole["soft Dice, independent pixels"]


def test_phi_epsilon(experiment: Load, tmp_path: Path) -> None:
    work = experiment("phi_epsilon")
    work.main(["--steps", "1", "--cases", "8", "--repeats", "1", "--out", str(tmp_path)])
    rows, run = written(tmp_path, "phi_epsilon")
    assert {row["setting"] for row in rows} >= {*work.REDUCTIONS, *work.FLAGGED, work.MOSTLY, work.BELOW}
    scores = numbers(rows, "auc_presence", "dice_labelled", "dice_unlabelled", "dice_other_classes")
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.isfinite(numbers(rows, "area_labelled_mm2", "area_unlabelled_mm2", "area_true_mm2")).all()
    assert len(run["checks"]) == len(set(run["checks"]))


def test_gain_before_phases_are_told_apart(experiment: Load) -> None:
    work = experiment("phi_epsilon")
    # Two images; the muscle is 60 pixels in the one and none in the other, beside 30 and 50 of the rest.
    areas = np.array([[30, 60, 50], [30, 0, 50]])
    volumes = (30.0, 30.0, 50.0)
    gain = {name: work.gain_of(one, areas, 4) for name, one in work.settings(volumes, 4).items()}
    few = 0.01
    assert gain["I"] == pytest.approx(0.5 - 0.5 * 2 * few / (1 + few), abs=1e-6)
    # Class-wise: a block of 60 with a chance of 1/2 beside 80 certain ones, which is a tie at 0 and 1.
    every = 0.5 * (1 + 160 / 220)
    almost = 0.5 * (2 * (80 + 60 * few) / (220 + 60 * few) + 160 / (160 + 60 * few))
    assert gain["CI"] == pytest.approx(every - almost, abs=1e-9)
    assert abs(gain["CI"]) < 1e-3
    # Batch-wise: k of 4 images with the label, 2k / (4 + k).
    chance = np.array([1, 4, 6, 4, 1]) / 16
    k = np.arange(5)
    gained = 2 * k / (4 + k) - 2 * few * k / (4 * few + k + 1e-12)
    assert gain["BI"] == pytest.approx(chance @ gained, abs=1e-6)
    assert gain["BI, flagged"] == pytest.approx(1 - 1 / 16)


def test_metric_sensitive(experiment: Load, tmp_path: Path) -> None:
    work = experiment("metric_sensitive")
    work.main(["--steps", "1", "--cases", "12", "--repeats", "1", "--out", str(tmp_path)])
    rows, run = written(tmp_path, "metric_sensitive_phantoms")
    assert len(rows) == 3 * 7
    dice, jaccard = numbers(rows, "dice", "jaccard").T
    assert ((jaccard >= 0) & (jaccard <= dice) & (dice <= 1)).all()
    assert np.isfinite(numbers(rows, "area_percent", "area_percent_low", "area_percent_high")).all()
    with (tmp_path / "metric_sensitive_phantoms_pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == 3 * 2 * 21
    p, raised = numbers(pairs, "p", "p_holm").T
    assert ((p >= 0) & (p <= raised) & (raised <= 1)).all()
    assert run["plan"]["seed"] == 0


def test_scores_of_a_case_are_those_of_its_stack(experiment: Load) -> None:
    work = experiment("metric_sensitive")
    truth = np.zeros((3, 2, 4), np.int64)
    truth[0, 0], truth[1, 0, :2], truth[2, 0] = 1, 2, 2  # case 7 has both structures, case 9 the second only
    mask = np.zeros_like(truth)
    mask[0, 0, :2], mask[1, 0], mask[2, 1] = 1, 2, 1
    found = work.scores_of(mask, truth, np.array([7, 7, 9]), 3)
    assert found["dice"] == pytest.approx([(2 * 2 / 6 + 2 * 2 / 6) / 2, 0])
    assert found["jaccard"] == pytest.approx([0.5, 0])
    assert found["predicted"].tolist() == [6, 4]
    assert found["truth"].tolist() == [6, 4]


def test_real_slices_are_read(experiment: Load, data_dir: Path) -> None:
    images = experiment("images")
    if not (data_dir / "lidc_idri_4raters").is_dir():
        pytest.skip("no lidc_idri_4raters")
    nodules = images.lidc(data_dir, patients=5)
    assert nodules.masks.shape == (len(nodules.images), 4, 64, 64)
    assert nodules.expected == pytest.approx(nodules.masks.mean(1))
    both = images.consensus(nodules, "nodules")
    assert set(both.case[both.test]).isdisjoint(both.case[~both.test])


def test_a_folder_without_the_data_is_told(experiment: Load, tmp_path: Path) -> None:
    images = experiment("images")
    with pytest.raises(SystemExit, match="lidc64_train"):
        images.lidc(tmp_path)
    with pytest.raises(SystemExit, match="images/"):
        images.hippocampus(tmp_path)


def test_interval_coverage(experiment: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = experiment("interval_coverage")
    monkeypatch.setattr(work, "SIZES", (4,))
    assert work.main(["--count", "6", "--out", str(tmp_path)]) in (0, 1)
    with (tmp_path / "interval_coverage.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {*work.METHODS, "by lesion"}
    assert {row["values"] for row in rows if row["statistic"] == "mean"} == {law.name for law in work.LAWS}
    assert (numbers(rows, "coverage") <= 1).all()
    low = {"statistic": "mean", "method": "TrueVox", "values": "normal", "scans": "one each", "patients": 10}
    assert work.broken([low | {"coverage": 0.5}]) == ["normal, one each, 10: 0.5 < 0.92"]
