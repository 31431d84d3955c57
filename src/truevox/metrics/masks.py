"""What counts as a mask: booleans, or integers with one value beside 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import LabelError

__all__ = ["as_array", "as_mask", "as_masks", "of_label"]

_MASKS = (1, 255)
"""Two masks may be written with different ones of these values."""


def as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """An array of numbers or booleans, without a copy where it is one.

    Raises
    ------
    LabelError
        If it is a tensor that holds on to gradients or to an accelerator, or no array at all.
    """
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:
        tensor = hasattr(values, "detach")
        raise LabelError(
            f"The {name} can't be read as an array: {str(error).splitlines()[0]}",
            got=type(values).__name__,
            remedy="hand over tensor.detach().cpu().numpy()" if tensor else "hand over a NumPy array",
        ) from error
    if array.dtype.kind not in "biuf":
        raise LabelError(
            f"The {name} holds no numbers.", got=str(array.dtype), remedy="hand over a NumPy array"
        )
    return array


def as_mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """A mask as booleans, without a copy where it is already.

    Raises
    ------
    LabelError
        If it holds floats: a probability is no mask until something was decided; or several labels.
    """
    return _mask(as_array(values, name), name)[0]


def as_masks(values: Sequence[ArrayLike], names: Sequence[str]) -> list[NDArray[np.bool_]]:
    """Masks of one structure as booleans.

    Raises
    ------
    LabelError
        As :func:`as_mask`, and if the foreground is one label in one of them, and another in another.
    """
    found = [_mask(as_array(one, name), name) for one, name in zip(values, names, strict=True)]
    marks = {value: name for (_, value), name in zip(found, names, strict=True) if value}
    if len(marks) > 1 and not set(marks) <= set(_MASKS):
        raise LabelError(
            "The masks hold different labels.",
            got=", ".join(f"{value} in the {name}" for value, name in marks.items()),
            remedy="evaluate_labels compares label maps; or make masks of one label first: labels == 1",
        )
    return [mask for mask, _ in found]


def of_label(values: ArrayLike, label: int | Sequence[int], name: str) -> NDArray[np.bool_]:
    """The mask of a label, or of the union of several, in a label map.

    Raises
    ------
    LabelError
        If the array holds no labels, or 0 is asked for.
    """
    array, wanted = as_array(values, name), np.atleast_1d(np.asarray(label))
    if array.dtype.kind not in "biu":
        raise LabelError(
            f"The {name} is no label map.",
            got=str(array.dtype),
            expected="integers",
            remedy="convert it by .astype(int) if its values are whole, or threshold probabilities first",
        )
    if not wanted.size or wanted.dtype.kind not in "iu" or (wanted == 0).any():
        raise LabelError(
            "A label has values other than 0, which is background.",
            got=label,
            expected="e.g. 1",
            remedy="name the value of the label; background has no score of its own",
        )
    return np.isin(array, wanted)


def _mask(array: NDArray, name: str) -> tuple[NDArray[np.bool_], int]:
    """The mask, and its value; 0 where that says nothing."""
    if array.dtype == bool:
        return array, 0
    if array.dtype.kind not in "iu":
        raise LabelError(
            f"The {name} is not a mask.",
            got=str(array.dtype),
            expected="booleans, or integers that are 0 outside",
            remedy="decide first, e.g. probability > 0.5",
        )
    mask = array != 0
    # Bytes are searched for their largest many times faster than compared.
    if array.dtype == np.uint8 and array.size and (high := int(array.max())) <= 1:
        return mask, high
    marked = np.count_nonzero(mask)
    if np.count_nonzero(array == 1) == marked:
        return mask, int(marked > 0)
    value = int(array[mask][0])
    if np.count_nonzero(array == value) < marked:
        held = np.unique(array[mask])
        raise LabelError(
            f"The {name} is a label map, not a mask: it holds several values beside 0.",
            got=", ".join(map(str, held[:8].tolist())) + (", ..." if len(held) > 8 else ""),
            remedy="evaluate_labels measures every label; for one of them, hand over labels == 1 "
            "or evaluate(..., label=1)",
        )
    return mask, value
