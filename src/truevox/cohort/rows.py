"""Tables of cases: CSV, TSV and Parquet to typed columns, and back to CSV."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truevox.cohort.case import Case, Value
from truevox.cohort.cells import Cells, is_missing, typed
from truevox.cohort.found import Found, expect_names, path_of
from truevox.errors import CaseError, FileError, LabelError
from truevox.files import read_json, read_text, write_csv, write_json
from truevox.io.registry import bare, reading_suffixes
from truevox.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "TABLES",
    "Columns",
    "read_table",
    "table_found",
    "typed_table",
    "write_table",
]

TABLES = (".csv", ".tsv", ".parquet")
"""Suffixes of tables."""
_RESERVED = ("case", "record", "split")
_SAID = re.compile(r"sep=(.)\s*", re.IGNORECASE)

Columns = dict[str, list[str]]


class _Row(Mapping[str, Value]):
    """Values of one row. Paths are made when asked for: a table has many more cells than a run reads."""

    __slots__ = ("_cells", "_shared")

    def __init__(self, cells: tuple[float | str | None, ...], shared: _Shared) -> None:
        self._cells, self._shared = cells, shared

    def __getitem__(self, name: str) -> Value:
        cell = self._cells[self._shared.place[name]]
        return (
            path_of(self._shared.folder, cell)
            if isinstance(cell, str) and name in self._shared.files
            else cell
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._shared.place)

    def __len__(self) -> int:
        return len(self._cells)

    def __repr__(self) -> str:
        return repr(dict(self))


class _Shared:
    """What the rows of a table have in common."""

    def __init__(self, names: Sequence[str], files: frozenset[str], folder: Path) -> None:
        self.place = {name: k for k, name in enumerate(names)}
        self.files, self.folder = files, folder


def table_found(table: Path) -> Found:
    """The cases of a table, and what is odd about its columns; see :meth:`truevox.Cohort.from_csv`."""
    columns, semicolons = _columns(table)
    if "case" not in columns:
        raise CaseError(
            "The table has no column 'case'.",
            file=table,
            got=", ".join(columns) or "an empty table",
            remedy="give the first line the names of the columns, 'case' among them",
        )
    ids = columns["case"]
    if not ids:
        raise CaseError("The table has no rows.", file=table, remedy="add one row per case")
    names = [name for name in columns if name not in _RESERVED]
    made = {name: _cells(name, columns[name], table, semicolons) for name in names}
    shared = _Shared(names, frozenset(n for n, one in made.items() if one.kind == "files"), table.parent)
    rows = zip(*(one.values for one in made.values()), strict=True) if names else iter([()] * len(ids))
    empty = [""] * len(ids)
    records, splits = columns.get("record", empty), columns.get("split", empty)
    cases = [
        Case(case, _Row(row, shared), record or None, split or None)
        for case, row, record, split in zip(ids, rows, records, splits, strict=True)
    ]
    expect_names(cases, table)
    return Found(cases, *_read_meanings(table), {name: one.note for name, one in made.items() if one.note})


def typed_table(table: Path, words: Sequence[str] = ()) -> dict[str, Cells]:
    """Columns of a table that names no files: numbers where all of a column are, else words.

    Parameters
    ----------
    table : path
    words : sequence of str
        Columns of names, whatever they look like.
    """
    columns, semicolons = _columns(table)
    return {
        name: Cells("words", cells) if name in words else _values(name, cells, table, semicolons)
        for name, cells in columns.items()
    }


def read_table(table: Path) -> Columns:
    """All cells of a table as text, by column.

    Raises
    ------
    FileError
        If it can't be read, or needs a package that is not installed.
    CaseError
        If rows are of unequal length, or columns lack a name of their own.
    """
    return _columns(table)[0]


def _columns(table: Path) -> tuple[Columns, bool]:
    """All cells, and whether semicolons part them."""
    packed = table.suffix.lower() == ".parquet"
    header, rows, mark = (*_parquet(table), "") if packed else _text(table)
    if repeated := sorted({name for name in header if header.count(name) > 1 or not name}):
        raise CaseError(
            "Columns need names of their own.",
            file=table,
            got=repeated,
            remedy="rename the repeated columns in the table's first line, and name those without a name",
        )
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return {name: list(cells) for name, cells in zip(header, columns, strict=True)}, mark == ";"


def _text(table: Path) -> tuple[list[str], list[list[str]], str]:
    """Names of the columns, rows, and the mark between cells."""
    header: list[str] | None = None
    rows: list[list[str]] = []
    try:
        stream = io.StringIO(read_text(table), newline="")
        first = stream.readline()
        # Excel's own line for which mark it used.
        said = _SAID.fullmatch(first)
        mark = said[1] if said else _delimiter(first, table)
        stream.seek(len(first) if said else 0)
        reader = csv.reader(stream, delimiter=mark, strict=True)
        for line in reader:
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            if any("\0" in cell for cell in cells):
                raise csv.Error(f"a zero byte in line {reader.line_num}")
            if header is None:
                header = cells
            elif len(cells) != len(header):
                raise _uneven(table, reader.line_num, len(cells), len(header))
            else:
                rows.append(cells)
    except OSError as error:
        raise FileError(
            f"The table can't be read: {error.strerror}.", file=table, remedy="check the path"
        ) from error
    except csv.Error as error:
        # A quote that is never closed would swallow the rows behind it.
        open_quote = "unexpected end of data" in str(error)
        raise FileError(
            f"The table is not CSV in UTF-8: {'a quote is not closed' if open_quote else error}.",
            file=table,
            remedy="correct the line; a quote inside a cell is written twice, and the cell between quotes",
        ) from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"The table is not CSV in UTF-8: {error}.", file=table, remedy="save it as CSV UTF-8"
        ) from error
    return header or [], rows, mark


def _delimiter(first: str, table: Path) -> str:
    """Tabs of a TSV; else commas, or what Excel writes where the comma is a decimal point."""
    usual = "\t" if table.suffix.lower() == ".tsv" else ","
    names = {mark: [name.strip(' "\r\n') for name in first.split(mark)] for mark in (usual, ";", "\t")}
    return next((mark for mark, found in names.items() if "case" in found), usual)


def _uneven(table: Path, line: int, got: int, expected: int) -> CaseError:
    return CaseError(
        f"Line {line} of the table has another number of cells than its header.",
        file=table,
        got=got,
        expected=expected,
        remedy="put cells that contain a comma between quotes",
    )


def _parquet(table: Path) -> tuple[list[str], list[list[str]]]:
    try:
        from pyarrow import ArrowException, parquet  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise FileError(
            "Parquet tables need a package that is not installed: pyarrow.",
            file=table,
            remedy="pip install 'truevox[parquet]', or save the table as CSV",
        ) from error
    try:
        data = parquet.read_table(table)
    except (OSError, ArrowException) as error:
        raise FileError(f"The table can't be read: {error}.", file=table, remedy="check the path") from error
    columns = [["" if v is None else str(v).strip() for v in column.to_pylist()] for column in data.columns]
    return list(data.column_names), [list(row) for row in zip(*columns, strict=True)]


def _cells(name: str, cells: Sequence[str], table: Path, semicolons: bool) -> Cells:
    """One column: files if a cell ends like one, else numbers if all are, else words.

    Words that name a folder beside the table are files too: a DICOM series is a folder.
    """
    suffixes = reading_suffixes()
    if any(cell.partition("?")[0].lower().endswith(suffixes) for cell in cells):
        return _files(cells)
    found = _values(name, cells, table, semicolons)
    first = next((cell for cell in cells if not _no_file(cell)), "")
    if found.kind == "words" and first and _is_folder(path_of(table.parent, first)):
        return _files(cells)
    return found


def _values(name: str, cells: Sequence[str], table: Path, semicolons: bool) -> Cells:
    try:
        return typed(cells, semicolons=semicolons)
    except CaseError as error:
        error.message = f"Column '{name}': {error.message}"
        error.file = str(table)
        raise


def _files(cells: Sequence[str]) -> Cells:
    lost = sum(bool(cell) and _no_file(cell) for cell in cells)
    note = f"{lost} of {len(cells)} cells are taken for empty" if lost else ""
    return Cells("files", [None if _no_file(cell) else cell for cell in cells], note)


def _no_file(cell: str) -> bool:
    return is_missing(cell) and cell != "."  # the folder of the table


def _is_folder(path: Path) -> bool:
    try:
        return bare(path).is_dir()
    except (OSError, ValueError):  # words need not be possible names of files
        return False


def write_table(
    path: Path,
    cases: Iterable[Case],
    columns: Sequence[str],
    labels: Mapping[str, Labels],
    modalities: Mapping[str, str],
) -> None:
    """The cases as CSV; files relative to the table. See :meth:`truevox.Cohort.to_csv`."""
    listed = list(cases)
    base = os.path.realpath(path.parent)
    given = {name: [getattr(case, key) for case in listed] for name, key in _KEYS.items()}
    kept = {name: cells for name, cells in given.items() if name == "case" or any(cells)}
    rows = (
        {name: cells[k] for name, cells in kept.items()}
        | {name: _cell(case.values.get(name), base) for name in columns}
        for k, case in enumerate(listed)
    )
    _write_meanings(
        path,
        {name: table.to_dict() for name, table in labels.items() if name in columns},
        {name: shown for name, shown in modalities.items() if name in columns},
    )
    write_csv(path, rows, [*kept, *columns])


_KEYS = {"case": "id", "record": "record", "split": "split"}


def _write_meanings(table: Path, labels: dict[str, Any], modalities: dict[str, str]) -> None:
    """What a table can't hold, in a file beside it: the values of its labels, and what its images show."""
    if labels or modalities:
        write_json(_meanings(table), {"labels": labels, "modalities": modalities})
    else:
        _meanings(table).unlink(missing_ok=True)


def _read_meanings(table: Path) -> tuple[dict[str, Labels], dict[str, str]]:
    """What labels mean and images show, where the table was written from what says so.

    Raises
    ------
    FileError
        If it can't be read, or holds something else.
    """
    file = _meanings(table)
    if not file.is_file():
        return {}, {}
    data = read_json(file)
    try:
        labels = {str(name): Labels.from_dict(one) for name, one in data["labels"].items()}
        return labels, {str(name): str(shown) for name, shown in data["modalities"].items()}
    except (AttributeError, KeyError, LabelError, TypeError, ValueError) as error:
        raise FileError(
            "The file that says what the table's labels mean can't be used.",
            file=file,
            got=error.message if isinstance(error, LabelError) else repr(error),
            remedy="remove it, and name the values in a recipe: `labels`",
        ) from error


def _meanings(table: Path) -> Path:
    return table.with_name(f"{table.stem}.columns.json")


def _cell(value: Value, base: str) -> float | str | int | None:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # a number of a patient is 7, not 7.0
    if not isinstance(value, Path):
        return value
    try:
        return Path(os.path.relpath(os.path.abspath(value), base)).as_posix()
    except ValueError:  # another drive
        return str(value)
