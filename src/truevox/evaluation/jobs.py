"""What is to be scored, what came of it, and the tables of both."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from truevox.errors import TrueVoxError
from truevox.labels import Labels

__all__ = [
    "CASE_COLUMNS",
    "FAILURE_COLUMNS",
    "LESION_COLUMNS",
    "METRIC_COLUMNS",
    "OUTPUT",
    "Evaluation",
    "Failure",
    "Job",
    "Result",
    "failure_of",
]

METRIC_COLUMNS = (
    "case", "label", "metric", "value", "unit", "status", "definition", "output", "patient", "when_empty",
    "software",
)  # fmt: skip
"""Order of the columns of ``metrics.csv``; ``when_empty`` is what an empty prediction of the case would get,
for metrics whose range has no end."""
LESION_COLUMNS = (
    "case", "output", "label", "rule", "kind", "reference_lesion", "prediction_lesion", "reference_ml",
    "prediction_ml", "overlap_ml", "iou", "dice", "assd_mm", "x_mm", "y_mm", "z_mm", "score", "touches",
    "reference_px", "prediction_px",
)  # fmt: skip
"""Order of the columns of ``lesions.csv``."""
CASE_COLUMNS = (
    "case", "prediction", "reference", "image", "output", "patient", "displacement_mm", "notes",
)  # fmt: skip
"""Order of the columns of ``cases.csv``."""
FAILURE_COLUMNS = ("case", "output", "file", "message", "remedy")
"""Order of the columns of ``failures.csv``."""
OUTPUT = "segmentation"
"""Name of the output where nothing names one."""


@dataclass(frozen=True)
class Failure:
    """A case without scores, and why.

    Examples
    --------
    >>> Failure("p07", "tumour", "preds/p07", "The prediction is missing.", "predict it").case
    'p07'
    """

    case: str
    output: str
    file: str
    message: str
    remedy: str

    def as_row(self) -> dict[str, str]:
        """A row for :func:`truevox.files.write_csv` with ``FAILURE_COLUMNS``."""
        return {name: " ".join(text.split()) for name, text in asdict(self).items()}


def failure_of(case: str, output: str, error: BaseException, file: Path | None = None) -> Failure:
    """A failure from what was raised: its message, with what was found and what would have been right."""
    if not isinstance(error, TrueVoxError):
        text = f"{type(error).__name__}: {error}"
        remedy = "less memory is needed with fewer --jobs" if isinstance(error, MemoryError) else ""
        return Failure(case, output, str(file or ""), text, remedy or "please report it")
    details = [f"{k}: {v}" for k, v in (("got", error.got), ("expected", error.expected)) if v is not None]
    message = error.message + (f" ({'; '.join(details)})" if details else "")
    return Failure(case, output, error.file or str(file or ""), message, error.remedy or "")


@dataclass(frozen=True)
class Job:
    """A prediction and its reference.

    Parameters
    ----------
    case : str
        Its key, ``case`` or ``case/record``.
    prediction, reference : path, optional
        None if there is none; ``problem`` may say why.
    image : path, optional
        What was segmented: to look at, and the frame of contours of RTSTRUCT.
    labels : Labels, optional
        What is scored; None: every value that occurs.
    output : str
        Name of the output of a model.
    patient : str
        Whose case it is; empty: what stands before the first ``/`` of its key.
    binary : bool
        All that is not 0 is one label.
    strict : bool
        Whether values that ``labels`` does not declare make the case fail; else they are background, and
        noted.
    problem : Failure, optional
        Why it can't be scored, known before any file was read.
    score : path, optional
        Probabilities of the labels: a channel for each, or one more for the background before them.
    called : (str, str)
        What messages call prediction and reference.
    """

    case: str
    prediction: Path | None
    reference: Path | None
    image: Path | None = None
    labels: Labels | None = None
    output: str = OUTPUT
    patient: str = ""
    binary: bool = False
    strict: bool = False
    problem: Failure | None = None
    score: Path | None = None
    called: tuple[str, str] = ("prediction", "reference")

    @property
    def owner(self) -> str:
        """The patient: as named, else what stands before the first ``/`` of the case.

        Examples
        --------
        >>> Job("p1/t0", None, None).owner, Job("s01", None, None, patient="p1").owner
        ('p1', 'p1')
        """
        return self.patient or self.case.partition("/")[0]

    def as_row(self, result: Result) -> dict[str, Any]:
        """A row of ``cases.csv``."""
        moved = result.displacement_mm
        files = {"prediction": self.prediction, "reference": self.reference, "image": self.image}
        return {
            "case": self.case,
            **{name: "" if path is None else os.path.abspath(path) for name, path in files.items()},
            "output": self.output,
            "patient": self.owner,
            "displacement_mm": "" if moved is None else round(moved, 6),
            "notes": "; ".join(result.notes),
        }


@dataclass(frozen=True)
class Result:
    """What came of a job; plain data, so that it can be kept in a file.

    Parameters
    ----------
    values : dict of label to list of [metric, value, unit, status, definition, when_empty]
    absent : dict of label to the same
        What a label has that is in neither mask; ``""`` for labels without metrics of their own. Filled
        where no table says which labels there are.
    lesions : list of dict
        Rows of ``lesions.csv``.
    notes : list of str
        What was done to the case or is odd about it.
    failure : Failure, optional
    displacement_mm : float, optional
        How far corners of prediction and reference are apart that were taken for one.
    unit : {"ml", "px²", "px³"}
        Of volumes; pixels where the reference says no spacing.
    """

    values: dict[str, list[list[Any]]] = field(default_factory=dict)
    absent: dict[str, list[list[Any]]] = field(default_factory=dict)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: Failure | None = None
    displacement_mm: float | None = None
    unit: str = "ml"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """Inverse of :meth:`to_dict`."""
        failure: Failure | None = None if data["failure"] is None else Failure(**data["failure"])
        rest: dict[str, Any] = {name: value for name, value in data.items() if name != "failure"}
        return cls(**rest, failure=failure)


@dataclass(frozen=True)
class Evaluation:
    """All scores of a cohort.

    Parameters
    ----------
    rows : list of dict
        With ``METRIC_COLUMNS``. A case that failed has rows too: value NaN, status ``"failed"``.
    failures : list of Failure
        Why they failed; also predictions without a reference.
    lesions : list of dict
        With ``LESION_COLUMNS``.
    cases : list of dict
        With ``CASE_COLUMNS``: which files were compared, and what was noted.
    labels : dict of output to dict of label to values
        What was scored, as far as its values are known; no value: all but 0.
    """

    rows: list[dict[str, Any]]
    failures: list[Failure]
    lesions: list[dict[str, Any]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, dict[str, list[int]]] = field(default_factory=dict)
