"""Field of view: closed forms, ramps through averaging networks, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from truevox.errors import GraphError
from truevox.networks import LatticeMap, UNet, field_of_view
from truevox.networks.probing import averaging_copy
from truevox.networks.runner import tensors_of

torch.set_num_threads(1)
HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("module", "size", "stride", "offset"),
    [
        (nn.Identity(), 1, 1, 0),
        (nn.AvgPool3d(2), 2, 2, HALF),
        (nn.MaxPool3d(3, stride=2, padding=1), 3, 2, 0),
        (nn.Conv3d(1, 2, 3), 3, 1, 1),
        (nn.Conv3d(1, 2, 3, stride=2, padding=1), 3, 2, 0),
        (nn.Conv3d(1, 2, 3, dilation=2), 5, 1, 2),
        (nn.Conv3d(1, 2, 2, stride=2), 2, 2, HALF),
        (nn.ConvTranspose3d(1, 2, 2, stride=2), 1, HALF, Fraction(-1, 4)),
        (nn.ConvTranspose3d(1, 2, 3, stride=2, padding=1, output_padding=1), 2, HALF, 0),
        (nn.Upsample(scale_factor=2, mode="trilinear"), 2, HALF, Fraction(-1, 4)),
        (nn.Upsample(scale_factor=2), 1, HALF, Fraction(-1, 4)),
        (nn.Sequential(nn.AvgPool3d(2), nn.ConvTranspose3d(1, 1, 2, stride=2)), 2, 1, 0),
        (nn.Sequential(nn.Conv3d(1, 1, 3), nn.MaxPool3d(2), nn.Conv3d(1, 1, 3)), 8, 2, Fraction(7, 2)),
        (nn.Sequential(nn.ReflectionPad3d(1), nn.Conv3d(1, 1, 3), nn.BatchNorm3d(1), nn.PReLU()), 3, 1, 0),
    ],
)
def test_closed_forms(module: nn.Module, size: int, stride: Fraction, offset: Fraction):
    view = field_of_view(module, 3)
    assert (view.size, view.stride, view.offset) == ((size,) * 3, (stride,) * 3, (offset,) * 3)
    assert view.notes == ()
    assert not view.whole_input


def test_unet_sees_what_arithmetic_says():
    # Three levels of two 3-convolutions with pooling by 2: down 5, 14, 32; up adds 8 and 4.
    # An up-sampled voxel sees as much as its coarse voxel; the deepest level sees 1 + 4 + 1 + 8 + 2 + 16.
    net = UNet(1, 2, ndim=2, channels=(2, 2, 2))
    view = field_of_view(net, 2)
    assert view.size == (32 + 8 + 4,) * 2
    assert (view.stride, view.offset) == ((1, 1), (0, 0))
    assert view.notes == ("whole input (statistics)",)
    assert view.whole_input
    assert view.valid_sizes((50, 48)) == ((48, 48), (52, 48))
    assert view.in_mm((0.5, 2.0)) == (22.0, 88.0)
    assert not field_of_view(UNet(1, 2, ndim=2, channels=(2, 2), norm="batch"), 2).whole_input


def test_valid_unet_is_centred_and_knows_its_sizes():
    net = UNet(1, 1, ndim=1, channels=(1, 1, 1), padding="valid")
    lattice = field_of_view(net, 1).map
    assert lattice.offset == (20,)
    for size in range(1, 400):
        expected = net.output_shape((size,))
        assert lattice.is_valid((size,)) == (expected is not None)
        if expected is not None:
            assert lattice.output_shape((size,)) == expected
            assert lattice.margin((size,)) == ((20, 20),)


def test_deep_supervision_has_a_view_per_output():
    views = field_of_view(UNet(1, 1, ndim=1, channels=(2, 2, 2), deep_supervision=2), 1).outputs
    assert [view.stride[0] for view in views] == [1, 2, 4]
    assert [view.offset[0] for view in views] == [0, HALF, Fraction(3, 2)]


class Strided(nn.Module):
    """Skip connection beside a strided convolution: half a voxel apart."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv1d(1, 1, 3, stride=2, padding=1), nn.ConvTranspose1d(1, 1, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.up(self.down(x))], 1)


def test_a_disagreement_of_paths_is_noted_and_the_finest_rules():
    view = field_of_view(Strided(), 1)
    assert view.offset == (0,)
    assert view.notes == ("paths that meet disagree by 0.5 voxel",)


# Kernel, stride, padding, dilation.
LAYER = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))


@settings(max_examples=25, deadline=None)
@given(st.lists(LAYER, min_size=1, max_size=3))
def test_ramp_through_random_layers(layers: list[tuple[int, int, int, int]]):
    parts = [nn.Conv1d(1, 1, k, stride=s, padding=min(p, k // 2), dilation=d) for k, s, p, d in layers]
    check_ramp(nn.Sequential(*parts), ndim=1, size=400)


@pytest.mark.parametrize(
    ("module", "ndim", "size"),
    [
        (nn.AvgPool3d(2), 3, 16),
        (UNet(1, 2, ndim=3, channels=(2, 2), up="linear"), 3, 40),
        (UNet(1, 2, ndim=3, channels=(2, 2), padding="valid", up="linear"), 3, 28),
        (UNet(1, 2, ndim=2, channels=(2, 2), strides=((1, 2),), up="linear"), 2, 40),
        (UNet(1, 2, ndim=1, channels=(2, 2, 2, 2), up="linear", residual=True, deep_supervision=3), 1, 512),
        (
            nn.Sequential(
                nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Upsample(scale_factor=2, mode="bilinear")
            ),
            2,
            32,
        ),
    ],
)
def test_ramp(module: nn.Module, ndim: int, size: int):
    check_ramp(module, ndim, size)


def check_ramp(module: nn.Module, ndim: int, size: int, block: int = 1) -> None:
    """An averaging version of the module, fed its input's indices, must read the places of the map."""
    view = field_of_view(module, ndim)
    twin, _ = averaging_copy(module)
    for axis in range(ndim):
        shape = [1] * ndim
        shape[axis] = size
        ramp = torch.arange(size, dtype=torch.float64).reshape(1, 1, *shape).expand(1, 1, *[size] * ndim)
        with torch.no_grad():
            outputs = tensors_of(twin(ramp.contiguous()))
            totals = tensors_of(twin(torch.ones_like(ramp)))
        for out, total, part in zip(outputs, totals, view.outputs, strict=True):
            assert tuple(out.shape[2:]) == part.map.output_shape((size,) * ndim)
            start, step, _ = part.map.on((size,) * ndim)
            places = start[axis] + step[axis] * np.arange(out.shape[2 + axis])
            middle = [slice(n // 2, n // 2 + 1) for n in out.shape[2:]]
            middle[axis] = slice(None)
            read = (out[(0, 0, *middle)] / total[(0, 0, *middle)]).numpy().ravel()
            reach = (part.size[axis] or size) / 2 + 2
            inside = (places >= reach) & (places <= size - 1 - reach)
            count = inside.sum() // block * block
            assert count > 0
            error = (read - places)[inside][:count].reshape(-1, block).mean(1)
            np.testing.assert_allclose(error, 0, atol=1e-9)


@pytest.mark.parametrize("channels", [(2, 2), (2, 2, 2)])
def test_ramp_through_transposed_convolutions_on_average(channels: tuple[int, ...]):
    # A transposed convolution repeats its coarse voxel: the staircase is right on average over a period.
    check_ramp(UNet(1, 1, ndim=1, channels=channels), 1, 256, block=2 ** (len(channels) - 1))


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveMaxPool2d(1)),
    ],
)
def test_a_classifier_ends_on_one_voxel_that_covers_the_input(module: nn.Module):
    view = field_of_view(module, 2)
    assert view.size == (None, None)
    assert view.in_mm((1.0, 1.0)) == (float("inf"),) * 2
    offset, stride, shape = view.map.on((51, 80))
    assert (offset.tolist(), stride.tolist(), shape) == ([25.0, 39.5], [51.0, 80.0], (1, 1))
    assert view.map.margin((51, 80)) == ((0, 0), (0, 0))
    with pytest.raises(GraphError):
        view.map.input_shape_for((2, 2))


def test_a_dense_layer_takes_one_size_only():
    module = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(26 * 26, 2))
    assert field_of_view(module, 2).valid_sizes((30, 27)) == ((28, 0), (0, 28))


class Shifted(nn.Module):
    """Looks at a voxel and, half as much, at one three voxels before: no arithmetic, and no clear middle."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.5 * torch.roll(x, 3, -1)


class Rolled(nn.Module):
    """A symmetric layer behind an operation that has no arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, 1, 5, stride=2, padding=2), nn.GroupNorm(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.roll(self.conv(x), 0, -1))


def test_unknown_operations_are_probed():
    view = field_of_view(Rolled(), 1)
    assert (view.size, view.stride, view.offset) == ((5,), (2,), (0,))
    assert view.notes == ("probed: no arithmetic for roll", "whole input (statistics)")


def test_what_has_no_middle_must_be_declared():
    with pytest.raises(GraphError, match="offset="):
        field_of_view(Shifted(), 1)
    assert field_of_view(Shifted(), 1, offset=0).offset == (0,)


def test_places_that_move_with_the_size_must_be_declared():
    with pytest.raises(GraphError, match="align_corners"):
        field_of_view(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), 2)


def test_a_network_that_takes_nothing_is_refused_with_its_own_words():
    with pytest.raises(GraphError, match="3 channels, 2D: Invalid channel dimensions"):
        field_of_view(nn.Conv2d(2, 1, 3), 2, in_channels=3)


class Rearranged(nn.Module):
    """Views, permutations, slices, chunks and flips that undo each other around two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(2, 1, (5, 1), stride=(2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).flip(2).flip(2)
        x = nn.functional.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)
        batch, channels, height, width = x.shape
        x = x.reshape(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)
        left, right = x.chunk(2, dim=1)
        return self.second(left * torch.sigmoid(right))[:, :, 1:, 2:-1]


def test_views_permutations_slices_and_chunks_are_followed():
    view = field_of_view(Rearranged(), 2)
    # Rows: 3 and 5 give 7, offset 2 of the valid kernel and 2 of the row cut off; columns: 2 cut off.
    assert view.notes == ()
    assert (view.size, view.stride, view.offset) == ((7, 3), (2, 1), (4, 2))
    assert view.map.output_shape((21, 11)) == (8, 8)


def test_squeeze_and_excitation_gates_see_the_whole_input():
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.sigmoid(x.mean((2, 3), keepdim=True))

    view = field_of_view(Gate(), 2)
    assert view.whole_input
    assert view.notes == ("whole input (global pooling)",)
    assert view.offset == (0, 0)


def test_the_module_is_left_alone():
    net = UNet(1, 1, ndim=1, channels=(2, 2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    field_of_view(net, 1)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_six_levels():
    net = UNet(1, 1, ndim=1, channels=(1,) * 6, norm=None)
    view = field_of_view(net, 1)
    assert view.map.period == (32,)
    assert view.valid_sizes((100,)) == ((96,), (128,))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 1000))
def test_lattice_extends_its_table(stride: int, kernel: int, size: int):
    lattice = LatticeMap.from_rule(stride, (kernel - 1) / 2, lambda n: (n - kernel) // stride + 1, ndim=1)
    expected = max((size - kernel) // stride + 1, 0) if size >= kernel else 0
    if not expected:
        with pytest.raises(GraphError, match="nearest smaller"):
            lattice.output_shape((size,))
        return
    assert lattice.output_shape((size,)) == (expected,)
    needed = lattice.input_shape_for((expected,))
    assert needed == ((expected - 1) * stride + kernel,)
    before, after = lattice.margin(needed)[0]
    assert before == after == Fraction(kernel - stride, 2)


def test_identity_map():
    lattice = LatticeMap.identity(3)
    assert lattice.output_shape((7, 1, 300)) == (7, 1, 300)
    assert lattice.nearest_valid((7, 1, 300)) == ((7, 1, 300), (7, 1, 300))
    with pytest.raises(GraphError, match="3 sizes"):
        lattice.output_shape((7, 1))
