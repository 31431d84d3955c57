"""Transforms and the graph they build.

A transform is a small frozen dataclass. Called on :class:`~truevox.Image` s it acts at once; called on
:class:`Node` s it adds to a graph. One transform called on several inputs makes one draw for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image, Kind
from truevox.labels import Labels
from truevox.pipeline.lazy import Held, Lazy

__all__ = ["REGISTRY", "Call", "Node", "Signature", "Transform", "ancestors", "intensities", "node"]

Rng = np.random.Generator
T = TypeVar("T", bound="type[Transform]")
REGISTRY: dict[str, type[Transform]] = {}
"""Transforms that a saved graph may name."""


@dataclass_transform(frozen_default=True, eq_default=False)
def node(cls: T) -> T:
    """Class decorator: makes a frozen dataclass of a transform.

    Transforms of this package enter the registry, so that saved graphs may name them; those of users
    are handed to ``Model.load(folder, nodes=[...])``.
    """
    if _ours(cls):
        cls.__post_init__ = _checked(cls)  # type: ignore[attr-defined]
    made = dataclass(frozen=True, eq=False, repr=False)(cls)
    if _ours(cls):
        REGISTRY[cls.__name__] = made
    return made


def _checked(cls: type) -> Callable[[Any], None]:
    """The check of a transform's fields: that of its class, and what holds for all of them."""
    own = getattr(cls, "__post_init__", None)

    def check(self: Any) -> None:
        what = type(self).__name__
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.type == "bool" and not isinstance(value, (bool, np.bool_)):
                raise GraphError(
                    f"{what}: {f.name} is True or False.",
                    got=repr(value),
                    remedy=f"write {f.name}=True or {f.name}=False",
                )
        if not (self.name is None or (isinstance(self.name, str) and self.name)):
            raise GraphError(
                f"{what}: a name is a text.",
                got=repr(self.name),
                remedy="write name= in quotes, or leave it out",
            )
        try:
            if own is not None:
                own(self)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
            raise GraphError(
                f"{what} was given a parameter that it can't use: {error}.",
                got=", ".join(f"{name}={value!r}"[:60] for name, value in given.items() if name != "name"),
                remedy=f"see help({what}) for what its parameters are",
            ) from error

    return check


def _ours(cls: type) -> bool:
    return cls.__module__.startswith("truevox.")


@dataclass(frozen=True)
class Signature:
    """What is known of a node before any run."""

    kind: Kind = "scalar"
    channels: int | None = None
    axes: tuple[Call, ...] = ()
    labels: Labels | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a transform: its inputs in order, and its fields that are nodes."""

    op: Transform
    inputs: tuple[Node, ...]
    signatures: tuple[Signature, ...] = ()

    @property
    def edges(self) -> dict[str, Node]:
        """Fields of the transform that hold nodes."""
        return {
            f.name: v for f in dataclasses.fields(self.op) if isinstance(v := getattr(self.op, f.name), Node)
        }

    @property
    def parents(self) -> tuple[Node, ...]:
        """Everything this call reads."""
        return (*self.inputs, *self.edges.values())


@dataclass(frozen=True, eq=False)
class Node:
    """One output of a call: a picture that will exist for every case."""

    call: Call
    index: int = 0

    @property
    def signature(self) -> Signature:
        """Kind, channels, axes and labels."""
        return self.call.signatures[self.index]

    def __repr__(self) -> str:
        s = self.signature
        axes = f" per {'/'.join(type(a.op).__name__ for a in s.axes)}" if s.axes else ""
        return f"Node({type(self.call.op).__name__}, {s.kind}, {s.channels or '?'} channels{axes})"

    def __iter__(self) -> Iterator[Node]:
        raise TypeError(
            "A single node can't be unpacked: call the transform on several inputs to get several outputs."
        )


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """Base of all transforms. Subclass one of the kinds in :mod:`truevox.pipeline.kinds`."""

    name: str | None = field(default=None, kw_only=True)

    random = False
    """Whether it draws."""
    reads_case = False
    """Whether it needs no input, because it reads from the case."""
    looks_at: ClassVar[tuple[str, ...]] = ()
    """Fields that hold an image whose voxels are read, not its grid alone."""
    deforms = False
    """Whether it shows the world displaced, so that what is seen can't be put back."""
    handed: ClassVar[tuple[str, ...]] = ()
    """Fields that no file can hold, e.g. a function: whoever reads a saved graph hands the transform over."""
    version = 1
    """Raise it when the results change, so that caches are rebuilt."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        """Signatures of the outputs; the default passes the inputs' through.

        Raises
        ------
        GraphError
            If the inputs do not suit.
        """
        return tuple(inputs)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        """Deferred outputs from deferred inputs."""
        raise NotImplementedError

    def __call__(self, *inputs: Any, rng: Rng | None = None) -> Any:
        """Act on images at once, or add a call to the graph that the input nodes belong to.

        Parameters
        ----------
        *inputs : Image or Node
        rng : numpy.random.Generator, optional
            For acting at once; a fresh one otherwise.

        Returns
        -------
        Image, Node, or a tuple of them where there are several
        """
        if inputs and all(isinstance(i, Image) for i in inputs):
            outputs: tuple[Any, ...] = self._at_once(inputs, rng or np.random.default_rng())
        elif all(isinstance(i, Node) for i in inputs) and (inputs or self.reads_case):
            outputs = self._symbolic(inputs)
        else:
            raise GraphError(
                f"{type(self).__name__} takes images, or nodes of a graph, not a mixture.",
                got=[type(i).__name__ for i in inputs],
                remedy="pass images alone to compute now, or nodes alone to build a graph",
            )
        return outputs[0] if len(outputs) == 1 else outputs

    def _at_once(self, inputs: tuple[Image, ...], rng: Rng) -> tuple[Any, ...]:
        child = np.random.default_rng(rng.integers(2**63))
        return tuple(lazy.image() for lazy in self.run([Held(i) for i in inputs], self.image_edges(), child))

    def image_edges(self) -> dict[str, Lazy]:
        """Fields that hold images, for acting at once.

        Raises
        ------
        GraphError
            If a field holds a node of a graph.
        """
        edges: dict[str, Lazy] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Node):
                raise GraphError(
                    f"{type(self).__name__}.{f.name} is a node of a graph, but the inputs are images.",
                    remedy=f"pass an image as {f.name} to act at once",
                )
            if isinstance(value, Image):
                edges[f.name] = Held(value)
        return edges

    def _symbolic(self, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        call = Call(self, inputs)
        if images := [f.name for f in dataclasses.fields(self) if isinstance(getattr(self, f.name), Image)]:
            raise GraphError(
                f"{type(self).__name__}.{images[0]} is an image, but the inputs are nodes of a graph.",
                remedy=f"pass {images[0]}= as a node too, such as tv.Input of its column",
            )
        axes: tuple[Call, ...] = ()
        for parent in call.parents:
            mine = parent.signature.axes
            if mine[: len(axes)] != axes and axes[: len(mine)] != mine:
                raise GraphError(
                    f"{type(self).__name__} combines nodes that are fanned out differently.",
                    got=[repr(p) for p in call.parents],
                    remedy="fold each fan-out (Put, Mean) before combining them",
                )
            axes = max(axes, mine, key=len)
        made = self.signatures([i.signature for i in inputs])
        made = tuple(dataclasses.replace(s, axes=self.output_axes(axes, call)) for s in made)
        object.__setattr__(call, "signatures", made)
        return tuple(Node(call, k) for k in range(len(made)))

    def output_axes(self, axes: tuple[Call, ...], call: Call) -> tuple[Call, ...]:
        """Axes of the outputs, given those of the inputs: fan-outs add one, fan-ins remove one."""
        return axes

    def remarks(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy]) -> Sequence[str]:
        """What a user should be told about this case, counted over a run (e.g. a patch was padded)."""
        return ()

    def __repr__(self) -> str:
        fields = ((f, getattr(self, f.name)) for f in dataclasses.fields(self))
        given = ", ".join(f"{f.name}={v!r}" for f, v in fields if repr(v) != repr(f.default))
        return f"{type(self).__name__}({given})"

    def parameters(self) -> dict[str, Any]:
        """Fields that are not nodes: what a summary prints and a cache key depends on."""
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: value for name, value in fields if name != "name" and not isinstance(value, Node)}

    @property
    def ours(self) -> bool:
        """Whether its class is part of this library."""
        return _ours(type(self))


def intensities(op: Transform, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
    """What comes out of a transform that changes intensities: what goes in, of which none is a label.

    Raises
    ------
    GraphError
        If one is.
    """
    if any(s.kind == "label" for s in inputs):
        raise GraphError(
            f"{type(op).__name__} changes intensities and was given a label.",
            remedy="give it the image alone; MapLabels changes what the values of a label mean",
        )
    return tuple(inputs)


def ancestors(nodes: Iterable[Node]) -> list[Call]:
    """All calls that ``nodes`` depend on, inputs first, in a fixed order."""
    order: dict[Call, None] = {}

    def visit(call: Call) -> None:
        if call not in order:
            for parent in call.parents:
                visit(parent.call)
            order[call] = None

    for n in nodes:
        visit(n.call)
    return list(order)
