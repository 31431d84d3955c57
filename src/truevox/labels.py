"""Labels: what the values of a label image mean, and how they become channels of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from truevox.errors import LabelError

__all__ = ["IGNORE_INDEX", "Labels"]

IGNORE_INDEX = 255
"""Class index that losses give no weight to."""
UNDECLARED = 254


@dataclass(frozen=True)
class Labels:
    """A label table: names, voxel values, mirrored pairs.

    Parameters
    ----------
    names : mapping of str to int or to sequence of int
        Foreground classes. A sequence of values makes a region; regions may overlap, and then each
        is a channel of its own.
    swap : sequence of pairs of names
        Classes that change places in a mirror, e.g. ``[("left", "right")]``.
    ignore : int, optional
        A value that was not annotated: losses give it no weight.

    Raises
    ------
    LabelError
        If the table is empty, a value is 0, or a mirrored pair does not fit the classes.

    Notes
    -----
    One class is one channel (sigmoid); K exclusive classes are K + 1 channels with the background
    first (softmax); overlapping regions are K channels (sigmoids).

    Examples
    --------
    >>> labels = Labels({"anterior": 1, "posterior": 2})
    >>> labels.channels, labels.activation, labels.channel_names
    (3, 'softmax', {'anterior': 1, 'posterior': 2})
    """

    names: Mapping[str, int | Sequence[int]]
    swap: Sequence[tuple[str, str]] = ()
    ignore: int | None = None

    def __post_init__(self) -> None:
        table = {
            str(n): (v if isinstance(v, int) else tuple(int(u) for u in v)) for n, v in self.names.items()
        }
        pairs = tuple((str(a), str(b)) for a, b in self.swap)
        object.__setattr__(self, "names", table)
        object.__setattr__(self, "swap", pairs)
        if not table:
            raise LabelError(
                "A label table names at least one foreground class.", remedy='e.g. {"tumour": 1}'
            )
        if any(0 in self._values(n) for n in table):
            raise LabelError("Value 0 is the background and needs no name.", got=dict(table))
        if self.ignore is not None and any(self.ignore in self._values(n) for n in table):
            raise LabelError("The value to ignore is also a class.", got=self.ignore)
        if unknown := {n for pair in pairs for n in pair} - set(table):
            raise LabelError("Mirrored pairs name classes that the table lacks.", got=sorted(unknown))
        if uneven := [(a, b) for a, b in pairs if len(self._values(a)) != len(self._values(b))]:
            raise LabelError("Mirrored classes have as many values as each other.", got=uneven)

    def __hash__(self) -> int:
        return hash((tuple(self.names.items()), tuple(self.swap), self.ignore))

    def _values(self, name: str) -> tuple[int, ...]:
        value = self.names[name]
        return (value,) if isinstance(value, int) else tuple(value)

    @property
    def exclusive(self) -> bool:
        """Whether no voxel can belong to two classes."""
        values = [v for n in self.names for v in self._values(n)]
        return len(values) == len(set(values))

    @property
    def values(self) -> tuple[int, ...]:
        """All declared foreground values, ascending."""
        return tuple(sorted({v for n in self.names for v in self._values(n)}))

    @property
    def channels(self) -> int:
        """Output channels of a network that learns these labels."""
        return len(self.names) + 1 if len(self.names) > 1 and self.exclusive else len(self.names)

    @property
    def activation(self) -> str:
        """``"softmax"`` for several exclusive classes, else ``"sigmoid"``."""
        return "softmax" if len(self.names) > 1 and self.exclusive else "sigmoid"

    @property
    def channel_names(self) -> dict[str, int]:
        """Class name to channel of the network's output."""
        first = 1 if self.activation == "softmax" else 0
        return {name: first + k for k, name in enumerate(self.names)}

    @property
    def channel_swap(self) -> tuple[int, ...]:
        """Order of the channels as seen in a mirror: channel c shows what was ``order[c]``."""
        order = list(range(self.channels))
        for a, b in self.swap:
            i, j = self.channel_names[a], self.channel_names[b]
            order[i], order[j] = order[j], order[i]
        return tuple(order)

    def check(self, array: Any) -> None:
        """Refuse voxel values that the table does not declare.

        Raises
        ------
        LabelError
            Naming the values found and those declared.
        """
        data = np.asarray(array)
        found = np.unique(data) if data.dtype.kind in "iub" else np.unique(np.rint(data))
        if not np.array_equal(found.astype(np.float64), np.unique(data).astype(np.float64)):
            raise LabelError(
                "A label image holds values between the integers.", expected=f"0 and {self.values}"
            )
        allowed = {0, *self.values} | ({self.ignore} if self.ignore is not None else set())
        if unknown := sorted({int(v) for v in found} - allowed):
            raise LabelError(
                "A label image holds values that the label table does not declare.",
                got=unknown,
                expected=f"0 and {', '.join(map(str, self.values))}",
                remedy="declare them in the label table, or `ignore:` one value",
            )

    def encode(self, array: Any) -> np.ndarray:
        """Label values to what a loss takes.

        Parameters
        ----------
        array : (1, I, J, K) integers

        Returns
        -------
        (1, I, J, K) uint8 class indices (``IGNORE_INDEX`` where ignored) for exclusive classes;
        (K, I, J, K) uint8 masks for overlapping regions.
        """
        data = np.asarray(array)
        if not self.exclusive:
            self.check(data)
            masks = [np.isin(data[0], self._values(name)) for name in self.names]
            return np.stack(masks).astype(np.uint8)
        codes = {v: k for k, name in enumerate(self.names, start=1) for v in self._values(name)}
        if self.ignore is not None:
            codes[self.ignore] = IGNORE_INDEX
        if int(data.min()) >= 0 and int(data.max()) <= max(codes):
            table = np.full(max(codes) + 1, UNDECLARED, np.uint8)
            table[0] = 0
            for value, code in codes.items():
                if value > 0:
                    table[value] = code
            found = table[data.astype(np.intp, copy=False)]
            if not (found == UNDECLARED).any():
                return found
        self.check(data)
        out = np.zeros(data.shape, np.uint8)
        for value, code in codes.items():
            out[data == value] = code
        return out

    def one_hot(self, array: Any) -> np.ndarray:
        """Label values to (channels, I, J, K) float32 masks; ignored voxels count as background."""
        code = self.encode(array)
        if not self.exclusive:
            return code.astype(np.float32)
        first = 0 if self.activation == "softmax" else 1
        code = np.where(code == IGNORE_INDEX, 0, code)
        return np.concatenate([code == k for k in range(first, len(self.names) + 1)]).astype(np.float32)

    def decode(self, probabilities: Any, threshold: float = 0.5) -> np.ndarray:
        """Probabilities (channels, I, J, K) to a label image (1, I, J, K).

        The most probable class of a softmax; strictly above ``threshold`` for one sigmoid.
        Overlapping regions give one mask per region: (K, I, J, K) with values 0 and 1.
        """
        p = np.asarray(probabilities)
        if p.shape[0] != self.channels:
            raise LabelError("Channels and label table differ.", got=p.shape[0], expected=self.channels)
        if not self.exclusive:
            return (p > threshold).astype(np.uint8)
        value = np.array([0, *(self._values(n)[0] for n in self.names)])
        small = value.astype(np.uint8 if value.min() >= 0 and value.max() < 256 else np.int32)
        index = p.argmax(0)[None] if self.activation == "softmax" else (p > threshold).astype(np.intp)
        return small[index]

    def mirrored(self, array: np.ndarray) -> np.ndarray:
        """Label values as seen in a mirror: the values of swapped classes change places."""
        out = np.array(array)
        for a, b in self.swap:
            for u, v in zip(self._values(a), self._values(b), strict=True):
                out[array == u], out[array == v] = v, u
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for files."""
        names = {n: v if isinstance(v, int) else list(v) for n, v in self.names.items()}
        return {"names": names, "swap": [list(p) for p in self.swap], "ignore": self.ignore}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Labels:
        """Inverse of :meth:`to_dict`."""
        return cls(data["names"], tuple((a, b) for a, b in data.get("swap", ())), data.get("ignore"))
