"""Execution of a graph: frames of elements, networks in batches, fan-ins as streaming folds.

A :class:`Frame` is a list of elements that are evaluated side by side: the samples of a training
batch, or one case, or a batch of its patches (a frame whose parent is the case's frame). A value that
does not depend on the innermost axis lives in the parent's frame and is shared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from truevox.errors import GraphError, TrueVoxError
from truevox.image import Image
from truevox.pipeline.cache import Cache, Recent
from truevox.pipeline.draws import Draw
from truevox.pipeline.ends import Materialised
from truevox.pipeline.graph import Call, Node
from truevox.pipeline.kinds import Batched, FanIn, FanOut, Source
from truevox.pipeline.lazy import Awaited, Held, Lazy
from truevox.pipeline.plan import Plan
from truevox.pipeline.tiling import Tiling
from truevox.pipeline.volumes import Volumes
from truevox.pipeline.watch import Watch
from truevox.space import Grid

__all__ = ["KEPT_PLACES", "Frame", "NodeError", "Run", "case_name", "stacked"]

Outputs = tuple[Lazy, ...]
KEPT_PLACES = 8192
"""Ends of the prefix that a process keeps from run to run: their headers, not their voxels; 3 KB each."""


class NodeError(TrueVoxError):
    """A node failed: names the case, the node and the grids of its inputs; the cause follows."""


@dataclass(eq=False)
class Frame:
    """Elements that are evaluated side by side."""

    cases: list[Any]
    draws: list[Draw]
    parent: Frame | None = None
    axis: Call | None = None
    items: list[Outputs] = field(default_factory=list)
    memo: dict[Call, list[Outputs]] = field(default_factory=dict)

    def child(self, position: int, axis: Call, name: str, items: Sequence[tuple[int, Outputs]]) -> Frame:
        """Some elements of a fan-out of one element of this frame."""
        draws = [self.draws[position].at(name, k) for k, _ in items]
        single = self if len(self.cases) == 1 else self.only(position)
        return Frame([self.cases[position]] * len(items), draws, single, axis, [i for _, i in items])

    def only(self, position: int) -> Frame:
        """A frame of one of the elements, with what is known of it."""
        memo = {call: [values[position]] for call, values in self.memo.items()}
        items = self.items[position : position + 1]
        return Frame([self.cases[position]], [self.draws[position]], self.parent, self.axis, items, memo)


class Run:
    """Evaluates nodes of a plan; ``remarks`` counts what a user should be told.

    Parameters
    ----------
    plan : Plan
    cache : Cache, optional
        For the deterministic prefix; nothing is cached if left out.
    batch_size : int
        Elements of a fan-out that go through a network together.
    networks : bool
        If False, networks do not run: their outputs' grids are known, their voxels are not.
    prefix : Recent, optional
        Kept by the caller from run to run: ends of the prefix that are in the cache, so that headers and
        file times are read once per process and case.
    volumes : Volumes, optional
        Makes the whole volumes of fan-ins; in memory if left out.
    tiling : Tiling, optional
        How the run departs from the graph's own tiles.
    watch : Watch, optional
        Told which node is at work.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        cache: Cache | None = None,
        batch_size: int = 1,
        networks: bool = True,
        prefix: Recent[tuple[Call, str], Outputs] | None = None,
        volumes: Volumes | None = None,
        tiling: Tiling | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.plan, self.cache, self.batch_size, self.networks = plan, cache, batch_size, networks
        self.volumes, self.tiling = volumes or Volumes(), tiling or Tiling()
        self.watch = watch or Watch(())
        self.prefix = prefix if prefix is not None else Recent(KEPT_PLACES)
        self.remarks: Counter[str] = Counter()

    def values(self, node: Node, frame: Frame) -> list[Lazy]:
        """One deferred image per element of the frame."""
        return [outputs[node.index] for outputs in self._outputs(node.call, frame)]

    def _outputs(self, call: Call, frame: Frame) -> list[Outputs]:
        axes = call.signatures[0].axes
        if frame.axis is not None and frame.axis not in axes:
            if frame.parent is None:
                raise GraphError("A frame of a fan-out has lost its parent.")
            return self._outputs(call, frame.parent) * len(frame.cases)
        if call not in frame.memo:
            frame.memo[call] = self._compute(call, frame)
        return frame.memo[call]

    def _compute(self, call: Call, frame: Frame) -> list[Outputs]:
        op = call.op
        if isinstance(op, FanOut) and frame.axis is call:
            return frame.items
        if isinstance(op, FanIn):
            return self._fold(call, frame)
        places = [(call, str(case_name(case))) for case in frame.cases]
        if all(place in self.prefix for place in places):
            return [self.prefix[place] for place in places]
        if isinstance(op, Batched):
            return self._batched(call, [self.values(n, frame) for n in call.inputs], frame)
        made = []
        for k, (mine, outputs) in enumerate(self._evaluated(call, frame)):
            case = frame.cases[k]
            if call in self.plan.ends:
                outputs = tuple(self._materialised(call, j, o, case) for j, o in enumerate(outputs))
            guarded = tuple(_Guarded.around(o, self, call, case, mine) for o in outputs)
            made.append(guarded)
            if all(isinstance(o, Materialised) and o.cached for o in outputs):
                self.prefix[places[k]] = guarded
        return made

    def _evaluated(self, call: Call, frame: Frame) -> Iterator[tuple[list[Lazy], Outputs]]:
        """Inputs and outputs of a transform, for every element."""
        op = call.op
        inputs = [self.values(n, frame) for n in call.inputs]
        edges = {name: self.values(n, frame) for name, n in call.edges.items()}
        for k, case in enumerate(frame.cases):
            mine = [i[k] for i in inputs]
            before = self.watch.enter(call)
            try:
                if isinstance(op, Source):
                    outputs = op.read(case)
                else:
                    rng = frame.draws[k].rng(self.plan.name(call))
                    beside = {name: e[k] for name, e in edges.items()}
                    outputs = op.run(mine, beside, rng)
                    self.remarks.update(f"{self.plan.name(call)}: {r}" for r in op.remarks(mine, beside))
            except Exception as error:
                raise self._failure(error, call, case, [i.grid for i in mine]) from error
            self.watch.leave(before)
            yield mine, outputs

    def _materialised(self, call: Call, index: int, lazy: Lazy, case: Any) -> Lazy:
        """The end of the deterministic prefix: voxels are made once, when first pulled."""
        plan, cache = self.plan, self.cache
        # Before the key: what changes in between must count as changed.
        before = None if cache is None else plan.source_stamps(call, case)
        key = None if cache is None else plan.cache_key(call, index, case, cache.verify)
        most_bytes = None if key is None else plan.source_bytes(call, case)

        def again() -> Lazy:
            frame = Frame([case], [Draw(0, 0)])
            _, outputs = next(Run(plan, cache=cache)._evaluated(call, frame))
            return outputs[index]

        def valid() -> bool:
            return plan.source_stamps(call, case) == before

        return Materialised(lazy, cache, key, again, most_bytes, valid)

    def _batched(self, call: Call, inputs: list[list[Lazy]], frame: Frame) -> list[Outputs]:
        op = call.op
        if not isinstance(op, Batched):
            raise GraphError("Only networks run on batches.")
        grids = [[lazy.grid for lazy in of_one] for of_one in zip(*inputs, strict=True)]
        try:
            outgrids = [op.grids(g) for g in grids]
            if not self.networks:
                return [
                    tuple(Awaited(g, s.kind, s.labels) for g, s in zip(out, call.signatures, strict=True))
                    for out in outgrids
                ]
            tensors = [_full(t) for t in op.forward([stacked(i) for i in inputs], grids[0])]
        except Exception as error:
            raise self._failure(error, call, frame.cases[0], grids[0]) from error
        made = []
        for k, out in enumerate(outgrids):
            outputs = []
            for tensor, grid, signature in zip(tensors, out, call.signatures, strict=True):
                image = Image(tensor[k], grid, signature.kind, 0.0, signature.labels)
                held = Held(image)
                held.batch = (tensor, k)
                outputs.append(held)
            made.append(tuple(outputs))
        return made

    # ---- fan-out and fan-in --------------------------------------------------------------------------

    def _fold(self, call: Call, frame: Frame) -> list[Outputs]:
        """Fold an axis for every element; fan-ins over the same axis share one pass."""
        axis = call.inputs[0].signature.axes[-1]
        together = self.plan.sinks(axis)
        wanted = [c for c in together if c not in frame.memo] if call in together else [call]
        results: dict[Call, list[Outputs]] = {c: [] for c in wanted}
        for position in range(len(frame.cases)):
            for sink, image in zip(wanted, self._stream(axis, wanted, frame, position), strict=True):
                results[sink].append((image,))
        frame.memo.update(results)
        return results[call]

    def _stream(self, axis: Call, sinks: list[Call], frame: Frame, position: int) -> list[Lazy]:
        folds: list[tuple[FanIn, Call, dict[str, Lazy], Any]] = []
        covers = []
        extent = self.values(axis.inputs[0], frame)[position].extent
        for sink in sinks:
            op = sink.op
            if not isinstance(op, FanIn):
                continue
            edges = {name: self.values(n, frame)[position] for name, n in sink.edges.items()}
            op = self.tiling.fan_in(op, sink)
            folds.append((op, sink, edges, op.begin(edges, self.volumes, extent)))
            covers += [g for g in [op.covers(edges)] if g is not None]
        name = self.plan.name(axis)
        self._forget_sources(axis, frame, position)
        for chunk in _chunks(enumerate(self.elements(axis, sinks, frame, position, covers)), self.batch_size):
            child = frame.child(position, axis, name, chunk)
            for op, sink, _, state in folds:
                for lazy in self.values(sink.inputs[0], child):
                    try:
                        op.step(state, lazy.image())
                    except Exception as error:
                        raise self._failure(error, sink, frame.cases[position], [lazy.grid]) from error
                    del lazy
            del child, chunk  # nothing of a batch stays while the next one is computed
        results = []
        for op, sink, edges, state in folds:
            try:
                held = Held(op.end(state))
            except Exception as error:
                about = [e.grid for e in edges.values()]
                raise self._failure(error, sink, frame.cases[position], about) from error
            held.stored = next((e.stored for e in edges.values() if e.stored is not None), None)
            results.append(held)
        return results

    def elements(
        self, axis: Call, sinks: list[Call], frame: Frame, position: int, covers: list[Grid]
    ) -> Iterable[Outputs]:
        """The elements of a fan-out, for one element of a frame, that cover ``covers`` at its folds."""
        op = axis.op
        if not isinstance(op, FanOut):
            raise GraphError(f"{self.plan.name(axis)} is no fan-out.")
        inputs = [self.values(n, frame)[position] for n in axis.inputs]

        def reach(grid: Grid) -> Grid:
            """Where an element on ``grid`` arrives at the fold, by grids alone."""
            planning = Run(self.plan, networks=False)
            item = tuple(Awaited(grid, i.kind, i.labels) for i in inputs)
            # A copy of the frame: what planning leaves open must not be taken for known.
            child = frame.only(position).child(0, axis, self.plan.name(axis), [(0, item)])
            return planning.values(sinks[0].inputs[0], child)[0].grid

        op, covers = self.tiling.fan_out(op, inputs, reach, covers)
        self.remarks.update(f"{self.plan.name(axis)}: {r}" for r in op.remarks(inputs, {}))
        return op.expand(inputs, reach, covers)

    def _forget_sources(self, axis: Call, frame: Frame | None, position: int) -> None:
        """Make the end of the prefix, and drop what it was made of before a network needs the memory."""
        if frame is not None and self.cache is None and self.networks:
            for n in axis.inputs:
                if n.call in self.plan.ends:
                    self.values(n, frame)[position].image()
        while frame is not None:
            for call in self.plan.deterministic & frame.memo.keys():
                for lazy in (lazy for outputs in frame.memo[call] for lazy in outputs):
                    lazy.forget()
            frame = frame.parent

    # ---- failures ------------------------------------------------------------------------------------

    def _failure(self, error: Exception, call: Call, case: Any, grids: Sequence[Grid]) -> TrueVoxError:
        """The error with its place: case, node, grids of the inputs."""
        name = case_name(case)
        node = f"{self.plan.name(call)}, inputs {'; '.join(g.describe() for g in grids) or 'none'}"
        if isinstance(error, TrueVoxError):
            error.case, error.node = error.case or name, error.node or node
            return error
        message = f"{type(error).__name__} in a node of the pipeline: {error}"
        return NodeError(
            message,
            case=name,
            node=node,
            remedy="correct the node, or what it is given; the traceback (--debug) names the line",
        )


class _Guarded(Lazy):
    """Voxels whose making names the case and the node if it fails."""

    @staticmethod
    def around(lazy: Lazy, run: Run, call: Call, case: Any, inputs: Sequence[Lazy]) -> Lazy:
        made = _Guarded()
        made.grid, made.extent, made.kind = lazy.grid, lazy.extent, lazy.kind
        made.labels, made.stored, made.averages = lazy.labels, lazy.stored, lazy.averages
        # The grids alone: the inputs' voxels must not live as long as a prefix that is kept.
        grids = [i.grid for i in inputs]
        made._lazy, made._explain = lazy, lambda error: run._failure(error, call, case, grids)
        made._watch, made._call = run.watch, call
        return made

    _lazy: Lazy
    _explain: Any
    _watch: Watch
    _call: Call

    def image(self) -> Image:
        return self._guard(self._lazy.image)

    def pull(self, grid: Grid, antialias: bool = False) -> Image:
        return self._guard(lambda: self._lazy.pull(grid, antialias))

    def seen(self, grid: Grid, antialias: bool = False) -> Image:
        return self._guard(lambda: self._lazy.seen(grid, antialias))

    def forget(self) -> None:
        self._lazy.forget()

    def _guard(self, make: Callable[[], Image]) -> Image:
        before = self._watch.enter(self._call)
        try:
            return make()
        except Exception as error:
            if isinstance(error, TrueVoxError) and error.node is not None:
                raise
            raise self._explain(error) from error
        finally:
            self._watch.leave(before)


def case_name(case: Any) -> str:
    """How messages name a case."""
    return str(getattr(case, "key", case))


def stacked(lazies: Sequence[Lazy]) -> Tensor:
    """Voxels of several elements as one tensor (B, C, I, J, K); no copy if they already are one.

    Raises
    ------
    GraphError
        If shapes or channels differ.
    """
    first = lazies[0]
    if isinstance(first, Held) and first.batch is not None:
        whole = first.batch[0]
        if len(whole) == len(lazies) and all(
            isinstance(v, Held) and v.batch is not None and v.batch[0] is whole and v.batch[1] == k
            for k, v in enumerate(lazies)
        ):
            return whole
    images = [v.image().data for v in lazies]
    if len({tuple(i.shape) for i in images}) > 1:
        raise GraphError(
            "A batch holds images of different sizes.",
            got=sorted({tuple(i.shape) for i in images}),
            remedy="crop to one size before the network, or use batch size 1",
        )
    return torch.stack(images)


def _full(tensor: Tensor) -> Tensor:
    """What comes after a network in prediction is float32, whatever the network computed in."""
    return tensor if tensor.requires_grad or tensor.dtype == torch.float64 else tensor.float()


def _chunks(items: Iterable[tuple[int, Outputs]], size: int) -> Iterator[list[tuple[int, Outputs]]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
