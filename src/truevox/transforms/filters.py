"""Intensity transforms that mix neighbours: blur, sharpen, low resolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from truevox.image import Image
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.regions import Effect, Local
from truevox.space import Grid
from truevox.transforms.along import along, coarse_and_back, gaussian, matching_axes
from truevox.transforms.ranges import Range, check_probability, up_to

__all__ = ["RandomBlur", "RandomLowResolution", "RandomSharpen"]

TRUNCATE = 3.0


def _blurred(image: Image, frame: Grid, sigma: np.ndarray) -> Tensor:
    """Gaussian blur by ``sigma`` mm along the axes of the frame."""
    data = image.data
    for axis, mine in enumerate(matching_axes(frame, image.grid)):
        voxels = float(sigma[mine] / image.grid.spacing[axis])
        if image.grid.shape[axis] > 1 and int(TRUNCATE * voxels + 0.5) > 0:
            data = along(data, gaussian(image.grid.shape[axis], voxels, TRUNCATE), axis)
    return data.float()


@node
class RandomBlur(Local):
    """Gaussian blur.

    Parameters
    ----------
    sigma : float or (low, high)
        Standard deviation in mm, uniform in [0, sigma] or in the range. A point spread of full width at half
        maximum w has w / 2.355.
    per_axis : bool
        Draw one for each axis, instead of one for all.
    probability : float

    Notes
    -----
    The same in mm along every axis, whatever the spacing: thick slices are blurred over fewer voxels.
    The kernel ends at three sigma; at the border of the scan the last voxel goes on.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.zeros(1, 9, 9, 9), Grid((9, 9, 9)))
    >>> x.data[0, 4, 4, 4] = 1
    >>> y = RandomBlur((1, 1))(x)
    >>> round(float(y.data.sum()), 4), float(y.data.max()) < 0.07
    (1.0, True)
    """

    sigma: Range = (0.5, 1.5)
    per_axis: bool = False
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.sigma, "RandomBlur: sigma")
        check_probability(self.probability, "RandomBlur")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        sigma = rng.uniform(*up_to(self.sigma, "sigma"), 3)
        if not applied:
            return None
        if not self.per_axis:
            sigma[:] = sigma[0]
        reach = TRUNCATE * float(sigma.max()) + 0.5 * float(grid.spacing.max())
        return Effect(lambda image: _blurred(image, grid, sigma), reach)


@node
class RandomSharpen(Local):
    """Unsharp mask: what a blur takes away, added ``amount`` times.

    Parameters
    ----------
    amount : float or (low, high)
        Uniform in [0, amount] or in the range; 1 doubles the finest detail.
    sigma : float or (low, high)
        Standard deviation of the blur in mm: details finer than this are raised.
    probability : float

    Examples
    --------
    >>> import torch
    >>> edge = Image(torch.tensor([0.0, 0, 0, 1, 1, 1]).reshape(1, 6, 1, 1), Grid((6,)))
    >>> y = RandomSharpen((1, 1), sigma=(1, 1))(edge)
    >>> float(y.data.max()) > 1 and float(y.data.min()) < 0
    True
    """

    amount: Range = 1.0
    sigma: Range = (0.5, 1.5)
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.amount, "RandomSharpen: amount")
        up_to(self.sigma, "RandomSharpen: sigma")
        check_probability(self.probability, "RandomSharpen")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        amount = rng.uniform(*up_to(self.amount, "amount"))
        sigma = np.full(3, rng.uniform(*up_to(self.sigma, "sigma")))
        if not applied:
            return None

        def sharpened(image: Image) -> Tensor:
            soft = _blurred(image, grid, sigma)
            return image.data.float().lerp(soft, -amount)

        return Effect(sharpened, TRUNCATE * float(sigma[0]) + 0.5 * float(grid.spacing.max()))


@node
class RandomLowResolution(Local):
    """As if scanned on a coarser lattice: averaged over voxels of ``spacing`` mm, and interpolated back.

    Parameters
    ----------
    spacing : float or (low, high)
        Millimetres; uniform in the range, one for all axes. A number stands for [0, spacing]. An axis that is
        coarser than this already stays as it is.
    probability : float

    Notes
    -----
    Voxels stay where they are, so a label of the same grid still fits: an effect on intensities.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.tensor([0.0, 2, 0, 2, 0, 2]).reshape(1, 6, 1, 1), Grid((6,)))
    >>> RandomLowResolution((2, 2))(x).data.flatten().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    spacing: Range = (1.5, 4.0)
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.spacing, "RandomLowResolution: spacing")
        check_probability(self.probability, "RandomLowResolution")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        spacing = rng.uniform(*up_to(self.spacing, "spacing"))
        if not applied or (spacing <= grid.spacing).all():
            return None
        return coarsened(grid, np.full(3, spacing))


def coarsened(grid: Grid, spacing: np.ndarray) -> Effect:
    """Averages over voxels of ``spacing`` (3,) mm along the axes of a frame, interpolated back."""
    # A voxel lies between two coarse voxels of which each may reach half a step further.
    reach = 1.5 * float(spacing.max()) + float(grid.spacing.max())
    return Effect(lambda image: _coarse(image, grid, spacing), reach)


def _coarse(image: Image, frame: Grid, spacing: np.ndarray) -> Tensor:
    data = image.data
    index = frame.index_map(image.grid)
    for axis, mine in enumerate(matching_axes(frame, image.grid)):
        step = float(spacing[mine] / image.grid.spacing[axis])
        count = image.grid.shape[axis]
        if count > 1 and step > 1:
            # Coarse voxels are counted from the frame's first, whatever part of it this is.
            sign = np.sign(index[mine, axis])
            start = index[mine, 3] if np.isclose(abs(index[mine, axis]), 1) else 0.0
            data = along(data, coarse_and_back(start + sign * np.arange(count), step), axis)
    return data.float()
