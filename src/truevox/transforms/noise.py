"""Noise: of its own for every voxel, channel and input, however it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from truevox import sampling
from truevox.image import Image
from truevox.kernels.noise import add_normal
from truevox.pipeline.graph import Rng, Signature, node
from truevox.pipeline.lazy import Lazy
from truevox.pipeline.regions import Effect, Local
from truevox.space import Grid
from truevox.transforms.intensity import air_of
from truevox.transforms.ranges import Range, check_probability, up_to

__all__ = ["RandomNoise", "RandomRicianNoise"]


@dataclass(frozen=True, eq=False)
class _Noise(Local):
    """Whether and how strong is one draw for all inputs; the noise itself is of its own for each."""

    std: Range = 0.1
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.std, f"{type(self).__name__}: std")
        check_probability(self.probability, type(self).__name__)

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        self.signatures([Signature(i.kind) for i in inputs])
        applied = rng.random() < self.probability
        std = rng.uniform(*up_to(self.std, "std"))
        seeds = rng.integers(2**63, size=(len(inputs), 2))
        return tuple(
            self.filtered(lazy, lambda lazy=lazy, own=own: self._effect(lazy, std, own) if applied else None)
            for lazy, own in zip(inputs, seeds.tolist(), strict=True)
        )

    def _effect(self, lazy: Lazy, std: float, seeds: Sequence[int]) -> Effect | None:
        # Numbers belong to voxels of the frame, or, where those are not there, of what lies behind it.
        anchors = (lazy.grid, lazy.extent)
        return Effect(lambda image: self.noisy(image, std, seeds, anchors)) if std > 0 else None

    def noisy(self, image: Image, std: float, seeds: Sequence[int], anchors: Sequence[Grid]) -> Tensor:
        """New voxels of an image."""
        raise NotImplementedError


def _with_noise(x: Tensor, grid: Grid, std: float, seed: int, anchors: Sequence[Grid]) -> Tensor:
    """Numbers that belong to the voxels of the first lattice that the grid's voxels are on."""
    found = next((f for a in anchors if (f := sampling.coincidence(a, grid)) is not None), None)
    axes, signs, starts = found or ([0, 1, 2], [1, 1, 1], [0, 0, 0])
    lattice = anchors[0].shape
    # Rows run along an axis of many voxels: each costs something by itself.
    rows = max((a for a in range(3) if lattice[a] > 1), default=2)
    order = [*(a for a in range(3) if a != rows), rows]
    mine = [axes.index(a) for a in order]  # the grid's axis along each of these
    place = [starts[a] - (grid.shape[t] - 1) * (signs[t] < 0) for a, t in zip(order, mine, strict=True)]
    flips = tuple(1 + k for k, t in enumerate(mine) if signs[t] < 0)
    data = np.transpose(x.detach().cpu().numpy(), [0, *(1 + t for t in mine)])
    made = np.flip(add_normal(np.flip(data, flips), std, seed, place), flips)
    back = np.transpose(made, [0, *(1 + mine.index(t) for t in range(3))])
    return torch.from_numpy(back.copy() if flips else np.ascontiguousarray(back)).to(x.device)


@node
class RandomNoise(_Noise):
    """Gaussian noise.

    Parameters
    ----------
    std : float or (low, high)
        Standard deviation in the image's units; uniform in [0, std] or in the range.
    probability : float

    Notes
    -----
    Every voxel, channel and input has noise of its own; whether there is noise, and how strong, is one draw
    for all inputs. Noise belongs to the voxel: two crops of a noisy image show the same there. What lies
    outside of the scan has none.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.zeros(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> y = RandomNoise(0.1)(x, rng=np.random.default_rng(0))
    >>> 0 < float(y.data.std()) < 0.1
    True
    """

    def noisy(self, image: Image, std: float, seeds: Sequence[int], anchors: Sequence[Grid]) -> Tensor:
        return _with_noise(image.data.float(), image.grid, std, seeds[0], anchors)


@node
class RandomRicianNoise(_Noise):
    """Noise of magnitude images: the length of the signal with Gaussian noise on both of its parts.

    Parameters
    ----------
    std : float or (low, high)
        Standard deviation of each part, in the image's units; uniform in [0, std] or in the range.
    probability : float

    Notes
    -----
    Signal is counted from ``fill``, which is where air went in earlier nodes. Where there is none, values are
    Rayleigh distributed (mean 1.253 std); strong signal keeps its mean and gets Gaussian noise. What has
    noise of its own, and what is one draw, is as for :class:`RandomNoise`.

    References
    ----------
    H. Gudbjartsson and S. Patz, The Rician distribution of noisy MRI data, Magn. Reson. Med. 34, 1995.

    Examples
    --------
    >>> from truevox import Grid, Image
    >>> x = Image(torch.zeros(1, 16, 16, 16), Grid((16, 16, 16)))
    >>> y = RandomRicianNoise((1, 1))(x, rng=np.random.default_rng(0))
    >>> abs(float(y.data.mean()) - (np.pi / 2) ** 0.5) < 0.05
    True
    """

    def noisy(self, image: Image, std: float, seeds: Sequence[int], anchors: Sequence[Grid]) -> Tensor:
        air = air_of(image).to(image.data.device)
        real, imaginary = (
            _with_noise(part, image.grid, std, seed, anchors)
            for part, seed in zip(
                (image.data.float() - air, torch.zeros_like(image.data.float())), seeds, strict=True
            )
        )
        return real.square_().add_(imaginary.square_()).sqrt_().add_(air)
