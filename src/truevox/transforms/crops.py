"""Patches to learn from: crops at random places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Node, Rng, node
from truevox.pipeline.kinds import Spatial, demand_one_grid
from truevox.pipeline.lazy import Lazy
from truevox.space import Grid
from truevox.transforms.positions import Density, Forbidden, Foreground, centres, forbidden, has_room
from truevox.transforms.ranges import check_image, check_probability, check_size, number
from truevox.transforms.spatial import Edges, check_spacing

__all__ = ["RandomCrop", "full_size", "padded_remark", "placed"]

MOST_TRIES = 1000
"""Draws of a centre that lies outside of what is to be avoided."""


def full_size(size: int | Sequence[int], grid: Grid, what: str) -> np.ndarray:
    """Voxels per axis. A single number skips axes of one voxel.

    Raises
    ------
    GraphError
        If it is not one positive whole number, or one per axis of more than one voxel, or three.
    """
    wide = np.array(grid.shape) > 1
    given = np.atleast_1d(np.asarray(size))
    if given.dtype.kind not in "iu" or given.min() < 1 or given.size not in (1, 3, int(wide.sum())):
        raise GraphError(
            f"{what}: a size is one whole number of voxels, or one per axis.",
            got=size,
            remedy="write size=64, or size=(64, 64, 32)",
        )
    out = np.ones(3, int)
    if given.size == 3:
        out[:] = given
    elif wide.any():
        out[wide] = given
    return out


def padded_remark(size: int | Sequence[int], grid: Grid, what: str) -> list[str]:
    """A remark if a patch is larger than the image."""
    if (full_size(size, grid, what) > np.array(grid.shape)).any():
        return [f"patch larger than the image ({'x'.join(map(str, grid.shape))}), padded"]
    return []


def placed(start: np.ndarray, size: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Start of a box moved inside where it fits; centred on the axes where it is larger than the image."""
    inside = np.clip(start, 0, np.maximum(shape - size, 0))
    return np.where(size > shape, -((size - shape) // 2), inside)


@node
class RandomCrop(Spatial):
    """A box of ``size`` voxels at a random place; all outputs share its one grid.

    Parameters
    ----------
    size : int or sequence of int
        Voxels of the first input's lattice. A single number skips axes of one voxel.
    centre_on : node or Image, optional
        Centre the box on a voxel of this label with probability ``foreground``, its classes equally often;
        or on a voxel of this map (scalar or probability), in proportion to its values. Where there is
        nothing to centre on, the crop is uniform.
    foreground : float
    spacing : float or sequence of float, optional
        Spacing of the crop in mm, where it is to differ from the first input's: one interpolation in all.
    class_weights : mapping of class name or value to float, optional
        How often each class of the label is centred on, relative to the others; 1 for what is not named,
        0 for never. A class that a case lacks leaves its share to the others.
    avoid : node or Image, optional
        A mask in which no centre lies, e.g. of lesions for patches of healthy tissue, or of what another
        stage has dealt with. After 1000 draws in vain the last one is taken.

    Notes
    -----
    The box lies inside the image where it fits; where it does not, the image is padded evenly (the
    outside is each image's ``fill``). A crop is a frame: a rotation after it sees what lies around.

    Examples
    --------
    >>> import torch
    >>> x = Image(torch.rand(1, 32, 32, 32), Grid((32, 32, 32)))
    >>> RandomCrop(16)(x, rng=np.random.default_rng(0)).shape
    (1, 16, 16, 16)
    """

    size: int | Sequence[int] = 64
    centre_on: Node | Image | None = None
    foreground: float = 0.5
    spacing: float | Sequence[float] | None = None
    class_weights: Mapping[str | int, float] | None = None
    avoid: Node | Image | None = None

    random = True
    antialias = True

    def __post_init__(self) -> None:
        check_size(self.size, "RandomCrop: size")
        check_probability(self.foreground, "RandomCrop: foreground")
        if self.spacing is not None:
            check_spacing(self.spacing, "RandomCrop")
        for field in ("centre_on", "avoid"):
            if getattr(self, field) is not None:
                check_image(getattr(self, field), f"RandomCrop: {field}")
        centre_on = self.centre_on
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _weights(self.class_weights, centre_on))
        if isinstance(centre_on, Node) and centre_on.signature.kind == "logits":
            raise GraphError(
                "RandomCrop: centre_on is a label or a map of weights, and was given logits.",
                remedy="put Sigmoid or Softmax behind the network, or centre on the label",
            )
        # Hidden nodes, so that the tables are cached with the prefix.
        if isinstance(centre_on, Node) and centre_on.signature.kind != "value":
            made = Foreground() if centre_on.signature.kind == "label" else Density()
            object.__setattr__(self, "centre_on", made(centre_on))
        if isinstance(self.avoid, Node) and self.avoid.signature.kind != "value":
            object.__setattr__(self, "avoid", Forbidden()(self.avoid))

    def run(self, inputs: Sequence[Lazy], edges: Edges, rng: Rng) -> tuple[Lazy, ...]:
        demand_one_grid(inputs, "RandomCrop")
        return super().run(inputs, edges, rng)

    def frame(self, grid: Grid, edges: Edges, rng: Rng) -> Grid:
        lattice = grid if self.spacing is None else grid.with_spacing(self.spacing)
        size = full_size(self.size, lattice, "RandomCrop")
        start = self._start(lattice, size, edges, rng)
        for _ in range(MOST_TRIES if "avoid" in edges else 0):
            middle = lattice.to_world(start + (size - 1) // 2)
            if not forbidden(
                edges["avoid"], np.floor(edges["avoid"].grid.to_index(middle) + 0.5).astype(int)
            ):
                break
            start = self._start(lattice, size, edges, rng)
        return lattice.crop(start.tolist(), size.tolist())

    def _start(self, lattice: Grid, size: np.ndarray, edges: Edges, rng: Rng) -> np.ndarray:
        """A draw of the first voxel."""
        shape = np.array(lattice.shape)
        start = np.floor(rng.random(3) * (np.maximum(shape - size, 0) + 1)).astype(int)
        if "centre_on" in edges and rng.random() < self.foreground:
            index = self._centre(centres(edges["centre_on"]), rng)
            if index is not None:
                point = edges["centre_on"].grid.to_world(index)
                start = np.floor(lattice.to_index(point) - (size - 1) / 2 + 0.5).astype(int)
        return placed(start, size, shape)

    def _centre(self, table: np.ndarray, rng: Rng) -> np.ndarray | None:
        """A draw of a row of a table, classes first."""
        if not len(table):
            return None
        # Rows are sorted by class: a class is a stretch of them.
        ends = np.append(np.flatnonzero(np.diff(table[:, 0])) + 1, len(table))
        if self.class_weights is None:
            chosen = rng.integers(len(ends))
        else:
            share = np.array([self.class_weights.get(int(v), 1.0) for v in table[ends - 1, 0]])
            if share.sum() == 0:
                return None
            chosen = rng.choice(len(ends), p=share / share.sum())
        first = ends[chosen - 1] if chosen else 0
        return table[rng.integers(first, ends[chosen]), 1:]

    def remarks(self, inputs: Sequence[Lazy], edges: Edges) -> list[str]:
        lattice = inputs[0].grid if self.spacing is None else inputs[0].grid.with_spacing(self.spacing)
        said = padded_remark(self.size, lattice, "RandomCrop")
        if "centre_on" in edges and not len(centres(edges["centre_on"])):
            said.append("no foreground to centre on, uniform crop instead")
        if "avoid" in edges and not has_room(edges["avoid"]):
            said.append("everything is to be avoided, crop at any place instead")
        return said


def _weights(given: Mapping[str | int, float], label: Node | Image | None) -> dict[int, float]:
    """Weight by voxel value, of classes by name or value."""
    meaning = label.signature if isinstance(label, Node) else label
    if meaning is None or meaning.kind not in ("label", "value"):
        raise GraphError(
            "RandomCrop: class_weights are those of the label in centre_on.",
            got=dict(given),
            remedy="centre_on= the label, or leave class_weights out",
        )
    table = meaning.labels
    out: dict[int, float] = {}
    for name, weight in given.items():
        number(weight, f"RandomCrop: the weight of class {name}", 0)
        if table is not None and name in table.names:
            out |= dict.fromkeys(table.values_of(str(name)), float(weight))
        elif str(name).isdigit():
            out[int(name)] = float(weight)
        else:
            known = ", ".join(table.names) if table is not None else "values"
            raise GraphError(
                "RandomCrop: class_weights names a class that is not there.",
                got=name,
                expected=known,
                remedy="name one of these",
            )
    return out
