"""Labels: what the values of a label image mean, and how they become channels of a network."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from truevox.errors import FileError, LabelError

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

    Raises
    ------
    LabelError
        If the table is empty, a value is 0, a region names itself or a class that is not there, or a
        mirrored pair does not fit the classes.

    Notes
    -----
    One class is one channel (sigmoid); K exclusive classes are K + 1 channels with the background
    first (softmax); overlapping regions are K channels (sigmoids).

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

    def __post_init__(self) -> None:
        given = {str(n): v for n, v in self.names.items()}
        table = {n: v if isinstance(v, int) else _resolve(n, given, ()) for n, v in given.items()}
        pairs = tuple((str(a), str(b)) for a, b in self.swap)
        object.__setattr__(self, "names", table)
        object.__setattr__(self, "swap", pairs)
        if not table:
            raise LabelError(
                "A label table names at least one foreground class.", remedy='e.g. {"tumour": 1}'
            )
        if any(0 in self.values_of(n) for n in table):
            raise LabelError("Value 0 is the background and needs no name.", got=dict(table))
        if self.ignore is not None and any(self.ignore in self.values_of(n) for n in table):
            raise LabelError("The value to ignore is also a class.", got=self.ignore)
        if unknown := {n for pair in pairs for n in pair} - set(table):
            raise LabelError("Mirrored pairs name classes that the table lacks.", got=sorted(unknown))
        if uneven := [(a, b) for a, b in pairs if len(self.values_of(a)) != len(self.values_of(b))]:
            raise LabelError("Mirrored classes have as many values as each other.", got=uneven)

    def __hash__(self) -> int:
        return hash((tuple(self.names.items()), tuple(self.swap), self.ignore))

    def values_of(self, name: str) -> tuple[int, ...]:
        """All voxel values of a class."""
        value = self.names[name]
        return (value,) if isinstance(value, int) else tuple(int(v) for v in value)

    @property
    def exclusive(self) -> bool:
        """Whether no voxel can belong to two classes."""
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
                remedy="declare them in the label table, or `ignore:` one value; a mask of one class: "
                f"`labels: {{name: {unknown[-1]}}}` in the recipe",
            )

    def encode(self, array: Any) -> np.ndarray:
        """Label values to what a loss takes.

        Parameters
        ----------
        array : (1, I, J, K) integers

        Returns
        -------
        (1, I, J, K) uint8 class indices (``IGNORE_INDEX`` where ignored) for exclusive classes;
        (K, I, J, K) uint8 masks for overlapping regions (``IGNORE_INDEX`` in all where ignored).
        """
        data = np.asarray(array)
        if not self.exclusive:
            self.check(data)
            masks = np.stack([np.isin(data[0], self.values_of(name)) for name in self.names]).astype(np.uint8)
            if self.ignore is not None:
                masks[:, data[0] == self.ignore] = IGNORE_INDEX
            return masks
        codes = {v: k for k, name in enumerate(self.names, start=1) for v in self.values_of(name)}
        if self.ignore is not None:
            codes[self.ignore] = IGNORE_INDEX
        if int(data.min()) >= 0 and int(data.max()) <= max(codes):
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
            raise LabelError("Channels and label table differ.", got=p.shape[0], expected=self.channels)
        if not self.exclusive:
            return (p > threshold).astype(np.uint8)
        value = np.array([0, *(self.values_of(n)[0] for n in self.names)])
        small = value.astype(np.uint8 if value.min() >= 0 and value.max() < 256 else np.int32)
        index = p.argmax(0)[None] if self.activation == "softmax" else (p > threshold).astype(np.intp)
        return small[index]

    def mirrored(self, array: np.ndarray) -> np.ndarray:
        """Label values as seen in a mirror: the values of swapped classes change places."""
        out = np.array(array)
        for a, b in self.swap:
            for u, v in zip(self.values_of(a), self.values_of(b), strict=True):
                out[array == u], out[array == v] = v, u
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for files."""
        names = {n: v if isinstance(v, int) else list(self.values_of(n)) for n, v in self.names.items()}
        return {"names": names, "swap": [list(p) for p in self.swap], "ignore": self.ignore}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Labels:
        """Inverse of :meth:`to_dict`."""
        return cls(data["names"], tuple((a, b) for a, b in data.get("swap", ())), data.get("ignore"))

    @classmethod
    def from_file(cls, path: str | Path) -> Labels:
        r"""Read a label table.

        ``.yaml``, ``.yml``, ``.json``: a mapping of names to values, or ``names``, ``swap`` and ``ignore``
        as in :meth:`to_dict`. ``.csv``, ``.tsv``: columns ``name`` and ``index`` (or ``value``), as in the
        ``dseg.tsv`` of BIDS. ``.txt``, ``.label``: label descriptions of ITK-SNAP. The background, value 0,
        is left out.

        Raises
        ------
        FileError
            If the file can't be read, or is none of these.
        LabelError
            If what it holds makes no label table; names the file.

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
            return _from_text(cls, file, file.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise FileError(
                f"The label table can't be read: {reason}.", file=file, remedy="check the path"
            ) from error
        except LabelError as error:
            error.file = error.file or str(file)
            raise


def _resolve(name: str, given: Mapping[str, Any], above: tuple[str, ...]) -> tuple[int, ...]:
    """Values of a class, with the names in its list replaced by theirs; each value once."""
    if name in above:
        raise LabelError("A region is made of itself.", got=" in ".join((name, *reversed(above))))
    if name not in given:
        raise LabelError(f"A region is made of '{name}', which the table lacks.", expected=", ".join(given))
    value = given[name]
    if isinstance(value, int):
        return (value,)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise LabelError(
            f"Class '{name}' has no value.",
            got=value,
            expected="a whole number, or a list of values and names",
        )
    parts = [_resolve(v, given, (*above, name)) if isinstance(v, str) else (int(v),) for v in value]
    return tuple(dict.fromkeys(v for part in parts for v in part))


# Index, colour (red, green, blue, opacity), visibility, visibility of the mesh, name in quotes.
_SNAP = re.compile(r"\s*(\d+)\s+(?:[\d.]+\s+){6}\"(.*)\"\s*")


def _from_text(cls: type[Labels], file: Path, text: str) -> Labels:
    suffix = file.suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        import yaml

        try:
            data = yaml.safe_load(text)  # JSON is YAML
        except yaml.YAMLError as error:
            raise LabelError(f"The label table is no {suffix[1:].upper()}: {error}.") from error
        if not isinstance(data, dict):
            raise LabelError("A label table is a mapping of names to values.", got=type(data).__name__)
        return cls.from_dict(data) if isinstance(data.get("names"), dict) else cls(_foreground(data.items()))
    if suffix in (".csv", ".tsv"):
        rows = list(csv.DictReader(text.splitlines(), delimiter="\t" if suffix == ".tsv" else ","))
        key = next((k for k in ("index", "value") if rows and k in rows[0]), None)
        if key is None or "name" not in rows[0]:
            raise LabelError(
                "A table of labels has the columns 'name' and 'index'.",
                got=", ".join(rows[0] if rows else []),
            )
        return cls(_foreground((row["name"], row[key]) for row in rows))
    if suffix in (".txt", ".label"):
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        found = [match for line in lines if (match := _SNAP.fullmatch(line)) is not None]
        if len(found) != len(lines):
            raise LabelError("The file holds no label descriptions of ITK-SNAP.", got=lines[0][:80])
        return cls(_foreground((match[2], match[1]) for match in found))
    raise FileError(
        "A label table with this suffix can't be read.",
        file=file,
        got=suffix or "no suffix",
        expected=".yaml, .json, .csv, .tsv, or .txt of ITK-SNAP",
    )


def _foreground(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Names and values without the background; values that came as text are numbers."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError as error:
            raise LabelError(f"The value of class '{name}' is no whole number.", got=value) from error
        if number == 0:
            continue
        if name in table:
            raise LabelError(f"Class '{name}' is there twice.", got=(table[name], number))
        table[str(name)] = number
    return table
