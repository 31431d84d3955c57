"""The prediction that a loss asks for, and what it does to the volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.theory.criteria import Criterion, Ratio
from truevox.theory.laws import AverageLaw, Law, LawName
from truevox.theory.pointwise import Pointwise
from truevox.theory.risk import Trained, criterion_of, law_of, slope, values
from truevox.theory.search import by_averages, by_corners, by_filling, polished

__all__ = ["Optimum", "local_optimum", "optimum"]

Floats = NDArray[np.float64]
_TIE, _SAME = 1e-11, 1e-6
_RATE, _DECAY_1, _DECAY_2, _TINY = 0.05, 0.9, 0.999, 1e-8
_LOGIT, _FAR = 10.0, 4.0


@dataclass(frozen=True, eq=False)
class Optimum:
    """A prediction at which an expected loss is least.

    Parameters
    ----------
    map : array (K,)
        The prediction, a value in [0, 1] per region. Of several that tie, a hard one, of the smallest volume.
    volume : float
        ``sum s t``, in units of the sizes.
    expected_volume : float
        ``sum s p``, of the label.
    expected_score : float
        One minus the expected loss.
    is_hard : bool
        Whether every value is within 1e-4 of 0 or 1.
    smallest_volume, largest_volume : float
        Of the optima that tie (scores within 1e-11).
    half_volume : float
        Of the regions with a probability above 1/2.
    """

    map: Floats
    volume: float
    expected_volume: float
    expected_score: float
    is_hard: bool
    smallest_volume: float
    largest_volume: float
    half_volume: float

    @property
    def bias(self) -> float:
        """``volume - expected_volume``: positive is too large."""
        return self.volume - self.expected_volume

    @property
    def relative_bias(self) -> float:
        """Bias over expected volume; NaN where no foreground is expected."""
        return self.bias / self.expected_volume if self.expected_volume > 0 else float("nan")

    @property
    def risk(self) -> float:
        """The expected loss."""
        return 1 - self.expected_score


def optimum(
    sizes: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    law: LawName | Law = "independent",
    loss: str | Criterion | Trained = "dice",
) -> Optimum:
    """The prediction of least expected loss: what a network free enough is asked to learn.

    Parameters
    ----------
    sizes, probabilities : arrays (K,)
        Of the regions: size in any unit, and probability to be foreground. Left out if ``law`` is a
        :class:`Law`.
    law : name or Law
        How the labels of regions hang together. "independent"; "nested": the foreground is ``{p > U}`` for
        one uniform U, as when raters draw the same outline wider or narrower; "exclusive": at most one
        region is foreground; "many": so many independent voxels that their sums do not vary; "averaged":
        the label is the mean over raters, a soft one. Label maps of raters: :func:`from_maps`.
    loss : name, criterion or loss
        "dice", "jaccard", "squared_dice", "dice++", "dml", "jml", "cross_entropy", "focal", "brier"; a
        criterion of this module with settings, such as ``Tversky(alpha=0.3, beta=0.7)``; or a loss of
        :mod:`truevox.losses`.

    Returns
    -------
    Optimum

    Raises
    ------
    SettingsError
        If sizes and probabilities do not fit, or law or loss are not known.

    Notes
    -----
    Exact for losses that are sums over regions, under any law; for Dice and Tversky with alpha + beta = 1
    under any law, because given the volume of the prediction these are linear in it; for all ratios under
    "many" and "averaged". Otherwise all hard maps of up to 12 regions are compared, beyond that the most
    probable ones and what single flips make of them, and the best are polished as soft maps, together with
    random starts.

    References
    ----------
    Bertels et al. (2021), Theoretical analysis and experimental validation of volume bias of soft Dice
    optimized segmentation maps in the context of inherent uncertainty.

    Examples
    --------
    The same probabilities, and a bias of the opposite sign:

    >>> sizes, p = [10, 5, 5], [1, 0.48, 0.48]
    >>> for law in ("independent", "nested"):
    ...     best = optimum(sizes, p, law)
    ...     best.map.tolist(), best.volume, round(best.bias, 6), round(best.expected_score, 6)
    ([1.0, 1.0, 1.0], 20.0, 5.2, 0.838552)
    ([1.0, 0.0, 0.0], 10.0, -4.8, 0.84)
    >>> round(optimum(sizes, p, loss="cross_entropy").bias, 6)
    0.0
    """
    chosen, criterion = law_of(sizes, probabilities, law), criterion_of(loss)
    if isinstance(criterion, Pointwise):
        return _made(criterion.minimiser(chosen.probabilities)[None], chosen, criterion)
    if isinstance(criterion, Ratio):
        if chosen.expected_volume == 0:
            return _made(np.zeros((1, len(chosen.sizes))), chosen, criterion)
        if isinstance(chosen, AverageLaw):
            return _made(by_averages(chosen, criterion), chosen, criterion)
        if criterion.fill is not None:
            return _made(by_filling(chosen, criterion, criterion.fill), chosen, criterion)
    return _made(by_corners(chosen, criterion), chosen, criterion)


def local_optimum(
    sizes: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    law: LawName | Law = "independent",
    loss: str | Criterion | Trained = "dice",
    *,
    start: float | ArrayLike = 0.5,
) -> Optimum:
    """The local optimum that gradient descent reaches: training is bistable, and the start decides.

    Parameters
    ----------
    sizes, probabilities, law, loss
        As for :func:`optimum`.
    start : float or array (K,)
        Prediction at which descent begins, within (0, 1).

    Returns
    -------
    Optimum

    Raises
    ------
    SettingsError
        As :func:`optimum`, or if the start does not fit.

    Notes
    -----
    Adam (Kingma and Ba, 2015) on one logit per region with a rate of 0.05, until every logit is beyond 4 or
    at rest (200 to 2000 steps), then descent without logits to the optimum itself. Predictions follow the
    sign of the gradient rather than its size, as they do in training.

    Examples
    --------
    >>> sizes, p = [10, 5, 5], [1, 0.48, 0.48]
    >>> optimum(sizes, p, "nested").volume, local_optimum(sizes, p, "nested").volume
    (10.0, 20.0)
    """
    chosen, criterion = law_of(sizes, probabilities, law), criterion_of(loss)
    t = np.broadcast_to(np.asarray(start, dtype=np.float64), chosen.sizes.shape)
    if not ((t > 0) & (t < 1)).all():
        raise SettingsError("Descent starts within (0, 1).", got=start, remedy="start=0.5 is usual")
    return _made(polished(_descended(t, chosen, criterion), chosen, criterion)[None], chosen, criterion)


def _descended(start: Floats, law: Law, criterion: Criterion, steps: int = 2000) -> Floats:
    logit = np.log(start) - np.log1p(-start)
    first, second = np.zeros_like(logit), np.zeros_like(logit)
    t = start.copy()
    for step in range(1, steps + 1):
        gradient = slope(t, law, criterion) * t * (1 - t)
        first = _DECAY_1 * first + (1 - _DECAY_1) * gradient
        second = _DECAY_2 * second + (1 - _DECAY_2) * gradient**2
        moved = first / (1 - _DECAY_1**step) / (np.sqrt(second / (1 - _DECAY_2**step)) + _TINY)
        logit = np.clip(logit - _RATE * moved, -_LOGIT, _LOGIT)
        t = 1 / (1 + np.exp(-logit))
        if step > 200 and ((np.abs(logit) >= _FAR) | (np.abs(moved) < 1e-3)).all():
            break
    return t


def _made(candidates: Floats, law: Law, criterion: Criterion) -> Optimum:
    """The best of some predictions: of those that tie a hard one, of the smallest volume."""
    scores = 1 - values(candidates, law, criterion)
    tied = candidates[scores >= scores.max() - _TIE]
    volumes = tied @ law.sizes
    softness = np.minimum(tied, 1 - tied).max(1)
    best = np.lexsort((volumes, softness > 0))[0]
    # The same optimum, found twice, is no tie.
    volumes = np.where(np.abs(volumes - volumes[best]) < _SAME * law.total, volumes[best], volumes)
    return Optimum(
        map=tied[best],
        volume=float(volumes[best]),
        expected_volume=law.expected_volume,
        expected_score=float(scores[scores >= scores.max() - _TIE][best]),
        is_hard=bool(softness[best] < 1e-4),
        smallest_volume=float(volumes.min()),
        largest_volume=float(volumes.max()),
        half_volume=float(law.sizes[law.probabilities > 0.5].sum()),
    )
