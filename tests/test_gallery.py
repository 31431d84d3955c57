"""The gallery of the documentation shows every public transform, or says why not."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image as Picture

from truevox import Image, transforms

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    """The script that makes it, as the documentation's build imports it."""
    sys.path.insert(0, str(DOCS))
    try:
        spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["make_gallery"] = module
        spec.loader.exec_module(module)
        named = module.images()
        setattr(module, "images", lambda: named)  # noqa: B010 - made once for all tests
        return module
    finally:
        sys.path.remove(str(DOCS))


def test_every_transform_is_shown_or_has_a_reason(gallery):
    public, shown, reasons = set(transforms.__all__), gallery.shown(), gallery.NOT_SHOWN
    assert public - shown - set(reasons) == set()
    assert shown - public == set()
    assert set(reasons) & shown == set()
    assert set(reasons) <= public
    assert all(len(reason) > 10 for reason in reasons.values())


def test_every_transform_is_in_the_table():
    page = (DOCS / "transforms.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert set(transforms.__all__) - named == set()
    assert named - set(transforms.__all__) == set()


def test_every_picture_is_drawn(gallery, tmp_path):
    gallery.write(tmp_path)
    text = (tmp_path / "entries.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(\w+), before and after\]\(_gallery/(.+?)\)", text)
    assert {name for name, _ in pictures} == gallery.shown()
    for name, file in pictures:
        values = np.asarray(Picture.open(tmp_path / file))
        assert 200 < len(values) < 800, name
        assert values.std() > 10, name


def test_every_entry_changes_what_it_shows(gallery):
    named = gallery.images()
    for entry in (entry for entries in gallery.FAMILIES.values() for entry in entries):
        before, after = gallery.run(entry, named)
        assert after[-1].grid != before[-1].grid or not _same(before[-1], after[-1]), entry.name


def _same(before: Image, after: Image) -> bool:
    return before.shape == after.shape and bool((before.data == after.data).all())
