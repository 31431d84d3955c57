"""The page of metrics says what the code does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from metric_cases import CASES, spaced

from truevox.metrics import Empty, definition, evaluate

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]
TOLERANCES = {"A": 1, "C": 1, "D'": 2, "E'": 2, "F": 0.5, "H": 2, "J": 1}
COMPARED = [row for row in ROWS if "`" in row[0] and len(row) == 8]


@pytest.mark.parametrize("row", [row for row in ROWS if row[0].startswith("`") and len(row) == 6])
def test_definitions_are_as_printed(row: list[str]) -> None:
    name, identity, unit, span, best, formula = row
    found = definition(name.strip("`"))
    assert (found.name, found.id, found.unit) == (name.strip("`"), identity.strip("`"), unit)
    assert [float(v.replace("∞", "inf")) for v in span.split(" to ")] == [found.low, found.high]
    assert best == {"higher": "higher", "lower": "lower", "zero": "0"}[found.better]
    assert formula.replace("&#124;", "|") == found.summary


def test_every_family_of_this_page_is_on_it() -> None:
    names = {row[0].strip("`").split("@")[0].split("/")[0].rstrip("0123456789") for row in ROWS}
    own = {
        "dice",
        "jaccard",
        "sensitivity",
        "precision",
        "specificity",
        "balanced_accuracy",
        "fbeta",
        "ndice",
    }
    own |= {"mcc", "kappa", "volumetric_similarity", "volume_difference_ml", "absolute_volume_difference_ml"}
    own |= {"relative_volume_difference", "hd", "assd", "masd", "nsd", "boundary_iou", "cldice"}
    assert own | {"components", "holes", "euler"} <= names


def test_the_comparison_has_its_rows() -> None:
    assert len(COMPARED) == 10


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row[0])
def test_our_values_beside_those_of_others_are_ours(row: list[str]) -> None:
    said = row[0].split("`")[1]
    for (case, tolerance), printed in zip(TOLERANCES.items(), row[1:], strict=True):
        stem, _, rest = said.partition("/")
        name = f"nsd@{tolerance}mm" if stem == "nsd" else stem
        r, p = CASES[case]
        if "use_subvoxels" in row[0]:
            name, rest = f"nsd@{tolerance}mm", "surfel"
        name += f"/{rest}" if rest else ""
        assert evaluate(p, r, spaced(case), [name])[name].value == pytest.approx(float(printed), abs=6e-5)


def test_the_printed_table_of_empty_masks() -> None:
    listed = {
        "Dice, Jaccard": "dice", "MCC": "mcc", "sensitivity": "sensitivity", "precision": "precision",
        "HD, HD95": "hd95",
    }  # fmt: skip
    words = {"NaN": math.nan, "diagonal of the image": math.hypot(8, 8)}
    for start, name in listed.items():
        (row,) = [row for row in ROWS if row[0].startswith(start) and len(row) == 4]
        for case, printed in zip(("K1", "K2", "K3"), row[1:], strict=True):
            r, p = CASES[case]
            found = evaluate(p, r, (1, 1), [name])[name].value
            plain = printed.split(" (")[0]
            assert found == pytest.approx(words.get(plain) or float(plain), nan_ok=True)
        if "perfect" in row[1]:
            r, p = CASES["K1"]
            perfect = evaluate(p, r, (1, 1), [name], empty=Empty(both="perfect"))[name].value
            assert perfect == float(row[1].split(": ")[1].rstrip(")"))
