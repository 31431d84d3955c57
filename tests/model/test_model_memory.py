# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""A prediction's memory: stated before the run, and kept below a limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import affine_of, cohort_on_disk, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import truevox as tv
from truevox import Grid, Image, Labels, SettingsError
from truevox.model.heap import kept_heap
from truevox.model.memory import as_bytes, resident
from truevox.pipeline.volumes import Volumes, blocks, mirror

SCRIPT = """
import json, sys
import numpy as np, torch, truevox as tv
from torch import nn
from truevox.model.heap import kept_heap
from truevox.model.memory import peak_since, resident, start_peak
torch.set_num_threads(1)
classes, size = 24, 128
labels = tv.Labels({{f"l{{k}}": k for k in range(1, classes)}})
net = nn.Conv3d(1, classes, 1)
scan = tv.Input("scan", channels=1)
tiles = tv.GridCrop(48, overlap=0.0)(scan)
full = tv.Put(like=scan)(tv.Softmax()(tv.Network(net, labels=labels)(tiles)))
model = tv.Model(None, {{"organs": full}})
affine = np.diag([-1.0, -1.0, 1.0, 1.0])
image = tv.Image(torch.rand(1, size, size, size), tv.Grid((size,) * 3, affine))
with torch.no_grad():
    wanted = net(image.data[None, :, 60:80, 60:80, 60:80])[0].softmax(0)
for extra in (None, 150):
    limit = None if extra is None else resident() + extra * 2**20
    plan = model.memory({{"scan": image}}, max_memory=limit)
    held = start_peak()
    out = model.predict({{"scan": image}}, max_memory=limit, scratch={scratch!r})["organs"]
    peak = peak_since(held)
    worst = float((out.data[:, 60:80, 60:80, 60:80] - wanted).abs().max())
    print(json.dumps({{"plan": plan.total, "disk": plan.disk, "peak": peak, "held": held, "limit": limit,
        "worst": worst, "grid": out.grid.same_as(image.grid)}}))
    del out
"""

INTERPOLATING = """
import json
import torch, truevox as tv
from truevox.model.memory import peak_since, resident, start_peak
torch.set_num_threads(1)
scan = tv.Input("scan", channels=1)
net = tv.Network(torch.nn.Conv3d(1, 4, 1), labels=tv.Labels({"a": 1, "b": 2, "c": 3}))
full = tv.Put(like=scan)(tv.Softmax()(net(tv.GridCrop(32)(tv.Resample(1.5)(scan)))))
model = tv.Model(None, {"organs": full})
case = {"scan": tv.Image(torch.rand(1, 96, 96, 96), tv.Grid((96, 96, 96)))}
plan = model.memory(case).total
limit = resident() + int(1.25 * plan)
held = start_peak()
model.predict(case, max_memory=limit)
print(json.dumps({"plan": plan, "peak": peak_since(held), "held": held, "limit": limit}))
"""
needs_peak = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process needs Linux"
)


def printed(code: str, **environment: str) -> list[dict]:
    """What a process of its own prints, a line of JSON each."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_peak
def test_a_plan_holds_on_a_fresh_installation_too(tmp_path):
    """Compiling the loops that interpolate takes more than this prediction: it comes before the plan."""
    folder = tmp_path / "compiled"
    folder.mkdir()
    for fresh in (True, False):
        assert fresh == (not any(folder.rglob("*.nbc")))
        (found,) = printed(INTERPOLATING, NUMBA_CACHE_DIR=str(folder))
        assert found["peak"] <= 1.2 * found["plan"]
        assert found["held"] + found["peak"] <= found["limit"]


@needs_peak
def test_whole_volumes_in_files_keep_a_limit_that_memory_would_break(tmp_path):
    free, limited = printed(SCRIPT.format(scratch=str(tmp_path / "scratch")))
    whole = 4 * 25 * 128**3  # 24 classes and the weights: 200 MiB
    # As planned without a limit, within a fifth of what the process took.
    assert free["plan"] == pytest.approx(free["peak"], rel=0.2)
    assert free["peak"] > whole
    assert limited["disk"] == whole
    assert limited["held"] + limited["peak"] <= limited["limit"]
    for found in (free, limited):
        assert found["worst"] < 1e-6
        assert found["grid"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_limit_that_nothing_keeps_says_the_least(tmp_path):
    case = next(iter(cohort_on_disk(tmp_path, 1)))
    model = small_model()
    with pytest.raises(SettingsError, match="does not fit") as caught:
        model.predict(case, max_memory=resident() // 2)
    least = int(str(caught.value.expected).split()[2]) + 8
    assert model.predict(case, max_memory=f"{least}MiB")["mask"].grid == case.header("image").grid
    with pytest.raises(SettingsError, match="no size"):
        model.predict(case, max_memory="two gigabytes")


def test_a_limit_makes_batches_smaller_first():
    x = tv.Input("image", channels=1)
    net = tv.Network(tv.networks.UNet(1, 1, channels=(8, 16)))
    model = tv.Model(None, {"o": tv.Put(like=x)(tv.Sigmoid()(net(tv.GridCrop(64)(x))))})
    case = {"image": Image(torch.zeros(1, 64, 64, 128), Grid((64, 64, 128)))}
    whole, single = model.memory(case, 8), model.memory(case, 1)
    room = resident() + int(1.2 * (whole.total + single.total) / 2)
    plan = model.memory(case, 8, max_memory=room)
    assert 1 <= plan.batch_size < 8
    assert not plan.on_disk


def test_one_patch_at_a_time_is_the_default_on_a_cpu(tmp_path):
    case = next(iter(cohort_on_disk(tmp_path, 1)))
    assert small_model().memory(case).batch_size == 1


@given(st.integers(1, 999), st.sampled_from([("KiB", 2**10), ("MB", 10**6), ("GiB", 2**30), ("", 1)]))
def test_sizes_in_words(number: int, unit: tuple[str, int]):
    assert as_bytes(f"{number}{unit[0]}") == as_bytes(f" {number} {unit[0].lower()} ") == number * unit[1]


@given(
    st.lists(st.integers(1, 6), min_size=4, max_size=4),
    st.lists(st.integers(0, 2), unique=True, max_size=3),
    st.booleans(),
)
def test_turning_in_place_is_numpys_flip(shape, axes, on_disk: bool):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    volume = Volumes(tempfile.gettempdir() if on_disk else None).zeros(shape)
    volume.copy_(torch.from_numpy(values))
    turned = mirror(volume, axes)
    np.testing.assert_array_equal(turned.numpy(), np.flip(values, tuple(1 + a for a in axes)))
    parts = np.zeros_like(values)
    for where, part in blocks(turned):
        parts[:, where[0], where[1]] = part.numpy()
    np.testing.assert_array_equal(parts, turned.numpy())


@pytest.mark.parametrize("codes", ["LPS", "SAR", "PIL"])
def test_two_outputs_that_share_a_volume_both_come_back(codes: str):
    """One output is turned into storage order in place; what another is made of must not be."""
    grid = Grid((8, 7, 6), affine_of(codes, (1, 1.5, 2), (3, 4, 5)))
    x = Image(torch.rand(1, *grid.shape), grid)
    scan = tv.Input("scan", channels=1)
    net = tv.Network(nn.Conv3d(1, 1, 1), labels=Labels({"a": 1}))
    full = tv.Put(like=scan)(net(tv.GridCrop(4)(scan)))
    out = tv.Model(None, {"a": full, "b": tv.Sigmoid()(full), "c": full}).predict({"scan": x})
    wanted = net.module(x.data[None])[0].detach()
    torch.testing.assert_close(out["a"].data, wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(out["c"].data, wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(out["b"].data, wanted.sigmoid(), atol=1e-6, rtol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what a process holds now needs Linux")
def test_a_volume_goes_back_to_the_system_with_its_owner():
    """Whatever else was allocated while it lived: the heap would keep its place."""
    with kept_heap():
        volume = Volumes().zeros((1, 64, 256, 256)).add_(1)
        later = torch.ones(2**16)
    held = resident()
    assert float(volume.sum()) == volume.numel()
    del volume
    assert held - resident() > 0.9 * 4 * 64 * 256 * 256
    assert float(later.sum()) == 2**16


def test_memory_without_room_is_told():
    with pytest.raises(MemoryError, match=r"1048576\.0 GiB"):
        Volumes().zeros((2**18, 2**10, 2**20))


def test_a_disk_without_room_is_told(tmp_path):
    with pytest.raises(tv.FileError, match="GiB"):
        Volumes(tmp_path).zeros((2**20, 2**10, 2**10))
    assert list(tmp_path.iterdir()) == []
