"""How to train: the settings of a run, and its learning rate as a function of the step."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from truevox.errors import SettingsError

__all__ = ["Settings", "whole"]


@dataclass(frozen=True)
class Settings:
    """How to train; every field is an argument of :meth:`truevox.Model.fit`, or an option of its trainer.

    Raises
    ------
    SettingsError
        If a number is out of range, or a word is not known.
    """

    max_steps: int
    batch_size: int = 2
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["poly", "cosine", "constant", "onecycle"] = "poly"
    warmup_steps: int = 0
    gradient_clip: float | None = 12.0
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    average: float = 0.0
    seed: int = 0
    channels_last: bool = False
    precision: Literal["float32", "bf16", "auto"] = "float32"
    mix_up: float = 0.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("batch_size", 1), ("accumulate", 1), ("warmup_steps", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        # A number of NumPy's is the same seed.
        object.__setattr__(self, "seed", whole("seed", self.seed))
        for name, kind in get_type_hints(type(self)).items():
            words = get_args(kind)
            if words and isinstance(words[0], str) and getattr(self, name) not in words:
                raise SettingsError(
                    f"Unknown {name}.",
                    got=getattr(self, name),
                    expected=" | ".join(map(str, words)),
                    remedy=f"choose one of these for {name}=",
                )
        self._between("learning_rate", 0, math.inf, open_below=True)
        self._between("weight_decay", 0, math.inf)
        self._between("average", 0, 1)
        self._between("mix_up", 0, math.inf)
        if self.gradient_clip is not None:
            self._between("gradient_clip", 0, math.inf, open_below=True)
        if self.mix_up > 0 and self.batch_size < 2:
            raise SettingsError(
                "mix_up is not negative, and needs two samples in a batch.",
                got=self.mix_up,
                remedy="write mix_up=0, or batch_size=2 or more",
            )

    def _between(self, name: str, low: float, high: float, open_below: bool = False) -> None:
        value: Any = getattr(self, name)
        good = (
            isinstance(value, (int, float)) and (low < value if open_below else low <= value) and value < high
        )
        if not good:
            above = "above" if open_below else "from"
            upto = f", below {high:g}" if math.isfinite(high) else ", finite"
            raise SettingsError(
                f"{name} is out of range: it is positive, or has no effect.",
                got=value,
                expected=f"{above} {low:g}{upto}",
                remedy=f"choose {name}= within these limits",
            )
        object.__setattr__(self, name, float(value))

    def plain(self) -> dict[str, Any]:
        """The settings by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def rate(self, step: int) -> float:
        """Learning rate of a step: a function of the step alone, so a resumed run needs no state for it."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / max(self.max_steps - self.warmup_steps, 1)
        if self.schedule == "poly":
            return self.learning_rate * (1 - done) ** 0.9
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "onecycle":
            up = 0.3
            if done < up:
                return self.learning_rate * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * done / up)))
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - up) / (1 - up)))
        return self.learning_rate


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number.

    Raises
    ------
    SettingsError
        If it is none, or is less than ``least``.

    Examples
    --------
    >>> import numpy as np
    >>> whole("seed", np.int64(3))
    3
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or (least is not None and number < least):
        sign = {None: "", 1: ", positive"}.get(least, ", not negative")
        raise SettingsError(
            f"{name} is a whole number{sign}.",
            got=value,
            remedy=f"write {name}= as a whole number, without a point or quotes",
        )
    return number
