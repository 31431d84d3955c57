"""The loss of a recipe: a weighted sum of the losses of :mod:`truevox.losses`, with their settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator

from truevox.recipe.sections import Section

__all__ = ["LossTerm", "Losses"]

Share = Annotated[float, Field(ge=0, le=1)]
Smoothing = NonNegativeFloat | list[NonNegativeFloat]


def _weight_only(data: Any) -> Any:
    return data if data is None or isinstance(data, (dict, LossTerm)) else {"weight": data}


class LossTerm(Section):
    """A loss's factor in the sum; with a schedule, times a factor that moves with the step."""

    loss: ClassVar[str]
    """Class in :mod:`truevox.losses`."""
    renamed: ClassVar[dict[str, str]] = {}

    weight: NonNegativeFloat = 1.0
    schedule: list[tuple[int, float]] | None = None

    def settings(self) -> dict[str, Any]:
        """Arguments of the loss."""
        data = self.model_dump(exclude={"weight", "schedule"}, exclude_none=True)
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        return {self.renamed.get(name, name): value for name, value in plain.items()}


class ClassWeighted(LossTerm):
    """``class_weights`` has the background first."""

    renamed = {"class_weights": "weight"}  # noqa: RUF012 - read-only
    class_weights: list[NonNegativeFloat] | None = None


class CrossEntropyTerm(ClassWeighted):
    """:class:`truevox.losses.CrossEntropy`."""

    loss = "CrossEntropy"


class FocalTerm(ClassWeighted):
    """:class:`truevox.losses.Focal`."""

    loss = "Focal"
    gamma: NonNegativeFloat = 2.0


class BrierTerm(LossTerm):
    """:class:`truevox.losses.Brier`."""

    loss = "Brier"


class OverlapTerm(LossTerm):
    """Settings that overlap losses share."""

    over: Literal["I", "CI", "BI", "BCI"] = "I"
    smooth_nr: Smoothing = 0.0
    smooth_dr: PositiveFloat | list[PositiveFloat] = 1e-5
    background: bool = False


class SoftDiceTerm(OverlapTerm):
    """:class:`truevox.losses.SoftDice`."""

    loss = "SoftDice"


class SoftJaccardTerm(OverlapTerm):
    """:class:`truevox.losses.SoftJaccard`."""

    loss = "SoftJaccard"


class SquaredDiceTerm(OverlapTerm):
    """:class:`truevox.losses.SquaredDice`."""

    loss = "SquaredDice"


class DiceSemimetricTerm(OverlapTerm):
    """:class:`truevox.losses.DiceSemimetric`."""

    loss = "DiceSemimetric"


class JaccardMetricTerm(OverlapTerm):
    """:class:`truevox.losses.JaccardMetric`."""

    loss = "JaccardMetric"


class DicePlusPlusTerm(OverlapTerm):
    """:class:`truevox.losses.DicePlusPlus`."""

    loss = "DicePlusPlus"
    gamma: Annotated[float, Field(ge=1)] = 2.0


class TverskyTerm(OverlapTerm):
    """:class:`truevox.losses.Tversky`."""

    loss = "Tversky"
    alpha: NonNegativeFloat = 0.5
    beta: NonNegativeFloat = 0.5


class FocalTverskyTerm(OverlapTerm):
    """:class:`truevox.losses.FocalTversky`."""

    loss = "FocalTversky"
    alpha: NonNegativeFloat = 0.3
    beta: NonNegativeFloat = 0.7
    gamma: PositiveFloat = 4 / 3


class GeneralisedDiceTerm(LossTerm):
    """:class:`truevox.losses.GeneralisedDice`."""

    loss = "GeneralisedDice"
    over: Literal["CI", "BCI"] = "CI"
    power: NonNegativeFloat = 2.0
    background: bool = True


class UnifiedFocalTerm(LossTerm):
    """:class:`truevox.losses.UnifiedFocal`."""

    loss = "UnifiedFocal"
    share: Share = 0.5
    delta: Share = 0.6
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.5
    symmetric: bool = False


class LeafDiceTerm(LossTerm):
    """:class:`truevox.losses.LeafDice`; a label that no voxel of a patch has is taken as not annotated."""

    loss = "LeafDice"
    infer_missing: bool = True


class MarginalDiceTerm(LeafDiceTerm):
    """:class:`truevox.losses.MarginalDice`; a label that no voxel of a patch has was not annotated."""

    loss = "MarginalDice"


class LovaszTerm(LossTerm):
    """:class:`truevox.losses.Lovasz`."""

    loss = "Lovasz"
    over: Literal["I", "BI"] = "I"
    classes: Literal["present", "all"] | None = None
    background: bool = False


class BoundaryTerm(LossTerm):
    """:class:`truevox.losses.Boundary`; ``spacing`` is that of the patches, in mm."""

    loss = "Boundary"
    spacing: list[PositiveFloat] | None = None
    background: bool = False


class SoftClDiceTerm(LossTerm):
    """:class:`truevox.losses.SoftClDice`."""

    loss = "SoftClDice"
    iterations: NonNegativeInt = 3
    smooth: PositiveFloat = 1.0
    background: bool = False


class Losses(Section):
    """Weighted sum of losses. A number is short for ``{weight: number}``; what is left out is not used."""

    cross_entropy: Annotated[CrossEntropyTerm | None, BeforeValidator(_weight_only)] = None
    soft_dice: Annotated[SoftDiceTerm | None, BeforeValidator(_weight_only)] = None
    focal: Annotated[FocalTerm | None, BeforeValidator(_weight_only)] = None
    brier: Annotated[BrierTerm | None, BeforeValidator(_weight_only)] = None
    soft_jaccard: Annotated[SoftJaccardTerm | None, BeforeValidator(_weight_only)] = None
    squared_dice: Annotated[SquaredDiceTerm | None, BeforeValidator(_weight_only)] = None
    dice_plus_plus: Annotated[DicePlusPlusTerm | None, BeforeValidator(_weight_only)] = None
    dice_semimetric: Annotated[DiceSemimetricTerm | None, BeforeValidator(_weight_only)] = None
    jaccard_metric: Annotated[JaccardMetricTerm | None, BeforeValidator(_weight_only)] = None
    tversky: Annotated[TverskyTerm | None, BeforeValidator(_weight_only)] = None
    focal_tversky: Annotated[FocalTverskyTerm | None, BeforeValidator(_weight_only)] = None
    generalised_dice: Annotated[GeneralisedDiceTerm | None, BeforeValidator(_weight_only)] = None
    unified_focal: Annotated[UnifiedFocalTerm | None, BeforeValidator(_weight_only)] = None
    leaf_dice: Annotated[LeafDiceTerm | None, BeforeValidator(_weight_only)] = None
    marginal_dice: Annotated[MarginalDiceTerm | None, BeforeValidator(_weight_only)] = None
    lovasz: Annotated[LovaszTerm | None, BeforeValidator(_weight_only)] = None
    boundary: Annotated[BoundaryTerm | None, BeforeValidator(_weight_only)] = None
    soft_cl_dice: Annotated[SoftClDiceTerm | None, BeforeValidator(_weight_only)] = None

    @model_validator(mode="after")
    def _some(self) -> Losses:
        if not any(term.weight > 0 for term in self.terms()):
            raise ValueError("a loss has at least one term with a weight above 0")
        return self

    def terms(self) -> Iterator[LossTerm]:
        """The losses that are used."""
        for name in type(self).model_fields:
            term = getattr(self, name)
            if term is not None:
                yield term
