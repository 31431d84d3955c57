"""The cache of the deterministic prefix: compressed images on disk, made once per case, read in parts.

An entry is one file, written under a temporary name and renamed when whole. So two processes may build it
at once (both hold the same image), and a process that dies leaves only a temporary file, which a later run
removes. What is read is checked: an entry that is damaged, cut off or gone is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from truevox.errors import FileError
from truevox.image import Image
from truevox.io.registry import bare, sources
from truevox.labels import Labels
from truevox.pipeline.chunks import ChunkedArray, DamagedError, write_chunks
from truevox.sampling import Box, Touched
from truevox.space import Grid

__all__ = ["Cache", "Recent", "default_folder", "file_identity", "files_of", "part_of"]

K = TypeVar("K")
V = TypeVar("V")
FRESH_S = 2.0
"""A file changed less than this ago may change again within the clock's resolution: it is hashed too."""
STALE_S = 3600.0
"""A temporary file older than this was left by a process that died."""
MARK_S = 60.0
"""How often an entry in use is marked as used."""
SUFFIX = ".tvc"
LIMIT_GB = 100.0
KEPT_OPEN = 256
"""Entries whose index is held, about 10 KB each."""
KEPT_TABLES = 8
"""Tables (foreground indices) that are held: a sample reads its own more than once."""


def default_folder() -> Path:
    """``$TRUEVOX_CACHE``, else ``$XDG_CACHE_HOME/truevox``, else ``~/.cache/truevox``."""
    if explicit := os.environ.get("TRUEVOX_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "truevox"


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
    parts: list[object] = [str(path).removeprefix(str(bare(path)))]
    for file in files_of(path):
        stat = file.stat()
        parts += [str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if verify or time.time() - max(stat.st_mtime, stat.st_ctime) < FRESH_S:
            with file.open("rb") as handle:
                parts.append(hashlib.file_digest(handle, "sha256").hexdigest())
    return repr(parts)


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

        Raises
        ------
        FileError
            If the folder can't be written, e.g. because the disk is full.
        """
        digest = hashlib.sha256(key.encode()).hexdigest()[:40]
        path = self.folder / digest[:2] / (digest + SUFFIX)
        made = None
        for _ in range(2):
            if digest not in self._open and not path.exists():
                made = made or make()
                self._write(path, made, most_bytes)
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
            except (DamagedError, OSError) as error:
                self._open.pop(digest)
                self.remarks["a damaged cache entry was made again"] += 1
                self._remove(path, error)
        made = made or make()
        return part_of(made, box)

    def _write(self, path: Path, image: Image, most_bytes: int | None) -> None:
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            handle, name = tempfile.mkstemp(prefix=".making-", dir=path.parent)
            os.close(handle)
            temporary = Path(name)
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
            raise self._unwritable(error) from error
        finally:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def _remove(self, path: Path, error: Exception) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as refused:
            raise self._unwritable(refused) from error

    def _unwritable(self, error: OSError) -> FileError:
        return FileError(
            f"The cache can't be written: {error.strerror or error}.",
            file=self.folder,
            remedy="free some space, or set TRUEVOX_CACHE to a folder on another disk",
        )

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
            if path.suffix == SUFFIX:
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


def _sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for left in folder.glob(".making-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()
