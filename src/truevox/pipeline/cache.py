"""The cache of the deterministic prefix: compressed images on disk, made once per case, read in parts.

An entry is one file, written under a temporary name and renamed when whole. So two processes may build it
at once (both hold the same image), and a process that dies leaves only a temporary file, which a later run
removes. What is read is checked: an entry that is damaged, cut off or gone is made again.

A cache saves time and decides nothing: where it can't be read or written (a full disk, a folder of others)
the run goes on without it, and says so. What another user does not let us read is not damaged; it stays,
and we keep an entry of our own beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from truevox.errors import FileError, TrueVoxError
from truevox.image import Image
from truevox.io.registry import bare, sources
from truevox.labels import Labels
from truevox.pipeline.chunks import ChunkedArray, DamagedError, write_chunks
from truevox.sampling import Box, Touched
from truevox.space import Grid

__all__ = ["Cache", "Recent", "default_folder", "file_identity", "file_stamps", "files_of", "part_of"]

K = TypeVar("K")
V = TypeVar("V")
FRESH_S = 2.0
"""A file changed less than this ago may change again within the clock's resolution: it is hashed too."""
STALE_S = 3600.0
"""A temporary file older than this was left by a process that died."""
MARK_S = 60.0
"""How often an entry in use is marked as used."""
RETRY_S = 60.0
"""After a write that failed, none is tried for so long."""
SUFFIX = ".tvc"
LIMIT_GB = 100.0
KEPT_OPEN = 256
"""Entries whose index is held, about 10 KB each."""
KEPT_TABLES = 8
"""Tables (foreground indices) that are held: a sample reads its own more than once."""


def default_folder() -> Path:
    """``$TRUEVOX_CACHE``, else ``$XDG_CACHE_HOME/truevox``, else ``~/.cache/truevox``.

    Raises
    ------
    FileError
        If none of them is set, and the user has no home.
    """
    if explicit := os.environ.get("TRUEVOX_CACHE"):
        return Path(explicit)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "truevox"
    except RuntimeError as error:
        raise FileError(
            "There is no home folder to keep the cache in.", remedy="set TRUEVOX_CACHE to a folder"
        ) from error


def default_limit() -> float:
    """``$TRUEVOX_CACHE_LIMIT`` in GB, else 100.

    Raises
    ------
    FileError
        If it is no positive number.
    """
    text = os.environ.get("TRUEVOX_CACHE_LIMIT") or str(LIMIT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise FileError("TRUEVOX_CACHE_LIMIT is a number of gigabytes.", got=text, remedy="e.g. 50")
    return limit


def files_of(path: str | Path) -> list[Path]:
    """The files that a name stands for: those in a folder, both halves of a pair, what it refers to."""
    return [file for source in sources(path) for file in _files(source.resolve())]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    return [path]


def file_identity(path: str | Path, verify: bool = False) -> str:
    """What tells a file, or a folder of files, from a changed one, or from another choice of its contents.

    Path, size, modification and change times, inode; its content's SHA-256 too if it changed in the
    last two seconds, or if ``verify``. An edit that restores the modification time moves the change time.
    """
    parts: list[object] = [str(path).removeprefix(str(bare(path))), *file_stamps(path)]
    for file in files_of(path):
        stat = file.stat()
        if verify or time.time() - max(stat.st_mtime, stat.st_ctime) < FRESH_S:
            with file.open("rb") as handle:
                parts.append(hashlib.file_digest(handle, "sha256").hexdigest())
    return repr(parts)


def file_stamps(path: str | Path) -> list[object]:
    """Names, sizes, times and inodes of the files behind a name."""
    parts: list[object] = []
    for file in files_of(path):
        stat = file.stat()
        parts += [str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    return parts


class Recent(Generic[K, V]):
    """A mapping that forgets what was not asked for longest: it does not grow with the cohort."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._kept

    def __getitem__(self, key: K) -> V:
        self._kept.move_to_end(key)
        return self._kept[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)

    def pop(self, key: K) -> None:
        """Forget one."""
        self._kept.pop(key, None)


class Cache:
    """Images by key, on disk.

    Parameters
    ----------
    folder : path, optional
        Made when first needed; :func:`default_folder` if left out.
    verify : bool
        Hash every source file instead of trusting its times.
    limit_gb : float, optional
        Size in GB (10^9 bytes) beyond which entries that were not used for longest are removed, also those
        of other processes, which make them again; :func:`default_limit` if left out.

    Attributes
    ----------
    remarks : Counter
        What a user should be told.
    """

    def __init__(
        self, folder: str | Path | None = None, verify: bool = False, limit_gb: float | None = None
    ) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self.verify = verify
        self.limit_gb = default_limit() if limit_gb is None else limit_gb
        self.remarks: Counter[str] = Counter()
        self._open: Recent[str, _Entry] = Recent(KEPT_OPEN)
        self._tables: Recent[str, Image] = Recent(KEPT_TABLES)
        self._unseen = float("inf")  # bytes written since the folder was last measured
        self._beside: set[str] = set()  # keys whose shared entry is not ours to read or to replace
        self._told: set[str] = set()
        self._no_writes_before = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "verify": self.verify, "limit_gb": self.limit_gb}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def image(
        self,
        key: str,
        make: Callable[[], Image],
        box: Box | None = None,
        touched: Touched | None = None,
        most_bytes: int | None = None,
        valid: Callable[[], bool] | None = None,
    ) -> Image:
        """The image of this key, made if it is not there.

        Parameters
        ----------
        make : callable
            Gives the whole image.
        box : (3,) and (3,) arrays of int, optional
            First and last (exclusive) voxel of the part that is wanted.
        touched : callable, optional
            Which parts of the box are wanted, see :meth:`ChunkedArray.read`.
        most_bytes : int, optional
            Size of the files that the image stands for: what would be larger is compressed harder.

        valid : callable, optional
            Asked after the image was made: whether the key still names it. If not, it is not kept.
        """
        digest = hashlib.sha256(key.encode()).hexdigest()[:40]
        made = None
        for _ in range(3):
            path = self._place(digest)
            if digest not in self._open and not _exists(path):
                if made is None:
                    made = make()
                    if valid is not None and not valid():
                        self.remarks["a file changed while it was read, and its image was not kept"] += 1
                        break
                if not self._write(path, made, most_bytes):
                    break
            try:
                if digest not in self._open:
                    self._open[digest] = _Entry(path)
                if digest in self._tables:
                    return self._tables[digest]
                image = self._open[digest].read(box, touched)
                if image.kind == "value":
                    self._tables[digest] = image
                return image
            except FileNotFoundError:  # removed by another process
                self._open.pop(digest)
            except (DamagedError, KeyError, TypeError, ValueError, TrueVoxError):
                self._open.pop(digest)
                self.remarks["a damaged cache entry was made again"] += 1
                self._remove(path, digest)
            except OSError as error:
                self._open.pop(digest)
                self._beside.add(digest)
                if not isinstance(error, PermissionError):
                    self._tell(f"an entry can't be read ({error.strerror or error})")
                    break
        made = made or make()
        if made.kind == "value":
            self._tables[digest] = made
        return part_of(made, box)

    def _place(self, digest: str) -> Path:
        """Where the entry of a key is: the shared one, or our own beside one that we may not read."""
        mine = f"-{_user()}" if digest in self._beside else ""
        return self.folder / digest[:2] / f"{digest}{mine}{SUFFIX}"

    def _write(self, path: Path, image: Image, most_bytes: int | None) -> bool:
        """Write an entry; whether that was possible."""
        if time.time() < self._no_writes_before:
            return False
        temporary = path.parent / f".making-{uuid.uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            meta = {
                "affine": image.grid.affine.tolist(),
                "shape": image.grid.shape,
                "unit": image.grid.unit,
                "kind": image.kind,
                "fill": image.fill,
                "labels": image.labels.to_dict() if image.labels else None,
            }
            size = write_chunks(temporary, image.numpy(), meta)
            if most_bytes is not None and size > most_bytes:
                size = write_chunks(temporary, image.numpy(), meta, dense=True)
            self._make_room(size)
            temporary.replace(path)
        except OSError as error:
            self._no_writes_before = time.time() + RETRY_S
            self._tell(f"it can't be written ({error.strerror or error})")
            return False
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True

    def _remove(self, path: Path, digest: str) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._beside.add(digest)

    def _tell(self, what: str) -> None:
        """Say once, and count, that the run goes on without the cache."""
        text = f"the cache in {self.folder} did not help: {what}"
        if text not in self._told:
            self._told.add(text)
            remedy = "free some space, or set TRUEVOX_CACHE to a folder that you may write to"
            warnings.warn(f"{text}. Slower, and otherwise the same. Remedy: {remedy}.", stacklevel=2)
        self.remarks[text] += 1

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, where the limit would be passed."""
        limit = self.limit_gb * 1e9
        self._unseen += size
        if self._unseen < limit / 20:  # measuring the folder each time would cost more than the entry
            return
        found = []
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(bytes_ for _, bytes_, _ in found)
        for _, bytes_, path in sorted(found):
            if total <= limit * 0.9:
                break
            # What can't be read belongs to others, who may be using it.
            if path.suffix == SUFFIX and os.access(path, os.R_OK):
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= bytes_
        self._unseen = 0.0


class _Entry:
    """An image on disk."""

    def __init__(self, path: Path) -> None:
        self.array = ChunkedArray(path)
        meta = self.array.meta
        self.grid = Grid(meta["shape"], meta["affine"], meta.get("unit", "mm"))
        self.kind = meta["kind"]
        self.fill = meta["fill"] if isinstance(meta["fill"], (int, float)) else tuple(meta["fill"])
        self.labels = Labels.from_dict(meta["labels"]) if meta["labels"] else None
        self._marked = 0.0

    def read(self, box: Box | None, touched: Touched | None) -> Image:
        """The voxels in the box, or all."""
        if time.time() - self._marked > MARK_S:
            with contextlib.suppress(OSError):  # a folder that is read-only is used and not marked
                os.utime(self.array.path)
            self._marked = time.time()
        grid, (low, high) = self.grid, box or (np.zeros(3, int), np.array(self.array.shape[1:]))
        if box is not None:
            grid = grid.crop(low.tolist(), (high - low).tolist())
        data = torch.from_numpy(self.array.read(low, high, touched))
        return Image(data, grid, self.kind, self.fill, self.labels)


def part_of(image: Image, box: Box | None) -> Image:
    """The voxels in the box, or all."""
    return image if box is None else image[(slice(None), *map(slice, *(end.tolist() for end in box)))]


def _exists(path: Path) -> bool:
    """Whether there is such a file; a folder that can't be looked into is for reading to tell."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for left in folder.glob(".making-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()
