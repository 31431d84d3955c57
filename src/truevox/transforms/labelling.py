"""Labels: other classes, and one-hot channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from truevox.errors import GraphError, LabelError
from truevox.image import Image
from truevox.labels import Labels
from truevox.pipeline.graph import Signature, Transform, node
from truevox.pipeline.regions import Labelwise

__all__ = ["MapLabels", "OneHot", "table_of", "values_of"]


def table_of(op: Transform, signature: Signature | Image) -> Labels:
    """The label table of a label.

    Raises
    ------
    GraphError
        If it is no label, has several channels, or no table.
    """
    what = type(op).__name__
    if signature.kind != "label":
        raise GraphError(
            f"{what} works on labels.",
            got=signature.kind,
            remedy="put it in front of what makes probabilities: a coarser grid, OneHot",
        )
    if signature.channels not in (None, 1):
        raise GraphError(
            f"{what} takes one label at a time.",
            got=f"{signature.channels} channels",
            remedy="give it an image of one channel (label[0:1]), or a column per label",
        )
    if signature.labels is None:
        raise GraphError(
            f"{what} needs to know what the label's values mean.",
            remedy='tv.Input(..., labels={"tumour": 1}), or Image(..., labels=tv.Labels(...))',
        )
    return signature.labels


@node
class OneHot(Labelwise):
    """A label as the channels that a network learns, values 0 and 1.

    One class is one channel; exclusive classes have the background first; overlapping regions are a channel
    each. What is ignored counts as background. Where the result is turned later, its channels are
    interpolated and stay shares that sum to one.

    Examples
    --------
    >>> from truevox import Grid
    >>> label = Image(torch.tensor([0, 1, 2]).reshape(1, 3, 1, 1), Grid((3,)), "label",
    ...               labels=Labels({"left": 1, "right": 2}))
    >>> OneHot()(label).data[:, :, 0, 0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        tables = [table_of(self, s) for s in inputs]
        return tuple(Signature("probability", t.channels, labels=t) for t in tables)

    def relabelled(self, image: Image) -> Image:
        if image.kind == "probability":  # averaged on the way here
            return _with_background(image)
        table = table_of(self, image)
        outside = table.one_hot(np.rint(image.fills()).astype(int).reshape(-1, 1, 1, 1)).ravel()
        return Image(
            torch.from_numpy(table.one_hot(image.numpy())),
            image.grid,
            "probability",
            tuple(outside.tolist()),
            table,
        )


def _with_background(image: Image) -> Image:
    """Shares in which what is not known (NaN) is background."""
    if image.labels is None or image.labels.ignore is None:
        return image
    background = torch.zeros(image.channels)
    background[: image.labels.activation == "softmax"] = 1
    data = torch.where(image.data.isnan(), background.view(-1, 1, 1, 1), image.data)
    fills = np.where(np.isnan(image.fills()), background.numpy(), image.fills())
    return image.replace(data=data, fill=fills)


@node
class MapLabels(Labelwise):
    """Classes merged, renamed, left out, or grouped into regions that overlap.

    Parameters
    ----------
    classes : mapping of str to str or sequence of str
        New class to the old ones that it is made of. Old classes that are not named become background.

    Notes
    -----
    Exclusive classes get the values 1, 2, ... in the order given. Where an old class is part of several new
    ones, these are regions: voxels keep their values. Mirrored pairs and what is ignored are kept.

    Raises
    ------
    GraphError
        If the input has no label table.
    LabelError
        If the table lacks an old class, or a class would be mixed with another in a mirror.

    Examples
    --------
    >>> from truevox import Grid
    >>> label = Image(torch.tensor([0, 1, 2, 4]).reshape(1, 4, 1, 1), Grid((4,)), "label",
    ...               labels=Labels({"necrosis": 1, "oedema": 2, "enhancing": 4}))
    >>> core = MapLabels({"core": ["necrosis", "enhancing"]})(label)
    >>> core.data.flatten().tolist(), dict(core.labels.names)
    ([0, 1, 0, 1], {'core': 1})
    >>> regions = MapLabels({"whole": ["necrosis", "oedema", "enhancing"], "core": ["necrosis", "enhancing"]})
    >>> regions(label).labels.channels
    2
    """

    classes: Mapping[str, str | Sequence[str]]

    def __post_init__(self) -> None:
        if not isinstance(self.classes, Mapping) or not self.classes:
            raise GraphError("MapLabels names at least one new class.", remedy='e.g. {"core": ["necrosis"]}')

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        made = [self._table(table_of(self, s))[0] for s in inputs]
        return tuple(Signature("label", s.channels, labels=t) for s, t in zip(inputs, made, strict=True))

    def relabelled(self, image: Image) -> Image:
        old = table_of(self, image)
        new, values = self._table(old)
        data = image.numpy()
        old.check(data)
        out = np.zeros(data.shape, np.uint8 if max(values.values()) < 256 else np.int32)
        for before, after in values.items():
            out[data == before] = after
        fills = [float(values.get(int(f), 0)) for f in image.fills()]
        return Image(torch.from_numpy(out), image.grid, "label", fills[0], new)

    def _table(self, old: Labels) -> tuple[Labels, dict[int, int]]:
        """The new table, and the new value of every old one that is kept."""
        parts = {new: _names(of) for new, of in self.classes.items()}
        if unknown := {n for names in parts.values() for n in names} - set(old.names):
            raise LabelError(
                "MapLabels names classes that the label table lacks.",
                got=sorted(unknown),
                expected=", ".join(old.names),
                remedy="name classes of the table, or add these to it",
            )
        held = {new: tuple(v for n in names for v in values_of(old, n)) for new, names in parts.items()}
        every = [v for values in held.values() for v in values]
        if len(every) == len(set(every)):
            names: Mapping[str, int | Sequence[int]] = {new: k for k, new in enumerate(parts, start=1)}
            values = {v: k for k, new in enumerate(parts, start=1) for v in held[new]}
        else:
            names, values = held, {v: v for v in every}
        ignore = old.ignore
        if ignore is not None:
            taken = set(values.values())
            ignore = next(v for v in (ignore, 255, *range(1, 256)) if v not in taken)
            values[old.ignore or 0] = ignore
        return Labels(names, self._swap(old, parts), ignore), values

    @staticmethod
    def _swap(old: Labels, parts: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
        other = {a: b for pair in old.swap for a, b in (pair, pair[::-1])}
        mirrored = {new: {other.get(n, n) for n in names} for new, names in parts.items()}
        pairs = []
        for new, seen in mirrored.items():
            if seen == set(parts[new]):
                continue
            twin = next((t for t, names in parts.items() if set(names) == seen), None)
            if twin is None:
                raise LabelError(
                    f"'{new}' has no partner in a mirror: the label table pairs its classes with others.",
                    got=", ".join(sorted(parts[new])),
                    expected=f"a class of {', '.join(sorted(seen))} too, or both in one",
                    remedy="make the partner of these classes too, or join both sides in one class",
                )
            if (twin, new) not in pairs:
                pairs.append((new, twin))
        return pairs


def _names(of: str | Sequence[str]) -> tuple[str, ...]:
    return (of,) if isinstance(of, str) else tuple(of)


def values_of(labels: Labels, name: str) -> tuple[int, ...]:
    """Voxel values of a class."""
    value = labels.names[name]
    return (value,) if isinstance(value, int) else tuple(int(v) for v in value)
