"""DICOM SEG as labels: binary, fractional and label-map segmentations, sparse or whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox import sampling
from truevox.errors import FileError, GeometryError
from truevox.io.dicom.instances import Stored, expect_whole, stored_of
from truevox.io.dicom.lattice import lattice
from truevox.io.dicom.masks import (
    Mask,
    as_channels,
    as_values,
    channel_table,
    chosen,
    label_table,
    unique_names,
)
from truevox.io.dicom.pixels import frames
from truevox.io.dicom.planes import number, planes_of
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels
from truevox.space import Grid

__all__ = ["open_seg", "segment_names"]


@dataclass(frozen=True)
class _Frames:
    """The frames of a segmentation, each with its slice of the grid and its segment (None: label map)."""

    path: Path
    stored: Stored
    shape: tuple[int, int]
    slices: NDArray[np.intp]
    segments: tuple[int | None, ...]
    scale: float | None

    def masks(self, names: dict[int, str], box: Box) -> Iterator[Mask]:
        wanted = [
            k
            for k, (at, segment) in enumerate(zip(self.slices, self.segments, strict=True))
            if box[2].start <= at < box[2].stop and (segment is None or segment in names)
        ]
        for k, frame in zip(wanted, frames(self.path, wanted, self.stored, self.shape), strict=True):
            part, segment = frame[box[1], box[0]].T, self.segments[k]
            at = (slice(None), slice(None), int(self.slices[k]) - box[2].start)
            if segment is not None:
                yield segment, at, part != 0 if self.scale is None else part * np.float32(self.scale)
                continue
            yield 0, at, np.ones(part.shape, bool)
            for key in set(np.unique(part).tolist()) & set(names):
                yield key, at, part == key


def open_seg(
    path: Path, dataset: Any, rest: int, like: Grid | None, choice: dict[str, str]
) -> tuple[Header, Voxels]:
    """Open a segmentation.

    One channel of segment numbers where no voxel belongs to two segments; a channel of probabilities
    per segment for fractional ones; a channel of 0 and 1 per segment with ``overlap=channels``.

    Raises
    ------
    FileError
        If the file is damaged, or a segmentation of another kind.
    GeometryError
        If frames are not evenly spaced, or not on the grid of ``like``.
    LabelError
        If a chosen segment does not exist, or (reading voxels) segments overlap.
    """
    kind = str(dataset.get("SegmentationType") or "BINARY")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise FileError(
            "Segmentations of this type are not understood.",
            file=path,
            got=kind,
            remedy="convert it to a DICOM segmentation of type BINARY or FRACTIONAL, or to NIfTI",
        )
    names = chosen(segment_names(dataset), choice.pop("labels", None), path)
    several = choice.pop("overlap", None) == "channels"
    stored = stored_of(dataset, path)
    expect_whole(dataset, stored, path, rest)
    planes = planes_of(dataset, path)
    found = lattice(planes, path, like)
    scale = 1 / (number(dataset, "MaximumFractionalValue", path) or 255.0) if kind == "FRACTIONAL" else None
    segments = _segments(dataset, kind, len(planes), path)
    parts = _Frames(path, stored, planes[0].shape, found.slices, segments, scale)
    ignored = _ignored(dataset, kind, names, path)
    header = Header(
        path,
        found.grid,
        len(names),
        "uint8",
        None,
        found.notes,
        part=like is None and found.grid.unit == "mm",
    )
    if scale is not None or several:
        meaning = str(dataset.get("SegmentationFractionalType") or "probability").lower()
        note = f"one channel per segment{f' ({meaning})' * (scale is not None)}: {', '.join(names.values())}"
        header = replace(header, labels=channel_table(names), notes=(*found.notes, note))
        header = replace(header, dtype="float32") if scale is not None else header
    else:
        dtype = "uint8" if max(*names, ignored or 0) < 256 else "uint16"
        header = replace(header, channels=1, dtype=dtype, labels=label_table(names, ignored))

    def voxels(box: Box) -> NDArray:
        masks = parts.masks(names, box)
        if scale is not None or several:
            return as_channels(masks, names, box, header.dtype)
        return as_values(masks, names, box, header.dtype, path, ignored or 0)

    return (header, voxels) if like is None else _on(like, header, voxels, ignored or 0)


def segment_names(dataset: Any) -> dict[int, str]:
    """Segment number to name; the background of a label map is left out."""
    segments = dataset.get("SegmentSequence") or ()
    pairs = [(int(s.get("SegmentNumber") or 0), str(s.get("SegmentLabel") or "")) for s in segments]
    return unique_names((key, name) for key, name in pairs if key)


def _ignored(dataset: Any, kind: str, names: dict[int, str], path: Path) -> int | None:
    """The value of a label map's voxels that nobody looked at: among them all frames that are missing."""
    value = number(dataset, "PixelPaddingValue", path) if kind == "LABELMAP" else None
    return None if not value or value in names else int(value)


def _segments(dataset: Any, kind: str, count: int, path: Path) -> tuple[int | None, ...]:
    """Which segment each frame shows."""
    if kind == "LABELMAP":
        return (None,) * count
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ({},) * count
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0].get("SegmentIdentificationSequence")
    found = []
    for group in groups:
        named = group.get("SegmentIdentificationSequence") or shared
        key = number(named[0], "ReferencedSegmentNumber", path) if named else None
        if key is None:
            raise FileError(
                "A frame does not say which segment it shows.",
                file=path,
                remedy="export the segmentation again: every frame needs its ReferencedSegmentNumber",
            )
        found.append(int(key))
    return tuple(found)


def _on(like: Grid, header: Header, read: Voxels, outside: int) -> tuple[Header, Voxels]:
    """The same voxels in the frame of another grid, of which they are a part."""
    found = sampling.coincidence(header.grid, like)
    if found is None:
        raise GeometryError(
            "The segmentation's voxels are not voxels of the image that it was to lie on.",
            file=header.path,
            got=header.grid.describe(),
            expected=like.describe(),
            remedy="read it without like=, then sample it: mask.on(image.grid)",
        )

    def voxels(box: Box) -> NDArray:
        whole = read(tuple(slice(0, n) for n in header.grid.shape))
        return sampling.take(whole, found, like.shape, np.full(len(whole), outside))[:, *box]

    return replace(header, grid=like), voxels
