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
    assert Labels.from_file(file("l.json", '{"liver": 1}')) == Labels({"liver": 1})
    assert Labels.from_file(file("l.csv", "index,name\r\n1,liver\r\n")) == Labels({"liver": 1})
    assert read_answers(file("q.yaml", "boundary: yes\n")) == {"boundary": True}
    assert EvaluationSettings.from_file(file("s.yaml", "tolerance_mm: 0.5\n")).tolerance_mm == 0.5
    assert read_yaml(file("r.yaml", "label: mask\n")) == {"label": "mask"}
