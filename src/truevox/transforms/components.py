"""Labels by their shape: components, holes, distances. The whole scan is looked at, whatever the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Signature, node
from truevox.pipeline.regions import Casewise
from truevox.transforms.labelling import table_of, values_of
from truevox.transforms.ranges import number

__all__ = ["DistanceMap", "FillHoles", "KeepLargest", "RemoveSmall"]


class _Cleaned(Casewise):
    """Keeps the table; a mask of every class is changed by itself."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        for s in inputs:
            table_of(self, s)
        return tuple(inputs)

    def whole(self, image: Image) -> Image:
        from scipy import ndimage

        table = table_of(self, image)
        data = image.numpy().copy()
        # Each class in its own box: a hundred organs cost little more than one.
        boxes = ndimage.find_objects(data[0].astype(np.int32, copy=False).clip(0))
        everywhere = tuple(slice(0, n) for n in data.shape[1:])
        for name in table.names:
            values = values_of(table, name)
            found = [everywhere if v < 0 else boxes[v - 1] if v <= len(boxes) else None for v in values]
            box = _around(found)
            if box is None:
                continue
            part = data[0][box]
            before = np.isin(part, values)
            after = self.cleaned(before, image)
            part[before & ~after] = 0
            part[after & ~before & (part == 0)] = values[0]
        return image.replace(data=torch.from_numpy(data))

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        """The new mask of a class, given the box that holds it."""
        raise NotImplementedError


def _around(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...] | None:
    """The box that holds several; None if there are none."""
    held = [b for b in boxes if b is not None]
    if not held:
        return None
    axes = zip(*held, strict=True)
    return tuple(slice(min(s.start for s in a), max(s.stop for s in a)) for a in axes)


def _check_connectivity(connectivity: int, what: str) -> None:
    if connectivity not in (1, 2, 3):
        raise GraphError(
            f"{what}: connectivity is 1 (faces), 2 (edges too) or 3 (corners too).",
            got=connectivity,
            remedy="write connectivity=1, 2 or 3; 3 joins voxels that touch at a corner",
        )


def _components(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of each voxel's component (0: background), and the voxels in each: index 0 has none."""
    from scipy import ndimage

    found, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, connectivity))  # type: ignore[misc]
    sizes = np.bincount(found.ravel())
    sizes[0] = 0
    return found, sizes


@node
class KeepLargest(_Cleaned):
    """Of each class, the largest connected component; the rest becomes background.

    Parameters
    ----------
    connectivity : {1, 2, 3}
        Voxels belong together that share a face (1), an edge (2) or a corner (3).

    Notes
    -----
    The largest of the whole scan, whatever the frame shows. Of equal ones, the first in array order.

    Examples
    --------
    >>> from truevox import Grid, Labels
    >>> label = Image(torch.tensor([1, 0, 1, 1]).reshape(1, 4, 1, 1), Grid((4,)), "label",
    ...               labels=Labels({"liver": 1}))
    >>> KeepLargest()(label).data.flatten().tolist()
    [0, 0, 1, 1]
    """

    connectivity: int = 3

    def __post_init__(self) -> None:
        _check_connectivity(self.connectivity, "KeepLargest")

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        found, sizes = _components(mask, self.connectivity)
        return mask & (found == sizes.argmax())


@node
class RemoveSmall(_Cleaned):
    """Components of a class smaller than a volume become background.

    Parameters
    ----------
    least_ml : float
        Volume from which a component stays.
    connectivity : {1, 2, 3}
        As for :class:`KeepLargest`.

    Examples
    --------
    >>> from truevox import Grid, Labels
    >>> label = Image(torch.tensor([1, 0, 1, 1]).reshape(1, 4, 1, 1), Grid((4,)), "label",
    ...               labels=Labels({"lesion": 1}))
    >>> RemoveSmall(0.002)(label).data.flatten().tolist()
    [0, 0, 1, 1]
    """

    least_ml: float
    connectivity: int = 3

    def __post_init__(self) -> None:
        number(self.least_ml, "RemoveSmall: least_ml", 0)
        _check_connectivity(self.connectivity, "RemoveSmall")

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        found, sizes = _components(mask, self.connectivity)
        # A rounding error of the affine must not cost a component of just this volume.
        large = sizes * image.grid.voxel_volume_ml >= self.least_ml * (1 - 1e-9)
        return mask & large[found]


@node
class FillHoles(_Cleaned):
    """Background that a class encloses becomes part of it.

    Notes
    -----
    A hole is background from which no path over voxel faces leads to the border of the scan; other classes
    within it stay. Axes of one voxel have no border: a slice is filled in its plane.

    Examples
    --------
    >>> from truevox import Grid, Labels
    >>> ring = torch.ones(1, 3, 3, 1, dtype=torch.uint8)
    >>> ring[0, 1, 1] = 0
    >>> label = Image(ring, Grid((3, 3)), "label", labels=Labels({"ventricle": 1}))
    >>> int(FillHoles()(label).data.sum())
    9
    """

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        from scipy import ndimage

        flat = tuple(a for a, n in enumerate(image.grid.shape) if n == 1)
        filled = ndimage.binary_fill_holes(np.atleast_1d(mask.squeeze(flat)))
        return np.asarray(filled).reshape(mask.shape)


@node
class DistanceMap(Casewise):
    """Signed distance to the border of each class, in mm: negative inside.

    Parameters
    ----------
    limit_mm : float
        Distances stop at plus and minus this: the value where a class is absent, and outside of the scan.

    Notes
    -----
    From the centre of a voxel outside to the nearest centre inside, and the other way round: the border lies
    between. Spacing is taken into account; a channel per class, without the background.

    Examples
    --------
    >>> from truevox import Grid, Labels
    >>> grid = Grid((4,)).with_spacing(1.0)
    >>> label = Image(torch.tensor([0, 0, 1, 1]).reshape(1, 4, 1, 1), grid, "label", labels=Labels({"x": 1}))
    >>> DistanceMap()(label).data.flatten().tolist()
    [2.0, 1.0, -1.0, -2.0]
    """

    limit_mm: float = 100.0

    def __post_init__(self) -> None:
        number(self.limit_mm, "DistanceMap: limit_mm", 0, above=True)

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return tuple(Signature("scalar", len(table_of(self, s).names)) for s in inputs)

    def whole(self, image: Image) -> Image:
        table = table_of(self, image)
        masks = [np.isin(image.numpy()[0], values_of(table, name)) for name in table.names]
        maps = np.stack([self._signed(mask, image.grid.spacing) for mask in masks])
        return Image(torch.from_numpy(maps), image.grid, "scalar", self.limit_mm)

    def _signed(self, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        from scipy import ndimage

        if mask.all() or not mask.any():
            return np.full(mask.shape, -self.limit_mm if mask.any() else self.limit_mm, np.float32)
        out = np.full(mask.shape, self.limit_mm, np.float32)
        # Nearest foreground lies in the mask's box, nearest background no further than a voxel beyond it.
        near = _box_of(mask, np.ceil(self.limit_mm / spacing).astype(int) + 1)
        out[near] = np.asarray(ndimage.distance_transform_edt(~mask[near], sampling=spacing))
        tight = _box_of(mask, np.ones(3, int))
        out[tight] -= np.asarray(ndimage.distance_transform_edt(mask[tight], sampling=spacing))
        return out.clip(-self.limit_mm, self.limit_mm)


def _box_of(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask, and a margin as far as there are voxels."""
    spans = [np.flatnonzero(mask.any(tuple(b for b in range(3) if b != a))) for a in range(3)]
    return tuple(slice(max(s[0] - m, 0), s[-1] + m + 1) for s, m in zip(spans, margin, strict=True))
