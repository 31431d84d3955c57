"""Where a network looks is exact, probed or refused, however its code is written; never silently wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from truevox.errors import GraphError
from truevox.networks import field_of_view


class Written(nn.Module):
    """A module whose forward pass is a function of itself and the input (B, 4, N)."""

    in_channels = out_channels = 4

    def __init__(self, function: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.two, self.whole = nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def places(x: Tensor) -> Tensor:
    return torch.arange(x.shape[2] - 3, device=x.device)


# ---- what is written into memory that tensors share ------------------------------------------


def partial(m: Written, x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2] = m.two(x[:, :2])
    return x


def partial_sum(m: Written, x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2] += m.two(x[:, :2])
    return x


def partial_into_nothing(m: Written, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, :2], y[:, 2:] = m.two(x[:, :2]), x[:, 2:]
    return y


def chunks(m: Written, x: Tensor) -> Tensor:
    y = x.clone()
    first, second = y.chunk(2, 1)
    first.copy_(m.two(second))
    return y


def through_a_view(m: Written, x: Tensor) -> Tensor:
    y = m.whole(x)
    y.view(y.shape[0], 2, 2, -1).mul_(x.view(y.shape[0], 2, 2, -1))
    return y


def plain_in_place(m: Written, x: Tensor) -> Tensor:
    y = functional.relu_(m.whole(x))
    y += x
    y[:, :, 0] = 0
    return y


def slices(m: Written, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, :-3] = 2 * x[:, :, 3:]
    return y


def slices_and_crop(m: Written, x: Tensor) -> Tensor:
    return slices(m, x)[:, :, :-3]


def slices_into_nothing(m: Written, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.narrow(2, 0, x.shape[2] - 3).add_(x[:, :, 3:])
    return y + 0 * x


def indexed(m: Written, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, places(x)] = x[:, :, 3:]
    return y


def several_at_once(m: Written, x: Tensor) -> Tensor:
    y = [0 * x, 0 * x]
    torch._foreach_add_(  # pyright: ignore[reportPrivateImportUsage]
        [one[:, :, :-3] for one in y], [x[:, :, 3:]] * 2
    )
    return y[0]


@pytest.mark.parametrize(
    "function", [partial, partial_sum, partial_into_nothing, chunks, plain_in_place, through_a_view]
)
def test_writes_along_the_same_voxels_keep_their_place(function):
    view = field_of_view(Written(function), 1)
    assert (view.size, view.offset, view.stride) == ((3,), (0,), (1,))


@pytest.mark.parametrize("function", [slices, slices_and_crop, slices_into_nothing, indexed, several_at_once])
def test_writes_from_three_voxels_further_on_are_seen_there(function):
    view = field_of_view(Written(function), 1)
    assert (view.size, view.offset, view.stride) == ((1,), (3,), (1,))
    assert any("probed" in note for note in view.notes)


# ---- what moves voxels -------------------------------------------------------------------------


def resized(factor: float, mode: str = "nearest") -> Callable[[Written, Tensor], Tensor]:
    return lambda m, x: functional.interpolate(x, scale_factor=factor, mode=mode)


def shuffled(m: Written, x: Tensor) -> Tensor:
    return x.view(-1, 2, 2, x.shape[2]).transpose(2, 3).reshape(len(x), 2, -1)


MOVED = {
    "roll": (lambda m, x: torch.roll(x, 2, 2), 1, -2, 1),
    "index": (lambda m, x: x[:, :, places(x) + 1], 1, 1, 1),
    "index_select": (lambda m, x: x.index_select(2, places(x) + 1), 1, 1, 1),
    "unfold": (lambda m, x: x.unfold(2, 3, 1).mean(-1), 3, 1, 1),
    "negative pad": (lambda m, x: functional.pad(x, (-2, 1)), 1, 2, 1),
    "circular pad": (lambda m, x: functional.pad(m.whole(x), (1, 2), mode="circular"), 3, -1, 1),
    "reflection": (lambda m, x: functional.pad(x, (1, 2), mode="reflect"), 1, -1, 1),
    "every second": (lambda m, x: x[:, :, 1::2], 1, 1, 2),
    "cat along space": (lambda m, x: torch.cat([x[:, :, 2:], x[:, :, :2]], 2), 1, 2, 1),
    # Nearest: output i reads floor(i / factor), on average (q - 1) / 2 q below it for a factor q / p.
    "nearest up": (resized(2), 1, -1 / 4, 1 / 2),
    "nearest by 3/2": (resized(1.5), 1, -1 / 3, 2 / 3),
    "nearest down": (resized(0.5), 1, 0, 2),
    "exact down": (resized(0.5, "nearest-exact"), 1, 1, 2),
    "linear by 3/2": (resized(1.5, "linear"), 2, -1 / 6, 2 / 3),
    "ceil": (lambda m, x: functional.max_pool1d(x, 3, 2, ceil_mode=True), 3, 1, 2),
    "out=": (lambda m, x: torch.mul(x[:, :, 3:], 2, out=torch.zeros_like(x)[:, :, 3:]), 1, 3, 1),
    "even kernel": (lambda m, x: nn.functional.pad(x, (1, 2)).unfold(2, 4, 1).sum(-1), 4, 1 / 2, 1),
    "two places alike": (lambda m, x: x[:, :, :-3] + x[:, :, 3:], 4, 3 / 2, 1),
    "channels repeated": (lambda m, x: m.whole(x) + x[:, :1].repeat(1, 4, 1), 3, 0, 1),
    "a channel alone": (lambda m, x: m.whole(x)[:, 1].unsqueeze(1), 3, 0, 1),
    "shuffled": (shuffled, 1, -1 / 4, 1 / 2),
    "pooled by a function": (lambda m, x: torch.roll(functional.max_pool1d(x, 2), 0, 2), 2, 1 / 2, 2),
    "einsum": (lambda m, x: torch.einsum("bci,co->boi", x, torch.ones(4, 4, device=x.device)), 1, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_operations_that_move_voxels(name: str):
    function, size, offset, stride = MOVED[name]
    view = field_of_view(Written(function), 1)
    assert view.size == (size,)
    assert [float(view.offset[0]), float(view.stride[0])] == pytest.approx([offset, stride], abs=1e-6)


WHOLE = {
    "gate": lambda m, x: x * torch.sigmoid(x.mean(2, keepdim=True)),
    "norm along space": lambda m, x: x / torch.linalg.vector_norm(x, 1, dim=2, keepdim=True),
    "weights of the input": lambda m, x: functional.conv1d(
        x, x.mean((0, 2))[:, None, None].expand(4, 4, 3) * 1.0, padding=1
    ),
    "attention": lambda m, x: (torch.softmax(x.transpose(1, 2) @ x, -1) @ x.transpose(1, 2)).transpose(1, 2),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_sees_the_whole_input_says_so(name: str):
    view = field_of_view(Written(WHOLE[name]), 1)
    assert (view.size, view.offset) == ((None,), (0,))
    assert view.whole_input


def past_gradients(m: Written, x: Tensor) -> Tensor:
    y = x.clone()
    y.data[:, :, :-3] = x[:, :, 3:]
    return y


def past_a_convolution(m: Written, x: Tensor) -> Tensor:
    y = m.whole(x)
    y.detach().copy_(torch.roll(x, 1, 2))
    return y


REFUSED = {
    "cumsum": lambda m, x: x.cumsum(2),
    "sort": lambda m, x: x.sort(2).values,
    "order of channels": lambda m, x: x.sort(1).indices.float(),
    "flip": lambda m, x: x.flip(2),
    "corners": lambda m, x: functional.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
    "values that decide": lambda m, x: x[:, :, 1:] if x.mean() > 0 else x,
    "written past gradients": past_gradients,
    "a convolution written over": past_a_convolution,
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_lattice_is_refused_with_a_remedy(name: str):
    with pytest.raises(GraphError, match=r"Remedy: .*lattice="):
        field_of_view(Written(REFUSED[name]), 1)


def test_swapped_axes_are_refused():
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(2, 3)

    with pytest.raises(GraphError, match="does not grow with its input"):
        field_of_view(Turned(), 2)
