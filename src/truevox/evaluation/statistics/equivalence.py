"""Equivalence: is the difference of two methods smaller than what matters?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from truevox.errors import SettingsError
from truevox.evaluation.statistics.by_patient import standard_error
from truevox.evaluation.statistics.signed_ranks import paired_differences

__all__ = ["Equivalence", "tost"]


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t-tests.

    Parameters
    ----------
    margin : float
        Largest mean difference that does not matter, in the unit of the metric.
    difference : float
        Mean of ``a - b``.
    low, high : float
        The interval of level ``1 - 2 alpha`` (90 % for alpha = 0.05): equivalent means that it lies within
        the margins.
    p : float
        Of the hypothesis that the difference is as large as the margin; NaN for fewer than two patients.
    equivalent : bool
        ``p < alpha``.

    Examples
    --------
    >>> Equivalence(0.02, 0.001, -0.003, 0.005, 0.001, True).equivalent
    True
    """

    margin: float
    difference: float
    low: float
    high: float
    p: float
    equivalent: bool


def tost(
    a: ArrayLike,
    b: ArrayLike,
    margin: float,
    *,
    patients: ArrayLike | Sequence[str] | None = None,
    alpha: float = 0.05,
) -> Equivalence:
    """Equivalence of the means of two methods on the same scans.

    No significant difference is no sign of equivalence: few patients show nothing. This test turns the
    question round.

    Parameters
    ----------
    a, b : (n,)
    margin : float
        Positive, in the unit of the metric.
    patients : sequence of n names or numbers, optional
        By default each pair is of a patient of its own.
    alpha : float

    Returns
    -------
    Equivalence

    Raises
    ------
    SettingsError
        If the margin is not positive.

    References
    ----------
    Schuirmann (1987), A comparison of the two one-sided tests procedure.

    Examples
    --------
    >>> tost([0.80, 0.91, 0.70, 0.85], [0.81, 0.90, 0.70, 0.85], margin=0.05).equivalent
    True
    """
    from scipy.stats import t

    if not (np.isfinite(margin) and margin > 0):
        raise SettingsError(
            "A margin is a positive number in the unit of the metric.",
            got=margin,
            remedy="give the largest difference that does not matter, e.g. margin=0.02",
        )
    found = standard_error(paired_differences(a, b), patients)
    mean, error, nan = found.mean, found.error, float("nan")
    if found.patients < 2:
        return Equivalence(margin, mean, nan, nan, nan, False)
    if error == 0:
        within = abs(mean) < margin
        return Equivalence(margin, mean, mean, mean, 0.0 if within else 1.0, within)
    # The larger p of two one-sided tests: that of the nearer margin.
    p = float(t.sf((margin - abs(mean)) / error, found.degrees))
    reach = float(t.ppf(1 - alpha, found.degrees)) * error
    return Equivalence(margin, mean, mean - reach, mean + reach, p, p < alpha)
