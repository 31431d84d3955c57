"""The voxels of a file as labels: integers, of one channel where a picture has grey in colours."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError
from truevox.io.access import as_labels, label_counts
from truevox.io.header import Header
from truevox.io.registry import bare

__all__ = ["MASK_VALUES", "label_voxels", "some"]

_LOSSY = (".jpg", ".jpeg")
MASK_VALUES = (1, 255)
"""What the only value of a mask without names may be."""


def label_voxels(array: NDArray, header: Header) -> NDArray:
    """The voxels (C, I, J, K) of a file as labels: the smallest integers, without colours.

    A mask that was saved as a picture in colours or with opacity is its grey values.

    Raises
    ------
    LabelError
        If voxels are no integers, are colours, or come from a format that changes values.
    """
    array = as_labels(array, header.path, None, header.step)
    if header.colour and len(array) > 1:
        array = _grey(array, header.path)
    if bare(header.path).suffix.lower() in _LOSSY and (odd := set(label_counts(array)) - {0, *MASK_VALUES}):
        raise LabelError(
            "JPEG changes values, so the file holds no labels any more.",
            file=header.path,
            got=f"values {some(odd)}",
            remedy="export the mask again as PNG, TIFF or NIfTI",
        )
    return array


def _grey(array: NDArray, path: Path) -> NDArray:
    colours, opacity = (array[:-1], array[-1]) if len(array) in (2, 4) else (array, None)
    if opacity is not None and opacity.min() != opacity.max():
        raise LabelError(
            "The picture is transparent in parts, so what it says of them is not sure.",
            file=path,
            got=f"opacity from {opacity.min()} to {opacity.max()}",
            remedy="save the mask in grey, without opacity (alpha)",
        )
    if (colours != colours[:1]).any():
        found = np.unique(colours.reshape(len(colours), -1), axis=1).T
        raise LabelError(
            "The file holds colours, and no table says which label each of them is.",
            file=path,
            got=", ".join(str(tuple(one)) for one in found[:5].tolist())
            + (", ..." if len(found) > 5 else ""),
            remedy="save the mask in grey, one value per label",
        )
    return colours[:1]


def some(values: Collection[int]) -> str:
    """The first of them, for messages."""
    return ", ".join(map(str, sorted(values)[:8])) + (", ..." if len(values) > 8 else "")
