"""What is known of a loss before it is computed: its name, and whether it moves volumes."""

from __future__ import annotations

import dataclasses
from typing import Any

from truevox.losses.base import Loss, LossSum, Scheduled, terms_of

__all__ = ["description", "unbiased_for_volume"]


def unbiased_for_volume(loss: Any) -> bool | None:
    """Whether a loss is least at the true probabilities, so that they add up to the volume to expect.

    Returns
    -------
    bool or None
        None for a loss of which that is not known, e.g. a user's own. A sum is unbiased if all of its terms
        are; one that follows a schedule, as it ends.

    Examples
    --------
    >>> from truevox.losses import Brier, CrossEntropy, SoftDice
    >>> unbiased_for_volume(CrossEntropy() + 2 * Brier()), unbiased_for_volume(CrossEntropy() + SoftDice())
    (True, False)
    >>> unbiased_for_volume(CrossEntropy(weight=(1.0, 5.0))), unbiased_for_volume(lambda p, y: p.sum())
    (False, None)
    """
    if not isinstance(loss, Loss):
        return None
    found = [
        term.unbiased if factor > 0 else None for factor, term in terms_of(_at_its_end(loss)) if factor != 0
    ]
    if False in found:
        return False
    return None if None in found or not found else True


def description(loss: Any) -> str:
    """A loss in words: its terms with their factors, and the settings that are not the default.

    Examples
    --------
    >>> from truevox.losses import CrossEntropy, Scheduled, SoftDice
    >>> description(CrossEntropy() + 0.5 * SoftDice(over="BI"))
    "CrossEntropy + 0.5 SoftDice(over='BI')"
    >>> description(Scheduled(SoftDice(), ((0, 0.0), (9, 2.0))))
    'Scheduled(SoftDice, 0: 0, 9: 2)'
    """
    if isinstance(loss, LossSum):
        return " + ".join(("" if f == 1 else f"{f:g} ") + description(term) for f, term in loss.terms)
    if isinstance(loss, Scheduled):
        points = ", ".join(f"{step}: {factor:g}" for step, factor in loss.points)
        return f"Scheduled({description(loss.loss)}, {points})"
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    if not dataclasses.is_dataclass(loss):
        return str(name)
    given = [
        f"{f.name}={getattr(loss, f.name)!r}"
        for f in dataclasses.fields(loss)
        if repr(getattr(loss, f.name)) != repr(f.default)
    ]
    return str(name) + (f"({', '.join(given)})" if given else "")


def _at_its_end(loss: Loss) -> Loss:
    """The loss as it is after the last point of every schedule in it."""
    return loss.at_step(2**62)
