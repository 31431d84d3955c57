"""Cohort: cases from a table, a folder or glob patterns, and their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from truevox.cohort.base import Cases
from truevox.cohort.bids import read_bids
from truevox.cohort.case import Case
from truevox.cohort.found import Found
from truevox.cohort.globs import match_files
from truevox.cohort.msd import read_msd
from truevox.cohort.nnunet import read_nnunet
from truevox.cohort.opening import recognise
from truevox.cohort.rows import table_found, write_table
from truevox.cohort.splits import assign, attributes
from truevox.errors import CaseError, SettingsError

__all__ = ["Cohort"]


class Cohort(Cases):
    """An ordered set of cases.

    Parameters
    ----------
    cases : iterable of Case
    labels : mapping of column to Labels, optional
        Label columns and what their values mean, where the source says so.
    modalities : mapping of column to str, optional
        What images show, where the source says so: ``"CT"``, ``"T1w"``.
    notes : mapping of column to str, optional
        What :func:`truevox.cohort.check` should tell of how a column was read.

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

    # ---- where cohorts come from -----------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path, *, fold: int | None = None) -> Cohort:
        """What a path holds: a table, or a folder of nnU-Net, of the Decathlon or of BIDS.

        Parameters
        ----------
        path : path
        fold : int, optional
            Which fold validates: of the column ``fold``, or of nnU-Net's ``splits_final.json``.

        Raises
        ------
        FileError
            If it is none of these; says what was looked for.
        CaseError
            As the importer.

        Examples
        --------
        >>> import tempfile
        >>> Cohort.open(tempfile.mkdtemp())
        Traceback (most recent call last):
        truevox.errors.FileError: The folder is no cohort...
        """
        place = Path(path)
        kind = recognise(place)
        if kind == "nnunet":
            return cls.from_nnunet(place, fold=fold)
        readers = {"table": cls.from_csv, "msd": cls.from_msd, "bids": cls.from_bids}
        cohort = readers[kind](place)
        return cohort if fold is None else cohort.fold(fold)

    @classmethod
    def from_csv(cls, path: str | Path) -> Cohort:
        r"""Read a table: ``case``, ``record`` and ``split`` if it has them, and a column per image or value.

        A column whose cells end like an image file, or name folders, holds files, relative to the table's
        folder; else, if all its cells are numbers, numbers; else words. An empty cell means that the case
        lacks it, as do NA, NaN, ``-`` and the like among numbers and files. Leading zeros make a word.
        What was not plain is in ``notes``. No image is opened. ``.parquet`` needs pyarrow.

        Raises
        ------
        FileError
            If the table can't be read.
        CaseError
            If it has no ``case`` column, no rows, rows of unequal length, repeated columns or rows, ids
            that can't name a folder, commas that can be read in two ways, or a case in two splits.

        Examples
        --------
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp()) / "cohort.csv"
        >>> _ = table.write_text("case,split,flair,age\np07,train,scans/p07.nii.gz,61\np08,test,,49\n")
        >>> cohort = Cohort.from_csv(table)
        >>> cohort.columns, cohort["p07"].value("age"), cohort["p08"].has("flair")
        (('flair', 'age'), 61.0, False)
        """
        return cls._from(table_found(Path(path)), Path(path))

    @classmethod
    def from_nnunet(cls, folder: str | Path, *, fold: int | None = None) -> Cohort:
        """Read a raw data folder of nnU-Net, version 1 or 2: nothing is renamed or converted.

        A column for each channel, named as in dataset.json, and ``label``. Cases of imagesTs are in split
        ``test``; if there is a ``splits_final.json``, those of imagesTr are in ``train`` and ``val`` as in
        the given fold of it (0 if left out). No image is opened.

        Raises
        ------
        FileError
            If dataset.json is missing or says nothing of channels, or there are no folds to choose from.
        CaseError
            If a case has too many channels, or is in both folders. (A missing file is found when it is read.)
        LabelError
            If the labels in dataset.json make no label table.
        """
        return cls._from(read_nnunet(Path(folder), fold), Path(folder))

    @classmethod
    def from_msd(cls, folder: str | Path) -> Cohort:
        """Read a task of the Medical Segmentation Decathlon: what its dataset.json lists.

        Columns ``image`` and ``label``; 4D images hold a channel per volume. Test cases are in split
        ``test``. No image is opened.

        Raises
        ------
        FileError
            If dataset.json is missing, or lists no cases.
        LabelError
            If the labels in dataset.json make no label table.
        """
        return cls._from(read_msd(Path(folder)), Path(folder))

    @classmethod
    def from_bids(
        cls,
        folder: str | Path,
        *,
        derivatives: Sequence[str] | None = None,
        records: Sequence[str] = ("ses",),
    ) -> Cohort:
        """Read a BIDS folder, raw or derivative.

        Parameters
        ----------
        folder : path
        derivatives : sequence of str, optional
            Folders in ``derivatives/`` to read too; all of them if left out.
        records : sequence of str
            Entities that tell records of a subject apart; ``("ses", "run")`` makes runs records too. A file
            without them belongs to all records of its subject.

        Returns
        -------
        Cohort
            A case per subject (``sub-01``) and session (record ``ses-1``). Columns are called as the files,
            without subject and record: ``T1w``, ``acq-highres_FLAIR``, ``desc-lesion_mask``. Columns of
            participants.tsv are joined. Labels have the table of their ``dseg.tsv``.

        Raises
        ------
        FileError
            If no subject has an image, or a derivative is not there.
        CaseError
            If two files are the same column of a case.
        """
        chosen = None if derivatives is None else list(derivatives)
        return cls._from(read_bids(Path(folder), chosen, tuple(records)), Path(folder))

    @classmethod
    def _from(cls, found: Found, source: Path) -> Cohort:
        try:
            return cls(found.cases, found.labels, found.modalities, found.notes)
        except CaseError as error:
            error.file = error.file or str(source)
            raise

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
            A file of a pattern without ``{record}`` belongs to all records of its case.
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
        keys = {key for files in found.values() for key in files}
        with_records = {case for case, record in keys if record is not None}
        keys = {key for key in keys if key[1] is not None or key[0] not in with_records}
        cases = []
        for case, record in sorted(keys, key=lambda k: (k[0], k[1] or "")):
            values = {
                column: files.get((case, record)) or files.get((case, None))
                for column, files in found.items()
            }
            chosen = split if isinstance(split, str) or split is None else split.get(case)
            cases.append(Case(case, values, record, chosen))
        return cls(cases)

    # ---- other splits, other records -------------------------------------------------------------------

    def with_splits(
        self,
        shares: Mapping[str, float],
        *,
        by: Sequence[str] = (),
        foreground: str | None = None,
        patient: str | None = None,
        bins: int = 4,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> Cohort:
        """Deal the cases out to splits; a patient is never separated.

        Parameters
        ----------
        shares : mapping of split to number
            Such as ``{"train": 0.8, "val": 0.2}``; only their ratios count. Cases that are in a split of
            another name stay there.
        by : sequence of str
            Columns to balance the splits by: words as they are, numbers in quantiles.
        foreground : str, optional
            Label column: balance by the volume of its foreground too, in quantiles. Reads the files.
        patient : str, optional
            Column that says whose the cases are, where that is not the case itself.
        bins : int
            Quantiles.
        seed : int
        n_jobs : int
            Processes that read label files (joblib).

        Returns
        -------
        Cohort
            With the same cases in the same order.

        Raises
        ------
        SettingsError
            If a share is not positive, or no case has what to balance by.
        CaseError
            If there are fewer patients than splits.

        Notes
        -----
        Patients are put in order of their strata, by chance within a stratum, and dealt out in turn. With
        equal shares the number of patients differs by at most one between splits, and so does that of any
        stratum (a combination of the columns), and that of any value of the first column.

        Examples
        --------
        >>> cohort = Cohort(Case(f"p{k}", {"site": "AB"[k % 2]}) for k in range(20))
        >>> cohort.with_splits({"train": 3, "val": 1, "test": 1}, by=["site"])
        Cohort(20 cases (test: 4, val: 4, train: 12); site)
        """
        if not shares or any(not share > 0 for share in shares.values()):
            raise SettingsError(
                "Shares of splits are positive numbers.",
                got=dict(shares),
                remedy='write e.g. {"train": 0.8, "val": 0.2}',
            )
        dealt = [case for case in self.cases if case.split is None or case.split in shares]
        strata = attributes(dealt, by, foreground, self.labels, n_jobs, bins)
        part = assign(dealt, list(shares.values()), strata, patient, bins, seed)
        names = list(shares)
        return self._of(replace(c, split=names[part[c.key]]) if c.key in part else c for c in self.cases)

    def with_folds(
        self,
        folds: int,
        *,
        by: Sequence[str] = (),
        foreground: str | None = None,
        patient: str | None = None,
        bins: int = 4,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> Cohort:
        """Deal the cases out to folds, into a column ``fold`` of numbers from 0; see :meth:`fold`.

        Cases in split ``test`` are in no fold; else as :meth:`with_splits`.

        Examples
        --------
        >>> cohort = Cohort(Case(f"p{k}", {"site": "AB"[k % 2]}) for k in range(10)).with_folds(5)
        >>> cohort.fold(4)
        Cohort(10 cases (train: 8, val: 2); site, fold)
        """
        if folds < 2:
            raise SettingsError(
                "Cross-validation has at least two folds.",
                got=folds,
                remedy="give e.g. 5, or with_splits for a single split",
            )
        dealt = [case for case in self.cases if case.split != "test"]
        strata = attributes(dealt, by, foreground, self.labels, n_jobs, bins)
        part = assign(dealt, [1] * folds, strata, patient, bins, seed)
        numbers = {key: float(number) for key, number in part.items()}
        return self._of(replace(c, values={**c.values, "fold": numbers.get(c.key)}) for c in self.cases)

    def fold(self, number: int) -> Cohort:
        """The same cases: those of one fold in split ``val``, those of the others in ``train``.

        Raises
        ------
        CaseError
            If no case is in this fold.
        """
        there = sorted({v for case in self.cases if isinstance(v := case.values.get("fold"), float)})
        if float(number) not in there:
            raise CaseError(
                f"No case is in fold {number}.",
                expected=", ".join(f"{v:g}" for v in there) or "a column 'fold' of numbers",
                remedy="cohort.with_folds(5), or `truevox split`",
            )
        return self._of(
            replace(c, split="val" if c.values["fold"] == number else "train")
            if c.values.get("fold") is not None
            else c
            for c in self.cases
        )

    def by_rater(self, column: str, raters: Mapping[str, str]) -> Cohort:
        """A record per rater: where several columns hold the masks of several raters, one column.

        Parameters
        ----------
        column : str
            Name of the new column; it takes the place of the raters' ones.
        raters : mapping of rater to column
            Raters name the records.

        Raises
        ------
        CaseError
            If a column is not there, or the cases have records already.

        Examples
        --------
        >>> cohort = Cohort([Case("p07", {"t1": Path("a.nii"), "r1": Path("b.nii"), "r2": Path("c.nii")})])
        >>> for case in cohort.by_rater("mask", {"anna": "r1", "ben": "r2"}):
        ...     case.key, case.path("t1").name, case.path("mask").name
        ('p07/anna', 'a.nii', 'b.nii')
        ('p07/ben', 'a.nii', 'c.nii')
        """
        cases = self._per_rater(column, raters)
        labels = {n: table for n, table in self.labels.items() if n not in raters.values()}
        if table := next((self.labels[n] for n in raters.values() if n in self.labels), None):
            labels[column] = table
        return Cohort(cases, labels, self.modalities, self.notes)

    def to_csv(self, path: str | Path, columns: Sequence[str] | None = None) -> None:
        """Write the table, and ``<table>.columns.json``: what its labels mean. :meth:`from_csv` reads both.

        Raises
        ------
        FileError
            If it can't be written.
        """
        write_table(Path(path), self.cases, columns or self.columns, self.labels, self.modalities)
