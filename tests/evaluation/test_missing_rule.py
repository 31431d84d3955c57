"""One rule for missing, failed, missed and undefined values, and the same numbers in every table."""

from __future__ import annotations

import html
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.cli.scoring import table as printed
from truevox.cohort import Case
from truevox.errors import CaseError, FileError, SettingsError
from truevox.evaluation import EvaluationSettings, compare, compare_table, evaluate_folders, summary
from truevox.evaluation.comparison.missing import RULES, Scores, resolve
from truevox.evaluation.jobs import LESION_COLUMNS, Evaluation
from truevox.evaluation.statistics.by_patient import counted
from truevox.evaluation.tables import write_evaluation
from truevox.metrics import definition
from truevox.report import write_report
from truevox.report.bland_altman import agreements
from truevox.report.folder import read_folders
from truevox.report.headline import headline
from truevox.report.lesions import detections
from truevox.report.words import number

NAN = math.nan


def scores(values: Sequence[Sequence[float]], status: Sequence[Sequence[str]], metric: str = "hd95", **more):
    known = definition(metric)
    assert known.better != "none"
    cases = tuple(f"p{k}" for k in range(len(values[0])))
    return Scores(
        "liver", metric, known.unit, known.id, known.better, known.low, known.high, known.best,
        tuple("abcd"[: len(values)]), cases, cases, np.array(values, float), np.array(status), **more,
    )  # fmt: skip


# ---- the rule -----------------------------------------------------------------------------------------


def test_failing_is_as_bad_as_an_empty_mask() -> None:
    """Whose distance is the diagonal, 99 mm; not the worst of those who tried, 3 mm."""
    values, status = [[2, 2, NAN], [3, 3, 3]], [["ok", "ok", "failed"], ["ok"] * 3]
    found = resolve(scores(values, status, when_empty=np.array([90.0, 95.0, 99.0])))
    assert found.values[0, 2] == 99
    assert found.worst == (99, 99)


def test_failing_is_as_bad_as_the_worst_of_all_who_tried() -> None:
    """A volume that is 300 ml too large is worse than none, of 40 ml."""
    values, status = [[5, NAN, 1], [300, 5, 2]], [["ok", "absent", "ok"], ["ok"] * 3]
    name = "absolute_volume_difference_ml"
    found = resolve(scores(values, status, name, when_empty=np.array([50.0, 40.0, 60.0])))
    assert found.values[0].tolist() == [5, 300, 1]


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(60, 100)), min_size=2, max_size=6),
    st.data(),
)
def test_failing_never_beats_trying(cases: list[tuple[float, float, float]], data: st.DataObject) -> None:
    """Whatever the first method does on a case, empty mask included, it is no better to fail there."""
    x = np.array(cases).T
    k = data.draw(st.integers(0, x.shape[1] - 1))
    status = np.full((2, x.shape[1]), "ok", dtype="<U9")
    for tried, as_what in ((x[0, k], "ok"), (x[2, k], "missed")):
        values, states = x[:2].copy(), status.copy()
        values[0, k], states[0, k] = tried, as_what
        trying = resolve(scores(values.tolist(), states.tolist(), when_empty=x[2]))
        values[0, k], states[0, k] = NAN, "failed"
        failing = resolve(scores(values.tolist(), states.tolist(), when_empty=x[2]))
        assert failing.values[0].mean() >= trying.values[0].mean() - 1e-9
        assert (failing.field.case_ranks[0] >= trying.field.case_ranks[0]).all()


def test_finding_nothing_where_nothing_is_is_best_and_failing_there_is_worst() -> None:
    values = [[NAN, NAN, NAN, NAN], [0, NAN, 0, NAN], [NAN, NAN, 0.7, NAN]]
    status = [["undefined"] * 4, ["spurious", "failed", "missed", "undefined"]]
    status += [["undefined", "undefined", "ok", "undefined"]]
    found = resolve(scores(values, status, "dice"))
    assert found.values.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 0.7]]
    assert found.cases == ["p0", "p1", "p2"]
    # Of another tool NaN says nothing of the reference.
    other = resolve(scores(values, status, "dice", known_empty=False))
    assert other.values.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0.7]]


# ---- tables of other tools ---------------------------------------------------------------------------


def long(**columns: Sequence[object]) -> list[dict]:
    return [
        {"case": f"p{k}", "method": m, "value": x}
        for m, column in columns.items()
        for k, x in enumerate(column)
    ]


def quick(rows: list[dict] | Path, **options):
    return compare_table(rows, resamples=50, rank_resamples=20, **options)


def test_nan_is_undefined_and_infinite_is_missed() -> None:
    found = quick(long(a=[3.0, "inf", 4.0, "nan", ""], b=[2.0, 5.0, 3.0, 1.0, "NA"]), better="lower")
    [table] = [one.table for one in found.standings]
    assert table.scores.status.tolist() == [
        ["ok", "missed", "ok", "undefined", "undefined"],
        ["ok"] * 4 + ["undefined"],
    ]
    assert table.values.tolist() == [[3, 5, 4, 5], [2, 5, 3, 1]]
    assert "1 missed, 1 undefined" in " ".join(
        found.warnings
    ) or "1 undefined for this method only, 1 missed" in " ".join(found.warnings)
    with pytest.raises(CaseError, match="infinitely good"):
        quick(long(a=[0.5, "inf"], b=[0.5, 0.6]))


@pytest.mark.parametrize(
    ("columns", "options", "text"),
    [
        (
            {"a": [85, 0.9], "b": [0.8, 0.7]},
            {"low": 0, "high": 1},
            r"outside of its range(.|\n)*85 \(row 2, p0\)",
        ),
        ({"a": [85, 90], "b": [0.8, 0.7]}, {}, "fractions, those of others like percentages"),
        ({"a": ["0,85", 0.9], "b": [0.8, 0.7]}, {}, "no number(.|\n)*0,85(.|\n)*decimal point as a point"),
        ({"a": ["1,234.5", 9], "b": [8, 7]}, {}, "no number(.|\n)*separators of thousands"),
        ({"a": ["85 %", 9], "b": [8, 7]}, {}, "no number(.|\n)*percentages without their sign"),
        ({"a": ["1_000", 9], "b": [8, 7]}, {}, "no number"),
        ({"a": [1, 2], "A": [8, 7]}, {}, "One method is spelled in two ways"),
        ({"a": [1, 2], "a ": [8, 7]}, {}, "One method is spelled in two ways"),
    ],
)
def test_what_is_suspicious_is_refused(columns: dict, options: dict, text: str) -> None:
    with pytest.raises((CaseError, FileError), match=text):
        quick(long(**columns), **options)


@pytest.mark.parametrize("other", ["p01", "P1", "p1 "])
def test_a_case_is_spelled_in_one_way(other: str) -> None:
    rows = [
        {"case": c, "method": m, "value": 0.5}
        for m, c in (("a", "p1"), ("a", "p2"), ("b", other), ("b", "p2"))
    ]
    with pytest.raises(CaseError, match="One case is spelled in two ways"):
        quick(rows)


def test_a_direction_does_not_contradict_the_name() -> None:
    rows = [{"case": f"p{k}", "method": m, "HD95": k + 1.0} for m in "ab" for k in range(3)]
    with pytest.raises(SettingsError, match=r"small values are good(.|\n)*--lower-better"):
        quick(rows, value="HD95")
    assert quick(rows, value="HD95", better="lower").methods == ("a", "b")
    with pytest.raises(SettingsError, match="large values are good"):
        quick([row | {"dsc": 0.5} for row in rows], value="dsc", better="lower")


def test_the_range_is_known_by_the_name() -> None:
    """Without it, failing would cost the worst Dice of any method, 0.4 or 40, and not 0."""
    for scale in (1, 100):
        rows = long(a=[0.5 * scale, 0.6 * scale], b=[0.4 * scale])
        found = quick([{**row, "DSC": row["value"]} for row in rows], value="DSC")
        [table] = [one.table for one in found.standings]
        assert table.values.tolist() == [[0.5 * scale, 0.6 * scale], [0.4 * scale, 0]]
        assert table.scores.high == scale
        assert quick(rows).standings[0].table.values[1].tolist() == [0.4 * scale] * 2


def test_a_case_has_one_patient() -> None:
    rows = [{"case": "s1", "method": m, "value": 0.5, "who": w} for m, w in (("a", "p1"), ("b", "p2"))]
    with pytest.raises(CaseError, match="a second patient"):
        quick(rows, patient="who")


def test_na_is_no_patient(tmp_path: Path) -> None:
    """Else all scans of nobody knows whom would be one patient's."""
    rows = [{"case": "s1", "method": m, "value": 0.5, "who": "n/a"} for m in "ab"]
    with pytest.raises(FileError, match="empty 'who'"):
        quick(rows, patient="who")
    mask = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    nibabel.save(mask, tmp_path / "a.nii")
    table = tmp_path / "pairs.csv"
    table.write_text("case,prediction,reference,patient\n" + "".join(
        f"s{k},a.nii,a.nii,{who}\n" for k, who in enumerate(["NA", "na", "p3"])
    ))  # fmt: skip
    assert [row["patient"] for row in evaluate_folders(table).cases] == ["s0", "s1", "p3"]
    case = Case("s0", {"patient": "NA", "subject": "p7"})
    assert (case.owner("patient"), case.owner("subject"), case.owner("other")) == ("", "p7", "")


# ---- the same numbers everywhere ---------------------------------------------------------------------

ROW = {"label": "liver", "output": "segmentation", "software": "truevox 0"}
METRICS = {"dice": (0.0, None), "hd95": (NAN, 99.0), "volume_difference_ml": (NAN, -40.0)}


def rows_of(values: Mapping[str, Sequence[tuple[float, str]]], patients: Sequence[str]) -> list[dict]:
    """Rows of metrics.csv: of each metric, value and status of every scan."""
    return [
        ROW
        | {"case": f"s{k}", "patient": patients[k], "metric": name, "value": value, "status": status}
        | {"unit": definition(name).unit, "definition": definition(name).id, "when_empty": METRICS[name][1]}
        for name, column in values.items()
        for k, (value, status) in enumerate(column)
    ]


def written(folder: Path, rows: list[dict]) -> Path:
    write_evaluation(folder, Evaluation(rows, []))
    return folder


VALUES = st.lists(
    st.tuples(st.integers(0, 4), *[st.integers(0, 100)] * 4, st.booleans()), min_size=3, max_size=12
)


@settings(max_examples=10, deadline=None)
@given(VALUES)
def test_summary_report_and_comparison_say_the_same(drawn: list[tuple]) -> None:
    patients = [f"p{row[0]}" for row in drawn]
    folders, tables = {}, {}
    with tempfile.TemporaryDirectory() as place:
        for m, name in enumerate("ab"):
            values: dict[str, list[tuple[float, str]]] = {"dice": [], "hd95": [], "volume_difference_ml": []}
            for _, *x, failed in drawn:
                state = "failed" if failed and name == "a" else "ok"
                for metric, value in zip(values, (x[m] / 100, x[m] / 2, x[2 + m] - 50.0), strict=True):
                    values[metric].append((value if state == "ok" else NAN, state))
            tables[name] = rows_of(values, patients)
            folders[name] = written(Path(place) / name, tables[name])
        found = compare(folders, rank_resamples=5)
        read = read_folders(folders)
        [block] = headline(read)
        bias = {read[one.method].method: one.found for one in agreements(read)}
        stored = {
            name: json.loads((path / "summary.json").read_text())["metrics"] for name, path in folders.items()
        }
    ranking = {(row["method"], row["metric"]): row for row in found.ranking}
    complete = {name for name, rows in tables.items() if all(row["status"] == "ok" for row in rows)}
    for position, cells in block.rows:
        name = "ab"[position]
        for metric, cell in zip(("dice", "hd95"), cells, strict=False):
            row = ranking[name, metric]
            assert cell is not None
            assert cell.mean == number(row["mean"])
            assert cell.interval.startswith("no interval") == np.isnan(row["ci_low"])
            if not np.isnan(row["ci_low"]):
                assert cell.interval == f"{number(row['ci_low'])} to {number(row['ci_high'])}"
    for name in complete:
        for one, plain in zip(summary(tables[name]), stored[name], strict=True):
            assert plain["mean"] == pytest.approx(one.mean)
            if (row := ranking.get((name, one.metric))) is not None:
                assert (row["n"], row["patients"]) == (one.n, one.patients)
                assert (row["mean"], row["ci_low"], row["ci_high"]) == pytest.approx(
                    (one.mean, one.ci_low, one.ci_high), nan_ok=True
                )
    limits = {row["first"]: row for row in found.agreement if row["second"] == "reference"}
    for name, row in limits.items():
        [one] = [s for s in summary(tables[name]) if s.metric == "volume_difference_ml"]
        own = bias[name]
        for x, y, z in (
            (row["bias"], own.bias.value, one.mean), (row["bias_low"], own.bias.low, one.ci_low),
            (row["bias_high"], own.bias.high, one.ci_high), (row["upper_low"], own.upper.low, own.upper.low),
        ):  # fmt: skip
            assert (x, z) == pytest.approx((y, y), nan_ok=True)
    for row in found.differences:
        means = [ranking[row[k], row["metric"]]["mean"] for k in ("first", "second")]
        if row["metric"] != "volume_difference_ml":
            assert row["mean_difference"] == pytest.approx(means[0] - means[1], abs=1e-9)


def test_an_evaluation_knows_its_patients_and_what_an_empty_mask_would_get(tmp_path: Path) -> None:
    mask = np.zeros((20, 20, 10), np.uint8)
    mask[4:12, 4:12, 2:8] = 1
    lines = ["case,prediction,reference,patient"]
    for k in range(6):
        for name, array in (("r", mask), ("p", np.roll(mask, k // 2, 0))):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}{k}.nii")
        lines.append(f"s{k},p{k}.nii,r{k}.nii,P{k // 2}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    found = evaluate_folders(
        tmp_path / "pairs.csv",
        None,
        EvaluationSettings(metrics=("dice", "hd95", "absolute_volume_difference_ml")),
    )
    assert [row["patient"] for row in found.rows if row["metric"] == "dice"] == [
        "P0",
        "P0",
        "P1",
        "P1",
        "P2",
        "P2",
    ]
    first = {row["metric"]: row["when_empty"] for row in found.rows if row["case"] == "s0"}
    assert first["dice"] is None
    assert first["hd95"] == pytest.approx(math.sqrt(20**2 + 20**2 + 10**2))
    assert first["absolute_volume_difference_ml"] == pytest.approx(mask.sum() / 1000)
    [dice] = [one for one in summary(found.rows) if one.metric == "dice"]
    assert (dice.n, dice.patients, dice.counted) == (6, 3, "6 scans of 3 patients")
    means = np.array([1, 7 / 8, 6 / 8])
    assert dice.ci_low <= means.mean() - 4.302653 * means.std(ddof=1) / np.sqrt(3) + 1e-6


def test_what_the_mean_leaves_out_is_counted() -> None:
    values = [(0.8, "ok"), (NAN, "ok"), (NAN, "missed"), (NAN, "failed"), (0.0, "missed")]
    [one] = summary(rows_of({"dice": values}, [f"p{k}" for k in range(5)]))
    assert (one.n, one.n_undefined, one.n_missed, one.n_failed, one.n_left_out) == (2, 1, 2, 1, 3)


def test_two_evaluations_name_one_patient(tmp_path: Path) -> None:
    rows = rows_of({"dice": [(0.5, "ok"), (0.6, "ok"), (0.7, "ok")]}, ["A", "A", "B"])
    other = [row | {"patient": "C"} for row in rows]
    places = {"a": written(tmp_path / "a", rows), "b": written(tmp_path / "b", other)}
    with pytest.raises(CaseError, match="two patients of one case"):
        compare(places)
    # One that knows no better takes the patients of the other.
    plain = [row | {"patient": row["case"]} for row in rows]
    found = compare({"a": tmp_path / "a", "c": written(tmp_path / "c", plain)}, rank_resamples=5)
    assert found.differences[0]["patients"] == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [({"value": 85.0}, "outside of its range"), ({"status": "fine"}, "status that is not known")],
)
def test_tables_that_were_edited(tmp_path: Path, change: dict, text: str) -> None:
    rows = rows_of({"dice": [(0.5, "ok"), (0.6, "ok")]}, ["A", "B"])
    places = {"a": written(tmp_path / "a", rows)}
    places["b"] = written(tmp_path / "b", [rows[0] | change, rows[1]])
    with pytest.raises((CaseError, FileError), match=text):
        compare(places)


def test_lesions_of_a_failed_case_are_missed(tmp_path: Path) -> None:
    """Four patients with two lesions; one method finds all but fails on a case, the other finds half."""
    folders = {}
    for name, failed in (("a", 0), ("b", None)):
        status = [(NAN, "failed") if k == failed else (0.5, "ok") for k in range(4)]
        rows = rows_of({"dice": status}, [f"p{k}" for k in range(4)])
        lesions = [
            dict.fromkeys(LESION_COLUMNS, "")
            | {"case": f"s{k}", "output": "segmentation", "label": "liver", "rule": "any",
               "reference_lesion": j,
               "kind": "matched" if name == "a" or j == 0 else "missed", "reference_ml": 1.0}
            for k in range(4) if k != failed for j in range(2)
        ]  # fmt: skip
        folders[name] = tmp_path / name
        write_evaluation(folders[name], Evaluation(rows, [], lesions), lesions=True)
    one, two = detections(read_folders(folders))
    assert (one.matched, one.missed, one.sensitivity) == (6, 2, 0.75)
    assert (two.matched, two.missed, two.sensitivity) == (4, 4, 0.5)
    assert (one.sensitivity_interval.n, one.sensitivity_interval.patients) == (8, 4)
    assert one.sensitivity_interval.low < 0.3, "eight lesions of four patients, all or nothing"


def test_patients_of_a_table_of_pairs_are_spelled_in_one_way(tmp_path: Path) -> None:
    lines = [f"s{k},a.nii,b.nii,{name}" for k, name in enumerate(("P1", "p1", "P2"))]
    (tmp_path / "pairs.csv").write_text("\n".join(["case,prediction,reference,patient", *lines]))
    with pytest.raises(CaseError, match="spelled in two ways"):
        evaluate_folders(tmp_path / "pairs.csv")


@pytest.mark.parametrize("column", ["case", "method", "who"])
def test_empty_names_are_refused(column: str) -> None:
    rows = [row | {"who": row["case"]} for row in long(a=[0.5, 0.6], b=[0.5, 0.7])]
    rows[1][column] = " "
    with pytest.raises(FileError, match=f"Row 3 has an empty '{column}'"):
        quick(rows, patient="who")


def test_ranks_of_two_patients_have_no_interval() -> None:
    """Samples of them would say that the order can't change."""
    found = quick(long(a=[0.5, 0.6], b=[0.4, 0.5]))
    assert [(row["rank"], row["rank_low"], row["wins"]) for row in found.ranking] == [
        (1, None, None),
        (2, None, None),
    ]
    assert "2 patients: no interval is shown for fewer than 3." in " ".join(found.warnings)


@pytest.mark.parametrize(
    "options", [{"unit": "case"}, {"patients": {f"s{k}": f"q{k % 3}" for k in range(8)}}]
)
def test_a_report_takes_patients_and_rule_of_its_comparison(tmp_path: Path, options: dict) -> None:
    rng = np.random.default_rng(0)
    names = [f"P{k // 2}" for k in range(8)]
    folders = {
        name: written(
            tmp_path / name,
            rows_of(
                {
                    "dice": [
                        (x, "ok") if k or name == "a" else (NAN, "failed")
                        for k, x in enumerate(rng.random(8))
                    ],
                    "volume_difference_ml": [(x, "ok") for x in rng.normal(size=8)],
                },
                names,
            ),
        )
        for name in "ab"
    }
    found = compare(folders, rank_resamples=5, missing="drop", **options)
    found.write(tmp_path / "cmp", figures=False)
    write_report(tmp_path / "r.html", folders, comparison=tmp_path / "cmp", worst=0, cases_in_viewer=0)
    page = html.unescape((tmp_path / "r.html").read_text())
    for row in found.ranking:
        if row["metric"] == "dice":
            assert f"{number(row['ci_low'])} to {number(row['ci_high'])}" in page
            assert counted(row["n"], row["patients"]) in page
    for row in found.agreement:
        if row["second"] == "reference":
            assert f"{number(row['bias_low'])} to {number(row['bias_high'])}" in page
            assert f"{number(row['upper_low'])} to {number(row['upper_high'])}" in page
    assert RULES["drop"] in page


def test_a_metric_that_failed_in_all_cases_is_not_compared(tmp_path: Path) -> None:
    """All would tie by what stands in for them: a difference of 0, p = 1 and a first rank for each."""
    cases = [f"p{k}" for k in range(6)]
    places = {
        name: written(
            tmp_path / name,
            rows_of({"dice": [(0.8 - j / 10, "ok")] * 6, "hd95": [(NAN, "failed")] * 6}, cases),
        )
        for j, name in enumerate("ab")
    }
    found = compare(places)
    assert (
        {row["metric"] for row in found.ranking} == {row["metric"] for row in found.differences} == {"dice"}
    )
    assert "6 cases left out: not complete (no method has a value)" in " ".join(found.warnings)
    # One that failed everywhere is the last, and says so.
    places["b"] = written(tmp_path / "c", rows_of({"dice": [(NAN, "failed")] * 6}, cases))
    found = compare(places)
    assert [(row["method"], row["mean"]) for row in found.ranking] == [("a", pytest.approx(0.8)), ("b", 0.0)]


def test_a_signed_mean_has_the_patients_of_its_neighbours_and_no_best(tmp_path: Path) -> None:
    """Eight scans of two patients by the table of the comparison; the evaluation took each for a patient."""
    cases = [f"s{k}" for k in range(8)]
    places = {}
    for j, name in enumerate("ab"):
        gaps = [(NAN, "failed")] * j
        values = {
            "dice": gaps + [(0.8, "ok")] * (8 - j),
            "volume_difference_ml": gaps + [(k - 3.0 - j, "ok") for k in range(j, 8)],
        }
        places[name] = written(tmp_path / name, rows_of(values, cases))
    folders = [
        replace(one, patients={case: f"p{k // 4}" for k, case in enumerate(cases)})
        for one in read_folders(places)
    ]
    [block] = headline(folders)
    for _, cells in block.rows:
        assert {cell.counted.split(" of ")[1] for cell in cells if cell} == {"2 patients"}
    bests = {
        title: [getattr(cells[k], "best", None) for _, cells in block.rows]
        for k, (title, *_) in enumerate(block.metrics)
    }
    assert bests == {"Dice": [True, False], "Volume difference": [False, False]}, "one of them lacks a case"


def test_pixels_and_millimetres_are_not_compared(tmp_path: Path) -> None:
    cases = ["p1", "p2", "p3"]
    rows = rows_of({"dice": [(0.8, "ok")] * 3}, cases)
    places = {"mm": written(tmp_path / "mm", rows)}
    places["px"] = written(tmp_path / "px", [row | {"definition": f"{row['definition']}/px"} for row in rows])
    with pytest.raises(
        CaseError, match=r"pixels in one(.|\n)*pixels: px; millimetres: mm(.|\n)*Remedy: give"
    ):
        compare(places)


def test_nothing_in_a_row_of_python_is_an_empty_cell() -> None:
    rows = [
        {"case": f"p{k}", "method": m, "value": None if (k, m) == (0, "b") else 0.5}
        for k in range(4)
        for m in "ab"
    ]
    assert compare_table(rows, low=0, high=1).ranking[-1]["mean"] == pytest.approx(0.375)
    with pytest.raises(FileError, match="Row 2 has an empty 'case'"):
        compare_table([row | {"case": None} for row in rows])


def test_outputs_with_a_label_of_one_name_are_told_apart() -> None:
    rows = rows_of({"dice": [(0.8, "ok"), (0.6, "ok")]}, ["p1", "p2"])
    assert "organ/" not in printed(summary(rows))
    text = printed(summary(rows + [row | {"output": "organ", "value": 0.1} for row in rows]))
    assert [line.split("/")[0] for line in text.splitlines()[1:]] == [ROW["output"], "organ"]


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    rows = [{"case": f"p{k}", "method": m, "value": k} for k in range(3) for m in "ab"]
    with pytest.raises(SettingsError, match="A seed is a whole number"):
        compare_table(rows, seed=seed)  # type: ignore[arg-type]
