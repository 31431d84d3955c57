"""Cells of tables that other tools wrote: numbers, names, and what is suspicious about them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError
from truevox.files import unreadable

__all__ = ["check_range", "expect_one_spelling", "infinite_is_missed", "number", "read_rows"]

_NO_NUMBER = ("", "na", "n/a", "none", "null", "nan")
_SHOWN = 3
_AS_CSV = "write the table as CSV in UTF-8, its columns named in the first row"


def read_rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    r"""Rows of a CSV file that has these columns.

    Raises
    ------
    FileError
        If it can't be read, lacks a column, or a row is cut off.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = file.write_text("case,value\np07,0.5\n")
    >>> read_rows(file, ["case"])
    [{'case': 'p07', 'value': '0.5'}]
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            columns = list(table.fieldnames or ())
            lacking = [name for name in needed if name not in columns]
            if lacking:
                raise FileError(
                    f"The table lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}.",
                    file=file,
                    got=", ".join(columns) or "an empty file",
                    remedy=_separators(columns, needed),
                )
            if len(set(columns)) < len(columns):
                twice = next(name for name in columns if columns.count(name) > 1)
                raise FileError(
                    f"The table has two columns '{twice}'.", file=file, remedy="rename one, or take it out"
                )
            rows = list(table)
    except OSError as error:
        raise unreadable(error, file) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            f"The file is no CSV table: {error}.",
            file=file,
            remedy="save it again as text with commas, in UTF-8",
        ) from error
    for number, row in enumerate(rows, start=2):
        if None in row or any(cell is None for cell in row.values()):
            raise FileError(
                f"Row {number} has another number of cells than the header.",
                file=file,
                remedy="write the table again; it may have been cut off",
            )
    return rows


def _separators(columns: Sequence[str], needed: Sequence[str]) -> str:
    """What to do about a header without the columns that it should have."""
    if not columns or columns[0].startswith(("PK", "{", "[", "%", "<", "\x93NUMPY")):
        return _AS_CSV
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        return "separate the cells by commas"
    return f"write a row for each score with the columns {', '.join(needed)}, or name yours by options"


def number(cell: object, file: Path, row: int, case: str = "") -> float:
    """The number in a cell; NaN for an empty one and for ``NA``; infinite ones stay so.

    Raises
    ------
    FileError
        If it is neither, such as a decimal comma.

    Examples
    --------
    >>> number("0.5", Path("t.csv"), 2), number("NA", Path("t.csv"), 3)
    (0.5, nan)
    """
    text = "" if cell is None else str(cell).strip()
    if text.lower() in _NO_NUMBER:
        return math.nan
    try:
        if "_" in text:  # Python reads 1_000, and no other tool writes it
            raise ValueError
        return float(text)
    except ValueError:
        remedy = "write numbers such as 0.85, and leave a cell empty where there is no value"
        if re.fullmatch(r"[-+]?[\d.\s']*,[\d,.]*", text):
            remedy = "write the decimal point as a point, and no separators of thousands"
        elif text.endswith("%"):
            remedy = "write percentages without their sign, in all rows"
        raise FileError(
            f"Row {row} has a value that is no number.", case=case or None, file=file, got=text, remedy=remedy
        ) from None


def check_range(
    values: Iterable[tuple[int, str, float]], low: float, high: float, what: str, file: Path
) -> None:
    """Refuse values outside of a range; infinite ones are no values (see :func:`number`).

    Parameters
    ----------
    values : (row, case, value)
    low, high : float
    what : str
        What they are, for the message.
    file : path

    Raises
    ------
    CaseError
        With the first rows.

    Examples
    --------
    >>> check_range([(2, "p1", 85.0)], 0, 1, "dice", Path("t.csv"))
    Traceback (most recent call last):
    truevox.errors.CaseError: 1 value of dice is outside of its range.
      case      p1
      file      t.csv
      got       85 (row 2, p1)
      expected  0 to 1
      Remedy: percentages are no fractions: divide by 100, or give the range that holds
    """
    slack = 1e-9 * max(1.0, *(abs(end) for end in (low, high) if math.isfinite(end)), 1.0)
    outside = [
        (row, case, x) for row, case, x in values if math.isfinite(x) and not low - slack <= x <= high + slack
    ]
    if not outside:
        return
    shown = ", ".join(f"{x:g} (row {row}, {case})" for row, case, x in outside[:_SHOWN])
    many = len(outside) > 1
    raise CaseError(
        f"{len(outside)} value{'s' * many} of {what} {'are' if many else 'is'} outside of its range.",
        case=outside[0][1], file=file, got=shown + (", ..." if len(outside) > _SHOWN else ""),
        expected=f"{low:g} to {high:g}",
        remedy="percentages are no fractions: divide by 100, or give the range that holds",
    )  # fmt: skip


def infinite_is_missed(
    values: NDArray[np.float64], status: NDArray[np.str_], better: str, cases: Sequence[str], file: Path
) -> None:
    """An infinite distance says that a mask was empty: in place, it becomes NaN with the status ``missed``.

    Parameters
    ----------
    values : (M, N)
    status : (M, N) of str, wide enough for ``missed``
    better : {"higher", "lower", "zero"}
    cases : N names
    file : path

    Raises
    ------
    CaseError
        If a value is infinitely good.
    """
    infinite = np.isinf(values)
    good = infinite & {"higher": values > 0, "lower": values < 0}.get(better, np.zeros_like(infinite))
    if good.any():
        where = int(np.flatnonzero(good.any(0))[0])
        raise CaseError(
            "A value is infinitely good.", case=cases[where], file=file,
            got=f"{values[:, where][good[:, where]][0]}",
            remedy="leave the cell empty; or say which direction is good (--lower-better)",
        )  # fmt: skip
    values[infinite] = np.nan
    status[infinite] = "missed"


def expect_one_spelling(
    names: Mapping[str, Iterable[str]], what: str, file: Path | str | None = None
) -> None:
    """Refuse names that two sources spell in two ways: ``p1`` and ``P1 ``, ``p01`` and ``p1``.

    Matched by their letters they would be two, each of them missing in the other source.

    Parameters
    ----------
    names : mapping of source to names
        A source that has both spellings means two.
    what : str
        What they name: ``case``, ``method``.
    file : path, optional

    Raises
    ------
    CaseError
        With both.

    Examples
    --------
    >>> expect_one_spelling({"a": ["p1", "p2"], "b": ["p01", "p2"]}, "case")
    Traceback (most recent call last):
    truevox.errors.CaseError: One case is spelled in two ways.
      got       'p1' (a), 'p01' (b)
      Remedy: write it alike everywhere, without spaces around it
    >>> expect_one_spelling({"a": ["p1", "p01"], "b": ["p1", "p01"]}, "case")
    """
    seen: dict[str, tuple[str, str]] = {}
    whole = {source: set(own) for source, own in names.items()}
    for source, own in whole.items():
        for name in sorted(own):
            first, where = seen.setdefault(_plain(name), (name, source))
            if first == name or (source == where and name == name.strip()):
                continue
            if any({first, name} <= other for other in whole.values()) and name == name.strip():
                continue
            raise CaseError(
                f"One {what} is spelled in two ways.",
                got=f"'{first}' ({where}), '{name}' ({source})",
                file=file,
                remedy="write it alike everywhere, without spaces around it",
            )


def _plain(name: str) -> str:
    """A name without case, spaces and leading zeros of its numbers."""
    return re.sub(r"\d+", lambda found: found.group().lstrip("0") or "0", " ".join(name.split()).casefold())
