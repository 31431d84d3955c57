"""The cache of the deterministic prefix: memory-mapped arrays on disk, made once per case.

An entry is a folder ``<key>/`` with ``data.bin`` and ``meta.json``, written under a temporary name and
renamed when whole. So two processes may build it at once (the second rename loses, both hold the same
bytes), and a process that dies leaves only a temporary folder, which a later run removes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from truevox.errors import FileError
from truevox.image import Image
from truevox.labels import Labels
from truevox.space import Grid

__all__ = ["Cache", "default_folder", "file_identity"]

FRESH_S = 2.0
"""A file changed less than this ago may change again within the clock's resolution: it is hashed too."""
STALE_S = 3600.0


def default_folder() -> Path:
    """``$TRUEVOX_CACHE``, else ``$XDG_CACHE_HOME/truevox``, else ``~/.cache/truevox``."""
    if explicit := os.environ.get("TRUEVOX_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "truevox"


def file_identity(path: str | Path, verify: bool = False) -> str:
    """What tells a file from a changed one.

    Path, size, modification and change times, inode; its content's SHA-256 too if it changed in the
    last two seconds, or if ``verify``. An edit that restores the modification time moves the change time.
    """
    path = Path(path).resolve()
    stat = path.stat()
    parts = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    if verify or time.time() - max(stat.st_mtime, stat.st_ctime) < FRESH_S:
        with path.open("rb") as handle:
            parts.append(hashlib.file_digest(handle, "sha256").hexdigest())
    return repr(parts)


class Cache:
    """Images by key, on disk, memory-mapped when read.

    Parameters
    ----------
    folder : path, optional
        Made when first needed; :func:`default_folder` if left out.
    verify : bool
        Hash every source file instead of trusting its times.
    """

    def __init__(self, folder: str | Path | None = None, verify: bool = False) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self.verify = verify
        self._open: dict[str, Image] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "verify": self.verify, "_open": {}}

    def image(self, key: str, make: Callable[[], Image]) -> Image:
        """The image of this key, made if it is not there.

        Raises
        ------
        FileError
            If the folder can't be written, e.g. because the disk is full.
        """
        digest = hashlib.sha256(key.encode()).hexdigest()[:40]
        if digest not in self._open:
            entry = self.folder / digest[:2] / digest
            if not (entry / "meta.json").exists():
                self._write(entry, make())
            self._open[digest] = _read(entry)
        return self._open[digest]

    def _write(self, entry: Path, image: Image) -> None:
        temporary = None
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            _sweep(entry.parent)
            temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=entry.parent))
            np.ascontiguousarray(image.numpy()).tofile(temporary / "data.bin")
            meta = {
                "data": image.shape,
                "dtype": str(image.data.dtype).removeprefix("torch."),
                "affine": image.grid.affine.tolist(),
                "shape": image.grid.shape,
                "kind": image.kind,
                "fill": image.fill,
                "labels": image.labels.to_dict() if image.labels else None,
            }
            (temporary / "meta.json").write_text(json.dumps(meta))
            try:
                temporary.rename(entry)
            except OSError:
                if not (entry / "meta.json").exists():  # not beaten by another process: a real failure
                    raise
        except OSError as error:
            raise FileError(
                f"The cache can't be written: {error.strerror or error}.",
                file=self.folder,
                remedy="free some space, or set TRUEVOX_CACHE to a folder on another disk",
            ) from error
        finally:
            if temporary is not None and temporary.exists():
                shutil.rmtree(temporary, ignore_errors=True)


def _read(entry: Path) -> Image:
    meta = json.loads((entry / "meta.json").read_text())
    size, dtype = math.prod(meta["data"]), getattr(torch, meta["dtype"])
    # A private map: nobody's write reaches the file. It keeps no file open, unlike NumPy's, so that a
    # cohort of any size stays below the limit on open files. Nothing can't be mapped.
    path = str(entry / "data.bin")
    data = torch.from_file(path, False, size, dtype=dtype) if size else torch.empty(0, dtype=dtype)
    fill = meta["fill"] if isinstance(meta["fill"], (int, float)) else tuple(meta["fill"])
    labels = Labels.from_dict(meta["labels"]) if meta["labels"] else None
    return Image(data.view(meta["data"]), Grid(meta["shape"], meta["affine"]), meta["kind"], fill, labels)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for left in folder.glob(".making-*"):
        try:
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
