"""Several raters of one case: what they say together, or one of them at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from truevox.errors import GraphError
from truevox.pipeline.graph import Rng, Signature, Transform, node
from truevox.pipeline.kinds import demand_one_grid
from truevox.pipeline.lazy import Lazy, Mapped
from truevox.transforms.labelling import OneHot, table_of
from truevox.transforms.ranges import shares

__all__ = ["RandomRater", "SoftLabel"]


class _Raters(Transform):
    """Labels of several raters, with one table and, if given, a weight for each."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        tables = {table_of(self, s) for s in inputs}
        if len(tables) != 1:
            raise GraphError(
                f"The raters of {type(self).__name__} do not name the same classes.",
                got=[dict(t.names) for t in tables],
                remedy="give all inputs one label table",
            )
        return (inputs[0],)


@node
class SoftLabel(_Raters):
    """The share of the raters who gave a voxel to a class: a probability that losses take as it is.

    Parameters
    ----------
    weights : sequence of float, optional
        One per rater; equal if left out.

    Raises
    ------
    GraphError
        If label tables or grids differ.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid, Image, Labels
    >>> table = Labels({"lesion": 1})
    >>> a, b = (Image(torch.tensor(v).reshape(1, 3, 1, 1), Grid((3,)), "label", labels=table)
    ...         for v in ([0, 1, 1], [0, 0, 1]))
    >>> SoftLabel()(a, b).data.flatten().tolist()
    [0.0, 0.5, 1.0]
    """

    weights: Sequence[float] | None = None

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        shares(self.weights, len(inputs), type(self).__name__, "rater")
        return OneHot().signatures(super().signatures(inputs))

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        demand_one_grid(inputs, "SoftLabel")
        made = self.signatures([Signature(i.kind, labels=i.labels) for i in inputs])[0]
        weights = shares(self.weights, len(inputs), type(self).__name__, "rater").tolist()

        def together(masks: list[Tensor]) -> Tensor:
            # A running mean: where all agree, the result is 0 or 1 to the last bit.
            mean, total = masks[0], weights[0]
            for mask, share in zip(masks[1:], weights[1:], strict=True):
                total += share
                mean = mean + (mask - mean) * (share / total if total > 0 else 0.0)
            return mean

        return (Mapped(OneHot().run(inputs, edges, rng), lambda: together, made.kind, made.labels),)


@node
class RandomRater(_Raters):
    """One of several inputs at random: the label as one rater drew it.

    Called on other inputs, e.g. the raters' second structure, the same object picks the same rater.

    Parameters
    ----------
    weights : sequence of float, optional
        How often each is picked, relative to the others; equally often if left out.

    Raises
    ------
    GraphError
        If label tables or grids differ.

    Examples
    --------
    >>> import torch
    >>> from truevox import Grid, Image, Labels
    >>> table = Labels({"lesion": 1})
    >>> a, b = (Image(torch.tensor(v).reshape(1, 3, 1, 1), Grid((3,)), "label", labels=table)
    ...         for v in ([0, 1, 1], [0, 0, 1]))
    >>> RandomRater(weights=(0, 1))(a, b).data.flatten().tolist()
    [0, 0, 1]
    """

    weights: Sequence[float] | None = None

    random = True

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        shares(self.weights, len(inputs), type(self).__name__, "rater")
        return super().signatures(inputs)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        demand_one_grid(inputs, "RandomRater")
        self.signatures([Signature(i.kind, labels=i.labels) for i in inputs])
        return (
            inputs[
                int(
                    rng.choice(len(inputs), p=shares(self.weights, len(inputs), type(self).__name__, "rater"))
                )
            ],
        )
