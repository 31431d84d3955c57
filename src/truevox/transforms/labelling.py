"""Labels: other classes, one-hot channels, components, distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from truevox.errors import GraphError, LabelError
from truevox.image import Image
from truevox.labels import Labels
from truevox.pipeline.graph import Signature, Transform, node
from truevox.pipeline.regions import Casewise, Labelwise

__all__ = ["DistanceMap", "FillHoles", "KeepLargest", "MapLabels", "OneHot", "RemoveSmall", "table_of"]


def table_of(op: Transform, signature: Signature | Image) -> Labels:
    """The label table of a label.

    Raises
    ------
    GraphError
        If it is no label, or has no table.
    """
    what = type(op).__name__
    if signature.kind != "label":
        raise GraphError(
            f"{what} works on labels.",
            got=signature.kind,
            remedy="put it in front of what makes probabilities: a coarser grid, OneHot",
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
            return image
        table = table_of(self, image)
        outside = table.one_hot(np.rint(image.fills()).astype(int).reshape(-1, 1, 1, 1)).ravel()
        return Image(
            torch.from_numpy(table.one_hot(image.numpy())),
            image.grid,
            "probability",
            tuple(outside.tolist()),
            table,
        )


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
        if not self.classes:
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
            )
        held = {new: tuple(v for n in names for v in _values(old, n)) for new, names in parts.items()}
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
                )
            if (twin, new) not in pairs:
                pairs.append((new, twin))
        return pairs


def _names(of: str | Sequence[str]) -> tuple[str, ...]:
    return (of,) if isinstance(of, str) else tuple(of)


def _values(labels: Labels, name: str) -> tuple[int, ...]:
    value = labels.names[name]
    return (value,) if isinstance(value, int) else tuple(int(v) for v in value)


class _Cleaned(Casewise):
    """Keeps the table; a mask of every class is changed by itself."""

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        for s in inputs:
            table_of(self, s)
        return tuple(inputs)

    def whole(self, image: Image) -> Image:
        table = table_of(self, image)
        data = image.numpy().copy()
        for name in table.names:
            values = _values(table, name)
            before = np.isin(data[0], values)
            after = self.cleaned(before, image)
            data[0][before & ~after] = 0
            data[0][after & ~before & (data[0] == 0)] = values[0]
        return image.replace(data=torch.from_numpy(data))

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        """The new mask (I, J, K) of a class."""
        raise NotImplementedError


def _check_connectivity(connectivity: int, what: str) -> None:
    if connectivity not in (1, 2, 3):
        raise GraphError(
            f"{what}: connectivity is 1 (faces), 2 (edges too) or 3 (corners too).", got=connectivity
        )


def _components(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of each voxel's component (0: background), and the voxels in each: index 0 has none."""
    from scipy import ndimage

    found, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, connectivity))  # type: ignore[misc]
    sizes = np.bincount(found.ravel())
    sizes[0] = 0
    return found, sizes


@node
class KeepLargest(_Cleaned):
    """Of each class, the largest connected component; the rest becomes background.

    Parameters
    ----------
    connectivity : {1, 2, 3}
        Voxels belong together that share a face (1), an edge (2) or a corner (3).

    Notes
    -----
    The largest of the whole scan, whatever the frame shows. Of equal ones, the first in array order.

    Examples
    --------
    >>> from truevox import Grid
    >>> label = Image(torch.tensor([1, 0, 1, 1]).reshape(1, 4, 1, 1), Grid((4,)), "label",
    ...               labels=Labels({"liver": 1}))
    >>> KeepLargest()(label).data.flatten().tolist()
    [0, 0, 1, 1]
    """

    connectivity: int = 3

    def __post_init__(self) -> None:
        _check_connectivity(self.connectivity, "KeepLargest")

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        found, sizes = _components(mask, self.connectivity)
        return mask & (found == sizes.argmax())


@node
class RemoveSmall(_Cleaned):
    """Components of a class smaller than a volume become background.

    Parameters
    ----------
    least_ml : float
        Volume from which a component stays.
    connectivity : {1, 2, 3}
        As for :class:`KeepLargest`.

    Examples
    --------
    >>> from truevox import Grid
    >>> label = Image(torch.tensor([1, 0, 1, 1]).reshape(1, 4, 1, 1), Grid((4,)), "label",
    ...               labels=Labels({"lesion": 1}))
    >>> RemoveSmall(0.002)(label).data.flatten().tolist()
    [0, 0, 1, 1]
    """

    least_ml: float
    connectivity: int = 3

    def __post_init__(self) -> None:
        _check_connectivity(self.connectivity, "RemoveSmall")

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        found, sizes = _components(mask, self.connectivity)
        # A rounding error of the affine must not cost a component of just this volume.
        large = sizes * image.grid.voxel_volume_ml >= self.least_ml * (1 - 1e-9)
        return mask & large[found]


@node
class FillHoles(_Cleaned):
    """Background that a class encloses becomes part of it.

    Notes
    -----
    A hole is background from which no path over voxel faces leads to the border of the scan; other classes
    within it stay. Axes of one voxel have no border: a slice is filled in its plane.

    Examples
    --------
    >>> from truevox import Grid
    >>> ring = torch.ones(1, 3, 3, 1, dtype=torch.uint8)
    >>> ring[0, 1, 1] = 0
    >>> label = Image(ring, Grid((3, 3)), "label", labels=Labels({"ventricle": 1}))
    >>> int(FillHoles()(label).data.sum())
    9
    """

    def cleaned(self, mask: np.ndarray, image: Image) -> np.ndarray:
        from scipy import ndimage

        return ndimage.binary_fill_holes(mask.squeeze()).reshape(mask.shape)  # type: ignore[union-attr]


@node
class DistanceMap(Casewise):
    """Signed distance to the border of each class, in mm: negative inside.

    Parameters
    ----------
    limit_mm : float
        Distances stop at plus and minus this: the value where a class is absent, and outside of the scan.

    Notes
    -----
    From the centre of a voxel outside to the nearest centre inside, and the other way round: the border lies
    between. Spacing is taken into account; a channel per class, without the background.

    Examples
    --------
    >>> from truevox import Grid
    >>> grid = Grid((4,)).with_spacing(1.0)
    >>> label = Image(torch.tensor([0, 0, 1, 1]).reshape(1, 4, 1, 1), grid, "label", labels=Labels({"x": 1}))
    >>> DistanceMap()(label).data.flatten().tolist()
    [2.0, 1.0, -1.0, -2.0]
    """

    limit_mm: float = 100.0

    def __post_init__(self) -> None:
        if self.limit_mm <= 0:
            raise GraphError("DistanceMap: limit_mm is above 0.", got=self.limit_mm)

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return tuple(Signature("scalar", len(table_of(self, s).names)) for s in inputs)

    def whole(self, image: Image) -> Image:
        table = table_of(self, image)
        masks = [np.isin(image.numpy()[0], _values(table, name)) for name in table.names]
        maps = np.stack([self._signed(mask, image.grid.spacing) for mask in masks])
        return Image(torch.from_numpy(maps), image.grid, "scalar", self.limit_mm)

    def _signed(self, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        from scipy import ndimage

        if mask.all() or not mask.any():
            return np.full(mask.shape, -self.limit_mm if mask.any() else self.limit_mm, np.float32)
        out = np.full(mask.shape, self.limit_mm, np.float32)
        # Nearest foreground lies in the mask's box, nearest background no further than a voxel beyond it.
        near = _box_of(mask, np.ceil(self.limit_mm / spacing).astype(int) + 1)
        out[near] = np.asarray(ndimage.distance_transform_edt(~mask[near], sampling=spacing))
        tight = _box_of(mask, np.ones(3, int))
        out[tight] -= np.asarray(ndimage.distance_transform_edt(mask[tight], sampling=spacing))
        return out.clip(-self.limit_mm, self.limit_mm)


def _box_of(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask, and a margin as far as there are voxels."""
    spans = [np.flatnonzero(mask.any(tuple(b for b in range(3) if b != a))) for a in range(3)]
    return tuple(slice(max(s[0] - m, 0), s[-1] + m + 1) for s, m in zip(spans, margin, strict=True))
