"""Cohort: cases from a CSV table or from glob patterns, and their splits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from truevox.cohort.case import Case, Value
from truevox.cohort.globs import match_files
from truevox.errors import CaseError, FileError
from truevox.io import has_reader

__all__ = ["Cohort"]

_RESERVED = ("case", "record", "split")


@dataclass(frozen=True, eq=False)
class Cohort:
    """An ordered set of cases.

    Parameters
    ----------
    cases : iterable of Case

    Raises
    ------
    CaseError
        If it is empty, a (case, record) appears twice, or a case is in two splits.

    Examples
    --------
    >>> cohort = Cohort([Case("p07", {"age": 61.0}, split="train"), Case("p08", {"age": 49.0}, split="test")])
    >>> len(cohort), cohort.splits, [case.id for case in cohort.split("test")]
    (2, ('train', 'test'), ['p08'])
    """

    cases: tuple[Case, ...]

    def __init__(self, cases: Iterable[Case]) -> None:
        object.__setattr__(self, "cases", tuple(cases))
        if not self.cases:
            raise CaseError("The cohort has no cases.", remedy="check the table or the patterns")
        _refuse_repeats(self.cases)
        _refuse_leaks(self.cases)

    @classmethod
    def from_csv(cls, path: str | Path) -> Cohort:
        r"""Read a table: ``case``, optional ``record``, optional ``split``, then one column per image,
        label or scalar.

        A column whose cells end like an image file holds files, relative to the table's folder; else,
        if all its cells are numbers, numbers; else words. An empty cell means that the case lacks it.
        No image is opened.

        Raises
        ------
        FileError
            If the table can't be read.
        CaseError
            If it has no ``case`` column, no rows, rows of unequal length, repeated columns or rows, ids
            that can't name a folder, or a case in two splits.

        Examples
        --------
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp()) / "cohort.csv"
        >>> _ = table.write_text("case,split,flair,age\np07,train,scans/p07.nii.gz,61\np08,test,,49\n")
        >>> cohort = Cohort.from_csv(table)
        >>> cohort.columns, cohort["p07"].value("age"), cohort["p08"].has("flair")
        (('flair', 'age'), 61.0, False)
        """
        table = Path(path)
        header, rows = _read_rows(table)
        columns = [name for name in header if name not in _RESERVED]
        typed = {name: _typed([row[name] for row in rows], table.parent) for name in columns}
        cases = []
        for k, row in enumerate(rows):
            values = {name: typed[name][k] for name in columns}
            cases.append(Case(row["case"], values, row.get("record") or None, row.get("split") or None))
        return _from_table(cases, table)

    @classmethod
    def from_glob(
        cls,
        images: Mapping[str, str | Path],
        split: str | Mapping[str, str] | None = None,
    ) -> Cohort:
        """Find cases by the names of their files.

        Parameters
        ----------
        images : mapping of column to pattern
            Paths with ``{case}``, optionally ``{record}``, and the wildcards ``*``, ``?`` and ``**``.
            ``{case}`` and ``{record}`` stand for one or more characters within one folder or file name.
        split : str or mapping of case to split, optional
            One split for all, or one for each case.

        Raises
        ------
        CaseError
            If a pattern lacks ``{case}``, no file matches it, or two files match for one case.

        Examples
        --------
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("p07_flair.nii.gz", "p07_mask.nii.gz", "p08_flair.nii.gz"):
        ...     (folder / name).touch()
        >>> cohort = Cohort.from_glob({c: folder / f"{{case}}_{c}.nii.gz" for c in ("flair", "mask")})
        >>> [(case.id, case.has("mask")) for case in cohort]
        [('p07', True), ('p08', False)]
        """
        found = {column: match_files(column, str(pattern)) for column, pattern in images.items()}
        keys = sorted({key for files in found.values() for key in files}, key=lambda k: (k[0], k[1] or ""))
        cases = []
        for case, record in keys:
            values = {column: files.get((case, record)) for column, files in found.items()}
            chosen = split if isinstance(split, str) or split is None else split.get(case)
            cases.append(Case(case, values, record, chosen))
        return cls(cases)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {sum(c.split == name for c in self.cases)}" for name in self.splits)
        return f"Cohort({len(self)} cases{f' ({splits})' if splits else ''}; {', '.join(self.columns)})"

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
                "The case has several records.", case=key, expected=", ".join(c.key for c in found)
            )
        raise CaseError("The cohort has no such case.", case=key, expected=_some(c.key for c in self.cases))

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

    def split(self, name: str) -> Cohort:
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
        return Cohort(chosen)

    def select(self, ids: Iterable[str]) -> Cohort:
        """The cases of these ids (all records) or keys (one record), in the order of the cohort.

        Raises
        ------
        CaseError
            If one of them is not there.
        """
        wanted = list(dict.fromkeys(ids))
        known = {case.id for case in self.cases} | {case.key for case in self.cases}
        if unknown := [name for name in wanted if name not in known]:
            raise CaseError("The cohort has no such cases.", got=_some(unknown), expected=_some(self.ids))
        return Cohort(case for case in self.cases if case.id in wanted or case.key in wanted)


def _read_rows(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with open(table, encoding="utf-8-sig", newline="") as stream:
            lines = [(reader.line_num, cells) for reader in [csv.reader(stream)] for cells in reader]
    except OSError as error:
        raise FileError(
            f"The table can't be read: {error.strerror}.", file=table, remedy="check the path"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            f"The table is not CSV in UTF-8: {error}.", file=table, remedy="save it as CSV UTF-8"
        ) from error
    lines = [
        (number, [cell.strip() for cell in cells]) for number, cells in lines if any(c.strip() for c in cells)
    ]
    header = lines[0][1] if lines else []
    if "case" not in header:
        raise CaseError(
            "The table has no column 'case'.",
            file=table,
            got=", ".join(header) or "an empty table",
            remedy="give the first line the names of the columns, 'case' among them, separated by commas",
        )
    if repeated := sorted({name for name in header if header.count(name) > 1 or not name}):
        raise CaseError("Columns need names of their own.", file=table, got=repeated)
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise CaseError(
                f"Line {number} of the table has another number of cells than its header.",
                file=table,
                got=len(cells),
                expected=len(header),
                remedy="put cells that contain a comma between quotes",
            )
        rows.append(dict(zip(header, cells, strict=True)))
    if not rows:
        raise CaseError("The table has no rows.", file=table, remedy="add one row per case")
    return header, rows


def _typed(cells: list[str], folder: Path) -> list[Value]:
    """One column: files if a cell ends like one, else numbers if all are, else words."""
    filled = [cell for cell in cells if cell]
    if any(has_reader(cell) for cell in filled):
        return [folder / cell if cell else None for cell in cells]
    try:
        numbers = {cell: float(cell) for cell in filled}
    except ValueError:
        return [cell or None for cell in cells]
    return [numbers[cell] if cell else None for cell in cells]


def _from_table(cases: list[Case], table: Path) -> Cohort:
    for case in cases:
        for name, text in (("case", case.id), ("record", case.record)):
            if text is not None and (not text or text.startswith(".") or set(text) & set('/\\:*?"<>|')):
                raise CaseError(
                    f"'{text}' can't be the name of a {name}: predictions go to a folder of that name.",
                    file=table,
                    remedy="use letters, digits, '-', '_' and '.'",
                )
    try:
        return Cohort(cases)
    except CaseError as error:
        error.file = str(table)
        raise


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
