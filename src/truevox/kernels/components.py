"""Connected components by runs: a row's foreground is a few runs, and runs that touch are united.

A volume becomes a few thousand runs in one look at its voxels; all that follows (components, sizes, boxes,
centroids, overlaps, borders) takes time in proportion to the runs, whatever the masks look like. Arrays are
``(I, J, K)``, contiguous, with leading axes of size 1 for fewer than three dimensions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "REACH",
    "Runs",
    "borders",
    "find_runs",
    "label_runs_numpy",
    "overlaps",
    "statistics",
    "unite",
    "value_runs",
]

Array = NDArray[Any]
REACH = {4: (0, -1), 8: (1, 1), 6: (0, -1), 18: (1, 0), 26: (1, 1)}
"""By how many voxels runs of neighbouring rows may miss each other and still touch: rows that share a face,
rows that share an edge (-1: these never touch)."""


class Runs(NamedTuple):
    """Runs of a volume, row by row.

    Parameters
    ----------
    start, stop : arrays (R,) of int32
        First voxel of each run in its row, and the one after its last.
    first : array (rows + 1,) of int64
        The runs of row ``r`` are ``first[r]`` to ``first[r + 1] - 1``.
    """

    start: Array
    stop: Array
    first: Array


@njit(cache=True, nogil=True)
def _larger(values, needed):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    grown = np.empty(max(needed, 2 * values.size), values.dtype)
    grown[: values.size] = values
    return grown


@njit(cache=True, nogil=True)
def _find(rows):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count, length = rows.shape
    first = np.empty(count + 1, np.int64)
    edges = np.empty(4096, np.int32)
    n = 0
    for r in range(count):
        first[r] = n // 2
        line = rows[r]
        some = np.uint8(0)
        for k in range(length):
            some |= line[k]
        if some == 0:
            continue
        if n + length + 2 > edges.size:
            edges = _larger(edges, n + length + 2)
        before = False
        for k in range(length):  # no branch: noise costs what a ball does
            inside = line[k] != 0
            edges[n] = k
            n += inside != before
            before = inside
        if before:
            edges[n] = length
            n += 1
    first[count] = n // 2
    return edges[:n], first


def find_runs(mask: Array) -> Runs:
    """Runs of foreground of a mask (I, J, K) of bool."""
    edges, first = _find(mask.view(np.uint8).reshape(-1, mask.shape[-1]))
    return Runs(edges[::2].copy(), edges[1::2].copy(), first)


@njit(cache=True, nogil=True)
def _find_values(rows):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count, length = rows.shape
    first = np.empty(count + 1, np.int64)
    start, stop, value = np.empty(4096, np.int32), np.empty(4096, np.int32), np.empty(4096, np.int64)
    n = 0
    for r in range(count):
        first[r] = n
        line = rows[r]
        some = line[0]
        for k in range(length):
            some |= line[k]
        if some == 0:
            continue
        if n + length > start.size:
            start, stop, value = (
                _larger(start, n + length), _larger(stop, n + length), _larger(value, n + length)
            )  # fmt: skip
        k = 0
        while k < length:
            this = line[k]
            begin = k
            while k < length and line[k] == this:
                k += 1
            if this != 0:
                start[n], stop[n], value[n] = begin, k, this
                n += 1
    first[count] = n
    return start[:n], stop[:n], value[:n], first


def value_runs(labels: Array) -> tuple[Runs, Array]:
    """Runs of equal values that are not 0 in a label map (I, J, K) of integers, and their values."""
    start, stop, value, first = _find_values(labels.reshape(-1, labels.shape[-1]))
    return Runs(start, stop, first), value


@njit(cache=True, nogil=True, inline="always")
def _root(parent, x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@njit(cache=True, nogil=True)
def _join(start, stop, first, parent, row, other, slack):  # type: ignore[no-untyped-def]  # pragma: no cover
    a, b = first[row], first[other]
    last_a, last_b = first[row + 1], first[other + 1]
    while a < last_a and b < last_b:
        if start[a] < stop[b] + slack and start[b] < stop[a] + slack:
            x, y = _root(parent, a), _root(parent, b)
            if x < y:
                parent[y] = x
            elif y < x:
                parent[x] = y
        if stop[a] < stop[b]:
            a += 1
        else:
            b += 1


@njit(cache=True, nogil=True)
def _unite(start, stop, first, planes, lines, face, edge):  # type: ignore[no-untyped-def]  # pragma: no cover
    runs = start.size
    parent = np.arange(runs)
    for row in range(planes * lines):
        if first[row] == first[row + 1]:
            continue
        j = row % lines
        if j > 0:
            _join(start, stop, first, parent, row, row - 1, face)
        if row >= lines:
            _join(start, stop, first, parent, row, row - lines, face)
            if edge >= 0 and j > 0:
                _join(start, stop, first, parent, row, row - lines - 1, edge)
            if edge >= 0 and j < lines - 1:
                _join(start, stop, first, parent, row, row - lines + 1, edge)
    label = np.empty(runs, np.int32)
    count = 0
    for r in range(runs):  # a parent is never after its child
        if parent[r] == r:
            count += 1
            label[r] = count
        else:
            label[r] = label[parent[r]]
    return label, count


def unite(runs: Runs, shape: tuple[int, ...], connectivity: int) -> tuple[Array, int]:
    """Component (R,) of each run, from 1 in the order of first voxels, and how many there are."""
    face, edge = REACH[connectivity]
    return _unite(runs.start, runs.stop, runs.first, shape[0], shape[1], face, edge)


@njit(cache=True, nogil=True)
def _statistics(start, stop, first, label, count, lines, planes):  # type: ignore[no-untyped-def]  # pragma: no cover
    size = np.zeros(count, np.int64)
    low = np.full((count, 3), np.iinfo(np.int32).max, np.int32)
    high = np.zeros((count, 3), np.int32)
    sums = np.zeros((count, 3), np.float64)
    seen = np.full(count, np.iinfo(np.int64).max, np.int64)
    for row in range(first.size - 1):
        i, j = row // lines, row % lines
        for r in range(first[row], first[row + 1]):
            c = label[r] - 1
            if c < 0:
                continue
            n = stop[r] - start[r]
            size[c] += n
            low[c, 0] = min(low[c, 0], i)
            low[c, 1] = min(low[c, 1], j)
            low[c, 2] = min(low[c, 2], start[r])
            high[c, 0] = max(high[c, 0], i + 1)
            high[c, 1] = max(high[c, 1], j + 1)
            high[c, 2] = max(high[c, 2], stop[r])
            sums[c, 0] += float(n) * i
            sums[c, 1] += float(n) * j
            sums[c, 2] += float(n) * (start[r] + stop[r] - 1) / 2
            place = (np.int64(start[r]) * lines + j) * planes + i
            seen[c] = min(seen[c], place)
    return size, low, high, sums, seen


def statistics(
    runs: Runs, label: Array, count: int, shape: tuple[int, ...]
) -> tuple[Array, Array, Array, Array, Array]:
    """Voxels (n,), boxes (n, 3) and (n, 3), sums of indices (n, 3), and first voxel in reversed order (n,).

    The last is the place of a component's first voxel when axes are looked at in reverse order.
    """
    return _statistics(runs.start, runs.stop, runs.first, label, count, shape[1], shape[0])


@njit(cache=True, nogil=True)
def _overlaps(start, stop, first, label, start2, stop2, first2, label2):  # type: ignore[no-untyped-def]  # pragma: no cover
    room = start.size + start2.size + 1
    one, two, voxels = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int64)
    n = 0
    for row in range(first.size - 1):
        a, b = first[row], first2[row]
        last_a, last_b = first[row + 1], first2[row + 1]
        while a < last_a and b < last_b:
            common = min(stop[a], stop2[b]) - max(start[a], start2[b])
            x, y = label[a], label2[b]
            if common > 0 and x > 0 and y > 0:
                if n > 0 and one[n - 1] == x and two[n - 1] == y:
                    voxels[n - 1] += common
                else:
                    one[n], two[n], voxels[n] = x, y, common
                    n += 1
            if stop[a] < stop2[b]:
                a += 1
            else:
                b += 1
    return one[:n], two[:n], voxels[:n]


def overlaps(a: Runs, label_a: Array, b: Runs, label_b: Array) -> tuple[Array, Array, Array]:
    """Pieces of overlap of two label maps: label of one, of the other, voxels; a pair may come in pieces."""
    return _overlaps(a.start, a.stop, a.first, label_a, b.start, b.stop, b.first, label_b)


@njit(cache=True, nogil=True)
def _cover(start, stop, first, label, other, run, times):  # type: ignore[no-untyped-def]  # pragma: no cover
    # Runs are in order: the first that may reach this one is found by halving.
    low, high = first[other], first[other + 1]
    while low < high:
        middle = (low + high) // 2
        if stop[middle] <= start[run]:
            low = middle + 1
        else:
            high = middle
    b = low
    while b < first[other + 1] and start[b] < stop[run]:
        if label[b] == label[run]:
            for k in range(max(start[b], start[run]), min(stop[b], stop[run])):
                times[k] += 1
        b += 1


@njit(cache=True, nogil=True)
def _borders(start, stop, first, label, planes, lines, length, axes):  # type: ignore[no-untyped-def]  # pragma: no cover
    capacity = max(16, 6 * start.size)
    points, owner = np.empty((capacity, 3), np.int32), np.empty(capacity, np.int32)
    times = np.zeros(length, np.uint8)
    inner = 2 * (axes - 1)
    n = 0
    for row in range(planes * lines):
        i, j = row // lines, row % lines
        for r in range(first[row], first[row + 1]):
            if label[r] == 0:
                continue
            times[start[r] : stop[r]] = 0
            if j > 0:
                _cover(start, stop, first, label, row - 1, r, times)
            if j < lines - 1:
                _cover(start, stop, first, label, row + 1, r, times)
            if i > 0:
                _cover(start, stop, first, label, row - lines, r, times)
            if i < planes - 1:
                _cover(start, stop, first, label, row + lines, r, times)
            room = n + stop[r] - start[r]
            if room > capacity:
                capacity = max(room, 2 * capacity)
                more, whose = np.empty((capacity, 3), np.int32), np.empty(capacity, np.int32)
                more[:n], whose[:n] = points[:n], owner[:n]
                points, owner = more, whose
            for k in range(start[r], stop[r]):
                if k == start[r] or k == stop[r] - 1 or times[k] < inner:
                    points[n, 0], points[n, 1], points[n, 2] = i, j, k
                    owner[n] = label[r]
                    n += 1
    return points[:n], owner[:n]


@njit(cache=True, nogil=True)
def _by_owner(points, owner, count):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    begin = np.zeros(count + 2, np.int64)
    for n in range(owner.size):
        begin[owner[n] + 1] += 1
    for c in range(count + 1):
        begin[c + 1] += begin[c]
    place = begin.copy()
    out = np.empty_like(points)
    for n in range(owner.size):
        out[place[owner[n]]] = points[n]
        place[owner[n]] += 1
    return out, begin[1:]


def borders(runs: Runs, label: Array, count: int, shape: tuple[int, ...], axes: int) -> tuple[Array, Array]:
    """Border voxels of every component: those with a face neighbour that is not of the same component.

    What lies outside of the image is not of any.

    Returns
    -------
    points : array (N, 3) of int32
        Indices, component by component, in the order of voxels.
    begin : array (count + 1,) of int64
        The border of component ``c`` (from 1) is ``points[begin[c - 1]:begin[c]]``.
    """
    points, owner = _borders(runs.start, runs.stop, runs.first, label, shape[0], shape[1], shape[2], axes)
    return _by_owner(points, owner, count)


def label_runs_numpy(mask: Array, connectivity: int) -> tuple[Array, int]:
    """Label map (I, J, K) of a mask by SciPy: the twin of :func:`find_runs` and :func:`unite`."""
    from scipy import ndimage

    steps = {4: 1, 6: 1, 18: 2, 8: 3, 26: 3}[connectivity]
    found = ndimage.label(mask, ndimage.generate_binary_structure(3, steps))
    return found[0], int(found[1])  # type: ignore[index]
