# pyright: reportArgumentType=false
"""The report of files that say no spacing, the colours of its pictures, and where volumes come from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report.folders import LESIONS, table, write_tables

import truevox as tv
from truevox.origin import Origin, VolumeBias
from truevox.report.error_maps import FN, FP, TP, ErrorMap, error_map
from truevox.report.folder import CaseFiles, read_folder, read_folders
from truevox.report.gallery import gallery
from truevox.report.lesions import LESION_COLUMNS, lesion_rows
from truevox.report.origins import origins
from truevox.report.pictures import png
from truevox.space import Grid


def drawn(found: ErrorMap) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(found))).convert("RGB"), int)


def scene(grid: Grid) -> ErrorMap:
    """A large true positive over noise, and a small false negative at its side."""
    codes = np.zeros(grid.shape, np.uint8)
    codes[10:60, 10:50], codes[70:74, 20:24] = TP, FN
    noise = np.random.default_rng(0).integers(0, 255, grid.shape).astype(np.uint8)
    return ErrorMap(codes, grid, noise, (72, 22, 0), None, ())


def test_a_small_error_in_a_noisy_picture_keeps_its_colour() -> None:
    picture = drawn(scene(Grid((100, 60, 1))))
    # 4 x 4 of 100 voxels along 224 pixels; blue stands out of red by more than 100 over any grey.
    blue = picture[..., 2] - picture[..., 0] > 100
    assert blue.sum() == pytest.approx((4 * 2.24) ** 2, rel=0.15)


@pytest.mark.parametrize(("code", "above", "below"), [(FP, 0, 2), (FN, 2, 0)])
def test_colours_are_those_of_the_legend(code: int, above: int, below: int) -> None:
    codes = np.full((20, 20, 1), code, np.uint8)
    picture = drawn(ErrorMap(codes, Grid((20, 20, 1)), None, (10, 10, 0), None, ()))
    assert (picture[20:60, 20:60, above] > picture[20:60, 20:60, below] + 100).all()


def test_pixels_have_no_letters_and_no_millimetres() -> None:
    shape = (100, 60, 1)
    white = {}
    for unit in ("mm", "px"):
        picture = drawn(
            ErrorMap(np.zeros(shape, np.uint8), Grid(shape, unit=unit), None, (50, 30, 0), None, ())
        )  # type: ignore[arg-type]
        white[unit] = (picture[:150] > 200).any()  # letters; the bar lies below
        assert (picture[150:] > 200).any()
    assert white == {"mm": True, "px": False}


def pictures(folder: Path) -> CaseFiles:
    paths = []
    for name, wide in (("prediction", 13), ("reference", 10)):
        mask = np.zeros((40, 60), np.uint8)
        mask[5:15, 5 : 5 + wide] = 1
        paths.append(folder / f"{name}.png")
        Image.fromarray(mask).save(paths[-1])
    return CaseFiles(*paths)


def test_a_picture_is_drawn_as_it_is_stored_and_never_in_three_dimensions(tmp_path: Path) -> None:
    files = pictures(tmp_path)
    found = error_map(files, ())
    picture = drawn(found)
    orange = np.argwhere(picture[..., 0] - picture[..., 2] > 100)
    grey = np.argwhere(
        (picture == picture[..., :1]).all(2) & (picture[..., 0] > 60) & (picture[..., 0] < 112)
    )
    assert orange[:, 1].mean() > grey[:, 1].mean()  # what was added lies to the right, as in the file
    write_tables(tmp_path, [["p", "cell", "dice", 0.87, "1", "ok", "dice/voxel/px", "cell"]])
    table(
        tmp_path / "cases.csv",
        ("case", "prediction", "reference"),
        [["p", files.prediction, files.reference]],
    )
    [exhibit] = gallery([read_folder("m", tmp_path)], 3, 6).exhibits
    assert exhibit.volumes is None
    assert exhibit.planes == ("picture",)


def test_oblique_slices_say_so(tmp_path: Path) -> None:
    turned = np.array([[0.9, -0.43589, 0, 0], [0.43589, 0.9, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # 26 degrees
    for name, affine in (("straight", np.eye(4)), ("turned", turned)):
        mask = np.zeros((1, 12, 12, 12), np.uint8)
        mask[0, 4:8, 4:8, 4:8] = 1
        tv.save(tv.Image(mask, Grid((12, 12, 12), affine), "label"), tmp_path / f"{name}.nii.gz")
        found = error_map(CaseFiles(tmp_path / f"{name}.nii.gz", tmp_path / f"{name}.nii.gz"), ())
        assert any("oblique" in note for note in found.notes) == (name == "turned")


def test_lesions_without_millilitres_are_sorted_by_their_pixels(tmp_path: Path) -> None:
    write_tables(tmp_path, [["p", "cell", "dice", 0.5, "1", "ok", "dice/voxel/px", "cell"]])
    columns = [*LESIONS.split(","), "reference_px", "prediction_px"]
    rows = []
    for size in (9, 100, 20):
        cells = dict.fromkeys(columns, "") | {
            "case": "p",
            "output": "cell",
            "label": "cell",
            "kind": "missed",
        }
        rows.append([*(cells | {"reference_px": size}).values()])
    table(tmp_path / "lesions.csv", columns, rows)
    found, _ = lesion_rows([read_folder("m", tmp_path)])
    assert [row[LESION_COLUMNS.index("reference_px")] for row in found] == [100, 20, 9]


def test_volumes_say_where_they_come_from(tmp_path: Path) -> None:
    bias = {"tumour": {"expected": VolumeBias(1.81, 108.4, 4)}}
    origin = Origin("CrossEntropy", True, 200, validated_at=200, bias=bias)
    rows = [
        ["p", "tumour", "volume_difference_ml", 1.0, "ml", "ok", "volume_difference/threshold", "out"],
        [
            "p",
            "tumour",
            "expected_volume_difference_ml",
            1.8,
            "ml",
            "ok",
            "volume_difference/expected",
            "out",
        ],
        ["p", "tumour", "dice", 0.5, "1", "ok", "dice/voxel", "out"],
    ]
    write_tables(tmp_path / "known", rows, run={"origins": {"out": origin.to_dict()}})
    write_tables(tmp_path / "damaged", rows, run={"origins": {"out": {"loss": 3}}})
    write_tables(tmp_path / "unknown", rows)
    found = origins(read_folders({name: tmp_path / name for name in ("unknown", "known", "damaged")}))
    assert [(one.method, one.structure, one.way, one.note) for one in found] == [
        (1, "tumour", "of the mask", "CrossEntropy, 200 steps, not calibrated; not validated"),
        (1, "tumour", "expected",
         "CrossEntropy, 200 steps, not calibrated; in validation +1.81 ml (+108 %) on 4 cases"),
    ]  # fmt: skip
