"""Images in memory as a case, so that a graph runs on them as on files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from truevox.errors import CaseError
from truevox.image import Image, Kind
from truevox.io.segments import Segments, generated, taken
from truevox.labels import Labels

__all__ = ["as_case"]


@dataclass(frozen=True)
class _Header:
    grid: Any
    channels: int
    path: None = None


class _Images:
    """What a node reads of a case, from a mapping of column to image."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self.images = dict(images)
        self.key = "images in memory"

    def header(self, column: str) -> Any:
        """What a file's header would say."""
        image = self._get(column)
        return image.header if image.header is not None else _Header(image.grid, image.channels)

    def load(self, column: str, kind: Kind, labels: Labels | None) -> Image:
        """The image, with the labels that a node asks for if it says what its own are.

        Its voxels are as finite as a file's have to be; NaN marks what a probability leaves open.

        Raises
        ------
        CaseError
        """
        image = self._get(column)
        data = image.data.detach()
        if kind != "label" and data.is_floating_point() and not bool(data.isfinite().all()):
            bad = data.isinf() if kind == "probability" else ~data.isfinite()
            if count := int(bad.sum()):
                raise CaseError(
                    f"'{column}' holds voxels that are not finite (NaN or infinite).",
                    got=f"{count} of {data.numel()} voxels",
                    remedy="find out where they come from; what marks the outside is replaced by a number",
                )
        if kind != "label" or labels is None or image.labels in (None, labels):
            return image
        path = Path(column) if image.header is None else image.header.path
        segments = Segments(image.numpy(), path, image.labels)
        array, table = taken(segments, labels, by_value=generated(labels, column))
        return image.replace(data=torch.from_numpy(array), labels=table)

    def path(self, column: str) -> None:
        """No file, hence no cache."""

    def _get(self, column: str) -> Image:
        if column not in self.images:
            raise CaseError(
                f"There is no image '{column}'.",
                got=sorted(self.images),
                remedy="pass this image too, by the name of its column",
            )
        return self.images[column]


def as_case(case: Any) -> Any:
    """The case itself, or a mapping of column to image as a case."""
    return _Images(case) if isinstance(case, Mapping) else case
