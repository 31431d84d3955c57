"""Where probabilities come from: the loss, the training, and what validation found of their volumes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["ORIGIN_COLUMNS", "Origin", "VolumeBias"]

ORIGIN_COLUMNS = (
    *("loss", "loss_unbiased", "calibrated", "training_steps"),
    *("validation_bias_ml", "validation_bias_percent", "validation_cases", "note"),
)
"""Columns of tables of volumes that say where the volumes come from."""

UNKNOWN = "how the probabilities were made is not known"


@dataclass(frozen=True)
class VolumeBias:
    """Mean error of a label's volume over the cases that validated.

    Parameters
    ----------
    ml : float
        Mean of (volume of the prediction minus volume of the reference).
    percent : float
        The same over the mean volume of the references, times 100; NaN where all are empty.
    cases : int
        How many cases it is the mean of.

    Examples
    --------
    >>> VolumeBias.of([(3.0, 2.0), (1.0, 2.0), (4.0, 2.0)])
    VolumeBias(ml=0.666..., percent=33.3..., cases=3)
    """

    ml: float
    percent: float
    cases: int

    @classmethod
    def of(cls, volumes: Iterable[tuple[float, float]]) -> VolumeBias:
        """From pairs (prediction, reference) in ml, one per case."""
        pairs = list(volumes)
        if not pairs:
            return cls(math.nan, math.nan, 0)
        error = math.fsum(found - true for found, true in pairs)
        truth = math.fsum(true for _, true in pairs)
        return cls(error / len(pairs), 100 * error / truth if truth > 0 else math.nan, len(pairs))

    def __str__(self) -> str:
        share = "" if math.isnan(self.percent) else f" ({self.percent:+.0f} %)"
        return f"{self.ml:+.3g} ml{share} on {self.cases} case{'s' * (self.cases != 1)}"


@dataclass(frozen=True)
class Origin:
    """How the probabilities of one output were made.

    Parameters
    ----------
    loss : str
        That the network was trained with.
    unbiased : bool, optional
        Whether the loss is least at the true probabilities, so that they add up to the volume to expect
        (cross-entropy, Brier: yes; Dice and its kin: no); None where that is not known.
    steps : int
        Of training.
    centred : bool
        Whether patches were centred on the label, so that training saw more of it than scans hold.
    calibrated : bool
        Whether the probabilities were repaired after training.
    validated_at : int, optional
        Step of the last validation; None without one.
    shared : int
        How many of its cases are of patients that trained too.
    bias : mapping of label to method to VolumeBias
        What it found, for the methods ``expected`` and ``threshold``.

    Examples
    --------
    >>> bias = {"tumour": {"expected": VolumeBias(1.81, 108.4, 4)}}
    >>> Origin("CrossEntropy", True, 200, validated_at=200, bias=bias).note("tumour", "expected")
    'CrossEntropy, 200 steps, not calibrated; in validation +1.81 ml (+108 %) on 4 cases'
    >>> Origin("SoftDice", False, 9000).note("tumour", "expected")
    'SoftDice (biased for volumes), 9000 steps, not calibrated; not validated'
    """

    loss: str
    unbiased: bool | None
    steps: int
    centred: bool = False
    calibrated: bool = False
    validated_at: int | None = None
    shared: int = 0
    bias: Mapping[str, Mapping[str, VolumeBias]] = field(default_factory=dict)

    def bias_of(self, label: str, method: str) -> VolumeBias | None:
        """What validation found of a label's volumes; None where it was not asked."""
        return self.bias.get(label, {}).get(method)

    def note(self, label: str, method: str) -> str:
        """In words, how far a volume can be trusted."""
        made = [self.loss, f"{self.steps} steps", "calibrated" if self.calibrated else "not calibrated"]
        if self.unbiased is not True:
            made[0] += " (biased for volumes)" if self.unbiased is False else " (bias for volumes unknown)"
        if self.centred:
            made.append("patches centred on the label")
        bias = self.bias_of(label, method)
        if bias is None:
            return f"{', '.join(made)}; not validated"
        early = self.validated_at not in (None, self.steps)
        when = f" at step {self.validated_at}" if early else ""
        seen = f", {self.shared} of them of patients that trained" if self.shared else ""
        return f"{', '.join(made)}; in validation{when} {bias}{seen}"

    def row(self, label: str, method: str) -> dict[str, Any]:
        """The cells of :data:`ORIGIN_COLUMNS`; what is not known is empty."""
        bias = self.bias_of(label, method) or VolumeBias(math.nan, math.nan, 0)
        cells = (self.loss, _word(self.unbiased), _word(self.calibrated), self.steps)
        numbers = (_cell(bias.ml), _cell(bias.percent), bias.cases)
        return dict(zip(ORIGIN_COLUMNS, (*cells, *numbers, self.note(label, method)), strict=True))

    @staticmethod
    def unknown_row(method: str) -> dict[str, Any]:
        """The cells of a volume of which nothing is known."""
        return {**dict.fromkeys(ORIGIN_COLUMNS), "note": Origin.unknown_note(method)}

    @staticmethod
    def unknown_note(method: str) -> str:
        """What there is to say of such a volume: a mask is what it is, a sum of probabilities is not."""
        return UNKNOWN if method == "expected" else ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Origin:
        """Inverse of :meth:`to_dict`; numbers that JSON could not hold are NaN again.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the data is none.
        """
        bias = {
            str(label): {
                str(method): VolumeBias(_number(one["ml"]), _number(one["percent"]), int(one["cases"]))
                for method, one in methods.items()
            }
            for label, methods in data.get("bias", {}).items()
        }
        at, unbiased = data.get("validated_at"), data["unbiased"]
        return cls(
            str(data["loss"]),
            None if unbiased is None else bool(unbiased),
            int(data["steps"]),
            bool(data.get("centred", False)),
            bool(data.get("calibrated", False)),
            None if at is None else int(at),
            int(data.get("shared", 0)),
            bias,
        )


def _word(known: bool | None) -> str:
    return "unknown" if known is None else "yes" if known else "no"


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _cell(value: float) -> float | None:
    return None if math.isnan(value) else value
