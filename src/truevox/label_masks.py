"""Where a class is in a label image: channels and values, and the mask that they make."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Place", "mask_at"]

Place = tuple[int, int | None]
"""Channel and voxel value of a class in a label image; None: all values but 0 (a channel that is a mask)."""


def mask_at(array: NDArray, places: Iterable[Place], box: tuple[slice, ...] = ()) -> NDArray[np.bool_]:
    """The voxels (i, j, k) of a label image (C, I, J, K), or of a box of it, that are at some places.

    Examples
    --------
    >>> mask_at(np.array([[[[0, 1, 2]]], [[[1, 0, 0]]]]), [(0, 2), (1, None)]).tolist()
    [[[True, False, True]]]
    """
    held: dict[int, list[int | None]] = {}
    for channel, value in places:
        held.setdefault(channel, []).append(value)
    out: NDArray[np.bool_] | None = None
    for channel, values in held.items():
        part = array[channel][box]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            found = part != 0
        else:
            found = part == known[0] if len(known) == 1 else np.isin(part, known)
        out = found if out is None else out | found
    return np.zeros(array[0][box].shape, bool) if out is None else out
