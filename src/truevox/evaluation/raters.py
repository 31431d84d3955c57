"""The volume bias to expect of a loss, from the masks of several raters of a cohort."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from truevox.alignment import aligned, shared_grid
from truevox.cohort import Case, Cohort
from truevox.cohort.check import describe_mismatch
from truevox.errors import CaseError, GeometryError, LabelError, SettingsError, TrueVoxError
from truevox.evaluation.cases import Failure
from truevox.evaluation.statistics.by_patient import mean_interval
from truevox.files import software
from truevox.io.segments import Segments, read_segments
from truevox.progress import Advance
from truevox.theory import Criterion, RaterVolume
from truevox.theory import rater_volumes as volumes_of_masks

__all__ = ["RATER_VOLUME_COLUMNS", "RaterBias", "RaterVolumes", "rater_volumes"]

RATER_VOLUME_COLUMNS = (
    "case",
    "patient",
    "loss",
    "law",
    "search",
    "raters",
    "expected_volume_ml",
    "volume_ml",
    "bias_ml",
    "relative_bias_percent",
    "expected_score",
    "status",
    "software",
)
"""Order of the columns of ``theory.csv``."""


@dataclass(frozen=True)
class RaterBias:
    """The bias of one rule over a cohort.

    Parameters
    ----------
    loss, law, search : str
        As in :class:`truevox.theory.RaterVolume`.
    cases : int
        Those in which a rater marked something.
    expected_volume_ml : float
        Mean over the cases.
    bias_ml, ci_low_ml, ci_high_ml : float
        Mean over the cases, and its 95 % interval by patient (NaN for fewer than three).
    relative_bias_percent : float
        Sum of the biases over the sum of the expected volumes.
    expected_score : float
        Mean over the cases.
    """

    loss: str
    law: str
    search: str
    cases: int
    expected_volume_ml: float
    bias_ml: float
    ci_low_ml: float
    ci_high_ml: float
    relative_bias_percent: float
    expected_score: float

    def as_row(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class RaterVolumes:
    """Volumes of every case and rule, what they come to, and the cases that failed."""

    rows: list[dict[str, Any]]
    summary: list[RaterBias]
    failures: list[Failure]


@dataclass(frozen=True)
class _Group:
    """One image with the mask files of its raters."""

    case: str
    patient: str
    files: tuple[tuple[str, Path], ...]


def rater_volumes(
    cohort: Cohort,
    columns: Sequence[str] | None = None,
    *,
    label: int | None = None,
    patient: str | None = None,
    loss: str | Criterion = "dice",
    tol_mm: float | None = None,
    n_jobs: int = 1,
    advance: Advance | None = None,
) -> RaterVolumes:
    """How large a volume bias a loss will have where these raters disagree.

    Parameters
    ----------
    cohort : Cohort
        Every case with two raters or more: in several columns, or in one column and several records.
    columns : sequence of str, optional
        The raters' columns (or the one column of all records). By default all columns of files.
    label : int, optional
        Value of the structure. Without it masks have one value beside 0.
    patient : str, optional
        Column that names the patient, where that is not the case: intervals draw whole patients.
    loss : name or criterion
        As for :func:`truevox.theory.optimum`.
    tol_mm : float
        Largest displacement of a corner between the grids of the raters, in mm; by default less than half a
        voxel (:func:`truevox.alignment.aligned`). Masks that store parts of one lattice are put together.
    n_jobs : int
        Processes (joblib).
    advance : callable, optional
        Told how many cases are done.

    Returns
    -------
    RaterVolumes
        A case that fails is listed, and the others go on.

    Raises
    ------
    CaseError
        If there are no two raters, or no rater of any case marks anything.
    SettingsError
        If a column is not there.
    TrueVoxError
        If all cases fail: the error of the first.

    Examples
    --------
    >>> import tempfile, truevox as tv
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name, size in (("anna", 3), ("ben", 4), ("cleo", 6)):
    ...     mask = np.zeros((1, 8, 8, 8), np.uint8)
    ...     mask[:, :size, :size, :size] = 1
    ...     tv.save(tv.Image(mask, tv.Grid((8, 8, 8)), kind="label"), folder / f"{name}.nii.gz")
    >>> case = Case("p07", {name: folder / f"{name}.nii.gz" for name in ("anna", "ben", "cleo")})
    >>> for one in rater_volumes(Cohort([case])).summary[:3]:
    ...     print(f"{one.loss:13} {one.expected_volume_ml:.4f} {one.bias_ml:+.4f} ml")
    cross_entropy 0.1023 +0.0000 ml
    threshold     0.1023 -0.0383 ml
    dice          0.1023 -0.0383 ml
    """
    groups = _groups(cohort, columns, patient)
    work: Any = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one)(group, label, loss, tol_mm) for group in groups
    )
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    first: TrueVoxError | None = None
    for number, (group, made) in enumerate(zip(groups, work, strict=True), start=1):
        if isinstance(made, TrueVoxError):
            first = first or made
            file, remedy = made.file or "", made.remedy or ""
            failures.append(Failure(group.case, "masks", file, made.message, remedy))
        else:
            rows += [_row(group, one) for one in made]
        if advance is not None:
            advance(number, group.case)
    if first is not None and not rows:
        raise first
    if not any(row["status"] == "ok" for row in rows):
        raise CaseError(
            "No rater of any case marks anything.",
            got=f"{len(groups)} cases, " + ("values above 0" if label is None else f"value {label}"),
            remedy="name the value of the structure (label), and the columns of the raters",
        )
    return RaterVolumes(rows, _summary(rows), failures)


def _groups(cohort: Cohort, columns: Sequence[str] | None, patient: str | None) -> list[_Group]:
    chosen = list(columns or dict.fromkeys(name for case in cohort for name in case.files))
    for name in [*chosen, *([patient] if patient else [])]:
        if name not in cohort.columns:
            raise SettingsError(
                f"The cohort has no column '{name}'.",
                expected=", ".join(cohort.columns),
                remedy="name columns that are there, spelled as here",
            )
    if not chosen:
        raise CaseError(
            "The cohort has no column of mask files.",
            got=", ".join(cohort.columns),
            remedy="add a column with the path of each rater's mask, or name the columns yourself",
        )
    found: dict[str, list[tuple[Case, str]]] = defaultdict(list)
    for case in cohort:
        # With one column the records of a case are its raters; with several, each record has its own.
        found[case.id if len(chosen) == 1 else case.key] += [
            (case, name) for name in chosen if case.has(name)
        ]
    groups = [_group(key, parts, patient, len(chosen) == 1) for key, parts in found.items()]
    if max((len(group.files) for group in groups), default=0) < 2:
        raise CaseError(
            "No case has masks of two raters.",
            got=f"column{'s' * (len(chosen) > 1)} {', '.join(chosen)}",
            expected="a column per rater, or a row per rater with its name in the column 'record'",
            remedy="add the masks of a second rater to the table",
        )
    return groups


def _group(key: str, parts: Sequence[tuple[Case, str]], patient: str | None, records: bool) -> _Group:
    whose = str(parts[0][0].value(patient)) if patient and parts else key.split("/")[0]
    named = [((case.record or "1") if records else name, case.path(name)) for case, name in parts]
    return _Group(key, whose, tuple(named))


def _one(
    group: _Group, label: int | None, loss: str | Criterion, tol_mm: float | None
) -> list[RaterVolume] | TrueVoxError:
    try:
        if len(group.files) < 2:
            raise CaseError(
                "The case has one rater only.",
                got=", ".join(name for name, _ in group.files) or "none",
                expected="masks of two raters or more",
                remedy="leave the case out, or fill its cells",
            )
        masks, size = _masks(group, label, tol_mm)
        return volumes_of_masks(masks, size, loss)
    except TrueVoxError as error:
        error.case = error.case or group.case
        return error


def _masks(group: _Group, label: int | None, tol_mm: float | None) -> tuple[NDArray[np.bool_], float]:
    """Masks (R, I, J, K) of all raters on one grid, and the volume of a voxel in ml."""
    found = [(name, *read_segments(path)) for name, path in group.files]
    if not found:
        raise CaseError(
            "The case has no masks.",
            case=group.case,
            remedy="write the path of a mask into its row of the table, or remove the row",
        )
    (first, _, header), *others = found
    parts = any(one.part for _, _, one in found)
    for name, segments, other in others:
        if aligned(other.grid, header.grid, tol_mm, parts=parts) is None:
            raise GeometryError(
                describe_mismatch(group.case, {first: header, name: other}, tol_mm),
                file=segments.path,
                remedy="bring the masks to one grid first (`truevox check --fix`)",
            )
    shared = shared_grid([one.grid for _, _, one in found], tol_mm, parts=parts)
    if shared is None:
        raise GeometryError(
            "The masks lie too far apart for one image.",
            file=group.files[0][1],
            remedy="remove the mask that belongs to another scan from the table, or correct its position",
        )
    grid, places = shared
    masks = [place(_mask(one, label))[0] for place, (_, one, _) in zip(places, found, strict=True)]
    return np.stack(masks), grid.voxel_volume_ml


def _mask(segments: Segments, label: int | None) -> NDArray[np.bool_]:
    path, values = segments.path, segments.array
    if len(values) != 1:
        raise LabelError(
            "A mask has one channel.",
            file=path,
            got=f"{len(values)} channels",
            remedy="extract the channel that is meant",
        )
    if label is not None:
        return values == label
    found = segments.values
    if len(found) > 1:
        raise LabelError(
            "The file is no mask: it has several values beside 0.",
            file=path,
            got=f"values {', '.join(map(str, found[:6]))}{', ...' if len(found) > 6 else ''}",
            remedy="name the value of the structure (`--label`), and the columns of the raters (`--raters`)",
        )
    return values != 0


def _row(group: _Group, one: RaterVolume) -> dict[str, Any]:
    values = (
        group.case,
        group.patient,
        one.loss,
        one.law,
        one.search,
        one.raters,
        one.expected_volume,
        one.volume,
        one.bias,
        100 * one.relative_bias,
        one.expected_score if one.status == "ok" else float("nan"),
        one.status,
        software(),
    )
    return dict(zip(RATER_VOLUME_COLUMNS, values, strict=True))


def _summary(rows: Sequence[dict[str, Any]]) -> list[RaterBias]:
    rules: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["status"] == "ok":
            rules[row["loss"], row["law"], row["search"]].append(row)
    return [_bias(rule, kept) for rule, kept in rules.items()]


def _bias(rule: tuple[str, str, str], rows: Sequence[dict[str, Any]]) -> RaterBias:
    bias, expected, score = (
        np.array([row[name] for row in rows]) for name in ("bias_ml", "expected_volume_ml", "expected_score")
    )
    found = mean_interval(bias, [row["patient"] for row in rows])
    share = 100 * bias.sum() / expected.sum() if expected.sum() > 0 else float("nan")
    numbers = (expected.mean(), found.value, found.low, found.high, share, score.mean())
    names = [field.name for field in fields(RaterBias)][4:]
    return RaterBias(*rule, len(rows), **{name: float(x) for name, x in zip(names, numbers, strict=True)})
