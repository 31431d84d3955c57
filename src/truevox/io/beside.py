"""Formats of two files: which other file belongs to one."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["beside", "pair_of"]

_DATA = re.compile(rb"(?mi)^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*([^\r\n]+)")
_LONGEST = 2**20


def pair_of(path: Path) -> tuple[Path, Path]:
    """Header and voxels of a pair (.hdr, .img, packed or not), by either name.

    Examples
    --------
    >>> [p.name for p in pair_of(Path("a.IMG.gz"))]
    ['a.HDR.gz', 'a.IMG.gz']
    """
    end = len(path.name) - len(".gz") * path.name.lower().endswith(".gz")
    stem, packing = path.name[: end - 4], path.name[end:]
    names = (".HDR", ".IMG") if path.name[end - 1].isupper() else (".hdr", ".img")
    return path.with_name(f"{stem}{names[0]}{packing}"), path.with_name(f"{stem}{names[1]}{packing}")


def beside(path: Path) -> list[Path]:
    """The other files of an image that is named by one of them: those that are there."""
    name = path.name.lower()
    others: list[Path] = []
    if name.endswith((".hdr", ".img", ".hdr.gz", ".img.gz")):
        others = [other for other in pair_of(path) if other != path]
    elif name.endswith((".mhd", ".nhdr")) and path.is_file():
        with open(path, "rb") as stream:
            found = _DATA.search(stream.read(_LONGEST))
        others = (
            [path.parent / found[1].strip().decode("utf-8", "replace").replace("\0", "")] if found else []
        )
    return [other for other in others if other.is_file()]
