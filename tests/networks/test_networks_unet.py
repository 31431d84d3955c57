"""The U-Net family: shapes, refusals, norms, both memory layouts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.errors import GraphError
from truevox.networks import UNet
from truevox.networks.layers import InstanceNorm

torch.set_num_threads(1)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch", "group", None])
@pytest.mark.parametrize("up", ["transposed", "linear"])
@pytest.mark.parametrize("residual", [False, True])
def test_same_padding_keeps_the_size_and_every_parameter_learns(
    ndim: int, norm: str | None, up: str, residual: bool
):
    net = UNet(2, 3, ndim, channels=(4, 6, 8), norm=norm, up=up, residual=residual)
    shape = (8, 12, 16)[:ndim]
    out = net(torch.randn(2, 2, *shape))
    assert out.shape == (2, 3, *shape)
    out.square().sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.abs().sum() > 0) for weight in net.parameters())


def test_anisotropic_levels():
    net = UNet(1, 1, channels=(4, 4, 4), strides=((2, 2, 1), (2, 2, 2)), kernels=((3, 3, 1), 3, (1, 3, 3)))
    assert net(torch.zeros(1, 1, 8, 4, 6)).shape == (1, 1, 8, 4, 6)
    assert net.nearest_sizes((7, 9, 7)) == ((4, 8, 6), (8, 12, 8))
    assert tuple(dict(net.named_parameters())["encoder.0.convs.0.weight"].shape) == (4, 1, 3, 3, 1)


def test_valid_padding_loses_what_the_kernels_do():
    # By hand, two levels: 32 -4-> 28 /2-> 14 -4-> 10 *2-> 20 -4-> 16.
    net = UNet(1, 2, ndim=2, channels=(4, 8), padding="valid", residual=True)
    assert net(torch.zeros(1, 1, 32, 36)).shape == (1, 2, 16, 20)
    # The U-Net of 2015: 572 gives 388.
    assert UNet(1, 2, ndim=2, channels=(1,) * 5, padding="valid").output_shape((572, 572)) == (388, 388)


def test_deep_supervision_returns_coarser_logits_in_both_modes():
    net = UNet(1, 2, ndim=2, channels=(4, 4, 4), deep_supervision=2)
    for mode in (True, False):
        outputs = net.train(mode)(torch.zeros(1, 1, 16, 8))
        assert [tuple(out.shape) for out in outputs] == [(1, 2, 16, 8), (1, 2, 8, 4), (1, 2, 4, 2)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.sampled_from(["same", "valid"]), st.sampled_from([2, 3, (1, 2), (2, 3)]))
def test_sizes_are_those_of_a_run(size: int, padding: str, strides):
    net = UNet(1, 1, ndim=1, channels=(1, 1, 1), padding=padding, strides=strides, norm=None)
    expected = net.output_shape((size,))
    if expected is not None:
        assert tuple(net(torch.zeros(1, 1, size)).shape[2:]) == expected
        return
    with pytest.raises(GraphError) as caught:
        net(torch.zeros(1, 1, size))
    (below,), (above,) = net.nearest_sizes((size,))
    assert f"nearest smaller ({below},) and larger ({above},)" in str(caught.value)
    assert below < size < above
    assert net(torch.zeros(1, 1, above)).shape[-1] > 0
    assert below == 0 or net(torch.zeros(1, 1, below)).shape[-1] > 0


@pytest.mark.parametrize(
    "settings_",
    [
        {"ndim": 4},
        {"channels": ()},
        {"channels": (4, 0)},
        {"kernels": 2},
        {"kernels": (3, 3)},
        {"strides": (2, 2, 2, 2)},
        {"strides": (2, 2, (2, 2))},
        {"norm": "layer"},
        {"padding": "reflect"},
        {"convs": 0},
        {"deep_supervision": 4},
        {"up": "nearest"},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings_):
    with pytest.raises(GraphError):
        UNet(1, 1, **settings_)


def test_wrong_channels_are_refused():
    with pytest.raises(GraphError, match="takes 2 channels in 3 dimensions"):
        UNet(2, 1)(torch.zeros(1, 1, 16, 16, 16))


@pytest.mark.parametrize("shape", [(2, 4, 9), (2, 4, 5, 6), (2, 4, 3, 4, 5)])
@pytest.mark.parametrize("last", [False, True])
def test_instance_norm_is_torchs_with_its_gradients(shape: tuple[int, ...], last: bool):
    torch.manual_seed(0)
    ours = InstanceNorm(4)
    theirs = (torch.nn.InstanceNorm1d, torch.nn.InstanceNorm2d, torch.nn.InstanceNorm3d)[len(shape) - 3](
        4, affine=True
    )
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
            norm.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    x = 3 + 2 * torch.randn(shape)
    if last and len(shape) > 3:
        x = x.contiguous(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    target = torch.randn(shape)
    results = []
    for norm in (ours, theirs):
        leaf = x.detach().clone().requires_grad_(True)
        out = norm(leaf)
        (out * target).sum().backward()
        results.append((out.detach(), leaf.grad, norm.weight.grad, norm.bias.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_channels_last_is_kept_through_a_block():
    seen = []
    net = UNet(1, 1, channels=(4, 8))
    net.encoder[0].register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    net(torch.zeros(2, 1, 8, 8, 8))
    assert seen[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_prediction_and_training_agree():
    net = UNet(1, 2, channels=(4, 8), residual=True).eval()
    x = torch.randn(2, 1, 8, 8, 8)
    with torch.no_grad():
        plain = net(x)
    torch.testing.assert_close(net(x), plain, rtol=1e-5, atol=1e-5)
