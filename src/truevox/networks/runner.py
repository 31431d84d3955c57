"""Runs of a module without values: shapes of its outputs, and where they look, for inputs of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from truevox.networks import dimension_rules  # noqa: F401 - registers its rules
from truevox.networks.copying import copied, weight_type
from truevox.networks.rules import RULES
from truevox.networks.tracing import Tracer, Track

__all__ = ["Runner", "tensors_of"]

Shapes = tuple[tuple[int, ...], ...]
_SMOOTH = {"linear", "bilinear", "bicubic", "trilinear"}
_NORMS = {"batch_norm", "group_norm", "instance_norm", "layer_norm"}
_ACTIVATIONS = {"elu", "gelu", "leaky_relu", "mish", "relu", "sigmoid", "silu", "softplus", "tanh"}


class Runner:
    """A module's copy on the meta device, with what is known of it so far."""

    def __init__(self, module: nn.Module, ndim: int, channels: int) -> None:
        self.original, self.ndim, self.channels = module, ndim, channels
        self.module = copied(module, values=False)
        self.dtype = weight_type(module)
        self.error: Exception | None = None
        self._cache: dict[tuple[int, ...], Shapes | None] = {}
        self._traces: dict[tuple[int, ...], tuple[list[Track | None], list[str]]] = {}

    def input(self, shape: Sequence[int]) -> Tensor:
        """A tensor of that size without values."""
        return torch.empty((1, self.channels, *shape), device="meta", dtype=self.dtype)

    def shapes(self, shape: Sequence[int]) -> Shapes | None:
        """Spatial shapes of the outputs, or None if the module refuses that size."""
        key = tuple(shape)
        if key not in self._cache:
            self._cache[key] = self._run(key)
        return self._cache[key]

    def _run(self, shape: tuple[int, ...]) -> Shapes | None:
        try:
            with torch.no_grad(), _ShapesOnly():
                outputs = tensors_of(self.module(self.input(shape)))
        except Exception as error:  # a module may refuse a size with any exception
            self.error = error
            return None
        sizes = tuple(tuple(out.shape[2:]) if out.dim() > 2 else (1,) * self.ndim for out in outputs)
        wrong = any(len(out) != self.ndim or min(out, default=0) < 1 for out in sizes)
        return None if wrong else sizes

    def trace(self, shape: Sequence[int]) -> tuple[list[Track | None], list[str]]:
        """Tracks of the outputs, and the names of the operations that are not known."""
        key = tuple(shape)
        if key not in self._traces:
            self._traces[key] = self._trace(key)
        return self._traces[key]

    def _trace(self, shape: tuple[int, ...]) -> tuple[list[Track | None], list[str]]:
        x = self.input(shape)
        tracer = Tracer(RULES)
        tracer.start(x)
        with torch.no_grad(), tracer:
            outputs = tensors_of(self.module(x))
        return [self._checked(tracer.of(out), out) for out in outputs], sorted(set(tracer.unknown))

    def _checked(self, track: Track | None, out: Tensor) -> Track | None:
        if track is None:
            return None
        places = [axis.dim for axis in track.axes]
        in_order = places == list(range(2, 2 + self.ndim))
        gone = out.dim() == 2 and all(len(axis) == 1 for axis in track.axes)
        return track if in_order or gone else None


class _ShapesOnly(TorchFunctionMode):
    """Norms and activations keep shapes, and any interpolation gives those of the nearest voxel.

    On the meta device torch takes each apart, which was most of the time spent here.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        # One voxel per channel is what some norms refuse: they are asked.
        if args and ((name in _NORMS and math.prod(args[0].shape[2:]) > 1) or name in _ACTIVATIONS):
            return torch.empty_like(args[0])
        if name == "interpolate" and (kwargs or {}).get("mode") in _SMOOTH:
            kwargs = {**kwargs, "mode": "nearest", "align_corners": None, "antialias": False}
        return func(*args, **(kwargs or {}))


def tensors_of(value: object) -> list[Tensor]:
    """Tensors in a module's result, in order."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
