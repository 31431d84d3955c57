"""Networks as people bring them: compiled, not built yet, of one size alone, with answers by name."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import truevox as tv
from truevox import Grid, Image
from truevox.errors import GraphError
from truevox.networks import Network, field_of_view, probing
from truevox.networks.checking import check_impulses, check_size
from truevox.networks.probing import averaging_copy

SHAPE = (32, 32, 1)


def strided() -> nn.Module:
    """Sees 3 + 2 * 2 voxels; its first output voxel is centred on input voxel 2."""
    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Conv2d(2, 1, 3))


def image(shape: tuple[int, int, int] = SHAPE) -> Image:
    return Image(torch.randn(1, *shape), Grid(shape))


def test_a_compiled_network_is_looked_at_as_written():
    def backend(graph, inputs):  # type: ignore[no-untyped-def]
        raise RuntimeError("compiled")

    inner = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1)), nn.Conv2d(2, 1, 3))
    inner[0].compile(backend=backend)
    for module in (torch.compile(strided(), backend=backend), inner):
        view = field_of_view(module, 2)  # type: ignore[arg-type]
        assert (view.size, view.stride, view.offset) == ((7, 7), (2, 2), (2, 2))
        assert view.valid_sizes((96, 96)) == ((96, 96), (96, 96))
        check_impulses(module, [view.map], [view], [torch.empty(1, 1, 32, 32)])  # type: ignore[arg-type]
        check_size(module, view, 1, (32, 32))  # type: ignore[arg-type]


def test_layers_that_are_not_built_are_refused():
    lazy = nn.Sequential(nn.LazyConv2d(2, 3), nn.ReLU())
    for use in (lambda: Network(lazy, ndim=2), lambda: field_of_view(lazy, 2)):
        with pytest.raises(GraphError, match="made when they first see an input") as caught:
            use()
        assert "module(torch.zeros(1, channels, *size))" in str(caught.value)
    lazy(torch.zeros(1, 1, 8, 8))
    assert Network(lazy, ndim=2)(image((8, 8, 1))).grid.shape == (6, 6, 1)


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_are_computed_are_copied(norm):
    """After a pass with gradients they are tensors that torch refuses to copy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.Sequential(norm(nn.Conv2d(1, 2, 3, stride=2, padding=1)), nn.Conv2d(2, 1, 3))
    module(torch.ones(1, 1, 32, 32))
    node = Network(module, ndim=2)
    assert node(image()).grid.shape == (14, 14, 1)
    assert field_of_view(module, 2).offset == (2, 2)
    assert not averaging_copy(module)[0].training


def test_constants_that_no_buffer_holds_are_followed():
    class Blur(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = torch.full((1, 1, 5, 5), 0.04)

        def forward(self, x: Tensor) -> Tensor:
            return functional.conv2d(x, self.kernel)

    view = field_of_view(Blur(), 2)
    assert (view.size, view.offset, view.notes) == ((5, 5), (2, 2), ())


def test_a_network_in_half_precision_is_looked_at_in_its_own_type():
    assert field_of_view(strided().to(torch.bfloat16), 2).offset == (2, 2)


def test_answers_by_name_are_outputs_in_their_order():
    class Named(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"fine": 2 * x, "coarse": functional.avg_pool2d(x, 2)}

    fine, coarse = Network(Named(), ndim=2, outputs=2)(image())
    assert (fine.grid.shape, coarse.grid.shape) == (SHAPE, (16, 16, 1))
    assert coarse.grid.to_world((0, 0, 0)).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("several", [False, True])
def test_what_training_returns_otherwise_is_told(several: bool):
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> object:
            made = self.conv(x)
            if self.training:
                return [made, made] if several else torch.stack([made, made], 1)
            return made

    node = Network(Deep().train(), ndim=2)
    text = "another number of tensors" if several else "another size than it is known for"
    with pytest.raises(GraphError, match=rf"{text}(.|\n)*deep supervision"):
        node(image())
    node.module.eval()
    assert node(image()).grid.shape == SHAPE


@pytest.mark.parametrize("kind", ["named", "normed", "half"])
def test_memory_is_planned_for_networks_of_any_kind(kind: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.utils.weight_norm(nn.Conv3d(1, 1, 3, padding=1))
    net(torch.ones(1, 1, 4, 4, 4))

    class Named(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"only": 2 * x}

    half = nn.Conv3d(1, 1, 3, padding=1).to(torch.bfloat16)
    node = Network({"named": Named(), "normed": net, "half": half}[kind])
    scan = tv.Input("scan")
    model = tv.Model(train=None, predict={"p": tv.Put(like=scan)(tv.Sigmoid()(node(tv.GridCrop(8)(scan))))})
    assert model.memory({"scan": image((12, 12, 12))}).total > 0


class Positions(nn.Module):
    """Adds a table of positions of one size, as transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(1, 1, 5, padding=2), nn.Parameter(torch.ones(1, 1, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.table.shape[2:]:
            raise ValueError("another size")
        return self.conv(x) + self.table


class Coder(nn.Module):
    """Dense layers between an image of 16 x 16 and one of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(256, 8), nn.Linear(8, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x.flatten(1))).view(-1, 1, 8, 8)


def test_networks_of_one_size_alone():
    view = field_of_view(Positions(), 2)
    assert (view.size, view.stride, view.offset) == ((5, 5), (1, 1), (0, 0))
    assert view.valid_sizes((96, 31)) == ((32, 0), (0, 32))
    view = field_of_view(Coder(), 2)  # the output's box is the input's
    assert (view.size, view.stride, view.offset) == ((None, None), (2, 2), (Fraction(1, 2),) * 2)
    assert view.valid_sizes((16, 16)) == ((16, 16), (16, 16))
    made = Network(Coder(), ndim=2)(image((16, 16, 1)))
    assert (made.grid.shape, made.grid.spacing.tolist()) == ((8, 8, 1), [2.0, 2.0, 1.0])
    with pytest.raises(GraphError, match=r"can't produce that patch size(.|\n)*\(16, 16\)"):
        view.map.output_shape((18, 18))


def test_transformers_are_probed():
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(1, 8, 8, stride=8)
            self.mix = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x)
            mixed = self.mix(tokens.flatten(2).transpose(1, 2))
            return mixed.transpose(1, 2).reshape(tokens.shape)

    view = field_of_view(Patches().eval(), 2)
    assert (view.size, view.stride, view.offset) == ((None, None), (8, 8), (Fraction(7, 2),) * 2)
    assert torch.backends.mha.get_fastpath_enabled()


class Enlarged(nn.Module):
    """A coarse map that is enlarged to the input's size, whatever that is: blocks that see the same."""

    def __init__(self, kernel: int, shift: int = 0) -> None:
        super().__init__()
        self.conv, self.shift = nn.Conv2d(1, 1, kernel, stride=4, padding=(kernel - 4) // 2), shift

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.conv(x), x.shape[2:])


@pytest.mark.parametrize("kernel", [4, 6, 8])
def test_blocks_that_see_the_same_are_where_they_are(kernel: int):
    # Block i is enlarged from a window about 4 i + 1.5, the middle of voxels 4 i to 4 i + 3.
    view = field_of_view(Enlarged(kernel), 2)
    assert (view.size, view.offset) == ((kernel,) * 2, (0, 0))
    assert Network(Enlarged(kernel), ndim=2)(image((48, 48, 1))).grid.shape == (48, 48, 1)


class Corner(nn.Module):
    """A path that sees five voxels, and one that looks at the corner of these."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x[:, :, :-4, :-4]


def test_paths_that_look_at_different_places_are_refused():
    with pytest.raises(GraphError, match="Paths of the network look at different places"):
        Network(Corner(), ndim=2)(image((48, 48, 1)))


def test_cubic_interpolation_has_arithmetic():
    module = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), nn.Upsample(scale_factor=2, mode="bicubic"))
    view = field_of_view(module, 2)
    assert (view.size, view.offset, view.notes) == ((8, 8), (0, 0), ())
    alone = field_of_view(nn.Upsample(scale_factor=2, mode="bicubic"), 2)
    assert (alone.size, alone.offset) == ((4, 4), (Fraction(-1, 4),) * 2)


def test_a_declared_offset_stands_where_probing_fails(monkeypatch):
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.roll(x, 1, 2)

    monkeypatch.setattr(probing, "SECONDS", -1.0)
    with pytest.raises(GraphError, match="takes too long"):
        field_of_view(Mixed(), 2)
    view = field_of_view(Mixed(), 2, offset=(-1, 0))
    assert (view.offset, view.size, view.whole_input) == ((-1, 0), (None, None), True)


def test_sizes_without_a_period_are_told_in_short():
    with pytest.raises(GraphError) as caught:
        field_of_view(nn.AdaptiveAvgPool2d(4), 2)
    assert len(str(caught.value)) < 500
    assert "LatticeMap.from_rule" in str(caught.value)
