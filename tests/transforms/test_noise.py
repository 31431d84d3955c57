# pyright: reportArgumentType=false
"""Noise belongs to the voxel: of its own for every input and channel, the same however it is looked at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import evaluate

import truevox as tv
from truevox import Grid, Image

NODES = [tv.RandomNoise((1, 1)), tv.RandomRicianNoise((1, 1))]


def correlation(a: Image, b: Image) -> float:
    return float(np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1])


@pytest.mark.parametrize("op", NODES, ids=lambda op: type(op).__name__)
def test_inputs_and_channels_have_noise_of_their_own(op):
    image = Image(torch.zeros(2, 20, 18, 16), Grid((20, 18, 16)))
    made = op(image, image, image, rng=np.random.default_rng(0))
    parts = [one[c : c + 1] for one in made for c in range(2)]
    limit = 4.5 / np.sqrt(20 * 18 * 16)
    for k, one in enumerate(parts):
        assert all(abs(correlation(one, other)) < limit for other in parts[:k])
    # The strength is one draw for all, and the first input has what it would have alone.
    spread = [one.data.std().item() for one in type(op)((0.1, 9))(image, image, rng=np.random.default_rng(1))]
    assert spread[0] == pytest.approx(spread[1], rel=0.05)
    assert torch.equal(op(image, rng=np.random.default_rng(0)).data, made[0].data)


@pytest.mark.parametrize("shape", [(14, 12, 10), (14, 12, 1), (1, 1, 30), (30, 1, 1)])
@pytest.mark.parametrize("op", NODES, ids=lambda op: type(op).__name__)
def test_every_view_of_a_noisy_image_shows_the_same_noise(op, shape):
    scan = tv.Input("x")
    noisy = op(tv.Affine(rotation=8)(scan))  # on voxels of its own, not the scan's
    views = [
        tv.Crop(start=2, size=5),
        tv.Crop(start=-3),
        tv.Flip((0, 2)),
        tv.Reorient("SPL"),
        tv.CentreCrop(3),
    ]
    grid = Grid(shape, np.diag([1.0, 2.0, 1.5, 1.0]))
    case = {"x": Image(torch.full((1, *shape), 50.0), grid, fill=50.0)}
    whole, *seen = evaluate([noisy, *(view(noisy) for view in views)], case)
    for one in seen:
        wanted = whole.on(one.grid)
        index = np.moveaxis(
            whole.grid.to_index(one.grid.to_world(np.moveaxis(np.indices(one.grid.shape), 0, -1))), -1, 0
        )
        inside = ((index > -0.5) & (np.array(shape) - 0.5 > index.T).T).all(0)
        assert inside.any()
        assert torch.equal(wanted.data[:, inside], one.data[:, inside])


def test_a_rotation_afterwards_turns_the_same_noise():
    scan = tv.Input("x")
    noisy = tv.RandomNoise((1, 1))(tv.Crop(start=3, size=8)(scan))
    look = tv.Affine(rotation=(0, 0, 15))
    case = {"x": Image(torch.zeros(1, 14, 14, 14), Grid((14, 14, 14)))}
    frame, turned = evaluate([noisy, look(noisy)], case)
    inner = turned[:, 2:6, 2:6, 1:7]
    assert torch.equal(frame.on(inner.grid).data, inner.data)


def test_outside_of_the_scan_there_is_no_noise():
    image = Image(torch.zeros(1, 6, 6, 6), Grid((6, 6, 6)), fill=-3.0)
    padded = evaluate([tv.RandomNoise((1, 1))(tv.Pad(margin=2)(tv.Input("x")))], {"x": image})[0]
    outside = torch.ones(1, 10, 10, 10, dtype=torch.bool)
    outside[:, 2:8, 2:8, 2:8] = False
    assert bool((padded.data[outside] == -3).all())
    assert float(padded.data[~outside].std()) == pytest.approx(1, abs=0.2)
