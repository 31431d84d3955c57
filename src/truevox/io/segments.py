"""What a label file holds: its voxels as labels, and its classes by name, or by value without names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError
from truevox.io.access import as_labels, label_counts, read
from truevox.io.header import Header
from truevox.io.label_voxels import MASK_VALUES, label_voxels, some
from truevox.label_masks import Place, mask_at
from truevox.labels import Labels

__all__ = ["Places", "Segments", "generated", "labelled", "read_segments", "same_name", "taken"]

Places = tuple[Place, ...]
# "Segment_1", "label 3", "7": a number that a tool gave, and no name.
_NUMBERED = re.compile(
    r"(?:seg(?:ment)?|label|class|roi|region|structure|object|value)?[\W_]*\d+", re.IGNORECASE
)


def same_name(name: str) -> str:
    """What is left of a name for comparing it: case and the kind of separators do not matter.

    Examples
    --------
    >>> same_name("Left_Kidney") == same_name("left kidney"), same_name("-1") == same_name("1")
    (True, False)
    """
    if name.lstrip("-").isdigit():
        return name
    return " ".join(re.sub(r"[\s_\-]+", " ", name).split()).casefold()


@dataclass(frozen=True, eq=False)
class Segments:
    """The labels of a file.

    Parameters
    ----------
    array : (C, I, J, K) integers
    path : Path
    table : Labels, optional
        What the file says of them.
    """

    array: NDArray
    path: Path
    table: Labels | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def counts(self) -> list[dict[int, int]]:
        """Voxels of each value, channel by channel."""
        return [label_counts(channel) for channel in self.array]

    @property
    def values(self) -> list[int]:
        """All values but 0, ascending."""
        return sorted({value for counts in self.counts for value in counts} - {0})

    @property
    def layered(self) -> bool:
        """Whether the file names classes in several channels."""
        return self.table is not None and len(self.array) > 1

    def mask(self, places: Collection[Place]) -> NDArray[np.bool_]:
        """Where some places are: (I, J, K)."""
        return mask_at(self.array, places)

    def called(self, name: str) -> Places | None:
        """Where the class of a name is, if the file has one, and only one, of that name."""
        alike = [] if self.table is None else [n for n in self.table.names if same_name(n) == same_name(name)]
        return self.table.places(alike[0], len(self.array)) if self.table and len(alike) == 1 else None

    def ignored(self, wanted: Labels | None) -> NDArray[np.bool_] | None:
        """Where nobody annotated, by the file or by the table asked for; None if nowhere."""
        values = {t.ignore for t in (self.table, wanted) if t is not None and t.ignore is not None}
        values -= set() if wanted is None else set(wanted.values)
        held = [value for value in values if value in self.values]
        return np.any(np.isin(self.array, held), axis=0) if held else None

    # ---- what occurs ---------------------------------------------------------------------------

    def named(self, other: Segments | None = None) -> dict[str, Places]:
        """Every class that the file names or holds, by its name, else by its value.

        Parameters
        ----------
        other : Segments, optional
            The file that this one is compared with, whose names serve a file without names.

        Raises
        ------
        LabelError
            If the file has several channels that nothing names, or the other one's names fit no values.
        """
        table = self.table
        if table is None:
            self._expect_one_channel()
            table = None if other is None or other.table is None else _by_values(other.table, other.path)
        if self.table is None and self.values == [255] and (one := _only_name(table)) is not None:
            return {one: ((0, 255),)}  # a mask of 0 and 255 is one of 0 and 1
        ignore = None if table is None else table.ignore
        named: dict[str, Places] = {}
        for channel, counts in enumerate(self.counts):
            for value in counts:
                if value and value != ignore:
                    name = _name(channel, value, table, len(self.array))
                    named[name] = (*named.get(name, ()), (channel, value))
        if self.table is None and table is not None and (rest := set(self.values) - {ignore, *table.values}):
            known = ", ".join(f"{name}={_plus(table.values_of(name))}" for name in table.names)
            self.notes.append(f"values that the other file does not name, which has {known}: {some(rest)}")
        return named

    def _expect_one_channel(self) -> None:
        if len(self.array) != 1:
            raise LabelError(
                "The file has several channels, and no label table says what they are.",
                file=self.path,
                got=f"{len(self.array)} channels",
                expected="one channel of label values",
                remedy="--labels names one label for each channel",
            )

    # ---- what was asked for --------------------------------------------------------------------

    def asked(self, wanted: Labels, *, by_value: bool = False) -> dict[str, Places]:
        """Where the classes of a table are in the file: by name, and by value where it has no names.

        Parameters
        ----------
        wanted : Labels
        by_value : bool
            Names of the file do not count.

        Raises
        ------
        LabelError
            If the file says something else of a name or of a value, if it names none of the classes, or if
            its channels are no masks.
        """
        if self.layered:
            return self._by_name(wanted)
        if self.table is None or by_value:
            return self._by_value(wanted)
        self._contradictions(wanted)
        return {name: wanted.places(name, 1) for name in wanted.names}

    def _by_value(self, wanted: Labels) -> dict[str, Places]:
        channels = len(self.array)
        if channels == 1:
            if self.is_mask_of(wanted):
                self.notes.append("a mask of 0 and 255: 255 is read as 1")
                return {next(iter(wanted.names)): ((0, 255),)}
            return {name: wanted.places(name, 1) for name in wanted.names}
        try:
            found = {name: wanted.places(name, channels) for name in wanted.names}
            wanted.check(self.array)
        except LabelError as error:
            error.file = error.file or str(self.path)
            raise
        for (name, places), counts in zip(found.items(), self.counts, strict=True):
            odd = set(counts) - {0, wanted.ignore, *MASK_VALUES, *wanted.values_of(name)}
            if odd:
                raise LabelError(
                    f"Channel {places[0][0]} was to be the mask of '{name}', and holds another value.",
                    file=self.path,
                    got=f"values {some(odd)}",
                    expected=f"0 and 1, or 0 and {', '.join(map(str, wanted.values_of(name)))}",
                    remedy="write one channel of label values, or one mask per label, in their order",
                )
        values = [wanted.values_of(name) for name in wanted.names]
        if sorted(values) == [(k,) for k in range(1, channels + 1)] != values:
            ordered = sorted(wanted.names, key=wanted.values_of)
            raise LabelError(
                "The channels have no names, and the order of the labels is not that of their values.",
                file=self.path,
                got=", ".join(f"{name}={_plus(wanted.values_of(name))}" for name in wanted.names),
                remedy="name the labels in the order of the channels, with rising values, e.g. "
                + ",".join(f"{name}={k}" for k, name in enumerate(ordered, 1)),
            )
        if (np.count_nonzero(self.array, axis=0) == 1).all():
            raise LabelError(
                "Every voxel is in exactly one channel, so one of them must be the background.",
                file=self.path,
                got=f"{channels} channels for {', '.join(wanted.names)}",
                remedy="leave the channel of the background out, or write one channel of label values",
            )
        return found

    def is_mask_of(self, wanted: Labels) -> bool:
        """Whether the file is a mask of 0 and 255, and the table has one class, 1."""
        return (
            len(wanted.names) == 1
            and wanted.values == (1,)
            and self.values == [255]
            and wanted.ignore != 255
            and self.table is None
        )

    def _by_name(self, wanted: Labels) -> dict[str, Places]:
        assert self.table is not None
        own, count = _own_names(self.table, wanted), len(self.array)
        out: dict[str, Places] = {}
        for name in wanted.names:
            if name in own:
                out[name] = self.table.places(own[name], count)
        for name in (n for n in wanted.names if n not in out):
            parts = [
                n
                for n in wanted.names
                if n in own and set(wanted.values_of(n)) <= set(wanted.values_of(name))
            ]
            covered = {v for n in parts for v in wanted.values_of(n)}
            if covered == set(wanted.values_of(name)):
                out[name] = tuple(place for n in parts for place in out[n])
        lacking = [name for name in wanted.names if name not in out]
        # L1 and L2 are no slip of the pen.
        rest = [n for n in self.table.names if n not in own.values()]
        hits = [(n, hit) for n in lacking for hit in get_close_matches(n, rest, 1, 0.75)]
        like = [hit for n, hit in hits if re.findall(r"\d+", n) == re.findall(r"\d+", hit)]
        if len(lacking) == len(wanted.names) or like:
            raise LabelError(
                f"The file names its segments, and none of them is '{lacking[0]}'.",
                file=self.path,
                got=", ".join(self.table.names),
                expected=", ".join(wanted.names),
                remedy="ask for the file's own names" + (f", e.g. '{like[0]}'" if like else ""),
            )
        if lacking:
            self.notes.append(f"no segment is called {', '.join(map(repr, lacking))}: taken for empty")
        return {name: out.get(name, ()) for name in wanted.names}

    def _contradictions(self, wanted: Labels) -> None:
        """Refuse a name that the file gives another value, and a value that it gives another name."""
        assert self.table is not None
        own = _own_names(self.table, wanted)
        odd = []
        for name in wanted.names:
            values = set(wanted.values_of(name))
            if name in own:
                theirs = set(self.table.values_of(own[name]))
                if values != theirs:
                    odd.append((f"{own[name]}={_plus(theirs)}", f"{name}={_plus(values)}"))
                continue
            called = [n for n in self.table.names if set(self.table.values_of(n)) == values]
            if len(values) == 1 and called and not any(_NUMBERED.fullmatch(n) for n in (*called, name)):
                odd.append((f"{called[0]}={_plus(values)}", f"{name}={_plus(values)}"))
        if odd:
            raise LabelError(
                "The file and the label table that was asked for contradict each other.",
                file=self.path,
                got=f"in the file: {', '.join(theirs for theirs, _ in odd)}",
                expected=f"as asked for: {', '.join(ours for _, ours in odd)}",
                remedy="ask for the names and values of the file, or for none: then its own are used; "
                "`truevox evaluate --by-value` goes by values alone",
            )


def generated(table: Labels | None, column: str) -> bool:
    """Whether the names of a table were made of that of a column, and so contradict no file.

    Examples
    --------
    >>> generated(Labels({"mask": 1}), "mask"), generated(Labels({"liver": 1}), "mask")
    (True, False)
    """
    return table is not None and all(re.fullmatch(rf"{re.escape(column)}\d*", name) for name in table.names)


def labelled(
    array: NDArray, header: Header, wanted: Labels | None, *, by_value: bool = False
) -> tuple[NDArray, Labels | None]:
    """A label image and its table, as :func:`truevox.io.load` gives them.

    Raises
    ------
    LabelError
        As :func:`label_voxels` and :meth:`Segments.asked`; if values are not declared; if exclusive classes
        overlap.
    """
    found = Segments(label_voxels(array, header), header.path, header.labels)
    return taken(found, wanted, by_value=by_value)


def taken(found: Segments, wanted: Labels | None, *, by_value: bool = False) -> tuple[NDArray, Labels | None]:
    """What was asked for of some segments, as one label image and its table; all of them if nothing was.

    Raises
    ------
    LabelError
        As :func:`labelled`.
    """
    try:
        if wanted is None:
            if found.table is not None:
                found.table.check(found.array)
            return found.array, found.table
        places = found.asked(wanted, by_value=by_value)
        if not found.layered:
            if len(found.array) == 1:
                wanted.check(found.array)
            return found.array, wanted
        masks = np.stack([found.mask(places[name]) for name in wanted.names])
        return _one_image(masks, wanted), wanted
    except LabelError as error:
        error.file = error.file or str(found.path)
        raise


def _one_image(masks: NDArray[np.bool_], wanted: Labels) -> NDArray:
    """Masks of classes as the table has them: values in one channel, or masks where they may overlap."""
    if not wanted.exclusive:
        return masks.view(np.uint8)
    if (twice := int(np.count_nonzero(masks.sum(0) > 1))) > 0:
        raise LabelError(
            "Segments overlap, so no single label image holds them.",
            got=f"{twice} voxels in two of {', '.join(wanted.names)}",
            remedy="leave one of them out, or load the file without a label table: a channel per layer",
        )
    values = np.array([wanted.values_of(name)[0] for name in wanted.names])
    image = (masks * values[:, None, None, None]).sum(0)[None]
    return as_labels(image, Path(), None)


def read_segments(path: str | Path) -> tuple[Segments, Header]:
    """Read a label file as it is. Segments and structures of DICOM that overlap have a channel each.

    Raises
    ------
    FileError, GeometryError, LabelError
        As :func:`truevox.io.read` and :func:`label_voxels`.
    """
    try:
        array, header = read(path)
    except LabelError as error:
        if "overlap=channels" not in (error.remedy or ""):
            raise
        array, header = read(f"{path}{'&' if '?' in str(path) else '?'}overlap=channels")
    return Segments(label_voxels(array, header), header.path, header.labels), header


def _only_name(table: Labels | None) -> str | None:
    """What a mask is called: as the only class, of value 1, of another file; 1 if that has no names."""
    if table is None:
        return "1"
    return next(iter(table.names)) if len(table.names) == 1 and table.values == (1,) else None


def _own_names(table: Labels, wanted: Labels) -> dict[str, str]:
    """For names asked for, the file's own: the same word, or one that differs in case and separators."""
    alike: dict[str, list[str]] = {}
    for name in table.names:
        alike.setdefault(same_name(name), []).append(name)
    found = {}
    for name in wanted.names:
        those = [name] if name in table.names else alike.get(same_name(name), [])
        if len(those) == 1:
            found[name] = those[0]
    return found


def _by_values(table: Labels, path: Path) -> Labels:
    """The names of another file's values, which must not depend on the layer."""
    values = [v for n in table.names for v in table.values_of(n)]
    if table.layers is not None and len(set(values)) < len(values):
        raise LabelError(
            "One file has layers that use the same values for other segments, and the other one no names.",
            file=path,
            got=", ".join(
                f"{n} (layer {table.layers[n]}, value {_plus(table.values_of(n))})" for n in table.names
            ),
            remedy="--labels says which value of the other file is which segment",
        )
    return Labels(table.names, ignore=table.ignore)


def _name(channel: int, value: int, table: Labels | None, channels: int) -> str:
    if table is not None:
        for name in table.names:
            if any(c == channel and v in (value, None) for c, v in table.places(name, channels)):
                return str(value) if channels == 1 and _NUMBERED.fullmatch(name) else name
    return str(value) if channels == 1 else f"{value} (layer {channel})"


def _plus(values: Collection[int]) -> str:
    return "+".join(map(str, sorted(values)))
