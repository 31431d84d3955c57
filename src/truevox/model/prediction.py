"""Prediction of one case: the graph's outputs, on the stored grid of their reference."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from truevox.errors import CaseError
from truevox.image import Image
from truevox.model.heap import kept_heap
from truevox.model.memory import MemoryPlan, memory_plan
from truevox.model.options import Options
from truevox.pipeline.cache import Cache
from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Node, ancestors
from truevox.pipeline.kinds import FanIn
from truevox.pipeline.run import Frame, Run
from truevox.pipeline.volumes import Volumes, blocks, mirror
from truevox.sampling import coincidence
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["predict"]


def predict(model: Model, case: Any, options: Options, cache: Cache | None = None) -> dict[str, Image]:
    """All outputs for one case; see :meth:`truevox.Model.predict`."""
    plan = _planned(model, case, options)
    volumes = Volumes(options.scratch_folder if plan.on_disk else None)
    tiling = options.tiling()
    run = Run(model.plan, cache=cache, batch_size=plan.batch_size, volumes=volumes, tiling=tiling)
    frame = Frame([case], [Draw(0, 0)])
    device = torch.device(options.device)
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16")
    # No gradients, but not inference_mode: users may change the result in place.
    with kept_heap(), _evaluating(model, device), torch.no_grad(), bf16:
        out = {name: _output(model, name, node, run, frame) for name, node in model.predictions.items()}
    model.remarks.update(run.remarks)
    if cache is not None:
        model.remarks.update(cache.remarks)
        cache.remarks.clear()
    return out


def _planned(model: Model, case: Any, options: Options) -> MemoryPlan:
    if options.max_memory is None:
        return MemoryPlan(options.batch, False, 0, 0, 0)
    return memory_plan(model, case, options)


@contextlib.contextmanager
def _evaluating(model: Model, device: torch.device) -> Iterator[None]:
    training = model.module_dict.training
    model.module_dict.to(device)
    model.module_dict.eval()
    try:
        yield
    finally:
        model.module_dict.train(training)


def _output(model: Model, name: str, node: Node, run: Run, frame: Frame) -> Image:
    lazy = run.values(node, frame)[0]
    image = lazy.image()
    if not all(_finite(part) for _, part in blocks(image.data)):
        raise CaseError(
            f"Output '{name}' holds values that are not finite.",
            case=str(frame.cases[0].key),
            remedy="tv.Put(..., uncovered=0) if patches left voxels uncovered; else the network diverged",
        )
    labels = image.labels or model.learned(name)
    labels = replace(labels, swap=()) if labels and labels.channels == image.channels else None
    data = image.data.cpu().clone() if image.data.is_cuda else image.data
    image = image.replace(data=data, labels=labels, origin=model.origins.get(name))
    if lazy.stored is None:
        return image
    grid, header = lazy.stored
    alone = isinstance(node.call.op, FanIn) and not any(
        node.call in ancestors([other]) for key, other in model.predictions.items() if key != name
    )
    turned = _turned(image, grid) if alone else None
    if turned is not None:
        return image.replace(data=turned, grid=grid, header=header)
    # Storage order is no mirror: the pairs of the label table have changed back already.
    return image.on(grid, mirror=False).replace(grid=grid, header=header)


def _finite(part: Tensor) -> bool:
    """Whether all values are finite, without a copy of them."""
    if part.numel() == 0 or not part.is_floating_point():
        return True
    low, high = torch.aminmax(part)
    return math.isfinite(float(low)) and math.isfinite(float(high))


def _turned(image: Image, grid: Grid) -> Tensor | None:
    """The voxels in another storage order, in the same memory; None where that is more than turning."""
    found = coincidence(image.grid, grid)
    if found is None or not image.data.is_contiguous():
        return None
    axes, signs, starts = found
    if [image.grid.shape[a] for a in axes] != list(grid.shape):
        return None
    turned = [a for a, sign in zip(axes, signs, strict=True) if sign < 0]
    if starts != [image.grid.shape[a] - 1 if a in turned else 0 for a in range(3)]:
        return None
    return mirror(image.data, turned).permute(0, *(1 + a for a in axes))
