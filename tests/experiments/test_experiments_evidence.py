"""Numbers of experiments/evidence.py against closed forms and SciPy."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="module")
def evidence() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("evidence")
    sys.path.remove(str(FOLDER))
    sys.modules.pop("evidence", None)


def test_holm_by_hand(evidence: ModuleType) -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1, never falling.
    assert evidence.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert evidence.holm([0.5, 0.9]).tolist() == [1, 1]


@settings(max_examples=50)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_the_stepwise_rule(evidence: ModuleType, p: list[float]) -> None:
    adjusted = evidence.holm(p)
    order = np.argsort(p, kind="stable")
    for level in (0.01, 0.05, 0.3):
        # Holm's rule: from the smallest p on, reject while p <= level / (number left).
        rejected = np.zeros(len(p), dtype=bool)
        for rank, k in enumerate(order):
            if p[k] * (len(p) - rank) > level:
                break
            rejected[k] = True
        assert (adjusted <= level).tolist() == rejected.tolist()


def test_ratio_is_of_sums_and_draws_patients(evidence: ModuleType) -> None:
    # Two patients, of which draws hold 2, 1 or 0 of the first: ratios 1, 3/4, 1/2 with chances 1/4, 1/2, 1/4.
    found = evidence.ratio([1, 1, 1], [1, 1, 2], [0, 0, 1])
    assert found.value == pytest.approx(3 / 4)
    assert (found.low, found.high) == pytest.approx((0.5, 1))
    assert evidence.ratio([1, np.nan, 3], [2, 5, np.nan], [0, 1, 2]).value == pytest.approx(1 / 2)


def test_interval_of_a_mean_is_that_of_the_normal_law(evidence: ModuleType) -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = evidence.interval_of_mean(values)
    half = norm.ppf(0.975) * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_paired_tests_by_hand(evidence: ModuleType) -> None:
    a = np.array([0.82, 0.75, 0.90, 0.66, 0.71, 0.88, 0.79, 0.60, 0.73, 0.85])
    b = np.array([0.80, 0.70, 0.91, 0.60, 0.65, 0.86, 0.74, 0.58, 0.70, 0.80])
    one, same, other = evidence.paired_tests({"a": a, "b": b, "c": b + 0.0})
    assert (one.first, one.second) == ("a", "b")
    assert one.difference.value == pytest.approx(0.035)
    assert one.first_better.value == pytest.approx(0.9)
    # Of 2^10 signs, those with a sum of negative ranks of 1 or less, both sides: 4 / 1024.
    assert one.p == pytest.approx(4 / 1024, abs=1e-9)
    assert one.p_holm == pytest.approx(min(1, 3 * one.p), abs=1e-9)
    assert other.p == 1
    assert other.first_better.value == 0.5
    assert same.second == "c"


@settings(max_examples=50)
@given(score=st.lists(st.integers(0, 5), min_size=4, max_size=20), cut=st.integers(1, 3))
def test_auc_is_the_share_of_pairs_in_order(evidence: ModuleType, score: list[int], cut: int) -> None:
    positive = np.arange(len(score)) < cut
    values = np.array(score)
    expected = mannwhitneyu(values[positive], values[~positive]).statistic / (cut * (len(score) - cut))
    assert evidence.auc(score, positive) == pytest.approx(expected)
