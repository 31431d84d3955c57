"""U-Nets in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from truevox.errors import GraphError
from truevox.networks.layers import fastest_layout, normalisation

__all__ = ["UNet"]

PerLevel = int | Sequence[int | Sequence[int]]
Sizes = tuple[int, ...]

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_INTERPOLATION = ("linear", "bilinear", "trilinear")
_LEAK = 0.01
_LARGEST = 4096


class UNet(nn.Module):
    """Encoder and decoder with skip connections.

    Each level is ``convs`` times convolution, normalisation, LeakyReLU. Levels are joined by max pooling on
    the way down, so that every path through the network looks at the same place (a strided convolution
    would put the coarse levels half a voxel aside), and on the way up by a transposed convolution whose
    kernel is its stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images and of the logits.
    ndim : int
        1, 2 or 3.
    channels : sequence of int
        Features per level, finest first; its length is the number of levels.
    strides : int or sequence
        Down-sampling between a level and the next coarser one: one number for all, or one entry per step
        (``len(channels) - 1``), each an int or one int per axis, as (1, 2, 2) for thick slices.
    kernels : int or sequence
        Kernel size, odd: one number for all, or one entry per level, each an int or one int per axis.
    convs : int
        Convolutions per level, in the encoder and in the decoder.
    residual : bool
        Adds the input of a level's block to its output (through a 1x1 convolution where channels differ).
    norm : "instance", "batch", "group" or None
        Normalisation after each convolution.
    padding : "same" or "valid"
        "same" keeps the size: each size must be a multiple of the product of its strides. "valid" convolves
        only where the kernel fits, so the output is smaller than the input and skip connections are
        cropped about their centre.
    deep_supervision : int
        Number of coarser logits to return besides the full ones.
    up : "transposed" or "linear"
        Up-sampling: transposed convolution, or linear interpolation after a 1x1 convolution.

    Raises
    ------
    GraphError
        If a setting does not fit the others; when called, if the network can't produce that input size (the
        message names the nearest sizes that it can).

    Notes
    -----
    With ``deep_supervision=n`` the result is a tuple ``(full, half, quarter, ...)`` of ``n + 1`` logits in
    training *and* in evaluation mode, so that the graph of a model does not change with the mode.

    Ronneberger, Fischer, Brox: U-Net (2015); Çiçek et al.: 3D U-Net (2016).

    Examples
    --------
    >>> net = UNet(in_channels=2, out_channels=3, ndim=2, channels=(8, 16))
    >>> net(torch.zeros(1, 2, 32, 48)).shape
    torch.Size([1, 3, 32, 48])
    >>> UNet(1, 2, ndim=1, channels=(4, 8), padding="valid")(torch.zeros(1, 1, 32)).shape
    torch.Size([1, 2, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int = 3,
        channels: Sequence[int] = (16, 32, 64, 128),
        strides: PerLevel = 2,
        kernels: PerLevel = 3,
        convs: int = 2,
        residual: bool = False,
        norm: str | None = "instance",
        padding: str = "same",
        deep_supervision: int = 0,
        up: str = "transposed",
    ) -> None:
        super().__init__()
        _check(ndim, channels, convs, norm, padding, deep_supervision, up)
        levels = len(channels)
        self.settings = {
            "in_channels": in_channels, "out_channels": out_channels, "ndim": ndim,
            "channels": list(channels),
            "strides": strides, "kernels": kernels, "convs": convs, "residual": residual, "norm": norm,
            "padding": padding, "deep_supervision": deep_supervision, "up": up,
        }  # fmt: skip
        self.in_channels, self.out_channels, self.ndim = in_channels, out_channels, ndim
        self.padding, self.convs, self.deep_supervision = padding, convs, deep_supervision
        self.strides = _per_level(strides, levels - 1, ndim, "strides")
        self.kernels = _per_level(kernels, levels, ndim, "kernels")
        if any(size % 2 == 0 for kernel in self.kernels for size in kernel):
            raise GraphError(
                "A kernel of a U-Net needs a middle voxel.",
                got=self.kernels,
                expected="odd sizes",
                remedy="write 3 instead of 2 or 4",
            )

        def block(first: int, level: int) -> _Block:
            return _Block(first, channels[level], self.kernels[level], convs, residual, norm, padding)

        self.encoder = nn.ModuleList(
            block(channels[level - 1] if level else in_channels, level) for level in range(levels)
        )
        self.down = nn.ModuleList(_POOL[ndim - 1](stride) for stride in self.strides)
        self.up = nn.ModuleList(
            _up(channels[level + 1], channels[level], self.strides[level], up) for level in range(levels - 1)
        )
        self.decoder = nn.ModuleList(block(2 * channels[level], level) for level in range(levels - 1))
        self.heads = nn.ModuleList(
            _CONV[ndim - 1](channels[level], out_channels, 1) for level in range(deep_supervision + 1)
        )
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, out_channels, *spatial) of ``x`` (B, in_channels, *spatial)."""
        self._check_input(x)
        skips = []
        for block, down in zip(self.encoder[:-1], self.down, strict=True):  # type: ignore[arg-type]
            skips.append(block(x))
            x = down(skips[-1])
        x = self.encoder[-1](x)
        deepest = len(skips)
        outputs = [self.heads[deepest](x)] if self.deep_supervision == deepest else []
        for level in reversed(range(deepest)):
            x = self.up[level](x)
            x = self.decoder[level](torch.cat([_crop(skips.pop(), x.shape[2:]), x], dim=1))
            if level <= self.deep_supervision:
                outputs.append(self.heads[level](x))
        return tuple(reversed(outputs)) if self.deep_supervision else outputs[0]

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """Spatial shape of the (full) logits for an input of spatial ``shape``, or None if refused."""
        sizes = [self._output_size(int(size), axis) for axis, size in enumerate(shape)]
        return None if None in sizes else tuple(size for size in sizes if size is not None)

    def nearest_sizes(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Per axis the nearest producible size not above ``shape`` (0 if there is none) and not below it."""

        def first(sizes: range, axis: int) -> int:
            return next((size for size in sizes if self._output_size(size, axis) is not None), 0)

        below = tuple(first(range(size, 0, -1), axis) for axis, size in enumerate(shape))
        above = tuple(first(range(size, size + _LARGEST), axis) for axis, size in enumerate(shape))
        return below, above

    def _output_size(self, size: int, axis: int) -> int | None:
        lost = [self.convs * (k[axis] - 1) * (self.padding == "valid") for k in self.kernels]
        skips = []
        for level, stride in enumerate(self.strides):
            size -= lost[level]
            if size < 1 or size % stride[axis]:
                return None
            skips.append(size)
            size //= stride[axis]
        size -= lost[-1]
        for level in reversed(range(len(self.strides))):
            size *= self.strides[level][axis]
            if size < 1 or (skips.pop() - size) % 2:
                return None
            size -= lost[level]
        return size if size > 0 else None

    def _check_input(self, x: Tensor) -> None:
        if x.dim() != self.ndim + 2 or x.shape[1] != self.in_channels:
            raise GraphError(
                f"This U-Net takes {self.in_channels} channels in {self.ndim} dimensions.",
                got=tuple(x.shape),
                expected=f"(batch, {self.in_channels}, {', '.join('ijk'[: self.ndim])})",
                remedy="add the batch and channel axes by x[None], and build the U-Net with the image's "
                "channels",
            )
        shape = tuple(x.shape[2:])
        if self.output_shape(shape) is None:
            below, above = self.nearest_sizes(shape)
            raise GraphError(
                "This U-Net can't produce that patch size.",
                got="x".join(map(str, shape)),
                expected=f"per axis, the nearest smaller {below} and larger {above} (0: there is none)",
                remedy="choose sizes from these, or change the network's strides",
            )


class _Block(nn.Module):
    """``convs`` times convolution, normalisation, LeakyReLU; with a shortcut if residual."""

    def __init__(
        self,
        first: int,
        channels: int,
        kernel: Sizes,
        convs: int,
        residual: bool,
        norm: str | None,
        padding: str,
    ) -> None:
        super().__init__()
        conv = _CONV[len(kernel) - 1]
        pad = tuple(size // 2 if padding == "same" else 0 for size in kernel)
        self.convs = nn.ModuleList(
            conv(source, channels, kernel, padding=pad, bias=norm is None)  # type: ignore[arg-type]
            for source in [first, *[channels] * (convs - 1)]
        )
        self.norms = nn.ModuleList(normalisation(norm, channels, len(kernel)) for _ in range(convs))
        self.shortcut: nn.Module | None = None
        if residual:
            self.shortcut = nn.Identity() if first == channels else conv(first, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        start, last = x, len(self.convs) - 1
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(fastest_layout(conv(x)))
            if i == last and self.shortcut is not None:
                x = x + self.shortcut(_crop(start, x.shape[2:]))
            # In place without autograd only: in training the norm before it may need its result.
            x = nn.functional.leaky_relu(x, _LEAK, inplace=not torch.is_grad_enabled())
        return x


def _up(channels: int, out_channels: int, stride: Sizes, kind: str) -> nn.Module:
    ndim = len(stride)
    if kind == "transposed":
        return _TRANSPOSED[ndim - 1](channels, out_channels, stride, stride=stride)  # type: ignore[arg-type]
    scale = tuple(float(size) for size in stride)
    mode = _INTERPOLATION[ndim - 1]
    return nn.Sequential(
        _CONV[ndim - 1](channels, out_channels, 1),
        nn.Upsample(scale_factor=scale, mode=mode, align_corners=False),
    )


def _crop(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Central part of ``x`` with spatial ``shape``."""
    for axis, size in enumerate(shape, start=2):
        if x.shape[axis] != size:
            x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (*_CONV, *_TRANSPOSED)):
        nn.init.kaiming_normal_(module.weight, a=_LEAK)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _per_level(value: PerLevel, levels: int, ndim: int, name: str) -> tuple[Sizes, ...]:
    entries = [value] * levels if isinstance(value, int) else list(value)
    if len(entries) != levels:
        raise GraphError(
            f"`{name}` needs one entry per {'step between levels' if name == 'strides' else 'level'}.",
            got=tuple(entries),
            expected=f"one int, or {levels} entries",
            remedy=f"write one int for all of `{name}`, or one entry for each",
        )
    result = []
    for entry in entries:
        axes = (entry,) * ndim if isinstance(entry, int) else tuple(int(size) for size in entry)
        if len(axes) != ndim or min(axes) < 1:
            raise GraphError(
                f"An entry of `{name}` does not fit.",
                got=entry,
                expected=f"{ndim} ints of at least 1",
                remedy=f"write ints from 1 in `{name}`, one per axis",
            )
        result.append(axes)
    return tuple(result)


def _check(
    ndim: int, channels: Sequence[int], convs: int, norm: str | None, padding: str, deep: int, up: str
) -> None:
    def demand(good: bool, name: str, got: object, expected: str) -> None:
        if not good:
            raise GraphError(
                f"`{name}` of a U-Net does not fit.",
                got=got,
                expected=expected,
                remedy=f"change {name}= where the U-Net is made (in a recipe: network.{name})",
            )

    kinds: tuple[tuple[str, object, Callable[[], bool], str], ...] = (
        ("ndim", ndim, lambda: ndim in (1, 2, 3), "1, 2 or 3"),
        (
            "channels",
            channels,
            lambda: len(channels) > 0 and min(channels) > 0,
            "positive ints, one per level",
        ),
        ("convs", convs, lambda: convs > 0, "at least 1"),
        (
            "norm",
            norm,
            lambda: norm in ("instance", "batch", "group", None),
            "'instance', 'batch', 'group' or None",
        ),
        ("padding", padding, lambda: padding in ("same", "valid"), "'same' or 'valid'"),
        ("deep_supervision", deep, lambda: 0 <= deep < len(channels), f"0 to {len(channels) - 1}"),
        ("up", up, lambda: up in ("transposed", "linear"), "'transposed' or 'linear'"),
    )
    for name, got, good, expected in kinds:
        demand(good(), name, got, expected)
