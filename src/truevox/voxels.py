"""What the voxels of an image are: real numbers of a type that holds them, and shares of labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from truevox.errors import GeometryError, LabelError
from truevox.labels import Labels

__all__ = [
    "OF_NUMPY",
    "as_fill",
    "as_voxels",
    "check_whole",
    "finite_number",
    "floating",
    "of_annotated",
    "shares_of",
    "type_with",
]

WHOLE = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.int64)
OF_NUMPY = frozenset((torch.bool, *WHOLE, torch.float16, torch.float32, torch.float64))
"""Types of tensors that NumPy shares."""


def shares_of(table: Labels, label: np.ndarray) -> np.ndarray:
    """One channel per class, and a last one of what is not annotated if the table knows of that."""
    masks = table.one_hot(label)
    if table.ignore is None:
        return masks
    unknown = (label[:1] == table.ignore).astype(np.float32)
    if table.activation == "softmax":
        masks[:1] -= unknown
    return np.concatenate([masks, unknown])


def of_annotated(table: Labels, shares: np.ndarray) -> np.ndarray:
    """Shares of what is annotated; NaN, not known, where that is less than half of a voxel."""
    if table.ignore is None:
        return shares
    known = 1 - shares[-1]
    return np.where(
        known < 0.5 - 1e-6, np.float32(np.nan), np.minimum(shares[:-1] / np.maximum(known, 0.25), 1)
    )


def as_voxels(data: Any, kind: str) -> Tensor:
    """What was given as voxels, as a tensor of real numbers."""
    if not isinstance(data, Tensor):
        array = np.asarray(data)
        if array.dtype.kind not in "biufc":
            raise GeometryError(
                "An image's data is an array of numbers.",
                got=f"{type(data).__name__} of {array.dtype}",
                remedy="pass an array of numbers or True and False, such as np.asarray(data, "
                "dtype=np.float32)",
            )
        array = array.astype(np.float64) if array.dtype.itemsize > 8 and array.dtype.kind == "f" else array
        data = torch.as_tensor(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))
    if data.is_complex():
        raise GeometryError(
            "An image holds real numbers, and was given complex ones.",
            got=data.dtype,
            remedy="pass their magnitude (abs), or real and imaginary part as two channels",
        )
    if data.dtype != torch.uint64:
        return data
    # Torch can do next to nothing with them.
    array = data.detach().cpu().numpy()
    if not array.size or int(array.max()) < 2**63:
        return torch.from_numpy(array.astype(np.int64))
    if kind == "label":
        raise LabelError(
            "A label image holds a value that is too large.",
            got=int(array.max()),
            expected="below 2**63",
            remedy="give the classes smaller numbers before the image is made",
        )
    return torch.from_numpy(array.astype(np.float64))


def as_fill(fill: Any) -> float | tuple[float, ...]:
    """What lies outside, as a number or one per channel."""
    if isinstance(fill, (int, float)):
        return fill
    try:
        return tuple(float(f) for f in fill) if np.ndim(fill) else float(fill)
    except (TypeError, ValueError) as error:
        raise GeometryError(
            "An image's fill is a number, or one per channel.",
            got=repr(fill),
            remedy="write fill=0.0, or one number per channel: fill=(0.0, -1000.0)",
        ) from error


def check_whole(data: Tensor, fill: float | tuple[float, ...]) -> None:
    """Refuse labels between the integers."""
    bad = [f for f in np.atleast_1d(fill).tolist() if not float(f).is_integer()]
    if not bad and data.is_floating_point():
        strange = ~(data.detach().frac() == 0)  # not so for NaN and infinity either
        bad = data.detach()[strange][:1].tolist()
    if bad:
        raise LabelError(
            "A label image holds values that are not integers.",
            got=f"e.g. {bad[0]:g}",
            remedy="if these are shares or probabilities, say so: kind='probability'",
        )


def type_with(dtype: torch.dtype, fills: np.ndarray) -> torch.dtype:
    """The type of whole numbers, or one that holds the fill too: -1000 is 24 in eight bits."""
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if not (np.isfinite(fills).all() and (fills == np.rint(fills)).all()):
        return _floating_type(dtype)
    low, high = min(low, int(fills.min())), max(high, int(fills.max()))
    for wide in (dtype, torch.uint8, torch.int16, torch.int32, torch.int64):
        limit = (0, 1) if wide == torch.bool else (torch.iinfo(wide).min, torch.iinfo(wide).max)
        if limit[0] <= low and high <= limit[1]:
            return wide
    return torch.float64


def _floating_type(dtype: torch.dtype) -> torch.dtype:
    """Floats in which numbers of a type are exact, and sums of them do not overflow."""
    if dtype in (torch.float32, torch.float64):
        return dtype
    return torch.float64 if dtype in (torch.int32, torch.uint32, torch.int64) else torch.float32


def floating(data: Tensor) -> Tensor:
    """Voxels as floats in which they are exact, and sums and products of them do not wrap or overflow."""
    return data.to(_floating_type(data.dtype))


def finite_number(value: Any) -> float:
    """A number of any type.

    Raises
    ------
    GeometryError
        If it is not finite.
    """
    number = float(value)
    if not math.isfinite(number):
        raise GeometryError(
            "A number in arithmetic of images is finite.",
            got=number,
            remedy="replace NaN and infinity before the arithmetic",
        )
    return number
