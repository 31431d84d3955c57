"""What a loss is, and sums of losses."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from truevox.errors import GraphError

__all__ = ["Loss", "LossSum"]


class Loss:
    """Callable on logits (B, C, *spatial) and a target; losses add up and take factors.

    A loss of your own is a subclass with ``__call__``; sums and factors then work on it too.

    Examples
    --------
    >>> from truevox.losses import CrossEntropy, SoftDice
    >>> loss = CrossEntropy() + 0.5 * SoftDice()
    >>> [(factor, type(term).__name__) for factor, term in loss.terms]
    [(1.0, 'CrossEntropy'), (0.5, 'SoftDice')]
    """

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Value of the loss, a scalar tensor.

        Parameters
        ----------
        logits : Tensor (B, C, *spatial)
            Any floating type; computed in float32 (float64 stays).
        target : Tensor
            Class indices, ints (B, *spatial) or (B, 1, *spatial), or shares per channel, floats
            (B, C, *spatial).
        weight : Tensor (B, 1, *spatial), optional
            Weight of each voxel.
        """
        raise NotImplementedError

    def __add__(self, other: Loss) -> LossSum:
        if not isinstance(other, Loss):
            return NotImplemented
        return LossSum((*_terms(self), *_terms(other)))

    def __mul__(self, factor: float) -> LossSum:
        if not isinstance(factor, (int, float)):
            return NotImplemented
        return LossSum(tuple((float(factor) * old, loss) for old, loss in _terms(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class LossSum(Loss):
    """Weighted sum of losses; written ``a + 0.5 * b``.

    Parameters
    ----------
    terms : tuple of (float, Loss)
        Factor and loss of each term.

    Raises
    ------
    GraphError
        If there is no term, or a factor is not finite.
    """

    terms: tuple[tuple[float, Loss], ...]

    def __post_init__(self) -> None:
        if not self.terms or not all(isfinite(factor) for factor, _ in self.terms):
            raise GraphError("A sum of losses needs terms with finite factors.", got=self.terms)

    def __call__(self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Sum of the terms."""
        first, *others = (factor * loss(logits, target, weight=weight) for factor, loss in self.terms)
        return sum(others, start=first)


def _terms(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.terms if isinstance(loss, LossSum) else ((1.0, loss),)
