"""Histograms onto a common one: a reference's quantiles, or landmarks learned on the training split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.kinds import Pointwise
from truevox.transforms.intensity import demand_finite
from truevox.transforms.ranges import number, up_to, whole

if TYPE_CHECKING:
    from truevox.cohort import Case

__all__ = ["HistogramMatch", "NyulLandmarks"]

Foreground = Literal["mean", "nonzero"] | None
NYUL = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)


@dataclass(frozen=True, eq=False)
class _Histogram(Pointwise):
    """Piecewise linear from the frame's percentiles to those that were learned."""

    landmarks: Sequence[Sequence[float]]
    percentiles: Sequence[float]
    foreground: Foreground = "mean"

    beyond = False
    """Whether the outer pieces go on, or values stop at the outer landmarks."""

    def __post_init__(self) -> None:
        what = type(self).__name__
        _check(self.percentiles, self.foreground, what)
        if not self.landmarks or any(len(c) != len(self.percentiles) for c in self.landmarks):
            raise GraphError(
                f"{what} has one landmark per percentile and channel.",
                got=[len(c) for c in self.landmarks],
                expected=f"{len(self.percentiles)} each",
                remedy=f"make it by {what}.fit(images)",
            )
        if not all(a <= b for c in self.landmarks for a, b in pairwise(c)):
            raise GraphError(
                f"{what}: landmarks are numbers that do not fall.",
                got=self.landmarks,
                remedy=f"make them by {what}.fit(images)",
            )

    def values(self, frame: Callable[[], Image], rng: Rng) -> Callable[[Tensor], Tensor]:
        image = frame()
        if image.channels != len(self.landmarks):
            raise GraphError(
                f"{type(self).__name__} was fitted on another number of channels.",
                got=image.channels,
                expected=len(self.landmarks),
                remedy="fit it on images of these channels, or Stack the same ones",
            )
        sources = [_percentiles(c, self.percentiles, self.foreground) for c in image.numpy()]
        pieces = [_increasing(s, np.array(t)) for s, t in zip(sources, self.landmarks, strict=True)]

        def apply(x: Tensor) -> Tensor:
            data = x.detach().cpu().double().numpy()
            out = [_mapped(channel, *p, self.beyond) for channel, p in zip(data, pieces, strict=True)]
            return torch.from_numpy(np.stack(out)).to(x.device)

        return apply


def _check(percentiles: Sequence[float], foreground: Foreground, what: str) -> None:
    given = [number(p, f"{what}: a percentile") for p in percentiles]
    if len(given) < 2 or np.diff(given).min() <= 0 or given[0] < 0 or given[-1] > 100:
        raise GraphError(
            f"{what}: percentiles rise from 0 or more to 100 or less.",
            got=percentiles,
            remedy="write e.g. (1, 10, 50, 90, 99)",
        )
    if foreground not in (None, "mean", "nonzero"):
        raise GraphError(
            f"{what}: foreground is 'mean', 'nonzero' or None.",
            got=foreground,
            remedy='write foreground="nonzero" where the background is 0, else "mean"',
        )


def _percentiles(channel: np.ndarray, percentiles: Sequence[float], foreground: Foreground) -> np.ndarray:
    values = channel.ravel()
    if foreground is not None:
        kept = values > values.mean(dtype=np.float64) if foreground == "mean" else values != 0
        values = values[kept] if kept.any() else values
    found = np.percentile(values.astype(np.float64), percentiles)
    demand_finite(found, "A histogram")
    return found


def _increasing(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal percentiles are one, and go to the middle of where they should."""
    kept, which = np.unique(source, return_inverse=True)
    return kept, np.bincount(which, target) / np.bincount(which)


def _mapped(values: np.ndarray, source: np.ndarray, target: np.ndarray, beyond: bool) -> np.ndarray:
    out = np.interp(values, source, target)
    if beyond and len(source) > 1:
        slopes = np.diff(target) / np.diff(source)
        out += np.minimum(values - source[0], 0) * slopes[0] + np.maximum(values - source[-1], 0) * slopes[-1]
    return out.astype(np.float32)


def _fitted(
    what: str,
    images: Iterable[Image | Case],
    column: str | None,
    percentiles: Sequence[float],
    foreground: Foreground,
    onto: Callable[[np.ndarray], np.ndarray],
) -> tuple[tuple[float, ...], ...]:
    """Mean landmarks per channel, each image's percentiles put on a scale first."""
    _check(percentiles, foreground, what)
    found = []
    for item in images:
        if not isinstance(item, Image) and column is None:
            raise GraphError(f"{what}.fit needs a column.", remedy=f'{what}.fit(cohort, column="flair")')
        image = item if isinstance(item, Image) else item.load(column or "")
        found.append([onto(_percentiles(c, percentiles, foreground)) for c in image.numpy()])
    if not found or len({len(f) for f in found}) > 1:
        raise GraphError(
            f"{what}.fit takes one image or more, all of as many channels.",
            got=sorted({len(f) for f in found}) or "none",
            remedy="leave out the images with other channels, or Stack the missing ones",
        )
    return tuple(tuple(channel) for channel in np.mean(found, axis=0).tolist())


@node
class HistogramMatch(_Histogram):
    """Values such that the frame's quantiles become those of a reference. Made by :meth:`fit`.

    Parameters
    ----------
    landmarks : (C, N) floats
        Values of the reference at each percentile.
    percentiles : N floats
        From 0 to 100.
    foreground : {"mean", "nonzero", None}
        Which voxels' percentiles are taken: those above the image's mean, those that are not 0, or all.

    Notes
    -----
    Values beyond the outer percentiles stop at the outer landmarks. It makes images of one contrast alike;
    where the share of the tissues differs from the reference's, so will their values:
    :class:`NyulLandmarks` is milder.

    Examples
    --------
    >>> from truevox import Grid
    >>> grid = Grid((100,))
    >>> x = Image(torch.arange(100.0).reshape(1, 100, 1, 1), grid)
    >>> match = HistogramMatch.fit([Image(x.data**2, grid)])
    >>> float((match(x).data - x.data**2).abs().max()) < 1.0
    True
    """

    @classmethod
    def fit(
        cls,
        images: Iterable[Image | Case],
        column: str | None = None,
        *,
        quantiles: int = 101,
        foreground: Foreground = None,
    ) -> HistogramMatch:
        """The node that matches to one image, or to the mean quantiles of several.

        Parameters
        ----------
        images : images, or cases of a cohort
        column : str
            Of the cases.
        quantiles : int
            How many, evenly spaced from the least value to the largest.

        Raises
        ------
        GraphError
            If there are no images, or their channels differ in number.
        """
        percentiles = tuple(np.linspace(0, 100, whole(quantiles, "HistogramMatch: quantiles", 2)).tolist())
        landmarks = _fitted(cls.__name__, images, column, percentiles, foreground, lambda p: p)
        return cls(landmarks, percentiles, foreground)


@node
class NyulLandmarks(_Histogram):
    """Values on the standard scale of a training set, so that a value means about the same in every scan.

    Fit it on the training split; the landmarks are plain numbers and are saved with the model.

    Parameters
    ----------
    landmarks : (C, N) floats
        Standard value of each percentile. Made by :meth:`fit`.
    percentiles : N floats
        The deciles between 1 and 99 % by default.
    foreground : {"mean", "nonzero", None}
        Which voxels' percentiles are taken: those above the image's mean, those that are not 0, or all.

    Notes
    -----
    Linear between two landmarks; beyond the outer ones the outer pieces go on.

    References
    ----------
    L. G. Nyul and J. K. Udupa, On standardizing the MR image intensity scale, Magn. Reson. Med. 42, 1999;
    L. G. Nyul, J. K. Udupa and X. Zhang, New variants of a method of MRI scale standardization, IEEE Trans.
    Med. Imaging 19, 2000.

    Examples
    --------
    >>> from truevox import Grid
    >>> x = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> standard = NyulLandmarks.fit([x, Image(x.data * 40 + 7, x.grid)])
    >>> bool(torch.allclose(standard(x).data, standard(Image(x.data * 3 - 1, x.grid)).data, atol=1e-3))
    True
    """

    beyond = True

    @classmethod
    def fit(
        cls,
        images: Iterable[Image | Case],
        column: str | None = None,
        *,
        percentiles: Sequence[float] = NYUL,
        scale: tuple[float, float] = (0.0, 100.0),
        foreground: Foreground = "mean",
    ) -> NyulLandmarks:
        """Learn the standard scale. One image is in memory at a time.

        Parameters
        ----------
        images : images, or cases of a cohort
            Of the training split.
        column : str
            Of the cases.
        percentiles : sequence of float
        scale : (low, high)
            Standard values of the outer percentiles.

        Raises
        ------
        GraphError
            If there are no images, or their channels differ in number.
        """
        low, high = up_to(scale, "NyulLandmarks: scale", -np.inf)

        def onto(found: np.ndarray) -> np.ndarray:
            span = found[-1] - found[0]
            return low + (found - found[0]) * ((high - low) / span if span > 0 else 0.0)

        landmarks = _fitted(cls.__name__, images, column, percentiles, foreground, onto)
        return cls(landmarks, tuple(percentiles), foreground)
