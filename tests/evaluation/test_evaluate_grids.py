"""Masks of one lattice are compared on the union of their grids; rounded headers voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox import io
from truevox.alignment import aligned, shared_grid
from truevox.cohort import Case, Cohort, check
from truevox.evaluation import EvaluationSettings, evaluate_folders, rater_volumes
from truevox.evaluation.jobs import Evaluation
from truevox.image import Image
from truevox.report.error_maps import FP, TP, error_map
from truevox.report.folder import CaseFiles
from truevox.space import Grid

AFFINE = np.array([[0.0, -2, 0, 30], [-1.5, 0, 0, 40], [0, 0, 3, -20], [0, 0, 0, 1]])
GRID = Grid((10, 8, 6), AFFINE)
METRICS = ("dice", "volume_difference_ml", "hd")


def write(path: Path, array: np.ndarray, grid: Grid, kind: str = "label") -> Path:
    data = np.ascontiguousarray(array[None].astype(np.uint8 if kind == "label" else np.float32))
    io.save(Image(torch.from_numpy(data), grid, kind), path)  # type: ignore[arg-type]
    return path


def score(folder: Path, **options: object) -> tuple[dict[str, float], Evaluation]:
    chosen = EvaluationSettings.make({"metrics": METRICS, **options})
    found = evaluate_folders(folder / "mine", folder / "theirs", chosen)
    return {row["metric"]: row["value"] for row in found.rows}, found


BOXES = st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in GRID.shape)).map(
    lambda ends: tuple(slice(min(a, b - 1), max(a + 1, b)) for a, b in ends)
)
TURNS = st.tuples(st.permutations([0, 1, 2]), st.sets(st.integers(0, 2)))


@settings(max_examples=40, deadline=None)
@given(boxes=st.tuples(BOXES, BOXES), turn=TURNS, seed=st.integers(0, 9))
def test_parts_of_a_lattice_are_put_where_they_lie(
    boxes: tuple[tuple[slice, ...], ...], turn: tuple[list[int], set[int]], seed: int
) -> None:
    """Cut, flipped and permuted pieces, against the same pieces in the whole image by indexing alone."""
    whole = np.random.default_rng(seed).integers(1, 9, (2, *GRID.shape))
    parts, grids = [], []
    for k, box in enumerate(boxes):
        part, grid = whole[k][box], GRID[box]
        if k:
            axes, flips = turn
            part, grid = np.flip(part, tuple(flips)).transpose(axes), grid.flip(sorted(flips)).permute(axes)
        parts.append(part[None])
        grids.append(grid)
    shared = shared_grid(grids, parts=True)
    assert shared is not None
    one_shape = sorted(grids[0].shape) == sorted(grids[1].shape)
    assert one_shape or shared_grid(grids) is not None
    grid, places = shared
    low = [min(a.start, b.start) for a, b in zip(*boxes, strict=True)]
    high = [max(a.stop, b.stop) for a, b in zip(*boxes, strict=True)]
    both = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    assert grid.displacement(GRID[both]) < 1e-9
    for k, (box, place) in enumerate(zip(boxes, places, strict=True)):
        expected = np.zeros(GRID.shape, int)
        expected[box] = whole[k][box]
        assert np.array_equal(place(parts[k])[0], expected[both])
        assert place.alignment.mm < 1e-9


@given(
    turn=st.tuples(st.permutations([0, 1, 2]), st.sets(st.integers(0, 2))),
    shift=st.tuples(*[st.floats(-0.74, 0.74)] * 3),
)
def test_half_a_voxel_along_each_axis_is_the_limit(
    turn: tuple[list[int], set[int]], shift: tuple[float, ...]
) -> None:
    moved = GRID.lattice(shift, 1, GRID.shape).flip(sorted(turn[1])).permute(turn[0])
    found = aligned(moved, GRID)
    far = np.abs(shift).max()
    if far < 0.499:
        assert found is not None
        assert found.same_voxels
        assert found.voxels == pytest.approx(far, abs=1e-9)
        assert found.mm == pytest.approx(np.linalg.norm(np.array(shift) * GRID.spacing), abs=1e-9)
    elif far > 0.501:
        assert found is None


def test_files_of_one_shape_that_lie_apart_are_refused_unless_of_a_kind_that_stores_parts() -> None:
    moved = GRID.lattice((0, 0, 3), 1, GRID.shape)
    assert aligned(moved, GRID) is None
    assert aligned(moved, GRID, 0.1) is None
    found = aligned(moved, GRID, parts=True)
    assert found is not None
    assert found.span[0].tolist() == [0, 0, 3]
    # A lost origin would need an image of all that lies between.
    far = Grid((40, 40, 40)).crop((2000,) * 3, (40,) * 3)
    assert shared_grid([Grid((50, 50, 50)), far]) is None


def test_a_turn_that_moves_the_far_corner_is_measured_there() -> None:
    angle = 0.08
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    near, far = Grid((4, 4, 4)), Grid((40, 4, 4))
    assert aligned(near.transformed(turn), near) is not None
    assert aligned(far.transformed(turn), far) is None


def test_a_sparse_reference_against_false_positives_elsewhere(tmp_path: Path) -> None:
    truth, predicted = np.zeros((2, *GRID.shape), bool)
    truth[2:6, 2:6, 2:4] = predicted[2:6, 2:6, 2:4] = True  # 32 voxels, right
    predicted[7:10, 0:4, 0:2] = predicted[0:3, 4:8, 4:6] = True  # 48 of them elsewhere
    write(tmp_path / "mine" / "a.nii.gz", predicted, GRID)
    write(tmp_path / "theirs" / "a.nii.gz", truth[2:6, :, 2:4], GRID[2:6, :, 2:4])
    values, found = score(tmp_path)
    assert values["dice"] == pytest.approx(2 * 32 / (32 + 80))
    assert values["volume_difference_ml"] == pytest.approx(48 * 9 / 1000)
    assert "the reference stores a part of the image only" in found.cases[0]["notes"]
    # The other way round: a prediction that stores what is not empty.
    for side, other in (("mine", "x"), ("theirs", "mine"), ("x", "theirs")):
        (tmp_path / side).rename(tmp_path / other)
    values, found = score(tmp_path)
    assert values["dice"] == pytest.approx(2 * 32 / (32 + 80))
    assert values["volume_difference_ml"] == pytest.approx(-48 * 9 / 1000)
    assert "the prediction stores a part of the image only" in found.cases[0]["notes"]
    files = CaseFiles(Path(found.cases[0]["prediction"]), Path(found.cases[0]["reference"]))
    assert np.bincount(error_map(files, (1,), "").codes.ravel(), minlength=4)[1:].tolist() == [32, 0, 48]


def test_parts_that_do_not_meet(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.nii.gz", np.ones((2, 2, 2)), GRID[:2, :2, :2])
    write(tmp_path / "theirs" / "a.nii.gz", np.ones((2, 2, 1)), GRID[8:, 6:, 5:].flip(0))
    values, found = score(tmp_path)
    assert values["dice"] == 0.0
    # From the first voxel (0, 0, 0) to the nearest one of the other, (8, 6, 5).
    assert values["hd"] == pytest.approx(np.linalg.norm(np.array([8, 6, 5]) * GRID.spacing))
    assert found.rows[0]["status"] == "ok"


def test_resampling_counts_what_lies_beyond_the_reference(tmp_path: Path) -> None:
    # Voxels of half the side, so that a voxel of the reference is 8 of them.
    fine = GRID.lattice((-0.25, -0.25, -0.25), 0.5, [2 * n for n in GRID.shape])
    predicted = np.zeros(GRID.shape, bool)
    predicted[3:6, 2:6, 1:3] = predicted[8:10, 2:4, 4:6] = True  # 24 inside the reference, 8 beyond
    truth = np.zeros(GRID.shape, bool)
    truth[3:6, 2:6, 1:3] = True
    write(tmp_path / "mine" / "a.nii.gz", predicted.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine)
    write(tmp_path / "theirs" / "a.nii.gz", truth[:7, :, :4], GRID[:7, :, :4])
    assert score(tmp_path)[1].failures
    values, found = score(tmp_path, resample=True)
    assert values["dice"] == pytest.approx(2 * 24 / (24 + 32))
    assert values["volume_difference_ml"] == pytest.approx(8 * 9 / 1000)
    assert "8 voxels (0.072 ml) of the prediction lie outside" in found.cases[0]["notes"]


def test_probabilities_that_are_cut_say_so(tmp_path: Path) -> None:
    truth = np.zeros(GRID.shape)
    truth[2:4, 2:4, 2:4] = 1
    write(tmp_path / "mine" / "a.nii.gz", truth, GRID)
    write(tmp_path / "theirs" / "a.nii.gz", truth, GRID)
    write(tmp_path / "p" / "a.nii.gz", np.full((4, 8, 6), 0.5), GRID[:4], "probability")
    table = tmp_path / "pairs.csv"
    table.write_text("case,prediction,reference,score\na,mine/a.nii.gz,theirs/a.nii.gz,p/a.nii.gz\n")
    found = evaluate_folders(table, settings=EvaluationSettings(metrics=("brier",)))
    # 0.25 where the map is, and 0 where it is not, as nothing is there.
    assert found.rows[0]["value"] == pytest.approx(0.25 * 0.4)
    assert "probabilities do not reach over the whole image" in found.cases[0]["notes"]


def test_raters_of_one_lattice_are_put_together(tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape)
    mask[2:4, 2:6, 2:4] = 1
    files = {
        "anna": write(tmp_path / "anna.nii.gz", mask, GRID),
        "ben": write(tmp_path / "ben.nii.gz", mask[2:4, 2:6, 2:4], GRID[2:4, 2:6, 2:4]),
        "cleo": write(tmp_path / "cleo.nii.gz", mask[::-1], GRID.flip(0)),
    }
    found = rater_volumes(Cohort([Case("p", files)]))
    assert {round(one.bias_ml, 9) for one in found.summary} == {0.0}
    assert found.summary[0].expected_volume_ml == pytest.approx(16 * 9 / 1000)


def test_check_takes_a_rounded_label_header_for_the_same(tmp_path: Path) -> None:
    def kinds(shift: float) -> list[tuple[str, str]]:
        moved = Grid(GRID.shape, AFFINE + np.array([[0, 0, 0, shift], [0] * 4, [0] * 4, [0] * 4]))
        mask = write(tmp_path / "mask.nii.gz", np.ones(GRID.shape), moved)
        found = check(Cohort([Case("p", {"scan": scan, "mask": mask})]), labels=["mask"])
        return [(one.kind, one.severity) for one in found if one.kind in ("grid", "header note")]

    scan = write(tmp_path / "scan.nii.gz", np.zeros(GRID.shape), GRID, "scalar")
    assert kinds(0.0) == []
    assert kinds(0.9) == [("header note", "warning")]  # of 2 mm
    assert kinds(1.1) == [("grid", "error")]


def test_error_maps_of_rounded_headers_compare_voxels(tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape)
    mask[3:6, 2:6, 2:4] = 1
    moved = Grid(GRID.shape, AFFINE + np.array([[0, 0, 0, 0.9], [0] * 4, [0] * 4, [0] * 4]))
    files = CaseFiles(write(tmp_path / "a.nii.gz", mask, moved), write(tmp_path / "b.nii.gz", mask, GRID))
    codes = error_map(files, (1,)).codes
    assert np.count_nonzero(codes == TP) == mask.sum()
    assert not (codes >= FP).any()


def test_a_place_that_is_a_guess_is_told_when_it_is_used(tmp_path: Path) -> None:
    mask = np.ones((4, 4, 4), np.uint8)
    write(tmp_path / "theirs" / "a.nii.gz", mask, Grid((4, 4, 4)))
    (tmp_path / "mine").mkdir()
    lines = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 8 8 8", "encoding: raw"]
    lines += ["spacings: 0.5 0.5 0.5"]
    (tmp_path / "mine" / "a.nrrd").write_bytes(("\n".join(lines) + "\n\n").encode() + bytes([1]) * 512)
    _, found = score(tmp_path, resample=True)
    assert (
        "the prediction has no space directions: spacing only, orientation and position are guesses"
        in (found.cases[0]["notes"])
    )
