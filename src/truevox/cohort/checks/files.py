"""Every file of a cohort, opened once: what is kept of it is small."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from joblib import Parallel, delayed

from truevox import io
from truevox.cohort.checks.headers import header_findings
from truevox.cohort.checks.problem import Finding, finding_of
from truevox.cohort.checks.voxels import Voxels, look_at
from truevox.cohort.table import Cohort
from truevox.errors import TrueVoxError
from truevox.io.segments import generated
from truevox.labels import Labels
from truevox.progress import Advance
from truevox.space import Grid

__all__ = ["Facts", "Key", "Layout", "inspect"]

Key = tuple[str, Path]
"""A column and a file: two rows that share a file share what is known of it."""

_BATCH = 256
"""Headers per task: a task costs more than a header."""
_NOTHING = Voxels()


@dataclass(frozen=True, slots=True)
class Layout:
    """Order of the stored axes, and along the canonical ones (R, A, S) the spacing in mm and the voxels."""

    axes: str
    spacing: tuple[float, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, grid: Grid) -> Layout:
        """The layout of a grid."""
        axes, spacing = grid.orientation, grid.spacing.tolist()
        # Where R or L, A or P, S or I is.
        order = [next(k for k, code in enumerate(axes) if code in pair) for pair in ("RL", "AP", "SI")]
        return cls(axes, tuple(spacing[k] for k in order), tuple(grid.shape[k] for k in order))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file; ``grid`` and ``layout`` are None where its header can't be read."""

    grid: Grid | None = None
    layout: Layout | None = None
    channels: int = 1
    dtype: str = ""
    noted: tuple[Finding, ...] = ()
    voxels: Voxels = _NOTHING

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of the header, then of the voxels."""
        return self.noted + self.voxels.findings

    def header(self, path: Path) -> io.Header:
        """The header again, without the bytes of its format."""
        assert self.grid is not None
        return io.Header(path, self.grid, self.channels, self.dtype)


def inspect(
    cohort: Cohort,
    tables: Mapping[str, Labels | None],
    voxels: bool,
    n_jobs: int,
    advance: Advance | None = None,
) -> dict[Key, Facts]:
    """Open every file of a cohort, in several processes; a file is in memory at a time in each.

    Parameters
    ----------
    tables : mapping of column to Labels or None
        The columns that hold labels.
    voxels : bool
        Whether to read the voxels, or headers only.
    n_jobs : int
        Processes (joblib).
    advance : callable, optional
        Told how many files are done, the last one's name, and how many there are.
    """
    keys = list(dict.fromkeys((column, path) for case in cohort for column, path in case.files.items()))
    size = 1 if voxels else max(1, min(_BATCH, len(keys) // (8 * n_jobs)))
    work = (delayed(_inspect_all)(batch, tables, voxels) for batch in _batches(keys, size))
    found: dict[Key, Facts] = {}
    rest = iter(keys)
    made: Iterable[list[Facts]] = Parallel(n_jobs=n_jobs, return_as="generator")(work)  # type: ignore
    for facts in made:
        key = keys[0]
        for one in facts:
            key = next(rest)
            found[key] = one
        if advance is not None:
            advance(len(found), key[1].name, len(keys))
    return found


def _batches(keys: Sequence[Key], size: int) -> Iterator[list[Key]]:
    rest = iter(keys)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _inspect_all(keys: Sequence[Key], tables: Mapping[str, Labels | None], voxels: bool) -> list[Facts]:
    return [_inspect(column, path, tables, voxels) for column, path in keys]


def _inspect(column: str, path: Path, tables: Mapping[str, Labels | None], voxels: bool) -> Facts:
    is_label, table = column in tables, tables.get(column)
    try:
        array, header = io.read(path) if voxels else (None, io.read_header(path))
    except TrueVoxError as error:
        return _unread(path, finding_of(error))
    seen = _NOTHING
    if array is not None:
        seen = look_at(array, header, is_label, table, generated(table, column))
    if is_label and header.labels is not None and table is not None:
        # Classes in several layers are put together in one channel; a picture in grey has one, too.
        header = replace(header, channels=1)
    return _facts(header, (), seen)


def _unread(path: Path, finding: Finding) -> Facts:
    """What the header tells of a file whose voxels can't be read."""
    try:
        header = io.read_header(path)
    except TrueVoxError:
        return Facts(noted=(finding,))
    return _facts(header, (finding,), _NOTHING)


def _facts(header: io.Header, findings: tuple[Finding, ...], voxels: Voxels) -> Facts:
    noted = (*findings, *header_findings(header))
    return Facts(header.grid, Layout.of(header.grid), header.channels, header.dtype, noted, voxels)
