"""Image: a tensor on a grid. What moves voxels moves the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from truevox import sampling
from truevox.alignment import in_lengths_of
from truevox.errors import GeometryError
from truevox.labels import Labels
from truevox.lattices import slices_to_lattice
from truevox.origin import Origin
from truevox.space import Grid
from truevox.voxels import (
    OF_NUMPY,
    as_fill,
    as_voxels,
    check_whole,
    finite_number,
    floating,
    of_annotated,
    shares_of,
    type_with,
)

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
        If data and grid differ in shape, or the data are no real numbers.
    LabelError
        If labels are not integers.

    Notes
    -----
    ``.data`` is a plain tensor and claims nothing about space. Arithmetic demands equal grids, and makes
    floats of whole numbers. A type of whole numbers that can't hold ``fill`` becomes one that can.

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

    # NumPy's operators leave an array beside an image to the image, which says what is wrong.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        data = as_voxels(self.data, self.kind)
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "fill", as_fill(self.fill))
        if self.kind not in KINDS:
            raise GeometryError(
                "Unknown kind of image.",
                got=self.kind,
                expected=" | ".join(KINDS),
                remedy='kind="scalar" for intensities, "label" for label maps',
            )
        if data.ndim != 4 or (tuple(data.shape[1:]) != self.grid.shape and self.kind != "value"):
            raise GeometryError(
                "An image's data is (C, I, J, K) with the grid's shape.",
                got=tuple(data.shape),
                expected=("C", *self.grid.shape),
                remedy="put the channel first: data[None] for one channel; and give the grid of this array",
            )
        if isinstance(self.fill, tuple) and len(self.fill) != len(data):
            raise GeometryError(
                "An image's fill is a number, or one per channel.",
                got=self.fill,
                expected=f"{len(data)} numbers",
                remedy="give one number for all channels, or as many as there are",
            )
        if self.kind == "label":
            check_whole(data, self.fill)
        if not data.is_floating_point() and self.fill != 0:
            object.__setattr__(self, "data", data.to(type_with(data.dtype, self.fills())))

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
        """The voxels as an array (C, I, J, K); no copy for tensors on the CPU of a type that NumPy knows."""
        data = self.data.detach().cpu()
        return (data if data.dtype in OF_NUMPY else data.float()).numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def replace(self, **changes: Any) -> Image:
        """A copy with some fields changed. The header goes when the grid changes.

        What becomes labels has background outside, unless a ``fill`` says otherwise.
        """
        if "grid" in changes and "header" not in changes and changes["grid"] != self.grid:
            changes["header"] = None
        if changes.get("kind") == "label" != self.kind:
            changes.setdefault("fill", 0.0)
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
            raise GeometryError(
                "The slice holds no channel.",
                got=key,
                remedy="take a slice inside the channels, such as image[0:1]",
            )
        for axis, (start, step, count) in enumerate(zip(offset, stride, shape, strict=True)):
            index = torch.arange(count, device=data.device) * step + start
            low = min(start, start + step * (count - 1))
            data = data.narrow(axis + 1, low, count) if step == 1 else data.index_select(axis + 1, index)
        fill = self.fill if isinstance(self.fill, (int, float)) else tuple(self.fill)[first]
        whole = channels == range(self.channels)
        labels = self.labels if whole else None
        if not whole and self.kind == "label" and self.labels is not None:
            labels = self.labels.of_channels(list(channels), self.channels)
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
        1.5 voxels are averaged over the new voxel, in any orientation; labels with a label table then become
        probabilities (one-hot, area average), labels without one stay nearest. Outside lies ``fill``:
        probabilities that reach out take their part of it, so that their volume is kept, while intensities
        are means of what was measured. What a label table ignores has no share; where it is most of a voxel
        the voxel is NaN.

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

        Raises
        ------
        GeometryError
            If one of the two grids is in pixels and the other one in mm, unless their shape and the order of
            their axes are the same: then voxels are taken for the same.
        """
        if self.kind == "value":
            return dataclasses.replace(self, grid=grid)
        if grid == self.grid and field is None:
            return self
        if grid.unit != self.grid.unit:
            if in_lengths_of(self.grid, grid) is not grid:
                raise GeometryError(
                    "Without a spacing (px) nobody knows where voxels lie among those in mm.",
                    file=None if self.header is None else self.header.path,
                    got=f"{self.grid.describe()} and {grid.describe()}",
                    remedy="write the spacing into the file, or make both grids in one unit",
                )
            return dataclasses.replace(self, grid=grid).on(grid, field=field)
        seen = self._sampled(grid, antialias, field)
        if mirror and grid.handedness != self.grid.handedness:
            seen = seen.mirrored()
        return seen

    def mirrored(self) -> Image:
        """Labels and channels that change places in a mirror, changed; the grid stays."""
        if self.labels is None or not self.labels.swap:
            return self
        fills = self.fills()
        if self.kind == "label":
            data = torch.from_numpy(self.labels.mirrored(self.numpy())).to(self.data.device)
            return self.replace(data=data, fill=_simple(self.labels.mirrored(fills)))
        if self.channels != self.labels.channels:
            return self
        order = list(self.labels.channel_swap)
        return self.replace(data=self.data[order], fill=_simple(fills[order]))

    def _sampled(self, grid: Grid, antialias: bool, field: sampling.Field | None) -> Image:
        found = sampling.coincidence(self.grid, grid) if field is None else None
        if found is not None:
            # A gradient goes through what is exact: a crop or a flip between two networks.
            plain = self.data.dtype in OF_NUMPY and not self.data.requires_grad
            if plain and self.data.device.type == "cpu":
                part = sampling.take(self.numpy(), found, grid.shape, self.fills())
                part = part if min(part.strides) >= 0 else part.copy()
                return self.replace(data=torch.from_numpy(part), grid=grid)
            return self._taken_by_torch(found, grid)
        coarse = antialias and bool((sampling.coarsening(self.grid, grid) > sampling.COARSE).any())
        shares = antialias and self.kind == "probability"
        if coarse or shares:
            # Averages touch every voxel: leave out those that are far from the new grid.
            near = self.grid.covering(grid).pad(sampling.margin(self.grid, grid, coarse))
            if field is not None:
                near = near.pad(field.reach(self.grid).tolist())
            window = sampling.clipped(near, self.grid)
            if window.shape != self.grid.shape:
                return self.on(window)._sampled(grid, antialias, field)
        if self.kind != "label":
            mode = "area" if shares else "linear"
            out = sampling.resample(
                self.numpy(), self.grid, grid, self.fills(), mode=mode, antialias=antialias, field=field
            )
            return self.replace(data=torch.from_numpy(out).to(self.data.device), grid=grid)
        if not (coarse and self.labels is not None):
            out = sampling.resample(self.numpy(), self.grid, grid, self.fills(), mode="nearest", field=field)
            return self.replace(data=torch.from_numpy(out), grid=grid)
        masks = shares_of(self.labels, self.numpy())
        empty = shares_of(self.labels, np.rint(self.fills()).astype(int).reshape(-1, 1, 1, 1)).ravel()
        out = sampling.resample(masks, self.grid, grid, empty, mode="area", field=field)
        out, empty = of_annotated(self.labels, out), of_annotated(self.labels, empty)
        return Image(torch.from_numpy(out), grid, "probability", tuple(empty.tolist()), self.labels)

    def _taken_by_torch(self, found: tuple[list[int], list[int], list[int]], grid: Grid) -> Image:
        """Exact samples that leave neither the accelerator nor the gradients: index per axis, then fill."""
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

    def _binary(self, other: Any, function: Callable[[Any, Any], Any]) -> Image:
        """Voxel by voxel. Whole numbers become floats, as they would wrap: 200 + 100 is 44 in eight bits."""
        if isinstance(other, Image):
            if not self.grid.same_as(other.grid):
                raise GeometryError(
                    "Arithmetic between images on different grids.",
                    got=f"{self.grid.describe()} and {other.grid.describe()}",
                    remedy="sample one on the other's grid first: b.on(a.grid)",
                )
            if self.channels != other.channels and 1 not in (self.channels, other.channels):
                raise GeometryError(
                    "Arithmetic between images of different channels.",
                    got=f"{self.channels} and {other.channels} channels",
                    expected="as many, or one channel in one of them",
                    remedy="take some of the channels: image[1:2]",
                )
            value, outside = floating(other.data), other.fills()
        elif isinstance(other, (np.ndarray, Tensor)) and other.ndim:
            raise GeometryError(
                "Arithmetic between an image and an array, which has no grid.",
                got=f"{type(other).__name__} {tuple(other.shape)}",
                remedy="say where its voxels lie: tv.Image(array, image.grid)",
            )
        elif isinstance(other, (int, float, np.number, np.ndarray, Tensor)):
            value = outside = finite_number(other)
        else:
            return NotImplemented
        made = function(floating(self.data), value)
        with np.errstate(all="ignore"):
            return Image(made, self.grid, "scalar", _simple(function(self.fills(), outside)))

    def __add__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a - b)

    def __mul__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Image:
        if isinstance(other, (int, float, np.number)) and other == 0:
            raise GeometryError(
                "An image was divided by 0.",
                remedy="divide by a number other than 0; for a mask, multiply by the mask",
            )
        return self._binary(other, lambda a, b: a / b)

    def __pow__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: a**b)

    def __neg__(self) -> Image:
        return self * -1

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Image:
        return self._binary(other, lambda a, b: b - a)


def _simple(fill: Any) -> float | tuple[float, ...]:
    """A fill per channel as one number where all channels agree; 0 where it is not defined."""
    values: Sequence[float] = np.nan_to_num(np.atleast_1d(fill), posinf=0.0, neginf=0.0).tolist()
    return float(values[0]) if len(set(values)) == 1 else tuple(float(v) for v in values)
