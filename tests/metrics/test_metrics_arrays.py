"""Masks as they come: read only, mapped, cut from others, of any type of number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from metric_cases import CASES

from truevox.metrics import evaluate

NAMES = ["dice", "hd95", "assd/surfel"]


@pytest.mark.parametrize("kind", ["read only", "mapped", "cut", "reversed", "big-endian", "mixed order"])
def test_any_array_gives_the_same(kind: str, tmp_path: Path) -> None:
    r, p = CASES["H"]
    expected = [one.value for one in evaluate(p, r, (1, 2, 3), NAMES).values()]
    if kind == "read only":
        p = p.copy()
        p.flags.writeable = False
    elif kind == "mapped":
        np.save(tmp_path / "p.npy", p)
        p = np.load(tmp_path / "p.npy", mmap_mode="r")
    elif kind == "cut":
        large = np.zeros((90, 60, 50), bool)
        large[1:83:2, 5:46, 3:44] = p
        p = large[1:83:2, 5:46, 3:44]
    elif kind == "reversed":
        p = p[::-1].copy()[::-1]
    elif kind == "big-endian":
        p = p.astype(">i2") * 3
    else:
        p = np.asfortranarray(p)
    found = [one.value for one in evaluate(p, r, (1, 2, 3), NAMES).values()]
    assert found == pytest.approx(expected, rel=1e-9)


def test_importing_metrics_compiles_nothing() -> None:
    heavy = "('numba', 'scipy', 'skimage', 'torch')"
    code = f"import sys, truevox.metrics; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
