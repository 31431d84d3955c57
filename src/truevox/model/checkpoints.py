"""What a killed run needs to resume: weights, optimiser, history, and one whole number for all draws."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from truevox.errors import FileError, SettingsError
from truevox.files import atomic_path

if TYPE_CHECKING:
    from truevox.model.training import Trained

__all__ = ["Checkpoints"]


class Checkpoints:
    """Everything a killed run needs, in one file that is written whole or not at all."""

    def __init__(self, folder: Path, every: int, settings: Mapping[str, Any]) -> None:
        self.folder, self.every, self.settings = folder, every, dict(settings)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / "checkpoint.pt"

    def step_done(self, module: Trained) -> None:
        """Write if it is time to. The module calls it when all of a step's own work is done.

        Lightning calls a callback's hook before the module's, when the averaged weights and the history
        still lack the step.
        """
        due = module.step % self.every == 0 or module.step == self.settings["max_steps"]
        if due and module.global_rank == 0:
            self.write(module)

    def write(self, module: Trained) -> None:
        """Write the checkpoint and ``history.csv``."""
        state = {
            "step": module.step,
            "bf16": module.bf16,
            "networks": module.networks.state_dict(),
            "averaged": module.averaged,
            "optimizer": module.optimizers(use_pl_optimizer=False).state_dict(),  # type: ignore[union-attr]
            "history": module.history,
            "losses": module.losses,
            "remarks": dict(module.remarks),
            "settings": self.settings,
        }
        # Of a full disk torch says that a position is unexpected; bytes that we write say what it is.
        packed = io.BytesIO()
        torch.save(state, packed)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(packed.getbuffer())
        names = list(dict.fromkeys(k for row in module.history for k in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: format(v, ".10g") for k, v in row.items()} for row in module.history)
        with atomic_path(self.folder / "history.csv") as temporary:
            Path(temporary).write_text(text.getvalue(), encoding="utf-8")

    def read(self) -> dict[str, Any] | None:
        """The state to resume from, or None. Holds tensors and primitives; reading it runs no code.

        Raises
        ------
        FileError, SettingsError
            If it can't be read, or belongs to a run with other settings.
        """
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise FileError(
                f"The checkpoint can't be read: {error}", file=self.path, remedy="delete it to start anew"
            ) from error
        differing = {
            k: (state["settings"].get(k), v)
            for k, v in self.settings.items()
            if state["settings"].get(k) != v
        }
        if differing:
            raise SettingsError(
                "The run to resume was started with other settings.",
                file=self.path,
                got="; ".join(f"{k}: {then} then, {now} now" for k, (then, now) in differing.items()),
                remedy="use another folder, or the settings of the run",
            )
        return state
