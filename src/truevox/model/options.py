"""How to predict: what changes memory and time alone, and what changes the prediction."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy import ndimage

from truevox.errors import GraphError, SettingsError
from truevox.image import Image
from truevox.model.memory import as_bytes
from truevox.pipeline.graph import Call
from truevox.pipeline.kinds import FanIn, FanOut
from truevox.pipeline.lazy import Lazy
from truevox.pipeline.tiling import Tiling
from truevox.space import Grid
from truevox.transforms.tiles import GridCrop, Put, touched

__all__ = ["Options", "body_box"]

BODY_ML = 1.0
"""Parts smaller than this, in ml, are noise and no body."""
MARGIN_MM = 10.0
"""Around the body, in mm."""


@dataclass(frozen=True)
class Options:
    """How to predict; every field is an argument of :meth:`truevox.Model.predict`."""

    batch_size: int | None = None
    device: str | torch.device = "cpu"
    max_memory: int | str | None = None
    scratch: str | Path | None = None
    body_box: bool = False
    whole_volume: bool = False
    precision: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bf16"):
            raise SettingsError(
                "Unknown precision of a prediction.",
                got=self.precision,
                expected="float32 | bf16",
                remedy='leave precision= out for float32, or write precision="bf16"',
            )
        if self.max_memory is not None:
            as_bytes(self.max_memory)
        if self.batch_size is not None and self.batch_size < 1:
            raise SettingsError(
                "A batch holds one patch at least.",
                got=self.batch_size,
                remedy="write batch_size=1, or leave it out",
            )

    @property
    def batch(self) -> int:
        """Patches that go through the network together: one on a CPU, where more only take more memory."""
        return self.batch_size or (1 if torch.device(self.device).type == "cpu" else 4)

    @property
    def scratch_folder(self) -> Path:
        """Where whole volumes go that do not fit into memory."""
        return Path(self.scratch or tempfile.gettempdir())

    @property
    def changed(self) -> dict[str, object]:
        """The options that change the prediction, where they are not off."""
        off = Options()
        names = ("body_box", "whole_volume", "precision")
        return {n: getattr(self, n) for n in names if getattr(self, n) != getattr(off, n)}

    def plain(self) -> Options:
        """The same with all that changes the prediction turned off."""
        return replace(self, body_box=False, whole_volume=False, precision="float32")

    def tiling(self, headers_only: bool = False) -> Tiling:
        """What the run does about tiles; from headers alone, the body is as large as the scan."""
        box = self.body_box and not headers_only
        return _Departing(box, self.whole_volume) if box or self.whole_volume else Tiling()


@dataclass(frozen=True)
class _Departing(Tiling):
    """Tiles of the body's box alone, or one tile as large as the scan."""

    body_box: bool
    whole_volume: bool

    def fan_out(
        self, op: FanOut, inputs: Sequence[Lazy], reach: Callable[[Grid], Grid], covers: list[Grid]
    ) -> tuple[FanOut, list[Grid]]:
        if not isinstance(op, GridCrop):
            return op, covers
        if self.body_box:
            box = body_box(inputs[0].image())
            found = [(c, touched(c, box)) for c in covers or [inputs[0].grid]]
            covers = [c.crop(*window) for c, window in found if window is not None]
        if self.whole_volume:
            op = replace(op, size=_whole_size(inputs[0].grid, covers, reach), overlap=0.0)
        return op, covers

    def fan_in(self, op: FanIn, call: Call) -> FanIn:
        if not self.body_box or not isinstance(op, Put) or op.uncovered is not None:
            return op
        signature = call.inputs[0].signature
        if signature.kind != "probability":
            raise GraphError(
                "Outside of the body's box lies background, and only probabilities say what that is.",
                got=signature.kind,
                remedy="put Sigmoid or Softmax before Put, or say Put(uncovered=...)",
            )
        labels = signature.labels
        several = labels is not None and labels.activation == "softmax"
        return replace(op, uncovered=(1.0, *(0.0 for _ in labels.names)) if labels and several else 0.0)


def body_box(scan: Image) -> Grid:
    """The box of the body in a scan: what differs from the air around it, and 10 mm more.

    Air is the median of the scan's outer planes. A voxel belongs to the body if it differs from air, in any
    channel, by more than six robust standard deviations (1.4826 times the median absolute deviation) of
    those planes; connected parts below 1 ml are noise. A scan around which there is no air, or that
    holds nothing else, has a box as large as itself.

    Examples
    --------
    >>> scan = torch.zeros(1, 60, 60, 60)
    >>> scan[:, 20:40, 20:40, 25:45] = 1
    >>> body_box(Image(scan, Grid((60, 60, 60)))).shape
    (40, 40, 40)
    """
    body = np.zeros(scan.grid.shape, bool)
    for channel in scan.numpy():
        planes = [channel.take((0, -1), axis=a).ravel() for a, n in enumerate(channel.shape) if n > 2]
        rim = np.concatenate(planes or [channel.ravel()])
        air = float(np.median(rim))
        spread = 6 * 1.4826 * float(np.median(np.abs(rim - air)))
        # Where most of the air is one number, what differs from it by rounding is air as well.
        body |= np.abs(channel - air) > max(spread, 1e-6 * abs(air))
    parts = np.zeros(body.shape, np.int32)
    ndimage.label(body, output=parts)
    sizes = np.bincount(parts.ravel())[1:]
    found = [
        where
        for where, size in zip(ndimage.find_objects(parts), sizes, strict=True)
        if where is not None and (scan.grid.unit != "mm" or size * scan.grid.voxel_volume_ml >= BODY_ML)
    ]
    if not found:
        return scan.grid
    low = np.array([[s.start for s in where] for where in found]).min(0)
    high = np.array([[s.stop for s in where] for where in found]).max(0)
    margin = np.ceil(MARGIN_MM / scan.grid.spacing).astype(int)
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, scan.grid.shape)
    return scan.grid.crop(low.tolist(), (high - low).tolist())


def _whole_size(scan: Grid, covers: Sequence[Grid], reach: Callable[[Grid], Grid]) -> list[int]:
    """The smallest tile that the network takes and whose output covers everything."""
    corners = np.concatenate([scan.to_index(c.corners) for c in covers or [scan]])
    wanted = np.ceil(np.round(corners.max(0) - corners.min(0), 4)).astype(int)
    least, refused = wanted.copy(), None
    for _ in range(8):  # a network with valid convolutions loses a margin: add it and look again
        for step in (1, 2, 4, 8, 16, 32, 64):
            size = [n if n == 1 else math.ceil(n / step) * step for n in least.tolist()]
            try:
                out = reach(scan.crop((0, 0, 0), size))
            except GraphError as error:
                refused = error
                continue
            span = np.abs(scan.index_map(out)[:3, :3]).sum(1) * out.shape
            lost = np.ceil(wanted - span - 1e-6).astype(int)
            if (lost <= 0).all():
                return size
            least = np.array(size) + np.maximum(lost, 0)
            break
    raise refused or GraphError(
        "No tile of the network's covers the whole scan.",
        got=scan.describe(),
        remedy="leave whole_volume (--whole-volume) out, so that it predicts by tiles",
    )
