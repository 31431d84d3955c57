"""A graph as plain data, and back. Loading builds registered transforms only and runs no code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from truevox.errors import GraphError
from truevox.labels import Labels
from truevox.pipeline.graph import REGISTRY, Call, Node, Transform, ancestors

__all__ = ["FORMAT", "dump", "load"]

FORMAT = 1
"""Version of the file format. A newer file than the library is refused."""


def dump(
    outputs: Sequence[Node], keys: Mapping[Transform, str], foreign: Callable[[Any], Any]
) -> dict[str, Any]:
    """The graph under ``outputs`` as JSON-able data.

    Parameters
    ----------
    keys : mapping of transform to str
        Draw keys, kept with the operations.
    foreign : callable
        Writes what is no plain data, e.g. networks; returns None for what it does not know.

    Raises
    ------
    GraphError
        If a transform holds a field that is no plain data.
    """
    calls = ancestors(outputs)
    place = {call: k for k, call in enumerate(calls)}
    ops: dict[Transform, int] = {}
    table: list[dict[str, Any]] = []

    def reference(node: Node) -> list[int]:
        return [place[node.call], node.index]

    def plain(value: Any, where: str) -> Any:
        if isinstance(value, Node):
            return {"$node": reference(value)}
        if isinstance(value, Labels):
            return {"$labels": value.to_dict()}
        if isinstance(value, (np.integer, np.floating)):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Transform):
            return {"$op": written(value)}
        if isinstance(value, (list, tuple)):
            return [plain(v, where) for v in value]
        if isinstance(value, Mapping):
            return {str(k): plain(v, where) for k, v in value.items()}
        other = foreign(value)
        if other is not None:
            return {"$foreign": other}
        raise GraphError(
            f"{where} can't be written as plain data.",
            got=type(value).__name__,
            remedy="give it as numbers, text, lists or mappings; a network belongs into tv.Network",
        )

    def written(op: Transform) -> dict[str, Any]:
        kind = type(op).__name__
        fields = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
        plain_fields = {
            n: {"$handed": type(v).__name__} if n in op.handed else plain(v, f"{kind}.{n}")
            for n, v in fields.items()
        }
        return {"class": kind, "ours": REGISTRY.get(kind) is type(op), "fields": plain_fields}

    rows = []
    for call in calls:
        if call.op not in ops:
            ops[call.op] = len(table)
            table.append({**written(call.op), "key": keys[call.op]})
        rows.append({"op": ops[call.op], "inputs": [reference(n) for n in call.inputs]})
    return {"format": FORMAT, "ops": table, "calls": rows, "outputs": [reference(n) for n in outputs]}


def load(
    data: Mapping[str, Any],
    foreign: Callable[[Any], Any],
    nodes: Sequence[type[Transform] | Transform] = (),
) -> tuple[list[Node], dict[Transform, str]]:
    """Outputs and draw keys of a written graph.

    Raises
    ------
    GraphError
        If the file is newer than the library, or names a transform that is not registered.
    """
    if int(data.get("format", 0)) > FORMAT:
        raise GraphError(
            "The model file is newer than this version of TrueVox.",
            got=f"format {data['format']}",
            expected=f"format {FORMAT} or older",
            remedy="pip install --upgrade truevox",
        )
    users = {n.__name__: n for n in nodes if isinstance(n, type)}
    given = {n.name: n for n in nodes if isinstance(n, Transform)}
    calls: list[Call] = []
    ops: dict[int, Transform] = {}
    keys: dict[Transform, str] = {}

    def value(written: Any) -> Any:
        if isinstance(written, Mapping):
            if "$node" in written:
                call, index = written["$node"]
                return Node(calls[call], index)
            if "$labels" in written:
                return Labels.from_dict(written["$labels"])
            if "$foreign" in written:
                return foreign(written["$foreign"])
            if "$op" in written:
                return built(written["$op"])
            return {k: value(v) for k, v in written.items()}
        return tuple(value(v) for v in written) if isinstance(written, list) else written

    def built(entry: Mapping[str, Any]) -> Transform:
        if _is_handed(entry):
            return _handed_over(entry, given)
        # A user's class may share its name with one of ours: the file says whose it is.
        known = REGISTRY if entry["ours"] else users
        if entry["class"] not in known:
            raise GraphError(
                f"The model uses a transform that is not part of TrueVox: {entry['class']}.",
                remedy=f"tv.Model.load(folder, nodes=[{entry['class']}])",
            )
        return known[entry["class"]](**{n: value(v) for n, v in entry["fields"].items()})

    for row in data["calls"]:
        if row["op"] not in ops:
            entry = data["ops"][row["op"]]
            op = built(entry)
            ops[row["op"]], keys[op] = op, entry["key"]
        op = ops[row["op"]]
        made = op(*(Node(calls[c], i) for c, i in row["inputs"]))
        calls.append((made if isinstance(made, Node) else made[0]).call)
    return [Node(calls[c], i) for c, i in data["outputs"]], keys


def _is_handed(entry: Mapping[str, Any]) -> bool:
    return any(isinstance(v, Mapping) and "$handed" in v for v in entry["fields"].values())


def _handed_over(entry: Mapping[str, Any], given: Mapping[str | None, Transform]) -> Transform:
    """The transform of this name that whoever loads the graph has made."""
    kind, key = entry["class"], entry.get("key") or entry["fields"]["name"]
    op = given.get(key)
    if type(op).__name__ == kind and op is not None:
        return op
    raise GraphError(
        f"The model uses what no file can hold: {kind} '{key}'.",
        got=None if op is None else type(op).__name__,
        remedy=f'tv.Model.load(folder, nodes=[{kind}(..., name="{key}")]), made as for the training',
    )
