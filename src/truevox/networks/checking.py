"""Whether a network looks where its stated lattice says: tried on numbers before it is first used."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from truevox.errors import GraphError
from truevox.networks.field_of_view import FieldOfView, Runner, tensors_of
from truevox.networks.lattice import LatticeMap
from truevox.networks.probing import REMEDY, MeanPools, averaging_copy

__all__ = ["check_impulses", "check_size"]

SECONDS = 5.0
"""Bound of a check's time, after which at most one pass of the network on a short strip is under way."""
_LENGTH, _IMPULSES = 96, 4
_LEAST = 1e-4
"""Answers below this share of the largest may be rounding in float32."""
_BORDER = 0.05
"""Square of an answer at the border, as a share of the largest, above which its middle is not all seen."""


def check_size(module: nn.Module, view: FieldOfView, channels: int, shape: Sequence[int]) -> None:
    """Refuse a network that is known by arithmetic and takes another path at this size than at those tried.

    Raises
    ------
    GraphError
        With what was stated and what holds at this size.
    """
    if any("probed" in note for note in view.notes) or view.map.whole:
        return
    tracks, _ = Runner(module, len(shape), channels).trace(shape)
    for track, one in zip(tracks, view.outputs, strict=True):
        for axis, (offset, stride) in enumerate(zip(one.offset, one.stride, strict=True)):
            if track is None or one.map.whole or any("probed" in note for note in one.notes):
                continue
            centre = track.axes[axis].centre
            line = float(offset) + float(stride) * np.arange(len(centre))
            if np.abs(centre - line).max() > 1e-6 * max(shape):
                raise _elsewhere(axis, float(centre[0]), float(offset), f"at a patch size of {tuple(shape)}")


@torch.no_grad()
def check_impulses(
    module: nn.Module, maps: Sequence[LatticeMap], views: Sequence[FieldOfView], inputs: Sequence[Tensor]
) -> None:
    """Refuse a network whose answers to impulses lie elsewhere than its lattice says.

    An averaging copy runs on strips, no longer than the patch along one axis and as short as it takes along
    the others. Nothing is said of a network that can't run so, that answers nothing or everywhere alike, or
    whose inputs have unlike sizes.

    Parameters
    ----------
    views : sequence of FieldOfView
        One per map where the extents are known, else none.
    inputs : sequence of Tensor (B, C, *spatial)
        A batch that the network will see: of it only shapes, type and device are used.

    Raises
    ------
    GraphError
        With the stated place, where the answer lies, and the remedy.
    """
    shape, until = tuple(inputs[0].shape[2:]), time.monotonic() + SECONDS
    if any(tuple(x.shape[2:]) != shape for x in inputs) or all(one.whole for one in maps):
        return
    try:
        twin, _ = averaging_copy(module, torch.float32)
    except Exception:  # it can't be copied
        return
    for axis in range(len(shape)):
        if time.monotonic() > until:
            return
        strip = _strip(maps[0], shape, axis)
        places = _places(strip[axis], int(max(one.period[axis] for one in maps)))
        answers = _answers(twin, inputs, strip, axis, places)
        for number, (lattice, answer) in enumerate(zip(maps, answers, strict=False)):
            view = views[number] if number < len(views) else None
            if not lattice.whole and lattice.output_shape(strip)[axis] == answer.shape[1]:
                _compare(lattice, view, answer, axis, places)


def _strip(lattice: LatticeMap, shape: tuple[int, ...], axis: int) -> list[int]:
    shortest = lattice.nearest_valid((1,) * len(shape))[1]
    longest = lattice.nearest_valid([min(_LENGTH, n) for n in shape])
    return [(longest[0][a] or longest[1][a]) if a == axis else n for a, n in enumerate(shortest)]


def _places(length: int, period: int) -> list[int]:
    """Impulses in the middle, spread over a period."""
    first = max(0, length // 2 - period // 2)
    return sorted({min(first + k * period // _IMPULSES, length - 1) for k in range(_IMPULSES)})


def _answers(
    twin: nn.Module, inputs: Sequence[Tensor], strip: list[int], axis: int, places: list[int]
) -> list[np.ndarray]:
    """Of each output, sums of changes (impulses, positions along the axis); none if the network can't run."""
    given = [torch.ones((1 + len(places), x.shape[1], *strip), device=x.device) for x in inputs]
    for x in given:
        for k, place in enumerate(places):
            x[1 + k].select(1 + axis, place).add_(0.5)
    try:
        with MeanPools():
            outputs = tensors_of(twin(*given))
    except Exception:  # whatever the module's own code raises: its lattice stands
        return []
    if any(out.dim() != 2 + len(strip) for out in outputs):
        return []
    changes = [(out[1:] - out[:1]).abs() for out in outputs]
    others = [[d for d in range(1, c.dim()) if d != 2 + axis] for c in changes]
    return [c.sum(dims).cpu().double().numpy() for c, dims in zip(changes, others, strict=True)]


def _compare(
    lattice: LatticeMap, view: FieldOfView | None, answer: np.ndarray, axis: int, places: list[int]
) -> None:
    stride, offset = float(lattice.stride[axis]), float(lattice.offset[axis])
    answer = np.where(answer > _LEAST * answer.max(1, keepdims=True), answer, 0)
    squares = answer**2
    border, peak = squares[:, [0, -1]].max(1), squares.max(1)
    if not np.isfinite(answer).all() or (peak == 0).any() or (border > _BORDER * peak).any():
        return
    position = offset + stride * np.arange(answer.shape[1])
    found = (squares * position).sum(1) / squares.sum(1)
    apart = float(np.mean(found - places))
    if abs(apart) > 0.25 + max(stride, 1.0) / 2:
        raise _elsewhere(axis, offset - apart, offset, "by its answers to impulses")
    if view is None or view.size[axis] is None or view.whole_input:
        return
    reach = (int(view.size[axis] or 0) - 1) / 2 + max(1.0, stride, lattice.period[axis]) / 2
    away = np.abs(position - np.array(places)[:, None])
    farthest = float(away[answer > 0].max())
    if farthest > reach:
        raise GraphError(
            f"The network sees more than its stated field of view (axis {axis}).",
            got=f"an answer {farthest:g} voxels away",
            expected=f"{view.size[axis]} voxels in all, at most {reach:g} to a side",
            remedy=REMEDY,
        )


def _elsewhere(axis: int, found: float, stated: float, how: str) -> GraphError:
    return GraphError(
        f"The network does not look where its output is placed (axis {axis}).",
        got=f"output voxel 0 looks at input index {round(found, 2) + 0:g}, {how}",
        expected=f"{stated:g}, as stated",
        remedy=REMEDY,
    )
