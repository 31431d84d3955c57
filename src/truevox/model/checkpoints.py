"""What a killed run needs to resume: weights, optimiser, history, and one whole number for all draws."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from truevox.errors import FileError, GraphError, SettingsError
from truevox.files import atomic_path, software
from truevox.model.fingerprint import Print, differences
from truevox.model.settings import Settings

if TYPE_CHECKING:
    from truevox.model.training import Trained

__all__ = ["Checkpoints", "callback_states", "expect_finite", "is_finite"]


FORMAT = 2
"""Of the checkpoint. Another one is refused: what it holds would be read as something else."""
KEYS = ("step", "world", "bf16", "networks", "averaged", "optimizer", "history", "losses", "remarks")


class Checkpoints:
    """Everything a killed run needs, in one file that is written whole or not at all.

    Parameters
    ----------
    folder : Path
    every : int
        Steps between two checkpoints.
    settings : Settings
    print_of : Print
        What the run is; see :func:`truevox.model.fingerprint.fingerprint`.
    """

    def __init__(self, folder: Path, every: int, settings: Settings, print_of: Print) -> None:
        self.folder, self.every, self.settings, self.print_of = folder, every, settings, print_of

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / "checkpoint.pt"

    def step_done(self, module: Trained) -> None:
        """Write if it is time to. The module calls it when all of a step's own work is done.

        Lightning calls a callback's hook before the module's, when the averaged weights and the history
        still lack the step.
        """
        if module.step % self.every == 0 or module.step == self.settings.max_steps:
            self.write(module)

    def write(self, module: Trained, stopped: bool = False) -> None:
        """Write the checkpoint and ``history.csv``.

        Raises
        ------
        GraphError
            If weights, averages or the optimiser's state are not finite: the last good checkpoint stays.
        FileError
            If the folder can't be written.
        """
        if module.global_rank != 0:
            return
        optimizer = module.optimizers(use_pl_optimizer=False).state_dict()  # type: ignore[union-attr]
        state = {
            "format": FORMAT,
            "software": software(),
            "step": module.step,
            "world": module.trainer.world_size,
            "stopped": stopped,
            "bf16": module.bf16,
            "networks": module.networks.state_dict(),
            "averaged": module.averaged,
            "optimizer": optimizer,
            "callbacks": callback_states(module.trainer),
            "history": module.history,
            "losses": module.losses,
            "remarks": dict(module.remarks),
            "max_steps": self.settings.max_steps,
            "print": self.print_of,
        }
        checked = {name: state[name] for name in ("networks", "averaged", "optimizer")}
        expect_finite(module.step, checked, module.open_ended, self.path)
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
            If it can't be read, or belongs to another run: other settings, loss, graph or cases. More steps
            are no other run.
        """
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise FileError(
                f"The checkpoint can't be read: {error}", file=self.path, remedy="delete it to start anew"
            ) from error
        written = state.get("format", 1) if isinstance(state, dict) else None
        if written != FORMAT:
            raise FileError(
                "The checkpoint is of another version of TrueVox.",
                file=self.path,
                got=f"format {written}, {state.get('software', 'an older version') if written else 'no run'}",
                expected=f"format {FORMAT}, {software()}",
                remedy="finish the run with that version, or use another folder",
            )
        if missing := [key for key in KEYS if key not in state]:
            raise FileError(
                "The checkpoint is damaged.", file=self.path, got=f"no {', '.join(missing)}",
                remedy="delete it to start anew",
            )  # fmt: skip
        now = {**self.print_of, "settings": {**self.print_of["settings"]}}
        if state["max_steps"] <= self.settings.max_steps:
            now["settings"]["max_steps"] = state["print"]["settings"]["max_steps"]
        if found := differences(state["print"], now):
            raise SettingsError(
                "The run to resume was started with other settings.",
                file=self.path,
                got="; ".join(found),
                expected="the settings, loss, graph and cases of the run; more steps are allowed",
                remedy="use another folder, or what the run was started with",
            )
        return state


def callback_states(trainer: Any) -> dict[str, Any]:
    """States of callbacks that keep one, e.g. how long early stopping has waited; tensors and primitives."""
    states = {c.state_key: c.state_dict() for c in trainer.callbacks}
    return {key: state for key, state in states.items() if state and _is_plain(state)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for pair in value.items() for v in pair)
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, torch.Tensor))


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def expect_finite(
    step: int, parts: Mapping[str, Any], skipped: Container[str] = (), kept: Path | None = None
) -> None:
    """Refuse numbers that are not finite.

    Parameters
    ----------
    step : int
    parts : mapping
        Tensors, in mappings and lists.
    skipped : collection of str
        Names of tensors that were not finite from the start, e.g. a mask of minus infinity.
    kept : Path, optional
        Checkpoint that stays as it is.

    Raises
    ------
    GraphError
        Naming the first of them.
    """
    for name, tensor in _tensors(parts, ""):
        if name.partition("/")[2].partition("/")[2] not in skipped and not is_finite(tensor):
            raise GraphError(
                f"Step {step}: The weights, or what goes with them, are not finite.",
                got=name.strip("/"),
                file=kept,
                expected=None
                if kept is None
                else "finite numbers; the checkpoint stays that of an earlier step",
                remedy="a lower learning_rate, or gradient_clip=1",
            )


def _tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}/{key}")
    elif isinstance(value, (list, tuple)):
        for k, inner in enumerate(value):
            yield from _tensors(inner, f"{name}/{k}")
