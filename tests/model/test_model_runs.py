# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""Steps and samples mean the same whatever the options; what is not finite never gets into a run."""

from __future__ import annotations

import os
import signal

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from helpers import cohort_on_disk
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging
from torch import nn

import truevox as tv
from truevox import GraphError, Labels, SettingsError
from truevox.model import bfloat, trainer
from truevox.model.settings import Settings
from truevox.pipeline import Cache


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tv.Cohort:
    return cohort_on_disk(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


def model_of(
    loss: object = None, *, gamma: float = 0.2, size: int = 8, module: nn.Module | None = None
) -> tv.Model:
    """One convolution: steps take milliseconds."""
    scan, mask = tv.Input("image"), tv.Input("mask", kind="label")
    x, y = tv.RandomCrop(size, centre_on=mask)(tv.ZScore()(scan), mask)
    if module is None:
        torch.manual_seed(0)
        module = nn.Conv3d(1, 1, 3, padding=1)
    net = tv.Network(module, labels=Labels({"mask": 1}))
    full = tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(8)(tv.ZScore()(scan)))))
    return tv.Model((net(tv.RandomGamma(gamma)(x)), y), {"mask": full}, loss or tv.losses.CrossEntropy())


def weights(model: tv.Model) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.module_dict.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Seen(pl.Callback):
    """Keeps the step and the samples of every batch; raises where it is told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[tuple[int, list[int]]] = []
        self.stop_after = stop_after

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        self.seen.append((module.step, list(batch["number"])))

    def on_train_batch_end(self, trainer, module, *rest) -> None:
        if self.stop_after is not None and module.step >= self.stop_after:
            raise StoppedError


class StoppedError(Exception):
    pass


# ---- several batches in a step --------------------------------------------------------------------------


def test_accumulated_batches_take_the_samples_of_one_larger_batch(cohort, cache):
    """Cross-entropy of equal patches: the mean over batches is that over the larger batch."""
    options = {"max_steps": 3, "device": "cpu", "cache": cache, "seed": 4, "optimizer": "sgd"}
    small, large, watch = model_of(), model_of(), Seen()
    given = {"accumulate_grad_batches": 3, "callbacks": [watch]}
    small_history = small.fit(cohort, batch_size=2, trainer=given, **options)
    large_history = large.fit(cohort, batch_size=6, **options)
    assert watch.seen == [(s, [6 * s + 2 * k, 6 * s + 2 * k + 1]) for s in range(3) for k in range(3)]
    for a, b in zip(weights(small).values(), weights(large).values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert small_history[-1]["loss"] == pytest.approx(large_history[-1]["loss"], rel=1e-5)
    assert [row["step"] for row in small_history] == [3]


def test_accumulation_resumes_to_the_same_weights_and_validates_by_steps(cohort, cache, tmp_path):
    options = {
        "max_steps": 4, "device": "cpu", "cache": cache, "average": 0.5, "mix_up": 0.3, "val_every": 2,
        "checkpoint_every": 1,
    }  # fmt: skip

    def net() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Dropout(0.3), nn.Conv3d(2, 1, 1))

    whole, parts = model_of(module=net()), model_of(module=net())
    history = whole.fit(cohort, cohort, trainer={"accumulate_grad_batches": 2}, **options)
    assert [row["step"] for row in history if "val/mask/mask/dice" in row] == [2, 4]
    for stop in (1, 3):
        given = {"accumulate_grad_batches": 2, "callbacks": [Seen(stop)]}
        with pytest.raises(StoppedError):
            model_of(module=net()).fit(cohort, cohort, out=tmp_path, trainer=given, **options)
    again = parts.fit(cohort, cohort, out=tmp_path, trainer={"accumulate_grad_batches": 2}, **options)
    assert same(weights(whole), weights(parts))
    assert again == history
    with pytest.raises(SettingsError, match="other settings") as caught:
        model_of(module=net()).fit(cohort, cohort, out=tmp_path, **options)
    assert "accumulate: 2 then, 1 now" in str(caught.value)


def test_an_epoch_counts_accumulated_batches_and_devices():
    s = Settings(1, batch_size=2, accumulate=3)
    assert trainer.epoch_steps(30, s, {}) == 5
    assert trainer.epoch_steps(31, s, {}) == 6
    assert trainer.epoch_steps(30, s, {"devices": 2, "num_nodes": 2}) == 2
    assert trainer.epoch_steps(30, s, {"devices": [0, 3]}) == 3
    for devices in ("auto", -1):
        with pytest.raises(SettingsError, match="max_steps instead"):
            trainer.epoch_steps(30, s, {"devices": devices})


# ---- options of the trainer -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(trainer.REFUSED))
def test_options_that_change_steps_are_refused_with_a_remedy(cohort, name):
    with pytest.raises(SettingsError, match="what a step or a sample") as caught:
        model_of().fit(cohort, max_steps=1, trainer={name: 1})
    assert name in str(caught.value)
    assert caught.value.remedy


def test_every_option_of_lightning_is_either_known_or_refused():
    """A new version with a new option must be looked at."""
    import inspect

    allowed = {
        "accelerator", "strategy", "devices", "num_nodes", "precision", "logger", "callbacks", "max_time",
        "log_every_n_steps", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
        "accumulate_grad_batches", "gradient_clip_algorithm", "deterministic", "benchmark", "inference_mode",
        "profiler", "detect_anomaly", "plugins", "sync_batchnorm", "default_root_dir",
        "enable_autolog_hparams", "model_registry",
    }  # fmt: skip
    there = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert there == allowed | set(trainer.REFUSED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"acumulate_grad_batches": 2}, "did you mean 'accumulate_grad_batches'"),
        ({"accumulate_grad_batches": {0: 2}}, "whole number"),
        ({"accumulate_grad_batches": 0}, "whole number"),
        ({"precision": "16-mixed"}, 'precision="bf16"'),
        ({"precision": 64}, 'precision="bf16"'),
        ({"strategy": "fsdp"}, "ddp"),
        ({"callbacks": [StochasticWeightAveraging(1e-3)]}, "average="),
        ({"callbacks": [EarlyStopping]}, "the object, not its class or name"),
        ({"callbacks": StochasticWeightAveraging(1e-3)}, "average="),
    ],
)
def test_what_is_not_supported_says_what_is(options, said):
    with pytest.raises(SettingsError) as caught:
        trainer.checked(options)
    assert said in str(caught.value)


def test_precision_of_the_trainer_is_that_of_the_run():
    assert trainer.precision({"precision": "bf16-mixed"}, "float32") == "bf16"
    assert trainer.precision({"precision": 32}, "auto") == "float32"
    assert trainer.precision({}, "auto") == "auto"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_steps": 0}, {"max_steps": 2.5}, {"max_steps": True}, {"batch_size": 0}, {"seed": 1.5},
        {"learning_rate": 0}, {"learning_rate": float("nan")}, {"weight_decay": -1}, {"average": 1.0},
        {"gradient_clip": 0}, {"gradient_clip": float("inf")}, {"schedule": "Poly"}, {"optimizer": "adam"},
        {"precision": "half"}, {"warmup_steps": -1}, {"accumulate": 0}, {"mix_up": -0.1},
        {"mix_up": 0.2, "batch_size": 1}, {"gradient_clip_algorithm": "max"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        Settings(**{"max_steps": 4, **wrong})


def test_numbers_of_numpy_are_the_same_settings():
    assert Settings(np.int64(3), seed=np.int64(3), weight_decay=0) == Settings(3, seed=3, weight_decay=0.0)


def test_callbacks_of_lightning_that_only_look_work(cohort, cache, tmp_path):
    keeps = pl.callbacks.ModelCheckpoint(tmp_path, save_last=True)
    given = {"callbacks": [keeps], "default_root_dir": tmp_path}
    model_of().fit(cohort, max_steps=1, device="cpu", cache=cache, trainer=given, out=tmp_path / "run")
    assert list(tmp_path.glob("*.ckpt"))
    with pytest.raises(SettingsError, match="Lightning refuses"):  # it needs a logger
        model_of().fit(
            cohort, max_steps=1, device="cpu", cache=cache,
            trainer={"callbacks": [pl.callbacks.LearningRateMonitor()]},
        )  # fmt: skip


# ---- what is not finite ---------------------------------------------------------------------------------


class Bad:
    """Cross-entropy; at one call its value or its gradient is not finite."""

    def __init__(self, call: int, what: str) -> None:
        self.call, self.what, self.count = call, what, 0

    def __call__(self, logits, target):
        self.count += 1
        loss = tv.losses.CrossEntropy()(logits, target)
        if self.count != self.call:
            return loss
        if self.what == "loss":
            return loss * float("nan")
        return loss + (logits * 0).sum().clamp(min=0).sqrt()  # 0, with a slope of 0 times infinity


def _norm_net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2), nn.Conv3d(2, 1, 1))


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_not_finite_stops_before_the_weights_are_touched(cohort, cache, tmp_path, what, accumulate):
    options = {
        "max_steps": 6, "device": "cpu", "cache": cache, "out": tmp_path, "checkpoint_every": 1,
        "average": 0.9, "trainer": {"accumulate_grad_batches": accumulate},
    }  # fmt: skip
    calls = 2 * accumulate + accumulate  # the last batch of the third step
    model = model_of(Bad(calls, what), module=_norm_net())
    with pytest.raises(GraphError, match=f"Step 2: The {what} is not finite") as caught:
        model.fit(cohort, **options)
    numbers = list(range(4, 6)) if accumulate == 1 else list(range(8, 12))
    if what == "loss":
        numbers = numbers[-2:]
    assert f"of samples {', '.join(map(str, numbers))}" in str(caught.value)
    assert set(caught.value.case.split(", ")) <= {"c0", "c1", "c2"}
    assert "learning_rate" in str(caught.value.remedy)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    # Weights, running statistics and averages are those of step 2, in the file and in memory.
    assert same(weights(model), dict(state["networks"]))
    whole, resumed = (model_of(Bad(-1, what), module=_norm_net()) for _ in range(2))
    whole.fit(cohort, **options | {"out": None})
    resumed.fit(cohort, **options)
    assert same(weights(whole), weights(resumed))


def test_weights_that_overflow_are_not_written(cohort, cache, tmp_path):
    """The gradient is finite, the step is not: the loss would tell only after the checkpoint."""

    class Explodes(pl.Callback):
        def on_train_batch_end(self, trainer, module, *rest) -> None:
            if module.step == 3:
                with torch.no_grad():
                    next(module.networks.parameters()).fill_(float("inf"))

    with pytest.raises(GraphError, match="Step 3: The weights") as caught:
        model_of().fit(
            cohort, max_steps=3, device="cpu", cache=cache, out=tmp_path, checkpoint_every=1,
            trainer={"callbacks": [Explodes()]},
        )  # fmt: skip
    assert "stays that of an earlier step" in str(caught.value)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2


def test_a_buffer_that_is_infinite_by_design_is_no_failure(cohort, cache, tmp_path):
    module = nn.Conv3d(1, 1, 3, padding=1)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    model_of(module=module).fit(cohort, max_steps=2, device="cpu", cache=cache, out=tmp_path, average=0.5)


@pytest.mark.parametrize(
    "loss",
    [lambda p, y: (p - y) ** 2, lambda p, y: (p.detach() - y).pow(2).mean(), lambda p, y: 1.0],
    ids=["a value per voxel", "no gradient", "no tensor"],
)
def test_a_loss_that_can_not_be_trained_with_is_told(cohort, cache, loss):
    with pytest.raises(GraphError, match="one number with a gradient") as caught:
        model_of(loss).fit(cohort, max_steps=1, device="cpu", cache=cache)
    assert caught.value.remedy


def test_frozen_networks_and_validation_without_a_reference_are_told_before_the_first_step(cohort, cache):
    frozen = nn.Conv3d(1, 1, 3, padding=1).requires_grad_(False)
    with pytest.raises(SettingsError, match="no parameter to train"):
        model_of(module=frozen).fit(cohort, max_steps=1, device="cpu", cache=cache)
    first = next(iter(cohort))
    blind = tv.Cohort([tv.Case("v", {**first.values, "mask": None})])
    watch = Seen()
    with pytest.raises(tv.CaseError, match="mask"):
        model_of().fit(
            cohort, blind, max_steps=2, val_every=2, device="cpu", cache=cache,
            trainer={"callbacks": [watch]},
        )  # fmt: skip
    assert watch.seen == []


# ---- resuming another run -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(cohort, cache, tmp_path_factory):
    """A finished run of two steps. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("begun")
    model_of().fit(cohort, max_steps=2, device="cpu", cache=cache, out=folder)
    return folder


class Scaled(nn.Module):
    """A network whose structure does not tell what it does."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.inner = by, nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.inner(x) * self.by


OTHER = {
    "loss": (lambda: model_of(tv.losses.SoftDice()), "loss: CrossEntropy then, SoftDice now"),
    "loss setting": (lambda: model_of(tv.losses.CrossEntropy(weight=(1.0, 2.0))), "loss: CrossEntropy then"),
    "own loss": (lambda: model_of(lambda p, y: p.mean()), "loss: CrossEntropy then"),
    "node": (lambda: model_of(gamma=0.4), "RandomGamma.1"),
    "patch": (lambda: model_of(size=6), "RandomCrop.1"),
    "network": (lambda: model_of(module=nn.Conv3d(1, 1, 5, padding=2)), "Network.1"),
    "wrapper": (lambda: model_of(module=Scaled(2.0)), "Network.1"),
}


@pytest.mark.parametrize("what", OTHER)
def test_another_loss_or_graph_is_not_gone_on_with(begun, cohort, cache, what):
    make, said = OTHER[what]
    before = (begun / "checkpoint.pt").read_bytes()
    with pytest.raises(SettingsError, match="other settings") as caught:
        make().fit(cohort, max_steps=2, device="cpu", cache=cache, out=begun)
    assert said in str(caught.value)
    assert "then" in str(caught.value)
    assert (begun / "checkpoint.pt").read_bytes() == before


def test_attributes_of_a_network_and_the_code_of_a_loss_count(cohort, cache, tmp_path):
    options = {"max_steps": 1, "device": "cpu", "cache": cache, "out": tmp_path}
    model_of(lambda p, y: p.mean(), module=Scaled(2.0)).fit(cohort, **options)
    model_of(lambda p, y: p.mean(), module=Scaled(2.0)).fit(cohort, **options)
    for loss, by in ((lambda p, y: p.sum(), 2.0), (lambda p, y: p.mean(), 3.0)):
        with pytest.raises(SettingsError, match="other settings"):
            model_of(loss, module=Scaled(by)).fit(cohort, **options)


def test_other_cases_files_or_order_are_not_gone_on_with(begun, cohort, cache, tmp_path):
    def refused(other: tv.Cohort) -> str:
        with pytest.raises(SettingsError, match="other settings") as caught:
            model_of().fit(other, max_steps=2, device="cpu", cache=cache, out=begun)
        return str(caught.value)

    assert "c2: " in refused(tv.Cohort(list(cohort)[:2]))
    assert "another order" in refused(tv.Cohort(list(cohort)[::-1]))
    other = cohort_on_disk(tmp_path, shape=(15, 12, 10))
    assert "c0_image.nii" in refused(other)
    # The same data in another place is the same run.
    model_of().fit(cohort_on_disk(tmp_path / "copy"), max_steps=2, device="cpu", cache=cache, out=begun)


def test_more_steps_other_workers_and_options_of_the_machine_are_allowed(cohort, cache, tmp_path):
    options = {"device": "cpu", "cache": cache, "out": tmp_path, "schedule": "constant"}
    model_of().fit(cohort, max_steps=2, **options)
    longer, straight = model_of(), model_of()
    history = longer.fit(cohort, max_steps=4, workers=1, checkpoint_every=3, **options)
    straight.fit(cohort, max_steps=4, **options | {"out": None})
    assert same(weights(longer), weights(straight))
    assert [row["step"] for row in history] == [2, 4]
    assert not longer.remarks
    with pytest.raises(SettingsError, match="max_steps: 4 then, 3 now"):
        model_of().fit(cohort, max_steps=3, **options)


def test_a_schedule_that_is_stretched_is_told(cohort, cache, tmp_path):
    options = {"device": "cpu", "cache": cache, "out": tmp_path}
    model_of().fit(cohort, max_steps=2, **options)
    model = model_of()
    history = model.fit(cohort, max_steps=4, **options)
    assert ["planned for 2 steps" in remark for remark in model.remarks] == [True]
    assert history[-1]["learning_rate"] == pytest.approx(Settings(4).rate(3))


def test_another_number_of_devices_is_refused(begun, cohort, cache, tmp_path):
    state = torch.load(begun / "checkpoint.pt", weights_only=True)
    torch.save(state | {"world": 2}, tmp_path / "checkpoint.pt")
    with pytest.raises(SettingsError, match="another number of devices") as caught:
        model_of().fit(cohort, max_steps=3, device="cpu", cache=cache, out=tmp_path)
    assert "1 now, 2 then" in str(caught.value)


def test_checkpoints_of_another_version_or_damaged_are_told(begun, cohort, cache, tmp_path):
    state = torch.load(begun / "checkpoint.pt", weights_only=True)
    older = {k: v for k, v in state.items() if k not in ("format", "software", "print")}
    damaged = {k: v for k, v in state.items() if k != "optimizer"}
    cases = [(older, "another version"), (state | {"format": 99}, "format 99"), (damaged, "no optimizer")]
    for written, said in [*cases, (torch.zeros(2), "another version")]:
        torch.save(written, tmp_path / "checkpoint.pt")
        with pytest.raises(tv.FileError, match=said) as caught:
            model_of().fit(cohort, max_steps=2, device="cpu", cache=cache, out=tmp_path)
        assert caught.value.remedy
    (tmp_path / "checkpoint.pt").write_bytes((begun / "checkpoint.pt").read_bytes()[:3000])
    with pytest.raises(tv.FileError, match="can't be read"):
        model_of().fit(cohort, max_steps=2, device="cpu", cache=cache, out=tmp_path)


def test_checking_alone_trains_and_writes_nothing(begun, cohort, cache, tmp_path):
    model = model_of()
    before = weights(model)
    assert model.fit(cohort, max_steps=2, cache=cache, out=tmp_path / "new", check_only=True) == []
    assert same(before, weights(model))
    assert not (tmp_path / "new").exists()
    with pytest.raises(SettingsError, match="other settings"):
        model_of(gamma=0.9).fit(cohort, max_steps=2, cache=cache, out=begun, check_only=True)


# ---- runs that are stopped ------------------------------------------------------------------------------


def test_early_stopping_is_kept_and_gone_on_from(cohort, cache, tmp_path):
    """What the callback has waited for is in the checkpoint; a stopped run stays stopped."""

    def stopping() -> dict:
        return {"callbacks": [EarlyStopping("val/mask/mask/dice", mode="max", patience=2, min_delta=2.0)]}

    options = {
        "max_steps": 12, "device": "cpu", "cache": cache, "out": tmp_path, "val_every": 2,
        "checkpoint_every": 2,
    }  # fmt: skip
    given = stopping()
    given["callbacks"].append(Seen(5))
    with pytest.raises(StoppedError):  # killed after the second validation, having waited once
        model_of().fit(cohort, cohort, trainer=given, **options)
    history = model_of().fit(cohort, cohort, trainer=stopping(), **options)
    assert history[-1]["step"] == 6
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["step"], state["stopped"]) == (6, True)
    model = model_of()
    assert model.fit(cohort, cohort, trainer=stopping(), **options) == history
    assert any("stopped the run at step 6" in remark for remark in model.remarks)
    assert model.origins["mask"].steps == 6


def test_ctrl_c_stays_ctrl_c(cohort, cache):
    """Lightning exits instead, and leaves the signal ignored."""

    class Pressed(pl.Callback):
        def on_train_batch_start(self, *rest) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model_of().fit(cohort, max_steps=2, device="cpu", cache=cache, trainer={"callbacks": [Pressed()]})
    assert signal.getsignal(signal.SIGINT) is before


def test_validation_of_patients_that_train_is_told(cohort, cache):
    model = model_of()
    model.fit(cohort, tv.Cohort(list(cohort)[:1]), max_steps=1, val_every=1, device="cpu", cache=cache)
    assert ["1 of 1 validation cases" in remark for remark in model.remarks] == [True]
    assert model.origins["mask"].shared == 1
    assert "1 of them of patients that trained" in model.origins["mask"].note("mask", "expected")


# ---- precision ------------------------------------------------------------------------------------------


def test_bfloat16_is_not_timed_where_it_is_emulated(cohort, cache, monkeypatch):
    monkeypatch.setattr(bfloat, "has_bf16_units", lambda device: False)
    monkeypatch.setattr(bfloat, "_fastest", lambda *a: pytest.fail("timed"))
    model = model_of()
    model.fit(cohort, max_steps=1, device="cpu", cache=cache, precision="auto")
    assert ["no units for bfloat16" in remark for remark in model.remarks] == [True]


@pytest.mark.parametrize(("half", "chosen"), [(0.5, "bf16"), (0.95, "float32"), (50.0, "float32")])
def test_the_faster_precision_is_taken_and_told(cohort, cache, monkeypatch, tmp_path, half, chosen):
    """By a clock that says so: the second call of a step is in bfloat16."""
    times = iter([1.0, half])
    monkeypatch.setattr(bfloat, "has_bf16_units", lambda device: True)
    monkeypatch.setattr(bfloat, "_fastest", lambda *a: next(times))
    model = model_of()
    model.fit(cohort, max_steps=1, device="cpu", cache=cache, precision="auto", out=tmp_path)
    assert [f"precision auto: {chosen}" in remark for remark in model.remarks] == [True]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["bf16"] is (chosen == "bf16")


def test_a_hopeless_precision_is_tried_once(monkeypatch):
    clock = iter(np.arange(0.0, 100.0, 1.0))
    monkeypatch.setattr(bfloat.time, "perf_counter", lambda: float(next(clock)))
    made = []

    class Module:
        def loss_of(self, batch):
            made.append(1)
            return torch.zeros((), requires_grad=True) * 2, []

    module = Module()
    assert bfloat._fastest(module, None, torch.device("cpu"), True, 0.0, 0.1) == 1.0
    assert len(made) == 1  # more than three times as long as the other
    assert bfloat._fastest(module, None, torch.device("cpu"), False, -10.0, torch.inf) == 1.0
    assert len(made) == 2  # five seconds are over
