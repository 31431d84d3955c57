"""How a run may depart from the tiles that its graph says; this one does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from truevox.pipeline.graph import Call
from truevox.pipeline.kinds import FanIn, FanOut
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid

__all__ = ["Tiling"]


class Tiling:
    """The tiles of the graph itself. A subclass returns other transforms, or other grids to cover."""

    def fan_out(
        self, op: FanOut, inputs: Sequence[Lazy], reach: Callable[[Grid], Grid], covers: list[Grid]
    ) -> tuple[FanOut, list[Grid]]:
        """The transform that makes the tiles of ``inputs``, and what they have to cover."""
        return op, covers

    def fan_in(self, op: FanIn, call: Call) -> FanIn:
        """The transform that puts them together."""
        return op
