"""What goes wrong in a scanner: uneven coils, motion, ghosts, spikes, ringing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.regions import Effect, Framewise, Local
from truevox.space import Grid
from truevox.transforms.along import along, circulant, frequencies
from truevox.transforms.intensity import air_of, demand_finite
from truevox.transforms.ranges import Range, check_probability, is_number, up_to, whole
from truevox.transforms.spatial import RandomAffine, some_axes, wide_axes

__all__ = ["RandomBiasField", "RandomGhosting", "RandomGibbs", "RandomMotion", "RandomSpike"]

Axes = int | Sequence[int] | None


@node
class RandomBiasField(Local):
    """Uneven intensity: the signal times a smooth positive field.

    Parameters
    ----------
    strength : float or (low, high)
        Uniform in [0, strength] or in the range: before its mean is taken off, the logarithm of the field
        lies in [-strength, strength].
    wavelength : float or (low, high)
        Millimetres: of the waves that make up the logarithm of the field, in random directions.
    waves : int
    probability : float

    Notes
    -----
    The logarithm of the field has mean 0 over the frame: no change of brightness as a whole. Its gradient is
    at most ``2 pi strength / wavelength``: in a small patch the field is as flat as in the scanner. Signal is
    counted from ``fill``, which is where air went in earlier nodes.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.ones(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> field = RandomBiasField((0.5, 0.5), wavelength=(16, 16))(x, rng=np.random.default_rng(0)).data
    >>> bool((field > 0).all()), abs(float(field.log().mean())) < 1e-6
    (True, True)
    """

    strength: Range = 0.5
    wavelength: Range = (150.0, 400.0)
    waves: int = 4
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.strength, "RandomBiasField: strength")
        if np.ndim(self.wavelength) != 1 or up_to(self.wavelength, "RandomBiasField: wavelength")[0] <= 0:
            raise GraphError(
                "RandomBiasField: wavelength is a range (low, high) above 0 mm.",
                got=self.wavelength,
                remedy="write wavelength=(150, 400), in mm",
            )
        whole(self.waves, "RandomBiasField: the number of waves")
        check_probability(self.probability, "RandomBiasField")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        strength = rng.uniform(*up_to(self.strength, "strength"))
        length = rng.uniform(*up_to(self.wavelength, "wavelength"), self.waves)
        direction = rng.normal(size=(self.waves, 3))
        amplitude = rng.uniform(-1, 1, self.waves)
        phase = rng.uniform(0, 2 * np.pi, self.waves)
        if not applied:
            return None
        amplitude *= strength / np.abs(amplitude).sum()
        wide = wide_axes(grid) or [0]
        direction[:, np.isin(range(3), wide, invert=True)] = 0
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        vectors = direction @ (grid.affine[:3, :3] / grid.spacing).T / length[:, None]
        mean = _mean_of_waves(grid, vectors, amplitude, phase)

        def uneven(image: Image) -> Tensor:
            field = _waves(image.grid, vectors, amplitude, phase).to(image.data.device).sub_(mean).exp_()
            air = air_of(image)
            return image.data.float().sub(air).mul_(field).add_(air)

        return Effect(uneven)


def _turns(grid: Grid, vectors: np.ndarray, phase: np.ndarray) -> list[np.ndarray]:
    """Waves of ``vectors`` (M, 3) cycles per mm as factors exp(i phase) per axis: three of (n, M)."""
    cycles = vectors @ grid.affine[:3, :3]
    turns = [np.exp(2j * np.pi * np.arange(n)[:, None] * cycles[:, a]) for a, n in enumerate(grid.shape)]
    turns[0] = turns[0] * np.exp(1j * (2 * np.pi * vectors @ grid.affine[:3, 3] + phase))
    return turns


def _waves(grid: Grid, vectors: np.ndarray, amplitude: np.ndarray, phase: np.ndarray) -> Tensor:
    """Sum of plane waves on the voxels of a grid: (I, J, K), as one product of small matrices."""
    first, second, third = _turns(grid, vectors, phase)
    plane = (first[:, None] * second[None] * amplitude).reshape(-1, len(vectors))
    left = np.concatenate([np.real(plane), -np.imag(plane)], axis=1).astype(np.float32)
    right = np.concatenate([np.real(third), np.imag(third)], axis=1).astype(np.float32)
    return (torch.from_numpy(left) @ torch.from_numpy(right).T).reshape(grid.shape)


def _mean_of_waves(grid: Grid, vectors: np.ndarray, amplitude: np.ndarray, phase: np.ndarray) -> float:
    first, second, third = (turn.mean(0) for turn in _turns(grid, vectors, phase))
    return float((amplitude * np.real(first * second * third)).sum())


@node
class RandomSpike(Local):
    """Stripes over the image: a wrong point in k-space.

    Parameters
    ----------
    strength : float or (low, high)
        Amplitude of the stripes as a fraction of the frame's range; uniform in [0, strength] or in the range.
    spikes : int
        Number of wrong points.
    probability : float

    Notes
    -----
    A point in k-space is a plane wave, and its frequency is one of the frame's.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> stripes = RandomSpike(0.5)(x, rng=np.random.default_rng(0)).data - x.data
    >>> abs(float(stripes.mean())) < 1e-6
    True
    """

    strength: Range = (0.05, 0.2)
    spikes: int = 1
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.strength, "RandomSpike: strength")
        whole(self.spikes, "RandomSpike: the number of spikes")
        check_probability(self.probability, "RandomSpike")

    def effect(self, frame: Callable[[], Image], grid: Grid, rng: Rng) -> Effect | None:
        applied = rng.random() < self.probability
        strength = rng.uniform(*up_to(self.strength, "strength"), self.spikes)
        shape = np.array(grid.shape)
        line = rng.integers(-(shape // 2), shape // 2 + 1, (self.spikes, 3))
        phase = rng.uniform(0, 2 * np.pi, self.spikes)
        if not applied or shape.max() == 1:
            return None
        # The middle of k-space is no stripe, but a change of brightness.
        line[(line == 0).all(1), int(shape.argmax())] = 1
        vectors = np.linalg.solve(grid.affine[:3, :3].T, (line / shape).T).T
        data = frame().data.flatten(1).float()
        scale = (data.amax(1) - data.amin(1)).view(-1, 1, 1, 1)
        demand_finite(scale.tolist(), "RandomSpike")

        def striped(image: Image) -> Tensor:
            stripes = _waves(image.grid, vectors, strength, phase).to(image.data.device)
            return stripes.mul(scale).add_(image.data)

        return Effect(striped)


def _given(axes: Axes, what: str = "") -> tuple[int, ...]:
    return (0, 1, 2) if axes is None else some_axes(axes, f"{what}: axes")


def _chosen(axes: Axes, grid: Grid, rng: Rng) -> int | None:
    """One axis at random, of those given that have more than one voxel; None if there is none."""
    order = rng.permutation(3).tolist()
    return next((a for a in order if a in _given(axes) and grid.shape[a] > 1), None)


@node
class RandomGhosting(Framewise):
    """Ghosts: faint copies of the image, evenly shifted along an axis and wrapped around the frame.

    Parameters
    ----------
    strength : float or (low, high)
        Share of the signal that goes into the ghosts; uniform in [0, strength] or in the range.
    copies : int or (low, high)
        Copies including the image itself: 2 puts one ghost half a frame away (as in echo-planar imaging); a
        range draws a whole number.
    axes : int or sequence of int, optional
        The phase-encoding axis is one of these at random; any if left out.
    probability : float

    Notes
    -----
    Every ``copies``-th line of k-space differs from the others, as when the patient's pulse or breath
    modulates them. The mean stays.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.tensor([0.0, 8, 0, 0]).reshape(1, 4, 1, 1), Grid((4,)))
    >>> RandomGhosting((0.25, 0.25), copies=2)(x).data.flatten().tolist()
    [0.0, 6.0, 0.0, 2.0]
    """

    strength: Range = (0.1, 0.4)
    copies: int | Sequence[int] = (2, 5)
    axes: Axes = None
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self.strength, "RandomGhosting: strength", most=1.0)
        self._copies()
        check_probability(self.probability, "RandomGhosting")
        _given(self.axes, "RandomGhosting")

    def _copies(self) -> tuple[int, int]:
        given = np.asarray(self.copies)
        low, high = np.broadcast_to(given, 2).tolist() if given.shape in ((), (2,)) else (0, 0)
        if given.dtype.kind not in "iu" or not 2 <= low <= high:
            raise GraphError(
                "RandomGhosting: copies is a whole number from 2, or a range.",
                got=self.copies,
                remedy="write copies=4, or copies=(2, 6)",
            )
        return low, high

    def remade(self, see: Callable[[Grid], Image], grid: Grid, rng: Rng) -> Tensor | None:
        applied = rng.random() < self.probability
        strength = rng.uniform(*up_to(self.strength, "strength"))
        low, high = self._copies()
        copies = int(rng.integers(low, high + 1))
        axis = _chosen(self.axes, grid, rng)
        if not applied or axis is None:
            return None
        comb = frequencies(grid.shape[axis]) % copies == 0
        weights = (1 - strength) + strength * (copies * comb - 1) / (copies - 1)
        return along(see(grid).data, circulant(weights), axis)


@node
class RandomGibbs(Framewise):
    """Ringing at edges: the outer part of k-space was not measured.

    Parameters
    ----------
    kept : float or (low, high)
        Fraction of k-space that is kept along each axis; uniform in the range, one for all axes. A number
        stands for [kept, 1].
    axes : int or sequence of int, optional
        Axes that are cut; all if left out. In-plane axes ring in 2D acquisitions.
    probability : float

    Examples
    --------
    >>> import torch
    >>> step = torch.cat([torch.zeros(1, 32, 1, 1), torch.ones(1, 32, 1, 1)], dim=1)
    >>> y = RandomGibbs((0.5, 0.5))(Image(step, Grid((64,)))).data
    >>> 1.05 < float(y.max()) < 1.15
    True
    """

    kept: Range = (0.4, 0.8)
    axes: Axes = None
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        up_to(self._kept(), "RandomGibbs: kept", most=1.0)
        check_probability(self.probability, "RandomGibbs")
        _given(self.axes, "RandomGibbs")

    def _kept(self) -> Range:
        return (self.kept, 1.0) if is_number(self.kept) else self.kept

    def remade(self, see: Callable[[Grid], Image], grid: Grid, rng: Rng) -> Tensor | None:
        applied = rng.random() < self.probability
        kept = rng.uniform(*up_to(self._kept(), "kept"))
        if not applied:
            return None
        measured = {a: np.abs(frequencies(n)) <= kept * n / 2 for a, n in enumerate(grid.shape)}
        cut = [a for a in _given(self.axes) if not measured[a].all()]
        if not cut:
            return None
        data = see(grid).data
        for axis in cut:
            data = along(data, circulant(measured[axis].astype(np.float64)), axis)
        return data


@node
class RandomMotion(Framewise):
    """Motion during the scan: k-space is put together of several poses of the patient.

    Parameters
    ----------
    rotation : float or three floats
        Degrees; the pose after a movement is turned about each axis uniform in [-rotation, rotation].
    translation : float or three floats
        Millimetres; along each axis uniform in [-translation, translation].
    movements : int
        Number of movements, at random times.
    axes : int or sequence of int, optional
        Lines are read one after the other along one of these axes at random; any if left out.
    probability : float

    Notes
    -----
    The pose in which the middle of k-space was read is the scan's own, so the label keeps its place. The
    other poses are looks from elsewhere: they see what lies beyond a crop. Of the image that the scanner
    would show, the real part is taken, so that values below zero survive; without movement nothing changes.

    References
    ----------
    R. Shaw et al., MRI k-space motion artefact augmentation, MIDL 2019.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.rand(1, 8, 8, 8), Grid((8, 8, 8)))
    >>> torch.equal(RandomMotion(rotation=0, translation=0)(x).data, x.data)
    True
    """

    rotation: float | Sequence[float] = 10.0
    translation: float | Sequence[float] = 10.0
    movements: int = 2
    axes: Axes = None
    probability: float = 1.0

    random = True

    def __post_init__(self) -> None:
        self._pose()
        whole(self.movements, "RandomMotion: the number of movements")
        check_probability(self.probability, "RandomMotion")
        _given(self.axes, "RandomMotion")

    def _pose(self) -> RandomAffine:
        return RandomAffine(rotation=self.rotation, translation=self.translation)

    def remade(self, see: Callable[[Grid], Image], grid: Grid, rng: Rng) -> Tensor | None:
        applied = rng.random() < self.probability
        times = np.sort(rng.uniform(size=self.movements))
        poses = [self._pose().look(grid, {}, rng) for _ in range(self.movements + 1)]
        axis = _chosen(self.axes, grid, rng)
        if not applied or axis is None:
            return None
        lines = frequencies(grid.shape[axis])
        during = np.searchsorted(times, (lines - lines.min() + 0.5) / len(lines))
        still = see(grid).data.float()
        made = still
        for pose in np.unique(during):
            if pose != during[0]:  # the middle of k-space is line 0
                moved = see(grid.transformed(poses[pose])).data
                part = circulant((during == pose).astype(np.float64))
                made = made + along(moved - still, part, axis)
        return made
