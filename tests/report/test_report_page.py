"""The page as a file: well-formed, closed to the network, deaf to markup in names, whole without parts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report.folders import METRICS, many, phantoms, table, write_tables

from truevox.errors import FileError, SettingsError
from truevox.report import write_report

PROBES = ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{ 7*7 }}\u2028", "'-alert(3)-'"]
VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Elements with their attributes, and what is not closed as it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()
        self.faults += [f"<{name}> is not closed" for name in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID and not (self.open and self.open[-1] in ("svg", "path")):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            attributes = self.elements[-1][1]
            self.texts[attributes.get("id", self.open[-1])] = data

    def values(self, attribute: str) -> list[str]:
        return [given[attribute] for _, given in self.elements if attribute in given]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two methods with everything in it, and names that try to break out."""
    root = tmp_path_factory.mktemp("report")
    cases = [*PROBES, *(f"p{k:02d}" for k in range(6))]
    first = phantoms(root / "first", root / "data", cases, 0.8, 1)
    second = phantoms(root / "second", root / "data", cases, 1.6, 1)
    failures = [[PROBES[0], "organs", PROBES[1], f"It broke: {PROBES[0]}", PROBES[1]]]
    table(second / "failures.csv", ("case", "output", "file", "message", "remedy"), failures)
    table(root / "both" / "ranking.csv", ("method", "rank"), [[PROBES[0], 1], ["second", 2]])
    (root / "both" / "comparison.json").write_text(json.dumps({"test": PROBES[1]}))
    evaluations = {PROBES[0]: first, "second": second}
    write_report(root / "report.html", evaluations, comparison=root / "both", title=PROBES[1], worst=3)
    return root / "report.html"


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.faults == []
    assert [name for name, count in Counter(page.values("id")).items() if count > 1] == []
    ids = set(page.values("id"))
    assert {value[1:] for value in page.values("href")} <= ids
    assert set(page.values("aria-labelledby")) <= ids
    assert all("alt" in given for tag, given in page.elements if tag == "img")


def test_the_page_asks_nothing_of_the_network(page: Page) -> None:
    assert all(value.startswith("#") for value in page.values("href"))
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "form"}
    [policy] = [given["content"] for _, given in page.elements if "http-equiv" in given]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "http" not in policy
    assert "unsafe" not in policy


def test_only_the_scripts_of_the_package_may_run(page: Page) -> None:
    [policy] = [given["content"] for _, given in page.elements if "http-equiv" in given]
    viewer = Path(__file__).parents[2] / "src/truevox/report/assets/niivue.umd.js"

    def digest(text: bytes) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"

    assert digest(page.texts["script"].encode()) in policy
    assert digest(page.texts["style"].encode()) in policy
    assert digest(viewer.read_bytes()) in policy
    assert not any(name.startswith("on") or name == "style" for _, given in page.elements for name in given)


def test_names_stay_text(written: Path, page: Page) -> None:
    text = written.read_text(encoding="utf-8")
    for probe in PROBES[:2]:
        assert probe not in text
    assert "&lt;script&gt;alert(1)" in text
    assert set(PROBES) <= set(json.loads(page.texts["data"])["cases"])
    # Script elements are those of the page: data, volumes, the viewer, and the one that runs.
    assert [given.get("type", "") for tag, given in page.elements if tag == "script"] == [
        "application/json",
        "application/json",
        "text/plain",
        "",
    ]


def test_the_data_are_the_numbers_of_the_tables(page: Page) -> None:
    data = json.loads(page.texts["data"])
    assert data["methods"] == [PROBES[0], "second"]
    assert [one["name"] for one in data["metrics"]] == [name for name, _, _ in METRICS]
    assert data["structures"] == ["organ", "lesion"]
    dice = next(one for one in data["series"] if (one["m"], one["s"], one["k"]) == (0, 1, 0))
    # The second phantom's lesion is missed, the third has none.
    assert (dice["values"][1:3], dice["status"][:3]) == ([0.0, None], "omu")


def test_pictures_and_volumes_are_those_of_the_worst(page: Page) -> None:
    exhibits = json.loads(page.texts["data"])["exhibits"]
    volumes = json.loads(page.texts["volumes-data"])
    assert [one["exhibit"] for one in volumes] == list(range(6))
    assert [one[3] for one in exhibits] == [True] * 6 + [False] * (len(exhibits) - 6)
    shown = [given for _, given in page.elements if "data-exhibit" in given]
    assert len(shown) == len(exhibits)
    assert [0, 1, 1, True] in exhibits  # the missed lesion


def test_500_cases_of_two_methods_make_a_light_page(tmp_path: Path) -> None:
    folders = {m: many(tmp_path / m, 500, ["liver", "spleen", "lesion"], 0.0, k) for k, m in enumerate("ab")}
    write_report(tmp_path / "report.html", folders)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    data = json.loads(Page((tmp_path / "report.html").read_text()).texts["data"])
    assert sum(len(one["values"]) for one in data["series"]) == 500 * 2 * 3 * 6


@pytest.mark.parametrize("missing", ["lesions.csv", "cases.csv", "run.json", "everything", "images"])
def test_a_page_is_whole_without_its_parts(tmp_path: Path, missing: str) -> None:
    folder = phantoms(tmp_path / "first", tmp_path / "data", ["a", "b", "c"], 1.0)
    if missing == "images":
        for image in (tmp_path / "data" / "images").iterdir():
            image.unlink()
    else:
        optional = ("lesions.csv", "cases.csv", "run.json")
        for name in optional if missing == "everything" else (missing,):
            (folder / name).unlink()
    write_report(tmp_path / "report.html", {"first": folder}, worst=2, cases_in_viewer=1)
    page = Page((tmp_path / "report.html").read_text())
    ids = set(page.values("id"))
    assert page.faults == []
    assert ("lesions" in ids) == (missing not in ("lesions.csv", "everything"))
    assert ("worst" in ids) == (missing not in ("cases.csv", "everything"))
    assert {"headline", "cases", "definitions", "provenance"} <= ids


def test_files_that_can_not_be_opened_are_listed(tmp_path: Path) -> None:
    folder = phantoms(tmp_path / "first", tmp_path / "data", ["a", "b"], 1.0)
    for file in (tmp_path / "data" / "references").iterdir():
        file.write_bytes(b"no image")
    write_report(tmp_path / "report.html", {"first": folder})
    text = (tmp_path / "report.html").read_text()
    assert "of the worst cases could not be drawn" in text
    assert 'id="niivue"' not in text


def test_a_page_without_viewer_leaves_the_library_out(tmp_path: Path) -> None:
    folder = phantoms(tmp_path / "first", tmp_path / "data", ["a", "b"], 1.0)
    write_report(tmp_path / "report.html", {"first": folder}, cases_in_viewer=0, worst=1)
    assert (tmp_path / "report.html").stat().st_size < 400_000
    assert Page((tmp_path / "report.html").read_text()).faults == []


def test_failed_cases_are_listed_and_are_in_no_mean(tmp_path: Path) -> None:
    rows = [["a", "x", "dice", 0.8, "1", "ok", "dice/voxel", "x"]]
    rows += [["b", "x", "dice", float("nan"), "1", "failed", "dice/voxel", "x"]]
    write_tables(tmp_path / "eval", rows)
    columns = ("case", "output", "file", "message", "remedy")
    table(
        tmp_path / "eval" / "failures.csv", columns, [["b", "x", "b.nii.gz", "It is truncated.", "copy it"]]
    )
    write_report(tmp_path / "report.html", {"m": tmp_path / "eval"})
    text = (tmp_path / "report.html").read_text()
    assert "<b>1 failure</b>" in text
    assert "It is truncated." in text
    assert "1 failed" in text


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs an evaluation"):
        write_report(tmp_path / "report.html", {})
    with pytest.raises(SettingsError, match="worst is a number of cases"):
        write_report(tmp_path / "report.html", {"m": tmp_path}, worst=-1)
    with pytest.raises(FileError, match=r"metrics\.csv is missing"):
        write_report(tmp_path / "report.html", {"m": tmp_path})
    assert not (tmp_path / "report.html").exists()
