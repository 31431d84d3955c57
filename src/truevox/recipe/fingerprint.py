"""What a plan needs to know of a cohort: grids of all cases, intensities of a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from truevox.cohort import Case, Cohort
from truevox.cohort.checks.voxels import look_of
from truevox.errors import CaseError, LabelError
from truevox.io import Header
from truevox.io.access import as_labels, label_counts

__all__ = ["Fingerprint", "Intensities", "fingerprint"]

_MOST_HEADERS, _MOST_SCANS, _MOST_VOXELS = 1000, 16, 100_000
_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Intensities:
    """How the values of an image lie, over a few cases.

    Parameters
    ----------
    zeros : float
        Share of voxels that are exactly 0, the least of all cases.
    low : float
        Median over the cases of the 0.5th percentile.
    foreground : (float, float)
        0.5th and 99.5th percentile of the labelled voxels of all cases; of all voxels without any.
    """

    zeros: float
    low: float
    foreground: tuple[float, float]


@dataclass(frozen=True)
class Fingerprint:
    """What a cohort looks like.

    Parameters
    ----------
    cases : int
        Cases with images and label.
    shapes, spacings : (N, 3) arrays
        Of the first image, in voxels and mm, axes as in RAS.
    channels : dict of column to int
        Volumes per file.
    several_grids : int
        Cases whose images or label are on other grids than their first image.
    intensities : dict of column to Intensities
    values : tuple of int
        Label values found in the cases whose label was read.
    """

    cases: int
    shapes: NDArray[np.int64]
    spacings: NDArray[np.float64]
    channels: dict[str, int]
    several_grids: int
    intensities: dict[str, Intensities]
    values: tuple[int, ...]


def fingerprint(
    cohort: Cohort, images: Sequence[str], label: str, *, all_labels: bool = False, n_jobs: int = 1
) -> tuple[Fingerprint, list[str]]:
    """Look at a cohort.

    Parameters
    ----------
    cohort : Cohort
        Cases that have all images and the label. Headers of at most 1000 are read, voxels of 16.
    images : sequence of str
    label : str
    all_labels : bool
        Whether the label of every case is read, where no table says what values there are.
    n_jobs : int
        Processes (joblib).

    Returns
    -------
    fingerprint : Fingerprint
    images : list of str
        With the image first that lies on the label's grid, if only some do: predictions lie on the first
        one's grid, and are compared with labels there.

    Raises
    ------
    CaseError
        If an image has another number of volumes in another case.
    FileError, GeometryError, LabelError
        If a file can't be read; names the case.
    """
    cases = list(cohort)
    many, few = _spread(cases, _MOST_HEADERS), _spread(cases, _MOST_SCANS)
    headers = [one.headers for one in _over(many, _headers, (*images, label), n_jobs)]
    channels = _channels(headers, many, images)
    grids = [{name: header.grid for name, header in one.items()} for one in headers]
    beside = Counter(
        name for grid in grids for name in images if grid[name].same_as(grid[label], _TOLERANCE_MM)
    )
    ordered = sorted(images, key=lambda name: -beside[name])
    several = sum(
        any(not grid[ordered[0]].same_as(other, _TOLERANCE_MM) for other in grid.values()) for grid in grids
    )
    canonical = [grid[ordered[0]].reorient("RAS") for grid in grids]
    looked = _over(few, _values, (*ordered, label), n_jobs)
    intensities = {name: _pooled([one.samples[name] for one in looked]) for name in ordered}
    read = _over(cases, _label_values, (label,), n_jobs) if all_labels else looked
    values = {value for one in read for value in one.values}
    found = Fingerprint(
        len(cases),
        np.array([grid.shape for grid in canonical]),
        np.array([grid.spacing for grid in canonical]),
        channels,
        several,
        intensities,
        tuple(sorted(values - {0})),
    )
    return found, ordered


def _spread(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many, evenly spread over the table."""
    if len(cases) <= most:
        return list(cases)
    return [cases[int(k)] for k in np.linspace(0, len(cases) - 1, most).round()]


@dataclass(frozen=True)
class _Look:
    """What one case shows: headers by column, or voxels of the images and values of the label."""

    headers: dict[str, Header] = field(default_factory=dict)
    samples: dict[str, tuple[NDArray, NDArray]] = field(default_factory=dict)
    values: frozenset[int] = frozenset()


def _over(
    cases: Sequence[Case],
    look: Callable[[Case, tuple[str, ...]], _Look],
    columns: tuple[str, ...],
    n_jobs: int,
) -> list[_Look]:
    return Parallel(n_jobs=n_jobs)(delayed(look)(case, columns) for case in cases)  # type: ignore[return-value]


def _headers(case: Case, columns: tuple[str, ...]) -> _Look:
    return _Look(headers={name: case.header(name) for name in columns})


def _channels(
    headers: Sequence[Mapping[str, Header]], cases: Sequence[Case], images: Sequence[str]
) -> dict[str, int]:
    seen = [{name: one[name].channels for name in images} for one in headers]
    for name in images:
        for case, channels in zip(cases, seen, strict=True):
            if channels[name] != seen[0][name]:
                raise CaseError(
                    f"'{name}' has another number of volumes than in other cases.",
                    case=case.key,
                    file=case.path(name),
                    got=channels[name],
                    expected=f"{seen[0][name]}, as in case {cases[0].key}",
                    remedy="leave the case out, or learn from other images: --set images=[...]",
                )
    return seen[0]


def _values(case: Case, columns: tuple[str, ...]) -> _Look:
    """Some voxels of every image: all of them thinned out, and those labelled. The label comes last."""
    *images, label = columns
    marked = _label(case, label)
    found = {}
    for name in images:
        array = case.load(name).numpy()
        everywhere = _thin(array.reshape(-1))
        same = array.shape[1:] == marked.shape[1:]
        labelled = _thin(array[:, (marked != 0).any(axis=0)].reshape(-1)) if same else everywhere[:0]
        found[name] = (everywhere, labelled)
    return _Look(samples=found, values=frozenset(label_counts(marked)))


def _label_values(case: Case, columns: tuple[str, ...]) -> _Look:
    return _Look(values=frozenset(label_counts(_label(case, columns[0]))))


def _label(case: Case, label: str) -> NDArray:
    array = as_labels(case.load(label, "label").numpy(), case.path(label), None)
    if look_of(array) == "image":
        raise LabelError(
            "The label looks like an image: many values, and most neighbouring voxels differ.",
            case=case.key,
            file=case.path(label),
            got=f"{len(label_counts(array))} values from {array.min()} to {array.max()}",
            remedy="name the right column (--set label=COLUMN); a mask that was saved as JPEG has lost its "
            "values: save it again as PNG",
        )
    return array


def _thin(values: NDArray) -> NDArray:
    return values[:: -(-values.size // _MOST_VOXELS) or 1].astype(np.float32)


def _pooled(samples: Sequence[tuple[NDArray, NDArray]]) -> Intensities:
    everywhere = [values for values, _ in samples]
    labelled = np.concatenate([values for _, values in samples])
    foreground = labelled if labelled.size else np.concatenate(everywhere)
    low, high = np.percentile(foreground, (0.5, 99.5))
    return Intensities(
        zeros=min(float(np.mean(values == 0)) for values in everywhere),
        low=float(np.median([np.percentile(values, 0.5) for values in everywhere])),
        foreground=(float(low), float(high)),
    )
