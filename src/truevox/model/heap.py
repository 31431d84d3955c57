"""Memory of one window, kept for the next."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

__all__ = ["kept_heap"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of the settings for glibc's ``mallopt``."""
_KEPT, _USUAL = 2**30, 32 * 2**20
"""Pieces below this size stay; and the bound that the library itself does not exceed."""


@contextlib.contextmanager
def kept_heap() -> Iterator[None]:
    """Within, memory that is freed stays with the process; in the end, it goes back to the system.

    Windows that follow one another need the same memory. The C library of Linux would return it after each of
    them, and the system would clear every page of it again for the next. On other systems, nothing happens.

    Examples
    --------
    >>> with kept_heap():
    ...     bytes(2**20).count(0)
    1048576
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _KEPT)
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _USUAL)
        library.mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
        library.malloc_trim(0)
