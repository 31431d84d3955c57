"""Case and Cohort: what belongs together, loaded when needed."""

from truevox.cohort.case import Case
from truevox.cohort.check import Problem, check
from truevox.cohort.table import Cohort

__all__ = ["Case", "Cohort", "Problem", "check"]
