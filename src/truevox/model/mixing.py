"""Mix-up: samples of a batch blended with each other, and the loss with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Node

__all__ = ["mixed", "share_of_step"]


def share_of_step(strength: float, seed: int, step: int, rank: int) -> float:
    """How much of itself a sample keeps, from Beta(strength, strength); 1 if the strength is 0.

    Examples
    --------
    >>> share_of_step(0.0, 0, 0, 0), 0 < share_of_step(0.2, 0, 0, 0) < 1
    (1.0, True)
    """
    if strength == 0:
        return 1.0
    return float(Draw(seed, step).rng(f"mix-up {rank}").beta(strength, strength))


def mixed(batch: dict[str, Any], nodes: Sequence[Node], share: float) -> dict[str, Any]:
    """A batch whose images are blended, voxel by voxel, each with the one before it.

    Labels and tables of values are no intensities and stay.
    """
    if share == 1:
        return batch
    blended = [
        {**part, "data": part["data"] * share + part["data"].roll(1, 0) * (1 - share)}
        if node.signature.kind in ("scalar", "probability")
        else part
        for node, part in zip(nodes, batch["nodes"], strict=True)
    ]
    return {**batch, "nodes": blended}
