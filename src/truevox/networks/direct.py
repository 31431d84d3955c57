"""Convolutions of a single patch on the CPU, at the speed of a batch.

Torch hands a float32 3D convolution to oneDNN if the batch holds two patches or more; for one patch with
few channels it takes a matrix product over a copied-out neighbourhood, which is half as fast and needs the
kernel's volume times the input's memory. Asked directly, oneDNN is as fast with one patch as with many, so
that no second patch has to be in memory for the sake of speed.

OneDNN rearranges channels in blocks of sixteen, which multiplies the memory of tensors with few of them.
These go to it with the channels last, in which it takes them as they are.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from truevox.networks.layers import fastest_layout

__all__ = ["direct_convolutions", "few_channels"]

_ATEN = torch.ops.aten


def direct_convolutions(device: torch.device | str = "cpu") -> contextlib.AbstractContextManager[Any]:
    """A context in which float32 3D convolutions on the CPU go to oneDNN, whatever the batch size.

    Numbers differ by rounding only. It changes nothing on other devices, for other types, where gradients are
    recorded, or where torch has no oneDNN.

    Examples
    --------
    >>> net, x = torch.nn.Conv3d(1, 2, 3), torch.rand(1, 1, 6, 6, 6)
    >>> with torch.no_grad(), direct_convolutions():
    ...     out = net(x)
    >>> bool(torch.allclose(out, net(x), atol=1e-6))
    True
    """
    known = torch.device(device).type == "cpu" and torch.backends.mkldnn.is_available()
    if torch.is_grad_enabled() or not known or not hasattr(_ATEN, "mkldnn_convolution"):
        return contextlib.nullcontext()
    return _Direct()


class _Direct(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (_ATEN.conv3d.default, _ATEN.conv3d.padding):  # in inference mode: not yet taken apart
            with self:
                return func.decompose(*args, **kwargs)
        if func is not _ATEN.convolution.default or not _suits(args):
            return func(*args, **kwargs)
        x, weight, bias, stride, padding, dilation, _, _, groups = args
        if thin := few_channels(x.shape[1], weight.shape[0]):
            x = fastest_layout(x)
        out = _ATEN.mkldnn_convolution.default(x, weight, bias, padding, stride, dilation, groups)
        return out.contiguous() if thin else out


def few_channels(first: int, second: int) -> bool:
    """Whether blocks of sixteen channels would be half empty."""
    return -(-first // 16) * 16 + -(-second // 16) * 16 >= 2 * (first + second)


def _suits(args: Any) -> bool:
    """Whether these arguments of a convolution are a float32 3D one on the CPU, not transposed."""
    if len(args) != 9 or args[6] or not torch.backends.mkldnn.enabled:
        return False
    tensors = [t for t in args[:3] if t is not None]
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 and not t.is_mkldnn for t in tensors)
    return plain and args[0].ndim == 5 and args[0].numel() > 0
