"""Paired tests, effects, intervals, equivalence and agreement against published and exact numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from truevox.errors import SettingsError
from truevox.evaluation.statistics.agreement import bland_altman, icc
from truevox.evaluation.statistics.effects import (
    probability_of_superiority,
    rank_biserial,
    rank_biserial_left_out,
)
from truevox.evaluation.statistics.equivalence import tost
from truevox.evaluation.statistics.intervals import Resamples, bootstrap, mean_of, quantile_of, ratio_of
from truevox.evaluation.statistics.paired import (
    adjusted,
    friedman,
    mcnemar,
    paired_t,
    paired_test,
    permutation,
    sign_test,
    wilcoxon,
)
from truevox.evaluation.statistics.signed_ranks import paired_differences, signed_ranks, wilcoxon_greater
from truevox.metrics import cohen_kappa, fleiss_kappa

A = (0.80, 0.75, 0.90, 0.62, 0.70, 0.88, 0.55, 0.77, 0.81, 0.69)
B = (0.78, 0.70, 0.91, 0.55, 0.66, 0.85, 0.56, 0.70, 0.80, 0.60)
SCORES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8).map(
    lambda pairs: np.array(pairs, dtype=float).T / 20
)


# ---- tests of differences -------------------------------------------------------------------------


def test_worked_example_of_ten_patients() -> None:
    t = paired_t(A, B)
    assert t.statistic == pytest.approx(3.310952, abs=5e-7)
    assert t.p == pytest.approx(0.009070, abs=5e-7)
    signed = wilcoxon(A, B)
    assert (signed.statistic, signed.p, signed.way) == (4.0, 0.015625, "exact")
    assert sign_test(A, B).p == 0.109375
    flips = permutation(A, B)
    assert (flips.p, flips.way) == (0.015625, "exact")
    assert flips.statistic == pytest.approx(0.036, abs=1e-15)


def test_normal_approximation_of_the_worked_example() -> None:
    greater, less = wilcoxon_greater(signed_ranks(paired_differences(A, B)))
    assert float(greater[0]) == pytest.approx(0.009336, abs=5e-7)
    assert 2 * float(greater[0]) == pytest.approx(0.018671, abs=1e-6)
    assert less[0] > 0.99


def test_float_noise_hides_no_ties() -> None:
    """Unrounded, the same differences have other ranks, and p is 0.013672."""
    raw = np.subtract(A, B)
    assert scipy.stats.wilcoxon(raw, method="exact")[1] == pytest.approx(0.013672, abs=5e-7)
    assert wilcoxon(A, B).p == 0.015625
    assert wilcoxon(np.multiply(A, 1000), np.multiply(B, 1000)).p == 0.015625


@given(SCORES)
def test_permutation_is_the_count_of_flips(scores: np.ndarray) -> None:
    a, b = scores
    d = np.rint((a - b) * 20).astype(int)
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in
            itertools.product((1, -1), repeat=len(d))]  # fmt: skip
    assert permutation(a, b).p == np.mean([total >= abs(d.sum()) for total in sums])


@given(SCORES)
def test_wilcoxon_is_the_count_of_signs(scores: np.ndarray) -> None:
    a, b = scores
    d = np.rint((a - b) * 20).astype(int)
    d = d[d != 0]
    found = wilcoxon(a, b)
    if not len(d):
        assert found.p == 1.0
        return
    ranks = scipy.stats.rankdata(abs(d))
    smaller = min(ranks[d > 0].sum(), ranks[d < 0].sum())
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in
            itertools.product((0, 1), repeat=len(d))]  # fmt: skip
    assert found.p == pytest.approx(min(1.0, 2 * np.mean([total <= smaller for total in sums])), abs=1e-12)
    assert found.zeros == len(a) - len(d)


@given(SCORES, st.sampled_from(["permutation", "wilcoxon", "t", "sign"]))
def test_tests_do_not_ask_who_comes_first(scores: np.ndarray, name: str) -> None:
    a, b = scores
    one, two = paired_test(name, a, b).p, paired_test(name, b, a).p
    assert one == pytest.approx(two, abs=1e-12, nan_ok=True)


def test_many_patients_are_drawn_and_agree_with_the_t_test() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(0.8, 0.05, 60)
    b = a - rng.normal(0.01, 0.04, 60)
    found = permutation(a, b)
    assert found.way == "monte carlo"
    assert found.p == pytest.approx(paired_t(a, b).p, abs=0.01)
    assert found.p == permutation(a, b).p != permutation(a, b, seed=1).p
    big = wilcoxon(a, b)
    assert big.way == "normal"
    peer = scipy.stats.wilcoxon(a, b, correction=True, method="approx")
    assert big.p == pytest.approx(peer[1], rel=1e-9)


def test_p_is_never_zero() -> None:
    assert permutation(np.ones(40), np.zeros(40)).p == 1 / 10_001


def test_equal_methods() -> None:
    for name in ("permutation", "wilcoxon", "t", "sign"):
        assert paired_test(name, [0.5, 0.6], [0.5, 0.6]).p == 1.0


def test_mcnemar_is_the_binomial_test_of_what_differs() -> None:
    a = [1] * 8 + [0] * 2 + [1] * 5
    b = [0] * 8 + [1] * 2 + [1] * 5
    found = mcnemar(a, b)
    assert found.p == pytest.approx(scipy.stats.binomtest(2, 10).pvalue, abs=1e-12)
    assert found.zeros == 5
    with pytest.raises(SettingsError, match="0 or 1"):
        mcnemar([0.5], [1])


def test_gaps_are_refused() -> None:
    with pytest.raises(SettingsError, match="takes no NaN"):
        wilcoxon([0.5, float("nan")], [0.4, 0.4])
    with pytest.raises(SettingsError, match="same patients"):
        wilcoxon([0.5, 0.6], [0.4])
    with pytest.raises(SettingsError, match="no such test"):
        paired_test("z", [0.5], [0.4])


def test_friedman_of_a_table_with_ties() -> None:
    values = np.array([[9.0, 9.5, 5.0, 8.5], [7.0, 6.5, 7.0, 7.5], [6.0, 8.0, 4.0, 6.0]])
    statistic, p = friedman(values)
    assert (statistic, p) == pytest.approx(scipy.stats.friedmanchisquare(*values))
    assert statistic == pytest.approx(4.5)  # rank sums 11, 8, 5: 12 / (4*3*4) (121 + 64 + 25) - 3*4*4


def test_corrections() -> None:
    p = [0.01, 0.04, 0.03, float("nan")]
    assert adjusted(p, "holm")[:3].tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert adjusted(p, "fdr")[:3].tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert adjusted(p, "none")[:3].tolist() == [0.01, 0.04, 0.03]
    assert np.isnan(adjusted(p, "holm")[3])


# ---- effects and intervals --------------------------------------------------------------------------


def test_intervals_of_the_worked_example() -> None:
    d = paired_differences(A, B)
    patients = Resamples(np.arange(10))
    [mean] = bootstrap([mean_of(d)], patients)
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.036, 0.016, 0.056), abs=0.0015)
    [bca] = bootstrap([mean_of(d)], patients, method="bca")
    assert (bca.low, bca.high) == pytest.approx((0.016, 0.057), abs=0.0015)
    peer = scipy.stats.bootstrap((d,), np.mean, n_resamples=10_000, method="BCa", rng=0)
    assert (bca.low, bca.high) == pytest.approx(tuple(peer.confidence_interval), abs=0.0015)


def test_effects_of_the_worked_example() -> None:
    """Ranks of the negative differences sum to 4 of 55; 8 of 10 are positive."""
    d, once = paired_differences(A, B), np.ones((1, 10))
    assert float(rank_biserial(d)(once)[0]) == pytest.approx((51 - 4) / 55)
    assert float(probability_of_superiority(d)(once)[0]) == 0.8


def test_lesions_of_a_patient_are_no_independent_sample() -> None:
    tp, fp = np.array([40, 35, 2, 30, 1, 25]), np.array([2, 3, 20, 5, 15, 1])
    [patients] = bootstrap([ratio_of(tp, tp + fp)], Resamples(np.arange(6), seed=1))
    assert patients.value == pytest.approx(133 / 179)
    assert (patients.low, patients.high) == pytest.approx((0.445, 0.933), abs=0.01)
    right = np.repeat([1.0, 0.0], [133, 46])
    [lesions] = bootstrap([mean_of(right)], Resamples(np.arange(179), seed=1))
    assert (lesions.low, lesions.high) == pytest.approx((0.676, 0.804), abs=0.01)


def test_rows_of_a_patient_are_drawn_together() -> None:
    """Ten copies of each row say no more than the row."""
    x = np.array([0.2, 0.5, 0.9, 0.4])
    [once] = bootstrap([mean_of(x)], Resamples.of(list("abcd")))
    [copies] = bootstrap([mean_of(np.repeat(x, 10))], Resamples.of(np.repeat(list("abcd"), 10).tolist()))
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high), abs=1e-12)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.data())
def test_weighted_quantile_is_that_of_repeated_rows(values: list[int], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 4), min_size=len(values), max_size=len(values)))
    if not sum(counts):
        counts[0] = 1
    q = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
    found = quantile_of(values, q)(np.array([counts], dtype=float))[0]
    assert found == pytest.approx(np.quantile(np.repeat(values, counts), q), abs=1e-9)


def test_one_patient_has_no_interval() -> None:
    [one] = bootstrap([mean_of([0.2, 0.8])], Resamples.of(["p", "p"]))
    assert one.value == 0.5
    assert np.isnan([one.low, one.high]).all()


def test_equivalence_is_that_the_ninety_per_cent_interval_lies_within() -> None:
    d = np.subtract(A, B)
    error = d.std(ddof=1) / np.sqrt(10)
    reach = scipy.stats.t.ppf(0.95, 9) * error
    found = tost(A, B, margin=0.06)
    assert (found.low, found.high) == pytest.approx((0.036 - reach, 0.036 + reach))
    assert found.p == pytest.approx(scipy.stats.t.sf((0.06 - 0.036) / error, 9))
    just = 0.036 + reach
    assert tost(A, B, margin=just * 1.001).equivalent
    assert not tost(A, B, margin=just * 0.999).equivalent
    assert tost([0.5, 0.6], [0.5, 0.6], margin=0.01).equivalent
    with pytest.raises(SettingsError, match="positive"):
        tost(A, B, margin=0)


# ---- agreement --------------------------------------------------------------------------------------

VOLUMES = [(10, 20, 5, 15, 30), (11, 22, 6, 15, 28), (9, 21, 5, 17, 33)]
RATINGS = [[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]]


def test_agreement_of_volumes() -> None:
    found = icc(VOLUMES)
    assert found.one_way.value == pytest.approx(0.979198, abs=5e-7)
    assert found.agreement.value == pytest.approx(0.979185, abs=5e-7)
    assert found.consistency.value == pytest.approx(0.977320, abs=5e-7)


def test_intervals_of_icc_of_shrout_and_fleiss() -> None:
    """Their table 2; the intervals as the R package psych prints them."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    found = icc(ratings.T)
    one, agreed, kept = found.one_way, found.agreement, found.consistency
    assert (one.value, one.low, one.high) == pytest.approx((0.17, -0.133, 0.72), abs=0.005)
    assert (agreed.value, agreed.low, agreed.high) == pytest.approx((0.29, 0.019, 0.76), abs=0.005)
    assert (kept.value, kept.low, kept.high) == pytest.approx((0.71, 0.342, 0.95), abs=0.005)


def test_limits_of_agreement() -> None:
    found = bland_altman(VOLUMES[0], VOLUMES[1])
    assert found.bias.value == pytest.approx(-0.4)
    assert found.sd == pytest.approx(1.516575, abs=5e-7)
    assert found.lower.value == pytest.approx(-3.372487, abs=5e-7)
    assert found.upper.value == pytest.approx(2.572487, abs=5e-7)
    reach = scipy.stats.t.ppf(0.975, 4) * found.sd / np.sqrt(5)
    # Student's below; above a little more, as the largest difference is positive.
    assert found.bias.low == pytest.approx(-0.4 - reach)
    assert -0.4 + reach < found.bias.high < -0.4 + 1.5 * reach


def test_intervals_of_limits_are_nearly_those_of_the_noncentral_t() -> None:
    """The exact interval of a quantile of a normal distribution, for one pair each (Carkeet 2015)."""
    d = scipy.stats.norm.ppf((np.arange(20) + 0.5) / 20)
    found = bland_altman(d, np.zeros(20))
    exact = scipy.stats.nct.ppf([0.025, 0.975], 19, 1.96 * np.sqrt(20)) / np.sqrt(20) * found.sd
    assert (found.upper.low, found.upper.high) == pytest.approx(tuple(exact), rel=0.05)
    assert (found.lower.low, found.lower.high) == pytest.approx((-found.upper.high, -found.upper.low))


def test_limits_add_the_variance_between_and_within_patients() -> None:
    """Two scans each, at m - 1 and m + 1: within 2, between var(m) - 1; the plain variance is less."""
    middle = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    d = np.stack([middle - 1, middle + 1], axis=1).ravel()
    found = bland_altman(d, np.zeros(10), patients=np.repeat(np.arange(5), 2))
    assert found.sd**2 == pytest.approx(2 + (10 - 1))
    assert found.sd > d.std(ddof=1)
    alike = np.resize([-1.0, 1.0], 10)  # patients differ no more than their scans
    assert bland_altman(alike, np.zeros(10), patients=np.repeat(np.arange(5), 2)).sd == pytest.approx(
        alike.std(ddof=1)
    )


def test_limits_of_agreement_of_patients_with_several_scans() -> None:
    rng = np.random.default_rng(0)
    of_patient = np.repeat(rng.normal(0, 2, 12), 10)
    patients = [f"p{k}" for k in range(12) for _ in range(10)]
    clustered = bland_altman(of_patient, np.zeros(120), patients=patients)
    naive = bland_altman(of_patient, np.zeros(120))
    assert clustered.patients == 12
    assert clustered.bias.value == naive.bias.value
    wider = (clustered.bias.high - clustered.bias.low) / (naive.bias.high - naive.bias.low)
    # Ten copies: sqrt(10), and the quantile of 11 degrees of freedom for that of 119.
    expected = np.sqrt(10 * 119 / 110) * scipy.stats.t.ppf(0.975, 11) / scipy.stats.t.ppf(0.975, 119)
    assert wider == pytest.approx(expected, rel=0.06)


def test_agreement_of_raters() -> None:
    table = aggregate_raters(np.array(RATINGS).T)[0]
    assert fleiss_kappa(RATINGS) == pytest.approx(statsmodels_fleiss(table))
    assert cohen_kappa(RATINGS[0], RATINGS[1]) == pytest.approx(2 / 3)
    assert cohen_kappa(RATINGS[0], RATINGS[3]) == pytest.approx(-0.2)
    assert fleiss_kappa(RATINGS) == pytest.approx(0.272727, abs=5e-7)
    assert np.isnan(cohen_kappa([1, 1], [1, 1]))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_effects_without_each_patient_are_those_of_the_others(drawn: list[int]) -> None:
    d = np.array(drawn, float)
    others = [float(rank_biserial(np.delete(d, k))(np.ones((1, len(d) - 1)))[0]) for k in range(len(d))]
    np.testing.assert_allclose(rank_biserial_left_out(d), others, atol=1e-12)
