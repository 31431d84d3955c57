# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Files that say no spacing: distances and volumes in pixels, and no number that pretends to be more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import truevox as tv
from truevox.cohort import Case, check
from truevox.errors import GeometryError, SettingsError
from truevox.evaluation import EvaluationSettings, evaluate_folders, summary
from truevox.evaluation.settings import LesionSettings
from truevox.measures import Output, volume, volumes_table, write_outputs
from truevox.metrics import definition, evaluate

SQUARE = np.zeros((20, 30), np.uint8)
SQUARE[5:15, 5:15] = 1  # 100 pixels
WIDER = np.zeros((20, 30), np.uint8)
WIDER[5:15, 5:18] = 1  # 130 pixels, 3 further to the right


def picture(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(mask).save(path)


def folders(root: Path, suffix: str = "png") -> tuple[Path, Path]:
    picture(root / "mine" / f"a.{suffix}", WIDER)
    picture(root / "theirs" / f"a.{suffix}", SQUARE)
    return root / "mine", root / "theirs"


def rows_of(found) -> dict[str, tuple[float, str, str]]:
    return {row["metric"]: (row["value"], row["unit"], row["status"]) for row in found.rows}


def test_distances_are_in_pixels_and_areas_are_counts(tmp_path: Path) -> None:
    names = ("dice", "hd", "volume_difference_ml", "relative_volume_difference", "volume_ml")
    found = evaluate_folders(*folders(tmp_path), EvaluationSettings(metrics=names))
    assert rows_of(found) == {
        "dice": (pytest.approx(200 / 230), "1", "ok"),
        "hd": (3, "px", "ok"),
        "volume_difference": (30, "px²", "ok"),
        "relative_volume_difference": (pytest.approx(0.3), "1", "ok"),
        "volume": (130, "px²", "ok"),
    }
    assert not found.failures
    assert "distances are in px, volumes in px²" in found.cases[0]["notes"]
    # Ids say it, and are understood: the report and compare look metrics up by them.
    for row in found.rows:
        assert row["definition"].endswith("/px")
        assert definition(row["definition"]).id == row["definition"]


def test_pages_are_a_volume_of_voxels(tmp_path: Path) -> None:
    for name, mask in (("mine", WIDER), ("theirs", SQUARE)):
        pages = [Pillow.fromarray(mask)] * 3
        (tmp_path / name).mkdir()
        pages[0].save(tmp_path / name / "a.tif", save_all=True, append_images=pages[1:])
    found = evaluate_folders(
        tmp_path / "mine", tmp_path / "theirs", EvaluationSettings(metrics=("volume_difference_ml",))
    )
    assert rows_of(found) == {"volume_difference": (90, "px³", "ok")}


def test_thresholds_in_mm_are_refused_with_those_in_pixels_as_remedy(tmp_path: Path) -> None:
    mine, theirs = folders(tmp_path)
    found = evaluate_folders(mine, theirs, EvaluationSettings(metrics=("dice", "nsd@2mm", "nsd@3px")))
    values = rows_of(found)
    assert values["nsd@2mm"][2] == "failed"
    assert values["dice"][2] == "ok"
    # Two of the four sides of the wider square lie within 3 pixels, wholly or in part; asked of the arrays:
    assert values["nsd@3px"] == (evaluate(WIDER, SQUARE, (1, 1), ["nsd@3mm"])["nsd@3mm"].value, "1", "ok")
    [failure] = found.failures
    assert "says no spacing: nsd@2mm has no value" in failure.message
    assert "nsd@2px" in failure.remedy


def test_volumes_below_which_lesions_do_not_exist_are_refused(tmp_path: Path) -> None:
    settings = EvaluationSettings(metrics=("dice",), lesions=LesionSettings(rule="any", min_ml=0.01))
    [failure] = evaluate_folders(*folders(tmp_path), settings).failures
    assert "min_ml" in failure.message


def test_pixels_are_not_asked_for_where_voxels_have_a_size(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        mask = tv.Image(torch.ones(1, 4, 4, 4, dtype=torch.uint8), tv.Grid((4, 4, 4)), "label")
        tv.save(mask, tmp_path / name / "a.nii.gz")
    found = evaluate_folders(
        tmp_path / "mine", tmp_path / "theirs", EvaluationSettings(metrics=("nsd@2px", "hd95/px"))
    )
    assert [row["status"] for row in found.rows] == ["failed", "failed"]
    assert found.failures[0].remedy == "ask for nsd@2mm"


def test_no_mean_is_of_pixels_and_millimetres(tmp_path: Path) -> None:
    mine, theirs = folders(tmp_path)
    for folder, mask in ((mine, WIDER), (theirs, SQUARE)):
        image = tv.Image(
            mask.T[None, :, :, None].copy(), tv.Grid((30, 20), np.diag([0.1, 0.1, 1, 1])), "label"
        )
        tv.save(image, folder / "b.nii.gz")
    found = evaluate_folders(mine, theirs, EvaluationSettings(metrics=("hd",)))
    means = {(one.metric, one.unit): (one.mean, one.n) for one in summary(found.rows)}
    assert means == {("hd/px", "px"): (3, 1), ("hd", "mm"): (pytest.approx(0.3), 1)}


def test_a_case_that_failed_stands_with_the_others(tmp_path: Path) -> None:
    mine, theirs = folders(tmp_path)
    picture(theirs / "b.png", SQUARE)
    found = evaluate_folders(mine, theirs, EvaluationSettings(metrics=("hd", "volume_difference_ml")))
    lines = {(one.metric, one.n, one.n_failed) for one in summary(found.rows)}
    assert lines == {("hd", 1, 1), ("volume_difference", 1, 1)}


def test_a_volume_says_pixels() -> None:
    grid = tv.Grid((30, 20), unit="px")
    found = volume(tv.Image(torch.full((1, 30, 20, 1), 0.25), grid, "probability"))
    assert np.isnan(found.ml)
    assert (found.px, found.unit, float(found)) == (150, "px²", 150)
    assert "px²=150.0" in repr(found)
    with pytest.raises(GeometryError, match="no millilitres"):
        _ = grid.voxel_volume_ml


def test_a_crop_of_a_picture_is_still_in_pixels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", SQUARE)
    found = volume(tv.load(tmp_path / "a.png", kind="label")[:, 5:10])
    assert (found.unit, found.px) == ("px²", 50)


def test_the_table_of_volumes_counts_pixels(tmp_path: Path) -> None:
    write_outputs(tmp_path, {"cell": Output(tv.Labels({"cell": 1}))})
    picture(tmp_path / "p1" / "cell.png", SQUARE)
    [row] = volumes_table(tmp_path)
    assert np.isnan(row["volume_ml"])
    assert np.isnan(row["voxel_volume_ml"])
    assert (row["volume_px"], row["unit"], row["status"]) == (100, "px²", "ok")
    assert "no spacing" in row["message"]


def test_expected_volumes_that_predict_measured_in_pixels(tmp_path: Path) -> None:
    write_outputs(tmp_path, {"cell": Output(tv.Labels({"cell": 1}))})
    picture(tmp_path / "p1" / "cell.png", SQUARE)
    sizes = {"expected": 104.5, "threshold": 100.0}
    found = {way: {"cell": {"volume_ml": None, "volume_px": n, "status": "ok"}} for way, n in sizes.items()}
    data = {"outputs": {"cell": {"voxel_volume_ml": None, "unit": "px²", **found}}}
    (tmp_path / "p1" / "volumes.json").write_text(json.dumps(data), encoding="utf-8")
    _, row = volumes_table(tmp_path)
    assert (row["method"], row["volume_px"], row["unit"]) == ("expected", 104.5, "px²")


@pytest.mark.parametrize("name", ["lesion_sensitivity/size@0-0.04ml/px", "hd95/px/px"])
def test_what_has_no_meaning_in_pixels(name: str) -> None:
    with pytest.raises(SettingsError):
        definition(name)


# ---- grids of which one, or none, says a spacing ----------------------------------------------------


def test_a_mask_without_spacing_has_that_of_a_reference_of_its_shape(tmp_path: Path) -> None:
    folders(tmp_path)
    mask, affine = torch.tensor(SQUARE.T[None, :, :, None].copy()), np.diag([-0.5, -0.5, 2.0, 1.0])
    affine[:3, 3] = 7, 8, 9
    (tmp_path / "theirs" / "a.png").unlink()
    tv.save(tv.Image(mask, tv.Grid((30, 20), affine), kind="label"), tmp_path / "theirs" / "a.nii.gz")
    for resample in (False, True):
        settings = EvaluationSettings(metrics=("dice", "hd", "volume_difference_ml"), resample=resample)
        found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
        rows = rows_of(found)
        assert rows["dice"][0] == pytest.approx(200 / 230)
        assert rows["hd"] == (pytest.approx(1.5), "mm", "ok")
        assert rows["volume_difference_ml"] == (pytest.approx(30 * 0.5e-3), "ml", "ok")
        assert "says no spacing: compared voxel by voxel" in found.cases[0]["notes"]


@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_pixels_of_another_size_have_no_place(tmp_path: Path, known: bool, resample: bool) -> None:
    """Neither a part of the image, nor the same coordinates: nobody knows."""
    folders(tmp_path)
    (tmp_path / "theirs" / "a.png").unlink()
    mask = torch.tensor(SQUARE.T[None, :25, :, None].copy())
    grid = tv.Grid((25, 20), np.diag([-1.0, -1, 1, 1]), unit="mm" if known else "px")
    tv.save(tv.Image(mask, grid, kind="label"), tmp_path / "theirs" / "a.nii.gz")
    settings = EvaluationSettings(metrics=("dice",), resample=resample)
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    assert "nobody knows where the pixels of one lie" in found.failures[0].message
    assert "pixel for pixel" in found.failures[0].remedy
    assert "--resample" not in found.failures[0].remedy


def test_axes_in_another_direction_are_not_guessed(tmp_path: Path) -> None:
    mask = torch.zeros(1, 6, 5, 4, dtype=torch.uint8)
    mask[:, :2] = 1
    tv.save(tv.Image(mask, tv.Grid((6, 5, 4), unit="px"), kind="label"), tmp_path / "mine" / "a.nii.gz")
    grid = tv.Grid((6, 5, 4), np.diag([-1.0, -1, 1, 1]))
    tv.save(tv.Image(mask, grid, kind="label"), tmp_path / "theirs" / "a.nii.gz")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", EvaluationSettings(resample=True))
    assert "order of axes" in found.failures[0].message


def test_pixels_are_not_sampled_among_millimetres(tmp_path: Path) -> None:
    data = torch.arange(30.0).reshape(1, 6, 5, 1)
    photo = tv.Image(data, tv.Grid((6, 5), unit="px"))
    known = tv.Grid((6, 5), np.diag([0.5, 0.5, 2, 1]))
    there = photo.on(known)
    assert there.grid == known
    assert torch.equal(there.data, data)
    with pytest.raises(GeometryError, match="nobody knows where voxels lie"):
        photo.on(known.crop((0, 0, 0), (3, 3, 1)))
    tv.save(photo, tmp_path / "a.nii.gz")
    tv.save(tv.Image(data[:, :3], known.crop((0, 0, 0), (3, 5, 1))), tmp_path / "b.nii.gz")
    cohort = tv.Cohort([Case("p1", {"t1": tmp_path / "a.nii.gz", "t2": tmp_path / "b.nii.gz"})])
    [problem] = [one for one in check(cohort) if one.kind == "grid"]
    assert "one of the two says no spacing" in problem.message
    assert "resample" not in problem.remedy
