"""Evaluation: scores per case and label, and what a cohort of them says."""

from truevox.evaluation.cases import METRIC_COLUMNS, Evaluation, Failure, evaluate
from truevox.evaluation.summary import SUMMARY_COLUMNS, Summary, summary

__all__ = ["METRIC_COLUMNS", "SUMMARY_COLUMNS", "Evaluation", "Failure", "Summary", "evaluate", "summary"]
