"""Image: a tensor on a grid. What moves voxels moves the grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from truevox import sampling
from truevox.errors import GeometryError
from truevox.labels import Labels
from truevox.origin import Origin
from truevox.space import Grid, slices_to_lattice

__all__ = ["Image", "Kind"]

Kind = Literal["scalar", "label", "probability", "logits", "value"]
KINDS = ("scalar", "label", "probability", "logits", "value")


@dataclasses.dataclass(frozen=True, eq=False)
class Image:
    """Voxels (C, I, J, K) and where they lie.

    Parameters
    ----------
    data : tensor or array (C, I, J, K)
        Arrays of fewer axes than the grid needs are not guessed: pass the channel axis.
    grid : Grid
        Shape (I, J, K).
    kind : {"scalar", "label", "probability", "logits", "value"}
        Decides how it is sampled (labels: nearest) and what may be computed from it.
        ``"value"`` is a number per channel, valid on any grid.
    fill : float or sequence of C floats
        What lies outside of the grid.
    labels : Labels, optional
        Meaning of the values (label) or of the channels (probability, logits).
    header : optional
        Header of the file whose stored grid this is; :func:`truevox.save` keeps its geometry bytes.
    origin : Origin, optional
        Of a prediction: what it was made with, which :func:`truevox.volume` hands on. Files do not keep it.

    Raises
    ------
    GeometryError
        If data and grid differ in shape.

    Notes
    -----
    ``.data`` is a plain tensor and claims nothing about space. Arithmetic demands equal grids.

    Examples
    --------
    >>> image = Image(torch.arange(24.0).reshape(1, 2, 3, 4), Grid((2, 3, 4)))
    >>> part = image[:, :, 1:, ::2]
    >>> part.shape, part.grid.to_world((0, 0, 0)).tolist()
    ((1, 2, 2, 2), [0.0, 1.0, 0.0])
    >>> torch.equal(image.on(part.grid).data, part.data)
    True
    """

    data: Tensor
    grid: Grid
    kind: Kind = "scalar"
    fill: float | tuple[float, ...] = 0.0
    labels: Labels | None = None
    header: Any = None
    origin: Origin | None = None

    def __post_init__(self) -> None:
        data = (
            self.data if isinstance(self.data, Tensor) else torch.as_tensor(np.ascontiguousarray(self.data))
        )
        object.__setattr__(self, "data", data)
        if not isinstance(self.fill, (int, float)):
            object.__setattr__(self, "fill", tuple(float(f) for f in self.fill))
        if self.kind not in KINDS:
            raise GeometryError("Unknown kind of image.", got=self.kind, expected=" | ".join(KINDS))
        if data.ndim != 4 or (tuple(data.shape[1:]) != self.grid.shape and self.kind != "value"):
            raise GeometryError(
                "An image's data is (C, I, J, K) with the grid's shape.",
                got=tuple(data.shape),
                expected=("C", *self.grid.shape),
            )

    def __repr__(self) -> str:
        return (
            f"Image({self.kind}, {self.channels} channel{'s' * (self.channels > 1)}, {self.grid.describe()})"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, I, J, K)."""
        return tuple(self.data.shape)

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return int(self.data.shape[0])

    def numpy(self) -> np.ndarray:
        """The voxels as an array (C, I, J, K); no copy for tensors on the CPU."""
        return self.data.detach().cpu().numpy()

    def replace(self, **changes: Any) -> Image:
        """A copy with some fields changed. The header goes when the grid changes."""
        if "grid" in changes and "header" not in changes and changes["grid"] != self.grid:
            changes["header"] = None
        return dataclasses.replace(self, **changes)

    def fills(self) -> np.ndarray:
        """The value outside, per channel: (C,)."""
        return np.broadcast_to(np.asarray(self.fill, dtype=np.float64), self.channels)

    # ---- space --------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Image:
        """Slices over (channel, i, j, k); the grid moves along. ``image[:, ::2]`` is plain decimation."""
        keys = key if isinstance(key, tuple) else (key,)
        first, spatial = (slice(None), keys) if keys[0] is Ellipsis else (keys[0], keys[1:])
        if not isinstance(first, slice):
            raise GeometryError(
                "Channels are taken by slices.", got=key, remedy="write image[1:2] instead of image[1]"
            )
        offset, stride, shape = slices_to_lattice(tuple(spatial) or (Ellipsis,), self.grid.shape)
        channels = range(self.channels)[first]
        data = self.data[first] if channels.step > 0 else self.data[list(channels)]
        if data.shape[0] == 0:
            raise GeometryError("The slice holds no channel.", got=key)
        for axis, (start, step, count) in enumerate(zip(offset, stride, shape, strict=True)):
            index = torch.arange(count, device=data.device) * step + start
            low = min(start, start + step * (count - 1))
            data = data.narrow(axis + 1, low, count) if step == 1 else data.index_select(axis + 1, index)
        fill = self.fill if isinstance(self.fill, (int, float)) else tuple(self.fill)[first]
        whole = channels == range(self.channels)
        labels = self.labels if whole or self.kind == "label" else None
        grid = self.grid.lattice(offset, stride, shape)
        part = self.replace(data=data, grid=grid, fill=fill, labels=labels)
        return part if grid.handedness == self.grid.handedness else part.mirrored()

    def on(
        self,
        grid: Grid,
        *,
        antialias: bool = True,
        mirror: bool = True,
        field: sampling.Field | None = None,
    ) -> Image:
        """The image as seen on another grid.

        Where the voxels coincide (within 1e-4 voxel) this is slicing, exact; otherwise it is one
        interpolation: linear for scalars and probabilities, nearest for labels. Axes whose step exceeds
        1.5 voxels are averaged over the new voxel; labels with a label table then become probabilities
        (one-hot, area average), labels without one stay nearest. Outside lies ``fill``.

        Parameters
        ----------
        antialias : bool
            Whether to average when it coarsens.
        mirror : bool
            Whether a grid of the other handedness is a look into a mirror, in which the ``swap`` pairs
            of the label table change places. Reading another storage order of the same file is not.
        field : sampling.Field, optional
            A displacement through which the image is seen, in the same interpolation.

        Returns
        -------
        Image
            On exactly ``grid``. Samples are float32 where interpolated.
        """
        if self.kind == "value":
            return dataclasses.replace(self, grid=grid)
        if grid == self.grid and field is None:
            return self
        seen = self._sampled(grid, antialias, field)
        if mirror and grid.handedness != self.grid.handedness:
            seen = seen.mirrored()
        return seen

    def mirrored(self) -> Image:
        """Labels and channels that change places in a mirror, changed; the grid stays."""
        if self.labels is None or not self.labels.swap:
            return self
        if self.kind == "label":
            return self.replace(data=torch.from_numpy(self.labels.mirrored(self.numpy())))
        if self.channels != self.labels.channels:
            return self
        return self.replace(data=self.data[list(self.labels.channel_swap)])

    def _sampled(self, grid: Grid, antialias: bool, field: sampling.Field | None) -> Image:
        found = sampling.coincidence(self.grid, grid) if field is None else None
        if found is not None:
            device = self.data.device
            if device.type == "cpu":
                part = sampling.take(self.numpy(), found, grid.shape, self.fills())
                part = part if min(part.strides) >= 0 else part.copy()
                return self.replace(data=torch.from_numpy(part), grid=grid)
            return self._taken_on_device(found, grid)
        steps = sampling.coarsening(self.grid, grid)
        if antialias and (steps > sampling.COARSE).any():
            # Averages touch every voxel: leave out those that are far from the new grid.
            near = self.grid.covering(grid, 2 + int(np.ceil(steps.max())))
            if field is not None:
                near = near.pad(field.reach(self.grid).tolist())
            window = sampling.clipped(near, self.grid)
            if window.shape != self.grid.shape:
                return self.on(window)._sampled(grid, antialias, field)
        if self.kind == "label":
            if not (antialias and self.labels is not None and (steps > sampling.COARSE).any()):
                out = sampling.resample(
                    self.numpy(), self.grid, grid, self.fills(), mode="nearest", field=field
                )
                return self.replace(data=torch.from_numpy(out), grid=grid)
            masks = self.labels.one_hot(self.numpy())
            empty = np.zeros(len(masks))
            empty[: self.labels.activation == "softmax"] = 1.0
            out = sampling.resample(masks, self.grid, grid, empty, mode="area", field=field)
            return Image(torch.from_numpy(out), grid, "probability", tuple(empty.tolist()), self.labels)
        out = sampling.resample(self.numpy(), self.grid, grid, self.fills(), antialias=antialias, field=field)
        return self.replace(data=torch.from_numpy(out).to(self.data.device), grid=grid)

    def _taken_on_device(self, found: tuple[list[int], list[int], list[int]], grid: Grid) -> Image:
        """Exact samples without leaving the accelerator: index per axis, then fill."""
        axes, signs, starts = found
        data = self.data.permute(0, *(1 + a for a in axes))
        outside = torch.zeros(grid.shape, dtype=torch.bool, device=data.device)
        for t, a in enumerate(axes):
            index = starts[a] + signs[t] * torch.arange(grid.shape[t], device=data.device)
            off = (index < 0) | (index >= data.shape[1 + t])
            outside |= off.view([-1 if s == t else 1 for s in range(3)])
            data = data.index_select(1 + t, index.clamp(0, data.shape[1 + t] - 1))
        fill = torch.as_tensor(self.fills().copy(), device=data.device).to(data.dtype).view(-1, 1, 1, 1)
        return self.replace(data=torch.where(outside, fill, data), grid=grid)

    # ---- arithmetic -----------------------------------------------------------------------------------

    def _binary(self, other: Any, function: Callable[[Any, Any], Tensor]) -> Image:
        if isinstance(other, Image):
            if not self.grid.same_as(other.grid):
                raise GeometryError(
                    "Arithmetic between images on different grids.",
                    got=f"{self.grid.describe()} and {other.grid.describe()}",
                    remedy="sample one on the other's grid first: b.on(a.grid)",
                )
            fill = _simple(function(self.fills(), other.fills()))
            return Image(function(self.data, other.data), self.grid, "scalar", fill)
        if isinstance(other, (int, float)) and math.isfinite(other):
            return Image(
                function(self.data, other), self.grid, "scalar", _simple(function(self.fills(), other))
            )
        return NotImplemented

    def __add__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a - b)

    def __mul__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Image:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._binary(other, lambda a, b: a / b)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: b - a)


def _simple(fill: Any) -> float | tuple[float, ...]:
    """A fill per channel as one number where all channels agree."""
    values: Sequence[float] = np.nan_to_num(np.atleast_1d(fill)).tolist()
    return float(values[0]) if len(set(values)) == 1 else tuple(float(v) for v in values)
