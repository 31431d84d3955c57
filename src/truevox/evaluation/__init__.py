"""Evaluation: scores per case and label, and what a cohort of them says."""

from truevox.evaluation.cases import METRIC_COLUMNS, Evaluation, Failure, evaluate
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
    "Evaluation",
    "Failure",
    "RaterBias",
    "RaterVolumes",
    "Summary",
    "evaluate",
    "rater_volumes",
    "summary",
]
