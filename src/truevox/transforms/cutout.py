"""Parts of the picture taken away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from truevox.image import Image
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.regions import Effect, Local
from truevox.space import Grid
from truevox.transforms.ranges import Range, check_probability, number, up_to, whole
from truevox.transforms.spatial import wide_axes

__all__ = ["RandomCutout"]


@node
class RandomCutout(Local):
    """Boxes at random places of the frame replaced by one value.

    Parameters
    ----------
    count : int
        Boxes.
    size : float or (low, high)
        Of a box along each axis, as a fraction of the frame; uniform in the range, each axis by itself. A
        number stands for [0, size].
    size_mm : float or (low, high), optional
        The same in millimetres, instead of ``size``.
    value : float, optional
        What is there instead; the image's own outside (``fill``) if left out.
    probability : float

    Notes
    -----
    The centre of a box lies anywhere in the frame, so boxes may reach out of it. The boxes stay where they
    are in the patient: a rotation that follows turns them too. Labels stay as they are.

    References
    ----------
    T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with cutout" (2017).

    Examples
    --------
    >>> x = Image(torch.ones(1, 16, 16, 16), Grid((16, 16, 16)))
    >>> y = RandomCutout(1, (0.5, 0.5))(x, rng=np.random.default_rng(0))
    >>> 0 < int((y.data == 0).sum()) <= 8**3
    True
    """

    count: int = 1
    size: Range = (0.1, 0.3)
    size_mm: Range | None = None
    value: float | None = None
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        whole(self.count, "RandomCutout: the count of boxes")
        if self.value is not None:
            number(self.value, "RandomCutout: value")
        up_to(self.size, "RandomCutout: size", most=1.0)
        if self.size_mm is not None:
            up_to(self.size_mm, "RandomCutout: size_mm")
        check_probability(self.probability, "RandomCutout")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        places, sizes = rng.random((self.count, 3)), rng.random((self.count, 3))
        if not applied:
            return None
        low, high = up_to(self.size if self.size_mm is None else self.size_mm, "size")
        shape = np.array(grid.shape)
        half = (low + (high - low) * sizes) / 2 * (shape if self.size_mm is None else 1 / grid.spacing)
        half[:, np.isin(range(3), wide_axes(grid), invert=True)] = np.inf
        return Effect(lambda image: self._cut(image, grid, places * shape - 0.5, half))

    def _cut(self, image: Image, grid: Grid, centres: np.ndarray, half: np.ndarray) -> Tensor:
        instead = image.fills().copy() if self.value is None else np.full(image.channels, self.value)
        matrix = grid.index_map(image.grid)
        inside = np.zeros(image.grid.shape, bool)
        for centre, reach in zip(centres, half, strict=True):
            box = np.ones((1, 1, 1), bool)
            for axis in range(3):
                box = box & (np.abs(_coordinate(matrix[axis], image.grid) - centre[axis]) < reach[axis])
            inside |= box
        # Of whole numbers, only their own fill is sure to fit into their type.
        data = image.data if self.value is None else image.data.float()
        value = torch.as_tensor(instead, dtype=data.dtype).view(-1, 1, 1, 1)
        return torch.where(torch.from_numpy(inside), value, data)


def _coordinate(row: np.ndarray, grid: Grid) -> np.ndarray:
    """One coordinate of a grid's voxels, (I, J, K) or with axes of one where it does not change."""
    total = np.full((1, 1, 1), row[3])
    for axis, size in enumerate(grid.shape):
        if abs(row[axis]) > 1e-9:
            total = total + (row[axis] * np.arange(size)).reshape([-1 if a == axis else 1 for a in range(3)])
    return total
