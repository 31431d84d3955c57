"""Distances between surfaces: published tables, other packages, brute force, laws, spheres."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_cases import CASES, spaced

from truevox.errors import SettingsError
from truevox.kernels.borders import borders, borders_numpy, survey
from truevox.kernels.nearest import nearest, nearest_numpy
from truevox.kernels.surfels import surfels, surfels_numpy
from truevox.kernels.transform import squares, squares_numpy
from truevox.metrics import Empty, Pair, advice, definition, evaluate
from truevox.metrics.surface import Directed
from truevox.metrics.surfels import areas

shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=7)
full = shapes.flatmap(lambda s: st.tuples(hnp.arrays(bool, s), hnp.arrays(bool, s)))
pairs = full.filter(lambda two: bool(two[0].any() and two[1].any()))
sizes = st.sampled_from([0.3, 0.7, 1.0, 1.3, 4.0])

# Columns: tolerance; HD, HD95, ASSD, MASD, NSD; HD95 pooled; surfel MASD, HD95, NSD; NSD mean of shares.
# fmt: off
TABLE = {
    "A": (1, 2, 2, .4444, .4250, .8889, 2, .3204, 2, .8845, .9),
    "B1": (1, 1.4142, 1.4142, 1.1036, 1.0690, .7500, 1.4142, 1.0395, 1.4142, .8694, .8333),
    "B2": (1, 1.4142, 1.4142, 1.0518, 1.0414, .8750, 1.4142, 1.0257, 1.4142, .9249, .9),
    "C": (1, 11.3137, 6.7882, .6655, .6285, .9412, 2.2627, 1.0996, 11.3137, .8845, .9444),
    "D": (1, 2, 2, 1, 1, .5556, 2, 1, 2, .5515, .5556),
    "D'": (2, 4, 4, 1.7778, 1.7778, .6111, 4, 1.3159, 4, .7223, .6111),
    "E": (1, 2, 2, .6885, .6885, .7213, 2, .6798, 2, .7229, .7213),
    "E'": (2, 6, 6, 1.6967, 1.6967, .6885, 6, 1.0199, 6, .7881, .6885),
    "F": (.5, 1, .8500, .0297, .0288, .9703, 0, .0130, 0, .9935, .9712),
    "G": (1, 1, 1, .2667, .2634, 1, 1, .2626, 1, 1, 1),
    "H": (2, 2.4495, 2.2361, 1.8909, 1.8873, .7286, 2.2361, 1.5764, 2.2361, .9244, .7364),
    "J": (1, 7.2111, 7.2111, 7.2111, 7.2111, 0, 7.2111, 6.1440, 7.2111, 0, 0),
}
BORDER_VOXELS = {"A": (16, 20), "B1": (12, 4), "C": (9, 8), "D'": (36, 36), "E": (488, 488), "F": (98, 104),
                 "G": (16, 14), "H": (978, 1410), "J": (1, 1)}
# fmt: on


def names(tolerance: float) -> list[str]:
    nsd = f"nsd@{tolerance}mm"
    return [
        "hd", "hd95", "assd", "masd", nsd, "hd95/pooled", "masd/surfel", "hd95/surfel", f"{nsd}/surfel",
        f"{nsd}/mean",
    ]  # fmt: skip


def values(p: np.ndarray, r: np.ndarray, spacing: object, metrics: list[str]) -> list[float]:
    return [one.value for one in evaluate(p, r, spacing, metrics).values()]  # type: ignore[arg-type]


def border_of(mask: np.ndarray) -> np.ndarray:
    """Indices of foreground voxels that miss a face neighbour, one by one."""
    found = []
    for index in np.argwhere(mask):
        for axis, step in ((a, s) for a in range(mask.ndim) for s in (-1, 1)):
            other = index.copy()
            other[axis] += step
            if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                found.append(index)
                break
    return np.array(found)


def by_hand(p: np.ndarray, r: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All distances between borders, both ways."""
    a, b = border_of(r) * spacing, border_of(p) * spacing
    table = np.linalg.norm(a[:, None] - b[None], axis=2)
    return table.min(1), table.min(0)


@pytest.mark.parametrize("case", TABLE)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_published_cases(case: str, order: str) -> None:
    tolerance, *expected = TABLE[case]
    r, p = (np.asarray(mask, order=order) for mask in CASES[case])  # type: ignore[call-overload]
    assert values(p, r, spaced(case), names(tolerance)) == pytest.approx(expected, abs=6e-5)


def test_more_of_the_published_cases() -> None:
    r, p = CASES["H"]
    assert values(p, r, (1, 1, 1), ["nsd@1mm", "nsd@1mm/surfel"]) == pytest.approx([0, 0.1524], abs=6e-5)
    r, p = CASES["F"]
    assert values(p, r, (1, 1, 1), ["hd/surfel"]) == [2]


@pytest.mark.parametrize("case", BORDER_VOXELS)
def test_borders_of_the_published_cases(case: str) -> None:
    r, p = CASES[case]
    own = Pair(p, r, spaced(case)).layout
    spans = survey(own.prediction, own.reference, own.shape[2])[3]
    only_p, only_r, both = borders(own.prediction, own.reference, own.shape, spans, own.ndim)
    assert (only_r.size + both.size, only_p.size + both.size) == BORDER_VOXELS[case]


@pytest.mark.parametrize(("n", "area"), [(2, 16.2173), (4, 81.1879), (10, 564.0996)])
def test_area_of_cubes(n: int, area: float) -> None:
    r = np.ones((n,) * 3, bool)
    own = Pair(r, r, (1, 1, 1))
    _, codes = surfels(own.layout.prediction, own.layout.reference, own.layout.shape, own.spans, 3)
    assert areas((1, 1, 1))[codes[:, 0]].sum() == pytest.approx(area, abs=6e-5)


@pytest.mark.parametrize("n", [2, 4, 10])
def test_length_of_squares(n: int) -> None:
    own = Pair(np.ones((n, n), bool), np.ones((n, n), bool), (1, 1))
    _, codes = surfels(own.layout.prediction, own.layout.reference, own.layout.shape, own.spans, 2)
    assert areas((1.0, 1.0))[codes[:, 0]].sum() == pytest.approx(4 * (n - 1) + 2 * math.sqrt(2))


# ---- laws ----------------------------------------------------------------------------------------------


@given(pairs, st.data())
@settings(deadline=None)
def test_voxel_metrics_are_those_of_every_pair_of_voxels(
    pair: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    p, r = pair
    spacing = np.array(data.draw(st.tuples(*[sizes] * p.ndim)))
    a, b = by_hand(p, r, spacing)
    both, percent = np.concatenate([a, b]), data.draw(st.integers(1, 100))
    expected = [
        max(a.max(), b.max()),
        max(np.percentile(a, percent), np.percentile(b, percent)),
        np.percentile(both, percent),
        both.mean(),
        (a.mean() + b.mean()) / 2,
        (both <= 1.3 * (1 + 1e-7)).mean(),
    ]
    metrics = ["hd", f"hd{percent}/max", f"hd{percent}/pooled", "assd", "masd", "nsd@1.3mm"]
    found = [evaluate(p, r, spacing, [name])[name].value for name in metrics]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(pairs, st.sampled_from(["voxel", "surfel"]), st.data())
@settings(deadline=None)
def test_laws(pair: tuple[np.ndarray, np.ndarray], border: str, data: st.DataObject) -> None:
    p, r = pair
    spacing = np.array(data.draw(st.tuples(*[sizes] * p.ndim)))
    distances = [f"{m}/{border}" for m in ("hd", "hd95", "hd95/pooled", "assd", "masd")]
    nsd = [f"nsd@{t}mm/{border}" for t in (0.5, 1, 2.5)]
    found = values(p, r, spacing, distances + nsd)
    # symmetric; 0 and 1 for equal masks; within range
    assert values(r, p, spacing, distances + nsd) == pytest.approx(found, abs=1e-9)
    assert values(p, p, spacing, distances + nsd) == [0] * 5 + [1] * 3
    assert all(0 <= v <= np.linalg.norm((np.array(p.shape) + 1) * spacing) for v in found[:5])
    # a percentile is at most the maximum, more tolerance is at least as good
    assert found[1] <= found[0]
    assert found[3] <= found[0]
    assert 0 <= found[5] <= found[6] <= found[7] <= 1
    # axes, padding, memory, scale
    order = data.draw(st.permutations(range(p.ndim)))
    a, b = (np.pad(one.transpose(order), [(2, 3)] * p.ndim) for one in pair)
    assert values(a, b, spacing[list(order)], distances + nsd) == pytest.approx(found, rel=1e-6, abs=1e-9)
    larger = values(p, r, spacing * 2, distances + [f"nsd@{t}mm/{border}" for t in (1, 2, 5)])
    assert larger == pytest.approx([2 * v for v in found[:5]] + found[5:], rel=1e-6, abs=1e-9)


# ---- compiled code and its twins -----------------------------------------------------------------------


@given(full, st.booleans())
@settings(deadline=None)
def test_borders_and_surfels_equal_their_twins(pair: tuple[np.ndarray, np.ndarray], thick: bool) -> None:
    p, r = (np.repeat(one, 9, -1) for one in pair) if thick else pair
    own = Pair(p, r, (1,) * p.ndim)
    arguments = (own.layout.prediction, own.layout.reference, own.layout.shape, own.spans, p.ndim)
    for ours, twin in ((borders, borders_numpy), (surfels, surfels_numpy)):
        for one, other in zip(ours(*arguments), twin(*arguments), strict=True):
            np.testing.assert_array_equal(one, other)


places = st.lists(st.integers(0, 11 * 17 * 13 - 1), min_size=1, max_size=120, unique=True)


@given(places, places, st.tuples(sizes, sizes, sizes), st.sampled_from([None, -1, 3]))
@settings(deadline=None)
def test_nearest_is_that_of_every_pair(
    a: list[int], b: list[int], spacing: tuple[float, float, float], budget: int | None
) -> None:
    """Whether the tree or the distance transform finds it, or one after the other."""
    shape = (11, 17, 13)
    queries, targets = np.array(a), np.array(b)
    found = nearest(queries, targets, shape, spacing, budget=budget)
    np.testing.assert_allclose(found, nearest_numpy(queries, targets, shape, spacing), rtol=1e-6)


@given(places, st.tuples(sizes, sizes, sizes))
@settings(deadline=None, max_examples=30)
def test_the_transform_equals_its_twin(a: list[int], spacing: tuple[float, float, float]) -> None:
    points = np.stack(np.unravel_index(np.array(a), (11, 17, 13)), 1)
    weights = (np.array(spacing) ** 2).astype(np.float32)
    ours, twin = squares(points, (11, 17, 13), weights), squares_numpy(points, (11, 17, 13), weights)
    np.testing.assert_allclose(ours, twin, rtol=1e-5)


def test_the_transform_takes_over_where_boxes_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its centre all voxels of a sphere are equally far: what a search may visit has an end."""
    module, taken = importlib.import_module("truevox.kernels.nearest"), []
    monkeypatch.setattr(module, "squares", lambda *args: taken.append(args) or squares(*args))
    grid = np.indices((61, 61, 61)) - 30
    radius = np.sqrt((grid**2).sum(0))
    shell, core = (radius > 28) & (radius <= 29), radius <= 12
    a, b = np.flatnonzero(core), np.flatnonzero(shell)
    found = nearest(a, b, shell.shape, (1.0, 1.0, 1.0))
    from scipy.ndimage import distance_transform_edt

    expected = np.asarray(distance_transform_edt(~shell))
    np.testing.assert_allclose(found, expected[core], rtol=1e-6)
    assert taken


# ---- other packages ------------------------------------------------------------------------------------


def blobs(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth masks that are alike."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    base = gaussian_filter(rng.normal(size=shape), 2.5)
    other = base + 0.4 * base.std() * gaussian_filter(rng.normal(size=shape), 1) / 0.2
    return base > base.std(), other > base.std()


SPACINGS = [(1.0, 1.0, 1.0), (3.0, 1.0, 0.7)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_to_monai(spacing: tuple[float, ...], ndim: int) -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    p, r = blobs(1, (48, 56, 52)[:ndim])
    size = spacing[:ndim]
    a, b = (torch.from_numpy(one)[None, None] for one in (p, r))
    own = {"include_background": True, "spacing": list(size)}
    theirs = [
        metrics.compute_hausdorff_distance(a, b, **own),
        metrics.compute_hausdorff_distance(a, b, percentile=95, **own),
        metrics.compute_average_surface_distance(a, b, symmetric=True, **own),
        metrics.compute_surface_dice(a, b, class_thresholds=[1.0], **own),
        metrics.compute_surface_dice(a, b, class_thresholds=[1.0], use_subvoxels=True, **own),
    ]
    ours = values(p, r, size, ["hd", "hd95", "assd", "nsd@1mm", "nsd@1mm/surfel"])
    assert ours == pytest.approx([float(v) for v in theirs], abs=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_to_surface_distance(spacing: tuple[float, ...], ndim: int) -> None:
    peer = pytest.importorskip("surface_distance")
    p, r = blobs(2, (48, 56, 52)[:ndim])
    size = spacing[:ndim]
    found = peer.compute_surface_distances(r, p, size)
    there, back = peer.compute_average_surface_distance(found)
    theirs = [
        peer.compute_robust_hausdorff(found, 100),
        peer.compute_robust_hausdorff(found, 95),
        (there + back) / 2,
        peer.compute_surface_dice_at_tolerance(found, 1.5),
    ]
    ours = values(p, r, size, ["hd/surfel", "hd95/surfel", "masd/surfel", "nsd@1.5mm/surfel"])
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_areas_are_those_of_surface_distance() -> None:
    tables = pytest.importorskip("surface_distance.lookup_tables")
    spacing = (3.0, 1.7, 0.4)
    theirs = tables.create_table_neighbour_code_to_surface_area(spacing)
    weights = tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    for code in range(256):
        other = sum(
            int(weights[i, j, k]) for i, j, k in np.ndindex(2, 2, 2) if code >> (4 * k + 2 * i + j) & 1
        )
        assert areas(spacing)[code] == pytest.approx(float(theirs[other]), abs=1e-12)


# ---- spheres -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.1, 0.5), (2.0, 0.5, 0.5)])
def test_concentric_spheres_are_their_difference_of_radii_apart(spacing: tuple[float, ...]) -> None:
    n = [int(30 / s) | 1 for s in spacing]
    grid = np.meshgrid(*[(np.arange(k) - k // 2) * s for k, s in zip(n, spacing, strict=True)], indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid))
    small, large = radius <= 8, radius <= 12
    size = max(spacing)
    for metric in ("assd/surfel", "masd/surfel", "assd", "masd"):
        (found,) = values(large, small, spacing, [metric])
        assert found == pytest.approx(4, abs=0.5 * size)
    own = Pair(large, small, spacing)
    _, codes = surfels(own.layout.prediction, own.layout.reference, own.layout.shape, own.spans, 3)
    area = areas(spacing)[codes[:, 1]].sum()
    # Steps between slices are surface too: triangles of few directions are larger than the sphere.
    assert 1 < area / (4 * np.pi * 64) < 1.2


# ---- names, empties, advice ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "name", "identity"),
    [
        ("hd", "hd", "hd/voxel/max"),
        ("hd95", "hd95", "hd95/voxel/max"),
        ("hd95/voxel/max", "hd95", "hd95/voxel/max"),
        ("hd95/pooled", "hd95/pooled", "hd95/voxel/pooled"),
        ("hd99.5/surfel", "hd99.5/surfel", "hd99.5/surfel/max"),
        ("hd100", "hd", "hd/voxel/max"),
        ("assd", "assd", "assd/voxel/pooled"),
        ("masd/surfel", "masd/surfel", "masd/surfel/mean"),
        ("nsd@1mm", "nsd@1mm", "nsd@1mm/voxel/pooled"),
        ("nsd@1.50mm/mean/surfel", "nsd@1.5mm/surfel/mean", "nsd@1.5mm/surfel/mean"),
    ],
)
def test_names_and_ids(said: str, name: str, identity: str) -> None:
    found = definition(said)
    assert (found.name, found.id) == (name, identity)
    assert definition(name).id == definition(identity).id == identity


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("nsd", "nsd@1mm"),
        ("nsd@1", "number in mm"),
        ("nsd@mm", "number in mm"),
        ("nsd@-1mm", "number in mm"),
        ("nsd@infmm", "number in mm"),
        ("hd101", "up to 100"),
        ("hd0", "positive number"),
        ("hd95/mesh", "no variant 'mesh'"),
        ("hd95/voxel/surfel", "either"),
        ("assd/max", "no variant"),
        ("assd@1mm", "no parameter"),
    ],
)
def test_nonsense_is_refused(said: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        definition(said)


@pytest.mark.parametrize("name", ["hd", "hd95", "assd", "masd", "nsd@1mm", "hd95/surfel", "nsd@2mm/surfel"])
def test_the_table_of_empty_masks(name: str) -> None:
    perfect, bad = (1.0, 0.0) if name.startswith("nsd") else (0.0, math.hypot(8 * 2, 8 * 3))
    found = [evaluate(CASES[k][1], CASES[k][0], (2, 3), [name])[name] for k in ("K1", "K2", "K3")]
    assert [one.value for one in found] == pytest.approx([math.nan, bad, bad], nan_ok=True)
    assert [one.status for one in found] == ["undefined", "missed", "spurious"]
    both = evaluate(CASES["K1"][1], CASES["K1"][0], (2, 3), [name], empty=Empty(both="perfect"))[name]
    assert (both.value, both.status) == (perfect, "undefined")


def test_advice_is_given_where_voxels_are_flat() -> None:
    assert advice((1, 1, 2), ["hd95", "assd"]) == []
    said = advice((3, 1, 1), ["dice", "nsd@2mm", "assd/surfel", "hd95/pooled"])
    assert [text.split()[-1] for text in said] == ["nsd@2mm/surfel", "hd95/surfel/pooled"]


def test_a_tolerance_is_inclusive_though_spacings_are_rounded() -> None:
    p, r = np.zeros((9, 1), bool), np.zeros((9, 1), bool)
    p[1], r[4] = True, True
    assert values(p, r, (0.1, 1), ["nsd@0.3mm", "nsd@0.3mm/surfel"]) == pytest.approx([1, 1])
    assert values(p, r, (np.float32(0.1), 1), ["nsd@0.3mm"]) == [1]
    assert values(p, r, (0.1001, 1), ["nsd@0.3mm"]) == [0]


def test_no_element_in_common_is_an_area_of_nothing():
    """A voxel beside two others at 0.3 x 0.3 x 0.7 mm: areas whose sum depends on their order."""
    one, two = np.zeros((2, 1, 1, 4), bool)
    one[..., 3] = two[..., :2] = True
    (found,) = evaluate(one, two, (0.3, 0.3, 0.7), metrics=["nsd@0.1mm/surfel"]).values()
    assert found.value == 0


@pytest.mark.parametrize("order", [1, -1])
def test_a_share_of_the_area_that_is_reached_is_reached_in_any_order(order: int):
    """Ten elements at 1, 2, ... 10 mm with areas that floats can't hold: the first three are 30 % of them."""
    distances = np.repeat(np.arange(1.0, 11.0), 2)
    areas = np.tile([0.1, 0.6][::order], 10)
    for k in range(1, 11):
        assert Directed(distances, areas, 0.0).percentile(10 * k) == k
    # Seven tenths on the other surface: all of it up to 50 % is at 0.
    assert Directed(distances[:14], areas[:14], 7 * 0.7).percentile(50) == 0
