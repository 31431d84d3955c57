"""Topology: how many pieces and holes the prediction has more than the reference.

References
----------
Kong and Rosenfeld (1989), Digital topology; Ohser, Nagel and Schladitz (2002), The Euler number of
discretized sets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.metrics.overlap import nothing
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, no_parameter, register, words

__all__ = ["components", "euler", "holes"]

Mask = NDArray[np.bool_]
CONNECTIVITIES = ("26", "6")
"""Foreground voxels that touch anywhere are one piece, or those that share a face; in 2D 8 and 4 of them."""


def components(mask: Mask, all_neighbours: bool = True) -> int:
    """Pieces of a mask.

    Examples
    --------
    >>> components(np.eye(3, dtype=bool)), components(np.eye(3, dtype=bool), all_neighbours=False)
    (1, 3)
    """
    from scipy import ndimage

    rank = mask.ndim if all_neighbours else 1
    found: Any = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, rank))
    return int(found[1])


def holes(mask: Mask, all_neighbours: bool = True) -> int:
    """Pieces of background that do not reach the outside: holes in 2D, cavities in 3D.

    Where foreground touches by corners, background does not.
    """
    return components(~np.pad(mask, 1), not all_neighbours) - 1


def euler(mask: Mask, all_neighbours: bool = True) -> int:
    """Euler number: pieces less tunnels plus cavities (in 2D pieces less holes).

    The alternating sum of corners, edges, faces and voxels of the closed set (of the open one, if only faces
    join).

    Examples
    --------
    >>> ring = np.ones((3, 3, 1), bool)
    >>> ring[1, 1] = False
    >>> euler(ring)
    0
    """
    padded, total = np.pad(mask, 1), 0
    for axes in itertools.product((False, True), repeat=mask.ndim):
        cells, merge = padded, np.logical_or if all_neighbours else np.logical_and
        for axis in np.flatnonzero(axes):
            n = cells.shape[axis] - 1
            cells = merge(cells.take(range(n), axis), cells.take(range(1, n + 1), axis))
        # Closed: a cell without extent along these axes; open: a cell that reaches over two voxels.
        sign = mask.ndim - sum(axes) if all_neighbours else sum(axes)
        total += (-1) ** sign * int(np.count_nonzero(cells))
    return total


def _more(pair: Pair, count: Callable[[Mask, bool], int], all_neighbours: bool) -> float:
    p, r = pair.cut
    return float(count(p, all_neighbours) - count(r, all_neighbours))


def _family(name: str, count: Callable[[Mask, bool], int], title: str, summary: str) -> None:
    def make(parameter: str | None, variants: tuple[str, ...]) -> Definition:
        no_parameter(name, parameter)
        (said,) = words(name, variants, CONNECTIVITIES)
        of = partial(_more, count=count, all_neighbours=said == "26")
        short = name if said == "26" else f"{name}/{said}"
        return Definition(
            f"{name}/{said}",
            short,
            "count",
            -math.inf,
            math.inf,
            "zero",
            of,
            0,
            nothing,
            nothing,
            False,
            summary,
        )

    register(Family(name, make, f"{name}[/26|/6]", title))


_family("components", components, "Components too many", "pieces of P - pieces of R")
_family("holes", holes, "Holes too many", "enclosed background of P - of R (3D: cavities)")
_family("euler", euler, "Difference of the Euler numbers", "χ(P) - χ(R)")
