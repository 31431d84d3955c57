"""Label maps of raters or posterior samples, merged to the few regions in which all maps agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.theory.independent import IndependentLaw
from truevox.theory.laws import AverageLaw, ListedLaw, NestedLaw

__all__ = ["LabelMaps", "from_maps"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelMaps:
    """Label maps of one image, and the laws that have their probabilities.

    Parameters
    ----------
    law : ListedLaw
        The maps themselves: a region is the set of voxels that the same maps call foreground.
    regions : array of int
        Region of every voxel, -1 where no map has foreground; of the shape of a map.
    voxels : array of int (K,)
        Voxels of every region.
    """

    law: ListedLaw
    regions: NDArray[np.int64]
    voxels: NDArray[np.int64]

    def independent(self) -> IndependentLaw:
        """The same probabilities, voxels independent of each other."""
        p, sizes, counts = self._levels()
        return IndependentLaw(sizes, p, counts)

    def nested(self) -> NestedLaw:
        """The same probabilities, maps that contain each other."""
        p, sizes, _ = self._levels()
        return NestedLaw(sizes, p)

    def averaged(self) -> AverageLaw:
        """The mean over the maps as a soft label."""
        return AverageLaw(self.law.sizes, self.law.probabilities, soft=True)

    def paint(self, prediction: ArrayLike) -> Floats:
        """A prediction per region (K,) as a map of voxels.

        Raises
        ------
        SettingsError
            If it has another number of regions.
        """
        t = np.asarray(prediction, dtype=np.float64)
        if t.shape != self.voxels.shape:
            raise SettingsError(
                "A value per region is needed.",
                got=t.shape,
                expected=self.voxels.shape,
                remedy="give one number for each region of the law",
            )
        return np.append(t, 0.0)[self.regions]

    def _levels(self) -> tuple[Floats, Floats, Floats]:
        p, level = np.unique(np.round(self.law.probabilities, 12), return_inverse=True)
        sizes, counts = (np.bincount(level, x).astype(np.float64) for x in (self.law.sizes, self.voxels))
        return p, sizes, counts


def from_maps(maps: ArrayLike, weights: ArrayLike | None = None, voxel_size: float = 1.0) -> LabelMaps:
    """The law of a list of label maps, one per rater or posterior sample.

    Parameters
    ----------
    maps : array (M, *spatial)
        Booleans, or zeros and ones.
    weights : array (M,), optional
        Equal by default.
    voxel_size : float
        Size of a voxel; with ml, volumes come out in ml.

    Returns
    -------
    LabelMaps

    Raises
    ------
    SettingsError
        If there are no maps, values are not 0 and 1, or weights or size do not fit.

    Examples
    --------
    Three raters of four voxels:

    >>> from truevox.theory import optimum
    >>> maps = from_maps([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]])
    >>> maps.law.sizes.tolist(), maps.regions.tolist()
    ([1.0, 1.0, 1.0], [2, 1, 0, -1])
    >>> best = optimum(law=maps.law)
    >>> best.volume, maps.paint(best.map).tolist()
    (2.0, [1.0, 1.0, 0.0, 0.0])
    """
    array = np.asarray(maps)
    if array.ndim < 2 or not array.size:
        raise SettingsError(
            "Label maps are (M, *spatial), M of them.",
            got=array.shape,
            remedy="pass at least one mask, and the masks along the first axis: np.stack(masks)",
        )
    if not (voxel_size > 0 and np.isfinite(voxel_size)):
        raise SettingsError(
            "The size of a voxel is positive.",
            got=voxel_size,
            remedy="write its length, area or volume, such as 1.0",
        )
    marks = array.reshape(len(array), -1)
    if marks.dtype != bool:
        if not ((marks == 0) | (marks == 1)).all():
            raise SettingsError(
                "Label maps hold zeros and ones.",
                got=np.unique(marks)[:6].tolist(),
                remedy="compare with the value of the class first",
            )
        marks = marks.astype(bool)
    regions = np.full(marks.shape[1], -1, dtype=np.int64)
    used = np.flatnonzero(marks.any(0))
    if not used.size:
        # A law needs a region; one that no map holds changes nothing.
        regions[:] = 0
        law = ListedLaw([marks.shape[1] * voxel_size], np.zeros((len(marks), 1)), weights)
        return LabelMaps(law, regions.reshape(array.shape[1:]), np.array([marks.shape[1]]))
    codes = np.ascontiguousarray(np.packbits(marks[:, used], axis=0).T)
    rows = codes.view([("", codes.dtype)] * codes.shape[1])[:, 0]
    _, first, region, voxels = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
    regions[used] = region
    law = ListedLaw(voxels * voxel_size, marks[:, used[first]], weights)
    return LabelMaps(law, regions.reshape(array.shape[1:]), voxels)
