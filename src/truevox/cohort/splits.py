"""Who trains and who tests: patients dealt out evenly, stratum by stratum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from joblib import Parallel, delayed

from truevox import io
from truevox.cohort.case import Case
from truevox.cohort.cells import is_number
from truevox.errors import CaseError, SettingsError
from truevox.io.segments import generated, labelled
from truevox.labels import Labels

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["assign", "attributes", "deal"]

Rank = tuple[int, float, str]
Attribute = Mapping[str, float | str | None]
"""Something of every case, by its key."""


def assign(
    cases: Sequence[Case], shares: Sequence[float], strata: Sequence[Attribute], patient: str | None,
    bins: int, seed: int,
) -> dict[str, int]:  # fmt: skip
    """Which share every case falls to, by its key. See :meth:`truevox.Cohort.with_splits`."""
    owner = [_patient(case, patient) for case in cases]
    members: dict[str, list[Case]] = {}
    for name, case in zip(owner, cases, strict=True):
        members.setdefault(name, []).append(case)
    if len(members) < len(shares):
        raise CaseError(
            "There are fewer patients than parts.",
            got=len(members),
            expected=f"at least {len(shares)}",
            remedy="ask for fewer folds or splits, or add patients",
        )
    ranks = [_ranks(members, attribute, bins) for attribute in strata]
    rng = np.random.default_rng(seed)
    # The order of the table does not matter, and neither do names: patients of a stratum come in any order.
    shuffled = rng.permutation(sorted(members))
    ordered = sorted(shuffled.tolist(), key=lambda name: tuple(one[name] for one in ranks))
    part = dict(zip(ordered, deal(len(ordered), shares, rng), strict=True))
    return {case.key: part[name] for name, case in zip(owner, cases, strict=True)}


def deal(count: int, shares: Sequence[float], rng: Generator) -> list[int]:
    """A sequence of parts in which every stretch holds each part about as often as its share.

    Each next one is the part that is furthest behind. With equal shares, parts come in rounds: any
    stretch of the sequence holds each part equally often, give or take one.

    Examples
    --------
    >>> parts = deal(8, [3, 1], np.random.default_rng(0))
    >>> sum(parts[:4]), sum(parts[4:])
    (1, 1)
    """
    share = np.asarray(shares, float) / sum(shares)
    ties = rng.permutation(len(share))
    taken = np.zeros(len(share), int)
    sequence = []
    for k in range(count):
        behind = share * (k + 1) - taken
        chosen = int(ties[behind[ties].argmax()])
        taken[chosen] += 1
        sequence.append(chosen)
    while count >= len(share) and (taken == 0).any():
        # A part of few percent of few patients would be empty: it gets one of the largest.
        empty, full = int(taken.argmin()), int(taken.argmax())
        sequence[len(sequence) - 1 - sequence[::-1].index(full)] = empty
        taken[empty], taken[full] = 1, taken[full] - 1
    return sequence


def _patient(case: Case, column: str | None) -> str:
    if column is None:
        return case.id
    if case.has(column) and not case.owner(column):
        raise CaseError(
            f"Column '{column}' names no patient.",
            case=case.key,
            got=str(case.value(column)),
            remedy="fill the cell, or leave the case out: cases of one patient must not be separated",
        )
    return str(case.value(column))


def _ranks(members: Mapping[str, Sequence[Case]], attribute: Attribute, bins: int) -> dict[str, Rank]:
    """A rank for every patient, the same within a stratum; those that lack the value are a stratum too."""
    values = {name: _one([attribute[case.key] for case in cases]) for name, cases in members.items()}
    numbers = np.unique([v for v in values.values() if isinstance(v, float)])
    if len(numbers) > bins:
        known = [v for v in values.values() if isinstance(v, float)]
        edges = np.quantile(known, np.arange(1, bins) / bins)
        return {
            name: (0, int(np.searchsorted(edges, v, "right")), "") if isinstance(v, float) else _rank(v)
            for name, v in values.items()
        }
    return {name: _rank(v) for name, v in values.items()}


def _rank(value: float | str | None) -> Rank:
    """Numbers before words before nothing."""
    if value is None:
        return (2, 0.0, "")
    return (1, 0.0, value) if isinstance(value, str) else (0, value, "")


def _one(values: Iterable[float | str | None]) -> float | str | None:
    """What a patient with several rows counts as: the mean of numbers, all words together."""
    found = [v for v in values if v is not None]
    if not found:
        return None
    if all(isinstance(v, float) for v in found):
        return float(np.mean([v for v in found if isinstance(v, float)]))
    return " ".join(sorted({str(v) for v in found}))


def attributes(
    cases: Sequence[Case],
    by: Sequence[str],
    foreground: str | None,
    labels: Mapping[str, Labels],
    n_jobs: int,
    bins: int,
) -> Sequence[Attribute]:
    """What to balance by: columns, and the volume of a label's foreground."""
    found = [_column_values(cases, column, bins) for column in by]
    if foreground is not None:
        found.append(_foreground_volumes(cases, foreground, labels.get(foreground), n_jobs))
    return found


def _column_values(cases: Iterable[Case], column: str, bins: int) -> dict[str, float | str | None]:
    """A column by key of the case.

    Raises
    ------
    SettingsError
        If no case has it, or it holds files, or numbers of which one is written as no number.
    """
    values = {case.key: case.values.get(column) for case in cases}
    # A number that is not one (nan) is no value; it is the only thing that does not equal itself.
    kept = {key: v if isinstance(v, (float, str)) and v == v else None for key, v in values.items()}
    if all(v is None for v in kept.values()):
        files = any(v is not None for v in values.values())
        raise SettingsError(
            f"Cases can't be balanced by column '{column}': "
            + ("it holds files." if files else "no case has a value there."),
            remedy=f"foreground='{column}' balances by the volume of a label"
            if files
            else "fill the column for at least one case, or name another one",
        )
    words = {v for v in kept.values() if isinstance(v, str)}
    odd = sorted(v for v in words if not is_number(v))
    if odd and len(words) - len(odd) > max(bins, len(odd)):
        # Each number would be a stratum of its own: nothing would be balanced.
        raise SettingsError(
            f"Cases can't be balanced by column '{column}': it holds numbers, and words among them.",
            got=f"{len(words) - len(odd)} different numbers, and e.g. '{odd[0]}'",
            remedy="leave cells empty that hold no number; or, if numbers are names, put letters before them",
        )
    return kept


def _foreground_volumes(
    cases: Sequence[Case], column: str, labels: Labels | None, n_jobs: int
) -> dict[str, float | str | None]:
    """Volume of a label's foreground (ml or pixels), by key of the case; None for cases without the label."""
    work = (delayed(_volume)(case, column, labels) for case in cases)
    volumes: list[float | None] = Parallel(n_jobs=n_jobs)(work)  # type: ignore[assignment]
    return {case.key: volume for case, volume in zip(cases, volumes, strict=True)}


def _volume(case: Case, column: str, labels: Labels | None) -> float | None:
    if not case.has(column):
        return None
    path = case.path(column)
    array, header = io.read(path)
    array, _ = labelled(array, header, labels, by_value=generated(labels, column))
    ignore = None if labels is None else labels.ignore
    marked = array != 0 if ignore is None else (array != 0) & (array != ignore)
    return float(np.count_nonzero(marked.any(axis=0)) * header.grid.voxel_measure[0])
