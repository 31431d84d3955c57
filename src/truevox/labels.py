"""Labels: what the values of a label image mean, and how they become channels of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError
from truevox.label_files import check_table, resolved, table_in, whole_number
from truevox.label_masks import Place, mask_at

__all__ = ["IGNORE_INDEX", "Labels"]


IGNORE_INDEX = 255
"""Class index that losses give no weight to."""
UNDECLARED = 254


@dataclass(frozen=True)
class Labels:
    """A label table: names, voxel values, mirrored pairs.

    Parameters
    ----------
    names : mapping of str to int or to sequence of int and str
        Foreground classes. A sequence of values makes a region; regions may overlap, and then each
        is a channel of its own. A name in a sequence stands for the values of that class, so that
        regions can be made of regions.
    swap : sequence of pairs of names
        Classes that change places in a mirror, e.g. ``[("left", "right")]``.
    ignore : int, optional
        A value that was not annotated: losses give it no weight.
    layers : mapping of str to int, optional
        Channel of a label image that holds each class, where classes that overlap lie in several (layers of
        3D Slicer, segments of DICOM that overlap). The same value may then mean another class in each.

    Raises
    ------
    LabelError
        If the table is empty, a value is 0, a region names itself or a class that is not there, or a
        mirrored pair does not fit the classes.

    Notes
    -----
    One class is one channel (sigmoid); K exclusive classes are K + 1 channels with the background
    first (softmax); overlapping regions, and classes in several layers, are K channels (sigmoids).

    A label image has one channel of values; or, without ``layers``, a mask per class in the order of the
    table; or the channels that ``layers`` names.

    Examples
    --------
    >>> labels = Labels({"anterior": 1, "posterior": 2})
    >>> labels.channels, labels.activation, labels.channel_names
    (3, 'softmax', {'anterior': 1, 'posterior': 2})
    >>> parts = {"necrosis": 1, "edema": 2, "core": ["necrosis", 4], "whole": ["core", "edema"]}
    >>> Labels(parts).names["whole"]
    (1, 4, 2)
    """

    names: Mapping[str, int | Sequence[int | str]]
    swap: Sequence[tuple[str, str]] = ()
    ignore: int | None = None
    layers: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        table = resolved(self.names)
        # Written both ways, a pair is one pair.
        pairs = tuple({frozenset(pair): (str(pair[0]), str(pair[1])) for pair in self.swap}.values())
        layers = None if self.layers is None else {str(n): whole_number(k) for n, k in self.layers.items()}
        check_table(table, pairs, self.ignore, layers)
        object.__setattr__(self, "names", table)
        object.__setattr__(self, "swap", pairs)
        object.__setattr__(self, "ignore", whole_number(self.ignore))
        object.__setattr__(self, "layers", layers)

    def __hash__(self) -> int:
        layers = None if self.layers is None else tuple(self.layers.items())
        return hash((tuple(self.names.items()), tuple(self.swap), self.ignore, layers))

    def values_of(self, name: str) -> tuple[int, ...]:
        """All voxel values of a class."""
        value = self.names[name]
        return (value,) if isinstance(value, int) else tuple(int(v) for v in value)

    @property
    def exclusive(self) -> bool:
        """Whether no voxel can belong to two classes."""
        if self.layers is not None and len(set(self.layers.values())) > 1:
            return False
        values = [v for n in self.names for v in self.values_of(n)]
        return len(values) == len(set(values))

    @property
    def values(self) -> tuple[int, ...]:
        """All declared foreground values, ascending."""
        return tuple(sorted({v for n in self.names for v in self.values_of(n)}))

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
        order, of = list(range(self.channels)), self.channel_names
        for a, b in self.swap:
            i, j = of[a], of[b]
            order[i], order[j] = order[j], order[i]
        return tuple(order)

    def places(self, name: str, channels: int) -> tuple[Place, ...]:
        """Where a class is in a label image of so many channels: channels, and voxel values in them.

        Raises
        ------
        LabelError
            If the table says nothing of such an image.

        Examples
        --------
        >>> Labels({"a": 1, "b": [1, 2]}).places("b", 1), Labels({"a": 1, "b": 2}).places("b", 2)
        (((0, 1), (0, 2)), ((1, None),))
        """
        if self.layers is not None and channels > max(self.layers.values()):
            return tuple((self.layers[name], v) for v in self.values_of(name))
        if self.layers is None and channels == 1:
            return tuple((0, v) for v in self.values_of(name))
        if self.layers is None and channels == len(self.names):
            return ((list(self.names).index(name), None),)
        several = f", or {len(self.names)}: a mask for each of {', '.join(self.names)}" * (
            len(self.names) > 1
        )
        raise LabelError(
            "The channels of the label image do not fit the label table.",
            got=f"{channels} channels",
            expected=f"1 channel{several}"
            if self.layers is None
            else f"{max(self.layers.values()) + 1} or more",
            remedy="name one class for each channel, or extract the channel that is meant",
        )

    def of_channels(self, channels: Sequence[int], count: int) -> Labels | None:
        """The table of some channels of a label image that has ``count``; None if it says nothing of them."""
        try:
            held = {n: self.places(n, count) for n in self.names}
        except LabelError:
            return None
        kept = {n: places for n, places in held.items() if places[0][0] in channels}
        if not kept:
            return None
        names = {n: [1 if v is None else v for _, v in places] for n, places in kept.items()}
        layers = {n: list(channels).index(places[0][0]) for n, places in kept.items()}
        swap = [pair for pair in self.swap if set(pair) <= set(kept)]
        return Labels(names, swap, self.ignore, layers if len(channels) > 1 else None)

    def masks(self, array: Any) -> NDArray[np.bool_]:
        """A label image (C, I, J, K) as one mask per class, (K, I, J, K).

        Raises
        ------
        LabelError
            As :meth:`check`.
        """
        data = np.asarray(array)
        self.check(data)
        known = True if self.ignore is None else (data != self.ignore).all(0)
        return np.stack([mask_at(data, self.places(n, len(data))) & known for n in self.names])

    def check(self, array: Any) -> None:
        """Refuse voxel values that the table does not declare, and channels that are no masks.

        Parameters
        ----------
        array : (C, I, J, K) integers, or the values of one channel in any other shape

        Raises
        ------
        LabelError
            Naming the values found and those declared.
        """
        data = np.asarray(array)
        if data.ndim == 4 and len(data) > 1:
            return self._check_channels(data)
        found = np.unique(data) if data.dtype.kind in "iub" else np.unique(np.rint(data))
        if not np.array_equal(found.astype(np.float64), np.unique(data).astype(np.float64)):
            raise LabelError(
                "A label image holds values between the integers.",
                expected=f"0 and {self.values}",
                remedy="resample labels with mode 'nearest'; probabilities are no label image",
            )
        return self._check_values(found, self.values)

    def _check_values(self, found: Iterable[Any], declared: Sequence[int], where: str = "") -> None:
        allowed = {0, *declared} | ({self.ignore} if self.ignore is not None else set())
        if unknown := sorted({int(v) for v in found} - allowed):
            raise LabelError(
                f"A label image holds values that the label table does not declare{where}.",
                got=unknown,
                expected=f"0 and {', '.join(map(str, declared))}",
                remedy="declare them in the label table, or `ignore:` one value; a mask of one class: "
                f"`labels: {{name: {unknown[-1]}}}` in the recipe",
            )

    def _check_channels(self, data: NDArray) -> None:
        """Each layer holds values of its classes; without layers each channel is the mask of one class."""
        self.places(next(iter(self.names)), len(data))
        for c, channel in enumerate(data):
            found = [int(v) for v in np.unique(channel) if v not in (0, self.ignore)]
            if self.layers is not None:
                own = [v for n in self.names if self.layers[n] == c for v in self.values_of(n)]
                self._check_values(found, own, f", in channel {c}")
            elif len(found) > 1:
                raise LabelError(
                    f"Channel {c} of the label image is no mask: it holds several values beside 0.",
                    got=found[:8],
                    expected=f"a mask of 0 and 1 for each of {', '.join(self.names)}",
                    remedy="write one channel of label values, or one mask per class",
                )

    def encode(self, array: Any) -> np.ndarray:
        """Label values to what a loss takes.

        Parameters
        ----------
        array : (C, I, J, K) integers
            One channel of values, or the masks or layers of the classes.

        Returns
        -------
        (1, I, J, K) uint8 class indices (``IGNORE_INDEX`` where ignored) for exclusive classes;
        (K, I, J, K) uint8 masks for overlapping regions (``IGNORE_INDEX`` in all where ignored).

        Raises
        ------
        LabelError
            As :meth:`check`; if masks of exclusive classes overlap.
        """
        data = np.asarray(array)
        if not self.exclusive or len(data) > 1:
            return self._of_masks(data)
        codes = {v: k for k, name in enumerate(self.names, start=1) for v in self.values_of(name)}
        if self.ignore is not None:
            codes[self.ignore] = IGNORE_INDEX
        if int(data.min()) >= 0 and int(data.max()) <= max(codes) < 2**16:
            if codes == {k: k for k in range(1, len(codes) + 1)}:
                return data.astype(np.uint8)
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

    def _of_masks(self, data: NDArray) -> np.ndarray:
        """Masks of regions; class indices where the table says that no two may overlap."""
        masks = self.masks(data)
        ignored = None if self.ignore is None else (data == self.ignore).any(0)
        if not self.exclusive:
            out = masks.astype(np.uint8)
            if ignored is not None:
                out[:, ignored] = IGNORE_INDEX
            return out
        if (twice := int(np.count_nonzero(masks.sum(0) > 1))) > 0:
            raise LabelError(
                "Masks of exclusive classes overlap.",
                got=f"{twice} voxels in two of {', '.join(self.names)}",
                remedy="make the masks exclusive, or declare the classes as regions that overlap",
            )
        index = (masks * np.arange(1, len(masks) + 1)[:, None, None, None]).sum(0).astype(np.uint8)[None]
        if ignored is not None:
            index[0, ignored] = IGNORE_INDEX
        return index

    def one_hot(self, array: Any) -> np.ndarray:
        """Label values to (channels, I, J, K) float32 masks; ignored voxels count as background."""
        code = self.encode(array)
        if self.ignore is not None:
            code = np.where(code == IGNORE_INDEX, 0, code)
        if not self.exclusive:
            return code.astype(np.float32)
        first = 0 if self.activation == "softmax" else 1
        return np.concatenate([code == k for k in range(first, len(self.names) + 1)]).astype(np.float32)

    def decode(self, probabilities: Any, threshold: float = 0.5) -> np.ndarray:
        """Probabilities (channels, I, J, K) to a label image (1, I, J, K).

        The most probable class of a softmax; strictly above ``threshold`` for one sigmoid.
        Overlapping regions give one mask per region: (K, I, J, K) with values 0 and 1.
        """
        p = np.asarray(probabilities)
        if p.shape[0] != self.channels:
            raise LabelError(
                "Channels and label table differ.",
                got=p.shape[0],
                expected=self.channels,
                remedy="take the label table that the network was built with, or one name per channel",
            )
        if not self.exclusive:
            return (p > threshold).astype(np.uint8)
        value = np.array([0, *(self.values_of(n)[0] for n in self.names)])
        small = value.astype(np.uint8 if value.min() >= 0 and value.max() < 256 else np.int32)
        index = p.argmax(0)[None] if self.activation == "softmax" else (p > threshold).astype(np.intp)
        return small[index]

    def mirrored(self, array: np.ndarray) -> np.ndarray:
        """Label values as seen in a mirror: the values of swapped classes change places."""
        out = np.array(array)
        if out.ndim == 4 and len(out) > 1:
            for a, b in self.swap:
                for one, other in zip(*(self.places(n, len(out)) for n in (a, b)), strict=True):
                    held = [(place, mask_at(array, [place])) for place in (one, other)]
                    for (channel, _), mask in held:
                        out[channel][mask] = 0
                    for (channel, value), (_, mask) in zip((one, other), held[::-1], strict=True):
                        out[channel][mask] = 1 if value is None else value
            return out
        for a, b in self.swap:
            for u, v in zip(self.values_of(a), self.values_of(b), strict=True):
                out[array == u], out[array == v] = v, u
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for files."""
        names = {n: v if isinstance(v, int) else list(self.values_of(n)) for n, v in self.names.items()}
        layers = {} if self.layers is None else {"layers": dict(self.layers)}
        return {"names": names, "swap": [list(p) for p in self.swap], "ignore": self.ignore, **layers}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Labels:
        """Inverse of :meth:`to_dict`."""
        swap = tuple((a, b) for a, b in data.get("swap") or ())
        return cls(data["names"], swap, data.get("ignore"), data.get("layers"))

    @classmethod
    def from_file(cls, path: str | Path) -> Labels:
        r"""Read a label table.

        ``.yaml``, ``.yml``, ``.json``: a mapping of names to values (or of values to names), or ``names``,
        ``swap`` and ``ignore`` as in :meth:`to_dict`; also the ``labels.json`` that ``truevox predict``
        writes for one output, and the ``dataset.json`` of nnU-Net. ``.csv``, ``.tsv``: columns ``name`` and
        ``index`` (or ``value``), as in the ``dseg.tsv`` of BIDS. ``.txt``, ``.label``: label descriptions of
        ITK-SNAP. The background, value 0, is left out.

        Raises
        ------
        FileError
            If the file can't be read, or is none of these.
        LabelError
            If what it holds makes no label table, or two; names the file.

        Examples
        --------
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "dseg.tsv"
        >>> _ = file.write_text("index\tname\n0\tbackground\n3\tcortex\n")
        >>> Labels.from_file(file).names
        {'cortex': 3}
        """
        file = Path(path)
        try:
            return cls.from_dict(table_in(file))
        except LabelError as error:
            error.file = error.file or str(file)
            raise
