# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Training: the same samples and weights whatever the workers and interruptions; failures say where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from helpers import Broken, cohort_on_disk, small_model, small_net

import truevox as tv
from truevox import SettingsError, TrueVoxError
from truevox.pipeline import Cache
from truevox.pipeline.data import Samples, Steps, batches

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tv.Cohort:
    return cohort_on_disk(tmp_path_factory.mktemp("cohort"))


def _loader(model: tv.Model, cohort: tv.Cohort, workers: int, cache: Cache | None, start: int = 0):
    samples = Samples(model.plan, list(cohort), model.pairs, seed=3, cache=cache)
    return batches(samples, Steps(start, 6, batch_size=2), workers)


def _tensors(batch) -> list[torch.Tensor]:
    return [*(n["data"] for n in batch["nodes"]), *(n["affine"] for n in batch["nodes"]), *batch["targets"]]


@pytest.mark.parametrize("cached", [False, True])
def test_same_patches_with_0_1_and_2_workers(cohort, tmp_path, cached: bool):
    model = small_model()
    cache = Cache(tmp_path) if cached else None
    wanted = [_tensors(b) for b in _loader(model, cohort, 0, None)]
    for workers in (0, 1, 2):
        for a, b in zip(wanted, _loader(model, cohort, workers, cache), strict=True):
            assert all(torch.equal(s, t) for s, t in zip(a, _tensors(b), strict=True))
    # Wherever it starts, a step has the same samples.
    for a, b in zip(wanted[4:], _loader(model, cohort, 0, cache, start=4), strict=True):
        assert all(torch.equal(s, t) for s, t in zip(a, _tensors(b), strict=True))
    assert not torch.equal(wanted[0][0], wanted[3][0])


def test_ranks_share_the_steps_between_them():
    both = [list(Steps(2, 5, 2, rank, world=2)) for rank in (0, 1)]
    assert both[0][0] + both[1][0] == [8, 9, 10, 11]
    assert sorted(n for part in both for step in part for n in step) == list(range(8, 20))


def _weights(model: tv.Model) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.module_dict.state_dict().items()}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _fit(model: tv.Model, cohort: tv.Cohort, cache, **options):
    return model.fit(
        cohort, max_steps=options.pop("max_steps", 6), seed=5, device="cpu", cache=cache, **options
    )


def test_weights_do_not_depend_on_workers(cohort, tmp_path):
    ends = []
    for workers in (0, 2):
        model = small_model()
        history = _fit(model, cohort, tmp_path, workers=workers)
        ends.append(_weights(model))
    assert _same(*ends)
    assert not _same(ends[0], _weights(small_model()))
    assert history[-1]["step"] == 6
    assert np.isfinite(history[-1]["loss"])


SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from helpers import small_model
import truevox as tv
from truevox.model.checkpoints import Checkpoints

real = Checkpoints.write
def write(self, module):
    real(self, module)
    if module.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoints.write = write
model = small_model(dropout=0.2)
model.fit(tv.Cohort.from_csv({table!r}), max_steps=6, seed=5, device="cpu", cache={cache!r}, out={out!r},
          checkpoint_every=2, average=0.9)
"""


def test_a_killed_run_resumes_to_the_same_weights(cohort, tmp_path):
    table = next(iter(cohort)).path("image").parent / "cohort.csv"
    options = {"checkpoint_every": 2, "average": 0.9}
    whole = small_model(dropout=0.2)
    _fit(whole, cohort, tmp_path / "cache", out=tmp_path / "whole", **options)
    out = tmp_path / "killed"
    script = SCRIPT.format(
        tests=str(HERE.parent), table=str(table), cache=str(tmp_path / "cache"), out=str(out)
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    state = torch.load(out / "checkpoint.pt", weights_only=True)  # tensors and primitives
    assert state["step"] == 4
    resumed = small_model(dropout=0.2)
    history = _fit(resumed, cohort, tmp_path / "cache", out=out, **options)
    assert _same(_weights(whole), _weights(resumed))
    assert [row["step"] for row in history] == [6]
    assert (out / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()
    # A finished run is not trained further.
    again = small_model(dropout=0.2)
    _fit(again, cohort, tmp_path / "cache", out=out, **options)
    assert _same(_weights(again), _weights(resumed))


def test_other_settings_do_not_resume(cohort, tmp_path):
    _fit(small_model(), cohort, tmp_path / "c", out=tmp_path / "run", max_steps=2)
    with pytest.raises(SettingsError, match="other settings") as caught:
        _fit(small_model(), cohort, tmp_path / "c", out=tmp_path / "run", max_steps=2, learning_rate=0.5)
    assert "learning_rate: 0.001 then, 0.5 now" in str(caught.value)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(tv.FileError, match="can't be read"):
        _fit(small_model(), cohort, tmp_path / "c", out=tmp_path / "run", max_steps=2)


@pytest.mark.parametrize(("workers", "precision"), [(0, "float32"), (0, "auto"), (1, "float32")])
def test_a_failing_node_is_named_from_any_process(cohort, tmp_path, workers: int, precision: str):
    x, y = tv.RandomCrop(8)(Broken(name="my node")(tv.Input("image")), tv.Input("mask", kind="label"))
    model = tv.Model((tv.Network(small_net())(x), y), {}, tv.losses.CrossEntropy())
    with pytest.raises(TrueVoxError) as caught:
        _fit(model, cohort, None if workers else Cache(tmp_path), workers=workers, precision=precision)
    error = caught.value
    assert type(error).__name__ == "NodeError"
    assert error.case in {"c0", "c1", "c2"}
    for part in ("my node", "14x12x10", "1.00x1.00x1.50 mm", "ValueError", "it broke"):
        assert part in str(error)
    assert "raise ValueError(self.text, 42)" in "".join(error.__notes__)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers import cohort_on_disk, small_model
import truevox as tv
from truevox.pipeline import Cache
folder, model = Path(sys.argv[2]), small_model()
cohort, cache = cohort_on_disk(folder), Cache(folder / "cache")
model.fit(cohort, max_steps=1, device="cpu", cache=cache)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for write in (
    lambda: model.fit(cohort, max_steps=1, device="cpu", cache=cache, out=folder / "run"),
    lambda: model.save(folder / "model"),
):
    try:
        write()
    except tv.FileError as error:
        print(error.file)
"""


def test_a_full_disk_is_told_as_such(tmp_path):
    code = [sys.executable, "-c", FULL_DISK, str(Path(__file__).parent.parent), str(tmp_path)]
    out = subprocess.run(code, capture_output=True, text=True, check=True)
    assert [Path(line).name for line in out.stdout.split()] == ["checkpoint.pt", "weights.safetensors"]
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "model" / "weights.safetensors").exists()


def test_batches_of_unequal_sizes_say_what_to_do(tmp_path):
    small, large = cohort_on_disk(tmp_path / "a", 1, (8, 8, 8)), cohort_on_disk(tmp_path / "b", 1, (16, 8, 8))
    rows = [
        f"{k},train,{next(iter(c)).path('image')},{next(iter(c)).path('mask')}"
        for k, c in enumerate((small, large))
    ]
    (tmp_path / "cohort.csv").write_text("\n".join(["case,split,image,mask", *rows]))
    x, y = tv.Input("image"), tv.Input("mask", kind="label")
    model = tv.Model((tv.Network(small_net())(x), y), {}, tv.losses.CrossEntropy())
    with pytest.raises(tv.GraphError, match="differ in size") as caught:
        _fit(model, tv.Cohort.from_csv(tmp_path / "cohort.csv"), Cache(tmp_path / "cache"))
    assert "RandomCrop" in str(caught.value)


def test_validation_predicts_whole_scans_and_disturbs_nothing(cohort, tmp_path):
    quiet, watched = small_model(dropout=0.2), small_model(dropout=0.2)
    _fit(quiet, cohort, tmp_path, max_steps=4)
    rows: list[dict] = []
    history = watched.fit(
        cohort, cohort, max_steps=4, seed=5, device="cpu", cache=tmp_path, val_every=2, report=rows.append
    )
    assert _same(_weights(quiet), _weights(watched))
    scores = [row["val/mask/mask/dice"] for row in history if "val/mask/mask/dice" in row]
    assert len(scores) == 2
    # The last score, computed again from the outside.
    dices = []
    for case in cohort:
        p = watched.predict(case)["mask"].numpy() > 0.5
        t = case.load("mask").numpy() > 0
        dices.append(2 * (p & t).sum() / (p.sum() + t.sum()))
    assert scores[-1] == pytest.approx(np.mean(dices), abs=1e-6)
    assert rows[-1]["max_steps"] == 4


def test_validation_keeps_its_steps_after_a_resume(cohort, tmp_path):
    """Lightning counts from where a run resumes; validation is due at multiples of its interval."""

    class StoppedError(Exception):
        pass

    class StopAt4(pl.Callback):
        def on_train_batch_end(self, trainer, module, *rest) -> None:
            if module.step == 4:
                raise StoppedError

    options = {
        "max_steps": 10, "device": "cpu", "cache": tmp_path / "cache", "out": tmp_path / "run",
        "val_every": 5, "checkpoint_every": 3, "seed": 1,
    }  # fmt: skip
    with pytest.raises(StoppedError):
        small_model().fit(cohort, cohort, trainer={"callbacks": [StopAt4()]}, **options)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 3
    history = small_model().fit(cohort, cohort, **options)
    scored = [row["step"] for row in history if any(name.startswith("val/") for name in row)]
    assert scored == [5, 10]


def test_deep_supervision_trains_every_output(cohort, tmp_path):
    scan, mask = tv.Input("image"), tv.Input("mask", kind="label")
    x, y = tv.RandomCrop(16)(tv.ZScore()(scan), mask)
    net = tv.Network(small_net(channels=(4, 8, 8), deep_supervision=1), outputs=2)
    seen = []

    def loss(logits, target):
        seen.append((tuple(logits.shape), tuple(target.shape), target.dtype))
        return tv.losses.CrossEntropy()(logits, target)

    outputs = net(x)
    assert len(outputs) == 2
    full = tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(16)(tv.ZScore()(scan)))[0]))
    model = tv.Model((outputs, y), {"mask": full}, loss)
    before = _weights(model)
    _fit(model, cohort, tmp_path, max_steps=2)
    assert seen[:2] == [
        ((2, 1, 16, 16, 16), (2, 1, 16, 16, 16), torch.uint8),
        ((2, 1, 8, 8, 8), (2, 1, 8, 8, 8), torch.float32),  # averaged, not thinned out
    ]
    after = _weights(model)
    heads = [k for k in after if after[k].shape[0] == 1 and after[k].ndim == 5]
    assert len(heads) == 2
    assert all(not torch.equal(before[k], after[k]) for k in heads)
    assert model.output_weights == pytest.approx([2 / 3, 1 / 3])


def test_a_2d_network_on_flat_images(tmp_path):
    cohort = cohort_on_disk(tmp_path / "flat", 2, (12, 14, 1))
    scan, mask = tv.Input("image"), tv.Input("mask", kind="label")
    x, y = tv.RandomAffine(rotation=20)(*tv.RandomCrop(8)(tv.ZScore()(scan), mask))
    net = tv.Network(tv.networks.UNet(1, 1, ndim=2, channels=(4, 8)))
    full = tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(8)(tv.ZScore()(scan)))))
    model = tv.Model((net(x), y), {"mask": full}, tv.losses.CrossEntropy())
    history = _fit(model, cohort, tmp_path / "cache", max_steps=2)
    assert np.isfinite(history[-1]["loss"])
    case = next(iter(cohort))
    out = model.predict(case)["mask"]
    assert out.grid == case.header("image").grid
    assert out.shape == (1, 12, 14, 1)


def test_settings_are_checked_before_the_run(cohort, tmp_path):
    model = small_model()
    for options, text in [
        ({}, "max_steps or max_epochs"),
        ({"max_steps": 1, "max_epochs": 1}, "max_steps or max_epochs"),
        ({"max_steps": 1, "batch_size": 0}, "positive"),
        ({"max_steps": 1, "learning_rate": -1.0}, "positive"),
        ({"max_steps": 1, "device": "tpu7"}, "device"),
    ]:
        with pytest.raises(SettingsError, match=text):
            model.fit(cohort, cache=tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(tv.CaseError, match="split 'test'"):
        model.fit(cohort.split("test"), max_steps=1)
    with pytest.raises(tv.GraphError, match="can't produce"):
        small_model(crop=7).fit(cohort, max_steps=1, cache=tmp_path)
    # Tiles that the network can't produce are refused before training, not after.
    scan, mask = tv.Input("image"), tv.Input("mask", kind="label")
    x, y = tv.RandomCrop(8)(scan, mask)
    net = tv.Network(small_net())
    model = tv.Model(
        (net(x), y),
        {"m": tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(7)(scan))))},
        tv.losses.CrossEntropy(),
    )
    with pytest.raises(tv.GraphError, match="can't produce"):
        model.fit(cohort, max_steps=1, cache=tmp_path)
