"""Phantoms whose boundary is truly uncertain, with the probability map that their raters are drawn from.

A phantom is a core that every rater marks, and margins that fewer than half of them do. Each is an
ellipsoid with a linear ramp at its border; what is known is the probability of every voxel. A rater is one
draw from it: a smooth random field, cut so that the probability of being marked is that of the map, exactly.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr

from truevox.files import atomic_path
from truevox.image import Image, Kind
from truevox.io import save
from truevox.space import Grid

__all__ = [
    "Region",
    "draw_grid",
    "draw_regions",
    "generosity",
    "largest_shape",
    "probability_map",
    "raters",
    "scan",
    "smooth_field",
    "write_cohort",
]

Array = NDArray[np.floating]
Rng = np.random.Generator

FIELD_MM = (48.0, 48.0, 48.0)
"""Largest field of view of a phantom, by nominal voxels."""
VOXEL_MM = (1.0, 1.0, 2.0)
"""Nominal voxels of a phantom's grid."""
RATERS = 3
SPLITS = {"train": 48, "val": 4, "test": 20}
COHERENCE_MM = 2.0
_PURPOSES = ("shape", "grid", "noise", "rater")


@dataclass(frozen=True)
class Region:
    """An ellipsoid that a rater marks with probability ``level``, less and less across its border.

    Parameters
    ----------
    centre : (3,) mm
    axes : (3, 3) mm
        Columns are the semi-axes, at right angles to each other.
    level : float
        Probability inside, in (0, 1].
    ramp : float
        Half width of the border, as a share of the radius: the probability falls linearly from ``level``
        to 0 between the scaled radii ``1 - ramp`` and ``1 + ramp``.

    Examples
    --------
    >>> ball = Region(np.zeros(3), 10 * np.eye(3), level=0.5, ramp=0.2)
    >>> ball.probability(np.array([[0.0, 0, 0], [10, 0, 0], [12, 0, 0]])).round(6).tolist()
    [0.5, 0.25, 0.0]
    >>> round(ball.expected_volume_ml, 3)
    2.178
    """

    centre: Array
    axes: Array
    level: float = 1.0
    ramp: float = 0.1

    def probability(self, world: Array) -> Array:
        """Probability at world positions (mm): (..., 3) to (...)."""
        scaled = np.linalg.norm((world - self.centre) @ np.linalg.inv(self.axes).T, axis=-1)
        return self.level * np.clip((1 + self.ramp - scaled) / (2 * self.ramp), 0.0, 1.0)

    @property
    def expected_volume_ml(self) -> float:
        """Integral of the probability, in ml: ``level * 4/3 pi a b c * (1 + ramp**2)``.

        The ramp is a ball of random radius, uniform in [1 - ramp, 1 + ramp]: the mean of its cube.
        """
        ball = 4 / 3 * np.pi * abs(float(np.linalg.det(self.axes)))
        return self.level * ball * (1 + self.ramp**2) / 1000


def probability_map(regions: Sequence[Region], grid: Grid) -> Array:
    """Probability that a voxel is marked, (I, J, K): by at least one of the regions, independently.

    Examples
    --------
    >>> half = Region(np.zeros(3), 5 * np.eye(3), level=0.5)
    >>> float(probability_map([half, half], Grid((1,)))[0, 0, 0])
    0.75
    """
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    absent = np.ones(grid.shape)
    for region in regions:
        absent *= 1 - region.probability(world)
    return 1 - absent


def smooth_field(grid: Grid, coherence_mm: float, rng: Rng) -> Array:
    """A smooth random field (I, J, K), standard normal in every voxel.

    White noise, smoothed by a Gaussian of ``coherence_mm`` (standard deviation) along each axis. The ends of
    an axis are joined, so that all voxels have the same variance; it is the kernel's sum of squares.
    """
    field = rng.standard_normal(grid.shape)
    for axis, spacing in enumerate(grid.spacing):
        sigma = coherence_mm / spacing
        pulse = np.zeros(grid.shape[axis])
        pulse[0] = 1.0
        kernel = gaussian_filter1d(pulse, sigma, mode="wrap")
        field = gaussian_filter1d(field, sigma, axis=axis, mode="wrap") / np.sqrt((kernel**2).sum())
    return field


def raters(
    probability: Array, grid: Grid, rng: Rng, count: int = RATERS, coherence_mm: float = COHERENCE_MM
) -> list[NDArray[np.uint8]]:
    """Masks (I, J, K) of the raters of a case, each voxel marked with exactly its probability.

    A rater marks where the quantile of a smooth field lies below the probability. The quantile of a standard
    normal number is uniform, so the law of each voxel is exact; neighbours are marked together. The fields
    of a case sum to zero (antithetic draws: Hammersley and Morton, 1956): raters differ as much as they
    can, and a cohort of few raters is representative.
    """
    fields = np.stack([smooth_field(grid, coherence_mm, rng) for _ in range(count)])
    if count > 1:
        # Less their mean, fields of variance 1 have variance 1 - 1 / count.
        fields = (fields - fields.mean(0)) / np.sqrt(1 - 1 / count)
    return [(ndtr(field) < probability).astype(np.uint8) for field in fields]


def scan(probability: Array, grid: Grid, rng: Rng) -> NDArray[np.float32]:
    """Intensities (I, J, K) of a scan, in calibrated units: 0 outside, 2 where every rater would mark.

    Bright as the square root of the probability, so that a network has to learn the curve. Noise (standard
    deviation 0.2) and a faint smooth texture that means nothing (0.05) lie on top.
    """
    values = 2 * np.sqrt(probability) + 0.2 * rng.standard_normal(grid.shape)
    return (values + 0.05 * smooth_field(grid, 6.0, rng)).astype(np.float32)


def _turn(rng: Rng, most_degrees: float) -> Array:
    """Rotation about a random direction by up to so many degrees."""
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    angle = np.radians(rng.uniform(-most_degrees, most_degrees))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def largest_shape(voxel_mm: Sequence[float] = VOXEL_MM) -> tuple[int, int, int]:
    """Most voxels per axis of a phantom's grid.

    Examples
    --------
    >>> largest_shape(), largest_shape((2, 2, 4))
    ((48, 48, 24), (24, 24, 12))
    """
    i, j, k = (round(field / voxel) for field, voxel in zip(FIELD_MM, voxel_mm, strict=True))
    return i, j, k


def draw_grid(rng: Rng, voxel_mm: Sequence[float] = VOXEL_MM) -> Grid:
    """An oblique grid of about these voxels (mm) with a storage order of its own, centred near 0."""
    largest = np.array(largest_shape(voxel_mm))
    shape = largest - rng.integers(0, largest // 12 + 1)
    spacing = np.array(voxel_mm) * rng.uniform(0.95, 1.1, 3)
    mirrored = rng.choice([-1.0, 1.0], 3)
    affine = np.eye(4)
    affine[:3, :3] = _turn(rng, 25) @ np.diag(spacing * mirrored)
    affine[:3, 3] = rng.uniform(-1, 1, 3) - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(shape.tolist(), affine)


def draw_regions(rng: Rng) -> list[Region]:
    """A core, and two faint margins around it that may overlap."""
    size = rng.uniform(5.5, 8.0)
    centre = rng.uniform(-2, 2, 3)
    core = Region(centre, _turn(rng, 180) @ np.diag(size * rng.uniform(0.8, 1.2, 3)), 1.0, 0.15)
    margins = []
    for _ in range(2):
        away = rng.standard_normal(3)
        away *= size * rng.uniform(0.7, 1.0) / np.linalg.norm(away)
        axes = _turn(rng, 180) @ np.diag(size * rng.uniform(1.2, 1.6, 3))
        margins.append(Region(centre + away, axes, rng.uniform(0.38, 0.48), 0.2))
    return [core, *margins]


def generosity(seed: int, number: int) -> float:
    """How much likelier than usual the raters of a case mark its margins: a factor from 0.75 to 1.25.

    No scan shows it, so no network can foresee it; it makes cases differ as patients do. Cases of
    consecutive numbers spread evenly over the range (steps of the golden ratio), so that even a small
    cohort is representative.

    Examples
    --------
    >>> factors = [generosity(0, number) for number in range(20)]
    >>> round(sum(factors) / 20, 2), min(factors) > 0.75, max(factors) < 1.25
    (1.0, True, True)
    """
    start = float(np.random.default_rng(seed).random())
    return 0.75 + 0.5 * ((start + number * (5**0.5 - 1) / 2) % 1.0)


def write_cohort(
    folder: str | Path,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    voxel_mm: Sequence[float] = VOXEL_MM,
) -> Path:
    """Write a cohort of phantoms as NIfTI, and its table ``cohort.csv``.

    A row per case and rater: ``case,record,split,image,label,probability``. All raters of a case share its
    scan and its probability map.

    Parameters
    ----------
    folder : path
    seed : int
        A case depends on it and on its number, not on the other cases.
    splits : mapping of str to int, optional
        Cases per split.
    voxel_mm : (3,) mm
        Nominal voxels; those of a case are up to 10 % larger.

    Returns
    -------
    Path
        Of the table.

    Raises
    ------
    FileError
        If the folder can't be written.
    """
    root = Path(folder)
    names = [split for split, count in (splits or SPLITS).items() for _ in range(count)]
    rows: list[dict[str, str]] = []
    for number, split in enumerate(names, start=1):
        rows += _write_case(root, f"p{number:02d}", split, (seed, number), voxel_mm)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    table = root / "cohort.csv"
    with atomic_path(table) as temporary:
        Path(temporary).write_text(text.getvalue(), encoding="utf-8")
    return table


def _write_case(
    root: Path, case: str, split: str, draw: tuple[int, int], voxel_mm: Sequence[float]
) -> list[dict[str, str]]:
    def rng(purpose: str) -> Rng:
        return np.random.default_rng([*draw, _PURPOSES.index(purpose)])

    grid = draw_grid(rng("grid"), voxel_mm)
    core, *margins = draw_regions(rng("shape"))
    factor = generosity(*draw)
    true = [core, *(replace(margin, level=factor * margin.level) for margin in margins)]
    probability = probability_map(true, grid).astype(np.float32)
    files = {"image": f"scans/{case}.nii.gz", "probability": f"truth/{case}.nii.gz"}
    save(
        _image(scan(probability_map([core, *margins], grid), grid, rng("noise")), grid), root / files["image"]
    )
    save(_image(probability, grid, "probability"), root / files["probability"])
    rows = []
    for k, mask in enumerate(raters(probability, grid, rng("rater"))):
        record, label = f"rater{k + 1}", f"raters/{case}_{k + 1}.nii.gz"
        save(_image(mask, grid, "label"), root / label)
        row = {"case": case, "record": record, "split": split, "image": files["image"], "label": label}
        rows.append(row | {"probability": files["probability"]})
    return rows


def _image(values: NDArray, grid: Grid, kind: Kind = "scalar") -> Image:
    return Image(torch.from_numpy(values[None]), grid, kind)
