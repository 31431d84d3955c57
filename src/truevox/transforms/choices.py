"""Which transforms to apply, left to chance: one of several, some of them, or one now and then."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, Signature, Transform, node
from truevox.pipeline.kinds import Batched, FanIn, FanOut, Source
from truevox.pipeline.lazy import Lazy
from truevox.transforms.ranges import check_probability, shares

__all__ = ["OneOf", "SomeOf", "WithProbability"]


class _Choice(Transform):
    """Transforms of which a sample meets only some. All inputs meet the same."""

    random = True

    def picked(self, rng: Rng) -> Sequence[Transform]:
        """The transforms of one sample, in order."""
        raise NotImplementedError

    def endings(self, inputs: tuple[Signature, ...]) -> list[tuple[Signature, ...]]:
        """What may come out, for each outcome of the draw."""
        raise NotImplementedError

    @property
    def all_parts(self) -> tuple[Transform, ...]:
        """Every transform that may be picked."""
        raise NotImplementedError

    @property
    def deforms(self) -> bool:  # type: ignore[override]
        """Whether one of the transforms shows the world displaced."""
        return any(part.deforms for part in self.all_parts)

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        ends = self.endings(tuple(inputs))
        if any(end != ends[0] for end in ends):
            raise GraphError(
                f"{type(self).__name__}: what comes out must be of one kind, whatever is drawn.",
                got=[[(s.kind, s.channels) for s in end] for end in ends],
                remedy="end every part in the same kind and number of channels",
            )
        return ends[0]

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        self.signatures([Signature(i.kind, labels=i.labels) for i in inputs])
        made = tuple(inputs)
        for part in self.picked(rng):
            # Of its own, because a transform may make its draws later, when voxels are pulled.
            own = np.random.Generator(np.random.Philox(key=int(rng.integers(2**63))))
            made = part.run(made, {}, own)
        return made


def _checked(parts: Sequence[Transform], what: str) -> tuple[Transform, ...]:
    parts = tuple(parts)
    for part in parts:
        if not isinstance(part, Transform) or isinstance(part, (Source, FanOut, FanIn, Batched)):
            raise GraphError(
                f"{what} picks transforms that make images of images.",
                got=type(part).__name__,
                remedy="put Input, GridCrop, Put and networks before or behind it in the graph",
            )
        fields = [getattr(part, f.name) for f in dataclasses.fields(part)]
        if any(isinstance(value, (Node, Image)) for value in fields):
            raise GraphError(
                f"{what} picks transforms that need nothing but their inputs.",
                got=type(part).__name__,
                remedy="give the part plain settings, or apply it in the graph without a choice",
            )
    if not parts:
        raise GraphError(
            f"{what} picks from at least one transform.", remedy="list at least one, such as [Flip(0)]"
        )
    return parts


@node
class OneOf(_Choice):
    """One of several transforms.

    Parameters
    ----------
    parts : sequence of transforms
    weights : sequence of float, optional
        How often each is picked, relative to the others; equally often if left out.

    Raises
    ------
    GraphError
        If a part reads more than its inputs, makes many of one or the reverse, or leaves another kind of
        image than the others do.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid
    >>> from truevox.transforms import Affine, Flip
    >>> x = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3,)))
    >>> OneOf([Flip(0), Affine()], weights=[1, 0])(x).data.flatten().tolist()
    [2.0, 1.0, 0.0]
    """

    parts: Sequence[Transform]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _checked(self.parts, "OneOf"))
        shares(self.weights, len(self.parts), "OneOf", "transform")

    @property
    def all_parts(self) -> tuple[Transform, ...]:
        return tuple(self.parts)

    def endings(self, inputs: tuple[Signature, ...]) -> list[tuple[Signature, ...]]:
        return [part.signatures(inputs) for part in self.parts]

    def picked(self, rng: Rng) -> Sequence[Transform]:
        return [
            self.parts[
                rng.choice(len(self.parts), p=shares(self.weights, len(self.parts), "OneOf", "transform"))
            ]
        ]


@node
class SomeOf(_Choice):
    """Some of several transforms, each at most once, in the order given.

    Parameters
    ----------
    parts : sequence of transforms
    count : int or (low, high)
        How many: a whole number, or one of those from low to high, equally often. With as many as there
        are parts, it is a chain.
    weights : sequence of float, optional
        How readily each is picked, relative to the others.

    Raises
    ------
    GraphError
        As :class:`OneOf`; and if a part leaves another kind of image than it was given.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid
    >>> from truevox.transforms import Clip, Flip
    >>> x = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3,)))
    >>> SomeOf([Flip(0), Clip(0, 1)], count=2)(x).data.flatten().tolist()
    [1.0, 1.0, 0.0]
    """

    parts: Sequence[Transform]
    count: int | Sequence[int] = 1
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _checked(self.parts, "SomeOf"))
        weights = shares(self.weights, len(self.parts), "SomeOf", "transform")
        low, high = self._range()
        if not 0 <= low <= high <= np.count_nonzero(weights) or np.asarray(self.count).dtype.kind not in "iu":
            raise GraphError(
                "SomeOf: count is a whole number of the parts that have a weight, or a range (low, high).",
                got=self.count,
                remedy="write count=1, or count=(0, 2)",
            )

    def _range(self) -> tuple[int, int]:
        given = np.broadcast_to(np.atleast_1d(np.asarray(self.count)), 2)
        return int(given[0]), int(given[1])

    @property
    def all_parts(self) -> tuple[Transform, ...]:
        return tuple(self.parts)

    def endings(self, inputs: tuple[Signature, ...]) -> list[tuple[Signature, ...]]:
        return [inputs, *(part.signatures(inputs) for part in self.parts)]

    def picked(self, rng: Rng) -> Sequence[Transform]:
        low, high = self._range()
        weights = shares(self.weights, len(self.parts), "SomeOf", "transform")
        count = rng.integers(low, high + 1)
        return [self.parts[k] for k in sorted(rng.choice(len(self.parts), count, replace=False, p=weights))]


@node
class WithProbability(_Choice):
    """A transform that is applied now and then.

    Parameters
    ----------
    part : transform
    probability : float

    Raises
    ------
    GraphError
        As :class:`SomeOf`.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid
    >>> from truevox.transforms import Flip
    >>> x = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3,)))
    >>> flip = WithProbability(Flip(0), 0.5)
    >>> 30 < sum(float(flip(x, rng=np.random.default_rng(s)).data[0, 0]) == 2.0 for s in range(100)) < 70
    True
    """

    part: Transform
    probability: float = 0.5

    def __post_init__(self) -> None:
        _checked([self.part], "WithProbability")
        check_probability(self.probability, "WithProbability")

    @property
    def all_parts(self) -> tuple[Transform, ...]:
        return (self.part,)

    def endings(self, inputs: tuple[Signature, ...]) -> list[tuple[Signature, ...]]:
        return [inputs, self.part.signatures(inputs)]

    def picked(self, rng: Rng) -> Sequence[Transform]:
        return [self.part] if rng.random() < self.probability else []
