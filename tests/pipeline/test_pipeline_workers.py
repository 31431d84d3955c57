# pyright: reportIndexIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Workers: their deaths are told, their batches are those of the main process, their memory stays flat."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import cohort_on_disk
from torch.utils.data import get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

import truevox as tv
from truevox import kernels
from truevox.cohort import Case
from truevox.pipeline import Cache, Plan, Pointwise, node
from truevox.pipeline.data import Samples, Steps, batches, frame_of_batch
from truevox.pipeline.workers import WorkerError


@pytest.fixture
def impatient(monkeypatch):
    """The main process looks after its workers more often than every five seconds."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.3,))


@node
class Deadly(Pointwise):
    """Ends its own process when its voxels are made, if it is a worker."""

    code: int = signal.SIGKILL

    def values(self, frame, rng):
        def apply(x):
            if get_worker_info() is not None:
                if self.code < 0:
                    os._exit(-self.code)
                os.kill(os.getpid(), self.code)
            return x

        return apply


def _samples(cohort: tv.Cohort, cache: Path | None = None, between=lambda x: x) -> Samples:
    x, y = tv.RandomCrop(6)(between(tv.Input("image")), tv.Input("mask", kind="label"))
    x, y = tv.RandomAffine(rotation=9)(x, y)
    p = tv.Network(torch.nn.Conv3d(1, 1, 1))(tv.RandomNoise(1.0)(x))
    return Samples(Plan([p, y]), list(cohort), [(p, y)], 0, None if cache is None else Cache(cache))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (signal.SIGKILL, "SIGKILL", "fewer workers"),
        (signal.SIGSEGV, "SIGSEGV", "--workers 0"),
        (-7, "code 7", "--workers 0"),
    ],
)
def test_a_dead_worker_names_sample_case_node_signal_and_memory(tmp_path, code, said, remedy):
    cohort = cohort_on_disk(tmp_path, 1)
    samples = _samples(cohort, between=lambda x: tv.Clip(0, 1e6)(Deadly(code)(tv.Clip(0, 1e6)(x))))
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(WorkerError) as caught:
        next(iter(batches(samples, Steps(0, 8, 2), workers=1)))
    error = caught.value
    assert said in error.message
    assert "sample 0" in error.message
    assert (error.case, error.node) == ("c0", "Deadly.1")
    assert remedy in error.remedy
    assert 20 < float(str(error.got).split()[2]) < 20_000
    assert signal.getsignal(signal.SIGCHLD) is before


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_dies_late_names_its_own_sample(tmp_path):
    """The other worker's line is not taken for it; nothing is lost before."""

    @node
    class Later(Pointwise):
        random = True

        def values(self, frame, rng):
            draw = rng.random()
            return lambda x: os.kill(os.getpid(), signal.SIGKILL) if get_worker_info().id == 1 else x + draw

    samples = _samples(cohort_on_disk(tmp_path, 2), between=lambda x: Later()(x))
    loader = iter(batches(samples, Steps(0, 4, 1), workers=2))
    assert next(loader)["number"] == [0]
    with pytest.raises(WorkerError, match=r"Worker 2 of 2 .* at sample 1") as caught:
        list(loader)
    assert caught.value.node == "Later.1"


def test_batches_are_the_same_with_and_without_workers(tmp_path):
    cohort = cohort_on_disk(tmp_path / "cohort", 3)
    found = []
    for workers, cache in ((0, None), (0, tmp_path / "cache"), (2, tmp_path / "cache"), (2, None)):
        samples = _samples(cohort, cache, tv.ZScore())
        found.append(list(batches(samples, Steps(0, 5, 2), workers)))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a["number"] == b["number"]
            assert torch.equal(a["nodes"][0]["data"], b["nodes"][0]["data"])
            assert torch.equal(a["targets"][0], b["targets"][0])


def test_forked_workers_share_the_compiled_code(tmp_path, monkeypatch):
    linked = []
    monkeypatch.setattr(kernels, "link", lambda: linked.append(os.getpid()))
    samples = _samples(cohort_on_disk(tmp_path, 1))
    batches(samples, Steps(0, 1, 1), workers=0)
    assert not linked
    for method, before in (("spawn", []), ("fork", [os.getpid()])):
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda method=method: method)
        batches(samples, Steps(0, 1, 1), workers=1)
        assert linked == before


FLAT = """
import gc, resource, sys, tracemalloc
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
import torch
torch.set_num_threads(1)
from helpers import cohort_on_disk
from test_pipeline_workers import _samples
import truevox as tv
from truevox.pipeline import cache, data, run
cache.KEPT_OPEN, cache.KEPT_TABLES, data.KEPT_PLACES = 8, 2, 16
folder, cases = Path({folder!r}), 20
samples = _samples(cohort_on_disk(folder / "cohort", cases), folder / "cache", tv.ZScore())

def rss():
    gc.collect()
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1])

def epoch(k):
    for n in range(k * cases, (k + 1) * cases):
        assert isinstance(samples[n], dict), samples[n]

epoch(0)
tracemalloc.start(1)
for k in range(1, 4):
    epoch(k)
    gc.collect()
    now = tracemalloc.get_traced_memory()[0], rss()
    print(*now)
"""


def test_memory_is_flat_over_epochs(tmp_path):
    """Of a cohort that is larger than what is kept of its entries and headers."""
    tests = Path(__file__).resolve().parents[1]
    code = FLAT.format(tests=str(tests), here=str(tests / "pipeline"), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    python, resident = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert max(python) - python[0] < 200_000  # bytes; one scan of the 20 is 7000
    assert max(resident) - resident[0] < 4096  # KiB


def test_pixels_of_a_batch_are_still_no_millimetres(tmp_path):
    tv.save(tv.Image(torch.rand(1, 8, 8, 1), tv.Grid((8, 8), unit="px")), tmp_path / "a.nii")
    case = Case("p1", {"image": tmp_path / "a.nii"})
    x = tv.RandomCrop((4, 4, 1))(tv.Input("image"))
    p = tv.Network(torch.nn.Conv2d(1, 1, 1))(x)
    samples = Samples(Plan([p]), [case], [], 0, None)
    samples.nodes = [x]
    batch = next(iter(batches(samples, Steps(0, 1, 2))))
    frame = frame_of_batch(batch, [x], [case], 0)
    assert [values[0].grid.unit for values in frame.memo[x.call]] == ["px", "px"]
