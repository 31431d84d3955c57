"""A model in words: nodes, grids, fields of view, parameters, memory."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from truevox.errors import TrueVoxError
from truevox.networks import Network
from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Call, Node, ancestors
from truevox.pipeline.kinds import FanIn, FanOut, Spatial
from truevox.pipeline.run import Frame, Run
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["memory", "summary"]


def summary(model: Model, case: Any | None, batch_size: int = 4) -> str:
    """The text of :meth:`truevox.Model.summary`."""
    grids = _grids(model, case) if case is not None else {}
    rows = [("node", "what", "kind", "channels", "grid")]
    for call in model.plan.calls:
        signature = call.signatures[0]
        axes = "".join(f" per tile of {model.plan.name(a)}" for a in signature.axes)
        where = grids[call].describe() if call in grids else _open(call)
        marks = "cached" if call in model.plan.ends else "random" if call.op.random else ""
        what = ", ".join(filter(None, [_settings(call), marks]))
        channels = "?" if signature.channels is None else str(signature.channels)
        rows.append((model.plan.name(call), what, signature.kind + axes, channels, where))
    lines = [_table(rows), ""]
    for op in dict.fromkeys(c.op for c in model.plan.calls if isinstance(c.op, Network)):
        lines += _network_lines(model, op, grids)
    lines += _stages(model)
    if case is not None:
        lines += _memory_lines(memory(model, case, batch_size), batch_size)
    return "\n".join(lines)


def _settings(call: Call) -> str:
    shown = []
    for name, value in call.op.parameters().items():
        if isinstance(value, nn.Module):
            shown.append(type(value).__name__)
        elif value is not None and name not in ("lattice", "kind", "labels"):
            shown.append(f"{name}={value}")
    edges = [f"{name}={type(n.call.op).__name__}" for name, n in call.edges.items()]
    return ", ".join(shown + edges)


def _open(call: Call) -> str:
    size = call.op.parameters().get("size")
    return f"{size} voxels" if size is not None else "per case"


def _grids(model: Model, case: Any) -> dict[Call, Grid]:
    """Grid of every call for one case, from headers alone; inside a fan-out, that of the first tile."""
    run = Run(model.plan, networks=False)
    root = Frame([case], [Draw(0, 0)])
    frames: dict[Call, Frame] = {}
    found: dict[Call, Grid] = {}
    for call in model.plan.calls:
        axes = call.signatures[0].axes
        try:
            if isinstance(call.op, FanIn):
                covered = call.op.covers({n: run.values(e, root)[0] for n, e in call.edges.items()})
                if covered is not None:
                    found[call] = covered
                continue
            if isinstance(call.op, FanOut):
                parent = frames.get(axes[-2], root) if len(axes) > 1 else root
                sinks = model.plan.sinks(call)
                covers = [
                    g for s in sinks if isinstance(s.op, FanIn)
                    if (g := s.op.covers({n: run.values(e, root)[0] for n, e in s.edges.items()})) is not None
                ]  # fmt: skip
                first = next(iter(run.elements(call, sinks, parent, 0, covers)))
                frames[call] = parent.child(0, call, model.plan.name(call), [(0, first)])
            frame = frames.get(axes[-1], root) if axes else root
            found[call] = run.values(Node(call), frame)[0].grid
        except TrueVoxError:
            if call.op.random or not axes:
                raise
    return found


def _network_lines(model: Model, op: Network, grids: dict[Call, Grid]) -> list[str]:
    fov = op.field_of_view()
    parameters = sum(p.numel() for p in op.module.parameters())
    call = [c for c in model.plan.calls if c.op is op][-1]  # in prediction, where there is one
    source = grids.get(call.inputs[0].call)
    size = "x".join("all" if s is None else str(s) for s in fov.size)
    in_mm = ""
    if source is not None:
        sizes = zip(fov.size, source.spacing, strict=False)
        in_mm = " = " + "x".join("all" if s is None else f"{s * mm:.0f}" for s, mm in sizes) + " mm"
    stride = "x".join(f"{float(s):g}" for s in fov.stride)
    notes = "".join(f"; {n}" for n in fov.notes)
    return [
        f"{model.plan.keys[op]}: {type(op.module).__name__}, {parameters:,} parameters, "
        f"field of view {size} voxels{in_mm}, stride {stride}{notes}"
    ]


def _stages(model: Model) -> list[str]:
    """Interpolations per stage: what the order of nodes costs."""
    lines = []
    for call in model.plan.calls:
        if isinstance(call.op, Spatial) and call.op.random:
            before = [
                c for c in ancestors([Node(call)]) if c is not call and c not in model.plan.deterministic
            ]
            if any(not isinstance(c.op, Spatial) for c in before):
                lines.append(
                    f"Note: {model.plan.name(call)} comes after an intensity node, which then acts on the "
                    "voxels as stored: put spatial nodes first where you can."
                )
    prefix = any(
        isinstance(c.op, Spatial) and getattr(c.op, "antialias", False)
        for c in model.plan.deterministic
    )  # fmt: skip
    lines.append(f"Interpolations: prefix {int(prefix)} at most, random chain 1 at most, Put 1 at most.")
    return lines


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)).rstrip() for r in rows)


# ---- memory ------------------------------------------------------------------------------------------------


def memory(model: Model, case: Any, batch_size: int = 4) -> dict[str, int]:
    """Bytes that predicting one case needs, estimated before the run from grids alone.

    Parameters
    ----------
    batch_size : int
        Patches that go through the network together.

    Returns
    -------
    dict
        ``inputs`` (the prefix, held once), ``accumulators`` ((channels + 1) float32 volumes of the
        reference per ``Put``, twice while an output returns to its storage order), ``activations`` (the
        most that is alive at once for one batch, without workspaces of the convolution library),
        ``total``.
    """
    grids = _grids(model, case)
    held = accumulators = activations = 0
    wanted = set(ancestors(model.predictions.values()))
    for call in model.plan.calls:
        if call not in wanted or call not in grids:
            continue
        voxels = int(torch.Size(grids[call].shape).numel())
        channels = call.signatures[0].channels or 1
        if call in model.plan.ends and call.signatures[0].kind != "value":
            held += 4 * channels * voxels
        if isinstance(call.op, FanIn):
            accumulators += 4 * voxels * (2 * channels + 1)
        if isinstance(call.op, Network):
            shape = grids[call.inputs[0].call].shape
            inputs = call.inputs[0].signature.channels or 1
            batch = batch_size if call.signatures[0].axes else 1
            activations = max(
                activations, batch * _peak_activation(call.op, inputs, grids[call.inputs[0].call])
            )
            held += 4 * batch * inputs * int(torch.Size(shape).numel())
    total = held + accumulators + activations
    return {"inputs": held, "accumulators": accumulators, "activations": activations, "total": total}


class _Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, by the shapes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor) and tensor._base is None:
                size = tensor.numel() * tensor.element_size()
                self.now += size
                weakref.finalize(tensor, self._free, size)
        self.peak = max(self.peak, self.now)
        return result

    def _free(self, size: int) -> None:
        self.now -= size


def _peak_activation(op: Network, channels: int, grid: Grid) -> int:
    """Bytes alive at once while one patch goes through, on the meta device: no memory, no time."""
    import copy

    module = copy.deepcopy(op.module).to("meta").eval()
    shape = [n for n in grid.shape if n > 1] if (op.ndim or 3) < 3 else list(grid.shape)
    shape += [1] * ((op.ndim or 3) - len(shape))
    counter = _Alive()
    with torch.no_grad(), counter:
        module(torch.empty(1, channels, *shape, device="meta"))
    return counter.peak


def _memory_lines(need: dict[str, int], batch_size: int) -> list[str]:
    parts = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in need.items() if name != "total")
    return [
        f"Memory of a prediction (batches of {batch_size}): about {need['total'] / 2**20:.0f} MiB ({parts})."
    ]
