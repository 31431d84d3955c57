# pyright: reportArgumentType=false
"""Validation scores, and what they say of volumes, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import affine_of

import truevox as tv
from truevox import Grid, Image, Labels
from truevox.model.validation import origins, row_of, scores_of

GRID = Grid((4, 5, 6), affine_of("LPS", (1, 2, 5)))  # 10 mm3, 0.01 ml


class Case:
    """A case with one reference."""

    def __init__(self, reference: Image) -> None:
        self.reference = reference

    def load(self, column: str, kind: str) -> Image:
        assert (column, kind) == ("mask", "label")
        return self.reference


def _model(loss: object, labels: Labels, **crop) -> tv.Model:
    scan, mask = tv.Input("image"), tv.Input("mask", kind="label", labels=labels)
    x, y = tv.RandomCrop(2, **({"centre_on": mask} if crop.pop("centred", False) else {}))(scan, mask)
    net = tv.Network(torch.nn.Conv3d(1, labels.channels, 1), labels=labels)
    end = tv.Softmax() if labels.channels > 1 else tv.Sigmoid()
    return tv.Model((net(x), y), {"o": tv.Put(like=scan)(end(net(tv.GridCrop(4)(scan))))}, loss)


def _reference(value: int, voxels: int, grid: Grid = GRID) -> Image:
    data = np.zeros(grid.shape, np.uint8)
    data.reshape(-1)[:voxels] = value
    return Image(data[None], grid, "label")


def test_bias_of_volumes_by_hand():
    labels = Labels({"a": 1, "b": 2}, ignore=9)
    model = _model(tv.losses.CrossEntropy(), labels)
    p = np.zeros((3, *GRID.shape), np.float32)
    p[0], p[1], p[2] = 0.25, 0.5, 0.25  # class a everywhere
    predicted = {"o": Image(p, GRID, "probability", labels=labels)}
    found = []
    for voxels in (20, 0):  # of a; the last 12 are not annotated
        reference = _reference(1, voxels)
        reference.data.reshape(-1)[-12:] = 9
        found += scores_of(model, Case(reference), predicted)
    row = row_of(found)
    known = 120 - 12
    assert row["val/o/a/expected_volume_bias_ml"] == pytest.approx((0.5 * known - 10) * 0.01)
    assert row["val/o/a/expected_volume_bias_percent"] == pytest.approx(100 * (0.5 * known - 10) / 10)
    assert row["val/o/a/threshold_volume_bias_ml"] == pytest.approx((known - 10) * 0.01)
    assert row["val/o/b/expected_volume_bias_ml"] == pytest.approx(0.25 * known * 0.01)
    assert math.isnan(row["val/o/b/expected_volume_bias_percent"])
    assert row["val/o/b/threshold_volume_bias_ml"] == 0
    assert row["val/o/a/cases"] == 2
    assert row["val/o/a/dice"] == pytest.approx((2 * 20 / (20 + known) + 0) / 2)
    said = origins(model, 7, [{"step": 3.0, **row}, {"step": 4.0, "loss": 1.0}])["o"]
    assert (said.loss, said.unbiased, said.steps, said.validated_at) == ("CrossEntropy", True, 7, 3)
    assert said.bias["a"]["expected"].cases == 2
    assert said.bias["b"]["threshold"].ml == 0


def test_a_reference_is_measured_on_its_own_grid():
    labels = Labels({"a": 1})
    model = _model(tv.losses.SoftDice(), labels, centred=True)
    fine = GRID.with_spacing((0.5, 1.0, 2.5))
    predicted = {"o": Image(np.full((1, *GRID.shape), 0.25, np.float32), GRID, "probability", labels=labels)}
    row = row_of(scores_of(model, Case(_reference(1, 13, fine)), predicted))
    assert row["val/o/a/expected_volume_bias_ml"] == pytest.approx(0.25 * 1.2 - 13 * 0.00125)
    said = origins(model, 7, [])["o"]
    assert (said.unbiased, said.centred, said.validated_at, said.bias) == (False, True, None, {})


def test_overlapping_regions_have_volumes_of_their_own():
    labels = Labels({"whole": [1, 2], "core": 2})
    model = _model(tv.losses.CrossEntropy(), labels)
    p = np.stack([np.full(GRID.shape, 0.75), np.full(GRID.shape, 0.25)]).astype(np.float32)
    reference = _reference(1, 40)
    reference.data.reshape(-1)[:10] = 2
    predicted = {"o": Image(p, GRID, "probability", labels=labels)}
    row = row_of(scores_of(model, Case(reference), predicted))
    assert row["val/o/whole/expected_volume_bias_ml"] == pytest.approx((90 - 40) * 0.01)
    assert row["val/o/core/expected_volume_bias_ml"] == pytest.approx((30 - 10) * 0.01)
    assert row["val/o/whole/threshold_volume_bias_ml"] == pytest.approx((120 - 40) * 0.01)
    assert row["val/o/core/threshold_volume_bias_ml"] == pytest.approx(-10 * 0.01)
