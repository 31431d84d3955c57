"""Files of settings may begin with a byte order mark, or be UTF-16, as programs of Windows write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from truevox.evaluation.recommend.reading import read_answers
from truevox.evaluation.settings import EvaluationSettings
from truevox.files import read_json
from truevox.labels import Labels
from truevox.recipe.reading import read_yaml


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_mark(encoding: str, tmp_path: Path) -> None:
    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    assert read_json(file("a.json", '{"n": "\u00b5"}')) == {"n": "\u00b5"}
    assert read_answers(file("q.yaml", "boundary: yes\n")) == {"boundary": True}
    assert EvaluationSettings.from_file(file("s.yaml", "tolerance_mm: 0.5\n")).tolerance_mm == 0.5
    assert read_yaml(file("r.yaml", "label: mask\n")) == {"label": "mask"}


def test_label_tables_with_a_mark(tmp_path: Path) -> None:
    for name, text in (("a.json", '{"liver": 1}'), ("a.csv", "index,name\r\n1,liver\r\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert Labels.from_file(tmp_path / name) == Labels({"liver": 1})
