"""Options of Lightning's ``Trainer``: which may be given, and what says the same where one may not.

TrueVox numbers samples and steps itself, so that a sample does not depend on how a run was cut into pieces.
Options that would change what a step or a sample is are refused, each with what to use instead.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar

from truevox.errors import SettingsError
from truevox.model.settings import Settings

__all__ = [
    "CALLBACKS",
    "REFUSED",
    "accumulation",
    "checked",
    "epoch_steps",
    "precision",
    "processes",
    "shown",
]

Precision = Literal["float32", "bf16", "auto"]

_EPOCHS = "give Model.fit max_steps=, or max_epochs="
_VALIDATION = "give Model.fit val_every=, and as `val` the cases that are to validate"
REFUSED = {
    "max_steps": _EPOCHS,
    "max_epochs": _EPOCHS,
    "min_steps": "leave it out: a run ends at max_steps, or where a callback stops it",
    "min_epochs": "leave it out: a run ends at max_steps, or where a callback stops it",
    "limit_train_batches": _EPOCHS,
    "limit_val_batches": _VALIDATION,
    "val_check_interval": _VALIDATION,
    "check_val_every_n_epoch": _VALIDATION,
    "num_sanity_val_steps": "leave it out: Model.dry_run computes all grids before a run",
    "limit_test_batches": "leave it out: training tests nothing",
    "limit_predict_batches": "leave it out: training predicts nothing",
    "overfit_batches": "give Model.fit a cohort of few cases: train.select([...])",
    "fast_dev_run": "give Model.fit max_steps=1",
    "gradient_clip_val": "give Model.fit gradient_clip=",
    "reload_dataloaders_every_n_epochs": "leave it out: a run has one pass of samples, all numbered",
    "use_distributed_sampler": "leave it out: every device takes samples of its own",
    "barebones": "leave it out: it turns off callbacks, checkpoints and validation's scores",
}
"""Options that would change what a step or a sample is, and what to use instead."""

CALLBACKS = {
    "StochasticWeightAveraging": "give Model.fit average=",
    "WeightAveraging": "give Model.fit average=",
    "GradientAccumulationScheduler": 'give trainer={"accumulate_grad_batches": k}, the same for all steps',
    "LearningRateFinder": "give Model.fit learning_rate=",
    "BatchSizeFinder": "give Model.fit batch_size=",
    "BaseFinetuning": "set requires_grad of the parameters before Model.fit",
    "ModelPruning": "prune the network after training",
}
"""Callbacks that change weights, steps or samples behind the run, and what to use instead."""
PRECISIONS = {"32": False, "32-true": False, "bf16-mixed": True, "bf16": True}
SHARDED = ("fsdp", "deepspeed", "modelparallel", "model_parallel", "xla")


def checked(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options that may be handed on.

    Raises
    ------
    SettingsError
        If one is unknown, or would change what a step or a sample is; says what to use instead.

    Examples
    --------
    >>> checked({"accumulate_grad_batches": 4})
    {'accumulate_grad_batches': 4}
    """
    given = dict(options or {})
    known = [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise SettingsError(
                "Lightning's Trainer has no such option.",
                got=f"trainer={{{name!r}: ...}}",
                remedy=f"did you mean {close[0]!r}?" if close else f"one of {', '.join(known)}",
            )
        if name in REFUSED and value is not None:
            raise _refused(f"The option {name!r} of Lightning's Trainer", value, REFUSED[name])
    for callback in _listed(given.get("callbacks")):
        if not isinstance(callback, pl.Callback):
            raise SettingsError(
                "A callback is an object of Lightning's class Callback.",
                got=repr(callback)[:100],
                remedy='give the object, not its class or name: {"callbacks": [EarlyStopping("loss")]}',
            )
        for kind in type(callback).__mro__:
            if kind.__name__ in CALLBACKS and kind.__module__.startswith("lightning"):
                raise _refused(f"The callback {kind.__name__}", callback, CALLBACKS[kind.__name__])
    strategy = given.get("strategy", "auto")
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    if any(word in name.lower() for word in SHARDED):
        raise _refused("A strategy that cuts the weights into pieces", name, 'use "ddp" or "auto"')
    asked = given.get("precision")
    if asked is not None and str(asked) not in PRECISIONS:
        raise _refused("This precision", asked, 'give Model.fit precision="bf16", or "float32"')
    accumulation(given)
    return {name: value for name, value in given.items() if name not in REFUSED}


def accumulation(options: Mapping[str, Any]) -> int:
    """Batches whose gradients make one step.

    Raises
    ------
    SettingsError
        If it is no positive whole number.
    """
    value = options.get("accumulate_grad_batches", 1)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(
            "accumulate_grad_batches is a whole number above 0, the same for all steps.",
            got=value,
            remedy="write one number, such as accumulate_grad_batches=4",
        )
    return value


def precision(options: Mapping[str, Any], asked: Precision) -> Precision:
    """The precision of training: what these options say, else what was asked for."""
    given = options.get("precision")
    return asked if given is None else "bf16" if PRECISIONS[str(given)] else "float32"


def shown(options: Mapping[str, Any]) -> dict[str, bool]:
    """What Lightning writes and draws by itself: only what a callback was given for."""
    callbacks = _listed(options.get("callbacks"))
    kinds = {
        "enable_checkpointing": Checkpoint,
        "enable_progress_bar": ProgressBar,
        "enable_model_summary": ModelSummary,
    }
    return {name: any(isinstance(c, kind) for c in callbacks) for name, kind in kinds.items()}


def processes(options: Mapping[str, Any]) -> int | None:
    """How many processes will train; None where only the machine can tell (``-1``, ``"auto"``)."""
    devices, nodes = options.get("devices", 1), options.get("num_nodes", 1)
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    if isinstance(devices, (list, tuple)):
        devices = len(devices)
    if isinstance(devices, int) and isinstance(nodes, int) and devices > 0:
        return devices * nodes
    return None


def epoch_steps(samples: int, settings: Settings, options: Mapping[str, Any]) -> int:
    """Steps that so many samples take.

    Raises
    ------
    SettingsError
        If that depends on a number of devices that is not known before the run.
    """
    many = processes(options)
    if many is None:
        raise SettingsError(
            "How many steps an epoch has depends on the number of devices, which is left open.",
            got=options.get("devices"),
            remedy="give the number of devices, or max_steps instead of max_epochs",
        )
    return math.ceil(samples / (settings.batch_size * settings.accumulate * many))


def _listed(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []


def _refused(what: str, got: object, remedy: str) -> SettingsError:
    return SettingsError(
        f"{what} would change what a step or a sample of the run is.", got=got, remedy=remedy
    )
