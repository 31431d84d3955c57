"""A model in words: nodes, grids, fields of view, parameters, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from truevox.model.grids import grids_of
from truevox.model.memory import MemoryPlan, memory_plan
from truevox.networks import Network
from truevox.pipeline.graph import Call, Node, ancestors
from truevox.pipeline.kinds import Spatial
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.model.model import Model
    from truevox.model.options import Options

__all__ = ["summary"]


def summary(model: Model, case: Any | None, options: Options) -> str:
    """The text of :meth:`truevox.Model.summary`."""
    grids = grids_of(model, case) if case is not None else {}
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
        lines.append(_memory_line(memory_plan(model, case, options)))
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


def _network_lines(model: Model, op: Network, grids: dict[Call, Grid]) -> list[str]:
    parameters = sum(p.numel() for p in op.module.parameters())
    call = [c for c in model.plan.calls if c.op is op][-1]  # in prediction, where there is one
    source = grids.get(call.inputs[0].call)
    if op.lattice is not None:
        stride = "x".join(f"{float(s):g}" for s in op.maps()[0].stride)
        name, kind = model.plan.keys[op], type(op.module).__name__
        return [f"{name}: {kind}, {parameters:,} parameters, stride {stride} (declared)"]
    fov = op.field_of_view()
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
    # Looks are one interpolation however many they are; a second displacement is a second one.
    most = max(1, *(sum(c.op.deforms for c in ancestors([Node(call)])) for call in model.plan.calls))
    lines.append(f"Interpolations: prefix {int(prefix)} at most, random chain {most} at most, Put 1 at most.")
    return lines


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)).rstrip() for r in rows)


def _memory_line(plan: MemoryPlan) -> str:
    parts = plan.parts()
    total = parts.pop("total")
    text = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in parts.items())
    disk = f", and {plan.disk / 2**30:.1f} GiB on the disk" * plan.on_disk
    about = f"about {total / 2**20:.0f} MiB ({text}){disk}"
    return f"Memory of a prediction (batches of {plan.batch_size}): {about}."
