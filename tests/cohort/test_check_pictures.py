"""Pictures show what is wrong, where it is, in millimetres."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture
from strategies import grids

from truevox.cohort import Case, Cohort, Problem, check
from truevox.cohort.checks.pictures import draw_problems
from truevox.cohort.checks.planes import BAD, MASK, OTHER, REFERENCE, Layer, Row, draw_rows, plain_name
from truevox.labels import Labels
from truevox.space import Grid

SHAPE = (24, 20, 12)


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def ball(grid: Grid, radius: float) -> np.ndarray:
    """Voxels within so many mm of the grid's centre."""
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return (((points - grid.centre) ** 2).sum(-1) < radius**2).astype(np.uint8)


def pixels(path: Path, colour: str) -> np.ndarray:
    """Places (n, 2) of pixels close to a colour."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    image = np.asarray(Picture.open(path).convert("RGB")).astype(int)
    return np.argwhere(np.abs(image - wanted).max(-1) < 12)


@given(grid=grids())
def test_a_layer_shows_the_voxel_at_a_place(grid: Grid) -> None:
    voxels = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    places = np.moveaxis(np.indices(grid.shape), 0, -1)
    rng = np.random.default_rng(0)
    values, inside = Layer(voxels, grid).at(grid.to_world(places + rng.uniform(-0.49, 0.49, places.shape)))
    assert inside.all()
    assert np.array_equal(values, voxels)
    assert not Layer(voxels, grid).at(grid.to_world(np.array(grid.shape) - 0.4))[1]


def test_a_sphere_is_round_whatever_the_voxels(tmp_path: Path) -> None:
    grid = Grid((60, 20, 30), np.diag([1.0, 3.0, 2.0, 1.0]))
    mask = Layer(ball(grid, 18), grid)
    scan = Layer(np.zeros(grid.shape), grid)
    draw_rows(tmp_path / "a.png", "t", "", [Row("", scan, grid.centre, [(mask, MASK, "ball")])])
    seen = pixels(tmp_path / "a.png", MASK)
    first = seen[seen[:, 1] < 370]  # the first of three planes
    height, width = np.ptp(first, axis=0)
    assert width > 100
    assert height == pytest.approx(width, rel=0.1)


def test_every_offender_that_can_be_read_has_a_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = Grid(SHAPE)
    scans = [rng.normal(100, 10, SHAPE).astype(np.float32) for _ in range(4)]
    scans[1][4:8, 4:8, 4:8] = np.nan
    moved = np.eye(4)
    moved[:3, 3] = (6, -4, 2)
    odd = ball(grid, 5)
    odd[12, 10, 6] = 9
    masks = [(odd, None), (ball(grid, 4), None), (ball(grid, 3), moved), (ball(grid, 5) * 0, None)]
    cases = [
        Case(
            f"p{k}",
            {"t1": write(tmp_path / f"{k}.nii", scans[k]), "m": write(tmp_path / f"{k}m.nii", *masks[k])},
        )
        for k in range(4)
    ]
    cases.append(Case("gone", {"t1": tmp_path / "gone.nii", "m": write(tmp_path / "gm.nii", ball(grid, 6))}))
    cohort, table = Cohort(cases), {"m": Labels({"a": 1})}
    problems = check(cohort, labels=table, voxels=True)
    assert [(p.case, p.kind) for p in problems] == [
        ("p0", "label"), ("p1", "voxels"), ("p2", "grid"), ("p3", "empty"), ("gone", "file")
    ]  # fmt: skip
    drawn = draw_problems(problems, cohort, tmp_path / "pictures", table)
    assert [path.name for path in drawn.values()] == [
        "0001_p0_m_label.png", "0002_p1_t1_voxels.png", "0003_p2_m_grid.png", "0004_p3_m_empty.png"
    ]  # fmt: skip
    assert len(pixels(drawn[0], MASK)) > 100
    assert len(pixels(drawn[0], BAD)) > 50
    assert len(pixels(drawn[1], BAD)) > 1000
    assert len(pixels(drawn[2], REFERENCE)) > 300
    assert len(pixels(drawn[2], OTHER)) > 300
    assert len(pixels(drawn[3], BAD)) == 0


def test_a_picture_of_what_two_cases_share_has_a_row_for_each(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=SHAPE)
    cases = [Case(f"p{k}", {"t1": write(tmp_path / f"{k}.nii", array)}, split=f"s{k}") for k in range(2)]
    problems = check(Cohort(cases), voxels=True)
    (path,) = draw_problems(problems, Cohort(cases), tmp_path / "p", {}).values()
    one = check(Cohort([Case("p9", {"t1": write(tmp_path / "9.nii", array * 0)})]), voxels=True)
    (single,) = draw_problems(
        one, Cohort([Case("p9", {"t1": tmp_path / "9.nii"})]), tmp_path / "q", {}
    ).values()
    assert Picture.open(path).height > 1.5 * Picture.open(single).height


@pytest.mark.parametrize(
    "name", ["../x", "<script>", r"a$\frac{1}{$b", "C:\\x", "名前", "x" * 300, "..", "\n"]
)
def test_odd_names_are_text(name: str, tmp_path: Path) -> None:
    scan = write(tmp_path / "a.nii", np.zeros(SHAPE, np.float32))
    cohort = Cohort([Case(name, {name: scan})])
    problem = Problem(name, name, str(scan), "constant", f"{name} is wrong: $", "", ((name, name),))
    (path,) = draw_problems([problem], cohort, tmp_path / "pictures", {}).values()
    assert path.parent == tmp_path / "pictures"
    assert path.is_file()
    assert [p.name for p in (tmp_path / "pictures").iterdir()] == [path.name]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii", "pictures"]


@given(text=st.text())
def test_plain_names_are_plain(text: str) -> None:
    name = plain_name(text)
    assert 0 < len(name) <= 80
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert name[0] != "."
