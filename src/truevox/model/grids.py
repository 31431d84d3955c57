"""Grids of all nodes for one case, from headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Call, Node
from truevox.pipeline.kinds import FanIn, FanOut
from truevox.pipeline.run import Frame, Run
from truevox.pipeline.tiling import Tiling
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["grids_of"]


def grids_of(model: Model, case: Any, tiling: Tiling | None = None) -> dict[Call, Grid]:
    """Grid of every call for one case, from headers alone; inside a fan-out, that of the first tile."""
    run = Run(model.plan, networks=False, tiling=tiling)
    root = Frame([case], [Draw(0, 0)])
    frames: dict[Call, Frame] = {}
    found: dict[Call, Grid] = {}
    for call in model.plan.calls:
        axes = call.signatures[0].axes
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
    return found
