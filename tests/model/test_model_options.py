# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Options that change a prediction: what they do, and the report that says so."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from helpers import affine_of, cohort_on_disk, small_model, small_net
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import truevox as tv
from truevox import GraphError, Grid, Image, Labels, SettingsError
from truevox.model.options import body_box
from truevox.networks import LatticeMap


class Bright(nn.Module):
    """Says voxel by voxel that what is brighter than 0.5 is foreground; counts its calls."""

    ndim = 3

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape))
        return (x - 0.5) * 40


def _scan(grid: Grid, low, high) -> Image:
    values = torch.zeros(1, *grid.shape)
    values[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))] = 1
    return Image(values, grid)


def _pointwise(size: int = 16) -> tuple[tv.Model, Bright]:
    module = Bright()
    scan = tv.Input("scan", channels=1)
    net = tv.Network(module, labels=Labels({"a": 1}), lattice=(LatticeMap.identity(3),))
    full = tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(size)(scan))))
    return tv.Model(None, {"a": full}), module


LPS = affine_of("LPS", (1, 1, 1), (60, 50, 0))


def test_windows_on_the_body_alone_give_the_same_for_a_pointwise_network():
    image = _scan(Grid((64, 56, 60), LPS), (30, 28, 22), (44, 40, 36))
    model, module = _pointwise()
    whole = model.predict({"scan": image})["a"]
    windows = len(module.seen)
    module.seen.clear()
    boxed = model.predict({"scan": image}, body_box=True)["a"]
    assert len(module.seen) < windows / 3
    torch.testing.assert_close(boxed.data, whole.data, atol=1e-6, rtol=0)
    assert float(boxed.data[0, 0, 0, 0]) == 0  # no window: background


def test_background_of_exclusive_classes_is_their_first_channel():
    labels = Labels({"a": 1, "b": 2})
    scan = tv.Input("scan", channels=1)
    net = tv.Network(nn.Conv3d(1, 3, 1), labels=labels)
    model = tv.Model(None, {"o": tv.Put(like=scan)(tv.Softmax()(net(tv.GridCrop(16)(scan))))})
    image = _scan(Grid((64, 64, 64), LPS), (40, 40, 40), (52, 52, 52))
    out = model.predict({"scan": image}, body_box=True)["o"]
    assert out.data[:, 0, 0, 0].tolist() == [1.0, 0.0, 0.0]
    torch.testing.assert_close(out.data.sum(0), torch.ones(64, 64, 64))


def test_the_box_needs_to_know_what_background_is():
    scan = tv.Input("scan", channels=1)
    full = tv.Put(like=scan)(tv.Network(nn.Conv3d(1, 1, 1))(tv.GridCrop(16)(scan)))
    image = _scan(Grid((40, 40, 40)), (15, 15, 15), (27, 27, 27))
    with pytest.raises(GraphError, match="background"):
        tv.Model(None, {"o": full}).predict({"scan": image}, body_box=True)


@given(
    st.lists(st.integers(14, 20), min_size=3, max_size=3),
    st.lists(st.integers(12, 16), min_size=3, max_size=3),
    st.floats(-1000, 1000),
    st.floats(0, 20),
    st.integers(0, 5),
)
@settings(max_examples=12)
@example([14, 14, 14], [12, 12, 12], 128.0, 1e-5, 0)  # air that differs by rounding alone
def test_the_body_box_holds_the_body_and_ten_millimetres(low, size, air: float, noise: float, seed: int):
    spacing = np.array([2.0, 1.0, 1.5])
    grid = Grid((48, 52, 50), affine_of("RAS", spacing))
    values = air + noise * np.random.default_rng(seed).uniform(-1, 1, (1, *grid.shape))
    high = np.add(low, size)
    values[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))] += 500
    values[0, 2, 2, 2] += 3000  # a hot voxel is no body
    box = body_box(Image(values.astype(np.float32), grid))
    margin = np.ceil(10 / spacing)
    start = np.rint(grid.to_index(box.to_world((0, 0, 0))))
    np.testing.assert_array_equal(start, np.maximum(low - margin, 0))
    np.testing.assert_array_equal(start + box.shape, np.minimum(high + margin, grid.shape))


def test_a_scan_without_a_body_has_a_box_as_large_as_itself():
    grid = Grid((20, 20, 20))
    assert body_box(Image(torch.full((1, 20, 20, 20), 7.0), grid)) == grid


@pytest.mark.parametrize("shape", [(33, 30, 21), (16, 16, 16), (40, 17, 1)])
def test_one_window_for_the_whole_scan_is_the_network_on_the_padded_scan(shape):
    module = small_net(ndim=3) if min(shape) > 1 else tv.networks.UNet(1, 1, ndim=2, channels=(4, 8))
    scan = tv.Input("scan", channels=1)
    net = tv.Network(module)
    model = tv.Model(None, {"o": tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(8)(scan))))})
    image = Image(torch.rand(1, *shape), Grid(shape))
    out = model.predict({"scan": image}, whole_volume=True)["o"].data
    # By hand: zeros around, half of them before, up to a multiple of the stride.
    before = [(-n % 2) // 2 if n > 1 else 0 for n in shape]
    after = [(-n % 2) - b if n > 1 else 0 for n, b in zip(shape, before, strict=True)]
    pads = [v for b, a in zip(reversed(before), reversed(after), strict=True) for v in (b, a)]
    padded = nn.functional.pad(image.data[None], pads)
    with torch.no_grad():
        wanted = module(padded) if min(shape) > 1 else module(padded[..., 0])[..., None]
    inner = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    torch.testing.assert_close(out, wanted[0][(slice(None), *inner)].sigmoid(), atol=1e-5, rtol=1e-4)


def test_one_window_of_a_valid_network_covers_the_scan():
    scan = tv.Input("scan", channels=1)
    module = nn.Sequential(nn.Conv3d(1, 1, 3), nn.MaxPool3d(2), nn.Conv3d(1, 1, 3))
    full = tv.Put(like=scan)(tv.Sigmoid()(tv.Network(module)(tv.GridCrop(12)(scan))))
    image = Image(torch.rand(1, 21, 20, 19), Grid((21, 20, 19)))
    assert bool(
        torch.isfinite(
            tv.Model(None, {"o": full}).predict({"scan": image}, whole_volume=True)["o"].data
        ).all()
    )


def test_bfloat16_is_near_and_not_equal(tmp_path):
    case = next(iter(cohort_on_disk(tmp_path, 1)))
    model = small_model()
    full, half = (model.predict(case, precision=p)["mask"] for p in ("float32", "bf16"))
    assert half.data.dtype == torch.float32
    assert not torch.equal(full.data, half.data)
    torch.testing.assert_close(full.data, half.data, atol=0.03, rtol=0)


def test_the_report_by_hand(tmp_path):
    """A pointwise network and a margin of air: nothing changes but time; a second output that does change."""
    module = nn.AvgPool3d(3, stride=1, padding=1, count_include_pad=True)
    scan = tv.Input("scan", channels=1)
    net = tv.Network(module, labels=Labels({"a": 1}), kind="probability")
    model = tv.Model(None, {"a": tv.Put(like=scan, weights="uniform")(net(tv.GridCrop(8, 0.0)(scan)))})
    image = _scan(Grid((16, 16, 16), np.diag([2.0, 2, 2, 1])), (2, 2, 2), (14, 14, 14))
    report = model.equivalence([{"scan": image}], whole_volume=True)
    (row,) = report.rows
    a = model.predict({"scan": image})["a"].numpy()[0]
    b = module(image.data[None])[0, 0].numpy()
    masks = a > 0.5, b > 0.5
    assert row.dice == pytest.approx(2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()))
    assert row.reference_ml == pytest.approx(masks[0].sum() * 0.008)
    assert row.difference_ml == pytest.approx((int(masks[1].sum()) - int(masks[0].sum())) * 0.008)
    assert row.mean_absolute == pytest.approx(np.abs(a - b).mean(), rel=1e-4)
    assert row.max_absolute == pytest.approx(np.abs(a - b).max(), rel=1e-4)
    assert row.max_absolute > 0.1
    assert row.time_ratio > 0
    report.write(tmp_path)
    with (tmp_path / "equivalence.csv").open() as handle:
        (written,) = csv.DictReader(handle)
    assert float(written["dice"]) == row.dice
    described = json.loads((tmp_path / "equivalence.json").read_text())
    assert described["options"] == {"whole_volume": True}
    assert described["summary"]["dice_min"] == row.dice
    assert "whole_volume=True" in str(report)
    assert f"{row.dice:.4f}" in str(report)


def test_empty_masks_are_undefined_in_the_report():
    model, _ = _pointwise()
    image = Image(torch.zeros(1, 20, 20, 20), Grid((20, 20, 20)))
    report = model.equivalence([{"scan": image}], whole_volume=True)
    assert report.rows[0].status == "undefined"
    assert math.isnan(report.rows[0].dice)
    assert report.summary()["undefined"] == 1


def test_a_report_without_an_option_is_refused():
    model, _ = _pointwise()
    with pytest.raises(SettingsError, match="no option"):
        model.equivalence([{"scan": Image(torch.zeros(1, 4, 4, 4), Grid((4, 4, 4)))}])
    with pytest.raises(SettingsError, match="no case"):
        model.equivalence([], body_box=True)
    with pytest.raises(SettingsError, match="precision"):
        model.predict({}, precision="float8")
