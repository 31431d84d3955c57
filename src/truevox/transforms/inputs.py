"""Reading a column of the case, in the closest canonical orientation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from truevox.errors import CaseError, GraphError, LabelError
from truevox.image import Image, Kind
from truevox.labels import Labels
from truevox.pipeline.graph import Node, Signature, node
from truevox.pipeline.kinds import Source
from truevox.pipeline.lazy import Deferred, Lazy
from truevox.transforms.ranges import number, whole

__all__ = ["Input", "Read"]


@node
class Read(Source):
    """The image of one column, as canonical RAS (an exact permutation and flips). See :func:`Input`."""

    column: str
    kind: Kind = "scalar"
    labels: Labels | None = None
    channels: int | None = 1
    fill: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise GraphError(
                "An input names a column of the cohort.",
                got=repr(self.column),
                remedy='write the column in quotes: tv.Input("flair")',
            )
        if self.kind not in ("scalar", "label", "probability"):
            raise GraphError(
                f"Input '{self.column}' is of no known kind.",
                got=self.kind,
                expected="scalar | label | probability",
                remedy='kind="label" for masks, "scalar" for intensities',
            )
        if self.channels is not None:
            whole(self.channels, f"Input '{self.column}': channels")
        if self.fill is not None:
            number(self.fill, f"Input '{self.column}': fill")

    def columns(self) -> tuple[str, ...]:
        """Columns whose files the cache depends on."""
        return (self.column,)

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return (Signature(self.kind, self.channels, labels=self.labels),)

    def read(self, case: Any) -> tuple[Lazy, ...]:
        header = case.header(self.column)
        # Labels in several layers of a file, and in a picture in colours of grey, become one channel.
        named = getattr(header, "labels", None) or getattr(header, "colour", False)
        layered = self.kind == "label" and self.labels is not None and bool(named)
        if self.channels is not None and header.channels != self.channels and not layered:
            expected = "3D" if self.channels == 1 else f"{self.channels} channels"
            raise CaseError(
                f"'{self.column}' is 4D with {header.channels} volumes where {expected} is expected.",
                file=getattr(header, "path", None),
                remedy="name another file, or tv.Input(..., channels=None) to take all volumes as channels",
            )
        stored = header.grid
        canonical = stored.reorient("RAS")

        def make() -> Image:
            image = case.load(self.column, self.kind, self.labels)
            if self.channels is not None and image.channels != self.channels:
                raise CaseError(
                    f"The classes of '{self.column}' may overlap, so no single label image holds them.",
                    file=getattr(header, "path", None),
                    got=f"{image.channels} channels",
                    remedy="name exclusive classes, or tv.Input(..., channels=None)",
                )
            if self.kind == "label" and self.labels is not None:
                try:
                    self.labels.check(image.numpy())
                except LabelError as error:
                    error.file = error.file or str(getattr(header, "path", ""))
                    raise
            fill = image.fill if self.fill is None else self.fill
            plain = Image(image.data, stored, self.kind, fill, self.labels)
            # Another storage order is no mirror: nothing changes sides here.
            return plain.on(canonical, mirror=False)

        lazy = Deferred(make, canonical, self.kind, self.labels)
        lazy.stored = (stored, header)
        return (lazy,)


def Input(  # noqa: N802 - it reads like the node that it makes
    column: str,
    kind: Kind = "scalar",
    *,
    labels: Labels | Mapping[str, int] | None = None,
    channels: int | None = 1,
    fill: float | None = None,
    name: str | None = None,
) -> Node:
    """A column of the cohort as the start of a graph.

    Parameters
    ----------
    column : str
        Name in the cohort's table.
    kind : {"scalar", "label", "probability"}
        Labels are sampled nearest, scalars linearly.
    labels : Labels or mapping of name to value, optional
        Meaning of the values of a label; ``{column: 1}`` if left out. Undeclared values are an error.
    channels : int, optional
        Volumes in the file; None takes any number as channels.
    fill : float, optional
        What lies outside of the scan, in its own units: 0 if left out (-1000, air, suits CT; for a label,
        the table's ``ignore`` keeps losses from looking there).

    Returns
    -------
    Node
        On the closest canonical RAS grid of the file: an exact permutation and flips of its voxels.

    Examples
    --------
    >>> Input("flair")
    Node(Read, scalar, 1 channels)
    """
    if kind == "label" and labels is None:
        labels = {column: 1}
    table = labels if labels is None or isinstance(labels, Labels) else Labels(labels)
    return Read(column, kind, table, channels, fill, name=name)()
