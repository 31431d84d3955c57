"""What the cells of a column are: numbers as people and programs write them, words, or files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from truevox.errors import CaseError

__all__ = ["Cells", "is_missing", "is_number", "typed"]

_MISSING = frozenset(
    {
        "",
        "na",
        "n/a",
        "nan",
        "null",
        "none",
        "nil",
        "nat",
        "-",
        "--",
        ".",
        "?",
        "#n/a",
        "#na",
        "<na>",
        "missing",
    }
)
"""How R, pandas, spreadsheets, BIDS and people write that they don't know a number (in lower case)."""

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+) ?%", re.ASCII)
# A number with leading zeros, or with more digits than a float keeps, is a name.
_NAME = re.compile(r"0\d+|\d{16,}", re.ASCII)
_SPACES = " \u00a0\u2009\u202f'\u2019"
# Where the comma is the decimal mark, and where it parts thousands.
_COMMA = re.compile(rf"[+-]?(\d{{1,3}}([.{_SPACES}]\d{{3}})+|\d+)(,\d+)?([eE][+-]?\d+)?", re.ASCII)
_POINT = re.compile(rf"[+-]?(\d{{1,3}}([,{_SPACES}]\d{{3}})+|\d+)(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_MOST_EXAMPLES = 3


@dataclass(frozen=True)
class Cells:
    """A column.

    Parameters
    ----------
    kind : {"numbers", "words", "files"}
    values : sequence of float, str or None
        None where the table has nothing.
    note : str
        What somebody should know of how they were read; empty if there is nothing.
    """

    kind: Literal["numbers", "words", "files"]
    values: Sequence[float | str | None]
    note: str = ""


def is_missing(cell: str) -> bool:
    """Whether a cell says that it is empty.

    Examples
    --------
    >>> is_missing("N/A"), is_missing("nan"), is_missing("0")
    (True, True, False)
    """
    return cell.lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a number as programs write it.

    Examples
    --------
    >>> is_number("-1.5e3"), is_number("1_000"), is_number("3+")
    (True, False, False)
    """
    return _PLAIN.fullmatch(cell) is not None


def typed(cells: Sequence[str], *, semicolons: bool = False) -> Cells:
    """A column as numbers where all that it holds are some, else as words.

    Cells that say they are empty are None among numbers. Among words only empty ones are: NA may be the name
    of a site.

    Parameters
    ----------
    cells : sequence of str
    semicolons : bool
        Whether semicolons part the table's cells, as spreadsheets have it where commas are decimal marks.

    Raises
    ------
    CaseError
        If its commas can be decimal marks or part thousands.

    Examples
    --------
    >>> typed(["1.5", "NA", "20"]).values, typed(["007", "12"]).values
    ([1.5, None, 20.0], ['007', '12'])
    >>> typed(["1,5", "0,25"]).values
    [1.5, 0.25]
    """
    distinct = dict.fromkeys(cells)
    given = [cell for cell in distinct if not is_missing(cell)]
    words = Cells("words", [cell or None for cell in cells])
    if any(_NAME.fullmatch(cell) for cell in given):
        return words
    found = _notation(given, semicolons)
    if found is None:
        return Cells("words", words.values, _mixed(cells, given))
    number, how = found
    values: dict[str, float | None] = {cell: None for cell in distinct if is_missing(cell)}
    values |= {cell: number(cell) for cell in given}
    return Cells("numbers", [values[cell] for cell in cells], _listed([how, _lost(cells)]))


_Notation = tuple[Callable[[str], float], str]


def _notation(given: Sequence[str], semicolons: bool) -> _Notation | None:
    """How all cells are to be read as numbers, and what is to say about it; None if they are none."""
    if all(_PLAIN.fullmatch(cell) for cell in given):
        return float, ""
    if all(_PERCENT.fullmatch(cell) for cell in given):
        return _percent, f"percent signs are left out: '{given[0]}' is {_percent(given[0]):g}"
    comma = all(_COMMA.fullmatch(cell) for cell in given) and _parts(given, ".", ",")
    point = all(_POINT.fullmatch(cell) for cell in given)
    if comma and point and not semicolons and any(_comma(cell) != _point(cell) for cell in given):
        example = next(cell for cell in given if _comma(cell) != _point(cell))
        raise CaseError(
            "numbers can be read in two ways; their commas are decimal marks, or part thousands.",
            got=example,
            expected=f"{_comma(example):g} or {_point(example):g}",
            remedy="write them without commas",
        )
    if comma:
        example = next((cell for cell in given if "," in cell), given[0])
        return _comma, f"a comma is read as the decimal mark: '{example}' is {_comma(example):g}"
    if point and (not semicolons or _parts(given, ",", ".")):
        example = next((cell for cell in given if not _PLAIN.fullmatch(cell)), given[0])
        return _point, f"'{example}' is read as {_point(example):g}"
    return None


def _parts(given: Iterable[str], mark: str, decimal: str) -> bool:
    """Whether a mark that is used parts thousands beyond doubt: it is there twice, or before the decimal."""
    used = [cell for cell in given if mark in cell]
    return not used or any(cell.count(mark) > 1 or decimal in cell for cell in used)


def _comma(cell: str) -> float:
    return float(re.sub(rf"[.{_SPACES}]", "", cell).replace(",", "."))


def _point(cell: str) -> float:
    return float(re.sub(rf"[,{_SPACES}]", "", cell))


def _percent(cell: str) -> float:
    return float(cell.rstrip(" %"))


def _lost(cells: Sequence[str]) -> str:
    """Cells that hold a word for nothing; an empty cell and NaN say so by themselves."""
    lost = [cell for cell in cells if is_missing(cell) and cell.lower() not in ("", "nan")]
    if not lost:
        return ""
    return f"{len(lost)} of {len(cells)} cells are taken for empty ({_examples(lost)})"


def _mixed(cells: Sequence[str], given: Sequence[str]) -> str:
    """What to say of a column of words most of which are numbers."""
    words = [cell for cell in given if not _PLAIN.fullmatch(cell)]
    odd = set(words)
    count = sum(cell in odd for cell in cells)
    numbers = sum(not is_missing(cell) for cell in cells) - count
    if numbers <= count:
        return ""
    return f"it is read as words: {numbers} cells are numbers and {count} are not ({_examples(words)})"


def _examples(cells: Iterable[str]) -> str:
    some = list(dict.fromkeys(cells))
    return ", ".join(f"'{cell}'" for cell in some[:_MOST_EXAMPLES]) + ", ..." * (len(some) > _MOST_EXAMPLES)


def _listed(notes: Iterable[str]) -> str:
    return "; ".join(note for note in notes if note)
