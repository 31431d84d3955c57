"""Metrics by name: what an id says, and how a name with its options becomes a definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from truevox.errors import SettingsError

if TYPE_CHECKING:
    from truevox.metrics.pair import Pair

__all__ = ["Definition", "Family", "definition", "families", "register"]

Better = Literal["higher", "lower", "zero", "none"]
Edge = Callable[["Pair"], float]


@dataclass(frozen=True)
class Definition:
    """What one metric is.

    Parameters
    ----------
    id : str
        Says the whole definition: ``name[@parameter]/border or rule/way of pooling``.
    name : str
        The short name in tables: as it was asked for, without what is default.
    unit : str
        ``"1"``, ``"mm"``, ``"ml"`` or ``"count"``.
    low, high : float
        Range of values.
    better : {"higher", "lower", "zero", "none"}
        ``zero``: signed, best at 0; ``none``: a description, no score.
    compute : function of a Pair to float
        Called where neither mask is empty, or always, if ``empties`` is False. NaN: undefined.
    best : float
        The value of a perfect prediction.
    missed, spurious : function of a Pair to float
        The worst value when only the prediction, only the reference, is empty; NaN where the metric has no
        meaning there.
    empties : bool
        False: an empty mask is nothing special (a difference of volumes); the status is then ``ok``.
    summary : str
        One sentence with the formula.
    """

    id: str
    name: str
    unit: str
    low: float
    high: float
    better: Better
    compute: Callable[[Pair], float]
    best: float
    missed: Edge
    spurious: Edge
    empties: bool = True
    summary: str = ""


@dataclass(frozen=True)
class Family:
    """Metrics of one name that differ in a parameter or in variants.

    Parameters
    ----------
    name : str
        What stands before ``@`` and ``/``.
    make : function of (parameter, variants) to Definition
        ``parameter`` is what stands after ``@`` (None if nothing); ``variants`` are the words after each
        ``/``. Raises SettingsError with what would be right.
    usage : str
        How it is written, e.g. ``"nsd@<tolerance>mm[/voxel|/surfel]"``.
    title : str
        The name of the metric in a sentence.
    """

    name: str
    make: Callable[[str | None, tuple[str, ...]], Definition]
    usage: str
    title: str


_FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Make a family known by its name; a second one of that name is refused."""
    if family.name in _FAMILIES:
        raise SettingsError(f"There is a metric '{family.name}' already.")
    _FAMILIES[family.name] = family


def families() -> tuple[Family, ...]:
    """All families, in the order of their registration."""
    return tuple(_FAMILIES.values())


@lru_cache(maxsize=1024)
def definition(name: str) -> Definition:
    """The definition of a metric by short name or id.

    Raises
    ------
    SettingsError
        If there is none, with those that are like it.

    Examples
    --------
    >>> definition("dice").id
    'dice/voxel'
    """
    head, *variants = name.strip().split("/")
    stem, _, parameter = head.partition("@")
    if stem not in _FAMILIES:
        raise SettingsError(
            f"There is no metric '{name}'.", expected=", ".join(sorted(family.usage for family in families()))
        )
    return _FAMILIES[stem].make(parameter or None, tuple(variants))
