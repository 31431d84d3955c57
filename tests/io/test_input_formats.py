# pyright: reportArgumentType=false
"""`Input` on files of every format: the closest RAS order, channels, and nothing of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import evaluate, world
from PIL import Image as Pillow

import truevox as tv
from truevox import Grid, Image
from truevox.errors import CaseError

OBLIQUE = np.array([[0, -0.4, 5.9, 3], [-0.45, 0.1, 0.3, 4], [0.05, 0.7, 0.9, 5], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".npz", ".zarr"])
def test_a_ramp_is_where_it_says(suffix: str, tmp_path: Path) -> None:
    grid = Grid((3, 4, 5), OBLIQUE)
    tv.save(Image(torch.from_numpy(world(grid)).float(), grid), tmp_path / f"a{suffix}")
    case = tv.Case("p07", {"ramp": tmp_path / f"a{suffix}"})
    (seen,) = evaluate([tv.Input("ramp", channels=None)], case)
    assert seen.grid.orientation == "RAS"
    assert np.abs(seen.numpy() - world(seen.grid)).max() < 1e-4
    with pytest.raises(CaseError, match="4D with 3 volumes where 3D is expected") as caught:
        evaluate([tv.Input("ramp")], case)
    assert caught.value.file == str(tmp_path / f"a{suffix}")


def test_a_picture_and_its_mask_come_back_as_they_were(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)
    Pillow.fromarray(rows).save(tmp_path / "a.jpg", quality=95)
    mask = np.random.default_rng(1).integers(0, 2, (6, 9)).astype(bool)
    Pillow.fromarray(mask).save(tmp_path / "a.png")
    case = tv.Case("p07", {"scan": tmp_path / "a.jpg", "mask": tmp_path / "a.png"})
    scan, label = evaluate([tv.Input("scan", channels=3), tv.Input("mask", "label")], case)
    assert (scan.shape, scan.grid) == ((3, 9, 6, 1), label.grid)
    stored = case.load("mask", "label")
    tv.save(label.on(stored.grid, mirror=False), tmp_path / "b.png")
    assert np.array_equal(np.asarray(Pillow.open(tmp_path / "b.png")), mask)
