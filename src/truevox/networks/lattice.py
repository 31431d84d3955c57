"""What a network does to a grid, as plain numbers: offset, stride and which sizes it can produce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from truevox.errors import GraphError

__all__ = ["LatticeMap"]

_LARGEST = 100_000


@dataclass(frozen=True)
class LatticeMap:
    """Map from the lattice of a network's input to that of its output, per axis.

    The centre of output voxel ``o`` lies on input index ``offset + stride * o``.

    Parameters
    ----------
    stride, offset : tuple of Fraction
        In input voxels. Of a map onto one voxel (``whole``) they hold for no particular size and are 1 and 0.
    sizes : tuple of tuple of int
        Per axis, ``sizes[axis][n - 1]`` is the output size for ``n`` input voxels; 0 if it can't be produced.
    period : tuple of int
        Beyond the table, its last ``period`` entries repeat, each time larger by ``period / stride``.
    whole : bool
        The output is one voxel that covers the whole input, whatever its size (a classifier).

    Examples
    --------
    A valid convolution of size 3, then pooling by 2:

    >>> lattice = LatticeMap.from_rule(2, 1.5, lambda n: (n - 2) // 2 if n % 2 == 0 else 0, ndim=1)
    >>> lattice.output_shape((96,)), lattice.input_shape_for((48,)), lattice.nearest_valid((97,))
    ((47,), (98,), ((96,), (98,)))
    """

    stride: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    sizes: tuple[tuple[int, ...], ...]
    period: tuple[int, ...]
    whole: bool = False

    def __post_init__(self) -> None:
        for axis, (table, period) in enumerate(zip(self.sizes, self.period, strict=True)):
            if not 1 <= period <= len(table) or self.stride[axis] <= 0:
                raise GraphError(
                    "The table of sizes is shorter than its period.",
                    got=(len(table), period),
                    remedy="give one entry of the sizes per voxel of input, over one whole period at least",
                )

    @classmethod
    def identity(cls, ndim: int) -> LatticeMap:
        """Map of a network that keeps every voxel where it is."""
        return cls.from_rule(1, 0, lambda size: size, ndim=ndim)

    @classmethod
    def from_rule(
        cls,
        stride: float | Sequence[float],
        offset: float | Sequence[float],
        rule: Callable[[int], int],
        *,
        ndim: int,
        largest: int = 256,
    ) -> LatticeMap:
        """Map declared by hand: ``rule(n)`` is the output size for ``n`` input voxels, 0 if refused."""
        strides = _fractions(stride, ndim)
        tables, periods = [], []
        for axis in range(ndim):
            table = [max(rule(size), 0) for size in range(1, largest + 1)]
            tables.append(tuple(table))
            periods.append(find_period(table, strides[axis]))
        return cls(strides, _fractions(offset, ndim), tuple(tables), tuple(periods))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.stride)

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Output voxels for an input of ``input_shape``.

        Raises
        ------
        GraphError
            If the network can't produce that size; the nearest sizes that it can are named.
        """
        shape = tuple(self._size(int(size), axis) for axis, size in enumerate(self._check(input_shape)))
        if 0 in shape:
            below, above = self.nearest_valid(input_shape)
            raise GraphError(
                "The network can't produce that patch size.",
                got="x".join(map(str, input_shape)),
                expected=f"per axis, the nearest smaller {below} and larger {above} (0: there is none)",
                remedy="choose sizes from these",
            )
        return shape

    def input_shape_for(self, output_shape: Sequence[int]) -> tuple[int, ...]:
        """Smallest input shape whose output has at least ``output_shape`` voxels along each axis.

        Raises
        ------
        GraphError
            If no input gives so large an output.
        """
        shape = []
        for axis, wanted in enumerate(self._check(output_shape)):
            sizes = range(1, _LARGEST)
            found = next((n for n in sizes if self._size(n, axis) >= wanted), None)
            if found is None:
                raise GraphError(
                    f"No input of the network gives {wanted} output voxels along axis {axis}.",
                    got=tuple(output_shape),
                    expected="one voxel per axis" if self.whole else None,
                    remedy="ask for a smaller output, or take a network without a pooling to one voxel",
                )
            shape.append(found)
        return tuple(shape)

    def is_valid(self, input_shape: Sequence[int]) -> bool:
        """Whether the network can take an input of ``input_shape``."""
        return all(self._size(int(size), axis) > 0 for axis, size in enumerate(self._check(input_shape)))

    def nearest_valid(self, input_shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Per axis the nearest valid size not above ``input_shape`` and that not below it; 0 if none."""

        def first(sizes: range, axis: int) -> int:
            return next((size for size in sizes if self._size(size, axis) > 0), 0)

        shape = self._check(input_shape)
        below = tuple(first(range(size, 0, -1), axis) for axis, size in enumerate(shape))
        above = tuple(
            first(range(max(size, 1), max(size, len(self.sizes[axis])) + self.period[axis] + 1), axis)
            for axis, size in enumerate(shape)
        )
        return below, above

    def margin(self, input_shape: Sequence[int]) -> tuple[tuple[Fraction, Fraction], ...]:
        """Input voxels before and after the box that the output voxels cover, per axis.

        Negative where the output's box reaches outside the input's.
        """
        offset, stride, shape = self._numbers(input_shape)
        before = [o - (s - 1) / 2 for o, s in zip(offset, stride, strict=True)]
        return tuple(
            (b, size - b - s * n) for b, s, n, size in zip(before, stride, shape, input_shape, strict=True)
        )

    def on(
        self, input_shape: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, ...]]:
        """Offset, stride and shape of an input's output lattice, as ``Grid.lattice`` takes them.

        Axes that the map does not have (a 2D network on a slice of a volume) are the caller's to add.
        """
        offset, stride, shape = self._numbers(input_shape)
        return np.array(offset, dtype=np.float64), np.array(stride, dtype=np.float64), shape

    def _numbers(
        self, input_shape: Sequence[int]
    ) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...], tuple[int, ...]]:
        shape = self.output_shape(input_shape)
        if not self.whole:
            return self.offset, self.stride, shape
        return (
            tuple(Fraction(size - 1, 2) for size in input_shape),
            tuple(Fraction(size) for size in input_shape),
            shape,
        )

    def _size(self, size: int, axis: int) -> int:
        table, period = self.sizes[axis], self.period[axis]
        if size < 1:
            return 0
        if size <= len(table):
            return table[size - 1]
        rounds = -(-(size - len(table)) // period)
        base = table[size - rounds * period - 1]
        growth = 0 if self.whole else int(period / self.stride[axis])
        return base + rounds * growth if base else 0

    def _check(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) != self.ndim:
            raise GraphError(
                "A shape does not fit the network's axes.",
                got=tuple(shape),
                expected=f"{self.ndim} sizes",
                remedy="leave batch and channel axes out",
            )
        return tuple(int(size) for size in shape)


def find_period(table: Sequence[int], stride: Fraction) -> int:
    """Smallest period of the end of a table of output sizes that grows by one per ``stride`` input voxels.

    Raises
    ------
    GraphError
        If the last half of the table does not repeat.
    """
    tail = list(table[len(table) // 2 :])
    for period in range(1, len(tail) // 2 + 1):
        growth = period / stride
        if growth.denominator != 1 or not any(tail[-period:]):
            continue
        pairs = zip(tail, tail[period:], strict=False)
        if all(later == (earlier + growth if earlier else 0) for earlier, later in pairs):
            return period
    sizes = ", ".join(map(str, tail[:12]))
    raise GraphError(
        "The sizes that the network can produce follow no period.",
        got=f"for {len(table) - len(tail) + 1} input voxels and more: {sizes}, ... (0: none)",
        remedy="use a network whose output size follows its input size, or declare where it looks: "
        "tv.Network(module, lattice=[tv.networks.LatticeMap.from_rule(...)])",
    )


def _fractions(value: float | Sequence[float], ndim: int) -> tuple[Fraction, ...]:
    values = value if isinstance(value, Sequence) else (value,) * ndim
    return tuple(Fraction(entry).limit_denominator(4096) for entry in values)
