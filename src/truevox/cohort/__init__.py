"""Case and Cohort: what belongs together, loaded when needed."""

from truevox.cohort.case import Case
from truevox.cohort.check import Problem, check
from truevox.cohort.checks.pictures import draw_problems
from truevox.cohort.checks.repair import Repair, repair
from truevox.cohort.table import Cohort

__all__ = ["Case", "Cohort", "Problem", "Repair", "check", "draw_problems", "repair"]
