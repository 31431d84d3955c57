"""A recipe for a cohort that has none: every setting follows from the data, and can be changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.cohort import Case, Cohort
from truevox.devices import has_bf16_units
from truevox.errors import SettingsError
from truevox.labels import Labels
from truevox.recipe.fingerprint import Fingerprint, fingerprint
from truevox.recipe.reading import override
from truevox.recipe.recipe import Recipe
from truevox.recipe.shapes import Budget, Shapes, plan_shapes

__all__ = ["plan"]

_LABEL = re.compile(r"(^|[^a-z])(labels?|masks?|seg|dseg|segmentation|gt|truth|annotations?)($|[^a-z])")
_CT = re.compile(r"(^|[^a-z])(ce)?ct($|[^a-z])")
_SIDED = re.compile(r"(^|[^a-z])(left|right|l|r|lh|rh)($|[^a-z])")
_AIR = -500.0
"""Hounsfield units below which there is only air: an image that goes there is CT."""
_BYTES_PER_FEATURE = 14 * 4
"""Of a training step, per voxel and feature of the finest level: what autograd keeps, in float32."""


def plan(
    cohort: Cohort,
    assignments: Iterable[str] = (),
    *,
    memory: int | None = None,
    n_jobs: int = 1,
) -> tuple[Recipe, list[str]]:
    """A recipe from what the data look like.

    Parameters
    ----------
    cohort : Cohort
        Of its cases, those that have all images and the label are looked at; test cases are not.
    assignments : iterable of str
        Keys that are given already, ``key.path=value``; the rest is planned around them.
    memory : int, optional
        Bytes of an accelerator; None plans for a processor, where time is what lacks.
    n_jobs : int
        Processes that read files (joblib).

    Returns
    -------
    recipe : Recipe
    why : list of str
        What the choices follow from, a sentence each.

    Raises
    ------
    SettingsError
        If it is not clear which columns are images and which is the label; names what to set.
    CaseError, FileError, GeometryError, LabelError
        If a file can't be read.
    """
    asked = list(assignments)
    given: dict[str, Any] = {}
    for assignment in asked:
        given = override(given, assignment)
    label = _label(cohort, given.get("label"))
    images, left = _images(cohort, label, given.get("images"))
    cases = [c for c in cohort if c.split != "test" and all(c.has(name) for name in (*images, label))]
    if not cases:
        raise SettingsError(
            "No case has all images and the label.",
            expected=", ".join((*images, label)),
            got="0 cases",
            remedy="name other columns by --set images=[...] and label=..., or correct the paths of the "
            "table",
        )
    table = None if given.get("labels") is not None else cohort.labels.get(label)
    unknown = table is None and given.get("labels") is None
    found, images = fingerprint(Cohort(cases), images, label, all_labels=unknown, n_jobs=n_jobs)
    if unknown:
        table = _of_files(cases, label) or _table(label, found.values)
    spacing = _spacing(found.spacings)
    if given.get("spacing") is not None:
        spacing = np.broadcast_to(np.asarray(given["spacing"], float), 3)
    extents = found.shapes * found.spacings
    lengths = np.median(found.spacings, axis=0) if spacing is None else spacing
    shapes = _shapes(np.median(extents / lengths, axis=0), lengths, found, memory)
    normalise = _normalise(images, found, cohort.modalities)
    data = {
        "images": images,
        "label": label,
        "channels": {name: n for name, n in found.channels.items() if n > 1},
        "align": found.several_grids > 0,
        "spacing": None if spacing is None else [round(float(s), 4) for s in spacing],
        "normalise": normalise,
        "patch": {"size": list(shapes.size)},
        "augment": _augment(lengths, shapes, table)
        | _scanners(lengths[found.shapes.max(axis=0) > 1], normalise),
        "network": _network(shapes, given.get("network")),
        "loss": {"cross_entropy": 1.0, "soft_dice": {"over": "BI", "smooth_nr": 1.0, "smooth_dr": 1.0}},
        "train": _train(shapes, memory, given.get("train")),
    }
    if table is not None:
        data["labels"] = table.to_dict()
    for assignment in asked:
        data = override(data, assignment)
    return Recipe.from_dict(data), _why(found, images, left, data)


# ---- which columns ---------------------------------------------------------------------------------


def _files(cohort: Cohort) -> list[str]:
    columns = cohort.columns
    kinds = {name: any(isinstance(c.values.get(name), Path) for c in cohort) for name in columns}
    return [name for name in columns if kinds[name]]


def _label(cohort: Cohort, given: Any) -> str:
    if given is not None:
        return str(given)
    files = _files(cohort)
    found = [n for n in files if n in cohort.labels] or [n for n in files if _LABEL.search(n.lower())]
    if len(found) == 1:
        return found[0]
    raise SettingsError(
        "It is not clear which column is to be learned.",
        got=", ".join(found) or "no column that is called label, mask, seg, ...",
        expected=f"one of {', '.join(files)}",
        remedy="--set label=COLUMN",
    )


def _images(cohort: Cohort, label: str, given: Any) -> tuple[list[str], list[str]]:
    """Images that all labelled cases have, and those that only some have."""
    if given is not None:
        return [given] if isinstance(given, str) else [str(name) for name in given], []
    files = [
        n for n in _files(cohort) if n != label and n not in cohort.labels and not _LABEL.search(n.lower())
    ]
    cases = [c for c in cohort if c.split != "test" and c.has(label)]
    everywhere = [name for name in files if all(c.has(name) for c in cases)]
    if not everywhere:
        raise SettingsError(
            "There is no image that all labelled cases have.",
            got=f"{len(cases)} labelled cases; {', '.join(files) or 'no images'}",
            remedy="--set images=[COLUMN, ...]",
        )
    return everywhere, [name for name in files if name not in everywhere]


def _of_files(cases: Sequence[Case], label: str) -> Labels | None:
    """The names that the label files give their values, if all of them give the same."""
    first = cases[0].header(label).labels
    if first is None or first.layers is not None:
        return None
    return first if all(case.header(label).labels == first for case in cases[1:]) else None


def _table(label: str, values: Sequence[int]) -> Labels:
    if not values:
        raise SettingsError(
            "No case has a labelled voxel: there is nothing to learn.",
            got=label,
            remedy="correct the masks, or name another column by --set label=...",
        )
    if len(values) == 1:
        return Labels({label: values[0]})
    return Labels({f"{label}{value}": value for value in values})


# ---- what follows from the fingerprint -------------------------------------------------------------


def _spacing(spacings: NDArray) -> NDArray | None:
    """The spacing that most scans have about; None where all have the same, and nothing need be resampled."""
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if (high <= 1.05 * low).all():
        return None
    middle = np.median(spacings, axis=0)
    # Thick slices differ between scanners: towards the thinner ones, which show more.
    thick = middle > 3 * middle.min()
    return np.where(thick, np.percentile(spacings, 10, axis=0), middle)


def _budget(memory: int | None) -> Budget:
    if memory is None:
        return Budget(voxels=64**3, batch=2 * 64**3, features=16, most_features=128, levels=5)
    # A patch in a batch of two, in six tenths of the memory.
    fits = int(0.6 * memory / (2 * 32 * _BYTES_PER_FEATURE))
    voxels = max(min(fits, 128**3), 32**3)
    return Budget(voxels=voxels, batch=2 * voxels, features=32, most_features=320, levels=6)


def _shapes(shape: NDArray, spacing: NDArray, found: Fingerprint, memory: int | None) -> Shapes:
    wide = found.shapes.max(axis=0) > 1
    if not wide.any():
        raise SettingsError(
            "The images have one voxel each: there is nothing to segment.",
            remedy="give a cohort of images with more than one voxel along an axis",
        )
    return plan_shapes(shape[wide].tolist(), spacing[wide].tolist(), _budget(memory))


def _normalise(images: Sequence[str], found: Fingerprint, modalities: Mapping[str, str]) -> dict[str, Any]:
    each = {name: _normalise_one(found, name, modalities.get(name, name).lower()) for name in images}
    first = each[images[0]]
    return {**first, "each": {name: how for name, how in each.items() if how != first}}


def _normalise_one(found: Fingerprint, name: str, shown: str) -> dict[str, Any]:
    values, several = found.intensities[name], found.channels[name] > 1
    if shown == "nonorm":
        return {"method": "none"}
    low, high = values.foreground
    # Volumes of one file may be different contrasts: each has its mean, but no window in common.
    if several:
        return {"method": "zscore", "mask": "nonzero" if values.zeros > 0.25 else None}
    if (_CT.search(shown) or values.low < _AIR) and low < high:
        return {"method": "window", "clip": [round(low, 1), round(high, 1)], "clip_unit": "value"}
    if values.zeros > 0.25:
        return {"method": "zscore", "mask": "nonzero", "clip": [0.0, 99.9]}
    return {"method": "zscore", "clip": [0.5, 99.5]}


def _augment(spacing: NDArray, shapes: Shapes, table: Labels | None) -> dict[str, Any]:
    """Small rotations; where slices are thick, only in their plane. A mirror only if no class has a side."""
    thick = spacing >= 3 * spacing.min()
    rotation: float | list[float] = 15.0
    if len(shapes.size) == 3 and thick.sum() == 1:
        rotation = [15.0 if axis else 0.0 for axis in thick]
    sided = table is None or any(_SIDED.search(name.lower()) for name in table.names)
    return {
        "rotation": rotation,
        "scaling": 0.15,
        "flip": [] if sided else [0],
        "gamma": 0.3,
        "gamma_probability": 0.5,
        "noise": 0.1,
        "noise_probability": 0.5,
    }


def _scanners(spacing: NDArray, normalise: Mapping[str, Any]) -> dict[str, Any]:
    """Now and then what another scanner or protocol shows: contrast, brightness, resolution.

    Filters are measured in the shortest voxel: thick slices get no thicker. Images that are not normalised
    are no scans: maps of whatever unit.
    """
    if any(how["method"] == "none" for how in (normalise, *normalise["each"].values())):
        return {}
    finest = float(spacing.min())
    return {
        "contrast": {"factor": 0.25, "probability": 0.15},
        "brightness": {"shift": 0.1, "probability": 0.15},
        "blur": {"sigma": [round(0.5 * finest, 4), round(finest, 4)], "probability": 0.1},
        "low_resolution": {"spacing": [round(finest, 4), round(2 * finest, 4)], "probability": 0.1},
    }


def _network(shapes: Shapes, given: Any) -> dict[str, Any]:
    asked = given.get("channels") if isinstance(given, Mapping) else None
    levels = len(asked) if isinstance(asked, list) else len(shapes.channels)
    return {
        "ndim": len(shapes.size),
        "channels": list(shapes.channels),
        "strides": _shortest(shapes.strides) if shapes.strides else 2,
        "kernels": _shortest(shapes.kernels),
        "deep_supervision": max(min(2, levels - 2), 0),
    }


def _shortest(entries: Sequence[tuple[int, ...]]) -> int | list[list[int]]:
    """One number where all levels and axes have the same."""
    numbers = {size for entry in entries for size in entry}
    return numbers.pop() if len(numbers) == 1 else [list(entry) for entry in entries]


def _train(shapes: Shapes, memory: int | None, given: Any) -> dict[str, Any]:
    asked = given if isinstance(given, Mapping) else {}
    steps = asked.get("max_steps", 2000 if memory is None else 20_000)
    epochs = asked.get("max_epochs") is not None
    return {
        "max_steps": None if epochs else steps,
        "batch_size": shapes.batch_size if memory is not None else 2,
        "learning_rate": 3e-3 if memory is None else 1e-3,
        "schedule": "cosine",
        "warmup_steps": steps // 10 if isinstance(steps, int) and not epochs else 0,
        "gradient_clip": 1.0,
        "average": 0.99,
        # A processor without units for bfloat16 only emulates it: there is nothing to find out by timing.
        "precision": "auto" if memory is not None or has_bf16_units() else "float32",
    }


def _why(
    found: Fingerprint, images: Sequence[str], left: Sequence[str], data: Mapping[str, Any]
) -> list[str]:
    shape = "x".join(f"{n:g}" for n in np.median(found.shapes, axis=0))
    spacing = "x".join(f"{n:.3g}" for n in np.median(found.spacings, axis=0))
    channels = sum(found.channels.values())
    said = [
        f"{found.cases} cases, {channels} channel{'s' * (channels > 1)} ({', '.join(images)}), "
        f"median {shape} voxels of {spacing} mm."
    ]
    if left:
        said.append(f"Not all labelled cases have {', '.join(left)}: left out.")
    if found.several_grids:
        said.append(
            f"In {found.several_grids} cases grids differ: everything is sampled on that of {images[0]}."
        )
    if data["spacing"] is not None:
        said.append(f"Spacings differ: scans are resampled to {data['spacing']} mm, predictions put back.")
    size = data["patch"]["size"]
    said.append(f"Patches of {'x'.join(map(str, size)) if isinstance(size, list) else size} voxels.")
    return said
