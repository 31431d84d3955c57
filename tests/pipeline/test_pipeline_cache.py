# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false, reportIndexIssue=false, reportOptionalMemberAccess=false
"""The cache of the prefix: rebuilt when anything changes, whole after a kill, the same results without it."""

from __future__ import annotations

import errno
import gc
import importlib.util
import linecache
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings
import weakref
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import Same, cohort_on_disk, evaluate

import truevox as tv
from truevox import Grid, Image, Labels
from truevox.pipeline import Cache, Draw, Frame, Node, Plan, Pointwise, Run, node
from truevox.pipeline import cache as cache_module
from truevox.pipeline import identity as identity_module
from truevox.pipeline.data import Samples

HERE = Path(__file__).resolve().parent


@pytest.fixture
def case(tmp_path) -> tv.cohort.Case:  # type: ignore[name-defined]
    cohort = cohort_on_disk(tmp_path / "cohort", 1)
    old = time.time() - 100
    for path in (tmp_path / "cohort").iterdir():
        os.utime(path, (old, old))
    return next(iter(cohort))


class Count:
    """A cache that counts what it makes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0

    def read(self, outputs: list[Node], case, *, cache: Cache | None = None) -> list[torch.Tensor]:
        """Evaluate with a fresh cache on the same folder, as a new process would."""
        cache = cache or Cache(self.folder)
        real = cache._write
        cache._write = lambda *a: (setattr(self, "made", self.made + 1), real(*a))[1]  # type: ignore[method-assign]
        return [i.data.clone() for i in evaluate(outputs, case, cache=cache)]


def prefix(low: float = 0.0, **options) -> Node:
    return tv.Clip(low, 1e6)(Same(**options)(tv.Input("image")))


def test_same_results_with_and_without(case, tmp_path):
    x, y = tv.Input("image"), tv.Input("mask", kind="label")
    outputs = list(tv.RandomAffine(rotation=9)(*tv.RandomCrop(6, centre_on=y)(tv.ZScore()(x), y)))
    outputs += [tv.ZScore()(x), tv.Resample(2.0)(y)]
    plain = evaluate(outputs, case)
    count = Count(tmp_path / "cache")
    for _ in range(2):
        for a, b in zip(plain, count.read(outputs, case), strict=True):
            assert torch.equal(a.data, b)
    assert count.made == 4  # normalised scan (used twice), label, foreground index, coarse label; each once


LOOKS = {
    "turned": lambda x, y: tv.RandomAffine(rotation=40, scaling=0.3)(x, y),
    "cropped": lambda x, y: tv.RandomFlip()(*tv.RandomCrop(6)(x, y)),
    "averaged": lambda x, y: tv.RandomCrop(5, spacing=2.7)(x, y),
    "turned and averaged": lambda x, y: tv.RandomAffine(rotation=20)(*tv.RandomCrop(5, spacing=2.7)(x, y)),
    "larger than the image": lambda x, y: tv.RandomAffine(rotation=9)(*tv.RandomCrop(24)(x, y)),
    "bent": lambda x, y: tv.RandomElastic()(*tv.RandomCrop(8)(x, y)),
    "changed between": lambda x, y: tv.RandomAffine(rotation=9)(tv.RandomNoise(5.0)(tv.RandomCrop(8)(x)), x),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["int16", "uint8", "float32"])
def test_the_same_bits_with_and_without(case, tmp_path, look, kind):
    """Whatever part of an entry is read, and as codes, integers or floats."""
    path = case.path("image")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(kind), image.affine), path)
    x, y = tv.Input("image"), tv.Input("mask", kind="label")
    outputs = list(LOOKS[look](tv.ZScore()(x), y)) + list(LOOKS[look](x, y))
    plain = evaluate(outputs, case)
    for _ in range(2):
        for a, b in zip(plain, evaluate(outputs, case, cache=Cache(tmp_path / "cache")), strict=True):
            assert a.data.dtype == b.data.dtype
            assert torch.equal(a.data, b.data)


def test_entries_keep_everything(tmp_path):
    grid = Grid((3, 4, 5), np.diag([-1, 2, 3, 1.0]))
    labels = Labels({"a": [1, 4], "b": 2}, swap=[], ignore=9)
    images = [
        Image(torch.rand(3, 3, 4, 5), grid, "probability", (1.0, 0.0, 0.5), labels),
        Image(torch.randint(0, 99, (1, 3, 4, 5), dtype=torch.int16), grid, "label", 0.0, labels),
        Image(torch.zeros((4, 0, 1, 1), dtype=torch.int32), grid, "value"),
        Image(torch.ones((1, 3, 4, 5), dtype=torch.bool), grid),
        Image(np.ones((1, 3, 4, 5), np.uint16), grid),
    ]
    for k, image in enumerate(images):
        Cache(tmp_path).image(str(k), lambda image=image: image)
        again = Cache(tmp_path).image(str(k), lambda: pytest.fail("made twice"))
        assert torch.equal(again.data, image.data)
        assert again.data.dtype == image.data.dtype
        assert (again.grid, again.kind, again.labels) == (image.grid, image.kind, image.labels)
        assert np.array_equal(again.fills(), image.fills())


def test_writing_to_what_was_read_does_not_reach_the_file(tmp_path):
    image = Image(torch.ones(1, 2, 2, 2), Grid((2, 2, 2)))
    Cache(tmp_path).image("a", lambda: image).data.zero_()
    assert float(Cache(tmp_path).image("a", lambda: image).data.min()) == 1.0


def test_no_file_stays_open(tmp_path):
    cache = Cache(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    kept = [cache.image(str(k), lambda: Image(torch.ones(1, 2, 2, 2), Grid((2, 2, 2)))) for k in range(30)]
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert len(kept) == 30


def _rewrite(path: Path, add: float) -> None:
    image = nib.load(path)
    data = np.asarray(image.dataobj) + np.float32(add)
    nib.save(nib.Nifti1Image(data, image.affine), path)


def test_rebuilt_when_a_file_changes(case, tmp_path):
    count = Count(tmp_path / "cache")
    (first,) = count.read([prefix()], case)
    assert count.made == 1
    path = case.path("image")
    stat = path.stat()
    _rewrite(path, 5)
    (second,) = count.read([prefix()], case)
    assert count.made == 2
    torch.testing.assert_close(second, first + 5)
    # An edit that restores size and modification time moves only the time of change.
    _rewrite(path, 5)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert path.stat().st_size == stat.st_size
    (third,) = count.read([prefix()], case)
    torch.testing.assert_close(third, first + 10)


def test_a_fresh_file_is_hashed_and_verify_hashes_all(case, monkeypatch):
    path = case.path("image")
    monkeypatch.setattr(cache_module, "FRESH_S", -1.0)
    old = cache_module.file_identity(path)
    assert cache_module.file_identity(path) == old
    assert cache_module.file_identity(path, verify=True) != old
    monkeypatch.setattr(cache_module, "FRESH_S", 1e9)
    fresh = cache_module.file_identity(path)
    assert fresh == cache_module.file_identity(path, verify=True)
    # The same times and size with other bytes: only the hash tells.
    stat = path.stat()
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache_module.file_identity(path) != fresh


def test_rebuilt_when_a_parameter_or_the_wiring_changes(case, tmp_path):
    count = Count(tmp_path / "cache")
    count.read([prefix(0.0)], case)
    count.read([prefix(90.0)], case)
    assert count.made == 2
    count.read([prefix(90.0, name="named")], case)  # a name changes draws, not values
    assert count.made == 2
    count.read([Same()(tv.Clip(90.0, 1e6)(tv.Input("image")))], case)
    assert count.made == 3


USER = """
import numpy as np
from truevox.pipeline import Pointwise, node

class Base(Pointwise):
    def shift(self):
        return {shift}

@node
class Shift(Base):
    table: object = None

    def values(self, frame, rng):
        return lambda x: x + {factor} * self.shift()
"""


def _user_node(folder: Path, shift: float, factor: float, tag: str):
    """Import a user's module as a new process would."""
    import importlib.util

    path = folder / f"user_{tag}.py"
    path.write_text(USER.format(shift=shift, factor=factor))
    spec = importlib.util.spec_from_file_location(f"user_{tag}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Shift


def test_rebuilt_when_the_source_of_a_user_node_or_its_base_changes(case, tmp_path):
    count = Count(tmp_path / "cache")
    (plain,) = evaluate([tv.Input("image")], case)
    for k, (shift, factor, made) in enumerate([(1, 1, 1), (1, 1, 1), (1, 2, 2), (3, 2, 3)]):
        shifted = _user_node(tmp_path, shift, factor, str(k))()
        (got,) = count.read([shifted(tv.Input("image"))], case)
        torch.testing.assert_close(got, plain.data + shift * factor)
        assert count.made == made


def test_long_arrays_as_parameters_are_told_apart(case, tmp_path):
    """repr() leaves out the middle of a long array."""
    count = Count(tmp_path / "cache")
    user = _user_node(tmp_path, 1, 1, "array")
    table = np.zeros(5000)
    count.read([user(table=table)(tv.Input("image"))], case)
    table = table.copy()
    table[2500] = 1
    count.read([user(table=table)(tv.Input("image"))], case)
    assert count.made == 2


def test_what_can_not_be_identified_is_not_cached_with_one_warning(case, tmp_path):
    scope: dict[str, object] = {"Pointwise": Pointwise, "node": node, "__name__": "nowhere"}
    exec(
        "import threading\nlock = threading.Lock()\n"
        "@node\nclass Hidden(Pointwise):\n    def values(self, frame, rng):\n        return lock and abs\n",
        scope,
    )
    count = Count(tmp_path / "cache")
    out = scope["Hidden"]()(tv.Input("image"))  # type: ignore[operator]
    plan = Plan([out])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            Run(plan, cache=Cache(tmp_path / "cache")).values(out, Frame([case], [Draw(0, 0)]))[0].image()
    assert [str(w.message).split(" can't")[0] for w in caught] == [
        "Hidden is not cached, because lock (lock)"
    ]
    assert not (tmp_path / "cache").exists()
    with pytest.warns(UserWarning, match="its parameters"):
        count.read([_user_node(tmp_path, 1, 1, "opaque")(table=lambda: 1)(tv.Input("image"))], case)
    assert count.made == 0


WRITER = """
import sys
import torch
from truevox import Grid, Image
from truevox.pipeline import Cache

def make():
    print("making", flush=True)
    sys.stdin.readline()
    return Image(torch.full((1, 64, 64, 64), 7.0), Grid((64, 64, 64)))

print(float(Cache({folder!r}).image("key", make).data.mean()), flush=True)
"""


def _process(folder: Path, code: str = WRITER) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code.format(folder=str(folder))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_two_processes_build_the_same_entry_at_once(tmp_path):
    both = [_process(tmp_path), _process(tmp_path)]
    for p in both:
        assert p.stdout is not None
        assert p.stdout.readline() == "making\n"  # neither has found an entry
    for p in both:
        out, _ = p.communicate("\n", timeout=60)
        assert out == "7.0\n"
        assert p.returncode == 0
    entries = [e.name for e in tmp_path.glob("*/*")]
    assert len(entries) == 1
    assert not entries[0].startswith(".")


KILLED = WRITER.replace(
    "print(float",
    """
import os, signal
from pathlib import Path
Path.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
print(float""",
)


def test_a_killed_writer_leaves_no_broken_entry(tmp_path):
    p = _process(tmp_path, KILLED)
    p.communicate("\n", timeout=60)
    assert p.returncode == -signal.SIGKILL
    left = list(tmp_path.glob("*/.making-*"))
    assert len(left) == 1
    assert left[0].stat().st_size > 0  # killed between the voxels and their name
    good = Image(torch.full((1, 4, 4, 4), 3.0), Grid((4, 4, 4)))
    assert float(Cache(tmp_path).image("key", lambda: good).data.mean()) == 3.0
    # What killed processes left goes when it is old.
    os.utime(left[0], (0, 0))
    cache_module._sweep(left[0].parent)
    assert not left[0].exists()


def _one(value: float = 1.0) -> Image:
    return Image(torch.full((1, 2, 2, 2), value), Grid((2, 2, 2)))


def test_a_folder_that_can_not_be_written_is_told_and_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file")
    with pytest.warns(UserWarning, match="did not help.*Remedy.*TRUEVOX_CACHE"):
        assert float(cache.image("key", _one).data.sum()) == 8
    assert sum(cache.remarks.values()) == 1


@pytest.mark.parametrize("why", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO", "ESTALE"])
@pytest.mark.parametrize("when", ["mkdir", "write", "replace"])
def test_a_disk_that_fails_is_told_and_done_without(tmp_path, monkeypatch, why, when):
    number = getattr(errno, why)

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    target = (cache_module, "write_chunks") if when == "write" else (Path, when)
    monkeypatch.setattr(*target, fail)
    cache, made = Cache(tmp_path / "c"), []

    def make() -> Image:
        made.append(1)
        return _one(3)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [float(cache.image("key", make).data.sum()) for _ in range(3)] == [24, 24, 24]
    assert ["did not help" in str(w.message) for w in caught] == [True]  # once, and one write was tried
    assert len(made) == 3
    assert not any(p.is_file() for p in tmp_path.rglob("*"))
    monkeypatch.undo()
    cache._no_writes_before = 0.0
    cache.image("key", _one)
    assert len(_entries(tmp_path / "c")) == 1


LIMITED = """
import resource, signal
import numpy as np
from truevox import Grid, Image
from truevox.pipeline import Cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).random((1, 32, 32, 32), dtype=np.float32)
cache = Cache({folder!r})
print((cache.image("key", lambda: Image(noise, Grid((32, 32, 32)))).numpy() == noise).all())
print(*cache.remarks)
"""


def test_a_file_that_the_system_cuts_off_leaves_nothing(tmp_path):
    """The limit on the size of a file acts as a disk does that is full in the middle of a chunk."""
    out, _ = _process(tmp_path, LIMITED).communicate(timeout=60)
    assert out.splitlines()[0] == "True"
    assert "it can't be written (File too large)" in out
    assert not any(p.is_file() for p in tmp_path.rglob("*"))


# ---- entries that are damaged, gone or too many ---------------------------------------------------------


def _scan(seed: int = 0, shape: tuple[int, int, int] = (20, 18, 16)) -> Image:
    return Image(np.random.default_rng(seed).random((1, *shape), dtype=np.float32), Grid(shape))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*{cache_module.SUFFIX}"))


@pytest.mark.parametrize("kind", ["cut", "flip", "empty", "other"])
@pytest.mark.parametrize("reader", ["same", "new"])
def test_a_damaged_entry_is_made_again_with_a_remark(tmp_path, kind, reader):
    cache, made = Cache(tmp_path), []

    def make() -> Image:
        made.append(1)
        return _scan()

    first = cache.image("key", make)
    (path,) = _entries(tmp_path)
    raw = path.read_bytes()
    path.write_bytes({
        "cut": raw[:90], "empty": b"", "other": b"x" * len(raw),
        "flip": raw[:90] + bytes([raw[90] ^ 4]) + raw[91:],
    }[kind])  # fmt: skip
    cache = cache if reader == "same" else Cache(tmp_path)
    assert torch.equal(cache.image("key", make).data, first.data)
    assert cache.remarks == {"a damaged cache entry was made again": 1}
    assert len(made) == 2
    assert torch.equal(Cache(tmp_path).image("key", make).data, first.data)
    assert len(made) == 2


def test_an_entry_of_an_older_version_is_not_read(tmp_path):
    """It was a folder of the key's name, without a suffix."""
    Cache(tmp_path).image("key", _scan)
    (path,) = _entries(tmp_path)
    path.unlink()
    path.with_suffix("").mkdir()
    (path.with_suffix("") / "meta.json").write_text("{}")
    assert torch.equal(Cache(tmp_path).image("key", _scan).data, _scan().data)


def test_an_entry_that_another_process_removes_is_made_again(tmp_path):
    cache, count = Cache(tmp_path), []
    for _ in range(3):
        got = cache.image("key", lambda: (count.append(1), _scan())[1])
        assert torch.equal(got.data, _scan().data)
        _entries(tmp_path)[0].unlink()
    assert len(count) == 3
    assert not cache.remarks


def test_a_run_survives_the_loss_of_its_entries(case, tmp_path):
    """The files are read again, although the run let go of them."""
    x = tv.RandomCrop(6)(tv.ZScore()(tv.Input("image")))
    p = tv.Network(torch.nn.Conv3d(1, 1, 1))(x)
    y = tv.Input("image")
    samples = Samples(Plan([p, y]), [case], [(p, y)], 0, Cache(tmp_path / "cache"))
    before = [samples[k]["nodes"][0]["data"] for k in range(4)]
    for entry in _entries(tmp_path / "cache"):
        entry.unlink()
    again = [samples[k] for k in range(4)]
    for a, b in zip(before, again, strict=True):
        assert torch.equal(a, b["nodes"][0]["data"])
    (entry, *_) = _entries(tmp_path / "cache")
    entry.write_bytes(entry.read_bytes()[:100])
    said = [r for k in range(4) for r in samples[k]["remarks"]]
    assert said == ["a damaged cache entry was made again"]


def test_the_least_recently_used_go_first(tmp_path):
    size = None
    limit = 1e-9
    for k in range(12):
        cache = Cache(tmp_path, limit_gb=limit if size is not None else 1)
        assert torch.equal(cache.image(str(k), lambda k=k: _scan(k)).data, _scan(k).data)
        if size is None:
            size = _entries(tmp_path)[0].stat().st_size
            limit = 5 * size / 1e9
        # One second apart, as the clocks of some disks tell no less.
        for path in _entries(tmp_path):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 1))
        Cache(tmp_path, limit_gb=1).image("0", lambda: pytest.fail("0 was in use all the time"))
        assert sum(p.stat().st_size for p in _entries(tmp_path)) <= 5 * size
    made = []
    for k in range(12):
        Cache(tmp_path, limit_gb=1).image(str(k), lambda k=k: (made.append(k), _scan(k))[1])
    assert made == [*range(1, made[-1] + 1)]  # those from the middle; the last ones are still there
    assert 6 <= made[-1] < 11


def test_more_than_the_limit_in_one_entry_is_no_error(tmp_path):
    cache = Cache(tmp_path, limit_gb=1e-6)
    for _ in range(2):
        for k in range(3):
            assert torch.equal(cache.image(str(k), lambda k=k: _scan(k)).data, _scan(k).data)


def test_the_limit_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRUEVOX_CACHE_LIMIT", "2.5")
    assert Cache(tmp_path).limit_gb == 2.5
    assert Cache(tmp_path, limit_gb=7).limit_gb == 7
    for wrong in ("many", "-1", "0", "nan"):
        monkeypatch.setenv("TRUEVOX_CACHE_LIMIT", wrong)
        with pytest.raises(tv.FileError, match="gigabytes"):
            Cache(tmp_path)


def test_noise_is_compressed_harder_where_it_would_pass_its_files(tmp_path):
    rough = Image(np.random.default_rng(0).normal(0, 40, (1, 64, 64, 64)).astype(np.int16), Grid((64,) * 3))
    sizes = []
    for most in (None, 1):
        Cache(tmp_path / str(most)).image("key", lambda: rough, most_bytes=most)
        (path,) = _entries(tmp_path / str(most))
        sizes.append(path.stat().st_size)
        assert torch.equal(Cache(path.parents[1]).image("key", lambda: pytest.fail("made")).data, rough.data)
    assert sizes[1] < 0.9 * sizes[0]


# ---- folders that several users share -------------------------------------------------------------------


def _refuses(monkeypatch, path: Path) -> None:
    """As if another user had written the entry for herself: tests may run as root, who may read anything."""
    real = Path.open

    def opened(self, *args, **kwargs):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)


def test_what_another_user_keeps_for_herself_is_not_damaged(tmp_path, monkeypatch):
    Cache(tmp_path).image("key", _one)
    (theirs,) = _entries(tmp_path)
    before = theirs.read_bytes()
    _refuses(monkeypatch, theirs)
    cache, made = Cache(tmp_path), []
    for _ in range(3):
        cache.image("key", lambda: (made.append(1), _one())[1])
    assert len(made) == 1  # an entry of our own lies beside it
    assert not cache.remarks
    monkeypatch.undo()
    assert theirs.read_bytes() == before
    assert len(_entries(tmp_path)) == 2


def test_a_damaged_entry_that_can_not_be_removed_is_made_beside(tmp_path, monkeypatch):
    Cache(tmp_path).image("key", _one)
    (theirs,) = _entries(tmp_path)
    theirs.write_bytes(b"x" * 100)

    def refuse(self, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    cache = Cache(tmp_path)
    assert float(cache.image("key", _one).data.sum()) == 8
    assert theirs.read_bytes() == b"x" * 100


def test_a_read_only_folder_is_read(tmp_path, monkeypatch):
    Cache(tmp_path).image("key", _one)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("unlink", "mkdir", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "utime", refuse)
    cache = Cache(tmp_path)
    assert float(cache.image("key", lambda: pytest.fail("made")).data.sum()) == 8
    assert not cache.remarks


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_entries_honour_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        Cache(tmp_path / "c").image("key", _one)
    finally:
        os.umask(before)
    (entry,) = _entries(tmp_path / "c")
    assert entry.stat().st_mode & 0o777 == 0o666 & ~mask
    assert entry.parent.stat().st_mode & 0o777 == 0o777 & ~mask


def test_room_is_not_made_by_removing_what_others_keep(tmp_path, monkeypatch):
    Cache(tmp_path).image("theirs", _scan)
    (theirs,) = _entries(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path != theirs)
    Cache(tmp_path, limit_gb=1e-9).image("mine", _scan)
    assert theirs.exists()


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    cache = Cache(tmp_path / "c")
    cache.image("a", _one)
    shutil.rmtree(tmp_path / "c")
    assert float(cache.image("a", _one).data.sum()) == 8
    assert float(cache.image("b", _one).data.sum()) == 8
    assert len(_entries(tmp_path / "c")) == 2
    assert not cache.remarks


def test_a_file_that_changes_while_it_is_read_is_not_kept(case, tmp_path):
    """What was read belongs to neither the old file nor, for sure, to the new one."""
    path = case.path("image")
    node = prefix()
    run = Run(Plan([node]), cache=Cache(tmp_path / "cache"))
    (lazy,) = run.values(node, Frame([case], [Draw(0, 0)]))
    _rewrite(path, 5)
    lazy.image()
    assert not _entries(tmp_path / "cache")
    assert list(run.cache.remarks) == ["a file changed while it was read, and its image was not kept"]


# ---- code and versions ----------------------------------------------------------------------------------


def _module(folder: Path, name: str, text: str):
    """A module of a user's, imported from its file."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


CODE = """
    import functools
    import numpy as np
    from truevox.pipeline import Pointwise, node
    import {helpers} as h

    TABLE = np.arange(3.0)
    {constant}

    def inner(x, by={default}):
        return x * by

    def outer(x):
        return inner(x) + CONSTANT

    def maker(by):
        return lambda x: x + by

    class Counter:
        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            return x * self.by

    shifted, counted, partial = maker({closure}), Counter({state}), functools.partial(inner, by={part})

    @node
    class Mine(Pointwise):
        table: object = None

        def values(self, frame, rng):
            return lambda x: outer(x) + h.helper(x) + shifted(x) + counted(x) + partial(x) + TABLE[1]
"""
SAME = {"constant": "CONSTANT = 1", "default": 2, "closure": 3, "state": 4, "part": 5}


def _key(tmp_path: Path, case, helper: str = "return x + 1", **changes) -> str:
    """Key of a node whose modules were written and imported anew."""
    _module(tmp_path, "my_helpers", f"def helper(x):\n    {helper}\ndef unused(x):\n    return 0\n")
    module = _module(tmp_path, "my_nodes", CODE.format(helpers="my_helpers", **SAME | changes))
    out = module.Mine()(tv.Input("image"))
    key = Plan([out]).cache_key(out.call, 0, case)
    assert key is not None
    return key


def test_what_a_node_uses_is_part_of_its_key(case, tmp_path):
    base = _key(tmp_path, case)
    assert _key(tmp_path, case) == base
    changed = [
        {"constant": "CONSTANT = 2"}, {"default": 7}, {"closure": 7}, {"state": 7}, {"part": 7},
        {"helper": "return x + 2"},
    ]  # fmt: skip
    found = {_key(tmp_path, case, **change) for change in changed}
    assert len(found | {base}) == len(changed) + 1


def test_an_edit_during_a_run_changes_nothing_until_the_next_import(case, tmp_path):
    user = _user_node(tmp_path, 1, 1, "edited")
    before = Plan([user()(tv.Input("image"))])
    key = before.cache_key(before.outputs[0].call, 0, case)
    path = tmp_path / "user_edited.py"
    path.write_text(path.read_text().replace("return 1", "return 2"))
    linecache.checkcache(str(path))
    after = Plan([user()(tv.Input("image"))])  # the old code still, and its key
    assert after.cache_key(after.outputs[0].call, 0, case) == key
    fresh = Plan([_user_node(tmp_path, 2, 1, "edited")()(tv.Input("image"))])
    assert fresh.cache_key(fresh.outputs[0].call, 0, case) != key


def test_versions_are_part_of_the_key(case, monkeypatch):
    def key() -> str:
        out = tv.ZScore()(tv.Input("image"))
        found = Plan([out]).cache_key(out.call, 0, case)
        assert found is not None
        return found

    first = key()
    assert key() == first
    monkeypatch.setattr(identity_module, "software", lambda: "truevox 99.0")
    identity_module.library.cache_clear()
    assert key() != first
    monkeypatch.undo()
    identity_module.library.cache_clear()
    assert key() == first


def test_a_parameter_that_is_a_file_stands_for_its_content(tmp_path):
    (tmp_path / "table.txt").write_text("1")
    before = identity_module.identity(tmp_path / "table.txt")
    (tmp_path / "table.txt").write_text("2")
    assert identity_module.identity(tmp_path / "table.txt") != before


def test_a_folder_or_a_pair_changes_with_any_of_its_files(tmp_path):
    for k in range(3):
        (tmp_path / "series" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "series" / "a" / f"{k}.dcm").write_bytes(b"x" * 10)
    (tmp_path / "p.hdr").write_bytes(b"h")
    (tmp_path / "p.img").write_bytes(b"i")
    for name, part in (("series", "series/a/1.dcm"), ("p.hdr", "p.img"), ("p.img", "p.hdr")):
        before = cache_module.file_identity(tmp_path / name)
        assert cache_module.file_identity(tmp_path / name) == before
        (tmp_path / part).write_bytes(b"y" * 10)
        assert cache_module.file_identity(tmp_path / name) != before


def test_sources_are_not_kept_in_memory_once_cached(tmp_path, monkeypatch):
    """A cohort's raw images must not pile up while the cache is built."""
    cohort = cohort_on_disk(tmp_path / "cohort", 3)
    loaded: list[weakref.ref] = []
    kind = type(next(iter(cohort)))
    real = kind.load

    def load(self, *args, **kwargs):
        image = real(self, *args, **kwargs)
        loaded.append(weakref.ref(image.data))
        return image

    monkeypatch.setattr(kind, "load", load)
    x, y = tv.RandomCrop(6)(tv.ZScore()(tv.Input("image")), tv.Input("mask", kind="label"))
    net = tv.Network(torch.nn.Conv3d(1, 1, 1))
    p = net(x)
    samples = Samples(Plan([p, y]), list(cohort), [(p, y)], 0, Cache(tmp_path / "cache"))
    for number in range(3):
        assert isinstance(samples[number], dict)
    gc.collect()
    assert len(loaded) == 6
    assert sum(ref() is not None for ref in loaded) == 0
