"""Thick slices: what a scan of high resolution looks like from a protocol of low resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.regions import Effect, Local
from truevox.space import Grid
from truevox.transforms.filters import coarsened
from truevox.transforms.ranges import Range, check_probability, up_to
from truevox.transforms.spatial import some_axes, wide_axes

__all__ = ["RandomAnisotropy"]


@node
class RandomAnisotropy(Local):
    """Thick slices along one axis at random: averaged over their thickness, and interpolated back.

    Parameters
    ----------
    thickness : float or (low, high)
        Millimetres; uniform in the range. A number stands for [0, thickness]. An axis whose voxels are
        thicker already stays as it is.
    axes : int or sequence of int
        Axes of the first input that slices may be stacked along, each equally often.
    probability : float

    Notes
    -----
    Voxels stay where they are, so a label of the same grid still fits: an effect on intensities.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.tensor([0.0, 2, 0, 2, 0, 2]).reshape(1, 6, 1, 1), Grid((6,)))
    >>> RandomAnisotropy((2, 2))(x).data.flatten().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    thickness: Range = (2.0, 6.0)
    axes: int | Sequence[int] = (0, 1, 2)
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", some_axes(self.axes, "RandomAnisotropy: axes"))
        if not np.size(self.axes):
            raise GraphError(
                "RandomAnisotropy names at least one axis.",
                got=self.axes,
                remedy="write axes=2, or axes=(0, 1, 2)",
            )
        up_to(self.thickness, "RandomAnisotropy: thickness")
        check_probability(self.probability, "RandomAnisotropy")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        thickness = rng.uniform(*up_to(self.thickness, "thickness"))
        axes = [a for a in wide_axes(grid) if np.isin(a, self.axes)]
        if not applied or not axes:
            return None
        axis = axes[rng.integers(len(axes))]
        spacing = grid.spacing.copy()
        spacing[axis] = max(spacing[axis], thickness)
        return coarsened(grid, spacing)
