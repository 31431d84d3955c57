"""A network whose stated place is wrong does not run unnoticed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from truevox import Grid, Image
from truevox.errors import GraphError
from truevox.networks import LatticeMap, Network, UNet, field_of_view
from truevox.networks.checking import check_impulses, check_size

NETWORKS = {
    "convolution": (nn.Conv2d(1, 2, 3, padding=1), (20, 24)),
    "valid": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 4)), (20, 24)),
    "pooling": (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(4)), (32, 32)),
    "up": (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(scale_factor=2)), (32, 32)),
    "unet": (UNet(1, 2, channels=(4, 8, 8), ndim=2), (32, 36)),
    "valid unet": (UNet(1, 2, channels=(4, 8), ndim=2, padding="valid"), (40, 44)),
    "gated": (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4)), (16, 16)),
}


def moved(lattice: LatticeMap, axis: int, by: Fraction | int) -> LatticeMap:
    offset = tuple(o + by * (a == axis) for a, o in enumerate(lattice.offset))
    return LatticeMap(lattice.stride, offset, lattice.sizes, lattice.period)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_place_that_is_off_is_found_and_a_right_one_is_not(name: str):
    module, shape = NETWORKS[name]
    view = field_of_view(module, 2)
    x = torch.empty(1, 1, *shape)
    check_impulses(module, [view.map], [view], [x])
    check_size(module, view, 1, shape)
    for axis in (0, 1):
        for by in (-3, 3):
            with pytest.raises(GraphError, match=rf"not look where its output is placed \(axis {axis}\)"):
                check_impulses(module, [moved(view.map, axis, by)], [], [x])


def test_an_extent_that_is_too_small_is_found():
    """A partial convolution whose voxels see three and are said to see one."""
    module = nn.Conv1d(1, 1, 3, padding=1)
    view = replace(field_of_view(module, 1), size=(1,))
    with pytest.raises(GraphError, match="sees more than its stated field of view"):
        check_impulses(module, [view.map], [view], [torch.empty(1, 1, 32)])


class Shy(nn.Module):
    """Looks one voxel further on, in patches of 48 voxels only."""

    in_channels = out_channels = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return nn.functional.pad(x[:, :, 1:], (0, 0, 0, 0, 0, 1)) if x.shape[2] == 48 else x


def test_another_path_at_the_size_of_the_patch_is_refused():
    net = Network(Shy())
    net(Image(torch.zeros(1, 24, 8, 8), Grid((24, 8, 8))))
    with pytest.raises(GraphError, match="at a patch size of") as caught:
        net(Image(torch.zeros(1, 48, 8, 8), Grid((48, 8, 8))))
    assert "index 1" in str(caught.value)
    assert "lattice=" in str(caught.value)


def test_a_declared_place_that_is_off_is_warned_of():
    lattice = moved(LatticeMap.identity(3), 2, 4)
    net = Network(nn.Conv3d(1, 1, 3, padding=1), lattice=[lattice])
    image = Image(torch.zeros(1, 8, 8, 24), Grid((8, 8, 24)))
    with pytest.warns(UserWarning, match="looks at input index 0"):
        assert net(image).grid.shape == (8, 8, 24)
    net(image)  # once is enough


def test_the_check_leaves_module_and_random_numbers_alone():
    module = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    net, image = Network(module.eval()), Image(torch.zeros(1, 8, 8, 8), Grid((8, 8, 8)))
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    net(image)
    assert torch.equal(torch.rand(2), wanted)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
