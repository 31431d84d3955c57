"""Two folders of any tool: files matched by name, labels by value, and all that can be wrong with either."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from truevox import io
from truevox.errors import CaseError, FileError, LabelError, SettingsError
from truevox.evaluation import Evaluation, EvaluationSettings, evaluate_folders
from truevox.evaluation.folders import match_folders
from truevox.evaluation.label_tables import choose_labels
from truevox.evaluation.masks import scores_of
from truevox.evaluation.naming import match_names
from truevox.evaluation.running import score_all
from truevox.evaluation.settings import LesionSettings
from truevox.evaluation.tables import remarks
from truevox.image import Image
from truevox.space import Grid

GRID = Grid((6, 5, 4), np.diag([-2.0, 2.0, 5.0, 1]))  # a voxel is 0.02 ml
DICE = EvaluationSettings(metrics=("dice",))


def write(path: Path, *values: int, grid: Grid = GRID) -> Path:
    """A label file whose first voxels have these values."""
    data = np.zeros(math.prod(grid.shape), np.uint8)
    data[: len(values)] = values
    io.save(Image(torch.from_numpy(data.reshape(1, *grid.shape)), grid, "label"), path)
    return path


def values_of(found: Evaluation, metric: str = "dice") -> dict[tuple[str, str], tuple[float, str]]:
    return {(r["case"], r["label"]): (r["value"], r["status"]) for r in found.rows if r["metric"] == metric}


# ---- names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "theirs", "cases"),
    [
        (["case_1", "case_2"], ["case_1", "case_2"], ["case_1", "case_2"]),  # nnU-Net
        (["p1_seg", "p2_seg"], ["p1", "p2"], ["p1", "p2"]),
        (["p1", "p2"], ["p1_0000", "p2_0000"], ["p1", "p2"]),
        (["p1/prediction", "p2/prediction"], ["p1", "p2"], ["p1", "p2"]),  # a folder per case
        (["p1/tumour", "p2/tumour"], ["p1/mask", "p2/mask"], ["p1", "p2"]),
        (["p1/tumour"], ["p1"], ["p1"]),
        (
            ["sub-01/ses-1/anat/sub-01_ses-1_space-T1w_desc-net_dseg", "sub-02/anat/sub-02_desc-net_mask"],
            ["sub-01/ses-1/anat/sub-01_ses-1_dseg", "sub-02/anat/sub-02_dseg"],
            ["sub-01/ses-1", "sub-02"],
        ),
        (["net_a_v2", "net_b_v2"], ["a-truth", "b-truth"], []),  # v2 holds a number: it may say what it is
        (["net_a_final", "net_b_final"], ["a-truth", "b-truth"], ["a", "b"]),
        (["10_1000", "11_1000"], ["10_1001", "11_1001"], []),  # other studies
    ],
)
def test_names_of_tools(mine: list[str], theirs: list[str], cases: list[str]) -> None:
    assert match_names(mine, theirs).matched == cases


@given(st.lists(st.text("abc019_-.", min_size=1, max_size=6), min_size=1, max_size=8, unique=True))
def test_equal_names_are_never_matched_across(names: list[str]) -> None:
    found = match_names(names, names)
    for case in found.matched:
        assert found.predictions[case] == found.references[case]


def test_a_name_that_two_files_have_is_a_failure(tmp_path: Path) -> None:
    for name in (
        "mine/a_seg.nii.gz",
        "mine/a_mask.nii.gz",
        "mine/b.nii.gz",
        "theirs/a.nii.gz",
        "theirs/b.nii.gz",
    ):
        write(tmp_path / name, 1)
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", DICE)
    assert values_of(found)["a", "foreground"][1] == "failed"
    assert values_of(found)["b", "foreground"] == (1.0, "ok")
    [one] = found.failures
    assert "2 predictions have the name of this case" in one.message
    assert "a_mask.nii.gz" in one.message
    assert "--prediction-files" in one.remedy
    only = match_folders(tmp_path / "mine", tmp_path / "theirs", prediction_files="*_seg.nii.gz")
    assert [job.case for job in only.jobs if job.prediction is not None] == ["a"]


def test_names_that_have_nothing_in_common_are_shown(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "x_07.nii.gz", 1)
    write(tmp_path / "theirs" / "case7.nii.gz", 1)
    with pytest.raises(SettingsError, match="No prediction has the name of a reference") as error:
        match_folders(tmp_path / "mine", tmp_path / "theirs")
    assert "x_07.nii.gz" in str(error.value)
    assert "case7.nii.gz" in str(error.value)
    found = match_folders(tmp_path / "mine", tmp_path / "theirs", pattern=r"([1-9]\d*)\b")
    assert [job.case for job in found.jobs] == ["7"]
    with pytest.raises(SettingsError, match="no regular expression"):
        match_folders(tmp_path / "mine", tmp_path / "theirs", pattern="(")
    with pytest.raises(FileError, match="no such folder"):
        match_folders(tmp_path / "nowhere", tmp_path / "theirs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no image that could be read"):
        match_folders(tmp_path / "empty", tmp_path / "theirs")


def test_what_tools_write_beside_their_masks_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.nii.gz", 1)
    np.savez(tmp_path / "mine" / "a.npz", probabilities=np.zeros(3))
    write(tmp_path / "mine" / "b" / "tumour.nii.gz", 1)
    write(tmp_path / "mine" / "b" / "tumour_probabilities.nii.gz", 1)
    (tmp_path / "mine" / "plans.json").write_text("{}")
    (tmp_path / "mine" / "evaluation").mkdir()
    (tmp_path / "mine" / "evaluation" / "metrics.csv").write_text("case\n")
    write(tmp_path / "mine" / "evaluation" / "figure.nii.gz", 1)
    for raw in ("labelsTr/a.nii.gz", "labelsTs/b.nii.gz", "imagesTr/a_0000.nii.gz"):
        write(tmp_path / "raw" / raw, 1)
    jobs = match_folders(tmp_path / "mine", tmp_path / "raw").jobs
    assert {job.case: job.prediction and job.prediction.name for job in jobs} == {"a": "a.nii.gz", "b": None}


# ---- bad input -----------------------------------------------------------------------------


def test_every_kind_of_bad_file_is_said_and_none_is_fatal(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    moved = Grid(GRID.shape, GRID.affine + np.array([[0, 0, 0, 1.5], [0] * 4, [0] * 4, [0] * 4]))
    for name in ("good", "missing", "moved", "empty", "truncated", "unknown", "<script>alert(1)"):
        write(theirs / f"{name}.nii.gz", 1, 1)
    write(theirs / "nothing.nii.gz")
    write(mine / "good.nii.gz", 1, 0, 1)
    write(mine / "moved.nii.gz", 1, 1, grid=moved)
    write(mine / "empty.nii.gz")
    write(mine / "truncated.nii.gz", 1, 1)
    (mine / "truncated.nii.gz").write_bytes((mine / "truncated.nii.gz").read_bytes()[:60])
    write(mine / "unknown.nii.gz", 1, 7)
    write(mine / "<script>alert(1).nii.gz", 1, 1)
    write(mine / "nothing.nii.gz")
    write(mine / "extra.nii.gz", 1)

    found = evaluate_folders(mine, theirs, EvaluationSettings(metrics=("dice",), labels="tumour=1"))
    assert values_of(found) == {
        ("<script>alert(1)", "tumour"): (1.0, "ok"),
        ("empty", "tumour"): (0.0, "missed"),
        ("good", "tumour"): (0.5, "ok"),
        ("missing", "tumour"): (pytest.approx(math.nan, nan_ok=True), "failed"),
        ("moved", "tumour"): (pytest.approx(math.nan, nan_ok=True), "failed"),
        ("nothing", "tumour"): (pytest.approx(math.nan, nan_ok=True), "undefined"),
        ("truncated", "tumour"): (pytest.approx(math.nan, nan_ok=True), "failed"),
        ("unknown", "tumour"): (pytest.approx(2 / 3), "ok"),
    }
    said = {one.case: one for one in found.failures}
    assert set(said) == {"missing", "moved", "truncated", "extra"}
    assert said["missing"].message == "The prediction is missing."
    assert "--missing worst" in said["missing"].remedy
    assert "largest corner displacement 1.5 mm (tolerance less than half a voxel)" in said["moved"].message
    assert "--resample" in said["moved"].remedy
    assert said["truncated"].file.endswith("truncated.nii.gz")
    assert said["extra"].message == "The prediction has no reference."
    notes = {row["case"]: row["notes"] for row in found.cases}
    assert notes["unknown"] == "values that the label table lacks, in the prediction: 7"
    assert any("in the prediction: 7 (case unknown)" in text for text in remarks(found))


def test_without_a_table_the_values_that_occur_are_the_labels(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.nii.gz", 1, 2, 7)
    write(tmp_path / "theirs" / "a.nii.gz", 1, 2, 2)
    write(tmp_path / "mine" / "b.nii.gz")
    write(tmp_path / "theirs" / "b.nii.gz", 1)
    write(tmp_path / "theirs" / "c.nii.gz", 1)
    settings = EvaluationSettings(metrics=("dice", "volume_difference_ml", "jaccard:7"))
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    nan = pytest.approx(math.nan, nan_ok=True)
    assert values_of(found) == {
        ("a", "1"): (1.0, "ok"),
        ("a", "2"): (pytest.approx(2 / 3), "ok"),
        ("a", "7"): (0.0, "spurious"),
        ("b", "1"): (0.0, "missed"),
        ("b", "2"): (nan, "undefined"),
        ("b", "7"): (nan, "undefined"),
        **{("c", label): (nan, "failed") for label in "127"},
    }
    # A difference of volumes is a number where the label is in neither mask.
    assert values_of(found, "volume_difference_ml")["b", "7"] == (0.0, "ok")
    assert set(values_of(found, "jaccard")) == {("a", "7"), ("b", "7"), ("c", "7")}
    assert found.labels == {"segmentation": {"1": [1], "2": [2], "7": [7]}}


def test_one_value_is_the_foreground_and_two_ways_of_writing_it_are_said(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.nii.gz", 255, 255)
    write(tmp_path / "theirs" / "a.nii.gz", 1, 1)
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs")
    assert values_of(found)["a", "foreground"] == (1.0, "ok")  # a mask of 0 and 255 is one of 0 and 1
    write(tmp_path / "mine" / "a.nii.gz", 2, 2)
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs")
    assert {label: status for (_, label), (_, status) in values_of(found).items()} == {
        "1": "missed",
        "2": "spurious",
    }
    assert remarks(found) == [
        "Label 2 is in predictions only, label 1 in references only. If they mean the same: --labels nonzero."
    ]
    settings = EvaluationSettings(metrics=("dice",), labels="nonzero")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    assert values_of(found) == {("a", "foreground"): (1.0, "ok")}
    assert found.labels == {"segmentation": {"foreground": []}}  # all but 0
    write(tmp_path / "mine" / "a.nii.gz", 1, 0, 1)
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", DICE)
    assert values_of(found) == {("a", "foreground"): (0.5, "ok")}


def test_a_missing_prediction_at_its_worst(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.nii.gz", 1)
    for name, values in (("a", [1]), ("b", [1, 1]), ("c", [])):
        write(tmp_path / "theirs" / f"{name}.nii.gz", *values)
    settings = EvaluationSettings(metrics=("dice", "volume_difference_ml"), missing="worst")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    dice = values_of(found)
    assert dice["b", "foreground"] == (0.0, "missed")
    assert dice["c", "foreground"] == (0.0, "missed")  # nothing to find, but nobody looked
    assert values_of(found, "volume_difference_ml")["b", "foreground"] == (pytest.approx(-0.04), "ok")
    assert [one.case for one in found.failures] == ["b", "c"]
    assert next(row for row in found.cases if row["case"] == "b")["notes"].startswith("no prediction")


# ---- grids -----------------------------------------------------------------------------------


def test_another_order_of_axes_is_the_same_grid(tmp_path: Path) -> None:
    # The same voxels, stored from the left instead of from the right, and with the axes in another order.
    rng = np.random.default_rng(0)
    data = rng.integers(0, 2, (1, *GRID.shape)).astype(np.uint8)
    other = rng.integers(0, 2, (1, *GRID.shape)).astype(np.uint8)
    io.save(Image(torch.from_numpy(other), GRID, "label"), tmp_path / "theirs" / "a.nii.gz")
    turned = np.ascontiguousarray(data[:, ::-1].transpose(0, 3, 1, 2))
    grid = GRID.flip([0]).permute([2, 0, 1])
    io.save(Image(torch.from_numpy(turned), grid, "label"), tmp_path / "mine" / "a.nrrd")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", DICE)
    both = int((data & other).sum())
    assert values_of(found)["a", "foreground"][0] == pytest.approx(
        2 * both / (int(data.sum()) + int(other.sum()))
    )
    assert found.cases[0]["notes"].startswith("another order of axes")


def test_resampling_is_asked_for_and_said(tmp_path: Path) -> None:
    # Voxels of half the side: every voxel of the reference lies between two of the prediction's.
    fine = GRID.lattice((-0.25, -0.25, -0.25), (0.5, 0.5, 0.5), [2 * n for n in GRID.shape])
    coarse = np.zeros((1, *GRID.shape), np.uint8)
    coarse[0, 1:4, 1:3, 1:3] = 1
    io.save(Image(torch.from_numpy(coarse), GRID, "label"), tmp_path / "theirs" / "a.nii.gz")
    data = coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    io.save(Image(torch.from_numpy(data), fine, "label"), tmp_path / "mine" / "a.nii.gz")
    assert (
        values_of(evaluate_folders(tmp_path / "mine", tmp_path / "theirs", DICE))["a", "foreground"][1]
        == "failed"
    )
    settings = EvaluationSettings(metrics=("dice",), resample=True)
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    assert values_of(found)["a", "foreground"] == (1.0, "ok")
    assert found.cases[0]["notes"].startswith("resampled: from 12x10x8")


def test_headers_that_were_rounded_count_as_one_grid_up_to_half_a_voxel(tmp_path: Path) -> None:
    def status(shift: float, **options: float) -> tuple[str, str, float | str]:
        affine = GRID.affine.copy()
        affine[1, 3] += shift
        write(tmp_path / "mine" / "a.nii.gz", 1, grid=Grid(GRID.shape, affine))
        settings = EvaluationSettings.make({"metrics": ["dice"], **options})
        found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
        row = found.cases[0]
        return values_of(found)["a", "foreground"][1], row["notes"], row["displacement_mm"]

    write(tmp_path / "theirs" / "a.nii.gz", 1)
    # Voxels of 2 mm along this axis.
    assert status(0.01) == ("ok", "", pytest.approx(0.01, abs=1e-5))
    said = "headers differ by 0.8 mm (0.4 voxels) at the farthest corner: compared voxel by voxel"
    assert status(0.8) == ("ok", said, pytest.approx(0.8, abs=1e-5))
    assert status(0.99)[0] == "ok"
    assert status(1.01)[0] == "failed"
    # Two files of one shape that lie whole voxels apart are no parts of one image: a header is wrong.
    assert status(2.0)[0] == "failed"
    assert status(1.9, tolerance_mm=2.0)[0] == "ok"
    assert status(0.01, tolerance_mm=0.001)[0] == "failed"
    assert status(1.0, tolerance_mm=2.0)[0] == "ok"


def test_pictures_are_flat(tmp_path: Path) -> None:
    data = np.zeros((1, 8, 9, 1), np.uint8)
    data[0, 2:6, 2:6] = 1
    grid = Grid((8, 9, 1), np.diag([-1, -1, 1, 1]))
    io.save(Image(torch.from_numpy(data), grid, "label"), tmp_path / "theirs" / "a.png")
    io.save(Image(torch.from_numpy(np.roll(data, 1, 1)), grid, "label"), tmp_path / "mine" / "a.png")
    settings = EvaluationSettings(
        metrics=("dice", "volume_difference_ml"), lesions=LesionSettings(rule="any")
    )
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    assert values_of(found)["a", "foreground"] == (pytest.approx(2 * 12 / 32), "ok")
    [lesion] = found.lesions
    assert lesion["kind"] == "matched"
    # A PNG says no size of its pixels: 16 of them, and no millilitres.
    assert (lesion["reference_px"], lesion["reference_ml"], lesion["x_mm"]) == (16, None, None)
    assert lesion["rule"] == "any/8"


# ---- tables and lesions ----------------------------------------------------------------------


def test_a_table_names_the_files(tmp_path: Path) -> None:
    write(tmp_path / "p" / "x.nii.gz", 1, 1)
    write(tmp_path / "r" / "y.nii.gz", 1)
    table = tmp_path / "pairs.csv"
    table.write_text(
        "case,prediction,reference,image,patient\np1/a,p/x.nii.gz,r/y.nii.gz,,anna\np1/b,,r/y.nii.gz,,anna\n"
        "p2,p/x.nii.gz,,,\n"
    )
    found = evaluate_folders(table, settings=DICE)
    assert values_of(found)["p1/a", "foreground"] == (pytest.approx(2 / 3), "ok")
    assert [(one.case, one.message) for one in found.failures] == [
        ("p1/b", "The prediction is missing."),
        ("p2", "The reference is missing."),
    ]
    assert [row["patient"] for row in found.cases] == ["anna", "anna", "p2"]
    table.write_text("case,prediction\na,b.nii.gz\n")
    with pytest.raises(CaseError, match="no column 'reference'"):
        evaluate_folders(table)
    table.write_text("case,prediction,reference\na,b.nii.gz,c.nii.gz\na,b.nii.gz,c.nii.gz\n")
    with pytest.raises(CaseError, match="twice"):
        evaluate_folders(table)


def test_lesions_are_listed_by_case_and_label(tmp_path: Path) -> None:
    mine, theirs = np.zeros((2, 1, 9, 9, 9), np.uint8)
    theirs[0, 1:3, 1:3, 1:3] = theirs[0, 6:8, 6:8, 6:8] = 1
    mine[0, 1:3, 1:3, 1:3] = mine[0, 6:8, 1:3, 1:3] = 1
    grid = Grid((9, 9, 9), np.diag([2.0, 1.0, 1.0, 1]))
    io.save(Image(torch.from_numpy(theirs), grid, "label"), tmp_path / "theirs" / "a.nii.gz")
    io.save(Image(torch.from_numpy(mine), grid, "label"), tmp_path / "mine" / "a.nii.gz")
    settings = EvaluationSettings(metrics=("dice",), lesions=LesionSettings(), labels="lesion=1")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    assert [(row["label"], row["kind"]) for row in found.lesions] == [
        ("lesion", "matched"),
        ("lesion", "missed"),
        ("lesion", "spurious"),
    ]
    assert [row["x_mm"] for row in found.lesions] == pytest.approx([3.0, 13.0, 13.0])
    assert found.lesions[0]["reference_ml"] == pytest.approx(8 * 2 / 1000)


# ---- probabilities -----------------------------------------------------------------------------


def test_probabilities_are_read_where_a_metric_needs_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    p = rng.random((1, *GRID.shape)).astype(np.float32)
    for name in ("a", "b"):
        write(tmp_path / "theirs" / f"{name}.nii.gz", 1, 1)
        write(tmp_path / "mine" / f"{name}.nii.gz", 1)
    io.save(Image(torch.from_numpy(p), GRID, "probability"), tmp_path / "p" / "a_probabilities.nii.gz")
    settings = EvaluationSettings(metrics=("dice", "brier"), labels="x=1")
    with pytest.raises(SettingsError, match="No case has probabilities, which brier need"):
        evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings)
    jobs = match_folders(tmp_path / "mine", tmp_path / "theirs", scores=tmp_path / "p").jobs
    found = score_all([replace(job, labels=choose_labels("x=1").labels) for job in jobs], settings)
    truth = np.zeros(math.prod(GRID.shape))
    truth[:2] = 1
    assert values_of(found, "brier")["a", "x"] == (
        pytest.approx(float(np.mean((p.ravel() - truth) ** 2)), rel=1e-6),
        "ok",
    )
    # What can be said without them is said.
    assert values_of(found)["b", "x"] == (pytest.approx(2 / 3), "ok")
    assert values_of(found, "brier")["b", "x"][1] == "failed"
    assert [one.message for one in found.failures] == ["The case has no probabilities, which brier need."]


def test_channels_of_probabilities_follow_the_labels(tmp_path: Path) -> None:
    write(tmp_path / "theirs" / "a.nii.gz", 1, 2, 2)
    write(tmp_path / "mine" / "a.nii.gz", 1, 2)
    truth = np.zeros((3, math.prod(GRID.shape)), np.float32)
    truth[0, 3:] = truth[1, 0] = truth[2, 1:3] = 1
    settings = EvaluationSettings(metrics=("brier",))
    [job] = match_folders(tmp_path / "mine", tmp_path / "theirs").jobs
    job = replace(job, labels=choose_labels("x=1,y=2").labels, score=tmp_path / "p.nii.gz")
    for channels in (truth, truth[1:]):  # with the background, and without
        data = torch.from_numpy(channels.reshape(-1, *GRID.shape))
        io.save(Image(data, GRID, "probability"), tmp_path / "p.nii.gz")
        found = values_of(score_all([job], settings), "brier")
        assert found == {("a", "x"): (0.0, "ok"), ("a", "y"): (0.0, "ok")}
    io.save(Image(torch.zeros(4, *GRID.shape), GRID, "probability"), tmp_path / "p.nii.gz")
    assert "differ in number" in score_all([job], settings).failures[0].message


@pytest.mark.parametrize("labels", ["x=1,y=2", "y=2,x=1", None])
def test_channels_of_probabilities_are_in_the_order_of_values(tmp_path: Path, labels: str | None) -> None:
    """In whatever order labels are named: their names are no places."""
    write(tmp_path / "theirs" / "a.nii.gz", 1, 2, 2)
    write(tmp_path / "mine" / "a.nii.gz", 1, 2)
    p = np.zeros((3, math.prod(GRID.shape)), np.float32)
    p[1, 0], p[2, 1:3] = 0.75, 0.5
    p[0] = 1 - p[1:].sum(0)
    settings = EvaluationSettings(metrics=("expected_volume_ml",))
    [job] = match_folders(tmp_path / "mine", tmp_path / "theirs").jobs
    job = replace(job, labels=choose_labels(labels).labels, score=tmp_path / "p.nii.gz")
    for channels in (p, p[1:]):
        data = torch.from_numpy(channels.reshape(-1, *GRID.shape).copy())
        io.save(Image(data, GRID, "probability"), tmp_path / "p.nii.gz")
        found = values_of(score_all([job], settings), "expected_volume_ml")
        x, y = ("1", "2") if labels is None else ("x", "y")
        assert found["a", x][0] == pytest.approx(0.75 * GRID.voxel_volume_ml)
        assert found["a", y][0] == pytest.approx(1.0 * GRID.voxel_volume_ml)


def test_channels_of_probabilities_that_nothing_tells_are_refused() -> None:
    p = np.full((2, 1, 1, 2), 0.25)
    with pytest.raises(LabelError, match="which channel of the probabilities"):
        scores_of(p, None, {"1": (1,), "3": (3,)}, declared=False)
    with pytest.raises(LabelError, match="no background"):
        scores_of(p, None, {"1": (1,)}, declared=False)
    regions = scores_of(np.arange(2.0)[:, None, None, None], None, {"b": (1, 2), "a": (2,)}, declared=True)
    assert (regions["b"].item(), regions["a"].item()) == (0, 1)


def test_metrics_of_lesions_follow_the_rule_of_the_table() -> None:
    def ids(**lesions: float | str) -> list[str]:
        settings = EvaluationSettings.make({"metrics": ["dice", "lesion_f1"], "lesions": lesions})
        return [one.id for one in settings.definitions("x")[:2]]

    assert ids() == ["dice/voxel", "lesion_f1/iou@0.5/optimal"]
    assert ids(rule="any") == ["dice/voxel", "lesion_f1/any"]
    assert ids(min_ml=0.1) == ["dice/voxel", "lesion_f1/iou@0.5/optimal/min@0.1ml"]
    assert ids(connectivity=6)[1].startswith("lesion_f1/iou@0.5/optimal/6")


def test_values_that_number_lesions_are_said(tmp_path: Path) -> None:
    data = np.arange(math.prod((6, 5, 5)), dtype=np.uint8)
    grid = Grid((6, 5, 5))
    for side in ("mine", "theirs"):
        io.save(
            Image(torch.from_numpy(data.reshape(1, 6, 5, 5)), grid, "label"), tmp_path / side / "a.nii.gz"
        )
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", DICE)
    assert remarks(found) == [
        "149 labels. If their values number lesions or instances: --labels nonzero.",
    ]


def test_accents_as_macos_writes_them_are_the_same_name(tmp_path: Path) -> None:
    for name in ("pred/pe\u0301.nii.gz", "ref/p\u00e9.nii.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = match_folders(tmp_path / "pred", tmp_path / "ref")
    assert [(job.case, job.prediction.exists() if job.prediction else None) for job in found.jobs] == [
        ("p\u00e9", True)
    ]
    assert found.failures == []
