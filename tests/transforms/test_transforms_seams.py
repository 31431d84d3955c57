# pyright: reportArgumentType=false
"""No seams: where a tile's outer half voxel is clamped, the neighbour that sees the place decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import truevox as tv
from truevox import Grid, Image


@pytest.mark.parametrize("weights", ["gaussian", "uniform"])
@pytest.mark.parametrize("module", [nn.AvgPool3d(2), nn.AvgPool3d(3, stride=1), nn.AvgPool3d(4, stride=4)])
def test_the_ramp_comes_back_without_seams(module: nn.Module, weights: str):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.5, 0.8])
    grid = Grid((33, 30, 35), affine)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    world = np.moveaxis(grid.to_world(index), -1, 0)
    scan = tv.Input("scan", channels=3)
    net = tv.Network(module, kind="scalar")
    full = tv.Put(like=scan, weights=weights)(net(tv.GridCrop(16, overlap=0.5)(scan)))
    model = tv.Model(train=None, predict={"full": full})
    back = model.predict({"scan": Image(torch.from_numpy(world).float(), grid)})["full"]
    assert back.grid == grid
    # Outputs that look beyond the scan see its fill: leave them out, and the half output voxel around them.
    margin = 5
    inner = (slice(None), *[slice(margin, -margin)] * 3)
    np.testing.assert_allclose(back.numpy()[inner], world[inner], atol=2e-3)
