"""What a prediction needs, known before it runs; and how to stay below a limit."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from truevox import kernels
from truevox.errors import SettingsError
from truevox.model.grids import grids_of
from truevox.networks import Network
from truevox.networks.copying import as_written, copied, weight_type
from truevox.networks.direct import few_channels
from truevox.networks.runner import tensors_of
from truevox.pipeline.graph import Call, ancestors
from truevox.pipeline.kinds import FanIn, Pointwise
from truevox.sampling import coincidence
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.model.model import Model
    from truevox.model.options import Options

__all__ = ["MemoryPlan", "as_bytes", "memory_plan", "peak_since", "resident", "start_peak"]

_UNITS = {
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
}
_SLACK = 1.2
"""A limit is held with this much room: the estimate is that good."""
_OVERHEAD = 32 * 2**20
"""What libraries take when first used, and what the allocator keeps back."""


@dataclass(frozen=True)
class MemoryPlan:
    """How a prediction will run, and what it needs beyond what the process holds already, in bytes.

    Attributes
    ----------
    batch_size : int
        Patches that go through the network together.
    on_disk : bool
        Whether whole volumes live in files.
    inputs : int
        The deterministic prefix at its largest: what was read and what is made of it.
    accumulators : int
        Whole volumes in memory: (channels + 1) of float32 per ``Put``, and one more per channel for each
        node after it.
    activations : int
        The most that is alive at once for one batch, with the copies that convolutions make.
    disk : int
        Whole volumes in files.
    overhead : int
        What libraries take when first used, and what the allocator keeps back.
    """

    batch_size: int
    on_disk: bool
    inputs: int
    accumulators: int
    activations: int
    disk: int = 0
    overhead: int = _OVERHEAD

    @property
    def total(self) -> int:
        """Memory, without what is on the disk."""
        return self.inputs + self.accumulators + self.activations + self.overhead

    def parts(self) -> dict[str, int]:
        """The parts and their total, for tables."""
        names = ("inputs", "accumulators", "activations", "overhead", "total")
        return {name: getattr(self, name) for name in names}


def as_bytes(size: int | float | str) -> int:
    """Bytes of a size such as ``"2GiB"``, ``"800 MB"`` or a number of bytes.

    Raises
    ------
    SettingsError
        If it is no positive size.

    Examples
    --------
    >>> as_bytes("2GiB"), as_bytes("1.5 kB"), as_bytes(4096)
    (2147483648, 1500, 4096)
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", str(size).lower())
    unit = _UNITS.get(found[2] or "b") if found else None
    if found is None or unit is None or float(found[1]) * unit < 1:
        raise SettingsError(
            "This is no size of memory.",
            got=size,
            expected="a number and a unit: 2GiB, 800MB",
            remedy="write a number above 0 and one of the units B, kB, MB, GB, KiB, MiB, GiB",
        )
    return int(float(found[1]) * unit)


def resident() -> int:
    """Bytes of memory that this process holds now; its peak where the system tells no more; 0 if nothing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        try:
            import resource
        except ImportError:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return pages * os.sysconf("SC_PAGE_SIZE")


def start_peak() -> int:
    """Let the peak of this process start again, where the system can; what it holds now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return resident()


def peak_since(held: int) -> float:
    """The peak above ``held`` since :func:`start_peak`, in bytes; NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return math.nan
    peak = next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), math.nan)
    return peak - held


def memory_plan(model: Model, case: Any, options: Options) -> MemoryPlan:
    """Plan the prediction of one case from its headers alone.

    Raises
    ------
    SettingsError
        If nothing fits the limit; says what the least would be.
    """
    grids = grids_of(model, case, options.tiling(headers_only=True))
    if _interpolates(model, grids):
        # Before what the process holds is measured: on a fresh installation they are compiled now.
        kernels.link()
    size = options.batch
    if options.max_memory is None:
        return _plan(model, grids, size, False)
    room = as_bytes(options.max_memory) - resident()
    # Whole volumes in memory with ever smaller batches, then in files.
    for on_disk in (False, True):
        for batch in sorted({max(size >> k, 1) for k in range(size.bit_length())}, reverse=True):
            plan = _plan(model, grids, batch, on_disk)
            if plan.total * _SLACK <= room:
                return plan
    least = int(plan.total * _SLACK) + resident()
    raise SettingsError(
        "The prediction does not fit into the memory that it may take.",
        case=str(getattr(case, "key", case)),
        got=f"{as_bytes(options.max_memory) / 2**20:.0f} MiB",
        expected=f"at least {least / 2**20:.0f} MiB, of which {resident() / 2**20:.0f} are in use already",
        remedy="allow more, or predict with smaller patches (another result: tv.GridCrop(size))",
    )


def _interpolates(model: Model, grids: dict[Call, Grid]) -> bool:
    """Whether voxels are read between voxels anywhere on the way to the predictions."""
    calls = [c for c in ancestors(model.predictions.values()) if c in grids and not isinstance(c.op, Network)]
    pairs = ((grids[n.call], grids[c]) for c in calls for n in c.inputs if n.call in grids)
    return any(coincidence(source, seen) is None for source, seen in pairs)


def _plan(model: Model, grids: dict[Call, Grid], batch_size: int, on_disk: bool) -> MemoryPlan:
    wanted = [c for c in model.plan.calls if c in grids and c in set(ancestors(model.predictions.values()))]
    ends = read = whole = activations = depth = 0
    plane = max(
        (int(torch.Size(grids[c].shape[1:]).numel()) for c in wanted if isinstance(c.op, FanIn)), default=0
    )
    for call in wanted:
        voxels = int(torch.Size(grids[call].shape).numel())
        channels = call.signatures[0].channels or 1
        if call in model.plan.deterministic and call.signatures[0].kind != "value":
            # What was read stays until the prefix is made; then only its ends do.
            ends += 4 * channels * voxels * (call in model.plan.ends)
            read += 4 * channels * voxels * (call not in model.plan.ends)
        if isinstance(call.op, FanIn):
            whole += 4 * voxels * (channels + 1)
        elif isinstance(call.op, Pointwise) and not call.signatures[0].axes and _after_fold(call):
            whole += 4 * voxels * channels
        if isinstance(call.op, Network):
            batch = batch_size if call.signatures[0].axes else 1
            depth = max(depth, grids[call].shape[0])
            activations = max(activations, _batch_memory(call, batch, [grids[n.call] for n in call.inputs]))
    # The prefix is at its largest before the network begins: either it, or all the rest.
    held = max(ends, ends + read - activations - (0 if on_disk else whole))
    if on_disk:
        # Of a file, what a tile's planes of one channel and of the weights take is resident.
        return MemoryPlan(batch_size, True, held, 2 * 4 * depth * plane, activations, whole)
    return MemoryPlan(batch_size, False, held, whole, activations)


def _after_fold(call: Call) -> bool:
    return any(isinstance(c.op, FanIn) for c in ancestors(call.inputs))


def _batch_memory(call: Call, batch: int, grids: Sequence[Grid]) -> int:
    """Bytes of one batch: patches, the most alive inside the network, its outputs and what follows them."""
    op = call.op
    if not isinstance(op, Network):
        return 0
    voxels = [batch * int(torch.Size(grid.shape).numel()) for grid in grids]
    channels = [n.signature.channels or 1 for n in call.inputs]
    inside, outputs = _peak_activation(op, batch, channels, grids)
    # After the network: its output, a copy of it as probabilities, and weights of one patch.
    after = 2 * outputs + 3 * 4 * voxels[op.defines] // batch
    return 4 * sum(c * v for c, v in zip(channels, voxels, strict=True)) + max(inside, after)


class _Alive(TorchDispatchMode):
    """Counts the bytes of storages that are alive, by the shapes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._users: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else (result,)
        for tensor in made:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                self.now += size * (key not in self._users)
                self._users[key] = self._users.get(key, 0) + 1
                weakref.finalize(tensor, self._free, key, size)
        working = 0
        if func is torch.ops.aten.convolution.default:
            x, out = args[0], made[0]
            thin = few_channels(x.shape[1], out.shape[1])
            working = 4 * (x.numel() + out.numel()) if thin else _blocked(x) + _blocked(out)
        self.peak = max(self.peak, self.now + working)
        return result

    def _free(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self.now -= size


def _blocked(tensor: Tensor) -> int:
    """Bytes of a copy in blocks of sixteen channels, as convolutions on the CPU make it."""
    channels = tensor.shape[1]
    return 4 * tensor.numel() // channels * (-(-channels // 16) * 16)


def _peak_activation(
    op: Network, batch: int, channels: Sequence[int], grids: Sequence[Grid]
) -> tuple[int, int]:
    """Bytes alive at once inside a network, and of its outputs, on the meta device: no memory, no time."""
    module, dtype = copied(op.module, values=False), weight_type(op.module)
    kept = op.kept_axes(grids[op.defines])
    shapes = [[grid.shape[axis] for axis in kept] for grid in grids]
    counter = _Alive()
    with torch.no_grad(), as_written():
        given = [
            torch.empty(batch, c, *s, device="meta", dtype=dtype)
            for c, s in zip(channels, shapes, strict=True)
        ]
        with counter:
            outputs = tensors_of(module(*given))
    return counter.peak, sum(4 * t.numel() for t in outputs)
