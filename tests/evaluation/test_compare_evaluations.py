"""Comparison of evaluation folders: gaps, definitions, patients, equivalence, volumes, raters, files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from matplotlib.image import imread

from truevox.errors import CaseError, FileError, SettingsError
from truevox.evaluation import METRIC_COLUMNS, Comparison, compare, compare_table
from truevox.evaluation.comparison.agreements import AGREEMENT_COLUMNS
from truevox.evaluation.comparison.differences import DIFFERENCE_COLUMNS
from truevox.evaluation.comparison.standings import RANKING_COLUMNS
from truevox.files import write_csv

A = (0.80, 0.75, 0.90, 0.62, 0.70, 0.88, 0.55, 0.77, 0.81, 0.69)
B = (0.78, 0.70, 0.91, 0.55, 0.66, 0.85, 0.56, 0.70, 0.80, 0.60)
CASES = [f"p{k}" for k in range(10)]
IDS = {"dice": "dice/voxel", "volume_difference_ml": "volume_difference/threshold"}
IDS["absolute_volume_difference_ml"] = "absolute_volume_difference/threshold"
UNITS = {"volume_difference_ml": "ml", "absolute_volume_difference_ml": "ml", "volume_ml": "ml"}


def row(case: str, value: float, metric: str = "dice", status: str = "ok", **others: object) -> dict:
    return {
        "case": case, "label": "tumour", "metric": metric, "value": value, "unit": UNITS.get(metric, "1"),
        "status": status, "definition": IDS.get(metric, metric), "output": "segmentation",
        "patient": "", "when_empty": None, "software": "truevox 0",
    } | others  # fmt: skip


def folder(path: Path, rows: Sequence[Mapping]) -> Path:
    write_csv(path / "metrics.csv", rows, METRIC_COLUMNS)
    return path


def two(tmp_path: Path, first: Sequence[Mapping], second: Sequence[Mapping]) -> dict[str, Path]:
    return {"a": folder(tmp_path / "a", first), "b": folder(tmp_path / "b", second)}


def scores(values: Sequence[float], metric: str = "dice", cases: Sequence[str] = CASES) -> list[dict]:
    return [row(case, value, metric) for case, value in zip(cases, values, strict=False)]


def quick(evaluations: Mapping[str, Path], **options: object) -> Comparison:
    return compare(evaluations, **{"resamples": 200, "rank_resamples": 50, **options})  # type: ignore[arg-type]


# ---- numbers ----------------------------------------------------------------------------------------


def test_worked_example(tmp_path: Path) -> None:
    found = compare(two(tmp_path, scores(A), scores(B)), margins={"dice": 0.06})
    [one] = found.differences
    assert (one["first"], one["second"], one["n"], one["patients"]) == ("a", "b", 10, 10)
    assert one["mean_difference"] == pytest.approx(0.036)
    # Student's interval of the ten differences, 0.036 -+ 2.2622 * 0.010873, and a little more to one side.
    assert (one["ci_low"], one["ci_high"]) == pytest.approx((0.0114036, 0.0605964), abs=0.0005)
    assert one["median_difference"] == pytest.approx(0.035)
    assert (one["effect"], one["superiority"]) == pytest.approx((47 / 55, 0.8))
    assert one["effect_low"] < one["effect"] <= one["effect_high"]
    assert (one["p"], one["p_adjusted"], one["equivalent"]) == (0.015625, 0.015625, True)
    assert (one["dropped"], one["filled"]) == (0, 0)
    assert [(r["method"], r["rank"]) for r in found.ranking] == [("a", 1), ("b", 2)]
    assert found.ranking[0]["mean"] == pytest.approx(np.mean(A))
    assert found.friedman == ()


@pytest.mark.parametrize(("test", "p"), [("wilcoxon", 0.015625), ("t", 0.009070), ("sign", 0.109375)])
def test_other_tests(tmp_path: Path, test: str, p: float) -> None:
    [one] = quick(two(tmp_path, scores(A), scores(B)), test=test).differences
    assert (one["test"], one["p"]) == (test, pytest.approx(p, abs=5e-7))


def test_effect_above_zero_is_better_where_little_is_good(tmp_path: Path) -> None:
    name = "absolute_volume_difference_ml"
    found = quick(two(tmp_path, scores(B, name), scores(A, name)))
    [one] = found.differences
    assert (one["mean_difference"], one["effect"]) == pytest.approx((-0.036, 47 / 55))
    assert [r["method"] for r in found.ranking] == ["a", "b"]


def test_three_methods_and_corrections_over_all(tmp_path: Path) -> None:
    third = [x - 0.1 for x in B]
    places = two(tmp_path, scores(A), scores(B)) | {"c": folder(tmp_path / "c", scores(third))}
    found = quick(places, correction="holm")
    p = sorted(one["p"] for one in found.differences)
    assert [(one["first"], one["second"]) for one in found.differences] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert p == [2 / 1024, 2 / 1024, 0.015625]
    assert sorted(one["p_adjusted"] for one in found.differences) == pytest.approx(
        [6 / 1024] * 2 + [0.015625]
    )
    [all_of_them] = found.friedman
    peer = scipy.stats.friedmanchisquare(A, B, third)
    assert (all_of_them["statistic"], all_of_them["p"]) == pytest.approx((peer.statistic, peer.pvalue))


def test_a_patient_is_one_however_often_scanned(tmp_path: Path) -> None:
    """Three scans of each of two patients: no test of two can show anything."""
    cases = [f"{p}/t{k}" for p in ("p1", "p2") for k in range(3)]
    places = two(tmp_path, scores([0.9] * 6, cases=cases), scores([0.8] * 6, cases=cases))
    found = quick(places)
    assert (found.differences[0]["n"], found.differences[0]["patients"]) == (6, 2)
    assert found.differences[0]["p"] == 0.5
    assert any("2 patients: no p-value of this test can be below 0.5" in text for text in found.warnings)
    assert quick(places, unit="case").differences[0]["p"] == 2 / 2**6
    shared = quick(places, patients={case: case[:2] + case[-1] for case in cases})
    assert shared.differences[0]["patients"] == 6


def test_patients_come_from_the_table_of_cases(tmp_path: Path) -> None:
    places = two(tmp_path, scores(A), scores(B))
    (tmp_path / "a" / "cases.csv").write_text(
        "case,patient\n" + "".join(f"p{k},q{k // 2}\n" for k in range(10))
    )
    assert quick(places).differences[0]["patients"] == 5


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    places = two(tmp_path, scores(A), scores(B))
    assert quick(places).as_json() == quick(places).as_json()
    first, second = (quick(places, seed=k, interval="percentile").differences[0] for k in (0, 1))
    assert first["ci_low"] != second["ci_low"]


# ---- gaps -------------------------------------------------------------------------------------------


def gappy(tmp_path: Path) -> dict[str, Path]:
    """b: p1 failed, p2 has no row; p3 is empty and b draws something; p4 is empty for both."""
    first = [row("p0", 0.8), row("p1", 0.7), row("p2", 0.9), row("p3", math.nan, status="undefined")]
    first += [row("p4", math.nan, status="undefined"), row("p5", 0.6)]
    second = [row("p0", 0.7), row("p1", math.nan, status="failed"), row("p3", 0.0, status="spurious")]
    second += [row("p4", math.nan, status="undefined"), row("p5", 0.5)]
    return two(tmp_path, first, second)


def test_gaps_get_the_worst_value_and_are_said(tmp_path: Path) -> None:
    found = quick(gappy(tmp_path))
    [one] = found.differences
    assert (one["n"], one["dropped"], one["filled"]) == (5, 1, 3)
    assert one["mean_difference"] == pytest.approx(np.mean([0.1, 0.7, 0.9, 1.0, 0.1]))
    said = "\n".join(found.warnings)
    assert (
        "'b' gets the worst value, 0 (end of the metric's range), for 2 cases (1 failed, 1 without a row)"
        in said
    )
    assert "'a' gets the best value, 1, for 1 case where it rightly found nothing" in said
    assert "dice of 'tumour': 1 case left out: undefined for all methods." in said


def test_gaps_are_left_out_and_said(tmp_path: Path) -> None:
    found = quick(gappy(tmp_path), missing="drop")
    [one] = found.differences
    assert (one["n"], one["dropped"], one["filled"]) == (2, 4, 0)
    assert one["mean_difference"] == pytest.approx(0.1)
    assert any("3 cases left out: not complete (--missing drop)" in text for text in found.warnings)


def test_an_endless_metric_takes_the_worst_value_of_any_method(tmp_path: Path) -> None:
    name = "absolute_volume_difference_ml"
    second = [row("p0", 7.0, name), row("p1", math.nan, name, "failed")]
    found = quick(two(tmp_path, scores([1.0, 2.0], name), second))
    assert found.differences[0]["mean_difference"] == pytest.approx((1 - 7 + 2 - 7) / 2)
    assert any("7 (worst value of any method)" in text for text in found.warnings)


def test_nothing_left_is_said(tmp_path: Path) -> None:
    nothing = [row(case, math.nan, status="undefined") for case in CASES]
    found = quick(two(tmp_path, nothing, nothing))
    assert found.differences == ()
    assert found.ranking == []
    assert any("nothing to compare" in text for text in found.warnings)
    found.write(tmp_path / "out")


# ---- volumes and raters -----------------------------------------------------------------------------

REFERENCE = (10.0, 20.0, 5.0, 15.0, 30.0)
FIRST = (11.0, 22.0, 6.0, 15.0, 28.0)
SECOND = (9.0, 21.0, 5.0, 17.0, 33.0)


def volumes(predicted: Sequence[float], *, plain: bool = False) -> list[dict]:
    differences = np.subtract(predicted, REFERENCE)
    rows = scores(differences.tolist(), "volume_difference_ml")
    rows += scores(np.abs(differences).tolist(), "absolute_volume_difference_ml")
    if plain:
        rows += scores(predicted, "volume_ml") + scores(REFERENCE, "reference_volume_ml")
    return rows


def test_bland_altman_of_volumes(tmp_path: Path) -> None:
    found = quick(two(tmp_path, volumes(FIRST), volumes(SECOND)))
    rows = {(r["first"], r["second"]): r for r in found.agreement if r["bias"] is not None}
    one = rows["a", "reference"]
    assert (one["bias"], one["sd"]) == pytest.approx((0.4, 1.516575), abs=5e-7)
    assert (one["lower"], one["upper"]) == pytest.approx((-2.572487, 3.372487), abs=5e-7)
    assert rows["a", "b"]["bias"] == pytest.approx(np.mean(np.subtract(FIRST, SECOND)))
    assert one["icc"] is None
    assert any("intraclass correlation of volumes is not available" in text for text in found.warnings)
    only = quick(two(tmp_path, volumes(FIRST) + scores(A), volumes(SECOND) + scores(B)), metrics=["dice"])
    assert {r["metric"] for r in only.agreement} == {"dice"}
    tested = {r["metric"] for r in found.differences}
    assert tested == {"absolute_volume_difference_ml"}, "the signed one says the same by its size"


def test_icc_where_there_are_volumes(tmp_path: Path) -> None:
    better = {"volume_ml": "zero", "reference_volume_ml": "zero"}
    found = quick(two(tmp_path, volumes(FIRST, plain=True), volumes(SECOND, plain=True)), better=better)
    rows = {(r["first"], r["second"]): r for r in found.agreement if r["bias"] is not None}
    x = np.stack([FIRST, REFERENCE])
    n, k = 5, 2
    msr = k * x.mean(0).var(ddof=1)
    msc = n * x.mean(1).var(ddof=1)
    mse = ((x - x.mean(0) - x.mean(1)[:, None] + x.mean()) ** 2).sum() / ((n - 1) * (k - 1))
    assert rows["a", "reference"]["icc"] == pytest.approx((msr - mse) / (msr + mse + k / n * (msc - mse)))
    assert not any("not available" in text for text in found.warnings)
    assert {r["metric"] for r in found.differences} == {"absolute_volume_difference_ml"}


def test_table_of_raters(tmp_path: Path) -> None:
    """A method as near to rater 1 as rater 2 is, and one that is not."""
    noise = np.resize([0.001, -0.001], len(A))
    human, near, far = np.array(A), np.array(A) - 0.01 + noise, np.array(A) - 0.2 + noise
    places = {
        "auto-r1": folder(tmp_path / "x", scores(near.tolist())),
        "old-r1": folder(tmp_path / "y", scores(far.tolist())),
        "r1-r2": folder(tmp_path / "z", scores(human.tolist())),
    }
    rows = {r["first"]: r for r in quick(places, human="r1-r2").agreement}
    assert rows["r1-r2"]["mean"] == pytest.approx(human.mean())
    assert rows["r1-r2"]["sd"] == pytest.approx(human.std(ddof=1))
    assert rows["auto-r1"]["human_difference"] == pytest.approx(-0.01)
    assert [rows[n]["within_human_range"] for n in ("auto-r1", "old-r1", "r1-r2")] == [True, False, None]
    with pytest.raises(SettingsError, match="human raters"):
        quick(places, human="r1-r3")


# ---- what can't be compared -------------------------------------------------------------------------


def test_definitions_that_differ(tmp_path: Path) -> None:
    other = [row(case, 0.5, definition="dice@2/voxel") for case in CASES]
    with pytest.raises(CaseError, match="define 'dice' differently") as caught:
        quick(two(tmp_path, scores(A), other))
    assert caught.value.got == "a: dice/voxel; b: dice@2/voxel"


def test_rows_that_are_there_twice(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="a second time") as caught:
        quick(two(tmp_path, scores(A) + scores(A[:1]), scores(B)))
    assert caught.value.case == "p0"


def test_folders_without_metrics(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(FileError, match=r"no metrics\.csv") as caught:
        quick({"a": folder(tmp_path / "a", scores(A)), "b": tmp_path / "b"})
    assert "truevox evaluate" in str(caught.value)


def test_one_evaluation_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two evaluations or more"):
        quick({"a": folder(tmp_path / "a", scores(A))})


def test_no_case_in_common(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no case in common"):
        quick(two(tmp_path, scores(A), scores(B, cases=[f"q{k}" for k in range(10)])))


def test_a_metric_that_one_lacks_is_left_out_and_said(tmp_path: Path) -> None:
    found = quick(two(tmp_path, scores(A) + scores(A, "jaccard"), scores(B)), better={"jaccard": "higher"})
    assert "jaccard of 'tumour' is left out: b has none." in found.warnings
    assert {r["metric"] for r in found.differences} == {"dice"}


def test_unknown_metrics_need_a_direction(tmp_path: Path) -> None:
    places = two(tmp_path, scores(A, "my_score"), scores(B, "my_score"))
    with pytest.raises(SettingsError, match="--better my_score=higher"):
        quick(places)
    assert quick(places, better={"my_score": "lower"}).ranking[0]["method"] == "b"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metrics": ["hd"]}, "No evaluation has the metric 'hd'"),
        ({"labels": ["liver"]}, "No evaluation has the label 'liver'"),
        ({"test": "z"}, "no such test"),
        ({"correction": "bonferroni"}, "no such correction"),
        ({"missing": "ignore"}, "no such missing"),
        ({"unit": "lesion"}, "no such unit"),
        ({"margins": {"dice": -1}}, "margin of 'dice'"),
        ({"margins": {"hd95": 1.0}}, "margin for 'hd95', which is not compared"),
        ({"scheme": "best"}, "no such scheme"),
        ({"patients": {"p0": "x"}}, "table of patients lacks cases"),
    ],
)
def test_settings_that_can_not_be_used(tmp_path: Path, options: dict, text: str) -> None:
    with pytest.raises((SettingsError, CaseError), match=text):
        quick(two(tmp_path, scores(A), scores(B)), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,label\np0,tumour\n", "lacks the columns metric, value, status, definition"),
        ("", "an empty file"),
        ("case,label,metric,value,status,definition\np0,t,dice,much,ok,dice/voxel\n", "no number"),
        ("case,label,metric,value,status,definition\np0,t,di", "another number of cells"),
        ("case,label,metric,value,status,definition\n", "has no rows"),
    ],
)
def test_damaged_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.csv").write_text(text)
    with pytest.raises(FileError) as caught:
        quick({"a": folder(tmp_path / "a", scores(A)), "b": tmp_path / "b"})
    assert message in str(caught.value)


# ---- tables of challenges ---------------------------------------------------------------------------


def long_rows(**values: Sequence[float]) -> list[dict]:
    return [
        {"case": f"p{k}", "method": name, "value": x} for name, column in values.items()
        for k, x in enumerate(column)
    ]  # fmt: skip


def test_table_of_a_challenge() -> None:
    found = compare_table(long_rows(a=A, b=B), resamples=200)
    assert found.differences[0]["p"] == 0.015625
    down = compare_table(long_rows(a=A, b=B), better="lower", resamples=200)
    assert down.ranking[0]["method"] == "b"


def test_missing_values_of_a_table_take_the_end_of_the_range() -> None:
    found = compare_table(long_rows(a=A, b=(*B[:9], math.nan)), low=0, high=1, resamples=200)
    assert found.differences[0]["filled"] == 1
    assert found.differences[0]["mean_difference"] == pytest.approx((0.36 - 0.09 + 0.69) / 10)


def test_a_method_with_two_values_of_one_case() -> None:
    with pytest.raises(CaseError, match="second value"):
        compare_table([*long_rows(a=A, b=B), {"case": "p0", "method": "a", "value": 1.0}])


def test_tasks_have_one_order_over_all() -> None:
    rows = [r | {"task": "one"} for r in long_rows(a=A, b=B)]
    rows += [r | {"task": "two"} for r in long_rows(a=A, b=B)]
    found = compare_table(rows, task="task", resamples=200)
    assert [(r["method"], r["mean_rank"]) for r in found.overall] == [("a", 1.0), ("b", 2.0)]
    assert [r["p_adjusted"] for r in found.differences] == [2 * 0.015625] * 2


# ---- files ------------------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    found = quick(two(tmp_path, scores(A) + volumes(FIRST), scores(B) + volumes(SECOND)))
    written = found.write(tmp_path / "out")
    columns = {
        "comparison.csv": DIFFERENCE_COLUMNS, "ranking.csv": RANKING_COLUMNS,
        "agreement.csv": AGREEMENT_COLUMNS,
    }  # fmt: skip
    for name, expected in columns.items():
        with (tmp_path / "out" / name).open(newline="") as stream:
            table = csv.DictReader(stream)
            rows = list(table)
            assert tuple(table.fieldnames or ()) == expected
            assert rows
    whole = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert whole["settings"]["test"] == "permutation"
    assert whole["differences"][0]["p"] == 0.015625
    assert whole["warnings"] == list(found.warnings)
    pictures = [file for file in written if file.suffix == ".png"]
    assert {file.name for file in pictures} >= {
        "scores_dice_tumour.png", "ranking_dice_tumour.png", "bland_altman_tumour.png", "rank_stability.png",
    }  # fmt: skip
    for file in pictures:
        picture = imread(file)[..., :3]
        assert picture.std() > 0.05, f"{file.name} is blank"
    assert found.write(tmp_path / "plain", figures=False)[-1].name == "comparison.json"


def test_names_that_are_no_file_names(tmp_path: Path) -> None:
    rows = [row(case, x, label="../<script>/wei\u00df") for case, x in zip(CASES, A, strict=True)]
    written = quick(two(tmp_path, rows, rows)).write(tmp_path / "out")
    assert {file.parent for file in written} == {tmp_path / "out"}
    assert all(file.is_file() for file in written)
