"""Cases: an ordered set of them, looked up by id, record and split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

from truevox.cohort.case import Case
from truevox.errors import CaseError
from truevox.labels import Labels

__all__ = ["Cases"]


@dataclass(frozen=True, eq=False)
class Cases:
    """What a :class:`truevox.Cohort` is, wherever it comes from.

    Examples
    --------
    >>> cases = Cases([Case("p07", {}, split="train"), Case("p08", {}, split="test")])
    >>> len(cases), cases.ids, cases["p08"].split
    (2, ('p07', 'p08'), 'test')
    """

    cases: tuple[Case, ...]
    labels: Mapping[str, Labels]
    modalities: Mapping[str, str]
    notes: Mapping[str, str]

    def __init__(
        self,
        cases: Iterable[Case],
        labels: Mapping[str, Labels] | None = None,
        modalities: Mapping[str, str] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        object.__setattr__(self, "cases", tuple(cases))
        object.__setattr__(self, "labels", dict(labels or {}))
        object.__setattr__(self, "modalities", dict(modalities or {}))
        object.__setattr__(self, "notes", dict(notes or {}))
        if not self.cases:
            raise CaseError("The cohort has no cases.", remedy="check the table or the patterns")
        _refuse_repeats(self.cases)
        _refuse_leaks(self.cases)

    def _of(self, cases: Iterable[Case]) -> Self:
        """Other cases, the same columns."""
        return type(self)(cases, self.labels, self.modalities, self.notes)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {sum(c.split == name for c in self.cases)}" for name in self.splits)
        some = f" ({splits})" if splits else ""
        return f"{type(self).__name__}({len(self)} cases{some}; {', '.join(self.columns)})"

    def __getitem__(self, key: str) -> Case:
        """The case of this id, or of this ``"case/record"``.

        Raises
        ------
        CaseError
            If there is none, or the case has several records.
        """
        exact = [case for case in self.cases if case.key == key]
        found = exact or [case for case in self.cases if case.id == key]
        if len(found) == 1:
            return found[0]
        if found:
            raise CaseError(
                "The case has several records.",
                case=key,
                expected=", ".join(c.key for c in found),
                remedy="ask for one record by its key, as listed here",
            )
        raise CaseError(
            "The cohort has no such case.",
            case=key,
            expected=_some(c.key for c in self.cases),
            remedy="take the key of one of these cases",
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(dict.fromkeys(name for case in self.cases for name in case.values))

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in order of appearance; empty if the cohort has none."""
        return tuple(dict.fromkeys(case.split for case in self.cases if case.split is not None))

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the cases, each once, in order."""
        return tuple(dict.fromkeys(case.id for case in self.cases))

    def split(self, name: str) -> Self:
        """The cases of one split.

        Raises
        ------
        CaseError
            If it holds none; names the splits that exist.
        """
        chosen = [case for case in self.cases if case.split == name]
        if not chosen:
            raise CaseError(
                f"No case is in split '{name}'.",
                expected=", ".join(self.splits) or "a table with a column 'split'",
                remedy=f"write '{name}' into the column 'split' of some rows, or choose another split",
            )
        return self._of(chosen)

    def assigned(self, splits: Mapping[str, str]) -> Self:
        """The same cases, each in the split given for its id; those that are not named keep theirs.

        Examples
        --------
        >>> Cases([Case("p07", {}), Case("p08", {})]).assigned({"p07": "val"}).split("val").ids
        ('p07',)
        """
        return self._of(replace(c, split=splits.get(c.id, c.split)) for c in self.cases)

    def select(self, ids: Iterable[str]) -> Self:
        """The cases of these ids (all records) or keys (one record), in the order of the cohort.

        Raises
        ------
        CaseError
            If one of them is not there.
        """
        wanted = dict.fromkeys(ids)
        known = {case.id for case in self.cases} | {case.key for case in self.cases}
        if unknown := [name for name in wanted if name not in known]:
            raise CaseError(
                "The cohort has no such cases.",
                got=_some(unknown),
                expected=_some(self.ids),
                remedy="take the names of cohort.ids, spelled as there",
            )
        return self._of(case for case in self.cases if case.id in wanted or case.key in wanted)

    def _per_rater(self, column: str, raters: Mapping[str, str]) -> list[Case]:
        """Each case once per rater, whose mask is then in ``column``."""
        if missing := [name for name in raters.values() if name not in self.columns]:
            raise CaseError(
                f"The cohort has no column '{missing[0]}'.",
                expected=", ".join(self.columns),
                remedy="name one of these columns, spelled as here",
            )
        if recorded := [case.key for case in self.cases if case.record is not None]:
            raise CaseError(
                "The case is a record already.",
                case=recorded[0],
                remedy="leave the column `record` out of the table, one row per case",
            )
        kept = [name for name in self.columns if name not in raters.values()]
        return [
            replace(
                case, record=rater, values={n: case.values.get(n) for n in kept} | {column: case.values[name]}
            )
            for case in self.cases
            for rater, name in raters.items()
            if case.has(name)
        ]


def _refuse_repeats(cases: tuple[Case, ...]) -> None:
    seen: dict[tuple[str, str | None], Case] = {}
    for case in cases:
        if (case.id, case.record) in seen:
            raise CaseError(
                "The case appears twice.",
                case=case.key,
                remedy="remove one row, or tell them apart in a column 'record' (rater, time point)",
            )
        seen[case.id, case.record] = case


def _refuse_leaks(cases: tuple[Case, ...]) -> None:
    split: dict[str, str | None] = {}
    for case in cases:
        if split.setdefault(case.id, case.split) != case.split:
            raise CaseError(
                f"The case is in two splits: '{split[case.id]}' and '{case.split}'.",
                case=case.id,
                remedy="keep all records of a case in one split; what was trained on can't test",
            )


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f", ... ({len(listed)} in all)" if len(listed) > most else "")
