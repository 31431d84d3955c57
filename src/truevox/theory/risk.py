"""Expected losses of a prediction, for losses of the theory and for those that networks are trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError
from truevox.theory.criteria import (
    Criterion,
    Dice,
    DicePlusPlus,
    DiceSemimetric,
    Jaccard,
    JaccardMetric,
    Ratio,
    SquaredDice,
)
from truevox.theory.independent import IndependentLaw
from truevox.theory.laws import LAWS, AverageLaw, Law, LawName, NestedLaw, exclusive
from truevox.theory.pointwise import Brier, CrossEntropy, Focal, Pointwise

__all__ = ["Trained", "criterion_of", "expected_score", "law_of", "risk", "slope", "values"]

Floats = NDArray[np.float64]

CRITERIA: dict[str, Criterion] = {
    "dice": Dice(),
    "jaccard": Jaccard(),
    "squared_dice": SquaredDice(),
    "dice++": DicePlusPlus(),
    "dml": DiceSemimetric(),
    "jml": JaccardMetric(),
    "cross_entropy": CrossEntropy(),
    "focal": Focal(),
    "brier": Brier(),
}
"""Losses that have a name; those with settings of their own are objects."""


class Trained(Protocol):
    """A loss that networks are trained with, such as those of :mod:`truevox.losses`."""

    def on_probabilities(self, probabilities: Any, target: Any, *, weight: Any = None) -> Any:
        """Loss of probabilities (1, 1, K) against labels (1, 1, K), voxels weighted by (1, 1, K)."""
        ...


@dataclass(frozen=True)
class OfTrained(Criterion):
    """A trained loss as a criterion: computed map by map, with its own gradient."""

    loss: Trained

    def risk(self, t: Floats, law: Law) -> tuple[float, Floats]:
        """Expected loss and its derivative."""
        # Here and not above: the theory itself needs no torch.
        import torch

        maps, weights = law.listed()
        prediction = torch.tensor(t[None, None], requires_grad=True)
        size = torch.as_tensor(law.sizes[None, None])
        total = torch.zeros((), dtype=torch.float64)
        for label, share in zip(maps, weights, strict=True):
            target = torch.as_tensor(label[None, None])
            total = total + share * self.loss.on_probabilities(prediction, target, weight=size)
        gradient = torch.autograd.grad(total, prediction, allow_unused=True)[0]
        return float(total.detach()), np.zeros_like(t) if gradient is None else gradient.numpy()[0, 0]


def criterion_of(loss: str | Criterion | Trained) -> Criterion:
    """The criterion that a name, a criterion or a trained loss stands for.

    Raises
    ------
    SettingsError
        If there is none.
    """
    if isinstance(loss, Criterion):
        return loss
    if isinstance(loss, str) and loss in CRITERIA:
        return CRITERIA[loss]
    if not isinstance(loss, str) and hasattr(loss, "on_probabilities"):
        return OfTrained(loss)
    raise SettingsError(
        "The theory knows no such loss.",
        got=loss,
        expected=", ".join(CRITERIA),
        remedy="theory.Tversky(alpha=, beta=), CrossEntropy(weight=), Focal(gamma=), ... have settings",
    )


def law_of(sizes: ArrayLike | None, probabilities: ArrayLike | None, law: LawName | Law) -> Law:
    """A law by its name, or the one that is given.

    Raises
    ------
    SettingsError
        If the name is not known, or sizes and probabilities are missing or given twice.
    """
    if isinstance(law, Law):
        if sizes is not None or probabilities is not None:
            raise SettingsError(
                "A law has sizes and probabilities of its own.", remedy="optimum(law=law), without them"
            )
        return law
    if sizes is None or probabilities is None:
        raise SettingsError(
            "Sizes and probabilities of the regions are missing.",
            got=f"law={law!r}",
            remedy="pass sizes= and probabilities=, or a law that was made from masks",
        )
    if law == "independent":
        return IndependentLaw(sizes, probabilities)
    if law == "nested":
        return NestedLaw(sizes, probabilities)
    if law == "exclusive":
        return exclusive(sizes, probabilities)
    if law in ("many", "averaged"):
        return AverageLaw(sizes, probabilities, soft=law == "averaged")
    raise SettingsError(
        "The theory knows no such law.",
        got=law,
        expected=", ".join(LAWS),
        remedy="choose one of these for law=",
    )


def risk(prediction: ArrayLike, law: Law, loss: str | Criterion | Trained = "dice") -> float:
    """Expected loss of a prediction under a law.

    Parameters
    ----------
    prediction : array (K,)
        In [0, 1], one value per region.
    law : Law
    loss : name, criterion, or loss of :mod:`truevox.losses`

    Returns
    -------
    float

    Raises
    ------
    SettingsError
        If the prediction has another number of regions, or leaves [0, 1].

    Examples
    --------
    A certain region and one of the same size with probability 0.3, which is left out or half included:

    >>> law = IndependentLaw([1, 1], [1, 0.3])
    >>> round(risk([1, 0], law), 6), round(risk([1, 0.5], law), 6)
    (0.1, 0.182857)
    """
    t = np.atleast_1d(np.asarray(prediction, dtype=np.float64))
    if t.shape != law.sizes.shape or not ((t >= 0) & (t <= 1)).all():
        raise SettingsError(
            "A prediction has a value in [0, 1] per region.",
            got=f"{t.shape}, {t.min() if t.size else ''} to {t.max() if t.size else ''}",
            expected=f"{law.sizes.shape}",
            remedy="give one number from 0 to 1 for each region of the law",
        )
    return float(values(t[None], law, criterion_of(loss))[0])


def expected_score(prediction: ArrayLike, law: Law, loss: str | Criterion | Trained = "dice") -> float:
    """One minus :func:`risk`: the expected overlap, if the loss is one minus an overlap.

    Examples
    --------
    >>> round(expected_score([1, 0], IndependentLaw([1, 1], [1, 0.4])), 6)
    0.866667
    """
    return 1 - risk(prediction, law, loss)


def values(t: Floats, law: Law, criterion: Criterion) -> Floats:
    """Expected loss of predictions (N, K): (N,)."""
    if isinstance(criterion, Ratio):
        return 1 - law.ratio(t, criterion)
    if isinstance(criterion, Pointwise):
        one, zero = criterion.losses(t)
        p = law.probabilities
        # A loss that is infinite where it can't occur adds nothing.
        return (np.where(p > 0, p * one, 0) + np.where(p < 1, (1 - p) * zero, 0)) @ law.sizes / law.total
    if isinstance(criterion, OfTrained):
        return np.array([criterion.risk(one, law)[0] for one in t])
    raise SettingsError(
        "The criterion says nothing of expected losses.",
        got=type(criterion).__name__,
        remedy="take a criterion of truevox.theory, such as Dice()",
    )


def slope(t: Floats, law: Law, criterion: Criterion) -> Floats:
    """Derivative of the expected loss at one prediction (K,): (K,)."""
    if isinstance(criterion, Ratio):
        return -law.ratio_slope(t, criterion)
    if isinstance(criterion, Pointwise):
        one, zero = criterion.slopes(t)
        p = law.probabilities
        return law.sizes * (np.where(p > 0, p * one, 0) + np.where(p < 1, (1 - p) * zero, 0)) / law.total
    if isinstance(criterion, OfTrained):
        return criterion.risk(t, law)[1]
    raise SettingsError(
        "The criterion says nothing of expected losses.",
        got=type(criterion).__name__,
        remedy="take a criterion of truevox.theory, such as Dice()",
    )
