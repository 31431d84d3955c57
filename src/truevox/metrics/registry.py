"""Metrics by name: what an id says, and how a name with its options becomes a definition."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from truevox.errors import SettingsError
from truevox.metrics.pixels import in_millimetres, in_pixels

if TYPE_CHECKING:
    from truevox.metrics.pair import Pair

__all__ = [
    "Better",
    "Definition",
    "Family",
    "definition",
    "families",
    "named",
    "no_parameter",
    "number",
    "register",
    "words",
]

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
        ``"1"``, ``"mm"``, ``"ml"`` or ``"count"``; in pixels ``"px"``, ``"px³"``.
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
    perfect : bool
        False: two empty masks are no success (the sensitivity to nothing), whatever the policy.
    lacking : function of a Pair to str, optional
        Why there is no value of a pair, where that is not because a mask is empty; ``""`` if nothing lacks.
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
    perfect: bool = True
    lacking: Callable[[Pair], str] | None = None


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
        raise SettingsError(
            f"There is a metric '{family.name}' already.", remedy="choose another name for yours"
        )
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
    known, counted = in_millimetres(name.strip())
    if counted:
        return in_pixels(definition(known), thresholds=True)
    head, *variants = name.strip().split("/")
    stem, _, parameter = head.partition("@")
    if stem not in _FAMILIES:
        stem, parameter = _with_number(stem, parameter)
    if stem not in _FAMILIES:
        raise _unknown(name.strip())
    return _FAMILIES[stem].make(parameter or None, tuple(variants))


def named(metrics: Sequence[str] | str) -> list[Definition]:
    """The definitions of some metrics: names, or one text of names with commas.

    Raises
    ------
    SettingsError
        As :func:`definition`; if there is none at all.

    Examples
    --------
    >>> [one.name for one in named("dice, hd95")]
    ['dice', 'hd95']
    """
    names = metrics.split(",") if isinstance(metrics, str) else list(metrics)
    if not names:
        raise SettingsError(
            "No metric was asked for.", expected='e.g. ["dice"]', remedy="name at least one metric"
        )
    if odd := [name for name in names if not isinstance(name, str)]:
        raise SettingsError(
            "A metric is asked for by its name.",
            got=odd[0],
            expected='e.g. "dice"',
            remedy="write the name between quotes; Definition objects belong to register",
        )
    return [definition(name) for name in names]


# What other tools call it, and what it is here.
_ELSEWHERE = {
    "iou": "jaccard", "intersectionoverunion": "jaccard", "jaccardindex": "jaccard", "jsc": "jaccard",
    "dsc": "dice", "f1": "dice", "f1score": "dice", "dicescore": "dice", "sorensendice": "dice",
    "recall": "sensitivity", "tpr": "sensitivity", "truepositiverate": "sensitivity",
    "ppv": "precision", "positivepredictivevalue": "precision", "tnr": "specificity",
    "asd": "assd", "assdmm": "assd", "averagesurfacedistance": "assd",
    "meansurfacedistance": "masd", "msd": "masd",
    "hausdorff": "hd", "hausdorffdistance": "hd", "hausdorff95": "hd95", "hd95mm": "hd95", "95hd": "hd95",
    "hausdorffdistance95": "hd95", "surfacedice": "nsd@2mm", "normalizedsurfacedistance": "nsd@2mm",
    "normalizedsurfacedice": "nsd@2mm", "nsd": "nsd@2mm", "biou": "boundary_iou@2mm", "auc": "auroc",
    "rocauc": "auroc", "ap": "average_precision", "vs": "volumetric_similarity",
    "avd": "absolute_volume_difference",
    "rvd": "relative_volume_difference", "ravd": "relative_volume_difference", "vd": "volume_difference",
    "centerlinedice": "cldice", "cohenkappa": "kappa", "betti": "components", "f2": "fbeta@2",
    "lesionrecall": "lesion_sensitivity", "lesionwisef1": "lesion_f1", "lesionwisedice": "lesion_f1",
}  # fmt: skip


def _unknown(name: str) -> SettingsError:
    """There is no such metric, and which is like it."""
    plain = re.sub(r"[\W_]", "", name.casefold())
    own = {re.sub(r"[\W_]", "", family.name): family.usage for family in families()}
    stem = plain.rstrip("0123456789")
    if plain in _ELSEWHERE:
        like = [_ELSEWHERE[plain]]
    elif plain in own or stem in own:
        like = [
            name.casefold()
            if name.casefold().partition("@")[0].rstrip("0123456789") in _FAMILIES
            else own[stem]
        ]
    else:
        hits = get_close_matches(plain, [*own, *_ELSEWHERE], 3, 0.6)
        like = list(dict.fromkeys(own.get(hit) or _ELSEWHERE[hit] for hit in hits))
    return SettingsError(
        f"There is no metric '{name}'.",
        expected=", ".join(like or sorted(family.usage for family in families())),
        remedy=f"did you mean '{like[0]}'?" if like else "`truevox recommend` helps to choose",
    )


def _with_number(stem: str, parameter: str) -> tuple[str, str]:
    """``hd95`` is ``hd`` with 95 as its parameter."""
    name = stem.rstrip("0123456789.")
    return (name, stem[len(name) :]) if len(name) < len(stem) and not parameter else (stem, parameter)


# ---- what families read their names with -------------------------------------------------------------


def no_parameter(name: str, parameter: str | None) -> None:
    """Refuse a parameter where a metric has none.

    Raises
    ------
    SettingsError
        If there is one.
    """
    if parameter is not None:
        raise SettingsError(
            f"{name} has no parameter.",
            got=f"{name}@{parameter}",
            expected=name,
            remedy=f"write {name} without @{parameter}",
        )


def number(
    name: str, parameter: str | None, example: str, *, unit: str = "", default: float | None = None
) -> float:
    """A positive number from what stands after ``@``, with its unit.

    Raises
    ------
    SettingsError
        If it is none, lacks the unit, or is missing and there is no default.
    """
    if parameter is None and default is not None:
        return default
    text = parameter or ""
    digits = text.removesuffix(unit) if text.endswith(unit) else ""
    try:
        value = float(digits)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise SettingsError(
            f"{name} needs a positive number{' in ' + unit if unit else ''}.",
            got=f"{name}@{text}" if text else name,
            expected=f"for instance {example}",
            remedy="write the number behind @, with a point",
        )
    return value


def words(name: str, variants: tuple[str, ...], *choices: tuple[str, ...]) -> tuple[str, ...]:
    """One word of each group of choices, its first one if none was said.

    Raises
    ------
    SettingsError
        If a word is in no group, or two are of one.

    Examples
    --------
    >>> words("hd", ("pooled",), ("voxel", "surfel"), ("max", "pooled"))
    ('voxel', 'pooled')
    """
    found = []
    for group in choices:
        said = [word for word in variants if word in group]
        if len(said) > 1:
            raise SettingsError(
                f"{name} is either of these.",
                got="/".join(said),
                expected=" or ".join(group),
                remedy="keep one of them",
            )
        found.append(said[0] if said else group[0])
    unknown = [word for word in variants if not any(word in group for group in choices)]
    if unknown:
        raise SettingsError(
            f"{name} has no variant '{unknown[0]}'.",
            expected=", ".join(word for group in choices for word in group),
            remedy="leave it out, or take one of these",
        )
    return tuple(found)
