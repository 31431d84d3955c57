"""The numbers that pitfalls quote, from the masks they speak of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from truevox.evaluation.recommend.notes import AGGREGATION, PITFALLS, WARNINGS


def box(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def dice(p, r):
    return 2 * (p & r).sum() / (p.sum() + r.sum())


def distances(p, r):
    """From each border voxel of one to the border of the other, both ways."""
    first, second = (np.argwhere(m & np.logical_not(ndimage.binary_erosion(m))) for m in (p, r))
    all_pairs = cdist(first, second)
    return all_pairs.min(1), all_pairs.min(0)


def said(*parts):
    texts = [note.text for note in (*WARNINGS, *PITFALLS, *AGGREGATION)]
    return any(all(part in text for part in parts) for text in texts)


SHIFTED = box((20, 20), (5, 15), (6, 16)), box((20, 20), (5, 15), (4, 14))
SPIKES = (
    box((11, 11), (3, 8), (3, 8)) | box((11, 11), (5, 6), (1, 10)) | box((11, 11), (1, 10), (5, 6)),
    box((11, 11), (3, 8), (3, 8)),
)


def test_the_largest_distance_does_not_tell_a_shift_from_spikes():
    shares = []
    for pair in (SHIFTED, SPIKES):
        both = np.concatenate(distances(*pair))
        assert both.max() == 2
        shares.append(f"{(both <= 1).mean():.3f}")
    assert said("largest distance", *shares, "both have 2")


def test_overlap_is_not_volume():
    (a, b), (c, d) = SHIFTED, SPIKES
    assert a.sum() == b.sum()
    more = c.sum() / d.sum() - 1
    assert said(
        f"Dice {dice(a, b):.2f}", "the exact volume", f"{dice(c, d):.2f} and {more:.0%}".replace("%", " %")
    )


@pytest.mark.parametrize("n", [2, 10])
def test_size(n):
    reference = np.ones((n, n), bool)
    prediction = reference.copy()
    prediction[0, 0] = False
    value = dice(prediction, reference)
    assert said("One voxel more or less", f"{value:.3f}")
    assert said("Size:", f"{1 - value:.3f} in", f"{n}x{n}")


def test_voxels_are_not_objects():
    objects = [box((40, 40), (2, 22), (2, 22)), box((40, 40), (30, 33), (30, 33))]
    reference, prediction = objects[0] | objects[1], objects[0]
    sensitivity = (prediction & reference).sum() / reference.sum()
    found = sum(bool((prediction & one).any()) for one in objects) / 2
    assert said(f"{sensitivity:.3f}", f"Dice {dice(prediction, reference):.3f}", f"objects {found}")


def test_specificity_of_a_large_background():
    assert said("Specificity", "100 false voxels in a million", f"{1 - 100 / 1e6}")


def test_hd95_differs_by_definition():
    prediction = box((14, 14), (9, 12), (9, 12))
    reference = prediction | box((14, 14), (1, 2), (1, 2))
    ways = distances(prediction, reference)
    pooled = np.percentile(np.concatenate(ways), 95)
    directed = max(np.percentile(way, 95) for way in ways)
    # Weighted by area (surface-distance), the far voxel is over 5 %: the maximum itself.
    largest = max(way.max() for way in ways)
    assert said("HD95", f"{pooled:.2f}, {directed:.2f} and {largest:.2f}")


def test_a_tube_against_its_centreline():
    tube, line = np.ones((3, 3, 25), bool), box((3, 3, 25), (1, 2), (1, 2), (0, 25))
    assert said("centreline has", f"Dice {dice(line, tube):.1f}")


def test_a_hole():
    reference = np.ones((5, 5, 5), bool)
    prediction = reference.copy()
    prediction[2, 2, 2] = False
    assert said("Holes", f"{dice(prediction, reference):.3f}")


def test_averaged_and_pooled_f1():
    counts = np.array([(8, 2, 2), (1, 4, 0), (0, 0, 1), (0, 0, 0)])
    tp, fp, fn = counts[:3].T
    each = 2 * tp / (2 * tp + fp + fn)
    tp, fp, fn = counts.sum(0)
    assert said(f"F1 {each.mean():.3f} as mean", f"{2 * tp / (2 * tp + fp + fn):.3f} pooled")
