"""Importing the package stays cheap, and its lazy table says the same as its types."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import truevox

HEAVY = ("torch", "lightning", "matplotlib")


def loaded_after(statement: str, candidates: tuple[str, ...]) -> list[str]:
    """Which of ``candidates`` a fresh interpreter has loaded after ``statement``."""
    code = f"import sys; {statement}; print(*[m for m in {candidates!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def declared_for_types() -> dict[str, str]:
    """Name -> module from the TYPE_CHECKING block of the package's ``__init__``."""
    tree = ast.parse(Path(truevox.__file__).read_text(encoding="utf-8"))
    block = next(
        n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"
    )
    imports = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def test_the_probe_sees_an_import():
    assert loaded_after("import json", (*HEAVY, "json")) == ["json"]


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import truevox", (*HEAVY, "numpy")) == []


@pytest.mark.parametrize(
    "module", ["errors", "files", "space", "labels", "sampling", "kernels", "metrics", "theory"]
)
def test_the_foundations_load_no_torch(module):
    assert loaded_after(f"import truevox.{module}", HEAVY) == []


def test_the_grid_loads_no_torch_through_the_lazy_name():
    assert loaded_after("import truevox as tv; tv.Grid((2, 3, 4))", HEAVY) == []


def test_the_lazy_table_equals_the_types():
    lazy = {name: f"truevox.{module}" for name, module in truevox._NAMES.items()}
    lazy.update(dict.fromkeys(truevox._SUBPACKAGES, "truevox"))
    assert lazy == declared_for_types()


@pytest.mark.parametrize("name", sorted(truevox._NAMES))
def test_every_name_resolves_and_is_cached(name):
    value = getattr(truevox, name)
    assert value.__name__ == name
    assert vars(truevox)[name] is value


def test_dir_lists_the_public_names():
    assert {"Grid", "Model", "networks", "__version__"} <= set(dir(truevox))


def test_version_is_the_installed_one():
    assert truevox.__version__ == version("truevox")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'grid_like'"):
        truevox.grid_like  # noqa: B018
