"""Whole volumes of a prediction: in memory, or in a file of which only what is in use is resident."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from truevox.errors import FileError

__all__ = ["Volumes", "blocks", "mirror", "release"]

_BLOCK = 2**22
"""Voxels that a whole-volume operation looks at together: 16 MiB of float32."""
_maps: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()


class Volumes:
    """Makes volumes that hold zeros, float32.

    Parameters
    ----------
    folder : path, optional
        Where files go, without a name, so that they vanish with the tensor or the process. In memory if left
        out.

    Examples
    --------
    >>> import tempfile
    >>> kept = Volumes(tempfile.gettempdir()).zeros((1, 2, 3, 4))
    >>> float(kept.add_(1).sum())
    24.0
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)

    def zeros(self, shape: Sequence[int]) -> Tensor:
        """A tensor of zeros.

        Raises
        ------
        FileError
            If the disk has no room for it.
        """
        if self.folder is None or math.prod(shape) == 0:
            return torch.zeros(tuple(shape))
        size = 4 * math.prod(shape)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as handle:
                _reserve(handle.fileno(), size, self.folder)
                mapped = mmap.mmap(handle.fileno(), size)
        except OSError as error:
            raise FileError(
                f"The disk can't hold a volume of {size / 2**30:.1f} GiB: {error.strerror or error}.",
                file=self.folder,
                remedy="free some space, set TMPDIR to a folder on another disk, or allow more memory",
            ) from error
        made = torch.from_numpy(np.frombuffer(mapped, np.float32).reshape(shape))
        _maps[made.untyped_storage().data_ptr()] = mapped
        return made


def _reserve(handle: int, size: int, folder: Path) -> None:
    """Take the room on the disk now: a mapped file that runs full later kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
        return
    if shutil.disk_usage(folder).free < size:
        raise OSError(None, "no space left")
    os.ftruncate(handle, size)


def release(data: Tensor) -> None:
    """Let go of the resident pages of a volume in a file; what they hold stays. Else nothing."""
    found = _maps.get(data.untyped_storage().data_ptr()) if data.device.type == "cpu" else None
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def blocks(data: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Parts of a volume (C, I, J, K) along I, all channels, to be looked at one after the other.

    Examples
    --------
    >>> [tuple(part.shape) for _, part in blocks(torch.zeros(2, 5, 1024, 1024))]
    [(2, 2, 1024, 1024), (2, 2, 1024, 1024), (2, 1, 1024, 1024)]
    """
    plane = max(data.shape[0] * data.shape[2] * data.shape[3], 1)
    step = max(_BLOCK // plane, 1)
    for start in range(0, data.shape[1], step):
        where = slice(start, min(start + step, data.shape[1]))
        yield where, data[:, where]
        release(data)


def mirror(data: Tensor, axes: Sequence[int]) -> Tensor:
    """Turn a volume (C, I, J, K) around along some of the axes I, J, K, in place."""
    for channel in data:
        for axis in axes:
            size = channel.shape[axis]
            half = size // 2
            low = channel.narrow(axis, 0, half)
            high = channel.narrow(axis, size - half, half)
            for i in range(half):
                first, last = low.select(axis, i), high.select(axis, half - 1 - i)
                kept = first.clone()
                first.copy_(last)
                last.copy_(kept)
        release(data)
    return data
