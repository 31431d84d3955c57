"""Rankings and their stability against numbers of challengeR's data and tests, and the laws they obey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from truevox.errors import SettingsError
from truevox.evaluation import compare_table
from truevox.evaluation.comparison.rank_stability import kendall_tau, ranked, stability
from truevox.evaluation.comparison.ranking import (
    SCHEMES,
    Field,
    aggregate_then_rank,
    consensus,
    rank_by_tests,
    rank_then_aggregate,
    significance,
)

TABLES = st.integers(2, 5).flatmap(
    lambda m: st.lists(st.lists(st.integers(0, 9), min_size=m, max_size=m), min_size=2, max_size=8)
).map(lambda rows: np.array(rows, dtype=float).T / 9)  # fmt: skip


# ---- the tests of challengeR ----------------------------------------------------------------------


def test_two_methods_where_little_is_good() -> None:
    assert aggregate_then_rank([[0.6], [0.8]], better="lower").ranks.tolist() == [1, 2]


@pytest.mark.parametrize(("ties", "expected"), [("min", [1, 1]), ("max", [2, 2])])
def test_ties(ties: str, expected: list[int]) -> None:
    assert aggregate_then_rank([[0.8], [0.8]], ties=ties).ranks.tolist() == expected  # type: ignore[arg-type]


def test_ranking_by_tests() -> None:
    found = rank_by_tests([[0.2] * 4, [1.0] * 4], better="lower")
    assert (found.scores.tolist(), found.ranks.tolist()) == ([1.0, 0.0], [1, 2])
    alone = rank_by_tests([[0.2], [1.0]], better="lower")
    assert (alone.scores.tolist(), alone.ranks.tolist()) == ([0.0, 0.0], [1, 1])


# ---- closed forms -----------------------------------------------------------------------------------


def test_the_order_of_ranking_and_averaging_matters() -> None:
    """One disaster costs the mean, not the ranks."""
    values = [[0.9, 0.9, 0.0], [0.8, 0.8, 0.8]]
    assert aggregate_then_rank(values).ranks.tolist() == [2, 1]
    assert aggregate_then_rank(values, "median").ranks.tolist() == [1, 2]
    assert rank_then_aggregate(values).scores.tolist() == pytest.approx([4 / 3, 5 / 3])
    assert rank_then_aggregate(values).ranks.tolist() == [1, 2]
    assert rank_then_aggregate(values, "median").ranks.tolist() == [1, 2]
    assert aggregate_then_rank(values, 0.0).ranks.tolist() == [2, 1]


def test_equal_means_tie_whatever_the_order_of_addition() -> None:
    values = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1]])
    assert len(set(values.mean(1).tolist())) > 1, "float noise, else this tests nothing"
    assert aggregate_then_rank(values).ranks.tolist() == [1, 1, 1]


def test_significance_is_the_one_sided_test_of_scipy() -> None:
    rng = np.random.default_rng(5)
    values = rng.uniform(0, 1, (3, 30))
    p = significance(Field(values), "none")
    for i, j in ((0, 1), (1, 0), (2, 0)):
        peer = scipy.stats.wilcoxon(
            values[i], values[j], alternative="greater", correction=True, method="approx"
        )
        assert p[i, j] == pytest.approx(peer[1], rel=1e-9)
    down = significance(Field(values, "lower"), "none")
    assert down[0, 1] == pytest.approx(p[1, 0], rel=1e-12)


def test_consensus_of_tasks() -> None:
    found = consensus({"liver": [1, 2, 3], "tumour": [3, 1, 2]})
    assert found.scores.tolist() == [2.0, 1.5, 2.5]
    assert found.ranks.tolist() == [2, 1, 3]


def test_bootstrap_of_two_methods_has_a_closed_form() -> None:
    """The second wins a sample of three only if the case it wins is drawn at least twice: 7 of 27."""
    field = Field(np.array([[0.9, 0.9, 0.5], [0.5, 0.5, 0.9]]))
    found = stability(field, "rank_then_mean", count=20_000, seed=2)
    assert found.winner_frequency.tolist() == pytest.approx([20 / 27, 7 / 27], abs=0.012)
    assert found.distribution.sum(1).tolist() == pytest.approx([1.0, 1.0])
    assert found.left_out.tolist() == [[1, 1], [1, 1], [1, 2]]
    assert float(np.mean(found.tau)) == pytest.approx(20 / 27 - 7 / 27, abs=0.024)


def test_patients_are_drawn_whole() -> None:
    """Two patients: a sample has one of them twice, or both. Cases by themselves would say otherwise."""
    values = np.array([[0.9] * 5 + [0.1], [0.1] * 5 + [0.9]])
    field = Field(values, clusters=np.array([0, 0, 0, 0, 0, 1]))
    found = stability(field, count=20_000, seed=0)
    assert found.winner_frequency.tolist() == pytest.approx([0.75, 0.25], abs=0.012)
    cases = stability(Field(values), count=20_000, seed=0)
    expected = scipy.stats.binom.sf(2, 6, 1 / 6)  # drawn three times of six, it wins or ties
    assert cases.winner_frequency[1] == pytest.approx(expected, abs=0.007)


def test_unknown_scheme() -> None:
    with pytest.raises(SettingsError, match="no such way to rank"):
        ranked(Field(np.ones((2, 2))), "best")


# ---- laws -------------------------------------------------------------------------------------------


@given(TABLES, st.sampled_from(sorted(SCHEMES)))
def test_less_is_good_is_more_of_the_negative(values: np.ndarray, scheme: str) -> None:
    up = ranked(Field(values), scheme).ranks
    down = ranked(Field(-values, "lower"), scheme).ranks
    assert up.tolist() == down.tolist()


@given(TABLES, st.sampled_from(sorted(SCHEMES)), st.randoms(use_true_random=False))
def test_the_order_of_cases_and_methods_does_not_matter(values: np.ndarray, scheme: str, random) -> None:
    methods, cases = list(range(len(values))), list(range(values.shape[1]))
    random.shuffle(methods)
    random.shuffle(cases)
    before = ranked(Field(values), scheme).ranks[methods]
    assert ranked(Field(values[methods][:, cases]), scheme).ranks.tolist() == before.tolist()


@given(TABLES)
def test_ranks_of_cases_do_not_ask_for_the_scale(values: np.ndarray) -> None:
    for scheme in ("rank_then_mean", "rank_then_median"):
        stretched = ranked(Field(np.exp(3 * values)), scheme)
        assert stretched.ranks.tolist() == ranked(Field(values), scheme).ranks.tolist()


@given(st.lists(st.integers(1, 4), min_size=3, max_size=6), st.data())
def test_kendall_tau_is_that_of_scipy(ranks: list[int], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.integers(1, 4), min_size=len(ranks), max_size=len(ranks)))
    expected = scipy.stats.kendalltau(other, ranks)[0]
    assert kendall_tau([other], ranks)[0] == pytest.approx(expected, nan_ok=True)


# ---- data of challengeR -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def challenge(data_dir: Path) -> dict:
    file = data_dir / "metric_tables" / "challengeR_data_matrix_simulated.csv"
    if not file.is_file():
        pytest.skip(f"no such file: {file}")
    found = compare_table(file, method="alg_name", task="task", seed=1, resamples=100)
    return {one.table.scores.label: one for one in found.standings}


def by_name(standing, values) -> list:
    return [values[standing.table.scores.methods.index(f"A{k}")] for k in range(1, 6)]


def test_random_task_of_challenger(challenge: dict) -> None:
    one = challenge["c_random"]
    ranks = {name: by_name(one, ranking.ranks.tolist()) for name, ranking in one.rankings.items()}
    means = by_name(one, one.rankings["mean_then_rank"].scores)
    assert means == pytest.approx([0.80468, 0.79752, 0.76148, 0.78841, 0.76974], abs=5e-6)
    assert ranks["mean_then_rank"] == [1, 2, 5, 3, 4]
    assert by_name(one, one.rankings["rank_then_mean"].scores) == pytest.approx(
        [2.72, 2.96, 3.32, 2.88, 3.12]
    )
    assert ranks["rank_then_mean"] == [1, 3, 5, 2, 4]
    assert by_name(one, one.rankings["test_then_rank"].scores) == [0.25, 0, 0, 0, 0]
    assert ranks["test_then_rank"] == [1, 2, 2, 2, 2]
    field, names = one.table.field, list(one.table.scores.methods)
    p = significance(field, "none")
    below = [(names[i], names[j]) for i, j in np.argwhere(np.nan_to_num(p, nan=1.0) <= 0.05)]
    assert below == [("A1", "A3")]
    assert p[names.index("A1"), names.index("A3")] == pytest.approx(0.0173, abs=5e-5)
    assert np.nanmin(significance(field, "holm")) == pytest.approx(0.3451, abs=5e-4)
    assert by_name(one, one.stability.winner_frequency) == pytest.approx(
        [0.47, 0.30, 0.01, 0.18, 0.04], abs=0.04
    )
    mean, low, middle, high = one.stability.tau_quantiles
    assert mean == pytest.approx(0.53, abs=0.05)
    assert (low, middle, high) == pytest.approx((0.4, 0.6, 0.8))


def test_ideal_task_of_challenger(challenge: dict) -> None:
    one = challenge["c_ideal"]
    for ranking in one.rankings.values():
        assert by_name(one, ranking.ranks.tolist()) == [1, 2, 3, 4, 5]
    assert by_name(one, one.stability.winner_frequency)[0] == 1.0
    assert np.unique(one.stability.tau).tolist() == [1.0]


def test_worst_task_of_challenger(challenge: dict) -> None:
    one = challenge["c_worstcase"]
    assert one.rankings["mean_then_rank"].ranks.tolist() == [1, 1, 1, 1, 1]
    frequencies = one.stability.winner_frequency
    assert frequencies.min() > 0.16
    assert frequencies.max() < 0.24
