"""Whether a network looks where its stated lattice says: tried on numbers before it is first used."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from truevox.errors import GraphError
from truevox.networks.copying import as_written
from truevox.networks.field_of_view import FieldOfView
from truevox.networks.lattice import LatticeMap
from truevox.networks.probing import REMEDY, MeanPools, averaging_copy
from truevox.networks.runner import Runner, tensors_of

__all__ = ["check_impulses", "check_size"]

SECONDS = 5.0
"""Bound of a check's time, after which at most one pass of the network on a short strip is under way."""
_LENGTH, _IMPULSES = 96, 4
_ROW = 16
"""Impulses in a row, where those that are spread say that something is off."""
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
    with as_written():
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
        period = int(max(one.period[axis] for one in maps))
        try:
            _try(twin, maps, views, inputs, strip, axis, _places(strip[axis], period, _IMPULSES), False)
        except GraphError:
            # Blocks of voxels that see the same (as of a map that is enlarged to the input's size, whatever
            # that is) answer to one impulse off their middle: to all in a row they do not.
            row = max(period, min(_ROW, strip[axis] // 3))
            if not _try(twin, maps, views, inputs, strip, axis, _places(strip[axis], row, row), True):
                raise


def _try(
    twin: nn.Module,
    maps: Sequence[LatticeMap],
    views: Sequence[FieldOfView],
    inputs: Sequence[Tensor],
    strip: list[int],
    axis: int,
    places: list[int],
    row: bool,
) -> bool:
    """Whether the answers say that the lattices hold; they may say nothing."""
    answers, said = _answers(twin, inputs, strip, axis, places), []
    for number, (lattice, answer) in enumerate(zip(maps, answers, strict=False)):
        view = views[number] if number < len(views) else None
        if not lattice.whole and lattice.output_shape(strip)[axis] == answer.shape[1]:
            said.append(_compare(lattice, view, answer, axis, places, row))
    return bool(said) and all(said)


def _strip(lattice: LatticeMap, shape: tuple[int, ...], axis: int) -> list[int]:
    shortest = lattice.nearest_valid((1,) * len(shape))[1]
    longest = lattice.nearest_valid([min(_LENGTH, n) for n in shape])
    return [(longest[0][a] or longest[1][a]) if a == axis else n for a, n in enumerate(shortest)]


def _places(length: int, period: int, count: int) -> list[int]:
    """Impulses in the middle, spread over a period."""
    first = max(0, length // 2 - period // 2)
    return sorted({min(first + k * period // count, length - 1) for k in range(count)})


def _answers(
    twin: nn.Module, inputs: Sequence[Tensor], strip: list[int], axis: int, places: list[int]
) -> list[np.ndarray]:
    """Of each output, sums of changes (impulses, positions along the axis); none if the network can't run."""
    given = [torch.ones((1 + len(places), x.shape[1], *strip), device=x.device) for x in inputs]
    for x in given:
        for k, place in enumerate(places):
            x[1 + k].select(1 + axis, place).add_(0.5)
    try:
        with MeanPools(), as_written():
            outputs = tensors_of(twin(*given))
    except Exception:  # whatever the module's own code raises: its lattice stands
        return []
    if any(out.dim() != 2 + len(strip) for out in outputs):
        return []
    changes = [(out[1:] - out[:1]).abs() for out in outputs]
    others = [[d for d in range(1, c.dim()) if d != 2 + axis] for c in changes]
    return [c.sum(dims).cpu().double().numpy() for c, dims in zip(changes, others, strict=True)]


def _compare(
    lattice: LatticeMap,
    view: FieldOfView | None,
    answer: np.ndarray,
    axis: int,
    places: list[int],
    row: bool,
) -> bool:
    """Whether the answers to impulses, in a row or spread, say something: that the lattice holds."""
    stride, offset = float(lattice.stride[axis]), float(lattice.offset[axis])
    answer = np.where(answer > _LEAST * answer.max(1, keepdims=True), answer, 0)
    squares = answer**2
    border, peak = squares[:, [0, -1]].max(1), squares.max(1)
    if not np.isfinite(answer).all() or (peak == 0).any() or (border > _BORDER * peak).any():
        return False
    position, slack = offset + stride * np.arange(answer.shape[1]), max(1.0, stride)
    found = (squares * position).sum(1) / squares.sum(1)
    apart = float(np.mean(found - places))
    if abs(apart) > 0.25 + slack / 2:
        raise _elsewhere(axis, offset - apart, offset, "by its answers to impulses")
    if view is None or view.size[axis] is None or view.whole_input:
        return True
    size = int(view.size[axis] or 0)
    away = (position - np.array(places)[:, None]) * (answer > 0)
    if not row and float(np.abs(away).max()) <= (size - 1) / 2 + max(slack, lattice.period[axis]) / 2:
        return True
    # An input voxel is seen, on average, by as many output voxels as an output voxel sees.
    seen = float(np.count_nonzero(answer, axis=1).mean()) * stride
    if not row or seen > size + slack:
        raise GraphError(
            f"The network sees more than its stated field of view (axis {axis}).",
            got=f"answers over {seen:g} voxels",
            expected=f"{size} voxels in all",
            remedy=REMEDY,
        )
    aside = float(np.mean((away.max(1) + away.min(1)) / 2))
    if abs(aside) > 0.25 + slack / 2 + size / 8:
        raise GraphError(
            f"Paths of the network look at different places (axis {axis}): its output's place is not known.",
            got=f"answers lie about {aside:g} voxels from the place of the path that sees least",
            expected="paths that look at one place",
            remedy=REMEDY,
        )
    return True


def _elsewhere(axis: int, found: float, stated: float, how: str) -> GraphError:
    return GraphError(
        f"The network does not look where its output is placed (axis {axis}).",
        got=f"output voxel 0 looks at input index {round(found, 2) + 0:g}, {how}",
        expected=f"{stated:g}, as stated",
        remedy=REMEDY,
    )
