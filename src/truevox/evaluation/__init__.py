"""Evaluation: scores per case and label, what a cohort of them says, and which method is better.

Names resolve on first use: comparing tables of scores loads no reader of images.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from truevox.evaluation.cases import METRIC_COLUMNS, Evaluation, Failure, evaluate
    from truevox.evaluation.comparison import Comparison, compare, compare_table
    from truevox.evaluation.rater_volumes import (
        RATER_VOLUME_COLUMNS,
        RaterBias,
        RaterVolumes,
        rater_volumes,
    )
    from truevox.evaluation.summary import SUMMARY_COLUMNS, Summary, summary

__all__ = [
    "METRIC_COLUMNS",
    "RATER_VOLUME_COLUMNS",
    "SUMMARY_COLUMNS",
    "Comparison",
    "Evaluation",
    "Failure",
    "RaterBias",
    "RaterVolumes",
    "Summary",
    "compare",
    "compare_table",
    "evaluate",
    "rater_volumes",
    "summary",
]

_NAMES = {
    "METRIC_COLUMNS": "cases",
    "RATER_VOLUME_COLUMNS": "rater_volumes",
    "SUMMARY_COLUMNS": "summary",
    "Comparison": "comparison",
    "Evaluation": "cases",
    "Failure": "cases",
    "RaterBias": "rater_volumes",
    "RaterVolumes": "rater_volumes",
    "Summary": "summary",
    "compare": "comparison",
    "compare_table": "comparison",
    "evaluate": "cases",
    "rater_volumes": "rater_volumes",
    "summary": "summary",
}


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'truevox.evaluation' has no attribute {name!r}")
    value = getattr(import_module(f"truevox.evaluation.{_NAMES[name]}"), name)
    globals()[name] = value
    return value
