"""The page in a real browser: it renders, filters, sorts, opens a case in 3D, and asks for nothing."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report.folders import phantoms, table, write_tables

from truevox.report import words, write_report
from truevox.report.words import number

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the PATH (apt-get install chromium)"),
]
# WebGL 2 without a graphics card.
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox"]
PROBES = ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>\u2028', "<svg/onload=alert(3)>"]
CASES = [*(f"patient_{k:02d}" for k in range(9)), *PROBES]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    first = phantoms(root / "first", root / "data", CASES, 0.8, 1)
    second = phantoms(root / "second", root / "data", CASES, 1.6, 1)
    table(root / "both" / "ranking.csv", ("method", "rank"), [["b", 10], ["a", 9], [PROBES[0], 1]])
    evaluations = {"first": first, PROBES[0]: second}
    write_report(root / "report.html", evaluations, comparison=root / "both", title=PROBES[1], worst=2)
    return root / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


class Watched:
    """A page, and all that it said, asked for or popped up."""

    def __init__(self, page: Any, report: Path) -> None:
        self.page, self.heard, self.requests = page, [], []
        page.on("console", lambda message: self.heard.append(message.text))
        page.on("pageerror", lambda error: self.heard.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", self._dialog)
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready=yes]")

    def _dialog(self, dialog: Any) -> None:
        self.heard.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def column(self, table: str, number: int) -> list[str]:
        return self.page.locator(f"{table} tbody tr td:nth-child({number})").all_inner_texts()


@pytest.fixture
def watched(browser: Any, report: Path) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    made = Watched(page, report)
    yield made
    page.close()
    assert made.heard == []
    assert [url for url in made.requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]


def test_every_case_is_a_dot_of_the_distribution(watched: Watched) -> None:
    page = watched.page
    # 12 cases, 2 structures, 2 methods; one case has no lesion in either mask: undefined.
    assert page.locator("#d-chart .point").count() == 12 * 4 - 2
    page.select_option("#d-structure", label="lesion")
    assert page.locator("#d-chart .point").count() == 11 * 2
    assert page.locator("#d-chart .point.hollow").count() == 2
    page.locator("#d-methods input").first.uncheck()
    assert page.locator("#d-chart .point").count() == 11
    page.locator("#d-chart .point.hollow").hover()
    assert "patient_01" in page.inner_text("#tip")
    assert "(missed)" in page.inner_text("#tip")


def test_missed_cases_of_a_large_cohort_are_seen(browser: Any, tmp_path: Path) -> None:
    values = [0.0, *(0.5 + k / 1000 for k in range(199))]
    rows = [
        [f"p{k}", "tumour", "dice", value, "1", "ok" if k else "missed", "dice/voxel", "tumour"]
        for k, value in enumerate(values)
    ]
    write_tables(tmp_path, rows)
    write_report(tmp_path / "report.html", {"m": tmp_path})
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    Watched(page, tmp_path / "report.html")
    missed = page.locator("#d-chart .point.hollow")
    assert missed.count() == 1
    style = missed.evaluate("(one) => [getComputedStyle(one).stroke, getComputedStyle(one).strokeOpacity]")
    assert style[0] != "none"
    assert float(style[1]) == 1
    assert "n = 200, 1 missed" in page.inner_text("#d-chart")
    page.close()


def test_volumes_without_references_leave_the_rest_of_the_page(browser: Any, tmp_path: Path) -> None:
    """Where references are gone nothing can be drawn; the scripts of the page once ended there."""
    row = ("liver", "volume_difference_ml", 1.0, "ml", "ok", "volume_difference/threshold", "segmentation")
    write_tables(tmp_path / "a", [(f"p{k}", *row) for k in range(3)])
    write_report(tmp_path / "page.html", {"a": tmp_path / "a"})
    page = browser.new_page()
    seen = Watched(page, tmp_path / "page.html")
    assert page.locator("#v-chart svg").count() == 0
    assert len(seen.column("#c-table", 1)) == 3
    assert seen.heard == []
    page.close()


def test_numbers_are_written_alike_by_the_page_and_by_its_scripts(watched: Watched) -> None:
    values = [0.9996, 0.99999994, -0.9999, 1.0, 0.0, 0.05, 0.0014, 0.00012, 0.00009, 9.996, 55.5, 12345.6]
    source = (Path(words.__file__).parent / "assets" / "core.js").read_text(encoding="utf-8")
    code = source[source.index("function number(") :].partition("\n}\n")[0]
    written = watched.page.evaluate(f"(values) => {{ {code} }} return values.map(number); }}", values)
    assert written == [number(value) for value in values]


def test_the_table_filters(watched: Watched) -> None:
    page = watched.page
    assert page.inner_text("#c-count") == "48 of 48 rows"
    page.fill("#c-find", "PATIENT_03")
    assert page.inner_text("#c-count") == "4 of 48 rows"
    assert {text.split("\n")[0] for text in watched.column("#c-table", 1)} == {"patient_03"}
    page.fill("#c-find", "")
    page.select_option("#c-status", "missed")
    assert watched.column("#c-table", 3) == ["lesion", "lesion"]
    page.select_option("#c-structure", label="organ")
    assert page.inner_text("#c-count") == "0 of 48 rows"


def test_the_table_sorts_by_badness(watched: Watched) -> None:
    page = watched.page
    page.select_option("#c-structure", label="organ")
    numbers = [float(text) for text in watched.column("#c-table", 4)]
    assert numbers == sorted(numbers)  # Dice, the worst on top
    page.click("#c-table th:nth-child(6) button")
    numbers = [float(text) for text in watched.column("#c-table", 6)]
    assert numbers == sorted(numbers, reverse=True)  # HD95, the worst on top
    page.click("#c-table th:nth-child(6) button")
    assert [float(text) for text in watched.column("#c-table", 6)] == numbers[::-1]
    page.click("#comparison th:nth-child(2) button")
    assert watched.column("#comparison table", 2) == ["1", "9", "10"]


def test_a_row_opens_its_case_with_the_pictures(watched: Watched) -> None:
    page = watched.page
    page.fill("#c-find", "patient_01")
    page.locator("#c-table tbody tr").first.click()
    assert page.inner_text("#case-title") == "patient_01"
    assert page.locator("#case-body img").count() >= 1
    assert "missed" in page.inner_text("#case-body")
    page.keyboard.press("Escape")
    assert not page.is_visible("#case-dialog")


def test_the_gallery_filters_and_sorts(watched: Watched) -> None:
    page = watched.page
    page.select_option("#w-structure", label="lesion")
    page.select_option("#w-metric", label="Dice")
    visible = page.locator(".exhibit:visible")
    assert visible.count() >= 2
    assert visible.first.locator(".case").inner_text() == "patient_01"
    assert set(page.locator(".exhibit:visible .structure").all_inner_texts()) == {"lesion"}


def test_lesions_and_volumes_are_drawn(watched: Watched) -> None:
    page = watched.page
    assert page.locator("#l-chart .point").count() == 22
    page.select_option("#l-kind", "missed")
    assert page.inner_text("#l-count") == "2 of 22 lesions"
    assert page.locator("#v-chart svg").count() == 2
    assert page.locator("#v-chart .point").count() == 24
    assert page.locator("#p-chart .point").count() == 12 * 4


def test_names_are_text_everywhere(watched: Watched) -> None:
    page = watched.page
    for probe in PROBES:
        page.fill("#c-find", probe.strip("\u2028"))
        assert page.locator("#c-table tbody tr").count() == 4
        page.locator("#c-table tbody tr").first.click()
        assert page.inner_text("#case-title").strip() == probe.strip("\u2028")
        page.keyboard.press("Escape")
    assert page.locator("body script").count() == 4
    assert page.locator("img[src='x'], body svg[onload]").count() == 0


def test_injected_markup_would_not_run_either(browser: Any, report: Path) -> None:
    page = browser.new_page()
    made = Watched(page, report)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(9)>')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'alert(9)'}))")
    page.wait_for_timeout(100)
    assert not any(text.startswith("dialog") for text in made.heard)
    assert any("Content Security Policy" in text for text in made.heard)
    page.close()


def colours(page: Any) -> np.ndarray:
    """Pixels of the viewer (H, W, 3)."""
    page.wait_for_timeout(300)
    return np.array(Image.open(io.BytesIO(page.locator("#n-canvas").screenshot())).convert("RGB")).astype(int)


def wrong(pixels: np.ndarray) -> int:
    """Pixels far from grey: orange or blue over a grey image."""
    return int((np.abs(pixels[..., 0] - pixels[..., 2]) > 60).sum())


def test_a_case_opens_in_three_dimensions(watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 720, "height": 620})  # few pixels: the processor draws them
    page.locator(".open3d").first.click()
    page.wait_for_selector(
        "#viewer-dialog[data-state=ready], #viewer-dialog[data-state=failed]", timeout=60_000
    )
    assert page.get_attribute("#viewer-dialog", "data-state") == "ready", page.inner_text("#n-message")
    choice = page.locator("#n-case option", has_text=", organ, ").last
    page.select_option("#n-case", choice.get_attribute("value"))
    page.wait_for_selector("#viewer-dialog[data-state=ready]")
    page.select_option("#n-view", "0")
    shown = colours(page)
    assert (shown.max(2) > 40).mean() > 0.1
    assert wrong(shown) > 300
    page.uncheck("#n-errors")
    without = colours(page)
    assert wrong(without) == 0
    assert (without.max(2) > 40).mean() > 0.1
    page.check("#n-prediction")
    magenta = colours(page)
    assert ((magenta[..., 0] - magenta[..., 1]) > 40).sum() > 2000
    page.uncheck("#n-prediction")
    page.uncheck("#n-image")
    assert (colours(page).max(2) > 200).mean() < 0.02  # letters only
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer-dialog")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_at_any_width(watched: Watched, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.page.wait_for_timeout(100)
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_light_or_dark(browser: Any, report: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    made = Watched(page, report)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.click("#theme")
    assert (dark, page.evaluate(background)) == ("rgb(18, 23, 29)", "rgb(255, 255, 255)")
    assert made.heard == []
    page.close()


def test_it_prints_dark_on_white(watched: Watched) -> None:
    page = watched.page
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.is_visible("nav")
