"""Components by runs against SciPy and against plain definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from truevox.errors import GeometryError, LabelError, SettingsError
from truevox.kernels.components import find_runs, label_runs_numpy, unite
from truevox.kernels.nearest_sums import nearest_sums, nearest_sums_numpy
from truevox.metrics.components import components, contingency

RANK = {2: 1, 4: 1, 8: 2, 6: 1, 18: 2, 26: 3}
FEW = settings(max_examples=60, deadline=None)


@st.composite
def masks(draw: st.DrawFn, axes: tuple[int, ...] = (1, 2, 3), count: int = 1) -> list[np.ndarray]:
    """Masks of one shape from empty to full, in either order of memory."""
    ndim = draw(st.sampled_from(axes))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=ndim, max_size=ndim)))
    made = np.random.default_rng(draw(st.integers(0, 10**6)))
    out = [made.random(shape) < draw(st.sampled_from([0, 0.1, 0.3, 0.5, 0.8, 1])) for _ in range(count)]
    return [np.asfortranarray(m) for m in out] if draw(st.booleans()) else out


def by_scipy(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    found: Any = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, RANK[connectivity]))
    return found


@given(masks(), st.data())
@FEW
def test_labels_are_those_of_scipy_in_any_order_of_memory(made: list[np.ndarray], data: st.DataObject):
    (mask,) = made
    connectivity = data.draw(st.sampled_from({1: [2], 2: [4, 8], 3: [6, 18, 26]}[mask.ndim]))
    wanted, count = by_scipy(mask, connectivity)
    found = components(mask, connectivity)
    assert len(found) == count
    np.testing.assert_array_equal(found.labels(), wanted)


@given(masks(axes=(3,)), st.sampled_from([4, 6, 8, 18, 26]))
@FEW
def test_the_kernel_is_its_twin(made: list[np.ndarray], connectivity: int):
    mask = np.ascontiguousarray(made[0])
    if connectivity in (4, 8):
        mask = mask[:1]
    wanted, count = label_runs_numpy(mask, connectivity)
    runs = find_runs(mask)
    label, found = unite(runs, mask.shape, connectivity)
    assert found == count
    for row, line in enumerate(wanted.reshape(-1, mask.shape[-1])):
        for r in range(runs.first[row], runs.first[row + 1]):
            assert (line[runs.start[r] : runs.stop[r]] == label[r]).all()


@given(masks())
@FEW
def test_measures_are_those_of_scipy(made: list[np.ndarray]):
    (mask,) = made
    found = components(mask)
    label, count = by_scipy(mask, {1: 2, 2: 8, 3: 26}[mask.ndim])
    index = np.arange(1, count + 1)
    assert found.voxels.tolist() == [int((label == n).sum()) for n in index]
    boxes = [
        tuple(map(slice, low, high))
        for low, high in zip(found.low.tolist(), found.high.tolist(), strict=True)
    ]
    assert boxes == ndimage.find_objects(label)
    if count:
        np.testing.assert_allclose(found.centres, ndimage.center_of_mass(mask, label, index), atol=1e-12)


@given(masks(count=2))
@FEW
def test_contingency_is_that_of_all_voxels(made: list[np.ndarray]):
    a, b = (components(m) for m in made)
    shared = contingency(a, b)
    where = (a.labels() > 0) & (b.labels() > 0)
    pairs, counts = np.unique(np.stack([a.labels()[where], b.labels()[where]]), axis=1, return_counts=True)
    np.testing.assert_array_equal(np.stack([shared.reference, shared.prediction]) + 1, pairs)
    np.testing.assert_array_equal(shared.voxels, counts)


@given(st.integers(0, 10**6), st.integers(1, 3), st.booleans())
@FEW
def test_instances_keep_their_values_and_their_borders(seed: int, ndim: int, fortran: bool):
    made = np.random.default_rng(seed)
    labels = made.choice([0, 0, 7, 3, 900], made.integers(1, 7, ndim)).astype(made.choice(["u2", "i8", "i4"]))
    found = components(np.asfortranarray(labels) if fortran else labels, instances=True)
    assert found.ids.tolist() == [n for n in (3, 7, 900) if (labels == n).any()]
    np.testing.assert_array_equal(found.labels(), labels)
    points, begin = found.border
    faces = ndimage.generate_binary_structure(ndim, 1)
    for n, (one, first, last) in enumerate(zip(found.ids, begin, begin[1:], strict=False)):
        inside = labels == one
        border = inside & np.logical_not(ndimage.binary_erosion(inside, faces))
        own = points[first:last, 3 - ndim :]
        own = own[:, ::-1] if found.reverse else own
        assert sorted(map(tuple, own.tolist())) == [tuple(p) for p in np.argwhere(border).tolist()]
        assert found.voxels[n] == inside.sum()


def test_a_mask_of_integers_is_what_is_not_zero():
    assert components(np.array([0, 5, 5, 0, 5])).voxels.tolist() == [2, 1]


def test_small_ones_go_and_the_others_keep_their_names():
    mask = np.array([1, 0, 1, 1, 1, 0, 1, 1], bool)
    left = components(mask).at_least(2)
    assert left.ids.tolist() == [2, 3]
    assert left.labels().tolist() == [0, 0, 2, 2, 2, 0, 3, 3]
    assert contingency(left, components(mask)).voxels.tolist() == [3, 2]


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_largest_value_of_each(order: Any):
    made = np.random.default_rng(3)
    mask, values = made.random((6, 7, 8)) < 0.3, made.random((6, 7, 8))
    found = components(np.array(mask, order=order), 6)
    label, count = by_scipy(mask, 6)
    np.testing.assert_array_equal(found.maxima(values), ndimage.maximum(values, label, range(1, count + 1)))


@given(st.integers(0, 10**6))
@FEW
def test_nearest_sums_are_those_of_all_distances(seed: int):
    made = np.random.default_rng(seed)
    a, b = made.integers(0, 20, (9, 3), np.int32), made.integers(0, 20, (7, 3), np.int32)
    begin_a, begin_b = np.array([0, 4, 9]), np.array([0, 7])
    pairs, spacing = np.array([[1, 0], [0, 0]]), np.array([1, 0.5, 3], np.float32)
    found = nearest_sums(a, begin_a, b, begin_b, pairs, spacing, 30)
    np.testing.assert_allclose(found[1], nearest_sums_numpy(a[:4], b, spacing), rtol=1e-6)
    assert np.isnan(found[0]).all()  # 5 times 7 is too many


def test_what_can_not_be_a_mask_is_said():
    with pytest.raises(GeometryError, match="1 to 3 axes"):
        components(np.zeros((1, 1, 1, 1), bool))
    with pytest.raises(SettingsError, match="3 axes can't have 8 neighbours"):
        components(np.zeros((2, 2, 2), bool), 8)
    with pytest.raises(LabelError, match="whole numbers"):
        components(np.zeros((2, 2)), instances=True)
    with pytest.raises(LabelError, match="not a mask"):
        components(np.zeros((2, 2)))
    with pytest.raises(GeometryError, match="different shapes"):
        contingency(components(np.ones(3, bool)), components(np.ones(4, bool)))
