"""Our side of the benchmarks does the work that it claims to do, on scans of noise; nothing is timed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """Imports a benchmark by name, and forgets it afterwards."""
    names = ("common", "contenders", "same_work", "sampling", "inference", "losses", "metrics")
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cases as BraTS stores them: axes that run to the left and to the back."""
    rng = np.random.default_rng(0)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for k in range(2):
        case = tmp_path / f"case_{k}"
        case.mkdir()
        for name in ("FLAIR", "T1"):
            voxels = rng.integers(0, 900, (40, 36, 32)).astype(np.int16)
            nib.save(nib.Nifti1Image(voxels, affine), case / f"{name}.nii.gz")
        mask = np.zeros((40, 36, 32), np.uint8)
        mask[10:22, 8:20, 9:24] = 1
        nib.save(nib.Nifti1Image(mask, affine), case / "GT_W.nii.gz")
    return tmp_path


@pytest.mark.parametrize("contender", ["truevox", "floor"])
def test_patches_are_those_of_scipy(bench, folder: Path, tmp_path: Path, contender: str) -> None:
    same_work = bench("same_work")
    cases = bench("common").find_cases(folder)
    case = same_work.with_indices(cases[0], tmp_path)
    stream = bench("contenders").CONTENDERS[contender]([case], ["flair", "t1", *"ijk"], 16, False)
    # The floor fills the outer half voxel with zeros, which counts as missing and as nothing else.
    found = same_work.same_work(stream, case, 4)
    assert found["agree"]
    assert found["missing"] <= (0.0 if contender == "truevox" else 0.2)


def test_the_comparison_sees_a_patch_from_elsewhere(bench, folder: Path, tmp_path: Path) -> None:
    same_work = bench("same_work")
    case = same_work.with_indices(bench("common").find_cases(folder)[0], tmp_path)
    for wrong in range(2):  # an image moved by a voxel; a label moved by a voxel

        def moved(wrong: int = wrong):
            for batch in bench("contenders").truevox([case], ["flair", "t1", *"ijk"], 16, False):
                x, y = batch[0][0].copy(), batch[0][1].copy()
                if wrong:
                    y = 1 - y
                else:
                    x[0] = np.roll(x[0], 1, axis=0)
                yield [(x, y)]

        assert not same_work.same_work(moved(), case, 2)["agree"]


def test_batches_hold_patches_of_the_size(bench, folder: Path) -> None:
    stream = bench("contenders").truevox(bench("common").find_cases(folder), ["flair", "t1"], 16, True)
    for _ in range(4):
        ((x, y),) = next(stream)
        assert x.shape == (2, 16, 16, 16)
        assert y.shape == (16, 16, 16)
        assert np.isfinite(x).all()
        assert set(np.unique(y)) <= {0, 1}


def test_whole_volumes_equal_a_plain_sum_of_windows(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("monai")
    inference = bench("inference")
    monkeypatch.setattr(inference, "WINDOW", 16)
    module = inference.network((4, 8))
    scan = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 24, 32, 16)).astype(np.float32))
    ours = inference.truevox(module, window=16)(scan, True).numpy()
    plain = inference.CONTENDERS["forward_2"](module)(scan, True).numpy()
    assert inference.equal(ours, plain)
    assert not inference.equal(ours, plain + 1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_losses_are_those_of_the_formulas(bench, classes: int) -> None:
    losses = bench("losses")
    for name, work in losses.WORKS.items():
        if work.peer == "monai":
            pytest.importorskip("monai")
        found = losses.turns(work, classes, 12, 1)
        assert found["agree"] < 1e-5, name
        if name != "lovasz":  # a sort gives the gradients of equal errors in any order
            assert found["gradient"] < 1e-4, name


def test_the_comparison_of_losses_sees_another_loss(bench) -> None:
    losses = bench("losses")
    work = losses.Work("", losses.WORKS["jaccard_metric"].ours, lambda: losses.nnunet_formula)
    assert losses.turns(work, 2, 12, 1)["agree"] > 0.1


@pytest.mark.parametrize(
    ("name", "peer", "package"),
    [
        ("voxel", "kdtree", "scipy"),
        ("voxel", "monai", "monai"),
        ("surfel", "surface_distance", "surface_distance"),
    ],
)
def test_metrics_are_those_of_the_peer(bench, name: str, peer: str, package: str) -> None:
    pytest.importorskip(package)
    metrics = bench("metrics")
    p, r = np.zeros((2, 20, 18, 16), bool)
    p[4:12, 5:12, 3:9], r[5:13, 5:11, 3:10], p[16, 3, 3] = True, True, True
    work = metrics.WORKS[name]
    (ours, theirs), _ = metrics.turns(work.ours, work.peers[peer](), (p, r), 1)
    for metric in set(ours) & set(theirs):
        assert ours[metric] == pytest.approx(theirs[metric], abs=1e-4), metric
