"""What is known of a graph before it runs: names, what is deterministic, what to cache, what workers do."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from truevox.errors import GraphError
from truevox.pipeline.cache import file_identity, file_stamps, files_of
from truevox.pipeline.graph import Call, Node, Transform, ancestors
from truevox.pipeline.identity import Code, identity, library
from truevox.pipeline.kinds import Batched, FanIn, FanOut, Source

__all__ = ["Plan"]


class Plan:
    """Static analysis of a graph.

    Parameters
    ----------
    outputs : sequence of Node
        Train outputs first, then the predict outputs in sorted order of name: this order fixes the
        draw keys (``name`` or ``Class.k``).
    keys : mapping of transform to str, optional
        Draw keys read from a model file, kept instead of counted.

    Attributes
    ----------
    calls : list of Call
        Inputs before what reads them.
    deterministic, ends : set of Call
        Calls without a random, fan-out or network ancestor; those at the end of such a prefix, where
        voxels are materialised (and cached, where a run has a cache).
    before_network : set of Call
        What a worker process may run.
    """

    def __init__(self, outputs: Sequence[Node], keys: Mapping[Transform, str] | None = None) -> None:
        self.outputs = tuple(outputs)
        self.calls = ancestors(outputs)
        self.keys = dict(keys) if keys else _count_names(self.calls)
        self.deterministic: set[Call] = set()
        self.before_network: set[Call] = set()
        for call in self.calls:
            parents = [p.call for p in call.parents]
            breaks = call.op.random or isinstance(call.op, (FanOut, FanIn, Batched))
            if not breaks and all(p in self.deterministic for p in parents):
                self.deterministic.add(call)
            if not isinstance(call.op, (Batched, FanIn)) and all(p in self.before_network for p in parents):
                self.before_network.add(call)
        ends = {o.call for o in outputs} & self.deterministic
        for call in self.calls:
            # A field that holds an image is read for its grid alone, unless it is a table of values.
            read = [n for n in call.edges.values() if n.signature.kind == "value"]
            if call not in self.deterministic:
                read += [*call.inputs, *(n for name, n in call.edges.items() if name in call.op.looks_at)]
            ends |= {n.call for n in read if n.call in self.deterministic}
        self.ends = ends
        self._uncacheable: set[str] = set()
        self._identities: dict[Transform, tuple[object, ...] | None] = {}

    def name(self, call: Call) -> str:
        """The draw key of a call's transform, which also names it in messages."""
        return self.keys[call.op]

    def sinks(self, axis: Call) -> list[Call]:
        """Fan-ins that fold one fan-out, and none of which waits for another of them."""
        folding = [
            c for c in self.calls if isinstance(c.op, FanIn) and c.inputs[0].signature.axes[-1] is axis
        ]
        waiting = [c for c in folding if any(f in ancestors(c.parents) for f in folding)]
        return [c for c in folding if c not in waiting]

    def worker_nodes(self, outputs: Iterable[Node]) -> list[Node]:
        """Nodes whose voxels a worker sends: read by a network, or by what follows one."""
        needed: dict[tuple[Call, int], Node] = {}
        for call in ancestors(outputs):
            if call not in self.before_network:
                for parent in call.parents:
                    if parent.call in self.before_network:
                        needed[parent.call, parent.index] = parent
        return list(needed.values())

    def cache_key(self, call: Call, index: int, case: Any, verify: bool = False) -> str | None:
        """Key of one output of a deterministic call for one case; None if it can't be identified."""
        parts: list[object] = [library(), index]
        line = ancestors([Node(call, index)])
        for ancestor in line:
            op = ancestor.op
            if op not in self._identities:
                self._identities[op] = self._identity(op)
            if (known := self._identities[op]) is None:
                return None
            wired = [(line.index(p.call), p.index) for p in ancestor.parents]
            parts.append((*known, wired))
            if isinstance(op, Source):
                paths = [case.path(column) for column in op.columns()] if hasattr(case, "path") else [None]
                for path in paths:
                    if path is None:
                        return None
                    parts.append(file_identity(path, verify))
        return repr(parts)

    def source_bytes(self, call: Call, case: Any) -> int | None:
        """Size on disk of the files that a deterministic call is made of; None if there are none."""
        files = {file for path in self._sources(call, case) for file in files_of(path)}
        return sum(file.stat().st_size for file in files) or None

    def source_stamps(self, call: Call, case: Any) -> list[list[object]] | None:
        """Sizes, times and inodes of these files; None if one of them is gone."""
        try:
            return [file_stamps(path) for path in self._sources(call, case)]
        except OSError:
            return None

    def _sources(self, call: Call, case: Any) -> list[Path]:
        sources = [c.op for c in ancestors([Node(call)]) if isinstance(c.op, Source)]
        paths = [case.path(column) for op in sources for column in op.columns()]
        return [path for path in paths if path is not None]

    def _identity(self, op: Transform) -> tuple[object, ...] | None:
        """Class, code and parameters of a transform; None, with one warning, where that can't be told."""
        name, parameters = type(op).__name__, identity(op.parameters())
        code = None if op.ours else Code(type(op))
        unknown = "its parameters" if parameters is None else code.unknown if code is not None else None
        if unknown is None:
            return name, op.version, None if code is None else code.text, parameters
        if name not in self._uncacheable:
            self._uncacheable.add(name)
            warnings.warn(
                f"{name} is not cached, because {unknown} can't be read to tell when it changes.",
                stacklevel=2,
            )
        return None


def _count_names(calls: Iterable[Call]) -> dict[Transform, str]:
    counts: Counter[str] = Counter()
    names: dict[Transform, str] = {}
    for call in calls:
        op = call.op
        if op not in names:
            kind = type(op).__name__
            counts[kind] += 1
            names[op] = op.name or f"{kind}.{counts[kind]}"
    if twice := [name for name, times in Counter(names.values()).items() if times > 1]:
        raise GraphError(
            "Two nodes have the same name, so their draws and weights could not be told apart.",
            got=", ".join(twice),
            remedy="give each its own name=",
        )
    return names
