"""Losses of shape: how far probability lies from the border, and whether a tube's middle is kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from truevox.errors import GraphError
from truevox.losses.base import Loss
from truevox.losses.targets import Scene, check_activation, check_finite, exact, wide

__all__ = ["Boundary", "SoftClDice"]


@dataclass(frozen=True)
class Boundary(Loss):
    """Boundary loss: the mean of probability times signed distance to the border of the truth.

    Distances are negative inside, so that the loss is too where truth is met. An image without truth, or
    with nothing else, has no border and gives 0. Use it beside an overlap loss: alone it has little hold
    on an empty prediction.

    Parameters
    ----------
    spacing : tuple of float, optional
        Distance of neighbouring voxels per axis, in mm; distances are then in mm, otherwise in voxels.
    background : bool
        With a softmax, channel 0 (background) counts as a class like the others.
    activation : "sigmoid", "softmax" or None
        None: a sigmoid for one channel, a softmax for several.
    ignore_index : int or None
        Voxels of an integer target with this value do not count; for the border they are background.

    Raises
    ------
    GraphError
        If the spacing is not positive, or has not one number per axis.

    Notes
    -----
    Distances run from voxel centre to voxel centre and jump over the border from -1 to 1 voxel; the
    published code counts one voxel less inside. Each call makes two distance maps per image and class on
    the CPU, without gradient; where the share of a class is above one half is inside.

    Kervadec et al.: Boundary loss for highly unbalanced segmentation (2019).

    Examples
    --------
    >>> p, mask = torch.tensor([[[0.5, 1.0, 1.0, 0.0]]]), torch.tensor([[0, 0, 1, 1]])
    >>> float(Boundary().on_probabilities(p, mask))  # (2 * 0.5 + 1 * 1 - 1 * 1 - 2 * 0) / 4
    0.25
    """

    spacing: tuple[float, ...] | None = None
    background: bool = False
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.spacing is not None and not all(isfinite(s) and s > 0 for s in self.spacing):
            raise GraphError(
                "The spacing of a boundary loss is above 0.",
                got=self.spacing,
                expected="mm per axis",
                remedy="pass the image's spacing, e.g. spacing=(1.0, 1.0, 3.0)",
            )

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments, a scalar tensor."""
        if self.spacing is not None and len(self.spacing) != len(scene.shape):
            raise GraphError(
                "The spacing of a boundary loss has one number per axis.",
                got=self.spacing,
                expected=f"{len(scene.shape)} numbers, for images {scene.shape}",
                remedy="pass one number for each spatial axis of the logits",
            )
        scene = scene.in_float32()
        p, y = _channels(scene, self.background)
        distances = torch.stack([self._distances(t, scene.shape) for t in y.flatten(0, 1)])
        found = p * distances.view(y.shape).to(p)
        w = scene.weights()
        w = torch.ones_like(found[:1, :1]) if w is None else w
        w = (w[:, -y.shape[1] :] if w.shape[1] > 1 else w).expand_as(found)
        losses = _added(found * w) / _added(w).clamp(min=torch.finfo(w.dtype).tiny)
        return _mean(losses, scene)

    def _distances(self, truth: Tensor, shape: tuple[int, ...]) -> Tensor:
        inside = truth.reshape(shape).cpu().numpy() > 0.5
        if inside.all() or not inside.any():
            return torch.zeros(truth.shape)
        signed = ndimage.distance_transform_edt(~inside, sampling=self.spacing)
        signed -= np.asarray(ndimage.distance_transform_edt(inside, sampling=self.spacing))
        return torch.from_numpy(np.asarray(signed).reshape(-1))


@dataclass(frozen=True)
class SoftClDice(Loss):
    """Soft clDice: one minus the harmonic mean of how much of each skeleton lies in the other mask.

    Parameters
    ----------
    iterations : int
        Erosions that make the skeleton; at least the radius of the widest tube, in voxels.
    smooth : float
        Added to numerators and denominators, in voxels.
    background : bool
        With a softmax, channel 0 (background) counts as a class like the others.
    activation : "sigmoid", "softmax" or None
        None: a sigmoid for one channel, a softmax for several.
    ignore_index : int or None
        Voxels of an integer target with this value do not count; for skeletons they are background.

    Raises
    ------
    GraphError
        If iterations are negative or smoothing is not positive; if images have neither 2 nor 3 axes.

    Notes
    -----
    The value is the mean over images and classes. MONAI 1.6.1 sums over classes before it divides, and adds
    1e-4 to the last denominator. For both, minima and maxima over neighbours erode and dilate.

    Shit et al.: clDice, a novel topology-preserving loss function for tubular structure segmentation (2021).

    Examples
    --------
    >>> tube = torch.zeros(1, 1, 9, 9)
    >>> tube[..., 3:6, :] = 1
    >>> float(SoftClDice().on_probabilities(tube, tube.long()))
    0.0
    """

    iterations: int = 3
    smooth: float = 1.0
    background: bool = False
    activation: str | None = None
    ignore_index: int | None = 255

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.iterations < 0 or not self.smooth > 0:
            raise GraphError(
                "Settings of a soft clDice do not fit.",
                got=(self.iterations, self.smooth),
                expected="iterations at least 0, smooth above 0",
                remedy="iterations=3 and smooth=1 are usual; more iterations reach thicker vessels",
            )

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments, a scalar tensor."""
        if len(scene.shape) not in (2, 3):
            raise GraphError(
                "Soft clDice is for images of 2 or 3 axes.",
                got=scene.shape,
                remedy="drop the axes of one voxel, or take another loss",
            )
        scene = scene.in_float32()
        p, y = _channels(scene, self.background)
        of_p, of_y = (self._skeleton(x.unflatten(2, scene.shape)).flatten(2) for x in (p, y))
        w = scene.weights()
        if w is not None:
            w = w[:, -y.shape[1] :] if w.shape[1] > 1 else w
            of_p, of_y = of_p * w, of_y * w
        precision = (_added(of_p * y) + self.smooth) / (_added(of_p) + self.smooth)
        sensitivity = (_added(of_y * p) + self.smooth) / (_added(of_y) + self.smooth)
        return _mean(1 - 2 * precision * sensitivity / (precision + sensitivity), scene)

    def _skeleton(self, x: Tensor) -> Tensor:
        result = torch.zeros_like(x)
        for _ in range(self.iterations + 1):
            smaller = _eroded(x)
            thin = (x - _dilated(smaller)).relu()
            result = result + (thin - result * thin).relu()
            x = smaller
        return result


def _eroded(x: Tensor) -> Tensor:
    """Smallest value of a voxel and its face neighbours."""
    least = -_along(-x, 0)
    for axis in range(1, x.dim() - 2):
        least = torch.minimum(least, -_along(-x, axis))
    return least


def _dilated(x: Tensor) -> Tensor:
    """Largest value of a voxel and all its neighbours."""
    return _largest(x, [3] * (x.dim() - 2))


def _along(x: Tensor, axis: int) -> Tensor:
    """Largest of three in a row along one axis."""
    return _largest(x, [3 if axis == k else 1 for k in range(x.dim() - 2)])


def _largest(x: Tensor, size: list[int]) -> Tensor:
    pool = functional.max_pool2d if len(size) == 2 else functional.max_pool3d
    return pool(x, size, 1, [n // 2 for n in size])


def _channels(scene: Scene, background: bool) -> tuple[Tensor, Tensor]:
    """Probabilities and truth of the channels that count, (B, C, N)."""
    first = int(scene.link.exclusive and not background)
    return scene.link.probabilities(scene.merged())[:, first:], scene.shares()[:, first:]


def _added(x: Tensor) -> Tensor:
    """Sum over voxels, (B, C, N) to (B, C)."""
    return x.sum(-1, dtype=wide(x))


def _mean(losses: Tensor, scene: Scene) -> Tensor:
    """Mean over sets (B, C) that were annotated, in the type of the loss."""
    check_finite([losses], scene)
    if scene.present is None:
        return losses.mean().to(exact(scene.values[:0]).dtype)
    counts = scene.present[:, -losses.shape[1] :]
    mean = losses.masked_fill(~counts, 0).sum() / counts.sum().clamp(min=1)
    return mean.to(exact(scene.values[:0]).dtype)
