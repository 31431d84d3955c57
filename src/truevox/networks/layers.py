"""Layers that differ from torch's own only in speed."""

from __future__ import annotations

from math import gcd, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["InstanceNorm", "fastest_layout", "normalisation"]

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class InstanceNorm(nn.Module):
    """Instance normalisation that stays fast on a CPU, in both memory layouts.

    The numbers are those of ``torch.nn.InstanceNorm*d(affine=True)`` in any dimension; the kernel is that of
    group normalisation with one channel per group. On the CPU this took a third of the time of
    ``functional.instance_norm`` and keeps a channels-last layout, which the latter undoes. Torch's backward
    of that kernel is slow for channels-last tensors, so they get one written as sums and one fused update.

    Parameters
    ----------
    channels : int
        Channels of the input.
    eps : float
        Added to the variance.

    Notes
    -----
    Ulyanov, Vedaldi, Lempitsky: Instance normalization (2016).

    Examples
    --------
    >>> out = InstanceNorm(4)(torch.randn(2, 4, 8, 8, 8))
    >>> bool(out.mean(dim=(2, 3, 4)).abs().max() < 1e-5)
    True
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, *spatial) over its spatial axes, per image and channel."""
        if torch.is_grad_enabled() and x.device.type == "cpu" and _is_channels_last(x):
            return _ChannelsLastNorm.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-any-return]
        return functional.group_norm(x, self.channels, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"{self.channels}, eps={self.eps}"


def _is_channels_last(x: Tensor) -> bool:
    layout = _LAST.get(x.dim())
    if layout is None or x.dtype != torch.float32:
        return False
    return x.is_contiguous(memory_format=layout) and not x.is_contiguous()


def _rows(x: Tensor) -> Tensor:
    """View a channels-last tensor (B, C, *spatial) as (B, voxels, C)."""
    return x.movedim(1, -1).reshape(x.shape[0], -1, x.shape[1])


class _ChannelsLastNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        batch, channels = x.shape[:2]
        out, mean, rstd = torch.native_group_norm(
            x, weight, bias, batch, channels, prod(x.shape[2:]), channels, eps
        )
        ctx.save_for_backward(x, weight, mean, rstd)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        rows, grad = _rows(x), _rows(grads[0])
        count = rows.shape[1]
        total = grad.sum(1)
        along = ((grad * rows).sum(1) - mean * total) * rstd  # sum of gradient times normalised value
        scale = rstd * weight
        slope = scale * rstd * along / count
        constant = slope * mean - scale * total / count
        out = torch.addcmul(constant[:, None], grad, scale[:, None])
        out.addcmul_(rows, slope[:, None], value=-1)
        spatial = (x.shape[0], *x.shape[2:], x.shape[1])
        return out.view(spatial).movedim(-1, 1), along.sum(0), total.sum(0), None


def fastest_layout(x: Tensor) -> Tensor:
    """The same values in the memory layout in which convolutions were fastest.

    Channels last for float32 3D on a CPU. In bfloat16 a step took twice as long with it, so other types
    keep what they have. Costs nothing where the tensor has it already, and a convolution hands it on.

    Examples
    --------
    >>> fastest_layout(torch.zeros(2, 8, 4, 5, 6)).stride()
    (960, 1, 240, 48, 8)
    """
    if x.dim() != 5 or x.device.type != "cpu" or x.dtype != torch.float32:
        return x
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def normalisation(kind: str | None, channels: int, ndim: int) -> nn.Module:
    """Norm layer of a name that :class:`~truevox.networks.UNet` has checked.

    ``"instance"``, ``"batch"``, ``"group"`` (8 groups, or as many as divide ``channels``) or None (identity).

    Examples
    --------
    >>> normalisation("group", 12, ndim=3).num_groups
    4
    """
    if kind is None:
        return nn.Identity()
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "group":
        return nn.GroupNorm(gcd(8, channels), channels)
    batch = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return batch[ndim - 1](channels)
