"""What a loss is: of logits or of probabilities, alone, in sums, by schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses.sums import Quantity, sums_of
from truevox.losses.targets import Scene, exact, scene

__all__ = ["Loss", "LossSum", "Scheduled", "SumLoss", "terms_of"]


class Loss:
    """Callable on logits (B, C, *spatial) and a target; losses add up and take factors.

    A loss of your own is a subclass with :meth:`of`, or with ``__call__`` alone; sums, factors and schedules
    then work on it too.

    Examples
    --------
    >>> from truevox.losses import CrossEntropy, SoftDice
    >>> loss = CrossEntropy() + 0.5 * SoftDice()
    >>> [(factor, type(term).__name__) for factor, term in loss.terms]
    [(1.0, 'CrossEntropy'), (0.5, 'SoftDice')]
    """

    activation: str | None = None
    ignore_index: int | None = 255
    labels_are_checked_later: ClassVar[bool] = False
    """Whether the sums over voxels find labels of no class by themselves."""

    @property
    def unbiased(self) -> bool | None:
        """Whether it is least at the true probabilities, which then add up to the volume to expect.

        None where that is not known, as of a loss of your own that does not say so itself. Those here are
        not, unless they say so: overlap and its kin are least at a decision, all or nothing.
        """
        return False if type(self).__module__.startswith("truevox.") else None

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
    ) -> Tensor:
        """Value of the loss, a scalar tensor in float32 (float64 if the logits are).

        Parameters
        ----------
        logits : Tensor (B, C, *spatial)
            Any floating type; computed in float32 (float64 stays).
        target : Tensor
            Class indices, ints (B, *spatial) or (B, 1, *spatial); or shares per channel, floats between 0
            and 1 (B, C, *spatial), all of them NaN where they are not known (a voxel that does not count, as
            one of ``ignore_index``); or, where channels may overlap, ints 0 and 1 (B, C, *spatial).
        weight : Tensor (B, 1, *spatial), optional
            Weight of each voxel, not negative: a weight of two is the voxel twice.
        label_present : Tensor of bool (B, C), optional
            Which labels were annotated in which image, background included. A label that was not makes no
            loss; among exclusive classes its probability counts as background's, of which it was a part.

        Raises
        ------
        GraphError
            If an argument does not fit the logits, or is out of range; says which, and what would fit.
        """
        return self.of(self.scene(logits, target, weight, label_present))

    def on_probabilities(
        self,
        probabilities: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
    ) -> Tensor:
        """The same of probabilities (B, C, *spatial), after the activation.

        In logarithms they are kept 1e-7 away from 0 and 1. Prefer logits where you have them: their
        gradients do not vanish in rounding.
        """
        return self.of(self.scene(probabilities, target, weight, label_present, logits=False))

    def scene(
        self,
        values: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
        *,
        logits: bool = True,
    ) -> Scene:
        """Arguments, checked."""
        made = scene(
            values,
            target,
            weight=weight,
            label_present=label_present,
            activation=self.activation,
            ignore_index=self.ignore_index,
            logits=logits,
        )
        if not self.labels_are_checked_later:
            made.check_labels()
        return made

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments, a scalar tensor."""
        raise NotImplementedError

    def parts(
        self,
        values: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
        logits: bool = True,
    ) -> list[Tensor]:
        """Value of each term before its factor, in the order of :func:`terms_of`.

        Parameters are those of a call; ``logits`` says whether the values are logits or probabilities.
        """
        shared = _shared(terms_of(self), values, target, weight, label_present, logits)
        result = []
        for _, term in terms_of(self):
            if isinstance(term, SumLoss) and term.shares_sums:
                scene, sums = shared[term.activation, term.ignore_index]
                result.append(term.typed(scene, sums))
            else:
                # A loss of a user's own may not know of labels that were not annotated.
                known = {} if label_present is None else {"label_present": label_present}
                call = term if logits else term.on_probabilities
                result.append(call(values, target, weight=weight, **known))
        return result

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """The loss from the values of its parts."""
        first, *others = (factor * part for (factor, _), part in zip(terms_of(self), parts, strict=True))
        return sum(others, start=first)

    def at_step(self, step: int) -> Loss:
        """The loss as it is at a step of training: itself, unless something in it follows a schedule."""
        return self

    def at_scale(self, voxels: float) -> Loss:
        """The loss for a coarser output, whose images have this share of the voxels."""
        return self

    def __add__(self, other: Loss) -> LossSum:
        if not isinstance(other, Loss):
            return NotImplemented
        return LossSum((*terms_of(self), *terms_of(other)))

    def __mul__(self, factor: float) -> LossSum:
        if not isinstance(factor, (int, float)):
            return NotImplemented
        return LossSum(tuple((float(factor) * old, loss) for old, loss in terms_of(self)))

    __rmul__ = __mul__


class SumLoss(Loss):
    """A loss that is a function of a few sums over voxels, per image and channel.

    Losses of this kind share one pass over the voxels when they are added, and store nothing for the
    gradient but the logits. A subclass says which sums, and what it makes of them.
    """

    labels_are_checked_later = True

    @property
    def shares_sums(self) -> bool:
        """Whether its sums are those of all voxels of the scene as it is given, which others may share."""
        return True

    def quantities(self, scene: Scene) -> Sequence[Quantity]:
        """What is summed."""
        raise NotImplementedError

    def value(self, scene: Scene, sums: Mapping[Quantity, Tensor]) -> Tensor:
        """The loss from the sums (B, C), float64."""
        raise NotImplementedError

    def of(self, scene: Scene) -> Tensor:
        """Value for checked arguments, a scalar tensor."""
        return self.typed(scene, sums_of(scene, self.quantities(scene)))

    def typed(self, scene: Scene, sums: Mapping[Quantity, Tensor]) -> Tensor:
        """:meth:`value`, in the type of the loss."""
        return self.value(scene, sums).to(exact(scene.values[:0]).dtype)


def terms_of(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    """Factor and loss of each term: of a single loss, itself."""
    return loss.terms if isinstance(loss, LossSum) else ((1.0, loss),)


def _shared(
    terms: Sequence[tuple[float, Loss]],
    values: Tensor,
    target: Tensor,
    weight: Tensor | None,
    label_present: Tensor | None,
    logits: bool,
) -> dict[tuple[str | None, int | None], tuple[Scene, Mapping[Quantity, Tensor]]]:
    """Sums that terms with the same view of the arguments need, made together."""
    views: dict[tuple[str | None, int | None], list[SumLoss]] = {}
    for _, term in terms:
        if isinstance(term, SumLoss) and term.shares_sums:
            views.setdefault((term.activation, term.ignore_index), []).append(term)
    result = {}
    for view, members in views.items():
        scene = members[0].scene(values, target, weight, label_present, logits=logits)
        wanted = {quantity for member in members for quantity in member.quantities(scene)}
        result[view] = scene, sums_of(scene, wanted)
    return result


class _OfParts(Loss):
    """A loss whose value is made of those of its parts."""

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
    ) -> Tensor:
        """Sum of the parts."""
        return self.total(self.parts(logits, target, weight=weight, label_present=label_present))

    def on_probabilities(
        self,
        probabilities: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
    ) -> Tensor:
        """Sum of the parts, of probabilities."""
        given = {"weight": weight, "label_present": label_present}
        return self.total(self.parts(probabilities, target, **given, logits=False))


@dataclass(frozen=True)
class LossSum(_OfParts):
    """Weighted sum of losses; written ``a + 0.5 * b``. Terms that are sums over voxels share one pass.

    Parameters
    ----------
    terms : tuple of (float, Loss)
        Factor and loss of each term.

    Raises
    ------
    GraphError
        If there is no term, or a factor is not finite.

    Examples
    --------
    >>> import torch
    >>> from truevox.losses import CrossEntropy, SoftDice
    >>> loss = CrossEntropy() + 0.5 * SoftDice()
    >>> values = loss.parts(torch.zeros(1, 1, 4), torch.tensor([[0, 0, 1, 1]]))
    >>> [round(float(value), 4) for value in values], round(float(loss.total(values)), 4)
    ([0.6931, 0.5], 0.9431)
    """

    terms: tuple[tuple[float, Loss], ...]

    def __post_init__(self) -> None:
        if not self.terms or not all(isfinite(factor) for factor, _ in self.terms):
            raise GraphError(
                "A sum of losses needs terms with finite factors.",
                got=self.terms,
                remedy="write 0.5 * a + 0.5 * b with finite factors",
            )

    def at_step(self, step: int) -> LossSum:
        """The sum as it is at a step of training."""
        moved = [(factor, loss.at_step(step)) for factor, loss in self.terms]
        return LossSum(
            tuple((outer * inner, term) for outer, loss in moved for inner, term in terms_of(loss))
        )

    def at_scale(self, voxels: float) -> LossSum:
        """The sum for a coarser output."""
        return LossSum(tuple((factor, loss.at_scale(voxels)) for factor, loss in self.terms))


@dataclass(frozen=True)
class Scheduled(_OfParts):
    """A loss whose factor moves with the step of training, in straight lines between points.

    Training asks for the loss at its step; called by itself, it is what it ends as.

    Parameters
    ----------
    loss : Loss
    points : tuple of (int, float)
        Step and factor, in ascending order; before the first and after the last the factor stays.

    Raises
    ------
    GraphError
        If there is no point, steps do not ascend, or a factor is not finite.

    Examples
    --------
    Cross-entropy alone first; soft Dice comes in between steps 500 and 1000:

    >>> from truevox.losses import CrossEntropy, Scheduled, SoftDice
    >>> loss = CrossEntropy() + Scheduled(SoftDice(), ((500, 0.0), (1000, 1.0)))
    >>> [loss.at_step(step).terms[1][0] for step in (0, 750, 2000)]
    [0.0, 0.5, 1.0]
    """

    loss: Loss
    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        points = tuple((int(step), float(factor)) for step, factor in self.points)
        object.__setattr__(self, "points", points)
        steps = [step for step, _ in points]
        if not points or steps != sorted(set(steps)) or not all(isfinite(factor) for _, factor in points):
            raise GraphError(
                "The points of a schedule do not fit.",
                got=self.points,
                expected="(step, factor) with ascending steps and finite factors",
                remedy="list the points by step, each step once: [(0, 1.0), (1000, 0.5)]",
            )

    def at_step(self, step: int) -> LossSum:
        """The loss with the factor of a step."""
        steps, factors = zip(*self.points, strict=True)
        factor = float(np.interp(step, steps, factors))
        return LossSum(tuple((factor * inner, term) for inner, term in terms_of(self.loss.at_step(step))))

    def at_scale(self, voxels: float) -> Scheduled:
        """The same schedule of the loss for a coarser output."""
        return Scheduled(self.loss.at_scale(voxels), self.points)

    def parts(
        self,
        values: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
        logits: bool = True,
    ) -> list[Tensor]:
        """Its one value, at its end."""
        end = self.at_step(self.points[-1][0])
        given = {"weight": weight, "label_present": label_present, "logits": logits}
        return [end.total(end.parts(values, target, **given))]
