"""Which patient a case is of: by a table, or by what stands before the first slash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from truevox.cohort.cells import is_missing
from truevox.errors import CaseError, SettingsError
from truevox.evaluation.comparison.cells import expect_one_spelling, read_rows
from truevox.evaluation.comparison.missing import Scores, patients_of

__all__ = ["read_patients", "with_patients"]


def read_patients(file: str | Path) -> dict[str, str]:
    r"""Case to patient, from a table with the columns ``case`` and ``patient``.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "patients.csv"
    >>> _ = file.write_text("case,patient\nscan1,p07\nscan2,p07\n")
    >>> read_patients(file)
    {'scan1': 'p07', 'scan2': 'p07'}
    """
    owners: dict[str, str] = {}
    for line, row in enumerate(read_rows(Path(file), ("case", "patient")), start=2):
        case, patient = row["case"].strip(), row["patient"].strip()
        if is_missing(patient):
            raise CaseError(
                f"Row {line} names no patient.", case=case, file=file, got=patient, remedy="fill the cell"
            )
        if owners.setdefault(case, patient) != patient:
            raise CaseError(
                f"Row {line} gives the case a second patient.", case=case, file=file,
                got=f"{patient}, and {owners[case]}", remedy="keep one row per case",
            )  # fmt: skip
    expect_one_spelling({str(file): owners.values()}, "patient", file)
    return owners


def with_patients(scores: Scores, unit: str, patients: Mapping[str, str] | None) -> Scores:
    """The scores with the patient of each case; every case is its own where ``unit`` is ``"case"``.

    Raises
    ------
    SettingsError
        If there is no such unit.
    CaseError
        If the patients lack a case.
    """
    if unit not in ("patient", "case"):
        raise SettingsError(
            "There is no such unit.",
            got=unit,
            expected="patient or case",
            remedy="'patient' keeps the scans of a patient together, 'case' takes each for itself",
        )
    if unit == "case":
        named = list(scores.cases)
    elif patients is None:
        named = patients_of(scores.cases)
    else:
        unknown = [case for case in scores.cases if case not in patients]
        if unknown:
            raise CaseError(
                "The table of patients lacks cases.",
                case=unknown[0],
                got=f"{len(unknown)} of {len(scores.cases)} cases without a patient",
                remedy="add a row (case,patient) for each, spelled as in metrics.csv",
            )
        named = [patients[case] for case in scores.cases]
    return Scores(**{**vars(scores), "patients": tuple(named)})
