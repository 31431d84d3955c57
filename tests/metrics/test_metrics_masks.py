"""Masks are masks: label maps, tensors and other things are told apart, with what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from truevox import metrics
from truevox.errors import LabelError, SettingsError, TrueVoxError

MAP = np.array([[1, 1, 0, 2, 2], [0, 1, 0, 2, 0]])
SWAPPED = np.choose(MAP, [0, 2, 1])
ONE = MAP == 1

ENTRIES: dict[str, Callable[[Any, Any], Any]] = {
    "evaluate": lambda p, r: metrics.evaluate(p, r, (1, 1)),
    "Pair": lambda p, r: metrics.Pair(p, r, (1, 1)),
    "match_lesions": lambda p, r: metrics.match_lesions(p, r, (1, 1)),
    "majority": lambda p, r: metrics.majority([p, r]),
    "staple": lambda p, r: metrics.staple([p, r]),
    "pairwise": lambda p, r: metrics.pairwise([p, r], (1, 1)),
    "rater_table": lambda p, r: metrics.rater_table({"a": [p], "b": [r]}, [(1, 1)]),
    "energy_distance": lambda p, r: metrics.energy_distance([p, p], [r, r]),
    "band": lambda p, r: metrics.band(p, r, (1, 1), 2),
    "brier": lambda p, r: metrics.brier(np.full(MAP.shape, 0.5), r),
    "auroc": lambda p, r: metrics.auroc(np.full(MAP.shape, 0.5), r),
    "calibration": lambda p, r: metrics.calibration(np.full(MAP.shape, 0.5), r),
    "channels": lambda p, r: metrics.evaluate_labels(np.stack([p]), np.stack([r]), (1, 1)),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_label_map_is_no_mask(entry: str) -> None:
    with pytest.raises(LabelError, match="several values beside 0") as caught:
        ENTRIES[entry](SWAPPED, MAP)
    assert "evaluate_labels" in str(caught.value)
    for kind in (bool, np.uint8, np.int64):
        ENTRIES[entry](ONE.astype(kind), ONE.astype(kind))


@pytest.mark.parametrize("entry", ["evaluate", "Pair", "match_lesions", "majority", "pairwise", "band"])
def test_masks_of_different_labels_are_not_compared(entry: str) -> None:
    with pytest.raises(LabelError, match="different labels"):
        ENTRIES[entry](2 * ONE, 1 * ONE)
    ENTRIES[entry](2 * ONE, 2 * ONE)
    ENTRIES[entry](255 * ONE.astype(np.uint8), ONE)
    ENTRIES[entry](255 * ONE.astype(np.uint8), ONE.astype(np.int8))


@pytest.mark.parametrize("values", [(0, -1), (0, 7), (3,), (-2,), (0,)])
def test_one_value_of_any_kind_is_a_mask(values: tuple[int, ...]) -> None:
    array = np.resize(np.array(values), (3, 4))
    assert np.array_equal(metrics.Pair(array, array, (1, 1)).prediction, array != 0)
    assert metrics.majority([array]).sum() == np.count_nonzero(array)


def test_negative_and_positive_labels_are_two() -> None:
    with pytest.raises(LabelError, match="several values beside 0"):
        metrics.evaluate([[-1, 0, 1]], [[1, 0, 1]], (1, 1))


def test_a_label_can_be_named() -> None:
    assert metrics.evaluate(SWAPPED, MAP, (1, 1), label=1)["dice"].value == 0.0
    assert metrics.evaluate(SWAPPED, MAP, (1, 1), label=(1, 2))["dice"].value == 1.0
    assert metrics.evaluate(MAP, MAP, (1, 1), label=2)["dice"].value == 1.0
    with pytest.raises(LabelError, match="other than 0"):
        metrics.evaluate(MAP, MAP, (1, 1), label=0)
    with pytest.raises(LabelError, match="no label map"):
        metrics.evaluate(MAP / 2, MAP, (1, 1), label=1)


def test_labels_may_be_values() -> None:
    found = metrics.evaluate_labels(SWAPPED, MAP, (1, 1), [1, 2], "dice,jaccard")
    assert {name: [v.value for v in one.values()] for name, one in found.items()} == {
        "1": [0, 0],
        "2": [0, 0],
    }
    with pytest.raises(LabelError, match="can't be understood") as caught:
        metrics.evaluate_labels(MAP, MAP, (1, 1), ["tumour"])  # type: ignore[list-item]
    assert '{"tumour": 1' in str(caught.value)


def test_classes_without_probabilities_are_refused() -> None:
    with pytest.raises(LabelError, match="no probabilities"):
        metrics.classwise_ece([[0.9, 0.1], [0.1, 0.9]], [0, 255])


def test_what_is_no_array_is_told() -> None:
    tensor = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(LabelError, match=r"detach\(\)\.cpu\(\)\.numpy\(\)"):
        metrics.evaluate(tensor, np.ones((2, 3), bool), (1, 1))
    with pytest.raises(LabelError, match="read as an array"):
        metrics.evaluate([[1, 0], [1]], [[1, 0], [1]], (1, 1))
    with pytest.raises(LabelError, match="no numbers"):
        metrics.evaluate([["a"]], [["b"]], (1, 1))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("iou", "jaccard"), ("IoU", "jaccard"), ("asd", "assd"), ("recall", "sensitivity"),
        ("hausdorff", "hd"), ("Hausdorff95", "hd95"), ("HD95", "hd95"), ("Dice", "dice"), ("DSC", "dice"),
        ("surface dice", "nsd@2mm"), ("dise", "dice"), ("jacard", "jaccard"), ("PQ", "pq"),
        ("NSD", "nsd@2mm"),
    ],
)  # fmt: skip
def test_names_of_other_tools_are_told(asked: str, meant: str) -> None:
    with pytest.raises(SettingsError) as caught:
        metrics.evaluate(ONE, ONE, (1, 1), [asked])
    assert f"did you mean '{meant}'?" in str(caught.value)
    metrics.definition(meant)


def test_metrics_may_be_one_text() -> None:
    assert list(metrics.evaluate(ONE, ONE, (1, 1), "dice").keys()) == ["dice/voxel"]
    assert len(metrics.evaluate(ONE, ONE, (1, 1), "dice,hd95")) == 2
    for odd in ([], [3]):
        with pytest.raises(SettingsError, match="metric"):
            metrics.evaluate(ONE, ONE, (1, 1), odd)  # type: ignore[arg-type]


def test_no_image_has_no_curve() -> None:
    with pytest.raises(TrueVoxError, match="at least one image"):
        metrics.froc(metrics.detections([]))
