"""Every ```python block of the README and the docs runs, page by page, top to bottom.

The blocks of a page share one namespace and an empty working folder. A block that can't run says so,
and why, after its language: ```python no-run: needs a cohort of yours
"""

from __future__ import annotations

import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```python([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
MOST_SKIPPED = 6


@dataclass(frozen=True)
class Block:
    """One fenced block: the rest of its info string, its code, the line it starts on."""

    info: str
    code: str
    line: int

    @property
    def runs(self) -> bool:
        return not self.info.startswith("no-run")


def blocks_of(text: str) -> list[Block]:
    return [Block(m[1].strip(), m[2], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in found if blocks_of(page.read_text(encoding="utf-8"))]


def run(page: Path, blocks: list[Block]) -> None:
    # A real module: dataclasses look up the module that defines them.
    module = types.ModuleType("__docs__")
    sys.modules["__docs__"] = module
    namespace = module.__dict__
    for block in blocks:
        if block.runs:
            # Empty lines in front make tracebacks point to the line of the page.
            source = "\n" * (block.line - 1) + block.code
            exec(compile(source, str(page), "exec"), namespace)


def test_blocks_are_found_with_their_line_and_mark():
    text = "a\n\n```python\nx = 1\n```\n\n```python no-run: why\nboom\n```\n```text\nno\n```\n"
    assert blocks_of(text) == [Block("", "x = 1\n", 4), Block("no-run: why", "boom\n", 8)]


def test_a_block_that_fails_fails_the_page():
    with pytest.raises(AssertionError):
        run(Path("page.md"), blocks_of("```python\nx = 1\n```\n```python\nassert x == 2\n```\n"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, blocks_of(page.read_text(encoding="utf-8")))


def test_skipped_blocks_are_few_and_say_why():
    skipped = [b for page in pages() for b in blocks_of(page.read_text(encoding="utf-8")) if not b.runs]
    assert all(re.fullmatch(r"no-run: \S.*", b.info) for b in skipped)
    assert len(skipped) <= MOST_SKIPPED
