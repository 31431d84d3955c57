"""Whole volumes of a prediction: in memory, or in a file of which only what is in use is resident."""

from __future__ import annotations

import contextlib
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

_BLOCK = 2**20
"""Voxels that a whole-volume operation looks at together: 4 MiB of float32."""
_OWN = 2**20
"""Bytes from which on a volume has pages of its own."""
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
        MemoryError
            If memory has none.
        """
        size = 4 * math.prod(shape)
        if self.folder is None or size == 0:
            own = size >= _OWN
            flat = np.frombuffer(_pages(size), np.float32) if own else np.zeros(size // 4, np.float32)
            return torch.from_numpy(flat.reshape(shape))
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


def _pages(size: int) -> mmap.mmap:
    """Zeros that come from the system when first written, and all go back to it with the volume.

    From the heap, a volume would part the memory that windows use over and over into pieces that don't fit
    the next one, and the heap would keep the volume's place when its owner has let go of it.
    """
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    try:
        made = mmap.mmap(-1, size, **private)
    except OSError as error:
        raise MemoryError(f"There is no memory for a volume of {size / 2**30:.1f} GiB.") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system may be built without them
            made.madvise(mmap.MADV_HUGEPAGE)
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


def blocks(data: Tensor) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Parts of a volume (C, I, J, K) to be looked at one after the other: where in I and J, all channels.

    Examples
    --------
    >>> [where[1] for where, _ in blocks(torch.zeros(4, 1, 600, 1024))]
    [slice(0, 256, None), slice(256, 512, None), slice(512, 600, None)]
    """
    rows = max(_BLOCK // max(data.shape[0] * data.shape[3], 1), 1)
    planes = max(rows // max(data.shape[2], 1), 1)
    for i in range(0, data.shape[1], planes):
        for j in range(0, data.shape[2], rows):
            where = slice(i, min(i + planes, data.shape[1])), slice(j, min(j + rows, data.shape[2]))
            yield where, data[:, where[0], where[1]]
            release(data)


def mirror(data: Tensor, axes: Sequence[int]) -> Tensor:
    """Turn a volume (C, I, J, K) around along some of the axes 0, 1, 2, in place.

    Examples
    --------
    >>> mirror(torch.arange(6.0).reshape(1, 3, 2, 1), [0]).flatten().tolist()
    [4.0, 5.0, 2.0, 3.0, 0.0, 1.0]
    """
    within = [a - 1 for a in axes if a > 0]
    size = data.shape[1]
    for channel in data if len(axes) else ():
        for i in range(-(-size // 2) if 0 in axes else size):
            j = size - 1 - i if 0 in axes else i
            first, last = channel[i].flip(within), channel[j].flip(within)
            channel[i], channel[j] = last, first
            release(data)
    return data
