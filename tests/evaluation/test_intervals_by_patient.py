"""Intervals by patient: closed forms, what they cover, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from statsmodels.stats.proportion import proportion_confint

from truevox.errors import SettingsError
from truevox.evaluation.statistics.agreement import icc
from truevox.evaluation.statistics.by_patient import (
    counted,
    mean_interval,
    of_patients,
    proportion_interval,
    share_interval,
    standard_error,
)
from truevox.evaluation.statistics.equivalence import tost
from truevox.evaluation.statistics.intervals import Resamples, bootstrap, mean_of
from truevox.evaluation.statistics.paired import adjusted, draws_for, paired_t, permutation, permutations

SCANS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100)), min_size=1, max_size=24)


def test_symmetric_values_have_the_interval_of_student() -> None:
    x = np.array([0.70, 0.75, 0.80, 0.85, 0.90])
    found = mean_interval(x)
    peer = scipy.stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))
    assert (found.n, found.patients, found.reason) == (5, 5, "")


def test_skewed_values_reach_further_on_their_side() -> None:
    """Hall's cubic is inverted here by a root finder; on the other side it is Student's."""
    x = np.array([0.91, 0.90, 0.93, 0.88, 0.92, 0.80])
    n, mean, error = 6, x.mean(), x.std(ddof=1) / np.sqrt(6)
    q = scipy.stats.t.ppf(0.975, 5)
    a = np.mean((x - mean) ** 3) / x.std(ddof=1) ** 3 / np.sqrt(n)
    root = brentq(lambda t: t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6 - q, 0, 50)
    assert root > q
    found = mean_interval(x)
    assert (found.low, found.high) == pytest.approx((mean - error * min(root, 1.5 * q), mean + error * q))
    mirrored = mean_interval(-x)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_scans_of_a_patient_count_in_the_mean_and_not_for_its_certainty() -> None:
    """Forty scans of four patients: Student's interval of their four means, inside of the range."""
    means = np.array([1, 11 / 12, 9 / 12, 6 / 12])
    found = mean_interval(np.repeat(means, 10), np.repeat(list("abcd"), 10), low=0, high=1)
    assert (found.value, found.high, found.n, found.patients) == (pytest.approx(means.mean()), 1.0, 40, 4)
    student = means.mean() - scipy.stats.t.ppf(0.975, 3) * means.std(ddof=1) / 2
    assert 0.3 < found.low <= student
    assert counted(found.n, found.patients) == "40 scans of 4 patients"


def test_unequal_scans_weigh_by_their_number() -> None:
    """The jackknife by hand, and Kish's number of patients of one weight."""
    x, who = np.array([1.0, 2.0, 3.0, 7.0, 4.0]), ["a", "a", "a", "b", "c"]
    found = standard_error(x, who)
    left_out = np.array([(7 + 4) / 2, (6 + 4) / 4, (6 + 7) / 4])
    assert found.error == pytest.approx(np.sqrt(2 / 3 * ((x.mean() - left_out) ** 2).sum()))
    assert found.degrees == pytest.approx(25 / 11 - 1)
    assert of_patients(x, who).tolist() == [2, 7, 4]


@given(SCANS)
def test_copies_of_scans_say_nothing_new(rows: list[tuple[int, int]]) -> None:
    who, x = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=float)
    once, thrice = mean_interval(x, who), mean_interval(np.tile(x, 3), np.tile(who, 3))
    assert (once.patients, once.reason) == (thrice.patients, thrice.reason)
    for one, two in ((once.value, thrice.value), (once.low, thrice.low), (once.high, thrice.high)):
        assert one == pytest.approx(two, nan_ok=True)
    if not once.reason:
        assert once.low < once.value < once.high


def test_nothing_tells_of_others_where_there_are_few_or_all_are_alike() -> None:
    assert mean_interval([0.8, 0.9]).reason == "fewer than 3 patients"
    assert mean_interval([0.8] * 9).reason == "all patients have one value"
    assert mean_interval([0.1, 0.2, 0.3], ["a", "b", "b"]).reason == "fewer than 3 patients"
    assert mean_interval([]).reason == "no value"
    assert mean_interval([1.0, np.inf, 2.0]).reason == "a value is infinite"
    for found in (mean_interval([0.8] * 9), mean_interval([0.8, 0.9])):
        assert np.isnan([found.low, found.high]).all()
    [one] = bootstrap([mean_of([0.3] * 4)], Resamples(np.arange(4)))
    assert (one.reason, np.isnan(one.low)) == ("all samples have one value", True)
    with pytest.raises(SettingsError, match="no NaN"):
        mean_interval([0.5, np.nan, 0.4])
    with pytest.raises(SettingsError, match="needs a patient"):
        mean_interval([0.5, 0.4], ["a"])


@pytest.mark.parametrize(("draw", "mean", "least"), [("normal", 0.0, 0.92), ("dice", 12 / 14, 0.90)])
@pytest.mark.parametrize("n", [3, 8])
def test_what_it_covers(draw: str, mean: float, least: float, n: int) -> None:
    """Of 400 samples; three standard errors are 0.033. The percentile bootstrap covers 68 to 88 % here."""
    rng = np.random.default_rng(n)
    x = rng.normal(0, 1, (400, n)) if draw == "normal" else rng.beta(12, 2, (400, n))
    found = [mean_interval(row) for row in x]
    assert np.mean([one.low <= mean <= one.high for one in found]) > least


# ---- proportions ----------------------------------------------------------------------------------


def test_a_proportion_of_patients_is_that_of_wilson() -> None:
    """With the quantile of Student, and n - 1 for n, as the spread is estimated; at the ends with n."""
    had = np.repeat([1.0, 0.0], [14, 6])
    q = scipy.stats.t.ppf(0.975, 19)
    alpha = float(2 * scipy.stats.norm.sf(q))
    expected = proportion_confint(0.7 * 19, 19, alpha=alpha, method="wilson")
    found = proportion_interval(had)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, *expected))
    everyone = proportion_interval(np.ones(20))
    assert (everyone.low, everyone.high) == pytest.approx(
        proportion_confint(20, 20, alpha=alpha, method="wilson")
    )


def test_lesions_of_a_patient_are_no_independent_sample() -> None:
    """Ten lesions each, all found or none: as if there were one."""
    found = proportion_interval([10] * 14 + [0] * 6, [10] * 20)
    alone = proportion_interval([1] * 14 + [0] * 6)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    assert (found.n, found.patients) == (200, 20)
    rows = proportion_interval(np.repeat([1.0, 0.0], [140, 60]), None, np.repeat(np.arange(20), 10))
    assert (rows.low, rows.high) == pytest.approx((found.low, found.high))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_a_proportion_stays_inside(rows: list[tuple[int, int]]) -> None:
    part, whole = np.array([min(r) for r in rows]), np.array([max(r) for r in rows])
    found = proportion_interval(part, whole)
    if not found.reason:
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.low < found.high
    elif whole.sum():
        assert found.reason == "fewer than 3 patients"


def test_parts_above_their_whole_are_refused() -> None:
    with pytest.raises(SettingsError, match="0 <= part <= whole"):
        proportion_interval([2], [1])
    assert share_interval(0.5, np.zeros(2), 2).reason == "fewer than 3 patients"


# ---- tests by patient -----------------------------------------------------------------------------


def test_many_tests_have_draws_enough() -> None:
    """30 methods, three metrics: with 10,000 draws nothing could be below 1305 / 10,001 = 0.13."""
    assert draws_for(1305) == 261_000
    rng = np.random.default_rng(0)
    clear = np.round(0.05 + 0.01 * rng.standard_normal((3, 40)), 6)
    p = [one.p for one in permutations(clear, draws=draws_for(1305))]
    assert adjusted(p + [1.0] * 1302).min() < 0.05
    few = [one.p for one in permutations(clear)]
    assert adjusted(few + [1.0] * 1302).min() > 0.05


def test_flips_are_of_patients() -> None:
    """Three patients: of 8 flips 2 are as large, however many scans there are."""
    d = np.array([[0.1, 0.2, 0.1, 0.3, 0.2, 0.2]])
    [found] = permutations(d, patients=list("aabbcc"))
    assert (found.p, found.n, found.way) == (0.25, 3, "exact")
    assert found.statistic == pytest.approx(d.mean())
    with pytest.raises(SettingsError, match="draws flips"):
        permutation([1.0], [0.0], draws=0)


def test_student_and_equivalence_take_the_error_by_patient() -> None:
    one, two = [0.5, 0.9, 0.6, 0.7], [0.45, 0.80, 0.58, 0.63]
    scans = {"a": np.repeat(one, 5), "b": np.repeat(two, 5), "patients": np.repeat(np.arange(4), 5)}
    assert paired_t(**scans).p == pytest.approx(scipy.stats.ttest_rel(one, two).pvalue)
    many, few = tost(**scans, margin=0.2), tost(one, two, margin=0.2)
    assert (many.p, many.low, many.high) == pytest.approx((few.p, few.low, few.high))


def test_a_difference_without_spread_has_no_t() -> None:
    assert np.isnan(paired_t([0.75, 0.5], [0.5, 0.25]).p)
    assert paired_t([0.5, 0.5], [0.5, 0.5]).p == 1.0


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=2, max_size=8))
def test_correlations_lie_in_their_intervals(rows: list[tuple[int, int, int]]) -> None:
    """Negative ones too; none where the agreement is perfect or patients are few."""
    found = icc(np.array(rows, dtype=float).T)
    for one in (found.one_way, found.agreement, found.consistency):
        if one.reason:
            assert np.isnan(one.low)
        else:
            assert one.low - 1e-9 <= one.value <= one.high + 1e-9
            assert one.low < one.high
