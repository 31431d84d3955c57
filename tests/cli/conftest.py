"""A tiny cohort on oblique grids, a tiny recipe, and a run trained on them once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from truevox.cli import app

RECIPE = """\
images: [flair, t1]
label: tumour
normalise: {mask: nonzero, clip: [0.5, 99.5]}
patch: {size: 8, foreground: 0.5}
augment: {rotation: 10, scaling: 0.1, flip: [0], gamma: 0.3, noise: 0.1}
network: {channels: [2, 4], norm: null}
train: {max_steps: 4, batch_size: 2, learning_rate: 1e-2, val_every: 2, checkpoint_every: 2}
predict: {size: 8, overlap: 0.25, batch_size: 8}
"""
COLUMNS = ("flair", "t1", "tumour")
SHAPE = (10, 12, 9)
SPLITS = {"p1": "train", "p2": "train", "p3": "val", "p4": "test", "p5": "test"}


def oblique_affine() -> np.ndarray:
    """Turned by 20 degrees about z, voxels of 1 x 1.5 x 2 mm, first axis to the left."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([-1.0, 1.5, 2.0])
    affine[:3, 3] = (30, -20, 7)
    return affine


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, oblique_affine() if affine is None else affine), path)
    return path


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two scans and a mask: a bright ball of about three voxels radius in noise."""
    rng = np.random.default_rng(seed)
    centre = np.array(SHAPE) / 2 + rng.uniform(-1, 1, 3)
    distance = np.sqrt(sum((i - c) ** 2 for i, c in zip(np.indices(SHAPE), centre, strict=True)))
    mask = (distance < 3).astype(np.uint8)
    flair = (100 + 80 * mask + rng.normal(0, 5, SHAPE)).astype(np.float32)
    return flair, (200 - 60 * mask + rng.normal(0, 5, SHAPE)).astype(np.float32), mask


@dataclass
class Study:
    """A folder with a cohort and a recipe."""

    folder: Path

    @property
    def table(self) -> Path:
        return self.folder / "cohort.csv"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    def file(self, case: str, column: str) -> Path:
        return self.folder / "scans" / f"{case}_{column}.nii.gz"

    def write_table(self, splits: dict[str, str] | None = None) -> None:
        """The table; the splits tell its cases."""
        with self.table.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["case", "split", *COLUMNS])
            for case, split in (SPLITS if splits is None else splits).items():
                files = (self.file(case, c).relative_to(self.folder) for c in COLUMNS)
                rows.writerow([case, split, *files])


def make_study(folder: Path) -> Study:
    study = Study(folder)
    for k, case in enumerate(SPLITS):
        for column, array in zip(COLUMNS, phantom(k), strict=True):
            write(study.file(case, column), array)
    study.write_table()
    study.recipe.write_text(RECIPE)
    return study


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Outcome:
    """Run ``truevox`` with these arguments, in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of these tests is theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUEVOX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "200")
        patch.delenv("TRUEVOX_DEBUG", raising=False)
        yield


@pytest.fixture
def truevox() -> Callable[..., Outcome]:
    return call


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A cohort of its own for a test that changes it."""
    return make_study(tmp_path / "study")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """A cohort and a run trained on it. Tests leave both as they are."""
    import torch

    torch.set_num_threads(1)
    study = make_study(tmp_path_factory.mktemp("trained"))
    run = study.folder / "run"
    outcome = call("train", study.recipe, "--data", study.table, "--out", run, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    return study, run


@pytest.fixture(scope="session")
def predicted(trained: tuple[Study, Path]) -> tuple[Study, Path, Path]:
    """The same, with predictions of the split 'test'."""
    study, run = trained
    preds = study.folder / "preds"
    options = ("--split", "test", "--probabilities", "--device", "cpu")
    outcome = call("predict", run, "--data", study.table, "--out", preds, *options)
    assert outcome.code == 0, outcome.err
    return study, run, preds
