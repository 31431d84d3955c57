"""Evaluation: scores per case and label, what a cohort of them says, and which method is better.

Names resolve on first use: comparing tables of scores loads no reader of images.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# A function of the name of its module: bound now, lest an import of the module hide it.
from truevox.evaluation.summary import SUMMARY_COLUMNS, Summary, summary

if TYPE_CHECKING:
    from truevox.evaluation.cases import (
        CASE_COLUMNS,
        FAILURE_COLUMNS,
        LESION_COLUMNS,
        METRIC_COLUMNS,
        Evaluation,
        Failure,
        evaluate,
        evaluate_folders,
    )
    from truevox.evaluation.comparison.study import Comparison, compare, compare_table
    from truevox.evaluation.raters import (
        RATER_VOLUME_COLUMNS,
        RaterBias,
        RaterVolumes,
        rater_volumes,
    )
    from truevox.evaluation.settings import EvaluationSettings

__all__ = [
    "CASE_COLUMNS",
    "FAILURE_COLUMNS",
    "LESION_COLUMNS",
    "METRIC_COLUMNS",
    "RATER_VOLUME_COLUMNS",
    "SUMMARY_COLUMNS",
    "Comparison",
    "Evaluation",
    "EvaluationSettings",
    "Failure",
    "RaterBias",
    "RaterVolumes",
    "Summary",
    "compare",
    "compare_table",
    "evaluate",
    "evaluate_folders",
    "rater_volumes",
    "summary",
]

_NAMES = {
    "CASE_COLUMNS": "cases",
    "FAILURE_COLUMNS": "cases",
    "LESION_COLUMNS": "cases",
    "METRIC_COLUMNS": "cases",
    "RATER_VOLUME_COLUMNS": "raters",
    "Comparison": "comparison.study",
    "Evaluation": "cases",
    "EvaluationSettings": "settings",
    "Failure": "cases",
    "RaterBias": "raters",
    "RaterVolumes": "raters",
    "compare": "comparison.study",
    "compare_table": "comparison.study",
    "evaluate": "cases",
    "evaluate_folders": "cases",
    "rater_volumes": "raters",
}


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'truevox.evaluation' has no attribute {name!r}")
    value = getattr(import_module(f"truevox.evaluation.{_NAMES[name]}"), name)
    globals()[name] = value
    return value
