"""How to train: the settings of a run, and its learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How to train; every field is an argument of :meth:`truevox.Model.fit`."""

    max_steps: int
    batch_size: int = 2
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["poly", "cosine", "constant", "onecycle"] = "poly"
    warmup_steps: int = 0
    gradient_clip: float | None = 12.0
    average: float = 0.0
    seed: int = 0
    channels_last: bool = False
    precision: Literal["float32", "bf16", "auto"] = "float32"
    mix_up: float = 0.0

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
