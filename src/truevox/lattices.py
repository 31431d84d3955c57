"""What makes a lattice of voxels before it is a grid: an affine with a volume, slices that select some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import GeometryError

__all__ = ["check_affine", "slices_to_lattice"]


def check_affine(matrix: NDArray[np.float64]) -> None:
    """Refuse an affine that is no place in the patient.

    Raises
    ------
    GeometryError
        If it is not 4x4, not finite or singular.
    """
    if matrix.shape != (4, 4) or matrix[3].tolist() != [0, 0, 0, 1]:
        raise GeometryError(
            "An affine is 4x4 with last row 0 0 0 1.",
            got=matrix.tolist(),
            remedy="transpose it, or add the last row",
        )
    if not all(map(math.isfinite, matrix.ravel().tolist())):
        raise GeometryError(
            "The affine holds values that are not finite.",
            got=matrix.tolist(),
            remedy="repair the header's sform/qform, or give the grid of another file of the scan",
        )
    if _flatness(matrix) < 1e-6:
        raise GeometryError(
            "The affine is singular: some axes have no length or point the same way.",
            got=matrix.tolist(),
            remedy="repair the header's sform/qform; every axis needs a direction of its own",
        )


def _flatness(affine: NDArray[np.float64]) -> float:
    """Volume of a parallelepiped along the axes whose edges have length 1; 0 if an axis has no length."""
    # A few plain numbers: NumPy's own calls would take most of the time in which a grid is made.
    (a, b, c), (d, e, f), (g, h, i) = affine[:3, :3].tolist()
    lengths = math.hypot(a, d, g) * math.hypot(b, e, h) * math.hypot(c, f, i)
    if not 0 < lengths < math.inf:
        scale = np.linalg.norm(affine[:3, :3], axis=0)
        return float(abs(np.linalg.det(affine[:3, :3] / scale))) if scale.min() > 0 else 0.0
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) / lengths


def slices_to_lattice(key: Any, shape: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Offset, stride and shape of the lattice that up to three slices (or ``...``) select."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    keys += [slice(None)] * (len(shape) - len(keys))
    if len(keys) > len(shape) or not all(isinstance(k, slice) for k in keys):
        raise GeometryError(
            "A grid is sliced with slices only, so that every axis keeps its place.",
            got=key,
            remedy="write 5:6 instead of 5",
        )
    ranges = [range(n)[k] for k, n in zip(keys, shape, strict=True)]
    if any(len(r) == 0 for r in ranges):
        raise GeometryError(
            "The slice holds no voxel.",
            got=key,
            expected=f"indices inside {tuple(shape)}",
            remedy="choose a start before the end, within the grid",
        )
    return [r.start for r in ranges], [r.step for r in ranges], [len(r) for r in ranges]
