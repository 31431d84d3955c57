# pyright: reportArgumentType=false
"""DICOM from a table of cases, through a graph, and without its extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dicoms
import numpy as np
import pytest
import torch
from helpers import evaluate

import truevox as tv
from truevox import io
from truevox.errors import FileError
from truevox.io import dicom
from truevox.io.registry import bare, sources
from truevox.pipeline import Cache
from truevox.pipeline.cache import file_identity

VOLUME = np.random.default_rng(0).normal(100, 20, (10, 12, 14)).astype(np.int16)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two cases: a folder of two series each, and a segmentation of the first."""
    rows = ["case,image,mask"]
    for k in range(2):
        folder = tmp_path / f"p{k}"
        dicoms.series(folder / "ct", VOLUME + k, name="1")
        dicoms.series(folder / "ct", VOLUME[:2], name="2")
        scan = tv.load(f"{folder}/ct?series=1")
        bright = tv.Image(
            (scan.data > 110).to(torch.uint8), scan.grid, "label", labels=tv.Labels({"mask": 1})
        )
        dicom.save_seg(bright[:], folder / "mask.dcm", f"{folder}/ct?series=1")
        rows.append(f"c{k},p{k}/ct?series=1,p{k}/mask.dcm?like=ct?series=1")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "cohort.csv"


def test_cells_choose_a_series_and_a_grid(table: Path) -> None:
    cohort = tv.Cohort.from_csv(table)
    for k in range(2):
        case = cohort[f"c{k}"]
        image, mask = case.load("image"), case.load("mask", kind="label")
        np.testing.assert_array_equal(image.numpy()[0], (VOLUME + k).transpose(2, 1, 0))
        assert mask.grid == image.grid == case.header("mask").grid
        np.testing.assert_array_equal(mask.numpy() > 0, image.numpy() > 110)


def test_what_a_path_depends_on(tmp_path: Path) -> None:
    assert bare("ct?series=1") == Path("ct")
    assert sources("ct") == [Path("ct")]
    assert sources("p0/mask.dcm?labels=a&like=ct?series=1") == [Path("p0/mask.dcm"), Path("p0/ct")]
    odd = tmp_path / "what?.nii"
    odd.touch()
    assert bare(odd) == odd
    assert sources(odd) == [odd]


def test_any_name_and_suffix(tmp_path: Path) -> None:
    dicoms.series(tmp_path, VOLUME[:1])
    file = next(tmp_path.iterdir())
    for name in ("IM0001", "a.IMA", "b.dicom", "1.2.840.113"):
        file = file.rename(tmp_path / name)
        np.testing.assert_array_equal(io.read(file)[0][0, :, :, 0], VOLUME[0].T)


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicoms.series(tmp_path, VOLUME[:1])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(FileError, match=r"pip install 'truevox\[dicom\]'"):
        tv.load(tmp_path)
    with pytest.raises(FileError, match=r"pip install 'truevox\[dicom\]'"):
        dicom.list_series(tmp_path)


def test_importing_loads_neither_torch_nor_pydicom() -> None:
    code = "import sys, truevox.io.dicom; print(sorted({'torch', 'pydicom', 'highdicom'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_cache_tells_choices_and_changes_apart(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p0"
    first, second = file_identity(f"{folder}/ct?series=1"), file_identity(f"{folder}/ct?series=2")
    assert first != second
    mask = file_identity(f"{folder}/mask.dcm?like=ct?series=1")
    slice_ = next((folder / "ct").glob("*-1.dcm"))
    slice_.write_bytes(slice_.read_bytes() + b"\0\0")
    assert file_identity(f"{folder}/ct?series=1") != first
    assert file_identity(f"{folder}/mask.dcm?like=ct?series=1") != mask


def test_a_graph_runs_on_cells_with_choices(table: Path, tmp_path: Path) -> None:
    cohort = tv.Cohort.from_csv(table)
    normal = tv.ZScore()(tv.Input("image"))
    wanted = (VOLUME + 1.0 - np.mean(VOLUME + 1.0)) / np.std(VOLUME)
    for _ in range(2):
        out = evaluate([normal], cohort["c1"], cache=Cache(tmp_path / "cache"))[0]
        np.testing.assert_allclose(np.sort(out.numpy().ravel()), np.sort(wanted.ravel()), atol=1e-3)
