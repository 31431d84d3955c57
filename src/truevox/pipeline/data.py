"""What worker processes make: samples of everything that lies before the first network.

A sample is a function of its global number, so batches are the same for any number of workers and
wherever a run resumes. A worker never raises: it sends a record of the failure, because exceptions
with several arguments do not survive pickling.
"""

from __future__ import annotations

import math
import multiprocessing
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from truevox import kernels
from truevox.errors import GraphError, TrueVoxError
from truevox.image import Image
from truevox.labels import IGNORE_INDEX, Labels
from truevox.pipeline.cache import Cache, Recent
from truevox.pipeline.draws import Draw, case_of_sample
from truevox.pipeline.graph import Call, Node
from truevox.pipeline.identity import library
from truevox.pipeline.lazy import Held
from truevox.pipeline.plan import Plan
from truevox.pipeline.run import KEPT_PLACES, Frame, Run
from truevox.pipeline.watch import Watch
from truevox.pipeline.workers import Loader
from truevox.sampling import COARSE, coarsening
from truevox.space import Grid

__all__ = ["Failure", "Samples", "Steps", "batches", "encode_target", "frame_of_batch"]


@dataclass(frozen=True)
class Failure:
    """Why a sample could not be made, as plain fields."""

    message: str
    fields: dict[str, str | None]
    trace: str
    kind: type[TrueVoxError] = TrueVoxError

    def error(self) -> TrueVoxError:
        """The error for the main process to raise; its text ends with the worker's own traceback."""
        made = self.kind(self.message, **self.fields)
        made.add_note("Traceback of the process that made the sample:\n" + self.trace)
        return made


class Samples(Dataset):
    """Samples by global number.

    Parameters
    ----------
    plan : Plan
    cases : sequence of Case
    targets : sequence of (prediction Node, label Node)
        Each label is sent on the grid of the network output that it is compared with.
    seed : int
    cache : Cache or None
    """

    def __init__(
        self,
        plan: Plan,
        cases: Sequence[Any],
        targets: Sequence[tuple[Node, Node]],
        seed: int,
        cache: Cache | None,
    ) -> None:
        self.plan, self.cases, self.targets, self.seed, self.cache = (
            plan,
            list(cases),
            list(targets),
            seed,
            cache,
        )
        self.nodes = plan.worker_nodes([p for p, _ in targets])
        self.watch = Watch(plan.calls)
        self._prefix: Recent[Any, Any] = Recent(KEPT_PLACES)
        if cache is not None:
            library()  # read once, before worker processes are forked

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_prefix": Recent(KEPT_PLACES),
        }  # a spawned worker opens the cache for itself

    def __getitem__(self, number: int) -> dict[str, Any] | Failure:
        try:
            return self._sample(number)
        except Exception as error:
            fields = {
                name: None if (v := getattr(error, name, None)) is None else str(v)
                for name in ("case", "file", "node", "got", "expected", "remedy")
            }
            if isinstance(error, TrueVoxError):
                return Failure(error.message, fields, traceback.format_exc(), type(error))
            return Failure(f"{type(error).__name__}: {error}", fields, traceback.format_exc())

    def _sample(self, number: int) -> dict[str, Any]:
        index = case_of_sample(self.seed, number, len(self.cases))
        self.watch.begin(number, index)
        run = Run(self.plan, cache=self.cache, networks=False, prefix=self._prefix, watch=self.watch)
        frame = Frame([self.cases[index]], [Draw(self.seed, number)])
        images = [run.values(n, frame)[0].image() for n in self.nodes]
        targets = []
        for prediction, label in self.targets:
            grid = run.values(prediction, frame)[0].grid
            lazy = run.values(label, frame)[0]
            coarse = bool((coarsening(lazy.grid, grid) > COARSE).any())
            targets.append(encode_target(lazy.pull(grid, antialias=coarse), label.signature.labels))
        self.watch.end()
        return {
            "number": number,
            "case": index,
            # Floats of one type, whatever the draw: some samples of a batch met noise, others are as stored.
            "nodes": [
                {"data": _as_input(i), "affine": torch.from_numpy(i.grid.affine.copy())} for i in images
            ],
            "fills": [i.fills().tolist() for i in images],
            "units": [i.grid.unit for i in images],
            "targets": targets,
            "remarks": [*run.remarks, *self._cache_remarks()],
        }

    def _cache_remarks(self) -> list[str]:
        if self.cache is None or not self.cache.remarks:
            return []
        said = list(self.cache.remarks.elements())
        self.cache.remarks.clear()
        return said


def _as_input(image: Image) -> Tensor:
    """Voxels as networks take them."""
    return image.data if image.kind in ("label", "value") else image.data.float()


def encode_target(image: Image, labels: Labels | None) -> Tensor:
    """What a loss takes: class indices (1, I, J, K) uint8, or soft channels (C, I, J, K) float32."""
    if image.kind == "label" and labels is not None:
        return torch.from_numpy(labels.encode(image.numpy()))
    return image.data.float()


def collate(samples: Sequence[dict[str, Any] | Failure], tables: Sequence[Labels | None]) -> Any:
    """Samples of one batch, stacked; the first failure instead, if there is one."""
    good: list[dict[str, Any]] = []
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
        good.append(sample)
    nodes = []
    for k in range(len(good[0]["nodes"])):
        data = [s["nodes"][k]["data"] for s in good]
        if len({tuple(d.shape) for d in data}) > 1:
            raise GraphError(
                "The samples of a batch differ in size.",
                got=sorted({tuple(d.shape) for d in data}),
                remedy="crop to one size (tv.RandomCrop), or train with batch size 1",
            )
        nodes.append({"data": _stacked(data), "affine": torch.stack([s["nodes"][k]["affine"] for s in good])})
    targets = []
    for k, labels in enumerate(tables):
        parts = [s["targets"][k] for s in good]
        if len({p.dtype for p in parts}) > 1 and labels is not None:
            parts = [p if p.is_floating_point() else _one_hot(p, labels) for p in parts]
        targets.append(_stacked(parts))
    return {
        "number": [s["number"] for s in good],
        "case": [s["case"] for s in good],
        "nodes": nodes,
        "fills": [[s["fills"][k] for s in good] for k in range(len(nodes))],
        "units": [[s["units"][k] for s in good] for k in range(len(nodes))],
        "targets": targets,
        "remarks": [r for s in good for r in s["remarks"]],
    }


def _stacked(tensors: list[Tensor]) -> Tensor:
    """As one tensor: in memory that processes share if this is a worker, so that it is not copied again."""
    if len(tensors) == 1:
        return tensors[0][None]
    if get_worker_info() is None:
        return torch.stack(tensors)
    shape = (len(tensors), *tensors[0].shape)
    storage = tensors[0]._typed_storage()._new_shared(math.prod(shape))
    out = tensors[0].new(storage).resize_(shape)
    return torch.stack(tensors, out=out)


def _one_hot(index: Tensor, labels: Labels) -> Tensor:
    """Shares of each channel; NaN, not known, where the label is ignored."""
    if not labels.exclusive:
        shares = index.float()  # a mask per region already
    elif labels.channels == 1:
        shares = (index == 1).float()
    else:
        shares = torch.cat([index == k for k in range(labels.channels)]).float()
    return shares if labels.ignore is None else shares.masked_fill(index == IGNORE_INDEX, math.nan)


class Steps(Sampler[list[int]]):
    """Sample numbers of every batch from ``start`` on: step s of rank r takes a block of its own."""

    def __init__(self, start: int, stop: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.start, self.stop, self.batch_size, self.rank, self.world = start, stop, batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = (step * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return self.stop - self.start


class _Collate:
    """A picklable function, for workers that are spawned."""

    def __init__(self, tables: Sequence[Labels | None]) -> None:
        self.tables = list(tables)

    def __call__(self, samples: Sequence[dict[str, Any] | Failure]) -> Any:
        return collate(samples, self.tables)


def batches(samples: Samples, steps: Steps, workers: int = 0) -> DataLoader:
    """Loader of batches, in the order of their numbers whatever the number of workers.

    Raises
    ------
    WorkerError
        While it is read, if a worker process dies.
    """
    samples.watch.share(workers)
    if workers and multiprocessing.get_start_method() == "fork":
        kernels.link()
    return Loader(
        samples,
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=_Collate([label.signature.labels for _, label in samples.targets]),
        prefetch_factor=2 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def frame_of_batch(batch: dict[str, Any], nodes: Sequence[Node], cases: Sequence[Any], seed: int) -> Frame:
    """A frame in which what the workers made is known, and the rest can be evaluated."""
    size = len(batch["number"])
    frame = Frame([cases[c] for c in batch["case"]], [Draw(seed, n) for n in batch["number"]])
    known: dict[Call, list[list[Any]]] = {}
    parts = zip(nodes, batch["nodes"], batch["fills"], batch["units"], strict=True)
    for node, part, fills, units in parts:
        outputs = known.setdefault(node.call, [[None] * len(node.call.signatures) for _ in range(size)])
        affines = part["affine"].cpu().numpy().astype(np.float64)
        for k in range(size):
            data = part["data"][k]
            shape = tuple(data.shape[1:])
            signature = node.signature
            grid = Grid(shape, affines[k], units[k])
            image = Held(Image(data, grid, signature.kind, tuple(fills[k]), signature.labels))
            image.batch = (part["data"], k)
            outputs[k][node.index] = image
    frame.memo = {call: [tuple(o) for o in outputs] for call, outputs in known.items()}
    return frame
