"""Phantoms: raters with exactly the marginals of the map, volumes in closed form, oblique grids."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import truevox as tv
from truevox.demo.phantom import (
    Region,
    draw_grid,
    draw_regions,
    generosity,
    largest_shape,
    probability_map,
    raters,
    scan,
    smooth_field,
    write_cohort,
)

GRID = tv.Grid((12, 10, 8), np.diag([1.0, 1.1, 2.0, 1.0]))


def turned(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def test_each_voxel_is_marked_with_its_probability() -> None:
    draws = 2000
    levels = np.linspace(0.0, 1.0, GRID.shape[0])
    probability = np.broadcast_to(levels[:, None, None], GRID.shape)
    rng = np.random.default_rng(20)
    counts = np.sum([raters(probability, GRID, rng, 3, 0.6)[1] for _ in range(draws)], axis=0, dtype=int)
    z = (counts - draws * probability)[1:-1] / np.sqrt(draws * probability * (1 - probability))[1:-1]
    # 800 nearly independent voxels: none beyond 5.5 (an exact law fails with probability 3e-5), and their
    # mean square is 1 with standard error 0.05. A field of variance 1.1 instead of 1 would make it 2.2.
    assert np.abs(z).max() < 5.5
    assert 0.7 < float((z**2).mean()) < 1.3
    assert (counts[0] == 0).all()
    assert (counts[-1] == draws).all()


def test_the_marginal_does_not_depend_on_place_or_coherence() -> None:
    draws, probability = 1500, np.full(GRID.shape, 0.3)
    for coherence in (0.8, 2.5, 6.0):
        rng = np.random.default_rng(int(10 * coherence))
        counts = np.sum(
            [raters(probability, GRID, rng, 3, coherence)[-1] for _ in range(draws)], axis=0, dtype=int
        )
        z = (counts - draws * 0.3) / math.sqrt(draws * 0.3 * 0.7)
        for place in (z[0, 0, 0], z[6, 5, 4], z[-1, -1, -1], z[0, 5, -1]):
            assert abs(place) < 4.5


def test_raters_are_coherent_in_space() -> None:
    """Neighbours agree as often as a bivariate normal of their correlation says (Sheppard 1898)."""
    coherence, rng = 3.0, np.random.default_rng(4)
    masks = np.stack([raters(np.full(GRID.shape, 0.5), GRID, rng, 2, coherence)[0] for _ in range(600)])
    agree = float((masks[:, 1:] == masks[:, :-1]).mean())
    correlation = math.exp(-(GRID.spacing[0] ** 2) / (4 * coherence**2))
    assert agree == pytest.approx(1 - math.acos(correlation) / math.pi, abs=0.015)


def test_raters_of_a_case_differ_as_much_as_they_can() -> None:
    """Three normal fields that sum to zero correlate at -1/2: two both mark with 1/4 + asin(-1/2) / 2 pi."""
    rng = np.random.default_rng(11)
    cases = [raters(np.full(GRID.shape, 0.5), GRID, rng, 3, 2.0) for _ in range(400)]
    both = float(np.mean([(one & two).mean() for one, two, _ in cases]))
    assert both == pytest.approx(1 / 4 + math.asin(-0.5) / (2 * math.pi), abs=0.006)
    # Numbers that sum to zero are never all below the median, or all above.
    marks = np.stack([np.sum(case, axis=0, dtype=int) for case in cases])
    assert set(np.unique(marks)) == {1, 2}


def test_a_single_rater_has_the_same_law() -> None:
    rng = np.random.default_rng(12)
    marked = [float(raters(np.full(GRID.shape, 0.3), GRID, rng, 1, 1.0)[0].mean()) for _ in range(300)]
    assert float(np.mean(marked)) == pytest.approx(0.3, abs=4 * float(np.std(marked)) / math.sqrt(300))
    assert len(raters(np.full(GRID.shape, 0.3), GRID, rng)) == 3


def test_the_field_is_standard_normal_at_every_voxel() -> None:
    rng = np.random.default_rng(1)
    fields = np.stack([smooth_field(GRID, 2.5, rng) for _ in range(3000)])
    # Standard errors: 1/sqrt(3000) = 0.018 of the mean, sqrt(2/3000) = 0.026 of the variance; 960 voxels.
    assert np.abs(fields.mean(0)).max() < 5 * 0.0183
    assert np.abs(fields.var(0) - 1).max() < 5 * 0.0258


@given(
    st.lists(st.floats(4.0, 9.0), min_size=3, max_size=3),
    st.floats(0.1, 1.0),
    st.floats(0.1, 0.4),
    st.floats(-math.pi, math.pi),
)
@settings(max_examples=20)
def test_the_volume_of_a_region_is_its_closed_form(
    radii: list[float], level: float, ramp: float, angle: float
) -> None:
    region = Region(np.array([0.3, -0.2, 0.4]), turned(angle) @ np.diag(radii), level, ramp)
    grid = tv.Grid((56, 56, 30), [[0.5, 0, 0, -13.75], [0, 0.5, 0, -13.75], [0, 0, 1.0, -14.5], [0, 0, 0, 1]])
    summed = float(probability_map([region], grid).sum()) * grid.voxel_volume_ml
    # Independent of the property: a ball of radius s r has the volume s^3 of it, s uniform in 1 -/+ ramp.
    s = np.linspace(1 - ramp, 1 + ramp, 2001)
    expected = level * 4 / 3 * math.pi * math.prod(radii) * float(np.trapezoid(s**3, s)) / (2 * ramp) / 1000
    assert region.expected_volume_ml == pytest.approx(expected, rel=1e-6)
    assert summed == pytest.approx(expected, rel=0.01)


def test_overlapping_margins_combine_as_independent_raters() -> None:
    a, b = (Region(np.zeros(3), 5 * np.eye(3), level) for level in (0.4, 0.5))
    centre = tv.Grid((1, 1, 1))
    assert float(probability_map([a, b], centre)[0, 0, 0]) == pytest.approx(1 - 0.6 * 0.5)


def test_grids_are_oblique_anisotropic_and_differ() -> None:
    grids = [draw_grid(np.random.default_rng([3, n])) for n in range(40)]
    for grid in grids:
        assert all(n <= most for n, most in zip(grid.shape, largest_shape(), strict=True))
        assert grid.spacing[2] / grid.spacing[:2].max() > 1.6
        assert np.linalg.norm(grid.centre) < 2.0
        # Right angles between the axes: turned, not sheared.
        directions = grid.affine[:3, :3] / grid.spacing
        assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    oblique = [np.abs(g.affine[:3, :3] / g.spacing).max(0).min() < math.cos(math.radians(5)) for g in grids]
    assert sum(oblique) > 20
    assert len({g.shape for g in grids}) > 10
    assert {g.orientation for g in grids} >= {"RAS", "LPS"}


def test_a_large_part_of_the_lesion_is_uncertain() -> None:
    shares, volumes = [], []
    for n in range(20):
        grid = draw_grid(np.random.default_rng([0, n, 1]))
        p = probability_map(draw_regions(np.random.default_rng([0, n, 0])), grid)
        assert 0 <= p.min() <= p.max() <= 1
        shares.append(p[(p > 0.02) & (p < 0.98)].sum() / p.sum())
        volumes.append(p.sum() * grid.voxel_volume_ml)
    assert np.mean(shares) > 0.5
    assert np.std(volumes) / np.mean(volumes) > 0.15


def test_the_scan_shows_the_probability() -> None:
    """Mean intensity 0 where nobody marks, 2 where all do, and 1 at a probability of a quarter."""
    grid = tv.Grid((40, 40, 24))
    for level, expected in ((0.0, 0.0), (0.25, 1.0), (1.0, 2.0)):
        values = [scan(np.full(grid.shape, level), grid, np.random.default_rng(k)) for k in range(6)]
        assert float(np.mean(values)) == pytest.approx(expected, abs=0.03)


@given(st.integers(0, 2**32 - 1), st.integers(0, 200))
def test_generosity_is_even_in_every_small_cohort(seed: int, first: int) -> None:
    factors = [generosity(seed, number) for number in range(first, first + 20)]
    assert min(factors) >= 0.75
    assert max(factors) <= 1.25
    # The mean depends on where the steps start: all starts scanned at 5e-6, it is off by 0.0254 at most.
    # Uniform draws of this width would have a standard error of 0.032.
    assert float(np.mean(factors)) == pytest.approx(1.0, abs=0.0255)
    assert float(np.std(factors)) == pytest.approx(0.5 / math.sqrt(12), rel=0.15)


def test_the_known_map_has_the_generosity_that_the_scan_lacks(tmp_path: Path) -> None:
    seed, number = 8, 1
    write_cohort(tmp_path, seed, {"test": 1})
    known = tv.load(tmp_path / "truth" / "p01.nii.gz", "probability")
    image = tv.load(tmp_path / "scans" / "p01.nii.gz").numpy()[0]
    regions = draw_regions(np.random.default_rng([seed, number, 0]))
    world = known.grid.to_world(np.moveaxis(np.indices(known.grid.shape), 0, -1))
    core, one, two = (region.probability(world) for region in regions)
    plateau = (core == 0) & (two == 0) & (one == one.max())
    assert plateau.sum() > 100
    assert one.max() == regions[1].level
    expected = generosity(seed, number) * regions[1].level
    assert np.allclose(known.numpy()[0][plateau], expected, atol=1e-6)
    seen = float((image[plateau].mean() / 2) ** 2)
    error = 0.25 / math.sqrt(float(plateau.sum())) + 0.05
    assert seen == pytest.approx(regions[1].level, abs=error)


def test_the_cohort_reads_back(tmp_path: Path) -> None:
    table = write_cohort(tmp_path / "cohort", seed=5, splits={"train": 2, "test": 1})
    cohort = tv.Cohort.from_csv(table)
    assert [case.key for case in cohort] == [f"p0{n}/rater{k}" for n in (1, 2, 3) for k in (1, 2, 3)]
    assert [len(cohort.split(name).ids) for name in ("train", "test")] == [2, 1]
    for case in cohort:
        image, label = case["image"], case.load("label", "label", tv.Labels({"lesion": 1}))
        known = case.load("probability", "probability")
        assert image.grid.same_as(label.grid)
        assert image.grid.same_as(known.grid)
        # Where the map is 0 or 1, raters have no choice.
        assert not bool((label.data[known.data == 0] != 0).any())
        assert bool((label.data[known.data == 1] == 1).all())
    one, two = (case.load("label", "label").data for case in list(cohort)[:2])
    assert not bool((one == two).all())


def test_a_case_depends_on_the_seed_and_its_number_only(tmp_path: Path) -> None:
    write_cohort(tmp_path / "a", seed=5, splits={"train": 1, "test": 1})
    write_cohort(tmp_path / "b", seed=5, splits={"test": 2})
    write_cohort(tmp_path / "c", seed=6, splits={"test": 2})
    a, b, c = (tv.load(tmp_path / name / "scans" / "p02.nii.gz") for name in "abc")
    assert a.grid == b.grid
    assert bool((a.data == b.data).all())
    assert a.grid != c.grid
