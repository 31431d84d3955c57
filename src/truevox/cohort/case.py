"""Case: one row of a cohort; its images are read when asked for, each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from truevox import io
from truevox.cohort.cells import is_missing
from truevox.errors import CaseError, TrueVoxError
from truevox.io.segments import generated
from truevox.labels import Labels

if TYPE_CHECKING:
    from truevox.image import Image, Kind

__all__ = ["Case", "Value"]

Value = Path | float | str | None


@dataclass(frozen=True, eq=False)
class Case:
    """What belongs together: the images, labels and numbers of one patient (or one record of it).

    Parameters
    ----------
    id : str
        The case. Everything of one patient has one id: splits never separate it.
    values : mapping of str to Path, float, str or None
        Per column: a file, a number, a word, or None where the table has nothing.
    record : str, optional
        One of several rows of the case: a rater, a time point.
    split : str, optional
        Such as ``"train"``, ``"val"``, ``"test"``.

    Notes
    -----
    Nothing is kept in memory: ``case["flair"]`` reads the file each time.

    Examples
    --------
    >>> case = Case("p07", {"flair": Path("p07.nii.gz"), "age": 61.0}, record="visit1")
    >>> case.key, case.path("flair").name, case.value("age")
    ('p07/visit1', 'p07.nii.gz', 61.0)
    """

    id: str
    values: Mapping[str, Value]
    record: str | None = None
    split: str | None = None

    @property
    def key(self) -> str:
        """``"p07"``, or ``"p07/record"`` where the case has records: unique in a cohort."""
        return self.id if self.record is None else f"{self.id}/{self.record}"

    @property
    def files(self) -> dict[str, Path]:
        """The columns that hold a file, in order."""
        return {name: value for name, value in self.values.items() if isinstance(value, Path)}

    def has(self, column: str) -> bool:
        """Whether the case has something in this column."""
        return self.values.get(column) is not None

    def __getitem__(self, column: str) -> Image:
        """The column's image as stored (kind ``"scalar"``); see :meth:`load`."""
        return self.load(column)

    def load(self, column: str, kind: Kind = "scalar", labels: Labels | None = None) -> Image:
        """Read the column's image, on the grid as stored.

        Raises
        ------
        CaseError
            If the case has no file in this column, or its voxels are not finite.
        FileError, GeometryError, LabelError
            As :func:`truevox.io.load`; all name this case.
        """
        path = self.path(column)
        try:
            return io.load(path, kind, labels, by_value=generated(labels, column))
        except TrueVoxError as error:
            error.case = error.case or self.key
            raise

    def header(self, column: str) -> io.Header:
        """Read the header of the column's file, and no voxel.

        Raises
        ------
        CaseError, FileError, GeometryError
            As :meth:`load`.
        """
        path = self.path(column)
        try:
            return io.read_header(path)
        except TrueVoxError as error:
            error.case = error.case or self.key
            raise

    def path(self, column: str) -> Path:
        """The column's file.

        Raises
        ------
        CaseError
            If there is no such column, no value, or the value is no file.
        """
        value = self.value(column)
        if isinstance(value, Path):
            return value
        raise CaseError(
            f"Column '{column}' holds no image file.",
            case=self.key,
            got=value,
            expected=f"a file ending on {', '.join(io.reading_suffixes())}",
            remedy=f"case.value('{column}') gives numbers and words",
        )

    def value(self, column: str) -> Path | float | str:
        """What the table says.

        Raises
        ------
        CaseError
            If there is no such column, or it is empty for this case.
        """
        if column not in self.values:
            raise CaseError(
                f"There is no column '{column}'.",
                case=self.key,
                expected=", ".join(self.values) or "no columns",
                remedy="name a column of the cohort's table, or add this one and a value for the case",
            )
        value = self.values[column]
        if value is None:
            raise CaseError(
                f"Column '{column}' is empty for this case.",
                case=self.key,
                remedy="fill the cell, or leave the case out (cohort.select)",
            )
        return value

    def owner(self, column: str) -> str:
        """Whose case it is by a column; empty where the cell is, or says that it is (``NA``).

        Examples
        --------
        >>> Case("s1", {"patient": "p1"}).owner("patient"), Case("s2", {"patient": "NA"}).owner("patient")
        ('p1', '')
        """
        value = self.values.get(column)
        if value is None or column in self.files:
            return ""
        name = f"{value:g}" if isinstance(value, float) else str(value).strip()
        return "" if is_missing(name) else name
