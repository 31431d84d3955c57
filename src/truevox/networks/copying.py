"""Copies of a module to look at: with all that torch itself refuses to copy, and without its compiler."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from truevox.errors import GraphError

__all__ = ["as_written", "copied", "expect_built", "weight_type"]


def expect_built(module: nn.Module) -> None:
    """Refuse a module whose layers wait for their first input.

    Raises
    ------
    GraphError
    """
    waiting = [name for name, weight in module.named_parameters() if is_lazy(weight)]
    if waiting:
        raise GraphError(
            "The network has layers that are made when they first see an input.",
            got=", ".join(waiting[:3]),
            remedy="run it once before: module(torch.zeros(1, channels, *size))",
        )


def weight_type(module: nn.Module) -> torch.dtype:
    """Type of a module's weights, and so of what it takes."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def copied(module: nn.Module, *, values: bool = True) -> nn.Module:
    """A deep copy in evaluation mode; without ``values`` its tensors are on the meta device.

    Tensors that a module holds beside its weights are copied too: those that norms of weights made in the
    last pass, which torch refuses to copy, and constants that no buffer holds.

    Raises
    ------
    GraphError
        If it is not built yet.

    Examples
    --------
    >>> copied(nn.Conv1d(1, 2, 3), values=False).weight.device.type
    'meta'
    """
    expect_built(module)
    memo: dict[int, object] = {}
    for tensor in _tensors(module):
        if not values:
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
        elif not tensor.is_leaf:
            memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(module, memo).eval()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
    for part in module.modules():
        held = (value for value in vars(part).values() if isinstance(value, Tensor))
        yield from (value for value in held if value.is_floating_point())  # others may be sizes: they stay


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Modules run as their Python code.

    Compiled ones would be compiled for each size that is tried, and what torch fuses (encoder layers of
    transformers) looks into layers that are taken out.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    compiled = "torch._dynamo" in sys.modules  # else nothing was compiled so far
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
