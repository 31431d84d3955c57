"""The recipes in examples/ build what they say, and the script beside them writes the tables they need."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from truevox.cohort import Cohort
from truevox.recipe import Recipe

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def table(data: str, folder: Path, out: Path) -> list[dict[str, str]]:
    script = [sys.executable, str(EXAMPLES / "make_table.py"), data, str(folder), "--out", str(out)]
    subprocess.run(script, check=True, capture_output=True)
    with out.open(newline="") as stream:
        return list(csv.DictReader(stream))


def make_hippocampus(folder: Path, count: int) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            (folder / name / f"hippocampus_{k:03d}.nii.gz").touch()
    (folder / "images" / "._hippocampus_000.nii.gz").touch()


def make_brats(folder: Path) -> None:
    for k in range(5):
        (folder / f"case_{k}").mkdir(parents=True)
        for name in ("FLAIR", "T1", "GT_W"):
            (folder / f"case_{k}" / f"{name}.nii.gz").touch()


@pytest.mark.parametrize(("name", "channels"), [("hippocampus", 3), ("brats", 1)])
def test_the_recipe_builds(name, channels):
    recipe = Recipe.from_yaml(EXAMPLES / f"{name}.yaml")
    model = recipe.build()
    assert model.predictions[recipe.label].signature.channels == channels
    assert model.inputs == recipe.images


def test_the_hippocampus_table_holds_out_the_last_30(tmp_path):
    make_hippocampus(tmp_path / "data", 33)
    rows = table("hippocampus", tmp_path / "data", tmp_path / "tables" / "cohort.csv")
    assert [row["split"] for row in rows] == ["train"] * 3 + ["val"] * 30
    assert rows[0]["case"] == "hippocampus_000"
    cohort = Cohort.from_csv(tmp_path / "tables" / "cohort.csv")
    assert set(Recipe.from_yaml(EXAMPLES / "hippocampus.yaml").needs) <= set(cohort.columns)
    assert all(path.exists() for case in cohort for path in case.files.values())


def test_the_brats_table_tests_on_the_last_case(tmp_path):
    make_brats(tmp_path / "data")
    rows = table("brats2018", tmp_path / "data", tmp_path / "cohort.csv")
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"]
    cohort = Cohort.from_csv(tmp_path / "cohort.csv")
    assert set(Recipe.from_yaml(EXAMPLES / "brats.yaml").needs) <= set(cohort.columns)
    assert all(path.exists() for case in cohort for path in case.files.values())
