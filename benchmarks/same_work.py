"""Whether contenders do the same work: SciPy makes their patches again, at the places that they tell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import Case
from contenders import DEGREES, Stream
from scipy.ndimage import affine_transform


def with_indices(case: Case, folder: Path) -> Case:
    """A case with three more channels that hold each voxel's own index (plus one: 0 is outside)."""
    known = nib.load(case["flair"])
    out = dict(case)
    for axis, name in enumerate("ijk"):
        index = np.indices(known.shape, dtype=np.float32)[axis] + 1
        out[name] = folder / f"{name}.nii"
        nib.save(nib.Nifti1Image(index, known.affine), out[name])
    return out


def same_work(stream: Stream, case: Case, patches: int) -> dict[str, Any]:
    """Whether SciPy makes the same patches, at the places that the patches themselves tell.

    ``agree``: the places are an affine map, its scales and angle are those asked for, and SciPy's linear
    image and nearest label there are equal (ties aside). ``missing``: share of the voxels inside the
    scan that the patch does not hold, as corners cut off by a crop without margin.
    """
    volumes = [np.asarray(nib.load(case[c]).dataobj, dtype=np.float32) for c in ("flair", "t1")]
    mask = np.asarray(nib.load(case["mask"]).dataobj).astype(np.uint8)
    agree, missing, seen = True, 0.0, 0
    while seen < patches:
        for x, y in next(stream):
            found = _compare_patch(np.asarray(x, np.float64), np.asarray(y), volumes, mask)
            agree, missing, seen = agree and found[0], missing + found[1], seen + 1
    return {"agree": bool(agree), "missing": round(missing / seen, 3)}


def _compare_patch(
    x: np.ndarray, y: np.ndarray, volumes: list[np.ndarray], mask: np.ndarray
) -> tuple[bool, float]:
    places, shape = x[2:5] - 1, np.array(mask.shape)[:, None, None, None]
    index = np.concatenate([np.indices(y.shape), np.ones((1, *y.shape))])
    core = ((places > 0.5) & (places < shape - 1.5)).all(0)
    n = y.shape[0] // 4
    core &= ((index[:3] >= n) & (index[:3] < 3 * n)).all(0)  # no crop cuts off the middle
    fit = np.linalg.lstsq(index[:, core].T, places[:, core].T, rcond=None)[0].T
    wanted = np.tensordot(fit, index, 1)
    scales, angle = np.linalg.svd(fit[:, :3])[1], _angle(fit[:, :3])
    ok = bool(np.abs(wanted - places)[:, core].max() < 0.01 and scales.min() > 0.88 and scales.max() < 1.13)
    ok &= angle < 1.8 * DEGREES
    inside = ((wanted >= 0) & (wanted <= shape - 1)).all(0)
    there = inside & (np.abs(wanted - places).max(0) < 0.01)
    for channel, volume in enumerate(volumes):
        scipys = affine_transform(volume, fit[:, :3], fit[:, 3], y.shape, order=1, mode="nearest")
        ok &= float(np.abs(scipys - x[channel])[there].max()) < 2e-3 * float(volume.max())
    nearest = affine_transform(mask, fit[:, :3], fit[:, 3], y.shape, order=0, mode="nearest")
    tie = (np.abs(wanted - np.floor(wanted) - 0.5) < 2e-3).any(0)
    ok &= bool((nearest == y)[there & ~tie].all())
    return ok, 1 - there.sum() / max(inside.sum(), 1)


def _angle(matrix: np.ndarray) -> float:
    """Degrees that a map turns by, flips and scales taken away."""
    left, _, right = np.linalg.svd(matrix)
    turn = left @ right
    turn = turn * np.sign(np.diag(turn))
    return math.degrees(math.acos(min((np.trace(turn) - 1) / 2, 1.0)))
