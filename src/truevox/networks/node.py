"""Any torch module as a node: it takes images on one grid to images on another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from truevox.errors import GraphError
from truevox.image import Kind
from truevox.labels import Labels
from truevox.networks.checking import check_impulses, check_size
from truevox.networks.copying import expect_built
from truevox.networks.direct import direct_convolutions
from truevox.networks.field_of_view import FieldOfView, field_of_view
from truevox.networks.lattice import LatticeMap
from truevox.networks.runner import tensors_of
from truevox.pipeline.graph import Signature, node
from truevox.pipeline.kinds import Batched
from truevox.space import Grid

__all__ = ["Network"]

_DEEP = (
    "networks with deep supervision return more in training than in evaluation: turn that off, or return "
    "the same tuple in both, with outputs= as many"
)


@node
class Network(Batched):
    """A torch module as a node of the graph.

    Parameters
    ----------
    module : torch.nn.Module
        Takes (B, C, *spatial) and returns (B, C', *spatial'), or a tuple of such.
    labels : Labels, optional
        Meaning of the output's channels.
    outputs : int
        Tensors that the module returns; each becomes a node.
    ndim : int, optional
        1, 2 or 3; the module's own ``ndim`` if it has one, else 3. Fewer than 3 drop axes of size 1.
    kind : {"logits", "scalar", "probability"}
    lattice : sequence of LatticeMap, optional
        Grid map of each output, declared; found by :func:`~truevox.networks.field_of_view` if left out.
    defines : int
        Of several inputs, the one whose grid the output's lattice refers to.

    Raises
    ------
    GraphError
        If channels do not fit, or (when grids are known, before any run) the network can't produce a size.

    Examples
    --------
    >>> from truevox import Image
    >>> net = Network(nn.Conv3d(1, 2, 3))
    >>> net(Image(torch.zeros(1, 8, 8, 8), Grid((8, 8, 8)))).grid.to_world((0, 0, 0)).tolist()
    [1.0, 1.0, 1.0]
    """

    module: nn.Module
    labels: Labels | None = None
    outputs: int = 1
    ndim: int | None = None
    kind: Kind = "logits"
    lattice: Sequence[LatticeMap] | None = None
    defines: int = 0

    def __post_init__(self) -> None:
        if self.ndim is None:
            object.__setattr__(self, "ndim", int(getattr(self.module, "ndim", 3)))
        if self.ndim not in (1, 2, 3):
            raise GraphError(
                "A network has 1, 2 or 3 spatial dimensions.",
                got=self.ndim,
                remedy="give images of the network one to three axes; batch and channel do not count",
            )
        expect_built(self.module)
        object.__setattr__(self, "_found", {})

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        wanted, given = _in_channels(self.module), inputs[0].channels
        if len(inputs) == 1 and isinstance(wanted, int) and given is not None and wanted != given:
            raise GraphError(
                f"The network ({type(self.module).__name__}) takes another number of channels.",
                got=given,
                expected=wanted,
                remedy="tv.Stack()(a, b) stacks inputs; or make the network for the channels given",
            )
        if len(inputs) > 1 and self.lattice is None:
            raise GraphError(
                "Where the output of a network with several inputs lies is not found out: declare it.",
                got=f"{len(inputs)} inputs of {type(self.module).__name__}",
                remedy="tv.Network(module, lattice=[tv.networks.LatticeMap.identity(3)]) for the grid of the "
                "first input (or of number `defines`); else LatticeMap.from_rule(...)",
            )
        made = getattr(self.module, "out_channels", None)
        made = made if isinstance(made, int) else None
        if self.labels is not None and made is not None and made != self.labels.channels:
            raise GraphError(
                "The network's output does not fit the label table.",
                got=f"{made} channels",
                expected=f"{self.labels.channels} for {', '.join(self.labels.names)}",
                remedy="build the module with as many output channels as this, or name other classes",
            )
        channels = made if self.labels is None else self.labels.channels
        return tuple(Signature(self.kind, channels, labels=self.labels) for _ in range(self.outputs))

    def field_of_view(self, channels: int | None = None) -> FieldOfView:
        """What the module does to its input's grid (found once)."""
        found: dict[str, FieldOfView] = getattr(self, "_found")  # noqa: B009 - set in a frozen dataclass
        if "fov" not in found:
            with torch.inference_mode(False), torch.enable_grad():
                found["fov"] = field_of_view(self.module, self.ndim or 3, in_channels=channels)
        return found["fov"]

    def maps(self) -> tuple[LatticeMap, ...]:
        """Grid map of every output.

        Raises
        ------
        GraphError
            If the module returns another number of tensors than ``outputs``.
        """
        if self.lattice is not None:
            maps = tuple(self.lattice)
        else:
            fov = self.field_of_view()
            maps = (fov.map, *(o.map for o in fov.others))
        if len(maps) != self.outputs:
            raise GraphError(
                "The network returns another number of images than the node has outputs.",
                got=len(maps),
                expected=self.outputs,
                remedy=f"tv.Network(module, outputs={len(maps)})",
            )
        return maps

    def _check(self, inputs: Sequence[Tensor]) -> None:
        """Compare the stated lattice with the network's answers: once, and its sizes once per patch size.

        Raises
        ------
        GraphError
            If they differ; a lattice that was declared is warned of.
        """
        found: dict[str, Any] = getattr(self, "_found")  # noqa: B009 - set in a frozen dataclass
        shape = tuple(inputs[0].shape[1:])
        if shape in found.setdefault("checked", set()):
            return
        kind, alone = inputs[0].device.type, len(inputs) == 1
        first = not found["checked"]
        found["checked"].add(shape)
        try:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(kind, enabled=False):
                views = self.field_of_view(shape[0]).outputs if alone and self.lattice is None else ()
                if views:
                    check_size(self.module, views[0], shape[0], shape[1:])
                if first:
                    with torch.random.fork_rng(devices=[]):
                        check_impulses(self.module, self.maps(), views, inputs)
        except GraphError as error:
            if self.lattice is None:
                found["checked"].discard(shape)
                raise
            warnings.warn(f"{error}", stacklevel=2)

    def kept_axes(self, grid: Grid) -> list[int]:
        """The axes that the module sees: all but as many of size 1 as it has no dimension for."""
        kept = [0, 1, 2]
        for axis in (2, 1, 0):
            if len(kept) > (self.ndim or 3) and grid.shape[axis] == 1:
                kept.remove(axis)
        if len(kept) != self.ndim:
            raise GraphError(
                f"A {self.ndim}D network was given an image with more wide axes.",
                got=grid.describe(),
                expected=f"at most {self.ndim} axes of more than one voxel",
                remedy="take a network of as many dimensions as the image, or crop to one slice of it",
            )
        return kept

    def grids(self, grids: Sequence[Grid]) -> tuple[Grid, ...]:
        grid = grids[self.defines]
        kept = self.kept_axes(grid)
        out = []
        for lattice in self.maps():
            offset, stride, shape = np.zeros(3), np.ones(3), [1, 1, 1]
            offset[kept], stride[kept], sizes = lattice.on([grid.shape[a] for a in kept])
            for axis, size in zip(kept, sizes, strict=True):
                shape[axis] = size
            out.append(grid.lattice(offset, stride, shape))
        return tuple(out)

    def forward(self, batch: Sequence[Tensor], grids: Sequence[Grid]) -> tuple[Tensor, ...]:
        dropped = [a for a in range(3) if a not in self.kept_axes(grids[self.defines])]
        weight = next((p for p in self.module.parameters() if p.is_floating_point()), None)
        device, dtype = (batch[0].device, torch.float32) if weight is None else (weight.device, weight.dtype)
        ready = [b.to(device, dtype) for b in batch]
        inputs = [_squeezed(b, dropped) for b in ready]
        self._check(inputs)
        try:
            with direct_convolutions(device):
                result = self.module(*inputs)
        except (RuntimeError, ValueError, TypeError) as error:
            if "memory" in str(error):
                raise
            raise GraphError(
                f"The network ({type(self.module).__name__}) refused its input: {error}",
                got=f"{', '.join(str(tuple(x.shape)) for x in inputs)}, as (batch, channels, *size)",
                remedy="give it the channels and sizes that it takes",
            ) from error
        tensors = tensors_of(result)
        if len(tensors) != self.outputs:
            raise GraphError(
                "The network returned another number of tensors.",
                got=len(tensors),
                expected=self.outputs,
                remedy=_DEEP if self.module.training else f"tv.Network(module, outputs={len(tensors)})",
            )
        made = tuple(_unsqueezed(t, dropped) for t in tensors)
        for tensor, grid in zip(made, self.grids(grids), strict=True):
            if tuple(tensor.shape[2:]) != grid.shape:
                raise GraphError(
                    "The network returned another size than it is known for.",
                    got=f"{tuple(tensor.shape)}, as (batch, channels, *size)",
                    expected=f"a size of {grid.shape}",
                    remedy=_DEEP if self.module.training else "declare lattice= as the network works",
                )
        return made


def _in_channels(module: nn.Module) -> Any:
    """Channels that a module takes, if it says so, or if its first layer does."""
    while isinstance(module, nn.Sequential) and len(module) and not hasattr(module, "in_channels"):
        module = module[0]
    return getattr(module, "in_channels", None)


def _squeezed(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        tensor = tensor.squeeze(2 + axis)
    return tensor


def _unsqueezed(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    if tensor.ndim == 2:  # a classifier's (B, C): one voxel that covers the whole input
        return tensor[:, :, None, None, None]
    for axis in sorted(axes):
        tensor = tensor.unsqueeze(2 + axis)
    return tensor
