"""Pictures to learn from: real ones from a folder, and phantoms whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from truevox.demo import phantom
from truevox.space import Grid

__all__ = [
    "Hearts",
    "Labelled",
    "Nodules",
    "consensus",
    "heart_parts",
    "hearts",
    "hippocampus",
    "lidc",
    "margins",
    "specks",
]

Floats = NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Nodules:
    """Slices with masks of several raters.

    Parameters
    ----------
    name : str
    images : array (N, H, W)
    masks : array of bool (N, R, H, W)
    patient, nodule : arrays of int (N,)
    expected : array (N, H, W)
        The chance that a pixel is marked: known for phantoms, the raters' mean otherwise.
    known : bool
        Whether it is known.
    pixel : float
        Area of a pixel in units of ``unit``.
    unit : str
    uncertainty : array (number of nodules,)
        What quarters are made of, and ``uncertainty_name`` says what it is.
    """

    name: str
    images: Floats
    masks: NDArray[np.bool_]
    patient: NDArray[np.int64]
    nodule: NDArray[np.int64]
    expected: Floats
    known: bool
    pixel: float
    unit: str
    uncertainty: NDArray[np.float64]
    uncertainty_name: str


@dataclass(frozen=True, eq=False)
class Labelled:
    """Slices with one label map, in cases, for training and for testing.

    Parameters
    ----------
    name : str
    images : array (N, H, W)
    labels : array of int (N, H, W)
    case : array of int (N,)
        Slices of one case are scored together.
    test : array of bool (N,)
    classes : int
    turns : bool
        Whether a slice that is turned or mirrored is as good as another one.
    """

    name: str
    images: Floats
    labels: NDArray[np.int64]
    case: NDArray[np.int64]
    test: NDArray[np.bool_]
    classes: int
    turns: bool = True


@dataclass(frozen=True, eq=False)
class Hearts:
    """Phantoms of a heart's short axis: 1 blood, 2 muscle around it, 3 blood of the other chamber.

    ``contracted`` (N,) says which of two phases; the muscle has the same area in both.
    """

    images: Floats
    labels: NDArray[np.int64]
    contracted: NDArray[np.bool_]
    pixel_mm2: float = 4.0


def lidc(folder: Path, patients: int | None = None) -> Nodules:
    """All slices of ``lidc_idri_4raters``, in that folder or below the one given."""
    inside = folder / "lidc_idri_4raters"
    root = inside if inside.is_dir() else folder
    files = [root / f"lidc64_{part}.npz" for part in ("train", "val")]
    if not all(file.is_file() for file in files):
        raise SystemExit(f"No lidc64_train.npz and lidc64_val.npz in {root}.")
    parts = [np.load(file) for file in files]
    names, images = (np.concatenate([part[key] for part in parts]) for key in ("nodule", "image"))
    masks = np.concatenate([np.unpackbits(part["mask"], axis=-1).astype(bool) for part in parts])
    people = np.unique([name.rpartition("/")[0] for name in names], return_inverse=True)[1]
    if patients is not None:
        kept = people < patients
        names, images, masks, people = names[kept], images[kept], masks[kept], people[kept]
    nodule = np.unique(names, return_inverse=True)[1]
    return Nodules(
        "lidc",
        ((images / 255 - 0.25) * 4).astype(np.float32),
        masks,
        people,
        nodule,
        masks.mean(1, dtype=np.float32),
        False,
        1.0,
        "pixels",
        _disagreement(masks, nodule),
        "disagreement of the raters",
    )


def _disagreement(masks: NDArray[np.bool_], nodule: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of what one rater of a nodule marks that another one does not, on average over pairs."""
    raters = masks.shape[1]
    votes = masks.sum(1, dtype=np.float64)
    both = np.bincount(nodule, (votes * (votes - 1)).sum((1, 2)) / (raters * (raters - 1)))
    return 1 - both / np.maximum(np.bincount(nodule, votes.sum((1, 2)) / raters), 1e-9)


def margins(count: int, seed: int) -> Nodules:
    """The demo's lesions, cut once: a certain core, and margins that raters mark by a known chance.

    The chance of a phantom's margins lies between 0.15 and 0.6, and the picture shows it as brightness.
    """
    affine = np.eye(4)
    affine[:2, 3] = -23.5
    grid = Grid((48, 48, 1), affine)
    images, known, masks, levels = [], [], [], []
    for number in range(count):
        rng = np.random.default_rng([seed, 1, number])
        core, *rest = phantom.draw_regions(rng)
        level = 0.15 + 0.45 * rng.random()
        regions = [core, *(replace(margin, level=level) for margin in rest)]
        chance = phantom.probability_map(regions, grid)
        images.append(phantom.scan(chance, grid, rng)[..., 0])
        known.append(chance[..., 0])
        masks.append(np.stack(phantom.raters(chance, grid, rng, count=4))[..., 0].astype(bool))
        levels.append(level)
    index = np.arange(count)
    return Nodules(
        "phantom",
        np.stack(images).astype(np.float32) - np.float32(0.3),
        np.stack(masks),
        index,
        index,
        np.stack(known).astype(np.float32),
        True,
        1.0,
        "mm2",
        np.array(levels),
        "chance that a margin is marked",
    )


def hearts(count: int, seed: int) -> Hearts:
    """Every second heart is contracted: a smaller ring, thicker, of the same area."""
    y, x = np.mgrid[:48, :48]
    images, labels = np.zeros((2, count, 48, 48))
    contracted = np.arange(count) % 2 == 1
    for number in range(count):
        rng = np.random.default_rng([seed, 2, number])
        radius, squash = rng.uniform(8.5, 11.5), rng.uniform(0.9, 1.1)
        inner, outer = (0.461, 0.85) if contracted[number] else (0.7, 1.0)
        a, b = rng.uniform(24, 28), rng.uniform(21, 27)
        distance = np.hypot((x - a) * squash, (y - b) / squash) / radius
        beside = np.hypot((x - a) * squash + 1.1 * radius, (y - b) / squash) / radius
        label = np.where(beside < (0.75 if contracted[number] else 0.95), 3, 0)
        label = np.where(distance < outer, 2, label)
        label = np.where(distance < inner, 1, label)
        bright = np.array([0.0, 1.0, 0.45, 0.9])[label] + 0.35 * _texture(rng, 5.0) * (label == 0)
        images[number] = gaussian_filter(bright, 0.8) + 0.15 * rng.standard_normal((48, 48))
        labels[number] = label
    return Hearts(images.astype(np.float32), labels.astype(np.int64), contracted)


def heart_parts(count: int, seed: int) -> Labelled:
    """Hearts of both phases with all three labels; a third are for testing."""
    found, index = hearts(count, seed), np.arange(count)
    return Labelled("heart", found.images, found.labels, index, index % 3 == 0, 4, turns=False)


def specks(count: int, seed: int) -> Labelled:
    """One to five faint small lesions among brighter streaks; a third of the cases are for testing."""
    y, x = np.mgrid[:48, :48]
    images, labels = np.zeros((2, count, 48, 48))
    for number in range(count):
        rng = np.random.default_rng([seed, 3, number])
        picture = 0.3 * _texture(rng, 4.0)
        for _ in range(rng.integers(1, 6)):
            spot = np.hypot(x - rng.uniform(4, 43), y - rng.uniform(4, 43)) < rng.uniform(1.2, 3.0)
            labels[number][spot] = 1
        for _ in range(3):
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-18, 18)
            away = np.abs((x - 23.5) * np.cos(angle) + (y - 23.5) * np.sin(angle) - offset)
            picture += 0.9 * (away < 0.9)
        picture += 0.9 * labels[number]
        images[number] = gaussian_filter(picture, 0.8) + 0.2 * rng.standard_normal((48, 48))
    index = np.arange(count)
    return Labelled(
        "small lesions", images.astype(np.float32), labels.astype(np.int64), index, index % 3 == 0, 2
    )


def _texture(rng: Rng, width: float) -> Floats:
    field = gaussian_filter(rng.standard_normal((48, 48)), width, mode="wrap")
    return field / field.std()


def hippocampus(folder: Path, cases: int | None = None) -> Labelled:
    """Sagittal slices of ``msd_hippocampus``, padded to 64 x 48; the last 50 cases by name for testing."""
    inside = folder / "msd_hippocampus"
    root = inside if inside.is_dir() else folder
    files = sorted((root / "images").glob("*.nii.gz"))
    if not files:
        raise SystemExit(f"No images/*.nii.gz in {root}.")
    held_out = set(files[-50:])
    files = files if cases is None else [*files[: cases - cases // 3], *files[-(cases // 3) :]]
    images, labels, case, test = [], [], [], []
    for number, file in enumerate(files):
        scan, label = _voxels(file), _voxels(root / "labels" / file.name).astype(np.int64)
        scan = (scan - scan.mean()) / scan.std()
        images.append(_padded(scan, scan.min()))
        labels.append(_padded(label, 0))
        case += [number] * len(scan)
        test += [file in held_out] * len(scan)
    stacked = np.concatenate(images), np.concatenate(labels)
    return Labelled("hippocampus", *stacked, np.array(case), np.array(test), 3, turns=False)


def _voxels(file: Path) -> Floats:
    return np.asanyarray(nib.Nifti1Image.from_filename(file).dataobj, dtype=np.float32)


def _padded(volume: NDArray, value: float) -> NDArray:
    missing = [(size - have) // 2 for size, have in zip((64, 48), volume.shape[1:], strict=True)]
    width = [(less, size - have - less)
             for less, size, have in zip(missing, (64, 48), volume.shape[1:], strict=True)]  # fmt: skip
    return np.pad(volume, [(0, 0), *width], constant_values=value)


def consensus(found: Nodules, name: str) -> Labelled:
    """What two raters or more mark, on slices where they do; a third of the patients are for testing."""
    labels = (found.masks.sum(1) >= 2).astype(np.int64)
    kept = labels.any((1, 2))
    case = found.patient[kept]
    return Labelled(name, found.images[kept], labels[kept], case, case % 3 == 0, 2)
