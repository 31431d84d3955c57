"""Fingerprint: what a problem asks of its metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

__all__ = ["Fingerprint"]

Category = Literal["classification", "detection", "semantic", "instance"]
Cost = Literal["equal", "fp", "fn", "unknown"]
Noise = Literal["none", "imprecision", "outliers", "unknown"]
Weighting = Literal["equal", "frequency", "ordinal", "unknown"]

SMALL_VOXELS = 10
"""Structures of fewer voxels are small: one voxel more or less moves their Dice by several hundredths."""

LARGEST_RATIO = 2.0
"""Voxels longer than this times their width: border voxels no longer stand for equal areas."""

_CATEGORIES = {
    "imlc": "classification",
    "image classification": "classification",
    "obd": "detection",
    "object detection": "detection",
    "sems": "semantic",
    "semantic segmentation": "semantic",
    "ins": "instance",
    "instance segmentation": "instance",
}
_TARGET = r"^((sensitivity|precision|specificity)@0?\.\d+|fppi@\d*\.?\d+)$"
_UNKNOWN = ("", "unknown", "null", "~")
_WORDS = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}
_WORDS |= dict.fromkeys(_UNKNOWN)
_UNITS = {"mm": 1.0, "": 1.0, "cm": 10.0, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "nm": 1e-6, "m": 1e3}
_LENGTH = re.compile(r"(?P<number>[-+]?[\d.]+(?:e[-+]?\d+)?)\s*(?P<unit>[a-zµμ]*)")


def _category(value: Any) -> Any:
    word = value.strip().lower() if isinstance(value, str) else value
    return _CATEGORIES.get(word, word) if isinstance(word, str) else value


def _yes_no(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    if value is None or isinstance(value, bool):
        return value
    raise ValueError("yes, no or unknown")


def _word(value: Any) -> Any:
    """No answer is unknown; YAML reads a bare ``no`` as false."""
    if value is False or value == "no":
        return "none"
    word = value.strip().lower() if isinstance(value, str) else value
    return "unknown" if word is None or word in _UNKNOWN else word


def _sizes(value: Any) -> Any:
    """One number is the edge of a cube; ``1x1x3 mm``, ``1 1 3`` and ``1,1,3`` are as good as a list."""
    if isinstance(value, str):
        text = value.strip().lower().strip("[]()").replace("×", "x")
        if text in _UNKNOWN:
            return None
        # Between x a comma is that of a decimal number.
        parts = [part.strip() for part in (text.split("x") if "x" in text else re.split(r"[,;]", text))]
        if len(parts) == 1 and len(text.split()) > 1 and not _LENGTH.fullmatch(text):
            parts = text.split()
        units = [unit for part in parts if (unit := part.lstrip("-+.,0123456789 "))]
        # In "1x1x3 mm" the unit stands once, for all.
        parts = [part + units[-1] if units and not part.endswith(units[-1]) else part for part in parts]
        value = [_length(part) for part in parts]
    if isinstance(value, (list, tuple)):
        value = [_length(one) for one in value]
        return tuple(value) * 3 if len(value) == 1 else tuple(value)
    return value if value is None else (_length(value),) * 3


def _length(value: Any) -> Any:
    """Millimetres: ``4``, ``4mm``, ``0.4 cm``; a comma may stand for the point."""
    if isinstance(value, bool):
        raise ValueError("a length is a number")
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text in _UNKNOWN:
        return None
    found = _LENGTH.fullmatch(text.replace(",", ".") if text.count(",") == 1 else text)
    if found is None or found["unit"] not in _UNITS:
        raise ValueError("a number of mm, or with a unit")
    return float(found["number"]) * _UNITS[found["unit"]]


def _point(value: Any) -> Any:
    """An operating point; ``sensitivity @ 90 %`` is sensitivity@0.9."""
    if not isinstance(value, str):
        return value
    text = "".join(value.lower().split())
    if text in _UNKNOWN or text in ("no", "none", "n"):
        return None
    name, at, number = text.partition("@")
    if number.endswith("%") and number[:-1].replace(".", "", 1).isdigit():
        number = f"{float(number[:-1]) / 100:g}"
    return f"{name}{at}{number}"


YesNo = Annotated[bool | None, BeforeValidator(_yes_no)]
# From a picometre to ten metres: their products stay finite.
Length = Annotated[float, Field(ge=1e-9, le=1e4)]
Millimetres = Annotated[Length | None, BeforeValidator(_length)]


class Fingerprint(BaseModel):
    """Answers about a problem, that decide which metrics say something about it.

    Yes-or-no answers are True, False, or None if it is not known; ``"yes"``, ``"no"``, ``"unknown"`` do too.

    Parameters
    ----------
    category : {"classification", "detection", "semantic", "instance"}
        What comes out: a class per image, places of objects, a class per voxel, objects with their voxels.
        ImLC, ObD, SemS and InS are understood.
    structure_mm : float, optional
        Typical diameter of one structure in mm; with ``spacing`` it says whether structures are small.
    spacing : one to three floats, optional
        Size of a voxel in mm.
    small : yes or no
        Structures have fewer than ten voxels.
    tubular : yes or no
        Structures are tubes or threads: vessels, nerves, instruments.
    boundary, volume, centre : yes or no
        The outline, the volume, the centre or centreline matters in itself.
    multi_instance, touching, size_variability : yes or no
        Several structures of a kind in an image; they touch or overlap; their sizes differ much.
    error_cost : {"equal", "fp", "fn", "unknown"}
        Which error is worse.
    far_errors : yes or no
        A single error far from the structure is dangerous, however small.
    ref_noise : {"none", "imprecision", "outliers", "unknown"}
        What is wrong with the reference: nothing, outlines are imprecise, single voxels are far off.
    tolerance_mm : float, optional
        Distance between the outlines of two raters in mm.
    empty_ref, empty_pred : yes or no
        There are images without the structure; without a prediction.
    scores : yes or no
        Predictions come with scores (probabilities, confidences).
    calibration : yes or no
        Scores shall be right as probabilities.
    target : str, optional
        The operating point that use demands: ``sensitivity@0.9``, ``precision@0.8``, ``specificity@0.95`` or
        ``fppi@1`` (false positives per image).
    prevalence_ok, class_imbalance : yes or no
        Classes are as frequent as in use; some are rare.
    class_weighting : {"equal", "frequency", "ordinal", "unknown"}
        Classes count alike, count by how frequent they are, or have an order.
    non_independence : yes or no
        Several images of a patient, or patients of several centres.

    Raises
    ------
    pydantic.ValidationError
        If a value is none of these; :meth:`from_dict` raises SettingsError instead.

    References
    ----------
    Maier-Hein et al. (2024), Metrics reloaded: recommendations for image analysis validation.

    Examples
    --------
    >>> Fingerprint(category="SemS", boundary="yes", structure_mm=2, spacing=1).facts()["small"]
    'yes'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    category: Annotated[Category, BeforeValidator(_category)]
    structure_mm: Millimetres = None
    spacing: Annotated[
        Annotated[tuple[Length, ...], Field(min_length=2, max_length=3)] | None, BeforeValidator(_sizes)
    ] = None
    small: YesNo = None
    tubular: YesNo = None
    boundary: YesNo = None
    volume: YesNo = None
    centre: YesNo = None
    multi_instance: YesNo = None
    touching: YesNo = None
    size_variability: YesNo = None
    error_cost: Annotated[Cost, BeforeValidator(_word)] = "unknown"
    far_errors: YesNo = None
    ref_noise: Annotated[Noise, BeforeValidator(_word)] = "unknown"
    tolerance_mm: Millimetres = None
    empty_ref: YesNo = None
    empty_pred: YesNo = None
    scores: YesNo = None
    calibration: YesNo = None
    target: Annotated[Annotated[str, Field(pattern=_TARGET)] | None, BeforeValidator(_point)] = None
    prevalence_ok: YesNo = None
    class_imbalance: YesNo = None
    class_weighting: Annotated[Weighting, BeforeValidator(_word)] = "unknown"
    non_independence: YesNo = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], file: Path | None = None) -> Fingerprint:
        """A fingerprint from plain answers.

        Raises
        ------
        SettingsError
            If a key is unknown or a value can't be used; names the key and what would be right.

        Examples
        --------
        >>> Fingerprint.from_dict({"category": "instance", "tubular": "yes"}).tubular
        True
        """
        from truevox.evaluation.recommend.questions import mistakes

        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise mistakes(error, file) from error

    def answers(self) -> dict[str, Any]:
        """What was answered, as plain data that :meth:`from_dict` reads."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return {k: {True: "yes", False: "no"}[v] if isinstance(v, bool) else v for k, v in given.items()}

    def voxels(self) -> float | None:
        """Voxels of a ball (in 2D a disc) of the typical diameter; None if sizes are not known."""
        if self.structure_mm is None or self.spacing is None:
            return None
        radius = self.structure_mm / 2
        content = math.pi * radius**2 if len(self.spacing) == 2 else 4 / 3 * math.pi * radius**3
        return content / math.prod(self.spacing)

    def shifted_iou(self) -> float | None:
        """IoU of a ball (2D: a disc) of the typical diameter with itself, one (longest) voxel edge aside.

        None if sizes are not known.

        Examples
        --------
        >>> round(Fingerprint(category="instance", structure_mm=2.76, spacing=1).shifted_iou(), 2)
        0.32
        """
        if self.structure_mm is None or self.spacing is None:
            return None
        part = min(max(self.spacing) / self.structure_mm, 1.0)
        if len(self.spacing) == 2:
            shared = 2 / math.pi * (math.acos(part) - part * math.sqrt(1 - part**2))
        else:
            shared = 1 - 1.5 * part + 0.5 * part**3
        return shared / (2 - shared)

    def facts(self) -> dict[str, str]:
        """All answers as words, with what follows from them, for the conditions of rules.

        ``small`` is derived from sizes if it was not answered; ``few_voxels`` is what sizes alone say;
        ``shift_matters``: being one voxel off takes the IoU below 0.5 (:meth:`shifted_iou`);
        ``anisotropic``, ``target`` (what is aimed at, or ``none``), ``tolerance`` (known or not),
        ``tolerance_below_voxel``.
        """
        words = {True: "yes", False: "no", None: "unknown"}
        facts = {
            key: value if isinstance(value, str) else words[value]
            for key, value in self
            if key not in ("structure_mm", "spacing", "tolerance_mm", "target")
        }
        count = self.voxels()
        facts["few_voxels"] = words[None if count is None else count < SMALL_VOXELS]
        if self.small is None:
            facts["small"] = facts["few_voxels"]
        shifted = self.shifted_iou()
        facts["shift_matters"] = words[None if shifted is None else shifted < 0.5]
        ratio = None if self.spacing is None else max(self.spacing) / min(self.spacing)
        facts["anisotropic"] = words[None if ratio is None else ratio > LARGEST_RATIO]
        facts["target"] = "none" if self.target is None else self.target.partition("@")[0]
        facts["tolerance"] = words[self.tolerance_mm is not None]
        below = None
        if self.tolerance_mm is not None and self.spacing is not None:
            below = self.tolerance_mm < min(self.spacing)
        facts["tolerance_below_voxel"] = words[below]
        return facts
