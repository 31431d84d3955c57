"""What Lightning sees of a model: steps on batches, validation on whole scans."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Timer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from truevox.errors import GraphError
from truevox.model.checkpoints import Checkpoints, is_finite
from truevox.model.costs import part_names, step_cost
from truevox.model.mixing import mixed, share_of_step
from truevox.model.settings import Settings
from truevox.model.validation import Found, row_of, scores_of
from truevox.pipeline.cache import Cache
from truevox.pipeline.data import Failure, Samples, Steps, batches, frame_of_batch
from truevox.pipeline.draws import Draw
from truevox.pipeline.run import Run, stacked

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["Trained"]

Row = dict[str, float]
LOG_EVERY = 10
NOT_FINITE = (
    "look at these cases (truevox check); else a lower learning_rate, gradient_clip=1, or precision float32"
)


class Trained(pl.LightningModule):
    """A model's networks in training.

    A step is one move of the weights. It may be made of several batches (``accumulate``), whose samples are
    numbered one after the other, as those of one larger batch would be.
    """

    def __init__(
        self, model: Model, settings: Settings, samples: Samples, cases: Sequence[Any], cache: Cache
    ) -> None:
        super().__init__()
        self.networks = model.module_dict
        self._model, self._settings, self._samples = model, settings, samples
        self._cases, self._cache = list(cases), cache
        self.first_step = self.workers = 0
        self.val_every: int | None = None
        self.history: list[Row] = []
        self.remarks: Counter[str] = Counter()
        self.averaged: dict[str, Tensor] | None = None
        self.losses: list[list[float]] = []
        self._scores: list[Found] = []
        self.report: Callable[[dict[str, Any]], None] | None = None
        self.bf16 = False
        self.resume_from: dict[str, Any] | None = None
        self.keeper: Checkpoints | None = None
        self.open_ended = frozenset(n for n, t in self.networks.state_dict().items() if not is_finite(t))
        self.shared = 0
        self._part = 0
        self._seen: list[dict[str, Any]] = []
        self._statistics: list[tuple[Tensor, Tensor]] = []

    @property
    def settings(self) -> Settings:
        """How to train."""
        return self._settings

    @property
    def step(self) -> int:
        """Steps done since the beginning, resumed or not."""
        return self.first_step + self.global_step

    @property
    def _draw(self) -> int:
        """Number of the batch that is at work, since the beginning."""
        return self.step * self._settings.accumulate + self._part

    def configure_optimizers(self) -> torch.optim.Optimizer:
        s = self._settings
        decayed = [p for p in self.networks.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.networks.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": s.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        if s.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=s.learning_rate)
        return torch.optim.SGD(groups, lr=s.learning_rate, momentum=0.99, nesterov=True)

    def train_dataloader(self) -> DataLoader:
        """Batches of this rank, from where the run resumes; asked for once ranks are known."""
        return self.batches_from(
            self.first_step, self.trainer.global_rank, self.trainer.world_size, self.workers
        )

    def batches_from(self, step: int, rank: int = 0, world: int = 1, workers: int = 0) -> DataLoader:
        """Batches from a step on."""
        s = self._settings
        steps = Steps(step * s.accumulate, s.max_steps * s.accumulate, s.batch_size, rank, world)
        return batches(self._samples, steps, workers)

    def val_dataloader(self) -> DataLoader:
        """Positions of cases; every rank takes its own share of them, without padding."""
        shards = math.ceil(len(self._cases) / self.trainer.world_size)
        return DataLoader(_Indices(shards), batch_size=1, collate_fn=list)

    # ---- training ------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        if self.averaged is not None:  # from a checkpoint, which may come from another device
            self.averaged = {name: value.to(self.device) for name, value in self.averaged.items()}
        if self.resume_from is not None:
            self.optimizers(use_pl_optimizer=False).load_state_dict(self.resume_from["optimizer"])  # type: ignore[union-attr]
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if (state := self.resume_from["callbacks"].get(callback.state_key)) is not None:
                    callback.load_state_dict(state)
            self.resume_from = None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._part = batch_idx % self._settings.accumulate
        if self._part == 0:
            self._seen = []
            self._statistics = [(b, b.detach().clone()) for b in self.networks.buffers()]
        torch.manual_seed(Draw(self._settings.seed, self._draw).torch_seed(f"rank {self.global_rank}"))
        rate = self._settings.rate(self.step)
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group["lr"] = rate

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Failure):  # before Lightning looks for tensors in it
            raise batch.error()
        return batch

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self._seen.append({name: batch[name] for name in ("number", "case")})
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
        share = share_of_step(s.mix_up, s.seed, self._draw, self.global_rank)
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
                raise self._not_finite("loss", [batch], float(loss.detach()))
        except GraphError as error:
            self._restore_buffers()
            error.case = error.case or self._names([batch])
            if not error.message.startswith("Step "):
                error.message = f"Step {self.step}: {error.message}"
            raise
        return loss, parts

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """A step that is not finite stops the run before it touches weights, averages or the optimiser."""
        named = [(n, p.grad) for n, p in self.networks.named_parameters() if p.grad is not None]
        norms = torch._foreach_norm([g for _, g in named])  # type: ignore[reportPrivateImportUsage] if named else []
        if norms and not bool(torch.isfinite(torch.stack(norms)).all()):
            bad = next(n for (n, _), norm in zip(named, norms, strict=True) if not torch.isfinite(norm))
            self._restore_buffers()
            raise self._not_finite("gradient", self._seen, bad)

    def _not_finite(self, what: str, seen: Sequence[dict[str, Any]], got: object) -> GraphError:
        samples = ", ".join(str(n) for batch in seen for n in batch["number"])
        return GraphError(
            f"Step {self.step}: The {what} is not finite.",
            case=self._names(seen),
            got=f"{got}, of samples {samples}",
            expected="finite numbers; weights, averages and checkpoints are as before this step",
            remedy=NOT_FINITE,
        )

    def _names(self, seen: Sequence[dict[str, Any]]) -> str:
        keys = (str(self._samples.cases[c].key) for batch in seen for c in batch["case"])
        return ", ".join(dict.fromkeys(keys))

    def _restore_buffers(self) -> None:
        """Running statistics as they were before the step: the pass forward has moved them already."""
        with torch.no_grad():
            for buffer, before in self._statistics:
                buffer.copy_(before)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._part + 1 < self._settings.accumulate:
            return
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
        # Where validation is due, its scores belong to the step: it writes when they are known.
        if self.keeper is not None and not self._validates:
            self.keeper.step_done(self)

    def on_train_end(self) -> None:
        """What stopped the run early must not be lost, nor forgotten."""
        if self.keeper is not None and self.step < self._settings.max_steps:
            callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
            timers = [c for c in callbacks if isinstance(c, Timer)]
            in_time = all((left := timer.time_remaining()) is None or left > 0 for timer in timers)
            self.keeper.write(self, stopped=self.trainer.should_stop and in_time)

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

    @property
    def _validates(self) -> bool:
        """Whether this step is one that validates."""
        return bool(self._cases) and self.val_every is not None and self.step % self.val_every == 0

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
        if index >= len(self._cases) or not self._validates:
            return
        case = self._cases[index]
        # Prediction is float32, as in later use, whatever the precision of training.
        full = torch.autocast(self.device.type, enabled=False)
        with torch.random.fork_rng(devices=[]), self.averaged_weights(), full:
            predicted = self._model.predict(case, device=self.device, cache=self._cache)
        self._scores += scores_of(self._model, case, predicted)

    def on_validation_epoch_end(self) -> None:
        if not self._validates:
            return
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

    def on_validation_end(self) -> None:
        """Callbacks have seen the scores by now: what they make of them is part of the checkpoint."""
        if self.keeper is not None and self._validates:
            self.keeper.step_done(self)


class _Indices(Dataset[int]):
    """The whole numbers below ``count``."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index
