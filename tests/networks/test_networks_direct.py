"""One patch on the CPU goes straight to oneDNN: the same numbers, without the copied-out neighbourhood."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import truevox as tv
from truevox.networks.direct import direct_convolutions


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding="same"),
        nn.Conv3d(4, 4, 3, padding=2, stride=2, dilation=2, groups=2, bias=False),
        nn.ConvTranspose3d(4, 2, 2, stride=2),
    ).eval()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_numbers_are_those_of_torch(batch: int, mode):
    net, x = _net(), torch.rand(batch, 2, 17, 12, 9)
    wanted = net(x).detach()
    with mode(), direct_convolutions():
        torch.testing.assert_close(net(x), wanted, atol=1e-6, rtol=1e-5)


def _operators(net: Callable[[torch.Tensor], object], x: torch.Tensor) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        net(x)
    return {event.name for event in found.events() or []}


def test_one_patch_needs_no_copied_out_neighbourhood():
    net, x = nn.Conv3d(2, 2, 3, padding=1), torch.rand(1, 2, 24, 24, 24)
    with torch.no_grad(), direct_convolutions():
        names = _operators(net, x)
    assert "aten::mkldnn_convolution" in names
    assert "aten::slow_conv3d_forward" not in names


def test_gradients_and_other_types_are_left_alone():
    net, x = nn.Conv3d(1, 1, 3), torch.rand(1, 1, 6, 6, 6)
    with direct_convolutions():
        net(x).sum().backward()
    assert net.weight.grad is not None
    with torch.no_grad(), direct_convolutions():
        assert net.double()(x.double()).dtype == torch.float64


def test_a_node_runs_single_patches_directly():
    node, x = tv.Network(nn.Conv3d(2, 2, 3)), torch.rand(1, 2, 24, 24, 24)

    def run(_: torch.Tensor) -> None:
        node.forward([x], [tv.Grid((24, 24, 24))])

    with torch.no_grad():
        assert "aten::slow_conv3d_forward" not in _operators(run, x)
        assert "aten::slow_conv3d_forward" in _operators(node.module, x)  # else this module has no reason
