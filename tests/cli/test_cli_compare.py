"""``truevox compare`` on evaluations and on tables of challenges."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from truevox.cli.compare import named

TrueVox = Callable[..., Any]
HEADER = "case,label,metric,value,unit,status,definition,output,software\n"
A = (0.80, 0.75, 0.90, 0.62, 0.70, 0.88, 0.55, 0.77, 0.81, 0.69)
B = (0.78, 0.70, 0.91, 0.55, 0.66, 0.85, 0.56, 0.70, 0.80, 0.60)
FAST = ("--resamples", "100", "--rank-resamples", "20", "--no-figures")


def evaluation(folder: Path, values: Sequence[object], definition: str = "dice/voxel") -> Path:
    folder.mkdir(parents=True)
    lines = [f"p{k},liver,dice,{v},1,ok,{definition},segmentation,truevox\n" for k, v in enumerate(values)]
    (folder / "metrics.csv").write_text(HEADER + "".join(lines))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_evaluations(truevox: TrueVox, tmp_path: Path) -> None:
    one, two = evaluation(tmp_path / "unet" / "evaluation", A), evaluation(tmp_path / "old", B)
    out = tmp_path / "out"
    outcome = truevox("compare", one, f"before={two}", "--out", out, "--margin", "dice=0.06", *FAST)
    assert outcome.code == 0, outcome.err
    [row] = rows_of(out / "comparison.csv")
    assert (row["first"], row["second"], row["p"]) == ("evaluation", "before", "0.015625")
    assert row["equivalent"] == "True"
    assert "evaluation - before" in outcome.out
    assert "equivalent within 0.06" in outcome.out
    assert "0.0156" in outcome.out
    assert f"Tables and 0 figures are in {out}." in outcome.err
    record = json.loads((out / "run.json").read_text())
    assert (record["command"], record["status"]) == ("compare", "finished")
    assert set(record["inputs"]) == {"evaluation", "before"}
    assert record["settings"]["test"] == "permutation"


def test_what_stands_in_for_gaps_is_said(truevox: TrueVox, tmp_path: Path) -> None:
    one, two = evaluation(tmp_path / "a", A), evaluation(tmp_path / "b", B[:9])
    outcome = truevox("compare", one, two, "--out", tmp_path / "out", *FAST)
    assert "Note: dice of 'liver': 'b' gets the worst value, 0" in outcome.err
    outcome = truevox("compare", one, two, "--out", tmp_path / "out", "--missing", "drop", *FAST)
    assert "1 case left out: not complete" in outcome.err
    assert rows_of(tmp_path / "out" / "comparison.csv")[0]["n"] == "9"


def test_table_of_a_challenge(truevox: TrueVox, tmp_path: Path) -> None:
    lines = [f"t,{k},{name},{v}\n" for name, values in (("a", A), ("b", B)) for k, v in enumerate(values)]
    file = tmp_path / "results.csv"
    file.write_text("task,case,algo,hd\n" + "".join(lines))
    columns = ("--method", "algo", "--value", "hd", "--task", "task", "--lower-better", "--range", "0:")
    outcome = truevox("compare", file, *columns, "--out", tmp_path / "out", *FAST)
    assert outcome.code == 0, outcome.err
    assert [(r["method"], r["rank"]) for r in rows_of(tmp_path / "out" / "ranking.csv")] == [
        ("b", "1"),
        ("a", "2"),
    ]
    wrong = truevox("compare", file, "--method", "method", "--out", tmp_path / "out", *FAST)
    assert wrong.code == 3
    assert "lacks the columns method, value" in wrong.err


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--test", "z"), 2, "no such test"),
        (("--margin", "dice"), 2, "--margin can't be read"),
        (("--margin", "dice=much"), 2, "is no number"),
        (("--metrics", "hd95"), 2, "No evaluation has the metric 'hd95'"),
        (("--human", "raters"), 2, "human raters"),
    ],
)
def test_options_that_can_not_be_used(
    truevox: TrueVox, tmp_path: Path, options: tuple[str, ...], code: int, text: str
) -> None:
    one, two = evaluation(tmp_path / "a", A), evaluation(tmp_path / "b", B)
    outcome = truevox("compare", one, two, "--out", tmp_path / "out", *options, *FAST)
    assert outcome.code == code
    assert text in outcome.err


def test_folders_that_can_not_be_compared(truevox: TrueVox, tmp_path: Path) -> None:
    one = evaluation(tmp_path / "a", A)
    (tmp_path / "empty").mkdir()
    outcome = truevox("compare", one, tmp_path / "empty", "--out", tmp_path / "out", *FAST)
    assert outcome.code == 3
    assert "'empty' is no evaluation: it has no metrics.csv" in outcome.err
    outcome = truevox("compare", one, tmp_path / "nowhere", "--out", tmp_path / "out", *FAST)
    assert "There is no evaluation 'nowhere'" in outcome.err
    other = evaluation(tmp_path / "b", B, "dice@2/voxel")
    outcome = truevox("compare", one, other, "--out", tmp_path / "out", *FAST)
    assert (outcome.code, "define 'dice' differently" in outcome.err) == (3, True)
    assert truevox("compare", one, "--out", tmp_path / "out", *FAST).code == 2


def test_names_of_folders(truevox: TrueVox, tmp_path: Path) -> None:
    assert list(named(["x/evaluation", "y/evaluation", "eval_c"])) == ["x", "y", "eval_c"]
    one = evaluation(tmp_path / "a", A)
    outcome = truevox("compare", one, one, "--out", tmp_path / "out", *FAST)
    assert outcome.code == 2
    assert "truevox compare first=folder second=folder" in outcome.err
