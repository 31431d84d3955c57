"""Masks of segments or structures, slice by slice, to label images; both kinds of object share this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError
from truevox.io.registry import Box
from truevox.labels import Labels

__all__ = ["Mask", "as_channels", "as_values", "channel_table", "chosen", "label_table", "unique_names"]

Mask = tuple[int, tuple[slice | int, ...], NDArray]
"""Number of the segment, place of a slice in the array (I, J, K) of a box, and what to put there."""


def unique_names(names: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Number to name, none empty; a name that several have tells none of them, so each gets its number."""
    out = {key: name.strip() or f"segment {key}" for key, name in names}
    times = Counter(out.values())
    return {key: name if times[name] == 1 else f"{name} ({key})" for key, name in out.items()}


def chosen(names: dict[int, str], wanted: str | None, path: Path) -> dict[int, str]:
    """Those that ``labels=`` names, by name or number, with commas between them.

    Raises
    ------
    LabelError
        If one of them does not exist, or there are none at all.
    """
    if not names:
        raise LabelError(
            "The file names no segment or structure.",
            file=path,
            remedy="export the segmentation again with a segment for each label",
        )
    if wanted is None:
        return names
    found = {}
    for word in wanted.split(","):
        keys = [key for key, name in names.items() if word.strip() in (name, str(key))]
        if not keys:
            raise LabelError(
                f"No label is called '{word.strip()}'.",
                file=path,
                expected=", ".join(f"{name} ({key})" for key, name in names.items()),
                remedy="name one of these, or its number",
            )
        found[keys[0]] = names[keys[0]]
    return found


def label_table(names: dict[int, str], ignore: int | None = None) -> Labels:
    """Names with their numbers as a label table."""
    return Labels({name: key for key, name in names.items()}, ignore=ignore)


def channel_table(names: dict[int, str]) -> Labels:
    """The label table of a channel per segment, which holds 1 where the segment is."""
    layers = {name: c for c, name in enumerate(names.values())} if len(names) > 1 else None
    return Labels(dict.fromkeys(names.values(), 1), layers=layers)


def as_values(
    masks: Iterable[Mask], names: dict[int, str], box: Box, kind: str, path: Path, outside: int = 0
) -> NDArray:
    """Numbers of segments (1, I, J, K); ``outside`` where no mask was seen. A mask of number 0 clears.

    Raises
    ------
    LabelError
        If a voxel belongs to two; says which, and what to do.
    """
    out = _empty(box, 1, kind)
    out[:] = outside
    clashes: dict[tuple[int, int], int] = {}
    for key, at, mask in masks:
        slab = out[0][at]
        if key:
            taken = slab[mask & (slab != 0) & (slab != key) & (slab != outside)]
            for other, count in zip(*np.unique(taken, return_counts=True), strict=True):
                pair = (int(other), key)
                clashes[pair] = clashes.get(pair, 0) + int(count)
        slab[mask] = key
    if clashes:
        shown = [f"{names[a]} and {names[b]} share {count} voxels" for (a, b), count in clashes.items()]
        raise LabelError(
            "Labels overlap, so no single label image holds them.",
            file=path,
            got="; ".join(shown[:6]),
            remedy=f"choose some ({path.name}?labels={names[clashes.popitem()[0][0]]}), "
            f"or one channel each ({path.name}?overlap=channels)",
        )
    return out


def as_channels(masks: Iterable[Mask], names: dict[int, str], box: Box, kind: str) -> NDArray:
    """A channel per segment (S, I, J, K) with what the masks hold."""
    out = _empty(box, len(names), kind)
    channel = {key: c for c, key in enumerate(names)}
    for key, at, values in masks:
        if key:
            out[channel[key]][at] = values
    return out


def _empty(box: Box, channels: int, kind: str) -> NDArray:
    """Zeros (C, I, J, K), slice by slice in memory."""
    sizes = [part.stop - part.start for part in reversed(box)]
    return np.zeros((channels, *sizes), kind).transpose(0, 3, 2, 1)
