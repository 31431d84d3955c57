"""What a model refuses before any run: outputs that do not suit each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from truevox.errors import GraphError
from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Node, ancestors
from truevox.pipeline.kinds import FanIn, FanOut
from truevox.pipeline.plan import Plan
from truevox.pipeline.run import Frame, Run

__all__ = ["check_grids", "check_outputs", "check_training", "named_networks"]


def check_outputs(predictions: Mapping[str, Node]) -> None:
    """Refuse outputs that are not one image per case.

    Raises
    ------
    GraphError
    """
    for name, output in predictions.items():
        if output.signature.axes:
            raise GraphError(
                f"Output '{name}' is still fanned out.",
                got=repr(output),
                remedy="fold it: tv.Put(like=...)",
            )


def check_training(pairs: Sequence[tuple[Node, Node]]) -> None:
    """Refuse predictions and labels that a loss can't compare.

    Raises
    ------
    GraphError
    """
    for prediction, label in pairs:
        if prediction.signature.kind not in ("logits", "scalar"):
            raise GraphError(
                "The loss compares logits with a label.",
                got=repr(prediction),
                remedy="pass the network's output itself, without Sigmoid or Softmax",
            )
        if prediction.signature.axes or any(isinstance(c.op, FanIn) for c in ancestors([prediction])):
            raise GraphError(
                "Training runs on single patches: no fan-out in the train outputs.",
                remedy="end the train outputs before GridCrop, and cut patches by RandomCrop",
            )
        table, mine = label.signature.labels, prediction.signature.labels
        if table is not None and table.swap and (mine is None or mine.swap != table.swap):
            raise GraphError(
                "The label table has mirrored pairs (swap) that the network's output does not know.",
                remedy="tv.Network(module, labels=table) with the same table",
            )
        wanted, given = table.channels if table else None, prediction.signature.channels
        if wanted is not None and given is not None and wanted != given:
            raise GraphError(
                "The network's output does not fit the label table.",
                got=f"{given} channels",
                expected=f"{wanted} for {', '.join(table.names) if table else ''}",
                remedy="give the network as many output channels as this, or name other classes",
            )


def check_grids(plan: Plan, pairs: Sequence[tuple[Node, Node]], case: Any) -> None:
    """Compute all grids for one case, those of prediction too.

    Raises
    ------
    TrueVoxError
        What a run would.
    """
    run = Run(plan, networks=False)
    frame = Frame([case], [Draw(0, 0)])
    for prediction, label in pairs:
        run.values(prediction, frame)
        run.values(label, frame)
    for call in plan.calls:  # the first tile of every prediction
        if isinstance(call.op, FanOut) and len(call.signatures[0].axes) == 1:
            next(iter(run.elements(call, plan.sinks(call), frame, 0, [])))


def named_networks(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Networks by their draw keys, as torch allows them: without dots, and not as it calls its own things.

    Raises
    ------
    GraphError
        If a key can't be one, or two become one.
    """
    made = nn.ModuleDict()
    first: dict[str, str] = {}
    for name in modules:
        key = name.replace(".", "_")
        if key in first:
            raise GraphError(
                "Two networks have names that are one in a file, where a dot is an underscore.",
                got=f"{first[key]!r} and {name!r}",
                remedy="tv.Network(module, name=...) with another name",
            )
        if not key or hasattr(made, key):
            raise GraphError(
                "A network can't have this name: torch uses it.",
                got=repr(name),
                remedy="tv.Network(module, name=...) with another name",
            )
        first[key] = name
    for name, module in modules.items():
        made[name.replace(".", "_")] = module
    return made
