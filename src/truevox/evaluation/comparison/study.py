"""Comparison of methods on the same cases: from their evaluations, or from one table of scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from truevox.errors import SettingsError
from truevox.evaluation.comparison.agreements import (
    AGREEMENT_COLUMNS,
    DIFFERENCE_METRIC,
    VOLUME_METRICS,
    agreements,
)
from truevox.evaluation.comparison.analysis import Analysis
from truevox.evaluation.comparison.differences import DIFFERENCE_COLUMNS, differences, friedman_rows
from truevox.evaluation.comparison.long_tables import read_long_table
from truevox.evaluation.comparison.missing import Missing, Resolved, Scores, resolve
from truevox.evaluation.comparison.remarks import remarks_of
from truevox.evaluation.comparison.score_tables import (
    patients_beside,
    read_evaluation,
    scores_of,
    volumes_of,
)
from truevox.evaluation.comparison.standings import RANKING_COLUMNS, Standing, overall, standings
from truevox.evaluation.statistics.paired import Correction
from truevox.files import software, write_csv, write_json

__all__ = ["Comparison", "compare", "compare_table"]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Parameters
    ----------
    methods : tuple of str
    settings : dict
    differences : tuple of dict
        A row for each metric, label and pair of methods: the columns of ``comparison.csv``.
    friedman : tuple of dict
        Tests that no method differs, where there are more than two.
    standings : tuple of Standing
        Rankings of each metric and label.
    agreement : tuple of dict
        The columns of ``agreement.csv``.
    volumes : tuple of Scores
        Volumes and their differences, as read.
    warnings : tuple of str
        What its reader should know first: gaps and what stands in for them, what is left out.
    """

    methods: tuple[str, ...]
    settings: dict[str, Any]
    differences: tuple[dict[str, Any], ...]
    friedman: tuple[dict[str, Any], ...]
    standings: tuple[Standing, ...]
    agreement: tuple[dict[str, Any], ...]
    volumes: tuple[Scores, ...]
    warnings: tuple[str, ...]

    @property
    def ranking(self) -> list[dict[str, Any]]:
        """The columns of ``ranking.csv``, best first."""
        return [row for one in self.standings for row in one.rows()]

    @property
    def overall(self) -> list[dict[str, Any]]:
        """One order over all labels and metrics, from their mean ranks; empty for a single one."""
        return overall(self.standings, self.settings["scheme"])

    @property
    def patients(self) -> dict[str, str]:
        """Case to patient, as they were compared: a report by the same patients says the same."""
        tables = [*(one.table.scores for one in self.standings), *self.volumes]
        return {
            case: patient for one in tables for case, patient in zip(one.cases, one.patients, strict=True)
        }

    def write(self, folder: str | Path, *, figures: bool = True) -> list[Path]:
        """Write comparison.csv, ranking.csv, agreement.csv, comparison.json, and figures as PNG.

        Parameters
        ----------
        folder : path
        figures : bool

        Returns
        -------
        list of Path
            What was written.

        Raises
        ------
        FileError
            If a file can't be written.
        """
        place = Path(folder)
        tables = {
            "comparison.csv": (self.differences, DIFFERENCE_COLUMNS),
            "ranking.csv": (self.ranking, RANKING_COLUMNS),
            "agreement.csv": (self.agreement, AGREEMENT_COLUMNS),
        }
        for name, (rows, columns) in tables.items():
            write_csv(place / name, rows, columns)
        write_json(place / "comparison.json", self.as_json())
        written = [place / name for name in (*tables, "comparison.json")]
        if figures:
            from truevox.evaluation.comparison.figures import write_figures

            written += write_figures(place, self)
        return written

    def as_json(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {
            "software": software(),
            "methods": list(self.methods),
            "settings": self.settings,
            "warnings": list(self.warnings),
            "differences": list(self.differences),
            "friedman": list(self.friedman),
            "ranking": self.ranking,
            "overall": self.overall,
            "kendall_tau": [one.tau_row() for one in self.standings],
            "agreement": list(self.agreement),
            "patients": self.patients,
        }


def compare(
    evaluations: Mapping[str, str | Path],
    *,
    metrics: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    unit: Literal["patient", "case"] = "patient",
    patients: Mapping[str, str] | None = None,
    better: Mapping[str, str] | None = None,
    test: str = "permutation",
    correction: Correction = "holm",
    missing: Missing = "worst",
    margins: Mapping[str, float] | None = None,
    scheme: str = "mean_then_rank",
    interval: Literal["t", "percentile", "bca"] = "t",
    human: str | None = None,
    resamples: int = 10_000,
    rank_resamples: int = 1000,
    draws: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare methods by the metrics of their evaluations.

    Parameters
    ----------
    evaluations : mapping of name to folder
        As ``truevox evaluate --out`` writes them; two or more, of the same cases.
    metrics, labels : sequence of str, optional
        Only these; tables of volumes come with any metric of volume.
    unit : {"patient", "case"}
        What is drawn and tested: a patient with all its cases, or each case by itself.
    patients : mapping of case to patient, optional
        By default those of ``cases.csv``, else what stands before the first ``/`` of the case.
    better : mapping of metric to {"higher", "lower", "zero"}, optional
        Directions of metrics that this version does not know.
    test, correction, missing, margins, scheme, interval, human, resamples, rank_resamples, draws, seed
        See :class:`truevox.evaluation.comparison.analysis.Analysis`.

    Returns
    -------
    Comparison

    Raises
    ------
    SettingsError
        If there are fewer than two evaluations, or nothing has an asked metric or label.
    FileError
        If a folder has no ``metrics.csv``, or it is damaged.
    CaseError
        If definitions of a metric differ, a score is there twice, or no case is shared.
    """
    analysis = Analysis(
        test=test, correction=correction, missing=missing, margins=margins or {}, scheme=scheme,
        interval=interval, human=human, resamples=resamples, rank_resamples=rank_resamples, draws=draws,
        seed=seed,
    )  # fmt: skip
    if len(evaluations) < 2:
        raise SettingsError(
            "A comparison needs two evaluations or more.",
            got=", ".join(evaluations) or "none",
            remedy="name the folders of two methods: truevox compare eval_a eval_b",
        )
    tables = [read_evaluation(name, place) for name, place in evaluations.items()]
    owners = patients_beside(tables) if patients is None else patients
    found, left_out = scores_of(
        tables, metrics=metrics, labels=labels, unit=unit, patients=owners, better=better
    )
    # Whoever asks for Dice alone wants no table of volumes.
    sizes = (DIFFERENCE_METRIC, *VOLUME_METRICS)
    wanted = sizes if metrics is None or any("volume" in name for name in metrics) else ()
    volumes = volumes_of(tables, wanted, labels=labels, unit=unit, patients=owners)
    settings = {
        "evaluations": {name: str(place) for name, place in evaluations.items()}, "unit": unit,
        "metrics": list(metrics or ()), "labels": list(labels or ()),
    }  # fmt: skip
    return _study(found, volumes, left_out, settings, analysis)


def compare_table(
    rows: str | Path | Iterable[Mapping[str, Any]],
    *,
    case: str = "case",
    method: str = "method",
    value: str = "value",
    task: str | None = None,
    patient: str | None = None,
    better: Literal["higher", "lower"] = "higher",
    low: float = float("-inf"),
    high: float = float("inf"),
    test: str = "permutation",
    correction: Correction = "holm",
    missing: Missing = "worst",
    margins: Mapping[str, float] | None = None,
    scheme: str = "mean_then_rank",
    interval: Literal["t", "percentile", "bca"] = "t",
    resamples: int = 10_000,
    rank_resamples: int = 1000,
    draws: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare methods by a table with one row per task, case and method, as challenges publish them.

    Parameters
    ----------
    rows : path of a CSV file, or rows
    case, method, value, task, patient : str
        Names of columns: see :func:`truevox.evaluation.comparison.long_tables.read_long_table`.
    better : {"higher", "lower"}
    low, high : float
        Range of the value.
    test, correction, missing, margins, scheme, interval, resamples, rank_resamples, draws, seed
        See :class:`truevox.evaluation.comparison.analysis.Analysis`.

    Returns
    -------
    Comparison

    Raises
    ------
    FileError, CaseError
        As the reader of the table does.

    Examples
    --------
    >>> rows = [{"case": f"p{k}", "method": m, "value": v + k / 10}
    ...         for k in range(6) for m, v in (("a", 0.1), ("b", 0.2))]
    >>> found = compare_table(rows)
    >>> [(row["method"], row["rank"]) for row in found.ranking], found.differences[0]["p"]
    ([('b', 1), ('a', 2)], 0.03125)
    """
    analysis = Analysis(
        test=test, correction=correction, missing=missing, margins=margins or {}, scheme=scheme,
        interval=interval, resamples=resamples, rank_resamples=rank_resamples, draws=draws,
        seed=seed,
    )  # fmt: skip
    found = read_long_table(
        rows, case=case, method=method, value=value, task=task, patient=patient, better=better, low=low,
        high=high,
    )  # fmt: skip
    settings = {
        "table": str(rows) if isinstance(rows, (str, Path)) else "rows", "case": case, "method": method,
        "value": value, "task": task, "patient": patient, "better": better,
    }  # fmt: skip
    return _study(found, [], [], settings, analysis)


def _study(
    found: Sequence[Scores],
    volumes: Sequence[Scores],
    left_out: Sequence[str],
    settings: dict[str, Any],
    analysis: Analysis,
) -> Comparison:
    tables = [resolve(one, analysis.missing) for one in _without_twins(found)]
    _expect_margins(tables, analysis)
    return Comparison(
        tuple(dict.fromkeys(name for one in found for name in one.methods)),
        settings | analysis.as_settings(),
        tuple(differences(tables, analysis)),
        tuple(friedman_rows([one for one in tables if one.patients])),
        tuple(standings(tables, analysis)),
        tuple(agreements(tables, volumes, analysis)),
        tuple(volumes),
        (*left_out, *remarks_of(tables, volumes, analysis)),
    )


def _without_twins(found: Sequence[Scores]) -> list[Scores]:
    """Signed metrics are compared by their size, so one whose absolute value is there says nothing new."""
    names = {(one.label, one.metric) for one in found}
    return [
        one
        for one in found
        if one.metric not in VOLUME_METRICS
        and not (one.better == "zero" and (one.label, f"absolute_{one.metric}") in names)
    ]


def _expect_margins(tables: Sequence[Resolved], analysis: Analysis) -> None:
    known = {name for one in tables for name in (one.scores.metric, one.scores.definition)}
    for name in analysis.margins:
        if name not in known:
            raise SettingsError(
                f"There is a margin for '{name}', which is not compared.",
                expected=", ".join(sorted(known)),
                remedy=f"remove the margin of '{name}', or add '{name}' to the metrics that are compared",
            )
