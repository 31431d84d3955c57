"""What is in two cases at once: one file, equal voxels, one patient under two names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from truevox.cohort.case import Case
from truevox.cohort.checks.files import Facts, Key
from truevox.cohort.checks.problem import Problem
from truevox.cohort.table import Cohort

__all__ = ["leaks"]

_NAMED = 8
_Use = tuple[Case, str, Path]


def leaks(
    cohort: Cohort, facts: Mapping[Key, Facts], label_columns: Collection[str], patient: str | None
) -> list[Problem]:
    """Duplicates within a split, and leaks across splits.

    Parameters
    ----------
    label_columns : collection of str
        Equal masks are worth a look, but no proof that two scans are one.
    patient : str, optional
        Column that names the patient.
    """
    files: dict[Path, list[_Use]] = defaultdict(list)
    voxels: dict[bytes, list[_Use]] = defaultdict(list)
    for case in cohort:
        for column, path in case.files.items():
            files[path.resolve()].append((case, column, path))
            if (digest := facts[column, path].voxels.digest) is not None:
                voxels[digest].append((case, column, path))
    dealt = _dealt(cohort)
    found = [
        _shared(uses, "The same file is used in", False, dealt) for uses in map(_one_per_case, files.values())
    ]
    for uses in map(_one_per_case, voxels.values()):
        if len({path.resolve() for _, _, path in uses}) > 1:
            mask = all(column in label_columns for _, column, _ in uses)
            found.append(_shared(uses, "The same voxels are in", mask, dealt))
    return [p for p in found if p is not None] + list(_patients(cohort, patient, dealt))


def _one_per_case(uses: Sequence[_Use]) -> list[_Use]:
    """Records of one case may share a file."""
    return list({case.id: (case, column, path) for case, column, path in reversed(uses)}.values())[::-1]


def _dealt(cohort: Cohort) -> str | None:
    """Where cases without a split end up: they train where no others do."""
    return None if any(case.split == "train" for case in cohort) else "train"


def _shared(uses: Sequence[_Use], what: str, mask: bool, dealt: str | None) -> Problem | None:
    if len(uses) < 2:
        return None
    cases = [case for case, _, _ in uses]
    across = _across(cases, dealt)
    return Problem(
        "; ".join(case.key for case in cases),
        "; ".join(dict.fromkeys(column for _, column, _ in uses)),
        "; ".join(dict.fromkeys(str(path) for _, _, path in uses)),
        "duplicate" if mask or not across else "leak",
        f"{what} {len(uses)} cases: {_named(cases)}." + (" They are in different splits." if across else ""),
        "keep one, or give both rows the same case",
        tuple((case.key, column) for case, column, _ in uses),
    )


def _patients(cohort: Cohort, column: str | None, dealt: str | None) -> Iterable[Problem]:
    """Cases of one patient in several splits. (One *case* in two splits makes no cohort at all.)"""
    rows: dict[str, list[Case]] = defaultdict(list)
    if column is not None:
        for case in cohort:
            if name := case.owner(column):
                rows[name].append(case)
    for name, cases in rows.items():
        if _across(cases, dealt):
            yield Problem(
                "; ".join(case.key for case in cases),
                str(column),
                "",
                "leak",
                f"Patient {name} is in different splits: {_named(cases)}.",
                "keep all cases of a patient in one split; what was trained on can't test",
            )


def _across(cases: Iterable[Case], dealt: str | None) -> bool:
    return len({case.split or dealt for case in cases} - {None}) > 1


def _named(cases: Sequence[Case]) -> str:
    named = [f"{case.key} ({case.split})" if case.split else case.key for case in cases[:_NAMED]]
    return ", ".join(named) + (", ..." if len(cases) > _NAMED else "")
