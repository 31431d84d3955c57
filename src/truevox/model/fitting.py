"""Training a model: what a run starts from, Lightning's ``Trainer``, and what is left when it ends."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from truevox.devices import resolve_device
from truevox.errors import CaseError, SettingsError
from truevox.model.bfloat import faster_in_bf16
from truevox.model.checkpoints import Checkpoints, expect_finite
from truevox.model.fingerprint import fingerprint
from truevox.model.settings import Settings, whole
from truevox.model.trainer import accumulation, checked, epoch_steps, precision, shown
from truevox.model.training import Trained
from truevox.model.validation import origins
from truevox.pipeline.cache import Cache
from truevox.pipeline.data import Samples

if TYPE_CHECKING:
    from truevox.cohort import Cohort
    from truevox.model.model import Model

__all__ = ["fit"]

Row = dict[str, float]


def fit(
    model: Model,
    train: Cohort,
    val: Cohort | None,
    given: Mapping[str, Any],
    *,
    max_steps: int | None,
    max_epochs: int | None,
    samples_per_case: int,
    workers: int,
    val_every: int | None,
    checkpoint_every: int | None,
    out: str | Path | None,
    cache: str | Path | Cache | None,
    device: str,
    report: Callable[[dict[str, Any]], None] | None,
    trainer: Mapping[str, Any] | None,
    check_only: bool,
) -> list[Row]:
    """Train a model; see :meth:`truevox.Model.fit`. ``given`` are fields of the settings."""
    if len(train) == 0:
        raise CaseError(
            "The training cohort is empty.", remedy="name a split 'train' in the table's split column"
        )
    cache = cache if isinstance(cache, Cache) else Cache(cache)
    options = checked(trainer)
    samples_of_epoch = whole("samples_per_case", samples_per_case, 1) * len(train)
    settings = _settings(given, options, max_steps, max_epochs, samples_of_epoch)
    workers = whole("workers", workers, 0)
    for name, value in (("val_every", val_every), ("checkpoint_every", checkpoint_every)):
        if value is not None:
            whole(name, value, 1)
    model.dry_run(next(iter(train)))
    if not any(p.requires_grad for p in model.module_dict.parameters()):
        raise SettingsError(
            "The networks have no parameter to train.", remedy="set requires_grad of those that shall move"
        )
    chosen = resolve_device(device)
    samples = Samples(model.plan, list(train), model.pairs, settings.seed, cache)
    cases = list(val) if val is not None and val_every else []
    module = Trained(model, settings, samples, cases, cache)
    module.report, module.workers, module.val_every = report, workers, val_every
    state = None
    if out is not None:
        every = checkpoint_every or max(settings.max_steps // 20, 1)
        module.keeper = Checkpoints(Path(out), every, settings, fingerprint(model, samples.cases, settings))
        state = module.keeper.read()
    for case in cases:  # what validation lacks is told before the first step, not after hours
        for column in filter(None, model.targets.values()):
            case.path(column)
    if check_only:
        return []
    _remark_shared(module, train, cases)
    bf16 = settings.precision == "bf16"
    if state is not None:
        bf16 = _resume(module, state)
    if settings.channels_last:
        _channels_last(module.networks)
    remaining = settings.max_steps - module.first_step
    if remaining > 0 and not _stopped(module, state):
        if settings.precision == "auto" and module.first_step == 0:
            bf16 = faster_in_bf16(module, chosen)
        module.bf16 = bf16
        with _quiet(), _interruptible():
            runner = pl.Trainer(
                **{
                    "accelerator": {"cuda": "gpu"}.get(chosen.type, chosen.type),
                    "devices": [chosen.index] if chosen.index is not None else 1,
                    "max_steps": remaining,
                    "precision": "bf16-mixed" if bf16 else "32-true",
                    "max_epochs": -1,
                    "gradient_clip_val": settings.gradient_clip,
                    "logger": False,
                    **shown(options),
                    "num_sanity_val_steps": 0,
                    "val_check_interval": _interval(
                        val_every if cases else None, module.first_step, remaining, settings.accumulate
                    ),
                    "check_val_every_n_epoch": None,
                    "limit_val_batches": 1.0 if cases else 0,
                    "use_distributed_sampler": False,
                    **options,
                },
            )
            _expect_same_world(state, runner.world_size, module)
            runner.fit(module)
    model.module_dict.to("cpu")
    if module.averaged is not None:
        module.networks.load_state_dict(module.averaged)
    expect_finite(module.step, {"networks": module.networks.state_dict()}, module.open_ended)
    model.remarks.update(module.remarks)
    model.origins = origins(model, module.step, module.history, module.shared)
    return module.history


def _settings(
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    max_steps: int | None,
    max_epochs: int | None,
    samples_of_epoch: int,
) -> Settings:
    if (max_steps is None) == (max_epochs is None):
        raise SettingsError(
            "Give max_steps or max_epochs, and not both.",
            got=(max_steps, max_epochs),
            remedy="leave one of them out; max_steps=1000 is 1000 updates of the weights",
        )
    known = dict(given)
    known["precision"] = precision(options, known["precision"])
    known["accumulate"] = accumulation(options)
    known["gradient_clip_algorithm"] = options.get("gradient_clip_algorithm") or "norm"
    if max_steps is not None:
        return Settings(max_steps=max_steps, **known)
    settings = Settings(max_steps=1, **known)
    samples = whole("max_epochs", max_epochs, 1) * samples_of_epoch
    return replace(settings, max_steps=epoch_steps(samples, settings, options))


def _remark_shared(module: Trained, train: Iterable[Any], cases: Sequence[Any]) -> None:
    """Count validation cases of patients that train: their scores say little of new patients."""
    ids = {case.id for case in train}
    module.shared = sum(case.id in ids for case in cases)
    if module.shared:
        module.remarks[
            f"{module.shared} of {len(cases)} validation cases are of patients that train: their scores and "
            "volumes say little of new patients"
        ] += 1


def _resume(module: Trained, state: Mapping[str, Any]) -> bool:
    """Go on from a checkpoint; whether in bfloat16."""
    module.networks.load_state_dict(state["networks"])
    module.averaged, module.history, module.losses = state["averaged"], state["history"], state["losses"]
    module.first_step, module.remarks = state["step"], Counter(state["remarks"])
    module.resume_from = dict(state)
    settings = module.settings
    longer = state["max_steps"] < settings.max_steps
    if longer and settings.schedule != "constant":
        module.remarks[
            f"the run was planned for {state['max_steps']} steps: up to step {state['step']} its learning "
            f"rate followed that plan, from there on one of {settings.max_steps} steps"
        ] += 1
    return bool(state["bf16"])


def _stopped(module: Trained, state: Mapping[str, Any] | None) -> bool:
    """Whether a callback ended the run before, and no more steps are asked for now."""
    if state is None or not state["stopped"] or state["max_steps"] < module.settings.max_steps:
        return False
    module.remarks[
        f"a callback stopped the run at step {state['step']} of {state['max_steps']}: it is trained no "
        "further, unless max_steps is raised"
    ] += 1
    return True


def _expect_same_world(state: Mapping[str, Any] | None, world: int, module: Trained) -> None:
    """Refuse another number of processes: each step would have other samples."""
    if state is not None and state["world"] != world:
        raise SettingsError(
            "The run to resume was started on another number of devices, and a step has samples for each.",
            file=None if module.keeper is None else module.keeper.path,
            got=f"{world} now, {state['world']} then",
            remedy="use as many devices as then, or another folder",
        )


def _interval(val_every: int | None, first_step: int, remaining: int, accumulate: int) -> int | None:
    """Batches between validation loops: Lightning counts from where a run resumes, we from its beginning."""
    interval = math.gcd(val_every, first_step) if val_every else 0
    return interval * accumulate if 0 < interval <= remaining else None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays Ctrl-C: Lightning makes an exit of it, and leaves the signal ignored.

    Raises
    ------
    SettingsError
        If Lightning refuses its options.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except MisconfigurationException as error:
        raise SettingsError(
            f"Lightning refuses the options of its trainer: {error}",
            remedy="change or leave out what it names",
        ) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def _channels_last(networks: torch.nn.Module) -> None:
    for module in networks.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim in (4, 5):
                layout = torch.channels_last if parameter.ndim == 4 else torch.channels_last_3d
                parameter.data = parameter.data.contiguous(memory_format=layout)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice about loaders and loggers is not for our users: what it warns of is decided here."""
    import logging
    import warnings

    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero")]
    levels = [lg.level for lg in loggers]
    for lg in loggers:
        lg.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
            yield
    finally:
        for lg, level in zip(loggers, levels, strict=True):
            lg.setLevel(level)
