"""Overlap of two masks: metrics of the four counts."""

from __future__ import annotations

from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, register

__all__: list[str] = []


def _zero(_: Pair) -> float:
    return 0.0


def _dice(pair: Pair) -> float:
    tp, fp, fn, _ = pair.counts
    return 2 * tp / (2 * tp + fp + fn)


def _jaccard(pair: Pair) -> float:
    tp, fp, fn, _ = pair.counts
    return tp / (tp + fp + fn)


def _plain(name: str, title: str, compute, summary: str) -> None:  # type: ignore[no-untyped-def]
    made = Definition(
        f"{name}/voxel", name, "1", 0, 1, "higher", compute, 1.0, _zero, _zero, summary=summary
    )
    register(Family(name, lambda parameter, variants: made, name, title))


_plain("dice", "Dice coefficient", _dice, "2 TP / (2 TP + FP + FN)")
_plain("jaccard", "Jaccard index", _jaccard, "TP / (TP + FP + FN)")
