"""The loss of a training step: its schedule, its scales, its parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.losses import Loss, terms_of

__all__ = ["part_names", "step_cost"]


Function = Callable[[Tensor, Tensor], Tensor]


def part_names(loss: Loss | Function) -> list[str]:
    """What the parts of a sum of losses are called in the history; nothing for a single loss.

    Examples
    --------
    >>> from truevox.losses import CrossEntropy, SoftDice
    >>> part_names(CrossEntropy() + SoftDice() + 2 * SoftDice(over="BI"))
    ['loss/cross_entropy', 'loss/soft_dice', 'loss/soft_dice_2']
    """
    names: list[str] = []
    if not isinstance(loss, Loss):
        return names
    for _, term in terms_of(loss.at_step(0)):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(term).__name__).lower()
        again = sum(re.fullmatch(rf"loss/{words}(_\d+)?", name) is not None for name in names)
        names.append(f"loss/{words}" + (f"_{again + 1}" if again else ""))
    return names if len(names) > 1 else []


def step_cost(
    loss: Loss | Function,
    step: int,
    outputs: Iterable[tuple[Tensor, Tensor, float]],
    share: float = 1.0,
) -> tuple[Tensor, list[float]]:
    """Loss of one step, and the values of its terms before their factors.

    Parameters
    ----------
    loss : Loss, or a function of logits and target
    step : int
        Of training; schedules are read there.
    outputs : iterable of (logits, target, weight)
        Of each output of the network, the finest first. The loss of a coarser one is taken at its scale.
    share : float
        Below 1, targets are blended with those of the sample before (mix-up).
    """
    now, finest = loss.at_step(step) if isinstance(loss, Loss) else _Function(loss), 0
    totals, values = [], []
    for logits, target, weight in outputs:
        voxels = logits[0, 0].numel()
        finest = finest or voxels
        here = now if voxels == finest else now.at_scale(voxels / finest)
        parts = [_one_number(part) for part in here.parts(logits, target)]
        if share < 1:
            # Linear in the target, so this is cross-entropy against the blended truth.
            others = here.parts(logits, target.roll(1, 0))
            parts = [share * a + (1 - share) * b for a, b in zip(parts, others, strict=True)]
        totals.append(weight * here.total(parts))
        values.append([weight * float(part.detach()) for part in parts])
    return torch.stack(totals).sum(), _added(values)


def _one_number(part: Tensor) -> Tensor:
    """What a loss gave, if it can be trained with.

    Raises
    ------
    GraphError
        If it is not one number, or has no gradient.
    """
    shape = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
    if shape != () or (torch.is_grad_enabled() and not part.requires_grad):
        raise GraphError(
            "The loss is not a tensor of one number with a gradient.",
            got=shape if shape != () else "no gradient",
            expected="a scalar tensor, made of the logits",
            remedy="end the loss with .mean(), and do not detach the logits",
        )
    return part


class _Function(Loss):
    """A loss that a user wrote as a function."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        label_present: Tensor | None = None,
    ) -> Tensor:
        return self._function(logits, target)


def _added(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]
