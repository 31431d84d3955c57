"""Training: the Lightning module behind ``Model.fit``, its schedule, checkpoints and validation."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from truevox.devices import resolve_device
from truevox.errors import GraphError, SettingsError
from truevox.model.checkpoints import Checkpoints
from truevox.model.costs import part_names, step_cost
from truevox.model.mixing import mixed, share_of_step
from truevox.model.settings import Settings
from truevox.model.validation import Found, origins, row_of, scores_of
from truevox.pipeline.cache import Cache
from truevox.pipeline.data import Failure, Samples, Steps, batches, frame_of_batch
from truevox.pipeline.draws import Draw
from truevox.pipeline.run import Run, stacked

if TYPE_CHECKING:
    from truevox.cohort import Cohort
    from truevox.model.model import Model

__all__ = ["Settings", "fit"]

Row = dict[str, float]
LOG_EVERY = 10


class Trained(pl.LightningModule):
    """What Lightning sees of a model: steps on batches, validation on whole scans."""

    def __init__(
        self, model: Model, settings: Settings, samples: Samples, cases: Sequence[Any], cache: Cache
    ) -> None:
        super().__init__()
        self.networks = model.module_dict
        self._model, self._settings, self._samples = model, settings, samples
        self._cases, self._cache = list(cases), cache
        self.first_step = self.workers = 0
        self.val_every = 1
        self.history: list[Row] = []
        self.remarks: Counter[str] = Counter()
        self.averaged: dict[str, Tensor] | None = None
        self.losses: list[list[float]] = []
        self._scores: list[Found] = []
        self.report: Callable[[dict[str, Any]], None] | None = None
        self.bf16 = False
        self.resume_from: dict[str, Any] | None = None
        self.keeper: Checkpoints | None = None

    @property
    def step(self) -> int:
        """Steps done since the beginning, resumed or not."""
        return self.first_step + self.global_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        s = self._settings
        decayed = [p for p in self.networks.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.networks.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": s.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        if s.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=s.learning_rate)
        if s.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=s.learning_rate, momentum=0.99, nesterov=True)
        raise SettingsError("Unknown optimizer.", got=s.optimizer, expected="adamw | sgd")

    def train_dataloader(self) -> DataLoader:
        """Batches of this rank, from where the run resumes; asked for once ranks are known."""
        return self.batches_from(
            self.first_step, self.trainer.global_rank, self.trainer.world_size, self.workers
        )

    def batches_from(self, step: int, rank: int = 0, world: int = 1, workers: int = 0) -> DataLoader:
        """Batches from a step on."""
        steps = Steps(step, self._settings.max_steps, self._settings.batch_size, rank, world)
        return batches(self._samples, steps, workers)

    def val_dataloader(self) -> DataLoader:
        """Positions of cases; every rank takes its own share of them, without padding."""
        shards = math.ceil(len(self._cases) / self.trainer.world_size)
        return DataLoader(_Indices(shards), batch_size=1, collate_fn=list)

    def on_train_start(self) -> None:
        if self.resume_from is not None:
            self.optimizers(use_pl_optimizer=False).load_state_dict(self.resume_from["optimizer"])  # type: ignore[union-attr]
            self.resume_from = None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(Draw(self._settings.seed, self.step).torch_seed(f"rank {self.global_rank}"))
        rate = self._settings.rate(self.step)
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group["lr"] = rate

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Failure):  # before Lightning looks for tensors in it
            raise batch.error()
        return batch

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss, parts = self.loss_of(batch)
        self.remarks.update(batch["remarks"])
        self.losses.append([float(loss.detach()), *parts])
        return loss

    def loss_of(self, batch: Any) -> tuple[Tensor, list[float]]:
        """The loss of a batch as the workers made it, and the values of its terms.

        Raises
        ------
        TrueVoxError
            What a worker failed with, or that the loss is not finite.
        """
        if isinstance(batch, Failure):
            raise batch.error()
        run, s = Run(self._model.plan), self._settings
        share = share_of_step(s.mix_up, s.seed, self.step, self.global_rank)
        batch = mixed(batch, self._samples.nodes, share)
        frame = frame_of_batch(batch, self._samples.nodes, self._samples.cases, s.seed)
        outputs = (
            (stacked(run.values(prediction, frame)), target, weight)
            for (prediction, _), target, weight in zip(
                self._samples.targets, batch["targets"], self._model.output_weights, strict=True
            )
        )
        try:
            loss, parts = step_cost(self._model.loss, self.step, outputs, share)
            if not torch.isfinite(loss):
                raise GraphError("The loss is not finite.", got=float(loss))
        except GraphError as error:
            error.case = error.case or ", ".join(str(c.key) for c in frame.cases)
            error.message = f"Step {self.step}: {error.message}"
            raise
        return loss, parts

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._average()
        last = self.step == self._settings.max_steps
        if self.step % LOG_EVERY == 0 or last:
            row = {
                "step": float(self.step),
                **self._mean_losses(),
                "learning_rate": self._settings.rate(self.step - 1),
            }
            self.log("loss", row["loss"], batch_size=self._settings.batch_size)
            self._note(row)
        if self.keeper is not None:
            self.keeper.step_done(self)

    def _mean_losses(self) -> Row:
        """The loss and its parts, over the steps since they were last asked for."""
        names = ["loss", *part_names(self._model.loss)]
        means = np.mean(np.array([row[: len(names)] for row in self.losses]), 0)
        self.losses.clear()
        return dict(zip(names, (float(value) for value in means), strict=True))

    def _average(self) -> None:
        """Exponential moving average of the weights, which prediction and the saved model use."""
        if not self._settings.average:
            return
        state = self.networks.state_dict()
        if self.averaged is None:
            self.averaged = {k: v.detach().clone() for k, v in state.items()}
        # Early on the average forgets faster, or the random start would stay in it.
        decay = min(self._settings.average, (1 + self.step) / (10 + self.step))
        for name, value in state.items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value.detach(), 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def _note(self, row: Row) -> None:
        self.history.append(row)
        if self.report is not None and self.global_rank == 0:
            self.report({"max_steps": self._settings.max_steps, **row})

    # ---- validation: whole scans, through the same graph as later use ---------------------------------

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The networks with their averaged weights, for a while."""
        if self.averaged is None:
            yield
            return
        live = {k: v.detach().clone() for k, v in self.networks.state_dict().items()}
        self.networks.load_state_dict(self.averaged)
        try:
            yield
        finally:
            self.networks.load_state_dict(live)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        index = batch[0] * self.trainer.world_size + self.global_rank
        if index >= len(self._cases) or self.step % self.val_every:
            return
        case = self._cases[index]
        # Prediction is float32, as in later use, whatever the precision of training.
        full = torch.autocast(self.device.type, enabled=False)
        with torch.random.fork_rng(devices=[]), self.averaged_weights(), full:
            predicted = self._model.predict(case, device=self.device, cache=self._cache)
        self._scores += scores_of(self._model, case, predicted)

    def on_validation_epoch_end(self) -> None:
        scores = self._scores
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, scores)
            scores = [s for part in gathered for s in part]
        self._scores = []
        row: Row = {"step": float(self.step), **row_of(scores)}
        self.log_dict({name: value for name, value in row.items() if name != "step"}, batch_size=1)
        if len(row) > 1:
            self._note(row)
            if self.keeper is not None:
                self.keeper.step_done(self)


def fit(
    model: Model,
    train: Cohort,
    val: Cohort | None,
    settings: Settings,
    *,
    workers: int,
    val_every: int | None,
    checkpoint_every: int | None,
    out: Path | None,
    cache: Cache,
    device: str,
    report: Callable[[dict[str, Any]], None] | None,
    trainer: Mapping[str, Any] | None,
) -> list[Row]:
    """Train a model; see :meth:`truevox.Model.fit`."""
    samples = Samples(model.plan, list(train), model.pairs, settings.seed, cache)
    cases = list(val) if val is not None else []
    module = Trained(model, settings, samples, cases, cache)
    module.report, module.workers, module.val_every = report, workers, val_every or 1
    every = checkpoint_every or max(settings.max_steps // 20, 1)
    options = dict(trainer or {})
    bf16 = settings.precision == "bf16"
    callbacks = list(options.pop("callbacks", None) or [])
    if out is not None:
        module.keeper = Checkpoints(out, every, {**asdict(settings), "cases": [c.key for c in train]})
        if (state := module.keeper.read()) is not None:
            bf16 = bool(state["bf16"])
            module.networks.load_state_dict(state["networks"])
            module.averaged, module.history = state["averaged"], state["history"]
            module.losses = state["losses"]
            module.first_step, module.remarks = state["step"], Counter(state["remarks"])
            module.resume_from = state
    if settings.channels_last:
        _channels_last(module.networks)
    remaining = settings.max_steps - module.first_step
    if remaining > 0:
        chosen = resolve_device(device)
        if settings.precision == "auto" and module.first_step == 0:
            bf16 = _faster_in_bf16(module, chosen)
        module.bf16 = bf16
        with _quiet():
            runner = pl.Trainer(
                **{
                    "accelerator": {"cuda": "gpu"}.get(chosen.type, chosen.type),
                    "devices": [chosen.index] if chosen.index is not None else 1,
                    "max_steps": remaining,
                    "precision": "bf16-mixed" if bf16 else "32-true",
                    "max_epochs": -1,
                    "gradient_clip_val": settings.gradient_clip,
                    "logger": False,
                    "enable_checkpointing": False,
                    "enable_progress_bar": False,
                    "enable_model_summary": False,
                    "num_sanity_val_steps": 0,
                    "val_check_interval": _interval(
                        val_every if cases else None, module.first_step, remaining
                    ),
                    "check_val_every_n_epoch": None,
                    "limit_val_batches": 1.0 if cases and val_every else 0,
                    "use_distributed_sampler": False,
                    **options,
                },
                callbacks=callbacks,
            )
            runner.fit(module)
    model.module_dict.to("cpu")
    if module.averaged is not None:
        module.networks.load_state_dict(module.averaged)
    model.remarks.update(module.remarks)
    model.origins = origins(model, module.step, module.history)
    return module.history


def _interval(val_every: int | None, first_step: int, remaining: int) -> int | None:
    """Steps between validation loops: Lightning counts from where a run resumes, we from its beginning."""
    interval = math.gcd(val_every, first_step) if val_every else 0
    return interval if 0 < interval <= remaining else None


class _Indices(Dataset[int]):
    """The whole numbers below ``count``."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def _faster_in_bf16(module: Trained, device: torch.device) -> bool:
    """Whether a training step is faster in bfloat16 here: processors differ, so it is timed."""
    made = module.on_before_batch_transfer(next(iter(module.batches_from(0))), 0)
    batch = module.transfer_batch_to_device(made, device, 0)
    state = {k: v.detach().clone() for k, v in module.networks.state_dict().items()}
    module.networks.to(device)
    seconds = {}
    with torch.random.fork_rng(devices=[]):
        for enabled in (False, True):
            times = []
            for _ in range(3):
                begin = time.perf_counter()
                with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                    loss, _ = module.loss_of(batch)
                loss.backward()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter() - begin)
            seconds[enabled] = min(times)
    module.zero_grad(set_to_none=True)
    module.networks.load_state_dict(state)
    return seconds[True] < 0.9 * seconds[False]


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
