"""What tells planes at one place apart: time points, b-values, echoes. They become channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, GeometryError
from truevox.io.dicom.planes import Plane

__all__ = ["Moments", "split"]

# Tried in this order, alone and then together: what was measured, then the order in which. What else a
# plane has follows (indices of multi-frame objects); clocks only where nothing else tells.
_EXACT = (
    *("DiffusionBValue", "EchoTime", "TriggerTime", "TemporalPositionIdentifier", "FrameReferenceTime"),
    *("TemporalPositionTimeOffset", "FrameTime", "Frame", "ImageType", "DiffusionGradientOrientation"),
    *("ImageIndex", "AcquisitionNumber"),
)
_CLOCKS = ("TriggerTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime")
_UNITS = {"TriggerTime": 1e-3, "FrameReferenceTime": 1e-3}
# At most so many tags together: energy window, detector, rotation, R-R interval, time slot, view.
_TOGETHER = 6


@dataclass(frozen=True)
class Moments:
    """The tag that tells the channels apart, its value in each, and the time of each (s) where known."""

    name: str
    values: tuple[Any, ...]
    times: tuple[float, ...] | None = None

    def note(self) -> str:
        """One line for the header."""
        shown = [f"{v:g}" if isinstance(v, float) else str(v) for v in self.values[:12]]
        more = ", ..." if len(self.values) > 12 else ""
        return f"{len(self.values)} volumes told apart by {self.name}: {', '.join(shown)}{more}"


def split(
    planes: Sequence[Plane], places: Sequence[NDArray[np.intp]], source: Path
) -> tuple[NDArray[np.intp], Moments | None]:
    """Which plane is slice k of channel c (C, K), for planes grouped by place, and what tells channels apart.

    Raises
    ------
    GeometryError
        If places hold different numbers of planes.
    CaseError
        If nothing tells planes at one place apart.
    """
    most = max(map(len, places))
    if most == 1:
        return np.concatenate(places)[None], None
    if min(map(len, places)) < most:
        _refuse_ragged(planes, places, source)
    telling = _telling(planes, places)
    together = [n for many in range(1, _TOGETHER + 1) for n in combinations(telling, many)]
    tries = [(names, True) for names in together if _whole(names, telling)]
    for names, exact in (*tries, *(((clock,), False) for clock in _CLOCKS)):
        if len({_mark(planes[k], names) for k in places[0]}) < most:
            continue
        keys = [[_mark(planes[k], names) for k in place] for place in places]
        if any(None in row or len(set(row)) < most for row in keys):
            continue
        if exact and any(set(row) != set(keys[0]) for row in keys):
            continue
        ranks = [sorted(range(most), key=row.__getitem__) for row in keys]
        order = np.array([place[rank] for place, rank in zip(places, ranks, strict=True)]).T
        if not exact and _mixes(planes, order, telling):
            continue
        values = tuple(sorted(keys[0]))
        named = tuple(v[0] if len(names) == 1 else v for v in values)
        return order, Moments("+".join(names), named, _times(planes, order))
    raise CaseError(
        f"Every position holds {most} slices, and nothing tells them apart.",
        file=source,
        got=f"e.g. {' and '.join(planes[k].path.name for k in places[0][:2])}",
        expected="time points, b-values, echoes, trigger or acquisition times that differ",
        remedy="are they copies? name the files of one volume",
    )


def _telling(planes: Sequence[Plane], places: Sequence[NDArray[np.intp]]) -> list[str]:
    """The tags that differ between planes at one place, in the order in which they are tried."""
    names = dict.fromkeys((*_EXACT, *(name for plane in planes[:1] for name in plane.marks)))
    return [
        name
        for name in names
        if (name in _EXACT or name not in _CLOCKS)
        and all(name in plane.marks for plane in planes)
        and any(len({planes[k].marks[name] for k in place}) > 1 for place in places)
    ]


def _whole(names: Sequence[str], telling: Sequence[str]) -> bool:
    """Whether a gradient's direction comes with its weight."""
    return "DiffusionGradientOrientation" not in names or not {"DiffusionBValue"} & (
        set(telling) - set(names)
    )


def _mixes(planes: Sequence[Plane], order: NDArray[np.intp], names: Sequence[str]) -> bool:
    """Whether channels in order of a clock hold several values of a tag that every place has all of."""
    for name in names:
        rows = [[planes[k].marks[name] for k in row] for row in order]
        if len({tuple(sorted(column)) for column in zip(*rows, strict=True)}) == 1 and any(
            len(set(row)) > 1 for row in rows
        ):
            return True
    return False


def _mark(plane: Plane, names: Sequence[str]) -> Any:
    """A plane's values of some tags as a tuple; None where it lacks one."""
    found = tuple(plane.marks.get(name) for name in names)
    return None if None in found else found


def _times(planes: Sequence[Plane], order: NDArray[np.intp]) -> tuple[float, ...] | None:
    """Seconds from the first channel to each, as the mean over slices; None if they do not grow."""
    for name in ("TemporalPositionTimeOffset", "FrameTime", "FrameReferenceTime", *_CLOCKS):
        marks = [[planes[k].marks.get(name) for k in row] for row in order]
        if any(None in row for row in marks):
            continue
        means = np.mean(np.array(marks, np.float64), axis=1) * _UNITS.get(name, 1.0)
        if (np.diff(means) > 0).all():
            return tuple((means - means[0]).tolist())
    return None


def _refuse_ragged(planes: Sequence[Plane], places: Sequence[NDArray[np.intp]], source: Path) -> NoReturn:
    counts = [len(place) for place in places]
    usual = max(set(counts), key=counts.count)
    odd = [k for k, count in enumerate(counts) if count != usual]
    names = "; ".join(
        f"{counts[k]} at {', '.join(planes[p].path.name for p in places[k][:4])}" for k in odd[:4]
    )
    raise GeometryError(
        f"{len(odd)} of {len(places)} positions do not hold {usual} slice{'s' * (usual > 1)} as all others.",
        file=source,
        got=names,
        remedy="are there copies, or was a part not exported? name the files of one volume",
    )
